/* SPDX-License-Identifier: MIT */
#ifndef CREW_JSON_H
#define CREW_JSON_H

#include <stdbool.h>
#include <stdint.h>

/** What a field of a JSON answer holds. Zero ends a list of fields. */
enum crew_field_kind {
	CREW_FIELD_END = 0,
	CREW_FIELD_INT,
	CREW_FIELD_REAL,
	CREW_FIELD_BOOL,
	CREW_FIELD_NULL,
	CREW_FIELD_STRING,
	CREW_FIELD_RAW,    /* text that is JSON already */
	CREW_FIELD_OBJECT, /* fields with names */
	CREW_FIELD_ARRAY,  /* fields whose names are not looked at */
};

/**
 * One member of a JSON object, or one element of an array. Made by the
 * functions and macros below; it borrows all that it points to, which needs
 * to live only until the crew_json() call that it is given to returns.
 */
struct crew_field {
	enum crew_field_kind kind;
	const char *name;
	union {
		int64_t integer;
		double real;
		bool truth;
		const char *text;
		const struct crew_field *fields;
	};
};

/** A whole number, written in full (no rounding to a double). */
static inline struct crew_field crew_int(const char *name, int64_t value)
{
	return (struct crew_field){ CREW_FIELD_INT, name, { .integer = value } };
}

/** A number, with the fewest digits that read back as the same double
 * (NaN and infinities, which JSON does not have, become null). */
static inline struct crew_field crew_real(const char *name, double value)
{
	return (struct crew_field){ CREW_FIELD_REAL, name, { .real = value } };
}

/** true or false. */
static inline struct crew_field crew_bool(const char *name, bool value)
{
	return (struct crew_field){ CREW_FIELD_BOOL, name, { .truth = value } };
}

/** null. */
static inline struct crew_field crew_null(const char *name)
{
	return (struct crew_field){ CREW_FIELD_NULL, name, { .integer = 0 } };
}

/** A string, escaped as RFC 8259 section 7 asks; bytes that are not UTF-8
 * become U+FFFD. NULL is written as null. */
static inline struct crew_field crew_str(const char *name, const char *value)
{
	return (struct crew_field){ CREW_FIELD_STRING, name, { .text = value } };
}

/** Text that is valid JSON already, written as it stands. */
static inline struct crew_field crew_raw(const char *name, const char *json)
{
	return (struct crew_field){ CREW_FIELD_RAW, name, { .text = json } };
}

/** An object in an object: a list of fields that ends with a zero one. */
static inline struct crew_field
crew_fields(const char *name, const struct crew_field *fields)
{
	return (struct crew_field){ CREW_FIELD_OBJECT, name, { .fields = fields } };
}

/** An array of the given elements: a list that ends with a zero one. */
static inline struct crew_field
crew_elements(const char *name, const struct crew_field *elements)
{
	return (struct crew_field){ CREW_FIELD_ARRAY, name, { .fields = elements } };
}

#define crew_object(name, ...) \
	crew_fields((name), (const struct crew_field[]){ __VA_ARGS__, { 0 } })
#define crew_array(name, ...) \
	crew_elements((name), (const struct crew_field[]){ __VA_ARGS__, { 0 } })

#endif

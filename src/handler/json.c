/* SPDX-License-Identifier: MIT */
/*
 * The JSON of answers. crew_json() gives a list of fields that lies on the
 * handler's stack, and this writes it in one walk, without building a tree:
 * that is why jansson, which reads the requests, does not write the answers.
 * Nor those that are a tree of its own: it writes 19.99 as 19.989999999999998.
 * The buffer grows by doubling in the request's arena, whose old pieces come
 * back with the whole. An error sticks: the writers go on and write nothing,
 * so that only the end has to be looked at.
 */
#include "handler/json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/text.h"

#define FIRST_ROOM 512u

static char *grow(struct json_out *out, size_t size);
static void write_byte(struct json_out *out, char byte);
static void write_list(struct json_out *out, const struct crew_field *fields,
		       bool named, int depth);
static void write_value(struct json_out *out, const struct crew_field *field,
			int depth);
static void write_tree(struct json_out *out, const json_t *value, int depth);
static void write_text(struct json_out *out, struct span text);
static struct span key_of(void *member);
static void write_members(struct json_out *out, const json_t *object, int depth);
static void write_elements(struct json_out *out, const json_t *array, int depth);
static void write_integer(struct json_out *out, int64_t value);
static void write_real(struct json_out *out, double value);
static void write_marked_real(struct json_out *out, double value);
static void write_string(struct json_out *out, const char *text);
static void write_span(struct json_out *out, struct span text);

/* Where the next `size` bytes go, or NULL once there was an error. */
static inline char *make_room(struct json_out *out, size_t size)
{
	if (__builtin_expect(!out->error && size <= out->room - out->size && out->text, 1))
		return out->text + out->size;
	return grow(out, size);
}

void json_out_init(struct json_out *out, struct arena *arena)
{
	*out = (struct json_out){ .arena = arena };
}

int json_write_object(struct json_out *out, const struct crew_field *fields)
{
	write_list(out, fields, true, 0);
	return out->error;
}

int json_write_value(struct json_out *out, const json_t *value)
{
	write_tree(out, value, 0);
	return out->error;
}

int json_append(struct json_out *out, const char *data, size_t size)
{
	char *at = make_room(out, size);

	if (at) {
		memcpy(at, data, size);
		out->size += size;
	}
	return out->error;
}

static char *grow(struct json_out *out, size_t size)
{
	size_t room = out->room ? out->room : FIRST_ROOM / 2;
	char *text;

	if (out->error)
		return NULL;
	if (size > SIZE_MAX / 4 - out->size) {
		out->error = -ENOMEM;
		return NULL;
	}
	while (room < out->size + size || room < FIRST_ROOM)
		room *= 2;
	text = arena_alloc(out->arena, room);
	if (!text) {
		out->error = -ENOMEM;
		return NULL;
	}
	if (out->size)
		memcpy(text, out->text, out->size);
	out->text = text;
	out->room = room;
	return text + out->size;
}

static void write_byte(struct json_out *out, char byte)
{
	char *at = make_room(out, 1);

	if (at) {
		*at = byte;
		out->size++;
	}
}

static void write_list(struct json_out *out, const struct crew_field *fields,
		       bool named, int depth)
{
	if (depth >= JSON_DEPTH_MAX && !out->error)
		out->error = -EINVAL;
	write_byte(out, named ? '{' : '[');
	for (size_t i = 0; fields && fields[i].kind && !out->error; i++) {
		if (i)
			write_byte(out, ',');
		if (named) {
			write_string(out, fields[i].name ? fields[i].name : "");
			write_byte(out, ':');
		}
		write_value(out, &fields[i], depth);
	}
	write_byte(out, named ? '}' : ']');
}

static void write_value(struct json_out *out, const struct crew_field *field,
			int depth)
{
	switch (field->kind) {
	case CREW_FIELD_INT:
		write_integer(out, field->integer);
		return;
	case CREW_FIELD_REAL:
		write_real(out, field->real);
		return;
	case CREW_FIELD_BOOL:
		json_append(out, field->truth ? "true" : "false",
			    field->truth ? 4 : 5);
		return;
	case CREW_FIELD_NULL:
		json_append(out, "null", 4);
		return;
	case CREW_FIELD_STRING:
		write_string(out, field->text);
		return;
	case CREW_FIELD_RAW:
		json_append(out, field->text ? field->text : "null",
			    field->text ? strlen(field->text) : 4);
		return;
	case CREW_FIELD_OBJECT:
	case CREW_FIELD_ARRAY:
		write_list(out, field->fields, field->kind == CREW_FIELD_OBJECT,
			   depth + 1);
		return;
	case CREW_FIELD_END:
		break;
	}
	out->error = -EINVAL;
}

static void write_tree(struct json_out *out, const json_t *value, int depth)
{
	if (!value || depth >= JSON_PARSER_MAX_DEPTH) {
		if (!out->error)
			out->error = -EINVAL;
		return;
	}
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		write_members(out, value, depth);
		return;
	case JSON_ARRAY:
		write_elements(out, value, depth);
		return;
	case JSON_STRING:
		write_text(out, (struct span){ json_string_value(value),
					       json_string_length(value) });
		return;
	case JSON_INTEGER:
		write_integer(out, json_integer_value(value));
		return;
	case JSON_REAL:
		write_marked_real(out, json_real_value(value));
		return;
	case JSON_TRUE:
		json_append(out, "true", 4);
		return;
	case JSON_FALSE:
		json_append(out, "false", 5);
		return;
	case JSON_NULL:
		json_append(out, "null", 4);
		return;
	}
}

/* Only those that hold a NUL are not as good as C's. */
static void write_text(struct json_out *out, struct span text)
{
	if (memchr(text.at, '\0', text.size))
		write_span(out, text);
	else
		write_string(out, text.at);
}

/* Which cannot hold a NUL before jansson 2.14. */
static struct span key_of(void *member)
{
#if JANSSON_VERSION_HEX >= 0x020e00
	return (struct span){ json_object_iter_key(member), json_object_iter_key_len(member) };
#else
	return span_of(json_object_iter_key(member));
#endif
}

/* In the order in which they were set. To iterate changes nothing. */
static void write_members(struct json_out *out, const json_t *object, int depth)
{
	json_t *const members = (json_t *)(uintptr_t)object;
	void *member = json_object_iter(members);

	write_byte(out, '{');
	for (bool first = true; member && !out->error; first = false) {
		if (!first)
			write_byte(out, ',');
		write_text(out, key_of(member));
		write_byte(out, ':');
		write_tree(out, json_object_iter_value(member), depth + 1);
		member = json_object_iter_next(members, member);
	}
	write_byte(out, '}');
}

static void write_elements(struct json_out *out, const json_t *array, int depth)
{
	write_byte(out, '[');
	for (size_t i = 0; i < json_array_size(array) && !out->error; i++) {
		if (i)
			write_byte(out, ',');
		write_tree(out, json_array_get(array, i), depth + 1);
	}
	write_byte(out, ']');
}

static void write_integer(struct json_out *out, int64_t value)
{
	char text[20];
	size_t at = sizeof(text);
	/* Negation of the smallest integer is defined for unsigned ones only. */
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	do {
		text[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (value < 0)
		text[--at] = '-';
	json_append(out, text + at, sizeof(text) - at);
}

/* If a locale is set the decimal point may be something else, and longer. */
static void write_in_c_locale(struct json_out *out, const char *text)
{
	size_t plain = strspn(text, "0123456789+-e");

	json_append(out, text, plain);
	if (text[plain] == '\0')
		return;
	write_byte(out, '.');
	text += plain + strcspn(text + plain, "0123456789");
	json_append(out, text, strlen(text));
}

/* 15 digits give back every decimal fraction that a person would write; 17
 * tell all doubles apart. The smallest (subnormal) ones carry fewer digits. */
static void write_real(struct json_out *out, double value)
{
	int digits = fabs(value) >= 2.2250738585072014e-308 ? 15 : 1;
	char text[48];

	if (!isfinite(value)) {
		json_append(out, "null", 4);
		return;
	}
	for (; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	write_in_c_locale(out, text);
}

/* For jansson 3 and 3.0 are of different types: what is real reads back as real. */
static void write_marked_real(struct json_out *out, double value)
{
	size_t at = out->size;

	write_real(out, value);
	while (at < out->size && (out->text[at] == '-' || (out->text[at] >= '0' &&
							   out->text[at] <= '9')))
		at++;
	if (at == out->size)
		json_append(out, ".0", 2);
}

/* The bytes at the start of a string that need neither escape nor check. */
static size_t plain_size(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at >= 0x20 && *at < 0x7f && *at != '"' && *at != '\\')
		at++;
	return (size_t)(at - (const unsigned char *)text);
}

static void write_string(struct json_out *out, const char *text)
{
	struct span all;
	char *at;

	if (!text) {
		json_append(out, "null", 4);
		return;
	}
	all = (struct span){ text, plain_size(text) };
	if (text[all.size] == '\0') {
		at = make_room(out, all.size + 2);
		if (!at)
			return;
		at[0] = '"';
		memcpy(at + 1, text, all.size);
		at[all.size + 1] = '"';
		out->size += all.size + 2;
		return;
	}
	all.size += strlen(text + all.size);
	write_span(out, all);
}

static void write_span(struct json_out *out, struct span text)
{
	char *at = text.size > SIZE_MAX / 8 ? NULL : make_room(out, 6 * text.size + 2);

	if (at)
		out->size += http_json_string(at, text);
}

/* SPDX-License-Identifier: MIT */
/* Private to this room: JSON text, written into a buffer that grows in an
 * arena. */
#ifndef HANDLER_JSON_H
#define HANDLER_JSON_H

#include <stddef.h>

#include <crew/json.h>

#include "base/arena.h"

struct json_t;

/** Fields nested deeper than this are a mistake of the caller (a cycle). */
#define JSON_DEPTH_MAX 64

struct json_out {
	struct arena *arena;
	char *text; /* not NUL-terminated */
	size_t size;
	size_t room;
	int error;  /* the first -errno; then nothing more is written */
};

/** Begin an empty text; allocates nothing yet. */
void json_out_init(struct json_out *out, struct arena *arena);
/** Write an object of these fields (NULL: an empty one). 0, -ENOMEM, or
 * -EINVAL if they are nested too deep or one is of no known kind. */
int json_write_object(struct json_out *out, const struct crew_field *fields);
/** Write a value of jansson, whose objects keep their order. 0, -ENOMEM, or -EINVAL if it is NULL
 * or nested deeper than jansson reads (2048), as a cycle is. */
int json_write_value(struct json_out *out, const struct json_t *value);
/** Write bytes as they are. 0, or the first error. */
int json_append(struct json_out *out, const char *data, size_t size);

#endif

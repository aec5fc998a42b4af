/* SPDX-License-Identifier: MIT */
/*
 * What a pool's author tells its handlers, in two forms that may be mixed. It
 * is read once here, in the parent before the fork, so that a text that is
 * wrong is refused on the command line and not by the death of each worker;
 * and it is handed on as text again, of which each worker makes an object of
 * its own: the workers of a pool may be threads, and a tree that they shared
 * would have to be counted and locked by all.
 */
#include "serve/settings.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The fewest and the most digits that may be needed to write a double so that
 * the same one is read back. */
#define DIGITS_MIN 15u
#define DIGITS_MAX 17u

static int read_object(const char *text, const char *where, json_t **ret_object,
		       struct crew_error *ret_error);
static int refuse_array(const char *text, const char *where, struct crew_error *ret_error);
static int check_pairs(const struct crew_setting *pairs, const char *where,
		       size_t *ret_count, struct crew_error *ret_error);
static const char *find_fault(const struct crew_setting *pairs, size_t index);
static bool is_utf8(const char *text);
static bool has_pair(const struct crew_setting *pairs, size_t count, const char *key);
static int join(struct crew_pool *pool, json_t *object, size_t pair_count,
		struct arena *arena);
static char *text_of(const json_t *value, struct arena *arena);
static bool reads_as(const char *text, const json_t *value);
static char *dump(const json_t *value, size_t flags, struct arena *arena);

int settings_fill(struct crew_pool *pool, unsigned number, struct arena *arena,
		  struct crew_error *ret_error)
{
	json_t *object = NULL;
	size_t pair_count = 0;
	char where[96];
	int r;

	if (!pool->settings && !pool->settings_json)
		return 0;
	snprintf(where, sizeof(where), "pool %u (\"%.60s\")", number,
		 pool->name ? pool->name : "");
	r = check_pairs(pool->settings, where, &pair_count, ret_error);
	if (r == 0)
		r = read_object(pool->settings_json ? pool->settings_json : "{}", where,
				&object, ret_error);
	if (r < 0)
		return r;
	r = join(pool, object, pair_count, arena);
	json_decref(object);
	return r < 0 ? error_set(ret_error, ENOMEM, "%s, settings: out of memory", where) : 0;
}

static int read_object(const char *text, const char *where, json_t **ret_object,
		       struct crew_error *ret_error)
{
	json_error_t error;
	json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!value)
		return error_set(ret_error, EINVAL,
				 "%s, settings_json, line %d, column %d: %s", where,
				 error.line, error.column, error.text);
	if (!json_is_object(value)) {
		json_decref(value);
		return refuse_array(text, where, ret_error);
	}
	*ret_object = value;
	return 0;
}

/* The one other value that may stand alone, for the reader that is used. */
static int refuse_array(const char *text, const char *where, struct crew_error *ret_error)
{
	unsigned line = 1;
	unsigned column = 1;

	for (; *text != '['; text++) {
		column++;
		if (*text == '\n') {
			line++;
			column = 1;
		}
	}
	return error_set(ret_error, EINVAL,
			 "%s, settings_json, line %u, column %u: settings are an object, not "
			 "an array", where, line, column);
}

static int check_pairs(const struct crew_setting *pairs, const char *where,
		       size_t *ret_count, struct crew_error *ret_error)
{
	size_t count = 0;

	for (; pairs && (pairs[count].key || pairs[count].value); count++) {
		const char *fault = find_fault(pairs, count);

		if (fault)
			return error_set(ret_error, EINVAL,
					 "%s, settings, row %zu (\"%.80s\"): %s", where, count,
					 pairs[count].key ? pairs[count].key : "", fault);
	}
	*ret_count = count;
	return 0;
}

static const char *find_fault(const struct crew_setting *pairs, size_t index)
{
	const struct crew_setting *pair = &pairs[index];

	if (!pair->key || !*pair->key)
		return "the setting has no key";
	if (!pair->value)
		return "the setting has no value";
	if (!is_utf8(pair->key) || !is_utf8(pair->value))
		return "key and value must be UTF-8";
	return has_pair(pairs, index, pair->key) ? "the key stands there twice" : NULL;
}

static bool is_utf8(const char *text)
{
	json_t *string = json_string(text);

	json_decref(string);
	return string != NULL;
}

/* Is there such a key among the first `count` pairs? */
static bool has_pair(const struct crew_setting *pairs, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(pairs[i].key, key) == 0)
			return true;
	}
	return false;
}

static int join(struct crew_pool *pool, json_t *object, size_t pair_count,
		struct arena *arena)
{
	const struct crew_setting *pairs = pool->settings;
	size_t count = pair_count;
	struct crew_setting *all;
	const char *key;
	json_t *value;

	all = arena_alloc(arena, (count + json_object_size(object) + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	if (count)
		memcpy(all, pairs, count * sizeof(*all));
	json_object_foreach(object, key, value) {
		if (has_pair(pairs, pair_count, key) || json_is_null(value) ||
		    json_is_object(value) || json_is_array(value))
			continue;
		all[count].key = arena_copy(arena, key, strlen(key));
		all[count].value = text_of(value, arena);
		if (!all[count].key || !all[count].value)
			return -ENOMEM;
		count++;
	}
	all[count] = (struct crew_setting){ 0 };
	for (size_t i = 0; i < pair_count; i++) {
		if (json_object_set_new(object, pairs[i].key, json_string(pairs[i].value)) < 0)
			return -ENOMEM;
	}
	pool->settings = all;
	pool->settings_json = dump(object, JSON_COMPACT, arena);
	return pool->settings_json ? 0 : -ENOMEM;
}

/* A string as it is; of a number that is not whole as few digits as do. */
static char *text_of(const json_t *value, struct arena *arena)
{
	if (json_is_string(value))
		return arena_copy(arena, json_string_value(value), json_string_length(value));
	for (unsigned digits = DIGITS_MIN;; digits++) {
		char *text = dump(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits), arena);

		if (!text || digits == DIGITS_MAX || reads_as(text, value))
			return text;
	}
}

static bool reads_as(const char *text, const json_t *value)
{
	json_t *read = json_loads(text, JSON_DECODE_ANY, NULL);
	const bool same = json_equal(read, value);

	json_decref(read);
	return same;
}

static char *dump(const json_t *value, size_t flags, struct arena *arena)
{
	char *text = json_dumps(value, flags);
	char *copy = text ? arena_copy(arena, text, strlen(text)) : NULL;

	free(text);
	return copy;
}

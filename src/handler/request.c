/* SPDX-License-Identifier: MIT */
/*
 * What a handler asks of its request. Nearly all of it stands in the block as
 * C strings already, so most of these functions only add an offset. What has
 * to be decoded (query parameters, cookies) is decoded on demand into the
 * request's arena: most handlers ask for few of them. A repeated question is
 * decoded again; the arena takes the copies back all at once.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "handler/request.h"
#include "http/text.h"

#define JSON_ERROR_BYTES 200u

static const struct wire_param *find_param(const struct crew_request *request,
					   const char *name);
static const struct wire_header *header_table(const struct crew_request *request);
static const char *decoded(struct crew_request *request, struct span text);
static void parse_body(struct crew_request *request);

static const char *text_of(const struct crew_request *request,
			   struct wire_text text)
{
	return (const char *)request->wire + text.offset;
}

static struct span span_in(const struct crew_request *request,
			   struct wire_text text)
{
	return (struct span){ text_of(request, text), text.size };
}

uint64_t crew_request_id(const struct crew_request *request)
{
	return request->wire->id;
}

const char *crew_method(const struct crew_request *request)
{
	return text_of(request, request->wire->method);
}

const char *crew_protocol(const struct crew_request *request)
{
	return request->wire->minor ? "HTTP/1.1" : "HTTP/1.0";
}

const char *crew_path(const struct crew_request *request)
{
	return text_of(request, request->wire->path);
}

const char *crew_query_string(const struct crew_request *request)
{
	return text_of(request, request->wire->query);
}

const char *crew_client_address(const struct crew_request *request)
{
	return text_of(request, request->wire->client);
}

int64_t crew_path_int(const struct crew_request *request, const char *name)
{
	const struct wire_param *param = find_param(request, name);

	return param && param->type == WIRE_PARAM_INT ? param->integer : 0;
}

double crew_path_float(const struct crew_request *request, const char *name)
{
	const struct wire_param *param = find_param(request, name);

	return param && param->type == WIRE_PARAM_FLOAT ? param->real : 0;
}

const char *crew_path_str(const struct crew_request *request, const char *name)
{
	const struct wire_param *param = find_param(request, name);

	return param ? text_of(request, param->text) : NULL;
}

const char *crew_query(struct crew_request *request, const char *name)
{
	struct span value;
	ssize_t size;
	char *text;

	if (!http_query_find(span_in(request, request->wire->query),
			     span_of(name), &value))
		return NULL;
	text = arena_alloc(request->arena, value.size + 1);
	if (!text)
		return NULL;
	size = http_decode(text, value, true);
	if (size < 0) /* an encoded NUL: no C string can say that */
		return NULL;
	text[size] = '\0';
	return text;
}

bool crew_query_at(struct crew_request *request, size_t index,
		   const char **ret_name, const char **ret_value)
{
	const struct span query = span_in(request, request->wire->query);
	/* Who asks for one after the other is not to search from the beginning. */
	const bool goes_on = request->query_count > 0 && index >= request->query_count;
	size_t at = goes_on ? request->query_count : 0;
	const uint32_t offset = goes_on ? request->query_offset : 0;
	struct span rest = { query.at + offset, query.size - offset };
	struct span name;
	struct span value;
	const char *name_text;
	const char *value_text;

	do {
		if (!http_query_next(&rest, &name, &value))
			return false;
	} while (at++ < index);
	name_text = decoded(request, name);
	value_text = decoded(request, value);
	if (!name_text || !value_text)
		return false;
	request->query_count = (uint32_t)at;
	request->query_offset = (uint32_t)(rest.at - query.at);
	*ret_name = name_text;
	*ret_value = value_text;
	return true;
}

const char *crew_header(const struct crew_request *request, const char *name)
{
	const struct wire_header *headers = header_table(request);
	const struct span wanted = span_of(name);

	for (unsigned i = 0; i < request->wire->header_count; i++) {
		if (span_equal_nocase(span_in(request, headers[i].name), wanted))
			return text_of(request, headers[i].value);
	}
	return NULL;
}

size_t crew_header_count(const struct crew_request *request)
{
	return request->wire->header_count;
}

bool crew_header_at(const struct crew_request *request, size_t index,
		    const char **ret_name, const char **ret_value)
{
	const struct wire_header *header;

	if (index >= request->wire->header_count)
		return false;
	header = header_table(request) + index;
	*ret_name = text_of(request, header->name);
	*ret_value = text_of(request, header->value);
	return true;
}

const char *crew_cookie(struct crew_request *request, const char *name)
{
	const struct wire_header *headers = header_table(request);
	struct span value;

	for (unsigned i = 0; i < request->wire->header_count; i++) {
		if (!span_equal_nocase(span_in(request, headers[i].name),
				       span_of("cookie")))
			continue;
		if (http_cookie_find(span_in(request, headers[i].value),
				     span_of(name), &value))
			return arena_copy(request->arena, value.at, value.size);
	}
	return NULL;
}

const void *crew_body(const struct crew_request *request, size_t *ret_size)
{
	if (ret_size)
		*ret_size = request->body.size;
	return request->body.size ? request->body.at : NULL;
}

const struct json_t *crew_body_json(struct crew_request *request)
{
	if (!request->json && !request->json_error)
		parse_body(request);
	return request->json;
}

const char *crew_body_error(const struct crew_request *request)
{
	return request->json_error ? request->json_error : "";
}

const char *crew_value(const struct crew_request *request, const char *name)
{
	const struct wire_header *values =
		(const void *)((const char *)request->wire +
			       request->wire->values);

	for (unsigned i = 0; i < request->wire->value_count; i++) {
		if (strcmp(text_of(request, values[i].name), name) == 0)
			return text_of(request, values[i].value);
	}
	return NULL;
}

int crew_set_value(struct crew_request *request, const char *name,
		   const char *value)
{
	unsigned place = request->value_count;
	struct request_value copy;
	size_t sum;

	if (!request->values || !name || !value)
		return -EINVAL;
	copy = (struct request_value){ span_of(name), span_of(value) };
	sum = copy.name.size + copy.value.size;
	for (unsigned i = 0; i < request->value_count; i++) {
		const struct request_value *other = &request->values[i];

		if (span_equal(other->name, copy.name))
			place = i;
		else
			sum += other->name.size + other->value.size;
	}
	if (place == REQUEST_VALUES_MAX || sum > REQUEST_VALUES_MAX_BYTES)
		return -ENOSPC;
	copy.name.at = arena_copy(request->arena, name, copy.name.size);
	copy.value.at = arena_copy(request->arena, value, copy.value.size);
	if (!copy.name.at || !copy.value.at)
		return -ENOMEM;
	request->values[place] = copy;
	if (place == request->value_count)
		request->value_count++;
	return 0;
}

void *crew_alloc(struct crew_request *request, size_t size_bytes)
{
	return arena_alloc(request->arena, size_bytes ? size_bytes : 1);
}

static const struct wire_header *header_table(const struct crew_request *request)
{
	return (const void *)((const char *)request->wire +
			      request->wire->headers);
}

static const struct wire_param *find_param(const struct crew_request *request,
					   const char *name)
{
	const struct wire_param *params =
		(const void *)((const char *)request->wire +
			       request->wire->params);

	for (unsigned i = 0; i < request->wire->param_count; i++) {
		if (strcmp(text_of(request, params[i].name), name) == 0)
			return &params[i];
	}
	return NULL;
}

/* As it was sent, where it holds what no C string can say; NULL without memory. */
static const char *decoded(struct crew_request *request, struct span text)
{
	char *copy = arena_alloc(request->arena, text.size + 1);
	ssize_t size;

	if (!copy)
		return NULL;
	size = http_decode(copy, text, true);
	if (size < 0) {
		memcpy(copy, text.at, text.size);
		size = (ssize_t)text.size;
	}
	copy[size] = '\0';
	return copy;
}

/* Any JSON value will do (RFC 8259, 2), not objects and arrays alone. A name
 * that stands twice in an object is refused: parsers differ on which one
 * counts, and attacks have been built on that (RFC 8259, 4). */
static void parse_body(struct crew_request *request)
{
	json_error_t error;
	char *text;

	if (request->body.size == 0) {
		request->json_error = "the request has no body";
		return;
	}
	request->json = json_loadb(request->body.at, request->body.size,
				   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
				   &error);
	if (request->json)
		return;
	text = arena_alloc(request->arena, JSON_ERROR_BYTES);
	if (text)
		snprintf(text, JSON_ERROR_BYTES, "line %d, column %d: %s",
			 error.line, error.column, error.text);
	request->json_error = text ? text : "it is not JSON";
}

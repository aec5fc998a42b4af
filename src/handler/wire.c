/* SPDX-License-Identifier: MIT */
/*
 * Is a block a well-formed wire_request? Asked once by whoever received it,
 * before any accessor follows an offset. A worker trusts its dispatcher not to
 * change a block afterwards (it could not serve it otherwise); what this guards
 * against is a dispatcher of another build, or one whose memory is damaged, so
 * that the fault is named here and not found as a crash in a handler.
 */
#include "handler/request.h"

struct block {
	const char *at;
	uint32_t size;
};

static bool table_ok(struct block block, uint32_t offset, uint32_t count,
		     size_t element_size);
static bool text_ok(struct block block, struct wire_text text);
static bool headers_ok(struct block block, uint32_t offset, uint32_t count);
static bool params_ok(struct block block, const struct wire_request *wire);
static bool body_ok(struct block block, const struct wire_request *wire);

bool wire_request_ok(const void *data, uint32_t size)
{
	const struct block block = { data, size };
	struct wire_request wire;

	if ((uintptr_t)data % 8 != 0 || size < sizeof(wire))
		return false;
	memcpy(&wire, data, sizeof(wire));
	return wire.size == size && text_ok(block, wire.method) &&
	       text_ok(block, wire.path) && text_ok(block, wire.query) &&
	       text_ok(block, wire.client) &&
	       headers_ok(block, wire.headers, wire.header_count) &&
	       headers_ok(block, wire.values, wire.value_count) &&
	       params_ok(block, &wire) && body_ok(block, &wire);
}

static bool table_ok(struct block block, uint32_t offset, uint32_t count,
		     size_t element_size)
{
	return offset % 8 == 0 && offset <= block.size &&
	       count * element_size <= block.size - offset;
}

static bool text_ok(struct block block, struct wire_text text)
{
	return text.offset < block.size &&
	       text.size < block.size - text.offset &&
	       block.at[text.offset + text.size] == '\0';
}

static bool headers_ok(struct block block, uint32_t offset, uint32_t count)
{
	const struct wire_header *headers;

	if (!table_ok(block, offset, count, sizeof(*headers)))
		return false;
	headers = (const void *)(block.at + offset);
	for (unsigned i = 0; i < count; i++) {
		if (!text_ok(block, headers[i].name) ||
		    !text_ok(block, headers[i].value))
			return false;
	}
	return true;
}

static bool params_ok(struct block block, const struct wire_request *wire)
{
	const struct wire_param *params;

	if (wire->param_count > WIRE_PARAMS_MAX ||
	    !table_ok(block, wire->params, wire->param_count, sizeof(*params)))
		return false;
	params = (const void *)(block.at + wire->params);
	for (unsigned i = 0; i < wire->param_count; i++) {
		if (!text_ok(block, params[i].name) ||
		    !text_ok(block, params[i].text) ||
		    params[i].type > WIRE_PARAM_FLOAT)
			return false;
	}
	return true;
}

static bool body_ok(struct block block, const struct wire_request *wire)
{
	return wire->body.offset <= block.size &&
	       wire->body.size <= block.size - wire->body.offset &&
	       wire->body.size <= wire->body_size;
}

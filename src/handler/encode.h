/* SPDX-License-Identifier: MIT */
/*
 * Writing a wire_request block: once, straight into the place from which the
 * handler reads it.
 */
#ifndef HANDLER_ENCODE_H
#define HANDLER_ENCODE_H

#include <stdint.h>

#include "handler/request.h"
#include "http/parse.h"
#include "transport/message.h"

/** A path parameter as the router found it, spans into the decoded path. */
struct route_param {
	struct span name;
	struct span text;
	enum wire_param_type type;
	union {
		int64_t integer;
		double real;
	};
};

struct encode_input {
	uint64_t id;
	const struct http_head *head;
	struct span path; /* decoded */
	const struct route_param *params;
	unsigned param_count;
	uint32_t route;
	const struct request_value *values; /* of the dispatcher's check */
	unsigned value_count;
	unsigned depth; /* of a call within calls; 0: a client's */
	struct span client;
	struct span body;   /* the part that goes into the block */
	uint64_t body_size; /* of the whole */
};

/** The bytes that the block will take. */
uint32_t encode_size(const struct encode_input *input);
/** Write it; `block` has encode_size() bytes, aligned to 8. */
void encode_request(void *block, uint32_t size, const struct encode_input *input);

#endif

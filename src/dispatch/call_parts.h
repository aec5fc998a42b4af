/* SPDX-License-Identifier: MIT */
/*
 * What a call says: taken apart, named for the log, and put as a client would send it.
 */
#ifndef DISPATCH_CALL_PARTS_H
#define DISPATCH_CALL_PARTS_H

#include <stdbool.h>

#include "base/span.h"
#include "dispatch/buffer.h"
#include "transport/message.h"

/* What is kept for the log of whom is called. */
#define CALL_NAME_BYTES 128u
/* Header lines of each: Host and Content-Length. With a type there is one more. */
#define CALL_LINES      2u

struct call_parts {
	struct wire_call head;
	struct span pool;
	struct span method;
	struct span target;
	struct span type;
	struct span body;
};

/** The parts of a wire_call, which stand in `bytes`; the head is a copy. 0, or -EBADMSG: they
 * are no call. */
int call_take_apart(struct span bytes, struct call_parts *ret_parts);
/** Pool and target, as far as there is room for them. */
void call_name(char name[CALL_NAME_BYTES], const struct call_parts *parts);
/** Its head as a client would send it, so that one parser judges all: with so many header
 * lines. False: no memory. */
bool call_compose(struct buffer *text, const struct call_parts *parts);

#endif

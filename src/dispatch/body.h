/* SPDX-License-Identifier: MIT */
/* The body of a request while it is received: in memory while it is small, or
 * announced and not too large, in an unlinked file when it grows. */
#ifndef DISPATCH_BODY_H
#define DISPATCH_BODY_H

#include <stdint.h>

#include "dispatch/buffer.h"

struct body {
	struct buffer memory;
	int fd;        /* of the file + 1; 0: none, so that zero is empty */
	uint64_t size; /* in all */
	size_t promised; /* of what bodies of announced lengths may hold in memory */
};

/** Before its first byte: it will have so many, as its client says. If it is too large
 * for any body to be kept in memory, but not for those that are announced, and if all
 * of these do not hold too much already, it gets room there at once. */
void body_expect(struct body *body, uint64_t size);
/** Where the next `size` bytes can be received, to be added from there without a copy;
 * NULL for a body that has no such room. */
char *body_place(struct body *body, size_t size);
/** Add bytes, which may lie where body_place() said. 0, or -errno (-ENOMEM, -ENOSPC, …). */
int body_append(struct body *body, const void *data, size_t size);
/** Copy `size` bytes from `offset` on; they are there. 0, or -errno. */
int body_read(const struct body *body, uint64_t offset, void *ret, size_t size);
/** Where those are kept that go to files: for the log. */
const char *body_directory(void);
void body_fini(struct body *body);

#endif

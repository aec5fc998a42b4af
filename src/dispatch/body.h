/* SPDX-License-Identifier: MIT */
/* The body of a request while it is received: in memory while it is small,
 * in an unlinked file when it grows. */
#ifndef DISPATCH_BODY_H
#define DISPATCH_BODY_H

#include <stdint.h>

#include "dispatch/buffer.h"

struct body {
	struct buffer memory;
	int fd;        /* of the file + 1; 0: none, so that zero is empty */
	uint64_t size; /* in all */
};

/** Add bytes. 0, or -errno (-ENOMEM, -ENOSPC, …). */
int body_append(struct body *body, const void *data, size_t size);
/** Copy `size` bytes from `offset` on; they are there. 0, or -errno. */
int body_read(const struct body *body, uint64_t offset, void *ret, size_t size);
void body_fini(struct body *body);

#endif

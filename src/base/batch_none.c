/* SPDX-License-Identifier: MIT */
/* Built without liburing: each send and receive is a call of its own. */
#include "base/batch.h"

#include <errno.h>

int batch_new(struct batch **ret_batch)
{
	(void)ret_batch;
	return -ENOSYS;
}

void batch_free(struct batch *batch)
{
	(void)batch;
}

void batch_send(struct batch *batch, int fd, struct span data, int32_t *ret_done)
{
	(void)batch;
	(void)fd;
	(void)data;
	*ret_done = BATCH_UNDONE;
}

void batch_receive(struct batch *batch, int fd, void *place, size_t size,
		   int32_t *ret_done)
{
	(void)batch;
	(void)fd;
	(void)place;
	(void)size;
	*ret_done = BATCH_UNDONE;
}

int batch_run(struct batch *batch)
{
	(void)batch;
	return -ENOSYS;
}

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

unsigned batch_keep(struct batch *batch, int fd)
{
	(void)batch;
	(void)fd;
	return 0;
}

void batch_forget(struct batch *batch, unsigned kept)
{
	(void)batch;
	(void)kept;
}

void batch_send(struct batch *batch, int fd, unsigned kept, struct span data,
		int32_t *ret_done)
{
	(void)batch;
	(void)fd;
	(void)kept;
	(void)data;
	*ret_done = BATCH_UNDONE;
}

void batch_receive(struct batch *batch, int fd, unsigned kept, void *place, size_t size,
		   int32_t *ret_done)
{
	(void)batch;
	(void)fd;
	(void)kept;
	(void)place;
	(void)size;
	*ret_done = BATCH_UNDONE;
}

int batch_run(struct batch *batch)
{
	(void)batch;
	return -ENOSYS;
}

/* SPDX-License-Identifier: MIT */
/*
 * Each send or receive is an entry of the ring; they are made while they are handed
 * over, since none may wait (MSG_DONTWAIT), and their results lie there when the call
 * returns. Should the kernel not take them (it has no memory), the ring is closed, so
 * that it cannot take them later, and the caller does without.
 *
 * A file that is kept is let go of by an update of the table. Before Linux 6.13 that took
 * effect up to a second later, and its client would have seen no end for so long.
 */
#include "base/batch.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/os/os.h"

/* IORING_FEAT_RW_ATTR, which came with 6.14: liburing 2.3 does not know it. */
#define FEATURE_OF_6_14 (1u << 16)

_Static_assert(BATCH_KEPT_MAX <= UINT16_MAX, "struct batch, free");

struct batch {
	struct io_uring ring;
	unsigned count; /* noted */
	bool broken;
	unsigned free_count;
	uint16_t free[BATCH_KEPT_MAX]; /* places of the kernel's table of files */
};

static void prepare_keeping(struct batch *batch);
static struct io_uring_sqe *note(struct batch *batch, int32_t *ret_done);
static void name_file(struct io_uring_sqe *sqe, unsigned kept);
static int hand_over(struct batch *batch);
static int take_result(struct batch *batch);
static void give_up(struct batch *batch);

int batch_new(struct batch **ret_batch)
{
	/* The last two came with Linux 6.1: who has them has the rest. */
	struct io_uring_params params = {
		.flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN,
	};
	struct batch *batch = calloc(1, sizeof(*batch));
	int r;

	if (!batch)
		return -ENOMEM;
	r = io_uring_queue_init_params(BATCH_MAX, &batch->ring, &params);
	if (r < 0) {
		free(batch);
		return r == -EINVAL ? -ENOSYS : r;
	}
	/* A failure only means that each call looks the descriptor up. */
	(void)io_uring_register_ring_fd(&batch->ring);
	prepare_keeping(batch);
	*ret_batch = batch;
	return 0;
}

/* Nor does this one: then none can be kept. */
static void prepare_keeping(struct batch *batch)
{
	const uint64_t limit = os_descriptor_limit(0); /* the kernel's, for its table */
	const unsigned places = limit < BATCH_KEPT_MAX ? (unsigned)limit : BATCH_KEPT_MAX;

	if (!(batch->ring.features & FEATURE_OF_6_14) ||
	    io_uring_register_files_sparse(&batch->ring, places) < 0)
		return;
	for (unsigned place = places; place-- > 0;)
		batch->free[batch->free_count++] = (uint16_t)place;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	if (!batch->broken)
		io_uring_queue_exit(&batch->ring);
	free(batch);
}

unsigned batch_keep(struct batch *batch, int fd)
{
	unsigned place;

	if (batch->broken || batch->free_count == 0)
		return 0;
	place = batch->free[batch->free_count - 1];
	if (io_uring_register_files_update(&batch->ring, place, &fd, 1) != 1)
		return 0;
	batch->free_count--;
	return place + 1;
}

/* Closing the ring lets go of all of them, some hundredths of a second later. */
void batch_forget(struct batch *batch, unsigned kept)
{
	const int none = -1;

	if (!kept || batch->broken)
		return;
	if (io_uring_register_files_update(&batch->ring, kept - 1, &none, 1) != 1) {
		give_up(batch);
		return;
	}
	batch->free[batch->free_count++] = (uint16_t)(kept - 1);
}

void batch_send(struct batch *batch, int fd, unsigned kept, struct span data,
		int32_t *ret_done)
{
	struct io_uring_sqe *sqe = note(batch, ret_done);

	if (!sqe)
		return;
	io_uring_prep_send(sqe, fd, data.at, data.size, MSG_NOSIGNAL | MSG_DONTWAIT);
	io_uring_sqe_set_data(sqe, ret_done);
	name_file(sqe, kept);
}

void batch_receive(struct batch *batch, int fd, unsigned kept, void *place, size_t size,
		   int32_t *ret_done)
{
	struct io_uring_sqe *sqe = note(batch, ret_done);

	if (!sqe)
		return;
	io_uring_prep_recv(sqe, fd, place, size, MSG_DONTWAIT);
	io_uring_sqe_set_data(sqe, ret_done);
	name_file(sqe, kept);
}

static void name_file(struct io_uring_sqe *sqe, unsigned kept)
{
	if (!kept)
		return;
	sqe->fd = (int)kept - 1;
	sqe->flags |= IOSQE_FIXED_FILE;
}

int batch_run(struct batch *batch)
{
	int r = batch->broken ? -EIO : hand_over(batch);

	batch->count = 0;
	return r;
}

static struct io_uring_sqe *note(struct batch *batch, int32_t *ret_done)
{
	struct io_uring_sqe *sqe;

	*ret_done = BATCH_UNDONE;
	if (batch->broken)
		return NULL;
	check(batch->count < BATCH_MAX);
	batch->count++;
	sqe = io_uring_get_sqe(&batch->ring);
	check(sqe != NULL); /* the kernel has taken all that were handed over */
	return sqe;
}

static int hand_over(struct batch *batch)
{
	unsigned handed = 0;
	int done;
	int r = 0;

	while (r >= 0 && handed < batch->count) {
		r = io_uring_submit(&batch->ring);
		if (r > 0)
			handed += (unsigned)r;
		else if (r == -EINTR)
			r = 0;
		else if (r == 0)
			r = -EIO;
	}
	for (unsigned i = 0; i < handed; i++) {
		done = take_result(batch);
		check(done == 0); /* or nobody could say what became of it */
	}
	if (r < 0)
		give_up(batch);
	return r < 0 ? r : 0;
}

static int take_result(struct batch *batch)
{
	struct io_uring_cqe *done;
	int r;

	do
		r = io_uring_wait_cqe(&batch->ring, &done);
	while (r == -EINTR);
	if (r < 0)
		return r;
	*(int32_t *)io_uring_cqe_get_data(done) = done->res;
	io_uring_cqe_seen(&batch->ring, done);
	return 0;
}

static void give_up(struct batch *batch)
{
	io_uring_queue_exit(&batch->ring);
	batch->broken = true;
}

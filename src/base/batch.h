/* SPDX-License-Identifier: MIT */
/*
 * Sends and receives of many sockets with one system call, by io_uring(7). They are
 * those of send(2) and recv(2) with MSG_DONTWAIT, one after the other in the order in
 * which they were noted, and all are over when batch_run returns: nothing holds their
 * memory or their descriptors any longer than a call of their own would.
 *
 * For the thread that made it, and no child that it forks.
 */
#ifndef BASE_BATCH_H
#define BASE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/** So many can be noted before they are run. */
#define BATCH_MAX 128u
/** So many descriptors can be kept at a time, or as many as there may be, if fewer. */
#define BATCH_KEPT_MAX 4096u
/** What is found where a result is to stand if nothing was done: the caller makes the
 * call itself. */
#define BATCH_UNDONE INT32_MIN

struct batch;

/** 0 or -errno: -ENOSYS where crew was built without liburing or the kernel is older
 * than 6.1, -EPERM where it is forbidden. */
int batch_new(struct batch **ret_batch);
/** Takes NULL. What was noted and not run is forgotten. */
void batch_free(struct batch *batch);

/** Have the kernel look this descriptor up once instead of for each call, which pays with
 * some dozen of them (io_uring_register_files(3)). 1 to BATCH_KEPT_MAX, to be given along with it
 * from then on; or 0: too many are kept, or the kernel is older than 6.14. Its file stays
 * open, also when the descriptor is closed, until batch_forget; if the process dies, some
 * hundredths of a second longer. A system call, unless too many are kept. */
unsigned batch_keep(struct batch *batch, int fd);
/** Before the descriptor is closed. Takes 0. A system call. */
void batch_forget(struct batch *batch, unsigned kept);

/** Note a send (MSG_NOSIGNAL) of some bytes, 1 at least; `kept` is what batch_keep gave
 * for the descriptor, or 0. batch_run sets *ret_done to how many went, or -errno; it and
 * the bytes must stay until then. */
void batch_send(struct batch *batch, int fd, unsigned kept, struct span data,
		int32_t *ret_done);
/** Note a receive of at most `size` bytes; 0 is the end of file. Else as batch_send. */
void batch_receive(struct batch *batch, int fd, unsigned kept, void *place, size_t size,
		   int32_t *ret_done);
/** Do all that were noted. 0; or -errno, and then the rest is BATCH_UNDONE, and so is
 * all that is noted from then on. */
int batch_run(struct batch *batch);

#endif

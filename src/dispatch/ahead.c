/* SPDX-License-Identifier: MIT */
/*
 * With io_uring: what a turn's events speak of is received with one system call before
 * the first of them is handled, and what the turn has to say is sent with one at its
 * end. Nothing else changes: reader.c finds that its first read was made already,
 * writer.c its first send.
 *
 * Only for clients from whom a request is expected: of a body more is read at once, and
 * where it stays. What was received belongs to its event, and is gone when that was
 * handled; events that were put off keep theirs.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/private.h"

/* Not of a page's size: their beginnings would meet in the same lines of the cache. */
#define STRIDE_BYTES (AHEAD_BYTES + 192u)

struct ahead {
	struct batch *batch;
	bool failed;
	int32_t received[AHEAD_MAX];
	char room[AHEAD_MAX * STRIDE_BYTES];
};

_Static_assert(AHEAD_MAX <= BATCH_MAX && AHEAD_MAX < UINT8_MAX, "connection->ahead");
_Static_assert(FLUSHES_A_TURN <= BATCH_MAX, "what is sent together");

static void run(struct ahead *ahead);

int ahead_init(struct dispatcher *dispatcher)
{
	struct ahead *ahead = calloc(1, sizeof(*ahead));
	int r;

	if (!ahead)
		return -ENOMEM;
	r = batch_new(&ahead->batch);
	if (r < 0) {
		free(ahead);
		return r;
	}
	dispatcher->ahead = ahead;
	return 0;
}

void ahead_fini(struct dispatcher *dispatcher)
{
	if (!dispatcher->ahead)
		return;
	batch_free(dispatcher->ahead->batch);
	free(dispatcher->ahead);
	dispatcher->ahead = NULL;
}

void ahead_receive(struct loop *loop)
{
	struct dispatcher *dispatcher = loop->owner;
	struct ahead *ahead = dispatcher->ahead;
	unsigned count = 0;

	for (int i = 0; i < loop->pending_count && count < AHEAD_MAX; i++) {
		struct connection *connection = connection_to_read(&loop->pending[i]);

		if (!connection)
			continue;
		batch_receive(ahead->batch, connection->watch.fd,
			      ahead->room + count * STRIDE_BYTES, AHEAD_BYTES,
			      &ahead->received[count]);
		connection->ahead = (uint8_t)++count;
	}
	if (count)
		run(ahead);
}

/* Of a failure the results tell too. */
static void run(struct ahead *ahead)
{
	const int r = batch_run(ahead->batch);

	if (r < 0 && !ahead->failed)
		log_warning("io_uring does no more reads and writes, they are system calls "
			    "of their own from now on: %s", strerror(-r));
	ahead->failed = r < 0;
}

int32_t ahead_take(struct connection *connection, char **ret_place)
{
	struct ahead *ahead = connection->dispatcher->ahead;
	const unsigned place = connection->ahead - 1u;

	connection->ahead = 0;
	*ret_place = ahead->room + place * STRIDE_BYTES;
	return ahead->received[place] != -EINTR ? ahead->received[place] : BATCH_UNDONE;
}

/* All are noted as sent before anybody goes on with one of them: that may say more to
 * any other. */
void ahead_send(struct dispatcher *dispatcher, struct connection *const *connections,
		unsigned count, int32_t *failures)
{
	struct ahead *ahead = dispatcher->ahead;
	bool any = false;

	for (unsigned i = 0; i < count; i++) {
		const struct span held = buffer_span(&connections[i]->out);

		failures[i] = BATCH_UNDONE;
		if (!ahead || connections[i]->gone || !held.size ||
		    held.size > INT32_MAX)
			continue;
		batch_send(ahead->batch, connections[i]->watch.fd, held, &failures[i]);
		any = true;
	}
	if (!any)
		return;
	run(ahead);
	for (unsigned i = 0; i < count; i++) {
		if (failures[i] < 0)
			continue;
		writer_sent(connections[i], (size_t)failures[i]);
		failures[i] = BATCH_UNDONE;
	}
}

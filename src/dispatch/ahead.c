/* SPDX-License-Identifier: MIT */
/*
 * With io_uring: what a turn's events speak of is received with one system call before
 * the first of them is handled, and what the turn has to say is sent with one at its
 * end. Nothing else changes: reader.c finds that its first read was made already,
 * writer.c its first send.
 *
 * Which are ready is epoll's to say: by io_uring that takes as long. With --loop auto who
 * is alone in a turn has a system call of its own, which takes less.
 *
 * Only for clients from whom a request is expected: of a body more is read at once, and
 * where it stays. What was received belongs to its event, and is gone when that was
 * handled; events that were put off keep theirs.
 *
 * Who is received from again and again is kept (batch_keep): that costs two system calls
 * in a connection's life, and spares each request a hundredth.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/private.h"

/* Not of a page's size: their beginnings would meet in the same lines of the cache. */
#define STRIDE_BYTES (AHEAD_BYTES + 192u)

/* Times that a connection was received from with others before it is kept: it pays with half
 * as many more. */
#define KEEP_AFTER 32u

struct ahead {
	struct batch *batch;
	unsigned least; /* fewer are not worth it */
	bool failed;
	int32_t received[AHEAD_MAX];
	char room[AHEAD_MAX * STRIDE_BYTES];
};

_Static_assert(AHEAD_MAX <= BATCH_MAX && AHEAD_MAX < UINT8_MAX, "connection->ahead");
_Static_assert(KEEP_AFTER <= UINT8_MAX && BATCH_KEPT_MAX <= UINT16_MAX, "connection->kept");
_Static_assert(FLUSHES_A_TURN <= BATCH_MAX, "what is sent together");

static void keep(struct ahead *ahead, struct connection *connection);
static void run(struct ahead *ahead);
static bool can_be_sent(const struct connection *connection);

int ahead_init(struct dispatcher *dispatcher, unsigned least)
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
	ahead->least = least;
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
	struct connection *readable[AHEAD_MAX];
	unsigned count = 0;

	for (int i = 0; i < loop->pending_count && count < AHEAD_MAX; i++) {
		readable[count] = connection_to_read(&loop->pending[i]);
		count += readable[count] != NULL;
	}
	if (count == 0 || count < ahead->least)
		return;
	for (unsigned i = 0; i < count; i++) {
		keep(ahead, readable[i]);
		batch_receive(ahead->batch, readable[i]->watch.fd, readable[i]->kept,
			      ahead->room + i * STRIDE_BYTES, AHEAD_BYTES,
			      &ahead->received[i]);
		readable[i]->ahead = (uint8_t)(i + 1u);
	}
	run(ahead);
}

/* Who finds no place tries again after as many. */
static void keep(struct ahead *ahead, struct connection *connection)
{
	if (connection->kept || ++connection->together < KEEP_AFTER)
		return;
	connection->together = 0;
	connection->kept = (uint16_t)batch_keep(ahead->batch, connection->watch.fd);
}

void ahead_forget(struct connection *connection)
{
	if (connection->kept)
		batch_forget(connection->dispatcher->ahead->batch, connection->kept);
	connection->kept = 0;
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

static bool can_be_sent(const struct connection *connection)
{
	const size_t size = buffer_size(&connection->out);

	return !connection->gone && size > 0 && size <= INT32_MAX;
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
	unsigned ready[FLUSHES_A_TURN];
	unsigned ready_count = 0;

	for (unsigned i = 0; i < count; i++) {
		failures[i] = BATCH_UNDONE;
		if (ahead && can_be_sent(connections[i]))
			ready[ready_count++] = i;
	}
	if (ready_count == 0 || ready_count < ahead->least)
		return;
	for (unsigned i = 0; i < ready_count; i++) {
		const struct connection *connection = connections[ready[i]];

		batch_send(ahead->batch, connection->watch.fd, connection->kept,
			   buffer_span(&connection->out), &failures[ready[i]]);
	}
	run(ahead);
	for (unsigned i = 0; i < count; i++) {
		if (failures[i] < 0)
			continue;
		writer_sent(connections[i], (size_t)failures[i]);
		failures[i] = BATCH_UNDONE;
	}
}

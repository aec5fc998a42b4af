/* SPDX-License-Identifier: MIT */
/*
 * Bytes to clients. What the answers of one turn leave here is sent at its
 * end, once for each connection (of all together with io_uring: ahead.c). Large
 * pieces are sent straight from where they lie (a worker's arena); what the socket
 * does not take is copied at once, so that a slow client never holds a worker's
 * memory: how much may be copied is bounded by the credit that the worker has.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/os/os.h"
#include "dispatch/private.h"

static bool send_held(struct connection *connection, int32_t failure);
static ssize_t send_some(struct connection *connection, struct span data);
static void flushed(struct connection *connection);
static void take_leave(struct connection *connection);
static void grant_credit(struct connection *connection);

void writer_append(struct connection *connection, const void *data, size_t size)
{
	if (connection->gone || connection->broken)
		return;
	if (!buffer_append(&connection->out, data, size)) {
		connection_drop(connection);
		return;
	}
	writer_later(connection);
}

void writer_direct(struct connection *connection, struct span data)
{
	struct span held = buffer_span(&connection->out);
	struct iovec parts[2] = {
		{ (void *)(uintptr_t)held.at, held.size },
		{ (void *)(uintptr_t)data.at, data.size },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	size_t taken;
	ssize_t n;

	if (connection->gone || connection->broken)
		return;
	if (data.size < DIRECT_SEND_BYTES || connection->write_since_ms) {
		writer_append(connection, data.at, data.size);
		return;
	}
	n = sendmsg(connection->watch.fd, &message, MSG_NOSIGNAL);
	taken = n > 0 ? (size_t)n : 0;
	if (taken < held.size) {
		buffer_drain(&connection->out, taken);
		writer_append(connection, data.at, data.size);
		return;
	}
	buffer_drain(&connection->out, held.size);
	taken -= held.size;
	writer_append(connection, data.at + taken, data.size - taken);
}

void writer_send_now(struct connection *connection)
{
	if (!connection->write_since_ms)
		(void)send_held(connection, BATCH_UNDONE);
}

void writer_flush(struct connection *connection)
{
	writer_flush_on(connection, BATCH_UNDONE);
}

void writer_sent(struct connection *connection, size_t size)
{
	connection->write_since_ms = 0;
	buffer_drain(&connection->out, size);
}

void writer_flush_on(struct connection *connection, int32_t failure)
{
	if (send_held(connection, failure))
		flushed(connection);
}

/* As much as there is room for. Is the connection still there? */
static bool send_held(struct connection *connection, int32_t failure)
{
	struct span held = buffer_span(&connection->out);
	ssize_t n = failure;

	for (; held.size > 0; n = BATCH_UNDONE) {
		if (n == BATCH_UNDONE)
			n = send_some(connection, held);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			writer_wait_for_room(connection);
			break;
		}
		if (n < 0) {
			connection_drop(connection);
			return false;
		}
		writer_sent(connection, (size_t)n);
		held = buffer_span(&connection->out);
	}
	return true;
}

static ssize_t send_some(struct connection *connection, struct span data)
{
	const ssize_t n =
		send(connection->watch.fd, data.at, data.size, MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

void writer_later(struct connection *connection)
{
	if (list_empty(&connection->in_flush))
		list_push_back(&connection->dispatcher->to_flush,
			       &connection->in_flush);
}

void writer_wait_for_room(struct connection *connection)
{
	struct loop *loop = &connection->dispatcher->loop;
	const uint64_t due = loop->now_ms + WRITE_TIMEOUT_MS;

	if (!connection->write_since_ms) {
		connection->write_since_ms = loop->now_ms;
		connection->unsent = os_socket_unsent(connection->watch.fd);
	}
	if (!loop_timer_is_set(&connection->timer) ||
	    connection->timer.due_ms > due)
		loop_timer_set(loop, &connection->timer, due);
}

/* Some room was made: let those go on who waited for it. */
static void flushed(struct connection *connection)
{
	struct list *first = connection->exchanges.next;
	struct exchange *exchange;

	while (connection->broken && first != &connection->exchanges) {
		exchange_free(container_of(first, struct exchange, in_connection));
		first = connection->exchanges.next;
	}
	if (first != &connection->exchanges) {
		exchange = container_of(first, struct exchange, in_connection);
		if (exchange->file_fd >= 0 && buffer_size(&connection->out) == 0)
			exchange_send_file(exchange);
		grant_credit(connection);
	} else if (buffer_size(&connection->out) == 0 && connection->closing &&
		   !connection->gone) {
		take_leave(connection);
	}
	if (connection->state == CONNECTION_FULL &&
	    connection->exchange_count < PIPELINE_MAX / 2 &&
	    connection->files < PIPELINED_FILES_MAX &&
	    connection->promised <= OUT_HIGH_BYTES &&
	    buffer_size(&connection->out) <= OUT_LOW_BYTES)
		connection_resume(connection);
	connection_update(connection);
}

/* Where the client might still be sending, a plain close could cost it the answer:
 * the kernel resets what is sent to nobody (RFC 9112, 9.6). Of a Unix socket it is
 * not known what lies unread, since it is not watched while nothing is read. */
static void take_leave(struct connection *connection)
{
	const bool all_read = connection->edge && !connection->unread;

	if (all_read && (connection->peer_closed || connection->asked_all)) {
		connection_drop(connection);
	} else if (connection->state != CONNECTION_LINGER) {
		shutdown(connection->watch.fd, SHUT_WR);
		connection->linger_until_ms =
			connection->dispatcher->loop.now_ms + LINGER_MAX_MS;
		reader_set_state(connection, CONNECTION_LINGER);
		reader_ready(connection);
	}
}

static void grant_credit(struct connection *connection)
{
	struct list *first = connection->exchanges.next;
	struct exchange *exchange;

	if (first == &connection->exchanges ||
	    buffer_size(&connection->out) > OUT_LOW_BYTES)
		return;
	exchange = container_of(first, struct exchange, in_connection);
	if (exchange->credit_owed && exchange->seat)
		slot_credit(exchange->seat, exchange->slot,
			    exchange->credit_owed);
	exchange->credit_owed = 0;
}

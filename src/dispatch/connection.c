/* SPDX-License-Identifier: MIT */
/*
 * Clients' connections: accepting them, their clocks, and their end. What is
 * read is reader.c's, what is written writer.c's.
 *
 * A connection has one timer, which is moved lazily: it fires at the earliest
 * deadline known when it was set, looks at the real one, and is set again. So
 * a busy connection costs no timer operations at all.
 *
 * Who cannot be taken, for whatever reason, is answered 503; where descriptors
 * have run out one in reserve is used for that. Then the listener rests for a
 * moment instead of spinning, and why is logged.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"
#include "http/respond.h"

#define ACCEPTS_A_TURN 256
#define READ_EVENTS    (EPOLLIN | EPOLLRDHUP | EPOLLPRI)

static bool must_reset(const struct connection *connection);
static void free_of_call(struct connection *connection);
static bool accept_one(struct dispatcher *dispatcher);
static void refuse_one(struct dispatcher *dispatcher, int fd, int fault);
static void let_listener_rest(struct dispatcher *dispatcher, int fault);
static void say_full(struct dispatcher *dispatcher, int fd);
static void warn_of_limit(const struct dispatcher *dispatcher);
static void warn_of_fault(const struct dispatcher *dispatcher, int fault);
static int connection_new(struct dispatcher *dispatcher, int fd,
			  const struct sockaddr_storage *address);
static void ready(struct loop *loop, struct watch *watch, uint32_t events);
static void not_now(struct connection *connection, uint32_t events);
static bool is_idle(struct connection *connection);
static bool takes_nothing(struct connection *connection);
static void clock_ran(struct loop *loop, struct timer *timer);
static void deadline_passed(struct connection *connection);
static void read_what_is_there(struct connection *connection);
static bool waits_for_us(const struct connection *connection);
static void name_client(struct connection *connection,
			const struct sockaddr_storage *address);

bool connection_accept_all(struct dispatcher *dispatcher)
{
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		if (!accept_one(dispatcher))
			return false;
	}
	return true;
}

void connection_free(struct connection *connection)
{
	struct dispatcher *dispatcher = connection->dispatcher;
	struct list *link;

	if (must_reset(connection))
		setsockopt(connection->watch.fd, SOL_SOCKET, SO_LINGER,
			   &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
	while ((link = connection->exchanges.next) != &connection->exchanges)
		exchange_free(container_of(link, struct exchange, in_connection));
	if (connection->call) {
		free_of_call(connection);
		return;
	}
	loop_remove(&dispatcher->loop, &connection->watch);
	loop_timer_clear(&dispatcher->loop, &connection->timer);
	ahead_forget(connection);
	if (connection->edge)
		close(connection->watch.fd);
	else
		os_close_socket(connection->watch.fd);
	list_remove(&connection->in_dispatcher);
	list_remove(&connection->in_flush);
	buffer_fini(&connection->in);
	buffer_fini(&connection->out);
	free(connection);
	dispatcher->connection_count--;
	atomic_store_explicit(&dispatcher->self->score->connections,
			      dispatcher->connection_count, memory_order_relaxed);
}

/* An answer of HTTP/1.0 without a length ends with its connection: one that was cut short
 * would seem to be whole (RFC 9112, 8). A Unix socket cannot say so. */
static bool must_reset(const struct connection *connection)
{
	if (!connection->ends_answer)
		return false;
	return buffer_size(&connection->out) > 0 ||
	       (!list_empty(&connection->exchanges) &&
		container_of(connection->exchanges.next, const struct exchange,
			     in_connection)->state == EXCHANGE_ANSWERING);
}

/* It never had a socket. */
static void free_of_call(struct connection *connection)
{
	struct call *call = connection->call;

	list_remove(&connection->in_dispatcher);
	list_remove(&connection->in_flush);
	buffer_fini(&connection->out);
	free(connection);
	call_free(call);
}

void connection_drop(struct connection *connection)
{
	if (connection->gone)
		return;
	connection->gone = true;
	list_remove(&connection->in_dispatcher);
	list_push_back(&connection->dispatcher->gone, &connection->in_dispatcher);
}

void connection_break(struct connection *connection)
{
	if (connection->gone || connection->broken)
		return;
	/* A reset alone shows that this one is cut short: what goes before it goes now. */
	if (connection->ends_answer)
		writer_send_now(connection);
	if (connection->ends_answer || connection->call) {
		connection_drop(connection);
		return;
	}
	connection->broken = true;
	connection->closing = true;
	reader_set_state(connection, CONNECTION_DEAF);
	writer_later(connection);
}

void connection_update(struct connection *connection)
{
	const bool deaf = connection->state == CONNECTION_DEAF;
	uint32_t events = 0;

	if (connection->gone || connection->call)
		return;
	/* Edges are cheap to hear and dear to change; for the rest, who reads no
	 * more still hears that the client has left, and who will read on looks
	 * then. */
	if (connection->edge)
		events = connection->watch.events;
	else if (connection->state == CONNECTION_LINGER)
		events = READ_EVENTS;
	else if (connection->state == CONNECTION_FULL)
		events = connection->hung_up ? 0u : EPOLLRDHUP;
	else if (!connection->peer_closed)
		events = !deaf ? READ_EVENTS
			 : list_empty(&connection->exchanges) ? 0u
							      : EPOLLRDHUP;
	if (connection->write_since_ms)
		events |= EPOLLOUT;
	if (loop_change(&connection->dispatcher->loop, &connection->watch,
			events) < 0)
		connection_drop(connection);
}

void connection_finish(struct connection *connection)
{
	if (connection->gone || connection->call ||
	    connection->state == CONNECTION_LINGER)
		return;
	/* What was read, and waits for room to be answered, is answered first. */
	if (connection->state == CONNECTION_FULL && !list_empty(&connection->exchanges))
		return;
	/* Nor is it over when half a head is here: the rest is on its way, or late. */
	if (connection->state == CONNECTION_HEAD) {
		connection->finishing = true;
		connection->pipelines = true;
		return;
	}
	if (!connection->reading)
		reader_set_state(connection, CONNECTION_DEAF);
	if (list_empty(&connection->exchanges)) {
		if (buffer_size(&connection->out) == 0)
			connection_drop(connection);
		connection->closing = true;
	}
	connection_update(connection);
}

/* Most clients that close their side have left; some only say that they have
 * asked for all (nc -N). So who waits in the queue alone is taken for gone, be
 * half a body behind that or not, and a stream is given up; where a worker is
 * at it already, it may know, and the answer is tried. */
void connection_half_closed(struct connection *connection)
{
	/* Nor is it gone who was answered before, and is so only now, or asks for more. */
	bool waits_only = !list_empty(&connection->exchanges) && !connection->resuming &&
			  connection->state != CONNECTION_FULL &&
			  buffer_size(&connection->out) == 0;

	list_each(link, &connection->exchanges) {
		struct exchange *exchange =
			container_of(link, struct exchange, in_connection);

		if (exchange->state == EXCHANGE_ANSWERING &&
		    exchange->answer_left == WIRE_UNKNOWN)
			exchange_cut(exchange);
		if (exchange->state == EXCHANGE_LINKED)
			slot_half_closed(exchange->seat, exchange->slot);
		waits_only = waits_only && (exchange->state == EXCHANGE_QUEUED ||
					    exchange == connection->reading);
	}
	if (waits_only)
		connection_drop(connection);
}

void connection_resume(struct connection *connection)
{
	if (connection->state != CONNECTION_FULL || connection->gone)
		return;
	reader_set_state(connection, CONNECTION_HEAD);
	connection->resuming = true;
	reader_ready(connection);
	connection->resuming = false;
	if (connection->dispatcher->draining && connection->state != CONNECTION_FULL)
		connection_finish(connection);
}

static bool accept_one(struct dispatcher *dispatcher)
{
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);
	int fd = accept4(dispatcher->listener.fd, (struct sockaddr *)&address,
			 &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int fault = errno;

	if (fd < 0) {
		if (fault == EMFILE || fault == ENFILE || fault == ENOMEM ||
		    fault == ENOBUFS)
			refuse_one(dispatcher, -1, fault);
		return fault == ECONNABORTED || fault == EINTR;
	}
	if (fd >= dispatcher->fds_max ||
	    dispatcher->connection_count >= dispatcher->connections_max)
		fault = EMFILE;
	else
		fault = -connection_new(dispatcher, fd, &address);
	if (fault)
		refuse_one(dispatcher, fd, fault);
	return !fault;
}

/* No place for another client: tell this one (-1: the next), and let the listener rest. */
static void refuse_one(struct dispatcher *dispatcher, int fd, int fault)
{
	if (fd < 0) {
		if (dispatcher->reserve_fd >= 0)
			close(dispatcher->reserve_fd);
		dispatcher->reserve_fd = -1;
		fd = accept4(dispatcher->listener.fd, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	if (fd >= 0) {
		say_full(dispatcher, fd);
		os_close_socket(fd);
	}
	if (dispatcher->reserve_fd < 0)
		dispatcher->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	let_listener_rest(dispatcher, fault);
}

/* Unless nobody would wake it again: then each turn refuses the next one. */
static void let_listener_rest(struct dispatcher *dispatcher, int fault)
{
	if (loop_timer_is_set(&dispatcher->accept_rest))
		return;
	if (fault == EMFILE)
		warn_of_limit(dispatcher);
	else
		warn_of_fault(dispatcher, fault);
	if (loop_timer_set(&dispatcher->loop, &dispatcher->accept_rest,
			   dispatcher->loop.now_ms + ACCEPT_REST_MS) == 0)
		loop_change(&dispatcher->loop, &dispatcher->listener, 0);
}

/* What it has asked is read, as a close before that would be a reset. */
static void say_full(struct dispatcher *dispatcher, int fd)
{
	static const char lines[] = "Content-Type: application/json\r\nRetry-After: 1\r\n";
	static const char body[] = "{\"error\":\"too many connections\"}";
	const struct http_answer answer = {
		.status = 503,
		.minor = 1,
		.length_known = true,
		.length = sizeof(body) - 1,
		.headers = { lines, sizeof(lines) - 1 },
		.date = dispatcher_date(dispatcher),
	};
	char text[HTTP_HEAD_ROOM + sizeof(lines) + sizeof(body)];
	const size_t head_size = http_write_head(text, &answer);

	memcpy(text + head_size, body, sizeof(body) - 1);
	(void)!send(fd, text, head_size + sizeof(body) - 1, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	(void)!os_receive(fd, dispatcher->input, READ_BYTES, NULL);
}

/* Of two limits, which one it is, and what is to be done about it. */
static void warn_of_limit(const struct dispatcher *dispatcher)
{
	const unsigned count = dispatcher->connection_count;
	const unsigned wanted = dispatcher->server->connections_max;

	if (wanted && count >= sisters_share(dispatcher, wanted)) {
		log_warning("no place for more than %u connections (connections_max): "
			    "answering 503 to new ones",
			    count);
		return;
	}
	log_warning("no place for more than %u connections (limit of open files %llu: raise "
		    "LimitNOFILE= or ulimit -Hn): answering 503 to new ones",
		    count, (unsigned long long)os_descriptor_limit(0));
}

/* It is no limit of ours that is met. */
static void warn_of_fault(const struct dispatcher *dispatcher, int fault)
{
	const char *where = fault == ENOSPC   ? " (fs.epoll.max_user_watches)"
			    : fault == ENFILE ? " (fs.file-max)"
					      : "";

	log_warning("cannot take another client beside %u connections: %s%s: answering 503 to "
		    "new ones",
		    dispatcher->connection_count, strerror(fault), where);
}

/* 0; or -errno, and the descriptor stays the caller's. */
static int connection_new(struct dispatcher *dispatcher, int fd,
			  const struct sockaddr_storage *address)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	int r;

	if (!connection)
		return -ENOMEM;
	connection->watch.fd = fd;
	connection->watch.ready = ready;
	if (address->ss_family != AF_UNIX)
		connection->edge = EPOLLET;
	r = loop_add(&dispatcher->loop, &connection->watch, READ_EVENTS | connection->edge);
	if (r < 0) {
		free(connection);
		return r;
	}
	connection->dispatcher = dispatcher;
	connection->timer.fire = clock_ran;
	list_init(&connection->in_dispatcher);
	list_init(&connection->in_flush);
	list_init(&connection->exchanges);
	name_client(connection, address);
	dispatcher->connection_count++;
	atomic_store_explicit(&dispatcher->self->score->connections,
			      dispatcher->connection_count, memory_order_relaxed);
	list_push_back(&dispatcher->connections, &connection->in_dispatcher);
	reader_set_state(connection, CONNECTION_IDLE);
	return 0;
}

struct connection *connection_to_read(const struct epoll_event *event)
{
	struct watch *watch = event->data.ptr;
	struct connection *connection;

	if (!watch || watch->ready != ready || !(event->events & EPOLLIN) ||
	    event->events & (EPOLLERR | EPOLLHUP))
		return NULL;
	connection = container_of(watch, struct connection, watch);
	if (connection->gone || connection->peer_closed || connection->reading ||
	    buffer_size(&connection->in) || !connection->edge ||
	    (connection->state != CONNECTION_IDLE &&
	     connection->state != CONNECTION_HEAD))
		return NULL;
	return connection;
}

static void ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct connection *connection =
		container_of(watch, struct connection, watch);

	(void)loop;
	if (connection->gone)
		return;
	/* Both sides are shut down: who lingers has done its part itself. */
	if (events & EPOLLERR ||
	    (events & EPOLLHUP && connection->state != CONNECTION_LINGER)) {
		connection_drop(connection);
		return;
	}
	if (events & (EPOLLRDHUP | EPOLLPRI))
		connection->read_on = true;
	if ((events & EPOLLOUT) && connection->write_since_ms)
		writer_flush(connection);
	if (connection->gone)
		return;
	if (connection->state == CONNECTION_DEAF || connection->state == CONNECTION_FULL)
		not_now(connection, events);
	else if (events & (EPOLLIN | EPOLLHUP))
		reader_ready(connection);
	connection->ahead = 0;
}

/* It is read later, or never; but that the client has left is heard. */
static void not_now(struct connection *connection, uint32_t events)
{
	/* Who is full is read on later, to its end. */
	bool *heard = connection->state == CONNECTION_FULL ? &connection->hung_up
							   : &connection->peer_closed;

	if (events & (EPOLLIN | EPOLLRDHUP))
		connection->unread = true;
	if (events & EPOLLRDHUP && !*heard) {
		*heard = true;
		connection_half_closed(connection);
	}
	/* What is not wanted, and is watched all the same, would come again at once. */
	connection_update(connection);
}

/* Not while it waits for an answer, nor while it takes one: what it has not read
 * yet may lie with the kernel. */
static bool is_idle(struct connection *connection)
{
	const unsigned before = connection->unsent;

	if (!list_empty(&connection->exchanges) || buffer_size(&connection->out))
		return false;
	connection->unsent = os_socket_unsent(connection->watch.fd);
	return connection->unsent == 0 || connection->unsent == before;
}

/* Epoll tells of room when a third of all is free, for which a slow client may take minutes;
 * and it may be we who are late. So what there is room for is sent before it is judged. */
static bool takes_nothing(struct connection *connection)
{
	const uint64_t now = connection->dispatcher->loop.now_ms;
	const uint64_t since = connection->write_since_ms;
	const unsigned before = connection->unsent;

	if (!since || since + WRITE_TIMEOUT_MS > now)
		return false;
	writer_flush(connection);
	if (connection->gone || connection->write_since_ms != since)
		return false;
	connection->unsent = os_socket_unsent(connection->watch.fd);
	if (connection->unsent >= before)
		return true;
	connection->write_since_ms = now;
	return false;
}

static void clock_ran(struct loop *loop, struct timer *timer)
{
	struct connection *connection =
		container_of(timer, struct connection, timer);
	uint64_t write_due;
	uint64_t due;

	read_what_is_there(connection);
	if (!connection->gone && takes_nothing(connection))
		connection_drop(connection);
	if (!connection->gone && connection->deadline_ms &&
	    connection->deadline_ms <= loop->now_ms)
		deadline_passed(connection);
	connection_update(connection);
	if (connection->gone)
		return;
	/* Whatever became of the one deadline, the other still holds. */
	due = connection->deadline_ms;
	write_due = connection->write_since_ms
			    ? connection->write_since_ms + WRITE_TIMEOUT_MS
			    : 0;
	if (!due || (write_due && write_due < due))
		due = write_due;
	if (due)
		loop_timer_set(loop, timer, due);
}

static void deadline_passed(struct connection *connection)
{
	const enum connection_state state = connection->state;

	if ((state == CONNECTION_IDLE && !is_idle(connection)) || waits_for_us(connection))
		reader_set_state(connection, state);
	else if (state == CONNECTION_HEAD)
		refusal_of_parser(connection, 408,
				  "the head of the request did not come in time");
	else if (state == CONNECTION_BODY)
		refusal_of_parser(connection, 408,
				  "the body of the request did not come in time");
	else
		connection_drop(connection);
}

/* It may be we who are late, and not the client: what lies there is read, once, before it is
 * judged. */
static void read_what_is_there(struct connection *connection)
{
	const enum connection_state state = connection->state;

	if (connection->gone || connection->deadline_ms > connection->dispatcher->loop.now_ms)
		return;
	if (state == CONNECTION_FULL || state == CONNECTION_DEAF)
		return;
	if (connection->ahead || os_socket_unread(connection->watch.fd) > 0)
		reader_ready(connection);
}

/* For 100 Continue, which cannot be said before other answers. */
static bool waits_for_us(const struct connection *connection)
{
	return connection->state == CONNECTION_BODY && connection->reading &&
	       connection->reading->wants_continue && !exchange_is_first(connection->reading);
}

/* Who comes by IPv4 to a socket of both is called as elsewhere, not ::ffff:192.0.2.1. */
static void name_client(struct connection *connection,
			const struct sockaddr_storage *address)
{
	const struct sockaddr_in *four = (const void *)address;
	const struct sockaddr_in6 *six = (const void *)address;
	char text[INET6_ADDRSTRLEN] = "?";
	uint32_t hash = 2166136261u;

	if (address->ss_family == AF_INET) {
		inet_ntop(AF_INET, &four->sin_addr, text, sizeof(text));
		snprintf(connection->client, CLIENT_TEXT_BYTES, "%s:%u", text,
			 ntohs(four->sin_port));
	} else if (address->ss_family == AF_INET6 &&
		   IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], text, sizeof(text));
		snprintf(connection->client, CLIENT_TEXT_BYTES, "%s:%u", text,
			 ntohs(six->sin6_port));
	} else if (address->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof(text));
		snprintf(connection->client, CLIENT_TEXT_BYTES, "[%s]:%u", text,
			 ntohs(six->sin6_port));
	} else {
		snprintf(connection->client, CLIENT_TEXT_BYTES, "unix:");
	}
	for (const char *c = text; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	connection->address_hash = hash;
}

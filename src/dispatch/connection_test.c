/* SPDX-License-Identifier: MIT */
/* Clients that are slow, late or gone: a dispatcher without workers, and this test as its
 * clients. Where a test sets the time, nothing but the connection's clock is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"
#include "supervise/scoreboard.h"

#define ROOM_BYTES  (64 * 1024)
#define LARGE_BYTES (4u * 1024u * 1024u)
/* Answered with 204, by nobody else. */
#define SMALL       "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"

static const struct crew_server server = { .dispatchers = 1,
					   .head_timeout_ms = 5000,
					   .idle_timeout_ms = 60000,
					   .body_timeout_ms = 30000,
					   .shutdown_timeout_ms = 30000 };
static struct score score;
static struct crew_child self = { .score = &score, .is_thread = true };
static struct dispatcher *dispatcher;
static struct sockaddr_storage address; /* of the listener */
static socklen_t address_size;
static int client;
static char last_line[200]; /* of the log */
static int accept_fault;    /* of the next accept4(), and of the next to be watched; 0: none */
static int watch_fault;

/* These two stand in for libc's. */
int accept4(int fd, __SOCKADDR_ARG where, socklen_t *size, int flags)
{
	errno = accept_fault;
	accept_fault = 0;
	return errno ? -1 : (int)syscall(SYS_accept4, fd, where.__sockaddr__, size, flags);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	errno = operation == EPOLL_CTL_ADD ? watch_fault : 0;
	if (operation == EPOLL_CTL_ADD)
		watch_fault = 0;
	return errno ? -1 : (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static bool take_line(void *context, const struct crew_log_line *line)
{
	(void)context;
	snprintf(last_line, sizeof(last_line), "%s", line->message);
	return true;
}

static void listen_on(const struct sockaddr *where, socklen_t size)
{
	struct watch *listener = &dispatcher->listener;
	const int off = 0;

	listener->fd = socket(where->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(listener->fd >= 0);
	if (where->sa_family == AF_INET6)
		setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	assert_int_equal(bind(listener->fd, where, size), 0);
	assert_int_equal(listen(listener->fd, 8), 0);
	address_size = sizeof(address);
	assert_int_equal(getsockname(listener->fd, (struct sockaddr *)&address, &address_size),
			 0);
	listener->ready = listener_ready;
	assert_int_equal(loop_add(&dispatcher->loop, listener, EPOLLIN), 0);
}

static void listen_elsewhere(const struct sockaddr *where, socklen_t size)
{
	loop_remove(&dispatcher->loop, &dispatcher->listener);
	close(dispatcher->listener.fd);
	dispatcher->listener = (struct watch){ 0 };
	listen_on(where, size);
}

static int set_up(void **state)
{
	const struct sockaddr_in anywhere = { .sin_family = AF_INET,
					      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	(void)state;
	dispatcher = calloc(1, sizeof(*dispatcher));
	assert_non_null(dispatcher);
	dispatcher->server = &server;
	dispatcher->self = &self;
	dispatcher->connections_max = 8;
	dispatcher->fds_max = 1000;
	dispatcher->reserve_fd = -1;
	dispatcher->limits = (struct http_limits){ .line_max_bytes = LINE_MAX_BYTES,
						   .head_max_bytes = LINE_MAX_BYTES,
						   .headers_max = HTTP_HEADERS_MAX,
						   .body_max_bytes = LARGE_BYTES };
	dispatcher->kept_exchanges = (struct kept){ sizeof(struct exchange), 0, 0, NULL };
	dispatcher->kept_blocks = (struct kept){ KEPT_BLOCK_BYTES, 0, 0, NULL };
	list_init(&dispatcher->connections);
	list_init(&dispatcher->to_flush);
	list_init(&dispatcher->gone);
	list_init(&dispatcher->active);
	list_init(&dispatcher->calls_new);
	list_init(&dispatcher->calls_done);
	assert_int_equal(loop_init(&dispatcher->loop), 0);
	dispatcher->loop.owner = dispatcher;
	dispatcher->loop.turn_done = turn_done;
	dispatcher->accept_rest.fire = listener_rested;
	dispatcher->drain_timer.fire = drain_over;
	listen_on((const struct sockaddr *)&anywhere, sizeof(anywhere));
	client = -1;
	accept_fault = 0;
	watch_fault = 0;
	last_line[0] = '\0';
	log_set_taker(take_line, NULL);
	return 0;
}

static int tear_down(void **state)
{
	struct list *link;

	(void)state;
	log_forget_taker(take_line, NULL);
	if (client >= 0)
		close(client);
	while ((link = list_pop_front(&dispatcher->gone)))
		connection_free(container_of(link, struct connection, in_dispatcher));
	while ((link = dispatcher->connections.next) != &dispatcher->connections)
		connection_free(container_of(link, struct connection, in_dispatcher));
	if (!dispatcher->draining)
		close(dispatcher->listener.fd);
	if (dispatcher->reserve_fd >= 0)
		close(dispatcher->reserve_fd);
	buffer_fini(&dispatcher->chunk);
	loop_fini(&dispatcher->loop);
	free(dispatcher);
	return 0;
}

static void turn(void)
{
	assert_int_equal(loop_turn(&dispatcher->loop, 0), 0);
}

/* Until nothing more comes. */
static void turns(void)
{
	for (unsigned quiet = 0; quiet < 4;) {
		assert_int_equal(loop_turn(&dispatcher->loop, 5), 0);
		quiet = dispatcher->loop.came ? 0 : quiet + 1;
	}
}

/* A client that sends at once, and has little room for what it is sent. */
static void connect_client(void)
{
	const int room = ROOM_BYTES;
	const int on = 1;

	client = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(client >= 0);
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	if (address.ss_family != AF_UNIX)
		assert_int_equal(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	assert_int_equal(connect(client, (const struct sockaddr *)&address, address_size), 0);
}

static struct connection *accepted(void)
{
	connect_client();
	turn();
	assert_int_equal(dispatcher->connection_count, 1);
	return container_of(dispatcher->connections.next, struct connection, in_dispatcher);
}

static void client_takes(size_t size)
{
	static char bytes[ROOM_BYTES];

	while (size > 0) {
		const size_t most = size < sizeof(bytes) ? size : sizeof(bytes);
		const ssize_t n = recv(client, bytes, most, 0);

		assert_true(n > 0);
		size -= (size_t)n;
	}
}

/* Its kernel has said so to ours. */
static void wait_until_taken(const struct connection *connection)
{
	for (int i = 0; i < 1000; i++) {
		if (os_socket_unsent(connection->watch.fd) < connection->unsent)
			return;
		usleep(1000);
	}
	fail();
}

/* So much later, by its clock. Is it still there? */
static bool lasts(struct connection *connection, uint64_t ms)
{
	struct loop *loop = &dispatcher->loop;

	loop->now_ms += ms;
	if (loop_timer_is_set(&connection->timer) && connection->timer.due_ms <= loop->now_ms) {
		loop_timer_clear(loop, &connection->timer);
		connection->timer.fire(loop, &connection->timer);
	}
	return !connection->gone;
}

/* From now on its answer is larger than the room that there is for it. */
static void answer_with_much(struct connection *connection)
{
	static const char bytes[LARGE_BYTES];
	const int room = 8 * ROOM_BYTES;

	assert_int_equal(setsockopt(connection->watch.fd, SOL_SOCKET, SO_SNDBUF, &room,
				    sizeof(room)), 0);
	writer_append(connection, bytes, sizeof(bytes));
	writer_flush(connection);
	assert_true(connection->write_since_ms > 0);
}

static struct connection *being_answered(void)
{
	struct connection *connection = accepted();

	answer_with_much(connection);
	return connection;
}

static void who_takes_little_in_long_is_not_given_up(void **state)
{
	struct connection *connection = being_answered();
	struct pollfd room = { connection->watch.fd, POLLOUT, 0 };

	(void)state;
	for (int i = 0; i < 4; i++) {
		client_takes(2 * ROOM_BYTES);
		wait_until_taken(connection);
		/* Nobody says that there is any. */
		assert_int_equal(poll(&room, 1, 0), 0);
		assert_true(lasts(connection, WRITE_TIMEOUT_MS));
	}
}

/* What its kernel has taken meanwhile counts, once. */
static void who_takes_nothing_is_given_up(void **state)
{
	struct connection *connection = being_answered();

	(void)state;
	assert_true(lasts(connection, WRITE_TIMEOUT_MS - 1));
	(void)lasts(connection, 1);
	(void)lasts(connection, WRITE_TIMEOUT_MS);
	assert_false(lasts(connection, WRITE_TIMEOUT_MS));
}

static void ask(const char *bytes)
{
	assert_int_equal(send(client, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

/* Its next request does not come in time either. */
static void who_takes_nothing_is_given_up_though_it_is_late_too(void **state)
{
	struct connection *connection = accepted();

	(void)state;
	ask("OPTIONS *");
	turns();
	answer_with_much(connection);
	assert_int_equal(connection->state, CONNECTION_HEAD);
	assert_true(lasts(connection, server.head_timeout_ms));
	assert_int_equal(connection->state, CONNECTION_DEAF);
	assert_true(loop_timer_is_set(&connection->timer));
	(void)lasts(connection, WRITE_TIMEOUT_MS);
	(void)lasts(connection, WRITE_TIMEOUT_MS);
	assert_false(lasts(connection, WRITE_TIMEOUT_MS));
}

static void who_takes_nothing_is_not_given_as_long_as_who_is_idle(void **state)
{
	const uint64_t while_idle = server.idle_timeout_ms - 1000;
	struct connection *connection = accepted();

	(void)state;
	assert_true(lasts(connection, while_idle));
	answer_with_much(connection);
	assert_true(lasts(connection, server.idle_timeout_ms - while_idle));
	assert_int_equal(connection->state, CONNECTION_IDLE);
	assert_true(connection->timer.due_ms <= connection->write_since_ms + WRITE_TIMEOUT_MS);
}

static void a_file_is_sent_on_to_who_takes_little(void **state)
{
	struct connection *connection = accepted();
	const int room = 8 * ROOM_BYTES;
	struct http_head head = { .minor = 1, .keep_alive = true };
	struct exchange *exchange = exchange_new(connection, &head);
	FILE *file = tmpfile();
	uint64_t left;

	(void)state;
	assert_true(file && exchange);
	assert_int_equal(ftruncate(fileno(file), LARGE_BYTES), 0);
	assert_int_equal(setsockopt(connection->watch.fd, SOL_SOCKET, SO_SNDBUF, &room,
				    sizeof(room)), 0);
	exchange_begin(exchange, 200, (struct span){ "", 0 }, LARGE_BYTES);
	exchange->file_fd = dup(fileno(file));
	connection->files++;
	fclose(file);
	while (!connection->write_since_ms)
		writer_flush(connection);
	left = exchange->answer_left;
	client_takes(2 * ROOM_BYTES);
	wait_until_taken(connection);
	assert_true(lasts(connection, WRITE_TIMEOUT_MS));
	assert_true(exchange->answer_left < left);
	(void)lasts(connection, WRITE_TIMEOUT_MS);
	assert_false(lasts(connection, WRITE_TIMEOUT_MS));
}

/* A client of a stream that has asked for more behind it than is taken in. */
static struct connection *full_behind_a_stream(void)
{
	const struct http_head head = { .minor = 1, .keep_alive = true };
	struct connection *connection = accepted();
	struct exchange *stream = exchange_new(connection, &head);

	assert_non_null(stream);
	exchange_begin(stream, 200, (struct span){ "", 0 }, WIRE_UNKNOWN);
	for (unsigned i = 0; i <= PIPELINE_MAX; i++)
		ask(SMALL);
	turns();
	assert_int_equal(connection->state, CONNECTION_FULL);
	assert_false(connection->hung_up);
	return connection;
}

static void who_leaves_a_stream_is_noticed_though_it_asked_for_much(void **state)
{
	(void)state;
	full_behind_a_stream();
	shutdown(client, SHUT_WR);
	turns();
	assert_int_equal(dispatcher->connection_count, 0);
}

static void who_leaves_a_stream_by_a_unix_socket_is_noticed_too(void **state)
{
	const struct sockaddr_un nameless = { .sun_family = AF_UNIX };

	(void)state;
	listen_elsewhere((const struct sockaddr *)&nameless, sizeof(sa_family_t));
	who_leaves_a_stream_is_noticed_though_it_asked_for_much(state);
}

/* It has asked for all, and is answered when its turn comes. */
static void who_only_asks_for_no_more_is_not_gone(void **state)
{
	struct connection *connection = full_behind_a_stream();
	struct exchange *first = container_of(connection->exchanges.next, struct exchange,
					      in_connection);

	(void)state;
	first->state = EXCHANGE_QUEUED;
	shutdown(client, SHUT_WR);
	turns();
	assert_true(connection->hung_up);
	assert_int_equal(dispatcher->connection_count, 1);
	assert_int_equal(connection->exchange_count, PIPELINE_MAX);
	first->state = EXCHANGE_ANSWERING;
	exchange_end(first);
	turns();
	assert_int_equal(dispatcher->connection_count, 0);
}

/* All that it is sent, up to the end. */
static const char *client_reads(void)
{
	static char text[ROOM_BYTES];
	size_t size = 0;
	ssize_t n;

	while ((n = recv(client, text + size, sizeof(text) - 1 - size, MSG_DONTWAIT)) > 0)
		size += (size_t)n;
	assert_int_equal(n, 0);
	text[size] = '\0';
	return text;
}

/* Its next request came too late, and it waits for the answer to the one before. */
static void what_comes_behind_a_refusal_is_not_heard_again_and_again(void **state)
{
	const struct sockaddr_un nameless = { .sun_family = AF_UNIX };
	const struct http_head head = { .minor = 1, .keep_alive = true };
	struct connection *connection;
	struct exchange *first;

	(void)state;
	listen_elsewhere((const struct sockaddr *)&nameless, sizeof(sa_family_t));
	connection = accepted();
	first = exchange_new(connection, &head);
	assert_non_null(first);
	first->state = EXCHANGE_LINKED;
	ask("OPTIONS *");
	turns();
	assert_true(lasts(connection, server.head_timeout_ms));
	assert_int_equal(connection->state, CONNECTION_DEAF);
	ask(" ");
	turn();
	turn();
	assert_int_equal(dispatcher->loop.came, 0);
	exchange_answer(first, 204, (struct span){ "", 0 }, (struct span){ "", 0 });
	turns();
	assert_non_null(strstr(client_reads(), "HTTP/1.1 408 "));
}

static void an_empty_line_behind_a_request_leaves_the_connection_idle(void **state)
{
	struct connection *connection = accepted();

	(void)state;
	ask(SMALL "\r\n");
	turns();
	assert_int_equal(connection->state, CONNECTION_IDLE);
	assert_false(connection->pipelines);
	assert_true(lasts(connection, server.head_timeout_ms + 1000));
	assert_int_equal(connection->state, CONNECTION_IDLE);
	ask("O");
	turns();
	assert_int_equal(connection->state, CONNECTION_HEAD);
	ask(&SMALL[1]);
	turns();
	assert_int_equal(connection->state, CONNECTION_IDLE);
	assert_int_equal(dispatcher->served, 2);
	ask("\r\n\r");
	turns();
	assert_int_equal(connection->state, CONNECTION_IDLE);
	client_takes(1);
	assert_false(lasts(connection, server.idle_timeout_ms + 1000));
}

/* As the parent asks threads. */
static void stop(void)
{
	const uint64_t once = 1;

	self.stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(write(self.stop_fd, &once, sizeof(once)), sizeof(once));
	asked_to_stop(&dispatcher->loop, NULL, 0);
	close(self.stop_fd);
	assert_true(dispatcher->draining);
	turns();
}

/* So many bytes, as fast as they are sent, and then the end. */
static void client_gets_all(size_t size)
{
	static char bytes[ROOM_BYTES];
	ssize_t n = 1;

	while (n != 0) {
		turn();
		n = recv(client, bytes, sizeof(bytes), MSG_DONTWAIT);
		assert_true(n >= 0 || errno == EAGAIN);
		size -= n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(size, 0);
}

/* Behind what it has not taken yet. */
static struct exchange *stream_of(struct connection *connection)
{
	const struct http_head head = { .minor = 1, .keep_alive = true };
	struct exchange *stream = exchange_new(connection, &head);

	assert_non_null(stream);
	exchange_begin(stream, 200, (struct span){ "", 0 }, WIRE_UNKNOWN);
	return stream;
}

static void who_is_given_up_gets_what_was_whole(void **state)
{
	struct connection *connection = accepted();
	size_t size;

	(void)state;
	writer_append(connection, SMALL, strlen(SMALL));
	stream_of(connection);
	size = buffer_size(&connection->out);
	drain_over(&dispatcher->loop, &dispatcher->drain_timer);
	client_gets_all(size);
}

static void what_its_client_does_not_get_is_not_called_whole(void **state)
{
	struct connection *connection = accepted();
	struct exchange *stream = stream_of(connection);

	(void)state;
	connection_drop(connection);
	exchange_end(stream);
	assert_int_equal(stream->state, EXCHANGE_DONE);
	assert_false(exchange_was_written(stream));
}

static void a_slow_subscriber_gets_what_was_whole(void **state)
{
	struct connection *connection = being_answered();
	const size_t taken = LARGE_BYTES - buffer_size(&connection->out);
	struct exchange *stream = stream_of(connection);

	(void)state;
	assert_int_equal(topic_subscribe(stream, span_of("t")), 0);
	assert_int_equal(topic_publish(dispatcher, span_of("t"), span_of("event")), 0);
	assert_int_equal(topic_publish(dispatcher, span_of("t"), span_of("event")), 0);
	assert_int_equal(dispatcher->slow_subscribers, 1);
	client_gets_all(taken + buffer_size(&connection->out));
}

static void what_was_half_there_when_we_stop_is_answered(void **state)
{
	struct connection *connection = accepted();
	const char *answer;

	(void)state;
	ask("OPTIONS *");
	turns();
	stop();
	assert_int_equal(dispatcher->connection_count, 1);
	assert_int_equal(connection->state, CONNECTION_HEAD);
	/* What comes behind it came too late. */
	ask(&SMALL[strlen("OPTIONS *")]);
	ask(SMALL);
	turns();
	answer = client_reads();
	assert_memory_equal(answer, "HTTP/1.1 204 ", 13);
	assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
	assert_null(strstr(answer + 1, "HTTP/1.1"));
	assert_int_equal(dispatcher->served, 1);
}

/* It lies with the kernel when we are told; and an answer before it is not the last. */
static void what_was_half_there_behind_another_is_answered_too(void **state)
{
	const struct http_head head = { .minor = 1, .keep_alive = true };
	struct connection *connection = accepted();
	struct exchange *first = exchange_new(connection, &head);
	struct pollfd half = { connection->watch.fd, POLLIN, 0 };
	const char *answer;

	(void)state;
	assert_non_null(first);
	first->state = EXCHANGE_LINKED;
	ask("OPTIONS *");
	assert_int_equal(poll(&half, 1, 1000), 1);
	stop();
	assert_int_equal(connection->state, CONNECTION_HEAD);
	exchange_answer(first, 204, (struct span){ "", 0 }, (struct span){ "", 0 });
	ask(&SMALL[strlen("OPTIONS *")]);
	turns();
	answer = client_reads();
	assert_memory_equal(answer, "HTTP/1.1 204 ", 13);
	answer = strstr(answer + 1, "HTTP/1.1 204 ");
	assert_non_null(answer);
	assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
}

static void what_was_half_there_is_not_waited_for_in_vain(void **state)
{
	struct connection *connection = accepted();

	(void)state;
	ask("OPTIONS *");
	turns();
	stop();
	assert_true(lasts(connection, server.head_timeout_ms));
	turns();
	assert_memory_equal(client_reads(), "HTTP/1.1 408 ", 13);
}

static void what_was_half_there_when_time_is_up_is_told(void **state)
{
	(void)state;
	accepted();
	ask("OPTIONS *");
	turns();
	stop();
	drain_over(&dispatcher->loop, &dispatcher->drain_timer);
	turns();
	assert_memory_equal(client_reads(), "HTTP/1.1 503 ", 13);
}

static void who_is_idle_when_we_stop_is_closed(void **state)
{
	(void)state;
	accepted();
	ask(SMALL);
	turns();
	client_takes(strlen("HTTP/1.1 204 "));
	stop();
	(void)client_reads();
	assert_int_equal(dispatcher->connection_count, 0);
}

/* One that was refused while it sends, and that does not read yet. */
static struct connection *refused(void)
{
	struct connection *connection = accepted();

	ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
	turns();
	assert_int_equal(connection->state, CONNECTION_LINGER);
	return connection;
}

/* So much later, and it has sent on just before. */
static bool lasts_for_more(struct connection *connection, uint64_t ms)
{
	struct pollfd more = { connection->watch.fd, POLLIN, 0 };

	ask("more");
	assert_int_equal(poll(&more, 1, 1000), 1);
	dispatcher->loop.now_ms += ms;
	connection->watch.ready(&dispatcher->loop, &connection->watch, EPOLLIN);
	return lasts(connection, 0);
}

static void who_sends_on_is_not_cut_off(void **state)
{
	struct connection *connection = refused();
	unsigned sent = 0;

	(void)state;
	while (lasts_for_more(connection, LINGER_MS - 100))
		sent++;
	assert_in_range(sent, LINGER_MAX_MS / LINGER_MS - 1, LINGER_MAX_MS / LINGER_MS + 4);
}

static void who_sends_no_more_is_closed_soon(void **state)
{
	struct connection *connection = refused();

	(void)state;
	assert_true(lasts_for_more(connection, LINGER_MS - 100));
	assert_true(lasts(connection, LINGER_MS - 1));
	assert_false(lasts(connection, 1));
}

/* We may have stood still ourselves. */
static void who_has_sent_on_while_we_were_late_is_heard(void **state)
{
	struct connection *connection = refused();

	(void)state;
	ask("more");
	assert_true(lasts(connection, 2 * LINGER_MS));
	assert_false(lasts(connection, LINGER_MS));
}

static void who_sends_on_does_not_put_a_stop_off(void **state)
{
	struct connection *connection = refused();

	(void)state;
	stop();
	assert_true(lasts_for_more(connection, LINGER_MS / 2));
	assert_false(lasts_for_more(connection, LINGER_MS / 2));
}

/* The rest of its body never comes, though it would be taken for nothing. */
static void who_was_answered_early_is_not_said_to_be_refused(void **state)
{
	struct connection *connection = accepted();

	(void)state;
	ask("OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc");
	turns();
	assert_int_equal(connection->state, CONNECTION_BODY);
	assert_true(lasts(connection, server.body_timeout_ms));
	turns();
	assert_memory_equal(client_reads(), "HTTP/1.1 204 ", 13);
	assert_string_equal(last_line, "");
}

/* What a client reads that cannot be taken. */
static const char *answer_to_one_too_many(void)
{
	struct pollfd asked;

	connect_client();
	ask(SMALL);
	asked = (struct pollfd){ dispatcher->listener.fd, POLLIN, 0 };
	assert_int_equal(poll(&asked, 1, 1000), 1);
	assert_false(connection_accept_all(dispatcher));
	assert_int_equal(dispatcher->connection_count, 0);
	return client_reads();
}

static void who_is_one_too_many_is_told_so(void **state)
{
	const char *answer;
	socklen_t size = sizeof(int);
	int fault;

	(void)state;
	dispatcher->connections_max = 0;
	answer = answer_to_one_too_many();
	/* It was not reset. */
	assert_int_equal(getsockopt(client, SOL_SOCKET, SO_ERROR, &fault, &size), 0);
	assert_int_equal(fault, 0);
	assert_memory_equal(answer, "HTTP/1.1 503 ", 13);
	assert_non_null(strstr(answer, "\r\nDate: "));
	assert_non_null(strstr(answer, "\r\nRetry-After: 1\r\n"));
	assert_non_null(strstr(answer, "\r\nContent-Length: 32\r\n"));
	assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(answer, "\r\n\r\n{\"error\":\"too many connections\"}"));
}

static bool listener_rests(void)
{
	return loop_timer_is_set(&dispatcher->accept_rest) &&
	       !(dispatcher->listener.events & EPOLLIN);
}

static void who_cannot_be_watched_is_told_so(void **state)
{
	(void)state;
	watch_fault = ENOSPC;
	assert_memory_equal(answer_to_one_too_many(), "HTTP/1.1 503 ", 13);
	assert_non_null(strstr(last_line, "No space left on device (fs.epoll.max_user_watches)"));
	assert_true(listener_rests());
	assert_int_equal(score.connections, 0);
}

static void a_limit_of_the_system_is_not_called_ours(void **state)
{
	(void)state;
	accept_fault = ENFILE;
	assert_memory_equal(answer_to_one_too_many(), "HTTP/1.1 503 ", 13);
	assert_non_null(strstr(last_line, "Too many open files in system (fs.file-max)"));
	assert_null(strstr(last_line, "LimitNOFILE"));
	assert_true(listener_rests());
}

/* As long as nothing could wake it again. */
static void the_listener_does_not_rest_without_a_timer(void **state)
{
	const size_t more_than_there_is = SIZE_MAX >> 6;
	struct loop *loop = &dispatcher->loop;
	const struct loop before = *loop;

	(void)state;
	dispatcher->connections_max = 0;
	loop->timer_count = more_than_there_is;
	loop->timer_room = more_than_there_is;
	assert_memory_equal(answer_to_one_too_many(), "HTTP/1.1 503 ", 13);
	loop->timer_count = before.timer_count;
	loop->timer_room = before.timer_room;
	assert_true(dispatcher->listener.events & EPOLLIN);
	close(client);
	assert_memory_equal(answer_to_one_too_many(), "HTTP/1.1 503 ", 13);
	assert_true(listener_rests());
}

static void who_comes_by_ipv4_has_an_address_of_ipv4(void **state)
{
	const struct sockaddr_in6 mapped = {
		.sin6_family = AF_INET6,
		.sin6_addr.s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 },
	};
	const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct connection *connection = accepted();
	const uint32_t hash = connection->address_hash;

	(void)state;
	if (fd < 0)
		skip(); /* there is no IPv6 here */
	close(fd);
	close(client);
	turns();
	listen_elsewhere((const struct sockaddr *)&mapped, sizeof(mapped));
	connection = accepted();
	assert_memory_equal(connection->client, "127.0.0.1:", 10);
	assert_int_equal(connection->address_hash, hash);
}

int main(void)
{
#define OF_A_CLIENT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		OF_A_CLIENT(who_takes_little_in_long_is_not_given_up),
		OF_A_CLIENT(who_takes_nothing_is_given_up),
		OF_A_CLIENT(who_takes_nothing_is_given_up_though_it_is_late_too),
		OF_A_CLIENT(who_takes_nothing_is_not_given_as_long_as_who_is_idle),
		OF_A_CLIENT(a_file_is_sent_on_to_who_takes_little),
		OF_A_CLIENT(who_leaves_a_stream_is_noticed_though_it_asked_for_much),
		OF_A_CLIENT(who_leaves_a_stream_by_a_unix_socket_is_noticed_too),
		OF_A_CLIENT(who_only_asks_for_no_more_is_not_gone),
		OF_A_CLIENT(what_comes_behind_a_refusal_is_not_heard_again_and_again),
		OF_A_CLIENT(an_empty_line_behind_a_request_leaves_the_connection_idle),
		OF_A_CLIENT(who_is_given_up_gets_what_was_whole),
		OF_A_CLIENT(what_its_client_does_not_get_is_not_called_whole),
		OF_A_CLIENT(a_slow_subscriber_gets_what_was_whole),
		OF_A_CLIENT(what_was_half_there_when_we_stop_is_answered),
		OF_A_CLIENT(what_was_half_there_behind_another_is_answered_too),
		OF_A_CLIENT(what_was_half_there_is_not_waited_for_in_vain),
		OF_A_CLIENT(what_was_half_there_when_time_is_up_is_told),
		OF_A_CLIENT(who_is_idle_when_we_stop_is_closed),
		OF_A_CLIENT(who_sends_on_is_not_cut_off),
		OF_A_CLIENT(who_sends_no_more_is_closed_soon),
		OF_A_CLIENT(who_has_sent_on_while_we_were_late_is_heard),
		OF_A_CLIENT(who_sends_on_does_not_put_a_stop_off),
		OF_A_CLIENT(who_was_answered_early_is_not_said_to_be_refused),
		OF_A_CLIENT(who_is_one_too_many_is_told_so),
		OF_A_CLIENT(who_cannot_be_watched_is_told_so),
		OF_A_CLIENT(a_limit_of_the_system_is_not_called_ours),
		OF_A_CLIENT(the_listener_does_not_rest_without_a_timer),
		OF_A_CLIENT(who_comes_by_ipv4_has_an_address_of_ipv4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

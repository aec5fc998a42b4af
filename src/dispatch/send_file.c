/* SPDX-License-Identifier: MIT */
/*
 * Answers that are files of a mount: which one it is files.c says, here its bytes go
 * from the file to the client's socket without being read (sendfile(2)), as much in a
 * turn as leaves time for others. A file that shrinks meanwhile cuts its answer short,
 * which its client sees, and the log says.
 */
#include <errno.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/log.h"
#include "dispatch/files.h"
#include "dispatch/private.h"
#include "dispatch/root.h"
#include "http/respond.h"

static bool renew(struct dispatcher *dispatcher, unsigned mount);
static bool may_log(struct dispatcher *dispatcher, unsigned mount);
static bool is_of_the_client(int error);

void exchange_answer_file(struct exchange *exchange, const struct http_head *head)
{
	struct dispatcher *dispatcher = exchange->connection->dispatcher;
	const struct route_match *match = &dispatcher->match;
	const int root_fd = dispatcher->options->mount_fds[match->index];
	const char *root = dispatcher->server->mounts[match->index].root;
	struct file_answer answer;
	struct span headers;

	files_answer(root_fd, match->rest, head, &answer);
	if (answer.status == 404 && renew(dispatcher, match->index))
		files_answer(root_fd, match->rest, head, &answer);
	if (answer.error && may_log(dispatcher, match->index))
		log_error("a file of %s cannot be opened: %s", root, strerror(answer.error));
	headers = (struct span){ answer.headers, answer.headers_size };
	if (answer.status == 404 && match->allow[0]) {
		exchange_refuse_method(exchange);
		return;
	}
	if (exchange->connection->call) {
		if (answer.fd >= 0)
			close(answer.fd);
		exchange_fail(exchange, 501, "files cannot be asked for by calls");
		return;
	}
	if (answer.fd >= dispatcher->fds_max) {
		close(answer.fd);
		exchange_refuse(exchange, 503, "Retry-After: 1\r\n",
				"no descriptor is left for this file");
		return;
	}
	if (answer.status >= 400) {
		exchange_refuse(exchange, answer.status, answer.headers,
				http_reason(answer.status));
		return;
	}
	exchange_begin(exchange, answer.status, headers, answer.length);
	if (answer.fd >= 0 && answer.length > 0) {
		exchange->file_fd = answer.fd;
		exchange->file_offset = answer.offset;
		exchange->mount = (uint8_t)match->index;
		exchange->connection->files++;
		return;
	}
	if (answer.fd >= 0)
		close(answer.fd);
	exchange_end(exchange);
}

void exchange_send_file(struct exchange *exchange)
{
	struct connection *connection = exchange->connection;
	uint64_t turn = FILE_TURN_BYTES;
	off_t offset = (off_t)exchange->file_offset;
	ssize_t n;

	while (exchange->answer_left > 0 && turn > 0) {
		size_t want = exchange->answer_left < turn
				      ? (size_t)exchange->answer_left
				      : (size_t)turn;

		n = sendfile(connection->watch.fd, exchange->file_fd, &offset, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			const int error = n < 0 ? errno : 0;

			if (!is_of_the_client(error) &&
			    may_log(connection->dispatcher, exchange->mount))
				log_error("a file cannot be sent to its end: %s",
					  error ? strerror(error) : "it is shorter now");
			connection_drop(connection);
			return;
		}
		exchange->answer_left -= (uint64_t)n;
		exchange->answer_sent += (uint64_t)n;
		turn -= (uint64_t)n;
		connection->write_since_ms = 0;
	}
	exchange->file_offset = (uint64_t)offset;
	if (exchange->answer_left > 0) {
		if (turn > 0)
			writer_wait_for_room(connection);
		else
			writer_later(connection); /* others first */
		return;
	}
	exchange_close_file(exchange);
	exchange_end(exchange);
}

void exchange_close_file(struct exchange *exchange)
{
	if (exchange->file_fd < 0)
		return;
	close(exchange->file_fd);
	exchange->file_fd = -1;
	exchange->connection->files--;
}

static bool renew(struct dispatcher *dispatcher, unsigned mount)
{
	const char *root = dispatcher->server->mounts[mount].root;
	const int r = root_renew(dispatcher->options->mount_fds[mount], root);

	if (r > 0)
		log_info("the directory %s was made anew", root);
	else if (r < 0 && may_log(dispatcher, mount))
		log_warning("the directory %s was removed, and cannot be opened again: %s",
			    root, strerror(-r));
	return r > 0;
}

/* What fails does so for each request: a line a second is enough. */
static bool may_log(struct dispatcher *dispatcher, unsigned mount)
{
	return refusal_is_due(&dispatcher->mount_failed_ms[mount], dispatcher->loop.now_ms);
}

static bool is_of_the_client(int error)
{
	return error == EPIPE || error == ECONNRESET || error == ETIMEDOUT ||
	       error == EHOSTUNREACH || error == ENETUNREACH;
}

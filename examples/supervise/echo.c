/* SPDX-License-Identifier: MIT */
/*
 * A pre-fork server: main() opens the listener, two children share it, and the
 * kernel gives each connection to one of them. Who is called says who it is,
 * then sends back what it is sent. Try:
 *
 *	build/examples/echo 7007     (0: any free port)
 *	nc 127.0.0.1 7007            twice at once: two children answer
 *	kill -9 PID                  of one: the listener stays, another takes over
 *	kill PID                     of the parent: each ends its line, then goes
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <crew/supervise.h>

static int listener; /* does not block: the other child may have been faster */

/* True when there is something to read, false when it is time to go. */
static bool wait_for(struct crew_child *self, int fd)
{
	struct pollfd ready[] = { { .fd = crew_stop_fd(self), .events = POLLIN },
				  { .fd = fd, .events = POLLIN } };

	while (crew_running(self)) {
		if (poll(ready, 2, 1000) > 0 && ready[1].revents)
			return true;
	}
	return false;
}

static void talk(struct crew_child *self, int client)
{
	char text[4096];
	ssize_t n = snprintf(text, sizeof(text), "pong from #%u %d\n",
			     crew_index(self), (int)getpid());

	while (send(client, text, (size_t)n, MSG_NOSIGNAL) == n && wait_for(self, client)) {
		n = recv(client, text, sizeof(text), 0);
		if (n <= 0)
			return;
	}
}

static int serve(struct crew_child *self)
{
	while (wait_for(self, listener)) {
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			continue;
		talk(self, client);
		close(client);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(argc > 1 ? (in_port_t)strtoul(argv[1], NULL, 10) : 7007),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	socklen_t size = sizeof(at);
	const int on = 1;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&at, size) < 0 || listen(listener, 128) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &size) < 0) {
		perror("cannot listen");
		return 1;
	}
	printf("listening on 127.0.0.1:%u\n", ntohs(at.sin_port));
	fflush(stdout);
	return crew_supervise(&(struct crew_plan){
		.groups = { { .name = "echo", .run = serve, .count = 2,
			      .preserve_fds = &listener, .preserve_fd_count = 1 } },
	});
}

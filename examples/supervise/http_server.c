/* SPDX-License-Identifier: MIT */
/*
 * Another program as the children: two copies of a web server in Python that
 * share one socket, which is opened here. They get it as systemd would give it
 * (LISTEN_FDS), and say themselves when they are ready (NOTIFY_SOCKET). Try:
 *
 *	build/examples/http_server examples/supervise/http_server.py DIRECTORY 8000
 *	curl -i http://127.0.0.1:8000/    "Served-By" names the process
 *	kill -9 PID                       of one: nobody is refused meanwhile
 *	kill -HUP PID                     of the parent: a new program, no gap
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <crew/supervise.h>

int main(int argc, char **argv)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(argc > 3 ? (in_port_t)strtoul(argv[3], NULL, 10) : 8000),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	socklen_t size = sizeof(at);
	const int on = 1;
	int listener;

	if (argc < 3) {
		fprintf(stderr, "usage: %s http_server.py DIRECTORY [PORT]\n", argv[0]);
		return 2;
	}
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&at, size) < 0 || listen(listener, 128) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &size) < 0) {
		perror("cannot listen");
		return 1;
	}
	printf("listening on 127.0.0.1:%u\n", ntohs(at.sin_port));
	fflush(stdout);
	return crew_supervise(&(struct crew_plan){
		.groups = { {
			.name = "http", .kind = CREW_EXEC, .count = 2, .notify = true,
			.command = (const char *[]){ "/usr/bin/python3", argv[1], argv[2], NULL },
			.listen_fds = &listener, .listen_fd_count = 1, .listen_names = "http",
		} },
	});
}

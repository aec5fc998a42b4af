/* SPDX-License-Identifier: MIT */
/*
 * What io_uring would save a dispatcher: 64 sends and 64 receives of a small answer
 * over TCP on the loopback, once with a system call for each, once with one for
 * all. CPU time of this thread; the work of the network is in both. It depends on what a
 * system call costs on the machine: from nothing to a sixth.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PAIRS        64u
#define ROUNDS       4000u
#define ANSWER_BYTES 155u
#define ROOM_BYTES   2048u

static int clients[PAIRS];
static int servers[PAIRS];
static char answer[ANSWER_BYTES];
static char room[PAIRS][ROOM_BYTES];

static void fail(const char *what, int error)
{
	fprintf(stderr, "uring: %s: %s\n", what, strerror(error));
	exit(1);
}

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void connect_all(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	const int listener = socket(AF_INET, SOCK_STREAM, 0);
	const int on = 1;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
	    listen(listener, PAIRS) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) < 0)
		fail("listen", errno);
	for (unsigned i = 0; i < PAIRS; i++) {
		servers[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(servers[i], (struct sockaddr *)&address, size) < 0)
			fail("connect", errno);
		clients[i] = accept(listener, NULL, NULL);
		if (clients[i] < 0)
			fail("accept", errno);
		setsockopt(servers[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
}

static void each_by_itself(double *ret_send, double *ret_receive)
{
	const double begin = cpu_ns();
	double middle;

	for (unsigned i = 0; i < PAIRS; i++) {
		if (send(servers[i], answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			fail("send", errno);
	}
	middle = cpu_ns();
	for (unsigned i = 0; i < PAIRS; i++) {
		if (recv(clients[i], room[i], sizeof(room[i]), 0) < 0)
			fail("recv", errno);
	}
	*ret_send += middle - begin;
	*ret_receive += cpu_ns() - middle;
}

static void wait_for_all(struct io_uring *ring)
{
	struct io_uring_cqe *done;
	unsigned head;
	unsigned count = 0;

	if (io_uring_submit_and_wait(ring, PAIRS) < 0)
		fail("io_uring_submit_and_wait", errno);
	io_uring_for_each_cqe(ring, head, done) {
		if (done->res < 0)
			fail("a completion", -done->res);
		count++;
	}
	io_uring_cq_advance(ring, count);
}

static void all_at_once(struct io_uring *ring, double *ret_send, double *ret_receive)
{
	const double begin = cpu_ns();
	double middle;

	for (unsigned i = 0; i < PAIRS; i++)
		io_uring_prep_send(io_uring_get_sqe(ring), servers[i], answer,
				   sizeof(answer), MSG_NOSIGNAL);
	wait_for_all(ring);
	middle = cpu_ns();
	for (unsigned i = 0; i < PAIRS; i++)
		io_uring_prep_recv(io_uring_get_sqe(ring), clients[i], room[i],
				   sizeof(room[i]), 0);
	wait_for_all(ring);
	*ret_send += middle - begin;
	*ret_receive += cpu_ns() - middle;
}

int main(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	const double calls = (double)PAIRS * ROUNDS;
	struct io_uring ring;
	double by_call[2] = { 0 };
	double by_ring[2] = { 0 };
	int r = io_uring_queue_init_params(PAIRS * 2, &ring, &params);

	if (r < 0)
		fail("io_uring_queue_init_params", -r);
	memset(answer, 'x', sizeof(answer));
	connect_all();
	for (unsigned i = 0; i < ROUNDS; i++) {
		each_by_itself(&by_call[0], &by_call[1]);
		all_at_once(&ring, &by_ring[0], &by_ring[1]);
	}
	printf("send: %.0f ns by call, %.0f ns by io_uring (%.2f)\n", by_call[0] / calls,
	       by_ring[0] / calls, by_ring[0] / by_call[0]);
	printf("recv: %.0f ns by call, %.0f ns by io_uring (%.2f)\n", by_call[1] / calls,
	       by_ring[1] / calls, by_ring[1] / by_call[1]);
	io_uring_queue_exit(&ring);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a loop learns from which descriptors are ready: epoll(7), or io_uring(7)
 * where its owner chose it and the system has it. Only the loop calls it; the rules
 * of loop.h hold: one thread, and a watch is removed before its descriptor is
 * closed.
 */
#ifndef BASE_POLLER_H
#define BASE_POLLER_H

#include <stdint.h>
#include <sys/epoll.h>

struct poller;
struct watch;

struct poller_kind {
	/** Watch watch->fd; the watch stays where it is until it is removed. 0 or
	 * -errno: -EBADF, -EPERM (epoll_ctl(2)) and -ENOMEM at least. */
	int (*add)(struct poller *poller, struct watch *watch, uint32_t events);
	/** Watch it for these from now on; tell again of what is ready. 0 or -errno. */
	int (*change)(struct poller *poller, struct watch *watch, uint32_t events);
	/** Tell nothing of it any more, from the next wait on. */
	void (*remove)(struct poller *poller, struct watch *watch);
	/** Sleep until something is ready, at most timeout_ms (-1: no limit); `events`
	 * has room for so many, data.ptr is the watch, each in it once. Their number,
	 * or -errno. */
	int (*wait)(struct poller *poller, struct epoll_event *events, int room,
		    int timeout_ms);
	/** Watch nothing any more; takes NULL. */
	void (*free)(struct poller *poller);
};

struct poller {
	const struct poller_kind *kind;
	int fd; /* readable when a watch is ready */
};

/** 0 or -errno. */
int poller_epoll_new(struct poller **ret_poller);
/** 0 or -errno: -ENOSYS where crew was built without liburing or the kernel is
 * older than 6.1, -EPERM where it is forbidden. Its thread is the one that may use
 * it, and no child that it forks. */
int poller_uring_new(struct poller **ret_poller);

#endif

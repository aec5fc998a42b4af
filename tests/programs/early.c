/* SPDX-License-Identifier: MIT */
/*
 * To be loaded before a program (LD_PRELOAD): signal EARLY_SIGNAL comes while it starts, before
 * its first epoll_create1(2).
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

int epoll_create1(int flags)
{
	const char *signal_now = getenv("EARLY_SIGNAL");
	int (*system_epoll_create1)(int);
	void *const found = dlsym(RTLD_NEXT, "epoll_create1");

	memcpy(&system_epoll_create1, &found, sizeof(found));
	if (signal_now) {
		const int number = atoi(signal_now);

		unsetenv("EARLY_SIGNAL");
		raise(number);
	}
	return system_epoll_create1(flags);
}

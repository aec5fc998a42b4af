/* SPDX-License-Identifier: MIT */
/*
 * Bugs. A check that fails is a fault of crew itself: it is kept in release
 * builds, says where, and aborts, so that the parent starts the process anew.
 * What the world or another process does wrong is never checked this way.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stddef.h>

/** Say what failed and abort. */
_Noreturn void check_failed(const char *what, const char *file, int line);

#define check(condition)                                               \
	(__builtin_expect(!!(condition), 1)                            \
		 ? (void)0                                             \
		 : check_failed(#condition, __FILE__, __LINE__))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif

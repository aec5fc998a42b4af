/* SPDX-License-Identifier: MIT */
/*
 * Hints that memory will be read or written soon, so that it is fetched while
 * something else is done. They change nothing, and any address is allowed.
 */
#ifndef BASE_OS_NEAR_H
#define BASE_OS_NEAR_H

/** Have it near for reading. */
static inline void os_foresee_read(const void *address)
{
	__builtin_prefetch(address);
}

/** Also take it from other processors, for which else the first store waits. Compilers
 * do that for no x86 unless told which one it is, though all that run in 64 bits take
 * the instruction (PREFETCHW; older ones ignore it). */
static inline void os_foresee_write(const void *address)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
	__builtin_prefetch(address, 1);
#endif
}

#endif

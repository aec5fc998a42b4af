/* SPDX-License-Identifier: MIT */
/*
 * Looking a little longer before going to sleep, where a processor is to spare: a
 * wake-up by the kernel costs more than what is waited for takes. It adapts: each
 * time that nothing came halves the patience, and when none is left it is tried
 * again only now and then; each time that something came gives it back. Used by
 * one thread.
 */
#ifndef BASE_SPIN_H
#define BASE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct spin {
	uint32_t max_us;     /* 0: never */
	uint32_t patience_ns;
	uint32_t skipped;    /* times without a look, since patience is at an end */
};

static inline void spin_init(struct spin *spin, uint32_t max_us)
{
	*spin = (struct spin){ .max_us = max_us, .patience_ns = max_us * 1000u };
}

/** Look until something is there, or patience ends. Blocks for max_us at most. */
bool spin_until(struct spin *spin, bool (*look)(const void *context),
		const void *context);

#endif

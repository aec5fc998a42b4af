/* SPDX-License-Identifier: MIT */
/* Spinning: see spin.h. The clock is read every few looks only. */
#include "base/spin.h"

#include "base/clock.h"
#include "base/os/os.h"

#define LOOKS_A_CLOCK 16u
#define LEAST_NS      1000u
#define TRY_AGAIN     128u

bool spin_until(struct spin *spin, bool (*look)(const void *context),
		const void *context)
{
	uint64_t until_ns;

	if (spin->max_us == 0)
		return false;
	if (spin->patience_ns < LEAST_NS) {
		if (++spin->skipped < TRY_AGAIN)
			return false;
		spin->patience_ns = spin->max_us * 1000u;
	}
	spin->skipped = 0;
	until_ns = clock_now_ns() + spin->patience_ns;
	do {
		for (unsigned i = 0; i < LOOKS_A_CLOCK; i++) {
			if (look(context)) {
				spin->patience_ns = spin->max_us * 1000u;
				return true;
			}
			os_relax();
		}
	} while (clock_now_ns() < until_ns);
	spin->patience_ns /= 2;
	return false;
}

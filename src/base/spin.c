/* SPDX-License-Identifier: MIT */
/* Spinning: see spin.h. */
#include "base/spin.h"

#include <sched.h>

#include "base/clock.h"
#include "base/os/os.h"

/* Who is waited for sleeps when a trial begins, and has to be woken: so the first looks
 * may take longer than they are worth. */
#define TRIAL        8u
#define TRIAL_JUDGED 4u
#define REST_MIN     128u
#define REST_MAX     4096u
/* The last so many looks make the mean. */
#define MEAN_OF 8u

static void begin_trial(struct spin *spin);
static void judge(struct spin *spin, bool found, uint64_t took_ns);
static void begin_rest(struct spin *spin);

void spin_init(struct spin *spin, unsigned max_us, unsigned worth_us, unsigned calls)
{
	*spin = (struct spin){
		.max_ns = max_us * 1000u,
		.worth_ns = worth_us * 1000u,
		.calls = calls,
	};
	begin_trial(spin);
}

bool spin_until(struct spin *spin, bool (*look)(void *context), void *context)
{
	uint64_t patience_ns = spin->max_ns;
	uint64_t start_ns;
	uint64_t took_ns;
	bool found = false;

	if (spin->max_ns == 0)
		return false;
	if (spin->rest > 0) {
		if (--spin->rest == 0)
			begin_trial(spin);
		return false;
	}
	if (spin->trial == 0 && patience_ns > 2u * (uint64_t)spin->worth_ns)
		patience_ns = 2u * (uint64_t)spin->worth_ns;
	start_ns = clock_now_ns();
	do {
		for (unsigned i = 0; i < spin->calls && !found; i++) {
			found = look(context);
			if (!found)
				os_relax();
		}
		if (!found)
			sched_yield();
		took_ns = clock_now_ns() - start_ns;
	} while (!found && took_ns < patience_ns);
	judge(spin, found, took_ns);
	return found;
}

static void begin_trial(struct spin *spin)
{
	spin->trial = TRIAL;
	spin->mean_ns = spin->worth_ns;
}

static void judge(struct spin *spin, bool found, uint64_t took_ns)
{
	if (!found && spin->trial > 0) {
		begin_rest(spin);
		return;
	}
	if (spin->trial <= TRIAL_JUDGED) {
		spin->mean_ns -= spin->mean_ns / MEAN_OF;
		spin->mean_ns += (found ? took_ns : 2u * took_ns) / MEAN_OF;
	}
	if (spin->trial > 0 && --spin->trial > 0)
		return;
	if (spin->mean_ns > spin->worth_ns) {
		begin_rest(spin);
		return;
	}
	spin->rested = 0;
	/* Who slept has made the others sleep. */
	if (!found)
		spin->trial = TRIAL;
}

static void begin_rest(struct spin *spin)
{
	spin->trial = 0;
	spin->rested = spin->rested ? spin->rested * 2u : REST_MIN;
	if (spin->rested > REST_MAX)
		spin->rested = REST_MAX;
	spin->rest = spin->rested;
}

/* SPDX-License-Identifier: MIT */
/* Whether to go beside the dispatcher: see beside.h. */
#include "worker/beside.h"

/* If it is woken more rarely than that, it does not matter where. */
#define WINDOW_NS_MAX 32000000u
/* What takes more could as well keep the dispatcher waiting. Without a processor to
 * itself, woken for one request each time, half a microsecond of work takes ten. */
#define CPU_NS_A_REQUEST 25000u
/* It may take one part in so many of the processor: who has more to do does it better at
 * the same time as the dispatcher. With less, both gain by what they need not fetch from
 * each other's caches, however many requests come at once. */
#define CPU_SHARE 3u
/* Windows that are let go by, at most, between moves that do not last. */
#define PATIENCE_MAX 1023u

static bool is_worth_it(const struct beside *beside, const struct beside_account *now)
{
	const uint64_t spent_ns = now->now_ns - beside->since.now_ns;
	const uint64_t cpu_ns = now->cpu_ns - beside->since.cpu_ns;
	const uint64_t served = now->served - beside->since.served;

	return spent_ns <= WINDOW_NS_MAX && cpu_ns <= spent_ns / CPU_SHARE &&
	       cpu_ns <= served * CPU_NS_A_REQUEST;
}

bool beside_judge(struct beside *beside, const struct beside_account *now)
{
	const bool elsewhere = beside->elsewhere > WINDOW_WAKES / 2;
	unsigned patience = beside->patience;
	unsigned waited = beside->waited;
	bool moves = false;

	if (!elsewhere)
		patience /= 2;
	else if (beside->moved)
		patience = patience < PATIENCE_MAX ? patience * 2 + 1 : PATIENCE_MAX;
	if (elsewhere && is_worth_it(beside, now)) {
		moves = waited >= patience;
		waited = moves ? 0 : waited + 1;
	}
	*beside = (struct beside){
		.since = *now, .patience = patience, .waited = waited, .moved = moves,
	};
	return moves;
}

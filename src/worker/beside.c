/* SPDX-License-Identifier: MIT */
/* Whether to go beside the dispatcher: see beside.h. */
#include "worker/beside.h"

/* Wake-ups that are judged together. */
#define WINDOW_WAKES 32u
/* More rarely woken, it does not matter where. */
#define WINDOW_NS_MAX 32000000u
/* Woken for more than that, the wake-up is paid for, and who has so much to do does it
 * better at the dispatcher's side than in its time. */
#define REQUESTS_A_WAKE 24u
/* Moves that do not last are made in every so manyth window at least. */
#define PATIENCE_MAX 8u

bool beside_woke(struct beside *beside, bool elsewhere)
{
	beside->elsewhere += elsewhere;
	return ++beside->wakes >= WINDOW_WAKES;
}

/* Half of the time at work leaves the dispatcher the other half. */
static bool is_worth_it(const struct beside *beside, uint64_t spent_ns)
{
	return spent_ns <= WINDOW_NS_MAX &&
	       beside->requests <= WINDOW_WAKES * REQUESTS_A_WAKE &&
	       beside->busy_ns <= spent_ns / 2;
}

bool beside_judge(struct beside *beside, uint64_t now_ns)
{
	const bool elsewhere = beside->elsewhere > WINDOW_WAKES / 2;
	const bool worth = is_worth_it(beside, now_ns - beside->since_ns);
	unsigned patience = beside->patience;
	unsigned waited = beside->waited;
	bool moves = false;

	if (!elsewhere)
		patience = 0;
	else if (beside->moved)
		patience = patience < PATIENCE_MAX / 2 ? patience * 2 + 1 : PATIENCE_MAX;
	if (elsewhere && worth) {
		moves = waited >= patience;
		waited = moves ? 0 : waited + 1;
	}
	*beside = (struct beside){
		.since_ns = now_ns, .patience = patience, .waited = waited, .moved = moves,
	};
	return moves;
}

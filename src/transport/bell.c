/* SPDX-License-Identifier: MIT */
/*
 * Bells. The proof that no wake-up is lost rests on two fences. The sleeper
 * stores its epoch, fences, and looks for work; the ringer stores work, fences,
 * and looks at the epoch. In the one total order of the fences one of them is
 * second, and that one sees what the other has stored: either the sleeper finds
 * the work, or the ringer finds it asleep. tests/model/link.pml is this
 * argument for a machine to check.
 */
#include "transport/bell.h"

#include "base/os/os.h"

void bell_announce(struct bell_sleeper *sleeper)
{
	const uint32_t epoch =
		atomic_load_explicit(sleeper->epoch, memory_order_relaxed);

	atomic_store_explicit(sleeper->epoch, epoch | 1u, memory_order_relaxed);
	/* Pairs with the fence in bell_ring. */
	atomic_thread_fence(memory_order_seq_cst);
}

void bell_awake(struct bell_sleeper *sleeper)
{
	const uint32_t epoch =
		atomic_load_explicit(sleeper->epoch, memory_order_relaxed);

	if (epoch & 1u)
		atomic_store_explicit(sleeper->epoch, epoch + 1,
				      memory_order_relaxed);
}

/* Only if it is news: a store takes the line from the other side, who has to fetch it. */
static void say_where(_Atomic uint32_t *said)
{
	const uint32_t now = os_processor() + 1;

	if (atomic_load_explicit(said, memory_order_relaxed) != now)
		atomic_store_explicit(said, now, memory_order_relaxed);
}

bool bell_ring(struct bell_ringer *ringer)
{
	uint32_t epoch;

	/* Pairs with the fence in bell_announce. */
	atomic_thread_fence(memory_order_seq_cst);
	epoch = atomic_load_explicit(ringer->epoch, memory_order_relaxed);
	if (!bell_is_due(ringer, epoch))
		return false;
	ringer->rung = epoch;
	ringer->count++;
	say_where(ringer->processor);
	os_bell_ring(ringer->fd);
	return true;
}

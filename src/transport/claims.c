/* SPDX-License-Identifier: MIT */
/*
 * Claims: one word a slot, the generation in the upper part and the state in
 * the lower. Both sides change it by compare-and-swap only, and a word of
 * another generation never compares equal: whoever comes late finds that out.
 */
#include "transport/link.h"

static uint64_t word(uint32_t generation, enum claim claim)
{
	return (uint64_t)generation << 8 | (uint64_t)claim;
}

static bool swap(struct link *link, uint32_t slot, uint32_t generation,
		 enum claim from, enum claim to)
{
	uint64_t expected = word(generation, from);

	/* Acquire and release: who wins sees all that was written before the
	 * offer, and what he wrote before is seen by who looks later. */
	return atomic_compare_exchange_strong_explicit(
		link_claim_of(link, slot), &expected, word(generation, to),
		memory_order_acq_rel, memory_order_acquire);
}

void link_offer(struct link *link, uint32_t slot, uint32_t generation)
{
	/* Release: pairs with the acquire in link_take. */
	atomic_store_explicit(link_claim_of(link, slot), word(generation, CLAIM_QUEUED),
			      memory_order_release);
}

bool link_take(struct link *link, uint32_t slot, uint32_t generation)
{
	return swap(link, slot, generation, CLAIM_QUEUED, CLAIM_TAKEN);
}

bool link_revoke(struct link *link, uint32_t slot, uint32_t generation)
{
	if (!swap(link, slot, generation, CLAIM_QUEUED, CLAIM_REVOKED))
		return false;
	/* Pairs with the fence in still_offered() of the worker: whoever sees what the bytes
	 * are used for from now on sees that they were taken back. The swap orders its own
	 * store with what is before it only. */
	atomic_thread_fence(memory_order_release);
	return true;
}

enum claim link_claim(const struct link *link, uint32_t slot, uint32_t generation)
{
	const uint64_t now =
		atomic_load_explicit(link_claim_of(link, slot), memory_order_acquire);

	if (now >> 8 != generation || (now & 0xff) > CLAIM_REVOKED)
		return CLAIM_EMPTY;
	return (enum claim)(now & 0xff);
}

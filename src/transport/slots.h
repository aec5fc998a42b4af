/* SPDX-License-Identifier: MIT */
/* A set of slots of a link: bits in two levels, so that the lowest is found by
 * two looks, and in the common case only the first words are ever touched. */
#ifndef TRANSPORT_SLOTS_H
#define TRANSPORT_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/link.h"

#define SLOTS_WORDS (LINK_SLOTS / 64u)
_Static_assert(SLOTS_WORDS == 64, "the upper level is one word");

struct slots {
	uint64_t upper; /* a bit for each word that is not 0 */
	uint64_t words[SLOTS_WORDS];
};

static inline bool slots_empty(const struct slots *slots)
{
	return slots->upper == 0;
}

static inline bool slots_has(const struct slots *slots, uint32_t slot)
{
	return slots->words[slot / 64] >> (slot % 64) & 1;
}

static inline void slots_add(struct slots *slots, uint32_t slot)
{
	slots->words[slot / 64] |= UINT64_C(1) << (slot % 64);
	slots->upper |= UINT64_C(1) << (slot / 64);
}

static inline void slots_remove(struct slots *slots, uint32_t slot)
{
	slots->words[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
	if (!slots->words[slot / 64])
		slots->upper &= ~(UINT64_C(1) << (slot / 64));
}

/** The lowest one that is not below `from`; LINK_SLOTS if there is none. */
static inline uint32_t slots_next(const struct slots *slots, uint32_t from)
{
	uint32_t word = from / 64;
	uint64_t rest;

	if (from >= LINK_SLOTS)
		return LINK_SLOTS;
	rest = slots->words[word] >> (from % 64) << (from % 64);
	if (!rest) {
		uint64_t above = word < 63 ? slots->upper >> (word + 1) << (word + 1) : 0;

		if (!above)
			return LINK_SLOTS;
		word = (uint32_t)__builtin_ctzll(above);
		rest = slots->words[word];
	}
	return word * 64 + (uint32_t)__builtin_ctzll(rest);
}

#endif

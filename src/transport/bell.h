/* SPDX-License-Identifier: MIT */
/*
 * Doorbells: an eventfd that is rung only when the other side has said that it
 * sleeps. The sleeper publishes an epoch, odd while it sleeps; then it looks
 * for work once more. The ringer publishes work, then looks at the epoch. With
 * a sequentially consistent fence on both sides at least one sees the other:
 * tests/model proves that no wake-up is lost. One sleep is rung at most once. Who rings
 * can also say on which processor it is, as a hint to the sleeper.
 *
 * A known limit: both sides share the open file. A worker that was taken over can make
 * it a blocking one and fill it, so that its dispatcher stands still when it rings, until
 * its heartbeat is missed and it is replaced. What could not be so held up is dearer for
 * everybody: a pipe by a quarter of a ring, and by one more system call of who wakes; a
 * socket by several times.
 */
#ifndef TRANSPORT_BELL_H
#define TRANSPORT_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bell_sleeper {
	_Atomic uint32_t *epoch; /* own memory; read by the ringer */
	int fd;
};

struct bell_ringer {
	const _Atomic uint32_t *epoch; /* the sleeper's memory */
	int fd;
	uint32_t rung; /* the epoch that was rung last */
	uint64_t count; /* rings so far */
	_Atomic uint32_t *processor; /* own memory: on which it rang last, plus 1 */
};

/** Say that this side is about to sleep. The caller must now look for work once
 * more, and sleep only if there is none. */
void bell_announce(struct bell_sleeper *sleeper);
/** Say that this side is awake. Harmless if it never announced. */
void bell_awake(struct bell_sleeper *sleeper);
/** After publishing work: ring if the other side sleeps and this sleep was not
 * rung yet. Returns whether it rang (one system call). */
bool bell_ring(struct bell_ringer *ringer);
/** Whether this epoch of the sleeper's is a sleep that was not rung yet. */
static inline bool bell_is_due(const struct bell_ringer *ringer, uint32_t epoch)
{
	return (epoch & 1u) && epoch != ringer->rung;
}
/** Whether to ring now would wake the other side, as far as is known without waiting for
 * its memory: who puts the ring off because of it must ring before going to sleep. */
static inline bool bell_would_wake(const struct bell_ringer *ringer)
{
	return bell_is_due(ringer,
			   atomic_load_explicit(ringer->epoch, memory_order_relaxed));
}

#endif

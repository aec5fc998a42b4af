/* SPDX-License-Identifier: MIT */
/*
 * What a worker had in hand is taken back: from who lives and gets on with something else, what
 * it has not begun; from who is dead, all. Then each request is settled by its claim: what was
 * not taken goes back to the head of the queue in its old order; what was taken is answered with
 * 502, or run once more where its route says that this does no harm. If the worker wrote nonsense
 * its claims prove nothing. What was taken is named in the log, as the worker may have died of it.
 */
#include <stdlib.h>

#include "base/log.h"
#include "dispatch/private.h"

static bool is_worth_waiting_for(const struct seat *seat, const struct slot *slot);
static bool has_part(const struct slot *slot);
static void take_back(struct seat *seat, uint32_t number);
static void settle(struct seat *seat, struct slot *slot, unsigned *held);
static void tell_loss_of_nobody(const struct seat *seat, unsigned *held);
static void tell_loss(const struct seat *seat, const struct slot *slot,
		      struct exchange *exchange, const char *fate, unsigned *held);
static bool was_at(const struct seat *seat, const struct slot *slot);
static void forget_what_was_said(struct exchange *exchange);
static uint32_t *in_order(struct seat *seat, bool at_work, unsigned *ret_count);

bool seat_pull_back(struct seat *seat, bool patiently)
{
	bool again = false;
	unsigned count;
	uint32_t *slots = in_order(seat, true, &count);

	while (count-- > 0) {
		struct slot *slot = &seat->slots[slots[count]];
		struct exchange *exchange = slot->exchange;

		if (!exchange || exchange->state != EXCHANGE_LINKED ||
		    !slot_keep_block(seat, slot))
			continue;
		if (patiently && is_worth_waiting_for(seat, slot)) {
			again = true;
			continue;
		}
		if (!link_revoke(&seat->link, slots[count], slot->generation)) {
			/* Is this what the others were stuck behind? */
			if (seat_is_silent(seat)) {
				pool_note_silence(slot->cost, seat_silent_ms(seat));
				if (slot->cost->ns < PACK_US * 1000u)
					slot->cost->ns = PACK_US * 1000u;
			}
			continue;
		}
		exchange->begun_anew += has_part(slot);
		take_back(seat, slots[count]);
	}
	free(slots);
	return again;
}

bool seat_take_next(struct seat *seat)
{
	struct slot *slot = seat->newest;
	uint32_t number;

	if (seat->condemned || !slot || !slot->exchange ||
	    slot->exchange->state != EXCHANGE_LINKED || has_part(slot) ||
	    !slot_keep_block(seat, slot))
		return false;
	number = (uint32_t)(slot - seat->slots);
	if (!link_revoke(&seat->link, number, slot->generation))
		return false;
	take_back(seat, number);
	return true;
}

void seat_settle(struct seat *seat)
{
	unsigned held = 0;
	uint32_t *slots;
	unsigned count;

	tell_loss_of_nobody(seat, &held);
	slots = in_order(seat, false, &count);
	while (count-- > 0)
		settle(seat, &seat->slots[slots[count]], &held);
	/* Better in any order than not at all: what they point to is about to go. */
	for (uint32_t slot = slots_next(&seat->used_slots, 0); !slots && slot < LINK_SLOTS;
	     slot = slots_next(&seat->used_slots, slot + 1))
		settle(seat, &seat->slots[slot], &held);
	free(slots);
	if (held > LOSSES_NAMED_MAX)
		log_error("%s[%u] (pid %d) died holding %u requests more", seat->pool->name,
			  seat->index, (int)seat->pid, held - LOSSES_NAMED_MAX);
}

/* It was not begun, and will not be there. */
static void take_back(struct seat *seat, uint32_t number)
{
	struct exchange *exchange = seat->slots[number].exchange;

	forget_what_was_said(exchange);
	slot_free(seat, number);
	/* Before it is given to anybody. */
	if (seat->at_work == 0) {
		seat->doubted = true;
		seat->doubted_epoch = link_peer_epoch(&seat->link);
	}
	pool_return(exchange, false);
}

/* What has come of a body would have to come again. It does for who is stuck; but to be found so
 * takes twice as long each time, since on a machine that is busy all workers are slow. */
static bool is_worth_waiting_for(const struct seat *seat, const struct slot *slot)
{
	const unsigned times = slot->exchange->begun_anew < PULL_BACK_DOUBLINGS
				       ? slot->exchange->begun_anew
				       : PULL_BACK_DOUBLINGS;

	return has_part(slot) && seat->dispatcher->loop.now_ms - seat->progress_ms <=
					 (uint64_t)PULL_BACK_ANYWAY_MS << times;
}

/* The worker has taken some of its body. */
static bool has_part(const struct slot *slot)
{
	return slot->body_sent > slot->parts_out;
}

/* What becomes of one request of a dead worker; `held`: how many so far that it was not at. */
static void settle(struct seat *seat, struct slot *slot, unsigned *held)
{
	struct exchange *exchange = slot->exchange;
	const uint32_t number = (uint32_t)(slot - seat->slots);
	const enum claim claim =
		link_claim(&seat->link, number, slot->generation);
	bool again = claim == CLAIM_QUEUED && !seat->condemned;
	bool idempotent;

	if (!exchange)
		return;
	slot_label(seat, number);
	slot->exchange = NULL;
	exchange->seat = NULL;
	idempotent = exchange->route && exchange->route->idempotent;
	if (!again && idempotent && exchange->deaths == 0)
		again = true;
	if (claim != CLAIM_QUEUED || seat->condemned)
		exchange->deaths++;
	if (exchange->state == EXCHANGE_ANSWERING) {
		tell_loss(seat, slot, exchange,
			  exchange_is_first(exchange) ? "its answer is cut short" : "502", held);
		exchange_fail(exchange, 502, "the worker died in the middle of its answer");
		return;
	}
	slot->exchange = exchange;
	again = again && slot_keep_block(seat, slot);
	slot->exchange = NULL;
	if (!again || claim != CLAIM_QUEUED)
		tell_loss(seat, slot, exchange, again ? "run again" : "502", held);
	if (again) {
		forget_what_was_said(exchange);
		pool_return(exchange, claim != CLAIM_QUEUED);
		return;
	}
	pool_leave(exchange);
	exchange_fail(exchange, 502, "the worker died while it was at this request");
}

/* By a worker whose word counts no more, of a request that another gets. */
static void forget_what_was_said(struct exchange *exchange)
{
	topic_forget(exchange);
	buffer_fini(&exchange->early);
}

/* The client had left, or was told 504: what the worker was at is told all the same. */
static void tell_loss_of_nobody(const struct seat *seat, unsigned *held)
{
	for (uint32_t i = slots_next(&seat->used_slots, 0); i < LINK_SLOTS;
	     i = slots_next(&seat->used_slots, i + 1)) {
		const struct slot *slot = &seat->slots[i];

		if (!slot->exchange && slot->holds_block && was_at(seat, slot))
			tell_loss(seat, slot, NULL, "nobody waits for it any more", held);
	}
}

/* What it was at is named whatever else it held, of which there may be thousands. Without an
 * exchange the request stands in the arena. */
static void tell_loss(const struct seat *seat, const struct slot *slot,
		      struct exchange *exchange, const char *fate, unsigned *held)
{
	const bool is_held = !was_at(seat, slot);
	struct slot_label label;
	const char *method;
	const char *path;

	if (is_held && ++*held > LOSSES_NAMED_MAX)
		return;
	slot_read_label(seat, slot, &label);
	if (exchange) {
		exchange_describe(exchange, &method, &path);
		label = (struct slot_label){ exchange->id, span_of(method), span_of(path) };
	}
	log_error("%s[%u] (pid %d) died %s request %llu (%.*s %.*s): %s", seat->pool->name,
		  seat->index, (int)seat->pid, is_held ? "holding" : "at",
		  (unsigned long long)label.id, (int)label.method.size, label.method.at,
		  (int)label.path.size, label.path.at, fate);
}

/* Its handler had begun, and not returned; as far as a worker is to be believed. */
static bool was_at(const struct seat *seat, const struct slot *slot)
{
	const uint32_t number = (uint32_t)(slot - seat->slots);

	return slot->at_work &&
	       link_claim(&seat->link, number, slot->generation) == CLAIM_TAKEN;
}

struct aged_slot {
	uint64_t id;
	uint32_t slot;
};

static int by_id(const void *a, const void *b)
{
	const struct aged_slot *left = a;
	const struct aged_slot *right = b;

	return (left->id > right->id) - (left->id < right->id);
}

/* The slots in use, or those at work, oldest request first; malloc'ed. NULL, and none, without
 * memory for the order. */
static uint32_t *in_order(struct seat *seat, bool at_work, unsigned *ret_count)
{
	struct aged_slot *aged = calloc(seat->in_hand + 1, sizeof(*aged));
	uint32_t *slots = calloc(seat->in_hand + 1, sizeof(*slots));
	unsigned count = 0;

	*ret_count = 0;
	if (!aged || !slots) {
		free(aged);
		free(slots);
		return NULL;
	}
	for (uint32_t i = slots_next(&seat->used_slots, 0);
	     i < LINK_SLOTS && count < seat->in_hand;
	     i = slots_next(&seat->used_slots, i + 1)) {
		const struct exchange *exchange = seat->slots[i].exchange;

		if (exchange && (!at_work || seat->slots[i].at_work))
			aged[count++] = (struct aged_slot){ exchange->id, i };
	}
	if (count > 1)
		qsort(aged, count, sizeof(*aged), by_id);
	for (unsigned i = 0; i < count; i++)
		slots[i] = aged[i].slot;
	*ret_count = count;
	free(aged);
	return slots;
}

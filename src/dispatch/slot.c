/* SPDX-License-Identifier: MIT */
/*
 * The slots of a seat: one for each request in a worker's hands. What a slot
 * holds is private to the dispatcher and noted before the worker is told, so
 * that the death of the worker at any instruction leaves a known state. The
 * claim in shared memory decides one thing only: who of the two got hold of a
 * request that is given and taken back at the same moment. Our half of the link
 * a worker that was taken over can make writable for itself: what is read back
 * from there is judged as if the worker had sent it.
 */
#include <errno.h>
#include <stdlib.h>

#include "dispatch/private.h"

static int take_slot(struct seat *seat, const struct exchange *exchange, uint32_t size,
		     uint32_t *ret_slot, void **ret_block);
static int hand_over(struct seat *seat, struct exchange *exchange, uint32_t slot,
		     uint32_t size);
static void lose_body(struct seat *seat, uint32_t slot, int error);
static void untake(struct seat *seat, uint32_t slot);
static void read_label(const char *block, uint32_t size, struct slot_label *ret);
static struct span text_in(const char *block, uint32_t size, struct wire_text text);
static void say(struct seat *seat, enum message_kind kind, unsigned flags,
		uint32_t slot, uint32_t size);

int slot_send_encoded(struct seat *seat, struct exchange *exchange,
		      const struct encode_input *input)
{
	const uint32_t size = encode_size(input);
	uint32_t slot;
	void *block;
	int r = take_slot(seat, exchange, size, &slot, &block);

	if (r < 0)
		return r;
	encode_request(block, size, input);
	return hand_over(seat, exchange, slot, size);
}

int slot_send(struct seat *seat, struct exchange *exchange)
{
	const uint64_t whole = exchange->body.size;
	const uint32_t inlined =
		whole <= INLINE_BODY_BYTES ? (uint32_t)whole : 0;
	const uint32_t at = (exchange->block_size + 7u) & ~7u;
	uint32_t size = exchange->block_size;
	struct wire_request *wire;
	uint32_t slot;
	void *block;
	int r;

	if (inlined)
		size = at + inlined + 1;
	r = take_slot(seat, exchange, size, &slot, &block);
	if (r < 0)
		return r;
	memcpy(block, exchange->block, exchange->block_size);
	wire = block;
	if (whole) {
		wire->body_size = whole;
		wire->size = size;
		wire->body = (struct wire_text){ inlined ? at : 0, inlined };
	}
	if (inlined) {
		r = body_read(&exchange->body, 0, (char *)block + at, inlined);
		if (r < 0) {
			untake(seat, slot);
			return r;
		}
		((char *)block)[at + inlined] = '\0';
	}
	r = hand_over(seat, exchange, slot, size);
	if (r == 0 && whole > inlined)
		slot_send_parts(seat, slot);
	return r;
}

void slot_send_parts(struct seat *seat, uint32_t number)
{
	struct slot *slot = &seat->slots[number];
	struct exchange *exchange = slot->exchange;
	struct message message = { .kind = MESSAGE_BODY_PART, .slot = number };
	uint64_t left;
	void *place;
	int r;

	if (!exchange || exchange->body.size <= INLINE_BODY_BYTES)
		return;
	while ((left = exchange->body.size - slot->body_sent) > 0 &&
	       slot->parts_out + LINK_PART_BYTES <= LINK_CREDIT_BYTES) {
		message.generation = slot->generation;
		message.size = left < LINK_PART_BYTES ? (uint32_t)left
						      : LINK_PART_BYTES;
		place = link_alloc(&seat->link, number, message.size,
				   &message.offset);
		/* Between blocks of others that stay there may be room for less. */
		if (!place && message.size > LINK_PART_BYTES / 4) {
			message.size = LINK_PART_BYTES / 4;
			place = link_alloc(&seat->link, number, message.size,
					   &message.offset);
		}
		if (!place)
			break;
		message.flags = message.size == left ? MESSAGE_LAST : 0;
		r = body_read(&exchange->body, slot->body_sent, place, message.size);
		if (r < 0) {
			link_free(&seat->link, message.offset);
			lose_body(seat, number, -r);
			return;
		}
		if (link_send(&seat->link, &message) < 0) {
			link_free(&seat->link, message.offset);
			break;
		}
		slot->body_sent += message.size;
		slot->parts_out += message.size;
		seat->must_ring = true;
	}
	if (left > 0)
		slots_add(&seat->want_parts, number);
	else
		slots_remove(&seat->want_parts, number);
}

void slot_abandon(struct seat *seat, uint32_t number)
{
	struct slot *slot = &seat->slots[number];

	if (slot->exchange)
		slot->exchange->seat = NULL;
	slot->exchange = NULL;
	slots_remove(&seat->want_parts, number);
	if (seat->condemned || !seat->up)
		return;
	if (link_revoke(&seat->link, number, slot->generation)) {
		slot_free(seat, number);
		/* The worker will not say that it is free. */
		if (seat->pool->queued)
			pull_back_soon(seat->dispatcher);
		return;
	}
	say(seat, MESSAGE_CANCEL, 0, number, 0);
}

void slot_half_closed(struct seat *seat, uint32_t number)
{
	if (seat->up && !seat->condemned)
		say(seat, MESSAGE_CANCEL, MESSAGE_HALF, number, 0);
}

void slot_end_stream(struct seat *seat, uint32_t number)
{
	if (seat->up && !seat->condemned)
		say(seat, MESSAGE_CANCEL, MESSAGE_LAST, number, 0);
}

void slot_free(struct seat *seat, uint32_t number)
{
	struct slot *slot = &seat->slots[number];

	if (slot->exchange)
		slot->exchange->seat = NULL;
	slot->exchange = NULL;
	slots_remove(&seat->want_parts, number);
	slot_let_block_go(seat, number);
	untake(seat, number);
}

void slot_let_block_go(struct seat *seat, uint32_t number)
{
	struct slot *slot = &seat->slots[number];

	if (slot->holds_block && link_free(&seat->link, slot->offset) < 0)
		seat_condemn(seat, "gave back a request that is not its own");
	slot->holds_block = false;
}

void slot_read_label(const struct seat *seat, const struct slot *slot,
		     struct slot_label *ret)
{
	*ret = (struct slot_label){ 0, { "?", 1 }, { "?", 1 } };
	if (slot->holds_block)
		read_label((const char *)seat->link.arena + slot->offset, slot->size, ret);
}

void slot_label(struct seat *seat, uint32_t number)
{
	const struct slot *slot = &seat->slots[number];
	struct exchange *exchange = slot->exchange;
	struct slot_label label;

	if (!exchange || exchange->label || (!exchange->block && !slot->holds_block))
		return;
	if (exchange->block)
		read_label((const char *)exchange->block, exchange->block_size, &label);
	else
		slot_read_label(seat, slot, &label);
	exchange->label = calloc(1, label.method.size + 1 + label.path.size + 1);
	if (!exchange->label)
		return;
	memcpy(exchange->label, label.method.at, label.method.size);
	memcpy(exchange->label + label.method.size + 1, label.path.at, label.path.size);
}

static void read_label(const char *block, uint32_t size, struct slot_label *ret)
{
	struct wire_request wire;

	memcpy(&wire, block, sizeof(wire));
	*ret = (struct slot_label){ wire.id, text_in(block, size, wire.method),
				    text_in(block, size, wire.path) };
}

/* Its offset and size are a copy; what they were taken from, the worker may have written. */
static struct span text_in(const char *block, uint32_t size, struct wire_text text)
{
	if (text.offset > size || text.size > size - text.offset)
		return (struct span){ "?", 1 };
	return (struct span){ block + text.offset, text.size };
}

/* The worker has a copy; we need one only to run it again. */
void slot_copied(struct seat *seat, uint32_t number)
{
	struct slot *slot = &seat->slots[number];
	struct exchange *exchange = slot->exchange;

	if (!slot->holds_block)
		return;
	slot_label(seat, number);
	if (exchange && exchange->route && exchange->route->idempotent &&
	    exchange->state == EXCHANGE_LINKED) {
		(void)slot_keep_block(seat, slot);
	} else if (exchange) {
		exchange_drop_block(exchange);
		body_fini(&exchange->body);
	}
	slot_let_block_go(seat, number);
}

/* A request that was encoded straight into the link is copied out of it before
 * the link goes. Its worker has no business in our half, but can get there. */
bool slot_keep_block(struct seat *seat, struct slot *slot)
{
	struct exchange *exchange = slot->exchange;

	if (exchange->block)
		return true;
	if (!slot->holds_block)
		return false;
	if (!exchange_take_block(exchange, slot->size))
		return false;
	memcpy(exchange->block, seat->link.arena + slot->offset, slot->size);
	if (wire_request_ok(exchange->block, slot->size))
		return true;
	exchange_drop_block(exchange);
	if (seat->up)
		seat_condemn(seat, "wrote into a request");
	return false;
}

void slot_answering(struct seat *seat, uint32_t number)
{
	struct slot *slot = &seat->slots[number];

	if (!slot->at_work)
		return;
	slot->at_work = false;
	seat->at_work--;
	seat->work_ns -= slot->cost_ns;
	if (seat->newest == slot)
		seat->newest = NULL;
	if (seat->has_next && (seat->at_work < 2 || slot->cost_ns >= PACK_US * 1000u)) {
		seat->has_next = false;
		seat->pool->nexts--;
	}
}

void slot_note_silence(struct seat *seat, uint32_t number)
{
	const struct slot *slot = &seat->slots[number];

	if (slot->at_work && seat_is_silent(seat))
		pool_note_silence(slot->cost, seat_silent_ms(seat));
}

void slot_credit(struct seat *seat, uint32_t number, uint32_t size)
{
	if (seat->up && !seat->condemned)
		say(seat, MESSAGE_CREDIT, 0, number, size);
}

/* Find a free slot, and room for a block in the arena. */
static int take_slot(struct seat *seat, const struct exchange *exchange, uint32_t size,
		     uint32_t *ret_slot, void **ret_block)
{
	const uint32_t number = slots_next(&seat->free_slots, 0);
	struct slot *slot = &seat->slots[number];
	void *block = link_alloc(&seat->link, SLOT_BLOCK, size, &slot->offset);

	if (!block)
		return -EAGAIN;
	slots_remove(&seat->free_slots, number);
	slots_add(&seat->used_slots, number);
	slot->size = size;
	slot->used = true;
	slot->holds_block = true;
	slot->generation++;
	slot->body_sent = 0;
	slot->at_work = true;
	slot->cost = pool_cost(seat->pool, exchange);
	slot->cost_ns = slot->cost->ns;
	seat->work_ns += slot->cost_ns;
	if (seat->newest && seat->newest->cost_ns >= PACK_US * 1000u && !seat->has_next) {
		seat->has_next = true;
		seat->pool->nexts++;
	}
	seat->newest = slot;
	if (seat->at_work++ == 0)
		seat->progress_ms = seat->dispatcher->loop.now_ms;
	if (seat->in_hand++ == 0) {
		list_push_back(&seat->dispatcher->active, &seat->in_active);
	}
	*ret_slot = number;
	*ret_block = block;
	return 0;
}

static int hand_over(struct seat *seat, struct exchange *exchange, uint32_t number,
		     uint32_t size)
{
	struct slot *slot = &seat->slots[number];
	const struct message message = {
		.kind = MESSAGE_REQUEST,
		.slot = number,
		.generation = slot->generation,
		.offset = slot->offset,
		.size = size,
	};
	int r;

	slot->exchange = exchange;
	link_offer(&seat->link, number, slot->generation);
	r = link_send(&seat->link, &message);
	if (r < 0) {
		slot->exchange = NULL;
		link_revoke(&seat->link, number, slot->generation);
		link_free(&seat->link, slot->offset);
		untake(seat, number);
		if (r == -EBADMSG)
			seat_condemn(seat, "its index of requests is impossible");
		return r;
	}
	exchange->seat = seat;
	exchange->slot = number;
	pool_linked(exchange);
	seat->must_ring = true;
	/* Since then it has waited for a worker, or for its turn to be read. */
	if (exchange->connection->peer_closed || exchange->connection->hung_up)
		slot_half_closed(seat, number);
	if (seat->announced)
		seat_awake(seat);
	if (seat->at_work >= LINK_WORK_MAX && seat_is_beside(seat))
		turn_give_way_to(seat);
	if (seat->at_work > 1 || seat->doubted || seat->dispatcher->server->dispatchers > 1)
		pull_back_soon(seat->dispatcher);
	return 0;
}

/* The disk fails: no other worker could be given it either. */
static void lose_body(struct seat *seat, uint32_t number, int error)
{
	struct exchange *exchange = seat->slots[number].exchange;

	pool_leave(exchange);
	slot_label(seat, number);
	slot_abandon(seat, number);
	exchange_fail_body(exchange, error);
}

/* The slot is free again, unless parts of a body are still with the worker:
 * then it is when they have come back. */
static void untake(struct seat *seat, uint32_t number)
{
	struct slot *slot = &seat->slots[number];

	slot_answering(seat, number);
	slot->used = false;
	slots_remove(&seat->used_slots, number);
	if (slot->parts_out == 0)
		slots_add(&seat->free_slots, number);
	if (--seat->in_hand == 0)
		list_remove(&seat->in_active);
}

static void say(struct seat *seat, enum message_kind kind, unsigned flags,
		uint32_t slot, uint32_t size)
{
	const struct message message = {
		.kind = (uint16_t)kind,
		.flags = (uint16_t)flags,
		.slot = slot,
		.generation = seat->slots[slot].generation,
		.size = size,
	};

	seat_say(seat, &message, NULL);
}

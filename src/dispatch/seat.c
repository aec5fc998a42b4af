/* SPDX-License-Identifier: MIT */
/*
 * A worker's place as the dispatcher sees it: opening the link when somebody
 * takes the place, hearing what is said there, and settling everything when
 * he dies. What a worker writes is hostile input: copied once, then judged. A
 * wrong header costs that request a 502; nonsense in the link itself costs the
 * worker its life, and nobody else anything.
 *
 * On a death each request that the worker had is settled by its claim: what
 * was not taken goes back to the head of the queue in its old order; what was
 * taken is answered with 502, or run once more where its route says that this
 * does no harm. If the worker wrote nonsense its claims prove nothing. What was
 * taken is named in the log, as the worker may have died of it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"
#include "supervise/scoreboard.h"

static int have_killed(const struct pool *pool, unsigned index, uint32_t generation,
		       enum crew_cause cause);
static struct seat *empty_seat(struct pool *pool);
static void bell_rang(struct loop *loop, struct watch *watch, uint32_t events);
static bool is_worth_waiting_for(const struct seat *seat, const struct slot *slot);
static bool has_part(const struct slot *slot);
static void part_came_back(void *context, uint32_t slot, uint32_t size);
static void settle(struct seat *seat, struct slot *slot, unsigned *held);
static void tell_loss_of_nobody(const struct seat *seat, unsigned *held);
static void tell_loss(const struct seat *seat, const struct slot *slot,
		      struct exchange *exchange, const char *fate, unsigned *held);
static bool was_at(const struct seat *seat, const struct slot *slot);
static void forget_what_was_said(struct exchange *exchange);
static int make_slots(struct seat *seat);
static uint32_t *in_order(struct seat *seat, bool at_work, unsigned *ret_count);

void seat_up(struct pool *pool, const struct control *order, struct link_fds *fds)
{
	struct dispatcher *dispatcher = pool->dispatcher;
	struct seat *seat = seat_find(pool, order->index, order->generation);
	int r = -ENOMEM;

	if (seat)
		seat_down(seat, CREW_CAUSE_SIGNAL);
	else
		seat = empty_seat(pool);
	if (seat)
		r = make_slots(seat);
	if (r == 0)
		r = link_open(&seat->link, LINK_DISPATCHER, fds);
	if (r < 0) {
		if (seat)
			outbox_fini(&seat->outbox);
		seat_refuse(pool, order, strerror(-r));
		link_close_fds(fds);
		return;
	}
	seat->index = order->index;
	seat->worker_generation = order->generation;
	seat->pid = order->pid;
	seat->score = sisters_worker(dispatcher, pool->number, order->index,
				     order->generation);
	seat->in_hand = 0;
	seat->at_work = 0;
	seat->work_ns = 0;
	seat->condemned = false;
	seat->full_until_ms = 0;
	seat->untold = false;
	seat->draining = false;
	seat->must_ring = false;
	seat->announced = false;
	seat->paused = false;
	/* It may be at a request of a dispatcher before us, and have looked at no link since. */
	seat->doubted = true;
	seat->doubted_epoch = 0;
	calls_open(seat);
	seat->bell = (struct watch){ .fd = seat->link.sleeper.fd,
				     .ready = bell_rang };
	/* Edge-triggered: each ring is one event, and none has to be read away. */
	r = loop_add(&dispatcher->loop, &seat->bell, EPOLLIN | EPOLLET);
	if (r < 0) {
		outbox_fini(&seat->outbox);
		seat_refuse(pool, order, strerror(-r));
		link_fini(&seat->link);
		return;
	}
	seat->up = true;
	few_tell(seat);
	pool_feed(seat->pool);
}

struct seat *seat_find(const struct pool *pool, uint32_t index, uint32_t generation)
{
	for (unsigned i = 0; i < pool->seat_count; i++) {
		struct seat *seat = pool->seats[i];

		if (seat->up && seat->index == index &&
		    seat->worker_generation == generation)
			return seat;
	}
	return NULL;
}

void seat_drain(struct seat *seat)
{
	seat->draining = true;
	seat_pull_back(seat, false);
	pool_feed(seat->pool);
}

void seat_down(struct seat *seat, uint32_t cause)
{
	unsigned held = 0;
	uint32_t *slots;
	unsigned count;

	if (!seat->up)
		return;
	if (cause == CREW_CAUSE_PROTOCOL)
		seat->condemned = true;
	if (!seat->condemned)
		seat_receive(seat);
	seat->up = false;
	seat->untold = false;
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
	list_remove(&seat->in_active);
	seat->in_hand = 0;
	seat->at_work = 0;
	seat->work_ns = 0;
	calls_close(seat);
	loop_remove(&seat->dispatcher->loop, &seat->bell);
	outbox_fini(&seat->outbox);
	link_fini(&seat->link);
	pool_feed(seat->pool);
	/* Nobody may come for long for whom the queue could wait. */
	if (seat->pool->degraded)
		pool_set_degraded(seat->pool, true);
}

void seat_receive(struct seat *seat)
{
	struct message messages[LINK_BATCH];
	unsigned batches = 0;
	unsigned count;
	int r;

	if (seat->condemned)
		return;
	r = link_reap(&seat->link, part_came_back, seat);
	if (r < 0) {
		seat_condemn(seat, "gave back bytes that are not its own");
		return;
	}
	do {
		count = 0;
		while (count < LINK_BATCH &&
		       (r = link_receive(&seat->link, &messages[count])) > 0)
			link_foresee(&seat->link, &messages[count++]);
		for (unsigned i = 0; i < count && !seat->condemned; i++)
			answer_received(seat, &messages[i]);
		if (count > 0)
			seat->doubted = false;
		/* Who goes on talking is heard again in the next turn, after others. */
	} while (count == LINK_BATCH && ++batches < LINK_RING_ENTRIES / LINK_BATCH &&
		 !seat->condemned);
	if (r < 0)
		seat_condemn(seat, "a message of it makes no sense");
	for (uint32_t slot = slots_next(&seat->want_parts, 0);
	     slot < LINK_SLOTS && !seat->condemned;
	     slot = slots_next(&seat->want_parts, slot + 1))
		slot_send_parts(seat, slot);
	if (seat->in_hand > 0)
		seat->must_ring = true;
	pool_feed(seat->pool);
}

void seat_condemn(struct seat *seat, const char *why)
{
	if (seat->condemned)
		return;
	seat->condemned = true;
	seat->untold = true;
	log_error("%s[%u] (pid %d) is condemned, protocol: %s",
		  seat->pool->name, seat->index, (int)seat->pid, why);
	seat_tell_condemned(seat);
}

void seat_tell_condemned(struct seat *seat)
{
	int r;

	if (!seat->untold)
		return;
	r = have_killed(seat->pool, seat->index, seat->worker_generation,
			seat->up ? CREW_CAUSE_PROTOCOL : CREW_CAUSE_DESCRIPTOR_LIMIT);
	seat->untold = os_channel_is_full(r);
	if (seat->untold)
		retry_soon(seat->dispatcher);
}

/* A worker without a link would stay idle for good; another may have better luck. If the parent
 * cannot be told now, an empty seat keeps what is to be said. */
void seat_refuse(struct pool *pool, const struct control *up, const char *why)
{
	struct seat *seat;

	log_error("%s[%u]: cannot open its link, so it is replaced: %s", pool->name,
		  up->index, why);
	if (!os_channel_is_full(have_killed(pool, up->index, up->generation,
				      CREW_CAUSE_DESCRIPTOR_LIMIT)))
		return;
	seat = empty_seat(pool);
	if (!seat)
		return;
	seat->index = up->index;
	seat->worker_generation = up->generation;
	seat->untold = true;
	retry_soon(pool->dispatcher);
}

static int have_killed(const struct pool *pool, unsigned index, uint32_t generation,
		       enum crew_cause cause)
{
	const struct control order = {
		.kind = CONTROL_CONDEMN,
		.pool = pool->number,
		.index = index,
		.generation = generation,
		.cause = cause,
	};

	return os_channel_send(pool->dispatcher->self->channel, &order, sizeof(order),
			       NULL, 0);
}

bool seat_say(struct seat *seat, const struct message *message, const void *bytes)
{
	int r;

	if (!seat->up || seat->condemned)
		return true;
	r = outbox_send(&seat->outbox, &seat->link, message, bytes);
	seat->must_ring = true;
	if (r == -ENOMEM && bytes)
		return false;
	if (r == -EBADMSG)
		seat_condemn(seat, "its index of requests is impossible");
	else if (r < 0 || seat->outbox.bytes > UNREAD_MAX_BYTES)
		seat_condemn(seat, "it does not read what it is told");
	return true;
}

bool seat_flush(struct seat *seat)
{
	int r = outbox_flush(&seat->outbox, &seat->link);

	if (!list_empty(&seat->answers)) {
		calls_tell(seat);
		r = r < 0 ? r
			  : outbox_empty(&seat->outbox) && list_empty(&seat->answers);
	}
	if (r < 0)
		seat_condemn(seat, "its index of requests is impossible");
	return r != 0;
}

bool seat_has_news(const struct seat *seat)
{
	return !seat->condemned && link_has_news(&seat->link);
}

void seat_announce(struct seat *seat)
{
	bell_announce(&seat->link.sleeper);
	seat->announced = true;
}

void seat_awake(struct seat *seat)
{
	bell_awake(&seat->link.sleeper);
	seat->announced = false;
}

bool seat_is_beside(const struct seat *seat)
{
	unsigned place;

	return link_rung_on(&seat->link, &place) && place == os_processor();
}

bool seat_is_silent(const struct seat *seat)
{
	return seat->dispatcher->loop.now_ms - seat->progress_ms > PULL_BACK_MS;
}

bool seat_is_doubted(struct seat *seat)
{
	if (seat->doubted && link_peer_epoch(&seat->link) != seat->doubted_epoch)
		seat->doubted = false;
	return seat->doubted;
}

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
			if (seat_is_silent(seat) && *slot->cost < PACK_US * 1000u)
				*slot->cost = PACK_US * 1000u;
			continue;
		}
		exchange->begun_anew += has_part(slot);
		forget_what_was_said(exchange);
		slot_free(seat, slots[count]);
		/* Before it is given to anybody. */
		if (seat->at_work == 0) {
			seat->doubted = true;
			seat->doubted_epoch = link_peer_epoch(&seat->link);
		}
		pool_return(exchange, false);
	}
	free(slots);
	return again;
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

/* One that nobody has now; or a new one, since while workers are replaced there
 * are more of them than places. */
static struct seat *empty_seat(struct pool *pool)
{
	struct seat **seats;
	struct seat *seat;

	for (unsigned i = 0; i < pool->seat_count; i++) {
		if (!pool->seats[i]->up && !pool->seats[i]->untold)
			return pool->seats[i];
	}
	seat = calloc(1, sizeof(*seat));
	seats = realloc(pool->seats, (pool->seat_count + 1) * sizeof(*seats));
	if (seats)
		pool->seats = seats;
	if (!seat || !seats) {
		free(seat);
		return NULL;
	}
	seat->dispatcher = pool->dispatcher;
	seat->pool = pool;
	list_init(&seat->in_active);
	seats[pool->seat_count++] = seat;
	return seat;
}

static void bell_rang(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct seat *seat = container_of(watch, struct seat, bell);

	(void)loop;
	(void)events;
	seat_awake(seat);
	seat_receive(seat);
}

static void part_came_back(void *context, uint32_t number, uint32_t size)
{
	struct seat *seat = context;
	struct slot *slot;

	if (number == LINK_NO_SLOT)
		return;
	if (number == SLOT_BLOCK) {
		seat_condemn(seat, "gave back a request before its answer");
		return;
	}
	seat->doubted = false;
	slot = &seat->slots[number];
	if (size > slot->parts_out) {
		seat_condemn(seat, "gave back more than it was given");
		return;
	}
	slot->parts_out -= size;
	/* Who gathers a body has answered nothing yet, and is not stuck. */
	seat->progress_ms = seat->dispatcher->loop.now_ms;
	if (slot->parts_out == 0 && !slot->used)
		slots_add(&seat->free_slots, number);
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

/* Fresh memory for each link: of so many slots nearly all are never touched, nor is what keeps
 * that each of them is cancelled, should there be no memory then. */
static int make_slots(struct seat *seat)
{
	outbox_init(&seat->outbox);
	free(seat->slots);
	seat->slots = calloc(LINK_SLOTS, sizeof(*seat->slots));
	memset(&seat->used_slots, 0, sizeof(seat->used_slots));
	memset(&seat->want_parts, 0, sizeof(seat->want_parts));
	memset(&seat->free_slots, 0xff, sizeof(seat->free_slots));
	return seat->slots ? outbox_reserve(&seat->outbox, LINK_SLOTS) : -ENOMEM;
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

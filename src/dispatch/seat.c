/* SPDX-License-Identifier: MIT */
/*
 * A worker's place as the dispatcher sees it: opening the link when somebody takes the
 * place, hearing what is said there, and closing it when he dies (what he had in hand:
 * settle.c). What a worker writes is hostile input: copied once, then judged. A wrong
 * header costs that request a 502; nonsense in the link itself costs the worker its
 * life, and nobody else anything.
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
static void part_came_back(void *context, uint32_t slot, uint32_t size);
static int make_slots(struct seat *seat);

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
	if (!seat->up)
		return;
	if (cause == CREW_CAUSE_PROTOCOL)
		seat->condemned = true;
	if (!seat->condemned)
		seat_receive(seat);
	seat->up = false;
	seat->untold = false;
	seat_settle(seat);
	list_remove(&seat->in_active);
	seat->in_hand = 0;
	seat->at_work = 0;
	seat->work_ns = 0;
	seat->newest = NULL;
	seat->pool->nexts -= seat->has_next;
	seat->has_next = false;
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

uint64_t seat_silent_ms(const struct seat *seat)
{
	return seat->dispatcher->loop.now_ms - seat->progress_ms;
}

bool seat_is_silent(const struct seat *seat)
{
	return seat_silent_ms(seat) > PULL_BACK_MS;
}

bool seat_is_doubted(struct seat *seat)
{
	if (seat->doubted && link_peer_epoch(&seat->link) != seat->doubted_epoch)
		seat->doubted = false;
	return seat->doubted;
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

/* SPDX-License-Identifier: MIT */
/*
 * Threads, as the parent sees them: lives like any other, but in a host, which
 * is itself a life (without a place). A thread is started by an order to its
 * host, with its end of a channel; it ends with a word on that channel, or
 * without one if that is closed, or with its host. It cannot be killed: who
 * stands still is replaced at once, asked to finish, and listed as stale until
 * he does. When too many have become stale, or at a reload, new threads are
 * started in a new host; the old one goes when only stale threads are left in
 * it, with force if need be.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static int tell_host(struct life *life);
static void look_again_soon(struct plan *plan);
static int start_host(struct group_state *group);
static void leave_place(struct life *life);
static unsigned count_stale(const struct group_state *group, const struct life *host);

int spawn_thread(struct life *life)
{
	struct group_state *group = group_of(life);
	int ends[2];
	int r = group->host ? 0 : start_host(group);

	if (r == 0)
		r = os_channel_create(ends);
	if (r < 0)
		return r;
	life_begin_line(life);
	life->host = group->host;
	life->child.pid = group->host->child.pid;
	life->child.channel = ends[0];
	life->far_end = ends[1];
	life->channel_watch = (struct watch){ .fd = ends[0],
					      .ready = reap_channel_ready };
	life_note_pid(life, life->child.pid);
	r = loop_add(&group->plan->loop, &life->channel_watch, EPOLLIN);
	if (r == 0)
		r = tell_host(life);
	if (r < 0) {
		loop_remove(&group->plan->loop, &life->channel_watch);
		close(ends[0]);
		if (life->far_end >= 0)
			close(life->far_end);
		life->child.channel = life->far_end = -1;
	}
	return r;
}

void thread_tell(struct life *life, enum self_asked what)
{
	life->untold = what == ASKED_TO_INTERRUPT ? HOST_INTERRUPT : HOST_FINISH;
	(void)tell_host(life); /* unless it is dead, which we are about to hear */
}

void thread_cut_off(struct life *life)
{
	life->cut_ms = clock_now_ms();
	look_again_soon(life->child.plan);
}

void threads_fire(struct loop *loop, struct timer *timer)
{
	struct plan *plan = container_of(timer, struct plan, hosts);
	const struct crew_death unknown = { .exit_code = -1 };

	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].lives) {
			struct life *life = container_of(link, struct life, in_group);

			if (life->far_end >= 0 || life->untold)
				(void)tell_host(life);
			/* Of a host that is dying its pidfd tells. */
			if (!life->cut_ms || !life->host->channel_watch.events)
				continue;
			if (loop->now_ms >= life->cut_ms + CUT_MS)
				life_bury(life, &unknown);
			else
				look_again_soon(plan);
		}
	}
}

void thread_replace(struct life *life)
{
	struct group_state *group = group_of(life);
	struct place *place = life->place;
	struct life *host = life->host;
	const struct crew_death instead = {
		.cause = life->ready ? CREW_CAUSE_STUCK : CREW_CAUSE_BOOT_TIMEOUT,
		.was_ready = life->ready,
		.last_lines = "",
	};

	if (life->stale)
		return;
	life->stale = true;
	life->cause = life->told_ms ? CREW_CAUSE_ORDER : instead.cause;
	life_mark(life, CREW_CHILD_STALE);
	if (!life->told_ms)
		life_tell(life, SIGTERM);
	log_warning("%s[%u] cannot be killed, being a thread: it is listed as stale "
		    "until it ends%s", group->options.is.name, life->child.index,
		    place && !place->removed ? "; another takes its place" : "");
	life_started(life);
	if (place && !place->removed) {
		leave_place(life);
		if (!place->now && is_kept_up(group))
			restart_later(place, &instead);
	}
	/* Without a place there is nobody to start anew. */
	if (group->place_count > 0 &&
	    count_stale(group, host) >= STALE_EACH * group->place_count &&
	    group->host == host && !group->rolling && !group->reload_asked &&
	    !group->plan->stopping) {
		log_error("%s: too many stale threads: starting all of them in a "
			  "new process", group->options.is.name);
		plan_reload(group->plan, group->number);
	}
	place_start_waiting(group);
	host_check(host);
}

/* Its place is free for another. */
static void leave_place(struct life *life)
{
	struct place *place = life->place;

	life->place = NULL;
	if (place->next == life) {
		place_keep(place);
	} else {
		place->now = place->next;
		place->next = NULL;
	}
}

void host_check(struct life *host)
{
	const struct group_state *group = group_of(host);

	if (group->host == host && is_kept_up(group))
		return;
	list_each(link, &group->lives) {
		const struct life *life = container_of(link, struct life, in_group);

		if (life->host == host && !life->stale)
			return;
	}
	life_tell(host, SIGTERM);
}

bool host_has_places(const struct life *host)
{
	list_each(link, &group_of(host)->places) {
		const struct place *place = container_of(link, struct place, in_group);

		if (place->now && place->now->host == host)
			return true;
	}
	return false;
}

/* What it has not been told of this thread: that it is there, and then what it is to do. Its
 * channel holds some two hundred messages: what finds no room is said later. 0 or -errno. */
static int tell_host(struct life *life)
{
	const int channel = life->host->child.channel;
	struct host_message order = {
		.order = HOST_START,
		.line = life->child.line,
		.index = life->child.index,
		.generation = life->child.generation,
	};
	int r = 0;

	if (life->far_end >= 0) {
		r = os_channel_send(channel, &order, sizeof(order), &life->far_end, 1);
		if (r == 0) {
			close(life->far_end);
			life->far_end = -1;
		}
	}
	if (r == 0 && life->untold) {
		order.order = life->untold;
		r = os_channel_send(channel, &order, sizeof(order), NULL, 0);
		if (r == 0)
			life->untold = 0;
	}
	if (!os_channel_is_full(r))
		return r;
	look_again_soon(life->child.plan);
	return 0;
}

static void look_again_soon(struct plan *plan)
{
	if (!loop_timer_is_set(&plan->hosts))
		loop_timer_set(&plan->loop, &plan->hosts, clock_now_ms() + ROOM_MS);
}

static int start_host(struct group_state *group)
{
	struct life *host = life_new(group, NULL);
	int r = host ? spawn_process(host) : -ENOMEM;

	if (r < 0) {
		life_free(host);
		return r;
	}
	group->host = host;
	life_enter(host);
	return 0;
}

static unsigned count_stale(const struct group_state *group, const struct life *host)
{
	unsigned count = 0;

	list_each(link, &group->lives) {
		const struct life *life = container_of(link, struct life, in_group);

		count += life->host == host && life->stale;
	}
	return count;
}

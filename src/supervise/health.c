/* SPDX-License-Identifier: MIT */
/*
 * The clocks and limits of children: until it is ready a child has its boot
 * timeout, from then on its heartbeat must go on. A heartbeat is progress, not
 * existence: a child that is stopped or that loops is found. Memory and
 * descriptors are looked at each second, a part of the children in each look. Lines that
 * the log had no room for are told from here, since no other may come.
 *
 * A thread is judged by its own heart only while its host's beats: if the whole
 * process stands still, it is the host that is stuck.
 */
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static void forgive_pause(struct plan *plan, uint64_t since_ms);
static void put_off(uint64_t *at_ms, uint64_t set_ms, uint64_t since_ms, uint64_t now_ms);
static void examine(struct life *life, uint64_t now_ms);
static void examine_heart(struct life *life, uint64_t now_ms);
static bool may_be_silent(const struct life *life);
static void examine_limits(struct life *life);
static bool examine_memory(struct life *life);
static bool can_be_replaced(const struct life *life);
static unsigned descriptors_max(const struct life *life);
static uint64_t beat_of(struct life *life);

void health_fire(struct loop *loop, struct timer *timer)
{
	struct plan *plan = container_of(timer, struct plan, health);
	unsigned number = 0;

	if (loop->now_ms > timer->due_ms + PAUSED_MS)
		forgive_pause(plan, timer->due_ms);
	plan->tick++;
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].lives) {
			struct life *life = container_of(link, struct life, in_group);

			if (life->repeat.line && life->repeat.until_ms <= loop->now_ms)
				sink_tell_repeats(life);
			if (life->killed)
				continue;
			life_let_leave(life, loop->now_ms);
			examine(life, loop->now_ms);
			if (number++ % LIMIT_TICKS == plan->tick % LIMIT_TICKS &&
			    !life->host && !life->killed)
				examine_limits(life);
		}
		sink_tell_dropped(&plan->groups[i].out);
		sink_tell_dropped(&plan->groups[i].error);
		plan_check_late(&plan->groups[i]);
		budget_look(&plan->groups[i]);
		roll_look(&plan->groups[i]);
	}
	if (plan->tick % LIMIT_TICKS == 0)
		reap_count_oom_kills(plan);
	reap_held(plan);
	log_tell_dropped();
	loop_timer_set(loop, timer, loop->now_ms + HEALTH_MS);
}

/* What children had no time for while we had none they shall have time for now. */
static void forgive_pause(struct plan *plan, uint64_t since_ms)
{
	const uint64_t now_ms = plan->loop.now_ms;

	plan->resumed_ms = now_ms;
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].lives) {
			struct life *life = container_of(link, struct life, in_group);

			put_off(&life->boot_until_ms, life->born_ms, since_ms, now_ms);
			put_off(&life->trial_until_ms, life->born_ms, since_ms, now_ms);
			put_off(&life->told_ms, life->told_ms, since_ms, now_ms);
			put_off(&life->extended_ms, life->born_ms, since_ms, now_ms);
		}
	}
}

/* Unless it is never, or was set when the pause was over. */
static void put_off(uint64_t *at_ms, uint64_t set_ms, uint64_t since_ms, uint64_t now_ms)
{
	if (*at_ms && *at_ms != UINT64_MAX && set_ms <= since_ms)
		*at_ms += now_ms - since_ms;
}

static void examine(struct life *life, uint64_t now_ms)
{
	const struct group *group = life->child.group;
	char name[64];

	if (life->ready) {
		examine_heart(life, now_ms);
		return;
	}
	if (life->trial_until_ms && now_ms >= life->trial_until_ms) {
		score_set_state(life->child.score, CREW_CHILD_READY);
		life_ready(life);
		return;
	}
	if (life->stale || now_ms <= life->boot_until_ms || now_ms <= life->extended_ms)
		return;
	name_life(life, name, sizeof(name));
	log_error("%s (pid %d) was not ready within its boot timeout of %u ms", name,
		  (int)life->child.pid, group->is.boot_timeout_ms);
	if (life->host)
		thread_replace(life);
	else
		life_kill(life, CREW_CAUSE_BOOT_TIMEOUT);
}

static void examine_heart(struct life *life, uint64_t now_ms)
{
	const uint64_t beat = beat_of(life);
	const unsigned limit = life->watchdog_ms;
	const uint64_t request = atomic_load_explicit(&life->child.score->request_id,
						      memory_order_relaxed);
	char work[48] = "";
	char name[64];

	if (limit == CREW_NEVER || life->stale || now_ms <= beat ||
	    now_ms - beat <= limit || may_be_silent(life))
		return;
	if (life->host && now_ms - beat_of(life->host) > limit / 2 + HOST_BEAT_MS)
		return;
	name_life(life, name, sizeof(name));
	if (request)
		snprintf(work, sizeof(work), " (request in hand: %llu)",
			 (unsigned long long)request);
	log_error("%s (pid %d) is stuck: no heartbeat for %u ms, heartbeat timeout "
		  "%u ms%s", name, (int)life->child.pid, (unsigned)(now_ms - beat),
		  limit, work);
	if (life->host)
		thread_replace(life);
	else
		life_kill(life, CREW_CAUSE_STUCK);
}

/* Who was told to stop has its stop timeout, and has no more to do with the heart: what shuts
 * down knows of none. But a loop of our own code beats to its end; and a thread cannot be
 * killed, so that no timeout of its own ends it. */
static bool may_be_silent(const struct life *life)
{
	const struct group_state *group = group_of(life);

	return life->told_ms && !life->host && !group->options.raw &&
	       plan_patience_ms(group) != CREW_NEVER;
}

static void examine_limits(struct life *life)
{
	const unsigned fds_max = descriptors_max(life);
	long fds;
	char name[64];

	if (!examine_memory(life))
		return;
	name_life(life, name, sizeof(name));
	fds = fds_max == CREW_NEVER ? 0 : os_descriptor_count(life->child.pid);
	if (fds > (long)fds_max) {
		log_error("%s (pid %d) has %ld descriptors open, more than its limit "
			  "of %u", name, (int)life->child.pid, fds, fds_max);
		life_kill(life, CREW_CAUSE_DESCRIPTOR_LIMIT);
	}
}

/* Who has work in hand is replaced, and finishes it, unless it grows on meanwhile. False if it
 * was killed. */
static bool examine_memory(struct life *life)
{
	const uint64_t max = life->child.group->is.max_rss_bytes;
	const uint64_t resident = max ? os_resident_bytes(life->child.pid) : 0;
	const bool gently = can_be_replaced(life) && resident - max <= max / RSS_GRACE_PART;
	char name[64];

	if (resident <= max || (gently && (life->leave_ms || life->told_ms)))
		return true;
	name_life(life, name, sizeof(name));
	log_error("%s (pid %d) has %llu KiB resident, more than its limit of %llu", name,
		  (int)life->child.pid, (unsigned long long)resident / 1024,
		  (unsigned long long)max / 1024);
	if (gently)
		life_ask_to_leave(life, LEAVE_LARGE);
	else
		life_kill(life, CREW_CAUSE_MEMORY_LIMIT);
	return gently;
}

/* Or is being replaced already. */
static bool can_be_replaced(const struct life *life)
{
	return group_of(life)->options.raw &&
	       (life->told_ms || life->is_host ||
		(life->ready && life->place && life->place->now == life));
}

/* Of its own limit, which it may have raised, unless it was given one. */
static unsigned descriptors_max(const struct life *life)
{
	const unsigned max = life->child.group->is.max_descriptors;
	const uint64_t limit = max ? 0 : os_descriptor_limit(life->child.pid);
	const uint64_t tenth = limit / 10;

	if (max)
		return max;
	if (limit > INT_MAX || limit < DESCRIPTORS_FEW)
		return CREW_NEVER;
	return (unsigned)(limit - (tenth > 10 ? tenth : 10));
}

/* One of the future nobody wrote who meant it (a child may have spoilt its memory): then the last
 * that could be believed counts. */
static uint64_t beat_of(struct life *life)
{
	const uint64_t beat = atomic_load_explicit(&life->child.score->heartbeat_ms,
						   memory_order_relaxed);
	const uint64_t resumed = life->child.plan->resumed_ms;

	if (beat <= clock_now_ms() + HEALTH_MS)
		life->beat_ms = beat;
	return life->beat_ms > resumed ? life->beat_ms : resumed;
}

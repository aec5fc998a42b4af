/* SPDX-License-Identifier: MIT */
/*
 * The clocks of children: until it is ready a child has its boot timeout, from
 * then on its heartbeat must go on. A heartbeat is progress, not existence: a
 * child that is stopped or that loops is found, and killed.
 */
#include "base/clock.h"
#include "base/log.h"
#include "supervise/private.h"

static void examine(struct child_private *child, uint64_t now_ms);

void health_fire(struct loop *loop, struct timer *timer)
{
	struct plan *plan = container_of(timer, struct plan, health);

	for (unsigned i = 0; i < plan->options.group_count; i++) {
		for (unsigned j = 0; j < plan->options.groups[i].count; j++) {
			struct child_private *child =
				&plan->groups[i].children[j];

			if (child->child.pid && !child->killed)
				examine(child, loop->now_ms);
		}
	}
	if (plan->stopping)
		plan_check_stop(plan);
	loop_timer_set(loop, timer, loop->now_ms + HEALTH_MS);
}

static void examine(struct child_private *child, uint64_t now_ms)
{
	const struct group *group = child->child.group;
	const struct score *score = child->child.score;
	const uint64_t beat = atomic_load_explicit(&score->heartbeat_ms,
						   memory_order_relaxed);
	const uint64_t request = atomic_load_explicit(&score->request_id,
						      memory_order_relaxed);

	if (!child->ready) {
		if (group->boot_timeout_ms &&
		    now_ms - child->born_ms > group->boot_timeout_ms) {
			log_error("%s[%u] (pid %d) was not ready within %u ms",
				  group->name, child->child.index,
				  (int)child->child.pid, group->boot_timeout_ms);
			kill_child(child, DEATH_BOOT_TIMEOUT);
		}
		return;
	}
	if (group->heartbeat_timeout_ms && now_ms > beat &&
	    now_ms - beat > group->heartbeat_timeout_ms) {
		log_error("%s[%u] (pid %d) is stuck: no heartbeat for %u ms "
			  "(request in hand: %llu)", group->name,
			  child->child.index, (int)child->child.pid,
			  (unsigned)(now_ms - beat), (unsigned long long)request);
		kill_child(child, DEATH_STUCK);
	}
}

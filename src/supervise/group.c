/* SPDX-License-Identifier: MIT */
/*
 * A group: what a zero in its table means, its places, and what the rooms above
 * ask about it. Adding and removing children, and telling how they are, is done
 * here; when they start and why they end is decided elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static void reopen(void *context, struct rotate *file);
static void fill_defaults(struct crew_group *group);
static int make_places(struct group_state *group);
static struct life *life_at(const struct plan *plan, unsigned group, unsigned index);
static void tell_scaled(const struct group_state *group, unsigned by, const char *what);

int group_init(struct plan *plan, unsigned number, const struct group *options,
	       struct crew_error *ret_error)
{
	struct group_state *group = &plan->groups[number];
	int r;

	group->plan = plan;
	group->number = number;
	group->options = *options;
	list_init(&group->places);
	list_init(&group->lives);
	fill_defaults(&group->options.is);
	if (group->options.is.max_restarts) {
		group->restart_times = calloc(group->options.is.max_restarts,
					      sizeof(*group->restart_times));
		if (!group->restart_times)
			return -ENOMEM;
	}
	group->log_level = group->options.is.log_level;
	r = sink_open(&group->out, group, &group->options.is.out, CREW_INFO, ret_error);
	if (r == 0)
		r = sink_open(&group->error, group, &group->options.is.error,
			      CREW_WARNING, ret_error);
	return r < 0 ? r : make_places(group);
}

int group_log_level(const struct group_state *group)
{
	return group->log_level ? group->log_level : log_level();
}

void group_tell_log_level(struct group_state *group)
{
	list_each(link, &group->lives)
		atomic_store_explicit(
			&container_of(link, struct life, in_group)->child.score->log_level,
			(uint32_t)group_log_level(group), memory_order_relaxed);
}

void plan_set_log_level(struct plan *plan, int number, int level)
{
	if (number < 0)
		log_set_level(level);
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		struct group_state *group = &plan->groups[i];

		if (number >= 0 && number != (int)i)
			continue;
		group->log_level = number < 0 ? 0 : level;
		group_tell_log_level(group);
	}
}

void group_fini(struct group_state *group)
{
	if (!group->plan)
		return;
	list_each(link, &group->lives) {
		struct life *life = container_of(link, struct life, in_group);

		list_remove(link);
		life_free(life);
	}
	list_each(link, &group->places)
		place_free(container_of(link, struct place, in_group));
	free(group->restart_times);
	sink_close(&group->out);
	sink_close(&group->error);
}

int plan_add(struct plan *plan, unsigned number, unsigned index)
{
	struct group_state *group = &plan->groups[number];
	struct place *place;
	int r;

	if (plan->stopping)
		return -ESHUTDOWN;
	for (unsigned i = 0; index == CREW_NEVER; i++) {
		if (!place_find(group, i))
			index = i;
	}
	if (index > INT_MAX)
		return -EINVAL;
	if (place_find(group, index))
		return -EEXIST;
	r = place_new(group, index, &place);
	if (r < 0)
		return r;
	if (plan->started)
		place_start(place);
	return (int)index;
}

int plan_remove(struct plan *plan, unsigned number, unsigned index, int signal,
		plan_gone *gone, void *argument)
{
	struct group_state *group = &plan->groups[number];
	struct place *place = place_find(group, index);

	if (!place)
		return -ENOENT;
	/* It may be the place that is just being filled, or the one after it. */
	if (plan->pre_forking)
		return -EBUSY;
	place->removed = true;
	place->gone = gone;
	place->gone_argument = argument;
	place->waiting = false;
	loop_timer_clear(&plan->loop, &place->restart);
	list_remove(&place->in_group);
	group->place_count--;
	if (place->next) {
		place->next->place = NULL;
		life_kill(place->next, CREW_CAUSE_ORDER);
		place->next = NULL;
	}
	if (!place->now) {
		const struct crew_death none = {
			.group = group->options.is.name,
			.index = index,
			.generation = place->generation,
			.cause = CREW_CAUSE_ORDER,
			.exit_code = -1,
			.name = "",
			.at = (int64_t)time(NULL),
			.last_lines = "",
		};

		place_gone(place, &none);
		return 0;
	}
	life_tell(place->now, signal ? signal : SIGTERM);
	return 0;
}

int plan_signal(struct plan *plan, unsigned group, unsigned index, int signal)
{
	const struct life *life = life_at(plan, group, index);

	if (!life)
		return -ENOENT;
	if (life->child.pidfd < 0)
		return -ENOTSUP;
	return os_process_signal(life->child.pidfd, signal);
}

ssize_t plan_send(struct plan *plan, unsigned group, unsigned index,
		  const void *data, size_t size)
{
	const struct life *life = life_at(plan, group, index);
	ssize_t n;

	if (life && life->host)
		life = life->host;
	if (!life)
		return -ENOENT;
	if (life->input < 0)
		return -ENOTSUP;
	do
		n = send(life->input, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void plan_scale(struct plan *plan, unsigned number, int by)
{
	struct group_state *group = &plan->groups[number];
	const unsigned before = group->place_count;
	const char *what = by < 0 ? "remove" : "add";
	int r = 0;

	if (plan->stopping)
		return;
	for (; by > 0 && r >= 0; by--)
		r = plan_add(plan, number, CREW_NEVER);
	for (; by < 0 && r >= 0 && group->place_count > 1; by++)
		r = plan_remove(plan, number,
				container_of(group->places.prev, struct place, in_group)->index,
				SIGTERM, NULL, NULL);
	if (group->place_count > before)
		tell_scaled(group, group->place_count - before, "more");
	else if (group->place_count < before)
		tell_scaled(group, before - group->place_count, "less");
	if (r == -ENOSPC)
		log_warning("%s: more than %u are not possible", group->options.is.name,
			    group->place_count);
	else if (r < 0)
		log_error("%s: cannot %s a child: %s", group->options.is.name,
			  what, strerror(-r));
	else if (by < 0)
		log_warning("%s: only one is left: it stays", group->options.is.name);
}

static void tell_scaled(const struct group_state *group, unsigned by, const char *what)
{
	const char *name = group->options.is.name;

	if (by == 1)
		log_info("%s: one %s, %u now", name, what, group->place_count);
	else
		log_info("%s: %u %s, %u now", name, by, what, group->place_count);
}

void plan_each_file(struct plan *plan, void (*call)(void *context, struct rotate *file),
		    void *context)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		if (plan->groups[i].out.file_is_open)
			call(context, &plan->groups[i].out.file);
		if (plan->groups[i].error.file_is_open)
			call(context, &plan->groups[i].error.file);
	}
}

void plan_follow(struct plan *plan)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		sink_follow(&plan->groups[i].out);
		sink_follow(&plan->groups[i].error);
	}
}

static void reopen(void *context, struct rotate *file)
{
	const int r = rotate_reopen(file);

	(void)context;
	if (r < 0)
		log_error("cannot reopen the file %s: %s; writing to the old one", file->name,
			  strerror(-r));
}

void plan_reopen(struct plan *plan)
{
	plan_each_file(plan, reopen, NULL);
	if (plan->options.reopen)
		plan->options.reopen(plan->options.context);
}

size_t plan_children(const struct plan *plan, struct crew_child_info *ret_children,
		     size_t room)
{
	size_t count = 0;

	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].lives) {
			const struct life *life =
				container_of(link, struct life, in_group);

			if (life->is_host)
				continue;
			if (count < room)
				plan_child_info(&life->child, &ret_children[count]);
			count++;
		}
	}
	return count;
}

void plan_child_info(const struct child *child, struct crew_child_info *ret_info)
{
	const struct life *life = container_of(child, struct life, child);
	const uint64_t now = clock_now_ms();
	const uint64_t beat = atomic_load_explicit(&life->child.score->heartbeat_ms,
						   memory_order_relaxed);

	_Static_assert(sizeof(ret_info->status) == SCORE_STATUS_BYTES, "one size");
	*ret_info = (struct crew_child_info){
		.group = life->child.group->is.name,
		.index = life->child.index,
		.generation = life->child.generation,
		.pid = life->child.pid,
		.state = score_state(life->child.score),
		.age_ms = now - life->born_ms,
		.silent_ms = now > beat ? now - beat : 0,
		.rss_bytes = os_resident_bytes(life->child.pid),
	};
	score_get_status(life->child.score, ret_info->status);
}

struct child *plan_child(struct plan *plan, unsigned group, unsigned index)
{
	struct life *life = life_at(plan, group, index);

	return life ? &life->child : NULL;
}

struct child *plan_life(struct plan *plan, unsigned group, unsigned index,
			unsigned generation)
{
	if (group >= plan->options.group_count)
		return NULL;
	list_each(link, &plan->groups[group].lives) {
		struct life *life = container_of(link, struct life, in_group);

		if (!life->is_host && life->child.index == index &&
		    life->child.generation == generation)
			return &life->child;
	}
	return NULL;
}

void plan_each(struct plan *plan, unsigned group,
	       void (*call)(void *context, struct child *child), void *context)
{
	list_each(link, &plan->groups[group].lives) {
		struct life *life = container_of(link, struct life, in_group);

		if (!life->is_host)
			call(context, &life->child);
	}
}

bool child_is_up(const struct child *child)
{
	const struct life *life = container_of(child, struct life, child);

	return life->ready && !life->told_ms && !life->killed && !life->stale;
}

int plan_group_named(const struct plan *plan, const char *name)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		if (strcmp(plan->groups[i].options.is.name, name) == 0)
			return (int)i;
	}
	return -ENOENT;
}

uint64_t plan_restarts(const struct plan *plan, unsigned group)
{
	return plan->groups[group].restarts;
}

bool plan_degraded(const struct plan *plan, unsigned group)
{
	return plan->groups[group].degraded;
}

#define fill(field, value)                 \
	do {                               \
		if (!(field))              \
			(field) = (value); \
	} while (0)

static void fill_defaults(struct crew_group *group)
{
	char why[120];

	if (group->ids)
		group->count = group->id_count;
	if (!group->count) {
		group->count = crew_default_count(why, sizeof(why));
		log_info("%s: %u children (%s)", group->name, group->count, why);
	}
	fill(group->boot_timeout_ms, 60000);
	fill(group->heartbeat_timeout_ms,
	     group->kind == CREW_EXEC ? CREW_NEVER : 15000);
	fill(group->stop_timeout_ms, 10000);
	fill(group->restart_window_ms, 300000);
	fill(group->degraded_retry_ms, 5000);
}

static int make_places(struct group_state *group)
{
	const struct crew_group *options = &group->options.is;
	struct place *place;
	int r = 0;

	for (unsigned i = 0; i < options->count && r == 0; i++)
		r = place_new(group, options->ids ? options->ids[i] : i, &place);
	return r;
}

static struct life *life_at(const struct plan *plan, unsigned group, unsigned index)
{
	const struct place *place;

	if (!plan || group >= plan->options.group_count)
		return NULL;
	place = place_find(&plan->groups[group], index);
	return place ? place->now : NULL;
}

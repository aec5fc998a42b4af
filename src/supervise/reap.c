/* SPDX-License-Identifier: MIT */
/*
 * Deaths. A child is reaped through its pidfd, so that a number that the system
 * gave to another process is never mistaken for it. Each death has one cause:
 * what we killed it for, or else what the system says. A host takes its threads
 * along. As PID 1 the parent also buries orphans that are no children of any
 * group.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

static const char *const cause_names[] = {
	[CREW_CAUSE_EXIT] = "exit",
	[CREW_CAUSE_SIGNAL] = "signal",
	[CREW_CAUSE_BOOT_TIMEOUT] = "boot timeout",
	[CREW_CAUSE_STUCK] = "stuck",
	[CREW_CAUSE_PROTOCOL] = "protocol",
	[CREW_CAUSE_MEMORY_LIMIT] = "memory limit",
	[CREW_CAUSE_DESCRIPTOR_LIMIT] = "descriptor limit",
	[CREW_CAUSE_OUT_OF_MEMORY] = "out of memory",
	[CREW_CAUSE_HOST] = "host died",
	[CREW_CAUSE_ORDER] = "order",
};
_Static_assert(COUNT_OF(cause_names) == CREW_CAUSE_COUNT, "every cause has a name");

static void reap(struct life *life);
static bool may_bury(struct life *life);
static bool hold(struct life *life);
static struct place *leave_place(struct life *life, bool was_next);
static void judge(struct life *life, struct crew_death *death);
static bool is_order(int signal, int told);
static bool comes_back(const struct group_state *group, const struct crew_death *death);
static bool was_out_of_memory(struct plan *plan);
static bool is_started_again(const struct life *life, const struct crew_death *death);
static void tell(const struct life *life, const struct crew_death *death);
static void bury_threads(struct life *host, const struct crew_death *death);
static void let_go(struct life *life);
static bool hear_channel(struct life *life, unsigned most);
static bool hear_last_words(struct life *life);
static void channel_ended(struct life *life);
static struct life *thread_of(const struct life *host);
static void thread_ended(struct life *life, int code);
static bool is_ours(const struct plan *plan, pid_t pid);

const char *crew_cause_name(enum crew_cause cause)
{
	return (unsigned)cause < CREW_CAUSE_COUNT ? cause_names[cause] : "unknown";
}

void reap_pid_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct life *life = container_of(watch, struct life, pid_watch);

	(void)loop;
	(void)events;
	/* Who is left of its process group. */
	if (life->child.group->is.process_group)
		life_signal(life, SIGKILL);
	reap(life);
}

void reap_fire(struct loop *loop, struct timer *timer)
{
	(void)loop;
	reap(container_of(timer, struct life, look));
}

static void reap(struct life *life)
{
	struct plan *plan = life->child.plan;
	struct crew_death death = { .exit_code = -1 };
	struct os_end end;
	int r = os_process_wait(life->child.pidfd, &end);

	if (r == -EAGAIN && !may_bury(life))
		return;
	/* ECHILD: this program ignores SIGCHLD, or somebody waits for all of its
	 * children. Dead it is. */
	if (r == 0 && end.signal)
		death.signal = end.signal;
	else if (r == 0)
		death.exit_code = end.exit_code;
	death.peak_rss_bytes = r == 0 ? end.peak_rss_bytes : 0;
	life_bury(life, &death);
	/* It may have hidden who died after it. */
	if (plan->options.take_signals)
		reap_strangers(plan);
}

/* What is known of a death by now is how it ended; the rest is filled in. */
void life_bury(struct life *life, const struct crew_death *how)
{
	struct group_state *group = group_of(life);
	struct plan *plan = group->plan;
	struct crew_death death = *how;
	struct place *place;
	struct life *host;
	char *last_lines;
	bool lines_told = false;
	bool was_next;

	life->buried = true;
	if (!life->host)
		(void)hear_last_words(life);
	notify_drain(life);
	let_go(life);
	last_lines = stream_last_lines(life->host ? life->host : life);
	judge(life, &death);
	death.last_lines = last_lines ? last_lines : "";
	tell(life, &death);
	if (death.cause != CREW_CAUSE_ORDER && death.exit_code != 0)
		lines_told = stream_tell_untold(life->host ? life->host : life);
	if (group->host == life)
		group->host = NULL; /* whoever is started now needs another one */
	if (life->is_host)
		bury_threads(life, &death);
	list_remove(&life->in_group);
	plan->alive--;
	group->alive--;
	life_started(life);
	was_next = life->place && life->place->next == life;
	if (!life->is_host) {
		history_add(plan, &death);
		if (group->options.died)
			group->options.died(plan->options.context, &life->child,
					    &death);
	}
	place = leave_place(life, was_next);
	host = life->host;
	life_free(life);
	if (host && !host->buried)
		host_check(host);
	if (place && place->removed) {
		place_gone(place, &death);
	} else if (place && comes_back(group, &death) && !place->now) {
		if (lines_told)
			death.last_lines = ""; /* who gives up need not log them again */
		restart_later(place, &death);
	}
	free(last_lines);
	plan_check_stop(plan);
	place_start_waiting(group);
}

void reap_channel_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	(void)loop;
	(void)events;
	(void)hear_channel(container_of(watch, struct life, channel_watch), MESSAGES_A_TURN);
}

void reap_held(struct plan *plan)
{
	struct os_end end;

	list_each(link, &plan->held) {
		struct held *held = container_of(link, struct held, in_plan);

		if (os_process_wait(held->pidfd, &end) != -EAGAIN)
			free_held(held);
	}
}

void reap_count_oom_kills(struct plan *plan)
{
	const uint64_t now_ms = clock_now_ms();
	const int64_t kills = os_oom_kills();

	if (now_ms > plan->oom_ms + OOM_CLAIM_MS)
		plan->oom_unclaimed = 0;
	if (kills < 0)
		return;
	if (plan->oom_kills >= 0 && kills > plan->oom_kills) {
		plan->oom_unclaimed += kills - plan->oom_kills;
		plan->oom_ms = now_ms;
	}
	plan->oom_kills = kills;
}

void free_held(struct held *held)
{
	list_remove(&held->in_plan);
	close(held->pidfd);
	free(held);
}

void reap_strangers(struct plan *plan)
{
	siginfo_t info;

	for (;;) {
		memset(&info, 0, sizeof(info));
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		    info.si_pid == 0 || is_ours(plan, info.si_pid))
			return;
		waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
	}
}

/* Of who is traced the tracer is told first, who may take his time; until then nobody else can
 * wait for it (ptrace(2)), though its pidfd is ready all the while. Then it is buried all the same
 * when it has been dead for a while. */
static bool may_bury(struct life *life)
{
	struct loop *loop = &life->child.plan->loop;
	struct pollfd end = { .fd = life->child.pidfd, .events = POLLIN };
	const uint64_t now_ms = clock_now_ms();

	if (poll(&end, 1, 0) <= 0) { /* it is not dead after all */
		life->dead_ms = 0;
		if (life->pid_watch.events || loop_add(loop, &life->pid_watch, EPOLLIN) == 0)
			return false;
	} else if (!life->dead_ms) {
		loop_remove(loop, &life->pid_watch);
		life->dead_ms = now_ms;
	} else if (now_ms >= life->dead_ms + HELD_MS && hold(life)) {
		return true;
	}
	loop_timer_set(loop, &life->look, now_ms + HELD_LOOK_MS);
	return false;
}

/* Keep its pidfd for the time after its burial. False where there is no memory. */
static bool hold(struct life *life)
{
	struct held *held = malloc(sizeof(*held));
	char name[64];

	if (!held)
		return false;
	name_life(life, name, sizeof(name));
	log_warning("%s (pid %d) is dead, but held by a debugger", name, (int)life->child.pid);
	held->pidfd = life->child.pidfd;
	life->child.pidfd = -1;
	list_init(&held->in_plan);
	list_push_back(&life->child.plan->held, &held->in_plan);
	return true;
}

/* Returns the place that it leaves empty; NULL: none, or none any more, since whoever was just
 * told of the death has removed it. */
static struct place *leave_place(struct life *life, bool was_next)
{
	struct group_state *group = group_of(life);
	struct place *place = life->place;

	if (place && !was_next) {
		place->now = place->next;
		place->next = NULL;
		return place;
	}
	if (place) {
		if (!group->rolling && !group->plan->stopping)
			log_error("%s[%u]: its successor did not come up, so it stays",
				  group->options.is.name, place->index);
		place_keep(place);
		life->place = NULL;
	} else if (was_next) {
		roll_failed(group);
	}
	return NULL;
}

/* What has come by now, or the most that others will wait for: the rest keeps its watch ready.
 * True if it was a thread's last word: it is buried. */
static bool hear_channel(struct life *life, unsigned most)
{
	const struct group *group = life->child.group;
	char data[OS_CHANNEL_BYTES_MAX];
	int fds[OS_CHANNEL_FDS_MAX];
	size_t fd_count = 0;
	struct thread_end end;
	int n;

	while (life->channel_watch.events && most-- > 0) {
		n = os_channel_receive(life->channel_watch.fd, data, sizeof(data),
				       fds, &fd_count);
		if (n == -EAGAIN)
			return false;
		if (n <= 0) {
			channel_ended(life);
			if (n == 0 && life->host && !life->host->buried)
				thread_cut_off(life);
		} else if (n == sizeof(READY_MESSAGE) &&
			   memcmp(data, READY_MESSAGE, sizeof(READY_MESSAGE)) == 0) {
			life_ready(life);
		} else if (n == sizeof(LEAVE_MESSAGE) &&
			   memcmp(data, LEAVE_MESSAGE, sizeof(LEAVE_MESSAGE)) == 0) {
			life_ask_to_leave(life, LEAVE_ASKED);
		} else if (n == sizeof(DONE_MESSAGE) &&
			   memcmp(data, DONE_MESSAGE, sizeof(DONE_MESSAGE)) == 0) {
			life_ask_to_leave(life, LEAVE_DONE);
		} else if (n > 3 && memcmp(data, ERROR_MESSAGE, 3) == 0 &&
			   group->is.kind == CREW_EXEC) {
			life->executing = false;
			log_error("%s[%u]: %.*s", group->is.name,
				  life->child.index, n - 3, data + 3);
			loop_remove(&life->child.plan->loop, &life->channel_watch);
		} else if (n == sizeof(EXEC_MESSAGE) &&
			   memcmp(data, EXEC_MESSAGE, sizeof(EXEC_MESSAGE)) == 0) {
			life->executing = true;
		} else if (life->host && n == sizeof(end) &&
			   memcmp(data, THREAD_END_MESSAGE, 4) == 0) {
			memcpy(&end, data, sizeof(end));
			os_close_each(fds, fd_count);
			thread_ended(life, end.code);
			return true;
		} else if (group->message) {
			group->message(life->child.plan->options.context,
				       &life->child, data, (size_t)n, fds, fd_count);
			fd_count = 0;
		}
		os_close_each(fds, fd_count);
	}
	return false;
}

/* All that it said before it died. Somebody whom it has left behind may have the channel too:
 * he can say no more. */
static bool hear_last_words(struct life *life)
{
	if (life->channel_watch.events)
		shutdown(life->channel_watch.fd, SHUT_RD);
	return hear_channel(life, UINT_MAX);
}

/* It closed its end or is dying: its pidfd will tell, or its host's or a timer. Of another
 * program it says that it is being executed. */
static void channel_ended(struct life *life)
{
	const struct crew_group *group = &life->child.group->is;

	loop_remove(&life->child.plan->loop, &life->channel_watch);
	if (life->executing && !group->notify && !life->buried)
		life_executed(life);
}

static void thread_ended(struct life *life, int code)
{
	const struct crew_death death = { .exit_code = code };

	life_bury(life, &death);
}

static bool is_ours(const struct plan *plan, pid_t pid)
{
	for (unsigned i = 0; i < plan->options.group_count; i++) {
		list_each(link, &plan->groups[i].lives) {
			if (container_of(link, struct life, in_group)->child.pid == pid)
				return true;
		}
	}
	return false;
}

static void judge(struct life *life, struct crew_death *death)
{
	const struct child *child = &life->child;

	death->group = child->group->is.name;
	death->index = child->index;
	death->generation = child->generation;
	death->pid = child->pid;
	death->was_ready = life->ready;
	death->age_ms = clock_now_ms() - life->born_ms;
	death->at = (int64_t)time(NULL);
	if (death->signal)
		death->name = os_signal_name(death->signal);
	else
		death->name = death->exit_code >= 0 ? exit_code_name(death->exit_code)
						    : "";
	if (death->cause == CREW_CAUSE_HOST)
		return;
	death->cause = death->signal ? CREW_CAUSE_SIGNAL : CREW_CAUSE_EXIT;
	if (life->killed || life->stale)
		death->cause = life->cause;
	else if (life->told_ms && is_order(death->signal, life->told_signal))
		death->cause = CREW_CAUSE_ORDER;
	else if (death->signal == SIGKILL && was_out_of_memory(child->plan))
		death->cause = CREW_CAUSE_OUT_OF_MEMORY;
}

/* A crash on the way out is none. (A Ctrl-C reaches other programs too.) */
static bool is_order(int signal, int told)
{
	return !signal || signal == told || signal == SIGTERM || signal == SIGINT;
}

/* Who stops us may ask all processes at once (systemd's KillMode=control-group, a Ctrl-C): those
 * who went are not wanted back, as those who crashed are. */
static bool comes_back(const struct group_state *group, const struct crew_death *death)
{
	const bool crashed = death->exit_code != 0 && death->signal != SIGTERM &&
			     death->signal != SIGINT;

	return is_kept_up(group) && (crashed || !group->plan->stopping);
}

/* The kernel counts whom it kills for the memory of our cgroup, before it does. One of them each
 * who died of it has been. */
static bool was_out_of_memory(struct plan *plan)
{
	reap_count_oom_kills(plan);
	if (plan->oom_unclaimed == 0)
		return false;
	plan->oom_unclaimed--;
	return true;
}

/* Who dies as a successor leaves the place to whom it was to replace, and who has one to that. */
static bool is_started_again(const struct life *life, const struct crew_death *death)
{
	const struct place *place = life->place;

	return place && place->now == life && !place->next && !place->removed &&
	       comes_back(group_of(life), death);
}

static void tell(const struct life *life, const struct crew_death *death)
{
	const double age = (double)death->age_ms / 1000;
	char name[64];
	char how[96];

	name_life(life, name, sizeof(name));
	if (death->signal)
		snprintf(how, sizeof(how), "signal %d (%s)", death->signal,
			 death->name);
	else if (death->exit_code < 0)
		snprintf(how, sizeof(how), "nobody knows how");
	else
		snprintf(how, sizeof(how), "exit code %d%s%s%s", death->exit_code,
			 death->name[0] ? " (" : "", death->name,
			 death->name[0] ? ")" : "");
	if (death->cause == CREW_CAUSE_ORDER && !life->killed)
		log_debug("%s (pid %d) has stopped after %.1f s", name,
			  (int)death->pid, age);
	else if (life->killed)
		log_error("%s (pid %d) was killed, cause: %s (%s), after %.1f s",
			  name, (int)death->pid, crew_cause_name(death->cause), how,
			  age);
	else if (death->cause == CREW_CAUSE_HOST)
		log_error("%s died with its host (pid %d): %s after %.1f s", name,
			  (int)death->pid, how, age);
	else
		log_error("%s (pid %d) died: %s after %.1f s%s%s", name,
			  (int)death->pid, how, age,
			  death->cause == CREW_CAUSE_OUT_OF_MEMORY
				  ? "; the cgroup's memory was used up"
				  : "",
			  is_started_again(life, death) ? "; starting it again" : "");
}

/* What it could still say is heard; then each dies of its host, but for those
 * that were leaving anyway. */
static void bury_threads(struct life *host, const struct crew_death *death)
{
	struct life *life;

	while ((life = thread_of(host)) != NULL) {
		struct crew_death own = *death;

		if (hear_last_words(life))
			continue;
		own.cause = CREW_CAUSE_HOST;
		if (host->killed)
			own.cause = host->cause;
		if (life->stale)
			own.cause = life->cause;
		else if (life->told_ms)
			own.cause = CREW_CAUSE_ORDER;
		life->cause = own.cause;
		life->killed = own.cause != CREW_CAUSE_HOST;
		life_bury(life, &own);
	}
}

static struct life *thread_of(const struct life *host)
{
	list_each(link, &group_of(host)->lives) {
		struct life *life = container_of(link, struct life, in_group);

		if (life->host == host)
			return life;
	}
	return NULL;
}

static void let_go(struct life *life)
{
	struct loop *loop = &life->child.plan->loop;

	stream_close(&life->out);
	stream_close(&life->error);
	sink_tell_repeats(life);
	notify_close(life);
	loop_remove(loop, &life->pid_watch);
	loop_timer_clear(loop, &life->look);
	loop_remove(loop, &life->channel_watch);
	if (life->child.pidfd >= 0)
		close(life->child.pidfd);
	os_close_socket(life->input);
	os_close_socket(life->child.channel);
	if (life->far_end >= 0)
		close(life->far_end);
	life->child.pidfd = life->child.channel = life->input = life->far_end = -1;
	score_set_state(life->child.score,
			life->is_host ? CREW_CHILD_EMPTY : CREW_CHILD_DEAD);
}

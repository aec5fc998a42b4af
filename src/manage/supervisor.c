/* SPDX-License-Identifier: MIT */
/*
 * The public face of the supervisor: crew_supervise and crew_plan_*. A plan's
 * groups are handed to supervise as they are; here its callbacks are called,
 * and the process becomes a daemon if it is to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/os/os.h"
#include "manage/private.h"

/* A callback that waits for a child to be gone. */
struct wait_gone {
	crew_gone *gone;
	void *argument;
};

static void free_all(struct crew_supervisor *supervisor);
static int begin(struct crew_supervisor *supervisor, struct crew_error *ret_error);
static int run_on_start(struct crew_supervisor *supervisor,
			struct crew_error *ret_error);
static int make_plan(struct crew_supervisor *supervisor, struct crew_error *ret_error);
static void call_pre_fork(void *context, unsigned group, unsigned index);
static void call_ready(void *context, struct child *child);
static void call_died(void *context, struct child *child,
		      const struct crew_death *death);
static void call_stopping(void *context);
static void call_reopen(void *context);
static void call_gone(void *context, const struct crew_death *death, void *argument);
static void shut_down(struct crew_supervisor *supervisor);
static void end(struct crew_supervisor *supervisor);

int crew_supervise(const struct crew_plan *plan)
{
	struct crew_supervisor *supervisor = calloc(1, sizeof(*supervisor));
	struct crew_error error = { 0 };
	int code = CREW_EXIT_FAILED;
	int r;

	if (!supervisor)
		return CREW_EXIT_FAILED;
	become_hold_signals(&supervisor->become);
	os_hold_standard_streams();
	log_init();
	supervisor->tables = *plan;
	supervisor->own_signals = true;
	r = check_plan(plan, true, &error);
	if (r == 0)
		r = group_tables_keep_paths(supervisor->tables.groups, group_count(plan),
					    supervisor->paths, &error);
	if (r == 0)
		r = become_begin(&supervisor->become, &supervisor->tables.daemon,
				 &error);
	if (r == 1) { /* the daemon is up: this is who was called */
		free_all(supervisor);
		return CREW_EXIT_OK;
	}
	if (r == 0)
		r = begin(supervisor, &error);
	if (r < 0) {
		code = become_exit_code(&supervisor->become, r);
		/* A daemon is heard by who called it, and says it there. */
		if (!supervisor->become.detached)
			fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.text);
	} else {
		become_watch(&supervisor->become, plan_loop(supervisor->plan));
		if (plan->console)
			console_open(supervisor);
		while ((r = crew_plan_step(supervisor, -1)) > 0)
			;
		code = r < 0 ? CREW_EXIT_FAILED : plan_exit_code(supervisor->plan);
	}
	console_close(supervisor);
	end(supervisor);
	log_forget_taker(plan->on_log, plan->on_log_context);
	become_end(&supervisor->become, code, error.text[0] ? error.text : NULL);
	free_all(supervisor);
	return code;
}

static void free_all(struct crew_supervisor *supervisor)
{
	group_tables_free_paths(supervisor->paths, COUNT_OF(supervisor->paths));
	free(supervisor);
}

int crew_plan_start(const struct crew_plan *plan,
		    struct crew_supervisor **ret_supervisor,
		    struct crew_error *ret_error)
{
	struct crew_supervisor *supervisor = calloc(1, sizeof(*supervisor));
	int r;

	if (!supervisor)
		return error_set(ret_error, ENOMEM, "no memory for the supervisor");
	r = check_plan(plan, false, ret_error);
	if (r == 0) {
		supervisor->tables = *plan;
		r = begin(supervisor, ret_error);
	}
	if (r == 0) {
		r = loop_expose(plan_loop(supervisor->plan));
		if (r < 0)
			error_set(ret_error, -r, "cannot make a timer: %s",
				  strerror(-r));
	}
	if (r < 0) {
		crew_plan_free(supervisor);
		return r;
	}
	*ret_supervisor = supervisor;
	return 0;
}

int crew_plan_fd(const struct crew_supervisor *supervisor)
{
	return loop_fd(plan_loop(supervisor->plan));
}

int crew_plan_step(struct crew_supervisor *supervisor, int timeout_ms)
{
	int r;

	if (supervisor->calling)
		return -EBUSY;
	if (plan_done(supervisor->plan)) {
		shut_down(supervisor);
		return 0;
	}
	r = loop_turn(plan_loop(supervisor->plan), timeout_ms);
	if (r < 0)
		return r;
	if (!plan_done(supervisor->plan))
		return 1;
	shut_down(supervisor);
	return 0;
}

void crew_plan_stop(struct crew_supervisor *supervisor)
{
	plan_stop(supervisor->plan);
}

void crew_plan_free(struct crew_supervisor *supervisor)
{
	if (!supervisor)
		return;
	if (supervisor->calling) {
		log_error("crew_plan_free was called in a callback of the plan, which goes on "
			  "with it: nothing is freed");
		return;
	}
	end(supervisor);
	log_forget_taker(supervisor->tables.on_log, supervisor->tables.on_log_context);
	free(supervisor);
}

int crew_plan_exit_code(const struct crew_supervisor *supervisor)
{
	return plan_exit_code(supervisor->plan);
}

void *crew_plan_context(const struct crew_supervisor *supervisor)
{
	return supervisor->tables.context;
}

int crew_plan_add(struct crew_supervisor *supervisor, const char *group,
		  unsigned index)
{
	int number = plan_group_named(supervisor->plan, group);

	return number < 0 ? number
			  : plan_add(supervisor->plan, (unsigned)number, index);
}

int crew_plan_remove(struct crew_supervisor *supervisor, const char *group,
		     unsigned index, int signal, crew_gone *gone, void *argument)
{
	int number = plan_group_named(supervisor->plan, group);
	struct wait_gone *wait = NULL;
	int r;

	if (number < 0)
		return number;
	if (gone) {
		wait = malloc(sizeof(*wait));
		if (!wait)
			return -ENOMEM;
		*wait = (struct wait_gone){ gone, argument };
	}
	r = plan_remove(supervisor->plan, (unsigned)number, index, signal,
			gone ? call_gone : NULL, wait);
	if (r < 0)
		free(wait);
	return r;
}

int crew_plan_signal(struct crew_supervisor *supervisor, const char *group,
		     unsigned index, int signal)
{
	int number = plan_group_named(supervisor->plan, group);

	return number < 0 ? number
			  : plan_signal(supervisor->plan, (unsigned)number, index,
					signal);
}

ssize_t crew_plan_send(struct crew_supervisor *supervisor, const char *group,
		       unsigned index, const void *data, size_t size)
{
	int number = plan_group_named(supervisor->plan, group);

	return number < 0 ? number
			  : plan_send(supervisor->plan, (unsigned)number, index,
				      data, size);
}

int crew_plan_reload(struct crew_supervisor *supervisor, const char *group)
{
	int number;

	if (!group) {
		plan_reload_all(supervisor->plan);
		return 0;
	}
	number = plan_group_named(supervisor->plan, group);
	if (number < 0)
		return number;
	plan_reload(supervisor->plan, (unsigned)number);
	return 0;
}

void crew_plan_reopen(struct crew_supervisor *supervisor)
{
	plan_reopen(supervisor->plan);
}

size_t crew_plan_children(const struct crew_supervisor *supervisor,
			  struct crew_child_info *ret_children, size_t room)
{
	return plan_children(supervisor->plan, ret_children, room);
}

size_t crew_plan_deaths(const struct crew_supervisor *supervisor,
			struct crew_death *ret_deaths, size_t room)
{
	return plan_deaths(supervisor->plan, ret_deaths, room);
}

int crew_plan_set_log_level(struct crew_supervisor *supervisor, const char *group,
			    enum crew_level level)
{
	const int number = group ? plan_group_named(supervisor->plan, group) : -1;

	if (level < CREW_DEBUG || level > CREW_CRITICAL)
		return -EINVAL;
	if (group && number < 0)
		return -ENOENT;
	plan_set_log_level(supervisor->plan, number, level);
	return 0;
}

bool crew_plan_degraded(const struct crew_supervisor *supervisor, const char *group)
{
	int number = plan_group_named(supervisor->plan, group);

	return number >= 0 && plan_degraded(supervisor->plan, (unsigned)number);
}

/* From tables that were checked to running children. */
static int begin(struct crew_supervisor *supervisor, struct crew_error *ret_error)
{
	const struct crew_plan *tables = &supervisor->tables;
	int r;

	if (tables->log_level)
		log_set_level(tables->log_level);
	log_set_form(tables->log_form);
	if (tables->on_log)
		log_set_taker(tables->on_log, tables->on_log_context);
	r = make_plan(supervisor, ret_error);
	if (r == 0)
		r = run_on_start(supervisor, ret_error);
	if (r == 0)
		r = group_tables_check_descriptors(tables->groups, group_count(tables), ret_error);
	if (r == 0 && supervisor->own_signals)
		r = become_ready(&supervisor->become, supervisor->plan, ret_error);
	if (r < 0)
		return r;
	r = plan_start(supervisor->plan);
	if (r < 0)
		return error_set(ret_error, -r, "cannot start the children: %s",
				 strerror(-r));
	become_up(&supervisor->become);
	return 0;
}

static int run_on_start(struct crew_supervisor *supervisor, struct crew_error *ret_error)
{
	int r;

	supervisor->calling++;
	r = supervisor->tables.on_start ? supervisor->tables.on_start(supervisor) : 0;
	supervisor->calling--;
	if (r != 0)
		return error_set(ret_error, ECANCELED,
				 "on_start refused to start: it returned %d", r);
	supervisor->began = true;
	return 0;
}

static int make_plan(struct crew_supervisor *supervisor, struct crew_error *ret_error)
{
	struct group groups[CREW_GROUPS_MAX];
	struct plan_options options = {
		.groups = groups,
		.context = supervisor,
		.take_signals = supervisor->own_signals,
		.raise_descriptors = supervisor->own_signals,
		.log_repeat_ms = supervisor->tables.log_repeat_ms,
		.stopping = call_stopping,
		.reopen = call_reopen,
	};
	unsigned count = 0;

	while (count < CREW_GROUPS_MAX && supervisor->tables.groups[count].name) {
		groups[count] = (struct group){
			.is = supervisor->tables.groups[count],
			.pre_fork = call_pre_fork,
			.ready = call_ready,
			.died = call_died,
		};
		count++;
	}
	options.group_count = count;
	return plan_new(&options, &supervisor->plan, ret_error);
}

static void call_pre_fork(void *context, unsigned group, unsigned index)
{
	struct crew_supervisor *supervisor = context;

	supervisor->calling++;
	if (supervisor->tables.pre_fork)
		supervisor->tables.pre_fork(supervisor,
					    supervisor->tables.groups[group].name,
					    index);
	supervisor->calling--;
}

static void call_ready(void *context, struct child *child)
{
	struct crew_supervisor *supervisor = context;
	struct crew_child_info info;

	if (!supervisor->tables.on_ready)
		return;
	plan_child_info(child, &info);
	supervisor->calling++;
	supervisor->tables.on_ready(supervisor, &info);
	supervisor->calling--;
}

static void call_died(void *context, struct child *child,
		      const struct crew_death *death)
{
	struct crew_supervisor *supervisor = context;

	(void)child;
	supervisor->calling++;
	if (supervisor->tables.on_death)
		supervisor->tables.on_death(supervisor, death);
	supervisor->calling--;
}

static void call_stopping(void *context)
{
	struct crew_supervisor *supervisor = context;

	supervisor->calling++;
	if (supervisor->tables.parent_pre_stop)
		supervisor->tables.parent_pre_stop(supervisor);
	supervisor->calling--;
}

static void call_reopen(void *context)
{
	struct crew_supervisor *supervisor = context;

	become_reopen(&supervisor->become);
}

static void call_gone(void *context, const struct crew_death *death, void *argument)
{
	struct crew_supervisor *supervisor = context;
	struct wait_gone *wait = argument;

	supervisor->calling++;
	wait->gone(supervisor, death, wait->argument);
	supervisor->calling--;
	free(wait);
}

static void shut_down(struct crew_supervisor *supervisor)
{
	if (supervisor->shut_down)
		return;
	supervisor->shut_down = true;
	supervisor->calling++;
	if (supervisor->tables.on_shutdown)
		supervisor->tables.on_shutdown(supervisor);
	supervisor->calling--;
}

/* What on_start has begun on_shutdown ends, however it came to that. */
static void end(struct crew_supervisor *supervisor)
{
	plan_end(supervisor->plan);
	if (supervisor->began)
		shut_down(supervisor);
	plan_free(supervisor->plan);
}

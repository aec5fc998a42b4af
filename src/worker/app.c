/* SPDX-License-Identifier: MIT */
/*
 * What belongs to the application in a worker: its settings, what its own setup
 * made, and the state of each of its groups. worker.c calls it at both ends of
 * a worker's life, on the thread that runs the handlers.
 *
 * Setups run in the order of the list and teardowns in reverse, also when one
 * of the setups fails: a worker that is a thread leaves its process behind,
 * where what was opened would stay open.
 *
 * A handler finds its group's state by the number of its route, in an array
 * that is made once: so a request need not carry its group, and the way of a
 * request does not know that there are groups.
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/log.h"
#include "worker/private.h"

static int read_settings(struct worker *worker);
static int make_room(struct worker *worker);
static int set_up_groups(struct worker *worker);
static void spread_states(struct worker *worker);
static const struct crew_routes *maker_of(const struct crew_routes *group);

int app_set_up(struct worker *worker)
{
	const struct crew_app *app = worker->options->pool->app;
	int r;

	if (read_settings(worker) < 0 || make_room(worker) < 0) {
		log_critical("the worker cannot start: no memory for its settings or groups");
		return EXIT_SYSTEM;
	}
	r = app->setup ? app->setup(&worker->public) : 0;
	if (r != 0) {
		log_critical("setup of %s failed with code %d",
			     app->name ? app->name : worker->options->pool_name, r);
		return r;
	}
	r = set_up_groups(worker);
	if (r != 0)
		app_tear_down(worker);
	else
		spread_states(worker);
	return r;
}

void app_tear_down(struct worker *worker)
{
	const struct crew_app *app = worker->options->pool->app;

	while (worker->app.up > 0) {
		const unsigned last = --worker->app.up;
		const struct crew_routes *maker = maker_of(app->groups[last]);

		if (maker && maker->teardown)
			maker->teardown(&worker->public, worker->app.states[last]);
	}
	if (app->teardown)
		app->teardown(&worker->public);
}

void app_fini(struct worker *worker)
{
	json_decref(worker->public.settings_object);
	worker->public.settings_object = NULL;
	worker->public.row_states = NULL;
	free(worker->app.states);
	free(worker->app.row_states);
	worker->app = (struct app_state){ 0 };
}

/* The text was checked before the fork: what fails here is memory. */
static int read_settings(struct worker *worker)
{
	const struct crew_pool *pool = worker->options->pool;

	worker->public.settings = pool->settings;
	worker->public.settings_object =
		pool->settings_json ? json_loads(pool->settings_json, 0, NULL) : json_object();
	return worker->public.settings_object ? 0 : -1;
}

static int make_room(struct worker *worker)
{
	const struct crew_routes *const *groups = worker->options->pool->app->groups;
	size_t count = 0;

	while (groups && groups[count])
		count++;
	if (count == 0)
		return 0;
	worker->app.states = calloc(count, sizeof(void *));
	worker->app.row_states = calloc(worker->route_count + 1, sizeof(void *));
	return worker->app.states && worker->app.row_states ? 0 : -1;
}

static int set_up_groups(struct worker *worker)
{
	const struct crew_routes *const *groups = worker->options->pool->app->groups;

	for (unsigned i = 0; groups && groups[i]; i++) {
		const struct crew_routes *maker = maker_of(groups[i]);
		void *state = NULL;
		int r = 0;

		if (maker && maker->setup)
			r = maker->setup(&worker->public, &state);
		if (r != 0) {
			log_critical("setup of group %s failed with code %d", groups[i]->name,
				     r);
			return r;
		}
		worker->app.states[i] = state;
		worker->app.up = i + 1;
	}
	return 0;
}

static void spread_states(struct worker *worker)
{
	const struct crew_app *app = worker->options->pool->app;

	if (!worker->app.row_states)
		return;
	for (size_t row = 0; row < worker->route_count; row++) {
		for (unsigned i = 0; i < worker->app.up; i++) {
			if (app->routes[row].group == app->groups[i])
				worker->app.row_states[row] = worker->app.states[i];
		}
	}
	worker->public.row_states = worker->app.row_states;
	worker->public.row_count = worker->route_count;
}

/* Whose setup and teardown are a group's: a state that one setup made is never
 * given to the teardown that belongs to another. */
static const struct crew_routes *maker_of(const struct crew_routes *group)
{
	while (group && !group->setup && !group->teardown)
		group = group->base;
	return group;
}

/* SPDX-License-Identifier: MIT */
/*
 * What handlers ask of the worker that runs them. A worker is data here: who
 * runs handlers (a worker process, or the dispatcher for local routes) fills
 * the struct in; a call that is NULL is one that it has no use for.
 */
#include <string.h>

#include <crew/serve.h>

#include "base/log.h"
#include "handler/request.h"

struct crew_worker *crew_worker(const struct crew_request *request)
{
	return request->worker;
}

void *crew_state(const struct crew_request *request)
{
	return request->worker->state;
}

void crew_set_state(struct crew_worker *worker, void *state)
{
	worker->state = state;
}

void *crew_worker_state(const struct crew_worker *worker)
{
	return worker->state;
}

/* The block lies in memory that the dispatcher writes: its number is looked at
 * once, and held against the table. */
void *crew_group_state(const struct crew_request *request)
{
	const struct crew_worker *worker = request->worker;
	const uint32_t row = request->wire->route;

	return worker->row_states && row < worker->row_count
		       ? worker->row_states[row]
		       : NULL;
}

const char *crew_setting(const struct crew_worker *worker, const char *key)
{
	const struct crew_setting *setting = worker->settings;

	for (; setting && setting->key; setting++) {
		if (strcmp(setting->key, key) == 0)
			return setting->value;
	}
	return NULL;
}

const struct json_t *crew_settings(const struct crew_worker *worker)
{
	return worker->settings_object;
}

const char *crew_worker_pool(const struct crew_worker *worker)
{
	return worker->pool;
}

unsigned crew_worker_index(const struct crew_worker *worker)
{
	return worker->index;
}

unsigned crew_worker_generation(const struct crew_worker *worker)
{
	return worker->generation;
}

void crew_beat(struct crew_worker *worker)
{
	if (worker->beat)
		worker->beat(worker);
}

size_t crew_worker_link_memory(struct crew_worker *worker, void **ret_start,
			       size_t *ret_size, size_t max)
{
	if (!worker->link_memory)
		return 0;
	return worker->link_memory(worker, ret_start, ret_size, max);
}

void crew_log(struct crew_worker *worker, enum crew_level level,
	      const char *format, ...)
{
	va_list arguments;

	/* The parent knows whose pipe a line comes from, and names the worker. */
	(void)worker;
	va_start(arguments, format);
	log_line_va(level, format, arguments);
	va_end(arguments);
}

bool crew_log_enabled(const struct crew_worker *worker, enum crew_level level)
{
	(void)worker;
	return log_enabled(level);
}

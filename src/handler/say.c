/* SPDX-License-Identifier: MIT */
/*
 * What a worker and the dispatcher alike may ask of the rest of the server:
 * publish an event, call a pool, send a configuration. It is checked and encoded
 * here, once, and handed to whoever runs the application: a worker sends it
 * over its link, the dispatcher does it itself.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os/os.h"
#include "handler/event.h"
#include "handler/request.h"
#include "http/head.h"
#include "http/respond.h"
#include "transport/control.h"

static int ask_parent(struct crew_worker *worker, enum control_kind kind,
		      const char *pool, int32_t detail);
static bool is_token(const char *text);
static char *put(char *at, const void *data, size_t size);

int crew_publish(struct crew_worker *worker, const char *topic,
		 const struct crew_event *event, crew_published *done,
		 void *context)
{
	const size_t topic_size = topic ? strlen(topic) : 0;
	const ssize_t event_size = event_write(event, NULL);
	struct wire_publish head = { 0 };
	size_t size;
	char *bytes;
	char *at;
	int r;

	if (topic_size == 0 || topic_size > WIRE_TOPIC_MAX_BYTES)
		return -EINVAL;
	if (event_size < 0)
		return (int)event_size;
	size = sizeof(head) + topic_size + (size_t)event_size;
	if (size > WIRE_PUBLISH_MAX_BYTES)
		return -EMSGSIZE;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	head.topic_size = (uint32_t)topic_size;
	head.event_size = (uint32_t)event_size;
	at = put(bytes, &head, sizeof(head));
	at = put(at, topic, topic_size);
	event_write(event, at);
	r = worker->publish ? worker->publish(worker, bytes, size, done, context)
			    : -ENOTSUP;
	free(bytes);
	return r;
}

int crew_call(struct crew_worker *worker, const struct crew_call *call,
	      crew_answered *done, void *context)
{
	const char *method = call->method ? call->method
					  : call->body_bytes ? "POST" : "GET";
	struct wire_call head = { .timeout_ms = call->timeout_ms };
	const unsigned depth = call->request ? call->request->wire->depth
			       : worker->running ? worker->running->wire->depth
						 : worker->depth;
	size_t size;
	char *bytes;
	char *at;
	int r;

	if (!is_token(method) || !call->target || !http_path_ok(span_of(call->target)) ||
	    (call->type && !http_value_ok(span_of(call->type))))
		return -EINVAL;
	if (call->pool && worker->knows_pool && worker->knows_pool(worker, call->pool) < 0)
		return -ENOENT;
	if (depth >= WIRE_CALL_DEPTH_MAX)
		return -ELOOP;
	head.depth = depth + 1;
	head.pool_size = call->pool ? (uint32_t)strlen(call->pool) : 0;
	head.method_size = (uint32_t)strlen(method);
	head.target_size = (uint32_t)strlen(call->target);
	head.type_size = call->type ? (uint32_t)strlen(call->type) : 0;
	size = sizeof(head) + (size_t)head.pool_size + head.method_size +
	       head.target_size + head.type_size;
	if (size > WIRE_CALL_MAX_BYTES || call->body_bytes > WIRE_CALL_MAX_BYTES - size)
		return -EMSGSIZE;
	head.body_size = (uint32_t)call->body_bytes;
	size += call->body_bytes;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	at = put(bytes, &head, sizeof(head));
	at = put(at, call->pool, head.pool_size);
	at = put(at, method, head.method_size);
	at = put(at, call->target, head.target_size);
	at = put(at, call->type, head.type_size);
	put(at, call->body, call->body_bytes);
	r = worker->call ? worker->call(worker, bytes, size, done, context)
			 : -ENOTSUP;
	free(bytes);
	return r;
}

/* Goes by way of the parent, which keeps the last one for workers to come: the
 * pool's name, a NUL, and the text, in memory that is passed on. */
int crew_pool_config(struct crew_worker *worker, const char *pool,
		     const char *json, struct crew_error *ret_error)
{
	const struct control order = { .kind = CONTROL_CONFIG };
	const size_t size = json ? strlen(json) : 0;
	json_error_t error;
	json_t *value;
	int fd;
	int r;

	if (size > CONFIG_MAX_BYTES) {
		error_set(ret_error, EMSGSIZE, "a configuration of %zu bytes; at most %u "
			  "are possible", size, CONFIG_MAX_BYTES);
		return -EMSGSIZE;
	}
	value = json ? json_loads(json, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error)
		     : NULL;
	if (!value)
		return error_set(ret_error, EINVAL, "the configuration is not JSON: line "
				 "%d, column %d: %s", json ? error.line : 0,
				 json ? error.column : 0, json ? error.text : "nothing");
	json_decref(value);
	r = worker->knows_pool ? worker->knows_pool(worker, pool) : -ENOTSUP;
	if (r < 0)
		return error_set(ret_error, ENOENT, "there is no pool \"%s\"",
				 pool ? pool : "");
	fd = os_memory_file("crew-config");
	if (fd < 0)
		return error_set(ret_error, -fd, "no memory for the configuration: %s",
				 strerror(-fd));
	r = os_write_all(fd, pool, strlen(pool) + 1);
	if (r == 0)
		r = os_write_all(fd, json, size);
	if (r == 0)
		r = os_memory_seal(fd);
	if (r == 0)
		r = os_channel_send(worker->channel, &order, sizeof(order), &fd, 1);
	close(fd);
	if (r < 0)
		return error_set(ret_error, -r, "the configuration cannot be passed on now: "
				 "%s; try again", strerror(-r));
	return 0;
}

int crew_set_log_level(struct crew_worker *worker, const char *pool,
		       enum crew_level level)
{
	if (level < CREW_DEBUG || level > CREW_CRITICAL)
		return -EINVAL;
	return ask_parent(worker, CONTROL_LOG_LEVEL, pool, (int32_t)level);
}

int crew_reload_pool(struct crew_worker *worker, const char *pool)
{
	return ask_parent(worker, CONTROL_RELOAD, pool, 0);
}

int crew_pool_scale(struct crew_worker *worker, const char *pool, int by)
{
	return pool ? ask_parent(worker, CONTROL_SCALE, pool, by) : -EINVAL;
}

char *crew_status_json(struct crew_worker *dispatcher)
{
	return dispatcher->status ? dispatcher->status(dispatcher) : NULL;
}

static int ask_parent(struct crew_worker *worker, enum control_kind kind,
		      const char *pool, int32_t detail)
{
	struct control order = {
		.kind = kind,
		.pool = CONTROL_ALL,
		.detail = detail,
	};
	int number;

	if (pool) {
		number = worker->knows_pool ? worker->knows_pool(worker, pool) : -ENOTSUP;
		if (number < 0)
			return number;
		order.pool = (uint32_t)number;
	}
	return os_channel_send(worker->channel, &order, sizeof(order), NULL, 0);
}

const struct json_t *crew_config(const struct crew_worker *worker)
{
	return worker->config;
}

static bool is_token(const char *text)
{
	return http_name_ok(span_of(text));
}

static char *put(char *at, const void *data, size_t size)
{
	if (size)
		memcpy(at, data, size);
	return at + size;
}

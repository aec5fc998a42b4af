/* SPDX-License-Identifier: MIT */
/*
 * The sampler: one endpoint for each thing that crew can do, on which it is
 * shown, tested and measured. GET / lists them.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../files.h"
#include "../store.h"
#include "sampler.h"

static _Atomic int ran_fd = -1; /* of all workers that share this process */

int sampler_setup(struct crew_worker *worker)
{
	const char *path = getenv("SAMPLER_RAN");

	int none = -1;
	int fd;

	if (!path || !*path)
		return 0;
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0 && !atomic_compare_exchange_strong(&ran_fd, &none, fd))
		close(fd);
	if (fd >= 0)
		return 0;
	crew_log(worker, CREW_ERROR, "SAMPLER_RAN: cannot open %s", path);
	return 1;
}

void sampler_ran(const struct crew_request *request)
{
	const char *id = crew_header(request, "X-Request-Id");
	char line[256];
	int size;

	if (ran_fd < 0 || !id)
		return;
	size = snprintf(line, sizeof(line), "%s\n", id);
	if (size > 0 && (size_t)size < sizeof(line))
		(void)!write(ran_fd, line, (size_t)size);
}

static const struct crew_route routes[] = {
	{ .on = "GET /",                    .run = page_index,   .idempotent = true },
	{ .on = "GET /hello",               .run = page_hello,   .idempotent = true },
	{ .on = "GET /plain",               .run = page_plain,   .idempotent = true },
	{ .on = "/echo",                    .run = page_echo },
	{ .on = "/echo/{ms:int}",           .run = page_echo },
	{ .on = "/headers",                 .run = page_headers },
	{ .on = "GET /whoami",              .run = page_whoami,  .idempotent = true },
	{ .on = "GET /bytes/{n:int}",       .run = page_bytes,   .idempotent = true },
	{ .on = "GET /sleep/{ms:int}",      .run = page_sleep },
	{ .on = "GET /spin/{ms:int}",       .run = page_spin },
	{ .on = "GET /work/{us:int}",       .run = page_work,    .idempotent = true },
	{ .on = "GET /alive/{ms:int}",      .run = page_alive },
	{ .on = "GET /fail/{status:int}",   .run = page_fail },
	{ .on = "GET /price/{amount:float}", .run = page_price,  .idempotent = true },
	{ .on = "GET /tag/{name}",          .run = page_tag,     .idempotent = true },
	{ .on = "GET /crash/{how}",         .run = page_crash },
	{ .on = "GET /defer/{ms:int}",      .run = page_defer },
	{ .on = "GET /cancelled/{ms:int}",  .run = page_cancelled },
	{ .on = "/private/**",              .run = page_private },
	{ .on = "GET /config",              .run = page_config },
	{ .on = "POST /config",             .run = page_set_config },
	{ .on = "/call",                    .run = page_call },
	{ .on = "POST /pause/{ms:int}",     .run = page_pause },
	{ .on = "POST /log/{level:int}",    .run = page_log },
	{ .on = "POST /level/{level:int}",  .run = page_level },
	{ .on = "POST /reload",             .run = page_reload },
	{ .on = "POST /scale/{by:int}",     .run = page_scale },
	{ .on = "GET /chunks/{n:int}",      .run = page_chunks },
	{ .on = "GET /drip/{n:int}",        .run = page_drip },
	{ .on = "GET /events",              .run = page_events },
	{ .on = "POST /publish",            .run = page_publish },
	{ .on = "GET /subscribers",         .run = page_subscribers },
	{ .on = "GET /ticks/{ms:int}",      .run = page_ticks },
	{ .on = "GET /count/{n:int}",       .run = page_count },
	{ .on = "GET /event",               .run = page_event },
	{ .on = "GET /ndjson/{n:int}",      .run = page_ndjson },
	{ .on = "GET /mjpeg/{n:int}",       .run = page_mjpeg },
	{ 0 },
};

static const struct crew_route local_routes[] = {
	{ .on = "GET /local/hello", .run = page_hello },
	{ .on = "GET /local/responses", .run = page_responses },
	{ 0 },
};

static const struct crew_app sampler = {
	.name = "sampler",
	.routes = routes,
	.setup = sampler_setup,
	.check = sampler_check,
	.on_disconnect = sampler_gone,
	.on_room = sampler_room,
};

static unsigned number_from(const char *name)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	static const char *const item_paths[] = { "/api/**", NULL };
	static const char *const private_paths[] = { "/private/**", NULL };

	return crew_main(argc, argv, &(struct crew_server){
		.listen = "127.0.0.1:8080",
		.local = local_routes,
		.mounts = { { .at = "/static/", .root = example_files() } },
		.shutdown_timeout_ms = number_from("SAMPLER_SHUTDOWN_MS"),
		.head_timeout_ms = number_from("SAMPLER_HEAD_TIMEOUT_MS"),
		.body_timeout_ms = number_from("SAMPLER_BODY_TIMEOUT_MS"),
		.idle_timeout_ms = number_from("SAMPLER_IDLE_TIMEOUT_MS"),
		.max_pending = number_from("SAMPLER_MAX_PENDING"),
		.connections_max = number_from("SAMPLER_CONNECTIONS_MAX"),
		.log_repeat_ms = number_from("SAMPLER_LOG_REPEAT_MS"),
		.hooks = {
			.check = sampler_dispatcher_check,
			.check_prefix = private_paths,
			/* Counting costs a little: only where it is looked at. */
			.on_response = getenv("SAMPLER_RESPONSES") ? sampler_responded : NULL,
		},
		.pools = {
			{
				.app = &sampler,
				.request_timeout_ms = number_from("SAMPLER_REQUEST_TIMEOUT_MS"),
				.heartbeat_timeout_ms = number_from("SAMPLER_HEARTBEAT_MS"),
				.max_restarts = number_from("SAMPLER_MAX_RESTARTS"),
				.degraded_retry_ms = number_from("SAMPLER_DEGRADED_RETRY_MS"),
				.log_level = (enum crew_level)number_from("SAMPLER_LOG_LEVEL"),
				.queue_max = number_from("SAMPLER_QUEUE_MAX"),
				.queue_warning = number_from("SAMPLER_QUEUE_WARNING"),
				.queue_client_max = number_from("SAMPLER_QUEUE_CLIENT_MAX"),
				.queue_timeout_ms = number_from("SAMPLER_QUEUE_TIMEOUT_MS"),
			},
			{ .app = &items_app, .workers = 1, .prefix = item_paths },
		},
	});
}

/* SPDX-License-Identifier: MIT */
/*
 * The parts of a request's way, each by itself and many times, in one process:
 * for callgrind, whose counts of instructions are the same in each run, and for
 * the clock. `micro NAME TIMES`; without arguments it lists the names. The two sides
 * of the link are both here. (All of the way: way.c.)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <crew/crew.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/loop.h"
#include "dispatch/router.h"
#include "handler/json.h"
#include "http/parse.h"
#include "transport/link.h"

#include "request.h"

static const struct http_limits limits = {
	.line_max_bytes = 8192,
	.head_max_bytes = 16384,
	.headers_max = HTTP_HEADERS_MAX,
	.body_max_bytes = 8 << 20,
	.chunk_extra_max_bytes = 4096,
};

static crew_reply hello(struct crew_request *request)
{
	return crew_json(request, 200, crew_str("message", "hello"));
}

/* ---- parser ---- */

static void parse(unsigned times)
{
	static struct http_head head;

	while (times-- > 0) {
		struct http_parser parser = { 0 };

		check(http_parse_head(&parser, &limits, REQUEST, sizeof(REQUEST) - 1,
				      &head) == sizeof(REQUEST) - 1);
	}
}

/* ---- router ---- */

static struct crew_app app = { .name = "micro" };
static struct crew_server server = { .pools = { { .app = &app } }, .status_path = "" };

static struct router *make_router(unsigned rows)
{
	struct crew_route *routes = calloc(rows + 1, sizeof(*routes));
	struct crew_error error;
	struct router *router;

	check(routes != NULL);
	routes[0] = (struct crew_route){ .on = "GET /hello", .run = hello };
	for (unsigned i = 1; i < rows; i++) {
		char *on = malloc(64);

		check(on != NULL);
		snprintf(on, 64, "GET /group%u/item%u/{id:int}", i % 100, i);
		routes[i] = (struct crew_route){ .on = on, .run = hello };
	}
	app.routes = routes;
	check(router_new(&server, &router, &error) == 0);
	return router;
}

static void free_router(struct router *router, unsigned rows)
{
	router_free(router);
	for (unsigned i = 1; i < rows; i++)
		free((void *)(uintptr_t)app.routes[i].on);
	free((void *)(uintptr_t)app.routes);
}

static void match_among(unsigned rows, unsigned times)
{
	struct router *router = make_router(rows);
	static struct route_match match;
	char path[64];
	int size = snprintf(path, sizeof(path), "/group%u/item%u/42", (rows - 1) % 100,
			    rows - 1);

	while (times-- > 0) {
		router_match(router, HTTP_GET, (struct span){ "GET", 3 },
			     (struct span){ path, (size_t)size }, &match);
		check(match.target == ROUTE_POOL && match.row == rows - 1);
	}
	free_router(router, rows);
}

static void match_10(unsigned times)
{
	match_among(10, times);
}

static void match_1000(unsigned times)
{
	match_among(1000, times);
}

static void match_10000(unsigned times)
{
	match_among(10000, times);
}

/* ---- JSON ---- */

static void json(unsigned times)
{
	struct arena arena;

	arena_init(&arena, NULL);
	while (times-- > 0) {
		struct json_out out;

		json_out_init(&out, &arena);
		check(json_write_object(&out, (const struct crew_field[]){
			crew_int("id", 123456789), crew_str("name", "a \"quoted\" name"),
			crew_real("price", 9.95), crew_bool("new", true),
			crew_array("tags", crew_str(NULL, "one"), crew_str(NULL, "two")),
			{ 0 } }) == 0);
		arena_reset(&arena);
	}
	arena_fini(&arena);
}

/* ---- timers ---- */

static void never(struct loop *loop, struct timer *timer)
{
	(void)loop;
	(void)timer;
}

static void timers(unsigned times)
{
	static struct timer all[1000];
	struct loop loop;
	uint32_t dice = 1;

	check(loop_init(&loop) == 0);
	for (unsigned i = 0; i < 1000; i++) {
		all[i].fire = never;
		check(loop_timer_set(&loop, &all[i], 1000 + i) == 0);
	}
	while (times-- > 0) {
		dice = dice * 1664525u + 1013904223u;
		check(loop_timer_set(&loop, &all[dice >> 16 & 511], 1000 + (dice >> 8 & 0xffff)) == 0);
	}
	loop_fini(&loop);
}

/* ---- link ---- */

struct both {
	struct link dispatcher;
	struct link worker;
	uint32_t generation;
};

static void open_both(struct both *both)
{
	struct link_fds mine;
	struct link_fds yours;

	*both = (struct both){ 0 };
	check(link_create(&mine) == 0);
	yours = (struct link_fds){ dup(mine.memory), { dup(mine.bell[0]), dup(mine.bell[1]) } };
	check(link_open(&both->dispatcher, LINK_DISPATCHER, &mine) == 0);
	check(link_open(&both->worker, LINK_WORKER, &yours) == 0);
}

static void close_both(struct both *both)
{
	link_fini(&both->dispatcher);
	link_fini(&both->worker);
}

/* `flying` requests there, then as many answers back. */
static void link_trips(unsigned flying, unsigned times)
{
	struct message message;
	struct both both;

	open_both(&both);
	for (unsigned done = 0; done < times; done += flying) {
		both.generation++;
		for (uint32_t slot = 0; slot < flying; slot++) {
			struct message request = { .kind = MESSAGE_REQUEST, .slot = slot,
						   .generation = both.generation, .size = 400 };

			check(link_alloc(&both.dispatcher, slot, request.size, &request.offset) !=
			      NULL);
			link_offer(&both.dispatcher, slot, both.generation);
			check(link_send(&both.dispatcher, &request) == 0);
		}
		while (link_receive(&both.worker, &message) > 0) {
			struct message answer = { .kind = MESSAGE_ANSWER, .flags = MESSAGE_LAST,
						  .slot = message.slot,
						  .generation = message.generation, .size = 100 };

			check(link_take(&both.worker, message.slot, message.generation));
			check(link_alloc(&both.worker, 0, answer.size, &answer.offset) != NULL);
			check(link_send(&both.worker, &answer) == 0);
			check(link_free(&both.dispatcher, message.offset) >= 0);
		}
		while (link_receive(&both.dispatcher, &message) > 0)
			check(link_release(&both.dispatcher, message.offset) == 0);
		check(link_reap(&both.worker, NULL, NULL) >= 0);
	}
	close_both(&both);
}

static void link_1(unsigned times)
{
	link_trips(1, times);
}

static void link_16(unsigned times)
{
	link_trips(16, times);
}

static void link_64(unsigned times)
{
	link_trips(64, times);
}

static void link_256(unsigned times)
{
	link_trips(LINK_RING_ENTRIES, times);
}

static const struct part {
	const char *name;
	void (*run)(unsigned times);
	unsigned bytes; /* of each time, where that means something */
} parts[] = {
	{ "parse", parse, sizeof(REQUEST) - 1 },
	{ "route-10", match_10, 0 },
	{ "route-1000", match_1000, 0 },
	{ "route-10000", match_10000, 0 },
	{ "json", json, 0 },
	{ "timers", timers, 0 },
	{ "link-1", link_1, 0 },
	{ "link-16", link_16, 0 },
	{ "link-64", link_64, 0 },
	{ "link-256", link_256, 0 },
};

int main(int argc, char **argv)
{
	struct timespec begin;
	struct timespec end;
	double ns;

	for (size_t i = 0; argc < 3 && i < COUNT_OF(parts); i++)
		puts(parts[i].name);
	for (size_t i = 0; argc == 3 && i < COUNT_OF(parts); i++) {
		const unsigned times = (unsigned)strtoul(argv[2], NULL, 10);

		if (strcmp(parts[i].name, argv[1]) != 0)
			continue;
		clock_gettime(CLOCK_MONOTONIC, &begin);
		parts[i].run(times);
		clock_gettime(CLOCK_MONOTONIC, &end);
		ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 +
		     (double)(end.tv_nsec - begin.tv_nsec);
		printf("%s %.1f ns", parts[i].name, ns / times);
		if (parts[i].bytes)
			printf(" %.0f MB/s", parts[i].bytes * 1e3 * times / ns);
		puts("");
		return 0;
	}
	return argc == 3 ? 2 : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The items service by itself, with a page to try it from: open
 * http://127.0.0.1:8080/, or
 *   curl -d '{"name":"bolt"}' 127.0.0.1:8080/api/items
 *   curl 127.0.0.1:8080/api/item/1
 * Beside its worker runs what has nothing to do with HTTP: a process that says how busy the
 * machine is.
 */
#include <stdio.h>
#include <stdlib.h>

#include "files.h"
#include "store.h"

static crew_reply get_index(struct crew_request *request)
{
	return crew_redirect(request, 303, "/static/items.html");
}

/* What it prints is logged. */
static int tell_load(struct crew_child *self)
{
	double load;

	do {
		if (getloadavg(&load, 1) == 1)
			printf("the load is %.2f\n", load);
	} while (crew_rest(self, 60000));
	return 0;
}

int main(int argc, char **argv)
{
	return crew_main(argc, argv, &(struct crew_server){
		.local = (const struct crew_route[]){
			{ .on = "GET /", .run = get_index },
			{ 0 },
		},
		.mounts = { { .at = "/static/", .root = example_files() } },
		/* One worker, since the items live in its memory. */
		.pools = { { .app = &items_app, .workers = 1 } },
		.groups = (const struct crew_group[]){
			{ .name = "load", .run = tell_load, .count = 1 },
			{ 0 },
		},
	});
}

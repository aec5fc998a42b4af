/* SPDX-License-Identifier: MIT */
/*
 * The items service by itself, with a page to try it from: open
 * http://127.0.0.1:8080/, or
 *   curl -d '{"name":"bolt"}' 127.0.0.1:8080/api/items
 *   curl 127.0.0.1:8080/api/item/1
 */
#include "files.h"
#include "store.h"

static crew_reply get_index(struct crew_request *request)
{
	return crew_redirect(request, 303, "/static/items.html");
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
	});
}

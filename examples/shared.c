/* SPDX-License-Identifier: MIT */
/*
 * A server without a `main`: built as a shared object, run by the crew program.
 *   cc -shared -fPIC shared.c $(pkg-config --cflags --libs crew) -o shared.so
 *   crew run ./shared.so --workers 4
 */
#include <crew/crew.h>

static crew_reply get_hello(struct crew_request *request)
{
	return crew_json(request, 200, crew_str("hello", crew_path_str(request, "name")));
}

static const struct crew_app app = {
	.name   = "shared",
	.routes = (const struct crew_route[]){
		{ .on = "GET /hello/{name}", .run = get_hello },
		{ 0 },
	},
};

CREW_EXPORT_SERVER = {
	.listen = "127.0.0.1:8080",
	.pools  = { { .app = &app, .workers = 2 } },
};

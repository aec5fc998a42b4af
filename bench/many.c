/* SPDX-License-Identifier: MIT */
/*
 * A server with as many routes as the environment's ROUTES says, for growth.py:
 * GET /r0/item/{id}, GET /r1/item/{id} and so on, all to one small handler.
 */
#include <stdio.h>
#include <stdlib.h>

#include <crew/crew.h>

#define ROUTE_BYTES 48u

static crew_reply item(struct crew_request *request)
{
	(void)crew_path_int(request, "id");
	return crew_json(request, 200, crew_str("message", "hello"));
}

int main(int argc, char **argv)
{
	const char *text = getenv("ROUTES");
	const size_t count = text ? strtoul(text, NULL, 10) : 1;
	struct crew_route *routes = calloc(count + 1, sizeof(*routes));
	char(*names)[ROUTE_BYTES] = calloc(count, sizeof(*names));
	int r = 1;

	for (size_t i = 0; routes && names && i < count; i++) {
		snprintf(names[i], sizeof(names[i]), "GET /r%zu/item/{id:int}", i);
		routes[i] = (struct crew_route){ .on = names[i], .run = item };
	}
	if (routes && names && count)
		r = crew_main(argc, argv, &(struct crew_server){
			.listen = "127.0.0.1:8080",
			.pools = { { .app = &(struct crew_app){ .name = "many",
								 .routes = routes },
				     .workers = 1 } },
		});
	free(routes);
	free(names);
	return r;
}

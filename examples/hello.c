/* SPDX-License-Identifier: MIT */
/* The first program: one route, four isolated workers. */
#include <crew/crew.h>

static crew_reply get_item(struct crew_request *request)
{
	int64_t id = crew_path_int(request, "id");

	if (id > 99)
		return crew_error(request, 404, "no item %" PRId64, id);
	return crew_json(request, 200, crew_int("id", id), crew_str("name", "bolt"));
}

static const struct crew_app items = {
	.name   = "items",
	.routes = (const struct crew_route[]){
		{ .on = "GET /api/item/{id:int}", .run = get_item },
		{ 0 },
	},
};

int main(int argc, char **argv)
{
	return crew_main(argc, argv, &(struct crew_server){
		.listen = "127.0.0.1:8080",
		.pools  = { { .app = &items, .workers = 4, .request_timeout_ms = 30000 } },
	});
}

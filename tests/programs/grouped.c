/* SPDX-License-Identifier: MIT */
/*
 * The server that tests of groups run: "resource" has the rows, "user", "team"
 * and "admin" (of user) inherit them; "page" has neither base nor state. Each
 * answer says which handler ran, in which worker, and how often the state of
 * its group was used there.
 *
 * $GROUPED_FAIL: "admin" fails in its setup with that exit code.
 * $GROUPED_WRONG: a name in the table `wrong`, whose group is served too.
 * $GROUPED_JSON: the settings as JSON. $GROUPED_PAIRS: "" for none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <crew/crew.h>

struct state {
	const char *maker;
	int64_t used;
};

/* ---- handlers ---- */

static crew_reply tell(struct crew_request *request, const char *handler)
{
	struct state *state = crew_group_state(request);
	const struct crew_worker *worker = crew_worker(request);

	return crew_json(request, 200, crew_str("handler", handler),
			 crew_int("id", crew_path_int(request, "id")),
			 crew_str("language", crew_path_str(request, "language")),
			 crew_str("maker", state ? state->maker : NULL),
			 crew_int("used", state ? ++state->used : 0),
			 crew_int("worker", crew_worker_index(worker)));
}

static crew_reply list(struct crew_request *request)
{
	return tell(request, "list");
}

static crew_reply get(struct crew_request *request)
{
	return tell(request, "get");
}

static crew_reply get_user(struct crew_request *request)
{
	return tell(request, "get_user");
}

static crew_reply put(struct crew_request *request)
{
	return tell(request, "put");
}

static crew_reply delete(struct crew_request *request)
{
	return tell(request, "delete");
}

static crew_reply give_rights(struct crew_request *request)
{
	return tell(request, "give_rights");
}

/* Long enough that the next request goes to another worker. */
static crew_reply rest(struct crew_request *request)
{
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	return tell(request, "rest");
}

static crew_reply all_settings(struct crew_request *request)
{
	const struct json_t *settings = crew_settings(crew_worker(request));

	return settings ? crew_json_value(request, 200, settings)
			: crew_error(request, 404, "no settings here");
}

static crew_reply setting(struct crew_request *request)
{
	const char *value = crew_setting(crew_worker(request), crew_path_str(request, "key"));

	return value ? crew_text(request, 200, value) : crew_error(request, 404, "not set");
}

/* ---- states ---- */

static int make(struct crew_worker *worker, const char *maker, void **ret_state)
{
	struct state *state = calloc(1, sizeof(*state));

	if (!state)
		return 1;
	state->maker = maker;
	crew_log(worker, CREW_INFO, "worker %u: made a state by %s", crew_worker_index(worker),
		 maker);
	*ret_state = state;
	return 0;
}

static int make_resource(struct crew_worker *worker, void **ret_state)
{
	return make(worker, "resource", ret_state);
}

static int make_admin(struct crew_worker *worker, void **ret_state)
{
	const char *code = getenv("GROUPED_FAIL");

	return code ? (int)strtol(code, NULL, 10) : make(worker, "admin", ret_state);
}

static void drop(struct crew_worker *worker, void *data)
{
	struct state *state = data;

	crew_log(worker, CREW_INFO, "worker %u: dropped the state by %s, used %d times",
		 crew_worker_index(worker), state->maker, (int)state->used);
	free(state);
}

/* setup has the settings too. */
static int set_up(struct crew_worker *worker)
{
	const char *db = crew_setting(worker, "db");

	crew_log(worker, CREW_INFO, "worker %u: set up with db %s", crew_worker_index(worker),
		 db ? db : "-");
	return 0;
}

static void tear_down(struct crew_worker *worker)
{
	crew_log(worker, CREW_INFO, "worker %u: torn down", crew_worker_index(worker));
}

/* ---- tables ---- */

#define ROWS(...) .routes = (const struct crew_route[]){ __VA_ARGS__, { 0 } }

static const struct crew_routes resource = {
	.name = "resource",
	.prefix = "/api",
	.setup = make_resource,
	.teardown = drop,
	ROWS({ .on = "GET /", .run = list, .name = "list" },
	     { .on = "GET /{id:int}", .run = get, .name = "get" },
	     { .on = "PUT /{id:int}", .run = put, .name = "put" },
	     { .on = "DELETE /{id:int}", .run = delete, .name = "delete" },
	     { .on = "GET /rest", .run = rest }),
};
static const struct crew_routes user = {
	.name = "user",
	.prefix = "/user",
	.base = &resource,
	ROWS({ .name = "get", .run = get_user }),
};
static const struct crew_routes team = { .name = "team", .prefix = "/team", .base = &resource };
static const struct crew_routes admin = {
	.name = "admin",
	.prefix = "/admin",
	.base = &user,
	.setup = make_admin,
	.teardown = drop,
	ROWS({ .name = "delete" },
	     { .name = "put", .on = "POST /{id:int}/rights", .run = give_rights }),
};
static const struct crew_routes page = {
	.name = "page",
	.prefix = "/{language}/page",
	ROWS({ .on = "/{id:int}", .run = get }),
};

static const struct crew_routes circle = { .name = "circle", .base = &circle };
static const struct crew_routes no_slash = { .name = "no_slash", .prefix = "api" };
static const struct crew_routes names = {
	.name = "names",
	ROWS({ .name = "a", .on = "/a", .run = get }, { .name = "a", .on = "/b", .run = get }),
};
static const struct crew_routes nothing = {
	.name = "nothing", .base = &user, ROWS({ .name = "post" }) };
static const struct crew_routes pattern = {
	.name = "pattern", .prefix = "/x", ROWS({ .on = "GET /{a:date}", .run = get }) };
static const struct crew_routes twice = { .name = "twice", .base = &user };

static const struct crew_routes *const wrong[] = { &circle,  &no_slash, &names,
						   &nothing, &pattern,  &twice };

/* The place behind the good ones is for a wrong one. */
static const struct crew_routes *groups[6] = { &user, &team, &admin, &page };

static const struct crew_app app = {
	.name = "shop",
	.setup = set_up,
	.teardown = tear_down,
	.groups = groups,
	ROWS({ .on = "GET /plain", .run = get },
	     { .on = "GET /settings", .run = all_settings },
	     { .on = "GET /settings/{key}", .run = setting }),
};

int main(int argc, char **argv)
{
	const struct crew_setting pairs[] = { { "db", "postgres://db" }, { "limit", "5" }, { 0 } };
	const char *name = getenv("GROUPED_WRONG");

	for (size_t i = 0; name && i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (strcmp(wrong[i]->name, name) == 0)
			groups[4] = wrong[i];
	}
	return crew_main(argc, argv, &(struct crew_server){
		.pools = { { .app = &app, .workers = 1,
			     .settings = getenv("GROUPED_PAIRS") ? NULL : pairs,
			     .settings_json = getenv("GROUPED_JSON") } },
		.local = (const struct crew_route[]){
			{ .on = "GET /local", .run = get },
			{ .on = "GET /local/settings", .run = all_settings },
			{ 0 } },
	});
}

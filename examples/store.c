/* SPDX-License-Identifier: MIT */
/*
 * A store of items in the memory of its worker: setup makes it, handlers find
 * it with crew_state(), teardown frees it. One worker only, since each worker
 * has a memory of its own.
 */
#include "store.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX 1000
#define NAME_BYTES 64

struct item {
	int64_t id; /* 0: free */
	char name[NAME_BYTES];
};

struct store {
	int64_t next_id;
	struct item items[ITEMS_MAX];
};

static int open_store(struct crew_worker *worker)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return 1;
	store->next_id = 1;
	crew_set_state(worker, store);
	return 0;
}

static void close_store(struct crew_worker *worker)
{
	free(crew_worker_state(worker));
}

static struct item *find(struct store *store, int64_t id)
{
	for (int i = 0; i < ITEMS_MAX; i++) {
		if (store->items[i].id == id)
			return &store->items[i];
	}
	return NULL;
}

static crew_reply list_items(struct crew_request *request)
{
	const struct store *store = crew_state(request);
	json_t *items = json_array();
	crew_reply reply;

	for (int i = 0; i < ITEMS_MAX; i++) {
		if (store->items[i].id)
			json_array_append_new(items, json_pack("{s:I, s:s}",
				"id", (json_int_t)store->items[i].id,
				"name", store->items[i].name));
	}
	items = json_pack("{s:o}", "items", items);
	reply = crew_json_value(request, 200, items);
	json_decref(items);
	return reply;
}

static crew_reply add_item(struct crew_request *request)
{
	struct store *store = crew_state(request);
	const json_t *body = crew_body_json(request);
	const char *name = json_string_value(json_object_get(body, "name"));
	struct item *item = find(store, 0);

	if (!body)
		return crew_error(request, 400, "the body is not JSON: %s",
				  crew_body_error(request));
	if (!name || !*name || strlen(name) >= NAME_BYTES)
		return crew_error(request, 400, "\"name\" must be a string of 1 "
				  "to %d bytes", NAME_BYTES - 1);
	if (!item)
		return crew_error(request, 507, "the store is full");
	item->id = store->next_id++;
	memcpy(item->name, name, strlen(name) + 1);
	return crew_json(request, 201, crew_int("id", item->id),
			 crew_str("name", item->name));
}

static crew_reply get_item(struct crew_request *request)
{
	const int64_t id = crew_path_int(request, "id");
	const struct item *item = id > 0 ? find(crew_state(request), id) : NULL;

	if (!item)
		return crew_error(request, 404, "no item %" PRId64, id);
	return crew_json(request, 200, crew_int("id", id),
			 crew_str("name", item->name));
}

static crew_reply delete_item(struct crew_request *request)
{
	const int64_t id = crew_path_int(request, "id");
	struct item *item = id > 0 ? find(crew_state(request), id) : NULL;

	if (!item)
		return crew_error(request, 404, "no item %" PRId64, id);
	item->id = 0;
	return crew_json(request, 200, crew_int("deleted", id));
}

const struct crew_app items_app = {
	.name     = "items",
	.setup    = open_store,
	.teardown = close_store,
	.routes   = (const struct crew_route[]){
		{ .on = "GET /api/items",              .run = list_items, .idempotent = true },
		{ .on = "POST /api/items",             .run = add_item },
		{ .on = "GET /api/item/{id:int}",      .run = get_item, .idempotent = true },
		{ .on = "DELETE /api/item/{id:int}",   .run = delete_item },
		{ 0 },
	},
};

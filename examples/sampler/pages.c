/* SPDX-License-Identifier: MIT */
/* The sampler's pages, each as short as its subject. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sampler.h"

#define BYTES_MAX (64 << 20)
#define WAIT_MAX_MS 600000

static const char index_page[] =
"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>crew sampler</title>"
"<link rel=\"stylesheet\" href=\"/static/style.css\">"
"<h1>crew sampler</h1><p>One endpoint for each thing that crew can do. "
"Try them with <code>curl -i</code>.</p><table>"
"<tr><th>endpoint<th>answers"
"<tr><td><a href=\"/hello\">GET /hello</a>, <a href=\"/local/hello\">/local/hello</a>"
"<td>a greeting, from a worker and from the dispatcher"
"<tr><td><a href=\"/plain\">GET /plain</a><td>the greeting as text"
"<tr><td>any /echo, /echo/{ms}<td>the same bytes and type; after ms"
"<tr><td><a href=\"/headers?a=1\">any /headers</a><td>what the server saw of the request"
"<tr><td><a href=\"/whoami\">GET /whoami</a><td>which worker answers"
"<tr><td><a href=\"/bytes/100\">GET /bytes/{n}</a><td>n bytes"
"<tr><td><a href=\"/sleep/500\">GET /sleep/{ms}</a>, <a href=\"/spin/500\">/spin/{ms}</a>, "
"<a href=\"/work/500\">/work/{us}</a>, <a href=\"/alive/500\">/alive/{ms}</a>"
"<td>after ms: blocking; burning CPU (or for microseconds); blocking, but kept alive"
"<tr><td><a href=\"/defer/500\">GET /defer/{ms}</a>, <a href=\"/cancelled/500\">/cancelled/{ms}</a>"
"<td>after ms: while the worker does other things; until nobody waits any more"
"<tr><td><a href=\"/events?channel=news\">GET /events?channel=c</a>, POST /publish"
"<td>Server-Sent Events: <code>curl -d '{\"channel\":\"news\",\"msg\":\"hello\"}' …/publish</code>"
"<tr><td><a href=\"/ticks/500\">GET /ticks/{ms}</a>, <a href=\"/count/5\">/count/{n}</a>, "
"<a href=\"/event?data=hello\">/event?data=…</a>"
"<td>an event every ms; n events; that one"
"<tr><td><a href=\"/chunks/5\">GET /chunks/{n}</a>, <a href=\"/ndjson/5\">/ndjson/{n}</a>, "
"<a href=\"/mjpeg/5\">/mjpeg/{n}</a>, <a href=\"/drip/5\">/drip/{n}</a>"
"<td>streams of n chunks, records, pictures; and from a handler that waits"
"<tr><td><a href=\"/subscribers\">GET /subscribers</a><td>how many streams this pool holds"
"<tr><td>any /private/…<td>needs X-API-Key: sesame and a cookie session=ok"
"<tr><td><a href=\"/config\">GET, POST /config</a><td>what was sent to all workers of the pool"
"<tr><td><a href=\"/call?target=/api/items\">any /call?target=/…</a><td>a worker asks another pool"
"<tr><td>POST /pause/{ms}<td>this worker takes nothing for ms"
"<tr><td>POST /reload?pool=items<td>new workers for that pool, or for all"
"<tr><td>POST /scale/2?pool=items<td>two workers more for that pool; /scale/-1: one less"
"<tr><td>POST /log/{level}?text=…, POST /level/{level}<td>a line in the log; what is logged at all"
"<tr><td><a href=\"/local/responses\">GET /local/responses</a><td>what on_response has seen"
"<tr><td><a href=\"/crash/segv\">GET /crash/{how}</a>"
"<td>502, and a new worker: segv, abort, assert, free, exit, stop, stack, leak, deadlock, garbage"
"<tr><td><a href=\"/fail/418\">GET /fail/{status}</a><td>that error"
"<tr><td><a href=\"/api/items\">GET, POST /api/items</a>; GET, DELETE /api/item/{id}"
"<td>a small store: <code>curl -d '{\"name\":\"bolt\"}' …/api/items</code>"
"<tr><td><a href=\"/price/9.50\">GET /price/{amount}</a>, <a href=\"/tag/new\">/tag/{name}</a>"
"<td>typed parameters"
"<tr><td><a href=\"/static/hello.txt\">/static/…</a><td>files"
"<tr><td><a href=\"/status\">/status</a>, <a href=\"/health\">/health</a>, "
"<a href=\"/live\">/live</a>, <a href=\"/ready\">/ready</a>"
"<td>how it goes, also when every worker is busy"
"</table></html>\n";

static void wait_ms(int64_t ms)
{
	struct timespec left = { .tv_sec = ms / 1000,
				 .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0)
		;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t now_ms(void)
{
	return now_ns() / 1000000;
}

static int64_t wanted(const struct crew_request *request, const char *name, int64_t max)
{
	const int64_t value = crew_path_int(request, name);

	return value < 0 ? 0 : value > max ? max : value;
}

static int64_t wanted_ms(const struct crew_request *request)
{
	return wanted(request, "ms", WAIT_MAX_MS);
}

crew_reply page_index(struct crew_request *request)
{
	sampler_ran(request);
	return crew_bytes_nocopy(request, 200, "text/html; charset=utf-8",
				 index_page, sizeof(index_page) - 1);
}

crew_reply page_hello(struct crew_request *request)
{
	sampler_ran(request);
	return crew_json(request, 200, crew_str("message", "hello"));
}

crew_reply page_plain(struct crew_request *request)
{
	sampler_ran(request);
	return crew_text(request, 200, "hello");
}

crew_reply page_echo(struct crew_request *request)
{
	const char *type = crew_header(request, "Content-Type");
	const void *body;
	size_t size;

	sampler_ran(request);
	body = crew_body(request, &size);
	if (crew_path_str(request, "ms"))
		wait_ms(wanted_ms(request));
	return crew_bytes_nocopy(request, 200, type, body, size);
}

crew_reply page_headers(struct crew_request *request)
{
	static const char *const proxies[] = { "127.0.0.0/8", "::1", "unix:", NULL };
	json_t *headers = json_object();
	json_t *cookies = json_object();
	json_t *parameters = json_array();
	const char *cookie = crew_header(request, "Cookie");
	const char *name;
	const char *value;
	crew_reply reply;
	json_t *all;

	sampler_ran(request);
	for (size_t i = 0; crew_header_at(request, i, &name, &value); i++)
		json_object_set_new(headers, name, json_string(value));
	for (size_t i = 0; crew_query_at(request, i, &name, &value); i++)
		json_array_append_new(parameters, json_pack("[s, s]", name, value));
	while (cookie && *cookie) {
		char key[128];
		size_t size;

		cookie += strspn(cookie, "; ");
		size = strcspn(cookie, "=;");
		if (size > 0 && size < sizeof(key)) {
			memcpy(key, cookie, size);
			key[size] = '\0';
			value = crew_cookie(request, key);
			if (value)
				json_object_set_new(cookies, key, json_string(value));
		}
		cookie += strcspn(cookie, ";");
	}
	all = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:s}",
			"method", crew_method(request), "path", crew_path(request),
			"protocol", crew_protocol(request),
			"query", crew_query_string(request), "parameters", parameters,
			"headers", headers, "cookies", cookies,
			"client", crew_client_address(request),
			"forwarded_for", crew_forwarded_for(request, proxies));
	if (!all)
		return crew_error(request, 400, "something of it is not UTF-8");
	reply = crew_json_value(request, 200, all);
	json_decref(all);
	return reply;
}

crew_reply page_whoami(struct crew_request *request)
{
	const struct crew_worker *worker = crew_worker(request);

	sampler_ran(request);
	return crew_json(request, 200, crew_str("pool", crew_worker_pool(worker)),
			 crew_int("worker", crew_worker_index(worker)),
			 crew_int("pid", getpid()),
			 crew_int("generation", crew_worker_generation(worker)),
			 crew_int("request", (int64_t)crew_request_id(request)));
}

/* The alphabet, again and again: each copy doubles what is there. */
static void fill(char *bytes, size_t size)
{
	for (size_t i = 0; i < size && i < 26; i++)
		bytes[i] = (char)('a' + i);
	for (size_t done = 26; done < size; done *= 2)
		memcpy(bytes + done, bytes, size - done < done ? size - done : done);
}

crew_reply page_bytes(struct crew_request *request)
{
	const int64_t size = crew_path_int(request, "n");
	char *bytes;

	sampler_ran(request);
	if (size < 0 || size > BYTES_MAX)
		return crew_error(request, 400, "0 to %d bytes can be had", BYTES_MAX);
	bytes = crew_alloc(request, (size_t)size + 1);
	if (!bytes)
		return crew_error(request, 503, "out of memory");
	fill(bytes, (size_t)size);
	return crew_bytes_nocopy(request, 200, "application/octet-stream", bytes,
				 (size_t)size);
}

crew_reply page_sleep(struct crew_request *request)
{
	sampler_ran(request);
	wait_ms(wanted_ms(request));
	return crew_json(request, 200, crew_int("slept_ms", wanted_ms(request)));
}

crew_reply page_spin(struct crew_request *request)
{
	const int64_t end = now_ms() + wanted_ms(request);

	sampler_ran(request);
	/* To the whole millisecond after: never less than was asked for. */
	while (now_ms() <= end)
		;
	return crew_json(request, 200, crew_int("spun_ms", wanted_ms(request)));
}

/* What handlers do in a moment: less than a millisecond, usually. */
crew_reply page_work(struct crew_request *request)
{
	const int64_t us = wanted(request, "us", INT64_C(1000) * WAIT_MAX_MS);
	const int64_t end = now_ns() + us * 1000;

	sampler_ran(request);
	while (now_ns() < end)
		;
	return crew_json(request, 200, crew_int("worked_us", us));
}

crew_reply page_alive(struct crew_request *request)
{
	const int64_t end = now_ms() + wanted_ms(request);

	sampler_ran(request);
	for (int64_t left; (left = end - now_ms()) > 0;) {
		crew_keep_alive(request);
		wait_ms(left < 50 ? left : 50);
	}
	return crew_json(request, 200, crew_int("alive_ms", wanted_ms(request)));
}

crew_reply page_fail(struct crew_request *request)
{
	const int64_t status = crew_path_int(request, "status");

	sampler_ran(request);
	if (status < 400 || status > 599)
		return crew_error(request, 400, "an error has a status from 400 to 599");
	return crew_error(request, (int)status, "as you wished");
}

crew_reply page_price(struct crew_request *request)
{
	sampler_ran(request);
	return crew_json(request, 200,
			 crew_real("amount", crew_path_float(request, "amount")));
}

crew_reply page_tag(struct crew_request *request)
{
	sampler_ran(request);
	return crew_json(request, 200,
			 crew_str("tag", crew_path_str(request, "name")));
}

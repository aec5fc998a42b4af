/* SPDX-License-Identifier: MIT */
/*
 * What a handler sees: the request, the worker that it runs in, and the ways
 * to answer. All functions here are called in the process that runs the
 * handler (a worker, or the dispatcher for local routes), from the thread
 * that crew called the handler on.
 */
#ifndef CREW_WORKER_H
#define CREW_WORKER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <crew/error.h>
#include <crew/json.h>
#include <crew/log.h>

struct crew_request; /* one request; valid until its handler returns */
struct crew_worker;  /* the worker that runs it; valid from setup to teardown */
struct json_t;       /* jansson's; include <jansson.h> to use it */

/**
 * A handler's answer. Only crew makes one: a handler returns what crew_json(),
 * crew_text() and their sisters gave it. Returning a zeroed reply, or one that
 * was made for another request, is found out, logged, and answered with 500.
 */
typedef struct crew_reply {
	uint64_t seal;
} crew_reply;

/** A handler: runs in a worker (it may block), returns its answer. */
typedef crew_reply crew_handler(struct crew_request *request);

/* ---- the request: all strings live as long as the request ---- */

/** The number of this request: unique in one run of the program. */
uint64_t crew_request_id(const struct crew_request *request);
/** The method, such as "GET". Never NULL. */
const char *crew_method(const struct crew_request *request);
/** The client's version of HTTP, "HTTP/1.1" or "HTTP/1.0": of a proxy, its own. */
const char *crew_protocol(const struct crew_request *request);
/** The path, percent-decoded, without the query. Never NULL. */
const char *crew_path(const struct crew_request *request);
/** The query as it was sent, without the question mark; "" if none. */
const char *crew_query_string(const struct crew_request *request);
/** The peer's address, "127.0.0.1:41234" or "unix:"; of a crew_call() "call:" and the
 * pool that calls ("call:dispatcher": a hook or a local handler). Never NULL. Behind a
 * proxy it is the proxy's: what that says of its client is for crew_forwarded_for(). */
const char *crew_client_address(const struct crew_request *request);
/** The client's address as far as proxies are believed, without its port ("192.0.2.1",
 * "2001:db8::1"; of an IPv4 client as such, also where the server listens to both). If
 * the peer is one of `proxies`, X-Forwarded-For is read from its end, past those that are
 * proxies too: the first that is none is the client, whatever stands before it, since that
 * is the client's own word. What is no address ("unknown") ends it: then it is the proxy
 * that said so. So it is if the header is missing, and the peer if that is no proxy.
 * `proxies` ends with NULL: addresses, networks ("10.0.0.0/8", "fd00::/8") and "unix:",
 * the peer on a Unix socket, whose text is returned as it is; what is none of these is
 * no proxy. NULL without memory. */
const char *crew_forwarded_for(struct crew_request *request,
			       const char *const *proxies);

/** A typed path parameter `{name:int}`; 0 if the pattern has none so named. */
int64_t crew_path_int(const struct crew_request *request, const char *name);
/** A typed path parameter `{name:float}`; 0 if there is none so named. */
double crew_path_float(const struct crew_request *request, const char *name);
/** A path parameter as text, percent-decoded; NULL if none is so named. */
const char *crew_path_str(const struct crew_request *request, const char *name);

/** The first value of a query parameter, decoded (RFC 3986 section 2.1, and
 * `+` as a space as HTML forms send it); NULL if it is absent, also if it holds a NUL
 * (%00) or there is no memory for it. */
const char *crew_query(struct crew_request *request, const char *name);
/** Parameter `index` of the query in the order sent, decoded (or as it was sent, if it
 * holds an encoded NUL): for names that come more than once. A value that is missing is
 * "". False past the last, or without memory. */
bool crew_query_at(struct crew_request *request, size_t index,
		   const char **ret_name, const char **ret_value);
/** The value of a header, by its name in any case; NULL if it is absent. Of a
 * repeated header, the first: a list may go on in others (crew_header_at()). */
const char *crew_header(const struct crew_request *request, const char *name);
/** How many header lines there are. */
size_t crew_header_count(const struct crew_request *request);
/** Header line `index` in the order sent; false past the last. */
bool crew_header_at(const struct crew_request *request, size_t index,
		    const char **ret_name, const char **ret_value);
/** The value of a cookie (RFC 6265 section 5.4); NULL if it is absent. */
const char *crew_cookie(struct crew_request *request, const char *name);
/** The body; NULL and 0 if there is none. It is not NUL-terminated. */
const void *crew_body(const struct crew_request *request, size_t *ret_size);
/** The body parsed as JSON, or NULL if it is not JSON, names something twice in an
 * object, or has "\u0000" in a string (then `crew_body_error` says why). crew owns the
 * result and frees it with the request. Its Content-Type is not asked for: a page of
 * another site can have a browser send JSON as text/plain, with your cookies, and so who
 * goes by cookies looks first that it is application/json. */
const struct json_t *crew_body_json(struct crew_request *request);
/** Why crew_body_json() returned NULL: "line 3: …". Never NULL. */
const char *crew_body_error(const struct crew_request *request);

/** Memory that lives as long as the request; NULL if there is none left. It
 * is not zeroed. */
void *crew_alloc(struct crew_request *request, size_t size_bytes);

/* ---- the answer: 204, 205 and 304 have no body, whatever is given ---- */

/** Add a header to the answer that will be made for this request. Call it
 * before the answer is made. A Content-Type replaces the one that the answer is
 * made with, but not that of an error (crew_error), which goes with its form.
 * Returns 0, -EINVAL if the name or value is not legal (RFC 9110 section 5) or
 * is one that crew writes itself (Content-Length, Connection, Transfer-Encoding,
 * Date), or -ENOMEM. */
int crew_set_header(struct crew_request *request, const char *name,
		    const char *value);

/** A JSON object: crew_json(request, 200, crew_int("id", 1), …). */
crew_reply crew_json_fields(struct crew_request *request, int status,
			    const struct crew_field *fields);
#define crew_json(request, status, ...)                  \
	crew_json_fields((request), (status),            \
			 (const struct crew_field[]){    \
				 __VA_ARGS__, { 0 } })
/** Any JSON value that jansson holds, nested 2048 deep at most; real numbers have
 * the fewest digits that read back the same. The caller keeps its reference. */
crew_reply crew_json_value(struct crew_request *request, int status,
			   const struct json_t *value);
/** Text; UTF-8, type text/plain. The text is copied. */
crew_reply crew_text(struct crew_request *request, int status,
		     const char *text);
/** Any bytes, copied; `type` is the Content-Type. */
crew_reply crew_bytes(struct crew_request *request, int status,
		      const char *type, const void *data, size_t size_bytes);
/** The same without a copy: `data` must have come from crew_alloc() of this
 * request, lie in what crew_body() returns (after crew_defer(), if there is one), or be
 * constant. */
crew_reply crew_bytes_nocopy(struct crew_request *request, int status,
			     const char *type, const void *data,
			     size_t size_bytes);
/** An answer without a body. */
crew_reply crew_empty(struct crew_request *request, int status);
/** Send the client elsewhere; status 301, 302, 303, 307 or 308. */
crew_reply crew_redirect(struct crew_request *request, int status,
			 const char *location);
/** A refusal or a failure: {"error": "…"}, or text or HTML if the client's
 * Accept asks for that, which the answer's Vary says. One of status 500 and up
 * is told to on_error of the application and logged, with file, line and
 * backtrace. */
crew_reply crew_error_at(struct crew_request *request, int status,
			 const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
#define crew_error(request, status, ...) \
	crew_error_at((request), (status), __FILE__, __LINE__, __VA_ARGS__)
/** A check's refusal: 403, {"error": "forbidden"}. */
crew_reply crew_refuse(struct crew_request *request);
/** Only for checks: there is nothing against this request, go on. */
crew_reply crew_pass(struct crew_request *request);

/* ---- what the dispatcher's check tells the worker ---- */

/** In the dispatcher's check: the request's handler sees this value, instead of one
 * that was set by that name before. At most 16 of them, and 64 KiB of names and values
 * together. 0, -EINVAL (NULL, or elsewhere than in that check), -ENOSPC, -ENOMEM: then
 * an earlier one stands. */
int crew_set_value(struct crew_request *request, const char *name,
		   const char *value);
/** What the dispatcher's check has set; NULL if nothing is so named. No client
 * can send one. */
const char *crew_value(const struct crew_request *request, const char *name);

/* ---- the worker ---- */

/** The worker that runs this request. Never NULL. */
struct crew_worker *crew_worker(const struct crew_request *request);
/** What setup() left with crew_set_state(), or NULL. */
void *crew_state(const struct crew_request *request);
/** Keep a pointer for this worker's handlers; crew does not own it. */
void crew_set_state(struct crew_worker *worker, void *state);
/** The same, where only the worker is at hand (setup, teardown). */
void *crew_worker_state(const struct crew_worker *worker);
/** What the setup of the request's group left in this worker; NULL if the route
 * is in no group, or its group has no setup. */
void *crew_group_state(const struct crew_request *request);
/** A setting of the worker's pool: a pair's value, else a string, number, true
 * or false of the JSON object as text; NULL if there is none of that key (null,
 * arrays and objects are seen by crew_settings() only). Lives as long as the
 * worker. */
const char *crew_setting(const struct crew_worker *worker, const char *key);
/** All settings of the pool: its JSON object, in which the pairs are strings;
 * an empty object if there are none. crew owns it; it lives as long as the
 * worker and is this worker's own. NULL in local routes, which have no pool. */
const struct json_t *crew_settings(const struct crew_worker *worker);
/** The pool's name, the worker's place in it (from 0), and how many times
 * that place was filled (from 1). Of a dispatcher: "local", and which of them
 * it is. */
const char *crew_worker_pool(const struct crew_worker *worker);
unsigned crew_worker_index(const struct crew_worker *worker);
unsigned crew_worker_generation(const struct crew_worker *worker);
/** The configuration that was sent last to this worker's pool, or NULL. It is
 * crew's, and valid until the next one comes (see on_config). */
const struct json_t *crew_config(const struct crew_worker *worker);
/** Send a configuration, any JSON text of at most 16 MiB, to all workers of a
 * pool: to those that are there, in the order in which it is sent, and to those
 * that start later, before their first request. May be called in any worker and
 * in the dispatcher. 0, -EINVAL (not JSON; `ret_error` says where, and may be
 * NULL), -ENOENT (no such pool), -EMSGSIZE, -EAGAIN (the parent is behind with what it was
 * sent: later), or -errno. */
int crew_pool_config(struct crew_worker *worker, const char *pool,
		     const char *json, struct crew_error *ret_error);
/** Replace the workers of a pool one by one, as SIGHUP does with all (NULL: all):
 * each goes when its successor is ready and what it has begun is done, for which it has the
 * pool's request timeout, anew with crew_keep_alive(). What is asked for while they are
 * replaced, and within a second after it, is done once more then. Returns at once:
 * 0, -ENOENT (no such pool), or -errno. */
int crew_reload_pool(struct crew_worker *worker, const char *pool);
/** Start `by` workers of a pool more, or if it is negative stop so many, as SIGTTIN and SIGTTOU
 * do with one of the first pool: who is to stop finishes what it has begun. One is always left,
 * and a pool has at most 1024; what was done is logged. It holds until the server ends. (Each
 * dispatcher keeps descriptors free for as many workers as there were at the start: where the
 * limit is low and clients are many, there may be none for more, which is logged.) To be
 * called where crew_reload_pool() may. Returns at once: 0, -EINVAL (no name), -ENOENT (no such
 * pool), or -errno. */
int crew_pool_scale(struct crew_worker *worker, const char *pool, int by);
/** In the dispatcher (local handlers, hooks): what /status answers, as JSON text
 * that the caller frees; NULL elsewhere, and without memory. */
char *crew_status_json(struct crew_worker *dispatcher);
/** Show that a long handler is alive: a store, cheap enough for a loop. */
void crew_beat(struct crew_worker *worker);
/** Memory of the answer link that this worker may write: for the sampler's
 * /crash/garbage, which proves that scribbling over it harms nobody else.
 * Returns how many regions there are; fills at most `max`. */
size_t crew_worker_link_memory(struct crew_worker *worker, void **ret_start,
			       size_t *ret_size, size_t max);

/** Log a line; it appears once, whole, marked with this worker's name. Of more than 8 KiB
 * the rest is cut off. */
void crew_log(struct crew_worker *worker, enum crew_level level,
	      const char *format, ...) __attribute__((format(printf, 3, 4)));
/** What the workers of a pool log from now on, those that start later too (NULL:
 * all processes of the server). 0, -EINVAL, -ENOENT (no such pool), or -errno. */
int crew_set_log_level(struct crew_worker *worker, const char *pool,
		       enum crew_level level);
/** Would a line of this level be written? For messages dear to make. */
bool crew_log_enabled(const struct crew_worker *worker, enum crew_level level);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Calls to other pools, and the callbacks that wait for the dispatcher's word.
 * A call is a request like a client's, but for its depth: a call that is made
 * on behalf of a call is one deeper, and too deep is a loop. Its answer comes in
 * parts and is put together here; the callback is made from the loop, never
 * inside of a handler, also where the answer is that there is none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/private.h"

static void complete(struct worker *worker, struct awaited *awaited);
static int take_part(struct awaited *awaited, const unsigned char *bytes, uint32_t size);
static int take_head(struct awaited *awaited, const unsigned char *bytes, uint32_t size);
static void lose(struct awaited *awaited, int status);

/* A call, or a publication: both begin with it. */
_Static_assert(offsetof(struct wire_call, token) == 0 &&
	       offsetof(struct wire_publish, token) == 0, "where the token stands");

struct awaited *awaited_new(struct worker *worker, void *bytes, void *context)
{
	struct awaited *awaited = calloc(1, sizeof(*awaited));

	if (!awaited)
		return NULL;
	if (++worker->next_token == 0)
		worker->next_token = 1;
	awaited->token = worker->next_token;
	memcpy(bytes, &awaited->token, sizeof(awaited->token));
	awaited->context = context;
	list_init(&awaited->link);
	list_push_back(&worker->awaited, &awaited->link);
	return awaited;
}

struct awaited *awaited_find(struct worker *worker, uint32_t token)
{
	list_each(link, &worker->awaited) {
		struct awaited *awaited = container_of(link, struct awaited, link);

		if (awaited->token == token)
			return awaited;
	}
	return NULL;
}

void awaited_free(struct awaited *awaited)
{
	if (!awaited)
		return;
	list_remove(&awaited->link);
	free(awaited->answer);
	free(awaited);
}

/* Called back between two handlers: this may be read inside of one. */
void awaited_heard(struct worker *worker, struct awaited *awaited,
		   const struct peer *peer)
{
	awaited->waits_for &= ~(1u << peer->number);
	if (awaited->waits_for)
		return;
	list_remove(&awaited->link);
	list_push_back(&worker->come, &awaited->link);
}

/* Not those that were begun later: who calls again and again, by a timer, would never leave. */
bool awaited_hold(const struct worker *worker)
{
	if (!list_empty(&worker->come))
		return true;
	list_each(link, (struct list *)(uintptr_t)&worker->awaited) {
		const struct awaited *awaited = container_of(link, struct awaited, link);

		if ((int32_t)(awaited->token - worker->last_awaited) <= 0)
			return true;
	}
	return false;
}

void awaited_fail(struct worker *worker, const struct peer *peer)
{
	list_each(link, &worker->awaited) {
		struct awaited *awaited = container_of(link, struct awaited, link);

		if (!(awaited->waits_for & 1u << peer->number))
			continue;
		if (awaited->answered)
			lose(awaited, 502);
		awaited_heard(worker, awaited, peer);
	}
}

void awaited_call_back(struct worker *worker)
{
	struct list *link;

	while ((link = list_pop_front(&worker->come)))
		complete(worker, container_of(link, struct awaited, link));
}

int worker_call(struct crew_worker *public, void *bytes, size_t size,
		crew_answered *done, void *context)
{
	struct worker *worker = container_of(public, struct worker, public);
	struct peer *peer = peers_any(worker);
	struct awaited *awaited = NULL;
	struct wire_call head;
	int r;

	if (!peer)
		return -ENOTCONN;
	if (!peer_may_say(worker, peer))
		return -EAGAIN;
	if (done) {
		awaited = awaited_new(worker, bytes, context);
		if (!awaited)
			return -ENOMEM;
		memcpy(&head, bytes, sizeof(head));
		awaited->answered = done;
		awaited->waits_for = 1u << peer->number;
		awaited->depth = head.depth;
	}
	r = peer_say(worker, peer, MESSAGE_CALL, (uint32_t)size, bytes);
	if (r < 0)
		awaited_free(awaited);
	return r;
}

/* The token stands in the message's generation, for the later parts too. */
int calls_answered(struct worker *worker, struct peer *peer,
		   const struct message *message)
{
	struct awaited *awaited = awaited_find(worker, message->generation);
	const unsigned char *bytes = link_bytes(&peer->link, message);

	if (awaited && awaited->answered) {
		if (take_part(awaited, bytes, message->size) < 0)
			return -EBADMSG;
		if (message->flags & MESSAGE_LAST)
			awaited_heard(worker, awaited, peer);
	}
	return message->size ? link_release(&peer->link, message->offset) : 0;
}

static int take_part(struct awaited *awaited, const unsigned char *bytes, uint32_t size)
{
	if (size == 0 && !awaited->answer)
		lose(awaited, 503);
	if (!awaited->answer && !awaited->lost) {
		if (take_head(awaited, bytes, size) < 0)
			return -EBADMSG;
		bytes += sizeof(struct wire_call_answer);
		size -= sizeof(struct wire_call_answer);
	}
	if (awaited->lost)
		return 0;
	if (size > awaited->size - awaited->have)
		return -EBADMSG;
	if (size)
		memcpy(awaited->answer + awaited->have, bytes, size);
	awaited->have += size;
	return 0;
}

/* Where there is no memory for what it announces, that is the answer, and its parts go by. */
static int take_head(struct awaited *awaited, const unsigned char *bytes, uint32_t size)
{
	struct wire_call_answer head;

	if (size < sizeof(head))
		return -EBADMSG;
	memcpy(&head, bytes, sizeof(head));
	awaited->status = (int)head.status;
	awaited->headers_size = head.headers_size;
	awaited->size = (size_t)head.headers_size + head.body_size;
	awaited->answer = malloc(awaited->size + 1);
	if (!awaited->answer)
		lose(awaited, 503);
	return 0;
}

static void lose(struct awaited *awaited, int status)
{
	awaited->lost = true;
	awaited->status = status;
	awaited->have = 0;
	awaited->size = 0;
	awaited->headers_size = 0;
}

static void complete(struct worker *worker, struct awaited *awaited)
{
	const unsigned outer = worker->public.depth;
	struct crew_answer answer = {
		.status = awaited->status,
		.headers = awaited->answer ? awaited->answer : "",
		.headers_bytes = awaited->headers_size,
		.body = awaited->answer ? awaited->answer + awaited->headers_size : "",
		.body_bytes = awaited->size - awaited->headers_size,
	};

	worker->public.depth = awaited->depth;
	if (awaited->published)
		awaited->published(&worker->public, (unsigned)awaited->have,
				   awaited->context);
	else if (awaited->answered)
		awaited->answered(&worker->public, &answer, awaited->context);
	worker->public.depth = outer;
	awaited_free(awaited);
}

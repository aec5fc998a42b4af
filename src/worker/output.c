/* SPDX-License-Identifier: MIT */
/*
 * Answers on their way out. One that fits into a message leaves in one, which
 * is what nearly all do; a larger one leaves in parts, as room in our arena,
 * room in the ring and the client's pace allow. Nothing here waits: an answer
 * that cannot go on is left where it is, the worker serves others, and comes
 * back when the dispatcher has released bytes or granted credit.
 *
 * Each answer that was begun ends with exactly one MESSAGE_LAST, also when its
 * client has left: by that the dispatcher knows that the request's block is no
 * longer read and the slot is free.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "worker/private.h"

static int send_end(struct job *job);
static int send_head(struct job *job);
static int send_part(struct job *job);
static void write_answer(unsigned char *at, const struct job *job, size_t first);
static int send_message(struct job *job, struct message *message);

int output_send(struct worker *worker, struct job *job)
{
	int r = 1;

	if (job->cut)
		return job->last_sent ? 1 : send_end(job);
	if (!job->head_sent)
		r = send_head(job);
	if (r > 0 && job->streaming)
		return stream_send(worker, job);
	while (r > 0 && !job->last_sent)
		r = send_part(job);
	return r;
}

/* What is missing of it nobody will look at: only the mark of its end is still
 * to come. */
void output_cut(struct job *job)
{
	job->cut = true;
}

/* More credit than was owed is no danger to anybody: the link's own limits
 * still hold. */
void output_credit(struct job *job, uint32_t size)
{
	job->owed -= size < job->owed ? size : job->owed;
}

bool output_waits_for_credit(const struct job *job)
{
	return job->streaming && job->head_sent && !job->cut &&
	       job->owed >= LINK_CREDIT_BYTES;
}

int output_part(struct job *job, struct message *message, const char *bytes)
{
	unsigned char *at;
	int r;

	if (message->size) {
		at = link_alloc(&job->peer->link, job->slot, message->size,
				&message->offset);
		if (!at)
			return 0;
		memcpy(at, bytes, message->size);
	}
	r = send_message(job, message);
	if (r > 0)
		job->owed += message->size;
	return r;
}

static int send_end(struct job *job)
{
	struct message message = {
		.kind = MESSAGE_ANSWER_PART,
		.flags = MESSAGE_LAST,
	};

	return send_message(job, &message);
}

/* What else was said of the request, such as that its stream subscribes, comes
 * first. */
static int send_head(struct job *job)
{
	const struct crew_request *request = &job->request;
	const size_t head = sizeof(struct wire_answer) + request->headers_size;
	size_t first = request->reply_body.size;
	struct message message = {
		.kind = MESSAGE_ANSWER,
		.service_us = job->service_us,
	};
	unsigned char *at;
	int r;

	if (!outbox_empty(&job->peer->outbox))
		return 0;
	if (first > LINK_CREDIT_BYTES - head)
		first = LINK_PART_BYTES;
	message.size = (uint32_t)(head + first);
	at = link_alloc(&job->peer->link, job->slot, message.size, &message.offset);
	if (!at)
		return 0;
	write_answer(at, job, first);
	if (job->streaming)
		message.flags = MESSAGE_COPIED | (job->events ? MESSAGE_EVENTS : 0);
	else if (first == request->reply_body.size)
		message.flags = MESSAGE_LAST;
	r = send_message(job, &message);
	if (r > 0) {
		job->head_sent = true;
		job->sent = first;
	}
	return r;
}

static void write_answer(unsigned char *at, const struct job *job, size_t first)
{
	const struct crew_request *request = &job->request;
	const struct wire_answer answer = {
		.status = (uint32_t)request->status,
		.headers_size = (uint32_t)request->headers_size,
		.body_size = job->streaming ? WIRE_UNKNOWN
					    : request->reply_body.size,
	};

	memcpy(at, &answer, sizeof(answer));
	at += sizeof(answer);
	if (request->headers_size)
		memcpy(at, request->headers, request->headers_size);
	if (first)
		memcpy(at + request->headers_size, request->reply_body.at, first);
}

static int send_part(struct job *job)
{
	const struct span body = job->request.reply_body;
	struct message message = { .kind = MESSAGE_ANSWER_PART };
	size_t size = body.size - job->sent;
	int r;

	if (size > LINK_PART_BYTES)
		size = LINK_PART_BYTES;
	if (size > LINK_CREDIT_BYTES - job->owed)
		return 0;
	message.size = (uint32_t)size;
	if (job->sent + size == body.size)
		message.flags = MESSAGE_LAST;
	r = output_part(job, &message, body.at + job->sent);
	if (r > 0)
		job->sent += size;
	return r;
}

/* 1 if it was sent; 0 if the ring is full, and then its bytes are ours again. */
static int send_message(struct job *job, struct message *message)
{
	int r;

	message->slot = job->slot;
	message->generation = job->generation;
	r = link_send(&job->peer->link, message);
	if (r == 0) {
		job->last_sent = message->flags & MESSAGE_LAST;
		return 1;
	}
	if (message->size)
		check(link_free(&job->peer->link, message->offset) >= 0);
	return r == -EAGAIN ? 0 : r;
}

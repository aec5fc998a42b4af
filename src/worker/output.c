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
static int send_message(struct job *job, enum message_kind kind, unsigned flags,
			uint32_t offset, uint32_t size);

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

int output_part(struct job *job, unsigned flags, struct span bytes)
{
	const uint32_t size = (uint32_t)bytes.size;
	uint32_t offset = 0;
	unsigned char *at;
	int r;

	if (size) {
		at = link_alloc(&job->peer->link, job->slot, size, &offset);
		if (!at)
			return 0;
		memcpy(at, bytes.at, size);
	}
	r = send_message(job, MESSAGE_ANSWER_PART, flags, offset, size);
	if (r > 0)
		job->owed += size;
	return r;
}

static int send_end(struct job *job)
{
	return send_message(job, MESSAGE_ANSWER_PART, MESSAGE_LAST, 0, 0);
}

/* What else was said of the request, such as that its stream subscribes, comes
 * first. */
static int send_head(struct job *job)
{
	const struct crew_request *request = &job->request;
	const size_t head = sizeof(struct wire_answer) + request->headers_size;
	size_t first = request->reply_body.size;
	unsigned flags = 0;
	unsigned char *at;
	uint32_t offset;
	uint32_t size;
	int r;

	if (!outbox_empty(&job->peer->outbox))
		return 0;
	if (first > LINK_CREDIT_BYTES - head)
		first = head + LINK_PART_BYTES < LINK_CREDIT_BYTES
				? LINK_PART_BYTES
				: LINK_CREDIT_BYTES - head;
	size = (uint32_t)(head + first);
	at = link_alloc(&job->peer->link, job->slot, size, &offset);
	if (!at)
		return 0;
	write_answer(at, job, first);
	if (job->streaming)
		flags = (job->state == JOB_RUNNING ? MESSAGE_RUNNING : MESSAGE_COPIED) |
			(job->events ? MESSAGE_EVENTS : 0);
	else if (first == request->reply_body.size)
		flags = MESSAGE_LAST;
	r = send_message(job, MESSAGE_ANSWER, flags, offset, size);
	if (r > 0) {
		job->head_sent = true;
		job->sent = first;
	}
	return r;
}

static void write_answer(unsigned char *at, const struct job *job, size_t first)
{
	const struct crew_request *request = &job->request;
	struct wire_answer *answer = (void *)at; /* blocks are aligned */

	answer->status = (uint32_t)request->status;
	answer->headers_size = (uint32_t)request->headers_size;
	answer->body_size = job->streaming ? WIRE_UNKNOWN : request->reply_body.size;
	at += sizeof(*answer);
	if (request->headers_size)
		memcpy(at, request->headers, request->headers_size);
	if (first)
		memcpy(at + request->headers_size, request->reply_body.at, first);
}

static int send_part(struct job *job)
{
	const struct span body = job->request.reply_body;
	size_t size = body.size - job->sent;
	unsigned flags = 0;
	int r;

	if (size > LINK_PART_BYTES)
		size = LINK_PART_BYTES;
	if (size > LINK_CREDIT_BYTES - job->owed)
		return 0;
	if (job->sent + size == body.size)
		flags = MESSAGE_LAST;
	r = output_part(job, flags, (struct span){ body.at + job->sent, size });
	if (r > 0)
		job->sent += size;
	return r;
}

/* 1 if it was sent; 0 if the ring is full, and then its bytes are ours again. The
 * message is made in one place, see link_send. */
static int send_message(struct job *job, enum message_kind kind, unsigned flags,
			uint32_t offset, uint32_t size)
{
	const struct message message = {
		.kind = (uint16_t)kind,
		.flags = (uint16_t)flags,
		.slot = job->slot,
		.generation = job->generation,
		.offset = offset,
		.size = size,
		.service_us = job->service_us,
	};
	int r = link_send(&job->peer->link, &message);

	if (r == 0) {
		job->last_sent = flags & MESSAGE_LAST;
		return 1;
	}
	if (size)
		check(link_free(&job->peer->link, offset) >= 0);
	if (r != -EAGAIN)
		return r;
	job->peer->full = true;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The answers of workers, judged. Each message was copied out of the ring and
 * its place in the arena checked by link_receive; here its meaning is: the
 * slot must wait for it, the claim must be taken, the head must be well formed
 * and copied before it is checked, and a body must be as long as announced.
 * The bytes of a body go to the client straight from shared memory.
 */
#include "base/log.h"
#include "dispatch/private.h"
#include "http/respond.h"

static void answer_begins(struct seat *seat, const struct message *message,
			  struct exchange *exchange);
static const char *check_lines(struct dispatcher *dispatcher, struct span lines);
static bool answer_goes_on(struct seat *seat, struct exchange *exchange,
			   struct span data, bool last);
static void write_early(struct exchange *exchange);
static void answer_over(struct seat *seat, const struct message *message,
			struct exchange *exchange);
static void stream_begins(struct exchange *exchange, const struct message *message);
static void credit_call(struct seat *seat, uint32_t slot, struct exchange *exchange);
static void late_answer(struct seat *seat, const struct message *message);

void answer_received(struct seat *seat, const struct message *message)
{
	struct slot *slot = &seat->slots[message->slot];
	struct exchange *exchange = slot->exchange;
	struct span data = { link_bytes(&seat->link, message), message->size };

	if (message->kind != MESSAGE_ANSWER && message->kind != MESSAGE_ANSWER_PART) {
		said_received(seat, message);
		return;
	}
	if (message->kind == MESSAGE_ANSWER) {
		seat->progress_ms = seat->dispatcher->loop.now_ms;
		if (slot->used && slot->generation == message->generation &&
		    !(message->flags & MESSAGE_RUNNING))
			slot_answering(seat, message->slot);
	}
	if (!slot->used || slot->generation != message->generation || !exchange) {
		late_answer(seat, message);
	} else if (message->kind == MESSAGE_ANSWER) {
		answer_begins(seat, message, exchange);
	} else if (exchange->state != EXCHANGE_ANSWERING) {
		seat_condemn(seat, "a part of an answer came before its head");
	} else {
		exchange->is_midway = message->flags & MESSAGE_MORE;
		exchange->credit_owed += message->size;
		if (exchange->credit_owed > LINK_CREDIT_BYTES) {
			seat_condemn(seat, "sent more than it had credit for");
			return;
		}
		if (answer_goes_on(seat, exchange, data,
				   message->flags & MESSAGE_LAST))
			answer_over(seat, message, exchange);
		else if (exchange->connection->call && exchange->credit_owed)
			credit_call(seat, message->slot, exchange);
	}
	if (message->size && !seat->condemned &&
	    link_release(&seat->link, message->offset) < 0)
		seat_condemn(seat, "its index of freed bytes is impossible");
}

static void answer_begins(struct seat *seat, const struct message *message,
			  struct exchange *exchange)
{
	const unsigned char *bytes = link_bytes(&seat->link, message);
	static char headers[WIRE_HEADERS_MAX_BYTES];
	const bool last = message->flags & MESSAGE_LAST;
	struct wire_answer answer;
	struct span lines;
	struct span body;
	const char *fault;

	if (exchange->state != EXCHANGE_LINKED ||
	    message->size < sizeof(answer) ||
	    link_claim(&seat->link, message->slot, message->generation) !=
		    CLAIM_TAKEN) {
		seat_condemn(seat, "an answer to a request that it does not have");
		return;
	}
	/* Workers may name the same bytes in many answers, each of which is copied. */
	if (message->size > LINK_CREDIT_BYTES) {
		seat_condemn(seat, "the first part of an answer is too long");
		return;
	}
	memcpy(&answer, bytes, sizeof(answer));
	if (answer.headers_size > message->size - sizeof(answer)) {
		seat_condemn(seat, "the head of an answer is longer than the answer");
		return;
	}
	if (answer.headers_size > sizeof(headers)) {
		seat_condemn(seat, "the header lines of an answer are too long");
		return;
	}
	memcpy(headers, bytes + sizeof(answer), answer.headers_size);
	lines = (struct span){ headers, answer.headers_size };
	body = (struct span){ (const char *)bytes + sizeof(answer) + lines.size,
			      message->size - sizeof(answer) - lines.size };
	/* How long its handler takes is not known while it goes on. */
	if (!(message->flags & MESSAGE_RUNNING))
		pool_note_service(seat->slots[message->slot].cost, message->service_us);
	pool_leave(exchange);
	fault = check_lines(seat->dispatcher, lines);
	if (answer.status < 200 || answer.status > 599)
		fault = "the status is not one of an answer";
	if (fault) {
		log_error("%s[%u]: the answer to request %llu is refused: %s",
			  seat->pool->name, seat->index,
			  (unsigned long long)exchange->id, fault);
		slot_label(seat, message->slot);
		if (last)
			slot_free(seat, message->slot);
		else
			slot_abandon(seat, message->slot);
		exchange_fail(exchange, 502, "the worker gave an answer that is not HTTP");
		return;
	}
	if (message->flags & MESSAGE_COPIED)
		slot_copied(seat, message->slot);
	exchange_begin(exchange, (int)answer.status, lines, answer.body_size);
	if (answer.body_size == WIRE_UNKNOWN)
		stream_begins(exchange, message);
	if (answer_goes_on(seat, exchange, body, last))
		answer_over(seat, message, exchange);
	else if (answer.body_size == WIRE_UNKNOWN &&
		 (exchange->connection->peer_closed || exchange->connection->hung_up))
		exchange_cut(exchange);
}

/* Most answers of a service have the header lines of the one before. */
static const char *check_lines(struct dispatcher *dispatcher, struct span lines)
{
	const char *fault;

	if (lines.size == dispatcher->good_lines_size &&
	    memcmp(lines.at, dispatcher->good_lines, lines.size) == 0)
		return NULL;
	fault = http_check_headers(lines);
	if (!fault && lines.size <= sizeof(dispatcher->good_lines)) {
		memcpy(dispatcher->good_lines, lines.at, lines.size);
		dispatcher->good_lines_size = lines.size;
	}
	return fault;
}

/* Returns whether the answer is complete and as long as it should be. */
static bool answer_goes_on(struct seat *seat, struct exchange *exchange,
			   struct span data, bool last)
{
	const uint64_t left = exchange->answer_left;

	if (left != WIRE_UNKNOWN &&
	    (data.size > left || (last && data.size != left))) {
		seat_condemn(seat, "an answer is not as long as it said");
		return false;
	}
	exchange_write(exchange, data);
	if (left == WIRE_UNKNOWN && !exchange->is_midway)
		write_early(exchange);
	writer_later(exchange->connection);
	return last;
}

/* What was published while it could not be sent. */
static void write_early(struct exchange *exchange)
{
	exchange_write(exchange, buffer_span(&exchange->early));
	buffer_fini(&exchange->early);
}

static void answer_over(struct seat *seat, const struct message *message,
			struct exchange *exchange)
{
	seat->pool->served++;
	slot_note_silence(seat, message->slot);
	slot_free(seat, message->slot);
	if (message->flags & MESSAGE_ABORT)
		exchange_abort(exchange);
	else {
		pool_note_size(seat->pool, exchange);
		exchange_end(exchange);
	}
}

/* A stream: its early events follow the head. */
static void stream_begins(struct exchange *exchange, const struct message *message)
{
	exchange->events = message->flags & MESSAGE_EVENTS;
	write_early(exchange);
	if (exchange->connection->dispatcher->draining && !(message->flags & MESSAGE_LAST))
		exchange->connection->dispatcher->streams_to_end = true;
}

/* A call has no client that could be slow. */
static void credit_call(struct seat *seat, uint32_t slot, struct exchange *exchange)
{
	slot_credit(seat, slot, exchange->credit_owed);
	exchange->credit_owed = 0;
}

/* Its client has gone, or was told that it took too long. */
static void late_answer(struct seat *seat, const struct message *message)
{
	struct slot *slot = &seat->slots[message->slot];

	if (message->kind == MESSAGE_ANSWER)
		seat->pool->late_answers++;
	if (!slot->used || slot->generation != message->generation)
		return;
	if (message->kind == MESSAGE_ANSWER && !(message->flags & MESSAGE_RUNNING))
		pool_note_service(slot->cost, message->service_us);
	if (message->flags & MESSAGE_LAST) {
		slot_note_silence(seat, message->slot);
		slot_free(seat, message->slot);
	}
}

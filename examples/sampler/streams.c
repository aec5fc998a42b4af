/* SPDX-License-Identifier: MIT */
/*
 * Answers that have no end yet. A source of numbered pieces sends until its
 * client has enough for now, and goes on when there is room again: so a stream
 * of any length costs the same memory.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sampler.h"

#define PIECES_MAX 10000000
#define FRAME_SIDE 16u
#define FRAME_HEAD 54u
#define FRAME_BYTES (FRAME_HEAD + FRAME_SIDE * FRAME_SIDE * 3u)

struct source {
	int64_t next;
	int64_t count;
	int (*send)(struct crew_request *stream, int64_t number);
	struct crew_timer *timer;
};

static void go_on(struct crew_request *stream, struct source *source)
{
	int r = 0;

	while (source->next < source->count) {
		r = source->send(stream, source->next + 1);
		if (r < 0)
			break;
		source->next++;
	}
	if (r == -EAGAIN || r == -EPIPE)
		return; /* sampler_room, or sampler_gone */
	if (r < 0)
		crew_abort(stream);
	else
		crew_end(stream);
}

void sampler_room(struct crew_request *stream)
{
	struct source *source = crew_data(stream);

	if (source && source->send)
		go_on(stream, source);
}

void sampler_gone(struct crew_request *request)
{
	struct source *source = crew_data(request);

	crew_log(crew_worker(request), CREW_DEBUG, "the client of %s has gone",
		 crew_path(request));
	if (source)
		crew_timer_stop(source->timer);
}

static struct source *source_of(struct crew_request *request,
				int (*send)(struct crew_request *, int64_t))
{
	struct source *source = crew_alloc(request, sizeof(*source));
	const int64_t count = crew_path_int(request, "n");

	if (!source)
		return NULL;
	*source = (struct source){
		.count = count < 0 ? 0 : count > PIECES_MAX ? PIECES_MAX : count,
		.send = send,
	};
	crew_set_data(request, source);
	return source;
}

/* Begin with what there is room for; the rest follows by itself. */
static crew_reply stream_from(struct crew_request *request, crew_reply begun,
			      int (*send)(struct crew_request *, int64_t))
{
	struct source *source = source_of(request, send);

	if (!source)
		return crew_error(request, 503, "out of memory");
	go_on(request, source);
	return begun;
}

static int send_chunk(struct crew_request *stream, int64_t number)
{
	char text[40];
	const int size = snprintf(text, sizeof(text), "chunk %" PRId64 "\n", number);

	return crew_send(stream, text, (size_t)size);
}

static int send_number(struct crew_request *stream, int64_t number)
{
	char text[24];
	char id[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	snprintf(id, sizeof(id), "%" PRId64, number);
	return crew_send_event(stream, &(struct crew_event){ .data = text, .id = id });
}

static int send_record(struct crew_request *stream, int64_t number)
{
	return crew_send_json(stream, crew_int("n", number), crew_str("name", "record"));
}

/* A small picture (BMP, 24 bits) whose colour goes with the number. */
static int send_frame(struct crew_request *stream, int64_t number)
{
	unsigned char frame[FRAME_BYTES] = {
		'B', 'M', FRAME_BYTES & 255, FRAME_BYTES >> 8, 0, 0, 0, 0, 0, 0,
		FRAME_HEAD, 0, 0, 0, 40, 0, 0, 0, FRAME_SIDE, 0, 0, 0,
		FRAME_SIDE, 0, 0, 0, 1, 0, 24, 0,
	};

	for (size_t i = FRAME_HEAD; i < sizeof(frame); i += 3) {
		frame[i] = (unsigned char)(number * 40);
		frame[i + 1] = (unsigned char)(255 - number * 25);
		frame[i + 2] = 128;
	}
	return crew_send_part(stream, "image/bmp", frame, sizeof(frame));
}

crew_reply page_chunks(struct crew_request *request)
{
	sampler_ran(request);
	return stream_from(request, crew_stream(request, 200, "text/plain", NULL),
			   send_chunk);
}

crew_reply page_count(struct crew_request *request)
{
	sampler_ran(request);
	return stream_from(request, crew_events(request, NULL), send_number);
}

crew_reply page_ndjson(struct crew_request *request)
{
	sampler_ran(request);
	return stream_from(request,
			   crew_stream(request, 200, "application/x-ndjson", NULL),
			   send_record);
}

crew_reply page_mjpeg(struct crew_request *request)
{
	sampler_ran(request);
	return stream_from(request, crew_multipart(request, NULL), send_frame);
}

/* n pieces of 1 KiB from a handler that blocks: it waits for its client. */
crew_reply page_drip(struct crew_request *request)
{
	const int64_t count = crew_path_int(request, "n");
	crew_reply reply = crew_stream(request, 200, "application/octet-stream", NULL);
	char piece[1024];

	sampler_ran(request);
	for (int64_t i = 0; i < count && i < PIECES_MAX; i++) {
		int r;

		memset(piece, (int)('a' + i % 26), sizeof(piece));
		while ((r = crew_send(request, piece, sizeof(piece))) == -EAGAIN) {
			if (crew_wait_room(request, 30000) < 0)
				return reply;
		}
		if (r < 0)
			return reply;
	}
	crew_end(request);
	return reply;
}

crew_reply page_event(struct crew_request *request)
{
	const struct crew_event event = {
		.data = crew_query(request, "data"),
		.event = crew_query(request, "event"),
		.id = crew_query(request, "id"),
	};
	crew_reply reply = crew_events(request, NULL);

	sampler_ran(request);
	if (crew_send_event(request, &event) < 0)
		return crew_error(request, 400, "an event has data, event or id, and "
				  "event and id are one line");
	crew_end(request);
	return reply;
}

static void tick(struct crew_worker *worker, void *context)
{
	struct crew_request *stream = crew_claim_context(worker, context);
	struct source *source = stream ? crew_data(stream) : NULL;

	/* A tick for which there is no room is left out. */
	if (source)
		(void)send_number(stream, ++source->next);
}

crew_reply page_ticks(struct crew_request *request)
{
	const int64_t ms = crew_path_int(request, "ms");
	struct source *source = source_of(request, NULL);
	crew_ticket ticket;
	crew_reply reply = crew_events(request, &ticket);

	sampler_ran(request);
	if (!source)
		return crew_error(request, 503, "out of memory");
	source->timer = crew_every(crew_worker(request),
				   ms < 1 ? 1 : ms > 60000 ? 60000 : (unsigned)ms, tick,
				   crew_ticket_context(ticket));
	if (!source->timer)
		return crew_error(request, 503, "out of memory");
	return reply;
}

crew_reply page_events(struct crew_request *request)
{
	const char *channel = crew_query(request, "channel");
	crew_reply reply = crew_events(request, NULL);
	int r;

	sampler_ran(request);
	r = crew_subscribe(request, channel ? channel : "default");
	if (r < 0)
		return sampler_refused(request, r, r == -EINVAL ? "a channel has 1 to 256 bytes"
								: strerror(-r));
	crew_send_event(request, &(struct crew_event){ .comment = "subscribed" });
	return reply;
}

static void published(struct crew_worker *worker, unsigned streams, void *context)
{
	struct crew_request *request = crew_claim_context(worker, context);

	if (request)
		crew_finish(request, crew_json(request, 200,
					       crew_int("published", streams)));
}

crew_reply page_publish(struct crew_request *request)
{
	const json_t *body = crew_body_json(request);
	const char *channel = json_string_value(json_object_get(body, "channel"));
	const char *message = json_string_value(json_object_get(body, "msg"));
	crew_ticket ticket;
	crew_reply reply;
	int r;

	sampler_ran(request);
	if (!message)
		return crew_error(request, 400, "{\"channel\": …, \"msg\": …} is wanted: %s",
				  body ? "no msg" : crew_body_error(request));
	reply = crew_defer(request, &ticket);
	r = crew_publish(crew_worker(request), channel ? channel : "default",
			 &(struct crew_event){ .data = message }, published,
			 crew_ticket_context(ticket));
	if (r < 0)
		return sampler_refused(request, r, strerror(-r));
	return reply;
}

crew_reply page_subscribers(struct crew_request *request)
{
	char text[16];

	sampler_ran(request);
	snprintf(text, sizeof(text), "%u\n", crew_pool_streams(crew_worker(request)));
	return crew_text(request, 200, text);
}

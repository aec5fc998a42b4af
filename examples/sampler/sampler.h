/* SPDX-License-Identifier: MIT */
/* What the files of the sampler share. */
#ifndef SAMPLER_H
#define SAMPLER_H

#include <crew/crew.h>

/* Note that a handler has begun, in the file that SAMPLER_RAN names. */
void sampler_ran(const struct crew_request *request);
int sampler_setup(struct crew_worker *worker);
/* What could not be done: what was asked for was wrong, or it cannot be done now. */
crew_reply sampler_refused(struct crew_request *request, int r, const char *why);

/* pages.c: answers at once. */
crew_handler page_index, page_hello, page_plain, page_echo, page_headers,
	page_whoami, page_bytes, page_sleep, page_spin, page_work, page_alive, page_fail,
	page_price, page_tag, page_crash;

/* later.c: answers that come later, and what the server is asked for. */
crew_handler page_defer, page_cancelled, page_private, page_config,
	page_set_config, page_call, page_pause, page_log, page_level, page_reload, page_scale,
	page_responses;
crew_handler sampler_check, sampler_dispatcher_check;
void sampler_responded(struct crew_worker *dispatcher,
		       const struct crew_response *response);

/* streams.c: answers that have no end yet. */
crew_handler page_events, page_publish, page_ticks, page_count, page_event,
	page_subscribers, page_ndjson, page_mjpeg, page_chunks, page_drip;
void sampler_gone(struct crew_request *request);
void sampler_room(struct crew_request *stream);

#endif

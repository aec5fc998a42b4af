/* SPDX-License-Identifier: MIT */
/* Private to this room: how an answer is put together. */
#ifndef HANDLER_REPLY_H
#define HANDLER_REPLY_H

#include "handler/request.h"

/** Forget all that was said of an answer so far, headers too. */
void reply_reset(struct crew_request *request);
/** Write the lines that follow from the reply (Content-Type, Location) behind
 * those that the handler set. 0 or -ENOMEM. */
int reply_finish_headers(struct crew_request *request);
/** A reply that says that the answer comes later. */
crew_reply reply_make_later(struct crew_request *request, enum reply_state state);
/** What was made since it was deferred does not count: it still is. */
void reply_take_back(struct crew_request *request);
/** The head of a stream. */
crew_reply reply_make_stream(struct crew_request *request, int status,
			     const char *type);
/** There is no memory for the answer; or none can be made any more. */
crew_reply reply_failed(struct crew_request *request);
/** Answer with an error, in the form that the client asked for. */
crew_reply reply_error(struct crew_request *request, int status,
		       const char *message);

#endif

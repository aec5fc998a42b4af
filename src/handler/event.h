/* SPDX-License-Identifier: MIT */
/* Server-Sent Events as text (WHATWG HTML, 9.2.6). */
#ifndef HANDLER_EVENT_H
#define HANDLER_EVENT_H

#include <sys/types.h>

#include <crew/later.h>

/** Write an event at `place`, or nothing if that is NULL. Returns its size, or
 * -EINVAL: a line break or NUL in `event` or `id`, or nothing to say; -EMSGSIZE: its data
 * alone are more than can be sent. */
ssize_t event_write(const struct crew_event *event, char *place);

#endif

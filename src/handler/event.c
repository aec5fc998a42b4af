/* SPDX-License-Identifier: MIT */
/*
 * An event is lines "field: value" and an empty line. Data and comments may
 * have lines of their own, each of which becomes a field; CR, LF and CRLF all
 * end one, as they do for the reader, so that nothing that is sent as data can
 * be read as another field. The other values are one line or they are refused.
 */
#include "handler/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/span.h"

struct pen {
	char *place; /* NULL: only count */
	size_t size;
};

static void put(struct pen *pen, const char *text, size_t size);
static void put_field(struct pen *pen, const char *name, struct span value);
static void put_lines(struct pen *pen, const char *name, struct span text);
static bool one_line(const char *text);

ssize_t event_write(const struct crew_event *event, char *place)
{
	const size_t data_size = !event->data ? 0
				 : event->data_bytes ? event->data_bytes
						     : strlen(event->data);
	struct pen pen = { place, 0 };
	char number[16];

	if (!event->data && !event->event && !event->id && !event->retry_ms &&
	    !event->comment)
		return -EINVAL;
	if ((event->event && !one_line(event->event)) ||
	    (event->id && !one_line(event->id)))
		return -EINVAL;
	if (data_size > CREW_SEND_MAX_BYTES)
		return -EMSGSIZE;
	if (event->comment)
		put_lines(&pen, "", span_of(event->comment));
	if (event->event)
		put_field(&pen, "event", span_of(event->event));
	if (event->id)
		put_field(&pen, "id", span_of(event->id));
	if (event->retry_ms) {
		snprintf(number, sizeof(number), "%u", event->retry_ms);
		put_field(&pen, "retry", span_of(number));
	}
	if (event->data)
		put_lines(&pen, "data", (struct span){ event->data, data_size });
	put(&pen, "\n", 1);
	return (ssize_t)pen.size;
}

static void put(struct pen *pen, const char *text, size_t size)
{
	if (pen->place && size)
		memcpy(pen->place + pen->size, text, size);
	pen->size += size;
}

static void put_field(struct pen *pen, const char *name, struct span value)
{
	put(pen, name, strlen(name));
	put(pen, ": ", 2);
	put(pen, value.at, value.size);
	put(pen, "\n", 1);
}

/* Of a text that ends in a line break the empty line behind it is written too:
 * what is read is what was given. */
static void put_lines(struct pen *pen, const char *name, struct span text)
{
	size_t start = 0;

	for (size_t i = 0; i <= text.size; i++) {
		const char c = i < text.size ? text.at[i] : '\n';

		if (c != '\n' && c != '\r')
			continue;
		put_field(pen, name, (struct span){ text.at + start, i - start });
		if (c == '\r' && i + 1 < text.size && text.at[i + 1] == '\n')
			i++;
		start = i + 1;
	}
}

static bool one_line(const char *text)
{
	return !strpbrk(text, "\r\n");
}

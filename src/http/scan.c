/* SPDX-License-Identifier: MIT */
/*
 * The table by which every grammar of this room knows a byte, and the few
 * steps over text that several of them share. One look-up tells all classes of
 * a byte, so that a run of them is one loop without branches on values. The
 * rows are numbers, since ISO C has no ranges in initialisers; parse_test.c
 * compares every entry with the sets that the RFCs spell out.
 *
 * The same classes stand as tables of sixteen for the processors that look at
 * many bytes at once (base/os/scan.h). Nothing here fails or keeps state.
 */
#include "http/scan.h"

const uint8_t http_bytes[256] = {
	/* 00 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0,
	/* 10 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* 20 */ 16, 23, 18, 17, 23, 19, 23, 23, 22, 22, 23, 23, 22, 23, 23, 18,
	/* 30 */ 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 18, 22, 18, 22, 18, 18,
	/* 40 */ 18, 31, 31, 31, 31, 31, 31, 23, 23, 23, 23, 23, 23, 23, 23, 23,
	/* 50 */ 23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 18, 18, 18, 19, 23,
	/* 60 */ 19, 31, 31, 31, 31, 31, 31, 23, 23, 23, 23, 23, 23, 23, 23, 23,
	/* 70 */ 23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 18, 19, 18, 23, 0,
	/* 80 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	/* 90 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	/* a0 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	/* b0 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	/* c0 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	/* d0 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	/* e0 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	/* f0 */ 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
};

const struct os_class http_token = {
	.low = { 232, 252, 248, 252, 252, 252, 252, 252,
		 248, 248, 244, 84, 208, 84, 244, 112 },
	.high = OS_CLASS_HIGH,
};
const struct os_class http_target = {
	.low = { 248, 252, 252, 248, 252, 252, 252, 252,
		 252, 252, 252, 252, 252, 252, 252, 124 },
	.high = OS_CLASS_HIGH,
};

struct span http_trim(struct span text)
{
	while (text.size > 0 && http_is_blank(text.at[0])) {
		text.at++;
		text.size--;
	}
	while (text.size > 0 && http_is_blank(text.at[text.size - 1]))
		text.size--;
	return text;
}

bool http_all(struct span text, uint8_t classes)
{
	return http_skip(text.at, text.at + text.size, classes) ==
	       text.at + text.size;
}

/* Up to the separator, or all. */
static size_t part_size(struct span rest, char separator)
{
	const char *end = memchr(rest.at, separator, rest.size);

	return end ? (size_t)(end - rest.at) : rest.size;
}

static size_t quoted_part_size(struct span rest, char separator)
{
	bool quoted = false;
	size_t size;

	for (size = 0; size < rest.size; size++) {
		char byte = rest.at[size];

		if (byte == separator && !quoted)
			break;
		if (byte == '"')
			quoted = !quoted;
		else if (byte == '\\' && quoted && size + 1 < rest.size)
			size++;
	}
	return size;
}

bool http_split(struct span *rest, char separator, bool quotes,
		struct span *ret_part)
{
	size_t size;

	if (rest->at == NULL)
		return false;
	size = quotes ? quoted_part_size(*rest, separator) : part_size(*rest, separator);
	*ret_part = http_trim((struct span){ rest->at, size });
	if (size == rest->size)
		*rest = (struct span){ NULL, 0 };
	else
		*rest = (struct span){ rest->at + size + 1, rest->size - size - 1 };
	return true;
}

/* SPDX-License-Identifier: MIT */
/* For processors that scan_x86.c is not for: eight bytes at a time. */
#include "base/os/scan.h"

#include <string.h>

size_t os_scan_class(const char *text, size_t size, const struct os_class *class)
{
	size_t at = 0;

	while (at < size && os_class_has(class, text[at]))
		at++;
	return at;
}

size_t os_scan_control(const char *text, size_t size)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t eight, no_delete;
	size_t at = 0;

	for (;;) {
		/* A byte below 0x20 or equal to 0x7f sets its top bit here (a tab
		 * too, which the slow loop passes). */
		while (size - at >= sizeof(eight)) {
			memcpy(&eight, text + at, sizeof(eight));
			no_delete = eight ^ (ones * 0x7f);
			if ((((eight - ones * 0x20) & ~eight) |
			     ((no_delete - ones) & ~no_delete)) & (ones * 0x80))
				break;
			at += sizeof(eight);
		}
		for (int i = 0; i < 8; i++, at++) {
			const unsigned char byte = at < size ? (unsigned char)text[at] : 0;

			if (at == size || (byte < 0x20 && byte != '\t') || byte == 0x7f)
				return at;
		}
	}
}

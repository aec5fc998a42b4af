/* SPDX-License-Identifier: MIT */
/*
 * Text looked over many bytes at a time, by what the processor can: chosen when
 * the program starts. Never reads beyond the given bytes.
 */
#ifndef BASE_OS_SCAN_H
#define BASE_OS_SCAN_H

#include <stddef.h>
#include <stdint.h>

/** A set of ASCII characters: c is in it if low[c & 15] and high[c >> 4] have a
 * bit in common. `high` is 1, 2, 4 … 128 and then eight zeros. */
struct os_class {
	uint8_t low[16];
	uint8_t high[16];
};

#define OS_CLASS_HIGH { 1, 2, 4, 8, 16, 32, 64, 128 }

static inline int os_class_has(const struct os_class *class, char c)
{
	return class->low[(unsigned char)c & 15] & class->high[(unsigned char)c >> 4];
}

/** Where the first byte is that is not in the class; `size` if there is none. */
size_t os_scan_class(const char *text, size_t size, const struct os_class *class);
/** Where the first control byte is (below 0x20, the tab apart, and 0x7f); `size`
 * if there is none. */
size_t os_scan_control(const char *text, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * For x86-64: 32 bytes at a time where there is AVX2, else 16 by SSE2, which
 * every such processor has, and SSSE3. At the end of a text its last 16 are looked
 * at, some of them again; of a shorter one the first and the last eight or four.
 * Nothing beyond the text is ever read.
 *
 * A class is a look-up in two tables of sixteen, by the low and the high half of
 * each byte, which is one instruction for a whole register (PSHUFB, Intel's
 * manual, volume 2B).
 */
#include "base/os/scan.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

static size_t class_by_bytes(const char *text, size_t size, const struct os_class *class)
{
	size_t at = 0;

	while (at < size && os_class_has(class, text[at]))
		at++;
	return at;
}

static size_t control_by_bytes(const char *text, size_t size)
{
	for (size_t at = 0; at < size; at++) {
		const unsigned char byte = (unsigned char)text[at];

		if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
			return at;
	}
	return size;
}

#define SHORT_MIN 4u

/* Of a text of 4 to 15 bytes: two parts of 8 or 4, which may overlap, and nothing. */
static inline __m128i load_short(const char *text, size_t size)
{
	uint64_t first, last;
	uint32_t start, end;

	if (size >= sizeof(first)) {
		memcpy(&first, text, sizeof(first));
		memcpy(&last, text + size - sizeof(last), sizeof(last));
		return _mm_set_epi64x((long long)last, (long long)first);
	}
	memcpy(&start, text, sizeof(start));
	memcpy(&end, text + size - sizeof(end), sizeof(end));
	return _mm_set_epi32(0, 0, (int)end, (int)start);
}

/* Where the first of these bits of load_short stands in the text, or its size. */
static inline size_t place_in_short(unsigned bits, size_t size)
{
	const unsigned part = size >= 8 ? 8 : 4;
	unsigned place;

	bits &= (1u << 2 * part) - 1;
	if (!bits)
		return size;
	place = (unsigned)__builtin_ctz(bits);
	return place < part ? place : size - 2 * part + place;
}

/* Bits of the bytes that are control bytes: max(b, 0x20) is b for all others. */
static inline unsigned controls_of_16(__m128i bytes)
{
	const __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
	const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
	const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));

	return ~(unsigned)_mm_movemask_epi8(_mm_andnot_si128(del, _mm_or_si128(low, tab))) &
	       0xffffu;
}

static size_t control_by_16(const char *text, size_t at, size_t size)
{
	unsigned bits;

	for (; size - at >= 16; at += 16) {
		bits = controls_of_16(_mm_loadu_si128((const void *)(text + at)));
		if (bits)
			return at + (unsigned)__builtin_ctz(bits);
	}
	if (at == size)
		return size;
	if (size >= 16) {
		at = size - 16;
		bits = controls_of_16(_mm_loadu_si128((const void *)(text + at)));
		return bits ? at + (unsigned)__builtin_ctz(bits) : size;
	}
	if (size >= SHORT_MIN)
		return place_in_short(controls_of_16(load_short(text, size)), size);
	return control_by_bytes(text, size);
}

__attribute__((target("avx2"))) static size_t control_by_32(const char *text, size_t size)
{
	size_t at = 0;

	for (; size - at >= 32; at += 32) {
		const __m256i bytes = _mm256_loadu_si256((const void *)(text + at));
		const __m256i low = _mm256_cmpeq_epi8(
			_mm256_max_epu8(bytes, _mm256_set1_epi8(0x20)), bytes);
		const __m256i tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t'));
		const __m256i del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
		const unsigned bits = ~(unsigned)_mm256_movemask_epi8(
			_mm256_andnot_si256(del, _mm256_or_si256(low, tab)));

		if (bits)
			return at + (unsigned)__builtin_ctz(bits);
	}
	return control_by_16(text, at, size);
}

/* Bits of the bytes that are not in the class. */
__attribute__((target("ssse3"))) static inline unsigned
others_of_16(__m128i bytes, const struct os_class *class)
{
	const __m128i low = _mm_loadu_si128((const void *)class->low);
	const __m128i high = _mm_loadu_si128((const void *)class->high);
	const __m128i half = _mm_set1_epi8(0x0f);
	const __m128i by_low = _mm_shuffle_epi8(low, _mm_and_si128(bytes, half));
	const __m128i by_high = _mm_shuffle_epi8(
		high, _mm_and_si128(_mm_srli_epi16(bytes, 4), half));

	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(
		_mm_and_si128(by_low, by_high), _mm_setzero_si128()));
}

__attribute__((target("ssse3"))) static size_t class_by_16(const char *text, size_t size,
							    const struct os_class *class)
{
	unsigned bits;
	size_t at = 0;

	for (; size - at >= 16; at += 16) {
		bits = others_of_16(_mm_loadu_si128((const void *)(text + at)), class);
		if (bits)
			return at + (unsigned)__builtin_ctz(bits);
	}
	if (at == size)
		return size;
	if (size >= 16) {
		at = size - 16;
		bits = others_of_16(_mm_loadu_si128((const void *)(text + at)), class);
		return bits ? at + (unsigned)__builtin_ctz(bits) : size;
	}
	if (size >= SHORT_MIN)
		return place_in_short(others_of_16(load_short(text, size), class), size);
	return class_by_bytes(text, size, class);
}

static bool has_avx2;
static bool has_ssse3;

__attribute__((constructor)) static void choose(void)
{
	__builtin_cpu_init();
	has_avx2 = __builtin_cpu_supports("avx2");
	has_ssse3 = __builtin_cpu_supports("ssse3");
}

size_t os_scan_class(const char *text, size_t size, const struct os_class *class)
{
	if (has_ssse3)
		return class_by_16(text, size, class);
	return class_by_bytes(text, size, class);
}

size_t os_scan_control(const char *text, size_t size)
{
	if (has_avx2)
		return control_by_32(text, size);
	return control_by_16(text, 0, size);
}

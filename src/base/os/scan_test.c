/* SPDX-License-Identifier: MIT */
/* Every length and every byte at every place, against a loop over bytes; at the
 * end of a page that nothing may be read behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/os/os.h"
#include "base/os/scan.h"

static char *end_of_page;

static int set_up(void **state)
{
	const size_t page = os_page_bytes();
	char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE) < 0)
		return -1;
	end_of_page = pages + page;
	return 0;
}

static int is_control(unsigned char byte)
{
	return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

static void controls_are_found(void **state)
{
	(void)state;
	for (size_t size = 0; size <= 100; size++) {
		char *text = end_of_page - size;

		memset(text, 'x', size);
		assert_int_equal(os_scan_control(text, size), size);
		for (size_t at = 0; at < size; at++) {
			for (int byte = 0; byte < 256; byte++) {
				text[at] = (char)byte;
				assert_int_equal(os_scan_control(text, size),
						 is_control((unsigned char)byte) ? at : size);
			}
			text[at] = (char)(0x80 + at);
		}
	}
}

static void classes_are_told(void **state)
{
	struct os_class class = { .high = OS_CLASS_HIGH };

	(void)state;
	srandom(4);
	for (int turn = 0; turn < 3000; turn++) {
		const size_t size = (size_t)random() % 80;
		char *text = end_of_page - size;
		size_t wanted = 0;

		for (int i = 0; i < 16; i++)
			class.low[i] = (uint8_t)(random() | random() | random());
		for (size_t i = 0; i < size; i++)
			text[i] = (char)(random() % (turn % 3 ? 128 : 256));
		while (wanted < size && (unsigned char)text[wanted] < 128 &&
		       class.low[text[wanted] & 15] >> (text[wanted] >> 4) & 1)
			wanted++;
		assert_int_equal(os_scan_class(text, size, &class), wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(controls_are_found),
		cmocka_unit_test(classes_are_told),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The end of a process that found a bug in itself. It says where, by the
 * simplest means there are, and aborts: the parent notes the signal and starts
 * the process anew.
 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void check_failed(const char *what, const char *file, int line)
{
	char text[512];
	int size = snprintf(text, sizeof(text),
			    "<2>bug in crew: %s:%d: this does not hold: %s\n",
			    file, line, what);

	if (size > 0)
		(void)!write(STDERR_FILENO, text,
			     (size_t)size < sizeof(text) ? (size_t)size
							 : sizeof(text) - 1);
	abort();
}

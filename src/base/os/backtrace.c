/* SPDX-License-Identifier: MIT */
/*
 * Where a failure was noticed, for the log (backtrace(3) of glibc). Functions
 * that the linker does not export are told by their place in the file, which
 * addr2line(1) turns into a line.
 */
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os/os.h"

#define FRAMES_MAX 12
/* os_backtrace itself, and who asked for it. */
#define FRAMES_SKIPPED 2

void os_backtrace(char *text, size_t room)
{
	void *frames[FRAMES_MAX];
	const int count = backtrace(frames, FRAMES_MAX);
	char **names = backtrace_symbols(frames, count);
	size_t used = 0;

	text[0] = '\0';
	for (int i = FRAMES_SKIPPED; names && i < count; i++) {
		const char *slash = strrchr(names[i], '/');
		const char *name = slash ? slash + 1 : names[i];
		const int size = (int)strcspn(name, " [");
		const int n = snprintf(text + used, room - used, "%s%.*s",
				       used ? " < " : "", size, name);

		if (n < 0 || (size_t)n >= room - used)
			break;
		used += (size_t)n;
	}
	text[used] = '\0';
	free(names);
}

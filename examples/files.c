/* SPDX-License-Identifier: MIT */
/*
 * The examples serve their pages from the source tree, so that they can be
 * changed while a server runs. SAMPLER_STATIC names another folder.
 */
#include "files.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *example_files(void)
{
	static const char *const tries[] = { "../../examples/static",
					     "../examples/static", "examples/static" };
	static char path[4096 + 64];
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *folder;

	if (getenv("SAMPLER_STATIC"))
		return getenv("SAMPLER_STATIC");
	self[n > 0 ? n : 0] = '\0';
	folder = dirname(self);
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, tries[i]);
		if (access(path, R_OK | X_OK) == 0)
			return path;
	}
	return "examples/static";
}

/* SPDX-License-Identifier: MIT */
/* Names of files that stay true: a daemon changes its directory. */
#include "base/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int path_absolute(const char *path, char **ret_path)
{
	char *here = NULL;
	int n;

	if (path[0] != '/') {
		here = getcwd(NULL, 0);
		if (!here)
			return -errno;
	}
	n = asprintf(ret_path, "%s%s%s", here ? here : "", here ? "/" : "", path);
	free(here);
	return n < 0 ? -ENOMEM : 0;
}

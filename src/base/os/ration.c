/* SPDX-License-Identifier: MIT */
/* Whether processor time is rationed: control groups, version 2 (cgroups(7)). */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/os/os.h"

static bool find_group(const char *self, char *ret_path, size_t size);
static bool has_quota(const char *root, const char *path);

bool os_processors_are_rationed_at(const char *root, const char *self)
{
	char path[PATH_MAX];
	char *end;

	if (!find_group(self, path, sizeof(path)))
		return false;
	/* What holds for a group holds for all within it. */
	while (!has_quota(root, path)) {
		end = strrchr(path, '/');
		if (!end)
			return false;
		*end = '\0';
	}
	return true;
}

/* The line of version 2 is "0::PATH". */
static bool find_group(const char *self, char *ret_path, size_t size)
{
	FILE *file = fopen(self, "re");
	char line[PATH_MAX + 16];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		found = strncmp(line, "0::/", 4) == 0;
	}
	fclose(file);
	if (!found)
		return false;
	return (size_t)snprintf(ret_path, size, "%s", line[4] ? line + 3 : "") < size;
}

/* "max PERIOD", or a number of microseconds in each. */
static bool has_quota(const char *root, const char *path)
{
	char name[2 * PATH_MAX];
	char text[64];
	bool has;
	FILE *file;

	snprintf(name, sizeof(name), "%s%s/cpu.max", root, path);
	file = fopen(name, "re");
	if (!file)
		return false;
	has = fgets(text, sizeof(text), file) && strncmp(text, "max", 3) != 0;
	fclose(file);
	return has;
}

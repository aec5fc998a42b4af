/* SPDX-License-Identifier: MIT */
/* The levels of the log, by number and by name. */
#include "base/log_level.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

static const struct log_level_row rows[] = {
	{ CREW_DEBUG, 7, "debug", "\033[2m" },
	{ CREW_INFO, 6, "info", "" },
	{ CREW_WARNING, 4, "warning", "\033[33m" },
	{ CREW_ERROR, 3, "error", "\033[31m" },
	{ CREW_CRITICAL, 2, "critical", "\033[1;31m" },
};

const struct log_level_row *log_level_row(int level)
{
	size_t i = COUNT_OF(rows) - 1;

	while (i > 0 && rows[i].level > level)
		i--;
	return &rows[i];
}

int log_level_by_name(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].level;
	}
	return 0;
}

const char *log_level_name(int level)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (rows[i].level == level)
			return rows[i].name;
	}
	return NULL;
}

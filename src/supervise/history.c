/* SPDX-License-Identifier: MIT */
/*
 * The last deaths, with what is known of each, and the names of exit codes
 * (sysexits.h, and what shells and this library add).
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "supervise/private.h"

static const char *const exit_names[] = {
	[EX_USAGE] = "EX_USAGE",
	[EX_DATAERR] = "EX_DATAERR",
	[EX_NOINPUT] = "EX_NOINPUT",
	[EX_NOUSER] = "EX_NOUSER",
	[EX_NOHOST] = "EX_NOHOST",
	[EX_UNAVAILABLE] = "EX_UNAVAILABLE",
	[EX_SOFTWARE] = "EX_SOFTWARE",
	[EX_OSERR] = "EX_OSERR",
	[EX_OSFILE] = "EX_OSFILE",
	[EX_CANTCREAT] = "EX_CANTCREAT",
	[EX_IOERR] = "EX_IOERR",
	[EX_TEMPFAIL] = "EX_TEMPFAIL",
	[EX_PROTOCOL] = "EX_PROTOCOL",
	[EX_NOPERM] = "EX_NOPERM",
	[EX_CONFIG] = "EX_CONFIG",
	[126] = "not executable",
	[127] = "not found",
};

const char *exit_code_name(int code)
{
	if (code == EX_OK)
		return "EX_OK";
	if (code < 0 || code >= (int)COUNT_OF(exit_names) || !exit_names[code])
		return "";
	return exit_names[code];
}

/* The newest is the first; without memory for its lines it goes without. */
void history_add(struct plan *plan, const struct crew_death *death)
{
	struct crew_death *oldest = &plan->deaths[DEATHS_KEPT - 1];
	char *lines = strdup(death->last_lines);

	if (plan->death_count == DEATHS_KEPT)
		free((char *)(uintptr_t)oldest->last_lines);
	else
		plan->death_count++;
	memmove(&plan->deaths[1], &plan->deaths[0],
		(DEATHS_KEPT - 1) * sizeof(plan->deaths[0]));
	plan->deaths[0] = *death;
	plan->deaths[0].last_lines = lines;
}

void history_free(struct plan *plan)
{
	for (unsigned i = 0; i < plan->death_count; i++)
		free((char *)(uintptr_t)plan->deaths[i].last_lines);
	plan->death_count = 0;
}

size_t plan_deaths(const struct plan *plan, struct crew_death *ret_deaths,
		   size_t room)
{
	for (size_t i = 0; i < plan->death_count && i < room; i++) {
		ret_deaths[i] = plan->deaths[i];
		if (!ret_deaths[i].last_lines)
			ret_deaths[i].last_lines = "";
	}
	return plan->death_count;
}

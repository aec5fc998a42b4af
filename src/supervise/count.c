/* SPDX-License-Identifier: MIT */
/*
 * How many children suit this machine: $WEB_CONCURRENCY, or the processors that
 * this process may really use less one, at least two. A container often sees
 * all processors of its machine and may use the time of one: so its cgroup's
 * quota counts as much as its affinity.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/os/os.h"
#include "supervise/limits.h"
#include "supervise/supervise.h"

static unsigned of_environment(void);

unsigned crew_default_count(char *ret_why, size_t why_size)
{
	const unsigned asked = of_environment();
	const unsigned processors = os_processors();
	const unsigned quota = os_cpu_quota_percent();
	const unsigned usable = os_usable_processors();
	const unsigned count = usable > 3 ? usable - 1 : 2;
	char scratch[1];

	if (!ret_why) {
		ret_why = scratch;
		why_size = sizeof(scratch);
	}
	if (asked) {
		snprintf(ret_why, why_size, "WEB_CONCURRENCY is %u", asked);
		return asked;
	}
	if (quota)
		snprintf(ret_why, why_size,
			 "%u processors by affinity, %u.%02u by the cgroup's quota, "
			 "less one, at least 2", processors, quota / 100, quota % 100);
	else
		snprintf(ret_why, why_size,
			 "%u processors by affinity, no quota of the cgroup, less "
			 "one, at least 2", processors);
	return count;
}

/* What is no number from 1 on counts as not set. */
static unsigned of_environment(void)
{
	const char *text = getenv("WEB_CONCURRENCY");
	char *end;
	unsigned long number;

	if (!text || *text < '0' || *text > '9')
		return 0;
	number = strtoul(text, &end, 10);
	return *end || number > CHILDREN_MAX ? 0 : (unsigned)number;
}

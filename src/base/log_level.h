/* SPDX-License-Identifier: MIT */
/* Private to the log: the levels, what they are called, and how they are shown. */
#ifndef BASE_LOG_LEVEL_H
#define BASE_LOG_LEVEL_H

struct log_level_row {
	int level;
	int priority; /* syslog(3) */
	const char *name;
	const char *colour;
};

/** Of the highest level that is no higher; never NULL. */
const struct log_level_row *log_level_row(int level);

#endif

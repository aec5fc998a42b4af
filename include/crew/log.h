/* SPDX-License-Identifier: MIT */
#ifndef CREW_LOG_H
#define CREW_LOG_H

/** Log levels; numbers grow with gravity. */
enum crew_level {
	CREW_DEBUG = 10,
	CREW_INFO = 20,
	CREW_WARNING = 30,
	CREW_ERROR = 40,
	CREW_CRITICAL = 50,
};

#endif

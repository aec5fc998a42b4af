/* SPDX-License-Identifier: MIT */
#ifndef CREW_ERROR_H
#define CREW_ERROR_H

/**
 * What went wrong, in words for a person: what, where, and what to do next.
 * The caller owns it; functions that take one fill it only when they fail.
 */
struct crew_error {
	int code;       /* a positive errno value, or 0 */
	char text[500]; /* one line, NUL-terminated, without a newline */
};

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The scoreboard: anonymous shared memory, made before the first fork and so
 * inherited by every child. A line is a page, so that a child can make all the
 * others read-only for itself: a wild pointer cannot forge a neighbour's pulse.
 */
#include "supervise/scoreboard.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/check.h"

_Static_assert(sizeof(struct score) <= SCORE_STRIDE, "a line fits into a page");

const char *const child_state_names[CHILD_STATE_COUNT] = {
	[CHILD_EMPTY] = "empty",       [CHILD_STARTING] = "starting",
	[CHILD_READY] = "ready",       [CHILD_BUSY] = "busy",
	[CHILD_PAUSED] = "paused",     [CHILD_DRAINING] = "draining",
	[CHILD_DEAD] = "dead",
};

int scoreboard_init(struct scoreboard *board, unsigned lines)
{
	void *base = mmap(NULL, (size_t)lines * SCORE_STRIDE,
			  PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		return -ENOMEM;
	*board = (struct scoreboard){ base, lines };
	return 0;
}

void scoreboard_fini(struct scoreboard *board)
{
	if (board->base)
		munmap(board->base, (size_t)board->lines * SCORE_STRIDE);
	*board = (struct scoreboard){ 0 };
}

struct score *scoreboard_line(const struct scoreboard *board, unsigned line)
{
	check(line < board->lines);
	return (struct score *)(void *)(board->base + (size_t)line * SCORE_STRIDE);
}

int scoreboard_become(struct scoreboard *board, unsigned line)
{
	const size_t at = (size_t)line * SCORE_STRIDE;
	const size_t all = (size_t)board->lines * SCORE_STRIDE;

	check(line < board->lines);
	if (at > 0 && mprotect(board->base, at, PROT_READ) < 0)
		return -errno;
	if (at + SCORE_STRIDE < all &&
	    mprotect(board->base + at + SCORE_STRIDE, all - at - SCORE_STRIDE,
		     PROT_READ) < 0)
		return -errno;
	return 0;
}

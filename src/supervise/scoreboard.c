/* SPDX-License-Identifier: MIT */
/*
 * The scoreboard: anonymous shared memory, made before the first fork and so
 * inherited by every child. A line is a page, so that a child can make all the
 * others read-only for itself: a wild pointer cannot forge a neighbour's pulse. A
 * child that was taken over still could; but not whose line it is, which is memory
 * that children cannot make writable.
 */
#include "supervise/scoreboard.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/os/os.h"

static const char *const state_names[] = {
	[CREW_CHILD_EMPTY] = "empty",   [CREW_CHILD_STARTING] = "starting",
	[CREW_CHILD_READY] = "ready",   [CREW_CHILD_BUSY] = "busy",
	[CREW_CHILD_PAUSED] = "paused", [CREW_CHILD_DRAINING] = "draining",
	[CREW_CHILD_STALE] = "stale",   [CREW_CHILD_DEAD] = "dead",
};
_Static_assert(COUNT_OF(state_names) == CREW_CHILD_COUNT, "every state has a name");

static size_t lines_size(const struct scoreboard *board)
{
	return board->lines * board->stride;
}

static size_t head_size(unsigned lines)
{
	return sizeof(struct scoreboard_head) + lines * sizeof(struct score_owner);
}

const char *crew_child_state_name(enum crew_child_state state)
{
	return (unsigned)state < CREW_CHILD_COUNT ? state_names[state] : "unknown";
}

int scoreboard_init(struct scoreboard *board, unsigned lines)
{
	struct scoreboard made = { .stride = os_page_bytes(), .lines = lines };
	void *head;

	check(sizeof(struct score) <= made.stride);
	made.base = mmap(NULL, lines_size(&made), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (made.base == MAP_FAILED)
		return -ENOMEM;
	made.head_fd = os_memory_publish("crew-scoreboard", head_size(lines), &head);
	if (made.head_fd < 0) {
		munmap(made.base, lines_size(&made));
		return made.head_fd;
	}
	made.head = head;
	*board = made;
	return 0;
}

void scoreboard_fini(struct scoreboard *board)
{
	if (board->head) {
		munmap(board->head, head_size(board->lines));
		munmap(board->base, lines_size(board));
		close(board->head_fd);
	}
	*board = (struct scoreboard){ 0 };
}

struct score *scoreboard_line(const struct scoreboard *board, unsigned line)
{
	check(line < board->lines);
	return (struct score *)(void *)(board->base + line * board->stride);
}

struct score_owner *scoreboard_owner(const struct scoreboard *board,
				     const struct score *line)
{
	const size_t at = (size_t)((const unsigned char *)line - board->base);

	check(at < lines_size(board));
	return &board->head->owners[at / board->stride];
}

unsigned scoreboard_used(const struct scoreboard *board)
{
	return atomic_load_explicit(&board->head->used, memory_order_relaxed);
}

const struct score *scoreboard_next(const struct scoreboard *board, unsigned group,
				    const struct score *last)
{
	const unsigned used = scoreboard_used(board);
	unsigned line = 0;

	if (last)
		line = (unsigned)(scoreboard_owner(board, last) - board->head->owners) + 1;
	for (; line < used; line++) {
		const struct score *score = scoreboard_line(board, line);

		if (score_state(score) != CREW_CHILD_EMPTY &&
		    atomic_load_explicit(&board->head->owners[line].group,
					 memory_order_relaxed) == group)
			return score;
	}
	return NULL;
}

void scoreboard_use(struct scoreboard *board, unsigned line)
{
	if (line >= scoreboard_used(board))
		atomic_store_explicit(&board->head->used, line + 1,
				      memory_order_relaxed);
}

int scoreboard_become(struct scoreboard *board, unsigned line)
{
	const int r = os_memory_only_read(board->head, head_size(board->lines), board->head_fd);

	if (r < 0)
		return r;
	if (mprotect(board->base, lines_size(board), PROT_READ) < 0)
		return -errno;
	return scoreboard_open_line(board, line);
}

int scoreboard_open_line(struct scoreboard *board, unsigned line)
{
	return mprotect(scoreboard_line(board, line), board->stride,
			PROT_READ | PROT_WRITE) < 0 ? -errno : 0;
}

void score_set_status(struct score *score, const char *text, size_t size)
{
	size_t i;

	for (i = 0; i < size && i < SCORE_STATUS_BYTES - 1; i++)
		atomic_store_explicit(&score->status[i], text[i],
				      memory_order_relaxed);
	atomic_store_explicit(&score->status[i], 0, memory_order_relaxed);
}

void score_get_status(const struct score *score, char ret_text[SCORE_STATUS_BYTES])
{
	for (size_t i = 0; i < SCORE_STATUS_BYTES; i++)
		ret_text[i] = atomic_load_explicit(&score->status[i],
						   memory_order_relaxed);
	ret_text[SCORE_STATUS_BYTES - 1] = '\0';
}

/* SPDX-License-Identifier: MIT */
/*
 * The scoreboard: one line of shared memory per child, written by that child
 * alone, read by all. A heartbeat is a store into it, not a message. The
 * parent makes it before it forks, with room for children that come later, and
 * re-initialises a line (when its child is dead) for the next one. For another
 * program, which knows nothing of it, the parent writes the line. Whose a line is
 * stands before them all, where no child can write it: none can pass for another.
 */
#ifndef SUPERVISE_SCOREBOARD_H
#define SUPERVISE_SCOREBOARD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <crew/supervise.h>

#define SCORE_STATUS_BYTES 128u
#define SCORE_FIGURES 96u

/** A child's line: a page, so that others can map it read-only. All stores are
 * relaxed: each field stands alone. */
struct score {
	_Atomic uint32_t state; /* enum crew_child_state */
	_Atomic uint32_t mark;  /* the parent's: it is to be seen as draining, or as
				   stale; 0 */
	_Atomic uint32_t log_level; /* the parent's: what the child is to log */
	_Atomic uint64_t heartbeat_ms; /* monotonic */
	_Atomic uint64_t served;
	_Atomic uint64_t request_id;   /* in hand, 0 if none */
	_Atomic uint64_t alive_ms;     /* when it said last that it goes on with what it has
					  begun, for longer than it would be given */
	_Atomic uint64_t connections;  /* dispatcher: open now */
	_Atomic uint64_t bells;        /* rung by this child */
	_Atomic uint64_t moves;        /* to its dispatcher's processor */
	_Atomic uint64_t streams;      /* that it holds */
	/* Numbers that mean something to others of its kind. */
	_Atomic uint64_t figures[SCORE_FIGURES];
	/* What the child says of itself; may be read half written, and need not
	 * end: readers copy it and end it themselves. */
	_Atomic char status[SCORE_STATUS_BYTES];
};

/* Address space only: a page is memory once it is written to. */
#define SCOREBOARD_LINES 4096u

/** Whose a line is. */
struct score_owner {
	_Atomic uint32_t group;
	_Atomic uint32_t index;
	_Atomic uint32_t generation;
	_Atomic int32_t pid;
};

struct scoreboard_head {
	_Atomic uint32_t used; /* lines from here on were never used */
	struct score_owner owners[]; /* of each line */
};

struct scoreboard {
	struct scoreboard_head *head; /* the parent's */
	unsigned char *base;
	size_t stride; /* of a line: a page */
	unsigned lines;
	int head_fd;
};

/** 0 or -errno. */
int scoreboard_init(struct scoreboard *board, unsigned lines);
void scoreboard_fini(struct scoreboard *board);
struct score *scoreboard_line(const struct scoreboard *board, unsigned line);
/** Whose a line of it is: the parent's to write. */
struct score_owner *scoreboard_owner(const struct scoreboard *board,
				     const struct score *line);
/** How many lines there may be something in: all below that. */
unsigned scoreboard_used(const struct scoreboard *board);
/** The next line, behind `last` (NULL: the first one), of a child of that group, be it dead;
 * NULL: there is none. */
const struct score *scoreboard_next(const struct scoreboard *board, unsigned group,
				    const struct score *last);
/** In the parent: this line is going to be used. */
void scoreboard_use(struct scoreboard *board, unsigned line);
/** In a child: make all lines but its own read-only, which guards against wild pointers, and
 * whose they are for good. 0 or -errno. */
int scoreboard_become(struct scoreboard *board, unsigned line);
/** In a host of threads: one more line is its own. 0 or -errno. */
int scoreboard_open_line(struct scoreboard *board, unsigned line);

void score_set_status(struct score *score, const char *text, size_t size);
void score_get_status(const struct score *score, char ret_text[SCORE_STATUS_BYTES]);

static inline void score_set_state(struct score *score, enum crew_child_state state)
{
	atomic_store_explicit(&score->state, state, memory_order_relaxed);
}

/** What it is, or how the parent has marked it. */
static inline enum crew_child_state score_state(const struct score *score)
{
	uint32_t state = atomic_load_explicit(&score->state, memory_order_relaxed);
	uint32_t mark = atomic_load_explicit(&score->mark, memory_order_relaxed);

	if (mark && state != CREW_CHILD_EMPTY && state != CREW_CHILD_DEAD)
		state = mark;
	return state < CREW_CHILD_COUNT ? (enum crew_child_state)state
					: CREW_CHILD_EMPTY;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The scoreboard: one line of shared memory per child, written by that child
 * alone, read by all. A heartbeat is a store into it, not a message. The
 * parent makes it before it forks and re-initialises a line (when its child is
 * dead) for the next child in that place.
 */
#ifndef SUPERVISE_SCOREBOARD_H
#define SUPERVISE_SCOREBOARD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum child_state {
	CHILD_EMPTY = 0,
	CHILD_STARTING,
	CHILD_READY,
	CHILD_BUSY,
	CHILD_PAUSED,
	CHILD_DRAINING,
	CHILD_DEAD,
	CHILD_STATE_COUNT
};

extern const char *const child_state_names[CHILD_STATE_COUNT];

/** A child's line: a page, so that others can map it read-only. All stores are
 * relaxed: each field stands alone. */
struct score {
	_Atomic uint32_t state;
	_Atomic uint32_t generation;
	_Atomic int32_t pid;
	_Atomic uint64_t heartbeat_ms; /* monotonic */
	_Atomic uint64_t served;
	_Atomic uint64_t request_id;   /* in hand, 0 if none */
	_Atomic uint64_t request_since_ms;
	_Atomic uint64_t connections;  /* dispatcher: open now */
	_Atomic uint64_t bells;        /* rung by this child */
};

#define SCORE_STRIDE 4096u

struct scoreboard {
	unsigned char *base;
	unsigned lines;
};

/** 0 or -ENOMEM. */
int scoreboard_init(struct scoreboard *board, unsigned lines);
void scoreboard_fini(struct scoreboard *board);
struct score *scoreboard_line(const struct scoreboard *board, unsigned line);
/** In a child: make all lines but its own read-only. 0 or -errno. */
int scoreboard_become(struct scoreboard *board, unsigned line);

#endif

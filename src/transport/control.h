/* SPDX-License-Identifier: MIT */
/*
 * What passes between the parent and its children over their channels. Rare
 * messages; the requests themselves go over links.
 */
#ifndef TRANSPORT_CONTROL_H
#define TRANSPORT_CONTROL_H

#include <stdint.h>

enum control_kind {
	CONTROL_NONE = 0,
	/* parent to dispatcher */
	CONTROL_LINK_UP,    /* a worker has a new link; with the three descriptors of
			       struct link_fds: memory, bell[0], bell[1] */
	CONTROL_LINK_DOWN,  /* that worker is dead; cause, detail and signal say how */
	CONTROL_DEATH,      /* so was that one, before this dispatcher was there */
	CONTROL_DRAIN,      /* that worker is leaving: give it no more requests */
	CONTROL_DEGRADED,   /* the pool's workers fail (detail 1), or work again (0) */
	CONTROL_GROUP,      /* the same of the group `pool` beside the pools, and its restarts */
	/* parent to worker */
	CONTROL_LINK,       /* your link to the dispatcher `index`, whose process is `pid`
			       (0: it has none now); with the three descriptors. A second
			       one means that this dispatcher was replaced */
	CONTROL_CONFIG,     /* a configuration: with a file that holds a pool's name,
			       a NUL, and JSON text. From any worker or the dispatcher
			       to the parent, and from there to the pool's workers */
	/* any worker or the dispatcher to the parent */
	CONTROL_LOG_LEVEL,  /* workers of that pool (CONTROL_ALL: everybody) log from the
			       level `detail` on */
	CONTROL_RELOAD,     /* replace the workers of that pool, one by one */
	CONTROL_SCALE,      /* that pool is to have `detail` workers more, or fewer */
	/* dispatcher to parent, and from there to the other dispatchers */
	CONTROL_PUBLISH,    /* an event: with a file that holds a wire_publish */
	/* dispatcher to parent */
	CONTROL_CONDEMN,    /* kill that worker, with that cause */
	CONTROL_KIND_COUNT
};

#define CONTROL_ALL UINT32_MAX

/* So many deaths of workers /status lists, and a new dispatcher is told of. */
#define CONTROL_DEATHS 10u

/* The text of a configuration. The parent keeps the last one for each worker to come. */
#define CONFIG_MAX_BYTES (16u * 1024u * 1024u)

struct control {
	uint32_t kind;
	uint32_t pool;
	uint32_t index;
	uint32_t generation; /* of the worker */
	int32_t pid;
	uint32_t cause;      /* enum crew_cause */
	int32_t detail;      /* of a death: its signal, or else its exit code, -1: unknown */
	int32_t signal;      /* that ended it; 0: none */
	uint64_t restarts;   /* of the pool, so far */
	int64_t at;          /* of a death, in seconds since 1970 */
};

#endif

/* SPDX-License-Identifier: MIT */
/* What the files of this room share: supervisor.c is the public face of
 * supervise, checks.c refuses plans that make no sense, paths.c keeps what they name,
 * console.c reads commands from the terminal. */
#ifndef MANAGE_PRIVATE_H
#define MANAGE_PRIVATE_H

#include <crew/supervise.h>

#include "manage/become.h"
#include "supervise/supervise.h"

/* What a group names, by absolute paths; NULL: it does not, or is not changed. */
struct kept_paths {
	char *out, *error; /* files of its streams */
	char *directory;
	char *program;     /* the first word of its command */
	const char **command;
};

struct crew_supervisor {
	struct crew_plan tables;
	struct plan *plan;
	struct become become;
	struct watch console;
	char *console_line;     /* what was typed of one */
	size_t console_used;
	struct kept_paths paths[CREW_GROUPS_MAX];
	unsigned calling;       /* callbacks that run, one in another */
	bool began;             /* on_start has let it */
	bool shut_down;         /* on_shutdown was called */
	bool own_signals;       /* crew_supervise, not crew_plan_start */
};

/** 0, or -EINVAL with the row that is wrong and why. */
int check_plan(const struct crew_plan *plan, bool own_process,
	       struct crew_error *ret_error);
/** The same of its descriptors, which on_start may have opened. */
int check_descriptors(const struct crew_plan *plan, struct crew_error *ret_error);
/** Before the directory changes: make all that groups name absolute. 0 or -errno. */
int paths_keep(struct crew_supervisor *supervisor, struct crew_error *ret_error);
void paths_free(struct crew_supervisor *supervisor);
/** Read commands from standard input, if it is a terminal. */
void console_open(struct crew_supervisor *supervisor);
void console_close(struct crew_supervisor *supervisor);

#endif

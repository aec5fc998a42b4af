/* SPDX-License-Identifier: MIT */
/* What the files of this room share: supervisor.c is the public face of
 * supervise, checks.c refuses plans that make no sense, paths.c keeps what they name,
 * console.c reads commands from the terminal, and answers through console_output.c. */
#ifndef MANAGE_PRIVATE_H
#define MANAGE_PRIVATE_H

#include <crew/supervise.h>

#include "manage/become.h"
#include "manage/group_tables.h"
#include "supervise/supervise.h"

/* What the console has to say. */
struct console_output {
	int fd;
	size_t at_once;    /* bytes that may be written for one yes of poll(2) */
	char *text;        /* not yet written; malloc'ed */
	size_t used;
	struct timer room; /* to ask again */
	bool is_open;
};

struct crew_supervisor {
	struct crew_plan tables;
	struct plan *plan;
	struct become become;
	struct watch console;
	char *console_line;     /* what was typed of one */
	size_t console_used;
	struct kept_paths paths[CREW_GROUPS_MAX];
	struct console_output console_output;
	unsigned calling;       /* callbacks that run, one in another */
	bool began;             /* on_start has let it */
	bool shut_down;         /* on_shutdown was called */
	bool own_signals;       /* crew_supervise, not crew_plan_start */
};

unsigned group_count(const struct crew_plan *plan);
/** 0, or -EINVAL with what is wrong with it, or with a group, and why. */
int check_plan(const struct crew_plan *plan, bool own_process,
	       struct crew_error *ret_error);
/** Read commands from standard input, if it is a terminal. */
void console_open(struct crew_supervisor *supervisor);
void console_close(struct crew_supervisor *supervisor);
/** What the console says from now on goes to standard output, whatever that is. */
void console_open_output(struct crew_supervisor *supervisor);
/** What cannot be written now is lost. Harmless if it was not opened. */
void console_close_output(struct crew_supervisor *supervisor);
/** Keep a text for the next flush. What would be too much is dropped. */
void console_say(struct crew_supervisor *supervisor, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** Write it without blocking; what finds no room follows when there is some. */
void console_flush(struct crew_supervisor *supervisor);

#endif

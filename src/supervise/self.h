/* SPDX-License-Identifier: MIT */
/*
 * A child as it knows itself: what <crew/supervise.h> calls struct crew_child.
 * Made by spawn.c in a new process, by host.c for a thread. Code of the library
 * that runs in children (workers, the dispatcher) looks into it.
 */
#ifndef SUPERVISE_SELF_H
#define SUPERVISE_SELF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include <crew/supervise.h>

#include "supervise/scoreboard.h"

enum self_asked { ASKED_NOTHING = 0, ASKED_TO_FINISH, ASKED_TO_INTERRUPT };

struct crew_child {
	const char *group;
	unsigned group_index;
	unsigned index;
	unsigned generation; /* from 1: how often this place was filled */
	unsigned line;       /* of the scoreboard */
	int channel;         /* to the parent (os_channel_*); EOF: it is gone */
	int stop_fd;         /* readable once it is asked to stop */
	pid_t parent;
	struct score *score; /* own line, writable */
	struct scoreboard *board;
	const struct crew_group *options;
	void *argument;
	_Atomic int asked;   /* enum self_asked */
	bool is_thread;
	bool stops_later;    /* than another group: it asks the parent before it stops */
	_Atomic bool ran;    /* run() is over: nothing is to interrupt what follows */
};

/** Run what the group's table says, from on_start to on_shutdown; returns the
 * exit code. */
int self_live(struct crew_child *self);
/** In a process, before self_live: let SIGTERM and SIGINT do what the public
 * header says. 0 or -errno. */
int self_take_signals(struct crew_child *self);
/** In a process whose code has a loop of its own (`raw`): SIGTERM makes
 * stop_fd readable, and interrupts nothing. 0 or -errno. */
int self_block_signals(struct crew_child *self);
/** For such code: was it asked to stop? Takes what made stop_fd readable, and says whether it
 * was the parent who asked (a thread hears nobody else). */
bool self_take_stop(struct crew_child *self, bool *ret_by_parent);
/** Tell the parent that somebody else asks this process to stop. It lets it go, unless all are
 * asked to stop, in which case it is this process's turn when the parent says so: systemd by
 * default sends SIGTERM to all of a service, systemd.kill(5). 0 or -errno. */
int self_ask_to_leave(struct crew_child *self);
/** Tell the parent that it has done its share: it is told to stop when its successor is ready, one
 * child of a group at a time. 0 or -errno. */
int self_ask_for_successor(struct crew_child *self);
/** From another thread: ask a thread to stop, and make stop_fd readable. */
void self_ask(struct crew_child *self, enum self_asked what);
/** Tell the parent that it is ready, which is told once: waits while the channel has no room
 * (until it is asked to stop). */
void self_tell_ready(struct crew_child *self);
/** The signal that makes blocking calls of a thread return. */
int self_interrupt_signal(void);
/** Let that signal do nothing but interrupt. */
void self_allow_interrupts(void);

#endif

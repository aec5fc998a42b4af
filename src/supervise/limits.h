/* SPDX-License-Identifier: MIT */
/* The numbers of this room, with their reasons. */
#ifndef SUPERVISE_LIMITS_H
#define SUPERVISE_LIMITS_H

/* Lines of a child that are kept for its post-mortem, and how much of each. */
#define LAST_LINES 10u
#define LAST_LINE_BYTES 500u
/* The longest line that is kept whole; the log cuts there too. */
#define LINE_MAX_BYTES 8192u
/* A child that was never ready is started again with a delay that doubles, from
 * the first to the second number. */
#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MAX_MS 5000u
/* Children of one group that die in one second before that counts as failing. */
#define DEATHS_A_SECOND 100u
/* A child that ends by itself so soon, and more often than this in a row, waits too. And a program
 * that says nothing of itself takes nobody's place before it has lived for so long. */
#define MOMENT_MS 1000u
#define MOMENTS_MAX 3u
/* A group gives up if each of its places failed so often before any was ready. */
#define BOOT_FAILURES 3u
/* How often clocks are looked at; and each how many looks a child's memory and
 * descriptors, which cost a system call or two. */
#define HEALTH_MS 100u
#define LIMIT_TICKS 10u
/* How much more memory than its limit, as a part of that, a child may have while it is replaced. */
#define RSS_GRACE_PART 4u
/* Who has so low a limit of descriptors has given them up (a sandbox), and leaks none. */
#define DESCRIPTORS_FEW 64u
/* A child that somebody else asked to stop waits so long for a word of the parent's: what is
 * sent to all processes of a group reaches one after another. */
#define LEAVE_MS 200u
/* From the end of a rolling restart until the next of that group begins: who asks for one at each
 * failure would have nothing else. */
#define ROLL_AGAIN_MS 1000u
/* A signal to stop that comes so soon after the first is the same wish: who stops a service may
 * tell its parent, and then all of its processes. */
#define STOP_AGAIN_MS 500u
/* A parent that looks so much later than it wanted to was stopped, or all were (SIGSTOP,
 * cgroups(7)'s freezer). */
#define PAUSED_MS 1000u
/* Messages of one child that are heard before others have their turn. */
#define MESSAGES_A_TURN 64u
/* How often a full sink, or the channel of a host, is asked whether it has room. */
#define ROOM_MS 20u
/* A thread whose channel is closed has ended, if its host is still there so much later: of a
 * process that dies the channels are closed first. */
#define CUT_MS 200u
/* Who is dead and cannot be waited for is held by a debugger, and buried after so long (those
 * who look on, like strace, take less); it is looked at so often until then. */
#define HELD_MS 500u
#define HELD_LOOK_MS 20u
/* Of whom the kernel killed for memory we hear so soon, if it was a child of ours. */
#define OOM_CLAIM_MS 2000u
/* The history of deaths. */
#define DEATHS_KEPT 32u
/* "Most children are failing" is said once in so long. */
#define FAILING_AGAIN_MS 600000u
/* Descriptors that a child may keep: those of its group's table (CREW_GROUP_FDS_MAX), its channel,
 * and what the rooms above give it. */
#define KEEP_MAX 128
/* Stale threads for each of a group before its host is replaced as a whole. */
#define STALE_EACH 3u
/* Children of one group, and of a plan (lines of the scoreboard). */
#define CHILDREN_MAX 1024u
/* Silence of a host, after that of its thread, until the host is judged first. */
#define HOST_BEAT_MS 100u
/* Files of streams and of a daemon's log, unless said otherwise. */
#define ROTATE_BYTES (UINT64_C(8) << 20)
#define ROTATE_KEEP 8u

/* A child's standard stream: what waits for the parent before a line of a child's
 * log is dropped (programs that print are held up instead). */
#define STREAM_PIPE_BYTES (256 * 1024)

#endif

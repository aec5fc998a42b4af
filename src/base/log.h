/* SPDX-License-Identifier: MIT */
/*
 * Log lines. In a child a line goes to standard error as one write that starts
 * with a syslog priority ("<3>"), as programs under systemd do; the parent
 * reads it from the child's pipe, and writes it with time, level and origin.
 * Control bytes in a message are escaped, so one message is one line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <crew/log.h>

/** How lines leave a child: "<priority>message", the parent adds the rest. One
 * more than the forms of enum crew_log_form. */
#define LOG_FORM_CHILD 100

/** Choose the form from the environment and standard error: systemd if
 * JOURNAL_STREAM names it, else plain, in colour if it is a terminal and
 * NO_COLOR is unset. A line that would block is dropped, and log_line's are counted. */
void log_init(void);
/** Standard error may be another file than at log_init: give up a terminal that it
 * is no longer. */
void log_follow(void);
/** Is that the socket of the journal, by JOURNAL_STREAM (systemd.exec(5))? */
bool log_is_journal(int fd);
/** After a fork: lines of this process go through its pipe to the parent. */
void log_become_child(void);
/** The form of this process's lines; CREW_LOG_AUTO: as log_init chose. */
void log_set_form(enum crew_log_form form);
/** Lines below `level` are not written. Default: info. Levels here are enum crew_level;
 * int, since what a child or a person says may be none of them. */
void log_set_level(int level);
int log_level(void);
/** In a child: its level is this word, which the parent can change; of this
 * thread alone. 0 in it: log_set_level counts. */
void log_use_level_word(const _Atomic uint32_t *word);
/** In a child that has many workers: lines of this thread are `index`'s. The
 * parent finds "[index] " before the message. */
void log_use_index(unsigned index);
bool log_enabled(int level);
/** In the parent: ask this before a line is written; NULL: nobody. */
void log_set_taker(crew_log_taker *taker, void *context);
/** Nobody any more, if it is still this one. */
void log_forget_taker(crew_log_taker *taker, void *context);
/** Is somebody asked, who may have them instead of us? */
bool log_is_taken(void);
/** "debug" … "critical" to a level; 0 if it is no level's name. */
int log_level_by_name(const char *name);
/** NULL if the level has none. */
const char *log_level_name(int level);

/** Write a line in this process's own name ("parent" if log_init was all). */
void log_line(int level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void log_line_va(int level, const char *format, va_list arguments);
/** What a line of the access log begins with on its way to the parent: info, of a facility
 * of its own (syslog(3), local0). */
#define LOG_ACCESS_MARK "<134>"
/** Write a line of the access log. Its level is info, but who asked for it has it whatever the
 * log's level, and each counts: it is never taken for a repeated one. Only a child calls it. */
void log_access(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct rotate;
/** From now on lines go to this file, not to standard error; NULL: back. It
 * stays the caller's. */
void log_to_file(struct rotate *rotate);
/** Write a line in the name of `origin`, such as "items[2]", and of process
 * `pid` (0: none is said), whatever its level. The text need not be NUL-
 * terminated. Only the parent calls it. False: it was dropped. */
bool log_from(const char *origin, int pid, int level, const char *text, int size);
/** The same, but the line is written as it is, without its marks, but for control bytes. */
bool log_raw(const char *origin, int pid, int level, const char *text, int size);
/** A text as the log shows it, for other places that people look at: control bytes and broken
 * UTF-8 are escaped. NUL-terminated; what has no room is cut, with a mark. */
void log_escape(char *out, size_t room, const char *text, size_t size);
/** Would a line be taken now? For those who would rather wait. */
bool log_has_room(void);
/** Say how many lines of this process's own were dropped, and of a log file those of all, if
 * that was not said yet and can be now. It is said with the next line too; call it where none may
 * come for long, and before the process ends. */
void log_tell_dropped(void);
/** Are lines that log_from() and log_raw() drop counted and told by the log file itself, which
 * knows the reason? Else they are their caller's to count. */
bool log_counts(void);
/** Lines of this process's own that could not be written since the start; those that a log file
 * counts are not among them. */
uint64_t log_dropped(void);

#define log_debug(...) log_line(CREW_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(CREW_INFO, __VA_ARGS__)
#define log_warning(...) log_line(CREW_WARNING, __VA_ARGS__)
#define log_error(...) log_line(CREW_ERROR, __VA_ARGS__)
#define log_critical(...) log_line(CREW_CRITICAL, __VA_ARGS__)

#endif

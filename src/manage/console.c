/* SPDX-License-Identifier: MIT */
/*
 * The console: commands typed on the terminal while the supervisor runs. The
 * terminal stays in its own line mode, which echoes and edits: there is nothing
 * to restore, however the program ends. A Ctrl-D closes the console, and the
 * supervisor goes on. What children said is shown as the log shows it, so that it
 * cannot talk to the terminal. Nor is it held up by a terminal that was stopped: see
 * console_output.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/os/os.h"
#include "manage/private.h"

#define LINE_BYTES 1024u
#define WORDS_MAX 4
#define CHILDREN_SHOWN 512u
#define DEATHS_SHOWN 10u

struct command {
	const char *name;
	const char *usage;
	unsigned words; /* that must follow */
	void (*run)(struct crew_supervisor *supervisor, char **words);
};

static void typed(struct loop *loop, struct watch *watch, uint32_t events);
static void take_line(struct crew_supervisor *supervisor, char *line);
static void prompt(struct crew_supervisor *supervisor);
static void say(struct crew_supervisor *supervisor, int r);
static bool number_of(struct crew_supervisor *supervisor, const char *word,
		      unsigned *ret_number);
static void run_help(struct crew_supervisor *supervisor, char **words);
static void run_status(struct crew_supervisor *supervisor, char **words);
static void run_deaths(struct crew_supervisor *supervisor, char **words);
static void run_add(struct crew_supervisor *supervisor, char **words);
static void run_remove(struct crew_supervisor *supervisor, char **words);
static void run_signal(struct crew_supervisor *supervisor, char **words);
static void run_send(struct crew_supervisor *supervisor, char **words);
static void run_reload(struct crew_supervisor *supervisor, char **words);
static void run_level(struct crew_supervisor *supervisor, char **words);
static void run_stop(struct crew_supervisor *supervisor, char **words);
static void run_kill(struct crew_supervisor *supervisor, char **words);

static const struct command commands[] = {
	{ "help", "this list", 0, run_help },
	{ "status", "all children", 0, run_status },
	{ "deaths", "the last deaths, with their last lines", 0, run_deaths },
	{ "add", "GROUP [ID]: one child more", 1, run_add },
	{ "remove", "GROUP ID: stop that child, and do not start it again", 2, run_remove },
	{ "signal", "GROUP ID NUMBER: send it a signal", 3, run_signal },
	{ "send", "GROUP ID TEXT: write a line to its standard input", 3, run_send },
	{ "reload", "[GROUP]: rolling restart", 0, run_reload },
	{ "level", "[GROUP] NAME: log from debug, info, warning, error or critical on",
	  1, run_level },
	{ "stop", "stop gracefully", 0, run_stop },
	{ "kill", "stop at once", 0, run_kill },
};

void console_open(struct crew_supervisor *supervisor)
{
	if (!isatty(STDIN_FILENO))
		return;
	supervisor->console_line = malloc(LINE_BYTES);
	if (!supervisor->console_line)
		return;
	supervisor->console = (struct watch){ .fd = STDIN_FILENO, .ready = typed };
	if (loop_add(plan_loop(supervisor->plan), &supervisor->console, EPOLLIN) < 0)
		return;
	console_open_output(supervisor);
	console_say(supervisor, "Type \"help\" for commands; Ctrl-C stops.\n");
	prompt(supervisor);
}

void console_close(struct crew_supervisor *supervisor)
{
	if (supervisor->plan)
		loop_remove(plan_loop(supervisor->plan), &supervisor->console);
	console_close_output(supervisor);
	free(supervisor->console_line);
	supervisor->console_line = NULL;
}

static void typed(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct crew_supervisor *supervisor =
		container_of(watch, struct crew_supervisor, console);
	char *line = supervisor->console_line;
	char *end;
	ssize_t n;

	(void)events;
	n = read(watch->fd, line + supervisor->console_used,
		 LINE_BYTES - 1 - supervisor->console_used);
	/* The end, or the terminal is not ours to read now (EIO). */
	if (n <= 0) {
		loop_remove(loop, watch);
		return;
	}
	supervisor->console_used += (size_t)n;
	line[supervisor->console_used] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		take_line(supervisor, line);
		supervisor->console_used -= (size_t)(end + 1 - line);
		memmove(line, end + 1, supervisor->console_used + 1);
		prompt(supervisor);
	}
	if (supervisor->console_used == LINE_BYTES - 1)
		supervisor->console_used = 0;
}

static void take_line(struct crew_supervisor *supervisor, char *line)
{
	char *words[WORDS_MAX + 1] = { NULL };
	unsigned count = 0;
	char *word;

	/* The last word is the rest of the line. */
	while (count < WORDS_MAX) {
		line += strspn(line, " \t");
		if (!*line)
			break;
		word = count == WORDS_MAX - 1 ? line : strsep(&line, " \t");
		words[count++] = word;
		if (!line || word == line)
			break;
	}
	if (count == 0)
		return;
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		if (strcmp(commands[i].name, words[0]) != 0)
			continue;
		if (count - 1 < commands[i].words)
			console_say(supervisor, "%s %s\n", commands[i].name, commands[i].usage);
		else
			commands[i].run(supervisor, words + 1);
		return;
	}
	console_say(supervisor, "there is no command \"%s\"; try help\n", words[0]);
}

static void prompt(struct crew_supervisor *supervisor)
{
	console_say(supervisor, "crew> ");
	console_flush(supervisor);
}

static void say(struct crew_supervisor *supervisor, int r)
{
	if (r == -ENOENT)
		console_say(supervisor, "there is no such child; try status\n");
	else if (r < 0)
		console_say(supervisor, "%s\n", strerror(-r));
}

static bool number_of(struct crew_supervisor *supervisor, const char *word,
		      unsigned *ret_number)
{
	char *end;
	unsigned long number = strtoul(word, &end, 10);

	if (*word < '0' || *word > '9' || *end || number > INT_MAX) {
		console_say(supervisor, "\"%s\" is not a number\n", word);
		return false;
	}
	*ret_number = (unsigned)number;
	return true;
}

static void run_help(struct crew_supervisor *supervisor, char **words)
{
	(void)words;
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		console_say(supervisor, "  %-8s %s\n", commands[i].name, commands[i].usage);
}

static void run_status(struct crew_supervisor *supervisor, char **words)
{
	struct crew_child_info *children = calloc(CHILDREN_SHOWN, sizeof(*children));
	size_t count;

	(void)words;
	if (!children)
		return;
	count = crew_plan_children(supervisor, children, CHILDREN_SHOWN);
	console_say(supervisor, "%-24s %8s %5s %-9s %9s %9s %10s  %s\n", "child", "pid", "gen", "state",
	       "age s", "silent s", "rss KiB", "status");
	for (size_t i = 0; i < count && i < CHILDREN_SHOWN; i++) {
		const struct crew_child_info *child = &children[i];
		char status[2 * sizeof(child->status)];
		char name[64];

		log_escape(status, sizeof(status), child->status, strlen(child->status));
		snprintf(name, sizeof(name), "%s[%u]", child->group, child->index);
		console_say(supervisor, "%-24s %8d %5u %-9s %9.1f %9.1f %10llu  %s\n", name,
		       (int)child->pid, child->generation,
		       crew_child_state_name(child->state),
		       (double)child->age_ms / 1000, (double)child->silent_ms / 1000,
		       (unsigned long long)child->rss_bytes / 1024, status);
	}
	free(children);
}

static void run_deaths(struct crew_supervisor *supervisor, char **words)
{
	struct crew_death deaths[DEATHS_SHOWN];
	size_t count = crew_plan_deaths(supervisor, deaths, DEATHS_SHOWN);

	(void)words;
	if (count == 0)
		console_say(supervisor, "nobody has died yet\n");
	for (size_t i = 0; i < count && i < DEATHS_SHOWN; i++) {
		const struct crew_death *death = &deaths[i];

		console_say(supervisor, "%s[%u] pid %d: %s", death->group, death->index,
		       (int)death->pid, crew_cause_name(death->cause));
		if (death->signal)
			console_say(supervisor, ", %s", death->name);
		else if (death->exit_code >= 0)
			console_say(supervisor, ", exit code %d %s", death->exit_code, death->name);
		console_say(supervisor, ", after %.1f s, peak %llu KiB\n", (double)death->age_ms / 1000,
		       (unsigned long long)death->peak_rss_bytes / 1024);
		for (const char *at = death->last_lines; *at;) {
			const char *end = strchrnul(at, '\n');
			char line[2 * LINE_BYTES];

			log_escape(line, sizeof(line), at, (size_t)(end - at));
			console_say(supervisor, "    | %s\n", line);
			at = *end ? end + 1 : end;
		}
	}
}

static void run_add(struct crew_supervisor *supervisor, char **words)
{
	unsigned index = CREW_NEVER;
	int r;

	if (words[1] && !number_of(supervisor, words[1], &index))
		return;
	r = crew_plan_add(supervisor, words[0], index);
	if (r >= 0)
		console_say(supervisor, "%s[%d] starts\n", words[0], r);
	else
		say(supervisor, r);
}

static void run_remove(struct crew_supervisor *supervisor, char **words)
{
	unsigned index;

	if (number_of(supervisor, words[1], &index))
		say(supervisor, crew_plan_remove(supervisor, words[0], index, 0, NULL, NULL));
}

static void run_signal(struct crew_supervisor *supervisor, char **words)
{
	unsigned index;
	unsigned signal;

	if (number_of(supervisor, words[1], &index) && number_of(supervisor, words[2], &signal))
		say(supervisor, crew_plan_signal(supervisor, words[0], index, (int)signal));
}

static void run_send(struct crew_supervisor *supervisor, char **words)
{
	char text[LINE_BYTES + 1];
	unsigned index;
	ssize_t n;

	if (!number_of(supervisor, words[1], &index))
		return;
	snprintf(text, sizeof(text), "%s\n", words[2]);
	n = crew_plan_send(supervisor, words[0], index, text, strlen(text));
	if (n == -ENOTSUP)
		console_say(supervisor, "its group has no `input`\n");
	else if (n < 0)
		say(supervisor, (int)n);
}

static void run_reload(struct crew_supervisor *supervisor, char **words)
{
	if (crew_plan_reload(supervisor, words[0]) < 0)
		console_say(supervisor, "there is no group \"%s\"\n", words[0]);
}

static void run_level(struct crew_supervisor *supervisor, char **words)
{
	const char *group = words[1] ? words[0] : NULL;
	const char *name = words[1] ? words[1] : words[0];
	const int level = log_level_by_name(name);

	if (!level)
		console_say(supervisor, "there is no level \"%s\"\n", name);
	else if (crew_plan_set_log_level(supervisor, group, (enum crew_level)level) < 0)
		console_say(supervisor, "there is no group \"%s\"\n", group);
}

static void run_stop(struct crew_supervisor *supervisor, char **words)
{
	(void)words;
	crew_plan_stop(supervisor);
}

static void run_kill(struct crew_supervisor *supervisor, char **words)
{
	(void)words;
	plan_kill(supervisor->plan);
}

/* SPDX-License-Identifier: MIT */
/*
 * The program that tests of the supervisor run: a plan of one group, made from
 * its command line, whose children do on request what children do at worst. It
 * tells what happens as lines of JSON on standard output; the log is standard
 * error.
 *
 * A child ends with exit code N at SIGRTMIN + N (N up to 15: 0, then 64 on),
 * loops without a heartbeat at SIGUSR2, and, with --input, reads orders:
 * "exit N", "leak MIB", "open N", "say TEXT", "mutter TEXT" (the same, unflushed),
 * "random", "fds", "status TEXT".
 * With --nobody (start, run) it becomes the user 65534 then.
 * With --own-loop the parent reads orders too: "add [ID]", "remove ID [SIGNAL]",
 * "send ID TEXT", "signal ID N", "reload", "reopen", "children", "deaths", "stop".
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <crew/supervise.h>

static struct crew_plan plan;
static struct crew_group *const group = &plan.groups[0];
static unsigned ids[64];
static unsigned boot_ms;
static unsigned lines_to_say;
static unsigned rest_ms = 100;
static bool fails_to_start;
static bool blocks;
static bool own_loop;
static bool flood;
static bool handles_usr2;
static const char *becomes_nobody = ""; /* when */
static long descriptors;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- the child ---- */

static void exit_by_signal(int signal)
{
	const int number = signal - SIGRTMIN;

	_exit(number == 0 ? 0 : 63 + number);
}

static void spin(int signal)
{
	(void)signal;
	for (;;)
		;
}

static int start_one(struct crew_child *self)
{
	printf("start one %u\n", crew_index(self));
	for (int i = 0; i < 16; i++)
		sigaction(SIGRTMIN + i, &(struct sigaction){ .sa_handler = exit_by_signal },
			  NULL);
	sigaction(SIGUSR2, &(struct sigaction){ .sa_handler = spin }, NULL);
	return 0;
}

static int start_two(struct crew_child *self)
{
	(void)self;
	printf("start two\n"); /* unflushed */
	usleep(boot_ms * 1000);
	if (strcmp(becomes_nobody, "start") == 0 && setresuid(65534, 65534, 65534) < 0)
		return 77;
	return fails_to_start ? 78 : 0;
}

static void obey(struct crew_child *self, char *order)
{
	const long number = strtol(strchrnul(order, ' '), NULL, 10);
	static char *volatile memory; /* or the compiler leaves it out */

	if (strncmp(order, "mutter", 6) == 0) {
		printf("%s\n", order + 7);
		return; /* unflushed */
	}
	if (strncmp(order, "exit", 4) == 0) {
		exit((int)number);
	} else if (strncmp(order, "leak", 4) == 0) {
		memory = malloc((size_t)number << 20);
		if (memory)
			memset(memory, 1, (size_t)number << 20);
	} else if (strncmp(order, "open", 4) == 0) {
		for (long i = 0; i < number; i++)
			(void)!open("/dev/null", O_RDONLY);
	} else if (strncmp(order, "say", 3) == 0) {
		printf("%s\n", order + 4);
	} else if (strcmp(order, "random") == 0) {
		printf("random %ld %d\n", random(), rand());
	} else if (strncmp(order, "status", 6) == 0) {
		crew_child_status(self, order + 7);
	} else if (strcmp(order, "spin") == 0) {
		for (;;)
			;
	}
	fflush(stdout);
}

static void read_orders(struct crew_child *self)
{
	char text[4096];
	/* Another thread may have been faster. */
	ssize_t n = recv(STDIN_FILENO, text, sizeof(text) - 1, MSG_DONTWAIT);
	char *rest = text;
	char *line;

	if (n <= 0)
		return;
	text[n] = '\0';
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (*line)
			obey(self, line);
	}
}

static int run(struct crew_child *self)
{
	struct pollfd ready[2] = { { .fd = crew_stop_fd(self), .events = POLLIN },
				   { .fd = STDIN_FILENO, .events = POLLIN } };

	if (strcmp(becomes_nobody, "run") == 0 && setresuid(65534, 65534, 65534) < 0)
		return 77;
	for (unsigned i = 0; i < lines_to_say; i++)
		printf("line %u of child %u\n", i, crew_index(self));
	fflush(stdout);
	while (flood && crew_running(self))
		(void)!write(STDOUT_FILENO, "flood flood flood flood flood flood\n", 36);
	if (blocks) {
		int ends[2] = { -1, -1 };
		char byte;
		int r = pipe(ends);

		r = r == 0 ? (int)read(ends[0], &byte, 1) : r;
		printf("blocking call: %d, %s\n", r, strerror(errno));
		fflush(stdout);
		return 5;
	}
	while (crew_running(self)) {
		if (!group->input)
			crew_rest(self, rest_ms);
		else if (poll(ready, 2, (int)rest_ms) > 0 && ready[1].revents)
			read_orders(self);
	}
	return 0;
}

static void shut_down(struct crew_child *self)
{
	printf("shutdown %u\n", crew_index(self));
	fflush(stdout);
}

/* ---- the parent ---- */

static void tell_death(struct crew_supervisor *supervisor, const struct crew_death *death)
{
	(void)supervisor;
	printf("{\"event\":\"death\",\"at\":%.6f,\"index\":%u,\"pid\":%d,\"generation\":%u,"
	       "\"cause\":\"%s\",\"code\":%d,\"signal\":%d,\"name\":\"%s\",\"ready\":%s,"
	       "\"age_ms\":%llu,\"rss\":%llu}\n",
	       now(), death->index, (int)death->pid, death->generation,
	       crew_cause_name(death->cause), death->exit_code, death->signal, death->name,
	       death->was_ready ? "true" : "false", (unsigned long long)death->age_ms,
	       (unsigned long long)death->peak_rss_bytes);
	fflush(stdout);
}

static void tell_child(const char *event, const struct crew_child_info *child)
{
	printf("{\"event\":\"%s\",\"at\":%.6f,\"index\":%u,\"pid\":%d,\"generation\":%u,"
	       "\"state\":\"%s\",\"status\":\"%s\"}\n",
	       event, now(), child->index, (int)child->pid, child->generation,
	       crew_child_state_name(child->state), child->status);
	fflush(stdout);
}

static void tell_ready(struct crew_supervisor *supervisor,
		       const struct crew_child_info *child)
{
	(void)supervisor;
	tell_child("ready", child);
}

static void say_usr2(int signal)
{
	static const char text[] = "own USR2\n";

	(void)signal;
	(void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
}

static int tell_start(struct crew_supervisor *supervisor)
{
	if (handles_usr2)
		sigaction(SIGUSR2, &(struct sigaction){ .sa_handler = say_usr2 }, NULL);
	printf("{\"event\":\"on_start\",\"pid\":%d}\n", (int)getpid());
	fflush(stdout);
	return crew_plan_context(supervisor) == &ids ? 0 : 1;
}

static void tell_shutdown(struct crew_supervisor *supervisor)
{
	(void)supervisor;
	printf("{\"event\":\"on_shutdown\"}\n");
	fflush(stdout);
}

static void tell_pre_stop(struct crew_supervisor *supervisor)
{
	struct crew_child_info child;

	printf("{\"event\":\"parent_pre_stop\",\"children\":%zu}\n",
	       crew_plan_children(supervisor, &child, 1));
	fflush(stdout);
}

static void tell_fork(struct crew_supervisor *supervisor, const char *name, unsigned index)
{
	(void)supervisor;
	printf("{\"event\":\"pre_fork\",\"group\":\"%s\",\"index\":%u}\n", name, index);
	fflush(stdout);
}

static void tell_gone(struct crew_supervisor *supervisor, const struct crew_death *death,
		      void *argument)
{
	(void)supervisor;
	printf("{\"event\":\"gone\",\"index\":%u,\"cause\":\"%s\",\"signal\":%d,"
	       "\"argument\":\"%s\"}\n", death->index, crew_cause_name(death->cause),
	       death->signal, (const char *)argument);
	fflush(stdout);
}

static void list_all(struct crew_supervisor *supervisor)
{
	struct crew_child_info children[512];
	size_t count = crew_plan_children(supervisor, children, 512);

	for (size_t i = 0; i < count && i < 512; i++)
		tell_child("child", &children[i]);
	printf("{\"event\":\"listed\",\"count\":%zu,\"degraded\":%s}\n", count,
	       crew_plan_degraded(supervisor, group->name) ? "true" : "false");
	fflush(stdout);
}

static void list_deaths(struct crew_supervisor *supervisor)
{
	struct crew_death deaths[32];
	size_t count = crew_plan_deaths(supervisor, deaths, 32);

	for (size_t i = 0; i < count; i++) {
		tell_death(supervisor, &deaths[i]);
		printf("{\"event\":\"last_lines\",\"count\":%zu,\"bytes\":%zu}\n",
		       count, strlen(deaths[i].last_lines));
		for (const char *at = deaths[i].last_lines; *at;) {
			const char *end = strchrnul(at, '\n');

			printf("last: %.*s\n", (int)(end - at), at);
			at = *end ? end + 1 : end;
		}
	}
	printf("{\"event\":\"deaths\",\"count\":%zu}\n", count);
	fflush(stdout);
}

static void command(struct crew_supervisor *supervisor, char *line)
{
	char *word = strsep(&line, " ");
	char *id = strsep(&line, " ");
	const unsigned index = id ? (unsigned)strtoul(id, NULL, 10) : CREW_NEVER;
	long r = 0;
	char text[4096];

	if (strcmp(word, "add") == 0) {
		r = crew_plan_add(supervisor, group->name, index);
	} else if (strcmp(word, "remove") == 0) {
		r = crew_plan_remove(supervisor, group->name, index,
				     line ? (int)strtol(line, NULL, 10) : 0, tell_gone,
				     (void *)(uintptr_t)"mine");
	} else if (strcmp(word, "signal") == 0) {
		r = crew_plan_signal(supervisor, group->name, index,
				     (int)strtol(line, NULL, 10));
	} else if (strcmp(word, "send") == 0) {
		snprintf(text, sizeof(text), "%s\n", line);
		r = crew_plan_send(supervisor, group->name, index, text, strlen(text));
	} else if (strcmp(word, "reload") == 0) {
		r = crew_plan_reload(supervisor, NULL);
	} else if (strcmp(word, "reopen") == 0) {
		crew_plan_reopen(supervisor);
	} else if (strcmp(word, "children") == 0) {
		list_all(supervisor);
	} else if (strcmp(word, "deaths") == 0) {
		list_deaths(supervisor);
	} else if (strcmp(word, "stop") == 0) {
		crew_plan_stop(supervisor);
	}
	printf("{\"event\":\"done\",\"command\":\"%s\",\"result\":%ld}\n", word, r);
	fflush(stdout);
}

/* One life of the plan in a loop of the program's own. */
static int run_in_own_loop(void)
{
	struct crew_supervisor *supervisor;
	struct crew_error error;
	struct pollfd ready[2] = { { .events = POLLIN },
				   { .fd = STDIN_FILENO, .events = POLLIN } };
	char text[4096];
	char *rest;
	char *line;
	ssize_t n;
	int code;

	if (crew_plan_start(&plan, &supervisor, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return 2;
	}
	ready[0].fd = crew_plan_fd(supervisor);
	for (;;) {
		if (poll(ready, 2, -1) < 0)
			continue;
		if (ready[0].revents && crew_plan_step(supervisor, 0) <= 0)
			break;
		if (!ready[1].revents)
			continue;
		n = read(STDIN_FILENO, text, sizeof(text) - 1);
		if (n <= 0) {
			crew_plan_stop(supervisor);
			ready[1].fd = -1;
			continue;
		}
		text[n] = '\0';
		rest = text;
		while ((line = strsep(&rest, "\n")) != NULL) {
			if (*line)
				command(supervisor, line);
		}
		if (crew_plan_step(supervisor, 0) <= 0)
			break;
	}
	code = crew_plan_exit_code(supervisor);
	crew_plan_free(supervisor);
	return code;
}

/* All lines of the log, into a file. */
static bool take_line(void *context, const struct crew_log_line *line)
{
	FILE *file = fopen(context, "a");

	if (!file)
		return false;
	fprintf(file, "%s\n", line->message);
	return fclose(file) == 0;
}

/* ---- the command line ---- */

enum {
	KIND = 256, COUNT, IDS, HEARTBEAT, BOOT, STOP, STARTING, RESTARTS, WINDOW, RETRY,
	RSS, FDS, BOOT_MS, LINES, OUT_FILE, OUT_BYTES, WAIT, JSON, INPUT, DAEMON, PIDFILE,
	GROUPFILE, LOGFILE, LOGBYTES, USER, OWN_LOOP, REST, FAIL, BLOCK, NOTIFY, LISTEN_FD,
	PRESERVE, FLOOD, LEVEL, CONSOLE, NOFILE, LOGKEEP, OUT_TO, WORK_IN, ERROR_FILE,
	QUIET, USR2, TAKE_LOG, NOBODY, PROCESS_GROUP,
};

static const struct option options[] = {
	{ "kind", 1, NULL, KIND }, { "count", 1, NULL, COUNT }, { "ids", 1, NULL, IDS },
	{ "heartbeat", 1, NULL, HEARTBEAT }, { "boot", 1, NULL, BOOT },
	{ "stop", 1, NULL, STOP }, { "max-starting", 1, NULL, STARTING },
	{ "max-restarts", 1, NULL, RESTARTS }, { "window", 1, NULL, WINDOW },
	{ "retry", 1, NULL, RETRY }, { "max-rss", 1, NULL, RSS }, { "max-fds", 1, NULL, FDS },
	{ "boot-ms", 1, NULL, BOOT_MS }, { "lines", 1, NULL, LINES },
	{ "out-file", 1, NULL, OUT_FILE }, { "out-bytes", 1, NULL, OUT_BYTES },
	{ "wait", 0, NULL, WAIT }, { "json", 0, NULL, JSON }, { "input", 0, NULL, INPUT },
	{ "daemon", 0, NULL, DAEMON }, { "pidfile", 1, NULL, PIDFILE },
	{ "group-file", 1, NULL, GROUPFILE }, { "log-file", 1, NULL, LOGFILE },
	{ "log-bytes", 1, NULL, LOGBYTES }, { "log-keep", 1, NULL, LOGKEEP },
	{ "user", 1, NULL, USER }, { "own-loop", 0, NULL, OWN_LOOP }, { "rest", 1, NULL, REST },
	{ "fail", 0, NULL, FAIL }, { "block", 0, NULL, BLOCK }, { "notify", 0, NULL, NOTIFY },
	{ "listen-fd", 1, NULL, LISTEN_FD }, { "preserve", 1, NULL, PRESERVE },
	{ "flood", 0, NULL, FLOOD }, { "level", 1, NULL, LEVEL },
	{ "console", 0, NULL, CONSOLE }, { "nofile", 1, NULL, NOFILE },
	{ "work-in", 1, NULL, WORK_IN },
	{ "out-to", 1, NULL, OUT_TO }, { "error-file", 1, NULL, ERROR_FILE },
	{ "quiet", 0, NULL, QUIET }, { "usr2", 0, NULL, USR2 },
	{ "take-log", 1, NULL, TAKE_LOG }, { "nobody", 1, NULL, NOBODY },
	{ "process-group", 0, NULL, PROCESS_GROUP },
	{ NULL, 0, NULL, 0 },
};

/* For a test in which nobody may read what the parent prints. */
static void say_nothing(void)
{
	plan.on_start = NULL;
	plan.on_shutdown = NULL;
	plan.parent_pre_stop = NULL;
	plan.pre_fork = NULL;
	plan.on_ready = NULL;
	plan.on_death = NULL;
}

static void take(int option, char *value)
{
	const unsigned number = value ? (unsigned)strtoul(value, NULL, 10) : 0;
	static int fds[2];
	char *id;

	switch (option) {
	case KIND: group->kind = strcmp(value, "thread") == 0 ? CREW_THREAD : CREW_PROCESS; break;
	case COUNT: group->count = number; break;
	case IDS:
		group->ids = ids;
		while ((id = strsep(&value, ",")) != NULL)
			ids[group->id_count++] = (unsigned)strtoul(id, NULL, 10);
		break;
	case HEARTBEAT: group->heartbeat_timeout_ms = number; break;
	case BOOT: group->boot_timeout_ms = number; break;
	case STOP: group->stop_timeout_ms = number; break;
	case STARTING: group->max_starting = number; break;
	case RESTARTS: group->max_restarts = number; break;
	case WINDOW: group->restart_window_ms = number; break;
	case RETRY: group->degraded_retry_ms = number; break;
	case RSS: group->max_rss_bytes = (uint64_t)number << 20; break;
	case FDS: group->max_descriptors = number; break;
	case BOOT_MS: boot_ms = number; break;
	case LINES: lines_to_say = number; break;
	case OUT_FILE: group->out.to = CREW_TO_FILE; group->out.path = value; break;
	case OUT_BYTES: group->out.max_bytes = number; break;
	case OUT_TO: group->out.to = (enum crew_stream_to)number; group->out.fd = 1; break;
	case ERROR_FILE: group->error.to = CREW_TO_FILE; group->error.path = value; break;
	case WAIT: group->out.wait = group->error.wait = true; break;
	case JSON: group->out.json_unmarked = true; break;
	case INPUT: group->input = true; break;
	case DAEMON: plan.daemon.detach = true; break;
	case PIDFILE: plan.daemon.pidfile = value; break;
	case GROUPFILE: plan.daemon.group_file = value; break;
	case LOGFILE: plan.daemon.log_file = value; break;
	case LOGBYTES: plan.daemon.log_max_bytes = number; break;
	case LOGKEEP: plan.daemon.log_keep = number; break;
	case USER: plan.daemon.user = value; break;
	case OWN_LOOP: own_loop = true; break;
	case REST: rest_ms = number; break;
	case FAIL: fails_to_start = true; break;
	case BLOCK: blocks = true; break;
	case NOTIFY: group->notify = true; break;
	case PROCESS_GROUP: group->process_group = true; break;
	case LISTEN_FD: fds[0] = (int)number; group->listen_fds = fds;
		group->listen_fd_count = 1; group->listen_names = "web"; break;
	case PRESERVE: fds[1] = (int)number; group->preserve_fds = &fds[1];
		group->preserve_fd_count = 1; break;
	case FLOOD: flood = true; break;
	case LEVEL: plan.log_level = (enum crew_level)number; break;
	case CONSOLE: plan.console = true; break;
	case NOFILE: descriptors = number; break;
	case WORK_IN: group->directory = value; break;
	case TAKE_LOG:
		plan.on_log = take_line;
		plan.on_log_context = value;
		break;
	case QUIET: say_nothing(); break;
	case NOBODY: becomes_nobody = value; break;
	case USR2: handles_usr2 = true; break;
	default: exit(64);
	}
}

int main(int argc, char **argv)
{
	static int (*const starts[])(struct crew_child *) = { start_one, start_two, NULL };
	static void (*const shutdowns[])(struct crew_child *) = { shut_down, NULL };
	int option;

	group->name = "kids";
	plan.context = &ids;
	plan.on_start = tell_start;
	plan.on_shutdown = tell_shutdown;
	plan.parent_pre_stop = tell_pre_stop;
	plan.pre_fork = tell_fork;
	plan.on_ready = tell_ready;
	plan.on_death = tell_death;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		take(option, optarg);
	if (descriptors)
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){ (rlim_t)descriptors,
							   (rlim_t)descriptors });
	if (optind < argc) {
		group->kind = CREW_EXEC;
		group->command = (const char *const *)&argv[optind];
	} else {
		group->run = run;
		group->on_start = starts;
		group->on_shutdown = shutdowns;
	}
	return own_loop ? run_in_own_loop() : crew_supervise(&plan);
}

/* SPDX-License-Identifier: MIT */
/*
 * crew_main: the command line of every program that is a crew server. What is
 * not understood is refused with exit code 2 before anything is opened. The
 * options are a table, from which the help is printed too.
 */
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <crew/serve.h>

#include "base/check.h"
#include "base/log.h"
#include "serve/address.h"
#include "serve/defaults.h"

#define HELP_COLUMN 24

struct command_line {
	const char *program;
	struct crew_server server;
};

enum kind {
	KIND_FLAG = 0, /* bool; takes no value */
	KIND_TEXT,     /* const char * */
	/* of unsigned, or an enum */
	KIND_NUMBER,   /* from 1 to the row's max */
	KIND_US,       /* that, auto (0) or off (CREW_NEVER) */
	KIND_SECONDS,  /* that, kept as milliseconds */
	KIND_MODE,     /* permissions of a file */
	KIND_LEVEL,
	KIND_NAME,     /* one of the row's names */
};

enum pools {
	POOLS_NONE = 0, /* the option is the server's */
	POOLS_ONE,      /* the one that is named ("POOL=…"), or else the first */
	POOLS_ALL,
};

struct option_row {
	const char *name;
	const char *value; /* its name in the help; NULL: takes none */
	const char *help;
	enum kind kind;
	size_t at;            /* where in struct crew_server it is kept */
	const char *fallback; /* what a zero in the table means; NULL: needs no word */
	enum pools pools;     /* whose it is; `at` is the first one's */
	unsigned max;
	const char *const *names;
	unsigned name_count;
	/* What there is to do besides. 0 or an exit code, after a message. */
	int (*then)(struct command_line *line, const char *value);
};

static int check_listen(struct command_line *line, const char *value);
static int spin_in_all_pools(struct command_line *line, const char *value);

static const char *const class_names[] = {
	[CREW_PROCESS] = "process",
	[CREW_THREAD] = "thread",
};

static const char *const policy_names[] = {
	[CREW_POLICY_BESIDE] = "beside",
	[CREW_POLICY_BATCH] = "batch",
	[CREW_POLICY_NORMAL] = "normal",
};

static const char *const loop_names[] = {
	[CREW_LOOP_AUTO] = "auto",
	[CREW_LOOP_EPOLL] = "epoll",
	[CREW_LOOP_IO_URING] = "io_uring",
};

static const char *const form_names[] = {
	[CREW_LOG_AUTO] = "auto", [CREW_LOG_PLAIN] = "plain",	[CREW_LOG_SYSTEMD] = "systemd",
	[CREW_LOG_JSON] = "json", [CREW_LOG_LOGFMT] = "logfmt",
};

#define at(member) offsetof(struct crew_server, member)
#define NAMES(array) .names = (array), .name_count = COUNT_OF(array)

static const struct option_row rows[] = {
	{ "listen", "ADDRESS",
	  "where to listen: IP:PORT, [IPV6]:PORT, unix:PATH or unix:@NAME\n"
	  "(abstract); port 0 picks a free one",
	  .kind = KIND_TEXT, .at = at(listen), .fallback = "127.0.0.1:8080", .then = check_listen },
	{ "listen-mode", "OCTAL", "permissions of the file of unix:PATH: who may write may\n"
	  "connect",
	  .kind = KIND_MODE, .at = at(listen_mode), .fallback = "0666: all" },
	{ "workers", "[POOL=]N", "workers of that pool, or without a name of the first one; may be\n"
	  "given for each",
	  .kind = KIND_NUMBER, .at = at(pools[0].workers), .pools = POOLS_ONE, .max = WORKERS_MAX,
	  .fallback = "$WEB_CONCURRENCY,\n"
		      "else the processors that may be used less one, at least 2" },
	{ "dispatchers", "N", "processes that talk to clients, for machines with many\n"
	  "processors",
	  .kind = KIND_NUMBER, .at = at(dispatchers), .fallback = "1", .max = CREW_DISPATCHERS_MAX },
	{ "worker-class", "CLASS", "process (isolated) or thread (of one process), of all\npools",
	  .kind = KIND_NAME, .at = at(pools[0].kind), .fallback = "process", .pools = POOLS_ALL,
	  NAMES(class_names) },
	{ "max-requests", "N", "replace a worker of any pool that has run so many requests, or up to\n"
	  "a tenth fewer, once its successor is ready",
	  .kind = KIND_NUMBER, .at = at(pools[0].max_requests), .pools = POOLS_ALL,
	  .max = UINT_MAX, .fallback = "never" },
	{ "policy", "NAME", "how workers of all pools are scheduled: beside (their dispatcher,\n"
	  "while requests are quick), batch (SCHED_BATCH) or normal",
	  .kind = KIND_NAME, .at = at(pools[0].policy), .fallback = "beside", .pools = POOLS_ALL,
	  NAMES(policy_names) },
	{ "spin", "US", "microseconds that who has nothing to do, dispatchers and workers of\n"
	  "all pools, looks for more before it sleeps, for machines with\n"
	  "processors to spare; auto: while few clients are busy, and it pays; or\n"
	  "off",
	  .kind = KIND_US, .at = at(spin_us), .fallback = "auto", .max = SPIN_US_MAX,
	  .then = spin_in_all_pools },
	{ "coalesce", "US", "microseconds, at most, that dispatchers busy with many clients let\n"
	  "requests gather before they look again; auto (500) or off",
	  .kind = KIND_US, .at = at(coalesce_us), .fallback = "auto", .max = COALESCE_US_MAX },
	{ "loop", "NAME", "how dispatchers read and write connections: auto (those of a turn by\n"
	  "one call of io_uring where it may be used), epoll (a call each) or\n"
	  "io_uring (also one alone)",
	  .kind = KIND_NAME, .at = at(loop), .fallback = "auto", NAMES(loop_names) },
	{ "idle-timeout", "S", "seconds that a connection may stay open between two requests;\n"
	  "behind a proxy longer than it keeps idle connections itself",
	  .kind = KIND_SECONDS, .at = at(idle_timeout_ms), .fallback = "15",
	  .max = IDLE_TIMEOUT_S_MAX },
	{ "log-level", "NAME", "debug, info, warning, error or critical",
	  .kind = KIND_LEVEL, .at = at(log_level), .fallback = "info" },
	{ "log-format", "NAME", "auto (systemd under the journal, else plain), plain, systemd, json\n"
	  "or logfmt",
	  .kind = KIND_NAME, .at = at(log_form), .fallback = "auto", NAMES(form_names) },
	{ "log-file", "FILE", "log there instead of standard error; rotated at 8 MiB,\n"
	  "8 old ones are kept, unless it is no regular file, or /dev/stdout",
	  .kind = KIND_TEXT, .at = at(daemon.log_file) },
	{ "access-log", NULL, "log each request when it is over, whatever the log level",
	  .kind = KIND_FLAG, .at = at(access_log) },
	{ "daemon", NULL, "leave the terminal and run in the background; without --log-file the\n"
	  "log goes on only where standard error is a file or the journal",
	  .kind = KIND_FLAG, .at = at(daemon.detach) },
	{ "pidfile", "FILE", "write the parent's process number there, and refuse to run\n"
	  "twice",
	  .kind = KIND_TEXT, .at = at(daemon.pidfile) },
	{ "group-file", "FILE", "the same with the number of the process group",
	  .kind = KIND_TEXT, .at = at(daemon.group_file) },
	{ "directory", "PATH", "work there",
	  .kind = KIND_TEXT, .at = at(daemon.directory), .fallback = "here; of a daemon /" },
	{ "user", "NAME", "give up root for this user, once all is opened",
	  .kind = KIND_TEXT, .at = at(daemon.user) },
	{ "group", "NAME", "and for this group",
	  .kind = KIND_TEXT, .at = at(daemon.group), .fallback = "the user's" },
};

#undef at

#define ROWS ((int)COUNT_OF(rows))

enum { OPTION_FIRST = 1000, OPTION_HELP = 2000, OPTION_VERSION };

static const char *base_name(const char *path);
static void make_options(struct option *options);
static int take(struct command_line *line, const struct option_row *row, const char *value);
static int take_pool(const struct command_line *line, const struct option_row *row,
		     const char **value);
static const char *pool_name(const struct crew_pool *pool);
static bool parse_value(const struct option_row *row, const char *value, unsigned *ret_number);
static void say_what_it_takes(const struct command_line *line, const struct option_row *row,
			      const char *value);
static int bad_option(const char *program, int code, char **argv);
static bool is_ambiguous(const char *word);
static void print_help(const char *program, const struct crew_server *server);

int crew_main(int argc, char **argv, const struct crew_server *tables)
{
	struct command_line line = { .program = base_name(argc > 0 ? argv[0] : "crew"),
				     .server = *tables };
	struct option options[ROWS + 3];
	struct crew_error error = { 0 };
	int code;
	int r;

	make_options(options);
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (code == '?' || code == ':')
			return bad_option(line.program, code, argv);
		if (code == OPTION_HELP || code == 'h') {
			print_help(line.program, tables);
			return 0;
		}
		if (code == OPTION_VERSION) {
			printf("%s (crew %s)\n", line.program, crew_version());
			return 0;
		}
		r = take(&line, &rows[code - OPTION_FIRST], optarg);
		if (r != 0)
			return r;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: \"%s\" is not an option; see %s --help\n",
			line.program, argv[optind], line.program);
		return CREW_EXIT_USAGE;
	}
	r = crew_serve(&line.server, &error);
	if (r != 0 && error.text[0])
		fprintf(stderr, "%s: %s\n", line.program, error.text);
	return r;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void make_options(struct option *options)
{
	for (int i = 0; i < ROWS; i++)
		options[i] = (struct option){ rows[i].name,
					      rows[i].value ? required_argument
							    : no_argument,
					      NULL, OPTION_FIRST + i };
	options[ROWS] = (struct option){ "help", no_argument, NULL, OPTION_HELP };
	options[ROWS + 1] = (struct option){ "version", no_argument, NULL,
					     OPTION_VERSION };
	options[ROWS + 2] = (struct option){ 0 };
}

static int take(struct command_line *line, const struct option_row *row, const char *value)
{
	struct crew_server *server = &line->server;
	char *at = (char *)server + row->at;
	unsigned number = 0;

	if (row->pools != POOLS_NONE && !server->pools[0].app) {
		fprintf(stderr, "%s: --%s: this server has no workers\n", line->program,
			row->name);
		return CREW_EXIT_USAGE;
	}
	if (row->pools == POOLS_ONE && strchr(value, '=')) {
		const int pool = take_pool(line, row, &value);

		if (pool < 0)
			return CREW_EXIT_USAGE;
		at += (size_t)pool * sizeof(server->pools[0]);
	}
	if (row->kind == KIND_TEXT && !*value) {
		fprintf(stderr, "%s: --%s: its value is empty; give it one, or leave the "
			"option out\n", line->program, row->name);
		return CREW_EXIT_USAGE;
	}
	if (row->kind == KIND_FLAG) {
		memcpy(at, &(bool){ true }, sizeof(bool));
	} else if (row->kind == KIND_TEXT) {
		memcpy(at, &value, sizeof(value));
	} else {
		if (!parse_value(row, value, &number)) {
			say_what_it_takes(line, row, value);
			return CREW_EXIT_USAGE;
		}
		memcpy(at, &number, sizeof(number));
	}
	if (row->pools == POOLS_ALL) {
		for (unsigned i = 1; i < CREW_POOLS_MAX && server->pools[i].app; i++)
			memcpy(at + i * sizeof(server->pools[0]), &number, sizeof(number));
	}
	return row->then ? row->then(line, value) : 0;
}

/* The number of the pool that is named before the value, which is what is left; -1: there is none
 * of that name, which was told. */
static int take_pool(const struct command_line *line, const struct option_row *row,
		     const char **value)
{
	const struct crew_pool *pools = line->server.pools;
	const char *sign = strrchr(*value, '=');
	const size_t size = (size_t)(sign - *value);

	for (int i = 0; i < (int)CREW_POOLS_MAX && pools[i].app; i++) {
		const char *name = pool_name(&pools[i]);

		if (strlen(name) == size && strncmp(name, *value, size) == 0) {
			*value = sign + 1;
			return i;
		}
	}
	fprintf(stderr, "%s: --%s: there is no pool \"%.*s\"; there is", line->program,
		row->name, (int)size, *value);
	for (int i = 0; i < (int)CREW_POOLS_MAX && pools[i].app; i++)
		fprintf(stderr, "%s \"%s\"", i > 0 ? "," : "", pool_name(&pools[i]));
	fprintf(stderr, "\n");
	return -1;
}

/* A table that is wrong is refused later. */
static const char *pool_name(const struct crew_pool *pool)
{
	const char *name = pool->name ? pool->name : pool->app->name;

	return name ? name : "";
}

/* From 1 to `max`. */
static bool parse_number(const char *value, unsigned max, unsigned *ret_number)
{
	unsigned long number = 0;
	char *end = NULL;

	if (*value >= '0' && *value <= '9')
		number = strtoul(value, &end, 10);
	*ret_number = (unsigned)number;
	return end && !*end && number >= 1 && number <= max;
}

static bool parse_mode(const char *value, unsigned *ret_number)
{
	const char *digits = value + (value[0] == '0');
	const size_t count = strspn(digits, "01234567");

	*ret_number = (unsigned)strtoul(value, NULL, 8);
	return count == 3 && !digits[count] && *ret_number & LISTEN_MODE_WRITE;
}

static bool parse_name(const struct option_row *row, const char *value, unsigned *ret_number)
{
	for (unsigned i = 0; i < row->name_count; i++) {
		*ret_number = i;
		if (strcmp(value, row->names[i]) == 0)
			return true;
	}
	return false;
}

static bool parse_value(const struct option_row *row, const char *value, unsigned *ret_number)
{
	const bool is_off = row->kind == KIND_US && strcmp(value, "off") == 0;

	if (is_off || (row->kind == KIND_US && strcmp(value, "auto") == 0)) {
		*ret_number = is_off ? CREW_NEVER : 0;
		return true;
	}
	switch (row->kind) {
	case KIND_MODE:
		return parse_mode(value, ret_number);
	case KIND_NAME:
		return parse_name(row, value, ret_number);
	case KIND_LEVEL:
		*ret_number = (unsigned)log_level_by_name(value);
		return *ret_number != 0;
	case KIND_SECONDS:
		if (!parse_number(value, row->max, ret_number))
			return false;
		*ret_number *= 1000;
		return true;
	default:
		return parse_number(value, row->max, ret_number);
	}
}

static void say_what_it_takes(const struct command_line *line, const struct option_row *row,
			      const char *value)
{
	fprintf(stderr, "%s: --%s takes ", line->program, row->name);
	for (unsigned i = 0; i < row->name_count; i++)
		fprintf(stderr, "%s%s", row->names[i], i + 2 < row->name_count   ? ", "
						       : i + 1 < row->name_count ? " or "
										 : "");
	if (row->kind == KIND_US)
		fprintf(stderr, "auto, off or ");
	if (row->kind == KIND_US || row->kind == KIND_NUMBER || row->kind == KIND_SECONDS)
		fprintf(stderr, "a number from 1 to %u", row->max);
	else if (row->kind == KIND_MODE)
		fprintf(stderr, "three octal digits with a write permission, such as 0666, 0660 "
				"or 0600");
	else if (row->kind == KIND_LEVEL)
		fprintf(stderr, "%s", row->help);
	fprintf(stderr, ", not \"%s\"\n", value);
}

static int check_listen(struct command_line *line, const char *value)
{
	struct crew_error error;

	if (address_check(value, &error) == 0)
		return 0;
	fprintf(stderr, "%s: --listen: %s\n", line->program, error.text);
	return CREW_EXIT_USAGE;
}

/* Unlike others of pools it is also that of a server without any. */
static int spin_in_all_pools(struct command_line *line, const char *value)
{
	(void)value;
	for (unsigned i = 0; i < CREW_POOLS_MAX && line->server.pools[i].app; i++)
		line->server.pools[i].spin_us = line->server.spin_us;
	return 0;
}

static int bad_option(const char *program, int code, char **argv)
{
	/* Of letters behind one dash getopt_long(3) may still be at the word. */
	const char *word = argv[optind - 1][0] != '-' && argv[optind] ? argv[optind]
								      : argv[optind - 1];
	char letter[3] = { '-', (char)optopt, '\0' };
	const char *option = word;
	size_t size;

	if (code != ':' && optopt > ' ' && optopt < 0x7f)
		option = letter;
	size = strcspn(option, "=");
	if (code == ':')
		fprintf(stderr, "%s: %s needs a value behind it; see %s --help\n",
			program, option, program);
	else if (optopt >= OPTION_FIRST)
		fprintf(stderr, "%s: %.*s takes no value; see %s --help\n", program,
			(int)size, option, program);
	else if (option == word && is_ambiguous(word))
		fprintf(stderr, "%s: %.*s is the beginning of several options; see %s --help\n",
			program, (int)size, option, program);
	else
		fprintf(stderr, "%s: there is no option %.*s; see %s --help\n",
			program, (int)size, option, program);
	return CREW_EXIT_USAGE;
}

static bool is_ambiguous(const char *word)
{
	const char *name = word + strspn(word, "-");
	const size_t size = strcspn(name, "=");
	unsigned count = 0;

	for (int i = 0; i < ROWS; i++)
		count += strncmp(rows[i].name, name, size) == 0;
	return count > 1;
}

/* What is so if the option is not given; NULL if there is nothing to say of it. */
static const char *default_of(const struct option_row *row, const struct crew_server *server,
			      char *room, size_t size)
{
	const char *at = (const char *)server + row->at;
	const char *text;
	unsigned number;

	if (row->kind == KIND_FLAG)
		return row->fallback;
	if (row->kind == KIND_TEXT) {
		memcpy(&text, at, sizeof(text));
		return text ? text : row->fallback;
	}
	memcpy(&number, at, sizeof(number));
	if (number == 0)
		return row->fallback;
	if (row->kind == KIND_NAME)
		return number < row->name_count ? row->names[number] : row->fallback;
	if (row->kind == KIND_LEVEL && log_level_name((int)number))
		return log_level_name((int)number);
	if (row->kind == KIND_US && number == CREW_NEVER)
		return "off";
	if (row->kind == KIND_SECONDS)
		snprintf(room, size, "%g", number / 1000.0);
	else
		snprintf(room, size, row->kind == KIND_MODE ? "%#o" : "%u", number);
	return room;
}

/* An option and its text, whose further lines stand below the first. */
static void print_option(const char *name, const char *value, const char *help,
			 const char *otherwise)
{
	int used = printf("  --%s %s", name, value ? value : "");
	char text[512];

	snprintf(text, sizeof(text), "%s%s%s%s", help, otherwise ? " (default " : "",
		 otherwise ? otherwise : "", otherwise ? ")" : "");
	help = text;
	while (*help) {
		const char *end = strchrnul(help, '\n');

		printf("%*s%.*s\n", used < HELP_COLUMN ? HELP_COLUMN - used : 1, "",
		       (int)(end - help), help);
		used = 0;
		help = *end ? end + 1 : end;
	}
}

static void print_help(const char *program, const struct crew_server *server)
{
	char room[32];

	printf("Usage: %s [OPTION]...\n\n"
	       "Serves HTTP/1.1 from pools of isolated workers (crew %s).\n\n",
	       program, crew_version());
	for (int i = 0; i < ROWS; i++)
		print_option(rows[i].name, rows[i].value, rows[i].help,
			     default_of(&rows[i], server, room, sizeof(room)));
	print_option("help, -h", NULL, "print this and exit", NULL);
	print_option("version", NULL, "print the version and exit", NULL);
	printf("\nSignals: TERM, INT and QUIT stop it gracefully; one more, half a second later or\n"
	       "after that, at once. HUP replaces all workers one after another, with the code\n"
	       "and tables that were loaded at the start. TTIN and TTOU start one worker of the\n"
	       "first pool more, or stop one (of others crew_pool_scale does). USR1 reopens\n"
	       "the log file. USR2 means nothing.\n"
	       "Exit codes: 0 stopped in order, 1 could not start, 2 wrong command line or\n"
	       "table, 3 no worker, no dispatcher, or no child of a group ever came up.\n");
}

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

#define EXIT_USAGE 2
#define HELP_COLUMN 24

struct command_line {
	const char *program;
	struct crew_server server;
};

enum shown {
	SHOWN_NOT = 0,
	SHOWN_NUMBER,
	SHOWN_OCTAL,
	SHOWN_US,    /* a number, or off */
	SHOWN_LEVEL,
	SHOWN_NAME,  /* of the row's names */
	SHOWN_TEXT,
};

struct option_row {
	const char *name;
	const char *value; /* its name in the help; NULL: takes none */
	const char *help;
	/* 0 or an exit code, after a message. */
	int (*take)(struct command_line *line, const char *value);
	const char *fallback; /* what a zero in the table means; NULL: needs no word */
	enum shown shown;     /* how the help shows what the table has */
	size_t at;            /* where in struct crew_server that is */
	const char *const *names;
	unsigned name_count;
};

static int take_listen(struct command_line *line, const char *value);
static int take_listen_mode(struct command_line *line, const char *value);
static int take_workers(struct command_line *line, const char *value);
static int take_dispatchers(struct command_line *line, const char *value);
static int take_policy(struct command_line *line, const char *value);
static int take_spin(struct command_line *line, const char *value);
static int take_coalesce(struct command_line *line, const char *value);
static int us_of(const struct command_line *line, const char *name, const char *value,
		 unsigned max, unsigned *ret_us);
static int take_class(struct command_line *line, const char *value);
static int take_loop(struct command_line *line, const char *value);
static int take_level(struct command_line *line, const char *value);
static int take_daemon(struct command_line *line, const char *value);
static int take_pidfile(struct command_line *line, const char *value);
static int take_group_file(struct command_line *line, const char *value);
static int take_log_file(struct command_line *line, const char *value);
static int take_log_format(struct command_line *line, const char *value);
static int take_directory(struct command_line *line, const char *value);
static int take_user(struct command_line *line, const char *value);
static int take_group(struct command_line *line, const char *value);

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

static const struct option_row rows[] = {
	{ "listen", "ADDRESS",
	  "where to listen: IP:PORT, [IPV6]:PORT, unix:PATH or unix:@NAME\n"
	  "(abstract); port 0 picks a free one", take_listen,
	  .fallback = "127.0.0.1:8080", .shown = SHOWN_TEXT, .at = at(listen) },
	{ "listen-mode", "OCTAL", "permissions of the file of unix:PATH: who may write may\n"
	  "connect",
	  take_listen_mode, .fallback = "0666: all", .shown = SHOWN_OCTAL, .at = at(listen_mode) },
	{ "workers", "N", "workers of the first pool", take_workers,
	  .fallback = "$WEB_CONCURRENCY,\n"
		      "else the processors that may be used less one, at least 2",
	  .shown = SHOWN_NUMBER, .at = at(pools[0].workers) },
	{ "dispatchers", "N", "processes that talk to clients, for machines with many\n"
	  "processors", take_dispatchers,
	  .fallback = "1", .shown = SHOWN_NUMBER, .at = at(dispatchers) },
	{ "worker-class", "CLASS", "process (isolated) or thread (of one process)",
	  take_class, .fallback = "process", .shown = SHOWN_NAME, .at = at(pools[0].kind),
	  .names = class_names,
	  .name_count = COUNT_OF(class_names) },
	{ "policy", "NAME", "how workers are scheduled: beside (their dispatcher, while requests\n"
	  "are quick), batch (SCHED_BATCH) or normal", take_policy,
	  .fallback = "beside", .shown = SHOWN_NAME, .at = at(pools[0].policy),
	  .names = policy_names,
	  .name_count = COUNT_OF(policy_names) },
	{ "spin", "US", "microseconds that who has nothing to do looks for more before it\n"
	  "sleeps, for machines with processors to spare; auto: while few clients\n"
	  "are busy, and it pays; or off", take_spin,
	  .fallback = "auto", .shown = SHOWN_US, .at = at(spin_us) },
	{ "coalesce", "US", "microseconds, at most, that dispatchers busy with many clients let\n"
	  "requests gather before they look again; auto (500) or off",
	  take_coalesce, .fallback = "auto", .shown = SHOWN_US, .at = at(coalesce_us) },
	{ "loop", "NAME", "how dispatchers read and write connections: auto (those of a turn by\n"
	  "one call of io_uring where it may be used), epoll (a call each) or\n"
	  "io_uring (also one alone)", take_loop,
	  .fallback = "auto", .shown = SHOWN_NAME, .at = at(loop), .names = loop_names,
	  .name_count = COUNT_OF(loop_names) },
	{ "log-level", "NAME", "debug, info, warning, error or critical", take_level,
	  .fallback = "info", .shown = SHOWN_LEVEL, .at = at(log_level) },
	{ "log-format", "NAME", "auto (systemd under the journal, else plain), plain, systemd, json\n"
	  "or logfmt", take_log_format,
	  .fallback = "auto", .shown = SHOWN_NAME, .at = at(log_form), .names = form_names,
	  .name_count = COUNT_OF(form_names) },
	{ "log-file", "FILE", "log there instead of standard error; rotated at 8 MiB,\n"
	  "8 old ones are kept", take_log_file, .shown = SHOWN_TEXT, .at = at(daemon.log_file) },
	{ "daemon", NULL, "leave the terminal and run in the background", take_daemon,
	  .shown = SHOWN_NOT },
	{ "pidfile", "FILE", "write the parent's process number there, and refuse to run\n"
	  "twice", take_pidfile, .shown = SHOWN_TEXT, .at = at(daemon.pidfile) },
	{ "group-file", "FILE", "the same with the number of the process group",
	  take_group_file, .shown = SHOWN_TEXT, .at = at(daemon.group_file) },
	{ "directory", "PATH", "work there", take_directory,
	  .fallback = "here; of a daemon /", .shown = SHOWN_TEXT, .at = at(daemon.directory) },
	{ "user", "NAME", "give up root for this user, once all is opened", take_user,
	  .shown = SHOWN_TEXT, .at = at(daemon.user) },
	{ "group", "NAME", "and for this group", take_group,
	  .fallback = "the user's", .shown = SHOWN_TEXT, .at = at(daemon.group) },
};

#undef at

#define ROWS ((int)COUNT_OF(rows))

enum { OPTION_FIRST = 1000, OPTION_HELP = 2000, OPTION_VERSION };

static const char *base_name(const char *path);
static void make_options(struct option *options);
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
	while ((code = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (code == '?' || code == ':')
			return bad_option(line.program, code, argv);
		if (code == OPTION_HELP) {
			print_help(line.program, tables);
			return 0;
		}
		if (code == OPTION_VERSION) {
			printf("%s (crew %s)\n", line.program, crew_version());
			return 0;
		}
		r = rows[code - OPTION_FIRST].take(&line, optarg);
		if (r != 0)
			return r;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: \"%s\" is not an option; see %s --help\n",
			line.program, argv[optind], line.program);
		return EXIT_USAGE;
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

static int take_listen(struct command_line *line, const char *value)
{
	struct crew_error error;

	line->server.listen = value;
	if (address_check(value, &error) == 0)
		return 0;
	fprintf(stderr, "%s: --listen: %s\n", line->program, error.text);
	return EXIT_USAGE;
}

static int take_listen_mode(struct command_line *line, const char *value)
{
	const char *digits = value + (value[0] == '0');
	const size_t count = strspn(digits, "01234567");
	const unsigned long mode = strtoul(value, NULL, 8);

	line->server.listen_mode = (unsigned)mode;
	if (count == 3 && !digits[count] && mode & LISTEN_MODE_WRITE)
		return 0;
	fprintf(stderr, "%s: --listen-mode takes three octal digits with a write permission, "
		"such as 0666, 0660 or 0600, not \"%s\"\n", line->program, value);
	return EXIT_USAGE;
}

static int no_workers(const struct command_line *line, const char *option)
{
	if (line->server.pools[0].app)
		return 0;
	fprintf(stderr, "%s: --%s: this server has no workers\n", line->program, option);
	return EXIT_USAGE;
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

/* A number from 1 to `max`, or 0 after saying what is wrong. */
static unsigned number_of(const struct command_line *line, const char *option,
			  const char *value, unsigned max)
{
	unsigned number;

	if (parse_number(value, max, &number))
		return number;
	fprintf(stderr, "%s: --%s takes a number from 1 to %u, not \"%s\"\n",
		line->program, option, max, value);
	return 0;
}

/* Which of the `count` names it is, or -1 after saying that it is none. */
static int one_of(const struct command_line *line, const char *option, const char *value,
		  const char *const *names, int count)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(value, names[i]) == 0)
			return i;
	}
	fprintf(stderr, "%s: --%s takes ", line->program, option);
	for (int i = 0; i < count; i++)
		fprintf(stderr, "%s%s", names[i], i + 2 < count ? ", " : i + 1 < count ? " or " : "");
	fprintf(stderr, ", not \"%s\"\n", value);
	return -1;
}

static int take_workers(struct command_line *line, const char *value)
{
	line->server.pools[0].workers = number_of(line, "workers", value, WORKERS_MAX);
	return line->server.pools[0].workers ? no_workers(line, "workers") : EXIT_USAGE;
}

static int take_dispatchers(struct command_line *line, const char *value)
{
	line->server.dispatchers = number_of(line, "dispatchers", value,
					     CREW_DISPATCHERS_MAX);
	return line->server.dispatchers ? 0 : EXIT_USAGE;
}

static int take_class(struct command_line *line, const char *value)
{
	const int kind = one_of(line, "worker-class", value, class_names,
				COUNT_OF(class_names));

	if (kind < 0)
		return EXIT_USAGE;
	for (unsigned i = 0; i < CREW_POOLS_MAX && line->server.pools[i].app; i++)
		line->server.pools[i].kind = (enum crew_kind)kind;
	return no_workers(line, "worker-class");
}

static int take_policy(struct command_line *line, const char *value)
{
	const int policy = one_of(line, "policy", value, policy_names,
				  COUNT_OF(policy_names));

	if (policy < 0)
		return EXIT_USAGE;
	for (unsigned i = 0; i < CREW_POOLS_MAX && line->server.pools[i].app; i++)
		line->server.pools[i].policy = (enum crew_policy)policy;
	return no_workers(line, "policy");
}

static int take_spin(struct command_line *line, const char *value)
{
	unsigned us;
	int r = us_of(line, "spin", value, SPIN_US_MAX, &us);

	if (r != 0)
		return r;
	line->server.spin_us = us;
	for (unsigned i = 0; i < CREW_POOLS_MAX && line->server.pools[i].app; i++)
		line->server.pools[i].spin_us = us;
	return 0;
}

static int take_coalesce(struct command_line *line, const char *value)
{
	return us_of(line, "coalesce", value, COALESCE_US_MAX, &line->server.coalesce_us);
}

static int us_of(const struct command_line *line, const char *name, const char *value,
		 unsigned max, unsigned *ret_us)
{
	unsigned us = 0;

	if (strcmp(value, "off") == 0) {
		us = CREW_NEVER;
	} else if (strcmp(value, "auto") != 0 && !parse_number(value, max, &us)) {
		fprintf(stderr, "%s: --%s takes auto, off or a number from 1 to %u, "
			"not \"%s\"\n", line->program, name, max, value);
		return EXIT_USAGE;
	}
	*ret_us = us;
	return 0;
}

static int take_loop(struct command_line *line, const char *value)
{
	const int loop = one_of(line, "loop", value, loop_names, COUNT_OF(loop_names));

	if (loop < 0)
		return EXIT_USAGE;
	line->server.loop = (enum crew_loop)loop;
	return 0;
}

static int take_level(struct command_line *line, const char *value)
{
	const int level = log_level_by_name(value);

	if (!level) {
		fprintf(stderr, "%s: --log-level takes debug, info, warning, "
			"error or critical, not \"%s\"\n", line->program, value);
		return EXIT_USAGE;
	}
	line->server.log_level = (enum crew_level)level;
	return 0;
}

static int take_daemon(struct command_line *line, const char *value)
{
	(void)value;
	line->server.daemon.detach = true;
	return 0;
}

static int take_pidfile(struct command_line *line, const char *value)
{
	line->server.daemon.pidfile = value;
	return 0;
}

static int take_group_file(struct command_line *line, const char *value)
{
	line->server.daemon.group_file = value;
	return 0;
}

static int take_log_format(struct command_line *line, const char *value)
{
	const int form = one_of(line, "log-format", value, form_names, COUNT_OF(form_names));

	if (form < 0)
		return EXIT_USAGE;
	line->server.log_form = (enum crew_log_form)form;
	return 0;
}

static int take_log_file(struct command_line *line, const char *value)
{
	line->server.daemon.log_file = value;
	return 0;
}

static int take_directory(struct command_line *line, const char *value)
{
	line->server.daemon.directory = value;
	return 0;
}

static int take_user(struct command_line *line, const char *value)
{
	line->server.daemon.user = value;
	return 0;
}

static int take_group(struct command_line *line, const char *value)
{
	line->server.daemon.group = value;
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
	return EXIT_USAGE;
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

	if (row->shown == SHOWN_TEXT) {
		memcpy(&text, at, sizeof(text));
		return text ? text : row->fallback;
	}
	memcpy(&number, at, sizeof(number));
	if (row->shown == SHOWN_NOT || number == 0)
		return row->fallback;
	if (row->shown == SHOWN_NAME)
		return number < row->name_count ? row->names[number] : row->fallback;
	if (row->shown == SHOWN_LEVEL && log_level_name((int)number))
		return log_level_name((int)number);
	if (row->shown == SHOWN_US && number == CREW_NEVER)
		return "off";
	snprintf(room, size, row->shown == SHOWN_OCTAL ? "%#o" : "%u", number);
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
	print_option("help", NULL, "print this and exit", NULL);
	print_option("version", NULL, "print the version and exit", NULL);
	printf("\nSignals: TERM, INT and QUIT stop it gracefully, a second one at once; HUP\n"
	       "replaces all workers one after another, with the code and tables that were\n"
	       "loaded at the start; TTIN and TTOU start one worker of the first pool more, or\n"
	       "stop one; USR1 reopens the log file.\n"
	       "Exit codes: 0 stopped in order, 1 could not start, 2 wrong command line or\n"
	       "table, 3 no worker ever came up.\n");
}

/* SPDX-License-Identifier: MIT */
/*
 * crew_main: the command line of every program that is a crew server. What is
 * not understood is refused with exit code 2 before anything is opened.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <crew/serve.h>

#include "base/log.h"
#include "serve/address.h"
#include "serve/defaults.h"

#define EXIT_USAGE 2

enum option_code { OPTION_LISTEN = 1000, OPTION_WORKERS, OPTION_LOG_LEVEL,
		   OPTION_HELP, OPTION_VERSION };

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, OPTION_LISTEN },
	{ "workers", required_argument, NULL, OPTION_WORKERS },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char *base_name(const char *path);
static int take_option(int code, const char *program, struct crew_server *server);
static int take_workers(const char *program, struct crew_server *server);
static int take_level(const char *program, struct crew_server *server);
static int bad_option(const char *program, int code, char **argv);
static void print_help(const char *program, const struct crew_server *server);

int crew_main(int argc, char **argv, const struct crew_server *tables)
{
	const char *program = base_name(argc > 0 ? argv[0] : "crew");
	struct crew_server server = *tables;
	struct crew_error error = { 0 };
	int code;
	int r;

	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (code == '?' || code == ':')
			return bad_option(program, code, argv);
		if (code == OPTION_HELP) {
			print_help(program, tables);
			return 0;
		}
		if (code == OPTION_VERSION) {
			printf("%s (crew %s)\n", program, crew_version());
			return 0;
		}
		r = take_option(code, program, &server);
		if (r != 0)
			return r;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: \"%s\" is not an option; see %s --help\n",
			program, argv[optind], program);
		return EXIT_USAGE;
	}
	r = crew_serve(&server, &error);
	if (r != 0 && error.text[0])
		fprintf(stderr, "%s: %s\n", program, error.text);
	return r;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int take_option(int code, const char *program, struct crew_server *server)
{
	struct crew_error error;

	switch (code) {
	case OPTION_LISTEN:
		server->listen = optarg;
		if (address_check(optarg, &error) == 0)
			return 0;
		fprintf(stderr, "%s: --listen: %s\n", program, error.text);
		return EXIT_USAGE;
	case OPTION_WORKERS:
		return take_workers(program, server);
	default:
		return take_level(program, server);
	}
}

static int take_workers(const char *program, struct crew_server *server)
{
	unsigned long workers = 0;
	char *end = optarg;

	if (*optarg >= '0' && *optarg <= '9')
		workers = strtoul(optarg, &end, 10);
	if (*end || workers < 1 || workers > WORKERS_MAX) {
		fprintf(stderr, "%s: --workers takes a number from 1 to %u, not "
			"\"%s\"\n", program, WORKERS_MAX, optarg);
		return EXIT_USAGE;
	}
	if (!server->pools[0].app) {
		fprintf(stderr, "%s: --workers: this server has no workers\n",
			program);
		return EXIT_USAGE;
	}
	server->pools[0].workers = (unsigned)workers;
	return 0;
}

static int take_level(const char *program, struct crew_server *server)
{
	const int level = log_level_by_name(optarg);

	if (!level) {
		fprintf(stderr, "%s: --log-level takes debug, info, warning, "
			"error or critical, not \"%s\"\n", program, optarg);
		return EXIT_USAGE;
	}
	server->log_level = (enum crew_level)level;
	return 0;
}

static int bad_option(const char *program, int code, char **argv)
{
	const char *option = argv[optind - 1];

	if (code == ':')
		fprintf(stderr, "%s: %s needs a value behind it; see %s --help\n",
			program, option, program);
	else
		fprintf(stderr, "%s: there is no option %s; see %s --help\n",
			program, option, program);
	return EXIT_USAGE;
}

static void print_help(const char *program, const struct crew_server *server)
{
	printf("Usage: %s [OPTION]...\n\n"
	       "Serves HTTP/1.1 from pools of isolated workers (crew %s).\n\n"
	       "  --listen ADDRESS  where to listen: IP:PORT, [IPV6]:PORT or unix:PATH;\n"
	       "                    port 0 picks a free one (default %s)\n"
	       "  --workers N       worker processes of the %s%s%s, 1 to %u\n"
	       "  --log-level NAME  debug, info, warning, error or critical (default info)\n"
	       "  --help            print this and exit\n"
	       "  --version         print the version and exit\n\n"
	       "Signals: TERM, INT and QUIT stop it gracefully; a second one at once.\n"
	       "Exit codes: 0 stopped in order, 1 could not start, 2 wrong command line or\n"
	       "table, 3 no worker ever came up.\n",
	       program, crew_version(),
	       server->listen ? server->listen : "127.0.0.1:8080",
	       server->pools[0].app ? "pool \"" : "first pool",
	       server->pools[0].app ? (server->pools[0].name
					       ? server->pools[0].name
					       : server->pools[0].app->name)
				    : "",
	       server->pools[0].app ? "\"" : "", WORKERS_MAX);
}

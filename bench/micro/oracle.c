/* SPDX-License-Identifier: MIT */
/*
 * Other parsers over the request that micro.c parses: picohttpparser, as h2o's
 * library has it (found at run time; its header is not packaged), and http-parser,
 * which Node.js had until version 12. Both accept more than crew does and judge
 * less: no lengths, no Host, no characters of values; what they cost is a measure,
 * not a rival. `oracle NAME TIMES`; without arguments it lists those that are
 * here.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "request.h"
#ifdef HAVE_HTTP_PARSER
#include <http_parser.h>
#endif

#define HEADERS_MAX 64

struct pico_header {
	const char *name;
	size_t name_size;
	const char *value;
	size_t value_size;
};

typedef int pico_parse(const char *bytes, size_t size, const char **method,
		       size_t *method_size, const char **path, size_t *path_size,
		       int *minor, struct pico_header *headers, size_t *header_count,
		       size_t last_size);

static pico_parse *pico_function(void)
{
	void *library = dlopen("libh2o.so.0.13", RTLD_NOW);
	union {
		void *object;
		pico_parse *function;
	} found = { library ? dlsym(library, "phr_parse_request") : NULL };

	return found.function;
}

static int pico(unsigned times)
{
	pico_parse *parse = pico_function();
	struct pico_header headers[HEADERS_MAX];
	size_t method_size, path_size, count;
	const char *method, *path;
	int minor;

	while (times-- > 0) {
		count = HEADERS_MAX;
		if (parse(REQUEST, sizeof(REQUEST) - 1, &method, &method_size, &path,
			  &path_size, &minor, headers, &count, 0) !=
		    (int)sizeof(REQUEST) - 1)
			return 1;
	}
	return 0;
}

#ifdef HAVE_HTTP_PARSER
static size_t spans;

static int note(http_parser *parser, const char *at, size_t size)
{
	(void)parser;
	(void)at;
	spans += size > 0;
	return 0;
}

static int node(unsigned times)
{
	http_parser_settings settings;
	http_parser parser;

	http_parser_settings_init(&settings);
	settings.on_url = note;
	settings.on_header_field = note;
	settings.on_header_value = note;
	while (times-- > 0) {
		http_parser_init(&parser, HTTP_REQUEST);
		if (http_parser_execute(&parser, &settings, REQUEST, sizeof(REQUEST) - 1) !=
		    sizeof(REQUEST) - 1)
			return 1;
	}
	return 0;
}
#endif

static const struct oracle {
	const char *name;
	int (*run)(unsigned times);
} oracles[] = {
	{ "picohttpparser", pico },
#ifdef HAVE_HTTP_PARSER
	{ "http-parser", node },
#endif
};

int main(int argc, char **argv)
{
	struct timespec begin;
	struct timespec end;

	for (size_t i = 0; i < sizeof(oracles) / sizeof(oracles[0]); i++) {
		const unsigned times = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
		double ns;

		if (oracles[i].run == pico && !pico_function())
			continue;
		if (argc < 3) {
			puts(oracles[i].name);
			continue;
		}
		if (strcmp(oracles[i].name, argv[1]) != 0)
			continue;
		clock_gettime(CLOCK_MONOTONIC, &begin);
		if (oracles[i].run(times) != 0) {
			fprintf(stderr, "%s: it does not parse\n", argv[1]);
			return 1;
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 +
		     (double)(end.tv_nsec - begin.tv_nsec);
		printf("%-16s %8.1f ns  %8.1f MB/s\n", argv[1], ns / times,
		       (double)(sizeof(REQUEST) - 1) * times / ns * 1000);
	}
	return 0;
}

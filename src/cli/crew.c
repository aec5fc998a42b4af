/* SPDX-License-Identifier: MIT */
/*
 * The crew program: runs a server that was built as a shared object. It uses
 * the public headers only, which proves that they suffice. The object exports
 * its tables under the name crew_server, and as crew_server_abi the number of the
 * interface that it was built against, which must be this library's:
 * CREW_EXPORT_SERVER does both. Without the number it is run with a warning.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <crew/crew.h>

static int run(int argc, char **argv);
static void print_help(void);

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "run") == 0)
		return run(argc - 1, argv + 1);
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_help();
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("crew %s\n", crew_version());
		return 0;
	}
	if (argc > 1)
		fprintf(stderr, "crew: there is no command \"%s\"; see crew --help\n",
			argv[1]);
	else
		fprintf(stderr, "crew: what shall it do? see crew --help\n");
	return CREW_EXIT_USAGE;
}

/* crew run FILE.so [OPTION]... */
static int run(int argc, char **argv)
{
	const struct crew_server *server;
	const unsigned *abi;
	char *file = argc > 1 ? argv[1] : NULL;
	static char program[256];
	char path[4096];
	void *object;

	if (!file || file[0] == '-') {
		fprintf(stderr, "crew: run needs the file of a server first: "
				"crew run ./items.so [OPTION]...\n");
		return CREW_EXIT_USAGE;
	}
	snprintf(path, sizeof(path), "%s%s", strchr(file, '/') ? "" : "./", file);
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		fprintf(stderr, "crew: cannot load %s: %s\n", file, dlerror());
		return CREW_EXIT_FAILED;
	}
	abi = dlsym(object, "crew_server_abi");
	if (!abi)
		fprintf(stderr, "crew: %s does not say for which interface of crew it was "
				"built, this is %u: use CREW_EXPORT_SERVER\n",
			file, crew_abi());
	if (abi && *abi != crew_abi()) {
		fprintf(stderr, "crew: %s was built for interface %u of crew, "
				"this is %u: build it anew\n",
			file, *abi, crew_abi());
		return CREW_EXIT_FAILED;
	}
	server = dlsym(object, "crew_server");
	if (!server) {
		fprintf(stderr, "crew: %s exports no tables: it needs "
				"`CREW_EXPORT_SERVER = { … };` (see <crew/serve.h>)\n",
			file);
		return CREW_EXIT_FAILED;
	}
	/* What help and errors call the program is what has to be typed again. */
	snprintf(program, sizeof(program), "crew run %s",
		 strrchr(file, '/') ? strrchr(file, '/') + 1 : file);
	argv[1] = program;
	return crew_main(argc - 1, argv + 1, server);
}

static void print_help(void)
{
	printf("Usage: crew run FILE.so [OPTION]...\n"
	       "       crew --help | --version\n\n"
	       "Runs the server that FILE.so holds: a shared object with\n"
	       "`CREW_EXPORT_SERVER = { … };`, built by\n"
	       "cc -shared -fPIC FILE.c $(pkg-config --cflags --libs crew) -o FILE.so.\n"
	       "The options are those of every crew server: see crew run FILE.so --help.\n");
}

/* SPDX-License-Identifier: MIT */
/*
 * The ways in which a worker can come to grief, on purpose. Each costs the
 * request that asked for it, and nothing else.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "sampler.h"

#define LEAK_LIMIT_BYTES (512u << 20)

/* The sanitizer would end it in a way of its own. */
__attribute__((no_sanitize("undefined")))
static void by_segv(struct crew_request *request)
{
	volatile int *volatile nowhere = NULL;

	(void)request;
	*nowhere = 1;
}

static void by_abort(struct crew_request *request)
{
	(void)request;
	abort();
}

static void by_assert(struct crew_request *request)
{
	crew_log(crew_worker(request), CREW_CRITICAL,
		 "assertion failed: the sampler was asked to crash");
	abort();
}

static void by_free(struct crew_request *request)
{
	char *volatile twice = malloc(100);
	char *volatile again = twice;

	(void)request;
	free(twice);
	free(again);
	abort();
}

static void by_exit(struct crew_request *request)
{
	(void)request;
	exit(7);
}

static void by_stop(struct crew_request *request)
{
	(void)request;
	raise(SIGSTOP);
}

/* Never zero; but the compiler cannot know that it goes on for ever. */
static int deeper(const volatile char *above)
{
	volatile char here[4096];

	if (*above == 0)
		return 0;
	here[0] = *above;
	return deeper(here) + here[0];
}

static void by_stack(struct crew_request *request)
{
	volatile char first = 1;

	(void)request;
	deeper(&first);
}

static void by_leak(struct crew_request *request)
{
	const struct rlimit limit = { LEAK_LIMIT_BYTES, LEAK_LIMIT_BYTES };

	(void)request;
	setrlimit(RLIMIT_AS, &limit);
	for (;;) {
		char *lost = malloc(1 << 20);

		if (!lost)
			abort();
		memset(lost, 1, 1 << 20);
	}
}

static void by_deadlock(struct crew_request *request)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	(void)request;
	pthread_mutex_lock(&lock);
	pthread_mutex_lock(&lock);
}

/* Scribble over all that this worker may write of its link. */
static void by_garbage(struct crew_request *request)
{
	const struct timespec moment = { .tv_nsec = 50 * 1000000 };
	void *start[4];
	size_t size[4];
	size_t count = crew_worker_link_memory(crew_worker(request), start, size, 4);

	for (size_t i = 0; i < count; i++) {
		unsigned char *byte = start[i];

		for (size_t j = 0; j < size[i]; j++)
			byte[j] = (unsigned char)(random() >> 7);
	}
	nanosleep(&moment, NULL);
}

static const struct way {
	const char *name;
	void (*go)(struct crew_request *request);
} ways[] = {
	{ "segv", by_segv },   { "abort", by_abort },       { "assert", by_assert },
	{ "free", by_free },   { "exit", by_exit },         { "stop", by_stop },
	{ "stack", by_stack }, { "leak", by_leak },         { "deadlock", by_deadlock },
	{ "garbage", by_garbage },
};

crew_reply page_crash(struct crew_request *request)
{
	const char *how = crew_path_str(request, "how");

	sampler_ran(request);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(ways[i].name, how) == 0) {
			ways[i].go(request);
			return crew_text(request, 200, "survived");
		}
	}
	return crew_error(request, 404, "there is no way to crash called \"%s\"", how);
}

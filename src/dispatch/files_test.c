/* SPDX-License-Identifier: MIT */
/* What a path below a mount names: a folder of files, and heads that ask for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "dispatch/files.h"
#include "dispatch/root.h"

#define TIMES 30000

static char folder[] = "/tmp/crew-files-XXXXXX";
static int root_fd;
static struct http_head head;
static struct file_answer answer;
static atomic_bool over;

static void make_file(const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "text", 4), 4);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(mkdir("here", 0755), 0);
	assert_int_equal(mkdir("there", 0755), 0);
	assert_int_equal(mkdir("there/index.html", 0755), 0);
	assert_int_equal(symlink("../here", "there/link"), 0);
	make_file("here/file.txt");
	make_file("here/index.html");
	root_fd = root_open(folder);
	return root_fd >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	close(root_fd);
	return unlink("here/file.txt") + unlink("here/index.html") + rmdir("here") +
	       rmdir("there/index.html") + unlink("there/link") + rmdir("there") +
	       rmdir(folder);
}

/* Ask for what stands there below /at/. Returns the status. */
static int get(const char *rest, const char *query)
{
	static char path[4096];

	snprintf(path, sizeof(path), "/at/%s", rest);
	head.method = HTTP_GET;
	head.path = span_of(path);
	head.query = query ? span_of(query) : (struct span){ NULL, 0 };
	files_answer(root_fd, span_of(rest), &head, &answer);
	if (answer.fd >= 0)
		close(answer.fd);
	return answer.status;
}

static void files_are_found_below_the_root(void **state)
{
	(void)state;
	assert_int_equal(get("here/file.txt", NULL), 200);
	assert_int_equal(answer.length, 4);
	assert_int_equal(get("there/link/file.txt", NULL), 200);
	assert_int_equal(get("here/", NULL), 200);
	assert_non_null(strstr(answer.headers, "text/html"));
	assert_int_equal(get("here/file.txt/", NULL), 404);
	assert_int_equal(get("nowhere", NULL), 404);
}

static void a_folder_has_a_slash_behind_it(void **state)
{
	char query[8000] = "a=b";
	char name[300] = "here/";
	char location[16000];

	(void)state;
	assert_int_equal(get("here", NULL), 301);
	assert_string_equal(answer.headers, "Location: /at/here/\r\n");
	assert_int_equal(get("here", query), 301);
	assert_string_equal(answer.headers, "Location: /at/here/?a=b\r\n");
	head.path = span_of("/at");
	head.query = span_of("a=b");
	files_answer(root_fd, span_of(""), &head, &answer);
	assert_int_equal(answer.status, 404);
	make_file("index.html");
	files_answer(root_fd, span_of(""), &head, &answer);
	assert_int_equal(answer.status, 301);
	assert_int_equal(answer.fd, -1);
	assert_string_equal(answer.headers, "Location: /at/?a=b\r\n");
	assert_int_equal(get("", NULL), 200);
	assert_int_equal(unlink("index.html"), 0);
	/* Whatever a request line can hold: what is cut off may be what somebody logs in by. */
	memset(query, 'q', sizeof(query) - 1);
	query[sizeof(query) - 1] = '\0';
	snprintf(location, sizeof(location), "Location: /at/here/?%s\r\n", query);
	assert_int_equal(get("here", query), 301);
	assert_string_equal(answer.headers, location);
	memset(name + strlen(name), 'n', 250);
	assert_int_equal(mkdir(name, 0755), 0);
	snprintf(location, sizeof(location), "Location: /at/%s/?%s\r\n", name, "a=b");
	assert_int_equal(get(name, "a=b"), 301);
	assert_string_equal(answer.headers, location);
	assert_int_equal(rmdir(name), 0);
}

/* Another slash would lead there again. */
static void a_folder_in_place_of_the_index_is_not_there(void **state)
{
	(void)state;
	assert_int_equal(get("there", NULL), 301);
	assert_int_equal(get("there/", NULL), 404);
	assert_int_equal(get("there//", NULL), 404);
}

static void *rename_for_ever(void *unused)
{
	(void)unused;
	while (!atomic_load(&over)) {
		check(rename("here/index.html", "there/other.html") == 0);
		check(rename("there/other.html", "here/index.html") == 0);
	}
	return NULL;
}

/* The kernel gives up where it cannot tell whether the dots of a link lead out of the root. */
static void what_others_rename_keeps_no_file_from_being_found(void **state)
{
	pthread_t thread;
	int found = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, rename_for_ever, NULL), 0);
	for (int i = 0; i < TIMES; i++)
		found += get("there/link/file.txt", NULL) == 200;
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	assert_int_equal(found, TIMES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_found_below_the_root),
		cmocka_unit_test(a_folder_has_a_slash_behind_it),
		cmocka_unit_test(a_folder_in_place_of_the_index_is_not_there),
		cmocka_unit_test(what_others_rename_keeps_no_file_from_being_found),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: MIT */
/*
 * Rotated files, in a directory of their own. A full disk is a file size limit,
 * which everybody may have, and where this runs as root also a disk of 64 KiB.
 * What a test does to its own process it does in a fork.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rotate.h"
#include "base/test_fork.h"

#define DISK_BYTES 65536
#define NOBODY 65534

static char directory[64];
static char path[96];
static char content[2 * DISK_BYTES];

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/crew-rotate-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/log", directory);
	return 0;
}

/* The name of the file that was rotated `age` times. */
static const char *name_of(unsigned age)
{
	static char name[128];

	snprintf(name, sizeof(name), age ? "%s.%u" : "%s", path, age);
	return name;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++)
		unlink(name_of(i));
	return rmdir(directory);
}

static const char *text_of(const char *name)
{
	FILE *file = fopen(name, "r");
	size_t n = 0;

	if (!file)
		return "(none)";
	n = fread(content, 1, sizeof(content) - 1, file);
	content[n] = '\0';
	fclose(file);
	return content;
}

static const char *text_at(unsigned age)
{
	return text_of(name_of(age));
}

static bool put(struct rotate *rotate, const char *line)
{
	return rotate_write(rotate, line, strlen(line));
}

static void lines_go_to_the_end(void **state)
{
	struct rotate rotate;
	struct stat status;
	const mode_t before = umask(0);

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 1000, 2), 0);
	umask(before);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_int_equal(fcntl(rotate.fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(rotate.fd, F_GETFL) & O_APPEND);
	assert_true(put(&rotate, "one\n"));
	rotate_fini(&rotate);
	assert_int_equal(rotate_open(&rotate, path, 1000, 2), 0);
	assert_int_equal(rotate.size, 4);
	assert_true(put(&rotate, "two\n"));
	assert_string_equal(text_at(0), "one\ntwo\n");
	rotate_fini(&rotate);
	rotate_fini(&rotate);
	rotate_fini(&(struct rotate){ 0 });
}

static void a_full_file_is_rotated(void **state)
{
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 8, 2), 0);
	assert_true(put(&rotate, "aaa\n"));
	assert_true(put(&rotate, "bbb\n")); /* just fits */
	assert_string_equal(text_at(1), "(none)");
	assert_true(put(&rotate, "ccc\n"));
	assert_string_equal(text_at(1), "aaa\nbbb\n");
	assert_string_equal(text_at(0), "ccc\n");
	/* Longer than a file may be: it is not split, and has a file of its own. */
	assert_true(put(&rotate, "dddddddddddd\n"));
	assert_true(put(&rotate, "eee\n"));
	assert_string_equal(text_at(0), "eee\n");
	assert_string_equal(text_at(1), "dddddddddddd\n");
	assert_string_equal(text_at(2), "ccc\n");
	assert_string_equal(text_at(3), "(none)");
	rotate_fini(&rotate);
}

static void the_size_of_an_older_run_counts(void **state)
{
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 8, 1), 0);
	assert_true(put(&rotate, "aaaaaa\n"));
	rotate_fini(&rotate);
	assert_int_equal(rotate_open(&rotate, path, 8, 1), 0);
	assert_true(put(&rotate, "bbb\n"));
	assert_string_equal(text_at(1), "aaaaaa\n");
	assert_string_equal(text_at(0), "bbb\n");
	rotate_fini(&rotate);
}

static void without_older_files_it_starts_anew(void **state)
{
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 8, 0), 0);
	assert_true(put(&rotate, "aaaaaa\n"));
	assert_true(put(&rotate, "bbb\n"));
	assert_string_equal(text_at(0), "bbb\n");
	assert_string_equal(text_at(1), "(none)");
	rotate_fini(&rotate);
}

static void a_moved_file_is_left_alone(void **state)
{
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 100, 2), 0);
	assert_true(put(&rotate, "one\n"));
	assert_int_equal(rename(path, name_of(5)), 0);
	assert_true(put(&rotate, "two\n"));
	assert_int_equal(rotate_reopen(&rotate), 0);
	assert_int_equal(rotate.size, 0);
	assert_true(put(&rotate, "three\n"));
	assert_string_equal(text_at(5), "one\ntwo\n");
	assert_string_equal(text_at(0), "three\n");
	rotate_fini(&rotate);
}

static void what_cannot_be_reopened_is_kept(void **state)
{
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 100, 2), 0);
	assert_int_equal(rename(path, name_of(5)), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(rotate_reopen(&rotate), -EISDIR);
	assert_true(put(&rotate, "one\n"));
	assert_string_equal(text_at(5), "one\n");
	assert_int_equal(rmdir(path), 0);
	rotate_fini(&rotate);
}

static void what_cannot_be_opened_is_an_error(void **state)
{
	struct rotate rotate = { .max_bytes = 77 };
	char name[160];

	(void)state;
	snprintf(name, sizeof(name), "%s/none/log", directory);
	assert_int_equal(rotate_open(&rotate, name, 8, 1), -ENOENT);
	assert_int_equal(rotate_open(&rotate, directory, 8, 1), -EISDIR);
	assert_int_equal(rotate.max_bytes, 77);
}

/* Raw output and children write there too. */
static void what_others_write_counts(void **state)
{
	struct rotate rotate;
	int fd;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 1000, 2), 0);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(fd, "0123456789\n", 11), 11);
	close(fd);
	for (int i = 0; i < 64; i++)
		assert_true(put(&rotate, "x\n"));
	assert_true(put(&rotate, "y\n"));
	assert_true(strlen(text_at(1)) >= 1100);
	assert_true(strlen(text_at(0)) <= 128);
	rotate_fini(&rotate);
}

/* Somebody has emptied it: what we believed is wrong, and it is not rotated. */
static void an_emptied_file_is_not_rotated(void **state)
{
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 8, 2), 0);
	assert_true(put(&rotate, "aaaaaa\n"));
	assert_int_equal(truncate(path, 0), 0);
	assert_true(put(&rotate, "bbb\n"));
	assert_string_equal(text_at(0), "bbb\n");
	assert_string_equal(text_at(1), "(none)");
	rotate_fini(&rotate);
}

static void print_raw(void)
{
	struct rotate rotate;

	must(rotate_open(&rotate, path, 10, 2) == 0);
	rotate_stdio(&rotate);
	must(fcntl(STDERR_FILENO, F_GETFD) == 0); /* also after an exec */
	must(write(STDOUT_FILENO, "out\n", 4) == 4);
	must(write(STDERR_FILENO, "err\n", 4) == 4);
	must(put(&rotate, "line\n"));
	must(strcmp(text_at(0), "out\nerr\nline\n") == 0);
	must(put(&rotate, "rotated\n"));
	must(write(STDERR_FILENO, "err\n", 4) == 4);
	must(strcmp(text_at(0), "rotated\nerr\n") == 0);
	must(rename(path, name_of(5)) == 0);
	must(rotate_reopen(&rotate) == 0);
	must(write(STDOUT_FILENO, "out\n", 4) == 4);
	must(strcmp(text_at(0), "out\n") == 0);
	must(strcmp(text_at(5), "rotated\nerr\n") == 0);
	rotate_fini(&rotate);
}

static void raw_output_lands_there_too(void **state)
{
	(void)state;
	in_a_fork(print_raw);
}

static void change_directory(void)
{
	struct rotate rotate;

	must(chdir(directory) == 0);
	must(rotate_open(&rotate, "log", 8, 1) == 0);
	must(chdir("/") == 0);
	must(put(&rotate, "aaaaaa\n"));
	must(put(&rotate, "bbbbbb\n"));
	must(strcmp(text_at(1), "aaaaaa\n") == 0);
	must(strcmp(text_at(0), "bbbbbb\n") == 0);
	rotate_fini(&rotate);
}

static void a_relative_path_is_remembered(void **state)
{
	(void)state;
	in_a_fork(change_directory);
}

/* Its directory may no longer be written to, as after root was given up. */
static void lose_the_directory(void)
{
	struct rotate rotate;

	must(rotate_open(&rotate, path, 8, 2) == 0);
	must(chmod(directory, 0500) == 0);
	must(getuid() != 0 || setresuid(NOBODY, NOBODY, NOBODY) == 0);
	must(put(&rotate, "aaaaaa\n"));
	for (int i = 0; i < 10; i++)
		must(put(&rotate, "bbb\n"));
	must(rotate.size == 47);
	must(rotate.dropped == 0);
	/* Not tried anew with each line, but after as much again. */
	must(rotate.next_try >= rotate.size && rotate.next_try <= rotate.size + 8);
	rotate_fini(&rotate);
}

static void where_it_cannot_rotate_it_goes_on(void **state)
{
	(void)state;
	in_a_fork(lose_the_directory);
	assert_int_equal(chmod(directory, 0700), 0);
	assert_int_equal(strlen(text_at(0)), 47);
	assert_string_equal(text_at(1), "(none)");
}

/* Two write one file: the second finds it rotated, and rotates no more. */
static void two_writers_rotate_once(void **state)
{
	struct rotate first;
	struct rotate second;

	(void)state;
	assert_int_equal(rotate_open(&first, path, 11, 3), 0);
	assert_int_equal(rotate_open(&second, path, 11, 3), 0);
	assert_true(put(&first, "aaaaa\n"));
	assert_true(put(&second, "bbbbb\n"));
	assert_true(put(&first, "ccccc\n"));
	assert_true(put(&second, "ddddd\n"));
	assert_string_equal(text_at(0), "ccccc\nddddd\n");
	assert_string_equal(text_at(1), "aaaaa\nbbbbb\n");
	assert_string_equal(text_at(2), "(none)");
	rotate_fini(&first);
	rotate_fini(&second);
}

/* No descriptor is left for the new file: the old one keeps its name. */
static void find_no_descriptor(void)
{
	const struct rlimit none = { 0, 0 };
	struct rotate rotate;

	must(rotate_open(&rotate, path, 8, 3) == 0);
	must(setrlimit(RLIMIT_NOFILE, &none) == 0);
	for (int i = 0; i < 10; i++)
		must(put(&rotate, "aaaaaa\n"));
	must(rotate.size == 70);
	must(access(path, F_OK) == 0);
	rotate_fini(&rotate);
}

static void without_a_new_file_the_old_keeps_its_name(void **state)
{
	(void)state;
	in_a_fork(find_no_descriptor);
	assert_int_equal(strlen(text_at(0)), 70);
	assert_string_equal(text_at(1), "(none)");
}

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	must(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = bytes;
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void fill_a_limited_file(void)
{
	struct rotate rotate;
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	must(sigaction(SIGXFSZ, &ignore, NULL) == 0);
	must(rotate_open(&rotate, path, 100000, 2) == 0);
	limit_file_size(100);
	for (int i = 0; i < 9; i++)
		must(put(&rotate, "123456789\n"));
	/* Six bytes of it would fit: none is left. */
	must(put(&rotate, "12345\n"));
	must(!put(&rotate, "lost one\n"));
	must(strlen(text_at(0)) == 96);
	must(!put(&rotate, "lost two\n"));
	must(strlen(text_at(0)) == 96);
	must(rotate.dropped == 2 && rotate.size == 96);
	limit_file_size(100000);
	must(put(&rotate, "found\n"));
	must(rotate.dropped == 0);
	must(strcmp(text_at(0) + 90, "12345\n2 lines were dropped: File too large\n"
		    "found\n") == 0);
	rotate_fini(&rotate);
}

static void a_limit_leaves_no_half_line(void **state)
{
	(void)state;
	in_a_fork(fill_a_limited_file);
}

static void a_full_device_is_survived(void **state)
{
	const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 1000, 2), 0);
	assert_int_equal(dup3(full, rotate.fd, O_CLOEXEC), rotate.fd);
	for (int i = 0; i < 200; i++)
		assert_false(put(&rotate, "lost, though not for want of trying\n"));
	assert_int_equal(rotate.dropped, 200);
	assert_int_equal(rotate.error, ENOSPC);
	rotate_fini(&rotate);
	close(full);
}

/* Nor does it wait for who may read it some day. */
static void what_is_no_file_is_refused(void **state)
{
	struct rotate rotate;
	int reader;

	(void)state;
	assert_int_equal(rotate_open(&rotate, "/dev/full", 1000, 2), -ENOTSUP);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10);
	assert_int_equal(rotate_open(&rotate, path, 1000, 2), -ENOTSUP);
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(rotate_open(&rotate, path, 1000, 2), -ENOTSUP);
	alarm(0);
	close(reader);
}

static void a_link_is_not_what_is_rotated(void **state)
{
	char link[128];
	struct rotate rotate;
	struct stat status;

	(void)state;
	snprintf(link, sizeof(link), "%s/link", directory);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(rotate_open(&rotate, link, 8, 2), 0);
	assert_true(put(&rotate, "one two\n"));
	assert_true(put(&rotate, "three\n"));
	assert_int_equal(lstat(link, &status), 0);
	assert_true(S_ISLNK(status.st_mode));
	assert_string_equal(text_at(1), "one two\n");
	assert_string_equal(text_at(0), "three\n");
	/* Where it leads by now is what is opened anew. */
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink(name_of(5), link), 0);
	assert_int_equal(rotate_reopen(&rotate), 0);
	assert_true(put(&rotate, "four\n"));
	assert_string_equal(text_at(5), "four\n");
	rotate_fini(&rotate);
	unlink(link);
}

/* Every line is whole: how many are there? */
static int count_whole(const char *text, const char *line)
{
	const size_t size = strlen(line);
	int count = 0;

	while (strncmp(text, line, size) == 0) {
		text += size;
		count++;
	}
	return *text ? -1 : count;
}

static void what_was_dropped_is_told_though_no_line_follows(void **state)
{
	struct rotate rotate;

	(void)state;
	assert_int_equal(rotate_open(&rotate, path, 1000, 2), 0);
	rotate.error = ENOSPC;
	rotate.dropped = 3;
	rotate_tell(&rotate);
	rotate_tell(&rotate);
	assert_string_equal(text_at(0), "3 lines were dropped: No space left on device\n");
	rotate.dropped = 2;
	rotate_fini(&rotate);
	assert_string_equal(text_at(0), "3 lines were dropped: No space left on device\n"
					"2 lines were dropped: No space left on device\n");
}

static void fill_a_small_disk(void)
{
	struct rotate rotate;
	char line[1001];
	char ballast[128];
	int written = 0;
	int fd;

	memset(line, 'x', 1000);
	line[999] = '\n';
	line[1000] = '\0';
	snprintf(ballast, sizeof(ballast), "%s/ballast", directory);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", directory, "tmpfs", 0, "size=64k") < 0)
		_exit(77);
	fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, content, 32768) == 32768);
	must(rotate_open(&rotate, path, 1000000, 2) == 0);
	while (written < 200 && put(&rotate, line))
		written++;
	must(written > 10 && written < 66);
	for (int i = 0; i < 5; i++)
		must(!put(&rotate, line));
	must(count_whole(text_at(0), line) == written);
	must(rotate.dropped == 6 && rotate.error == ENOSPC);
	must(ftruncate(fd, 0) == 0);
	must(put(&rotate, line));
	snprintf(ballast, sizeof(ballast), "6 lines were dropped: %s\n",
		 strerror(ENOSPC));
	must(strncmp(text_at(0) + 1000 * written, ballast, strlen(ballast)) == 0);
	must(strcmp(content + 1000 * written + strlen(ballast), line) == 0);
	rotate_fini(&rotate);
}

static void a_full_disk_leaves_no_half_line(void **state)
{
	const int r = code_of_fork(fill_a_small_disk);

	(void)state;
	if (r == 77)
		print_message("no right to mount a small disk: the size limit and "
			      "/dev/full stand in for it\n");
	else
		assert_int_equal(r, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(lines_go_to_the_end),
		test(a_full_file_is_rotated),
		test(the_size_of_an_older_run_counts),
		test(without_older_files_it_starts_anew),
		test(a_moved_file_is_left_alone),
		test(what_cannot_be_reopened_is_kept),
		test(what_cannot_be_opened_is_an_error),
		test(what_others_write_counts),
		test(an_emptied_file_is_not_rotated),
		test(raw_output_lands_there_too),
		test(a_relative_path_is_remembered),
		test(where_it_cannot_rotate_it_goes_on),
		test(two_writers_rotate_once),
		test(without_a_new_file_the_old_keeps_its_name),
		test(a_limit_leaves_no_half_line),
		test(a_full_device_is_survived),
		test(what_is_no_file_is_refused),
		test(a_link_is_not_what_is_rotated),
		test(what_was_dropped_is_told_though_no_line_follows),
		test(a_full_disk_leaves_no_half_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

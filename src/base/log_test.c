/* SPDX-License-Identifier: MIT */
/*
 * Log lines, read back from what stands in for standard error: a pipe, a file,
 * a socket. The real one is kept aside for cmocka's own words.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

#define PIPE_BYTES 65536

static int real_error;
static int reader = -1;
static char seen[2 * PIPE_BYTES];

static void take_over(int fd)
{
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
}

static int set_up(void **state)
{
	int ends[2];

	(void)state;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	reader = ends[0];
	take_over(ends[1]);
	unsetenv("JOURNAL_STREAM");
	log_set_level(CREW_INFO);
	log_init();
	/* What was lost in the test before is not to be told in this one. */
	log_tell_dropped();
	return read(reader, seen, sizeof(seen)) < 0 && errno != EAGAIN;
}

static int tear_down(void **state)
{
	(void)state;
	dup2(real_error, STDERR_FILENO);
	if (reader >= 0)
		close(reader);
	reader = -1;
	return 0;
}

/* All that was logged since the last look. */
static const char *look(void)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(reader, seen + used, sizeof(seen) - 1 - used)) > 0)
		used += (size_t)n;
	seen[used] = '\0';
	return seen;
}

static void fill_pipe(void)
{
	static const char bytes[PIPE_BYTES];
	const int flags = fcntl(STDERR_FILENO, F_GETFL);

	fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
	while (write(STDERR_FILENO, bytes, sizeof(bytes)) > 0)
		;
	fcntl(STDERR_FILENO, F_SETFL, flags);
}

static void assert_like(const char *text, const char *pattern)
{
	regex_t regex;
	int r;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	r = regexec(&regex, text, 0, NULL, 0);
	regfree(&regex);
	if (r != 0)
		fail_msg("\"%s\" is not like \"%s\"", text, pattern);
}

static void a_plain_line_has_time_level_origin_message(void **state)
{
	(void)state;
	log_info("%d bolts", 3);
	assert_like(look(), "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:"
			    "[0-6][0-9]\\.[0-9]{3}Z info     parent: 3 bolts\n$");
	log_from("items[2]", 0, CREW_ERROR, "no nut, no more", 6);
	assert_like(look(), "Z error    items\\[2\\]: no nut\n$");
}

static void a_child_gives_the_priority_alone(void **state)
{
	(void)state;
	log_become_child();
	log_set_level(CREW_DEBUG);
	log_critical("a");
	log_error("b");
	log_warning("c");
	log_info("d");
	log_debug("e");
	assert_string_equal(look(), "<2>a\n<3>b\n<4>c\n<6>d\n<7>e\n");
}

static void levels_are_a_threshold(void **state)
{
	static const char *const names[] = { "debug", "info", "warning", "error",
					     "critical" };

	(void)state;
	log_become_child();
	log_set_level(CREW_ERROR);
	assert_false(log_enabled(CREW_WARNING));
	assert_true(log_enabled(CREW_ERROR));
	log_warning("unheard");
	log_error("heard");
	assert_string_equal(look(), "<3>heard\n");
	for (int i = 0; i < (int)COUNT_OF(names); i++)
		assert_int_equal(log_level_by_name(names[i]), 10 * (i + 1));
	assert_int_equal(log_level_by_name("loud"), 0);
	assert_int_equal(log_level_by_name(""), 0);
}

static void a_line_of_the_access_log_knows_no_level(void **state)
{
	(void)state;
	log_become_child();
	log_set_level(CREW_CRITICAL);
	log_access("access %d\n\033", 1);
	assert_string_equal(look(), "<134>access 1\\n\\x1b\n");
	fill_pipe();
	log_access("lost");
	look();
	log_access("access 2");
	assert_like(look(), "^<4>dropped 1 of this process's lines: .*\n<134>access 2\n$");
}

static void nobody_forges_a_line(void **state)
{
	static const struct {
		const char *message, *shown;
	} cases[] = {
		{ "a\nb", "a\\nb" },
		{ "a\r\nb", "a\\x0d\\nb" },
		{ "ends\n\n", "ends\\n" },
		{ "\tok", "\tok" },
		{ "\033[31mred\x7f", "\\x1b[31mred\\x7f" },
		{ "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x94\xa9",
		  "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x94\xa9" },
		{ "\x9b" "31m", "\\x9b31m" },         /* control, 8 bit */
		{ "\xc2\x9b" "31m", "\\xc2\\x9b31m" }, /* the same in UTF-8 */
		{ "\xc0\x8a", "\\xc0\\x8a" },         /* a newline, overlong */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* a surrogate */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
		{ "\xe2\x82", "\\xe2\\x82" },
		{ "\\x0a", "\\x0a" }, /* what a child escaped stays */
	};
	char expected[100];

	(void)state;
	log_become_child();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		log_info("%s", cases[i].message);
		snprintf(expected, sizeof(expected), "<6>%s\n", cases[i].shown);
		assert_string_equal(look(), expected);
	}
}

static void an_origin_forges_no_line_either(void **state)
{
	char origin[300];

	(void)state;
	log_from("a\nb", 0, CREW_INFO, "x", 1);
	assert_like(look(), "a\\\\nb: x\n$");
	memset(origin, 'o', sizeof(origin) - 1);
	origin[sizeof(origin) - 1] = '\0';
	log_from(origin, 0, CREW_INFO, "x", 1);
	assert_like(look(), "ooo \\[cut\\]: x\n$");
}

static void long_lines_are_cut_with_a_mark(void **state)
{
	static char text[20000];

	(void)state;
	log_become_child();
	memset(text, 'x', sizeof(text) - 1);
	for (int size = 8170; size < 8200; size++) {
		log_info("%.*s", size, text);
		look();
		assert_true(strlen(seen) <= 8192);
		if (strlen(seen) != (size_t)size + strlen("<6>\n"))
			assert_like(seen, "x \\[cut\\]\n$");
	}
	log_info("%.*s", 8000, text);
	assert_int_equal(strlen(look()), 8000 + 4);
	log_info("%s", text);
	assert_like(look(), "^<6>x+ \\[cut\\]\n$");
	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 2] = 'x';
	log_info("%s", text);
	assert_like(look(), "^<6>(\\\\n)+ \\[cut\\]\n$");
	assert_true(strlen(seen) <= 8192);
}

static void a_text_for_people_cannot_talk_to_a_terminal(void **state)
{
	static const char text[] = "\033[31mred\n\xff \xc3\xbc\ttab";
	char shown[64];

	(void)state;
	log_escape(shown, sizeof(shown), text, sizeof(text) - 1);
	assert_string_equal(shown, "\\x1b[31mred\\n\\xff \xc3\xbc\ttab");
	log_escape(shown, 16, text, sizeof(text) - 1);
	assert_string_equal(shown, "\\x1b[31mr [cut]");
	log_escape(shown, 1, text, sizeof(text) - 1);
	assert_string_equal(shown, "");
}

static void a_full_pipe_drops_and_counts(void **state)
{
	const uint64_t before = log_dropped();

	(void)state;
	log_become_child();
	fill_pipe();
	log_info("lost");
	assert_int_equal(log_dropped(), before + 1);
	while (read(reader, seen, sizeof(seen)) > 0)
		;
	log_info("heard");
	assert_like(look(), "^<4>dropped [0-9]+ of [^\n]*\n<6>heard\n$");
	assert_int_equal(log_dropped(), before + 1);
}

static void a_child_tells_what_it_could_not_say(void **state)
{
	const uint64_t before = log_dropped();

	(void)state;
	log_become_child();
	fill_pipe();
	for (int i = 0; i < 5; i++)
		log_error("lost");
	assert_int_equal(log_dropped(), before + 5);
	look();
	log_error("said");
	assert_like(look(), "^<4>dropped 5 of this process's lines: the log does not keep "
			    "up\n<3>said\n$");
	log_error("and no more of it");
	assert_string_equal(look(), "<3>and no more of it\n");
}

/* What it says for others is theirs to count; and nobody may say anything any more. */
static void the_parent_tells_what_it_could_not_say(void **state)
{
	const uint64_t before = log_dropped();

	(void)state;
	fill_pipe();
	log_error("died");
	log_error("died too");
	assert_false(log_from("items[2]", 1, CREW_INFO, "lost", 4));
	assert_int_equal(log_dropped(), before + 2);
	log_tell_dropped();
	assert_int_equal(log_dropped(), before + 2);
	look();
	log_tell_dropped();
	assert_like(look(), "Z warning  parent: dropped 2 of this process's lines: the log does "
			    "not keep up\n$");
	log_tell_dropped();
	assert_string_equal(look(), "");
}

/* Room for one page: a long line begins, cannot go on, and must not block. Its
 * rest goes before the next line. */
static void a_torn_line_is_finished_before_the_next(void **state)
{
	static char text[6000];
	const uint64_t before = log_dropped();

	(void)state;
	log_become_child();
	memset(text, 'x', sizeof(text) - 1);
	fill_pipe();
	assert_int_equal(read(reader, seen, 4096), 4096);
	assert_true(log_has_room());
	alarm(10);
	log_info("%s", text);
	alarm(0);
	assert_int_equal(log_dropped(), before);
	assert_false(log_has_room());
	log_info("no room: the rest of the last line comes first");
	assert_int_equal(log_dropped(), before + 1);
	while (read(reader, seen, 4096) == 4096 && seen[0] == '\0')
		;
	assert_memory_equal(seen, "<6>xxx", 6);
	assert_true(log_has_room());
	log_info("next");
	assert_like(look(), "^x+\n<4>dropped 1 of [^\n]*\n<6>next\n$");
}

/* Who would rather wait than lose a line waits for nobody. */
static void a_torn_line_that_nobody_reads_holds_up_nothing(void **state)
{
	static char text[6000];

	(void)state;
	log_become_child();
	memset(text, 'x', sizeof(text) - 1);
	fill_pipe();
	assert_int_equal(read(reader, seen, 4096), 4096);
	log_info("%s", text);
	assert_false(log_has_room());
	close(reader);
	reader = -1;
	assert_true(log_has_room());
}

static void a_pipe_that_nobody_reads_is_no_death(void **state)
{
	const uint64_t before = log_dropped();

	(void)state;
	close(reader);
	reader = -1;
	log_become_child();
	log_info("to nobody"); /* SIGPIPE has its default action here */
	assert_int_equal(log_dropped(), before + 1);
}

static void a_socket_never_blocks(void **state)
{
	const uint64_t before = log_dropped();
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	take_over(ends[1]);
	log_init();
	alarm(10);
	for (int i = 0; i < 100000 && log_dropped() == before; i++)
		log_info("over and over again, until nothing more goes in");
	alarm(0);
	assert_true(log_dropped() > before);
	close(ends[0]);
	log_info("to nobody");
	assert_int_equal(log_dropped(), before + 2);
}

static void a_file_gets_whole_lines(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	static char text[6000];
	struct stat status;

	(void)state;
	assert_true(fd >= 0);
	take_over(fd);
	log_init();
	memset(text, 'x', sizeof(text) - 1);
	log_info("%s", text);
	assert_int_equal(fstat(STDERR_FILENO, &status), 0);
	assert_in_range(status.st_size, 6000, 6100);
}

static void the_journal_gets_priority_and_origin(void **state)
{
	struct stat status;
	char stream[60];

	(void)state;
	setenv("JOURNAL_STREAM", "1:1", 1); /* somebody else's */
	log_init();
	log_info("x");
	assert_like(look(), "Z info     parent: x\n$");

	assert_int_equal(fstat(STDERR_FILENO, &status), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu",
		 (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init();
	log_from("items[0]", 0, CREW_WARNING, "late", 4);
	assert_string_equal(look(), "<4>items[0]: late\n");
	unsetenv("JOURNAL_STREAM");
}

static void a_terminal_gets_colours(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int fd;

	(void)state;
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		skip();
	fd = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(fd >= 0);
	take_over(fd);
	close(reader);
	reader = master;
	unsetenv("NO_COLOR");
	log_init();
	log_critical("red");
	assert_like(look(), "^\033\\[1;31m20.*Z critical parent: red\033\\[0m\r\n$");
	log_info("plain");
	assert_like(look(), "^20.*Z info     parent: plain\r\n$");
	setenv("NO_COLOR", "1", 1);
	log_init();
	log_error("grey");
	assert_like(look(), "^20.*Z error    parent: grey\r\n$");
	unsetenv("NO_COLOR");
}

static bool hear(void *context, const struct crew_log_line *line)
{
	snprintf(context, 100, "%s %s %d: %s", line->level_name, line->origin, line->pid,
		 line->message);
	return true;
}

static void who_takes_lines_is_asked_of_each(void **state)
{
	char heard[100] = "";

	(void)state;
	log_set_taker(hear, heard);
	log_raw("items[1]", 7, CREW_WARNING, "{\"a\":1}", 7);
	assert_string_equal(heard, "warning items[1] 7: {\"a\":1}");
	log_from("items[1]", 7, CREW_INFO, "text", 4);
	assert_string_equal(heard, "info items[1] 7: text");
	log_forget_taker(hear, NULL); /* another's */
	log_info("own");
	assert_string_equal(heard, "info parent 0: own");
	assert_string_equal(look(), "");
	log_forget_taker(hear, heard);
	log_raw("items[1]", 7, CREW_WARNING, "{\"b\":1}", 7);
	assert_string_equal(heard, "info parent 0: own");
	assert_string_equal(look(), "{\"b\":1}\n");
}

static bool count_and_pass(void *context, const struct crew_log_line *line)
{
	if (strstr(line->message, "dropped"))
		++*(unsigned *)context;
	return false;
}

/* Not each time that it is tried. */
static void who_takes_lines_hears_once_of_those_that_were_dropped(void **state)
{
	unsigned heard = 0;

	(void)state;
	fill_pipe();
	log_error("lost");
	log_set_taker(count_and_pass, &heard);
	for (unsigned i = 0; i < 3; i++)
		log_tell_dropped();
	log_error("lost too");
	assert_int_equal(heard, 0);
	look();
	for (unsigned i = 0; i < 3; i++)
		log_tell_dropped();
	log_forget_taker(count_and_pass, &heard);
	assert_int_equal(heard, 1);
	assert_like(look(), "dropped 2 of this process's lines: the log does not keep up\n$");
}

static int open_terminal(void)
{
	const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int fd;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		skip();
	fd = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(fd >= 0);
	take_over(fd);
	return master;
}

/* Its yes to poll is good for one byte, not for a line. */
static void say_until_it_drops(int size)
{
	static char text[2000];
	const uint64_t before = log_dropped();

	memset(text, 'x', sizeof(text));
	text[size] = '\0';
	alarm(5);
	for (int i = 0; i < 5000 && log_dropped() < before + 3; i++)
		log_info("%s", text);
	alarm(0);
	assert_int_equal(log_dropped(), before + 3);
}

static void a_terminal_that_nobody_reads_drops_and_counts(void **state)
{
	static const int sizes[] = { 60, 120, 300, 1000 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		const int master = open_terminal();

		log_init();
		say_until_it_drops(sizes[i]);
		assert_false(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK);
		while (read(master, seen, sizeof(seen)) > 0)
			;
		log_info("heard");
		close(reader);
		reader = master;
		assert_like(look(), "Z info     parent: heard\r\n$");
	}
}

static void nor_does_one_block_that_may_not_be_opened(void **state)
{
	struct rlimit before;
	struct rlimit none;
	int master;

	(void)state;
	master = open_terminal();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 3, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	log_init();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	say_until_it_drops(120);
	close(master);
}

static void what_takes_a_terminals_place_gets_the_lines(void **state)
{
	const int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	const int master = open_terminal();

	(void)state;
	log_init();
	log_info("on the terminal");
	assert_true(read(master, seen, sizeof(seen)) > 0);
	take_over(kept);
	log_follow();
	/* No descriptor of it is left. */
	assert_int_equal(read(master, seen, sizeof(seen)), -1);
	assert_int_equal(errno, EIO);
	log_info("in the pipe");
	assert_like(look(), "parent: in the pipe");
	close(master);
}

static void errno_is_left_alone(void **state)
{
	(void)state;
	fill_pipe();
	errno = ENOSPC;
	log_info("lost");
	assert_int_equal(errno, ENOSPC);
}

int main(void)
{
#define ON_A_PIPE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ON_A_PIPE(a_plain_line_has_time_level_origin_message),
		ON_A_PIPE(a_child_gives_the_priority_alone),
		ON_A_PIPE(levels_are_a_threshold),
		ON_A_PIPE(a_line_of_the_access_log_knows_no_level),
		ON_A_PIPE(nobody_forges_a_line),
		ON_A_PIPE(an_origin_forges_no_line_either),
		ON_A_PIPE(long_lines_are_cut_with_a_mark),
		ON_A_PIPE(a_text_for_people_cannot_talk_to_a_terminal),
		ON_A_PIPE(a_full_pipe_drops_and_counts),
		ON_A_PIPE(a_child_tells_what_it_could_not_say),
		ON_A_PIPE(the_parent_tells_what_it_could_not_say),
		ON_A_PIPE(a_torn_line_is_finished_before_the_next),
		ON_A_PIPE(a_torn_line_that_nobody_reads_holds_up_nothing),
		ON_A_PIPE(a_pipe_that_nobody_reads_is_no_death),
		ON_A_PIPE(a_socket_never_blocks),
		ON_A_PIPE(a_file_gets_whole_lines),
		ON_A_PIPE(the_journal_gets_priority_and_origin),
		ON_A_PIPE(a_terminal_gets_colours),
		ON_A_PIPE(a_terminal_that_nobody_reads_drops_and_counts),
		ON_A_PIPE(nor_does_one_block_that_may_not_be_opened),
		ON_A_PIPE(what_takes_a_terminals_place_gets_the_lines),
		ON_A_PIPE(who_takes_lines_is_asked_of_each),
		ON_A_PIPE(who_takes_lines_hears_once_of_those_that_were_dropped),
		ON_A_PIPE(errno_is_left_alone),
	};

	real_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The files of Unix sockets: whose they are, and who removes them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve/address.h"

static char folder[] = "/tmp/crew-address-XXXXXX";
static char listen_on[80];
static char name[80];
static struct crew_error error;

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(listen_on, sizeof(listen_on), "unix:%s/socket", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int begin(struct address_file *ret_file)
{
	const int fd = address_listen(listen_on, false, 0666, name, sizeof(name), &error);

	*ret_file = address_file(listen_on);
	return fd;
}

static bool is_there(void)
{
	struct stat status;

	return lstat(listen_on + 5, &status) == 0;
}

static void a_stop_removes_its_file(void **state)
{
	struct address_file file;
	const int fd = begin(&file);

	(void)state;
	assert_true(fd >= 0);
	assert_true(is_there());
	close(fd);
	address_forget(listen_on, file);
	assert_false(is_there());
	address_forget(listen_on, file);
}

static void a_stop_leaves_anothers(void **state)
{
	struct address_file old_file;
	struct address_file new_file;
	const int old = begin(&old_file);
	int new;

	(void)state;
	assert_true(old >= 0);
	assert_int_equal(unlink(listen_on + 5), 0);
	new = begin(&new_file);
	assert_true(new >= 0);
	close(old);
	address_forget(listen_on, old_file);
	assert_true(is_there());
	close(new);
	address_forget(listen_on, new_file);
	assert_false(is_there());
}

static void a_left_over_is_replaced_and_nothing_else(void **state)
{
	struct address_file file;
	struct address_file none;
	int fd = begin(&file);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(begin(&none), -EADDRINUSE);
	close(fd);
	fd = begin(&file);
	assert_true(fd >= 0);
	close(fd);
	address_forget(listen_on, file);
	assert_false(is_there());
}

static void other_addresses_have_no_file(void **state)
{
	(void)state;
	assert_int_equal(address_file("127.0.0.1:80").inode, 0);
	assert_int_equal(address_file("unix:@name").inode, 0);
	address_forget("127.0.0.1:80", (struct address_file){ 0 });
}

/* What a connection of a client of this address is controlled by; "" without IPv6. */
static const char *congestion_control_of(const char *address)
{
	static char control[16];
	socklen_t size = sizeof(control);
	const int fd = address_listen(address, true, 0, name, sizeof(name), &error);
	int too;

	control[0] = '\0';
	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		return control;
	assert_true(fd >= 0);
	too = address_listen_too(fd, address, &error);
	assert_true(too >= 0);
	assert_int_equal(getsockopt(too, IPPROTO_TCP, TCP_CONGESTION, control, &size), 0);
	size = sizeof(control);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, &size), 0);
	close(fd);
	close(too);
	return control;
}

static void the_loopback_needs_no_congestion_control(void **state)
{
	char systems[16];
	socklen_t size = sizeof(systems);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, systems, &size), 0);
	close(fd);
	assert_string_equal(congestion_control_of("127.0.0.1:0"), "reno");
	assert_string_equal(congestion_control_of("127.8.9.1:0"), "reno");
	assert_string_equal(congestion_control_of("0.0.0.0:0"), systems);
	if (!*congestion_control_of("[::1]:0"))
		return;
	assert_string_equal(congestion_control_of("[::1]:0"), "reno");
	assert_string_equal(congestion_control_of("[::ffff:127.0.0.1]:0"), "reno");
	assert_string_equal(congestion_control_of("[::]:0"), systems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stop_removes_its_file),
		cmocka_unit_test(a_stop_leaves_anothers),
		cmocka_unit_test(a_left_over_is_replaced_and_nothing_else),
		cmocka_unit_test(other_addresses_have_no_file),
		cmocka_unit_test(the_loopback_needs_no_congestion_control),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

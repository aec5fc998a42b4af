/* SPDX-License-Identifier: MIT */
/* When the dispatcher spins: a dispatcher with one worker, whose link is ours, and
 * connections that only ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dispatch/private.h"

#define CLIENTS 64u

static struct crew_server server;
static struct dispatcher *dispatcher;
static struct connection *clients[CLIENTS];
static struct seat seat;
static struct seat *seats[] = { &seat };
static _Atomic uint32_t told; /* the worker: whether we spin */
static struct watch watch;
static unsigned events;

static void came(struct loop *loop, struct watch *which, uint32_t what)
{
	uint64_t count;

	(void)loop;
	(void)what;
	assert_int_equal(read(which->fd, &count, sizeof(count)), sizeof(count));
	events++;
}

static void begin(unsigned spin_us, unsigned processors)
{
	server = (struct crew_server){ .dispatchers = 1, .spin_us = spin_us };
	dispatcher->processors = processors;
	few_init(dispatcher);
}

static int set_up(void **state)
{
	(void)state;
	dispatcher = calloc(1, sizeof(*dispatcher));
	assert_non_null(dispatcher);
	dispatcher->server = &server;
	assert_int_equal(loop_init(&dispatcher->loop), 0);
	dispatcher->loop.owner = dispatcher;
	dispatcher->pools[0].seats = seats;
	dispatcher->pools[0].seat_count = 1;
	dispatcher->pool_count = 1;
	seat = (struct seat){ .dispatcher = dispatcher, .up = true, .announced = true };
	seat.link.spins = &told;
	told = 0;
	watch = (struct watch){ .fd = eventfd(0, EFD_NONBLOCK), .ready = came };
	assert_true(watch.fd >= 0);
	assert_int_equal(loop_add(&dispatcher->loop, &watch, EPOLLIN), 0);
	events = 0;
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i] = calloc(1, sizeof(*clients[i]));
		assert_non_null(clients[i]);
		clients[i]->dispatcher = dispatcher;
	}
	begin(0, 2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++)
		free(clients[i]);
	loop_remove(&dispatcher->loop, &watch);
	close(watch.fd);
	loop_fini(&dispatcher->loop);
	free(dispatcher);
	return 0;
}

/* So many clients ask in turn, long enough to be judged by it. */
static void ask(unsigned count)
{
	for (unsigned i = 0; i < 1200; i++)
		few_count(clients[i % count]);
}

static bool something_comes(void)
{
	assert_int_equal(eventfd_write(watch.fd, 1), 0);
	return few_spin(dispatcher);
}

static void who_it_will_be_is_not_known_at_first(void **state)
{
	(void)state;
	assert_false(something_comes());
	for (unsigned i = 0; i < 100; i++)
		few_count(clients[0]);
	assert_false(something_comes());
	assert_int_equal(told, 0);
}

/* What was found is handled in this turn, once. */
static void with_few_clients_it_looks_for_what_comes(void **state)
{
	(void)state;
	for (unsigned count = 1; count <= 6; count++) {
		ask(count);
		assert_true(something_comes());
		assert_int_equal(told, 1);
		assert_int_equal(dispatcher->loop.pending_count, 1);
		assert_int_equal(loop_turn(&dispatcher->loop, 0), 0);
		assert_int_equal(events, count);
	}
}

static void with_more_it_does_not(void **state)
{
	(void)state;
	ask(1);
	assert_true(something_comes());
	ask(7);
	/* Without being asked, since it may have no time to sleep. */
	assert_int_equal(told, 0);
	assert_false(few_spin(dispatcher));
	ask(CLIENTS);
	assert_false(few_spin(dispatcher));
	ask(2);
	assert_true(few_spin(dispatcher));
	assert_int_equal(told, 1);
	assert_int_equal(dispatcher->few.found, 2);
}

/* Connections that stay, and do not ask, do not count. */
static void who_does_not_ask_is_not_counted(void **state)
{
	(void)state;
	ask(CLIENTS);
	assert_false(something_comes());
	ask(1);
	assert_true(few_spin(dispatcher));
}

/* The workers sleep too, then. */
static void in_vain_it_rests_and_tells_the_workers(void **state)
{
	(void)state;
	ask(1);
	assert_false(few_spin(dispatcher));
	assert_int_equal(told, 0);
	assert_false(something_comes());
	for (unsigned i = 0; i < 126; i++)
		assert_false(few_spin(dispatcher));
	assert_int_equal(told, 0);
	assert_false(few_spin(dispatcher));
	assert_true(few_spin(dispatcher));
	assert_int_equal(told, 1);
}

/* Each of several dispatchers has its part of the clients. */
static void all_dispatchers_together_have_few(void **state)
{
	(void)state;
	server.dispatchers = 3;
	few_init(dispatcher);
	ask(2);
	assert_true(something_comes());
	ask(3);
	assert_false(few_spin(dispatcher));
	server.dispatchers = 16;
	few_init(dispatcher);
	ask(2);
	assert_false(few_spin(dispatcher));
	ask(1);
	assert_true(few_spin(dispatcher));
}

/* A call has a connection of its own, and is a client's no more than a worker's. */
static void calls_are_no_clients(void **state)
{
	(void)state;
	for (unsigned i = 1; i < CLIENTS; i++)
		clients[i]->call = (struct call *)clients[i];
	ask(CLIENTS);
	assert_true(something_comes());
}

static void a_new_worker_is_told(void **state)
{
	(void)state;
	ask(1);
	assert_true(something_comes());
	told = 0;
	few_tell(&seat);
	assert_int_equal(told, 1);
	/* One that has gone has no link to say it on. */
	seat.up = false;
	seat.link.spins = NULL;
	ask(CLIENTS);
	assert_false(few_spin(dispatcher));
}

/* What a worker has said is found too. */
static void it_looks_at_workers_that_would_not_ring(void **state)
{
	struct link_fds fds;
	struct link_fds its;
	struct link worker;
	const struct message message = { .kind = MESSAGE_PAUSE };

	(void)state;
	assert_int_equal(link_create(&fds), 0);
	its = (struct link_fds){ dup(fds.memory), { dup(fds.bell[0]), dup(fds.bell[1]) } };
	assert_int_equal(link_open(&seat.link, LINK_DISPATCHER, &fds), 0);
	assert_int_equal(link_open(&worker, LINK_WORKER, &its), 0);
	seat.announced = true;
	ask(1);
	assert_false(link_peer_spins(&worker));
	assert_int_equal(link_send(&worker, &message), 0);
	/* It would ring. */
	assert_false(few_spin(dispatcher));
	assert_false(link_peer_spins(&worker));
	begin(0, 2);
	ask(1);
	seat.announced = false;
	assert_true(few_spin(dispatcher));
	assert_true(link_peer_spins(&worker));
	assert_false(link_peer_spins(&seat.link));
	link_fini(&worker);
	link_fini(&seat.link);
}

static void on_one_processor_or_if_told_so_it_does_not(void **state)
{
	(void)state;
	begin(0, 1);
	ask(1);
	assert_false(something_comes());
	begin(CREW_NEVER, 2);
	ask(1);
	assert_false(few_spin(dispatcher));
	assert_int_equal(told, 0);
	begin(0, 2);
	ask(1);
	assert_true(few_spin(dispatcher));
	dispatcher->draining = true;
	assert_false(few_spin(dispatcher));
	assert_int_equal(told, 0);
}

static void who_is_told_how_long_does_so_for_any_number(void **state)
{
	(void)state;
	begin(1000, 1);
	ask(CLIENTS);
	assert_true(something_comes());
	assert_int_equal(told, 1);
}

static void ask_for_5_ms(unsigned count)
{
	dispatcher->coalesce.window_began_ns -= 5000000u;
	ask(count);
}

/* Who comes for one request is no busy client, however many there are of them. */
static void who_comes_and_goes_is_not_coalesced(void **state)
{
	(void)state;
	coalesce_init(dispatcher);
	dispatcher->connection_count = 10;
	for (unsigned i = 0; i < 10; i++)
		ask_for_5_ms(CLIENTS);
	assert_int_equal(dispatcher->coalesce.nap_ns, 0);
	dispatcher->connection_count = CLIENTS;
	for (unsigned i = 0; i < 10 && dispatcher->coalesce.nap_ns == 0; i++)
		ask_for_5_ms(CLIENTS);
	assert_true(dispatcher->coalesce.nap_ns > 0);
}

#define with_dispatcher(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_dispatcher(who_it_will_be_is_not_known_at_first),
		with_dispatcher(with_few_clients_it_looks_for_what_comes),
		with_dispatcher(with_more_it_does_not),
		with_dispatcher(who_does_not_ask_is_not_counted),
		with_dispatcher(in_vain_it_rests_and_tells_the_workers),
		with_dispatcher(all_dispatchers_together_have_few),
		with_dispatcher(calls_are_no_clients),
		with_dispatcher(who_comes_and_goes_is_not_coalesced),
		with_dispatcher(a_new_worker_is_told),
		with_dispatcher(it_looks_at_workers_that_would_not_ring),
		with_dispatcher(on_one_processor_or_if_told_so_it_does_not),
		with_dispatcher(who_is_told_how_long_does_so_for_any_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

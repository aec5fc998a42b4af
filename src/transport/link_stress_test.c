/* SPDX-License-Identifier: MIT */
/*
 * Two real processes over one link. The dispatcher sends requests of random
 * sizes, with a part or several behind some, takes a random few of them back,
 * and checks every byte of every answer; the worker checks every byte of every
 * request. Both sleep whenever there is nothing to do, so that a lost wake-up
 * would hang the test. Then the same with a worker that is killed at a random
 * moment, many times: what the dispatcher knows must account for everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os/os.h"
#include "transport/link.h"

#define REQUESTS 60000u
#define KILLS 60
#define SIZE_MAX_BYTES 40000u
#define PATIENCE_MS 10000
/* Few enough that a slot taken by chance is often in use, and over the whole
 * range of them. */
#define FLIGHTS_MAX 64u

static uint32_t any_slot(void)
{
	return (uint32_t)random() % FLIGHTS_MAX * (LINK_SLOTS / FLIGHTS_MAX);
}

static unsigned char byte_of(uint32_t id, uint32_t place, unsigned salt)
{
	return (unsigned char)((id * 2654435761u + place * 40503u + salt) >> 13);
}

static void fill(unsigned char *at, uint32_t size, uint32_t id, unsigned salt)
{
	memcpy(at, &id, sizeof(id));
	for (uint32_t i = sizeof(id); i < size; i++)
		at[i] = byte_of(id, i, salt);
}

static bool is_right(const unsigned char *at, uint32_t size, unsigned salt)
{
	uint32_t id;

	memcpy(&id, at, sizeof(id));
	for (uint32_t i = sizeof(id); i < size; i++) {
		if (at[i] != byte_of(id, i, salt))
			return false;
	}
	return true;
}

/* ---- the worker: answers each request that it can take ---- */

static void worker_waits(struct link *link)
{
	bell_announce(&link->sleeper);
	if (!link_has_news(link))
		os_bell_wait(link->sleeper.fd, PATIENCE_MS);
	bell_awake(&link->sleeper);
}

static void worker_sends(struct link *link, const struct message *request,
			 uint32_t id, uint32_t size)
{
	struct message answer = {
		.kind = MESSAGE_ANSWER,
		.flags = MESSAGE_LAST,
		.slot = request->slot,
		.generation = request->generation,
		.size = size,
	};
	void *place;

	while (!(place = link_alloc(link, answer.slot, size, &answer.offset))) {
		link_ring(link);
		if (link_reap(link, NULL, NULL) < 0)
			_exit(5);
	}
	fill(place, size, id, 77);
	while (link_send(link, &answer) == -EAGAIN)
		link_ring(link);
	link_ring(link);
}

static _Noreturn void worker(const struct link_fds *fds)
{
	struct message message;
	struct link link;
	uint32_t id;

	if (link_open(&link, LINK_WORKER, fds) < 0)
		_exit(2);
	for (;;) {
		int r = link_receive(&link, &message);

		if (r < 0 || link_reap(&link, NULL, NULL) < 0)
			_exit(3);
		if (r == 0) {
			worker_waits(&link);
			continue;
		}
		if (message.kind == MESSAGE_CANCEL)
			_exit(0);
		if (message.kind == MESSAGE_BODY_PART) {
			if (!is_right(link_bytes(&link, &message), message.size, 2))
				_exit(4);
			link_release(&link, message.offset);
			link_ring(&link);
			continue;
		}
		if (!link_take(&link, message.slot, message.generation))
			continue;
		if (!is_right(link_bytes(&link, &message), message.size, 1))
			_exit(4);
		memcpy(&id, link_bytes(&link, &message), sizeof(id));
		worker_sends(&link, &message, id, 4 + id * 7919u % SIZE_MAX_BYTES);
	}
}

/* ---- the dispatcher ---- */

struct flight {
	uint32_t id;
	uint32_t generation;
	uint32_t offset;
	bool used;
};

struct books {
	struct link link;
	struct flight flights[LINK_SLOTS];
	uint32_t parts_out;
	uint32_t next_id;
	uint32_t taken;    /* answered */
	uint32_t revoked;
	uint32_t in_hand;
	unsigned char *seen; /* answered or revoked, by id */
};

static void part_back(void *context, uint32_t slot, uint32_t size)
{
	struct books *books = context;

	(void)slot;
	assert_true(size <= books->parts_out);
	books->parts_out -= size;
}

static void settle(struct books *books, uint32_t slot)
{
	struct flight *flight = &books->flights[slot];

	assert_int_equal(books->seen[flight->id]++, 0);
	assert_true(link_free(&books->link, flight->offset) >= 0);
	flight->used = false;
	books->in_hand--;
}

static bool send_one(struct books *books)
{
	const uint32_t slot = any_slot();
	struct flight *flight = &books->flights[slot];
	struct message message = { .kind = MESSAGE_REQUEST, .slot = slot };
	void *place;

	if (flight->used)
		return false;
	message.size = 4 + (uint32_t)random() % (random() % 8 ? 600 : SIZE_MAX_BYTES);
	place = link_alloc(&books->link, slot, message.size, &message.offset);
	if (!place)
		return false;
	flight->id = books->next_id;
	flight->offset = message.offset;
	message.generation = ++flight->generation;
	fill(place, message.size, flight->id, 1);
	link_offer(&books->link, slot, flight->generation);
	if (link_send(&books->link, &message) < 0) {
		link_free(&books->link, message.offset);
		return false;
	}
	flight->used = true;
	books->next_id++;
	books->in_hand++;
	return true;
}

static void send_part(struct books *books)
{
	struct message message = { .kind = MESSAGE_BODY_PART };
	void *place;

	message.size = 4 + (uint32_t)random() % LINK_PART_BYTES;
	if (books->parts_out + message.size > LINK_CREDIT_BYTES)
		return;
	place = link_alloc(&books->link, 0, message.size, &message.offset);
	if (!place)
		return;
	fill(place, message.size, (uint32_t)random(), 2);
	if (link_send(&books->link, &message) < 0)
		link_free(&books->link, message.offset);
	else
		books->parts_out += message.size;
}

static void receive_all(struct books *books)
{
	struct message message;
	int r;

	assert_true(link_reap(&books->link, part_back, books) >= 0);
	while ((r = link_receive(&books->link, &message)) > 0) {
		const unsigned char *bytes = link_bytes(&books->link, &message);
		struct flight *flight = &books->flights[message.slot];
		uint32_t id;

		assert_int_equal(message.kind, MESSAGE_ANSWER);
		assert_true(flight->used);
		assert_int_equal(message.generation, flight->generation);
		memcpy(&id, bytes, sizeof(id));
		assert_int_equal(id, flight->id);
		assert_int_equal(message.size, 4 + id * 7919u % SIZE_MAX_BYTES);
		assert_true(is_right(bytes, message.size, 77));
		assert_int_equal(link_claim(&books->link, message.slot,
					    message.generation), CLAIM_TAKEN);
		assert_int_equal(link_release(&books->link, message.offset), 0);
		settle(books, message.slot);
		books->taken++;
	}
	assert_int_equal(r, 0);
}

static void revoke_one(struct books *books)
{
	const uint32_t slot = any_slot();

	if (!books->flights[slot].used ||
	    !link_revoke(&books->link, slot, books->flights[slot].generation))
		return;
	settle(books, slot);
	books->revoked++;
}

static void dispatcher_waits(struct books *books)
{
	struct link *link = &books->link;

	bell_announce(&link->sleeper);
	if (!link_has_news(link))
		assert_int_equal(os_bell_wait(link->sleeper.fd, PATIENCE_MS), 1);
	bell_awake(&link->sleeper);
}

static void one_turn(struct books *books)
{
	receive_all(books);
	for (int i = (int)(random() % 20); i > 0 && books->next_id < REQUESTS; i--)
		send_one(books);
	if (random() % 3 == 0)
		send_part(books);
	if (random() % 2 == 0)
		revoke_one(books);
	link_ring(&books->link);
	if (books->in_hand > 0 && random() % 4)
		dispatcher_waits(books);
}

static void open_books(struct books *books, pid_t *ret_pid)
{
	struct link_fds mine;
	struct link_fds yours;

	*books = (struct books){ .seen = calloc(REQUESTS, 1) };
	assert_non_null(books->seen);
	assert_int_equal(link_create(&mine), 0);
	yours = (struct link_fds){ dup(mine.memory),
				   { dup(mine.bell[0]), dup(mine.bell[1]) } };
	*ret_pid = fork();
	assert_true(*ret_pid >= 0);
	if (*ret_pid == 0)
		worker(&yours);
	link_close_fds(&yours);
	assert_int_equal(link_open(&books->link, LINK_DISPATCHER, &mine), 0);
}

static void close_books(struct books *books)
{
	link_fini(&books->link);
	free(books->seen);
}

static void every_byte_arrives(void **state)
{
	const struct message stop = { .kind = MESSAGE_CANCEL };
	struct books books;
	int status;
	pid_t pid;

	(void)state;
	srandom(2);
	open_books(&books, &pid);
	while (books.next_id < REQUESTS || books.in_hand > 0)
		one_turn(&books);
	assert_int_equal(books.taken + books.revoked, REQUESTS);
	assert_true(books.revoked > 0);
	for (uint32_t i = 0; i < REQUESTS; i++)
		assert_int_equal(books.seen[i], 1);
	assert_int_equal(link_send(&books.link, &stop), 0);
	link_ring(&books.link);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close_books(&books);
}

static void a_death_leaves_the_books_in_order(void **state)
{
	(void)state;
	srandom(3);
	for (int kill_number = 0; kill_number < KILLS; kill_number++) {
		const uint32_t enough = 1 + (uint32_t)random() % 500;
		uint32_t lost = 0;
		struct books books;
		pid_t pid;

		open_books(&books, &pid);
		while (books.taken < enough)
			one_turn(&books);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		/* What was said before is heard; the rest is settled. */
		receive_all(&books);
		for (uint32_t slot = 0; slot < LINK_SLOTS; slot++) {
			const struct flight *flight = &books.flights[slot];
			enum claim claim;

			if (!flight->used)
				continue;
			claim = link_claim(&books.link, slot, flight->generation);
			assert_true(claim == CLAIM_QUEUED || claim == CLAIM_TAKEN);
			lost += claim == CLAIM_TAKEN;
			settle(&books, slot);
		}
		/* It worked on one at a time. */
		assert_true(lost <= 1);
		assert_int_equal(books.in_hand, 0);
		close_books(&books);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_arrives),
		cmocka_unit_test(a_death_leaves_the_books_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

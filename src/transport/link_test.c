/* SPDX-License-Identifier: MIT */
/*
 * Both sides of a link in one process: messages, bytes, claims, nonsense, and the
 * walls between the halves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os/os.h"
#include "transport/link.h"

struct both {
	struct link dispatcher;
	struct link worker;
};

/* Both sides in one process, each with descriptors of its own. */
static int open_both(void **state)
{
	static struct both both;
	struct link_fds mine;
	struct link_fds yours;

	assert_int_equal(link_create(&mine), 0);
	yours = (struct link_fds){ dup(mine.memory),
				   { dup(mine.bell[0]), dup(mine.bell[1]) } };
	assert_int_equal(link_open(&both.dispatcher, LINK_DISPATCHER, &mine), 0);
	assert_int_equal(link_open(&both.worker, LINK_WORKER, &yours), 0);
	*state = &both;
	return 0;
}

static int close_both(void **state)
{
	struct both *both = *state;

	link_fini(&both->dispatcher);
	link_fini(&both->worker);
	return 0;
}

static void send_text(struct link *link, enum message_kind kind, const char *text)
{
	struct message message = { .kind = (uint16_t)kind, .slot = 3,
				   .size = (uint32_t)strlen(text) };
	void *place = link_alloc(link, 3, message.size, &message.offset);

	assert_non_null(place);
	memcpy(place, text, message.size);
	assert_int_equal(link_send(link, &message), 0);
}

static void messages_and_bytes_cross_both_ways(void **state)
{
	struct both *both = *state;
	struct message message;

	send_text(&both->dispatcher, MESSAGE_REQUEST, "question");
	assert_true(link_has_news(&both->worker));
	assert_int_equal(link_receive(&both->worker, &message), 1);
	assert_memory_equal(link_bytes(&both->worker, &message), "question", 8);
	send_text(&both->worker, MESSAGE_ANSWER, "answer");
	assert_int_equal(link_receive(&both->dispatcher, &message), 1);
	assert_memory_equal(link_bytes(&both->dispatcher, &message), "answer", 6);
	assert_int_equal(link_release(&both->dispatcher, message.offset), 0);
	assert_int_equal(link_reap(&both->worker, NULL, NULL), 1);
	assert_int_equal(both->worker.blocks.free_count,
			 both->worker.blocks.block_count);
	assert_int_equal(link_receive(&both->dispatcher, &message), 0);
}

static void nonsense_is_refused(void **state)
{
	static const struct message bad[] = {
		{ .kind = MESSAGE_NONE },
		{ .kind = MESSAGE_REQUEST },
		{ .kind = MESSAGE_KIND_COUNT },
		{ .kind = 0xffff },
		{ .kind = MESSAGE_ANSWER, .slot = LINK_SLOTS },
		{ .kind = MESSAGE_ANSWER, .offset = LINK_ARENA_BYTES, .size = 1 },
		{ .kind = MESSAGE_ANSWER, .offset = 8, .size = LINK_ARENA_BYTES },
		{ .kind = MESSAGE_ANSWER, .offset = UINT32_MAX - 7, .size = 16 },
		{ .kind = MESSAGE_ANSWER, .offset = 4, .size = 16 },
	};
	struct both *both = *state;
	struct message message;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(link_send(&both->worker, &bad[i]), 0);
		assert_int_equal(link_receive(&both->dispatcher, &message),
				 -EBADMSG);
	}
}

static void a_byte_is_given_back_once(void **state)
{
	struct both *both = *state;
	struct message message;

	send_text(&both->dispatcher, MESSAGE_REQUEST, "question");
	assert_int_equal(link_receive(&both->worker, &message), 1);
	assert_int_equal(link_release(&both->worker, message.offset), 0);
	assert_int_equal(link_reap(&both->dispatcher, NULL, NULL), 1);
	assert_int_equal(link_release(&both->worker, message.offset), 0);
	assert_int_equal(link_reap(&both->dispatcher, NULL, NULL), -EBADMSG);
}

static void a_claim_has_one_winner(void **state)
{
	struct both *both = *state;

	link_offer(&both->dispatcher, 5, 1);
	assert_int_equal(link_claim(&both->dispatcher, 5, 1), CLAIM_QUEUED);
	assert_true(link_take(&both->worker, 5, 1));
	assert_false(link_take(&both->worker, 5, 1));
	assert_false(link_revoke(&both->dispatcher, 5, 1));
	assert_int_equal(link_claim(&both->dispatcher, 5, 1), CLAIM_TAKEN);
	link_offer(&both->dispatcher, 5, 2);
	assert_true(link_revoke(&both->dispatcher, 5, 2));
	assert_false(link_take(&both->worker, 5, 2));
	assert_false(link_take(&both->worker, 5, 1));
	assert_int_equal(link_claim(&both->dispatcher, 5, 1), CLAIM_EMPTY);
}

/* The hardware holds the wall: writing to the other's half is a fault. */
static void the_other_half_is_read_only(void **state)
{
	struct both *both = *state;
	const unsigned char *const walls[] = {
		both->worker.peer_arena, both->worker.base,
		(const unsigned char *)both->worker.in.entries,
		(const unsigned char *)both->worker.ringer.epoch,
		both->dispatcher.peer_arena,
	};

	for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			/* Sanitizers and cmocka catch it otherwise. */
			sigaction(SIGSEGV, &(struct sigaction){
				.sa_handler = SIG_DFL }, NULL);
			*(volatile unsigned char *)(uintptr_t)walls[i] = 1;
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSEGV);
	}
}

static void garbage_in_a_half_is_found(void **state)
{
	struct both *both = *state;
	struct message message;
	uint64_t size[2];
	void *start[2];

	send_text(&both->dispatcher, MESSAGE_REQUEST, "question");
	assert_int_equal(link_writable(&both->worker, start, size), 2);
	for (int i = 0; i < 2; i++)
		memset(start[i], 0xa5, size[i]);
	assert_int_equal(link_reap(&both->dispatcher, NULL, NULL), -EBADMSG);
	assert_int_equal(link_receive(&both->dispatcher, &message), -EBADMSG);
	/* Our own half is as it was. */
	assert_memory_equal(both->dispatcher.arena, "question", 8);
}

static void other_memory_is_no_link(void **state)
{
	struct link_fds fds = { os_memory_create("no-link", 16 << 20), { -1, -1 } };
	struct link link;

	(void)state;
	assert_int_equal(link_open(&link, LINK_WORKER, &fds), -EPROTO);
	assert_int_equal(ftruncate(fds.memory, 0), -1);
	link_close_fds(&fds);
	link_fini(&link);
}

#define with_both(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_both(messages_and_bytes_cross_both_ways),
		with_both(nonsense_is_refused),
		with_both(a_byte_is_given_back_once),
		with_both(a_claim_has_one_winner),
		with_both(the_other_half_is_read_only),
		with_both(garbage_in_a_half_is_found),
		cmocka_unit_test(other_memory_is_no_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

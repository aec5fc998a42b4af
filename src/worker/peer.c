/* SPDX-License-Identifier: MIT */
/*
 * The dispatchers, as a worker sees them: from each comes a link of its own, by
 * its number. A second link of the same number means that this dispatcher was
 * started anew: what the old one asked for has no client any more and is
 * dropped; what others asked for goes on.
 *
 * Requests of all of them stand in the same lists, in the order in which they
 * came. What is said goes to the one that it concerns; what concerns all of them
 * (that this worker rests, an event) to all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervise/scoreboard.h"
#include "transport/control.h"
#include "worker/private.h"

static void bell_rang(struct loop *loop, struct watch *watch, uint32_t events);
static const struct score *line_of(const struct worker *worker, int32_t pid);

int peers_init(struct worker *worker, unsigned count)
{
	worker->peers = calloc(count, sizeof(*worker->peers));
	if (!worker->peers)
		return -ENOMEM;
	worker->peer_count = count;
	for (unsigned i = 0; i < count; i++) {
		worker->peers[i].number = i;
		worker->peers[i].bell.ready = bell_rang;
		outbox_init(&worker->peers[i].outbox);
	}
	return 0;
}

void peers_fini(struct worker *worker)
{
	for (unsigned i = 0; i < worker->peer_count; i++) {
		struct peer *peer = &worker->peers[i];

		peer_drop(worker, peer);
		for (uint32_t slot = 0; slot < peer->jobs_used; slot++) {
			if (peer->jobs[slot])
				arena_fini(&peer->jobs[slot]->arena);
			free(peer->jobs[slot]);
		}
	}
	free(worker->peers);
	worker->peers = NULL;
	worker->peer_count = 0;
}

void peer_take(struct worker *worker, struct peer *peer, const struct control *control,
	       const int fds[3])
{
	struct link_fds link_fds = { fds[0], { fds[1], fds[2] } };
	int r;

	peer_drop(worker, peer);
	r = link_open(&peer->link, LINK_WORKER, &link_fds);
	if (r < 0) {
		link_close_fds(&link_fds);
		worker_condemn_link(worker, strerror(-r));
		if (r != -EPROTO)
			worker->exit_code = EXIT_SYSTEM;
		return;
	}
	peer->linked = true;
	peer->rung_at = 0;
	peer->full = false;
	peer->pid = control->pid;
	peer->score = control->pid ? line_of(worker, control->pid) : NULL;
	peer->owner = peer->score ? scoreboard_owner(worker->self->board, peer->score) : NULL;
	if (worker->paused)
		(void)peer_say(worker, peer, MESSAGE_PAUSE, 0, NULL);
	peer->bell.fd = peer->link.sleeper.fd;
	/* Edge-triggered: each ring is one event, and none has to be read away,
	 * which spares a system call for each time that we are woken. */
	r = loop_add(&worker->loop, &peer->bell, EPOLLIN | EPOLLET);
	if (r < 0) {
		worker_condemn_link(worker, strerror(-r));
		worker->exit_code = EXIT_SYSTEM;
	}
}

static const struct score *line_of(const struct worker *worker, int32_t pid)
{
	const struct scoreboard *board = worker->self->board;
	const unsigned used = scoreboard_used(board);

	for (unsigned i = 0; i < used; i++) {
		const struct score *score = scoreboard_line(board, i);

		if (atomic_load_explicit(&scoreboard_owner(board, score)->pid,
					 memory_order_relaxed) == pid)
			return score;
	}
	return NULL;
}

/* The parent marks the line when it buries the child, and gives it to the next one. Who has
 * none was buried before we looked. */
bool peer_is_gone(const struct peer *peer)
{
	if (!peer->score)
		return peer->pid != 0;
	return score_state(peer->score) == CREW_CHILD_DEAD ||
	       atomic_load_explicit(&peer->owner->pid, memory_order_relaxed) != peer->pid;
}

void peer_drop(struct worker *worker, struct peer *peer)
{
	if (!peer->linked)
		return;
	peer->linked = false;
	serve_drop(worker, peer);
	loop_remove(&worker->loop, &peer->bell);
	link_fini(&peer->link);
}

/* What they have said last counts: a call may have its answer. */
void peers_drop_gone(struct worker *worker)
{
	for (unsigned i = 0; i < worker->peer_count; i++) {
		struct peer *peer = &worker->peers[i];

		if (!peer->linked || !peer_is_gone(peer))
			continue;
		(void)serve_receive(worker, peer);
		peer_drop(worker, peer);
	}
}

struct job *peer_job(struct worker *worker, struct peer *peer, uint32_t slot)
{
	struct job *job = peer->jobs[slot];

	if (job)
		return job;
	job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->peer = peer;
	job->slot = slot;
	list_init(&job->link);
	list_init(&job->in_roomy);
	arena_init(&job->arena, &worker->spares);
	peer->jobs[slot] = job;
	if (slot >= peer->jobs_used)
		peer->jobs_used = slot + 1;
	return job;
}

struct peer *peers_any(struct worker *worker)
{
	const struct crew_request *running = worker->public.running;
	const struct job *job = running ? job_of_request(running) : NULL;

	if (job && job->peer->linked)
		return job->peer;
	for (unsigned i = 0; i < worker->peer_count; i++) {
		if (worker->peers[i].linked)
			return &worker->peers[i];
	}
	return NULL;
}

bool peers_have_news(const struct worker *worker)
{
	for (unsigned i = 0; i < worker->peer_count; i++) {
		if (worker->peers[i].linked && peer_has_news(&worker->peers[i]))
			return true;
	}
	return false;
}

/* A message that has no bytes leaves room behind and nothing else. */
bool peer_has_news(const struct peer *peer)
{
	return link_has_news(&peer->link) || (peer->full && link_has_room(&peer->link));
}

bool peers_spin(const struct worker *worker)
{
	for (unsigned i = 0; i < worker->peer_count; i++) {
		if (worker->peers[i].linked && link_peer_spins(&worker->peers[i].link))
			return true;
	}
	return false;
}

void peers_announce(struct worker *worker)
{
	for (unsigned i = 0; i < worker->peer_count; i++) {
		if (worker->peers[i].linked)
			bell_announce(&worker->peers[i].link.sleeper);
	}
}

void peers_awake(struct worker *worker)
{
	for (unsigned i = 0; i < worker->peer_count; i++) {
		if (worker->peers[i].linked)
			bell_awake(&worker->peers[i].link.sleeper);
	}
}

uint64_t peers_ring(struct worker *worker)
{
	uint64_t rung = 0;

	for (unsigned i = 0; i < worker->peer_count; i++) {
		struct peer *peer = &worker->peers[i];

		if (!peer->linked)
			continue;
		if (peer->rung_at != link_progress(&peer->link)) {
			peer->rung_at = link_progress(&peer->link);
			link_ring(&peer->link);
		}
		rung += peer->link.ringer.count;
	}
	return rung;
}

bool peers_told(const struct worker *worker)
{
	for (unsigned i = 0; i < worker->peer_count; i++) {
		if (!outbox_empty(&worker->peers[i].outbox))
			return false;
	}
	return true;
}

/* Inside of a handler too: then what came back, or is said at last, may be what answers wait
 * for, and nothing else will tell of it. */
int peer_settle(struct worker *worker, struct peer *peer)
{
	const bool waited = !outbox_empty(&peer->outbox) || peer->full;
	int r = link_reap(&peer->link, NULL, NULL);

	peer->full = false;
	if ((r > 0 || waited) && !list_empty(&worker->sending))
		worker->dirty = true;
	return r < 0 ? r : outbox_flush(&peer->outbox, &peer->link);
}

int peers_settle(struct worker *worker)
{
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < worker->peer_count; i++) {
		if (worker->peers[i].linked)
			r = peer_settle(worker, &worker->peers[i]);
	}
	return r;
}

bool peer_may_say(struct worker *worker, struct peer *peer)
{
	int r;

	if (peer->outbox.count < UNSAID_MAX)
		return true;
	r = peer_settle(worker, peer);
	if (r < 0)
		worker_fail(worker, r);
	link_ring(&peer->link);
	return peer->outbox.count < UNSAID_MAX;
}

static int send(struct worker *worker, struct peer *peer, const struct message *message,
		const void *bytes)
{
	int r = 0;

	if (!peer->linked)
		return -ENOTCONN;
	/* A handler may go on for long: nobody else would try. */
	if (!outbox_empty(&peer->outbox))
		r = peer_settle(worker, peer);
	if (r >= 0)
		r = outbox_send(&peer->outbox, &peer->link, message, bytes);
	if (r == -EBADMSG)
		worker_condemn_link(worker, "its index of messages is impossible");
	link_ring(&peer->link);
	return r;
}

int peer_say(struct worker *worker, struct peer *peer, enum message_kind kind,
	     uint32_t size, const void *bytes)
{
	const struct message message = { .kind = (uint16_t)kind, .size = size };

	return send(worker, peer, &message, bytes);
}

int peer_say_of(struct worker *worker, const struct job *job, enum message_kind kind,
		unsigned flags, uint32_t size, const void *bytes)
{
	const struct message message = {
		.kind = (uint16_t)kind,
		.flags = (uint16_t)flags,
		.slot = job->slot,
		.generation = job->generation,
		.size = size,
	};

	return send(worker, job->peer, &message, bytes);
}

unsigned peers_memory(struct worker *worker, void **ret_start, size_t *ret_size,
		      size_t max)
{
	unsigned known = 0;

	for (unsigned i = 0; i < worker->peer_count; i++) {
		uint64_t size[2];
		void *start[2];
		unsigned count = 0;

		if (worker->peers[i].linked)
			count = link_writable(&worker->peers[i].link, start, size);
		for (unsigned j = 0; j < count && known < max; j++, known++) {
			ret_start[known] = start[j];
			ret_size[known] = (size_t)size[j];
		}
	}
	return known;
}

/* The work itself is done after each turn, whatever woke us. */
static void bell_rang(struct loop *loop, struct watch *watch, uint32_t events)
{
	(void)events;
	worker_rung(loop->owner, container_of(watch, struct peer, bell));
}

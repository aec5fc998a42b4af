/* SPDX-License-Identifier: MIT */
/*
 * What many clients ask is let gather. As soon as they ask faster than a request alone can be
 * answered, dispatcher and workers sleep no more: they go round as fast as they can, each time
 * with the few requests that came meanwhile, and a round costs a turn, a bell and two switches,
 * for few as for many. To be faster makes the rounds smaller. So before the next one the
 * dispatcher naps: for a moment it hears nothing, and then it takes in all that came. Network
 * cards do the same (interrupt coalescing).
 *
 * A nap lasts until one in 12 to 24 of the busy clients has asked something, so it takes that
 * part of the time from one request of a client's to its next: no client runs out of what it can
 * do meanwhile. Where there is some time to sleep anyway it is shorter. Whether it pays is judged
 * in phases, by windows of some hundred requests: some without naps, which show whether there is
 * time to sleep, then more of them with naps. If some such phases together, since one may be slow
 * by chance, took longer than the windows before them there are none for a while, after each time
 * twice as long.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"

#define MAX_US 500u
/* Of a phase. */
#define PLAIN_WINDOWS 4u
#define NAP_WINDOWS   28u
/* With naps, before they are held against those without. */
#define TRIED_WINDOWS (8u * NAP_WINDOWS)
/* A window without naps that takes longer is of another load, or of none. */
#define QUIET_NS 40000000u
/* One with naps, if it takes so many times as long as without, and twice the time of its naps. */
#define QUIET_TIMES 4u
/* Fewer would wait for us, and we for them. */
#define CLIENTS_MIN 56u
/* A nap is for one client in so many: in 24 if there are 64, in 12 if there are 128 and more, who
 * have enough to do meanwhile. */
#define PART_MOST  24u
#define PART_LEAST 12u
#define PART_TIMES (PART_MOST * 64u)
/* A shorter one is not worth its switches. */
#define NAP_MIN_NS 5000u
/* More events in a turn than one for so many clients: it cannot follow them, and has more to do
 * than to wait. (After a turn with as many events as fit in one nobody asks us.) */
#define BEHIND_PART 5u
/* Who sleeps for so much of the time has enough of it for each request. */
#define ASLEEP_PERCENT 40u
/* Windows with naps may take so many percent of what others take, from which they differ by some
 * percent by chance. */
#define WORTH_PERCENT 110u
/* In phases without naps. */
#define REST_MIN 64u
#define REST_MAX 1024u

static void judge_plain(struct coalesce *coalesce, unsigned requests, unsigned clients,
			uint64_t now_ns);
static uint32_t nap_of(const struct coalesce *coalesce, uint64_t request_ns, unsigned clients,
		       unsigned asleep_percent);
static void judge_naps(struct coalesce *coalesce, unsigned clients, uint64_t now_ns);
static void end_naps(struct coalesce *coalesce);
static void begin_phase(struct coalesce *coalesce, uint32_t nap_ns);
static void begin_rest(struct coalesce *coalesce);
static uint64_t mean_ns(const struct coalesce_sum *sum);

void coalesce_init(struct dispatcher *dispatcher)
{
	const struct crew_server *server = dispatcher->server;
	const bool spins = server->spin_us != 0 && server->spin_us != CREW_NEVER;
	unsigned us = server->coalesce_us ? server->coalesce_us : MAX_US;
	int r;

	if (us == CREW_NEVER || spins)
		us = 0;
	if (us > 0) {
		r = os_be_punctual();
		if (r < 0) {
			log_info("requests are not coalesced, since the dispatcher cannot "
				 "sleep for less than 50 us: %s", strerror(-r));
			us = 0;
		}
	}
	dispatcher->coalesce = (struct coalesce){ .max_ns = us * 1000u };
}

void coalesce_judge(struct coalesce *coalesce, unsigned requests, unsigned clients,
		    uint64_t now_ns)
{
	const bool is_first = coalesce->window_began_ns == 0;
	const bool naps = coalesce->nap_ns > 0;
	const uint64_t took_ns = now_ns - coalesce->window_began_ns;
	const uint64_t quiet_ns =
		naps ? QUIET_TIMES * mean_ns(&coalesce->plain) + 2 * coalesce->slept_ns : QUIET_NS;

	if (coalesce->max_ns == 0)
		return;
	coalesce->window_began_ns = now_ns;
	if (is_first || took_ns > quiet_ns) {
		if (naps)
			end_naps(coalesce);
		begin_phase(coalesce, 0);
		return;
	}
	coalesce->phase.windows++;
	coalesce->phase.ns += took_ns;
	if (naps)
		judge_naps(coalesce, clients, now_ns);
	else
		judge_plain(coalesce, requests, clients, now_ns);
}

bool coalesce_nap(struct dispatcher *dispatcher)
{
	struct coalesce *coalesce = &dispatcher->coalesce;
	uint64_t began_ns;

	/* Who waits in a queue waits for a worker, who has to be heard. */
	if (coalesce->nap_ns == 0 || !coalesce->asked || dispatcher->pending > 0 ||
	    dispatcher->draining)
		return false;
	began_ns = clock_now_ns();
	if (began_ns >= coalesce->until_ns)
		return false;
	if (dispatcher->loop.came > coalesce->behind)
		return true;
	coalesce->asked = false;
	coalesce->naps++;
	os_nap(coalesce->nap_ns);
	coalesce->slept_ns += clock_now_ns() - began_ns;
	dispatcher->loop.now_ms = clock_now_ms();
	/* What the workers have said meanwhile makes room for what comes now. */
	turn_receive(dispatcher);
	return true;
}

void coalesce_sleep(struct coalesce *coalesce)
{
	if (coalesce->max_ns > 0 && coalesce->nap_ns == 0)
		coalesce->asleep_since_ns = clock_now_ns();
}

void coalesce_wake(struct coalesce *coalesce)
{
	if (coalesce->asleep_since_ns == 0)
		return;
	coalesce->slept_ns += clock_now_ns() - coalesce->asleep_since_ns;
	coalesce->asleep_since_ns = 0;
}

static void judge_plain(struct coalesce *coalesce, unsigned requests, unsigned clients,
			uint64_t now_ns)
{
	const struct coalesce_sum phase = coalesce->phase;
	const uint64_t asleep_percent = phase.ns ? coalesce->slept_ns * 100u / phase.ns : 100u;
	uint32_t ns;

	if (phase.windows < PLAIN_WINDOWS)
		return;
	begin_phase(coalesce, 0);
	if (coalesce->rest > 0) {
		coalesce->rest--;
		return;
	}
	if (asleep_percent >= ASLEEP_PERCENT || clients < CLIENTS_MIN)
		return;
	ns = nap_of(coalesce, mean_ns(&phase) / requests, clients, (unsigned)asleep_percent);
	begin_phase(coalesce, ns);
	coalesce->plain = phase;
	coalesce->behind = clients / BEHIND_PART;
	coalesce->until_ns = now_ns + 2 * mean_ns(&phase);
}

/* 0 if it is too short. */
static uint32_t nap_of(const struct coalesce *coalesce, uint64_t request_ns, unsigned clients,
		       unsigned asleep_percent)
{
	unsigned part = PART_TIMES / clients;
	uint64_t ns;

	part = part < PART_LEAST ? PART_LEAST : part > PART_MOST ? PART_MOST : part;
	ns = request_ns * clients / part;
	if (asleep_percent > ASLEEP_PERCENT / 2)
		ns = ns * (ASLEEP_PERCENT - asleep_percent) / (ASLEEP_PERCENT / 2);
	if (ns < NAP_MIN_NS)
		return 0;
	return ns < coalesce->max_ns ? (uint32_t)ns : coalesce->max_ns;
}

static void judge_naps(struct coalesce *coalesce, unsigned clients, uint64_t now_ns)
{
	const uint64_t plain_ns = mean_ns(&coalesce->plain);
	const struct coalesce_sum *phase = &coalesce->phase;

	coalesce->slept_ns = 0;
	/* Twice as long is too long even by chance, which a few windows may be. */
	if (phase->ns > 2 * plain_ns * (phase->windows + PLAIN_WINDOWS))
		begin_rest(coalesce);
	else if (phase->windows >= NAP_WINDOWS || clients < CLIENTS_MIN)
		end_naps(coalesce);
	else
		coalesce->until_ns = now_ns + 2 * plain_ns;
}

/* Are they worth it? */
static void end_naps(struct coalesce *coalesce)
{
	struct coalesce_sum *napped = &coalesce->napped;

	coalesce->expected_ns += coalesce->phase.windows * mean_ns(&coalesce->plain);
	napped->windows += coalesce->phase.windows;
	napped->ns += coalesce->phase.ns;
	begin_phase(coalesce, 0);
	if (napped->windows < TRIED_WINDOWS)
		return;
	if (napped->ns * 100u > coalesce->expected_ns * WORTH_PERCENT) {
		begin_rest(coalesce);
		return;
	}
	coalesce->rested = 0;
	/* What was long ago counts less and less. */
	napped->windows /= 2;
	napped->ns /= 2;
	coalesce->expected_ns /= 2;
}

static void begin_phase(struct coalesce *coalesce, uint32_t nap_ns)
{
	coalesce->nap_ns = nap_ns;
	coalesce->slept_ns = 0;
	coalesce->phase = (struct coalesce_sum){ 0 };
}

/* How long windows take then may be something else. */
static void begin_rest(struct coalesce *coalesce)
{
	coalesce->rested = coalesce->rested ? coalesce->rested * 2u : REST_MIN;
	if (coalesce->rested > REST_MAX)
		coalesce->rested = REST_MAX;
	coalesce->rest = coalesce->rested;
	coalesce->napped = (struct coalesce_sum){ 0 };
	coalesce->expected_ns = 0;
	begin_phase(coalesce, 0);
}

static uint64_t mean_ns(const struct coalesce_sum *sum)
{
	return sum->windows ? sum->ns / sum->windows : 0;
}

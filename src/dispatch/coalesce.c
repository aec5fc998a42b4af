/* SPDX-License-Identifier: MIT */
/*
 * What many clients ask is let gather. As soon as they ask faster than a request alone can be
 * answered, dispatcher and workers sleep no more: they go round as fast as they can, each time
 * with the few requests that came meanwhile, and a round costs a turn, a bell and two switches,
 * for few as for many. To be faster makes the rounds smaller. So before the next one the
 * dispatcher naps: for a moment it hears nothing, nor do the workers have anything to do, and
 * then it takes in all that came. Network cards do the same (interrupt coalescing).
 *
 * A nap lasts until one in 24 of the busy clients has asked something, so it takes a 24th part
 * of the time from one request of a client's to its next: no client runs out of what it can do
 * meanwhile. Whether it pays is judged in phases, by windows of some hundred requests: some
 * without naps, which show whether there is time to sleep anyway, then more of them with naps.
 * If these take longer, there is none for a while, after each time twice as long.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "dispatch/private.h"

#define MAX_US 250u
/* Of a phase. */
#define PLAIN_WINDOWS 4u
#define NAP_WINDOWS   28u
/* A window without naps that takes longer is of another load, or of none; with naps, if it
 * takes so many times as long. */
#define QUIET_NS    40000000u
#define QUIET_TIMES 4u
/* Fewer would wait for us, and we for them. */
#define CLIENTS_MIN 48u
/* A nap is for one client in so many. */
#define CLIENTS_A_NAP 24u
/* Who sleeps for more of the time has enough of it for each request. */
#define ASLEEP_PERCENT 40u
/* Windows with naps may take so many percent of what others take, which is more than they are
 * apart by chance. */
#define WORTH_PERCENT 110u
/* In phases. */
#define REST_MIN 8u
#define REST_MAX 512u

static void judge_plain(struct coalesce *coalesce, unsigned requests, unsigned clients,
			uint64_t now_ns);
static void judge_naps(struct coalesce *coalesce, unsigned clients, uint64_t now_ns);
static void end_naps(struct coalesce *coalesce);
static void begin_phase(struct coalesce *coalesce, uint32_t nap_ns);
static void begin_rest(struct coalesce *coalesce);
static uint64_t mean(uint64_t before, uint64_t now);

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

	if (coalesce->max_ns == 0)
		return;
	coalesce->window_began_ns = now_ns;
	if (is_first || took_ns > QUIET_NS * (naps ? QUIET_TIMES : 1u)) {
		if (naps)
			end_naps(coalesce);
		begin_phase(coalesce, 0);
		coalesce->plain_ns = coalesce->napped_ns = 0;
		return;
	}
	coalesce->windows++;
	coalesce->phase_ns += took_ns;
	if (naps)
		judge_naps(coalesce, clients, now_ns);
	else
		judge_plain(coalesce, requests, clients, now_ns);
}

bool coalesce_nap(struct dispatcher *dispatcher)
{
	struct coalesce *coalesce = &dispatcher->coalesce;

	/* Who waits in a queue waits for a worker, who has to be heard. */
	if (coalesce->nap_ns == 0 || !coalesce->asked || dispatcher->pending > 0 ||
	    clock_now_ns() >= coalesce->until_ns)
		return false;
	/* There may be more. */
	if (dispatcher->loop.came > 0)
		return true;
	coalesce->asked = false;
	coalesce->naps++;
	os_nap(coalesce->nap_ns);
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
	const uint64_t window_ns = coalesce->phase_ns / coalesce->windows;
	const bool is_busy =
		coalesce->slept_ns * 100u <= coalesce->phase_ns * ASLEEP_PERCENT;
	uint64_t nap_ns;

	if (coalesce->windows < PLAIN_WINDOWS)
		return;
	begin_phase(coalesce, 0);
	/* What was known is of another load. */
	if (window_ns > 2 * coalesce->plain_ns || coalesce->plain_ns > 2 * window_ns)
		coalesce->plain_ns = coalesce->napped_ns = 0;
	coalesce->plain_ns = mean(coalesce->plain_ns, window_ns);
	if (coalesce->rest > 0) {
		coalesce->rest--;
	} else if (is_busy && clients >= CLIENTS_MIN) {
		nap_ns = window_ns * clients / ((uint64_t)requests * CLIENTS_A_NAP);
		begin_phase(coalesce, nap_ns < coalesce->max_ns ? (uint32_t)nap_ns
							: coalesce->max_ns);
		coalesce->until_ns = now_ns + 2 * coalesce->plain_ns;
	}
}

static void judge_naps(struct coalesce *coalesce, unsigned clients, uint64_t now_ns)
{
	/* Twice as long is too long even by chance, which a few windows may be. */
	const uint64_t far_too_long_ns =
		2 * coalesce->plain_ns * (coalesce->windows + PLAIN_WINDOWS);

	if (coalesce->phase_ns > far_too_long_ns)
		begin_rest(coalesce);
	else if (coalesce->windows >= NAP_WINDOWS || clients < CLIENTS_MIN)
		end_naps(coalesce);
	else
		coalesce->until_ns = now_ns + 2 * coalesce->plain_ns;
}

/* Were they worth it? A few windows say nothing. */
static void end_naps(struct coalesce *coalesce)
{
	if (coalesce->windows >= PLAIN_WINDOWS) {
		coalesce->napped_ns =
			mean(coalesce->napped_ns, coalesce->phase_ns / coalesce->windows);
		if (coalesce->napped_ns * 100u > coalesce->plain_ns * WORTH_PERCENT) {
			begin_rest(coalesce);
			return;
		}
		coalesce->rested = 0;
	}
	begin_phase(coalesce, 0);
}

static void begin_phase(struct coalesce *coalesce, uint32_t nap_ns)
{
	coalesce->nap_ns = nap_ns;
	coalesce->slept_ns = 0;
	coalesce->windows = 0;
	coalesce->phase_ns = 0;
}

/* How long windows take then may be something else. */
static void begin_rest(struct coalesce *coalesce)
{
	coalesce->rested = coalesce->rested ? coalesce->rested * 2u : REST_MIN;
	if (coalesce->rested > REST_MAX)
		coalesce->rested = REST_MAX;
	coalesce->rest = coalesce->rested;
	coalesce->plain_ns = coalesce->napped_ns = 0;
	begin_phase(coalesce, 0);
}

static uint64_t mean(uint64_t before, uint64_t now)
{
	return before ? before - before / 4 + now / 4 : now;
}

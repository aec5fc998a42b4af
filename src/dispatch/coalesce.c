/* SPDX-License-Identifier: MIT */
/*
 * What many clients ask is let gather. As soon as they ask faster than a request alone can be
 * answered, dispatcher and workers sleep no more: they go round as fast as they can, each time
 * with the few requests that came meanwhile, and a round costs a turn, a bell and two switches,
 * for few as for many. To be faster makes the rounds smaller. So before the next one the
 * dispatcher naps: for a moment it hears nothing, nor do the workers have anything to do, and
 * then it takes in all that came. Network cards do the same (interrupt coalescing).
 *
 * A nap lasts until one in some of the busy clients has asked something, so it takes that part of
 * the time from one request of a client's to its next: no client runs out of what it can do
 * meanwhile. Where there is some time to sleep anyway it is shorter. Whether it pays is judged in
 * phases, by windows of some hundred requests: some without naps, which show whether there is
 * time to sleep, then more of them with naps. If after some such phases, since one may be slow by
 * chance, those with naps have taken longer, there are none for a while, after each time twice as
 * long.
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
/* A window without naps that takes longer is of another load, or of none; with naps, if it
 * takes so many times as long. */
#define QUIET_NS    40000000u
#define QUIET_TIMES 4u
/* Fewer would wait for us, and we for them. */
#define CLIENTS_MIN 48u
/* A nap is for one client in so many: in 24 of 64; many clients have enough to do meanwhile if
 * it is longer. */
#define PART_MAX 24u
#define PART_MIN 12u
#define PART_OF  (PART_MAX * 64u)
/* If in one turn so many of the busy clients have asked, it cannot follow them, and has more to
 * do than to wait. */
#define BEHIND_PART 5u
/* Who sleeps for more of the time has enough of it for each request. */
#define ASLEEP_PERCENT 40u
/* Windows with naps may take so many percent of what others take, which is more than they are
 * apart by chance. */
#define WORTH_PERCENT 110u
/* In phases without naps. */
#define REST_MIN 64u
#define REST_MAX 2048u

static void judge_plain(struct coalesce *coalesce, unsigned requests, unsigned clients,
			uint64_t now_ns);
static uint32_t nap_of(const struct coalesce *coalesce, uint64_t request_ns, unsigned clients,
		       unsigned asleep_percent);
static void judge_naps(struct coalesce *coalesce, unsigned clients, uint64_t now_ns);
static void end_naps(struct coalesce *coalesce);
static void begin_phase(struct coalesce *coalesce, uint32_t nap_ns);
static void begin_rest(struct coalesce *coalesce);
static void add(struct coalesce_sum *sum, const struct coalesce_sum *more);
static void halve(struct coalesce_sum *sum);
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

	if (coalesce->max_ns == 0)
		return;
	coalesce->window_began_ns = now_ns;
	if (is_first || took_ns > QUIET_NS * (naps ? QUIET_TIMES : 1u)) {
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

	/* Who waits in a queue waits for a worker, who has to be heard. */
	if (coalesce->nap_ns == 0 || !coalesce->asked || dispatcher->pending > 0 ||
	    clock_now_ns() >= coalesce->until_ns)
		return false;
	if (dispatcher->loop.full || dispatcher->loop.came > coalesce->behind)
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
	const struct coalesce_sum phase = coalesce->phase;
	const uint64_t window_ns = mean_ns(&phase);
	const uint64_t before_ns = mean_ns(&coalesce->plain);
	const uint64_t asleep_percent = phase.ns ? coalesce->slept_ns * 100u / phase.ns : 100u;

	if (phase.windows < PLAIN_WINDOWS)
		return;
	begin_phase(coalesce, 0);
	if (coalesce->rest > 0) {
		coalesce->rest--;
		return;
	}
	if (asleep_percent >= ASLEEP_PERCENT || clients < CLIENTS_MIN)
		return;
	/* What is known is of another load. */
	if (window_ns > 2 * before_ns || before_ns > 2 * window_ns)
		coalesce->plain = coalesce->napped = (struct coalesce_sum){ 0 };
	add(&coalesce->plain, &phase);
	begin_phase(coalesce,
		    nap_of(coalesce, window_ns / requests, clients, (unsigned)asleep_percent));
	coalesce->behind = clients / BEHIND_PART;
	coalesce->until_ns = now_ns + 2 * mean_ns(&coalesce->plain);
}

static uint32_t nap_of(const struct coalesce *coalesce, uint64_t request_ns, unsigned clients,
		       unsigned asleep_percent)
{
	unsigned part = PART_OF / clients;
	uint64_t ns;

	part = part < PART_MIN ? PART_MIN : part > PART_MAX ? PART_MAX : part;
	ns = request_ns * clients / part;
	if (asleep_percent > ASLEEP_PERCENT / 2)
		ns = ns * (ASLEEP_PERCENT - asleep_percent) / (ASLEEP_PERCENT / 2);
	return ns < coalesce->max_ns ? (uint32_t)ns : coalesce->max_ns;
}

static void judge_naps(struct coalesce *coalesce, unsigned clients, uint64_t now_ns)
{
	const uint64_t plain_ns = mean_ns(&coalesce->plain);
	const struct coalesce_sum *phase = &coalesce->phase;

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
	struct coalesce_sum *plain = &coalesce->plain;
	struct coalesce_sum *napped = &coalesce->napped;

	add(napped, &coalesce->phase);
	begin_phase(coalesce, 0);
	if (napped->windows < TRIED_WINDOWS)
		return;
	if (mean_ns(napped) * 100u > mean_ns(plain) * WORTH_PERCENT) {
		begin_rest(coalesce);
		return;
	}
	coalesce->rested = 0;
	/* What was long ago counts less and less. */
	halve(plain);
	halve(napped);
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
	coalesce->plain = coalesce->napped = (struct coalesce_sum){ 0 };
	begin_phase(coalesce, 0);
}

static void add(struct coalesce_sum *sum, const struct coalesce_sum *more)
{
	sum->windows += more->windows;
	sum->ns += more->ns;
}

static void halve(struct coalesce_sum *sum)
{
	sum->windows /= 2;
	sum->ns /= 2;
}

static uint64_t mean_ns(const struct coalesce_sum *sum)
{
	return sum->windows ? sum->ns / sum->windows : 0;
}

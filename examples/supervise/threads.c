/* SPDX-License-Identifier: MIT */
/*
 * The children are threads of one process: they share what is counted here. A
 * thread cannot be killed: one that stands still is replaced at once, and is
 * listed as stale until it ends. Try:
 *
 *	build/examples/threads          two threads that read sensors
 *	build/examples/threads stuck    sensor 0 is stuck after its second reading,
 *	                                and a second later another thread is there
 *
 * and type "status" meanwhile.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <crew/supervise.h>

static atomic_uint readings; /* of all threads */

static int poll_sensor(struct crew_child *self)
{
	const bool gets_stuck = crew_argument(self) && crew_index(self) == 0 &&
				crew_generation(self) == 1;

	for (unsigned i = 1; crew_rest(self, 500); i++) {
		printf("sensor %u of thread %u: reading %u of all\n", crew_index(self),
		       crew_generation(self), atomic_fetch_add(&readings, 1) + 1);
		fflush(stdout);
		while (gets_stuck && i == 2)
			sleep(1); /* no heartbeat, and deaf */
	}
	return 0;
}

int main(int argc, char **argv)
{
	const bool stuck = argc > 1 && strcmp(argv[1], "stuck") == 0;

	return crew_supervise(&(struct crew_plan){
		.groups = { { .name = "sensor", .kind = CREW_THREAD, .run = poll_sensor,
			      .count = 2, .argument = stuck ? argv[1] : NULL,
			      .heartbeat_timeout_ms = 1000, .stop_timeout_ms = 2000 } },
		.console = true,
	});
}

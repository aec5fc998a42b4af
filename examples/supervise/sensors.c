/* SPDX-License-Identifier: MIT */
/*
 * Children without HTTP: two processes that each read a sensor once a second,
 * and are kept running. What they print comes to the log in their names. Try:
 *
 *	build/examples/sensors
 *	kill -9 PID     of a child, as its lines name it: another is there at once
 *	kill -TTIN PID  of the parent: a third sensor; -TTOU: one less
 *	kill -HUP PID   of the parent: each is replaced when its successor is ready
 */
#include <stdio.h>
#include <stdlib.h>

#include <crew/supervise.h>

static int poll_sensor(struct crew_child *self)
{
	while (crew_rest(self, 1000)) {
		printf("sensor %u: %.1f degrees\n", crew_index(self),
		       18 + (double)(random() % 50) / 10);
		fflush(stdout);
	}
	return 0;
}

int main(void)
{
	return crew_supervise(&(struct crew_plan){
		.groups = { { .name = "sensor", .run = poll_sensor, .count = 2 } },
	});
}

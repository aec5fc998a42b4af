/* SPDX-License-Identifier: MIT */
/*
 * What another program says of itself by sd_notify(3): datagrams to a socket in
 * the abstract namespace, one socket for each child, so that what its own
 * children say counts too. Anyone on the machine can send there: only who has
 * the user id of the child, or ours, or root's, is heard. What comes is a list
 * of lines NAME=value; unknown names are ignored, as the protocol asks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/os/os.h"
#include "supervise/private.h"

#define NOTIFY_BYTES 4096

static void notify_ready(struct loop *loop, struct watch *watch, uint32_t events);
static bool hear_one(struct life *life);
static bool may_speak(const struct life *life, const struct os_peer *from);
static void hear(struct life *life, char *line);

int notify_open(struct life *life, char *ret_name, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t address_size = sizeof(sa_family_t); /* the kernel picks a name */
	const int on = 1;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	fd = fd < 0 ? -errno : os_raise_descriptor(fd);
	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&address, address_size) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		goto failed;
	address_size = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &address_size) < 0)
		goto failed;
	snprintf(ret_name, size, "@%.*s",
		 (int)(address_size - offsetof(struct sockaddr_un, sun_path) - 1),
		 address.sun_path + 1);
	life->notify_watch = (struct watch){ .fd = fd, .ready = notify_ready };
	r = loop_add(&life->child.plan->loop, &life->notify_watch, EPOLLIN);
	if (r == 0)
		return 0;
	close(fd);
	life->notify_watch.fd = -1;
	return r;

failed:
	r = -errno;
	close(fd);
	return r;
}

void notify_close(struct life *life)
{
	if (life->notify_watch.fd < 0)
		return;
	loop_remove(&life->child.plan->loop, &life->notify_watch);
	os_close_socket(life->notify_watch.fd);
	life->notify_watch.fd = -1;
}

void notify_drain(struct life *life)
{
	if (life->notify_watch.fd < 0)
		return;
	/* Others may go on sending. */
	shutdown(life->notify_watch.fd, SHUT_RD);
	while (hear_one(life))
		;
}

static void notify_ready(struct loop *loop, struct watch *watch, uint32_t events)
{
	(void)loop;
	(void)events;
	(void)hear_one(container_of(watch, struct life, notify_watch));
}

/* False if there is nothing more now. */
static bool hear_one(struct life *life)
{
	char text[NOTIFY_BYTES];
	struct os_peer from = { 0 };
	char *rest = text;
	char *line;
	ssize_t n;

	/* Descriptors that come along (FDSTORE=1, BARRIER=1) are closed: for a barrier that
	 * is the answer. */
	n = os_receive(life->notify_watch.fd, text, sizeof(text) - 1, &from);
	if (n <= 0)
		return n == 0;
	if (!may_speak(life, &from)) {
		if (!life->said_stranger)
			log_warning("%s[%u]: a notification from process %d of user "
				    "%u is not heard", life->child.group->is.name,
				    life->child.index, (int)from.pid, from.uid);
		life->said_stranger = true;
		return true;
	}
	text[n] = '\0';
	while ((line = strsep(&rest, "\n")) != NULL)
		hear(life, line);
	return true;
}

static bool may_speak(const struct life *life, const struct os_peer *from)
{
	return from->pid > 0 && (from->pid == life->child.pid || from->uid == 0 ||
				 from->uid == geteuid());
}

static void hear(struct life *life, char *line)
{
	struct score *score = life->child.score;
	char *value = strchr(line, '=');
	unsigned long long number;

	if (!value)
		return;
	*value++ = '\0';
	number = strtoull(value, NULL, 10);
	if ((strcmp(line, "READY") == 0 || strcmp(line, "WATCHDOG") == 0) &&
	    number == 1)
		atomic_store_explicit(&score->heartbeat_ms, clock_now_ms(),
				      memory_order_relaxed);
	if (strcmp(line, "READY") == 0 && number == 1) {
		score_set_state(score, CREW_CHILD_READY);
		life_ready(life);
	} else if (strcmp(line, "STOPPING") == 0 && number == 1) {
		score_set_state(score, CREW_CHILD_DRAINING);
	} else if (strcmp(line, "STATUS") == 0) {
		score_set_status(score, value, strlen(value));
	} else if (strcmp(line, "WATCHDOG") == 0 && strcmp(value, "trigger") == 0 &&
		   !life->buried) {
		log_error("%s[%u] says itself that it is stuck",
			  life->child.group->is.name, life->child.index);
		life_kill(life, CREW_CAUSE_STUCK);
	} else if (strcmp(line, "WATCHDOG_USEC") == 0 && number > 0) {
		life->watchdog_ms = number / 1000 > INT_MAX
					    ? INT_MAX
					    : (unsigned)((number + 999) / 1000);
	} else if (strcmp(line, "EXTEND_TIMEOUT_USEC") == 0 &&
		   life->extended_ms < clock_now_ms() + number / 1000) {
		life->extended_ms = clock_now_ms() + number / 1000;
	}
}

/* SPDX-License-Identifier: MIT */
/* In the place of poller_uring.c where liburing is not installed. */
#include "base/poller.h"

#include <errno.h>

int poller_uring_new(struct poller **ret_poller)
{
	(void)ret_poller;
	return -ENOSYS;
}

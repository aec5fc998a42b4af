/* SPDX-License-Identifier: MIT */
/* What the files of the sampler share. */
#ifndef SAMPLER_H
#define SAMPLER_H

#include <crew/crew.h>

/* Note that a handler has begun, in the file that SAMPLER_RAN names. */
void sampler_ran(const struct crew_request *request);
int sampler_setup(struct crew_worker *worker);

crew_handler page_index, page_hello, page_plain, page_echo, page_headers,
	page_whoami, page_bytes, page_sleep, page_spin, page_alive, page_fail,
	page_price, page_tag, page_crash;

#endif

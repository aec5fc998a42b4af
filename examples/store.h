/* SPDX-License-Identifier: MIT */
/* The items service: an application that the items example serves alone and
 * the sampler as one of its pools. */
#ifndef EXAMPLES_STORE_H
#define EXAMPLES_STORE_H

#include <crew/crew.h>

extern const struct crew_app items_app;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * crew: HTTP services as plain, blocking C in pools of isolated workers.
 * This header brings in all the others, and <inttypes.h> for the formats.
 */
#ifndef CREW_CREW_H
#define CREW_CREW_H

#include <inttypes.h>

#include <crew/error.h>
#include <crew/json.h>
#include <crew/later.h>
#include <crew/log.h>
#include <crew/serve.h>
#include <crew/supervise.h>
#include <crew/worker.h>

#endif

/* SPDX-License-Identifier: MIT */
#ifndef STRESS_AIM_H
#define STRESS_AIM_H

/*
 * aim: deaths and stops in the gaps where they matter.
 *
 * A signal from outside finds a process inside one of the library's gaps once in thousands of
 * times. Where the library was built with its fault points (tests only), the driver asks for a
 * death or a stop at a point instead, and the victim does it to itself when it comes by; so a
 * gap that is passed once in a million calls is hit as often as the others. Sleeps at points
 * that are drawn at random (--jitter) let others run in between.
 */

#include <stdbool.h>

#include "stress/ledger.h"
#include "stress/stress-random.h"

enum aim_action {
	AIM_NOTHING,
	AIM_KILL,
	AIM_STOP,
};

/* Was the library built with fault points? */
bool aim_is_possible(void);
unsigned int aim_points(void);

/* The driver: let the process of a place do that at a point, or anywhere after many points. */
void aim_at(struct ledger *ledger, unsigned int place, enum aim_action action,
	    struct stress_random *random);
void aim_withdraw(struct ledger *ledger, unsigned int place);

/* The child: from now on points are looked at. */
void aim_begin(struct ledger *ledger, const struct stress_options *opts, unsigned int place,
	       uint64_t seed);

/* How many different points something was done at. */
unsigned int aim_points_hit(const struct ledger *ledger);

#endif

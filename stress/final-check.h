/* SPDX-License-Identifier: MIT */
#ifndef STRESS_FINAL_CHECK_H
#define STRESS_FINAL_CHECK_H

/*
 * final-check: when all is quiet, is everything there that was acknowledged, and no more?
 *
 * A process of its own attaches like any newcomer, recovers what the dead left, holds every
 * invariant and every key against the ledger, empties the map, and looks for what is left.
 */

#include "stress/worker.h"

/*
 * final_check_run - runs in the forked child
 * @unsettled: the calls of dead workers that may have happened
 *
 * Returns the exit status: 0 unless it recorded a failure. Figures go to the ledger's head.
 */
int final_check_run(const struct worker_start *start, const struct unsettled *unsettled,
		    size_t n_unsettled);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef STRESS_VERDICT_H
#define STRESS_VERDICT_H

/*
 * verdict: what came out of a run, for people and for programs.
 */

#include "stress/driver.h"

/* Why the run failed, or NULL if nothing did. Borrowed from the ledger. */
const char *verdict_first_failure(const struct ledger *ledger);

/*
 * verdict_print - the result on standard output
 *
 * As text: figures, one line PASS or FAIL, one line that replays the run. With --json: one
 * document with the same. Returns the exit status.
 */
int verdict_print(const struct stress_options *opts, const struct ledger *ledger,
		  const char *segment, const struct driver_figures *figures);

#endif

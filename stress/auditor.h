/* SPDX-License-Identifier: MIT */
#ifndef STRESS_AUDITOR_H
#define STRESS_AUDITOR_H

/*
 * auditor: a process that only reads, on a read-only mapping, while the others write and die.
 */

#include "stress/worker.h"

/* Runs in the forked child. Returns the exit status: 0 unless it recorded a failure. */
int auditor_run(const struct worker_start *start);

#endif

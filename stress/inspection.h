/* SPDX-License-Identifier: MIT */
#ifndef STRESS_INSPECTION_H
#define STRESS_INSPECTION_H

/*
 * inspection: looks into the segment from outside, while others write, are stopped and killed.
 *
 * What an operator's tools see must make sense at any moment: no invariant is reported violated,
 * nothing is reported lost that nobody's recovery will find, and no count ever falls.
 */

#include "stress/worker.h"

struct inspection {
	const struct worker_start *start;
	struct ledger_writer *writer;
	struct shmkv *kv;
	struct shmkv_stats seen; /* at the last look */
	bool seen_any;
};

void inspection_init(struct inspection *inspection, const struct worker_start *start,
		     struct ledger_writer *writer, struct shmkv *kv);

/* Each returns false after a failure was recorded. */
bool inspection_verify(struct inspection *inspection);
bool inspection_stats(struct inspection *inspection);
bool inspection_tables(struct inspection *inspection);

#endif

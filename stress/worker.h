/* SPDX-License-Identifier: MIT */
#ifndef STRESS_WORKER_H
#define STRESS_WORKER_H

/*
 * worker: a process that writes until it is told to stop, or killed.
 */

#include "stress/ledger.h"

/* What every child process is given. */
struct worker_start {
	const struct stress_options *opts;
	struct ledger *ledger;
	const char *segment;
	unsigned int place;
	uint64_t seed;        /* of this process alone */
	uint16_t client;      /* history mode: the number of its first thread */
	const char *history;  /* history mode: its file */
};

/* Runs in the forked child. Returns the exit status: 0 unless it recorded a failure. */
int worker_run(const struct worker_start *start);

/*
 * worker_attach - attach and count that as an operation
 *
 * Returns 0 or -EPROTO, a failure is recorded then.
 */
int worker_attach(const struct worker_start *start, unsigned int flags,
		  struct ledger_writer *writer, struct shmkv **ret_kv);

#endif

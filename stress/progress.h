/* SPDX-License-Identifier: MIT */
#ifndef STRESS_PROGRESS_H
#define STRESS_PROGRESS_H

/*
 * progress: what happens, while it happens. One line that is rewritten on a terminal, plain
 * lines otherwise. Everything goes to standard error: standard output is for the verdict.
 */

#include "stress/driver.h"

struct progress {
	bool terminal;
	uint64_t interval_ns;
	uint64_t next_ns;
	uint64_t last_ns, last_ops;
	bool drawn; /* a line without an end stands on the terminal */
};

void progress_init(struct progress *progress, uint64_t now_ns);

/* Show the state if it is time to. */
void progress_tick(struct progress *progress, uint64_t now_ns, uint64_t start_ns,
		   const struct ledger *ledger, struct shmkv *kv,
		   const struct driver_figures *figures);

/* A line about the phase that begins. */
void progress_say(struct progress *progress, const char *text);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef STRESS_DRIVER_H
#define STRESS_DRIVER_H

/*
 * driver: starts the processes, kills and stops them, and watches that nobody waits.
 *
 * Waiting is judged by a condition: after a kill or a stop every other process must complete
 * a number of operations before the victim may go on. Only when one completes nothing at
 * all for the time of the watchdog is that called waiting.
 */

#include "stress/ledger.h"

/* Figures of a run, for the progress and the verdict. */
struct driver_figures {
	double seconds;
	uint64_t starts;           /* processes */
	uint64_t kills;            /* SIGKILLs, those of stopped processes included */
	uint64_t kills_of_stopped;
	uint64_t stops;
	uint64_t passed_kills;     /* kills after which all others completed operations */
	uint64_t passed_stops;
	unsigned int points_hit;   /* fault points that somebody died or stopped at */
	bool interrupted;          /* by SIGINT or SIGTERM */
	bool clients_used_up;      /* a history ended early: client numbers have 16 bits */
};

struct driver_sums {
	uint64_t ops; /* of the workers; all others are of every process */
	uint64_t count[STRESS_OPS];
	uint64_t longest_ns[STRESS_OPS];
	uint64_t conflicts, full, checked, settled, scans, verified, undecided;
	uint64_t calls[LEDGER_CALLS];
	uint64_t waits, waits_awake, wait_ns, wait_cpu_ns;
};

/*
 * driver_run - the whole run on an existing, empty segment, final check included
 * @kv: the driver's own handle, for figures
 *
 * Failures are recorded in the ledger. No child is left when it returns.
 */
void driver_run(const struct stress_options *opts, struct ledger *ledger, const char *segment,
		struct shmkv *kv, struct driver_figures *figures);

/* What the writers' counters add up to. */
void driver_sum(const struct ledger *ledger, struct driver_sums *sums);

#endif

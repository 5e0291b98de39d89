/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_SWEEP_SCENARIOS_H
#define SKV_TESTS_SWEEP_SCENARIOS_H

/*
 * sweep-scenarios: operations in start states, one row each.
 *
 * A row says how the segment is loaded, who dies in it before (so that the operation meets
 * the remains), and what the victim does. Which points it passes and how often is found by
 * running it, not written down.
 */

#include "tests/sweep-world.h"

/* Keys that are known only when the segment's hash key is: resolved by sweep_scenario_key. */
#define SWEEP_KEY_SPLIT ((uint32_t)-1)   /* splits the first leaf, after those before it */
#define SWEEP_KEY_SPLIT2 ((uint32_t)-2)  /* makes the second split */
#define SWEEP_KEY_COMPACT ((uint32_t)-3) /* compacts the first leaf */
#define SWEEP_KEY_DEEP ((uint32_t)-4)    /* makes the directory use another piece */

/* No other process can attach while the victim lives. */
#define SWEEP_CROWDED 1u
/* The victim attaches (or creates) as its operation. */
#define SWEEP_STARTS 2u
/* Nobody else may be attached beforehand: it would take what the victim shall take. */
#define SWEEP_FIRST 8u
/* Free leaves are kept for compaction first, as always; elsewhere they are used at once, so
 * that a victim that wakes meets another life of its leaf. */
#define SWEEP_POOLED 16u
/* The segment is a cache: keys that make room for others are gone, and that is right. */
#define SWEEP_EVICTS 32u
/* The operation passes no point at all. */
#define SWEEP_PASSES_NONE 4u

struct sweep_death {
	struct sweep_op op;
	enum skv_fault_point point;
	uint32_t nth;
};

#define SWEEP_DEATHS_MAX 4u

struct sweep_scenario {
	const char *name;
	struct sweep_op op;
	unsigned int flags;
	void (*prepare)(struct sweep_world *w); /* by the director */
	/* Die before the victim acts; attached before it. End with point 0 and nth 0. */
	struct sweep_death deaths[SWEEP_DEATHS_MAX];
	/* In place of deaths: one process whose threads die together. */
	void (*thread_death)(struct sweep_world *w, struct shmkv *kv);
	uint64_t max_bytes;     /* 0: 1 MiB */
	uint32_t max_processes; /* 0: 16 */
	uint32_t max_threads;   /* 0: 16 */
};

extern const struct sweep_scenario sweep_scenarios[];

/* Finds the keys that depend on the hash key of @seed. */
void sweep_scenarios_init(struct sweep_world *w, uint64_t seed);

uint32_t sweep_scenario_key(uint32_t key);

#endif

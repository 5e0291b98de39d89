/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_CELLS_H
#define SHMKV_BENCH_PEER_CELLS_H

/*
 * peer-cells: what was measured of a peer: one cell for each workload, size and number of
 * workers. And bytes, one row for each size.
 */

#include "bench/bench.h"
#include "bench/histogram.h"
#include "bench/peer-work.h"

#define CELL_ROUNDS_MAX 16u

struct cell {
	const struct peer *peer;
	enum work work;
	double skew;
	unsigned int workers;
	uint64_t entries;
	size_t value_len;
	unsigned int lap; /* those of one lap took turns */
	uint64_t n;       /* steps of a round, of each worker */
	unsigned int n_rounds;
	/* Of all workers together: so two that do not hinder each other take half of what one takes. */
	double ns[CELL_ROUNDS_MAX];
	double cpu_ns[CELL_ROUNDS_MAX]; /* what a step costs its worker's processor */
	double median, low, high;       /* of ns: half of the rounds lie between low and high */
	double cpu_median;
	struct histogram latency;
};

struct cell_memory {
	const struct peer *peer;
	uint64_t entries;
	size_t value_len;
	unsigned int lap;
	uint64_t bytes;
};

/* One figure of the machine: see peer-limits. */
struct cell_limit {
	char name[48];
	const char *unit;
	double small, huge; /* on either kind of pages; huge 0 where that means nothing */
};

/* What it means to others when a writer is killed; times in nanoseconds, one for each trial. */
struct cell_kill {
	const struct peer *peer;
	unsigned int trials, never; /* never: the other process did not come back */
	struct histogram undisturbed; /* longest call of a process when nobody is killed */
	struct histogram longest;     /* longest call of the other process */
	struct histogram recovered;   /* from the kill until nothing of it was left; n 0: unknown */
};

struct cell_wake {
	const char *name;
	struct histogram round; /* nanoseconds */
};

/* A lap of its own, for growth. */
#define PEER_LAP_GROWTH 1000000u

struct cells {
	struct cell **cells; /* each allocated for itself: they do not move */
	size_t n;
	struct cell_memory *memory;
	size_t n_memory;
	struct cell_limit *limits;
	size_t n_limits;
	struct cell_kill **kills;
	size_t n_kills;
	struct cell_wake **wakes;
	size_t n_wakes;
};

/* NULL without memory. */
struct cell *cells_add(struct cells *cells, const struct cell *like);
/* 0 or -ENOMEM */
int cells_add_memory(struct cells *cells, const struct cell_memory *memory);
int cells_add_limit(struct cells *cells, const struct cell_limit *limit);
/* Empty ones, or NULL. */
struct cell_kill *cells_add_kill(struct cells *cells, const struct peer *peer);
struct cell_wake *cells_add_wake(struct cells *cells, const char *name);
void cells_free(struct cells *cells);

/* When all rounds are done, or the run has failed: cells without a round are dropped. */
void cells_settle(struct cells *cells);

double cells_median(double *numbers, unsigned int n);

/* The same of another peer in the same lap; NULL if there is none. */
const struct cell *cells_beside(const struct cells *cells, const struct cell *cell,
				const struct peer *peer);

/* Did the caller ask for this peer? shmkv and the limits always are. */
bool peer_is_wanted(const struct bench_options *options, const struct peer *peer);
bool peer_is_in_every_lap(const struct peer *peer);

/* "hit zipf" */
void cell_label(const struct cell *cell, char *text, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_TOP_SAMPLE_H
#define TOOLS_TOP_SAMPLE_H

/*
 * top-sample: what top knows of a segment at one moment, and how fast it changed since.
 *
 * Counters and participants are read every time. What needs a walk over all blocks is read
 * only as often as it takes less than a tenth of the time; until then it stays as it was.
 */

#include <stdbool.h>
#include <stddef.h>

#include <shmkv/inspect.h>

#define TOP_LEAVES 64

struct top_participant {
	struct shmkv_participant p;
	double calls_per_s;
};

struct top_leaf {
	uint64_t id, prefix;
	uint32_t depth, live, dead, empty;
};

enum top_name { TOP_NAME_SAME, TOP_NAME_GONE, TOP_NAME_OTHER };

struct top_sample {
	double when, seconds; /* monotonic; since the sample before, 0 for the first */
	enum top_name name;
	uint64_t count;
	struct shmkv_stats stats, rates_from; /* now and before */
	struct top_participant *people;
	size_t n_people;
	/* of the last long look */
	double looked_at, look_took;
	struct shmkv_info info;
	struct shmkv_memory memory;
	struct top_leaf leaves[TOP_LEAVES]; /* the fullest first */
	size_t n_leaves;
};

/* What is counted, in the order in which it is shown. */
struct top_rate {
	const char *name;  /* in JSON and in plain lines */
	size_t offset;     /* in struct shmkv_stats */
};

extern const struct top_rate top_rates[];
extern const size_t top_n_rates;

/* Per second since the sample before. */
double top_rate_of(const struct top_sample *sample, const struct top_rate *rate);

enum top_sort {
	TOP_SORT_RATE,
	TOP_SORT_CALLS,
	TOP_SORT_PID,
	TOP_SORT_PINS,
	TOP_SORT_STATE,
	TOP_SORT_N
};

extern const char *const top_sort_names[TOP_SORT_N];

void top_sort(struct top_sample *sample, enum top_sort by, bool reverse);

/*
 * top_sample_take - the next sample
 * @sample: zero, or the one before, which is overwritten
 *
 * Returns 0 or a code of the library.
 */
int top_sample_take(struct top_sample *sample, struct shmkv *kv);

void top_sample_free(struct top_sample *sample);

double top_now(void);

#endif

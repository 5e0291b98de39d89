/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_HISTOGRAM_H
#define SHMKV_BENCH_HISTOGRAM_H

/*
 * histogram: counts of latencies, in buckets no wider than a thirty-second of what they count.
 *
 * The layout is that of HdrHistogram: below 32 each number has its own bucket, and every
 * doubling above is cut into 32. The largest number is kept exactly. No pointers: it may lie in
 * memory that processes share, one process writing.
 */

#include <stdint.h>

#define HISTOGRAM_SUB 32u
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * 41u) /* up to 2^45: ten hours in nanoseconds */

struct histogram {
	uint64_t n;
	uint64_t max;
	uint64_t counts[HISTOGRAM_BUCKETS];
};

/* The bucket of a number, and the largest number of a bucket. */
unsigned int histogram_bucket(uint64_t x);
uint64_t histogram_bound(unsigned int bucket);

void histogram_add(struct histogram *h, uint64_t x);
void histogram_merge(struct histogram *h, const struct histogram *other);

/* The number that @share of all (0 to 1) do not exceed, rounded up to its bucket; 0 if empty. */
uint64_t histogram_quantile(const struct histogram *h, double share);

#endif

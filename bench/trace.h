/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_TRACE_H
#define SHMKV_BENCH_TRACE_H

/*
 * trace: requests to a cache, the same ones for the same seed.
 *
 * Keys are drawn by Zipf's law: the key of rank r comes with a probability proportional to
 * 1 / r^skew. A polluted trace is interrupted by scans, stretches of keys that come once and
 * never again, as of a backup or a crawler.
 */

#include <stdbool.h>
#include <stdint.h>

struct trace {
	uint64_t n_keys;   /* numbers 0 .. n_keys - 1, by rank */
	uint64_t scan_every, scan_len; /* after so many requests, so many keys; 0: never */
	uint64_t n_asked;  /* by rank, so far */
	uint64_t n_scanned;
	uint64_t state;
	double *upto; /* probability of all ranks up to this one */
};

/* 0 or -ENOMEM; end it with trace_deinit. */
int trace_init(struct trace *trace, uint64_t n_keys, double skew, uint64_t seed);
void trace_deinit(struct trace *trace);

/* Begin again with the same requests; @scan_every 0 for no scans. */
void trace_begin(struct trace *trace, uint64_t seed, uint64_t scan_every, uint64_t scan_len);

/* The next key; *ret_scan when it belongs to a scan, then its number is n_keys or more. */
uint64_t trace_next(struct trace *trace, bool *ret_scan);

/* How many key numbers @n_requests by rank can bring, scans included. */
uint64_t trace_keys(const struct trace *trace, uint64_t n_requests);

#endif

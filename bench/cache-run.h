/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_CACHE_RUN_H
#define SHMKV_BENCH_CACHE_RUN_H

/*
 * cache-run: a trace through a map that evicts, and through exact caches of the same bytes.
 *
 * A request is a get, and after a miss a put. Hits are counted in the second half of the
 * trace and only for keys that were drawn by rank: those of a scan never come back.
 */

#include "bench/trace.h"

#include <shmkv/shmkv.h>

struct cache_load {
	struct trace *trace;
	uint64_t seed;
	uint64_t n_requests; /* by rank */
	uint64_t scan_every, scan_len;
	uint32_t len_min, len_max; /* of values, in bytes; a key has always the same */
};

struct cache_result {
	uint64_t hits, requests;
	uint64_t keys, record_bytes, evictions; /* held in the end; header, key and value */
	uint64_t puts, put_ns;
};

/* The length of a key's value; every doubling between the bounds is as likely. */
uint32_t cache_len(const struct cache_load *load, uint64_t key);

/* 0, or what a call answered; -EBADMSG for a wrong value. */
int cache_run(const struct cache_load *load, struct shmkv *kv, struct cache_result *ret);

/* The same load through both exact caches of @bytes: rates of hits. 0 or -ENOMEM. */
int cache_exact(const struct cache_load *load, uint64_t bytes, double *ret_lru, double *ret_lfu);

#endif

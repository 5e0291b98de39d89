/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_EXACT_CACHE_H
#define SHMKV_BENCH_EXACT_CACHE_H

/*
 * exact-cache: what a cache of so many bytes would hold if its policy were followed exactly.
 *
 * LRU evicts the key that was used longest ago. LFU evicts the key that was used least often
 * since the beginning, counted also while it was not in the cache; of equal ones the one that
 * was used longest ago. Nothing is stored: keys are numbers with a size.
 */

#include <stdbool.h>
#include <stdint.h>

enum exact_policy { EXACT_LRU, EXACT_LFU };

struct exact_key {
	uint64_t used; /* when last */
	uint32_t count;
	uint32_t place; /* in the heap + 1, or 0 */
	uint32_t bytes;
};

struct exact_cache {
	enum exact_policy policy;
	uint64_t budget, held; /* bytes */
	uint64_t now;
	uint64_t n; /* keys held */
	struct exact_key *keys;
	uint32_t *heap; /* the next to go first */
};

/* 0 or -ENOMEM; end it with exact_cache_deinit. */
int exact_cache_init(struct exact_cache *cache, enum exact_policy policy, uint64_t budget,
		     uint64_t n_keys);
void exact_cache_deinit(struct exact_cache *cache);

/* A request: true for a hit; after a miss the key is in, unless it is larger than the budget. */
bool exact_cache_ask(struct exact_cache *cache, uint64_t key, uint32_t bytes);

#endif

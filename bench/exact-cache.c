/* SPDX-License-Identifier: MIT */
#include "bench/exact-cache.h"

#include <errno.h>
#include <stdlib.h>

int exact_cache_init(struct exact_cache *cache, enum exact_policy policy, uint64_t budget,
		     uint64_t n_keys)
{
	*cache = (struct exact_cache){ .policy = policy, .budget = budget };
	cache->keys = calloc(n_keys, sizeof(*cache->keys));
	cache->heap = calloc(n_keys, sizeof(*cache->heap));
	if (cache->keys && cache->heap)
		return 0;
	exact_cache_deinit(cache);
	return -ENOMEM;
}

void exact_cache_deinit(struct exact_cache *cache)
{
	free(cache->keys);
	free(cache->heap);
	cache->keys = NULL;
	cache->heap = NULL;
}

/* Does key @a go before key @b? */
static bool goes_first(const struct exact_cache *cache, uint32_t a, uint32_t b)
{
	const struct exact_key *ka = &cache->keys[a], *kb = &cache->keys[b];

	if (cache->policy == EXACT_LFU && ka->count != kb->count)
		return ka->count < kb->count;
	return ka->used < kb->used;
}

static void put_at(struct exact_cache *cache, uint64_t at, uint32_t key)
{
	cache->heap[at] = key;
	cache->keys[key].place = (uint32_t)at + 1;
}

static void rise(struct exact_cache *cache, uint64_t at)
{
	uint32_t key = cache->heap[at];

	while (at > 0 && goes_first(cache, key, cache->heap[(at - 1) / 2])) {
		put_at(cache, at, cache->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put_at(cache, at, key);
}

static void sink(struct exact_cache *cache, uint64_t at)
{
	uint32_t key = cache->heap[at];
	uint64_t child;

	while ((child = at * 2 + 1) < cache->n) {
		if (child + 1 < cache->n &&
		    goes_first(cache, cache->heap[child + 1], cache->heap[child]))
			child++;
		if (!goes_first(cache, cache->heap[child], key))
			break;
		put_at(cache, at, cache->heap[child]);
		at = child;
	}
	put_at(cache, at, key);
}

static void evict(struct exact_cache *cache)
{
	uint32_t key = cache->heap[0];

	cache->held -= cache->keys[key].bytes;
	cache->keys[key].place = 0;
	cache->n--;
	if (cache->n > 0) {
		put_at(cache, 0, cache->heap[cache->n]);
		sink(cache, 0);
	}
}

bool exact_cache_ask(struct exact_cache *cache, uint64_t key, uint32_t bytes)
{
	struct exact_key *k = &cache->keys[key];

	k->count++;
	k->used = ++cache->now;
	if (k->place) {
		/* Used more often and later than before. */
		sink(cache, k->place - 1);
		return true;
	}
	if (bytes > cache->budget)
		return false;
	while (cache->held + bytes > cache->budget)
		evict(cache);
	k->bytes = bytes;
	cache->held += bytes;
	put_at(cache, cache->n++, (uint32_t)key);
	rise(cache, cache->n - 1);
	return false;
}

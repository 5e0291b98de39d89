/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_HEAP_H
#define SKV_HEAP_HEAP_H

/*
 * heap: what the maps of all heap engines have in common: one writer's lock, memory with a
 * limit, freeing that waits for readers, the hash key, tokens and counters.
 *
 * Readers take no lock: they enter a read section (heap/rcu.h) and follow pointers that
 * writers publish whole. Writers take the map's lock one after the other. What a writer takes
 * out of the map it retires: the memory is used again after a grace period, when no reader
 * can have it any more. Retired blocks are collected and waited for in batches, by the writer
 * whose batch is full and after it has let go of the lock, so that others go on meanwhile.
 *
 * A map with one thread in the process takes no lock, waits for nobody and frees at once.
 *
 *  pair                                what it carries
 *  [heap.publish] -> [heap.follow]     a record's or node's bytes before the pointer to them
 *  [heap.unlink]  -> [heap.grace]      out of reach before the wait; a read section that begins
 *                                      later cannot find it, one that began earlier is waited for
 *
 * fork: handlers take every lock of every map before, and give them back on both sides, so
 * that the child's copy is whole: it can be freed (skv_heap_deinit) though not used.
 */

#include "api/engine.h"
#include "base/hash.h"
#include "heap/pool.h"
#include "heap/rcu.h"

#include <errno.h>
#include <pthread.h>

struct skv_retired {
	void *memory;
	uint64_t bytes_and_kind; /* bytes * 4 + where it came from, see heap.c */
};

/*
 * So many blocks, or a 32nd of the map's limit within these bounds, are waited for at once. A
 * grace period takes as long as the slowest read section, which is a time slice of the
 * scheduler when a reader was put aside in the middle of one: the more share one wait, the
 * less it matters.
 */
#define SKV_RETIRED_MAX 16384u
#define SKV_RETIRED_BYTES_MIN ((uint64_t)256 << 10)
#define SKV_RETIRED_BYTES_MAX ((uint64_t)2 << 20)

struct skv_batch {
	unsigned int n, cap;
	uint64_t bytes;
	struct skv_retired *items;
};

/* The first member of every heap map. */
struct skv_heap {
	/* fixed */
	struct skv_hash_key hash;
	uint64_t hash_mask;   /* for tests, which make hashes collide; otherwise all but bit 0 */
	uint64_t record_skip; /* bytes of a record's head that are left out: see heap/record.h */
	uint64_t max_bytes;
	uint64_t retired_bytes; /* wait for readers when so much is retired */
	/* takes back what skv_heap_retire_other was given, under the lock; NULL if it never is */
	void (*free_other)(struct skv_heap *heap, void *memory, size_t bytes);
	bool may_overdraw; /* a del may take memory over the limit, see hamt-engine.c */
	/* written by whoever holds the lock, on lines that readers have no need of */
	pthread_mutex_t lock __attribute__((aligned(64)));
	struct skv_pool pool;
	struct skv_batch batch; /* being filled */
	uint64_t last_token;
	/* read by others too, so written with skv_store_relaxed */
	uint64_t count, inserts, updates, deletes;
	/* one writer at a time waits for readers; taken before the lock, never inside it */
	pthread_mutex_t reclaim_lock __attribute__((aligned(64)));
	struct skv_batch spare; /* under reclaim_lock: empty, but for one that waits */
	struct skv_heap *next, **link; /* under the registry's lock */
};

/*
 * skv_heap_init - prepare the common part of a map
 * @opts: checked, defaults filled in
 *
 * Returns 0, -ENOMEM, -EOPNOTSUPP (no randomness) or -EIO.
 */
int skv_heap_init(struct skv_heap *heap, const struct shmkv_options *opts);

/*
 * skv_heap_deinit - free everything that came from the pool, tables excepted
 *
 * Nobody else uses the map any more; also right in a forked child.
 */
void skv_heap_deinit(struct skv_heap *heap);

/* ---- writing --------------------------------------------------------------------- */

void skv_heap_lock_slow(struct skv_heap *heap);
void skv_heap_unlock_slow(struct skv_heap *heap);

/*
 * skv_heap_lock - become the writer; returns what skv_heap_unlock needs
 *
 * A process of one thread needs no lock, and has as many threads when it unlocks: none of
 * the caller's code runs in between.
 */
static inline bool skv_heap_lock(struct skv_heap *heap)
{
	if (skv_rcu_is_alone())
		return false;
	skv_heap_lock_slow(heap);
	return true;
}

/* Also waits for readers and frees, when enough has been retired. */
static inline void skv_heap_unlock(struct skv_heap *heap, bool locked)
{
	if (locked)
		skv_heap_unlock_slow(heap);
}

/*
 * skv_heap_retire - give up memory that readers may still be reading
 * @block: from the pool, out of reach of readers that come now; @bytes as it was asked for
 *
 * Under the lock. Cannot fail: without room to note it, the caller waits at once.
 */
void skv_heap_retire(struct skv_heap *heap, void *block, size_t bytes);

/* The same for memory from skv_pool_zeroed. */
void skv_heap_retire_table(struct skv_heap *heap, void *table, size_t bytes);

/* The same for memory of the engine's own, which heap->free_other takes back. */
void skv_heap_retire_other(struct skv_heap *heap, void *memory, size_t bytes);

/* How much memory, in whole blocks and without tables, is retired and not free yet. */
uint64_t skv_heap_retired_bytes(const struct skv_heap *heap);

/*
 * skv_heap_reclaim - wait for readers and free all that was retired
 *
 * Not under the lock, not inside a read section.
 */
void skv_heap_reclaim(struct skv_heap *heap);

/*
 * skv_heap_again - is it worth repeating an operation that found no memory?
 * @r: what it answered
 * @again: false at first; set when the answer is yes, so that it is given once
 *
 * Yes after retired memory was freed. Not under the lock.
 */
bool skv_heap_again(struct skv_heap *heap, int r, bool *again);

/* ---- little things --------------------------------------------------------------- */

/* Bit 0 is clear: no hash is UINT64_MAX, the cursor of a scan's end. */
static inline uint64_t skv_heap_hash(const struct skv_heap *heap, const struct skv_key *key)
{
	return skv_hash(&heap->hash, key->data, key->len) & heap->hash_mask;
}

/* Under the lock. A token is never 0 and never comes twice in a process's map. */
static inline uint64_t skv_heap_next_token(struct skv_heap *heap)
{
	return ++heap->last_token;
}

/* Under the lock; read by anybody. */
static inline void skv_heap_bump(uint64_t *counter, int64_t by)
{
	skv_store_relaxed(counter, *counter + (uint64_t)by);
}

/* May the key hold a value under this mode? @token is the present value's. */
static inline int skv_heap_write_allowed(bool present, uint64_t present_token,
					 enum skv_write_mode mode, uint64_t token)
{
	switch (mode) {
	case SKV_WRITE_PUT:
		return 0;
	case SKV_WRITE_ADD:
		return present ? -EEXIST : 0;
	case SKV_WRITE_REPLACE:
		return present ? 0 : -ENOENT;
	case SKV_WRITE_CAS:
		if (!present)
			return -ENOENT;
		return present_token == token ? 0 : -ESTALE;
	}
	return -EINVAL;
}

/* Members of @info that mean the same in every heap engine. Takes the lock. */
void skv_heap_info(struct skv_heap *heap, struct shmkv_info *info);

/*
 * skv_heap_check - hold the common part against itself
 * @audit: violations and block_bytes are added to
 *
 * Under the lock.
 */
void skv_heap_check(struct skv_heap *heap, void (*fn)(const char *violation, void *arg), void *arg,
		    struct shmkv_audit *audit);

/* Nobody else can have died in it: nothing to do, and the report stays zero. */
int skv_heap_recover(void *map, struct shmkv_recovery *report);

#endif

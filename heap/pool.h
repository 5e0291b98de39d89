/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_POOL_H
#define SKV_HEAP_POOL_H

/*
 * pool: the memory of one heap map: blocks of any size, up to a limit in bytes.
 *
 * Blocks of up to SKV_POOL_SMALL_MAX bytes come from chunks of one size class each; taking
 * one is a few instructions and never a call of malloc. Larger blocks come from malloc, one by
 * one. A chunk that has become empty serves any class, and memory that nobody needs goes back
 * to the system. skv_pool_deinit frees everything at once, whatever is still in use.
 *
 *     span 2 MiB   [chunk 32 KiB][chunk][chunk] ... [chunk]
 *     chunk        [head 64 B][block][block] ... [block]     all of one class
 *
 * Threads: one at a time; the map's lock sees to it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes. A chunk holds at least seven blocks, so at most an eighth of it is cut off. */
#define SKV_POOL_SMALL_MAX ((size_t)4096)
#define SKV_POOL_CHUNK_BYTES ((size_t)32 << 10)
#define SKV_POOL_SPAN_BYTES ((size_t)2 << 20)
#define SKV_POOL_CLASSES 56u

struct skv_pool_chunk;
struct skv_pool_span;
struct skv_pool_large;

struct skv_pool {
	struct skv_pool_chunk *open[SKV_POOL_CLASSES]; /* chunks with a free block */
	struct skv_pool_span *spans;                   /* those with a free chunk */
	struct skv_pool_span *full_spans;
	struct skv_pool_large *large;
	uint64_t limit_bytes;
	uint64_t used_bytes;  /* chunks in use, large blocks, and what was charged */
	uint64_t chunk_bytes; /* of those: chunks in use */
	uint64_t large_bytes; /* of those: large blocks */
	uint64_t spare_bytes; /* chunks of spans that no class has now, not in used_bytes */
	uint64_t n_spans;
	int error;            /* why the last skv_pool_alloc or _charge failed */
};

void skv_pool_init(struct skv_pool *pool, uint64_t limit_bytes);

/* Frees every block. */
void skv_pool_deinit(struct skv_pool *pool);

/*
 * skv_pool_alloc - a block of at least @size bytes, aligned to 8, with any content
 *
 * Returns NULL when it failed, and pool->error says why: -ENOSPC (the limit) or -ENOMEM.
 */
void *skv_pool_alloc(struct skv_pool *pool, size_t size);

/* skv_pool_free - give a block back; @size as it was asked for */
void skv_pool_free(struct skv_pool *pool, void *block, size_t size);

/* How long a block is that was asked for with this size. */
size_t skv_pool_block_bytes(size_t size);

/*
 * skv_pool_charge - count memory against the limit that does not come from the pool
 *
 * Returns 0 or -ENOSPC. skv_pool_discharge takes it back.
 */
int skv_pool_charge(struct skv_pool *pool, uint64_t bytes);
void skv_pool_discharge(struct skv_pool *pool, uint64_t bytes);

/*
 * skv_pool_zeroed - fresh memory of zeros that is not a block, for tables
 *
 * Charged to the pool; from 2 MiB on it lies on huge pages where the system has them. End it
 * with skv_pool_zeroed_free, also before skv_pool_deinit. NULL as for skv_pool_alloc.
 */
void *skv_pool_zeroed(struct skv_pool *pool, size_t bytes);
void skv_pool_zeroed_free(struct skv_pool *pool, void *memory, size_t bytes);

/*
 * skv_pool_check - hold the pool's counters and lists against each other
 * @fn: NULL, or called with a sentence for each contradiction
 * @ret_used: bytes of all blocks that are in use, as their classes count
 *
 * Returns how many contradictions there are.
 */
uint64_t skv_pool_check(const struct skv_pool *pool, void (*fn)(const char *violation, void *arg),
			void *arg, uint64_t *ret_used);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_POOL_H
#define SKV_HEAP_POOL_H

/*
 * pool: the memory of one heap map: blocks of any size, up to a limit in bytes.
 *
 * Blocks of up to SKV_POOL_SMALL_MAX bytes are cut from chunks of one size class each. A block
 * that is freed goes to its class's list and is the next to be used again, while it is still in
 * the cache; its chunk is not touched. Before the limit makes a call fail, and when asked, the
 * lists are swept: chunks of which every block is free serve any class again, and memory
 * that nobody needs goes back to the system. So it does when the last block is freed. Larger
 * blocks come from malloc, one by one. skv_pool_deinit frees everything at once, whatever is
 * still in use.
 *
 *     nursery 32 KiB         [block][block] ...                        of any class
 *     span 64 KiB to 2 MiB   [chunk 4 KiB][chunk][chunk] ... [chunk]
 *     chunk                  [head 32 B][block][block] ... [block]     all of one class
 *
 * The first blocks of a map are cut from the nursery one behind the other, so that a small map
 * needs no chunk for each class and touches few pages. They stay of their class.
 *
 * Threads: one at a time; the map's lock sees to it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes. A chunk holds at least seven blocks, so at most an eighth of it is cut off. */
#define SKV_POOL_SMALL_MAX ((size_t)512)
#define SKV_POOL_CHUNK_BYTES ((size_t)4096)
#define SKV_POOL_NURSERY_BYTES ((size_t)32 << 10)
#define SKV_POOL_SPAN_MIN ((size_t)64 << 10)
#define SKV_POOL_SPAN_MAX ((size_t)2 << 20)
#define SKV_POOL_CLASSES 32u

struct skv_pool_span;
struct skv_pool_large;

struct skv_pool_class {
	void *free;                /* first free block; each holds the next's address */
	uint8_t *fresh;            /* blocks of the newest chunk that were never used ... */
	uint8_t *fresh_end;        /* ... end here, or before */
	uint64_t n_used, n_chunks; /* blocks, chunks */
	uint64_t n_nursed;         /* blocks that were cut from the nursery */
};

struct skv_pool {
	struct skv_pool_class classes[SKV_POOL_CLASSES];
	struct skv_pool_span *spans; /* those with a free chunk */
	struct skv_pool_span *full_spans;
	struct skv_pool_large *large;
	uint8_t *nursery;       /* NULL before the first block */
	size_t nursery_at;      /* bytes that were cut from it */
	size_t nursery_charged; /* in steps of a page */
	uint64_t limit_bytes;
	uint64_t used_bytes;  /* chunks in use, large blocks, and what was charged */
	uint64_t chunk_bytes; /* of those: chunks in use, and the nursery as far as it is cut */
	uint64_t large_bytes; /* of those: large blocks */
	uint64_t n_blocks;    /* in use, large ones not counted */
	uint64_t free_bytes;  /* of chunks in use: blocks in the lists */
	uint64_t spare_bytes; /* chunks that no class has now, not in used_bytes */
	uint64_t unswept_bytes; /* freed since the last sweep */
	uint64_t n_spans;
	int error; /* why the last skv_pool_alloc or _charge failed */
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
 * skv_pool_sweep - take chunks without a used block from their classes
 *
 * Linear in the number of free blocks. Done by the pool itself before it answers -ENOSPC.
 */
void skv_pool_sweep(struct skv_pool *pool);

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

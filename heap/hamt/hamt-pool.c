/* SPDX-License-Identifier: MIT */
#include "heap/hamt/hamt-pool.h"

#include <string.h>

/* A new chunk is as large as what there is, in powers of two, up to half a megabyte. A map of more
 * than a few takes what the map's pool lays on huge pages: a look-up among a million keys then
 * has hardly a TLB miss. Not before, because a huge page is cleared as a whole. */
#define CHUNK_MIN ((size_t)8 << 10)
#define CHUNK_MID ((size_t)512 << 10)
#define CHUNK_MAX SKV_POOL_SPAN_MAX
#define HUGE_FROM ((size_t)4 << 20)

/* Cut for one class at once, a 64th of a chunk: little enough that a small map touches few
 * pages, and enough that neighbours in a large one were made at about the same time. */
#define RUN_MIN ((size_t)512)
#define RUN_MAX ((size_t)16 << 10)

struct skv_hamt_chunk {
	struct skv_hamt_chunk *next;
	size_t size;
};

/* Objects begin behind the header, on a cache line. */
#define CHUNK_HEAD_BYTES ((size_t)64)

_Static_assert(CHUNK_MIN > SKV_POOL_SMALL_MAX, "no chunk lies in a class of the map's pool");

void skv_hamt_pool_init(struct skv_hamt_pool *pool, struct skv_pool *from)
{
	memset(pool, 0, sizeof(*pool));
	pool->from = from;
}

static int chunk_add(struct skv_hamt_pool *pool)
{
	struct skv_hamt_chunk *chunk;
	size_t size = CHUNK_MIN;

	while (size < CHUNK_MID && size < pool->chunk_bytes)
		size *= 2;
	if (pool->chunk_bytes >= HUGE_FROM)
		size = CHUNK_MAX;
	/* Near the limit a small one may still be had. */
	for (;; size /= 2) {
		if (size == CHUNK_MAX)
			chunk = skv_pool_zeroed(pool->from, size);
		else
			chunk = skv_pool_alloc(pool->from, size);
		if (chunk || size == CHUNK_MIN)
			break;
	}
	if (!chunk)
		return -1;
	chunk->next = pool->chunks;
	chunk->size = size;
	pool->chunks = chunk;
	/* Runs begin on a cache line, wherever the chunk does. */
	pool->chunk_used = CHUNK_HEAD_BYTES + (-(uintptr_t)chunk & 63);
	pool->chunk_bytes += size;
	SKV_HAMT_POISON((uint8_t *)chunk + CHUNK_HEAD_BYTES, size - CHUNK_HEAD_BYTES);
	return 0;
}

static void chunk_free(struct skv_hamt_pool *pool, struct skv_hamt_chunk *chunk)
{
	SKV_HAMT_UNPOISON((uint8_t *)chunk + CHUNK_HEAD_BYTES, chunk->size - CHUNK_HEAD_BYTES);
	if (chunk->size == CHUNK_MAX)
		skv_pool_zeroed_free(pool->from, chunk, chunk->size);
	else
		skv_pool_free(pool->from, chunk, chunk->size);
}

/* The rest of the newest chunk goes to the classes that can use it before another is taken. */
void *skv_hamt_pool_refill(struct skv_hamt_pool *pool, unsigned int class_idx)
{
	struct skv_hamt_class *class = &pool->classes[class_idx];
	size_t bytes = (size_t)class_idx * 8, rest, run;
	uint8_t *object;

	rest = pool->chunks ? pool->chunks->size - pool->chunk_used : 0;
	if (rest < bytes) {
		if (chunk_add(pool) < 0)
			return NULL;
		rest = pool->chunks->size - pool->chunk_used;
	}
	run = pool->chunks->size / 64;
	run = run < RUN_MIN ? RUN_MIN : run > RUN_MAX ? RUN_MAX : run;
	if (run > rest)
		run = rest;

	object = (uint8_t *)pool->chunks + pool->chunk_used;
	pool->chunk_used += run;
	class->bump = object + bytes;
	class->end = object + run;
	SKV_HAMT_UNPOISON(object, bytes);
	return object;
}

void skv_hamt_pool_deinit(struct skv_hamt_pool *pool)
{
	struct skv_hamt_chunk *chunk;

	while ((chunk = pool->chunks)) {
		pool->chunks = chunk->next;
		chunk_free(pool, chunk);
	}
	skv_hamt_pool_init(pool, pool->from);
}

void skv_hamt_pool_trim(struct skv_hamt_pool *pool)
{
	if (pool->n_used == 0)
		skv_hamt_pool_deinit(pool);
}

/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_HAMT_POOL_H
#define SKV_HEAP_HAMT_POOL_H

/*
 * hamt-pool: the memory of one trie's nodes.
 *
 * A free list for each size class; what a list lacks is cut from runs, and runs from large
 * chunks of the map's pool (heap/pool.h). That pool keeps chunks of one size class each, which
 * suits records; a trie has nodes of thirty sizes and changes the size of one with every
 * insert. Here all classes share a chunk of 8 KiB in a small map, and taking and giving a node
 * are a few instructions in line: 36 ns instead of 55 for an insert among 1000 keys, as measured
 * when this was chosen.
 *
 *     chunk   │ run: nodes of 4 │ run: nodes of 8 │ run: nodes of 2 │ not yet cut │
 *     class   free list ──► node ──► node        bump ──► next node of the class's run
 *
 * A pool in which nothing is used gives its chunks back. One thread at a time. Under
 * AddressSanitizer, what is free is poisoned.
 */

#include "heap/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define SKV_HAMT_POOL_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SKV_HAMT_POOL_POISONS 1
#endif
#endif
#ifdef SKV_HAMT_POOL_POISONS
#include <sanitizer/asan_interface.h>
#define SKV_HAMT_POISON(at, size) ASAN_POISON_MEMORY_REGION(at, size)
#define SKV_HAMT_UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
#define SKV_HAMT_POISON(at, size) ((void)0)
#define SKV_HAMT_UNPOISON(at, size) ((void)0)
#endif

/* Classes are 8 bytes apart: every node has its own. Larger objects go to the map's pool. */
#define SKV_HAMT_CLASSED_MAX ((size_t)288)
#define SKV_HAMT_N_CLASSES (SKV_HAMT_CLASSED_MAX / 8 + 1)

struct skv_hamt_class {
	uint8_t *free; /* the first free object; each holds the next one at byte 8 */
	uint8_t *bump; /* the rest of the run */
	uint8_t *end;
};

struct skv_hamt_chunk;

struct skv_hamt_pool {
	struct skv_hamt_class classes[SKV_HAMT_N_CLASSES];
	struct skv_pool *from;
	uint64_t n_used; /* objects */
	uint64_t chunk_bytes; /* taken from the map's pool for the classes */
	struct skv_hamt_chunk *chunks; /* the newest one is being cut into runs */
	size_t chunk_used;
};

void skv_hamt_pool_init(struct skv_hamt_pool *pool, struct skv_pool *from);

/* Gives every chunk back, whatever is in it; objects beyond the classes are the pool's. */
void skv_hamt_pool_deinit(struct skv_hamt_pool *pool);

/* Give chunks back if nothing is in use. */
void skv_hamt_pool_trim(struct skv_hamt_pool *pool);

/* The slow path of skv_hamt_pool_alloc. */
void *skv_hamt_pool_refill(struct skv_hamt_pool *pool, unsigned int class_idx);

static inline unsigned int skv_hamt_class_of(size_t size)
{
	return (unsigned int)((size + 7) / 8);
}

/* What an object of @size bytes takes. */
static inline size_t skv_hamt_pool_bytes(size_t size)
{
	return size > SKV_HAMT_CLASSED_MAX ? skv_pool_block_bytes(size) : (size + 7) & ~(size_t)7;
}

/*
 * skv_hamt_pool_alloc - memory for an object, at a multiple of 8
 * @size: at least 16 bytes
 *
 * Returns NULL when there is none, and the map's pool says why.
 */
static inline void *skv_hamt_pool_alloc(struct skv_hamt_pool *pool, size_t size)
{
	struct skv_hamt_class *class;
	unsigned int class_idx;
	uint8_t *object;
	size_t bytes;

	if (__builtin_expect(size > SKV_HAMT_CLASSED_MAX, 0)) {
		object = skv_pool_alloc(pool->from, size);
		pool->n_used += object != NULL;
		return object;
	}
	class_idx = skv_hamt_class_of(size);
	bytes = (size_t)class_idx * 8;
	class = &pool->classes[class_idx];
	object = class->free;
	if (object) {
		SKV_HAMT_UNPOISON(object, bytes);
		class->free = *(uint8_t **)(void *)(object + 8);
	} else if ((size_t)(class->end - class->bump) >= bytes) {
		object = class->bump;
		class->bump += bytes;
		SKV_HAMT_UNPOISON(object, bytes);
	} else {
		object = skv_hamt_pool_refill(pool, class_idx);
		if (!object)
			return NULL;
	}
	pool->n_used++;
	return object;
}

/* @size: what it was allocated with */
static inline void skv_hamt_pool_free(struct skv_hamt_pool *pool, void *object, size_t size)
{
	struct skv_hamt_class *class;

	pool->n_used--;
	if (__builtin_expect(size > SKV_HAMT_CLASSED_MAX, 0)) {
		skv_pool_free(pool->from, object, size);
		return;
	}
	class = &pool->classes[skv_hamt_class_of(size)];
	*(uint8_t **)(void *)((uint8_t *)object + 8) = class->free;
	SKV_HAMT_POISON(object, skv_hamt_pool_bytes(size));
	SKV_HAMT_UNPOISON((uint8_t *)object + 8, 8);
	class->free = object;
}

#endif

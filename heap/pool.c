/* SPDX-License-Identifier: MIT */
#include "heap/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif

/* A free block may not be touched: the sanitizer then sees a use after free also here. */
#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* So much of the nursery is given to a class at once, when it is not less than two blocks. */
#define NURSED_BYTES ((size_t)192)

/* From so many on, tables are mapped and not taken from malloc. */
#define MAPPED_BYTES ((size_t)128 << 10)

/* So much of a span is asked for at once when it is used for the first time. */
#define POPULATE_BYTES ((size_t)64 << 10)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

_Static_assert(SKV_POOL_SPAN_MIN % POPULATE_BYTES == 0, "a span is a number of such stretches");

struct skv_pool_chunk {
	struct skv_pool_span *span;
	struct skv_pool_chunk *next_idle; /* of its span, while no class has it */
	uint16_t class;                   /* CHUNK_IDLE while none has */
	uint16_t n_free;                  /* zero but during a sweep */
};

#define CHUNK_IDLE 0xffffu
#define CHUNK_HEAD_BYTES ((size_t)32)
_Static_assert(sizeof(struct skv_pool_chunk) <= CHUNK_HEAD_BYTES, "the head has its room");

/* Of its own, outside the chunks: those are aligned to their size. */
struct skv_pool_span {
	struct skv_pool_span *next, *prev;
	uint8_t *memory;
	size_t bytes;
	uint32_t n_used;    /* chunks */
	uint32_t n_touched; /* chunks that were used at least once: a prefix */
	struct skv_pool_chunk *idle;
};

struct skv_pool_large {
	struct skv_pool_large *next, *prev;
	uint64_t bytes; /* head included */
	uint64_t pad;
};

/* ---- size classes ---------------------------------------------------------------- */

/* Steps of 8 up to 128, then eight steps to each doubling: at most an eighth is wasted. */
static unsigned int class_of(size_t size)
{
	unsigned int doubling;

	if (size <= 128)
		return size <= 8 ? 0 : (unsigned int)((size - 1) >> 3);
	doubling = 63u - (unsigned int)__builtin_clzll(size - 1); /* 7 for 129..256 */
	return 16 + (doubling - 7) * 8 + (unsigned int)(((size - 1) >> (doubling - 3)) & 7);
}

static size_t class_bytes(unsigned int class)
{
	unsigned int doubling;

	if (class < 16)
		return 8 * ((size_t)class + 1);
	doubling = 7 + (class - 16) / 8;
	return ((size_t)1 << doubling) + (((size_t)(class - 16) % 8 + 1) << (doubling - 3));
}

static size_t large_bytes(size_t size)
{
	return ((size + 15) & ~(size_t)15) + sizeof(struct skv_pool_large);
}

size_t skv_pool_block_bytes(size_t size)
{
	return size <= SKV_POOL_SMALL_MAX ? class_bytes(class_of(size)) : large_bytes(size);
}

/* ---- the limit ------------------------------------------------------------------- */

static bool fits(const struct skv_pool *pool, uint64_t bytes)
{
	return bytes <= pool->limit_bytes && pool->used_bytes <= pool->limit_bytes - bytes;
}

int skv_pool_charge(struct skv_pool *pool, uint64_t bytes)
{
	/* What was freed since the last sweep may make up whole chunks. */
	if (!fits(pool, bytes) && pool->unswept_bytes >= SKV_POOL_CHUNK_BYTES)
		skv_pool_sweep(pool);
	if (!fits(pool, bytes)) {
		pool->error = -ENOSPC;
		return -ENOSPC;
	}
	pool->used_bytes += bytes;
	return 0;
}

void skv_pool_discharge(struct skv_pool *pool, uint64_t bytes)
{
	pool->used_bytes -= bytes;
}

/* ---- memory of the system -------------------------------------------------------- */

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* Aligned to @align, a power of two; NULL if there is none. */
static void *map_aligned(size_t bytes, size_t align)
{
	size_t lead, span = bytes + align;
	uint8_t *memory;

	if (span < bytes)
		return NULL;
	memory = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	lead = (size_t)(-(uintptr_t)memory & (align - 1));
	if (lead > 0)
		munmap(memory, lead);
	munmap(memory + lead + bytes, span - lead - bytes);
	return memory + lead;
}

static size_t whole_pages(size_t bytes)
{
	const size_t page = 4096;

	return (bytes + page - 1) & ~(page - 1);
}

/*
 * Have pages given at once that are about to be touched one by one: 400 ns for each instead of
 * the 725 of a page fault. Where the kernel cannot (before 5.14), they come one by one.
 */
static void populate(void *memory, size_t bytes)
{
	madvise(memory, bytes, MADV_POPULATE_WRITE);
}

/* Zeros from the system. */
static void *map_zeroed(size_t bytes)
{
	void *memory;

	if (bytes >= HUGE_PAGE_BYTES) {
		memory = map_aligned(whole_pages(bytes), HUGE_PAGE_BYTES);
		if (memory)
			madvise(memory, whole_pages(bytes), MADV_HUGEPAGE);
		return memory;
	}
	memory = map_aligned(whole_pages(bytes), SKV_POOL_CHUNK_BYTES);
	if (memory)
		populate(memory, whole_pages(bytes));
	return memory;
}

void *skv_pool_zeroed(struct skv_pool *pool, size_t bytes)
{
	void *memory;

	if (skv_pool_charge(pool, bytes) < 0)
		return NULL;
	if (bytes >= MAPPED_BYTES) {
		memory = map_zeroed(bytes);
	} else {
		memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
		if (memory)
			memset(memory, 0, bytes);
	}
	if (!memory) {
		skv_pool_discharge(pool, bytes);
		pool->error = -ENOMEM;
	}
	return memory;
}

void skv_pool_zeroed_free(struct skv_pool *pool, void *memory, size_t bytes)
{
	if (!memory)
		return;
	if (bytes >= MAPPED_BYTES)
		munmap(memory, whole_pages(bytes));
	else
		free(memory);
	skv_pool_discharge(pool, bytes);
}

/* ---- spans ----------------------------------------------------------------------- */

static void span_unlink(struct skv_pool_span **list, struct skv_pool_span *span)
{
	if (span->prev)
		span->prev->next = span->next;
	else
		*list = span->next;
	if (span->next)
		span->next->prev = span->prev;
}

static void span_push(struct skv_pool_span **list, struct skv_pool_span *span)
{
	span->prev = NULL;
	span->next = *list;
	if (*list)
		(*list)->prev = span;
	*list = span;
}

/*
 * The first spans come from malloc, each twice as long as the one before: small maps stay
 * small, and memory that was freed a moment ago needs no page fault. From 2 MiB on a span is a
 * huge page where the system has them: they halve the misses of a look-up.
 */
static uint8_t *span_memory(size_t bytes)
{
	uint8_t *memory;

	if (bytes < HUGE_PAGE_BYTES)
		return aligned_alloc(SKV_POOL_CHUNK_BYTES, bytes);
	memory = map_aligned(bytes, HUGE_PAGE_BYTES);
	if (memory)
		madvise(memory, bytes, MADV_HUGEPAGE);
	return memory;
}

static struct skv_pool_span *span_new(struct skv_pool *pool)
{
	struct skv_pool_span *span;
	size_t bytes = SKV_POOL_SPAN_MIN;
	uint64_t i;

	for (i = 0; i < pool->n_spans && bytes < SKV_POOL_SPAN_MAX; i++)
		bytes *= 2;
	span = calloc(1, sizeof(*span));
	if (!span)
		return NULL;
	span->bytes = bytes;
	span->memory = span_memory(bytes);
	if (!span->memory) {
		free(span);
		return NULL;
	}
	pool->n_spans++;
	pool->spare_bytes += bytes;
	span_push(&pool->spans, span);
	return span;
}

static void span_free(struct skv_pool *pool, struct skv_pool_span *span)
{
	UNPOISON(span->memory, span->bytes);
	if (span->bytes < HUGE_PAGE_BYTES)
		free(span->memory);
	else
		munmap(span->memory, span->bytes);
	free(span);
	pool->n_spans--;
}

/* ---- chunks ---------------------------------------------------------------------- */

static bool is_nursed(const struct skv_pool *pool, const void *block)
{
	return (uintptr_t)block - (uintptr_t)pool->nursery < SKV_POOL_NURSERY_BYTES && pool->nursery;
}

static struct skv_pool_chunk *chunk_of(const void *block)
{
	return (struct skv_pool_chunk *)((uintptr_t)block & ~(SKV_POOL_CHUNK_BYTES - 1));
}

static uint32_t chunk_cap(unsigned int class)
{
	return (uint32_t)((SKV_POOL_CHUNK_BYTES - CHUNK_HEAD_BYTES) / class_bytes(class));
}

/* How many blocks of a chunk have ever been used. */
static uint32_t chunk_cut(const struct skv_pool *pool, const struct skv_pool_chunk *chunk)
{
	const struct skv_pool_class *class = &pool->classes[chunk->class];
	const uint8_t *begin = (const uint8_t *)chunk + CHUNK_HEAD_BYTES;

	if (class->fresh && chunk_of(class->fresh - 1) == chunk)
		return (uint32_t)((size_t)(class->fresh - begin) / class_bytes(chunk->class));
	return chunk_cap(chunk->class);
}

/* A chunk of which no byte was ever used. */
static struct skv_pool_chunk *chunk_touch(struct skv_pool_span *span)
{
	size_t at = span->n_touched++ * SKV_POOL_CHUNK_BYTES;

	if (at % POPULATE_BYTES == 0)
		populate(span->memory + at, POPULATE_BYTES);
	return (void *)(span->memory + at);
}

/* Give a class another chunk to cut blocks from. Only when it has none left. */
static bool chunk_take(struct skv_pool *pool, unsigned int number)
{
	struct skv_pool_class *class = &pool->classes[number];
	struct skv_pool_span *span = pool->spans ? pool->spans : span_new(pool);
	struct skv_pool_chunk *chunk;

	if (!span) {
		pool->error = -ENOMEM;
		return false;
	}
	chunk = span->idle;
	if (chunk)
		span->idle = chunk->next_idle;
	else
		chunk = chunk_touch(span);
	if (++span->n_used * SKV_POOL_CHUNK_BYTES == span->bytes) {
		span_unlink(&pool->spans, span);
		span_push(&pool->full_spans, span);
	}
	pool->spare_bytes -= SKV_POOL_CHUNK_BYTES;
	pool->chunk_bytes += SKV_POOL_CHUNK_BYTES;

	UNPOISON(chunk, CHUNK_HEAD_BYTES);
	POISON((uint8_t *)chunk + CHUNK_HEAD_BYTES, SKV_POOL_CHUNK_BYTES - CHUNK_HEAD_BYTES);
	*chunk = (struct skv_pool_chunk){ .span = span, .class = (uint16_t)number };
	class->fresh = (uint8_t *)chunk + CHUNK_HEAD_BYTES;
	class->fresh_end = class->fresh + chunk_cap(number) * class_bytes(number);
	class->n_chunks++;
	return true;
}

/* No block of it is in use or in a list. */
static void chunk_give_back(struct skv_pool *pool, struct skv_pool_chunk *chunk)
{
	struct skv_pool_class *class = &pool->classes[chunk->class];
	struct skv_pool_span *span = chunk->span;

	if (class->fresh && chunk_of(class->fresh - 1) == chunk)
		class->fresh = class->fresh_end = NULL;
	class->n_chunks--;
	if (span->n_used-- * SKV_POOL_CHUNK_BYTES == span->bytes) {
		span_unlink(&pool->full_spans, span);
		span_push(&pool->spans, span);
	}
	chunk->class = CHUNK_IDLE;
	chunk->n_free = 0;
	chunk->next_idle = span->idle;
	span->idle = chunk;
	pool->chunk_bytes -= SKV_POOL_CHUNK_BYTES;
	pool->spare_bytes += SKV_POOL_CHUNK_BYTES;
	skv_pool_discharge(pool, SKV_POOL_CHUNK_BYTES);
}

/* ---- sweeping -------------------------------------------------------------------- */

/* Blocks of chunks that are free as a whole leave the list; so do those chunks, at the last. */
static void sweep_class(struct skv_pool *pool, unsigned int number)
{
	struct skv_pool_class *class = &pool->classes[number];
	void *block, **link, *gone = NULL;
	struct skv_pool_chunk *chunk;

	for (block = class->free; block; block = *(void **)block) {
		UNPOISON(block, sizeof(void *));
		if (!is_nursed(pool, block))
			chunk_of(block)->n_free++;
	}
	for (link = &class->free; (block = *link);) {
		chunk = chunk_of(block);
		if (is_nursed(pool, block) || chunk->n_free < chunk_cut(pool, chunk)) {
			link = (void **)block;
			continue;
		}
		*link = *(void **)block;
		*(void **)block = gone;
		gone = block;
		pool->free_bytes -= class_bytes(number);
	}
	while (gone) {
		block = gone;
		gone = *(void **)block;
		POISON(block, class_bytes(number));
		chunk = chunk_of(block);
		if (--chunk->n_free == 0)
			chunk_give_back(pool, chunk);
	}
	for (block = class->free; block; block = link) {
		if (!is_nursed(pool, block))
			chunk_of(block)->n_free = 0;
		link = *(void **)block;
		POISON(block, sizeof(void *));
	}
}

void skv_pool_sweep(struct skv_pool *pool)
{
	struct skv_pool_span *span, *next;
	unsigned int i;

	for (i = 0; i < SKV_POOL_CLASSES; i++)
		sweep_class(pool, i);
	pool->unswept_bytes = 0;
	for (span = pool->spans; span; span = next) {
		next = span->next;
		if (span->n_used > 0 || pool->n_spans == 1)
			continue;
		span_unlink(&pool->spans, span);
		pool->spare_bytes -= span->bytes;
		span_free(pool, span);
	}
}

/* ---- large blocks ---------------------------------------------------------------- */

static void *large_alloc(struct skv_pool *pool, size_t size)
{
	size_t bytes = large_bytes(size);
	struct skv_pool_large *large;

	if (bytes < size || skv_pool_charge(pool, bytes) < 0) {
		pool->error = -ENOSPC;
		return NULL;
	}
	large = malloc(bytes);
	if (!large) {
		skv_pool_discharge(pool, bytes);
		pool->error = -ENOMEM;
		return NULL;
	}
	large->bytes = bytes;
	large->prev = NULL;
	large->next = pool->large;
	if (large->next)
		large->next->prev = large;
	pool->large = large;
	pool->large_bytes += bytes;
	return large + 1;
}

static void large_free(struct skv_pool *pool, void *block)
{
	struct skv_pool_large *large = (struct skv_pool_large *)block - 1;

	if (large->prev)
		large->prev->next = large->next;
	else
		pool->large = large->next;
	if (large->next)
		large->next->prev = large->prev;
	pool->large_bytes -= large->bytes;
	skv_pool_discharge(pool, large->bytes);
	free(large);
}

/* ---- blocks ---------------------------------------------------------------------- */

/* Give a class, which has no block left, a few from the nursery. False if that is at its end. */
static bool nurse(struct skv_pool *pool, struct skv_pool_class *class, size_t block_bytes)
{
	const size_t page = 4096;
	size_t bytes = block_bytes;

	if (!pool->nursery) {
		pool->nursery = aligned_alloc(64, SKV_POOL_NURSERY_BYTES);
		if (!pool->nursery)
			return false;
		POISON(pool->nursery, SKV_POOL_NURSERY_BYTES);
	}
	if (NURSED_BYTES >= 2 * bytes)
		bytes *= NURSED_BYTES / bytes;
	if (bytes > SKV_POOL_NURSERY_BYTES - pool->nursery_at)
		return false;
	if (pool->nursery_at + bytes > pool->nursery_charged) {
		if (skv_pool_charge(pool, page) < 0)
			return false;
		pool->nursery_charged += page;
		pool->chunk_bytes += page;
	}
	class->fresh = pool->nursery + pool->nursery_at;
	class->fresh_end = class->fresh + bytes;
	class->n_nursed += bytes / block_bytes;
	pool->nursery_at += bytes;
	return true;
}

/* The next block of the newest chunk; there is one. */
static inline void *take_fresh(struct skv_pool *pool, struct skv_pool_class *class, size_t bytes)
{
	uint8_t *block = class->fresh;

	UNPOISON(block, bytes);
	class->fresh = block + bytes;
	class->n_used++;
	pool->n_blocks++;
	return block;
}

static __attribute__((noinline)) void *alloc_slow(struct skv_pool *pool, unsigned int number)
{
	size_t bytes = class_bytes(number);

	if (pool->nursery_at < SKV_POOL_NURSERY_BYTES && nurse(pool, &pool->classes[number], bytes))
		return take_fresh(pool, &pool->classes[number], bytes);
	if (skv_pool_charge(pool, SKV_POOL_CHUNK_BYTES) < 0)
		return NULL;
	if (!chunk_take(pool, number)) {
		skv_pool_discharge(pool, SKV_POOL_CHUNK_BYTES);
		return NULL;
	}
	return take_fresh(pool, &pool->classes[number], bytes);
}

void *skv_pool_alloc(struct skv_pool *pool, size_t size)
{
	struct skv_pool_class *class;
	unsigned int number;
	void *block;

	if (size > SKV_POOL_SMALL_MAX)
		return large_alloc(pool, size);
	number = class_of(size);
	class = &pool->classes[number];
	block = class->free;
	if (!block && class->fresh != class->fresh_end)
		return take_fresh(pool, class, class_bytes(number));
	if (!block)
		return alloc_slow(pool, number);
	UNPOISON(block, class_bytes(number));
	class->free = *(void **)block;
	class->n_used++;
	pool->n_blocks++;
	pool->free_bytes -= class_bytes(number);
	return block;
}

static void free_spans(struct skv_pool *pool)
{
	struct skv_pool_span *span;

	while ((span = pool->spans)) {
		pool->spans = span->next;
		span_free(pool, span);
	}
	while ((span = pool->full_spans)) {
		pool->full_spans = span->next;
		span_free(pool, span);
	}
}

/* No block is in use: begin anew. The nursery stays at hand. */
static void forget_all(struct skv_pool *pool)
{
	free_spans(pool);
	memset(pool->classes, 0, sizeof(pool->classes));
	skv_pool_discharge(pool, pool->chunk_bytes);
	pool->chunk_bytes = pool->free_bytes = pool->spare_bytes = pool->unswept_bytes = 0;
	pool->nursery_at = pool->nursery_charged = 0;
}

void skv_pool_free(struct skv_pool *pool, void *block, size_t size)
{
	struct skv_pool_class *class;
	unsigned int number;

	if (size > SKV_POOL_SMALL_MAX) {
		large_free(pool, block);
		return;
	}
	number = class_of(size);
	class = &pool->classes[number];
	*(void **)block = class->free;
	class->free = block;
	class->n_used--;
	pool->free_bytes += class_bytes(number);
	pool->unswept_bytes += class_bytes(number);
	POISON(block, class_bytes(number));
	if (--pool->n_blocks == 0)
		forget_all(pool);
}

/* ---- the whole ------------------------------------------------------------------- */

void skv_pool_init(struct skv_pool *pool, uint64_t limit_bytes)
{
	memset(pool, 0, sizeof(*pool));
	pool->limit_bytes = limit_bytes;
}

void skv_pool_deinit(struct skv_pool *pool)
{
	struct skv_pool_large *large;

	while ((large = pool->large)) {
		pool->large = large->next;
		free(large);
	}
	if (pool->nursery)
		UNPOISON(pool->nursery, SKV_POOL_NURSERY_BYTES);
	free(pool->nursery);
	free_spans(pool);
	memset(pool, 0, sizeof(*pool));
}

struct check {
	void (*fn)(const char *violation, void *arg);
	void *arg;
	uint64_t n;
};

static void violated(struct check *check, const char *sentence)
{
	check->n++;
	if (check->fn)
		check->fn(sentence, check->arg);
}

/* The chunks of a span by class; blocks in use follow from what was cut and what is free. */
static void check_span(const struct skv_pool *pool, const struct skv_pool_span *span,
		       struct check *check, uint64_t *n_chunks, uint64_t *n_cut)
{
	const struct skv_pool_chunk *chunk;
	uint32_t i, n_used = 0;

	for (i = 0; i < span->n_touched; i++) {
		chunk = (void *)(span->memory + i * SKV_POOL_CHUNK_BYTES);
		if (chunk->class == CHUNK_IDLE)
			continue;
		n_used++;
		if (chunk->class >= SKV_POOL_CLASSES || chunk->span != span || chunk->n_free != 0) {
			violated(check, "the head of a chunk of the pool is damaged");
			return;
		}
		n_chunks[chunk->class]++;
		n_cut[chunk->class] += chunk_cut(pool, chunk);
	}
	if (n_used != span->n_used)
		violated(check, "the chunks of a span do not add up");
}

static uint64_t count_free(const struct skv_pool_class *class)
{
	void *block, *next;
	uint64_t n = 0;

	for (block = class->free; block; block = next, n++) {
		UNPOISON(block, sizeof(void *));
		next = *(void **)block;
		POISON(block, sizeof(void *));
	}
	return n;
}

/* How many blocks of the nursery a class has ever used. */
static uint64_t nursed_cut(const struct skv_pool *pool, unsigned int number)
{
	const struct skv_pool_class *class = &pool->classes[number];

	if (!is_nursed(pool, class->fresh))
		return class->n_nursed;
	return class->n_nursed - (uint64_t)(class->fresh_end - class->fresh) / class_bytes(number);
}

uint64_t skv_pool_check(const struct skv_pool *pool, void (*fn)(const char *violation, void *arg),
			void *arg, uint64_t *ret_used)
{
	uint64_t n_chunks[SKV_POOL_CLASSES] = { 0 }, n_cut[SKV_POOL_CLASSES] = { 0 };
	struct check check = { .fn = fn, .arg = arg };
	uint64_t used = 0, all_chunks = 0, n_large = 0, free_bytes = 0, n_blocks = 0, n_free;
	const struct skv_pool_large *large;
	const struct skv_pool_span *span;
	unsigned int i;

	for (span = pool->spans; span; span = span->next)
		check_span(pool, span, &check, n_chunks, n_cut);
	for (span = pool->full_spans; span; span = span->next)
		check_span(pool, span, &check, n_chunks, n_cut);
	for (i = 0; i < SKV_POOL_CLASSES; i++) {
		n_free = count_free(&pool->classes[i]);
		if (n_chunks[i] != pool->classes[i].n_chunks ||
		    n_cut[i] + nursed_cut(pool, i) != pool->classes[i].n_used + n_free)
			violated(&check, "the blocks of a class do not add up");
		n_blocks += pool->classes[i].n_used;
		all_chunks += n_chunks[i];
		used += pool->classes[i].n_used * class_bytes(i);
		free_bytes += n_free * class_bytes(i);
	}
	for (large = pool->large; large; large = large->next)
		n_large += large->bytes;
	if (all_chunks * SKV_POOL_CHUNK_BYTES + pool->nursery_charged != pool->chunk_bytes ||
	    free_bytes != pool->free_bytes || n_blocks != pool->n_blocks)
		violated(&check, "the chunks of the pool are not as many as it counts");
	if (n_large != pool->large_bytes)
		violated(&check, "the large blocks of the pool are not as large as it counts");
	if (pool->chunk_bytes + pool->large_bytes > pool->used_bytes)
		violated(&check, "the pool uses more than it counts");
	*ret_used = used + n_large;
	return check.n;
}

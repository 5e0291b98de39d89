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

#define CHUNKS_PER_SPAN (SKV_POOL_SPAN_BYTES / SKV_POOL_CHUNK_BYTES)

struct skv_pool_chunk {
	struct skv_pool_chunk *next, *prev; /* in the list of open chunks of its class */
	void *free;                         /* first free block; each holds the next's address */
	struct skv_pool_span *span;
	uint32_t class;
	uint32_t used, cap; /* blocks */
	uint32_t fresh_off; /* bytes: where blocks begin that were never used */
};

#define CHUNK_HEAD_BYTES ((size_t)64)
_Static_assert(sizeof(struct skv_pool_chunk) <= CHUNK_HEAD_BYTES, "the head of a chunk is one line");

/* Of its own, outside the chunks: those are aligned to their size. */
struct skv_pool_span {
	struct skv_pool_span *next, *prev;
	uint8_t *memory;
	uint32_t n_used;   /* chunks */
	uint32_t n_touched; /* chunks that were used at least once: a prefix */
	uint32_t n_idle;
	uint8_t idle[CHUNKS_PER_SPAN]; /* used before, free now */
};

_Static_assert(CHUNKS_PER_SPAN <= 256, "a chunk's number is one byte");

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

int skv_pool_charge(struct skv_pool *pool, uint64_t bytes)
{
	if (bytes > pool->limit_bytes || pool->used_bytes > pool->limit_bytes - bytes) {
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
	const size_t huge = SKV_POOL_SPAN_BYTES, page = 4096;

	return bytes >= huge ? (bytes + page - 1) & ~(page - 1) : bytes;
}

void *skv_pool_zeroed(struct skv_pool *pool, size_t bytes)
{
	void *memory;

	if (skv_pool_charge(pool, bytes) < 0)
		return NULL;
	if (bytes >= SKV_POOL_SPAN_BYTES) {
		memory = map_aligned(whole_pages(bytes), SKV_POOL_SPAN_BYTES);
		if (memory)
			madvise(memory, whole_pages(bytes), MADV_HUGEPAGE);
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
	if (bytes >= SKV_POOL_SPAN_BYTES)
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

static struct skv_pool_span *span_new(struct skv_pool *pool)
{
	struct skv_pool_span *span;

	span = calloc(1, sizeof(*span));
	if (!span)
		return NULL;
	span->memory = map_aligned(SKV_POOL_SPAN_BYTES, SKV_POOL_SPAN_BYTES);
	if (!span->memory) {
		free(span);
		return NULL;
	}
	/*
	 * The first span of a map is taken page by page, so that a small map stays small; a map
	 * that needs more than one is worth huge pages: they halve the misses of a look-up.
	 */
	if (pool->n_spans > 0)
		madvise(span->memory, SKV_POOL_SPAN_BYTES, MADV_HUGEPAGE);
	pool->n_spans++;
	pool->spare_bytes += SKV_POOL_SPAN_BYTES;
	span_push(&pool->spans, span);
	return span;
}

static void span_free(struct skv_pool *pool, struct skv_pool_span *span)
{
	UNPOISON(span->memory, SKV_POOL_SPAN_BYTES);
	munmap(span->memory, SKV_POOL_SPAN_BYTES);
	free(span);
	pool->n_spans--;
}

/* ---- chunks ---------------------------------------------------------------------- */

static void chunk_unlink(struct skv_pool *pool, struct skv_pool_chunk *chunk)
{
	if (chunk->prev)
		chunk->prev->next = chunk->next;
	else
		pool->open[chunk->class] = chunk->next;
	if (chunk->next)
		chunk->next->prev = chunk->prev;
}

static void chunk_push(struct skv_pool *pool, struct skv_pool_chunk *chunk)
{
	chunk->prev = NULL;
	chunk->next = pool->open[chunk->class];
	if (chunk->next)
		chunk->next->prev = chunk;
	pool->open[chunk->class] = chunk;
}

static struct skv_pool_chunk *chunk_new(struct skv_pool *pool, unsigned int class)
{
	struct skv_pool_span *span;
	struct skv_pool_chunk *chunk;
	uint32_t number;

	if (skv_pool_charge(pool, SKV_POOL_CHUNK_BYTES) < 0)
		return NULL;
	span = pool->spans ? pool->spans : span_new(pool);
	if (!span) {
		skv_pool_discharge(pool, SKV_POOL_CHUNK_BYTES);
		pool->error = -ENOMEM;
		return NULL;
	}
	number = span->n_idle > 0 ? span->idle[--span->n_idle] : span->n_touched++;
	if (++span->n_used == CHUNKS_PER_SPAN) {
		span_unlink(&pool->spans, span);
		span_push(&pool->full_spans, span);
	}
	pool->spare_bytes -= SKV_POOL_CHUNK_BYTES;
	pool->chunk_bytes += SKV_POOL_CHUNK_BYTES;

	chunk = (struct skv_pool_chunk *)(span->memory + number * SKV_POOL_CHUNK_BYTES);
	UNPOISON(chunk, CHUNK_HEAD_BYTES);
	POISON((uint8_t *)chunk + CHUNK_HEAD_BYTES, SKV_POOL_CHUNK_BYTES - CHUNK_HEAD_BYTES);
	*chunk = (struct skv_pool_chunk){
		.span = span,
		.class = class,
		.cap = (uint32_t)((SKV_POOL_CHUNK_BYTES - CHUNK_HEAD_BYTES) / class_bytes(class)),
		.fresh_off = CHUNK_HEAD_BYTES,
	};
	chunk_push(pool, chunk);
	return chunk;
}

/* An empty chunk that is in no list any more. */
static void chunk_free(struct skv_pool *pool, struct skv_pool_chunk *chunk)
{
	struct skv_pool_span *span = chunk->span;

	if (span->n_used-- == CHUNKS_PER_SPAN) {
		span_unlink(&pool->full_spans, span);
		span_push(&pool->spans, span);
	}
	span->idle[span->n_idle++] =
		(uint8_t)(((uint8_t *)chunk - span->memory) / SKV_POOL_CHUNK_BYTES);
	pool->chunk_bytes -= SKV_POOL_CHUNK_BYTES;
	pool->spare_bytes += SKV_POOL_CHUNK_BYTES;
	skv_pool_discharge(pool, SKV_POOL_CHUNK_BYTES);

	/* One span's worth stays at hand, so that a map which breathes does not map and unmap. */
	if (span->n_used == 0 && pool->spare_bytes >= 2 * SKV_POOL_SPAN_BYTES) {
		span_unlink(&pool->spans, span);
		pool->spare_bytes -= SKV_POOL_SPAN_BYTES;
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

void *skv_pool_alloc(struct skv_pool *pool, size_t size)
{
	struct skv_pool_chunk *chunk;
	unsigned int class;
	void *block;

	if (size > SKV_POOL_SMALL_MAX)
		return large_alloc(pool, size);
	class = class_of(size);
	chunk = pool->open[class];
	if (!chunk) {
		chunk = chunk_new(pool, class);
		if (!chunk)
			return NULL;
	}
	block = chunk->free;
	if (block) {
		UNPOISON(block, class_bytes(class));
		chunk->free = *(void **)block;
	} else {
		block = (uint8_t *)chunk + chunk->fresh_off;
		UNPOISON(block, class_bytes(class));
		chunk->fresh_off += (uint32_t)class_bytes(class);
	}
	if (++chunk->used == chunk->cap)
		chunk_unlink(pool, chunk);
	return block;
}

void skv_pool_free(struct skv_pool *pool, void *block, size_t size)
{
	struct skv_pool_chunk *chunk;

	if (size > SKV_POOL_SMALL_MAX) {
		large_free(pool, block);
		return;
	}
	chunk = (struct skv_pool_chunk *)((uintptr_t)block & ~(SKV_POOL_CHUNK_BYTES - 1));
	*(void **)block = chunk->free;
	chunk->free = block;
	POISON(block, class_bytes(chunk->class));
	if (chunk->used-- == chunk->cap)
		chunk_push(pool, chunk);
	if (chunk->used == 0) {
		chunk_unlink(pool, chunk);
		chunk_free(pool, chunk);
	}
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
	struct skv_pool_span *span;

	while ((large = pool->large)) {
		pool->large = large->next;
		free(large);
	}
	while ((span = pool->spans)) {
		pool->spans = span->next;
		span_free(pool, span);
	}
	while ((span = pool->full_spans)) {
		pool->full_spans = span->next;
		span_free(pool, span);
	}
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

static void check_chunk(const struct skv_pool *pool, const struct skv_pool_chunk *chunk,
			struct check *check, uint64_t *used)
{
	const struct skv_pool_chunk *at;

	if (chunk->class >= SKV_POOL_CLASSES || chunk->used > chunk->cap || chunk->used == 0) {
		violated(check, "a chunk of the pool has an impossible number of blocks");
		return;
	}
	*used += chunk->used * class_bytes(chunk->class);
	for (at = pool->open[chunk->class]; at && at != chunk; at = at->next)
		;
	if ((at != NULL) != (chunk->used < chunk->cap))
		violated(check, "a chunk of the pool is listed as open and is full, or the reverse");
}

static void check_span(const struct skv_pool *pool, const struct skv_pool_span *span,
		       struct check *check, uint64_t *used, uint64_t *n_chunks)
{
	bool idle[CHUNKS_PER_SPAN] = { false };
	uint32_t i;

	if (span->n_used + span->n_idle != span->n_touched || span->n_touched > CHUNKS_PER_SPAN) {
		violated(check, "the chunks of a span do not add up");
		return;
	}
	for (i = 0; i < span->n_idle; i++)
		idle[span->idle[i]] = true;
	for (i = 0; i < span->n_touched; i++) {
		if (idle[i])
			continue;
		check_chunk(pool, (void *)(span->memory + i * SKV_POOL_CHUNK_BYTES), check, used);
		++*n_chunks;
	}
}

uint64_t skv_pool_check(const struct skv_pool *pool, void (*fn)(const char *violation, void *arg),
			void *arg, uint64_t *ret_used)
{
	struct check check = { .fn = fn, .arg = arg };
	const struct skv_pool_large *large;
	const struct skv_pool_span *span;
	uint64_t used = 0, n_chunks = 0, n_large = 0;

	for (span = pool->spans; span; span = span->next)
		check_span(pool, span, &check, &used, &n_chunks);
	for (span = pool->full_spans; span; span = span->next)
		check_span(pool, span, &check, &used, &n_chunks);
	for (large = pool->large; large; large = large->next)
		n_large += large->bytes;
	if (n_chunks * SKV_POOL_CHUNK_BYTES != pool->chunk_bytes)
		violated(&check, "the chunks of the pool are not as many as it counts");
	if (n_large != pool->large_bytes)
		violated(&check, "the large blocks of the pool are not as large as it counts");
	if (pool->chunk_bytes + pool->large_bytes > pool->used_bytes)
		violated(&check, "the pool uses more than it counts");
	*ret_used = used + n_large;
	return check.n;
}

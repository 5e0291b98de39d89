/* SPDX-License-Identifier: MIT */
#include "heap/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- all maps, for fork ---------------------------------------------------------- */

/*
 * A fork may come from any thread while others write. The handlers wait until no writer is
 * inside and keep all out, so that the child gets every map between two operations. Order of
 * locks: registry, then for each map reclaim_lock and lock, then liburcu's own. A writer takes
 * them in the same order (reclaim_lock, then liburcu's or lock).
 */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct skv_heap *registry;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;

static void before_fork(void)
{
	struct skv_heap *heap;

	pthread_mutex_lock(&registry_lock);
	for (heap = registry; heap; heap = heap->next)
		pthread_mutex_lock(&heap->reclaim_lock);
	for (heap = registry; heap; heap = heap->next)
		pthread_mutex_lock(&heap->lock);
	urcu_bp_before_fork();
}

static void unlock_all(void)
{
	struct skv_heap *heap;

	for (heap = registry; heap; heap = heap->next) {
		pthread_mutex_unlock(&heap->lock);
		pthread_mutex_unlock(&heap->reclaim_lock);
	}
	pthread_mutex_unlock(&registry_lock);
}

static void after_fork_parent(void)
{
	urcu_bp_after_fork_parent();
	unlock_all();
}

static void after_fork_child(void)
{
	urcu_bp_after_fork_child();
	unlock_all();
}

static void install_fork_handlers(void)
{
	fork_error = -pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static void registry_add(struct skv_heap *heap)
{
	pthread_mutex_lock(&registry_lock);
	heap->next = registry;
	heap->link = &registry;
	if (heap->next)
		heap->next->link = &heap->next;
	registry = heap;
	pthread_mutex_unlock(&registry_lock);
}

static void registry_remove(struct skv_heap *heap)
{
	pthread_mutex_lock(&registry_lock);
	*heap->link = heap->next;
	if (heap->next)
		heap->next->link = heap->link;
	pthread_mutex_unlock(&registry_lock);
}

/* ---- life ------------------------------------------------------------------------ */

int skv_heap_init(struct skv_heap *heap, const struct shmkv_options *opts)
{
	uint64_t random[2];
	int r;

	pthread_once(&fork_once, install_fork_handlers);
	if (fork_error < 0)
		return fork_error;
	r = skv_random_fill(random, sizeof(random));
	if (r < 0)
		return r;

	memset(heap, 0, sizeof(*heap));
	if (opts->default_ttl_ms || opts->evict)
		return -EOPNOTSUPP;
	r = skv_hash_key_init(&heap->hash, opts->hash, random[0], random[1]);
	if (r < 0)
		return r;
	heap->hash_mask = ~(uint64_t)1;
	heap->max_bytes = opts->max_bytes;
	heap->retired_bytes = opts->max_bytes / 32;
	if (heap->retired_bytes < SKV_RETIRED_BYTES_MIN)
		heap->retired_bytes = SKV_RETIRED_BYTES_MIN;
	if (heap->retired_bytes > SKV_RETIRED_BYTES_MAX)
		heap->retired_bytes = SKV_RETIRED_BYTES_MAX;
	skv_pool_init(&heap->pool, opts->max_bytes);
	/* Cannot fail with default attributes. */
	pthread_mutex_init(&heap->lock, NULL);
	pthread_mutex_init(&heap->reclaim_lock, NULL);
	registry_add(heap);
	return 0;
}

void skv_heap_deinit(struct skv_heap *heap)
{
	registry_remove(heap);
	if (heap->batch.n > 0)
		skv_heap_reclaim(heap);
	free(heap->batch.items);
	free(heap->spare.items);
	skv_pool_deinit(&heap->pool);
	pthread_mutex_destroy(&heap->lock);
	pthread_mutex_destroy(&heap->reclaim_lock);
}

/* ---- retired memory -------------------------------------------------------------- */

#ifdef SKV_ATOMIC_TSAN
char skv_rcu_tsan_tag;
#endif

void skv_rcu_wait(void)
{
	urcu_bp_synchronize_rcu();
#ifdef SKV_ATOMIC_TSAN
	__tsan_acquire(&skv_rcu_tsan_tag);
#endif
}

/* Where retired memory came from. */
#define KIND_BLOCK 0u
#define KIND_TABLE 1u
#define KIND_OTHER 2u
#define KIND_MASK 3u

/* After a grace period, or when nobody reads. Under the lock. */
static void free_now(struct skv_heap *heap, const struct skv_retired *item)
{
	size_t bytes = item->bytes_and_kind / (KIND_MASK + 1);

	switch (item->bytes_and_kind & KIND_MASK) {
	case KIND_BLOCK:
		skv_pool_free(&heap->pool, item->memory, bytes);
		break;
	case KIND_TABLE:
		skv_pool_zeroed_free(&heap->pool, item->memory, bytes);
		break;
	default:
		heap->free_other(heap, item->memory, bytes);
		break;
	}
}

static void batch_free(struct skv_heap *heap, struct skv_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->n; i++)
		free_now(heap, &batch->items[i]);
	batch->n = 0;
	batch->bytes = 0;
}

static bool batch_has_room(struct skv_batch *batch)
{
	unsigned int cap = batch->cap ? 2 * batch->cap : 256;
	struct skv_retired *items;

	if (batch->n < batch->cap)
		return true;
	if (cap > SKV_RETIRED_MAX)
		return false;
	items = realloc(batch->items, cap * sizeof(*items));
	if (!items)
		return false;
	batch->items = items;
	batch->cap = cap;
	return true;
}

static void retire(struct skv_heap *heap, void *memory, size_t bytes, unsigned int kind)
{
	const struct skv_retired item = { memory, (uint64_t)bytes * (KIND_MASK + 1) + kind };
	struct skv_batch *batch = &heap->batch;

	if (skv_rcu_is_alone()) {
		free_now(heap, &item);
		return;
	}
	/* No room to note it: wait here, under the lock. No reader ever takes the lock. */
	if (!batch_has_room(batch)) {
		skv_rcu_wait();
		batch_free(heap, batch);
		if (batch->cap == 0) {
			free_now(heap, &item);
			return;
		}
	}
	batch->items[batch->n++] = item;
	batch->bytes += bytes;
}

void skv_heap_retire(struct skv_heap *heap, void *block, size_t bytes)
{
	retire(heap, block, bytes, KIND_BLOCK);
}

void skv_heap_retire_table(struct skv_heap *heap, void *table, size_t bytes)
{
	if (table)
		retire(heap, table, bytes, KIND_TABLE);
}

void skv_heap_retire_other(struct skv_heap *heap, void *memory, size_t bytes)
{
	retire(heap, memory, bytes, KIND_OTHER);
}

uint64_t skv_heap_retired_bytes(const struct skv_heap *heap)
{
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < heap->batch.n; i++) {
		if ((heap->batch.items[i].bytes_and_kind & KIND_MASK) == KIND_BLOCK)
			bytes += skv_pool_block_bytes(heap->batch.items[i].bytes_and_kind / (KIND_MASK + 1));
	}
	return bytes;
}

void skv_heap_reclaim(struct skv_heap *heap)
{
	struct skv_batch batch;

	pthread_mutex_lock(&heap->reclaim_lock);
	pthread_mutex_lock(&heap->lock);
	batch = heap->batch;
	heap->batch = heap->spare;
	heap->spare = batch;
	pthread_mutex_unlock(&heap->lock);

	if (batch.n > 0) {
		/* [heap.grace] pairs with [heap.unlink] of every block in the batch. */
		if (!skv_rcu_is_alone())
			skv_rcu_wait();
		pthread_mutex_lock(&heap->lock);
		batch_free(heap, &heap->spare);
		pthread_mutex_unlock(&heap->lock);
	}
	pthread_mutex_unlock(&heap->reclaim_lock);
}

bool skv_heap_again(struct skv_heap *heap, int r, bool *again)
{
	if (*again || (r != -ENOSPC && r != -ENOMEM))
		return false;
	/* Also waits for a batch that another thread is about to free. */
	skv_heap_reclaim(heap);
	*again = true;
	return true;
}

/* ---- the lock -------------------------------------------------------------------- */

void skv_heap_lock_slow(struct skv_heap *heap)
{
	pthread_mutex_lock(&heap->lock);
}

void skv_heap_unlock_slow(struct skv_heap *heap)
{
	bool is_full;

	/* Well before there is no room left, so that nobody waits under the lock. */
	is_full = heap->batch.n >= SKV_RETIRED_MAX / 8 * 7 || heap->batch.bytes >= heap->retired_bytes;
	pthread_mutex_unlock(&heap->lock);
	if (is_full)
		skv_heap_reclaim(heap);
}

/* ---- inspection ------------------------------------------------------------------ */

void skv_heap_info(struct skv_heap *heap, struct shmkv_info *info)
{
	bool locked = skv_heap_lock(heap);

	strcpy(info->hash, skv_hash_name(heap->hash.kind));
	strcpy(info->atomics, skv_atomic_name());
	info->max_bytes = heap->max_bytes;
	info->reserved_bytes = heap->pool.used_bytes;
	info->slab_bytes = heap->pool.chunk_bytes;
	info->run_bytes = heap->pool.large_bytes;
	info->table_bytes = heap->pool.used_bytes - heap->pool.chunk_bytes - heap->pool.large_bytes;
	info->index_bytes = info->table_bytes;
	info->free_bytes = heap->pool.spare_bytes;
	info->count = heap->count;
	info->inserts = heap->inserts;
	info->updates = heap->updates;
	info->deletes = heap->deletes;
	info->processes = 1;
	info->processes_max = 1;
	skv_heap_unlock(heap, locked);
}

void skv_heap_check(struct skv_heap *heap, void (*fn)(const char *violation, void *arg), void *arg,
		    struct shmkv_audit *audit)
{
	uint64_t used;

	audit->violations += skv_pool_check(&heap->pool, fn, arg, &used);
	if (heap->pool.used_bytes > heap->max_bytes && !heap->may_overdraw) {
		audit->violations++;
		if (fn)
			fn("the map uses more memory than its limit", arg);
	}
	if (heap->inserts - heap->deletes != heap->count) {
		audit->violations++;
		if (fn)
			fn("inserts less deletes are not the count", arg);
	}
	audit->block_bytes += used;
}

int skv_heap_recover(void *map, struct shmkv_recovery *report)
{
	(void)map;
	(void)report;
	return 0;
}

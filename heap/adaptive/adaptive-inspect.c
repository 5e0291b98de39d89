/* SPDX-License-Identifier: MIT */
/* adaptive-inspect: the health of an adaptive map in numbers, and its invariants. */
#include "heap/adaptive/adaptive.h"

#include <errno.h>
#include <stdio.h>

static const char *backend_name(uint32_t backend)
{
	return backend == SHMKV_BACKEND_ROBIN_HOOD ? "robin hood" : "chaining";
}

static uint32_t backend_of(const struct skv_table *table)
{
	return table->kind == SKV_TABLE_ROBIN ? SHMKV_BACKEND_ROBIN_HOOD : SHMKV_BACKEND_CHAINING;
}

int skv_adaptive_info(void *arg, struct shmkv_info *info)
{
	struct skv_adaptive *map = arg;

	skv_heap_info(&map->heap, info);
	info->compactions = skv_load_relaxed(&map->compactions);
	return 0;
}

int skv_adaptive_health(void *arg, struct shmkv_adaptive_info *info)
{
	struct skv_adaptive *map = arg;
	bool locked = skv_heap_lock(&map->heap);
	const struct skv_table *first = map->first, *last = map->last;
	const struct skv_robin *robin = (const struct skv_robin *)last;
	const struct skv_chain *chain = (const struct skv_chain *)last;
	double live = (double)last->live;

	info->mode = map->opts.mode;
	info->backend = backend_of(last);
	info->migrating = first != last;
	info->from_backend = first != last ? backend_of(first) : SHMKV_BACKEND_NONE;
	if (first != last)
		snprintf(info->label, sizeof(info->label), "%s -> %s (migrating)",
			 backend_name(backend_of(first)), backend_name(info->backend));
	else
		snprintf(info->label, sizeof(info->label), "%s", backend_name(info->backend));
	info->entries_to_move = map->heap.count - last->live;
	if (last->kind == SKV_TABLE_ROBIN) {
		info->capacity = robin->capacity;
		info->avg_probe = last->live ? (double)robin->away_sum / live : 0;
		info->tombstone_ratio = (double)robin->tombstones / (double)robin->capacity;
	} else {
		info->capacity = chain->buckets;
		info->max_group_len = chain->longest;
	}
	info->load_factor = live / (double)info->capacity;
	info->migrations = map->migrations;
	info->compactions = map->compactions;
	info->resizes = map->resizes;
	info->moved = map->moved;
	if (map->heap.count > 0)
		info->bytes_per_entry = (double)map->heap.pool.used_bytes / (double)map->heap.count;
	skv_heap_unlock(&map->heap, locked);
	return 0;
}

/* ---- invariants ------------------------------------------------------------------ */

struct check {
	struct skv_adaptive *map;
	void (*fn)(const char *violation, void *arg);
	void *arg;
	struct shmkv_audit *audit;
	uint64_t record_blocks, group_bytes; /* bytes */
};

static void violated(struct check *check, const char *sentence)
{
	check->audit->violations++;
	if (check->fn)
		check->fn(sentence, check->arg);
}

/* The first table in which the key is found must be the one it was met in. */
static void check_record(void *arg, struct skv_record *record)
{
	struct check *check = arg;
	const struct skv_key key = { .data = record->bytes, .len = skv_record_key_len(record) };
	uint64_t hash = skv_heap_hash(&check->map->heap, &key);
	size_t bytes = skv_record_asked(&check->map->heap, record);

	if (skv_record_hash(&check->map->heap, record) != hash)
		violated(check, "a record has another hash than its key");
	if (skv_adaptive_find(check->map, &key, hash) != record)
		violated(check, "a key cannot be found where it is, or is there twice");
	if (record->token == 0 || record->token > check->map->heap.last_token)
		violated(check, "a record has a token that was never given");
	check->audit->keys++;
	check->audit->record_bytes += bytes;
	check->record_blocks += skv_pool_block_bytes(bytes);
}

static void check_table(struct check *check, struct skv_table *table)
{
	struct skv_heap *heap = &check->map->heap;

	if (table->kind == SKV_TABLE_ROBIN) {
		check->audit->violations +=
			skv_robin_check(heap, (struct skv_robin *)table, check->fn, check->arg);
		skv_robin_each((struct skv_robin *)table, check_record, check);
	} else {
		check->audit->violations +=
			skv_chain_check(heap, (struct skv_chain *)table, check->fn, check->arg);
		skv_chain_each((struct skv_chain *)table, check_record, check);
		check->group_bytes += ((struct skv_chain *)table)->group_bytes;
	}
}

static void check_locked(struct check *check)
{
	struct skv_adaptive *map = check->map;
	uint64_t retired = skv_heap_retired_bytes(&map->heap), blocks;
	struct skv_table *table;
	unsigned int n = 0;

	for (table = map->first; table; table = table->next, n++) {
		check_table(check, table);
		if (!table->next && table != map->last)
			violated(check, "the chain of tables does not end with the last");
	}
	if (n != map->n_tables)
		violated(check, "there are not as many tables as are counted");
	if (check->audit->keys != map->heap.count)
		violated(check, "there are not as many keys as are counted");

	skv_heap_check(&map->heap, check->fn, check->arg, check->audit);
	blocks = check->audit->block_bytes;
	if (check->record_blocks + check->group_bytes + retired > blocks)
		violated(check, "the pool holds less than the map");
	else
		check->audit->leaked_bytes = blocks - check->record_blocks - check->group_bytes - retired;
}

int skv_adaptive_check(void *arg, void (*fn)(const char *violation, void *arg), void *fn_arg,
		       struct shmkv_audit *audit)
{
	struct check check = { .map = arg, .fn = fn, .arg = fn_arg, .audit = audit };
	bool locked;

	/* What another thread is about to free is neither in the map nor retired any more. */
	skv_heap_reclaim(&check.map->heap);
	locked = skv_heap_lock(&check.map->heap);
	check_locked(&check);
	skv_heap_unlock(&check.map->heap, locked);
	return audit->violations ? -EBADMSG : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * hamt-snapshot: frozen maps, and what is done with them: reading, scanning, comparing.
 *
 * A snapshot is a version of the trie behind a handle of its own. Nothing in it changes or goes
 * away until it ends, so its readers need neither lock nor read section. A scan of the map is a
 * scan of a version that lives as long as the scan: it gives the map of one moment, and its
 * entries are the records themselves. A snapshot or scan may end after the map's handle.
 */
#include "heap/hamt/hamt-map.h"

#include <shmkv/snapshot.h>

#include <stdlib.h>

/* Objects looked at before other writers get their turn. */
#define RELEASE_STEP 256u

/* ---- versions of a map ----------------------------------------------------------- */

int skv_hamt_map_freeze(struct skv_hamt_map *map, struct skv_hamt_version **ret_version)
{
	bool locked = skv_heap_lock(&map->heap);
	struct skv_pool *pool = &map->heap.pool;
	uint64_t limit = pool->limit_bytes;
	int r;

	/* Also a full map can be looked at. */
	pool->limit_bytes = UINT64_MAX;
	r = skv_hamt_freeze(&map->trie, ret_version);
	pool->limit_bytes = limit;
	/* Tokens and stamps are one sequence. */
	map->heap.last_token = map->trie.stamp;
	skv_heap_unlock(&map->heap, locked);
	if (r == 0)
		skv_hamt_map_enter(map);
	return r;
}

void skv_hamt_map_release(struct skv_hamt_map *map, struct skv_hamt_version *version)
{
	bool locked;
	int r;

	/* Ends: each step shortens the version's list, to which only older writes add. Without
	 * memory the version is left to later calls of skv_hamt_release_left. */
	do {
		locked = skv_heap_lock(&map->heap);
		r = skv_hamt_release(&map->trie, version, RELEASE_STEP);
		if (r == 1)
			skv_hamt_trim(&map->trie);
		skv_heap_unlock(&map->heap, locked);
	} while (r == 0);
	skv_hamt_map_leave(map);
}

/* ---- scan ------------------------------------------------------------------------ */

struct hamt_scan {
	struct skv_hamt_map *map;
	struct skv_hamt_version *version;
	bool is_own; /* the version ends with the scan */
	struct skv_hamt_walk walk;
	const struct skv_hamt_item *next;
};

static uint64_t cursor_of(const struct hamt_scan *scan)
{
	return scan->next ? scan->next->hash : UINT64_MAX;
}

static struct hamt_scan *scan_new(struct skv_hamt_map *map, uint64_t cursor,
				  struct skv_hamt_version *version)
{
	struct hamt_scan *scan;

	scan = malloc(sizeof(*scan));
	if (!scan)
		return NULL;
	scan->map = map;
	scan->version = version;
	scan->is_own = false;
	/* No hash is UINT64_MAX: a cursor of the end finds nothing. */
	skv_hamt_walk_begin(&scan->walk, version->root, cursor);
	scan->next = skv_hamt_walk_next(&scan->walk);
	return scan;
}

int skv_hamt_scan_begin(void *arg, uint64_t cursor, void **ret_scan)
{
	struct skv_hamt_map *map = arg;
	struct skv_hamt_version *version;
	struct hamt_scan *scan;
	int r;

	r = skv_hamt_map_freeze(map, &version);
	if (r < 0)
		return r;
	scan = scan_new(map, cursor, version);
	if (!scan) {
		skv_hamt_map_release(map, version);
		return -ENOMEM;
	}
	scan->is_own = true;
	*ret_scan = scan;
	return 0;
}

int skv_hamt_scan_next(void *arg, struct shmkv_entry *ret_entry)
{
	struct hamt_scan *scan = arg;
	const struct skv_record *record;

	if (!scan->next)
		return 0;
	record = skv_hamt_record(scan->next);
	*ret_entry = (struct shmkv_entry){
		.key = record->bytes,
		.key_len = skv_record_key_len(record),
		.value = skv_record_value(record),
		.value_len = record->value_len,
		.token = record->token,
	};
	scan->next = skv_hamt_walk_next(&scan->walk);
	return 1;
}

uint64_t skv_hamt_scan_cursor(const void *scan)
{
	return cursor_of(scan);
}

void skv_hamt_scan_end(void *arg)
{
	struct hamt_scan *scan = arg;

	if (scan->is_own)
		skv_hamt_map_release(scan->map, scan->version);
	free(scan);
}

/* ---- snapshots ------------------------------------------------------------------- */

int skv_hamt_snapshot(void *arg, const struct skv_engine **ret_engine, void **ret_map)
{
	struct skv_hamt_snapshot *snapshot;
	struct skv_hamt_map *map = arg;
	int r;

	snapshot = malloc(sizeof(*snapshot));
	if (!snapshot)
		return -ENOMEM;
	snapshot->map = map;
	r = skv_hamt_map_freeze(map, &snapshot->version);
	if (r < 0) {
		free(snapshot);
		return r;
	}
	*ret_engine = &skv_engine_hamt_snapshot;
	*ret_map = snapshot;
	return 0;
}

static void snapshot_detach(void *arg)
{
	struct skv_hamt_snapshot *snapshot = arg;

	skv_hamt_map_release(snapshot->map, snapshot->version);
	free(snapshot);
}

static const struct skv_record *snapshot_find(const struct skv_hamt_snapshot *snapshot,
					      const struct skv_key *key)
{
	const struct skv_hamt_map *map = snapshot->map;

	return skv_hamt_record(skv_hamt_find_in(&map->trie, snapshot->version,
						skv_heap_hash(&map->heap, key), key));
}

static int snapshot_get(void *arg, const struct skv_key *key, struct skv_sink *sink)
{
	const struct skv_record *record = snapshot_find(arg, key);

	return record ? skv_record_read(record, sink) : -ENOENT;
}

static int snapshot_exists(void *arg, const struct skv_key *key)
{
	return snapshot_find(arg, key) ? 0 : -ENOENT;
}

static int snapshot_count(void *arg, uint64_t *ret_count)
{
	const struct skv_hamt_snapshot *snapshot = arg;

	*ret_count = snapshot->version->count;
	return 0;
}

static int snapshot_scan_begin(void *arg, uint64_t cursor, void **ret_scan)
{
	const struct skv_hamt_snapshot *snapshot = arg;
	struct hamt_scan *scan;

	scan = scan_new(snapshot->map, cursor, snapshot->version);
	if (!scan)
		return -ENOMEM;
	*ret_scan = scan;
	return 0;
}

/* Of the snapshot what is its own, of the map what both share. */
static int snapshot_info(void *arg, struct shmkv_info *info)
{
	const struct skv_hamt_snapshot *snapshot = arg;

	skv_heap_info(&snapshot->map->heap, info);
	info->count = snapshot->version->count;
	return 0;
}

/* ---- comparison ------------------------------------------------------------------ */

struct diff_call {
	int (*fn)(const struct shmkv_difference *difference, void *arg);
	void *arg;
};

static void side_set(struct shmkv_entry *side, const struct skv_hamt_item *item)
{
	const struct skv_record *record = skv_hamt_record(item);

	*side = (struct shmkv_entry){
		.key = record->bytes,
		.key_len = skv_record_key_len(record),
		.value = skv_record_value(record),
		.value_len = record->value_len,
		.token = record->token,
	};
}

static int diff_item(void *arg, const struct skv_hamt_item *before,
		     const struct skv_hamt_item *after)
{
	const struct diff_call *call = arg;
	struct shmkv_entry sides[2];
	struct shmkv_difference difference = { .size = sizeof(difference) };

	if (before) {
		side_set(&sides[0], before);
		difference.before = &sides[0];
	}
	if (after) {
		side_set(&sides[1], after);
		difference.after = &sides[1];
	}
	return call->fn(&difference, call->arg);
}

static int snapshot_diff(void *before_arg, void *after_arg,
			 int (*fn)(const struct shmkv_difference *difference, void *arg), void *arg)
{
	const struct skv_hamt_snapshot *before = before_arg, *after = after_arg;
	struct diff_call call = { fn, arg };

	if (before->map != after->map)
		return -EINVAL;
	return skv_hamt_diff(before->version->root, after->version->root, before->map->trie.kind,
			     diff_item, &call);
}

/* ---- figures --------------------------------------------------------------------- */

static void shape(const struct skv_hamt_map *map, const struct skv_hamt_version *version,
		  struct shmkv_hamt_info *info)
{
	struct skv_hamt_figures figures;

	skv_hamt_measure(version->root, map->trie.kind, &figures);
	info->entries = figures.items;
	info->nodes = figures.nodes;
	info->collision_nodes = figures.bunches;
	info->colliding_entries = figures.bunched;
	info->skipped_levels = figures.skipped;
	info->depth_max = figures.depth_max;
	info->node_bytes = figures.node_bytes;
	info->entry_bytes = figures.item_bytes;
	if (figures.items > 0) {
		info->depth_mean = (double)figures.depth_sum / (double)figures.items;
		info->bytes_per_entry = (double)(figures.node_bytes + figures.item_bytes) /
					(double)figures.items;
		info->collision_rate = (double)figures.bunched / (double)figures.items;
	}
	if (figures.nodes > 0)
		info->bitmap_use = (double)figures.slots /
				   ((double)figures.nodes * SKV_HAMT_WIDTH);
}

int skv_hamt_shape(void *arg, struct shmkv_hamt_info *info)
{
	struct skv_hamt_map *map = arg;
	struct skv_hamt_version *version;
	int r;

	r = skv_hamt_map_freeze(map, &version);
	if (r < 0)
		return r;
	shape(map, version, info);
	skv_hamt_map_release(map, version);
	return 0;
}

static int snapshot_shape(void *arg, struct shmkv_hamt_info *info)
{
	const struct skv_hamt_snapshot *snapshot = arg;

	shape(snapshot->map, snapshot->version, info);
	return 0;
}

const struct skv_engine skv_engine_hamt_snapshot = {
	.scheme = "heap:hamt",
	.is_private = true,
	.detach = snapshot_detach,
	.abandon = snapshot_detach,
	.get = snapshot_get,
	.exists = snapshot_exists,
	.count = snapshot_count,
	.scan_begin = snapshot_scan_begin,
	.scan_next = skv_hamt_scan_next,
	.scan_cursor = skv_hamt_scan_cursor,
	.scan_end = skv_hamt_scan_end,
	.diff = snapshot_diff,
	.shape = snapshot_shape,
	.info = snapshot_info,
	.recover = skv_heap_recover,
};

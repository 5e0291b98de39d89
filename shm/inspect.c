/* SPDX-License-Identifier: MIT */
#include "shm/inspect.h"

#include "shm/block.h"
#include "shm/chunk.h"
#include "shm/leaf.h"
#include "shm/roster.h"

#include <stdio.h>
#include <string.h>

struct changes {
	uint64_t inserts, deletes;
};

static struct changes changes_sum(const struct skv_map *map)
{
	uint32_t i, n = skv_contexts_ready(map);
	struct changes sum = { 0, 0 };
	const struct skv_context *ctx;

	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		sum.inserts += skv_load_relaxed(&ctx->inserts);
		sum.deletes += skv_load_relaxed(&ctx->deletes);
	}
	return sum;
}

static uint64_t count_base(const struct skv_map *map)
{
	return skv_load_relaxed((const uint64_t *)&skv_super(map)->count_base);
}

uint64_t skv_inspect_count(const struct skv_map *map)
{
	struct changes sum = changes_sum(map);
	uint64_t count = sum.inserts - sum.deletes + count_base(map);

	/* Deaths inside a delete can make the sum run below zero. */
	return (int64_t)count < 0 ? 0 : count;
}

/* Live leaves and live slots in them. */
static uint64_t count_slots(const struct skv_map *map, uint64_t *ret_leaves)
{
	struct skv_ready ready = skv_chunks_ready(map);
	const struct skv_leaf *leaf;
	uint64_t i, live = 0;
	uint32_t j;

	*ret_leaves = 0;
	SKV_FOR_EACH_CHUNK (map, ready, i) {
		if (skv_chunk_state(skv_load_acquire(&skv_chunk_cell(map, i)->w)) !=
		    SKV_CHUNK_LEAVES)
			continue;
		for (j = 0; j < SKV_LEAVES_PER_CHUNK; j++) {
			leaf = skv_leaf_at(map, i * SKV_LEAVES_PER_CHUNK + j);
			if (skv_leaf_state(skv_load_acquire(&leaf->header.w)) != SKV_LEAF_LIVE)
				continue;
			(*ret_leaves)++;
			live += skv_leaf_count(leaf).live;
		}
	}
	return live;
}

/* Is any thread but @self inside a writing call? */
static bool others_write(const struct skv_map *map, const struct skv_writer *self)
{
	uint32_t i, n = skv_contexts_ready(map);
	const struct skv_context *ctx;

	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		if (i != self->idx && skv_owner_process(skv_load_acquire(&ctx->owner)) >= 0 &&
		    skv_load_acquire(&ctx->doing) != SKV_DOING_IDLE)
			return true;
	}
	return false;
}

void skv_inspect_recount(struct skv_map *map, const struct skv_writer *self, int64_t *ret_fix)
{
	uint64_t base = count_base(map), count, live, leaves;
	struct changes before, after;

	*ret_fix = 0;
	if (others_write(map, self))
		return;
	before = changes_sum(map);
	live = count_slots(map, &leaves);
	skv_fence_acquire();
	/* Both sums: a key deleted behind the walk and one inserted ahead of it cancel out. */
	after = changes_sum(map);
	if (others_write(map, self) || after.inserts != before.inserts ||
	    after.deletes != before.deletes)
		return;
	count = after.inserts - after.deletes;
	if (live - count != base &&
	    skv_cas((uint64_t *)&skv_super(map)->count_base, base, live - count))
		*ret_fix = (int64_t)(live - count - base);
}

static void count_chunks(const struct skv_map *map, struct shmkv_info *info)
{
	struct skv_ready ready = skv_chunks_ready(map);
	struct skv_cell seen, head;
	uint64_t *where, i;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		seen = skv_cell_read(skv_chunk_cell(map, i));
		head = seen;
		if (skv_chunk_state(seen.w) == SKV_CHUNK_BODY && skv_chunk_is_ready(map, skv_chunk_arg(seen.w)))
			head = skv_cell_read(skv_chunk_cell(map, skv_chunk_arg(seen.w)));
		switch (skv_chunk_state(head.w)) {
		case SKV_CHUNK_LEAVES:
			where = &info->leaf_bytes;
			break;
		case SKV_CHUNK_SLAB:
		case SKV_CHUNK_DISMANTLE:
			where = &info->slab_bytes;
			break;
		case SKV_CHUNK_RUN:
			where = &info->run_bytes;
			break;
		default:
			where = &info->free_bytes;
			break;
		}
		*where += SKV_CHUNK_BYTES;
	}
}

static void count_participants(struct skv_map *map, struct shmkv_info *info)
{
	uint32_t i, n = skv_contexts_ready(map);
	const struct skv_context *ctx;
	uint64_t state;

	info->processes_max = map->region.geo.n_processes;
	info->threads_max = map->region.geo.n_contexts;
	for (i = 0; i < map->region.geo.n_processes; i++) {
		state = skv_load_acquire(&skv_peer_slot(&map->region, i)->state);
		if ((state & SKV_PROCESS_STATE_MASK) == SKV_PROCESS_FREE)
			continue;
		info->processes++;
		if (skv_peer_is_dead(&map->region, i, &state))
			info->processes_dead++;
	}
	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		if (skv_owner_process(skv_load_acquire(&ctx->owner)) >= 0)
			info->threads++;
		info->inserts += skv_load_relaxed(&ctx->inserts);
		info->updates += skv_load_relaxed(&ctx->updates);
		info->deletes += skv_load_relaxed(&ctx->deletes);
		info->evictions += skv_load_relaxed(&ctx->evictions);
		info->retries += skv_load_relaxed(&ctx->retries);
		info->splits += skv_load_relaxed(&ctx->splits);
		info->compactions += skv_load_relaxed(&ctx->compactions);
		info->expired += skv_load_relaxed(&ctx->expired);
	}
}

static const char *const evict_names[] = {
	[SHMKV_EVICT_NONE] = "none",
	[SHMKV_EVICT_LRU] = "lru",
	[SHMKV_EVICT_LFU] = "lfu",
};

int skv_inspect_info(struct skv_map *map, struct shmkv_info *info)
{
	const struct skv_geometry *geo = &map->region.geo;
	const struct skv_superblock *super = skv_super(map);
	struct skv_ready ends = skv_chunks_ready(map);
	uint64_t ready = ends.low + geo->n_chunks - ends.high, pieces = 0, dir_bytes;
	uint32_t i;

	snprintf(info->hash, sizeof(info->hash), "%s", skv_hash_name(geo->hash_kind));
	snprintf(info->atomics, sizeof(info->atomics), "%s", skv_atomic_name());
	snprintf(info->evict, sizeof(info->evict), "%s", evict_names[geo->evict]);
	info->format_version = SKV_FORMAT_VERSION;
	info->read_only = map->region.read_only;
	info->max_bytes = geo->max_bytes;
	count_chunks(map, info);
	count_participants(map, info);

	for (i = 0; i < SKV_DIR_PIECES_MAX / 64; i++)
		pieces += (uint64_t)__builtin_popcountll(skv_load_relaxed(&super->dir_ready[i]));
	dir_bytes = pieces * SKV_DIR_PIECE_CELLS * sizeof(struct skv_cell);
	if (dir_bytes > geo->cell_off - geo->dir_off)
		dir_bytes = geo->cell_off - geo->dir_off;
	info->table_bytes = SKV_PAGE + SKV_WAIT_WORDS * sizeof(uint32_t) +
			    geo->n_processes * sizeof(struct skv_process) +
			    skv_contexts_ready(map) * sizeof(struct skv_context) +
			    SKV_CLASSES_MAX * sizeof(struct skv_class_hints) +
			    (geo->dir_off - geo->policy_off) + dir_bytes +
			    ready * (sizeof(struct skv_cell) + sizeof(struct skv_bitmap)) +
			    (ready + 7) / 8;
	info->reserved_bytes = info->table_bytes + ready * SKV_CHUNK_BYTES;
	count_slots(map, &info->leaves);
	info->index_bytes = info->leaves * (SKV_LEAF_BYTES + sizeof(struct skv_cell));
	info->count = skv_inspect_count(map);
	info->level = (uint32_t)(skv_load_relaxed(&super->root) & 0xff);
	info->level_min = geo->level_min;
	info->level_max = geo->level_max;
	info->recoveries = skv_load_relaxed(&super->recoveries);
	info->default_ttl_ms = geo->default_ttl_ms;
	return 0;
}

/* ---- layout ------------------------------------------------------------------------- */

struct lister {
	struct skv_map *map;
	int (*fn)(const struct shmkv_layout_item *item, void *arg);
	void *arg;
	struct shmkv_layout_item item;
};

static int emit(struct lister *lister)
{
	return lister->fn(&lister->item, lister->arg);
}

static void item_begin(struct lister *lister, enum shmkv_part part, uint64_t id, const char *state)
{
	memset(&lister->item, 0, sizeof(lister->item));
	lister->item.size = sizeof(lister->item);
	lister->item.part = part;
	lister->item.id = id;
	lister->item.state = state;
}

static int list_leaves(struct lister *lister, uint64_t chunk)
{
	static const char *const states[] = { "free", "claimed", "live", "forward", "spent" };
	const struct skv_leaf *leaf;
	struct skv_leaf_counts counts;
	struct skv_cell header;
	uint64_t id, state;
	uint32_t i;
	int r;

	for (i = 0; i < SKV_LEAVES_PER_CHUNK; i++) {
		id = chunk * SKV_LEAVES_PER_CHUNK + i;
		leaf = skv_leaf_at(lister->map, id);
		header = skv_cell_read(&leaf->header);
		state = skv_leaf_state(header.w);
		item_begin(lister, SHMKV_PART_LEAF, id, state <= SKV_LEAF_SPENT ? states[state] : "?");
		lister->item.offset = skv_chunk_off(lister->map, 0) + id * SKV_LEAF_BYTES;
		lister->item.bytes = SKV_LEAF_BYTES;
		if (state == SKV_LEAF_LIVE || state == SKV_LEAF_FORWARD) {
			counts = skv_leaf_count(leaf);
			lister->item.prefix = skv_load_relaxed(&leaf->prefix);
			lister->item.depth = (uint32_t)skv_load_relaxed(&leaf->depth);
			lister->item.live = counts.live;
			lister->item.dead = counts.dead;
			lister->item.empty = counts.empty;
		}
		r = emit(lister);
		if (r != 0)
			return r;
	}
	return 0;
}

static uint32_t blocks_used(const struct skv_map *map, const struct skv_span *span, uint64_t off)
{
	uint32_t i, state, used = 0;

	for (i = 0; i < skv_class_blocks(span->class); i++, off += span->bytes) {
		state = skv_block_load(map, off) & SKV_BLOCK_STATE_MASK;
		/* What is RETIRED is held by a view. */
		used += state == SKV_BLOCK_ALLOC || state == SKV_BLOCK_RETIRED;
	}
	return used;
}

static int list_chunks(struct lister *lister)
{
	static const char *const states[] = { "free", "claimed", "slab",  "dismantle",
					      "leaves", "run",	 "body" };
	const struct skv_map *map = lister->map;
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t i, off, n;
	struct skv_cell seen;
	struct skv_span span;
	uint32_t state;
	int r;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		seen = skv_cell_read(skv_chunk_cell(map, i));
		state = skv_chunk_state(seen.w);
		off = skv_chunk_off(map, i);
		if (state == SKV_CHUNK_BODY)
			continue;
		item_begin(lister, SHMKV_PART_CHUNK, i, state <= SKV_CHUNK_BODY ? states[state] : "?");
		lister->item.offset = off;
		lister->item.bytes = SKV_CHUNK_BYTES;
		if ((state == SKV_CHUNK_SLAB || state == SKV_CHUNK_DISMANTLE) &&
		    skv_block_locate(map, off, &span)) {
			lister->item.bytes = (uint64_t)skv_class_span(span.class) * SKV_CHUNK_BYTES;
			lister->item.block_bytes = (uint32_t)span.bytes;
			lister->item.blocks = skv_class_blocks(span.class);
			lister->item.blocks_used = blocks_used(map, &span, off);
		} else if (state == SKV_CHUNK_RUN && skv_block_locate(map, off, &span)) {
			lister->item.bytes = span.bytes;
			lister->item.blocks = 1;
			lister->item.blocks_used =
				(skv_block_load(map, off) & SKV_BLOCK_STATE_MASK) != SKV_BLOCK_FREE;
		} else if (state == SKV_CHUNK_FREE) {
			/* Neighbouring free chunks are one line. */
			for (n = 1; i + n != ready.low && i + n < map->region.geo.n_chunks; n++) {
				if (skv_chunk_state(skv_load_relaxed(
					    &skv_chunk_cell(map, i + n)->w)) != SKV_CHUNK_FREE)
					break;
			}
			lister->item.bytes = n * SKV_CHUNK_BYTES;
			i += n - 1;
		}
		r = emit(lister);
		if (r == 0 && state == SKV_CHUNK_LEAVES)
			r = list_leaves(lister, i);
		if (r != 0)
			return r;
	}
	return 0;
}

static int list_processes(struct lister *lister)
{
	static const char *const states[] = { "free", "joining", "live" };
	struct skv_map *map = lister->map;
	const struct skv_process *slot;
	uint64_t state, dead;
	uint32_t i;
	int r;

	for (i = 0; i < map->region.geo.n_processes; i++) {
		slot = skv_peer_slot(&map->region, i);
		state = skv_load_acquire(&slot->state) & SKV_PROCESS_STATE_MASK;
		if (state == SKV_PROCESS_FREE)
			continue;
		item_begin(lister, SHMKV_PART_PROCESS, i,
			   state <= SKV_PROCESS_LIVE ? states[state] : "?");
		lister->item.pid = skv_load_relaxed(&slot->pid);
		lister->item.alive = !skv_peer_is_dead(&map->region, i, &dead);
		r = emit(lister);
		if (r != 0)
			return r;
	}
	return 0;
}

static int list_threads(struct lister *lister)
{
	struct skv_map *map = lister->map;
	uint32_t i, n = skv_contexts_ready(map);
	const struct skv_context *ctx;
	uint64_t dead;
	int32_t process;
	int r;

	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		process = skv_owner_process(skv_load_acquire(&ctx->owner));
		if (process < 0 || (uint32_t)process >= map->region.geo.n_processes)
			continue;
		item_begin(lister, SHMKV_PART_THREAD, i, "used");
		lister->item.process = (uint64_t)process;
		lister->item.pid = skv_load_relaxed(&skv_peer_slot(&map->region, (uint32_t)process)->pid);
		lister->item.alive = !skv_peer_is_dead(&map->region, (uint32_t)process, &dead);
		lister->item.writes = skv_load_relaxed(&ctx->inserts) +
				      skv_load_relaxed(&ctx->updates) +
				      skv_load_relaxed(&ctx->deletes);
		lister->item.doing = skv_roster_doing(skv_load_relaxed(&ctx->doing));
		r = emit(lister);
		if (r != 0)
			return r;
	}
	return 0;
}

int skv_inspect_layout(struct skv_map *map,
		       int (*fn)(const struct shmkv_layout_item *item, void *arg), void *arg)
{
	struct lister lister = { .map = map, .fn = fn, .arg = arg };
	int r;

	r = list_chunks(&lister);
	if (r == 0)
		r = list_processes(&lister);
	return r != 0 ? r : list_threads(&lister);
}

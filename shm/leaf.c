/* SPDX-License-Identifier: MIT */
#include "shm/leaf.h"

#include "base/fault.h"
#include "shm/arena.h"
#include "shm/chunk.h"

#include <errno.h>
#include <string.h>

/*
 * Purpose and ancestry. A leaf is a small open-addressing table whose slots only ever go
 * EMPTY -> LIVE -> ... -> DEAD while it lives; growing, splitting and getting rid of
 * dead slots are one mechanism: build a successor, or two, and switch the directory cell.
 * That slots never return to EMPTY is Click's argument for lock-free copying, confined here
 * to one page; that helpers build the same copy because its source is frozen is the
 * cooperative migration of growt and of Valois' successors; dividing tables of a bounded
 * size under a directory is extendible hashing.
 *
 *    [ header line ][ line 0: 4 slots ][ line 1 ] ... [ line 62 ]
 *
 * States of a leaf; the generation (version of the header cell) steps at the marked arrows:
 *
 *     FREE ── claim ──► CLAIMED(ctx) ── built ──► LIVE ── begin ──► FORWARD(children)
 *      ▲ ▲                  │                                              │
 *      │ └── lost, or its claimer died [step]                              │
 *      └────────────────────────── switched [step] ────────────────────────┘
 *
 * States of a slot; every arrow steps its version but freezing, which sets a flag only:
 *
 *     EMPTY ── insert ──► LIVE ── update ──► LIVE ── delete ──► DEAD
 *        └─────────── freeze, from any state ───────────► the same, FROZEN
 *
 * Invariants within one life of a leaf.
 *  I1  a slot never returns to EMPTY and never changes its key
 *  I2  a key is inserted at the first EMPTY slot of its own probe order
 *  I3  a FROZEN slot never changes again
 *  I4  a key is changed only through the leaf that governs it; before anybody changes it in
 *      another leaf, the version of the governing cell has changed
 *  I5  versions of slots, headers and cells never repeat: a leaf that is used again goes on
 *      from the versions it has
 *
 * Replacement of leaf S in life g, all steps by anybody:
 *  R0  read header, parent and parent's life; then the guard. RULE P: while the parent is
 *      still FORWARD in that life, finish the parent first and route again.
 *  R1  decide; reserve the directory pages; claim the children (the intent is written first,
 *      each child's slots are reset: version, then EMPTY)
 *  R2  header of S: LIVE -> FORWARD(children). The successors' memory is attached before
 *      anything is frozen, so a full segment cannot wedge a leaf.
 *  R3  freeze every slot
 *  R4  copy the slots; the same for every helper (I3)
 *  R5  place each live one in its child, as a pure function of the copy
 *  R6  children CLAIMED -> LIVE
 *  R7  switch the directory. Compaction: cell LEAF(S) -> LEAF(child). Split: child cells
 *      NONE -> UNBORN; cell LEAF(S) -> SPLIT; child cells UNBORN -> LEAF.
 *  R8  header of S: FORWARD -> FREE, next life
 *
 * Rule of every late step (R3, R5, R6, R7): read the target, then see that S is still
 * FORWARD in life g, then compare-and-swap the target by its version. If S is, the target is in
 * the state that this replacement knows (RULE P), so its version cannot match later. A process
 * that stops between the second and the third (LEAF_LATE) wakes to a compare-and-swap that fails.
 *
 * Why RULE P: if a child could be replaced and recycled while its parent is still FORWARD, a
 * helper that slept in R5 would find an EMPTY slot in the recycled leaf, find its source
 * still valid, and plant a stale record there. The parent fields must be read before the
 * guard is looked at again.
 *
 *  pair                                     what it carries
 *  [leaf.reset] -> [slot.read]              a new version before EMPTY
 *  [slot.freeze] -> [leaf.copy]             every slot frozen before any is copied
 *  [leaf.build] -> [finish.switch]          the child's slots before the cell that names it
 *
 * Progress: lock-free; a freeze that loses lost to a write. A replacement is about 7 us.
 *
 * A process dies                                         left                 repaired by
 *  R1: intent written, nothing claimed (LEAF_INTENT)     nothing              -
 *  R1: one child claimed (LEAF_CLAIMED), reset           CLAIMED(dead)        reaper by intent
 *  (LEAF_RESET), both ready (LEAF_READY)
 *  R2 done (LEAF_FORWARD) .. R7 begun                    FORWARD              next operation
 *  (LEAF_FREEZE, LEAF_FROZEN, LEAF_BUILD, LEAF_BUILT,                         on the leaf, or
 *  LEAF_CHILD_LIVE)                                                           the reaper
 *  R7 between its steps (LEAF_UNBORN, LEAF_SWITCHED,     the directory is     RULE P, reaper,
 *  LEAF_BORN)                                            right at each step   sweeper
 *  R7 done, not R8 (LEAF_SWITCHED)                       S FORWARD, unnamed   likewise
 *  R8 done, no hint (LEAF_RETIRED)                       FREE without hint    search, sweeper
 */

/* Copies of this many slots are made on the stack: 4 KiB. */
struct leaf_copy {
	struct skv_cell slot[SKV_LEAF_SLOTS];
};

static bool in_life(const struct skv_map *map, uint32_t leaf, uint64_t gen)
{
	struct skv_cell header = skv_cell_read(&skv_leaf_at(map, leaf)->header);

	return header.v == gen && skv_leaf_state(header.w) == SKV_LEAF_FORWARD;
}

struct skv_leaf_counts skv_leaf_count(const struct skv_leaf *leaf)
{
	struct skv_leaf_counts counts = { 0, 0, 0 };
	uint32_t i;

	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		switch (skv_slot_state(skv_load_relaxed(&leaf->slots[i].w))) {
		case SKV_SLOT_EMPTY:
			counts.empty++;
			break;
		case SKV_SLOT_LIVE:
			counts.live++;
			break;
		default:
			counts.dead++;
			break;
		}
	}
	return counts;
}

/* ---- free leaves ------------------------------------------------------------------- */

static uint32_t pool_count(const struct skv_map *map)
{
	uint32_t i, n = 0;

	for (i = 0; i < SKV_LEAF_POOL; i++)
		n += skv_load_relaxed(&skv_super(map)->leaf_pool[i]) != 0;
	return n;
}

static bool pool_wants(const struct skv_map *map)
{
	uint64_t target = skv_load_relaxed(&skv_super(map)->leaf_target);

	return pool_count(map) < (target < SKV_LEAF_POOL ? target : SKV_LEAF_POOL);
}

static bool pool_add(struct skv_map *map, uint32_t leaf)
{
	uint32_t i;

	for (i = 0; i < SKV_LEAF_POOL; i++) {
		if (skv_cas(&skv_super(map)->leaf_pool[i], 0, (uint64_t)leaf + 1))
			return true;
	}
	return false;
}

/* FREE in the next life, and known to whoever looks for one. */
static bool leaf_free(struct skv_writer *writer, uint32_t leaf, struct skv_cell seen)
{
	struct skv_map *map = writer->map;
	struct skv_cache *cache = &writer->cache[SKV_CLASS_LEAF];
	bool keep = pool_wants(map);

	if (!skv_cell_cas(&skv_leaf_at(map, leaf)->header, seen, seen.v + 1,
			  SKV_LEAF_FREE | (keep ? SKV_LEAF_RESERVED : 0)))
		return false;
	SKV_FAULT(LEAF_RETIRED);
	if (keep && pool_add(map, leaf))
		return true;
	if (!keep && cache->n < SKV_CACHE_BLOCKS && !skv_load_relaxed(&skv_super(map)->low_memory)) {
		cache->item[cache->n].off = leaf;
		cache->item[cache->n++].word = 0;
		return true;
	}
	skv_arena_hint_set(map, SKV_CLASS_LEAF, leaf / SKV_LEAVES_PER_CHUNK,
			   leaf % SKV_LEAVES_PER_CHUNK);
	if (skv_load_relaxed(&skv_super(map)->low_memory))
		skv_add_relaxed(&skv_super(map)->n_freed, 1);
	return true;
}

bool skv_leaf_unclaim(struct skv_writer *writer, uint32_t leaf, struct skv_cell seen)
{
	return leaf_free(writer, leaf, seen);
}

/* Claims one free leaf for child @n; a reserved one only for compaction. */
static bool leaf_claim(struct skv_writer *writer, uint32_t leaf, uint32_t n, bool reserved)
{
	struct skv_leaf *at = skv_leaf_at(writer->map, leaf);
	struct skv_cell seen = skv_cell_read(&at->header);
	uint64_t version;
	uint32_t i;

	if (skv_leaf_state(seen.w) != SKV_LEAF_FREE ||
	    (!reserved && (seen.w & SKV_LEAF_RESERVED)))
		return false;

	/* The intent before the claim: a reaper must know what to look at. */
	skv_store_release(&writer->ctx->rebuild_child[n], (uint64_t)leaf + 1);
	SKV_FAULT(LEAF_INTENT);
	if (!skv_cell_cas(&at->header, seen, seen.v,
			  SKV_LEAF_CLAIMED | ((uint64_t)writer->idx << SKV_LEAF_CHILD0_SHIFT)))
		return false;
	SKV_FAULT(LEAF_CLAIMED);

	/* [leaf.reset] the new version first: a reader that sees EMPTY sees that it is another
	 * life. No compare-and-swap can match meanwhile: the old slots are frozen or were
	 * never published. */
	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		version = skv_slot_version(skv_load_relaxed(&at->slots[i].v)) + 1;
#ifdef SKV_TINY
		if (version == 1)
			version = SKV_SLOT_VERSION_SPENT - 4000;
#endif
		if (version >= SKV_SLOT_VERSION_SPENT) {
			/* Near the end of its versions: never used again, so that they never repeat. */
			seen = skv_cell_read(&at->header);
			skv_cell_cas(&at->header, seen, seen.v + 1, SKV_LEAF_SPENT);
			return false;
		}
		skv_store_relaxed(&at->slots[i].v, version << SKV_SLOT_VERSION_SHIFT);
		skv_store_release(&at->slots[i].w, SKV_SLOT_EMPTY);
	}
	SKV_FAULT(LEAF_RESET);
	return true;
}

int skv_leaf_new(struct skv_writer *writer, bool thorough)
{
	struct skv_cache *cache = &writer->cache[SKV_CLASS_LEAF];
	uint64_t chunk;
	uint32_t i;
	int r;

	r = skv_chunk_claim(writer, 1, SKV_END_LEAVES, thorough, &chunk);
	if (r < 0)
		return r;
	skv_chunk_publish_leaves(writer, chunk);
	for (i = SKV_LEAVES_PER_CHUNK; i-- > 0 && cache->n < SKV_CACHE_BLOCKS;) {
		cache->item[cache->n].off = chunk * SKV_LEAVES_PER_CHUNK + i;
		cache->item[cache->n++].word = 0;
	}
	return 0;
}

static bool claim_cached(struct skv_writer *writer, uint32_t n, uint32_t *ret_leaf)
{
	struct skv_cache *cache = &writer->cache[SKV_CLASS_LEAF];

	while (cache->n > 0) {
		*ret_leaf = (uint32_t)cache->item[--cache->n].off;
		if (leaf_claim(writer, *ret_leaf, n, false))
			return true;
	}
	return false;
}

static bool claim_searching(struct skv_writer *writer, uint32_t n, bool reserved, uint32_t *ret_leaf)
{
	struct skv_map *map = writer->map;
	struct skv_ready ready = skv_chunks_ready(map);
	struct skv_cell seen;
	uint64_t i;
	uint32_t j;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		if (skv_chunk_state(skv_load_acquire(&skv_chunk_cell(map, i)->w)) !=
		    SKV_CHUNK_LEAVES)
			continue;
		for (j = 0; j < SKV_LEAVES_PER_CHUNK; j++) {
			*ret_leaf = (uint32_t)i * SKV_LEAVES_PER_CHUNK + j;
			/* Replaced and unnamed, its last helper stopped or dead: free it for them. */
			seen = skv_cell_read(&skv_leaf_at(map, *ret_leaf)->header);
			if (skv_leaf_state(seen.w) == SKV_LEAF_FORWARD)
				skv_leaf_finish_life(writer, *ret_leaf, seen.v);
			if (leaf_claim(writer, *ret_leaf, n, reserved))
				return true;
		}
	}
	return false;
}

static bool claim_pooled(struct skv_writer *writer, uint32_t n, uint32_t *ret_leaf)
{
	struct skv_map *map = writer->map;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < SKV_LEAF_POOL; i++) {
		if (skv_load_relaxed(&skv_super(map)->leaf_pool[i]) == 0)
			continue;
		word = skv_swap(&skv_super(map)->leaf_pool[i], 0);
		if (word == 0 || !skv_leaf_is_ready(map, word - 1))
			continue;
		*ret_leaf = (uint32_t)(word - 1);
		if (leaf_claim(writer, *ret_leaf, n, true))
			return true;
	}
	return false;
}

static int claim_leaf(struct skv_writer *writer, uint32_t n, bool compact, bool must,
		      uint32_t *ret_leaf)
{
	struct skv_map *map = writer->map;
	uint64_t n_freed;

	for (;;) {
		if (claim_cached(writer, n, ret_leaf))
			return 0;
		/* Each turn uses up hints or chunks: it ends when there are none. */
		if (!skv_arena_hint_take(writer, SKV_CLASS_LEAF) && skv_leaf_new(writer, false) < 0)
			break;
	}
	if (compact && claim_pooled(writer, n, ret_leaf))
		return 0;
	if (!must || writer->lack.hasty) {
		writer->lack.leaf = true;
		return -ENOSPC;
	}

	if (!skv_arena_was_exhausted(map, SKV_CLASS_LEAF, &n_freed)) {
		if (claim_searching(writer, n, false, ret_leaf))
			return 0;
		skv_arena_collect(writer);
		if (skv_leaf_new(writer, true) == 0 && claim_cached(writer, n, ret_leaf))
			return 0;
		skv_arena_note_exhausted(map, SKV_CLASS_LEAF, n_freed);
	}
	return compact && claim_searching(writer, n, true, ret_leaf) ? 0 : -ENOSPC;
}

void skv_leaf_repool(struct skv_writer *writer)
{
	struct skv_map *map = writer->map;
	struct skv_ready ready = skv_chunks_ready(map);
	struct skv_cell seen;
	uint32_t j, k;
	uint64_t i, leaf;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		if (skv_chunk_state(skv_load_acquire(&skv_chunk_cell(map, i)->w)) !=
		    SKV_CHUNK_LEAVES)
			continue;
		for (j = 0; j < SKV_LEAVES_PER_CHUNK; j++) {
			leaf = i * SKV_LEAVES_PER_CHUNK + j;
			seen = skv_cell_read(&skv_leaf_at(map, leaf)->header);
			if (skv_leaf_state(seen.w) != SKV_LEAF_FREE)
				continue;
			if (!(seen.w & SKV_LEAF_RESERVED)) {
				skv_arena_hint_set(map, SKV_CLASS_LEAF, i, j);
				continue;
			}
			for (k = 0; k < SKV_LEAF_POOL; k++) {
				if (skv_load_relaxed(&skv_super(map)->leaf_pool[k]) == leaf + 1)
					break;
			}
			if (k == SKV_LEAF_POOL)
				leaf_free(writer, (uint32_t)leaf, seen);
		}
	}
}

/* ---- replacement ------------------------------------------------------------------- */

/* R7 and R8. */
static void finish(struct skv_writer *writer, uint32_t leaf, struct skv_cell header)
{
	struct skv_map *map = writer->map;
	struct skv_leaf *source = skv_leaf_at(map, leaf);
	uint64_t depth = skv_load_acquire(&source->depth);
	uint64_t prefix = skv_load_acquire(&source->prefix);
	bool split = skv_leaf_kind(header.w) == SKV_KIND_SPLIT;
	struct skv_cell *cell, *child_cell[2];
	struct skv_cell seen;
	uint32_t k;

	skv_fence_acquire();
	if (!in_life(map, leaf, header.v) || depth > map->region.geo.level_max ||
	    prefix >> depth || (split && depth == map->region.geo.level_max))
		return;
	cell = skv_dir_cell(map, (uint32_t)depth, (uint32_t)prefix);

	if (!split) {
		seen = skv_cell_read(cell);
		if (skv_dir_kind(seen.w) == SKV_DIR_LEAF && skv_dir_leaf(seen.w) == leaf) {
			if (!in_life(map, leaf, header.v))
				return;
			SKV_FAULT(LEAF_LATE);
			/* [finish.switch] */
			skv_cell_cas(cell, seen, seen.v + 1,
				     skv_dir_word(SKV_DIR_LEAF, skv_leaf_child(header.w, 0)));
			SKV_FAULT(LEAF_SWITCHED);
		}
	} else {
		for (k = 0; k < 2; k++) {
			child_cell[k] = skv_dir_cell(map, (uint32_t)depth + 1,
						     (uint32_t)prefix * 2 + k);
			seen = skv_cell_read(child_cell[k]);
			if (skv_dir_kind(seen.w) != SKV_DIR_NONE)
				continue;
			if (!in_life(map, leaf, header.v))
				return;
			SKV_FAULT(LEAF_LATE);
			skv_cell_cas(child_cell[k], seen, seen.v + 1,
				     skv_dir_word(SKV_DIR_UNBORN, skv_leaf_child(header.w, k)));
			SKV_FAULT(LEAF_UNBORN);
		}
		seen = skv_cell_read(cell);
		if (skv_dir_kind(seen.w) == SKV_DIR_LEAF && skv_dir_leaf(seen.w) == leaf) {
			if (!in_life(map, leaf, header.v))
				return;
			SKV_FAULT(LEAF_LATE);
			/* [finish.switch] the one write after which the children govern. */
			skv_cell_cas(cell, seen, seen.v + 1, skv_dir_word(SKV_DIR_SPLIT, 0));
			SKV_FAULT(LEAF_SWITCHED);
		}
		for (k = 0; k < 2; k++) {
			seen = skv_cell_read(child_cell[k]);
			if (skv_dir_kind(seen.w) != SKV_DIR_UNBORN)
				continue;
			if (!in_life(map, leaf, header.v))
				return;
			SKV_FAULT(LEAF_LATE);
			skv_cell_cas(child_cell[k], seen, seen.v + 1,
				     skv_dir_word(SKV_DIR_LEAF, skv_dir_leaf(seen.w)));
			SKV_FAULT(LEAF_BORN);
		}
	}

	if (leaf_free(writer, leaf, header)) {
		/* Once per replacement: only one of the helpers gets here. */
		if (split) {
			skv_add_relaxed(&writer->ctx->splits, 1);
			skv_directory_note_split(map, (uint32_t)depth, (uint32_t)prefix);
		} else {
			skv_add_relaxed(&writer->ctx->compactions, 1);
		}
	}
}

/* R3: false when the life of the leaf ended meanwhile. */
static bool freeze(const struct skv_map *map, uint32_t leaf, uint64_t gen)
{
	struct skv_leaf *source = skv_leaf_at(map, leaf);
	struct skv_cell seen;
	uint32_t i;

	for (i = 0; i < SKV_LEAF_SLOTS;) {
		seen = skv_cell_read(&source->slots[i]);
		if (seen.w & SKV_SLOT_FROZEN) {
			i++;
			continue;
		}
		if (!in_life(map, leaf, gen))
			return false;
		SKV_FAULT(LEAF_LATE);
		/* [slot.freeze] Loses only to a write that succeeded, or to another freezer. */
		if (skv_cell_cas(&source->slots[i], seen, seen.v, seen.w | SKV_SLOT_FROZEN)) {
			i++;
			SKV_FAULT(LEAF_FREEZE);
		}
	}
	return true;
}

/* Where helpers put the next key of this home: the first slot that none took before it. */
static uint32_t place_in(bool *used, struct skv_place place)
{
	uint32_t i, pos = skv_place_home(place) * SKV_LINE_SLOTS;

	for (i = 0; i < SKV_LEAF_SLOTS && used[pos]; i++)
		pos = pos + 1 == SKV_LEAF_SLOTS ? 0 : pos + 1;
	used[pos] = true;
	return pos;
}

/* R4 and R5. */
static bool build(const struct skv_map *map, uint32_t leaf, struct skv_cell header)
{
	struct skv_leaf *source = skv_leaf_at(map, leaf);
	bool used[2][SKV_LEAF_SLOTS];
	bool split = skv_leaf_kind(header.w) == SKV_KIND_SPLIT;
	uint64_t depth = skv_load_relaxed(&source->depth);
	struct skv_cell *target;
	struct skv_cell seen;
	struct leaf_copy copy;
	struct skv_place place;
	uint32_t i, child;

	/* [leaf.copy] */
	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		copy.slot[i].v = skv_load_relaxed(&source->slots[i].v);
		copy.slot[i].w = skv_load_relaxed(&source->slots[i].w);
	}
	skv_fence_acquire();
	if (!in_life(map, leaf, header.v) || (split && depth >= SKV_PREFIX_BITS))
		return false;

	memset(used, 0, sizeof(used));
	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		if (skv_slot_state(copy.slot[i].w) != SKV_SLOT_LIVE)
			continue;
		place = skv_slot_place(copy.slot[i].v, copy.slot[i].w);
		child = split ? skv_place_index(place, (uint32_t)depth + 1) & 1 : 0;
		target = &skv_leaf_at(map, skv_leaf_child(header.w, child))
				  ->slots[place_in(used[child], place)];
		seen = skv_cell_read(target);
		if (skv_slot_state(seen.w) != SKV_SLOT_EMPTY)
			continue;
		if (!in_life(map, leaf, header.v))
			return false;
		SKV_FAULT(LEAF_LATE);
		/* [leaf.build] */
		skv_cell_cas(target, seen, skv_slot_next_v(seen.v, place),
			     copy.slot[i].w & ~SKV_SLOT_FROZEN);
		SKV_FAULT(LEAF_BUILD);
	}
	return true;
}

/* R6 */
static bool children_live(const struct skv_map *map, uint32_t leaf, struct skv_cell header)
{
	uint32_t k, n = skv_leaf_kind(header.w) == SKV_KIND_SPLIT ? 2 : 1;
	struct skv_leaf *child;
	struct skv_cell seen;

	for (k = 0; k < n; k++) {
		child = skv_leaf_at(map, skv_leaf_child(header.w, k));
		seen = skv_cell_read(&child->header);
		if (skv_leaf_state(seen.w) != SKV_LEAF_CLAIMED)
			continue;
		if (!in_life(map, leaf, header.v))
			return false;
		SKV_FAULT(LEAF_LATE);
		skv_cell_cas(&child->header, seen, seen.v, SKV_LEAF_LIVE);
		SKV_FAULT(LEAF_CHILD_LIVE);
	}
	return true;
}

/* R3 to R8 of a leaf that was seen FORWARD. */
static void complete(struct skv_writer *writer, uint32_t leaf, struct skv_cell header)
{
	const struct skv_map *map = writer->map;
	uint32_t k, n = skv_leaf_kind(header.w) == SKV_KIND_SPLIT ? 2 : 1;

	for (k = 0; k < n; k++) {
		if (!skv_leaf_is_ready(map, skv_leaf_child(header.w, k)))
			return;
	}
	if (!freeze(map, leaf, header.v))
		return;
	SKV_FAULT(LEAF_FROZEN);
	if (!build(map, leaf, header))
		return;
	SKV_FAULT(LEAF_BUILT);
	if (!children_live(map, leaf, header))
		return;
	finish(writer, leaf, header);
}

bool skv_leaf_finish_life(struct skv_writer *writer, uint32_t leaf, uint64_t gen)
{
	struct skv_cell header;

	if (!skv_leaf_is_ready(writer->map, leaf))
		return false;
	header = skv_cell_read(&skv_leaf_at(writer->map, leaf)->header);
	if (header.v != gen || skv_leaf_state(header.w) != SKV_LEAF_FORWARD)
		return false;
	complete(writer, leaf, header);
	return true;
}

static void give_back(struct skv_writer *writer, uint32_t leaf)
{
	struct skv_cell seen = skv_cell_read(&skv_leaf_at(writer->map, leaf)->header);

	if (skv_leaf_state(seen.w) == SKV_LEAF_CLAIMED && skv_leaf_claimer(seen.w) == writer->idx)
		leaf_free(writer, leaf, seen);
}

/* R1: the children, claimed and described. */
static int claim_children(struct skv_writer *writer, const struct skv_route *route, uint64_t gen,
			  bool split, bool must, uint32_t *child)
{
	struct skv_map *map = writer->map;
	struct skv_leaf *at;
	uint32_t k, n = split ? 2 : 1;
	int r;

	skv_store_release(&writer->ctx->rebuild_child[0], 0);
	skv_store_release(&writer->ctx->rebuild_child[1], 0);
	skv_store_release(&writer->ctx->rebuild_gen, gen);
	skv_store_release(&writer->ctx->rebuild_leaf, (uint64_t)route->leaf + 1);

	for (k = 0; k < n; k++) {
		r = claim_leaf(writer, k, !split, must, &child[k]);
		if (r < 0) {
			if (k == 1)
				give_back(writer, child[0]);
			return r;
		}
		at = skv_leaf_at(map, child[k]);
		skv_store_relaxed(&at->parent, (uint64_t)route->leaf + 1);
		skv_store_relaxed(&at->parent_gen, gen);
		skv_store_relaxed(&at->depth, route->depth + (split ? 1 : 0));
		skv_store_relaxed(&at->prefix, split ? route->idx * 2ull + k : route->idx);
	}
	SKV_FAULT(LEAF_READY);
	return 0;
}

static int begin(struct skv_writer *writer, const struct skv_route *route, struct skv_cell header,
		 bool split, bool must)
{
	struct skv_map *map = writer->map;
	uint32_t child[2] = { 0, 0 };
	struct skv_cell forward;
	int r;

	r = claim_children(writer, route, header.v, split, must, child);
	if (r == 0) {
		forward.v = header.v;
		forward.w = SKV_LEAF_FORWARD |
			    ((split ? SKV_KIND_SPLIT : SKV_KIND_COMPACT) << SKV_LEAF_KIND_SHIFT) |
			    ((uint64_t)child[0] << SKV_LEAF_CHILD0_SHIFT) |
			    ((uint64_t)child[1] << SKV_LEAF_CHILD1_SHIFT);
		/* R2. Release: parent, depth and prefix of the children come first. */
		if (skv_cell_cas(&skv_leaf_at(map, route->leaf)->header, header, forward.v,
				 forward.w)) {
			SKV_FAULT(LEAF_FORWARD);
			complete(writer, route->leaf, forward);
		} else {
			give_back(writer, child[0]);
			if (split)
				give_back(writer, child[1]);
		}
	}
	skv_store_release(&writer->ctx->rebuild_leaf, 0);
	return r;
}

/* A slot at the end of its versions takes no write until the leaf is another one. */
static bool has_spent_slot(const struct skv_leaf *leaf)
{
	uint32_t i;

	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		if (skv_slot_version(skv_load_relaxed(&leaf->slots[i].v)) >= SKV_SLOT_VERSION_MAX)
			return true;
	}
	return false;
}

int skv_leaf_replace(struct skv_writer *writer, const struct skv_route *route, bool must)
{
	struct skv_map *map = writer->map;
	struct skv_leaf *leaf = skv_leaf_at(map, route->leaf);
	struct skv_cell header = skv_cell_read(&leaf->header);
	uint64_t parent = skv_load_acquire(&leaf->parent);
	uint64_t parent_gen = skv_load_acquire(&leaf->parent_gen);
	struct skv_leaf_counts counts;
	struct skv_cell above;
	bool deepest;
	int r;

	skv_fence_acquire();
	if (!skv_route_holds(route))
		return 0;

	/* RULE P */
	if (parent != 0) {
		if (!skv_leaf_is_ready(map, parent - 1))
			return -EBADMSG;
		above = skv_cell_read(&skv_leaf_at(map, parent - 1)->header);
		if (above.v == parent_gen && skv_leaf_state(above.w) == SKV_LEAF_FORWARD) {
			finish(writer, (uint32_t)(parent - 1), above);
			return 0;
		}
	}

	if (skv_leaf_state(header.w) == SKV_LEAF_FORWARD) {
		complete(writer, route->leaf, header);
		return 0;
	}
	if (skv_leaf_state(header.w) != SKV_LEAF_LIVE)
		return skv_route_holds(route) ? -EBADMSG : 0;

	counts = skv_leaf_count(leaf);
	writer->lack.leaf = false;
	deepest = route->depth >= map->region.geo.level_max;
	r = -ENOSPC;
	if (counts.live >= SKV_LEAF_SPLIT_LIVE && !deepest) {
		r = skv_directory_prepare(map, route->depth + 1, route->idx * 2);
		if (r == 0)
			r = begin(writer, route, header, true, must);
	}
	/* Whoever can evict makes room for a split if compaction would help for a few inserts only. */
	if (r == -ENOSPC && (counts.dead > 0 || has_spent_slot(leaf)) &&
	    !(writer->lack.hasty && writer->lack.leaf && counts.dead < SKV_LEAF_WORTH_DEAD))
		r = begin(writer, route, header, false, must);
	if (r == -ENOSPC && deepest && counts.live == SKV_LEAF_SLOTS)
		r = -EXFULL;
	return r;
}

/* ---- the first leaves -------------------------------------------------------------- */

int skv_leaf_init(struct skv_map *map)
{
	struct skv_superblock *super = skv_super(map);
	uint32_t level = map->region.geo.level_min;
	uint64_t i, n = 1ull << level;
	uint64_t n_chunks = skv_chunk_first_leaves(map);
	struct skv_leaf *leaf;
	struct skv_cell *cell;
	int r;

	if (n_chunks > map->region.geo.n_chunks)
		return -EINVAL;
	r = skv_chunk_grow(map, n_chunks, SKV_END_LEAVES);
	if (r < 0)
		return r;

	for (i = 0; i < n_chunks; i++) {
		cell = skv_chunk_cell(map, i);
		skv_store_relaxed(&cell->v, 1);
		skv_store_relaxed(&cell->w, skv_chunk_word(SKV_CHUNK_LEAVES, 0, 0, 0));
	}
	skv_add_relaxed(&super->n_chunks_free[SKV_END_LEAVES], -n_chunks);
	skv_store_relaxed(&super->leaf_target, SKV_LEAVES_PER_CHUNK);
	for (i = 0; i < n; i++) {
		leaf = skv_leaf_at(map, i);
		skv_store_relaxed(&leaf->header.w, SKV_LEAF_LIVE);
		skv_store_relaxed(&leaf->depth, level);
		skv_store_relaxed(&leaf->prefix, i);
		cell = skv_dir_cell(map, level, (uint32_t)i);
		skv_store_relaxed(&cell->v, 1);
		skv_store_relaxed(&cell->w, skv_dir_word(SKV_DIR_LEAF, i));
	}
	for (; i < n_chunks * SKV_LEAVES_PER_CHUNK; i++) {
		leaf = skv_leaf_at(map, i);
		if (i < (n_chunks - 1) * SKV_LEAVES_PER_CHUNK) {
			skv_arena_hint_set(map, SKV_CLASS_LEAF, i / SKV_LEAVES_PER_CHUNK,
					   i % SKV_LEAVES_PER_CHUNK);
			continue;
		}
		skv_store_relaxed(&leaf->header.w, SKV_LEAF_FREE | SKV_LEAF_RESERVED);
		pool_add(map, (uint32_t)i);
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "shm/directory.h"

#include "base/fault.h"

#include <errno.h>

/*
 * Purpose and ancestry. Extendible hashing (Fagin, Nievergelt, Pippenger, Strong, 1979)
 * keeps 2^g pointers and doubles them all at once when one leaf outgrows them: a pause that
 * grows with the map, and a leaf that is short of depth is named by many cells. Here every
 * prefix length has a level of its own, all levels stand in one array, and each leaf is
 * named by exactly one cell: that of its own prefix. It is a binary trie laid out like a
 * heap. Nothing is ever doubled: a split writes two cells of the next level and changes one.
 *
 *    level 0   [         SPLIT         ]
 *    level 1   [  SPLIT   ][  LEAF c   ]
 *    level 2   [LEAF a][LEAF b][none][none]
 *
 * A look-up could walk down from the top, but leaves have one of two depths nearly always,
 * so it begins where the root word says: at level L + 1 for prefixes below the front, at L for
 * the others (place.h makes the splits sweep the prefix space from its low end). From there it
 * goes down at SPLIT and up at anything that does not govern. The root word is a hint; a
 * wrong one costs a few loads and never a wrong answer.
 *
 * States of a cell; every arrow steps its version:
 *
 *     NONE ──── split of the shorter prefix, step 1 ────► UNBORN(child)
 *     UNBORN(child) ──── step 3 ────► LEAF(child)
 *     LEAF(s) ──── compaction of s ────► LEAF(child)
 *     LEAF(s) ──── split of s, step 2: the switch ────► SPLIT
 *
 * Who governs. A LEAF cell governs its prefix. An UNBORN cell does not, until the cell above
 * it says SPLIT: between the two writes readers that come from below and from above must
 * agree, and the one write that both look at is the switch. NONE never governs.
 *
 * When a reader may trust it. It remembers the version of the one cell that governed and
 * finds it again after its reads. The leaf of a governing cell is replaced only through that
 * cell: so an unchanged version means that the leaf was the authority all the time. An
 * UNBORN child that was read before its parent's SPLIT governs from that moment; its own
 * step 3 changes its version and costs such a reader one retry.
 *
 *  pair                                 what it carries
 *  [finish.switch] -> [route.load]      the built leaf before the cell that names it
 *  [root.move] -> root load             reserved pages before the level that is read
 *  [prepare.ready] -> is_ready          reserved pages before their bit
 *
 * Progress: a look-up moves at most ROUTE_MOVES times and then answers -EAGAIN. ABA: versions
 * do not repeat. The three steps are in leaf.c, with who dies in between; here:
 *
 * A process dies                                       left                   repaired by
 *  pages reserved, bit not set (DIR_RESERVED)          memory, used later     next splitter
 *  split done, root word not moved (DIR_ROOT)          slower look-ups        next split
 */

#define ROUTE_MOVES 128u

/* How strongly one split moves the front: by 2^-n of its distance. Small directories have
 * few splits to learn from. */
#define FRONT_SHIFT_MAX 5u

static uint64_t piece_of(uint32_t level, uint32_t idx)
{
	return ((1ull << level) - 1 + idx) / SKV_DIR_PIECE_CELLS;
}

static bool piece_is_ready(const struct skv_map *map, uint64_t piece)
{
	return skv_load_acquire(&skv_super(map)->dir_ready[piece / 64]) >> (piece % 64) & 1;
}

bool skv_directory_is_ready(const struct skv_map *map, uint32_t level, uint32_t idx)
{
	return piece_is_ready(map, piece_of(level, idx));
}

static int piece_reserve(struct skv_map *map, uint64_t piece)
{
	const uint64_t bytes = SKV_DIR_PIECE_CELLS * sizeof(struct skv_cell);
	uint64_t off = map->region.geo.dir_off + piece * bytes;
	uint64_t end = map->region.geo.cell_off;
	uint64_t *word = &skv_super(map)->dir_ready[piece / 64];
	int r;

	if (piece_is_ready(map, piece))
		return 0;
	r = skv_region_reserve(&map->region, off, off + bytes < end ? bytes : end - off);
	if (r < 0)
		return r;
	SKV_FAULT(DIR_RESERVED);
	/* [prepare.ready] */
	skv_fence_release();
	skv_or_relaxed(word, 1ull << (piece % 64));
	return 0;
}

int skv_directory_prepare(struct skv_map *map, uint32_t depth, uint32_t idx)
{
	int r = piece_reserve(map, piece_of(depth, idx));

	return r < 0 ? r : piece_reserve(map, piece_of(depth, idx + 1));
}

int skv_directory_init(struct skv_map *map)
{
	uint32_t level = map->region.geo.level_min;
	uint64_t piece;
	int r;

	for (piece = piece_of(level, 0); piece <= piece_of(level, (1u << level) - 1); piece++) {
		r = piece_reserve(map, piece);
		if (r < 0)
			return r;
	}
	skv_store_release(&skv_super(map)->root, level);
	return 0;
}

int skv_directory_route_slow(const struct skv_map *map, struct skv_place place,
			     struct skv_route *ret_route)
{
	uint64_t root = skv_load_acquire(&skv_super(map)->root);
	uint32_t level = (uint32_t)(root & 0xff) + (skv_place_prefix(place) < root >> 8);
	const struct skv_geometry *geo = &map->region.geo;
	struct skv_route child = { 0 };
	struct skv_cell *cell;
	uint32_t n, idx, leaf;
	uint64_t v, w;

	/* Also a root word that somebody damaged gives a place to begin. */
	if (level > geo->level_max || level < geo->level_min)
		level = geo->level_min;

	for (n = 0; n < ROUTE_MOVES; n++) {
		idx = skv_place_index(place, level);
		if (!skv_directory_is_ready(map, level, idx)) {
			if (level == geo->level_min)
				return -EBADMSG;
			level--;
			child.cell = NULL;
			continue;
		}
		cell = skv_dir_cell(map, level, idx);
		v = skv_load_acquire(&cell->v);
		w = skv_load_acquire(&cell->w);
		leaf = skv_dir_leaf(w);

		switch (skv_dir_kind(w)) {
		case SKV_DIR_LEAF:
			if (!skv_leaf_is_ready(map, leaf))
				return -EBADMSG;
			*ret_route = (struct skv_route){ cell, v, leaf, level, idx };
			return 0;
		case SKV_DIR_SPLIT:
			if (child.cell && child.depth == level + 1) {
				/* Unborn when it was read, governing since the switch above it. */
				if (!skv_leaf_is_ready(map, child.leaf))
					return -EBADMSG;
				*ret_route = child;
				return 0;
			}
			if (level == geo->level_max)
				return -EBADMSG;
			level++;
			break;
		case SKV_DIR_UNBORN:
			child = (struct skv_route){ cell, v, leaf, level, idx };
			if (level == geo->level_min)
				return -EBADMSG;
			level--;
			break;
		default:
			child.cell = NULL;
			if (level == geo->level_min)
				return -EBADMSG;
			level--;
			break;
		}
	}
	return -EAGAIN;
}

/* Are the cells of all prefixes below @front reserved at this level? Reserves at most one
 * more piece, so that no split pays for a whole level. */
static bool level_reach(struct skv_map *map, uint32_t level, uint64_t front)
{
	uint64_t piece, last, n = front >> (SKV_PREFIX_BITS - level);

	if (level > map->region.geo.level_max)
		return front == 0;
	if (n << (SKV_PREFIX_BITS - level) < front)
		n++;
	if (n == 0)
		return true;
	last = piece_of(level, (uint32_t)(n - 1));
	for (piece = piece_of(level, 0); piece <= last; piece++) {
		if (!piece_is_ready(map, piece))
			return piece_reserve(map, piece) == 0 && piece == last;
	}
	return true;
}

void skv_directory_note_split(struct skv_map *map, uint32_t depth, uint32_t idx)
{
	uint64_t *root = &skv_super(map)->root;
	uint64_t seen = skv_load_acquire(root);
	uint32_t level = (uint32_t)(seen & 0xff);
	int64_t front = (int64_t)(seen >> 8), target, turn = 1ll << SKV_PREFIX_BITS;
	uint32_t shift = level < FRONT_SHIFT_MAX ? level : FRONT_SHIFT_MAX;

	/* A straggler says nothing about where the others are. */
	if (depth < level || level > map->region.geo.level_max)
		return;

	target = (int64_t)(depth - level) * turn +
		 ((int64_t)(idx + 1) << (SKV_PREFIX_BITS - depth));
	front += (target - front) / (1 << shift);
	if (front < 0)
		front = 0;
	if (front >= turn) {
		if (!level_reach(map, level + 1, (uint64_t)turn))
			return;
		level++;
		front = front >= 2 * turn ? 0 : front - turn;
	}
	if (!level_reach(map, level + 1, (uint64_t)front))
		return;
	SKV_FAULT(DIR_ROOT);
	/* [root.move] release. Lost to another split: as good. */
	skv_cas(root, seen, ((uint64_t)front << 8) | level);
}

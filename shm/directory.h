/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_DIRECTORY_H
#define SKV_SHM_DIRECTORY_H

/*
 * directory: from a key's place to the one leaf that governs it.
 *
 * Protocol: see directory.c.
 */

#include "shm/map.h"
#include "shm/place.h"

/* The way that a look-up took: which cell named the leaf, and in which version. */
struct skv_route {
	struct skv_cell *cell;
	uint64_t v;
	uint32_t leaf;
	uint32_t depth;
	uint32_t idx; /* of the cell in its level: the leaf's prefix */
};

static inline uint64_t skv_dir_kind(uint64_t w)
{
	return w & SKV_DIR_KIND_MASK;
}

static inline uint32_t skv_dir_leaf(uint64_t w)
{
	return (uint32_t)(w >> SKV_DIR_LEAF_SHIFT) & (uint32_t)SKV_LEAF_NUMBER_MASK;
}

static inline uint64_t skv_dir_word(uint64_t kind, uint64_t leaf)
{
	return kind | (leaf << SKV_DIR_LEAF_SHIFT);
}

/* Have the pages of this cell been reserved? */
bool skv_directory_is_ready(const struct skv_map *map, uint32_t level, uint32_t idx);

int skv_directory_route_slow(const struct skv_map *map, struct skv_place place,
			     struct skv_route *ret_route);

/*
 * skv_directory_route - find the leaf that governs a place
 *
 * Returns 0, -EAGAIN (writers kept changing it), -EBADMSG. What was found may change at any
 * moment: whatever is concluded from the leaf holds only if skv_route_holds afterwards.
 */
static inline int skv_directory_route(const struct skv_map *map, struct skv_place place,
				      struct skv_route *ret_route)
{
	/* Acquire: the pages of the level were reserved before the word named it. */
	uint64_t root = skv_load_acquire(&skv_super(map)->root);
	uint32_t level = (uint32_t)(root & 0xff) + (skv_place_prefix(place) < root >> 8);
	struct skv_cell *cell;
	uint64_t w;

	/* Who cannot write trusts nobody: a page that was not reserved must not be touched. */
	if (__builtin_expect(level > map->region.geo.level_max ||
				     (map->region.read_only &&
				      !skv_directory_is_ready(map, level,
							      skv_place_index(place, level))),
			     0))
		return skv_directory_route_slow(map, place, ret_route);
	ret_route->depth = level;
	ret_route->idx = skv_place_index(place, level);
	ret_route->cell = cell = skv_dir_cell(map, level, ret_route->idx);
	/* [finish.switch] -> [route.load]: the leaf was built before it was named. */
	ret_route->v = skv_load_acquire(&cell->v);
	w = skv_load_acquire(&cell->w);
	ret_route->leaf = skv_dir_leaf(w);
	if (__builtin_expect(skv_dir_kind(w) == SKV_DIR_LEAF &&
				     skv_leaf_is_ready(map, ret_route->leaf), 1))
		return 0;
	return skv_directory_route_slow(map, place, ret_route);
}

/* The guard: the same leaf has governed since the route was taken. The caller has put an
 * acquire fence between what it read and this. */
static inline bool skv_route_holds(const struct skv_route *route)
{
	return skv_load_relaxed(&route->cell->v) == route->v;
}

/*
 * skv_directory_prepare - reserve the pages of the two cells that a split needs
 * @depth, @idx: the left child's cell; the right one follows it
 */
int skv_directory_prepare(struct skv_map *map, uint32_t depth, uint32_t idx);

/* Tell where look-ups begin best, after the leaf of this cell was split. A hint. */
void skv_directory_note_split(struct skv_map *map, uint32_t depth, uint32_t idx);

/* An unpublished segment: reserve the first level. */
int skv_directory_init(struct skv_map *map);

#endif

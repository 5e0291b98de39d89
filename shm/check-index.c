/* SPDX-License-Identifier: MIT */
#include "shm/check-walk.h"

#include "shm/chunk.h"
#include "shm/expiry.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * C1 to C5 and C13. Walks by directory cell, so that each leaf is looked at under the guard of
 * the one cell that names it. Whatever looks wrong is written down as a finding and becomes a
 * violation only if the slot and the cell have not moved since.
 */

/* A cell that governs, as it was read, and its leaf. */
struct governed {
	struct skv_cell *cell;
	struct skv_cell seen;
	uint32_t level, idx, leaf;
	struct skv_cell header;
};

struct finding {
	unsigned int number; /* 0: nothing is wrong */
	bool undecided;      /* or it could not be seen */
	char text[200];
};

__attribute__((format(printf, 3, 4))) static void find(struct finding *f, unsigned int number,
						       const char *format, ...)
{
	va_list args;

	f->number = number;
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

static bool still_governs(const struct governed *g)
{
	skv_fence_acquire();
	return skv_load_relaxed(&g->cell->v) == g->seen.v;
}

/* ---- records ---------------------------------------------------------------------- */

/* What a leaf adds to the audit, once it is known to have been one leaf all the time. */
struct sums {
	uint64_t keys, probe_lines, record_bytes, block_bytes;
};

/* The place of the key in a record; false without memory for a copy. */
static bool place_in_record(const struct skv_map *map, uint64_t off, uint64_t key_len,
			    uint64_t *ret_place)
{
	uint8_t small[256], *copy = small;

	if (key_len > sizeof(small)) {
		copy = malloc(key_len);
		if (!copy)
			return false;
	}
	skv_copy_from_shared(copy, map->region.base + off + SKV_RECORD_HEADER, key_len);
	*ret_place = skv_place_of_hash(skv_hash(&map->hash, copy, key_len)).bits;
	if (copy != small)
		free(copy);
	return true;
}

/* C4 and C5 of what a LIVE slot names. */
static void examine_record(struct skv_check_walk *walk, const struct governed *g, uint32_t i,
			   struct skv_cell seen, struct finding *f, struct sums *sums)
{
	struct skv_map *map = walk->map;
	uint64_t off = skv_slot_off(seen.w), stamp, key_len, value_len, place;
	struct skv_cell *found;
	struct skv_span span;
	int r;

	if (!skv_block_locate(map, off, &span) || span.state == SKV_CHUNK_CLAIMED) {
		find(f, 4, "leaf %u slot %u names %#llx, where no block starts", g->leaf, i,
		     (unsigned long long)off);
		return;
	}
	if (!skv_block_is_alloc(skv_block_load(map, off), &stamp)) {
		find(f, 4, "leaf %u slot %u names block %#llx, which is not allocated", g->leaf, i,
		     (unsigned long long)off);
		return;
	}
	if (!skv_index_record(map, off, &key_len, &value_len) ||
	    skv_record_bytes(key_len, value_len) > span.bytes) {
		find(f, 4, "record %#llx is larger than its block", (unsigned long long)off);
		return;
	}
	if ((seen.w & SKV_SLOT_EXPIRES) && !skv_deadline_of(map, seen.w, off)) {
		find(f, 13, "leaf %u slot %u says that its key expires, but not when", g->leaf, i);
		return;
	}
	if (skv_deadline_of(map, seen.w, off) > skv_deadline_after(skv_clock_boot_ns(), SHMKV_TTL_MAX)) {
		find(f, 13, "leaf %u slot %u expires later than anything can", g->leaf, i);
		return;
	}
	if ((seen.w & SKV_SLOT_EXPIRES) && !skv_load_relaxed(&skv_super(map)->expires)) {
		find(f, 13, "leaf %u slot %u expires in a segment where nothing does", g->leaf, i);
		return;
	}
	if (!place_in_record(map, off, key_len, &place)) {
		f->undecided = true;
		return;
	}
	if (place != skv_slot_place(seen.v, seen.w).bits) {
		find(f, 5, "leaf %u slot %u says place %#llx, its key hashes to %#llx", g->leaf, i,
		     (unsigned long long)skv_slot_place(seen.v, seen.w).bits,
		     (unsigned long long)place);
		return;
	}
	r = skv_index_slot_of(map, off, &found);
	if (r == -EAGAIN || r == -ENOMEM) {
		f->undecided = true;
		return;
	}
	if (r == 1 && found != &skv_leaf_at(map, g->leaf)->slots[i]) {
		find(f, 5, "the key in leaf %u slot %u stands in another slot, too", g->leaf, i);
		return;
	}
	if (r != 1) {
		find(f, 5, "a look-up of the key in leaf %u slot %u does not find it (%d)", g->leaf, i, r);
		return;
	}
	skv_check_mark_linked(walk, &span);
	sums->record_bytes += SKV_RECORD_HEADER + key_len + value_len;
	sums->block_bytes += span.bytes;
}

/* ---- slots ------------------------------------------------------------------------ */

static void examine_slot(struct skv_check_walk *walk, const struct governed *g, uint32_t i,
			 struct skv_cell seen, struct finding *f, struct sums *sums)
{
	struct skv_leaf *leaf = skv_leaf_at(walk->map, g->leaf);
	struct skv_cell header;
	struct skv_place place;
	uint32_t line, home;

	if (skv_slot_state(seen.w) > SKV_SLOT_DEAD) {
		find(f, 3, "leaf %u slot %u has no state", g->leaf, i);
		return;
	}
	if ((seen.w & SKV_SLOT_FROZEN) && skv_leaf_state(g->header.w) == SKV_LEAF_LIVE) {
		/* LIVE before the slot was read, and after: LIVE all the time. */
		skv_fence_acquire();
		header = skv_cell_read(&leaf->header);
		if (header.v == g->header.v && header.w == g->header.w) {
			find(f, 3, "leaf %u slot %u is frozen, and the leaf is not being replaced",
			     g->leaf, i);
			return;
		}
	}
	if (skv_slot_state(seen.w) != SKV_SLOT_LIVE)
		return;
	place = skv_slot_place(seen.v, seen.w);
	if (skv_place_index(place, g->level) != g->idx) {
		find(f, 3, "leaf %u slot %u holds a key of another prefix", g->leaf, i);
		return;
	}
	line = i / SKV_LINE_SLOTS;
	home = skv_place_home(place);
	sums->keys++;
	sums->probe_lines += 1 + (line >= home ? line - home : line + SKV_LEAF_LINES - home);
	examine_record(walk, g, i, seen, f, sums);
}

/* False: the leaf governs no more. */
static bool check_slot(struct skv_check_walk *walk, const struct governed *g, uint32_t i,
		       struct sums *sums)
{
	struct skv_cell *slot = &skv_leaf_at(walk->map, g->leaf)->slots[i], seen;
	struct sums before = *sums;
	struct finding f;
	uint32_t tries;

	for (tries = 0; tries < SKV_CHECK_TRIES; tries++) {
		f.number = 0;
		f.undecided = false;
		*sums = before;
		seen = skv_cell_read(slot);
		examine_slot(walk, g, i, seen, &f, sums);
		if (f.number == 0 && !f.undecided)
			return true;
		if (!still_governs(g))
			return false;
		if (f.number != 0 && skv_load_relaxed(&slot->v) == seen.v) {
			skv_check_violated(walk, f.number, "%s", f.text);
			return true;
		}
	}
	walk->audit->undecided++;
	return true;
}

/* ---- leaves ----------------------------------------------------------------------- */

/* C2. False: the cell moved. */
static bool check_header(struct skv_check_walk *walk, struct governed *g)
{
	struct skv_leaf *leaf = skv_leaf_at(walk->map, g->leaf);
	uint64_t depth, prefix;

	g->header = skv_cell_read(&leaf->header);
	depth = skv_load_acquire(&leaf->depth);
	prefix = skv_load_acquire(&leaf->prefix);
	if (!still_governs(g))
		return false;
	if (skv_leaf_state(g->header.w) != SKV_LEAF_LIVE &&
	    skv_leaf_state(g->header.w) != SKV_LEAF_FORWARD) {
		skv_check_violated(walk, 2, "leaf %u governs prefix %#x of %u bits but is not live",
				   g->leaf, g->idx, g->level);
		return true;
	}
	if (depth != g->level || prefix != g->idx)
		skv_check_violated(walk, 2,
				   "leaf %u governs prefix %#x of %u bits but was built for %#llx of %llu",
				   g->leaf, g->idx, g->level, (unsigned long long)prefix,
				   (unsigned long long)depth);
	return true;
}

/* False: the cell moved, look again. The @last look counts for what it has seen. */
static bool check_leaf(struct skv_check_walk *walk, struct governed *g, bool last)
{
	struct sums sums = { 0 };
	bool whole = true;
	uint32_t i;

	if (!check_header(walk, g))
		return false;
	for (i = 0; i < SKV_LEAF_SLOTS && whole; i++)
		whole = check_slot(walk, g, i, &sums);
	if ((!whole || !still_governs(g)) && !last)
		return false;
	walk->audit->undecided += !whole;
	walk->audit->keys += sums.keys;
	walk->audit->probe_lines += sums.probe_lines;
	walk->audit->record_bytes += sums.record_bytes;
	walk->audit->block_bytes += sums.block_bytes;
	return true;
}

/* ---- directory -------------------------------------------------------------------- */

/* Cells that are still to be looked at: depth first, at most one sibling waits per level. */
struct stack {
	uint32_t n;
	struct {
		uint32_t level, idx;
	} item[2 * SKV_PREFIX_BITS + 2];
};

static void push(struct stack *stack, uint32_t level, uint32_t idx)
{
	stack->item[stack->n].level = level;
	stack->item[stack->n++].idx = idx;
}

static bool is_leaf_chunk(const struct skv_map *map, uint32_t leaf)
{
	return skv_leaf_is_ready(map, leaf) &&
	       skv_chunk_state(skv_load_acquire(
		       &skv_chunk_cell(map, leaf / SKV_LEAVES_PER_CHUNK)->w)) == SKV_CHUNK_LEAVES;
}

/* C1, and what lies below. The cell was reached through SPLIT cells only, which stay so. */
static void check_cell(struct skv_check_walk *walk, struct stack *stack, uint32_t level, uint32_t idx)
{
	const struct skv_map *map = walk->map;
	const struct skv_geometry *geo = &map->region.geo;
	struct governed g = { .level = level, .idx = idx };
	uint32_t tries;
	uint64_t kind;

	if (!skv_directory_is_ready(map, level, idx)) {
		skv_check_violated(walk, 1, "level %u cell %u has no memory", level, idx);
		return;
	}
	g.cell = skv_dir_cell(map, level, idx);
	for (tries = 0; tries < SKV_CHECK_TRIES; tries++) {
		g.seen = skv_cell_read(g.cell);
		kind = skv_dir_kind(g.seen.w);
		if (kind == SKV_DIR_SPLIT && level < geo->level_max) {
			push(stack, level + 1, idx * 2 + 1);
			push(stack, level + 1, idx * 2);
			return;
		}
		/* UNBORN governs once the cell above says SPLIT; the first level has none above. */
		if (kind != SKV_DIR_LEAF && (kind != SKV_DIR_UNBORN || level == geo->level_min)) {
			skv_check_violated(walk, 1, "prefix %#x of %u bits is governed by no leaf", idx,
					   level);
			return;
		}
		g.leaf = skv_dir_leaf(g.seen.w);
		if (!is_leaf_chunk(map, g.leaf)) {
			skv_check_violated(walk, 2, "level %u cell %u names no leaf", level, idx);
			return;
		}
		if (check_leaf(walk, &g, tries + 1 == SKV_CHECK_TRIES))
			return;
	}
	walk->audit->undecided++;
}

void skv_check_index(struct skv_check_walk *walk)
{
	uint32_t level_min = walk->map->region.geo.level_min, first, level, idx, n;
	struct stack stack = { .n = 0 };
	uint64_t prefix;

	for (first = 0; first < 1u << level_min; first++) {
		push(&stack, level_min, first);
		while (stack.n > 0) {
			level = stack.item[--stack.n].level;
			idx = stack.item[stack.n].idx;
			n = stack.n;
			check_cell(walk, &stack, level, idx);
			/* Of a SPLIT cell nothing was looked at yet but itself. */
			if (stack.n > n)
				continue;
			prefix = ((uint64_t)idx + 1) << (SKV_PREFIX_BITS - level);
			skv_check_progress(walk, (walk->total / 2 * prefix) >> SKV_PREFIX_BITS);
		}
	}
}

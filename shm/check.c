/* SPDX-License-Identifier: MIT */
#include "shm/check.h"

#include "shm/block.h"
#include "shm/chunk.h"
#include "shm/pin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Walks the directory from its first level down, then every chunk. While somebody writes,
 * what is seen at one place may contradict what was seen at another; in a quiet segment
 * each contradiction is a defect.
 *
 *  C1  every prefix is governed by exactly one LEAF cell; no cell is left UNBORN
 *  C2  the leaf it names is LIVE, knows its prefix, is named once, has no FORWARD parent
 *  C3  a slot is EMPTY, LIVE or DEAD and not frozen; its place lies in the leaf's prefix
 *  C4  a LIVE slot names an allocated block that starts where blocks start; each block once
 *  C5  the key in the block has the place that the slot says, and a look-up finds this slot
 *      (so no key stands twice and no EMPTY precedes it)
 *  C6  an allocated block is linked or named by the intent of its living owner; a retired one is
 *      not linked and held by somebody living; else leaked
 *  C7  a block is FREE with the word of its slab's generation, RETIRED or ALLOC
 *  C8  spans are whole: bodies name their head and lie in it
 *  C9  CLAIMED, DISMANTLE, FORWARD only while somebody living works on them
 *  C10 a slot that EXPIRES names a record with a deadline, and the superblock says that there
 *      are such; whether it has come is no question here
 */

#define BITMAP_WORDS 8u

struct walk {
	struct skv_map *map;
	void (*fn)(const char *violation, void *arg);
	void *arg;
	struct shmkv_audit *audit;
	struct skv_ready ready;
	uint64_t *linked;  /* one bit per possible block of each chunk, as in the hint bitmaps */
	uint8_t *named;    /* one byte per leaf */
};

__attribute__((format(printf, 2, 3))) static void violated(struct walk *walk, const char *format, ...)
{
	char text[256];
	va_list args;

	walk->audit->violations++;
	if (!walk->fn)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	walk->fn(text, walk->arg);
}

/* Marks the block; false if it was marked before. */
static bool mark_linked(struct walk *walk, const struct skv_span *span)
{
	uint64_t *word = &walk->linked[span->head * BITMAP_WORDS + span->idx / 64];
	uint64_t bit = 1ull << (span->idx % 64);

	if (*word & bit)
		return false;
	*word |= bit;
	return true;
}

static bool is_linked(const struct walk *walk, uint64_t head, uint32_t idx)
{
	return walk->linked[head * BITMAP_WORDS + idx / 64] >> (idx % 64) & 1;
}

static void check_record(struct walk *walk, uint32_t leaf, uint32_t slot, struct skv_cell seen)
{
	const struct skv_map *map = walk->map;
	uint64_t off = skv_slot_off(seen.w), stamp, key_len, value_len, place;
	struct skv_span span;
	struct skv_key key;
	uint8_t *copy;
	int r;

	/* A slab that somebody takes apart may be in use: then it becomes a slab again. */
	if (!skv_block_locate(map, off, &span) || span.state == SKV_CHUNK_CLAIMED) {
		violated(walk, "leaf %u slot %u names %#llx, where no block starts", leaf, slot,
			 (unsigned long long)off);
		return;
	}
	if (!skv_block_is_alloc(skv_block_load(map, off), &stamp))
		violated(walk, "leaf %u slot %u names block %#llx, which is not allocated", leaf,
			 slot, (unsigned long long)off);
	if (!mark_linked(walk, &span))
		violated(walk, "block %#llx is linked twice, also by leaf %u slot %u",
			 (unsigned long long)off, leaf, slot);
	if (!skv_index_record(map, off, &key_len, &value_len) ||
	    skv_record_bytes(key_len, value_len) > span.bytes) {
		violated(walk, "record %#llx is larger than its block", (unsigned long long)off);
		return;
	}

	if ((seen.w & SKV_SLOT_EXPIRES) && !skv_deadline_of(map, seen.w, off))
		violated(walk, "leaf %u slot %u says that its key expires, but not when", leaf, slot);
	if ((seen.w & SKV_SLOT_EXPIRES) && !skv_load_relaxed(&skv_super(map)->expires))
		violated(walk, "leaf %u slot %u expires in a segment where nothing does", leaf, slot);
	walk->audit->record_bytes += SKV_RECORD_HEADER + key_len + value_len;
	walk->audit->block_bytes += span.bytes;
	copy = malloc(key_len);
	if (!copy)
		return;
	skv_copy_from_shared(copy, map->region.base + off + SKV_RECORD_HEADER, key_len);
	key.data = copy;
	key.len = key_len;
	place = skv_place_of_hash(skv_hash(&map->hash, key.data, key.len)).bits;
	free(copy);
	if (place != skv_slot_place(seen.v, seen.w).bits)
		violated(walk, "leaf %u slot %u says place %#llx, its key hashes to %#llx", leaf,
			 slot, (unsigned long long)skv_slot_place(seen.v, seen.w).bits,
			 (unsigned long long)place);
	r = skv_index_links(map, off);
	if (r != 1)
		violated(walk, "a look-up of the key in leaf %u slot %u does not find it (%d)", leaf,
			 slot, r);
}

static void check_leaf(struct walk *walk, uint32_t leaf, uint32_t depth, uint32_t idx)
{
	const struct skv_map *map = walk->map;
	struct skv_leaf *at = skv_leaf_at(map, leaf);
	struct skv_cell header = skv_cell_read(&at->header), seen;
	struct skv_place place;
	uint64_t parent;
	uint32_t i, line, home;

	if (walk->named[leaf]++)
		violated(walk, "leaf %u is named by two cells", leaf);
	if (skv_leaf_state(header.w) != SKV_LEAF_LIVE)
		violated(walk, "leaf %u governs prefix %#x of %u bits but is not live", leaf, idx,
			 depth);
	if (skv_load_relaxed(&at->depth) != depth || skv_load_relaxed(&at->prefix) != idx)
		violated(walk, "leaf %u governs another prefix than it was built for", leaf);
	parent = skv_load_relaxed(&at->parent);
	if (parent > 0 && skv_leaf_is_ready(map, parent - 1)) {
		seen = skv_cell_read(&skv_leaf_at(map, parent - 1)->header);
		if (seen.v == skv_load_relaxed(&at->parent_gen) &&
		    skv_leaf_state(seen.w) == SKV_LEAF_FORWARD)
			walk->audit->leaked_leaves++;
	}

	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		seen = skv_cell_read(&at->slots[i]);
		if (seen.w & SKV_SLOT_FROZEN)
			violated(walk, "leaf %u slot %u is frozen", leaf, i);
		if (skv_slot_state(seen.w) > SKV_SLOT_DEAD)
			violated(walk, "leaf %u slot %u has no state", leaf, i);
		if (skv_slot_state(seen.w) != SKV_SLOT_LIVE)
			continue;
		place = skv_slot_place(seen.v, seen.w);
		if (skv_place_index(place, depth) != idx)
			violated(walk, "leaf %u slot %u holds a key of another prefix", leaf, i);
		line = i / SKV_LINE_SLOTS;
		home = skv_place_home(place);
		walk->audit->probe_lines +=
			1 + (line >= home ? line - home : line + SKV_LEAF_LINES - home);
		walk->audit->keys++;
		check_record(walk, leaf, i, seen);
	}
}

static void check_directory(struct walk *walk)
{
	const struct skv_map *map = walk->map;
	const struct skv_geometry *geo = &map->region.geo;
	/* Depth first by hand; per level at most one sibling waits. */
	struct {
		uint32_t level, idx;
	} stack[2 * SKV_PREFIX_BITS + 2];
	uint32_t n, level, idx, first;
	struct skv_cell seen;

	for (first = 0; first < 1u << geo->level_min; first++) {
		n = 0;
		stack[n].level = geo->level_min;
		stack[n++].idx = first;
		while (n > 0) {
			level = stack[--n].level;
			idx = stack[n].idx;
			if (!skv_directory_is_ready(map, level, idx)) {
				violated(walk, "level %u cell %u has no memory", level, idx);
				continue;
			}
			seen = skv_cell_read(skv_dir_cell(map, level, idx));
			if (skv_dir_kind(seen.w) == SKV_DIR_SPLIT && level < geo->level_max) {
				stack[n].level = level + 1;
				stack[n++].idx = idx * 2 + 1;
				stack[n].level = level + 1;
				stack[n++].idx = idx * 2;
				continue;
			}
			if (skv_dir_kind(seen.w) == SKV_DIR_UNBORN)
				walk->audit->leaked_leaves++;
			else if (skv_dir_kind(seen.w) != SKV_DIR_LEAF)
				violated(walk, "prefix %#x of %u bits is governed by no leaf", idx, level);
			if (skv_dir_kind(seen.w) == SKV_DIR_NONE || skv_dir_kind(seen.w) == SKV_DIR_SPLIT)
				continue;
			if (!skv_leaf_is_ready(map, skv_dir_leaf(seen.w)) ||
			    skv_chunk_state(skv_cell_read(skv_chunk_cell(
				    map, skv_dir_leaf(seen.w) / SKV_LEAVES_PER_CHUNK)).w) !=
				    SKV_CHUNK_LEAVES) {
				violated(walk, "level %u cell %u names no leaf", level, idx);
				continue;
			}
			check_leaf(walk, skv_dir_leaf(seen.w), level, idx);
		}
	}
}

/* Is a context at work that is owned by a process which is not dead? */
static bool works(struct walk *walk, uint32_t context)
{
	struct skv_map *map = walk->map;
	int32_t process;
	uint64_t state;

	if (context >= skv_contexts_ready(map))
		return false;
	process = skv_owner_process(skv_load_acquire(&skv_context_at(map, context)->owner));
	return process >= 0 && (uint32_t)process < map->region.geo.n_processes &&
	       !skv_peer_is_dead(&map->region, (uint32_t)process, &state) &&
	       (skv_load_relaxed(&skv_peer_slot(&map->region, (uint32_t)process)->state) &
		SKV_PROCESS_STATE_MASK) != SKV_PROCESS_FREE;
}

static bool held_by_living(struct walk *walk, uint64_t off)
{
	uint32_t i, n = skv_contexts_ready(walk->map);

	for (i = 0; i < n; i++) {
		if (skv_pin_names(walk->map, i, off, 1) && works(walk, i))
			return true;
	}
	return false;
}

static void check_block(struct walk *walk, uint64_t head, const struct skv_span *span, uint64_t off)
{
	const struct skv_map *map = walk->map;
	uint64_t word = skv_block_load(map, off), stamp;
	uint32_t context;

	if (word == skv_block_free_word(map, off, span->gen)) {
		if (span->state == SKV_CHUNK_RUN)
			walk->audit->leaked_chunks += span->bytes / SKV_CHUNK_BYTES;
		return;
	}
	if ((word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_RETIRED) {
		/* Somebody looks at it, or died in doing so. */
		if (is_linked(walk, head, span->idx))
			violated(walk, "block %#llx is retired and linked", (unsigned long long)off);
		if (!held_by_living(walk, off)) {
			walk->audit->leaked_blocks++;
			walk->audit->leaked_bytes += span->bytes;
		}
		return;
	}
	if (!skv_block_is_alloc(word, &stamp)) {
		violated(walk, "block %#llx is neither free nor allocated", (unsigned long long)off);
		return;
	}
	if (is_linked(walk, head, span->idx))
		return;
	context = (uint32_t)(stamp >> SKV_STAMP_COUNTER_BITS);
	if (works(walk, context) &&
	    (skv_load_acquire(&skv_context_at(map, context)->new_off) & ~SKV_INTENT_COMPLETE) == off)
		return;
	walk->audit->leaked_blocks++;
	walk->audit->leaked_bytes += span->bytes;
}

static void check_leaves(struct walk *walk, uint64_t chunk)
{
	const struct skv_map *map = walk->map;
	struct skv_cell header;
	uint64_t leaf;
	uint32_t i;

	for (i = 0; i < SKV_LEAVES_PER_CHUNK; i++) {
		leaf = chunk * SKV_LEAVES_PER_CHUNK + i;
		header = skv_cell_read(&skv_leaf_at(map, leaf)->header);
		switch (skv_leaf_state(header.w)) {
		case SKV_LEAF_LIVE:
			if (!walk->named[leaf])
				violated(walk, "leaf %llu is live and governs nothing",
					 (unsigned long long)leaf);
			break;
		case SKV_LEAF_CLAIMED:
			if (!works(walk, skv_leaf_claimer(header.w)))
				walk->audit->leaked_leaves++;
			break;
		case SKV_LEAF_FORWARD:
			walk->audit->leaked_leaves++;
			break;
		case SKV_LEAF_FREE:
		case SKV_LEAF_SPENT:
			break;
		default:
			violated(walk, "leaf %llu has no state", (unsigned long long)leaf);
		}
	}
}

static uint64_t span_chunks(struct skv_cell seen)
{
	if (skv_chunk_state(seen.w) == SKV_CHUNK_RUN)
		return skv_chunk_arg(seen.w);
	if (skv_chunk_class(seen.w) != SKV_CLASS_LEAF && skv_chunk_class(seen.w) < skv_n_classes)
		return skv_class_span(skv_chunk_class(seen.w));
	return 1;
}

static void check_chunks(struct walk *walk)
{
	const struct skv_map *map = walk->map;
	uint64_t i, head, off, j;
	struct skv_cell seen, above;
	struct skv_span span;

	SKV_FOR_EACH_CHUNK (map, walk->ready, i) {
		seen = skv_cell_read(skv_chunk_cell(map, i));
		off = skv_chunk_off(map, i);
		switch (skv_chunk_state(seen.w)) {
		case SKV_CHUNK_FREE:
			break;
		case SKV_CHUNK_LEAVES:
			check_leaves(walk, i);
			break;
		case SKV_CHUNK_SLAB:
		case SKV_CHUNK_RUN:
			if (!skv_block_locate(map, off, &span)) {
				violated(walk, "chunk %llu describes no span", (unsigned long long)i);
				break;
			}
			for (j = 1; j < span_chunks(span.seen); j++) {
				above = skv_cell_read(skv_chunk_cell(map, i + j));
				if ((skv_chunk_state(above.w) != SKV_CHUNK_BODY ||
				     skv_chunk_arg(above.w) != i) &&
				    skv_block_load(map, off) !=
					    skv_block_free_word(map, off, span.gen))
					violated(walk, "chunk %llu is missing from the span at %llu",
						 (unsigned long long)(i + j), (unsigned long long)i);
			}
			if (span.state == SKV_CHUNK_RUN) {
				check_block(walk, i, &span, off);
				break;
			}
			for (j = 0; j < skv_class_blocks(span.class); j++) {
				span.idx = (uint32_t)j;
				check_block(walk, i, &span, off + j * span.bytes);
			}
			break;
		case SKV_CHUNK_BODY:
			head = skv_chunk_arg(seen.w);
			above.w = 0;
			if (head < i && skv_chunk_is_ready(map, head))
				above = skv_cell_read(skv_chunk_cell(map, head));
			if (head >= i || (skv_chunk_state(above.w) != SKV_CHUNK_SLAB &&
					  skv_chunk_state(above.w) != SKV_CHUNK_RUN &&
					  skv_chunk_state(above.w) != SKV_CHUNK_DISMANTLE &&
					  skv_chunk_state(above.w) != SKV_CHUNK_CLAIMED))
				walk->audit->leaked_chunks++;
			break;
		case SKV_CHUNK_CLAIMED:
		case SKV_CHUNK_DISMANTLE:
			if (!works(walk, skv_chunk_context(seen.w)))
				walk->audit->leaked_chunks++;
			break;
		default:
			violated(walk, "chunk %llu has no state", (unsigned long long)i);
		}
	}
}

int skv_check(struct skv_map *map, void (*fn)(const char *violation, void *arg), void *arg,
	      struct shmkv_audit *audit)
{
	struct walk walk = { map, fn, arg, audit, skv_chunks_ready(map), NULL, NULL };
	uint64_t n_chunks = map->region.geo.n_chunks;
	int r = -ENOMEM;

	walk.linked = calloc(n_chunks * BITMAP_WORDS + 1, sizeof(*walk.linked));
	walk.named = calloc(n_chunks * SKV_LEAVES_PER_CHUNK + 1, 1);
	if (walk.linked && walk.named) {
		check_directory(&walk);
		check_chunks(&walk);
		r = audit->violations || audit->leaked_blocks || audit->leaked_leaves ||
				    audit->leaked_chunks ?
			    -EBADMSG :
			    0;
	}
	free(walk.linked);
	free(walk.named);
	return r;
}

/* SPDX-License-Identifier: MIT */
#include "shm/check-walk.h"

#include "shm/chunk.h"
#include "shm/leaf.h"

#include <errno.h>

/*
 * C6 to C10 and the leaks L1 to L3: every chunk that is there, as its cell says, confirmed by the
 * cell's version.
 */

static bool unchanged(const struct skv_cell *cell, struct skv_cell seen)
{
	skv_fence_acquire();
	return skv_load_relaxed(&cell->v) == seen.v && skv_load_relaxed(&cell->w) == seen.w;
}

/* ---- leaks ------------------------------------------------------------------------ */

static void leak_block(struct skv_check_walk *walk, enum skv_holder holder, uint64_t bytes)
{
	walk->audit->leaked_blocks++;
	walk->audit->leaked_bytes += bytes;
	if (holder == SKV_HOLDER_DEAD) {
		walk->audit->dead_blocks++;
		walk->audit->dead_bytes += bytes;
	}
}

static void leak_leaf(struct skv_check_walk *walk, enum skv_holder holder)
{
	walk->audit->leaked_leaves++;
	walk->audit->dead_leaves += holder == SKV_HOLDER_DEAD;
}

static void leak_chunks(struct skv_check_walk *walk, enum skv_holder holder, uint64_t n)
{
	walk->audit->leaked_chunks += n;
	if (holder == SKV_HOLDER_DEAD)
		walk->audit->dead_chunks += n;
}

/* How many looks a leak needs: see check.c. */
#define LOOKS_ALLOC 2u
#define LOOKS_RETIRED 4u

/* L1: a block with this state word that the index walk has not met. */
static void check_lost(struct skv_check_walk *walk, uint64_t off, uint64_t word, uint64_t bytes)
{
	struct skv_map *map = walk->map;
	enum skv_holder holder = SKV_HOLDER_NONE;
	bool retired = (word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_RETIRED;
	uint32_t look;
	int r;

	for (look = 0; look < (retired ? LOOKS_RETIRED : LOOKS_ALLOC); look++) {
		/* RETIRED: not linked any more, for good. */
		r = retired ? 0 : skv_index_links(map, off);
		if (r == 1)
			return;
		holder = skv_check_block_holder(walk, off);
		skv_fence_acquire();
		if (skv_block_load(map, off) != word || holder == SKV_HOLDER_LIVING)
			return;
		if (r == -EAGAIN || r == -ENOMEM) {
			walk->audit->undecided++;
			return;
		}
	}
	leak_block(walk, holder, bytes);
}

/* ---- blocks ----------------------------------------------------------------------- */

/* C6: was this stamp given out? The counter moves before the stamp is used. */
static bool is_stamp(const struct skv_map *map, uint64_t stamp)
{
	uint64_t context = stamp >> SKV_STAMP_COUNTER_BITS;

	return context < skv_contexts_ready(map) &&
	       (stamp & SKV_STAMP_COUNTER_MAX) <=
		       skv_load_acquire(&skv_context_at(map, (uint32_t)context)->stamp_next);
}

/* False: the span has moved on. @span: as read from its head. */
static bool check_block(struct skv_check_walk *walk, const struct skv_span *span, uint64_t off)
{
	struct skv_map *map = walk->map;
	const struct skv_cell *cell = skv_chunk_cell(map, span->head);
	uint64_t word = skv_block_load(map, off), stamp = word >> 2;
	const char *wrong = NULL;

	switch (word & SKV_BLOCK_STATE_MASK) {
	case SKV_BLOCK_FREE:
		if (word != skv_block_free_word(map, off, span->gen))
			wrong = "is neither free in this life of its slab nor allocated";
		break;
	case SKV_BLOCK_BUSY:
		if (span->state != SKV_CHUNK_DISMANTLE)
			wrong = "is being taken apart, and its slab is not";
		break;
	default:
		if (!is_stamp(map, stamp))
			wrong = "is allocated with a stamp that was never given out";
		break;
	}
	if (wrong) {
		if (!unchanged(cell, span->seen) || skv_block_load(map, off) != word)
			return false;
		skv_check_violated(walk, 6, "block %#llx %s", (unsigned long long)off, wrong);
		return true;
	}
	if ((word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_FREE ||
	    (word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_BUSY)
		return true;
	if ((word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_RETIRED && skv_index_links(map, off) == 1 &&
	    skv_block_load(map, off) == word) {
		skv_check_violated(walk, 7, "block %#llx is retired and linked", (unsigned long long)off);
		return true;
	}
	if ((word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_RETIRED ||
	    !skv_check_is_linked(walk, span->head, span->idx))
		check_lost(walk, off, word, span->bytes);
	return true;
}

/* L3: the record of a large one is free, its chunks are not. */
static void check_unreturned(struct skv_check_walk *walk, const struct skv_span *span, uint64_t off)
{
	enum skv_holder holder = skv_check_block_holder(walk, off);
	bool others = skv_check_others_work(walk);

	if (holder == SKV_HOLDER_LIVING ||
	    !unchanged(skv_chunk_cell(walk->map, span->head), span->seen))
		return;
	if (holder == SKV_HOLDER_NONE && others) {
		walk->audit->undecided++;
		return;
	}
	leak_chunks(walk, holder, span->bytes / SKV_CHUNK_BYTES);
	if (holder == SKV_HOLDER_NONE)
		walk->audit->unreturned_chunks += span->bytes / SKV_CHUNK_BYTES;
}

/* ---- spans ------------------------------------------------------------------------ */

static uint64_t span_chunks(const struct skv_span *span)
{
	return span->state == SKV_CHUNK_RUN ? skv_chunk_arg(span->seen.w) : skv_class_span(span->class);
}

/* C8 from the head. False: the span has moved on. */
static bool check_bodies(struct skv_check_walk *walk, const struct skv_span *span, uint64_t off)
{
	struct skv_map *map = walk->map;
	struct skv_cell body;
	uint64_t i;

	for (i = 1; i < span_chunks(span); i++) {
		body = skv_cell_read(skv_chunk_cell(map, span->head + i));
		if (skv_chunk_state(body.w) == SKV_CHUNK_BODY && skv_chunk_arg(body.w) == span->head)
			continue;
		/* The bodies of a run go when its record is free: not a word too soon. */
		skv_fence_acquire();
		if (span->state == SKV_CHUNK_RUN &&
		    skv_block_load(map, off) == skv_block_free_word(map, off, span->gen))
			return true;
		if (!unchanged(skv_chunk_cell(map, span->head), span->seen))
			return false;
		skv_check_violated(walk, 8, "chunk %llu is missing from the span at %llu",
				   (unsigned long long)(span->head + i),
				   (unsigned long long)span->head);
	}
	return true;
}

/* @seen: the cell, which says that a span begins here. False: it has moved on. */
static bool check_span(struct skv_check_walk *walk, uint64_t chunk, struct skv_cell seen)
{
	struct skv_map *map = walk->map;
	uint64_t off = skv_chunk_off(map, chunk), n, i;
	struct skv_span span;

	if (!skv_block_locate(map, off, &span) || span.head != chunk) {
		if (!unchanged(skv_chunk_cell(map, chunk), seen))
			return false;
		skv_check_violated(walk, 8, "chunk %llu describes no span", (unsigned long long)chunk);
		return true;
	}
	if (span.state == SKV_CHUNK_CLAIMED || !check_bodies(walk, &span, off))
		return false;
	if (span.state == SKV_CHUNK_RUN) {
		if (skv_block_load(map, off) != skv_block_free_word(map, off, span.gen))
			return check_block(walk, &span, off);
		check_unreturned(walk, &span, off);
		return true;
	}
	for (i = 0, n = skv_class_blocks(span.class); i < n; i++, off += span.bytes) {
		span.idx = (uint32_t)i;
		if (!check_block(walk, &span, off))
			return false;
	}
	return true;
}

/* C8 from a body. */
static bool check_body(struct skv_check_walk *walk, uint64_t chunk, struct skv_cell seen)
{
	struct skv_map *map = walk->map;
	uint64_t head = skv_chunk_arg(seen.w), n = 0;
	struct skv_cell at = { 0, 0 };
	uint32_t state = SKV_CHUNK_FREE;

	if (head < chunk && skv_chunk_is_ready(map, head)) {
		at = skv_cell_read(skv_chunk_cell(map, head));
		state = skv_chunk_state(at.w);
	}
	if (state == SKV_CHUNK_RUN)
		n = skv_chunk_arg(at.w);
	else if (state == SKV_CHUNK_SLAB || state == SKV_CHUNK_DISMANTLE)
		n = skv_chunk_class(at.w) < skv_n_classes ? skv_class_span(skv_chunk_class(at.w)) : 0;
	else if (state == SKV_CHUNK_CLAIMED)
		n = UINT64_MAX; /* on its way to a span, or from one */
	if (chunk - head < n && head < chunk)
		return true;
	if (!unchanged(skv_chunk_cell(map, chunk), seen))
		return false;
	skv_check_violated(walk, 8, "chunk %llu says that it belongs to a span at %llu, which is none "
			   "or does not reach so far", (unsigned long long)chunk,
			   (unsigned long long)head);
	return true;
}

/* L3: claimed, or a slab being taken apart. */
static bool check_claim(struct skv_check_walk *walk, uint64_t chunk, struct skv_cell seen)
{
	enum skv_holder holder = skv_check_claim_holder(walk, skv_chunk_context(seen.w), chunk);

	if (!unchanged(skv_chunk_cell(walk->map, chunk), seen))
		return false;
	if (holder != SKV_HOLDER_LIVING)
		leak_chunks(walk, holder, 1);
	return skv_chunk_state(seen.w) != SKV_CHUNK_DISMANTLE ||
	       check_span(walk, chunk, seen);
}

/* ---- leaves that the directory need not name ---------------------------------------- */

/* C9 of a leaf that is LIVE: first the parent, then the cell, then the leaf once more. The
 * parent is done with it only when the cell names it. */
static bool check_live_leaf(struct skv_check_walk *walk, uint32_t leaf, struct skv_cell seen)
{
	struct skv_map *map = walk->map;
	struct skv_leaf *at = skv_leaf_at(map, leaf);
	uint64_t parent = skv_load_acquire(&at->parent), parent_gen = skv_load_acquire(&at->parent_gen);
	uint64_t depth = skv_load_acquire(&at->depth), prefix = skv_load_acquire(&at->prefix);
	struct skv_cell above, cell;

	if (parent > 0 && skv_leaf_is_ready(map, parent - 1)) {
		above = skv_cell_read(&skv_leaf_at(map, parent - 1)->header);
		if (above.v == parent_gen && skv_leaf_state(above.w) == SKV_LEAF_FORWARD)
			return true;
	}
	if (depth <= map->region.geo.level_max && depth >= map->region.geo.level_min &&
	    prefix >> depth == 0 && skv_directory_is_ready(map, (uint32_t)depth, (uint32_t)prefix)) {
		cell = skv_cell_read(skv_dir_cell(map, (uint32_t)depth, (uint32_t)prefix));
		if ((skv_dir_kind(cell.w) == SKV_DIR_LEAF || skv_dir_kind(cell.w) == SKV_DIR_UNBORN) &&
		    skv_dir_leaf(cell.w) == leaf)
			return true;
	}
	if (!unchanged(&at->header, seen))
		return false;
	skv_check_violated(walk, 9, "leaf %u is live and governs nothing", leaf);
	return true;
}

/* False: it has moved on. */
static bool check_leaf(struct skv_check_walk *walk, uint32_t leaf)
{
	struct skv_leaf *at = skv_leaf_at(walk->map, leaf);
	struct skv_cell seen = skv_cell_read(&at->header);
	enum skv_holder holder;

	switch (skv_leaf_state(seen.w)) {
	case SKV_LEAF_FREE:
	case SKV_LEAF_SPENT:
		return true;
	case SKV_LEAF_LIVE:
		return check_live_leaf(walk, leaf, seen);
	case SKV_LEAF_CLAIMED:
		holder = skv_check_child_holder(walk, skv_leaf_claimer(seen.w), leaf);
		break;
	case SKV_LEAF_FORWARD:
		holder = skv_check_rebuild_holder(walk, leaf, seen.v);
		break;
	default:
		skv_check_violated(walk, 9, "leaf %u has no state", leaf);
		return true;
	}
	if (!unchanged(&at->header, seen))
		return false;
	if (holder != SKV_HOLDER_LIVING)
		leak_leaf(walk, holder);
	return true;
}

static void check_leaves(struct skv_check_walk *walk, uint64_t chunk)
{
	uint32_t i, tries;

	for (i = 0; i < SKV_LEAVES_PER_CHUNK; i++) {
		for (tries = 0; tries < SKV_CHECK_TRIES; tries++) {
			if (check_leaf(walk, (uint32_t)chunk * SKV_LEAVES_PER_CHUNK + i))
				break;
		}
		walk->audit->undecided += tries == SKV_CHECK_TRIES;
	}
}

/* ---- chunks ----------------------------------------------------------------------- */

/* False: it has moved on. */
static bool check_chunk(struct skv_check_walk *walk, uint64_t chunk)
{
	struct skv_cell seen = skv_cell_read(skv_chunk_cell(walk->map, chunk));

	switch (skv_chunk_state(seen.w)) {
	case SKV_CHUNK_FREE:
		return true;
	case SKV_CHUNK_LEAVES:
		check_leaves(walk, chunk);
		return true;
	case SKV_CHUNK_SLAB:
	case SKV_CHUNK_RUN:
		return check_span(walk, chunk, seen);
	case SKV_CHUNK_BODY:
		return check_body(walk, chunk, seen);
	case SKV_CHUNK_CLAIMED:
	case SKV_CHUNK_DISMANTLE:
		return check_claim(walk, chunk, seen);
	default:
		skv_check_violated(walk, 10, "chunk %llu has no state", (unsigned long long)chunk);
		return true;
	}
}

/* What was counted in a look that did not come to its end is counted again by the next. */
static void forget_leaks(struct skv_check_walk *walk, const struct shmkv_audit *before)
{
	struct shmkv_audit *audit = walk->audit;
	uint64_t violations = audit->violations, violated = audit->violated;

	*audit = *before;
	audit->violations = violations;
	audit->violated = violated;
}

void skv_check_memory(struct skv_check_walk *walk)
{
	struct shmkv_audit before;
	uint64_t i, n = 0;
	uint32_t tries;

	SKV_FOR_EACH_CHUNK (walk->map, walk->ready, i) {
		before = *walk->audit;
		for (tries = 0; tries < SKV_CHECK_TRIES; tries++) {
			if (check_chunk(walk, i))
				break;
			forget_leaks(walk, &before);
		}
		walk->audit->undecided += tries == SKV_CHECK_TRIES;
		skv_check_progress(walk, walk->total / 2 + ++n);
	}
}

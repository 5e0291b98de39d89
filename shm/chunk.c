/* SPDX-License-Identifier: MIT */
#include "shm/chunk.h"

#include "base/fault.h"
#include "shm/block.h"

#include <errno.h>

/*
 * Purpose. The segment's memory is handed out in chunks; a versioned cell per chunk says
 * what it is. A use that needs several neighbours is a span: a head whose cell describes
 * it, and bodies that name the head.
 *
 *              claim ascending                publish: bodies first, head last
 *     FREE ─────────────────────► CLAIMED(ctx) ─────────────► SLAB(class, gen)
 *      ▲ ▲                             │    │ ├─────────────► RUN(n)      bodies: BODY(head)
 *      │ │        lost a race, or      │    │ └─────────────► LEAVES      for ever
 *      │ └─────────────────────────────┘    │
 *      │   the claimer died: reaper         │
 *      ├──────────── RUN, its record FREE: bodies descending, head last
 *      └── CLAIMED(ctx) ◄── DISMANTLE(ctx) ◄──► SLAB    all its blocks were FREE (arena.c)
 *
 * LEAVES never becomes anything else, so a stalled helper of a leaf always finds a leaf.
 *
 * Claims ascend: of any set of overlapping claims the highest is not blocked by the others,
 * so one of them succeeds; the others roll back and look elsewhere, nobody waits.
 *
 * The intent (chunk_first, chunk_len) is written before the first claim and names all of
 * them. Every change is a compare-and-swap that steps the version.
 *
 * Growth: rows of the tables and the chunks themselves are reserved first, the watermark
 * moves after that. Nobody touches anything between the two watermarks: leaves take chunks
 * from the bottom and records from the top, so that the chunks which stay leaves for ever
 * lie together and a large record can always have what small ones gave back. Only when the
 * two have met does either use free chunks of the other end.
 *
 * A process dies                                     left                      repaired by
 *  after reserving, before the watermark             memory nobody uses yet    next growth
 *  (GROW_RESERVED)
 *  some chunks claimed (CLAIM_CHUNK)                 CLAIMED(dead)             reaper, intent
 *  slab: FREE words written (SLAB_BUILT)             CLAIMED(dead)             reaper, intent
 *  slab or run: bodies set, head not                 head CLAIMED(dead),       reaper, intent
 *  (SPAN_BODIES)                                     BODY(head)
 *  head set, intent not cleared (SPAN_PUBLISHED)     a finished span           reaper: nothing
 *  leaf chunk zeroed, not LEAVES (LEAVES_ZEROED)     CLAIMED(dead)             reaper, intent
 *  run given back in part (RUN_BODY_RETURNED)        RUN, record FREE          reaper by "old",
 *                                                                              sweep of chunks
 *  all bodies back, head not (RUN_HEAD_LEFT)         RUN, record FREE          likewise
 *  slab no slab any more (SLAB_UNMADE), bodies       head CLAIMED(dead)        reaper, intent
 *  back, head not (SLAB_BODY_RETURNED)
 */

/* 128 KiB: about 15 us to reserve and clear. */
#define GROW_CHUNKS 8u

#define HUGE_CHUNKS (SKV_HUGE_BYTES / SKV_CHUNK_BYTES)

/* How often a claim that met another one looks again before it gives up: of any overlapping
 * claims one succeeds, and a claim that stands for longer is that of somebody stopped. */
#define CLAIM_TRIES 4u

static bool change(const struct skv_map *map, uint64_t chunk, struct skv_cell seen, uint64_t w)
{
	return skv_cell_cas(skv_chunk_cell(map, chunk), seen, seen.v + 1, w);
}

/*
 * There is memory again. From here on what is freed goes to private caches and is not
 * counted, so the searches that failed until now say nothing any more: the count moves after
 * the flag, and whoever raises the flag reads the count after that.
 */
static void memory_came(struct skv_superblock *super)
{
	skv_add_relaxed(&super->n_chunks_came, 1);
	if (!skv_load_relaxed(&super->low_memory))
		return;
	skv_store_relaxed(&super->low_memory, 0);
	skv_fence_release();
	skv_add_relaxed(&super->n_freed, 1);
}

/* The pages of a table that rows [from, to) need and that no row outside of them, on the
 * side that is there already, has needed. */
static int reserve_rows(struct skv_map *map, uint64_t table_off, uint64_t row_bits, uint64_t from,
			uint64_t to, enum skv_end end)
{
	const uint64_t mask = SKV_PAGE - 1;
	uint64_t lo = table_off + from * row_bits / 8;
	uint64_t hi = table_off + (to * row_bits + 7) / 8;

	if (end == SKV_END_LEAVES && from > 0)
		lo = (lo + mask) & ~mask;
	if (end == SKV_END_RECORDS && to < map->region.geo.n_chunks)
		hi &= ~mask;
	return hi > lo ? skv_region_reserve(&map->region, lo, hi - lo) : 0;
}

uint64_t skv_chunk_first_leaves(const struct skv_map *map)
{
	uint64_t n = 1ull << map->region.geo.level_min;

	/* One more chunk of leaves than are named: the reserve that compaction lives on. */
	return (n + SKV_LEAVES_PER_CHUNK - 1) / SKV_LEAVES_PER_CHUNK + 1;
}

/*
 * By how much an end grows when @n chunks are wanted: a step at least, and where memory comes as
 * huge pages, up to the next border of one. At most what is left.
 */
static uint64_t growth(const struct skv_map *map, struct skv_ready ready, uint64_t n,
		       enum skv_end end)
{
	uint64_t left = ready.high - ready.low;

	n = n > GROW_CHUNKS ? n : GROW_CHUNKS;
	if (n < left && map->region.geo.huge == SHMKV_HUGE_EAGER)
		n = end == SKV_END_LEAVES ?
			    skv_round_up(ready.low + n, HUGE_CHUNKS) - ready.low :
			    ready.high - (ready.high - n) / HUGE_CHUNKS * HUGE_CHUNKS;
	return n < left ? n : left;
}

uint64_t skv_chunk_run_max(const struct skv_map *map)
{
	struct skv_ready none = { 0, map->region.geo.n_chunks };

	/* The bottom grew by a whole step for them, and the two ends are not one stretch. */
	return none.high - growth(map, none, skv_chunk_first_leaves(map), SKV_END_LEAVES);
}

int skv_chunk_grow(struct skv_map *map, uint64_t n, enum skv_end end)
{
	struct skv_superblock *super = skv_super(map);
	const struct skv_geometry *geo = &map->region.geo;
	uint64_t seen = skv_load_acquire(&super->chunks_ready);
	struct skv_ready ready = skv_ready_of(map, seen);
	uint64_t from;
	int r;

	if (ready.high == ready.low || n > geo->n_chunks)
		return -ENOSPC;
	n = growth(map, ready, n, end);
	from = end == SKV_END_LEAVES ? ready.low : ready.high - n;

	r = reserve_rows(map, geo->cell_off, 128, from, from + n, end);
	if (r == 0)
		r = reserve_rows(map, geo->bitmap_off, 512, from, from + n, end);
	if (r == 0)
		r = reserve_rows(map, geo->summary_off, 1, from, from + n, end);
	if (r == 0)
		r = skv_region_reserve(&map->region, skv_chunk_off(map, from), n * SKV_CHUNK_BYTES);
	if (r < 0)
		return r;

	SKV_FAULT(GROW_RESERVED);
	/* Lost: another process has moved either end; what was reserved is used later. */
	if (skv_cas(&super->chunks_ready, seen,
		    end == SKV_END_LEAVES ? seen + n : seen + (n << 32))) {
		skv_add_relaxed(&super->n_chunks_free[end], n);
		if (end == SKV_END_RECORDS)
			skv_store_relaxed(&super->chunk_cursor, from);
		memory_came(super);
	}
	return 0;
}

/* The end that a chunk was taken from. */
static enum skv_end end_of(const struct skv_map *map, uint64_t chunk)
{
	return chunk < skv_chunks_ready(map).low ? SKV_END_LEAVES : SKV_END_RECORDS;
}

static void count_free(const struct skv_map *map, uint64_t chunk, int64_t n)
{
	skv_add_relaxed(&skv_super(map)->n_chunks_free[end_of(map, chunk)], (uint64_t)n);
}

static void set_intent(struct skv_writer *writer, uint64_t first, uint64_t n)
{
	struct skv_context *ctx = writer->ctx;

	/* first = 0 means none: it is cleared before the length changes. */
	skv_store_release(&ctx->chunk_first, 0);
	skv_store_release(&ctx->chunk_len, n);
	skv_store_release(&ctx->chunk_first, first + 1);
}

static void clear_intent(struct skv_writer *writer)
{
	skv_store_release(&writer->ctx->chunk_first, 0);
}

void skv_chunk_unclaim(struct skv_writer *writer, uint64_t first, uint64_t n)
{
	const struct skv_map *map = writer->map;
	struct skv_cell seen;
	uint64_t i, n_free = 0;

	for (i = n; i-- > 0;) {
		seen = skv_cell_read(skv_chunk_cell(map, first + i));
		if (skv_chunk_state(seen.w) == SKV_CHUNK_CLAIMED &&
		    skv_chunk_context(seen.w) == writer->idx &&
		    change(map, first + i, seen, SKV_CHUNK_FREE))
			n_free++;
	}
	count_free(map, first, (int64_t)n_free);
	/* Who met the claim and gave up may look again. */
	if (n_free > 0)
		skv_add_relaxed(&skv_super(map)->n_freed, 1);
	clear_intent(writer);
}

/* Claims the stretch or nothing; *ret_busy tells where it failed. */
static bool claim_stretch(struct skv_writer *writer, uint64_t first, uint64_t n, uint64_t *ret_busy)
{
	const struct skv_map *map = writer->map;
	struct skv_cell seen;
	uint64_t i;

	set_intent(writer, first, n);
	for (i = 0; i < n; i++) {
		seen = skv_cell_read(skv_chunk_cell(map, first + i));
		if (skv_chunk_state(seen.w) != SKV_CHUNK_FREE ||
		    !change(map, first + i, seen,
			    skv_chunk_word(SKV_CHUNK_CLAIMED, 0, writer->idx, 0)))
			break;
		count_free(map, first + i, -1);
		SKV_FAULT(CLAIM_CHUNK);
	}
	if (i == n)
		return true;
	*ret_busy = first + i;
	skv_chunk_unclaim(writer, first, i);
	return false;
}

/* The first stretch of free chunks in [from, to), claimed; false when there is none. */
static bool claim_between(struct skv_writer *writer, uint64_t n, uint64_t from, uint64_t to,
			  uint64_t *ret_first, bool *ret_conflict)
{
	const struct skv_map *map = writer->map;
	uint64_t i, start = from, busy;
	uint32_t state;

	for (i = from; i < to; i++) {
		state = skv_chunk_state(skv_load_relaxed(&skv_chunk_cell(map, i)->w));
		if (state != SKV_CHUNK_FREE) {
			/* Perhaps of somebody who will roll back. */
			if (state == SKV_CHUNK_CLAIMED)
				*ret_conflict = true;
			start = i + 1;
			continue;
		}
		if (i + 1 - start < n)
			continue;
		if (claim_stretch(writer, start, n, &busy)) {
			*ret_first = start;
			return true;
		}
		*ret_conflict = true;
		start = busy + 1;
		i = busy;
	}
	return false;
}

/* The counts of free chunks are hints and drift; this makes them right, about. */
static void recount(struct skv_map *map)
{
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t n[2] = { 0, 0 }, i;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		if (skv_chunk_state(skv_load_relaxed(&skv_chunk_cell(map, i)->w)) == SKV_CHUNK_FREE)
			n[i < ready.low ? SKV_END_LEAVES : SKV_END_RECORDS]++;
	}
	skv_store_relaxed(&skv_super(map)->n_chunks_free[SKV_END_LEAVES], n[SKV_END_LEAVES]);
	skv_store_relaxed(&skv_super(map)->n_chunks_free[SKV_END_RECORDS], n[SKV_END_RECORDS]);
}

/* Among the free chunks of one end. */
static bool claim_at(struct skv_writer *writer, uint64_t n, enum skv_end end, uint64_t *ret_first,
		     bool *ret_conflict)
{
	struct skv_map *map = writer->map;
	uint64_t *n_free = &skv_super(map)->n_chunks_free[end];
	uint64_t *cursor = &skv_super(map)->chunk_cursor;
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t from = end == SKV_END_LEAVES ? 0 : ready.high;
	uint64_t to = end == SKV_END_LEAVES ? ready.low : map->region.geo.n_chunks;
	uint64_t start = skv_load_relaxed(cursor);
	bool conflict = false;

	if ((int64_t)skv_load_relaxed(n_free) < (int64_t)n)
		return false;
	/* Runs are looked for from the edge, where the free stretches are longest. */
	if (n > SKV_CLASS_SPAN_MAX || start < from || start >= to)
		start = from;
	if (claim_between(writer, n, start, to, ret_first, &conflict) ||
	    (start > from && claim_between(writer, n, from, start + n < to ? start + n : to,
					   ret_first, &conflict))) {
		if (end == SKV_END_RECORDS)
			skv_store_relaxed(cursor, *ret_first + n);
		return true;
	}
	if (n == 1 && !conflict)
		skv_store_relaxed(n_free, 0);
	*ret_conflict |= conflict;
	return false;
}

int skv_chunk_claim(struct skv_writer *writer, uint64_t n, enum skv_end end, bool thorough,
		    uint64_t *ret_first)
{
	struct skv_map *map = writer->map;
	enum skv_end other = end == SKV_END_LEAVES ? SKV_END_RECORDS : SKV_END_LEAVES;
	unsigned int tries = 0;
	bool conflict;
	int r;

	if (thorough)
		recount(map);
	for (;;) {
		conflict = false;
		if (claim_at(writer, n, end, ret_first, &conflict))
			return 0;
		r = skv_chunk_grow(map, n, end);
		if (r == 0)
			continue; /* ends at the limit of the segment */
		/* Nothing new to be had: the other end's free chunks serve as well. */
		if (claim_at(writer, n, other, ret_first, &conflict))
			return 0;
		if (!conflict || ++tries == CLAIM_TRIES)
			return r;
		/* Lost to somebody who made progress, or who will roll back. */
	}
}

static void set_bodies(struct skv_writer *writer, uint64_t first, uint64_t n)
{
	const struct skv_map *map = writer->map;
	uint64_t i;

	for (i = 1; i < n; i++)
		change(map, first + i, skv_cell_read(skv_chunk_cell(map, first + i)),
		       skv_chunk_word(SKV_CHUNK_BODY, 0, 0, first));
	SKV_FAULT(SPAN_BODIES);
}

uint64_t skv_chunk_publish_slab(struct skv_writer *writer, uint64_t first, uint32_t class)
{
	const struct skv_map *map = writer->map;
	struct skv_cell seen = skv_cell_read(skv_chunk_cell(map, first));
	uint64_t birth = (seen.v + 1) & ((1ull << 40) - 1);
	uint64_t gen = skv_chunk_generation(first, birth);
	uint32_t i, n = skv_class_blocks(class);
	uint64_t off = skv_chunk_off(map, first);

	for (i = 0; i < n; i++, off += skv_class_bytes[class])
		skv_block_store(map, off, skv_block_free_word(map, off, gen));
	SKV_FAULT(SLAB_BUILT);
	set_bodies(writer, first, skv_class_span(class));
	change(map, first, seen, skv_chunk_word(SKV_CHUNK_SLAB, class, 0, birth));
	SKV_FAULT(SPAN_PUBLISHED);
	clear_intent(writer);
	return gen;
}

void skv_chunk_publish_run(struct skv_writer *writer, uint64_t first, uint64_t n)
{
	const struct skv_map *map = writer->map;
	struct skv_cell seen = skv_cell_read(skv_chunk_cell(map, first));

	set_bodies(writer, first, n);
	change(map, first, seen, skv_chunk_word(SKV_CHUNK_RUN, 0, 0, n));
	SKV_FAULT(SPAN_PUBLISHED);
	clear_intent(writer);
}

void skv_chunk_publish_leaves(struct skv_writer *writer, uint64_t chunk)
{
	const struct skv_map *map = writer->map;
	struct skv_cell seen = skv_cell_read(skv_chunk_cell(map, chunk));
	uint64_t *word = (uint64_t *)(void *)(map->region.base + skv_chunk_off(map, chunk));
	size_t i;

	/* Versions of cells begin at zero, not at whatever payload lay here before. */
	for (i = 0; i < SKV_CHUNK_BYTES / 8; i++)
		skv_store_relaxed(word + i, 0);
	SKV_FAULT(LEAVES_ZEROED);
	change(map, chunk, seen, skv_chunk_word(SKV_CHUNK_LEAVES, 0, 0, 0));
	SKV_FAULT(SPAN_PUBLISHED);
	clear_intent(writer);
}

/* Bodies of [head, head + n) to FREE, descending, while the head's cell stays as seen. */
static bool return_bodies(struct skv_writer *writer, uint64_t head, struct skv_cell seen, uint64_t n)
{
	const struct skv_map *map = writer->map;
	struct skv_cell body;
	uint64_t i;

	for (i = n; i-- > 1;) {
		body = skv_cell_read(skv_chunk_cell(map, head + i));
		if (skv_chunk_state(body.w) != SKV_CHUNK_BODY || skv_chunk_arg(body.w) != head)
			continue;
		/* Target read, source still in its life, then the change by version. */
		if (skv_load_relaxed(&skv_chunk_cell(map, head)->v) != seen.v)
			return false;
		if (change(map, head + i, body, SKV_CHUNK_FREE))
			count_free(map, head + i, 1);
		SKV_FAULT(RUN_BODY_RETURNED);
	}
	return true;
}

void skv_chunk_return_run(struct skv_writer *writer, uint64_t head, struct skv_cell seen)
{
	const struct skv_map *map = writer->map;

	if (!return_bodies(writer, head, seen, skv_chunk_arg(seen.w)))
		return;
	SKV_FAULT(RUN_HEAD_LEFT);
	if (skv_block_announced(writer, skv_chunk_off(map, head), SKV_CHUNK_BYTES))
		return;
	if (change(map, head, seen, SKV_CHUNK_FREE)) {
		count_free(map, head, 1);
		skv_store_relaxed(&skv_super(map)->chunk_cursor, head);
		memory_came(skv_super(map));
	}
}

void skv_chunk_return_slab(struct skv_writer *writer, uint64_t head, struct skv_cell seen)
{
	const struct skv_map *map = writer->map;
	uint64_t n = skv_class_span(skv_chunk_class(seen.w));
	struct skv_cell claimed = { seen.v + 1,
				    skv_chunk_word(SKV_CHUNK_CLAIMED, 0, writer->idx, 0) };

	/* From here on it is a claim like any other, and recovered like one. */
	if (!change(map, head, seen, claimed.w))
		return;
	SKV_FAULT(SLAB_UNMADE);
	return_bodies(writer, head, claimed, n);
	SKV_FAULT(SLAB_BODY_RETURNED);
	skv_chunk_unclaim(writer, head, 1);
	memory_came(skv_super(map));
}

void skv_chunk_intend(struct skv_writer *writer, uint64_t first, uint64_t n)
{
	set_intent(writer, first, n);
}

void skv_chunk_done(struct skv_writer *writer)
{
	clear_intent(writer);
}

uint64_t skv_chunk_recover(struct skv_writer *writer, uint32_t context, uint64_t first, uint64_t n,
			   bool (*still)(void *arg), void *arg)
{
	const struct skv_map *map = writer->map;
	struct skv_cell head, seen;
	uint64_t i, n_free = 0;
	bool mine;

	if (!skv_chunks_are_ready(map, first, n))
		return 0;

	head = skv_cell_read(skv_chunk_cell(map, first));
	for (i = n; i-- > 0;) {
		seen = skv_cell_read(skv_chunk_cell(map, first + i));
		mine = skv_chunk_state(seen.w) == SKV_CHUNK_CLAIMED &&
		       skv_chunk_context(seen.w) == context;
		/* A body belongs to the claim only while its head is still claimed. */
		if (skv_chunk_state(seen.w) == SKV_CHUNK_BODY && skv_chunk_arg(seen.w) == first &&
		    skv_chunk_state(head.w) == SKV_CHUNK_CLAIMED &&
		    skv_chunk_context(head.w) == context &&
		    skv_load_relaxed(&skv_chunk_cell(map, first)->v) == head.v)
			mine = true;
		if (!mine)
			continue;
		if (!still(arg))
			break;
		SKV_FAULT(REAP_LATE);
		if (change(map, first + i, seen, SKV_CHUNK_FREE))
			n_free++;
		SKV_FAULT(RECOVER_CHUNK);
	}
	count_free(map, first, (int64_t)n_free);
	skv_add_relaxed(&skv_super(map)->n_chunks_came, n_free);
	return n_free;
}

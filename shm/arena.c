/* SPDX-License-Identifier: MIT */
#include "shm/arena.h"

#include "base/fault.h"
#include "shm/chunk.h"

#include <errno.h>

/*
 * Purpose. Finds free blocks fast when there are hints, and finds them all the same when
 * hints are lost: with whoever died, in the private cache of whoever is stopped. The only
 * authority is the state word of each block.
 *
 *  private cache ─► hint bitmaps ─► a new slab ─► every state word of the class ─► an empty
 *                                                                  slab of another class
 *
 * Hints. A freed block goes to the private cache of its freer, and from a full cache to the
 * bitmap of its chunk; the summary has a bit per chunk whose bitmap may be non-empty, and
 * each class counts its hint bits, about. Whoever takes a bitmap word takes all its bits. All
 * of these may be lost, stale or wrong: the claim's compare-and-swap decides. A bit may even be
 * from an earlier use of its chunk, with smaller blocks, and mean no block of the present
 * one: whoever takes it looks first whether it lies within the span.
 *
 * Memory full. The first search that has to look at the state words raises low_memory: from
 * then on freed blocks go to the bitmaps, where everybody finds them, and are counted. A
 * whole pass over the class that finds nothing notes that count; while it stands still, the
 * answer -ENOSPC is given without another pass. Chunks that become free lower the flag and
 * move the count once more. The answer is thus never given while a free block exists,
 * except one that was freed into a private cache in the instant low_memory rose.
 *
 * Taking a slab apart. SLAB -> DISMANTLE(ctx); each block FREE -> BUSY; then, after a full
 * fence, the scan of all announcements (RULE H in block.c). Any block in use, or any
 * announcement inside: everything back. The generation that keys the FREE words is kept in
 * the cell, so frees by others meanwhile stay right either way.
 *
 * A process dies                                      left                     repaired by
 *  intent written, block not claimed (ALLOC_INTENT)   nothing                  -
 *  block claimed (ALLOC_CLAIMED)                      ALLOC, phase 0           reaper: settle
 *  run: state word written, head not yet RUN          head CLAIMED             reaper: chunk
 *  (RUN_ALLOCATED)                                                             intent only
 *  between freeing a block and its hint               FREE without hint        see below
 *  bitmap word taken, not yet used (HINT_TAKEN)       FREE without hint        see below
 *  anywhere: its private caches                       FREE without hint        see below
 *  DISMANTLE set (DISMANTLE_BEGUN), some blocks       DISMANTLE(dead)          reaper: chunk
 *  BUSY (DISMANTLE_BUSY)                                                       intent, undo
 *
 * Whoever reaps says so in every class (skv_arena_hints_lost); from then on those who find no
 * hint look at the state words of a few chunks before they take a new one, until each chunk
 * was looked at once. So a death costs nobody a pause and the segment no memory.
 */

/* One step of the search for lost hints: 4 KiB of cells, and slabs of at most 512 words. */
#define LOST_CHUNKS 256u
#define LOST_SPANS 4u

/* Found by one desperate search; more would only fill the cache with other threads' hopes. */
#define DESPERATE_BLOCKS 32u

uint64_t skv_arena_round(uint64_t bytes)
{
	if (bytes <= SKV_CLASS_BYTES_MAX)
		return skv_class_bytes[skv_class_of(bytes)];
	return (bytes + SKV_CHUNK_BYTES - 1) / SKV_CHUNK_BYTES * SKV_CHUNK_BYTES;
}

/* ---- hints ------------------------------------------------------------------------ */

void skv_arena_hint_set(struct skv_map *map, uint32_t class, uint64_t head, uint32_t idx)
{
	skv_or_relaxed(&skv_chunk_bitmap(map, head)->word[idx / 64], 1ull << (idx % 64));
	skv_or_relaxed(skv_chunk_summary(map, head), 1ull << (head % 64));
	skv_add_relaxed(&skv_class_at(map, class)->n_free, 1);
}

/* The oldest half of a full private cache becomes visible to everybody. */
static void cache_spill(struct skv_writer *writer, uint32_t class, uint32_t n)
{
	struct skv_cache *cache = &writer->cache[class];
	struct skv_span span;
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (skv_block_locate(writer->map, cache->item[i].off, &span) &&
		    span.state == SKV_CHUNK_SLAB && span.class == class)
			skv_arena_hint_set(writer->map, class, span.head, span.idx);
	}
	for (i = n; i < cache->n; i++)
		cache->item[i - n] = cache->item[i];
	cache->n -= n;
}

void skv_arena_hint_free(struct skv_writer *writer, const struct skv_span *span, uint64_t off)
{
	struct skv_superblock *super = skv_super(writer->map);
	struct skv_cache *cache = &writer->cache[span->class];

	/* Whoever evicts keeps what it freed: that is what it needs. */
	if (skv_load_relaxed(&super->low_memory) && !writer->lack.hasty) {
		skv_arena_hint_set(writer->map, span->class, span->head, span->idx);
		if (cache->n > 0)
			cache_spill(writer, span->class, cache->n);
		skv_add_relaxed(&super->n_freed, 1);
		return;
	}
	if (cache->n == SKV_CACHE_BLOCKS)
		cache_spill(writer, span->class, SKV_CACHE_BLOCKS / 2);
	cache->item[cache->n].off = off;
	cache->item[cache->n].word = skv_block_free_word(writer->map, off, span->gen);
	cache->n++;
}

static void cache_add(struct skv_writer *writer, uint32_t class, uint64_t head, uint64_t gen,
		      uint32_t idx)
{
	struct skv_cache *cache = &writer->cache[class];
	uint64_t off;

	if (cache->n == SKV_CACHE_BLOCKS)
		return;
	if (class == SKV_CLASS_LEAF) {
		/* A bit from the chunk's life as a slab; nothing in a record tells it from a leaf. */
		if (idx >= SKV_LEAVES_PER_CHUNK)
			return;
		cache->item[cache->n].off = head * SKV_LEAVES_PER_CHUNK + idx;
		cache->item[cache->n].word = 0;
	} else {
		off = skv_chunk_off(writer->map, head) + (uint64_t)idx * skv_class_bytes[class];
		cache->item[cache->n].off = off;
		cache->item[cache->n].word = skv_block_free_word(writer->map, off, gen);
	}
	cache->n++;
}

/* Takes one non-empty bitmap word of the chunk; clears its summary bit when all are empty. */
static bool take_word(struct skv_writer *writer, uint32_t class, uint64_t head, uint64_t gen)
{
	struct skv_bitmap *bitmap = skv_chunk_bitmap(writer->map, head);
	uint64_t *summary = skv_chunk_summary(writer->map, head);
	uint32_t i, j;
	/* The blocks that the chunk can have; class 0 has no span of its own. */
	uint32_t n = class == SKV_CLASS_LEAF ? SKV_LEAVES_PER_CHUNK : skv_class_blocks(class);
	uint64_t bits;

	for (i = 0; i < 8; i++) {
		if (skv_load_relaxed(&bitmap->word[i]) == 0)
			continue;
		bits = skv_swap(&bitmap->word[i], 0);
		if (bits == 0)
			continue;
		SKV_FAULT(HINT_TAKEN);
		skv_add_relaxed(&skv_class_at(writer->map, class)->n_free,
				-(uint64_t)__builtin_popcountll(bits));
		/* Highest first, so that the lowest address is used first. */
		for (j = 64; j-- > 0;) {
			if ((bits >> j & 1) && i * 64 + j < n)
				cache_add(writer, class, head, gen, i * 64 + j);
		}
		return true;
	}

	skv_and_relaxed(summary, ~(1ull << (head % 64)));
	for (i = 0; i < 8; i++) {
		/* A bit set meanwhile found the summary bit still there: put it back. */
		if (skv_load_relaxed(&bitmap->word[i]) != 0) {
			skv_or_relaxed(summary, 1ull << (head % 64));
			break;
		}
	}
	return false;
}

void skv_arena_hints_lost(struct skv_map *map)
{
	uint32_t class;

	for (class = 0; class < skv_n_classes; class++)
		skv_store_relaxed(&skv_class_at(map, class)->lost_left, map->region.geo.n_chunks);
}

/* Free leaves or blocks of one chunk that no hint names, into the cache. */
static void find_unhinted(struct skv_writer *writer, uint32_t class, uint64_t head, uint64_t gen)
{
	const struct skv_bitmap *bitmap = skv_chunk_bitmap(writer->map, head);
	uint32_t i, n = class == SKV_CLASS_LEAF ? SKV_LEAVES_PER_CHUNK : skv_class_blocks(class);
	uint64_t off = skv_chunk_off(writer->map, head), word;

	for (i = 0; i < n; i++, off += skv_class_bytes[class]) {
		if (skv_load_relaxed(&bitmap->word[i / 64]) >> (i % 64) & 1)
			continue;
		/* A leaf begins with its header; the claim looks closer. */
		if (class == SKV_CLASS_LEAF) {
			word = skv_load_acquire(&skv_leaf_at(writer->map,
							     head * SKV_LEAVES_PER_CHUNK + i)
							 ->header.w);
			if (word != SKV_LEAF_FREE)
				continue;
		} else if (skv_block_load(writer->map, off) !=
			   skv_block_free_word(writer->map, off, gen)) {
			continue;
		}
		cache_add(writer, class, head, gen, i);
	}
}

/*
 * A step of the search for what the dead had in their caches: LOST_CHUNKS cells and
 * LOST_SPANS slabs at most, a few microseconds, so that nobody pays for a whole death.
 */
static bool find_lost(struct skv_writer *writer, uint32_t class)
{
	struct skv_map *map = writer->map;
	struct skv_class_hints *hints = skv_class_at(map, class);
	uint32_t want = class == SKV_CLASS_LEAF ? SKV_CHUNK_LEAVES : SKV_CHUNK_SLAB;
	uint64_t left = skv_load_relaxed(&hints->lost_left), n = map->region.geo.n_chunks;
	uint64_t at = skv_load_relaxed(&hints->lost_next), looked, skip, spans = 0;
	struct skv_ready ready = skv_chunks_ready(map);
	struct skv_cell seen;

	for (looked = 0; looked < LOST_CHUNKS && left > 0 && spans < LOST_SPANS; looked++, left--) {
		at = at < n ? at : 0;
		if (at >= ready.low && at < ready.high) {
			/* What is not there is passed in one step. */
			skip = ready.high - at;
			left = left > skip ? left - skip + 1 : 1;
			at = ready.high;
			continue;
		}
		seen = skv_cell_read(skv_chunk_cell(map, at));
		if (skv_chunk_state(seen.w) == want &&
		    (class == SKV_CLASS_LEAF || skv_chunk_class(seen.w) == class)) {
			spans++;
			find_unhinted(writer, class, at,
				      skv_chunk_generation(at, skv_chunk_arg(seen.w)));
		}
		at++;
	}
	skv_store_relaxed(&hints->lost_next, at);
	skv_store_relaxed(&hints->lost_left, left);
	return writer->cache[class].n > 0;
}

static bool take_hinted(struct skv_writer *writer, uint32_t class)
{
	struct skv_map *map = writer->map;
	struct skv_class_hints *hints = skv_class_at(map, class);
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t n_words = ((uint64_t)map->region.geo.n_chunks + 63) / 64;
	uint64_t start, i, word, bits, head;
	uint32_t want = class == SKV_CLASS_LEAF ? SKV_CHUNK_LEAVES : SKV_CHUNK_SLAB;
	struct skv_cell seen;

	if ((int64_t)skv_load_relaxed(&hints->n_free) <= 0 || n_words == 0)
		return false;

	start = skv_load_relaxed(&hints->cursor) / 64 % n_words;
	for (i = 0; i < n_words; i++) {
		word = (start + i) % n_words;
		/* A page of the summary is there if any chunk of it is. */
		if (word * 64 >= ready.low && word * 64 + 63 < ready.high)
			continue;
		bits = skv_load_relaxed(skv_chunk_summary(map, word * 64));
		while (bits) {
			head = word * 64 + (uint64_t)__builtin_ctzll(bits);
			bits &= bits - 1;
			if (!skv_chunk_is_ready(map, head))
				continue;
			seen = skv_cell_read(skv_chunk_cell(map, head));
			if (skv_chunk_state(seen.w) != want ||
			    (class != SKV_CLASS_LEAF && skv_chunk_class(seen.w) != class))
				continue;
			if (take_word(writer, class, head,
				      skv_chunk_generation(head, skv_chunk_arg(seen.w)))) {
				skv_store_relaxed(&hints->cursor, head);
				return true;
			}
		}
	}
	/* The count had drifted; without this every allocation would search in vain. */
	skv_store_relaxed(&hints->n_free, 0);
	return false;
}

bool skv_arena_hint_take(struct skv_writer *writer, uint32_t class)
{
	if (take_hinted(writer, class))
		return true;
	return skv_load_relaxed(&skv_class_at(writer->map, class)->lost_left) > 0 &&
	       find_lost(writer, class);
}

/* ---- small records ---------------------------------------------------------------- */

static bool claim(struct skv_writer *writer, uint64_t off, uint64_t word, uint64_t stamp)
{
	struct skv_context *ctx = writer->ctx;

	if (skv_block_load(writer->map, off) != word)
		return false;

	/* [intent.announce] before the claim; the claim is the full fence. */
	skv_store_release(&ctx->new_off, off);
	SKV_FAULT(ALLOC_INTENT);
	/* [claim.alloc] acquire, pairs with [settle.free]. */
	if (!skv_block_cas(writer->map, off, word, skv_block_alloc_word(stamp)))
		return false;
	SKV_FAULT(ALLOC_CLAIMED);
	/* Release: whoever sees a byte that is stored from here on, sees the old slot gone. */
	skv_fence_release();
	return true;
}

static bool claim_cached(struct skv_writer *writer, uint32_t class, uint64_t stamp, uint64_t *ret_off)
{
	struct skv_cache *cache = &writer->cache[class];

	while (cache->n > 0) {
		cache->n--;
		if (claim(writer, cache->item[cache->n].off, cache->item[cache->n].word, stamp)) {
			*ret_off = cache->item[cache->n].off;
			return true;
		}
	}
	return false;
}

static int new_slab(struct skv_writer *writer, uint32_t class, bool thorough)
{
	struct skv_map *map = writer->map;
	uint32_t i, n = skv_class_blocks(class), n_cached = n < 64 ? n : 64;
	uint64_t first, gen;
	int r;

	r = skv_chunk_claim(writer, skv_class_span(class), SKV_END_RECORDS,
			    thorough, &first);
	if (r < 0)
		return r;
	gen = skv_chunk_publish_slab(writer, first, class);

	for (i = n_cached; i < n; i++)
		skv_arena_hint_set(map, class, first, i);
	for (i = n_cached; i-- > 0;)
		cache_add(writer, class, first, gen, i);
	return 0;
}

/* Every state word of the class, until enough free blocks are found. */
static bool search_states(struct skv_writer *writer, uint32_t class)
{
	struct skv_map *map = writer->map;
	struct skv_cache *cache = &writer->cache[class];
	struct skv_ready ready = skv_chunks_ready(map);
	uint32_t j, n = skv_class_blocks(class);
	uint64_t i, off, gen;
	struct skv_cell seen;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		if (cache->n >= DESPERATE_BLOCKS)
			break;
		seen = skv_cell_read(skv_chunk_cell(map, i));
		if (skv_chunk_state(seen.w) != SKV_CHUNK_SLAB || skv_chunk_class(seen.w) != class)
			continue;
		gen = skv_chunk_generation(i, skv_chunk_arg(seen.w));
		off = skv_chunk_off(map, i);
		for (j = 0; j < n && cache->n < DESPERATE_BLOCKS; j++, off += skv_class_bytes[class]) {
			if (skv_block_load(map, off) == skv_block_free_word(map, off, gen))
				cache_add(writer, class, i, gen, j);
		}
	}
	return cache->n > 0;
}

/* ---- taking slabs apart ----------------------------------------------------------- */

static bool slab_looks_empty(const struct skv_map *map, uint64_t head, struct skv_cell seen)
{
	uint32_t class = skv_chunk_class(seen.w);
	uint64_t gen = skv_chunk_generation(head, skv_chunk_arg(seen.w));
	uint64_t off = skv_chunk_off(map, head);
	uint32_t i;

	for (i = 0; i < skv_class_blocks(class); i++, off += skv_class_bytes[class]) {
		if (skv_block_load(map, off) != skv_block_free_word(map, off, gen))
			return false;
	}
	return true;
}

bool skv_arena_undismantle(struct skv_writer *writer, uint64_t head, struct skv_cell seen)
{
	struct skv_map *map = writer->map;
	uint32_t class = skv_chunk_class(seen.w);
	uint64_t gen = skv_chunk_generation(head, skv_chunk_arg(seen.w));
	uint64_t word, off = skv_chunk_off(map, head);
	uint32_t i;

	if (class == SKV_CLASS_LEAF || class >= skv_n_classes)
		return false;
	for (i = 0; i < skv_class_blocks(class); i++, off += skv_class_bytes[class]) {
		word = skv_block_load(map, off);
		if ((word & SKV_BLOCK_STATE_MASK) != SKV_BLOCK_BUSY)
			continue;
		/* Still the same attempt, so the word is a state word and BUSY is its doing. */
		if (skv_load_relaxed(&skv_chunk_cell(map, head)->v) != seen.v)
			return false;
		skv_block_cas(map, off, word, skv_block_free_word(map, off, gen));
	}
	if (!skv_cell_cas(skv_chunk_cell(map, head), seen, seen.v + 1,
			  skv_chunk_word(SKV_CHUNK_SLAB, class, 0, skv_chunk_arg(seen.w))))
		return false;
	/* Searches that passed by while it was no slab say nothing any more. */
	skv_arena_hint_set(map, class, head, 0);
	skv_add_relaxed(&skv_super(map)->n_freed, 1);
	return true;
}

/* The hints of a slab that is no more; those set by late comers are stale and harmless. */
static void hints_drop(struct skv_map *map, uint64_t head, uint32_t class)
{
	struct skv_bitmap *bitmap = skv_chunk_bitmap(map, head);
	uint64_t n = 0;
	uint32_t i;

	for (i = 0; i < 8; i++) {
		if (skv_load_relaxed(&bitmap->word[i]) != 0)
			n += (uint64_t)__builtin_popcountll(skv_swap(&bitmap->word[i], 0));
	}
	if (n > 0)
		skv_add_relaxed(&skv_class_at(map, class)->n_free, -n);
}

bool skv_arena_dismantle(struct skv_writer *writer, uint64_t head, struct skv_cell seen)
{
	struct skv_map *map = writer->map;
	uint32_t class = skv_chunk_class(seen.w), i;
	uint64_t gen = skv_chunk_generation(head, skv_chunk_arg(seen.w));
	uint64_t off = skv_chunk_off(map, head);
	uint64_t busy = (skv_writer_stamp(writer) << 2) | SKV_BLOCK_BUSY;
	struct skv_cell mine = { seen.v + 1, skv_chunk_word(SKV_CHUNK_DISMANTLE, class,
							    writer->idx, skv_chunk_arg(seen.w)) };
	uint32_t n = skv_class_blocks(class);

	if (!slab_looks_empty(map, head, seen))
		return false;
	skv_chunk_intend(writer, head, skv_class_span(class));
	if (!skv_cell_cas(skv_chunk_cell(map, head), seen, mine.v, mine.w)) {
		skv_chunk_done(writer);
		return false;
	}
	SKV_FAULT(DISMANTLE_BEGUN);
	for (i = 0; i < n; i++, off += skv_class_bytes[class]) {
		if (!skv_block_cas(map, off, skv_block_free_word(map, off, gen), busy))
			break;
		SKV_FAULT(DISMANTLE_BUSY);
	}
	if (i < n || skv_block_announced(writer, skv_chunk_off(map, head),
					 (uint64_t)skv_class_span(class) * SKV_CHUNK_BYTES)) {
		skv_arena_undismantle(writer, head, mine);
		skv_chunk_done(writer);
		return false;
	}
	hints_drop(map, head, class);
	skv_chunk_return_slab(writer, head, mine);
	return true;
}

bool skv_arena_finish_run(struct skv_writer *writer, uint64_t head)
{
	struct skv_map *map = writer->map;
	struct skv_cell seen = skv_cell_read(skv_chunk_cell(map, head));
	uint64_t off = skv_chunk_off(map, head);

	if (skv_chunk_state(seen.w) != SKV_CHUNK_RUN ||
	    !skv_chunks_are_ready(map, head, skv_chunk_arg(seen.w)) ||
	    skv_block_load(map, off) != skv_block_free_word(map, off, skv_chunk_generation(head, seen.v)) ||
	    skv_load_relaxed(&skv_chunk_cell(map, head)->v) != seen.v)
		return false;
	skv_chunk_return_run(writer, head, seen);
	return true;
}

void skv_arena_withdrawn(struct skv_writer *writer, uint64_t off)
{
	struct skv_map *map = writer->map;
	uint64_t rel = off - map->region.geo.chunk_off;

	if (off < map->region.geo.chunk_off || rel % SKV_CHUNK_BYTES != 0 ||
	    !skv_chunk_is_ready(map, rel / SKV_CHUNK_BYTES))
		return;
	/* [announce.withdraw] full fence, pairs with [announced.scan]: either the one who freed
	 * the record saw no announcement, or we see it free. */
	skv_fence_seq();
	skv_arena_finish_run(writer, rel / SKV_CHUNK_BYTES);
}

void skv_arena_withdraw(struct skv_writer *writer, uint64_t *word, uint64_t off)
{
	skv_store_release(word, 0);
	skv_arena_withdrawn(writer, off);
}

uint64_t skv_arena_collect(struct skv_writer *writer)
{
	struct skv_map *map = writer->map;
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t i, n = 0;
	struct skv_cell seen;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		seen = skv_cell_read(skv_chunk_cell(map, i));
		if (skv_chunk_state(seen.w) == SKV_CHUNK_SLAB && skv_chunk_class(seen.w) != 0 &&
		    skv_chunk_class(seen.w) < skv_n_classes)
			n += skv_arena_dismantle(writer, i, seen);
		else if (skv_chunk_state(seen.w) == SKV_CHUNK_RUN)
			n += skv_arena_finish_run(writer, i);
	}
	return n;
}

/* ---- allocation ------------------------------------------------------------------- */

bool skv_arena_was_exhausted(struct skv_map *map, uint32_t class, uint64_t *ret_n_freed)
{
	struct skv_superblock *super = skv_super(map);

	if (skv_load_relaxed(&super->low_memory) == 0) {
		/* Nobody counted meanwhile: what any search noted before says nothing now. */
		skv_add_relaxed(&super->n_freed, 1);
		skv_store_relaxed(&super->low_memory, 1);
	}
	/* Frees are counted from here on. */
	skv_fence_seq();
	*ret_n_freed = skv_load_relaxed(&super->n_freed);
	return skv_load_relaxed(&skv_class_at(map, class)->exhausted) == *ret_n_freed + 1;
}

void skv_arena_note_exhausted(struct skv_map *map, uint32_t class, uint64_t n_freed)
{
	skv_store_relaxed(&skv_class_at(map, class)->exhausted, n_freed + 1);
}

/*
 * In a segment that evicts every value that comes needs room: a search for neighbouring chunks that
 * failed is not repeated before any chunks became free.
 */
static bool has_failed(const struct skv_writer *writer, uint64_t n)
{
	return writer->lack.hasty && writer->lack.stretch != 0 && n >= writer->lack.stretch &&
	       writer->lack.stretch_came == skv_load_relaxed(&skv_super(writer->map)->n_chunks_came);
}

/* @came: read before the search. */
static void note_failed(struct skv_writer *writer, uint64_t n, uint64_t came)
{
	writer->lack.stretch = n;
	writer->lack.stretch_came = came;
}

static int alloc_small(struct skv_writer *writer, uint32_t class, uint64_t stamp, uint64_t *ret_off)
{
	struct skv_map *map = writer->map;
	uint64_t n_freed, came;
	int r;

	/* Each turn consumes hints that somebody else's success made stale. */
	for (;;) {
		if (claim_cached(writer, class, stamp, ret_off))
			return 0;
		if (skv_arena_hint_take(writer, class))
			continue;
		came = skv_load_relaxed(&skv_super(map)->n_chunks_came);
		r = has_failed(writer, skv_class_span(class)) ? -ENOSPC :
								 new_slab(writer, class, false);
		if (r == 0)
			continue;
		if (r != -ENOSPC)
			return r;
		if (writer->lack.hasty) {
			note_failed(writer, skv_class_span(class), came);
			return r;
		}
		if (skv_arena_was_exhausted(map, class, &n_freed))
			return -ENOSPC;
		if (search_states(writer, class))
			continue;
		skv_arena_collect(writer);
		r = new_slab(writer, class, true);
		if (r == 0)
			continue;
		if (r == -ENOSPC)
			skv_arena_note_exhausted(map, class, n_freed);
		return r;
	}
}

/* Each turn but the last found spans that others were faster to use. */
#define COLLECT_TURNS_MAX 8u

static int alloc_run(struct skv_writer *writer, uint64_t bytes, uint64_t stamp, uint64_t *ret_off)
{
	struct skv_map *map = writer->map;
	struct skv_context *ctx = writer->ctx;
	uint64_t first, n = (bytes + SKV_CHUNK_BYTES - 1) / SKV_CHUNK_BYTES, n_spans = 1;
	uint64_t came = skv_load_relaxed(&skv_super(map)->n_chunks_came);
	uint32_t turn;
	int r;

	r = has_failed(writer, n) ? -ENOSPC :
				    skv_chunk_claim(writer, n, SKV_END_RECORDS, false, &first);
	if (r == -ENOSPC && writer->lack.hasty) {
		note_failed(writer, n, came);
		return r;
	}
	/* What was collected may go to others, while they empty slabs that were passed by. A span
	 * that a stopped process announces is met in every turn, so the turns are bounded. */
	for (turn = 0; r == -ENOSPC && n_spans > 0 && turn < COLLECT_TURNS_MAX; turn++) {
		n_spans = skv_arena_collect(writer);
		r = skv_chunk_claim(writer, n, SKV_END_RECORDS, true, &first);
	}
	if (r < 0)
		return r;

	*ret_off = skv_chunk_off(map, first);
	skv_store_release(&ctx->new_off, *ret_off);
	skv_block_store(map, *ret_off, skv_block_alloc_word(stamp));
	SKV_FAULT(RUN_ALLOCATED);
	skv_chunk_publish_run(writer, first, n);
	return 0;
}

bool skv_arena_fits(const struct skv_map *map, uint64_t bytes)
{
	return bytes <= skv_chunk_run_max(map) * SKV_CHUNK_BYTES;
}

int skv_arena_alloc(struct skv_writer *writer, uint64_t bytes, uint64_t *ret_off,
		    uint64_t *ret_stamp)
{
	uint64_t stamp = skv_writer_stamp(writer);
	int r;

	if (!skv_arena_fits(writer->map, bytes))
		return -EFBIG;
	/* The stamp first, then the one word that names the block. */
	skv_store_release(&writer->ctx->new_stamp, stamp);
	if (bytes <= SKV_CLASS_BYTES_MAX)
		r = alloc_small(writer, skv_class_of(bytes), stamp, ret_off);
	else
		r = alloc_run(writer, bytes, stamp, ret_off);
	if (r < 0) {
		skv_store_release(&writer->ctx->new_off, 0);
		writer->lack.leaf = false;
		writer->lack.bytes = bytes;
		return r;
	}
	*ret_stamp = stamp;
	return 0;
}

void skv_arena_flush(struct skv_writer *writer)
{
	struct skv_cache *cache;
	uint32_t class, i;

	for (class = 1; class < skv_n_classes; class++) {
		if (writer->cache[class].n > 0)
			cache_spill(writer, class, writer->cache[class].n);
	}
	cache = &writer->cache[SKV_CLASS_LEAF];
	for (i = 0; i < cache->n; i++)
		skv_arena_hint_set(writer->map, SKV_CLASS_LEAF,
				   cache->item[i].off / SKV_LEAVES_PER_CHUNK,
				   cache->item[i].off % SKV_LEAVES_PER_CHUNK);
	cache->n = 0;
}

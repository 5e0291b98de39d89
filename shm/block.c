/* SPDX-License-Identifier: MIT */
#include "shm/block.h"

#include "base/fault.h"
#include "shm/arena.h"
#include "shm/chunk.h"
#include "shm/pin.h"

/*
 * Purpose and ancestry. Every record lies in a block that begins with a state word. The
 * word alone says whether the block is free; there is no list that could be torn and
 * nothing that a dead process could hold. Stamps that never repeat come from the idea of
 * version-based reclamation (Sheffi, Herlihy, Petrank); deriving the truth from the blocks
 * themselves from Makalu and Ralloc.
 *
 * States.
 *
 *                claim: new intent, then CAS
 *     FREE(gen) ────────────────────────────────► ALLOC(stamp)
 *       ▲   ▲                                         │
 *       │   └─────────────────────────────────────────┘
 *       │       settle: not linked any more, CAS
 *       │
 *       └──────────── BUSY ◄── dismantle: CAS, the slab is being taken apart
 *          undo: CAS
 *
 * RETIRED(stamp) lies between ALLOC and FREE while any context may pin: unlinked, and free when
 * nobody holds it any more. See pin.c.
 *
 * FREE is not a constant but keyed by offset and by the generation of the slab, so an
 * allocator that wakes after the chunk has become something else cannot mistake payload for
 * a free block: it would have to equal 62 secret bits. ALLOC carries a stamp: the context's
 * number and a counter that is advanced before use and never reset, so a settle that
 * arrives a century late finds another stamp and does nothing. Both are XORed with a keyed
 * mask of the offset, because small integers are common in payload.
 *
 * RULE H. A compare-and-swap from ALLOC may be attempted only by somebody who (1) has
 * announced the block in a word of its context, (2) has then seen evidence that a block
 * starts there (the chunk cell, or the slot that linked it when the slot's own CAS
 * succeeded), (3) has read the state word, and (4) has found the chunk cell unchanged. Whoever gives
 * chunks another use scans all announcements after it has made the blocks unavailable, and
 * gives up if one points inside.
 *
 *  pair                                      what it carries
 *  [intent.announce] -> [announced.scan]     full fences on both sides: either the scanner sees
 *                                            the announcement, or the announcer sees the new use
 *  [announce.withdraw] -> [announced.scan]   full fences: either the scanner sees the announcement
 *                                            gone, or the announcer sees the record free
 *  [settle.free]     -> [claim.alloc]        the unlink before any store into recycled memory
 *  [claim.alloc]     -> stores of the record release fence after the claim: a reader that sees
 *                                            new bytes also sees that the slot has moved on
 *
 * Linearization: a block changes hands at its CAS. Progress: wait-free. ABA: stamps and
 * generations do not repeat; FREE to ALLOC may find the same free word again, and free is
 * free.
 *
 * A process dies                              what is left            who repairs it
 *  retired, holders not looked for            RETIRED                 reaper, by the intent
 *  (SETTLE_RETIRED)
 *  before the free CAS (SETTLE_BEFORE_FREE)   ALLOC or RETIRED        reaper, by the intent
 *  after it, before the hint (SETTLE_FREED)   FREE without a hint     desperate scan, sweeper
 *  run: after FREE, before its chunks are     RUN whose block is      reaper by the intent, then
 *  given back (SETTLE_RUN_FREED)              FREE                    any sweep of the chunks
 */

bool skv_block_locate(const struct skv_map *map, uint64_t off, struct skv_span *ret_span)
{
	uint64_t rel, head, base;
	struct skv_cell seen;
	uint32_t span;

	if (off < map->region.geo.chunk_off || (off & 15))
		return false;
	rel = off - map->region.geo.chunk_off;
	head = rel / SKV_CHUNK_BYTES;
	if (!skv_chunk_is_ready(map, head))
		return false;

	seen = skv_cell_read(skv_chunk_cell(map, head));
	if (skv_chunk_state(seen.w) == SKV_CHUNK_BODY) {
		head = skv_chunk_arg(seen.w);
		if (!skv_chunk_is_ready(map, head))
			return false;
		seen = skv_cell_read(skv_chunk_cell(map, head));
	}

	base = head * SKV_CHUNK_BYTES;
	ret_span->head = head;
	ret_span->seen = seen;
	ret_span->state = skv_chunk_state(seen.w);
	ret_span->class = 0;
	ret_span->idx = 0;

	switch (ret_span->state) {
	case SKV_CHUNK_SLAB:
	case SKV_CHUNK_DISMANTLE:
		ret_span->class = skv_chunk_class(seen.w);
		if (ret_span->class == SKV_CLASS_LEAF || ret_span->class >= skv_n_classes)
			return false;
		span = skv_class_span(ret_span->class);
		if (!skv_chunks_are_ready(map, head, span) || rel < base || rel >= base + (uint64_t)span * SKV_CHUNK_BYTES)
			return false;
		ret_span->bytes = skv_class_bytes[ret_span->class];
		ret_span->gen = skv_chunk_generation(head, skv_chunk_arg(seen.w));
		ret_span->idx = (uint32_t)((rel - base) / ret_span->bytes);
		return (rel - base) % ret_span->bytes == 0 &&
		       ret_span->idx < skv_class_blocks(ret_span->class);
	case SKV_CHUNK_RUN:
		if (rel != base || skv_chunk_arg(seen.w) == 0 ||
		    !skv_chunks_are_ready(map, head, skv_chunk_arg(seen.w)))
			return false;
		ret_span->bytes = skv_chunk_arg(seen.w) * SKV_CHUNK_BYTES;
		/* The version at which the run was born; the cell does not change until it is freed. */
		ret_span->gen = skv_chunk_generation(head, seen.v);
		return true;
	case SKV_CHUNK_CLAIMED:
		ret_span->bytes = 0;
		ret_span->gen = 0;
		return rel == base;
	default:
		return false;
	}
}

/* From ALLOC, when nobody can hold it, or from RETIRED, when nobody does. */
static bool set_free(struct skv_writer *writer, uint64_t off, uint64_t word,
		     const struct skv_span *span)
{
	SKV_FAULT(SETTLE_BEFORE_FREE);
	/* [settle.free] release, pairs with [claim.alloc]. */
	if (!skv_block_cas(writer->map, off, word, skv_block_free_word(writer->map, off, span->gen)))
		return false;

	if (span->state == SKV_CHUNK_RUN) {
		SKV_FAULT(SETTLE_RUN_FREED);
		skv_chunk_return_run(writer, span->head, span->seen);
	} else {
		SKV_FAULT(SETTLE_FREED);
		skv_arena_hint_free(writer, span, off);
	}
	return true;
}

bool skv_block_reclaim(struct skv_writer *writer, uint64_t off, uint64_t word,
		       const struct skv_span *span)
{
	return !skv_pin_is_held(writer->map, off) && set_free(writer, off, word, span);
}

bool skv_block_settle(struct skv_writer *writer, uint64_t off, uint64_t stamp)
{
	const struct skv_map *map = writer->map;
	struct skv_span span;
	uint64_t word;

	for (;;) {
		if (!skv_block_locate(map, off, &span) || span.state == SKV_CHUNK_CLAIMED)
			return false;
		word = skv_block_load(map, off);
		/* RULE S: a block that somebody retired and died over is finished here as well. */
		if (word != skv_block_alloc_word(stamp) && word != skv_block_retired_word(stamp))
			return false;
		/* Ends when nobody begins or undoes taking the slab apart in between. */
		if (skv_load_relaxed(&skv_chunk_cell(map, span.head)->v) == span.seen.v)
			break;
	}

	if (word == skv_block_alloc_word(stamp)) {
		/* A pin that comes from here on finds the slot changed. */
		if (!skv_pin_any(map))
			return set_free(writer, off, word, &span);
		if (!skv_block_cas(map, off, word, skv_block_retired_word(stamp)))
			return false;
		word = skv_block_retired_word(stamp);
		SKV_FAULT(SETTLE_RETIRED);
		/* [settle.retire] between RETIRED and the look for holders: see pin.c. */
		skv_fence_seq_after_cas();
	} else {
		/* [settle.retire] RETIRED by somebody else, and just now for all that we know. */
		skv_fence_seq();
	}
	return skv_block_reclaim(writer, off, word, &span);
}

bool skv_block_announced(const struct skv_writer *self, uint64_t off, uint64_t len)
{
	const struct skv_context *ctx;
	uint32_t i, n;
	uint64_t a;

	/* [announced.scan] Also how many contexts there are is read after the fence. */
	skv_fence_seq();
	n = skv_contexts_ready(self->map);
	for (i = 0; i < n; i++) {
		ctx = skv_context_at(self->map, i);
		/* What stands in a free context will not be acted upon by it any more. */
		if (skv_owner_process(skv_load_acquire(&ctx->owner)) < 0)
			continue;
		/* Pins are let go by any thread of their process: our own count as well. */
		if (skv_pin_names(self->map, i, off, len))
			return true;
		/* Our own intents are known to us; those of the dead thread that we act for will not
		 * be acted upon by it. */
		if (i == self->idx || (int32_t)i == self->acting_for)
			continue;
		a = skv_load_acquire(&ctx->new_off) & ~SKV_INTENT_COMPLETE;
		if (a >= off && a - off < len)
			return true;
		a = skv_load_acquire(&ctx->old_off);
		if (a >= off && a - off < len)
			return true;
		a = skv_load_acquire(&ctx->aux_off);
		if (a >= off && a - off < len)
			return true;
	}
	return false;
}

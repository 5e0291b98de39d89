/* SPDX-License-Identifier: MIT */
#include "shm/block.h"

#include "base/fault.h"
#include "shm/arena.h"
#include "shm/chunk.h"

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
 * RETIRED is the fourth state, for blocks that are unlinked while somebody looks at them
 * without copying; nobody can do that in this version of the format.
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
 *  before the free CAS (SETTLE_BEFORE_FREE)   ALLOC, not linked       reaper, by the intent
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

bool skv_block_settle(struct skv_writer *writer, uint64_t off, uint64_t stamp)
{
	const struct skv_map *map = writer->map;
	struct skv_span span;
	uint64_t word;

	for (;;) {
		if (!skv_block_locate(map, off, &span) || span.state == SKV_CHUNK_CLAIMED)
			return false;
		word = skv_block_load(map, off);
		if (word != skv_block_alloc_word(stamp))
			return false;
		/* Ends when nobody begins or undoes taking the slab apart in between. */
		if (skv_load_relaxed(&skv_chunk_cell(map, span.head)->v) == span.seen.v)
			break;
	}

	SKV_FAULT(SETTLE_BEFORE_FREE);
	/* [settle.free] release, pairs with [claim.alloc]. */
	if (!skv_block_cas(map, off, word, skv_block_free_word(map, off, span.gen)))
		return false;

	if (span.state == SKV_CHUNK_RUN) {
		SKV_FAULT(SETTLE_RUN_FREED);
		skv_chunk_return_run(writer, span.head, span.seen);
	} else {
		SKV_FAULT(SETTLE_FREED);
		skv_arena_hint_free(writer, &span, off);
	}
	return true;
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
		/* Our own words are known to us; those of the dead thread that we act for and of a
		 * free context will not be acted upon by it any more. */
		if (i == self->idx || (int32_t)i == self->acting_for ||
		    skv_owner_process(skv_load_acquire(&ctx->owner)) < 0)
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

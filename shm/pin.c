/* SPDX-License-Identifier: MIT */
#include "shm/pin.h"

#include "base/fault.h"
#include "shm/arena.h"
#include "shm/block.h"

#include <errno.h>

/*
 * Purpose and ancestry. Hazard pointers (Michael, 2004) for blocks, with two changes that
 * death asks for: the words live in the segment, and letting go has two phases.
 *
 * States of a pin word; it names offset and the context's incarnation, so that a reaper
 * which wakes late does not take the pin of a later owner for the one it saw:
 *
 *     0 ── announce ──► HELD(off) ── let go, CAS ──► RELEASING(off) ── settled, CAS ──► 0
 *
 * States of the block, beside those in block.c:
 *
 *     ALLOC(s) ── unlinked, CAS ──► RETIRED(s) ── nobody holds it, CAS ──► FREE
 *
 * Only the owner of a context stores into its words that are 0; any thread of its process
 * may let go, and when the process is dead, any reaper.
 *
 * When a holder may trust the bytes. It announces the block, then a full fence, then finds
 * the slot and the route as it had read them: the block was still linked after the
 * announcement, so whoever unlinks it later will see the pin. From then on the bytes stay
 * until it lets go, whatever becomes of key, leaf and index.
 *
 * Who frees. The unlinker, unless the block is held; then the last holder that lets go.
 * RULE U: letting go has two phases. A pin word that was cleared in one step would leave a
 * block that the unlinker had left to this holder to nobody, if the holder died before it
 * looked. So it first says RELEASING, which scanners of holders ignore, then settles the
 * block if it is RETIRED, then clears the word.
 *
 * RULE H (block.c) holds for pins too: in either phase a word announces that a
 * compare-and-swap may come, so a slab or a run that it points into keeps its chunks. That
 * includes the words of the one who scans: another thread of its process may be letting go.
 * A reaper announces the block in its own aux word, because another reaper may clear the
 * dead one's. Whoever freed a large record left its head standing because of the word; so
 * whoever clears the word looks again (skv_arena_finish_run).
 *
 * Nobody who never pinned pays. A context sets its bit in pins_of before it announces, and
 * clears it when its last pin is gone; pins_enabled says which cells of pins_of were ever
 * used. An unlinker that finds no bit frees at once. The owner may clear its bit because only
 * it could pin at the same time. A reaper clears the bit of the dead by the version of the
 * cell: it reads the cell, finds no pin and the owner word that of the dead one, then
 * swaps. A new owner clears a bit that it finds set before it does anything, so a swap that
 * comes late fails.
 *
 *  pair                                  what it carries
 *  [pin.announce] -> [settle.retire]     bit and pin word, full fence, second look at the slot;
 *                                        against: slot changed, full fence, bits and pin words.
 *                                        One of the two sees the other.
 *  [pin.releasing] -> [settle.retire]    RELEASING, full fence, state word; against: RETIRED,
 *                                        full fence, pin words. One of the two frees.
 *  [announce.withdraw]                   word cleared, full fence, record of the run: block.c
 *
 * Progress: wait-free, but for the bit, whose cell is shared by 64 contexts: lock-free.
 * Linearization of a view: the second look at the slot. ABA: a pin word repeats only after
 * 2^26 owners of the context.
 *
 * A process dies                                      left                  repaired by
 *  bit set, nothing announced (PIN_ENABLED)           a bit                 reaper: clears
 *  announced, not checked (PIN_ANNOUNCED)             a pin, perhaps stale  reaper: release
 *  held (PIN_HELD)                                    a pin                 reaper: release
 *  RELEASING, block not settled (PIN_RELEASING)       RETIRED block         reaper: from there
 *  block settled, word not cleared (PIN_SETTLED)      RELEASING word        reaper: clears
 *  word cleared, a large record's head left to it     RUN, record FREE      any sweep of the
 *  (PIN_CLEARED)                                                            chunks
 */

_Static_assert(SHMKV_SIZE_MAX * 2 / 16 <= 1ull << (64 - SKV_PIN_OFF_SHIFT),
	       "every block of the largest segment, its directory included");

static uint64_t word_of(uint64_t owner, uint64_t off)
{
	uint64_t incarnation = owner >> SKV_OWNER_INCARNATION_SHIFT;

	return (off >> 4) << SKV_PIN_OFF_SHIFT |
	       (incarnation & ((1ull << SKV_PIN_INCARNATION_BITS) - 1)) << 1;
}

static struct skv_cell *bits_of(const struct skv_map *map, uint32_t context)
{
	return &skv_super(map)->pins_of[context / 64];
}

static bool may_pin(const struct skv_map *map, uint32_t context)
{
	return skv_load_acquire(&bits_of(map, context)->w) >> (context % 64) & 1;
}

static void enable(const struct skv_writer *writer)
{
	struct skv_superblock *super = skv_super(writer->map);
	struct skv_cell *cell = bits_of(writer->map, writer->idx), seen;
	uint64_t group = 1ull << (writer->idx / 64);

	do {
		seen = skv_cell_read(cell);
		if (seen.w >> (writer->idx % 64) & 1)
			break;
		/* Ends: another context of the 64 has set or cleared its own bit. */
	} while (!skv_cell_cas(cell, seen, seen.v + 1, seen.w | 1ull << (writer->idx % 64)));
	if (!(skv_load_relaxed(&super->pins_enabled) & group))
		skv_or_relaxed(&super->pins_enabled, group);
}

void skv_pin_disable(struct skv_map *map, uint32_t context, bool (*still)(void *arg), void *arg)
{
	struct skv_cell *cell = bits_of(map, context), seen;

	do {
		seen = skv_cell_read(cell);
		if (!(seen.w >> (context % 64) & 1))
			return;
		/* The cell, then the pins, then the owner: a new one would have changed the cell. */
		if (skv_pin_count(map, context) > 0 || (still && !still(arg)))
			return;
		/* Ends as above. */
	} while (!skv_cell_cas(cell, seen, seen.v + 1, seen.w & ~(1ull << (context % 64))));
}

int skv_pin_acquire(struct skv_writer *writer, const struct skv_route *route,
		    const struct skv_cell *slot, uint64_t version, uint64_t off,
		    struct skv_pin *ret_pin)
{
	uint64_t *words = writer->ctx->pins;
	uint32_t i;

	for (i = 0; i < SKV_PINS && skv_load_acquire(&words[i]) != 0; i++)
		;
	if (i == SKV_PINS)
		return -EMLINK;

	enable(writer);
	SKV_FAULT(PIN_ENABLED);
	ret_pin->context = writer->idx;
	ret_pin->idx = i;
	ret_pin->word = word_of(writer->owner, off);
	/* [pin.announce] */
	skv_store_release(&words[i], ret_pin->word);
	skv_fence_seq();
	SKV_FAULT(PIN_ANNOUNCED);
	if (skv_load_acquire(&slot->v) != version || !skv_route_holds(route)) {
		skv_pin_release(writer, ret_pin);
		return -EAGAIN;
	}
	SKV_FAULT(PIN_HELD);
	return 0;
}

/* The block that a RELEASING word names: free it if it was left to us. */
static uint64_t settle_left(struct skv_writer *writer, uint64_t off)
{
	const struct skv_map *map = writer->map;
	struct skv_span span;
	uint64_t word;

	for (;;) {
		if (!skv_block_locate(map, off, &span) || span.state == SKV_CHUNK_CLAIMED)
			return 0;
		word = skv_block_load(map, off);
		if ((word & SKV_BLOCK_STATE_MASK) != SKV_BLOCK_RETIRED)
			return 0;
		/* Ends when nobody begins or undoes taking the slab apart in between. */
		if (skv_load_relaxed(&skv_chunk_cell(map, span.head)->v) == span.seen.v)
			break;
	}
	return skv_block_reclaim(writer, off, word, &span) ? span.bytes : 0;
}

uint64_t skv_pin_release(struct skv_writer *writer, const struct skv_pin *pin)
{
	struct skv_map *map = writer->map;
	uint64_t *word = &skv_context_at(map, pin->context)->pins[pin->idx];
	uint64_t off = skv_pin_off(pin->word), freed;

	/* Lost: another thread lets go, or another reaper; a reaper looks again after this. */
	if (!(pin->word & SKV_PIN_RELEASING) &&
	    !skv_cas(word, pin->word, pin->word | SKV_PIN_RELEASING))
		return 0;
	SKV_FAULT(PIN_RELEASING);
	/* [pin.releasing] */
	skv_fence_seq();
	freed = settle_left(writer, off);
	SKV_FAULT(PIN_SETTLED);
	skv_cas(word, pin->word | SKV_PIN_RELEASING, 0);
	SKV_FAULT(PIN_CLEARED);
	/* [announce.withdraw] */
	skv_arena_withdrawn(writer, off);
	if (pin->context == writer->idx)
		skv_pin_disable(map, writer->idx, NULL, NULL);
	return freed;
}

void skv_pin_release_all(struct skv_writer *writer)
{
	struct skv_pin pin = { .context = writer->idx };

	for (pin.idx = 0; pin.idx < SKV_PINS; pin.idx++) {
		pin.word = skv_load_acquire(&writer->ctx->pins[pin.idx]);
		if (pin.word != 0)
			skv_pin_release(writer, &pin);
	}
	skv_pin_disable(writer->map, writer->idx, NULL, NULL);
}

uint32_t skv_pin_count(const struct skv_map *map, uint32_t context)
{
	uint32_t i, n = 0;

	for (i = 0; i < SKV_PINS; i++)
		n += skv_load_acquire(&skv_context_at(map, context)->pins[i]) != 0;
	return n;
}

static bool context_holds(const struct skv_context *ctx, uint64_t off)
{
	uint64_t word;
	uint32_t i;

	for (i = 0; i < SKV_PINS; i++) {
		word = skv_load_acquire(&ctx->pins[i]);
		if (word != 0 && !(word & SKV_PIN_RELEASING) && skv_pin_off(word) == off)
			return true;
	}
	return false;
}

bool skv_pin_any(const struct skv_map *map)
{
	const struct skv_superblock *super = skv_super(map);
	uint64_t groups = skv_load_acquire(&super->pins_enabled);

	for (; groups; groups &= groups - 1) {
		if (skv_load_acquire(&super->pins_of[__builtin_ctzll(groups)].w) != 0)
			return true;
	}
	return false;
}

bool skv_pin_is_held(const struct skv_map *map, uint64_t off)
{
	const struct skv_superblock *super = skv_super(map);
	uint64_t groups = skv_load_acquire(&super->pins_enabled), bits;
	uint32_t group, idx, n = skv_contexts_ready(map);

	for (; groups; groups &= groups - 1) {
		group = (uint32_t)__builtin_ctzll(groups);
		bits = skv_load_acquire(&super->pins_of[group].w);
		for (; bits; bits &= bits - 1) {
			idx = group * 64 + (uint32_t)__builtin_ctzll(bits);
			if (idx < n && context_holds(skv_context_at(map, idx), off))
				return true;
		}
	}
	return false;
}

uint32_t skv_pin_list(const struct skv_map *map, uint32_t context, uint64_t ret_offs[SKV_PINS])
{
	const struct skv_context *ctx = skv_context_at(map, context);
	uint32_t i, n = 0;
	uint64_t word;

	if (!may_pin(map, context))
		return 0;
	for (i = 0; i < SKV_PINS; i++) {
		word = skv_load_acquire(&ctx->pins[i]);
		if (word != 0)
			ret_offs[n++] = skv_pin_off(word);
	}
	return n;
}

bool skv_pin_names(const struct skv_map *map, uint32_t context, uint64_t off, uint64_t len)
{
	const struct skv_context *ctx = skv_context_at(map, context);
	uint64_t at;
	uint32_t i;

	if (!may_pin(map, context))
		return false;
	for (i = 0; i < SKV_PINS; i++) {
		at = skv_load_acquire(&ctx->pins[i]);
		if (at != 0 && skv_pin_off(at) >= off && skv_pin_off(at) - off < len)
			return true;
	}
	return false;
}

/* SPDX-License-Identifier: MIT */
#include "shm/evict.h"

#include "base/fault.h"
#include "shm/arena.h"
#include "shm/chunk.h"
#include "shm/expiry.h"
#include "shm/held.h"
#include "shm/index.h"
#include "shm/pin.h"
#include "shm/policy.h"

#include <stdlib.h>

/*
 * Purpose and ancestry. In a cache a value that finds no memory takes that of keys that are
 * worth less. As in Redis no list is kept in order: some keys are looked at and the worst of
 * them goes; what they are worth says policy.c. Here a sample is a stretch of slots of one leaf,
 * chosen as the hash of a random key would, so it costs a few cache lines for some forty keys.
 *
 * What is freed must be what is needed. Memory is owned by size classes, so
 *
 *   a block of a class   the worst key of that class in the sample; its block goes to the
 *                        cache of whoever evicts, who takes it next
 *   a large record       the worst large one in the sample that is long enough, and not twice
 *                        as long
 *   otherwise            a stretch of neighbouring chunks, all of whose keys go; their slabs
 *                        are taken apart. So when the class has no key in the sample; when
 *                        another class has had a worse key so often that a slab's worth of
 *                        memory should change hands; and for a leaf, which takes the lowest
 *                        chunks that are none, next to the other leaves
 *   no leaf              when there are many for so few keys: the worst keys of the leaf that is
 *                        too full, which is then compacted
 *
 * Of a few stretches the one goes whose keys are worth least. A stretch has no leaf in it (those
 * stay for ever), nothing that is being made or taken apart, and nothing that somebody holds:
 * views, also of what was removed since, drafts, the operation's own record, and as long as there
 * are others, what operations in flight announce (held.c). It does not cross the border of the
 * two ends that chunks are taken from, over which nobody claims.
 *
 * Protocol. Nothing new is shared. A key is evicted as it is removed: by the compare-and-swap of
 * the slot from the version that was looked at, under the guard of the key's own cell. A key that
 * was written or replaced since is not the one that was judged and stays. Records of a stretch are
 * found by the state words of their blocks, and evicted if the slot that their own key leads to
 * names them in that life. Chunks change hands as ever (arena.c, chunk.c).
 *
 * What may run at the same time: everything, other evictors too. Two who choose the same key: one
 * of them removes it, the other one tries again. A stopped evictor holds nothing but an
 * announcement; a stopped one that takes a slab apart holds that slab.
 *
 * The operation that needs room has ended with -ENOSPC and withdrawn its intents; it begins
 * again afterwards, so its condition is judged on what is there then. It failed its condition
 * before if it was to fail at all: nothing is evicted for it. Its own key is passed over.
 *
 * Progress: lock-free. An attempt looks at a bounded number of slots, stretches and blocks; an
 * operation makes TRIES_MAX of them. Then it searches the whole segment once, as it would without
 * eviction, and answers -ENOSPC. What is pinned or reserved is not chosen: a key whose record is
 * viewed gives no memory, a span that somebody holds stays as it is.
 *
 * What goes in vain. A stretch is looked at as a whole before the first of its keys goes. What is
 * announced after that, or linked anew, costs the attempt and the keys in front of it; that span is
 * not chosen again by this operation. What was emptied in vain is counted, and no other stretch
 * is begun once it is as much as the value needs and SPENT_MAX chunks. So an operation that
 * answers -ENOSPC has emptied at most about twice what it needs, beside the room that it had made
 * and others took.
 *
 * A process dies                                       left                    repaired by
 *  key chosen (EVICT_CHOSEN)                           nothing                 -
 *  slot changed (EVICT_UNLINKED)                       the key is gone, its    reaper: old is not
 *                                                      block not free          linked, settle
 *  records of a stretch gone, others not               fewer keys              -
 *  (EVICT_RECORD)
 *  all of them gone, slab not taken apart              an empty slab           as any empty slab
 *  (EVICT_EMPTIED)
 *  room made, not used (EVICT_DONE)                    free memory             -
 */

/* Attempts of one operation. Each but the last ended in room that somebody else took. */
#define TRIES_MAX SKV_LOST_MAX

/* Chunks that may go in vain beside those that a value needs: for small values, whose stretches are
 * often disturbed by others where many write. */
#define SPENT_MAX 8u

/* Slot lines of one look, looks of one attempt, keys that are enough. */
#define LOOK_LINES 4u
#define LOOKS_MAX 32u
#define KEYS_ENOUGH 40u
#define FITS_ENOUGH 8u

/* Stretches that are compared, spans that are looked at in each, records judged in each of those. */
#define STRETCHES 4u
#define STRETCH_SPANS 4u
#define STRETCH_JUDGED 4u
/* Places where a stretch is looked for before the whole segment is. */
#define STRETCH_TRIES 16u

/* Slot lines that are searched for expired keys before anything is evicted. */
#define EXPIRED_LINES 64u

/* Chunks that are looked at before a key is evicted, when the last one was an empty slab. */
#define RECLAIM_LOOKS 16u

/* For a leaf no large record of more chunks goes as long as something else is near. */
#define LEAF_RUN_MAX 8u

/* What the operation needs. */
struct need {
	uint32_t class; /* 0: a run */
	uint64_t n;     /* neighbouring chunks: of one slab, or of the run */
	struct skv_place spare; /* the operation's own key */
	const struct skv_key *key;
};

enum result { GOT, LOST, NOTHING };

struct candidate {
	struct skv_route route;
	struct skv_cell *slot; /* NULL: none */
	struct skv_cell seen;
	uint32_t keep;
};

/* The worst keys of a sample. */
struct sample {
	struct candidate fit; /* whose memory is what is needed */
	uint32_t any_keep;    /* of all */
	uint64_t any_off;
	uint32_t n, n_fit;
};

#ifdef SKV_FAULT_POINTS
uint64_t skv_evict_seed;
#endif

static uint64_t draw(struct skv_writer *writer)
{
	struct skv_lack *lack = &writer->lack;

	if (lack->random == 0)
		lack->random = skv_mix(writer->map->region.block_secret ^ writer->owner) ^
			       writer->idx;
#ifdef SKV_FAULT_POINTS
	if (skv_evict_seed) {
		lack->random = skv_evict_seed;
		skv_evict_seed = 0;
	}
#endif
	/* SplitMix64 (Steele, Lea, Flood). */
	lack->random += 0x9e3779b97f4a7c15ull;
	return skv_mix(lack->random);
}

static uint64_t draw_below(struct skv_writer *writer, uint64_t n)
{
	return (draw(writer) >> 32) * n >> 32;
}

/* Any chunk that is there. */
static uint64_t draw_chunk(struct skv_writer *writer)
{
	struct skv_ready ready = skv_chunks_ready(writer->map);
	uint64_t chunk = draw_below(writer,
				    ready.low + writer->map->region.geo.n_chunks - ready.high);

	return chunk < ready.low ? chunk : chunk - ready.low + ready.high;
}

/* ---- one key ------------------------------------------------------------------------ */

static bool fits(const struct skv_map *map, const struct need *need, uint64_t off)
{
	struct skv_span span;

	if (!skv_block_locate(map, off, &span))
		return false;
	if (need->class != SKV_CLASS_LEAF)
		return span.state == SKV_CHUNK_SLAB && span.class == need->class;
	return span.state == SKV_CHUNK_RUN && span.bytes / SKV_CHUNK_BYTES >= need->n &&
	       span.bytes / SKV_CHUNK_BYTES <= need->n * 2;
}

static void judge(const struct skv_map *map, const struct need *need, const struct candidate *key,
		  struct sample *sample)
{
	sample->n++;
	if (key->keep < sample->any_keep) {
		sample->any_keep = key->keep;
		sample->any_off = skv_slot_off(key->seen.w);
	}
	if (sample->n_fit >= FITS_ENOUGH && key->keep >= sample->fit.keep)
		return;
	if (!fits(map, need, skv_slot_off(key->seen.w)))
		return;
	/* Whose memory is viewed gives none; as things are now, nothing depends on it. */
	if (key->keep < sample->fit.keep && skv_pin_is_held(map, skv_slot_off(key->seen.w)))
		return;
	sample->n_fit++;
	if (key->keep < sample->fit.keep)
		sample->fit = *key;
}

/* Judges the keys of some lines of one leaf. */
static void look(struct skv_writer *writer, const struct need *need, struct sample *sample)
{
	struct skv_map *map = writer->map;
	struct candidate key;
	struct skv_place place;
	struct skv_leaf *leaf;
	uint32_t line, i, s, n_lines = LOOK_LINES < SKV_LEAF_LINES ? LOOK_LINES : SKV_LEAF_LINES;
	bool frozen = false;

	/* As a key's hash: every key is as likely to be met. */
	if (skv_directory_route(map, skv_place_of_hash(draw(writer)), &key.route) < 0)
		return;
	leaf = skv_leaf_at(map, key.route.leaf);
	line = (uint32_t)draw_below(writer, SKV_LEAF_LINES);
	for (i = 0; i < n_lines; i++) {
		key.slot = &leaf->slots[line * SKV_LINE_SLOTS];
		for (s = 0; s < SKV_LINE_SLOTS; s++, key.slot++) {
			key.seen = skv_cell_read(key.slot);
			if (skv_slot_state(key.seen.w) != SKV_SLOT_LIVE)
				continue;
			frozen = frozen || (key.seen.w & SKV_SLOT_FROZEN);
			place = skv_slot_place(key.seen.v, key.seen.w);
			if ((key.seen.w & SKV_SLOT_FROZEN) || place.bits == need->spare.bits)
				continue;
			key.keep = skv_policy_keep(map, place);
			judge(map, need, &key, sample);
		}
		line = line + 1 == SKV_LEAF_LINES ? 0 : line + 1;
	}
	/* Its helper may be stopped, and in a small map there is no other leaf. */
	if (frozen)
		skv_leaf_replace(writer, &key.route, true);
}

static enum result evict_key(struct skv_writer *writer, const struct candidate *key)
{
	SKV_FAULT(EVICT_CHOSEN);
	return skv_index_evict(writer, &key->route, key->slot, key->seen) ? GOT : LOST;
}

/* ---- stretches ---------------------------------------------------------------------- */

struct stretch {
	uint64_t first, end; /* whole spans */
	uint64_t used;       /* chunks that are not free */
};

/* Does the cell of a slab make sense? */
static bool is_slab(const struct skv_map *map, uint64_t head, struct skv_cell seen)
{
	uint32_t class = skv_chunk_class(seen.w);

	return class != SKV_CLASS_LEAF && class < skv_n_classes &&
	       skv_chunks_are_ready(map, head, skv_class_span(class));
}

/* A record that nobody has retired, or none any more: its chunks are about to be given back. */
static bool run_may_go(const struct skv_map *map, uint64_t head, struct skv_cell seen)
{
	uint64_t off = skv_chunk_off(map, head), word = skv_block_load(map, off), stamp;

	return skv_block_is_alloc(word, &stamp) ||
	       word == skv_block_free_word(map, off, skv_chunk_generation(head, seen.v));
}

/* Chunks of the span that begins here; 0 for what cannot be part of a stretch. */
static uint64_t span_len(const struct skv_map *map, const struct skv_held *held, uint64_t chunk,
			 bool *ret_free)
{
	struct skv_cell seen = skv_cell_read(skv_chunk_cell(map, chunk));
	uint64_t n = 0;

	*ret_free = false;
	if (skv_held_has(held, chunk))
		return 0;
	switch (skv_chunk_state(seen.w)) {
	case SKV_CHUNK_FREE:
		*ret_free = true;
		return 1;
	case SKV_CHUNK_SLAB:
		if (is_slab(map, chunk, seen))
			n = skv_class_span(skv_chunk_class(seen.w));
		break;
	case SKV_CHUNK_RUN:
		if (run_may_go(map, chunk, seen))
			n = skv_chunk_arg(seen.w);
		break;
	default:
		break;
	}
	return n > 0 && skv_chunks_are_ready(map, chunk, n) ? n : 0;
}

/* @n chunks or a few more, from the span around @chunk on. */
static bool extend(const struct skv_map *map, const struct skv_held *held, uint64_t chunk,
		   uint64_t n, struct stretch *ret)
{
	uint64_t border = skv_chunks_ready(map).low, pos, len;
	bool is_free;

	ret->first = pos = skv_chunk_head(map, chunk);
	ret->used = 0;
	while (pos - ret->first < n) {
		if (!skv_chunk_is_ready(map, pos) || (pos == border && pos != ret->first))
			return false;
		len = span_len(map, held, pos, &is_free);
		if (len == 0)
			return false;
		ret->used += is_free ? 0 : len;
		pos += len;
	}
	ret->end = pos;
	return true;
}

/* The stretch of the whole segment with the fewest chunks in use; of equal ones any. */
static bool search(struct skv_writer *writer, const struct skv_held *held, uint64_t n,
		   struct stretch *ret)
{
	const struct skv_map *map = writer->map;
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t n_chunks = map->region.geo.n_chunks, pos, tail, used = 0, len, n_equal = 0;
	bool found = false, is_free;

	for (pos = tail = 0; pos < n_chunks;) {
		if (pos == ready.low) {
			pos = tail = ready.high;
			used = 0;
			if (pos == n_chunks)
				break;
		}
		len = span_len(map, held, pos, &is_free);
		if (len == 0) {
			tail = ++pos;
			used = 0;
			continue;
		}
		pos += len;
		used += is_free ? 0 : len;
		while (pos - tail >= n) {
			n_equal = found && used == ret->used ? n_equal + 1 : 1;
			if (!found || used < ret->used ||
			    (used == ret->used && draw_below(writer, n_equal) == 0)) {
				ret->first = tail;
				ret->end = pos;
				ret->used = used;
				found = true;
			}
			len = span_len(map, held, tail, &is_free);
			/* Changed behind us: begin again here. */
			if (len == 0 || len > pos - tail || (!is_free && len > used)) {
				tail = pos;
				used = 0;
				break;
			}
			tail += len;
			used -= is_free ? 0 : len;
		}
	}
	return found;
}

/* Adds what some records of a span are worth, at most @max of them, from a random one on. */
static void judge_span(struct skv_writer *writer, const struct skv_span *span, uint32_t max,
		       uint64_t *sum, uint64_t *n)
{
	const struct skv_map *map = writer->map;
	uint32_t n_blocks = span->state == SKV_CHUNK_SLAB ? skv_class_blocks(span->class) : 1, i;
	uint64_t idx = draw_below(writer, n_blocks), stamp, off;
	struct skv_place place;
	struct skv_key key;
	uint8_t copy[256];

	for (i = 0; i < n_blocks && max > 0; i++, idx = idx + 1 == n_blocks ? 0 : idx + 1) {
		off = skv_chunk_off(map, span->head) + idx * span->bytes;
		if (!skv_block_is_alloc(skv_block_load(map, off), &stamp) ||
		    !skv_index_place(map, off, copy, sizeof(copy), &key, &place))
			continue;
		*sum += 1 + skv_policy_keep(map, place);
		(*n)++;
		max--;
	}
}

/*
 * What the chunks of a stretch are worth: what some of its records are worth on average, for each
 * chunk. Not their sum: a slab with a single record that is used all the time would go, and come
 * again.
 */
static uint64_t worth(struct skv_writer *writer, const struct stretch *stretch)
{
	uint64_t sum = 0, n = 0, head;
	struct skv_span span;
	uint32_t i;

	for (i = 0; i < STRETCH_SPANS; i++) {
		head = skv_chunk_head(writer->map, stretch->first +
						    draw_below(writer, stretch->end - stretch->first));
		if (skv_block_locate(writer->map, skv_chunk_off(writer->map, head), &span) &&
		    (span.state == SKV_CHUNK_SLAB || span.state == SKV_CHUNK_RUN))
			judge_span(writer, &span, STRETCH_JUDGED, &sum, &n);
	}
	return n > 0 ? sum * stretch->used / n : 0;
}

/* @off: a record that should go, whose surroundings are looked at too; or 0. */
static bool choose(struct skv_writer *writer, const struct skv_held *held, uint64_t n, uint64_t off,
		   struct stretch *ret)
{
	const struct skv_map *map = writer->map;
	uint64_t chunk, cost, least = 0;
	uint32_t i, n_found = 0;
	struct stretch stretch;

	/* What was emptied in vain is free now, and likely in the stretch with the fewest keys. */
	if (writer->lack.spent > 0 && n > SKV_CLASS_SPAN_MAX)
		return search(writer, held, n, ret);
	for (i = 0; i < STRETCH_TRIES && n_found < STRETCHES; i++) {
		chunk = i == 0 && off >= map->region.geo.chunk_off ?
				(off - map->region.geo.chunk_off) / SKV_CHUNK_BYTES :
				draw_chunk(writer);
		if (!skv_chunk_is_ready(map, chunk) || !extend(map, held, chunk, n, &stretch))
			continue;
		cost = worth(writer, &stretch);
		if (n_found++ == 0 || cost < least) {
			least = cost;
			*ret = stretch;
		}
	}
	return n_found > 0 || search(writer, held, n, ret);
}

/* Whatever record lies here, if a slot names it. */
static void evict_block(struct skv_writer *writer, const struct need *need, uint64_t off)
{
	const struct skv_map *map = writer->map;
	uint8_t small[256], *copy = small;
	uint64_t key_len, value_len, stamp;
	struct skv_place place;
	struct skv_key key;

	if (!skv_block_is_alloc(skv_block_load(map, off), &stamp) ||
	    !skv_index_record(map, off, &key_len, &value_len))
		return;
	if (key_len > sizeof(small))
		copy = malloc(key_len);
	if (copy && skv_index_place(map, off, copy, key_len, &key, &place) &&
	    place.bits != need->spare.bits)
		skv_index_evict_record(writer, off, stamp, &key);
	if (copy != small)
		free(copy);
	SKV_FAULT(EVICT_RECORD);
}

static enum result empty_slab(struct skv_writer *writer, const struct need *need, uint64_t head,
			      struct skv_cell seen)
{
	uint32_t class = skv_chunk_class(seen.w), i, n;
	uint64_t off = skv_chunk_off(writer->map, head);

	if (!is_slab(writer->map, head, seen))
		return LOST;
	n = skv_class_blocks(class);
	for (i = 0; i < n; i++, off += skv_class_bytes[class])
		evict_block(writer, need, off);
	SKV_FAULT(EVICT_EMPTIED);
	return skv_arena_dismantle(writer, head, seen) ? GOT : LOST;
}

/* Every block is free or holds a record. What is read here is read again at once. */
static bool slab_may_go(const struct skv_map *map, uint64_t head, struct skv_cell seen)
{
	uint64_t gen = skv_chunk_generation(head, skv_chunk_arg(seen.w)), stamp, word;
	uint64_t off = skv_chunk_off(map, head);
	uint32_t class = skv_chunk_class(seen.w), i;

	for (i = 0; i < skv_class_blocks(class); i++, off += skv_class_bytes[class]) {
		word = skv_block_load(map, off);
		if (!skv_block_is_alloc(word, &stamp) && word != skv_block_free_word(map, off, gen))
			return false;
	}
	return true;
}

static void note_lost(struct skv_writer *writer, uint64_t head)
{
	struct skv_lack *lack = &writer->lack;

	if (lack->n_lost < SKV_LOST_MAX)
		lack->lost[lack->n_lost++] = head;
}

/* Before the first key goes: is all of it still to be had? */
static bool may_go(struct skv_writer *writer, const struct skv_held *held,
		   const struct stretch *stretch)
{
	const struct skv_map *map = writer->map;
	struct skv_cell seen;
	uint64_t pos, len;
	bool is_free;

	for (pos = stretch->first; pos < stretch->end; pos += len) {
		len = span_len(map, held, pos, &is_free);
		if (len == 0)
			return false;
		seen = skv_cell_read(skv_chunk_cell(map, pos));
		if (skv_chunk_state(seen.w) == SKV_CHUNK_SLAB && is_slab(map, pos, seen) &&
		    !slab_may_go(map, pos, seen)) {
			note_lost(writer, pos);
			return false;
		}
	}
	return !skv_block_announced(writer, skv_chunk_off(map, stretch->first),
				    (stretch->end - stretch->first) * SKV_CHUNK_BYTES);
}

static enum result empty_run(struct skv_writer *writer, const struct need *need, uint64_t head,
			     struct skv_cell seen)
{
	const struct skv_map *map = writer->map;

	evict_block(writer, need, skv_chunk_off(map, head));
	/* It may have been free before, and left to somebody who has died since. */
	if (skv_load_relaxed(&skv_chunk_cell(map, head)->v) == seen.v)
		skv_arena_finish_run(writer, head);
	return skv_load_relaxed(&skv_chunk_cell(map, head)->v) == seen.v ? LOST : GOT;
}

/* All keys of the stretch go. LOST when some of it was not to be had. */
static enum result empty(struct skv_writer *writer, const struct need *need,
			 const struct skv_held *held, const struct stretch *stretch)
{
	const struct skv_map *map = writer->map;
	enum result result = GOT;
	struct skv_cell seen;
	uint64_t pos, len;
	bool is_free;

	if (!may_go(writer, held, stretch))
		return LOST;
	for (pos = stretch->first; pos < stretch->end && result == GOT; pos += len) {
		seen = skv_cell_read(skv_chunk_cell(map, pos));
		len = span_len(map, held, pos, &is_free);
		if (len == 0)
			result = LOST;
		else if (skv_chunk_state(seen.w) == SKV_CHUNK_SLAB)
			result = empty_slab(writer, need, pos, seen);
		else if (skv_chunk_state(seen.w) == SKV_CHUNK_RUN)
			result = empty_run(writer, need, pos, seen);
		if (result == LOST)
			note_lost(writer, pos);
	}
	if (result == LOST)
		writer->lack.spent += pos - stretch->first;
	return result;
}

/* What cannot be part of a stretch for this operation. */
static void gather(const struct skv_writer *writer, const struct need *need, bool in_flight,
		   struct skv_held *ret_held)
{
	const struct skv_map *map = writer->map;
	struct skv_found own;
	uint32_t i;

	skv_held_gather(writer, in_flight, ret_held);
	if (skv_index_find(map, need->key, &own) == 0)
		skv_held_add(map, ret_held, own.off);
	for (i = 0; i < writer->lack.n_lost; i++)
		skv_held_add(map, ret_held, skv_chunk_off(map, writer->lack.lost[i]));
}

/* Has so much gone in vain that no other stretch is begun? */
static bool is_spent(const struct skv_writer *writer, const struct need *need)
{
	return writer->lack.spent >= need->n + SPENT_MAX;
}

static enum result evict_stretch(struct skv_writer *writer, const struct need *need, uint64_t off)
{
	struct stretch stretch;
	struct skv_held held;

	if (is_spent(writer, need))
		return NOTHING;
	gather(writer, need, true, &held);
	if (!choose(writer, &held, need->n, off, &stretch)) {
		if (!held.in_flight)
			return NOTHING;
		/* Nothing else is left: what is in flight moves on, unless its thread is stopped. */
		gather(writer, need, false, &held);
		if (!search(writer, &held, need->n, &stretch))
			return NOTHING;
	}
	SKV_FAULT(EVICT_CHOSEN);
	return empty(writer, need, &held, &stretch);
}

/* ---- what is needed ----------------------------------------------------------------- */

/*
 * A record of a random chunk: keys are met as often as they take memory. Among the many keys that
 * are small a few large ones would hardly ever be seen.
 */
static void look_by_bytes(struct skv_writer *writer, struct sample *sample)
{
	uint64_t head = skv_chunk_head(writer->map, draw_chunk(writer));
	uint64_t sum = 0, n = 0, off = skv_chunk_off(writer->map, head);
	struct skv_span span;

	if (!skv_block_locate(writer->map, off, &span) ||
	    (span.state != SKV_CHUNK_SLAB && span.state != SKV_CHUNK_RUN))
		return;
	judge_span(writer, &span, 1, &sum, &n);
	if (n > 0 && sum - 1 < sample->any_keep) {
		sample->any_keep = (uint32_t)(sum - 1);
		sample->any_off = off;
	}
}

/*
 * Slabs that others have left empty, before anything is evicted: where somebody deletes a lot, they
 * are met at once, and it pays to look for more of them.
 */
static bool reclaim(struct skv_writer *writer)
{
	const struct skv_map *map = writer->map;
	struct skv_lack *lack = &writer->lack;
	struct skv_cell seen;
	uint64_t head;
	uint32_t i;

	for (i = 0; i <= lack->luck; i++) {
		head = skv_chunk_head(map, draw_chunk(writer));
		seen = skv_cell_read(skv_chunk_cell(map, head));
		if (skv_chunk_state(seen.w) == SKV_CHUNK_SLAB && is_slab(map, head, seen) &&
		    skv_arena_dismantle(writer, head, seen)) {
			lack->luck = RECLAIM_LOOKS;
			return true;
		}
	}
	lack->luck /= 2;
	return false;
}

static enum result evict_for_block(struct skv_writer *writer, const struct need *need)
{
	struct sample sample = { .fit.keep = SKV_POLICY_KEEP_MAX, .any_keep = SKV_POLICY_KEEP_MAX };
	uint32_t slab = need->class ? skv_class_blocks(need->class) : 1, looks;

	if (reclaim(writer))
		return GOT;
	for (looks = 0; looks < LOOKS_MAX && (sample.n < KEYS_ENOUGH || sample.n_fit < FITS_ENOUGH); looks++)
		look(writer, need, &sample);
	look_by_bytes(writer, &sample);
	if (!sample.fit.slot)
		return evict_stretch(writer, need, sample.any_off);

	if (sample.any_keep + skv_policy_disparity(writer->map) < sample.fit.keep &&
	    ++writer->lack.pressure > slab / 2) {
		writer->lack.pressure = 0;
		/* If that fails, the key of this class is as good. */
		if (evict_stretch(writer, need, sample.any_off) == GOT)
			return GOT;
	}
	return evict_key(writer, &sample.fit);
}

/* The lowest chunks that are not for leaves yet. */
static enum result evict_for_leaf(struct skv_writer *writer, const struct need *need)
{
	const struct skv_map *map = writer->map;
	struct skv_ready ready = skv_chunks_ready(map);
	struct stretch first = { 0, 0, 0 };
	uint64_t pos = ready.low ? 0 : ready.high, len, n_seen = 0;
	struct skv_held held;
	bool is_free;

	if (is_spent(writer, need))
		return NOTHING;
	gather(writer, need, true, &held);
	while (pos < map->region.geo.n_chunks && n_seen < LEAF_RUN_MAX) {
		if (pos == ready.low && ready.low < ready.high) {
			pos = ready.high;
			continue;
		}
		len = span_len(map, &held, pos, &is_free);
		if (len == 0) {
			pos++;
			continue;
		}
		/* Given free a moment ago. */
		if (is_free)
			return LOST;
		if (first.end == 0 || len <= LEAF_RUN_MAX) {
			first.first = pos;
			first.end = pos + len;
		}
		if (len <= LEAF_RUN_MAX)
			break;
		n_seen++;
		pos += len;
	}
	if (first.end == 0)
		return NOTHING;
	SKV_FAULT(EVICT_CHOSEN);
	if (empty(writer, need, &held, &first) != GOT)
		return LOST;
	/* At once: the operation begins again with its value, which would take this for itself. */
	return skv_leaf_new(writer, false) == 0 ? GOT : LOST;
}

/*
 * Leaves never merge. If every leaf that fills up by chance were split, there would be ever more of
 * them, and in the end nothing but leaves.
 */
static bool index_is_sparse(const struct skv_map *map)
{
	uint64_t keys = 0, leaves = 1ull << map->region.geo.level_min;
	uint32_t i, n = skv_contexts_ready(map);
	const struct skv_context *ctx;

	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		keys += skv_load_relaxed(&ctx->inserts) - skv_load_relaxed(&ctx->deletes);
		leaves += skv_load_relaxed(&ctx->splits);
	}
	return keys < leaves * (SKV_LEAF_SPLIT_LIVE * 3 / 4);
}

/*
 * The worst keys of the operation's own leaf, as many as make compaction worth while: so fuller
 * leaves come back to the mean.
 */
static enum result trim_leaf(struct skv_writer *writer, const struct need *need)
{
	struct skv_map *map = writer->map;
	struct candidate worst[SKV_LEAF_WORTH_DEAD], key;
	uint32_t i, k, n = 0, n_gone = 0;
	struct skv_place place;
	struct skv_leaf *leaf;

	if (skv_directory_route(map, need->spare, &key.route) < 0)
		return LOST;
	leaf = skv_leaf_at(map, key.route.leaf);
	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		key.slot = &leaf->slots[i];
		key.seen = skv_cell_read(key.slot);
		place = skv_slot_place(key.seen.v, key.seen.w);
		if (skv_slot_state(key.seen.w) != SKV_SLOT_LIVE || place.bits == need->spare.bits)
			continue;
		key.keep = skv_policy_keep(map, place);
		if (n == SKV_LEAF_WORTH_DEAD && key.keep >= worst[n - 1].keep)
			continue;
		/* In order, the worst first. */
		for (k = n < SKV_LEAF_WORTH_DEAD ? n++ : n - 1; k > 0 && worst[k - 1].keep > key.keep; k--)
			worst[k] = worst[k - 1];
		worst[k] = key;
	}
	for (i = 0; i < n; i++)
		n_gone += evict_key(writer, &worst[i]) == GOT;
	return n_gone > 0 ? GOT : LOST;
}

static enum result evict(struct skv_writer *writer, const struct skv_key *key)
{
	const struct skv_map *map = writer->map;
	uint64_t bytes = writer->lack.bytes;
	struct need need = { .spare = skv_place_of_hash(skv_hash(&map->hash, key->data, key->len)),
			     .key = key };

	if (writer->lack.leaf) {
		need.n = 1;
		return index_is_sparse(map) ? trim_leaf(writer, &need) : evict_for_leaf(writer, &need);
	}
	if (bytes == 0)
		return NOTHING;
	if (bytes <= SKV_CLASS_BYTES_MAX) {
		need.class = skv_class_of(bytes);
		need.n = skv_class_span(need.class);
	} else {
		need.n = (bytes + SKV_CHUNK_BYTES - 1) / SKV_CHUNK_BYTES;
	}
	return evict_for_block(writer, &need);
}

void skv_evict_begin(struct skv_writer *writer)
{
	writer->lack.hasty = writer->map->region.geo.evict != SHMKV_EVICT_NONE;
	writer->lack.leaf = false;
	writer->lack.leaf_first = false;
	writer->lack.bytes = 0;
	writer->lack.tries = 0;
	writer->lack.n_lost = 0;
	writer->lack.spent = 0;
}

void skv_evict_end(struct skv_writer *writer)
{
	writer->lack.hasty = false;
}

bool skv_evict_room(struct skv_writer *writer, const struct skv_key *key)
{
	struct skv_lack *lack = &writer->lack;

	if (!lack->hasty)
		return false;
	/* What has expired goes first. Once: what it frees may not be what is needed. */
	if (lack->tries == 0 && skv_expiry_step(writer, EXPIRED_LINES) > 0) {
		lack->tries++;
		return true;
	}
	if (lack->tries++ < TRIES_MAX && evict(writer, key) != NOTHING) {
		SKV_FAULT(EVICT_DONE);
		lack->leaf_first = lack->leaf;
		lack->bytes = 0;
		lack->leaf = false;
		return true;
	}
	/* One more time, searching everywhere. */
	lack->hasty = false;
	return true;
}

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_INDEX_PARTS_H
#define SKV_SHM_INDEX_PARTS_H

/*
 * index-parts: what the files index*.c share with each other and with nobody else. The protocol
 * stands at the head of index.c.
 */

#include "shm/index.h"

#include "base/fault.h"
#include "shm/arena.h"

#include <errno.h>
#include <string.h>

/* Far above what contention makes; a reader that loses so often says so. */
#define SKV_INDEX_RETRIES 100000u

/* ---- looking at records ------------------------------------------------------------ */

static inline const uint8_t *skv_record_key(const struct skv_map *map, uint64_t off)
{
	return map->region.base + off + SKV_RECORD_HEADER;
}

/* As skv_index_record, where calls count. */
static inline bool skv_record_look(const struct skv_map *map, uint64_t off, uint64_t *ret_key_len,
				   uint64_t *ret_value_len)
{
	uint64_t begin = map->region.geo.chunk_off, chunk, end, lens;

	if (off < begin)
		return false;
	chunk = (off - begin) / SKV_CHUNK_BYTES;
	end = begin + (chunk + 1) * SKV_CHUNK_BYTES;
	/* A block of a wide slab may begin just before the end of a chunk. */
	if (!skv_chunk_is_ready(map, chunk) ||
	    (off + SKV_RECORD_HEADER > end && !skv_chunk_is_ready(map, chunk + 1)))
		return false;
	lens = skv_load_relaxed(&skv_record_at(map, off)->lens);
	*ret_key_len = skv_record_key_len(lens);
	*ret_value_len = skv_record_value_len(lens);
	lens = skv_record_bytes(*ret_key_len, *ret_value_len);
	/* A large record goes on in the chunks behind. */
	if (lens > end - off &&
	    !skv_chunks_are_ready(map, chunk, (off - begin - chunk * SKV_CHUNK_BYTES + lens +
					       SKV_CHUNK_BYTES - 1) / SKV_CHUNK_BYTES))
		return false;
	return *ret_key_len >= 1 && *ret_key_len <= SHMKV_KEY_MAX;
}

static inline struct skv_place skv_key_place(const struct skv_map *map, const struct skv_key *key)
{
	return skv_place_of_hash(skv_hash(&map->hash, key->data, key->len));
}

/* ---- looking for a key ------------------------------------------------------------- */

enum skv_probed {
	SKV_PROBED_FOUND,
	SKV_PROBED_ABSENT,
	SKV_PROBED_FULL,
	SKV_PROBED_MOVED,
	SKV_PROBED_DAMAGED,
};

struct skv_probe {
	struct skv_cell *slot;
	struct skv_cell seen; /* FOUND: the record; ABSENT: the first EMPTY slot */
	uint64_t off;
	uint64_t key_len, value_len;
	uint32_t lines; /* distance of the slot's line from home */
};

/* Walks the probe order of a key through the leaf of a route. */
static inline enum skv_probed skv_probe(const struct skv_map *map, const struct skv_route *route,
					struct skv_place place, const struct skv_key *key,
					struct skv_probe *ret)
{
	struct skv_leaf *leaf = skv_leaf_at(map, route->leaf);
	uint32_t line = skv_place_home(place), i, s;
	struct skv_cell *slot;
	uint64_t v, w;

	for (i = 0; i < SKV_LEAF_LINES; i++) {
		slot = &leaf->slots[line * SKV_LINE_SLOTS];
		for (s = 0; s < SKV_LINE_SLOTS; s++, slot++) {
again:
			/* [slot.read] the version first: see cell.h. */
			v = skv_load_acquire(&slot->v);
			w = skv_load_acquire(&slot->w);
			if (skv_slot_state(w) == SKV_SLOT_EMPTY) {
				ret->slot = slot;
				ret->seen.v = v;
				ret->seen.w = w;
				ret->lines = i;
				return SKV_PROBED_ABSENT;
			}
			/* The word alone is enough to pass a slot by: it never changes its key. */
			if (skv_slot_state(w) != SKV_SLOT_LIVE || !skv_slot_may_match(w, place))
				continue;
			if (!skv_slot_matches(v, w, place)) {
				/* The rest of the place stands in v, which may be older than w: a
				 * slot that was EMPTY a moment ago. Passing it by would insert its
				 * key twice. */
				skv_fence_acquire();
				if (skv_load_relaxed(&slot->v) != v)
					goto again;
				continue;
			}

			ret->off = skv_slot_off(w);
			if (!skv_record_look(map, ret->off, &ret->key_len, &ret->value_len)) {
				skv_fence_acquire();
				if (skv_load_relaxed(&slot->v) != v)
					goto again; /* its writer made progress */
				return skv_route_holds(route) ? SKV_PROBED_DAMAGED : SKV_PROBED_MOVED;
			}
			if (ret->key_len == key->len &&
			    skv_equal_shared(skv_record_key(map, ret->off), key->data, key->len)) {
				ret->slot = slot;
				ret->seen.v = v;
				ret->seen.w = w;
				ret->lines = i;
				return SKV_PROBED_FOUND;
			}
			/* Another key, or bytes that were recycled while we looked. */
			skv_fence_acquire();
			if (skv_load_relaxed(&slot->v) != v)
				goto again;
		}
		line = line + 1 == SKV_LEAF_LINES ? 0 : line + 1;
	}
	ret->lines = SKV_LEAF_LINES;
	return SKV_PROBED_FULL;
}

/* Copies a value to where a sink wants it. -ENOBUFS leaves buf alone. */
static inline int skv_sink_fill(const struct skv_map *map, const struct skv_probe *found,
				struct skv_sink *sink)
{
	const uint8_t *value = map->region.base + found->off + skv_record_value_off(found->key_len);
	uint64_t word, skip = 0;

	sink->value_len = found->value_len;
	sink->head_len = found->value_len < SKV_HEAD_MAX ? found->value_len : SKV_HEAD_MAX;
	skv_copy_from_shared(sink->head, value, sink->head_len);
	word = skv_block_load(map, found->off);
	sink->token = word >> 2;
	sink->deadline = skv_deadline_of(map, found->seen.w, found->off);
	if (sink->skip)
		skip = sink->skip(sink->head, sink->head_len);
	if (skip > found->value_len)
		skip = found->value_len;
	sink->buf_len = found->value_len - skip;
	if (sink->buf_len > sink->cap)
		return -ENOBUFS;
	skv_copy_from_shared(sink->buf, value + skip, sink->buf_len);
	return 0;
}

/* ---- the old record of a slot -------------------------------------------------------- */

/* The old record of a slot and its life, announced. False: it is not linked any more. */
static inline bool skv_old_announce(struct skv_writer *writer, uint64_t off, uint64_t *ret_stamp)
{
	if (!skv_block_is_alloc(skv_block_load(writer->map, off), ret_stamp))
		return false;
	skv_store_release(&writer->ctx->old_off, 0);
	skv_store_release(&writer->ctx->old_stamp, *ret_stamp);
	/* [intent.announce] the slot's compare-and-swap is the full fence. */
	skv_store_release(&writer->ctx->old_off, off);
	return true;
}

/*
 * The unlinked record's memory; the announcement stands until this is done. Between the
 * change's count before it and the look for waiters behind it, it is [commit.count]: a full
 * fence in any case, which costs nothing when the record was freed by a compare-and-swap.
 */
static inline void skv_old_settle(struct skv_writer *writer, uint64_t off, uint64_t stamp)
{
	skv_fence_seq_after_cas();
	if (skv_block_settle(writer, off, stamp))
		skv_fence_seq_after_cas();
	else
		skv_fence_seq();
}

/* The old record is settled, or somebody else's affair because the slot was not ours to
 * change. Also the one who freed it withdraws: its own look at who else announces the record
 * and theirs at its announcement may both have left the head of a large one standing. */
static inline void skv_old_withdraw(struct skv_writer *writer, uint64_t off)
{
	skv_arena_withdraw(writer, &writer->ctx->old_off, off);
}

#endif

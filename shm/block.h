/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_BLOCK_H
#define SKV_SHM_BLOCK_H

/*
 * block: the state word of a record's memory, and who may change it.
 *
 * The word is the only truth of the allocator; caches and bitmaps are hints. Protocol: see
 * block.c.
 */

#include "shm/map.h"
#include "shm/writer.h"

/* Where a block lies: its span of chunks, read at one moment. */
struct skv_span {
	uint64_t head;        /* chunk number */
	struct skv_cell seen; /* cell of the head */
	uint32_t state;       /* SLAB, RUN, DISMANTLE or CLAIMED */
	uint32_t class;       /* SLAB, DISMANTLE */
	uint64_t gen;         /* keys the FREE words */
	uint64_t bytes;       /* of the block */
	uint32_t idx;         /* of the block in its slab */
};

static inline uint64_t skv_mix(uint64_t x)
{
	/* Finalizer of MurmurHash3 (Austin Appleby, public domain), variant 13 of David Stafford. */
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline uint64_t skv_block_mask(const struct skv_map *map, uint64_t off)
{
	return skv_mix(map->region.block_secret ^ off);
}

/* What a free block of this generation of its slab holds: no stale allocator can guess it. */
static inline uint64_t skv_block_free_word(const struct skv_map *map, uint64_t off, uint64_t gen)
{
	return (skv_mix((map->region.block_secret + off) ^ skv_mix(gen + 1)) &
		~SKV_BLOCK_STATE_MASK) |
	       SKV_BLOCK_FREE;
}

static inline uint64_t skv_block_alloc_word(uint64_t stamp)
{
	return (stamp << 2) | SKV_BLOCK_ALLOC;
}

static inline uint64_t skv_block_load(const struct skv_map *map, uint64_t off)
{
	return skv_load_acquire(&skv_record_at(map, off)->hw) ^ skv_block_mask(map, off);
}

static inline bool skv_block_cas(const struct skv_map *map, uint64_t off, uint64_t seen, uint64_t word)
{
	uint64_t mask = skv_block_mask(map, off);

	return skv_cas(&skv_record_at(map, off)->hw, seen ^ mask, word ^ mask);
}

static inline void skv_block_store(const struct skv_map *map, uint64_t off, uint64_t word)
{
	skv_store_release(&skv_record_at(map, off)->hw, word ^ skv_block_mask(map, off));
}

static inline uint64_t skv_block_retired_word(uint64_t stamp)
{
	return (stamp << 2) | SKV_BLOCK_RETIRED;
}

/* Is this word ALLOC, and with which stamp? */
static inline bool skv_block_is_alloc(uint64_t word, uint64_t *ret_stamp)
{
	*ret_stamp = word >> 2;
	return (word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_ALLOC;
}

/*
 * skv_block_locate - is there a block that starts at this offset?
 * @ret_span: its span as it was at one moment; check the head's version again afterwards
 *
 * Any offset may be given. CLAIMED is reported only for the head of a span.
 */
bool skv_block_locate(const struct skv_map *map, uint64_t off, struct skv_span *ret_span);

/*
 * skv_block_settle - free a block that is linked nowhere, if it is still in that life
 * @off, @stamp: the block and the life that ended
 *
 * The caller has announced the block in its own context, with a full fence since (RULE H).
 * Idempotent: may be repeated, raced and arrive late. Returns true for the one caller that
 * freed it.
 */
bool skv_block_settle(struct skv_writer *writer, uint64_t off, uint64_t stamp);

/*
 * skv_block_reclaim - free a block that is RETIRED, unless somebody holds it
 * @word: its state word, @span: its span, both checked against each other by the caller
 *
 * The caller announces the block, and there is a full fence between the change that it
 * waits for (RETIRED, or its own RELEASING) and this. True for the one who freed it.
 */
bool skv_block_reclaim(struct skv_writer *writer, uint64_t off, uint64_t word,
		       const struct skv_span *span);

/* Does any context but this one announce an address inside the stretch? */
bool skv_block_announced(const struct skv_writer *self, uint64_t off, uint64_t len);

#endif

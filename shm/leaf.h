/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_LEAF_H
#define SKV_SHM_LEAF_H

/*
 * leaf: 4 KiB of slots, and how one leaf is replaced by one or two others.
 *
 * Protocol: see leaf.c.
 */

#include "shm/directory.h"
#include "shm/writer.h"

#ifdef SKV_TINY
/* Everything that happens rarely happens within a few inserts. */
#define SKV_LEAF_USED_LIMIT 9u
#define SKV_LEAF_SPLIT_LIVE 7u
#define SKV_LEAF_TRIGGER_LINES 1u
#else
/*
 * A leaf is replaced when so many slots are live or dead: misses cost 1.9 lines at a fill of
 * 0.70, 2.4 at 0.75, 3.2 at 0.80. It is split when so many are live, else compacted; the
 * distance between the two pays for the work: at least 52 inserts.
 */
#define SKV_LEAF_USED_LIMIT 191u
#define SKV_LEAF_SPLIT_LIVE 139u
/* The slots are counted only when an insert had to go this many lines away from home: no
 * counter is shared, and at a fill of 0.74 every few inserts ask. */
#define SKV_LEAF_TRIGGER_LINES 2u
#endif

static inline uint64_t skv_leaf_state(uint64_t w)
{
	return w & SKV_LEAF_STATE_MASK;
}

static inline uint32_t skv_leaf_claimer(uint64_t w)
{
	return (uint32_t)(w >> SKV_LEAF_CHILD0_SHIFT) & 0xfff;
}

static inline uint64_t skv_leaf_kind(uint64_t w)
{
	return (w >> SKV_LEAF_KIND_SHIFT) & 1;
}

static inline uint32_t skv_leaf_child(uint64_t w, uint32_t n)
{
	return (uint32_t)(w >> (n ? SKV_LEAF_CHILD1_SHIFT : SKV_LEAF_CHILD0_SHIFT)) &
	       (uint32_t)SKV_LEAF_NUMBER_MASK;
}

struct skv_leaf_counts {
	uint32_t live, dead, empty;
};

struct skv_leaf_counts skv_leaf_count(const struct skv_leaf *leaf);

/* In a full segment that evicts a leaf is compacted also when more than SPLIT_LIVE are live, if
 * so many are dead: keys come and go, and their number in one leaf goes up and down by more. */
#define SKV_LEAF_WORTH_DEAD ((SKV_LEAF_USED_LIMIT - SKV_LEAF_SPLIT_LIVE) / 2)

/*
 * skv_leaf_replace - replace the leaf of a route, or help whoever has begun to
 * @must: the caller has no empty slot left, search everywhere for memory
 *
 * Returns 0 when something moved: route again. -ENOSPC when there is no memory for it, or
 * nothing to gain: the caller may use the last empty slots. -EXFULL when the leaf is full of
 * live slots and its prefix cannot get longer. -EBADMSG.
 */
int skv_leaf_replace(struct skv_writer *writer, const struct skv_route *route, bool must);

/*
 * skv_leaf_finish_life - complete the replacement of a leaf that is FORWARD in life @gen
 *
 * For reapers and sweepers; returns whether it was.
 */
bool skv_leaf_finish_life(struct skv_writer *writer, uint32_t leaf, uint64_t gen);

/* One free chunk becomes free leaves, which this writer uses next. 0 or -ENOSPC. @thorough: as for
 * skv_chunk_claim. */
int skv_leaf_new(struct skv_writer *writer, bool thorough);

/* Free a leaf that a dead context had claimed; false if it is not claimed by it any more. */
bool skv_leaf_unclaim(struct skv_writer *writer, uint32_t leaf, struct skv_cell seen);

/* Put leaves that are kept for compaction but not in the pool there, or set them free. */
void skv_leaf_repool(struct skv_writer *writer);

/* An unpublished segment: the first leaves, live and reserved. */
int skv_leaf_init(struct skv_map *map);

#endif

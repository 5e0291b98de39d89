/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_PLACE_H
#define SKV_SHM_PLACE_H

/*
 * place: where the hash of a key puts it, in 36 bits that a slot can hold.
 *
 *   bits 35..12  prefix: the top bits select the directory cell
 *   bits 11..0   home: selects the first line to probe
 *
 * The prefix is not uniform on purpose. With uniform prefixes every leaf fills at the same
 * moment and splits at the same moment: right after that the leaves are a third full and
 * the index costs 45 bytes per key, and all the splits come in one storm. Skewing the
 * density by a factor of two across the prefix space, as spiral storage does (Martin, 1979;
 * Larson's "Dynamic hash tables", 1988), spreads the splits evenly over each doubling of
 * the key count: the mean fill is then the same at every size. y = x - x(1 - x)/3 has slopes
 * 2/3 and 4/3 at its ends, so densities 3/2 and 3/4; 2^x - 1 would be exact, and the
 * difference is not measurable.
 */

#include "shm/layout.h"

#define SKV_PLACE_BITS 36
#define SKV_PREFIX_BITS 24u

struct skv_place {
	uint64_t bits;
};

static inline struct skv_place skv_place_of_hash(uint64_t hash)
{
	uint64_t x = hash >> 32;
	uint64_t y = x - ((x * (0xffffffffull - x)) >> 32) / 3;
	struct skv_place place = { ((y >> 8) << 12) | (hash & 0xfff) };

	return place;
}

static inline uint32_t skv_place_prefix(struct skv_place place)
{
	return (uint32_t)(place.bits >> 12);
}

/* Directory index at a level of 0..24. */
static inline uint32_t skv_place_index(struct skv_place place, uint32_t level)
{
	return skv_place_prefix(place) >> (SKV_PREFIX_BITS - level);
}

static inline uint32_t skv_place_home(struct skv_place place)
{
	return (uint32_t)(((place.bits & 0xfff) * SKV_LEAF_LINES) >> 12);
}

/* ---- slots ------------------------------------------------------------------------ */

static inline uint64_t skv_slot_state(uint64_t w)
{
	return w & SKV_SLOT_STATE_MASK;
}

static inline uint64_t skv_slot_version(uint64_t v)
{
	return v >> SKV_SLOT_VERSION_SHIFT;
}

static inline uint64_t skv_slot_off(uint64_t w)
{
	return (w >> SKV_SLOT_OFF_SHIFT) << 4;
}

static inline struct skv_place skv_slot_place(uint64_t v, uint64_t w)
{
	struct skv_place place = { ((v & 0xffff) << 20) |
				   ((w >> SKV_SLOT_HASH_SHIFT) & 0xfffff) };

	return place;
}

/* By the part of the place that stands in w. */
static inline bool skv_slot_may_match(uint64_t w, struct skv_place place)
{
	return ((w >> SKV_SLOT_HASH_SHIFT) & 0xfffff) == (place.bits & 0xfffff);
}

static inline bool skv_slot_matches(uint64_t v, uint64_t w, struct skv_place place)
{
	return skv_slot_place(v, w).bits == place.bits;
}

/* The next version with this place; v of the slot as it was read. */
static inline uint64_t skv_slot_next_v(uint64_t v, struct skv_place place)
{
	return ((skv_slot_version(v) + 1) << SKV_SLOT_VERSION_SHIFT) | (place.bits >> 20);
}

static inline uint64_t skv_slot_live_w(uint64_t off, struct skv_place place)
{
	return ((off >> 4) << SKV_SLOT_OFF_SHIFT) | ((place.bits & 0xfffff) << SKV_SLOT_HASH_SHIFT) |
	       SKV_SLOT_LIVE;
}

#endif

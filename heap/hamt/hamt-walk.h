/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_HAMT_WALK_H
#define SKV_HEAP_HAMT_WALK_H

/*
 * hamt-walk: over all items of a tree that does not change meanwhile: a version, or a head that
 * nobody writes. Nothing here allocates or writes to the tree.
 */

#include "heap/hamt/hamt-trie.h"

/* ---- iteration, in the order of hashes, then of keys ----------------------------- */

struct skv_hamt_walk {
	struct {
		uint64_t slot; /* a node or bunch */
		uint32_t next; /* of its slots */
		uint32_t n;
	} frames[SKV_HAMT_PATH_MAX];
	unsigned int n_frames;
	uint64_t lone; /* a root that is an item */
};

/* skv_hamt_walk_begin - stand before the first item whose hash is not below @from */
void skv_hamt_walk_begin(struct skv_hamt_walk *walk, uint64_t root, uint64_t from);

/* skv_hamt_walk_next - the next item, NULL at the end */
struct skv_hamt_item *skv_hamt_walk_next(struct skv_hamt_walk *walk);

/* ---- comparison ------------------------------------------------------------------ */

/* One of the two is NULL if the key is on one side only. A non-zero answer ends the walk. */
typedef int skv_hamt_diff_fn(void *arg, const struct skv_hamt_item *before,
			     const struct skv_hamt_item *after);

/*
 * skv_hamt_diff - what became of one tree in another of the same hash
 *
 * Calls @fn for each key that is on one side only or has another item, in the order of the
 * hashes. What both share is passed over: the time is that of the difference. Returns 0 or what
 * @fn answered.
 */
int skv_hamt_diff(uint64_t before, uint64_t after, const struct skv_hamt_kind *kind,
		  skv_hamt_diff_fn *fn, void *arg);

/* skv_hamt_same_shape - the same keys in the same nodes? */
bool skv_hamt_same_shape(uint64_t a, uint64_t b, const struct skv_hamt_kind *kind);

/* ---- figures --------------------------------------------------------------------- */

struct skv_hamt_figures {
	uint64_t items;
	uint64_t nodes;      /* without bunches */
	uint64_t slots;      /* in those: map bits in use */
	uint64_t bunches;    /* sets of items with one hash */
	uint64_t bunched;    /* items in those */
	uint64_t skipped;    /* levels that have no node because all keys agree there */
	uint64_t depth_sum;  /* over items: nodes and bunches above each */
	uint64_t depth_max;
	uint64_t node_bytes; /* nodes and bunches, as allocated */
	uint64_t item_bytes;
};

/* skv_hamt_measure - count what is there; reads everything */
void skv_hamt_measure(uint64_t root, const struct skv_hamt_kind *kind,
		      struct skv_hamt_figures *ret_figures);

/* ---- invariants ------------------------------------------------------------------ */

/*
 * skv_hamt_check - hold every invariant against the head and each version
 * @fn: NULL, or called with a sentence for each violation
 *
 * Also counts what is on the lists: every object of the pool is in the head or on exactly one
 * list. Returns the number of violations. Reads everything; the writer's, with no item in hand
 * that is not put yet.
 */
uint64_t skv_hamt_check(const struct skv_hamt *t, void (*fn)(const char *violation, void *arg),
			void *arg);

#endif

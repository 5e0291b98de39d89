/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_CELL_H
#define SKV_SHM_CELL_H

/*
 * cell: reading and changing a versioned cell.
 *
 * Whoever changes a cell writes both words at once, with a version that was never there
 * before. A reader loads v, then w: (new v, old w) cannot be seen, because both change in
 * one store and the loads are ordered; (old v, new w) can, and looking at v again finds it.
 * Nobody needs a 16-byte load, which on x86-64 would be a write.
 */

#include "shm/layout.h"

/* What a cell held at one moment. */
static inline struct skv_cell skv_cell_read(const struct skv_cell *cell)
{
	struct skv_cell seen;

	for (;;) {
		/* [cell.change] -> [cell.read]: acquire, what the word names was written before it. */
		seen.v = skv_load_acquire(&cell->v);
		seen.w = skv_load_acquire(&cell->w);
		/* Ends when no writer interferes: lock-free, each repeat is somebody's success. */
		if (skv_load_relaxed(&cell->v) == seen.v)
			return seen;
	}
}

/* [cell.change] acquire and release. False also when only the version differs. */
static inline bool skv_cell_cas(struct skv_cell *cell, struct skv_cell seen, uint64_t v, uint64_t w)
{
	struct skv_pair expected = { seen.v, seen.w };
	struct skv_pair desired = { v, w };

	return skv_cas_pair((struct skv_pair *)(void *)cell, expected, desired);
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_GEOMETRY_H
#define SKV_SHM_GEOMETRY_H

/*
 * geometry: where everything lies in a segment and how many there are of each: planned from
 * what a caller asked for, or checked in a superblock that anybody may have written. Pure
 * arithmetic: it touches no file and no mapping.
 */

#include "shm/layout.h"

#include <shmkv/shmkv.h>

/* The numbers of the superblock, recomputed or checked against the file at attach: later
 * reads use this copy and never trust the shared one again. */
struct skv_geometry {
	uint64_t segment_bytes;
	uint64_t max_bytes;
	uint64_t wait_off;
	uint64_t process_off;
	uint64_t context_off;
	uint64_t class_off;
	uint64_t policy_off;
	uint64_t dir_off;
	uint64_t cell_off;
	uint64_t bitmap_off;
	uint64_t summary_off;
	uint64_t chunk_off;
	uint32_t n_processes;
	uint32_t n_contexts;
	uint32_t n_chunks;
	uint32_t hash_kind;
	uint32_t level_min;
	uint32_t level_max;
	uint64_t default_ttl_ms;
	uint32_t evict; /* enum shmkv_evict */
	uint32_t huge; /* enum shmkv_huge_pages, never DEFAULT */
};

#define SKV_HUGE_BYTES ((uint64_t)2 << 20)

/* Contexts are made ready in whole pages. */
#define SKV_CONTEXTS_PER_PAGE ((uint32_t)(SKV_PAGE / sizeof(struct skv_context)))

static inline uint64_t skv_round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/*
 * skv_geometry_plan - geometry for what a caller asked for
 * @opts: ranges are checked here. 0 in max_bytes, hash, max_processes and max_threads is the
 *        default; a default may be reduced for a small map, a request is kept or refused
 * @ret_geo: the plan
 *
 * Returns 0 or -EINVAL.
 */
int skv_geometry_plan(const struct shmkv_options *opts, struct skv_geometry *ret_geo);

/*
 * skv_geometry_check - read the geometry out of a superblock that anybody may have written
 * @sb: a private copy
 * @file_bytes: size of the file it begins
 *
 * Counts must be within their bounds, and everything else is what follows from them.
 * Returns 0, -EMEDIUMTYPE, -EPROTONOSUPPORT or -EBADMSG.
 */
int skv_geometry_check(const struct skv_superblock *sb, uint64_t file_bytes,
		       struct skv_geometry *ret_geo);

#endif

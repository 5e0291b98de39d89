/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_SCAN_H
#define SKV_SHM_SCAN_H

/*
 * scan: every key once, without blocking anyone and without a trace in the segment.
 *
 * The cursor is a bound in the prefix space; the range that one directory cell governs is
 * read as one atomic picture. Ranges are disjoint and splits keep their bounds, so a key
 * that is present all the time is met exactly once, whatever happens to the leaves.
 */

#include "shm/index.h"

struct skv_scan;

int skv_scan_begin(struct skv_map *map, uint64_t cursor, struct skv_scan **ret_scan);
int skv_scan_next(struct skv_scan *scan, struct shmkv_entry *ret_entry);
uint64_t skv_scan_cursor(const struct skv_scan *scan);
int skv_scan_ttl(const struct skv_scan *scan, uint64_t *ret_ms);
void skv_scan_end(struct skv_scan *scan);

#endif

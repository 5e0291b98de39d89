/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_HAMT_HAMT_MAP_H
#define SKV_HEAP_HAMT_HAMT_MAP_H

/*
 * hamt-map: the map behind "heap:hamt": a trie of records, with the lock, the memory and the
 * counters of every heap map. A record is an item: its hash and its token are the item's hash
 * and stamp. Operations: hamt-engine.c; snapshots and scans: hamt-snapshot.c.
 */

#include "heap/hamt/hamt-walk.h"
#include "heap/record.h"

struct skv_hamt_map {
	struct skv_heap heap;
	struct skv_hamt trie;
	uint32_t n_users; /* the handle, snapshots, scans: the last one to go frees the map */
};

_Static_assert(offsetof(struct skv_record, hash) == offsetof(struct skv_hamt_item, hash),
	       "a record is an item");
_Static_assert(offsetof(struct skv_record, token) == offsetof(struct skv_hamt_item, stamp),
	       "a record is an item");

/* A frozen map behind a handle of its own. */
struct skv_hamt_snapshot {
	struct skv_hamt_map *map;
	struct skv_hamt_version *version;
};

extern const struct skv_engine skv_engine_hamt_snapshot;

/* The map lives until as many have left as entered. Leaving: of any thread, without the lock. */
void skv_hamt_map_enter(struct skv_hamt_map *map);
void skv_hamt_map_leave(struct skv_hamt_map *map);

/* A version of the map, with its user. Takes the lock. */
int skv_hamt_map_freeze(struct skv_hamt_map *map, struct skv_hamt_version **ret_version);
void skv_hamt_map_release(struct skv_hamt_map *map, struct skv_hamt_version *version);

/* Entries of the engine's table: hamt-snapshot.c. */
int skv_hamt_snapshot(void *map, const struct skv_engine **ret_engine, void **ret_map);
int skv_hamt_scan_begin(void *map, uint64_t cursor, void **ret_scan);
int skv_hamt_scan_next(void *scan, struct shmkv_entry *ret_entry);
uint64_t skv_hamt_scan_cursor(const void *scan);
void skv_hamt_scan_end(void *scan);
int skv_hamt_shape(void *map, struct shmkv_hamt_info *info);

static inline const struct skv_record *skv_hamt_record(const struct skv_hamt_item *item)
{
	return (const struct skv_record *)(const void *)item;
}

#endif

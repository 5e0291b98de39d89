/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_POLICY_H
#define SKV_SHM_POLICY_H

/*
 * policy: remembers, about, how lately and how often each key was used.
 *
 * A segment that evicts has a table of bytes for it; one that does not has nothing, and its
 * readers pay one branch on private geometry. Everything in the table is a hint. Protocol: see
 * policy.c.
 */

#include "shm/map.h"
#include "shm/place.h"
#include "shm/writer.h"

/* More than any key is worth. */
#define SKV_POLICY_KEEP_MAX 1024u

void skv_policy_note_use(const struct skv_map *map, struct skv_place place);

/* A key was found or stored. Handles that cannot write note nothing. */
static inline void skv_policy_touch(const struct skv_map *map, struct skv_place place)
{
	if (__builtin_expect(map->region.geo.evict != SHMKV_EVICT_NONE && !map->region.read_only, 0))
		skv_policy_note_use(map, place);
}

/* A record of so many bytes was inserted: time passes. */
void skv_policy_note_bytes(struct skv_writer *writer, uint64_t bytes);

static inline void skv_policy_insert(struct skv_writer *writer, uint64_t bytes)
{
	if (__builtin_expect(writer->map->region.geo.evict != SHMKV_EVICT_NONE, 0))
		skv_policy_note_bytes(writer, bytes);
}

/*
 * skv_policy_keep - how much a key is worth, 0 to SKV_POLICY_KEEP_MAX - 1
 *
 * The lowest goes first. Keys that share bytes of the table seem worth what the best of them
 * is worth.
 */
uint32_t skv_policy_keep(const struct skv_map *map, struct skv_place place);

/* From this difference on a key of another size class should go instead. */
uint32_t skv_policy_disparity(const struct skv_map *map);

#endif

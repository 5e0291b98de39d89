/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_INDEX_H
#define SKV_SHM_INDEX_H

/*
 * index: the operations on keys.
 *
 * Protocol, linearization points and crash table: see index.c.
 */

#include "api/engine.h"
#include "shm/expiry.h"
#include "shm/leaf.h"

/*
 * What can be known of a key before the operation on it: its hash, and perhaps a route. The
 * route may be as old as the call: the guard covers all the time since it was taken.
 */
struct skv_aim {
	struct skv_place place;
	struct skv_route route; /* cell NULL: none */
};

struct skv_place skv_index_place_of(const struct skv_map *map, const struct skv_key *key);

/* Copies of this many bytes take longer than a writer needs to replace the value. */
#define SKV_LARGE_COPY 16384u

/* How many of them a reader that cannot pin lets be overtaken: some seconds for 10 MiB. */
#define SKV_PATIENCE 1000u

/*
 * skv_index_get - copy the value of a key
 * @patience: how many copies of large values may be overtaken by writers before it answers
 *            -EAGAIN
 */
int skv_index_get(const struct skv_map *map, const struct skv_key *key, uint32_t patience,
		  struct skv_sink *sink);
int skv_index_get_at(const struct skv_map *map, const struct skv_key *key,
		     const struct skv_aim *aim, uint32_t patience, struct skv_sink *sink);
int skv_index_exists(const struct skv_map *map, const struct skv_key *key);

/*
 * skv_index_state - what somebody who waits for a change of the key compares
 * @ret_token: of the key's value, 0 when the key is absent
 * @ret_expiry_ms: boot clock; when the key will be absent by itself, 0 for never
 *
 * Returns 0, -EAGAIN or -EBADMSG.
 */
int skv_index_state(const struct skv_map *map, const struct skv_key *key, uint64_t *ret_token,
		    uint64_t *ret_expiry_ms);

int skv_index_write(struct skv_writer *writer, const struct skv_key *key, enum skv_write_mode mode,
		    uint64_t token, const struct skv_bytes *value,
		    const struct skv_lifetime *life, uint64_t *ret_token);
int skv_index_write_at(struct skv_writer *writer, const struct skv_key *key,
		       const struct skv_aim *aim, enum skv_write_mode mode, uint64_t token,
		       const struct skv_bytes *value, const struct skv_lifetime *life,
		       uint64_t *ret_token);
int skv_index_update(struct skv_writer *writer, const struct skv_key *key, skv_splice_fn *fn,
		     void *arg, const struct skv_lifetime *life, uint64_t *ret_token);
int skv_index_remove(struct skv_writer *writer, const struct skv_key *key, struct skv_sink *sink);

/*
 * skv_index_draft - a private record with the key and the head of a value
 * @value: room is made for its payload, which is not looked at
 *
 * "new" names it, phase 0; the caller gives it another name before it clears that.
 */
int skv_index_draft(struct skv_writer *writer, const struct skv_key *key,
		    const struct skv_bytes *value, uint64_t *ret_off, uint64_t *ret_stamp);

/*
 * skv_index_commit - link such a record
 * @value: the head to write, and the length of the payload that stands behind it
 *
 * Answers as skv_index_write, and -EBADMSG when the record is not what was reserved. Refused, it
 * is what it was before and the caller's.
 */
int skv_index_commit(struct skv_writer *writer, uint64_t off, uint64_t stamp,
		     enum skv_write_mode mode, uint64_t token, const struct skv_bytes *value,
		     const struct skv_lifetime *life);

/*
 * skv_index_hold - pin the value of a key where it lies
 *
 * Ended with skv_pin_release. Returns also -EMLINK.
 */
int skv_index_hold(struct skv_writer *writer, const struct skv_key *key, struct skv_hold *ret_hold);

/* The same for as long as a copy takes: nobody can overtake it. Returns also -EMLINK. */
int skv_index_get_held(struct skv_writer *writer, const struct skv_key *key, struct skv_sink *sink);

/* Where a key was found, at one moment. */
struct skv_found {
	struct skv_route route;
	struct skv_cell *slot;
	struct skv_cell seen;
	uint64_t off; /* of the record */
	uint64_t value_len;
};

/* skv_index_find - the slot of a key that is present; -ENOENT, -EAGAIN, -EBADMSG */
int skv_index_find(const struct skv_map *map, const struct skv_key *key, struct skv_found *ret);

/* Is it still there? The caller has put an acquire fence before this. */
static inline bool skv_found_stands(const struct skv_found *found)
{
	return skv_load_relaxed(&found->slot->v) == found->seen.v && skv_route_holds(&found->route);
}

static inline bool skv_slot_must_move(struct skv_cell seen)
{
	/* A slot at the end of its versions counts as frozen: the leaf must be replaced. */
	return (seen.w & SKV_SLOT_FROZEN) || skv_slot_version(seen.v) >= SKV_SLOT_VERSION_MAX;
}

/*
 * skv_index_expire - remove what has expired in some slots of a leaf
 * @first, @n: slots
 * @max: stop after so many; 0 for no limit
 * @ret_met: added to: how many were found expired
 * @ret_removed: added to: how many of those this call removed
 *
 * -EAGAIN: route again.
 */
int skv_index_expire(struct skv_writer *writer, const struct skv_route *route, uint32_t first,
		     uint32_t n, uint64_t max, uint64_t *ret_met, uint64_t *ret_removed);

/* Remove whatever the slots of one leaf hold; adds to *ret_removed those that had not expired.
 * -EAGAIN: route again. */
int skv_index_clear_leaf(struct skv_writer *writer, const struct skv_route *route,
			 uint64_t *ret_removed);

/*
 * skv_index_links - does a slot name this block?
 *
 * A raw look-up by the key in the block itself, which the caller knows to be allocated: no
 * expiry, frozen slots count. 1 yes, 0 no, -EAGAIN, -EBADMSG (no record that makes sense),
 * -ENOMEM.
 */
int skv_index_links(const struct skv_map *map, uint64_t off);

/* The same look-up, for who wants to know which slot holds that key, whatever it names. */
int skv_index_slot_of(const struct skv_map *map, uint64_t off, struct skv_cell **ret_slot);

/*
 * What a slot names, bounds-checked: the lengths of the record at @off, or false when they
 * cannot be right. Whether they are is known only after the slot was found unchanged.
 */
bool skv_index_record(const struct skv_map *map, uint64_t off, uint64_t *ret_key_len,
		      uint64_t *ret_value_len);

/*
 * skv_index_evict - remove what one slot holds, if it is still what was seen
 * @route, @slot, @seen: as they were read; a key that was written since stays
 *
 * True when the key is gone by this call.
 */
bool skv_index_evict(struct skv_writer *writer, const struct skv_route *route,
		     struct skv_cell *slot, struct skv_cell seen);

/*
 * skv_index_place - the key of a record and its place
 * @copy, @cap: private memory for the key
 *
 * False when there is no record that makes sense, or its key is longer than @cap. The key may
 * be torn or of another record: a slot that names the block decides.
 */
bool skv_index_place(const struct skv_map *map, uint64_t off, void *copy, size_t cap,
		     struct skv_key *ret_key, struct skv_place *ret_place);

/*
 * skv_index_evict_record - remove a key by its record
 * @off, @stamp: the block and its life
 * @key: as it stands in the block
 *
 * True when the key is gone by this call; false when it is not linked, or another record is.
 */
bool skv_index_evict_record(struct skv_writer *writer, uint64_t off, uint64_t stamp,
			    const struct skv_key *key);

#endif

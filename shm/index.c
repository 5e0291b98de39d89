/* SPDX-License-Identifier: MIT */
#include "shm/index-parts.h"

#include <stdlib.h>

/*
 * Purpose and ancestry. Every change of a key is one compare-and-swap on one slot; the
 * record it names was finished before and is never changed after. Readers take no part: they
 * use bytes optimistically and then find the slot and the route unchanged, as in Boehm's
 * seqlock reader and in version-based reclamation.
 *
 * This is the protocol of index-read.c, index-write.c and index-remove.c; the probe that all of
 * them begin with is in index-parts.h.
 *
 *  get     route, probe, compare key, copy; then slot version and guard
 *  write   block (intent, claim, fill, complete); route, probe; condition; old intent; guard;
 *          slot compare-and-swap: (v, A) -> (v + 1, B) or (v, EMPTY) -> (v + 1, LIVE B);
 *          settle A; clear intents
 *  remove  route, probe; old intent; guard; (v, A) -> (v + 1, DEAD); settle A; clear
 *
 * A record whose deadline has come counts as absent in all of them, and the slot that names it
 * as one where the key can be written: see expiry.c. To replace it is a write like any other.
 *
 * When a reader may trust what it read. A slot's version changes with everything but
 * freezing, and freezing changes nothing a reader cares for. Unchanged slot version: the slot
 * held exactly this record all the time, the record was linked all the time, so its bytes
 * were not recycled. Unchanged guard: the leaf governed all the time. EMPTY ends a search:
 * by I2 no later slot of the probe order holds the key.
 *
 * No duplicate keys. Suppose A's insert fills slot e. When A scanned, every earlier slot of
 * the order was neither EMPTY nor the key, and by I1 none can become it. Whoever inserts the
 * same key elsewhere picks a later slot, so saw e not EMPTY, so after A's insert, so saw the
 * key. The guard and I5 exclude that a scan straddled two lives of the leaf.
 *
 * Linearization.
 *  a successful write or remove: its slot compare-and-swap. The leaf is current at that
 *  instant: it is replaced only after every slot is frozen, and this one was not.
 *  a hit or a failed condition: the last instant at which the slot had the version seen.
 *  a miss: if the key was absent when the operation began, then; otherwise it was LIVE in a
 *  slot before the EMPTY that ended the search, which was read later and not seen, so it was
 *  removed in between: right after that removal.
 *
 *  pair                                   what it carries
 *  [write.publish] -> [slot.read]         the record before the slot that names it
 *  [slot.read] .. re-read                 acquire fence: bytes before the second look
 *  [intent.announce] -> [announced.scan]  see block.c; the slot compare-and-swap is the fence
 *
 * Progress: lock-free. A retry means that another operation succeeded, or that a leaf was
 * replaced; after SKV_INDEX_RETRIES of them the answer is -EAGAIN.
 *
 * A process dies                                       left                     repaired by
 *  block claimed, phase 0 (WRITE_CLAIMED)              private block            reaper: settle
 *  complete, before the slot (WRITE_COMPLETE)          private block            reaper: not
 *                                                                               linked, settle
 *  old announced (WRITE_OLD, REMOVE_OLD), the guard    nothing                  reaper: old is
 *  seen to hold (WRITE_GUARDED, REMOVE_GUARDED)                                 linked, leave it
 *  slot changed, the commit (WRITE_LINKED,             the new value; old block reaper: new is
 *  REMOVE_UNLINKED)                                    not freed                linked, old is
 *                                                                               not: settle it
 *  old block settled (WRITE_SETTLED, REMOVE_SETTLED)   intents of what is done  reaper: nothing
 * In no row is the index inconsistent, and nobody waits.
 */

bool skv_index_record(const struct skv_map *map, uint64_t off, uint64_t *ret_key_len,
		      uint64_t *ret_value_len)
{
	return skv_record_look(map, off, ret_key_len, ret_value_len);
}

struct skv_place skv_index_place_of(const struct skv_map *map, const struct skv_key *key)
{
	return skv_key_place(map, key);
}

/* ---- looking for a block ------------------------------------------------------------ */

/* A raw look-up by the key in a block: 1 found, 0 not, or an error. */
static int find_by_block(const struct skv_map *map, uint64_t off, struct skv_probe *ret)
{
	struct skv_key key;
	struct skv_place place;
	struct skv_route route;
	uint64_t key_len, value_len;
	enum skv_probed what;
	uint32_t tries;
	uint8_t small[256];
	void *copy = small;
	int r = -EAGAIN;

	if (!skv_index_record(map, off, &key_len, &value_len))
		return -EBADMSG;
	if (key_len > sizeof(small)) {
		copy = malloc(key_len);
		if (!copy)
			return -ENOMEM;
	}
	skv_copy_from_shared(copy, skv_record_key(map, off), key_len);
	key.data = copy;
	key.len = key_len;
	place = skv_key_place(map, &key);

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			break;
		what = skv_probe(map, &route, place, &key, ret);
		skv_fence_acquire();
		r = -EBADMSG;
		if (what == SKV_PROBED_DAMAGED)
			break;
		if (what != SKV_PROBED_MOVED && skv_route_holds(&route) &&
		    (what != SKV_PROBED_FOUND || skv_load_relaxed(&ret->slot->v) == ret->seen.v)) {
			r = what == SKV_PROBED_FOUND;
			break;
		}
		r = -EAGAIN;
		skv_pause();
	}
	if (copy != small)
		free(copy);
	return r;
}

int skv_index_links(const struct skv_map *map, uint64_t off)
{
	struct skv_probe found;
	int r = find_by_block(map, off, &found);

	return r == 1 ? found.off == off : r;
}

int skv_index_slot_of(const struct skv_map *map, uint64_t off, struct skv_cell **ret_slot)
{
	struct skv_probe found;
	int r = find_by_block(map, off, &found);

	if (r == 1)
		*ret_slot = found.slot;
	return r;
}

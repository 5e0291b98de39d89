/* SPDX-License-Identifier: MIT */
#include "shm/touch.h"

#include "base/fault.h"
#include "shm/arena.h"
#include "shm/index.h"
#include "shm/policy.h"
#include "shm/tally.h"
#include "shm/wait.h"

#include <errno.h>

/*
 * Purpose. The deadline of a key changes, its value does not. A small value is written again
 * like any other write, one compare-and-swap and nothing special. A large one is not copied,
 * and a full map has no memory to copy to, so there the deadline changes where it stands:
 *
 *     announce A   guard   (hw, expiry) -> (hw, new)   slot (v, A, x) -> (v + 1, A, EXPIRES)
 *    ─────────┬─────────┬──────────────────────────┬────────────────────────────────────┬───►
 *         TOUCH_OLD  TOUCH_GUARDED          TOUCH_EXTENDED                       TOUCH_STEPPED
 *
 * To take the deadline away only the slot changes: (v, A, EXPIRES) -> (v + 1, A), and what
 * stands in the record then means nothing.
 *
 * Why the slot steps. Somebody may be about to replace A: an incr that has copied the old
 * deadline, an add or a sweep that found A expired. Without the step they would succeed after
 * the touch has answered 0: the touch is lost, or a key that lives is removed. With it their
 * compare-and-swap fails and they look again.
 *
 * Why the pair. The word behind hw is a deadline only while hw says ALLOC with the stamp
 * that was read: a block that was freed and used again has another one. Blocks begin at
 * multiples of 16 bytes, so hw and expiry are a pair. RULE H (block.c) holds as for any change
 * of hw: announced, full fence, the slot found unchanged, the state word read, then changed.
 *
 * What may run at the same time. Two touches: both change the pair, one steps the slot, the
 * other begins again; the deadline that stands is that of the last. A pinned view: nothing
 * that it shows changes. Replacing the leaf: the slot's compare-and-swap fails once it is
 * frozen, and the successor carries the bit.
 *
 *  pair                                    what it carries
 *  [intent.announce] -> [announced.scan]   full fences, see block.c
 *  [touch.extend] -> [slot.read]           the deadline before the slot's next version
 *
 * Linearization: the slot's compare-and-swap. In place the deadline may be seen before that,
 * and if the touch has to begin again because the key was written, the deadline that was
 * seen ends with the old value and the new value gets it. Only deadlines are concerned.
 *
 * Progress: lock-free. ABA: stamps and versions do not repeat.
 *
 * A process dies                                    left                     repaired by
 *  the record is announced (TOUCH_OLD), the guard   nothing                  reaper: old is
 *  held (TOUCH_GUARDED)                                                      linked, leave it
 *  the deadline is changed, the slot is not         the new deadline if the  nobody needs to: the
 *  (TOUCH_EXTENDED)                                 slot has the bit, else   touch has happened,
 *                                                   nothing that is seen     or not
 *  the slot has stepped (TOUCH_STEPPED)             the new deadline         reaper: as above
 * In the third row a write in flight may still win; it carries the old deadline on.
 */

/* Values up to this length are copied: atomic for everybody, and no dearer. */
#define COPY_MAX 1024u

#define RETRIES 100000u

/* The value as it is. */
static int splice_same(void *arg, const uint8_t *head, size_t head_len, size_t old_len,
		       struct skv_splice *ret_splice)
{
	(void)arg;
	(void)head_len;
	if (!head)
		return -ENOENT;
	ret_splice->keep_len = old_len;
	return 0;
}

/* (hw, expiry) of the record that was found. False: it is not that record any more. */
static bool extend(struct skv_writer *writer, const struct skv_found *found, uint64_t ttl_ms)
{
	struct skv_map *map = writer->map;
	struct skv_record *record = skv_record_at(map, found->off);
	uint64_t mask = skv_block_mask(map, found->off), stamp, word, old, now;
	struct skv_pair seen, wanted;

	word = skv_block_load(map, found->off);
	if (!skv_block_is_alloc(word, &stamp))
		return false;
	skv_store_release(&writer->ctx->old_off, 0);
	skv_store_release(&writer->ctx->old_stamp, stamp);
	/* [intent.announce] with its full fence: see block.c. */
	skv_store_release(&writer->ctx->old_off, found->off);
	skv_fence_seq();
	SKV_FAULT(TOUCH_OLD);

	old = skv_load_acquire(&record->expiry);
	now = skv_clock_boot_ns();
	if ((found->seen.w & SKV_SLOT_EXPIRES) && old && now / 1000000u >= old)
		return false;
	/* Linked now, and announced before: this block stays a block until we withdraw. */
	skv_fence_acquire();
	if (!skv_found_stands(found) || skv_block_load(map, found->off) != word)
		return false;
	SKV_FAULT(TOUCH_GUARDED);
	seen.lo = word ^ mask;
	seen.hi = old;
	wanted.lo = word ^ mask;
	wanted.hi = skv_deadline_after(now, ttl_ms);
	/* [touch.extend] release, before the slot's next version. */
	return skv_cas_pair((struct skv_pair *)(void *)record, seen, wanted);
}

static bool step_slot(const struct skv_found *found, uint64_t bit)
{
	SKV_FAULT(TOUCH_EXTENDED);
	if (!skv_cell_cas(found->slot, found->seen,
			  skv_slot_next_v(found->seen.v,
					  skv_slot_place(found->seen.v, found->seen.w)),
			  (found->seen.w & ~SKV_SLOT_EXPIRES) | bit))
		return false;
	SKV_FAULT(TOUCH_STEPPED);
	return true;
}

/* One attempt on the slot that was found. */
static bool touch_in_place(struct skv_writer *writer, const struct skv_found *found,
			   uint64_t ttl_ms)
{
	bool done;

	if (ttl_ms == 0) {
		skv_fence_acquire();
		return skv_found_stands(found) && step_slot(found, 0);
	}
	skv_expiry_note(writer->map);
	done = extend(writer, found, ttl_ms) && step_slot(found, SKV_SLOT_EXPIRES);
	skv_arena_withdraw(writer, &writer->ctx->old_off, found->off);
	return done;
}

int skv_touch(struct skv_writer *writer, const struct skv_key *key, uint64_t ttl_ms)
{
	const struct skv_lifetime life = { .ttl_ms = ttl_ms };
	struct skv_found found;
	struct skv_place place;
	bool copy = ttl_ms != 0;
	uint32_t tries;
	int r;

	for (tries = 0; tries < RETRIES; tries++) {
		if (tries > 0)
			skv_tally_bump(&writer->ctx->retries);
		r = skv_index_find(writer->map, key, &found);
		if (r < 0)
			return r;
		if (ttl_ms == 0 && !(found.seen.w & SKV_SLOT_EXPIRES))
			return 0;
		if (copy && found.value_len <= COPY_MAX) {
			r = skv_index_update(writer, key, splice_same, NULL, &life, NULL);
			if (r != -ENOSPC)
				return r;
			copy = false;
		}
		if (skv_slot_must_move(found.seen)) {
			r = skv_leaf_replace(writer, &found.route, true);
			if (r < 0)
				return r;
			continue;
		}
		if (touch_in_place(writer, &found, ttl_ms)) {
			place = skv_slot_place(found.seen.v, found.seen.w);
			/* Who waits for the key has another time to wake up by. */
			skv_add_seq(&writer->ctx->updates, 1);
			skv_wait_committed(writer, place);
			skv_policy_touch(writer->map, place);
			return 0;
		}
	}
	return -EAGAIN;
}

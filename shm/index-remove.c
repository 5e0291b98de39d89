/* SPDX-License-Identifier: MIT */
#include "shm/index-parts.h"

#include "shm/tally.h"
#include "shm/wait.h"

/* index-remove: a key goes, because it shall, has expired, or makes room. See index.c for the
 * protocol. */

/* Why a key goes: it was removed, unless it has expired; whatever there is; or for room. */
enum reason { REMOVED, DROPPED, EVICTED };

/* One slot from LIVE to DEAD. False: it changed, look again. */
static bool unlink_slot(struct skv_writer *writer, const struct skv_route *route,
			struct skv_cell *slot, struct skv_cell seen, enum reason reason)
{
	struct skv_place place = skv_slot_place(seen.v, seen.w);
	uint64_t off = skv_slot_off(seen.w), stamp;

	if (!skv_old_announce(writer, off, &stamp))
		return false;
	SKV_FAULT(REMOVE_OLD);
	skv_fence_acquire();
	if (!skv_route_holds(route) || (reason == REMOVED && skv_is_expired(writer->map, seen.w, off)))
		goto lost;
	SKV_FAULT(REMOVE_GUARDED);
	if (!skv_cell_cas(slot, seen, skv_slot_next_v(seen.v, place), SKV_SLOT_DEAD))
		goto lost;
	if (reason == EVICTED)
		SKV_FAULT(EVICT_UNLINKED);
	else
		SKV_FAULT(REMOVE_UNLINKED);
	skv_tally_bump(&writer->ctx->deletes);
	skv_old_settle(writer, off, stamp);
	SKV_FAULT(REMOVE_SETTLED);
	skv_wait_committed(writer, place);
	if (reason == EVICTED)
		skv_tally_bump(&writer->ctx->evictions);
	skv_old_withdraw(writer, off);
	return true;

lost:
	skv_old_withdraw(writer, off);
	return false;
}

int skv_index_remove(struct skv_writer *writer, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_map *map = writer->map;
	struct skv_place place = skv_key_place(map, key);
	struct skv_route route;
	struct skv_probe found;
	enum skv_probed what;
	uint32_t tries;
	bool expired;
	int r = -EAGAIN, answer;

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
		if (tries > 0)
			skv_tally_bump(&writer->ctx->retries);
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			break;
		what = skv_probe(map, &route, place, key, &found);
		r = -EBADMSG;
		if (what == SKV_PROBED_DAMAGED)
			break;
		r = -EAGAIN;
		if (what == SKV_PROBED_MOVED)
			continue;
		expired = what == SKV_PROBED_FOUND && skv_is_expired(map, found.seen.w, found.off);
		if (what != SKV_PROBED_FOUND || expired) {
			skv_fence_acquire();
			r = -ENOENT;
			if (skv_route_holds(&route) &&
			    (!expired || skv_load_relaxed(&found.slot->v) == found.seen.v))
				break;
			r = -EAGAIN;
			continue;
		}
		if (skv_slot_must_move(found.seen)) {
			/* A frozen leaf owns its successor's memory already: this cannot fail for
			 * lack of it. */
			r = skv_leaf_replace(writer, &route, true);
			if (r < 0)
				break;
			r = -EAGAIN;
			continue;
		}
		if (sink) {
			answer = skv_sink_fill(map, &found, sink);
			if (answer < 0) {
				skv_fence_acquire();
				r = answer;
				if (skv_load_relaxed(&found.slot->v) == found.seen.v &&
				    skv_route_holds(&route))
					break;
				r = -EAGAIN;
				continue;
			}
			/* The compare-and-swap below finds the slot as it was during the copy. */
			skv_fence_acquire();
		}
		if (unlink_slot(writer, &route, found.slot, found.seen, REMOVED)) {
			skv_tally_change(writer, found.lines, 0);
			if (tries > 0)
				skv_tally_again(&writer->ctx->tally, tries);
			return 0;
		}
	}
	skv_store_release(&writer->ctx->old_off, 0);
	return r;
}

int skv_index_clear_leaf(struct skv_writer *writer, const struct skv_route *route,
			 uint64_t *ret_removed)
{
	struct skv_leaf *leaf = skv_leaf_at(writer->map, route->leaf);
	struct skv_cell seen;
	uint64_t key_len, value_len;
	uint32_t i, tries = 0;
	bool expired;
	int r;

	for (i = 0; i < SKV_LEAF_SLOTS;) {
		if (++tries > SKV_LEAF_SLOTS + SKV_INDEX_RETRIES)
			return -EBADMSG; /* a slot names what is not allocated, and stays so */
		seen = skv_cell_read(&leaf->slots[i]);
		skv_fence_acquire();
		if (!skv_route_holds(route))
			return -EAGAIN;
		if (skv_slot_state(seen.w) != SKV_SLOT_LIVE) {
			i++;
			continue;
		}
		if (skv_slot_must_move(seen)) {
			r = skv_leaf_replace(writer, route, true);
			return r < 0 ? r : -EAGAIN;
		}
		expired = (seen.w & SKV_SLOT_EXPIRES) &&
			  skv_index_record(writer->map, skv_slot_off(seen.w), &key_len, &value_len) &&
			  skv_is_expired(writer->map, seen.w, skv_slot_off(seen.w));
		if (unlink_slot(writer, route, &leaf->slots[i], seen, DROPPED)) {
			if (expired)
				skv_tally_bump(&writer->ctx->expired);
			else
				(*ret_removed)++;
			i++;
		}
	}
	return 0;
}

/* Has what the slot names expired? Decided for the version seen. */
static bool has_expired(const struct skv_map *map, struct skv_cell seen, uint64_t now)
{
	uint64_t off = skv_slot_off(seen.w), key_len, value_len, deadline;

	if (skv_slot_state(seen.w) != SKV_SLOT_LIVE || !(seen.w & SKV_SLOT_EXPIRES) ||
	    !skv_index_record(map, off, &key_len, &value_len))
		return false;
	deadline = skv_deadline_of(map, seen.w, off);
	return deadline && now >= deadline;
}

int skv_index_expire(struct skv_writer *writer, const struct skv_route *route, uint32_t first,
		     uint32_t n, uint64_t max, uint64_t *ret_met, uint64_t *ret_removed)
{
	const struct skv_map *map = writer->map;
	struct skv_cell *slots = skv_leaf_at(map, route->leaf)->slots;
	uint64_t now = 0, removed = 0, w;
	struct skv_cell seen;
	uint32_t i, tries;
	int r = 0;

	/* The records are anywhere in memory: let them come while we look at the slots. */
	for (i = first; i < first + n; i++) {
		w = skv_load_relaxed(&slots[i].w);
		if (!(w & SKV_SLOT_EXPIRES))
			continue;
		__builtin_prefetch(map->region.base + skv_slot_off(w));
		now = 1;
	}
	if (now == 0)
		return 0;
	now = skv_clock_boot_ms();

	for (i = first; i < first + n && r == 0 && (max == 0 || removed < max); i++) {
		for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
			seen = skv_cell_read(&slots[i]);
			if (!has_expired(map, seen, now))
				break;
			*ret_met += tries == 0;
			skv_fence_acquire();
			r = -EAGAIN;
			if (!skv_route_holds(route))
				break;
			if (skv_slot_must_move(seen)) {
				r = skv_leaf_replace(writer, route, true);
				r = r < 0 ? r : -EAGAIN;
				break;
			}
			r = 0;
			/* By the version with which it was found: it has expired for good. */
			if (unlink_slot(writer, route, &slots[i], seen, DROPPED)) {
				skv_tally_bump(&writer->ctx->expired);
				removed++;
				break;
			}
		}
	}
	*ret_removed += removed;
	return r;
}

/* ---- eviction ---------------------------------------------------------------------- */

bool skv_index_evict(struct skv_writer *writer, const struct skv_route *route,
		     struct skv_cell *slot, struct skv_cell seen)
{
	return !skv_slot_must_move(seen) && unlink_slot(writer, route, slot, seen, EVICTED);
}

bool skv_index_place(const struct skv_map *map, uint64_t off, void *copy, size_t cap,
		     struct skv_key *ret_key, struct skv_place *ret_place)
{
	uint64_t key_len, value_len;

	if (!skv_index_record(map, off, &key_len, &value_len) || key_len > cap)
		return false;
	skv_copy_from_shared(copy, skv_record_key(map, off), key_len);
	ret_key->data = copy;
	ret_key->len = key_len;
	*ret_place = skv_key_place(map, ret_key);
	return true;
}

bool skv_index_evict_record(struct skv_writer *writer, uint64_t off, uint64_t stamp,
			    const struct skv_key *key)
{
	struct skv_map *map = writer->map;
	struct skv_place place = skv_key_place(map, key);
	struct skv_route route;
	struct skv_probe found;
	enum skv_probed what;
	uint32_t tries;

	/* A few: whoever changes the key meanwhile has another use for it. */
	for (tries = 0; tries < 8; tries++) {
		if (skv_directory_route(map, place, &route) < 0)
			return false;
		what = skv_probe(map, &route, place, key, &found);
		if (what == SKV_PROBED_MOVED)
			continue;
		/* Read after the slot: the compare-and-swap finds that it named this life. */
		if (what != SKV_PROBED_FOUND || found.off != off ||
		    skv_block_load(map, off) != skv_block_alloc_word(stamp))
			return false;
		if (skv_slot_must_move(found.seen)) {
			if (skv_leaf_replace(writer, &route, true) < 0)
				return false;
			continue;
		}
		if (unlink_slot(writer, &route, found.slot, found.seen, EVICTED))
			return true;
	}
	return false;
}

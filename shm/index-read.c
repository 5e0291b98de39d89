/* SPDX-License-Identifier: MIT */
#include "shm/index-parts.h"

#include "shm/pin.h"
#include "shm/policy.h"
#include "shm/tally.h"

/* index-read: look-ups that copy, hold or only tell. See index.c for the protocol. */

int skv_index_get(const struct skv_map *map, const struct skv_key *key, uint32_t patience,
		  struct skv_sink *sink)
{
	struct skv_aim aim = { .place = skv_key_place(map, key) };

	return skv_index_get_at(map, key, &aim, patience, sink);
}

int skv_index_get_at(const struct skv_map *map, const struct skv_key *key,
		     const struct skv_aim *aim, uint32_t patience, struct skv_sink *sink)
{
	struct skv_place place = aim->place;
	struct skv_route route = aim->route;
	struct skv_probe found;
	uint32_t tries, overtaken = 0;
	int r, answer;

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
		r = tries == 0 && route.cell ? 0 : skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		switch (skv_probe(map, &route, place, key, &found)) {
		case SKV_PROBED_FOUND:
			answer = skv_is_expired(map, found.seen.w, found.off) ?
					 -ENOENT :
					 skv_sink_fill(map, &found, sink);
			/* Boehm's reader: what was copied before the versions are looked at again. */
			skv_fence_acquire();
			if (skv_load_relaxed(&found.slot->v) == found.seen.v &&
			    skv_route_holds(&route)) {
				skv_tally_lookup(map, answer != -ENOENT, found.lines, tries);
				if (answer != -ENOENT)
					skv_policy_touch(map, place);
				return answer;
			}
			if (found.value_len >= SKV_LARGE_COPY && ++overtaken >= patience)
				return -EAGAIN;
			break;
		case SKV_PROBED_ABSENT:
		case SKV_PROBED_FULL:
			skv_fence_acquire();
			if (skv_route_holds(&route)) {
				skv_tally_lookup(map, false, found.lines, tries);
				return -ENOENT;
			}
			break;
		case SKV_PROBED_DAMAGED:
			return -EBADMSG;
		case SKV_PROBED_MOVED:
			break;
		}
		skv_pause();
	}
	return -EAGAIN;
}

/* Finds the key and pins its record. */
static int hold(struct skv_writer *writer, const struct skv_key *key, struct skv_probe *ret_found,
		struct skv_pin *ret_pin)
{
	const struct skv_map *map = writer->map;
	struct skv_place place = skv_key_place(map, key);
	struct skv_route route;
	enum skv_probed what;
	uint32_t tries;
	int r;

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		what = skv_probe(map, &route, place, key, ret_found);
		if (what == SKV_PROBED_DAMAGED)
			return -EBADMSG;
		if (what == SKV_PROBED_FOUND) {
			r = skv_pin_acquire(writer, &route, ret_found->slot, ret_found->seen.v,
					    ret_found->off, ret_pin);
			/* The record cannot go any more; that its time was over already is an answer. */
			if (r == 0 && skv_is_expired(map, ret_found->seen.w, ret_found->off)) {
				skv_pin_release(writer, ret_pin);
				r = -ENOENT;
			}
			if (r == 0 || r == -ENOENT)
				skv_tally_lookup(map, r == 0, ret_found->lines, tries);
			if (r == 0)
				skv_policy_touch(map, place);
			if (r != -EAGAIN)
				return r;
		} else if (what != SKV_PROBED_MOVED) {
			skv_fence_acquire();
			if (skv_route_holds(&route)) {
				skv_tally_lookup(map, false, ret_found->lines, tries);
				return -ENOENT;
			}
		}
		skv_pause();
	}
	return -EAGAIN;
}

int skv_index_hold(struct skv_writer *writer, const struct skv_key *key, struct skv_hold *ret_hold)
{
	const struct skv_map *map = writer->map;
	struct skv_probe found;
	struct skv_pin pin;
	int r = hold(writer, key, &found, &pin);

	if (r < 0)
		return r;
	/* Held: nothing of it changes any more, whether it is linked or RETIRED by now. */
	ret_hold->data = map->region.base + found.off + skv_record_value_off(found.key_len);
	ret_hold->len = found.value_len;
	ret_hold->token = skv_block_load(map, found.off) >> 2;
	ret_hold->context = pin.context;
	ret_hold->idx = pin.idx;
	ret_hold->word = pin.word;
	return 0;
}

int skv_index_get_held(struct skv_writer *writer, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_probe found;
	struct skv_pin pin;
	int r = hold(writer, key, &found, &pin);

	if (r < 0)
		return r;
	r = skv_sink_fill(writer->map, &found, sink);
	skv_pin_release(writer, &pin);
	return r;
}

int skv_index_exists(const struct skv_map *map, const struct skv_key *key)
{
	struct skv_place place = skv_key_place(map, key);
	struct skv_route route;
	struct skv_probe found;
	enum skv_probed what;
	uint32_t tries;
	bool present;
	int r;

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		what = skv_probe(map, &route, place, key, &found);
		if (what == SKV_PROBED_DAMAGED)
			return -EBADMSG;
		present = what == SKV_PROBED_FOUND && !skv_is_expired(map, found.seen.w, found.off);
		skv_fence_acquire();
		if (what != SKV_PROBED_MOVED && skv_route_holds(&route) &&
		    (what != SKV_PROBED_FOUND || skv_load_relaxed(&found.slot->v) == found.seen.v)) {
			skv_tally_lookup(map, present, found.lines, tries);
			if (present)
				skv_policy_touch(map, place);
			return present ? 0 : -ENOENT;
		}
		skv_pause();
	}
	return -EAGAIN;
}

int skv_index_find(const struct skv_map *map, const struct skv_key *key, struct skv_found *ret)
{
	struct skv_place place = skv_key_place(map, key);
	struct skv_found at;
	struct skv_probe found;
	enum skv_probed what;
	uint32_t tries;
	bool present;
	int r;

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
		r = skv_directory_route(map, place, &at.route);
		if (r < 0)
			return r;
		what = skv_probe(map, &at.route, place, key, &found);
		if (what == SKV_PROBED_DAMAGED)
			return -EBADMSG;
		present = what == SKV_PROBED_FOUND && !skv_is_expired(map, found.seen.w, found.off);
		skv_fence_acquire();
		if (what != SKV_PROBED_MOVED && skv_route_holds(&at.route) &&
		    (what != SKV_PROBED_FOUND || skv_load_relaxed(&found.slot->v) == found.seen.v)) {
			if (!present)
				return -ENOENT;
			at.slot = found.slot;
			at.seen = found.seen;
			at.off = found.off;
			at.value_len = found.value_len;
			*ret = at;
			return 0;
		}
		skv_pause();
	}
	return -EAGAIN;
}

int skv_index_state(const struct skv_map *map, const struct skv_key *key, uint64_t *ret_token,
		    uint64_t *ret_expiry_ms)
{
	struct skv_place place = skv_key_place(map, key);
	uint64_t token, expiry_ms;
	struct skv_route route;
	struct skv_probe found;
	enum skv_probed what;
	uint32_t tries;
	int r;

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		what = skv_probe(map, &route, place, key, &found);
		token = expiry_ms = 0;
		if (what == SKV_PROBED_FOUND && !skv_is_expired(map, found.seen.w, found.off)) {
			token = skv_block_load(map, found.off) >> 2;
			expiry_ms = skv_deadline_of(map, found.seen.w, found.off);
		}
		skv_fence_acquire();
		if (what == SKV_PROBED_DAMAGED)
			return -EBADMSG;
		if (what != SKV_PROBED_MOVED && skv_route_holds(&route) &&
		    (what != SKV_PROBED_FOUND || skv_load_relaxed(&found.slot->v) == found.seen.v)) {
			*ret_token = token;
			*ret_expiry_ms = expiry_ms;
			return 0;
		}
		skv_pause();
	}
	return -EAGAIN;
}

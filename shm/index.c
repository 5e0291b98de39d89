/* SPDX-License-Identifier: MIT */
#include "shm/index.h"

#include "base/fault.h"
#include "shm/arena.h"
#include "shm/pin.h"
#include "shm/policy.h"
#include "shm/tally.h"
#include "shm/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Purpose and ancestry. Every change of a key is one compare-and-swap on one slot; the
 * record it names was finished before and is never changed after. Readers take no part: they use bytes
 * optimistically and then find the slot and the route unchanged, as in Boehm's seqlock
 * reader and in version-based reclamation.
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
 * replaced; after RETRIES of them the answer is -EAGAIN.
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

/* Far above what contention makes; a reader that loses so often says so. */
#define RETRIES 100000u

/* Values of a read-modify-write are decided on this much of the old one. */
#define HEAD SKV_HEAD_MAX

enum found { FOUND, ABSENT, FULL, MOVED, DAMAGED };

struct probe {
	struct skv_cell *slot;
	struct skv_cell seen; /* FOUND: the record; ABSENT: the first EMPTY slot */
	uint64_t off;
	uint64_t key_len, value_len;
	uint32_t lines; /* distance of the slot's line from home */
};

bool skv_index_record(const struct skv_map *map, uint64_t off, uint64_t *ret_key_len,
		      uint64_t *ret_value_len)
{
	uint64_t begin = map->region.geo.chunk_off, chunk, end, lens;

	if (off < begin)
		return false;
	chunk = (off - begin) / SKV_CHUNK_BYTES;
	end = begin + (chunk + 1) * SKV_CHUNK_BYTES;
	/* A block of a wide slab may begin just before the end of a chunk. */
	if (!skv_chunk_is_ready(map, chunk) ||
	    (off + SKV_RECORD_HEADER > end && !skv_chunk_is_ready(map, chunk + 1)))
		return false;
	lens = skv_load_relaxed(&skv_record_at(map, off)->lens);
	*ret_key_len = skv_record_key_len(lens);
	*ret_value_len = skv_record_value_len(lens);
	lens = skv_record_bytes(*ret_key_len, *ret_value_len);
	/* A large record goes on in the chunks behind. */
	if (lens > end - off &&
	    !skv_chunks_are_ready(map, chunk, (off - begin - chunk * SKV_CHUNK_BYTES + lens +
					       SKV_CHUNK_BYTES - 1) / SKV_CHUNK_BYTES))
		return false;
	return *ret_key_len >= 1 && *ret_key_len <= SHMKV_KEY_MAX;
}

static const uint8_t *record_key(const struct skv_map *map, uint64_t off)
{
	return map->region.base + off + SKV_RECORD_HEADER;
}

/* Walks the probe order of a key through the leaf of a route. */
static enum found probe(const struct skv_map *map, const struct skv_route *route,
			struct skv_place place, const struct skv_key *key, struct probe *ret)
{
	struct skv_leaf *leaf = skv_leaf_at(map, route->leaf);
	uint32_t line = skv_place_home(place), i, s;
	struct skv_cell *slot;
	uint64_t v, w;

	for (i = 0; i < SKV_LEAF_LINES; i++) {
		slot = &leaf->slots[line * SKV_LINE_SLOTS];
		for (s = 0; s < SKV_LINE_SLOTS; s++, slot++) {
again:
			/* [slot.read] the version first: see cell.h. */
			v = skv_load_acquire(&slot->v);
			w = skv_load_acquire(&slot->w);
			if (skv_slot_state(w) == SKV_SLOT_EMPTY) {
				ret->slot = slot;
				ret->seen.v = v;
				ret->seen.w = w;
				ret->lines = i;
				return ABSENT;
			}
			/* The word alone is enough to pass a slot by: it never changes its key. */
			if (skv_slot_state(w) != SKV_SLOT_LIVE || !skv_slot_may_match(w, place))
				continue;
			if (!skv_slot_matches(v, w, place)) {
				/* The rest of the place stands in v, which may be older than w: a slot
				 * that was EMPTY a moment ago. Passing it by would insert its key twice. */
				skv_fence_acquire();
				if (skv_load_relaxed(&slot->v) != v)
					goto again;
				continue;
			}

			ret->off = skv_slot_off(w);
			if (!skv_index_record(map, ret->off, &ret->key_len, &ret->value_len)) {
				skv_fence_acquire();
				if (skv_load_relaxed(&slot->v) != v)
					goto again; /* its writer made progress */
				return skv_route_holds(route) ? DAMAGED : MOVED;
			}
			if (ret->key_len == key->len &&
			    skv_equal_shared(record_key(map, ret->off), key->data, key->len)) {
				ret->slot = slot;
				ret->seen.v = v;
				ret->seen.w = w;
				ret->lines = i;
				return FOUND;
			}
			/* Another key, or bytes that were recycled while we looked. */
			skv_fence_acquire();
			if (skv_load_relaxed(&slot->v) != v)
				goto again;
		}
		line = line + 1 == SKV_LEAF_LINES ? 0 : line + 1;
	}
	ret->lines = SKV_LEAF_LINES;
	return FULL;
}

static struct skv_place place_of(const struct skv_map *map, const struct skv_key *key)
{
	return skv_place_of_hash(skv_hash(&map->hash, key->data, key->len));
}

/* ---- reading ----------------------------------------------------------------------- */

/* Copies a value to where a sink wants it. -ENOBUFS leaves buf alone. */
static int sink_fill(const struct skv_map *map, const struct probe *found, struct skv_sink *sink)
{
	const uint8_t *value = map->region.base + found->off + skv_record_value_off(found->key_len);
	uint64_t word, skip = 0;

	sink->value_len = found->value_len;
	sink->head_len = found->value_len < SKV_HEAD_MAX ? found->value_len : SKV_HEAD_MAX;
	skv_copy_from_shared(sink->head, value, sink->head_len);
	word = skv_block_load(map, found->off);
	sink->token = word >> 2;
	sink->deadline = skv_deadline_of(map, found->seen.w, found->off);
	if (sink->skip)
		skip = sink->skip(sink->head, sink->head_len);
	if (skip > found->value_len)
		skip = found->value_len;
	sink->buf_len = found->value_len - skip;
	if (sink->buf_len > sink->cap)
		return -ENOBUFS;
	skv_copy_from_shared(sink->buf, value + skip, sink->buf_len);
	return 0;
}

struct skv_place skv_index_place_of(const struct skv_map *map, const struct skv_key *key)
{
	return place_of(map, key);
}

int skv_index_get(const struct skv_map *map, const struct skv_key *key, uint32_t patience,
		  struct skv_sink *sink)
{
	struct skv_aim aim = { .place = place_of(map, key) };

	return skv_index_get_at(map, key, &aim, patience, sink);
}

int skv_index_get_at(const struct skv_map *map, const struct skv_key *key,
		     const struct skv_aim *aim, uint32_t patience, struct skv_sink *sink)
{
	struct skv_place place = aim->place;
	struct skv_route route = aim->route;
	struct probe found;
	uint32_t tries, overtaken = 0;
	int r, answer;

	for (tries = 0; tries < RETRIES; tries++) {
		r = tries == 0 && route.cell ? 0 : skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		switch (probe(map, &route, place, key, &found)) {
		case FOUND:
			answer = skv_is_expired(map, found.seen.w, found.off) ?
					 -ENOENT :
					 sink_fill(map, &found, sink);
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
		case ABSENT:
		case FULL:
			skv_fence_acquire();
			if (skv_route_holds(&route)) {
				skv_tally_lookup(map, false, found.lines, tries);
				return -ENOENT;
			}
			break;
		case DAMAGED:
			return -EBADMSG;
		case MOVED:
			break;
		}
		skv_pause();
	}
	return -EAGAIN;
}

/* Finds the key and pins its record. */
static int hold(struct skv_writer *writer, const struct skv_key *key, struct probe *ret_found,
		struct skv_pin *ret_pin)
{
	const struct skv_map *map = writer->map;
	struct skv_place place = place_of(map, key);
	struct skv_route route;
	enum found what;
	uint32_t tries;
	int r;

	for (tries = 0; tries < RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		what = probe(map, &route, place, key, ret_found);
		if (what == DAMAGED)
			return -EBADMSG;
		if (what == FOUND) {
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
		} else if (what != MOVED) {
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
	struct probe found;
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
	struct probe found;
	struct skv_pin pin;
	int r = hold(writer, key, &found, &pin);

	if (r < 0)
		return r;
	r = sink_fill(writer->map, &found, sink);
	skv_pin_release(writer, &pin);
	return r;
}

int skv_index_exists(const struct skv_map *map, const struct skv_key *key)
{
	struct skv_place place = place_of(map, key);
	struct skv_route route;
	struct probe found;
	enum found what;
	uint32_t tries;
	bool present;
	int r;

	for (tries = 0; tries < RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		what = probe(map, &route, place, key, &found);
		if (what == DAMAGED)
			return -EBADMSG;
		present = what == FOUND && !skv_is_expired(map, found.seen.w, found.off);
		skv_fence_acquire();
		if (what != MOVED && skv_route_holds(&route) &&
		    (what != FOUND || skv_load_relaxed(&found.slot->v) == found.seen.v)) {
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
	struct skv_place place = place_of(map, key);
	struct skv_found at;
	struct probe found;
	enum found what;
	uint32_t tries;
	bool present;
	int r;

	for (tries = 0; tries < RETRIES; tries++) {
		r = skv_directory_route(map, place, &at.route);
		if (r < 0)
			return r;
		what = probe(map, &at.route, place, key, &found);
		if (what == DAMAGED)
			return -EBADMSG;
		present = what == FOUND && !skv_is_expired(map, found.seen.w, found.off);
		skv_fence_acquire();
		if (what != MOVED && skv_route_holds(&at.route) &&
		    (what != FOUND || skv_load_relaxed(&found.slot->v) == found.seen.v)) {
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
	struct skv_place place = place_of(map, key);
	uint64_t token, expiry_ms;
	struct skv_route route;
	struct probe found;
	enum found what;
	uint32_t tries;
	int r;

	for (tries = 0; tries < RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		what = probe(map, &route, place, key, &found);
		token = expiry_ms = 0;
		if (what == FOUND && !skv_is_expired(map, found.seen.w, found.off)) {
			token = skv_block_load(map, found.off) >> 2;
			expiry_ms = skv_deadline_of(map, found.seen.w, found.off);
		}
		skv_fence_acquire();
		if (what == DAMAGED)
			return -EBADMSG;
		if (what != MOVED && skv_route_holds(&route) &&
		    (what != FOUND || skv_load_relaxed(&found.slot->v) == found.seen.v)) {
			*ret_token = token;
			*ret_expiry_ms = expiry_ms;
			return 0;
		}
		skv_pause();
	}
	return -EAGAIN;
}

/* A raw look-up by the key in a block: 1 found, 0 not, or an error. */
static int find_by_block(const struct skv_map *map, uint64_t off, struct probe *ret)
{
	struct skv_key key;
	struct skv_place place;
	struct skv_route route;
	uint64_t key_len, value_len;
	enum found what;
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
	skv_copy_from_shared(copy, record_key(map, off), key_len);
	key.data = copy;
	key.len = key_len;
	place = place_of(map, &key);

	for (tries = 0; tries < RETRIES; tries++) {
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			break;
		what = probe(map, &route, place, &key, ret);
		skv_fence_acquire();
		r = -EBADMSG;
		if (what == DAMAGED)
			break;
		if (what != MOVED && skv_route_holds(&route) &&
		    (what != FOUND || skv_load_relaxed(&ret->slot->v) == ret->seen.v)) {
			r = what == FOUND;
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
	struct probe found;
	int r = find_by_block(map, off, &found);

	return r == 1 ? found.off == off : r;
}

int skv_index_slot_of(const struct skv_map *map, uint64_t off, struct skv_cell **ret_slot)
{
	struct probe found;
	int r = find_by_block(map, off, &found);

	if (r == 1)
		*ret_slot = found.slot;
	return r;
}

/* ---- writing ----------------------------------------------------------------------- */

/* The block of an operation: taken once, refilled when the operation is retried. */
struct draft {
	uint64_t off; /* 0: none yet */
	uint64_t stamp;
	uint64_t room; /* bytes that fit */
	uint64_t value_len;
};

static void draft_drop(struct skv_writer *writer, struct draft *draft)
{
	if (draft->off) {
		/* Our own intent announces it, and nobody else can know the stamp. */
		skv_fence_seq();
		skv_block_settle(writer, draft->off, draft->stamp);
		skv_arena_withdraw(writer, &writer->ctx->new_off, draft->off);
	}
	draft->off = 0;
}

/* A block of at least this size, with the key in it. */
static int draft_take(struct skv_writer *writer, const struct skv_key *key, uint64_t value_len,
		      struct draft *draft)
{
	uint64_t bytes = skv_record_bytes(key->len, value_len);
	int r;

	if (value_len > SKV_RECORD_VALUE_MASK)
		return -EFBIG;
	if (draft->off && bytes <= draft->room)
		return 0;
	draft_drop(writer, draft);
	r = skv_arena_alloc(writer, bytes, &draft->off, &draft->stamp);
	if (r < 0) {
		draft->off = 0;
		return r;
	}
	draft->room = skv_arena_round(bytes);
	skv_copy_to_shared(writer->map->region.base + draft->off + SKV_RECORD_HEADER, key->data,
			   key->len);
	SKV_FAULT(WRITE_CLAIMED);
	return 0;
}

static uint8_t *draft_value(const struct skv_writer *writer, const struct skv_key *key,
			    struct draft *draft, uint64_t value_len)
{
	struct skv_record *record = skv_record_at(writer->map, draft->off);

	draft->value_len = value_len;
	skv_store_relaxed(&record->lens, key->len | (value_len << SKV_RECORD_VALUE_SHIFT));
	return writer->map->region.base + draft->off + skv_record_value_off(key->len);
}

static void draft_complete(struct skv_writer *writer, const struct draft *draft)
{
	/* The record is whole: from here on it may be linked. One word says which block and
	 * which phase, so that no death in between can mix them up. */
	skv_store_release(&writer->ctx->new_off, draft->off | SKV_INTENT_COMPLETE);
	SKV_FAULT(WRITE_COMPLETE);
}

/* The old record of a slot and its life, announced. False: it is not linked any more. */
static bool announce_old(struct skv_writer *writer, uint64_t off, uint64_t *ret_stamp)
{
	if (!skv_block_is_alloc(skv_block_load(writer->map, off), ret_stamp))
		return false;
	skv_store_release(&writer->ctx->old_off, 0);
	skv_store_release(&writer->ctx->old_stamp, *ret_stamp);
	/* [intent.announce] the slot's compare-and-swap is the full fence. */
	skv_store_release(&writer->ctx->old_off, off);
	return true;
}

/*
 * The unlinked record's memory; the announcement stands until this is done. Between the
 * change's count before it and the look for waiters behind it, it is [commit.count]: a full
 * fence in any case, which costs nothing when the record was freed by a compare-and-swap.
 */
static void settle_old(struct skv_writer *writer, uint64_t off, uint64_t stamp)
{
	skv_fence_seq_after_cas();
	if (skv_block_settle(writer, off, stamp))
		skv_fence_seq_after_cas();
	else
		skv_fence_seq();
}

static void clear_intents(struct skv_writer *writer)
{
	skv_store_release(&writer->ctx->old_off, 0);
	skv_store_release(&writer->ctx->new_off, 0);
}

/* The draft is linked, and since then anybody may have unlinked it again. */
static void draft_release(struct skv_writer *writer, const struct draft *draft)
{
	skv_arena_withdraw(writer, &writer->ctx->new_off, draft->off);
}

/* The old record is settled, or somebody else's affair because the slot was not ours to
 * change. Also the one who freed it withdraws: its own look at who else announces the record
 * and theirs at its announcement may both have left the head of a large one standing. */
static void withdraw_old(struct skv_writer *writer, uint64_t off)
{
	skv_arena_withdraw(writer, &writer->ctx->old_off, off);
}

/* One change of one key, from the first look to the link. */
struct change {
	struct skv_writer *writer;
	const struct skv_key *key;
	struct skv_place place;
	struct skv_route route;
	bool aimed; /* the first look goes by the route that is there */
	struct probe found;
	enum found what;
	bool expired; /* FOUND, and its deadline has come: counts as absent */
	bool blind;   /* it does not matter what is there */
	struct skv_lifetime life;
	uint64_t bit; /* SKV_SLOT_EXPIRES if the draft has a deadline */
	struct draft draft;
};

/* What a step of it answers besides errors. */
enum { DONE = 0, AGAIN = 1 };

static struct change change_begin(struct skv_writer *writer, const struct skv_key *key,
				  const struct skv_lifetime *life)
{
	struct change c = {
		.writer = writer, .key = key, .place = place_of(writer->map, key), .life = *life,
	};

	return c;
}

static bool is_present(const struct change *c)
{
	return c->what == FOUND && !c->expired;
}

static int change_fail(struct change *c, int r)
{
	draft_drop(c->writer, &c->draft);
	clear_intents(c->writer);
	return r;
}

/* The draft is linked: the call is over but for its answer. */
static int change_done(struct change *c, uint32_t tries, uint64_t *ret_token)
{
	skv_policy_touch(c->writer->map, c->place);
	skv_tally_change(c->writer, c->found.lines, c->draft.value_len);
	if (tries > 0)
		skv_tally_again(&c->writer->ctx->tally, tries);
	if (ret_token)
		*ret_token = c->draft.stamp;
	return 0;
}

static int find(struct change *c)
{
	int r = c->aimed ? 0 : skv_directory_route(c->writer->map, c->place, &c->route);

	if (r < 0)
		return r;
	c->aimed = false;
	c->what = probe(c->writer->map, &c->route, c->place, c->key, &c->found);
	if (c->what == MOVED)
		return AGAIN;
	c->expired = c->what == FOUND && !c->blind &&
		     skv_is_expired(c->writer->map, c->found.seen.w, c->found.off);
	return c->what == DAMAGED ? -EBADMSG : DONE;
}

/* Is what was concluded from the last look still so? */
static bool stands(const struct change *c)
{
	skv_fence_acquire();
	return skv_route_holds(&c->route) &&
	       (c->what != FOUND || skv_load_relaxed(&c->found.slot->v) == c->found.seen.v);
}

/* May the slot that was found be written? AGAIN after the leaf was replaced. */
static int make_room(struct change *c)
{
	struct skv_leaf_counts counts;
	int r;

	if (c->what == FULL || skv_slot_must_move(c->found.seen)) {
		r = skv_leaf_replace(c->writer, &c->route, true);
		return r < 0 ? r : AGAIN;
	}
	if (c->what == FOUND || c->found.lines < SKV_LEAF_TRIGGER_LINES)
		return DONE;
	counts = skv_leaf_count(skv_leaf_at(c->writer->map, c->route.leaf));
	if (counts.live + counts.dead < SKV_LEAF_USED_LIMIT)
		return DONE;
	r = skv_leaf_replace(c->writer, &c->route, false);
	/* No memory for it now: the last empty slots are there to be used, unless keys can go. */
	if (r == -EXFULL || (r == -ENOSPC && !(c->writer->lack.hasty && c->writer->lack.leaf)))
		return DONE;
	return r < 0 ? r : AGAIN;
}

/*
 * Says in the draft when it ends. False if the record that was found, and taken for present,
 * has expired meanwhile: look again.
 */
static bool set_deadline(struct change *c)
{
	const struct skv_map *map = c->writer->map;
	uint64_t old = 0, deadline = 0, now = 0;

	if (is_present(c) && !c->blind)
		old = skv_deadline_of(map, c->found.seen.w, c->found.off);
	if (c->life.ttl_ms || old)
		now = skv_clock_boot_ns();
	if (old && now / 1000000u >= old)
		return false;
	if (c->life.keep && is_present(c))
		deadline = old;
	else if (c->life.ttl_ms)
		deadline = skv_deadline_after(now, c->life.ttl_ms);
	/* Nobody sees the draft before it is linked. */
	skv_store_relaxed(&skv_record_at(map, c->draft.off)->expiry, deadline);
	c->bit = deadline ? SKV_SLOT_EXPIRES : 0;
	if (deadline)
		skv_expiry_note(c->writer->map);
	return true;
}

/* The draft in place of the record that was found, whose life is @old_stamp. */
static int link_over(struct change *c, uint64_t old_stamp)
{
	struct skv_writer *writer = c->writer;

	/* Only the condition was read from the slot and the old block; the guard makes sure that
	 * this leaf is the one to ask, the compare-and-swap that the slot is as it was. */
	skv_fence_acquire();
	if (!skv_route_holds(&c->route) || !set_deadline(c))
		goto lost;
	SKV_FAULT(WRITE_GUARDED);
	/* [write.publish] release, pairs with [slot.read]: the record first, then the way to it. */
	if (!skv_cell_cas(c->found.slot, c->found.seen, skv_slot_next_v(c->found.seen.v, c->place),
			  skv_slot_live_w(c->draft.off, c->place) | c->bit))
		goto lost;
	SKV_FAULT(WRITE_LINKED);
	skv_tally_bump(&writer->ctx->updates);
	settle_old(writer, c->found.off, old_stamp);
	SKV_FAULT(WRITE_SETTLED);
	skv_wait_committed(writer, c->place);
	withdraw_old(writer, c->found.off);
	draft_release(writer, &c->draft);
	return DONE;

lost:
	withdraw_old(writer, c->found.off);
	return AGAIN;
}

/* The draft into the empty slot that ended the search. */
static int link_new(struct change *c)
{
	skv_fence_acquire();
	if (!skv_route_holds(&c->route) || !set_deadline(c))
		return AGAIN;
	SKV_FAULT(WRITE_GUARDED);
	/* [write.publish] */
	if (!skv_cell_cas(c->found.slot, c->found.seen, skv_slot_next_v(c->found.seen.v, c->place),
			  skv_slot_live_w(c->draft.off, c->place) | c->bit))
		return AGAIN;
	SKV_FAULT(WRITE_LINKED);
	/* [commit.count] */
	skv_add_seq(&c->writer->ctx->inserts, 1);
	skv_wait_committed(c->writer, c->place);
	skv_policy_insert(c->writer, c->draft.room);
	draft_release(c->writer, &c->draft);
	return DONE;
}

/* @token: NULL, or the only life that may be replaced. */
static int link_draft(struct change *c, const uint64_t *token)
{
	uint64_t stamp;

	if (c->what != FOUND)
		return link_new(c);
	if (!announce_old(c->writer, c->found.off, &stamp))
		return AGAIN;
	if (token && stamp != *token) {
		withdraw_old(c->writer, c->found.off);
		return AGAIN;
	}
	SKV_FAULT(WRITE_OLD);
	return link_over(c, stamp);
}

/* May this mode write over, or beside, what was found? An error only if that still stands. */
static int condition(const struct change *c, enum skv_write_mode mode, uint64_t token)
{
	uint64_t stamp;
	int r = 0;

	if (c->what == FOUND) {
		/* Unlinked since, or the segment is damaged. */
		if (!skv_block_is_alloc(skv_block_load(c->writer->map, c->found.off), &stamp))
			r = -EBADMSG;
		else if (c->expired && (mode == SKV_WRITE_REPLACE || mode == SKV_WRITE_CAS))
			r = -ENOENT;
		else if (c->expired)
			r = 0;
		else if (mode == SKV_WRITE_ADD)
			r = -EEXIST;
		else if (mode == SKV_WRITE_CAS && stamp != token)
			r = -ESTALE;
	} else if (mode == SKV_WRITE_REPLACE || mode == SKV_WRITE_CAS) {
		r = -ENOENT;
	}
	if (r == 0)
		return DONE;
	return stands(c) ? r : AGAIN;
}

/* The draft from a value that does not depend on the old one: once for all attempts. */
static int draft_from_value(struct change *c, const struct skv_bytes *value)
{
	uint64_t len = value->head_len + value->len;
	uint8_t *to;
	int r;

	if (c->draft.off)
		return DONE;
	r = draft_take(c->writer, c->key, len, &c->draft);
	if (r < 0)
		return r;
	to = draft_value(c->writer, c->key, &c->draft, len);
	skv_copy_to_shared(to, value->head, value->head_len);
	skv_copy_to_shared(to + value->head_len, value->data, value->len);
	draft_complete(c->writer, &c->draft);
	return DONE;
}

/* The draft from the old value, as @fn decides. */
static int draft_from_old(struct change *c, skv_splice_fn *fn, void *arg)
{
	const struct skv_map *map = c->writer->map;
	struct skv_splice splice;
	const uint8_t *old = NULL;
	uint8_t head[HEAD], *to;
	uint64_t len, old_len = 0;
	size_t head_len = 0;
	int r;

	if (is_present(c)) {
		/* The head must be true before somebody decides on it. */
		old = map->region.base + c->found.off + skv_record_value_off(c->found.key_len);
		old_len = c->found.value_len;
		head_len = old_len < HEAD ? old_len : HEAD;
		skv_copy_from_shared(head, old, head_len);
		if (!stands(c))
			return AGAIN;
	}
	memset(&splice, 0, sizeof(splice));
	r = fn(arg, old ? head : NULL, head_len, old_len, &splice);
	if (r == 0 && (splice.keep_off > old_len || splice.keep_len > old_len - splice.keep_off))
		r = -EBADMSG;
	if (r < 0)
		return stands(c) ? r : AGAIN;

	len = splice.head_len + splice.keep_len + splice.tail_len;
	r = draft_take(c->writer, c->key, len, &c->draft);
	if (r < 0)
		return r;
	to = draft_value(c->writer, c->key, &c->draft, len);
	skv_copy_to_shared(to, splice.head, splice.head_len);
	to += splice.head_len;
	/* May be torn, if the old record is recycled under us: the link fails then. */
	if (splice.keep_len > 0)
		skv_copy_shared(to, old + splice.keep_off, splice.keep_len);
	to += splice.keep_len;
	skv_copy_to_shared(to, splice.tail, splice.tail_len);
	draft_complete(c->writer, &c->draft);
	return DONE;
}

int skv_index_write(struct skv_writer *writer, const struct skv_key *key, enum skv_write_mode mode,
		    uint64_t token, const struct skv_bytes *value,
		    const struct skv_lifetime *life, uint64_t *ret_token)
{
	struct skv_aim aim = { .place = place_of(writer->map, key) };

	return skv_index_write_at(writer, key, &aim, mode, token, value, life, ret_token);
}

int skv_index_write_at(struct skv_writer *writer, const struct skv_key *key,
		       const struct skv_aim *aim, enum skv_write_mode mode, uint64_t token,
		       const struct skv_bytes *value, const struct skv_lifetime *life,
		       uint64_t *ret_token)
{
	struct change c = { .writer = writer, .key = key, .place = aim->place, .life = *life,
			    .route = aim->route, .aimed = aim->route.cell };
	uint32_t tries;
	int r;

	c.blind = mode == SKV_WRITE_PUT && !life->keep;

	for (tries = 0; tries < RETRIES; tries++) {
		if (tries > 0)
			skv_tally_bump(&writer->ctx->retries);
		r = find(&c);
		if (r == DONE)
			r = condition(&c, mode, token);
		/* Memory after the condition, and for the value before its leaf: in a full map the
		 * room that a delete has made must not become a leaf that could be done without. But
		 * what was evicted to have a leaf must not become the value. */
		if (r == DONE && writer->lack.leaf_first)
			r = make_room(&c);
		if (r == DONE)
			r = draft_from_value(&c, value);
		if (r == DONE && !writer->lack.leaf_first)
			r = make_room(&c);
		if (r == DONE)
			r = link_draft(&c, mode == SKV_WRITE_CAS ? &token : NULL);
		if (r < 0)
			return change_fail(&c, r);
		if (r == DONE)
			return change_done(&c, tries, ret_token);
	}
	return change_fail(&c, -EAGAIN);
}

int skv_index_draft(struct skv_writer *writer, const struct skv_key *key,
		    const struct skv_bytes *value, uint64_t *ret_off, uint64_t *ret_stamp)
{
	uint64_t len = value->head_len + value->len;
	struct draft draft = { .off = 0 };
	int r = draft_take(writer, key, len, &draft);

	if (r < 0)
		return r;
	skv_copy_to_shared(draft_value(writer, key, &draft, len), value->head, value->head_len);
	*ret_off = draft.off;
	*ret_stamp = draft.stamp;
	return 0;
}

int skv_index_commit(struct skv_writer *writer, uint64_t off, uint64_t stamp,
		     enum skv_write_mode mode, uint64_t token, const struct skv_bytes *value,
		     const struct skv_lifetime *life)
{
	const struct skv_map *map = writer->map;
	uint64_t len = value->head_len + value->len, key_len, value_len;
	struct skv_key key;
	struct change c;
	uint32_t tries;
	int r = -EAGAIN;

	if (!skv_index_record(map, off, &key_len, &value_len) || len > value_len)
		return -EBADMSG;
	key.data = record_key(map, off);
	key.len = key_len;
	c = change_begin(writer, &key, life);
	c.blind = mode == SKV_WRITE_PUT && !life->keep;
	c.draft.off = off;
	c.draft.stamp = stamp;
	c.draft.room = skv_arena_round(skv_record_bytes(key_len, value_len));
	skv_copy_to_shared(draft_value(writer, &key, &c.draft, len), value->head, value->head_len);
	skv_store_release(&writer->ctx->new_stamp, stamp);
	draft_complete(writer, &c.draft);

	for (tries = 0; tries < RETRIES; tries++) {
		if (tries > 0)
			skv_tally_bump(&writer->ctx->retries);
		r = find(&c);
		if (r == DONE)
			r = condition(&c, mode, token);
		if (r == DONE)
			r = make_room(&c);
		if (r == DONE)
			r = link_draft(&c, mode == SKV_WRITE_CAS ? &token : NULL);
		if (r == DONE)
			return change_done(&c, tries, NULL);
		if (r < 0)
			break;
		r = -EAGAIN;
	}
	/* As long as reserved again; the draft outlives the call. */
	draft_value(writer, &key, &c.draft, value_len);
	clear_intents(writer);
	return r;
}

int skv_index_update(struct skv_writer *writer, const struct skv_key *key, skv_splice_fn *fn,
		     void *arg, const struct skv_lifetime *life, uint64_t *ret_token)
{
	struct change c = change_begin(writer, key, life);
	uint32_t tries;
	int r;

	for (tries = 0; tries < RETRIES; tries++) {
		if (tries > 0)
			skv_tally_bump(&writer->ctx->retries);
		r = find(&c);
		if (r == DONE && writer->lack.leaf_first)
			r = make_room(&c);
		if (r == DONE)
			r = draft_from_old(&c, fn, arg);
		if (r == DONE && !writer->lack.leaf_first)
			r = make_room(&c);
		if (r == DONE)
			r = link_draft(&c, NULL);
		if (r < 0)
			return change_fail(&c, r);
		if (r == DONE)
			return change_done(&c, tries, ret_token);
	}
	return change_fail(&c, -EAGAIN);
}

/* Why a key goes: it was removed, unless it has expired; whatever there is; or for room. */
enum reason { REMOVED, DROPPED, EVICTED };

/* One slot from LIVE to DEAD. False: it changed, look again. */
static bool unlink_slot(struct skv_writer *writer, const struct skv_route *route,
			struct skv_cell *slot, struct skv_cell seen, enum reason reason)
{
	struct skv_place place = skv_slot_place(seen.v, seen.w);
	uint64_t off = skv_slot_off(seen.w), stamp;

	if (!announce_old(writer, off, &stamp))
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
	settle_old(writer, off, stamp);
	SKV_FAULT(REMOVE_SETTLED);
	skv_wait_committed(writer, place);
	if (reason == EVICTED)
		skv_tally_bump(&writer->ctx->evictions);
	withdraw_old(writer, off);
	return true;

lost:
	withdraw_old(writer, off);
	return false;
}

int skv_index_remove(struct skv_writer *writer, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_map *map = writer->map;
	struct skv_place place = place_of(map, key);
	struct skv_route route;
	struct probe found;
	enum found what;
	uint32_t tries;
	bool expired;
	int r = -EAGAIN, answer;

	for (tries = 0; tries < RETRIES; tries++) {
		if (tries > 0)
			skv_tally_bump(&writer->ctx->retries);
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			break;
		what = probe(map, &route, place, key, &found);
		r = -EBADMSG;
		if (what == DAMAGED)
			break;
		r = -EAGAIN;
		if (what == MOVED)
			continue;
		expired = what == FOUND && skv_is_expired(map, found.seen.w, found.off);
		if (what != FOUND || expired) {
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
			answer = sink_fill(map, &found, sink);
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
		if (++tries > SKV_LEAF_SLOTS + RETRIES)
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
		for (tries = 0; tries < RETRIES; tries++) {
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
	skv_copy_from_shared(copy, record_key(map, off), key_len);
	ret_key->data = copy;
	ret_key->len = key_len;
	*ret_place = place_of(map, ret_key);
	return true;
}

bool skv_index_evict_record(struct skv_writer *writer, uint64_t off, uint64_t stamp,
			    const struct skv_key *key)
{
	struct skv_map *map = writer->map;
	struct skv_place place = place_of(map, key);
	struct skv_route route;
	struct probe found;
	enum found what;
	uint32_t tries;

	/* A few: whoever changes the key meanwhile has another use for it. */
	for (tries = 0; tries < 8; tries++) {
		if (skv_directory_route(map, place, &route) < 0)
			return false;
		what = probe(map, &route, place, key, &found);
		if (what == MOVED)
			continue;
		/* Read after the slot: the compare-and-swap finds that it named this life. */
		if (what != FOUND || found.off != off ||
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

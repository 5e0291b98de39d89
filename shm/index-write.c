/* SPDX-License-Identifier: MIT */
#include "shm/index-parts.h"

#include "shm/policy.h"
#include "shm/tally.h"
#include "shm/wait.h"

/* index-write: a key gets a value. See index.c for the protocol. */

/* Values of a read-modify-write are decided on this much of the old one. */
#define HEAD SKV_HEAD_MAX

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

/* One change of one key, from the first look to the link. */
struct change {
	struct skv_writer *writer;
	const struct skv_key *key;
	struct skv_place place;
	struct skv_route route;
	bool aimed; /* the first look goes by the route that is there */
	struct skv_probe found;
	enum skv_probed what;
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
		.writer = writer, .key = key, .place = skv_key_place(writer->map, key), .life = *life,
	};

	return c;
}

static bool is_present(const struct change *c)
{
	return c->what == SKV_PROBED_FOUND && !c->expired;
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
	c->what = skv_probe(c->writer->map, &c->route, c->place, c->key, &c->found);
	if (c->what == SKV_PROBED_MOVED)
		return AGAIN;
	c->expired = c->what == SKV_PROBED_FOUND && !c->blind &&
		     skv_is_expired(c->writer->map, c->found.seen.w, c->found.off);
	return c->what == SKV_PROBED_DAMAGED ? -EBADMSG : DONE;
}

/* Is what was concluded from the last look still so? */
static bool stands(const struct change *c)
{
	skv_fence_acquire();
	return skv_route_holds(&c->route) &&
	       (c->what != SKV_PROBED_FOUND || skv_load_relaxed(&c->found.slot->v) == c->found.seen.v);
}

/* May the slot that was found be written? AGAIN after the leaf was replaced. */
static int make_room(struct change *c)
{
	struct skv_leaf_counts counts;
	int r;

	if (c->what == SKV_PROBED_FULL || skv_slot_must_move(c->found.seen)) {
		r = skv_leaf_replace(c->writer, &c->route, true);
		return r < 0 ? r : AGAIN;
	}
	if (c->what == SKV_PROBED_FOUND || c->found.lines < SKV_LEAF_TRIGGER_LINES)
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
	skv_old_settle(writer, c->found.off, old_stamp);
	SKV_FAULT(WRITE_SETTLED);
	skv_wait_committed(writer, c->place);
	skv_old_withdraw(writer, c->found.off);
	draft_release(writer, &c->draft);
	return DONE;

lost:
	skv_old_withdraw(writer, c->found.off);
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

	if (c->what != SKV_PROBED_FOUND)
		return link_new(c);
	if (!skv_old_announce(c->writer, c->found.off, &stamp))
		return AGAIN;
	if (token && stamp != *token) {
		skv_old_withdraw(c->writer, c->found.off);
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

	if (c->what == SKV_PROBED_FOUND) {
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
	struct skv_aim aim = { .place = skv_key_place(writer->map, key) };

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

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
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
	key.data = skv_record_key(map, off);
	key.len = key_len;
	c = change_begin(writer, &key, life);
	c.blind = mode == SKV_WRITE_PUT && !life->keep;
	c.draft.off = off;
	c.draft.stamp = stamp;
	c.draft.room = skv_arena_round(skv_record_bytes(key_len, value_len));
	skv_copy_to_shared(draft_value(writer, &key, &c.draft, len), value->head, value->head_len);
	skv_store_release(&writer->ctx->new_stamp, stamp);
	draft_complete(writer, &c.draft);

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
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

	for (tries = 0; tries < SKV_INDEX_RETRIES; tries++) {
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

/* SPDX-License-Identifier: MIT */
#include "shm/reserve.h"

#include "base/fault.h"
#include "shm/arena.h"

#include <shmkv/reserve.h>

#include <errno.h>

/*
 * Purpose and ancestry. A write in two steps, as ring buffers have it: the record is claimed
 * and gets its key and the head of its value; the rest is stored by the caller, for as long as
 * that takes, without any call of ours; then one call makes it the value of its key. What names
 * it meanwhile is an entry in the context of the thread that reserved it: the block and its life.
 *
 *  reserve  block by "new", phase 0 (arena.c); key and head; entry := (block, life); "new" := 0
 *  commit   entry: block -> block | ENDING, CAS; head and length; "new" := block, complete;
 *           from there a write with a ready draft (index.c), which ends with "new" := 0;
 *           entry := 0; or, when it is refused: "new" := 0, entry := block
 *  abort    entry: block -> block | ENDING, CAS; "new" := block; settle; entry := 0; "new" := 0
 *
 * States of an entry.
 *
 *     0 ── reserve ──► OPEN(off, stamp) ── commit or abort, CAS ──► ENDING(off, stamp) ──► 0
 *                          ▲                                           │
 *                          └────────────── refused ────────────────────┘
 *
 * Only the owner of a context fills its entries that are 0, the life before the block; any thread
 * of its process may end one. Two who end the same: the compare-and-swap decides, so a record
 * is linked at most once in its life. Who has won looks at the life once more: the entry stands
 * still then, and if it is another draft in the same block it is given back as it was.
 *
 * Who may free it. At every moment from the claim to the link or the settle either "new" or
 * the entry names the block; the entry stands until after either of them, and through a refusal.
 * The sweeper looks at "new" first, then at the entries of the context that the life names; a
 * block that neither names is past its operation. The reaper settles each entry as it settles
 * a complete "new": unless a slot names the block, for a commit may have linked it. A commit
 * by another thread names the block in that thread's "new" as well: of two contexts of one
 * dead process the second to be settled finds the block linked, or in another life.
 *
 * Entries are no announcements (RULE H in block.c): the block is ALLOC, so its slab or run is
 * nobody's to take, and whoever is about to settle it announces it in "new" or aux.
 *
 * What may run at the same time: everything. Nobody but recovery reads entries, and those who
 * count them for people. A reader that is late may look at the block while the caller fills it,
 * with plain stores; what it sees is not the caller's concern, and it finds the slot changed.
 *
 *  pair                                     what it carries
 *  [reserve.entry] -> [sweep.flight]        the entry before "new" is cleared; against: "new", then
 *                                           the entries. One of the two is seen.
 *  [write.publish] -> [slot.read]           index.c; it carries what the caller has stored, too.
 *                                           Between threads that fill one draft the caller orders.
 *
 * Linearization. A commit: the slot's compare-and-swap; one that is refused: as the write of its
 * mode in index.c. Reserving and aborting change nothing that anybody can read.
 *
 * Progress: reserving and committing as allocation and write, lock-free; an abort is wait-free.
 * ABA: stamps do not repeat.
 *
 * A process dies                                      left                   repaired by
 *  entry written, "new" stands (RESERVE_NAMED)        private block          reaper: new settles,
 *                                                                            entry finds nothing
 *  "new" cleared, or while the caller fills           private block          reaper: not linked,
 *  (RESERVE_OPEN)                                                            settle
 *  ENDING, nothing done (RESERVE_ENDING)              private block          likewise
 *  in the write: as in index.c                        private block, or the  likewise, by "new" or
 *                                                     new value              by the entry
 *  refused, entry says ENDING (COMMIT_REFUSED)        private block          likewise
 *  linked, entry stands (COMMIT_LINKED)               the new value          reaper: is linked, or
 *                                                                            not that life
 *  in the settle: as in block.c                       ALLOC, RETIRED, FREE   likewise
 *  settled, entry stands (ABORT_SETTLED)              an entry               reaper: nothing
 *
 * Every interleaving of two threads that end drafts, a writer, reapers and a sweeper, deaths
 * included: docs/models/draft.pml.
 *
 * Cost beside a put: two stores for the reservation, one compare-and-swap and one store for its
 * end. No byte of the payload is copied.
 */

_Static_assert(SHMKV_DRAFTS_MAX == SKV_RESERVATIONS, "as the header says");

#define ENDING 1ull

static uint64_t *entry_of(const struct skv_map *map, const struct skv_hold *hold)
{
	return skv_context_at(map, hold->context)->reservations[hold->idx];
}

int skv_reserve_take(struct skv_writer *writer, const struct skv_key *key,
		     const struct skv_bytes *value, struct skv_hold *ret_hold)
{
	struct skv_context *ctx = writer->ctx;
	uint64_t off, stamp;
	uint32_t i;
	int r;

	for (i = 0; i < SKV_RESERVATIONS && skv_load_acquire(&ctx->reservations[i][0]) != 0; i++)
		;
	if (i == SKV_RESERVATIONS)
		return -EMLINK;
	r = skv_index_draft(writer, key, value, &off, &stamp);
	if (r < 0)
		return r;

	skv_store_release(&ctx->reservations[i][1], stamp);
	/* [reserve.entry] release, and so is the clearing of "new" behind it. */
	skv_store_release(&ctx->reservations[i][0], off);
	SKV_FAULT(RESERVE_NAMED);
	/* The block is ours alone: nobody left anything to this announcement. */
	skv_store_release(&ctx->new_off, 0);
	SKV_FAULT(RESERVE_OPEN);

	ret_hold->data = writer->map->region.base + off + skv_record_value_off(key->len);
	ret_hold->len = value->head_len + value->len;
	ret_hold->token = stamp;
	ret_hold->context = writer->idx;
	ret_hold->idx = i;
	ret_hold->word = off;
	return 0;
}

int skv_reserve_key(const struct skv_map *map, const struct skv_hold *hold, struct skv_key *ret_key)
{
	const uint64_t *entry = entry_of(map, hold);
	uint64_t key_len, value_len;

	if (skv_load_acquire(&entry[0]) != hold->word || skv_load_acquire(&entry[1]) != hold->token)
		return -EBADF;
	if (!skv_index_record(map, hold->word, &key_len, &value_len))
		return -EBADMSG;
	ret_key->data = map->region.base + hold->word + SKV_RECORD_HEADER;
	ret_key->len = key_len;
	return 0;
}

/* From OPEN to ENDING: from here on it is this call's. */
static uint64_t *entry_end(const struct skv_map *map, const struct skv_hold *hold)
{
	uint64_t *entry = entry_of(map, hold);

	if (skv_load_acquire(&entry[1]) != hold->token ||
	    !skv_cas(&entry[0], hold->word, hold->word | ENDING))
		return NULL;
	SKV_FAULT(RESERVE_ENDING);
	/* Nobody fills an entry that is not 0: what is read now stays. */
	if (skv_load_acquire(&entry[1]) != hold->token) {
		skv_store_release(&entry[0], hold->word);
		return NULL;
	}
	return entry;
}

int skv_reserve_commit(struct skv_writer *writer, const struct skv_hold *hold,
		       enum skv_write_mode mode, uint64_t token, const struct skv_bytes *value,
		       const struct skv_lifetime *life, uint64_t *ret_token)
{
	uint64_t *entry = entry_end(writer->map, hold);
	int r;

	if (!entry)
		return -EBADF;
	r = skv_index_commit(writer, hold->word, hold->token, mode, token, value, life);
	if (r < 0) {
		SKV_FAULT(COMMIT_REFUSED);
		skv_store_release(&entry[0], hold->word);
		return r;
	}
	SKV_FAULT(COMMIT_LINKED);
	skv_store_release(&entry[0], 0);
	*ret_token = hold->token;
	return 0;
}

/* Frees the block of an entry that is ENDING. */
static void settle(struct skv_writer *writer, uint64_t *entry, uint64_t off, uint64_t stamp)
{
	struct skv_context *ctx = writer->ctx;

	skv_store_release(&ctx->new_stamp, stamp);
	/* [intent.announce] phase 0: it is not linked and will not be. */
	skv_store_release(&ctx->new_off, off);
	skv_fence_seq();
	skv_block_settle(writer, off, stamp);
	SKV_FAULT(ABORT_SETTLED);
	skv_store_release(&entry[0], 0);
	skv_arena_withdraw(writer, &ctx->new_off, off);
}

int skv_reserve_abort(struct skv_writer *writer, const struct skv_hold *hold)
{
	uint64_t *entry = entry_end(writer->map, hold);

	if (!entry)
		return -EBADF;
	settle(writer, entry, hold->word, hold->token);
	return 0;
}

void skv_reserve_abort_all(struct skv_writer *writer)
{
	uint64_t *entry, off, stamp;
	uint32_t i;

	for (i = 0; i < SKV_RESERVATIONS; i++) {
		entry = writer->ctx->reservations[i];
		off = skv_reserve_entry(writer->ctx, i, &stamp);
		if (off == 0)
			continue;
		/* ENDING: a thread was cancelled in a commit, and may have linked it. What cannot be
		 * decided now is left to the sweeper. */
		if (!(skv_load_acquire(&entry[0]) & ENDING) || skv_index_links(writer->map, off) == 0)
			settle(writer, entry, off, stamp);
		else
			skv_store_release(&entry[0], 0);
	}
}

uint32_t skv_reserve_count(const struct skv_map *map, uint32_t context)
{
	const struct skv_context *ctx = skv_context_at(map, context);
	uint32_t i, n = 0;

	for (i = 0; i < SKV_RESERVATIONS; i++)
		n += skv_load_acquire(&ctx->reservations[i][0]) != 0;
	return n;
}

uint64_t skv_reserve_entry(const struct skv_context *ctx, uint32_t idx, uint64_t *ret_stamp)
{
	uint64_t off = skv_load_acquire(&ctx->reservations[idx][0]) & ~ENDING;

	*ret_stamp = skv_load_acquire(&ctx->reservations[idx][1]);
	return off;
}

bool skv_reserve_mentions(const struct skv_context *ctx, uint64_t off)
{
	uint64_t stamp;
	uint32_t i;

	for (i = 0; i < SKV_RESERVATIONS; i++) {
		if (skv_reserve_entry(ctx, i, &stamp) == off)
			return true;
	}
	return false;
}

bool skv_reserve_names(const struct skv_context *ctx, uint64_t off, uint64_t stamp)
{
	uint64_t its_stamp;
	uint32_t i;

	for (i = 0; i < SKV_RESERVATIONS; i++) {
		if (skv_reserve_entry(ctx, i, &its_stamp) == off && its_stamp == stamp)
			return true;
	}
	return false;
}

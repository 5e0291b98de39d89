/* SPDX-License-Identifier: MIT */
#include "shm/recover.h"

#include "base/clock.h"
#include "base/fault.h"
#include "shm/arena.h"
#include "shm/chunk.h"
#include "shm/pin.h"
#include "shm/reserve.h"
#include "shm/wait.h"

#include <errno.h>

/*
 * Purpose. A process that died held at most, for each of its contexts: a new block, an old
 * block, the children of one replacement, one stretch of chunks. Its intents name them all,
 * because each was written before the thing was taken. Recovery looks each of them up and
 * settles it. It never asks what the dead one was about to do, only what state it finds
 * (RULE S): a reaper that died half-way left states like any other.
 *
 * Steps for a context c, owned by a process whose slot was judged dead:
 *
 *  RP1  read the owner word; then find the process slot still as it was judged: the owner
 *       word is that of the dead one
 *  RP1a pins: let go, from whatever phase they are in (RULE U, see pin.c); no bit in pins_of
 *  RP2  new: phase 0 -> settle; complete -> settle if no slot names it. old -> the same, and what
 *       is reserved (reserve.c).
 *  RP3  rebuild: leaf still FORWARD in that life -> finish it; children still CLAIMED -> free
 *  RP4  chunks: DISMANTLE -> undo; CLAIMED -> FREE; a run whose record is free -> give back
 *       then whoever waits for a change that it may have made is woken: see wait.c
 *  RP5  context -> free, next incarnation
 * and when no context is left:
 *  RP6  process slot -> free, next incarnation
 *
 * Order. Read what the intent says; read the target; find the owner word unchanged; then
 * compare-and-swap the target by stamp or version. A reaper that wakes after the context was
 * used again finds another owner word, or its compare-and-swap fails.
 *
 * "Linked?" is a look-up of the block's own key. A block is linked at most once in a life,
 * so the answer "not linked" for a dead owner's block stays true for ever, also when the key
 * was deleted and inserted again in the same memory: that is another stamp.
 *
 * The reaper announces each block in its own aux word before it may free it (RULE H).
 *
 * Sweeper. A block that is ALLOC(s) and that the context of s does not name in its intents
 * is past its operation: intents are written before the claim and cleared after the link or the
 * settle. If no slot names it either, nobody does.
 *
 * Inheritance and adoption. When a table is full of the dead, a newcomer takes over a slot or
 * a context: the owner word changes to its own, so the recovery of that context is its own
 * affair; if it dies in it, the intents still stand and name the same things.
 *
 * A process dies                                      left                    repaired by
 *  before or between the intents (REAP_CONTEXT,       some settled, the       next reaper: finds
 *  REAP_PINS, REAP_NEW, REAP_OLD, REAP_RESERVED,      context still dead      them settled
 *  REAP_REBUILD, REAP_CHUNKS, REAP_CREDIT, REAP_LATE)
 *  context free, others not (REAP_FREED)              the other contexts      next reaper
 *  all contexts free, slot not (REAP_DONE)            the slot                next reaper
 *  context adopted, intents not settled (ADOPTED)     a dead context          next reaper
 *  sweeping (SWEEP_BLOCK)                             its aux word            next owner clears
 */

#define REAP_EVERY_CALLS 256u
#define REAP_EVERY_MS 100u

struct victim {
	struct skv_context *ctx;
	uint32_t idx;
	uint64_t owner;
	uint64_t named[3]; /* blocks that it announces: new, old, aux */
};

static bool still_dead(void *arg)
{
	const struct victim *victim = arg;

	return skv_load_acquire(&victim->ctx->owner) == victim->owner;
}

static void announce(struct skv_writer *writer, uint64_t off)
{
	/* [intent.announce] with its full fence: see block.c. */
	skv_store_release(&writer->ctx->aux_off, off);
	skv_fence_seq();
}

static void count_block(struct shmkv_recovery *report, uint64_t bytes)
{
	if (report) {
		report->blocks++;
		report->bytes += bytes;
	}
}

/* One block that a dead context names. 0, or an error when it cannot be decided now. */
static int settle_named(struct skv_writer *writer, struct victim *victim, uint64_t off,
			uint64_t stamp, bool maybe_linked, struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	struct skv_span span;
	uint64_t word;
	int r = 0;

	announce(writer, off);
	/* With the head still claimed the chunk intent frees everything. */
	if (!skv_block_locate(map, off, &span) || span.state == SKV_CHUNK_CLAIMED)
		goto out;

	word = skv_block_load(map, off);
	if (word == skv_block_alloc_word(stamp) || word == skv_block_retired_word(stamp)) {
		/* RETIRED: somebody was here before us, and it was not linked any more (RULE S). */
		if (maybe_linked && word == skv_block_alloc_word(stamp)) {
			r = skv_index_links(map, off);
			/* A record that makes no sense was recycled under us: not that life. */
			if (r == -EBADMSG &&
			    skv_block_load(map, off) != skv_block_alloc_word(stamp))
				r = 1;
			if (r != 0)
				goto out;
		}
		if (still_dead(victim)) {
			SKV_FAULT(REAP_LATE);
			/* Unlinked by others, as we have just seen; who pins it comes after that. */
			skv_fence_seq();
			if (skv_block_settle(writer, off, stamp))
				count_block(report, span.bytes);
		}
	} else if (span.state == SKV_CHUNK_RUN) {
		skv_arena_finish_run(writer, span.head);
	}
	r = 0;
out:
	skv_arena_withdraw(writer, &writer->ctx->aux_off, off);
	return r < 0 ? r : 0;
}

/* RP2 for what was reserved: a commit may have linked it. */
static int settle_reserved(struct skv_writer *writer, struct victim *victim,
			   struct shmkv_recovery *report)
{
	uint64_t off, stamp;
	uint32_t i;
	int r = 0;

	for (i = 0; i < SKV_RESERVATIONS && r == 0; i++) {
		off = skv_reserve_entry(victim->ctx, i, &stamp);
		if (off != 0 && still_dead(victim))
			r = settle_named(writer, victim, off, stamp, true, report);
	}
	return r;
}

/* RP1a. */
static void release_pins(struct skv_writer *writer, struct victim *victim,
			 struct shmkv_recovery *report)
{
	struct skv_pin pin = { .context = victim->idx };
	uint64_t bytes, off;

	for (pin.idx = 0; pin.idx < SKV_PINS;) {
		pin.word = skv_load_acquire(&victim->ctx->pins[pin.idx]);
		if (pin.word == 0 || !still_dead(victim)) {
			pin.idx++;
			continue;
		}
		off = skv_pin_off(pin.word);
		/* Another reaper may clear the word that announces the block. */
		announce(writer, off);
		if (still_dead(victim)) {
			SKV_FAULT(REAP_LATE);
			bytes = skv_pin_release(writer, &pin);
			if (bytes > 0)
				count_block(report, bytes);
		}
		skv_arena_withdraw(writer, &writer->ctx->aux_off, off);
		/* The same word again: another reaper may have said RELEASING, and died. Ends at 0,
		 * each turn it has come one step nearer. */
	}
	skv_pin_disable(writer->map, victim->idx, still_dead, victim);
}

static void settle_rebuild(struct skv_writer *writer, struct victim *victim,
			   struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	uint64_t leaf = skv_load_acquire(&victim->ctx->rebuild_leaf);
	uint64_t gen = skv_load_acquire(&victim->ctx->rebuild_gen);
	struct skv_cell seen, source;
	uint64_t child;
	uint32_t k;

	if (leaf == 0 || !skv_leaf_is_ready(map, leaf - 1))
		return;
	leaf--;
	if (skv_leaf_finish_life(writer, (uint32_t)leaf, gen) && report)
		report->leaves++;

	for (k = 0; k < 2; k++) {
		child = skv_load_acquire(&victim->ctx->rebuild_child[k]);
		if (child == 0 || !skv_leaf_is_ready(map, child - 1))
			continue;
		child--;
		seen = skv_cell_read(&skv_leaf_at(map, child)->header);
		if (skv_leaf_state(seen.w) != SKV_LEAF_CLAIMED ||
		    skv_leaf_claimer(seen.w) != victim->idx)
			continue;
		/* Only the dead one could have attached it to its source, and it did not. */
		source = skv_cell_read(&skv_leaf_at(map, leaf)->header);
		if ((source.v == gen && skv_leaf_state(source.w) == SKV_LEAF_FORWARD) ||
		    !still_dead(victim))
			continue;
		SKV_FAULT(REAP_LATE);
		if (skv_leaf_unclaim(writer, (uint32_t)child, seen) && report)
			report->leaves++;
	}
}

static void settle_chunks(struct skv_writer *writer, struct victim *victim,
			  struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	uint64_t first = skv_load_acquire(&victim->ctx->chunk_first);
	uint64_t len = skv_load_acquire(&victim->ctx->chunk_len);
	uint64_t n;
	struct skv_cell seen;

	if (first == 0 || !skv_chunk_is_ready(map, first - 1))
		return;
	first--;
	seen = skv_cell_read(skv_chunk_cell(map, first));
	if (skv_chunk_state(seen.w) == SKV_CHUNK_DISMANTLE &&
	    skv_chunk_context(seen.w) == victim->idx) {
		announce(writer, skv_chunk_off(map, first));
		if (still_dead(victim)) {
			SKV_FAULT(REAP_LATE);
			skv_arena_undismantle(writer, first, seen);
		}
		skv_store_release(&writer->ctx->aux_off, 0);
		return;
	}
	n = skv_chunk_recover(writer, victim->idx, first, len, still_dead, victim);
	if (report)
		report->chunks += n;
}

/* RP2 to RP4. 0, or an error when something could not be decided now. */
static int settle_context(struct skv_writer *writer, struct victim *victim,
			  struct shmkv_recovery *report)
{
	uint64_t new_off = skv_load_acquire(&victim->ctx->new_off);
	uint64_t new_stamp = skv_load_acquire(&victim->ctx->new_stamp);
	uint64_t old_off = skv_load_acquire(&victim->ctx->old_off);
	uint64_t old_stamp = skv_load_acquire(&victim->ctx->old_stamp);
	int r;

	victim->named[0] = new_off & ~SKV_INTENT_COMPLETE;
	victim->named[1] = old_off;
	victim->named[2] = skv_load_acquire(&victim->ctx->aux_off);
	if (!still_dead(victim))
		return 0;
	writer->acting_for = (int32_t)victim->idx;
	SKV_FAULT(REAP_CONTEXT);
	release_pins(writer, victim, report);
	SKV_FAULT(REAP_PINS);
	r = new_off ? settle_named(writer, victim, new_off & ~SKV_INTENT_COMPLETE, new_stamp,
				   new_off & SKV_INTENT_COMPLETE, report) :
		      0;
	SKV_FAULT(REAP_NEW);
	if (r == 0 && old_off)
		r = settle_named(writer, victim, old_off, old_stamp, true, report);
	SKV_FAULT(REAP_OLD);
	if (r == 0)
		r = settle_reserved(writer, victim, report);
	SKV_FAULT(REAP_RESERVED);
	if (r == 0) {
		settle_rebuild(writer, victim, report);
		SKV_FAULT(REAP_REBUILD);
		settle_chunks(writer, victim, report);
		SKV_FAULT(REAP_CHUNKS);
		skv_wait_credit(writer, victim->ctx);
	}
	writer->acting_for = -1;
	return r;
}

/*
 * The dead one's announcements are gone with its context. Who freed a large record that they
 * named has left its head standing because of them.
 */
static void finish_named(struct skv_writer *writer, const struct victim *victim)
{
	struct skv_map *map = writer->map;
	uint64_t rel;
	uint32_t k;

	skv_fence_seq();
	for (k = 0; k < 3; k++) {
		rel = victim->named[k] - map->region.geo.chunk_off;
		if (victim->named[k] >= map->region.geo.chunk_off && rel % SKV_CHUNK_BYTES == 0 &&
		    skv_chunk_is_ready(map, rel / SKV_CHUNK_BYTES))
			skv_arena_finish_run(writer, rel / SKV_CHUNK_BYTES);
	}
}

static bool owned_by(const struct victim *victim, uint32_t process)
{
	return skv_owner_process(victim->owner) == (int32_t)process;
}

/* RP1 to RP6 for one process slot that was judged dead. True when it is not there any more,
 * also when that is the work of somebody else who came first. */
static bool reap_process(struct skv_writer *writer, uint32_t process, uint64_t state,
			 struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	uint32_t i, n = skv_contexts_ready(map);
	struct victim victim;

	for (i = 0; i < n; i++) {
		victim.idx = i;
		victim.ctx = skv_context_at(map, i);
		victim.owner = skv_load_acquire(&victim.ctx->owner);
		if (!owned_by(&victim, process))
			continue;
		/* RP1: a later tenant of the slot could own this context. Not while the slot still
		 * says what was judged. */
		if (skv_load_acquire(&skv_peer_slot(&map->region, process)->state) != state)
			return true;
		if (settle_context(writer, &victim, report) < 0)
			return false;
		if (skv_cas(&victim.ctx->owner, victim.owner, skv_owner_word(victim.owner, -1)) &&
		    report)
			report->contexts++;
		SKV_FAULT(REAP_FREED);
		finish_named(writer, &victim);
	}
	/* What it held may answer a search that failed before. First this, then the slot: who
	 * finds that the dead one is gone searches again. */
	skv_arena_hints_lost(map);
	skv_add_relaxed(&skv_super(map)->n_freed, 1);
	SKV_FAULT(REAP_DONE);
	if (!skv_peer_bury(&map->region, process, state))
		return true;
	skv_add_relaxed(&skv_super(map)->recoveries, 1);
	if (report)
		report->processes++;
	return true;
}

uint64_t skv_recover_reap(struct skv_writer *writer, struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	uint64_t state, n = 0;
	uint32_t i;

	for (i = 0; i < map->region.geo.n_processes; i++) {
		if (skv_peer_is_dead(&map->region, i, &state))
			n += reap_process(writer, i, state, report);
	}
	return n;
}

/* Makes the context of a victim one of ours and settles what it names. */
static bool adopt(struct skv_map *map, struct victim *victim)
{
	struct skv_writer *writer = skv_writer_adopt(map, victim->idx, victim->owner);

	if (!writer)
		return false;
	SKV_FAULT(ADOPTED);
	victim->owner = writer->owner;
	/* Undecided now (no memory, endless contention): it stays ours and unused. We owe its
	 * recovery, so our slot is left as if we had died, and the next process does it. */
	if (settle_context(writer, victim, NULL) < 0) {
		__atomic_store_n(&map->owes, true, __ATOMIC_RELAXED);
		return false;
	}
	skv_arena_withdraw(writer, &writer->ctx->new_off, victim->named[0]);
	skv_arena_withdraw(writer, &writer->ctx->old_off, victim->named[1]);
	skv_arena_withdraw(writer, &writer->ctx->aux_off, victim->named[2]);
	skv_writer_offer(writer);
	return true;
}

bool skv_recover_adopt(struct skv_map *map)
{
	uint32_t i, k, n = skv_contexts_ready(map);
	struct victim victim;
	uint64_t state;

	for (k = 0; k < map->region.geo.n_processes; k++) {
		if (!skv_peer_is_dead(&map->region, k, &state))
			continue;
		for (i = 0; i < n; i++) {
			victim.idx = i;
			victim.ctx = skv_context_at(map, i);
			victim.owner = skv_load_acquire(&victim.ctx->owner);
			if (!owned_by(&victim, k))
				continue;
			if (skv_load_acquire(&skv_peer_slot(&map->region, k)->state) != state)
				break;
			if (adopt(map, &victim))
				return true;
		}
	}
	return false;
}

int skv_recover_inherited(struct skv_map *map)
{
	uint32_t i, n = skv_contexts_ready(map);
	struct skv_writer *writer;
	struct victim victim;
	int r = 0;

	/* The first of them becomes ours, if there is any; it serves to recover the others. */
	for (i = 0; i < n; i++) {
		victim.idx = i;
		victim.ctx = skv_context_at(map, i);
		victim.owner = skv_load_acquire(&victim.ctx->owner);
		if (owned_by(&victim, map->peer.idx) && adopt(map, &victim))
			break;
	}
	if (i == n)
		return 0;
	r = skv_writer_enter(map, SKV_DOING_RECOVER, &writer);
	if (r < 0)
		return r;
	for (i++; i < n; i++) {
		victim.idx = i;
		victim.ctx = skv_context_at(map, i);
		victim.owner = skv_load_acquire(&victim.ctx->owner);
		/* Ours is told from the others by its number: owner words may be equal. */
		if (!owned_by(&victim, map->peer.idx) || i == writer->idx)
			continue;
		r = settle_context(writer, &victim, NULL);
		if (r < 0)
			break;
		skv_cas(&victim.ctx->owner, victim.owner, skv_owner_word(victim.owner, -1));
		SKV_FAULT(REAP_FREED);
		finish_named(writer, &victim);
	}
	skv_writer_exit(writer);
	skv_arena_hints_lost(map);
	return r;
}

/* ---- sweeper ------------------------------------------------------------------------ */

/* Does the context that began this life still name the block? */
static bool in_flight(const struct skv_map *map, uint64_t off, uint64_t stamp)
{
	uint32_t idx = (uint32_t)(stamp >> SKV_STAMP_COUNTER_BITS);
	const struct skv_context *ctx;

	if (idx >= skv_contexts_ready(map))
		return false;
	ctx = skv_context_at(map, idx);
	if (skv_owner_process(skv_load_acquire(&ctx->owner)) < 0)
		return false;
	if ((skv_load_acquire(&ctx->new_off) & ~SKV_INTENT_COMPLETE) == off &&
	    skv_load_acquire(&ctx->new_stamp) == stamp)
		return true;
	/* [sweep.flight] after "new": an entry is written before that is cleared. */
	return skv_reserve_names(ctx, off, stamp);
}

static void sweep_block(struct skv_writer *writer, uint64_t off, struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	struct skv_span span;
	uint64_t word, stamp;

	announce(writer, off);
	SKV_FAULT(SWEEP_BLOCK);
	if (!skv_block_locate(map, off, &span) || span.state == SKV_CHUNK_CLAIMED)
		goto out;
	word = skv_block_load(map, off);
	if ((word & SKV_BLOCK_STATE_MASK) == SKV_BLOCK_RETIRED) {
		/* Left by somebody who died between retiring and looking for holders. */
		if (skv_block_settle(writer, off, word >> 2))
			count_block(report, span.bytes);
		goto out;
	}
	if (!skv_block_is_alloc(word, &stamp)) {
		if (span.state == SKV_CHUNK_RUN && skv_arena_finish_run(writer, span.head))
			report->chunks += span.bytes / SKV_CHUNK_BYTES;
		goto out;
	}
	/* The intents after the state word: an operation that is over has cleared them. */
	if (in_flight(map, off, stamp) || skv_index_links(map, off) != 0)
		goto out;
	/* As in settle_named. */
	skv_fence_seq();
	if (skv_block_settle(writer, off, stamp))
		count_block(report, span.bytes);
out:
	skv_arena_withdraw(writer, &writer->ctx->aux_off, off);
}

static void sweep_slab(struct skv_writer *writer, uint64_t head, struct skv_cell seen,
		       struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	uint32_t i, class = skv_chunk_class(seen.w);
	uint64_t off = skv_chunk_off(map, head), bit;
	uint64_t gen = skv_chunk_generation(head, skv_chunk_arg(seen.w));
	const struct skv_bitmap *bitmap = skv_chunk_bitmap(map, head);

	if (class == SKV_CLASS_LEAF || class >= skv_n_classes)
		return;
	for (i = 0; i < skv_class_blocks(class); i++, off += skv_class_bytes[class]) {
		if (skv_block_load(map, off) != skv_block_free_word(map, off, gen)) {
			sweep_block(writer, off, report);
			continue;
		}
		bit = 1ull << (i % 64);
		if (!(skv_load_relaxed(&bitmap->word[i / 64]) & bit))
			skv_arena_hint_set(map, class, head, i);
	}
}

void skv_recover_sweep(struct skv_writer *writer, const struct shmkv_watch *watch,
		       struct shmkv_recovery *report)
{
	struct skv_map *map = writer->map;
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t i, leaf, done = 0, total = ready.low + map->region.geo.n_chunks - ready.high;
	struct skv_cell seen, header;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		seen = skv_cell_read(skv_chunk_cell(map, i));
		switch (skv_chunk_state(seen.w)) {
		case SKV_CHUNK_SLAB:
			sweep_slab(writer, i, seen, report);
			break;
		case SKV_CHUNK_RUN:
			sweep_block(writer, skv_chunk_off(map, i), report);
			break;
		case SKV_CHUNK_LEAVES:
			for (leaf = i * SKV_LEAVES_PER_CHUNK;
			     leaf < (i + 1) * SKV_LEAVES_PER_CHUNK; leaf++) {
				header = skv_cell_read(&skv_leaf_at(map, leaf)->header);
				if (skv_leaf_state(header.w) == SKV_LEAF_FORWARD &&
				    skv_leaf_finish_life(writer, (uint32_t)leaf, header.v))
					report->leaves++;
			}
			break;
		default:
			break;
		}
		if (watch->progress)
			watch->progress(++done, total, watch->arg);
	}
	skv_leaf_repool(writer);
	skv_add_relaxed(&skv_super(map)->n_freed, 1);
}

#ifdef SKV_FAULT_POINTS
bool skv_recover_by_clock = true;
#endif

void skv_recover_tick(struct skv_writer *writer, bool now)
{
	struct skv_superblock *super = skv_super(writer->map);
	uint64_t ms, last;

#ifdef SKV_FAULT_POINTS
	if (!now && !skv_recover_by_clock)
		return;
#endif

	if (++writer->n_calls < REAP_EVERY_CALLS && !now)
		return;
	writer->n_calls = 0;
	ms = skv_clock_boot_ms();
	last = skv_load_relaxed(&super->reap_ms);
	/* Whoever moves the time looks; after a jump back (another boot's file) look at once. */
	if ((ms >= last && ms - last < REAP_EVERY_MS) || !skv_cas(&super->reap_ms, last, ms))
		return;
	skv_recover_reap(writer, NULL);
}

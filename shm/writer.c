/* SPDX-License-Identifier: MIT */
#include "shm/writer.h"

#include "base/fault.h"
#include "shm/pin.h"
#include "shm/reserve.h"
#include "shm/tally.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/*
 * Context ownership. The owner word names the process slot and an incarnation that steps at
 * every change.
 *
 *     free(n) ── claim, CAS ──► process p (n + 1) ── give back, or reaper, CAS ──► free(n + 2)
 *
 * The claimer clears the intents that a dead predecessor left; the reaper never clears
 * them, because its store could arrive after the next owner's. A reaper reads an intent, then
 * finds the owner word unchanged, and only then acts on what the intent names.
 *
 * A process dies                                       left                    repaired by
 *  context claimed, intents not cleared                 old intents, settled    reaper: finds
 *  (CONTEXT_CLAIMED)                                    already                 nothing to do
 *  pages of more contexts reserved (CONTEXT_RESERVED)   memory nobody uses yet  next claimer
 */

_Thread_local struct skv_thread_slot skv_thread_slots[SKV_THREAD_SLOTS];

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct skv_writer *pool;

static void pool_lock_take(void)
{
	pthread_mutex_lock(&pool_lock);
}

static void pool_lock_give(void)
{
	pthread_mutex_unlock(&pool_lock);
}

/* For the next thread of the handle. */
static void put_back(uint64_t *taken, uint64_t serial)
{
	uint64_t expected = serial;

	/* Fails when the handle was detached meanwhile and its memory serves another one. */
	__atomic_compare_exchange_n(taken, &expected, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static void slot_clear(struct skv_thread_slot *slot)
{
	if (slot->writer && !slot->writer->busy)
		put_back(&slot->writer->taken, slot->serial);
	if (slot->reader)
		put_back(&slot->reader->taken, slot->serial);
	/* A signal handler that reads finds no slot, or a whole one. */
	slot->serial = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	slot->writer = NULL;
	slot->reader = NULL;
	slot->tally = NULL;
}

static void thread_ends(void *arg)
{
	uint32_t i;

	(void)arg;
	/* A thread that was cancelled inside a call leaves its context as it is: the process
	 * still owns it, and it is recovered when the process has ended. */
	for (i = 0; i < SKV_THREAD_SLOTS; i++)
		slot_clear(&skv_thread_slots[i]);
}

static void make_key(void)
{
	key_made = pthread_key_create(&key, thread_ends) == 0;
	/* The pool's lock must be free in a child that attaches for itself. */
	pthread_atfork(pool_lock_take, pool_lock_give, pool_lock_give);
}

static struct skv_writer *pool_get(void)
{
	struct skv_writer *writer;

	pool_lock_take();
	writer = pool;
	if (writer)
		pool = writer->next;
	pool_lock_give();
	return writer ? writer : calloc(1, sizeof(*writer));
}

static void pool_put(struct skv_writer *writer)
{
	uint32_t i;

	writer->map = NULL;
	writer->ctx = NULL;
	writer->busy = 0;
	for (i = 0; i < SKV_CLASSES_MAX; i++)
		writer->cache[i].n = 0;
	__atomic_store_n(&writer->taken, 0, __ATOMIC_RELEASE);
	pool_lock_take();
	writer->next = pool;
	pool = writer;
	pool_lock_give();
}

static void clear_intents(struct skv_context *ctx)
{
	uint32_t i;

	for (i = 0; i < SKV_RESERVATIONS; i++)
		skv_store_release(&ctx->reservations[i][0], 0);
	skv_store_release(&ctx->new_off, 0);
	skv_store_release(&ctx->old_off, 0);
	skv_store_release(&ctx->aux_off, 0);
	skv_store_release(&ctx->rebuild_leaf, 0);
	skv_store_release(&ctx->chunk_first, 0);
	skv_store_release(&ctx->waking, 0);
	skv_store_release(&ctx->doing, SKV_DOING_IDLE);
}

/* A context whose stamps run out is never used again: stamps do not repeat. */
static bool is_spent(const struct skv_context *ctx)
{
	return skv_load_relaxed(&ctx->stamp_next) >= SKV_STAMP_COUNTER_SPENT;
}

static bool claim_context(struct skv_writer *writer, uint32_t from, uint32_t to)
{
	struct skv_map *map = writer->map;
	struct skv_context *ctx;
	uint64_t owner, word;
	uint32_t i;

	for (i = from; i < to; i++) {
		ctx = skv_context_at(map, i);
		owner = skv_load_acquire(&ctx->owner);
		if (skv_owner_process(owner) >= 0 || is_spent(ctx))
			continue;
		word = skv_owner_word(owner, (int32_t)map->peer.idx);
		if (!skv_cas(&ctx->owner, owner, word))
			continue;
		SKV_FAULT(CONTEXT_CLAIMED);
		clear_intents(ctx);
		skv_store_relaxed(&ctx->calls_before, skv_tally_calls(&ctx->tally));
		skv_pin_disable(map, i, NULL, NULL);
		writer->ctx = ctx;
		writer->idx = i;
		writer->owner = word;
		return true;
	}
	return false;
}

static int find_context(struct skv_writer *writer)
{
	struct skv_map *map = writer->map;
	uint32_t ready, more;
	int r;

	for (;;) {
		ready = skv_contexts_ready(map);
		if (claim_context(writer, 0, ready))
			return 0;
		if (ready >= map->region.geo.n_contexts)
			return -EUSERS;
		more = ready + SKV_PAGE / sizeof(struct skv_context);
		if (more > map->region.geo.n_contexts)
			more = map->region.geo.n_contexts;
		r = skv_region_reserve(&map->region,
				       map->region.geo.context_off +
					       ready * sizeof(struct skv_context),
				       SKV_PAGE);
		if (r < 0)
			return r;
		SKV_FAULT(CONTEXT_RESERVED);
		/* Ends: each turn moves the watermark or loses to somebody who did. */
		skv_cas(&skv_super(map)->contexts_ready, ready, more);
	}
}

/* Are no views and no drafts open in its context? */
static bool is_bare(const struct skv_writer *writer)
{
	return skv_pin_count(writer->map, writer->idx) == 0 &&
	       skv_reserve_count(writer->map, writer->idx) == 0;
}

/* Away from a context whose stamps run out. While no other is to be had the old one serves,
 * as long as it has any. */
static int change_context(struct skv_writer *writer)
{
	struct skv_context *spent = writer->ctx;
	uint64_t owner = writer->owner;
	int r = -EUSERS;

	/* What it pins and reserves stands in the context and stays there. */
	if (is_bare(writer)) {
		skv_pin_disable(writer->map, writer->idx, NULL, NULL);
		r = find_context(writer);
	}
	if (r < 0)
		return skv_load_relaxed(&spent->stamp_next) < SKV_STAMP_COUNTER_MAX - (1ull << 20) ?
			       0 :
			       r;
	skv_cas(&spent->owner, owner, skv_owner_word(owner, -1));
	return 0;
}

static struct skv_writer *writer_new(struct skv_map *map)
{
	struct skv_writer *writer = pool_get();

	if (writer) {
		writer->map = map;
		writer->acting_for = -1;
		writer->lack = (struct skv_lack){ .hasty = false };
		writer->inserted = 0;
		writer->n_calls = 0;
		writer->n_expiry = 0;
		writer->taken = map->serial;
	}
	return writer;
}

static void writer_push(struct skv_map *map, struct skv_writer *writer)
{
	writer->next = __atomic_load_n(&map->writers, __ATOMIC_ACQUIRE);
	while (!__atomic_compare_exchange_n(&map->writers, &writer->next, writer, true,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}

static int make_writer(struct skv_map *map, struct skv_writer **ret_writer)
{
	struct skv_writer *writer = writer_new(map);
	int r;

	if (!writer)
		return -ENOMEM;
	r = find_context(writer);
	if (r < 0) {
		pool_put(writer);
		return r;
	}
	writer_push(map, writer);
	*ret_writer = writer;
	return 0;
}

struct skv_writer *skv_writer_adopt(struct skv_map *map, uint32_t idx, uint64_t owner)
{
	struct skv_writer *writer = writer_new(map);
	uint64_t word = skv_owner_word(owner, (int32_t)map->peer.idx);

	if (!writer)
		return NULL;
	writer->ctx = skv_context_at(map, idx);
	writer->idx = idx;
	writer->owner = word;
	if (!skv_cas(&writer->ctx->owner, owner, word)) {
		pool_put(writer);
		return NULL;
	}
	skv_store_relaxed(&writer->ctx->doing, SKV_DOING_RECOVER);
	skv_store_relaxed(&writer->ctx->calls_before, skv_tally_calls(&writer->ctx->tally));
	return writer;
}

void skv_writer_offer(struct skv_writer *writer)
{
	clear_intents(writer->ctx);
	writer_push(writer->map, writer);
	__atomic_store_n(&writer->taken, 0, __ATOMIC_RELEASE);
}

/* One that no thread has. A thread that ended has left its views and drafts in its context: as
 * long as there are others, the next thread gets one with room for its own. */
static struct skv_writer *take_idle(struct skv_map *map, bool bare)
{
	struct skv_writer *writer;
	uint64_t none;

	for (writer = __atomic_load_n(&map->writers, __ATOMIC_ACQUIRE); writer;
	     writer = writer->next) {
		none = 0;
		if (__atomic_load_n(&writer->taken, __ATOMIC_RELAXED) != 0 ||
		    !__atomic_compare_exchange_n(&writer->taken, &none, map->serial, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			continue;
		if (!bare || is_bare(writer))
			break;
		put_back(&writer->taken, map->serial);
	}
	return writer;
}

int skv_writer_thread_slot(struct skv_map *map, struct skv_thread_slot **ret_slot)
{
	struct skv_thread_slot *slot = &skv_thread_slots[map->serial % SKV_THREAD_SLOTS];

	pthread_once(&once, make_key);
	if (!key_made)
		return -ENOMEM;
	if (slot->serial != map->serial) {
		/* A signal handler must not push out the call that it interrupted. A writer whose
		 * handle was detached serves others by now, and that they are busy is nothing to us. */
		if (slot->writer && slot->writer->busy &&
		    __atomic_load_n(&slot->writer->taken, __ATOMIC_RELAXED) == slot->serial)
			return -EBUSY;
		slot_clear(slot);
	}
	/* Any value but NULL makes the destructor run. */
	pthread_setspecific(key, &skv_thread_slots);
	*ret_slot = slot;
	return 0;
}

static int find_writer(struct skv_map *map, struct skv_writer **ret_writer)
{
	struct skv_thread_slot *slot;
	struct skv_writer *writer;
	int r = skv_writer_thread_slot(map, &slot);

	if (r < 0)
		return r;

	writer = take_idle(map, true);
	if (!writer)
		r = make_writer(map, &writer);
	if (r < 0)
		writer = take_idle(map, false);
	if (!writer)
		return r;

	/* What the thread has counted without a context stays with the handle. */
	slot->writer = writer;
	slot->tally = &writer->ctx->tally;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	slot->serial = map->serial;
	*ret_writer = writer;
	return 0;
}

int skv_writer_enter(struct skv_map *map, enum skv_doing doing, struct skv_writer **ret_writer)
{
	struct skv_thread_slot *slot = &skv_thread_slots[map->serial % SKV_THREAD_SLOTS];
	struct skv_writer *writer = slot->writer;
	int r;

	if (!writer || slot->serial != map->serial) {
		r = find_writer(map, &writer);
		if (r < 0)
			return r;
	}
	if (writer->busy)
		return -EBUSY;
	writer->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(is_spent(writer->ctx), 0)) {
		r = change_context(writer);
		if (r < 0) {
			writer->busy = 0;
			return r;
		}
		slot->tally = &writer->ctx->tally;
	}
	skv_store_relaxed(&writer->ctx->doing, doing);
	*ret_writer = writer;
	return 0;
}

void skv_writer_exit(struct skv_writer *writer)
{
	skv_store_relaxed(&writer->ctx->doing, SKV_DOING_IDLE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	writer->busy = 0;
}

uint64_t skv_writer_stamp(struct skv_writer *writer)
{
	/* Advanced before use: a stamp that was handed out and lost is never handed out again. */
	uint64_t n = skv_load_relaxed(&writer->ctx->stamp_next) + 1;

	skv_store_relaxed(&writer->ctx->stamp_next, n);
	return ((uint64_t)writer->idx << SKV_STAMP_COUNTER_BITS) | n;
}

void skv_writer_release_all(struct skv_map *map)
{
	struct skv_writer *writer, *next;

	for (writer = map->writers; writer; writer = next) {
		next = writer->next;
		skv_cas(&writer->ctx->owner, writer->owner, skv_owner_word(writer->owner, -1));
		pool_put(writer);
	}
	map->writers = NULL;
}

void skv_writer_abandon_all(struct skv_map *map)
{
	struct skv_writer *writer, *next;

	for (writer = map->writers; writer; writer = next) {
		next = writer->next;
		pool_put(writer);
	}
	map->writers = NULL;
}

/* SPDX-License-Identifier: MIT */
#include "tests/sweep-scenarios.h"

#include "api/handle.h"
#include "shm/map.h"

#include <shmkv/expiry.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#ifdef SKV_TINY
#define COMPACT_LOAD 6u
#define COMPACT_DROP 5u
#else
#define COMPACT_LOAD 120u
#define COMPACT_DROP 90u
#endif

static uint32_t key_split, key_split2, key_compact, key_deep;

/* ---- start states --------------------------------------------------------------------- */

static void load_keys(struct sweep_world *w, uint32_t from, uint32_t to, uint32_t len)
{
	uint32_t id;

	for (id = from; id < to; id++)
		sweep_put(w, w->kv, id, sweep_bin(w, len));
}

static void prepare_few(struct sweep_world *w)
{
	load_keys(w, 0, 4, SWEEP_SMALL);
	sweep_put(w, w->kv, SWEEP_EXTRA, sweep_int(41));
}

static void prepare_many(struct sweep_world *w)
{
	load_keys(w, 0, 60, SWEEP_SMALL);
	load_keys(w, 60, 64, SWEEP_MEDIUM);
	sweep_put(w, w->kv, SWEEP_EXTRA, sweep_int(41));
}

/* The second handle takes blocks and leaves and gives them back as hints for everybody. */
static void prepare_hints(struct sweep_world *w)
{
	struct shmkv *kv;
	uint32_t id;

	prepare_few(w);
	SWEEP_WANT(w, shmkv_attach(w->name, 0, &kv), 0);
	for (id = 10; id < 14; id++)
		sweep_put(w, kv, id, sweep_bin(w, SWEEP_WIDE));
	for (id = 10; id < 14; id++)
		sweep_del(w, kv, id);
	shmkv_detach(kv);
}

static void prepare_large(struct sweep_world *w)
{
	prepare_few(w);
	sweep_put(w, w->kv, 1, sweep_bin(w, SWEEP_RUN));
	sweep_put(w, w->kv, 2, sweep_bin(w, SWEEP_WIDE));
}

/* A deadline that is far away, on the large value and on a small one. */
static void prepare_ttl(struct sweep_world *w)
{
	const char *key;
	uint32_t id;
	size_t len;

	prepare_large(w);
	for (id = 1; id < 4; id += 2) {
		key = sweep_key(id, &len);
		SWEEP_WANT(w, shmkv_touch(w->kv, key, len, SWEEP_TTL_BEFORE), 0);
	}
}

static void prepare_timed(struct sweep_world *w)
{
	sweep_timed(w);
	prepare_large(w);
}

/* Records of every kind of memory whose time is over. */
static void prepare_expired(struct sweep_world *w)
{
	uint32_t id;

	sweep_timed(w);
	prepare_large(w);
	for (id = 20; id < 26; id++)
		sweep_put_ending(w, w->kv, id, SWEEP_SMALL);
	sweep_put_ending(w, w->kv, 26, SWEEP_WIDE);
	sweep_put_ending(w, w->kv, 27, SWEEP_RUN);
	sweep_lapse(w);
}

/* Full, and there would be room for a large record if somebody looked for what has expired. */
static void prepare_full_expired(struct sweep_world *w)
{
	uint32_t id;

	sweep_timed(w);
	prepare_few(w);
	for (id = 20; id < 26; id++)
		sweep_put_ending(w, w->kv, id, SWEEP_SMALL);
	sweep_put_ending(w, w->kv, 27, SWEEP_RUN);
	sweep_fill(w, w->kv, SWEEP_FILL_MAX);
	sweep_lapse(w);
}

static void prepare_split(struct sweep_world *w)
{
	load_keys(w, 0, key_split, SWEEP_SMALL);
}

static void prepare_split2(struct sweep_world *w)
{
	load_keys(w, 0, key_split2, SWEEP_SMALL);
}

static void prepare_compact(struct sweep_world *w)
{
	uint32_t id;

	load_keys(w, 0, COMPACT_LOAD, SWEEP_SMALL);
	for (id = 0; id < COMPACT_DROP; id++)
		sweep_del(w, w->kv, id);
	load_keys(w, COMPACT_LOAD, key_compact, SWEEP_SMALL);
}

static void prepare_deep(struct sweep_world *w)
{
	load_keys(w, SWEEP_DEEP, key_deep, SWEEP_SMALL);
}

/* Full to the last block, and then the slab of one wide class is empty again. */
static void prepare_full(struct sweep_world *w)
{
	prepare_few(w);
	load_keys(w, 100, 105, SWEEP_WIDE);
	sweep_fill(w, w->kv, SWEEP_FILL_MAX);
	for (uint32_t id = 100; id < 105; id++)
		sweep_del(w, w->kv, id);
}

/* Full, and the leaf that the next key goes to has as many dead slots as it may. */
static void prepare_full_compact(struct sweep_world *w)
{
	prepare_compact(w);
	load_keys(w, 200, 203, SWEEP_SMALL);
	sweep_fill(w, w->kv, SWEEP_FILL_MAX);
	sweep_del(w, w->kv, 200);
}

/* A cache that is full. */
static void prepare_cache(struct sweep_world *w)
{
	prepare_few(w);
	sweep_fill(w, w->kv, SWEEP_FILL_MAX);
}

/* Full of large records and small ones. */
static void prepare_cache_large(struct sweep_world *w)
{
	prepare_few(w);
	load_keys(w, 10, 14, SWEEP_RUN);
	sweep_fill(w, w->kv, SWEEP_FILL_MAX);
}

static void open_more(struct sweep_world *w, uint32_t n)
{
	while (w->n_more < n)
		SWEEP_WANT(w, shmkv_attach(w->name, 0, &w->more[w->n_more++]), 0);
}

/* With the director's, as many contexts as one page holds. */
static void prepare_contexts(struct sweep_world *w)
{
	prepare_few(w);
	open_more(w, 7);
}

/* The director's housekeeping clock says that nobody has looked for a long time. */
static void prepare_maintain(struct sweep_world *w)
{
	const struct skv_map *map = w->kv->map;

	prepare_many(w);
	skv_store_relaxed(&skv_super(map)->reap_ms, 0);
}

/* ---- a process with two threads ------------------------------------------------------- */

static struct {
	struct sweep_world *w;
	struct shmkv *kv;
	pthread_barrier_t parked;
} pair;

static void park(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&pair.parked);
	for (;;)
		pause();
}

static void *write_and_park(void *arg)
{
	struct sweep_op op = { SWEEP_PUT, 2, SWEEP_WIDE };

	(void)arg;
	/* Reached by this thread only: the other one waits at the barrier. */
	skv_fault_arm(&pair.w->board->haunt, SKV_FAULT_WRITE_COMPLETE, 1, SKV_FAULT_CALL, park,
		      NULL);
	sweep_run_op(pair.w, &pair.kv, &op, sweep_bin(pair.w, op.len));
	return NULL;
}

/* One thread stands before its commit, the other dies in the middle of a split. */
static void die_with_two_threads(struct sweep_world *w, struct shmkv *kv)
{
	struct sweep_op op = { SWEEP_PUT, key_split, SWEEP_SMALL };
	struct sweep_value value = sweep_bin(w, SWEEP_SMALL);
	pthread_t thread;

	pair.w = w;
	pair.kv = kv;
	pthread_barrier_init(&pair.parked, NULL, 2);
	pthread_create(&thread, NULL, write_and_park, NULL);
	pthread_barrier_wait(&pair.parked);
	skv_fault_arm(&w->board->haunt, SKV_FAULT_LEAF_FROZEN, 1, SKV_FAULT_KILL, NULL, NULL);
	sweep_run_op(w, &kv, &op, value);
}

/* ---- the table ------------------------------------------------------------------------ */

#define POINT(name) SKV_FAULT_##name

/* Recovery, or another writer, after one death. */
#define AFTER(title, prep, death_kind, death_key, death_len, death_point, death_nth)              \
	{                                                                                         \
		.name = "recover-" title, .op = { SWEEP_RECOVER, 1, 0 }, .prepare = prep,         \
		.deaths = { { { death_kind, death_key, death_len }, POINT(death_point),           \
			      death_nth } },                                                      \
	}

/* Somebody waits for a key, or for anything; the flag is all that is left. */
#define WAITED(waited_key) { { SWEEP_WAIT, waited_key, 0 }, POINT(WAIT_FLAGGED), 1 }
#define POLLED(polled_key) { { SWEEP_POLL, polled_key, 0 }, POINT(POLL_FLAGGED), 1 }
#define WAITED_ANY { { SWEEP_WAIT_ANY, 1, 0 }, POINT(WAIT_FLAGGED), 1 }

#define HELP(title, help_kind, help_key, death_point, death_nth)                                  \
	{                                                                                         \
		.name = "help-" title, .op = { help_kind, help_key, SWEEP_SMALL },                \
		.prepare = prepare_split,                                                         \
		.deaths = { { { SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL }, POINT(death_point),    \
			      death_nth } },                                                      \
	}

const struct sweep_scenario sweep_scenarios[] = {
	/* Lifecycle. */
	{ .name = "create", .op = { SWEEP_CREATE, 1, 0 }, .flags = SWEEP_STARTS },
	{ .name = "attach", .op = { SWEEP_ATTACH, 1, 0 }, .flags = SWEEP_STARTS | SWEEP_POOLED,
	  .prepare = prepare_many },
	{ .name = "attach-contexts", .op = { SWEEP_ATTACH, 1, 0 },
	  .flags = SWEEP_STARTS | SWEEP_FIRST,
	  .prepare = prepare_contexts },
	{ .name = "attach-reaps", .op = { SWEEP_ATTACH, 1, 0 }, .flags = SWEEP_STARTS,
	  .prepare = prepare_split,
	  .deaths = { { { SWEEP_PUT, 1, SWEEP_SMALL }, POINT(WRITE_LINKED), 1 },
		      { { SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL }, POINT(LEAF_BUILD), 3 } } },
	{ .name = "attach-inherits", .op = { SWEEP_ATTACH, 1, 0 },
	  .flags = SWEEP_STARTS | SWEEP_CROWDED, .prepare = prepare_split,
	  .deaths = { { { SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL }, POINT(LEAF_FORWARD), 1 } },
	  .max_processes = 2 },
	{ .name = "attach-inherits-two", .op = { SWEEP_ATTACH, 1, 0 },
	  .flags = SWEEP_STARTS | SWEEP_CROWDED, .prepare = prepare_split,
	  .thread_death = die_with_two_threads, .max_processes = 2 },
	{ .name = "detach", .op = { SWEEP_DETACH, 1, 0 }, .prepare = prepare_many },

	/* Contexts of the dead. */
	{ .name = "adopt", .op = { SWEEP_PUT, 1, SWEEP_SMALL }, .flags = SWEEP_CROWDED,
	  .prepare = prepare_split,
	  .deaths = { { { SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL }, POINT(LEAF_FROZEN), 1 } },
	  .max_threads = 2 },
	{ .name = "adopt-claim", .op = { SWEEP_PUT, 1, SWEEP_SMALL }, .flags = SWEEP_CROWDED,
	  .prepare = prepare_few,
	  .deaths = { { { SWEEP_PUT, 3, SWEEP_WIDE }, POINT(CLAIM_CHUNK), 3 } },
	  .max_threads = 2 },

	/* One key. */
	{ .name = "put-first", .op = { SWEEP_PUT, 1, SWEEP_SMALL } },
	{ .name = "put-new", .op = { SWEEP_PUT, 70, SWEEP_SMALL }, .prepare = prepare_many },
	{ .name = "put-many", .op = { SWEEP_PUT_MANY, 3, SWEEP_SMALL }, .prepare = prepare_many },
	{ .name = "put-many-split", .op = { SWEEP_PUT_MANY, SWEEP_KEY_SPLIT, SWEEP_SMALL },
	  .prepare = prepare_split },
	{ .name = "put-hinted", .op = { SWEEP_PUT, 20, SWEEP_WIDE }, .prepare = prepare_hints },
	{ .name = "put-wide", .op = { SWEEP_PUT, 1, SWEEP_WIDE }, .prepare = prepare_few },
	{ .name = "put-run", .op = { SWEEP_PUT, 9, SWEEP_RUN }, .prepare = prepare_few },
	{ .name = "put-over", .op = { SWEEP_PUT, 3, SWEEP_SMALL }, .prepare = prepare_many },
	{ .name = "put-small-to-run", .op = { SWEEP_PUT, 3, SWEEP_RUN }, .prepare = prepare_few },
	{ .name = "put-run-to-small", .op = { SWEEP_PUT, 1, SWEEP_SMALL },
	  .prepare = prepare_large },
	{ .name = "put-run-to-run", .op = { SWEEP_PUT, 1, 2 * SWEEP_RUN },
	  .prepare = prepare_large },
	{ .name = "put-wide-to-medium", .op = { SWEEP_PUT, 2, SWEEP_MEDIUM },
	  .prepare = prepare_large },
	{ .name = "add", .op = { SWEEP_ADD, 70, SWEEP_SMALL }, .prepare = prepare_many },
	{ .name = "add-present", .op = { SWEEP_ADD, 1, SWEEP_SMALL }, .prepare = prepare_few,
	  .flags = SWEEP_PASSES_NONE },
	{ .name = "replace", .op = { SWEEP_REPLACE, 2, SWEEP_MEDIUM }, .prepare = prepare_few },
	{ .name = "cas", .op = { SWEEP_CAS, 2, SWEEP_MEDIUM }, .prepare = prepare_few },
	{ .name = "incr", .op = { SWEEP_INCR, SWEEP_EXTRA, 0 }, .prepare = prepare_few },
	{ .name = "incr-new", .op = { SWEEP_INCR, 5, 0 }, .prepare = prepare_few },
	{ .name = "append", .op = { SWEEP_APPEND, 2, SWEEP_MEDIUM }, .prepare = prepare_few },
	{ .name = "append-run", .op = { SWEEP_APPEND, 1, SWEEP_RUN }, .prepare = prepare_large },
	{ .name = "del", .op = { SWEEP_DEL, 2, 0 }, .prepare = prepare_many },
	{ .name = "del-run", .op = { SWEEP_DEL, 1, 0 }, .prepare = prepare_large },
	{ .name = "take", .op = { SWEEP_TAKE, 3, 0 }, .prepare = prepare_few },
	{ .name = "view", .op = { SWEEP_VIEW, 3, 0 }, .prepare = prepare_few },
	{ .name = "view-replace", .op = { SWEEP_VIEW_REPLACE, 3, SWEEP_SMALL }, .prepare = prepare_few },
	{ .name = "view-replace-run", .op = { SWEEP_VIEW_REPLACE, 1, SWEEP_RUN }, .prepare = prepare_large },
	{ .name = "get", .op = { SWEEP_GET, 3, 0 }, .prepare = prepare_few,
	  .flags = SWEEP_PASSES_NONE },

	/* Values that are written in place. */
	{ .name = "draft", .op = { SWEEP_DRAFT, 3, SWEEP_SMALL }, .prepare = prepare_few },
	{ .name = "draft-new", .op = { SWEEP_DRAFT, 5, SWEEP_MEDIUM }, .prepare = prepare_few },
	{ .name = "draft-run", .op = { SWEEP_DRAFT, 1, SWEEP_RUN }, .prepare = prepare_large },
	{ .name = "draft-cas", .op = { SWEEP_DRAFT_CAS, 2, SWEEP_MEDIUM }, .prepare = prepare_few },
	{ .name = "draft-ttl", .op = { SWEEP_DRAFT_TTL, 3, SWEEP_SMALL },
	  .prepare = prepare_timed },
	{ .name = "draft-split", .op = { SWEEP_DRAFT, SWEEP_KEY_SPLIT, SWEEP_SMALL },
	  .prepare = prepare_split },
	{ .name = "draft-waited", .op = { SWEEP_DRAFT, 3, SWEEP_SMALL }, .prepare = prepare_few,
	  .deaths = { WAITED(3), WAITED_ANY } },
	{ .name = "draft-evicts", .op = { SWEEP_DRAFT, 70, SWEEP_FILL_BYTES },
	  .prepare = prepare_cache, .flags = SWEEP_EVICTS },
	{ .name = "draft-abort", .op = { SWEEP_DRAFT_ABORT, 3, SWEEP_SMALL },
	  .prepare = prepare_few },
	{ .name = "draft-abort-run", .op = { SWEEP_DRAFT_ABORT, 1, SWEEP_RUN },
	  .prepare = prepare_large },
	{ .name = "draft-refused", .op = { SWEEP_DRAFT_REFUSED, 1, 0 }, .prepare = prepare_few },
	{ .name = "draft-detach", .op = { SWEEP_DRAFT_DETACH, 1, 0 }, .prepare = prepare_many },

	/* Waiting, and changing what somebody waits for. */
	{ .name = "wait", .op = { SWEEP_WAIT, 3, 0 }, .prepare = prepare_many },
	{ .name = "wait-absent", .op = { SWEEP_WAIT, 70, 0 }, .prepare = prepare_many },
	{ .name = "wait-any", .op = { SWEEP_WAIT_ANY, 3, 0 }, .prepare = prepare_many },
	{ .name = "poll", .op = { SWEEP_POLL, 3, 0 }, .prepare = prepare_many },
	{ .name = "put-polled", .op = { SWEEP_PUT, 3, SWEEP_SMALL }, .prepare = prepare_few,
	  .deaths = { POLLED(3), WAITED(3) } },
	{ .name = "del-polled", .op = { SWEEP_DEL, 3, 0 }, .prepare = prepare_few,
	  .deaths = { WAITED_ANY, POLLED(3) } },
	{ .name = "put-waited", .op = { SWEEP_PUT, 3, SWEEP_SMALL }, .prepare = prepare_few,
	  .deaths = { WAITED(3), WAITED_ANY } },
	{ .name = "put-new-waited", .op = { SWEEP_PUT, 9, SWEEP_SMALL }, .prepare = prepare_few,
	  .deaths = { WAITED(9) } },
	{ .name = "incr-waited", .op = { SWEEP_INCR, SWEEP_EXTRA, 0 }, .prepare = prepare_few,
	  .deaths = { WAITED_ANY } },
	{ .name = "del-waited", .op = { SWEEP_DEL, 3, 0 }, .prepare = prepare_few,
	  .deaths = { WAITED(3), WAITED_ANY } },
	{ .name = "clear-waited", .op = { SWEEP_CLEAR, 1, 0 }, .prepare = prepare_few,
	  .deaths = { WAITED(3), WAITED(1), WAITED_ANY } },

	/* Leaves. */
	{ .name = "put-split", .op = { SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL },
	  .prepare = prepare_split },
	{ .name = "put-split-grow", .op = { SWEEP_PUT, SWEEP_KEY_SPLIT2, SWEEP_SMALL },
	  .flags = SWEEP_POOLED,
	  .prepare = prepare_split2 },
	{ .name = "put-compact", .op = { SWEEP_PUT, SWEEP_KEY_COMPACT, SWEEP_SMALL },
	  .flags = SWEEP_POOLED,
	  .prepare = prepare_compact },
	{ .name = "put-deep", .op = { SWEEP_PUT, SWEEP_KEY_DEEP, SWEEP_SMALL },
	  .prepare = prepare_deep, .max_bytes = (uint64_t)8 << 20 },
	{ .name = "incr-split", .op = { SWEEP_INCR, SWEEP_KEY_SPLIT, 0 },
	  .prepare = prepare_split },
	HELP("forward", SWEEP_PUT, 1, LEAF_FORWARD, 1),
	HELP("freeze", SWEEP_DEL, 1, LEAF_FREEZE, 5),
	HELP("frozen", SWEEP_INCR, SWEEP_EXTRA + 40, LEAF_FROZEN, 1),
	HELP("build", SWEEP_PUT, SWEEP_EXTRA + 41, LEAF_BUILD, 4),
	HELP("built", SWEEP_PUT, 1, LEAF_BUILT, 1),
	HELP("child-live", SWEEP_PUT, 1, LEAF_CHILD_LIVE, 1),
	HELP("unborn", SWEEP_PUT, 2, LEAF_UNBORN, 1),
	HELP("unborn-both", SWEEP_DEL, 3, LEAF_UNBORN, 2),
	HELP("switched", SWEEP_PUT, 4, LEAF_SWITCHED, 1),
	HELP("born", SWEEP_CLEAR, 1, LEAF_BORN, 1),

	/* Full. */
	{ .name = "full-dismantle", .op = { SWEEP_PUT, 1, SWEEP_MEDIUM },
	  .flags = SWEEP_POOLED,
	  .prepare = prepare_full },
	{ .name = "full-run", .op = { SWEEP_PUT, 9, SWEEP_RUN },
	  .flags = SWEEP_POOLED,
	  .prepare = prepare_full },
	{ .name = "full-compact", .op = { SWEEP_PUT, SWEEP_KEY_COMPACT, SWEEP_SMALL },
	  .flags = SWEEP_POOLED,
	  .prepare = prepare_full_compact },
	{ .name = "full-reap", .op = { SWEEP_PUT, 1, SWEEP_MEDIUM },
	  .flags = SWEEP_POOLED,
	  .prepare = prepare_full,
	  .deaths = { { { SWEEP_PUT, 9, SWEEP_RUN }, POINT(WRITE_COMPLETE), 1 } } },
	{ .name = "full-del", .op = { SWEEP_DEL, 1, 0 }, .flags = SWEEP_POOLED,
	  .prepare = prepare_full },

	/* Caches. */
	{ .name = "evict-key", .op = { SWEEP_PUT, 70, SWEEP_FILL_BYTES },
	  .prepare = prepare_cache, .flags = SWEEP_EVICTS },
	{ .name = "evict-over", .op = { SWEEP_PUT, 1, SWEEP_FILL_BYTES },
	  .prepare = prepare_cache, .flags = SWEEP_EVICTS },
	{ .name = "evict-slab", .op = { SWEEP_PUT, 70, SWEEP_MEDIUM },
	  .prepare = prepare_cache, .flags = SWEEP_EVICTS },
	{ .name = "evict-slabs", .op = { SWEEP_ADD, 70, SWEEP_WIDE },
	  .prepare = prepare_cache, .flags = SWEEP_EVICTS },
	{ .name = "evict-run", .op = { SWEEP_PUT, 70, SWEEP_RUN },
	  .prepare = prepare_cache_large, .flags = SWEEP_EVICTS },
	{ .name = "evict-for-run", .op = { SWEEP_APPEND, 2, 2 * SWEEP_RUN },
	  .prepare = prepare_cache, .flags = SWEEP_EVICTS },
	{ .name = "evict-after", .op = { SWEEP_PUT, 70, SWEEP_FILL_BYTES },
	  .prepare = prepare_cache, .flags = SWEEP_EVICTS,
	  .deaths = { { { SWEEP_PUT, 71, SWEEP_FILL_BYTES }, POINT(EVICT_UNLINKED), 1 },
		      { { SWEEP_PUT, 72, SWEEP_WIDE }, POINT(EVICT_EMPTIED), 1 } } },

	/* All keys. */
	{ .name = "clear", .op = { SWEEP_CLEAR, 1, 0 }, .flags = SWEEP_POOLED,
	  .prepare = prepare_many },
	{ .name = "clear-large", .op = { SWEEP_CLEAR, 1, 0 }, .prepare = prepare_large },
	{ .name = "scan", .op = { SWEEP_SCAN, 1, 0 }, .prepare = prepare_many,
	  .flags = SWEEP_PASSES_NONE },

	/* Keys that expire. */
	{ .name = "put-ttl", .op = { SWEEP_PUT_TTL, 3, SWEEP_SMALL }, .prepare = prepare_timed },
	{ .name = "put-ttl-new", .op = { SWEEP_PUT_TTL, 5, SWEEP_RUN }, .prepare = prepare_timed },
	{ .name = "put-expired", .op = { SWEEP_PUT, 20, SWEEP_SMALL }, .prepare = prepare_expired },
	{ .name = "add-expired", .op = { SWEEP_ADD, 27, SWEEP_RUN }, .prepare = prepare_expired },
	{ .name = "incr-expired", .op = { SWEEP_INCR, 21, 0 }, .prepare = prepare_expired },
	{ .name = "touch", .op = { SWEEP_TOUCH, 1, 0 }, .prepare = prepare_large },
	{ .name = "touch-again", .op = { SWEEP_TOUCH, 1, 0 }, .prepare = prepare_ttl },
	{ .name = "touch-wide", .op = { SWEEP_TOUCH, 2, 0 }, .prepare = prepare_large },
	{ .name = "touch-small", .op = { SWEEP_TOUCH, 3, 0 }, .prepare = prepare_ttl },
	{ .name = "touch-full", .op = { SWEEP_TOUCH, 1, 0 }, .prepare = prepare_full },
	{ .name = "persist", .op = { SWEEP_PERSIST, 1, 0 }, .prepare = prepare_ttl },
	{ .name = "expire", .op = { SWEEP_EXPIRE, 1, 0 }, .prepare = prepare_expired },
	{ .name = "maintain-expired", .op = { SWEEP_MAINTAIN, 1, 0 }, .prepare = prepare_expired },
	{ .name = "full-expired", .op = { SWEEP_PUT, 9, SWEEP_RUN },
	  .prepare = prepare_full_expired },

	/* Recovery. */
	{ .name = "recover-nothing", .op = { SWEEP_RECOVER, 1, 0 }, .prepare = prepare_many },
	AFTER("claimed", prepare_few, SWEEP_PUT, 1, SWEEP_SMALL, WRITE_CLAIMED, 1),
	AFTER("complete", prepare_few, SWEEP_PUT, 1, SWEEP_SMALL, WRITE_COMPLETE, 1),
	AFTER("linked", prepare_few, SWEEP_PUT, 1, SWEEP_SMALL, WRITE_LINKED, 1),
	AFTER("unlinked", prepare_large, SWEEP_DEL, 1, 0, REMOVE_UNLINKED, 1),
	AFTER("settled-run", prepare_large, SWEEP_DEL, 1, 0, SETTLE_RUN_FREED, 1),
	AFTER("run-bodies", prepare_large, SWEEP_DEL, 1, 0, RUN_BODY_RETURNED, 2),
	AFTER("run-head", prepare_large, SWEEP_DEL, 1, 0, RUN_HEAD_LEFT, 1),
	AFTER("run-complete", prepare_few, SWEEP_PUT, 1, SWEEP_RUN, WRITE_COMPLETE, 1),
	AFTER("chunks", prepare_few, SWEEP_PUT, 1, SWEEP_WIDE, CLAIM_CHUNK, 3),
	AFTER("span", prepare_few, SWEEP_PUT, 1, SWEEP_WIDE, SPAN_BODIES, 1),
	AFTER("run-claimed", prepare_few, SWEEP_PUT, 1, SWEEP_RUN, RUN_ALLOCATED, 1),
	AFTER("dismantle", prepare_full, SWEEP_PUT, 1, SWEEP_MEDIUM, DISMANTLE_BUSY, 3),
	AFTER("unmade", prepare_full, SWEEP_PUT, 1, SWEEP_MEDIUM, SLAB_UNMADE, 1),
	AFTER("draft", prepare_few, SWEEP_DRAFT, 1, SWEEP_SMALL, RESERVE_OPEN, 1),
	AFTER("draft-run", prepare_few, SWEEP_DRAFT, 1, SWEEP_RUN, RESERVE_OPEN, 1),
	AFTER("draft-linked", prepare_few, SWEEP_DRAFT, 1, SWEEP_SMALL, COMMIT_LINKED, 1),
	AFTER("drafts", prepare_many, SWEEP_DRAFT_DETACH, 1, 0, RESERVE_OPEN, 3),
	AFTER("leaf-claimed", prepare_split, SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL,
	      LEAF_CLAIMED, 2),
	AFTER("leaf-ready", prepare_split, SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL, LEAF_READY, 1),
	AFTER("forward", prepare_split, SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL, LEAF_FORWARD, 1),
	AFTER("unborn", prepare_split, SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL, LEAF_UNBORN, 1),
	AFTER("switched", prepare_split, SWEEP_PUT, SWEEP_KEY_SPLIT, SWEEP_SMALL, LEAF_SWITCHED, 1),
	AFTER("compact", prepare_compact, SWEEP_PUT, SWEEP_KEY_COMPACT, SWEEP_SMALL, LEAF_BUILT, 1),
	{ .name = "recover-waited", .op = { SWEEP_RECOVER, 1, 0 }, .prepare = prepare_few,
	  .deaths = { WAITED(3), WAITED(1), WAITED_ANY,
		      { { SWEEP_PUT, 3, SWEEP_SMALL }, POINT(WAKE_FLAGGED), 1 } } },
	{ .name = "recover-waking", .op = { SWEEP_RECOVER, 1, 0 }, .prepare = prepare_few,
	  .deaths = { WAITED(3), WAITED(1), WAITED_ANY,
		      { { SWEEP_PUT, 3, SWEEP_SMALL }, POINT(WAKE_CLEARED), 1 } } },
	{ .name = "recover-several", .op = { SWEEP_RECOVER, 1, 0 }, .prepare = prepare_large,
	  .deaths = { { { SWEEP_PUT, 3, SWEEP_SMALL }, POINT(WRITE_LINKED), 1 },
		      { { SWEEP_DEL, 1, 0 }, POINT(RUN_BODY_RETURNED), 1 },
		      { { SWEEP_PUT, 2, SWEEP_RUN }, POINT(CLAIM_CHUNK), 2 },
		      { { SWEEP_PUT, 0, SWEEP_SMALL }, POINT(WRITE_COMPLETE), 1 } } },
	{ .name = "recover-threads", .op = { SWEEP_RECOVER, 1, 0 }, .prepare = prepare_split,
	  .thread_death = die_with_two_threads },
	{ .name = "maintain", .op = { SWEEP_MAINTAIN, 1, 0 }, .prepare = prepare_maintain,
	  .deaths = { { { SWEEP_PUT, 3, SWEEP_WIDE }, POINT(WRITE_LINKED), 1 } } },
	{ .name = NULL },
};

uint32_t sweep_scenario_key(uint32_t key)
{
	switch (key) {
	case SWEEP_KEY_SPLIT:
		return key_split;
	case SWEEP_KEY_SPLIT2:
		return key_split2;
	case SWEEP_KEY_COMPACT:
		return key_compact;
	case SWEEP_KEY_DEEP:
		return key_deep;
	default:
		return key;
	}
}

/* ---- keys that make something happen --------------------------------------------------- */

struct trial {
	struct sweep_world *w;
	uint64_t seed;
};

static void trial_begin(struct trial *t, uint64_t max_bytes)
{
	memset(t->w->model, 0, sizeof(t->w->model));
	t->w->opts.max_bytes = max_bytes;
	sweep_random_reset(t->seed);
	sweep_create(t->w);
}

static void trial_end(struct trial *t)
{
	t->w->kv = shmkv_detach(t->w->kv);
	shmkv_unlink(t->w->name);
}

static uint64_t n_splits(struct trial *t)
{
	struct shmkv_info info = { .size = sizeof(info) };

	SWEEP_WANT(t->w, shmkv_info(t->w->kv, &info), 0);
	return info.splits;
}

static uint64_t n_compactions(struct trial *t)
{
	struct shmkv_info info = { .size = sizeof(info) };

	SWEEP_WANT(t->w, shmkv_info(t->w->kv, &info), 0);
	return info.compactions;
}

static uint64_t n_pieces(struct trial *t)
{
	const struct skv_map *map = t->w->kv->map;

	return (uint64_t)__builtin_popcountll(skv_super(map)->dir_ready[0]);
}

/* The first key from @id on whose insertion makes the number rise above @level. */
static uint32_t first_above(struct trial *t, uint64_t (*number)(struct trial *t), uint64_t level,
			    uint32_t id, uint32_t end)
{
	for (; id < end; id++) {
		sweep_put(t->w, t->w->kv, id, sweep_bin(t->w, SWEEP_SMALL));
		if (number(t) > level)
			return id;
	}
	sweep_bail(t->w, "no key does it; make the loads larger");
}

void sweep_scenarios_init(struct sweep_world *w, uint64_t seed)
{
	struct trial t = { w, seed };
	uint32_t id;

	trial_begin(&t, (uint64_t)1 << 20);
	key_split = first_above(&t, n_splits, 0, 0, SWEEP_N_PLAIN);
	key_split2 = first_above(&t, n_splits, 1, key_split + 1, SWEEP_N_PLAIN);
	trial_end(&t);

	if (key_split2 >= SWEEP_N_PLAIN - 160)
		sweep_bail(w, "key %u is one of the tenant's", key_split2);

	trial_begin(&t, (uint64_t)1 << 20);
	load_keys(w, 0, COMPACT_LOAD, SWEEP_SMALL);
	for (id = 0; id < COMPACT_DROP; id++)
		sweep_del(w, w->kv, id);
	key_compact = first_above(&t, n_compactions, 0, COMPACT_LOAD, SWEEP_N_PLAIN);
	trial_end(&t);

	trial_begin(&t, (uint64_t)8 << 20);
	key_deep = first_above(&t, n_pieces, n_pieces(&t), SWEEP_DEEP, SWEEP_DEEP + SWEEP_N_DEEP);
	trial_end(&t);
}

/* SPDX-License-Identifier: MIT */
#include "shm/arena.h"
#include "shm/batch.h"
#include "shm/check.h"
#include "shm/evict.h"
#include "shm/huge.h"
#include "shm/inspect.h"
#include "shm/pin.h"
#include "shm/poll.h"
#include "shm/recover.h"
#include "shm/reserve.h"
#include "shm/roster.h"
#include "shm/scan.h"
#include "shm/stats.h"
#include "shm/tally.h"
#include "shm/touch.h"
#include "shm/usage.h"
#include "shm/wait.h"

#include <errno.h>
#include <stdlib.h>

/*
 * store: the shared-memory engine, as the table of functions that the api layer knows.
 *
 * Puts the modules together: region and peer make an attachment, a writer is taken around
 * every call that changes something, and a call that finds no room, or no place for its
 * thread, looks for dead processes once before it says so.
 */

/* Handles of this process, counted for ever; a forked child goes on from its parent's number,
 * so that a thread's remembered writer is never taken for one of another handle. */
static uint64_t last_serial;

static void fill_defaults(struct shmkv_options *opts)
{
	if (opts->max_bytes == 0)
		opts->max_bytes = 64ull << 20;
	if (opts->mode == 0)
		opts->mode = 0600;
	if (opts->hash == SHMKV_HASH_DEFAULT)
		opts->hash = SHMKV_HASH_SIPHASH13;
}

static int map_begin(struct skv_map *map)
{
	map->serial = __atomic_add_fetch(&last_serial, 1, __ATOMIC_RELAXED);
	return skv_hash_key_init(&map->hash, map->region.geo.hash_kind, map->region.hash_k0,
				 map->region.hash_k1);
}

/* Compaction in a full segment needs leaves of its own for every process at work. */
static void grow_reserve(struct skv_map *map)
{
	struct skv_superblock *super = skv_super(map);
	uint64_t want = SKV_LEAVES_PER_CHUNK, have;
	uint32_t i;

	for (i = 0; i < map->region.geo.n_processes; i++)
		want += (skv_load_relaxed(&skv_peer_slot(&map->region, i)->state) &
			 SKV_PROCESS_STATE_MASK) != SKV_PROCESS_FREE;
	have = skv_load_relaxed(&super->leaf_target);
	if (want > have)
		skv_cas(&super->leaf_target, have, want);
}

static int map_join(struct skv_map *map)
{
	struct skv_writer *writer;
	int r;

	r = skv_peer_join(&map->region, &map->peer);
	if (r < 0)
		return r;
	map->joined = true;
	if (map->peer.inherited) {
		r = skv_recover_inherited(map);
		if (r < 0) {
			map->owes = true;
			return r;
		}
	}
	grow_reserve(map);
	/* No context or no memory for one: attaching works, and the first write says why it
	 * does not. */
	if (skv_writer_enter(map, SKV_DOING_RECOVER, &writer) == 0) {
		skv_recover_reap(writer, &map->at_join);
		skv_writer_exit(writer);
	}
	return 0;
}

static void map_free(struct skv_map *map)
{
	struct skv_writer *writer;

	for (writer = map->writers; writer; writer = writer->next) {
		/* Views and drafts that were not ended; their memory is about to be unmapped. */
		skv_pin_release_all(writer);
		skv_reserve_abort_all(writer);
		skv_arena_flush(writer);
	}
	skv_tally_publish(map);
	skv_tally_release_all(map);
	skv_writer_release_all(map);
	/* A slot without its lock is what the next process recovers. */
	if (map->joined && !map->owes)
		skv_peer_leave(&map->region, &map->peer);
	skv_region_detach(&map->region);
	free(map);
}

static int store_create(const char *name, const struct shmkv_options *opts, void **ret_map)
{
	struct shmkv_options full = *opts;
	struct skv_geometry geo;
	struct skv_map *map;
	int r;

	fill_defaults(&full);
	r = skv_geometry_plan(&full, &geo);
	if (r < 0)
		return r;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;

	r = skv_region_new(&geo, full.mode, &map->region);
	if (r < 0) {
		free(map);
		return r;
	}
	/* Everything is in place before anybody can see it. */
	r = map_begin(map);
	if (r == 0)
		r = skv_directory_init(map);
	if (r == 0)
		r = skv_leaf_init(map);
	/* The creator's own place too: once there is a name, others may take them all. */
	if (r == 0)
		r = map_join(map);
	if (r == 0 && name)
		r = skv_region_publish(&map->region, name);
	if (r < 0) {
		map_free(map);
		return r;
	}
	*ret_map = map;
	return 0;
}

static int store_publish(void *arg, const char *name)
{
	struct skv_map *map = arg;

	return skv_region_publish(&map->region, name);
}

static int store_attach(const char *name, unsigned int flags, void **ret_map)
{
	bool read_only = flags & SHMKV_READ_ONLY;
	struct skv_map *map;
	uint64_t left;
	int r;

	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	r = skv_region_attach(name, read_only, &map->region);
	if (r < 0) {
		free(map);
		return r;
	}
	r = map_begin(map);
	if (r == 0 && !read_only)
		r = map_join(map);
	if (r < 0) {
		map_free(map);
		return r;
	}
	if (!read_only)
		skv_huge_collapse(map, SKV_HUGE_ATTACH_NS, &left);
	*ret_map = map;
	return 0;
}

static void store_detach(void *arg)
{
	map_free(arg);
}

static void store_abandon(void *arg)
{
	struct skv_map *map = arg;

	skv_tally_release_all(map);
	skv_writer_abandon_all(map);
	skv_region_abandon(&map->region);
	free(map);
}

/* ---- calls -------------------------------------------------------------------------- */

/* An operation that finds no memory, though others give some back each time, ends after so many. */
#define FULL_TRIES_MAX 64u

static int writer_enter(struct skv_map *map, enum skv_doing doing, struct skv_writer **ret_writer)
{
	int r;

	if (map->region.read_only)
		return -EROFS;
	r = skv_writer_enter(map, doing, ret_writer);
	/* Ends: each turn makes one context of the dead ours, or there is none. */
	while ((r == -EUSERS || r == -ENOSPC) && skv_recover_adopt(map))
		r = skv_writer_enter(map, doing, ret_writer);
	return r;
}

/* After a call that changed no key. */
static int viewer_exit(struct skv_writer *writer, int r)
{
	skv_recover_tick(writer, false);
	skv_expiry_tick(writer);
	skv_writer_exit(writer);
	return r;
}

static int writer_exit(struct skv_writer *writer, enum skv_call call, int r)
{
	skv_tally_call(writer, call, r);
	return viewer_exit(writer, r);
}

/*
 * Full. A cache looks for expired keys in a few lines, then evicts what is worth least, at the price
 * of a microsecond or two; everything else is searched at length, and perhaps the dead hold
 * something. True when it is worth another try.
 */
static bool worth_again(struct skv_writer *writer, const struct skv_key *key, int r,
			uint32_t *tries)
{
	const uint64_t *n_freed = &skv_super(writer->map)->n_freed;
	uint64_t before = skv_load_relaxed(n_freed);

	if (r != -ENOSPC)
		return false;
	if (skv_evict_room(writer, key) || skv_expiry_step(writer, SKV_EXPIRY_FULL_LINES) > 0 ||
	    skv_recover_reap(writer, NULL) > 0)
		return true;
	/* Or somebody gave something back while we were looking; others may be faster each time. */
	return skv_load_relaxed(n_freed) != before && ++*tries < FULL_TRIES_MAX;
}

/* Copies of a large value that writers may overtake before it is pinned. */
#define PATIENCE_BEFORE_PIN 3u

static int store_get(void *arg, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_map *map = arg;
	struct skv_writer *writer;
	int r;

	if (map->region.read_only)
		return skv_index_get(map, key, SKV_PATIENCE, sink);
	r = skv_index_get(map, key, PATIENCE_BEFORE_PIN, sink);
	if (r != -EAGAIN)
		return r;
	r = writer_enter(map, SKV_DOING_VIEW, &writer);
	if (r == 0) {
		r = viewer_exit(writer, skv_index_get_held(writer, key, sink));
		if (r != -EMLINK)
			return r;
	}
	/* No pin is to be had: in a signal handler, or with every view or context in use. */
	return skv_index_get(map, key, SKV_PATIENCE, sink);
}

static int store_exists(void *map, const struct skv_key *key)
{
	return skv_index_exists(map, key);
}

static enum skv_call call_of(enum skv_write_mode mode)
{
	static const uint8_t calls[] = { [SKV_WRITE_PUT] = SKV_CALL_PUT,
					 [SKV_WRITE_ADD] = SKV_CALL_ADD,
					 [SKV_WRITE_REPLACE] = SKV_CALL_REPLACE,
					 [SKV_WRITE_CAS] = SKV_CALL_CAS };

	return (enum skv_call)calls[mode];
}

static int store_write(void *map, const struct skv_key *key, enum skv_write_mode mode,
		       uint64_t token, const struct skv_bytes *value, uint64_t ttl_ms,
		       uint64_t *ret_token)
{
	const struct skv_lifetime life = skv_lifetime_of(map, ttl_ms);
	struct skv_writer *writer;
	uint32_t full_tries = 0;
	int r = writer_enter(map, SKV_DOING_WRITE, &writer);

	if (r < 0)
		return r;
	skv_evict_begin(writer);
	do
		r = skv_index_write(writer, key, mode, token, value, &life, ret_token);
	while (worth_again(writer, key, r, &full_tries));
	skv_evict_end(writer);
	return writer_exit(writer, call_of(mode), r);
}

static int store_update(void *map, const struct skv_key *key, skv_splice_fn *fn, void *arg,
			uint64_t *ret_token)
{
	const struct skv_lifetime life = skv_lifetime_of(map, SHMKV_TTL_KEEP);
	struct skv_writer *writer;
	uint32_t full_tries = 0;
	int r = writer_enter(map, SKV_DOING_WRITE, &writer);

	if (r < 0)
		return r;
	skv_evict_begin(writer);
	do
		r = skv_index_update(writer, key, fn, arg, &life, ret_token);
	while (worth_again(writer, key, r, &full_tries));
	skv_evict_end(writer);
	return writer_exit(writer, SKV_CALL_UPDATE, r);
}

static int store_remove(void *map, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_writer *writer;
	int r = writer_enter(map, SKV_DOING_REMOVE, &writer);

	return r < 0 ? r :
		       writer_exit(writer, sink ? SKV_CALL_TAKE : SKV_CALL_DEL,
				   skv_index_remove(writer, key, sink));
}

static int store_touch(void *map, const struct skv_key *key, uint64_t ttl_ms)
{
	const struct skv_lifetime life = skv_lifetime_of(map, ttl_ms);
	struct skv_writer *writer;
	int r = writer_enter(map, SKV_DOING_TOUCH, &writer);

	if (r < 0)
		return r;
	/* Nothing is evicted for it: it needs no memory, and does not look for any at length. */
	skv_evict_begin(writer);
	r = skv_touch(writer, key, life.ttl_ms);
	skv_evict_end(writer);
	return writer_exit(writer, SKV_CALL_UPDATE, r);
}

static int store_ttl(void *map, const struct skv_key *key, uint64_t *ret_ms)
{
	uint64_t deadline;
	int r = skv_expiry_deadline(map, key, &deadline);

	return r < 0 ? r : skv_expiry_remaining(deadline, ret_ms);
}

static int store_expire(void *map, uint64_t max, uint64_t *ret_removed)
{
	struct skv_writer *writer;
	int r = writer_enter(map, SKV_DOING_EXPIRE, &writer);

	if (r < 0)
		return r;
	r = skv_expiry_walk(writer, max, ret_removed);
	skv_recover_tick(writer, false);
	skv_writer_exit(writer);
	return r;
}

/* Is it one that this map can have given? */
static bool hold_is_sane(const struct skv_map *map, const struct skv_hold *hold, uint32_t n)
{
	return hold->context < map->region.geo.n_contexts && hold->idx < n;
}

static int store_view_begin(void *map, const struct skv_key *key, struct skv_hold *ret_hold)
{
	struct skv_writer *writer;
	int r = writer_enter(map, SKV_DOING_VIEW, &writer);

	return r < 0 ? r : viewer_exit(writer, skv_index_hold(writer, key, ret_hold));
}

static int store_view_end(void *arg, const struct skv_hold *hold)
{
	struct skv_map *map = arg;
	const struct skv_pin pin = { hold->context, hold->idx, hold->word };
	struct skv_writer *writer;
	int r;

	if (!hold_is_sane(map, hold, SKV_PINS))
		return -EBADF;
	r = writer_enter(map, SKV_DOING_VIEW, &writer);
	if (r < 0)
		return r;
	skv_pin_release(writer, &pin);
	return viewer_exit(writer, 0);
}

static int store_reserve(void *map, const struct skv_key *key, const struct skv_bytes *value,
			 struct skv_hold *ret_hold)
{
	struct skv_writer *writer;
	uint32_t full_tries = 0;
	int r = writer_enter(map, SKV_DOING_WRITE, &writer);

	if (r < 0)
		return r;
	skv_evict_begin(writer);
	do
		r = skv_reserve_take(writer, key, value, ret_hold);
	while (worth_again(writer, key, r, &full_tries));
	skv_evict_end(writer);
	return viewer_exit(writer, r);
}

static int store_commit(void *map, const struct skv_hold *hold, enum skv_write_mode mode,
			uint64_t token, const struct skv_bytes *value, uint64_t ttl_ms,
			uint64_t *ret_token)
{
	const struct skv_lifetime life = skv_lifetime_of(map, ttl_ms);
	struct skv_writer *writer;
	uint32_t full_tries = 0;
	struct skv_key key;
	int r;

	if (!hold_is_sane(map, hold, SKV_RESERVATIONS))
		return -EBADF;
	r = writer_enter(map, SKV_DOING_WRITE, &writer);
	if (r < 0)
		return r;
	r = skv_reserve_key(map, hold, &key);
	if (r == 0) {
		skv_evict_begin(writer);
		do
			r = skv_reserve_commit(writer, hold, mode, token, value, &life,
					       ret_token);
		while (worth_again(writer, &key, r, &full_tries));
		skv_evict_end(writer);
	}
	return writer_exit(writer, call_of(mode), r);
}

static int store_abort(void *map, const struct skv_hold *hold)
{
	struct skv_writer *writer;
	int r;

	if (!hold_is_sane(map, hold, SKV_RESERVATIONS))
		return -EBADF;
	r = writer_enter(map, SKV_DOING_WRITE, &writer);
	return r < 0 ? r : viewer_exit(writer, skv_reserve_abort(writer, hold));
}

static void store_get_many(void *map, struct skv_read_op *ops, size_t n)
{
	struct skv_aim aims[SKV_GROUP_MAX];
	size_t i;

	skv_batch_warm_gets(map, ops, n, aims);
	for (i = 0; i < n; i++) {
		ops[i].result = skv_index_get_at(map, &ops[i].key, &aims[i], PATIENCE_BEFORE_PIN,
						 &ops[i].sink);
		if (ops[i].result == -EAGAIN)
			ops[i].result = store_get(map, &ops[i].key, &ops[i].sink);
	}
}

static int store_put_many(void *map, struct skv_write_op *ops, size_t n)
{
	struct skv_aim aims[SKV_GROUP_MAX];
	struct skv_writer *writer;
	size_t i;
	int r = writer_enter(map, SKV_DOING_WRITE, &writer);

	if (r < 0)
		return r;
	skv_batch_warm_writes(writer, ops, n, aims);
	for (i = 0; i < n; i++) {
		const struct skv_lifetime life = skv_lifetime_of(map, ops[i].ttl_ms);
		uint32_t full_tries = 0;

		skv_evict_begin(writer);
		do
			r = skv_index_write_at(writer, &ops[i].key, &aims[i], SKV_WRITE_PUT, 0,
					       &ops[i].value, &life, &ops[i].token);
		while (worth_again(writer, &ops[i].key, r, &full_tries));
		skv_evict_end(writer);
		skv_tally_call(writer, SKV_CALL_PUT, r);
		/* As much of it for each item as for a call. */
		skv_expiry_tick(writer);
		ops[i].result = r;
	}
	return viewer_exit(writer, 0);
}

static int store_count(void *map, uint64_t *ret_count)
{
	*ret_count = skv_inspect_count(map);
	return 0;
}

static int store_clear(void *arg, uint64_t *ret_removed)
{
	struct skv_map *map = arg;
	struct skv_writer *writer;
	struct skv_route route;
	uint64_t prefix = 0, removed = 0;
	uint32_t tries = 0;
	int r = writer_enter(map, SKV_DOING_CLEAR, &writer);

	if (r < 0)
		return r;
	while (prefix < 1ull << SKV_PREFIX_BITS && r == 0) {
		struct skv_place place = { prefix << 12 };

		r = skv_directory_route(map, place, &route);
		if (r == 0)
			r = skv_index_clear_leaf(writer, &route, &removed);
		if (r == 0) {
			/* By cell, not by leaf: this key range was emptied under its own guard. */
			prefix = ((uint64_t)route.idx + 1) << (SKV_PREFIX_BITS - route.depth);
			tries = 0;
		} else if (r == -EAGAIN && ++tries < 100000) {
			r = 0; /* the leaf was replaced: the work that others did */
		}
	}
	if (ret_removed)
		*ret_removed = removed;
	return writer_exit(writer, SKV_CALL_CLEAR, r);
}

static int store_scan_begin(void *map, uint64_t cursor, void **ret_scan)
{
	struct skv_scan *scan;
	int r = skv_scan_begin(map, cursor, &scan);

	if (r == 0)
		*ret_scan = scan;
	return r;
}

static int store_scan_next(void *scan, struct shmkv_entry *ret_entry)
{
	return skv_scan_next(scan, ret_entry);
}

static uint64_t store_scan_cursor(const void *scan)
{
	return skv_scan_cursor(scan);
}

static int store_scan_ttl(const void *scan, uint64_t *ret_ms)
{
	return skv_scan_ttl(scan, ret_ms);
}

static void store_scan_end(void *scan)
{
	skv_scan_end(scan);
}

static int store_wait(void *map, const struct skv_key *key, uint64_t token, uint64_t deadline_ns,
		      uint64_t *ret_token)
{
	return skv_wait_key(map, key, token, deadline_ns, ret_token);
}

static int store_state(void *map, uint64_t *ret_state)
{
	*ret_state = skv_wait_state(map);
	return 0;
}

static int store_wait_any(void *map, uint64_t state, uint64_t deadline_ns, uint64_t *ret_state)
{
	return skv_wait_any(map, state, deadline_ns, ret_state);
}

static int store_wait_cancel(void *map, bool cancelled)
{
	skv_wait_cancel(map, cancelled);
	return 0;
}

static int store_poll_open(void *map, int *ret_fd)
{
	return skv_poll_open(map, ret_fd);
}

static int store_poll(void *map, int fd, const struct skv_key *key, uint64_t seen,
		      uint64_t *ret_state)
{
	return skv_poll(map, fd, key, seen, ret_state);
}

static int store_info(void *map, struct shmkv_info *info)
{
	return skv_inspect_info(map, info);
}

static int store_linked(void *arg, const char *name)
{
	const struct skv_map *map = arg;

	return skv_region_linked(&map->region, name);
}

static int store_stats(void *map, struct shmkv_stats *stats)
{
	return skv_stats(map, stats);
}

static int store_memory(void *map, struct shmkv_memory *memory)
{
	return skv_usage(map, memory);
}

static int store_participants(void *map,
			      int (*fn)(const struct shmkv_participant *participant, void *arg),
			      void *arg)
{
	return skv_roster(map, fn, arg);
}

/* What attaching has recovered is told once, to whoever asks first. */
static void add_joined(struct skv_map *map, struct shmkv_recovery *report)
{
	report->processes += __atomic_exchange_n(&map->at_join.processes, 0, __ATOMIC_RELAXED);
	report->contexts += __atomic_exchange_n(&map->at_join.contexts, 0, __ATOMIC_RELAXED);
	report->blocks += __atomic_exchange_n(&map->at_join.blocks, 0, __ATOMIC_RELAXED);
	report->bytes += __atomic_exchange_n(&map->at_join.bytes, 0, __ATOMIC_RELAXED);
	report->leaves += __atomic_exchange_n(&map->at_join.leaves, 0, __ATOMIC_RELAXED);
	report->chunks += __atomic_exchange_n(&map->at_join.chunks, 0, __ATOMIC_RELAXED);
}

static int store_recover(void *arg, const struct shmkv_watch *watch, struct shmkv_recovery *report)
{
	struct skv_map *map = arg;
	struct skv_writer *writer;
	int r = writer_enter(map, SKV_DOING_RECOVER, &writer);

	if (r < 0)
		return r;
	skv_recover_reap(writer, report);
	skv_recover_sweep(writer, watch, report);
	add_joined(map, report);
	skv_inspect_recount(map, writer, &report->count_fix);
	skv_recover_tick(writer, false);
	skv_writer_exit(writer);
	return 0;
}

static int store_maintain(void *map)
{
	struct skv_writer *writer;
	uint64_t left;
	int r = writer_enter(map, SKV_DOING_RECOVER, &writer);

	if (r < 0)
		return r;
	skv_recover_tick(writer, true);
	skv_expiry_step(writer, SKV_EXPIRY_MAINTAIN_LINES);
	skv_writer_exit(writer);
	skv_huge_collapse(map, SKV_HUGE_MAINTAIN_NS, &left);
	return 0;
}

static int store_huge_info(void *map, struct shmkv_huge *info)
{
	skv_huge_info(map, info);
	return 0;
}

static int store_huge_collapse(void *map, uint64_t budget_ns, uint64_t *ret_left)
{
	skv_huge_collapse(map, budget_ns, ret_left);
	return 0;
}

static int store_verify(void *map, const struct shmkv_watch *watch, struct shmkv_audit *audit)
{
	return skv_check(map, watch, audit);
}

static int store_layout(void *map, int (*fn)(const struct shmkv_layout_item *item, void *arg),
			void *arg)
{
	return skv_inspect_layout(map, fn, arg);
}

const struct skv_engine skv_engine_shm = {
	.scheme = "shm",
	.create = store_create,
	.publish = store_publish,
	.attach = store_attach,
	.detach = store_detach,
	.abandon = store_abandon,
	.unlink = skv_region_unlink,
	.list = skv_region_list,
	.get = store_get,
	.exists = store_exists,
	.write = store_write,
	.update = store_update,
	.remove = store_remove,
	.touch = store_touch,
	.ttl = store_ttl,
	.expire = store_expire,
	.view_begin = store_view_begin,
	.view_end = store_view_end,
	.reserve = store_reserve,
	.commit = store_commit,
	.abort = store_abort,
	.get_many = store_get_many,
	.put_many = store_put_many,
	.count = store_count,
	.clear = store_clear,
	.scan_begin = store_scan_begin,
	.scan_next = store_scan_next,
	.scan_cursor = store_scan_cursor,
	.scan_ttl = store_scan_ttl,
	.scan_end = store_scan_end,
	.wait = store_wait,
	.state = store_state,
	.wait_any = store_wait_any,
	.wait_cancel = store_wait_cancel,
	.poll_open = store_poll_open,
	.poll = store_poll,
	.info = store_info,
	.linked = store_linked,
	.stats = store_stats,
	.memory = store_memory,
	.participants = store_participants,
	.recover_watched = store_recover,
	.maintain = store_maintain,
	.verify = store_verify,
	.huge_info = store_huge_info,
	.huge_collapse = store_huge_collapse,
	.layout = store_layout,
};

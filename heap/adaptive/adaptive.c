/* SPDX-License-Identifier: MIT */
/*
 * adaptive: one map, two kinds of tables, and moving between them while all goes on.
 *
 * STATES of a map, by its chain of tables:
 *
 *     one table                     steady: its health is looked at after each write
 *     first ──► last                moving: each write moves a batch from the first to the last
 *     first ──► ... ──► last        the last got too small, or unfit, before all had moved
 *
 *  event                            who                     what is stored, in this order
 *  a move begins                    a writer, its table     last->next = new; map->last = new
 *                                   being unhealthy or full
 *  an entry moves                   any writer              the entry in the last table, then
 *                                                           its tombstone in the first
 *  a table is left                  any writer, when it     map->first = first->next; the table
 *                                   is empty                is retired
 *  a new key                        put                     the last table
 *  a new value                      put                     the slot where the key is, in any
 *  a removal                        del                     the slot where the key is, in any
 *
 * Under the lock a key is in exactly one table: what is moved is taken from where it is,
 * together with its removal there, and a table that is being left gets no new keys. So nothing
 * that was put or deleted during a move can be undone by it: the move carries whatever is in the
 * slot when it gets there.
 *
 * READERS look from the first table to the last (skv_adaptive_find), and each table for itself
 * promises to find what is in it during the whole look-up. A key that moves is in a later table
 * before it leaves the earlier one, and the reader reaches the later one after it missed in
 * the earlier one. A reader may hold a table that has been left: its next still leads on.
 *
 *  pair                                     what it carries
 *  [heap.publish] -> [heap.follow]          the entry in the later table before the tombstone in
 *                                           the earlier one; a table's slots before the way to it
 *
 * PROGRESS. Readers: wait-free, a bounded number of slots in each table, and a writer begins
 * another table only before its own operation; four tables are never exceeded except by keys
 * whose hashes collide. Writers: one at a time. An operation moves at most one batch; only when a
 * third table would be needed are the earlier ones emptied at once.
 *
 * No memory for a table: the present one is used as long as it takes entries, and asked again
 * some hundred writes later. No memory for an entry that moves: it stays where it is.
 */
#include "heap/adaptive/adaptive.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

/* Entries (and tombstones) per home from which on a table is left for a larger one. */
#define ROBIN_LOAD_MAX 0.85
#define TIGHT_LOAD_MAX 0.93
#define CHAIN_LOAD_MAX 0.80

/* A fresh table is at most so full: room for half as many again before the next move. */
#define FRESH_LOAD 0.6
/* So full is one that follows chaining: it would not have to grow soon, and keys lie near home. */
#define AFTER_CHAIN_LOAD 0.4
/* A full table of which less than this is alive is compacted instead of enlarged. */
#define COMPACT_BELOW 0.7

/* A table of which only one part in so many is alive is compacted into a smaller one. */
#define NEARLY_EMPTY 8u

/* Slots. A smaller table grows to eight times its size: its entries move a third as often. */
#define SMALL 4096u

/* Writes until memory for a table is asked for again. */
#define PATIENCE 256u

/* Of the limit: one part in so many is not given to tables. */
#define HEADROOM 16u

/* Tables in a chain before the earlier ones are emptied at once. */
#define TABLES_MAX 3u

/* A table with so many homes per entry that still has no place: these hashes are no accident. */
#define SPARSE 64u

/* ---- events ---------------------------------------------------------------------- */

static uint32_t backend_of(const struct skv_table *table)
{
	return table->kind == SKV_TABLE_ROBIN ? SHMKV_BACKEND_ROBIN_HOOD : SHMKV_BACKEND_CHAINING;
}

static void note(struct skv_adaptive *map, struct skv_adaptive_events *events, uint32_t type,
		 bool finished, uint32_t from, uint32_t to)
{
	/* No room: the counters know it all the same. */
	if (!map->opts.on_event || events->n == SKV_ADAPTIVE_EVENTS)
		return;
	events->items[events->n++] = (struct shmkv_adaptive_event){
		.size = sizeof(struct shmkv_adaptive_event),
		.type = type,
		.finished = finished,
		.from = from,
		.to = to,
		.entries = map->heap.count,
	};
}

/* Without the lock: the caller's function may do with the map what it likes. */
static inline void tell(struct skv_adaptive *map, const struct skv_adaptive_events *events)
{
	unsigned int i;

	for (i = 0; i < events->n; i++)
		map->opts.on_event(&events->items[i], map->opts.arg);
}

/* ---- tables ---------------------------------------------------------------------- */

static struct skv_robin *robin_of(struct skv_table *table)
{
	return (struct skv_robin *)table;
}

static struct skv_chain *chain_of(struct skv_table *table)
{
	return (struct skv_chain *)table;
}

static double robin_load_max(const struct skv_adaptive *map)
{
	return map->opts.mode == SHMKV_MODE_MEMORY_TIGHT ? TIGHT_LOAD_MAX : ROBIN_LOAD_MAX;
}

static double chain_load_max(const struct skv_adaptive *map)
{
	return map->opts.mode == SHMKV_MODE_FAST_INSERT ? CHAIN_LOAD_MAX : map->opts.max_lf_chaining;
}

static uint64_t power_of_two_from(double n)
{
	uint64_t power = 1;

	while ((double)power < n && power < (uint64_t)1 << 62)
		power *= 2;
	return power;
}

/* Homes for a Robin Hood table that holds @n entries at a load of at most @load. */
static uint64_t robin_capacity_for(const struct skv_adaptive *map, uint64_t n, double load)
{
	uint64_t capacity;

	if (map->opts.mode == SHMKV_MODE_MEMORY_TIGHT) {
		capacity = (uint64_t)((double)n / (load > FRESH_LOAD ? load : 0.8)) + 1;
		return capacity < 8 ? 8 : capacity;
	}
	capacity = power_of_two_from((double)n / load);
	return capacity < map->opts.initial_capacity_rh ? map->opts.initial_capacity_rh : capacity;
}

static uint64_t buckets_for(const struct skv_adaptive *map, uint64_t n, double load)
{
	uint64_t buckets = power_of_two_from((double)n / load);

	return buckets < map->opts.initial_buckets ? map->opts.initial_buckets : buckets;
}

static struct skv_table *table_new(struct skv_adaptive *map, uint32_t kind, uint64_t capacity)
{
	struct skv_robin *robin;
	struct skv_chain *chain;

	/* What could never fit: before products overflow. */
	if (capacity > map->heap.max_bytes) {
		map->heap.pool.error = -ENOSPC;
		return NULL;
	}
	if (kind == SKV_TABLE_ROBIN) {
		robin = skv_robin_new(&map->heap, capacity, robin_load_max(map));
		return robin ? &robin->table : NULL;
	}
	chain = skv_chain_new(&map->heap, capacity, map->opts.groups_per_bucket, chain_load_max(map));
	return chain ? &chain->table : NULL;
}

static void last_set(struct skv_adaptive *map, struct skv_table *table)
{
	map->last = table;
	if (table->kind == SKV_TABLE_ROBIN) {
		map->tombstones_max = (uint64_t)((double)robin_of(table)->capacity *
						 map->opts.max_tombstone_ratio);
		if (map->tombstones_max == 0)
			map->tombstones_max = 1;
	}
}

/*
 * Begin to use another table; entries move to it from now on. It must leave some memory for
 * records, unless nothing else helps: a table that is only better is not worth a refused put.
 */
static int extend(struct skv_adaptive *map, uint32_t kind, uint64_t capacity, uint16_t why,
		  struct skv_adaptive_events *events)
{
	uint64_t limit = map->heap.pool.limit_bytes;
	struct skv_table *table;

	map->heap.pool.limit_bytes -= limit / HEADROOM;
	table = table_new(map, kind, capacity);
	map->heap.pool.limit_bytes = limit;
	if (!table) {
		map->patience = PATIENCE;
		return map->heap.pool.error;
	}
	table->why = why;
	table->from = (uint16_t)backend_of(map->last);
	if (map->last == map->first)
		map->move_pos = 0;
	/* [heap.publish] release, pairs with [heap.follow] in skv_table_next. */
	skv_rcu_store(&map->last->next, table);
	last_set(map, table);
	map->n_tables++;
	if (why == SHMKV_EVENT_MIGRATION)
		map->settling = kind == SKV_TABLE_CHAIN ? map->heap.count : 0;
	note(map, events, why, false, table->from, backend_of(table));
	return 0;
}

/* The first table is empty. */
static void leave_first(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	struct skv_table *first = map->first, *next = first->next;

	switch (next->why) {
	case SHMKV_EVENT_MIGRATION:
		map->migrations++;
		break;
	case SHMKV_EVENT_COMPACTION:
		map->compactions++;
		break;
	default:
		map->resizes++;
		break;
	}
	skv_rcu_store(&map->first, next);
	skv_heap_retire_table(&map->heap, first, first->bytes);
	map->n_tables--;
	map->move_pos = 0;
	note(map, events, next->why, true, next->from, backend_of(next));
}

/* ---- places ---------------------------------------------------------------------- */

struct place {
	struct skv_table *table;
	bool found;
	struct skv_robin_place robin;
	struct skv_chain_place chain;
};

static inline void place_search(struct skv_table *table, const struct skv_key *key, uint64_t hash,
			 struct place *ret_place)
{
	ret_place->table = table;
	if (table->kind == SKV_TABLE_ROBIN) {
		skv_robin_search(robin_of(table), key, hash, &ret_place->robin);
		ret_place->found = ret_place->robin.found;
	} else {
		skv_chain_search(chain_of(table), key, hash, &ret_place->chain);
		ret_place->found = ret_place->chain.word != NULL;
	}
}

/* The key's, or the one in the last table where it would go. */
static inline void place_find(struct skv_adaptive *map, const struct skv_key *key, uint64_t hash,
		       struct place *ret_place)
{
	struct skv_table *table = map->first;

	for (;;) {
		place_search(table, key, hash, ret_place);
		if (ret_place->found || table == map->last)
			return;
		table = table->next;
	}
}

static void place_absent(struct skv_adaptive *map, uint64_t hash, struct place *ret_place)
{
	ret_place->table = map->last;
	ret_place->found = false;
	if (map->last->kind == SKV_TABLE_ROBIN)
		skv_robin_search_absent(robin_of(map->last), hash, &ret_place->robin);
	else
		skv_chain_search_absent(chain_of(map->last), hash, &ret_place->chain);
}

static inline struct skv_record *place_record(const struct place *place)
{
	if (!place->found)
		return NULL;
	if (place->table->kind == SKV_TABLE_ROBIN)
		return skv_word_record(*place->robin.slot);
	return skv_word_record(*place->chain.word);
}

static inline int place_insert(struct skv_adaptive *map, const struct place *place, uint64_t hash,
			struct skv_record *record)
{
	if (place->table->kind == SKV_TABLE_ROBIN)
		return skv_robin_insert(robin_of(place->table), &place->robin, hash, record);
	return skv_chain_insert(&map->heap, chain_of(place->table), &place->chain, hash, record);
}

static void place_replace(const struct place *place, struct skv_record *record)
{
	if (place->table->kind == SKV_TABLE_ROBIN)
		skv_robin_replace(&place->robin, record);
	else
		skv_chain_replace(&place->chain, record);
}

static void place_remove(struct skv_adaptive *map, const struct place *place)
{
	if (place->table->kind == SKV_TABLE_ROBIN)
		skv_robin_remove(robin_of(place->table), &place->robin);
	else
		skv_chain_remove(&map->heap, chain_of(place->table), &place->chain);
}

/* ---- inserting ------------------------------------------------------------------- */

static inline bool is_last_full(const struct skv_adaptive *map)
{
	struct skv_table *last = map->last;

	if (last->kind == SKV_TABLE_ROBIN)
		return last->live + robin_of(last)->tombstones >= last->live_max;
	/* In an adaptive map chaining ends by migration, after the write (see health). */
	return map->opts.mode == SHMKV_MODE_FAST_INSERT && last->live >= last->live_max;
}

/* A larger table of the same kind, or one of the same size when most of this is dead. */
static int enlarge(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	struct skv_table *last = map->last;
	uint64_t capacity;

	if (last->kind == SKV_TABLE_CHAIN)
		return extend(map, SKV_TABLE_CHAIN, chain_of(last)->buckets * 2, SHMKV_EVENT_RESIZE,
			      events);
	capacity = robin_of(last)->capacity;
	if ((double)map->heap.count < (double)last->live_max * COMPACT_BELOW &&
	    robin_of(last)->tombstones > 0)
		return extend(map, SKV_TABLE_ROBIN, capacity, SHMKV_EVENT_COMPACTION, events);
	if (map->opts.mode == SHMKV_MODE_MEMORY_TIGHT)
		capacity += capacity / 4 + 8;
	else
		capacity *= capacity < SMALL ? 8 : 2;
	return extend(map, SKV_TABLE_ROBIN, capacity, SHMKV_EVENT_RESIZE, events);
}

/* An entry found no place within reach of its home. */
static int enlarge_crowded(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	uint64_t capacity = robin_of(map->last)->capacity;

	if (capacity / SPARSE < map->heap.count + 1)
		return extend(map, SKV_TABLE_ROBIN, capacity * 2, SHMKV_EVENT_RESIZE, events);
	if (map->opts.mode != SHMKV_MODE_ADAPTIVE)
		return -EXFULL;
	/* Chaining takes any number of keys with one hash. */
	return extend(map, SKV_TABLE_CHAIN, buckets_for(map, map->heap.count, 0.5),
		      SHMKV_EVENT_MIGRATION, events);
}

static __attribute__((noinline)) int insert_crowded(struct skv_adaptive *map, struct place *place,
						    uint64_t hash, struct skv_record *record,
						    struct skv_adaptive_events *events)
{
	int r;

	do {
		r = enlarge_crowded(map, events);
		if (r < 0)
			return r;
		place_absent(map, hash, place);
		r = place_insert(map, place, hash, record);
	} while (r == -EXFULL);
	return r;
}

/* Into the last table, or into one that it takes for that. @place is known to be free. */
static inline int insert(struct skv_adaptive *map, struct place *place, uint64_t hash,
			 struct skv_record *record, struct skv_adaptive_events *events)
{
	int r = place_insert(map, place, hash, record);

	return r == -EXFULL ? insert_crowded(map, place, hash, record, events) : r;
}

/* ---- moving ---------------------------------------------------------------------- */

struct move {
	struct skv_adaptive *map;
	struct skv_adaptive_events *events;
};

static int move_one(void *arg, uint64_t hash, struct skv_record *record)
{
	struct move *move = arg;
	struct place place;
	int r;

	place_absent(move->map, hash, &place);
	r = insert(move->map, &place, hash, record, move->events);
	if (r == 0)
		move->map->moved++;
	return r;
}

/* Up to @n entries of the first table. 0, or why the next one has to stay. */
static int step(struct skv_adaptive *map, uint64_t n, struct skv_adaptive_events *events)
{
	struct move move = { .map = map, .events = events };
	struct skv_table *first = map->first;
	int r = 0;

	if (first->live > 0) {
		if (first->kind == SKV_TABLE_ROBIN)
			r = skv_robin_move(&map->heap, robin_of(first), &map->move_pos, n, move_one, &move);
		else
			r = skv_chain_move(&map->heap, chain_of(first), &map->move_pos, n, move_one, &move);
	}
	if (first->live == 0)
		leave_first(map, events);
	return r;
}

/* Everything into the last table. */
static int drain(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	int r = 0;

	while (r == 0 && map->first != map->last)
		r = step(map, UINT64_MAX, events);
	return r;
}

static bool is_crowded(const struct skv_adaptive *map)
{
	const struct skv_robin *robin = (const struct skv_robin *)map->last;

	return robin->away_sum * 16 > robin->table.live * map->probe_max_16;
}

/*
 * Without its tombstones the table may be as large as it is, and need not grow again soon; but
 * one that is nearly empty is given up for a smaller one.
 */
static uint64_t compacted_capacity(const struct skv_adaptive *map)
{
	uint64_t capacity = ((const struct skv_robin *)map->last)->capacity, n = map->heap.count;

	if (map->opts.mode != SHMKV_MODE_MEMORY_TIGHT && n >= capacity / NEARLY_EMPTY)
		return capacity;
	return robin_capacity_for(map, n, FRESH_LOAD);
}

/* Is the last table still the right one? Nothing here takes longer in a larger map. */
static inline bool is_healthy(const struct skv_adaptive *map)
{
	const struct skv_table *last = map->last;

	if (last->kind == SKV_TABLE_CHAIN)
		return map->opts.mode != SHMKV_MODE_ADAPTIVE ||
		       (last->live <= last->live_max &&
			((const struct skv_chain *)last)->longest <= map->opts.max_group_len);
	return ((const struct skv_robin *)last)->tombstones < map->tombstones_max &&
	       (map->opts.mode != SHMKV_MODE_ADAPTIVE || !is_crowded(map));
}

/*
 * What is to be done about it. A map that left Robin Hood hashing comes back to it after as many
 * unhealthy writes as it had entries: where both kinds are unhealthy, because of tight limits or
 * of hashes that collide, entries would only go to and fro.
 */
static void heal(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	uint64_t n = map->heap.count;

	if (map->last->kind == SKV_TABLE_CHAIN && map->settling > 0)
		map->settling--;
	else if (map->last->kind == SKV_TABLE_CHAIN)
		extend(map, SKV_TABLE_ROBIN, robin_capacity_for(map, n, AFTER_CHAIN_LOAD),
		       SHMKV_EVENT_MIGRATION, events);
	else if (map->opts.mode == SHMKV_MODE_ADAPTIVE && is_crowded(map))
		/* Half of what chaining allows, so that it does not go back at once. */
		extend(map, SKV_TABLE_CHAIN, buckets_for(map, n, map->opts.max_lf_chaining / 2),
		       SHMKV_EVENT_MIGRATION, events);
	else
		extend(map, SKV_TABLE_ROBIN, compacted_capacity(map), SHMKV_EVENT_COMPACTION, events);
}

/* Once in some hundred writes. */
static void compact_by_clock(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	uint64_t now_ms = skv_clock_coarse_ms();
	struct skv_table *last = map->last;

	if (now_ms - map->compacted_at_ms < map->opts.compact_interval_ms)
		return;
	map->compacted_at_ms = now_ms;
	if (map->n_tables == 1 && last->kind == SKV_TABLE_ROBIN && robin_of(last)->tombstones > 0)
		extend(map, SKV_TABLE_ROBIN, compacted_capacity(map), SHMKV_EVENT_COMPACTION, events);
}

static __attribute__((noinline)) void maintain_now(struct skv_adaptive *map,
						   struct skv_adaptive_events *events)
{
	if (map->first != map->last)
		/* What cannot move now moves later. */
		(void)step(map, map->opts.incremental_batch, events);
	else if (map->patience > 0)
		map->patience--;
	else if (!is_healthy(map))
		heal(map, events);
	if (map->opts.compact_interval_ms > 0 && (++map->n_writes & 255) == 0)
		compact_by_clock(map, events);
	if (map->heap.count >= map->large_from) {
		map->large_from = UINT64_MAX;
		note(map, events, SHMKV_EVENT_LARGE, true, backend_of(map->last),
		     backend_of(map->last));
	}
}

/* After each write, under the lock: a bounded piece of work, and mostly none. */
static inline void maintain(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	if (map->first != map->last || !is_healthy(map) || map->heap.count >= map->large_from ||
	    map->opts.compact_interval_ms > 0)
		maintain_now(map, events);
}

/* Before a new key when the last table is full. */
static __attribute__((noinline)) void make_room(struct skv_adaptive *map, uint64_t hash,
						struct place *place,
						struct skv_adaptive_events *events)
{
	if (map->patience > 0) {
		map->patience--;
		return;
	}
	if (map->n_tables >= TABLES_MAX)
		(void)drain(map, events);
	/* When there is no memory for it, the table takes what it still can. */
	if (is_last_full(map))
		(void)enlarge(map, events);
	place_absent(map, hash, place);
}

/* ---- operations, under the lock -------------------------------------------------- */

/*
 * A new value in the old one's memory: only while no other thread exists that could read it,
 * and no more than one block can tell the difference.
 */
static inline bool overwrite(struct skv_adaptive *map, struct skv_record *record,
		      const struct skv_bytes *value)
{
	size_t now = skv_record_asked(&map->heap, record);
	uint64_t then = now - record->value_len + value->head_len + value->len;

	if (!skv_rcu_is_alone() || then > SKV_POOL_SMALL_MAX || now > SKV_POOL_SMALL_MAX)
		return false;
	if (now != then && skv_pool_block_bytes(now) != skv_pool_block_bytes(then))
		return false;
	skv_record_write(record, skv_record_key_len(record), value);
	record->value_len = (uint32_t)(value->head_len + value->len);
	record->token = skv_heap_next_token(&map->heap);
	return true;
}

/* Publish a record whose key is at @place, or absent. Takes the record over, or frees it. */
static inline int publish(struct skv_adaptive *map, struct place *place, uint64_t hash,
		   struct skv_record *record, struct skv_adaptive_events *events)
{
	struct skv_record *old = place_record(place);
	int r;

	if (old) {
		place_replace(place, record);
		skv_record_retire(&map->heap, old);
		skv_heap_bump(&map->heap.updates, 1);
		return 0;
	}
	if (is_last_full(map))
		make_room(map, hash, place, events);
	r = insert(map, place, hash, record, events);
	if (r < 0) {
		skv_record_free(&map->heap, record);
		return r;
	}
	skv_heap_bump(&map->heap.inserts, 1);
	skv_heap_bump(&map->heap.count, 1);
	return 0;
}

/*
 * What nearly all puts are, without a turn: into a Robin Hood table, the only one there is and
 * not full, near the key's home. False: nothing has changed, go the long way.
 */
static inline bool put_near(struct skv_adaptive *map, const struct skv_key *key, uint64_t hash,
			    const struct skv_bytes *value, uint64_t *ret_token)
{
	struct skv_robin *robin = robin_of(map->last);
	struct skv_robin_place place;
	struct skv_record *record;

	if (map->first != map->last || map->last->kind != SKV_TABLE_ROBIN ||
	    !skv_robin_search_near(robin, key, hash, &place))
		return false;
	if (place.found) {
		record = skv_word_record(*place.slot);
		if (!overwrite(map, record, value))
			return false;
		skv_heap_bump(&map->heap.updates, 1);
		*ret_token = record->token;
		return true;
	}
	if (is_last_full(map) || skv_record_from_bytes(&map->heap, key, hash, value, &record) < 0)
		return false;
	*ret_token = record->token;
	if (skv_robin_insert(robin, &place, hash, record) < 0) {
		skv_record_free(&map->heap, record);
		return false;
	}
	skv_heap_bump(&map->heap.inserts, 1);
	skv_heap_bump(&map->heap.count, 1);
	return true;
}

static int write_locked(struct skv_adaptive *map, const struct skv_key *key, uint64_t hash,
			enum skv_write_mode mode, uint64_t token, const struct skv_bytes *value,
			uint64_t *ret_token, struct skv_adaptive_events *events)
{
	struct skv_record *old, *record;
	struct place place;
	int r;

	if (mode == SKV_WRITE_PUT && put_near(map, key, hash, value, ret_token)) {
		maintain(map, events);
		return 0;
	}
	place_find(map, key, hash, &place);
	old = place_record(&place);
	r = skv_heap_write_allowed(old != NULL, old ? old->token : 0, mode, token);
	if (r < 0)
		return r;
	if (old && overwrite(map, old, value)) {
		skv_heap_bump(&map->heap.updates, 1);
		*ret_token = old->token;
	} else {
		r = skv_record_from_bytes(&map->heap, key, hash, value, &record);
		if (r < 0)
			return r;
		token = record->token;
		r = publish(map, &place, hash, record, events);
		if (r < 0)
			return r;
		*ret_token = token;
	}
	maintain(map, events);
	return 0;
}

static int update_locked(struct skv_adaptive *map, const struct skv_key *key, uint64_t hash,
			 skv_splice_fn *fn, void *arg, uint64_t *ret_token,
			 struct skv_adaptive_events *events)
{
	struct skv_record *record;
	struct place place;
	uint64_t token;
	int r;

	place_find(map, key, hash, &place);
	r = skv_record_from_splice(&map->heap, key, hash, place_record(&place), fn, arg, &record);
	if (r < 0)
		return r;
	token = record->token;
	r = publish(map, &place, hash, record, events);
	if (r < 0)
		return r;
	*ret_token = token;
	maintain(map, events);
	return 0;
}

static int remove_locked(struct skv_adaptive *map, const struct skv_key *key, uint64_t hash,
			 struct skv_sink *sink, struct skv_adaptive_events *events)
{
	struct skv_record *record;
	struct place place;
	int r;

	place_find(map, key, hash, &place);
	record = place_record(&place);
	if (!record)
		return -ENOENT;
	if (sink) {
		r = skv_record_read(record, sink);
		if (r < 0)
			return r;
	}
	place_remove(map, &place);
	skv_record_retire(&map->heap, record);
	skv_heap_bump(&map->heap.deletes, 1);
	skv_heap_bump(&map->heap.count, -1);
	maintain(map, events);
	return 0;
}

static struct skv_table *first_table(struct skv_adaptive *map, uint64_t capacity)
{
	bool is_chain = map->opts.mode == SHMKV_MODE_FAST_INSERT ||
			(map->opts.mode == SHMKV_MODE_ADAPTIVE &&
			 map->opts.start_backend == SHMKV_BACKEND_CHAINING);

	/* An adaptive map that is to hold more than chaining may begins where it would end. */
	if (is_chain && map->opts.mode == SHMKV_MODE_ADAPTIVE &&
	    (double)capacity > (double)map->opts.initial_buckets * map->opts.max_lf_chaining)
		is_chain = false;
	if (is_chain)
		return table_new(map, SKV_TABLE_CHAIN, buckets_for(map, capacity, CHAIN_LOAD_MAX));
	return table_new(map, SKV_TABLE_ROBIN,
			 robin_capacity_for(map, capacity, robin_load_max(map) - 0.01));
}

static void free_record(void *arg, struct skv_record *record)
{
	skv_record_free(arg, record);
}

/* With all that is in it; nobody reads it any more. */
static void table_free_whole(struct skv_adaptive *map, struct skv_table *table)
{
	if (table->kind == SKV_TABLE_ROBIN) {
		skv_robin_each(robin_of(table), free_record, &map->heap);
	} else {
		skv_chain_each(chain_of(table), free_record, &map->heap);
		skv_chain_free_groups(&map->heap, chain_of(table));
	}
	skv_pool_zeroed_free(&map->heap.pool, table, table->bytes);
}

static int clear_locked(struct skv_adaptive *map, uint64_t *ret_removed)
{
	struct skv_table *table = map->first, *next, *fresh;
	uint64_t limit = map->heap.pool.limit_bytes, removed = map->heap.count;

	/* A full map can be cleared too: what is over the limit now is below it soon. */
	map->heap.pool.limit_bytes = UINT64_MAX;
	fresh = first_table(map, 0);
	map->heap.pool.limit_bytes = limit;
	if (!fresh)
		return map->heap.pool.error;

	skv_rcu_store(&map->first, fresh);
	last_set(map, fresh);
	map->n_tables = 1;
	map->move_pos = 0;
	map->patience = 0;
	map->settling = 0;
	skv_heap_bump(&map->heap.deletes, (int64_t)removed);
	skv_heap_bump(&map->heap.count, -(int64_t)removed);
	if (!skv_rcu_is_alone())
		skv_rcu_wait();
	for (; table; table = next) {
		next = table->next;
		table_free_whole(map, table);
	}
	skv_pool_sweep(&map->heap.pool);
	*ret_removed = removed;
	return 0;
}

static int compact_locked(struct skv_adaptive *map, struct skv_adaptive_events *events)
{
	uint64_t n = map->heap.count, capacity;
	int r;

	r = drain(map, events);
	if (r < 0)
		return r;
	if (map->last->kind == SKV_TABLE_ROBIN) {
		capacity = robin_capacity_for(map, n, robin_load_max(map) - 0.05);
		if (capacity == robin_of(map->last)->capacity && robin_of(map->last)->tombstones == 0)
			return 0;
		r = extend(map, SKV_TABLE_ROBIN, capacity, SHMKV_EVENT_COMPACTION, events);
	} else {
		capacity = buckets_for(map, n, chain_load_max(map));
		if (capacity >= chain_of(map->last)->buckets)
			return 0;
		r = extend(map, SKV_TABLE_CHAIN, capacity, SHMKV_EVENT_RESIZE, events);
	}
	r = r < 0 ? r : drain(map, events);
	skv_pool_sweep(&map->heap.pool);
	return r;
}

/* ---- the engine ------------------------------------------------------------------ */

static int adaptive_create(const char *name, const struct shmkv_options *opts, void **ret_map)
{
	struct skv_adaptive *map;
	struct skv_table *table;
	int r;

	(void)name;
	map = aligned_alloc(64, (sizeof(*map) + 63) & ~(size_t)63);
	if (!map)
		return -ENOMEM;
	memset(map, 0, sizeof(*map));
	r = skv_adaptive_options_read(opts->adaptive, &map->opts);
	if (r < 0)
		goto fail_free;
	r = skv_heap_init(&map->heap, opts);
	if (r < 0)
		goto fail_free;

	if (map->opts.mode == SHMKV_MODE_MEMORY_TIGHT)
		skv_record_leave_out_hash(&map->heap);
	map->probe_max_16 = (uint64_t)(map->opts.max_avg_probe_robinhood * 16 + 0.5);
	map->large_from = map->opts.large_map_warn_threshold;
	map->compacted_at_ms = skv_clock_coarse_ms();
	table = first_table(map, opts->capacity);
	if (!table) {
		r = map->heap.pool.error;
		goto fail_deinit;
	}
	map->first = table;
	last_set(map, table);
	map->n_tables = 1;
	*ret_map = map;
	return 0;

fail_deinit:
	skv_heap_deinit(&map->heap);
fail_free:
	free(map);
	return r;
}

/* Also in a forked child: the handlers of heap.c made its copy a whole one. */
static void adaptive_free(void *arg)
{
	struct skv_adaptive *map = arg;
	struct skv_table *table, *next;

	for (table = map->first; table; table = next) {
		next = table->next;
		skv_pool_zeroed_free(&map->heap.pool, table, table->bytes);
	}
	skv_heap_deinit(&map->heap);
	free(map);
}

static int adaptive_get(void *arg, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_adaptive *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool entered = skv_rcu_enter();
	const struct skv_record *record = skv_adaptive_find(map, key, hash);
	int r = record ? skv_record_read(record, sink) : -ENOENT;

	skv_rcu_leave(entered);
	return r;
}

static int adaptive_peek(void *arg, const struct skv_key *key, skv_peek_fn *fn, void *fn_arg)
{
	struct skv_adaptive *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool entered = skv_rcu_enter();
	const struct skv_record *record = skv_adaptive_find(map, key, hash);
	int r = -ENOENT;

	if (record)
		r = fn(fn_arg, skv_record_value(record), record->value_len, record->token);
	skv_rcu_leave(entered);
	return r;
}

static int adaptive_exists(void *arg, const struct skv_key *key)
{
	struct skv_adaptive *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool entered = skv_rcu_enter();
	int r = skv_adaptive_find(map, key, hash) ? 0 : -ENOENT;

	skv_rcu_leave(entered);
	return r;
}

static int adaptive_write(void *arg, const struct skv_key *key, enum skv_write_mode mode,
			  uint64_t token, const struct skv_bytes *value, uint64_t ttl_ms,
			  uint64_t *ret_token)
{
	struct skv_adaptive *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	struct skv_adaptive_events events;
	bool again = false, locked;
	int r;

	(void)ttl_ms; /* nothing expires here: the api asks for nothing else */
	events.n = 0;
	do {
		locked = skv_heap_lock(&map->heap);
		r = write_locked(map, key, hash, mode, token, value, ret_token, &events);
		skv_heap_unlock(&map->heap, locked);
	} while (r < 0 && skv_heap_again(&map->heap, r, &again));
	tell(map, &events);
	return r;
}

static int adaptive_update(void *arg, const struct skv_key *key, skv_splice_fn *fn, void *fn_arg,
			   uint64_t *ret_token)
{
	struct skv_adaptive *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	struct skv_adaptive_events events;
	bool again = false, locked;
	int r;

	events.n = 0;
	do {
		locked = skv_heap_lock(&map->heap);
		r = update_locked(map, key, hash, fn, fn_arg, ret_token, &events);
		skv_heap_unlock(&map->heap, locked);
	} while (r < 0 && skv_heap_again(&map->heap, r, &again));
	tell(map, &events);
	return r;
}

static int adaptive_remove(void *arg, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_adaptive *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	struct skv_adaptive_events events;
	bool locked;
	int r;

	events.n = 0;
	locked = skv_heap_lock(&map->heap);
	r = remove_locked(map, key, hash, sink, &events);
	skv_heap_unlock(&map->heap, locked);
	tell(map, &events);
	return r;
}

static int adaptive_count(void *arg, uint64_t *ret_count)
{
	struct skv_adaptive *map = arg;

	*ret_count = skv_load_relaxed(&map->heap.count);
	return 0;
}

static int adaptive_clear(void *arg, uint64_t *ret_removed)
{
	struct skv_adaptive *map = arg;
	bool locked = skv_heap_lock(&map->heap);
	int r = clear_locked(map, ret_removed);

	skv_heap_unlock(&map->heap, locked);
	return r;
}

/* A bounded step: one batch of entries moves, and what was retired is freed. */
static int adaptive_maintain(void *arg)
{
	struct skv_adaptive *map = arg;
	struct skv_adaptive_events events;
	bool locked;

	events.n = 0;
	locked = skv_heap_lock(&map->heap);
	maintain(map, &events);
	skv_heap_unlock(&map->heap, locked);
	skv_heap_reclaim(&map->heap);
	tell(map, &events);
	return 0;
}

static int adaptive_compact(void *arg)
{
	struct skv_adaptive *map = arg;
	struct skv_adaptive_events events;
	bool again = false, locked;
	int r;

	events.n = 0;
	do {
		locked = skv_heap_lock(&map->heap);
		r = compact_locked(map, &events);
		skv_heap_unlock(&map->heap, locked);
	} while (r < 0 && skv_heap_again(&map->heap, r, &again));
	skv_heap_reclaim(&map->heap);
	tell(map, &events);
	return r;
}

const struct skv_engine skv_engine_adaptive = {
	.scheme = "heap:adaptive",
	.is_private = true,
	.takes_adaptive = true,
	.hash_default = SHMKV_HASH_XXH3,
	.create = adaptive_create,
	.detach = adaptive_free,
	.abandon = adaptive_free,
	.get = adaptive_get,
	.peek = adaptive_peek,
	.exists = adaptive_exists,
	.write = adaptive_write,
	.update = adaptive_update,
	.remove = adaptive_remove,
	.count = adaptive_count,
	.clear = adaptive_clear,
	.scan_begin = skv_adaptive_scan_begin,
	.scan_next = skv_adaptive_scan_next,
	.scan_cursor = skv_adaptive_scan_cursor,
	.scan_end = skv_adaptive_scan_end,
	.info = skv_adaptive_info,
	.recover = skv_heap_recover,
	.maintain = adaptive_maintain,
	.check = skv_adaptive_check,
	.compact = adaptive_compact,
	.health = skv_adaptive_health,
};

/* SPDX-License-Identifier: MIT */
/*
 * hamt-engine: the operations of "heap:hamt".
 *
 * Readers find a record in a read section and copy from it; writers hold the map's lock, make
 * the new record, and hand it to the trie, whose one store is the linearization point. What the
 * trie gives up comes back to the pools after a grace period.
 *
 * A del never fails for want of room: what it allocates, a node that is smaller by one slot, may
 * take the map over its limit, by no more than its nodes once for each snapshot that lives. The
 * same holds for making a snapshot.
 */
#include "heap/hamt/hamt-map.h"

#include <shmkv/snapshot.h>

#include <stdlib.h>

/* Trees of a cleared map are freed beside later writes: so many nodes at a time. */
#define DISMANTLE_NODES 8u

/* ---- records as items ------------------------------------------------------------ */

static int compare_bytes(const struct skv_record *record, const void *key, size_t key_len)
{
	size_t len = skv_record_key_len(record);

	if (len != key_len)
		return len < key_len ? -1 : 1;
	return skv_bytes_equal(record->bytes, key, len) ? 0 : memcmp(record->bytes, key, len);
}

static int compare(const struct skv_hamt_item *item, const void *arg)
{
	const struct skv_key *key = arg;

	return compare_bytes(skv_hamt_record(item), key->data, key->len);
}

static int order(const struct skv_hamt_item *a, const struct skv_hamt_item *b)
{
	const struct skv_record *record = skv_hamt_record(b);

	return compare_bytes(skv_hamt_record(a), record->bytes, skv_record_key_len(record));
}

static size_t record_size(const struct skv_hamt_item *item)
{
	return skv_pool_block_bytes(skv_record_bytes(skv_hamt_record(item)));
}

static void record_retire(struct skv_hamt *t, struct skv_hamt_item *item)
{
	skv_record_retire(t->heap, (struct skv_record *)(void *)item);
}

static const struct skv_hamt_kind records = { compare, order, record_size, record_retire };

static void free_node(struct skv_heap *heap, void *memory, size_t bytes)
{
	skv_hamt_free_retired(&((struct skv_hamt_map *)heap)->trie, memory, bytes);
}

/* ---- life ------------------------------------------------------------------------ */

static int hamt_create(const char *name, const struct shmkv_options *opts, void **ret_map)
{
	struct skv_hamt_map *map;
	int r;

	(void)name;
	map = aligned_alloc(64, (sizeof(*map) + 63) & ~(size_t)63);
	if (!map)
		return -ENOMEM;
	r = skv_heap_init(&map->heap, opts);
	if (r < 0) {
		free(map);
		return r;
	}
	map->heap.free_other = free_node;
	map->heap.may_overdraw = true;
	skv_hamt_init(&map->trie, &records, &map->heap.pool, &map->heap);
	map->heap.last_token = map->trie.stamp;
	map->n_users = 1;
	*ret_map = map;
	return 0;
}

void skv_hamt_map_enter(struct skv_hamt_map *map)
{
	__atomic_add_fetch(&map->n_users, 1, __ATOMIC_RELAXED);
}

/* Also in a forked child: the handlers of heap.c made its copy a whole one. */
void skv_hamt_map_leave(struct skv_hamt_map *map)
{
	/* What each did with the map comes before its end. */
	if (__atomic_sub_fetch(&map->n_users, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	skv_heap_reclaim(&map->heap);
	skv_hamt_deinit(&map->trie);
	skv_heap_deinit(&map->heap);
	free(map);
}

static void hamt_detach(void *map)
{
	skv_hamt_map_leave(map);
}

/* ---- reading --------------------------------------------------------------------- */

static int hamt_get(void *arg, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_hamt_map *map = arg;
	const struct skv_hamt_item *item;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool entered = skv_rcu_enter();
	int r = -ENOENT;

	item = skv_hamt_find(&map->trie, hash, key);
	if (item)
		r = skv_record_read(skv_hamt_record(item), sink);
	skv_rcu_leave(entered);
	return r;
}

static int hamt_exists(void *arg, const struct skv_key *key)
{
	struct skv_hamt_map *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool entered = skv_rcu_enter(), found;

	found = skv_hamt_find(&map->trie, hash, key) != NULL;
	skv_rcu_leave(entered);
	return found ? 0 : -ENOENT;
}

static int hamt_count(void *arg, uint64_t *ret_count)
{
	struct skv_hamt_map *map = arg;

	*ret_count = skv_load_relaxed(&map->heap.count);
	return 0;
}

/* ---- writing --------------------------------------------------------------------- */

static struct skv_record *record_at(const struct skv_hamt_pos *pos)
{
	return (struct skv_record *)(void *)pos->found;
}

/* Takes the record over, or frees it. */
static int put_locked(struct skv_hamt_map *map, const struct skv_hamt_pos *pos,
		      struct skv_record *record, uint64_t *ret_token)
{
	bool is_new = pos->found == NULL;
	int r;

	map->trie.stamp = record->token;
	r = skv_hamt_put(&map->trie, pos, (struct skv_hamt_item *)(void *)record);
	if (r < 0) {
		skv_record_free(&map->heap, record);
		return r;
	}
	skv_heap_bump(is_new ? &map->heap.inserts : &map->heap.updates, 1);
	skv_heap_bump(&map->heap.count, is_new);
	skv_hamt_dismantle(&map->trie, DISMANTLE_NODES);
	*ret_token = record->token;
	return 0;
}

/* Is it worth repeating an operation that found no memory? After all that can be freed was. */
static bool again(struct skv_hamt_map *map, int r, bool *repeated)
{
	bool locked;

	if (*repeated || (r != -ENOSPC && r != -ENOMEM))
		return false;
	locked = skv_heap_lock(&map->heap);
	skv_hamt_release_left(&map->trie);
	skv_hamt_dismantle(&map->trie, SIZE_MAX);
	skv_hamt_trim(&map->trie);
	skv_pool_sweep(&map->heap.pool);
	skv_heap_unlock(&map->heap, locked);
	return skv_heap_again(&map->heap, r, repeated);
}

static int write_locked(struct skv_hamt_map *map, const struct skv_key *key, uint64_t hash,
			enum skv_write_mode mode, uint64_t token, const struct skv_bytes *value,
			uint64_t *ret_token)
{
	struct skv_record *old, *record;
	struct skv_hamt_pos pos;
	int r;

	skv_hamt_seek(&map->trie, hash, key, &pos);
	old = record_at(&pos);
	r = skv_heap_write_allowed(old != NULL, old ? old->token : 0, mode, token);
	if (r < 0)
		return r;
	r = skv_record_from_bytes(&map->heap, key, hash, value, &record);
	return r < 0 ? r : put_locked(map, &pos, record, ret_token);
}

static int hamt_write(void *arg, const struct skv_key *key, enum skv_write_mode mode,
		      uint64_t token, const struct skv_bytes *value, uint64_t ttl_ms,
		      uint64_t *ret_token)
{
	struct skv_hamt_map *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool locked, repeated = false;
	int r;

	(void)ttl_ms; /* nothing expires here: the api asks for nothing else */
	do {
		locked = skv_heap_lock(&map->heap);
		r = write_locked(map, key, hash, mode, token, value, ret_token);
		skv_heap_unlock(&map->heap, locked);
	} while (again(map, r, &repeated));
	return r;
}

static int hamt_update(void *arg, const struct skv_key *key, skv_splice_fn *fn, void *fn_arg,
		       uint64_t *ret_token)
{
	struct skv_hamt_map *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool locked, repeated = false;
	struct skv_record *record;
	struct skv_hamt_pos pos;
	int r;

	do {
		locked = skv_heap_lock(&map->heap);
		skv_hamt_seek(&map->trie, hash, key, &pos);
		r = skv_record_from_splice(&map->heap, key, hash, record_at(&pos), fn, fn_arg,
					   &record);
		if (r == 0)
			r = put_locked(map, &pos, record, ret_token);
		skv_heap_unlock(&map->heap, locked);
	} while (again(map, r, &repeated));
	return r;
}

static int remove_locked(struct skv_hamt_map *map, const struct skv_key *key, uint64_t hash,
			 struct skv_sink *sink)
{
	struct skv_pool *pool = &map->heap.pool;
	uint64_t limit = pool->limit_bytes;
	struct skv_hamt_pos pos;
	int r;

	skv_hamt_seek(&map->trie, hash, key, &pos);
	if (!pos.found)
		return -ENOENT;
	if (sink) {
		r = skv_record_read(record_at(&pos), sink);
		if (r < 0)
			return r;
	}
	map->trie.stamp = skv_heap_next_token(&map->heap);
	pool->limit_bytes = UINT64_MAX;
	r = skv_hamt_remove(&map->trie, &pos);
	pool->limit_bytes = limit;
	if (r < 0)
		return r;
	skv_heap_bump(&map->heap.deletes, 1);
	skv_heap_bump(&map->heap.count, -1);
	skv_hamt_dismantle(&map->trie, DISMANTLE_NODES);
	return 0;
}

static int hamt_remove(void *arg, const struct skv_key *key, struct skv_sink *sink)
{
	struct skv_hamt_map *map = arg;
	uint64_t hash = skv_heap_hash(&map->heap, key);
	bool locked, repeated = false;
	int r;

	do {
		locked = skv_heap_lock(&map->heap);
		r = remove_locked(map, key, hash, sink);
		skv_heap_unlock(&map->heap, locked);
	} while (again(map, r, &repeated));
	return r;
}

static int hamt_clear(void *arg, uint64_t *ret_removed)
{
	struct skv_hamt_map *map = arg;
	bool locked = skv_heap_lock(&map->heap);
	uint64_t removed = map->heap.count;
	int r;

	r = skv_hamt_clear(&map->trie);
	if (r == 0) {
		skv_heap_bump(&map->heap.deletes, (int64_t)removed);
		skv_heap_bump(&map->heap.count, -(int64_t)removed);
		*ret_removed = removed;
	}
	skv_heap_unlock(&map->heap, locked);
	return r;
}

/* ---- inspection ------------------------------------------------------------------ */

static int hamt_info(void *arg, struct shmkv_info *info)
{
	struct skv_hamt_map *map = arg;
	bool locked;

	skv_heap_info(&map->heap, info);
	locked = skv_heap_lock(&map->heap);
	info->index_bytes = map->trie.pool.chunk_bytes;
	skv_heap_unlock(&map->heap, locked);
	return 0;
}

/* Frees all that waits for it. */
static int hamt_maintain(void *arg)
{
	struct skv_hamt_map *map = arg;
	bool locked = skv_heap_lock(&map->heap);

	skv_hamt_release_left(&map->trie);
	skv_hamt_dismantle(&map->trie, SIZE_MAX);
	skv_heap_unlock(&map->heap, locked);
	skv_heap_reclaim(&map->heap);
	locked = skv_heap_lock(&map->heap);
	skv_hamt_trim(&map->trie);
	skv_heap_unlock(&map->heap, locked);
	return 0;
}

struct check {
	struct shmkv_audit *audit;
	void (*fn)(const char *violation, void *arg);
	void *arg;
};

static void violated(const struct check *check, const char *sentence)
{
	check->audit->violations++;
	if (check->fn)
		check->fn(sentence, check->arg);
}

static void check_records(const struct skv_hamt_map *map, const struct check *check)
{
	const struct skv_record *record;
	const struct skv_hamt_item *item;
	struct skv_hamt_walk walk;
	struct skv_key key;

	skv_hamt_walk_begin(&walk, map->trie.root, 0);
	while ((item = skv_hamt_walk_next(&walk))) {
		record = skv_hamt_record(item);
		key = (struct skv_key){ record->bytes, skv_record_key_len(record) };
		if (record->hash != skv_heap_hash(&map->heap, &key))
			violated(check, "a record has another hash than its key");
		if (skv_hamt_find(&map->trie, record->hash, &key) != item)
			violated(check, "a key cannot be found where it is, or is there twice");
		check->audit->keys++;
		check->audit->record_bytes += skv_record_bytes(record);
	}
}

static int hamt_check(void *arg, void (*fn)(const char *violation, void *arg), void *fn_arg,
		      struct shmkv_audit *audit)
{
	const struct check check = { audit, fn, fn_arg };
	struct skv_hamt_map *map = arg;
	bool locked = skv_heap_lock(&map->heap);

	audit->violations += skv_hamt_check(&map->trie, fn, fn_arg);
	check_records(map, &check);
	if (audit->keys != map->heap.count)
		violated(&check, "there are not as many keys as are counted");
	skv_heap_check(&map->heap, fn, fn_arg, audit);
	skv_heap_unlock(&map->heap, locked);
	return audit->violations ? -EBADMSG : 0;
}

const struct skv_engine skv_engine_hamt = {
	.scheme = "heap:hamt",
	.is_private = true,
	.hash_default = SHMKV_HASH_XXH3,
	.create = hamt_create,
	.detach = hamt_detach,
	.abandon = hamt_detach,
	.get = hamt_get,
	.exists = hamt_exists,
	.write = hamt_write,
	.update = hamt_update,
	.remove = hamt_remove,
	.count = hamt_count,
	.clear = hamt_clear,
	.scan_begin = skv_hamt_scan_begin,
	.scan_next = skv_hamt_scan_next,
	.scan_cursor = skv_hamt_scan_cursor,
	.scan_end = skv_hamt_scan_end,
	.snapshot = skv_hamt_snapshot,
	.shape = skv_hamt_shape,
	.info = hamt_info,
	.recover = skv_heap_recover,
	.maintain = hamt_maintain,
	.check = hamt_check,
};

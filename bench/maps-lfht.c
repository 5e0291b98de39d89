/* SPDX-License-Identifier: MIT */
/*
 * maps-lfht: liburcu's hash table, which any number of threads read and write without locks. It
 * leaves hashing and memory to its user: here XXH3, malloc, and free behind one grace period for
 * each loop. It is given its size in advance: by itself it would grow in a thread of its own,
 * which on a busy machine comes too late, and then an insert takes milliseconds.
 */
#include "bench/maps.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <urcu/urcu-bp.h>

#include <urcu/rculfhash.h>

struct entry {
	struct cds_lfht_node node;
	struct entry *next_dead;
	uint32_t key_len, value_len;
	char bytes[]; /* key, value */
};

static unsigned long hash_of(const struct maps_item *item)
{
	return XXH3_64bits(item->key, item->key_len);
}

static struct entry *entry_new(const struct maps_item *item)
{
	struct entry *entry = malloc(sizeof(*entry) + item->key_len + item->value_len);

	if (!entry)
		abort();
	entry->key_len = item->key_len;
	entry->value_len = item->value_len;
	memcpy(entry->bytes, item->key, item->key_len);
	memcpy(entry->bytes + item->key_len, item->value, item->value_len);
	return entry;
}

static bool entry_has_key(const struct entry *entry, const struct maps_item *item)
{
	return entry->key_len == item->key_len && memcmp(entry->bytes, item->key, item->key_len) == 0;
}

static void entry_read(const struct entry *entry, char *copy, size_t *ret_len)
{
	*ret_len = entry->value_len;
	memcpy(copy, entry->bytes + entry->key_len, entry->value_len);
}

struct lfht {
	struct cds_lfht *table;
	struct entry *dead; /* to be freed after a grace period */
};

static void *lfht_make(uint64_t n)
{
	struct lfht *map = calloc(1, sizeof(*map));
	unsigned long buckets = 64;

	while (buckets < n)
		buckets *= 2;
	if (map)
		map->table = cds_lfht_new_flavor(buckets, buckets, 0, 0, &urcu_bp_flavor, NULL);
	if (!map || !map->table)
		abort();
	return map;
}

static void lfht_free_dead(struct lfht *map)
{
	struct entry *entry, *next;

	if (map->dead)
		urcu_bp_synchronize_rcu();
	for (entry = map->dead; entry; entry = next) {
		next = entry->next_dead;
		free(entry);
	}
	map->dead = NULL;
}

static void lfht_bury(struct lfht *map, struct entry *entry)
{
	entry->next_dead = map->dead;
	map->dead = entry;
}

static void lfht_end(void *arg)
{
	struct lfht *map = arg;
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	urcu_bp_read_lock();
	for (cds_lfht_first(map->table, &iter); (node = cds_lfht_iter_get_node(&iter));
	     cds_lfht_next(map->table, &iter)) {
		if (cds_lfht_del(map->table, node) == 0)
			lfht_bury(map, (struct entry *)node);
	}
	urcu_bp_read_unlock();
	lfht_free_dead(map);
	cds_lfht_destroy(map->table, NULL);
	free(map);
}

static int lfht_match(struct cds_lfht_node *node, const void *key)
{
	return entry_has_key((const struct entry *)node, key);
}

static inline bool put_one(struct lfht *map, const struct maps_item *item)
{
	struct entry *entry = entry_new(item);
	struct cds_lfht_node *old;

	urcu_bp_read_lock();
	old = cds_lfht_add_replace(map->table, hash_of(item), lfht_match, item, &entry->node);
	if (old)
		lfht_bury(map, (struct entry *)old);
	urcu_bp_read_unlock();
	return true;
}

static inline const struct entry *lfht_find(struct lfht *map, const struct maps_item *item)
{
	struct cds_lfht_iter iter;

	cds_lfht_lookup(map->table, hash_of(item), lfht_match, item, &iter);
	return (const struct entry *)cds_lfht_iter_get_node(&iter);
}

static inline bool get_one(struct lfht *map, const struct maps_item *item, char *copy,
			   size_t *ret_len)
{
	const struct entry *entry;

	urcu_bp_read_lock();
	entry = lfht_find(map, item);
	if (entry)
		entry_read(entry, copy, ret_len);
	urcu_bp_read_unlock();
	return entry != NULL;
}

static inline bool contains_one(struct lfht *map, const struct maps_item *item)
{
	bool found;

	urcu_bp_read_lock();
	found = lfht_find(map, item) != NULL;
	urcu_bp_read_unlock();
	return found;
}

static inline bool del_one(struct lfht *map, const struct maps_item *item)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;
	bool done = false;

	urcu_bp_read_lock();
	cds_lfht_lookup(map->table, hash_of(item), lfht_match, item, &iter);
	node = cds_lfht_iter_get_node(&iter);
	if (node && cds_lfht_del(map->table, node) == 0) {
		lfht_bury(map, (struct entry *)node);
		done = true;
	}
	urcu_bp_read_unlock();
	return done;
}

#define MAPS_LOOP_MAP struct lfht
#include "bench/maps-loop.h"

static uint64_t lfht_update(void *arg, const struct maps_batch *batch)
{
	uint64_t done = put_all(arg, batch);

	lfht_free_dead(arg);
	return done;
}

static uint64_t lfht_remove(void *arg, const struct maps_batch *batch)
{
	uint64_t done = del_all(arg, batch);

	lfht_free_dead(arg);
	return done;
}

static uint64_t lfht_mixed(void *arg, const struct maps_batch *batch, const uint8_t *kinds)
{
	uint64_t found = mixed_all(arg, batch, kinds);

	lfht_free_dead(arg);
	return found;
}

const struct maps_method maps_lfht = {
	.name = "cds_lfht", .make = lfht_make, .end = lfht_end, .insert = put_all,
	.update = lfht_update, .get = get_all, .contains = contains_all, .remove = lfht_remove,
	.mixed = lfht_mixed,
};

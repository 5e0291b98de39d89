/* SPDX-License-Identifier: MIT */
/*
 * peer-lfht: liburcu's hash table without locks, hashed by XXH3. It gets its buckets at once: its own
 * worker, which makes more of them, does not keep up with inserting on a busy machine, and look-ups
 * then take microseconds.
 */
#define _LGPL_SOURCE
#include "bench/peers/peer.h"
#include "bench/peers/rcu-grave.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <urcu/rculfhash.h>

struct entry {
	struct cds_lfht_node node;
	uint8_t key[PEER_KEY_LEN];
	size_t len;
	uint8_t value[];
};

struct seat {
	struct cds_lfht *table;
	struct rcu_grave grave;
};

#define PEER_SEAT struct seat

static inline unsigned long hash_of(const uint8_t *key)
{
	return XXH3_64bits(key, PEER_KEY_LEN);
}

static int is_same(struct cds_lfht_node *node, const void *key)
{
	return memcmp(((const struct entry *)(const void *)node)->key, key, PEER_KEY_LEN) == 0;
}

static inline void peer_prepare(struct seat *seat, const struct peer_run *run)
{
	(void)seat;
	(void)run;
}

static inline struct cds_lfht_node *find(struct seat *seat, const uint8_t *key)
{
	struct cds_lfht_iter iter;

	cds_lfht_lookup(seat->table, hash_of(key), is_same, key, &iter);
	return cds_lfht_iter_get_node(&iter);
}

static inline int peer_get(struct seat *seat, const uint8_t *key, uint8_t *buf, size_t len)
{
	const struct entry *entry;
	int r = -ENOENT;

	urcu_memb_read_lock();
	entry = (const struct entry *)(const void *)find(seat, key);
	if (entry) {
		r = entry->len == len ? 0 : -EBADMSG;
		if (r == 0)
			memcpy(buf, entry->value, len);
	}
	urcu_memb_read_unlock();
	return r;
}

static inline int peer_view(struct seat *seat, const uint8_t *key, size_t len, uint32_t number)
{
	const struct entry *entry;
	int r = -ENOENT;

	urcu_memb_read_lock();
	entry = (const struct entry *)(const void *)find(seat, key);
	if (entry)
		r = entry->len == len && peer_value_is(entry->value, len, number) ? 0 : -EBADMSG;
	urcu_memb_read_unlock();
	return r;
}

static inline int peer_put(struct seat *seat, const uint8_t *key, const uint8_t *value, size_t len)
{
	struct entry *entry = malloc(sizeof(*entry) + len);
	struct cds_lfht_node *old;

	if (!entry)
		return -ENOMEM;
	memcpy(entry->key, key, PEER_KEY_LEN);
	entry->len = len;
	memcpy(entry->value, value, len);
	urcu_memb_read_lock();
	old = cds_lfht_add_replace(seat->table, hash_of(key), is_same, key, &entry->node);
	urcu_memb_read_unlock();
	rcu_grave_bury(&seat->grave, old);
	return 0;
}

static inline int peer_del(struct seat *seat, const uint8_t *key)
{
	struct cds_lfht_node *node;
	int r = -ENOENT;

	urcu_memb_read_lock();
	node = find(seat, key);
	if (node)
		r = cds_lfht_del(seat->table, node);
	urcu_memb_read_unlock();
	if (r == 0)
		rcu_grave_bury(&seat->grave, node);
	return r;
}

#define PEER_HAS_VIEW
#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, void **ret)
{
	unsigned long buckets = 64;

	while (buckets < spec->stored)
		buckets *= 2;
	*ret = cds_lfht_new_flavor(buckets, 64, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING,
				   &urcu_memb_flavor, NULL);
	return *ret ? 0 : -ENOMEM;
}

static int attach(void *table, void **ret)
{
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		return -ENOMEM;
	urcu_memb_register_thread();
	seat->table = table;
	*ret = seat;
	return 0;
}

static void detach(void *arg)
{
	struct seat *seat = arg;

	rcu_grave_empty(&seat->grave);
	urcu_memb_unregister_thread();
	free(seat);
}

/* The process ends here; taking every entry out of the table first would only take time. */
static void end(void *table)
{
	(void)table;
}

const struct peer peer_lfht = {
	.name = "cds_lfht", .text = "liburcu's lock-free hash table", .type = PEER_LOCAL,
	.can = PEER_CAN_VIEW, .overhead = 96, .make = make, .attach = attach, .run = peer_run_steps,
	.detach = detach, .end = end,
};

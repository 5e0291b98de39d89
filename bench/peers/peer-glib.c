/* SPDX-License-Identifier: MIT */
/*
 * peer-glib: GLib's hash table, hashed by XXH3. With two workers a GRWLock keeps writers apart from
 * everybody; with one there is no lock at all.
 */
#include "bench/peers/peer.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <glib.h>

struct entry {
	uint8_t key[PEER_KEY_LEN];
	size_t len;
	uint8_t value[];
};

struct world {
	GHashTable *table;
	GRWLock lock;
};

struct seat {
	struct world *world;
	bool locks;
};

#define PEER_SEAT struct seat

static guint hash_of(gconstpointer key)
{
	return (guint)XXH3_64bits(key, PEER_KEY_LEN);
}

static gboolean is_same(gconstpointer a, gconstpointer b)
{
	return memcmp(a, b, PEER_KEY_LEN) == 0;
}

static inline void peer_prepare(struct seat *seat, const struct peer_run *run)
{
	seat->locks = run->workers > 1;
}

static inline int peer_get(struct seat *seat, const uint8_t *key, uint8_t *buf, size_t len)
{
	const struct entry *entry;
	int r = -ENOENT;

	if (seat->locks)
		g_rw_lock_reader_lock(&seat->world->lock);
	entry = g_hash_table_lookup(seat->world->table, key);
	if (entry) {
		r = entry->len == len ? 0 : -EBADMSG;
		if (r == 0)
			memcpy(buf, entry->value, len);
	}
	if (seat->locks)
		g_rw_lock_reader_unlock(&seat->world->lock);
	return r;
}

static inline int peer_put(struct seat *seat, const uint8_t *key, const uint8_t *value, size_t len)
{
	struct entry *entry = malloc(sizeof(*entry) + len);

	if (!entry)
		return -ENOMEM;
	memcpy(entry->key, key, PEER_KEY_LEN);
	entry->len = len;
	memcpy(entry->value, value, len);
	if (seat->locks)
		g_rw_lock_writer_lock(&seat->world->lock);
	/* The old value, which holds the old key, is freed. */
	g_hash_table_replace(seat->world->table, entry->key, entry);
	if (seat->locks)
		g_rw_lock_writer_unlock(&seat->world->lock);
	return 0;
}

static inline int peer_del(struct seat *seat, const uint8_t *key)
{
	gboolean done;

	if (seat->locks)
		g_rw_lock_writer_lock(&seat->world->lock);
	done = g_hash_table_remove(seat->world->table, key);
	if (seat->locks)
		g_rw_lock_writer_unlock(&seat->world->lock);
	return done ? 0 : -ENOENT;
}

#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, void **ret)
{
	struct world *world = calloc(1, sizeof(*world));

	(void)spec;
	if (!world)
		return -ENOMEM;
	world->table = g_hash_table_new_full(hash_of, is_same, NULL, free);
	g_rw_lock_init(&world->lock);
	*ret = world;
	return 0;
}

static int attach(void *world, void **ret)
{
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		return -ENOMEM;
	seat->world = world;
	*ret = seat;
	return 0;
}

static void detach(void *seat)
{
	free(seat);
}

static void end(void *arg)
{
	struct world *world = arg;

	g_hash_table_destroy(world->table);
	g_rw_lock_clear(&world->lock);
	free(world);
}

const struct peer peer_glib = {
	.name = "glib", .text = "GHashTable, GRWLock for two", .type = PEER_LOCAL,
	.can = PEER_READS_ALONE, .overhead = 64, .make = make, .attach = attach,
	.run = peer_run_steps, .detach = detach, .end = end,
};

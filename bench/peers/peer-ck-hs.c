/* SPDX-License-Identifier: MIT */
/*
 * peer-ck-hs: Concurrency Kit's hash set, hashed by XXH3: readers without locks, one writer at a
 * time, so two of them share a mutex. What was replaced is freed behind a grace period of
 * liburcu.
 */
#include "bench/peers/peer.h"
#include "bench/peers/rcu-grave.h"

#include <pthread.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <ck_hs.h>

struct entry {
	uint8_t key[PEER_KEY_LEN];
	size_t len;
	uint8_t value[];
};

struct world {
	ck_hs_t set;
	pthread_mutex_t mutex;
};

struct seat {
	struct world *world;
	struct rcu_grave grave;
	bool locks;
};

#define PEER_SEAT struct seat

static unsigned long hash_of(const void *key, unsigned long seed)
{
	return XXH3_64bits_withSeed(key, PEER_KEY_LEN, seed);
}

/* An entry begins with its key. */
static bool is_same(const void *a, const void *b)
{
	return memcmp(a, b, PEER_KEY_LEN) == 0;
}

static void *table_new(size_t bytes)
{
	return malloc(bytes);
}

/* Tables are replaced a few dozen times at most, and readers may still be in them: left alone. */
static void table_free(void *table, size_t bytes, bool later)
{
	(void)bytes;
	if (!later)
		free(table);
}

static struct ck_malloc tables = { .malloc = table_new, .free = table_free };

static inline void peer_prepare(struct seat *seat, const struct peer_run *run)
{
	seat->locks = run->workers > 1;
}

static inline const struct entry *find(struct seat *seat, const uint8_t *key)
{
	ck_hs_t *set = &seat->world->set;

	return ck_hs_get(set, CK_HS_HASH(set, hash_of, key), key);
}

static inline int peer_get(struct seat *seat, const uint8_t *key, uint8_t *buf, size_t len)
{
	const struct entry *entry;
	int r = -ENOENT;

	urcu_memb_read_lock();
	entry = find(seat, key);
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
	entry = find(seat, key);
	if (entry)
		r = entry->len == len && peer_value_is(entry->value, len, number) ? 0 : -EBADMSG;
	urcu_memb_read_unlock();
	return r;
}

static inline int peer_put(struct seat *seat, const uint8_t *key, const uint8_t *value, size_t len)
{
	struct entry *entry = malloc(sizeof(*entry) + len);
	ck_hs_t *set = &seat->world->set;
	void *old = NULL;
	bool done;

	if (!entry)
		return -ENOMEM;
	memcpy(entry->key, key, PEER_KEY_LEN);
	entry->len = len;
	memcpy(entry->value, value, len);
	if (seat->locks)
		pthread_mutex_lock(&seat->world->mutex);
	done = ck_hs_set(set, CK_HS_HASH(set, hash_of, key), entry, &old);
	if (seat->locks)
		pthread_mutex_unlock(&seat->world->mutex);
	if (!done) {
		free(entry);
		return -ENOMEM;
	}
	rcu_grave_bury(&seat->grave, old);
	return 0;
}

static inline int peer_del(struct seat *seat, const uint8_t *key)
{
	ck_hs_t *set = &seat->world->set;
	void *old;

	if (seat->locks)
		pthread_mutex_lock(&seat->world->mutex);
	old = ck_hs_remove(set, CK_HS_HASH(set, hash_of, key), key);
	if (seat->locks)
		pthread_mutex_unlock(&seat->world->mutex);
	rcu_grave_bury(&seat->grave, old);
	return old ? 0 : -ENOENT;
}

#define PEER_HAS_VIEW
#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, void **ret)
{
	struct world *world = calloc(1, sizeof(*world));

	(void)spec;
	if (!world || !ck_hs_init(&world->set, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT | CK_HS_MODE_DELETE,
				  hash_of, is_same, &tables, 64, 1)) {
		free(world);
		return -ENOMEM;
	}
	pthread_mutex_init(&world->mutex, NULL);
	*ret = world;
	return 0;
}

static int attach(void *world, void **ret)
{
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		return -ENOMEM;
	urcu_memb_register_thread();
	seat->world = world;
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

/* The process ends here. */
static void end(void *world)
{
	(void)world;
}

const struct peer peer_ck_hs = {
	.name = "ck_hs", .text = "Concurrency Kit's hash set, a mutex for two writers",
	.type = PEER_LOCAL, .can = PEER_CAN_VIEW, .overhead = 64, .make = make, .attach = attach,
	.run = peer_run_steps, .detach = detach, .end = end,
};

/* SPDX-License-Identifier: MIT */
/*
 * peer-lmdb: LMDB with its file in memory, never synchronized with a disk. A write is a transaction
 * of its own, a read a read transaction that is renewed; a batch is one transaction.
 */
#include "bench/peers/peer.h"

#include <lmdb.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
	char path[128];
	size_t map_bytes;
	int fd; /* -1 until the name is removed */
};

struct seat {
	MDB_env *env;
	MDB_txn *reader;
	MDB_dbi dbi;
};

#define PEER_SEAT struct seat
#define PEER_HAS_GET_MANY
#define PEER_HAS_PUT_MANY
#define PEER_HAS_VIEW

/* Its own codes are below all of errno. */
static int code_of(int r)
{
	if (r == MDB_NOTFOUND)
		return -ENOENT;
	if (r == MDB_MAP_FULL)
		return -ENOSPC;
	return r < 0 ? -EIO : -r;
}

static inline void peer_prepare(struct seat *seat, const struct peer_run *run)
{
	(void)seat;
	(void)run;
}

static inline int find(struct seat *seat, const uint8_t *key, size_t len, const uint8_t **ret)
{
	MDB_val k = { PEER_KEY_LEN, (void *)(uintptr_t)key }, v;
	int r = mdb_get(seat->reader, seat->dbi, &k, &v);

	if (r)
		return code_of(r);
	*ret = v.mv_data;
	return v.mv_size == len ? 0 : -EBADMSG;
}

static inline int peer_get(struct seat *seat, const uint8_t *key, uint8_t *buf, size_t len)
{
	const uint8_t *found;
	int r = mdb_txn_renew(seat->reader);

	if (r)
		return code_of(r);
	r = find(seat, key, len, &found);
	if (r == 0)
		memcpy(buf, found, len);
	mdb_txn_reset(seat->reader);
	return r;
}

static inline int peer_view(struct seat *seat, const uint8_t *key, size_t len, uint32_t entry)
{
	const uint8_t *found;
	int r = mdb_txn_renew(seat->reader);

	if (r)
		return code_of(r);
	r = find(seat, key, len, &found);
	if (r == 0 && !peer_value_is(found, len, entry))
		r = -EBADMSG;
	mdb_txn_reset(seat->reader);
	return r;
}

static inline int peer_get_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN], uint8_t *bufs,
				size_t len)
{
	const uint8_t *found;
	unsigned int i;
	int r = mdb_txn_renew(seat->reader);

	if (r)
		return code_of(r);
	for (i = 0; i < PEER_BATCH && r == 0; i++) {
		r = find(seat, keys[i], len, &found);
		if (r == 0)
			memcpy(bufs + i * len, found, len);
	}
	mdb_txn_reset(seat->reader);
	return r;
}

static inline int try_put(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN], const uint8_t *values,
			  size_t len, unsigned int n)
{
	unsigned int i;
	MDB_val k, v;
	MDB_txn *txn;
	int r;

	r = mdb_txn_begin(seat->env, NULL, 0, &txn);
	if (r)
		return code_of(r);
	for (i = 0; i < n && r == 0; i++) {
		k = (MDB_val){ PEER_KEY_LEN, (void *)(uintptr_t)keys[i] };
		v = (MDB_val){ len, (void *)(uintptr_t)(values + i * len) };
		r = mdb_put(txn, seat->dbi, &k, &v, 0);
	}
	if (r) {
		mdb_txn_abort(txn);
		return code_of(r);
	}
	return code_of(mdb_txn_commit(txn));
}

/* A reader that was killed keeps pages from being used again until somebody looks for it. */
static inline int put_some(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN],
			   const uint8_t *values, size_t len, unsigned int n)
{
	int r = try_put(seat, keys, values, len, n), dead = 0;

	if (r == -ENOSPC && mdb_reader_check(seat->env, &dead) == 0 && dead > 0)
		r = try_put(seat, keys, values, len, n);
	return r;
}

static inline int peer_put(struct seat *seat, const uint8_t *key, const uint8_t *value, size_t len)
{
	return put_some(seat, (uint8_t (*)[PEER_KEY_LEN])(uintptr_t)key, value, len, 1);
}

static inline int peer_put_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN],
				const uint8_t *values, size_t len)
{
	return put_some(seat, keys, values, len, PEER_BATCH);
}

static inline int peer_del(struct seat *seat, const uint8_t *key)
{
	MDB_val k = { PEER_KEY_LEN, (void *)(uintptr_t)key };
	MDB_txn *txn;
	int r;

	r = mdb_txn_begin(seat->env, NULL, 0, &txn);
	if (r)
		return code_of(r);
	r = mdb_del(txn, seat->dbi, &k, NULL);
	if (r) {
		mdb_txn_abort(txn);
		return code_of(r);
	}
	return code_of(mdb_txn_commit(txn));
}

#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, void **ret)
{
	struct world *world = calloc(1, sizeof(*world));

	if (!world)
		return -ENOMEM;
	snprintf(world->path, sizeof(world->path), "/dev/shm/%s.lmdb", spec->name);
	/* Pages are split in halves, and a change copies them: room for three times what is stored. */
	world->map_bytes = (spec->entries * (spec->value_len + 64) * 3 + (64u << 20)) & ~(size_t)4095;
	world->fd = -1;
	*ret = world;
	return 0;
}

static void detach(void *arg)
{
	struct seat *seat = arg;

	if (seat->reader)
		mdb_txn_abort(seat->reader);
	if (seat->env)
		mdb_env_close(seat->env);
	free(seat);
}

static int open_table(struct seat *seat)
{
	MDB_txn *txn;
	int r = mdb_txn_begin(seat->env, NULL, 0, &txn);

	if (r)
		return r;
	r = mdb_dbi_open(txn, NULL, 0, &seat->dbi);
	if (r) {
		mdb_txn_abort(txn);
		return r;
	}
	return mdb_txn_commit(txn);
}

static int attach(void *arg, void **ret)
{
	const struct world *world = arg;
	struct seat *seat = calloc(1, sizeof(*seat));
	int r;

	if (!seat)
		return -ENOMEM;
	r = mdb_env_create(&seat->env);
	if (r == 0)
		r = mdb_env_set_mapsize(seat->env, world->map_bytes);
	if (r == 0)
		r = mdb_env_open(seat->env, world->path,
				 MDB_NOSUBDIR | MDB_WRITEMAP | MDB_NOSYNC | MDB_NOMETASYNC | MDB_NORDAHEAD,
				 0600);
	if (r == 0)
		r = open_table(seat);
	if (r == 0)
		r = mdb_txn_begin(seat->env, NULL, MDB_RDONLY, &seat->reader);
	if (r) {
		detach(seat);
		return code_of(r);
	}
	mdb_txn_reset(seat->reader);
	*ret = seat;
	return 0;
}

static void hide(void *arg)
{
	struct world *world = arg;
	char lock[140];

	world->fd = open(world->path, O_RDONLY | O_CLOEXEC);
	snprintf(lock, sizeof(lock), "%s-lock", world->path);
	unlink(lock);
	unlink(world->path);
}

static void end(void *arg)
{
	struct world *world = arg;

	if (world->fd >= 0)
		close(world->fd);
	free(world);
}

static uint64_t memory(void *arg)
{
	const struct world *world = arg;
	struct stat st;

	return world->fd < 0 || fstat(world->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

const struct peer peer_lmdb = {
	.name = "lmdb", .text = "LMDB, file in shared memory, no synchronization", .type = PEER_SHARED,
	.can = PEER_CAN_VIEW | PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY, .overhead = 120,
	.make = make, .attach = attach, .hide = hide, .run = peer_run_steps, .detach = detach,
	.end = end, .memory = memory,
};

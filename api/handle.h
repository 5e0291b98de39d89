/* SPDX-License-Identifier: MIT */
#ifndef SKV_API_HANDLE_H
#define SKV_API_HANDLE_H

/*
 * handle: what struct shmkv is, and when it may be used.
 *
 * Handles come from a pool that never gives memory back and keeps closed handles idle for
 * a while before it uses them again. So a call on a closed handle finds a closed handle and
 * answers -EBADF. The limit: after HANDLE_IDLE_MIN more handles were closed (see handle.c)
 * the memory may have become another open handle, and the stale pointer means that one.
 *
 *                claim              open                 close             release
 *     CLOSED ───────────► CLAIMED ────────► OPEN(life) ─────────► CLAIMED ─────────► CLOSED
 *
 * The pool is private memory of one process. It takes no lock, so that a child forked while
 * another thread was opening a handle can open handles of its own.
 */

#include "api/engine.h"
#include "base/fork.h"

#include <errno.h>

/* state: a mark that no other memory is likely to hold, the life's number, what it may do. */
#define SKV_HANDLE_MARK ((uint64_t)0x5ba6d1e5 << 32)
#define SKV_HANDLE_MARK_MASK ((uint64_t)0xffffffff << 32)
#define SKV_HANDLE_LIFE_STEP ((uint64_t)4)
#define SKV_HANDLE_LIFE_MASK ((uint64_t)0xfffffffc)
#define SKV_HANDLE_USE_MASK ((uint64_t)3)
#define SKV_HANDLE_CLOSED ((uint64_t)0)
#define SKV_HANDLE_CLAIMED ((uint64_t)1)
#define SKV_HANDLE_OPEN ((uint64_t)2)

struct shmkv {
	uint64_t state;
	/* fixed while open */
	const struct skv_engine *engine;
	void *map; /* the engine's */
	uint64_t fork_serial;
	bool read_only;
	char name[SHMKV_NAME_MAX + 1]; /* without the scheme */
	/* the pool's */
	struct shmkv *next;
	uint64_t closed_at;
};

/*
 * skv_handle_claim - a handle that nobody else uses, not open yet
 *
 * Give it to skv_handle_open or skv_handle_release. Returns 0 or -ENOMEM. Threads: any.
 */
int skv_handle_claim(struct shmkv **ret_kv);

/* All members are set: from now on the handle can be used. */
void skv_handle_open(struct shmkv *kv);

/* Make every later call answer -EBADF. False if it was not open, or another thread won. */
bool skv_handle_close(struct shmkv *kv);

/* Back to the pool. */
void skv_handle_release(struct shmkv *kv);

/* One number for one life of one handle; it never comes back while the process lives, but
 * for one in 2^30 lives of the same memory. */
static inline uint64_t skv_handle_state(const struct shmkv *kv)
{
	return __atomic_load_n(&kv->state, __ATOMIC_ACQUIRE);
}

/* 0, -EBADF or -ECHILD: the first line of every call. */
static inline int skv_handle_check(const struct shmkv *kv)
{
	const uint64_t mask = SKV_HANDLE_MARK_MASK | SKV_HANDLE_USE_MASK;

	if (!kv || (skv_handle_state(kv) & mask) != (SKV_HANDLE_MARK | SKV_HANDLE_OPEN))
		return -EBADF;
	if (!skv_fork_is_same(kv->fork_serial))
		return -ECHILD;
	return 0;
}

/* The same for calls that write: also -EROFS. */
static inline int skv_handle_check_write(const struct shmkv *kv)
{
	int r = skv_handle_check(kv);

	if (r < 0)
		return r;
	return kv->read_only ? -EROFS : 0;
}

/* -EMSGSIZE or -EINVAL, or the key in the engines' form. */
static inline int skv_handle_key(const void *key, size_t key_len, struct skv_key *ret_key)
{
	if (key_len < 1 || key_len > SHMKV_KEY_MAX)
		return -EMSGSIZE;
	if (!key)
		return -EINVAL;
	ret_key->data = key;
	ret_key->len = key_len;
	return 0;
}

/* 0; -EINVAL for what is no time to live; -EOPNOTSUPP for one that ends, where nothing does. */
static inline int skv_ttl_check(const struct skv_engine *engine, uint64_t ttl_ms)
{
	if (ttl_ms > SHMKV_TTL_MAX)
		return ttl_ms == SHMKV_TTL_NEVER || ttl_ms == SHMKV_TTL_KEEP ? 0 : -EINVAL;
	return ttl_ms != SHMKV_TTL_DEFAULT && !engine->touch ? -EOPNOTSUPP : 0;
}

#endif

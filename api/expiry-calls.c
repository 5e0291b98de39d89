/* SPDX-License-Identifier: MIT */
/* expiry-calls: the public calls about how long keys live. Those that store: write-calls.c. */
#include "api/handle.h"

static int touch(struct shmkv *kv, const void *key, size_t key_len, uint64_t ttl_ms)
{
	struct skv_key k;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (ttl_ms > SHMKV_TTL_MAX && ttl_ms != SHMKV_TTL_NEVER)
		return -EINVAL;
	return kv->engine->touch ? kv->engine->touch(kv->map, &k, ttl_ms) : -EOPNOTSUPP;
}

int shmkv_touch(struct shmkv *kv, const void *key, size_t key_len, uint64_t ttl_ms)
{
	return touch(kv, key, key_len, ttl_ms);
}

int shmkv_persist(struct shmkv *kv, const void *key, size_t key_len)
{
	return touch(kv, key, key_len, SHMKV_TTL_NEVER);
}

int shmkv_ttl(struct shmkv *kv, const void *key, size_t key_len, uint64_t *ret_ms)
{
	struct skv_key k;
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (!ret_ms)
		return -EINVAL;
	return kv->engine->ttl ? kv->engine->ttl(kv->map, &k, ret_ms) : -EOPNOTSUPP;
}

int shmkv_expire(struct shmkv *kv, uint64_t max, uint64_t *ret_removed)
{
	uint64_t removed;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	if (!kv->engine->expire)
		return -EOPNOTSUPP;
	r = kv->engine->expire(kv->map, max, &removed);
	if (r < 0)
		return r;
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* wait-calls: the public calls that sleep until something has changed. */
#include "api/handle.h"
#include "base/clock.h"

uint64_t shmkv_deadline_in(uint64_t ms)
{
	uint64_t ns;

	if (__builtin_mul_overflow(ms, (uint64_t)1000000u, &ns) ||
	    __builtin_add_overflow(ns, skv_clock_ns(), &ns))
		return SHMKV_NO_DEADLINE;
	return ns;
}

int shmkv_wait(struct shmkv *kv, const void *key, size_t key_len, uint64_t token_seen,
	       uint64_t deadline_ns, uint64_t *ret_token)
{
	struct skv_key k;
	uint64_t token;
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (!kv->engine->wait)
		return -EOPNOTSUPP;
	r = kv->engine->wait(kv->map, &k, token_seen, deadline_ns, &token);
	if (r == 0 && ret_token)
		*ret_token = token;
	return r;
}

int shmkv_state(struct shmkv *kv, uint64_t *ret_state)
{
	int r;

	if (!ret_state)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	return kv->engine->state ? kv->engine->state(kv->map, ret_state) : -EOPNOTSUPP;
}

int shmkv_wait_any(struct shmkv *kv, uint64_t state_seen, uint64_t deadline_ns,
		   uint64_t *ret_state)
{
	uint64_t state;
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->wait_any)
		return -EOPNOTSUPP;
	r = kv->engine->wait_any(kv->map, state_seen, deadline_ns, &state);
	if (r == 0 && ret_state)
		*ret_state = state;
	return r;
}

int shmkv_poll_open(struct shmkv *kv, int *ret_fd)
{
	int r;

	if (!ret_fd)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	return kv->engine->poll_open ? kv->engine->poll_open(kv->map, ret_fd) : -EOPNOTSUPP;
}

static int poll_state(struct shmkv *kv, int fd, const struct skv_key *key, uint64_t seen,
		      uint64_t *ret_state)
{
	uint64_t state;
	int r;

	if (!kv->engine->poll)
		return -EOPNOTSUPP;
	r = kv->engine->poll(kv->map, fd, key, seen, &state);
	if (r == 0 && ret_state)
		*ret_state = state;
	return r;
}

int shmkv_poll(struct shmkv *kv, int fd, const void *key, size_t key_len, uint64_t token_seen,
	       uint64_t *ret_token)
{
	struct skv_key k;
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	return r < 0 ? r : poll_state(kv, fd, &k, token_seen, ret_token);
}

int shmkv_poll_any(struct shmkv *kv, int fd, uint64_t state_seen, uint64_t *ret_state)
{
	int r = skv_handle_check(kv);

	return r < 0 ? r : poll_state(kv, fd, NULL, state_seen, ret_state);
}

static int set_cancelled(struct shmkv *kv, bool cancelled)
{
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	return kv->engine->wait_cancel ? kv->engine->wait_cancel(kv->map, cancelled) : -EOPNOTSUPP;
}

int shmkv_wait_cancel(struct shmkv *kv)
{
	return set_cancelled(kv, true);
}

int shmkv_wait_resume(struct shmkv *kv)
{
	return set_cancelled(kv, false);
}

/* SPDX-License-Identifier: MIT */
#include "api/handle.h"

#include <stdlib.h>

/* So many closed handles lie idle before the one closed longest is used again. */
#define HANDLE_IDLE_MIN 64u

/*
 * Every handle there ever was; only grows, at the front. Compiler atomics rather than
 * base/atomic.h: nothing here is seen by another process, and a pointer is not a word there.
 */
static struct shmkv *pool;
static uint64_t n_closed;

static uint64_t state_with(uint64_t state, uint64_t use)
{
	return (state & ~SKV_HANDLE_USE_MASK) | use;
}

static bool state_swap(struct shmkv *kv, uint64_t seen, uint64_t state)
{
	return __atomic_compare_exchange_n(&kv->state, &seen, state, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static struct shmkv *handle_new(void)
{
	struct shmkv *kv;

	kv = calloc(1, sizeof(*kv));
	if (!kv)
		return NULL;
	kv->state = SKV_HANDLE_MARK | SKV_HANDLE_CLAIMED;
	kv->next = __atomic_load_n(&pool, __ATOMIC_RELAXED);
	/* Release, pairs with the load in handle_longest_closed: members before the way to them. */
	while (!__atomic_compare_exchange_n(&pool, &kv->next, kv, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
	return kv;
}

/* NULL while too few are idle. */
static struct shmkv *handle_longest_closed(void)
{
	struct shmkv *kv, *ret = NULL;
	uint64_t closed_at, oldest = UINT64_MAX;
	unsigned int n_idle = 0;

	for (kv = __atomic_load_n(&pool, __ATOMIC_ACQUIRE); kv; kv = kv->next) {
		if ((skv_handle_state(kv) & SKV_HANDLE_USE_MASK) != SKV_HANDLE_CLOSED)
			continue;
		n_idle++;
		closed_at = __atomic_load_n(&kv->closed_at, __ATOMIC_RELAXED);
		if (closed_at < oldest) {
			oldest = closed_at;
			ret = kv;
		}
	}
	return n_idle >= HANDLE_IDLE_MIN ? ret : NULL;
}

int skv_handle_claim(struct shmkv **ret_kv)
{
	struct shmkv *kv;
	uint64_t state;

	/* A turn is repeated only when another thread got the handle. */
	for (;;) {
		kv = handle_longest_closed();
		if (!kv)
			break;
		state = skv_handle_state(kv);
		if ((state & SKV_HANDLE_USE_MASK) == SKV_HANDLE_CLOSED &&
		    state_swap(kv, state, state_with(state, SKV_HANDLE_CLAIMED)))
			break;
	}
	if (!kv)
		kv = handle_new();
	if (!kv)
		return -ENOMEM;

	*ret_kv = kv;
	return 0;
}

void skv_handle_open(struct shmkv *kv)
{
	uint64_t life = (kv->state + SKV_HANDLE_LIFE_STEP) & SKV_HANDLE_LIFE_MASK;

	__atomic_store_n(&kv->state, SKV_HANDLE_MARK | life | SKV_HANDLE_OPEN, __ATOMIC_RELEASE);
}

bool skv_handle_close(struct shmkv *kv)
{
	uint64_t state = skv_handle_state(kv);

	if ((state & (SKV_HANDLE_MARK_MASK | SKV_HANDLE_USE_MASK)) !=
	    (SKV_HANDLE_MARK | SKV_HANDLE_OPEN))
		return false;
	return state_swap(kv, state, state_with(state, SKV_HANDLE_CLAIMED));
}

void skv_handle_release(struct shmkv *kv)
{
	uint64_t closed_at = __atomic_add_fetch(&n_closed, 1, __ATOMIC_RELAXED);

	__atomic_store_n(&kv->closed_at, closed_at, __ATOMIC_RELAXED);
	__atomic_store_n(&kv->state, state_with(kv->state, SKV_HANDLE_CLOSED), __ATOMIC_RELEASE);
}

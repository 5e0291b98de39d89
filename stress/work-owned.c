/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>

#define OWN_HOT 4u /* own keys that each writer prefers */

static uint64_t own_key(const struct worker *worker, uint64_t nth)
{
	return nth * worker->ledger->plan.writers + worker->writer;
}

static uint64_t own_keys_active(const struct worker *worker)
{
	uint64_t active = atomic_load_explicit(&worker->ledger->head->owned_active,
					       memory_order_relaxed);

	if (active <= worker->writer)
		return 0;
	return (active - worker->writer - 1) / worker->ledger->plan.writers + 1;
}

/* The answer that the state of the key demands; 0 when the call has to succeed. */
static int owned_expected(enum owned_call call, struct owned owned)
{
	switch (call) {
	case OWNED_ADD:
		return owned.present ? -EEXIST : 0;
	case OWNED_REPLACE:
	case OWNED_DEL:
	case OWNED_TAKE:
	case OWNED_CAS:
		return owned.present ? 0 : -ENOENT;
	case OWNED_CAS_STALE:
		return owned.present ? -ESTALE : -ENOENT;
	default:
		return 0;
	}
}

static int owned_do(struct worker *worker, enum owned_call call, uint64_t idx, uint64_t seq,
		    uint64_t token, uint64_t *ret_token, struct shmkv_value *ret_taken)
{
	struct shmkv_value value = shmkv_nil();
	struct stress_key key;
	int r;

	stress_key_make(KEY_OWNED, idx, &key);
	if (call != OWNED_DEL && call != OWNED_TAKE)
		value = work_value(worker, KEY_OWNED, idx, seq);

	switch (call) {
	case OWNED_PUT:
		ledger_op_begin(worker->me, STRESS_OP_PUT);
		r = shmkv_put(worker->kv, key.bytes, key.len, value, ret_token);
		ledger_called(worker->me, LEDGER_CALL_PUT, r);
		break;
	case OWNED_REPLACE:
		ledger_op_begin(worker->me, STRESS_OP_PUT);
		r = shmkv_replace(worker->kv, key.bytes, key.len, value, ret_token);
		ledger_called(worker->me, LEDGER_CALL_REPLACE, r);
		break;
	case OWNED_ADD:
		ledger_op_begin(worker->me, STRESS_OP_ADD);
		r = shmkv_add(worker->kv, key.bytes, key.len, value, ret_token);
		ledger_called(worker->me, LEDGER_CALL_ADD, r);
		break;
	case OWNED_CAS:
	case OWNED_CAS_STALE:
		ledger_op_begin(worker->me, STRESS_OP_CAS);
		r = shmkv_cas(worker->kv, key.bytes, key.len, token, value, ret_token);
		ledger_called(worker->me, LEDGER_CALL_CAS, r);
		break;
	default:
		ledger_op_begin(worker->me, STRESS_OP_DEL);
		r = work_remove(worker, &key, call == OWNED_TAKE, ret_taken);
		break;
	}
	ledger_op_end(worker->me);
	return r;
}

void work_owned(struct worker *worker, enum owned_call call, uint64_t idx)
{
	static const char *const names[] = { "put", "replace", "add", "del", "take", "cas",
					     "cas with an old token" };
	_Atomic uint64_t *word = &worker->ledger->owned[idx];
	uint64_t token = 0, new_token = 0, before;
	struct shmkv_value taken = shmkv_nil();
	const struct owned absent = { .present = false };
	struct stress_key key;
	struct owned owned;
	int r, expected;

	before = atomic_load_explicit(word, memory_order_relaxed);
	owned = owned_unpack(before);
	if (owned.issued == OWNED_SEQ_MAX)
		return;

	if (call == OWNED_CAS_STALE) {
		token = worker->stale_token;
	} else if (call == OWNED_CAS) {
		/* The token comes with the value, which is checked like any other. */
		stress_key_make(KEY_OWNED, idx, &key);
		r = reader_get(&worker->reader, &key, &taken, &token);
		if (r == -EAGAIN)
			return;
		if ((r != 0 && r != -ENOENT) ||
		    !reader_judge_owned(&worker->reader, idx, before, before, r == 0 ? &taken : NULL)) {
			worker->failed = true;
			return;
		}
	}

	expected = owned_expected(call, owned);
	owned.issued++;
	owned.in_flight = true;
	intent_begin(worker->me, INTENT_OWNED, idx, 1, 0);
	/* [owned.begin] release: whoever sees the new value also sees that it was asked for. */
	atomic_store_explicit(word, owned_pack(owned), memory_order_release);

	r = owned_do(worker, call, idx, owned.issued, token, &new_token, &taken);

	if (worker->reader.evicts && owned.present && r == owned_expected(call, absent)) {
		/* It was evicted before. From now on it is absent, and stays so. */
		owned.present = false;
		expected = r;
	}
	if (r == 0 && expected == 0) {
		owned.present = call != OWNED_DEL && call != OWNED_TAKE;
		owned.seq = owned.issued;
	} else if (r != expected && !work_is_refusal(worker, r) &&
		   !(call == OWNED_CAS && r == -ESTALE)) {
		/* A record that was moved changes its token, so cas may fail for nothing. */
		work_fail_answer(worker, names[call], KEY_OWNED, idx, r,
			    expected ? shmkv_errname(expected) : "success");
		return; /* the word stays in flight: the state is not known */
	}
	owned.in_flight = false;
	/* [owned.answer] release, pairs with [owned.before] in the readers. */
	atomic_store_explicit(word, owned_pack(owned), memory_order_release);
	intent_end(worker->me);

	if (r != 0)
		return;
	if (call == OWNED_TAKE && !reader_judge_owned(&worker->reader, idx, before, before, &taken))
		worker->failed = true;
	/* Keep a token of one of the hot keys: with the next write it is stale. */
	if (new_token && !worker->stale_valid && idx / worker->ledger->plan.writers < OWN_HOT) {
		worker->stale_token = new_token;
		worker->stale_idx = idx;
		worker->stale_valid = true;
	} else if (worker->stale_valid && worker->stale_idx == idx) {
		work_owned(worker, OWNED_CAS_STALE, idx);
		worker->stale_valid = false;
	}
}

bool work_owned_fresh(struct worker *worker, enum owned_call call)
{
	uint64_t fresh = atomic_load_explicit(&worker->me->fresh, memory_order_relaxed);
	uint64_t idx = own_key(worker, fresh);

	if (fresh >= own_keys_active(worker) || !stress_random_one_in(&worker->reader.random, 2))
		return false;
	work_owned(worker, call, idx);
	if (owned_unpack(atomic_load_explicit(&worker->ledger->owned[idx], memory_order_relaxed))
		    .present)
		atomic_store_explicit(&worker->me->fresh, fresh + 1, memory_order_relaxed);
	return true;
}

bool work_draw_own(struct worker *worker, bool churn, uint64_t *ret_idx)
{
	uint64_t fresh = atomic_load_explicit(&worker->me->fresh, memory_order_relaxed);
	uint64_t nth;

	if (fresh == 0)
		return false;
	nth = stress_random_below(&worker->reader.random, fresh);
	if (churn)
		nth &= ~(uint64_t)15; /* key_is_churn */
	/* A few are written again and again. */
	else if (stress_random_one_in(&worker->reader.random, 8))
		nth = stress_random_below(&worker->reader.random, fresh < OWN_HOT ? fresh : OWN_HOT);
	*ret_idx = own_key(worker, nth);
	return true;
}

static bool settle_key(struct worker *worker, uint64_t idx)
{
	uint64_t word = atomic_load_explicit(&worker->ledger->owned[idx], memory_order_relaxed);
	struct shmkv_value value;
	struct stress_key key;
	int r;

	if (!owned_unpack(word).in_flight)
		return true;
	stress_key_make(KEY_OWNED, idx, &key);
	do {
		r = reader_get(&worker->reader, &key, &value, NULL);
	} while (r == -EAGAIN && !ledger_stopping(worker->ledger));
	if (r == -EAGAIN)
		return true; /* the final process settles it */
	if ((r != 0 && r != -ENOENT) ||
	    !reader_settle_owned(&worker->reader, idx, word, r == 0 ? &value : NULL, &word))
		return false;
	atomic_store_explicit(&worker->ledger->owned[idx], word, memory_order_release);
	ledger_bump(&worker->me->settled);
	return true;
}

bool work_settle_predecessor(struct worker *worker)
{
	struct ledger_writer *me = worker->me;
	int64_t i, n;
	uint64_t first;

	if (atomic_load_explicit(&me->intent, memory_order_acquire) != INTENT_OWNED)
		return true;
	first = atomic_load_explicit(&me->intent_idx, memory_order_relaxed);
	n = atomic_load_explicit(&me->intent_amount, memory_order_relaxed);
	for (i = 0; i < n; i++) {
		if (!settle_key(worker, first + (uint64_t)i * worker->ledger->plan.writers))
			return false;
	}
	intent_end(me);
	return true;
}

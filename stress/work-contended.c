/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>

static _Atomic int64_t *tally(const struct worker *worker, _Atomic int64_t *rows,
			      enum key_class class, uint64_t idx)
{
	return &rows[worker->writer * worker->ledger->plan.n[class] + idx];
}

/* Acknowledge: the tally first, then the intent, see ledger.h. */
static void tally_add(struct worker *worker, _Atomic int64_t *sum, int64_t base, int64_t amount)
{
	atomic_store_explicit(sum, base + amount, memory_order_release);
	intent_end(worker->me);
}

void work_presence_add(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_PRESENCE);
	_Atomic int64_t *adds = tally(worker, worker->ledger->adds, KEY_PRESENCE, idx);
	int64_t base = atomic_load_explicit(adds, memory_order_relaxed);
	struct shmkv_value value = work_shared_value(worker, KEY_PRESENCE, idx);
	struct stress_key key;
	int r;

	stress_key_make(KEY_PRESENCE, idx, &key);
	intent_begin(worker->me, INTENT_PRESENCE_ADD, idx, 1, base);
	ledger_op_begin(worker->me, STRESS_OP_ADD);
	r = shmkv_add(worker->kv, key.bytes, key.len, value, NULL);
	ledger_called(worker->me, LEDGER_CALL_ADD, r);
	ledger_op_end(worker->me);
	tally_add(worker, adds, base, r == 0);
	if (r != 0 && r != -EEXIST && !work_is_refusal(worker, r))
		work_fail_answer(worker, "add", KEY_PRESENCE, idx, r, "success or EEXIST");
}

void work_presence_del(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_PRESENCE);
	_Atomic int64_t *dels = tally(worker, worker->ledger->dels, KEY_PRESENCE, idx);
	int64_t base = atomic_load_explicit(dels, memory_order_relaxed);
	bool take = stress_random_one_in(&worker->reader.random, 2);
	struct shmkv_value taken = shmkv_nil();
	struct stress_key key;
	int r;

	stress_key_make(KEY_PRESENCE, idx, &key);
	intent_begin(worker->me, INTENT_PRESENCE_DEL, idx, 1, base);
	ledger_op_begin(worker->me, STRESS_OP_DEL);
	r = work_remove(worker, &key, take, &taken);
	ledger_op_end(worker->me);
	tally_add(worker, dels, base, r == 0);
	if (r != 0 && r != -ENOENT && !work_is_refusal(worker, r))
		work_fail_answer(worker, take ? "take" : "del", KEY_PRESENCE, idx, r, "success or ENOENT");
	else if (r == 0 && take &&
		 !reader_judge_shared(&worker->reader, KEY_PRESENCE, idx, &taken))
		worker->failed = true;
}

void work_incr(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_INCR);
	_Atomic int64_t *sum = tally(worker, worker->ledger->incr_sums, KEY_INCR, idx);
	int64_t base = atomic_load_explicit(sum, memory_order_relaxed);
	int64_t by = 1 + (int64_t)stress_random_below(&worker->reader.random, 9);
	struct shmkv_value result;
	struct stress_key key;
	int64_t number = 0;
	int r;

	if (!key_only_rises(idx) && stress_random_one_in(&worker->reader.random, 2))
		by = -by;
	stress_key_make(KEY_INCR, idx, &key);
	intent_begin(worker->me, INTENT_INCR, idx, by, base);
	ledger_op_begin(worker->me, STRESS_OP_INCR);
	r = shmkv_incr(worker->kv, key.bytes, key.len, by, key_initial(idx), &number);
	ledger_called(worker->me, LEDGER_CALL_UPDATE, r);
	ledger_op_end(worker->me);
	tally_add(worker, sum, base, r == 0 ? by : 0);
	if (r != 0) {
		if (!work_is_refusal(worker, r))
			work_fail_answer(worker, "incr", KEY_INCR, idx, r, "success");
		return;
	}
	result = shmkv_int(number);
	if (!reader_judge_counter(&worker->reader, KEY_INCR, idx, &result))
		worker->failed = true;
}

void work_counter_cas(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_CAS);
	_Atomic int64_t *sum = tally(worker, worker->ledger->cas_sums, KEY_CAS, idx);
	int64_t base = atomic_load_explicit(sum, memory_order_relaxed);
	int64_t by = 1 + (int64_t)stress_random_below(&worker->reader.random, 9);
	struct shmkv_value value;
	struct stress_key key;
	uint64_t token = 0;
	bool absent;
	int r;

	stress_key_make(KEY_CAS, idx, &key);
	r = reader_get(&worker->reader, &key, &value, &token);
	if (r == -EAGAIN)
		return;
	if ((r != 0 && r != -ENOENT) ||
	    (r == 0 && !reader_judge_counter(&worker->reader, KEY_CAS, idx, &value))) {
		worker->failed = true;
		return;
	}

	absent = r == -ENOENT;
	intent_begin(worker->me, INTENT_CAS, idx, by, base);
	ledger_op_begin(worker->me, STRESS_OP_CAS);
	if (absent)
		r = shmkv_add(worker->kv, key.bytes, key.len, shmkv_int(key_initial(idx) + by), NULL);
	else
		r = shmkv_cas(worker->kv, key.bytes, key.len, token, shmkv_int(value.i64 + by), NULL);
	ledger_called(worker->me, absent ? LEDGER_CALL_ADD : LEDGER_CALL_CAS, r);
	ledger_op_end(worker->me);
	tally_add(worker, sum, base, r == 0 ? by : 0);
	/* Nobody deletes these, so ENOENT is no answer here, unless they are evicted. */
	if (r == -ENOENT && worker->reader.evicts)
		return;
	if (r != 0 && r != -ESTALE && r != -EEXIST && !work_is_refusal(worker, r))
		work_fail_answer(worker, "cas", KEY_CAS, idx, r, "success, ESTALE or EEXIST");
}

void work_shared(struct worker *worker, enum stress_op op)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_SHARED);
	struct shmkv_value value = shmkv_nil(), old = shmkv_nil();
	bool variant = stress_random_one_in(&worker->reader.random, 4);
	struct stress_key key;
	uint64_t token = 0;
	int r;

	stress_key_make(KEY_SHARED, idx, &key);
	if (op == STRESS_OP_CAS) {
		r = reader_get(&worker->reader, &key, &old, &token);
		if (r == 0 && !reader_judge_shared(&worker->reader, KEY_SHARED, idx, &old))
			worker->failed = true;
		else if (r != 0 && r != -ENOENT && r != -EAGAIN)
			worker->failed = true;
		if (r != 0 || worker->failed)
			return;
	}
	if (op != STRESS_OP_DEL)
		value = work_shared_value(worker, KEY_SHARED, idx);

	ledger_op_begin(worker->me, op);
	switch (op) {
	case STRESS_OP_PUT:
		if (variant)
			r = shmkv_replace(worker->kv, key.bytes, key.len, value, NULL);
		else
			r = shmkv_put(worker->kv, key.bytes, key.len, value, NULL);
		ledger_called(worker->me, variant ? LEDGER_CALL_REPLACE : LEDGER_CALL_PUT, r);
		break;
	case STRESS_OP_ADD:
		r = shmkv_add(worker->kv, key.bytes, key.len, value, NULL);
		ledger_called(worker->me, LEDGER_CALL_ADD, r);
		break;
	case STRESS_OP_CAS:
		r = shmkv_cas(worker->kv, key.bytes, key.len, token, value, NULL);
		ledger_called(worker->me, LEDGER_CALL_CAS, r);
		break;
	default:
		r = work_remove(worker, &key, variant, &old);
		break;
	}
	ledger_op_end(worker->me);

	if (r == 0) {
		if (op == STRESS_OP_DEL && variant &&
		    !reader_judge_shared(&worker->reader, KEY_SHARED, idx, &old))
			worker->failed = true;
		return;
	}
	if (work_is_refusal(worker, r))
		return;
	if (r == -ENOENT && (op == STRESS_OP_DEL || op == STRESS_OP_CAS || variant))
		return;
	if ((r == -EEXIST && op == STRESS_OP_ADD) || (r == -ESTALE && op == STRESS_OP_CAS))
		return;
	work_fail_answer(worker, stress_op_name(op), KEY_SHARED, idx, r, "a code that the call has");
}


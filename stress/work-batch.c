/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <shmkv/batch.h>

/*
 * Batches. Each item is judged as the single call would be. A batch of writes goes to own
 * keys that lie behind one another, so that the intent can name them all.
 */

struct work_batch {
	struct stress_key keys[WORK_BATCH];
	uint64_t idx[WORK_BATCH], before[WORK_BATCH];
	struct shmkv_get_item gets[WORK_BATCH];
	struct shmkv_put_item puts[WORK_BATCH];
	unsigned char bytes[WORK_BATCH][PAYLOAD_ROOM + WORK_BATCH_VALUE];
};

struct work_batch *work_batch_new(void)
{
	return calloc(1, sizeof(struct work_batch));
}

static void get_many(struct worker *worker, struct work_batch *batch)
{
	struct ledger *ledger = worker->ledger;
	uint64_t active = atomic_load_explicit(&ledger->head->owned_active, memory_order_relaxed);
	size_t i, n = 1 + (size_t)stress_random_below(&worker->reader.random, WORK_BATCH), n_ok = 0;
	struct shmkv_get_item *item;
	uint64_t after;
	int r;

	for (i = 0; i < n; i++) {
		batch->idx[i] = stress_random_below(&worker->reader.random, active);
		stress_key_make(KEY_OWNED, batch->idx[i], &batch->keys[i]);
		batch->gets[i] = (struct shmkv_get_item){
			.key = batch->keys[i].bytes, .key_len = batch->keys[i].len,
			.buf = batch->bytes[i], .cap = sizeof(batch->bytes[i]),
		};
		batch->before[i] = atomic_load_explicit(&ledger->owned[batch->idx[i]],
							memory_order_acquire);
	}
	ledger_op_begin(worker->me, STRESS_OP_BATCH);
	r = shmkv_get_many(worker->kv, batch->gets, n, &n_ok);
	ledger_op_end(worker->me);
	if (r != 0) {
		work_fail_answer(worker, "get of many", KEY_OWNED, batch->idx[0], r, "success");
		return;
	}
	for (i = 0; i < n && !worker->failed; i++) {
		item = &batch->gets[i];
		after = ledger_load_after_call(&ledger->owned[batch->idx[i]]);
		n_ok -= item->result == 0;
		if (item->result == -EAGAIN || item->result == -ENOBUFS)
			continue;
		if (item->result != 0 && item->result != -ENOENT)
			work_fail_answer(worker, "get in a batch", KEY_OWNED, batch->idx[i],
					 item->result, "success or ENOENT");
		else if (!reader_judge_owned(&worker->reader, batch->idx[i], batch->before[i], after,
					     item->result == 0 ? &item->value : NULL))
			worker->failed = true;
	}
	if (!worker->failed && n_ok != 0) {
		worker->failed = true;
		ledger_fail(ledger, worker->start->place, "get of many counted its results wrong");
	}
}

static void put_many(struct worker *worker, struct work_batch *batch)
{
	const struct stress_options *opts = worker->start->opts;
	struct ledger *ledger = worker->ledger;
	uint64_t fresh = atomic_load_explicit(&worker->me->fresh, memory_order_relaxed);
	size_t i, n = 1 + (size_t)stress_random_below(&worker->reader.random, WORK_BATCH / 2);
	uint64_t first, max = opts->value_max < WORK_BATCH_VALUE ? opts->value_max : WORK_BATCH_VALUE;
	struct owned owned[WORK_BATCH];
	struct payload payload;
	int r;

	if (fresh < n || opts->value_min > max)
		return;
	first = stress_random_below(&worker->reader.random, fresh - n + 1) * ledger->plan.writers +
		worker->writer;
	for (i = 0; i < n; i++) {
		batch->idx[i] = first + i * ledger->plan.writers;
		owned[i] = owned_unpack(atomic_load_explicit(&ledger->owned[batch->idx[i]],
							     memory_order_relaxed));
		if (owned[i].issued == OWNED_SEQ_MAX)
			return;
	}
	/* The intent before the words: a successor looks at all that it names. */
	intent_begin(worker->me, INTENT_OWNED, first, (int64_t)n, 0);
	for (i = 0; i < n; i++) {
		owned[i].issued++;
		owned[i].in_flight = true;
		atomic_store_explicit(&ledger->owned[batch->idx[i]], owned_pack(owned[i]),
				      memory_order_release);
		stress_key_make(KEY_OWNED, batch->idx[i], &batch->keys[i]);
		payload = (struct payload){
			.key_id = payload_key_id(KEY_OWNED, batch->idx[i]), .seq = owned[i].issued,
			.writer = worker->writer, .incarnation = worker->incarnation,
		};
		batch->puts[i] = (struct shmkv_put_item){
			.key = batch->keys[i].bytes, .key_len = batch->keys[i].len,
			.value = payload_make(batch->bytes[i],
					      payload_draw_len(&worker->reader.random,
							       opts->value_min, max), &payload),
		};
	}
	ledger_op_begin(worker->me, STRESS_OP_BATCH);
	r = shmkv_put_many(worker->kv, batch->puts, n, NULL);
	ledger_op_end(worker->me);
	if (r != 0 && !work_is_refusal(worker, r)) {
		work_fail_answer(worker, "put of many", KEY_OWNED, first, r, "success");
		return;
	}
	for (i = 0; i < n; i++) {
		ledger_called(worker->me, LEDGER_CALL_PUT, r == 0 ? batch->puts[i].result : r);
		if (r == 0 && batch->puts[i].result == 0) {
			owned[i].present = true;
			owned[i].seq = owned[i].issued;
		} else if (r == 0 && !work_is_refusal(worker, batch->puts[i].result)) {
			work_fail_answer(worker, "put in a batch", KEY_OWNED, batch->idx[i],
					 batch->puts[i].result, "success");
			return; /* the words stay in flight: the state is not known */
		}
		owned[i].in_flight = false;
		atomic_store_explicit(&ledger->owned[batch->idx[i]], owned_pack(owned[i]),
				      memory_order_release);
	}
	intent_end(worker->me);
}

void work_batch(struct worker *worker)
{
	if (stress_random_one_in(&worker->reader.random, 2))
		get_many(worker, worker->batch);
	else
		put_many(worker, worker->batch);
}

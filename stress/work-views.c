/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Views are opened on any key and kept for a random number of operations, in which the key
 * may be overwritten or deleted and its writer killed. When a view ends, the bytes must be
 * those that it began with. A worker that is killed leaves its views open.
 */

static void view_fail(struct worker *worker, const struct held_view *held, const char *what)
{
	worker->failed = true;
	ledger_fail(worker->ledger, worker->start->place, "view of %s key %" PRIu64 ": %s",
		    key_class_name(held->class), held->idx, what);
}

/* Whole, under its key, and the same as at the beginning. */
static bool view_is_intact(struct worker *worker, const struct held_view *held)
{
	struct payload payload;
	char why[240];

	if (!payload_check(&held->view.value, payload_key_id(held->class, held->idx), &payload, why,
			   sizeof(why))) {
		view_fail(worker, held, why);
		return false;
	}
	if (payload.seq != held->seq || payload.writer != held->writer) {
		view_fail(worker, held, "another value stands where it points");
		return false;
	}
	return true;
}

static void view_end(struct worker *worker, struct held_view *held)
{
	int r;

	if (!view_is_intact(worker, held))
		return;
	ledger_op_begin(worker->me, STRESS_OP_VIEW);
	r = shmkv_view_end(&held->view);
	ledger_op_end(worker->me);
	held->open = false;
	if (r != 0)
		work_fail_answer(worker, "the end of a view", held->class, held->idx, r, "success");
}

static void view_begin(struct worker *worker, struct held_view *held)
{
	struct reader *reader = &worker->reader;
	uint64_t active = atomic_load_explicit(&worker->ledger->head->owned_active,
					       memory_order_relaxed);
	bool owned = stress_random_below(&reader->random, 4) > 0;
	_Atomic uint64_t *word = NULL;
	uint64_t before = 0, after = 0;
	struct payload payload;
	struct stress_key key;
	char why[240];
	bool fine;
	int r;

	held->class = owned ? KEY_OWNED : KEY_SHARED;
	held->idx = owned ? stress_random_below(&reader->random, active) :
			    reader_draw_contended(reader, KEY_SHARED);
	stress_key_make(held->class, held->idx, &key);
	if (owned) {
		word = &worker->ledger->owned[held->idx];
		before = atomic_load_explicit(word, memory_order_acquire);
	}
	ledger_op_begin(worker->me, STRESS_OP_VIEW);
	r = shmkv_view_begin(worker->kv, key.bytes, key.len, &held->view);
	ledger_op_end(worker->me);
	if (owned)
		after = ledger_load_after_call(word);
	if (r != 0 && r != -ENOENT) {
		if (!work_is_refusal(worker, r))
			work_fail_answer(worker, "a view", held->class, held->idx, r,
					 "success or ENOENT");
		return;
	}
	held->open = r == 0;
	if (owned)
		fine = reader_judge_owned(reader, held->idx, before, after,
					  r == 0 ? &held->view.value : NULL);
	else
		fine = r != 0 || reader_judge_shared(reader, held->class, held->idx,
						     &held->view.value);
	if (!fine) {
		worker->failed = true;
		return;
	}
	/* Judged already; this only takes the numbers out. */
	if (r == 0 && payload_check(&held->view.value, payload_key_id(held->class, held->idx),
				    &payload, why, sizeof(why))) {
		held->seq = payload.seq;
		held->writer = payload.writer;
	}
}

void work_view(struct worker *worker)
{
	struct held_view *held =
		&worker->views[stress_random_below(&worker->reader.random, WORK_VIEWS)];

	if (held->open)
		view_end(worker, held);
	else
		view_begin(worker, held);
}

void work_views_end(struct worker *worker)
{
	unsigned int i;

	for (i = 0; i < WORK_VIEWS && !worker->failed; i++) {
		if (worker->views[i].open)
			view_end(worker, &worker->views[i]);
	}
}

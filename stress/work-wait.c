/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>

#include <shmkv/wait.h>

/*
 * Waits with a near deadline, among threads that write, are killed, and are stopped between
 * a change and telling of it. An answer must be a change, or come with the deadline.
 */

#define WAIT_MS 3u

static void wait_unchanged(struct worker *worker, const char *what)
{
	worker->failed = true;
	ledger_fail(worker->ledger, worker->start->place, "%s answered, but nothing has changed",
		    what);
}

static void wait_key(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_INCR), seen = 0, now = 0;
	struct shmkv_value value;
	struct stress_key key;
	int r;

	stress_key_make(KEY_INCR, idx, &key);
	r = reader_get(&worker->reader, &key, &value, &seen);
	if (r == -EAGAIN)
		return;
	if (r != 0 && r != -ENOENT) {
		worker->failed = true;
		return;
	}
	if (r == -ENOENT)
		seen = 0;
	ledger_op_begin(worker->me, STRESS_OP_WAIT);
	r = shmkv_wait(worker->kv, key.bytes, key.len, seen, shmkv_deadline_in(WAIT_MS), &now);
	ledger_op_end(worker->me);
	if (r == 0 && now == seen)
		wait_unchanged(worker, "a wait for a key");
	else if (r != 0 && r != -ETIMEDOUT && r != -EINTR && !work_is_refusal(worker, r))
		work_fail_answer(worker, "a wait", KEY_INCR, idx, r, "success or ETIMEDOUT");
}

static void wait_any(struct worker *worker)
{
	uint64_t seen, now = 0;
	int r;

	ledger_op_begin(worker->me, STRESS_OP_WAIT);
	r = shmkv_state(worker->kv, &seen);
	if (r == 0)
		r = shmkv_wait_any(worker->kv, seen, shmkv_deadline_in(WAIT_MS), &now);
	ledger_op_end(worker->me);
	if (r == 0 && now == seen)
		wait_unchanged(worker, "a wait for anything");
	else if (r != 0 && r != -ETIMEDOUT && r != -EINTR && !work_is_refusal(worker, r))
		work_fail_answer(worker, "a wait for anything", KEY_INCR, 0, r,
				 "success or ETIMEDOUT");
}

void work_wait(struct worker *worker)
{
	if (stress_random_one_in(&worker->reader.random, 2))
		wait_key(worker);
	else
		wait_any(worker);
}

/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include <shmkv/expiry.h>

/*
 * Leases: keys that are added with some milliseconds to live. Two things must hold whoever
 * is killed or stopped: nobody is granted a lease while another one still runs, and no value
 * is read after its lease is over. The bounds are the clock before the call and after it, so
 * a thread that is stopped in between only makes them wider.
 */

uint64_t work_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t work_clock_ms(void)
{
	return work_clock_ns() / 1000000u;
}

static struct ledger_lease *row_of(const struct worker *worker, unsigned int writer, uint64_t idx)
{
	return &worker->ledger->leases[writer * worker->ledger->plan.n[KEY_LEASE] + idx];
}

/*
 * Until when does some lease run at least, that was acknowledged and not touched since? Who
 * renews a lease takes the bound away first, for the new one may end earlier. So a row that is
 * the same before a call and after it held during the call.
 */
static void rows_read(const struct worker *worker, uint64_t idx, uint64_t *ret_low,
		      uint64_t *ret_seq)
{
	const struct ledger_lease *row;
	unsigned int writer;

	for (writer = 0; writer < worker->ledger->plan.writers; writer++) {
		row = row_of(worker, writer, idx);
		ret_low[writer] = atomic_load_explicit(&row->low, memory_order_acquire);
		ret_seq[writer] = atomic_load_explicit(&row->seq, memory_order_acquire);
	}
}

static uint64_t latest_low(const struct worker *worker, uint64_t idx)
{
	unsigned int writer, writers = worker->ledger->plan.writers;
	const uint64_t *low = worker->rows, *seq = low + writers;
	struct ledger_lease *row;
	uint64_t latest = 0;

	for (writer = 0; writer < writers; writer++) {
		row = row_of(worker, writer, idx);
		if (low[writer] > latest &&
		    ledger_load_after_call(&row->seq) == seq[writer] &&
		    atomic_load_explicit(&row->low, memory_order_acquire) == low[writer])
			latest = low[writer];
	}
	return latest;
}

static void lease_note(struct worker *worker, uint64_t idx, uint64_t before, uint64_t after,
		       uint64_t ttl, uint64_t seq)
{
	struct ledger_lease *row = row_of(worker, worker->writer, idx);

	atomic_store_explicit(&row->high, after + ttl + 1, memory_order_relaxed);
	atomic_store_explicit(&row->low, before + ttl, memory_order_release);
	atomic_store_explicit(&row->seq, seq, memory_order_release);
}

static void lease_take(struct worker *worker, uint64_t idx, const struct stress_key *key)
{
	uint64_t ttl = 1 + stress_random_below(&worker->reader.random, WORK_LEASE_MS_MAX - 1);
	struct shmkv_value value = work_shared_value(worker, KEY_LEASE, idx);
	uint64_t seq = atomic_load_explicit(&worker->me->issued, memory_order_relaxed);
	uint64_t before, after, running, token;
	int r;

	rows_read(worker, idx, worker->rows, worker->rows + worker->ledger->plan.writers);
	before = work_clock_ms();
	ledger_op_begin(worker->me, STRESS_OP_LEASE);
	r = shmkv_add_ttl(worker->kv, key->bytes, key->len, value, ttl, &token);
	ledger_called(worker->me, LEDGER_CALL_ADD, r);
	ledger_op_end(worker->me);
	after = work_clock_ms();
	running = latest_low(worker, idx);
	if (r == -EEXIST || work_is_refusal(worker, r))
		return;
	if (r != 0) {
		work_fail_answer(worker, "add with a time to live", KEY_LEASE, idx, r,
				 "success or EEXIST");
		return;
	}
	/* An evicted lease runs no longer. */
	if (after < running && !worker->reader.evicts) {
		worker->failed = true;
		ledger_fail(worker->ledger, worker->start->place,
			    "lease %" PRIu64 " was granted %" PRIu64
			    " ms before an earlier one was over", idx, running - after);
		return;
	}
	lease_note(worker, idx, before, after, ttl, seq);
	worker->lease_token = token;
	worker->lease_idx = idx;
	worker->lease_held = true;
}

/* With the token: who has overslept cannot prolong the lease of a successor. */
static void lease_renew(struct worker *worker, uint64_t idx, const struct stress_key *key)
{
	uint64_t ttl = 1 + stress_random_below(&worker->reader.random, WORK_LEASE_MS_MAX - 1);
	struct shmkv_value value = work_shared_value(worker, KEY_LEASE, idx);
	uint64_t seq = atomic_load_explicit(&worker->me->issued, memory_order_relaxed);
	uint64_t before = work_clock_ms(), token;
	int r;

	worker->lease_held = false;
	atomic_store_explicit(&row_of(worker, worker->writer, idx)->low, 0, memory_order_seq_cst);
	ledger_op_begin(worker->me, STRESS_OP_LEASE);
	r = shmkv_cas_ttl(worker->kv, key->bytes, key->len, worker->lease_token, value, ttl, &token);
	ledger_called(worker->me, LEDGER_CALL_CAS, r);
	ledger_op_end(worker->me);
	if (r == -ENOENT || r == -ESTALE || work_is_refusal(worker, r))
		return;
	if (r != 0) {
		work_fail_answer(worker, "cas with a time to live", KEY_LEASE, idx, r,
				 "success, ENOENT or ESTALE");
		return;
	}
	lease_note(worker, idx, before, work_clock_ms(), ttl, seq);
}

static void lease_read(struct worker *worker, uint64_t idx, const struct stress_key *key)
{
	uint64_t before = work_clock_ms(), seq, high;
	struct ledger_lease *row;
	struct shmkv_value value;
	struct payload payload;
	char why[240];
	int r;

	r = reader_get(&worker->reader, key, &value, NULL);
	if (r == -ENOENT || r == -EAGAIN)
		return;
	if (r != 0 || !reader_judge_shared(&worker->reader, KEY_LEASE, idx, &value) ||
	    !payload_check(&value, payload_key_id(KEY_LEASE, idx), &payload, why, sizeof(why))) {
		worker->failed = true;
		return;
	}
	row = row_of(worker, payload.writer, idx);
	seq = atomic_load_explicit(&row->seq, memory_order_acquire);
	high = atomic_load_explicit(&row->high, memory_order_relaxed);
	if (seq == payload.seq && before > high) {
		worker->failed = true;
		ledger_fail(worker->ledger, worker->start->place,
			    "lease %" PRIu64 " was read %" PRIu64 " ms after it was over", idx,
			    before - high);
	}
}

/* The state of an own key is not changed by how long it is to live, and nobody else says that. */
static void own_deadline(struct worker *worker)
{
	bool persist = stress_random_one_in(&worker->reader.random, 2), fine;
	uint64_t idx, left = 0;
	struct stress_key key;
	struct owned owned;
	int r, expected;

	if (!work_draw_own(worker, stress_random_one_in(&worker->reader.random, 4), &idx))
		return;
	owned = owned_unpack(atomic_load_explicit(&worker->ledger->owned[idx],
						  memory_order_relaxed));
	stress_key_make(KEY_OWNED, idx, &key);
	ledger_op_begin(worker->me, STRESS_OP_LEASE);
	if (persist)
		r = shmkv_persist(worker->kv, key.bytes, key.len);
	else
		r = shmkv_touch(worker->kv, key.bytes, key.len, WORK_LONG_MS);
	ledger_called(worker->me, LEDGER_CALL_UPDATE, r);
	ledger_op_end(worker->me);
	expected = owned.present ? 0 : -ENOENT;
	if (work_is_refusal(worker, r) || (r == -ENOENT && worker->reader.evicts))
		return;
	if (r != expected) {
		work_fail_answer(worker, persist ? "persist" : "touch", KEY_OWNED, idx, r,
				 expected ? "ENOENT" : "success");
		return;
	}
	r = shmkv_ttl(worker->kv, key.bytes, key.len, &left);
	if (r == -EAGAIN || (r == -ENOENT && worker->reader.evicts))
		return;
	fine = r == expected;
	if (fine && r == 0)
		fine = persist ? left == SHMKV_TTL_NEVER : left > 0 && left <= WORK_LONG_MS;
	if (fine)
		return;
	worker->failed = true;
	ledger_fail(worker->ledger, worker->start->place,
		    "owned key %" PRIu64 " has %" PRIu64 " ms to live (%s) after %s", idx, left,
		    shmkv_errname(r), persist ? "persist" : "touch");
}

void work_lease(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_LEASE);
	struct stress_key key;

	switch (stress_random_below(&worker->reader.random, 4)) {
	case 0:
		own_deadline(worker);
		return;
	case 1:
		work_timed(worker);
		return;
	default:
		break;
	}
	if (worker->lease_held)
		idx = worker->lease_idx;
	stress_key_make(KEY_LEASE, idx, &key);
	if (stress_random_one_in(&worker->reader.random, 2))
		lease_read(worker, idx, &key);
	else if (worker->lease_held)
		lease_renew(worker, idx, &key);
	else
		lease_take(worker, idx, &key);
}

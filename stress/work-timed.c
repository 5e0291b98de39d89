/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>

#include <shmkv/expiry.h>

/*
 * Timed keys have one writer each, who gives them times to live from a millisecond to for
 * ever, takes those away and gives others, often when the old one is just over. Everybody else
 * removes what has expired, as all writers do. The writer knows the deadline up to the
 * length of its own calls: before that the key is there, whatever the sweeps of others found a
 * moment ago, and after that it is not.
 *
 * Long values are touched in place, short ones are written again.
 */

#define TIMED_VALUE_LOW 900u   /* short: copied by a touch */
#define TIMED_VALUE_HIGH 1100u /* long: not */
#define NEVER UINT64_MAX

/* Nothing is known of a key after a predecessor, or after a call that gave up. */
static void forget(struct timed_key *timed)
{
	timed->low = 0;
	timed->high = NEVER;
}

static void gone(struct timed_key *timed)
{
	timed->low = timed->high = 0;
}

static void lives(struct timed_key *timed, uint64_t ttl, uint64_t before, uint64_t after)
{
	timed->low = ttl == SHMKV_TTL_NEVER ? NEVER : before + ttl;
	timed->high = ttl == SHMKV_TTL_NEVER ? NEVER : after + ttl + 1;
}

static uint64_t draw_ttl(struct worker *worker)
{
	struct stress_random *random = &worker->reader.random;

	switch (stress_random_below(random, 8)) {
	case 0:
		return SHMKV_TTL_NEVER;
	case 1:
		return WORK_LONG_MS;
	case 2:
	case 3:
		return 1 + stress_random_below(random, WORK_LEASE_MS_MAX);
	default:
		return 1 + stress_random_below(random, 2);
	}
}

static struct shmkv_value draw_value(struct worker *worker, uint64_t idx)
{
	struct stress_random *random = &worker->reader.random;
	struct payload payload = {
		.key_id = payload_key_id(KEY_TIMED, idx),
		.writer = worker->writer,
		.incarnation = worker->incarnation,
	};
	bool is_long = stress_random_one_in(random, 2);

	payload.seq = work_next_seq(worker);
	return payload_make(worker->buf,
			    payload_draw_len(random, is_long ? TIMED_VALUE_HIGH : PAYLOAD_MIN,
					     is_long ? WORK_TIMED_VALUE : TIMED_VALUE_LOW),
			    &payload);
}

/* Is "there" or "absent" an answer that the deadline allows for a call of that time? */
static bool judge(struct worker *worker, const struct timed_key *timed, uint64_t idx,
		  const char *what, bool there, uint64_t before, uint64_t after)
{
	if (there ? before <= timed->high : worker->reader.evicts || after >= timed->low)
		return true;
	worker->failed = true;
	ledger_fail(worker->ledger, worker->start->place,
		    "%s found timed key %" PRIu64 " %s in %" PRIu64 "..%" PRIu64
		    " ms; it was to expire in %" PRIu64 "..%" PRIu64, what, idx,
		    there ? "there" : "absent", before, after, timed->low, timed->high);
	return false;
}

/* Just before the deadline, so that the call looks at the clock before it and acts behind it. */
static void await(struct worker *worker, const struct timed_key *timed)
{
	uint64_t early_ns = stress_random_below(&worker->reader.random, 4000);

	/* Ends: the clock runs. */
	while (work_clock_ns() + early_ns < timed->low * 1000000u && !ledger_stopping(worker->ledger))
		;
}

static void timed_put(struct worker *worker, struct timed_key *timed, uint64_t idx,
		      const struct stress_key *key)
{
	struct shmkv_value value = draw_value(worker, idx);
	uint64_t ttl = draw_ttl(worker), before = work_clock_ms(), after;
	int r;

	ledger_op_begin(worker->me, STRESS_OP_LEASE);
	r = shmkv_put_ttl(worker->kv, key->bytes, key->len, value, ttl, NULL);
	ledger_called(worker->me, LEDGER_CALL_PUT, r);
	ledger_op_end(worker->me);
	after = work_clock_ms();
	if (r == 0)
		lives(timed, ttl, before, after);
	else if (!work_is_refusal(worker, r))
		work_fail_answer(worker, "put with a time to live", KEY_TIMED, idx, r, "success");
}

/* touch and persist, and a new value that keeps the deadline. */
static void timed_change(struct worker *worker, struct timed_key *timed, uint64_t idx,
			 const struct stress_key *key)
{
	uint64_t ttl = draw_ttl(worker), before, after;
	bool keep = stress_random_one_in(&worker->reader.random, 4);
	struct shmkv_value value = draw_value(worker, idx);
	const char *what;
	int r;

	/* Once in a while the race with those who remove it is sought. */
	if (timed->low != NEVER && timed->low > work_clock_ms() &&
	    timed->low - work_clock_ms() <= 2 && stress_random_one_in(&worker->reader.random, 8))
		await(worker, timed);
	before = work_clock_ms();
	ledger_op_begin(worker->me, STRESS_OP_LEASE);
	if (keep) {
		what = "replace";
		r = shmkv_replace_ttl(worker->kv, key->bytes, key->len, value, SHMKV_TTL_KEEP, NULL);
	} else if (ttl == SHMKV_TTL_NEVER) {
		what = "persist";
		r = shmkv_persist(worker->kv, key->bytes, key->len);
	} else {
		what = "touch";
		r = shmkv_touch(worker->kv, key->bytes, key->len, ttl);
	}
	ledger_called(worker->me, keep ? LEDGER_CALL_REPLACE : LEDGER_CALL_UPDATE, r);
	ledger_op_end(worker->me);
	after = work_clock_ms();
	if (work_is_refusal(worker, r)) {
		if (!keep)
			forget(timed);
		return;
	}
	if (r != 0 && r != -ENOENT) {
		work_fail_answer(worker, what, KEY_TIMED, idx, r, "success or ENOENT");
		return;
	}
	if (!judge(worker, timed, idx, what, r == 0, before, after))
		return;
	if (r != 0)
		gone(timed);
	else if (!keep)
		lives(timed, ttl, before, after);
}

static void timed_get(struct worker *worker, struct timed_key *timed, uint64_t idx,
		      const struct stress_key *key)
{
	uint64_t before = work_clock_ms(), after;
	struct shmkv_value value;
	int r;

	r = reader_get(&worker->reader, key, &value, NULL);
	after = work_clock_ms();
	if (r == -EAGAIN)
		return;
	if ((r != 0 && r != -ENOENT) ||
	    (r == 0 && !reader_judge_shared(&worker->reader, KEY_TIMED, idx, &value))) {
		worker->failed = true;
		return;
	}
	if (judge(worker, timed, idx, "get", r == 0, before, after) && r != 0)
		gone(timed);
}

void work_timed_begin(struct worker *worker)
{
	unsigned int i;

	for (i = 0; i < WORK_TIMED; i++)
		forget(&worker->timed[i]);
}

void work_timed(struct worker *worker)
{
	uint64_t nth = stress_random_below(&worker->reader.random, WORK_TIMED);
	uint64_t idx = nth * worker->ledger->plan.writers + worker->writer;
	struct timed_key *timed = &worker->timed[nth];
	struct stress_key key;

	if (idx >= worker->ledger->plan.n[KEY_TIMED])
		return;
	stress_key_make(KEY_TIMED, idx, &key);
	switch (stress_random_below(&worker->reader.random, 4)) {
	case 0:
		timed_put(worker, timed, idx, &key);
		break;
	case 1:
		timed_get(worker, timed, idx, &key);
		break;
	default:
		timed_change(worker, timed, idx, &key);
		break;
	}
}

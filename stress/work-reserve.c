/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <shmkv/expiry.h>
#include <shmkv/reserve.h>

/*
 * Drafts are filled with a pattern bit by bit, while other operations go on, and looked at
 * before they end: nobody else may have written there, for the memory is the draft's alone. At
 * the commit the value takes the place of the pattern. Some drafts are given up, some stand open
 * when the worker ends or is killed, and none of them may ever be seen or leak.
 */

#define DRAFT_STEP 512u /* bytes that one operation fills */

static void draft_fail(struct worker *worker, const struct held_draft *held, const char *what)
{
	worker->failed = true;
	ledger_fail(worker->ledger, worker->start->place, "draft of %s key %" PRIu64 ": %s",
		    key_class_name(held->class), held->idx, what);
}

/* The eight bytes at a place of a draft, as far as they are in it. */
static uint64_t pattern(const struct held_draft *held, size_t at)
{
	return stress_mix(held->seed ^ at);
}

/* A sixteenth of what is left at least, so that a large draft takes many steps and not all day. */
static void fill(struct held_draft *held)
{
	size_t end = held->draft.len, at = held->filled, n;
	unsigned char *bytes = held->draft.data;
	uint64_t word;

	n = (end - at) / 16 > DRAFT_STEP ? (end - at) / 16 : DRAFT_STEP;
	n = end - at < n ? end - at : n & ~(size_t)7;
	for (end = at + n; at < end; at += 8) {
		word = pattern(held, at);
		memcpy(bytes + at, &word, end - at < 8 ? end - at : 8);
	}
	held->filled = end;
}

static bool is_intact(struct worker *worker, const struct held_draft *held)
{
	const unsigned char *bytes = held->draft.data;
	uint64_t word;
	size_t at;

	for (at = 0; at < held->filled; at += 8) {
		word = pattern(held, at);
		if (memcmp(bytes + at, &word, held->filled - at < 8 ? held->filled - at : 8) == 0)
			continue;
		draft_fail(worker, held, "somebody else wrote into it");
		return false;
	}
	return true;
}

/* What was ended is over: the library knows its copies, too. */
static void expect_over(struct worker *worker, const struct held_draft *held,
			struct shmkv_draft *copy)
{
	int r = shmkv_abort(copy);

	if (r != -EBADF && !work_is_refusal(worker, r))
		work_fail_answer(worker, "the second end of a draft", held->class, held->idx, r,
				 "EBADF");
}

static void draft_abort(struct worker *worker, struct held_draft *held)
{
	struct shmkv_draft copy = held->draft;
	int r;

	ledger_op_begin(worker->me, STRESS_OP_RESERVE);
	r = shmkv_abort(&held->draft);
	ledger_op_end(worker->me);
	if (r != 0) {
		if (!work_is_refusal(worker, r))
			work_fail_answer(worker, "the abort of a draft", held->class, held->idx, r,
					 "success");
		return;
	}
	held->open = false;
	if (stress_random_one_in(&worker->reader.random, 8))
		expect_over(worker, held, &copy);
}

/* The value in place of the pattern; it may be shorter than what was reserved. */
static size_t write_value(struct worker *worker, struct held_draft *held, uint64_t seq)
{
	struct payload payload = {
		.key_id = payload_key_id(held->class, held->idx),
		.seq = seq,
		.writer = worker->writer,
		.incarnation = worker->incarnation,
	};
	size_t len = held->draft.len;

	if (len > PAYLOAD_MIN && stress_random_one_in(&worker->reader.random, 4))
		len = PAYLOAD_MIN +
		      (size_t)stress_random_below(&worker->reader.random, len - PAYLOAD_MIN + 1);
	payload_write(held->draft.data, len, &payload, held->type);
	return len;
}

static int commit(struct worker *worker, struct held_draft *held, uint64_t seq)
{
	size_t len = write_value(worker, held, seq);
	static const enum ledger_call calls[] = {
		[SHMKV_COMMIT_PUT] = LEDGER_CALL_PUT,
		[SHMKV_COMMIT_ADD] = LEDGER_CALL_ADD,
		[SHMKV_COMMIT_REPLACE] = LEDGER_CALL_REPLACE,
		[SHMKV_COMMIT_CAS] = LEDGER_CALL_CAS,
	};
	int r;

	ledger_op_begin(worker->me, STRESS_OP_RESERVE);
	if (held->mode == SHMKV_COMMIT_CAS || stress_random_one_in(&worker->reader.random, 8))
		r = shmkv_commit_ttl(&held->draft, len, held->mode, held->token, WORK_LONG_MS, NULL);
	else
		r = shmkv_commit(&held->draft, len, held->mode, NULL);
	ledger_called(worker->me, calls[held->mode], r);
	ledger_op_end(worker->me);
	return r;
}

/* As put, add, replace or cas of an own key. */
static int commit_owned(struct worker *worker, struct held_draft *held)
{
	_Atomic uint64_t *word = &worker->ledger->owned[held->idx];
	struct owned owned = owned_unpack(atomic_load_explicit(word, memory_order_relaxed));
	bool may_add, may_change;
	int r;

	if (owned.issued == OWNED_SEQ_MAX)
		return -EAGAIN;
	owned.issued++;
	owned.in_flight = true;
	intent_begin(worker->me, INTENT_OWNED, held->idx, 1, 0);
	atomic_store_explicit(word, owned_pack(owned), memory_order_release);
	r = commit(worker, held, owned.issued);

	/* In a map that evicts the key may be gone, and then it counts as absent. */
	may_add = !owned.present || worker->reader.evicts;
	may_change = owned.present;
	if (held->mode == SHMKV_COMMIT_CAS)
		may_change = owned.present && owned.seq == held->token_seq;
	if (r == 0 && (held->mode == SHMKV_COMMIT_PUT ||
		       (held->mode == SHMKV_COMMIT_ADD ? may_add : may_change))) {
		owned.present = true;
		owned.seq = owned.issued;
	} else if (r == -ENOENT && held->mode >= SHMKV_COMMIT_REPLACE && may_add) {
		owned.present = false;
	} else if (!(r == -EEXIST && held->mode == SHMKV_COMMIT_ADD && owned.present) &&
		   !(r == -ESTALE && held->mode == SHMKV_COMMIT_CAS && owned.present) &&
		   !work_is_refusal(worker, r)) {
		work_fail_answer(worker, "the commit of a draft", held->class, held->idx, r,
				 owned.present ? "what a present key has" : "what an absent key has");
		return r; /* the word stays in flight: the state is not known */
	}
	owned.in_flight = false;
	atomic_store_explicit(word, owned_pack(owned), memory_order_release);
	intent_end(worker->me);
	return r;
}

static int commit_shared(struct worker *worker, struct held_draft *held)
{
	int r = commit(worker, held, work_next_seq(worker));

	if (r != 0 && !(r == -EEXIST && held->mode == SHMKV_COMMIT_ADD) &&
	    !(r == -ENOENT && held->mode >= SHMKV_COMMIT_REPLACE) &&
	    !(r == -ESTALE && held->mode == SHMKV_COMMIT_CAS) && !work_is_refusal(worker, r))
		work_fail_answer(worker, "the commit of a draft", held->class, held->idx, r,
				 "a code that the call has");
	return r;
}

static void draft_end(struct worker *worker, struct held_draft *held)
{
	struct shmkv_draft copy = held->draft;
	int r;

	if (!is_intact(worker, held))
		return;
	if (stress_random_one_in(&worker->reader.random, 4)) {
		draft_abort(worker, held);
		return;
	}
	r = held->class == KEY_OWNED ? commit_owned(worker, held) : commit_shared(worker, held);
	if (worker->failed)
		return;
	if (r != 0) {
		/* It stays open: once more, perhaps in another way, or not at all. */
		held->filled = 0;
		held->mode = SHMKV_COMMIT_PUT;
		return;
	}
	held->open = false;
	if (stress_random_one_in(&worker->reader.random, 8))
		expect_over(worker, held, &copy);
}

/* The version that a commit may replace, and which one that is. */
static bool take_token(struct worker *worker, struct held_draft *held, const struct stress_key *key)
{
	struct shmkv_value value;
	uint64_t word = 0;
	int r;

	if (held->class == KEY_OWNED)
		word = atomic_load_explicit(&worker->ledger->owned[held->idx], memory_order_relaxed);
	r = reader_get(&worker->reader, key, &value, &held->token);
	if (r != 0) {
		worker->failed = r != -ENOENT && r != -EAGAIN;
		return false;
	}
	held->token_seq = owned_unpack(word).seq;
	if (held->class == KEY_OWNED)
		worker->failed = !reader_judge_owned(&worker->reader, held->idx, word, word, &value);
	else
		worker->failed = !reader_judge_shared(&worker->reader, held->class, held->idx, &value);
	return !worker->failed;
}

static void draft_begin(struct worker *worker, struct held_draft *held)
{
	const struct stress_options *opts = worker->start->opts;
	struct stress_random *random = &worker->reader.random;
	struct stress_key key;
	size_t len;
	int r;

	held->class = KEY_OWNED;
	if (stress_random_one_in(random, 4) || !work_draw_own(worker, false, &held->idx)) {
		held->class = KEY_SHARED;
		held->idx = reader_draw_contended(&worker->reader, KEY_SHARED);
	}
	stress_key_make(held->class, held->idx, &key);
	held->mode = (enum shmkv_commit_mode)stress_random_below(random, 4);
	held->token = 0;
	if (held->mode == SHMKV_COMMIT_CAS && !take_token(worker, held, &key))
		return;
	held->type = stress_random_one_in(random, 2) ? SHMKV_BIN : SHMKV_STR;
	held->seed = stress_random_next(random);
	held->filled = 0;
	len = payload_draw_len(random, opts->value_min, opts->value_max);
	ledger_op_begin(worker->me, STRESS_OP_RESERVE);
	r = shmkv_reserve(worker->kv, key.bytes, key.len, held->type, len, &held->draft);
	ledger_op_end(worker->me);
	held->open = r == 0;
	if (r != 0 && !work_is_refusal(worker, r))
		work_fail_answer(worker, "reserve", held->class, held->idx, r, "success");
	else if (r == 0 && (held->draft.len != len || !held->draft.data))
		draft_fail(worker, held, "has another length than was asked for");
}

void work_reserve(struct worker *worker)
{
	struct held_draft *held =
		&worker->drafts[stress_random_below(&worker->reader.random, WORK_DRAFTS)];

	if (!held->open)
		draft_begin(worker, held);
	else if (held->filled < held->draft.len)
		fill(held);
	else
		draft_end(worker, held);
}

/* Some end with the handle. */
void work_reserve_end(struct worker *worker)
{
	unsigned int i;

	for (i = 0; i < WORK_DRAFTS && !worker->failed; i++) {
		if (worker->drafts[i].open && is_intact(worker, &worker->drafts[i]) && i % 2)
			draft_abort(worker, &worker->drafts[i]);
	}
}

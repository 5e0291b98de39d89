/* SPDX-License-Identifier: MIT */
#include "stress/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "stress/history.h"
#include "stress/reader.h"

/* One thread. */
struct worker {
	const struct worker_start *start;
	struct ledger *ledger;
	struct ledger_writer *me;
	struct shmkv *kv;
	struct reader reader;
	unsigned int writer; /* number among all threads of all workers */
	uint32_t incarnation;
	unsigned char *buf; /* to build values in */
	/* The token of an earlier version of the own key with the number stale_idx. */
	uint64_t stale_token, stale_idx;
	bool stale_valid;
	unsigned int mix_sum;
	bool failed;
};

static void fail_answer(struct worker *worker, const char *what, enum key_class class,
			uint64_t idx, int r, const char *expected)
{
	worker->failed = true;
	ledger_fail(worker->ledger, worker->start->place,
		    "%s of %s key %" PRIu64 " answered %s (%s), expected %s", what,
		    key_class_name(class), idx, shmkv_errname(r), shmkv_strerror(r), expected);
}

/*
 * Answers that say "nothing was changed, for want of something". A full segment is no
 * fault when the user gave its size.
 */
static bool is_refusal(struct worker *worker, int r)
{
	if (r == -EAGAIN) {
		ledger_bump(&worker->me->conflicts);
		return true;
	}
	if (r == -ENOSPC && !worker->start->opts->sized_here) {
		ledger_bump(&worker->me->full);
		return true;
	}
	return false;
}

/* ---- values ---------------------------------------------------------------------- */

static struct shmkv_value make_value(struct worker *worker, enum key_class class, uint64_t idx,
				     uint64_t seq)
{
	const struct stress_options *opts = worker->start->opts;
	struct payload payload = {
		.key_id = payload_key_id(class, idx),
		.seq = seq,
		.writer = worker->writer,
		.incarnation = worker->incarnation,
	};

	return payload_make(worker->buf,
			    payload_draw_len(&worker->reader.random, opts->value_min,
					     opts->value_max),
			    &payload);
}

/* A value of a key that many write: its sequence number is the writer's. */
static struct shmkv_value make_shared_value(struct worker *worker, enum key_class class,
					    uint64_t idx)
{
	uint64_t seq = atomic_load_explicit(&worker->me->issued, memory_order_relaxed) + 1;

	atomic_store_explicit(&worker->me->issued, seq, memory_order_release);
	return make_value(worker, class, idx, seq);
}

/* Remove a key with one of the two calls that do it; what take gave is in the reader's buffer. */
static int remove_key(struct worker *worker, const struct stress_key *key, bool take,
		      struct shmkv_value *ret_value)
{
	struct reader *reader = &worker->reader;
	size_t len;
	int r;

	if (!take)
		return shmkv_del(worker->kv, key->bytes, key->len);
	r = shmkv_take(worker->kv, key->bytes, key->len, reader->buf, reader->cap, &len);
	if (r < 0)
		return r;
	return shmkv_value_decode(reader->buf, len, ret_value);
}

/* ---- owned keys ------------------------------------------------------------------ */

#define OWN_HOT 4u /* own keys that each writer prefers */

enum owned_call {
	OWNED_PUT,
	OWNED_REPLACE,
	OWNED_ADD,
	OWNED_DEL,
	OWNED_TAKE,
	OWNED_CAS,
	OWNED_CAS_STALE, /* with a token that is known to be old: must not change anything */
};

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
		value = make_value(worker, KEY_OWNED, idx, seq);

	switch (call) {
	case OWNED_PUT:
		ledger_op_begin(worker->me, STRESS_OP_PUT);
		r = shmkv_put(worker->kv, key.bytes, key.len, value, ret_token);
		break;
	case OWNED_REPLACE:
		ledger_op_begin(worker->me, STRESS_OP_PUT);
		r = shmkv_replace(worker->kv, key.bytes, key.len, value, ret_token);
		break;
	case OWNED_ADD:
		ledger_op_begin(worker->me, STRESS_OP_ADD);
		r = shmkv_add(worker->kv, key.bytes, key.len, value, ret_token);
		break;
	case OWNED_CAS:
	case OWNED_CAS_STALE:
		ledger_op_begin(worker->me, STRESS_OP_CAS);
		r = shmkv_cas(worker->kv, key.bytes, key.len, token, value, ret_token);
		break;
	default:
		ledger_op_begin(worker->me, STRESS_OP_DEL);
		r = remove_key(worker, &key, call == OWNED_TAKE, ret_taken);
		break;
	}
	ledger_op_end(worker->me);
	return r;
}

static void owned_write(struct worker *worker, enum owned_call call, uint64_t idx)
{
	static const char *const names[] = { "put", "replace", "add", "del", "take", "cas",
					     "cas with an old token" };
	_Atomic uint64_t *word = &worker->ledger->owned[idx];
	uint64_t token = 0, new_token = 0, before;
	struct shmkv_value taken = shmkv_nil();
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
	intent_begin(worker->me, INTENT_OWNED, idx, 0, 0);
	/* [owned.begin] release: whoever sees the new value also sees that it was asked for. */
	atomic_store_explicit(word, owned_pack(owned), memory_order_release);

	r = owned_do(worker, call, idx, owned.issued, token, &new_token, &taken);

	if (r == 0 && expected == 0) {
		owned.present = call != OWNED_DEL && call != OWNED_TAKE;
		owned.seq = owned.issued;
	} else if (r != expected && !is_refusal(worker, r) &&
		   !(call == OWNED_CAS && r == -ESTALE)) {
		/* A record that was moved changes its token, so cas may fail for nothing. */
		fail_answer(worker, names[call], KEY_OWNED, idx, r,
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
		owned_write(worker, OWNED_CAS_STALE, idx);
		worker->stale_valid = false;
	}
}

/* Own keys not stored yet come first, every other time, so that the map grows in step. */
static bool owned_write_fresh(struct worker *worker, enum owned_call call)
{
	uint64_t fresh = atomic_load_explicit(&worker->me->fresh, memory_order_relaxed);
	uint64_t idx = own_key(worker, fresh);

	if (fresh >= own_keys_active(worker) || !stress_random_one_in(&worker->reader.random, 2))
		return false;
	owned_write(worker, call, idx);
	if (owned_unpack(atomic_load_explicit(&worker->ledger->owned[idx], memory_order_relaxed))
		    .present)
		atomic_store_explicit(&worker->me->fresh, fresh + 1, memory_order_relaxed);
	return true;
}

static bool draw_own(struct worker *worker, bool churn, uint64_t *ret_idx)
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

/* After a death: the call that was under way has happened or not, and the map knows. */
static bool settle_predecessor(struct worker *worker)
{
	struct ledger_writer *me = worker->me;
	struct shmkv_value value;
	struct stress_key key;
	uint64_t idx, word;
	int r;

	if (atomic_load_explicit(&me->intent, memory_order_acquire) != INTENT_OWNED)
		return true;
	idx = atomic_load_explicit(&me->intent_idx, memory_order_relaxed);
	word = atomic_load_explicit(&worker->ledger->owned[idx], memory_order_relaxed);
	if (owned_unpack(word).in_flight) {
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
		ledger_bump(&me->settled);
	}
	intent_end(me);
	return true;
}

/* ---- contended keys -------------------------------------------------------------- */

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

static void presence_add(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_PRESENCE);
	_Atomic int64_t *adds = tally(worker, worker->ledger->adds, KEY_PRESENCE, idx);
	int64_t base = atomic_load_explicit(adds, memory_order_relaxed);
	struct shmkv_value value = make_shared_value(worker, KEY_PRESENCE, idx);
	struct stress_key key;
	int r;

	stress_key_make(KEY_PRESENCE, idx, &key);
	intent_begin(worker->me, INTENT_PRESENCE_ADD, idx, 1, base);
	ledger_op_begin(worker->me, STRESS_OP_ADD);
	r = shmkv_add(worker->kv, key.bytes, key.len, value, NULL);
	ledger_op_end(worker->me);
	tally_add(worker, adds, base, r == 0);
	if (r != 0 && r != -EEXIST && !is_refusal(worker, r))
		fail_answer(worker, "add", KEY_PRESENCE, idx, r, "success or EEXIST");
}

static void presence_del(struct worker *worker)
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
	r = remove_key(worker, &key, take, &taken);
	ledger_op_end(worker->me);
	tally_add(worker, dels, base, r == 0);
	if (r != 0 && r != -ENOENT && !is_refusal(worker, r))
		fail_answer(worker, take ? "take" : "del", KEY_PRESENCE, idx, r, "success or ENOENT");
	else if (r == 0 && take &&
		 !reader_judge_shared(&worker->reader, KEY_PRESENCE, idx, &taken))
		worker->failed = true;
}

static void counter_incr(struct worker *worker)
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
	ledger_op_end(worker->me);
	tally_add(worker, sum, base, r == 0 ? by : 0);
	if (r != 0) {
		if (!is_refusal(worker, r))
			fail_answer(worker, "incr", KEY_INCR, idx, r, "success");
		return;
	}
	result = shmkv_int(number);
	if (!reader_judge_counter(&worker->reader, KEY_INCR, idx, &result))
		worker->failed = true;
}

static void counter_cas(struct worker *worker)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_CAS);
	_Atomic int64_t *sum = tally(worker, worker->ledger->cas_sums, KEY_CAS, idx);
	int64_t base = atomic_load_explicit(sum, memory_order_relaxed);
	int64_t by = 1 + (int64_t)stress_random_below(&worker->reader.random, 9);
	struct shmkv_value value;
	struct stress_key key;
	uint64_t token = 0;
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

	intent_begin(worker->me, INTENT_CAS, idx, by, base);
	ledger_op_begin(worker->me, STRESS_OP_CAS);
	if (r == -ENOENT)
		r = shmkv_add(worker->kv, key.bytes, key.len, shmkv_int(key_initial(idx) + by), NULL);
	else
		r = shmkv_cas(worker->kv, key.bytes, key.len, token, shmkv_int(value.i64 + by), NULL);
	ledger_op_end(worker->me);
	tally_add(worker, sum, base, r == 0 ? by : 0);
	/* Nobody deletes these, so ENOENT is no answer here. */
	if (r != 0 && r != -ESTALE && r != -EEXIST && !is_refusal(worker, r))
		fail_answer(worker, "cas", KEY_CAS, idx, r, "success, ESTALE or EEXIST");
}

/* put, replace, add, cas or delete where all others do the same. */
static void shared_write(struct worker *worker, enum stress_op op)
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
		value = make_shared_value(worker, KEY_SHARED, idx);

	ledger_op_begin(worker->me, op);
	switch (op) {
	case STRESS_OP_PUT:
		if (variant)
			r = shmkv_replace(worker->kv, key.bytes, key.len, value, NULL);
		else
			r = shmkv_put(worker->kv, key.bytes, key.len, value, NULL);
		break;
	case STRESS_OP_ADD:
		r = shmkv_add(worker->kv, key.bytes, key.len, value, NULL);
		break;
	case STRESS_OP_CAS:
		r = shmkv_cas(worker->kv, key.bytes, key.len, token, value, NULL);
		break;
	default:
		r = remove_key(worker, &key, variant, &old);
		break;
	}
	ledger_op_end(worker->me);

	if (r == 0) {
		if (op == STRESS_OP_DEL && variant &&
		    !reader_judge_shared(&worker->reader, KEY_SHARED, idx, &old))
			worker->failed = true;
		return;
	}
	if (is_refusal(worker, r))
		return;
	if (r == -ENOENT && (op == STRESS_OP_DEL || op == STRESS_OP_CAS || variant))
		return;
	if ((r == -EEXIST && op == STRESS_OP_ADD) || (r == -ESTALE && op == STRESS_OP_CAS))
		return;
	fail_answer(worker, stress_op_name(op), KEY_SHARED, idx, r, "a code that the call has");
}

/* ---- the load -------------------------------------------------------------------- */

static enum stress_op draw_op(struct worker *worker)
{
	const unsigned int *mix = worker->start->opts->mix;
	unsigned int draw = (unsigned int)stress_random_below(&worker->reader.random,
							      worker->mix_sum);
	unsigned int op;

	for (op = 0; op < STRESS_OPS_MIXED - 1 && draw >= mix[op]; op++)
		draw -= mix[op];
	return (enum stress_op)op;
}

static void step(struct worker *worker)
{
	struct stress_random *random = &worker->reader.random;
	unsigned int draw = (unsigned int)stress_random_below(random, 8);
	enum stress_op op = draw_op(worker);
	uint64_t idx;

	switch (op) {
	case STRESS_OP_GET:
		if (!reader_check_any(&worker->reader))
			worker->failed = true;
		break;
	case STRESS_OP_PUT:
		if (owned_write_fresh(worker, OWNED_PUT))
			break;
		if (draw < 6 && draw_own(worker, false, &idx))
			owned_write(worker, draw == 5 ? OWNED_REPLACE : OWNED_PUT, idx);
		else
			shared_write(worker, op);
		break;
	case STRESS_OP_DEL:
		if (draw < 3 && draw_own(worker, true, &idx))
			owned_write(worker, draw == 2 ? OWNED_TAKE : OWNED_DEL, idx);
		else if (draw < 5)
			shared_write(worker, op);
		else
			presence_del(worker);
		break;
	case STRESS_OP_ADD:
		if (owned_write_fresh(worker, OWNED_ADD))
			break;
		if (draw < 3 && draw_own(worker, draw < 2, &idx))
			owned_write(worker, OWNED_ADD, idx);
		else if (draw < 5)
			shared_write(worker, op);
		else
			presence_add(worker);
		break;
	case STRESS_OP_CAS:
		if (draw < 3 && draw_own(worker, false, &idx))
			owned_write(worker, OWNED_CAS, idx);
		else if (draw < 5)
			shared_write(worker, op);
		else
			counter_cas(worker);
		break;
	default:
		counter_incr(worker);
		break;
	}
}

static void *thread_main(void *arg)
{
	struct worker *worker = arg;

	if (!settle_predecessor(worker))
		worker->failed = true;
	while (!worker->failed && !ledger_stopping(worker->ledger))
		step(worker);
	return NULL;
}

/* ---- the process ----------------------------------------------------------------- */

int worker_attach(const struct worker_start *start, unsigned int flags,
		  struct ledger_writer *writer, struct shmkv **ret_kv)
{
	int r;

	ledger_op_begin(writer, STRESS_OP_ATTACH);
	r = shmkv_attach(start->segment, flags, ret_kv);
	ledger_op_end(writer);
	if (r == 0)
		return 0;
	ledger_fail(start->ledger, start->place, "attach to %s answered %s (%s)", start->segment,
		    shmkv_errname(r), shmkv_strerror(r));
	return -EPROTO;
}

/*
 * Recovery by hand, in some of the processes: while others work, and with a chance of being
 * killed in it.
 */
static bool recover(const struct worker_start *start, struct ledger_writer *writer,
		    struct shmkv *kv)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	int r;

	ledger_op_begin(writer, STRESS_OP_RECOVER);
	r = shmkv_recover(kv, &report);
	ledger_op_end(writer);
	if (r == 0 || r == -EAGAIN)
		return true;
	ledger_fail(start->ledger, start->place, "recover answered %s (%s)", shmkv_errname(r),
		    shmkv_strerror(r));
	return false;
}

static int worker_init(struct worker *worker, const struct worker_start *start, unsigned int thread,
		       struct shmkv *kv)
{
	const struct stress_options *opts = start->opts;
	struct ledger *ledger = start->ledger;
	unsigned int i;
	int r;

	worker->start = start;
	worker->ledger = ledger;
	worker->kv = kv;
	worker->writer = start->place * ledger->threads + thread;
	worker->me = &ledger->writers[worker->writer];
	worker->incarnation = atomic_load(&ledger->processes[start->place].incarnation);
	for (i = 0; i < STRESS_OPS_MIXED; i++)
		worker->mix_sum += opts->mix[i];
	worker->buf = malloc(PAYLOAD_ROOM + (size_t)opts->value_max);
	if (!worker->buf)
		return -ENOMEM;
	r = reader_init(&worker->reader, ledger, opts, start->place, worker->me,
			stress_mix(start->seed + thread));
	worker->reader.kv = kv;
	return r;
}

static void worker_deinit(struct worker *worker)
{
	reader_deinit(&worker->reader);
	free(worker->buf);
}

static bool run_threads(const struct worker_start *start, struct shmkv *kv)
{
	unsigned int n = start->ledger->threads, n_started = 0, i;
	struct worker *workers = calloc(n, sizeof(*workers));
	pthread_t *threads = calloc(n, sizeof(*threads));
	bool fine = workers && threads;

	for (i = 0; fine && i < n; i++)
		fine = worker_init(&workers[i], start, i, kv) == 0;
	/* The last one runs here. */
	for (i = 0; fine && i + 1 < n; i++) {
		fine = pthread_create(&threads[i], NULL, thread_main, &workers[i]) == 0;
		n_started += fine;
	}
	if (fine)
		thread_main(&workers[n - 1]);
	else
		ledger_fail(start->ledger, start->place, "no memory or no thread for a worker");
	for (i = 0; i < n_started; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; workers && i < n; i++) {
		fine = fine && !workers[i].failed;
		worker_deinit(&workers[i]);
	}
	free(threads);
	free(workers);
	return fine;
}

int worker_run(const struct worker_start *start)
{
	struct ledger *ledger = start->ledger;
	struct ledger_process *process = &ledger->processes[start->place];
	unsigned int n;
	struct ledger_writer *first = ledger_writers_of(ledger, start->place, &n);
	struct stress_random random = { .state = start->seed };
	struct shmkv *kv;
	bool fine;

	if (worker_attach(start, 0, first, &kv) < 0)
		return 1;
	atomic_store(&process->state, PROCESS_RUNNING);
	fine = !stress_random_one_in(&random, 8) || recover(start, first, kv);
	if (fine)
		fine = start->opts->history ? history_run(start, kv) : run_threads(start, kv);
	atomic_store(&process->state, PROCESS_FINISHED);
	shmkv_detach(kv);
	return fine ? 0 : 1;
}

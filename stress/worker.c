/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <shmkv/expiry.h>

#include "stress/history.h"
#include "stress/inspection.h"

void work_fail_answer(struct worker *worker, const char *what, enum key_class class,
			uint64_t idx, int r, const char *expected)
{
	worker->failed = true;
	ledger_fail(worker->ledger, worker->start->place,
		    "%s of %s key %" PRIu64 " answered %s (%s), expected %s", what,
		    key_class_name(class), idx, shmkv_errname(r), shmkv_strerror(r), expected);
}

bool work_is_refusal(struct worker *worker, int r)
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

struct shmkv_value work_value(struct worker *worker, enum key_class class, uint64_t idx,
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

uint64_t work_next_seq(struct worker *worker)
{
	uint64_t seq = atomic_load_explicit(&worker->me->issued, memory_order_relaxed) + 1;

	atomic_store_explicit(&worker->me->issued, seq, memory_order_release);
	return seq;
}

struct shmkv_value work_shared_value(struct worker *worker, enum key_class class, uint64_t idx)
{
	return work_value(worker, class, idx, work_next_seq(worker));
}

int work_remove(struct worker *worker, const struct stress_key *key, bool take,
		      struct shmkv_value *ret_value)
{
	struct reader *reader = &worker->reader;
	size_t len;
	int r;

	if (take)
		r = shmkv_take(worker->kv, key->bytes, key->len, reader->buf, reader->cap, &len);
	else
		r = shmkv_del(worker->kv, key->bytes, key->len);
	ledger_called(worker->me, take ? LEDGER_CALL_TAKE : LEDGER_CALL_DEL, r);
	if (r < 0 || !take)
		return r;
	return shmkv_value_decode(reader->buf, len, ret_value);
}

/* One process of so many ends by itself after some operations, and another one comes. */
#define LEAVERS 4u
#define OPS_BEFORE_LEAVING 20000u

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
		if (work_owned_fresh(worker, OWNED_PUT))
			break;
		if (draw < 6 && work_draw_own(worker, false, &idx))
			work_owned(worker, draw == 5 ? OWNED_REPLACE : OWNED_PUT, idx);
		else
			work_shared(worker, op);
		break;
	case STRESS_OP_DEL:
		if (draw < 3 && work_draw_own(worker, true, &idx))
			work_owned(worker, draw == 2 ? OWNED_TAKE : OWNED_DEL, idx);
		else if (draw < 5)
			work_shared(worker, op);
		else
			work_presence_del(worker);
		break;
	case STRESS_OP_ADD:
		if (work_owned_fresh(worker, OWNED_ADD))
			break;
		if (draw < 3 && work_draw_own(worker, draw < 2, &idx))
			work_owned(worker, OWNED_ADD, idx);
		else if (draw < 5)
			work_shared(worker, op);
		else
			work_presence_add(worker);
		break;
	case STRESS_OP_CAS:
		if (draw < 3 && work_draw_own(worker, false, &idx))
			work_owned(worker, OWNED_CAS, idx);
		else if (draw < 5)
			work_shared(worker, op);
		else
			work_counter_cas(worker);
		break;
	case STRESS_OP_INCR:
		work_incr(worker);
		break;
	case STRESS_OP_VIEW:
		work_view(worker);
		break;
	case STRESS_OP_RESERVE:
		work_reserve(worker);
		break;
	case STRESS_OP_BATCH:
		work_batch(worker);
		break;
	case STRESS_OP_LEASE:
		work_lease(worker);
		break;
	case STRESS_OP_WAIT:
		work_wait(worker);
		break;
	default:
		break;
	}
}

static void *thread_main(void *arg)
{
	struct worker *worker = arg;

	if (!work_settle_predecessor(worker))
		worker->failed = true;
	while (!worker->failed && !ledger_stopping(worker->ledger) &&
	       atomic_load_explicit(&worker->me->ops, memory_order_relaxed) < worker->ops_end)
		step(worker);
	/* What is still open ends with the handle, or with the process. */
	if (stress_random_one_in(&worker->reader.random, 2)) {
		work_views_end(worker);
		work_reserve_end(worker);
	}
	work_wait_end(worker);
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
 * What an operator may do, by some of the processes: while others work, and with a chance of
 * being killed in it.
 */
static bool operate(const struct worker_start *start, struct ledger_writer *writer,
		    struct shmkv *kv, uint64_t draw)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct inspection inspection;
	int r = 0;

	inspection_init(&inspection, start, writer, kv);
	if (draw == 0)
		return inspection_verify(&inspection);
	if (draw == 1)
		return inspection_tables(&inspection);
	if (draw > 4)
		return true;
	ledger_op_begin(writer, STRESS_OP_RECOVER);
	if (draw == 2)
		r = shmkv_recover(kv, &report);
	else if (draw == 3)
		r = shmkv_maintain(kv);
	else
		r = shmkv_expire(kv, 0, NULL);
	ledger_op_end(writer);
	if (r == 0 || r == -EAGAIN)
		return true;
	ledger_fail(start->ledger, start->place, "%s answered %s (%s)",
		    draw == 2 ? "recover" : draw == 3 ? "maintain" : "expire", shmkv_errname(r),
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
	worker->poll_fd = -1;
	work_timed_begin(worker);
	worker->writer = start->place * ledger->threads + thread;
	worker->me = &ledger->writers[worker->writer];
	worker->incarnation = atomic_load(&ledger->processes[start->place].incarnation);
	worker->ops_end = UINT64_MAX;
	if (stress_mix(start->seed) % LEAVERS == 0)
		worker->ops_end = atomic_load(&worker->me->ops) +
				  stress_mix(start->seed + 1) % OPS_BEFORE_LEAVING;
	for (i = 0; i < STRESS_OPS_MIXED; i++)
		worker->mix_sum += opts->mix[i];
	worker->buf = malloc(PAYLOAD_ROOM + (opts->value_max > WORK_TIMED_VALUE ?
						     (size_t)opts->value_max :
						     WORK_TIMED_VALUE));
	worker->batch = work_batch_new();
	worker->rows = calloc((size_t)ledger->plan.writers * 2, sizeof(*worker->rows));
	if (!worker->buf || !worker->batch || !worker->rows)
		return -ENOMEM;
	r = reader_init(&worker->reader, ledger, opts, start->place, worker->me,
			stress_mix(start->seed + thread));
	worker->reader.kv = kv;
	return r;
}

static void worker_deinit(struct worker *worker)
{
	reader_deinit(&worker->reader);
	free(worker->rows);
	free(worker->batch);
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
	fine = operate(start, first, kv, stress_random_below(&random, 16));
	if (fine)
		fine = start->opts->history ? history_run(start, kv) : run_threads(start, kv);
	atomic_store(&process->state, PROCESS_FINISHED);
	/* Some just end, as programs do. To the others that is a death. */
	if (stress_random_one_in(&random, 2))
		shmkv_detach(kv);
	else
		atomic_fetch_add(&ledger->head->deaths, 1);
	return fine ? 0 : 1;
}

/* SPDX-License-Identifier: MIT */
#include "stress/work.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <shmkv/wait.h>

/*
 * Waits, among threads that write, are killed, and are stopped between a change and telling of
 * it. An answer must be a change, or come with the deadline. Whether waits sleep is said by
 * the kernel: who waits until the deadline gives the processor away and uses little of it.
 *
 * Most deadlines are near, a few beyond the time after which a sleeper looks by itself. Others
 * wait on a descriptor, in poll(2).
 */

#define WAIT_MS 3u
#define WAIT_LONG_MS 300u

/* What a wait costs, by the clocks of the kernel. */
struct wait_cost {
	uint64_t start_ns, cpu_ns;
	long n_given; /* times that the processor was given away */
};

static uint64_t thread_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static void cost_begin(struct wait_cost *cost)
{
	struct rusage usage = { 0 };

	getrusage(RUSAGE_THREAD, &usage);
	cost->n_given = usage.ru_nvcsw;
	cost->start_ns = ledger_now_ns();
	cost->cpu_ns = thread_cpu_ns();
}

/* Only of those that lasted: others may have been answered at once. */
static void cost_end(struct worker *worker, const struct wait_cost *cost)
{
	uint64_t cpu_ns = thread_cpu_ns() - cost->cpu_ns;
	struct rusage usage = { 0 };

	getrusage(RUSAGE_THREAD, &usage);
	ledger_bump(&worker->me->waits);
	if (usage.ru_nvcsw == cost->n_given)
		ledger_bump(&worker->me->waits_awake);
	ledger_add(&worker->me->wait_ns, ledger_now_ns() - cost->start_ns);
	ledger_add(&worker->me->wait_cpu_ns, cpu_ns);
}

static uint64_t draw_ms(struct worker *worker)
{
	return stress_random_one_in(&worker->reader.random, 64) ? WAIT_LONG_MS : WAIT_MS;
}

static void judge(struct worker *worker, const char *what, int r, uint64_t seen, uint64_t now)
{
	if (r == 0 && now == seen) {
		worker->failed = true;
		ledger_fail(worker->ledger, worker->start->place,
			    "%s answered, but nothing has changed", what);
	} else if (r != 0 && r != -ETIMEDOUT && r != -EINTR && !work_is_refusal(worker, r)) {
		worker->failed = true;
		ledger_fail(worker->ledger, worker->start->place,
			    "%s answered %s (%s), expected success or ETIMEDOUT", what,
			    shmkv_errname(r), shmkv_strerror(r));
	}
}

/* The token of a counter, 0 while it is absent; false when there is nothing to wait for now. */
static bool look(struct worker *worker, struct stress_key *key, uint64_t *ret_seen)
{
	uint64_t idx = reader_draw_contended(&worker->reader, KEY_INCR);
	struct shmkv_value value;
	int r;

	*ret_seen = 0;
	stress_key_make(KEY_INCR, idx, key);
	r = reader_get(&worker->reader, key, &value, ret_seen);
	if (r != 0 && r != -ENOENT && r != -EAGAIN)
		worker->failed = true;
	if (r == 0 && !reader_judge_counter(&worker->reader, KEY_INCR, idx, &value))
		worker->failed = true;
	return !worker->failed && r != -EAGAIN;
}

static void wait_key(struct worker *worker)
{
	uint64_t seen, now = 0;
	struct wait_cost cost;
	struct stress_key key;
	int r;

	if (!look(worker, &key, &seen))
		return;
	ledger_op_begin(worker->me, STRESS_OP_WAIT);
	cost_begin(&cost);
	r = shmkv_wait(worker->kv, key.bytes, key.len, seen, shmkv_deadline_in(draw_ms(worker)),
		       &now);
	if (r == -ETIMEDOUT)
		cost_end(worker, &cost);
	ledger_op_end(worker->me);
	judge(worker, "a wait for a key", r, seen, now);
}

static void wait_any(struct worker *worker)
{
	uint64_t seen = 0, now = 0;
	struct wait_cost cost;
	int r;

	ledger_op_begin(worker->me, STRESS_OP_WAIT);
	r = shmkv_state(worker->kv, &seen);
	if (r == 0) {
		cost_begin(&cost);
		r = shmkv_wait_any(worker->kv, seen, shmkv_deadline_in(draw_ms(worker)), &now);
		if (r == -ETIMEDOUT)
			cost_end(worker, &cost);
	}
	ledger_op_end(worker->me);
	judge(worker, "a wait for anything", r, seen, now);
}

/* ---- with a descriptor ------------------------------------------------------------- */

/* One for each thread; where the system has none to give, nobody polls. */
static bool have_descriptor(struct worker *worker)
{
	int r;

	if (worker->poll_fd >= 0 || worker->poll_refused)
		return worker->poll_fd >= 0;
	r = shmkv_poll_open(worker->kv, &worker->poll_fd);
	if (r == 0)
		return true;
	worker->poll_fd = -1;
	worker->poll_refused = true;
	if (r != -EMFILE && r != -EOPNOTSUPP && r != -ENOMEM)
		judge(worker, "a descriptor to poll", r, 0, 0);
	return false;
}

static void poll_changes(struct worker *worker)
{
	bool any = stress_random_one_in(&worker->reader.random, 2);
	struct pollfd descriptor = { .events = POLLIN };
	uint64_t seen = 0, now = 0;
	struct stress_key key;
	unsigned int turn;
	int r = 0;

	if (!have_descriptor(worker) || (!any && !look(worker, &key, &seen)))
		return;
	descriptor.fd = worker->poll_fd;
	ledger_op_begin(worker->me, STRESS_OP_WAIT);
	if (any)
		r = shmkv_state(worker->kv, &seen);
	for (turn = 0; r == 0 && turn < 2; turn++) {
		r = any ? shmkv_poll_any(worker->kv, worker->poll_fd, seen, &now) :
			  shmkv_poll(worker->kv, worker->poll_fd, key.bytes, key.len, seen, &now);
		if (r != -ETIMEDOUT)
			break;
		if (turn == 0) {
			poll(&descriptor, 1, (int)draw_ms(worker));
			r = 0;
		}
	}
	ledger_op_end(worker->me);
	judge(worker, any ? "a poll for anything" : "a poll for a key", r, seen, now);
}

void work_wait(struct worker *worker)
{
	switch (stress_random_below(&worker->reader.random, 4)) {
	case 0:
		wait_key(worker);
		break;
	case 1:
		wait_any(worker);
		break;
	default:
		poll_changes(worker);
		break;
	}
}

void work_wait_end(struct worker *worker)
{
	if (worker->poll_fd >= 0)
		close(worker->poll_fd);
	worker->poll_fd = -1;
}

/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "base/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-stopped: a process that is stopped in the middle of anything delays nobody. One is
 * stopped at each named point in turn; meanwhile another one works on the same keys, as fast as
 * ever. Then the first goes on, an hour too late as it were, or is killed where it stands.
 */

#define KEYS 300u

static uint8_t payload[60000];

/* Everything that writes, on a few keys, with values of every kind of size. */
static void work(struct shmkv *kv, uint64_t seed, unsigned int n, uint64_t *ret_slowest_ms)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint64_t state = seed, key, r, before, slowest = 0;
	uint8_t buf[128];
	unsigned int i;
	size_t len;
	int code;

	for (i = 0; i < n; i++) {
		r = skv_random(&state);
		key = r % KEYS;
		len = r >> 32 & 0xff;
		before = skv_now_ms();
		switch (r >> 16 & 15) {
		case 0:
		case 1:
		case 2:
			code = shmkv_del(kv, &key, 8);
			break;
		case 3:
			code = shmkv_take(kv, &key, 8, buf, sizeof(buf), &len);
			break;
		case 4:
			code = shmkv_append(kv, &key, 8, shmkv_bin(payload, len), NULL);
			break;
		case 5:
			code = shmkv_put(kv, &key, 8, shmkv_bin(payload, 40000 + len), NULL);
			break;
		case 6:
			code = shmkv_add(kv, &key, 8, shmkv_bin(payload, len * 16), NULL);
			break;
		case 7:
			code = i % 64 ? shmkv_replace(kv, &key, 8, shmkv_bin(payload, len), NULL) :
					shmkv_recover(kv, &report);
			break;
		default:
			code = shmkv_put(kv, &key, 8, shmkv_bin(payload, len), NULL);
			break;
		}
		if (code != 0 && code != -ENOENT && code != -EEXIST && code != -ENOBUFS &&
		    code != -ENOSPC)
			skv_test_fail(__FILE__, __LINE__, "step %u of seed %llu: %s", i,
				      (unsigned long long)seed, shmkv_errname(code));
		before = skv_now_ms() - before;
		slowest = before > slowest ? before : slowest;
	}
	*ret_slowest_ms = slowest;
}

struct stop {
	struct skv_segment s;
	enum skv_fault_point point;
	unsigned int nth;
	uint64_t seed;
};

static void run_into_it(void *arg)
{
	struct stop *stop = arg;
	struct shmkv *kv;
	uint64_t slowest;

	skv_fault_arm(NULL, stop->point, stop->nth, SKV_FAULT_STOP, NULL, NULL);
	kv = skv_segment_attach(&stop->s, 0);
	work(kv, stop->seed, 1500, &slowest);
	shmkv_detach(kv);
}

/* Whether the point was come by. */
static bool stop_at(struct stop *stop, bool and_kill)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint64_t slowest = 0, begin;
	bool stopped;
	int status;
	pid_t pid;

	skv_segment_begin(&stop->s, 2 * MIB);
	work(stop->s.kv, stop->seed + 1, 500, &slowest);
	pid = skv_fork(run_into_it, stop);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	stopped = WIFSTOPPED(status);
	if (stopped) {
		begin = skv_now_ms();
		work(stop->s.kv, stop->seed + 2, 1500, &slowest);
		/* No call takes a time that a wait would take; all of them together neither. */
		if (!skv_test_is_slow() && (slowest > 500 || skv_now_ms() - begin > 3000))
			skv_test_fail(__FILE__, __LINE__,
				      "a process stopped at %s delays others: %llu ms",
				      skv_fault_name(stop->point), (unsigned long long)slowest);
		/* It counts as alive all the time. */
		CHECK_EQ(skv_segment_info(stop->s.kv).processes_dead, 0);
		kill(pid, and_kill ? SIGKILL : SIGCONT);
		if (and_kill)
			skv_test_wait_killed(pid, SIGKILL);
		else
			skv_test_wait_ok(pid);
		CHECK_EQ(shmkv_recover(stop->s.kv, &report), 0);
		CHECK_EQ(report.processes, and_kill);
		skv_segment_check(stop->s.kv);
		work(stop->s.kv, stop->seed + 3, 500, &slowest);
	} else {
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	skv_segment_end(&stop->s);
	return stopped;
}

/* Runs into each point for the @nth time; at least @n_min of them are passed so often. */
static void sweep(unsigned int nth, bool and_kill, unsigned int n_min)
{
	struct stop stop = { .nth = nth, .seed = skv_test_seed() };
	unsigned int point, n = 0;

	for (point = 0; point < SKV_FAULT_N; point++) {
		stop.point = (enum skv_fault_point)point;
		n += stop_at(&stop, and_kill);
	}
	/* Most points lie on the way of any program that writes; those of creation and of
	 * recovering somebody else do not. */
	CHECK(n >= n_min);
}

static void who_is_stopped_delays_nobody_and_goes_on(void)
{
	sweep(1, false, 30);
}

static void who_is_stopped_later_delays_nobody_and_goes_on(void)
{
	sweep(7, false, 15);
}

static void who_is_stopped_and_killed_delays_nobody_and_leaves_nothing(void)
{
	sweep(2, true, 20);
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_stopped[] = {
	{ "stopped", "who is stopped delays nobody and goes on",
	  who_is_stopped_delays_nobody_and_goes_on, 120 },
	{ "stopped", "who is stopped later delays nobody and goes on",
	  who_is_stopped_later_delays_nobody_and_goes_on, 120 },
	{ "stopped", "who is stopped and killed delays nobody and leaves nothing",
	  who_is_stopped_and_killed_delays_nobody_and_leaves_nothing, 120 },
	{ 0 },
};

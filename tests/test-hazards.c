/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "base/fault.h"

#include <shmkv/view.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-hazards: what goes wrong in other maps, where no other file has a test of it. The
 * numbers are those of docs/hazards.md, which says where the rest is.
 */

static uint8_t payload[60000];

static void put_filled(struct shmkv *kv, const char *key, size_t len, uint64_t salt)
{
	skv_fill(payload, len, salt);
	CHECK_EQ(shmkv_put(kv, KEY(key), shmkv_bin(payload, len), NULL), 0);
}

/* ---- misses ----------------------------------------------------------------------- */

#ifdef SKV_TINY
#define CHURNED 500u
#else
#define CHURNED 10000u
#endif

static void misses_stay_short_after_churn(void)
{
	struct shmkv_stats before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
	uint64_t state = skv_test_seed(), key, n = 0, far;
	struct skv_segment s;
	unsigned int i;

	skv_segment_begin(&s, 8 * MIB);
	/* So many keys at a time, and every one of them replaced many times by another. */
	for (i = 0; i < CHURNED * 15; i++) {
		key = i;
		CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_uint(i), NULL), 0);
		if (i >= CHURNED) {
			key = i - CHURNED;
			CHECK_EQ(shmkv_del(s.kv, &key, 8), 0);
		}
	}
	CHECK_EQ(shmkv_stats(s.kv, &before), 0);
	for (i = 0; i < 20000; i++) {
		key = skv_random(&state) | (uint64_t)1 << 63;
		CHECK_EQ(shmkv_exists(s.kv, &key, 8), -ENOENT);
	}
	CHECK_EQ(shmkv_stats(s.kv, &after), 0);
	for (i = 0; i < SHMKV_STATS_LINES; i++)
		n += after.miss_lines[i] - before.miss_lines[i];
	CHECK_EQ(n, 20000);
	/* Dead slots make a search longer, not as long as a leaf: more than sixteen of its 63
	 * lines are read for a key in a hundred at most. */
	far = after.miss_lines[SHMKV_STATS_LINES - 1] - before.miss_lines[SHMKV_STATS_LINES - 1];
	fprintf(stderr, "# %llu of %llu misses read more than 16 lines\n",
		(unsigned long long)far, (unsigned long long)n);
#ifdef SKV_TINY
	CHECK_EQ(far, 0);
#else
	CHECK(far <= n / 100);
#endif
	skv_segment_end(&s);
}

/* ---- buffers that are too small ---------------------------------------------------- */

static void small_buffers_in_a_loop_leave_nothing(void)
{
	struct shmkv_value value;
	struct shmkv_view view;
	struct skv_segment s;
	uint64_t used;
	unsigned int i;
	size_t len;
	char buf[8];

	skv_segment_begin(&s, 2 * MIB);
	put_filled(s.kv, "small", 100, 1);
	put_filled(s.kv, "large", 50000, 2);
	CHECK_EQ(shmkv_put(s.kv, KEY("int"), shmkv_int(7), NULL), 0);
	used = skv_segment_used(s.kv);
	for (i = 0; i < 5000; i++) {
		const char *key = i % 2 ? "small" : "large";

		CHECK_EQ(shmkv_get(s.kv, KEY(key), buf, sizeof(buf), &value, NULL), -ENOBUFS);
		CHECK_EQ(shmkv_get_packed(s.kv, KEY(key), buf, sizeof(buf), &len, NULL), -ENOBUFS);
		CHECK_EQ(shmkv_get_bin(s.kv, KEY(key), buf, sizeof(buf), &len), -ENOBUFS);
		CHECK_EQ(shmkv_take(s.kv, KEY(key), buf, sizeof(buf), &len), -ENOBUFS);
		CHECK_EQ(shmkv_append(s.kv, KEY("int"), shmkv_bin(payload, 10), NULL), -EPROTOTYPE);
		CHECK_EQ(shmkv_view_begin(s.kv, KEY("none"), &view), -ENOENT);
		CHECK_EQ(shmkv_cas(s.kv, KEY(key), UINT64_MAX, shmkv_bin(payload, 3000), NULL), -ESTALE);
		CHECK_EQ(shmkv_add(s.kv, KEY(key), shmkv_bin(payload, 3000), NULL), -EEXIST);
	}
	CHECK_EQ(skv_segment_used(s.kv), used);
	/* No pin stayed either: what is deleted is free. */
	CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
	CHECK_EQ(skv_segment_used(s.kv), 0);
	skv_segment_end(&s);
}

/* ---- the last one who leaves -------------------------------------------------------- */

enum leaving { LEAVE_DETACH, LEAVE_EXIT, LEAVE_KILL, LEAVE_N };

#define LEAVERS 3u

struct leaver {
	struct skv_segment s;
	int tell[2]; /* one byte for each command */
	int done[2];
	unsigned int me;
};

/* 'w': write a key of its own; 'd', 'x': leave. */
static void obey(void *arg)
{
	struct leaver *leaver = arg;
	struct shmkv *kv = skv_segment_attach(&leaver->s, 0);
	char command;

	for (;;) {
		CHECK_EQ(write(leaver->done[1], "", 1), 1);
		CHECK_EQ(read(leaver->tell[0], &command, 1), 1);
		if (command == 'x')
			_exit(0);
		if (command == 'd')
			break;
		CHECK_EQ(shmkv_incr(kv, KEY("all"), 1, 0, NULL), 0);
		CHECK_EQ(shmkv_put(kv, &leaver->me, sizeof(leaver->me), shmkv_uint(leaver->me), NULL), 0);
	}
	CHECK(shmkv_detach(kv) == NULL);
}

static void tell(struct leaver *leaver, char command)
{
	CHECK_EQ(write(leaver->tell[1], &command, 1), 1);
}

static void await(struct leaver *leaver)
{
	char byte;

	CHECK_EQ(read(leaver->done[0], &byte, 1), 1);
}

static void everybody_leaves(const unsigned int order[LEAVERS], unsigned int ways, bool unlinked)
{
	struct leaver leavers[LEAVERS];
	struct shmkv_recovery report = { .size = sizeof(report) };
	unsigned int i, k, way, n_writes = 0;
	pid_t pids[LEAVERS];
	struct skv_segment s;
	struct shmkv *kv;
	int64_t n;

	skv_segment_begin(&s, MIB);
	for (i = 0; i < LEAVERS; i++) {
		leavers[i].s = s;
		leavers[i].me = i;
		CHECK_EQ(pipe(leavers[i].tell), 0);
		CHECK_EQ(pipe(leavers[i].done), 0);
		pids[i] = skv_fork(obey, &leavers[i]);
		await(&leavers[i]);
	}
	CHECK(shmkv_detach(s.kv) == NULL);
	if (unlinked) {
		CHECK_EQ(shmkv_unlink(s.name), 0);
		CHECK_EQ(shmkv_attach(s.name, 0, &kv), -ENOENT);
	}
	for (i = 0; i < LEAVERS; i++, ways /= LEAVE_N) {
		way = ways % LEAVE_N;
		k = order[i];
		if (way == LEAVE_KILL)
			CHECK_EQ(kill(pids[k], SIGKILL), 0);
		else
			tell(&leavers[k], way == LEAVE_EXIT ? 'x' : 'd');
		if (way == LEAVE_KILL)
			skv_test_wait_killed(pids[k], SIGKILL);
		else
			skv_test_wait_ok(pids[k]);
		/* Those who are still there have their map. */
		for (k = i + 1; k < LEAVERS; k++) {
			tell(&leavers[order[k]], 'w');
			await(&leavers[order[k]]);
			n_writes++;
		}
	}
	if (!unlinked) {
		CHECK_EQ(shmkv_attach(s.name, 0, &s.kv), 0);
		CHECK_EQ(shmkv_get_int(s.kv, KEY("all"), &n), 0);
		CHECK_EQ(n, n_writes);
		CHECK_EQ(shmkv_recover(s.kv, &report), 0);
		skv_segment_end(&s);
	}
	for (i = 0; i < LEAVERS; i++) {
		for (k = 0; k < 2; k++) {
			close(leavers[i].tell[k]);
			close(leavers[i].done[k]);
		}
	}
}

static void whoever_leaves_last_and_however_changes_nothing(void)
{
	static const unsigned int orders[][LEAVERS] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
							{ 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	unsigned int ways, i;

	for (i = 0; i < ARRAY_LEN(orders); i++) {
		for (ways = 0; ways < LEAVE_N * LEAVE_N * LEAVE_N; ways++)
			everybody_leaves(orders[i], ways, (ways + i) % 3 == 0);
	}
}

/* ---- the length of the file ---------------------------------------------------------- */

static void no_call_changes_the_length_of_the_file(void)
{
	struct skv_segment s;
	char path[256];
	struct stat before, after;
	struct shmkv *kv;
	uint64_t key;
	int r = 0;

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_file(s.name, path);
	CHECK_EQ(stat(path, &before), 0);
	skv_segment_populate(s.kv);
	for (key = 0; r == 0; key++)
		r = shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 2000), NULL);
	CHECK_EQ(r, -ENOSPC);
	CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
	CHECK_EQ(shmkv_maintain(s.kv), 0);
	kv = skv_segment_attach(&s, 0);
	CHECK_EQ(shmkv_recover(kv, &(struct shmkv_recovery){ .size = sizeof(struct shmkv_recovery) }),
		 0);
	CHECK(shmkv_detach(kv) == NULL);
	CHECK_EQ(stat(path, &after), 0);
	CHECK_EQ(after.st_size, before.st_size);
	CHECK_EQ(after.st_ino, before.st_ino);
	skv_segment_end(&s);
}

/* ---- somebody who enumerates ---------------------------------------------------------- */

#ifdef SKV_TINY
#define SCANNED 500u
#else
#define SCANNED 5000u
#endif

static void scan_and_stop_in_the_middle(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	unsigned int n = 0;
	int r;

	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	while ((r = shmkv_scan_next(scan, &entry)) > 0) {
		if (++n == SCANNED / 2)
			raise(SIGSTOP);
	}
	CHECK_EQ(r, 0);
	/* Those that were there all the time, at least. */
	CHECK(n >= SCANNED / 2);
	CHECK(shmkv_scan_end(scan) == NULL);
	CHECK(shmkv_detach(kv) == NULL);
}

static void somebody_stopped_in_a_scan_holds_up_nobody(void)
{
	struct skv_segment s;
	unsigned int round;
	int status;
	uint64_t key, used;
	pid_t pid;

	skv_segment_begin(&s, 4 * MIB);
	for (key = 0; key < SCANNED; key++)
		CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 100), NULL), 0);
	used = skv_segment_used(s.kv);
	pid = skv_fork(scan_and_stop_in_the_middle, &s);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status));
	/* All of it is replaced and removed, many times, and no memory waits for the scanner. */
	for (round = 0; round < 4; round++) {
		for (key = 0; key < SCANNED; key++)
			CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 100), NULL), 0);
		for (key = 0; key < SCANNED; key += 2) {
			CHECK_EQ(shmkv_del(s.kv, &key, 8), 0);
			CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 100), NULL), 0);
		}
	}
	CHECK_EQ(skv_segment_used(s.kv), used);
	CHECK_EQ(kill(pid, SIGCONT), 0);
	skv_test_wait_ok(pid);
	skv_segment_end(&s);
}

/* ---- signals beside somebody who is stopped -------------------------------------------- */

#ifdef SKV_FAULT_POINTS

static const enum skv_fault_point stops[] = {
	SKV_FAULT_ALLOC_CLAIMED, SKV_FAULT_CLAIM_CHUNK,	  SKV_FAULT_WRITE_COMPLETE,
	SKV_FAULT_WRITE_GUARDED, SKV_FAULT_WRITE_LINKED,  SKV_FAULT_SETTLE_BEFORE_FREE,
	SKV_FAULT_LEAF_CLAIMED,	 SKV_FAULT_LEAF_FORWARD,  SKV_FAULT_LEAF_FREEZE,
	SKV_FAULT_LEAF_SWITCHED, SKV_FAULT_REMOVE_UNLINKED,
};

struct beside {
	struct skv_segment s;
	enum skv_fault_point point;
	bool waits;
	int *n; /* rounds that the one who works has done */
};

static void write_on_and_on(struct shmkv *kv, int *n)
{
	uint64_t key = 0;

	for (;; key = (key + 1) % 400) {
		shmkv_put(kv, &key, 8, shmkv_bin(payload, key % 7 * 300), NULL);
		if (key % 3 == 0)
			shmkv_del(kv, &key, 8);
		__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST);
	}
}

static void run_into_the_point(void *arg)
{
	struct beside *beside = arg;
	int n;

	skv_fault_arm(NULL, beside->point, 1, SKV_FAULT_STOP, NULL, NULL);
	write_on_and_on(skv_segment_attach(&beside->s, 0), &n);
}

static void work_or_wait(void *arg)
{
	struct beside *beside = arg;
	struct shmkv *kv = skv_segment_attach(&beside->s, 0);
	struct shmkv_recovery report = { .size = sizeof(report) };

	CHECK_EQ(shmkv_recover(kv, &report), 0);
	if (!beside->waits)
		write_on_and_on(kv, beside->n);
	__atomic_store_n(beside->n, 1000, __ATOMIC_SEQ_CST);
	/* For ever, as far as anybody here lives to see. */
	shmkv_wait(kv, KEY("none"), 0, UINT64_MAX, NULL);
	_exit(3);
}

static void whoever_works_beside_the_stopped_can_be_terminated(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct beside beside;
	pid_t stopped, other;
	unsigned int i;
	int status;

	beside.n = skv_shared(sizeof(*beside.n));
	for (i = 0; i < 2 * ARRAY_LEN(stops); i++) {
		skv_segment_begin(&beside.s, 2 * MIB);
		beside.point = stops[i / 2];
		beside.waits = i % 2;
		*beside.n = 0;
		stopped = skv_fork(run_into_the_point, &beside);
		CHECK_EQ(waitpid(stopped, &status, WUNTRACED), stopped);
		CHECK(WIFSTOPPED(status));
		other = skv_fork(work_or_wait, &beside);
		while (__atomic_load_n(beside.n, __ATOMIC_SEQ_CST) < 1000)
			usleep(100);
		CHECK_EQ(kill(other, SIGTERM), 0);
		skv_test_wait_killed(other, SIGTERM);
		CHECK_EQ(kill(stopped, SIGKILL), 0);
		skv_test_wait_killed(stopped, SIGKILL);
		CHECK_EQ(shmkv_recover(beside.s.kv, &report), 0);
		skv_segment_end(&beside.s);
	}
}

#endif

/* ---- table --------------------------------------------------------------------------- */

const struct skv_test skv_tests_hazards[] = {
	/* hazard 2 */
	{ "hazards", "misses stay short after churn", misses_stay_short_after_churn, 60 },
	/* hazard 4 */
	{ "hazards", "small buffers in a loop leave nothing", small_buffers_in_a_loop_leave_nothing,
	  30 },
	/* hazard 15 */
	{ "hazards", "whoever leaves last and however changes nothing",
	  whoever_leaves_last_and_however_changes_nothing, 60 },
	/* hazard 17 */
	{ "hazards", "no call changes the length of the file", no_call_changes_the_length_of_the_file,
	  20 },
	/* hazard 19 */
	{ "hazards", "somebody stopped in a scan holds up nobody",
	  somebody_stopped_in_a_scan_holds_up_nobody, 30 },
#ifdef SKV_FAULT_POINTS
	/* hazard 31 */
	{ "hazards", "whoever works beside the stopped can be terminated",
	  whoever_works_beside_the_stopped_can_be_terminated, 60 },
#endif
	{ 0 },
};

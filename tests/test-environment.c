/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include <shmkv/view.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-environment: numbers of processes that come round, limits that are set while a map is
 * in use, memory that a control group does not give. docs/guarantees.md says where the rest of
 * what surrounds a process is tested.
 */

static uint8_t payload[60000];

/* ---- process numbers that are used again ---------------------------------------------- */

struct wrap {
	struct skv_segment s;
	bool joins; /* whoever gets the number of the dead one attaches, too */
	bool *skipped;
};

static void attach_write_and_stay(void *arg)
{
	struct wrap *wrap = arg;
	struct shmkv *kv = skv_segment_attach(&wrap->s, 0);

	CHECK_EQ(shmkv_incr(kv, KEY("n"), 1, 0, NULL), 0);
	raise(SIGSTOP);
	CHECK(shmkv_detach(kv) == NULL);
}

static void stay(void *arg)
{
	(void)arg;
	raise(SIGSTOP);
}

/* The next child of this pid namespace gets @pid. */
static bool next_pid_is(pid_t pid)
{
	char text[32];
	ssize_t n;
	int fd;

	fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	snprintf(text, sizeof(text), "%d", (int)pid - 1);
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

static void await_stopped(pid_t pid)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status));
}

/* Inside a pid namespace where nobody else takes numbers. */
static void use_a_number_again(void *arg)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct wrap *wrap = arg;
	struct shmkv *kv = skv_segment_attach(&wrap->s, 0);
	pid_t dead, next;

	dead = skv_fork(attach_write_and_stay, wrap);
	await_stopped(dead);
	/* The test's own process is the third. */
	CHECK_EQ(skv_segment_info(kv).processes, 3);
	CHECK_EQ(kill(dead, SIGKILL), 0);
	skv_test_wait_killed(dead, SIGKILL);
	if (!next_pid_is(dead)) {
		*wrap->skipped = true;
	} else {
		next = skv_fork(wrap->joins ? attach_write_and_stay : stay, wrap);
		CHECK_EQ(next, dead);
		await_stopped(next);
		/* Attaching has recovered the dead one; else he is as dead as he was. */
		CHECK_EQ(skv_segment_info(kv).processes, 3);
		CHECK_EQ(skv_segment_info(kv).processes_dead, wrap->joins ? 0 : 1);
		CHECK_EQ(shmkv_recover(kv, &report), 0);
		CHECK_EQ(report.processes, wrap->joins ? 0 : 1);
		CHECK_EQ(skv_segment_info(kv).processes, wrap->joins ? 3 : 2);
		CHECK_EQ(kill(next, SIGCONT), 0);
		skv_test_wait_ok(next);
	}
	CHECK(shmkv_detach(kv) == NULL);
}

static void enter_a_pid_namespace(void *arg)
{
	struct wrap *wrap = arg;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0) {
		*wrap->skipped = true;
		return;
	}
	pid = skv_fork(use_a_number_again, wrap);
	skv_test_wait_ok(pid);
}

static void number_used_again_does_not_bring_the_dead_back(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct wrap wrap = { .skipped = skv_shared(sizeof(bool)) };
	pid_t pid;
	int i;

	for (i = 0; i < 2; i++) {
		skv_segment_begin(&wrap.s, 2 * MIB);
		wrap.joins = i;
		pid = skv_fork(enter_a_pid_namespace, &wrap);
		skv_test_wait_ok(pid);
		CHECK_EQ(shmkv_recover(wrap.s.kv, &report), 0);
		skv_segment_end(&wrap.s);
	}
	if (*wrap.skipped)
		skv_test_skip("the next process number cannot be chosen here");
}

/* ---- limits --------------------------------------------------------------------------- */

static uint64_t address_space(void)
{
	unsigned long pages;
	FILE *f = fopen("/proc/self/statm", "r");

	CHECK(f != NULL);
	CHECK_EQ(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void attach_and_stay(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);

	CHECK_EQ(shmkv_put(kv, KEY("of the dead"), shmkv_int(1), NULL), 0);
	raise(SIGSTOP);
}

/* Every kind of call on a key, with values of every kind of memory. */
static void use_all(struct shmkv *kv)
{
	static const size_t lens[] = { 10, 700, 12000, 50000 };
	struct shmkv_value value;
	struct shmkv_view view;
	uint64_t key, token;
	int64_t n;
	size_t i;

	for (key = 0; key < 2000; key++)
		CHECK_EQ(shmkv_put(kv, &key, 8, shmkv_bin(payload, lens[key % 64 == 0 ? key / 64 % 4 : 0]),
				   NULL),
			 0);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_bin(payload, lens[i]), NULL), 0);
		CHECK_EQ(shmkv_get(kv, KEY("k"), payload, sizeof(payload), &value, &token), 0);
		CHECK_EQ(shmkv_cas(kv, KEY("k"), token, shmkv_bin(payload, lens[i] / 2), NULL), 0);
		CHECK_EQ(shmkv_append(kv, KEY("k"), shmkv_bin(payload, 10), NULL), 0);
		CHECK_EQ(shmkv_view_begin(kv, KEY("k"), &view), 0);
		CHECK_EQ(shmkv_del(kv, KEY("k")), 0);
		CHECK_EQ(shmkv_view_end(&view), 0);
		CHECK_EQ(shmkv_wait(kv, KEY("k"), 0, 1, NULL), -ETIMEDOUT);
		CHECK_EQ(shmkv_incr(kv, KEY("n"), 1, 0, &n), 0);
	}
	for (key = 0; key < 2000; key++)
		CHECK_EQ(shmkv_del(kv, &key, 8), 0);
}

static void use_all_within_limits(void *arg)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct rlimit none = { 0, 0 }, space = { RLIM_INFINITY, RLIM_INFINITY };
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);

	/* A thread's place is taken with its first write. */
	CHECK_EQ(shmkv_incr(kv, KEY("n"), 1, 0, NULL), 0);
	/* Sanitizers map memory of their own as they go. */
	if (!skv_test_is_slow())
		space.rlim_cur = space.rlim_max = address_space();
	CHECK_EQ(setrlimit(RLIMIT_AS, &space), 0);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	/* Whoever writes to a file beyond this is sent a signal; also this test's own messages. */
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
	use_all(kv);
	raise(SIGSTOP);
	/* Who is dead can be found out, too. */
	CHECK_EQ(shmkv_recover(kv, &report), 0);
	CHECK_EQ(report.processes, 1);
	use_all(kv);
	CHECK(shmkv_detach(kv) == NULL);
}

static void limits_that_come_later_stop_no_call(void)
{
	struct skv_segment s;
	pid_t dead, pid;

	skv_segment_begin(&s, 16 * MIB);
	dead = skv_fork(attach_and_stay, &s);
	await_stopped(dead);
	pid = skv_fork(use_all_within_limits, &s);
	await_stopped(pid);
	CHECK_EQ(kill(dead, SIGKILL), 0);
	skv_test_wait_killed(dead, SIGKILL);
	CHECK_EQ(kill(pid, SIGCONT), 0);
	skv_test_wait_ok(pid);
	CHECK_EQ(shmkv_exists(s.kv, KEY("of the dead")), 0);
	skv_segment_end(&s);
}

/* ---- a control group without memory ---------------------------------------------------- */

#define GROUP_BYTES ((uint64_t)4 << 20)

struct group {
	struct skv_segment s;
	char path[256];
};

static bool write_file(const char *dir, const char *name, uint64_t number)
{
	char path[400], text[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

static void fill_inside(void *arg)
{
	struct group *group = arg;
	struct shmkv *kv;
	uint64_t key;
	int r = 0;

	if (!write_file(group->path, "cgroup.procs", (uint64_t)getpid()))
		_exit(3);
	kv = skv_segment_attach(&group->s, 0);
	for (key = 0; r == 0; key++)
		r = shmkv_put(kv, &key, 8, shmkv_bin(payload, 1000), NULL);
	CHECK_EQ(r, -ENOSPC);
	CHECK_EQ(shmkv_exists(kv, &(uint64_t){ 0 }, 8), 0);
	CHECK(shmkv_detach(kv) == NULL);
}

/*
 * The kernel refuses the memory, or kills. Which control group a test may use is for the
 * machine's owner to say: SKV_TEST_CGROUP names an empty one with a memory controller.
 */
static void control_group_without_memory_costs_its_members_only(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	const char *path = getenv("SKV_TEST_CGROUP");
	struct group group;
	uint64_t key, n = 0;
	int status;
	pid_t pid;

	if (!path || (!write_file(path, "memory.max", GROUP_BYTES) &&
		      !write_file(path, "memory.limit_in_bytes", GROUP_BYTES))) {
		skv_test_skip("SKV_TEST_CGROUP names no control group whose memory can be limited");
		return;
	}
	skv_segment_begin(&group.s, 64 * MIB);
	snprintf(group.path, sizeof(group.path), "%s", path);
	pid = skv_fork(fill_inside, &group);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	      (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
	CHECK_EQ(shmkv_recover(group.s.kv, &report), 0);
	for (key = 0; shmkv_exists(group.s.kv, &key, 8) == 0; key++)
		n++;
	CHECK(n > 0 && n * 1000 < 64 * MIB);
	CHECK_EQ(skv_segment_count(group.s.kv), n);
	/* Whoever is not in the group has all the room that there is. */
	for (; key < 2 * n; key++)
		CHECK_EQ(shmkv_put(group.s.kv, &key, 8, shmkv_bin(payload, 1000), NULL), 0);
	skv_segment_end(&group.s);
}

/* ---- table --------------------------------------------------------------------------- */

const struct skv_test skv_tests_environment[] = {
	/* hazard 11 */
	{ "environment", "a process number used again does not bring the dead back",
	  number_used_again_does_not_bring_the_dead_back, 20 },
	{ "environment", "limits that come later stop no call", limits_that_come_later_stop_no_call,
	  30 },
	/* hazard 16 */
	{ "environment", "a control group without memory costs its members only",
	  control_group_without_memory_costs_its_members_only, 60 },
	{ 0 },
};

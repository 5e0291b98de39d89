/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * test-full: a map without room, and a file system without room under it. Each is an error that
 * changes nothing, never a signal; removing and reading go on.
 */

static uint8_t payload[(size_t)1 << 20];

static uint8_t out[1 << 17];
static size_t out_len;
static int64_t out_int;
static uint64_t out_uint;

#ifndef SKV_TINY

/* ---- full map -------------------------------------------------------------------------- */

static uint64_t fill_up(struct shmkv *kv, uint64_t first, size_t len)
{
	uint64_t i;
	int r;

	for (i = first;; i++) {
		r = shmkv_add(kv, &i, sizeof(i), shmkv_bin(payload, len), NULL);
		if (r == -ENOSPC)
			return i;
		CHECK_EQ(r, 0);
	}
}

/*
 * Adds keys without a value until none of a thousand fits. One that does not fit says little: it
 * may be its leaf that is full, with a block for a value to be had.
 */
static void fill_up_all_leaves(struct shmkv *kv)
{
	uint64_t i, refused = 0;
	int r;

	for (i = (uint64_t)1 << 32; refused < 1000; i++) {
		r = shmkv_add(kv, &i, sizeof(i), shmkv_bin(payload, 0), NULL);
		if (r < 0)
			CHECK_EQ(r, -ENOSPC);
		refused = r < 0 ? refused + 1 : 0;
	}
}

static void full_segment_refuses_what_stores_and_does_the_rest(void)
{
	static const size_t lens[] = { 20, 300, 5000, 20000, 100000 };
	struct skv_snapshot before;
	struct skv_segment s;
	uint64_t n, i, token, absent = UINT64_MAX;
	struct shmkv_value v, found;
	size_t k, round;

	skv_fill(payload, sizeof(payload), 1);
	/* Each round has another hash key, so other leaves are about to be replaced. */
	for (round = 0; round < 40 * ARRAY_LEN(lens); round++) {
		k = round % ARRAY_LEN(lens);
		if (round >= ARRAY_LEN(lens) && lens[k] < 20000)
			continue;
		skv_segment_begin(&s, 2 * MIB);
		CHECK_EQ(shmkv_put(s.kv, KEY("int"), shmkv_int(7), NULL), 0);
		n = fill_up(s.kv, 0, lens[k]);
		CHECK(n > 10);
		/* Not a byte is left: what is smaller goes in too, until nothing does. */
		fill_up_all_leaves(s.kv);
		v = shmkv_bin(payload, lens[k]);
		i = 0;
		CHECK_EQ(shmkv_get(s.kv, &i, 8, out, sizeof(out), &found, &token), 0);
		before = skv_segment_snapshot(s.kv);

		/* Every call that stores. Updates need a block of their own before the old one
		 * is free. */
		CHECK_EQ(shmkv_put(s.kv, &absent, 8, v, NULL), -ENOSPC);
		CHECK_EQ(shmkv_add(s.kv, &absent, 8, v, NULL), -ENOSPC);
		CHECK_EQ(shmkv_append(s.kv, &absent, 8, v, NULL), -ENOSPC);
		CHECK_EQ(shmkv_put(s.kv, &i, 8, v, NULL), -ENOSPC);
		CHECK_EQ(shmkv_replace(s.kv, &i, 8, v, NULL), -ENOSPC);
		CHECK_EQ(shmkv_cas(s.kv, &i, 8, token, v, NULL), -ENOSPC);
		CHECK_EQ(shmkv_append(s.kv, &i, 8, shmkv_bin("x", 1), NULL), -ENOSPC);
		CHECK_EQ(shmkv_incr(s.kv, KEY("int"), 1, 0, NULL), -ENOSPC);
		CHECK_EQ(shmkv_incr(s.kv, KEY("other"), 1, 0, NULL), -ENOSPC);
		/* A condition that does not hold is told before there is no room. */
		CHECK_EQ(shmkv_add(s.kv, &i, 8, v, NULL), -EEXIST);
		CHECK_EQ(shmkv_replace(s.kv, &absent, 8, v, NULL), -ENOENT);
		CHECK_EQ(shmkv_cas(s.kv, &i, 8, token + 1, v, NULL), -ESTALE);
		CHECK_EQ(shmkv_del(s.kv, &absent, 8), -ENOENT);
		skv_segment_unchanged(s.kv, &before);

		/* One goes, one fits; for a hundred times on every key. */
		for (i = 0; i < n && i < 3000; i++) {
			if (i % 2)
				CHECK_EQ(shmkv_del(s.kv, &i, 8), 0);
			else
				CHECK_EQ(shmkv_take(s.kv, &i, 8, out, sizeof(out), &out_len), 0);
			CHECK_EQ(shmkv_put(s.kv, &i, 8, v, NULL), 0);
		}
		for (i = 0; i < n; i++) {
			CHECK_EQ(shmkv_get_bin(s.kv, &i, 8, out, sizeof(out), &out_len), 0);
			CHECK_MEM(out, out_len, payload, lens[k]);
		}
		CHECK_EQ(shmkv_get_int(s.kv, KEY("int"), &out_int), 0);
		CHECK_EQ(out_int, 7);
		CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
		CHECK_EQ(shmkv_put(s.kv, &absent, 8, v, NULL), 0);
		skv_segment_end(&s);
	}
}

#endif

/* ---- full file system --------------------------------------------------------------- */

/*
 * A small tmpfs of this test's own as the folder of segments, or the test is skipped. The
 * namespace ends with the process, and the mount with it.
 */
static void enter_small_tmpfs(uint64_t bytes)
{
	char options[64];
	static char dir[] = "/tmp/shmkv-limits-XXXXXX";

	CHECK(mkdtemp(dir) != NULL);
	snprintf(options, sizeof(options), "size=%llu,mode=0700", (unsigned long long)bytes);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, options) < 0) {
		rmdir(dir);
		skv_test_skip("mounting a file system needs privileges");
	}
	CHECK_EQ(setenv("SHMKV_DIR", dir, 1), 0);
}

static void leave_small_tmpfs(void)
{
	const char *dir = getenv("SHMKV_DIR");

	CHECK_EQ(umount2(dir, MNT_DETACH), 0);
	CHECK_EQ(rmdir(dir), 0);
}

static unsigned int count_files(void)
{
	char command[300];
	unsigned int n = 0;
	FILE *pipe;

	snprintf(command, sizeof(command), "ls -A %s | wc -l", getenv("SHMKV_DIR"));
	pipe = popen(command, "r");
	CHECK(pipe && fscanf(pipe, "%u", &n) == 1);
	pclose(pipe);
	return n;
}

/* A file that takes the rest of the file system, to the last page. */
static void take_the_rest(void)
{
	char path[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/filler", getenv("SHMKV_DIR"));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	while ((n = write(fd, payload, 4096)) == 4096)
		;
	CHECK(n < 0 && errno == ENOSPC);
	close(fd);
}

static void give_the_rest_back(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/filler", getenv("SHMKV_DIR"));
	CHECK_EQ(unlink(path), 0);
}

static void create_on_a_full_file_system_leaves_nothing(void)
{
	struct shmkv *kv = NULL;
	char name[64];
	int r, n = 0;

	/* From nothing to a file system that is large enough, page by page. */
	enter_small_tmpfs(MIB);
	skv_segment_name(name);
	take_the_rest();
	for (;;) {
		char path[256];
		struct stat st;

		r = shmkv_create(name, NULL, &kv);
		if (r == 0)
			break;
		CHECK_EQ(r, -ENOSPC);
		CHECK(kv == NULL);
		CHECK_EQ(count_files(), 1);
		CHECK_EQ(shmkv_attach(name, 0, &kv), -ENOENT);
		snprintf(path, sizeof(path), "%s/filler", getenv("SHMKV_DIR"));
		CHECK_EQ(stat(path, &st), 0);
		CHECK(st.st_size > 0);
		CHECK_EQ(truncate(path, st.st_size - 4096), 0);
		n++;
	}
	CHECK(n > 3);
	/* It has all that an empty map needs; the first write may need more. */
	CHECK_EQ(shmkv_count(kv, &out_uint), 0);
	CHECK_EQ(shmkv_exists(kv, KEY("k")), -ENOENT);
	r = shmkv_put(kv, KEY("k"), shmkv_int(1), NULL);
	CHECK(r == 0 || r == -ENOSPC);
	skv_segment_check(kv);
	shmkv_detach(kv);
	leave_small_tmpfs();
}

static void full_file_system_is_an_error_and_never_a_signal(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct skv_snapshot before;
	struct shmkv *kv, *other;
	char name[64];
	uint64_t n, i, m;
	pid_t pid;
	int r;

	skv_fill(payload, sizeof(payload), 3);
	enter_small_tmpfs(6 * MIB);
	skv_segment_name(name);
	opts.max_bytes = 64 * MIB;
	CHECK_EQ(shmkv_create(name, &opts, &kv), 0);
	for (n = 0;; n++) {
		r = shmkv_put(kv, &n, 8, shmkv_bin(payload, n % 700), NULL);
		if (r < 0)
			break;
		/* Large ones ask for much at once. */
		if (n % 100 == 99) {
			m = UINT64_MAX - n;
			r = shmkv_put(kv, &m, 8, shmkv_bin(payload, 40000), NULL);
			if (r < 0)
				break;
		}
	}
	CHECK_EQ(r, -ENOSPC);
	CHECK(n > 2000);
	take_the_rest();
	before = skv_segment_snapshot(kv);
	m = UINT64_MAX;
	CHECK_EQ(shmkv_put(kv, &m, 8, shmkv_bin(payload, 500000), NULL), -ENOSPC);
	CHECK_EQ(shmkv_put(kv, &m, 8, shmkv_bin(payload, 30000), NULL), -ENOSPC);
	skv_segment_unchanged(kv, &before);

	/* Everybody can come, read, and remove; also somebody new, read-write. */
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(shmkv_attach(name, 0, &other), 0);
		for (i = 0; i < n; i++) {
			CHECK_EQ(shmkv_get_bin(other, &i, 8, out, sizeof(out), &out_len), 0);
			CHECK_MEM(out, out_len, payload, i % 700);
		}
		CHECK_EQ(shmkv_put(other, &m, 8, shmkv_bin(payload, 500000), NULL), -ENOSPC);
		for (i = 0; i < 100; i++)
			CHECK_EQ(shmkv_del(other, &i, 8), 0);
		_exit(0);
	}
	skv_test_wait_ok(pid);
	CHECK_EQ(shmkv_attach(name, SHMKV_READ_ONLY, &other), 0);
	skv_segment_check(other);
	shmkv_detach(other);
	for (i = 0; i < 100; i++)
		CHECK_EQ(shmkv_put(kv, &i, 8, shmkv_bin(payload, i % 700), NULL), 0);

	/* Work for a while with no page to be had: whatever happens is an error at most. */
	for (i = 0; i < 30000; i++) {
		m = i % n;
		r = i % 3 ? shmkv_put(kv, &m, 8, shmkv_bin(payload, (i * 7) % 700), NULL) :
			    shmkv_del(kv, &m, 8);
		CHECK(r == 0 || r == -ENOENT || r == -ENOSPC);
	}
	skv_segment_check(kv);

	/* Room again, and it goes on. */
	give_the_rest_back();
	CHECK_EQ(shmkv_clear(kv, NULL), 0);
	for (i = 0; i < n / 2; i++)
		CHECK_EQ(shmkv_put(kv, &i, 8, shmkv_bin(payload, i % 700), NULL), 0);
	skv_segment_check(kv);
	shmkv_detach(kv);
	leave_small_tmpfs();
}

static int thread_result;

static void *put_from_a_thread(void *arg)
{
	thread_result = shmkv_put(arg, KEY("thread"), shmkv_int(1), NULL);
	return NULL;
}

static void growth_of_every_table_on_a_full_file_system_is_an_error(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv[20];
	pthread_t thread;
	char name[64];
	uint64_t i;
	size_t k;
	int r;

	/* Contexts: a page holds four; the fifth thread needs another page. */
	enter_small_tmpfs(6 * MIB);
	skv_segment_name(name);
	opts.max_bytes = 64 * MIB;
	CHECK_EQ(shmkv_create(name, &opts, &kv[0]), 0);
	CHECK_EQ(shmkv_put(kv[0], KEY("k"), shmkv_int(1), NULL), 0);
	take_the_rest();
	for (k = 1; k < ARRAY_LEN(kv); k++) {
		CHECK_EQ(shmkv_attach(name, 0, &kv[k]), 0);
		r = shmkv_put(kv[k], KEY("k"), shmkv_int((int64_t)k), NULL);
		CHECK_EQ(r, k < 4 ? 0 : -ENOSPC);
		CHECK_EQ(shmkv_get_int(kv[k], KEY("k"), &out_int), 0);
		CHECK_EQ(out_int, k < 4 ? k : 3);
	}
	CHECK_EQ(pthread_create(&thread, NULL, put_from_a_thread, kv[12]), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(thread_result, -ENOSPC);
	/* One who goes makes room for one. */
	shmkv_detach(kv[3]);
	CHECK_EQ(shmkv_put(kv[10], KEY("k"), shmkv_int(10), NULL), 0);
	give_the_rest_back();
	CHECK_EQ(shmkv_put(kv[11], KEY("k"), shmkv_int(11), NULL), 0);

	/* Directory: small records make many leaves. */
	for (i = 0;; i++) {
		r = shmkv_put(kv[0], &i, 8, shmkv_int((int64_t)i), NULL);
		if (r < 0)
			break;
	}
	CHECK_EQ(r, -ENOSPC);
	CHECK_EQ(skv_segment_check(kv[0]).keys, i + 1);
	for (k = 0; k < ARRAY_LEN(kv); k++) {
		if (k != 3)
			shmkv_detach(kv[k]);
	}
	leave_small_tmpfs();
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_full[] = {
#ifndef SKV_TINY
	/* With tiny leaves a map is full for one key and not for another. */
	{ "full", "a full segment refuses what stores and does the rest",
	  full_segment_refuses_what_stores_and_does_the_rest, 60 },
#endif
	{ "full", "create on a full file system leaves nothing",
	  create_on_a_full_file_system_leaves_nothing, 30 },
	/* hazard 16 */
	{ "full", "a full file system is an error and never a signal",
	  full_file_system_is_an_error_and_never_a_signal, 60 },
	/* hazard 16 */
	{ "full", "growth of every table on a full file system is an error",
	  growth_of_every_table_on_a_full_file_system_is_an_error, 60 },
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "shm/class.h"
#include "shm/layout.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-store: the engine as a whole, on real segments: that memory comes back in every size,
 * and that nothing is lost, doubled or made up while several processes work on one key.
 */

/* ---- helpers --------------------------------------------------------------------- */

#define PAYLOAD_MAX ((size_t)1 << 20)

static uint8_t payload[PAYLOAD_MAX];

static void put_u64(struct shmkv *kv, uint64_t key, size_t len)
{
	CHECK_EQ(shmkv_put(kv, &key, sizeof(key), shmkv_bin(payload, len), NULL), 0);
}

static void del_u64(struct shmkv *kv, uint64_t key)
{
	CHECK_EQ(shmkv_del(kv, &key, sizeof(key)), 0);
}

/* Stores values of one size under 0, 1, .. until the map is full; returns how many. */
static uint64_t fill_up(struct shmkv *kv, size_t len)
{
	uint64_t i;
	int r;

	for (i = 0; i < 10000000; i++) {
		r = shmkv_add(kv, &i, sizeof(i), shmkv_bin(payload, len), NULL);
		if (r == -ENOSPC)
			return i;
		CHECK_EQ(r, 0);
	}
	skv_test_fail(__FILE__, __LINE__, "ten million values of %zu bytes fit", len);
}

/* ---- memory comes back -------------------------------------------------------------- */

static void freed_slabs_serve_every_other_class(void)
{
	static const size_t lens[] = { 0, 1000, 8, 500, 100, 0, 900, 30 };
	struct skv_segment s;
	uint64_t n, i, round, other, refused;
	size_t k;
	int r;

	skv_segment_begin(&s, 2 * MIB);
	for (k = 0; k < ARRAY_LEN(lens); k++) {
		n = fill_up(s.kv, lens[k]);
		/* Frees and takes while it is full, so that hints of this class come into use
		 * on top of what the last class left. */
		for (round = 0; round < 3; round++) {
			for (i = round; i < n; i += 3)
				del_u64(s.kv, i);
			for (i = round; i < n; i += 3)
				put_u64(s.kv, i, lens[k]);
		}
		CHECK_EQ(skv_segment_check(s.kv).keys, n);
		/* All go and others come: leaves are compacted in the full map. A new key may meet
		 * a leaf that is full, and no memory for a second one. */
		for (i = 0, refused = 0; i < n; i++) {
			other = i + ((uint64_t)1 << 32);
			del_u64(s.kv, i);
			r = shmkv_put(s.kv, &other, sizeof(other), shmkv_bin(payload, lens[k]), NULL);
			CHECK(r == 0 || r == -ENOSPC);
			refused += r < 0;
		}
		CHECK(refused < n / 10);
		CHECK_EQ(skv_segment_check(s.kv).keys, n - refused);
		CHECK_EQ(shmkv_clear(s.kv, &i), 0);
		CHECK_EQ(i, n - refused);
		skv_segment_check(s.kv);
	}
	skv_segment_end(&s);
}

static void no_room_is_not_said_while_another_handle_has_freed_some(void)
{
	struct skv_segment s;
	struct shmkv *other;
	uint64_t n, m, i;
	int r;

	skv_segment_begin(&s, 2 * MIB);
	other = skv_segment_attach(&s, 0);
	put_u64(s.kv, UINT64_MAX, 200 * KIB);
	n = fill_up(s.kv, 100);
	/* Chunks come back, so memory is not low any more, and blocks that are freed now are
	 * known to the handle that freed them only. */
	del_u64(s.kv, UINT64_MAX);
	for (i = 0; i < 50; i++)
		del_u64(other, i);
	for (m = n;; m++) {
		r = shmkv_add(s.kv, &m, sizeof(m), shmkv_bin(payload, 100), NULL);
		if (r == -ENOSPC)
			break;
		CHECK_EQ(r, 0);
	}
	/* What was refused to one is refused to the other. */
	CHECK_EQ(shmkv_add(other, &m, sizeof(m), shmkv_bin(payload, 100), NULL), -ENOSPC);
	CHECK(shmkv_detach(other) == NULL);
	skv_segment_end(&s);
}

/* ---- while others write ------------------------------------------------------------ */

static void grow_until_full(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);
	unsigned int round;

	for (round = 0; round < 2; round++) {
		fill_up(kv, 30);
		CHECK_EQ(shmkv_clear(kv, NULL), 0);
	}
}

static void check_and_layout_are_safe_while_a_map_grows(void)
{
	struct skv_segment s;
	struct shmkv_audit audit = { .size = sizeof(audit) };
	unsigned int n = 0;
	int status, r;
	pid_t pid;

	skv_segment_begin(&s, 16 * MIB);
	pid = skv_fork(grow_until_full, &s);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		r = shmkv_check(s.kv, NULL, NULL, &audit);
		CHECK(r == 0 || r == -EBADMSG);
		n++;
	}
	CHECK_EQ(status, 0);
	CHECK(n > 2);
	skv_segment_end(&s);
}

struct hot {
	struct skv_segment s;
	size_t len;
	unsigned int rounds;
};

static void put_hot_key(void *arg)
{
	struct hot *hot = arg;
	struct shmkv *kv = skv_segment_attach(&hot->s, 0);
	unsigned int i;

	for (i = 0; i < hot->rounds; i++) {
		put_u64(kv, i % 3, hot->len);
		if (i % 5 == 0) {
			int r = shmkv_del(kv, &(uint64_t){ i % 3 }, 8);

			CHECK(r == 0 || r == -ENOENT);
		}
	}
	CHECK(shmkv_detach(kv) == NULL);
}

static void large_values_of_a_hot_key_leave_no_memory_behind(void)
{
	struct hot hot = { .len = 100 * KIB, .rounds = 3000 };
	pid_t pid[4];
	size_t i;

	skv_segment_begin(&hot.s, 8 * MIB);
	for (i = 0; i < ARRAY_LEN(pid); i++)
		pid[i] = skv_fork(put_hot_key, &hot);
	for (i = 0; i < ARRAY_LEN(pid); i++)
		skv_test_wait_ok(pid[i]);
	/* Nobody died: everything is accounted for without a recovery. */
	skv_segment_check(hot.s.kv);
	CHECK_EQ(shmkv_clear(hot.s.kv, NULL), 0);
	CHECK_EQ(skv_segment_info(hot.s.kv).run_bytes, 0);
	skv_segment_end(&hot.s);
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_store[] = {
	{ "memory", "freed slabs serve every other class", freed_slabs_serve_every_other_class, 20 },
	{ "memory", "no room is not said while another handle has freed some",
	  no_room_is_not_said_while_another_handle_has_freed_some, 20 },
	{ "others", "check and layout are safe while a map grows",
	  check_and_layout_are_safe_while_a_map_grows, 60 },
	{ "others", "large values of a hot key leave no memory behind",
	  large_values_of_a_hot_key_leave_no_memory_behind, 60 },
	{ 0 },
};

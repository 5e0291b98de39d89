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

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_store[] = {
	{ "memory", "freed slabs serve every other class", freed_slabs_serve_every_other_class, 20 },
	{ 0 },
};

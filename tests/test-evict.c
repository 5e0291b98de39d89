/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "bench/cache-run.h"

#ifdef SKV_FAULT_POINTS
#include "base/fault.h"
#endif

#include <shmkv/reserve.h>
#include <shmkv/view.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-evict: a map that evicts is a cache. It is never full for a value that could fit, never gives
 * a wrong one, keeps what is worth keeping, and is as sound as any other map whatever happens.
 */

static uint64_t random_state = 1;

/* In place of libc's: the same hash keys in each run, so that rates of hits are numbers to hold. */
ssize_t getrandom(void *buf, size_t len, unsigned int flags)
{
	uint8_t *p = buf;
	size_t i;

	(void)flags;
	for (i = 0; i < len; i++)
		p[i] = (uint8_t)skv_random(&random_state);
	return (ssize_t)len;
}

static uint8_t payload[1 << 20], out[1 << 20];

static void cache_begin(struct skv_segment *s, enum shmkv_evict evict, uint64_t max_bytes)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;

	opts.max_bytes = max_bytes;
	opts.evict = evict;
	opts.max_processes = 16;
	opts.max_threads = 16;
	skv_segment_begin_with(s, &opts);
}

/* A value tells its key. */
static int put(struct shmkv *kv, uint64_t key, size_t len)
{
	skv_fill(payload, len, key);
	return shmkv_put(kv, &key, 8, shmkv_bin(payload, len), NULL);
}

/* Length of a key's value, or -ENOENT; the content is right or the test fails. */
static int64_t get(struct shmkv *kv, uint64_t key)
{
	size_t len;
	int r = shmkv_get_bin(kv, &key, 8, out, sizeof(out), &len);

	if (r == -ENOENT)
		return r;
	CHECK_EQ(r, 0);
	skv_fill(payload, len, key);
	CHECK_MEM(out, len, payload, len);
	return (int64_t)len;
}

static uint64_t evictions(struct shmkv *kv)
{
	return skv_segment_info(kv).evictions;
}

/* From key @first on until something had to go. */
static uint64_t fill_up(struct shmkv *kv, uint64_t first, size_t len)
{
	uint64_t before = evictions(kv), key = first;

	do
		CHECK_EQ(put(kv, key++, len), 0);
	while (key % 16 != 0 || evictions(kv) == before);
	return key;
}

static const enum shmkv_evict policies[] = { SHMKV_EVICT_LRU, SHMKV_EVICT_LFU };

/* ---- choice ------------------------------------------------------------------------- */

static void policy_is_chosen_at_creation(void)
{
	static const char *const names[] = { "none", "lru", "lfu" };
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv_info info;
	struct skv_segment s;
	struct shmkv *kv = NULL;
	uint64_t plain = 0;
	uint32_t k;

	opts.max_bytes = 4 * MIB;
	opts.evict = 3;
	skv_segment_name(s.name);
	CHECK_EQ(shmkv_create(s.name, &opts, &kv), -EINVAL);
	CHECK_EQ(shmkv_attach(s.name, 0, &kv), -ENOENT);
	for (k = 0; k < 3; k++) {
		cache_begin(&s, (enum shmkv_evict)k, 4 * MIB);
		kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
		info = skv_segment_info(kv);
		CHECK_STR(info.evict, names[k]);
		CHECK_EQ(info.evictions, 0);
		shmkv_detach(kv);
		/* Only those who evict pay for it: a page, and one byte in 64. */
		if (k == 0)
			plain = info.table_bytes;
		else
			CHECK_EQ(info.table_bytes, plain + 4096 + 4 * MIB / 64);
		skv_segment_end(&s);
	}
}

static void without_a_policy_nothing_is_evicted(void)
{
	struct skv_snapshot before;
	struct skv_segment s;
	uint64_t n, i;

	cache_begin(&s, SHMKV_EVICT_NONE, 2 * MIB);
	for (n = 0; put(s.kv, n, 500) == 0; n++)
		;
	CHECK(n > 1000);
	before = skv_segment_snapshot(s.kv);
	for (i = 0; i < n; i++)
		CHECK_EQ(get(s.kv, i), 500);
	CHECK_EQ(put(s.kv, n, 500), -ENOSPC);
	skv_segment_unchanged(s.kv, &before);
	CHECK_EQ(evictions(s.kv), 0);
	skv_segment_end(&s);
}

static void readers_without_permission_note_nothing(void)
{
	struct skv_segment s;
	uint64_t digest, i, n;
	struct shmkv *kv;
	char path[256];
	size_t k;

	for (k = 0; k < ARRAY_LEN(policies); k++) {
		cache_begin(&s, policies[k], 2 * MIB);
		n = fill_up(s.kv, 0, 300);
		kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
		skv_segment_file(s.name, path);
		digest = skv_file_digest(path);
		for (i = 0; i < n; i++) {
			get(kv, i);
			shmkv_exists(kv, &i, 8);
		}
		CHECK_EQ(skv_file_digest(path), digest);
		/* The same by somebody who may: uses are noted, and nothing else. */
		for (i = 0; i < n; i++)
			get(s.kv, i);
		CHECK(skv_file_digest(path) != digest);
		shmkv_detach(kv);
		skv_segment_end(&s);
	}
}

/* ---- room --------------------------------------------------------------------------- */

static void there_is_always_room(void)
{
	static const size_t lens[] = { 0, 32, 100, 700, 3000, 20000, 65536, 300000 };
	struct skv_segment s;
	uint64_t i, n, found;
	size_t k, p;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		for (k = 0; k < ARRAY_LEN(lens); k++) {
			cache_begin(&s, policies[p], 3 * MIB);
			n = 10 * MIB / (lens[k] + 120);
			for (i = 0; i < n; i++) {
				CHECK_EQ(put(s.kv, i, lens[k]), 0);
				CHECK_EQ(get(s.kv, i), lens[k]);
			}
			for (i = found = 0; i < n; i++)
				found += get(s.kv, i) >= 0;
			/* Most of the memory holds keys, and all that is missing was counted. */
			CHECK_EQ(found, skv_segment_count(s.kv));
			CHECK_EQ(found + evictions(s.kv), n);
#ifndef SKV_TINY
			CHECK(found * (lens[k] + 80) > 3 * MIB / 2);
#endif
			skv_segment_end(&s);
		}
	}
}

/* Tiny leaves take most of the memory and stay, so no large record finds a stretch any more. */
#ifndef SKV_TINY

static void sizes_may_change(void)
{
	static const size_t lens[] = { 40, 65000, 200, 9000, 64, 500000, 1500, 32, 30000 };
	struct skv_segment s;
	uint64_t key = 0, found;
	size_t k, p, i;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		cache_begin(&s, policies[p], 4 * MIB);
		for (k = 0; k < 3 * ARRAY_LEN(lens); k++) {
			size_t len = lens[k % ARRAY_LEN(lens)], n = 8 * MIB / (len + 120);

			for (i = 0; i < n; i++) {
				CHECK_EQ(put(s.kv, ++key, len), 0);
				CHECK_EQ(get(s.kv, key), len);
			}
			/* Memory has gone over to them: a third of it at least; by use it goes more
			 * slowly, what is seldom used now was used as often as the new. */
			for (i = 0, found = 0; i < n; i++)
				found += get(s.kv, key - i) == (int64_t)len;
			CHECK(found * (len + 80) > (p == 0 ? 4 * MIB / 3 : MIB / 4));
			skv_segment_check(s.kv);
		}
		skv_segment_end(&s);
	}
}

static void large_value_into_a_segment_full_of_small_ones(void)
{
	struct skv_segment s;
	uint64_t n, i, left;
	size_t k;

	for (k = 0; k < ARRAY_LEN(policies); k++) {
		cache_begin(&s, policies[k], 4 * MIB);
		n = fill_up(s.kv, 0, 60);
		CHECK_EQ(put(s.kv, UINT64_MAX, 900000), 0);
		CHECK_EQ(get(s.kv, UINT64_MAX), 900000);
		/* As many as were in the way, and not all. */
		for (i = left = 0; i < n; i++)
			left += get(s.kv, i) == 60;
		CHECK(left > n / 3);
		CHECK(left < n);
		CHECK_EQ(left + 1, skv_segment_count(s.kv));
		skv_segment_end(&s);
	}
}

#endif

/* By chance one leaf is too full and then another one; they are not all split for that. */
static void leaves_do_not_take_over(void)
{
	struct skv_segment s;
	uint64_t i, early = 0, state = 1;
	size_t p;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		cache_begin(&s, policies[p], 2 * MIB);
		for (i = 0; i < 400000; i++) {
			if (i == 80000)
				early = skv_segment_info(s.kv).leaf_bytes;
			CHECK_EQ(put(s.kv, i, 40), 0);
			if (i % 2)
				get(s.kv, i - skv_random(&state) % 2000 % i);
		}
		CHECK(evictions(s.kv) > 350000);
		CHECK(skv_segment_info(s.kv).leaf_bytes <= early + early / 16);
		skv_segment_end(&s);
	}
}

static void what_must_fail_evicts_nothing(void)
{
	struct skv_snapshot before;
	struct skv_segment s;
	uint64_t i, key = 3, absent = UINT64_MAX, token;
	struct shmkv_value value, large = shmkv_bin(skv_alloc(4 * MIB), 4 * MIB);
	size_t k;

	for (k = 0; k < ARRAY_LEN(policies); k++) {
		cache_begin(&s, policies[k], 2 * MIB);
		CHECK_EQ(shmkv_put(s.kv, KEY("int"), shmkv_int(INT64_MAX), NULL), 0);
		fill_up(s.kv, 1000, 150);
		CHECK_EQ(put(s.kv, key, 150), 0);
		CHECK_EQ(shmkv_put(s.kv, KEY("int"), shmkv_int(INT64_MAX), NULL), 0);
		CHECK_EQ(shmkv_get(s.kv, &key, 8, out, sizeof(out), &value, &token), 0);
		before = skv_segment_snapshot(s.kv);
		value = shmkv_bin(payload, 150);
		/* Again and again, as the next leaf may be full or not. */
		for (i = 0; i < 300; i++) {
			absent--;
			CHECK_EQ(shmkv_add(s.kv, &key, 8, value, NULL), -EEXIST);
			CHECK_EQ(shmkv_replace(s.kv, &absent, 8, value, NULL), -ENOENT);
			CHECK_EQ(shmkv_cas(s.kv, &absent, 8, token, value, NULL), -ENOENT);
			CHECK_EQ(shmkv_cas(s.kv, &key, 8, token + 1, value, NULL), -ESTALE);
			CHECK_EQ(shmkv_incr(s.kv, &key, 8, 1, 0, NULL), -EPROTOTYPE);
			CHECK_EQ(shmkv_incr(s.kv, KEY("int"), 1, 0, NULL), -ERANGE);
			CHECK_EQ(shmkv_incr(s.kv, &absent, 8, 1, INT64_MAX, NULL), -ERANGE);
			CHECK_EQ(shmkv_append(s.kv, KEY("int"), value, NULL), -EPROTOTYPE);
			CHECK_EQ(shmkv_del(s.kv, &absent, 8), -ENOENT);
			/* It could never fit. */
			large.len = (2 + i % 3) * MIB;
			CHECK_EQ(shmkv_append(s.kv, &absent, 8, large, NULL), -EFBIG);
			CHECK_EQ(shmkv_put(s.kv, &absent, 8, large, NULL), -EFBIG);
			CHECK_EQ(shmkv_put(s.kv, &key, 8, large, NULL), -EFBIG);
		}
		skv_segment_unchanged(s.kv, &before);
		skv_segment_end(&s);
	}
	free((void *)(uintptr_t)large.data);
}

static void a_key_makes_no_room_for_itself(void)
{
	struct skv_segment s;
	size_t len, k, p;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		cache_begin(&s, policies[p], 2 * MIB);
		fill_up(s.kv, 0, 9000);
		skv_fill(payload, sizeof(payload), 9);
		/* Each time it needs a larger block while it has the one before. */
		for (k = 1; k <= 600; k++) {
			CHECK_EQ(shmkv_append(s.kv, KEY("log"), shmkv_bin(payload + (k - 1) * 500, 500),
					      &len), 0);
			CHECK_EQ(len, k * 500);
		}
		CHECK_EQ(shmkv_get_bin(s.kv, KEY("log"), out, sizeof(out), &len), 0);
		CHECK_MEM(out, len, payload, 300000);
		CHECK(evictions(s.kv) > 30);
		skv_segment_end(&s);
	}
}

/* ---- what is held ------------------------------------------------------------------- */

#ifndef SKV_TINY

#define HELD_MAX 16u

/* Puts large values into what is left. How many failed; none of those may have evicted anything. */
static uint32_t put_beside(struct shmkv *kv, uint32_t n, size_t len)
{
	uint32_t i, n_failed = 0;
	uint64_t before;
	int r;

	for (i = 0; i < n; i++) {
		before = skv_segment_count(kv);
		r = put(kv, UINT64_MAX - HELD_MAX - i, len);
		if (r == 0)
			continue;
		CHECK_EQ(r, -ENOSPC);
		CHECK_EQ(skv_segment_count(kv), before);
		n_failed++;
	}
	return n_failed;
}

static void views_are_in_nobodys_way(void)
{
	struct shmkv_view views[HELD_MAX];
	struct skv_segment s;
	uint64_t key;
	size_t p, i;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		cache_begin(&s, policies[p], 16 * MIB);
		fill_up(s.kv, 0, 20);
		/* Two fifths of the map; most of them are evicted under their views. */
		for (i = 0; i < HELD_MAX; i++) {
			key = UINT64_MAX - i;
			CHECK_EQ(put(s.kv, key, 400 * KIB), 0);
			CHECK_EQ(shmkv_view_begin(s.kv, &key, 8, &views[i]), 0);
		}
		CHECK_EQ(put_beside(s.kv, 200, 400 * KIB), 0);
		for (i = 0; i < 20000; i++)
			CHECK_EQ(put(s.kv, i, 20), 0);
		for (i = 0; i < HELD_MAX; i++)
			CHECK_EQ(shmkv_view_end(&views[i]), 0);
		/* A stretch of what was held just now. */
		CHECK_EQ(put(s.kv, 1, 1000000), 0);
		skv_segment_end(&s);
	}
}

static void drafts_are_in_nobodys_way(void)
{
	struct shmkv_draft drafts[8];
	struct skv_segment s;
	uint64_t key;
	size_t p, i;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		cache_begin(&s, policies[p], 16 * MIB);
		fill_up(s.kv, 0, 20);
		/* A third of the map. */
		for (i = 0; i < ARRAY_LEN(drafts); i++) {
			key = UINT64_MAX - i;
			CHECK_EQ(shmkv_reserve(s.kv, &key, 8, SHMKV_BIN, 680 * KIB, &drafts[i]), 0);
		}
		CHECK_EQ(put_beside(s.kv, 200, 400 * KIB), 0);
		for (i = 0; i < 20000; i++)
			CHECK_EQ(put(s.kv, i, 20), 0);
		for (i = 0; i < ARRAY_LEN(drafts); i++)
			CHECK_EQ(shmkv_abort(&drafts[i]), 0);
		skv_segment_end(&s);
	}
}

/*
 * Keys whose records lie as far from each other as @n records in the map can: @n parts of the
 * mapping, a key in each. The view tells the address.
 */
static uint32_t spread_keys(struct shmkv *kv, uint64_t n_keys, uint32_t n, uint64_t *ret_keys)
{
	uintptr_t low = UINTPTR_MAX, high = 0, at;
	struct shmkv_view view;
	uint32_t pass, part, n_found = 0;
	bool taken[HELD_MAX] = { false };
	uint64_t key;

	for (pass = 0; pass < 2; pass++) {
		for (key = 0; key < n_keys; key++) {
			if (shmkv_view_begin(kv, &key, 8, &view) < 0)
				continue;
			at = (uintptr_t)view.value.data;
			CHECK_EQ(shmkv_view_end(&view), 0);
			if (pass == 0) {
				low = at < low ? at : low;
				high = at > high ? at : high;
				continue;
			}
			part = (uint32_t)((at - low) * n / (high - low + 1));
			/* In the middle of it. */
			if (taken[part] || (at - low) * n * 4 / (high - low + 1) % 4 != 2)
				continue;
			taken[part] = true;
			ret_keys[n_found++] = key;
		}
	}
	return n_found;
}

/* Views of a few small values leave no stretch for a large one: nothing is evicted for it. */
static void without_a_stretch_nothing_goes(void)
{
	struct shmkv_view views[HELD_MAX];
	uint64_t keys[HELD_MAX], n;
	struct skv_segment s;
	uint32_t n_views, i;
	size_t p;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		cache_begin(&s, policies[p], 4 * MIB);
		n = fill_up(s.kv, 0, 200);
		n_views = spread_keys(s.kv, n, HELD_MAX, keys);
		CHECK(n_views >= 12);
		for (i = 0; i < n_views; i++)
			CHECK_EQ(shmkv_view_begin(s.kv, &keys[i], 8, &views[i]), 0);
		CHECK_EQ(put_beside(s.kv, 20, 900000), 20);
		/* For what is as large as the parts in between there is room. */
		CHECK_EQ(put_beside(s.kv, 20, 100000), 0);
		for (i = 0; i < n_views; i++)
			CHECK_EQ(shmkv_view_end(&views[i]), 0);
		CHECK_EQ(put_beside(s.kv, 20, 900000), 0);
		skv_segment_end(&s);
	}
}

#ifdef SKV_FAULT_POINTS

static struct {
	struct skv_segment s;
	uint64_t key;
} holder;

static void delete_and_stop(void *arg)
{
	struct shmkv *kv = skv_segment_attach(&holder.s, 0);

	(void)arg;
	skv_fault_arm(NULL, SKV_FAULT_REMOVE_OLD, 1, SKV_FAULT_STOP, NULL, NULL);
	CHECK_EQ(shmkv_del(kv, &holder.key, 8), 0);
	shmkv_detach(kv);
}

/* The same by those who were stopped with a record announced. */
static void stopped_operations_are_in_nobodys_way(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint64_t keys[HELD_MAX], n;
	struct shmkv *kv;
	pid_t pids[HELD_MAX];
	uint32_t n_keys, i;
	int status;

	cache_begin(&holder.s, SHMKV_EVICT_LRU, 4 * MIB);
	kv = holder.s.kv;
	n = fill_up(kv, 0, 200);
	n_keys = spread_keys(kv, n, HELD_MAX - 2, keys);
	CHECK(n_keys >= 10);
	for (i = 0; i < n_keys; i++) {
		holder.key = keys[i];
		pids[i] = skv_fork(delete_and_stop, NULL);
		CHECK_EQ(waitpid(pids[i], &status, WUNTRACED), pids[i]);
		CHECK(WIFSTOPPED(status));
	}
	CHECK_EQ(put_beside(kv, 5, 900000), 5);
	CHECK_EQ(put_beside(kv, 20, 100000), 0);
	for (i = 0; i < n_keys; i++) {
		/* It may be evicted by now. */
		CHECK(get(kv, keys[i]) == 200 || get(kv, keys[i]) == -ENOENT);
		kill(pids[i], SIGKILL);
		skv_test_wait_killed(pids[i], SIGKILL);
	}
	CHECK_EQ(shmkv_recover(kv, &report), 0);
	CHECK_EQ(put_beside(kv, 20, 900000), 0);
	skv_segment_end(&holder.s);
}

#endif

#endif

/* ---- what is kept ------------------------------------------------------------------- */

#ifndef SKV_TINY

static void what_is_used_stays(void)
{
	struct skv_segment s;
	uint64_t i, key, found;
	size_t k;

	for (k = 0; k < ARRAY_LEN(policies); k++) {
		cache_begin(&s, policies[k], 4 * MIB);
		/* 1500 keys are used all the time, twenty times as many pass through. */
		for (i = 0; i < 1500; i++)
			CHECK_EQ(put(s.kv, i, 500), 0);
		for (key = 100000, i = 0; key < 160000; key++, i++) {
			CHECK_EQ(put(s.kv, key, 500), 0);
			get(s.kv, i % 1500);
		}
		for (i = found = 0; i < 1500; i++)
			found += get(s.kv, i) >= 0;
		CHECK(evictions(s.kv) > 50000);
		CHECK(found >= 1485);
		skv_segment_end(&s);
	}
}

static void a_scan_does_not_flush_what_is_used_often(void)
{
	struct skv_segment s;
	uint64_t i, key, found;
	uint32_t round;

	cache_begin(&s, SHMKV_EVICT_LFU, 4 * MIB);
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 3000; i++) {
			if (get(s.kv, i) < 0)
				CHECK_EQ(put(s.kv, i, 500), 0);
		}
	}
	/* Four caches full of what nobody asks for again, and nothing else in between. */
	for (key = 100000; key < 128000; key++)
		CHECK_EQ(put(s.kv, key, 500), 0);
	for (i = found = 0; i < 3000; i++)
		found += get(s.kv, i) >= 0;
	CHECK(found >= 2850);
	/* And those that were used often give way to those that are, in time. */
	for (round = 0; round < 150; round++) {
		for (i = 200000; i < 204000; i++) {
			if (get(s.kv, i) < 0)
				CHECK_EQ(put(s.kv, i, 500), 0);
		}
	}
	for (i = 200000, found = 0; i < 204000; i++)
		found += get(s.kv, i) >= 0;
	CHECK(found >= 3600);
	skv_segment_end(&s);
}

struct rates {
	double map, lru, lfu;
};

static struct rates rates_of(enum shmkv_evict evict, bool scans, uint32_t len_max)
{
	struct cache_load load = { .seed = 7, .n_requests = 400000, .len_min = 200, .len_max = 200 };
	uint64_t max_bytes = 5 * MIB;
	struct cache_result result;
	struct skv_segment s;
	struct trace trace;
	struct rates rates;

	random_state = 1;
	CHECK_EQ(trace_init(&trace, 60000, 0.99, load.seed), 0);
	load.trace = &trace;
	if (len_max > 200) {
		load.len_min = 32;
		load.len_max = len_max;
		max_bytes = 40 * MIB;
	}
	if (scans) {
		load.scan_every = 20000;
		load.scan_len = 6000;
	}
	cache_begin(&s, evict, max_bytes);
	CHECK_EQ(cache_run(&load, s.kv, &result), 0);
	CHECK_EQ(cache_exact(&load, result.record_bytes, &rates.lru, &rates.lfu), 0);
	rates.map = (double)result.hits / (double)result.requests;
	fprintf(stderr, "hits %.2f %%, exact LRU %.2f %%, exact LFU %.2f %%, %llu keys, %llu evicted\n",
		rates.map * 100, rates.lru * 100, rates.lfu * 100, (unsigned long long)result.keys,
		(unsigned long long)result.evictions);
	CHECK(result.evictions > 50000);
	trace_deinit(&trace);
	skv_segment_end(&s);
	return rates;
}

/* The same trace, hash key and choices in each run: these are counts, not measurements. */
static void rates_of_hits_are_near_the_exact_ones(void)
{
	struct rates r;

	r = rates_of(SHMKV_EVICT_LRU, false, 0);
	CHECK(r.map > r.lru - 0.01);
	r = rates_of(SHMKV_EVICT_LRU, true, 0);
	CHECK(r.map > r.lru - 0.01);
	r = rates_of(SHMKV_EVICT_LFU, false, 0);
	CHECK(r.map > r.lru + 0.012 && r.map > r.lfu - 0.015);
	r = rates_of(SHMKV_EVICT_LFU, true, 0);
	CHECK(r.map > r.lru + 0.05 && r.map > r.lfu - 0.07);
	/* Sizes from 32 bytes to 64 KiB. */
	r = rates_of(SHMKV_EVICT_LRU, false, 65536);
	CHECK(r.map > r.lru - 0.05);
	r = rates_of(SHMKV_EVICT_LFU, true, 65536);
	CHECK(r.map > r.lru + 0.03);
}

#endif

/* ---- many processes ----------------------------------------------------------------- */

struct crowd {
	struct skv_segment s;
	uint64_t seed;
	enum shmkv_evict evict;
};

#define CROWD_KEYS 3000u

/* A cache of everything, asked for by everybody. */
static void use_cache(struct shmkv *kv, uint64_t seed, uint32_t n)
{
	uint64_t state = seed, r, key;
	uint32_t i;
	size_t len;
	int code;

	for (i = 0; i < n; i++) {
		r = skv_random(&state);
		/* Some often, most seldom. */
		key = (r >> 8) % (1 + (r >> 40) % CROWD_KEYS);
		if ((r & 31) == 0) {
			code = shmkv_del(kv, &key, 8);
			CHECK(code == 0 || code == -ENOENT);
			continue;
		}
		if (get(kv, key) >= 0)
			continue;
		len = (size_t)32 << ((r >> 20) % 12);
		code = put(kv, key, len + (r >> 30) % len);
		/* In a crowd others may take all the room that was made. */
		if (code != 0 && code != -ENOSPC)
			skv_test_fail(__FILE__, __LINE__, "put of %zu bytes: %s", len,
				      shmkv_errname(code));
	}
}

static void join_crowd(void *arg)
{
	struct crowd *crowd = arg;
	struct shmkv *kv = skv_segment_attach(&crowd->s, 0);

	use_cache(kv, crowd->seed, 6000);
	shmkv_detach(kv);
}

static void join_until_killed(void *arg)
{
	struct crowd *crowd = arg;
	struct shmkv *kv = skv_segment_attach(&crowd->s, 0);

#ifdef SKV_FAULT_POINTS
	static const enum skv_fault_point points[] = {
		SKV_FAULT_EVICT_CHOSEN, SKV_FAULT_EVICT_UNLINKED, SKV_FAULT_EVICT_RECORD,
		SKV_FAULT_EVICT_EMPTIED, SKV_FAULT_EVICT_DONE, SKV_FAULT_DISMANTLE_BUSY,
		SKV_FAULT_SLAB_BODY_RETURNED, SKV_FAULT_REMOVE_GUARDED, SKV_FAULT_RUN_BODY_RETURNED,
	};

	skv_fault_arm(NULL, points[crowd->seed % ARRAY_LEN(points)], 3 + crowd->seed % 5,
		      SKV_FAULT_KILL, NULL, NULL);
#endif
	use_cache(kv, crowd->seed, 1000000000);
}

static void sound_after(struct crowd *crowd)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint64_t key, found = 0;

	CHECK_EQ(shmkv_recover(crowd->s.kv, &report), 0);
	for (key = 0; key < CROWD_KEYS; key++)
		found += get(crowd->s.kv, key) >= 0;
	CHECK_EQ(found, skv_segment_count(crowd->s.kv));
	CHECK(found > 0);
	skv_segment_end(&crowd->s);
}

static void processes_share_a_small_cache(void)
{
	struct crowd crowd;
	pid_t pids[4];
	size_t k, i;

	for (k = 0; k < ARRAY_LEN(policies); k++) {
		crowd.evict = policies[k];
		cache_begin(&crowd.s, crowd.evict, 3 * MIB);
		for (i = 0; i < ARRAY_LEN(pids); i++) {
			crowd.seed = k * 100 + i + 1;
			pids[i] = skv_fork(join_crowd, &crowd);
		}
		for (i = 0; i < ARRAY_LEN(pids); i++)
			skv_test_wait_ok(pids[i]);
		CHECK(evictions(crowd.s.kv) > 1000);
		sound_after(&crowd);
	}
}

static void a_killed_evictor_leaves_whole_keys(void)
{
	struct crowd crowd;
	uint32_t round;
	size_t k;
	pid_t pid, other;

	for (k = 0; k < ARRAY_LEN(policies); k++) {
		cache_begin(&crowd.s, policies[k], 3 * MIB);
		use_cache(crowd.s.kv, 5, 3000);
		for (round = 0; round < 27; round++) {
			crowd.seed = round;
			pid = skv_fork(join_until_killed, &crowd);
			crowd.seed = 1000 + round;
			other = skv_fork(join_until_killed, &crowd);
#ifndef SKV_FAULT_POINTS
			/* Whenever it comes. */
			use_cache(crowd.s.kv, round, 200);
			kill(pid, SIGKILL);
			kill(other, SIGKILL);
#endif
			/* Nobody waits for them, before and after. */
			use_cache(crowd.s.kv, round + 77, 200);
			skv_test_wait_killed(pid, SIGKILL);
			skv_test_wait_killed(other, SIGKILL);
			use_cache(crowd.s.kv, round + 99, 200);
		}
		sound_after(&crowd);
	}
}

#ifdef SKV_FAULT_POINTS

static struct crowd stopped;
static enum skv_fault_point stopped_at;

static void join_until_stopped(void *arg)
{
	struct shmkv *kv = skv_segment_attach(&stopped.s, 0);

	(void)arg;
	skv_fault_arm(NULL, stopped_at, 2, SKV_FAULT_STOP, NULL, NULL);
	use_cache(kv, 4, 6000);
	shmkv_detach(kv);
}

static void a_stopped_evictor_delays_nobody(void)
{
	static const enum skv_fault_point points[] = {
		SKV_FAULT_EVICT_CHOSEN,	 SKV_FAULT_EVICT_UNLINKED, SKV_FAULT_EVICT_RECORD,
		SKV_FAULT_EVICT_EMPTIED, SKV_FAULT_EVICT_DONE,	   SKV_FAULT_REMOVE_GUARDED,
		SKV_FAULT_DISMANTLE_BEGUN,
	};
	struct crowd *crowd = &stopped;
	uint64_t before;
	size_t k, p;
	int status;
	pid_t pid;

	for (p = 0; p < ARRAY_LEN(policies); p++) {
		for (k = 0; k < ARRAY_LEN(points); k++) {
			cache_begin(&crowd->s, policies[p], 3 * MIB);
			stopped_at = points[k];
			pid = skv_fork(join_until_stopped, NULL);
			CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
			CHECK(WIFSTOPPED(status));
			before = evictions(crowd->s.kv);
			use_cache(crowd->s.kv, 17, 3000);
			CHECK(evictions(crowd->s.kv) > before);
			/* What it was about to evict is something else by now. */
			kill(pid, SIGCONT);
			skv_test_wait_ok(pid);
			sound_after(crowd);
		}
	}
}

#endif

const struct skv_test skv_tests_evict[] = {
	{ "evict", "the policy is chosen at creation", policy_is_chosen_at_creation, 10 },
	{ "evict", "without a policy nothing is evicted", without_a_policy_nothing_is_evicted, 30 },
	{ "evict", "readers without permission note nothing",
	  readers_without_permission_note_nothing, 30 },
	{ "evict", "there is always room", there_is_always_room, 120 },
#ifndef SKV_TINY
	{ "evict", "sizes may change", sizes_may_change, 120 },
	{ "evict", "a large value finds room in a segment full of small ones",
	  large_value_into_a_segment_full_of_small_ones, 30 },
#endif
	{ "evict", "leaves do not take over", leaves_do_not_take_over, 120 },
	{ "evict", "what must fail evicts nothing", what_must_fail_evicts_nothing, 60 },
	{ "evict", "a key makes no room for itself", a_key_makes_no_room_for_itself, 60 },
#ifndef SKV_TINY
	{ "evict", "views are in nobody's way", views_are_in_nobodys_way, 120 },
	{ "evict", "drafts are in nobody's way", drafts_are_in_nobodys_way, 120 },
	{ "evict", "without a stretch nothing goes", without_a_stretch_nothing_goes, 60 },
#ifdef SKV_FAULT_POINTS
	{ "evict", "stopped operations are in nobody's way", stopped_operations_are_in_nobodys_way,
	  60 },
#endif
	{ "evict", "what is used stays", what_is_used_stays, 60 },
	{ "evict", "a scan does not flush what is used often",
	  a_scan_does_not_flush_what_is_used_often, 60 },
	{ "evict", "rates of hits are near the exact ones", rates_of_hits_are_near_the_exact_ones,
	  120 },
#endif
	{ "evict", "processes share a small cache", processes_share_a_small_cache, 120 },
	{ "evict", "a killed evictor leaves whole keys", a_killed_evictor_leaves_whole_keys, 120 },
#ifdef SKV_FAULT_POINTS
	{ "evict", "a stopped evictor delays nobody", a_stopped_evictor_delays_nobody, 120 },
#endif
	{ 0 },
};

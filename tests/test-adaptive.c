/* SPDX-License-Identifier: MIT */
/* test-adaptive: when an adaptive map moves its entries, and that nobody is harmed by it. */
#include "api/engine-table.h"
#include "api/handle.h"
#include "heap/adaptive/adaptive.h"
#include "tests/model-engine.h"
#include "tests/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t mix(uint64_t *random)
{
	uint64_t x;

	*random += 0x9e3779b97f4a7c15;
	x = *random;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* ---- fixture --------------------------------------------------------------------- */

struct seen {
	uint64_t begun[5], finished[5];
	struct shmkv_adaptive_event last;
	struct shmkv *kv; /* used from inside when set */
};

static void see(const struct shmkv_adaptive_event *event, void *arg)
{
	struct seen *seen = arg;

	CHECK_EQ(event->size, sizeof(*event));
	CHECK(event->type >= 1 && event->type <= 4);
	if (event->finished)
		seen->finished[event->type]++;
	else
		seen->begun[event->type]++;
	seen->last = *event;
	if (seen->kv)
		CHECK_EQ(shmkv_put(seen->kv, "from inside", 11, shmkv_uint(event->entries), NULL), 0);
}

static struct shmkv *map_new(struct shmkv_adaptive_options *adaptive, struct seen *seen)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;

	adaptive->size = sizeof(*adaptive);
	if (seen) {
		adaptive->on_event = see;
		adaptive->arg = seen;
	}
	opts.max_bytes = (uint64_t)1 << 30;
	opts.adaptive = adaptive;
	CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), 0);
	return kv;
}

static void complain(const char *violation, void *arg)
{
	(void)arg;
	fprintf(stderr, "violated: %s\n", violation);
}

static void check_sound(struct shmkv *kv)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	uint64_t count;

	CHECK_EQ(shmkv_check(kv, complain, NULL, &audit), 0);
	CHECK_EQ(audit.leaked_bytes, 0u);
	CHECK_EQ(shmkv_count(kv, &count), 0);
	CHECK_EQ(audit.keys, count);
}

static void map_free(struct shmkv *kv)
{
	check_sound(kv);
	shmkv_detach(kv);
}

static struct shmkv_adaptive_info health(struct shmkv *kv)
{
	struct shmkv_adaptive_info info = { .size = sizeof(info) };

	CHECK_EQ(shmkv_adaptive_info(kv, &info), 0);
	return info;
}

static void put(struct shmkv *kv, uint64_t key, uint64_t value)
{
	CHECK_EQ(shmkv_put(kv, &key, sizeof(key), shmkv_uint(value), NULL), 0);
}

static void del(struct shmkv *kv, uint64_t key)
{
	CHECK_EQ(shmkv_del(kv, &key, sizeof(key)), 0);
}

static void check_is(struct shmkv *kv, uint64_t key, uint64_t value)
{
	uint64_t got = ~value;

	CHECK_EQ(shmkv_get_uint(kv, &key, sizeof(key), &got), 0);
	CHECK_EQ(got, value);
}

static void check_absent(struct shmkv *kv, uint64_t key)
{
	CHECK_EQ(shmkv_exists(kv, &key, sizeof(key)), -ENOENT);
}

/* ---- options --------------------------------------------------------------------- */

static void options_outside_their_range_are_refused(void)
{
	static const struct shmkv_adaptive_options rows[] = {
		{ .mode = 4 },
		{ .start_backend = 3 },
		{ .initial_buckets = 63 },
		{ .initial_buckets = (uint64_t)1 << 33 },
		{ .initial_capacity_rh = 4 },
		{ .initial_capacity_rh = 100 },
		{ .groups_per_bucket = 3 },
		{ .groups_per_bucket = 8192 },
		{ .max_group_len = 255 },
		{ .pad = 1 },
		{ .max_lf_chaining = 0.009 },
		{ .max_lf_chaining = 1.01 },
		{ .max_lf_chaining = -1 },
		{ .max_avg_probe_robinhood = 0.09 },
		{ .max_avg_probe_robinhood = 101 },
		{ .max_tombstone_ratio = 1.1 },
		{ .max_tombstone_ratio = -0.1 },
		{ .max_tombstone_ratio = 0.0 / 0.0 },
	};
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv_adaptive_options adaptive;
	struct shmkv *kv = NULL;
	size_t i;

	opts.adaptive = &adaptive;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		adaptive = rows[i];
		adaptive.size = sizeof(adaptive);
		CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), -EINVAL);
		CHECK(kv == NULL);
	}
	/* An older caller's structure ends earlier; one that names no size is none. */
	adaptive = (struct shmkv_adaptive_options){ .size = sizeof(size_t) };
	CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), 0);
	shmkv_detach(kv);
	adaptive.size = 0;
	CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), -EINVAL);
	/* Other engines have nothing to adapt. */
	adaptive.size = sizeof(adaptive);
	CHECK_EQ(shmkv_create("adaptive-none", &opts, &kv), -EOPNOTSUPP);
	CHECK_EQ(shmkv_unlink("adaptive-none"), -ENOENT);
}

static void a_table_that_can_never_fit_is_refused(void)
{
	struct shmkv_adaptive_options adaptive = { .size = sizeof(adaptive) };
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv = NULL;

	opts.adaptive = &adaptive;
	opts.capacity = UINT64_MAX;
	CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), -ENOSPC);
	opts.capacity = 0;
	adaptive.initial_buckets = (uint64_t)1 << 32;
	CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), -ENOSPC);
	CHECK(kv == NULL);
}

static void the_capacity_is_laid_out_at_once(void)
{
	static const enum shmkv_adaptive_mode modes[] = {
		SHMKV_MODE_ADAPTIVE, SHMKV_MODE_FAST_INSERT, SHMKV_MODE_FAST_LOOKUP,
		SHMKV_MODE_MEMORY_TIGHT,
	};
	struct shmkv_adaptive_options adaptive;
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;
	uint64_t key;
	size_t i;

	for (i = 0; i < ARRAY_LEN(modes); i++) {
		adaptive = (struct shmkv_adaptive_options){ .size = sizeof(adaptive), .mode = modes[i] };
		opts.adaptive = &adaptive;
		opts.capacity = 10000;
		CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), 0);
		for (key = 0; key < 10000; key++)
			put(kv, key, key);
		CHECK_EQ(health(kv).moved, 0u);
		map_free(kv);
	}
}

/* ---- when it moves --------------------------------------------------------------- */

static void it_leaves_chaining_at_the_load_limit(void)
{
	struct shmkv_adaptive_options adaptive = { .max_group_len = 254 };
	struct shmkv_adaptive_info info;
	struct seen seen = { .kv = NULL };
	struct shmkv *kv = map_new(&adaptive, &seen);
	uint64_t key;

	/* 0.82 of 64 buckets are 52.48 entries. */
	for (key = 0; key < 52; key++)
		put(kv, key, key);
	info = health(kv);
	CHECK_EQ(info.backend, SHMKV_BACKEND_CHAINING);
	CHECK_EQ(info.capacity, 64u);
	CHECK(info.load_factor == 52.0 / 64);
	CHECK_STR(info.label, "chaining");
	CHECK_EQ(seen.begun[SHMKV_EVENT_MIGRATION], 0u);
	put(kv, 52, 52);
	CHECK_EQ(seen.begun[SHMKV_EVENT_MIGRATION], 1u);
	CHECK_EQ(seen.finished[SHMKV_EVENT_MIGRATION], 0u);
	CHECK_STR(health(kv).label, "chaining -> robin hood (migrating)");
	CHECK_EQ(health(kv).entries_to_move, 53u);
	put(kv, 53, 53);
	info = health(kv);
	CHECK_EQ(seen.finished[SHMKV_EVENT_MIGRATION], 1u);
	CHECK_EQ(seen.last.from, SHMKV_BACKEND_CHAINING);
	CHECK_EQ(seen.last.to, SHMKV_BACKEND_ROBIN_HOOD);
	CHECK_EQ(seen.last.entries, 54u);
	CHECK_STR(info.label, "robin hood");
	CHECK_EQ(info.migrations, 1u);
	CHECK_EQ(info.moved, 53u);
	CHECK_EQ(info.entries_to_move, 0u);
	for (key = 0; key < 54; key++)
		check_is(kv, key, key);
	map_free(kv);
}

static void it_leaves_chaining_at_the_longest_group(void)
{
	struct shmkv_adaptive_options adaptive = {
		.max_lf_chaining = 1, .max_group_len = 1, .groups_per_bucket = 1,
	};
	struct seen seen = { .kv = NULL };
	struct shmkv *kv = map_new(&adaptive, &seen);
	uint64_t key;

	for (key = 0; seen.begun[SHMKV_EVENT_MIGRATION] == 0; key++) {
		CHECK(key < 64);
		CHECK(health(kv).max_group_len <= 1);
		put(kv, key, key);
	}
	CHECK(key < 60);
	put(kv, key, key);
	CHECK_EQ(seen.finished[SHMKV_EVENT_MIGRATION], 1u);
	CHECK_EQ(health(kv).backend, SHMKV_BACKEND_ROBIN_HOOD);
	map_free(kv);
}

static void it_leaves_robin_hood_at_the_probe_limit(void)
{
	struct shmkv_adaptive_options adaptive = {
		.start_backend = SHMKV_BACKEND_ROBIN_HOOD, .max_avg_probe_robinhood = 0.5,
		.initial_capacity_rh = 1024,
	};
	struct shmkv_adaptive_info info;
	struct seen seen = { .kv = NULL };
	struct shmkv *kv = map_new(&adaptive, &seen);
	uint64_t key;

	for (key = 0; seen.begun[SHMKV_EVENT_MIGRATION] == 0; key++) {
		CHECK(key < 870);
		info = health(kv);
		CHECK(info.avg_probe <= 0.5);
		put(kv, key, key);
	}
	CHECK(key > 100);
	put(kv, key, key);
	info = health(kv);
	CHECK_EQ(info.backend, SHMKV_BACKEND_CHAINING);
	CHECK_EQ(seen.last.from, SHMKV_BACKEND_ROBIN_HOOD);
	/* Far enough from the limit of chaining not to return at once. */
	CHECK(info.load_factor <= 0.82 / 2 + 0.01);
	map_free(kv);
}

static void tombstones_are_compacted_at_their_limit(void)
{
	struct shmkv_adaptive_options adaptive = {
		.mode = SHMKV_MODE_FAST_LOOKUP, .initial_capacity_rh = 1024,
	};
	struct seen seen = { .kv = NULL };
	struct shmkv *kv = map_new(&adaptive, &seen);
	uint64_t key;

	for (key = 0; key < 860; key++)
		put(kv, key, key);
	CHECK_EQ(seen.begun[SHMKV_EVENT_COMPACTION], 0u);
	for (key = 0; seen.begun[SHMKV_EVENT_COMPACTION] == 0; key++) {
		CHECK(key < 860);
		CHECK(health(kv).tombstone_ratio < 0.25);
		del(kv, key);
	}
	del(kv, key++);
	CHECK_EQ(seen.finished[SHMKV_EVENT_COMPACTION], 1u);
	CHECK_EQ(health(kv).compactions, 1u);
	CHECK(health(kv).tombstone_ratio == 0);
	for (; key < 860; key++)
		check_is(kv, key, key);
	map_free(kv);
}

static void compaction_on_request_leaves_no_tombstone_and_little_room(void)
{
	static const enum shmkv_adaptive_mode modes[] = {
		SHMKV_MODE_ADAPTIVE, SHMKV_MODE_FAST_INSERT, SHMKV_MODE_FAST_LOOKUP,
		SHMKV_MODE_MEMORY_TIGHT,
	};
	struct shmkv_adaptive_options adaptive;
	struct shmkv_info before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
	struct shmkv *kv;
	uint64_t key;
	size_t i;

	for (i = 0; i < ARRAY_LEN(modes); i++) {
		adaptive = (struct shmkv_adaptive_options){ .mode = modes[i], .incremental_batch = 1 };
		kv = map_new(&adaptive, NULL);
		for (key = 0; key < 20000; key++)
			put(kv, key, key);
		for (key = 0; key < 19000; key++)
			del(kv, key);
		CHECK_EQ(shmkv_info(kv, &before), 0);
		CHECK_EQ(shmkv_compact(kv), 0);
		CHECK_EQ(shmkv_info(kv, &after), 0);
		CHECK(after.table_bytes < before.table_bytes / 4);
		CHECK(health(kv).tombstone_ratio == 0);
		CHECK_EQ(health(kv).migrating, 0u);
		for (key = 19000; key < 20000; key++)
			check_is(kv, key, key);
		map_free(kv);
	}
}

static void compaction_by_the_clock_needs_writes_and_time(void)
{
	struct shmkv_adaptive_options adaptive = {
		.mode = SHMKV_MODE_FAST_LOOKUP, .max_tombstone_ratio = 1, .compact_interval_ms = 1,
		.initial_capacity_rh = 4096,
	};
	struct shmkv *kv = map_new(&adaptive, NULL);
	uint64_t key;

	for (key = 0; key < 3000; key++)
		put(kv, key, key);
	for (key = 0; key < 1000; key++)
		del(kv, key);
	/* The clock ticks at some point; the table is never full. */
	for (key = 0; health(kv).compactions == 0; key++)
		put(kv, 2000, key);
	map_free(kv);
}

static void a_large_map_is_told_once(void)
{
	struct shmkv_adaptive_options adaptive = { .large_map_warn_threshold = 1000 };
	struct seen seen = { .kv = NULL };
	struct shmkv *kv = map_new(&adaptive, &seen);
	uint64_t key;

	for (key = 0; key < 3000; key++) {
		put(kv, key, key);
		CHECK_EQ(seen.finished[SHMKV_EVENT_LARGE], key >= 999);
	}
	map_free(kv);
}

static void the_function_for_events_may_use_the_map(void)
{
	struct shmkv_adaptive_options adaptive = { .incremental_batch = 5 };
	struct seen seen = { .kv = NULL };
	struct shmkv *kv = map_new(&adaptive, &seen);
	struct shmkv_adaptive_info info;
	uint64_t key, n;

	seen.kv = kv;
	for (key = 0; key < 5000; key++)
		put(kv, key, key);
	info = health(kv);
	CHECK(info.migrations > 0);
	CHECK(info.resizes > 1);
	CHECK_EQ(seen.finished[SHMKV_EVENT_MIGRATION], info.migrations);
	CHECK_EQ(seen.finished[SHMKV_EVENT_RESIZE], info.resizes);
	CHECK_EQ(shmkv_get_uint(kv, "from inside", 11, &n), 0);
	map_free(kv);
}

/* ---- nothing lost, nothing undone, no end missed ---------------------------------- */

/* Distinct keys come and go in a small table: no empty slot may be needed that is not there. */
static void churn_of_distinct_keys_ends(void)
{
	static const enum shmkv_adaptive_mode modes[] = {
		SHMKV_MODE_ADAPTIVE, SHMKV_MODE_FAST_LOOKUP, SHMKV_MODE_MEMORY_TIGHT,
	};
	struct shmkv_adaptive_options adaptive;
	struct shmkv *kv;
	uint64_t key;
	size_t i;

	for (i = 0; i < ARRAY_LEN(modes); i++) {
		adaptive = (struct shmkv_adaptive_options){
			.mode = modes[i],
			.start_backend = SHMKV_BACKEND_ROBIN_HOOD,
			.initial_capacity_rh = 16,
			.max_tombstone_ratio = 1,
		};
		kv = map_new(&adaptive, NULL);
		for (key = 0; key < 100000; key++) {
			put(kv, key, key);
			if (key >= 10)
				del(kv, key - 10);
		}
		for (key = 100000 - 10; key < 100000; key++)
			check_is(kv, key, key);
		CHECK(health(kv).capacity <= 128);
		map_free(kv);
	}
}

/* While a migration crawls: values change, keys go and come, and that is how it stays. */
static void a_move_undoes_nothing(void)
{
	struct shmkv_adaptive_options adaptive = { .incremental_batch = 1, .max_lf_chaining = 1,
						   .initial_buckets = 4096, .max_group_len = 254 };
	struct seen seen = { .kv = NULL };
	struct shmkv *kv = map_new(&adaptive, &seen);
	uint64_t key;

	for (key = 0; key < 4097; key++)
		put(kv, key, key);
	CHECK_EQ(health(kv).migrating, 1u);
	for (key = 0; key < 50; key++)
		del(kv, key);
	for (key = 50; key < 100; key++)
		put(kv, key, key + 1000000);
	for (key = 100; key < 150; key++) {
		del(kv, key);
		put(kv, key, key + 2000000);
	}
	for (key = 10000; key < 10050; key++)
		put(kv, key, key);
	CHECK_EQ(health(kv).migrating, 1u);
	CHECK(health(kv).entries_to_move > 3000);
	check_sound(kv);
	while (health(kv).migrating)
		CHECK_EQ(shmkv_maintain(kv), 0);

	CHECK_EQ(seen.finished[SHMKV_EVENT_MIGRATION], 1u);
	for (key = 0; key < 50; key++)
		check_absent(kv, key);
	for (key = 50; key < 100; key++)
		check_is(kv, key, key + 1000000);
	for (key = 100; key < 150; key++)
		check_is(kv, key, key + 2000000);
	for (key = 150; key < 4097; key++)
		check_is(kv, key, key);
	for (key = 10000; key < 10050; key++)
		check_is(kv, key, key);
	map_free(kv);
}

/* All keys, or those of a few classes, have one hash: no end is missed, nothing is lost. */
static void keys_with_one_hash_are_kept_apart(void)
{
	static const uint64_t masks[] = { 0, (uint64_t)3 << 62, (uint64_t)0xff << 20, 0x1e };
	static const enum shmkv_adaptive_mode modes[] = {
		SHMKV_MODE_ADAPTIVE, SHMKV_MODE_FAST_INSERT, SHMKV_MODE_FAST_LOOKUP,
		SHMKV_MODE_MEMORY_TIGHT,
	};
	struct shmkv_adaptive_options adaptive;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct shmkv *kv;
	uint64_t key, n, m, n_keys = skv_test_is_slow() ? 500 : 2000;
	size_t i, j;
	int r;

	for (i = 0; i < ARRAY_LEN(modes); i++) {
		for (j = 0; j < ARRAY_LEN(masks); j++) {
			adaptive = (struct shmkv_adaptive_options){ .mode = modes[i] };
			kv = map_new(&adaptive, NULL);
			((struct skv_heap *)kv->map)->hash_mask = masks[j];
			r = 0;
			for (n = 0; n < n_keys; n++) {
				r = shmkv_put(kv, &n, sizeof(n), shmkv_uint(n), NULL);
				if (r < 0)
					break;
			}
			/* Open addressing ends at 255 keys of one home; chaining does not. */
			if (modes[i] == SHMKV_MODE_ADAPTIVE || modes[i] == SHMKV_MODE_FAST_INSERT)
				CHECK_EQ(r, 0);
			else
				CHECK(r == 0 || (r == -EXFULL && n >= 255));
			for (key = 0; key < n; key++)
				check_is(kv, key, key);
			check_absent(kv, n);
			check_sound(kv);
			CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
			for (m = 0; shmkv_scan_next(scan, &entry) == 1; m++)
				;
			CHECK_EQ(m, n);
			shmkv_scan_end(scan);
			for (key = 0; key < n; key += 2)
				del(kv, key);
			for (key = 0; key < n; key++) {
				if (key % 2)
					check_is(kv, key, key);
				else
					check_absent(kv, key);
			}
			map_free(kv);
		}
	}
}

/* ---- memory ---------------------------------------------------------------------- */

static double bytes_per_entry(enum shmkv_adaptive_mode mode)
{
	struct shmkv_adaptive_options adaptive = { .mode = mode };
	struct shmkv *kv = map_new(&adaptive, NULL);
	double bytes;
	uint64_t i, key[2];

	for (i = 0; i < 100000; i++) {
		key[0] = key[1] = i;
		CHECK_EQ(shmkv_put(kv, key, sizeof(key), shmkv_uint(i), NULL), 0);
	}
	CHECK_EQ(shmkv_maintain(kv), 0);
	bytes = health(kv).bytes_per_entry;
	map_free(kv);
	return bytes;
}

/* Hashes under which neither kind of table is healthy: entries must not go to and fro. */
static void it_does_not_go_to_and_fro(void)
{
	static const uint64_t masks[] = { (uint64_t)0xff << 56, (uint64_t)0x3ff << 54,
					  ~(uint64_t)0 >> 8 & ~(uint64_t)1 };
	struct shmkv_adaptive_options adaptive;
	struct shmkv_adaptive_info info;
	struct shmkv *kv;
	uint64_t key;
	size_t i;

	for (i = 0; i < ARRAY_LEN(masks); i++) {
		adaptive = (struct shmkv_adaptive_options){ .mode = SHMKV_MODE_ADAPTIVE };
		kv = map_new(&adaptive, NULL);
		((struct skv_heap *)kv->map)->hash_mask = masks[i];
		for (key = 0; key < 20000; key++)
			put(kv, key, key);
		info = health(kv);
		CHECK(info.migrations > 1);
		CHECK(info.moved < 8 * 20000);
		map_free(kv);
	}
}

static void the_tight_mode_is_smaller(void)
{
	double tight = bytes_per_entry(SHMKV_MODE_MEMORY_TIGHT);
	double lookup = bytes_per_entry(SHMKV_MODE_FAST_LOOKUP);
	double insert = bytes_per_entry(SHMKV_MODE_FAST_INSERT);

	fprintf(stderr, "bytes per entry: tight %.1f, lookup %.1f, insert %.1f\n", tight, lookup,
		insert);
	CHECK(tight < lookup * 0.9);
	CHECK(lookup < insert);
	/* 16 bytes of key, 5 of value, 16 of head, and at most 12 of slots. */
	CHECK(tight < 16 + 5 + 16 + 3 + 12);
}

/* No memory for a larger table: the map goes on with the one it has, and refuses in the end. */
static void a_map_without_memory_for_tables_goes_on(void)
{
	static const enum shmkv_adaptive_mode modes[] = {
		SHMKV_MODE_ADAPTIVE, SHMKV_MODE_FAST_INSERT, SHMKV_MODE_FAST_LOOKUP,
		SHMKV_MODE_MEMORY_TIGHT,
	};
	struct shmkv_adaptive_options adaptive;
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;
	uint64_t key, n, removed;
	size_t i;
	int r;

	for (i = 0; i < ARRAY_LEN(modes); i++) {
		adaptive = (struct shmkv_adaptive_options){
			.size = sizeof(adaptive), .mode = modes[i], .max_lf_chaining = 1,
			.initial_buckets = 2048,
		};
		opts.adaptive = &adaptive;
		opts.max_bytes = SHMKV_SIZE_MIN;
		CHECK_EQ(shmkv_create("heap:adaptive", &opts, &kv), 0);
		for (n = 0;; n++) {
			r = shmkv_put(kv, &n, sizeof(n), shmkv_uint(n), NULL);
			if (r < 0)
				break;
		}
		CHECK_EQ(r, -ENOSPC);
		CHECK(n > SHMKV_SIZE_MIN / 128);
		for (key = 0; key < n; key++)
			check_is(kv, key, key);
		check_sound(kv);
		for (key = 0; key < n; key += 3)
			del(kv, key);
		for (key = 0; key < n; key += 3)
			put(kv, key, key + 1);
		CHECK_EQ(shmkv_clear(kv, &removed), 0);
		CHECK_EQ(removed, n);
		for (key = 0; key < n / 2; key++)
			put(kv, key, key);
		map_free(kv);
	}
}

/* ---- differential ---------------------------------------------------------------- */

enum { N_KEYS = 3000 };

struct pair {
	struct shmkv *kv, *model;
	uint64_t tokens[N_KEYS][2]; /* of both, as last told */
	uint64_t random;
};

static struct shmkv_value draw_value(struct pair *p, uint8_t *buf, size_t cap)
{
	uint64_t draw = mix(&p->random);
	size_t len = draw >> 8 & 63, i;

	if (draw % 61 == 0)
		len = mix(&p->random) % cap;
	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)(draw + i);
	switch (draw % 4) {
	case 0:
		return shmkv_int((int64_t)(draw >> 20));
	case 1:
		return shmkv_str_n((const char *)buf, len);
	default:
		return shmkv_bin(buf, len);
	}
}

static void compare_value(struct pair *p, const void *key, size_t key_len)
{
	void *a = NULL, *b = NULL;
	size_t a_len = 0, b_len = 0;
	int r, s;

	r = shmkv_get_alloc(p->kv, key, key_len, &a, &a_len, NULL);
	s = shmkv_get_alloc(p->model, key, key_len, &b, &b_len, NULL);
	CHECK_EQ(r, s);
	if (r == 0)
		CHECK_MEM(a, a_len, b, b_len);
	free(a);
	free(b);
}

/* Counts, every entry both ways, and the invariants. */
static void compare_all(struct pair *p)
{
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t count, model_count, n = 0;
	int r;

	CHECK_EQ(shmkv_count(p->kv, &count), 0);
	CHECK_EQ(shmkv_count(p->model, &model_count), 0);
	CHECK_EQ(count, model_count);
	CHECK_EQ(shmkv_scan_begin(p->kv, 0, &scan), 0);
	for (; (r = shmkv_scan_next(scan, &entry)) == 1; n++)
		compare_value(p, entry.key, entry.key_len);
	CHECK_EQ(r, 0);
	CHECK_EQ(n, count);
	shmkv_scan_end(scan);
	check_sound(p->kv);
}

static size_t make_key(uint64_t number, uint8_t *key)
{
	size_t len = 8 + number % 40, i;

	for (i = 0; i < len; i++)
		key[i] = (uint8_t)(number >> (i % 4 * 8));
	return len;
}

static void differ_step(struct pair *p)
{
	uint64_t i = mix(&p->random) % N_KEYS, op = mix(&p->random) % 32;
	uint8_t key[64], buf[5000];
	size_t key_len = make_key(i, key), len[2] = { 0, 0 };
	struct shmkv_value value = draw_value(p, buf, sizeof(buf));
	uint64_t tokens[2] = { 0, 0 };
	int64_t sums[2] = { 0, 0 };
	uint8_t taken[2][5016];
	int r, s;

	if (op < 10) {
		r = shmkv_put(p->kv, key, key_len, value, &tokens[0]);
		s = shmkv_put(p->model, key, key_len, value, &tokens[1]);
	} else if (op < 13) {
		r = shmkv_add(p->kv, key, key_len, value, &tokens[0]);
		s = shmkv_add(p->model, key, key_len, value, &tokens[1]);
	} else if (op < 15) {
		r = shmkv_replace(p->kv, key, key_len, value, &tokens[0]);
		s = shmkv_replace(p->model, key, key_len, value, &tokens[1]);
	} else if (op < 17) {
		r = shmkv_cas(p->kv, key, key_len, p->tokens[i][0], value, &tokens[0]);
		s = shmkv_cas(p->model, key, key_len, p->tokens[i][1], value, &tokens[1]);
	} else if (op < 25) {
		r = shmkv_del(p->kv, key, key_len);
		s = shmkv_del(p->model, key, key_len);
	} else if (op < 26) {
		r = shmkv_take(p->kv, key, key_len, taken[0], sizeof(taken[0]), &len[0]);
		s = shmkv_take(p->model, key, key_len, taken[1], sizeof(taken[1]), &len[1]);
		if (r == 0)
			CHECK_MEM(taken[0], len[0], taken[1], len[1]);
	} else if (op < 28) {
		r = shmkv_incr(p->kv, key, key_len, (int64_t)op, 5, &sums[0]);
		s = shmkv_incr(p->model, key, key_len, (int64_t)op, 5, &sums[1]);
		CHECK_EQ(sums[0], sums[1]);
	} else if (op < 29) {
		r = shmkv_append(p->kv, key, key_len, shmkv_str("more"), &len[0]);
		s = shmkv_append(p->model, key, key_len, shmkv_str("more"), &len[1]);
		CHECK_EQ(r, s);
		CHECK_EQ(len[0], len[1]);
	} else {
		compare_value(p, key, key_len);
		return;
	}
	CHECK_EQ(r, s);
	if (tokens[0] != 0) {
		p->tokens[i][0] = tokens[0];
		p->tokens[i][1] = tokens[1];
	}
}

/* Limits drawn at random, mostly tight ones, so that it moves to and fro all the time. */
static struct shmkv_adaptive_options draw_options(uint64_t *random)
{
	struct shmkv_adaptive_options adaptive = {
		.mode = mix(random) % 2 ? SHMKV_MODE_ADAPTIVE : mix(random) % 4,
		.start_backend = mix(random) % 3,
		.initial_buckets = (uint64_t)1 << mix(random) % 8,
		.initial_capacity_rh = (uint64_t)8 << mix(random) % 6,
		.groups_per_bucket = 1u << mix(random) % 5,
		.incremental_batch = (uint32_t)(1 + mix(random) % 40),
		.max_group_len = (uint32_t)(1 + mix(random) % 8),
		.max_lf_chaining = 0.3 + (double)(mix(random) % 70) / 100,
		.max_avg_probe_robinhood = 0.2 + (double)(mix(random) % 20) / 10,
		.max_tombstone_ratio = (double)(1 + mix(random) % 30) / 100,
	};

	return adaptive;
}

static void a_million_operations_end_like_the_model(void)
{
	static const struct skv_engine *const table[] = { &skv_engine_adaptive, &skv_engine_model,
							  NULL };
	uint64_t n_rounds = 50, n_steps = skv_test_is_slow() ? 4000 : 20000, round, n, moved = 0;
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv_adaptive_options adaptive;
	struct pair p = { .random = skv_test_seed() };
	struct shmkv_adaptive_info info;
	uint64_t migrations = 0, *hash_mask;

	skv_engines_override(table);
	opts.max_bytes = (uint64_t)1 << 30;
	for (round = 0; round < n_rounds; round++) {
		adaptive = draw_options(&p.random);
		p.kv = map_new(&adaptive, NULL);
		memset(p.tokens, 0, sizeof(p.tokens));
		/* Now and then with hashes of few bits, at either end, where chaining is a way out. */
		hash_mask = &((struct skv_heap *)p.kv->map)->hash_mask;
		if (adaptive.mode <= SHMKV_MODE_FAST_INSERT && mix(&p.random) % 4 == 0)
			*hash_mask = (uint64_t)0x3ff << 54;
		else if (adaptive.mode <= SHMKV_MODE_FAST_INSERT && mix(&p.random) % 4 == 0)
			*hash_mask = ~(uint64_t)0 >> 8 & ~(uint64_t)1;
		CHECK_EQ(shmkv_create("model:differential", &opts, &p.model), 0);
		CHECK_EQ(shmkv_unlink("model:differential"), 0);
		for (n = 0; n < n_steps; n++) {
			differ_step(&p);
			if (n % 4000 == 3999)
				compare_all(&p);
		}
		info = health(p.kv);
		migrations += info.migrations;
		moved += info.moved;
		map_free(p.kv);
		shmkv_detach(p.model);
	}
	fprintf(stderr, "%llu migrations, %llu entries moved\n", (unsigned long long)migrations,
		(unsigned long long)moved);
	CHECK(migrations > 2 * n_rounds);
}

/* ---- threads --------------------------------------------------------------------- */

enum { STAY = 2000, COME_AND_GO = 2000 };

struct crowd {
	struct shmkv *kv;
	bool stop;
	uint64_t n_reads;
};

/* A value of any length whose every byte tells the key it belongs to. */
static struct shmkv_value value_of(uint64_t key, uint64_t version, uint8_t *buf)
{
	size_t len = 8 + (key * 7 + version * 13) % 120;

	memset(buf, (int)(uint8_t)key, len);
	memcpy(buf, &key, sizeof(key));
	return shmkv_bin(buf, len);
}

static void check_value_of(uint64_t key, const uint8_t *buf, size_t len)
{
	size_t i;

	CHECK(len >= 8);
	CHECK(memcmp(buf, &key, sizeof(key)) == 0);
	for (i = 8; i < len; i++)
		CHECK_EQ(buf[i], (uint8_t)key);
}

/* Keys that stay are always found; whatever is found is right. */
static void *read_all(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t random = (uintptr_t)&random, key, n = 0;
	struct shmkv_value value;
	uint8_t buf[256];
	int r;

	while (!__atomic_load_n(&crowd->stop, __ATOMIC_RELAXED)) {
		key = mix(&random) % (STAY + COME_AND_GO);
		r = shmkv_get(crowd->kv, &key, sizeof(key), buf, sizeof(buf), &value, NULL);
		CHECK(r == 0 || (r == -ENOENT && key >= STAY));
		if (r == 0)
			check_value_of(key, value.data, value.len);
		n++;
	}
	__atomic_fetch_add(&crowd->n_reads, n, __ATOMIC_RELAXED);
	return NULL;
}

/* A scan gives each key that stays exactly once. */
static void *scan_all(void *arg)
{
	struct crowd *crowd = arg;
	uint8_t *seen = malloc(STAY + COME_AND_GO);
	struct shmkv_entry entry;
	struct shmkv_value value;
	struct shmkv_scan *scan;
	uint64_t key;
	int r;

	CHECK(seen != NULL);
	while (!__atomic_load_n(&crowd->stop, __ATOMIC_RELAXED)) {
		memset(seen, 0, STAY + COME_AND_GO);
		CHECK_EQ(shmkv_scan_begin(crowd->kv, 0, &scan), 0);
		while ((r = shmkv_scan_next(scan, &entry)) == 1) {
			if (entry.key_len != sizeof(key))
				continue; /* a sum */
			memcpy(&key, entry.key, sizeof(key));
			CHECK(key < STAY + COME_AND_GO);
			CHECK_EQ(shmkv_value_decode(entry.value, entry.value_len, &value), 0);
			check_value_of(key, value.data, value.len);
			CHECK(key >= STAY || seen[key] == 0);
			seen[key]++;
		}
		CHECK_EQ(r, 0);
		shmkv_scan_end(scan);
		for (key = 0; key < STAY; key++)
			CHECK_EQ(seen[key], 1);
	}
	free(seen);
	return NULL;
}

struct writer {
	struct crowd *crowd;
	uint64_t number, random, n_steps;
	int64_t n_keys; /* put less deleted, by this thread */
};

/* Writers have keys of their own among those that come and go, so that they know what they did. */
static void *write_some(void *arg)
{
	struct writer *w = arg;
	uint64_t key, n, sum;
	uint8_t buf[256];
	char name[16];
	int r;

	for (n = 0; n < w->n_steps; n++) {
		key = mix(&w->random) % STAY;
		CHECK_EQ(shmkv_put(w->crowd->kv, &key, sizeof(key), value_of(key, n, buf), NULL), 0);
		key = STAY + mix(&w->random) % (COME_AND_GO / 2) * 2 + w->number % 2;
		if (mix(&w->random) % 2) {
			r = shmkv_add(w->crowd->kv, &key, sizeof(key), value_of(key, n, buf), NULL);
			CHECK(r == 0 || r == -EEXIST);
			w->n_keys += r == 0;
		} else {
			r = shmkv_del(w->crowd->kv, &key, sizeof(key));
			CHECK(r == 0 || r == -ENOENT);
			w->n_keys -= r == 0;
		}
		snprintf(name, sizeof(name), "sum %u", (unsigned int)w->number);
		CHECK_EQ(shmkv_incr(w->crowd->kv, name, strlen(name), 1, 0, NULL), 0);
		if (n % 7 == 6) {
			CHECK_EQ(shmkv_get_uint(w->crowd->kv, name, strlen(name), &sum), 0);
			CHECK_EQ(sum, 7u);
			CHECK_EQ(shmkv_del(w->crowd->kv, name, strlen(name)), 0);
		}
		if (n % 5000 == 0)
			CHECK_EQ(shmkv_compact(w->crowd->kv), 0);
	}
	/* Each thread leaves its sum, or has just taken it away. */
	w->n_keys += w->n_steps % 7 != 0;
	return NULL;
}

static void run_crowd(struct shmkv_adaptive_options *adaptive)
{
	struct crowd crowd = { .kv = map_new(adaptive, NULL) };
	struct writer writers[2];
	pthread_t readers[2], scanner, threads[2];
	uint64_t key, count, n_steps = skv_test_is_slow() ? 3000 : 15000;
	struct shmkv_adaptive_info info;
	int64_t n_keys = STAY;
	uint8_t buf[256];
	size_t i;

	for (key = 0; key < STAY; key++)
		CHECK_EQ(shmkv_put(crowd.kv, &key, sizeof(key), value_of(key, 0, buf), NULL), 0);
	for (i = 0; i < ARRAY_LEN(readers); i++)
		CHECK_EQ(pthread_create(&readers[i], NULL, read_all, &crowd), 0);
	CHECK_EQ(pthread_create(&scanner, NULL, scan_all, &crowd), 0);
	for (i = 0; i < ARRAY_LEN(writers); i++) {
		writers[i] = (struct writer){ .crowd = &crowd, .number = i, .random = i, .n_steps = n_steps };
		CHECK_EQ(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
	}
	for (i = 0; i < ARRAY_LEN(writers); i++) {
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
		n_keys += writers[i].n_keys;
	}
	__atomic_store_n(&crowd.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_LEN(readers); i++)
		CHECK_EQ(pthread_join(readers[i], NULL), 0);
	CHECK_EQ(pthread_join(scanner, NULL), 0);

	info = health(crowd.kv);
	fprintf(stderr, "%llu reads, %llu migrations, %llu compactions, %llu entries moved\n",
		(unsigned long long)crowd.n_reads, (unsigned long long)info.migrations,
		(unsigned long long)info.compactions, (unsigned long long)info.moved);
	CHECK_EQ(shmkv_count(crowd.kv, &count), 0);
	CHECK_EQ(count, (uint64_t)n_keys);
	CHECK(info.moved > 4 * n_steps);
	map_free(crowd.kv);
}

static void readers_are_right_while_writers_make_it_move(void)
{
	struct shmkv_adaptive_options adaptive = {
		.initial_buckets = 8,
		.initial_capacity_rh = 8,
		.groups_per_bucket = 1,
		.max_group_len = 1,
		.incremental_batch = 50,
		.max_lf_chaining = 1,
		.max_avg_probe_robinhood = 0.1,
		.max_tombstone_ratio = 0.01,
	};

	run_crowd(&adaptive);
}

static void readers_are_right_while_tombstones_are_compacted(void)
{
	struct shmkv_adaptive_options adaptive = {
		.mode = SHMKV_MODE_MEMORY_TIGHT,
		.incremental_batch = 100,
		.max_tombstone_ratio = 0.005,
	};

	run_crowd(&adaptive);
}

static void *clear_often(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t key, round, rounds = skv_test_is_slow() ? 50 : 300;
	uint8_t buf[256];

	for (round = 0; round < rounds; round++) {
		for (key = STAY; key < STAY + COME_AND_GO; key += 5)
			CHECK_EQ(shmkv_put(crowd->kv, &key, sizeof(key), value_of(key, round, buf), NULL),
				 0);
		CHECK_EQ(shmkv_clear(crowd->kv, NULL), 0);
	}
	__atomic_store_n(&crowd->stop, true, __ATOMIC_RELAXED);
	return NULL;
}

static void readers_are_right_while_it_is_cleared(void)
{
	struct shmkv_adaptive_options adaptive = { .incremental_batch = 10 };
	struct crowd crowd = { .kv = map_new(&adaptive, NULL) };
	struct shmkv_value value;
	pthread_t writer;
	uint8_t buf[256];
	uint64_t key, n;
	int r;

	CHECK_EQ(pthread_create(&writer, NULL, clear_often, &crowd), 0);
	for (n = 0; !__atomic_load_n(&crowd.stop, __ATOMIC_RELAXED); n++) {
		key = STAY + n % COME_AND_GO;
		r = shmkv_get(crowd.kv, &key, sizeof(key), buf, sizeof(buf), &value, NULL);
		CHECK(r == 0 || r == -ENOENT);
		if (r == 0)
			check_value_of(key, value.data, value.len);
	}
	CHECK_EQ(pthread_join(writer, NULL), 0);
	CHECK_EQ(shmkv_count(crowd.kv, &n), 0);
	CHECK_EQ(n, 0u);
	map_free(crowd.kv);
}

const struct skv_test skv_tests_adaptive[] = {
	{ "adaptive", "options outside their range are refused", options_outside_their_range_are_refused,
	  10 },
	{ "adaptive", "a table that can never fit is refused", a_table_that_can_never_fit_is_refused, 10 },
	{ "adaptive", "the capacity is laid out at once", the_capacity_is_laid_out_at_once, 10 },
	{ "adaptive", "it leaves chaining at the load limit", it_leaves_chaining_at_the_load_limit, 10 },
	{ "adaptive", "it leaves chaining at the longest group", it_leaves_chaining_at_the_longest_group,
	  10 },
	{ "adaptive", "it leaves Robin Hood at the probe limit", it_leaves_robin_hood_at_the_probe_limit,
	  10 },
	{ "adaptive", "tombstones are compacted at their limit", tombstones_are_compacted_at_their_limit,
	  10 },
	{ "adaptive", "compaction on request leaves no tombstone and little room",
	  compaction_on_request_leaves_no_tombstone_and_little_room, 20 },
	{ "adaptive", "compaction by the clock needs writes and time",
	  compaction_by_the_clock_needs_writes_and_time, 20 },
	{ "adaptive", "a large map is told once", a_large_map_is_told_once, 10 },
	{ "adaptive", "the function for events may use the map", the_function_for_events_may_use_the_map,
	  10 },
	{ "adaptive", "churn of distinct keys ends", churn_of_distinct_keys_ends, 20 },
	{ "adaptive", "a move undoes nothing", a_move_undoes_nothing, 10 },
	{ "adaptive", "keys with one hash are kept apart", keys_with_one_hash_are_kept_apart, 60 },
	{ "adaptive", "it does not go to and fro", it_does_not_go_to_and_fro, 60 },
	{ "adaptive", "the tight mode is smaller", the_tight_mode_is_smaller, 20 },
	{ "adaptive", "a map without memory for tables goes on",
	  a_map_without_memory_for_tables_goes_on, 30 },
	{ "adaptive", "a million operations end like the model", a_million_operations_end_like_the_model,
	  300 },
	{ "adaptive", "readers are right while writers make it move",
	  readers_are_right_while_writers_make_it_move, 120 },
	{ "adaptive", "readers are right while tombstones are compacted",
	  readers_are_right_while_tombstones_are_compacted, 120 },
	{ "adaptive", "readers are right while it is cleared", readers_are_right_while_it_is_cleared,
	  60 },
	{ 0 },
};

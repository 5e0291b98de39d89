/* SPDX-License-Identifier: MIT */
/* test-snapshot: frozen maps through the public calls. */
#include "tests/test.h"

#include <shmkv/inspect.h>
#include <shmkv/snapshot.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KEY(text) (text), strlen(text)

#define N_KEYS 2000u
#define ABSENT UINT64_MAX

static uint64_t next_random(uint64_t *random)
{
	uint64_t x = *random += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static struct shmkv *map_new(uint64_t max_bytes)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;

	opts.max_bytes = max_bytes;
	CHECK_EQ(shmkv_create("heap:hamt/snapshot", &opts, &kv), 0);
	return kv;
}

static uint64_t reserved(struct shmkv *kv)
{
	struct shmkv_info info = { .size = sizeof(info) };

	CHECK_EQ(shmkv_info(kv, &info), 0);
	return info.reserved_bytes;
}

static void check_sound(struct shmkv *kv)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	uint64_t count;

	CHECK_EQ(shmkv_check(kv, NULL, NULL, &audit), 0);
	CHECK_EQ(audit.violations, 0u);
	CHECK_EQ(audit.leaked_bytes, 0u);
	CHECK_EQ(shmkv_count(kv, &count), 0);
	CHECK_EQ(audit.keys, count);
}

/* Whatever a test did: an empty map holds no memory. */
static void map_end(struct shmkv *kv)
{
	check_sound(kv);
	CHECK_EQ(shmkv_clear(kv, NULL), 0);
	check_sound(kv);
	CHECK_EQ(shmkv_maintain(kv), 0);
	check_sound(kv);
	CHECK_EQ(reserved(kv), 0u);
	CHECK(shmkv_detach(kv) == NULL);
}

/* ---- a model --------------------------------------------------------------------- */

struct model {
	struct shmkv *kv; /* NULL: no snapshot yet */
	uint64_t values[N_KEYS];
	uint64_t count;
};

static void model_clear(struct model *m)
{
	memset(m->values, 0xff, sizeof(m->values));
	m->count = 0;
}

static void change(struct model *m, uint64_t *random, uint64_t n)
{
	uint64_t i, key, value;

	for (i = 0; i < n; i++) {
		key = next_random(random) % N_KEYS;
		value = next_random(random) >> 1;
		if (next_random(random) % 5 < 3) {
			CHECK_EQ(shmkv_put(m->kv, &key, sizeof(key), shmkv_uint(value), NULL), 0);
			m->count += m->values[key] == ABSENT;
			m->values[key] = value;
		} else {
			CHECK_EQ(shmkv_del(m->kv, &key, sizeof(key)),
				 m->values[key] == ABSENT ? -ENOENT : 0);
			m->count -= m->values[key] != ABSENT;
			m->values[key] = ABSENT;
		}
	}
}

static void freeze(const struct model *m, struct model *snapshot)
{
	*snapshot = *m;
	CHECK_EQ(shmkv_snapshot(m->kv, &snapshot->kv), 0);
}

static uint64_t entry_key(const struct shmkv_entry *entry)
{
	uint64_t key;

	CHECK_EQ(entry->key_len, sizeof(key));
	memcpy(&key, entry->key, sizeof(key));
	CHECK(key < N_KEYS);
	return key;
}

static uint64_t entry_value(const struct shmkv_entry *entry)
{
	struct shmkv_value value;

	CHECK_EQ(shmkv_value_decode(entry->value, entry->value_len, &value), 0);
	return value.type == SHMKV_INT ? (uint64_t)value.i64 : value.u64;
}

static void check_scan(struct shmkv_scan *scan, const struct model *m)
{
	struct shmkv_entry entry;
	uint8_t seen[N_KEYS] = { 0 };
	uint64_t n = 0, key;
	int r;

	while ((r = shmkv_scan_next(scan, &entry)) == 1) {
		key = entry_key(&entry);
		CHECK_EQ(seen[key], 0);
		seen[key] = 1;
		CHECK_EQ(entry_value(&entry), m->values[key]);
		n++;
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(n, m->count);
}

/* By every way to read. */
static void check_content(const struct model *m)
{
	struct shmkv_scan *scan;
	uint64_t i, value, count;

	CHECK_EQ(shmkv_count(m->kv, &count), 0);
	CHECK_EQ(count, m->count);
	for (i = 0; i < N_KEYS; i++) {
		CHECK_EQ(shmkv_exists(m->kv, &i, sizeof(i)), m->values[i] == ABSENT ? -ENOENT : 0);
		if (m->values[i] == ABSENT)
			continue;
		CHECK_EQ(shmkv_get_uint(m->kv, &i, sizeof(i), &value), 0);
		CHECK_EQ(value, m->values[i]);
	}
	CHECK_EQ(shmkv_scan_begin(m->kv, 0, &scan), 0);
	check_scan(scan, m);
	shmkv_scan_end(scan);
}

/* ---- one thread ------------------------------------------------------------------ */

static void snapshots_stay_while_the_map_changes(void)
{
	uint64_t random = skv_test_seed(), i, n_rounds = skv_test_is_slow() ? 30 : 300;
	struct model *m = malloc(sizeof(*m)), *snapshots = calloc(8, sizeof(*snapshots)), *s;

	CHECK(m && snapshots);
	m->kv = map_new(0);
	model_clear(m);
	for (i = 0; i < n_rounds; i++) {
		change(m, &random, next_random(&random) % 500);
		if (next_random(&random) % 30 == 0) {
			CHECK_EQ(shmkv_clear(m->kv, NULL), 0);
			model_clear(m);
		}
		s = &snapshots[next_random(&random) % 8];
		if (!s->kv) {
			freeze(m, s);
		} else {
			check_content(s);
			s->kv = shmkv_detach(s->kv);
		}
		check_sound(m->kv);
	}
	check_content(m);
	for (i = 0; i < 8; i++) {
		if (!snapshots[i].kv)
			continue;
		check_content(&snapshots[i]);
		shmkv_detach(snapshots[i].kv);
	}
	map_end(m->kv);
	free(snapshots);
	free(m);
}

static void *wait_for_end(void *arg)
{
	sem_wait(arg);
	return NULL;
}

/* A process that has two threads locks, and frees only after a grace period. */
static void so_they_do_where_another_thread_might_read(void)
{
	pthread_t thread;
	sem_t end;

	CHECK_EQ(sem_init(&end, 0, 0), 0);
	CHECK_EQ(pthread_create(&thread, NULL, wait_for_end, &end), 0);
	snapshots_stay_while_the_map_changes();
	CHECK_EQ(sem_post(&end), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	sem_destroy(&end);
}

static void a_scan_gives_the_map_of_one_moment(void)
{
	uint64_t random = skv_test_seed(), i;
	struct model *m = malloc(sizeof(*m)), *then = malloc(sizeof(*then));
	struct shmkv_scan *scan;

	CHECK(m && then);
	m->kv = map_new(0);
	model_clear(m);
	change(m, &random, 3000);
	for (i = 0; i < 20; i++) {
		*then = *m;
		CHECK_EQ(shmkv_scan_begin(m->kv, 0, &scan), 0);
		change(m, &random, i * 50);
		check_scan(scan, then);
		change(m, &random, 50);
		shmkv_scan_end(scan);
	}
	map_end(m->kv);
	free(then);
	free(m);
}

static void a_snapshot_reads_and_does_not_write(void)
{
	struct shmkv *kv = map_new(0), *snapshot, *none = NULL;
	struct shmkv_info info = { .size = sizeof(info) };
	uint64_t token, n, bits;
	struct shmkv_value value;
	size_t len;
	char buf[8];

	CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_str("v"), &token), 0);
	CHECK_EQ(shmkv_snapshot(kv, &snapshot), 0);
	CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_str("w"), NULL), 0);

	CHECK_EQ(shmkv_get_str(snapshot, KEY("k"), buf, sizeof(buf), &len), 0);
	CHECK_MEM(buf, len, "v", 1);
	CHECK_EQ(shmkv_get(snapshot, KEY("k"), buf, sizeof(buf), &value, &n), 0);
	CHECK_EQ(n, token);
	CHECK_EQ(shmkv_get_str(snapshot, KEY("k"), NULL, 0, &len), -ENOBUFS);
	CHECK_EQ(shmkv_put(snapshot, KEY("k"), shmkv_nil(), NULL), -EROFS);
	CHECK_EQ(shmkv_add(snapshot, KEY("n"), shmkv_nil(), NULL), -EROFS);
	CHECK_EQ(shmkv_cas(snapshot, KEY("k"), token, shmkv_nil(), NULL), -EROFS);
	CHECK_EQ(shmkv_del(snapshot, KEY("k")), -EROFS);
	CHECK_EQ(shmkv_take(snapshot, KEY("k"), buf, sizeof(buf), &len), -EROFS);
	CHECK_EQ(shmkv_incr(snapshot, KEY("n"), 1, 0, NULL), -EROFS);
	CHECK_EQ(shmkv_append(snapshot, KEY("k"), shmkv_str("x"), NULL), -EROFS);
	CHECK_EQ(shmkv_clear(snapshot, NULL), -EROFS);
	CHECK_EQ(shmkv_maintain(snapshot), -EROFS);
	CHECK_EQ(shmkv_snapshot(snapshot, &none), -EOPNOTSUPP);
	CHECK(none == NULL);

	CHECK_EQ(shmkv_info(snapshot, &info), 0);
	CHECK_STR(info.engine, "heap:hamt");
	CHECK_STR(info.name, "snapshot");
	CHECK_EQ(info.read_only, 1u);
	CHECK_EQ(info.count, 1u);
	CHECK_EQ(shmkv_capabilities(kv, &bits), 0);
	CHECK(bits & SHMKV_CAN_SNAPSHOT);
	CHECK_EQ(shmkv_capabilities(snapshot, &bits), 0);
	CHECK(!(bits & SHMKV_CAN_SNAPSHOT));

	CHECK(shmkv_detach(snapshot) == NULL);
	CHECK_EQ(shmkv_exists(snapshot, KEY("k")), -EBADF);
	CHECK_EQ(shmkv_snapshot(snapshot, &none), -EBADF);
	CHECK_EQ(shmkv_snapshot(kv, NULL), -EINVAL);
	map_end(kv);
}

static void snapshots_and_scans_may_outlive_the_map(void)
{
	uint64_t random = skv_test_seed();
	struct model *m = malloc(sizeof(*m)), *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));
	struct shmkv_scan *scan, *of_snapshot;
	struct shmkv_entry entry;

	CHECK(m && a && b);
	m->kv = map_new(0);
	model_clear(m);
	change(m, &random, 3000);
	freeze(m, a);
	change(m, &random, 3000);
	freeze(m, b);
	CHECK_EQ(shmkv_scan_begin(m->kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_begin(a->kv, 0, &of_snapshot), 0);
	CHECK_EQ(shmkv_scan_next(of_snapshot, &entry), 1);
	CHECK(shmkv_detach(m->kv) == NULL);

	CHECK_EQ(shmkv_scan_next(scan, &entry), -EBADF);
	check_content(a);
	CHECK_EQ(shmkv_scan_next(of_snapshot, &entry), 1);
	shmkv_detach(a->kv);
	CHECK_EQ(shmkv_scan_next(of_snapshot, &entry), -EBADF);
	shmkv_scan_end(of_snapshot);
	check_content(b);
	shmkv_scan_end(scan);
	check_content(b);
	shmkv_detach(b->kv);
	free(m);
	free(a);
	free(b);
}

/* ---- difference ------------------------------------------------------------------ */

struct seen {
	const struct model *before, *after;
	uint64_t n;
	uint8_t seen[N_KEYS];
};

static int note_difference(const struct shmkv_difference *d, void *arg)
{
	struct seen *seen = arg;
	uint64_t key;

	CHECK(d->before || d->after);
	key = entry_key(d->before ? d->before : d->after);
	CHECK_EQ(seen->seen[key], 0);
	seen->seen[key] = 1;
	seen->n++;
	CHECK_EQ(d->before ? entry_value(d->before) : ABSENT, seen->before->values[key]);
	CHECK_EQ(d->after ? entry_value(d->after) : ABSENT, seen->after->values[key]);
	if (d->before && d->after) {
		CHECK_EQ(entry_key(d->after), key);
		CHECK(d->before->token != d->after->token);
	}
	return 0;
}

static void check_difference(const struct model *before, const struct model *after)
{
	struct seen seen = { .before = before, .after = after };
	uint64_t i, expected = 0;

	for (i = 0; i < N_KEYS; i++)
		expected += before->values[i] != after->values[i];
	CHECK_EQ(shmkv_diff(before->kv, after->kv, note_difference, &seen), 0);
	CHECK_EQ(seen.n, expected);
}

static void a_difference_names_what_changed_and_nothing_else(void)
{
	uint64_t random = skv_test_seed(), i, j;
	struct model *m = malloc(sizeof(*m)), *snapshots = calloc(6, sizeof(*snapshots));

	CHECK(m && snapshots);
	m->kv = map_new(0);
	model_clear(m);
	for (i = 0; i < 6; i++) {
		freeze(m, &snapshots[i]);
		change(m, &random, i % 2 ? 20 : 2000);
		if (i == 3) {
			CHECK_EQ(shmkv_clear(m->kv, NULL), 0);
			model_clear(m);
		}
	}
	for (i = 0; i < 6; i++) {
		for (j = 0; j < 6; j++)
			check_difference(&snapshots[i], &snapshots[j]);
	}
	for (i = 0; i < 6; i++)
		shmkv_detach(snapshots[i].kv);
	map_end(m->kv);
	free(snapshots);
	free(m);
}

static int count_calls(const struct shmkv_difference *d, void *arg)
{
	(void)d;
	return ++*(int *)arg == 2 ? 42 : 0;
}

static void a_difference_of_strangers_is_refused(void)
{
	struct shmkv *a = map_new(0), *b = map_new(0), *sa, *sb, *model_kv;
	int n = 0;

	CHECK_EQ(shmkv_snapshot(a, &sa), 0);
	CHECK_EQ(shmkv_snapshot(b, &sb), 0);
	CHECK_EQ(shmkv_diff(sa, sb, count_calls, &n), -EINVAL);
	CHECK_EQ(shmkv_diff(a, sa, count_calls, &n), -EOPNOTSUPP);
	CHECK_EQ(shmkv_diff(sa, a, count_calls, &n), -EOPNOTSUPP);
	CHECK_EQ(shmkv_diff(sa, sa, NULL, &n), -EINVAL);
	CHECK_EQ(shmkv_diff(sa, sa, count_calls, &n), 0);
	CHECK_EQ(shmkv_diff(NULL, sa, count_calls, &n), -EBADF);
	CHECK_EQ(n, 0);

	/* What the function answers ends the walk. */
	shmkv_detach(sb);
	CHECK_EQ(shmkv_put(a, KEY("1"), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_put(a, KEY("2"), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_put(a, KEY("3"), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_snapshot(a, &sb), 0);
	CHECK_EQ(shmkv_diff(sa, sb, count_calls, &n), 42);
	CHECK_EQ(n, 2);
	shmkv_detach(sb);
	shmkv_detach(sa);
	CHECK_EQ(shmkv_diff(sa, sb, count_calls, &n), -EBADF);

	/* An engine that has no snapshots. */
	CHECK_EQ(shmkv_create("snapshot-none", NULL, &model_kv), 0);
	CHECK_EQ(shmkv_unlink("snapshot-none"), 0);
	CHECK_EQ(shmkv_snapshot(model_kv, &sa), -EOPNOTSUPP);
	shmkv_detach(model_kv);
	map_end(a);
	map_end(b);
}

/* ---- memory ---------------------------------------------------------------------- */

static void a_full_map_can_be_looked_at_and_emptied_under_a_snapshot(void)
{
	enum { LEN = 100 };
	struct shmkv *kv = map_new((uint64_t)2 << 20), *snapshot;
	uint8_t payload[LEN] = { 1 }, buf[LEN];
	uint64_t i, n, full, seen = 0;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	size_t len;
	int r;

	for (n = 0; (r = shmkv_put(kv, &n, sizeof(n), shmkv_bin(payload, LEN), NULL)) == 0; n++)
		;
	CHECK_EQ(r, -ENOSPC);
	full = reserved(kv);
	CHECK_EQ(shmkv_snapshot(kv, &snapshot), 0);
	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	while (shmkv_scan_next(scan, &entry) == 1)
		seen++;
	shmkv_scan_end(scan);
	CHECK_EQ(seen, n);

	/* What the snapshot holds is not free, but deleting goes on. */
	for (i = 0; i < n; i++)
		CHECK_EQ(shmkv_del(kv, &i, sizeof(i)), 0);
	check_sound(kv);
	CHECK(reserved(kv) >= full);
	CHECK(reserved(kv) <= full + n * 64);
	CHECK_EQ(shmkv_put(kv, KEY("new"), shmkv_bin(payload, LEN), NULL), -ENOSPC);
	for (i = 0; i < n; i++) {
		CHECK_EQ(shmkv_get_bin(snapshot, &i, sizeof(i), buf, LEN, &len), 0);
		CHECK_MEM(buf, len, payload, LEN);
	}
	shmkv_detach(snapshot);
	/* All of it is to be had again, but for what nodes of other sizes on the way have taken. */
	for (i = 0; (r = shmkv_put(kv, &i, sizeof(i), shmkv_bin(payload, LEN), NULL)) == 0; i++)
		;
	CHECK_EQ(r, -ENOSPC);
	CHECK(i >= n - n / 50);
	map_end(kv);
}

static void a_cleared_map_gives_its_memory_to_later_writes(void)
{
	struct shmkv *kv = map_new((uint64_t)64 << 20);
	uint64_t i, n = 20000, before;

	for (i = 0; i < n; i++)
		CHECK_EQ(shmkv_put(kv, &i, sizeof(i), shmkv_uint(i), NULL), 0);
	before = reserved(kv);
	CHECK_EQ(shmkv_clear(kv, &i), 0);
	CHECK_EQ(i, n);
	/* One call does not take everything apart, as many as there were keys do. */
	CHECK(reserved(kv) > before / 2);
	for (i = 0; i < n; i++) {
		CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_uint(i), NULL), 0);
	}
	CHECK_EQ(shmkv_maintain(kv), 0);
	CHECK(reserved(kv) < before);
	map_end(kv);
}

static void the_shape_is_told_in_numbers(void)
{
	struct shmkv *kv = map_new(0), *snapshot;
	struct shmkv_hamt_info info = { .size = sizeof(info) };
	uint64_t i;

	CHECK_EQ(shmkv_hamt_info(kv, &info), 0);
	CHECK_EQ(info.entries, 0u);
	CHECK_EQ(info.nodes, 0u);
	for (i = 0; i < 10000; i++)
		CHECK_EQ(shmkv_put(kv, &i, sizeof(i), shmkv_uint(i), NULL), 0);
	CHECK_EQ(shmkv_snapshot(kv, &snapshot), 0);
	CHECK_EQ(shmkv_clear(kv, NULL), 0);
	CHECK_EQ(shmkv_hamt_info(snapshot, &info), 0);
	CHECK_EQ(info.entries, 10000u);
	CHECK_EQ(info.collision_nodes, 0u);
	CHECK(info.depth_mean > 2 && info.depth_mean < 5);
	CHECK(info.depth_max >= 3 && info.depth_max < 10);
	CHECK(info.bitmap_use > 0.05 && info.bitmap_use < 1);
	CHECK(info.bytes_per_entry > 32 && info.bytes_per_entry < 100);
	CHECK_EQ(shmkv_hamt_info(kv, &info), 0);
	CHECK_EQ(info.entries, 0u);
	CHECK_EQ(shmkv_hamt_info(kv, NULL), -EINVAL);
	shmkv_detach(snapshot);
	map_end(kv);
}

/* ---- fork ------------------------------------------------------------------------ */

static void a_forked_child_is_refused_and_the_parent_undisturbed(void)
{
	uint64_t random = skv_test_seed(), count;
	struct model *m = malloc(sizeof(*m)), *s = malloc(sizeof(*s));
	struct shmkv *none;
	pid_t pid;
	int i;

	CHECK(m && s);
	m->kv = map_new(0);
	model_clear(m);
	change(m, &random, 2000);
	freeze(m, s);
	change(m, &random, 2000);
	for (i = 0; i < 2; i++) {
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			CHECK_EQ(shmkv_count(s->kv, &count), -ECHILD);
			CHECK_EQ(shmkv_snapshot(m->kv, &none), -ECHILD);
			CHECK_EQ(shmkv_diff(s->kv, s->kv, count_calls, NULL), -ECHILD);
			if (i == 0) {
				shmkv_detach(m->kv);
				shmkv_detach(s->kv);
			}
			/* The engine itself works in a child. */
			m->kv = map_new(0);
			model_clear(m);
			change(m, &random, 1000);
			freeze(m, s);
			change(m, &random, 1000);
			check_content(m);
			check_content(s);
			_exit(0);
		}
		skv_test_wait_ok(pid);
	}
	check_content(s);
	check_content(m);
	shmkv_detach(s->kv);
	map_end(m->kv);
	free(m);
	free(s);
}

/* ---- threads --------------------------------------------------------------------- */

/*
 * Writers count keys of their own up, round by round and in the order of the keys. So a picture
 * of one moment shows, for each writer, a front of keys with some number and the rest with that
 * number or one less; a look at the map itself never goes back.
 */
#define N_WRITERS 2u
#define N_ROW 200u

struct race {
	struct shmkv *kv;
	uint64_t n_rounds;
	uint32_t writers_left;
};

struct racer {
	struct race *race;
	pthread_t thread;
	uint64_t number, n_done;
};

struct row_key {
	uint64_t writer, column;
};

static void *write_rows(void *arg)
{
	struct racer *racer = arg;
	struct row_key key = { .writer = racer->number };
	struct row_key extra = { .writer = 100 + racer->number };
	uint64_t round;

	for (round = 1; round <= racer->race->n_rounds; round++) {
		for (key.column = 0; key.column < N_ROW; key.column++) {
			CHECK_EQ(shmkv_put(racer->race->kv, &key, sizeof(key), shmkv_uint(round),
					   NULL), 0);
			/* Others come and go between them, so that the tree changes its form. */
			extra.column = round * 7 + key.column;
			CHECK_EQ(shmkv_put(racer->race->kv, &extra, sizeof(extra),
					   shmkv_uint(extra.column), NULL), 0);
			extra.column = (round - 1) * 7 + key.column;
			if (round > 1)
				shmkv_del(racer->race->kv, &extra, sizeof(extra));
		}
	}
	__atomic_sub_fetch(&racer->race->writers_left, 1, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_over(const struct race *race)
{
	return __atomic_load_n(&race->writers_left, __ATOMIC_ACQUIRE) == 0;
}

static void check_picture(struct shmkv *snapshot)
{
	struct row_key key;
	uint64_t value, front, last;

	for (key.writer = 0; key.writer < N_WRITERS; key.writer++) {
		key.column = 0;
		CHECK_EQ(shmkv_get_uint(snapshot, &key, sizeof(key), &front), 0);
		last = front;
		for (key.column = 1; key.column < N_ROW; key.column++) {
			CHECK_EQ(shmkv_get_uint(snapshot, &key, sizeof(key), &value), 0);
			CHECK(value <= last && value + 1 >= front);
			last = value;
		}
	}
}

static int check_forwards(const struct shmkv_difference *d, void *arg)
{
	struct shmkv_value before, after;

	(void)arg;
	CHECK(d->before || d->after);
	if (!d->before || !d->after)
		return 0;
	CHECK_EQ(shmkv_value_decode(d->before->value, d->before->value_len, &before), 0);
	CHECK_EQ(shmkv_value_decode(d->after->value, d->after->value_len, &after), 0);
	CHECK(d->before->token < d->after->token);
	CHECK(before.i64 <= after.i64);
	return 0;
}

static void *take_snapshots(void *arg)
{
	struct racer *racer = arg;
	struct shmkv *last = NULL, *snapshot;

	do {
		CHECK_EQ(shmkv_snapshot(racer->race->kv, &snapshot), 0);
		check_picture(snapshot);
		if (last)
			CHECK_EQ(shmkv_diff(last, snapshot, check_forwards, NULL), 0);
		/* Now the older, now the newer ends first. */
		if (racer->n_done % 3 == 0) {
			shmkv_detach(snapshot);
		} else {
			shmkv_detach(last);
			last = snapshot;
		}
		racer->n_done++;
	} while (!is_over(racer->race));
	shmkv_detach(last);
	return NULL;
}

static void *read_rows(void *arg)
{
	struct racer *racer = arg;
	uint64_t seen[N_WRITERS][N_ROW] = { { 0 } }, value;
	struct row_key key;

	do {
		for (key.writer = 0; key.writer < N_WRITERS; key.writer++) {
			for (key.column = 0; key.column < N_ROW; key.column++) {
				CHECK_EQ(shmkv_get_uint(racer->race->kv, &key, sizeof(key), &value),
					 0);
				CHECK(value >= seen[key.writer][key.column]);
				seen[key.writer][key.column] = value;
			}
		}
		racer->n_done++;
	} while (!is_over(racer->race));
	return NULL;
}

static void *scan_rows(void *arg)
{
	struct racer *racer = arg;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct row_key key;
	uint64_t n;

	do {
		n = 0;
		CHECK_EQ(shmkv_scan_begin(racer->race->kv, 0, &scan), 0);
		while (shmkv_scan_next(scan, &entry) == 1) {
			memcpy(&key, entry.key, sizeof(key));
			n += key.writer < N_WRITERS;
		}
		shmkv_scan_end(scan);
		CHECK_EQ(n, N_WRITERS * N_ROW);
		racer->n_done++;
	} while (!is_over(racer->race));
	return NULL;
}

static void threads_of_every_kind_see_no_wrong_value(void)
{
	void *(*const kinds[])(void *) = { write_rows, write_rows, take_snapshots, read_rows,
					   read_rows,  scan_rows,  take_snapshots };
	struct race race = { .kv = map_new(0), .writers_left = N_WRITERS };
	struct racer racers[ARRAY_LEN(kinds)];
	struct row_key key;
	size_t i;

	race.n_rounds = skv_test_is_slow() ? 20 : 200;
	for (key.writer = 0; key.writer < N_WRITERS; key.writer++) {
		for (key.column = 0; key.column < N_ROW; key.column++)
			CHECK_EQ(shmkv_put(race.kv, &key, sizeof(key), shmkv_uint(0), NULL), 0);
	}
	for (i = 0; i < ARRAY_LEN(kinds); i++) {
		racers[i] = (struct racer){ .race = &race, .number = i };
		CHECK_EQ(pthread_create(&racers[i].thread, NULL, kinds[i], &racers[i]), 0);
	}
	for (i = 0; i < ARRAY_LEN(kinds); i++)
		CHECK_EQ(pthread_join(racers[i].thread, NULL), 0);
	for (i = N_WRITERS; i < ARRAY_LEN(kinds); i++)
		CHECK(racers[i].n_done > 0);
	map_end(race.kv);
}

/* ---- ends beside others ----------------------------------------------------------- */

static struct {
	struct shmkv *kv;
	bool full; /* writes that find no memory, in place of maintenance */
	int stop;
} beside;

static void *press_for_memory(void *arg)
{
	static uint8_t payload[2000];
	const uint64_t none = (uint64_t)1 << 40;
	uint64_t key = none;
	int r;

	(void)arg;
	while (!__atomic_load_n(&beside.stop, __ATOMIC_RELAXED)) {
		if (!beside.full) {
			CHECK_EQ(shmkv_maintain(beside.kv), 0);
			continue;
		}
		r = shmkv_put(beside.kv, &key, sizeof(key), shmkv_bin(payload, sizeof(payload)), NULL);
		CHECK(r == 0 || r == -ENOSPC);
		if (r == 0) {
			key++;
		} else if (key > none) {
			key--;
			CHECK_EQ(shmkv_del(beside.kv, &key, sizeof(key)), 0);
		}
	}
	return NULL;
}

/*
 * A snapshot ends in steps, between which others get their turn. Those who look for memory
 * finish ends that were given up, and nothing that is under way.
 */
static void ends_are_nobody_elses(bool full)
{
	enum { KEYS = 20000 };
	struct shmkv *first, *second;
	uint64_t i, round, value;
	pthread_t thread;

	memset(&beside, 0, sizeof(beside));
	beside.kv = map_new((uint64_t)8 << 20);
	beside.full = full;
	for (i = 0; i < KEYS; i++)
		CHECK_EQ(shmkv_put(beside.kv, &i, sizeof(i), shmkv_uint(i), NULL), 0);
	CHECK_EQ(pthread_create(&thread, NULL, press_for_memory, NULL), 0);
	for (round = 0; round < (skv_test_is_slow() ? 60 : 200); round++) {
		CHECK_EQ(shmkv_snapshot(beside.kv, &first), 0);
		for (i = round % 5; i < KEYS; i += 5) {
			/* Where memory is wanted by others too, some are not written. */
			int r = shmkv_put(beside.kv, &i, sizeof(i), shmkv_uint(i + KEYS * round), NULL);

			CHECK(r == 0 || (full && r == -ENOSPC));
		}
		CHECK_EQ(shmkv_snapshot(beside.kv, &second), 0);
		shmkv_detach(first);
		for (i = 0; i < KEYS; i += 97) {
			CHECK_EQ(shmkv_get_uint(second, &i, sizeof(i), &value), 0);
			CHECK_EQ(value % KEYS, i);
		}
		shmkv_detach(second);
	}
	__atomic_store_n(&beside.stop, 1, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	map_end(beside.kv);
}

static void an_end_is_nobody_elses_who_maintains(void)
{
	ends_are_nobody_elses(false);
}

static void an_end_is_nobody_elses_who_finds_no_memory(void)
{
	ends_are_nobody_elses(true);
}

const struct skv_test skv_tests_snapshot[] = {
	{ "snapshot", "snapshots stay what they were while the map changes",
	  snapshots_stay_while_the_map_changes, 60 },
	{ "snapshot", "so they do where another thread might read",
	  so_they_do_where_another_thread_might_read, 120 },
	{ "snapshot", "a scan gives the map of one moment", a_scan_gives_the_map_of_one_moment,
	  20 },
	{ "snapshot", "a snapshot reads, and does not write",
	  a_snapshot_reads_and_does_not_write, 10 },
	{ "snapshot", "snapshots and scans may outlive the map",
	  snapshots_and_scans_may_outlive_the_map, 20 },
	{ "difference", "a difference names what changed and nothing else",
	  a_difference_names_what_changed_and_nothing_else, 20 },
	{ "difference", "a difference of strangers is refused",
	  a_difference_of_strangers_is_refused, 10 },
	{ "memory", "a full map can be looked at, and emptied under a snapshot",
	  a_full_map_can_be_looked_at_and_emptied_under_a_snapshot, 30 },
	{ "memory", "a cleared map gives its memory to later writes",
	  a_cleared_map_gives_its_memory_to_later_writes, 20 },
	{ "thread", "an end is nobody else's who maintains", an_end_is_nobody_elses_who_maintains, 60 },
	{ "thread", "an end is nobody else's who finds no memory",
	  an_end_is_nobody_elses_who_finds_no_memory, 60 },
	{ "figures", "the shape of the trie is told in numbers", the_shape_is_told_in_numbers, 10 },
	{ "fork", "a forked child is refused and its parent undisturbed",
	  a_forked_child_is_refused_and_the_parent_undisturbed, 20 },
	{ "thread", "threads of every kind see no wrong value",
	  threads_of_every_kind_see_no_wrong_value, 120 },
	{ 0 },
};

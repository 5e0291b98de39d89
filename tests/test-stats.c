/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include <shmkv/view.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-stats: counters, histograms, memory by class and participants, against what was really
 * done.
 */

static struct shmkv_stats stats_of(struct shmkv *kv)
{
	struct shmkv_stats stats = { .size = sizeof(stats) };

	CHECK_EQ(shmkv_stats(kv, &stats), 0);
	return stats;
}

static struct shmkv_memory memory_of(struct shmkv *kv)
{
	struct shmkv_memory memory = { .size = sizeof(memory) };

	CHECK_EQ(shmkv_memory(kv, &memory), 0);
	return memory;
}

static uint64_t total(const uint64_t *counts, unsigned int n)
{
	uint64_t sum = 0;

	while (n-- > 0)
		sum += counts[n];
	return sum;
}

static void put_number(struct shmkv *kv, uint64_t key, uint64_t value)
{
	CHECK_EQ(shmkv_put(kv, &key, sizeof(key), shmkv_uint(value), NULL), 0);
}

/* ---- counters ------------------------------------------------------------------------ */

static void every_call_is_counted_by_kind_and_by_what_came_of_it(void)
{
	struct skv_segment s;
	struct shmkv_stats stats;
	struct shmkv_value value;
	uint64_t token, i;
	char buf[64];
	size_t len;
	int64_t n;

	skv_segment_begin(&s, 4 * MIB);
	stats = stats_of(s.kv);
	CHECK_EQ(stats.gets + stats.puts + stats.inserts + stats.unmet + stats.own_hits, 0);

	for (i = 0; i < 10; i++)
		put_number(s.kv, i, i);          /* 10 inserts */
	for (i = 0; i < 4; i++)
		put_number(s.kv, i, i + 1);      /* 4 updates */
	CHECK_EQ(shmkv_add(s.kv, KEY("a"), shmkv_str("x"), &token), 0);
	CHECK_EQ(shmkv_add(s.kv, KEY("a"), shmkv_str("x"), NULL), -EEXIST);
	CHECK_EQ(shmkv_replace(s.kv, KEY("a"), shmkv_str("y"), &token), 0);
	CHECK_EQ(shmkv_replace(s.kv, KEY("b"), shmkv_str("y"), NULL), -ENOENT);
	CHECK_EQ(shmkv_cas(s.kv, KEY("a"), token, shmkv_str("z"), NULL), 0);
	CHECK_EQ(shmkv_cas(s.kv, KEY("a"), token, shmkv_str("z"), NULL), -ESTALE);
	CHECK_EQ(shmkv_incr(s.kv, KEY("n"), 1, 0, &n), 0);
	CHECK_EQ(shmkv_incr(s.kv, KEY("n"), 1, 0, &n), 0);
	CHECK_EQ(shmkv_incr(s.kv, KEY("a"), 1, 0, &n), -EPROTOTYPE);
	CHECK_EQ(shmkv_append(s.kv, KEY("a"), shmkv_str("!"), &len), 0);
	CHECK_EQ(shmkv_get(s.kv, KEY("a"), buf, sizeof(buf), &value, NULL), 0);
	CHECK_EQ(shmkv_get(s.kv, KEY("a"), NULL, 0, &value, NULL), -ENOBUFS);
	CHECK_EQ(shmkv_get(s.kv, KEY("none"), buf, sizeof(buf), &value, NULL), -ENOENT);
	CHECK_EQ(shmkv_exists(s.kv, KEY("n")), 0);
	CHECK_EQ(shmkv_exists(s.kv, KEY("none")), -ENOENT);
	CHECK_EQ(shmkv_take(s.kv, KEY("n"), buf, sizeof(buf), &len), 0);
	CHECK_EQ(shmkv_take(s.kv, KEY("n"), buf, sizeof(buf), &len), -ENOENT);
	CHECK_EQ(shmkv_del(s.kv, KEY("a")), 0);
	CHECK_EQ(shmkv_del(s.kv, KEY("a")), -ENOENT);
	CHECK_EQ(shmkv_clear(s.kv, &token), 0);
	CHECK_EQ(token, 10);

	stats = stats_of(s.kv);
	CHECK_EQ(stats.hits, 3);
	CHECK_EQ(stats.misses, 2);
	CHECK_EQ(stats.gets, 5);
	CHECK_EQ(stats.puts, 14);
	CHECK_EQ(stats.adds, 2);
	CHECK_EQ(stats.replaces, 2);
	CHECK_EQ(stats.cases, 2);
	CHECK_EQ(stats.updates_in_place, 4);
	CHECK_EQ(stats.takes, 2);
	CHECK_EQ(stats.dels, 2);
	CHECK_EQ(stats.clears, 1);
	CHECK_EQ(stats.inserts, 12);
	CHECK_EQ(stats.updates, 8);
	CHECK_EQ(stats.deletes, 12);
	CHECK_EQ(stats.unmet, 6);
	CHECK_EQ(stats.no_space + stats.lost + stats.failed, 0);
	CHECK_EQ(stats.own_hits + stats.own_misses, 0);
	CHECK_EQ(total(stats.hit_lines, SHMKV_STATS_LINES), stats.hits);
	CHECK_EQ(total(stats.miss_lines, SHMKV_STATS_LINES), stats.misses);
	/* What clear removes has not been looked up. */
	CHECK_EQ(total(stats.write_lines, SHMKV_STATS_LINES), 12 + 8 + 2);
	CHECK_EQ(total(stats.value_bytes, SHMKV_STATS_SIZES), stats.inserts + stats.updates);
	skv_segment_end(&s);
}

static void values_are_counted_by_their_packed_length(void)
{
	/* The largest payload of a bucket, and one byte more; bin has a header of 2, 3, 5 bytes. */
	static const struct {
		size_t payload;
		unsigned int bucket;
	} rows[] = { { 0, 0 },	       { 6, 0 },       { 7, 1 },       { 14, 1 },      { 15, 2 },
		     { 254, 5 },       { 255, 6 },     { 4093, 9 },    { 4094, 10 },   { 65533, 13 },
		     { 131067, 14 },   { 131068, 15 }, { 2097147, 18 }, { 2097148, 19 }, { 4200000, 19 } };
	uint64_t want[SHMKV_STATS_SIZES] = { 0 };
	uint8_t *payload = skv_alloc(4200000);
	struct skv_segment s;
	struct shmkv_stats stats;
	size_t i;

	skv_segment_begin(&s, 32 * MIB);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_bin(payload, rows[i].payload), NULL), 0);
		want[rows[i].bucket]++;
	}
	stats = stats_of(s.kv);
	for (i = 0; i < SHMKV_STATS_SIZES; i++)
		CHECK_EQ(stats.value_bytes[i], want[i]);
	CHECK_EQ(shmkv_stats_size_bound(0), 8);
	CHECK_EQ(shmkv_stats_size_bound(18), 2 * MIB);
	CHECK_EQ(shmkv_stats_size_bound(19), UINT64_MAX);
	CHECK_EQ(shmkv_stats_size_bound(1000), UINT64_MAX);
	CHECK_EQ(shmkv_stats_lines_bound(0), 1);
	CHECK_EQ(shmkv_stats_lines_bound(7), UINT64_MAX);
	CHECK_EQ(shmkv_stats_retries_bound(4), 63);
	CHECK_EQ(shmkv_stats_retries_bound(6), UINT64_MAX);
	free(payload);
	skv_segment_end(&s);
}

static void full_segments_count_their_refusals(void)
{
	uint8_t *payload = skv_alloc(3000);
	struct shmkv_stats stats;
	struct skv_segment s;
	uint64_t key = 0, i;

	skv_segment_begin(&s, MIB);
	while (shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 3000), NULL) == 0)
		key++;
	for (i = 0; i < 4; i++)
		CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 3000), NULL), -ENOSPC);
	stats = stats_of(s.kv);
	CHECK_EQ(stats.puts, key + 5);
	CHECK_EQ(stats.inserts, key);
	CHECK_EQ(stats.no_space, 5);
	free(payload);
	skv_segment_end(&s);
}

/* The number of lines that a look-up reads, by another way: the check walks all slots. */
static void lines_are_those_that_the_check_finds(void)
{
	const uint64_t n = 2000;
	uint64_t key, i, least = 0;
	struct shmkv_audit audit;
	struct shmkv_stats stats;
	struct skv_segment s;

	skv_segment_begin(&s, 8 * MIB);
	for (key = 0; key < n; key++)
		put_number(s.kv, key, key);
	for (key = 0; key < n; key++)
		CHECK_EQ(shmkv_exists(s.kv, &key, 8), 0);
	stats = stats_of(s.kv);
	audit = skv_segment_check(s.kv);
	CHECK_EQ(stats.hits, n);
	CHECK(stats.splits > 0);
	/* Buckets 0 to 3 are exact, and hardly anything lies beyond them. */
	for (i = 0; i < 4; i++)
		least += stats.hit_lines[i] * (i + 1);
	for (; i < SHMKV_STATS_LINES; i++)
		least += stats.hit_lines[i] * (shmkv_stats_lines_bound((unsigned int)i - 1) + 1);
	CHECK(least <= audit.probe_lines);
	CHECK(audit.probe_lines - least <= audit.probe_lines / 10);
	skv_segment_end(&s);
}

/* ---- threads and handles --------------------------------------------------------------- */

#define THREADS 4
#define CALLS 3000

struct worker {
	struct shmkv *kv;
	bool writes;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	uint64_t key;

	for (key = 0; key < CALLS; key++) {
		if (worker->writes)
			put_number(worker->kv, key, key);
		CHECK_EQ(shmkv_exists(worker->kv, &key, 8), 0);
	}
	return NULL;
}

static void run_threads(struct shmkv *kv, bool writes)
{
	struct worker worker = { kv, writes };
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, work, &worker), 0);
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static void threads_lose_no_count(void)
{
	struct shmkv_stats stats;
	struct skv_segment s;

	skv_segment_begin(&s, 8 * MIB);
	run_threads(s.kv, true);
	stats = stats_of(s.kv);
	CHECK_EQ(stats.puts, THREADS * CALLS);
	CHECK_EQ(stats.hits, THREADS * CALLS);
	CHECK_EQ(stats.inserts, CALLS);
	CHECK_EQ(stats.updates, (THREADS - 1) * CALLS);
	CHECK_EQ(stats.own_hits, 0);
	CHECK_EQ(total(stats.value_bytes, SHMKV_STATS_SIZES), THREADS * CALLS);
	skv_segment_end(&s);
}

static void threads_that_only_read_take_no_place_and_are_counted_at_the_end(void)
{
	struct skv_segment s;
	struct shmkv_stats stats;
	struct shmkv *kv;
	uint64_t key;

	skv_segment_begin(&s, 8 * MIB);
	for (key = 0; key < CALLS; key++)
		put_number(s.kv, key, key);
	kv = skv_segment_attach(&s, 0);
	CHECK_EQ(skv_segment_info(kv).threads, 2);
	run_threads(kv, false);
	CHECK_EQ(skv_segment_info(kv).threads, 2);
	stats = stats_of(kv);
	CHECK_EQ(stats.own_hits, THREADS * CALLS);
	CHECK_EQ(stats.hits, 0);
	/* Others see nothing of them yet. */
	stats = stats_of(s.kv);
	CHECK_EQ(stats.own_hits, 0);
	CHECK_EQ(stats.hits, 0);
	/* A second round in the same private memory, then one thread that begins to write. */
	run_threads(kv, false);
	run_threads(kv, true);
	stats = stats_of(kv);
	CHECK_EQ(stats.own_hits, 2 * THREADS * CALLS);
	CHECK_EQ(stats.hits, THREADS * CALLS);
	shmkv_detach(kv);
	stats = stats_of(s.kv);
	CHECK_EQ(stats.hits, 3 * THREADS * CALLS);
	CHECK_EQ(stats.own_hits, 0);
	skv_segment_end(&s);
}

static void read_only_handles_count_for_themselves_and_write_nothing(void)
{
	struct skv_segment s;
	struct shmkv_stats stats;
	struct shmkv *kv, *other;
	char path[256];
	uint64_t key, digest;

	skv_segment_begin(&s, 4 * MIB);
	for (key = 0; key < CALLS; key++)
		put_number(s.kv, key, key);
	skv_segment_file(s.name, path);
	kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
	other = skv_segment_attach(&s, SHMKV_READ_ONLY);
	digest = skv_file_digest(path);
	run_threads(kv, false);
	CHECK_EQ(shmkv_exists(kv, KEY("no")), -ENOENT);
	stats = stats_of(kv);
	CHECK_EQ(stats.puts, CALLS);
	CHECK_EQ(stats.hits, 0);
	CHECK_EQ(stats.own_hits, THREADS * CALLS);
	CHECK_EQ(stats.own_misses, 1);
	CHECK_EQ(stats_of(other).own_hits, 0);
	shmkv_detach(kv);
	shmkv_detach(other);
	CHECK_EQ(skv_file_digest(path), digest);
	CHECK_EQ(stats_of(s.kv).hits, 0);
	/* The private memory is used again, empty. */
	kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(stats_of(kv).own_hits, 0);
	shmkv_detach(kv);
	skv_segment_end(&s);
}

/* More handles than a thread remembers: each is counted rightly all the same. */
static void many_handles_of_one_thread_keep_their_counts_apart(void)
{
	enum { HANDLES = 21 };
	struct skv_segment s;
	struct shmkv *kv[HANDLES];
	uint64_t key = 1, i, j;

	skv_segment_begin(&s, 4 * MIB);
	put_number(s.kv, key, 1);
	for (i = 0; i < HANDLES; i++)
		kv[i] = skv_segment_attach(&s, i % 2 ? SHMKV_READ_ONLY : 0);
	for (j = 0; j < 50; j++) {
		for (i = 0; i < HANDLES; i++)
			CHECK_EQ(shmkv_exists(kv[i], &key, 8), 0);
	}
	for (i = 1; i < HANDLES; i += 2)
		CHECK_EQ(stats_of(kv[i]).own_hits, 50);
	for (i = 0; i < HANDLES; i++)
		shmkv_detach(kv[i]);
	CHECK_EQ(stats_of(s.kv).hits, 50 * (HANDLES + 1) / 2);
	skv_segment_end(&s);
}

/* ---- deaths --------------------------------------------------------------------------- */

struct victim {
	struct skv_segment s;
	uint64_t *acknowledged; /* shared: calls that returned */
	uint64_t first;
};

static void put_for_ever(void *arg)
{
	struct victim *victim = arg;
	struct shmkv *kv = skv_segment_attach(&victim->s, 0);
	uint64_t key;

	for (key = 0;; key++) {
		put_number(kv, victim->first + key % 300, key);
		__atomic_add_fetch(victim->acknowledged, 1, __ATOMIC_SEQ_CST);
	}
}

static void a_death_costs_at_most_one_call(void)
{
	struct victim victim = { .acknowledged = skv_shared(sizeof(uint64_t)) };
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint64_t seed = skv_test_seed(), puts = 0, changes = 0, done, wait;
	struct shmkv_stats stats;
	unsigned int round;
	pid_t pid;

	skv_segment_begin(&victim.s, 32 * MIB);
	for (round = 0; round < 20; round++) {
		*victim.acknowledged = 0;
		victim.first = (uint64_t)round << 32;
		pid = skv_fork(put_for_ever, &victim);
		wait = skv_random(&seed) % 500;
		while (__atomic_load_n(victim.acknowledged, __ATOMIC_SEQ_CST) <= wait)
			sched_yield();
		kill(pid, SIGKILL);
		skv_test_wait_killed(pid, SIGKILL);
		done = *victim.acknowledged;
		stats = stats_of(victim.s.kv);
		CHECK(stats.puts >= puts + done && stats.puts <= puts + done + 1);
		stats.inserts += stats.updates;
		CHECK(stats.inserts >= changes + done && stats.inserts <= changes + done + 1);
		/* Recovery takes nothing of it away, and the next owner goes on from there. */
		CHECK_EQ(shmkv_recover(victim.s.kv, &report), 0);
		CHECK_EQ(report.processes, 1);
		CHECK_EQ(stats_of(victim.s.kv).puts, stats.puts);
		CHECK_EQ(stats_of(victim.s.kv).recoveries, round + 1);
		puts = stats.puts;
		changes = stats.inserts;
	}
	CHECK_EQ(shmkv_recover(victim.s.kv, &report), 0);
	skv_segment_end(&victim.s);
}

/* ---- memory --------------------------------------------------------------------------- */

static const struct shmkv_memory_class *class_of(const struct shmkv_memory *memory, uint64_t bytes)
{
	uint64_t i;

	for (i = 0; i < memory->n_classes; i++) {
		if (memory->classes[i].block_bytes >= bytes)
			return &memory->classes[i];
	}
	skv_test_fail(__FILE__, __LINE__, "no class for %llu bytes", (unsigned long long)bytes);
}

static void memory_is_accounted_class_by_class(void)
{
	const struct shmkv_memory_class *small, *middle;
	uint8_t *payload = skv_alloc(100000);
	struct shmkv_memory memory;
	struct shmkv_audit audit;
	struct shmkv_info info;
	struct skv_segment s;
	uint64_t key, i, slabs = 0;

	skv_segment_begin(&s, 16 * MIB);
	for (key = 0; key < 300; key++)
		CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 20), NULL), 0);
	for (; key < 400; key++)
		CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 2000), NULL), 0);
	for (; key < 403; key++)
		CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, 100000), NULL), 0);
	for (key = 0; key < 100; key++)
		CHECK_EQ(shmkv_del(s.kv, &key, 8), 0);

	memory = memory_of(s.kv);
	audit = skv_segment_check(s.kv);
	info = skv_segment_info(s.kv);
	CHECK_EQ(memory.records, 303);
	CHECK_EQ(memory.record_bytes, audit.record_bytes);
	CHECK_EQ(memory.held_bytes, audit.block_bytes);
	small = class_of(&memory, 24 + 8 + 22);
	CHECK_EQ(small->used, 200);
	CHECK_EQ(small->record_bytes, 200 * (24 + 8 + 22));
	CHECK(small->blocks >= 300 && small->blocks % small->slabs == 0);
	middle = class_of(&memory, 24 + 8 + 2003);
	CHECK_EQ(middle->used, 100);
	CHECK_EQ(middle->record_bytes, 100 * (24 + 8 + 2003));
	CHECK_EQ(memory.large_records, 3);
	CHECK_EQ(memory.large_record_bytes, 3 * (24 + 8 + 100005));
	CHECK_EQ(memory.large_held_bytes, info.run_bytes);
	CHECK_EQ(memory.free_chunks * 16384, info.free_bytes);
	/* Every byte of the slabs is held, free, or a tail. */
	for (i = 0; i < memory.n_classes; i++)
		slabs += memory.classes[i].slabs;
	CHECK(slabs > 0);
	CHECK_EQ(memory.held_bytes - memory.large_held_bytes + memory.free_block_bytes +
			 memory.tail_bytes,
		 info.slab_bytes);
	free(payload);
	skv_segment_end(&s);
}

/* Fills a map with large records and takes some out; then what is said to fit, fits. */
static void the_largest_free_stretch_is_just_what_a_record_can_have(void)
{
	uint64_t seed = skv_test_seed(), key, n, fits;
	uint8_t *payload = skv_alloc(16 * MIB);
	struct shmkv_memory memory;
	struct skv_segment s;
	unsigned int round;
	int r;

	for (round = 0; round < 12; round++) {
		skv_segment_begin(&s, 4 * MIB + (round % 3) * MIB);
		/* Sometimes not full: part of the limit is not taken from the system yet. */
		for (n = 0; n < (round % 2 ? 8u : 1000u); n++) {
			if (shmkv_put(s.kv, &n, 8, shmkv_bin(payload, 40000 + skv_random(&seed) % 100000),
				      NULL) < 0)
				break;
		}
		for (key = 0; key < n; key++) {
			if (skv_random(&seed) % 3 == 0)
				CHECK_EQ(shmkv_del(s.kv, &key, 8), 0);
		}
		memory = memory_of(s.kv);
		CHECK(memory.free_stretch_bytes > 0);
		key = UINT64_MAX;
		/* Header of the record, key, header of bin. */
		fits = memory.free_stretch_bytes - 24 - 8 - 5;
		if (fits > 32768) {
			r = shmkv_put(s.kv, &key, 8, shmkv_bin(payload, fits + 1), NULL);
			CHECK(r == -ENOSPC || r == -EFBIG);
			CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_bin(payload, fits), NULL), 0);
		}
		skv_segment_end(&s);
	}
	free(payload);
}

/* ---- participants ------------------------------------------------------------------------ */

struct roster {
	struct shmkv_participant found;
	pid_t pid;
	unsigned int n, n_pid;
};

static int note(const struct shmkv_participant *participant, void *arg)
{
	struct roster *roster = arg;

	CHECK_EQ(participant->size, sizeof(*participant));
	roster->n++;
	if (participant->pid == (uint64_t)roster->pid) {
		roster->n_pid++;
		roster->found = *participant;
	}
	return 0;
}

static struct roster roster_of(struct shmkv *kv, pid_t pid)
{
	struct roster roster = { .pid = pid };

	CHECK_EQ(shmkv_participants(kv, note, &roster), 0);
	return roster;
}

struct guest {
	struct skv_segment s;
	int *ready; /* shared */
};

static void be_a_guest(void *arg)
{
	struct guest *guest = arg;
	struct shmkv *kv = skv_segment_attach(&guest->s, 0);
	uint64_t key;

	for (key = 0; key < 7; key++)
		put_number(kv, key, key);
	CHECK_EQ(shmkv_exists(kv, &key, 8), -ENOENT);
	__atomic_store_n(guest->ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

static int stop_walk(const struct shmkv_participant *participant, void *arg)
{
	(void)participant;
	(void)arg;
	return 77;
}

static void participants_are_alive_stopped_or_dead(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct guest guest = { .ready = skv_shared(sizeof(int)) };
	struct roster roster;
	struct shmkv *kv;
	int status;
	pid_t pid;

	skv_segment_begin(&guest.s, 4 * MIB);
	put_number(guest.s.kv, 1, 1);
	roster = roster_of(guest.s.kv, getpid());
	CHECK_EQ(roster.n, 1);
	CHECK_EQ(roster.n_pid, 1);
	CHECK_STR(roster.found.state, "alive");
	CHECK_STR(roster.found.doing, "idle");
	CHECK_EQ(roster.found.calls, 1);
	CHECK_EQ(roster.found.threads, 1);
	CHECK_EQ(roster.found.working + roster.found.pins + roster.found.reservations, 0);
	CHECK(roster.found.attached_ms < 60000);

	pid = skv_fork(be_a_guest, &guest);
	while (!__atomic_load_n(guest.ready, __ATOMIC_SEQ_CST))
		sched_yield();
	kv = skv_segment_attach(&guest.s, SHMKV_READ_ONLY);
	roster = roster_of(kv, pid);
	CHECK_EQ(roster.n, 2);
	CHECK_EQ(roster.n_pid, 1);
	CHECK_STR(roster.found.state, "alive");
	CHECK_EQ(roster.found.calls, 8);

	CHECK_EQ(kill(pid, SIGSTOP), 0);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status));
	CHECK_STR(roster_of(kv, pid).found.state, "stopped");
	CHECK_EQ(kill(pid, SIGCONT), 0);
	CHECK_EQ(waitpid(pid, &status, WCONTINUED), pid);
	CHECK_STR(roster_of(kv, pid).found.state, "alive");
	CHECK_EQ(kill(pid, SIGKILL), 0);
	skv_test_wait_killed(pid, SIGKILL);
	CHECK_STR(roster_of(kv, pid).found.state, "dead");
	CHECK_EQ(shmkv_participants(kv, stop_walk, NULL), 77);
	CHECK_EQ(shmkv_participants(kv, NULL, NULL), -EINVAL);

	CHECK_EQ(shmkv_recover(guest.s.kv, &report), 0);
	CHECK_EQ(roster_of(kv, pid).n, 1);
	/* What it did stays counted, but nobody who comes after it did it. */
	CHECK_EQ(stats_of(kv).puts, 8);
	*guest.ready = 0;
	pid = skv_fork(be_a_guest, &guest);
	while (!__atomic_load_n(guest.ready, __ATOMIC_SEQ_CST))
		sched_yield();
	CHECK_EQ(roster_of(kv, pid).found.calls, 8);
	CHECK_EQ(stats_of(kv).puts, 15);
	kill(pid, SIGKILL);
	skv_test_wait_killed(pid, SIGKILL);
	CHECK_EQ(shmkv_recover(guest.s.kv, &report), 0);
	shmkv_detach(kv);
	skv_segment_end(&guest.s);
}

static void guest_of_another_namespace(void *arg)
{
	struct guest *guest = arg;
	pid_t pid;
	int status;

	if (unshare(CLONE_NEWPID) < 0) {
		__atomic_store_n(guest->ready, -1, __ATOMIC_SEQ_CST);
		return;
	}
	pid = fork();
	if (pid == 0)
		be_a_guest(arg);
	CHECK(pid > 0);
	while (!__atomic_load_n(guest->ready, __ATOMIC_SEQ_CST))
		sched_yield();
	__atomic_store_n(guest->ready, pid, __ATOMIC_SEQ_CST);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
}

static int first_other(const struct shmkv_participant *participant, void *arg)
{
	struct roster *roster = arg;

	if (participant->pid != (uint64_t)roster->pid) {
		roster->found = *participant;
		roster->n++;
	}
	return 0;
}

static void whether_others_run_is_unknown_across_pid_namespaces(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct guest guest = { .ready = skv_shared(sizeof(int)) };
	struct roster roster = { .pid = getpid() };
	pid_t pid;
	int ready;

	skv_segment_begin(&guest.s, 4 * MIB);
	pid = skv_fork(guest_of_another_namespace, &guest);
	/* 1 while only the guest is ready; then its number as we see it. */
	while ((ready = __atomic_load_n(guest.ready, __ATOMIC_SEQ_CST)) == 0 || ready == 1)
		sched_yield();
	if (ready > 0) {
		CHECK_EQ(shmkv_participants(guest.s.kv, first_other, &roster), 0);
		CHECK_EQ(roster.n, 1);
		CHECK_STR(roster.found.state, "unknown");
		CHECK_EQ(kill(ready, SIGKILL), 0);
	}
	skv_test_wait_ok(pid);
	roster.n = 0;
	CHECK_EQ(shmkv_participants(guest.s.kv, first_other, &roster), 0);
	if (ready > 0)
		CHECK_STR(roster.found.state, "dead");
	CHECK_EQ(shmkv_recover(guest.s.kv, &report), 0);
	skv_segment_end(&guest.s);
	if (ready < 0)
		skv_test_skip("no right to make a pid namespace");
}

static void pins_are_counted_for_who_holds_them(void)
{
	struct shmkv_view views[3];
	struct skv_segment s;
	struct shmkv *kv;
	size_t i;

	skv_segment_begin(&s, 4 * MIB);
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_str("some text"), NULL), 0);
	kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
	for (i = 0; i < ARRAY_LEN(views); i++) {
		CHECK_EQ(shmkv_view_begin(s.kv, KEY("k"), &views[i]), 0);
		CHECK_EQ(roster_of(kv, getpid()).found.pins, i + 1);
	}
	for (i = 0; i < ARRAY_LEN(views); i++)
		CHECK_EQ(shmkv_view_end(&views[i]), 0);
	CHECK_EQ(roster_of(kv, getpid()).found.pins, 0);
	shmkv_detach(kv);
	skv_segment_end(&s);
}

/* ---- the name ---------------------------------------------------------------------------- */

static void a_name_leads_to_the_map_or_to_another_or_nowhere(void)
{
	struct skv_segment s;
	struct shmkv *reader, *other;

	skv_segment_begin(&s, 4 * MIB);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(shmkv_linked(s.kv), SHMKV_LINKED);
	CHECK_EQ(shmkv_linked(reader), SHMKV_LINKED);
	CHECK_EQ(shmkv_unlink(s.name), 0);
	CHECK_EQ(shmkv_linked(s.kv), SHMKV_UNLINKED);
	CHECK_EQ(shmkv_linked(reader), SHMKV_UNLINKED);
	CHECK_EQ(shmkv_create(s.name, NULL, &other), 0);
	CHECK_EQ(shmkv_linked(s.kv), SHMKV_REPLACED);
	CHECK_EQ(shmkv_linked(reader), SHMKV_REPLACED);
	CHECK_EQ(shmkv_linked(other), SHMKV_LINKED);
	CHECK_EQ(shmkv_linked(NULL), -EBADF);
	shmkv_detach(reader);
	shmkv_detach(s.kv);
	s.kv = other;
	skv_segment_end(&s);
}

/* ---- sizes ------------------------------------------------------------------------------ */

static void structures_are_cut_to_the_callers_size(void)
{
	struct shmkv_memory memory;
	struct shmkv_stats stats;
	struct skv_segment s;

	skv_segment_begin(&s, 4 * MIB);
	put_number(s.kv, 1, 1);
	memset(&stats, 0x5a, sizeof(stats));
	stats.size = offsetof(struct shmkv_stats, adds);
	CHECK_EQ(shmkv_stats(s.kv, &stats), 0);
	CHECK_EQ(stats.puts, 1);
	CHECK_EQ(stats.adds, 0x5a5a5a5a5a5a5a5a);
	stats.size = 3;
	CHECK_EQ(shmkv_stats(s.kv, &stats), -EINVAL);
	CHECK_EQ(shmkv_stats(s.kv, NULL), -EINVAL);
	stats.size = sizeof(stats);
	CHECK_EQ(shmkv_stats(NULL, &stats), -EBADF);
	memset(&memory, 0x5a, sizeof(memory));
	memory.size = offsetof(struct shmkv_memory, held_bytes);
	CHECK_EQ(shmkv_memory(s.kv, &memory), 0);
	CHECK_EQ(memory.records, 1);
	CHECK_EQ(memory.held_bytes, 0x5a5a5a5a5a5a5a5a);
	memory.size = 0;
	CHECK_EQ(shmkv_memory(s.kv, &memory), -EINVAL);
	CHECK_EQ(shmkv_memory(s.kv, NULL), -EINVAL);
	skv_segment_end(&s);
}

/* ---- table ------------------------------------------------------------------------------ */

const struct skv_test skv_tests_stats[] = {
	{ "stats", "every call is counted, by kind and by what came of it",
	  every_call_is_counted_by_kind_and_by_what_came_of_it, 0 },
	{ "stats", "values are counted by their packed length",
	  values_are_counted_by_their_packed_length, 20 },
	{ "stats", "full segments count their refusals", full_segments_count_their_refusals, 20 },
	{ "stats", "lines are those that the check finds", lines_are_those_that_the_check_finds, 30 },
	{ "thread", "threads lose no count", threads_lose_no_count, 30 },
	{ "thread", "threads that only read take no place and are counted at the end",
	  threads_that_only_read_take_no_place_and_are_counted_at_the_end, 30 },
	{ "stats", "read-only handles count for themselves and write nothing",
	  read_only_handles_count_for_themselves_and_write_nothing, 30 },
	{ "stats", "many handles of one thread keep their counts apart",
	  many_handles_of_one_thread_keep_their_counts_apart, 0 },
	{ "stats", "a death costs at most one call", a_death_costs_at_most_one_call, 60 },
	{ "stats", "memory is accounted class by class", memory_is_accounted_class_by_class, 20 },
	{ "stats", "the largest free stretch is just what a record can have",
	  the_largest_free_stretch_is_just_what_a_record_can_have, 60 },
	{ "stats", "participants are alive, stopped or dead", participants_are_alive_stopped_or_dead, 20 },
	{ "stats", "whether others run is unknown across pid namespaces",
	  whether_others_run_is_unknown_across_pid_namespaces, 20 },
	{ "stats", "pins are counted for who holds them", pins_are_counted_for_who_holds_them, 0 },
	/* hazard 24 */
	{ "stats", "a name leads to the map, to another, or nowhere",
	  a_name_leads_to_the_map_or_to_another_or_nowhere, 0 },
	{ "stats", "structures are cut to the caller's size", structures_are_cut_to_the_callers_size, 0 },
	{ 0 },
};

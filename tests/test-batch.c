/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "base/fault.h"

#include <shmkv/batch.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-batch: what a batch does on the shared-memory engine while leaves are replaced under it,
 * others write the same keys, and whoever runs it is killed half-way.
 */

#define LEN_MAX 120u

/* A value of key @key in round @round: its bytes and its length tell both. */
static size_t make_value(uint64_t key, uint64_t round, uint8_t buf[LEN_MAX])
{
	size_t len = 16 + (key * 7 + round * 13) % (LEN_MAX - 16);

	skv_fill(buf, len, key * 1000 + round);
	memcpy(buf, &key, 8);
	memcpy(buf + 8, &round, 8);
	return len;
}

/* The round of a value that was found, which must be one of the key and whole. */
static uint64_t round_of(uint64_t key, const struct shmkv_value *value)
{
	uint8_t want[LEN_MAX];
	uint64_t round;

	CHECK(value->type == SHMKV_BIN && value->len >= 16);
	memcpy(&round, (const uint8_t *)value->data + 8, 8);
	CHECK_MEM(value->data, value->len, want, make_value(key, round, want));
	return round;
}

struct batch {
	size_t n;
	uint64_t *keys;
	uint8_t *bufs;
	struct shmkv_put_item *puts;
	struct shmkv_get_item *gets;
};

static struct batch batch_new(size_t n)
{
	struct batch b = { .n = n };
	size_t i;

	b.keys = skv_alloc(n * sizeof(*b.keys));
	b.bufs = skv_alloc(n * LEN_MAX);
	b.puts = skv_alloc(n * sizeof(*b.puts));
	b.gets = skv_alloc(n * sizeof(*b.gets));
	memset(b.puts, 0, n * sizeof(*b.puts));
	memset(b.gets, 0, n * sizeof(*b.gets));
	for (i = 0; i < n; i++) {
		b.puts[i].key = b.gets[i].key = &b.keys[i];
		b.puts[i].key_len = b.gets[i].key_len = sizeof(b.keys[i]);
		b.gets[i].buf = b.bufs + i * LEN_MAX;
		b.gets[i].cap = LEN_MAX;
	}
	return b;
}

static void batch_free(struct batch *b)
{
	free(b->keys);
	free(b->bufs);
	free(b->puts);
	free(b->gets);
}

/* Keys @first, @first + @step, ... with their values of @round. */
static void batch_put(struct batch *b, struct shmkv *kv, uint64_t first, uint64_t step,
		      uint64_t round)
{
	size_t i, n_ok = 0;

	for (i = 0; i < b->n; i++) {
		b->keys[i] = first + i * step;
		b->puts[i].value = shmkv_bin(b->bufs + i * LEN_MAX,
					     make_value(b->keys[i], round, b->bufs + i * LEN_MAX));
	}
	CHECK_EQ(shmkv_put_many(kv, b->puts, b->n, &n_ok), 0);
	CHECK_EQ(n_ok, b->n);
}

/* Fresh keys: nearly every group meets leaves that one of its own items has replaced. */
static void leaves_split_under_a_batch(void)
{
	struct skv_segment s;
	struct batch b = batch_new(1000);
	uint64_t first, n = 30000;
	size_t i, n_ok;

	skv_segment_begin(&s, 64 * MIB);
	for (first = 0; first < n; first += b.n)
		batch_put(&b, s.kv, first, 1, first);
	CHECK_EQ(skv_segment_count(s.kv), n);
	CHECK(skv_segment_info(s.kv).splits > 100);
	for (first = 0; first < n; first += b.n) {
		for (i = 0; i < b.n; i++)
			b.keys[i] = first + i;
		CHECK_EQ(shmkv_get_many(s.kv, b.gets, b.n, &n_ok), 0);
		CHECK_EQ(n_ok, b.n);
		for (i = 0; i < b.n; i++)
			CHECK_EQ(round_of(b.keys[i], &b.gets[i].value), first);
	}
	skv_segment_end(&s);
	batch_free(&b);
}

static void items_have_lifetimes_of_their_own(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	static const uint64_t ttls[] = { SHMKV_TTL_DEFAULT, SHMKV_TTL_NEVER, 7000000, 1 };
	static const uint64_t lives[] = { 5000000, SHMKV_TTL_NEVER, 7000000 };
	struct shmkv_put_item items[ARRAY_LEN(ttls)];
	struct skv_segment s;
	uint64_t ms;
	size_t i;

	opts.default_ttl_ms = lives[0];
	skv_segment_begin_with(&s, &opts);
	for (i = 0; i < ARRAY_LEN(ttls); i++)
		items[i] = (struct shmkv_put_item){ .key = &ttls[i], .key_len = 8,
						    .value = shmkv_int(1), .ttl_ms = ttls[i] };
	CHECK_EQ(shmkv_put_many(s.kv, items, ARRAY_LEN(ttls), NULL), 0);
	for (i = 0; i < ARRAY_LEN(lives); i++) {
		CHECK_EQ(items[i].result, 0);
		CHECK_EQ(shmkv_ttl(s.kv, &ttls[i], 8, &ms), 0);
		CHECK(ms == lives[i] || (ms < lives[i] && ms > lives[i] - 1000000));
	}
	/* Ends when a millisecond is over. */
	while (shmkv_exists(s.kv, &ttls[3], 8) == 0)
		;
	CHECK_EQ(shmkv_expire(s.kv, 0, &ms), 0);
	skv_segment_end(&s);
}

/* Each item counts as the call that it is. */
static void statistics_count_items(void)
{
	struct shmkv_stats stats = { .size = sizeof(stats) };
	struct skv_segment s;
	struct batch b = batch_new(100);

	skv_segment_begin(&s, 64 * MIB);
	batch_put(&b, s.kv, 0, 1, 1);
	batch_put(&b, s.kv, 50, 1, 2);
	b.keys[0] = UINT64_MAX;
	CHECK_EQ(shmkv_get_many(s.kv, b.gets, b.n, NULL), 0);
	CHECK_EQ(shmkv_stats(s.kv, &stats), 0);
	CHECK_EQ(stats.puts, 200u);
	CHECK_EQ(stats.inserts, 150u);
	CHECK_EQ(stats.updates, 50u);
	CHECK_EQ(stats.gets, 100u);
	CHECK_EQ(stats.misses, 1u);
	skv_segment_end(&s);
	batch_free(&b);
}

/* ---- others at work ---------------------------------------------------------------------- */

#define SHARED_KEYS 3000u
#define ROUNDS 60u

struct crowd {
	struct skv_segment s;
	uint64_t stop;
	uint64_t n_read;
};

static void *write_rounds(void *arg)
{
	struct crowd *crowd = arg;
	struct shmkv *kv = skv_segment_attach(&crowd->s, 0);
	struct batch b = batch_new(SHARED_KEYS);
	uint64_t round;
	size_t i;

	for (round = 1; round <= ROUNDS; round++) {
		batch_put(&b, kv, 0, 1, round);
		/* Holes and new leaves, so that the readers' aims go wrong. */
		for (i = round % 7; i < SHARED_KEYS; i += 7)
			shmkv_del(kv, &b.keys[i], 8);
	}
	shmkv_detach(kv);
	batch_free(&b);
	return NULL;
}

static void *read_until_told(void *arg)
{
	struct crowd *crowd = arg;
	struct shmkv *kv = skv_segment_attach(&crowd->s, SHMKV_READ_ONLY);
	struct batch b = batch_new(257);
	uint64_t state = 7, n = 0;
	size_t i;

	while (!__atomic_load_n(&crowd->stop, __ATOMIC_ACQUIRE) || n == 0) {
		for (i = 0; i < b.n; i++)
			b.keys[i] = skv_random(&state) % SHARED_KEYS;
		CHECK_EQ(shmkv_get_many(kv, b.gets, b.n, NULL), 0);
		for (i = 0; i < b.n; i++) {
			if (b.gets[i].result == -ENOENT)
				continue;
			CHECK_EQ(b.gets[i].result, 0);
			CHECK(round_of(b.keys[i], &b.gets[i].value) <= ROUNDS);
			n++;
		}
	}
	__atomic_add_fetch(&crowd->n_read, n, __ATOMIC_RELAXED);
	shmkv_detach(kv);
	batch_free(&b);
	return NULL;
}

static void batches_of_several_threads_are_whole_key_by_key(void)
{
	struct crowd crowd = { .stop = 0 };
	struct batch b = batch_new(SHARED_KEYS);
	pthread_t writers[2], readers[2];
	size_t i;

	skv_segment_begin(&crowd.s, 64 * MIB);
	batch_put(&b, crowd.s.kv, 0, 1, 0);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(pthread_create(&writers[i], NULL, write_rounds, &crowd), 0);
		CHECK_EQ(pthread_create(&readers[i], NULL, read_until_told, &crowd), 0);
	}
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(writers[i], NULL), 0);
	__atomic_store_n(&crowd.stop, 1, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(readers[i], NULL), 0);
	CHECK(crowd.n_read > 0);
	skv_segment_end(&crowd.s);
	batch_free(&b);
}

/* ---- the thread that calls --------------------------------------------------------------- */

static struct shmkv *interrupted;
static volatile sig_atomic_t in_handler_r;

static void write_in_handler(int sig)
{
	struct shmkv_put_item item = { .key = "signal", .key_len = 6, .value = shmkv_int(sig) };
	int r = shmkv_put_many(interrupted, &item, 1, NULL);

	if (r != 0)
		in_handler_r = r;
}

/* A group of items is one writing call, also between its items. */
static void handler_inside_a_batch_is_refused(void)
{
	struct sigaction act = { .sa_handler = write_in_handler };
	struct skv_segment s;
	struct batch b = batch_new(5000);
	struct timespec tick = { 0, 50000 };
	struct itimerspec spec = { tick, tick };
	timer_t timer;
	uint64_t round;

	skv_segment_begin(&s, 64 * MIB);
	interrupted = s.kv;
	in_handler_r = 0;
	CHECK_EQ(sigaction(SIGALRM, &act, NULL), 0);
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
	CHECK_EQ(timer_settime(timer, 0, &spec, NULL), 0);
	/* Ends when a tick falls into a batch, which is where this thread spends its time. */
	for (round = 0; in_handler_r == 0; round++)
		batch_put(&b, s.kv, 0, 1, round);
	CHECK_EQ(timer_delete(timer), 0);
	CHECK_EQ(in_handler_r, -EBUSY);
	skv_segment_end(&s);
	batch_free(&b);
}

static void batch_without_a_place_is_refused_as_a_whole(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv_put_item item = { .key = "k", .key_len = 1, .value = shmkv_int(1) };
	struct shmkv *guest, *late;
	struct skv_segment s;
	size_t n_ok = 99;

	opts.max_threads = 1;
	skv_segment_begin_with(&s, &opts);
	CHECK_EQ(shmkv_put(s.kv, KEY("mine"), shmkv_int(0), NULL), 0);
	guest = skv_segment_attach(&s, 0);
	late = skv_segment_attach(&s, SHMKV_READ_ONLY);
	item.result = 99;
	CHECK_EQ(shmkv_put_many(guest, &item, 1, &n_ok), -EUSERS);
	CHECK_EQ(item.result, 99);
	CHECK_EQ(n_ok, 99u);
	CHECK_EQ(shmkv_exists(late, KEY("k")), -ENOENT);
	shmkv_detach(late);
	shmkv_detach(guest);
	skv_segment_end(&s);
}

/* ---- deaths ---------------------------------------------------------------------------- */

#ifdef SKV_FAULT_POINTS

struct victim {
	struct skv_segment *s;
	struct skv_fault_plan *plan;
	enum skv_fault_point point;
	uint64_t nth;
	uint64_t round;
};

#define BATCH_KEYS 100u

static void put_until_killed(void *arg)
{
	struct victim *v = arg;
	struct shmkv *kv = skv_segment_attach(v->s, 0);
	struct batch b = batch_new(BATCH_KEYS);

	skv_fault_arm(v->plan, v->point, v->nth, SKV_FAULT_KILL, NULL, NULL);
	batch_put(&b, kv, v->round % 2, 2, v->round);
}

/* What was committed is a beginning of the batch, whole; the rest is as it was. */
static void check_prefix(struct victim *v, uint64_t n_new, const uint64_t *before)
{
	struct batch b = batch_new(BATCH_KEYS);
	size_t i;

	for (i = 0; i < b.n; i++)
		b.keys[i] = v->round % 2 + i * 2;
	CHECK_EQ(shmkv_get_many(v->s->kv, b.gets, b.n, NULL), 0);
	for (i = 0; i < b.n; i++) {
		if (i < n_new) {
			CHECK_EQ(b.gets[i].result, 0);
			CHECK_EQ(round_of(b.keys[i], &b.gets[i].value), v->round);
		} else if (before[b.keys[i]] == 0) {
			CHECK_EQ(b.gets[i].result, -ENOENT);
		} else {
			CHECK_EQ(b.gets[i].result, 0);
			CHECK_EQ(round_of(b.keys[i], &b.gets[i].value), before[b.keys[i]]);
		}
	}
	batch_free(&b);
}

static void killed_batch_has_happened_up_to_one_item(void)
{
	static const enum skv_fault_point points[] = {
		SKV_FAULT_ALLOC_CLAIMED, SKV_FAULT_WRITE_CLAIMED, SKV_FAULT_WRITE_COMPLETE,
		SKV_FAULT_WRITE_GUARDED, SKV_FAULT_WRITE_LINKED,
	};
	struct skv_fault_plan *plan = skv_shared(sizeof(*plan));
	uint64_t last[2 * BATCH_KEYS] = { 0 }, n_new, i, round = 0;
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct skv_segment s;
	struct victim v;
	size_t p;

	skv_segment_begin(&s, 8 * MIB);
	for (p = 0; p < ARRAY_LEN(points); p++) {
		for (i = 1; i <= BATCH_KEYS; i += 11) {
			memset(plan, 0, sizeof(*plan));
			v = (struct victim){ &s, plan, points[p], i, ++round };
			skv_test_wait_killed(skv_fork(put_until_killed, &v), SIGKILL);
			n_new = plan->reached[SKV_FAULT_WRITE_LINKED];
			CHECK(n_new <= i);
			check_prefix(&v, n_new, last);
			while (n_new-- > 0)
				last[round % 2 + n_new * 2] = round;
			CHECK_EQ(shmkv_recover(s.kv, &report), 0);
			skv_segment_check(s.kv);
		}
	}
	skv_segment_end(&s);
}

#endif

const struct skv_test skv_tests_batch[] = {
	{ "batch", "leaves split under a batch", leaves_split_under_a_batch, 60 },
	{ "batch", "items have lifetimes of their own", items_have_lifetimes_of_their_own, 10 },
	{ "batch", "statistics count items", statistics_count_items, 10 },
	{ "batch", "batches of several threads are whole key by key",
	  batches_of_several_threads_are_whole_key_by_key, 120 },
	{ "batch", "handler inside a batch is refused", handler_inside_a_batch_is_refused, 60 },
	{ "batch", "batch without a place is refused as a whole",
	  batch_without_a_place_is_refused_as_a_whole, 10 },
#ifdef SKV_FAULT_POINTS
	{ "batch", "killed batch has happened up to one item",
	  killed_batch_has_happened_up_to_one_item, 120 },
#endif
	{ 0 },
};

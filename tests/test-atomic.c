/* SPDX-License-Identifier: MIT */

/* Every operation of base/atomic.h does what its name says, alone and among threads and
 * processes. Built once for each back end. */

#include "base/atomic.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/test.h"

#define N_THREADS 4u

/* ---- alone -------------------------------------------------------------------------- */

static void back_end_has_its_name(void)
{
#ifdef SKV_ATOMIC_CK
	CHECK_STR(skv_atomic_name(), "ck");
#else
	CHECK_STR(skv_atomic_name(), "builtin");
#endif
	CHECK_EQ(skv_atomic_selftest(), 0);
}

static void words_do_what_they_say(void)
{
	uint64_t w = 5;
	uint32_t h = 6;

	CHECK_EQ(skv_load_relaxed(&w), 5);
	CHECK_EQ(skv_load_acquire(&w), 5);
	CHECK_EQ(skv_load_relaxed_32(&h), 6);
	skv_store_relaxed(&w, UINT64_MAX);
	CHECK_EQ(w, UINT64_MAX);
	skv_store_release(&w, 7);
	CHECK_EQ(w, 7);
	skv_store_relaxed_32(&h, UINT32_MAX);
	CHECK_EQ(h, UINT32_MAX);

	CHECK(!skv_cas(&w, 8, 9));
	CHECK_EQ(w, 7);
	CHECK(skv_cas(&w, 7, 9));
	CHECK_EQ(w, 9);
	CHECK(!skv_cas_32(&h, 1, 2));
	CHECK(skv_cas_32(&h, UINT32_MAX, 2));
	CHECK_EQ(h, 2);

	CHECK_EQ(skv_swap(&w, 11), 9);
	skv_add_relaxed(&w, UINT64_MAX);
	CHECK_EQ(w, 10);
	skv_or_relaxed(&w, 5);
	CHECK_EQ(w, 15);
	skv_and_relaxed(&w, 9);
	CHECK_EQ(w, 9);
	skv_pause();
	skv_fence_acquire();
	skv_fence_release();
	skv_fence_seq();
}

/* One bit differs, in either half: only the exact pair is taken. */
static void pair_is_compared_in_full(void)
{
	const struct skv_pair a = { UINT64_C(0x8000000000000001), UINT64_C(0x4000000000000002) };
	const struct skv_pair b = { 3, 4 };
	struct skv_pair p, wrong;
	unsigned int bit;

	for (bit = 0; bit < 128; bit++) {
		p = a;
		wrong = a;
		if (bit < 64)
			wrong.lo ^= UINT64_C(1) << bit;
		else
			wrong.hi ^= UINT64_C(1) << (bit - 64);
		CHECK(!skv_cas_pair(&p, wrong, b));
		CHECK(p.lo == a.lo && p.hi == a.hi);
	}
	CHECK(skv_cas_pair(&p, a, b));
	CHECK(p.lo == b.lo && p.hi == b.hi);
}

/* ---- copies ------------------------------------------------------------------------- */

static void fill(uint8_t *buf, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 7 + seed);
}

/* Lengths around every change of method: bytes, words, blocks, the string instruction. */
static void copies_take_exactly_their_bytes(void)
{
	enum { ROOM = 700 };
	static uint8_t src[ROOM], dst[ROOM], expected[ROOM];
	size_t len, s, d, kind;

	fill(src, sizeof(src), 3);
	for (len = 0; len <= 600; len += len < 80 ? 1 : 13) {
		for (s = 0; s < 9; s++) {
			for (d = 0; d < 9; d++) {
				for (kind = 0; kind < 3; kind++) {
					memset(dst, 0xee, sizeof(dst));
					memset(expected, 0xee, sizeof(expected));
					memcpy(expected + d, src + s, len);
					if (kind == 0)
						skv_copy_from_shared(dst + d, src + s, len);
					else if (kind == 1)
						skv_copy_to_shared(dst + d, src + s, len);
					else
						skv_copy_shared(dst + d, src + s, len);
					CHECK_MEM(dst, sizeof(dst), expected, sizeof(expected));
				}
			}
		}
	}
}

static void equality_sees_every_byte(void)
{
	uint64_t words[9];
	uint8_t *shared = (uint8_t *)words, key[72];
	size_t len, at;

	fill(shared, sizeof(words), 9);
	for (len = 0; len <= sizeof(key); len++) {
		memcpy(key, shared, sizeof(key));
		CHECK(skv_equal_shared(shared, key, len));
		for (at = 0; at < sizeof(key); at++) {
			key[at] ^= 0x10;
			CHECK_EQ(skv_equal_shared(shared, key, len), at >= len);
			key[at] ^= 0x10;
		}
	}
}

/* A reader of a read-only mapping must not fault: no load may be a locked instruction. */
static void loads_work_on_read_only_memory(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t copy[512];
	uint64_t *page;

	page = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	CHECK_EQ(skv_load_relaxed(page), 0);
	CHECK_EQ(skv_load_acquire(page), 0);
	CHECK_EQ(skv_load_relaxed_32((const uint32_t *)(const void *)page), 0);
	skv_copy_from_shared(copy, page, sizeof(copy));
	CHECK_EQ(copy[511], 0);
	munmap(page, size);
}

/* ---- together ----------------------------------------------------------------------- */

struct shared {
	uint64_t by_cas;
	uint64_t by_add __attribute__((aligned(64)));
	uint32_t by_cas_32 __attribute__((aligned(64)));
	struct skv_pair pair __attribute__((aligned(64)));
	uint64_t payload __attribute__((aligned(64)));
	uint64_t flag __attribute__((aligned(64)));
	uint64_t token __attribute__((aligned(64)));
	uint64_t token_sum;
};

#define ROUNDS (skv_test_is_slow() ? 2000u : 100000u)

static void count_up(struct shared *s)
{
	unsigned int i, n = ROUNDS;
	struct skv_pair seen, next;
	uint64_t w;
	uint32_t h;

	for (i = 0; i < n; i++) {
		do {
			w = skv_load_relaxed(&s->by_cas);
		} while (!skv_cas(&s->by_cas, w, w + 1));
		do {
			h = skv_load_relaxed_32(&s->by_cas_32);
		} while (!skv_cas_32(&s->by_cas_32, h, h + 1));
		skv_add_relaxed(&s->by_add, 1);
		/* The halves are read apart; the swap must refuse what was never one pair. */
		do {
			seen.lo = skv_load_relaxed(&s->pair.lo);
			seen.hi = skv_load_relaxed(&s->pair.hi);
			next.lo = seen.lo + 1;
			next.hi = seen.hi + 3;
		} while (!skv_cas_pair(&s->pair, seen, next));
	}
}

static void check_sums(const struct shared *s, unsigned int workers)
{
	uint64_t n = (uint64_t)workers * ROUNDS;

	CHECK_EQ(s->by_cas, n);
	CHECK_EQ(s->by_add, n);
	CHECK_EQ(s->by_cas_32, n);
	CHECK_EQ(s->pair.lo, n);
	CHECK_EQ(s->pair.hi, 3 * n);
}

static void *count_up_thread(void *arg)
{
	count_up(arg);
	return NULL;
}

static void threads_lose_no_update(void)
{
	static struct shared s;
	pthread_t threads[N_THREADS];
	unsigned int i;

	for (i = 0; i < N_THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, count_up_thread, &s), 0);
	for (i = 0; i < N_THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	check_sums(&s, N_THREADS);
}

static void processes_lose_no_update(void)
{
	struct shared *s;
	pid_t pids[N_THREADS];
	unsigned int i;

	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(s != MAP_FAILED);
	for (i = 0; i < N_THREADS; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] == 0) {
			count_up(s);
			_exit(0);
		}
	}
	for (i = 0; i < N_THREADS; i++)
		skv_test_wait_ok(pids[i]);
	check_sums(s, N_THREADS);
	munmap(s, sizeof(*s));
}

/* Plain payload, released flag: ThreadSanitizer reports a missing order here. */
static void *publish(void *arg)
{
	struct shared *s = arg;
	uint64_t i, n = ROUNDS / 10;

	for (i = 1; i <= n; i++) {
		s->payload = i;
		skv_store_release(&s->flag, i);
		while (skv_load_acquire(&s->flag) != 0)
			sched_yield(); /* the machine may have one processor */
	}
	return NULL;
}

static void release_carries_what_came_before(void)
{
	static struct shared s;
	uint64_t i, n = ROUNDS / 10;
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, publish, &s), 0);
	for (i = 1; i <= n; i++) {
		while (skv_load_acquire(&s.flag) != i)
			sched_yield(); /* the machine may have one processor */
		CHECK_EQ(s.payload, i);
		skv_store_release(&s.flag, 0);
	}
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* Swap hands a token to exactly one; what its holder did is seen by the next. */
static void *pass_token(void *arg)
{
	struct shared *s = arg;
	unsigned int got = 0, n = ROUNDS / 10;

	while (got < n) {
		if (skv_swap(&s->token, 0) == 0) {
			sched_yield();
			continue;
		}
		s->token_sum++;
		got++;
		skv_store_release(&s->token, 1);
	}
	return NULL;
}

static void swap_hands_over_to_one(void)
{
	static struct shared s;
	pthread_t threads[N_THREADS];
	unsigned int i;

	s.token = 1;
	for (i = 0; i < N_THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, pass_token, &s), 0);
	for (i = 0; i < N_THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_EQ(s.token_sum, (uint64_t)N_THREADS * (ROUNDS / 10));
}

/* Dekker: with the full fence on both sides, never do both miss the other's store. */
struct dekker {
	uint64_t mine __attribute__((aligned(64)));
	uint64_t yours __attribute__((aligned(64)));
	uint64_t saw[2] __attribute__((aligned(64)));
	pthread_barrier_t barrier;
};

static void *dekker_other(void *arg)
{
	struct dekker *d = arg;
	unsigned int i, n = ROUNDS / 20;

	for (i = 0; i < n; i++) {
		pthread_barrier_wait(&d->barrier);
		skv_store_relaxed(&d->yours, 1);
		skv_fence_seq();
		d->saw[1] = skv_load_relaxed(&d->mine);
		pthread_barrier_wait(&d->barrier);
		pthread_barrier_wait(&d->barrier);
	}
	return NULL;
}

static void full_fence_orders_store_and_load(void)
{
	static struct dekker d;
	unsigned int i, n = ROUNDS / 20;
	pthread_t thread;

	CHECK_EQ(pthread_barrier_init(&d.barrier, NULL, 2), 0);
	CHECK_EQ(pthread_create(&thread, NULL, dekker_other, &d), 0);
	for (i = 0; i < n; i++) {
		pthread_barrier_wait(&d.barrier);
		skv_store_relaxed(&d.mine, 1);
		skv_fence_seq();
		d.saw[0] = skv_load_relaxed(&d.yours);
		pthread_barrier_wait(&d.barrier);
		CHECK(d.saw[0] || d.saw[1]);
		skv_store_relaxed(&d.mine, 0);
		skv_store_relaxed(&d.yours, 0);
		pthread_barrier_wait(&d.barrier);
	}
	CHECK_EQ(pthread_join(thread, NULL), 0);
	pthread_barrier_destroy(&d.barrier);
}

const struct skv_test skv_tests_atomic[] = {
	{ "atomic", "the back end has its name and passes its own test",
	  back_end_has_its_name, 10 },
	{ "atomic", "words do what they say", words_do_what_they_say, 10 },
	{ "atomic", "a pair is compared in full", pair_is_compared_in_full, 10 },
	{ "atomic", "copies take exactly their bytes", copies_take_exactly_their_bytes, 60 },
	{ "atomic", "equality sees every byte", equality_sees_every_byte, 10 },
	{ "atomic", "loads work on read-only memory", loads_work_on_read_only_memory, 10 },
	{ "atomic", "threads lose no update", threads_lose_no_update, 60 },
	{ "atomic", "processes lose no update", processes_lose_no_update, 60 },
	{ "atomic", "release carries what came before to another thread",
	  release_carries_what_came_before, 60 },
	{ "atomic", "swap hands over to one thread of many", swap_hands_over_to_one, 60 },
	{ "atomic", "a full fence orders a store and a load between threads",
	  full_fence_orders_store_and_load, 60 },
	{ 0 },
};

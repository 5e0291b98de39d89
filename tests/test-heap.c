/* SPDX-License-Identifier: MIT */
/* test-heap: memory, records and deferred freeing, which all heap engines share. */
#include "heap/record.h"
#include "tests/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

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

/* ---- pool ------------------------------------------------------------------------ */

static void check_pool(const struct skv_pool *pool, uint64_t expected_blocks)
{
	uint64_t used;

	CHECK_EQ(skv_pool_check(pool, NULL, NULL, &used), 0u);
	CHECK_EQ(used, expected_blocks);
}

static void every_size_has_room_and_little_waste(void)
{
	struct skv_pool pool;
	uint64_t expected = 0;
	size_t size, block;
	uint8_t *p;

	skv_pool_init(&pool, (uint64_t)1 << 30);
	for (size = 1; size <= SKV_POOL_SMALL_MAX + 100; size++) {
		block = skv_pool_block_bytes(size);
		CHECK(block >= size);
		CHECK(block <= size + size / 8 + 48);
		CHECK(block >= skv_pool_block_bytes(size - 1));
		p = skv_pool_alloc(&pool, size);
		CHECK(p != NULL);
		CHECK_EQ((uintptr_t)p % 8, 0u);
		memset(p, (int)size, size);
		expected += block;
	}
	check_pool(&pool, expected);
	skv_pool_deinit(&pool);
}

struct held {
	uint8_t *p;
	size_t size;
	uint8_t mark;
};

static void check_held(const struct held *held)
{
	size_t i;

	for (i = 0; i < held->size; i += held->size > 64 ? held->size / 64 : 1)
		CHECK_EQ(held->p[i], held->mark);
	CHECK_EQ(held->p[held->size - 1], held->mark);
}

/* Blocks come and go in random order; none overlaps another, and in the end all is given back. */
static void blocks_keep_what_is_in_them(void)
{
	enum { N_HELD = 3000 };
	struct held *held = calloc(N_HELD, sizeof(*held)), *h;
	uint64_t random = skv_test_seed(), expected = 0, n, i, steps = skv_test_is_slow() ? 100000 : 1000000;
	struct skv_pool pool;

	CHECK(held != NULL);
	skv_pool_init(&pool, (uint64_t)1 << 30);
	for (n = 0; n < steps; n++) {
		h = &held[mix(&random) % N_HELD];
		if (h->p) {
			check_held(h);
			expected -= skv_pool_block_bytes(h->size);
			skv_pool_free(&pool, h->p, h->size);
			h->p = NULL;
			continue;
		}
		h->size = 1 + mix(&random) % ((uint64_t)1 << (3 + mix(&random) % 12));
		h->mark = (uint8_t)mix(&random);
		h->p = skv_pool_alloc(&pool, h->size);
		CHECK(h->p != NULL);
		memset(h->p, h->mark, h->size);
		expected += skv_pool_block_bytes(h->size);
		if (n % 50000 == 0)
			check_pool(&pool, expected);
	}
	check_pool(&pool, expected);
	for (i = 0; i < N_HELD; i++) {
		if (held[i].p)
			skv_pool_free(&pool, held[i].p, held[i].size);
	}
	check_pool(&pool, 0);
	CHECK_EQ(pool.used_bytes, 0u);
	CHECK_EQ(pool.spare_bytes, 0u);
	skv_pool_deinit(&pool);
	free(held);
}

/* What one size gave back serves another, down to the last chunk. */
static void the_limit_is_kept_and_memory_changes_class(void)
{
	enum { LIMIT = 2 << 20, MAX = LIMIT / 64 };
	void **blocks = calloc(MAX, sizeof(*blocks));
	static const size_t sizes[] = { 64, 500, 24, 4096, 300 };
	struct skv_pool pool;
	size_t i, n, round;
	void *stays;

	CHECK(blocks != NULL);
	skv_pool_init(&pool, LIMIT);
	/* With one that stays, the others come back by sweeping only. */
	stays = skv_pool_alloc(&pool, 40);
	CHECK(stays != NULL);
	for (round = 0; round < 20; round++) {
		size_t size = sizes[round % ARRAY_LEN(sizes)];

		for (n = 0; n < MAX; n++) {
			blocks[n] = skv_pool_alloc(&pool, size);
			if (!blocks[n])
				break;
		}
		CHECK(n == MAX || pool.error == -ENOSPC);
		CHECK(pool.used_bytes <= LIMIT);
		if (n < MAX)
			CHECK(n * size > (uint64_t)LIMIT * 8 / 10);
		for (i = 0; i < n; i++)
			skv_pool_free(&pool, blocks[i], size);
		check_pool(&pool, 40);
	}
	skv_pool_sweep(&pool);
	CHECK_EQ(pool.used_bytes, SKV_POOL_NURSERY_BYTES);
	skv_pool_free(&pool, stays, 40);
	CHECK_EQ(pool.used_bytes, 0u);
	CHECK(skv_pool_alloc(&pool, LIMIT) == NULL);
	CHECK_EQ(pool.error, -ENOSPC);
	CHECK_EQ(skv_pool_charge(&pool, LIMIT), 0);
	CHECK(skv_pool_alloc(&pool, 40) == NULL);
	CHECK_EQ(skv_pool_charge(&pool, 1), -ENOSPC);
	skv_pool_discharge(&pool, LIMIT);
	skv_pool_deinit(&pool);
	free(blocks);
}

static void tables_come_zeroed_and_count(void)
{
	static const size_t sizes[] = { 64, 100, 4096, 100000, (size_t)2 << 20, (size_t)5000001 };
	struct skv_pool pool;
	size_t i, j;
	uint8_t *p;

	skv_pool_init(&pool, (uint64_t)8 << 20);
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		p = skv_pool_zeroed(&pool, sizes[i]);
		CHECK(p != NULL);
		CHECK_EQ((uintptr_t)p % 64, 0u);
		CHECK_EQ(pool.used_bytes, sizes[i]);
		for (j = 0; j < sizes[i]; j++)
			CHECK(p[j] == 0);
		memset(p, 1, sizes[i]);
		skv_pool_zeroed_free(&pool, p, sizes[i]);
		CHECK_EQ(pool.used_bytes, 0u);
	}
	CHECK(skv_pool_zeroed(&pool, (size_t)9 << 20) == NULL);
	CHECK_EQ(pool.error, -ENOSPC);
	skv_pool_deinit(&pool);
}

/* ---- records --------------------------------------------------------------------- */

static struct skv_heap *heap_new(uint64_t max_bytes)
{
	struct shmkv_options opts = { .max_bytes = max_bytes, .hash = SHMKV_HASH_XXH3 };
	struct skv_heap *heap = aligned_alloc(64, (sizeof(*heap) + 63) & ~(size_t)63);

	CHECK(heap != NULL);
	CHECK_EQ(skv_heap_init(heap, &opts), 0);
	return heap;
}

static void heap_free(struct skv_heap *heap)
{
	skv_heap_deinit(heap);
	free(heap);
}

static void short_keys_compare_like_memcmp(void)
{
	uint64_t random = skv_test_seed();
	uint8_t a[100], b[100];
	size_t len, i, n;

	for (len = 0; len <= 100; len++) {
		for (n = 0; n < 200; n++) {
			for (i = 0; i < len; i++)
				a[i] = b[i] = (uint8_t)mix(&random);
			CHECK(skv_bytes_equal(a, b, len));
			if (len == 0)
				continue;
			b[mix(&random) % len] ^= (uint8_t)(1 << mix(&random) % 8);
			CHECK(!skv_bytes_equal(a, b, len));
		}
	}
}

static void a_record_keeps_key_and_value(void)
{
	static const size_t lens[] = { 1, 2, 7, 16, 100, 4000, 5000, SHMKV_KEY_MAX };
	struct skv_heap *heap = heap_new((uint64_t)8 << 20);
	uint8_t *key_bytes = calloc(1, SHMKV_KEY_MAX), *value = calloc(1, 100000), *buf = calloc(1, 100016);
	struct skv_bytes bytes = { .head = { 0xc6, 0, 1 }, .head_len = 5, .data = value };
	struct skv_record *record;
	struct skv_sink sink;
	struct skv_key key;
	size_t i, j;

	CHECK(key_bytes && value && buf);
	memset(key_bytes, 'k', SHMKV_KEY_MAX);
	memset(value, 'v', 100000);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		for (j = 0; j < ARRAY_LEN(lens); j++) {
			key = (struct skv_key){ .data = key_bytes, .len = lens[i] };
			bytes.len = lens[j];
			CHECK_EQ(skv_record_from_bytes(heap, &key, 42, &bytes, &record), 0);
			CHECK_EQ(record->hash, 42u);
			CHECK(skv_record_has_key(record, &key));
			key.len = lens[i] == 1 ? 2 : lens[i] - 1;
			CHECK(!skv_record_has_key(record, &key));
			sink = (struct skv_sink){ .buf = buf, .cap = lens[j] + 4 };
			CHECK_EQ(skv_record_read(record, &sink), -ENOBUFS);
			CHECK_EQ(sink.value_len, lens[j] + 5);
			sink.cap++;
			CHECK_EQ(skv_record_read(record, &sink), 0);
			CHECK_EQ(sink.token, record->token);
			CHECK_MEM(buf, 5, bytes.head, 5);
			CHECK_MEM(buf + 5, lens[j], value, lens[j]);
			skv_record_free(heap, record);
		}
	}
	key = (struct skv_key){ .data = key_bytes, .len = 1 };
	CHECK_EQ(skv_record_new(heap, &key, 0, (uint64_t)8 << 20, &record), -EFBIG);
	CHECK_EQ(skv_record_new(heap, &key, 0, UINT64_MAX - 100, &record), -EFBIG);
	CHECK_EQ(heap->pool.used_bytes, 0u);
	free(key_bytes);
	free(value);
	free(buf);
	heap_free(heap);
}

/* ---- readers and a writer -------------------------------------------------------- */

enum { N_CELLS = 64, PAYLOAD = 96 };

struct shared {
	struct skv_heap *heap;
	void *cells[N_CELLS];
	bool stop;
	uint64_t n_reads;
};

static void *read_cells(void *arg)
{
	struct shared *s = arg;
	const uint64_t *words;
	uint64_t n = 0, i, j;
	bool entered;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < N_CELLS; i++, n++) {
			entered = skv_rcu_enter();
			words = skv_rcu_load(&s->cells[i]);
			for (j = 1; j < PAYLOAD / 8; j++)
				CHECK_EQ(words[j], words[0]);
			skv_rcu_leave(entered);
		}
	}
	__atomic_fetch_add(&s->n_reads, n, __ATOMIC_RELAXED);
	return NULL;
}

static void fill_cell(struct shared *s, size_t i, uint64_t number)
{
	uint64_t *words, j;
	bool locked, again = false;
	void *old;
	int r;

	do {
		locked = skv_heap_lock(s->heap);
		words = skv_pool_alloc(&s->heap->pool, PAYLOAD);
		r = words ? 0 : s->heap->pool.error;
		if (words) {
			for (j = 0; j < PAYLOAD / 8; j++)
				words[j] = number;
			old = s->cells[i];
			skv_rcu_store(&s->cells[i], words);
			if (old)
				skv_heap_retire(s->heap, old, PAYLOAD);
		}
		skv_heap_unlock(s->heap, locked);
	} while (skv_heap_again(s->heap, r, &again));
	CHECK_EQ(r, 0);
}

static void *write_cells(void *arg)
{
	struct shared *s = arg;
	uint64_t n, rounds = skv_test_is_slow() ? 500 : 2000;
	size_t i;

	for (n = 0; n < rounds; n++) {
		for (i = 0; i < N_CELLS; i++)
			fill_cell(s, i, n * N_CELLS + i);
	}
	return NULL;
}

/*
 * Under a limit that holds little more than what is live: memory is used again all the time,
 * and a reader that had a block too long would see another's number in it.
 */
static void readers_never_see_memory_used_again(void)
{
	struct shared s = { .heap = heap_new((uint64_t)1 << 20) };
	pthread_t readers[3], writers[2];
	uint64_t used;
	size_t i;

	for (i = 0; i < N_CELLS; i++)
		fill_cell(&s, i, i);
	for (i = 0; i < ARRAY_LEN(readers); i++)
		CHECK_EQ(pthread_create(&readers[i], NULL, read_cells, &s), 0);
	for (i = 0; i < ARRAY_LEN(writers); i++)
		CHECK_EQ(pthread_create(&writers[i], NULL, write_cells, &s), 0);
	for (i = 0; i < ARRAY_LEN(writers); i++)
		CHECK_EQ(pthread_join(writers[i], NULL), 0);
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_LEN(readers); i++)
		CHECK_EQ(pthread_join(readers[i], NULL), 0);

	skv_heap_reclaim(s.heap);
	CHECK_EQ(skv_pool_check(&s.heap->pool, NULL, NULL, &used), 0u);
	CHECK_EQ(used, (uint64_t)N_CELLS * skv_pool_block_bytes(PAYLOAD));
	heap_free(s.heap);
}

/* A fork in the middle of all that: the child's copy can be freed, and RCU works in it. */
static void a_child_forked_between_writes_frees_its_copy(void)
{
	struct shared s = { .heap = heap_new((uint64_t)1 << 20) };
	pthread_t reader, writers[2];
	size_t i;
	pid_t pid;

	for (i = 0; i < N_CELLS; i++)
		fill_cell(&s, i, i);
	CHECK_EQ(pthread_create(&reader, NULL, read_cells, &s), 0);
	for (i = 0; i < ARRAY_LEN(writers); i++)
		CHECK_EQ(pthread_create(&writers[i], NULL, write_cells, &s), 0);
	for (i = 0; i < 20; i++) {
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			uint64_t used;

			skv_heap_reclaim(s.heap);
			CHECK_EQ(skv_pool_check(&s.heap->pool, NULL, NULL, &used), 0u);
			CHECK_EQ(used, (uint64_t)N_CELLS * skv_pool_block_bytes(PAYLOAD));
			heap_free(s.heap);
			_exit(0);
		}
		skv_test_wait_ok(pid);
	}
	for (i = 0; i < ARRAY_LEN(writers); i++)
		CHECK_EQ(pthread_join(writers[i], NULL), 0);
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(reader, NULL), 0);
	heap_free(s.heap);
}

const struct skv_test skv_tests_heap[] = {
	{ "pool", "every size has room and little waste", every_size_has_room_and_little_waste, 20 },
	{ "pool", "blocks keep what is in them", blocks_keep_what_is_in_them, 60 },
	{ "pool", "the limit is kept and memory changes class",
	  the_limit_is_kept_and_memory_changes_class, 20 },
	{ "pool", "tables come zeroed and count", tables_come_zeroed_and_count, 20 },
	{ "record", "short keys compare like memcmp", short_keys_compare_like_memcmp, 20 },
	{ "record", "a record keeps key and value", a_record_keeps_key_and_value, 20 },
	{ "heap", "readers never see memory used again", readers_never_see_memory_used_again, 60 },
	{ "heap", "a child forked between writes frees its copy",
	  a_child_forked_between_writes_frees_its_copy, 60 },
	{ 0 },
};

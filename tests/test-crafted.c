/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "base/hash.h"
#include "shm/layout.h"
#include "shm/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * test-crafted: keys and words chosen against the index by somebody who knows the segment's
 * secret: keys with the same place, keys with one long prefix, a root word of garbage.
 */

/* ---- the segment's secret -------------------------------------------------------------- */

struct secret {
	struct skv_superblock header;
	struct skv_hash_key hash;
};

static void secret_read(struct secret *secret, const struct skv_segment *s)
{
	char path[256];
	int fd;

	skv_segment_file(s->name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &secret->header, sizeof(secret->header), 0), sizeof(secret->header));
	close(fd);
	CHECK_EQ(skv_hash_key_init(&secret->hash, secret->header.hash_kind,
				   secret->header.hash_k0, secret->header.hash_k1),
		 0);
}

static struct skv_place place_of(const struct secret *secret, uint64_t key)
{
	return skv_place_of_hash(skv_hash(&secret->hash, &key, sizeof(key)));
}

/* The next key from *@at on whose prefix begins with the @bits bits of @prefix. */
static uint64_t next_with_prefix(const struct secret *secret, uint64_t *at, uint32_t prefix,
				 uint32_t bits)
{
	for (;; ++*at) {
		if (skv_place_index(place_of(secret, *at), bits) == prefix)
			return (*at)++;
	}
}

/* ---- equal places ---------------------------------------------------------------------- */

struct placed {
	uint64_t place, key;
};

static int by_place(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return x->place < y->place ? -1 : x->place > y->place;
}

/* Pairs of keys that nothing but the keys themselves tell apart. */
static size_t find_pairs(const struct secret *secret, uint64_t (*ret_pair)[2], size_t n_max)
{
	const size_t n = 2000000;
	struct placed *placed = skv_alloc(n * sizeof(*placed));
	size_t i, n_pairs = 0;

	for (i = 0; i < n; i++)
		placed[i] = (struct placed){ place_of(secret, i).bits, i };
	qsort(placed, n, sizeof(*placed), by_place);
	for (i = 1; i < n && n_pairs < n_max; i++) {
		if (placed[i].place == placed[i - 1].place) {
			ret_pair[n_pairs][0] = placed[i - 1].key;
			ret_pair[n_pairs++][1] = placed[i].key;
		}
	}
	free(placed);
	return n_pairs;
}

static void check_int(struct shmkv *kv, uint64_t key, int64_t expected)
{
	int64_t n = ~expected;

	CHECK_EQ(shmkv_get_int(kv, &key, 8, &n), 0);
	CHECK_EQ(n, expected);
}

static void keys_with_the_same_place_are_two_keys(void)
{
	uint64_t pair[64][2];
	struct secret secret;
	struct skv_segment s;
	size_t n, i;
	uint64_t *a, *b, other;
	int64_t sum;

	skv_segment_begin(&s, 4 * MIB);
	secret_read(&secret, &s);
	n = find_pairs(&secret, pair, ARRAY_LEN(pair));
	CHECK(n >= 5);
	for (i = 0; i < n; i++) {
		a = &pair[i][0];
		b = &pair[i][1];
		CHECK_EQ(shmkv_add(s.kv, a, 8, shmkv_int(1), NULL), 0);
		CHECK_EQ(shmkv_exists(s.kv, b, 8), -ENOENT);
		CHECK_EQ(shmkv_del(s.kv, b, 8), -ENOENT);
		CHECK_EQ(shmkv_replace(s.kv, b, 8, shmkv_int(2), NULL), -ENOENT);
		CHECK_EQ(shmkv_add(s.kv, b, 8, shmkv_int(2), NULL), 0);
		check_int(s.kv, *a, 1);
		check_int(s.kv, *b, 2);
		CHECK_EQ(shmkv_put(s.kv, a, 8, shmkv_int(3), NULL), 0);
		CHECK_EQ(shmkv_incr(s.kv, b, 8, 2, 0, &sum), 0);
		CHECK_EQ(sum, 4);
		check_int(s.kv, *a, 3);
		/* The one in front goes and comes back behind. */
		CHECK_EQ(shmkv_del(s.kv, a, 8), 0);
		CHECK_EQ(shmkv_exists(s.kv, a, 8), -ENOENT);
		check_int(s.kv, *b, 4);
		CHECK_EQ(shmkv_add(s.kv, a, 8, shmkv_int(5), NULL), 0);
		check_int(s.kv, *a, 5);
		check_int(s.kv, *b, 4);
	}
	/* Leaves are split and compacted around them. */
	for (other = 0; other < 60000; other++) {
		uint64_t key = other % 15000 + ((uint64_t)1 << 40);
		int r = other % 3 == 2 ? shmkv_del(s.kv, &key, 8) :
					 shmkv_put(s.kv, &key, 8, shmkv_int(0), NULL);

		CHECK(r == 0 || r == -ENOENT || r == -ENOSPC);
	}
	for (i = 0; i < n; i++) {
		check_int(s.kv, pair[i][0], 5);
		check_int(s.kv, pair[i][1], 4);
	}
	skv_segment_end(&s);
}

/* ---- one long prefix ------------------------------------------------------------------- */

static void keys_of_one_prefix_fill_one_leaf_and_harm_no_other(void)
{
	struct skv_snapshot before;
	struct secret secret;
	struct skv_segment s;
	uint64_t at = 0, key, n, i, *keys;
	uint32_t deepest;
	int64_t sum;
	int r;

	skv_segment_begin(&s, 4 * MIB);
	secret_read(&secret, &s);
	deepest = secret.header.level_max;
	keys = skv_alloc((SKV_LEAF_SLOTS + 1) * sizeof(*keys));
	for (n = 0; n <= SKV_LEAF_SLOTS; n++) {
		keys[n] = next_with_prefix(&secret, &at, 5, deepest);
		r = shmkv_add(s.kv, &keys[n], 8, shmkv_int((int64_t)n), NULL);
		if (r < 0)
			break;
	}
	/* As many as the deepest leaf has slots, and not one more. */
	CHECK_EQ(r, -EXFULL);
	CHECK_EQ(n, SKV_LEAF_SLOTS);
	CHECK_EQ(skv_segment_check(s.kv).keys, n);
	before = skv_segment_snapshot(s.kv);
	key = keys[n];
	CHECK_EQ(shmkv_put(s.kv, &key, 8, shmkv_int(0), NULL), -EXFULL);
	CHECK_EQ(shmkv_incr(s.kv, &key, 8, 1, 0, NULL), -EXFULL);
	CHECK_EQ(shmkv_append(s.kv, &key, 8, shmkv_str("x"), NULL), -EXFULL);
	CHECK_EQ(shmkv_exists(s.kv, &key, 8), -ENOENT);
	CHECK_EQ(shmkv_del(s.kv, &key, 8), -ENOENT);
	skv_segment_unchanged(s.kv, &before);

	/* What is there can be changed, and what goes makes room, any number of times. */
	for (i = 0; i < n; i++) {
		check_int(s.kv, keys[i], (int64_t)i);
		CHECK_EQ(shmkv_incr(s.kv, &keys[i], 8, 1, 0, &sum), 0);
		CHECK_EQ(sum, i + 1);
	}
	for (i = 0; i < 3 * n; i++) {
		CHECK_EQ(shmkv_del(s.kv, &keys[i % n], 8), 0);
		CHECK_EQ(shmkv_add(s.kv, &key, 8, shmkv_int(0), NULL), 0);
		CHECK_EQ(shmkv_add(s.kv, &keys[i % n], 8, shmkv_int(0), NULL), -EXFULL);
		CHECK_EQ(shmkv_del(s.kv, &key, 8), 0);
		CHECK_EQ(shmkv_add(s.kv, &keys[i % n], 8, shmkv_int(1), NULL), 0);
	}
	/* The neighbour's prefix differs in its last bit only. */
	at = 0;
	for (i = 0; i < SKV_LEAF_SLOTS / 2; i++) {
		key = next_with_prefix(&secret, &at, 4, deepest);
		CHECK_EQ(shmkv_add(s.kv, &key, 8, shmkv_int(0), NULL), 0);
	}
	/* And the rest of the map takes what it always takes. */
	for (i = 0; i < 5000; i++) {
		key = i + ((uint64_t)1 << 40);
		if (skv_place_index(place_of(&secret, key), deepest) == 5)
			continue;
		r = shmkv_add(s.kv, &key, 8, shmkv_int(0), NULL);
		CHECK(r == 0 || (r == -ENOSPC && i > 2000));
	}
	skv_segment_check(s.kv);
	free(keys);
	skv_segment_end(&s);
}

/* ---- the root word --------------------------------------------------------------------- */

static void root_word_of_garbage_costs_time_only(void)
{
	struct secret secret;
	struct skv_segment s;
	struct shmkv *reader;
	uint64_t state = skv_test_seed(), i, k, key, garbage, good, n = 4000;
	uint64_t *root;
	uint8_t *file;
	char path[256];
	int fd;

	skv_segment_begin(&s, 6 * MIB);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	secret_read(&secret, &s);
	skv_segment_file(s.name, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	file = mmap(NULL, SKV_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(file != MAP_FAILED);
	close(fd);
	root = (uint64_t *)(void *)(file + offsetof(struct skv_superblock, root));
	for (i = 0; i < n; i++)
		CHECK_EQ(shmkv_put(s.kv, &i, 8, shmkv_int((int64_t)i), NULL), 0);
	good = skv_load_acquire(root);

	for (i = 0; i < 300; i++) {
		garbage = skv_random(&state);
		/* Likely ones too: every level, every front. */
		if (i % 3 == 0)
			garbage = i / 3 % 40 | (garbage & 0xffffff00);
		else if (i % 3 == 1)
			garbage = (good & 0xff) | (garbage & ~(uint64_t)0xff);
		skv_store_release(root, garbage);
		for (k = 0; k < 40; k++) {
			key = skv_random(&state) % n;
			check_int(s.kv, key, (int64_t)key);
			check_int(reader, key, (int64_t)key);
			key += n;
			CHECK_EQ(shmkv_exists(reader, &key, 8), -ENOENT);
			CHECK_EQ(shmkv_add(s.kv, &key, 8, shmkv_int((int64_t)key), NULL), 0);
			check_int(reader, key, (int64_t)key);
			CHECK_EQ(shmkv_del(s.kv, &key, 8), 0);
			/* Splits move the word by themselves. */
			if (k % 10 == 0)
				skv_store_release(root, garbage);
		}
		if (i % 50 == 0)
			CHECK_EQ(skv_segment_check(reader).keys, n);
	}
	munmap(file, SKV_PAGE);
	shmkv_detach(reader);
	skv_segment_end(&s);
}

/* ---- equal in part ------------------------------------------------------------------------ */

static void keys_that_differ_in_little_are_different(void)
{
	uint8_t key[300];
	struct skv_segment s;
	int64_t n;
	size_t len, i;

	skv_segment_begin(&s, 8 * MIB);
	memset(key, 0, sizeof(key));
	/* Zeros of every length, then one bit set in every place of the longest. */
	for (len = 1; len <= sizeof(key); len++)
		CHECK_EQ(shmkv_add(s.kv, key, len, shmkv_int((int64_t)len), NULL), 0);
	for (i = 0; i < 8 * sizeof(key); i++) {
		key[i / 8] ^= 1u << (i % 8);
		CHECK_EQ(shmkv_add(s.kv, key, sizeof(key), shmkv_int(-(int64_t)i - 1), NULL), 0);
		key[i / 8] ^= 1u << (i % 8);
	}
	for (len = 1; len <= sizeof(key); len++) {
		CHECK_EQ(shmkv_get_int(s.kv, key, len, &n), 0);
		CHECK_EQ(n, len);
	}
	for (i = 0; i < 8 * sizeof(key); i++) {
		key[i / 8] ^= 1u << (i % 8);
		CHECK_EQ(shmkv_get_int(s.kv, key, sizeof(key), &n), 0);
		CHECK_EQ(n, -(int64_t)i - 1);
		key[i / 8] ^= 1u << (i % 8);
	}
	CHECK_EQ(skv_segment_count(s.kv), sizeof(key) * 9);
	skv_segment_end(&s);
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_crafted[] = {
	/* hazard 25 */
	{ "crafted", "keys with the same place are two keys",
	  keys_with_the_same_place_are_two_keys, 60 },
	/* hazard 21 */
	{ "crafted", "keys of one prefix fill one leaf and harm no other",
	  keys_of_one_prefix_fill_one_leaf_and_harm_no_other, 60 },
	/* hazard 27 */
	{ "crafted", "a root word of garbage costs time only",
	  root_word_of_garbage_costs_time_only, 60 },
	/* hazard 25 */
	{ "crafted", "keys that differ in little are different",
	  keys_that_differ_in_little_are_different, 30 },
	{ 0 },
};

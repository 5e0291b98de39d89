/* SPDX-License-Identifier: MIT */
/* test-hamt: the trie by itself, against a model that is an array. */
#include "heap/hamt/hamt-walk.h"
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- items ----------------------------------------------------------------------- */

struct item {
	struct skv_hamt_item head;
	uint64_t key;
	uint64_t value;
};

static int compare(const struct skv_hamt_item *a, const void *key)
{
	uint64_t x = ((const struct item *)(const void *)a)->key, y = *(const uint64_t *)key;

	return x < y ? -1 : x > y;
}

static int order(const struct skv_hamt_item *a, const struct skv_hamt_item *b)
{
	return compare(a, &((const struct item *)(const void *)b)->key);
}

static size_t item_size(const struct skv_hamt_item *item)
{
	(void)item;
	return sizeof(struct item);
}

static void item_retire(struct skv_hamt *t, struct skv_hamt_item *item)
{
	skv_pool_free(t->pool.from, item, sizeof(struct item));
}

static const struct skv_hamt_kind kind = { compare, order, item_size, item_retire };

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static uint64_t next_random(uint64_t *random)
{
	*random += 0x9e3779b97f4a7c15;
	return mix(*random);
}

/* ---- hashes of every kind of badness --------------------------------------------- */

static uint64_t hash_good(uint64_t key)
{
	return mix(key + 1);
}

static uint64_t hash_equal(uint64_t key)
{
	(void)key;
	return 0x123456789abcdef0;
}

/* Long stretches that agree: mostly levels without nodes, and collisions in between. */
static uint64_t hash_low(uint64_t key)
{
	return mix(key) & 0xff;
}

static uint64_t hash_high(uint64_t key)
{
	return mix(key) << 56;
}

static uint64_t hash_sparse(uint64_t key)
{
	return mix(key) & 0x8000100004000201;
}

static uint64_t hash_identity(uint64_t key)
{
	return key;
}

static const struct hash {
	uint64_t (*fn)(uint64_t key);
	const char *name;
} hashes[] = {
	{ hash_good, "good" },     { hash_equal, "equal" },   { hash_low, "low" },
	{ hash_high, "high" },     { hash_sparse, "sparse" }, { hash_identity, "identity" },
};

#define N_HASHES (sizeof(hashes) / sizeof(hashes[0]))

/* ---- a trie and its model -------------------------------------------------------- */

#define N_KEYS 3000u
#define ABSENT UINT64_MAX

struct fixture {
	struct skv_pool pool;
	struct skv_hamt trie;
	uint64_t (*hash)(uint64_t key);
	uint64_t values[N_KEYS]; /* or ABSENT */
	uint64_t count;
};

static void fixture_init(struct fixture *f, const struct hash *hash)
{
	uint64_t i;

	memset(f, 0, sizeof(*f));
	skv_pool_init(&f->pool, UINT64_MAX);
	skv_hamt_init(&f->trie, &kind, &f->pool, NULL);
	f->hash = hash->fn;
	for (i = 0; i < N_KEYS; i++)
		f->values[i] = ABSENT;
}

static void fail_violation(const char *violation, void *arg)
{
	(void)arg;
	skv_test_fail(__FILE__, __LINE__, "the trie is not sound: %s", violation);
}

static void check_sound(struct fixture *f)
{
	CHECK_EQ(skv_hamt_check(&f->trie, fail_violation, NULL), 0u);
	CHECK_EQ(f->trie.count, f->count);
}

/* Whatever a test did: when all is removed, all memory has come back. */
static void fixture_deinit(struct fixture *f)
{
	uint64_t used;

	while (f->trie.newest)
		CHECK_EQ(skv_hamt_release(&f->trie, f->trie.newest, SIZE_MAX), 1);
	check_sound(f);
	CHECK_EQ(skv_hamt_clear(&f->trie), 0);
	while (skv_hamt_dismantle(&f->trie, 3) > 0)
		;
	f->count = 0;
	check_sound(f);
	CHECK_EQ(f->trie.n_items, 0u);
	CHECK_EQ(f->trie.pool.n_used, 0u);
	skv_hamt_trim(&f->trie);
	CHECK_EQ(f->pool.used_bytes, 0u);
	CHECK_EQ(skv_pool_check(&f->pool, NULL, NULL, &used), 0u);
	skv_hamt_deinit(&f->trie);
	skv_pool_deinit(&f->pool);
}

static int try_put(struct fixture *f, uint64_t key, uint64_t value)
{
	struct skv_hamt_pos pos;
	struct item *item;
	int r;

	skv_hamt_seek(&f->trie, f->hash(key), &key, &pos);
	CHECK_EQ(pos.found != NULL, f->values[key] != ABSENT);
	item = skv_pool_alloc(&f->pool, sizeof(*item));
	if (!item)
		return -ENOMEM;
	*item = (struct item){ { f->hash(key), 0 }, key, value };
	r = skv_hamt_put(&f->trie, &pos, &item->head);
	if (r < 0) {
		skv_pool_free(&f->pool, item, sizeof(*item));
		return r;
	}
	f->count += f->values[key] == ABSENT;
	f->values[key] = value;
	return 0;
}

static void put(struct fixture *f, uint64_t key, uint64_t value)
{
	CHECK_EQ(try_put(f, key, value), 0);
}

static int try_remove(struct fixture *f, uint64_t key)
{
	struct skv_hamt_pos pos;
	int r;

	skv_hamt_seek(&f->trie, f->hash(key), &key, &pos);
	CHECK_EQ(pos.found != NULL, f->values[key] != ABSENT);
	if (!pos.found)
		return -ENOENT;
	r = skv_hamt_remove(&f->trie, &pos);
	if (r < 0)
		return r;
	f->values[key] = ABSENT;
	f->count--;
	return 0;
}

static void check_key(const struct fixture *f, uint64_t root, const uint64_t *values, uint64_t key)
{
	const struct skv_hamt_item *found;

	found = f->trie.code->find(root, &kind, f->hash(key), &key);
	CHECK_EQ(found != NULL, values[key] != ABSENT);
	if (found) {
		CHECK_EQ(((const struct item *)(const void *)found)->key, key);
		CHECK_EQ(((const struct item *)(const void *)found)->value, values[key]);
	}
}

static void check_all(const struct fixture *f, uint64_t root, const uint64_t *values)
{
	uint64_t i;

	for (i = 0; i < N_KEYS; i++)
		check_key(f, root, values, i);
}

/* ---- one trie -------------------------------------------------------------------- */

static void random_history(struct fixture *f, uint64_t *random, uint64_t n_steps)
{
	uint64_t i, key, what, n_keys = N_KEYS;

	for (i = 0; i < n_steps; i++) {
		/* Now few keys that come and go, now many. */
		if (i % 10000 == 0)
			n_keys = 1 + next_random(random) % N_KEYS;
		key = next_random(random) % n_keys;
		what = next_random(random) % 16;
		if (what < 7)
			put(f, key, next_random(random) >> 1);
		else if (what < 13)
			try_remove(f, key);
		else
			check_key(f, f->trie.root, f->values, key);
		if (i % 50000 == 0)
			check_sound(f);
	}
	check_sound(f);
	check_all(f, f->trie.root, f->values);
}

static void a_long_history_ends_like_the_model(void)
{
	uint64_t random = skv_test_seed(), n_steps = skv_test_is_slow() ? 30000 : 1000000;
	const struct skv_hamt_code *codes[] = { skv_hamt_code_best(), &skv_hamt_code_plain };
	struct fixture *f = malloc(sizeof(*f));
	size_t i, j;

	CHECK(f != NULL);
	for (j = 0; j < 2; j++) {
		for (i = 0; i < N_HASHES; i++) {
			fixture_init(f, &hashes[i]);
			f->trie.code = codes[j];
			/* Bunches of thousands are slow, and nobody's aim. */
			random_history(f, &random,
				       hashes[i].fn == hash_good ? n_steps : n_steps / 20);
			fixture_deinit(f);
		}
	}
	free(f);
}

static uint64_t hash_edge(uint64_t key)
{
	static const uint64_t at[] = { 0, 1, UINT64_MAX - 1, (uint64_t)1 << 63, 15, 16, 31, 32 };

	return at[key % 8];
}

static void empty_and_alone(void)
{
	static const struct hash edges = { hash_edge, "edge" };
	struct skv_hamt_walk walk;
	struct fixture f;
	size_t i;

	fixture_init(&f, &edges);
	CHECK(skv_hamt_find(&f.trie, 0, &(uint64_t){ 0 }) == NULL);
	CHECK_EQ(skv_hamt_clear(&f.trie), 0);
	skv_hamt_walk_begin(&walk, f.trie.root, 0);
	CHECK(skv_hamt_walk_next(&walk) == NULL);
	for (i = 0; i < 8; i++) {
		put(&f, i, i);
		CHECK_EQ(f.trie.count, 1u);
		CHECK_EQ(f.trie.pool.n_used, 0u);
		check_key(&f, f.trie.root, f.values, i);
		check_key(&f, f.trie.root, f.values, i + 8);
		skv_hamt_walk_begin(&walk, f.trie.root, f.hash(i));
		CHECK(skv_hamt_walk_next(&walk) != NULL);
		CHECK(skv_hamt_walk_next(&walk) == NULL);
		skv_hamt_walk_begin(&walk, f.trie.root, f.hash(i) + 1);
		CHECK(skv_hamt_walk_next(&walk) == NULL);
		CHECK_EQ(try_remove(&f, i), 0);
		CHECK_EQ(f.trie.root, 0u);
	}
	fixture_deinit(&f);
}

/* Two keys that part at each level, above and below what others share. */
static void paths_without_nodes_are_parted_anywhere(void)
{
	static const struct hash identity = { hash_identity, "identity" };
	struct skv_hamt_figures figures;
	struct fixture f;
	uint64_t a, b;
	unsigned int i, j;

	fixture_init(&f, &identity);
	/* Keys beyond the model: the trie only. */
	for (i = 0; i < 64; i++) {
		for (j = 0; j < 64; j++) {
			struct item *items[3];
			struct skv_hamt_pos pos;
			uint64_t keys[3] = { 0, (uint64_t)1 << i, (uint64_t)1 << j };
			unsigned int k, n = i == j ? 2 : 3;

			for (k = 0; k < n; k++) {
				items[k] = skv_pool_alloc(&f.pool, sizeof(struct item));
				*items[k] = (struct item){ { keys[k], 0 }, keys[k], k };
				skv_hamt_seek(&f.trie, keys[k], &keys[k], &pos);
				CHECK(pos.found == NULL);
				CHECK_EQ(skv_hamt_put(&f.trie, &pos, &items[k]->head), 0);
			}
			CHECK_EQ(skv_hamt_check(&f.trie, fail_violation, NULL), 0u);
			skv_hamt_measure(f.trie.root, &kind, &figures);
			CHECK_EQ(figures.items, n);
			/* Never more nodes than partings. */
			CHECK(figures.nodes <= n - 1);
			for (k = 0; k < n; k++)
				CHECK(skv_hamt_find(&f.trie, keys[k], &keys[k]) == &items[k]->head);
			a = keys[n - 1] ^ 1;
			b = keys[n - 1] ^ (uint64_t)1 << 40;
			CHECK_EQ(skv_hamt_find(&f.trie, a, &a) != NULL,
				 a == keys[0] || a == keys[1]);
			CHECK_EQ(skv_hamt_find(&f.trie, b, &b) != NULL,
				 b == keys[0] || b == keys[1]);
			for (k = 0; k < n; k++) {
				skv_hamt_seek(&f.trie, keys[k], &keys[k], &pos);
				CHECK(pos.found == &items[k]->head);
				CHECK_EQ(skv_hamt_remove(&f.trie, &pos), 0);
				CHECK_EQ(skv_hamt_check(&f.trie, fail_violation, NULL), 0u);
			}
			CHECK_EQ(f.trie.pool.n_used, 0u);
		}
	}
	fixture_deinit(&f);
}

/* ---- canonical form -------------------------------------------------------------- */

static void shuffle(uint64_t *order_of, size_t n, uint64_t *random)
{
	size_t i, j;
	uint64_t x;

	for (i = n; i > 1; i--) {
		j = next_random(random) % i;
		x = order_of[i - 1];
		order_of[i - 1] = order_of[j];
		order_of[j] = x;
	}
}

static void build(struct fixture *f, const uint64_t *keys, size_t n)
{
	struct skv_hamt_item **items = malloc((n + 1) * sizeof(*items));
	struct item *item;
	size_t i;

	CHECK(items != NULL);
	for (i = 0; i < n; i++) {
		item = skv_pool_alloc(&f->pool, sizeof(*item));
		CHECK(item != NULL);
		*item = (struct item){ { f->hash(keys[i]), 0 }, keys[i], i };
		items[i] = &item->head;
		f->count += f->values[keys[i]] == ABSENT;
		f->values[keys[i]] = i;
	}
	CHECK_EQ(skv_hamt_build(&f->trie, items, n), 0);
	free(items);
	check_sound(f);
	check_all(f, f->trie.root, f->values);
}

static void equal_maps_are_equal_trees(void)
{
	uint64_t random = skv_test_seed(), *keys = malloc(N_KEYS * sizeof(*keys)), i, n_keep;
	struct fixture *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b)), *c = malloc(sizeof(*c));
	size_t h, round;

	CHECK(keys && a && b && c);
	for (h = 0; h < N_HASHES; h++) {
		for (round = 0; round < 6; round++) {
			fixture_init(a, &hashes[h]);
			fixture_init(b, &hashes[h]);
			fixture_init(c, &hashes[h]);
			for (i = 0; i < N_KEYS; i++)
				keys[i] = i;
			n_keep = round == 0 ? 0 : next_random(&random) % (round < 3 ? 20 : N_KEYS);

			/* One gets all keys and loses most; the others only ever had the rest. */
			shuffle(keys, N_KEYS, &random);
			for (i = 0; i < N_KEYS; i++)
				put(a, keys[i], i);
			for (i = n_keep; i < N_KEYS; i++)
				CHECK_EQ(try_remove(a, keys[i]), 0);
			shuffle(keys, n_keep, &random);
			for (i = 0; i < n_keep; i++)
				put(b, keys[i], i);
			shuffle(keys, n_keep, &random);
			build(c, keys, n_keep);
			check_sound(a);
			check_sound(b);
			CHECK(skv_hamt_same_shape(a->trie.root, b->trie.root, &kind));
			CHECK(skv_hamt_same_shape(a->trie.root, c->trie.root, &kind));
			/* And the comparison can tell. */
			if (n_keep > 0) {
				CHECK_EQ(try_remove(b, keys[0]), 0);
				CHECK(!skv_hamt_same_shape(a->trie.root, b->trie.root, &kind));
			}
			fixture_deinit(a);
			fixture_deinit(b);
			fixture_deinit(c);
		}
	}
	free(keys);
	free(a);
	free(b);
	free(c);
}

static void built_at_once_the_last_of_equal_keys_stays(void)
{
	uint64_t random = skv_test_seed(), keys[4000];
	struct fixture *f = malloc(sizeof(*f));
	size_t h, i;

	CHECK(f != NULL);
	for (h = 0; h < N_HASHES; h++) {
		fixture_init(f, &hashes[h]);
		for (i = 0; i < 4000; i++)
			keys[i] = next_random(&random) % 1500;
		build(f, keys, 4000);
		random_history(f, &random, 3000);
		fixture_deinit(f);
	}
	free(f);
}

/* ---- versions -------------------------------------------------------------------- */

#define N_VERSIONS 12u

struct snapshot {
	struct skv_hamt_version *version;
	uint64_t values[N_KEYS];
	uint64_t count;
};

static void freeze(struct fixture *f, struct snapshot *s)
{
	CHECK_EQ(skv_hamt_freeze(&f->trie, &s->version), 0);
	memcpy(s->values, f->values, sizeof(s->values));
	s->count = f->count;
}

static void check_snapshot(const struct fixture *f, const struct snapshot *s)
{
	CHECK_EQ(s->version->count, s->count);
	check_all(f, s->version->root, s->values);
}

static void versions_stay_what_they_were(void)
{
	uint64_t random = skv_test_seed(), i, n_rounds = skv_test_is_slow() ? 60 : 600, what;
	struct snapshot *snapshots = calloc(N_VERSIONS, sizeof(*snapshots)), *s;
	struct fixture *f = malloc(sizeof(*f));
	size_t h;

	CHECK(snapshots && f);
	for (h = 0; h < N_HASHES; h++) {
		fixture_init(f, &hashes[h]);
		memset(snapshots, 0, N_VERSIONS * sizeof(*snapshots));
		for (i = 0; i < n_rounds; i++) {
			s = &snapshots[next_random(&random) % N_VERSIONS];
			what = next_random(&random) % 40;
			if (what == 0) {
				CHECK_EQ(skv_hamt_clear(&f->trie), 0);
				memset(f->values, 0xff, sizeof(f->values));
				f->count = 0;
			} else if (what < 16) {
				random_history(f, &random, next_random(&random) % 300);
			} else if (!s->version) {
				freeze(f, s);
			} else {
				check_snapshot(f, s);
				/* In steps: in between everything is as sound as ever. */
				if (skv_hamt_release(&f->trie, s->version, 5) == 0) {
					check_sound(f);
					random_history(f, &random, 10);
					while (skv_hamt_release(&f->trie, s->version, 100) == 0)
						;
				}
				s->version = NULL;
			}
			check_sound(f);
			skv_hamt_dismantle(&f->trie, 10);
		}
		for (i = 0; i < N_VERSIONS; i++) {
			if (snapshots[i].version)
				check_snapshot(f, &snapshots[i]);
		}
		fixture_deinit(f);
	}
	free(snapshots);
	free(f);
}

/* A change after a snapshot copies its path, the next one on the same path nothing more. */
static void what_a_version_does_not_share_changes_in_place(void)
{
	struct skv_hamt_version *version;
	struct fixture *f = malloc(sizeof(*f));
	uint64_t i, n_before, used, root;

	CHECK(f != NULL);
	fixture_init(f, &hashes[0]);
	for (i = 0; i < N_KEYS; i++)
		put(f, i, i);
	root = f->trie.root;
	n_before = f->trie.pool.n_used;
	CHECK_EQ(skv_hamt_freeze(&f->trie, &version), 0);
	CHECK_EQ(version->root, root);
	used = f->trie.pool.n_used;
	put(f, 7, 77);
	CHECK(f->trie.root != root);
	/* A node on each of few levels. */
	CHECK(f->trie.pool.n_used > used);
	CHECK(f->trie.pool.n_used <= used + 4);
	used = f->trie.pool.n_used;
	root = f->trie.root;
	put(f, 7, 78);
	CHECK_EQ(f->trie.root, root);
	CHECK_EQ(f->trie.pool.n_used, used);
	/* The old path goes with the version, and then everything is the head's own. */
	CHECK_EQ(skv_hamt_release(&f->trie, version, SIZE_MAX), 1);
	CHECK_EQ(f->trie.pool.n_used, n_before);
	put(f, 8, 88);
	CHECK_EQ(f->trie.root, root);
	fixture_deinit(f);
	free(f);
}

/* ---- walks ----------------------------------------------------------------------- */

static void a_walk_comes_in_the_order_of_hashes_from_anywhere(void)
{
	uint64_t random = skv_test_seed(), i, from, last, n, n_behind;
	struct fixture *f = malloc(sizeof(*f));
	const struct skv_hamt_item *item;
	struct skv_hamt_walk walk;
	size_t h, round;

	CHECK(f != NULL);
	for (h = 0; h < N_HASHES; h++) {
		fixture_init(f, &hashes[h]);
		random_history(f, &random, 20000);
		for (round = 0; round < 200; round++) {
			from = round == 0 ? 0 : f->hash(next_random(&random) % N_KEYS);
			if (round % 3 == 1)
				from += next_random(&random) % 3 - 1;
			if (round % 3 == 2)
				from ^= (uint64_t)1 << next_random(&random) % 64;
			for (i = 0, n_behind = 0; i < N_KEYS; i++)
				n_behind += f->values[i] != ABSENT && f->hash(i) >= from;
			skv_hamt_walk_begin(&walk, f->trie.root, from);
			for (n = 0, last = from; (item = skv_hamt_walk_next(&walk)); n++) {
				CHECK(item->hash >= last);
				last = item->hash;
				i = ((const struct item *)(const void *)item)->key;
				CHECK_EQ(item->hash, f->hash(i));
				CHECK(f->values[i] != ABSENT);
			}
			CHECK_EQ(n, n_behind);
		}
		fixture_deinit(f);
	}
	free(f);
}

struct seen_diff {
	const struct snapshot *before, *after;
	uint8_t seen[N_KEYS];
	uint64_t n;
	uint64_t last_hash;
};

static int note_diff(void *arg, const struct skv_hamt_item *before,
		     const struct skv_hamt_item *after)
{
	const struct item *a = (const void *)before, *b = (const void *)after;
	struct seen_diff *seen = arg;
	uint64_t key;

	CHECK(a || b);
	key = a ? a->key : b->key;
	CHECK_EQ(seen->seen[key], 0);
	seen->seen[key] = 1;
	seen->n++;
	CHECK((a ? before : after)->hash >= seen->last_hash);
	seen->last_hash = (a ? before : after)->hash;
	CHECK_EQ(a ? a->value : ABSENT, seen->before->values[key]);
	CHECK_EQ(b ? b->value : ABSENT, seen->after->values[key]);
	return 0;
}

static int end_diff(void *arg, const struct skv_hamt_item *before,
		    const struct skv_hamt_item *after)
{
	(void)before;
	(void)after;
	return ++*(int *)arg == 3 ? -77 : 0;
}

static void a_difference_is_exact(void)
{
	uint64_t random = skv_test_seed(), i, expected;
	struct snapshot *s = calloc(2, sizeof(*s));
	struct fixture *f = malloc(sizeof(*f));
	struct seen_diff *seen = malloc(sizeof(*seen));
	size_t h, round;
	int n_calls;

	CHECK(s && f && seen);
	for (h = 0; h < N_HASHES; h++) {
		for (round = 0; round < 40; round++) {
			fixture_init(f, &hashes[h]);
			random_history(f, &random, round % 4 == 0 ? 0 : 5000);
			freeze(f, &s[0]);
			random_history(f, &random, round % 5 == 0 ? 0 : round * 20);
			if (round % 7 == 6) {
				CHECK_EQ(skv_hamt_clear(&f->trie), 0);
				memset(f->values, 0xff, sizeof(f->values));
				f->count = 0;
			}
			freeze(f, &s[1]);
			memset(seen, 0, sizeof(*seen));
			/* Also backwards. */
			seen->before = &s[round % 2];
			seen->after = &s[!(round % 2)];
			CHECK_EQ(skv_hamt_diff(seen->before->version->root,
					       seen->after->version->root, &kind, note_diff, seen),
				 0);
			/* Values are random: a put never stores what was there. */
			for (i = 0, expected = 0; i < N_KEYS; i++)
				expected += s[0].values[i] != s[1].values[i];
			CHECK_EQ(seen->n, expected);
			n_calls = 0;
			CHECK_EQ(skv_hamt_diff(s[0].version->root, s[1].version->root, &kind,
					       end_diff, &n_calls),
				 expected >= 3 ? -77 : 0);
			CHECK_EQ(n_calls, expected < 3 ? expected : 3);
			fixture_deinit(f);
		}
	}
	free(s);
	free(f);
	free(seen);
}

static void figures_agree_with_what_was_put(void)
{
	struct skv_hamt_figures figures;
	struct fixture *f = malloc(sizeof(*f));
	uint64_t i;

	CHECK(f != NULL);
	fixture_init(f, &hashes[1]);
	for (i = 0; i < 100; i++)
		put(f, i, i);
	skv_hamt_measure(f->trie.root, &kind, &figures);
	CHECK_EQ(figures.items, 100u);
	CHECK_EQ(figures.bunches, 1u);
	CHECK_EQ(figures.bunched, 100u);
	CHECK_EQ(figures.nodes, 0u);
	CHECK_EQ(figures.depth_sum, 100u);
	CHECK_EQ(figures.depth_max, 1u);
	CHECK_EQ(figures.item_bytes, 100 * sizeof(struct item));
	fixture_deinit(f);

	fixture_init(f, &hashes[0]);
	for (i = 0; i < N_KEYS; i++)
		put(f, i, i);
	skv_hamt_measure(f->trie.root, &kind, &figures);
	CHECK_EQ(figures.items, N_KEYS);
	CHECK_EQ(figures.bunches, 0u);
	/* Each node but the root, and each item, is in one slot of a node. */
	CHECK_EQ(figures.slots, figures.items + figures.nodes - 1);
	CHECK(figures.depth_max < 8);
	fixture_deinit(f);
	free(f);
}

/* ---- no memory ------------------------------------------------------------------- */

/* With every limit in turn: an operation that fails has changed nothing. */
static void without_memory_nothing_changes(void)
{
	uint64_t random = skv_test_seed(), i, key, n_failed = 0;
	struct skv_hamt_version *versions[8] = { NULL };
	struct fixture *f = malloc(sizeof(*f));
	size_t h, v;

	CHECK(f != NULL);
	for (h = 0; h < N_HASHES; h++) {
		fixture_init(f, &hashes[h]);
		for (i = 0; i < 20000; i++) {
			if (i % 500 == 0)
				f->pool.limit_bytes =
					f->pool.used_bytes + next_random(&random) % 30000;
			key = next_random(&random) % N_KEYS;
			v = next_random(&random) % 8;
			switch (next_random(&random) % 20) {
			case 0:
				if (!versions[v] && skv_hamt_freeze(&f->trie, &versions[v]) < 0)
					n_failed++;
				break;
			case 1:
				if (versions[v] &&
				    skv_hamt_release(&f->trie, versions[v], SIZE_MAX) == 1)
					versions[v] = NULL;
				break;
			case 2: case 3: case 4: case 5: case 6: case 7:
				n_failed += f->values[key] != ABSENT && try_remove(f, key) < 0;
				break;
			default:
				n_failed += try_put(f, key, i) < 0;
				break;
			}
			if (i % 1000 == 0) {
				check_sound(f);
				check_all(f, f->trie.root, f->values);
			}
		}
		f->pool.limit_bytes = UINT64_MAX;
		memset(versions, 0, sizeof(versions));
		fixture_deinit(f);
	}
	/* Else the limits never bit. */
	CHECK(n_failed > 100);
	free(f);
}

static void a_build_without_memory_leaves_the_items(void)
{
	enum { N = 3000 };
	struct skv_hamt_item *items[N];
	struct fixture *f = malloc(sizeof(*f));
	uint64_t i, limit, n_failed = 0;
	struct item *item;
	size_t h;
	int r;

	CHECK(f != NULL);
	for (h = 0; h < N_HASHES; h++) {
		for (limit = 0; limit < 200000; limit += 3000) {
			fixture_init(f, &hashes[h]);
			for (i = 0; i < N; i++) {
				item = skv_pool_alloc(&f->pool, sizeof(*item));
				*item = (struct item){ { f->hash(i % 2900), 0 }, i % 2900, i };
				items[i] = &item->head;
			}
			f->pool.limit_bytes = f->pool.used_bytes + limit;
			r = skv_hamt_build(&f->trie, items, N);
			f->pool.limit_bytes = UINT64_MAX;
			if (r < 0) {
				n_failed++;
				CHECK_EQ(r, -ENOMEM);
				CHECK_EQ(f->trie.pool.n_used, 0u);
				CHECK_EQ(f->trie.root, 0u);
				r = skv_hamt_build(&f->trie, items, N);
			}
			CHECK_EQ(r, 0);
			f->count = 2900;
			for (i = 0; i < N; i++)
				f->values[i % 2900] = i;
			check_sound(f);
			check_all(f, f->trie.root, f->values);
			fixture_deinit(f);
		}
	}
	CHECK(n_failed > 10);
	free(f);
}

const struct skv_test skv_tests_hamt[] = {
	{ "trie", "empty tries and single keys are right", empty_and_alone, 10 },
	{ "trie", "paths without nodes are parted at any level",
	  paths_without_nodes_are_parted_anywhere, 20 },
	{ "trie", "a long random history ends like the model, with every kind of hash",
	  a_long_history_ends_like_the_model, 120 },
	{ "trie", "equal maps are equal trees, whatever happened before",
	  equal_maps_are_equal_trees, 60 },
	{ "trie", "of equal keys built at once the last one stays",
	  built_at_once_the_last_of_equal_keys_stays, 30 },
	{ "trie", "figures agree with what was put", figures_agree_with_what_was_put, 10 },
	{ "versions", "versions stay what they were, whatever ends first",
	  versions_stay_what_they_were, 120 },
	{ "versions", "what a version does not share is changed in place",
	  what_a_version_does_not_share_changes_in_place, 10 },
	{ "walk", "a walk comes in the order of hashes, from anywhere",
	  a_walk_comes_in_the_order_of_hashes_from_anywhere, 30 },
	{ "walk", "a difference is exact, in both directions", a_difference_is_exact, 60 },
	{ "memory", "an operation without memory changes nothing",
	  without_memory_nothing_changes, 60 },
	{ "memory", "a build without memory leaves the items to the caller",
	  a_build_without_memory_leaves_the_items, 60 },
	{ 0 },
};

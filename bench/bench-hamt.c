/* SPDX-License-Identifier: MIT */
/*
 * bench-hamt: the persistent trie by itself, by the protocol of libhamt's benchmark: integer
 * keys hashed by murmur3, tables of 10^3 keys and on in powers of ten; add 10 %, look all up in
 * another order, remove 10 %, add 10 % persistently (each version stays), build from nothing.
 * Each is repeated 20 times (3 times from 10^7 keys on): look-ups in a new order on one table, the
 * rest on fresh tables.
 * GLib's hash table does the same in the same run, in turns, with keys behind pointers as in that
 * benchmark.
 *
 * Every answer is checked, and after each step every key is looked for: a lost one is a failure.
 * Times are processor time of this thread, so that others on the machine count only for what they
 * do to the caches.
 */
#include "bench/bench.h"

#include "heap/hamt/hamt-walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef BENCH_GLIB
#include <glib.h>
#endif

#define REPEATS 20u
#define REPEATS_LARGE 3u
#define SIZE_FIRST ((uint64_t)1000)
#define SIZE_LAST ((uint64_t)1000000)

enum operation {
	OP_BUILD,      /* N into an empty table, one by one */
	OP_BUILD_BULK, /* the same in one call */
	OP_INSERT,
	OP_QUERY,
	OP_MISS,
	OP_REMOVE,
	OP_PERSISTENT,
	OP_RELEASE, /* the versions of the line above, oldest first */
	OP_STEP,    /* persistent, and the version before ends at once */
	N_OPS,
};

static const char *const op_names[N_OPS] = {
	[OP_BUILD] = "build, one by one", [OP_BUILD_BULK] = "build, at once",
	[OP_INSERT] = "insert 10 %",      [OP_QUERY] = "query",
	[OP_MISS] = "query, absent",      [OP_REMOVE] = "remove 10 %",
	[OP_PERSISTENT] = "persistent insert 10 %",
	[OP_RELEASE] = "  end its versions",
	[OP_STEP] = "persistent, last version only",
};

struct times {
	double ns[N_OPS][REPEATS];
	unsigned int n[N_OPS];
};

struct keys {
	uint64_t size, tenth, random;
	unsigned int repeats;
	int32_t *all;   /* size + tenth, shuffled */
	int32_t *order; /* the first size of them, in another order */
	int32_t *absent;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(struct times *times, enum operation op, uint64_t start, uint64_t n)
{
	times->ns[op][times->n[op]++] = (double)(now_ns() - start) / (double)n;
}

static int wrong(const char *what)
{
	fprintf(stderr, "shmkv-bench: hamt: %s\n", what);
	return 1;
}

/* ---- keys ------------------------------------------------------------------------ */

/* The finalizer of MurmurHash3, which is all of it for one block. */
static uint64_t murmur3(int32_t key)
{
	uint64_t x = (uint32_t)key;

	x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
	x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
	return x ^ (x >> 33);
}

static void shuffle(int32_t *keys, uint64_t n, uint64_t *random)
{
	uint64_t i, j;
	int32_t x;

	for (i = n; i > 1; i--) {
		*random = *random * 6364136223846793005 + 1442695040888963407;
		j = (*random >> 33) % i;
		x = keys[i - 1];
		keys[i - 1] = keys[j];
		keys[j] = x;
	}
}

static void keys_free(struct keys *keys)
{
	free(keys->all);
	free(keys->order);
	free(keys->absent);
}

static int keys_make(struct keys *keys, uint64_t size)
{
	uint64_t i;

	keys->size = size;
	keys->random = size;
	keys->repeats = size > SIZE_LAST ? REPEATS_LARGE : REPEATS;
	keys->tenth = size / 10;
	keys->all = malloc((size + keys->tenth) * sizeof(*keys->all));
	keys->order = malloc(size * sizeof(*keys->order));
	keys->absent = malloc(size * sizeof(*keys->absent));
	if (!keys->all || !keys->order || !keys->absent) {
		keys_free(keys);
		return -1;
	}
	for (i = 0; i < size + keys->tenth; i++)
		keys->all[i] = (int32_t)i;
	shuffle(keys->all, size + keys->tenth, &keys->random);
	memcpy(keys->order, keys->all, size * sizeof(*keys->order));
	shuffle(keys->order, size, &keys->random);
	for (i = 0; i < size; i++)
		keys->absent[i] = (int32_t)(size + keys->tenth + i);
	return 0;
}

/* ---- the trie -------------------------------------------------------------------- */

struct item {
	struct skv_hamt_item head;
	int32_t key, value;
};

static int compare(const struct skv_hamt_item *item, const void *key)
{
	int32_t a = ((const struct item *)(const void *)item)->key, b = *(const int32_t *)key;

	return (a > b) - (a < b);
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
	skv_hamt_pool_free(&t->pool, item, sizeof(struct item));
}

static const struct skv_hamt_kind integers = { compare, order, item_size, item_retire };

struct trie {
	struct skv_pool pool;
	struct skv_hamt hamt;
};

static void trie_init(struct trie *t)
{
	skv_pool_init(&t->pool, UINT64_MAX);
	skv_hamt_init(&t->hamt, &integers, &t->pool, NULL);
}

static void trie_deinit(struct trie *t)
{
	skv_hamt_deinit(&t->hamt);
	skv_pool_deinit(&t->pool);
}

static struct item *item_new(struct trie *t, int32_t key)
{
	struct item *item = skv_hamt_pool_alloc(&t->hamt.pool, sizeof(*item));

	if (item) {
		item->head.hash = murmur3(key);
		item->key = key;
		item->value = key;
	}
	return item;
}

static bool trie_put(struct trie *t, int32_t key)
{
	struct item *item = item_new(t, key);
	struct skv_hamt_pos pos;

	if (!item)
		return false;
	skv_hamt_seek(&t->hamt, item->head.hash, &key, &pos);
	return skv_hamt_put(&t->hamt, &pos, &item->head) == 0;
}

static bool trie_puts(struct trie *t, const int32_t *keys, uint64_t n)
{
	uint64_t i;
	bool done = true;

	for (i = 0; i < n; i++)
		done &= trie_put(t, keys[i]);
	return done;
}

static uint64_t trie_hits(const struct trie *t, const int32_t *keys, uint64_t n)
{
	const struct item *item;
	uint64_t i, hits = 0;

	for (i = 0; i < n; i++) {
		item = (const void *)skv_hamt_find(&t->hamt, murmur3(keys[i]), &keys[i]);
		hits += item && item->value == keys[i];
	}
	return hits;
}

static bool trie_removes(struct trie *t, const int32_t *keys, uint64_t n)
{
	struct skv_hamt_pos pos;
	uint64_t i;
	bool done = true;

	for (i = 0; i < n; i++) {
		skv_hamt_seek(&t->hamt, murmur3(keys[i]), &keys[i], &pos);
		done &= pos.found && skv_hamt_remove(&t->hamt, &pos) == 0;
	}
	return done;
}

static bool trie_persistent(struct trie *t, const struct keys *keys, struct times *times)
{
	struct skv_hamt_version **versions = malloc(keys->tenth * sizeof(*versions)), *last = NULL;
	const int32_t *added = keys->order;
	bool done = versions != NULL;
	uint64_t start, i;

	start = now_ns();
	for (i = 0; i < keys->tenth && done; i++)
		done = skv_hamt_freeze(&t->hamt, &versions[i]) == 0 && trie_put(t, added[i]);
	note(times, OP_PERSISTENT, start, keys->tenth);
	if (!done)
		goto out;
	/* Each version is the map without the keys that came later. */
	for (i = 0; i < keys->tenth && done; i += keys->tenth / 10)
		done = versions[i]->count == t->hamt.count - (keys->tenth - i) &&
		       !skv_hamt_find_in(&t->hamt, versions[i], murmur3(added[i]), &added[i]) &&
		       (i == 0 || skv_hamt_find_in(&t->hamt, versions[i], murmur3(added[i - 1]),
						   &added[i - 1]));
	start = now_ns();
	for (i = 0; i < keys->tenth && done; i++)
		done = skv_hamt_release(&t->hamt, versions[i], SIZE_MAX) == 1;
	note(times, OP_RELEASE, start, keys->tenth);

	done = done && trie_removes(t, added, keys->tenth);
	start = now_ns();
	for (i = 0; i < keys->tenth && done; i++) {
		struct skv_hamt_version *version;

		done = skv_hamt_freeze(&t->hamt, &version) == 0 && trie_put(t, added[i]) &&
		       (!last || skv_hamt_release(&t->hamt, last, SIZE_MAX) == 1);
		last = version;
	}
	note(times, OP_STEP, start, keys->tenth);
	done = done && skv_hamt_release(&t->hamt, last, SIZE_MAX) == 1;
out:
	free(versions);
	return done;
}

static bool trie_build(const struct keys *keys, struct times *times)
{
	struct skv_hamt_item **items = malloc(keys->size * sizeof(*items));
	uint64_t start = now_ns(), i;
	bool done = items != NULL;
	struct trie t;

	trie_init(&t);
	for (i = 0; i < keys->size && done; i++) {
		items[i] = (struct skv_hamt_item *)(void *)item_new(&t, keys->all[i]);
		done = items[i] != NULL;
	}
	done = done && skv_hamt_build(&t.hamt, items, keys->size) == 0;
	note(times, OP_BUILD_BULK, start, keys->size);
	free(items);
	done = done && trie_hits(&t, keys->order, keys->size) == keys->size;
	trie_deinit(&t);
	return done;
}

static int trie_repeat(const struct keys *keys, struct times *times,
		       struct skv_hamt_figures *ret_figures)
{
	uint64_t start;
	struct trie t;
	bool done;
	int r = 1;

	trie_init(&t);
	start = now_ns();
	done = trie_puts(&t, keys->all, keys->size);
	note(times, OP_BUILD, start, keys->size);
	skv_hamt_measure(t.hamt.root, &integers, ret_figures);

	start = now_ns();
	done &= trie_puts(&t, keys->all + keys->size, keys->tenth);
	note(times, OP_INSERT, start, keys->tenth);
	if (!done) {
		wrong("no memory");
		goto out;
	}
	if (trie_hits(&t, keys->all, keys->size + keys->tenth) != keys->size + keys->tenth) {
		wrong("a key was lost, or has another value");
		goto out;
	}
	start = now_ns();
	done = trie_removes(&t, keys->order, keys->tenth);
	note(times, OP_REMOVE, start, keys->tenth);
	if (!done || t.hamt.count != keys->size || trie_hits(&t, keys->order, keys->tenth) != 0) {
		wrong("a key that was removed is still there");
		goto out;
	}
	if (!trie_persistent(&t, keys, times) ||
	    trie_hits(&t, keys->all, keys->size + keys->tenth) != keys->size + keys->tenth) {
		wrong("a version is not what it was, or there was no memory");
		goto out;
	}
	r = 0;
out:
	trie_deinit(&t);
	if (r == 0 && !trie_build(keys, times))
		r = wrong("a key was lost in a build at once, or there was no memory");
	return r;
}

static int trie_query(const struct trie *t, const struct keys *keys, struct times *times)
{
	uint64_t start, hits;

	start = now_ns();
	hits = trie_hits(t, keys->order, keys->size);
	note(times, OP_QUERY, start, keys->size);
	if (hits != keys->size)
		return wrong("a key was lost, or has another value");
	start = now_ns();
	hits = trie_hits(t, keys->absent, keys->size);
	note(times, OP_MISS, start, keys->size);
	return hits == 0 ? 0 : wrong("a key is there that was never put");
}

/* ---- GLib ------------------------------------------------------------------------ */

#ifdef BENCH_GLIB

static guint glib_hash(gconstpointer key)
{
	return (guint)murmur3(*(const int32_t *)key);
}

static gboolean glib_equal(gconstpointer a, gconstpointer b)
{
	return *(const int32_t *)a == *(const int32_t *)b;
}

static uint64_t glib_hits(GHashTable *table, int32_t *keys, uint64_t n)
{
	const int32_t *found;
	uint64_t i, hits = 0;

	for (i = 0; i < n; i++) {
		found = g_hash_table_lookup(table, &keys[i]);
		hits += found && *found == keys[i];
	}
	return hits;
}

static GHashTable *glib_new(const struct keys *keys)
{
	GHashTable *table = g_hash_table_new(glib_hash, glib_equal);
	uint64_t i;

	for (i = 0; i < keys->size; i++)
		g_hash_table_insert(table, &keys->all[i], &keys->all[i]);
	return table;
}

static int glib_repeat(const struct keys *keys, struct times *times)
{
	uint64_t start, i, removed = 0;
	GHashTable *table;

	start = now_ns();
	table = glib_new(keys);
	note(times, OP_BUILD, start, keys->size);
	start = now_ns();
	for (i = keys->size; i < keys->size + keys->tenth; i++)
		g_hash_table_insert(table, &keys->all[i], &keys->all[i]);
	note(times, OP_INSERT, start, keys->tenth);
	start = now_ns();
	for (i = 0; i < keys->tenth; i++)
		removed += g_hash_table_remove(table, &keys->order[i]);
	note(times, OP_REMOVE, start, keys->tenth);
	g_hash_table_destroy(table);
	return removed == keys->tenth ? 0 : wrong("GLib lost a key");
}

static int glib_query(GHashTable *table, const struct keys *keys, struct times *times)
{
	uint64_t start, hits;

	start = now_ns();
	hits = glib_hits(table, keys->order, keys->size);
	note(times, OP_QUERY, start, keys->size);
	start = now_ns();
	hits += glib_hits(table, keys->absent, keys->size);
	note(times, OP_MISS, start, keys->size);
	return hits == keys->size ? 0 : wrong("GLib lost a key");
}

static void glib_free(GHashTable *table)
{
	g_hash_table_destroy(table);
}

#else

/* Nothing to compare with. */
typedef void GHashTable;

static GHashTable *glib_new(const struct keys *keys)
{
	(void)keys;
	return NULL;
}

static int glib_repeat(const struct keys *keys, struct times *times)
{
	(void)keys;
	(void)times;
	return 0;
}

static int glib_query(GHashTable *table, const struct keys *keys, struct times *times)
{
	(void)table;
	return glib_repeat(keys, times);
}

static void glib_free(GHashTable *table)
{
	(void)table;
}

#endif

/* ---- both in turns --------------------------------------------------------------- */

static void progress(const struct bench_options *options, const struct keys *keys, const char *what,
		     unsigned int repeat)
{
	if (options->progress)
		fprintf(stderr, "\r%llu keys, %s %u of %u ", (unsigned long long)keys->size, what,
			repeat + 1, keys->repeats);
}

static int run_queries(const struct bench_options *options, struct keys *keys, struct times *trie,
		       struct times *glib)
{
	GHashTable *table = glib_new(keys);
	struct trie t;
	unsigned int i;
	int r = 0;

	trie_init(&t);
	if (!trie_puts(&t, keys->all, keys->size))
		r = wrong("no memory");
	for (i = 0; i < keys->repeats && r == 0; i++) {
		progress(options, keys, "look-ups", i);
		shuffle(keys->order, keys->size, &keys->random);
		r = trie_query(&t, keys, trie);
		if (r == 0)
			r = glib_query(table, keys, glib);
	}
	trie_deinit(&t);
	glib_free(table);
	return r;
}

/* ---- report ---------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* 0 if it was not measured. */
static double median(struct times *times, enum operation op)
{
	unsigned int n = times->n[op];

	qsort(times->ns[op], n, sizeof(double), ascending);
	return n == 0 ? 0 : (times->ns[op][(n - 1) / 2] + times->ns[op][n / 2]) / 2;
}

static void row_json(const char *method, enum operation op, uint64_t size, double ns, double best)
{
	uint64_t n = op == OP_BUILD || op == OP_BUILD_BULK || op == OP_QUERY || op == OP_MISS ?
			     size : size / 10;

	printf("{\"row\":\"time\",\"method\":\"%s\",\"dataset_type\":\"integers, shuffled\","
	       "\"operation\":\"%s\",\"size\":%llu,\"total_time_ns\":%.0f,\"ops_per_sec\":%.0f,"
	       "\"ns_per_op\":%.1f,\"best_ns_per_op\":%.1f}\n",
	       method, op_names[op] + strspn(op_names[op], " "), (unsigned long long)size,
	       ns * (double)n, 1e9 / ns, ns, best);
}

static void report(const struct bench_options *options, uint64_t size, struct times *trie,
		   struct times *glib, const struct skv_hamt_figures *figures)
{
	double ns, glib_ns, items = (double)figures->items;
	enum operation op;

	if (!options->json)
		printf("\n%llu keys %-16s %10s %10s %10s %10s %8s\n", (unsigned long long)size, "",
		       "median ns", "best ns", "GLib", "best", "ratio");
	for (op = 0; op < N_OPS; op++) {
		ns = median(trie, op);
		/* GLib can only build one by one. */
		glib_ns = median(glib, op == OP_BUILD_BULK ? OP_BUILD : op);
		if (options->json) {
			row_json("shmkv-hamt", op, size, ns, trie->ns[op][0]);
			if (glib->n[op] > 0)
				row_json("glib", op, size, glib_ns, glib->ns[op][0]);
		} else if (glib_ns > 0) {
			printf("  %-29s %8.1f   %8.1f   %8.1f   %8.1f   %6.2f\n", op_names[op], ns,
			       trie->ns[op][0], glib_ns,
			       glib->ns[op == OP_BUILD_BULK ? OP_BUILD : op][0], ns / glib_ns);
		} else {
			printf("  %-29s %8.1f   %8.1f\n", op_names[op], ns, trie->ns[op][0]);
		}
	}
	if (options->json)
		printf("{\"row\":\"shape\",\"size\":%llu,\"node_bytes\":%.2f,\"item_bytes\":%.2f,"
		       "\"depth_mean\":%.3f,\"depth_max\":%llu,\"bitmap_use\":%.3f,"
		       "\"collisions\":%llu,\"lost\":0}\n",
		       (unsigned long long)size, (double)figures->node_bytes / items,
		       (double)figures->item_bytes / items, (double)figures->depth_sum / items,
		       (unsigned long long)figures->depth_max,
		       (double)figures->slots / (double)(figures->nodes * SKV_HAMT_WIDTH),
		       (unsigned long long)figures->bunched);
	else
		printf("  bytes per entry: nodes %.1f, items %.1f; depth %.2f, at most %llu; "
		       "%.0f %% of bitmaps in use; no key lost\n",
		       (double)figures->node_bytes / items, (double)figures->item_bytes / items,
		       (double)figures->depth_sum / items, (unsigned long long)figures->depth_max,
		       100.0 * (double)figures->slots / (double)(figures->nodes * SKV_HAMT_WIDTH));
	fflush(stdout);
}

static int run_size(const struct bench_options *options, uint64_t size)
{
	struct times *trie = calloc(1, sizeof(*trie)), *glib = calloc(1, sizeof(*glib));
	struct skv_hamt_figures figures = { 0 };
	struct keys keys = { 0 };
	unsigned int i;
	int r = 1;

	if (!trie || !glib || keys_make(&keys, size) < 0) {
		wrong("no memory");
		goto out;
	}
	for (i = 0, r = 0; i < keys.repeats && r == 0; i++) {
		progress(options, &keys, "changes", i);
		r = trie_repeat(&keys, trie, &figures);
		if (r == 0)
			r = glib_repeat(&keys, glib);
	}
	if (r == 0)
		r = run_queries(options, &keys, trie, glib);
	if (options->progress)
		fprintf(stderr, "\r%50s\r", "");
	if (r == 0)
		report(options, size, trie, glib, &figures);
	keys_free(&keys);
out:
	free(trie);
	free(glib);
	return r;
}

int bench_hamt(const struct bench_options *options)
{
	uint64_t size, last = options->entries ? options->entries : SIZE_LAST;
	int r = 0;

	for (size = SIZE_FIRST; size <= last && r == 0; size *= 10)
		r = run_size(options, size);
	return r;
}

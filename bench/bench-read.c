/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <shmkv/batch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * bench-read: random keys of a full map, read and replaced one by one and in batches.
 *
 * The limits in the same run are two direct tables, whose slot for a key is known in advance:
 * read one after the other, and with a group's slots prefetched. All ways take turns, round by
 * round, on the same keys, so that whatever else the machine does falls on all of them; the
 * figure is the median of the rounds.
 */

#define ENTRIES 10000000u
#define GROUP 32u
#define ROUNDS 9u
#define STEPS_MAX 1000000u

struct world {
	const struct bench_options *options;
	struct shmkv *kv;
	uint8_t *table;
	uint8_t *values;   /* one buffer for each of a group */
	uint64_t n;        /* steps of a round, whole groups */
	uint32_t *entries; /* of this round */
};

struct way {
	const char *name;
	int (*run)(struct world *w);
	double ns[ROUNDS];
};

static const uint8_t *table_slot(const struct world *w, uint64_t entry)
{
	return w->table + entry * w->options->value_len;
}

static int fail_value(void)
{
	fprintf(stderr, "shmkv-bench: a value is not the one that was put\n");
	return 1;
}

static bool is_of(const void *value, uint64_t entry)
{
	return memcmp(value, &entry, sizeof(entry)) == 0;
}

static int run_direct(struct world *w)
{
	uint64_t i;

	for (i = 0; i < w->n; i++) {
		memcpy(w->values, table_slot(w, w->entries[i]), w->options->value_len);
		if (!is_of(w->values, w->entries[i]))
			return fail_value();
	}
	return 0;
}

static int run_direct_group(struct world *w)
{
	const size_t len = w->options->value_len;
	uint64_t i, j, k;

	for (i = 0; i < w->n; i += GROUP) {
		for (j = 0; j < GROUP; j++)
			for (k = 0; k < len && k < 256; k += 64)
				__builtin_prefetch(table_slot(w, w->entries[i + j]) + k);
		for (j = 0; j < GROUP; j++) {
			memcpy(w->values + j * len, table_slot(w, w->entries[i + j]), len);
			if (!is_of(w->values + j * len, w->entries[i + j]))
				return fail_value();
		}
	}
	return 0;
}

static int run_get(struct world *w)
{
	struct shmkv_value found;
	uint8_t key[BENCH_KEY_LEN];
	uint64_t i;
	int r;

	for (i = 0; i < w->n; i++) {
		bench_key(w->entries[i], key);
		r = shmkv_get(w->kv, key, sizeof(key), w->values, w->options->value_len, &found,
			      NULL);
		if (r < 0)
			return bench_failed("get", r);
		if (!is_of(found.data, w->entries[i]))
			return fail_value();
	}
	return 0;
}

static int run_get_many(struct world *w)
{
	const size_t len = w->options->value_len;
	struct shmkv_get_item items[GROUP] = { 0 };
	uint8_t keys[GROUP][BENCH_KEY_LEN];
	uint64_t i, j;
	size_t n_ok;
	int r;

	for (i = 0; i < w->n; i += GROUP) {
		for (j = 0; j < GROUP; j++) {
			bench_key(w->entries[i + j], keys[j]);
			items[j].key = keys[j];
			items[j].key_len = BENCH_KEY_LEN;
			items[j].buf = w->values + j * len;
			items[j].cap = len;
		}
		r = shmkv_get_many(w->kv, items, GROUP, &n_ok);
		if (r < 0)
			return bench_failed("get_many", r);
		for (j = 0; j < GROUP; j++) {
			if (items[j].result < 0)
				return bench_failed("get_many", items[j].result);
			if (!is_of(items[j].value.data, w->entries[i + j]))
				return fail_value();
		}
	}
	return 0;
}

static int run_put(struct world *w)
{
	uint8_t key[BENCH_KEY_LEN];
	uint64_t i, entry;
	int r;

	for (i = 0; i < w->n; i++) {
		entry = w->entries[i];
		bench_key(entry, key);
		memcpy(w->values, &entry, sizeof(entry));
		r = shmkv_put(w->kv, key, sizeof(key), shmkv_bin(w->values, w->options->value_len),
			      NULL);
		if (r < 0)
			return bench_failed("put", r);
	}
	return 0;
}

static int run_put_many(struct world *w)
{
	const size_t len = w->options->value_len;
	struct shmkv_put_item items[GROUP] = { 0 };
	uint8_t keys[GROUP][BENCH_KEY_LEN];
	uint64_t i, j, entry;
	size_t n_ok;
	int r;

	for (i = 0; i < w->n; i += GROUP) {
		for (j = 0; j < GROUP; j++) {
			entry = w->entries[i + j];
			bench_key(entry, keys[j]);
			memcpy(w->values + j * len, &entry, sizeof(entry));
			items[j].key = keys[j];
			items[j].key_len = BENCH_KEY_LEN;
			items[j].value = shmkv_bin(w->values + j * len, len);
		}
		r = shmkv_put_many(w->kv, items, GROUP, &n_ok);
		if (r == 0 && n_ok < GROUP)
			r = items[0].result < 0 ? items[0].result : -28;
		if (r < 0)
			return bench_failed("put_many", r);
	}
	return 0;
}

static struct way ways[] = {
	{ "direct table, read", run_direct, { 0 } },
	{ "direct table, batch of 32", run_direct_group, { 0 } },
	{ "get", run_get, { 0 } },
	{ "get_many, batch of 32", run_get_many, { 0 } },
	{ "put, existing", run_put, { 0 } },
	{ "put_many, existing, batch of 32", run_put_many, { 0 } },
};

#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(const struct bench_options *options)
{
	double base = 0;
	size_t i;

	for (i = 0; i < N_WAYS; i++) {
		qsort(ways[i].ns, ROUNDS, sizeof(ways[i].ns[0]), order);
		if (i == 0)
			base = ways[i].ns[ROUNDS / 2];
		if (options->json)
			printf("{\"row\":\"time\",\"call\":\"%s\",\"ns\":%.1f,\"ns_min\":%.1f,"
			       "\"ratio\":%.2f}\n",
			       ways[i].name, ways[i].ns[ROUNDS / 2], ways[i].ns[0],
			       ways[i].ns[ROUNDS / 2] / base);
		else
			printf("%-34s %8.1f ns   fastest round %8.1f   %5.2f x direct\n",
			       ways[i].name, ways[i].ns[ROUNDS / 2], ways[i].ns[0],
			       ways[i].ns[ROUNDS / 2] / base);
	}
}

static void draw_entries(struct world *w, uint64_t round)
{
	uint64_t i, x = round * 0x9e3779b97f4a7c15ull + 1;

	for (i = 0; i < w->n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		w->entries[i] = (uint32_t)((x >> 32) * w->options->entries >> 32);
	}
}

static int measure(struct world *w)
{
	uint64_t start;
	size_t i, round;
	int r;

	/* Round 0 warms up and is not counted. */
	for (round = 0; round <= ROUNDS; round++) {
		draw_entries(w, round);
		for (i = 0; i < N_WAYS; i++) {
			start = bench_now_ns();
			r = ways[i].run(w);
			if (r)
				return r;
			if (round > 0)
				ways[i].ns[round - 1] =
					(double)(bench_now_ns() - start) / (double)w->n;
		}
		if (w->options->progress)
			fprintf(stderr, "\rround %zu of %u", round, ROUNDS);
	}
	if (w->options->progress)
		fprintf(stderr, "\r               \r");
	return 0;
}

static int load(struct world *w)
{
	uint8_t key[BENCH_KEY_LEN];
	uint64_t i;
	int r;

	memset(w->values, 1, w->options->value_len);
	for (i = 0; i < w->options->entries; i++) {
		bench_key(i, key);
		memcpy(w->values, &i, sizeof(i));
		memcpy(w->table + i * w->options->value_len, w->values, w->options->value_len);
		r = shmkv_put(w->kv, key, sizeof(key), shmkv_bin(w->values, w->options->value_len),
			      NULL);
		if (r < 0)
			return bench_failed("put", r);
	}
	return 0;
}

int bench_read(const struct bench_options *given)
{
	struct bench_options mine = *given, *options = &mine;
	struct shmkv_options create = SHMKV_OPTIONS_INIT;
	struct world w = { .options = options };
	int r;

	if (mine.entries == 0)
		mine.entries = ENTRIES;
	w.n = (options->entries < STEPS_MAX ? options->entries : STEPS_MAX) / GROUP * GROUP;
	w.n = w.n ? w.n : GROUP;
	w.table = malloc(options->entries * options->value_len);
	w.values = malloc(GROUP * options->value_len);
	w.entries = malloc(w.n * sizeof(*w.entries));
	create.max_bytes = options->entries * (options->value_len + 256) + (64ull << 20);
	create.hash = options->hash;
	r = w.table && w.values && w.entries ? shmkv_create(bench_map_name(), &create, &w.kv) : -12;
	if (r < 0) {
		bench_failed("create", r);
	} else {
		r = load(&w);
		if (r == 0)
			r = measure(&w);
		if (r == 0)
			report(options);
		shmkv_detach(w.kv);
		shmkv_unlink(bench_map_name());
	}
	free(w.table);
	free(w.values);
	free(w.entries);
	return r != 0;
}

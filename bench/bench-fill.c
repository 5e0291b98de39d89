/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * bench-fill: a map grows from nothing to its full number of keys, is read back whole, and is
 * updated once. Reports what the index costs per key at its worst moment on the way (from a
 * hundredth of the keys on, but at least 10,000: below that fixed tables rule), what a record
 * costs over its payload, and the mean time of each kind of call.
 *
 * The baseline in the same run is the direct table: the slot of a key is known in advance, so
 * a read is one line and one copy. Nothing that finds keys by hash can be faster.
 */

#define ENTRIES 10000000u

struct costs {
	double leaves_max;   /* bytes per key: leaf chunks reserved, free leaves included */
	double index_max;    /* leaves and directory cells in use */
	double reserved_max; /* leaf chunks and every table of the segment */
	uint64_t at;         /* keys at the worst moment of leaves_max */
};

static void note_costs(struct shmkv *kv, uint64_t n, struct costs *costs)
{
	struct shmkv_info info = { .size = sizeof(info) };
	double keys = (double)n;

	if (shmkv_info(kv, &info) < 0)
		return;
	if ((double)info.leaf_bytes / keys > costs->leaves_max) {
		costs->leaves_max = (double)info.leaf_bytes / keys;
		costs->at = n;
	}
	if ((double)info.index_bytes / keys > costs->index_max)
		costs->index_max = (double)info.index_bytes / keys;
	if ((double)(info.leaf_bytes + info.table_bytes) / keys > costs->reserved_max)
		costs->reserved_max = (double)(info.leaf_bytes + info.table_bytes) / keys;
}

static void row_time(const struct bench_options *options, const char *what, uint64_t ns, uint64_t n)
{
	if (options->json)
		printf("{\"row\":\"time\",\"call\":\"%s\",\"ns\":%.1f}\n", what, (double)ns / (double)n);
	else
		printf("%-28s %8.1f ns\n", what, (double)ns / (double)n);
	fflush(stdout);
}

static void row_bytes(const struct bench_options *options, const char *what, double bytes)
{
	if (options->json)
		printf("{\"row\":\"memory\",\"what\":\"%s\",\"bytes\":%.2f}\n", what, bytes);
	else
		printf("%-52s %8.2f bytes\n", what, bytes);
}

/* The limit: the place of every value is known. */
static uint64_t direct_table(const struct bench_options *options)
{
	uint8_t *table = malloc(options->entries * options->value_len);
	uint8_t *copy = malloc(options->value_len);
	uint64_t i, start = 0, sum = 0;

	if (table && copy) {
		memset(table, 1, options->entries * options->value_len);
		start = bench_now_ns();
		for (i = 0; i < options->entries; i++) {
			memcpy(copy, table + bench_shuffle(i, options->entries) * options->value_len,
			       options->value_len);
			sum += copy[0];
		}
		start = bench_now_ns() - start;
	}
	free(table);
	free(copy);
	return sum == options->entries ? start : 0;
}

static int grow(struct shmkv *kv, const struct bench_options *options, uint8_t *value,
		struct costs *costs, uint64_t *ret_ns)
{
	uint64_t i, step = options->entries / 100 ? options->entries / 100 : 1, ns = 0, start;
	uint8_t key[BENCH_KEY_LEN];
	int r;

	start = bench_now_ns();
	for (i = 0; i < options->entries; i++) {
		bench_key(i, key);
		memcpy(value, &i, sizeof(i));
		r = shmkv_put(kv, key, sizeof(key), shmkv_bin(value, options->value_len), NULL);
		if (r < 0)
			return bench_failed("put", r);
		if ((i + 1) % step == 0) {
			ns += bench_now_ns() - start;
			if (i + 1 >= 10000)
				note_costs(kv, i + 1, costs);
			if (options->progress)
				fprintf(stderr, "\r%3u %%", (unsigned int)((i + 1) / step));
			start = bench_now_ns();
		}
	}
	*ret_ns = ns + bench_now_ns() - start;
	if (options->progress)
		fprintf(stderr, "\r     \r");
	return 0;
}

static int read_back(struct shmkv *kv, const struct bench_options *options, uint8_t *buf,
		     uint64_t *ret_ns)
{
	struct shmkv_value found;
	uint8_t key[BENCH_KEY_LEN];
	uint64_t i, entry, start = bench_now_ns();
	int r;

	for (i = 0; i < options->entries; i++) {
		entry = bench_shuffle(i, options->entries);
		bench_key(entry, key);
		r = shmkv_get(kv, key, sizeof(key), buf, options->value_len, &found, NULL);
		if (r < 0)
			return bench_failed("get", r);
		if (found.len != options->value_len || memcmp(found.data, &entry, sizeof(entry)) != 0) {
			fprintf(stderr, "shmkv-bench: key %llu came back with another value\n",
				(unsigned long long)entry);
			return 1;
		}
	}
	*ret_ns = bench_now_ns() - start;
	return 0;
}

static int miss_all(struct shmkv *kv, const struct bench_options *options, uint64_t *ret_ns)
{
	uint8_t key[BENCH_KEY_LEN];
	uint64_t i, start = bench_now_ns();

	for (i = 0; i < options->entries; i++) {
		bench_key(options->entries + bench_shuffle(i, options->entries), key);
		if (shmkv_exists(kv, key, sizeof(key)) == 0) {
			fprintf(stderr, "shmkv-bench: a key that was never put exists\n");
			return 1;
		}
	}
	*ret_ns = bench_now_ns() - start;
	return 0;
}

static int update_all(struct shmkv *kv, const struct bench_options *options, uint8_t *value,
		      uint64_t *ret_ns)
{
	uint8_t key[BENCH_KEY_LEN];
	uint64_t i, entry, start = bench_now_ns();
	int r;

	for (i = 0; i < options->entries; i++) {
		entry = bench_shuffle(i, options->entries);
		bench_key(entry, key);
		memcpy(value, &entry, sizeof(entry));
		r = shmkv_put(kv, key, sizeof(key), shmkv_bin(value, options->value_len), NULL);
		if (r < 0)
			return bench_failed("put", r);
	}
	*ret_ns = bench_now_ns() - start;
	return 0;
}

static int report_memory(struct shmkv *kv, const struct bench_options *options,
			 const struct costs *costs)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_info info = { .size = sizeof(info) };
	double n = (double)options->entries;
	int r;

	r = shmkv_check(kv, NULL, NULL, &audit);
	if (r < 0)
		return bench_failed("check", r);
	r = shmkv_info(kv, &info);
	if (r < 0)
		return bench_failed("info", r);
	row_bytes(options, "index per key, worst moment, in use", costs->index_max);
	row_bytes(options, "index per key, worst moment, free leaves included", costs->leaves_max);
	row_bytes(options, "index and all tables per key, worst moment", costs->reserved_max);
	row_bytes(options, "index per key at the end, free leaves included",
		  (double)info.leaf_bytes / n);
	row_bytes(options, "record header", 24.0);
	row_bytes(options, "record: header, key and msgpack value",
		  (double)audit.record_bytes / (double)audit.keys);
	row_bytes(options, "block that holds it", (double)audit.block_bytes / (double)audit.keys);
	row_bytes(options, "all memory per key", (double)info.reserved_bytes / n);
	if (options->json)
		printf("{\"row\":\"probe\",\"lines_per_hit\":%.3f}\n",
		       (double)audit.probe_lines / (double)audit.keys);
	else
		printf("%-52s %8.2f\n", "slot lines read per hit",
		       (double)audit.probe_lines / (double)audit.keys);
	return 0;
}

int bench_fill(const struct bench_options *given)
{
	struct bench_options mine = *given;
	const struct bench_options *options = &mine;
	struct shmkv_options create = SHMKV_OPTIONS_INIT;
	struct costs costs = { 0, 0, 0, 0 };
	struct shmkv *kv = NULL;
	uint64_t ns = 0;
	uint8_t *value = calloc(1, options->value_len);
	int r;

	if (mine.entries == 0)
		mine.entries = ENTRIES;
	create.max_bytes = options->entries * (options->value_len + 256) + (64ull << 20);
	create.hash = options->hash;
	r = shmkv_create(bench_map_name(), &create, &kv);
	if (r < 0 || !value) {
		free(value);
		shmkv_detach(kv);
		return bench_failed("create", r < 0 ? r : -12);
	}
	r = grow(kv, options, value, &costs, &ns);
	if (r == 0) {
		row_time(options, "fresh insert", ns, options->entries);
		r = read_back(kv, options, value, &ns);
	}
	if (r == 0) {
		row_time(options, "get, hit", ns, options->entries);
		r = miss_all(kv, options, &ns);
	}
	if (r == 0) {
		row_time(options, "exists, miss", ns, options->entries);
		r = update_all(kv, options, value, &ns);
	}
	if (r == 0) {
		row_time(options, "put, existing", ns, options->entries);
		row_time(options, "direct table, read (limit)", direct_table(options), options->entries);
		r = report_memory(kv, options, &costs);
	}
	shmkv_detach(kv);
	shmkv_unlink(bench_map_name());
	free(value);
	return r;
}

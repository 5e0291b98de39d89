/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <shmkv/batch.h>
#include <shmkv/huge.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * bench-read: random keys of a full map, read and replaced one by one and in batches, with small
 * pages and with huge ones.
 *
 * The limits in the same run are direct tables, whose slot for a key is known in advance: read
 * one after the other, and with a group's slots prefetched. All ways take turns on both kinds of
 * pages, round by round, on the same keys, so that whatever else the machine does falls on all of
 * them; the figure is the median of the rounds. Time is that of the thread, which waits for nothing
 * but memory.
 */

#define ENTRIES 10000000u
#define GROUP 32u
#define ROUNDS 9u
#define STEPS_MAX 1000000u
#define LOAD_STEP 50000u
#define HUGE_PAGE ((size_t)2 << 20)

/* What has one kind of pages: a map, and a table of the process's own memory. */
struct side {
	const char *pages;
	uint32_t policy;
	struct shmkv *kv;
	uint8_t *table;
	uint64_t load_ns;
	double huge_share; /* of the map's memory */
};

enum { SMALL, HUGE, N_SIDES };

struct world {
	const struct bench_options *options;
	struct side sides[N_SIDES];
	struct side *side; /* that is measured now */
	uint8_t *values;   /* one buffer for each of a group */
	uint64_t n;        /* steps of a round, whole groups */
	uint32_t *entries; /* of this round */
};

struct way {
	const char *name;
	int (*run)(struct world *w);
	double ns[N_SIDES][ROUNDS];
};

static const uint8_t *table_slot(const struct world *w, uint64_t entry)
{
	return w->side->table + entry * w->options->value_len;
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
		r = shmkv_get(w->side->kv, key, sizeof(key), w->values, w->options->value_len, &found,
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
		r = shmkv_get_many(w->side->kv, items, GROUP, &n_ok);
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
		r = shmkv_put(w->side->kv, key, sizeof(key), shmkv_bin(w->values, w->options->value_len),
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
		r = shmkv_put_many(w->side->kv, items, GROUP, &n_ok);
		if (r == 0 && n_ok < GROUP)
			r = items[0].result < 0 ? items[0].result : -ENOSPC;
		if (r < 0)
			return bench_failed("put_many", r);
	}
	return 0;
}

static struct way ways[] = {
	{ "direct table, read", run_direct, { { 0 } } },
	{ "direct table, batch of 32", run_direct_group, { { 0 } } },
	{ "get", run_get, { { 0 } } },
	{ "get_many, batch of 32", run_get_many, { { 0 } } },
	{ "put, existing", run_put, { { 0 } } },
	{ "put_many, existing, batch of 32", run_put_many, { { 0 } } },
};

#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

/* ---- figures ---------------------------------------------------------------------- */

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void row(const struct bench_options *options, const char *name, const double ns[N_SIDES])
{
	if (options->json)
		printf("{\"row\":\"time\",\"call\":\"%s\",\"ns\":%.1f,\"ns_huge\":%.1f}\n", name,
		       ns[SMALL], ns[HUGE]);
	else
		printf("%-34s %8.1f ns %8.1f ns   %5.2f\n", name, ns[SMALL], ns[HUGE],
		       ns[HUGE] / ns[SMALL]);
}

static void report(const struct world *w)
{
	const struct bench_options *options = w->options;
	double ns[N_SIDES];
	size_t i, k;

	if (!options->json)
		printf("%-34s %11s %11s   huge/small\n", "", "4 KiB pages", "huge pages");
	for (k = 0; k < N_SIDES; k++)
		ns[k] = (double)w->sides[k].load_ns / (double)options->entries;
	row(options, "put, fresh", ns);
	for (i = 0; i < N_WAYS; i++) {
		for (k = 0; k < N_SIDES; k++) {
			qsort(ways[i].ns[k], ROUNDS, sizeof(ways[i].ns[k][0]), order);
			ns[k] = ways[i].ns[k][ROUNDS / 2];
		}
		row(options, ways[i].name, ns);
	}
	for (k = 0; k < N_SIDES; k++) {
		if (options->json)
			printf("{\"row\":\"pages\",\"pages\":\"%s\",\"huge_share\":%.3f}\n",
			       w->sides[k].pages, w->sides[k].huge_share);
		else
			printf("%s: %.1f %% of the map's memory is in huge pages\n",
			       w->sides[k].pages, 100 * w->sides[k].huge_share);
	}
}

/* ---- the run ---------------------------------------------------------------------- */

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
	size_t i, k, round;
	int r;

	/* Round 0 warms up and is not counted. */
	for (round = 0; round <= ROUNDS; round++) {
		draw_entries(w, round);
		for (i = 0; i < N_WAYS * N_SIDES; i++) {
			k = i % N_SIDES;
			w->side = &w->sides[k];
			start = bench_cpu_ns();
			r = ways[i / N_SIDES].run(w);
			if (r)
				return r;
			if (round > 0)
				ways[i / N_SIDES].ns[k][round - 1] =
					(double)(bench_cpu_ns() - start) / (double)w->n;
		}
		if (w->options->progress)
			fprintf(stderr, "\rround %zu of %u", round, ROUNDS);
	}
	if (w->options->progress)
		fprintf(stderr, "\r               \r");
	return 0;
}

static int load_some(struct world *w, struct side *side, uint64_t from, uint64_t to)
{
	const size_t len = w->options->value_len;
	uint64_t i, start = bench_cpu_ns();
	uint8_t key[BENCH_KEY_LEN];
	int r;

	for (i = from; i < to; i++) {
		bench_key(i, key);
		memcpy(w->values, &i, sizeof(i));
		r = shmkv_put(side->kv, key, sizeof(key), shmkv_bin(w->values, len), NULL);
		if (r < 0)
			return bench_failed("put", r);
	}
	side->load_ns += bench_cpu_ns() - start;
	for (i = from; i < to; i++) {
		memcpy(w->values, &i, sizeof(i));
		memcpy(side->table + i * len, w->values, len);
	}
	return 0;
}

/* Both sides in turns, too. */
static int load(struct world *w)
{
	uint64_t from, to, n = w->options->entries;
	size_t k;
	int r;

	memset(w->values, 1, w->options->value_len);
	for (from = 0; from < n; from = to) {
		to = n - from < LOAD_STEP ? n : from + LOAD_STEP;
		for (k = 0; k < N_SIDES; k++) {
			r = load_some(w, &w->sides[k], from, to);
			if (r)
				return r;
		}
		if (w->options->progress)
			fprintf(stderr, "\rloaded %3u %%", (unsigned int)(to * 100 / n));
	}
	if (w->options->progress)
		fprintf(stderr, "\r            \r");
	return 0;
}

static int note_pages(struct side *side)
{
	struct shmkv_huge huge = { .size = sizeof(huge) };
	int r = shmkv_huge_info(side->kv, &huge);

	if (r < 0)
		return bench_failed("huge_info", r);
	if (huge.file_bytes > 0)
		side->huge_share = (double)huge.huge_bytes / (double)huge.file_bytes;
	return 0;
}

static int side_begin(const struct world *w, struct side *side)
{
	struct shmkv_options create = SHMKV_OPTIONS_INIT;
	size_t bytes = w->options->entries * w->options->value_len;
	int r;

	create.max_bytes = w->options->entries * (w->options->value_len + 256) + (64ull << 20);
	create.hash = w->options->hash;
	create.huge_pages = side->policy;
	r = shmkv_create(bench_map_name(), &create, &side->kv);
	if (r < 0)
		return bench_failed("create", r);
	/* Nobody else needs it, and nothing stays behind. */
	shmkv_unlink(bench_map_name());
	side->table = aligned_alloc(HUGE_PAGE, (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	if (!side->table)
		return bench_failed("table", -ENOMEM);
	madvise(side->table, bytes, side->policy == SHMKV_HUGE_NEVER ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	return 0;
}

int bench_read(const struct bench_options *given)
{
	struct bench_options mine = *given, *options = &mine;
	struct world w = { .options = options,
			   .sides = { { .pages = "4 KiB pages", .policy = SHMKV_HUGE_NEVER },
				      { .pages = "huge pages", .policy = SHMKV_HUGE_EAGER } } };
	size_t k;
	int r;

	if (mine.entries == 0)
		mine.entries = ENTRIES;
	w.n = (options->entries < STEPS_MAX ? options->entries : STEPS_MAX) / GROUP * GROUP;
	w.n = w.n ? w.n : GROUP;
	w.values = malloc(GROUP * options->value_len);
	w.entries = malloc(w.n * sizeof(*w.entries));
	r = w.values && w.entries ? 0 : bench_failed("buffers", -ENOMEM);
	for (k = 0; k < N_SIDES && r == 0; k++)
		r = side_begin(&w, &w.sides[k]);
	if (r == 0)
		r = load(&w);
	for (k = 0; k < N_SIDES && r == 0; k++)
		r = note_pages(&w.sides[k]);
	if (r == 0)
		r = measure(&w);
	if (r == 0)
		report(&w);
	for (k = 0; k < N_SIDES; k++) {
		shmkv_detach(w.sides[k].kv);
		free(w.sides[k].table);
	}
	free(w.values);
	free(w.entries);
	return r;
}

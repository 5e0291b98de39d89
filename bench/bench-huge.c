/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <shmkv/huge.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * bench-huge: what it costs to make huge pages, and who pays.
 *
 * A map grows to its full number of keys under each policy, and each put is timed: memory is
 * taken inside puts, so the slowest of them say how long a key waits for it. In the map that
 * makes them later, each is then made by a call of its own, and timed too.
 *
 * Time is processor time of the thread, the kernel's work for it included.
 */

#define ENTRIES 2000000u

struct times {
	uint64_t *ns;
	uint64_t n;
};

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The time that @share of them did not exceed; they are sorted. */
static double us_at(const struct times *times, double share)
{
	uint64_t i = (uint64_t)(share * (double)times->n);

	return (double)times->ns[i < times->n ? i : times->n - 1] / 1000;
}

static void row(const struct bench_options *options, const char *what, struct times *times)
{
	double sum = 0;
	uint64_t i;

	if (times->n == 0)
		return;
	qsort(times->ns, times->n, sizeof(*times->ns), order);
	for (i = 0; i < times->n; i++)
		sum += (double)times->ns[i] / 1000;
	if (options->json)
		printf("{\"row\":\"pause\",\"call\":\"%s\",\"n\":%llu,\"us_mean\":%.2f,\"us_min\":%.2f,"
		       "\"us_p50\":%.2f,\"us_p99\":%.2f,\"us_p99_9\":%.2f,\"us_p99_99\":%.2f,"
		       "\"us_max\":%.2f}\n",
		       what, (unsigned long long)times->n, sum / (double)times->n, us_at(times, 0),
		       us_at(times, 0.5), us_at(times, 0.99), us_at(times, 0.999),
		       us_at(times, 0.9999), us_at(times, 1));
	else
		printf("%-24s %9llu %8.1f %8.1f %8.1f %8.1f %8.1f %8.1f %8.1f\n", what,
		       (unsigned long long)times->n, sum / (double)times->n, us_at(times, 0),
		       us_at(times, 0.5), us_at(times, 0.99), us_at(times, 0.999),
		       us_at(times, 0.9999), us_at(times, 1));
	fflush(stdout);
}

static int grow(struct shmkv *kv, const struct bench_options *options, uint8_t *value,
		struct times *times)
{
	uint8_t key[BENCH_KEY_LEN];
	uint64_t i, start;
	int r;

	for (i = 0; i < options->entries; i++) {
		bench_key(i, key);
		memcpy(value, &i, sizeof(i));
		start = bench_cpu_ns();
		r = shmkv_put(kv, key, sizeof(key), shmkv_bin(value, options->value_len), NULL);
		times->ns[i] = bench_cpu_ns() - start;
		if (r < 0)
			return bench_failed("put", r);
	}
	times->n = options->entries;
	return 0;
}

/* One page for each call, until none is left or the kernel gives no more. */
static int collapse(struct shmkv *kv, struct times *times)
{
	uint64_t left, before, start;
	int r;

	times->n = 0;
	r = shmkv_huge_collapse(kv, 0, &left);
	while (r == 0 && left > 0) {
		before = left;
		start = bench_cpu_ns();
		r = shmkv_huge_collapse(kv, 1, &left);
		if (r < 0 || left == before)
			break;
		times->ns[times->n++] = bench_cpu_ns() - start;
	}
	return r < 0 ? bench_failed("huge_collapse", r) : 0;
}

static int say_obtained(struct shmkv *kv, const struct bench_options *options, const char *policy)
{
	struct shmkv_huge huge = { .size = sizeof(huge) };
	int r = shmkv_huge_info(kv, &huge);

	if (r < 0)
		return bench_failed("huge_info", r);
	if (options->json)
		printf("{\"row\":\"pages\",\"policy\":\"%s\",\"huge_bytes\":%llu,\"file_bytes\":%llu}\n",
		       policy, (unsigned long long)huge.huge_bytes,
		       (unsigned long long)huge.file_bytes);
	else
		printf("%s: %llu of %llu MiB in huge pages\n", policy,
		       (unsigned long long)(huge.huge_bytes >> 20),
		       (unsigned long long)(huge.file_bytes >> 20));
	return 0;
}

static int run_policy(const struct bench_options *options, uint32_t policy, const char *name,
		      uint8_t *value, struct times *times)
{
	struct shmkv_options create = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;
	char what[64];
	int r;

	create.max_bytes = options->entries * (options->value_len + 256) + (64ull << 20);
	create.hash = options->hash;
	create.huge_pages = policy;
	r = shmkv_create(bench_map_name(), &create, &kv);
	if (r < 0)
		return bench_failed("create", r);
	/* Nobody else needs it, and nothing stays behind. */
	shmkv_unlink(bench_map_name());
	r = grow(kv, options, value, times);
	if (r == 0) {
		snprintf(what, sizeof(what), "put, %s", name);
		row(options, what, times);
		r = collapse(kv, times);
	}
	if (r == 0) {
		snprintf(what, sizeof(what), "making 2 MiB, %s", name);
		row(options, what, times);
		r = say_obtained(kv, options, name);
	}
	shmkv_detach(kv);
	return r;
}

int bench_huge(const struct bench_options *given)
{
	static const char *const names[] = { [SHMKV_HUGE_NEVER] = "never",
					     [SHMKV_HUGE_LAZY] = "lazy",
					     [SHMKV_HUGE_EAGER] = "eager" };
	struct bench_options options = *given;
	struct times times = { 0 };
	uint8_t *value;
	int r = 0;

	if (options.entries == 0)
		options.entries = ENTRIES;
	value = calloc(1, options.value_len);
	times.ns = calloc(options.entries, sizeof(*times.ns));
	if (!value || !times.ns)
		r = bench_failed("buffers", -ENOMEM);
	if (r == 0 && !options.json)
		printf("%-24s %9s %8s %8s %8s %8s %8s %8s %8s\n", "us", "calls", "mean", "min",
		       "median", "99 %", "99.9 %", "99.99 %", "max");
	for (uint32_t i = SHMKV_HUGE_NEVER; i <= SHMKV_HUGE_EAGER && r == 0; i++)
		r = run_policy(&options, i, names[i], value, &times);
	free(times.ns);
	free(value);
	return r;
}

/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"
#include "bench/cache-run.h"

#include <errno.h>
#include <stdio.h>

/*
 * bench-evict: how often a cache has what is asked for, beside exact LRU and exact LFU.
 *
 * Zipf requests (skew 0.99) to a map that can hold about a tenth of the keys; once alone and once
 * interrupted by scans as long as half of the cache. The exact caches have as many bytes of
 * records as the map held in the end, so the difference is the policy's; what the map needs
 * besides is in the column "held". The baseline of all is the exact cache with all of max_bytes for
 * records, which no program can have.
 */

#define SKEW 0.99
#define ENTRIES 300000u
#define REQUESTS_PER_KEY 10u

static const char *const policy_names[] = { "none", "lru", "lfu" };

static void print_row(const struct bench_options *options, const char *trace, enum shmkv_evict evict,
		      const struct cache_result *result, uint64_t max_bytes, const double exact[4])
{
	double rate = (double)result->hits / (double)result->requests;
	double ns = (double)result->put_ns / (double)(result->puts ? result->puts : 1);

	if (options->json)
		printf("{\"row\":\"evict\",\"trace\":\"%s\",\"policy\":\"%s\",\"hit\":%.4f,"
		       "\"exact_lru\":%.4f,\"exact_lfu\":%.4f,\"limit_lru\":%.4f,\"limit_lfu\":%.4f,"
		       "\"keys\":%llu,\"record_bytes\":%llu,\"max_bytes\":%llu,\"evictions\":%llu,"
		       "\"put_ns\":%.0f}\n",
		       trace, policy_names[evict], rate, exact[0], exact[1], exact[2], exact[3],
		       (unsigned long long)result->keys, (unsigned long long)result->record_bytes,
		       (unsigned long long)max_bytes, (unsigned long long)result->evictions, ns);
	else
		printf("%-14s %-6s %7.2f %% %8.2f %% %8.2f %% %8.2f %% %8.2f %% %7.1f %% %8llu %7.0f ns\n",
		       trace, policy_names[evict], rate * 100, exact[0] * 100, exact[1] * 100,
		       exact[2] * 100, exact[3] * 100,
		       (double)result->record_bytes * 100 / (double)max_bytes,
		       (unsigned long long)result->keys, ns);
	fflush(stdout);
}

static int run(const struct bench_options *options, const struct cache_load *load,
	       const char *trace, enum shmkv_evict evict, uint64_t max_bytes)
{
	struct shmkv_options create = SHMKV_OPTIONS_INIT;
	struct cache_result result;
	struct shmkv *kv = NULL;
	double exact[4];
	int r;

	create.max_bytes = max_bytes;
	create.hash = options->hash;
	create.evict = evict;
	create.max_threads = 8;
	r = shmkv_create(bench_map_name(), &create, &kv);
	if (r < 0)
		return bench_failed("create", r);
	r = cache_run(load, kv, &result);
	shmkv_detach(kv);
	shmkv_unlink(bench_map_name());
	if (r < 0)
		return bench_failed("requests", r);
	r = cache_exact(load, result.record_bytes, &exact[0], &exact[1]);
	if (r == 0)
		r = cache_exact(load, max_bytes, &exact[2], &exact[3]);
	if (r < 0)
		return bench_failed("exact cache", r);
	print_row(options, trace, evict, &result, max_bytes, exact);
	return 0;
}

int bench_evict(const struct bench_options *options)
{
	uint64_t n = options->entries ? options->entries : ENTRIES, seed = 1, bytes;
	struct cache_load load = { .seed = seed, .n_requests = n * REQUESTS_PER_KEY };
	struct trace trace;
	int r, k;

	load.len_min = load.len_max = (uint32_t)options->value_len;
	if (options->mixed) {
		load.len_min = 32;
		load.len_max = 65536;
	}
	r = trace_init(&trace, n, SKEW, seed);
	if (r < 0)
		return bench_failed("trace", r);
	load.trace = &trace;
	for (bytes = 0, k = 0; k < 1000; k++)
		bytes += 24 + 16 + cache_len(&load, (uint64_t)k) + 31;
	bytes = bytes * n / 1000 / 10;
	if (bytes < SHMKV_SIZE_MIN)
		bytes = SHMKV_SIZE_MIN;

	if (!options->json)
		printf("%llu keys, %u to %u bytes, zipf %.2f, cache of %.1f MiB\n"
		       "%-14s %-6s %9s %10s %10s %10s %10s %9s %8s %10s\n",
		       (unsigned long long)n, load.len_min, load.len_max, SKEW,
		       (double)bytes / 1048576, "trace", "policy", "hits", "exact LRU", "exact LFU",
		       "all: LRU", "all: LFU", "held", "keys", "put");
	for (k = 0; k < 2 && r == 0; k++) {
		if (k == 1) {
			load.scan_every = n / 5;
			load.scan_len = n / 20;
		}
		r = run(options, &load, k ? "zipf and scans" : "zipf", SHMKV_EVICT_LRU, bytes);
		if (r == 0)
			r = run(options, &load, k ? "zipf and scans" : "zipf", SHMKV_EVICT_LFU, bytes);
	}
	trace_deinit(&trace);
	return r;
}

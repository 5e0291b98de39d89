/* SPDX-License-Identifier: MIT */
#include "bench/cache-run.h"

#include "bench/exact-cache.h"

#include <shmkv/inspect.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_LEN 16u
#define RECORD_HEADER 24u

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint32_t cache_len(const struct cache_load *load, uint64_t key)
{
	uint64_t x = mix(key + 0x9e3779b97f4a7c15ull);
	uint32_t n = 0, low, high;

	if (load->len_min >= load->len_max)
		return load->len_min;
	while (load->len_min << (n + 1) <= load->len_max)
		n++;
	low = load->len_min << (n ? (x >> 40) % n : 0);
	high = low * 2 < load->len_max ? low * 2 : load->len_max;
	return low + (uint32_t)(x & 0xffffffff) % (high - low + 1);
}

static void make_key(uint64_t number, uint8_t key[KEY_LEN])
{
	uint64_t mixed = mix(number);

	memcpy(key, &mixed, 8);
	memcpy(key + 8, &number, 8);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 1 for a hit, 0 for a miss. */
static int ask(struct shmkv *kv, const struct cache_load *load, uint64_t number, uint8_t *buf,
	       struct cache_result *result)
{
	uint32_t len = cache_len(load, number);
	struct shmkv_value value;
	uint8_t key[KEY_LEN];
	uint64_t start;
	int r;

	make_key(number, key);
	r = shmkv_get(kv, key, sizeof(key), buf, len, &value, NULL);
	if (r == 0)
		return value.len == len && memcmp(buf, &number, sizeof(number)) == 0 ? 1 : -EBADMSG;
	if (r != -ENOENT)
		return r == -ENOBUFS ? -EBADMSG : r;
	memcpy(buf, &number, sizeof(number));
	start = now_ns();
	r = shmkv_put(kv, key, sizeof(key), shmkv_bin(buf, len), NULL);
	result->put_ns += now_ns() - start;
	result->puts++;
	return r;
}

int cache_run(const struct cache_load *load, struct shmkv *kv, struct cache_result *ret)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_info info = { .size = sizeof(info) };
	uint8_t *buf = calloc(1, load->len_max + sizeof(uint64_t));
	uint64_t number;
	bool scan;
	int r = buf ? 0 : -ENOMEM;

	memset(ret, 0, sizeof(*ret));
	trace_begin(load->trace, load->seed, load->scan_every, load->scan_len);
	while (r >= 0 && load->trace->n_asked < load->n_requests) {
		number = trace_next(load->trace, &scan);
		r = ask(kv, load, number, buf, ret);
		if (r < 0 || scan || load->trace->n_asked <= load->n_requests / 2)
			continue;
		ret->requests++;
		ret->hits += (uint64_t)r;
	}
	free(buf);
	if (r >= 0)
		r = shmkv_info(kv, &info);
	if (r >= 0)
		r = shmkv_check(kv, NULL, NULL, &audit);
	ret->keys = audit.keys;
	ret->record_bytes = audit.record_bytes;
	ret->evictions = info.evictions;
	return r < 0 ? r : 0;
}

static int run_exact(const struct cache_load *load, enum exact_policy policy, uint64_t bytes,
		     double *ret_rate)
{
	uint64_t hits = 0, requests = 0, number;
	struct exact_cache cache;
	bool scan, hit;
	int r;

	trace_begin(load->trace, load->seed, load->scan_every, load->scan_len);
	r = exact_cache_init(&cache, policy, bytes, trace_keys(load->trace, load->n_requests));
	if (r < 0)
		return r;
	while (load->trace->n_asked < load->n_requests) {
		number = trace_next(load->trace, &scan);
		hit = exact_cache_ask(&cache, number,
				      RECORD_HEADER + KEY_LEN + cache_len(load, number));
		if (scan || load->trace->n_asked <= load->n_requests / 2)
			continue;
		requests++;
		hits += hit;
	}
	exact_cache_deinit(&cache);
	*ret_rate = (double)hits / (double)requests;
	return 0;
}

int cache_exact(const struct cache_load *load, uint64_t bytes, double *ret_lru, double *ret_lfu)
{
	int r = run_exact(load, EXACT_LRU, bytes, ret_lru);

	return r < 0 ? r : run_exact(load, EXACT_LFU, bytes, ret_lfu);
}

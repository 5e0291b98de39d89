/* SPDX-License-Identifier: MIT */
/* maps-ours: the maps of shmkv, through the public calls of the shared library. */
#include "bench/bench.h"
#include "bench/maps.h"

#include <shmkv/heap.h>

#include <stdio.h>
#include <stdlib.h>

/* Room enough: nobody is refused anything here. */
#define MAP_BYTES ((uint64_t)8 << 30)

static void *make(const char *name, uint32_t mode, uint64_t max_bytes)
{
	struct shmkv_adaptive_options adaptive = SHMKV_ADAPTIVE_OPTIONS_INIT;
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;
	int r;

	adaptive.mode = mode;
	opts.max_bytes = max_bytes;
	if (mode != SHMKV_MODE_ADAPTIVE)
		opts.adaptive = &adaptive;
	r = shmkv_create(name, &opts, &kv);
	if (r < 0) {
		bench_failed(name, r);
		exit(1);
	}
	return kv;
}

static void *make_adaptive(uint64_t n)
{
	(void)n;
	return make("heap:adaptive", SHMKV_MODE_ADAPTIVE, MAP_BYTES);
}

static void *make_fast_insert(uint64_t n)
{
	(void)n;
	return make("heap:adaptive", SHMKV_MODE_FAST_INSERT, MAP_BYTES);
}

static void *make_fast_lookup(uint64_t n)
{
	(void)n;
	return make("heap:adaptive", SHMKV_MODE_FAST_LOOKUP, MAP_BYTES);
}

static void *make_memory_tight(uint64_t n)
{
	(void)n;
	return make("heap:adaptive", SHMKV_MODE_MEMORY_TIGHT, MAP_BYTES);
}

static void *make_hamt(uint64_t n)
{
	(void)n;
	return make("heap:hamt", SHMKV_MODE_ADAPTIVE, MAP_BYTES);
}

/* Its memory is taken as it is needed, but its directory is laid out for the limit. */
static void *make_shm(uint64_t n)
{
	return make(bench_map_name(), SHMKV_MODE_ADAPTIVE, ((uint64_t)4 << 20) + n * 1024);
}

static void end(void *map)
{
	shmkv_detach(map);
}

static void end_shm(void *map)
{
	shmkv_detach(map);
	shmkv_unlink(bench_map_name());
}

static inline bool put_one(struct shmkv *kv, const struct maps_item *item)
{
	return shmkv_put(kv, item->key, item->key_len, shmkv_str_n(item->value, item->value_len),
			 NULL) == 0;
}

static inline bool get_one(struct shmkv *kv, const struct maps_item *item, char *copy,
			   size_t *ret_len)
{
	struct shmkv_value value;

	if (shmkv_get(kv, item->key, item->key_len, copy, MAPS_VALUE_MAX, &value, NULL) < 0)
		return false;
	*ret_len = value.len;
	return true;
}

static inline bool contains_one(struct shmkv *kv, const struct maps_item *item)
{
	return shmkv_exists(kv, item->key, item->key_len) == 0;
}

static inline bool del_one(struct shmkv *kv, const struct maps_item *item)
{
	return shmkv_del(kv, item->key, item->key_len) == 0;
}

#define MAPS_LOOP_MAP struct shmkv
#include "bench/maps-loop.h"

#define OURS(label, make_fn, end_fn) .name = label, .make = make_fn, .end = end_fn, MAPS_LOOPS

const struct maps_method maps_adaptive = { OURS("shmkv-adaptive", make_adaptive, end) };
const struct maps_method maps_adaptive_threads = {
	OURS("shmkv-adaptive-threads", make_adaptive, end), .threaded = true,
};
const struct maps_method maps_fast_insert = { OURS("shmkv-fast-insert", make_fast_insert, end) };
const struct maps_method maps_fast_lookup = { OURS("shmkv-fast-lookup", make_fast_lookup, end) };
const struct maps_method maps_memory_tight = { OURS("shmkv-memory-tight", make_memory_tight, end) };
const struct maps_method maps_hamt = { OURS("shmkv-hamt", make_hamt, end) };
const struct maps_method maps_shm = { OURS("shmkv-shm", make_shm, end_shm) };

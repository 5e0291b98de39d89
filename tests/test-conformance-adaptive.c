/* SPDX-License-Identifier: MIT */
/*
 * test-conformance-adaptive: the list held against the adaptive engine, five times:
 * in each mode, and restless, with limits so tight that it is nearly always moving.
 */
#include "tests/conformance.h"
#include "tests/test.h"

#include <shmkv/heap.h>

static void use_mode(struct shmkv_options *opts, enum shmkv_adaptive_mode mode)
{
	static struct shmkv_adaptive_options adaptive = SHMKV_ADAPTIVE_OPTIONS_INIT;

	adaptive.mode = mode;
	opts->adaptive = &adaptive;
}

static void use_fast_insert(struct shmkv_options *opts)
{
	use_mode(opts, SHMKV_MODE_FAST_INSERT);
}

static void use_fast_lookup(struct shmkv_options *opts)
{
	use_mode(opts, SHMKV_MODE_FAST_LOOKUP);
}

static void use_memory_tight(struct shmkv_options *opts)
{
	use_mode(opts, SHMKV_MODE_MEMORY_TIGHT);
}

static void use_restless(struct shmkv_options *opts)
{
	static const struct shmkv_adaptive_options restless = {
		.size = sizeof(restless),
		.initial_buckets = 8,
		.initial_capacity_rh = 8,
		.groups_per_bucket = 2,
		.incremental_batch = 3,
		.max_group_len = 2,
		.max_lf_chaining = 1,
		.max_avg_probe_robinhood = 0.3,
		.max_tombstone_ratio = 0.02,
	};

	opts->adaptive = &restless;
	opts->hash = SHMKV_HASH_SIPHASH13;
}

#define ADAPTIVE(use)                                       \
	{                                                   \
		.prefix = "heap:adaptive/conformance-",     \
		.is_private = true,                         \
		.adjust = (use),                            \
		.small_bytes = (uint64_t)2 << 20,           \
	}

static const struct skv_conformance adaptive = ADAPTIVE(NULL);
static const struct skv_conformance fast_insert = ADAPTIVE(use_fast_insert);
static const struct skv_conformance fast_lookup = ADAPTIVE(use_fast_lookup);
static const struct skv_conformance memory_tight = ADAPTIVE(use_memory_tight);
static const struct skv_conformance restless = ADAPTIVE(use_restless);

#define ROW_FUNCTIONS(id, sentence, seconds)              \
	static void adaptive_##id(void)                   \
	{                                                 \
		skv_conformance_##id(&adaptive);          \
	}                                                 \
	static void fast_insert_##id(void)                \
	{                                                 \
		skv_conformance_##id(&fast_insert);       \
	}                                                 \
	static void fast_lookup_##id(void)                \
	{                                                 \
		skv_conformance_##id(&fast_lookup);       \
	}                                                 \
	static void memory_tight_##id(void)               \
	{                                                 \
		skv_conformance_##id(&memory_tight);      \
	}                                                 \
	static void restless_##id(void)                   \
	{                                                 \
		skv_conformance_##id(&restless);          \
	}
SKV_CONFORMANCE_LIST(ROW_FUNCTIONS)

#define ROW(id, sentence, seconds) { "adaptive", sentence, adaptive_##id, seconds },
#define ROW_INSERT(id, sentence, seconds) { "fast_insert", sentence, fast_insert_##id, seconds },
#define ROW_LOOKUP(id, sentence, seconds) { "fast_lookup", sentence, fast_lookup_##id, seconds },
#define ROW_TIGHT(id, sentence, seconds) { "memory_tight", sentence, memory_tight_##id, seconds },
#define ROW_RESTLESS(id, sentence, seconds) { "restless", sentence, restless_##id, seconds },

const struct skv_test skv_tests_conformance_adaptive[] = {
	SKV_CONFORMANCE_LIST(ROW)
	SKV_CONFORMANCE_LIST(ROW_INSERT)
	SKV_CONFORMANCE_LIST(ROW_LOOKUP)
	SKV_CONFORMANCE_LIST(ROW_TIGHT)
	SKV_CONFORMANCE_LIST(ROW_RESTLESS)
	{ 0 },
};

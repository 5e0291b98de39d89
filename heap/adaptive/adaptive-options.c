/* SPDX-License-Identifier: MIT */
/* adaptive-options: what the caller asked for, checked and completed. */
#include "heap/adaptive/adaptive.h"

#include <errno.h>

/* No structure of ours will ever be longer. */
#define OPTIONS_SIZE_MAX 4096u

/* Larger first tables than this serve no purpose, and products of them stay in 64 bits. */
#define TABLE_MAX ((uint64_t)1 << 32)

static bool is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static bool is_between(double x, double lo, double hi)
{
	return x >= lo && x <= hi; /* false for a NaN */
}

static int copy_sized(const struct shmkv_adaptive_options *given,
		      struct shmkv_adaptive_options *ret_opts)
{
	const unsigned char *bytes = (const unsigned char *)given;
	size_t i;

	if (given->size < sizeof(given->size) || given->size > OPTIONS_SIZE_MAX)
		return -EINVAL;
	for (i = sizeof(*given); i < given->size; i++) {
		if (bytes[i] != 0)
			return -EINVAL;
	}
	memcpy(ret_opts, given, given->size < sizeof(*given) ? given->size : sizeof(*given));
	return 0;
}

static void set_defaults(struct shmkv_adaptive_options *opts)
{
	opts->size = sizeof(*opts);
	if (opts->start_backend == SHMKV_BACKEND_NONE)
		opts->start_backend = SHMKV_BACKEND_CHAINING;
	if (opts->initial_buckets == 0)
		opts->initial_buckets = 64;
	if (opts->initial_capacity_rh == 0)
		opts->initial_capacity_rh = 64;
	if (opts->groups_per_bucket == 0)
		opts->groups_per_bucket = 8;
	if (opts->incremental_batch == 0)
		opts->incremental_batch = 2048;
	if (opts->max_group_len == 0)
		opts->max_group_len = 8;
	if (opts->max_lf_chaining == 0)
		opts->max_lf_chaining = 0.82;
	if (opts->max_avg_probe_robinhood == 0)
		opts->max_avg_probe_robinhood = 6.0;
	if (opts->max_tombstone_ratio == 0)
		opts->max_tombstone_ratio = 0.25;
	if (opts->large_map_warn_threshold == 0)
		opts->large_map_warn_threshold = 1000000;
}

static bool is_valid(const struct shmkv_adaptive_options *opts)
{
	return opts->mode <= SHMKV_MODE_MEMORY_TIGHT &&
	       opts->start_backend <= SHMKV_BACKEND_ROBIN_HOOD && opts->pad == 0 &&
	       is_power_of_two(opts->initial_buckets) && opts->initial_buckets <= TABLE_MAX &&
	       is_power_of_two(opts->initial_capacity_rh) && opts->initial_capacity_rh >= 8 &&
	       opts->initial_capacity_rh <= TABLE_MAX &&
	       is_power_of_two(opts->groups_per_bucket) && opts->groups_per_bucket <= 4096 &&
	       opts->max_group_len < SKV_CHAIN_LEN_MAX &&
	       is_between(opts->max_lf_chaining, 0.01, 1) &&
	       is_between(opts->max_avg_probe_robinhood, 0.1, 100) &&
	       is_between(opts->max_tombstone_ratio, 0, 1);
}

int skv_adaptive_options_read(const struct shmkv_adaptive_options *given,
			      struct shmkv_adaptive_options *ret_opts)
{
	struct shmkv_adaptive_options opts = SHMKV_ADAPTIVE_OPTIONS_INIT;
	int r;

	if (given) {
		r = copy_sized(given, &opts);
		if (r < 0)
			return r;
	}
	set_defaults(&opts);
	if (!is_valid(&opts))
		return -EINVAL;
	*ret_opts = opts;
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "shm/stats.h"

#include "shm/tally.h"

#include <string.h>

_Static_assert(SHMKV_STATS_LINES == SKV_TALLY_LINES, "lines");
_Static_assert(SHMKV_STATS_RETRIES == SKV_TALLY_AGAIN, "retries");
_Static_assert(SHMKV_STATS_SIZES == SKV_TALLY_SIZES, "sizes");

uint64_t shmkv_stats_lines_bound(unsigned int bucket)
{
	static const uint64_t bounds[SKV_TALLY_LINES] = SKV_LINES_BOUNDS;

	return bucket < SKV_TALLY_LINES ? bounds[bucket] : UINT64_MAX;
}

uint64_t shmkv_stats_retries_bound(unsigned int bucket)
{
	static const uint64_t bounds[SKV_TALLY_AGAIN] = SKV_AGAIN_BOUNDS;

	return bucket < SKV_TALLY_AGAIN ? bounds[bucket] : UINT64_MAX;
}

uint64_t shmkv_stats_size_bound(unsigned int bucket)
{
	return bucket < SKV_TALLY_SIZES - 1 ? (uint64_t)SKV_SIZES_FIRST << bucket : UINT64_MAX;
}

static uint64_t total(const uint64_t *counts, uint32_t n)
{
	uint64_t sum = 0;

	while (n-- > 0)
		sum += counts[n];
	return sum;
}

int skv_stats(const struct skv_map *map, struct shmkv_stats *stats)
{
	uint32_t i, n = skv_contexts_ready(map);
	struct skv_tally all, own;
	const struct skv_context *ctx;
	const struct skv_reader *reader;

	memset(&all, 0, sizeof(all));
	memset(&own, 0, sizeof(own));
	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		skv_tally_sum(&all, &ctx->tally);
		stats->inserts += skv_load_relaxed(&ctx->inserts);
		stats->updates += skv_load_relaxed(&ctx->updates);
		stats->deletes += skv_load_relaxed(&ctx->deletes);
		stats->retries += skv_load_relaxed(&ctx->retries);
		stats->splits += skv_load_relaxed(&ctx->splits);
		stats->compactions += skv_load_relaxed(&ctx->compactions);
		stats->expired += skv_load_relaxed(&ctx->expired);
		stats->evictions += skv_load_relaxed(&ctx->evictions);
	}
	for (reader = __atomic_load_n(&map->readers, __ATOMIC_ACQUIRE); reader; reader = reader->next)
		skv_tally_sum(&own, &reader->tally);

	stats->hits = total(all.hit_lines, SKV_TALLY_LINES);
	stats->misses = total(all.miss_lines, SKV_TALLY_LINES);
	stats->gets = stats->hits + stats->misses;
	stats->puts = all.calls[SKV_CALL_PUT];
	stats->adds = all.calls[SKV_CALL_ADD];
	stats->replaces = all.calls[SKV_CALL_REPLACE];
	stats->cases = all.calls[SKV_CALL_CAS];
	stats->updates_in_place = all.calls[SKV_CALL_UPDATE];
	stats->dels = all.calls[SKV_CALL_DEL];
	stats->takes = all.calls[SKV_CALL_TAKE];
	stats->clears = all.calls[SKV_CALL_CLEAR];
	stats->unmet = all.outcomes[SKV_OUTCOME_UNMET];
	stats->no_space = all.outcomes[SKV_OUTCOME_NO_SPACE];
	stats->lost = all.outcomes[SKV_OUTCOME_LOST];
	stats->failed = all.outcomes[SKV_OUTCOME_FAILED];
	stats->read_retries = all.read_retries;
	stats->recoveries = skv_load_relaxed(&skv_super(map)->recoveries);
	stats->own_hits = total(own.hit_lines, SKV_TALLY_LINES);
	stats->own_misses = total(own.miss_lines, SKV_TALLY_LINES);
	stats->own_read_retries = own.read_retries;
	memcpy(stats->hit_lines, all.hit_lines, sizeof(stats->hit_lines));
	memcpy(stats->miss_lines, all.miss_lines, sizeof(stats->miss_lines));
	memcpy(stats->write_lines, all.write_lines, sizeof(stats->write_lines));
	memcpy(stats->retried, all.again, sizeof(stats->retried));
	memcpy(stats->value_bytes, all.value_bytes, sizeof(stats->value_bytes));
	return 0;
}

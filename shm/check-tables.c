/* SPDX-License-Identifier: MIT */
#include "shm/check-walk.h"

/* C11 and C12. */

static void check_superblock(struct skv_check_walk *walk)
{
	const struct skv_superblock *super = skv_super(walk->map);
	const struct skv_geometry *geo = &walk->map->region.geo;
	uint64_t ready = skv_load_acquire(&super->chunks_ready);
	uint64_t contexts = skv_load_acquire(&super->contexts_ready);

	/* The root word, the counts of free things and the pools are hints: they may say anything. */
	if ((ready & 0xffffffff) + (ready >> 32) > geo->n_chunks)
		skv_check_violated(walk, 12, "%llu chunks from below and %llu from above are more than "
				   "%u", (unsigned long long)(ready & 0xffffffff),
				   (unsigned long long)(ready >> 32), geo->n_chunks);
	if (contexts < 1 || contexts > geo->n_contexts)
		skv_check_violated(walk, 12, "%llu contexts of %u are ready",
				   (unsigned long long)contexts, geo->n_contexts);
}

static void check_processes(struct skv_check_walk *walk)
{
	uint32_t i;
	uint64_t state;

	for (i = 0; i < walk->map->region.geo.n_processes; i++) {
		state = skv_load_acquire(&skv_peer_slot(&walk->map->region, i)->state);
		if ((state & SKV_PROCESS_STATE_MASK) > SKV_PROCESS_LIVE)
			skv_check_violated(walk, 11, "process slot %u has no state", i);
	}
}

static void check_context(struct skv_check_walk *walk, uint32_t idx)
{
	const struct skv_context *ctx = skv_context_at(walk->map, idx);
	struct skv_region *region = &walk->map->region;
	uint64_t owner, state;
	int32_t process;
	uint32_t tries;

	for (tries = 0; tries < SKV_CHECK_TRIES; tries++) {
		owner = skv_load_acquire(&ctx->owner);
		process = skv_owner_process(owner);
		if (process < 0)
			return;
		if ((uint32_t)process >= region->geo.n_processes) {
			skv_check_violated(walk, 11, "context %u belongs to process slot %d of %u", idx,
					   process, region->geo.n_processes);
			return;
		}
		state = skv_load_acquire(&skv_peer_slot(region, (uint32_t)process)->state);
		if ((state & SKV_PROCESS_STATE_MASK) != SKV_PROCESS_FREE)
			return;
		/* A context changes its owner word whenever it is taken or given back. */
		skv_fence_acquire();
		if (skv_load_relaxed(&ctx->owner) == owner) {
			skv_check_violated(walk, 11,
					   "context %u belongs to process slot %d, which is free", idx,
					   process);
			return;
		}
	}
	walk->audit->undecided++;
}

void skv_check_tables(struct skv_check_walk *walk)
{
	uint32_t i, n = skv_contexts_ready(walk->map);

	check_superblock(walk);
	check_processes(walk);
	for (i = 0; i < n; i++)
		check_context(walk, i);
}

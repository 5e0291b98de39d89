/* SPDX-License-Identifier: MIT */
#include "shm/check-walk.h"

#include "shm/chunk.h"
#include "shm/leaf.h"
#include "shm/pin.h"
#include "shm/reserve.h"

/*
 * Words of a context that has no owner are those of a past one and mean nothing. An owner
 * whose slot is free cannot be (C11); it counts as nobody.
 */
static enum skv_holder holder_of(struct skv_check_walk *walk, uint64_t owner)
{
	struct skv_region *region = &walk->map->region;
	int32_t process = skv_owner_process(owner);
	uint64_t state;

	if (process < 0 || (uint32_t)process >= region->geo.n_processes ||
	    (skv_load_acquire(&skv_peer_slot(region, (uint32_t)process)->state) &
	     SKV_PROCESS_STATE_MASK) == SKV_PROCESS_FREE)
		return SKV_HOLDER_NONE;
	return skv_peer_is_dead(region, (uint32_t)process, &state) ? SKV_HOLDER_DEAD :
								     SKV_HOLDER_LIVING;
}

enum skv_holder skv_check_owner(struct skv_check_walk *walk, uint32_t context)
{
	if (context >= skv_contexts_ready(walk->map))
		return SKV_HOLDER_NONE;
	return holder_of(walk, skv_load_acquire(&skv_context_at(walk->map, context)->owner));
}

static bool names_block(const struct skv_map *map, uint32_t context, uint64_t off)
{
	const struct skv_context *ctx = skv_context_at(map, context);

	return (skv_load_acquire(&ctx->new_off) & ~SKV_INTENT_COMPLETE) == off ||
	       skv_load_acquire(&ctx->old_off) == off || skv_load_acquire(&ctx->aux_off) == off ||
	       skv_pin_names(map, context, off, 1) || skv_reserve_mentions(ctx, off);
}

enum skv_holder skv_check_block_holder(struct skv_check_walk *walk, uint64_t off)
{
	uint32_t i, n = skv_contexts_ready(walk->map);
	enum skv_holder best = SKV_HOLDER_NONE, holder;
	uint64_t owner;

	for (i = 0; i < n && best != SKV_HOLDER_LIVING; i++) {
		owner = skv_load_acquire(&skv_context_at(walk->map, i)->owner);
		if (skv_owner_process(owner) < 0 || !names_block(walk->map, i, off))
			continue;
		holder = holder_of(walk, owner);
		if (holder > best)
			best = holder;
	}
	return best;
}

enum skv_holder skv_check_rebuild_holder(struct skv_check_walk *walk, uint32_t leaf, uint64_t gen)
{
	uint32_t i, n = skv_contexts_ready(walk->map);
	enum skv_holder best = SKV_HOLDER_NONE, holder;
	const struct skv_context *ctx;
	uint64_t owner;

	for (i = 0; i < n && best != SKV_HOLDER_LIVING; i++) {
		ctx = skv_context_at(walk->map, i);
		owner = skv_load_acquire(&ctx->owner);
		if (skv_owner_process(owner) < 0 ||
		    skv_load_acquire(&ctx->rebuild_leaf) != (uint64_t)leaf + 1 ||
		    skv_load_acquire(&ctx->rebuild_gen) != gen)
			continue;
		holder = holder_of(walk, owner);
		if (holder > best)
			best = holder;
	}
	return best;
}

enum skv_holder skv_check_child_holder(struct skv_check_walk *walk, uint32_t context, uint32_t leaf)
{
	const struct skv_context *ctx;

	if (context >= skv_contexts_ready(walk->map))
		return SKV_HOLDER_NONE;
	ctx = skv_context_at(walk->map, context);
	if (skv_load_acquire(&ctx->rebuild_child[0]) != (uint64_t)leaf + 1 &&
	    skv_load_acquire(&ctx->rebuild_child[1]) != (uint64_t)leaf + 1)
		return SKV_HOLDER_NONE;
	return skv_check_owner(walk, context);
}

enum skv_holder skv_check_claim_holder(struct skv_check_walk *walk, uint32_t context, uint64_t chunk)
{
	const struct skv_context *ctx;
	uint64_t first, len;

	if (context >= skv_contexts_ready(walk->map))
		return SKV_HOLDER_NONE;
	ctx = skv_context_at(walk->map, context);
	first = skv_load_acquire(&ctx->chunk_first);
	len = skv_load_acquire(&ctx->chunk_len);
	if (first == 0 || chunk < first - 1 || chunk - (first - 1) >= len)
		return SKV_HOLDER_NONE;
	return skv_check_owner(walk, context);
}

bool skv_check_others_work(struct skv_check_walk *walk)
{
	uint32_t i, n = skv_contexts_ready(walk->map);

	for (i = 0; i < n; i++) {
		if (skv_load_acquire(&skv_context_at(walk->map, i)->doing) != SKV_DOING_IDLE &&
		    skv_check_owner(walk, i) == SKV_HOLDER_LIVING)
			return true;
	}
	return false;
}

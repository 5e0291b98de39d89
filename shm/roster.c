/* SPDX-License-Identifier: MIT */
#include "shm/roster.h"

#include "base/clock.h"
#include "shm/tally.h"

#include <string.h>

const char *skv_roster_doing(uint64_t doing)
{
	static const char *const words[] = { "idle", "write", "remove", "clear", "recover", "touch",
					    "expire", "view" };

	_Static_assert(sizeof(words) / sizeof(words[0]) == SKV_DOING_N, "a word for each");
	return doing < SKV_DOING_N ? words[doing] : "?";
}

static uint32_t count_set(const uint64_t *words, uint32_t n, uint32_t step)
{
	uint32_t i, set = 0;

	for (i = 0; i < n; i++)
		set += skv_load_relaxed(&words[i * step]) != 0;
	return set;
}

static void add_context(const struct skv_context *ctx, struct shmkv_participant *p)
{
	uint64_t doing = skv_load_relaxed(&ctx->doing);

	p->threads++;
	p->pins += count_set(ctx->pins, SKV_PINS, 1);
	p->reservations += count_set(&ctx->reservations[0][0], SKV_RESERVATIONS, 2);
	p->calls += skv_tally_calls(&ctx->tally) - skv_load_relaxed(&ctx->calls_before);
	if (doing == SKV_DOING_IDLE)
		return;
	if (p->working++ == 0)
		p->doing = skv_roster_doing(doing);
}

static const char *state_of(struct skv_map *map, uint32_t idx, uint64_t state)
{
	uint64_t dead;

	if (skv_peer_is_dead(&map->region, idx, &dead))
		return "dead";
	if (state == SKV_PROCESS_JOINING)
		return "joining";
	switch (skv_peer_is_stopped(&map->region, idx)) {
	case 0:
		return "alive";
	case 1:
		return "stopped";
	default:
		return "unknown";
	}
}

int skv_roster(struct skv_map *map,
	       int (*fn)(const struct shmkv_participant *participant, void *arg), void *arg)
{
	uint64_t state, joined, now = skv_clock_boot_ms();
	uint32_t i, j, n = skv_contexts_ready(map);
	struct shmkv_participant p;
	const struct skv_process *slot;
	const struct skv_context *ctx;
	int r;

	for (i = 0; i < map->region.geo.n_processes; i++) {
		slot = skv_peer_slot(&map->region, i);
		state = skv_load_acquire(&slot->state) & SKV_PROCESS_STATE_MASK;
		if (state == SKV_PROCESS_FREE)
			continue;
		memset(&p, 0, sizeof(p));
		p.size = sizeof(p);
		p.id = i;
		p.pid = skv_load_relaxed(&slot->pid);
		p.state = state_of(map, i, state);
		p.doing = "idle";
		joined = skv_load_relaxed(&slot->joined_ms);
		p.attached_ms = joined < now ? now - joined : 0;
		for (j = 0; j < n; j++) {
			ctx = skv_context_at(map, j);
			if (skv_owner_process(skv_load_acquire(&ctx->owner)) == (int32_t)i)
				add_context(ctx, &p);
		}
		r = fn(&p, arg);
		if (r != 0)
			return r;
	}
	return 0;
}

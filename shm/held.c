/* SPDX-License-Identifier: MIT */
#include "shm/held.h"

#include "shm/chunk.h"
#include "shm/pin.h"
#include "shm/reserve.h"

#include <string.h>

/* The first of the list that is not below @head. */
static uint32_t rank_of(const struct skv_held *held, uint64_t head)
{
	uint32_t low = 0, high = held->n, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (held->head[mid] < head)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool skv_held_has(const struct skv_held *held, uint64_t head)
{
	uint32_t i;

	if (held->n == 0)
		return false;
	i = rank_of(held, head);
	return i < held->n && held->head[i] == head;
}

/* False when it was there, or makes no sense. */
static bool add(const struct skv_map *map, struct skv_held *held, uint64_t off)
{
	uint64_t begin = map->region.geo.chunk_off, head;
	uint32_t i;

	if (off < begin || !skv_chunk_is_ready(map, (off - begin) / SKV_CHUNK_BYTES))
		return false;
	head = skv_chunk_head(map, (off - begin) / SKV_CHUNK_BYTES);
	i = rank_of(held, head);
	if ((i < held->n && held->head[i] == head) || held->n == SKV_HELD_MAX)
		return false;
	memmove(&held->head[i + 1], &held->head[i], (held->n - i) * sizeof(held->head[0]));
	held->head[i] = (uint32_t)head;
	held->n++;
	return true;
}

void skv_held_add(const struct skv_map *map, struct skv_held *held, uint64_t off)
{
	add(map, held, off);
}

static void add_reserved(const struct skv_map *map, const struct skv_context *ctx,
			 struct skv_held *held)
{
	uint64_t off, stamp;
	uint32_t i;

	for (i = 0; i < SKV_RESERVATIONS; i++) {
		off = skv_reserve_entry(ctx, i, &stamp);
		if (off != 0)
			add(map, held, off);
	}
}

static void add_in_flight(const struct skv_map *map, const struct skv_context *ctx,
			  struct skv_held *held)
{
	const uint64_t offs[] = {
		skv_load_acquire(&ctx->new_off) & ~SKV_INTENT_COMPLETE,
		skv_load_acquire(&ctx->old_off),
		skv_load_acquire(&ctx->aux_off),
	};
	size_t i;

	for (i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		if (offs[i] != 0 && add(map, held, offs[i]))
			held->in_flight = true;
	}
}

void skv_held_gather(const struct skv_writer *writer, bool in_flight, struct skv_held *ret_held)
{
	const struct skv_map *map = writer->map;
	uint32_t n = skv_contexts_ready(map), i, k, n_pins;
	const struct skv_context *ctx;
	uint64_t pins[SKV_PINS];

	ret_held->n = 0;
	ret_held->in_flight = false;
	/* What lasts goes first: of that as much as there is room for, whatever is in flight. */
	for (i = 0; i < n; i++) {
		n_pins = skv_pin_list(map, i, pins);
		for (k = 0; k < n_pins; k++)
			add(map, ret_held, pins[k]);
		add_reserved(map, skv_context_at(map, i), ret_held);
	}
	for (i = 0; in_flight && i < n; i++) {
		ctx = skv_context_at(map, i);
		/* As in skv_block_announced: nobody acts upon what stands in a free context. */
		if (i != writer->idx && skv_owner_process(skv_load_acquire(&ctx->owner)) >= 0)
			add_in_flight(map, ctx, ret_held);
	}
}

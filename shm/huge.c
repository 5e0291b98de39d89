/* SPDX-License-Identifier: MIT */
#include "shm/huge.h"

#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>

/*
 * When pages become huge. A stretch is 2 MiB of chunks; in a map that may have huge pages the
 * first chunk begins one. Leaves take chunks from the bottom and records from the top, so the
 * stretches that are in use whole lie at the two ends:
 *
 *     |  whole  |  whole  |  part  |  - - - not reserved - - - |  part  |  whole  |  tail  |
 *     ► huge_done, low                                                   huge_done, high ◄
 *
 * LAZY grows in small steps, and no operation on a key ever collapses anything: one collapse
 * takes as long as a thousand puts. It is done by whoever attaches, for two milliseconds, by
 * shmkv_maintain, for five, and by shmkv_huge_collapse, for as long as its caller wants.
 * EAGER takes memory in whole stretches and makes each one huge as it takes it (chunk.c,
 * skv_region_prepare_huge): a pause of a quarter of a millisecond or more for one operation in
 * 2 MiB, and huge pages from the first one on. Figures: shmkv-bench huge.
 *
 * huge_done says how many stretches have been done, from the bottom (32 bits) and from the top
 * (32 bits). It is a hint: too low, and somebody asks for a page that is huge already, which
 * costs a microsecond; too high, and a stretch stays small. It only saves work, so nothing is
 * ordered by it. What the kernel splits again, to swap it out, stays split.
 *
 * A process dies                                     left                      repaired by
 *  a stretch is huge, not counted (HUGE_TRIED)       the same bytes as before  the next one who
 *                                                                              collapses: repeats it
 *  EAGER: a stretch has memory, the watermark has    memory nobody uses yet    next growth
 *  not moved (GROW_RESERVED in chunk.c)
 */

#define STRETCH_CHUNKS (SKV_HUGE_BYTES / SKV_CHUNK_BYTES)

/* Stretches in use whole, from either end; @tail is what the last one leaves at the end. */
struct stretches {
	uint64_t n;
	uint64_t low, high;
};

static struct stretches stretches_of(const struct skv_map *map)
{
	struct skv_ready ready = skv_chunks_ready(map);
	struct stretches s = { .n = map->region.geo.n_chunks / STRETCH_CHUNKS };
	uint64_t first_high = (ready.high + STRETCH_CHUNKS - 1) / STRETCH_CHUNKS;

	/* Where the two ends have met, everything is in use. */
	s.low = ready.low == ready.high ? s.n : ready.low / STRETCH_CHUNKS;
	s.high = first_high < s.n && ready.low != ready.high ? s.n - first_high : 0;
	return s;
}

static uint64_t stretch_off(const struct skv_map *map, uint64_t stretch)
{
	return skv_chunk_off(map, stretch * STRETCH_CHUNKS);
}

static bool may_be_huge(const struct skv_map *map)
{
	return map->region.geo.huge != SHMKV_HUGE_NEVER &&
	       map->region.geo.chunk_off % SKV_HUGE_BYTES == 0;
}

/* The next stretch to do, and the count when it is done. */
static bool next_stretch(const struct stretches *s, uint64_t done, uint64_t *ret_stretch,
			 uint64_t *ret_done)
{
	uint64_t low = done & UINT32_MAX, high = done >> 32;

	if (high < s->high && high < s->n) {
		*ret_stretch = s->n - 1 - high;
		*ret_done = done + (1ull << 32);
		return true;
	}
	/* Those that were done from the top need not be done from the bottom. */
	if (low < s->low && low + high < s->n) {
		*ret_stretch = low;
		*ret_done = done + 1;
		return true;
	}
	return false;
}

static uint64_t left_to_do(const struct stretches *s, uint64_t done)
{
	uint64_t low = done & UINT32_MAX, high = done >> 32, left = 0;

	if (high < s->high)
		left += s->high - high;
	if (low < s->low && low + high < s->n)
		left += (s->low < s->n - high ? s->low : s->n - high) - low;
	return left * SKV_HUGE_BYTES;
}

void skv_huge_collapse(struct skv_map *map, uint64_t budget_ns, uint64_t *ret_left)
{
	uint64_t *shared = &skv_super(map)->huge_done;
	uint64_t start = skv_clock_ns(), done, next, stretch;
	struct stretches s = stretches_of(map);
	bool in_time = budget_ns > 0;
	int r;

	*ret_left = 0;
	if (!may_be_huge(map))
		return;
	done = skv_load_relaxed(shared);
	/* One at least, however long others had our processor; so the calls get there in the end.
	 * Ends: every turn moves the count, by us or by somebody else. */
	while (in_time && next_stretch(&s, done, &stretch, &next)) {
		r = skv_region_collapse(&map->region, stretch_off(map, stretch));
		SKV_FAULT(HUGE_TRIED);
		if (r < 0)
			break;
		if (skv_cas(shared, done, next))
			done = next;
		else
			done = skv_load_relaxed(shared);
		in_time = skv_clock_ns() - start < budget_ns;
	}
	*ret_left = left_to_do(&s, done);
}

/* What is huge shows in a mapping only after it was used through it. */
static void touch(const struct skv_map *map, uint64_t stretch)
{
	(void)skv_load_relaxed((const uint64_t *)(const void *)(map->region.base +
							       stretch_off(map, stretch)));
}

void skv_huge_info(struct skv_map *map, struct shmkv_huge *info)
{
	struct stretches s = stretches_of(map);
	bool at_once;
	uint64_t i;

	if (may_be_huge(map)) {
		for (i = 0; i < s.low; i++)
			touch(map, i);
		for (i = 0; i < s.high; i++)
			touch(map, s.n - 1 - i);
		info->full_bytes = (s.low + s.high) * SKV_HUGE_BYTES;
	}
	info->policy = map->region.geo.huge;
	info->file_bytes = skv_region_file_bytes(&map->region);
	skv_region_huge_setting(&map->region, &info->page_bytes, info->kernel, info->mount);
	skv_region_huge_obtained(&map->region, &info->huge_bytes, &at_once);
	info->at_once = at_once;
}

/* SPDX-License-Identifier: MIT */
#include "shm/batch.h"

#include "shm/class.h"

/*
 * An operation on one key loads a directory cell, then the line of slots that the cell leads
 * to, then the record that a slot names: each address is known only when the load before has
 * come back. In a group the loads of one kind do not depend on each other:
 *
 *     all keys     hash, prefetch the directory cell
 *     all keys     load the cell, prefetch the home line in the leaf
 *     all keys     load the line, prefetch the record that a slot seems to name
 *     one by one   the ordinary operation, which finds everything in the cache
 *
 * Trust. A leaf number is checked by the route before its line is loaded, as always. Of the
 * offset in a slot nothing is known but that it lies in the segment: it is used for
 * prefetching alone, and a prefetch neither faults nor changes anything. A slot that moved
 * meanwhile, a key in a later line, a leaf that is replaced: all of that costs the one key its
 * cache misses and nothing else. Hence no ordering is asked for, and nothing here outlives a
 * death. The route is kept for the operation, whose guard covers the time since it was taken.
 *
 * Writes also bring in, for writing, the free blocks of the private cache that the new records
 * will come from: one for each key that seems to be absent, in the order in which they are
 * taken. A key that is present gives its old block back, which is used for the next one.
 */

#define LINE 64u
/* Of a record at most so much: what lies behind comes by itself, as a sequential stream. */
#define RECORD_MAX 256u

/* What is known of a key on the way. */
struct look {
	const struct skv_cell *line; /* NULL: nothing to be known */
	uint64_t record_bytes;       /* worth fetching */
	bool found;                  /* a slot seems to be that of the key */
};

static void fetch(const uint8_t *from, uint64_t len, bool for_write)
{
	uint64_t i, first = (uintptr_t)from % LINE;

	for (i = 0; i < first + len; i += LINE) {
		if (for_write)
			__builtin_prefetch(from - first + i, 1);
		else
			__builtin_prefetch(from - first + i, 0);
	}
}

/* Where the route of a place will begin. A wrong guess costs the one key its miss. */
static void fetch_cell(const struct skv_map *map, struct skv_place place)
{
	uint64_t root = skv_load_relaxed(&skv_super(map)->root);
	uint32_t level = (uint32_t)(root & 0xff) + (skv_place_prefix(place) < root >> 8);

	if (level <= map->region.geo.level_max)
		__builtin_prefetch(skv_dir_cell(map, level, skv_place_index(place, level)), 0);
}

static void fetch_line(const struct skv_map *map, bool for_write, struct skv_aim *aim,
		       struct look *look)
{
	uint32_t slot = skv_place_home(aim->place) * SKV_LINE_SLOTS;

	look->line = NULL;
	aim->route.cell = NULL;
	if (skv_directory_route(map, aim->place, &aim->route) < 0) {
		aim->route.cell = NULL;
		return;
	}
	look->line = &skv_leaf_at(map, aim->route.leaf)->slots[slot];
	fetch((const uint8_t *)look->line, LINE, for_write);
}

static void fetch_record(const struct skv_map *map, struct skv_place place, bool for_write,
			 struct look *look)
{
	uint64_t w, off;
	uint32_t i;

	look->found = false;
	for (i = 0; look->line && i < SKV_LINE_SLOTS; i++) {
		w = skv_load_relaxed(&look->line[i].w);
		if (skv_slot_state(w) == SKV_SLOT_EMPTY)
			return;
		if (skv_slot_state(w) != SKV_SLOT_LIVE || !skv_slot_may_match(w, place))
			continue;
		look->found = true;
		off = skv_slot_off(w);
		if (off < map->region.geo.chunk_off || off >= map->region.geo.segment_bytes)
			return;
		fetch(map->region.base + off, look->record_bytes, for_write);
		/* Whoever frees the old record looks up what its chunk is. */
		if (for_write)
			__builtin_prefetch(skv_chunk_cell(map, (off - map->region.geo.chunk_off) /
								       SKV_CHUNK_BYTES),
					   0);
		return;
	}
}

static uint64_t worth(uint64_t bytes)
{
	return bytes < RECORD_MAX ? bytes : RECORD_MAX;
}

void skv_batch_warm_gets(const struct skv_map *map, const struct skv_read_op *ops, size_t n,
			 struct skv_aim *ret_aims)
{
	struct look looks[SKV_GROUP_MAX];
	size_t i;

	for (i = 0; i < n; i++) {
		ret_aims[i].place = skv_index_place_of(map, &ops[i].key);
		fetch_cell(map, ret_aims[i].place);
	}
	for (i = 0; i < n; i++)
		fetch_line(map, false, &ret_aims[i], &looks[i]);
	for (i = 0; i < n; i++) {
		/* A buffer is about as large as the value that the caller expects. */
		looks[i].record_bytes =
			worth(skv_record_bytes(ops[i].key.len, worth(ops[i].sink.cap)));
		fetch_record(map, ret_aims[i].place, false, &looks[i]);
	}
}

/* The block that the @nth allocation of a class from now on will take. */
static void fetch_free(const struct skv_writer *writer, uint32_t class, uint32_t nth,
		       uint64_t bytes)
{
	const struct skv_cache *cache = &writer->cache[class];

	if (nth < cache->n)
		fetch(writer->map->region.base + cache->item[cache->n - 1 - nth].off, bytes, true);
}

void skv_batch_warm_writes(const struct skv_writer *writer, const struct skv_write_op *ops,
			   size_t n, struct skv_aim *ret_aims)
{
	const struct skv_map *map = writer->map;
	struct look looks[SKV_GROUP_MAX];
	uint8_t n_taken[SKV_CLASSES_MAX] = { 0 };
	uint64_t bytes;
	uint32_t class;
	size_t i;

	for (i = 0; i < n; i++) {
		ret_aims[i].place = skv_index_place_of(map, &ops[i].key);
		fetch_cell(map, ret_aims[i].place);
	}
	for (i = 0; i < n; i++)
		fetch_line(map, true, &ret_aims[i], &looks[i]);
	for (i = 0; i < n; i++) {
		/* Of the old record the state word, the lengths and the key. */
		looks[i].record_bytes = worth(SKV_RECORD_HEADER + ops[i].key.len);
		fetch_record(map, ret_aims[i].place, true, &looks[i]);

		bytes = skv_record_bytes(ops[i].key.len, ops[i].value.head_len + ops[i].value.len);
		if (bytes > SKV_CLASS_BYTES_MAX)
			continue;
		class = skv_class_of(bytes);
		/* The first one is needed in any case. */
		if (!looks[i].found || n_taken[class] == 0)
			fetch_free(writer, class, n_taken[class]++, worth(bytes));
	}
}

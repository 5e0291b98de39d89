/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_MAP_H
#define SKV_SHM_MAP_H

/*
 * map: one process's private view of one attached segment.
 *
 * Holds what is read on every operation in private memory: base, geometry, hash key. The
 * tables are reached through the functions below; each takes a number that the caller has
 * checked against the geometry.
 */

#include "base/hash.h"
#include "shm/cell.h"
#include "shm/peer.h"
#include "shm/region.h"

#include <shmkv/inspect.h>

struct skv_reader;
struct skv_writer;

struct skv_map {
	struct skv_region region;
	struct skv_peer peer; /* read-write only */
	bool joined;
	struct skv_hash_key hash;
	uint64_t serial;            /* tells handles of one process apart, never reused */
	uint64_t chunks_seen;       /* chunks_ready as some thread has read it */
	uint64_t cancel;            /* generation << 1 | waits are cancelled: see wait.c */
	bool owes;                  /* a dead context came to us that could not be recovered */
	struct skv_writer *writers; /* all of this handle, pushed at the head */
	struct skv_reader *readers; /* likewise: threads that count without a context */
	struct shmkv_recovery at_join; /* what attaching recovered, until somebody asks */
};

static inline struct skv_superblock *skv_super(const struct skv_map *map)
{
	return skv_region_super(&map->region);
}

static inline uint32_t *skv_wait_words(const struct skv_map *map)
{
	return (uint32_t *)(void *)(map->region.base + map->region.geo.wait_off);
}

static inline struct skv_context *skv_context_at(const struct skv_map *map, uint32_t idx)
{
	return (struct skv_context *)(void *)(map->region.base + map->region.geo.context_off) + idx;
}

static inline struct skv_class_hints *skv_class_at(const struct skv_map *map, uint32_t class)
{
	return (struct skv_class_hints *)(void *)(map->region.base + map->region.geo.class_off) +
	       class;
}

static inline struct skv_cell *skv_dir_cell(const struct skv_map *map, uint32_t level, uint32_t idx)
{
	return (struct skv_cell *)(void *)(map->region.base + map->region.geo.dir_off) +
	       ((1ull << level) - 1) + idx;
}

static inline struct skv_cell *skv_chunk_cell(const struct skv_map *map, uint64_t chunk)
{
	return (struct skv_cell *)(void *)(map->region.base + map->region.geo.cell_off) + chunk;
}

static inline struct skv_bitmap *skv_chunk_bitmap(const struct skv_map *map, uint64_t chunk)
{
	return (struct skv_bitmap *)(void *)(map->region.base + map->region.geo.bitmap_off) + chunk;
}

static inline uint64_t *skv_chunk_summary(const struct skv_map *map, uint64_t chunk)
{
	return (uint64_t *)(void *)(map->region.base + map->region.geo.summary_off) + chunk / 64;
}

static inline uint64_t skv_chunk_off(const struct skv_map *map, uint64_t chunk)
{
	return map->region.geo.chunk_off + chunk * SKV_CHUNK_BYTES;
}

/*
 * Chunks that may be touched: [0, low) and [high, n_chunks). Leaves, which stay leaves for
 * ever, are taken from the bottom, records from the top, so that no leaf ever stands in the
 * way of a large record. The shared number is input and is bounded here.
 */
struct skv_ready {
	uint64_t low, high;
};

static inline struct skv_ready skv_ready_of(const struct skv_map *map, uint64_t word)
{
	uint64_t n = map->region.geo.n_chunks, low = word & 0xffffffffu, top = word >> 32;
	struct skv_ready ready = { low, n - top };

	if (__builtin_expect(low + top > n, 0)) {
		ready.low = 0;
		ready.high = n;
	}
	return ready;
}

static inline struct skv_ready skv_chunks_ready(const struct skv_map *map)
{
	return skv_ready_of(map, skv_load_acquire(&skv_super(map)->chunks_ready));
}

/* Looks at the shared word only when the answer is not known already; it only grows. */
static inline bool skv_chunk_is_ready(const struct skv_map *map, uint64_t chunk)
{
	uint64_t *seen = (uint64_t *)(uintptr_t)&map->chunks_seen;
	struct skv_ready ready = skv_ready_of(map, skv_load_relaxed(seen));
	uint64_t word;

	if (__builtin_expect(chunk >= ready.low && chunk < ready.high, 0)) {
		word = skv_load_acquire(&skv_super(map)->chunks_ready);
		/* Another thread may store an older word; we decide by what we have read. */
		skv_store_relaxed(seen, word);
		ready = skv_ready_of(map, word);
	}
	return chunk < ready.low || (chunk >= ready.high && chunk < map->region.geo.n_chunks);
}

/* Are all chunks of a stretch there, at one end? */
static inline bool skv_chunks_are_ready(const struct skv_map *map, uint64_t first, uint64_t n)
{
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t end = first < ready.low ? ready.low :
		       first >= ready.high ? map->region.geo.n_chunks :
					     first;

	/* When the two ends have met they are one. */
	if (ready.low == ready.high)
		end = map->region.geo.n_chunks;
	return first < end && n <= end - first;
}

static inline bool skv_leaf_is_ready(const struct skv_map *map, uint64_t leaf)
{
	return skv_chunk_is_ready(map, leaf / SKV_LEAVES_PER_CHUNK);
}

/* Every chunk that may be touched; @ready is read once, before. */
#define SKV_FOR_EACH_CHUNK(map, ready, i)                                                        \
	for ((i) = (ready).low ? 0 : (ready).high; (i) < (map)->region.geo.n_chunks;              \
	     (i) = (i) + 1 == (ready).low ? (ready).high : (i) + 1)

static inline uint32_t skv_contexts_ready(const struct skv_map *map)
{
	uint64_t n = skv_load_acquire(&skv_super(map)->contexts_ready);

	return (uint32_t)(n < map->region.geo.n_contexts ? n : map->region.geo.n_contexts);
}

static inline struct skv_leaf *skv_leaf_at(const struct skv_map *map, uint64_t leaf)
{
	return (struct skv_leaf *)(void *)(map->region.base + map->region.geo.chunk_off +
					   leaf * SKV_LEAF_BYTES);
}

static inline struct skv_record *skv_record_at(const struct skv_map *map, uint64_t off)
{
	return (struct skv_record *)(void *)(map->region.base + off);
}

/* ---- records ---------------------------------------------------------------------- */

static inline uint64_t skv_record_key_len(uint64_t lens)
{
	return lens & SKV_RECORD_KEY_MASK;
}

static inline uint64_t skv_record_value_len(uint64_t lens)
{
	return (lens >> SKV_RECORD_VALUE_SHIFT) & SKV_RECORD_VALUE_MASK;
}

static inline uint64_t skv_record_value_off(uint64_t key_len)
{
	return SKV_RECORD_HEADER + ((key_len + 7) & ~7ull);
}

/* Bytes of a whole record. */
static inline uint64_t skv_record_bytes(uint64_t key_len, uint64_t value_len)
{
	return skv_record_value_off(key_len) + value_len;
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_CHUNK_H
#define SKV_SHM_CHUNK_H

/*
 * chunk: who uses which 16 KiB of the segment.
 *
 * Protocol: see chunk.c.
 */

#include "shm/map.h"
#include "shm/writer.h"

static inline uint32_t skv_chunk_state(uint64_t w)
{
	return (uint32_t)(w & SKV_CHUNK_STATE_MASK);
}

static inline uint32_t skv_chunk_class(uint64_t w)
{
	return (uint32_t)(w >> SKV_CHUNK_CLASS_SHIFT) & 0xff;
}

static inline uint32_t skv_chunk_context(uint64_t w)
{
	return (uint32_t)(w >> SKV_CHUNK_CONTEXT_SHIFT) & 0xfff;
}

static inline uint64_t skv_chunk_arg(uint64_t w)
{
	return w >> SKV_CHUNK_ARG_SHIFT;
}

static inline uint64_t skv_chunk_word(uint32_t state, uint32_t class, uint32_t context, uint64_t arg)
{
	return state | ((uint64_t)class << SKV_CHUNK_CLASS_SHIFT) |
	       ((uint64_t)context << SKV_CHUNK_CONTEXT_SHIFT) | (arg << SKV_CHUNK_ARG_SHIFT);
}

/*
 * What keys the FREE words of a span: the number that its head keeps since its birth, and
 * which chunk that head is. Chunks next to each other have the same versions, and a block of a
 * wide slab may later be one of a narrow slab on a chunk that was a body before.
 */
static inline uint64_t skv_chunk_generation(uint64_t head, uint64_t birth)
{
	return birth ^ head * 0x9e3779b97f4a7c15ull;
}

/* Where whatever lies in a chunk begins, as its cell says; the chunk is ready, and so is that. */
static inline uint64_t skv_chunk_head(const struct skv_map *map, uint64_t chunk)
{
	uint64_t w = skv_cell_read(skv_chunk_cell(map, chunk)).w;

	if (skv_chunk_state(w) != SKV_CHUNK_BODY || !skv_chunk_is_ready(map, skv_chunk_arg(w)))
		return chunk;
	return skv_chunk_arg(w);
}

/* The two ends that chunks are taken from: see struct skv_ready. */
enum skv_end {
	SKV_END_LEAVES = 0,  /* the bottom */
	SKV_END_RECORDS = 1, /* the top */
};

/*
 * skv_chunk_grow - take @n or more chunks from the system; -ENOSPC at either limit
 *
 * Others may use them first: look again.
 */
int skv_chunk_grow(struct skv_map *map, uint64_t n, enum skv_end end);

/*
 * skv_chunk_claim - own @n neighbouring chunks for as long as it takes to give them a use
 * @end: where to look first
 * @thorough: look at every chunk before saying no, not only at the hints
 * @ret_first: their first; all CLAIMED by this context and named by its chunk intent
 *
 * End with one of the publish functions or skv_chunk_unclaim. Returns 0 or -ENOSPC.
 */
int skv_chunk_claim(struct skv_writer *writer, uint64_t n, enum skv_end end, bool thorough,
		    uint64_t *ret_first);
void skv_chunk_unclaim(struct skv_writer *writer, uint64_t first, uint64_t n);

/* Turn claimed chunks into a slab: FREE words, bodies, head last. Returns its generation. */
uint64_t skv_chunk_publish_slab(struct skv_writer *writer, uint64_t first, uint32_t class);

/* Turn claimed chunks into a run; the state word of its record is ALLOC already. */
void skv_chunk_publish_run(struct skv_writer *writer, uint64_t first, uint64_t n);

/* Turn one claimed chunk into free leaves. */
void skv_chunk_publish_leaves(struct skv_writer *writer, uint64_t chunk);

/*
 * skv_chunk_return_run - give back the chunks of a run whose record is FREE
 * @seen: the RUN cell of @head
 *
 * Resumable by anybody; leaves the head to whoever announces it (skv_arena_withdraw).
 */
void skv_chunk_return_run(struct skv_writer *writer, uint64_t head, struct skv_cell seen);

/* Chunks of the first leaves and of the reserve for compaction; they are never given back. */
uint64_t skv_chunk_first_leaves(const struct skv_map *map);

/* The most chunks that one run can have: what an empty map of this geometry has to give. */
uint64_t skv_chunk_run_max(const struct skv_map *map);

/* Announce a stretch in the context's chunk intent, and take the announcement back. */
void skv_chunk_intend(struct skv_writer *writer, uint64_t first, uint64_t n);
void skv_chunk_done(struct skv_writer *writer);

/* Give back the chunks of a slab whose blocks are all BUSY; bodies first, head last. @seen:
 * the DISMANTLE cell of @head, which the chunk intent names. */
void skv_chunk_return_slab(struct skv_writer *writer, uint64_t head, struct skv_cell seen);

/*
 * skv_chunk_recover - undo what a dead context had claimed in a stretch
 * @context, @first, @n: its number and its chunk intent, read while it was dead
 * @still: called before each change; false means that the intent is no longer that of
 *         the dead one and nothing more may be done
 *
 * Returns how many chunks became free.
 */
uint64_t skv_chunk_recover(struct skv_writer *writer, uint32_t context, uint64_t first, uint64_t n,
			   bool (*still)(void *arg), void *arg);

#endif

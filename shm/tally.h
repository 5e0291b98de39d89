/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_TALLY_H
#define SKV_SHM_TALLY_H

/*
 * tally: what a thread has done, counted where it costs next to nothing.
 *
 * A thread that owns a context counts in it: a load, an addition and a store on a line that
 * nobody else writes. A thread that only reads takes no context for it. It counts in private
 * memory of its handle, and so does everybody on a read-only handle; what the threads of a
 * read-write handle counted there goes into the segment when the handle is detached.
 *
 * Numbers are relaxed words and never go back. A process that dies inside a call takes at
 * most that call's counts with it, and those of its threads without a context.
 */

#include "shm/writer.h"

#include <errno.h>

/* A thread without a context, and the numbers that only its handle knows. */
struct skv_reader {
	struct skv_tally tally;
	uint64_t taken; /* serial of the map while a thread has it, else 0 */
	struct skv_reader *next;
};

/* Upper bounds of the buckets; the last one has none. Values: 8 << bucket bytes. */
#define SKV_LINES_BOUNDS { 1, 2, 3, 4, 6, 8, 16, UINT64_MAX }
#define SKV_AGAIN_BOUNDS { 1, 3, 7, 15, 63, UINT64_MAX }
#define SKV_SIZES_FIRST 8u

/* The calling thread's tally when it is not the remembered one; NULL: it cannot be counted. */
struct skv_tally *skv_tally_find(struct skv_map *map);

uint32_t skv_tally_lines_far(uint32_t distance);
void skv_tally_again(struct skv_tally *tally, uint32_t tries);

static inline void skv_tally_bump(uint64_t *counter)
{
	skv_store_relaxed(counter, skv_load_relaxed(counter) + 1);
}

/* The bucket of a search that ended @distance lines from where it began. */
static inline uint32_t skv_tally_lines(uint32_t distance)
{
	return distance < 4 ? distance : skv_tally_lines_far(distance);
}

static inline uint32_t skv_tally_size(uint64_t bytes)
{
	uint32_t bucket = bytes <= SKV_SIZES_FIRST ?
				  0 :
				  64 - (uint32_t)__builtin_clzll((bytes - 1) / SKV_SIZES_FIRST);

	return bucket < SKV_TALLY_SIZES ? bucket : SKV_TALLY_SIZES - 1;
}

/* A look-up that is over: @found or not, after @tries attempts that counted for nothing. */
static inline void skv_tally_lookup(const struct skv_map *map, bool found, uint32_t distance,
				    uint32_t tries)
{
	struct skv_thread_slot *slot = &skv_thread_slots[map->serial % SKV_THREAD_SLOTS];
	struct skv_tally *tally = slot->tally;
	uint32_t bucket = skv_tally_lines(distance);

	if (__builtin_expect(slot->serial != map->serial, 0)) {
		/* The lists of a map are changed through a map that is const to look-ups. */
		tally = skv_tally_find((struct skv_map *)(uintptr_t)map);
		if (!tally)
			return;
	}
	skv_tally_bump(found ? &tally->hit_lines[bucket] : &tally->miss_lines[bucket]);
	if (__builtin_expect(tries > 0, 0)) {
		skv_store_relaxed(&tally->read_retries,
				  skv_load_relaxed(&tally->read_retries) + tries);
		skv_tally_again(tally, tries);
	}
}

/* A change of a key that was committed; @value_bytes 0: no value was stored. */
static inline void skv_tally_change(struct skv_writer *writer, uint32_t distance,
				    uint64_t value_bytes)
{
	struct skv_tally *tally = &writer->ctx->tally;

	skv_tally_bump(&tally->write_lines[skv_tally_lines(distance)]);
	if (value_bytes > 0)
		skv_tally_bump(&tally->value_bytes[skv_tally_size(value_bytes)]);
}

void skv_tally_outcome(struct skv_tally *tally, int r);

/* A writing call that is over, with its answer. */
static inline void skv_tally_call(struct skv_writer *writer, enum skv_call call, int r)
{
	struct skv_tally *tally = &writer->ctx->tally;

	skv_tally_bump(&tally->calls[call]);
	if (r < 0)
		skv_tally_outcome(tally, r);
}

/* Adds the words of a tally that others may be writing to private ones. */
void skv_tally_sum(struct skv_tally *sum, const struct skv_tally *tally);

/* Calls that a tally has seen, reading and writing. */
uint64_t skv_tally_calls(const struct skv_tally *tally);

/*
 * skv_tally_publish - what threads without a context counted, into a context of the handle
 *
 * For a handle that is being detached: nobody uses it any more.
 */
void skv_tally_publish(struct skv_map *map);

/* The private memory of a handle that is gone, for other handles of this process. */
void skv_tally_release_all(struct skv_map *map);

#endif

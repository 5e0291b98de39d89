/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_ARENA_H
#define SKV_SHM_ARENA_H

/*
 * arena: memory for records, in classes up to 32 KiB and in runs of chunks above.
 *
 * Protocol: see arena.c; state words: see block.c; chunks: see chunk.c.
 */

#include "shm/block.h"

/*
 * skv_arena_alloc - own a block for a record of @bytes
 * @ret_off: its offset
 * @ret_stamp: the life it begins, fresh
 *
 * The block is ALLOC and named by the context's "new" intent, phase 0: if the thread dies
 * before it says otherwise, the block is free again without a look-up. Returns 0, -ENOSPC,
 * -EFBIG (more than the segment can ever hold).
 */
int skv_arena_alloc(struct skv_writer *writer, uint64_t bytes, uint64_t *ret_off,
		    uint64_t *ret_stamp);

/* Could an empty segment hold a record of so many bytes? */
bool skv_arena_fits(const struct skv_map *map, uint64_t bytes);

/* The bytes that a record of this many really takes. */
uint64_t skv_arena_round(uint64_t bytes);

/* Remember that a block of a slab was freed: a hint, never the truth. */
void skv_arena_hint_free(struct skv_writer *writer, const struct skv_span *span, uint64_t off);

/*
 * Hints for things of a class by chunk: block @idx of the span that begins at @head. Class 0
 * are leaves. skv_arena_hint_take moves up to 64 hints into the writer's cache and tells
 * whether there were any.
 */
void skv_arena_hint_set(struct skv_map *map, uint32_t class, uint64_t head, uint32_t idx);
bool skv_arena_hint_take(struct skv_writer *writer, uint32_t class);

/*
 * skv_arena_hints_lost - somebody died, and the private caches with it
 *
 * From now on whoever finds no hint looks at the state words of a few chunks of its class
 * before it takes a new chunk, until all have been looked at once.
 */
void skv_arena_hints_lost(struct skv_map *map);

/* Make everything in the private caches visible to others, before the writer goes. */
void skv_arena_flush(struct skv_writer *writer);

/* Empty slabs of any class and unfinished runs back to chunks; returns how many spans. */
uint64_t skv_arena_collect(struct skv_writer *writer);

/*
 * skv_arena_was_exhausted - has a whole search of the class failed, and nothing been freed since?
 * @ret_n_freed: for skv_arena_note_exhausted, after the next whole search has failed
 *
 * Raises low_memory: from then on frees are counted and made visible.
 */
bool skv_arena_was_exhausted(struct skv_map *map, uint32_t class, uint64_t *ret_n_freed);
void skv_arena_note_exhausted(struct skv_map *map, uint32_t class, uint64_t n_freed);

/* An empty slab back to chunks; false when it is not empty, or somebody announces a block. */
bool skv_arena_dismantle(struct skv_writer *writer, uint64_t head, struct skv_cell seen);

/* Undo what a dead context began: its slab in DISMANTLE becomes a SLAB again. */
bool skv_arena_undismantle(struct skv_writer *writer, uint64_t head, struct skv_cell seen);

/* Give a run whose record is FREE its chunks back, if that was left unfinished. */
bool skv_arena_finish_run(struct skv_writer *writer, uint64_t head);

/*
 * skv_arena_withdraw - take back the announcement of a block that was not ours to free
 * @word: of our own context; @off: what it announces
 *
 * Whoever frees a large record leaves its first chunk standing while somebody announces it;
 * the last one who does gives it back here.
 */
void skv_arena_withdraw(struct skv_writer *writer, uint64_t *word, uint64_t off);

/* The second half of it, after the word was cleared otherwise. */
void skv_arena_withdrawn(struct skv_writer *writer, uint64_t off);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_RESERVE_H
#define SKV_SHM_RESERVE_H

/*
 * reserve: records that are written in place before anybody sees them.
 *
 * Protocol, states and crash table: see reserve.c.
 */

#include "shm/index.h"

/*
 * skv_reserve_take - a record of the key, private, with room for a value
 * @value: its head is written, its data is not looked at
 * @ret_hold: data and len of the value; token is the life of the block; the rest is for the
 *            calls below
 *
 * Returns 0, -EMLINK (every entry of this thread is taken), and what skv_arena_alloc may.
 */
int skv_reserve_take(struct skv_writer *writer, const struct skv_key *key,
		     const struct skv_bytes *value, struct skv_hold *ret_hold);

/* The key that stands in a reserved record. -EBADF: it was ended. */
int skv_reserve_key(const struct skv_map *map, const struct skv_hold *hold,
		    struct skv_key *ret_key);

/*
 * skv_reserve_commit - link it
 * @writer: of the calling thread, which may be another than the one that reserved
 * @mode, @token: as in skv_index_write
 * @value: the head to be written, and how long the payload is
 *
 * Returns 0, -EBADF, or what skv_index_write may; then it is still reserved.
 */
int skv_reserve_commit(struct skv_writer *writer, const struct skv_hold *hold,
		       enum skv_write_mode mode, uint64_t token, const struct skv_bytes *value,
		       const struct skv_lifetime *life, uint64_t *ret_token);

/* Free it. Returns 0 or -EBADF. */
int skv_reserve_abort(struct skv_writer *writer, const struct skv_hold *hold);

/* Free every reservation of the writer's own context, at the end of a handle. */
void skv_reserve_abort_all(struct skv_writer *writer);

/* How many entries of a context are in use. */
uint32_t skv_reserve_count(const struct skv_map *map, uint32_t context);

/* What entry @idx of a context names; 0 for nothing. */
uint64_t skv_reserve_entry(const struct skv_context *ctx, uint32_t idx, uint64_t *ret_stamp);

/* Does an entry of this context name the block, in whatever life? */
bool skv_reserve_mentions(const struct skv_context *ctx, uint64_t off);

/* The same in this life. */
bool skv_reserve_names(const struct skv_context *ctx, uint64_t off, uint64_t stamp);

#endif

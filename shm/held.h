/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_HELD_H
#define SKV_SHM_HELD_H

/*
 * held: spans of chunks that nobody can empty now, because somebody holds a block in them.
 *
 * A private list, read from the contexts once for each choice of a stretch. It is a hint: what is
 * announced from then on is found by whoever takes a span apart (RULE H in block.c).
 */

#include "shm/writer.h"

/* Spans that one list names. Of more the rest is met by trying. */
#define SKV_HELD_MAX 1024u

struct skv_held {
	uint32_t n;
	bool in_flight;              /* some are held by nothing but an operation that is going on */
	uint32_t head[SKV_HELD_MAX]; /* chunk numbers, in order */
};

/*
 * skv_held_gather - what views and reservations of all threads hold, our own included
 * @in_flight: also what the operations of others announce
 */
void skv_held_gather(const struct skv_writer *writer, bool in_flight, struct skv_held *ret_held);

/* One more: the span that the block at @off lies in; any offset may be given. */
void skv_held_add(const struct skv_map *map, struct skv_held *held, uint64_t off);

/* Is the span that begins at chunk @head one of them? */
bool skv_held_has(const struct skv_held *held, uint64_t head);

#endif

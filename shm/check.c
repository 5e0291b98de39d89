/* SPDX-License-Identifier: MIT */
#include "shm/check.h"

#include "shm/check-walk.h"
#include "shm/inspect.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Purpose. Walks a segment, live or quiet, and names every invariant that does not hold.
 *
 *  C1   every prefix is governed by one leaf: the first level and whatever lies below SPLIT is
 *       never NONE, and nothing below the last level
 *  C2   the leaf that governs a prefix is LIVE or FORWARD and was built for that prefix
 *  C3   a slot has a state, its key belongs to the leaf's prefix, and only the slots of a leaf
 *       that is being replaced are frozen
 *  C4   a LIVE slot names the start of an allocated block, and the record fits it
 *  C5   the key in the record has the place that the slot says, and a look-up of it ends at
 *       this slot: no key stands twice, no EMPTY slot precedes it
 *  C6   the state word of a block is FREE with the word of its slab's life, ALLOC with a stamp
 *       that was given out, RETIRED, or, while its slab is taken apart, BUSY
 *  C7   a retired block is not linked
 *  C8   a span is whole: its bodies name their head, and the head covers them
 *  C9   a leaf has a state; one that is LIVE governs its prefix, or its parent is still FORWARD
 *  C10  a chunk has a state
 *  C11  a process slot has a state, and a context belongs to a slot that is taken
 *  C12  the watermarks of the superblock lie within the geometry
 *  C13  a slot that EXPIRES names a record with a deadline that may have been given to it, and the
 *       superblock says that there are such; whether it has come is no question here
 *
 * and what is no contradiction but lost until somebody gives it back (leaks):
 *
 *  L1   an allocated block is linked, announced, pinned or reserved
 *  L2   a leaf that is CLAIMED or FORWARD is announced by who claimed or replaces it
 *  L3   a chunk that is CLAIMED or in DISMANTLE is announced by who claimed it, and a run whose
 *       record is free is on its way to be given back
 *
 * A leak that a dead process announces is its estate: counted apart, the next recovery gives it
 * back. One that nobody announces should not exist at all, but for a free run whose recoverer
 * died in its last step (REAP_FREED, RUN_HEAD_LEFT, PIN_CLEARED): any search for memory and any
 * sweep gives it back, and it is counted apart, too.
 *
 * While others write. Each of C1 to C13 holds at every instant, not only at rest. What is read
 * one word after the other is no instant; but cells and slots carry versions that never
 * repeat. So whatever looks wrong is confirmed: the versions of the words it follows from are
 * read again after everything else, and if they have not moved, all of it was so at one moment,
 * and it is a violation. If one has moved, the look is repeated; after SKV_CHECK_TRIES of them
 * it counts as undecided, which is not a violation and not its absence. States that never
 * go back (SPLIT, and NONE to anything) need no second look.
 *
 * Leaks are decided by who announces. An announcement stands from before the thing is taken
 * until after it is linked, finished or free again. Words that are read one after the other
 * could miss it only while the block passes from one announcement to a link (L1: then linked,
 * later announced by whoever unlinks it). That happens once in a block's life, so the same look
 * in the same life, done twice, cannot miss twice: at the second look either it is linked, or
 * whoever unlinked it announces it until it is free. A retired block may also pass from one pin
 * to that of somebody who is just noticing that he came too late (pin.c); each of these costs a
 * look, so it gets more of them.
 *
 * The claims of L2 and L3 are each announced in one context, which they name, and the claim's own
 * version is confirmed after the look. One step has no announcement: who withdraws the
 * announcement of a large record, or lets go of one, looks afterwards whether the record is to
 * be given back (arena.c, PIN_CLEARED). Therefore a run with a free record is a leak only if
 * nobody is inside a call; else it is undecided.
 *
 * The check writes nothing, announces nothing and takes no context, so it can disturb nobody and
 * works read-only. It reads memory that others recycle, and checks everything before it is used.
 */

void skv_check_violated(struct skv_check_walk *walk, unsigned int number, const char *format, ...)
{
	char text[256];
	va_list args;
	int n;

	walk->audit->violations++;
	walk->audit->violated |= 1u << number;
	if (!walk->watch->violation)
		return;
	n = snprintf(text, sizeof(text), "C%u: ", number);
	va_start(args, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	va_end(args);
	walk->watch->violation(text, walk->watch->arg);
}

void skv_check_progress(struct skv_check_walk *walk, uint64_t done)
{
	walk->done = done;
	if (walk->watch->progress)
		walk->watch->progress(done, walk->total, walk->watch->arg);
}

int skv_check(struct skv_map *map, const struct shmkv_watch *watch, struct shmkv_audit *audit)
{
	struct skv_check_walk walk = { .map = map, .watch = watch, .audit = audit };

	walk.ready = skv_chunks_ready(map);
	/* Half of it for the index, half for the chunks. */
	walk.total = 2 * (walk.ready.low + map->region.geo.n_chunks - walk.ready.high);
	if (walk.total == 0)
		walk.total = 2; /* damaged: no chunk is said to be there */
	walk.linked = calloc((uint64_t)map->region.geo.n_chunks * 8 + 1, sizeof(*walk.linked));
	if (!walk.linked)
		return -ENOMEM;
	skv_check_tables(&walk);
	skv_check_index(&walk);
	skv_check_memory(&walk);
	skv_check_progress(&walk, walk.total);
	free(walk.linked);
	audit->count = skv_inspect_count(map);
	return audit->violations || audit->leaked_blocks || audit->leaked_leaves ||
			       audit->leaked_chunks ?
		       -EBADMSG :
		       0;
}

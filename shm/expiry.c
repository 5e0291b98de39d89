/* SPDX-License-Identifier: MIT */
#include "shm/expiry.h"

#include "base/fault.h"
#include "shm/index.h"

#include <errno.h>

/*
 * Purpose. A record says in its second word at which millisecond of the boot clock its key
 * ends, and its slot says with one bit that it does. Who reads a key whose slot has the bit
 * looks at the clock and takes an expired record for none; nobody has to have removed it.
 *
 *     slot (v, A, EXPIRES) ──► record A { hw, expiry = deadline, lens, key, value }
 *
 * States. LIVE and not expired -> LIVE and expired, by the clock alone, once: deadlines change
 * only with a touch, and a touch refuses what has expired. Expired -> DEAD by a sweep, or
 * LIVE with another record by whoever stores the key.
 *
 * Who looks where.
 *  get, exists, scan, view    the clock, the deadline, then the slot unchanged
 *  add, replace, cas, incr..  the same; one that found the key alive looks at the clock again
 *                             after the guard, one that found it expired need not
 *  put                        does not care
 *  settle, reaper, sweeper    not at all: "is it linked?" (skv_index_links) has nothing to do
 *  of blocks                  with time. A writer may die after its commit, and its record
 *                             expire before the reaper comes: it is linked all the same, and
 *                             freeing it would give its block to two keys.
 *  leaf replacement           not at all: helpers that look at different clocks would build
 *                             different leaves. The bit is carried along.
 *
 * Condition and clock are not one moment. An operation that looked before the deadline may
 * commit after it: it counts as begun in time.
 *
 * Sweeping. Expired keys are removed by the same compare-and-swap as any other, with the
 * version of the slot in which they were found, under the guard of the cell that
 * governs them: a touch or a write in between makes it fail. The cursor in the superblock says
 * which line is next, as prefix 24 | line 8; who moves it looks at the lines passed. It is a
 * hint: lost updates, or a leaf that was split behind it, cost a later round.
 *
 *  pair                                  what it carries
 *  [write.publish] -> [slot.read]        the deadline, with the rest of the record
 *  [touch.extend] -> [slot.read]         a new deadline before the slot's next version
 *
 * Linearization. "Absent, because expired": when the deadline was read. Otherwise as in index.c.
 * Progress: readers wait-free beside what index.c says; a step is bounded.
 *
 * A process dies                                    left                         repaired by
 *  the flag is set, no key linked                   a flag                       costs looks
 *  the cursor has moved, nothing looked at          lines not looked at          the next
 *  (EXPIRE_STEP)                                                                 round
 *  inside a removal                                 as in index.c
 *
 * Cost: nothing for keys without a deadline, one clock read (some 25 ns) for the others. A
 * writer looks at STEP_LINES every STEP_CALLS calls, about one slot per write.
 */

#define STEP_CALLS 16u
#define STEP_LINES 4u

/* Far above what contention makes. */
#define RETRIES 100000u

#define LINE_BITS 8
#define LINE_MASK ((1ull << LINE_BITS) - 1)
#define PREFIX_END (1ull << SKV_PREFIX_BITS)

_Static_assert(SKV_LEAF_LINES <= LINE_MASK, "a line fits the cursor");

/* A sink wants nothing of the value. */
static size_t skip_all(const uint8_t *head, size_t head_len)
{
	(void)head;
	(void)head_len;
	return SIZE_MAX;
}

int skv_expiry_deadline(const struct skv_map *map, const struct skv_key *key,
			uint64_t *ret_deadline)
{
	struct skv_sink sink = { .skip = skip_all };
	int r = skv_index_get(map, key, SKV_PATIENCE, &sink);

	if (r < 0)
		return r;
	*ret_deadline = sink.deadline;
	return 0;
}

int skv_expiry_remaining(uint64_t deadline, uint64_t *ret_ms)
{
	uint64_t now;

	if (deadline == 0) {
		*ret_ms = SHMKV_TTL_NEVER;
		return 0;
	}
	now = skv_clock_boot_ns();
	if (deadline <= now / 1000000u)
		return -ENOENT;
	/* Whole milliseconds, rounded down: one that has begun is not left any more. */
	*ret_ms = deadline - (now + 999999u) / 1000000u;
	/* Damage, or a deadline of somebody who trusts no limits. */
	if (*ret_ms > SHMKV_TTL_MAX)
		*ret_ms = SHMKV_TTL_MAX;
	return 0;
}

uint64_t skv_expiry_step(struct skv_writer *writer, uint32_t n_lines)
{
	struct skv_map *map = writer->map;
	uint64_t *cursor = &skv_super(map)->expiry_cursor, met = 0, removed = 0, word, next;
	struct skv_place place;
	struct skv_route route;
	uint32_t line, n;

	if (!skv_load_relaxed(&skv_super(map)->expires))
		return 0;
	/* Ends: each turn passes at least one line. */
	while (n_lines > 0) {
		word = skv_load_relaxed(cursor);
		place.bits = ((word >> LINE_BITS) & (PREFIX_END - 1)) << 12;
		line = (uint32_t)(word & LINE_MASK);
		if (line >= SKV_LEAF_LINES)
			line = 0;
		if (skv_directory_route(map, place, &route) < 0)
			break;
		n = SKV_LEAF_LINES - line < n_lines ? SKV_LEAF_LINES - line : n_lines;
		if (line + n < SKV_LEAF_LINES)
			next = ((place.bits >> 12) << LINE_BITS) | (line + n);
		else
			next = ((((uint64_t)route.idx + 1) << (SKV_PREFIX_BITS - route.depth)) &
				(PREFIX_END - 1))
			       << LINE_BITS;
		n_lines -= n;
		/* Lost: somebody else looks at these lines too. It may stop, and we need memory. */
		skv_cas(cursor, word, next);
		SKV_FAULT(EXPIRE_STEP);
		skv_index_expire(writer, &route, line * SKV_LINE_SLOTS, n * SKV_LINE_SLOTS, 0,
				 &met, &removed);
	}
	return met;
}

void skv_expiry_tick(struct skv_writer *writer)
{
	/* On a line that hardly ever changes. */
	if (__builtin_expect(!skv_load_relaxed(&skv_super(writer->map)->expires), 1))
		return;
	if (++writer->n_expiry < STEP_CALLS)
		return;
	writer->n_expiry = 0;
	skv_expiry_step(writer, STEP_LINES);
}

int skv_expiry_walk(struct skv_writer *writer, uint64_t max, uint64_t *ret_removed)
{
	struct skv_map *map = writer->map;
	uint64_t prefix = 0, met = 0, removed = 0;
	struct skv_place place;
	struct skv_route route;
	uint32_t tries = 0;
	int r = 0;

	while (prefix < PREFIX_END && (max == 0 || removed < max) &&
	       skv_load_relaxed(&skv_super(map)->expires)) {
		place.bits = prefix << 12;
		r = skv_directory_route(map, place, &route);
		if (r == 0)
			r = skv_index_expire(writer, &route, 0, SKV_LEAF_SLOTS,
					     max ? max - removed : 0, &met, &removed);
		if (r == 0) {
			/* By cell, not by leaf: this key range was looked at under its own guard. */
			prefix = ((uint64_t)route.idx + 1) << (SKV_PREFIX_BITS - route.depth);
			tries = 0;
			continue;
		}
		/* The leaf was replaced: the work that others did. */
		if (r != -EAGAIN || ++tries == RETRIES)
			break;
		r = 0;
	}
	*ret_removed = removed;
	return r;
}

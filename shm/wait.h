/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_WAIT_H
#define SKV_SHM_WAIT_H

/*
 * wait: sleeping until a key, or anything, has changed.
 *
 * Whoever changes a key looks at one read-mostly word afterwards, and only if somebody waits
 * does anything more. Whoever waits compares states, never events: what counts is that the key,
 * or the sum of all changes, is not what the caller has seen. Protocol: see wait.c.
 */

#include "api/engine.h"
#include "shm/map.h"
#include "shm/place.h"
#include "shm/writer.h"

/*
 * skv_wait_key - sleep until the key is not in the state that was seen
 * @seen: a token, or 0 for absent
 * @deadline_ns: of CLOCK_MONOTONIC; UINT64_MAX for none
 * @ret_token: the state now
 *
 * Returns 0, -ETIMEDOUT, -EINTR, -ECANCELED, or what reading the key answers. Needs no
 * context. Threads: any.
 */
int skv_wait_key(struct skv_map *map, const struct skv_key *key, uint64_t seen,
		 uint64_t deadline_ns, uint64_t *ret_token);

/* The same for the sum of all changes, as skv_wait_state gives it. */
int skv_wait_any(struct skv_map *map, uint64_t seen, uint64_t deadline_ns, uint64_t *ret_state);

/*
 * skv_wait_poll_key - leave word that somebody polls, and look
 *
 * As skv_wait_key with a deadline that is over; with -ETIMEDOUT the next change rings the bell
 * (skv_region_ring). Only read-write.
 */
int skv_wait_poll_key(struct skv_map *map, const struct skv_key *key, uint64_t seen,
		      uint64_t *ret_token);
int skv_wait_poll_any(struct skv_map *map, uint64_t seen, uint64_t *ret_state);

uint64_t skv_wait_state(const struct skv_map *map);

/*
 * skv_wait_cancel - end the waits of this handle, now and until @cancelled is false again
 *
 * Async-signal-safe.
 */
void skv_wait_cancel(struct skv_map *map, bool cancelled);

/* On behalf of a dead context, which may have changed something and told nobody. */
void skv_wait_credit(struct skv_writer *writer, const struct skv_context *dead);

/* ---- for whoever changes a key ------------------------------------------------------ */

/* What skv_wait_committed does when somebody waits. */
void skv_wait_wake(struct skv_writer *writer, uint32_t gate, struct skv_place place);

/*
 * skv_wait_committed - a slot has changed: tell who waits
 *
 * After the change was counted in one of the context's words that skv_wait_state sums up, and
 * after a full fence: [commit.count], pairs with [wait.flag]. The change and its count come
 * first, then the look whether anybody waits. Before the intents are cleared.
 */
static inline void skv_wait_committed(struct skv_writer *writer, struct skv_place place)
{
	uint32_t gate = skv_load_relaxed_32(&skv_super(writer->map)->wait_any);

	if (__builtin_expect(gate & (SKV_WAIT_WAITERS | SKV_WAIT_POLLERS | SKV_WAIT_KEYS), 0))
		skv_wait_wake(writer, gate, place);
}

#ifdef SKV_FAULT_POINTS
/* The longest sleep without another look; tests that must know who wakes whom make it long. */
extern uint64_t skv_wait_slice_ns;
#endif

#endif

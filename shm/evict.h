/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_EVICT_H
#define SKV_SHM_EVICT_H

/*
 * evict: makes room in a segment that is a cache, by removing keys that are worth least.
 *
 * Protocol: see evict.c.
 */

#include "api/engine.h"
#include "shm/writer.h"

/* An operation begins that may need room. */
void skv_evict_begin(struct skv_writer *writer);
/* And ends. */
void skv_evict_end(struct skv_writer *writer);

/*
 * skv_evict_room - make room for what the operation lacked when it answered -ENOSPC
 * @key: of the operation; it is never removed to make room for itself
 *
 * True when the operation is worth another try: something was removed, or somebody else was
 * faster, or now is the time to search everywhere. False after a bounded number of attempts, and
 * always in a segment that does not evict. The operation is not inside a change of a key.
 *
 * Progress: lock-free. If the thread dies, some keys are gone entirely and no others.
 */
bool skv_evict_room(struct skv_writer *writer, const struct skv_key *key);

#ifdef SKV_FAULT_POINTS
/* Not 0: what the next writer draws from, so that a test does the same thing each time. */
extern uint64_t skv_evict_seed;
#endif

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_RECOVER_H
#define SKV_SHM_RECOVER_H

/*
 * recover: gives back what dead processes held, and finds what nobody owns.
 *
 * Nobody has to wait for it: every operation of the living works before, during and after.
 * Protocol: see recover.c.
 */

#include "shm/index.h"

/*
 * skv_recover_reap - recover every process that is dead now
 * @report: NULL, or counts are added to it
 *
 * Idempotent and helpable: may run in any number of processes at once, and die anywhere.
 * Returns how many processes that were found dead are recovered now, by us or by others.
 */
uint64_t skv_recover_reap(struct skv_writer *writer, struct shmkv_recovery *report);

/* Recover the contexts that came with a slot inherited from a dead process. */
int skv_recover_inherited(struct skv_map *map);

/*
 * skv_recover_adopt - when every context is taken: make one of a dead thread ours
 *
 * Returns whether there is one more for this process now.
 */
bool skv_recover_adopt(struct skv_map *map);

/* Every block, leaf and chunk: give back what is allocated and owned by nobody. */
void skv_recover_sweep(struct skv_writer *writer, const struct shmkv_watch *watch,
		       struct shmkv_recovery *report);

/* A look for dead processes, at most every 100 ms over all processes; cheap in between. */
void skv_recover_tick(struct skv_writer *writer, bool now);

#ifdef SKV_FAULT_POINTS
/* Do writers look for the dead now and then? Tests that must know who recovers say no. */
extern bool skv_recover_by_clock;
#endif

#endif

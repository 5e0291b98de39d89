/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_ROSTER_H
#define SKV_SHM_ROSTER_H

/* roster: who is attached read-write, and what they hold; reads only. */

#include "shm/map.h"

#include <shmkv/inspect.h>

/* What a context's word "doing" means, in a word for people. */
const char *skv_roster_doing(uint64_t doing);

int skv_roster(struct skv_map *map,
	       int (*fn)(const struct shmkv_participant *participant, void *arg), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_CHECK_H
#define SKV_SHM_CHECK_H

/*
 * check: the invariants of a segment, stated once; tests, the stress tool and the inspector
 * all call this.
 */

#include "shm/index.h"

#include <shmkv/inspect.h>

/* @watch: a whole structure of ours; @audit: zero but for its size */
int skv_check(struct skv_map *map, const struct shmkv_watch *watch, struct shmkv_audit *audit);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_CHECK_H
#define SKV_SHM_CHECK_H

/*
 * check: the invariants of a segment, stated once; tests, the stress tool and the inspector
 * all call this.
 */

#include "shm/index.h"

int skv_check(struct skv_map *map, void (*fn)(const char *violation, void *arg), void *arg,
	      struct shmkv_audit *audit);

#endif

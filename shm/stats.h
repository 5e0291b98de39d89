/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_STATS_H
#define SKV_SHM_STATS_H

/* stats: the sum of what all contexts have counted; reads only. */

#include "shm/map.h"

#include <shmkv/inspect.h>

/* @stats: zero but for its size */
int skv_stats(const struct skv_map *map, struct shmkv_stats *stats);

#endif

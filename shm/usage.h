/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_USAGE_H
#define SKV_SHM_USAGE_H

/* usage: what the memory of the segment is used for, class by class; reads only. */

#include "shm/map.h"

#include <shmkv/inspect.h>

/* @memory: zero but for its size */
int skv_usage(const struct skv_map *map, struct shmkv_memory *memory);

#endif

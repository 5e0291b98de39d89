/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_INSPECT_H
#define SKV_SHM_INSPECT_H

/* inspect: numbers and lists about a segment for operators; reads only. */

#include "shm/writer.h"

#include <shmkv/inspect.h>

/* Inserts minus deletes over all contexts, with the correction of the last recount. */
uint64_t skv_inspect_count(const struct skv_map *map);

/*
 * skv_inspect_recount - make the count right, if nobody writes meanwhile
 * @ret_fix: what was added to it
 */
void skv_inspect_recount(struct skv_map *map, const struct skv_writer *self, int64_t *ret_fix);

int skv_inspect_info(struct skv_map *map, struct shmkv_info *info);
int skv_inspect_layout(struct skv_map *map,
		       int (*fn)(const struct shmkv_layout_item *item, void *arg), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_HUGE_H
#define SKV_SHM_HUGE_H

/*
 * huge: which stretches of a segment can be huge pages, and making them so bit by bit.
 *
 * How and when: see huge.c; what the kernel does: see region-huge.c.
 */

#include "shm/map.h"

#include <shmkv/huge.h>

/* How long an attacher, and a call of shmkv_maintain, go on with it. */
#define SKV_HUGE_ATTACH_NS 2000000u
#define SKV_HUGE_MAINTAIN_NS 5000000u

/*
 * skv_huge_collapse - go on where the last one stopped
 * @budget_ns: begin no second stretch after so long; 0: not even one
 * @ret_left: bytes still to do
 */
void skv_huge_collapse(struct skv_map *map, uint64_t budget_ns, uint64_t *ret_left);

void skv_huge_info(struct skv_map *map, struct shmkv_huge *info);

#endif

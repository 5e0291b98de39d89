/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_CAPABILITY_H
#define SHMKV_CAPABILITY_H

/*
 * capability: what the engine behind a handle can do.
 *
 * All engines read, write, count and scan. Some things only a map in shared memory can do,
 * others only one on the heap: such a call answers -EOPNOTSUPP where its bit is missing, and
 * changes nothing.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/* Bits of shmkv_capabilities. */
#define SHMKV_CAN_SHARE ((uint64_t)1 << 0)  /* by name, with other processes: attach, unlink, list */
#define SHMKV_CAN_CHECK ((uint64_t)1 << 1)  /* shmkv_check */
#define SHMKV_CAN_LAYOUT ((uint64_t)1 << 2) /* shmkv_layout */
#define SHMKV_CAN_SNAPSHOT ((uint64_t)1 << 3) /* shmkv_snapshot */
#define SHMKV_CAN_EXPIRE ((uint64_t)1 << 4) /* keys with a time to live: expiry.h */
#define SHMKV_CAN_VIEW ((uint64_t)1 << 5)   /* views: view.h */
#define SHMKV_CAN_WAIT ((uint64_t)1 << 6)   /* sleeping until something changes: wait.h */
#define SHMKV_CAN_ADAPT ((uint64_t)1 << 7)  /* shmkv_adaptive_info, shmkv_compact: see heap.h */
#define SHMKV_CAN_RESERVE ((uint64_t)1 << 8) /* drafts, values written in place: reserve.h */

/*
 * shmkv_capabilities - what can be done with this map
 * @ret_bits: SHMKV_CAN_...; bits that this version does not know may be set by a later one
 *
 * Returns 0, -EBADF, -ECHILD or -EINVAL. Threads: any. Never blocks.
 */
int shmkv_capabilities(struct shmkv *kv, uint64_t *ret_bits);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

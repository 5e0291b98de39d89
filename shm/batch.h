/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_BATCH_H
#define SKV_SHM_BATCH_H

/*
 * batch: brings the memory that a group of operations will need into the cache, all of it at
 * the same time.
 *
 * It decides nothing. What it reads on the way may be out of date or nonsense before the
 * operations themselves, which validate everything, come to it.
 */

#include "shm/index.h"

/*
 * skv_batch_warm_gets - before skv_index_get_at for each item
 * @n: at most SKV_GROUP_MAX
 * @ret_aims: of the keys
 */
void skv_batch_warm_gets(const struct skv_map *map, const struct skv_read_op *ops, size_t n,
			 struct skv_aim *ret_aims);

/* skv_batch_warm_writes - before skv_index_write_at for each item */
void skv_batch_warm_writes(const struct skv_writer *writer, const struct skv_write_op *ops,
			   size_t n, struct skv_aim *ret_aims);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_INDEX_H
#define SKV_SHM_INDEX_H

/*
 * index: the operations on keys.
 *
 * Protocol, linearization points and crash table: see index.c.
 */

#include "api/engine.h"
#include "shm/leaf.h"

int skv_index_get(const struct skv_map *map, const struct skv_key *key, struct skv_sink *sink);
int skv_index_exists(const struct skv_map *map, const struct skv_key *key);

int skv_index_write(struct skv_writer *writer, const struct skv_key *key, enum skv_write_mode mode,
		    uint64_t token, const struct skv_bytes *value, uint64_t *ret_token);
int skv_index_update(struct skv_writer *writer, const struct skv_key *key, skv_splice_fn *fn,
		     void *arg, uint64_t *ret_token);
int skv_index_remove(struct skv_writer *writer, const struct skv_key *key, struct skv_sink *sink);

/* Remove whatever the slots of one leaf hold; adds to *ret_removed. -EAGAIN: route again. */
int skv_index_clear_leaf(struct skv_writer *writer, const struct skv_route *route,
			 uint64_t *ret_removed);

/*
 * skv_index_links - does a slot name this block?
 *
 * A raw look-up by the key in the block itself, which the caller knows to be allocated: no
 * expiry, frozen slots count. 1 yes, 0 no, -EAGAIN, -EBADMSG (no record that makes sense),
 * -ENOMEM.
 */
int skv_index_links(const struct skv_map *map, uint64_t off);

/*
 * What a slot names, bounds-checked: the lengths of the record at @off, or false when they
 * cannot be right. Whether they are is known only after the slot was found unchanged.
 */
bool skv_index_record(const struct skv_map *map, uint64_t off, uint64_t *ret_key_len,
		      uint64_t *ret_value_len);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_POLL_H
#define SKV_SHM_POLL_H

/* poll: a descriptor that becomes readable when something has changed. See poll.c. */

#include "shm/wait.h"

/* Returns 0, -EOPNOTSUPP, -EMFILE or -ENOMEM; the caller closes the descriptor. */
int skv_poll_open(struct skv_map *map, int *ret_fd);

/*
 * skv_poll - empty the descriptor, leave word, look
 * @key: NULL for any change, @seen and *ret_state then are states
 *
 * Returns 0, -ETIMEDOUT, -EINVAL, -EOPNOTSUPP, or what reading the key answers.
 */
int skv_poll(struct skv_map *map, int fd, const struct skv_key *key, uint64_t seen,
	     uint64_t *ret_state);

#endif

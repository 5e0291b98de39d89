/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_TOUCH_H
#define SKV_SHM_TOUCH_H

/*
 * touch: another deadline for a key whose value stays.
 *
 * Protocol: see touch.c.
 */

#include "shm/expiry.h"

/*
 * skv_touch - give a key a time to live, or take it away
 * @ttl_ms: from now; 0 for ever
 *
 * Returns 0, -ENOENT (absent or expired), -EAGAIN, -EBADMSG. Needs no free memory.
 */
int skv_touch(struct skv_writer *writer, const struct skv_key *key, uint64_t ttl_ms);

#endif

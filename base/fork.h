/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_FORK_H
#define SKV_BASE_FORK_H

/*
 * fork: tells a process from its parent for the price of one load.
 *
 * A private page that the kernel empties in every forked child (MADV_WIPEONFORK) holds a
 * serial number. A handle remembers the number; in a child the page reads 0 until the
 * child opens a handle of its own, which draws another number. Works for fork and for a
 * clone without a shared address space, with no handler that somebody could bypass.
 */

#include <stdint.h>

/*
 * skv_fork_enter - the serial number of this process, drawn on first use
 * @ret_serial: never 0
 *
 * Returns 0 or -ENOMEM, -EOPNOTSUPP (kernel before 4.14). Threads: any.
 */
int skv_fork_enter(uint64_t *ret_serial);

/* The page; its word equals the serial of skv_fork_enter only in the same process. */
extern uint64_t *skv_fork_word;

static inline int skv_fork_is_same(uint64_t serial)
{
	return skv_fork_word && __atomic_load_n(skv_fork_word, __ATOMIC_RELAXED) == serial;
}

#endif

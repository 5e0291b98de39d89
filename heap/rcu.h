/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_RCU_H
#define SKV_HEAP_RCU_H

/*
 * rcu: lets threads read a heap map without a lock while others change it.
 *
 * The flavour is liburcu-bp. Its read side is a few plain loads and stores, as in
 * liburcu-memb (membarrier, no fence on the reader), and it is the only flavour of a library
 * that may not ask its user for anything: a thread is registered by its first read and
 * unregistered by its end. liburcu-qsbr reads for nothing but needs every thread of the program
 * to announce quiet moments; liburcu-mb pays a full fence for each read. Measured on two shared
 * cores, enter and leave from a shared library: 3 to 4 ns, of which 1 is RCU's and the rest is
 * finding the thread's own variable (1 ns in a program that links statically); a grace
 * period: 0.5 us in a process of one thread, 0.5 to 5 us beside a busy one. What waits for it is
 * freed in batches (see heap.c), so that is some nanoseconds for each record.
 *
 * A process that never had a second thread has nobody to be protected from: the C library
 * knows (__libc_single_threaded), and then reading costs one load. A read section begun alone
 * ends alone, because only the reading thread itself could have made another, and no code of
 * the caller runs inside a read section.
 *
 * RCU knows only its own process. The fork handlers in heap.c keep it working in a child.
 */

#include "base/atomic.h"

#include <stdbool.h>

#include <sys/single_threaded.h>

#if defined(__SANITIZE_ADDRESS__)
#define SKV_RCU_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define SKV_RCU_CHECKED 1
#endif
#endif

/* The read side in line; but liburcu 0.13 does not align a thread's structure as its header
 * promises, and where the sanitizers would see that, the library's own functions are called. */
#if !defined(_LGPL_SOURCE) && !defined(SKV_RCU_CHECKED)
#define _LGPL_SOURCE
#endif
#include <urcu/urcu-bp.h>

#ifdef SKV_ATOMIC_TSAN
/* liburcu is not instrumented: tell the sanitizer what a grace period orders. */
extern char skv_rcu_tsan_tag;
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#endif

/* Is this the only thread that the process ever had? */
static inline bool skv_rcu_is_alone(void)
{
	return __libc_single_threaded;
}

/*
 * skv_rcu_enter - begin to read: nothing that can be reached now is freed before the leave
 *
 * Returns what skv_rcu_leave needs. Threads: any, without registration. Sections nest.
 * Progress: wait-free, but for the first time in a thread, which allocates.
 */
static inline bool skv_rcu_enter(void)
{
	if (skv_rcu_is_alone())
		return false;
	urcu_bp_read_lock();
	return true;
}

static inline void skv_rcu_leave(bool entered)
{
	if (!entered)
		return;
#ifdef SKV_ATOMIC_TSAN
	__tsan_release(&skv_rcu_tsan_tag);
#endif
	urcu_bp_read_unlock();
}

/*
 * skv_rcu_wait - wait until every read section that is under way has ended
 *
 * Not inside a read section, and holding no lock that somebody takes inside one.
 */
void skv_rcu_wait(void);

/* A pointer that readers follow: bytes first, then the way to them. */
static inline void *skv_rcu_load(void *const *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void skv_rcu_store(void **p, void *v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_ATOMIC_CK_H
#define SKV_BASE_ATOMIC_CK_H

/* atomic-ck: Concurrency Kit behind the names of base/atomic.h; include that instead. */

#include <ck_pr.h>

#ifndef CK_F_PR_CAS_64_2
#error "Concurrency Kit has no 128-bit compare-and-swap here: build with -Datomics=builtin"
#endif

static inline uint64_t skv_load_relaxed(const uint64_t *p)
{
	return ck_pr_load_64(p);
}

static inline uint32_t skv_load_relaxed_32(const uint32_t *p)
{
	return ck_pr_load_32(p);
}

static inline uint8_t skv_load_relaxed_8(const uint8_t *p)
{
	return ck_pr_load_8(p);
}

static inline uint64_t skv_load_acquire(const uint64_t *p)
{
	uint64_t v = ck_pr_load_64(p);

	/* On TSO a compiler barrier; elsewhere orders this load before all that follows. */
	ck_pr_fence_acquire();
	return v;
}

static inline void skv_store_relaxed(uint64_t *p, uint64_t v)
{
	ck_pr_store_64(p, v);
}

static inline void skv_store_relaxed_32(uint32_t *p, uint32_t v)
{
	ck_pr_store_32(p, v);
}

static inline void skv_store_relaxed_8(uint8_t *p, uint8_t v)
{
	ck_pr_store_8(p, v);
}

static inline void skv_store_release(uint64_t *p, uint64_t v)
{
	ck_pr_fence_release();
	ck_pr_store_64(p, v);
}

static inline void skv_fence_acquire(void)
{
	ck_pr_fence_acquire();
}

static inline void skv_fence_release(void)
{
	ck_pr_fence_release();
}

/* Store-load order (Dekker): the only fence that costs something on x86-64. */
static inline void skv_fence_seq(void)
{
	ck_pr_fence_memory();
}

/* The same, right after a compare-and-swap that succeeded: on x86-64 that was a full fence. */
static inline void skv_fence_seq_after_cas(void)
{
#if defined(__x86_64__)
	__asm__ __volatile__("" ::: "memory");
#else
	ck_pr_fence_memory();
#endif
}

/* Acquire and release, success or not. */
static inline bool skv_cas(uint64_t *p, uint64_t expected, uint64_t desired)
{
	bool done;

	ck_pr_fence_release();
	done = ck_pr_cas_64(p, expected, desired);
	ck_pr_fence_acquire();
	return done;
}

static inline bool skv_cas_32(uint32_t *p, uint32_t expected, uint32_t desired)
{
	bool done;

	ck_pr_fence_release();
	done = ck_pr_cas_32(p, expected, desired);
	ck_pr_fence_acquire();
	return done;
}

static inline bool skv_cas_pair(struct skv_pair *p, struct skv_pair expected, struct skv_pair desired)
{
	uint64_t e[2] = { expected.lo, expected.hi };
	uint64_t d[2] = { desired.lo, desired.hi };
	bool done;

	ck_pr_fence_release();
	done = ck_pr_cas_64_2((uint64_t *)p, e, d);
	ck_pr_fence_acquire();
	return done;
}

static inline uint64_t skv_swap(uint64_t *p, uint64_t v)
{
	uint64_t old;

	ck_pr_fence_release();
	old = ck_pr_fas_64(p, v);
	ck_pr_fence_acquire();
	return old;
}

/* Statistics and hints: atomic, no order. */
static inline void skv_add_relaxed(uint64_t *p, uint64_t v)
{
	ck_pr_add_64(p, v);
}

/* The same, and a full fence: nothing behind it is read before the sum can be seen. */
static inline void skv_add_seq(uint64_t *p, uint64_t v)
{
	ck_pr_add_64(p, v);
	skv_fence_seq_after_cas();
}

static inline void skv_or_relaxed(uint64_t *p, uint64_t v)
{
	ck_pr_or_64(p, v);
}

static inline void skv_and_relaxed(uint64_t *p, uint64_t v)
{
	ck_pr_and_64(p, v);
}

static inline void skv_pause(void)
{
	ck_pr_stall();
}

#endif

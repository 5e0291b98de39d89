/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_ATOMIC_BUILTIN_H
#define SKV_BASE_ATOMIC_BUILTIN_H

/*
 * atomic-builtin: the compiler's own atomics behind the names of base/atomic.h; include
 * that instead.
 *
 * The pair uses __sync, not __atomic: gcc sends 16-byte __atomic calls to libatomic, which
 * may take a lock of its own process; __sync is expanded in place (with -mcx16).
 */

static inline uint64_t skv_load_relaxed(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint32_t skv_load_relaxed_32(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint8_t skv_load_relaxed_8(const uint8_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint64_t skv_load_acquire(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void skv_store_relaxed(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void skv_store_relaxed_32(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void skv_store_relaxed_8(uint8_t *p, uint8_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void skv_store_release(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

#if defined(SKV_ATOMIC_TSAN) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
/* ThreadSanitizer ignores bare fences; every pair below also has its order on an operation. */
#pragma GCC diagnostic ignored "-Wtsan"
#endif

static inline void skv_fence_acquire(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void skv_fence_release(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void skv_fence_seq(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The same, right after a compare-and-swap that succeeded: on x86-64 that was a full fence. */
static inline void skv_fence_seq_after_cas(void)
{
#if defined(__x86_64__)
	__asm__ __volatile__("" ::: "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

#if defined(SKV_ATOMIC_TSAN) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

static inline bool skv_cas(uint64_t *p, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static inline bool skv_cas_32(uint32_t *p, uint32_t expected, uint32_t desired)
{
	return __atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static inline bool skv_cas_pair(struct skv_pair *p, struct skv_pair expected, struct skv_pair desired)
{
	__extension__ typedef unsigned __int128 u128;
	u128 e = ((u128)expected.hi << 64) | expected.lo;
	u128 d = ((u128)desired.hi << 64) | desired.lo;

	return __sync_bool_compare_and_swap((u128 *)(void *)p, e, d);
}

static inline uint64_t skv_swap(uint64_t *p, uint64_t v)
{
	return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
}

static inline void skv_add_relaxed(uint64_t *p, uint64_t v)
{
	__atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

/* The same, and a full fence: nothing behind it is read before the sum can be seen. */
static inline void skv_add_seq(uint64_t *p, uint64_t v)
{
	__atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
	skv_fence_seq_after_cas();
}

static inline void skv_or_relaxed(uint64_t *p, uint64_t v)
{
	__atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}

static inline void skv_and_relaxed(uint64_t *p, uint64_t v)
{
	__atomic_fetch_and(p, v, __ATOMIC_RELAXED);
}

static inline void skv_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

#endif

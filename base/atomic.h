/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_ATOMIC_H
#define SKV_BASE_ATOMIC_H

/*
 * atomic: the only way to touch a word that another thread or process may touch.
 *
 * The order is part of the name. Two back ends, chosen with -Datomics=:
 *
 *   ck       Concurrency Kit's ck_pr (the default). Its read-modify-writes are relaxed on
 *            aarch64 and it has no one-word acquire or release, so fences are written out
 *            here; on x86-64 they only stop the compiler.
 *   builtin  the compiler's __atomic and __sync. ThreadSanitizer sees these, inline
 *            assembly it does not, so its builds take this one.
 *
 * Words are aligned uint64_t or uint32_t, or bytes for hints; pairs are aligned to 16 bytes.
 * ck_pr_load_64_2 is never used: on x86-64 it is a locked compare-and-swap, a write, and faults on
 * a read-only mapping.
 *
 * Nothing here blocks. skv_atomic_selftest proves the two wide operations before a segment
 * is trusted to them: Concurrency Kit's aarch64 LSE variant returns the inverted result.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define SKV_ATOMIC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKV_ATOMIC_TSAN 1
#endif
#endif

#if !defined(SKV_ATOMIC_BUILTIN) && !defined(SKV_ATOMIC_TSAN)
#define SKV_ATOMIC_CK 1
#endif

/* Two words that are compared and swapped as one. */
struct skv_pair {
	uint64_t lo;
	uint64_t hi;
} __attribute__((aligned(16)));

#ifdef SKV_ATOMIC_CK
#include "base/atomic-ck.h"
#else
#include "base/atomic-builtin.h"
#endif

/* Copies between private memory and words that others may change at any moment: torn
 * results are possible and the caller validates afterwards. Lengths in bytes. */
void skv_copy_from_shared(void *dst, const void *src, size_t len);
void skv_copy_to_shared(void *dst, const void *src, size_t len);
/* Shared to shared, for moving payload between two records. */
void skv_copy_shared(void *dst, const void *src, size_t len);
/* Do @len bytes of shared memory equal private ones at this moment? */
bool skv_equal_shared(const void *shared, const void *key, size_t len);

/* "ck" or "builtin" */
const char *skv_atomic_name(void);

/* 0, or -EOPNOTSUPP when a compare-and-swap does not do what its name says. */
int skv_atomic_selftest(void);

#endif

/* SPDX-License-Identifier: MIT */
#include "base/atomic.h"

#include <errno.h>
#include <string.h>

/*
 * Lengths up to here are copied in blocks of 16 bytes, longer ones by the string instruction,
 * which needs some forty cycles to begin and wins by a factor of seven at 4 KiB.
 */
#define COPY_BLOCKS_MAX 256u

#if defined(__x86_64__) && !defined(SKV_ATOMIC_TSAN)
#define HAVE_X86_COPY 1
/*
 * All of these are opaque to the compiler, so it may neither re-read the source nor assume
 * that it holds still; plain memcpy would permit both.
 */
static void string_copy(void *dst, const void *src, size_t len)
{
	__asm__ __volatile__("rep movsb" : "+D"(dst), "+S"(src), "+c"(len) : : "memory");
}
/* The loads of a string instruction are not promised to come before later loads: the second
 * look at a version must not overtake them. Costs nothing at these lengths. */
static void string_loads_done(void)
{
	__asm__ __volatile__("lfence" : : : "memory");
}

struct bytes_16 {
	unsigned char b[16];
};
struct bytes_8 {
	unsigned char b[8];
};
struct bytes_4 {
	unsigned char b[4];
};

/* Ordinary loads and stores in every respect but their width: in order, and possibly torn. */
static inline void move_16(unsigned char *d, const unsigned char *s)
{
	__asm__ __volatile__("movdqu %1, %%xmm0\n\tmovdqu %%xmm0, %0"
			     : "=m"(*(struct bytes_16 *)(void *)d)
			     : "m"(*(const struct bytes_16 *)(const void *)s)
			     : "xmm0");
}

static inline void move_8(unsigned char *d, const unsigned char *s)
{
	uint64_t w;

	__asm__ __volatile__("movq %2, %0\n\tmovq %0, %1"
			     : "=&r"(w), "=m"(*(struct bytes_8 *)(void *)d)
			     : "m"(*(const struct bytes_8 *)(const void *)s));
}

static inline void move_4(unsigned char *d, const unsigned char *s)
{
	uint32_t w;

	__asm__ __volatile__("movl %2, %0\n\tmovl %0, %1"
			     : "=&r"(w), "=m"(*(struct bytes_4 *)(void *)d)
			     : "m"(*(const struct bytes_4 *)(const void *)s));
}

/* The last block overlaps the one before it: a byte may be moved twice. */
static inline void copy_blocks(unsigned char *d, const unsigned char *s, size_t len)
{
	size_t i;

	if (len >= 16) {
		for (i = 0; i + 16 < len; i += 16)
			move_16(d + i, s + i);
		move_16(d + len - 16, s + len - 16);
	} else if (len >= 8) {
		move_8(d, s);
		move_8(d + len - 8, s + len - 8);
	} else if (len >= 4) {
		move_4(d, s);
		move_4(d + len - 4, s + len - 4);
	} else {
		for (i = 0; i < len; i++)
			__atomic_store_n(d + i, __atomic_load_n(s + i, __ATOMIC_RELAXED),
					 __ATOMIC_RELAXED);
	}
}
#endif

static uint64_t load_bytes(const unsigned char *p, size_t len)
{
	uint64_t w = 0;
	size_t i;

	for (i = 0; i < len; i++)
		w |= (uint64_t)__atomic_load_n(p + i, __ATOMIC_RELAXED) << (8 * i);
	return w;
}

#ifdef HAVE_X86_COPY

void skv_copy_from_shared(void *dst, const void *src, size_t len)
{
	if (len <= COPY_BLOCKS_MAX) {
		copy_blocks(dst, src, len);
		return;
	}
	string_copy(dst, src, len);
	string_loads_done();
}

void skv_copy_to_shared(void *dst, const void *src, size_t len)
{
	if (len <= COPY_BLOCKS_MAX)
		copy_blocks(dst, src, len);
	else
		string_copy(dst, src, len);
}

void skv_copy_shared(void *dst, const void *src, size_t len)
{
	skv_copy_from_shared(dst, src, len);
}

#else

void skv_copy_from_shared(void *dst, const void *src, size_t len)
{
	unsigned char *d = dst;
	const unsigned char *s = src;
	uint64_t w;

	while (len > 0 && ((uintptr_t)s & 7)) {
		*d++ = __atomic_load_n(s++, __ATOMIC_RELAXED);
		len--;
	}
	for (; len >= 8; len -= 8, d += 8, s += 8) {
		w = __atomic_load_n((const uint64_t *)(const void *)s, __ATOMIC_RELAXED);
		memcpy(d, &w, 8);
	}
	for (; len > 0; len--)
		*d++ = __atomic_load_n(s++, __ATOMIC_RELAXED);
}

void skv_copy_to_shared(void *dst, const void *src, size_t len)
{
	unsigned char *d = dst;
	const unsigned char *s = src;
	uint64_t w;

	while (len > 0 && ((uintptr_t)d & 7)) {
		__atomic_store_n(d++, *s++, __ATOMIC_RELAXED);
		len--;
	}
	for (; len >= 8; len -= 8, d += 8, s += 8) {
		memcpy(&w, s, 8);
		__atomic_store_n((uint64_t *)(void *)d, w, __ATOMIC_RELAXED);
	}
	for (; len > 0; len--)
		__atomic_store_n(d++, *s++, __ATOMIC_RELAXED);
}

void skv_copy_shared(void *dst, const void *src, size_t len)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	while (len-- > 0)
		__atomic_store_n(d++, __atomic_load_n(s++, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

#endif

bool skv_equal_shared(const void *shared, const void *key, size_t len)
{
	const unsigned char *s = shared;
	const unsigned char *k = key;
	uint64_t w;

	/* Keys lie on 8-byte boundaries in a record. */
	for (; len >= 8; len -= 8, s += 8, k += 8) {
		memcpy(&w, k, 8);
		if (__atomic_load_n((const uint64_t *)(const void *)s, __ATOMIC_RELAXED) != w)
			return false;
	}
	w = 0;
	memcpy(&w, k, len);
	return len == 0 || load_bytes(s, len) == w;
}

const char *skv_atomic_name(void)
{
#ifdef SKV_ATOMIC_CK
	return "ck";
#else
	return "builtin";
#endif
}

int skv_atomic_selftest(void)
{
	static const struct skv_pair a = { 1, 2 }, b = { 3, 4 }, half = { 1, 4 };
	struct skv_pair p = a;
	uint64_t w = 7;

	if (skv_cas(&w, 6, 8) || w != 7 || !skv_cas(&w, 7, 8) || w != 8)
		return -EOPNOTSUPP;
	if (skv_cas_pair(&p, half, b) || p.lo != 1 || p.hi != 2)
		return -EOPNOTSUPP;
	if (!skv_cas_pair(&p, a, b) || p.lo != 3 || p.hi != 4)
		return -EOPNOTSUPP;
	return 0;
}

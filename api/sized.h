/* SPDX-License-Identifier: MIT */
#ifndef SKV_API_SIZED_H
#define SKV_API_SIZED_H

/*
 * sized: structures that begin with their size, given to a caller who may be of another
 * version: it gets as much as fits, and members that only a newer caller knows stay as they were.
 */

#include <stddef.h>
#include <string.h>

/* Both begin with a size_t; the caller's stays what it was. */
static inline void skv_copy_sized(void *dst, const void *src, size_t src_size)
{
	size_t size;

	memcpy(&size, dst, sizeof(size));
	if (size > src_size)
		size = src_size;
	memcpy((char *)dst + sizeof(size), (const char *)src + sizeof(size), size - sizeof(size));
}

#endif

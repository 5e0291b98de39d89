/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_COPY_H
#define SKV_BASE_COPY_H

/*
 * copy: memcpy for what is mostly short. Up to 32 bytes are copied here, by two moves that
 * overlap, and not by a call through the linkage table, which costs more than they do.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void skv_copy(void *to, const void *from, size_t len)
{
	uint8_t *t = to;
	const uint8_t *f = from;
	uint64_t a, b, c, d;
	uint32_t s, e;

	if (len > 32) {
		memcpy(t, f, len);
	} else if (len > 16) {
		memcpy(&a, f, 8);
		memcpy(&b, f + 8, 8);
		memcpy(&c, f + len - 16, 8);
		memcpy(&d, f + len - 8, 8);
		memcpy(t, &a, 8);
		memcpy(t + 8, &b, 8);
		memcpy(t + len - 16, &c, 8);
		memcpy(t + len - 8, &d, 8);
	} else if (len >= 8) {
		memcpy(&a, f, 8);
		memcpy(&b, f + len - 8, 8);
		memcpy(t, &a, 8);
		memcpy(t + len - 8, &b, 8);
	} else if (len >= 4) {
		memcpy(&s, f, 4);
		memcpy(&e, f + len - 4, 4);
		memcpy(t, &s, 4);
		memcpy(t + len - 4, &e, 4);
	} else if (len > 0) {
		/* First, middle and last are all there are. */
		t[0] = f[0];
		t[len / 2] = f[len / 2];
		t[len - 1] = f[len - 1];
	}
}

#endif

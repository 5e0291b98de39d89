/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_PACK_WALK_H
#define TOOLS_PACK_WALK_H

/*
 * pack-walk: reads msgpack one head at a time, without allocating.
 *
 * Made for bytes that shmkv_value_check has accepted; every step is checked all the same.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pack_type {
	PACK_NIL,
	PACK_BOOL,
	PACK_INT,
	PACK_UINT, /* above INT64_MAX */
	PACK_FLOAT,
	PACK_STR,
	PACK_BIN,
	PACK_EXT,
	PACK_ARRAY,
	PACK_MAP,
};

struct pack_item {
	enum pack_type type;
	union {
		bool boolean;
		int64_t i64;
		uint64_t u64;
		double f64;
		uint32_t count; /* array: elements, map: pairs; they follow */
	};
	int8_t ext_type;
	const uint8_t *data; /* str, bin, ext: payload inside the input */
	size_t len;
};

struct pack_walk {
	const uint8_t *at, *end;
};

static inline struct pack_walk pack_walk_over(const void *data, size_t len)
{
	return (struct pack_walk){ data, (const uint8_t *)data + len };
}

/*
 * pack_next - read the next head, and its payload if it is str, bin or ext
 *
 * Returns 0 or -EILSEQ; then the walk has not moved.
 */
int pack_next(struct pack_walk *w, struct pack_item *ret_item);

/* pack_skip - step over one whole object */
int pack_skip(struct pack_walk *w);

const char *pack_type_name(enum pack_type type);

#endif

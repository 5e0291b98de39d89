/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_VALUE_H
#define SHMKV_VALUE_H

/*
 * value: what a key maps to.
 *
 * Everything stored is exactly one msgpack object (https://msgpack.org). Scalars travel
 * inside struct shmkv_value; text, bytes and packed objects are borrowed memory. A value
 * made by the functions below can be handed to every call that stores one.
 *
 * None of these functions allocates, blocks or can fail.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The outermost msgpack nesting that is accepted: a scalar has depth 1, [[1]] has 3. */
#define SHMKV_DEPTH_MAX 32u

enum shmkv_type {
	SHMKV_NIL = 0,
	SHMKV_BOOL = 1,
	SHMKV_INT = 2,    /* int64; also every unsigned value up to INT64_MAX when read back */
	SHMKV_UINT = 3,   /* uint64; when read back only values above INT64_MAX */
	SHMKV_FLOAT = 4,  /* double; float 32 is widened when read back */
	SHMKV_STR = 5,    /* text, UTF-8 by convention, any bytes by contract */
	SHMKV_BIN = 6,    /* bytes */
	SHMKV_PACKED = 7, /* one whole msgpack object as it stands: array, map, ext, or anything */
};

struct shmkv_value {
	enum shmkv_type type;
	union {
		bool boolean;
		int64_t i64;
		uint64_t u64;
		double f64;
	};
	const void *data; /* STR, BIN: the payload; PACKED: the object. Borrowed. */
	size_t len;       /* bytes at data */
};

static inline struct shmkv_value shmkv_nil(void)
{
	struct shmkv_value v;

	memset(&v, 0, sizeof(v));
	return v;
}

static inline struct shmkv_value shmkv_bool(bool boolean)
{
	struct shmkv_value v = shmkv_nil();

	v.type = SHMKV_BOOL;
	v.boolean = boolean;
	return v;
}

static inline struct shmkv_value shmkv_int(int64_t i64)
{
	struct shmkv_value v = shmkv_nil();

	v.type = SHMKV_INT;
	v.i64 = i64;
	return v;
}

static inline struct shmkv_value shmkv_uint(uint64_t u64)
{
	struct shmkv_value v = shmkv_nil();

	v.type = SHMKV_UINT;
	v.u64 = u64;
	return v;
}

static inline struct shmkv_value shmkv_float(double f64)
{
	struct shmkv_value v = shmkv_nil();

	v.type = SHMKV_FLOAT;
	v.f64 = f64;
	return v;
}

static inline struct shmkv_value shmkv_str_n(const char *text, size_t len)
{
	struct shmkv_value v = shmkv_nil();

	v.type = SHMKV_STR;
	v.data = text;
	v.len = len;
	return v;
}

static inline struct shmkv_value shmkv_str(const char *text)
{
	return shmkv_str_n(text, strlen(text));
}

static inline struct shmkv_value shmkv_bin(const void *data, size_t len)
{
	struct shmkv_value v = shmkv_nil();

	v.type = SHMKV_BIN;
	v.data = data;
	v.len = len;
	return v;
}

/* The bytes are checked (one object, depth, sizes) before they are stored. */
static inline struct shmkv_value shmkv_packed(const void *data, size_t len)
{
	struct shmkv_value v = shmkv_nil();

	v.type = SHMKV_PACKED;
	v.data = data;
	v.len = len;
	return v;
}

#ifdef __cplusplus
}
#endif

#endif

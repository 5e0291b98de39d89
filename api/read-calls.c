/* SPDX-License-Identifier: MIT */
/* read-calls: the public calls that read one key, and count. */
#include "api/handle.h"
#include "api/packed.h"

#include <stdlib.h>

/* shmkv_get_alloc gives up when the value outgrew its buffer so often. */
#define ALLOC_TRIES_MAX 16u
#define ALLOC_FIRST 256u

/* Every read: the arguments, and then the engine's answer. */
static int find_value(struct shmkv *kv, const void *key, size_t key_len, struct skv_sink *sink)
{
	struct skv_key k;
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (!sink->buf && sink->cap > 0)
		return -EINVAL;
	if (!kv->engine->get)
		return -EOPNOTSUPP;
	return kv->engine->get(kv->map, &k, sink);
}

/*
 * Fills @sink and tells what it found. 0 and -ENOBUFS set *ret_item; every other code is the
 * caller's answer.
 */
static int read_value(struct shmkv *kv, const void *key, size_t key_len, struct skv_sink *sink,
		      struct skv_msgpack_item *ret_item)
{
	struct skv_msgpack_item item;
	int r;

	r = find_value(kv, key, key_len, sink);
	if (r < 0 && r != -ENOBUFS)
		return r;
	if (skv_packed_item(sink, &item) < 0)
		return -EBADMSG;
	*ret_item = item;
	return r;
}

int shmkv_get(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
	      struct shmkv_value *ret_value, uint64_t *ret_token)
{
	struct skv_sink sink = { .buf = buf, .cap = cap, .skip = skv_msgpack_skip };
	int r;

	if (!ret_value)
		return -EINVAL;
	r = find_value(kv, key, key_len, &sink);
	r = skv_packed_answer(&sink, r, ret_value);
	if (r == 0 && ret_token)
		*ret_token = sink.token;
	return r;
}

int shmkv_get_packed(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
		     size_t *ret_len, uint64_t *ret_token)
{
	struct skv_sink sink = { .buf = buf, .cap = cap };
	struct skv_msgpack_item item;
	int r;

	if (!ret_len)
		return -EINVAL;
	r = read_value(kv, key, key_len, &sink, &item);
	if (r < 0 && r != -ENOBUFS)
		return r;
	if (r == 0 && skv_packed_check(&sink) < 0)
		return -EBADMSG;
	*ret_len = sink.value_len;
	if (r == 0 && ret_token)
		*ret_token = sink.token;
	return r;
}

int shmkv_get_alloc(struct shmkv *kv, const void *key, size_t key_len, void **ret_buf,
		    size_t *ret_len, uint64_t *ret_token)
{
	void *buf;
	uint64_t token;
	size_t cap = ALLOC_FIRST, len;
	unsigned int i;
	int r;

	if (!ret_buf || !ret_len)
		return -EINVAL;

	for (i = 0; i < ALLOC_TRIES_MAX; i++) {
		buf = malloc(cap);
		if (!buf)
			return -ENOMEM;
		r = shmkv_get_packed(kv, key, key_len, buf, cap, &len, &token);
		if (r == 0) {
			*ret_buf = buf;
			*ret_len = len;
			if (ret_token)
				*ret_token = token;
			return 0;
		}
		free(buf);
		if (r != -ENOBUFS)
			return r;
		/* From the second time on with room to spare: somebody is appending to it. */
		cap = len;
		if (i > 0 && __builtin_add_overflow(len, len / 2, &cap))
			return -ENOMEM;
	}
	return -EAGAIN;
}

/* ---- typed reads ----------------------------------------------------------------- */

static size_t skip_all(const uint8_t *head, size_t head_len)
{
	(void)head;
	(void)head_len;
	return SIZE_MAX;
}

/* Reads no more than a scalar needs; @ret only says whether the caller gave an output. */
static int read_scalar(struct shmkv *kv, const void *key, size_t key_len, const void *ret,
		       struct skv_msgpack_item *ret_item)
{
	struct skv_sink sink = { .skip = skip_all };

	if (!ret)
		return -EINVAL;
	return read_value(kv, key, key_len, &sink, ret_item);
}

int shmkv_get_bool(struct shmkv *kv, const void *key, size_t key_len, bool *ret)
{
	struct skv_msgpack_item item;
	int r;

	r = read_scalar(kv, key, key_len, ret, &item);
	if (r < 0)
		return r;
	if (item.type != SHMKV_BOOL)
		return -EPROTOTYPE;
	*ret = item.boolean;
	return 0;
}

int shmkv_get_int(struct shmkv *kv, const void *key, size_t key_len, int64_t *ret)
{
	struct skv_msgpack_item item;
	int r;

	r = read_scalar(kv, key, key_len, ret, &item);
	if (r < 0)
		return r;
	if (item.type == SHMKV_UINT)
		return -ERANGE;
	if (item.type != SHMKV_INT)
		return -EPROTOTYPE;
	*ret = item.i64;
	return 0;
}

int shmkv_get_uint(struct shmkv *kv, const void *key, size_t key_len, uint64_t *ret)
{
	struct skv_msgpack_item item;
	int r;

	r = read_scalar(kv, key, key_len, ret, &item);
	if (r < 0)
		return r;
	if (item.type == SHMKV_UINT) {
		*ret = item.u64;
		return 0;
	}
	if (item.type != SHMKV_INT)
		return -EPROTOTYPE;
	if (item.i64 < 0)
		return -ERANGE;
	*ret = (uint64_t)item.i64;
	return 0;
}

/* Does an integer survive the way to double and back? The bound keeps the way back defined. */
static bool is_exact_int(int64_t i)
{
	double d = (double)i;

	return d < 0x1p63 && (int64_t)d == i;
}

static bool is_exact_uint(uint64_t u)
{
	double d = (double)u;

	return d < 0x1p64 && (uint64_t)d == u;
}

int shmkv_get_float(struct shmkv *kv, const void *key, size_t key_len, double *ret)
{
	struct skv_msgpack_item item;
	int r;

	r = read_scalar(kv, key, key_len, ret, &item);
	if (r < 0)
		return r;
	switch (item.type) {
	case SHMKV_FLOAT:
		*ret = item.f64;
		return 0;
	case SHMKV_INT:
		if (!is_exact_int(item.i64))
			return -ERANGE;
		*ret = (double)item.i64;
		return 0;
	case SHMKV_UINT:
		if (!is_exact_uint(item.u64))
			return -ERANGE;
		*ret = (double)item.u64;
		return 0;
	default:
		return -EPROTOTYPE;
	}
}

/* Another type is told before a small buffer is. */
static int read_payload(struct shmkv *kv, const void *key, size_t key_len, enum shmkv_type type,
			void *buf, size_t cap, size_t *ret_len)
{
	struct skv_sink sink = { .buf = buf, .cap = cap, .skip = skv_msgpack_skip };
	struct skv_msgpack_item item;
	int r;

	if (!ret_len)
		return -EINVAL;
	r = read_value(kv, key, key_len, &sink, &item);
	if (r < 0 && r != -ENOBUFS)
		return r;
	if (item.type != type)
		return -EPROTOTYPE;
	*ret_len = sink.buf_len;
	return r;
}

int shmkv_get_str(struct shmkv *kv, const void *key, size_t key_len, char *buf, size_t cap,
		  size_t *ret_len)
{
	return read_payload(kv, key, key_len, SHMKV_STR, buf, cap, ret_len);
}

int shmkv_get_bin(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
		  size_t *ret_len)
{
	return read_payload(kv, key, key_len, SHMKV_BIN, buf, cap, ret_len);
}

/* ---- without a value ------------------------------------------------------------- */

int shmkv_exists(struct shmkv *kv, const void *key, size_t key_len)
{
	struct skv_key k;
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (!kv->engine->exists)
		return -EOPNOTSUPP;
	return kv->engine->exists(kv->map, &k);
}

int shmkv_count(struct shmkv *kv, uint64_t *ret_count)
{
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!ret_count)
		return -EINVAL;
	if (!kv->engine->count)
		return -EOPNOTSUPP;
	return kv->engine->count(kv->map, ret_count);
}

/* SPDX-License-Identifier: MIT */
/* read-calls: the public calls that read one key, and count. */
#include "api/handle.h"
#include "api/packed.h"
#include "base/copy.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- in place, where the engine can ---------------------------------------------- */

struct peek {
	void *buf;
	size_t cap;
	enum shmkv_type type; /* that the value must have */
	struct shmkv_value *ret_value;
	size_t *ret_len;
	uint64_t *ret_token;
};

/* The few forms that nearly all text and bytes have; the rest is for skv_msgpack_item. */
static inline bool short_payload(const uint8_t *value, enum shmkv_type *ret_type, size_t *ret_off)
{
	if (value[0] == 0xc4) {
		*ret_type = SHMKV_BIN;
		*ret_off = 2;
	} else if (value[0] == 0xd9) {
		*ret_type = SHMKV_STR;
		*ret_off = 2;
	} else if (value[0] >> 5 == 5) {
		*ret_type = SHMKV_STR;
		*ret_off = 1;
	} else {
		return false;
	}
	return true;
}

/* What shmkv_get gives for a value that is known to be right. */
static int peek_get(void *arg, const uint8_t *value, size_t len, uint64_t token)
{
	const struct peek *peek = arg;
	struct shmkv_value *ret = peek->ret_value;
	struct skv_msgpack_item item;
	enum shmkv_type type;
	size_t off;

	if (!short_payload(value, &type, &off)) {
		if (skv_msgpack_item(value, len, &item) < 0)
			return -EBADMSG;
		*ret = skv_packed_scalar(&item);
		type = item.type;
		off = type == SHMKV_PACKED ? 0 : item.head_len;
	} else {
		*ret = (struct shmkv_value){ .type = type };
	}
	ret->len = len - off;
	if (ret->len > peek->cap)
		return -ENOBUFS;
	if (ret->len > 0) {
		skv_copy(peek->buf, value + off, ret->len);
		ret->data = peek->buf;
	}
	if (peek->ret_token)
		*peek->ret_token = token;
	return 0;
}

static int peek_packed(void *arg, const uint8_t *value, size_t len, uint64_t token)
{
	const struct peek *peek = arg;

	*peek->ret_len = len;
	if (len > peek->cap)
		return -ENOBUFS;
	memcpy(peek->buf, value, len);
	if (peek->ret_token)
		*peek->ret_token = token;
	return 0;
}

/* Another type is told before a small buffer is. */
static int peek_payload(void *arg, const uint8_t *value, size_t len, uint64_t token)
{
	const struct peek *peek = arg;
	struct skv_msgpack_item item;

	(void)token;
	if (skv_msgpack_item(value, len, &item) < 0)
		return -EBADMSG;
	if (item.type != peek->type)
		return -EPROTOTYPE;
	*peek->ret_len = len - item.head_len;
	if (*peek->ret_len > peek->cap)
		return -ENOBUFS;
	if (*peek->ret_len > 0)
		memcpy(peek->buf, value + item.head_len, *peek->ret_len);
	return 0;
}

static int peek_item(void *arg, const uint8_t *value, size_t len, uint64_t token)
{
	(void)token;
	return skv_msgpack_item(value, len, arg) < 0 ? -EBADMSG : 0;
}

static int peek_value(struct shmkv *kv, const void *key, size_t key_len, skv_peek_fn *fn, void *arg)
{
	struct skv_key k;
	int r;

	r = skv_handle_key(key, key_len, &k);
	return r < 0 ? r : kv->engine->peek(kv->map, &k, fn, arg);
}

/* ---- whole values ---------------------------------------------------------------- */

static int get_by_copy(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
		       struct shmkv_value *ret_value, uint64_t *ret_token)
{
	struct skv_sink sink = { .buf = buf, .cap = cap, .skip = skv_msgpack_skip };
	int r;

	r = find_value(kv, key, key_len, &sink);
	r = skv_packed_answer(&sink, r, ret_value);
	if (r == 0 && ret_token)
		*ret_token = sink.token;
	return r;
}

int shmkv_get(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
	      struct shmkv_value *ret_value, uint64_t *ret_token)
{
	int r;

	if (!ret_value || (!buf && cap > 0))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (kv->engine->peek) {
		struct peek peek = {
			.buf = buf, .cap = cap, .ret_value = ret_value, .ret_token = ret_token,
		};

		return peek_value(kv, key, key_len, peek_get, &peek);
	}
	return get_by_copy(kv, key, key_len, buf, cap, ret_value, ret_token);
}

int shmkv_get_packed(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
		     size_t *ret_len, uint64_t *ret_token)
{
	struct skv_sink sink = { .buf = buf, .cap = cap };
	struct skv_msgpack_item item;
	int r;

	if (!ret_len || (!buf && cap > 0))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (kv->engine->peek) {
		struct peek peek = {
			.buf = buf, .cap = cap, .ret_len = ret_len, .ret_token = ret_token,
		};

		return peek_value(kv, key, key_len, peek_packed, &peek);
	}
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
	int r;

	if (!ret)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (kv->engine->peek)
		return peek_value(kv, key, key_len, peek_item, ret_item);
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

	if (!ret_len || (!buf && cap > 0))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (kv->engine->peek) {
		struct peek peek = { .buf = buf, .cap = cap, .type = type, .ret_len = ret_len };

		return peek_value(kv, key, key_len, peek_payload, &peek);
	}
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

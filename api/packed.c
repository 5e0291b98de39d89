/* SPDX-License-Identifier: MIT */
#include "api/packed.h"

#include <errno.h>
#include <string.h>

_Static_assert(SKV_MSGPACK_HEAD_MAX <= SKV_HEAD_MAX, "a head fits the engines' interface");

int skv_packed_from_value(const struct shmkv_value *value, struct skv_bytes *ret_bytes)
{
	struct skv_bytes bytes = { .data = NULL };
	int r;

	r = skv_msgpack_head(value, bytes.head, &bytes.head_len);
	if (r < 0)
		return r;

	if (value->type == SHMKV_STR || value->type == SHMKV_BIN || value->type == SHMKV_PACKED) {
		if (!value->data && value->len > 0)
			return -EINVAL;
		bytes.data = value->data;
		bytes.len = value->len;
	}
	if (value->type == SHMKV_PACKED) {
		r = skv_msgpack_check(value->data, value->len);
		if (r < 0)
			return r;
	}
	*ret_bytes = bytes;
	return 0;
}

int skv_packed_item_of(const uint8_t *head, size_t head_len, size_t value_len,
		       struct skv_msgpack_item *ret_item)
{
	struct skv_msgpack_item item;
	size_t rest;

	if (skv_msgpack_item(head, head_len, &item) < 0)
		return -EBADMSG;
	if (item.head_len > value_len)
		return -EBADMSG;
	rest = value_len - item.head_len;
	if (item.n_items > 0 ? item.n_items > rest : item.payload_len != rest)
		return -EBADMSG;
	*ret_item = item;
	return 0;
}

int skv_packed_item(const struct skv_sink *sink, struct skv_msgpack_item *ret_item)
{
	return skv_packed_item_of(sink->head, sink->head_len, sink->value_len, ret_item);
}

struct shmkv_value skv_packed_scalar(const struct skv_msgpack_item *item)
{
	struct shmkv_value value = shmkv_nil();

	value.type = item->type;
	switch (item->type) {
	case SHMKV_BOOL:
		value.boolean = item->boolean;
		break;
	case SHMKV_INT:
		value.i64 = item->i64;
		break;
	case SHMKV_UINT:
		value.u64 = item->u64;
		break;
	case SHMKV_FLOAT:
		value.f64 = item->f64;
		break;
	case SHMKV_NIL:
	case SHMKV_STR:
	case SHMKV_BIN:
	case SHMKV_PACKED:
		break;
	}
	return value;
}

int skv_packed_check(const struct skv_sink *sink)
{
	return skv_msgpack_check(sink->buf, sink->value_len) < 0 ? -EBADMSG : 0;
}

/* ---- public ---------------------------------------------------------------------- */

int shmkv_value_check(const void *data, size_t len)
{
	if (!data && len > 0)
		return -EINVAL;
	return skv_msgpack_check(data, len);
}

int shmkv_value_decode(const void *data, size_t len, struct shmkv_value *ret_value)
{
	const uint8_t *bytes = data;
	struct skv_msgpack_item item;
	struct shmkv_value value;
	int r;

	if (!ret_value)
		return -EINVAL;
	r = shmkv_value_check(data, len);
	if (r < 0)
		return r;
	r = skv_msgpack_item(bytes, len, &item);
	if (r < 0)
		return r;

	value = skv_packed_scalar(&item);
	if (item.type == SHMKV_STR || item.type == SHMKV_BIN) {
		value.data = bytes + item.head_len;
		value.len = len - item.head_len;
	} else if (item.type == SHMKV_PACKED) {
		value.data = bytes;
		value.len = len;
	}
	*ret_value = value;
	return 0;
}

int shmkv_value_encode(struct shmkv_value value, void *buf, size_t cap, size_t *ret_len)
{
	struct skv_bytes bytes;
	int r;

	if (!ret_len || (!buf && cap > 0))
		return -EINVAL;
	r = skv_packed_from_value(&value, &bytes);
	if (r < 0)
		return r;

	*ret_len = bytes.head_len + bytes.len;
	if (*ret_len > cap)
		return -ENOBUFS;
	memcpy(buf, bytes.head, bytes.head_len);
	if (bytes.len > 0)
		memcpy((uint8_t *)buf + bytes.head_len, bytes.data, bytes.len);
	return 0;
}

int skv_packed_answer(const struct skv_sink *sink, int r, struct shmkv_value *ret_value)
{
	struct skv_msgpack_item item;
	struct shmkv_value value;

	if (r < 0 && r != -ENOBUFS)
		return r;
	if (skv_packed_item(sink, &item) < 0)
		return -EBADMSG;
	if (r == 0 && item.type == SHMKV_PACKED && skv_packed_check(sink) < 0)
		return -EBADMSG;
	value = skv_packed_scalar(&item);
	value.len = sink->buf_len;
	if (r == 0 && value.len > 0)
		value.data = sink->buf;
	*ret_value = value;
	return r;
}

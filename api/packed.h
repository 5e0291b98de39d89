/* SPDX-License-Identifier: MIT */
#ifndef SKV_API_PACKED_H
#define SKV_API_PACKED_H

/*
 * packed: between struct shmkv_value and the bytes that engines store.
 *
 * What comes from callers is checked before it is stored; what comes from an engine was in
 * memory that others write, so it is checked again before a caller sees it.
 */

#include "api/engine.h"
#include "codec/msgpack.h"

/*
 * skv_packed_from_value - the bytes to store for a value
 * @ret_bytes: the data of @value stays borrowed
 *
 * Returns 0, -EINVAL (unknown type, or no data where a length says so), -EILSEQ (PACKED that
 * is not one object) or -EFBIG.
 */
int skv_packed_from_value(const struct shmkv_value *value, struct skv_bytes *ret_bytes);

/* The same; what nearly all values are, short texts and bytes, takes no call. */
static inline int skv_packed_make(const struct shmkv_value *value, struct skv_bytes *ret_bytes)
{
	if (value->len > 255 || !value->data ||
	    (value->type != SHMKV_STR && value->type != SHMKV_BIN))
		return skv_packed_from_value(value, ret_bytes);
	if (value->type == SHMKV_STR && value->len < 32) {
		ret_bytes->head[0] = (uint8_t)(0xa0 | value->len);
		ret_bytes->head_len = 1;
	} else {
		ret_bytes->head[0] = value->type == SHMKV_STR ? 0xd9 : 0xc4;
		ret_bytes->head[1] = (uint8_t)value->len;
		ret_bytes->head_len = 2;
	}
	ret_bytes->data = value->data;
	ret_bytes->len = value->len;
	return 0;
}

/*
 * skv_packed_item - the head of the value that a read found
 * @sink: after an engine answered 0 or -ENOBUFS
 *
 * Returns 0, or -EBADMSG when it is no head or does not agree with the value's length. The
 * inside of arrays and maps is not looked at.
 */
int skv_packed_item(const struct skv_sink *sink, struct skv_msgpack_item *ret_item);

/* The same for the first bytes of a value of @value_len bytes. */
int skv_packed_item_of(const uint8_t *head, size_t head_len, size_t value_len,
		       struct skv_msgpack_item *ret_item);

/* A value of the item's type: scalars complete, data NULL and len 0 for the rest. */
struct shmkv_value skv_packed_scalar(const struct skv_msgpack_item *item);

/*
 * skv_packed_answer - what a read into the caller's memory answers
 * @sink: filled by an engine, with skv_msgpack_skip
 * @r: what the engine said
 *
 * Returns @r, or -EBADMSG when what was found is no value. With 0 @ret_value is complete, with
 * -ENOBUFS it has type and length; otherwise it is untouched.
 */
int skv_packed_answer(const struct skv_sink *sink, int r, struct shmkv_value *ret_value);

/* A read's whole object in @sink->buf, nothing skipped: 0 or -EBADMSG. */
int skv_packed_check(const struct skv_sink *sink);

#endif

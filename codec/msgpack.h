/* SPDX-License-Identifier: MIT */
#ifndef SKV_CODEC_MSGPACK_H
#define SKV_CODEC_MSGPACK_H

/*
 * msgpack: as much of the format (https://msgpack.org) as a store of finished objects needs.
 *
 * Three things: read the head of one object, prove that some bytes are exactly one object,
 * and write the head that goes before a payload. None of it allocates or recurses, so it can
 * be let loose on bytes from a segment or from a stranger.
 *
 * Why not msgpack-c here: the library never builds objects, and msgpack-c allocates what a
 * container's header announces before it looks for the elements; five bytes can ask for
 * gigabytes. The tests use it as the independent oracle for this file, and the tools use it to
 * pack and print maps, on bytes that have passed skv_msgpack_check.
 */

#include <shmkv/value.h>

#include <stddef.h>
#include <stdint.h>

/* The longest head: a code and eight bytes of number. */
#define SKV_MSGPACK_HEAD_MAX 9u

/* One object's head: everything about it but its payload or its elements. */
struct skv_msgpack_item {
	enum shmkv_type type; /* SHMKV_PACKED for arrays, maps and ext */
	union {               /* scalars, as documented in value.h */
		bool boolean;
		int64_t i64;
		uint64_t u64;
		double f64;
	};
	size_t head_len;      /* bytes; all there is of a scalar */
	uint64_t payload_len; /* bytes that follow the head: str, bin, ext */
	uint64_t n_items;     /* objects that follow the head: elements, keys and values */
};

/*
 * skv_msgpack_item - read the head of the object at @data
 * @len: bytes that may be read; what follows the head need not be among them
 *
 * Returns 0 or -EILSEQ (the head is cut off, or its code is reserved).
 */
int skv_msgpack_item(const uint8_t *data, size_t len, struct skv_msgpack_item *ret_item);

/*
 * skv_msgpack_check - are these bytes one whole object?
 *
 * Returns 0 or -EILSEQ: cut off, followed by more bytes, a reserved code, deeper than
 * SHMKV_DEPTH_MAX, or a container that announces more objects than bytes are left. Time is
 * linear in @len, text and bytes are stepped over.
 */
int skv_msgpack_check(const uint8_t *data, size_t len);

/*
 * skv_msgpack_head - write what goes before a value's payload, in the shortest form
 * @value: data is not looked at; the head of STR and BIN tells value->len
 * @ret_len: at most SKV_MSGPACK_HEAD_MAX, 0 for PACKED
 *
 * A double is always written as float 64: it stays the type it was put as.
 *
 * Returns 0, -EINVAL (no such type) or -EFBIG (4 GiB or more cannot be told).
 */
int skv_msgpack_head(const struct shmkv_value *value, uint8_t *head, size_t *ret_len);

/*
 * skv_msgpack_head_like - the head of STR or BIN in a form of given length
 * @head_len: as skv_msgpack_head gave it for a length that was not shorter
 * @head: head_len bytes
 */
void skv_msgpack_head_like(enum shmkv_type type, size_t head_len, uint64_t len, uint8_t *head);

/*
 * skv_msgpack_skip - how much of an object is not payload
 * @head: the object's first bytes
 *
 * For struct skv_sink: the header of str and bin, the whole of a scalar, nothing of arrays,
 * maps and ext, nothing when the head is not valid.
 */
size_t skv_msgpack_skip(const uint8_t *head, size_t head_len);

#endif

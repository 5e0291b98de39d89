/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_RECORD_H
#define SKV_HEAP_RECORD_H

/*
 * record: one key with its value in one block of memory. Heap engines share it.
 *
 *     [hash 8][token 8][value length 4][key length 2][flags 2][key][value: one msgpack object]
 *
 * A map that would rather be small leaves the hash out: then the block begins with the token, the
 * record's address is that of the word before, and the hash is computed again where it is needed.
 *
 * Once published a record never changes; a new value is a new record. So whoever can reach it
 * inside a read section may read it, and small ones lie in one or two cache lines.
 */

#include "base/copy.h"
#include "heap/heap.h"

#include <string.h>

struct skv_record {
	uint64_t hash; /* or no memory of ours: see skv_record_hash */
	uint64_t token;
	uint32_t value_len;
	uint16_t key_len_less_1;
	uint16_t flags; /* the engine's own */
	uint8_t bytes[];
};

_Static_assert(sizeof(struct skv_record) == 24, "the key follows the head without a gap");
_Static_assert(SHMKV_KEY_MAX - 1 <= UINT16_MAX, "a key's length less one fits its field");

static inline size_t skv_record_key_len(const struct skv_record *record)
{
	return (size_t)record->key_len_less_1 + 1;
}

static inline const uint8_t *skv_record_value(const struct skv_record *record)
{
	return record->bytes + skv_record_key_len(record);
}

static inline size_t skv_record_bytes(const struct skv_record *record)
{
	return sizeof(*record) + skv_record_key_len(record) + record->value_len;
}

/* Of its block, as it was asked for. */
static inline size_t skv_record_asked(const struct skv_heap *heap, const struct skv_record *record)
{
	return skv_record_bytes(record) - heap->record_skip;
}

static inline uint64_t skv_record_hash(const struct skv_heap *heap, const struct skv_record *record)
{
	const struct skv_key key = { .data = record->bytes, .len = skv_record_key_len(record) };

	return heap->record_skip ? skv_heap_hash(heap, &key) : record->hash;
}

/* Records of this map shall have no hash: skv_record_hash computes it. Before the first one. */
static inline void skv_record_leave_out_hash(struct skv_heap *heap)
{
	heap->record_skip = offsetof(struct skv_record, token);
}

/* Short keys are compared here and not by a call: eight bytes at a time, the last overlapping. */
static inline bool skv_bytes_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint64_t x, y;
	uint32_t s, t;
	size_t i;

	if (len > 64)
		return memcmp(a, b, len) == 0;
	if (len >= 8) {
		for (i = 0; i + 8 < len; i += 8) {
			memcpy(&x, a + i, 8);
			memcpy(&y, b + i, 8);
			if (x != y)
				return false;
		}
		memcpy(&x, a + len - 8, 8);
		memcpy(&y, b + len - 8, 8);
		return x == y;
	}
	if (len >= 4) {
		memcpy(&s, a, 4);
		memcpy(&t, b, 4);
		if (s != t)
			return false;
		memcpy(&s, a + len - 4, 4);
		memcpy(&t, b + len - 4, 4);
		return s == t;
	}
	for (i = 0; i < len; i++) {
		if (a[i] != b[i])
			return false;
	}
	return true;
}

static inline bool skv_record_has_key(const struct skv_record *record, const struct skv_key *key)
{
	return skv_record_key_len(record) == key->len &&
	       skv_bytes_equal(record->bytes, key->data, key->len);
}

/* The value's bytes into a record that no reader has seen, or that nobody reads. */
static inline void skv_record_write(struct skv_record *record, size_t key_len,
				    const struct skv_bytes *value)
{
	uint8_t *to = record->bytes + key_len;

	if (value->head_len <= 2) {
		if (value->head_len > 0)
			to[0] = value->head[0];
		if (value->head_len > 1)
			to[1] = value->head[1];
	} else {
		memcpy(to, value->head, value->head_len);
	}
	skv_copy(to + value->head_len, value->data, value->len);
}

/*
 * skv_record_new - a record with its key, hash and a fresh token; the value is left to fill
 * @value_len: bytes of the whole packed value, written to skv_record_value by the caller
 *
 * Under the lock. Returns 0, -EFBIG (it could not fit even alone, or is longer than 4 GiB),
 * -ENOSPC or -ENOMEM.
 */
int skv_record_new(struct skv_heap *heap, const struct skv_key *key, uint64_t hash,
		   uint64_t value_len, struct skv_record **ret_record);

/* The same with the value of a write. */
int skv_record_from_bytes(struct skv_heap *heap, const struct skv_key *key, uint64_t hash,
			  const struct skv_bytes *value, struct skv_record **ret_record);

/*
 * skv_record_from_splice - the record that an update makes
 * @old: NULL when the key is absent
 *
 * Calls @fn and answers what it answers, or as skv_record_new.
 */
int skv_record_from_splice(struct skv_heap *heap, const struct skv_key *key, uint64_t hash,
			   const struct skv_record *old, skv_splice_fn *fn, void *arg,
			   struct skv_record **ret_record);

/* A record that no reader has ever seen. */
void skv_record_free(struct skv_heap *heap, struct skv_record *record);

/* A record that readers may have. */
void skv_record_retire(struct skv_heap *heap, struct skv_record *record);

/* skv_record_read - fill a sink; 0 or -ENOBUFS. Inside a read section or under the lock. */
int skv_record_read(const struct skv_record *record, struct skv_sink *sink);

#endif

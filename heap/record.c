/* SPDX-License-Identifier: MIT */
#include "heap/record.h"

#include <errno.h>

static bool is_too_long(const struct skv_heap *heap, uint64_t bytes, uint64_t value_len)
{
	return value_len > UINT32_MAX || bytes > heap->max_bytes ||
	       skv_pool_block_bytes(bytes) > heap->max_bytes;
}

static inline int record_new(struct skv_heap *heap, const struct skv_key *key, uint64_t hash,
			     uint64_t value_len, struct skv_record **ret_record)
{
	uint64_t bytes = sizeof(struct skv_record) - heap->record_skip + key->len + value_len;
	struct skv_record *record;
	uint8_t *block;

	/* A map has room for any small block. */
	if (bytes > SKV_POOL_SMALL_MAX && is_too_long(heap, bytes, value_len))
		return -EFBIG;
	block = skv_pool_alloc(&heap->pool, bytes);
	if (!block)
		return heap->pool.error;
	record = (struct skv_record *)(block - heap->record_skip);
	if (heap->record_skip == 0)
		record->hash = hash;
	record->token = skv_heap_next_token(heap);
	record->value_len = (uint32_t)value_len;
	record->key_len_less_1 = (uint16_t)(key->len - 1);
	record->flags = 0;
	skv_copy(record->bytes, key->data, key->len);
	*ret_record = record;
	return 0;
}

int skv_record_new(struct skv_heap *heap, const struct skv_key *key, uint64_t hash,
		   uint64_t value_len, struct skv_record **ret_record)
{
	return record_new(heap, key, hash, value_len, ret_record);
}

int skv_record_from_bytes(struct skv_heap *heap, const struct skv_key *key, uint64_t hash,
			  const struct skv_bytes *value, struct skv_record **ret_record)
{
	int r;

	r = record_new(heap, key, hash, (uint64_t)value->head_len + value->len, ret_record);
	if (r < 0)
		return r;
	skv_record_write(*ret_record, key->len, value);
	return 0;
}

int skv_record_from_splice(struct skv_heap *heap, const struct skv_key *key, uint64_t hash,
			   const struct skv_record *old, skv_splice_fn *fn, void *arg,
			   struct skv_record **ret_record)
{
	size_t old_len = old ? old->value_len : 0, head_len;
	uint8_t head[SKV_HEAD_MAX] = { 0 }, *to;
	struct skv_splice splice;
	uint64_t len;
	int r;

	head_len = old_len < SKV_HEAD_MAX ? old_len : SKV_HEAD_MAX;
	if (old)
		memcpy(head, skv_record_value(old), head_len);
	r = fn(arg, old ? head : NULL, head_len, old_len, &splice);
	if (r < 0)
		return r;
	if (__builtin_add_overflow((uint64_t)splice.head_len + splice.keep_len, splice.tail_len, &len))
		return -EFBIG;
	r = skv_record_new(heap, key, hash, len, ret_record);
	if (r < 0)
		return r;
	to = (*ret_record)->bytes + key->len;
	memcpy(to, splice.head, splice.head_len);
	to += splice.head_len;
	if (splice.keep_len > 0)
		memcpy(to, skv_record_value(old) + splice.keep_off, splice.keep_len);
	to += splice.keep_len;
	if (splice.tail_len > 0)
		memcpy(to, splice.tail, splice.tail_len);
	return 0;
}

void skv_record_free(struct skv_heap *heap, struct skv_record *record)
{
	skv_pool_free(&heap->pool, (uint8_t *)record + heap->record_skip,
		      skv_record_asked(heap, record));
}

void skv_record_retire(struct skv_heap *heap, struct skv_record *record)
{
	skv_heap_retire(heap, (uint8_t *)record + heap->record_skip, skv_record_asked(heap, record));
}

int skv_record_read(const struct skv_record *record, struct skv_sink *sink)
{
	const uint8_t *value = skv_record_value(record);
	size_t skip = 0;

	sink->value_len = record->value_len;
	sink->token = record->token;
	/* The whole head at once where it can be read: a copy of fixed length is two moves. */
	if (record->value_len >= SKV_HEAD_MAX) {
		sink->head_len = SKV_HEAD_MAX;
		memcpy(sink->head, value, SKV_HEAD_MAX);
	} else {
		sink->head_len = record->value_len;
		memcpy(sink->head, value, record->value_len);
	}
	if (sink->skip)
		skip = sink->skip(sink->head, sink->head_len);
	if (skip > record->value_len)
		skip = record->value_len;
	sink->buf_len = record->value_len - skip;
	if (sink->buf_len > sink->cap)
		return -ENOBUFS;
	if (sink->buf_len > 0)
		memcpy(sink->buf, value + skip, sink->buf_len);
	return 0;
}

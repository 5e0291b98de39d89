/* SPDX-License-Identifier: MIT */
/* write-calls: the public calls that change keys. */
#include "api/handle.h"
#include "api/packed.h"

/* ---- whole values ---------------------------------------------------------------- */

/* In line for put only, which is called far more often than the rest. */
static inline __attribute__((always_inline)) int
store_inline(struct shmkv *kv, const void *key, size_t key_len, enum skv_write_mode mode,
	     uint64_t token, const struct shmkv_value *value, uint64_t ttl_ms, uint64_t *ret_token)
{
	struct skv_key k;
	struct skv_bytes bytes;
	uint64_t new_token;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	r = skv_packed_make(value, &bytes);
	if (r < 0)
		return r;
	r = skv_ttl_check(kv->engine, ttl_ms);
	if (r < 0)
		return r;
	if (!kv->engine->write)
		return -EOPNOTSUPP;

	r = kv->engine->write(kv->map, &k, mode, token, &bytes, ttl_ms, &new_token);
	if (r < 0)
		return r;
	if (ret_token)
		*ret_token = new_token;
	return 0;
}

static int store(struct shmkv *kv, const void *key, size_t key_len, enum skv_write_mode mode,
		 uint64_t token, const struct shmkv_value *value, uint64_t ttl_ms,
		 uint64_t *ret_token)
{
	return store_inline(kv, key, key_len, mode, token, value, ttl_ms, ret_token);
}

int shmkv_put(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
	      uint64_t *ret_token)
{
	return store_inline(kv, key, key_len, SKV_WRITE_PUT, 0, &value, SHMKV_TTL_DEFAULT, ret_token);
}

int shmkv_add(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
	      uint64_t *ret_token)
{
	return store(kv, key, key_len, SKV_WRITE_ADD, 0, &value, SHMKV_TTL_DEFAULT, ret_token);
}

int shmkv_replace(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		  uint64_t *ret_token)
{
	return store(kv, key, key_len, SKV_WRITE_REPLACE, 0, &value, SHMKV_TTL_DEFAULT, ret_token);
}

int shmkv_cas(struct shmkv *kv, const void *key, size_t key_len, uint64_t token,
	      struct shmkv_value value, uint64_t *ret_token)
{
	return store(kv, key, key_len, SKV_WRITE_CAS, token, &value, SHMKV_TTL_DEFAULT, ret_token);
}

int shmkv_put_ttl(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		  uint64_t ttl_ms, uint64_t *ret_token)
{
	return store(kv, key, key_len, SKV_WRITE_PUT, 0, &value, ttl_ms, ret_token);
}

int shmkv_add_ttl(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		  uint64_t ttl_ms, uint64_t *ret_token)
{
	return store(kv, key, key_len, SKV_WRITE_ADD, 0, &value, ttl_ms, ret_token);
}

int shmkv_replace_ttl(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		      uint64_t ttl_ms, uint64_t *ret_token)
{
	return store(kv, key, key_len, SKV_WRITE_REPLACE, 0, &value, ttl_ms, ret_token);
}

int shmkv_cas_ttl(struct shmkv *kv, const void *key, size_t key_len, uint64_t token,
		  struct shmkv_value value, uint64_t ttl_ms, uint64_t *ret_token)
{
	return store(kv, key, key_len, SKV_WRITE_CAS, token, &value, ttl_ms, ret_token);
}

/* ---- removal --------------------------------------------------------------------- */

static int remove_key(struct shmkv *kv, const void *key, size_t key_len, struct skv_sink *sink)
{
	struct skv_key k;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (!kv->engine->remove)
		return -EOPNOTSUPP;
	return kv->engine->remove(kv->map, &k, sink);
}

int shmkv_del(struct shmkv *kv, const void *key, size_t key_len)
{
	return remove_key(kv, key, key_len, NULL);
}

/*
 * A value that is not one object is removed like any other, but not handed out: -EBADMSG.
 * Writers trust one another, so this is damage, and damage is better gone.
 */
int shmkv_take(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len)
{
	struct skv_sink sink = { .buf = buf, .cap = cap };
	struct skv_msgpack_item item;
	int r;

	if (!ret_len || (!buf && cap > 0))
		return -EINVAL;

	r = remove_key(kv, key, key_len, &sink);
	if (r == -ENOBUFS) {
		if (skv_packed_item(&sink, &item) < 0)
			return -EBADMSG;
		*ret_len = sink.value_len;
		return r;
	}
	if (r < 0)
		return r;
	if (skv_packed_check(&sink) < 0)
		return -EBADMSG;
	*ret_len = sink.value_len;
	return 0;
}

int shmkv_clear(struct shmkv *kv, uint64_t *ret_removed)
{
	uint64_t removed;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	if (!kv->engine->clear)
		return -EOPNOTSUPP;
	r = kv->engine->clear(kv->map, &removed);
	if (r < 0)
		return r;
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}

/* ---- values made from what is there ---------------------------------------------- */

static int update(struct shmkv *kv, const void *key, size_t key_len, skv_splice_fn *fn, void *arg)
{
	struct skv_key k;
	uint64_t token;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (!kv->engine->update)
		return -EOPNOTSUPP;
	return kv->engine->update(kv->map, &k, fn, arg, &token);
}

struct incr {
	int64_t by;
	int64_t initial;
	int64_t sum; /* as of the last call */
};

static int splice_incr(void *arg, const uint8_t *head, size_t head_len, size_t old_len,
		       struct skv_splice *ret_splice)
{
	struct incr *incr = arg;
	struct skv_splice splice = { .head_len = 0 };
	struct skv_msgpack_item item;
	struct shmkv_value value;
	int64_t from = incr->initial;
	int r;

	if (head) {
		r = skv_packed_item_of(head, head_len, old_len, &item);
		if (r < 0)
			return r;
		if (item.type == SHMKV_UINT)
			return -ERANGE;
		if (item.type != SHMKV_INT)
			return -EPROTOTYPE;
		from = item.i64;
	}
	if (__builtin_add_overflow(from, incr->by, &incr->sum))
		return -ERANGE;

	value = shmkv_int(incr->sum);
	r = skv_msgpack_head(&value, splice.head, &splice.head_len);
	if (r < 0)
		return r;
	*ret_splice = splice;
	return 0;
}

int shmkv_incr(struct shmkv *kv, const void *key, size_t key_len, int64_t by, int64_t initial,
	       int64_t *ret)
{
	struct incr incr = { .by = by, .initial = initial };
	int r;

	r = update(kv, key, key_len, splice_incr, &incr);
	if (r < 0)
		return r;
	if (ret)
		*ret = incr.sum;
	return 0;
}

struct append {
	const struct shmkv_value *value;
	size_t len; /* of the payload, as of the last call */
};

static int splice_append(void *arg, const uint8_t *head, size_t head_len, size_t old_len,
			 struct skv_splice *ret_splice)
{
	struct append *append = arg;
	struct skv_splice splice = { .tail = append->value->data, .tail_len = append->value->len };
	struct skv_msgpack_item item;
	struct shmkv_value whole = *append->value;
	int r;

	if (head) {
		r = skv_packed_item_of(head, head_len, old_len, &item);
		if (r < 0)
			return r;
		if (item.type != append->value->type)
			return -EPROTOTYPE;
		splice.keep_off = item.head_len;
		splice.keep_len = old_len - item.head_len;
		if (__builtin_add_overflow(whole.len, splice.keep_len, &whole.len))
			return -EFBIG;
	}
	/* -EFBIG when the whole needs more than 32 bits of length. */
	r = skv_msgpack_head(&whole, splice.head, &splice.head_len);
	if (r < 0)
		return r;
	append->len = whole.len;
	*ret_splice = splice;
	return 0;
}

int shmkv_append(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		 size_t *ret_len)
{
	struct append append = { .value = &value };
	int r;

	if ((value.type != SHMKV_STR && value.type != SHMKV_BIN) || (!value.data && value.len > 0))
		return -EINVAL;
	r = update(kv, key, key_len, splice_append, &append);
	if (r < 0)
		return r;
	if (ret_len)
		*ret_len = append.len;
	return 0;
}

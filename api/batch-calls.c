/* SPDX-License-Identifier: MIT */
/* batch-calls: the public calls on many keys, taken apart into groups for the engine. */
#include "api/handle.h"
#include "api/packed.h"

#include <shmkv/batch.h>

/* ---- reading --------------------------------------------------------------------- */

/* What an engine without batches does. */
static void read_each(struct shmkv *kv, struct skv_read_op *ops, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		ops[i].result = kv->engine->get(kv->map, &ops[i].key, &ops[i].sink);
}

/* An item as the engine wants it, or the code that is its result. */
static int read_op(const struct shmkv_get_item *item, struct skv_read_op *ret_op)
{
	int r = skv_handle_key(item->key, item->key_len, &ret_op->key);

	if (r < 0)
		return r;
	if (!item->buf && item->cap > 0)
		return -EINVAL;
	ret_op->sink.buf = item->buf;
	ret_op->sink.cap = item->cap;
	ret_op->sink.skip = skv_msgpack_skip;
	return 0;
}

static void read_answer(const struct skv_read_op *op, struct shmkv_get_item *item)
{
	item->result = skv_packed_answer(&op->sink, op->result, &item->value);
	if (item->result == 0)
		item->token = op->sink.token;
}

int shmkv_get_many(struct shmkv *kv, struct shmkv_get_item *items, size_t n, size_t *ret_n_ok)
{
	struct skv_read_op ops[SKV_GROUP_MAX];
	struct shmkv_get_item *of[SKV_GROUP_MAX];
	size_t i = 0, j, n_ops, n_ok = 0;
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!items && n > 0)
		return -EINVAL;
	if (!kv->engine->get)
		return -EOPNOTSUPP;

	while (i < n) {
		for (n_ops = 0; n_ops < SKV_GROUP_MAX && i < n; i++) {
			r = read_op(&items[i], &ops[n_ops]);
			if (r == 0)
				of[n_ops++] = &items[i];
			else
				items[i].result = r;
		}
		if (kv->engine->get_many)
			kv->engine->get_many(kv->map, ops, n_ops);
		else
			read_each(kv, ops, n_ops);
		for (j = 0; j < n_ops; j++) {
			read_answer(&ops[j], of[j]);
			n_ok += of[j]->result == 0;
		}
	}
	if (ret_n_ok)
		*ret_n_ok = n_ok;
	return 0;
}

/* ---- writing --------------------------------------------------------------------- */

/* Codes that mean the thread, not the item; -ENOSPC can mean either. */
static bool is_about_the_call(int r)
{
	return r == -EROFS || r == -EBUSY || r == -EUSERS || r == -ENOMEM;
}

static int write_each(struct shmkv *kv, struct skv_write_op *ops, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		ops[i].result = kv->engine->write(kv->map, &ops[i].key, SKV_WRITE_PUT, 0,
						  &ops[i].value, ops[i].ttl_ms, &ops[i].token);
		if (i == 0 && is_about_the_call(ops[i].result))
			return ops[i].result;
	}
	return 0;
}

static int write_op(const struct skv_engine *engine, const struct shmkv_put_item *item,
		    struct skv_write_op *ret_op)
{
	int r = skv_handle_key(item->key, item->key_len, &ret_op->key);

	if (r < 0)
		return r;
	r = skv_ttl_check(engine, item->ttl_ms);
	if (r < 0)
		return r;
	ret_op->ttl_ms = item->ttl_ms;
	return skv_packed_from_value(&item->value, &ret_op->value);
}

int shmkv_put_many(struct shmkv *kv, struct shmkv_put_item *items, size_t n, size_t *ret_n_ok)
{
	struct skv_write_op ops[SKV_GROUP_MAX];
	struct shmkv_put_item *of[SKV_GROUP_MAX];
	size_t i = 0, j, n_ops, n_ok = 0;
	bool begun = false;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	if (!items && n > 0)
		return -EINVAL;
	if (!kv->engine->write)
		return -EOPNOTSUPP;

	while (i < n) {
		for (n_ops = 0; n_ops < SKV_GROUP_MAX && i < n; i++) {
			r = write_op(kv->engine, &items[i], &ops[n_ops]);
			if (r == 0)
				of[n_ops++] = &items[i];
			else
				items[i].result = r;
		}
		if (n_ops == 0)
			continue;
		if (kv->engine->put_many)
			r = kv->engine->put_many(kv->map, ops, n_ops);
		else
			r = write_each(kv, ops, n_ops);
		if (r < 0 && !begun)
			return r;
		begun = true;
		for (j = 0; j < n_ops; j++) {
			of[j]->result = r < 0 ? r : ops[j].result;
			if (of[j]->result == 0) {
				of[j]->token = ops[j].token;
				n_ok++;
			}
		}
	}
	if (ret_n_ok)
		*ret_n_ok = n_ok;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * reserve-calls: the public calls that write a value in place.
 *
 * A draft remembers the life of its handle, as a view does: when that has ended there is
 * nothing to give back, because detaching did.
 */
#include "api/handle.h"
#include "codec/msgpack.h"

#include <shmkv/reserve.h>

#include <string.h>

int shmkv_reserve(struct shmkv *kv, const void *key, size_t key_len, enum shmkv_type type,
		  size_t len, struct shmkv_draft *ret_draft)
{
	struct shmkv_value value = { .type = type, .len = len };
	struct shmkv_draft draft;
	struct skv_bytes bytes;
	struct skv_hold hold;
	struct skv_key k;
	int r;

	if (!ret_draft || (type != SHMKV_STR && type != SHMKV_BIN))
		return -EINVAL;
	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	memset(&bytes, 0, sizeof(bytes));
	r = skv_msgpack_head(&value, bytes.head, &bytes.head_len);
	if (r < 0)
		return r;
	bytes.len = len;
	if (!kv->engine->reserve)
		return -EOPNOTSUPP;
	r = kv->engine->reserve(kv->map, &k, &bytes, &hold);
	if (r < 0)
		return r;

	memset(&draft, 0, sizeof(draft));
	/* The one place where the caller may write. */
	draft.data = (uint8_t *)(uintptr_t)hold.data + bytes.head_len;
	draft.len = len;
	draft.kv = kv;
	draft.life = skv_handle_state(kv);
	draft.word[0] = hold.word;
	draft.word[1] = hold.token;
	draft.where[0] = hold.context;
	draft.where[1] = hold.idx;
	draft.type = type;
	draft.head_len = (uint32_t)bytes.head_len;
	*ret_draft = draft;
	return 0;
}

static int draft_check(const struct shmkv_draft *draft, struct skv_hold *ret_hold)
{
	int r;

	if (!draft->kv || skv_handle_state(draft->kv) != draft->life)
		return -EBADF;
	r = skv_handle_check(draft->kv);
	if (r < 0)
		return r;
	memset(ret_hold, 0, sizeof(*ret_hold));
	ret_hold->data = (const uint8_t *)draft->data - draft->head_len;
	ret_hold->len = draft->head_len + draft->len;
	ret_hold->word = draft->word[0];
	ret_hold->token = draft->word[1];
	ret_hold->context = draft->where[0];
	ret_hold->idx = draft->where[1];
	return 0;
}

/* A second end finds nothing. */
static void draft_over(struct shmkv_draft *draft)
{
	draft->kv = NULL;
	draft->data = NULL;
}

int shmkv_commit(struct shmkv_draft *draft, size_t len, enum shmkv_commit_mode mode,
		 uint64_t *ret_token)
{
	/* It has no token to compare. */
	return mode == SHMKV_COMMIT_CAS ?
		       -EINVAL :
		       shmkv_commit_ttl(draft, len, mode, 0, SHMKV_TTL_DEFAULT, ret_token);
}

int shmkv_commit_ttl(struct shmkv_draft *draft, size_t len, enum shmkv_commit_mode mode,
		     uint64_t token, uint64_t ttl_ms, uint64_t *ret_token)
{
	static const enum skv_write_mode modes[] = {
		[SHMKV_COMMIT_PUT] = SKV_WRITE_PUT,
		[SHMKV_COMMIT_ADD] = SKV_WRITE_ADD,
		[SHMKV_COMMIT_REPLACE] = SKV_WRITE_REPLACE,
		[SHMKV_COMMIT_CAS] = SKV_WRITE_CAS,
	};
	struct skv_bytes bytes;
	struct skv_hold hold;
	uint64_t new_token;
	int r;

	if (!draft)
		return -EINVAL;
	r = draft_check(draft, &hold);
	if (r < 0)
		return r;
	if (len > draft->len || (unsigned int)mode >= sizeof(modes) / sizeof(modes[0]))
		return -EINVAL;
	r = skv_ttl_check(draft->kv->engine, ttl_ms);
	if (r < 0)
		return r;
	memset(&bytes, 0, sizeof(bytes));
	/* In the form that the reserved length had: the payload stays where it is. */
	skv_msgpack_head_like(draft->type, draft->head_len, len, bytes.head);
	bytes.head_len = draft->head_len;
	bytes.len = len;
	r = draft->kv->engine->commit(draft->kv->map, &hold, modes[mode], token, &bytes, ttl_ms,
				      &new_token);
	if (r < 0)
		return r;
	draft_over(draft);
	if (ret_token)
		*ret_token = new_token;
	return 0;
}

int shmkv_abort(struct shmkv_draft *draft)
{
	struct skv_hold hold;
	int r;

	if (!draft)
		return -EINVAL;
	r = draft_check(draft, &hold);
	if (r == 0)
		r = draft->kv->engine->abort(draft->kv->map, &hold);
	if (r == 0)
		draft_over(draft);
	return r;
}

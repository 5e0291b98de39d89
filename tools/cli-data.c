/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <shmkv/expiry.h>

#include "pack-walk.h"
#include "text-escape.h"
#include "value-json.h"

/* ---- printing one value ---------------------------------------------------------- */

/* str and bin give their payload, everything else the msgpack bytes. */
static void print_bytes(struct cli_call *call, const struct pack_item *item, const void *packed,
			size_t packed_len)
{
	bool payload = item->type == PACK_STR || item->type == PACK_BIN;
	const void *data = payload ? item->data : packed;
	size_t len = payload ? item->len : packed_len;

	if (call->raw) {
		out_write(&call->cli->out, data, len);
	} else {
		out_hex(&call->cli->out, data, len);
		cli_end_line(call);
	}
}

static int print_plain(struct cli_call *call, const struct pack_item *item, const void *packed,
		       size_t packed_len)
{
	struct out *out = &call->cli->out;
	struct emitter e;
	char text[40];
	int r = 0;

	switch (item->type) {
	case PACK_NIL:
		out_text(out, "nil");
		break;
	case PACK_FLOAT:
		double_text(item->f64, text);
		out_text(out, text);
		break;
	case PACK_STR:
		if (call->cli->out_is_terminal)
			text_put(out, item->data, item->len, call->cli->text_flags | TEXT_BLOCK);
		else
			out_write(out, item->data, item->len);
		break;
	default:
		cli_emitter(call, &e);
		r = value_emit(&e, packed, packed_len);
		break;
	}
	cli_end_line(call);
	return r;
}

/* The value as put --json takes it; with --token inside an object that has both. */
static int print_json(struct cli_call *call, const void *packed, size_t packed_len, uint64_t token)
{
	struct emitter e;
	int r;

	cli_emitter(call, &e);
	if (call->token) {
		emit_object_begin(&e);
		emit_key(&e, "key");
		emit_bytes_or_string(&e, call->key, call->key_len);
		emit_key(&e, "token");
		emit_uint_string(&e, token);
		emit_key(&e, "value");
	}
	r = value_emit(&e, packed, packed_len);
	if (call->token)
		emit_object_end(&e);
	cli_end_line(call);
	return r;
}

/* In the form that the options ask for. */
static int print_value(struct cli_call *call, const void *packed, size_t packed_len,
		       uint64_t token)
{
	struct pack_walk walk = pack_walk_over(packed, packed_len);
	struct pack_item item;
	int r;

	/* A segment is somebody else's input. */
	if (shmkv_value_check(packed, packed_len) < 0 || pack_next(&walk, &item) < 0)
		return cli_fail(call, -EBADMSG);

	if (call->raw || call->hex) {
		print_bytes(call, &item, packed, packed_len);
		return TOOL_OK;
	}
	if (call->json)
		r = print_json(call, packed, packed_len, token);
	else
		r = print_plain(call, &item, packed, packed_len);
	return r < 0 ? cli_fail(call, -EBADMSG) : TOOL_OK;
}

static void print_token(struct cli_call *call, uint64_t token)
{
	struct emitter e;

	if (!call->json) {
		out_format(&call->cli->out, "%" PRIu64 "\n", token);
		return;
	}
	cli_emitter(call, &e);
	emit_object_begin(&e);
	emit_key(&e, "key");
	emit_bytes_or_string(&e, call->key, call->key_len);
	emit_key(&e, "token");
	emit_uint_string(&e, token);
	emit_object_end(&e);
	cli_end_line(call);
}

/* {"key":...,"NAME": to be followed by one value and emit_object_end */
static void begin_key_report(struct cli_call *call, struct emitter *e, const char *name)
{
	cli_emitter(call, e);
	emit_object_begin(e);
	emit_key(e, "key");
	emit_bytes_or_string(e, call->key, call->key_len);
	emit_key(e, name);
}

/* ---- reading --------------------------------------------------------------------- */

int cli_get(struct cli_call *call)
{
	uint64_t token;
	size_t len;
	void *packed;
	int r;

	r = shmkv_get_alloc(call->kv, call->key, call->key_len, &packed, &len, &token);
	if (r < 0)
		return cli_fail(call, r);
	if (call->token && !call->json) {
		print_token(call, token);
		r = TOOL_OK;
	} else {
		r = print_value(call, packed, len, token);
	}
	free(packed);
	return r;
}

int cli_take(struct cli_call *call)
{
	size_t cap = 4096, len;
	void *packed = NULL, *larger;
	int r;

	/* Another writer may enlarge the value between two attempts; each one grows the buffer. */
	for (;;) {
		larger = realloc(packed, cap);
		if (!larger) {
			r = -ENOMEM;
			break;
		}
		packed = larger;
		r = shmkv_take(call->kv, call->key, call->key_len, packed, cap, &len);
		if (r != -ENOBUFS)
			break;
		cap = len > cap ? len : cap * 2;
	}
	r = r < 0 ? cli_fail(call, r) : print_value(call, packed, len, 0);
	free(packed);
	return r;
}

int cli_exists(struct cli_call *call)
{
	int r = shmkv_exists(call->kv, call->key, call->key_len);
	struct emitter e;

	if (r < 0 && r != -ENOENT)
		return cli_fail(call, r);
	if (call->json) {
		begin_key_report(call, &e, "exists");
		emit_bool(&e, r == 0);
		emit_object_end(&e);
	} else {
		out_text(&call->cli->out, r == 0 ? "true" : "false");
	}
	cli_end_line(call);
	return r == 0 ? TOOL_OK : TOOL_NO;
}

int cli_count(struct cli_call *call)
{
	struct emitter e;
	uint64_t count;
	int r = shmkv_count(call->kv, &count);

	if (r < 0)
		return cli_fail(call, r);
	if (call->json) {
		cli_emitter(call, &e);
		emit_object_begin(&e);
		emit_member_uint(&e, "count", count);
		emit_object_end(&e);
	} else {
		out_format(&call->cli->out, "%" PRIu64, count);
	}
	cli_end_line(call);
	return TOOL_OK;
}

/* ---- writing --------------------------------------------------------------------- */

static int finish_store(struct cli_call *call, int r, uint64_t token)
{
	if (r < 0)
		return cli_fail(call, r);
	if (call->json || call->token)
		print_token(call, token);
	return TOOL_OK;
}

static int store(struct cli_call *call,
		 int (*fn)(struct shmkv *kv, const void *key, size_t key_len,
			   struct shmkv_value value, uint64_t ttl_ms, uint64_t *ret_token))
{
	struct shmkv_value value;
	uint64_t token = 0;
	void *owned;
	int r;

	r = cli_value(call, &value, &owned);
	if (r != TOOL_OK)
		return r;
	r = fn(call->kv, call->key, call->key_len, value, call->ttl_ms, &token);
	r = finish_store(call, r, token);
	free(owned);
	return r;
}

int cli_put(struct cli_call *call)
{
	return store(call, shmkv_put_ttl);
}

int cli_add(struct cli_call *call)
{
	return store(call, shmkv_add_ttl);
}

int cli_replace(struct cli_call *call)
{
	return store(call, shmkv_replace_ttl);
}

int cli_cas(struct cli_call *call)
{
	struct shmkv_value value;
	uint64_t token = 0;
	void *owned;
	int r;

	r = cli_value(call, &value, &owned);
	if (r != TOOL_OK)
		return r;
	r = shmkv_cas_ttl(call->kv, call->key, call->key_len, call->cas_token, value, call->ttl_ms,
			  &token);
	r = finish_store(call, r, token);
	free(owned);
	return r;
}

/* append takes str and bin only; JSON can say both ("text" and {"$bin":...}). */
static int payload_of(struct cli_call *call, struct shmkv_value *value)
{
	struct shmkv_value inner;

	if (value->type != SHMKV_PACKED)
		return TOOL_OK;
	if (shmkv_value_decode(value->data, value->len, &inner) < 0 ||
	    (inner.type != SHMKV_STR && inner.type != SHMKV_BIN))
		return cli_usage(call, "only text or bytes can be appended");
	*value = inner;
	return TOOL_OK;
}

int cli_append(struct cli_call *call)
{
	struct shmkv_value value;
	struct emitter e;
	size_t len = 0;
	void *owned;
	int r;

	r = cli_value(call, &value, &owned);
	if (r != TOOL_OK)
		return r;
	r = payload_of(call, &value);
	if (r == TOOL_OK) {
		r = shmkv_append(call->kv, call->key, call->key_len, value, &len);
		r = r < 0 ? cli_fail(call, r) : TOOL_OK;
	}
	free(owned);
	if (r == TOOL_OK && call->json) {
		begin_key_report(call, &e, "bytes");
		emit_uint(&e, len);
		emit_object_end(&e);
		cli_end_line(call);
	}
	return r;
}

int cli_incr(struct cli_call *call)
{
	struct emitter e;
	int64_t sum;
	int r = shmkv_incr(call->kv, call->key, call->key_len, call->by, call->initial, &sum);

	if (r < 0)
		return cli_fail(call, r);
	if (call->json) {
		begin_key_report(call, &e, "value");
		emit_int(&e, sum);
		emit_object_end(&e);
	} else {
		out_format(&call->cli->out, "%" PRId64, sum);
	}
	cli_end_line(call);
	return TOOL_OK;
}

int cli_del(struct cli_call *call)
{
	struct emitter e;
	int r = shmkv_del(call->kv, call->key, call->key_len);

	if (r < 0)
		return cli_fail(call, r);
	if (call->json) {
		begin_key_report(call, &e, "removed");
		emit_bool(&e, true);
		emit_object_end(&e);
		cli_end_line(call);
	}
	return TOOL_OK;
}

int cli_clear(struct cli_call *call)
{
	struct emitter e;
	uint64_t removed;
	int r = shmkv_clear(call->kv, &removed);

	if (r < 0)
		return cli_fail(call, r);
	if (call->json) {
		cli_emitter(call, &e);
		emit_object_begin(&e);
		emit_member_uint(&e, "removed", removed);
		emit_object_end(&e);
	} else {
		out_format(&call->cli->out, "%" PRIu64 " removed", removed);
	}
	cli_end_line(call);
	return TOOL_OK;
}

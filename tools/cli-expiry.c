/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>

#include <shmkv/expiry.h>

/* {"key":..., to be followed by members and emit_object_end */
static void begin_key(struct cli_call *call, struct emitter *e)
{
	cli_emitter(call, e);
	emit_object_begin(e);
	emit_key(e, "key");
	emit_bytes_or_string(e, call->key, call->key_len);
}

void cli_emit_ttl(struct emitter *e, uint64_t ttl_ms)
{
	emit_key(e, "ttl_ms");
	if (ttl_ms == SHMKV_TTL_NEVER)
		emit_null(e);
	else
		emit_uint(e, ttl_ms);
}

/* A form that --ttl and touch take. */
int cli_ttl(struct cli_call *call)
{
	struct emitter e;
	uint64_t ttl_ms;
	int r = shmkv_ttl(call->kv, call->key, call->key_len, &ttl_ms);

	if (r < 0)
		return cli_fail(call, r);
	if (call->json) {
		begin_key(call, &e);
		cli_emit_ttl(&e, ttl_ms);
		emit_object_end(&e);
	} else if (ttl_ms == SHMKV_TTL_NEVER) {
		out_text(&call->cli->out, "never");
	} else {
		out_format(&call->cli->out, "%" PRIu64 "ms", ttl_ms);
	}
	cli_end_line(call);
	return TOOL_OK;
}

static int done(struct cli_call *call, int r, const char *what)
{
	struct emitter e;

	if (r < 0)
		return cli_fail(call, r);
	if (call->json) {
		begin_key(call, &e);
		emit_key(&e, what);
		emit_bool(&e, true);
		emit_object_end(&e);
		cli_end_line(call);
	}
	return TOOL_OK;
}

int cli_touch(struct cli_call *call)
{
	if (call->ttl_ms == SHMKV_TTL_KEEP)
		return cli_usage(call, "touch gives a new time: \"keep\" has no meaning here");
	return done(call, shmkv_touch(call->kv, call->key, call->key_len, call->ttl_ms), "touched");
}

int cli_persist(struct cli_call *call)
{
	return done(call, shmkv_persist(call->kv, call->key, call->key_len), "persists");
}

int cli_expire(struct cli_call *call)
{
	struct emitter e;
	uint64_t removed;
	int r = shmkv_expire(call->kv, call->limit, &removed);

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

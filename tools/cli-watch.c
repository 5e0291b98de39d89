/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shmkv/expiry.h>
#include <shmkv/wait.h>

#include "entries.h"
#include "token-table.h"
#include "value-json.h"

/*
 * One key is waited for by itself. Of several keys the tool remembers what it has shown of
 * each, and looks at all of them when anything has changed, and when the first of them expires,
 * which is no change of the segment.
 *
 * A look walks over the keys while others write. What happened before it began is shown by it
 * or was shown before: so an expiry is never shown later than a change that came after it, unless
 * both fell into one look. Within a look keys are shown as the walk meets them, and at its
 * end those that are gone.
 */

/* The machine may sleep: deadlines of keys go on then, those of waits do not. */
#define SLEEP_MAX_MS 1000u

struct watch {
	struct cli_call *call;
	struct emitter emitter;
	uint64_t deadline;
	uint64_t shown; /* changes */
	bool first;     /* what is there from the beginning is no change */
};

static volatile sig_atomic_t ended;
static struct shmkv *waiting;

static void on_end(int sig)
{
	(void)sig;
	ended = 1;
	shmkv_wait_cancel(waiting);
}

/* ---- showing ------------------------------------------------------------------------- */

static bool is_enough(const struct watch *w)
{
	return ended || out_stopped(&w->call->cli->out) ||
	       (w->call->count > 0 && w->shown >= w->call->count);
}

/* @value NULL: the key is gone. */
static void show(struct watch *w, const void *key, size_t key_len, const void *value,
		 size_t value_len, uint64_t token)
{
	struct out *out = &w->call->cli->out;

	if ((w->first && !w->call->now) || is_enough(w))
		return;
	w->shown++;
	if (w->call->json) {
		emit_object_begin(&w->emitter);
		emit_member_string(&w->emitter, "event", value ? "put" : "del");
		emit_key(&w->emitter, "key");
		emit_bytes_or_string(&w->emitter, key, key_len);
		if (value) {
			emit_key(&w->emitter, "token");
			emit_uint_string(&w->emitter, token);
			emit_key(&w->emitter, "value");
			value_emit(&w->emitter, value, value_len);
		}
		emit_object_end(&w->emitter);
	} else {
		out_text(out, value ? "put\t" : "del\t");
		cli_print_key(w->call, key, key_len);
		if (value) {
			out_char(out, '\t');
			value_emit(&w->emitter, value, value_len);
		}
	}
	cli_end_line(w->call);
}

/* ---- one key ------------------------------------------------------------------------- */

static int watch_key(struct watch *w)
{
	struct cli_call *call = w->call;
	uint64_t shown = 0, token = 0;
	size_t len = 0;
	void *value;
	int r = 0;

	while (r == 0 && !is_enough(w)) {
		value = NULL;
		r = shmkv_get_alloc(call->kv, call->key, call->key_len, &value, &len, &token);
		if (r == -ENOENT) {
			token = 0;
			r = 0;
		}
		/* Whatever was there between two looks, is not shown. */
		if (r == 0 && token != shown)
			show(w, call->key, call->key_len, value, len, token);
		free(value);
		shown = token;
		w->first = false;
		out_flush(&call->cli->out);
		if (r == 0 && !is_enough(w))
			r = shmkv_wait(call->kv, call->key, call->key_len, token, w->deadline, NULL);
		if (r == -EINTR)
			r = 0;
	}
	return r;
}

/* ---- many keys ----------------------------------------------------------------------- */

static void show_gone(const void *key, size_t key_len, void *arg)
{
	show(arg, key, key_len, NULL, 0, 0);
}

/* The time that is left to the entry, if it is less than @ttl_ms. */
static int note_ttl(const struct shmkv_scan *scan, uint64_t *ttl_ms)
{
	uint64_t left = 0;
	int r = shmkv_scan_ttl(scan, &left);

	/* Expired since the scan gave it: the next look is due at once. */
	if (r < 0 && r != -ENOENT)
		return r;
	if (left < *ttl_ms)
		*ttl_ms = left;
	return 0;
}

/*
 * All keys with the prefix, against what the table says of them. @ret_ttl_ms: how long the first
 * of them to expire has still to live.
 */
static int look(struct watch *w, struct token_table *table, const char *prefix,
		uint64_t *ret_ttl_ms)
{
	size_t prefix_len = strlen(prefix);
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t damaged = 0;
	bool changed;
	int r;

	*ret_ttl_ms = SHMKV_TTL_NEVER;
	r = shmkv_scan_begin(w->call->kv, 0, &scan);
	if (r < 0)
		return r;
	while (!is_enough(w) && (r = entries_next(scan, &entry, &damaged)) == 1) {
		if (entry.key_len < prefix_len || memcmp(entry.key, prefix, prefix_len) != 0)
			continue;
		r = token_table_note(table, entry.key, entry.key_len, entry.token, &changed);
		if (r == 0)
			r = note_ttl(scan, ret_ttl_ms);
		if (r < 0)
			break;
		if (changed)
			show(w, entry.key, entry.key_len, entry.value, entry.value_len, entry.token);
	}
	shmkv_scan_end(scan);
	/* Only a whole scan says what is gone. */
	if (r == 0 && !is_enough(w))
		token_table_sweep(table, show_gone, w);
	return r < 0 ? r : 0;
}

static uint64_t boot_ms(void)
{
	struct timespec now;

	/* The clock that deadlines of keys are counted by. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Sleeps until there is reason for another look. */
static int sleep_until_due(const struct watch *w, uint64_t state, uint64_t ttl_ms)
{
	/* What is left is rounded down. */
	uint64_t due = ttl_ms < SHMKV_TTL_NEVER ? boot_ms() + ttl_ms + 1 : UINT64_MAX;
	uint64_t now, wake;
	int r;

	for (;;) {
		wake = w->deadline;
		if (due != UINT64_MAX) {
			now = boot_ms();
			wake = shmkv_deadline_in(due <= now ? 0 :
						 due - now < SLEEP_MAX_MS ? due - now : SLEEP_MAX_MS);
		}
		if (wake > w->deadline)
			wake = w->deadline;
		r = shmkv_wait_any(w->call->kv, state, wake, NULL);
		if (r != -ETIMEDOUT || wake == w->deadline)
			return r;
		if (boot_ms() >= due)
			return 0;
	}
}

static int watch_many(struct watch *w, const char *prefix)
{
	struct token_table table = { .slots = NULL };
	struct cli_call *call = w->call;
	uint64_t state = 0, ttl_ms;
	int r = 0;

	while (r == 0 && !is_enough(w)) {
		ttl_ms = SHMKV_TTL_NEVER;
		/* Before the look: what changes meanwhile makes another one. */
		r = shmkv_state(call->kv, &state);
		if (r == 0)
			r = look(w, &table, prefix, &ttl_ms);
		w->first = false;
		out_flush(&call->cli->out);
		if (r == 0 && !is_enough(w))
			r = sleep_until_due(w, state, ttl_ms);
		if (r == -EINTR)
			r = 0;
	}
	token_table_deinit(&table);
	return r;
}

/* ---- the verb ------------------------------------------------------------------------ */

int cli_watch(struct cli_call *call)
{
	struct sigaction action = { .sa_handler = on_end }, before[2];
	struct watch w = { .call = call, .deadline = SHMKV_NO_DEADLINE, .first = true };
	int r;

	if ((call->key != NULL) + (call->prefix != NULL) + call->all != 1)
		return cli_usage(call, "give either KEY, --prefix or --all");
	if (call->timeout_said)
		w.deadline = shmkv_deadline_in(call->timeout_ms);
	cli_emitter(call, &w.emitter);

	ended = 0;
	waiting = call->kv;
	sigaction(SIGINT, &action, &before[0]);
	sigaction(SIGTERM, &action, &before[1]);
	r = call->key ? watch_key(&w) : watch_many(&w, call->prefix ? call->prefix : "");
	sigaction(SIGINT, &before[0], NULL);
	sigaction(SIGTERM, &before[1], NULL);
	/* The shell's handle is used again. */
	shmkv_wait_resume(call->kv);

	if (ended || r == -ECANCELED || r == 0)
		return TOOL_OK;
	if (r == -ETIMEDOUT)
		return TOOL_NO;
	return cli_fail(call, r);
}

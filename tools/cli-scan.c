/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <shmkv/expiry.h>

#include "durations.h"
#include "entries.h"
#include "progress.h"
#include "value-json.h"

struct walk {
	struct cli_call *call;
	struct shmkv_scan *scan;
	struct emitter emitter;
	const char *prefix;
	uint64_t seen, shown, damaged;
	uint64_t cursor; /* paged: where another scan can go on */
};

/* Of the entry that was given last; one that has expired meanwhile has nothing left. */
static uint64_t ttl_of(const struct walk *w)
{
	uint64_t ttl_ms;

	return shmkv_scan_ttl(w->scan, &ttl_ms) < 0 ? 0 : ttl_ms;
}

static void show_json(struct walk *w, const struct shmkv_entry *entry)
{
	uint64_t ttl_ms = ttl_of(w);

	emit_object_begin(&w->emitter);
	emit_key(&w->emitter, "key");
	emit_bytes_or_string(&w->emitter, entry->key, entry->key_len);
	if (!w->call->keys_only) {
		emit_key(&w->emitter, "value");
		value_emit(&w->emitter, entry->value, entry->value_len);
	}
	if (w->call->show_ttl || ttl_ms != SHMKV_TTL_NEVER)
		cli_emit_ttl(&w->emitter, ttl_ms);
	emit_object_end(&w->emitter);
}

static void show_line(struct walk *w, const struct shmkv_entry *entry)
{
	char ttl[32];

	cli_print_key(w->call, entry->key, entry->key_len);
	if (!w->call->keys_only) {
		out_char(&w->call->cli->out, '\t');
		value_emit(&w->emitter, entry->value, entry->value_len);
	}
	if (w->call->show_ttl) {
		duration_text(ttl_of(w), ttl);
		out_char(&w->call->cli->out, '\t');
		out_text(&w->call->cli->out, ttl);
	}
	cli_end_line(w->call);
}

static void show(struct walk *w, const struct shmkv_entry *entry)
{
	size_t prefix_len = strlen(w->prefix);

	if (entry->key_len < prefix_len || memcmp(entry->key, w->prefix, prefix_len) != 0)
		return;
	w->shown++;
	if (w->call->json)
		show_json(w, entry);
	else
		show_line(w, entry);
}

/*
 * Whether a scan from the cursor goes on behind this entry, instead of beginning its
 * stretch again: then a page can end here and no key is shown twice.
 */
static int page_can_end(struct walk *w, const struct shmkv_entry *entry, uint64_t cursor)
{
	struct shmkv_entry next;
	struct shmkv_scan *scan;
	int r;

	r = shmkv_scan_begin(w->call->kv, cursor, &scan);
	if (r < 0)
		return r;
	r = shmkv_scan_next(scan, &next);
	if (r >= 0)
		r = r == 0 || next.key_len != entry->key_len ||
		    memcmp(next.key, entry->key, entry->key_len) != 0;
	shmkv_scan_end(scan);
	return r;
}

/* Without --cursor the limit is exact. */
static int page_is_full(struct walk *w, const struct shmkv_entry *entry, uint64_t cursor)
{
	if (w->call->limit == 0 || w->shown < w->call->limit)
		return 0;
	if (!w->call->paged)
		return 1;
	/* Where the cursor stays, entries of the same stretch are still to come. */
	return cursor != w->cursor ? page_can_end(w, entry, cursor) : 0;
}

static int walk_all(struct walk *w)
{
	struct shmkv_entry entry;
	struct progress progress;
	uint64_t total = 0, cursor;
	int r;

	/* Only for the progress line; without it the line has no total. */
	if (shmkv_count(w->call->kv, &total) < 0)
		total = 0;
	progress_begin(&progress, w->call->cli->out.fd, "keys", total);
	w->cursor = shmkv_scan_cursor(w->scan);

	for (;;) {
		r = entries_next(w->scan, &entry, &w->damaged);
		cursor = shmkv_scan_cursor(w->scan);
		if (r <= 0)
			break;
		show(w, &entry);
		if (out_stopped(&w->call->cli->out))
			break;
		progress_step(&progress, ++w->seen);
		if (cli_interrupted()) {
			r = -EINTR;
			break;
		}
		r = page_is_full(w, &entry, cursor);
		if (r != 0)
			break;
		w->cursor = cursor;
	}
	w->cursor = cursor;
	progress_end(&progress);
	if (r >= 0 && w->damaged > 0)
		return -EBADMSG;
	return r < 0 ? r : 0;
}

static void show_end(struct walk *w, int r)
{
	struct cli_call *call = w->call;

	if (call->json) {
		emit_array_end(&w->emitter);
		if (call->paged && r == 0) {
			emit_key(&w->emitter, "cursor");
			if (w->cursor == UINT64_MAX)
				emit_null(&w->emitter);
			else
				emit_uint_string(&w->emitter, w->cursor);
		}
		/* A reader of a document that had to end early finds the reason in it. */
		if (r < 0)
			emit_member_string(&w->emitter, "error",
					   r == -EINTR ? "EINTR" : shmkv_errname(r));
		emit_object_end(&w->emitter);
		cli_end_line(call);
	} else if (call->paged && r == 0 && w->cursor != UINT64_MAX) {
		out_flush(&call->cli->out);
		fprintf(stderr, "next cursor: %" PRIu64 "\n", w->cursor);
	}
}

int cli_scan(struct cli_call *call)
{
	struct walk w = { .call = call, .prefix = call->prefix ? call->prefix : "" };
	int r;

	r = shmkv_scan_begin(call->kv, call->cursor, &w.scan);
	if (r < 0)
		return cli_fail(call, r);
	cli_emitter(call, &w.emitter);
	if (call->json) {
		emit_object_begin(&w.emitter);
		emit_key(&w.emitter, "entries");
		emit_array_begin(&w.emitter);
	}
	r = walk_all(&w);
	show_end(&w, r);
	w.scan = shmkv_scan_end(w.scan);

	if (r == -EINTR)
		return report_problem(&call->rep, TOOL_OTHER, "EINTR", "repeat it, perhaps with --limit",
				      "interrupted after %" PRIu64 " keys", w.seen);
	return r < 0 ? cli_fail(call, r) : TOOL_OK;
}

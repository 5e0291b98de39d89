/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <shmkv/inspect.h>

#include "cli-report.h"
#include "progress.h"
#include "text-escape.h"

/* ---- a long walk ----------------------------------------------------------------- */

struct walk {
	struct cli_call *call;
	struct emitter *emitter;
	struct progress progress;
};

/* The result comes at the end, so the line may stand on the same terminal meanwhile. */
static void walk_begin(struct walk *walk, struct cli_call *call, struct emitter *e)
{
	walk->call = call;
	walk->emitter = e;
	progress_begin(&walk->progress, -1, "chunks", 0);
}

static void show_progress(uint64_t done, uint64_t total, void *arg)
{
	struct walk *walk = arg;

	walk->progress.total = total;
	progress_step(&walk->progress, done);
}

/* ---- recover --------------------------------------------------------------------- */

int cli_recover(struct cli_call *call)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct walk walk;
	struct shmkv_watch watch = { .size = sizeof(watch), .progress = show_progress, .arg = &walk };
	struct emitter e;
	int r;

	cli_emitter(call, &e);
	walk_begin(&walk, call, &e);
	r = shmkv_recover_watched(call->kv, &watch, &report);
	progress_end(&walk.progress);
	if (r < 0)
		return cli_fail(call, r);

	const struct cli_line lines[] = {
		{ "processes", "processes recovered", LINE_COUNT, report.processes },
		{ "contexts", "threads of those", LINE_COUNT, report.contexts },
		{ "blocks", "records given back", LINE_COUNT, report.blocks },
		{ "bytes", "bytes in those", LINE_BYTES, report.bytes },
		{ "leaves", "leaves given back", LINE_COUNT, report.leaves },
		{ "chunks", "chunks given back", LINE_COUNT, report.chunks },
	};

	if (call->json)
		emit_object_begin(&e);
	cli_show_lines(call, &e, lines, COUNT_OF(lines));
	if (call->json) {
		emit_key(&e, "count_fix");
		emit_int(&e, report.count_fix);
		emit_object_end(&e);
		cli_end_line(call);
	} else {
		out_format(&call->cli->out, "%-22s %" PRId64 "\n", "count corrected by",
			   report.count_fix);
	}
	return TOOL_OK;
}

/* ---- verify ---------------------------------------------------------------------- */

static void show_violation(const char *violation, void *arg)
{
	struct walk *walk = arg;
	struct cli_call *call = walk->call;
	struct out *out = &call->cli->out;

	if (call->json) {
		emit_bytes_or_string(walk->emitter, violation, strlen(violation));
		return;
	}
	progress_end(&walk->progress);
	out_text(out, "violation: ");
	text_put(out, violation, strlen(violation), call->cli->text_flags);
	out_char(out, '\n');
}

static void show_violated(struct emitter *e, uint64_t violated)
{
	char name[8];

	emit_key(e, "violated");
	emit_array_begin(e);
	for (unsigned int i = 0; i < 64; i++) {
		if (!(violated >> i & 1))
			continue;
		snprintf(name, sizeof(name), "C%u", i);
		emit_string(e, name);
	}
	emit_array_end(e);
}

static bool has_leaks(const struct shmkv_audit *audit)
{
	return audit->leaked_blocks || audit->leaked_leaves || audit->leaked_chunks;
}

static void show_verdict(struct cli_call *call, const struct shmkv_audit *audit)
{
	struct out *out = &call->cli->out;

	if (audit->violations)
		out_text(out, "The segment is damaged: save what can be read (shmkv-dump), and make a "
			      "new one.\n");
	else if (has_leaks(audit))
		out_text(out, "Every invariant holds. \"shmkv recover NAME\" gives back what is lost.\n");
	else if (audit->undecided)
		out_text(out, "Every invariant holds, as far as could be seen while others write.\n");
	else
		out_text(out, "Every invariant holds, and nothing is lost.\n");
}

int cli_verify(struct cli_call *call)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct walk walk;
	struct shmkv_watch watch = { .size = sizeof(watch), .violation = show_violation,
				     .progress = show_progress, .arg = &walk };
	struct emitter e;
	int r;

	cli_emitter(call, &e);
	if (call->json) {
		emit_object_begin(&e);
		emit_key(&e, "list");
		emit_array_begin(&e);
	}
	walk_begin(&walk, call, &e);
	r = shmkv_verify(call->kv, &watch, &audit);
	progress_end(&walk.progress);
	if (call->json)
		emit_array_end(&e);

	const struct cli_line lines[] = {
		{ "violations", "violations", LINE_COUNT, audit.violations },
		{ "undecided", "undecided", LINE_COUNT, audit.undecided },
		{ "keys", "keys reachable", LINE_COUNT, audit.keys },
		{ "count", "keys counted", LINE_COUNT, audit.count },
		{ "record_bytes", "bytes of records", LINE_BYTES, audit.record_bytes },
		{ "block_bytes", "bytes of their blocks", LINE_BYTES, audit.block_bytes },
		{ "probe_lines", "slot lines to find all", LINE_COUNT, audit.probe_lines },
		{ "leaked_blocks", "lost records", LINE_COUNT, audit.leaked_blocks },
		{ "dead_blocks", "  of dead processes", LINE_COUNT, audit.dead_blocks },
		{ "leaked_bytes", "bytes in those", LINE_BYTES, audit.leaked_bytes },
		{ "dead_bytes", "  of dead processes", LINE_BYTES, audit.dead_bytes },
		{ "leaked_leaves", "lost leaves", LINE_COUNT, audit.leaked_leaves },
		{ "dead_leaves", "  of dead processes", LINE_COUNT, audit.dead_leaves },
		{ "leaked_chunks", "lost chunks", LINE_COUNT, audit.leaked_chunks },
		{ "dead_chunks", "  of dead processes", LINE_COUNT, audit.dead_chunks },
		{ "unreturned_chunks", "  free, to be found", LINE_COUNT, audit.unreturned_chunks },
	};

	if (r == 0 || r == -EBADMSG) {
		cli_show_lines(call, &e, lines, COUNT_OF(lines));
		if (call->json)
			show_violated(&e, audit.violated);
		else
			show_verdict(call, &audit);
	}
	if (call->json) {
		emit_object_end(&e);
		cli_end_line(call);
	}
	if (r == -EBADMSG && audit.violations == 0)
		return TOOL_NO;
	return r < 0 ? cli_fail(call, r) : TOOL_OK;
}

/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <shmkv/save.h>

#include "cli-file.h"
#include "cli-report.h"
#include "new-file.h"
#include "progress.h"

static void show_progress(uint64_t done, uint64_t total, void *arg)
{
	struct progress *progress = arg;

	progress->total = total;
	progress_step(progress, done);
}

/* ---- save ------------------------------------------------------------------------- */

static void show_saved(struct cli_call *call, const struct shmkv_saved *saved)
{
	const struct cli_line lines[] = {
		{ "keys", "keys", LINE_COUNT, saved->keys },
		{ "expiring", "  with a time to live", LINE_COUNT, saved->expiring },
		{ "data_bytes", "keys and values", LINE_BYTES, saved->data_bytes },
		{ "bytes", "file", LINE_BYTES, saved->bytes },
	};
	struct emitter e;

	cli_emitter(call, &e);
	if (call->json) {
		emit_object_begin(&e);
		emit_member_string(&e, "segment", call->segment);
		emit_key(&e, "file");
		emit_bytes_or_string(&e, call->path, strlen(call->path));
	}
	cli_show_lines(call, &e, lines, COUNT_OF(lines));
	if (call->json) {
		emit_object_end(&e);
		cli_end_line(call);
	}
}

int cli_save(struct cli_call *call)
{
	struct shmkv_saved saved = { .size = sizeof(saved) };
	struct progress progress;
	struct shmkv_watch watch = { .size = sizeof(watch), .progress = show_progress,
				     .arg = &progress };
	struct shmkv_save_options opts = { .size = sizeof(opts), .compression = call->compression,
					   .watch = &watch };
	bool standard = strcmp(call->path, "-") == 0;
	struct new_file file;
	int r;

	if (standard && (call->cli->in_shell || isatty(STDOUT_FILENO)))
		return cli_usage(call, "a save file is not made for terminals: give FILE, or send the "
				       "output elsewhere");
	if (standard && call->json_said)
		return cli_usage(call, "standard output takes the file: --json has no place there");
	r = new_file_begin(&file, call->path);
	if (r < 0)
		return cli_file_problem(call, "write", -r);
	progress_begin(&progress, standard ? STDOUT_FILENO : -1, "keys", 0);
	r = shmkv_save(call->kv, file.fd, &opts, &saved);
	progress_end(&progress);
	if (r < 0) {
		new_file_drop(&file);
		if (r == -ENOSPC || r == -EFBIG || r == -EIO)
			return cli_file_problem(call, "write", -r);
		return cli_fail(call, r);
	}
	r = new_file_commit(&file);
	if (r < 0)
		return cli_file_problem(call, "write", -r);
	if (!standard)
		show_saved(call, &saved);
	return TOOL_OK;
}

/* ---- load ------------------------------------------------------------------------- */

/* What the file itself is to blame for, with the place. */
static int blame_file(struct cli_call *call, int r, const struct shmkv_loaded *loaded)
{
	const char *hint = "take another copy of the file";

	if (r == -EPROTONOSUPPORT)
		return report_problem(&call->rep, TOOL_DAMAGED, shmkv_errname(r),
				      "use the release of shmkv that wrote it, or export JSON lines there",
				      "\"%s\" has version %" PRIu32 " of the format; this is shmkv %s, which "
				      "reads version 1", call->path, loaded->format_version, shmkv_version());
	if (r == -EOPNOTSUPP)
		hint = "build with -Dzstd=enabled";
	if (r == -EFBIG)
		hint = "load it with a larger --size";
	if (r == -EMEDIUMTYPE)
		hint = "check the path; \"shmkv import\" reads JSON lines";
	return report_problem(&call->rep, r == -EFBIG ? TOOL_NO_SPACE : TOOL_DAMAGED, shmkv_errname(r),
			      hint, "\"%s\" at byte %" PRIu64 ": %s", call->path, loaded->position,
			      loaded->problem);
}

static int load_problem(struct cli_call *call, int r, const struct shmkv_loaded *loaded)
{
	if (loaded->problem)
		return blame_file(call, r, loaded);
	if (r == -ENOSPC)
		return report_problem(&call->rep, TOOL_NO_SPACE, "ENOSPC",
				      "load it with a larger --size, or free memory",
				      "there is no room for more than %" PRIu64 " keys of \"%s\"",
				      loaded->keys, call->path);
	return report_code(&call->rep, STAGE_SEGMENT, r);
}

static void show_loaded(struct cli_call *call, const struct shmkv_loaded *loaded)
{
	const struct cli_line lines[] = {
		{ "keys", "keys", LINE_COUNT, loaded->keys },
		{ "expiring", "  with a time to live", LINE_COUNT, loaded->expiring },
		{ "data_bytes", "keys and values", LINE_BYTES, loaded->data_bytes },
		{ "bytes", "file", LINE_BYTES, loaded->position },
		{ "max_bytes", "size of its segment", LINE_BYTES, loaded->max_bytes },
	};
	time_t seconds = (time_t)(loaded->saved_ms / 1000);
	char when[32] = "";
	struct tm tm;
	struct emitter e;

	if (gmtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	cli_emitter(call, &e);
	if (call->json) {
		emit_object_begin(&e);
		emit_key(&e, "file");
		emit_bytes_or_string(&e, call->path, strlen(call->path));
		emit_member_uint(&e, "format_version", loaded->format_version);
	}
	cli_show_text(call, &e, "engine", "saved from engine", loaded->engine);
	cli_show_text(call, &e, "version", "by version", loaded->version);
	cli_show_text(call, &e, "saved", "at", when);
	cli_show_lines(call, &e, lines, COUNT_OF(lines));
	if (call->json) {
		emit_object_end(&e);
		cli_end_line(call);
	}
}

static int load(struct cli_call *call, const char *name)
{
	struct shmkv_loaded loaded = { .size = sizeof(loaded) };
	struct progress progress;
	struct shmkv_watch watch = { .size = sizeof(watch), .progress = show_progress,
				     .arg = &progress };
	struct shmkv_load_options opts = { .size = sizeof(opts), .map = &call->create,
					   .watch = &watch };
	struct shmkv *kv = NULL;
	int fd, r;

	fd = cli_file_open(call);
	if (fd < 0)
		return cli_file_problem(call, "read", -fd);
	progress_begin(&progress, -1, "keys", 0);
	r = shmkv_load(name, fd, &opts, name ? &kv : NULL, &loaded);
	progress_end(&progress);
	cli_file_close(fd);
	shmkv_detach(kv);
	if (r == -EIO)
		return cli_file_problem(call, "read", EIO);
	if (r < 0)
		return load_problem(call, r, &loaded);
	show_loaded(call, &loaded);
	return TOOL_OK;
}

int cli_load(struct cli_call *call)
{
	return load(call, call->segment);
}

int cli_peek(struct cli_call *call)
{
	return load(call, NULL);
}

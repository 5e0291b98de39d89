/* SPDX-License-Identifier: MIT */
/*
 * cli-lines: export and import, a key a line as a JSON object:
 *
 *	{"key":"name","value":{"any":"JSON"},"ttl_ms":5000}
 *
 * What JSON cannot say has the explicit forms of value-json; a key that is no text is
 * {"$bin":"base64"}. Without "ttl_ms", or with null, a key lives for ever.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shmkv/expiry.h>

#include "cli-file.h"
#include "json-read.h"
#include "new-file.h"
#include "pack-walk.h"
#include "progress.h"
#include "value-json.h"

#define BUFFER_BYTES ((size_t)1 << 16)

/* ---- export ----------------------------------------------------------------------- */

static void write_line(struct emitter *e, const struct shmkv_entry *entry, uint64_t ttl_ms)
{
	emit_object_begin(e);
	emit_key(e, "key");
	emit_bytes_or_string(e, entry->key, entry->key_len);
	emit_key(e, "value");
	value_emit(e, entry->value, entry->value_len);
	if (ttl_ms != SHMKV_TTL_NEVER)
		emit_member_uint(e, "ttl_ms", ttl_ms);
	emit_object_end(e);
	out_char(e->out, '\n');
}

static int export_entries(struct cli_call *call, struct out *out, uint64_t *ret_keys)
{
	struct progress progress;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct emitter e;
	uint64_t total = 0, ttl_ms;
	int r, t;

	if (shmkv_count(call->kv, &total) < 0)
		total = 0;
	r = shmkv_scan_begin(call->kv, 0, &scan);
	if (r < 0)
		return r;
	emit_init(&e, out, false);
	progress_begin(&progress, out->fd, "keys", total);
	while (!out_stopped(out) && (r = shmkv_scan_next(scan, &entry)) == 1) {
		t = shmkv_scan_ttl(scan, &ttl_ms);
		if (t == -EOPNOTSUPP)
			ttl_ms = SHMKV_TTL_NEVER;
		else if (t < 0 || ttl_ms == 0)
			continue; /* it has expired meanwhile */
		write_line(&e, &entry, ttl_ms);
		progress_step(&progress, ++*ret_keys);
	}
	progress_end(&progress);
	shmkv_scan_end(scan);
	return r < 0 ? r : 0;
}

static void report_keys(struct cli_call *call, const char *what, uint64_t keys)
{
	struct emitter e;

	if (call->json) {
		cli_emitter(call, &e);
		emit_object_begin(&e);
		emit_member_uint(&e, "keys", keys);
		emit_object_end(&e);
	} else {
		out_format(&call->cli->out, "%" PRIu64 " %s %s", keys, keys == 1 ? "key" : "keys", what);
	}
	cli_end_line(call);
}

int cli_export(struct cli_call *call)
{
	static char buffer[BUFFER_BYTES];
	bool standard = strcmp(call->path, "-") == 0;
	struct new_file file;
	struct out out;
	uint64_t keys = 0;
	int r;

	out_flush(&call->cli->out);
	r = new_file_begin(&file, call->path);
	if (r < 0)
		return cli_file_problem(call, "write", -r);
	out_init_file(&out, file.fd, buffer, sizeof(buffer));
	r = export_entries(call, &out, &keys);
	if (r < 0) {
		out_flush(&out);
		new_file_drop(&file);
		return cli_fail(call, r);
	}
	r = out_flush(&out);
	if (r < 0)
		new_file_drop(&file);
	else
		r = new_file_commit(&file);
	if (r < 0)
		return cli_file_problem(call, "write", -r);
	if (!standard)
		report_keys(call, "exported", keys);
	return TOOL_OK;
}

/* ---- one line --------------------------------------------------------------------- */

struct line {
	void *packed; /* the whole line as msgpack; what follows points into it */
	const void *key;
	size_t key_len;
	const void *value;
	size_t value_len;
	uint64_t ttl_ms;
};

static int refuse(char *problem, const char *why)
{
	snprintf(problem, JSON_PROBLEM_MAX, "%s", why);
	return -EILSEQ;
}

static int read_ttl(struct pack_walk *walk, struct line *line, char *problem)
{
	struct pack_item item;

	if (pack_next(walk, &item) < 0)
		return refuse(problem, "\"ttl_ms\" is not a number");
	if (item.type == PACK_NIL)
		return 0;
	if (item.type != PACK_INT || item.i64 < 1 || (uint64_t)item.i64 > SHMKV_TTL_MAX)
		return refuse(problem, "\"ttl_ms\" is not a number of milliseconds from 1 to 2^42");
	line->ttl_ms = (uint64_t)item.i64;
	return 0;
}

static int read_key(struct pack_walk *walk, struct line *line, char *problem)
{
	struct pack_item item;

	if (pack_next(walk, &item) < 0 || (item.type != PACK_STR && item.type != PACK_BIN))
		return refuse(problem, "\"key\" is neither text nor {\"$bin\":\"base64\"}");
	if (item.len < 1 || item.len > SHMKV_KEY_MAX)
		return refuse(problem, "\"key\" is not 1 to 65536 bytes long");
	line->key = item.data;
	line->key_len = item.len;
	return 0;
}

static bool is_name(const struct pack_item *item, const char *name)
{
	return item->type == PACK_STR && item->len == strlen(name) &&
	       memcmp(item->data, name, item->len) == 0;
}

static int read_members(struct pack_walk walk, struct line *line, char *problem)
{
	struct pack_item item;
	uint32_t i, n;
	int r = 0;

	if (pack_next(&walk, &item) < 0 || item.type != PACK_MAP)
		return refuse(problem, "the line is not an object with \"key\" and \"value\"");
	n = item.count;
	line->ttl_ms = SHMKV_TTL_NEVER;
	for (i = 0; i < n && r == 0; i++) {
		if (pack_next(&walk, &item) < 0)
			return refuse(problem, "a name is not text");
		if (is_name(&item, "key")) {
			r = read_key(&walk, line, problem);
		} else if (is_name(&item, "value")) {
			line->value = walk.at;
			if (pack_skip(&walk) < 0)
				return refuse(problem, "\"value\" nests too deep");
			line->value_len = (size_t)(walk.at - (const uint8_t *)line->value);
		} else if (is_name(&item, "ttl_ms")) {
			r = read_ttl(&walk, line, problem);
		} else {
			snprintf(problem, JSON_PROBLEM_MAX, "\"%.*s\" is none of \"key\", \"value\", \"ttl_ms\"",
				 (int)(item.len < 40 ? item.len : 40), (const char *)item.data);
			return -EILSEQ;
		}
	}
	if (r < 0)
		return r;
	if (!line->key || !line->value)
		return refuse(problem, line->key ? "\"value\" is missing" : "\"key\" is missing");
	return 0;
}

static int line_read(const char *text, size_t len, struct line *ret_line, char *problem)
{
	size_t packed_len;
	int r;

	*ret_line = (struct line){ 0 };
	r = json_around_to_pack(text, len, &ret_line->packed, &packed_len, problem);
	if (r < 0)
		return r;
	r = read_members(pack_walk_over(ret_line->packed, packed_len), ret_line, problem);
	if (r < 0) {
		free(ret_line->packed);
		ret_line->packed = NULL;
	}
	return r;
}

/* ---- import ----------------------------------------------------------------------- */

/*
 * Two passes: nothing is stored before every line was found to be right. What cannot be read
 * twice, a pipe, is copied to a file first.
 */
static int seekable(int fd, FILE **ret_file)
{
	char buffer[4096];
	struct stat st;
	FILE *file;
	ssize_t n = 0;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		fd = dup(fd);
		*ret_file = fd < 0 ? NULL : fdopen(fd, "r");
		return *ret_file ? 0 : -errno;
	}
	file = tmpfile();
	if (!file)
		return -errno;
	while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || fwrite(buffer, 1, (size_t)n, file) != (size_t)n) {
			n = -errno;
			fclose(file);
			return (int)n;
		}
	}
	if (fflush(file) != 0) {
		n = -errno;
		fclose(file);
		return (int)n;
	}
	*ret_file = file;
	return 0;
}

static bool is_blank(const char *text, size_t len)
{
	return strspn(text, " \t\r\n") >= len;
}

static int line_problem(struct cli_call *call, uint64_t number, const char *problem)
{
	return report_problem(&call->rep, TOOL_USAGE, "EILSEQ",
			      "mend the line; nothing was stored",
			      "\"%s\" line %" PRIu64 ": %s", call->path, number, problem);
}

static int store_problem(struct cli_call *call, uint64_t number, uint64_t stored, int r)
{
	return report_problem(&call->rep, tool_exit_of(r, STAGE_DATA), shmkv_errname(r),
			      shmkv_strerror(r), "\"%s\" line %" PRIu64 " cannot be stored; %" PRIu64
			      " keys before it were", call->path, number, stored);
}

/* One pass; @store: into the map. Returns an exit code. */
static int each_line(struct cli_call *call, FILE *file, bool store, uint64_t *keys)
{
	char problem[JSON_PROBLEM_MAX], *text = NULL;
	struct progress progress;
	uint64_t number = 0, total = store ? *keys : 0;
	struct line line;
	size_t cap = 0;
	ssize_t len;
	int r = 0, exit_code = TOOL_OK;

	*keys = 0;
	rewind(file);
	progress_begin(&progress, -1, store ? "keys" : "lines", total);
	while (exit_code == TOOL_OK && (len = getline(&text, &cap, file)) >= 0) {
		number++;
		if (len > 0 && text[len - 1] == '\n')
			text[--len] = '\0';
		if (is_blank(text, (size_t)len))
			continue;
		r = line_read(text, (size_t)len, &line, problem);
		if (r == -EILSEQ)
			exit_code = line_problem(call, number, problem);
		else if (r < 0)
			exit_code = cli_fail(call, r);
		if (r < 0)
			break;
		if (store)
			r = shmkv_put_ttl(call->kv, line.key, line.key_len,
					  shmkv_packed(line.value, line.value_len), line.ttl_ms, NULL);
		free(line.packed);
		if (r < 0)
			exit_code = store_problem(call, number, *keys, r);
		else
			progress_step(&progress, ++*keys);
	}
	progress_end(&progress);
	if (exit_code == TOOL_OK && ferror(file))
		exit_code = cli_file_problem(call, "read", errno);
	free(text);
	return exit_code;
}

int cli_import(struct cli_call *call)
{
	uint64_t keys = 0;
	FILE *file;
	int fd, r;

	if (strcmp(call->path, "-") == 0 && call->cli->in_shell)
		return cli_usage(call, "standard input belongs to the shell here");
	fd = cli_file_open(call);
	if (fd < 0)
		return cli_file_problem(call, "read", -fd);
	r = seekable(fd, &file);
	cli_file_close(fd);
	if (r < 0)
		return cli_file_problem(call, "read", -r);
	r = each_line(call, file, false, &keys);
	if (r == TOOL_OK)
		r = each_line(call, file, true, &keys);
	fclose(file);
	if (r == TOOL_OK)
		report_keys(call, "imported", keys);
	return r;
}

/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmkv/inspect.h>

#include "sizes.h"

/* ---- lifecycle ------------------------------------------------------------------- */

int cli_create(struct cli_call *call)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct emitter e;
	struct shmkv *kv;
	int r;

	r = shmkv_create(call->segment, &call->create, &kv);
	if (r < 0)
		return report_code(&call->rep, STAGE_SEGMENT, r);
	r = call->json ? shmkv_info(kv, &info) : 0;
	shmkv_detach(kv);
	if (r < 0)
		return cli_fail(call, r);
	if (call->json) {
		cli_emitter(call, &e);
		emit_object_begin(&e);
		emit_member_string(&e, "segment", call->segment);
		emit_member_uint(&e, "max_bytes", info.max_bytes);
		emit_member_uint(&e, "reserved_bytes", info.reserved_bytes);
		emit_member_string(&e, "hash", info.hash);
		emit_object_end(&e);
		cli_end_line(call);
	}
	return TOOL_OK;
}

int cli_unlink(struct cli_call *call)
{
	struct emitter e;
	int r = shmkv_unlink(call->segment);

	if (r < 0)
		return report_code(&call->rep, STAGE_SEGMENT, r);
	if (call->json) {
		cli_emitter(call, &e);
		emit_object_begin(&e);
		emit_member_string(&e, "segment", call->segment);
		emit_key(&e, "unlinked");
		emit_bool(&e, true);
		emit_object_end(&e);
		cli_end_line(call);
	}
	return TOOL_OK;
}

/* ---- list ------------------------------------------------------------------------ */

struct names {
	char (*names)[SHMKV_NAME_MAX + 1];
	size_t n, cap;
};

static int collect_name(const char *name, void *arg)
{
	struct names *list = arg;
	size_t cap;
	void *larger;

	if (list->n == list->cap) {
		cap = list->cap ? list->cap * 2 : 16;
		larger = realloc(list->names, cap * sizeof(*list->names));
		if (!larger)
			return -ENOMEM;
		list->names = larger;
		list->cap = cap;
	}
	snprintf(list->names[list->n++], SHMKV_NAME_MAX + 1, "%s", name);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The name is printed even when the segment cannot be looked into, and then why. */
static void list_one(struct cli_call *call, struct emitter *e, const char *name)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct out *out = &call->cli->out;
	struct shmkv *kv = NULL;
	char size[24];
	int r;

	r = shmkv_attach(name, SHMKV_READ_ONLY, &kv);
	if (r == 0)
		r = shmkv_info(kv, &info);
	shmkv_detach(kv);

	if (call->json) {
		emit_object_begin(e);
		emit_member_string(e, "segment", name);
		if (r < 0) {
			emit_member_string(e, "error", shmkv_errname(r));
		} else {
			emit_member_uint(e, "max_bytes", info.max_bytes);
			emit_member_uint(e, "reserved_bytes", info.reserved_bytes);
			emit_member_uint(e, "count", info.count);
			emit_member_uint(e, "processes", info.processes);
			emit_member_uint(e, "processes_dead", info.processes_dead);
		}
		emit_object_end(e);
		return;
	}
	out_format(out, "%-24s", name);
	if (r < 0) {
		out_format(out, " %10s %12s %9s  %s", "-", "-", "-", shmkv_errname(r));
	} else {
		size_text(info.max_bytes, size);
		out_format(out, " %10s %12" PRIu64 " %9u", size, info.count, info.processes);
		if (info.processes_dead > 0)
			out_format(out, "  %u of them dead; \"shmkv recover %s\"", info.processes_dead,
				   name);
	}
	cli_end_line(call);
}

int cli_list(struct cli_call *call)
{
	struct names list = { 0 };
	struct emitter e;
	int r;

	r = shmkv_list(collect_name, &list);
	if (r < 0) {
		free(list.names);
		return report_code(&call->rep, STAGE_SEGMENT, r);
	}
	if (list.n > 0)
		qsort(list.names, list.n, sizeof(*list.names), compare_names);

	cli_emitter(call, &e);
	if (call->json) {
		emit_object_begin(&e);
		emit_key(&e, "segments");
		emit_array_begin(&e);
	} else if (list.n > 0) {
		out_format(&call->cli->out, "%-24s %10s %12s %9s\n", "NAME", "SIZE", "KEYS",
			   "PROCESSES");
	}
	for (size_t i = 0; i < list.n; i++)
		list_one(call, &e, list.names[i]);
	if (call->json) {
		emit_array_end(&e);
		emit_object_end(&e);
		cli_end_line(call);
	}
	free(list.names);
	return TOOL_OK;
}

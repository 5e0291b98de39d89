/* SPDX-License-Identifier: MIT */
#include "dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <shmkv/inspect.h>

/* The four parts, each with its own walk, so that every output holds them in this order. */
static const struct part {
	enum shmkv_part part;
	const char *name;   /* in JSON */
	const char *plural; /* the list of the one document */
	const char *heading;
} parts[] = {
	{ SHMKV_PART_LEAF, "leaf", "leaves",
	  "    LEAF  STATE           OFFSET  DEPTH            PREFIX   LIVE   DEAD  EMPTY" },
	{ SHMKV_PART_CHUNK, "chunk", "chunks",
	  "   CHUNK  STATE           OFFSET         BYTES  BLOCK SIZE    BLOCKS      USED" },
	{ SHMKV_PART_PROCESS, "process", "processes", " PROCESS  STATE              PID  ALIVE" },
	{ SHMKV_PART_THREAD, "thread", "threads",
	  "  THREAD  STATE          PROCESS       PID  ALIVE        WRITES  DOING" },
};

struct layout_walk {
	struct dump *dump;
	const struct part *part;
	/* table only: chunks of one use that lie side by side become one row */
	struct shmkv_layout_item span;
	bool has_span;
};

static const char *text_or_dash(const char *text)
{
	return text ? text : "-";
}

static void emit_item(struct dump *d, const struct part *part,
		      const struct shmkv_layout_item *item)
{
	struct emitter *e = &d->emitter;

	emit_object_begin(e);
	if (d->form == DUMP_NDJSON)
		emit_member_string(e, "part", part->name);
	emit_member_uint(e, "id", item->id);
	emit_member_string(e, "state", text_or_dash(item->state));
	switch (part->part) {
	case SHMKV_PART_LEAF:
		emit_member_uint(e, "offset", item->offset);
		emit_member_uint(e, "depth", item->depth);
		emit_member_uint(e, "prefix", item->prefix);
		emit_member_uint(e, "live", item->live);
		emit_member_uint(e, "dead", item->dead);
		emit_member_uint(e, "empty", item->empty);
		break;
	case SHMKV_PART_CHUNK:
		emit_member_uint(e, "offset", item->offset);
		emit_member_uint(e, "bytes", item->bytes);
		emit_member_uint(e, "block_bytes", item->block_bytes);
		emit_member_uint(e, "blocks", item->blocks);
		emit_member_uint(e, "blocks_used", item->blocks_used);
		break;
	case SHMKV_PART_THREAD:
		emit_member_uint(e, "process", item->process);
		emit_member_uint(e, "writes", item->writes);
		emit_member_string(e, "doing", text_or_dash(item->doing));
		/* fall through */
	case SHMKV_PART_PROCESS:
		emit_member_uint(e, "pid", item->pid);
		emit_key(e, "alive");
		emit_bool(e, item->alive != 0);
		break;
	}
	emit_object_end(e);
	if (d->form == DUMP_NDJSON)
		out_char(&d->out, '\n');
}

static void print_item(struct dump *d, const struct part *part,
		       const struct shmkv_layout_item *item)
{
	struct out *o = &d->out;

	out_format(o, "%8" PRIu64 "  %-9s", item->id, text_or_dash(item->state));
	switch (part->part) {
	case SHMKV_PART_LEAF:
		out_format(o, "  %#11" PRIx64 "  %5u  %#16" PRIx64 "  %5u  %5u  %5u", item->offset,
			   item->depth, item->prefix, item->live, item->dead, item->empty);
		break;
	case SHMKV_PART_CHUNK:
		out_format(o, "  %#11" PRIx64 "  %12" PRIu64, item->offset, item->bytes);
		if (item->blocks > 0 && item->block_bytes > 0)
			out_format(o, "  %10u", item->block_bytes);
		else if (item->blocks > 0)
			out_format(o, "  %10s", "-");
		if (item->blocks > 0)
			out_format(o, "  %8u  %8u", item->blocks, item->blocks_used);
		break;
	case SHMKV_PART_PROCESS:
		out_format(o, "  %10" PRIu64 "  %5s", item->pid, item->alive ? "yes" : "no");
		break;
	case SHMKV_PART_THREAD:
		out_format(o, "  %11" PRIu64 "  %8" PRIu64 "  %5s  %12" PRIu64 "  %s", item->process,
			   item->pid, item->alive ? "yes" : "no", item->writes,
			   text_or_dash(item->doing));
		break;
	}
	out_char(o, '\n');
}

/* Whether the chunks go on where the span ends, for the same use; then they belong to it. */
static bool span_take(struct layout_walk *walk, const struct shmkv_layout_item *item)
{
	struct shmkv_layout_item *span = &walk->span;

	if (!walk->has_span || item->block_bytes != span->block_bytes ||
	    item->offset != span->offset + span->bytes ||
	    strcmp(text_or_dash(item->state), text_or_dash(span->state)) != 0)
		return false;
	/* Runs stay apart: each is one record. */
	if (item->block_bytes == 0 && item->blocks > 0)
		return false;
	span->bytes += item->bytes;
	span->blocks += item->blocks;
	span->blocks_used += item->blocks_used;
	return true;
}

static void span_flush(struct layout_walk *walk)
{
	if (walk->has_span)
		print_item(walk->dump, walk->part, &walk->span);
	walk->has_span = false;
}

static int on_item(const struct shmkv_layout_item *item, void *arg)
{
	struct layout_walk *walk = arg;
	struct dump *d = walk->dump;

	if (item->part != walk->part->part)
		return 0;
	if (d->form != DUMP_TABLE) {
		emit_item(d, walk->part, item);
	} else if (!span_take(walk, item)) {
		span_flush(walk);
		if (item->part == SHMKV_PART_CHUNK) {
			walk->span = *item;
			walk->has_span = true;
		} else {
			print_item(d, walk->part, item);
		}
	}
	/* Any other number than 0 ends the walk; the write error is reported from the output. */
	return out_stopped(&d->out) ? 1 : 0;
}

static int walk_part(struct dump *d, const struct part *part)
{
	struct layout_walk walk = { .dump = d, .part = part };
	int r;

	if (d->form == DUMP_TABLE) {
		out_format(&d->out, "%s%s\n", part == parts ? "" : "\n", part->heading);
	} else if (d->form == DUMP_JSON) {
		emit_key(&d->emitter, part->plural);
		emit_array_begin(&d->emitter);
	}
	r = shmkv_layout(d->kv, on_item, &walk);
	span_flush(&walk);
	if (d->form == DUMP_JSON)
		emit_array_end(&d->emitter);
	return r < 0 ? r : 0;
}

int dump_layout(struct dump *d)
{
	int r = 0;

	if (d->form == DUMP_JSON) {
		emit_object_begin(&d->emitter);
		emit_member_string(&d->emitter, "segment", d->segment);
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && r == 0; i++)
		r = walk_part(d, &parts[i]);
	if (d->form == DUMP_JSON) {
		if (r < 0)
			emit_member_string(&d->emitter, "error", shmkv_errname(r));
		emit_object_end(&d->emitter);
		out_char(&d->out, '\n');
	}
	return r < 0 ? (int)report_code(&d->rep, STAGE_DATA, r) : TOOL_OK;
}

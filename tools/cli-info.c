/* SPDX-License-Identifier: MIT */
#include "cli-info.h"

#include <inttypes.h>
#include <stdio.h>

#include <shmkv/expiry.h>

#include "cli-huge.h"
#include "cli-report.h"
#include "durations.h"
#include "sizes.h"

/* ---- the segment ----------------------------------------------------------------- */

static void show_segment(struct cli_call *call, struct emitter *e, const struct shmkv_info *info)
{
	char ttl[32];
	const struct cli_line lines[] = {
		{ "format_version", "format version", LINE_COUNT, info->format_version },
		{ "max_bytes", "limit", LINE_BYTES, info->max_bytes },
		{ "reserved_bytes", "taken from the system", LINE_BYTES, info->reserved_bytes },
		{ "table_bytes", "  tables", LINE_BYTES, info->table_bytes },
		{ "leaf_bytes", "  leaves", LINE_BYTES, info->leaf_bytes },
		{ "slab_bytes", "  small records", LINE_BYTES, info->slab_bytes },
		{ "run_bytes", "  large records", LINE_BYTES, info->run_bytes },
		{ "free_bytes", "  unused", LINE_BYTES, info->free_bytes },
		{ "count", "keys", LINE_COUNT, info->count },
		{ "index_bytes", "index in use", LINE_BYTES, info->index_bytes },
		{ "leaves", "leaves in use", LINE_COUNT, info->leaves },
		{ "level", "directory level", LINE_COUNT, info->level },
		{ "level_min", "  lowest", LINE_COUNT, info->level_min },
		{ "level_max", "  highest", LINE_COUNT, info->level_max },
		{ "processes", "processes", LINE_COUNT, info->processes },
		{ "processes_dead", "  dead, not recovered", LINE_COUNT, info->processes_dead },
		{ "processes_max", "  at most", LINE_COUNT, info->processes_max },
		{ "threads", "threads", LINE_COUNT, info->threads },
		{ "threads_max", "  at most", LINE_COUNT, info->threads_max },
	};
	/* People find these among the calls. */
	const struct cli_line counters[] = {
		{ "inserts", "inserts", LINE_COUNT, info->inserts },
		{ "updates", "updates", LINE_COUNT, info->updates },
		{ "deletes", "deletes", LINE_COUNT, info->deletes },
		{ "evictions", "  of them evicted", LINE_COUNT, info->evictions },
		{ "expired", "  of them expired", LINE_COUNT, info->expired },
		{ "retries", "retries", LINE_COUNT, info->retries },
		{ "splits", "leaf splits", LINE_COUNT, info->splits },
		{ "compactions", "leaf compactions", LINE_COUNT, info->compactions },
		{ "recoveries", "processes recovered", LINE_COUNT, info->recoveries },
	};

	cli_show_text(call, e, "segment", "segment", info->name);
	cli_show_text(call, e, "engine", "engine", info->engine);
	cli_show_text(call, e, "hash", "hash", info->hash);
	cli_show_text(call, e, "evict", "eviction", info->evict);
	cli_show_text(call, e, "atomics", "atomic operations", info->atomics);
	duration_text(info->default_ttl_ms ? info->default_ttl_ms : SHMKV_TTL_NEVER, ttl);
	if (call->json)
		emit_member_uint(e, "default_ttl_ms", info->default_ttl_ms);
	else
		cli_show_text(call, e, "default_ttl", "default time to live", ttl);
	if (call->json) {
		emit_key(e, "read_only");
		emit_bool(e, info->read_only);
	}
	cli_show_lines(call, e, lines, COUNT_OF(lines));
	if (call->json)
		cli_show_lines(call, e, counters, COUNT_OF(counters));
}

/* ---- calls ----------------------------------------------------------------------- */

struct histogram {
	const char *name, *words;
	const uint64_t *counts;
	unsigned int n;
	uint64_t (*bound)(unsigned int bucket);
	bool bytes;
};

static void bound_text(const struct histogram *h, unsigned int bucket, char ret_text[32])
{
	bool last = h->bound(bucket) == UINT64_MAX;
	uint64_t bound = h->bound(last && bucket > 0 ? bucket - 1 : bucket);
	char size[24];

	if (h->bytes)
		size_text(bound, size);
	else
		snprintf(size, sizeof(size), "%" PRIu64, bound);
	snprintf(ret_text, 32, "%s%s", last ? "above " : "", size);
}

/* For people only the buckets that hold something. */
static void show_histogram(struct cli_call *call, struct emitter *e, const struct histogram *h)
{
	struct out *out = &call->cli->out;
	char bound[32], count[32];
	bool empty = true;

	if (call->json) {
		emit_key(e, h->name);
		emit_array_begin(e);
	} else {
		out_format(out, "%-22s", h->words);
	}
	for (unsigned int i = 0; i < h->n; i++) {
		if (call->json) {
			emit_object_begin(e);
			emit_key(e, "up_to");
			if (h->bound(i) == UINT64_MAX)
				emit_null(e);
			else
				emit_uint(e, h->bound(i));
			emit_member_uint(e, "count", h->counts[i]);
			emit_object_end(e);
		} else if (h->counts[i] > 0) {
			bound_text(h, i, bound);
			count_text(h->counts[i], count);
			out_format(out, "%s %s: %s", empty ? "" : ",", bound, count);
			empty = false;
		}
	}
	if (call->json)
		emit_array_end(e);
	else
		out_text(out, empty ? " none\n" : "\n");
}

void cli_show_stats(struct cli_call *call, struct emitter *e, const struct shmkv_stats *stats)
{
	const struct cli_line lines[] = {
		{ "gets", "gets", LINE_COUNT, stats->gets },
		{ "hits", "  found", LINE_COUNT, stats->hits },
		{ "misses", "  absent", LINE_COUNT, stats->misses },
		{ "puts", "puts", LINE_COUNT, stats->puts },
		{ "adds", "adds", LINE_COUNT, stats->adds },
		{ "replaces", "replaces", LINE_COUNT, stats->replaces },
		{ "cases", "compare-and-swaps", LINE_COUNT, stats->cases },
		{ "updates_in_place", "incr and append", LINE_COUNT, stats->updates_in_place },
		{ "dels", "dels", LINE_COUNT, stats->dels },
		{ "takes", "takes", LINE_COUNT, stats->takes },
		{ "clears", "clears", LINE_COUNT, stats->clears },
		{ "inserts", "keys inserted", LINE_COUNT, stats->inserts },
		{ "updates", "values replaced", LINE_COUNT, stats->updates },
		{ "deletes", "keys removed", LINE_COUNT, stats->deletes },
		{ "expired", "  of them expired", LINE_COUNT, stats->expired },
		{ "evictions", "  of them evicted", LINE_COUNT, stats->evictions },
		{ "unmet", "conditions not met", LINE_COUNT, stats->unmet },
		{ "no_space", "refused: no space", LINE_COUNT, stats->no_space },
		{ "lost", "refused: conflicts", LINE_COUNT, stats->lost },
		{ "failed", "other failures", LINE_COUNT, stats->failed },
		{ "retries", "retries of writers", LINE_COUNT, stats->retries },
		{ "read_retries", "retries of readers", LINE_COUNT, stats->read_retries },
		{ "splits", "leaf splits", LINE_COUNT, stats->splits },
		{ "compactions", "leaf compactions", LINE_COUNT, stats->compactions },
		{ "recoveries", "processes recovered", LINE_COUNT, stats->recoveries },
	};
	const struct histogram histograms[] = {
		{ "hit_lines", "lines read by hits", stats->hit_lines, SHMKV_STATS_LINES,
		  shmkv_stats_lines_bound, false },
		{ "miss_lines", "lines read by misses", stats->miss_lines, SHMKV_STATS_LINES,
		  shmkv_stats_lines_bound, false },
		{ "write_lines", "lines read by writers", stats->write_lines, SHMKV_STATS_LINES,
		  shmkv_stats_lines_bound, false },
		{ "retried", "begun again", stats->retried, SHMKV_STATS_RETRIES,
		  shmkv_stats_retries_bound, false },
		{ "value_bytes", "sizes of values", stats->value_bytes, SHMKV_STATS_SIZES,
		  shmkv_stats_size_bound, true },
	};

	cli_section_begin(call, e, "stats", "CALLS since creation");
	cli_show_lines(call, e, lines, COUNT_OF(lines));
	for (size_t i = 0; i < COUNT_OF(histograms); i++)
		show_histogram(call, e, &histograms[i]);
	cli_section_end(call, e);
}

/* ---- memory ---------------------------------------------------------------------- */

static void show_class(struct cli_call *call, struct emitter *e,
		       const struct shmkv_memory_class *class)
{
	uint64_t held = class->used * class->block_bytes;

	if (call->json) {
		emit_object_begin(e);
		emit_member_uint(e, "block_bytes", class->block_bytes);
		emit_member_uint(e, "slabs", class->slabs);
		emit_member_uint(e, "blocks", class->blocks);
		emit_member_uint(e, "used", class->used);
		emit_member_uint(e, "record_bytes", class->record_bytes);
		emit_object_end(e);
	} else {
		out_format(&call->cli->out,
			   "%8" PRIu64 " %8" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
			   " %14" PRIu64 " %5.1f %%\n",
			   class->block_bytes, class->slabs, class->blocks, class->used,
			   class->blocks - class->used, class->record_bytes,
			   held ? 100.0 * (double)class->record_bytes / (double)held : 0.0);
	}
}

void cli_show_memory(struct cli_call *call, struct emitter *e, const struct shmkv_memory *memory)
{
	const struct cli_line lines[] = {
		{ "records", "records", LINE_COUNT, memory->records },
		{ "record_bytes", "  bytes asked for", LINE_BYTES, memory->record_bytes },
		{ "held_bytes", "  bytes held", LINE_BYTES, memory->held_bytes },
		{ "large_records", "large records", LINE_COUNT, memory->large_records },
		{ "large_record_bytes", "  bytes asked for", LINE_BYTES, memory->large_record_bytes },
		{ "large_held_bytes", "  bytes held", LINE_BYTES, memory->large_held_bytes },
		{ "drafts", "drafts, not committed", LINE_COUNT, memory->drafts },
		{ "draft_bytes", "  bytes held", LINE_BYTES, memory->draft_bytes },
		{ "free_block_bytes", "free blocks", LINE_BYTES, memory->free_block_bytes },
		{ "tail_bytes", "ends of slabs", LINE_BYTES, memory->tail_bytes },
		{ "free_chunks", "free chunks of 16 KiB", LINE_COUNT, memory->free_chunks },
		{ "unreserved_bytes", "not taken yet", LINE_BYTES, memory->unreserved_bytes },
		{ "free_stretch_bytes", "largest free stretch", LINE_BYTES, memory->free_stretch_bytes },
	};
	bool any = false;

	cli_section_begin(call, e, "memory", "MEMORY OF RECORDS");
	cli_show_lines(call, e, lines, COUNT_OF(lines));
	if (call->json) {
		emit_key(e, "classes");
		emit_array_begin(e);
	}
	for (uint64_t i = 0; i < memory->n_classes && i < SHMKV_CLASSES_MAX; i++) {
		if (memory->classes[i].slabs == 0)
			continue;
		if (!any && !call->json)
			out_format(&call->cli->out, "\n%8s %8s %10s %10s %10s %14s %7s\n", "BLOCK", "SLABS",
				   "BLOCKS", "USED", "FREE", "ASKED BYTES", "FILLED");
		any = true;
		show_class(call, e, &memory->classes[i]);
	}
	if (call->json)
		emit_array_end(e);
	cli_section_end(call, e);
}

/* ---- participants ---------------------------------------------------------------- */

struct participants {
	struct cli_call *call;
	struct emitter *emitter;
	bool any;
};

void cli_emit_participant(struct emitter *e, const struct shmkv_participant *p)
{
	emit_member_uint(e, "id", p->id);
	emit_member_uint(e, "pid", p->pid);
	emit_member_string(e, "state", p->state);
	emit_member_string(e, "doing", p->doing);
	emit_member_uint(e, "attached_ms", p->attached_ms);
	emit_member_uint(e, "threads", p->threads);
	emit_member_uint(e, "working", p->working);
	emit_member_uint(e, "pins", p->pins);
	emit_member_uint(e, "reservations", p->reservations);
	emit_member_uint(e, "calls", p->calls);
}

static int show_participant(const struct shmkv_participant *p, void *arg)
{
	struct participants *all = arg;
	struct emitter *e = all->emitter;

	if (all->call->json) {
		emit_object_begin(e);
		cli_emit_participant(e, p);
		emit_object_end(e);
		return 0;
	}
	if (!all->any)
		out_format(&all->call->cli->out, "%10s %-8s %-8s %8s %8s %6s %9s %14s %10s\n", "PID",
			   "STATE", "DOING", "THREADS", "WORKING", "PINS", "RESERVED", "CALLS", "SECONDS");
	all->any = true;
	out_format(&all->call->cli->out,
		   "%10" PRIu64 " %-8s %-8s %8" PRIu32 " %8" PRIu32 " %6" PRIu32 " %9" PRIu32
		   " %14" PRIu64 " %10" PRIu64 "\n",
		   p->pid, p->state, p->doing, p->threads, p->working, p->pins, p->reservations,
		   p->calls, p->attached_ms / 1000);
	return 0;
}

int cli_show_participants(struct cli_call *call, struct emitter *e)
{
	struct participants all = { call, e, false };
	int r;

	if (call->json) {
		emit_key(e, "participants");
		emit_array_begin(e);
	} else {
		out_text(&call->cli->out, "\nPARTICIPANTS that may write\n");
	}
	r = shmkv_participants(call->kv, show_participant, &all);
	if (call->json)
		emit_array_end(e);
	else if (!all.any)
		out_text(&call->cli->out, "none\n");
	return r;
}

/* ---- the verb -------------------------------------------------------------------- */

int cli_info(struct cli_call *call)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv_stats stats = { .size = sizeof(stats) };
	struct shmkv_memory memory = { .size = sizeof(memory) };
	struct shmkv_huge huge = { .size = sizeof(huge) };
	struct emitter e;
	int r = shmkv_info(call->kv, &info);

	if (r == 0)
		r = shmkv_stats(call->kv, &stats);
	if (r == 0)
		r = shmkv_memory(call->kv, &memory);
	if (r == 0)
		r = shmkv_huge_info(call->kv, &huge);
	if (r < 0)
		return cli_fail(call, r);

	cli_emitter(call, &e);
	if (call->json)
		emit_object_begin(&e);
	show_segment(call, &e, &info);
	cli_show_stats(call, &e, &stats);
	cli_show_memory(call, &e, &memory);
	cli_show_huge(call, &e, &huge);
	r = cli_show_participants(call, &e);
	if (call->json) {
		emit_object_end(&e);
		cli_end_line(call);
	}
	return r < 0 ? cli_fail(call, r) : TOOL_OK;
}

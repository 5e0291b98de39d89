/* SPDX-License-Identifier: MIT */
#include "stress/inspection.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <shmkv/reserve.h>
#include <shmkv/view.h>

#define FAIL(inspection, ...) \
	(ledger_fail((inspection)->start->ledger, (inspection)->start->place, __VA_ARGS__), false)

void inspection_init(struct inspection *inspection, const struct worker_start *start,
		     struct ledger_writer *writer, struct shmkv *kv)
{
	memset(inspection, 0, sizeof(*inspection));
	inspection->start = start;
	inspection->writer = writer;
	inspection->kv = kv;
}

static bool fail_call(struct inspection *inspection, const char *what, int r)
{
	return FAIL(inspection, "%s answered %s (%s)", what, shmkv_errname(r), shmkv_strerror(r));
}

/* ---- invariants ---------------------------------------------------------------------- */

struct walk {
	struct ledger_writer *writer;
	char first[400];
};

static void note_violation(const char *text, void *arg)
{
	struct walk *walk = arg;

	if (!walk->first[0])
		snprintf(walk->first, sizeof(walk->first), "%s", text);
}

/* A walk over a large segment is one call; each of its steps shows that nobody waits. */
static void note_progress(uint64_t done, uint64_t total, void *arg)
{
	const struct walk *walk = arg;

	(void)done;
	(void)total;
	ledger_bump(&walk->writer->ops);
}

bool inspection_verify(struct inspection *inspection)
{
	struct walk walk = { .writer = inspection->writer };
	struct shmkv_watch watch = {
		.size = sizeof(watch),
		.violation = note_violation,
		.progress = note_progress,
		.arg = &walk,
	};
	struct shmkv_audit audit = { .size = sizeof(audit) };
	int r;

	ledger_op_begin(inspection->writer, STRESS_OP_VERIFY);
	r = shmkv_verify(inspection->kv, &watch, &audit);
	ledger_op_end(inspection->writer);
	if (audit.violations)
		return FAIL(inspection, "%" PRIu64 " invariants violated while others work, first: %s",
			    audit.violations, walk.first[0] ? walk.first : "not said");
	/* What a dead process announces comes back with the next recovery. Nothing else is lost. */
	if (audit.leaked_blocks != audit.dead_blocks || audit.leaked_leaves != audit.dead_leaves ||
	    audit.leaked_chunks != audit.dead_chunks + audit.unreturned_chunks)
		return FAIL(inspection,
			    "leaked while others work: %" PRIu64 " blocks, %" PRIu64 " leaves, %" PRIu64
			    " chunks, of which the dead announce %" PRIu64 ", %" PRIu64 " and %" PRIu64,
			    audit.leaked_blocks, audit.leaked_leaves, audit.leaked_chunks,
			    audit.dead_blocks, audit.dead_leaves, audit.dead_chunks);
	if (r != 0 && r != -EBADMSG)
		return fail_call(inspection, "verify", r);
	ledger_bump(&inspection->writer->verified);
	ledger_add(&inspection->writer->undecided, audit.undecided);
	return true;
}

/* ---- statistics ------------------------------------------------------------------------ */

/* A structure of 64-bit counts behind its size. */
#define N_COUNTS ((sizeof(struct shmkv_stats) - sizeof(size_t)) / sizeof(uint64_t))

bool inspection_stats(struct inspection *inspection)
{
	struct shmkv_stats stats;
	uint64_t now[N_COUNTS], before[N_COUNTS];
	size_t i;
	int r;

	memset(&stats, 0, sizeof(stats));
	stats.size = sizeof(stats);
	r = shmkv_stats(inspection->kv, &stats);
	if (r < 0)
		return fail_call(inspection, "stats", r);
	ledger_bump(&inspection->writer->ops);
	memcpy(now, (const char *)&stats + sizeof(size_t), sizeof(now));
	memcpy(before, (const char *)&inspection->seen + sizeof(size_t), sizeof(before));
	for (i = 0; inspection->seen_any && i < N_COUNTS; i++) {
		if (now[i] < before[i])
			return FAIL(inspection,
				    "count %zu of the statistics fell from %" PRIu64 " to %" PRIu64, i,
				    before[i], now[i]);
	}
	inspection->seen = stats;
	inspection->seen_any = true;
	return true;
}

/* ---- tables ---------------------------------------------------------------------------- */

struct attendance {
	const struct worker_start *start;
	unsigned int n;
	char wrong[200];
};

static int note_participant(const struct shmkv_participant *participant, void *arg)
{
	struct attendance *attendance = arg;
	const struct worker_start *start = attendance->start;

	attendance->n++;
	if (participant->threads > start->ledger->threads + 1 ||
	    participant->pins > participant->threads * SHMKV_VIEWS_MAX ||
	    participant->reservations > participant->threads * SHMKV_DRAFTS_MAX)
		snprintf(attendance->wrong, sizeof(attendance->wrong),
			 "process %" PRIu64 " (%s) has %" PRIu32 " threads, %" PRIu32
			 " views and %" PRIu32 " drafts",
			 participant->pid, participant->state, participant->threads,
			 participant->pins, participant->reservations);
	return 0;
}

static int count_item(const struct shmkv_layout_item *item, void *arg)
{
	uint64_t *n = arg;

	(void)item;
	++*n;
	return 0;
}

bool inspection_tables(struct inspection *inspection)
{
	struct attendance attendance = { .start = inspection->start };
	struct shmkv_memory memory;
	struct shmkv_info info;
	uint64_t items = 0;
	int r;

	memset(&memory, 0, sizeof(memory));
	memory.size = sizeof(memory);
	memset(&info, 0, sizeof(info));
	info.size = sizeof(info);
	r = shmkv_participants(inspection->kv, note_participant, &attendance);
	if (r < 0)
		return fail_call(inspection, "participants", r);
	if (attendance.wrong[0])
		return FAIL(inspection, "%s", attendance.wrong);
	r = shmkv_info(inspection->kv, &info);
	if (r < 0)
		return fail_call(inspection, "info", r);
	if (attendance.n > info.processes_max || info.processes > info.processes_max ||
	    info.reserved_bytes > info.max_bytes)
		return FAIL(inspection, "%u and %" PRIu32 " participants of %" PRIu32 ", %" PRIu64
			    " bytes of %" PRIu64, attendance.n, info.processes, info.processes_max,
			    info.reserved_bytes, info.max_bytes);
	r = shmkv_memory(inspection->kv, &memory);
	if (r < 0)
		return fail_call(inspection, "memory", r);
	if (memory.held_bytes > info.max_bytes || memory.free_stretch_bytes > info.max_bytes)
		return FAIL(inspection, "records hold %" PRIu64 " bytes, %" PRIu64
			    " more would find room, in a segment of %" PRIu64, memory.held_bytes,
			    memory.free_stretch_bytes, info.max_bytes);
	r = shmkv_layout(inspection->kv, count_item, &items);
	if (r < 0)
		return fail_call(inspection, "layout", r);
	if (items == 0)
		return FAIL(inspection, "the layout has nothing in it");
	ledger_bump(&inspection->writer->ops);
	return true;
}

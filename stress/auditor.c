/* SPDX-License-Identifier: MIT */
#include "stress/auditor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stress/inspection.h"
#include "stress/reader.h"

#define CHECKS_BETWEEN_SCANS 50000u
#define CHECKS_BETWEEN_STATS 1000u
#define VERIFY_NS 50000000u

/* One walk over the whole map, and what must come up in it. */
struct pass {
	uint64_t *before;   /* words of the owned keys as the walk began */
	unsigned char *hit; /* a bit for each owned key that came up */
	bool resumed;       /* went on from a cursor, so keys may come up twice */
	uint64_t active;
};

static bool is_hit(const struct pass *pass, uint64_t idx)
{
	return pass->hit[idx / 8] >> (idx % 8) & 1;
}

/* Kept keys that were there when the walk began are there during all of it. */
static bool is_due(const struct reader *reader, const struct pass *pass, uint64_t idx)
{
	return !reader->evicts && idx < pass->active && owned_unpack(pass->before[idx]).present &&
	       !key_is_churn(&reader->ledger->plan, idx);
}

static bool judge_entry(struct reader *reader, struct pass *pass, const struct shmkv_entry *entry)
{
	struct ledger *ledger = reader->ledger;
	struct shmkv_value value;
	enum key_class class;
	uint64_t idx, after;
	int r;

	if (!stress_key_parse(&ledger->plan, entry->key, entry->key_len, &class, &idx)) {
		ledger_fail(ledger, reader->place,
			    "a scan returned a key of %zu bytes that nobody wrote: %.*s", entry->key_len,
			    (int)(entry->key_len < 40 ? entry->key_len : 40),
			    (const char *)entry->key);
		return false;
	}
	r = shmkv_value_decode(entry->value, entry->value_len, &value);
	if (r < 0) {
		ledger_fail(ledger, reader->place,
			    "a scan returned %s key %" PRIu64 " with a value that is not msgpack",
			    key_class_name(class), idx);
		return false;
	}
	if (class == KEY_INCR || class == KEY_CAS)
		return reader_judge_counter(reader, class, idx, &value);
	if (class != KEY_OWNED)
		return reader_judge_shared(reader, class, idx, &value);

	after = ledger_load_after_call(&ledger->owned[idx]);
	if (!reader_judge_owned(reader, idx, pass->before[idx], after, &value))
		return false;
	if (is_hit(pass, idx) && !pass->resumed && is_due(reader, pass, idx)) {
		ledger_fail(ledger, reader->place, "a scan returned owned key %" PRIu64 " twice", idx);
		return false;
	}
	pass->hit[idx / 8] |= (unsigned char)(1u << (idx % 8));
	return true;
}

/* All entries, or those up to a random place and then on from the cursor with another scan. */
static int walk(struct reader *reader, struct pass *pass)
{
	uint64_t cursor = 0, n = 0, break_at = UINT64_MAX;
	struct shmkv_scan *scan = NULL;
	struct shmkv_entry entry;
	int r;

	if (stress_random_one_in(&reader->random, 2))
		break_at = stress_random_below(&reader->random, pass->active + 1);
	for (;;) {
		if (!scan) {
			r = shmkv_scan_begin(reader->kv, cursor, &scan);
			if (r < 0)
				return r;
		}
		r = shmkv_scan_next(scan, &entry);
		if (r <= 0)
			break;
		ledger_bump(&reader->writer->ops);
		if (!judge_entry(reader, pass, &entry)) {
			r = -EPROTO;
			break;
		}
		if (++n == break_at) {
			cursor = shmkv_scan_cursor(scan);
			scan = shmkv_scan_end(scan);
			if (cursor == UINT64_MAX)
				return 0;
			pass->resumed = true;
		}
		if (n % 256 == 0 && ledger_stopping(reader->ledger)) {
			r = -ECANCELED;
			break;
		}
	}
	shmkv_scan_end(scan);
	return r;
}

static bool scan_once(struct reader *reader)
{
	struct ledger *ledger = reader->ledger;
	uint64_t n = ledger->plan.n[KEY_OWNED], idx;
	struct pass pass = { 0 };
	bool fine = false;
	int r;

	pass.active = atomic_load(&ledger->head->owned_active);
	pass.before = calloc(n, sizeof(*pass.before));
	pass.hit = calloc(n / 8 + 1, 1);
	if (!pass.before || !pass.hit) {
		ledger_fail(ledger, reader->place, "no memory to check a scan of %" PRIu64 " keys", n);
		goto out;
	}
	for (idx = 0; idx < n; idx++)
		pass.before[idx] = atomic_load_explicit(&ledger->owned[idx], memory_order_acquire);

	ledger_op_begin(reader->writer, STRESS_OP_SCAN);
	r = walk(reader, &pass);
	ledger_op_end(reader->writer);
	if (r == -EAGAIN)
		ledger_bump(&reader->writer->conflicts);
	fine = r == 0 || r == -EAGAIN || r == -ECANCELED;
	if (!fine && r != -EPROTO)
		ledger_fail(ledger, reader->place, "a scan answered %s (%s)", shmkv_errname(r),
			    shmkv_strerror(r));
	if (r != 0)
		goto out;

	ledger_bump(&reader->writer->scans);
	for (idx = 0; idx < pass.active && fine; idx++) {
		if (!is_due(reader, &pass, idx) || is_hit(&pass, idx))
			continue;
		fine = false;
		ledger_fail(ledger, reader->place,
			    "a scan%s missed owned key %" PRIu64 ", which was there all the time",
			    pass.resumed ? " in two parts" : "", idx);
	}
out:
	free(pass.before);
	free(pass.hit);
	return fine;
}

/* Reads, and looks at the statistics in between. */
static bool read_many(struct reader *reader, struct inspection *inspection)
{
	unsigned int i;

	for (i = 0; i < CHECKS_BETWEEN_SCANS && !ledger_stopping(reader->ledger); i++) {
		if (!reader_check_any(reader))
			return false;
		if (i % CHECKS_BETWEEN_STATS == 0 && !inspection_stats(inspection))
			return false;
	}
	return true;
}

/* Of a small segment many times, so that it is found in as many states as a large one. */
static bool verify_for_a_while(struct inspection *inspection)
{
	uint64_t end = ledger_now_ns() + VERIFY_NS;

	do {
		if (!inspection_verify(inspection))
			return false;
	} while (ledger_now_ns() < end && !ledger_stopping(inspection->start->ledger));
	return true;
}

/* One long look at everything. */
static bool look_once(struct reader *reader, struct inspection *inspection)
{
	if (ledger_stopping(reader->ledger))
		return true;
	switch (stress_random_below(&reader->random, 4)) {
	case 0:
		return verify_for_a_while(inspection);
	case 1:
		return inspection_tables(inspection);
	default:
		return scan_once(reader);
	}
}

int auditor_run(const struct worker_start *start)
{
	struct ledger *ledger = start->ledger;
	struct ledger_process *process = &ledger->processes[start->place];
	unsigned int n;
	struct ledger_writer *writer = ledger_writers_of(ledger, start->place, &n);
	struct inspection inspection;
	struct reader reader;
	struct shmkv *kv;
	bool fine = true;

	if (worker_attach(start, SHMKV_READ_ONLY, writer, &kv) < 0)
		return 1;
	if (reader_init(&reader, ledger, start->opts, start->place, writer, start->seed) < 0) {
		ledger_fail(ledger, start->place, "no memory for the auditor");
		shmkv_detach(kv);
		return 1;
	}
	reader.kv = kv;
	atomic_store(&process->state, PROCESS_RUNNING);
	inspection_init(&inspection, start, writer, kv);
	while (fine && !ledger_stopping(ledger))
		fine = read_many(&reader, &inspection) && look_once(&reader, &inspection);
	atomic_store(&process->state, PROCESS_FINISHED);
	reader_deinit(&reader);
	shmkv_detach(kv);
	return fine ? 0 : 1;
}

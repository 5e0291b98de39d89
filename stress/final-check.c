/* SPDX-License-Identifier: MIT */
#include "stress/final-check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shmkv/expiry.h>

#include "stress/driver.h"
#include "stress/history.h"
#include "stress/reader.h"
#include "stress/work.h"

struct final_check {
	const struct worker_start *start;
	struct ledger *ledger;
	struct ledger_final *report;
	struct ledger_writer *writer;
	struct shmkv *kv;
	struct reader reader;
	const struct unsettled *unsettled;
	size_t n_unsettled;
	unsigned char *hit; /* a bit for each key that get found, classes one after another */
};

#define FAIL(check, ...) (ledger_fail((check)->ledger, (check)->start->place, __VA_ARGS__), false)

static bool fail_call(struct final_check *check, const char *what, int r)
{
	return FAIL(check, "%s answered %s (%s) when all was quiet", what, shmkv_errname(r),
		    shmkv_strerror(r));
}

/* ---- invariants ------------------------------------------------------------------ */

struct violation {
	char first[400];
	uint64_t n;
};

static void note_violation(const char *text, void *arg)
{
	struct violation *violation = arg;

	if (violation->n++ == 0)
		snprintf(violation->first, sizeof(violation->first), "%s", text);
}

static bool recover(struct final_check *check, struct shmkv_recovery *report)
{
	int r;

	memset(report, 0, sizeof(*report));
	report->size = sizeof(*report);
	ledger_op_begin(check->writer, STRESS_OP_RECOVER);
	r = shmkv_recover(check->kv, report);
	ledger_op_end(check->writer);
	return r == 0 || fail_call(check, "recover", r);
}

static bool audit(struct final_check *check, const char *when, struct shmkv_audit *ret_audit)
{
	struct violation violation = { .n = 0 };
	int r;

	memset(ret_audit, 0, sizeof(*ret_audit));
	ret_audit->size = sizeof(*ret_audit);
	ledger_op_begin(check->writer, STRESS_OP_RECOVER);
	r = shmkv_check(check->kv, note_violation, &violation, ret_audit);
	ledger_op_end(check->writer);
	if (violation.n > 0 || ret_audit->violations > 0)
		return FAIL(check, "%" PRIu64 " invariants violated %s, first: %s",
			    ret_audit->violations, when, violation.n ? violation.first : "not said");
	if (r < 0)
		return fail_call(check, "check", r);
	if (ret_audit->leaked_blocks || ret_audit->leaked_bytes || ret_audit->leaked_leaves ||
	    ret_audit->leaked_chunks)
		return FAIL(check, "leaked %s: %" PRIu64 " blocks of %" PRIu64 " bytes, %" PRIu64
			    " leaves, %" PRIu64 " chunks", when, ret_audit->leaked_blocks,
			    ret_audit->leaked_bytes, ret_audit->leaked_leaves,
			    ret_audit->leaked_chunks);
	return true;
}

/* Nobody writes any more, so the last lease ends soon; then their memory comes back at once. */
static bool leases_expire(struct final_check *check)
{
	uint64_t end = work_clock_ms() + WORK_LEASE_MS_MAX + 1;
	const struct timespec nap = { .tv_nsec = 1000000 };
	int r;

	while (work_clock_ms() <= end)
		nanosleep(&nap, NULL);
	ledger_op_begin(check->writer, STRESS_OP_LEASE);
	r = shmkv_expire(check->kv, 0, NULL);
	ledger_op_end(check->writer);
	return r == 0 || fail_call(check, "expire", r);
}

static bool invariants_hold(struct final_check *check)
{
	struct ledger_final *report = check->report;
	struct shmkv_recovery again;
	int r;

	if (!recover(check, &report->recovery) || !leases_expire(check))
		return false;
	/* What the first recovery left over is what it did wrong. */
	if (!recover(check, &again))
		return false;
	if (again.processes || again.contexts || again.blocks || again.bytes || again.leaves ||
	    again.chunks || again.count_fix)
		return FAIL(check, "a second recovery found more: %" PRIu64 " processes, %" PRIu64
			    " contexts, %" PRIu64 " blocks, %" PRIu64 " leaves, %" PRIu64
			    " chunks, count off by %" PRId64, again.processes, again.contexts,
			    again.blocks, again.leaves, again.chunks, again.count_fix);
	if (!audit(check, "after recovery", &report->audit))
		return false;
	report->info.size = sizeof(report->info);
	r = shmkv_info(check->kv, &report->info);
	if (r < 0)
		return fail_call(check, "info", r);
	report->huge.size = sizeof(report->huge);
	r = shmkv_huge_info(check->kv, &report->huge);
	if (r < 0)
		return fail_call(check, "huge_info", r);
	if (report->info.processes_dead)
		return FAIL(check, "%" PRIu32 " dead processes are left after recovery",
			    report->info.processes_dead);
	return true;
}

/* ---- content --------------------------------------------------------------------- */

static size_t hit_bit(const struct final_check *check, enum key_class class, uint64_t idx)
{
	unsigned int c;
	size_t bit = (size_t)idx;

	for (c = 0; c < (unsigned int)class; c++)
		bit += (size_t)check->ledger->plan.n[c];
	return bit;
}

/* Packed length of what payload_make and shmkv_int store. */
static uint64_t packed_len(const struct shmkv_value *value)
{
	unsigned char scratch[16];
	size_t len;

	switch (value->type) {
	case SHMKV_BIN:
		return value->len + (value->len > 0xffff ? 5 : value->len > 0xff ? 3 : 2);
	case SHMKV_STR:
		return value->len +
		       (value->len > 0xffff ? 5 : value->len > 0xff ? 3 : value->len > 31 ? 2 : 1);
	case SHMKV_INT:
		if (shmkv_value_encode(*value, scratch, sizeof(scratch), &len) == 0)
			return len;
		return 1;
	default:
		return value->len;
	}
}

/* 1 found, 0 absent, negative after a failure was recorded. */
static int look_up(struct final_check *check, enum key_class class, uint64_t idx,
		   struct shmkv_value *ret_value)
{
	struct stress_key key;
	size_t bit;
	int r;

	stress_key_make(class, idx, &key);
	r = reader_get(&check->reader, &key, ret_value, NULL);
	if (r == -EAGAIN)
		fail_call(check, "get", r);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	bit = hit_bit(check, class, idx);
	check->hit[bit / 8] |= (unsigned char)(1u << (bit % 8));
	check->report->keys++;
	check->report->payload_bytes += key.len + packed_len(ret_value);
	return 1;
}

static bool owned_are_right(struct final_check *check)
{
	struct ledger *ledger = check->ledger;
	struct shmkv_value value;
	uint64_t idx, word;
	bool fine;
	int found;

	for (idx = 0; idx < ledger->plan.n[KEY_OWNED]; idx++) {
		found = look_up(check, KEY_OWNED, idx, &value);
		if (found < 0)
			return false;
		word = atomic_load(&ledger->owned[idx]);
		if (owned_unpack(word).in_flight)
			fine = reader_settle_owned(&check->reader, idx, word, found ? &value : NULL,
						   &word);
		else
			fine = reader_judge_owned(&check->reader, idx, word, word,
						  found ? &value : NULL);
		if (!fine)
			return false;
	}
	return true;
}

static int64_t sum_rows(const struct ledger *ledger, _Atomic int64_t *rows, enum key_class class,
			uint64_t idx)
{
	unsigned int writer;
	int64_t sum = 0;

	for (writer = 0; writer < ledger->plan.writers; writer++)
		sum += atomic_load(&rows[writer * ledger->plan.n[class] + idx]);
	return sum;
}

static unsigned int count_unsettled(const struct final_check *check, enum intent_kind kind,
				    uint64_t idx)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < check->n_unsettled; i++)
		n += check->unsettled[i].kind == kind && check->unsettled[i].idx == idx;
	return n;
}

static bool presence_is_right(struct final_check *check)
{
	struct ledger *ledger = check->ledger;
	unsigned int maybe_adds, maybe_dels;
	struct shmkv_value value;
	int64_t adds, dels;
	uint64_t idx;
	int found;

	for (idx = 0; idx < ledger->plan.n[KEY_PRESENCE]; idx++) {
		found = look_up(check, KEY_PRESENCE, idx, &value);
		if (found < 0 ||
		    (found && !reader_judge_shared(&check->reader, KEY_PRESENCE, idx, &value)))
			return false;
		adds = sum_rows(ledger, ledger->adds, KEY_PRESENCE, idx);
		dels = sum_rows(ledger, ledger->dels, KEY_PRESENCE, idx);
		maybe_adds = count_unsettled(check, INTENT_PRESENCE_ADD, idx);
		maybe_dels = count_unsettled(check, INTENT_PRESENCE_DEL, idx);
		/* What was evicted was deleted by nobody. */
		if ((found < adds - dels - maybe_dels && !check->reader.evicts) ||
		    found > adds - dels + maybe_adds)
			return FAIL(check, "presence key %" PRIu64 " is %s after %" PRId64
				    " successful adds and %" PRId64
				    " deletes (%u adds and %u deletes of dead workers may count too)",
				    idx, found ? "there" : "absent", adds, dels, maybe_adds,
				    maybe_dels);
	}
	return true;
}

/* Can some of the open amounts, each counted once or not, make up this difference? */
static bool amounts_reach(const int64_t *amounts, unsigned int n, int64_t difference)
{
	if (difference == 0)
		return true;
	if (n == 0)
		return false;
	return amounts_reach(amounts + 1, n - 1, difference) ||
	       amounts_reach(amounts + 1, n - 1, difference - *amounts);
}

#define AMOUNTS_EXACT 16u /* 2^16 sums at most; with more open calls only the range is held */

static bool counter_is_right(struct final_check *check, enum key_class class, uint64_t idx)
{
	enum intent_kind kind = class == KEY_INCR ? INTENT_INCR : INTENT_CAS;
	struct ledger *ledger = check->ledger;
	int64_t amounts[AMOUNTS_EXACT], low = 0, high = 0, sum, difference;
	struct shmkv_value value;
	unsigned int n = 0;
	size_t i;
	int found;

	found = look_up(check, class, idx, &value);
	if (found < 0 || (found && !reader_judge_counter(&check->reader, class, idx, &value)))
		return false;
	sum = sum_rows(ledger, class == KEY_INCR ? ledger->incr_sums : ledger->cas_sums, class, idx);
	for (i = 0; i < check->n_unsettled; i++) {
		if (check->unsettled[i].kind != kind || check->unsettled[i].idx != idx)
			continue;
		if (n < AMOUNTS_EXACT)
			amounts[n] = check->unsettled[i].amount;
		n++;
		if (check->unsettled[i].amount < 0)
			low += check->unsettled[i].amount;
		else
			high += check->unsettled[i].amount;
	}
	/* Evicted counters began again: of those that only rise there cannot be more than that. */
	if (check->reader.evicts) {
		if (found && (class == KEY_CAS || key_only_rises(idx)) &&
		    value.i64 - key_initial(idx) > sum + high)
			return FAIL(check, "%s counter %" PRIu64 " is %" PRId64 ", acknowledged were %"
				    PRId64 " and the open calls of dead workers account for %" PRId64
				    " on top of %" PRId64, key_class_name(class), idx, value.i64, sum,
				    high, key_initial(idx));
		return true;
	}
	difference = (found ? value.i64 - key_initial(idx) : 0) - sum;
	if (difference < low || difference > high ||
	    (n <= AMOUNTS_EXACT && !amounts_reach(amounts, n, difference)))
		return FAIL(check, "%s counter %" PRIu64 " is %s%" PRId64 ", acknowledged were %" PRId64
			    " on top of %" PRId64 "; the %u open calls of dead workers account for %"
			    PRId64 "..%" PRId64, key_class_name(class), idx, found ? "" : "absent, not ",
			    found ? value.i64 : sum, sum, key_initial(idx), n, low, high);
	return true;
}

static bool leases_are_gone(struct final_check *check)
{
	struct shmkv_value value;
	uint64_t idx;
	int found;

	for (idx = 0; idx < check->ledger->plan.n[KEY_LEASE]; idx++) {
		found = look_up(check, KEY_LEASE, idx, &value);
		if (found < 0)
			return false;
		if (found)
			return FAIL(check, "lease %" PRIu64 " is there after its end", idx);
	}
	return true;
}

static bool others_are_right(struct final_check *check)
{
	struct ledger *ledger = check->ledger;
	struct shmkv_value value;
	uint64_t idx;
	int found;

	for (idx = 0; idx < ledger->plan.n[KEY_SHARED]; idx++) {
		found = look_up(check, KEY_SHARED, idx, &value);
		if (found < 0 ||
		    (found && !reader_judge_shared(&check->reader, KEY_SHARED, idx, &value)))
			return false;
	}
	for (idx = 0; idx < ledger->plan.n[KEY_TIMED]; idx++) {
		found = look_up(check, KEY_TIMED, idx, &value);
		if (found < 0 ||
		    (found && !reader_judge_shared(&check->reader, KEY_TIMED, idx, &value)))
			return false;
	}
	for (idx = 0; idx < ledger->plan.n[KEY_INCR]; idx++)
		if (!counter_is_right(check, KEY_INCR, idx))
			return false;
	for (idx = 0; idx < ledger->plan.n[KEY_CAS]; idx++)
		if (!counter_is_right(check, KEY_CAS, idx))
			return false;
	return presence_is_right(check) && leases_are_gone(check);
}

/* Every key once, and none that get did not find. */
static bool scan_agrees(struct final_check *check)
{
	struct shmkv_scan *scan;
	struct shmkv_entry entry;
	enum key_class class;
	uint64_t idx, n = 0;
	bool fine = true;
	size_t bit;
	int r;

	r = shmkv_scan_begin(check->kv, 0, &scan);
	if (r < 0)
		return fail_call(check, "scan", r);
	while (fine && (r = shmkv_scan_next(scan, &entry)) == 1) {
		ledger_bump(&check->writer->ops);
		if (!stress_key_parse(&check->ledger->plan, entry.key, entry.key_len, &class, &idx)) {
			fine = FAIL(check, "the map holds a key of %zu bytes that nobody wrote: %.*s",
				    entry.key_len, (int)(entry.key_len < 40 ? entry.key_len : 40),
				    (const char *)entry.key);
			break;
		}
		bit = hit_bit(check, class, idx);
		if (!(check->hit[bit / 8] >> (bit % 8) & 1))
			fine = FAIL(check, "the scan returned %s key %" PRIu64 " %s",
				    key_class_name(class), idx, "twice, or get did not find it");
		check->hit[bit / 8] &= (unsigned char)~(1u << (bit % 8));
		n++;
	}
	shmkv_scan_end(scan);
	if (fine && r < 0)
		return fail_call(check, "scan", r);
	if (fine && n != check->report->keys)
		return FAIL(check, "the scan returned %" PRIu64 " keys, get found %" PRIu64, n,
			    check->report->keys);
	return fine;
}

static bool count_is(struct final_check *check, uint64_t expected)
{
	uint64_t count;
	int r = shmkv_count(check->kv, &count);

	if (r < 0)
		return fail_call(check, "count", r);
	if (count != expected)
		return FAIL(check, "count is %" PRIu64 ", there are %" PRIu64 " keys", count, expected);
	return true;
}

/* ---- figures --------------------------------------------------------------------- */

/* Calls of the dead that may be counted or not: so many at most in each thread. */
#define CALLS_IN_FLIGHT WORK_BATCH

/* Of each kind so many calls as returned, and of those that were cut off none, some or all. */
static bool calls_are_counted(struct final_check *check, const struct driver_sums *sums,
			      uint64_t slack)
{
	const struct shmkv_stats *stats = &check->report->stats;
	const struct shmkv_stats *before = &check->ledger->head->stats_before;
	const uint64_t counted[LEDGER_CALLS] = {
		[LEDGER_CALL_PUT] = stats->puts - before->puts,
		[LEDGER_CALL_ADD] = stats->adds - before->adds,
		[LEDGER_CALL_REPLACE] = stats->replaces - before->replaces,
		[LEDGER_CALL_CAS] = stats->cases - before->cases,
		[LEDGER_CALL_UPDATE] = stats->updates_in_place - before->updates_in_place,
		[LEDGER_CALL_DEL] = stats->dels - before->dels,
		[LEDGER_CALL_TAKE] = stats->takes - before->takes,
	};
	static const char *const names[LEDGER_CALLS] = { "puts", "adds", "replaces", "cases",
							 "updates", "dels", "takes" };
	unsigned int call;

	for (call = 0; call < LEDGER_CALLS; call++) {
		if (counted[call] >= sums->calls[call] &&
		    counted[call] <= sums->calls[call] + slack + sums->full)
			continue;
		return FAIL(check, "the statistics count %" PRIu64 " %s, %" PRIu64
			    " have returned and at most %" PRIu64 " more were cut off or found it full",
			    counted[call], names[call], sums->calls[call], slack + sums->full);
	}
	return true;
}

static bool statistics_are_right(struct final_check *check)
{
	struct ledger_final *report = check->report;
	struct shmkv_stats *stats = &report->stats;
	const struct shmkv_stats *before = &check->ledger->head->stats_before;
	uint64_t deaths = atomic_load(&check->ledger->head->deaths), difference;
	struct driver_sums sums;
	int r;

	driver_sum(check->ledger, &sums);
	stats->size = sizeof(*stats);
	r = shmkv_stats(check->kv, stats);
	if (r < 0)
		return fail_call(check, "stats", r);
	if (stats->failed != before->failed)
		return FAIL(check, "the statistics count %" PRIu64 " calls that failed",
			    stats->failed - before->failed);
	if (stats->recoveries - before->recoveries > deaths)
		return FAIL(check, "%" PRIu64 " dead processes were recovered, %" PRIu64 " had died",
			    stats->recoveries - before->recoveries, deaths);
	/* A death may take the count of one insert or removal with it, per thread. */
	difference = (stats->inserts - before->inserts) - (stats->deletes - before->deletes);
	difference = difference > report->audit.count ? difference - report->audit.count :
							report->audit.count - difference;
	if (difference > deaths * check->ledger->threads * CALLS_IN_FLIGHT)
		return FAIL(check, "%" PRIu64 " inserts and %" PRIu64
			    " deletes after %" PRIu64 " deaths do not leave %" PRIu64 " keys",
			    stats->inserts, stats->deletes, deaths, report->audit.count);
	return calls_are_counted(check, &sums, deaths * check->ledger->threads * CALLS_IN_FLIGHT);
}

/* Waits that last until their deadline sleep: most of them, and most of the time. */
#define WAITS_ENOUGH 50u

static bool waits_slept(struct final_check *check)
{
	struct driver_sums sums;

	driver_sum(check->ledger, &sums);
	if (sums.waits < WAITS_ENOUGH)
		return true;
	if (sums.waits_awake > sums.waits / 2 || sums.wait_cpu_ns > sums.wait_ns / 2)
		return FAIL(check, "waits do not sleep: of %" PRIu64 " that lasted %" PRIu64
			    " never gave the processor away; they took %" PRIu64
			    " ms, %" PRIu64 " ms of that running", sums.waits, sums.waits_awake,
			    sums.wait_ns / 1000000, sums.wait_cpu_ns / 1000000);
	return true;
}

static bool content_is_right(struct final_check *check)
{
	struct ledger_final *report = check->report;

	if (!owned_are_right(check) || !others_are_right(check) || !scan_agrees(check) ||
	    !count_is(check, report->keys))
		return false;
	if (report->audit.keys != report->keys)
		return FAIL(check, "check reached %" PRIu64 " keys, there are %" PRIu64,
			    report->audit.keys, report->keys);
	if (report->audit.record_bytes < report->payload_bytes ||
	    report->audit.block_bytes < report->audit.record_bytes)
		return FAIL(check, "keys and values are %" PRIu64 " bytes, in records of %" PRIu64
			    " bytes in blocks of %" PRIu64, report->payload_bytes,
			    report->audit.record_bytes, report->audit.block_bytes);
	return true;
}

/* ---- the last byte --------------------------------------------------------------- */

/* With the last key every record has to be given back. */
static bool nothing_is_left(struct final_check *check)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv_audit empty;
	uint64_t removed;
	int r;

	ledger_op_begin(check->writer, STRESS_OP_DEL);
	r = shmkv_clear(check->kv, &removed);
	ledger_op_end(check->writer);
	if (r < 0)
		return fail_call(check, "clear", r);
	if (removed != check->report->keys)
		return FAIL(check, "clear removed %" PRIu64 " of %" PRIu64 " keys", removed,
			    check->report->keys);
	if (!count_is(check, 0) || !audit(check, "after the map was emptied", &empty))
		return false;
	r = shmkv_info(check->kv, &info);
	if (r < 0)
		return fail_call(check, "info", r);
	if (empty.keys || empty.record_bytes || empty.block_bytes || info.run_bytes)
		return FAIL(check, "the empty map holds %" PRIu64 " keys, %" PRIu64
			    " bytes of blocks and %" PRIu64 " bytes of runs", empty.keys,
			    empty.block_bytes, info.run_bytes);
	return true;
}

/* ---- histories ------------------------------------------------------------------- */

/* The content is for the checker; here only that count and keys agree. */
static bool history_is_right(struct final_check *check)
{
	check->report->keys = check->report->audit.keys;
	return count_is(check, check->report->audit.keys) &&
	       history_run_final(check->start, check->kv);
}

/* ---- the process ----------------------------------------------------------------- */

static bool run(struct final_check *check)
{
	const struct stress_options *opts = check->start->opts;

	if (!invariants_hold(check))
		return false;
	if (!opts->history && !(statistics_are_right(check) && waits_slept(check)))
		return false;
	if (opts->history ? !history_is_right(check) : !content_is_right(check))
		return false;
	if (!opts->keep && !nothing_is_left(check))
		return false;
	check->report->reached_end = true;
	return true;
}

int final_check_run(const struct worker_start *start, const struct unsettled *unsettled,
		    size_t n_unsettled)
{
	struct ledger *ledger = start->ledger;
	struct final_check check = {
		.start = start,
		.ledger = ledger,
		.report = &ledger->head->final,
		.unsettled = unsettled,
		.n_unsettled = n_unsettled,
	};
	unsigned int n;
	bool fine = false;

	check.writer = ledger_writers_of(ledger, start->place, &n);
	check.report->unsettled = n_unsettled;
	if (worker_attach(start, 0, check.writer, &check.kv) < 0)
		return 1;
	atomic_store(&ledger->processes[start->place].state, PROCESS_RUNNING);
	check.hit = calloc(hit_bit(&check, KEY_CLASSES, 0) / 8 + 1, 1);
	if (!check.hit || reader_init(&check.reader, ledger, start->opts, start->place, check.writer,
				      start->seed) < 0) {
		ledger_fail(ledger, start->place, "no memory for the final check");
	} else {
		check.reader.kv = check.kv;
		fine = run(&check);
		reader_deinit(&check.reader);
	}
	free(check.hit);
	shmkv_detach(check.kv);
	return fine ? 0 : 1;
}

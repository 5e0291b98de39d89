/* SPDX-License-Identifier: MIT */
#include "stress/verdict.h"

#include "stress/aim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *verdict_first_failure(const struct ledger *ledger)
{
	const struct ledger_process *process, *first = NULL;
	unsigned int i;

	if (atomic_load(&ledger->head->n_failed) == 0)
		return NULL;
	for (i = 0; i < ledger->n_processes; i++) {
		process = &ledger->processes[i];
		if (atomic_load(&process->failed) == 2 &&
		    (!first || process->failed_nth < first->failed_nth))
			first = process;
	}
	return first ? first->failure : "a process was killed while it wrote down what it had found";
}

static double per_second(uint64_t n, const struct driver_figures *figures)
{
	return figures->seconds > 0 ? (double)n / figures->seconds : 0;
}

/* ---- text ------------------------------------------------------------------------ */

static void print_longest(const struct driver_sums *sums)
{
	unsigned int op;

	fputs("longest:", stdout);
	for (op = 0; op < STRESS_OPS; op++)
		if (sums->count[op])
			printf(" %s %.1f ms", stress_op_name((enum stress_op)op),
			       (double)sums->longest_ns[op] / 1e6);
	fputs(" (scheduling included)\n", stdout);
}

static void print_text(const struct stress_options *opts, const struct ledger *ledger,
		       const char *segment, const struct driver_figures *figures,
		       const char *failure)
{
	const struct ledger_final *final = &ledger->head->final;
	struct driver_sums sums;
	unsigned int op;

	driver_sum(ledger, &sums);
	fputs("operations:", stdout);
	for (op = 0; op < STRESS_OPS; op++)
		if (sums.count[op])
			printf(" %s %" PRIu64, stress_op_name((enum stress_op)op), sums.count[op]);
	printf("; conflicts %" PRIu64 ", full %" PRIu64 "\n", sums.conflicts, sums.full);
	print_longest(&sums);
	printf("checked: %" PRIu64 " reads, %" PRIu64 " scans; calls cut off by a kill: %" PRIu64
	       " looked up, %" PRIu64 " on contended keys counted as either\n",
	       sums.checked, sums.scans, sums.settled, final->unsettled);
	printf("looked at while others worked: %" PRIu64 " times, no invariant violated, nothing lost, %"
	       PRIu64 " looks undecided; waits that lasted: %" PRIu64 ", %.1f %% of their time running\n",
	       sums.verified, sums.undecided, sums.waits,
	       sums.wait_ns ? 100.0 * (double)sums.wait_cpu_ns / (double)sums.wait_ns : 0.0);
	if (opts->aim)
		printf("deaths and stops at %u of %u fault points\n", figures->points_hit, aim_points());
	printf("nobody waited: after %" PRIu64 " kills and %" PRIu64
	       " stops every other thread completed %s\n", figures->passed_kills,
	       figures->passed_stops, "64 more operations");
	if (final->info.size)
		printf("segment: %" PRIu64 " MiB reserved of %" PRIu64 ", %" PRIu64
		       " leaves, %" PRIu64 " splits, %" PRIu64 " compactions, %" PRIu64
		       " recoveries; the last found %" PRIu64 " processes, %" PRIu64 " blocks\n",
		       final->info.reserved_bytes >> 20, final->info.max_bytes >> 20,
		       final->info.leaves, final->info.splits, final->info.compactions,
		       final->info.recoveries, final->recovery.processes, final->recovery.blocks);
	if (final->huge.huge_bytes)
		printf("huge pages: %" PRIu64 " MiB of %" PRIu64 " in use\n", final->huge.huge_bytes >> 20,
		       final->huge.full_bytes >> 20);
	if (figures->clients_used_up)
		puts("ended early: a history has room for 65535 threads and all were used");
	if (figures->interrupted)
		puts("ended early: interrupted");
	if (opts->keep)
		printf("kept: segment %s\n", segment);

	if (failure)
		printf("FAIL: %s\n", failure);
	else
		printf("PASS %" PRIu64 " operations in %.1f s (%.0f/s), keys %" PRIu64 " -> %" PRIu64
		       " of %" PRIu64 ", %" PRIu64 " kills (%" PRIu64 " while stopped), %" PRIu64
		       " stops, leaked bytes 0\n", sums.ops, figures->seconds,
		       per_second(sums.ops, figures), opts->history ? 0 : opts->keys_start,
		       final->keys, opts->keys, figures->kills, figures->kills_of_stopped,
		       figures->stops);
	fputs("replay: ", stdout);
	stress_options_print(opts, stdout);
	fputc('\n', stdout);
}

/* ---- JSON ------------------------------------------------------------------------ */

/* Bytes that are not ASCII may stem from a damaged segment and are not UTF-8 then. */
static void json_string(const char *text)
{
	const unsigned char *p;

	putchar('"');
	for (p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}

static void json_u64(const char *name, uint64_t number)
{
	printf(",\"%s\":%" PRIu64, name, number);
}

static void json_ops(const char *name, const uint64_t numbers[STRESS_OPS])
{
	unsigned int op;

	printf(",\"%s\":{", name);
	for (op = 0; op < STRESS_OPS; op++)
		printf("%s\"%s\":%" PRIu64, op ? "," : "", stress_op_name((enum stress_op)op),
		       numbers[op]);
	putchar('}');
}

static void json_options(const struct stress_options *opts)
{
	unsigned int op;

	printf(",\"options\":{\"procs\":%u,\"threads\":%u,\"seconds\":%g", opts->procs,
	       opts->threads, opts->seconds);
	json_u64("ops", opts->ops);
	json_u64("seed", opts->seed);
	json_u64("keys", opts->keys);
	json_u64("keys_start", opts->keys_start);
	json_u64("value_min", opts->value_min);
	json_u64("value_max", opts->value_max);
	json_u64("max_bytes", opts->max_bytes);
	fputs(",\"mix\":[", stdout);
	for (op = 0; op < STRESS_OPS_MIXED; op++)
		printf("%s%u", op ? "," : "", opts->mix[op]);
	printf("],\"kill\":%g,\"stop\":%g", opts->kill_rate, opts->stop_rate);
	fputs(",\"history\":", stdout);
	if (opts->history)
		json_string(opts->history);
	else
		fputs("null", stdout);
	putchar('}');
}

static void json_final(const struct ledger_final *final)
{
	printf(",\"final\":{\"complete\":%s", final->reached_end ? "true" : "false");
	json_u64("keys", final->keys);
	json_u64("payload_bytes", final->payload_bytes);
	json_u64("unsettled", final->unsettled);
	json_u64("violations", final->audit.violations);
	json_u64("leaked_blocks", final->audit.leaked_blocks);
	json_u64("leaked_bytes", final->audit.leaked_bytes);
	json_u64("leaked_leaves", final->audit.leaked_leaves);
	json_u64("leaked_chunks", final->audit.leaked_chunks);
	json_u64("record_bytes", final->audit.record_bytes);
	json_u64("block_bytes", final->audit.block_bytes);
	json_u64("reserved_bytes", final->info.reserved_bytes);
	json_u64("index_bytes", final->info.index_bytes);
	json_u64("leaves", final->info.leaves);
	json_u64("splits", final->info.splits);
	json_u64("compactions", final->info.compactions);
	json_u64("retries", final->info.retries);
	json_u64("recoveries", final->info.recoveries);
	json_u64("evictions", final->info.evictions);
	json_u64("expired", final->info.expired);
	json_u64("huge_bytes", final->huge.huge_bytes);
	json_u64("recovered_processes", final->recovery.processes);
	json_u64("recovered_blocks", final->recovery.blocks);
	json_u64("recovered_bytes", final->recovery.bytes);
	json_u64("recovered_leaves", final->recovery.leaves);
	json_u64("recovered_chunks", final->recovery.chunks);
	putchar('}');
}

/* stress_options_print writes to a stream; here the text has to be escaped. */
static void json_replay(const struct stress_options *opts)
{
	char *text = NULL;
	size_t len;
	FILE *stream = open_memstream(&text, &len);

	if (stream) {
		stress_options_print(opts, stream);
		fclose(stream);
	}
	fputs(",\"replay\":", stdout);
	json_string(text ? text : "");
	free(text);
}

static void print_json(const struct stress_options *opts, const struct ledger *ledger,
		       const char *segment, const struct driver_figures *figures,
		       const char *failure)
{
	struct driver_sums sums;

	driver_sum(ledger, &sums);
	printf("{\"verdict\":\"%s\",\"failure\":", failure ? "FAIL" : "PASS");
	if (failure)
		json_string(failure);
	else
		fputs("null", stdout);
	fputs(",\"segment\":", stdout);
	json_string(segment);
	printf(",\"seconds\":%.3f,\"operations_per_second\":%.0f", figures->seconds,
	       per_second(sums.ops, figures));
	json_u64("operations", sums.ops);
	json_ops("count", sums.count);
	json_ops("longest_ns", sums.longest_ns);
	json_u64("conflicts", sums.conflicts);
	json_u64("full", sums.full);
	json_u64("checked", sums.checked);
	json_u64("settled", sums.settled);
	json_u64("scans", sums.scans);
	json_u64("verified", sums.verified);
	json_u64("undecided", sums.undecided);
	json_u64("waits", sums.waits);
	json_u64("waits_awake", sums.waits_awake);
	json_u64("wait_ns", sums.wait_ns);
	json_u64("wait_cpu_ns", sums.wait_cpu_ns);
	json_u64("starts", figures->starts);
	json_u64("kills", figures->kills);
	json_u64("kills_of_stopped", figures->kills_of_stopped);
	json_u64("stops", figures->stops);
	json_u64("kills_nobody_waited", figures->passed_kills);
	json_u64("stops_nobody_waited", figures->passed_stops);
	json_u64("fault_points", aim_points());
	json_u64("fault_points_hit", figures->points_hit);
	printf(",\"interrupted\":%s", figures->interrupted ? "true" : "false");
	json_final(&ledger->head->final);
	json_options(opts);
	json_replay(opts);
	puts("}");
}

int verdict_print(const struct stress_options *opts, const struct ledger *ledger,
		  const char *segment, const struct driver_figures *figures)
{
	const char *failure = verdict_first_failure(ledger);

	if (!failure && !ledger->head->final.reached_end)
		failure = "the final check did not reach its end";
	if (opts->json)
		print_json(opts, ledger, segment, figures, failure);
	else
		print_text(opts, ledger, segment, figures, failure);
	fflush(stdout);
	return failure ? STRESS_EXIT_FAIL : STRESS_EXIT_PASS;
}

/* SPDX-License-Identifier: MIT */
#include "tests/sweep-engine.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * test-sweep: the crash contract, held at every gap of every crash table.
 *
 * SHMKV_SWEEP=full       every passage, every twist (long)
 * SKV_SWEEP_CASE=...     only this case, as a failure names it
 * SKV_TEST_SEED=n        another hash key, and so other leaves
 */

/* A gate: whatever is defined must have been swept. */
static void want_swept(const uint64_t *counts, const char *what,
		       bool (*applies)(unsigned int point))
{
	char missing[700] = "";
	unsigned int i, n = 0;
	size_t len = 0;

	for (i = 0; i < SKV_FAULT_N; i++) {
		if (counts[i] > 0 || (applies && !applies(i)))
			continue;
		n++;
		if (len < sizeof(missing) - 40)
			len += (size_t)snprintf(missing + len, sizeof(missing) - len, " %s",
						skv_fault_name((enum skv_fault_point)i));
	}
	if (n)
		skv_test_fail(__FILE__, __LINE__, "%u points were never %s:%s", n, what, missing);
}

static bool single_case(struct sweep_run *run)
{
	const char *text = getenv("SKV_SWEEP_CASE");

	if (!text || !*text)
		return false;
	sweep_run_case(run, text);
	sweep_run_end(run);
	return true;
}

/* A map that can have huge pages is too large to be filled in every case: test-huge kills and
 * stops there. */
static bool is_swept(unsigned int point)
{
	return point != SKV_FAULT_HUGE_TRIED;
}

static void every_point_is_survived(void)
{
	struct sweep_run run;

	sweep_run_begin(&run);
	if (single_case(&run))
		return;
	sweep_run_first(&run);
	sweep_run_end(&run);
	if (run.only)
		return;
	want_swept(run.board->reached, "reached", is_swept);
	want_swept(run.board->killed, "killed at", is_swept);
	want_swept(run.board->stopped, "stopped at", is_swept);
}

/*
 * What a process that recovers can pass; the gate of the second sweep. Not LEAF_FREEZE: the
 * survivors' battery finishes a replacement before anybody recovers, so a recoverer that freezes
 * is killed in the first sweep, where recovery is the operation ("recover-forward").
 */
static bool recovery_passes(unsigned int point)
{
	switch (point) {
	case SKV_FAULT_RUN_BODY_RETURNED:
	case SKV_FAULT_RUN_HEAD_LEFT:
	case SKV_FAULT_SETTLE_BEFORE_FREE:
	case SKV_FAULT_SETTLE_FREED:
	case SKV_FAULT_SETTLE_RUN_FREED:
	case SKV_FAULT_LEAF_FROZEN:
	case SKV_FAULT_LEAF_BUILD:
	case SKV_FAULT_LEAF_BUILT:
	case SKV_FAULT_LEAF_CHILD_LIVE:
	case SKV_FAULT_LEAF_UNBORN:
	case SKV_FAULT_LEAF_SWITCHED:
	case SKV_FAULT_LEAF_BORN:
	case SKV_FAULT_LEAF_RETIRED:
	case SKV_FAULT_DIR_ROOT:
	case SKV_FAULT_REAP_CONTEXT:
	case SKV_FAULT_REAP_PINS:
	case SKV_FAULT_PIN_RELEASING:
	case SKV_FAULT_PIN_SETTLED:
	case SKV_FAULT_PIN_CLEARED:
	case SKV_FAULT_REAP_NEW:
	case SKV_FAULT_REAP_OLD:
	case SKV_FAULT_REAP_RESERVED:
	case SKV_FAULT_REAP_REBUILD:
	case SKV_FAULT_REAP_CHUNKS:
	case SKV_FAULT_REAP_CREDIT:
	case SKV_FAULT_WAKE_FLAGGED:
	case SKV_FAULT_WAKE_CLEARED:
	case SKV_FAULT_WAKE_RUNG:
	case SKV_FAULT_REAP_FREED:
	case SKV_FAULT_REAP_DONE:
	case SKV_FAULT_RECOVER_CHUNK:
	case SKV_FAULT_SWEEP_BLOCK:
		return true;
	default:
		return false;
	}
}

static void every_point_of_recovery_is_survived(void)
{
	struct sweep_run run;

	sweep_run_begin(&run);
	if (single_case(&run))
		return;
	sweep_run_again(&run);
	sweep_run_end(&run);
	if (run.only)
		return;
	want_swept(run.board->killed_again, "killed at inside recovery", recovery_passes);
}

static void several_die_at_once(void)
{
	struct sweep_run run;

	sweep_run_begin(&run);
	if (single_case(&run))
		return;
	sweep_run_many(&run);
	sweep_run_end(&run);
}

const struct skv_test skv_tests_sweep[] = {
	/* hazards 3, 5, 6, 8, 32 */
	{ "sweep", "a process may die or stop at every point", every_point_is_survived, 300 },
	/* hazard 13 */
	{ "sweep", "a process that recovers may die at every point",
	  every_point_of_recovery_is_survived, 300 },
	/* hazard 14 */
	{ "sweep", "several may stop, wake and die at once", several_die_at_once, 300 },
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_SWEEP_ENGINE_H
#define SKV_TESTS_SWEEP_ENGINE_H

/*
 * sweep-engine: kills and stops at every passage of every fault point.
 *
 * A dry run of each scenario counts how often its operation passes each point; the cases
 * follow from that. A case is a segment of its own and these processes:
 *
 *   director    makes the segment, is attached all the time, judges; the first survivor
 *   haunts      die before, so that the operation meets what they left
 *   victim      runs the operation and dies, or is stopped, at the nth passage of the point
 *   recoverers  each is killed inside shmkv_recover at its own point, one after the other
 *   tenant      stands inside a call, in a recovered context, when a stopped victim wakes
 *   newcomer    attaches after all that and does everything once more
 *
 * Nothing waits for time to pass: a process that stops or dies is seen by waitpid, and
 * survivors must finish while it is in that state. Only a director that hangs is ended by
 * its alarm.
 */

#include "tests/sweep-scenarios.h"

struct sweep_run {
	struct sweep_board *board;
	uint64_t seed;
	const char *variable; /* of the environment: repeats one case */
	const char *only; /* NULL, or how the names of the scenarios begin */
	bool full; /* every passage and every twist instead of a sample */
	uint32_t n_cases, n_failed;
	uint64_t leaf_chunks; /* of the last scenario that was run without a death */
	char first[640]; /* what the first failed case said */
};

void sweep_run_begin(struct sweep_run *run);

/*
 * One case in a process of its own, which judges it and says on the board what is wrong.
 * @text: how to repeat it. False, with the message printed, if it was not content.
 */
typedef void sweep_director_fn(const void *arg, struct sweep_board *board, uint64_t seed);
bool sweep_run_director(struct sweep_run *run, sweep_director_fn *fn, const void *arg,
			const char *text);

/* Deaths and stops of the victim. */
void sweep_run_first(struct sweep_run *run);

/* Deaths of those who recover after it, and of those who recover after them. */
void sweep_run_again(struct sweep_run *run);

/* One case, as a failed run names it. */
void sweep_run_case(struct sweep_run *run, const char *text);

/* Several victims in one segment, stopped anywhere, that all die at once. */
void sweep_run_many(struct sweep_run *run);

/* Fails the test with the first message if a case failed. */
void sweep_run_end(struct sweep_run *run);

#endif

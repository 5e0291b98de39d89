/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_FAULT_H
#define SKV_BASE_FAULT_H

/*
 * fault: places where a test may kill or stop the process that runs through.
 *
 * Every gap of every "a process dies here" table is a line SKV_FAULT(name) in the code and
 * a row in fault-points.def. Without SKV_FAULT_POINTS nothing of it is compiled. With it a
 * test arms one point at a time; the counts live in shared memory given by the test, so
 * that a child that died still tells which points it reached.
 */

#ifdef SKV_FAULT_POINTS

#include <stdint.h>

enum skv_fault_point {
#define SKV_FAULT_POINT(name, what) SKV_FAULT_##name,
#include "base/fault-points.def"
#undef SKV_FAULT_POINT
	SKV_FAULT_N,
};

enum skv_fault_action {
	SKV_FAULT_NONE = 0,
	SKV_FAULT_KILL,  /* SIGKILL to this process */
	SKV_FAULT_STOP,  /* SIGSTOP to this process; goes on after SIGCONT */
	SKV_FAULT_CALL,  /* the callback below */
};

/* What a test shares with its children; lives in memory mapped MAP_SHARED, or private. */
struct skv_fault_plan {
	uint64_t reached[SKV_FAULT_N]; /* how often any process came by, summed */
	uint64_t fired;                /* how often an armed action was carried out */
};

/*
 * skv_fault_arm - what this process (and its later children) does at one point
 * @plan: where to count, or NULL to count nowhere
 * @point: SKV_FAULT_N for none
 * @nth: carry @action out at the nth passage from now, 1 is the next; once only
 * @fn, @arg: for SKV_FAULT_CALL
 *
 * Threads: arm before the threads that shall run into it start.
 */
void skv_fault_arm(struct skv_fault_plan *plan, enum skv_fault_point point, uint64_t nth,
		   enum skv_fault_action action, void (*fn)(void *arg), void *arg);

/* skv_fault_watch - call @fn at every point that this process comes by, NULL for no more */
void skv_fault_watch(void (*fn)(enum skv_fault_point point));

/* The name and the sentence of a point, static. */
const char *skv_fault_name(enum skv_fault_point point);
const char *skv_fault_text(enum skv_fault_point point);

void skv_fault_pass(enum skv_fault_point point);

#define SKV_FAULT(name) skv_fault_pass(SKV_FAULT_##name)

#else

#define SKV_FAULT(name) ((void)0)

#endif

#endif

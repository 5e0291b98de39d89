/* SPDX-License-Identifier: MIT */
#include "base/fault.h"

#ifdef SKV_FAULT_POINTS

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static struct {
	struct skv_fault_plan *plan;
	enum skv_fault_point point;
	enum skv_fault_action action;
	uint64_t left;
	void (*fn)(void *arg);
	void *arg;
} armed = { .point = SKV_FAULT_N };

static void (*watcher)(enum skv_fault_point point);

static const struct {
	const char *name;
	const char *text;
} points[] = {
#define SKV_FAULT_POINT(name, what) { #name, what },
#include "base/fault-points.def"
#undef SKV_FAULT_POINT
	{ "none", "no point" },
};

void skv_fault_arm(struct skv_fault_plan *plan, enum skv_fault_point point, uint64_t nth,
		   enum skv_fault_action action, void (*fn)(void *arg), void *arg)
{
	armed.plan = plan;
	armed.point = point;
	armed.action = action;
	armed.fn = fn;
	armed.arg = arg;
	__atomic_store_n(&armed.left, nth, __ATOMIC_SEQ_CST);
}

void skv_fault_watch(void (*fn)(enum skv_fault_point point))
{
	watcher = fn;
}

const char *skv_fault_name(enum skv_fault_point point)
{
	return points[point <= SKV_FAULT_N ? point : SKV_FAULT_N].name;
}

const char *skv_fault_text(enum skv_fault_point point)
{
	return points[point <= SKV_FAULT_N ? point : SKV_FAULT_N].text;
}

void skv_fault_pass(enum skv_fault_point point)
{
	if (armed.plan)
		__atomic_fetch_add(&armed.plan->reached[point], 1, __ATOMIC_RELAXED);
	if (watcher)
		watcher(point);
	if (point != armed.point || armed.left == 0)
		return;
	if (__atomic_sub_fetch(&armed.left, 1, __ATOMIC_RELAXED) != 0)
		return;
	if (armed.plan)
		__atomic_fetch_add(&armed.plan->fired, 1, __ATOMIC_SEQ_CST);

	switch (armed.action) {
	case SKV_FAULT_KILL:
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	case SKV_FAULT_STOP:
		kill(getpid(), SIGSTOP);
		break;
	case SKV_FAULT_CALL:
		armed.fn(armed.arg);
		break;
	case SKV_FAULT_NONE:
		break;
	}
}

#else

/* Without fault points this file is empty, which ISO C does not allow. */
typedef int skv_fault_is_not_compiled;

#endif

/* SPDX-License-Identifier: MIT */
#include "stress/aim.h"

#ifdef SKV_FAULT_POINTS

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"

_Static_assert((unsigned int)SKV_FAULT_N <= LEDGER_POINTS, "every point has a count");

/* In the ledger: the action, and the point above it. 0: nothing is asked for. */
#define ACTION_BITS 2u
#define ACTION_MASK 3u
/* A point that is not come by for so long is given up, and any other does. */
#define PASSES_MAX 4000u
#define JITTER_NS_MAX 200000u

static struct {
	struct ledger *ledger;
	struct ledger_process *process;
	unsigned int jitter;
} aimed;

static __thread struct stress_random jitter_random;

bool aim_is_possible(void)
{
	return true;
}

unsigned int aim_points(void)
{
	return SKV_FAULT_N;
}

void aim_at(struct ledger *ledger, unsigned int place, enum aim_action action,
	    struct stress_random *random)
{
	struct ledger_process *process = &ledger->processes[place];
	uint32_t point = (uint32_t)stress_random_below(random, SKV_FAULT_N);

	atomic_store(&process->aim_passes, (uint32_t)stress_random_below(random, PASSES_MAX) + 1);
	atomic_store(&process->aim, point << ACTION_BITS | (uint32_t)action);
}

void aim_withdraw(struct ledger *ledger, unsigned int place)
{
	atomic_store(&ledger->processes[place].aim, AIM_NOTHING);
}

/* Others go on meanwhile, however few processors there are. */
static void sleep_a_little(enum skv_fault_point point)
{
	struct timespec nap = { 0 };

	if (!jitter_random.state)
		jitter_random.state = stress_mix(ledger_now_ns() ^ (uint64_t)(uintptr_t)&nap ^
						 (uint64_t)point << 40 ^ (uint64_t)getpid() << 48);
	if (!stress_random_one_in(&jitter_random, aimed.jitter))
		return;
	nap.tv_nsec = (long)stress_random_below(&jitter_random, JITTER_NS_MAX);
	nanosleep(&nap, NULL);
}

static void on_point(enum skv_fault_point point)
{
	struct ledger_process *process = aimed.process;
	uint32_t aim = atomic_load_explicit(&process->aim, memory_order_relaxed);

	if (aimed.jitter)
		sleep_a_little(point);
	if (aim == AIM_NOTHING)
		return;
	if (aim >> ACTION_BITS != (uint32_t)point &&
	    atomic_fetch_sub_explicit(&process->aim_passes, 1, memory_order_relaxed) != 1)
		return;
	if (!atomic_compare_exchange_strong(&process->aim, &aim, AIM_NOTHING))
		return;
	atomic_fetch_add(&aimed.ledger->head->points_hit[point], 1);
	kill(getpid(), (aim & ACTION_MASK) == AIM_KILL ? SIGKILL : SIGSTOP);
}

void aim_begin(struct ledger *ledger, const struct stress_options *opts, unsigned int place,
	       uint64_t seed)
{
	aimed.ledger = ledger;
	aimed.process = &ledger->processes[place];
	aimed.jitter = opts->jitter;
	jitter_random.state = stress_mix(seed);
	if (opts->aim || opts->jitter)
		skv_fault_watch(on_point);
}

unsigned int aim_points_hit(const struct ledger *ledger)
{
	unsigned int point, n = 0;

	for (point = 0; point < SKV_FAULT_N; point++)
		n += atomic_load(&ledger->head->points_hit[point]) != 0;
	return n;
}

#else

bool aim_is_possible(void)
{
	return false;
}

unsigned int aim_points(void)
{
	return 0;
}

void aim_at(struct ledger *ledger, unsigned int place, enum aim_action action,
	    struct stress_random *random)
{
	(void)ledger;
	(void)place;
	(void)action;
	(void)random;
}

void aim_withdraw(struct ledger *ledger, unsigned int place)
{
	(void)ledger;
	(void)place;
}

void aim_begin(struct ledger *ledger, const struct stress_options *opts, unsigned int place,
	       uint64_t seed)
{
	(void)ledger;
	(void)opts;
	(void)place;
	(void)seed;
}

unsigned int aim_points_hit(const struct ledger *ledger)
{
	(void)ledger;
	return 0;
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_SWEEP_STAGE_H
#define SKV_TESTS_SWEEP_STAGE_H

/*
 * sweep-stage: the processes of one case, and how a scenario is set up.
 *
 * An actor is a child of the director with two pipes: it says when it is ready, and begins
 * when it is told to. So everybody is attached before anybody dies.
 */

#include "tests/sweep-scenarios.h"

struct sweep_actor {
	pid_t pid;
	int go; /* one byte starts what it is there for */
	int ready;
};

/* What an actor does; calls sweep_actor_ready in between. */
typedef void sweep_actor_fn(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go);

struct sweep_actor sweep_actor_start(struct sweep_world *w, const char *role, sweep_actor_fn *fn,
				     const void *arg, uint32_t n);
/* In the child: say that we are there, and wait until we are wanted. */
void sweep_actor_ready(int ready, int go);
void sweep_actor_await_ready(struct sweep_world *w, struct sweep_actor *actor);
void sweep_actor_go(struct sweep_actor *actor);
/* How the child changed: it stopped, or it is gone. */
int sweep_actor_wait(struct sweep_world *w, struct sweep_actor *actor);

void sweep_want_killed(struct sweep_world *w, int status, const char *who);
void sweep_want_exited(struct sweep_world *w, int status, const char *who);

struct shmkv *sweep_child_attach(struct sweep_world *w);

/* The token that the operation shall take for the newest. */
void sweep_read_token(struct sweep_world *w, struct shmkv *kv, const struct sweep_op *op);

/* With the key that the name of a key stands for. */
struct sweep_op sweep_resolved(struct sweep_op op);

/* Changes of keys that were made, by an operation of this kind, by whoever counts in this plan. */
uint64_t sweep_n_commits(const struct skv_fault_plan *plan, enum sweep_op_kind kind);

/* Sets the world up for a scenario; the segment is not there yet. @text: how to repeat it */
void sweep_world_begin(struct sweep_world *w, const struct sweep_scenario *s,
		       struct sweep_board *board, uint64_t seed, const char *text);

/* Whoever dies before the victim acts: attached by the first call, dead after the second. */
uint32_t sweep_haunts_start(struct sweep_world *w, const struct sweep_scenario *s,
			    struct sweep_actor actors[SWEEP_DEATHS_MAX]);
void sweep_haunts_run(struct sweep_world *w, const struct sweep_scenario *s,
		      struct sweep_actor actors[SWEEP_DEATHS_MAX], uint32_t n);

#endif

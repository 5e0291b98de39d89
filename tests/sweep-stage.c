/* SPDX-License-Identifier: MIT */
#include "tests/sweep-stage.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- actors ---------------------------------------------------------------------------- */

void sweep_actor_await_ready(struct sweep_world *w, struct sweep_actor *actor)
{
	char byte;

	if (read(actor->ready, &byte, 1) != 1)
		sweep_bail(w, "a child ended before it was ready");
}

void sweep_actor_go(struct sweep_actor *actor)
{
	char byte = 0;

	/* A child that is gone is found by waitpid. */
	if (write(actor->go, &byte, 1) < 0)
		return;
}

int sweep_actor_wait(struct sweep_world *w, struct sweep_actor *actor)
{
	int status;
	pid_t r;

	do {
		r = waitpid(actor->pid, &status, WUNTRACED);
	} while (r < 0 && errno == EINTR);
	if (r != actor->pid)
		sweep_bail(w, "waitpid: %s", strerror(errno));
	if (!WIFSTOPPED(status)) {
		close(actor->go);
		close(actor->ready);
		actor->pid = 0;
	}
	return status;
}

void sweep_want_killed(struct sweep_world *w, int status, const char *who)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		sweep_bail(w, "%s did not come to its point", who);
	sweep_bail(w, "%s ended with status %#x instead of dying", who, (unsigned int)status);
}

void sweep_want_exited(struct sweep_world *w, int status, const char *who)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		sweep_bail(w, "%s ended with status %#x", who, (unsigned int)status);
}

void sweep_actor_ready(int ready, int go)
{
	char byte = 0;

	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
		_exit(0); /* the director is gone */
}

struct sweep_actor sweep_actor_start(struct sweep_world *w, const char *role, sweep_actor_fn *fn,
				     const void *arg, uint32_t n)
{
	int ready[2], go[2];
	struct sweep_actor actor;
	pid_t parent = getpid();

	if (pipe(ready) < 0 || pipe(go) < 0)
		sweep_bail(w, "pipe: %s", strerror(errno));
	actor.pid = fork();
	if (actor.pid < 0)
		sweep_bail(w, "fork: %s", strerror(errno));
	if (actor.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close(ready[0]);
		close(go[1]);
		w->role = role;
		/* The handle is the director's; ours would answer -ECHILD. */
		shmkv_detach(w->kv);
		w->kv = NULL;
		fn(w, arg, n, ready[1], go[0]);
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	actor.ready = ready[0];
	actor.go = go[1];
	return actor;
}

struct shmkv *sweep_child_attach(struct sweep_world *w)
{
	struct shmkv *kv;

	SWEEP_WANT(w, shmkv_attach(w->name, 0, &kv), 0);
	return kv;
}

void sweep_read_token(struct sweep_world *w, struct shmkv *kv, const struct sweep_op *op)
{
	const char *key;
	size_t len;
	int r;

	key = sweep_key(op->key, &len);
	if (op->kind == SWEEP_WAIT_ANY) {
		SWEEP_WANT(w, shmkv_state(kv, &w->token), 0);
	} else if (op->kind == SWEEP_CAS || op->kind == SWEEP_DRAFT_CAS || op->kind == SWEEP_WAIT ||
		   op->kind == SWEEP_POLL) {
		r = shmkv_wait(kv, key, len, 0, 0, &w->token);
		SWEEP_WANT(w, r, w->model[op->key].kind == SWEEP_ABSENT ? -ETIMEDOUT : 0);
	}
}

struct sweep_op sweep_resolved(struct sweep_op op)
{
	op.key = sweep_scenario_key(op.key);
	return op;
}

uint64_t sweep_n_commits(const struct skv_fault_plan *plan, enum sweep_op_kind kind)
{
	if (kind == SWEEP_DEL || kind == SWEEP_TAKE || kind == SWEEP_CLEAR)
		return plan->reached[SKV_FAULT_REMOVE_UNLINKED];
	/* A view has its answer when it is held. */
	if (kind == SWEEP_VIEW)
		return plan->reached[SKV_FAULT_PIN_HELD];
	/* A write may also remove what has expired, for room. */
	return plan->reached[SKV_FAULT_WRITE_LINKED] + plan->reached[SKV_FAULT_TOUCH_STEPPED];
}

/* ---- the beginning ---------------------------------------------------------------------- */

void sweep_world_begin(struct sweep_world *w, const struct sweep_scenario *s,
		       struct sweep_board *board, uint64_t seed, const char *text)
{
	memset(w, 0, sizeof(*w));
	w->board = board;
	w->role = "director";
	snprintf(w->name, sizeof(w->name), "sweep-%d", (int)getpid());
	/* What a director that was killed, and had this number before, left. */
	shmkv_unlink(w->name);
	snprintf(w->replay, sizeof(w->replay), "%s", text);
	w->opts.size = sizeof(w->opts);
	w->opts.max_bytes = s->max_bytes ? s->max_bytes : (uint64_t)1 << 20;
	w->opts.max_processes = s->max_processes ? s->max_processes : 16;
	w->opts.max_threads = s->max_threads ? s->max_threads : 16;
	w->evicts = s->flags & SWEEP_EVICTS;
	w->opts.evict = w->evicts ? SHMKV_EVICT_LRU : SHMKV_EVICT_NONE;
	w->op = sweep_resolved(s->op);
	sweep_random_reset(seed);
}

static void haunt(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go)
{
	const struct sweep_scenario *s = arg;
	const struct sweep_death *death = &s->deaths[n];
	struct sweep_op op = sweep_resolved(death->op);
	struct shmkv *kv = sweep_child_attach(w);

	sweep_actor_ready(ready, go);
	if (s->thread_death) {
		s->thread_death(w, kv);
		return;
	}
	sweep_read_token(w, kv, &op);
	skv_fault_arm(&w->board->haunt, death->point, death->nth, SKV_FAULT_KILL, NULL, NULL);
	sweep_run_op(w, &kv, &op, w->haunt_value[n]);
}

uint32_t sweep_haunts_start(struct sweep_world *w, const struct sweep_scenario *s,
			    struct sweep_actor actors[SWEEP_DEATHS_MAX])
{
	uint32_t i, n = s->thread_death ? 1 : 0;

	while (!s->thread_death && n < SWEEP_DEATHS_MAX && s->deaths[n].nth > 0)
		n++;
	for (i = 0; i < n; i++) {
		w->haunt_value[i] = s->deaths[i].op.kind == SWEEP_INCR ?
					    sweep_int(0) :
					    sweep_bin(w, s->deaths[i].op.len);
		actors[i] = sweep_actor_start(w, "haunt", haunt, s, i);
		sweep_actor_await_ready(w, &actors[i]);
	}
	return n;
}

void sweep_haunts_run(struct sweep_world *w, const struct sweep_scenario *s,
		      struct sweep_actor actors[SWEEP_DEATHS_MAX], uint32_t n)
{
	struct sweep_op op;
	uint32_t i;

	for (i = 0; i < n; i++) {
		memset(&w->board->haunt, 0, sizeof(w->board->haunt));
		sweep_actor_go(&actors[i]);
		sweep_want_killed(w, sweep_actor_wait(w, &actors[i]), "a haunt");
		w->deaths++;
		op = sweep_resolved(s->deaths[i].op);
		if (sweep_n_commits(&w->board->haunt, op.kind) > 0)
			sweep_model_op(w, &op, w->haunt_value[i], true);
	}
}

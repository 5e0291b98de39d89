/* SPDX-License-Identifier: MIT */
#include "tests/sweep-engine.h"

#include "shm/evict.h"
#include "shm/recover.h"
#include "tests/sweep-stage.h"
#include "tests/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds until a director counts as hanging; cases take a hundredth of one. */
#define HANG_S 30u

/* So many failures are enough to read. */
#define FAILURES_MAX 40u

/* In a full sweep all of the first passages, after that a sample. */
#define PASSAGES_ALL 24u

/*
 * kill: survivors do everything, also with the victim's key, before anybody recovers.
 * bare: they only look, so that recovery finds all of it as it was left.
 */
enum action { ACT_COUNT, ACT_KILL, ACT_BARE, ACT_STOP, ACT_STOPKILL, ACT_N };

static const char *const action_names[] = { "count", "kill", "bare", "stop", "stopkill" };

struct link {
	enum skv_fault_point point;
	uint64_t nth;
};

struct sweep_case {
	const struct sweep_scenario *scenario;
	enum action action;
	enum sweep_twist twist;
	struct link chain[1 + SWEEP_CHAIN_MAX]; /* the victim's point, then the recoverers' */
	uint32_t n_chain; /* recoverers; the last may be there only to be counted */
};

/* The choices of a sample, the same in each run. */
static uint32_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(x ^ (x >> 33));
}

/* ---- naming a case -------------------------------------------------------------------- */

static void case_text(const struct sweep_case *c, char *buf, size_t size)
{
	size_t n;
	uint32_t i;

	n = (size_t)snprintf(buf, size, "%s:%s:%llu:%s", c->scenario->name,
			     skv_fault_name(c->chain[0].point),
			     (unsigned long long)c->chain[0].nth, action_names[c->action]);
	if (c->action == ACT_STOP || c->action == ACT_STOPKILL)
		n += (size_t)snprintf(buf + n, size - n, "-%s", sweep_twist_names[c->twist]);
	for (i = 1; i <= c->n_chain; i++)
		n += (size_t)snprintf(buf + n, size - n, ":%s:%llu",
				      skv_fault_name(c->chain[i].point),
				      (unsigned long long)c->chain[i].nth);
}

static bool parse_point(const char *text, enum skv_fault_point *ret_point)
{
	unsigned int i;

	for (i = 0; i <= SKV_FAULT_N; i++) {
		if (strcmp(skv_fault_name((enum skv_fault_point)i), text) == 0) {
			*ret_point = (enum skv_fault_point)i;
			return true;
		}
	}
	return false;
}

static bool parse_action(char *text, struct sweep_case *c)
{
	char *twist = strchr(text, '-');
	unsigned int i, k;

	if (twist)
		*twist++ = '\0';
	for (i = 0; i < ACT_N; i++) {
		if (strcmp(action_names[i], text) != 0)
			continue;
		c->action = (enum action)i;
		for (k = 0; twist && k < SWEEP_TWIST_N; k++) {
			if (strcmp(sweep_twist_names[k], twist) == 0) {
				c->twist = (enum sweep_twist)k;
				return true;
			}
		}
		return !twist;
	}
	return false;
}

static bool case_parse(const char *text, struct sweep_case *c)
{
	char copy[160], *word, *save = NULL;
	const struct sweep_scenario *s;

	memset(c, 0, sizeof(*c));
	snprintf(copy, sizeof(copy), "%s", text);
	word = strtok_r(copy, ":", &save);
	for (s = sweep_scenarios; s->name && word; s++) {
		if (strcmp(s->name, word) == 0)
			c->scenario = s;
	}
	if (!c->scenario)
		return false;
	for (;;) {
		word = strtok_r(NULL, ":", &save);
		if (!word)
			return c->n_chain > 0 || c->chain[0].nth > 0;
		if (c->chain[0].nth > 0 && ++c->n_chain > SWEEP_CHAIN_MAX)
			return false;
		if (!parse_point(word, &c->chain[c->n_chain].point))
			return false;
		word = strtok_r(NULL, ":", &save);
		if (!word)
			return false;
		c->chain[c->n_chain].nth = strtoull(word, NULL, 10);
		if (c->n_chain == 0) {
			word = strtok_r(NULL, ":", &save);
			if (!word || !parse_action(word, c))
				return false;
		}
	}
}

/* ---- processes of a case -------------------------------------------------------------- */

static void victim(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go)
{
	const struct sweep_case *c = arg;
	static const enum skv_fault_action acts[] = {
		[ACT_COUNT] = SKV_FAULT_NONE, [ACT_KILL] = SKV_FAULT_KILL,
		[ACT_BARE] = SKV_FAULT_KILL, [ACT_STOP] = SKV_FAULT_STOP,
		[ACT_STOPKILL] = SKV_FAULT_STOP,
	};
	struct shmkv *kv = NULL;

	(void)n;
	if (!(c->scenario->flags & SWEEP_STARTS)) {
		kv = sweep_child_attach(w);
		sweep_read_token(w, kv, &w->op);
	}
	sweep_actor_ready(ready, go);
	skv_evict_seed = 1;
	skv_fault_arm(&w->board->plan[0], c->chain[0].point, c->chain[0].nth, acts[c->action], NULL,
		      NULL);
	w->board->r = sweep_run_op(w, &kv, &w->op, w->value);
	skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	w->board->done = 1;
	if (kv)
		shmkv_detach(kv);
}

static void recoverer(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go)
{
	const struct sweep_case *c = arg;
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv *kv = sweep_child_attach(w);
	bool last = c->chain[n].point == SKV_FAULT_N;

	sweep_actor_ready(ready, go);
	skv_fault_arm(&w->board->plan[n], c->chain[n].point, c->chain[n].nth,
		      last ? SKV_FAULT_NONE : SKV_FAULT_KILL, NULL, NULL);
	SWEEP_WANT(w, shmkv_recover(kv, &report), 0);
	skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	shmkv_detach(kv);
}

static void newcomer(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go)
{
	const struct sweep_case *c = arg;
	struct shmkv *kv = sweep_child_attach(w);

	sweep_actor_ready(ready, go);
	/* Attaching recovers: without any sweep nothing is lost. */
	if (n)
		sweep_check(w, kv);
	sweep_battery(w, kv, w->op.key, c->action == ACT_KILL);
	shmkv_detach(kv);
}

/* Inserts until it is stopped; these keys are its own. */
#define TENANT_KEY (SWEEP_N_PLAIN - TENANT_KEYS)
#define TENANT_KEYS 160u

static const struct {
	enum skv_fault_point point;
	uint32_t len;
} tenant_stops[] = {
	{ SKV_FAULT_LEAF_READY, SWEEP_SMALL },	   { SKV_FAULT_CLAIM_CHUNK, SWEEP_MEDIUM },
	{ SKV_FAULT_WRITE_COMPLETE, SWEEP_SMALL }, { SKV_FAULT_LEAF_FREEZE, SWEEP_SMALL },
	{ SKV_FAULT_SPAN_BODIES, SWEEP_MEDIUM },   { SKV_FAULT_ALLOC_CLAIMED, SWEEP_SMALL },
};

static void tenant(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go)
{
	struct shmkv *kv = sweep_child_attach(w);
	uint32_t id;

	(void)arg;
	sweep_actor_ready(ready, go);
	skv_fault_arm(&w->board->many_plan[0], tenant_stops[n].point, 1, SKV_FAULT_STOP, NULL,
		      NULL);
	for (id = TENANT_KEY; id < TENANT_KEY + TENANT_KEYS; id++)
		sweep_put(w, kv, id, w->tenant_value[id - TENANT_KEY]);
	skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	shmkv_detach(kv);
}

/* ---- judging -------------------------------------------------------------------------- */

/* Keys that a clear has not removed stay in the model; the number of the others is known. */
static void judge_clear(struct sweep_world *w, uint64_t n_removed)
{
	struct sweep_value absent = { .kind = SWEEP_ABSENT };
	uint64_t n = 0;
	uint32_t id;

	for (id = 0; id < SWEEP_KEYS; id++) {
		if (w->model[id].kind == SWEEP_ABSENT ||
		    !sweep_matches(w, w->kv, id, &absent))
			continue;
		w->model[id].kind = SWEEP_ABSENT;
		n++;
	}
	if (n != n_removed)
		sweep_bail(w, "%llu keys are gone after %llu removals", (unsigned long long)n,
			   (unsigned long long)n_removed);
}

static bool is_touch(const struct sweep_world *w)
{
	return w->op.kind == SWEEP_TOUCH || w->op.kind == SWEEP_PERSIST;
}

/* The operation was interrupted: happened entirely or not at all, and we know which. */
static int judge_interrupted(struct sweep_world *w)
{
	uint64_t n = sweep_n_commits(&w->board->plan[0], w->op.kind);

	if (w->op.kind == SWEEP_CLEAR) {
		judge_clear(w, n);
		return 0;
	}
	if (is_touch(w))
		sweep_judge_ttl(w, w->kv, n > 0);
	if (!sweep_op_has_key(w->op.kind) || n == 0)
		return 0;
	if (w->op.kind == SWEEP_PUT_MANY) {
		w->model[w->op.key] = sweep_item(w->value, (uint32_t)n - 1);
		return 0;
	}
	return sweep_model_op(w, &w->op, w->value, true);
}

/* Items after the interrupted one were written over whatever others had done meanwhile. */
static int judge_batch(struct sweep_world *w, uint64_t commits)
{
	uint64_t last = w->board->last_item;

	if (last > commits)
		w->model[w->op.key] = sweep_item(w->value, (uint32_t)last - 1);
	return last < SWEEP_ITEMS && w->n_fill > 0 ? -ENOSPC : 0;
}

/* The victim woke and its operation is over. */
static void judge_resumed(struct sweep_world *w, uint64_t commits, int r_before, bool published,
			  bool was_full)
{
	int r = w->board->r, want = 0;
	uint64_t n;

	if (!w->board->done)
		sweep_bail(w, "the victim ended without an answer");
	if (w->op.kind == SWEEP_CLEAR) {
		n = sweep_after_clear(w, w->kv);
		if (n > 0)
			sweep_bail(w, "clear left %llu keys", (unsigned long long)n);
	} else if (w->op.kind == SWEEP_PUT_MANY) {
		want = judge_batch(w, commits);
	} else if (w->op.kind == SWEEP_CREATE) {
		want = published ? 0 : -EEXIST;
	} else if (sweep_op_has_key(w->op.kind)) {
		if (commits > 0)
			want = r_before;
		else if (r == -ENOSPC && (w->n_fill > 0 || was_full))
			want = -ENOSPC; /* and nothing changed */
		else
			want = sweep_model_op(w, &w->op, w->value, !w->touched[w->op.key]);
	}
	/* Done after all that, or before it and left alone since: it stands. */
	if (r == 0 && is_touch(w) && (commits == 0 || !w->touched[w->op.key]))
		sweep_judge_ttl(w, w->kv, true);
	if (r != want)
		sweep_bail(w, "the victim's call is %d (%s) after it was stopped, not %d (%s)", r,
			   shmkv_errname(r), want, shmkv_errname(want));
}

/* ---- one case ------------------------------------------------------------------------- */

static void meet_newcomer(struct sweep_world *w, const struct sweep_case *c, bool checks)
{
	struct sweep_actor actor;

	/* What it removes to have room, we would not know of. */
	sweep_unfill(w, w->kv);
	actor = sweep_actor_start(w, "newcomer", newcomer, c, checks);
	sweep_actor_go(&actor);
	sweep_want_exited(w, sweep_actor_wait(w, &actor), "the newcomer");
}

/* The director of a create: makes the segment now, or finds what the victim made. */
static void open_created(struct sweep_world *w, bool published)
{
	SWEEP_WANT(w, shmkv_create(w->name, &w->opts, &w->kv), published ? -EEXIST : 0);
	if (published)
		SWEEP_WANT(w, shmkv_attach(w->name, 0, &w->kv), 0);
}

/* The keys that the tenant has inserted by now are in the model. */
static void tenant_apply(struct sweep_world *w, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n && i < TENANT_KEYS; i++) {
		/* Found gone before: it will be again. */
		if (i < w->n_tenant && w->model[TENANT_KEY + i].kind == SWEEP_ABSENT)
			w->n_gone -= w->evicts;
		w->model[TENANT_KEY + i] = w->tenant_value[i];
	}
	w->n_tenant = n;
}

/* True when it is stopped now; it takes the lowest free context. */
static bool tenant_begin(struct sweep_world *w, const struct sweep_case *c,
			 struct sweep_actor *ret_actor)
{
	uint32_t i, n = (c->chain[0].point + c->chain[0].nth) %
			(sizeof(tenant_stops) / sizeof(tenant_stops[0]));
	int status;

	for (i = 0; i < TENANT_KEYS; i++) {
		if (w->model[TENANT_KEY + i].kind != SWEEP_ABSENT)
			sweep_del(w, w->kv, TENANT_KEY + i);
		w->tenant_value[i] = sweep_bin(w, tenant_stops[n].len);
	}
	*ret_actor = sweep_actor_start(w, "tenant", tenant, c, n);
	sweep_actor_await_ready(w, ret_actor);
	sweep_actor_go(ret_actor);
	status = sweep_actor_wait(w, ret_actor);
	if (!WIFSTOPPED(status)) {
		sweep_want_exited(w, status, "the tenant");
		tenant_apply(w, TENANT_KEYS);
		return false;
	}
	tenant_apply(w, sweep_n_commits(&w->board->many_plan[0], SWEEP_PUT));
	w->deaths++;
	return true;
}

static void tenant_end(struct sweep_world *w, struct sweep_actor *actor)
{
	kill(actor->pid, SIGCONT);
	sweep_want_exited(w, sweep_actor_wait(w, actor), "the tenant");
	tenant_apply(w, TENANT_KEYS);
	w->deaths--;
	sweep_verify(w, w->kv);
}

/* Right before a compare-and-swap that must fail when the world has changed, or a look at it;
 * or in a view, which it must not touch: here what happens meanwhile matters most. */
static bool is_late(enum skv_fault_point point)
{
	return point == SKV_FAULT_WRITE_GUARDED || point == SKV_FAULT_REMOVE_GUARDED ||
	       point == SKV_FAULT_TOUCH_GUARDED || point == SKV_FAULT_TOUCH_EXTENDED ||
	       point == SKV_FAULT_LEAF_LATE || point == SKV_FAULT_REAP_LATE ||
	       point == SKV_FAULT_PIN_ANNOUNCED || point == SKV_FAULT_PIN_HELD;
}

/* What goes on while the victim is stopped, and what comes of it. */
static void play_stopped(struct sweep_world *w, const struct sweep_case *c,
			 struct sweep_actor *actor, int r_before, bool published)
{
	uint64_t commits = sweep_n_commits(&w->board->plan[0], w->op.kind);
	uint32_t salt = mix(c->chain[0].point * 31u + c->chain[0].nth * 7u);
	/* It may have looked for room before any was made. */
	bool has_tenant = false, calm, was_full = w->n_fill > 0;
	struct sweep_actor other;
	int status;

	memset(w->touched, 0, sizeof(w->touched));
	w->deaths++;
	/* A battery moves leaves and blocks away; without it, the twist is all that happens to
	 * those that the victim is about to change. */
	calm = c->twist != SWEEP_TWIST_NONE && (is_late(c->chain[0].point) || (salt & 1));
	if (calm)
		sweep_unfill(w, w->kv);
	else
		sweep_battery(w, w->kv, w->op.key, false);
	sweep_twist(w, w->kv, w->op.key, c->twist, salt / 2);
	if (!calm && !(c->scenario->flags & SWEEP_CROWDED) && c->twist != SWEEP_TWIST_EXHAUST)
		meet_newcomer(w, c, false);
	sweep_recover(w, w->kv, false);
	sweep_verify(w, w->kv);
	/* Nothing contradicts itself, whatever the victim still holds. */
	sweep_check_unrecovered(w, w->kv);
	if (c->twist == SWEEP_TWIST_TENANT && !(c->scenario->flags & SWEEP_CROWDED) &&
	    w->op.kind != SWEEP_CLEAR)
		has_tenant = tenant_begin(w, c, &other);

	if (c->action == ACT_STOPKILL) {
		kill(actor->pid, SIGKILL);
		sweep_want_killed(w, sweep_actor_wait(w, actor), "the stopped victim");
		sweep_verify(w, w->kv);
		if (has_tenant) {
			sweep_recover(w, w->kv, false);
			tenant_end(w, &other);
		}
		return;
	}
	kill(actor->pid, SIGCONT);
	status = sweep_actor_wait(w, actor);
	sweep_want_exited(w, status, "the victim");
	judge_resumed(w, commits, r_before, published, was_full);
	sweep_lapse(w);
	w->deaths--;
	sweep_verify(w, w->kv);
	if (has_tenant)
		tenant_end(w, &other);
	/* Nobody died who was not recovered: nothing is lost without another recovery. */
	sweep_check(w, w->kv);
}

static void direct(const struct sweep_case *c, struct sweep_board *board, uint64_t seed)
{
	static struct sweep_world world;
	struct sweep_actor haunts[SWEEP_DEATHS_MAX], recoverers[1 + SWEEP_CHAIN_MAX], actor = { 0 };
	const struct sweep_scenario *s = c->scenario;
	struct sweep_world *w = &world;
	uint32_t i, n_haunts;
	bool published, newcomer_first;
	char text[160];
	int status, r_before;

	case_text(c, text, sizeof(text));
	sweep_world_begin(w, s, board, seed, text);
	if (s->op.kind != SWEEP_CREATE)
		sweep_create(w);
	if (s->prepare)
		s->prepare(w);
	w->was_absent = w->model[w->op.key].kind == SWEEP_ABSENT;
	w->value = w->op.kind == SWEEP_INCR ? sweep_int(0) : sweep_bin(w, w->op.len);

	/* All attach before anybody dies: attaching recovers what the dead left. */
	n_haunts = sweep_haunts_start(w, s, haunts);
	for (i = 1; i <= c->n_chain; i++) {
		recoverers[i] = sweep_actor_start(w, "recoverer", recoverer, c, i);
		sweep_actor_await_ready(w, &recoverers[i]);
	}
	if (!(s->flags & SWEEP_STARTS)) {
		actor = sweep_actor_start(w, "victim", victim, c, 0);
		sweep_actor_await_ready(w, &actor);
	}
	sweep_haunts_run(w, s, haunts, n_haunts);
	if (w->kv && !(s->flags & SWEEP_POOLED))
		sweep_keep_no_leaves(w->kv);
	if (s->flags & SWEEP_STARTS) {
		actor = sweep_actor_start(w, "victim", victim, c, 0);
		sweep_actor_await_ready(w, &actor);
	}
	sweep_actor_go(&actor);
	status = sweep_actor_wait(w, &actor);
	published = board->plan[0].reached[SKV_FAULT_CREATE_PUBLISHED] > 0;
	if (s->op.kind == SWEEP_CREATE)
		open_created(w, published);

	newcomer_first = mix(c->chain[0].point * 977u + c->chain[0].nth) & 1;
	switch (c->action) {
	case ACT_COUNT:
		sweep_want_exited(w, status, "the victim");
		SWEEP_WANT(w, board->r, sweep_model_op(w, &w->op, w->value, true));
		sweep_verify(w, w->kv);
		break;
	case ACT_KILL:
	case ACT_BARE:
		sweep_want_killed(w, status, "the victim");
		w->deaths++;
		judge_interrupted(w);
		sweep_check_unrecovered(w, w->kv);
		sweep_lapse(w);
		break;
	default:
		if (!WIFSTOPPED(status)) {
			sweep_want_killed(w, status, "the victim");
			sweep_bail(w, "the victim died instead of being stopped");
		}
		r_before = judge_interrupted(w);
		sweep_check_unrecovered(w, w->kv);
		sweep_lapse(w);
		play_stopped(w, c, &actor, r_before, published);
		break;
	}

	/* Whoever is dead, nobody has recovered anything yet. */
	if (c->action == ACT_BARE)
		sweep_verify(w, w->kv);
	else
		sweep_battery(w, w->kv, w->op.key, c->action == ACT_KILL);
	for (i = 1; i <= c->n_chain; i++) {
		sweep_actor_go(&recoverers[i]);
		status = sweep_actor_wait(w, &recoverers[i]);
		if (c->chain[i].point == SKV_FAULT_N) {
			sweep_want_exited(w, status, "the last recoverer");
			continue;
		}
		sweep_want_killed(w, status, "a recoverer");
		w->deaths++;
		sweep_check_unrecovered(w, w->kv);
		if (c->action == ACT_BARE)
			sweep_verify(w, w->kv);
		else
			sweep_battery(w, w->kv, w->op.key, i & 1);
	}
	if (newcomer_first)
		meet_newcomer(w, c, c->action == ACT_BARE && c->n_chain == 0 &&
					    !(s->flags & SWEEP_CROWDED));
	sweep_recover(w, w->kv, true);
	sweep_verify(w, w->kv);
	sweep_check(w, w->kv);
	if (!newcomer_first)
		meet_newcomer(w, c, false);
	sweep_account(w, w->kv);
	while (w->n_more > 0)
		shmkv_detach(w->more[--w->n_more]);
	shmkv_detach(w->kv);
	SWEEP_WANT(w, shmkv_unlink(w->name), 0);
}

/* ---- running cases -------------------------------------------------------------------- */

static unsigned int hang_s(void)
{
	const char *scale = getenv("SKV_TEST_TIME_SCALE");
	unsigned int factor = scale ? (unsigned int)strtoul(scale, NULL, 10) : 1;

	return HANG_S * (factor && factor < 10 ? factor : 1) * (skv_test_is_slow() ? 10 : 1);
}

static void direct_case(const void *arg, struct sweep_board *board, uint64_t seed)
{
	direct(arg, board, seed);
}

static void failed(struct sweep_run *run, const char *text)
{
	struct sweep_board *board = run->board;

	fprintf(stderr, "sweep: %s\nsweep: repeat with %s='%s' SKV_TEST_SEED=%llu\n",
		board->message, run->variable, text, (unsigned long long)run->seed);
	if (run->n_failed++ == 0)
		snprintf(run->first, sizeof(run->first), "%s", board->message);
	if (run->n_failed >= FAILURES_MAX)
		sweep_run_end(run);
}

bool sweep_run_director(struct sweep_run *run, sweep_director_fn *fn, const void *arg,
			const char *text)
{
	struct sweep_board *board = run->board;
	pid_t pid, parent = getpid();
	char name[64];
	uint32_t i;
	int status;

	memset(board->plan, 0, sizeof(board->plan));
	memset(&board->haunt, 0, sizeof(board->haunt));
	memset(board->many_plan, 0, sizeof(board->many_plan));
	memset(board->many_done, 0, sizeof(board->many_done));
	board->done = 0;
	board->r = 0;
	board->said = 0;
	board->message[0] = '\0';
	run->n_cases++;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		skv_test_fail(__FILE__, __LINE__, "fork: %s", strerror(errno));
	if (pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		alarm(hang_s());
		fn(arg, board, run->seed);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	for (i = 0; i < SKV_FAULT_N; i++)
		board->reached[i] += board->plan[0].reached[i] + board->haunt.reached[i];
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(board->message, sizeof(board->message), "%s: hangs", text);
	else if (!board->message[0])
		snprintf(board->message, sizeof(board->message),
			 "%s: director ended with status %#x", text, (unsigned int)status);
	snprintf(name, sizeof(name), "sweep-%d", (int)pid);
	shmkv_unlink(name);
	snprintf(name, sizeof(name), "sweep-%d-image", (int)pid);
	shmkv_unlink(name);
	failed(run, text);
	return false;
}

/*
 * Chunks of leaves stay what they are; all others were filled to the last block. So the
 * memory is that of a segment that saw no death if there are as many chunks of leaves. A few
 * more are there because survivors did more with it than the run without a death.
 */
static bool memory_is_explained(struct sweep_run *run, const struct sweep_case *c, const char *text)
{
	struct sweep_board *board = run->board;
	uint64_t more = c->action == ACT_STOP || c->action == ACT_STOPKILL ? 8 : 2;

	if (c->action == ACT_COUNT) {
		run->leaf_chunks = board->fill_leaf_chunks;
		return true;
	}
	if (run->leaf_chunks == 0 || board->fill_leaf_chunks <= run->leaf_chunks + more + c->n_chain)
		return true;
	snprintf(board->message, sizeof(board->message),
		 "%s: %llu chunks of leaves at the end, without a death %llu", text,
		 (unsigned long long)board->fill_leaf_chunks, (unsigned long long)run->leaf_chunks);
	failed(run, text);
	return false;
}

static bool run_case(struct sweep_run *run, const struct sweep_case *c)
{
	struct sweep_board *board = run->board;
	char text[160];
	bool good;
	uint32_t i;

	case_text(c, text, sizeof(text));
	good = sweep_run_director(run, direct_case, c, text);
	if (!good || !memory_is_explained(run, c, text))
		return false;
	/* Only what a case that was judged did, counts as swept. */
	if (c->action == ACT_KILL || c->action == ACT_BARE) {
		board->killed[c->chain[0].point]++;
		if (c->scenario->deaths[0].nth > 0 || c->scenario->thread_death)
			board->killed_again[c->chain[0].point]++;
	}
	if (c->action == ACT_STOP || c->action == ACT_STOPKILL)
		board->stopped[c->chain[0].point]++;
	for (i = 1; i <= c->n_chain; i++) {
		if (c->chain[i].point != SKV_FAULT_N)
			board->killed_again[c->chain[i].point]++;
	}
	return true;
}

void sweep_run_begin(struct sweep_run *run)
{
	const char *mode = getenv("SHMKV_SWEEP"), *seed = getenv("SKV_TEST_SEED");
	static struct sweep_world world;

	memset(run, 0, sizeof(*run));
	run->variable = "SKV_SWEEP_CASE";
	/* A survivor that reaps because time has passed would take a recoverer's work away. */
	skv_recover_by_clock = false;
	run->full = mode && strcmp(mode, "full") == 0;
	run->only = getenv("SKV_SWEEP_ONLY");
	run->seed = seed && *seed ? strtoull(seed, NULL, 0) : 1;
	run->board = mmap(NULL, sizeof(*run->board), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->board == MAP_FAILED)
		skv_test_fail(__FILE__, __LINE__, "mmap: %s", strerror(errno));
	sweep_keys_init(run->seed);

	world.board = run->board;
	world.role = "trial";
	snprintf(world.replay, sizeof(world.replay), "keys");
	snprintf(world.name, sizeof(world.name), "sweep-trial-%d", (int)getpid());
	world.opts.size = sizeof(world.opts);
	world.opts.max_processes = 16;
	world.opts.max_threads = 16;
	sweep_scenarios_init(&world, run->seed);
}

void sweep_run_end(struct sweep_run *run)
{
	fprintf(stderr, "sweep: %u cases, %u failed\n", run->n_cases, run->n_failed);
	if (run->n_failed)
		skv_test_fail(__FILE__, __LINE__, "%u of %u cases failed; the first: %s",
			      run->n_failed, run->n_cases, run->first);
}

static void run_many(struct sweep_run *run, uint32_t round);

void sweep_run_case(struct sweep_run *run, const char *text)
{
	struct sweep_case c;

	if (strncmp(text, "many:", 5) == 0) {
		run_many(run, (uint32_t)strtoul(text + 5, NULL, 10));
		return;
	}
	if (!case_parse(text, &c))
		skv_test_fail(__FILE__, __LINE__, "SKV_SWEEP_CASE=%s names no case", text);
	run_case(run, &c);
}

/* Passages to look at: the first, the second, the last, and some in between. */
static uint32_t passages(const struct sweep_run *run, uint64_t n, uint64_t salt,
			 uint64_t ret[PASSAGES_ALL + 4])
{
	uint32_t k = 0;
	uint64_t i;

	if (n == 0)
		return 0;
	if (!run->full) {
		ret[k++] = 1;
		if (n > 1)
			ret[k++] = n;
		return k;
	}
	for (i = 1; i <= n && i <= PASSAGES_ALL; i++)
		ret[k++] = i;
	if (n > PASSAGES_ALL) {
		ret[k++] = n;
		ret[k++] = PASSAGES_ALL + 1 + mix(salt) % (n - PASSAGES_ALL);
	}
	return k;
}

static bool count_passages(struct sweep_run *run, struct sweep_case *c)
{
	c->action = ACT_COUNT;
	c->chain[0].point = SKV_FAULT_N;
	c->chain[0].nth = 1;
	c->n_chain = 0;
	return run_case(run, c);
}

static void sweep_passage(struct sweep_run *run, struct sweep_case *c, uint32_t turn)
{
	uint32_t k;

	c->action = turn & 1 ? ACT_BARE : ACT_KILL;
	run_case(run, c);
	if (run->full) {
		c->action = turn & 1 ? ACT_KILL : ACT_BARE;
		run_case(run, c);
	}
	for (k = 0; k < SWEEP_TWIST_N; k++) {
		if (!run->full && k != turn % SWEEP_TWIST_N && !is_late(c->chain[0].point))
			continue;
		c->twist = (enum sweep_twist)k;
		c->action = ACT_STOP;
		if (!is_late(c->chain[0].point) && turn / SWEEP_TWIST_N % 4 == 3)
			c->action = ACT_STOPKILL;
		run_case(run, c);
		if (run->full) {
			c->action = c->action == ACT_STOP ? ACT_STOPKILL : ACT_STOP;
			run_case(run, c);
		}
	}
}

void sweep_run_first(struct sweep_run *run)
{
	uint64_t nths[PASSAGES_ALL + 4], counts[SKV_FAULT_N];
	const struct sweep_scenario *s;
	uint32_t p, i, n, turn = 0;
	uint64_t total;

	for (s = sweep_scenarios; s->name; s++) {
		struct sweep_case c = { .scenario = s };

		if (run->only && strncmp(s->name, run->only, strlen(run->only)) != 0)
			continue;
		if (!count_passages(run, &c))
			continue;
		memcpy(counts, run->board->plan[0].reached, sizeof(counts));
		for (p = 0, total = 0; p < SKV_FAULT_N; p++)
			total += counts[p];
		if ((total == 0) != ((s->flags & SWEEP_PASSES_NONE) != 0))
			skv_test_fail(__FILE__, __LINE__, "%s passes %llu points", s->name,
				      (unsigned long long)total);
		for (p = 0; p < SKV_FAULT_N; p++) {
			n = passages(run, counts[p], p, nths);
			for (i = 0; i < n; i++) {
				c.chain[0].point = (enum skv_fault_point)p;
				c.chain[0].nth = nths[i];
				sweep_passage(run, &c, turn++);
			}
		}
	}
}

/* After this death, one recoverer dies at each point that it passes; some of the next, too. */
static void sweep_recovery(struct sweep_run *run, struct sweep_case *c, uint32_t depth)
{
	uint64_t nths[PASSAGES_ALL + 4], counts[SKV_FAULT_N];
	uint32_t p, i, n;

	c->n_chain = depth;
	c->chain[depth].point = SKV_FAULT_N;
	c->chain[depth].nth = 0;
	if (!run_case(run, c))
		return;
	memcpy(counts, run->board->plan[depth].reached, sizeof(counts));
	for (p = 0; p < SKV_FAULT_N; p++) {
		n = passages(run, counts[p], p + c->chain[0].nth, nths);
		for (i = 0; i < n; i++) {
			uint32_t lot = mix((uint64_t)run->n_cases * 31 + p);

			if (!run->full && run->board->killed_again[p] > 2 && lot % 8 != 0)
				continue;
			c->n_chain = depth;
			c->chain[depth].point = (enum skv_fault_point)p;
			c->chain[depth].nth = nths[i];
			if (run_case(run, c) && depth < SWEEP_CHAIN_MAX - 1 && lot % 32 == 0)
				sweep_recovery(run, c, depth + 1);
		}
	}
}

void sweep_run_again(struct sweep_run *run)
{
	uint64_t nths[PASSAGES_ALL + 4], counts[SKV_FAULT_N];
	const struct sweep_scenario *s;
	uint32_t p, i, n, taken[SKV_FAULT_N] = { 0 };

	for (s = sweep_scenarios; s->name; s++) {
		struct sweep_case c = { .scenario = s };

		if (run->only && strncmp(s->name, run->only, strlen(run->only)) != 0)
			continue;
		/* Recoverers must be attached before the victim acts. */
		if ((s->flags & (SWEEP_CROWDED | SWEEP_FIRST)) || s->op.kind == SWEEP_CREATE)
			continue;
		if (!count_passages(run, &c))
			continue;
		memcpy(counts, run->board->plan[0].reached, sizeof(counts));
		for (p = 0; p < SKV_FAULT_N; p++) {
			n = passages(run, counts[p], p, nths);
			for (i = 0; i < n; i++) {
				/* In a sample every point has its turn, and some have more. */
				if (!run->full && taken[p] > 3 &&
				    mix(run->n_cases * 7 + p) % 4 != 0)
					continue;
				taken[p]++;
				c.chain[0].point = (enum skv_fault_point)p;
				c.chain[0].nth = nths[i];
				c.action = ACT_BARE;
				sweep_recovery(run, &c, 1);
				if (!run->full)
					continue;
				c.action = ACT_KILL;
				sweep_recovery(run, &c, 1);
			}
		}
	}
}

/* ---- several at once ------------------------------------------------------------------ */

struct many {
	uint32_t round;
	uint32_t n; /* victims */
};

struct lot {
	uint64_t state;
};

static uint32_t draw(struct lot *lot, uint32_t n)
{
	lot->state = lot->state * 6364136223846793005ull + 1442695040888963407ull;
	return mix(lot->state) % n;
}

/* What each of them does; keys are their own, leaves and memory are shared. */
struct member {
	struct sweep_op op;
	struct sweep_value value;
	struct link at;
	struct sweep_actor actor;
	bool stopped;
};

static struct member members[SWEEP_MANY_MAX];

static void member_run(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go)
{
	struct sweep_board *board = w->board;
	struct member *m = &members[n];
	struct shmkv *kv = sweep_child_attach(w);

	(void)arg;
	sweep_actor_ready(ready, go);
	skv_fault_arm(&board->many_plan[n], m->at.point, m->at.nth, SKV_FAULT_STOP, NULL, NULL);
	board->many_r[n] = sweep_run_op(w, &kv, &m->op, m->value);
	skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	board->many_done[n] = 1;
	if (kv)
		shmkv_detach(kv);
}

static void member_draw(struct sweep_world *w, struct member *m, uint32_t n, struct lot *lot)
{
	static const enum sweep_op_kind kinds[] = { SWEEP_PUT, SWEEP_PUT, SWEEP_PUT, SWEEP_DEL,
						    SWEEP_REPLACE, SWEEP_APPEND, SWEEP_TAKE,
						    SWEEP_RECOVER };
	static const uint32_t lens[] = { SWEEP_SMALL, SWEEP_SMALL, SWEEP_MEDIUM, SWEEP_WIDE,
					 SWEEP_RUN };

	m->op.kind = kinds[draw(lot, sizeof(kinds) / sizeof(kinds[0]))];
	m->op.key = n * 3 + draw(lot, 3);
	m->op.len = lens[draw(lot, sizeof(lens) / sizeof(lens[0]))];
	m->value = sweep_bin(w, m->op.len);
	/* Points that the operation does not pass let it end: they are among the living. */
	m->at.point = (enum skv_fault_point)draw(lot, SKV_FAULT_N);
	m->at.nth = 1 + draw(lot, 2);
	if (draw(lot, 3) > 0) {
		static const enum skv_fault_point common[] = {
			SKV_FAULT_ALLOC_CLAIMED,  SKV_FAULT_CLAIM_CHUNK,
			SKV_FAULT_SPAN_BODIES,	  SKV_FAULT_WRITE_COMPLETE,
			SKV_FAULT_WRITE_LINKED,	  SKV_FAULT_SETTLE_BEFORE_FREE,
			SKV_FAULT_REMOVE_UNLINKED, SKV_FAULT_LEAF_READY,
			SKV_FAULT_LEAF_FREEZE,	  SKV_FAULT_LEAF_BUILD,
			SKV_FAULT_LEAF_SWITCHED,  SKV_FAULT_SWEEP_BLOCK,
		};

		m->at.point = common[draw(lot, sizeof(common) / sizeof(common[0]))];
	}
}

static void member_apply(struct sweep_world *w, uint32_t n)
{
	struct member *m = &members[n];
	int want = 0;

	if (!sweep_op_has_key(m->op.kind))
		return;
	if (w->board->many_done[n]) {
		want = sweep_model_op(w, &m->op, m->value, true);
		SWEEP_WANT(w, w->board->many_r[n], want);
	} else if (sweep_n_commits(&w->board->many_plan[n], m->op.kind) > 0) {
		sweep_model_op(w, &m->op, m->value, true);
	}
}

static void direct_many(const void *arg, struct sweep_board *board, uint64_t seed)
{
	static const struct sweep_scenario nothing = { .name = "many" };
	struct sweep_case c = { .scenario = &nothing, .action = ACT_BARE };
	static struct sweep_world world;
	const struct many *many = arg;
	struct lot lot = { seed * 1000003 + many->round };
	struct sweep_world *w = &world;
	uint32_t i, id, n_keys, n = many->n;
	char text[64];
	bool committed;
	int status;

	c.chain[0].point = SKV_FAULT_N;
	snprintf(text, sizeof(text), "many:%u:%u", many->round, n);
	sweep_world_begin(w, &nothing, board, seed, text);
	w->opts.max_bytes = (uint64_t)3 << 20;
	w->op.key = SWEEP_N_PLAIN - 1;
	sweep_create(w);
	n_keys = 8 + draw(&lot, 50);
	for (id = 0; id < n_keys; id++)
		sweep_put(w, w->kv, id, sweep_bin(w, draw(&lot, 8) ? SWEEP_SMALL : SWEEP_WIDE));

	for (i = 0; i < n; i++) {
		member_draw(w, &members[i], i, &lot);
		members[i].actor = sweep_actor_start(w, "victim", member_run, NULL, i);
		sweep_actor_await_ready(w, &members[i].actor);
	}
	/* Together, on however many processors there are. */
	for (i = 0; i < n; i++)
		sweep_actor_go(&members[i].actor);
	for (i = 0; i < n; i++) {
		status = sweep_actor_wait(w, &members[i].actor);
		members[i].stopped = WIFSTOPPED(status);
		if (!members[i].stopped)
			sweep_want_exited(w, status, "a member");
		else
			w->deaths++;
		member_apply(w, i);
	}
	sweep_battery(w, w->kv, w->op.key, true);

	/* Some wake up, next to each other. */
	for (i = 0; i < n; i++) {
		if (!members[i].stopped || draw(&lot, 3) > 0)
			continue;
		members[i].stopped = false;
		committed = sweep_n_commits(&board->many_plan[i], members[i].op.kind) > 0;
		kill(members[i].actor.pid, SIGCONT);
		sweep_want_exited(w, sweep_actor_wait(w, &members[i].actor), "a member that woke");
		w->deaths--;
		/* Its key is its own: what happened before it was stopped is in the model. */
		if (committed)
			SWEEP_WANT(w, board->many_r[i], 0);
		else
			member_apply(w, i);
	}
	for (i = 0; i < n; i++) {
		if (members[i].stopped)
			kill(members[i].actor.pid, SIGKILL);
	}
	for (i = 0; i < n; i++) {
		if (members[i].stopped)
			sweep_want_killed(w, sweep_actor_wait(w, &members[i].actor), "a member");
	}
	sweep_battery(w, w->kv, w->op.key, true);
	if (draw(&lot, 2))
		meet_newcomer(w, &c, false);
	sweep_recover(w, w->kv, true);
	sweep_verify(w, w->kv);
	sweep_check(w, w->kv);
	sweep_account(w, w->kv);
	shmkv_detach(w->kv);
	SWEEP_WANT(w, shmkv_unlink(w->name), 0);
}

static void run_many(struct sweep_run *run, uint32_t round)
{
	struct many many = { round, 1u << (round % 4) };
	char text[64];

	snprintf(text, sizeof(text), "many:%u", round);
	sweep_run_director(run, direct_many, &many, text);
}

void sweep_run_many(struct sweep_run *run)
{
	uint32_t round, n = run->full ? 20000 : 240;

	for (round = 0; round < n; round++)
		run_many(run, round);
}

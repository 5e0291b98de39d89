/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include <shmkv/view.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/*
 * test-steps: one process is stopped between two instructions of a call, another one does
 * whatever it likes to the same key, its leaf and its memory, and then the first goes on, or is
 * killed. Every call beside every script; the instructions are a sample, with
 * SHMKV_SWEEP=full a large one, with SKV_STEPS_POINTS=n about n of each call.
 *
 * The judge is the definition of linearizability. The script is a sequence of complete
 * calls, so the call under test has happened before, between or after them: for one of these
 * places a plain model must give what all of them have answered and what is there in the end.
 * A call whose process was killed may also not have happened.
 *
 * A processor's trap after each instruction is dear, in a virtual machine most of all. So the
 * addresses of a call are recorded once, and it is stopped by a breakpoint at the nth of them.
 *
 * SKV_STEPS_CASE=call:script:start:instruction:kill repeats one case.
 */

#define LEN 200u
#define LEN2 60u

/* At most so many: enough that every leaf is replaced, and its successor, too. */
#ifdef SKV_TINY
#define REBUILD_KEYS 60u
#else
#define REBUILD_KEYS 700u
#endif

enum op { GET, VIEW, PUT, ADD, REPLACE, CAS, DEL, TAKE, INCR, OP_N };

static const char *const op_names[] = { "get", "view", "put", "add", "replace", "cas", "del",
					"take", "incr" };

/* What a key holds, or what a call has answered. */
struct state {
	bool present;
	uint64_t id; /* of the value, or the number */
};

struct call {
	enum op op;
	uint64_t id;     /* of the value that it stores */
	uint64_t expect; /* CAS: of the one that must be there */
	size_t len;
};

struct answer {
	int r;
	uint64_t id; /* of what was read, or the number */
};

/* ---- the model ------------------------------------------------------------------------ */

static struct answer model(struct state *s, const struct call *call)
{
	struct answer a = { .r = 0 };

	switch (call->op) {
	case GET:
	case VIEW:
	case TAKE:
	case DEL:
		a.r = s->present ? 0 : -ENOENT;
		a.id = s->present && call->op != DEL ? s->id : 0;
		if (call->op == TAKE || call->op == DEL)
			s->present = false;
		break;
	case PUT:
		*s = (struct state){ true, call->id };
		break;
	case ADD:
		a.r = s->present ? -EEXIST : 0;
		if (a.r == 0)
			*s = (struct state){ true, call->id };
		break;
	case REPLACE:
		a.r = s->present ? 0 : -ENOENT;
		if (a.r == 0)
			*s = (struct state){ true, call->id };
		break;
	case CAS:
		a.r = !s->present ? -ENOENT : s->id != call->expect ? -ESTALE : 0;
		if (a.r == 0)
			*s = (struct state){ true, call->id };
		break;
	default:
		*s = (struct state){ true, (s->present ? s->id : 0) + 1 };
		a.id = s->id;
		break;
	}
	return a;
}

static bool same(const struct answer *a, const struct answer *b)
{
	return a->r == b->r && a->id == b->id;
}

/* ---- calls on the map ------------------------------------------------------------------ */

static uint8_t payload[LEN];

static uint64_t id_of(const uint8_t *bytes, size_t len)
{
	uint64_t id;

	CHECK(len == LEN || len == LEN2);
	memcpy(&id, bytes, sizeof(id));
	/* All of it is that value's. */
	skv_fill(payload, len - 8, id);
	CHECK_MEM(bytes + 8, len - 8, payload, len - 8);
	return id;
}

/* @token: what CAS says that it has seen */
static struct answer run(struct shmkv *kv, const char *key, const struct call *call, uint64_t token)
{
	uint8_t bytes[LEN], taken[LEN + 16];
	struct answer a = { .r = 0 };
	struct shmkv_value value;
	struct shmkv_view view;
	int64_t number = 0;
	size_t len = 0;

	if (call->op != INCR) {
		memcpy(bytes, &call->id, 8);
		skv_fill(bytes + 8, call->len - 8, call->id);
		value = shmkv_bin(bytes, call->len);
	}
	switch (call->op) {
	case GET:
		a.r = shmkv_get_bin(kv, KEY(key), bytes, sizeof(bytes), &len);
		break;
	case VIEW:
		a.r = shmkv_view_begin(kv, KEY(key), &view);
		if (a.r == 0) {
			len = view.value.len;
			memcpy(bytes, view.value.data, len < LEN ? len : LEN);
			CHECK_EQ(shmkv_view_end(&view), 0);
		}
		break;
	case PUT:
		a.r = shmkv_put(kv, KEY(key), value, NULL);
		break;
	case ADD:
		a.r = shmkv_add(kv, KEY(key), value, NULL);
		break;
	case REPLACE:
		a.r = shmkv_replace(kv, KEY(key), value, NULL);
		break;
	case CAS:
		a.r = shmkv_cas(kv, KEY(key), token, value, NULL);
		break;
	case DEL:
		a.r = shmkv_del(kv, KEY(key));
		break;
	case TAKE:
		a.r = shmkv_take(kv, KEY(key), taken, sizeof(taken), &len);
		if (a.r == 0) {
			CHECK_EQ(shmkv_value_decode(taken, len, &value), 0);
			len = value.len;
			memcpy(bytes, value.data, len < LEN ? len : LEN);
		}
		break;
	default:
		a.r = shmkv_incr(kv, KEY(key), 1, 0, &number);
		a.id = (uint64_t)number;
		break;
	}
	if (a.r == 0 && (call->op == GET || call->op == VIEW || call->op == TAKE))
		a.id = id_of(bytes, len);
	return a;
}

static struct state look(struct shmkv *kv, const char *key, bool number)
{
	const struct call get = { .op = GET, .len = LEN };
	struct state s = { .present = false };
	struct answer a;
	int64_t n;

	if (number) {
		a.r = shmkv_get_int(kv, KEY(key), &n);
		a.id = (uint64_t)n;
	} else {
		a = run(kv, key, &get, 0);
	}
	CHECK(a.r == 0 || a.r == -ENOENT);
	s.present = a.r == 0;
	s.id = s.present ? a.id : 0;
	return s;
}

/* ---- scripts --------------------------------------------------------------------------- */

#define SCRIPT_MAX 4u

/* Steps on the key of the call, and on everything around it. */
enum around { AROUND_NOTHING, AROUND_OTHER, AROUND_REBUILD, AROUND_CLEAN };

struct script {
	const char *name;
	struct {
		enum op op;
		size_t len;
	} steps[SCRIPT_MAX];
	uint32_t n;
	enum around before, after;
};

static const struct script scripts[] = {
	{ "nothing", { { GET, LEN } }, 1, AROUND_NOTHING, AROUND_NOTHING },
	{ "put", { { PUT, LEN } }, 1, AROUND_NOTHING, AROUND_NOTHING },
	/* The slot names the block that it named. */
	{ "put-put", { { PUT, LEN }, { PUT, LEN } }, 2, AROUND_NOTHING, AROUND_NOTHING },
	{ "del", { { DEL, LEN } }, 1, AROUND_NOTHING, AROUND_NOTHING },
	{ "del-other", { { DEL, LEN } }, 1, AROUND_NOTHING, AROUND_OTHER },
	{ "del-put", { { DEL, LEN }, { PUT, LEN } }, 2, AROUND_NOTHING, AROUND_NOTHING },
	{ "del-add-del", { { DEL, LEN }, { ADD, LEN }, { DEL, LEN } }, 3, AROUND_NOTHING,
	  AROUND_NOTHING },
	{ "add", { { ADD, LEN } }, 1, AROUND_NOTHING, AROUND_NOTHING },
	{ "put-short-other", { { PUT, LEN2 } }, 1, AROUND_NOTHING, AROUND_OTHER },
	{ "take-add", { { TAKE, LEN }, { ADD, LEN2 } }, 2, AROUND_OTHER, AROUND_NOTHING },
	{ "rebuild", { { GET, LEN } }, 1, AROUND_REBUILD, AROUND_NOTHING },
	{ "rebuild-put", { { PUT, LEN } }, 1, AROUND_REBUILD, AROUND_NOTHING },
	{ "rebuild-del", { { DEL, LEN } }, 1, AROUND_REBUILD, AROUND_NOTHING },
	{ "rebuild-add", { { ADD, LEN } }, 1, AROUND_REBUILD, AROUND_NOTHING },
	/* The leaf that was found keeps the slot, frozen, while the record's memory is another's. */
	{ "rebuild-del-other", { { DEL, LEN } }, 1, AROUND_REBUILD, AROUND_OTHER },
	{ "rebuild-put-other", { { PUT, LEN2 } }, 1, AROUND_REBUILD, AROUND_OTHER },
	{ "rebuild-put-put", { { PUT, LEN }, { PUT, LEN } }, 2, AROUND_REBUILD, AROUND_NOTHING },
	{ "put-rebuild", { { PUT, LEN } }, 1, AROUND_NOTHING, AROUND_REBUILD },
	{ "del-rebuild", { { DEL, LEN } }, 1, AROUND_NOTHING, AROUND_REBUILD },
	{ "del-put-rebuild", { { DEL, LEN }, { PUT, LEN } }, 2, AROUND_NOTHING, AROUND_REBUILD },
	/* Slabs and runs are taken apart, leaves finished: whatever housekeeping there is. */
	{ "del-clean", { { DEL, LEN } }, 1, AROUND_NOTHING, AROUND_CLEAN },
	{ "put-clean", { { PUT, LEN2 } }, 1, AROUND_CLEAN, AROUND_CLEAN },
};

static uint64_t other_id;

/* @salt: a leaf is replaced once, or many times until it serves again */
static void do_around(struct shmkv *kv, enum around what, uint64_t salt)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	static uint8_t large[40000];
	struct call put = { .op = PUT, .len = LEN };
	char key[16];
	uint64_t n = skv_random(&salt) % REBUILD_KEYS;
	uint32_t i;

	switch (what) {
	case AROUND_OTHER:
		for (i = 0; i < 3; i++) {
			snprintf(key, sizeof(key), "other-%u", i);
			put.id = ++other_id;
			CHECK_EQ(run(kv, key, &put, 0).r, 0);
		}
		break;
	case AROUND_REBUILD:
		for (i = 0; i <= n; i++) {
			snprintf(key, sizeof(key), "r-%u", i);
			CHECK_EQ(shmkv_put(kv, KEY(key), shmkv_uint(i), NULL), 0);
			CHECK_EQ(shmkv_del(kv, KEY(key)), 0);
		}
		break;
	case AROUND_CLEAN:
		CHECK_EQ(shmkv_put(kv, KEY("large"), shmkv_bin(large, sizeof(large)), NULL), 0);
		CHECK_EQ(shmkv_del(kv, KEY("large")), 0);
		CHECK_EQ(shmkv_recover(kv, &report), 0);
		CHECK_EQ(shmkv_maintain(kv), 0);
		break;
	default:
		break;
	}
}

/* ---- the one who is stopped -------------------------------------------------------------- */

#define STEPS_MAX 30000u

struct stage {
	struct skv_segment s;
	pid_t pid;
	struct order {
		struct call call;
		uint64_t token;
		uint64_t at; /* instructions until it stops; 0: record where they are */
		uint64_t n;  /* instructions of the call, as recorded */
		uint64_t rip[STEPS_MAX];
		bool done;
		struct answer answer;
	} *order;
	/* Who stands still has written a byte and waits for one. */
	int stands[2], go[2];
};

#if defined(__x86_64__)

#define TRAP_FLAG 0x100
#define BREAKPOINT 0xcc

static struct {
	struct stage *stage;
	bool recording;
	uint8_t *at; /* where a breakpoint stands; NULL for none */
	uint8_t byte; /* that it replaced */
	bool over; /* one instruction is executed without it */
	uint64_t left; /* passages until it counts */
} obeyed;

static void stand_still(struct stage *stage)
{
	char byte = 0;

	if (write(stage->stands[1], &byte, 1) != 1 || read(stage->go[0], &byte, 1) != 1)
		_exit(3);
}

static void on_trap(int sig, siginfo_t *info, void *arg)
{
	greg_t *regs = ((ucontext_t *)arg)->uc_mcontext.gregs;
	struct order *order = obeyed.stage->order;

	(void)sig;
	(void)info;
	if (obeyed.recording) {
		if (order->n < STEPS_MAX)
			order->rip[order->n++] = (uint64_t)regs[REG_RIP];
		regs[REG_EFL] |= TRAP_FLAG;
		return;
	}
	regs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	if (obeyed.over) {
		obeyed.over = false;
		*obeyed.at = BREAKPOINT;
	} else if (obeyed.at && (uint64_t)regs[REG_RIP] == (uint64_t)(uintptr_t)obeyed.at + 1) {
		*obeyed.at = obeyed.byte;
		regs[REG_RIP]--;
		if (--obeyed.left == 0) {
			obeyed.at = NULL;
			stand_still(obeyed.stage);
		} else {
			obeyed.over = true;
			regs[REG_EFL] |= TRAP_FLAG;
		}
	}
}

/* In front of instruction number @n of those that were recorded. */
static void breakpoint_set(const struct order *order, uint64_t n)
{
	uint8_t *at = (uint8_t *)(uintptr_t)order->rip[n];
	uintptr_t page = (uintptr_t)at & ~(uintptr_t)4095;
	uint64_t i;

	/* The kernel's own page of code is nobody's to change. */
	if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
		return;
	obeyed.left = 0;
	for (i = 0; i <= n; i++)
		obeyed.left += order->rip[i] == order->rip[n];
	obeyed.byte = *at;
	obeyed.at = at;
	*at = BREAKPOINT;
}

static void breakpoint_clear(void)
{
	if (obeyed.at)
		*obeyed.at = obeyed.byte;
	obeyed.at = NULL;
}

static void obey(void *arg)
{
	struct sigaction act = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	struct stage *stage = arg;
	struct order *order = stage->order;
	struct shmkv *kv = skv_segment_attach(&stage->s, 0);

	obeyed.stage = stage;
	CHECK_EQ(sigaction(SIGTRAP, &act, NULL), 0);
	/* A place for its thread: what is there before any call under test. */
	CHECK_EQ(shmkv_incr(kv, KEY("warm"), 1, 0, NULL), 0);
	for (;;) {
		stand_still(stage);
		if (order->at) {
			breakpoint_set(order, order->at);
			order->answer = run(kv, "k", &order->call, order->token);
			breakpoint_clear();
		} else {
			order->n = 0;
			obeyed.recording = true;
			raise(SIGTRAP);
			order->answer = run(kv, "k", &order->call, order->token);
			obeyed.recording = false;
		}
		order->done = true;
	}
}

static bool can_step(void)
{
	return true;
}

#else

static void obey(void *arg)
{
	(void)arg;
}

static bool can_step(void)
{
	return false;
}

#endif

static void await_still(struct stage *stage)
{
	char byte;

	CHECK_EQ(read(stage->stands[0], &byte, 1), 1);
}

static void actor_release(struct stage *stage)
{
	CHECK_EQ(write(stage->go[1], "", 1), 1);
	await_still(stage);
}

static void actor_start(struct stage *stage)
{
	CHECK_EQ(pipe(stage->stands), 0);
	CHECK_EQ(pipe(stage->go), 0);
	stage->pid = skv_fork(obey, stage);
	/* So that its end is seen. */
	CHECK_EQ(close(stage->stands[1]), 0);
	CHECK_EQ(close(stage->go[0]), 0);
	await_still(stage);
}

/* Until it has executed @at instructions of its call; true if the call is over. */
static bool actor_go(struct stage *stage, uint64_t at)
{
	stage->order->at = at;
	stage->order->done = false;
	actor_release(stage);
	return stage->order->done;
}

static void actor_finish(struct stage *stage)
{
	actor_release(stage);
	CHECK(stage->order->done);
}

static void actor_kill(struct stage *stage)
{
	CHECK_EQ(kill(stage->pid, SIGKILL), 0);
	skv_test_wait_killed(stage->pid, SIGKILL);
	CHECK_EQ(close(stage->stands[0]), 0);
	CHECK_EQ(close(stage->go[1]), 0);
}

/* ---- one case ---------------------------------------------------------------------------- */

struct one {
	enum op op;
	uint32_t script;
	bool present; /* when it begins */
	uint64_t at;  /* instructions until it is stopped */
	bool kill;
};

static void one_text(const struct one *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s:%s:%s:%llu:%s", op_names[c->op], scripts[c->script].name,
		 c->present ? "present" : "absent", (unsigned long long)c->at,
		 c->kill ? "kill" : "resume");
}

/* The calls of the script and, before number @at of them, the one under test. */
static bool explained(const struct state *start, const struct call *calls,
		      const struct answer *answers, uint32_t n, const struct call *tested,
		      const struct answer *answer, uint32_t at, const struct state *end)
{
	struct state s = *start;
	struct answer a;
	uint32_t i;

	for (i = 0; i <= n; i++) {
		if (i == at) {
			a = model(&s, tested);
			if (answer && !same(&a, answer))
				return false;
		}
		if (i == n)
			break;
		a = model(&s, &calls[i]);
		if (!same(&a, &answers[i]))
			return false;
	}
	return s.present == end->present && (!s.present || s.id == end->id);
}

/* Returns whether the call was still going on when it was stopped. */
static bool play(struct stage *stage, const struct one *c)
{
	const struct script *script = &scripts[c->script];
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct call calls[SCRIPT_MAX], put = { .op = PUT, .len = LEN };
	struct answer answers[SCRIPT_MAX], *answer;
	struct shmkv *kv = stage->s.kv;
	struct state start, end;
	bool number = c->op == INCR, over, killed;
	static uint64_t next_id;
	struct order *order = stage->order;
	uint64_t token = 0;
	char text[100];
	uint32_t i;

	CHECK_EQ(shmkv_clear(kv, NULL), 0);
	next_id += 100;
	start = (struct state){ c->present, number ? 5 : next_id };
	if (c->present && number)
		CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_int(5), &token), 0);
	put.id = next_id;
	if (c->present && !number) {
		CHECK_EQ(run(kv, "k", &put, 0).r, 0);
		CHECK_EQ(shmkv_get(kv, KEY("k"), payload, sizeof(payload), &(struct shmkv_value){ 0 },
				   &token),
			 0);
	}
	order->call = (struct call){ c->op, next_id + 1, next_id, LEN };
	order->token = token;

	over = actor_go(stage, c->at);
	do_around(kv, script->before, c->at);
	for (i = 0; i < script->n; i++) {
		calls[i] = (struct call){ script->steps[i].op, next_id + 2 + i, 0,
					  script->steps[i].len };
		/* Numbers are not put and read as bytes. */
		if (number && calls[i].op != DEL)
			calls[i].op = INCR;
		answers[i] = run(kv, "k", &calls[i], 0);
	}
	do_around(kv, script->after, ~c->at);

	killed = c->kill && !over;
	if (killed) {
		actor_kill(stage);
		CHECK_EQ(shmkv_recover(kv, &report), 0);
		actor_start(stage);
	} else if (!over) {
		actor_finish(stage);
	}
	answer = killed ? NULL : &order->answer;
	end = look(kv, "k", number);
	for (i = 0; i <= script->n; i++) {
		if (explained(&start, calls, answers, script->n, &order->call, answer, i, &end))
			break;
	}
	one_text(c, text, sizeof(text));
	/* Killed, it may also not have happened. */
	if (i > script->n &&
	    !(killed && explained(&start, calls, answers, script->n, &order->call, NULL,
				  UINT32_MAX, &end)))
		skv_test_fail(__FILE__, __LINE__,
			      "SKV_STEPS_CASE=%s: no order explains it: answer %d, in the end %s",
			      text, order->answer.r, end.present ? "present" : "absent");
	if (shmkv_check(kv, NULL, NULL, &(struct shmkv_audit){ .size = sizeof(struct shmkv_audit) }) < 0)
		skv_test_fail(__FILE__, __LINE__, "SKV_STEPS_CASE=%s: damaged or leaked", text);
	return !over;
}

/* ---- all of them ------------------------------------------------------------------------- */

static uint64_t count_instructions(struct stage *stage, enum op op, bool present)
{
	struct call put = { .op = PUT, .id = 1, .len = LEN };

	CHECK_EQ(shmkv_clear(stage->s.kv, NULL), 0);
	if (present && op == INCR)
		CHECK_EQ(shmkv_put(stage->s.kv, KEY("k"), shmkv_int(5), NULL), 0);
	else if (present)
		CHECK_EQ(run(stage->s.kv, "k", &put, 0).r, 0);
	stage->order->call = (struct call){ op, 2, 0, LEN };
	CHECK(actor_go(stage, 0));
	return stage->order->n;
}

static bool repeated(struct stage *stage)
{
	const char *text = getenv("SKV_STEPS_CASE");
	char copy[100], *word, *save = NULL;
	struct one c = { .op = OP_N };
	uint32_t i;

	if (!text || !*text)
		return false;
	snprintf(copy, sizeof(copy), "%s", text);
	word = strtok_r(copy, ":", &save);
	for (i = 0; word && i < OP_N; i++) {
		if (strcmp(word, op_names[i]) == 0)
			c.op = (enum op)i;
	}
	word = strtok_r(NULL, ":", &save);
	for (i = 0; word && i < ARRAY_LEN(scripts); i++) {
		if (strcmp(word, scripts[i].name) == 0)
			c.script = i;
	}
	word = strtok_r(NULL, ":", &save);
	c.present = word && strcmp(word, "present") == 0;
	word = strtok_r(NULL, ":", &save);
	c.at = word ? strtoull(word, NULL, 10) : 0;
	word = strtok_r(NULL, ":", &save);
	c.kill = word && strcmp(word, "kill") == 0;
	CHECK(c.op != OP_N);
	count_instructions(stage, c.op, c.present);
	play(stage, &c);
	return true;
}

static void whoever_is_stopped_at_any_instruction_has_done_it_or_not(void)
{
	const char *mode = getenv("SHMKV_SWEEP"), *some = getenv("SKV_STEPS_POINTS");
	uint64_t points = mode && strcmp(mode, "full") == 0 ? 300 : 6;
	uint64_t state = skv_test_seed(), n_cases = 0, n_inside = 0, n_all, stride;
	struct stage stage;
	struct one c;
	uint32_t op, script;
	int present;

	if (!can_step()) {
		skv_test_skip("this processor is not stepped here");
		return;
	}
	skv_segment_begin(&stage.s, MIB);
	stage.order = skv_shared(sizeof(*stage.order));
	actor_start(&stage);
	if (skv_test_is_slow())
		points = 1;
	if (some && strtoull(some, NULL, 10) > 0)
		points = strtoull(some, NULL, 10);
	if (some && *some)
		points = strtoull(some, NULL, 10);
	for (op = 0; op < OP_N && !repeated(&stage); op++) {
		for (present = 0; present < 2; present++) {
			n_all = count_instructions(&stage, (enum op)op, present);
			/* Reads are the shortest, and all of one depends on when it looks. */
			stride = 1 + n_all / (op <= VIEW ? 10 * points : points);
			for (script = 0; script < ARRAY_LEN(scripts); script++) {
				c = (struct one){ (enum op)op, script, present, 0, false };
				/* The beginning differs, so that all instructions have their turn. */
				for (c.at = 1 + skv_random(&state) % stride; c.at < n_all; c.at += stride) {
					c.kill = skv_random(&state) % 4 == 0;
					n_inside += play(&stage, &c);
					n_cases++;
				}
			}
		}
	}
	fprintf(stderr, "# %llu cases, %llu of them inside the call\n", (unsigned long long)n_cases,
		(unsigned long long)n_inside);
	actor_kill(&stage);
	CHECK_EQ(shmkv_recover(stage.s.kv,
			       &(struct shmkv_recovery){ .size = sizeof(struct shmkv_recovery) }),
		 0);
	skv_segment_end(&stage.s);
}

/* ---- table --------------------------------------------------------------------------- */

const struct skv_test skv_tests_steps[] = {
	/* hazard 8 */
	{ "steps", "whoever is stopped at any instruction has done it or not",
	  whoever_is_stopped_at_any_instruction_has_done_it_or_not, 300 },
	{ 0 },
};

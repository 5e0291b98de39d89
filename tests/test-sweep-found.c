/* SPDX-License-Identifier: MIT */
#include "tests/sweep-world.h"
#include "tests/test.h"

#include "api/handle.h"
#include "shm/chunk.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-sweep-found: what the sweep found, and what was found while it was built, one test
 * each. They need more than one operation of one victim.
 */

static struct sweep_world *world_new(uint32_t max_processes, uint32_t max_threads)
{
	static struct sweep_world w;

	memset(&w, 0, sizeof(w));
	w.board = mmap(NULL, sizeof(*w.board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	CHECK(w.board != MAP_FAILED);
	w.role = "test";
	snprintf(w.replay, sizeof(w.replay), "found");
	snprintf(w.name, sizeof(w.name), "sweep-found-%d", (int)getpid());
	w.opts.size = sizeof(w.opts);
	w.opts.max_bytes = (uint64_t)1 << 20;
	w.opts.max_processes = max_processes;
	w.opts.max_threads = max_threads;
	sweep_keys_init(1);
	sweep_create(&w);
	return &w;
}

static void world_end(struct sweep_world *w)
{
	sweep_recover(w, w->kv, true);
	sweep_verify(w, w->kv);
	sweep_check(w, w->kv);
	sweep_account(w, w->kv);
	shmkv_detach(w->kv);
	CHECK_EQ(shmkv_unlink(w->name), 0);
}

/* A bail is a message on the board and an exit with 1, also in children. */
static void run_isolated(void (*fn)(struct sweep_world *w), uint32_t max_processes,
			 uint32_t max_threads)
{
	struct sweep_world *w = world_new(max_processes, max_threads);
	int status;
	pid_t pid;

	/* The handle is of the process that runs the test. */
	shmkv_detach(w->kv);
	CHECK_EQ(shmkv_unlink(w->name), 0);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sweep_random_reset(1);
		sweep_create(w);
		fn(w);
		world_end(w);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (status != 0) {
		shmkv_unlink(w->name);
		skv_test_fail(__FILE__, __LINE__, "%s (status %#x)",
			      w->board->message[0] ? w->board->message : "the child died",
			      (unsigned int)status);
	}
}

static pid_t fork_child(struct sweep_world *w)
{
	pid_t pid = fork();

	if (pid < 0)
		sweep_bail(w, "fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		w->role = "child";
		w->kv = shmkv_detach(w->kv);
	}
	return pid;
}

static void want_status(struct sweep_world *w, pid_t pid, int want)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != want)
		sweep_bail(w, "a child ended with status %#x, not %#x", (unsigned int)status,
			   (unsigned int)want);
}

/* ---- hints of another life ------------------------------------------------------------ */

/*
 * Chunks of slabs with many blocks, freed and used for leaves: bits of blocks that no leaf
 * can have must not name leaves. (Records were linked as leaves.)
 */
static void slabs_become_leaves(struct sweep_world *w)
{
	uint32_t round, id;

	for (round = 0; round < 3; round++) {
		for (id = 0; id < SWEEP_N_PLAIN; id++)
			sweep_put(w, w->kv, id, sweep_bin(w, round ? SWEEP_SMALL : 1));
		for (id = 0; id < SWEEP_N_PLAIN; id++)
			sweep_del(w, w->kv, id);
		sweep_fill(w, w->kv, SWEEP_FILL_MAX);
		sweep_verify(w, w->kv);
		sweep_check(w, w->kv);
		sweep_unfill(w, w->kv);
		sweep_verify(w, w->kv);
	}
}

static void hints_of_a_slab_never_name_leaves(void)
{
	run_isolated(slabs_become_leaves, 16, 16);
}

/* ---- odd numbers of contexts ----------------------------------------------------------- */

static void use_twelve_contexts(struct sweep_world *w)
{
	struct shmkv *kv[12];
	uint32_t i;

	for (i = 0; i < 11; i++) {
		SWEEP_WANT(w, shmkv_attach(w->name, 0, &kv[i]), 0);
		sweep_put(w, kv[i], i, sweep_bin(w, SWEEP_SMALL));
	}
	/* Every context is taken: attaching works, writing says so. */
	SWEEP_WANT(w, shmkv_attach(w->name, 0, &kv[11]), 0);
	SWEEP_WANT(w, shmkv_put(kv[11], "k", 1, shmkv_int(1), NULL), -EUSERS);
	sweep_verify(w, kv[11]);
	for (i = 0; i < 12; i++)
		shmkv_detach(kv[i]);
	SWEEP_WANT(w, shmkv_attach(w->name, SHMKV_READ_ONLY, &kv[0]), 0);
	sweep_verify(w, kv[0]);
	shmkv_detach(kv[0]);
}

static void every_context_of_a_part_of_a_page_is_used(void)
{
	run_isolated(use_twelve_contexts, 16, 12);
}

/* ---- full and not full again ----------------------------------------------------------- */

/*
 * Another handle frees blocks while there is memory, which it keeps to itself, and then
 * there is none: they are found.
 */
static void free_in_between(struct sweep_world *w)
{
	struct shmkv *other;
	uint32_t id;

	SWEEP_WANT(w, shmkv_attach(w->name, 0, &other), 0);
	sweep_put(w, w->kv, SWEEP_EXTRA, sweep_bin(w, SWEEP_RUN));
	for (id = 0; id < 10; id++)
		sweep_put(w, other, id, sweep_bin(w, SWEEP_MEDIUM));
	sweep_fill(w, w->kv, SWEEP_FILL_MAX);
	for (id = 100; id < 200; id++) {
		size_t len;
		const char *key = sweep_key(id, &len);
		static uint8_t bytes[SWEEP_MEDIUM];
		int r = shmkv_put(w->kv, key, len, shmkv_bin(bytes, sizeof(bytes)), NULL);

		if (r == -ENOSPC)
			break;
		SWEEP_WANT(w, r, 0);
		SWEEP_WANT(w, shmkv_del(w->kv, key, len), 0);
		sweep_put(w, w->kv, id, sweep_bin(w, SWEEP_MEDIUM));
	}
	/* There is memory; what is freed now goes to a private cache. */
	sweep_del(w, w->kv, SWEEP_EXTRA);
	for (id = 0; id < 10; id++)
		sweep_del(w, other, id);
	/* Then it is used up by another class. */
	sweep_fill(w, w->kv, SWEEP_FILL_MAX);
	for (id = 0; id < 10; id++)
		sweep_put(w, w->kv, id, sweep_bin(w, SWEEP_MEDIUM));
	sweep_verify(w, other);
	shmkv_detach(other);
}

static void what_was_freed_before_memory_ran_out_is_found(void)
{
	run_isolated(free_in_between, 16, 16);
}

/* ---- inheriting twice ------------------------------------------------------------------ */

static struct {
	struct sweep_world *w;
	struct shmkv *kv;
	uint32_t key;
	pthread_barrier_t parked;
} pair;

static void park(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&pair.parked);
	for (;;)
		pause();
}

static void *write_and_park(void *arg)
{
	struct sweep_op op = { SWEEP_PUT, pair.key, SWEEP_WIDE };

	(void)arg;
	skv_fault_arm(NULL, SKV_FAULT_WRITE_COMPLETE, 1, SKV_FAULT_CALL, park, NULL);
	sweep_run_op(pair.w, &pair.kv, &op, sweep_bin(pair.w, op.len));
	return NULL;
}

/* Attaches, and dies with two threads before their commits. */
static void die_with_two_contexts(struct sweep_world *w, uint32_t key)
{
	struct sweep_op op = { SWEEP_PUT, key + 1, SWEEP_RUN };
	pthread_t thread;

	SWEEP_WANT(w, shmkv_attach(w->name, 0, &pair.kv), 0);
	pair.w = w;
	pair.key = key;
	pthread_barrier_init(&pair.parked, NULL, 2);
	pthread_create(&thread, NULL, write_and_park, NULL);
	pthread_barrier_wait(&pair.parked);
	skv_fault_arm(NULL, SKV_FAULT_WRITE_COMPLETE, 1, SKV_FAULT_KILL, NULL, NULL);
	sweep_run_op(w, &pair.kv, &op, sweep_bin(w, op.len));
	_exit(0);
}

/* Owner words of two contexts of one process slot may be equal: they are told apart. */
static void inherit_again_and_again(struct sweep_world *w)
{
	uint32_t n, round;
	struct shmkv *kv;
	pid_t pid;

	for (n = 1; n <= 4; n++) {
		for (round = 0; round < n; round++) {
			pid = fork_child(w);
			if (pid == 0)
				die_with_two_contexts(w, round * 4);
			want_status(w, pid, SIGKILL);
			sweep_verify(w, w->kv);
		}
		/* This one lives, and nothing that the others held is left to it. */
		pid = fork_child(w);
		if (pid == 0) {
			SWEEP_WANT(w, shmkv_attach(w->name, 0, &kv), 0);
			sweep_battery(w, kv, 1, true);
			shmkv_detach(kv);
			_exit(0);
		}
		want_status(w, pid, 0);
		sweep_recover(w, w->kv, true);
		sweep_check(w, w->kv);
	}
}

static void every_context_is_inherited_every_time(void)
{
	run_isolated(inherit_again_and_again, 2, 16);
}

const struct skv_test skv_tests_sweep_found[] = {
	{ "sweep_found", "hints of a slab never name leaves",
	  hints_of_a_slab_never_name_leaves, 60 },
	{ "sweep_found", "every context of a part of a page is used",
	  every_context_of_a_part_of_a_page_is_used, 20 },
	{ "sweep_found", "what was freed before memory ran out is found",
	  what_was_freed_before_memory_ran_out_is_found, 20 },
	{ "sweep_found", "every context is inherited every time",
	  every_context_is_inherited_every_time, 20 },
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "base/fault.h"
#include "shm/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-peer: who counts as alive. A peer is a forked child that attaches for itself, says
 * through a pipe which slot it got, and then does what its test is about.
 */

#define MIB ((uint64_t)1 << 20)

/* ---- helpers --------------------------------------------------------------------- */

struct fixture {
	struct skv_region region; /* ours; joined unless the test says otherwise */
	struct skv_peer self;
	char name[64];
};

static void fixture_create(struct fixture *f, uint32_t n_processes)
{
	static unsigned int count;
	struct shmkv_options opts = { .max_bytes = MIB, .max_processes = n_processes };
	struct skv_geometry geo;

	snprintf(f->name, sizeof(f->name), "peer-%d-%u", (int)getpid(), count++);
	CHECK_EQ(skv_geometry_plan(&opts, &geo), 0);
	CHECK_EQ(skv_region_new(&geo, 0600, &f->region), 0);
	CHECK_EQ(skv_region_publish(&f->region, f->name), 0);
}

static void fixture_begin(struct fixture *f, uint32_t n_processes)
{
	fixture_create(f, n_processes);
	CHECK_EQ(skv_peer_join(&f->region, &f->self), 0);
}

static void fixture_end(struct fixture *f)
{
	skv_region_detach(&f->region);
	CHECK_EQ(skv_region_unlink(f->name), 0);
}

static uint64_t state_of(struct fixture *f, uint32_t idx)
{
	return skv_load_acquire(&skv_peer_slot(&f->region, idx)->state) & SKV_PROCESS_STATE_MASK;
}

static bool dead(struct fixture *f, uint32_t idx)
{
	uint64_t state;

	return skv_peer_is_dead(&f->region, idx, &state);
}

static void bury(struct fixture *f, uint32_t idx)
{
	uint64_t state = 0;

	CHECK(skv_peer_is_dead(&f->region, idx, &state));
	CHECK(skv_peer_bury(&f->region, idx, state));
	/* The verdict was about that incarnation only. */
	CHECK(!skv_peer_bury(&f->region, idx, state));
	CHECK(!skv_peer_is_dead(&f->region, idx, &state));
	CHECK_EQ(state_of(f, idx), SKV_PROCESS_FREE);
}

struct child {
	pid_t pid;
	int out; /* the child speaks */
	int in;  /* the child listens */
};

/* What a child knows; its region is its own. */
struct scene {
	struct fixture *f;
	struct skv_region region;
	struct skv_peer peer;
	int out, in;
};

static void scene_join(struct scene *s)
{
	CHECK_EQ(skv_region_attach(s->f->name, false, &s->region), 0);
	CHECK_EQ(skv_peer_join(&s->region, &s->peer), 0);
}

static void scene_say(struct scene *s, uint32_t word)
{
	CHECK_EQ(write(s->out, &word, sizeof(word)), sizeof(word));
}

static void sleep_for_ever(void)
{
	for (;;)
		pause();
}

static struct child child_start(struct fixture *f, void (*fn)(struct scene *s))
{
	int out[2], in[2];
	struct child child;

	CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
	CHECK_EQ(pipe2(in, O_CLOEXEC), 0);
	fflush(NULL);
	child.pid = fork();
	CHECK(child.pid >= 0);
	if (child.pid == 0) {
		struct scene s = { .f = f, .out = out[1], .in = in[0] };

		close(out[0]);
		close(in[1]);
		skv_region_abandon(&f->region);
		fn(&s);
		_exit(0);
	}
	close(out[1]);
	close(in[0]);
	child.out = out[0];
	child.in = in[1];
	return child;
}

static uint32_t child_hear(struct child *child)
{
	uint32_t word;

	CHECK_EQ(read(child->out, &word, sizeof(word)), sizeof(word));
	return word;
}

/* Ends the child and waits for it; what it leaves in the segment stays. */
static int child_end(struct child *child)
{
	int status;

	kill(child->pid, SIGKILL);
	CHECK_EQ(waitpid(child->pid, &status, 0), child->pid);
	close(child->out);
	close(child->in);
	return status;
}

static void join_and_wait(struct scene *s)
{
	scene_join(s);
	scene_say(s, s->peer.idx);
	sleep_for_ever();
}

/* Others end asynchronously: their death shows within this time or never. */
static bool becomes_dead(struct fixture *f, uint32_t idx)
{
	for (int i = 0; i < 500; i++) {
		if (dead(f, idx))
			return true;
		usleep(10 * 1000);
	}
	return false;
}

/* ---- joining and leaving ---------------------------------------------------------- */

static void slots_are_taken_in_turn_and_given_back(void)
{
	struct skv_region second;
	struct skv_peer peer;
	struct fixture f;
	struct skv_process *slot;

	fixture_begin(&f, 4);
	CHECK_EQ(f.region.map_fd, -1);
	CHECK_EQ(f.self.idx, 0);
	CHECK_EQ(f.self.incarnation, 1);
	slot = skv_peer_slot(&f.region, 0);
	CHECK_EQ(slot->state, SKV_PROCESS_LIVE | 1 << SKV_PROCESS_INCARNATION_SHIFT);
	CHECK_EQ(slot->pid, getpid());
	CHECK(slot->pid_ns != 0 && slot->start_time != 0 && slot->joined_ms != 0);

	/* Another handle of this process is another peer. */
	CHECK_EQ(skv_region_attach(f.name, false, &second), 0);
	CHECK_EQ(skv_peer_join(&second, &peer), 0);
	CHECK_EQ(peer.idx, 1);
	CHECK(!dead(&f, 0) && !dead(&f, 1) && !dead(&f, 2));
	CHECK(!dead(&f, 4) && !dead(&f, UINT32_MAX));

	skv_peer_leave(&second, &peer);
	CHECK_EQ(state_of(&f, 1), SKV_PROCESS_FREE);
	CHECK_EQ(skv_peer_slot(&f.region, 1)->state >> SKV_PROCESS_INCARNATION_SHIFT, 2);
	CHECK(!dead(&f, 1));
	/* Leaving twice, or after somebody else moved in, does nothing. */
	skv_peer_leave(&second, &peer);
	CHECK_EQ(skv_peer_slot(&f.region, 1)->state >> SKV_PROCESS_INCARNATION_SHIFT, 2);
	skv_region_detach(&second);

	CHECK_EQ(skv_region_attach(f.name, false, &second), 0);
	CHECK_EQ(skv_peer_join(&second, &peer), 0);
	CHECK_EQ(peer.idx, 1);
	CHECK_EQ(peer.incarnation, 3);
	skv_region_detach(&second);
	bury(&f, 1);
	fixture_end(&f);
}

static void start_time_is_the_kernels(void)
{
	struct fixture f;
	char text[1024], *p;
	FILE *file;
	unsigned long long start;

	fixture_begin(&f, 1);
	file = fopen("/proc/self/stat", "r");
	CHECK(file);
	CHECK(fgets(text, sizeof(text), file));
	fclose(file);
	p = strrchr(text, ')');
	CHECK(p);
	CHECK_EQ(sscanf(p + 2,
			"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			"%*d %llu",
			&start),
		 1);
	CHECK_EQ(skv_peer_slot(&f.region, 0)->start_time, start);
	fixture_end(&f);
}

static void slot_of_a_leaver_is_free_although_its_byte_is_still_locked(void)
{
	struct skv_region second;
	struct skv_peer peer;
	struct fixture f;

	fixture_begin(&f, 2);
	skv_peer_leave(&f.region, &f.self);
	/* Our mapping still holds byte 0: the newcomer goes elsewhere. */
	CHECK_EQ(skv_region_attach(f.name, false, &second), 0);
	CHECK_EQ(skv_peer_join(&second, &peer), 0);
	CHECK_EQ(peer.idx, 1);
	skv_region_detach(&second);
	fixture_end(&f);
}

static void full_table_is_an_error_until_somebody_dies(void)
{
	struct child children[3];
	struct skv_region late;
	struct skv_peer peer;
	struct fixture f;

	fixture_begin(&f, 4);
	for (uint32_t i = 0; i < 3; i++) {
		children[i] = child_start(&f, join_and_wait);
		CHECK_EQ(child_hear(&children[i]), i + 1);
	}
	CHECK_EQ(skv_region_attach(f.name, false, &late), 0);
	CHECK_EQ(skv_peer_join(&late, &peer), -EUSERS);
	/* Nobody has buried the dead one: its slot is inherited, with what it held. */
	child_end(&children[1]);
	CHECK(dead(&f, 2));
	CHECK_EQ(skv_peer_join(&late, &peer), 0);
	CHECK_EQ(peer.idx, 2);
	CHECK(peer.inherited);
	CHECK(!dead(&f, 2));
	skv_region_detach(&late);

	child_end(&children[0]);
	child_end(&children[2]);
	for (uint32_t i = 1; i < 4; i++)
		bury(&f, i);
	fixture_end(&f);
}

static void join_many(struct scene *s)
{
	char c;

	CHECK_EQ(read(s->in, &c, 1), 0);
	for (int i = 0; i < 100; i++) {
		int r;

		CHECK_EQ(skv_region_attach(s->f->name, false, &s->region), 0);
		r = skv_peer_join(&s->region, &s->peer);
		if (r == 0) {
			struct skv_process *slot = skv_peer_slot(&s->region, s->peer.idx);

			/* Ours alone: nobody else writes its pid here meanwhile. */
			for (int k = 0; k < 20; k++) {
				CHECK_EQ(skv_load_relaxed(&slot->pid), getpid());
				sched_yield();
			}
			skv_peer_leave(&s->region, &s->peer);
		} else {
			CHECK_EQ(r, -EUSERS);
		}
		skv_region_detach(&s->region);
	}
	scene_say(s, 1);
}

static void racing_processes_never_share_a_slot(void)
{
	struct child children[6];
	struct fixture f;
	int status;

	fixture_create(&f, 3);
	for (int i = 0; i < 6; i++)
		children[i] = child_start(&f, join_many);
	/* A child also holds the gates of those started before it: all open when all know. */
	for (int i = 0; i < 6; i++)
		close(children[i].in);
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(child_hear(&children[i]), 1);
		CHECK_EQ(waitpid(children[i].pid, &status, 0), children[i].pid);
		CHECK_EQ(status, 0);
		close(children[i].out);
	}
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(state_of(&f, i), SKV_PROCESS_FREE);
	fixture_end(&f);
}

/* ---- alive ------------------------------------------------------------------------ */

static void stopped_process_is_alive(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;
	int status;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_wait);
	idx = child_hear(&child);
	CHECK_EQ(kill(child.pid, SIGSTOP), 0);
	CHECK_EQ(waitpid(child.pid, &status, WUNTRACED), child.pid);
	CHECK(WIFSTOPPED(status));
	for (int i = 0; i < 20; i++) {
		CHECK(!dead(&f, idx));
		usleep(5000);
	}
	child_end(&child);
	bury(&f, idx);
	fixture_end(&f);
}

static void join_and_close_everything(struct scene *s)
{
	scene_join(s);
	scene_say(s, s->peer.idx);
	CHECK_EQ(syscall(SYS_close_range, 3u, ~0u, 0u), 0);
	sleep_for_ever();
}

static void process_that_closed_every_descriptor_is_alive(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;
	char c;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_close_everything);
	idx = child_hear(&child);
	/* End of file: the last descriptor is closed. */
	CHECK_EQ(read(child.out, &c, 1), 0);
	CHECK(!dead(&f, idx));
	child_end(&child);
	bury(&f, idx);
	fixture_end(&f);
}

static void *outlive_main(void *arg)
{
	struct scene *s = arg;
	char path[64], text[512], *p;
	ssize_t n;
	int fd;

	/* The kernel shows the leader as a zombie from its pthread_exit on. */
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	do {
		usleep(1000);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0);
		n = read(fd, text, sizeof(text) - 1);
		CHECK(n > 0);
		close(fd);
		text[n] = '\0';
		p = strrchr(text, ')');
		CHECK(p);
	} while (p[2] != 'Z');
	scene_say(s, s->peer.idx);
	sleep_for_ever();
	return NULL;
}

static void join_and_exit_main_thread(struct scene *s)
{
	static struct scene kept;
	pthread_t thread;

	scene_join(s);
	kept = *s;
	CHECK_EQ(pthread_create(&thread, NULL, outlive_main, &kept), 0);
	pthread_exit(NULL);
}

static void process_whose_main_thread_ended_is_alive(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_exit_main_thread);
	idx = child_hear(&child);
	CHECK(!dead(&f, idx));
	child_end(&child);
	bury(&f, idx);
	fixture_end(&f);
}

static void join_and_vfork(struct scene *s)
{
	int status;
	pid_t pid;

	scene_join(s);
	for (int i = 0; i < 5; i++) {
		pid = vfork();
		CHECK(pid >= 0);
		if (pid == 0) {
			execl("/bin/true", "true", (char *)NULL);
			_exit(127);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 0);
	}
	/* Its own slot, asked by itself. */
	{
		uint64_t state;

		CHECK(!skv_peer_is_dead(&s->region, s->peer.idx, &state));
	}
	scene_say(s, s->peer.idx);
	sleep_for_ever();
}

static void process_that_starts_programs_is_alive(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_vfork);
	idx = child_hear(&child);
	CHECK(!dead(&f, idx));
	child_end(&child);
	bury(&f, idx);
	fixture_end(&f);
}

static void own_locks_show_through_a_descriptor_with_a_taken_number(void)
{
	struct skv_region second;
	struct skv_peer peer;
	struct fixture f;
	struct flock lock = { .l_whence = SEEK_SET, .l_len = 1, .l_type = F_WRLCK };
	char path[512];
	int fd, aux;

	/*
	 * The application closes our descriptor; the number then names a description of the
	 * same file that holds a lock: asked through that one, the lock's owner seems dead.
	 */
	fixture_begin(&f, 4);
	CHECK_EQ(skv_region_attach(f.name, false, &second), 0);
	aux = f.region.aux_fd;
	CHECK_EQ(dup2(second.map_fd, aux), aux);
	CHECK_EQ(skv_peer_join(&second, &peer), 0);
	lock.l_start = SKV_LOCK_BASE + peer.idx;
	CHECK_EQ(fcntl(aux, F_OFD_GETLK, &lock), 0);
	CHECK_EQ(lock.l_type, F_UNLCK);
	CHECK(!dead(&f, peer.idx));
	CHECK(f.region.aux_fd != aux);
	close(aux);
	skv_peer_leave(&second, &peer);
	skv_region_detach(&second);

	/* Opening and closing the file elsewhere in the process drops nothing either. */
	snprintf(path, sizeof(path), "/dev/shm/shmkv.%s", f.name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	close(fd);
	CHECK(!dead(&f, f.self.idx));
	fixture_end(&f);
}

static void nobody_is_dead_when_nothing_can_be_asked(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_wait);
	idx = child_hear(&child);
	child_end(&child);
	CHECK_EQ(skv_region_unlink(f.name), 0);
	close(f.region.aux_fd);
	CHECK(!dead(&f, idx));
	skv_region_detach(&f.region);
}

/* ---- dead ------------------------------------------------------------------------- */

static void killed_process_is_dead_while_still_a_zombie(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;
	siginfo_t info;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_wait);
	idx = child_hear(&child);
	CHECK(!dead(&f, idx));
	CHECK_EQ(kill(child.pid, SIGKILL), 0);
	CHECK_EQ(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
	CHECK_EQ(kill(child.pid, 0), 0);
	CHECK(dead(&f, idx));
	bury(&f, idx);
	child_end(&child);
	fixture_end(&f);
}

static void join_fork_and_die(struct scene *s)
{
	pid_t pid;

	scene_join(s);
	scene_say(s, s->peer.idx);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		/* Keeps every descriptor and, if it could, the mapping. */
		sleep_for_ever();
	}
	scene_say(s, (uint32_t)pid);
	sleep_for_ever();
}

static void child_does_not_keep_its_killed_parent_alive(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;
	pid_t orphan;

	fixture_begin(&f, 4);
	child = child_start(&f, join_fork_and_die);
	idx = child_hear(&child);
	orphan = (pid_t)child_hear(&child);
	CHECK(!dead(&f, idx));
	child_end(&child);
	CHECK_EQ(kill(orphan, 0), 0);
	bury(&f, idx);
	CHECK_EQ(kill(orphan, SIGKILL), 0);
	fixture_end(&f);
}

static void join_and_exec(struct scene *s)
{
	scene_join(s);
	scene_say(s, s->peer.idx);
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
}

static void process_that_became_another_program_is_dead(void)
{
	struct child child;
	struct fixture f;
	uint32_t idx;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_exec);
	idx = child_hear(&child);
	CHECK(becomes_dead(&f, idx));
	CHECK_EQ(kill(child.pid, 0), 0);
	bury(&f, idx);
	child_end(&child);
	fixture_end(&f);
}

static void handle_that_was_dropped_without_leaving_is_dead(void)
{
	struct skv_region second;
	struct skv_peer peer;
	struct fixture f;

	fixture_begin(&f, 4);
	CHECK_EQ(skv_region_attach(f.name, false, &second), 0);
	CHECK_EQ(skv_peer_join(&second, &peer), 0);
	skv_region_detach(&second);
	bury(&f, peer.idx);
	CHECK(!dead(&f, f.self.idx));
	fixture_end(&f);
}

static void read_only_attacher_judges_but_does_not_bury(void)
{
	struct skv_region reader;
	struct skv_peer peer;
	struct child child;
	struct fixture f;
	uint64_t state;
	uint32_t idx;

	fixture_begin(&f, 4);
	child = child_start(&f, join_and_wait);
	idx = child_hear(&child);
	CHECK_EQ(skv_region_attach(f.name, true, &reader), 0);
	CHECK(!skv_peer_is_dead(&reader, idx, &state));
	CHECK(!skv_peer_is_dead(&reader, f.self.idx, &state));
	child_end(&child);
	CHECK(skv_peer_is_dead(&reader, idx, &state));
	CHECK(!skv_peer_bury(&reader, idx, state));
	CHECK_EQ(skv_peer_join(&reader, &peer), -EIO);
	skv_region_detach(&reader);
	bury(&f, idx);
	fixture_end(&f);
}

static void several_dead_at_once_are_all_seen(void)
{
	struct child children[8];
	struct fixture f;

	fixture_begin(&f, 16);
	for (int i = 0; i < 8; i++) {
		children[i] = child_start(&f, join_and_wait);
		CHECK_EQ(child_hear(&children[i]), i + 1);
	}
	for (int i = 0; i < 8; i += 2)
		child_end(&children[i]);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(dead(&f, i + 1), i % 2 == 0);
	for (int i = 1; i < 8; i += 2)
		child_end(&children[i]);
	for (uint32_t i = 0; i < 8; i++)
		bury(&f, i + 1);
	fixture_end(&f);
}

/* ---- namespaces ------------------------------------------------------------------- */

/* As pid 1 of a new pid namespace whose /proc still shows the old one. */
static void join_in_pid_namespace(struct scene *s)
{
	uint64_t state;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0) {
		scene_say(s, UINT32_MAX);
		return;
	}
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(getpid(), 1);
		scene_join(s);
		/* That /proc knows us under another number: better none than a wrong one. */
		CHECK_EQ(skv_peer_slot(&s->region, s->peer.idx)->start_time, 0);
		/* From in here the outside is alive as well. */
		CHECK(!skv_peer_is_dead(&s->region, 0, &state));
		scene_say(s, s->peer.idx);
		sleep_for_ever();
	}
	scene_say(s, (uint32_t)pid);
	sleep_for_ever();
}

static void life_and_death_show_across_pid_namespaces(void)
{
	struct child child;
	struct fixture f;
	uint32_t a, b, idx;
	pid_t inner;

	fixture_begin(&f, 4);
	child = child_start(&f, join_in_pid_namespace);
	a = child_hear(&child);
	if (a == UINT32_MAX) {
		child_end(&child);
		fixture_end(&f);
		skv_test_skip("a new pid namespace is not permitted here");
		return;
	}
	/* Two speak, in any order: a slot is less than 4, a pid is not. */
	b = child_hear(&child);
	idx = a < b ? a : b;
	inner = (pid_t)(a < b ? b : a);
	CHECK_EQ(skv_peer_slot(&f.region, idx)->pid, 1);
	CHECK(skv_peer_slot(&f.region, idx)->pid_ns != skv_peer_slot(&f.region, 0)->pid_ns ||
	      skv_peer_slot(&f.region, idx)->pid_ns == 0);
	CHECK(!dead(&f, idx));
	CHECK_EQ(kill(inner, SIGKILL), 0);
	CHECK(becomes_dead(&f, idx));
	bury(&f, idx);
	child_end(&child);
	fixture_end(&f);
}

/* ---- killed and stopped on the way ------------------------------------------------- */

#ifdef SKV_FAULT_POINTS

static struct skv_fault_plan *plan;
static enum skv_fault_point fault_point;
static enum skv_fault_action fault_action;

static void join_and_leave_into_fault(struct scene *s)
{
	skv_fault_arm(plan, fault_point, 1, fault_action, NULL, NULL);
	scene_join(s);
	skv_peer_leave(&s->region, &s->peer);
	skv_region_detach(&s->region);
}

static void prepare_plan(void)
{
	plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(plan != MAP_FAILED);
}

static void killed_while_joining_or_leaving_blocks_no_slot(void)
{
	struct skv_region late;
	struct skv_peer peer;
	struct fixture f;
	int n = 0;

	prepare_plan();
	/* Two slots: ours, and the one that every victim fights for. */
	fixture_begin(&f, 2);
	for (int p = SKV_FAULT_JOIN_LOCKED; p <= SKV_FAULT_LEAVE_FREED; p++) {
		bool owns = p != SKV_FAULT_JOIN_LOCKED && p != SKV_FAULT_LEAVE_FREED;
		struct child child;
		int status;

		fault_point = (enum skv_fault_point)p;
		fault_action = SKV_FAULT_KILL;
		child = child_start(&f, join_and_leave_into_fault);
		CHECK_EQ(waitpid(child.pid, &status, 0), child.pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		close(child.out);
		close(child.in);
		CHECK_EQ(plan->fired, ++n);

		CHECK_EQ(dead(&f, 1), owns);
		CHECK_EQ(state_of(&f, 1) != SKV_PROCESS_FREE, owns);
		if (owns)
			bury(&f, 1);
		CHECK_EQ(skv_region_attach(f.name, false, &late), 0);
		CHECK_EQ(skv_peer_join(&late, &peer), 0);
		CHECK_EQ(peer.idx, 1);
		skv_peer_leave(&late, &peer);
		skv_region_detach(&late);
	}
	CHECK_EQ(n, 6);
	fixture_end(&f);
}

static void stopped_while_joining_or_leaving_is_alive_and_finishes(void)
{
	struct fixture f;

	prepare_plan();
	fixture_begin(&f, 2);
	for (int p = SKV_FAULT_JOIN_LOCKED; p <= SKV_FAULT_LEAVE_FREED; p++) {
		struct skv_region late;
		struct skv_peer peer;
		struct child child;
		int status;

		fault_point = (enum skv_fault_point)p;
		fault_action = SKV_FAULT_STOP;
		child = child_start(&f, join_and_leave_into_fault);
		CHECK_EQ(waitpid(child.pid, &status, WUNTRACED), child.pid);
		CHECK(WIFSTOPPED(status));

		/* Alive, and its slot is its own, claimed or not: the byte is locked. */
		CHECK(!dead(&f, 1));
		CHECK_EQ(skv_region_attach(f.name, false, &late), 0);
		CHECK_EQ(skv_peer_join(&late, &peer), -EUSERS);
		skv_region_detach(&late);

		CHECK_EQ(kill(child.pid, SIGCONT), 0);
		CHECK_EQ(waitpid(child.pid, &status, 0), child.pid);
		CHECK_EQ(status, 0);
		close(child.out);
		close(child.in);
		CHECK_EQ(state_of(&f, 1), SKV_PROCESS_FREE);
	}
	fixture_end(&f);
}

static void steal_slot(void *arg)
{
	struct skv_process *slot = arg;
	uint64_t seen = skv_load_acquire(&slot->state);

	/* As if a whole tenancy passed between the newcomer's look and its claim. */
	CHECK(skv_cas(&slot->state, seen, seen + (2ull << SKV_PROCESS_INCARNATION_SHIFT)));
}

static void lost_claim_releases_the_byte_and_goes_on(void)
{
	struct skv_region second;
	struct skv_peer peer;
	struct fixture f;
	struct flock lock = { .l_whence = SEEK_SET, .l_len = 1, .l_type = F_WRLCK };

	fixture_begin(&f, 3);
	CHECK_EQ(skv_region_attach(f.name, false, &second), 0);
	skv_fault_arm(NULL, SKV_FAULT_JOIN_LOCKED, 1, SKV_FAULT_CALL, steal_slot,
		      skv_peer_slot(&f.region, 1));
	CHECK_EQ(skv_peer_join(&second, &peer), 0);
	CHECK_EQ(peer.idx, 2);
	lock.l_start = SKV_LOCK_BASE + 1;
	CHECK_EQ(fcntl(skv_region_fd(&f.region), F_OFD_GETLK, &lock), 0);
	CHECK_EQ(lock.l_type, F_UNLCK);
	skv_region_detach(&second);
	fixture_end(&f);
}

static void drop_lock(void *arg)
{
	struct skv_region *region = arg;
	struct flock lock = { .l_whence = SEEK_SET, .l_start = SKV_LOCK_BASE, .l_len = 4096 };

	lock.l_type = F_UNLCK;
	CHECK_EQ(fcntl(region->map_fd, F_OFD_SETLK, &lock), 0);
}

static void lock_that_does_not_outlive_its_descriptor_is_refused(void)
{
	struct skv_region second;
	struct skv_peer peer;
	struct fixture f;

	/* What a file system shows that maps another file than it opened. */
	fixture_begin(&f, 3);
	CHECK_EQ(skv_region_attach(f.name, false, &second), 0);
	skv_fault_arm(NULL, SKV_FAULT_JOIN_LIVE, 1, SKV_FAULT_CALL, drop_lock, &second);
	CHECK_EQ(skv_peer_join(&second, &peer), -EOPNOTSUPP);
	CHECK_EQ(state_of(&f, 1), SKV_PROCESS_FREE);
	skv_region_detach(&second);
	fixture_end(&f);
}

#endif

/* ---- the list --------------------------------------------------------------------- */

const struct skv_test skv_tests_peer[] = {
	{ "peer", "slots are taken in turn and given back",
	  slots_are_taken_in_turn_and_given_back, 10 },
	{ "peer", "start time is the kernel's", start_time_is_the_kernels, 10 },
	{ "peer", "slot of a leaver is free although its byte is still locked",
	  slot_of_a_leaver_is_free_although_its_byte_is_still_locked, 10 },
	{ "peer", "full table is an error until somebody dies",
	  full_table_is_an_error_until_somebody_dies, 20 },
	{ "peer", "racing processes never share a slot", racing_processes_never_share_a_slot, 60 },
	{ "peer", "stopped process is alive", stopped_process_is_alive, 20 },
	{ "peer", "process that closed every descriptor is alive",
	  process_that_closed_every_descriptor_is_alive, 20 },
	{ "peer", "process whose main thread ended is alive",
	  process_whose_main_thread_ended_is_alive, 20 },
	{ "peer", "process that starts programs is alive",
	  process_that_starts_programs_is_alive, 20 },
	{ "peer", "own locks show through a descriptor with a taken number",
	  own_locks_show_through_a_descriptor_with_a_taken_number, 10 },
	{ "peer", "nobody is dead when nothing can be asked",
	  nobody_is_dead_when_nothing_can_be_asked, 20 },
	/* hazard 11 */
	{ "peer", "killed process is dead while still a zombie",
	  killed_process_is_dead_while_still_a_zombie, 20 },
	{ "peer", "child does not keep its killed parent alive",
	  child_does_not_keep_its_killed_parent_alive, 20 },
	{ "peer", "process that became another program is dead",
	  process_that_became_another_program_is_dead, 20 },
	{ "peer", "handle that was dropped without leaving is dead",
	  handle_that_was_dropped_without_leaving_is_dead, 10 },
	{ "peer", "read only attacher judges but does not bury",
	  read_only_attacher_judges_but_does_not_bury, 20 },
	{ "peer", "several dead at once are all seen", several_dead_at_once_are_all_seen, 20 },
	/* hazard 11 */
	{ "peer", "life and death show across pid namespaces",
	  life_and_death_show_across_pid_namespaces, 20 },
#ifdef SKV_FAULT_POINTS
	{ "peer", "killed while joining or leaving blocks no slot",
	  killed_while_joining_or_leaving_blocks_no_slot, 30 },
	{ "peer", "stopped while joining or leaving is alive and finishes",
	  stopped_while_joining_or_leaving_is_alive_and_finishes, 30 },
	{ "peer", "lost claim releases the byte and goes on",
	  lost_claim_releases_the_byte_and_goes_on, 10 },
	{ "peer", "lock that does not outlive its descriptor is refused",
	  lock_that_does_not_outlive_its_descriptor_is_refused, 10 },
#endif
	{ 0 },
};

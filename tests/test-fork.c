/* SPDX-License-Identifier: MIT */
#include "tests/every-call.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-fork: how attachments begin and end: with fork, with exec, with threads, in any number and
 * in any order, under a name that is removed and used again.
 */

static uint8_t payload[1000];

static void recover(struct shmkv *kv)
{
	struct shmkv_recovery report = { .size = sizeof(report) };

	CHECK_EQ(shmkv_recover(kv, &report), 0);
}

/* ---- fork ------------------------------------------------------------------------- */

/* What parent and child tell each other. */
struct shared {
	pid_t child;
	int here, stop;
};

struct family {
	struct skv_segment s;
	struct shmkv *reader;
	struct shmkv_scan *scan;
	struct shared *shared;
};

static void use_what_the_parent_has(void *arg)
{
	struct family *family = arg;
	struct shmkv_entry entry;
	struct shmkv *kv = family->s.kv;
	unsigned int fds = skv_count_fds();
	size_t i;

	for (i = 0; i < ARRAY_LEN(calls); i++) {
		call_must_give(&calls[i], kv, KEY("int"), -ECHILD);
		call_must_give(&calls[i], family->reader, KEY("int"), -ECHILD);
	}
	keyless_must_give(kv, -ECHILD, -ECHILD);
	keyless_must_give(family->reader, -ECHILD, -ECHILD);
	CHECK_EQ(shmkv_scan_next(family->scan, &entry), -ECHILD);
	CHECK(shmkv_scan_end(family->scan) == NULL);

	/* Its own attachment is another participant. */
	kv = skv_segment_attach(&family->s, 0);
	CHECK_EQ(skv_segment_info(kv).processes, 2);
	CHECK_EQ(shmkv_incr(kv, KEY("int"), 1, 0, &out_int), 0);
	CHECK(shmkv_detach(kv) == NULL);
	/* Also after that, what is the parent's stays the parent's. */
	CHECK_EQ(shmkv_incr(family->s.kv, KEY("int"), 1, 0, NULL), -ECHILD);
	CHECK(shmkv_detach(family->s.kv) == NULL);
	CHECK(shmkv_detach(family->reader) == NULL);
	CHECK_EQ(shmkv_incr(family->s.kv, KEY("int"), 1, 0, NULL), -EBADF);
	/* The descriptors that it inherited are closed with the handles. */
	CHECK(skv_count_fds() < fds);
	CHECK_EQ(skv_count_maps(family->s.name), 0);
}

static void child_is_refused_its_parents_handles(void)
{
	struct family family;
	int i;

	skv_segment_begin(&family.s, 2 * MIB);
	skv_segment_populate(family.s.kv);
	family.reader = skv_segment_attach(&family.s, SHMKV_READ_ONLY);
	CHECK_EQ(shmkv_scan_begin(family.s.kv, 0, &family.scan), 0);
	for (i = 0; i < 10; i++) {
		skv_test_wait_ok(skv_fork(use_what_the_parent_has, &family));
		/* The parent has noticed nothing. */
		CHECK_EQ(skv_segment_info(family.reader).processes, 1);
		CHECK_EQ(skv_segment_info(family.reader).processes_dead, 0);
		CHECK_EQ(shmkv_incr(family.s.kv, KEY("int"), 1, 0, &out_int), 0);
		CHECK_EQ(out_int, 7 + 2 * (i + 1));
	}
	CHECK_EQ(shmkv_scan_next(family.scan, &(struct shmkv_entry){ 0 }), 1);
	shmkv_scan_end(family.scan);
	shmkv_detach(family.reader);
	skv_segment_end(&family.s);
}

static void sleep_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void have_a_child_and_die(void *arg)
{
	struct family *family = arg;
	struct shmkv *kv = skv_segment_attach(&family->s, 0);

	CHECK_EQ(shmkv_put(kv, KEY("orphan"), shmkv_int(1), NULL), 0);
	family->shared->child = skv_fork(sleep_for_ever, NULL);
	kill(getpid(), SIGKILL);
}

static void living_child_does_not_keep_its_parent_alive(void)
{
	struct family family;

	skv_segment_begin(&family.s, 2 * MIB);
	family.shared = skv_shared(sizeof(*family.shared));
	skv_test_wait_killed(skv_fork(have_a_child_and_die, &family), SIGKILL);
	CHECK(family.shared->child > 0);
	CHECK_EQ(skv_segment_info(family.s.kv).processes_dead, 1);
	recover(family.s.kv);
	CHECK_EQ(skv_segment_info(family.s.kv).processes, 1);
	CHECK_EQ(skv_segment_info(family.s.kv).processes_dead, 0);
	kill(family.shared->child, SIGKILL);
	skv_segment_end(&family.s);
}

static void attach_and_execute(void *arg)
{
	struct family *family = arg;
	struct shmkv *kv = skv_segment_attach(&family->s, 0);

	CHECK_EQ(shmkv_put(kv, KEY("executed"), shmkv_int(1), NULL), 0);
	execl("/bin/sh", "sh", "-c", "read line", (char *)NULL);
	_exit(1);
}

static void exec_ends_an_attachment(void)
{
	struct family family;
	int in[2];
	pid_t pid;
	int i;

	skv_segment_begin(&family.s, 2 * MIB);
	CHECK_EQ(pipe(in), 0);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(in[0], 0);
		close(in[1]);
		attach_and_execute(&family);
	}
	close(in[0]);
	/* The process lives on with its number; its attachment does not. */
	for (i = 0; i < 500 && skv_segment_info(family.s.kv).processes_dead == 0; i++)
		usleep(10000);
	CHECK_EQ(skv_segment_info(family.s.kv).processes_dead, 1);
	CHECK_EQ(kill(pid, 0), 0);
	CHECK_EQ(shmkv_get_int(family.s.kv, KEY("executed"), &out_int), 0);
	CHECK_EQ(shmkv_maintain(family.s.kv), 0);
	for (i = 0; i < 500 && skv_segment_info(family.s.kv).processes > 1; i++) {
		usleep(10000);
		CHECK_EQ(shmkv_maintain(family.s.kv), 0);
	}
	CHECK_EQ(skv_segment_info(family.s.kv).processes, 1);
	close(in[1]);
	waitpid(pid, NULL, 0);
	skv_segment_end(&family.s);
}

struct busy_parent {
	struct skv_segment s;
	bool stop;
};

static void *write_all_the_time(void *arg)
{
	struct busy_parent *parent = arg;
	uint64_t i;
	int r;

	for (i = 0; !__atomic_load_n(&parent->stop, __ATOMIC_RELAXED); i++) {
		r = i % 4 ? shmkv_put(parent->s.kv, &(uint64_t){ i % 500 }, 8,
				      shmkv_bin(payload, i % 900), NULL) :
			    shmkv_del(parent->s.kv, &(uint64_t){ i % 500 }, 8);
		CHECK(r == 0 || r == -ENOENT || r == -ENOSPC);
		/* Takes and gives back a handle, so that forks fall into that too. */
		if (i % 64 == 0)
			shmkv_detach(skv_segment_attach(&parent->s, 0));
	}
	return NULL;
}

static void work_for_itself(void *arg)
{
	struct busy_parent *parent = arg;
	struct shmkv *kv;

	CHECK_EQ(shmkv_exists(parent->s.kv, KEY("x")), -ECHILD);
	kv = skv_segment_attach(&parent->s, 0);
	CHECK_EQ(shmkv_incr(kv, KEY("children"), 1, 0, NULL), 0);
	/* Some detach both, some one, some none. */
	if (getpid() % 3)
		shmkv_detach(kv);
	if (getpid() % 2)
		shmkv_detach(parent->s.kv);
}

static void children_of_a_busy_process_attach_for_themselves(void)
{
	enum { THREADS = 3, CHILDREN = 100 };
	struct busy_parent parent = { .stop = false };
	pthread_t thread[THREADS];
	int i;

#ifdef __SANITIZE_ADDRESS__
	/* gcc 12's allocator there is not safe to fork while another thread allocates: the child
	 * would hang in calloc, now and then. */
	skv_test_skip("the sanitizer's own malloc does not survive a fork of a busy process");
#endif

	skv_segment_begin(&parent.s, 4 * MIB);
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, write_all_the_time, &parent), 0);
	for (i = 0; i < CHILDREN; i++)
		skv_test_wait_ok(skv_fork(work_for_itself, &parent));
	__atomic_store_n(&parent.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	CHECK_EQ(shmkv_get_int(parent.s.kv, KEY("children"), &out_int), 0);
	CHECK_EQ(out_int, CHILDREN);
	recover(parent.s.kv);
	CHECK_EQ(skv_segment_info(parent.s.kv).processes, 1);
	skv_segment_end(&parent.s);
}

/* ---- names and lives ------------------------------------------------------------------ */

static int find_name(const char *name, void *arg)
{
	return strcmp(name, arg) == 0;
}

static void use_until_told(void *arg)
{
	struct family *family = arg;
	struct shmkv *kv = skv_segment_attach(&family->s, 0);
	uint64_t i = 0;

	__atomic_store_n(&family->shared->here, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&family->shared->stop, __ATOMIC_SEQ_CST)) {
		CHECK_EQ(shmkv_put(kv, &i, 8, shmkv_bin(payload, i % 900), NULL), 0);
		i = (i + 1) % 1000;
	}
	CHECK_EQ(shmkv_put(kv, KEY("last"), shmkv_int(1), NULL), 0);
	shmkv_detach(kv);
}

static void unlinked_segment_serves_its_users_and_the_name_another(void)
{
	struct family family;
	struct shmkv *first, *second = NULL;
	pid_t pid;

	skv_segment_begin(&family.s, 8 * MIB);
	first = family.s.kv;
	family.shared = skv_shared(sizeof(*family.shared));
	CHECK_EQ(shmkv_put(first, KEY("which"), shmkv_int(1), NULL), 0);
	pid = skv_fork(use_until_told, &family);
	while (!__atomic_load_n(&family.shared->here, __ATOMIC_SEQ_CST))
		usleep(1000);

	CHECK_EQ(shmkv_list(find_name, family.s.name), 1);
	CHECK_EQ(shmkv_unlink(family.s.name), 0);
	CHECK_EQ(shmkv_unlink(family.s.name), -ENOENT);
	CHECK_EQ(shmkv_attach(family.s.name, 0, &second), -ENOENT);
	CHECK_EQ(shmkv_list(find_name, family.s.name), 0);
	CHECK_EQ(shmkv_get_int(first, KEY("which"), &out_int), 0);

	/* The name means another map from now on; a third one after that. */
	CHECK_EQ(shmkv_create(family.s.name, NULL, &second), 0);
	CHECK_EQ(skv_segment_count(second), 0);
	CHECK_EQ(shmkv_put(second, KEY("which"), shmkv_int(2), NULL), 0);
	CHECK_EQ(shmkv_get_int(first, KEY("which"), &out_int), 0);
	CHECK_EQ(out_int, 1);
	CHECK_EQ(skv_segment_info(second).processes, 1);
	CHECK_EQ(skv_segment_info(first).processes, 2);

	/* Death and recovery are seen in a map that has no name any more, also next to one
	 * that has it. */
	kill(pid, SIGKILL);
	skv_test_wait_killed(pid, SIGKILL);
	CHECK_EQ(skv_segment_info(first).processes_dead, 1);
	CHECK_EQ(skv_segment_info(second).processes_dead, 0);
	recover(first);
	CHECK_EQ(skv_segment_info(first).processes, 1);
	skv_segment_check(first);
	CHECK(skv_segment_count(first) > 1);
	CHECK_EQ(shmkv_clear(first, NULL), 0);
	CHECK_EQ(skv_segment_count(second), 1);
	shmkv_detach(first);
	family.s.kv = second;
	skv_segment_end(&family.s);
}

static void cycles(struct skv_segment *s, unsigned int n)
{
	char name[64];
	struct shmkv *kv;
	unsigned int i;

	skv_segment_name(name);
	for (i = 0; i < n; i++) {
		kv = skv_segment_attach(s, i % 2 ? SHMKV_READ_ONLY : 0);
		if (i % 2)
			CHECK_EQ(shmkv_get_int(kv, KEY("n"), &out_int), 0);
		else
			CHECK_EQ(shmkv_incr(kv, KEY("n"), 1, 0, NULL), 0);
		CHECK(shmkv_detach(kv) == NULL);
		if (i % 10 == 0) {
			CHECK_EQ(shmkv_create(name, NULL, &kv), 0);
			CHECK_EQ(shmkv_unlink(name), 0);
			CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_int(1), NULL), 0);
			CHECK(shmkv_detach(kv) == NULL);
		}
		/* Attempts that fail give everything back too. */
		kv = NULL;
		CHECK_EQ(shmkv_attach("limits-none", 0, &kv), -ENOENT);
		CHECK_EQ(shmkv_create(s->name, NULL, &kv), -EEXIST);
	}
}

/* Kilobytes of memory that are ours alone. */
static unsigned long private_kib(void)
{
	char line[256];
	unsigned long kib = 0;
	FILE *file = fopen("/proc/self/status", "r");

	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			break;
	}
	fclose(file);
	return kib;
}

static void thousands_of_attachments_leave_nothing(void)
{
	unsigned int fds, maps;
	struct skv_segment s;
	unsigned long kib;

	skv_segment_begin(&s, 2 * MIB);
	/* Pools fill first. */
	cycles(&s, 300);
	fds = skv_count_fds();
	maps = skv_count_maps("");
	kib = private_kib();
	cycles(&s, 3000);
	CHECK_EQ(skv_count_fds(), fds);
	CHECK(skv_count_maps("") <= maps + 2);
	if (!skv_test_is_slow())
		CHECK(private_kib() < kib + 512);
	CHECK_EQ(skv_segment_info(s.kv).processes, 1);
	CHECK(skv_segment_info(s.kv).threads <= 1);
	CHECK_EQ(skv_segment_info(s.kv).recoveries, 0);
	skv_segment_end(&s);
}

static void *write_once(void *arg)
{
	CHECK_EQ(shmkv_incr(arg, KEY("threads"), 1, 0, NULL), 0);
	return NULL;
}

static void threads_that_end_give_their_contexts_back(void)
{
	struct skv_segment s;
	struct shmkv *other;
	pthread_t thread;
	int i;

	skv_segment_begin(&s, 2 * MIB);
	other = skv_segment_attach(&s, 0);
	for (i = 0; i < 1000; i++) {
		CHECK_EQ(pthread_create(&thread, NULL, write_once, i % 2 ? s.kv : other), 0);
		CHECK_EQ(pthread_join(thread, NULL), 0);
	}
	CHECK_EQ(shmkv_get_int(s.kv, KEY("threads"), &out_int), 0);
	CHECK_EQ(out_int, 1000);
	/* For each handle this thread's and one that they handed on. */
	CHECK(skv_segment_info(s.kv).threads <= 4);
	shmkv_detach(other);
	CHECK(skv_segment_info(s.kv).threads <= 2);
	skv_segment_end(&s);
}

static void application_may_close_every_descriptor(void)
{
	struct family family;
	pid_t pid;
	int fd[64], i, n = 0;

	skv_segment_begin(&family.s, 4 * MIB);
	CHECK_EQ(shmkv_put(family.s.kv, KEY("k"), shmkv_int(1), NULL), 0);
	for (i = 3; i < 1024; i++)
		close(i);
	/* The numbers are the application's now. */
	for (i = 0; i < 64; i++) {
		fd[i] = open("/dev/null", O_WRONLY | O_CLOEXEC);
		CHECK(fd[i] >= 0);
	}
	family.shared = skv_shared(sizeof(*family.shared));
	pid = skv_fork(use_until_told, &family);
	while (!__atomic_load_n(&family.shared->here, __ATOMIC_SEQ_CST))
		usleep(1000);
	CHECK_EQ(skv_segment_info(family.s.kv).processes_dead, 0);
	kill(pid, SIGKILL);
	skv_test_wait_killed(pid, SIGKILL);
	CHECK_EQ(skv_segment_info(family.s.kv).processes_dead, 1);
	recover(family.s.kv);
	CHECK_EQ(skv_segment_info(family.s.kv).processes, 1);
	CHECK_EQ(shmkv_incr(family.s.kv, KEY("k"), 1, 0, NULL), 0);
	skv_segment_end(&family.s);
	/* Not one of them was closed by us. */
	for (i = 0; i < 64; i++)
		n += write(fd[i], "x", 1) == 1;
	CHECK_EQ(n, 64);
}

#ifdef SKV_FAULT_POINTS

static struct {
	char name[64];
	struct shmkv *kv;
	int result;
} early;

static void attach_early(void *arg)
{
	(void)arg;
	early.result = shmkv_attach(early.name, 0, &early.kv);
}

static void creator_has_its_place_before_anybody_can_take_it(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv = NULL;

	skv_segment_name(early.name);
	opts.max_processes = 1;
	skv_fault_arm(NULL, SKV_FAULT_CREATE_PUBLISHED, 1, SKV_FAULT_CALL, attach_early, NULL);
	CHECK_EQ(shmkv_create(early.name, &opts, &kv), 0);
	CHECK_EQ(early.result, -EUSERS);
	CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_int(1), NULL), 0);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_attach(early.name, 0, &kv), 0);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink(early.name), 0);
}

#endif

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_fork[] = {
	/* hazard 28 */
	{ "fork", "a child is refused its parent's handles",
	  child_is_refused_its_parents_handles, 20 },
	/* hazard 28 */
	{ "fork", "a living child does not keep its parent alive",
	  living_child_does_not_keep_its_parent_alive, 20 },
	{ "fork", "exec ends an attachment", exec_ends_an_attachment, 20 },
	{ "fork", "children of a busy process attach for themselves",
	  children_of_a_busy_process_attach_for_themselves, 60 },
	/* hazards 15, 24 */
	{ "lives", "an unlinked segment serves its users and the name another",
	  unlinked_segment_serves_its_users_and_the_name_another, 20 },
	{ "lives", "thousands of attachments leave nothing",
	  thousands_of_attachments_leave_nothing, 60 },
	{ "lives", "threads that end give their contexts back",
	  threads_that_end_give_their_contexts_back, 20 },
	{ "lives", "the application may close every descriptor",
	  application_may_close_every_descriptor, 20 },
#ifdef SKV_FAULT_POINTS
	{ "lives", "the creator has its place before anybody can take it",
	  creator_has_its_place_before_anybody_can_take_it, 10 },
#endif
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

/*
 * test-participants: more processes and threads than there are places, and calls inside calls.
 */

#ifdef SKV_FAULT_POINTS
static uint8_t payload[(size_t)1 << 20], out[1 << 17];
static size_t out_len;
static uint64_t out_uint;
#else
static uint8_t payload[1000];
#endif
static int64_t out_int;

/* ---- participants ------------------------------------------------------------------- */

struct guest {
	char name[64];
	int ready[2], go[2];
};

static void be_a_guest(void *arg)
{
	struct guest *guest = arg;
	struct shmkv *kv;
	char c = 'r';

	CHECK_EQ(shmkv_attach(guest->name, 0, &kv), 0);
	CHECK_EQ(shmkv_put(kv, KEY("guest"), shmkv_int(getpid()), NULL), 0);
	CHECK_EQ(write(guest->ready[1], &c, 1), 1);
	CHECK_EQ(read(guest->go[0], &c, 1), 1);
	shmkv_detach(kv);
}

static pid_t invite(struct guest *guest, const struct skv_segment *s)
{
	pid_t pid;
	char c;

	snprintf(guest->name, sizeof(guest->name), "%s", s->name);
	CHECK_EQ(pipe2(guest->ready, O_CLOEXEC), 0);
	CHECK_EQ(pipe2(guest->go, O_CLOEXEC), 0);
	pid = skv_fork(be_a_guest, guest);
	CHECK_EQ(read(guest->ready[0], &c, 1), 1);
	return pid;
}

static void too_many_processes_are_refused_until_one_goes(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct skv_snapshot before;
	struct shmkv *kv = NULL, *reader;
	struct guest guest;
	struct skv_segment s;
	pid_t pid;
	int i;

	opts.max_bytes = 2 * MIB;
	opts.max_processes = 2;
	skv_segment_begin_with(&s, &opts);
	skv_segment_populate(s.kv);
	for (i = 0; i < 6; i++) {
		pid = invite(&guest, &s);
		before = skv_segment_snapshot(s.kv);
		CHECK_EQ(shmkv_attach(s.name, 0, &kv), -EUSERS);
		CHECK(kv == NULL);
		/* Readers take no place. */
		reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
		CHECK_EQ(shmkv_get_int(reader, KEY("guest"), &out_int), 0);
		CHECK_EQ(out_int, pid);
		shmkv_detach(reader);
		skv_segment_unchanged(s.kv, &before);
		/* It leaves, or is killed: both make room at once. */
		if (i % 2) {
			CHECK_EQ(write(guest.go[1], "g", 1), 1);
			skv_test_wait_ok(pid);
		} else {
			CHECK_EQ(kill(pid, SIGKILL), 0);
			skv_test_wait_killed(pid, SIGKILL);
		}
		kv = skv_segment_attach(&s, 0);
		CHECK_EQ(shmkv_put(kv, KEY("back"), shmkv_int(i), NULL), 0);
		CHECK(shmkv_detach(kv) == NULL);
		kv = NULL;
	}
	skv_segment_end(&s);
}

struct places {
	struct shmkv *kv;
	pthread_barrier_t taken, leave;
	int result[64];
};

struct place {
	struct places *places;
	unsigned int idx;
};

static void *take_place(void *arg)
{
	struct place *place = arg;
	struct places *places = place->places;

	places->result[place->idx] = shmkv_incr(places->kv, KEY("n"), 1, 0, NULL);
	pthread_barrier_wait(&places->taken);
	pthread_barrier_wait(&places->leave);
	return NULL;
}

static void too_many_threads_are_refused_until_one_ends(void)
{
	enum { MAX = 4, N = 10, ROUNDS = 5 };
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct places places;
	struct place place[N];
	struct skv_segment s;
	pthread_t thread[N];
	int64_t n = 0, expected = 0;
	int i, round, ok;

	opts.max_bytes = 2 * MIB;
	opts.max_threads = MAX;
	skv_segment_begin_with(&s, &opts);
	places.kv = s.kv;
	CHECK_EQ(pthread_barrier_init(&places.taken, NULL, N + 1), 0);
	CHECK_EQ(pthread_barrier_init(&places.leave, NULL, N + 1), 0);
	/* This thread has one place, from attaching on. */
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < N; i++) {
			place[i] = (struct place){ &places, (unsigned int)i };
			CHECK_EQ(pthread_create(&thread[i], NULL, take_place, &place[i]), 0);
		}
		pthread_barrier_wait(&places.taken);
		for (i = 0, ok = 0; i < N; i++) {
			CHECK(places.result[i] == 0 || places.result[i] == -EUSERS);
			ok += places.result[i] == 0;
		}
		CHECK_EQ(ok, MAX - 1);
		expected += ok;
		CHECK_EQ(skv_segment_info(s.kv).threads, MAX);
		CHECK_EQ(shmkv_get_int(s.kv, KEY("n"), &n), 0);
		CHECK_EQ(n, expected);
		CHECK_EQ(shmkv_incr(s.kv, KEY("n"), 1, 0, NULL), 0);
		expected++;
		pthread_barrier_wait(&places.leave);
		for (i = 0; i < N; i++)
			CHECK_EQ(pthread_join(thread[i], NULL), 0);
	}
	skv_segment_end(&s);
}

static void contexts_of_the_dead_go_to_whoever_needs_them(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv *kv, *late;
	struct guest guest;
	struct skv_segment s;
	pid_t pid;
	int i;

	opts.max_bytes = 2 * MIB;
	opts.max_threads = 2;
	skv_segment_begin_with(&s, &opts);
	for (i = 0; i < 6; i++) {
		pid = invite(&guest, &s);
		/* Attaching needs no context; writing does. */
		kv = skv_segment_attach(&s, 0);
		CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_int(1), NULL), -EUSERS);
		CHECK_EQ(shmkv_del(kv, KEY("guest")), -EUSERS);
		CHECK_EQ(shmkv_get_int(kv, KEY("guest"), &out_int), 0);
		CHECK_EQ(out_int, pid);
		if (i % 2) {
			CHECK_EQ(write(guest.go[1], "g", 1), 1);
			skv_test_wait_ok(pid);
		} else {
			CHECK_EQ(kill(pid, SIGKILL), 0);
			skv_test_wait_killed(pid, SIGKILL);
		}
		CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_int(i), NULL), 0);
		late = skv_segment_attach(&s, 0);
		CHECK_EQ(shmkv_put(late, KEY("k"), shmkv_int(i), NULL), -EUSERS);
		shmkv_detach(kv);
		CHECK_EQ(shmkv_put(late, KEY("k"), shmkv_int(i), NULL), 0);
		shmkv_detach(late);
	}
	skv_segment_end(&s);
}

struct crowd {
	struct shmkv *kv;
	unsigned int rounds;
	uint64_t refused;
};

static void *add_patiently(void *arg)
{
	struct crowd *crowd = arg;
	unsigned int i;
	int r;

	for (i = 0; i < crowd->rounds; i++) {
		while ((r = shmkv_incr(crowd->kv, KEY("total"), 1, 0, NULL)) == -EUSERS) {
			__atomic_fetch_add(&crowd->refused, 1, __ATOMIC_RELAXED);
			/* Reading goes on meanwhile. */
			CHECK_EQ(shmkv_get_int(crowd->kv, KEY("total"), &(int64_t){ 0 }), 0);
			usleep(1000);
		}
		CHECK_EQ(r, 0);
	}
	return NULL;
}

static void a_hundred_threads_share_eight_contexts(void)
{
	enum { N = 100 };
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct crowd crowd = { .rounds = 200 };
	struct skv_segment s;
	pthread_t thread[N];
	int64_t total;
	int i;

	opts.max_bytes = 2 * MIB;
	opts.max_threads = 8;
	skv_segment_begin_with(&s, &opts);
	crowd.kv = s.kv;
	CHECK_EQ(shmkv_put(s.kv, KEY("total"), shmkv_int(0), NULL), 0);
	for (i = 0; i < N; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, add_patiently, &crowd), 0);
	for (i = 0; i < N; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	CHECK_EQ(shmkv_get_int(s.kv, KEY("total"), &total), 0);
	CHECK_EQ(total, N * crowd.rounds);
	CHECK(skv_segment_info(s.kv).threads <= 8);
	skv_segment_end(&s);
}

#ifdef SKV_FAULT_POINTS

/* A thread that remembers a handle long gone uses others as if it did not. */
struct stale {
	struct shmkv *kv;
	pthread_barrier_t next, done;
	bool stop;
	int result;
};

static void *remember_a_handle(void *arg)
{
	struct stale *stale = arg;

	for (;;) {
		pthread_barrier_wait(&stale->next);
		if (stale->stop)
			return NULL;
		stale->result = shmkv_put(stale->kv, KEY("stale"), shmkv_int(1), NULL);
		pthread_barrier_wait(&stale->done);
	}
}

static int stale_put(struct stale *stale, struct shmkv *kv)
{
	stale->kv = kv;
	pthread_barrier_wait(&stale->next);
	pthread_barrier_wait(&stale->done);
	return stale->result;
}

static struct {
	struct stale *stale;
	struct shmkv *other;
	int result;
} inside;

static void put_by_the_other_thread(void *arg)
{
	(void)arg;
	inside.result = stale_put(inside.stale, inside.other);
}

static void call_of_one_thread_does_not_make_another_busy(void)
{
	struct shmkv *kv, *others[9];
	struct stale stale = { .stop = false };
	struct skv_segment s;
	pthread_t thread;
	size_t i, k;

	skv_segment_begin(&s, 2 * MIB);
	CHECK_EQ(pthread_barrier_init(&stale.next, NULL, 2), 0);
	CHECK_EQ(pthread_barrier_init(&stale.done, NULL, 2), 0);
	CHECK_EQ(pthread_create(&thread, NULL, remember_a_handle, &stale), 0);

	/* The other thread writes through a handle, which is then closed: its private memory
	 * serves this thread, on the next handles. */
	kv = skv_segment_attach(&s, 0);
	CHECK_EQ(stale_put(&stale, kv), 0);
	shmkv_detach(kv);
	for (i = 0; i < ARRAY_LEN(others); i++)
		others[i] = skv_segment_attach(&s, 0);
	/* While this thread is inside a call on one of them, the other one uses another, also
	 * the one that it would remember in the place of the closed handle. */
	for (i = 2; i-- > 0;) {
		for (k = 7; k >= 6; k--) {
			inside.stale = &stale;
			inside.other = others[k];
			inside.result = 1;
			skv_fault_arm(NULL, SKV_FAULT_WRITE_LINKED, 1, SKV_FAULT_CALL,
				      put_by_the_other_thread, NULL);
			CHECK_EQ(shmkv_put(others[i], KEY("k"), shmkv_int(2), NULL), 0);
			CHECK_EQ(inside.result, 0);
		}
	}
	stale.stop = true;
	pthread_barrier_wait(&stale.next);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	for (i = 0; i < ARRAY_LEN(others); i++)
		shmkv_detach(others[i]);
	skv_segment_end(&s);
}

/* ---- calls inside calls -------------------------------------------------------------- */

/* What somebody does who ignores the rule about signal handlers. */
static struct shmkv *nested_kv;
static unsigned int nested_n;

static void call_everything_inside(void *arg)
{
	struct shmkv_recovery recovery = { .size = sizeof(recovery) };
	int64_t n;

	(void)arg;
	nested_n++;
	CHECK_EQ(shmkv_put(nested_kv, KEY("nested"), shmkv_int(1), NULL), -EBUSY);
	CHECK_EQ(shmkv_add(nested_kv, KEY("nested"), shmkv_int(1), NULL), -EBUSY);
	CHECK_EQ(shmkv_replace(nested_kv, KEY("there"), shmkv_int(1), NULL), -EBUSY);
	CHECK_EQ(shmkv_cas(nested_kv, KEY("there"), 1, shmkv_int(1), NULL), -EBUSY);
	CHECK_EQ(shmkv_del(nested_kv, KEY("there")), -EBUSY);
	CHECK_EQ(shmkv_take(nested_kv, KEY("there"), out, sizeof(out), &out_len), -EBUSY);
	CHECK_EQ(shmkv_incr(nested_kv, KEY("there"), 1, 0, NULL), -EBUSY);
	CHECK_EQ(shmkv_append(nested_kv, KEY("there"), shmkv_str("x"), NULL), -EBUSY);
	CHECK_EQ(shmkv_clear(nested_kv, NULL), -EBUSY);
	CHECK_EQ(shmkv_recover(nested_kv, &recovery), -EBUSY);
	CHECK_EQ(shmkv_maintain(nested_kv), -EBUSY);
	/* Reading is another matter. */
	CHECK_EQ(shmkv_get_int(nested_kv, KEY("there"), &n), 0);
	CHECK_EQ(n, 5);
	CHECK_EQ(shmkv_exists(nested_kv, KEY("nested")), -ENOENT);
	CHECK_EQ(shmkv_count(nested_kv, &out_uint), 0);
}

static void writing_inside_a_writing_call_is_refused_wherever_it_is(void)
{
	struct skv_segment s;
	uint64_t i, key;
	int point, n_reached = 0, r;

	skv_segment_begin(&s, 2 * MIB);
	nested_kv = s.kv;
	CHECK_EQ(shmkv_put(s.kv, KEY("there"), shmkv_int(5), NULL), 0);
	for (point = 0; point < SKV_FAULT_N; point++) {
		nested_n = 0;
		skv_fault_arm(NULL, (enum skv_fault_point)point, 1, SKV_FAULT_CALL,
			      call_everything_inside, NULL);
		for (i = 0; i < 2000 && nested_n == 0; i++) {
			key = i * 7919 % 1000;
			r = i % 3 == 0 ? shmkv_del(s.kv, &key, 8) :
				       shmkv_put(s.kv, &key, 8,
						 shmkv_bin(payload, key % 10 ? key : 40000), NULL);
			CHECK(r == 0 || r == -ENOENT || r == -ENOSPC);
		}
		n_reached += nested_n > 0;
		skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	}
	/* Enough of them to mean something: create, join and recovery are not in here. */
	CHECK(n_reached >= 20);
	CHECK_EQ(shmkv_put(s.kv, KEY("nested"), shmkv_int(1), NULL), 0);
	skv_segment_end(&s);
}

static void use_other_handles(void *arg)
{
	struct skv_segment *s = arg;

	nested_n++;
	CHECK_EQ(shmkv_put(s[0].kv, KEY("inner"), shmkv_int(1), NULL), -EBUSY);
	CHECK_EQ(shmkv_put(inside.other, KEY("inner"), shmkv_int(1), NULL), 0);
	CHECK_EQ(shmkv_put(s[1].kv, KEY("inner"), shmkv_int(1), NULL), 0);
	CHECK_EQ(shmkv_incr(inside.other, KEY("outer"), 1, 0, NULL), 0);
	CHECK_EQ(shmkv_del(inside.other, KEY("inner")), 0);
}

static void other_handle_works_inside_a_call(void)
{
	static const enum skv_fault_point points[] = {
		SKV_FAULT_WRITE_CLAIMED, SKV_FAULT_WRITE_COMPLETE, SKV_FAULT_WRITE_OLD,
		SKV_FAULT_WRITE_LINKED,	 SKV_FAULT_WRITE_SETTLED,
	};
	struct skv_segment s[2];
	int64_t n;
	size_t i;

	/* Another segment, and another handle on the same one. */
	skv_segment_begin(&s[0], 2 * MIB);
	skv_segment_begin(&s[1], 2 * MIB);
	inside.other = skv_segment_attach(&s[0], 0);
	nested_n = 0;
	CHECK_EQ(shmkv_put(s[0].kv, KEY("outer"), shmkv_int(0), NULL), 0);
	for (i = 0; i < ARRAY_LEN(points); i++) {
		skv_fault_arm(NULL, points[i], 1, SKV_FAULT_CALL, use_other_handles, s);
		/* In the middle of one increment another one happens: none is lost. */
		CHECK_EQ(shmkv_incr(s[0].kv, KEY("outer"), 1, 0, NULL), 0);
		CHECK_EQ(nested_n, i + 1);
		CHECK_EQ(shmkv_get_int(s[0].kv, KEY("outer"), &n), 0);
		CHECK_EQ(n, 2 * (i + 1));
	}
	shmkv_detach(inside.other);
	skv_segment_end(&s[1]);
	skv_segment_end(&s[0]);
}

#endif

static struct {
	struct shmkv *kv;
	volatile unsigned int done, busy;
} storm;

static void on_alarm(int sig)
{
	int saved = errno, r;

	(void)sig;
	r = shmkv_incr(storm.kv, KEY("alarms"), 1, 0, NULL);
	if (r == 0)
		storm.done++;
	else if (r == -EBUSY)
		storm.busy++;
	else
		skv_test_fail(__FILE__, __LINE__, "in a signal handler: %s", shmkv_errname(r));
	errno = saved;
}

static void signals_during_calls_lose_and_break_nothing(void)
{
	const struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	uint64_t end = skv_now_ms() + 700, key, n = 0;
	struct skv_segment s;
	int64_t alarms;
	int r;

	skv_segment_begin(&s, 2 * MIB);
	storm.kv = s.kv;
	CHECK_EQ(shmkv_put(s.kv, KEY("alarms"), shmkv_int(0), NULL), 0);
	CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (skv_now_ms() < end) {
		key = n++ * 7919 % 3000;
		r = n % 3 ? shmkv_put(s.kv, &key, 8, shmkv_bin(payload, key % 300), NULL) :
			    shmkv_del(s.kv, &key, 8);
		CHECK(r == 0 || r == -ENOENT || r == -ENOSPC);
	}
	CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
	CHECK(storm.done > 0);
	CHECK_EQ(shmkv_get_int(s.kv, KEY("alarms"), &alarms), 0);
	CHECK_EQ(alarms, storm.done);
	skv_segment_end(&s);
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_participants[] = {
	/* hazard 22 */
	{ "participants", "too many processes are refused until one goes",
	  too_many_processes_are_refused_until_one_goes, 20 },
	/* hazard 22 */
	{ "participants", "too many threads are refused until one ends",
	  too_many_threads_are_refused_until_one_ends, 20 },
	{ "participants", "contexts of the dead go to whoever needs them",
	  contexts_of_the_dead_go_to_whoever_needs_them, 20 },
	/* hazard 22 */
	{ "participants", "a hundred threads share eight contexts",
	  a_hundred_threads_share_eight_contexts, 60 },
#ifdef SKV_FAULT_POINTS
	{ "participants", "a call of one thread does not make another busy",
	  call_of_one_thread_does_not_make_another_busy, 20 },
	{ "nested", "writing inside a writing call is refused wherever it is",
	  writing_inside_a_writing_call_is_refused_wherever_it_is, 60 },
	{ "nested", "another handle works inside a call", other_handle_works_inside_a_call, 10 },
#endif
	{ "nested", "signals during calls lose and break nothing",
	  signals_during_calls_lose_and_break_nothing, 20 },
	{ 0 },
};

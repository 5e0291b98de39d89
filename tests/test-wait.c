/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "api/handle.h"
#include "base/fault.h"
#include "shm/index.h"
#include "shm/wait.h"

#include <shmkv/expiry.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-wait: nobody sleeps through a change, and nobody runs without one. With fault points
 * compiled in slices last an hour unless a test is about them: a wake-up that is lost then
 * hangs its test instead of hiding behind the next look.
 */

#define HOUR_NS ((uint64_t)3600 * 1000000000u)

static void slices_last(uint64_t ns)
{
#ifdef SKV_FAULT_POINTS
	skv_wait_slice_ns = ns;
#else
	(void)ns;
#endif
}

static void begin(struct skv_segment *s)
{
	slices_last(HOUR_NS);
	skv_segment_begin(s, 2 * MIB);
}

static struct skv_map *map_of(struct shmkv *kv)
{
	return kv->map;
}

static uint64_t token_of(struct shmkv *kv, const char *key)
{
	uint64_t token;
	int r = shmkv_wait(kv, KEY(key), 0, 0, &token);

	CHECK(r == 0 || r == -ETIMEDOUT);
	return r == 0 ? token : 0;
}

static uint64_t state_of(struct shmkv *kv)
{
	uint64_t state;

	CHECK_EQ(shmkv_state(kv, &state), 0);
	return state;
}

static void put(struct shmkv *kv, const char *key, int64_t n)
{
	CHECK_EQ(shmkv_put(kv, KEY(key), shmkv_int(n), NULL), 0);
}

/* ---- processes that wait -------------------------------------------------------------- */

/* Shared with the one that waits. */
struct report {
	int begun, done, r;
	uint64_t state;
#ifdef SKV_FAULT_POINTS
	struct skv_fault_plan plan;
	enum skv_fault_point point;
	enum skv_fault_action action;
#endif
};

struct sleeper {
	const struct skv_segment *s;
	const char *key; /* NULL: any change */
	uint64_t seen, deadline_ns;
	unsigned int flags;
	struct report *report;
	pid_t pid;
};

static void sleep_until_changed(void *arg)
{
	struct sleeper *sl = arg;
	struct shmkv *kv = skv_segment_attach(sl->s, sl->flags);

#ifdef SKV_FAULT_POINTS
	skv_fault_arm(&sl->report->plan, sl->report->action ? sl->report->point : SKV_FAULT_N, 1,
		      sl->report->action, NULL, NULL);
#endif
	__atomic_store_n(&sl->report->begun, 1, __ATOMIC_SEQ_CST);
	if (sl->key)
		sl->report->r = shmkv_wait(kv, KEY(sl->key), sl->seen, sl->deadline_ns,
					   &sl->report->state);
	else
		sl->report->r = shmkv_wait_any(kv, sl->seen, sl->deadline_ns, &sl->report->state);
	__atomic_store_n(&sl->report->done, 1, __ATOMIC_SEQ_CST);
	shmkv_detach(kv);
}

static void sleeper_start(struct sleeper *sl, const struct skv_segment *s, const char *key,
			  unsigned int flags)
{
	sl->s = s;
	sl->key = key;
	sl->flags = flags;
	sl->seen = key ? token_of(s->kv, key) : state_of(s->kv);
	sl->deadline_ns = SHMKV_NO_DEADLINE;
	if (!sl->report)
		sl->report = skv_shared(sizeof(*sl->report));
	sl->pid = skv_fork(sleep_until_changed, sl);
}

static char state_letter(pid_t pid)
{
	char path[64], text[256], *end;
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return '?';
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = '\0';
	end = strrchr(text, ')');
	return end && end[1] ? end[2] : '?';
}

/* It has begun and sleeps: nothing else that it does blocks. */
static void sleeper_sleeps(const struct sleeper *sl)
{
	while (!__atomic_load_n(&sl->report->begun, __ATOMIC_SEQ_CST) ||
	       state_letter(sl->pid) != 'S')
		sched_yield();
	CHECK(!__atomic_load_n(&sl->report->done, __ATOMIC_SEQ_CST));
}

/* It ends by itself, with a state that is not what it had seen. */
static void sleeper_wakes(struct sleeper *sl)
{
	skv_test_wait_ok(sl->pid);
	CHECK_EQ(sl->report->r, 0);
	CHECK(sl->report->state != sl->seen);
	memset(sl->report, 0, sizeof(*sl->report));
}

static void sleeper_begin(struct sleeper *sl, const struct skv_segment *s, const char *key,
			  unsigned int flags)
{
	sleeper_start(sl, s, key, flags);
	sleeper_sleeps(sl);
}

/* ---- answers -------------------------------------------------------------------------- */

static void wait_answers_at_once_when_the_state_is_another(void)
{
	struct skv_segment s;
	uint64_t token, now = 77, state;

	begin(&s);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 5, SHMKV_NO_DEADLINE, &now), 0);
	CHECK_EQ(now, 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_int(1), &token), 0);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 0, SHMKV_NO_DEADLINE, &now), 0);
	CHECK_EQ(now, token);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), token + 1, 0, NULL), 0);
	CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), token, 0, &now), 0);
	CHECK_EQ(now, 0);
	state = state_of(s.kv);
	CHECK_EQ(shmkv_wait_any(s.kv, state - 1, SHMKV_NO_DEADLINE, &now), 0);
	CHECK_EQ(now, state);
	CHECK_EQ(shmkv_wait_any(s.kv, state - 1, 0, NULL), 0);
	skv_segment_end(&s);
}

static void deadline_that_is_over_makes_one_look(void)
{
	struct skv_segment s;
	uint64_t token = 77;

	begin(&s);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 0, 0, &token), -ETIMEDOUT);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 0, 1, &token), -ETIMEDOUT);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 0, shmkv_deadline_in(0), &token), -ETIMEDOUT);
	CHECK_EQ(shmkv_wait_any(s.kv, state_of(s.kv), 0, &token), -ETIMEDOUT);
	CHECK_EQ(token, 77);
	/* No flag was set for it. */
	CHECK_EQ(skv_super(map_of(s.kv))->wait_any, 0);
	skv_segment_end(&s);
}

static void deadline_is_never_early(void)
{
	struct skv_segment s;
	struct shmkv *reader;
	uint64_t deadline;
	int i;

	begin(&s);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	for (i = 0; i < 20; i++) {
		deadline = shmkv_deadline_in((uint64_t)i);
		CHECK_EQ(shmkv_wait(i & 1 ? reader : s.kv, KEY("k"), 0, deadline, NULL), -ETIMEDOUT);
		CHECK(shmkv_deadline_in(0) >= deadline);
		deadline = shmkv_deadline_in((uint64_t)i);
		CHECK_EQ(shmkv_wait_any(i & 1 ? reader : s.kv, state_of(s.kv), deadline, NULL),
			 -ETIMEDOUT);
		CHECK(shmkv_deadline_in(0) >= deadline);
	}
	CHECK_EQ(shmkv_deadline_in(UINT64_MAX), SHMKV_NO_DEADLINE);
	CHECK_EQ(shmkv_deadline_in(UINT64_MAX / 1000000), SHMKV_NO_DEADLINE);
	shmkv_detach(reader);
	skv_segment_end(&s);
}

/* ---- every change wakes --------------------------------------------------------------- */

static uint8_t buf[256];

static int do_put(struct shmkv *kv) { return shmkv_put(kv, KEY("k"), shmkv_int(1), NULL); }
static int do_add(struct shmkv *kv) { return shmkv_add(kv, KEY("k"), shmkv_int(1), NULL); }
static int do_replace(struct shmkv *kv) { return shmkv_replace(kv, KEY("k"), shmkv_int(2), NULL); }
static int do_same(struct shmkv *kv) { return shmkv_put(kv, KEY("k"), shmkv_int(2), NULL); }
static int do_incr(struct shmkv *kv) { return shmkv_incr(kv, KEY("k"), 1, 0, NULL); }
static int do_incr_0(struct shmkv *kv) { return shmkv_incr(kv, KEY("k"), 0, 0, NULL); }
static int do_append(struct shmkv *kv) { return shmkv_append(kv, KEY("k"), shmkv_str("x"), NULL); }
static int do_del(struct shmkv *kv) { return shmkv_del(kv, KEY("k")); }
static int do_clear(struct shmkv *kv) { return shmkv_clear(kv, NULL); }

static int do_take(struct shmkv *kv)
{
	size_t len;

	return shmkv_take(kv, KEY("k"), buf, sizeof(buf), &len);
}

static int do_cas(struct shmkv *kv)
{
	return shmkv_cas(kv, KEY("k"), token_of(kv, "k"), shmkv_str("y"), NULL);
}

/* In this order each of them changes the key. */
static const struct {
	const char *name;
	int (*fn)(struct shmkv *kv);
} changes[] = {
	{ "put", do_put },	   { "replace", do_replace }, { "put of the same", do_same },
	{ "incr", do_incr },	   { "incr by 0", do_incr_0 }, { "cas", do_cas },
	{ "append", do_append },   { "del", do_del },	       { "add", do_add },
	{ "take", do_take },	   { "incr of none", do_incr }, { "clear", do_clear },
	{ "append to none", do_append },
};

static void every_change_wakes(unsigned int flags)
{
	struct sleeper key = { .report = NULL }, any = { .report = NULL };
	struct skv_segment s;
	struct shmkv *writer;
	size_t i;

	begin(&s);
	writer = skv_segment_attach(&s, 0);
	for (i = 0; i < ARRAY_LEN(changes); i++) {
		sleeper_begin(&key, &s, "k", flags);
		sleeper_begin(&any, &s, NULL, flags);
		if (changes[i].fn(i & 1 ? writer : s.kv) != 0)
			skv_test_fail(__FILE__, __LINE__, "%s failed", changes[i].name);
		sleeper_wakes(&key);
		sleeper_wakes(&any);
	}
	shmkv_detach(writer);
	skv_segment_end(&s);
}

static void whatever_changes_a_key_wakes_who_waits_for_it(void)
{
	every_change_wakes(0);
}

static void who_waits_read_only_notices_every_change(void)
{
	every_change_wakes(SHMKV_READ_ONLY);
}

/* What changes nothing changes no state. */
static void calls_that_change_nothing_leave_the_state(void)
{
	struct skv_segment s;
	struct shmkv *reader;
	uint64_t state, token, removed;

	begin(&s);
	CHECK_EQ(shmkv_clear(s.kv, &removed), 0);
	put(s.kv, "k", 1);
	state = state_of(s.kv);
	token = token_of(s.kv, "k");
	CHECK_EQ(shmkv_add(s.kv, KEY("k"), shmkv_int(2), NULL), -EEXIST);
	CHECK_EQ(shmkv_cas(s.kv, KEY("k"), token + 1, shmkv_int(2), NULL), -ESTALE);
	CHECK_EQ(shmkv_replace(s.kv, KEY("none"), shmkv_int(2), NULL), -ENOENT);
	CHECK_EQ(shmkv_del(s.kv, KEY("none")), -ENOENT);
	CHECK_EQ(shmkv_append(s.kv, KEY("k"), shmkv_str("x"), NULL), -EPROTOTYPE);
	CHECK_EQ(shmkv_maintain(s.kv), 0);
	CHECK_EQ(state_of(s.kv), state);
	CHECK_EQ(token_of(s.kv, "k"), token);
	/* Everybody has the same. */
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(state_of(reader), state);
	put(s.kv, "k", 1);
	CHECK(state_of(s.kv) != state);
	CHECK_EQ(state_of(reader), state_of(s.kv));
	shmkv_detach(reader);
	skv_segment_end(&s);
}

static void read_only_waiter_writes_nothing(void)
{
	struct sleeper sl = { .report = NULL };
	struct skv_segment s;
	char path[256];
	uint64_t digest;

	begin(&s);
	put(s.kv, "other", 1);
	skv_segment_file(s.name, path);
	digest = skv_file_digest(path);
	sleeper_begin(&sl, &s, "k", SHMKV_READ_ONLY);
	CHECK_EQ(skv_file_digest(path), digest);
	put(s.kv, "k", 1);
	sleeper_wakes(&sl);
	CHECK_EQ(skv_super(map_of(s.kv))->wait_any, 0);
	skv_segment_end(&s);
}

/* Also one for whom no thread slot is left, and on a map that has no name any more. */
static void waiting_needs_no_place_and_no_name(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct sleeper sl = { .report = NULL };
	struct skv_segment s;

	slices_last(HOUR_NS);
	opts.max_bytes = 2 * MIB;
	opts.max_threads = 1;
	skv_segment_begin_with(&s, &opts);
	put(s.kv, "k", 1);
	sleeper_begin(&sl, &s, "k", 0);
	CHECK_EQ(shmkv_unlink(s.name), 0);
	put(s.kv, "k", 2);
	sleeper_wakes(&sl);
	skv_segment_check(s.kv);
	shmkv_detach(s.kv);
}

/* ---- words ---------------------------------------------------------------------------- */

static uint32_t word_number(struct shmkv *kv, const char *key)
{
	struct skv_map *map = map_of(kv);

	return (uint32_t)(skv_place_of_hash(skv_hash(&map->hash, key, strlen(key))).bits %
			  SKV_WAIT_WORDS);
}

/* Another key with the same word, or with another one. */
static void find_key(struct shmkv *kv, const char *key, bool same, char ret_key[32])
{
	uint32_t word = word_number(kv, key);
	unsigned int i;

	for (i = 0;; i++) {
		snprintf(ret_key, 32, "other-%u", i);
		if ((word_number(kv, ret_key) == word) == same)
			return;
	}
}

static unsigned int n_flags(struct shmkv *kv)
{
	struct skv_map *map = map_of(kv);
	unsigned int i, n = skv_super(map)->wait_any & SKV_WAIT_WAITERS;

	for (i = 0; i < SKV_WAIT_WORDS; i++)
		n += skv_load_relaxed_32(skv_wait_words(map) + i) & SKV_WAIT_WAITERS;
	return n;
}

static void change_of_a_neighbour_wakes_nobody_for_good(void)
{
	struct sleeper sl = { .report = NULL };
	char same[32], other[32];
	struct skv_segment s;
	int i;

	begin(&s);
	put(s.kv, "k", 1);
	find_key(s.kv, "k", true, same);
	find_key(s.kv, "k", false, other);
	sleeper_begin(&sl, &s, "k", 0);
	for (i = 0; i < 200; i++) {
		put(s.kv, same, i);
		put(s.kv, other, i);
		sleeper_sleeps(&sl);
	}
	CHECK_EQ(shmkv_del(s.kv, KEY(same)), 0);
#ifdef SKV_FAULT_POINTS
	/* One look for each change of the word at most, and none for other words. */
	CHECK(sl.report->plan.reached[SKV_FAULT_WAIT_LOOKED] >= 1);
	CHECK(sl.report->plan.reached[SKV_FAULT_WAIT_LOOKED] <= 1 + 201);
#endif
	put(s.kv, "k", 2);
	sleeper_wakes(&sl);
	skv_segment_end(&s);
}

static void flag_goes_with_the_next_change(void)
{
	struct sleeper key = { .report = NULL }, any = { .report = NULL };
	struct skv_segment s;

	begin(&s);
	CHECK_EQ(n_flags(s.kv), 0);
	sleeper_begin(&key, &s, "k", 0);
	sleeper_begin(&any, &s, NULL, 0);
	CHECK_EQ(n_flags(s.kv), 2);
	kill(key.pid, SIGKILL);
	skv_test_wait_killed(key.pid, SIGKILL);
	kill(any.pid, SIGKILL);
	skv_test_wait_killed(any.pid, SIGKILL);
	CHECK_EQ(n_flags(s.kv), 2);
	put(s.kv, "k", 1);
	CHECK_EQ(n_flags(s.kv), 0);
	skv_segment_end(&s);
}

/* ---- everybody at once ---------------------------------------------------------------- */

#define RUNNERS 6u
#define ROUNDS 400u

struct relay {
	struct skv_segment s;
	unsigned int me;
	const char *what; /* waits for: "key" or "any" */
};

static void runner_key(unsigned int n, char key[32])
{
	snprintf(key, 32, "runner-%u", n % RUNNERS);
}

/* Waits until its key says what is the next round, then passes it on. */
static void run_relay(void *arg)
{
	struct relay *relay = arg;
	struct shmkv *kv = skv_segment_attach(&relay->s, 0);
	char mine[32], next[32];
	uint64_t seen = 0, round;
	int64_t number;
	int r;

	runner_key(relay->me, mine);
	runner_key(relay->me + 1, next);
	for (round = 1; round <= ROUNDS;) {
		seen = relay->what[0] == 'k' ? token_of(kv, mine) : state_of(kv);
		r = shmkv_get_int(kv, KEY(mine), &number);
		CHECK(r == 0 || r == -ENOENT);
		if (r == 0 && number == (int64_t)round) {
			put(kv, next, (int64_t)(relay->me + 1 == RUNNERS ? round + 1 : round));
			round++;
			continue;
		}
		if (relay->what[0] == 'k')
			CHECK_EQ(shmkv_wait(kv, KEY(mine), seen, SHMKV_NO_DEADLINE, NULL), 0);
		else
			CHECK_EQ(shmkv_wait_any(kv, seen, SHMKV_NO_DEADLINE, NULL), 0);
	}
	shmkv_detach(kv);
}

static void run_a_relay(const char *what)
{
	struct relay relay = { .what = what };
	pid_t pids[RUNNERS];
	unsigned int i;

	begin(&relay.s);
	for (i = 0; i < RUNNERS; i++) {
		relay.me = i;
		pids[i] = skv_fork(run_relay, &relay);
	}
	put(relay.s.kv, "runner-0", 1);
	for (i = 0; i < RUNNERS; i++)
		skv_test_wait_ok(pids[i]);
	skv_segment_end(&relay.s);
}

static void relay_by_keys_loses_no_baton(void)
{
	run_a_relay("key");
}

static void relay_by_any_change_loses_no_baton(void)
{
	run_a_relay("any");
}

/* Some count up, some watch one counter each or all of them until all are done. */
#define COUNTERS 3u
#define COUNTED 4000
#define WRITERS 3u
#define WATCHERS 6u

struct crowd {
	struct skv_segment s;
	unsigned int me;
};

static void counter_key(unsigned int n, char key[32])
{
	snprintf(key, 32, "counter-%u", n % COUNTERS);
}

static void count_up(void *arg)
{
	struct crowd *crowd = arg;
	struct shmkv *kv = skv_segment_attach(&crowd->s, 0);
	char key[32];
	int i;

	for (i = 0; i < COUNTED; i++) {
		counter_key((unsigned int)i + crowd->me, key);
		CHECK_EQ(shmkv_incr(kv, KEY(key), 1, 0, NULL), 0);
		/* Now and then, so that the others come to sleep. */
		if (i % 64 == 63)
			usleep(100);
	}
	shmkv_detach(kv);
}

static int64_t counted(struct shmkv *kv, unsigned int n)
{
	int64_t number = 0;
	char key[32];
	int r;

	counter_key(n, key);
	r = shmkv_get_int(kv, KEY(key), &number);
	CHECK(r == 0 || r == -ENOENT);
	return r == 0 ? number : 0;
}

static void watch_counters(void *arg)
{
	struct crowd *crowd = arg;
	unsigned int n = crowd->me % (COUNTERS + 1);
	struct shmkv *kv = skv_segment_attach(&crowd->s, crowd->me == 0 ? SHMKV_READ_ONLY : 0);
	uint64_t seen = 0;
	int64_t sum = -1, old;
	unsigned int i;
	char key[32];

	counter_key(n, key);
	for (;;) {
		if (n == COUNTERS)
			seen = state_of(kv);
		old = sum;
		for (sum = 0, i = 0; i < COUNTERS; i++)
			sum += n == COUNTERS || n == i ? counted(kv, i) : 0;
		CHECK(sum >= old);
		if (sum == (n == COUNTERS ? (int64_t)WRITERS * COUNTED :
					    (int64_t)WRITERS * COUNTED / COUNTERS))
			break;
		if (n == COUNTERS)
			CHECK_EQ(shmkv_wait_any(kv, seen, SHMKV_NO_DEADLINE, NULL), 0);
		else
			CHECK_EQ(shmkv_wait(kv, KEY(key), seen, SHMKV_NO_DEADLINE, &seen), 0);
	}
	shmkv_detach(kv);
}

static void crowd_sees_the_last_change_of_every_key(void)
{
	pid_t pids[WRITERS + WATCHERS];
	struct crowd crowd;
	unsigned int i;

	_Static_assert(WRITERS == COUNTERS, "every counter gets as many");
	begin(&crowd.s);
	for (i = 0; i < WRITERS + WATCHERS; i++) {
		crowd.me = i < WATCHERS ? i : i - WATCHERS;
		pids[i] = skv_fork(i < WATCHERS ? watch_counters : count_up, &crowd);
	}
	for (i = 0; i < WRITERS + WATCHERS; i++)
		skv_test_wait_ok(pids[i]);
	skv_segment_end(&crowd.s);
}

/* ---- signals and cancelling ----------------------------------------------------------- */

static volatile sig_atomic_t n_signals;
static struct shmkv *cancelled_by_handler;

static void on_signal(int sig)
{
	(void)sig;
	n_signals++;
	if (cancelled_by_handler)
		shmkv_wait_cancel(cancelled_by_handler);
}

static void catch(int flags)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };

	CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

/* A thread that waits through the test's own handle. */
struct thread {
	struct shmkv *kv;
	const char *key;
	pthread_t id;
	pid_t tid;
	int begun, r;
};

static void *wait_in_thread(void *arg)
{
	struct thread *t = arg;

	t->tid = gettid();
	__atomic_store_n(&t->begun, 1, __ATOMIC_SEQ_CST);
	t->r = t->key ? shmkv_wait(t->kv, KEY(t->key), 0, SHMKV_NO_DEADLINE, NULL) :
			shmkv_wait_any(t->kv, state_of(t->kv), SHMKV_NO_DEADLINE, NULL);
	return NULL;
}

static void thread_begin(struct thread *t, struct shmkv *kv, const char *key)
{
	t->kv = kv;
	t->key = key;
	t->begun = 0;
	CHECK_EQ(pthread_create(&t->id, NULL, wait_in_thread, t), 0);
	while (!__atomic_load_n(&t->begun, __ATOMIC_SEQ_CST) || state_letter(t->tid) != 'S')
		sched_yield();
}

static int thread_end(struct thread *t)
{
	CHECK_EQ(pthread_join(t->id, NULL), 0);
	return t->r;
}

static void signal_ends_a_wait(void)
{
	static const int flags[] = { 0, SA_RESTART };
	struct skv_segment s;
	struct shmkv *reader;
	struct thread t;
	size_t i;

	begin(&s);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	for (i = 0; i < 4; i++) {
		catch(flags[i & 1]);
		n_signals = 0;
		thread_begin(&t, i & 2 ? reader : s.kv, "k");
		/* A reader may be looking just then; no signal is for ever. */
		while (n_signals == 0 || pthread_tryjoin_np(t.id, NULL) != 0) {
			pthread_kill(t.id, SIGUSR1);
			usleep(1000);
		}
		CHECK_EQ(t.r, -EINTR);
	}
	shmkv_detach(reader);
	skv_segment_end(&s);
}

static void stopping_and_going_on_does_not_end_a_wait(void)
{
	struct sleeper sl = { .report = NULL };
	struct skv_segment s;
	int i;

	begin(&s);
	sleeper_begin(&sl, &s, "k", 0);
	for (i = 0; i < 5; i++) {
		kill(sl.pid, SIGSTOP);
		while (state_letter(sl.pid) != 'T')
			sched_yield();
		kill(sl.pid, SIGCONT);
		sleeper_sleeps(&sl);
	}
	/* Also when the change comes while it is stopped. */
	kill(sl.pid, SIGSTOP);
	while (state_letter(sl.pid) != 'T')
		sched_yield();
	put(s.kv, "k", 1);
	kill(sl.pid, SIGCONT);
	sleeper_wakes(&sl);
	skv_segment_end(&s);
}

static void cancelling_ends_every_wait_of_the_handle(void)
{
	struct sleeper other = { .report = NULL };
	struct thread t[6], spared;
	struct skv_segment s;
	struct shmkv *second, *kv;
	unsigned int i, flags;

	begin(&s);
	second = skv_segment_attach(&s, 0);
	for (flags = 0; flags <= SHMKV_READ_ONLY; flags++) {
		kv = skv_segment_attach(&s, flags);
		sleeper_begin(&other, &s, "k", 0);
		thread_begin(&spared, second, "k");
		for (i = 0; i < 6; i++)
			thread_begin(&t[i], kv, i & 1 ? "k" : i & 2 ? NULL : "another");
		CHECK_EQ(shmkv_wait_cancel(kv), 0);
		for (i = 0; i < 6; i++)
			CHECK_EQ(thread_end(&t[i]), -ECANCELED);
		/* Until it is allowed again, also when there is a change to report. */
		CHECK_EQ(shmkv_wait(kv, KEY("k"), 0, SHMKV_NO_DEADLINE, NULL), -ECANCELED);
		CHECK_EQ(shmkv_wait(kv, KEY("k"), 1, SHMKV_NO_DEADLINE, NULL), -ECANCELED);
		CHECK_EQ(shmkv_wait_any(kv, 0, SHMKV_NO_DEADLINE, NULL), -ECANCELED);
		CHECK_EQ(shmkv_wait_cancel(kv), 0);
		CHECK_EQ(shmkv_wait_resume(kv), 0);
		CHECK_EQ(shmkv_wait_resume(kv), 0);
		CHECK_EQ(shmkv_wait(kv, KEY("k"), 0, 0, NULL), -ETIMEDOUT);
		/* Others, here and elsewhere, go on waiting. */
		sleeper_sleeps(&other);
		put(s.kv, "k", 1);
		sleeper_wakes(&other);
		CHECK_EQ(thread_end(&spared), 0);
		CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
		shmkv_detach(kv);
	}
	shmkv_detach(second);
	skv_segment_end(&s);
}

static void cancelling_and_resuming_at_once_ends_waits_too(void)
{
	struct skv_segment s;
	struct thread t[3];
	int i, n;

	begin(&s);
	for (n = 0; n < 50; n++) {
		for (i = 0; i < 3; i++)
			thread_begin(&t[i], s.kv, i ? "k" : NULL);
		CHECK_EQ(shmkv_wait_cancel(s.kv), 0);
		CHECK_EQ(shmkv_wait_resume(s.kv), 0);
		for (i = 0; i < 3; i++)
			CHECK_EQ(thread_end(&t[i]), -ECANCELED);
	}
	skv_segment_end(&s);
}

/* A handler that cancels needs no luck: whenever the signal comes, the wait ends. */
static void handler_may_cancel_at_any_moment(void)
{
	struct skv_segment s;
	uint64_t seed = skv_test_seed();
	struct itimerspec soon = { .it_value = { 0, 0 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;
	int i;

	begin(&s);
	catch(SA_RESTART);
	cancelled_by_handler = s.kv;
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	for (i = 0; i < 2000; i++) {
		soon.it_value.tv_nsec = 1 + (long)(skv_random(&seed) % 20000);
		CHECK_EQ(timer_settime(timer, 0, &soon, NULL), 0);
		/* -EINTR when it came late, then the next one ends at once. */
		while (shmkv_wait(s.kv, KEY("k"), 0, SHMKV_NO_DEADLINE, NULL) != -ECANCELED)
			;
		CHECK_EQ(shmkv_wait_resume(s.kv), 0);
	}
	timer_delete(timer);
	cancelled_by_handler = NULL;
	skv_segment_end(&s);
}

/* ---- fork ----------------------------------------------------------------------------- */

static void wait_as_the_parent(void *arg)
{
	struct skv_segment *s = arg;
	uint64_t state = 5;

	CHECK_EQ(shmkv_wait(s->kv, KEY("k"), 0, 0, &state), -ECHILD);
	CHECK_EQ(shmkv_wait_any(s->kv, 0, 0, &state), -ECHILD);
	CHECK_EQ(shmkv_state(s->kv, &state), -ECHILD);
	CHECK_EQ(shmkv_wait_cancel(s->kv), -ECHILD);
	CHECK_EQ(shmkv_wait_resume(s->kv), -ECHILD);
	CHECK_EQ(state, 5);
	s->kv = shmkv_detach(s->kv);
	s->kv = skv_segment_attach(s, 0);
	put(s->kv, "from the child", 1);
	shmkv_detach(s->kv);
}

static void child_does_not_touch_its_parents_waits(void)
{
	struct skv_segment s;
	struct thread key, any;

	begin(&s);
	thread_begin(&key, s.kv, "from the child");
	thread_begin(&any, s.kv, NULL);
	skv_test_wait_ok(skv_fork(wait_as_the_parent, &s));
	CHECK_EQ(thread_end(&key), 0);
	CHECK_EQ(thread_end(&any), 0);
	skv_segment_end(&s);
}

#ifdef SKV_FAULT_POINTS

/* ---- a deadline that nobody gave ------------------------------------------------------ */

static unsigned int n_slept;

static void count_sleeps(enum skv_fault_point point)
{
	n_slept += point == SKV_FAULT_WAIT_FLAGGED;
}

/* Its distance in nanoseconds is more than 64 bits: what is left of it must not be "now". */
static void damaged_deadline_makes_nobody_run(void)
{
	static const uint64_t expiries[] = { UINT64_MAX, UINT64_MAX / 1000000, UINT64_MAX / 1000000 + 1,
					     UINT64_MAX / 2, (uint64_t)1 << 63 };
	const struct skv_key key = { "k", 1 };
	struct skv_found found;
	struct skv_segment s;
	uint64_t token;
	size_t i;

	begin(&s);
	CHECK_EQ(shmkv_put_ttl(s.kv, "k", 1, shmkv_int(1), 1000000, &token), 0);
	CHECK_EQ(skv_index_find(map_of(s.kv), &key, &found), 0);
	skv_fault_watch(count_sleeps);
	for (i = 0; i < ARRAY_LEN(expiries); i++) {
		skv_store_relaxed(&skv_record_at(map_of(s.kv), found.off)->expiry, expiries[i]);
		n_slept = 0;
		CHECK_EQ(shmkv_wait(s.kv, "k", 1, token, shmkv_deadline_in(50), NULL), -ETIMEDOUT);
		CHECK(n_slept > 0 && n_slept < 50);
	}
	skv_fault_watch(NULL);
	CHECK_EQ(shmkv_del(s.kv, "k", 1), 0);
	skv_segment_end(&s);
}
/* ---- changes in every gap ------------------------------------------------------------- */

struct meanwhile {
	struct shmkv *kv;
	void (*fn)(struct shmkv *kv);
};

static void happen(void *arg)
{
	struct meanwhile *m = arg;

	m->fn(m->kv);
}

static void change_it(struct shmkv *kv)
{
	put(kv, "k", 1);
}

static void change_it_and_back(struct shmkv *kv)
{
	put(kv, "k", 1);
	CHECK_EQ(shmkv_del(kv, KEY("k")), 0);
}

/* The flag stands as before, but it is the flag of somebody else, who knows the change. */
static void change_it_and_wait_for_the_next(struct shmkv *kv)
{
	put(kv, "k", 1);
	CHECK_EQ(shmkv_wait(kv, KEY("k"), token_of(kv, "k"), shmkv_deadline_in(1), NULL),
		 -ETIMEDOUT);
}

static const enum skv_fault_point wait_points[] = { SKV_FAULT_WAIT_GATE, SKV_FAULT_WAIT_FLAGGED,
						    SKV_FAULT_WAIT_LOOKED };

static void change_in_any_gap_of_a_wait_is_noticed(void)
{
	struct skv_segment s;
	struct meanwhile m = { .fn = change_it };
	enum skv_fault_point point;
	uint64_t state;
	size_t i;

	begin(&s);
	m.kv = skv_segment_attach(&s, 0);
	for (i = 0; i < 2 * ARRAY_LEN(wait_points); i++) {
		m.fn = i < ARRAY_LEN(wait_points) ? change_it : change_it_and_wait_for_the_next;
		point = wait_points[i % ARRAY_LEN(wait_points)];
		skv_fault_arm(NULL, point, 1, SKV_FAULT_CALL, happen, &m);
		CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 0, SHMKV_NO_DEADLINE, NULL), 0);
		if (point != SKV_FAULT_WAIT_GATE) {
			state = state_of(s.kv);
			skv_fault_arm(NULL, point, 1, SKV_FAULT_CALL, happen, &m);
			CHECK_EQ(shmkv_wait_any(s.kv, state, SHMKV_NO_DEADLINE, NULL), 0);
		}
		CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
	}
	shmkv_detach(m.kv);
	skv_segment_end(&s);
}

static void cancelling_in_any_gap_of_a_wait_ends_it(void)
{
	struct skv_segment s;
	struct meanwhile m = { .fn = NULL };
	size_t i;

	begin(&s);
	for (i = 0; i < ARRAY_LEN(wait_points); i++) {
		m.kv = s.kv;
		m.fn = (void (*)(struct shmkv *))(void (*)(void))shmkv_wait_cancel;
		skv_fault_arm(NULL, wait_points[i], 1, SKV_FAULT_CALL, happen, &m);
		CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 0, SHMKV_NO_DEADLINE, NULL), -ECANCELED);
		CHECK_EQ(shmkv_wait_resume(s.kv), 0);
	}
	skv_segment_end(&s);
}

/* The key is as it was: it sleeps on, and is woken by what comes then. */
static void key_that_is_put_and_removed_between_two_looks_is_as_it_was(void)
{
	struct meanwhile m = { .fn = change_it_and_back };
	struct skv_segment s;
	size_t i;

	begin(&s);
	m.kv = skv_segment_attach(&s, 0);
	for (i = 0; i < ARRAY_LEN(wait_points); i++) {
		skv_fault_arm(NULL, wait_points[i], 1, SKV_FAULT_CALL, happen, &m);
		CHECK_EQ(shmkv_wait(s.kv, KEY("k"), 0, shmkv_deadline_in(20), NULL), -ETIMEDOUT);
	}
	shmkv_detach(m.kv);
	skv_segment_end(&s);
}

/* ---- deaths --------------------------------------------------------------------------- */

struct fall {
	struct skv_segment *s;
	int (*fn)(struct shmkv *kv);
	enum skv_fault_point point;
	enum skv_fault_action action;
};

static void fall(void *arg)
{
	struct fall *f = arg;
	struct shmkv *kv = skv_segment_attach(f->s, 0);

	skv_fault_arm(NULL, f->point, 1, f->action, NULL, NULL);
	CHECK_EQ(f->fn(kv), 0);
	shmkv_detach(kv);
}

/* Everywhere behind the change where it may not have told anybody. */
static const struct {
	int (*fn)(struct shmkv *kv);
	enum skv_fault_point point;
} falls[] = {
	{ do_put, SKV_FAULT_WRITE_LINKED },	 { do_put, SKV_FAULT_WAKE_FLAGGED },
	{ do_put, SKV_FAULT_WAKE_CLEARED },	 { do_incr, SKV_FAULT_WRITE_LINKED },
	{ do_incr, SKV_FAULT_SETTLE_BEFORE_FREE }, { do_incr, SKV_FAULT_SETTLE_FREED },
	{ do_incr, SKV_FAULT_WRITE_SETTLED },	 { do_incr, SKV_FAULT_WAKE_FLAGGED },
	{ do_incr, SKV_FAULT_WAKE_CLEARED },	 { do_del, SKV_FAULT_REMOVE_UNLINKED },
	{ do_del, SKV_FAULT_REMOVE_SETTLED },	 { do_del, SKV_FAULT_WAKE_FLAGGED },
	{ do_del, SKV_FAULT_WAKE_CLEARED },	 { do_clear, SKV_FAULT_REMOVE_UNLINKED },
	{ do_clear, SKV_FAULT_WAKE_CLEARED },
};

static void prepare_for(struct shmkv *kv, int (*fn)(struct shmkv *kv))
{
	int r = shmkv_del(kv, KEY("k"));

	CHECK(r == 0 || r == -ENOENT);
	if (fn != do_put)
		put(kv, "k", 1);
}

/* Two who wait, and one who falls into the gap. */
struct gap {
	struct skv_segment s;
	struct sleeper key, any;
	struct fall f;
	pid_t pid;
};

static void gap_begin(struct gap *gap, size_t i, enum skv_fault_action action)
{
	prepare_for(gap->s.kv, falls[i].fn);
	sleeper_begin(&gap->key, &gap->s, "k", 0);
	sleeper_begin(&gap->any, &gap->s, NULL, 0);
	gap->f.s = &gap->s;
	gap->f.fn = falls[i].fn;
	gap->f.point = falls[i].point;
	gap->f.action = action;
	gap->pid = skv_fork(fall, &gap->f);
}

static void reaper_wakes_whom_the_dead_did_not(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct gap gap = { .pid = 0 };
	size_t i;

	begin(&gap.s);
	for (i = 0; i < ARRAY_LEN(falls); i++) {
		gap_begin(&gap, i, SKV_FAULT_KILL);
		skv_test_wait_killed(gap.pid, SIGKILL);
		CHECK_EQ(shmkv_recover(gap.s.kv, &report), 0);
		CHECK_EQ(report.processes, 1);
		sleeper_wakes(&gap.key);
		sleeper_wakes(&gap.any);
	}
	skv_segment_end(&gap.s);
}

static void slice_wakes_whom_the_dead_did_not(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct gap gap = { .pid = 0 };
	size_t i;

	begin(&gap.s);
	slices_last(50000000);
	for (i = 0; i < ARRAY_LEN(falls); i++) {
		gap_begin(&gap, i, SKV_FAULT_KILL);
		skv_test_wait_killed(gap.pid, SIGKILL);
		sleeper_wakes(&gap.key);
		/* A change that the dead one did not count shows when somebody recovers it. */
		CHECK_EQ(shmkv_recover(gap.s.kv, &report), 0);
		sleeper_wakes(&gap.any);
	}
	skv_segment_end(&gap.s);
}

static void slice_wakes_whom_the_stopped_did_not(void)
{
	struct gap gap = { .pid = 0 };
	size_t i;
	int status;

	begin(&gap.s);
	slices_last(50000000);
	for (i = 0; i < ARRAY_LEN(falls); i++) {
		gap_begin(&gap, i, SKV_FAULT_STOP);
		CHECK_EQ(waitpid(gap.pid, &status, WUNTRACED), gap.pid);
		CHECK(WIFSTOPPED(status));
		sleeper_wakes(&gap.key);
		kill(gap.pid, SIGCONT);
		skv_test_wait_ok(gap.pid);
		sleeper_wakes(&gap.any);
	}
	skv_segment_end(&gap.s);
}

/* While one stands behind the flag that it took away, others are woken by others. */
static void stopped_changer_delays_only_whom_nobody_else_wakes(void)
{
	struct sleeper late = { .report = NULL };
	struct gap gap = { .pid = 0 };
	int status;
	size_t i;

	begin(&gap.s);
	for (i = 0; i < ARRAY_LEN(falls); i++) {
		if (falls[i].fn == do_clear)
			continue;
		gap_begin(&gap, i, SKV_FAULT_STOP);
		CHECK_EQ(waitpid(gap.pid, &status, WUNTRACED), gap.pid);
		CHECK(WIFSTOPPED(status));
		sleeper_begin(&late, &gap.s, "k", 0);
		CHECK_EQ(shmkv_put(gap.s.kv, KEY("k"), shmkv_int(7), NULL), 0);
		sleeper_wakes(&late);
		sleeper_wakes(&gap.key);
		sleeper_wakes(&gap.any);
		kill(gap.pid, SIGCONT);
		skv_test_wait_ok(gap.pid);
	}
	skv_segment_end(&gap.s);
}

/* A waiter stops or dies in each of its gaps; it delays nobody, and wakes up to the truth. */
static void waiter_may_stop_or_die_in_every_gap(void)
{
	struct sleeper victim = { .report = NULL }, other = { .report = NULL };
	struct skv_segment s;
	size_t i;
	int status;

	begin(&s);
	for (i = 0; i < 2 * ARRAY_LEN(wait_points); i++) {
		victim.report = skv_shared(sizeof(*victim.report));
		victim.report->point = wait_points[i / 2];
		victim.report->action = i & 1 ? SKV_FAULT_KILL : SKV_FAULT_STOP;
		sleeper_start(&victim, &s, "k", 0);
		CHECK_EQ(waitpid(victim.pid, &status, WUNTRACED), victim.pid);
		CHECK(i & 1 ? WIFSIGNALED(status) : WIFSTOPPED(status));
		sleeper_begin(&other, &s, "k", 0);
		put(s.kv, "k", (int64_t)i);
		sleeper_wakes(&other);
		if (!(i & 1)) {
			kill(victim.pid, SIGCONT);
			sleeper_wakes(&victim);
		}
	}
	put(s.kv, "k", 1);
	CHECK_EQ(n_flags(s.kv), 0);
	skv_segment_end(&s);
}

/* ---- nobody waits --------------------------------------------------------------------- */

static void change_that_nobody_waits_for_wakes_nobody(void)
{
	struct skv_fault_plan *plan = skv_shared(sizeof(*plan));
	struct sleeper sl = { .report = NULL };
	struct skv_segment s;
	int i;

	begin(&s);
	sleeper_begin(&sl, &s, "k", 0);
	put(s.kv, "k", 1);
	sleeper_wakes(&sl);
	skv_fault_arm(plan, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	for (i = 0; i < 1000; i++)
		put(s.kv, "k", i);
	CHECK_EQ(plan->reached[SKV_FAULT_WAKE_FLAGGED], 0);
	skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	skv_segment_end(&s);
}

/* It sleeps once, however much goes on elsewhere. */
static void who_waits_does_not_run(void)
{
	struct sleeper sl = { .report = NULL };
	struct skv_segment s;
	char key[32];
	int i;

	begin(&s);
	sleeper_begin(&sl, &s, "k", 0);
	find_key(s.kv, "k", false, key);
	for (i = 0; i < 20000; i++)
		put(s.kv, key, i);
	CHECK_EQ(sl.report->plan.reached[SKV_FAULT_WAIT_LOOKED], 1);
	put(s.kv, "k", 1);
	skv_test_wait_ok(sl.pid);
	CHECK_EQ(sl.report->plan.reached[SKV_FAULT_WAIT_LOOKED], 1);
	skv_segment_end(&s);
}
#endif

/* ---- table ---------------------------------------------------------------------------- */

const struct skv_test skv_tests_wait[] = {
	{ "wait", "answers at once when the state is another",
	  wait_answers_at_once_when_the_state_is_another, 10 },
	{ "wait", "a deadline that is over makes one look", deadline_that_is_over_makes_one_look, 10 },
	{ "wait", "a deadline is never early", deadline_is_never_early, 10 },
	{ "wait", "whatever changes a key wakes who waits for it",
	  whatever_changes_a_key_wakes_who_waits_for_it, 20 },
	{ "wait", "who waits read-only notices every change",
	  who_waits_read_only_notices_every_change, 20 },
	{ "wait", "calls that change nothing leave the state",
	  calls_that_change_nothing_leave_the_state, 10 },
	{ "wait", "a read-only waiter writes nothing", read_only_waiter_writes_nothing, 10 },
	{ "wait", "waiting needs no place and no name", waiting_needs_no_place_and_no_name, 10 },
	{ "wait", "a change of a neighbour wakes nobody for good",
	  change_of_a_neighbour_wakes_nobody_for_good, 20 },
	{ "wait", "a flag goes with the next change", flag_goes_with_the_next_change, 10 },
	{ "wait", "a relay by keys loses no baton", relay_by_keys_loses_no_baton, 60 },
	{ "wait", "a relay by any change loses no baton", relay_by_any_change_loses_no_baton, 60 },
	{ "wait", "a crowd sees the last change of every key",
	  crowd_sees_the_last_change_of_every_key, 60 },
	/* hazard 31 */
	{ "wait", "a signal ends a wait", signal_ends_a_wait, 20 },
	{ "wait", "stopping and going on does not end a wait",
	  stopping_and_going_on_does_not_end_a_wait, 10 },
	{ "wait", "cancelling ends every wait of the handle", cancelling_ends_every_wait_of_the_handle,
	  20 },
	{ "wait", "cancelling and resuming at once ends waits too",
	  cancelling_and_resuming_at_once_ends_waits_too, 20 },
	{ "wait", "a handler may cancel at any moment", handler_may_cancel_at_any_moment, 30 },
	{ "wait", "a child does not touch its parent's waits", child_does_not_touch_its_parents_waits,
	  10 },
#ifdef SKV_FAULT_POINTS
	{ "wait", "a damaged deadline makes nobody run", damaged_deadline_makes_nobody_run, 10 },
	{ "wait", "a change in any gap of a wait is noticed", change_in_any_gap_of_a_wait_is_noticed,
	  10 },
	{ "wait", "cancelling in any gap of a wait ends it", cancelling_in_any_gap_of_a_wait_ends_it,
	  10 },
	{ "wait", "a key that is put and removed between two looks is as it was",
	  key_that_is_put_and_removed_between_two_looks_is_as_it_was, 10 },
	/* hazard 29 */
	{ "wait", "the reaper wakes whom the dead did not", reaper_wakes_whom_the_dead_did_not, 30 },
	/* hazard 29 */
	{ "wait", "a slice wakes whom the dead did not", slice_wakes_whom_the_dead_did_not, 30 },
	{ "wait", "a slice wakes whom the stopped did not", slice_wakes_whom_the_stopped_did_not, 30 },
	{ "wait", "a stopped changer delays only whom nobody else wakes",
	  stopped_changer_delays_only_whom_nobody_else_wakes, 30 },
	{ "wait", "a waiter may stop or die in every gap", waiter_may_stop_or_die_in_every_gap, 20 },
	{ "wait", "a change that nobody waits for wakes nobody",
	  change_that_nobody_waits_for_wakes_nobody, 10 },
	{ "wait", "who waits does not run", who_waits_does_not_run, 10 },
#endif
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "api/handle.h"
#include "base/fault.h"
#include "shm/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* test-poll: a descriptor is readable when something has changed, and quiet when not. */

static int open_poll(struct shmkv *kv)
{
	int fd = -1;

	CHECK_EQ(shmkv_poll_open(kv, &fd), 0);
	CHECK(fd >= 0);
	return fd;
}

/* The ring is in the descriptor before the call that rings has returned. */
static bool is_readable(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	int r = poll(&ready, 1, 0);

	CHECK(r >= 0);
	return r == 1;
}

static void put(struct shmkv *kv, const char *key, int64_t n)
{
	CHECK_EQ(shmkv_put(kv, KEY(key), shmkv_int(n), NULL), 0);
}

/* Arms the descriptor: nothing has changed since @seen. */
static void arm(struct shmkv *kv, int fd, const char *key, uint64_t seen)
{
	uint64_t state = 77;

	CHECK_EQ(key ? shmkv_poll(kv, fd, KEY(key), seen, &state) :
		       shmkv_poll_any(kv, fd, seen, &state),
		 -ETIMEDOUT);
	CHECK_EQ(state, 77);
	CHECK(!is_readable(fd));
}

/* Something has changed: what is it now? */
static uint64_t changed(struct shmkv *kv, int fd, const char *key, uint64_t seen)
{
	uint64_t state = seen;

	CHECK(is_readable(fd));
	CHECK_EQ(key ? shmkv_poll(kv, fd, KEY(key), seen, &state) :
		       shmkv_poll_any(kv, fd, seen, &state),
		 0);
	CHECK(state != seen);
	CHECK(!is_readable(fd));
	return state;
}

static uint64_t state_of(struct shmkv *kv)
{
	uint64_t state;

	CHECK_EQ(shmkv_state(kv, &state), 0);
	return state;
}

/* ---- answers -------------------------------------------------------------------------- */

static void descriptor_is_quiet_until_something_changes(void)
{
	uint64_t token = 0, state, other;
	struct skv_segment s;
	int fd, i;

	skv_segment_begin(&s, 2 * MIB);
	fd = open_poll(s.kv);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	for (i = 0; i < 50; i++) {
		arm(s.kv, fd, "k", token);
		/* Twice is as good as once. */
		arm(s.kv, fd, "k", token);
		put(s.kv, "k", i);
		other = changed(s.kv, fd, "k", token);
		CHECK(other != token);
		token = other;
		state = state_of(s.kv);
		arm(s.kv, fd, NULL, state);
		CHECK_EQ(shmkv_incr(s.kv, KEY("counter"), 1, 0, NULL), 0);
		changed(s.kv, fd, NULL, state);
	}
	CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
	/* Not armed: a change before the call is found without any ring. */
	CHECK_EQ(shmkv_poll(s.kv, fd, KEY("k"), token, &other), 0);
	CHECK_EQ(other, 0);
	close(fd);
	skv_segment_end(&s);
}

static void what_cannot_be_polled_is_refused(void)
{
	struct rlimit limit, none;
	struct skv_segment s;
	struct shmkv *reader;
	uint64_t state = 77;
	int fd = -7, ends[2];

	skv_segment_begin(&s, 2 * MIB);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(shmkv_poll_open(reader, &fd), -EOPNOTSUPP);
	CHECK_EQ(shmkv_poll(reader, fd, KEY("k"), 0, &state), -EOPNOTSUPP);
	CHECK_EQ(shmkv_poll_any(reader, fd, 0, &state), -EOPNOTSUPP);
	CHECK_EQ(shmkv_poll_open(s.kv, NULL), -EINVAL);
	CHECK_EQ(shmkv_poll(s.kv, -1, KEY("k"), 1, &state), -EINVAL);
	CHECK_EQ(shmkv_poll_any(s.kv, 4000, 1, &state), -EINVAL);
	/* One that would block, and one that has come to its end. */
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(shmkv_poll(s.kv, ends[0], KEY("k"), 1, &state), -EINVAL);
	CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	close(ends[1]);
	CHECK_EQ(shmkv_poll(s.kv, ends[0], KEY("k"), 1, &state), -EINVAL);
	close(ends[0]);
	fd = open_poll(s.kv);
	CHECK_EQ(shmkv_poll(s.kv, fd, "k", 0, 1, &state), -EMSGSIZE);
	CHECK_EQ(shmkv_poll(s.kv, fd, NULL, 1, 1, &state), -EINVAL);
	close(fd);

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	fd = -7;
	CHECK_EQ(shmkv_poll_open(s.kv, &fd), -EMFILE);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	CHECK_EQ(fd, -7);
	CHECK_EQ(state, 77);
	/* None of it left a flag. */
	CHECK_EQ(skv_super(((struct skv_map *)s.kv->map))->wait_any, 0);
	shmkv_detach(reader);
	skv_segment_end(&s);
}

static void change_of_another_word_rings_nobody(void)
{
	struct skv_segment s;
	struct skv_map *map;
	uint64_t word, other;
	char key[32];
	int fd, i;

	skv_segment_begin(&s, 2 * MIB);
	map = s.kv->map;
	fd = open_poll(s.kv);
	word = skv_place_of_hash(skv_hash(&map->hash, "k", 1)).bits % SKV_WAIT_WORDS;
	arm(s.kv, fd, "k", 0);
	for (i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "other-%d", i);
		other = skv_place_of_hash(skv_hash(&map->hash, key, strlen(key))).bits;
		if (other % SKV_WAIT_WORDS == word)
			continue;
		put(s.kv, key, i);
		CHECK(!is_readable(fd));
	}
	put(s.kv, "k", 1);
	changed(s.kv, fd, "k", 0);
	close(fd);
	skv_segment_end(&s);
}

/* ---- others --------------------------------------------------------------------------- */

static void change_it(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);

	put(kv, "k", 1);
	shmkv_detach(kv);
}

/* As a daemon does: the library's descriptors are gone, the name is not. */
static void change_it_without_descriptors(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);

	closefrom(3);
	put(kv, "k", 2);
	shmkv_detach(kv);
}

static void change_in_another_process_rings(void)
{
	struct skv_segment s;
	uint64_t token;
	int fds[3], i;

	skv_segment_begin(&s, 2 * MIB);
	for (i = 0; i < 3; i++)
		fds[i] = open_poll(s.kv);
	arm(s.kv, fds[0], "k", 0);
	arm(s.kv, fds[1], NULL, state_of(s.kv));
	arm(s.kv, fds[2], "k", 0);
	skv_test_wait_ok(skv_fork(change_it, &s));
	/* All of them are told, whatever they wait for, and each by its own descriptor. */
	token = changed(s.kv, fds[0], "k", 0);
	CHECK(is_readable(fds[1]));
	CHECK_EQ(changed(s.kv, fds[2], "k", 0), token);
	arm(s.kv, fds[0], "k", token);
	skv_test_wait_ok(skv_fork(change_it_without_descriptors, &s));
	changed(s.kv, fds[0], "k", token);
	for (i = 0; i < 3; i++)
		close(fds[i]);
	skv_segment_end(&s);
}

static void map_without_a_name_can_be_polled(void)
{
	struct skv_segment s;
	struct shmkv *kv;
	int fd;

	skv_segment_begin(&s, 2 * MIB);
	kv = skv_segment_attach(&s, 0);
	CHECK_EQ(shmkv_unlink(s.name), 0);
	fd = open_poll(s.kv);
	arm(s.kv, fd, "k", 0);
	put(kv, "k", 1);
	changed(s.kv, fd, "k", 0);
	close(fd);
	shmkv_detach(kv);
	skv_segment_check(s.kv);
	shmkv_detach(s.kv);
}

/* Says in a loop of its own what the newest number is, and is told of each by poll(2) only. */
#define NUMBERS 2000

struct pair {
	struct skv_segment s;
	const char *key; /* NULL: any change */
};

static void follow(void *arg)
{
	struct pair *pair = arg;
	struct shmkv *kv = skv_segment_attach(&pair->s, 0);
	struct pollfd ready = { .fd = open_poll(kv), .events = POLLIN };
	uint64_t seen = pair->key ? 0 : state_of(kv);
	int64_t number = 0;
	int r;

	while (number < NUMBERS) {
		r = pair->key ? shmkv_poll(kv, ready.fd, KEY(pair->key), seen, &seen) :
				shmkv_poll_any(kv, ready.fd, seen, &seen);
		CHECK(r == 0 || r == -ETIMEDOUT);
		if (r == -ETIMEDOUT)
			CHECK_EQ(poll(&ready, 1, -1), 1);
		r = shmkv_get_int(kv, KEY("n"), &number);
		CHECK(r == 0 || r == -ENOENT);
	}
	close(ready.fd);
	shmkv_detach(kv);
}

static void followers_see_the_last_number(void)
{
	struct pair pair = { .key = "n" };
	pid_t pids[4];
	int i;

	skv_segment_begin(&pair.s, 2 * MIB);
	for (i = 0; i < 4; i++) {
		pair.key = i & 1 ? "n" : NULL;
		pids[i] = skv_fork(follow, &pair);
	}
	for (i = 1; i <= NUMBERS; i++) {
		put(pair.s.kv, "n", i);
		if (i % 16 == 0)
			usleep(50);
	}
	for (i = 0; i < 4; i++)
		skv_test_wait_ok(pids[i]);
	skv_segment_end(&pair.s);
}

#ifdef SKV_FAULT_POINTS
/* ---- gaps ----------------------------------------------------------------------------- */

static void put_one(void *arg)
{
	put(arg, "k", 1);
}

static void change_in_the_gap_of_a_poll_is_found(void)
{
	struct skv_segment s;
	struct shmkv *kv;
	uint64_t state;
	int fd;

	skv_segment_begin(&s, 2 * MIB);
	kv = skv_segment_attach(&s, 0);
	fd = open_poll(s.kv);
	skv_fault_arm(NULL, SKV_FAULT_POLL_FLAGGED, 1, SKV_FAULT_CALL, put_one, kv);
	CHECK_EQ(shmkv_poll(s.kv, fd, KEY("k"), 0, NULL), 0);
	state = state_of(s.kv);
	skv_fault_arm(NULL, SKV_FAULT_POLL_FLAGGED, 1, SKV_FAULT_CALL, put_one, kv);
	CHECK_EQ(shmkv_poll_any(s.kv, fd, state, NULL), 0);
	close(fd);
	shmkv_detach(kv);
	skv_segment_end(&s);
}

/* At most one system call for each time that somebody says he polls. */
static void one_ring_for_each_arming(void)
{
	struct skv_fault_plan *plan = skv_shared(sizeof(*plan));
	struct skv_segment s;
	uint64_t seen = 0;
	int fd, i, k;

	skv_segment_begin(&s, 2 * MIB);
	fd = open_poll(s.kv);
	skv_fault_arm(plan, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	for (i = 1; i <= 10; i++) {
		arm(s.kv, fd, "k", seen);
		for (k = 0; k < 100; k++)
			put(s.kv, "k", k);
		CHECK_EQ(plan->reached[SKV_FAULT_WAKE_RUNG], i);
		seen = changed(s.kv, fd, "k", seen);
	}
	close(fd);
	/* Nobody polls: one more, for the flag of the one who has gone. */
	arm(s.kv, fd = open_poll(s.kv), "k", seen);
	close(fd);
	for (k = 0; k < 100; k++)
		put(s.kv, "k", k);
	CHECK_EQ(plan->reached[SKV_FAULT_WAKE_RUNG], 11);
	skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	skv_segment_end(&s);
}

struct fall {
	struct skv_segment *s;
	enum skv_fault_point point;
	enum skv_fault_action action;
};

static void fall(void *arg)
{
	struct fall *f = arg;
	struct shmkv *kv = skv_segment_attach(f->s, 0);

	skv_fault_arm(NULL, f->point, 1, f->action, NULL, NULL);
	put(kv, "k", 1);
	shmkv_detach(kv);
}

static pid_t fall_at(struct skv_segment *s, enum skv_fault_point point,
		     enum skv_fault_action action)
{
	struct fall f = { s, point, action };
	pid_t pid = skv_fork(fall, &f);
	int status;

	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(action == SKV_FAULT_KILL ? WIFSIGNALED(status) : WIFSTOPPED(status));
	return pid;
}

/* Before the ring: who stops or dies there leaves it to the next change, or to the reaper. */
static void next_change_rings_for_who_did_not(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct skv_segment s;
	uint64_t token;
	pid_t pid;
	int fd;

	skv_segment_begin(&s, 2 * MIB);
	fd = open_poll(s.kv);

	arm(s.kv, fd, "k", 0);
	pid = fall_at(&s, SKV_FAULT_WAKE_FLAGGED, SKV_FAULT_STOP);
	CHECK(!is_readable(fd));
	put(s.kv, "k", 2);
	token = changed(s.kv, fd, "k", 0);
	kill(pid, SIGCONT);
	skv_test_wait_ok(pid);

	arm(s.kv, fd, "k", token);
	fall_at(&s, SKV_FAULT_WAKE_FLAGGED, SKV_FAULT_KILL);
	CHECK(!is_readable(fd));
	put(s.kv, "k", 3);
	token = changed(s.kv, fd, "k", token);

	/* Whoever attaches recovers the dead, and rings for them. */
	CHECK_EQ(shmkv_recover(s.kv, &report), 0);
	arm(s.kv, fd, "k", token);
	fall_at(&s, SKV_FAULT_WRITE_LINKED, SKV_FAULT_KILL);
	CHECK(!is_readable(fd));
	CHECK_EQ(shmkv_recover(s.kv, &report), 0);
	changed(s.kv, fd, "k", token);
	close(fd);
	skv_segment_end(&s);
}

/* Behind the ring: the flag that it wakes up to take away may be another one by then. */
static void late_clearer_leaves_a_new_flag_alone(void)
{
	struct skv_segment s;
	uint64_t token;
	pid_t pid;
	int fd;

	skv_segment_begin(&s, 2 * MIB);
	fd = open_poll(s.kv);
	arm(s.kv, fd, "k", 0);
	pid = fall_at(&s, SKV_FAULT_WAKE_RUNG, SKV_FAULT_STOP);
	token = changed(s.kv, fd, "k", 0);
	arm(s.kv, fd, "k", token);
	kill(pid, SIGCONT);
	skv_test_wait_ok(pid);
	CHECK(!is_readable(fd));
	put(s.kv, "k", 2);
	token = changed(s.kv, fd, "k", token);
	/* Dead there: the ring has been heard, the flag costs one more. */
	arm(s.kv, fd, "k", token);
	fall_at(&s, SKV_FAULT_WAKE_RUNG, SKV_FAULT_KILL);
	token = changed(s.kv, fd, "k", token);
	arm(s.kv, fd, "k", token);
	put(s.kv, "k", 3);
	changed(s.kv, fd, "k", token);
	close(fd);
	skv_segment_end(&s);
}
#endif

/* ---- table ---------------------------------------------------------------------------- */

const struct skv_test skv_tests_poll[] = {
	{ "poll", "a descriptor is quiet until something changes",
	  descriptor_is_quiet_until_something_changes, 10 },
	{ "poll", "what cannot be polled is refused", what_cannot_be_polled_is_refused, 10 },
	{ "poll", "a change of another word rings nobody", change_of_another_word_rings_nobody, 10 },
	{ "poll", "a change in another process rings", change_in_another_process_rings, 10 },
	{ "poll", "a map without a name can be polled", map_without_a_name_can_be_polled, 10 },
	{ "poll", "followers see the last number", followers_see_the_last_number, 30 },
#ifdef SKV_FAULT_POINTS
	{ "poll", "a change in the gap of a poll is found", change_in_the_gap_of_a_poll_is_found, 10 },
	{ "poll", "one ring for each arming", one_ring_for_each_arming, 10 },
	{ "poll", "the next change rings for who did not", next_change_rings_for_who_did_not, 10 },
	{ "poll", "a late clearer leaves a new flag alone", late_clearer_leaves_a_new_flag_alone, 10 },
#endif
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "shm/class.h"
#include "shm/layout.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-store: the engine as a whole, on real segments: that memory comes back in every size,
 * and that nothing is lost, doubled or made up while several processes work on one key.
 */

/* ---- helpers --------------------------------------------------------------------- */

#define PAYLOAD_MAX ((size_t)1 << 20)

static uint8_t payload[PAYLOAD_MAX];

static void put_u64(struct shmkv *kv, uint64_t key, size_t len)
{
	CHECK_EQ(shmkv_put(kv, &key, sizeof(key), shmkv_bin(payload, len), NULL), 0);
}

static void del_u64(struct shmkv *kv, uint64_t key)
{
	CHECK_EQ(shmkv_del(kv, &key, sizeof(key)), 0);
}

/* Stores values of one size under 0, 1, .. until the map is full; returns how many. */
static uint64_t fill_up(struct shmkv *kv, size_t len)
{
	uint64_t i;
	int r;

	for (i = 0; i < 10000000; i++) {
		r = shmkv_add(kv, &i, sizeof(i), shmkv_bin(payload, len), NULL);
		if (r == -ENOSPC)
			return i;
		CHECK_EQ(r, 0);
	}
	skv_test_fail(__FILE__, __LINE__, "ten million values of %zu bytes fit", len);
}

/* ---- memory comes back -------------------------------------------------------------- */

static void freed_slabs_serve_every_other_class(void)
{
	static const size_t lens[] = { 0, 1000, 8, 500, 100, 0, 900, 30 };
	struct skv_segment s;
	uint64_t n, i, round, other, refused;
	size_t k;
	int r;

	skv_segment_begin(&s, 2 * MIB);
	for (k = 0; k < ARRAY_LEN(lens); k++) {
		n = fill_up(s.kv, lens[k]);
		/* Frees and takes while it is full, so that hints of this class come into use
		 * on top of what the last class left. */
		for (round = 0; round < 3; round++) {
			for (i = round; i < n; i += 3)
				del_u64(s.kv, i);
			for (i = round; i < n; i += 3)
				put_u64(s.kv, i, lens[k]);
		}
		CHECK_EQ(skv_segment_check(s.kv).keys, n);
		/* All go and others come: leaves are compacted in the full map. A new key may meet
		 * a leaf that is full, and no memory for a second one. */
		for (i = 0, refused = 0; i < n; i++) {
			other = i + ((uint64_t)1 << 32);
			del_u64(s.kv, i);
			r = shmkv_put(s.kv, &other, sizeof(other), shmkv_bin(payload, lens[k]),
				      NULL);
			CHECK(r == 0 || r == -ENOSPC);
			refused += r < 0;
		}
#ifdef SKV_TINY
		CHECK(refused < n / 4);
#else
		CHECK(refused < n / 50);
#endif
		CHECK_EQ(skv_segment_check(s.kv).keys, n - refused);
		CHECK_EQ(shmkv_clear(s.kv, &i), 0);
		CHECK_EQ(i, n - refused);
		skv_segment_check(s.kv);
	}
	skv_segment_end(&s);
}

static void no_room_is_not_said_while_another_handle_has_freed_some(void)
{
	struct skv_segment s;
	struct shmkv *other;
	uint64_t n, m, i, splits;
	int r;

	skv_segment_begin(&s, 2 * MIB);
	other = skv_segment_attach(&s, 0);
	put_u64(s.kv, UINT64_MAX, 200 * KIB);
	n = fill_up(s.kv, 100);
	/* Chunks come back, so memory is not low any more, and blocks that are freed now are
	 * known to the handle that freed them only. */
	del_u64(s.kv, UINT64_MAX);
	for (i = 0; i < 50; i++)
		del_u64(other, i);
	for (m = n;; m++) {
		r = shmkv_add(s.kv, &m, sizeof(m), shmkv_bin(payload, 100), NULL);
		if (r == -ENOSPC)
			break;
		CHECK_EQ(r, 0);
	}
	/* What was refused to one is refused to the other. But if the first lacked a leaf, and its block
	 * was the only one of a slab, the other may have a block elsewhere and make that slab a leaf. */
	splits = skv_segment_info(s.kv).splits;
	r = shmkv_add(other, &m, sizeof(m), shmkv_bin(payload, 100), NULL);
	CHECK(r == -ENOSPC || (r == 0 && skv_segment_info(s.kv).splits > splits));
	CHECK(shmkv_detach(other) == NULL);
	skv_segment_end(&s);
}

static uint64_t unused_bytes(struct shmkv *kv)
{
	struct shmkv_info info = skv_segment_info(kv);

	/* What is free, and what was not even taken from the system. */
	return info.free_bytes + (info.max_bytes - info.reserved_bytes);
}

static void memory_of_large_values_comes_back(void)
{
	static const size_t lens[] = { 48, 17, 33, 1, 60, 5 };
	uint8_t *large = skv_alloc(64 * MIB), *got = skv_alloc(64 * MIB + 16);
	struct shmkv_value v;
	struct skv_segment s;
	uint64_t unused = 0, token, round;
	size_t i, len, expected;

	skv_segment_begin(&s, 160 * MIB);
	CHECK_EQ(shmkv_put(s.kv, KEY("large"), shmkv_bin(large, 1), NULL), 0);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_LEN(lens); i++) {
			len = lens[i] * MIB + i;
			skv_fill(large, len, i);
			CHECK_EQ(shmkv_put(s.kv, KEY("large"), shmkv_bin(large, len), &token), 0);
			v = shmkv_bin(large, len);
			CHECK_EQ(shmkv_cas(s.kv, KEY("large"), token, v, NULL), 0);
			v = shmkv_bin("tail", 4);
			CHECK_EQ(shmkv_append(s.kv, KEY("large"), v, &expected), 0);
			CHECK_EQ(expected, len + 4);
			CHECK_EQ(shmkv_get_bin(s.kv, KEY("large"), got, 64 * MIB + 16, &len), 0);
			CHECK_EQ(len, expected);
			CHECK(memcmp(got, large, len - 4) == 0);
			CHECK_MEM(got + len - 4, 4, "tail", 4);
			/* One value and nothing of the others. */
			CHECK(skv_segment_info(s.kv).run_bytes < len + 64 * KIB);
		}
		CHECK_EQ(shmkv_put(s.kv, KEY("large"), shmkv_bin(large, 1), NULL), 0);
		CHECK_EQ(skv_segment_info(s.kv).run_bytes, 0);
		/* The first round makes the tables grow. */
		if (round > 0)
			CHECK_EQ(unused_bytes(s.kv), unused);
		unused = unused_bytes(s.kv);
	}
	/* Two of them and a third do not fit; the second is still whole. */
	CHECK_EQ(shmkv_put(s.kv, KEY("a"), shmkv_bin(large, 60 * MIB), NULL), 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("b"), shmkv_bin(large, 60 * MIB), NULL), 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("c"), shmkv_bin(large, 60 * MIB), NULL), -ENOSPC);
	CHECK_EQ(shmkv_get_bin(s.kv, KEY("b"), got, 64 * MIB, &len), 0);
	CHECK(len == 60 * MIB && memcmp(got, large, len) == 0);
	CHECK_EQ(shmkv_del(s.kv, KEY("a")), 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("c"), shmkv_bin(large, 60 * MIB), NULL), 0);
	free(large);
	free(got);
	skv_segment_end(&s);
}

#ifndef SKV_TINY

static void what_one_size_left_takes_any_other(void)
{
	static const size_t lens[] = { 8, 30000, 100, 300000, 4000, 40, 12000, 1500, 0, 60000 };
	uint64_t n, alone;
	struct skv_segment s, fresh;
	size_t i;

	skv_segment_begin(&s, 8 * MIB);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		skv_segment_begin(&fresh, 8 * MIB);
		alone = fill_up(fresh.kv, lens[i]);
		skv_segment_end(&fresh);

		n = fill_up(s.kv, lens[i]);
		CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
		/* Leaves stay leaves: what small keys took for the index is not given back. Of
		 * the rest at least 85 in a hundred serve again, whatever the size. */
		if (n * 100 < (alone - alone * skv_segment_info(s.kv).leaf_bytes / (8 * MIB)) * 85)
			skv_test_fail(__FILE__, __LINE__,
				      "only %llu of %llu values of %zu bytes fit after others",
				      (unsigned long long)n, (unsigned long long)alone, lens[i]);
	}
	skv_segment_end(&s);
}

#endif

/* ---- a long history ------------------------------------------------------------------- */

#define CHURN_KEYS 2000u

struct churn_entry {
	bool present;
	size_t len;
	uint64_t salt;
};

static size_t churn_len(uint64_t r)
{
	/* Every size as likely as half of it: a few large ones among many small. */
	return (r >> 8) % ((size_t)1 << (r % 17)) + (r & 1);
}

static void mixed_sizes_come_and_go_as_a_model_says(void)
{
	struct churn_entry *model = skv_alloc(CHURN_KEYS * sizeof(*model)), *e;
	uint8_t *value = skv_alloc(1 << 17), *got = skv_alloc(1 << 17);
	uint64_t state = skv_test_seed(), i, r, key, count = 0, refused = 0, steps = 60000;
	struct skv_segment s;
	size_t len;
	int code;

	skv_segment_begin(&s, 8 * MIB);
	for (i = 0; i < steps; i++) {
		r = skv_random(&state);
		key = r % CHURN_KEYS;
		e = &model[key];
		r = skv_random(&state);
		switch (r >> 60) {
		case 0:
		case 1:
		case 2:
		case 3:
		case 4:
			code = shmkv_del(s.kv, &key, 8);
			CHECK_EQ(code, e->present ? 0 : -ENOENT);
			count -= e->present;
			e->present = false;
			break;
		case 5:
		case 6:
			code = shmkv_get_bin(s.kv, &key, 8, got, 1 << 17, &len);
			CHECK_EQ(code, e->present ? 0 : -ENOENT);
			if (code == 0) {
				skv_fill(value, e->len, e->salt);
				CHECK_MEM(got, len, value, e->len);
			}
			break;
		default:
			len = churn_len(r);
			skv_fill(value, len, i);
			code = shmkv_put(s.kv, &key, 8, shmkv_bin(value, len), NULL);
			if (code == -ENOSPC) {
				refused++;
				break;
			}
			CHECK_EQ(code, 0);
			count += !e->present;
			*e = (struct churn_entry){ true, len, i };
			break;
		}
		if (i % 10000 == 0)
			CHECK_EQ(skv_segment_check(s.kv).keys, count);
	}
	CHECK(refused < steps / 2);
	for (key = 0; key < CHURN_KEYS; key++) {
		e = &model[key];
		code = shmkv_get_bin(s.kv, &key, 8, got, 1 << 17, &len);
		CHECK_EQ(code, e->present ? 0 : -ENOENT);
		if (code == 0) {
			skv_fill(value, e->len, e->salt);
			CHECK_MEM(got, len, value, e->len);
		}
	}
	free(model);
	free(value);
	free(got);
	skv_segment_end(&s);
}

/* ---- while others write ------------------------------------------------------------ */

static void grow_until_full(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);
	unsigned int round;

	for (round = 0; round < 2; round++) {
		fill_up(kv, 30);
		CHECK_EQ(shmkv_clear(kv, NULL), 0);
	}
}

struct walk {
	uint64_t next; /* where the next chunk can begin at the earliest */
	uint64_t bytes;
};

/* Chunks come in order, and none twice. */
static int follow(const struct shmkv_layout_item *item, void *arg)
{
	struct walk *walk = arg;

	if (item->part != SHMKV_PART_CHUNK)
		return 0;
	CHECK(item->offset >= walk->next && item->bytes > 0);
	/* A span may have become chunks meanwhile, so the next one may lie within. */
	walk->next = item->offset + 16 * KIB;
	walk->bytes += item->bytes;
	return 0;
}

static void check_and_layout_are_safe_while_a_map_grows(void)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct skv_segment s;
	struct shmkv_info info;
	unsigned int n = 0;
	struct walk walk;
	int status, r;
	pid_t pid;

	skv_segment_begin(&s, 16 * MIB);
	pid = skv_fork(grow_until_full, &s);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		r = shmkv_check(s.kv, NULL, NULL, &audit);
		CHECK(r == 0 || r == -EBADMSG);
		walk = (struct walk){ 0 };
		CHECK_EQ(shmkv_layout(s.kv, follow, &walk), 0);
		n++;
	}
	CHECK_EQ(status, 0);
	/* At rest every chunk is told once. */
	walk = (struct walk){ 0 };
	CHECK_EQ(shmkv_layout(s.kv, follow, &walk), 0);
	info = skv_segment_info(s.kv);
	CHECK_EQ(walk.bytes, info.reserved_bytes - info.table_bytes);
	CHECK_EQ(walk.bytes, info.leaf_bytes + info.slab_bytes + info.run_bytes + info.free_bytes);
	CHECK(n > 2);
	skv_segment_end(&s);
}

struct hot {
	struct skv_segment s;
	size_t len;
	unsigned int rounds;
};

static void put_hot_key(void *arg)
{
	struct hot *hot = arg;
	struct shmkv *kv = skv_segment_attach(&hot->s, 0);
	unsigned int i;

	for (i = 0; i < hot->rounds; i++) {
		put_u64(kv, i % 3, hot->len);
		if (i % 5 == 0) {
			int r = shmkv_del(kv, &(uint64_t){ i % 3 }, 8);

			CHECK(r == 0 || r == -ENOENT);
		}
	}
	CHECK(shmkv_detach(kv) == NULL);
}

static void large_values_of_a_hot_key_leave_no_memory_behind(void)
{
	struct hot hot = { .len = 100 * KIB, .rounds = 3000 };
	pid_t pid[4];
	size_t i;

	skv_segment_begin(&hot.s, 8 * MIB);
	for (i = 0; i < ARRAY_LEN(pid); i++)
		pid[i] = skv_fork(put_hot_key, &hot);
	for (i = 0; i < ARRAY_LEN(pid); i++)
		skv_test_wait_ok(pid[i]);
	/* Nobody died: everything is accounted for without a recovery. */
	skv_segment_check(hot.s.kv);
	CHECK_EQ(shmkv_clear(hot.s.kv, NULL), 0);
	CHECK_EQ(skv_segment_info(hot.s.kv).run_bytes, 0);
	skv_segment_end(&hot.s);
}

/* ---- one key, many processes --------------------------------------------------------- */

#define PROCS 4u

/* What the processes of one test share, besides the segment. */
struct team {
	struct skv_segment s;
	struct team_shared {
		pthread_barrier_t start, done;
		unsigned int winners[2];
		uint64_t n, sum;
		int stop;
		uint8_t seen[100000];
	} *shared;
	uint64_t rounds, seed;
	unsigned int me;
};

static void team_begin(struct team *team, uint64_t max_bytes)
{
	pthread_barrierattr_t attr;

	memset(team, 0, sizeof(*team));
	skv_segment_begin(&team->s, max_bytes);
	team->shared = skv_shared(sizeof(*team->shared));
	CHECK_EQ(pthread_barrierattr_init(&attr), 0);
	CHECK_EQ(pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
	CHECK_EQ(pthread_barrier_init(&team->shared->start, &attr, PROCS), 0);
	CHECK_EQ(pthread_barrier_init(&team->shared->done, &attr, PROCS), 0);
}

/* Runs @fn in every member of the team at once and waits for all. */
static void team_run(struct team *team, void (*fn)(struct team *team, struct shmkv *kv))
{
	pid_t pid[PROCS];

	for (team->me = 0; team->me < PROCS; team->me++) {
		fflush(NULL);
		pid[team->me] = fork();
		CHECK(pid[team->me] >= 0);
		if (pid[team->me] == 0) {
			struct shmkv *kv = skv_segment_attach(&team->s, 0);

			fn(team, kv);
			CHECK(shmkv_detach(kv) == NULL);
			_exit(0);
		}
	}
	for (team->me = 0; team->me < PROCS; team->me++)
		skv_test_wait_ok(pid[team->me]);
}

static void add_to_one(struct team *team, struct shmkv *kv)
{
	int64_t n, last = INT64_MIN;
	uint64_t i;

	for (i = 0; i < team->rounds; i++) {
		CHECK_EQ(shmkv_incr(kv, KEY("n"), (int64_t)team->me + 1, 0, &n), 0);
		/* It only rises. */
		CHECK(n > last);
		last = n;
	}
}

static void increments_of_one_key_are_all_counted(void)
{
	struct team team;
	int64_t n;

	team_begin(&team, 2 * MIB);
	team.rounds = 30000;
	team_run(&team, add_to_one);
	CHECK_EQ(shmkv_get_int(team.s.kv, KEY("n"), &n), 0);
	CHECK_EQ(n, team.rounds * (1 + 2 + 3 + 4));
	CHECK_EQ(skv_segment_count(team.s.kv), 1);
	skv_segment_end(&team.s);
}

static void count_with_cas(struct team *team, struct shmkv *kv)
{
	struct shmkv_value value;
	uint64_t i, token;
	int r;

	for (i = 0; i < team->rounds; i++) {
		do {
			CHECK_EQ(shmkv_get(kv, KEY("n"), NULL, 0, &value, &token), 0);
			r = shmkv_cas(kv, KEY("n"), token, shmkv_int(value.i64 + 1), NULL);
			CHECK(r == 0 || r == -ESTALE);
		} while (r < 0);
	}
}

static void counters_made_of_cas_lose_nothing(void)
{
	struct team team;
	int64_t n;

	team_begin(&team, 2 * MIB);
	team.rounds = 10000;
	CHECK_EQ(shmkv_put(team.s.kv, KEY("n"), shmkv_int(0), NULL), 0);
	team_run(&team, count_with_cas);
	CHECK_EQ(shmkv_get_int(team.s.kv, KEY("n"), &n), 0);
	CHECK_EQ(n, team.rounds * PROCS);
	skv_segment_end(&team.s);
}

static void race_for_one(struct team *team, struct shmkv *kv)
{
	struct team_shared *shared = team->shared;
	struct shmkv_audit audit;
	uint64_t i, key;
	size_t len;
	int r;

	for (i = 0; i < team->rounds; i++) {
		/* A few keys take turns, so that leaves are rebuilt on the way. */
		key = i % 5;
		pthread_barrier_wait(&shared->start);
		r = shmkv_add(kv, &key, 8, shmkv_bin(payload, i % 300), NULL);
		CHECK(r == 0 || r == -EEXIST);
		__atomic_fetch_add(&shared->winners[0], r == 0, __ATOMIC_SEQ_CST);
		pthread_barrier_wait(&shared->done);
		if (team->me == 0) {
			CHECK_EQ(shared->winners[0], 1);
			if (i % 100 == 0) {
				audit = skv_segment_check(kv);
				CHECK_EQ(audit.keys, 1);
			}
			shared->winners[0] = 0;
		}
		CHECK_EQ(shmkv_exists(kv, &key, 8), 0);

		pthread_barrier_wait(&shared->start);
		if (i % 2)
			r = shmkv_del(kv, &key, 8);
		else
			r = shmkv_take(kv, &key, 8, payload, sizeof(payload), &len);
		CHECK(r == 0 || r == -ENOENT);
		__atomic_fetch_add(&shared->winners[1], r == 0, __ATOMIC_SEQ_CST);
		pthread_barrier_wait(&shared->done);
		if (team->me == 0) {
			CHECK_EQ(shared->winners[1], 1);
			if (i % 100 == 0) {
				audit = skv_segment_check(kv);
				CHECK_EQ(audit.keys, 0);
			}
			shared->winners[1] = 0;
		}
		CHECK_EQ(shmkv_exists(kv, &key, 8), -ENOENT);
	}
}

static void one_of_those_who_add_and_one_of_those_who_delete_wins(void)
{
	struct team team;

	team_begin(&team, 2 * MIB);
	team.rounds = 2000;
	team_run(&team, race_for_one);
	skv_segment_end(&team.s);
}

/* Without barriers: adds and deletes of one key may be at any point when others are. */
static void add_and_delete_freely(struct team *team, struct shmkv *kv)
{
	uint64_t i, balance = 0;
	int r;

	for (i = 0; i < team->rounds; i++) {
		r = shmkv_add(kv, KEY("k"), shmkv_bin(payload, i % 200), NULL);
		CHECK(r == 0 || r == -EEXIST);
		balance += r == 0;
		r = shmkv_del(kv, KEY("k"));
		CHECK(r == 0 || r == -ENOENT);
		balance -= r == 0;
	}
	__atomic_fetch_add(&team->shared->sum, balance, __ATOMIC_SEQ_CST);
}

static void adds_and_deletes_of_one_key_balance(void)
{
	struct team team;
	unsigned int round;

	team_begin(&team, 2 * MIB);
	team.rounds = 5000;
	for (round = 0; round < 4; round++) {
		team_run(&team, add_and_delete_freely);
		CHECK_EQ(team.shared->sum, 0);
		CHECK_EQ(skv_segment_check(team.s.kv).keys, 0);
	}
	skv_segment_end(&team.s);
}

static void give_and_take(struct team *team, struct shmkv *kv)
{
	struct team_shared *shared = team->shared;
	uint64_t key, value, n = 0;
	uint8_t buf[64];
	struct shmkv_value v;
	size_t len;
	int r;

	/* Two put numbered values under a few keys, only where there is none; two take. */
	if (team->me < 2) {
		while (n < team->rounds / 2) {
			value = n * 2 + team->me;
			key = value % 7;
			r = shmkv_add(kv, &key, 8, shmkv_uint(value), NULL);
			CHECK(r == 0 || r == -EEXIST);
			n += r == 0;
			if (r < 0)
				sched_yield();
		}
		return;
	}
	for (key = 0; __atomic_load_n(&shared->n, __ATOMIC_SEQ_CST) < team->rounds;
	     key = (key + 1) % 7) {
		r = shmkv_take(kv, &key, 8, buf, sizeof(buf), &len);
		if (r == -ENOENT) {
			sched_yield();
			continue;
		}
		CHECK_EQ(r, 0);
		CHECK_EQ(shmkv_value_decode(buf, len, &v), 0);
		CHECK(v.type == SHMKV_INT && v.u64 < team->rounds);
		CHECK_EQ(__atomic_fetch_add(&shared->seen[v.u64], 1, __ATOMIC_SEQ_CST), 0);
		__atomic_fetch_add(&shared->n, 1, __ATOMIC_SEQ_CST);
	}
}

static void every_version_is_taken_exactly_once(void)
{
	struct team team;
	uint64_t i;

	team_begin(&team, 2 * MIB);
	team.rounds = 20000;
	team_run(&team, give_and_take);
	CHECK_EQ(team.shared->n, team.rounds);
	for (i = 0; i < team.rounds; i++)
		CHECK_EQ(team.shared->seen[i], 1);
	CHECK_EQ(skv_segment_count(team.s.kv), 0);
	skv_segment_end(&team.s);
}

/* ---- scans and large reads while others write ------------------------------------------- */

#define STAYING 3000u

static void come_and_go(struct team *team, struct shmkv *kv)
{
	struct team_shared *shared = team->shared;
	uint64_t i, key, state = team->seed + team->me;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint8_t *seen;
	int r;

	if (team->me > 0) {
		while (!__atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST)) {
			key = STAYING + skv_random(&state) % 20000;
			/* Staying keys get other values, too. */
			if (skv_random(&state) % 4 == 0) {
				key = skv_random(&state) % STAYING;
				put_u64(kv, key, skv_random(&state) % 64);
			} else if (skv_random(&state) % 2) {
				r = shmkv_put(kv, &key, 8, shmkv_bin(payload, key % 100), NULL);
				CHECK(r == 0 || r == -ENOSPC);
			} else {
				r = shmkv_del(kv, &key, 8);
				CHECK(r == 0 || r == -ENOENT);
			}
		}
		return;
	}
	seen = skv_alloc(STAYING + 20000);
	for (i = 0; i < team->rounds; i++) {
		memset(seen, 0, STAYING + 20000);
		CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
		while ((r = shmkv_scan_next(scan, &entry)) == 1) {
			CHECK_EQ(entry.key_len, 8);
			memcpy(&key, entry.key, 8);
			CHECK(key < STAYING + 20000);
			/* Also what comes and goes is given once for one presence, and what a scan
			 * gave once it can give again only if it went and came: not within one
			 * stretch, so not at all, as its place does not change. */
			CHECK_EQ(seen[key], 0);
			seen[key] = 1;
		}
		CHECK_EQ(r, 0);
		shmkv_scan_end(scan);
		for (key = 0; key < STAYING; key++)
			CHECK_EQ(seen[key], 1);
	}
	free(seen);
	__atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
}

static void scans_are_right_while_others_come_and_go(void)
{
	struct team team;
	uint64_t i;

	team_begin(&team, 16 * MIB);
	team.rounds = 40;
	team.seed = skv_test_seed();
	for (i = 0; i < STAYING; i++)
		put_u64(team.s.kv, i, 10);
	team_run(&team, come_and_go);
	skv_segment_end(&team.s);
}

/* A value whose bytes all say how long it is. */
static void put_uniform(struct shmkv *kv, uint8_t *buf, size_t len)
{
	memset(buf, (int)(len % 251), len);
	CHECK_EQ(shmkv_put(kv, KEY("v"), shmkv_bin(buf, len), NULL), 0);
}

static void grow_and_shrink(struct team *team, struct shmkv *kv)
{
	struct team_shared *shared = team->shared;
	uint64_t i, state = team->seed + team->me;
	struct shmkv_value v;
	uint8_t *buf = skv_alloc(200000);
	size_t len, k;
	void *got;
	int r;

	if (team->me < 2) {
		while (!__atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST)) {
			/* Mostly small, at times larger than every slab. */
			len = (size_t)1 << skv_random(&state) % 18;
			put_uniform(kv, buf, skv_random(&state) % len + 1);
		}
	} else {
		for (i = 0; i < team->rounds; i++) {
			r = shmkv_get_alloc(kv, KEY("v"), &got, &len, NULL);
			if (r == -EAGAIN)
				continue;
			CHECK_EQ(r, 0);
			CHECK_EQ(shmkv_value_decode(got, len, &v), 0);
			CHECK_EQ(v.type, SHMKV_BIN);
			for (k = 0; k < v.len; k++)
				CHECK_EQ(((const uint8_t *)v.data)[k], v.len % 251);
			free(got);
		}
		__atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
	}
	free(buf);
}

static void large_reads_are_whole_while_the_value_grows_and_shrinks(void)
{
	struct team team;

	team_begin(&team, 16 * MIB);
	team.rounds = 5000;
	team.seed = skv_test_seed();
	put_uniform(team.s.kv, payload, 10);
	team_run(&team, grow_and_shrink);
	memset(payload, 0, sizeof(payload));
	skv_segment_end(&team.s);
}

static void write_or_clear(struct team *team, struct shmkv *kv)
{
	uint64_t i, key, removed, inserted = 0, state = team->seed + team->me;
	int r;

	for (i = 0; i < team->rounds; i++) {
		if (team->me == 0) {
			CHECK_EQ(shmkv_clear(kv, &removed), 0);
			__atomic_fetch_sub(&team->shared->sum, removed, __ATOMIC_SEQ_CST);
			continue;
		}
		for (r = 0; r < 200; r++) {
			key = skv_random(&state) % 5000;
			if (shmkv_add(kv, &key, 8, shmkv_bin(payload, key % 90), NULL) == 0)
				inserted++;
		}
	}
	__atomic_fetch_add(&team->shared->sum, inserted, __ATOMIC_SEQ_CST);
}

static void clear_removes_each_key_once_beside_writers(void)
{
	struct team team;

	team_begin(&team, 8 * MIB);
	team.rounds = 100;
	team.seed = skv_test_seed();
	team_run(&team, write_or_clear);
	/* Inserted minus removed, over all processes, is what is left. */
	CHECK_EQ(skv_segment_count(team.s.kv), team.shared->sum);
	CHECK_EQ(shmkv_clear(team.s.kv, &team.rounds), 0);
	CHECK_EQ(team.rounds, team.shared->sum);
	skv_segment_end(&team.s);
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_store[] = {
	/* hazard 20 */
	{ "memory", "freed slabs serve every other class",
	  freed_slabs_serve_every_other_class, 20 },
	{ "memory", "no room is not said while another handle has freed some",
	  no_room_is_not_said_while_another_handle_has_freed_some, 20 },
	{ "memory", "the memory of large values comes back",
	  memory_of_large_values_comes_back, 60 },
#ifndef SKV_TINY
	{ "memory", "what one size left takes any other", what_one_size_left_takes_any_other, 60 },
#endif
	/* hazard 20 */
	{ "memory", "mixed sizes come and go as a model says",
	  mixed_sizes_come_and_go_as_a_model_says, 60 },
	{ "others", "check and layout are safe while a map grows",
	  check_and_layout_are_safe_while_a_map_grows, 60 },
	{ "others", "large values of a hot key leave no memory behind",
	  large_values_of_a_hot_key_leave_no_memory_behind, 60 },
	/* hazard 23 */
	{ "one key", "increments are all counted", increments_of_one_key_are_all_counted, 60 },
	/* hazard 23 */
	{ "one key", "counters made of cas lose nothing", counters_made_of_cas_lose_nothing, 60 },
	/* hazard 1 */
	{ "one key", "one of those who add and one of those who delete wins",
	  one_of_those_who_add_and_one_of_those_who_delete_wins, 60 },
	/* hazard 1 */
	{ "one key", "adds and deletes balance", adds_and_deletes_of_one_key_balance, 60 },
	{ "one key", "every version is taken exactly once",
	  every_version_is_taken_exactly_once, 60 },
	{ "others", "scans are right while others come and go",
	  scans_are_right_while_others_come_and_go, 60 },
	/* hazard 10 */
	{ "others", "large reads are whole while the value grows and shrinks",
	  large_reads_are_whole_while_the_value_grows_and_shrinks, 60 },
	{ "others", "clear removes each key once beside writers",
	  clear_removes_each_key_once_beside_writers, 60 },
	{ 0 },
};

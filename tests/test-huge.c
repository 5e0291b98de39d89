/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include "base/fault.h"

#include <shmkv/huge.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-huge: huge pages are obtained where the kernel gives them, and whether or not, memory is
 * counted right, a full file system is an error and no signal, and a death leaves nothing.
 */

#define HUGE (2 * MIB)
#define VALUE 1000u

static const uint32_t policies[] = { SHMKV_HUGE_NEVER, SHMKV_HUGE_LAZY, SHMKV_HUGE_EAGER };

static struct shmkv_huge huge_of(struct shmkv *kv)
{
	struct shmkv_huge huge = { .size = sizeof(huge) };

	CHECK_EQ(shmkv_huge_info(kv, &huge), 0);
	return huge;
}

/* Puts keys from @first on until @n are there or there is no room; returns the next key. */
static uint64_t fill(struct shmkv *kv, uint64_t first, uint64_t n)
{
	uint8_t value[VALUE];
	uint64_t i;
	int r;

	for (i = first; i < first + n; i++) {
		skv_fill(value, sizeof(value), i);
		r = shmkv_put(kv, &i, sizeof(i), shmkv_bin(value, sizeof(value)), NULL);
		if (r == -ENOSPC)
			break;
		CHECK_EQ(r, 0);
	}
	return i;
}

static void check_values(struct shmkv *kv, uint64_t n)
{
	uint8_t want[VALUE], got[VALUE];
	size_t len;
	uint64_t i;

	for (i = 0; i < n; i++) {
		skv_fill(want, sizeof(want), i);
		CHECK_EQ(shmkv_get_bin(kv, &i, sizeof(i), got, sizeof(got), &len), 0);
		CHECK_MEM(got, len, want, sizeof(want));
	}
}

static void begin(struct skv_segment *s, uint64_t max_bytes, uint32_t policy)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;

	opts.max_bytes = max_bytes;
	opts.huge_pages = policy;
	skv_segment_begin_with(s, &opts);
}

/* Does this kernel make huge pages on demand at all? */
static bool kernel_gives_any(void)
{
	struct skv_segment s;
	struct shmkv_huge huge;

	begin(&s, 64 * MIB, SHMKV_HUGE_EAGER);
	fill(s.kv, 0, 10);
	huge = huge_of(s.kv);
	skv_segment_end(&s);
	return huge.huge_bytes > 0;
}

static void need_huge_pages(void)
{
	if (!kernel_gives_any())
		skv_test_skip("this kernel gives no huge pages for shared memory");
}

/* ---- what is obtained -------------------------------------------------------------------- */

static void policy_is_kept_and_small_maps_have_none(void)
{
	static const struct {
		uint64_t max_bytes;
		uint32_t wanted, kept;
	} rows[] = {
		{ 64 * MIB, SHMKV_HUGE_DEFAULT, SHMKV_HUGE_LAZY },
		{ 64 * MIB, SHMKV_HUGE_NEVER, SHMKV_HUGE_NEVER },
		{ 64 * MIB, SHMKV_HUGE_LAZY, SHMKV_HUGE_LAZY },
		{ 1024 * MIB, SHMKV_HUGE_EAGER, SHMKV_HUGE_EAGER },
		{ 64 * MIB - 1, SHMKV_HUGE_EAGER, SHMKV_HUGE_NEVER },
		{ 1 * MIB, SHMKV_HUGE_DEFAULT, SHMKV_HUGE_NEVER },
	};
	struct shmkv_huge older = { .size = offsetof(struct shmkv_huge, at_once), .at_once = 77 };
	struct skv_segment s;
	struct shmkv *kv;
	uint64_t left;
	size_t i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		begin(&s, rows[i].max_bytes, rows[i].wanted);
		CHECK_EQ(huge_of(s.kv).policy, rows[i].kept);
		/* From the segment, not from whoever attaches. */
		kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
		CHECK_EQ(huge_of(kv).policy, rows[i].kept);
		CHECK_EQ(shmkv_huge_collapse(kv, 0, &left), -EROFS);
		shmkv_detach(kv);
		skv_segment_end(&s);
	}

	begin(&s, 64 * MIB, SHMKV_HUGE_NEVER);
	CHECK_EQ(shmkv_huge_info(s.kv, &older), 0);
	CHECK_EQ(older.policy, SHMKV_HUGE_NEVER);
	CHECK_EQ(older.at_once, 77u);
	older.size = 4;
	CHECK_EQ(shmkv_huge_info(s.kv, &older), -EINVAL);
	CHECK_EQ(shmkv_huge_info(s.kv, NULL), -EINVAL);
	CHECK_EQ(shmkv_huge_info(NULL, &older), -EINVAL);
	older.size = sizeof(older);
	CHECK_EQ(shmkv_huge_info(NULL, &older), -EBADF);
	CHECK_EQ(shmkv_huge_collapse(NULL, 0, NULL), -EBADF);
	skv_segment_end(&s);
}

static void never_gives_none(void)
{
	struct skv_segment s;
	uint64_t left = 99;
	struct shmkv_huge huge;

	begin(&s, 64 * MIB, SHMKV_HUGE_NEVER);
	fill(s.kv, 0, 30000);
	CHECK_EQ(shmkv_maintain(s.kv), 0);
	CHECK_EQ(shmkv_huge_collapse(s.kv, UINT64_MAX, &left), 0);
	CHECK_EQ(left, 0u);
	huge = huge_of(s.kv);
	CHECK_EQ(huge.huge_bytes, 0u);
	CHECK_EQ(huge.full_bytes, 0u);
	CHECK_EQ(huge.at_once, 0u);
	skv_segment_end(&s);
}

static void lazy_pages_come_when_asked_for_and_cost_nothing(void)
{
	struct skv_segment s;
	struct shmkv_huge before, after;
	struct shmkv *reader;
	uint64_t left = 99, n, used;

	need_huge_pages();
	begin(&s, 64 * MIB, SHMKV_HUGE_LAZY);
	n = fill(s.kv, 0, 30000);
	CHECK_EQ(n, 30000u);
	before = huge_of(s.kv);
	CHECK(before.full_bytes >= 28 * MIB);
	/* No time: not one. */
	CHECK_EQ(shmkv_huge_collapse(s.kv, 0, &left), 0);
	CHECK(left > 0 && left <= before.full_bytes);

	CHECK_EQ(shmkv_huge_collapse(s.kv, UINT64_MAX, &left), 0);
	CHECK_EQ(left, 0u);
	after = huge_of(s.kv);
	CHECK_EQ(after.huge_bytes, after.full_bytes);
	CHECK_EQ(after.full_bytes, before.full_bytes);
	/* Not a byte more: what is counted as reserved is what the file takes. */
	CHECK_EQ(after.file_bytes, before.file_bytes);
	used = skv_segment_info(s.kv).reserved_bytes;
	CHECK(after.file_bytes <= used + MIB);

	/* Shared by all, also by those who could not have asked. */
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(huge_of(reader).huge_bytes, after.full_bytes);
	check_values(reader, n);
	shmkv_detach(reader);

	/* The map goes on growing behind them. */
	n = fill(s.kv, n, 20000);
	CHECK_EQ(n, 50000u);
	CHECK_EQ(shmkv_huge_collapse(s.kv, UINT64_MAX, &left), 0);
	after = huge_of(s.kv);
	CHECK_EQ(after.huge_bytes, after.full_bytes);
	CHECK(after.full_bytes >= 46 * MIB);
	check_values(s.kv, n);
	skv_segment_end(&s);
}

/* Attaching and maintaining get there too, a step at a time. */
static void lazy_pages_come_by_and_by(void)
{
	struct skv_segment s;
	struct shmkv *kv;
	struct shmkv_huge huge;
	uint64_t turns;

	need_huge_pages();
	begin(&s, 64 * MIB, SHMKV_HUGE_LAZY);
	fill(s.kv, 0, 30000);
	CHECK_EQ(huge_of(s.kv).huge_bytes, huge_of(s.kv).at_once ? huge_of(s.kv).full_bytes : 0);
	kv = skv_segment_attach(&s, 0);
	CHECK(huge_of(kv).huge_bytes > 0);
	shmkv_detach(kv);
	/* Each call does at least one. */
	for (turns = 0; turns < 30; turns++)
		CHECK_EQ(shmkv_maintain(s.kv), 0);
	huge = huge_of(s.kv);
	CHECK_EQ(huge.huge_bytes, huge.full_bytes);
	check_values(s.kv, 30000);
	skv_segment_end(&s);
}

static void eager_pages_are_there_from_the_first_put(void)
{
	struct skv_segment s;
	struct shmkv_huge huge;
	uint64_t n;

	need_huge_pages();
	begin(&s, 64 * MIB, SHMKV_HUGE_EAGER);
	n = fill(s.kv, 0, 10);
	huge = huge_of(s.kv);
	CHECK(huge.huge_bytes >= HUGE);
	CHECK_EQ(huge.huge_bytes, huge.full_bytes);
	n = fill(s.kv, n, 30000);
	huge = huge_of(s.kv);
	CHECK_EQ(huge.huge_bytes, huge.full_bytes);
	/* Whole steps at both ends, and nothing in between. */
	CHECK(huge.file_bytes <= skv_segment_info(s.kv).reserved_bytes + MIB);
	CHECK(huge.file_bytes <= n * 1150 + 2 * HUGE + 4 * MIB);
	check_values(s.kv, n);
	skv_segment_end(&s);
}

/* Nothing is refused for want of huge pages, whatever was asked for. */
static void works_where_the_system_gives_none(void)
{
	struct shmkv_huge huge;
	struct skv_segment s;
	struct shmkv *kv;
	uint64_t left;
	size_t i;

	/* No huge page for this process from here on, also not on demand. */
	CHECK_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	for (i = 0; i < ARRAY_LEN(policies); i++) {
		begin(&s, 64 * MIB, policies[i]);
		CHECK_EQ(fill(s.kv, 0, 30000), 30000u);
		CHECK_EQ(shmkv_huge_collapse(s.kv, UINT64_MAX, &left), 0);
		CHECK_EQ(shmkv_maintain(s.kv), 0);
		huge = huge_of(s.kv);
		CHECK_EQ(huge.policy, policies[i]);
		CHECK_EQ(huge.huge_bytes, 0u);
		/* A try is not counted as done: where there are some again, they are made. */
		CHECK_EQ(left, huge.full_bytes);
		CHECK(huge.file_bytes <= skv_segment_info(s.kv).reserved_bytes + MIB);
		kv = skv_segment_attach(&s, 0);
		CHECK_EQ(fill(kv, 30000, 1000), 31000u);
		shmkv_detach(kv);
		kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
		CHECK_EQ(huge_of(kv).huge_bytes, 0u);
		check_values(kv, 31000);
		shmkv_detach(kv);
		skv_segment_end(&s);
	}
}

/* ---- full --------------------------------------------------------------------------------- */

/* Steps of 2 MiB do not make the map smaller than the others are. */
static void full_map_holds_as_much_with_every_policy(void)
{
	uint64_t n[ARRAY_LEN(policies)], left;
	struct skv_segment s;
	uint8_t *large = skv_alloc(40 * MIB);
	size_t i;

	memset(large, 5, 40 * MIB);
	for (i = 0; i < ARRAY_LEN(policies); i++) {
		begin(&s, 64 * MIB, policies[i]);
		n[i] = fill(s.kv, 0, 1000000);
		CHECK(n[i] < 1000000);
		CHECK_EQ(shmkv_huge_collapse(s.kv, UINT64_MAX, &left), 0);
		CHECK_EQ(left, 0u);
		check_values(s.kv, n[i]);
		CHECK(huge_of(s.kv).file_bytes <= 64 * MIB + MIB);
		/* And is empty again afterwards, in one piece. */
		CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
		CHECK_EQ(shmkv_put(s.kv, KEY("large"), shmkv_bin(large, 40 * MIB), NULL), 0);
		skv_segment_end(&s);
	}
	CHECK(n[1] >= n[0] - n[0] / 100);
	CHECK(n[2] >= n[0] - n[0] / 100);
	free(large);
}

/* A small tmpfs of this test's own, which ends with the process. */
static void enter_tmpfs(const char *options)
{
	static char dir[] = "/tmp/shmkv-huge-XXXXXX";

	CHECK(mkdtemp(dir) != NULL);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, options) < 0) {
		rmdir(dir);
		skv_test_skip("no mount namespace, or no such mount option, for this user");
	}
	CHECK_EQ(setenv("SHMKV_DIR", dir, 1), 0);
}

static void fill_file_system(const char *options, bool at_once)
{
	struct shmkv_huge huge;
	struct skv_segment s;
	uint64_t n, left;
	size_t i;

	enter_tmpfs(options);
	for (i = 0; i < ARRAY_LEN(policies); i++) {
		begin(&s, 256 * MIB, policies[i]);
		n = fill(s.kv, 0, 1000000);
		/* Not much is wasted: 37 MiB hold at least so many. */
		CHECK(n > 24000 && n < 40000);
		CHECK_EQ(shmkv_huge_collapse(s.kv, UINT64_MAX, &left), 0);
		CHECK_EQ(shmkv_maintain(s.kv), 0);
		huge = huge_of(s.kv);
		CHECK(huge.file_bytes <= 37 * MIB);
		CHECK_EQ(huge.at_once, at_once && policies[i] != SHMKV_HUGE_NEVER);
		check_values(s.kv, n);
		/* Also nothing else is killed: every call that needs memory says so. */
		CHECK_EQ(fill(s.kv, n, 100), n);
		CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
		CHECK(fill(s.kv, 0, n) > n - n / 50);
		skv_segment_end(&s);
	}
}

static void full_tmpfs_is_an_error_and_no_signal(void)
{
	fill_file_system("size=37m,mode=0700", false);
}

/* Where the first use of a page takes two MiB. */
static void full_tmpfs_of_huge_pages_is_an_error_and_no_signal(void)
{
	need_huge_pages();
	fill_file_system("size=37m,mode=0700,huge=advise", true);
}

static void tmpfs_says_what_it_is(void)
{
	struct skv_segment s;
	struct shmkv_huge huge;

	need_huge_pages();
	enter_tmpfs("size=40m,mode=0700,huge=within_size");
	begin(&s, 64 * MIB, SHMKV_HUGE_DEFAULT);
	huge = huge_of(s.kv);
	CHECK_STR(huge.mount, "within_size");
	CHECK(huge.kernel[0] != '\0');
	CHECK_EQ(huge.page_bytes, HUGE);
	skv_segment_end(&s);
}

/* ---- others -------------------------------------------------------------------------------- */

struct work {
	struct skv_segment *s;
	uint64_t *stop;
};

static void write_until_told(void *arg)
{
	struct work *work = arg;
	struct shmkv *kv = skv_segment_attach(work->s, 0);

	while (!__atomic_load_n(work->stop, __ATOMIC_ACQUIRE)) {
		fill(kv, 0, 3000);
		check_values(kv, 3000);
	}
	shmkv_detach(kv);
}

static void collapse_while_others_write(void)
{
	struct skv_segment s;
	struct work work = { &s, skv_shared(sizeof(uint64_t)) };
	struct shmkv_huge huge;
	uint64_t left, n = 3000;
	pid_t pid;

	begin(&s, 128 * MIB, SHMKV_HUGE_LAZY);
	n = fill(s.kv, 0, n);
	pid = skv_fork(write_until_told, &work);
	while (n < 90000) {
		n = fill(s.kv, n, 3000);
		CHECK_EQ(shmkv_huge_collapse(s.kv, UINT64_MAX, &left), 0);
	}
	__atomic_store_n(work.stop, 1, __ATOMIC_RELEASE);
	skv_test_wait_ok(pid);
	check_values(s.kv, n);
	if (kernel_gives_any()) {
		huge = huge_of(s.kv);
		CHECK(huge.huge_bytes + 4 * HUGE >= huge.full_bytes);
	}
	skv_segment_end(&s);
}

/* A child has no mapping, huge or not, and a map of an odd length is mapped and unmapped whole. */
static void mappings_come_and_go_whole(void)
{
	struct skv_segment s;
	struct shmkv *kv;
	unsigned int files = skv_count_maps("/dev/shm/"), all;
	size_t i;

	for (i = 0; i < ARRAY_LEN(policies); i++) {
		begin(&s, 64 * MIB + 12345, policies[i]);
		CHECK_EQ(skv_count_maps("/dev/shm/"), files + 1);
		all = skv_count_maps("");
		kv = skv_segment_attach(&s, 0);
		CHECK_EQ(skv_count_maps("/dev/shm/"), files + 2);
		shmkv_detach(kv);
		/* Neither the file nor the place that was kept for it. */
		CHECK_EQ(skv_count_maps("/dev/shm/"), files + 1);
		CHECK(skv_count_maps("") <= all + 1);
		skv_segment_end(&s);
	}
}

#ifdef SKV_FAULT_POINTS

struct victim {
	struct skv_segment *s;
	uint64_t nth;
};

static void grow_until_killed(void *arg)
{
	struct victim *v = arg;
	struct shmkv *kv = skv_segment_attach(v->s, 0);

	skv_fault_arm(NULL, SKV_FAULT_GROW_RESERVED, v->nth, SKV_FAULT_KILL, NULL, NULL);
	fill(kv, 0, 1000000);
}

/* What it had taken is taken by the next one who grows, and is not lost. */
static void killed_grower_leaves_memory_that_others_use(void)
{
	struct skv_segment s;
	struct victim v = { &s, 1 };
	uint64_t n, full;

	begin(&s, 64 * MIB, SHMKV_HUGE_EAGER);
	full = fill(s.kv, 0, 1000000);
	skv_segment_end(&s);

	begin(&s, 64 * MIB, SHMKV_HUGE_EAGER);
	/* The map has thirty steps in all. */
	for (v.nth = 1; v.nth < 8; v.nth += 2)
		skv_test_wait_killed(skv_fork(grow_until_killed, &v), SIGKILL);
	n = fill(s.kv, 0, 1000000);
	CHECK(n >= full - full / 100);
	check_values(s.kv, n);
	CHECK(huge_of(s.kv).file_bytes <= 64 * MIB + MIB);
	skv_segment_end(&s);
}

/* Asks for a huge page and falls before it has counted it. */
struct asker {
	struct skv_segment *s;
	int (*ask)(struct skv_segment *s);
	enum skv_fault_action action;
};

static int ask_by_attach(struct skv_segment *s)
{
	shmkv_detach(skv_segment_attach(s, 0));
	return 0;
}

static int ask_by_maintain(struct skv_segment *s)
{
	return shmkv_maintain(s->kv);
}

static int ask_by_collapse(struct skv_segment *s)
{
	return shmkv_huge_collapse(s->kv, UINT64_MAX, NULL);
}

static int (*const ways_to_ask[])(struct skv_segment *s) = { ask_by_attach, ask_by_maintain,
							       ask_by_collapse };

static void ask_and_fall(void *arg)
{
	struct asker *asker = arg;
	struct skv_segment own = *asker->s;

	own.kv = NULL;
	/* Attaching asks, too; only the call in question shall fall. */
	if (asker->ask != ask_by_attach)
		own.kv = skv_segment_attach(asker->s, 0);
	skv_fault_arm(NULL, SKV_FAULT_HUGE_TRIED, 1, asker->action, NULL, NULL);
	CHECK_EQ(asker->ask(&own), 0);
	shmkv_detach(own.kv);
}

/* The others make all the pages, that one included, and nothing is lost or counted twice. */
static void check_done(struct skv_segment *s, uint64_t n, uint64_t file_bytes)
{
	bool gives_any = kernel_gives_any();
	struct shmkv_huge huge;
	uint64_t left;

	CHECK_EQ(shmkv_huge_collapse(s->kv, UINT64_MAX, &left), 0);
	huge = huge_of(s->kv);
	if (gives_any) {
		CHECK_EQ(left, 0u);
		CHECK_EQ(huge.huge_bytes, huge.full_bytes);
	}
	CHECK_EQ(huge.file_bytes, file_bytes);
	check_values(s->kv, n);
}

static void killed_between_a_huge_page_and_its_count(void)
{
	struct skv_segment s;
	struct asker asker = { .s = &s, .action = SKV_FAULT_KILL };
	uint64_t n, file_bytes;
	size_t i;

	for (i = 0; i < ARRAY_LEN(ways_to_ask); i++) {
		asker.ask = ways_to_ask[i];
		begin(&s, 64 * MIB, SHMKV_HUGE_LAZY);
		n = fill(s.kv, 0, 30000);
		file_bytes = huge_of(s.kv).file_bytes;
		skv_test_wait_killed(skv_fork(ask_and_fall, &asker), SIGKILL);
		check_done(&s, n, file_bytes);
		skv_segment_end(&s);
	}
}

static void stopped_between_a_huge_page_and_its_count(void)
{
	struct skv_segment s;
	struct asker asker = { .s = &s, .action = SKV_FAULT_STOP };
	uint64_t n, file_bytes;
	int status;
	pid_t pid;
	size_t i;

	for (i = 0; i < ARRAY_LEN(ways_to_ask); i++) {
		asker.ask = ways_to_ask[i];
		begin(&s, 64 * MIB, SHMKV_HUGE_LAZY);
		n = fill(s.kv, 0, 30000);
		file_bytes = huge_of(s.kv).file_bytes;
		pid = skv_fork(ask_and_fall, &asker);
		CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
		CHECK(WIFSTOPPED(status));
		check_done(&s, n, file_bytes);
		CHECK_EQ(kill(pid, SIGCONT), 0);
		skv_test_wait_ok(pid);
		check_done(&s, n, file_bytes);
		skv_segment_end(&s);
	}
}

#endif

const struct skv_test skv_tests_huge[] = {
	{ "huge", "policy is kept and small maps have none",
	  policy_is_kept_and_small_maps_have_none, 10 },
	{ "huge", "never gives none", never_gives_none, 30 },
	{ "huge", "lazy pages come when asked for and cost nothing",
	  lazy_pages_come_when_asked_for_and_cost_nothing, 60 },
	{ "huge", "lazy pages come by and by", lazy_pages_come_by_and_by, 60 },
	{ "huge", "eager pages are there from the first put",
	  eager_pages_are_there_from_the_first_put, 60 },
	{ "huge", "works where the system gives none", works_where_the_system_gives_none, 60 },
	{ "huge", "full map holds as much with every policy",
	  full_map_holds_as_much_with_every_policy, 120 },
	{ "huge", "full tmpfs is an error and no signal", full_tmpfs_is_an_error_and_no_signal, 120 },
	{ "huge", "full tmpfs of huge pages is an error and no signal",
	  full_tmpfs_of_huge_pages_is_an_error_and_no_signal, 120 },
	{ "huge", "tmpfs says what it is", tmpfs_says_what_it_is, 30 },
	{ "huge", "collapse while others write", collapse_while_others_write, 120 },
	{ "huge", "mappings come and go whole", mappings_come_and_go_whole, 30 },
#ifdef SKV_FAULT_POINTS
	{ "huge", "killed grower leaves memory that others use",
	  killed_grower_leaves_memory_that_others_use, 120 },
	{ "huge", "killed between a huge page and its count",
	  killed_between_a_huge_page_and_its_count, 120 },
	{ "huge", "stopped between a huge page and its count",
	  stopped_between_a_huge_page_and_its_count, 120 },
#endif
	{ 0 },
};

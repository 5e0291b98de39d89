/* SPDX-License-Identifier: MIT */
/* test-view: values in place, whatever others do to their keys. */
#include "api/handle.h"
#include "base/fault.h"
#include "shm/pin.h"
#include "shm/recover.h"
#include "tests/boot-clock.h"
#include "tests/segment.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <shmkv/expiry.h>
#include <shmkv/inspect.h>
#include <shmkv/view.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE ((size_t)10 << 20)

struct fixture {
	struct shmkv *kv;
	char name[64];
};

static void fixture_begin(struct fixture *f)
{
	struct shmkv_options options = SHMKV_OPTIONS_INIT;

	snprintf(f->name, sizeof(f->name), "view-%ld", (long)getpid());
	shmkv_unlink(f->name);
	CHECK_EQ(shmkv_create(f->name, &options, &f->kv), 0);
}

static void check_clean(struct fixture *f)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };

	CHECK_EQ(shmkv_check(f->kv, NULL, NULL, &audit), 0);
	CHECK_EQ(audit.leaked_bytes, 0);
}

static void fixture_end(struct fixture *f)
{
	check_clean(f);
	shmkv_detach(f->kv);
	CHECK_EQ(shmkv_unlink(f->name), 0);
}

static uint64_t bytes_in_use(struct fixture *f)
{
	return skv_segment_used(f->kv);
}

static struct skv_map *map_of(struct fixture *f)
{
	return f->kv->map;
}

/* Does this address lie in the segment? */
static bool is_in_segment(const struct fixture *f, const void *at)
{
	const struct skv_region *region = &((const struct skv_map *)f->kv->map)->region;

	return (const uint8_t *)at >= region->base &&
	       (const uint8_t *)at < region->base + region->geo.segment_bytes;
}

static void a_view_survives_overwrite_delete_and_clear(void)
{
	struct shmkv_view first, second, third;
	struct fixture f;

	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("one"), NULL), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &first), 0);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("two"), NULL), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &second), 0);
	CHECK(first.token != second.token);
	CHECK_EQ(shmkv_del(f.kv, "k", 1), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &third), -ENOENT);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("three"), NULL), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &third), 0);
	CHECK_EQ(shmkv_clear(f.kv, NULL), 0);
	CHECK_MEM(first.value.data, first.value.len, "one", 3);
	CHECK_MEM(second.value.data, second.value.len, "two", 3);
	CHECK_MEM(third.value.data, third.value.len, "three", 5);
	/* Held by the living: no leak, but not free either. */
	check_clean(&f);
	CHECK_EQ(shmkv_view_end(&second), 0);
	CHECK_EQ(shmkv_view_end(&first), 0);
	CHECK_EQ(shmkv_view_end(&third), 0);
	fixture_end(&f);
}

static void every_type_can_be_looked_at(void)
{
	static const uint8_t packed[] = { 0x93, 1, 2, 3 };
	struct shmkv_view view;
	struct fixture f;

	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "i", 1, shmkv_int(-7), NULL), 0);
	CHECK_EQ(shmkv_put(f.kv, "e", 1, shmkv_bin("", 0), NULL), 0);
	CHECK_EQ(shmkv_put(f.kv, "a", 1, shmkv_packed(packed, sizeof(packed)), NULL), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "i", 1, &view), 0);
	CHECK_EQ(view.value.type, SHMKV_INT);
	CHECK_EQ(view.value.i64, -7);
	CHECK_EQ(shmkv_view_end(&view), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "e", 1, &view), 0);
	CHECK_EQ(view.value.type, SHMKV_BIN);
	CHECK_EQ(view.value.len, 0);
	CHECK_EQ(shmkv_view_end(&view), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "a", 1, &view), 0);
	CHECK_EQ(view.value.type, SHMKV_PACKED);
	CHECK_MEM(view.value.data, view.value.len, packed, sizeof(packed));
	CHECK_EQ(shmkv_view_end(&view), 0);
	fixture_end(&f);
}

static void a_large_frame_is_not_copied_and_its_memory_comes_back(void)
{
	uint8_t *frame = malloc(LARGE);
	struct shmkv_view view;
	struct fixture f;
	uint64_t held;

	CHECK(frame);
	memset(frame, 0x5a, LARGE);
	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "frame", 5, shmkv_bin(frame, LARGE), NULL), 0);
	held = bytes_in_use(&f);
	CHECK_EQ(shmkv_view_begin(f.kv, "frame", 5, &view), 0);
	/* No copy: the payload, all of it, lies in the segment. */
	CHECK_EQ(view.value.len, LARGE);
	CHECK(is_in_segment(&f, view.value.data));
	CHECK(is_in_segment(&f, (const uint8_t *)view.value.data + LARGE - 1));
	memset(frame, 0xa5, LARGE);
	CHECK_EQ(shmkv_put(f.kv, "frame", 5, shmkv_bin(frame, LARGE), NULL), 0);
	CHECK_EQ(bytes_in_use(&f), 2 * held);
	memset(frame, 0x5a, LARGE);
	CHECK(memcmp(view.value.data, frame, LARGE) == 0);
	CHECK_EQ(shmkv_view_end(&view), 0);
	CHECK_EQ(bytes_in_use(&f), held);
	free(frame);
	fixture_end(&f);
}

static void a_view_outlives_the_deadline_of_its_key(void)
{
	struct shmkv_view view, late;
	struct fixture f;

	fixture_begin(&f);
	skv_boot_clock_stop();
	CHECK_EQ(shmkv_put_ttl(f.kv, "k", 1, shmkv_str("v"), 5, NULL), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &view), 0);
	skv_boot_clock_advance_ms(5);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &late), -ENOENT);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("w"), NULL), 0);
	CHECK_MEM(view.value.data, view.value.len, "v", 1);
	CHECK_EQ(shmkv_view_end(&view), 0);
	CHECK(!skv_pin_any(map_of(&f)));
	fixture_end(&f);
}

static void there_is_a_limit_and_it_is_told(void)
{
	struct shmkv_view views[SHMKV_VIEWS_MAX + 1];
	struct fixture f;
	uint32_t i;

	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_int(1), NULL), 0);
	for (i = 0; i < SHMKV_VIEWS_MAX; i++)
		CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &views[i]), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &views[i]), -EMLINK);
	CHECK_EQ(shmkv_view_end(&views[7]), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &views[7]), 0);
	/* Writing goes on meanwhile, and what was pinned sixteen times is freed once. */
	CHECK_EQ(shmkv_del(f.kv, "k", 1), 0);
	for (i = 0; i < SHMKV_VIEWS_MAX; i++)
		CHECK_EQ(shmkv_view_end(&views[i]), 0);
	fixture_end(&f);
}

static void what_cannot_be_is_refused(void)
{
	struct shmkv_view view;
	struct shmkv *reader;
	struct fixture f;
	pid_t pid;

	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("v"), NULL), 0);
	CHECK_EQ(shmkv_attach(f.name, SHMKV_READ_ONLY, &reader), 0);
	CHECK_EQ(shmkv_view_begin(reader, "k", 1, &view), -EROFS);
	shmkv_detach(reader);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 0, &view), -EMSGSIZE);
	CHECK_EQ(shmkv_view_begin(f.kv, NULL, 1, &view), -EINVAL);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, NULL), -EINVAL);
	CHECK_EQ(shmkv_view_begin(NULL, "k", 1, &view), -EBADF);
	CHECK_EQ(shmkv_view_end(NULL), -EINVAL);

	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &view), 0);
	pid = fork();
	if (pid == 0)
		_exit(shmkv_view_end(&view) != -ECHILD);
	skv_test_wait_ok(pid);
	CHECK_MEM(view.value.data, view.value.len, "v", 1);
	CHECK_EQ(shmkv_view_end(&view), 0);
	CHECK_EQ(shmkv_view_end(&view), -EBADF);

	/* Detaching lets go; the view knows that its handle is gone. */
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &view), 0);
	shmkv_detach(f.kv);
	CHECK_EQ(shmkv_view_end(&view), -EBADF);
	CHECK_EQ(shmkv_attach(f.name, 0, &f.kv), 0);
	CHECK_EQ(shmkv_del(f.kv, "k", 1), 0);
	fixture_end(&f);
}

static void *end_it(void *arg)
{
	return shmkv_view_end(arg) == 0 ? NULL : arg;
}

static void another_thread_may_end_it(void)
{
	struct shmkv_view view;
	struct fixture f;
	pthread_t thread;
	void *answer;

	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("v"), NULL), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &view), 0);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("w"), NULL), 0);
	CHECK_EQ(pthread_create(&thread, NULL, end_it, &view), 0);
	CHECK_EQ(pthread_join(thread, &answer), 0);
	CHECK(answer == NULL);
	fixture_end(&f);
}

/* ---- holders that stop or die ------------------------------------------------------ */

#define N_HELD 3u
#define N_VALUES 24u

/* A child that looks at the first values of the map and waits to be killed. */
static pid_t hold_some(struct fixture *f)
{
	struct shmkv_view view;
	struct shmkv *kv;
	uint32_t i;
	int status;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		if (shmkv_attach(f->name, 0, &kv) < 0)
			_exit(1);
		for (i = 0; i < N_HELD; i++) {
			if (shmkv_view_begin(kv, &i, sizeof(i), &view) < 0)
				_exit(2);
		}
		raise(SIGSTOP);
		_exit(3);
	}
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status));
	return pid;
}

static void kill_it(pid_t pid)
{
	int status;

	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
}

static void put_values(struct fixture *f, const uint8_t *bytes, size_t len)
{
	uint32_t i;

	for (i = 0; i < N_VALUES; i++)
		CHECK_EQ(shmkv_put(f->kv, &i, sizeof(i), shmkv_bin(bytes, len), NULL), 0);
}

/* For values of this length: a stopped holder costs its own blocks, to the byte. */
static void holder_costs(size_t len)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint8_t *bytes = skv_alloc(len);
	uint64_t each;
	struct fixture f;
	pid_t pid;

	memset(bytes, 1, len);
	fixture_begin(&f);
	CHECK_EQ(bytes_in_use(&f), 0);
	put_values(&f, bytes, len);
	each = bytes_in_use(&f) / N_VALUES;
	CHECK(each >= len);
	pid = hold_some(&f);

	/* Removed: exactly its three stay; stored again, and replaced many times: not one more. */
	CHECK_EQ(shmkv_clear(f.kv, NULL), 0);
	CHECK_EQ(bytes_in_use(&f), N_HELD * each);
	CHECK_EQ(shmkv_recover(f.kv, &report), 0);
	CHECK_EQ(report.blocks, 0);
	CHECK_EQ(bytes_in_use(&f), N_HELD * each);
	put_values(&f, bytes, len);
	put_values(&f, bytes, len);
	CHECK_EQ(bytes_in_use(&f), (N_HELD + N_VALUES) * each);
	check_clean(&f);

	/* Dead: the report names what it held. */
	kill_it(pid);
	CHECK_EQ(shmkv_recover(f.kv, &report), 0);
	CHECK_EQ(report.processes, 1);
	CHECK_EQ(report.blocks, N_HELD);
	CHECK_EQ(report.bytes, N_HELD * each);
	CHECK_EQ(bytes_in_use(&f), N_VALUES * each);
	CHECK_EQ(shmkv_clear(f.kv, NULL), 0);
	CHECK_EQ(bytes_in_use(&f), 0);
	CHECK(!skv_pin_any(map_of(&f)));
	free(bytes);
	fixture_end(&f);
}

static void a_holder_costs_its_values_to_the_byte(void)
{
	holder_costs(40);
	holder_costs(5000);
	holder_costs(20000);
	holder_costs(300000);
}

static void a_holder_that_dies_before_the_values_are_replaced_costs_nothing(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint8_t bytes[100] = { 0 };
	struct fixture f;
	uint64_t each;

	fixture_begin(&f);
	put_values(&f, bytes, sizeof(bytes));
	each = bytes_in_use(&f) / N_VALUES;
	kill_it(hold_some(&f));
	/* Nobody has recovered it yet: its pins count until then. */
	put_values(&f, bytes, sizeof(bytes));
	CHECK_EQ(bytes_in_use(&f), (N_VALUES + N_HELD) * each);
	CHECK_EQ(shmkv_recover(f.kv, &report), 0);
	CHECK_EQ(report.blocks, N_HELD);
	CHECK_EQ(bytes_in_use(&f), N_VALUES * each);
	CHECK(!skv_pin_any(map_of(&f)));
	fixture_end(&f);
}

/* Both slots and both contexts are taken by the dead, and each of them holds something. */
static void an_heir_lets_go_of_what_the_dead_held(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	uint8_t bytes[100] = { 0 };
	struct fixture f;
	uint64_t used;
	pid_t pids[2];

	options.max_processes = 2;
	options.max_threads = 2;
	snprintf(f.name, sizeof(f.name), "view-heir-%ld", (long)getpid());
	shmkv_unlink(f.name);
	CHECK_EQ(shmkv_create(f.name, &options, &f.kv), 0);
	put_values(&f, bytes, sizeof(bytes));
	used = bytes_in_use(&f);
	shmkv_detach(f.kv);

	pids[0] = hold_some(&f);
	pids[1] = hold_some(&f);
	kill_it(pids[0]);
	kill_it(pids[1]);
	CHECK_EQ(shmkv_attach(f.name, 0, &f.kv), 0);
	put_values(&f, bytes, sizeof(bytes));
	CHECK_EQ(shmkv_recover(f.kv, &report), 0);
	CHECK_EQ(bytes_in_use(&f), used);
	CHECK(!skv_pin_any(map_of(&f)));
	fixture_end(&f);
}

/* ---- threads ----------------------------------------------------------------------- */

struct viewer {
	struct shmkv *kv;
	struct shmkv_view views[SHMKV_VIEWS_MAX];
	int r;
};

static void *open_all(void *arg)
{
	struct viewer *viewer = arg;
	uint32_t i;

	for (i = 0; i < SHMKV_VIEWS_MAX && viewer->r == 0; i++)
		viewer->r = shmkv_view_begin(viewer->kv, "k", 1, &viewer->views[i]);
	return NULL;
}

static void run_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, fn, arg), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* What a thread that ended has left open takes nothing from the next one. */
static void views_outlive_their_thread(void)
{
	struct viewer viewers[3];
	struct fixture f;
	uint32_t i, k;

	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("v"), NULL), 0);
	for (k = 0; k < 3; k++) {
		memset(&viewers[k], 0, sizeof(viewers[k]));
		viewers[k].kv = f.kv;
		run_thread(open_all, &viewers[k]);
		CHECK_EQ(viewers[k].r, 0);
	}
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("w"), NULL), 0);
	check_clean(&f);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < SHMKV_VIEWS_MAX; i++) {
			CHECK_MEM(viewers[k].views[i].value.data, viewers[k].views[i].value.len, "v", 1);
			CHECK_EQ(shmkv_view_end(&viewers[k].views[i]), 0);
		}
	}
	CHECK_EQ(shmkv_del(f.kv, "k", 1), 0);
	CHECK_EQ(bytes_in_use(&f), 0);
	fixture_end(&f);
}

/* ---- what it costs others ---------------------------------------------------------- */

static void nobody_is_taxed_when_the_last_view_has_ended(void)
{
	struct shmkv_view first, second;
	struct fixture f;

	fixture_begin(&f);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_str("v"), NULL), 0);
	CHECK(!skv_pin_any(map_of(&f)));
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &first), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &second), 0);
	CHECK(skv_pin_any(map_of(&f)));
	CHECK_EQ(shmkv_view_end(&first), 0);
	CHECK(skv_pin_any(map_of(&f)));
	CHECK_EQ(shmkv_view_end(&second), 0);
	CHECK(!skv_pin_any(map_of(&f)));
	/* Not by detaching either. */
	CHECK_EQ(shmkv_view_begin(f.kv, "k", 1, &first), 0);
	shmkv_detach(f.kv);
	CHECK_EQ(shmkv_attach(f.name, 0, &f.kv), 0);
	CHECK(!skv_pin_any(map_of(&f)));
	fixture_end(&f);
}

#ifdef SKV_FAULT_POINTS

/* ---- at one point of a call -------------------------------------------------------- */

static struct {
	struct fixture f;
	struct shmkv *other;
	uint32_t n;
	struct shmkv_view view;
} at;

static void put_zeros(struct shmkv *kv, size_t len)
{
	static const uint8_t zeros[50000];

	CHECK(len <= sizeof(zeros));
	CHECK_EQ(shmkv_put(kv, "k", 1, shmkv_bin(zeros, len), NULL), 0);
}

static void replace_by_other(void *arg)
{
	size_t *len = arg;

	put_zeros(at.other, *len);
	at.n++;
}

static void at_begin(void)
{
	memset(&at, 0, sizeof(at));
	fixture_begin(&at.f);
	CHECK_EQ(shmkv_attach(at.f.name, 0, &at.other), 0);
}

static void at_end(void)
{
	shmkv_detach(at.other);
	CHECK_EQ(at.n, 1);
	fixture_end(&at.f);
}

/*
 * A thread announces a block that was unlinked since it read the slot. Whoever unlinked it saw no
 * context that may pin, or sees the pin: in either case somebody frees it.
 */
static void a_pin_that_came_too_late_leaks_nothing(void)
{
	static const enum skv_fault_point points[] = { SKV_FAULT_PIN_ENABLED,
						       SKV_FAULT_PIN_ANNOUNCED };
	static const size_t lens[] = { 40, 50000 };
	size_t i, k, len;
	uint64_t used;

	for (i = 0; i < 2; i++) {
		for (k = 0; k < 2; k++) {
			at_begin();
			len = lens[k];
			put_zeros(at.f.kv, len);
			used = bytes_in_use(&at.f);
			skv_fault_arm(NULL, points[i], 1, SKV_FAULT_CALL, replace_by_other, &len);
			CHECK_EQ(shmkv_view_begin(at.f.kv, "k", 1, &at.view), 0);
			CHECK_EQ(bytes_in_use(&at.f), used);
			CHECK_EQ(shmkv_view_end(&at.view), 0);
			CHECK_EQ(bytes_in_use(&at.f), used);
			CHECK_EQ(shmkv_del(at.f.kv, "k", 1), 0);
			CHECK_EQ(bytes_in_use(&at.f), 0);
			at_end();
		}
	}
}

static void end_meanwhile(void *arg)
{
	(void)arg;
	CHECK_EQ(shmkv_view_end(&at.view), 0);
	at.n++;
}

/* The holder lets go when the block is RETIRED and the unlinker has not looked yet, or has. */
static void one_of_unlinker_and_holder_frees(void)
{
	static const enum skv_fault_point points[] = { SKV_FAULT_REMOVE_UNLINKED,
						       SKV_FAULT_SETTLE_RETIRED,
						       SKV_FAULT_REMOVE_SETTLED };
	static const size_t lens[] = { 40, 50000 };
	size_t i, k;

	for (i = 0; i < 3; i++) {
		for (k = 0; k < 2; k++) {
			at_begin();
			put_zeros(at.f.kv, lens[k]);
			CHECK_EQ(shmkv_view_begin(at.other, "k", 1, &at.view), 0);
			skv_fault_arm(NULL, points[i], 1, SKV_FAULT_CALL, end_meanwhile, NULL);
			CHECK_EQ(shmkv_del(at.f.kv, "k", 1), 0);
			CHECK_EQ(bytes_in_use(&at.f), 0);
			at_end();
		}
	}
}

/*
 * RULE H: while somebody is about to let go of a large record, others free it. The first chunk
 * must stay until that somebody has looked, and not a moment longer.
 */
static void look_at_head(void *arg)
{
	struct shmkv_info info = { .size = sizeof(info) };

	(void)arg;
	CHECK_EQ(shmkv_del(at.other, "k", 1), 0);
	CHECK_EQ(shmkv_info(at.other, &info), 0);
	/* Its bodies are free. */
	CHECK_EQ(info.run_bytes, SKV_CHUNK_BYTES);
	at.n++;
}

static void the_head_of_a_large_record_stays_while_it_is_announced(void)
{
	at_begin();
	put_zeros(at.f.kv, 50000);
	CHECK_EQ(shmkv_view_begin(at.f.kv, "k", 1, &at.view), 0);
	skv_fault_arm(NULL, SKV_FAULT_PIN_RELEASING, 1, SKV_FAULT_CALL, look_at_head, NULL);
	CHECK_EQ(shmkv_view_end(&at.view), 0);
	CHECK_EQ(bytes_in_use(&at.f), 0);
	at_end();
}

static sem_t released, looked;

static void wait_for_look(void *arg)
{
	(void)arg;
	sem_post(&released);
	sem_wait(&looked);
}

static void *end_the_view(void *arg)
{
	(void)arg;
	CHECK_EQ(shmkv_view_end(&at.view), 0);
	return NULL;
}

/* The same when the thread whose view it was frees the record, and another one lets go. */
static void the_head_stays_while_another_thread_lets_go(void)
{
	pthread_t thread;

	at_begin();
	sem_init(&released, 0, 0);
	sem_init(&looked, 0, 0);
	put_zeros(at.other, 50000);
	CHECK_EQ(shmkv_view_begin(at.other, "k", 1, &at.view), 0);
	skv_fault_arm(NULL, SKV_FAULT_PIN_RELEASING, 1, SKV_FAULT_CALL, wait_for_look, NULL);
	CHECK_EQ(pthread_create(&thread, NULL, end_the_view, NULL), 0);
	sem_wait(&released);
	look_at_head(NULL);
	sem_post(&looked);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(bytes_in_use(&at.f), 0);
	at_end();
}

/* ---- a hot large value ------------------------------------------------------------- */

static struct {
	struct shmkv *kv;
	int stop;
} hot;

#define HOT_BYTES ((size_t)4 << 20)

static void *write_for_ever(void *arg)
{
	uint8_t *bytes = skv_alloc(HOT_BYTES);
	uint32_t i;

	(void)arg;
	for (i = 0; !__atomic_load_n(&hot.stop, __ATOMIC_RELAXED); i++) {
		memset(bytes, (int)(i & 0xff), HOT_BYTES);
		CHECK_EQ(shmkv_put(hot.kv, "hot", 3, shmkv_bin(bytes, HOT_BYTES), NULL), 0);
	}
	free(bytes);
	return NULL;
}

/* Copies that are overtaken again and again end with a pin, and with a whole value. */
static void a_reader_of_a_hot_large_value_is_not_starved(void)
{
	uint8_t *bytes = skv_alloc(HOT_BYTES), *same = skv_alloc(HOT_BYTES);
	struct skv_fault_plan plan;
	pthread_t thread;
	struct fixture f;
	size_t len;

	memset(&plan, 0, sizeof(plan));
	fixture_begin(&f);
	hot.kv = f.kv;
	hot.stop = 0;
	CHECK_EQ(shmkv_put(f.kv, "hot", 3, shmkv_bin(bytes, HOT_BYTES), NULL), 0);
	CHECK_EQ(pthread_create(&thread, NULL, write_for_ever, NULL), 0);
	skv_fault_arm(&plan, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	while (__atomic_load_n(&plan.reached[SKV_FAULT_PIN_HELD], __ATOMIC_RELAXED) < 3) {
		CHECK_EQ(shmkv_get_bin(f.kv, "hot", 3, bytes, HOT_BYTES, &len), 0);
		CHECK_EQ(len, HOT_BYTES);
		memset(same, bytes[0], HOT_BYTES);
		CHECK(memcmp(bytes, same, HOT_BYTES) == 0);
	}
	skv_fault_arm(NULL, SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
	__atomic_store_n(&hot.stop, 1, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK(!skv_pin_any(map_of(&f)));
	free(bytes);
	free(same);
	fixture_end(&f);
}

#endif

/* ---- storms ------------------------------------------------------------------------ */

struct storm {
	struct fixture *f;
	int stop;
	uint64_t n_views, n_wrong;
};

static void *look_in_the_storm(void *arg)
{
	struct storm *storm = arg;
	struct shmkv_view view;
	const uint8_t *bytes;
	size_t i;
	int r;

	while (!__atomic_load_n(&storm->stop, __ATOMIC_RELAXED)) {
		r = shmkv_view_begin(storm->f->kv, "hot", 3, &view);
		if (r == -ENOENT || r == -EAGAIN)
			continue;
		if (r < 0) {
			__atomic_add_fetch(&storm->n_wrong, 1, __ATOMIC_RELAXED);
			return NULL;
		}
		bytes = view.value.data;
		for (i = 1; i < view.value.len; i++) {
			if (bytes[i] != bytes[0])
				__atomic_add_fetch(&storm->n_wrong, 1, __ATOMIC_RELAXED);
		}
		__atomic_add_fetch(&storm->n_views, 1, __ATOMIC_RELAXED);
		if (shmkv_view_end(&view) < 0)
			__atomic_add_fetch(&storm->n_wrong, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void a_view_is_whole_in_a_storm_of_writes(void)
{
	static const size_t lens[] = { 40, 900, 20000, 70000 };
	struct storm storm = { 0 };
	uint8_t *value = malloc(70000);
	pthread_t threads[2];
	struct fixture f;
	uint32_t i;

	CHECK(value);
	fixture_begin(&f);
	storm.f = &f;
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, look_in_the_storm, &storm), 0);
	for (i = 0; i < 20000 || __atomic_load_n(&storm.n_views, __ATOMIC_RELAXED) < 1000; i++) {
		memset(value, (int)(i & 0xff), lens[i % 4]);
		CHECK_EQ(shmkv_put(f.kv, "hot", 3, shmkv_bin(value, lens[i % 4]), NULL), 0);
		if (i % 7 == 0)
			CHECK_EQ(shmkv_del(f.kv, "hot", 3), 0);
		if (__atomic_load_n(&storm.n_wrong, __ATOMIC_RELAXED))
			break;
	}
	__atomic_store_n(&storm.stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_EQ(storm.n_wrong, 0);
	free(value);
	fixture_end(&f);
}

const struct skv_test skv_tests_view[] = {
	{ "view", "a view survives overwrite, delete and clear",
	  a_view_survives_overwrite_delete_and_clear, 10 },
	{ "view", "every type can be looked at", every_type_can_be_looked_at, 10 },
	{ "view", "a large frame is not copied and its memory comes back",
	  a_large_frame_is_not_copied_and_its_memory_comes_back, 20 },
	{ "view", "a view outlives the deadline of its key", a_view_outlives_the_deadline_of_its_key,
	  10 },
	{ "view", "there is a limit and it is told", there_is_a_limit_and_it_is_told, 10 },
	{ "view", "what cannot be is refused", what_cannot_be_is_refused, 10 },
	{ "view", "another thread may end it", another_thread_may_end_it, 10 },
	/* hazard 7 */
	{ "view", "a holder costs its values to the byte",
	  a_holder_costs_its_values_to_the_byte, 30 },
	/* hazard 5 */
	{ "view", "a holder that dies before the values are replaced costs nothing",
	  a_holder_that_dies_before_the_values_are_replaced_costs_nothing, 20 },
	{ "view", "an heir lets go of what the dead held", an_heir_lets_go_of_what_the_dead_held,
	  20 },
	{ "view", "views outlive their thread", views_outlive_their_thread, 10 },
	{ "view", "nobody is taxed when the last view has ended",
	  nobody_is_taxed_when_the_last_view_has_ended, 10 },
#ifdef SKV_FAULT_POINTS
	{ "pin", "a pin that came too late leaks nothing",
	  a_pin_that_came_too_late_leaks_nothing, 10 },
	{ "pin", "one of unlinker and holder frees", one_of_unlinker_and_holder_frees, 10 },
	{ "pin", "the head of a large record stays while it is announced",
	  the_head_of_a_large_record_stays_while_it_is_announced, 10 },
	{ "pin", "the head stays while another thread lets go",
	  the_head_stays_while_another_thread_lets_go, 10 },
	{ "pin", "a reader of a hot large value is not starved",
	  a_reader_of_a_hot_large_value_is_not_starved, 60 },
#endif
	/* hazard 9 */
	{ "view", "a view is whole in a storm of writes", a_view_is_whole_in_a_storm_of_writes, 120 },
	{ 0 },
};

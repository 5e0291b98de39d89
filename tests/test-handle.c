/* SPDX-License-Identifier: MIT */
/*
 * test-handle: the door of the library: handles that are closed, foreign or were never one,
 * names, options and flags, structures of other versions, and values that no public call
 * would have stored. On the model engine.
 */
#include "api/engine-table.h"
#include "tests/model-engine.h"
#include "tests/test.h"

#include <shmkv/batch.h>

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KEY(text) (text), strlen(text)

static struct shmkv *map_new(const char *name)
{
	struct shmkv *kv;

	skv_model_install();
	CHECK_EQ(shmkv_create(name, NULL, &kv), 0);
	CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_str("v"), NULL), 0);
	return kv;
}

static int count_name(const char *name, void *arg)
{
	(void)name;
	++*(int *)arg;
	return 0;
}

static int ignore_item(const struct shmkv_layout_item *item, void *arg)
{
	(void)item;
	(void)arg;
	return 0;
}

/* Every call that takes a handle must answer @expected; which did not, or 0. */
static int first_call_that_does_not_answer(struct shmkv *kv, int expected)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_value value;
	struct shmkv_scan *scan;
	uint8_t buf[16];
	uint64_t u64;
	int64_t i64;
	double f64;
	size_t len;
	void *p;
	bool b;
	int r[] = {
		shmkv_put(kv, KEY("k"), shmkv_int(1), &u64),
		shmkv_add(kv, KEY("n"), shmkv_int(1), &u64),
		shmkv_replace(kv, KEY("k"), shmkv_int(1), &u64),
		shmkv_cas(kv, KEY("k"), 1, shmkv_int(1), &u64),
		shmkv_del(kv, KEY("k")),
		shmkv_get(kv, KEY("k"), buf, sizeof(buf), &value, &u64),
		shmkv_get_packed(kv, KEY("k"), buf, sizeof(buf), &len, &u64),
		shmkv_get_alloc(kv, KEY("k"), &p, &len, &u64),
		shmkv_get_bool(kv, KEY("k"), &b),
		shmkv_get_int(kv, KEY("k"), &i64),
		shmkv_get_uint(kv, KEY("k"), &u64),
		shmkv_get_float(kv, KEY("k"), &f64),
		shmkv_get_str(kv, KEY("k"), (char *)buf, sizeof(buf), &len),
		shmkv_get_bin(kv, KEY("k"), buf, sizeof(buf), &len),
		shmkv_take(kv, KEY("k"), buf, sizeof(buf), &len),
		shmkv_exists(kv, KEY("k")),
		shmkv_incr(kv, KEY("n"), 1, 0, &i64),
		shmkv_append(kv, KEY("k"), shmkv_str("w"), &len),
		shmkv_get_many(kv, NULL, 0, NULL),
		shmkv_put_many(kv, NULL, 0, NULL),
		shmkv_count(kv, &u64),
		shmkv_clear(kv, &u64),
		shmkv_scan_begin(kv, 0, &scan),
		shmkv_info(kv, &info),
		shmkv_recover(kv, &report),
		shmkv_maintain(kv),
		shmkv_check(kv, NULL, NULL, &audit),
		shmkv_layout(kv, ignore_item, NULL),
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(r); i++) {
		if (r[i] != expected)
			return (int)i + 1;
	}
	return 0;
}

/* ---- handles --------------------------------------------------------------------- */

static void no_handle_is_a_bad_handle(void)
{
	CHECK_EQ(first_call_that_does_not_answer(NULL, -EBADF), 0);
	CHECK(shmkv_detach(NULL) == NULL);
}

static void a_closed_handle_is_a_bad_handle(void)
{
	struct shmkv *kv = map_new("model:handle");
	struct shmkv *again = kv;

	CHECK(shmkv_detach(kv) == NULL);
	CHECK_EQ(first_call_that_does_not_answer(kv, -EBADF), 0);
	/* Twice is harmless. */
	CHECK(shmkv_detach(kv) == NULL);
	/* The next handle is not in the same place, so the old one stays closed. */
	CHECK_EQ(shmkv_attach("model:handle", 0, &again), 0);
	CHECK(again != kv);
	CHECK_EQ(first_call_that_does_not_answer(kv, -EBADF), 0);
	CHECK_EQ(shmkv_exists(again, KEY("k")), 0);
	shmkv_detach(again);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

static void other_memory_is_a_bad_handle(void)
{
	uint64_t memory[512];

	memset(memory, 0, sizeof(memory));
	CHECK_EQ(first_call_that_does_not_answer((struct shmkv *)memory, -EBADF), 0);
	memset(memory, 0xff, sizeof(memory));
	CHECK_EQ(first_call_that_does_not_answer((struct shmkv *)memory, -EBADF), 0);
	CHECK(shmkv_detach((struct shmkv *)memory) == NULL);
}

static void handles_are_used_again_in_the_end(void)
{
	struct shmkv *kv = map_new("model:handle"), *used[200];
	size_t i, j, n_again = 0;

	for (i = 0; i < ARRAY_LEN(used); i++) {
		CHECK_EQ(shmkv_attach("model:handle", 0, &used[i]), 0);
		CHECK_EQ(shmkv_exists(used[i], KEY("k")), 0);
		shmkv_detach(used[i]);
	}
	/* Not within the last 64, but memory does not grow for ever. */
	for (i = 0; i < ARRAY_LEN(used); i++) {
		for (j = 0; j < i; j++) {
			if (used[j] == used[i]) {
				CHECK(i - j >= 64);
				n_again++;
				break;
			}
		}
	}
	CHECK(n_again >= 100);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

static void *open_and_close(void *arg)
{
	struct shmkv *kv;
	int i;

	for (i = 0; i < 500; i++) {
		CHECK_EQ(shmkv_attach("model:handle", 0, &kv), 0);
		CHECK_EQ(shmkv_exists(kv, KEY("k")), 0);
		shmkv_detach(kv);
	}
	return arg;
}

static void threads_open_and_close_at_once(void)
{
	struct shmkv *kv = map_new("model:handle");
	pthread_t threads[4];
	size_t i;

	for (i = 0; i < ARRAY_LEN(threads); i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, open_and_close, NULL), 0);
	for (i = 0; i < ARRAY_LEN(threads); i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_EQ(shmkv_exists(kv, KEY("k")), 0);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

/* ---- fork ------------------------------------------------------------------------ */

/* What a child finds wrong, as its exit status. */
static int child_of_fork(struct shmkv *kv, struct shmkv_scan *scan, uint64_t cursor)
{
	struct shmkv_entry entry;
	struct shmkv *own;
	int r;

	r = first_call_that_does_not_answer(kv, -ECHILD);
	if (r != 0)
		return r;
	if (shmkv_scan_next(scan, &entry) != -ECHILD)
		return 100;
	if (shmkv_scan_cursor(scan) != cursor)
		return 101;
	shmkv_scan_end(scan);

	/* The child's own handle does not make the inherited one usable. */
	if (shmkv_create("model:own", NULL, &own) != 0)
		return 102;
	if (shmkv_put(own, KEY("k"), shmkv_nil(), NULL) != 0)
		return 103;
	r = first_call_that_does_not_answer(kv, -ECHILD);
	if (r != 0)
		return r;
	if (shmkv_detach(kv) != NULL)
		return 104;
	r = first_call_that_does_not_answer(kv, -EBADF);
	if (r != 0)
		return r;
	if (shmkv_exists(own, KEY("k")) != 0)
		return 105;
	shmkv_detach(own);
	return 0;
}

static void a_forked_child_is_refused(void)
{
	struct shmkv *kv = map_new("model:handle");
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t cursor;
	pid_t pid;
	int status;

	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	cursor = shmkv_scan_cursor(scan);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(child_of_fork(kv, scan, cursor));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);

	/* The parent has noticed nothing. */
	CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
	shmkv_scan_end(scan);
	CHECK_EQ(shmkv_exists(kv, KEY("k")), 0);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

static void a_grandchild_is_refused_by_its_parents_handle(void)
{
	struct shmkv *kv = map_new("model:handle"), *own;
	pid_t pid, grandchild;

	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(shmkv_create("model:own", NULL, &own), 0);
		grandchild = fork();
		CHECK(grandchild >= 0);
		if (grandchild == 0) {
			CHECK_EQ(first_call_that_does_not_answer(own, -ECHILD), 0);
			CHECK_EQ(first_call_that_does_not_answer(kv, -ECHILD), 0);
			shmkv_detach(own);
			_exit(0);
		}
		skv_test_wait_ok(grandchild);
		CHECK_EQ(shmkv_put(own, KEY("k"), shmkv_nil(), NULL), 0);
		_exit(0);
	}
	skv_test_wait_ok(pid);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

static void *abandoned, *detached;

static void remember_abandoned(void *map)
{
	abandoned = map;
}

static void remember_detached(void *map)
{
	detached = map;
	skv_engine_model.detach(map);
}

/* Detaching would touch what the parent shares with others, in the parent's name. */
static void a_forked_child_abandons_what_it_detaches(void)
{
	struct skv_engine engine = skv_engine_model;
	const struct skv_engine *const table[] = { &engine, NULL };
	struct shmkv *kv;
	pid_t pid;

	engine.abandon = remember_abandoned;
	engine.detach = remember_detached;
	skv_engines_override(table);
	CHECK_EQ(shmkv_create("model:handle", NULL, &kv), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		shmkv_detach(kv);
		CHECK(abandoned != NULL);
		CHECK(detached == NULL);
		_exit(0);
	}
	skv_test_wait_ok(pid);
	shmkv_detach(kv);
	CHECK(abandoned == NULL);
	CHECK(detached != NULL);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
	skv_engines_override(NULL);
}

/* ---- scans and their handle ------------------------------------------------------ */

static void a_scan_ends_with_its_handle(void)
{
	struct shmkv *kv = map_new("model:handle"), *again = NULL;
	struct shmkv_entry entry = { .key_len = 77 };
	struct shmkv_scan *scan;
	uint64_t cursor;
	int i;

	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_cursor(scan), 0u);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	cursor = shmkv_scan_cursor(scan);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_scan_next(scan, &entry), -EBADF);
	CHECK_EQ(shmkv_scan_cursor(scan), cursor);
	/* Nor is it taken for one of a later handle in the same place. */
	for (i = 0; i < 1000 && again != kv; i++) {
		shmkv_detach(again);
		CHECK_EQ(shmkv_attach("model:handle", 0, &again), 0);
	}
	CHECK(again == kv);
	CHECK_EQ(shmkv_scan_next(scan, &entry), -EBADF);
	CHECK(shmkv_scan_end(scan) == NULL);
	shmkv_detach(again);

	CHECK_EQ(shmkv_scan_next(NULL, &entry), -EBADF);
	CHECK_EQ(shmkv_scan_cursor(NULL), UINT64_MAX);
	CHECK(shmkv_scan_end(NULL) == NULL);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

/* ---- names ----------------------------------------------------------------------- */

static void names_follow_the_rules(void)
{
	static const struct {
		const char *name;
		int r;
	} rows[] = {
		{ "model:a", 0 },
		{ "model:Z9._-", 0 },
		{ "model:-", 0 },
		{ "model:_.", 0 },
		{ "", -EINVAL },
		{ ":", -EINVAL },
		{ ":a", -EINVAL },
		{ "model", -EINVAL }, /* a bare name, and there is no shm here */
		{ "model:", -EINVAL },
		{ "model:.hidden", -EINVAL },
		{ "model:..", -EINVAL },
		{ "model:a/b", -EINVAL },
		{ "model:/a", -EINVAL },
		{ "model:a b", -EINVAL },
		{ "model:a:b", -EINVAL },
		{ "model:\xc3\xa4", -EINVAL },
		{ "model:a\n", -EINVAL },
		{ "Model:a", -EINVAL },
		{ "mode:a", -EINVAL },
		{ "models:a", -EINVAL },
		{ "unknown:a", -EINVAL },
		{ "heap:adaptive", -EINVAL }, /* not in this table of engines */
		{ "heap:hamt", -EOPNOTSUPP },
		{ "heap:hamt/label", -EOPNOTSUPP },
		{ "heap:", -EINVAL },
		{ "heap:hamts", -EINVAL },
		{ "heap:hamt:a", -EINVAL },
		{ "heaps:hamt", -EINVAL },
	};
	uint64_t somewhere;
	struct shmkv *const untouched = (struct shmkv *)&somewhere;
	struct shmkv *kv;
	size_t i;

	skv_model_install();
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		kv = untouched;
		CHECK_EQ(shmkv_create(rows[i].name, NULL, &kv), rows[i].r);
		if (rows[i].r < 0) {
			CHECK(kv == untouched);
			CHECK_EQ(shmkv_attach(rows[i].name, 0, &kv), rows[i].r);
			CHECK_EQ(shmkv_unlink(rows[i].name), rows[i].r);
			CHECK(kv == untouched);
			continue;
		}
		shmkv_detach(kv);
		CHECK_EQ(shmkv_unlink(rows[i].name), 0);
	}
	CHECK_EQ(shmkv_create(NULL, NULL, &kv), -EINVAL);
	CHECK_EQ(shmkv_attach(NULL, 0, &kv), -EINVAL);
	CHECK_EQ(shmkv_unlink(NULL), -EINVAL);
	CHECK_EQ(shmkv_create("model:a", NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_attach("model:a", 0, NULL), -EINVAL);
}

static void names_have_a_longest_length(void)
{
	char name[SHMKV_NAME_MAX + 16] = "model:";
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv *kv;

	skv_model_install();
	memset(name + 6, 'x', SHMKV_NAME_MAX);
	CHECK_EQ(shmkv_create(name, NULL, &kv), 0);
	CHECK_EQ(shmkv_info(kv, &info), 0);
	CHECK_STR(info.name, name + 6);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink(name), 0);
	name[6 + SHMKV_NAME_MAX] = 'x';
	CHECK_EQ(shmkv_create(name, NULL, &kv), -EINVAL);
}

static void a_bare_name_means_shm(void)
{
	/* The model under the scheme that bare names have. */
	struct skv_engine engine = skv_engine_model;
	const struct skv_engine *const table[] = { &engine, NULL };
	struct shmkv *kv, *same;

	engine.scheme = "shm";
	skv_engines_override(table);
	CHECK_EQ(shmkv_create("bare", NULL, &kv), 0);
	CHECK_EQ(shmkv_attach("shm:bare", 0, &same), 0);
	CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_exists(same, KEY("k")), 0);
	shmkv_detach(kv);
	shmkv_detach(same);
	CHECK_EQ(shmkv_unlink("bare"), 0);
	skv_engines_override(NULL);
}

struct listing {
	char names[4][SHMKV_NAME_MAX + 16];
	int n;
	int stop_at;
};

static int list_name(const char *name, void *arg)
{
	struct listing *listing = arg;

	CHECK(listing->n < 4);
	snprintf(listing->names[listing->n++], sizeof(listing->names[0]), "%s", name);
	return listing->n == listing->stop_at ? 42 : 0;
}

static void a_list_gives_names_that_attach_takes(void)
{
	struct skv_engine engine = skv_engine_model;
	const struct skv_engine *const table[] = { &engine, NULL };
	struct shmkv *kv[3];
	struct listing listing = { .n = 0 };
	int i, n = 0;

	skv_engines_override(table);
	CHECK_EQ(shmkv_list(NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_list(count_name, &n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(shmkv_create("model:a", NULL, &kv[0]), 0);
	CHECK_EQ(shmkv_create("model:b", NULL, &kv[1]), 0);
	CHECK_EQ(shmkv_create("model:c", NULL, &kv[2]), 0);

	CHECK_EQ(shmkv_list(list_name, &listing), 0);
	CHECK_EQ(listing.n, 3);
	CHECK_STR(listing.names[0], "model:a");
	CHECK_STR(listing.names[1], "model:b");
	CHECK_STR(listing.names[2], "model:c");
	listing = (struct listing){ .stop_at = 2 };
	CHECK_EQ(shmkv_list(list_name, &listing), 42);
	CHECK_EQ(listing.n, 2);

	/* Names of the default engine come bare. */
	engine.scheme = "shm";
	listing = (struct listing){ .n = 0 };
	CHECK_EQ(shmkv_list(list_name, &listing), 0);
	CHECK_EQ(listing.n, 3);
	CHECK_STR(listing.names[0], "a");

	for (i = 0; i < 3; i++) {
		shmkv_detach(kv[i]);
		CHECK_EQ(shmkv_unlink(listing.names[i]), 0);
	}
	skv_engines_override(NULL);
}

static void what_an_engine_lacks_is_not_supported(void)
{
	struct skv_engine engine = {
		.scheme = "model",
		.create = skv_engine_model.create,
		.detach = skv_engine_model.detach,
		.abandon = skv_engine_model.abandon,
	};
	const struct skv_engine *const table[] = { &engine, NULL };
	struct shmkv *kv, *other;
	int n = 0;

	skv_engines_override(table);
	CHECK_EQ(shmkv_create("model:bare", NULL, &kv), 0);
	CHECK_EQ(first_call_that_does_not_answer(kv, -EOPNOTSUPP), 0);
	CHECK_EQ(shmkv_attach("model:bare", 0, &other), -EOPNOTSUPP);
	CHECK_EQ(shmkv_unlink("model:bare"), -EOPNOTSUPP);
	CHECK_EQ(shmkv_list(count_name, &n), 0);
	CHECK_EQ(n, 0);
	shmkv_detach(kv);
	skv_model_install();
	CHECK_EQ(shmkv_unlink("model:bare"), 0);
}

/* ---- options and flags ----------------------------------------------------------- */

static int create_with(const struct shmkv_options *opts)
{
	struct shmkv *kv = NULL;
	int r;

	r = shmkv_create("model:options", opts, &kv);
	if (r == 0) {
		shmkv_detach(kv);
		CHECK_EQ(shmkv_unlink("model:options"), 0);
	} else {
		CHECK(kv == NULL);
	}
	return r;
}

static void options_have_ranges(void)
{
	static const struct {
		struct shmkv_options opts;
		int r;
	} rows[] = {
		{ { .size = 0 }, 0 }, /* the size is set below */
		{ { .max_bytes = SHMKV_SIZE_MIN }, 0 },
		{ { .max_bytes = SHMKV_SIZE_MIN - 1 }, -EINVAL },
		{ { .max_bytes = 1 }, -EINVAL },
		{ { .max_bytes = SHMKV_SIZE_MAX }, 0 },
		{ { .max_bytes = SHMKV_SIZE_MAX + 1 }, -EINVAL },
		{ { .mode = 0777 }, 0 },
		{ { .mode = 0400 }, 0 },
		{ { .mode = 01600 }, -EINVAL },
		{ { .mode = 0100600 }, -EINVAL },
		{ { .hash = SHMKV_HASH_SIPHASH13 }, 0 },
		{ { .hash = SHMKV_HASH_XXH3 }, 0 },
		{ { .hash = 3 }, -EINVAL },
		{ { .max_processes = 1 }, 0 },
		{ { .max_processes = 4095 }, 0 },
		{ { .max_processes = 4096 }, -EINVAL },
		{ { .max_threads = 1 }, 0 },
		{ { .max_threads = 4095 }, 0 },
		{ { .max_threads = 4096 }, -EINVAL },
	};
	struct shmkv_options opts;
	size_t i;

	skv_model_install();
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		opts = rows[i].opts;
		opts.size = sizeof(opts);
		CHECK_EQ(create_with(&opts), rows[i].r);
	}
	CHECK_EQ(create_with(NULL), 0);
}

/* What the engine is given when the caller says nothing, or less than everything. */
static struct shmkv_options given;

static int create_and_remember(const char *name, const struct shmkv_options *opts, void **ret_map)
{
	given = *opts;
	return skv_engine_model.create(name, opts, ret_map);
}

static void options_of_other_versions_are_understood(void)
{
	struct {
		struct shmkv_options opts;
		uint8_t surplus[64];
	} newer;
	struct skv_engine engine = skv_engine_model;
	const struct skv_engine *const table[] = { &engine, NULL };
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	size_t i;

	engine.create = create_and_remember;
	skv_engines_override(table);

	CHECK_EQ(create_with(NULL), 0);
	CHECK_EQ(given.size, sizeof(given));
	CHECK_EQ(given.max_bytes, (uint64_t)64 << 20);
	CHECK_EQ(given.capacity, 0u);
	CHECK_EQ(given.mode, 0600u);
	CHECK_EQ(given.hash, (uint32_t)SHMKV_HASH_SIPHASH13);
	CHECK_EQ(given.max_processes, 128u);
	CHECK_EQ(given.max_threads, 512u);

	/* Older: only the first members are looked at. */
	opts.max_bytes = 2 << 20;
	opts.capacity = 1000;
	opts.mode = 07777777;
	opts.size = offsetof(struct shmkv_options, mode);
	CHECK_EQ(create_with(&opts), 0);
	CHECK_EQ(given.size, sizeof(given));
	CHECK_EQ(given.max_bytes, (uint64_t)2 << 20);
	CHECK_EQ(given.capacity, 1000u);
	CHECK_EQ(given.mode, 0600u);
	opts.size = offsetof(struct shmkv_options, max_bytes);
	CHECK_EQ(create_with(&opts), 0);
	CHECK_EQ(given.max_bytes, (uint64_t)64 << 20);

	/* Newer: as long as it asks for nothing that we do not know. */
	memset(&newer, 0, sizeof(newer));
	newer.opts.size = sizeof(newer);
	newer.opts.mode = 0640;
	CHECK_EQ(create_with(&newer.opts), 0);
	CHECK_EQ(given.size, sizeof(given));
	CHECK_EQ(given.mode, 0640u);
	for (i = 0; i < sizeof(newer.surplus); i++) {
		newer.surplus[i] = 1;
		CHECK_EQ(create_with(&newer.opts), -EINVAL);
		newer.surplus[i] = 0;
	}

	/* Sizes that nobody set. */
	opts = (struct shmkv_options)SHMKV_OPTIONS_INIT;
	opts.size = 0;
	CHECK_EQ(create_with(&opts), -EINVAL);
	opts.size = sizeof(opts.size) - 1;
	CHECK_EQ(create_with(&opts), -EINVAL);
	opts.size = SIZE_MAX;
	CHECK_EQ(create_with(&opts), -EINVAL);
	skv_engines_override(NULL);
}

static void unknown_flags_are_refused(void)
{
	struct shmkv *kv = map_new("model:handle"), *other = NULL;
	unsigned int bit;

	for (bit = 1; bit < 32; bit++)
		CHECK_EQ(shmkv_attach("model:handle", 1u << bit, &other), -EINVAL);
	CHECK_EQ(shmkv_attach("model:handle", SHMKV_READ_ONLY | 2u, &other), -EINVAL);
	CHECK(other == NULL);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

/* ---- structures of other versions ------------------------------------------------ */

static void info_is_cut_to_the_callers_size(void)
{
	struct shmkv *kv = map_new("model:handle");
	struct {
		struct shmkv_info info;
		uint8_t surplus[16];
	} newer;
	const uint8_t *bytes = (const uint8_t *)&newer;
	size_t size, i;

	/* A caller from before inserts was there: count is the last it knows of. */
	for (size = sizeof(size); size <= sizeof(newer); size++) {
		memset(&newer, 0x5a, sizeof(newer));
		newer.info.size = size;
		CHECK_EQ(shmkv_info(kv, &newer.info), 0);
		CHECK_EQ(newer.info.size, size);
		for (i = size < sizeof(newer.info) ? size : sizeof(newer.info); i < sizeof(newer); i++)
			CHECK_EQ(bytes[i], 0x5a);
		if (size >= offsetof(struct shmkv_info, leaves))
			CHECK_EQ(newer.info.count, 1u);
	}
	CHECK_STR(newer.info.name, "handle");
	CHECK_STR(newer.info.engine, "model");
	newer.info.size = sizeof(size) - 1;
	CHECK_EQ(shmkv_info(kv, &newer.info), -EINVAL);
	CHECK_EQ(shmkv_info(kv, NULL), -EINVAL);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

static void reports_are_cut_to_the_callers_size(void)
{
	struct shmkv *kv = map_new("model:handle");
	struct shmkv_recovery report;
	struct shmkv_audit audit;

	memset(&report, 0x5a, sizeof(report));
	report.size = offsetof(struct shmkv_recovery, blocks);
	CHECK_EQ(shmkv_recover(kv, &report), 0);
	CHECK_EQ(report.size, offsetof(struct shmkv_recovery, blocks));
	CHECK_EQ(report.contexts, 0u);
	CHECK_EQ(report.blocks, 0x5a5a5a5a5a5a5a5a);
	report.size = 0;
	CHECK_EQ(shmkv_recover(kv, &report), -EINVAL);
	CHECK_EQ(shmkv_recover(kv, NULL), -EINVAL);

	memset(&audit, 0x5a, sizeof(audit));
	audit.size = offsetof(struct shmkv_audit, leaked_blocks);
	CHECK_EQ(shmkv_check(kv, NULL, NULL, &audit), 0);
	CHECK_EQ(audit.violations, 0u);
	CHECK_EQ(audit.keys, 1u);
	CHECK_EQ(audit.leaked_blocks, 0x5a5a5a5a5a5a5a5a);
	audit.size = 0;
	CHECK_EQ(shmkv_check(kv, NULL, NULL, &audit), -EINVAL);
	CHECK_EQ(shmkv_check(kv, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_layout(kv, NULL, NULL), -EINVAL);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

/* ---- values that others may have written ----------------------------------------- */

/* Each row is stored behind the library's back, as a hostile segment might hold it. */
static void a_damaged_value_is_not_handed_out(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool is_container; /* told only by its inside */
	} rows[] = {
		{ "", 0, false },
		{ "\xc1", 1, false },
		{ "\xa3" "ab", 3, false },         /* the header tells more */
		{ "\xa3" "abcd", 5, false },       /* the header tells less */
		{ "\xdb\xff\xff\xff\xff" "a", 6, false },
		{ "\xc6\x00\x00", 3, false },
		{ "\x05\x06", 2, false },          /* two numbers */
		{ "\xcf\x01", 2, false },
		{ "\x90\x90", 2, false },
		{ "\xdd\xff\xff\xff\xff\x01", 6, false },
		{ "\xd6\x01\x02", 3, false },
		{ "\x92\x01\xc1", 3, true },
		{ "\x91\x01\x02", 3, true },
		{ "\x92\xa1" "a\xa5" "b", 5, true },
	};
	struct shmkv *kv = map_new("model:handle");
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct shmkv_value value;
	uint8_t buf[64];
	uint64_t u64;
	int64_t i64;
	double f64;
	size_t i, len = 77;
	void *p = buf;
	bool b;

	CHECK_EQ(shmkv_clear(kv, NULL), 0);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_EQ(skv_model_corrupt("handle", KEY("bad"), rows[i].bytes, rows[i].len), 0);
		value = shmkv_uint(7);
		CHECK_EQ(shmkv_get(kv, KEY("bad"), buf, sizeof(buf), &value, NULL), -EBADMSG);
		CHECK_EQ(value.type, SHMKV_UINT);
		CHECK_EQ(shmkv_get_packed(kv, KEY("bad"), buf, sizeof(buf), &len, NULL), -EBADMSG);
		CHECK_EQ(shmkv_get_alloc(kv, KEY("bad"), &p, &len, NULL), -EBADMSG);
		if (!rows[i].is_container) {
			CHECK_EQ(shmkv_get(kv, KEY("bad"), NULL, 0, &value, NULL), -EBADMSG);
			CHECK_EQ(shmkv_get_packed(kv, KEY("bad"), NULL, 0, &len, NULL), -EBADMSG);
			CHECK_EQ(shmkv_get_bool(kv, KEY("bad"), &b), -EBADMSG);
			CHECK_EQ(shmkv_get_int(kv, KEY("bad"), &i64), -EBADMSG);
			CHECK_EQ(shmkv_get_uint(kv, KEY("bad"), &u64), -EBADMSG);
			CHECK_EQ(shmkv_get_float(kv, KEY("bad"), &f64), -EBADMSG);
			CHECK_EQ(shmkv_get_str(kv, KEY("bad"), (char *)buf, 64, &len), -EBADMSG);
			CHECK_EQ(shmkv_get_bin(kv, KEY("bad"), buf, 64, &len), -EBADMSG);
			CHECK_EQ(shmkv_incr(kv, KEY("bad"), 1, 0, NULL), -EBADMSG);
			CHECK_EQ(shmkv_append(kv, KEY("bad"), shmkv_str("x"), NULL), -EBADMSG);
		}
		CHECK_EQ(len, 77u);
		CHECK(p == buf);

		/* A scan tells it and goes on behind it. */
		CHECK_EQ(shmkv_put(kv, KEY("good"), shmkv_nil(), NULL), 0);
		CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
		CHECK_EQ(shmkv_scan_next(scan, &entry) + shmkv_scan_next(scan, &entry),
			 1 - EBADMSG);
		CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
		shmkv_scan_end(scan);

		/* It can be replaced, taken out of the way, and removed. */
		CHECK_EQ(shmkv_replace(kv, KEY("bad"), shmkv_int(1), NULL), 0);
		CHECK_EQ(skv_model_corrupt("handle", KEY("bad"), rows[i].bytes, rows[i].len), 0);
		CHECK_EQ(shmkv_take(kv, KEY("bad"), buf, sizeof(buf), &len), -EBADMSG);
		CHECK_EQ(len, 77u);
		CHECK_EQ(shmkv_exists(kv, KEY("bad")), -ENOENT);
		CHECK_EQ(skv_model_corrupt("handle", KEY("bad"), rows[i].bytes, rows[i].len), 0);
		CHECK_EQ(shmkv_del(kv, KEY("bad")), 0);
	}
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:handle"), 0);
}

/* An engine in whose maps a value is always a little longer than the buffer for it. */
static int get_that_outgrows(void *map, const struct skv_key *key, struct skv_sink *sink)
{
	(void)map;
	(void)key;
	sink->value_len = sink->cap + 1;
	sink->buf_len = sink->value_len;
	memset(sink->head, 0, sizeof(sink->head));
	/* A str 32 of just that length. */
	sink->head[0] = 0xdb;
	sink->head[1] = (uint8_t)((sink->value_len - 5) >> 24);
	sink->head[2] = (uint8_t)((sink->value_len - 5) >> 16);
	sink->head[3] = (uint8_t)((sink->value_len - 5) >> 8);
	sink->head[4] = (uint8_t)(sink->value_len - 5);
	sink->head_len = SKV_HEAD_MAX;
	return -ENOBUFS;
}

static void get_alloc_does_not_chase_for_ever(void)
{
	struct skv_engine engine = skv_engine_model;
	const struct skv_engine *const table[] = { &engine, NULL };
	struct shmkv *kv;
	void *buf = &engine;
	size_t len = 77;

	engine.get = get_that_outgrows;
	skv_engines_override(table);
	CHECK_EQ(shmkv_create("model:chase", NULL, &kv), 0);
	CHECK_EQ(shmkv_get_alloc(kv, KEY("k"), &buf, &len, NULL), -EAGAIN);
	CHECK(buf == &engine);
	CHECK_EQ(len, 77u);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink("model:chase"), 0);
	skv_engines_override(NULL);
}

const struct skv_test skv_tests_handle[] = {
	{ "handle", "no handle is a bad handle", no_handle_is_a_bad_handle, 10 },
	{ "handle", "a closed handle is a bad handle", a_closed_handle_is_a_bad_handle, 10 },
	{ "handle", "other memory is a bad handle", other_memory_is_a_bad_handle, 10 },
	{ "handle", "handles are used again in the end", handles_are_used_again_in_the_end, 10 },
	{ "handle", "threads open and close at once", threads_open_and_close_at_once, 20 },
	{ "handle", "a forked child is refused", a_forked_child_is_refused, 10 },
	{ "handle", "a grandchild is refused by its parent's handle",
	  a_grandchild_is_refused_by_its_parents_handle, 10 },
	{ "handle", "a forked child abandons what it detaches",
	  a_forked_child_abandons_what_it_detaches, 10 },
	{ "handle", "a scan ends with its handle", a_scan_ends_with_its_handle, 10 },
	{ "handle", "names follow the rules", names_follow_the_rules, 10 },
	{ "handle", "names have a longest length", names_have_a_longest_length, 10 },
	{ "handle", "a bare name means shm", a_bare_name_means_shm, 10 },
	{ "handle", "a list gives names that attach takes", a_list_gives_names_that_attach_takes,
	  10 },
	{ "handle", "what an engine lacks is not supported", what_an_engine_lacks_is_not_supported,
	  10 },
	{ "handle", "options have ranges", options_have_ranges, 10 },
	{ "handle", "options of other versions are understood",
	  options_of_other_versions_are_understood, 10 },
	{ "handle", "unknown flags are refused", unknown_flags_are_refused, 10 },
	{ "handle", "info is cut to the caller's size", info_is_cut_to_the_callers_size, 10 },
	{ "handle", "reports are cut to the caller's size", reports_are_cut_to_the_callers_size,
	  10 },
	{ "handle", "a damaged value is not handed out", a_damaged_value_is_not_handed_out, 10 },
	{ "handle", "get_alloc does not chase for ever", get_alloc_does_not_chase_for_ever, 10 },
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_EVERY_CALL_H
#define SKV_TESTS_EVERY_CALL_H

/*
 * every-call: every public call on a handle, with all but one thing right, so that a test can
 * hold all of them against the same wrong thing.
 */

#include "tests/segment.h"

#include <shmkv/expiry.h>
#include <shmkv/huge.h>
#include <shmkv/reserve.h>
#include <shmkv/view.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <stdlib.h>

/* Every call with a key; all but the key is right. They share their signature here. */
struct call {
	const char *name;
	int (*fn)(struct shmkv *kv, const void *key, size_t key_len);
	bool writes;
};

#define CALL(id, expr)                                                            \
	static int call_##id(struct shmkv *kv, const void *key, size_t key_len)   \
	{                                                                         \
		return expr;                                                      \
	}

/* Where the calls put what they find; tests use them too. */
static uint8_t out[1 << 17];
static size_t out_len;
static struct shmkv_value out_value;
static bool out_bool;
static int64_t out_int;
static uint64_t out_uint;
static double out_float;

CALL(put, shmkv_put(kv, key, key_len, shmkv_str("v"), NULL))
CALL(add, shmkv_add(kv, key, key_len, shmkv_str("v"), NULL))
CALL(replace, shmkv_replace(kv, key, key_len, shmkv_str("v"), NULL))
CALL(cas, shmkv_cas(kv, key, key_len, 1, shmkv_str("v"), NULL))
CALL(del, shmkv_del(kv, key, key_len))
CALL(take, shmkv_take(kv, key, key_len, out, sizeof(out), &out_len))
CALL(incr, shmkv_incr(kv, key, key_len, 1, 0, &out_int))
CALL(append, shmkv_append(kv, key, key_len, shmkv_str("v"), &out_len))
CALL(get, shmkv_get(kv, key, key_len, out, sizeof(out), &out_value, NULL))
CALL(get_packed, shmkv_get_packed(kv, key, key_len, out, sizeof(out), &out_len, NULL))
CALL(get_bool, shmkv_get_bool(kv, key, key_len, &out_bool))
CALL(get_int, shmkv_get_int(kv, key, key_len, &out_int))
CALL(get_uint, shmkv_get_uint(kv, key, key_len, &out_uint))
CALL(get_float, shmkv_get_float(kv, key, key_len, &out_float))
CALL(get_str, shmkv_get_str(kv, key, key_len, (char *)out, sizeof(out), &out_len))
CALL(get_bin, shmkv_get_bin(kv, key, key_len, out, sizeof(out), &out_len))
CALL(exists, shmkv_exists(kv, key, key_len))
CALL(put_ttl, shmkv_put_ttl(kv, key, key_len, shmkv_str("v"), 1000, NULL))
CALL(add_ttl, shmkv_add_ttl(kv, key, key_len, shmkv_str("v"), 1000, NULL))
CALL(replace_ttl, shmkv_replace_ttl(kv, key, key_len, shmkv_str("v"), 1000, NULL))
CALL(cas_ttl, shmkv_cas_ttl(kv, key, key_len, 1, shmkv_str("v"), 1000, NULL))
CALL(touch, shmkv_touch(kv, key, key_len, 1000))
CALL(persist, shmkv_persist(kv, key, key_len))
CALL(ttl, shmkv_ttl(kv, key, key_len, &out_uint))

static int call_get_alloc(struct shmkv *kv, const void *key, size_t key_len)
{
	void *buf = NULL;
	size_t len;
	int r = shmkv_get_alloc(kv, key, key_len, &buf, &len, NULL);

	CHECK((r == 0) == (buf != NULL));
	free(buf);
	return r;
}

static int call_view(struct shmkv *kv, const void *key, size_t key_len)
{
	struct shmkv_view view;
	int r = shmkv_view_begin(kv, key, key_len, &view);

	return r < 0 ? r : shmkv_view_end(&view);
}

/* Absent is what it has seen, and there is no time to wait for anything else. */
static int call_wait(struct shmkv *kv, const void *key, size_t key_len)
{
	int r = shmkv_wait(kv, key, key_len, 0, 0, &out_uint);

	return r == -ETIMEDOUT ? -ENOENT : r;
}

static int call_draft(struct shmkv *kv, const void *key, size_t key_len)
{
	struct shmkv_draft draft;
	int r = shmkv_reserve(kv, key, key_len, SHMKV_STR, 1, &draft);

	if (r < 0)
		return r;
	memcpy(draft.data, "v", 1);
	return shmkv_commit(&draft, 1, SHMKV_COMMIT_PUT, NULL);
}

static const struct call calls[] = {
	{ "put", call_put, true },
	{ "add", call_add, true },
	{ "replace", call_replace, true },
	{ "cas", call_cas, true },
	{ "del", call_del, true },
	{ "take", call_take, true },
	{ "incr", call_incr, true },
	{ "append", call_append, true },
	{ "get", call_get, false },
	{ "get_packed", call_get_packed, false },
	{ "get_alloc", call_get_alloc, false },
	{ "get_bool", call_get_bool, false },
	{ "get_int", call_get_int, false },
	{ "get_uint", call_get_uint, false },
	{ "get_float", call_get_float, false },
	{ "get_str", call_get_str, false },
	{ "get_bin", call_get_bin, false },
	{ "exists", call_exists, false },
	{ "put_ttl", call_put_ttl, true },
	{ "add_ttl", call_add_ttl, true },
	{ "replace_ttl", call_replace_ttl, true },
	{ "cas_ttl", call_cas_ttl, true },
	{ "touch", call_touch, true },
	{ "persist", call_persist, true },
	{ "ttl", call_ttl, false },
	{ "view", call_view, true },
	{ "wait", call_wait, false },
	{ "draft", call_draft, true },
};

static inline void call_must_give(const struct call *call, struct shmkv *kv, const void *key,
			   size_t key_len, int expected)
{
	int r = call->fn(kv, key, key_len);

	if (r != expected)
		skv_test_fail(__FILE__, __LINE__, "%s of a key of %zu bytes is %s, not %s",
			      call->name, key_len, shmkv_errname(r), shmkv_errname(expected));
}

static int no_participant(const struct shmkv_participant *participant, void *arg)
{
	(void)participant;
	(void)arg;
	return 0;
}

static int no_item(const struct shmkv_layout_item *item, void *arg)
{
	(void)item;
	(void)arg;
	return 0;
}

/* The calls without a key: all of them must give the same. */
static inline void keyless_must_give(struct shmkv *kv, int expected_read, int expected_write)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_recovery recovery = { .size = sizeof(recovery) };
	struct shmkv_memory memory = { .size = sizeof(memory) };
	struct shmkv_stats stats = { .size = sizeof(stats) };
	struct shmkv_huge huge = { .size = sizeof(huge) };
	struct shmkv_scan *scan = NULL;

	CHECK_EQ(shmkv_count(kv, &out_uint), expected_read);
	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), expected_read);
	CHECK((expected_read == 0) == (scan != NULL));
	shmkv_scan_end(scan);
	CHECK_EQ(shmkv_state(kv, &out_uint), expected_read);
	CHECK_EQ(shmkv_wait_any(kv, UINT64_MAX, 0, &out_uint), expected_read);
	if (expected_read < 0) {
		CHECK_EQ(shmkv_poll_open(kv, &(int){ 0 }), expected_read);
		CHECK_EQ(shmkv_poll(kv, -1, "k", 1, 0, &out_uint), expected_read);
		CHECK_EQ(shmkv_poll_any(kv, -1, 0, &out_uint), expected_read);
	}
	CHECK_EQ(shmkv_wait_cancel(kv), expected_read);
	CHECK_EQ(shmkv_wait_resume(kv), expected_read);
	CHECK_EQ(shmkv_info(kv, &info), expected_read);
	CHECK_EQ(shmkv_linked(kv) < 0 ? shmkv_linked(kv) : 0, expected_read);
	CHECK_EQ(shmkv_stats(kv, &stats), expected_read);
	CHECK_EQ(shmkv_memory(kv, &memory), expected_read);
	CHECK_EQ(shmkv_participants(kv, no_participant, NULL), expected_read);
	CHECK_EQ(shmkv_huge_info(kv, &huge), expected_read);
	CHECK_EQ(shmkv_check(kv, NULL, NULL, &audit), expected_read);
	CHECK_EQ(shmkv_layout(kv, no_item, NULL), expected_read);
	CHECK_EQ(shmkv_clear(kv, NULL), expected_write);
	CHECK_EQ(shmkv_expire(kv, 0, NULL), expected_write);
	CHECK_EQ(shmkv_recover(kv, &recovery), expected_write);
	CHECK_EQ(shmkv_huge_collapse(kv, 0, NULL), expected_write);
	CHECK_EQ(shmkv_maintain(kv), expected_write);
}

#endif

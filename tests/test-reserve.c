/* SPDX-License-Identifier: MIT */
/* test-reserve: values that are written in place before anybody sees them. */
#include "tests/segment.h"

#include "api/handle.h"
#include "shm/writer.h"
#include "tests/boot-clock.h"

#include <shmkv/expiry.h>
#include <shmkv/reserve.h>
#include <shmkv/view.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOME MIB

static void check_bin(struct shmkv *kv, const char *key, const void *bytes, size_t len)
{
	uint8_t *buf = skv_alloc(len + 1);
	size_t got;

	CHECK_EQ(shmkv_get_bin(kv, KEY(key), buf, len + 1, &got), 0);
	CHECK_MEM(buf, got, bytes, len);
	free(buf);
}

/* Bytes that differ with @salt, into a draft. */
static void fill_draft(struct shmkv_draft *draft, uint64_t salt)
{
	skv_fill(draft->data, draft->len, salt);
}

static void put_by_draft(struct shmkv *kv, const void *key, size_t key_len, size_t len,
			 uint64_t salt)
{
	struct shmkv_draft draft;

	CHECK_EQ(shmkv_reserve(kv, key, key_len, SHMKV_BIN, len, &draft), 0);
	fill_draft(&draft, salt);
	CHECK_EQ(shmkv_commit(&draft, len, SHMKV_COMMIT_PUT, NULL), 0);
}

/* ---- what it does ------------------------------------------------------------------- */

static void nobody_sees_a_draft_before_its_commit(void)
{
	static const size_t lens[] = { 0, 1, 31, 32, 255, 256, 5000, 65535, 65536, 300000 };
	struct shmkv_draft draft;
	uint8_t *bytes;
	struct skv_segment s;
	uint64_t token, seen;
	size_t i, len;
	bool b;

	skv_segment_begin(&s, 8 * MIB);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		len = lens[i];
		bytes = skv_alloc(len + 1);
		skv_fill(bytes, len, i);
		CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_bool(i & 1), NULL), 0);
		CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, len, &draft), 0);
		CHECK_EQ(draft.len, len);
		CHECK_EQ(shmkv_get_bool(s.kv, KEY("k"), &b), 0);
		CHECK_EQ(b, i & 1);
		memcpy(draft.data, bytes, len);
		skv_segment_check(s.kv);
		CHECK_EQ(shmkv_get_bool(s.kv, KEY("k"), &b), 0);
		CHECK_EQ(shmkv_commit(&draft, len, SHMKV_COMMIT_PUT, &token), 0);
		check_bin(s.kv, "k", bytes, len);
		CHECK_EQ(shmkv_cas(s.kv, KEY("k"), token, shmkv_int(1), &seen), 0);
		CHECK(seen != token);
		free(bytes);
	}
	CHECK_EQ(skv_segment_count(s.kv), 1);
	skv_segment_end(&s);
}

static void an_aborted_draft_was_never_there(void)
{
	static const size_t lens[] = { 10, 9000, 200000 };
	struct shmkv_draft draft;
	struct skv_snapshot before;
	struct skv_segment s;
	uint64_t used;
	size_t i;

	skv_segment_begin(&s, 8 * MIB);
	skv_segment_populate(s.kv);
	before = skv_segment_snapshot(s.kv);
	used = skv_segment_used(s.kv);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_STR, lens[i], &draft), 0);
		CHECK(skv_segment_used(s.kv) >= used + lens[i]);
		fill_draft(&draft, i);
		CHECK_EQ(shmkv_abort(&draft), 0);
		CHECK_EQ(skv_segment_used(s.kv), used);
		CHECK_EQ(shmkv_abort(&draft), -EBADF);
	}
	skv_segment_unchanged(s.kv, &before);
	skv_segment_end(&s);
}

static void a_refused_commit_leaves_the_draft_open(void)
{
	struct shmkv_draft draft;
	struct skv_segment s;
	uint64_t token = 7;

	skv_segment_begin(&s, SOME);
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_str("old"), NULL), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_STR, 8, &draft), 0);
	memcpy(draft.data, "the next", 8);
	CHECK_EQ(shmkv_commit(&draft, 3, SHMKV_COMMIT_ADD, &token), -EEXIST);
	CHECK_EQ(token, 7);
	skv_segment_check(s.kv);
	CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_commit(&draft, 8, SHMKV_COMMIT_REPLACE, &token), -ENOENT);
	CHECK_EQ(shmkv_commit(&draft, 9, SHMKV_COMMIT_PUT, &token), -EINVAL);
	CHECK_EQ(shmkv_commit(&draft, 8, (enum shmkv_commit_mode)4, &token), -EINVAL);
	skv_segment_check(s.kv);
	CHECK_EQ(skv_segment_count(s.kv), 0);
	CHECK_EQ(shmkv_commit(&draft, 8, SHMKV_COMMIT_ADD, &token), 0);
	CHECK_EQ(shmkv_cas(s.kv, KEY("k"), token, shmkv_str("x"), NULL), 0);
	skv_segment_end(&s);
}

/* The head keeps its form, so every reader must take a length that would fit a shorter one. */
static void a_commit_may_be_shorter_than_reserved(void)
{
	static const size_t reserved[] = { 20, 100, 300, 70000 };
	static const size_t lens[] = { 0, 1, 15, 20, 40, 256, 65536 };
	uint8_t packed[8], *bytes = skv_alloc(70010), *buf = skv_alloc(70010);
	struct shmkv_draft draft;
	struct shmkv_value value;
	struct skv_segment s;
	size_t i, k, n, len;
	enum shmkv_type type;

	skv_segment_begin(&s, 8 * MIB);
	for (i = 0; i < 2 * ARRAY_LEN(reserved); i++) {
		type = i % 2 ? SHMKV_STR : SHMKV_BIN;
		for (k = 0; k < ARRAY_LEN(lens) && lens[k] <= reserved[i / 2]; k++) {
			len = lens[k];
			skv_fill(bytes, len + 3, i * 10 + k);
			CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), type, reserved[i / 2], &draft), 0);
			memcpy(draft.data, bytes, len);
			CHECK_EQ(shmkv_commit(&draft, len, SHMKV_COMMIT_PUT, NULL), 0);
			CHECK_EQ(shmkv_get(s.kv, KEY("k"), buf, 70010, &value, NULL), 0);
			CHECK_EQ(value.type, type);
			CHECK_EQ(value.len, len);
			CHECK(memcmp(buf, bytes, len) == 0);
			CHECK_EQ(shmkv_get_packed(s.kv, KEY("k"), buf, 70010, &n, NULL), 0);
			CHECK_EQ(shmkv_value_decode(buf, n, &value), 0);
			CHECK_EQ(value.len, len);
			CHECK_EQ(shmkv_append(s.kv, KEY("k"),
					      type == SHMKV_STR ? shmkv_str_n((char *)bytes + len, 3) :
								  shmkv_bin(bytes + len, 3),
					      &n),
				 0);
			CHECK_EQ(n, len + 3);
			CHECK_EQ(shmkv_get(s.kv, KEY("k"), buf, 70010, &value, NULL), 0);
			CHECK(value.len == len + 3 && memcmp(buf, bytes, len + 3) == 0);
		}
	}
	CHECK_EQ(shmkv_get_packed(s.kv, KEY("k"), packed, sizeof(packed), &n, NULL), -ENOBUFS);
	free(bytes);
	free(buf);
	skv_segment_end(&s);
}

static void a_commit_has_the_default_deadline_of_its_moment(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv_draft draft;
	struct skv_segment s;
	uint64_t ms;

	opts.default_ttl_ms = 3600000;
	skv_segment_begin_with(&s, &opts);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 100, &draft), 0);
	CHECK_EQ(shmkv_ttl(s.kv, KEY("k"), &ms), -ENOENT);
	CHECK_EQ(shmkv_commit(&draft, 100, SHMKV_COMMIT_PUT, NULL), 0);
	CHECK_EQ(shmkv_ttl(s.kv, KEY("k"), &ms), 0);
	CHECK(ms > 0 && ms <= 3600000);
	skv_segment_end(&s);
}

static void a_commit_has_the_deadline_that_it_asks_for(void)
{
	struct shmkv_draft draft;
	struct skv_segment s;
	uint64_t ms, token;
	int64_t n;

	skv_segment_begin(&s, SOME);
	skv_boot_clock_stop();
	CHECK_EQ(shmkv_put_ttl(s.kv, KEY("k"), shmkv_int(1), 100000, NULL), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 100, &draft), 0);
	/* From the commit on, not from when it was reserved. */
	skv_boot_clock_advance_ms(50000);
	CHECK_EQ(shmkv_commit_ttl(&draft, 100, SHMKV_COMMIT_PUT, 0, 0 - (uint64_t)1, NULL), -EINVAL);
	CHECK_EQ(shmkv_commit_ttl(&draft, 100, SHMKV_COMMIT_PUT, 0, 1000, NULL), 0);
	CHECK_EQ(shmkv_ttl(s.kv, KEY("k"), &ms), 0);
	CHECK_EQ(ms, 1000);
	/* As it was. */
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 200, &draft), 0);
	skv_boot_clock_advance_ms(400);
	CHECK_EQ(shmkv_commit_ttl(&draft, 200, SHMKV_COMMIT_PUT, 0, SHMKV_TTL_KEEP, &token), 0);
	CHECK_EQ(shmkv_ttl(s.kv, KEY("k"), &ms), 0);
	CHECK_EQ(ms, 600);
	/* Over while it was filled: absent for a compare-and-swap, too. */
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 10, &draft), 0);
	skv_boot_clock_advance_ms(600);
	CHECK_EQ(shmkv_commit_ttl(&draft, 10, SHMKV_COMMIT_CAS, token, SHMKV_TTL_KEEP, NULL), -ENOENT);
	CHECK_EQ(shmkv_commit(&draft, 10, SHMKV_COMMIT_REPLACE, NULL), -ENOENT);
	CHECK_EQ(shmkv_commit_ttl(&draft, 10, SHMKV_COMMIT_ADD, 0, SHMKV_TTL_NEVER, NULL), 0);
	CHECK_EQ(shmkv_ttl(s.kv, KEY("k"), &ms), 0);
	CHECK_EQ(ms, SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_get_int(s.kv, KEY("k"), &n), -EPROTOTYPE);
	skv_segment_end(&s);
}

static void a_commit_may_ask_for_one_version(void)
{
	struct shmkv_draft draft, late;
	struct skv_segment s;
	uint64_t token, first, second = 7;

	skv_segment_begin(&s, SOME);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_STR, 3, &draft), 0);
	CHECK_EQ(shmkv_commit_ttl(&draft, 3, SHMKV_COMMIT_CAS, 1, SHMKV_TTL_DEFAULT, NULL), -ENOENT);
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_str("old"), &token), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_STR, 4, &late), 0);
	memcpy(draft.data, "new", 3);
	memcpy(late.data, "late", 4);
	/* It has no token to compare. */
	CHECK_EQ(shmkv_commit(&draft, 3, SHMKV_COMMIT_CAS, NULL), -EINVAL);
	CHECK_EQ(shmkv_commit_ttl(&draft, 3, SHMKV_COMMIT_CAS, token, SHMKV_TTL_DEFAULT, &first), 0);
	CHECK_EQ(shmkv_commit_ttl(&late, 4, SHMKV_COMMIT_CAS, token, SHMKV_TTL_DEFAULT, &second),
		 -ESTALE);
	CHECK_EQ(second, 7);
	skv_segment_check(s.kv);
	CHECK_EQ(shmkv_commit_ttl(&late, 4, SHMKV_COMMIT_CAS, first, SHMKV_TTL_DEFAULT, &second), 0);
	CHECK(second != first && second != token);
	CHECK_EQ(shmkv_cas(s.kv, KEY("k"), second, shmkv_int(1), NULL), 0);
	skv_segment_end(&s);
}

struct sleeper {
	struct shmkv *kv;
	uint64_t token;
	int r;
};

static void *sleep_on_key(void *arg)
{
	struct sleeper *sleeper = arg;

	sleeper->r = shmkv_wait(sleeper->kv, KEY("k"), sleeper->token, shmkv_deadline_in(60000),
				&sleeper->token);
	return NULL;
}

/* What is reserved, filled, refused and aborted wakes nobody; a commit does. */
static void a_commit_is_a_change_and_nothing_else_is(void)
{
	struct sleeper sleeper = { .r = 1 };
	struct shmkv_draft draft;
	struct skv_segment s;
	uint64_t state, token;
	pthread_t thread;

	skv_segment_begin(&s, SOME);
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_int(1), &token), 0);
	CHECK_EQ(shmkv_state(s.kv, &state), 0);
	sleeper.kv = s.kv;
	sleeper.token = token;
	CHECK_EQ(pthread_create(&thread, NULL, sleep_on_key, &sleeper), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 50000, &draft), 0);
	CHECK_EQ(shmkv_abort(&draft), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 50000, &draft), 0);
	fill_draft(&draft, 1);
	CHECK_EQ(shmkv_commit(&draft, 50000, SHMKV_COMMIT_ADD, NULL), -EEXIST);
	CHECK_EQ(shmkv_wait(s.kv, KEY("k"), token, 0, NULL), -ETIMEDOUT);
	CHECK_EQ(shmkv_wait_any(s.kv, state, 0, NULL), -ETIMEDOUT);
	CHECK_EQ(shmkv_commit(&draft, 50000, SHMKV_COMMIT_PUT, &token), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(sleeper.r, 0);
	CHECK_EQ(sleeper.token, token);
	CHECK_EQ(shmkv_wait_any(s.kv, state, 0, NULL), 0);
	skv_segment_end(&s);
}

/* A cache makes room for a draft, and an open draft is nothing that could go. */
static void a_cache_makes_room_and_keeps_drafts(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv_draft draft, large;
	uint8_t bytes[1000] = { 0 };
	struct skv_segment s;
	uint64_t i;

	opts.max_bytes = 2 * MIB;
	opts.evict = SHMKV_EVICT_LRU;
	skv_segment_begin_with(&s, &opts);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("mine"), SHMKV_BIN, 1000, &draft), 0);
	fill_draft(&draft, 3);
	for (i = 0; i < 5000; i++)
		CHECK_EQ(shmkv_put(s.kv, &i, sizeof(i), shmkv_bin(bytes, sizeof(bytes)), NULL), 0);
	CHECK(skv_segment_info(s.kv).evictions > 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("large"), SHMKV_BIN, 200000, &large), 0);
	fill_draft(&large, 4);
	for (i = 0; i < 5000; i++)
		CHECK_EQ(shmkv_put(s.kv, &i, sizeof(i), shmkv_bin(bytes, sizeof(bytes)), NULL), 0);
	skv_fill(bytes, sizeof(bytes), 3);
	CHECK(memcmp(draft.data, bytes, sizeof(bytes)) == 0);
	CHECK_EQ(shmkv_commit(&draft, 1000, SHMKV_COMMIT_PUT, NULL), 0);
	check_bin(s.kv, "mine", bytes, sizeof(bytes));
	CHECK_EQ(shmkv_commit(&large, 200000, SHMKV_COMMIT_PUT, NULL), 0);
	CHECK_EQ(shmkv_exists(s.kv, KEY("large")), 0);
	skv_segment_end(&s);
}

/* ---- what people see ----------------------------------------------------------------- */

static int count_reservations(const struct shmkv_participant *p, void *arg)
{
	uint32_t *n = arg;

	*n += p->reservations;
	return 0;
}

static void drafts_are_counted(void)
{
	struct shmkv_memory memory = { .size = sizeof(memory) };
	struct shmkv_stats stats = { .size = sizeof(stats) };
	struct shmkv_draft small, large;
	struct skv_segment s;
	uint32_t n = 0;

	skv_segment_begin(&s, 8 * MIB);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("a"), SHMKV_BIN, 100, &small), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("b"), SHMKV_BIN, 100000, &large), 0);
	CHECK_EQ(shmkv_memory(s.kv, &memory), 0);
	CHECK_EQ(memory.drafts, 2);
	CHECK_EQ(memory.draft_bytes, memory.held_bytes);
	CHECK_EQ(memory.draft_bytes, skv_segment_used(s.kv));
	CHECK_EQ(shmkv_participants(s.kv, count_reservations, &n), 0);
	CHECK_EQ(n, 2);
	CHECK_EQ(shmkv_commit(&small, 60, SHMKV_COMMIT_PUT, NULL), 0);
	CHECK_EQ(shmkv_commit(&large, 100000, SHMKV_COMMIT_REPLACE, NULL), -ENOENT);
	CHECK_EQ(shmkv_commit(&large, 100000, SHMKV_COMMIT_ADD, NULL), 0);
	CHECK_EQ(shmkv_memory(s.kv, &memory), 0);
	CHECK_EQ(memory.drafts, 0);
	CHECK_EQ(memory.draft_bytes, 0);
	CHECK_EQ(memory.records, 2);

	/* Calls as those that copy. */
	CHECK_EQ(shmkv_stats(s.kv, &stats), 0);
	CHECK_EQ(stats.puts, 1);
	CHECK_EQ(stats.replaces, 1);
	CHECK_EQ(stats.adds, 1);
	CHECK_EQ(stats.unmet, 1);
	CHECK_EQ(skv_segment_info(s.kv).inserts, 2);
	skv_segment_end(&s);
}

/* ---- limits and wrong calls --------------------------------------------------------- */

static void there_is_a_limit_and_it_is_told(void)
{
	struct shmkv_draft drafts[SHMKV_DRAFTS_MAX], more;
	struct skv_segment s;
	uint32_t i;

	skv_segment_begin(&s, SOME);
	for (i = 0; i < SHMKV_DRAFTS_MAX; i++)
		CHECK_EQ(shmkv_reserve(s.kv, &i, sizeof(i), SHMKV_BIN, 10, &drafts[i]), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("more"), SHMKV_BIN, 10, &more), -EMLINK);
	/* Everything else goes on. */
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_int(1), NULL), 0);
	CHECK_EQ(shmkv_abort(&drafts[3]), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("more"), SHMKV_BIN, 10, &more), 0);
	for (i = 0; i < SHMKV_DRAFTS_MAX; i++) {
		if (i != 3)
			CHECK_EQ(shmkv_commit(&drafts[i], 10, SHMKV_COMMIT_PUT, NULL), 0);
	}
	CHECK_EQ(shmkv_commit(&more, 10, SHMKV_COMMIT_PUT, NULL), 0);
	CHECK_EQ(skv_segment_count(s.kv), SHMKV_DRAFTS_MAX + 1);
	skv_segment_end(&s);
}

static void what_cannot_be_is_refused(void)
{
	struct shmkv_draft draft, copy;
	struct shmkv *reader;
	struct skv_segment s;
	uint64_t used;
	int status;
	pid_t pid;

	skv_segment_begin(&s, SOME);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_INT, 8, &draft), -EINVAL);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_PACKED, 8, &draft), -EINVAL);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 8, NULL), -EINVAL);
	CHECK_EQ(shmkv_reserve(s.kv, "", 0, SHMKV_BIN, 8, &draft), -EMSGSIZE);
	CHECK_EQ(shmkv_reserve(NULL, KEY("k"), SHMKV_BIN, 8, &draft), -EBADF);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, (size_t)1 << 32, &draft), -EFBIG);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 2 * MIB, &draft), -EFBIG);
	CHECK_EQ(shmkv_commit(NULL, 0, SHMKV_COMMIT_PUT, NULL), -EINVAL);
	CHECK_EQ(shmkv_abort(NULL), -EINVAL);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(shmkv_reserve(reader, KEY("k"), SHMKV_BIN, 8, &draft), -EROFS);
	shmkv_detach(reader);

	/* Whoever was ended once is over, also under its other name. */
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 8, &draft), 0);
	copy = draft;
	CHECK_EQ(shmkv_commit(&draft, 8, SHMKV_COMMIT_PUT, NULL), 0);
	CHECK_EQ(shmkv_commit(&draft, 8, SHMKV_COMMIT_PUT, NULL), -EBADF);
	CHECK_EQ(shmkv_commit(&copy, 8, SHMKV_COMMIT_PUT, NULL), -EBADF);
	CHECK_EQ(shmkv_abort(&copy), -EBADF);
	/* The same block and the same entry again, in another life. */
	CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 8, &draft), 0);
	CHECK(draft.data == copy.data);
	CHECK_EQ(shmkv_abort(&copy), -EBADF);
	CHECK_EQ(shmkv_abort(&draft), 0);

	/* The child has neither the memory nor the draft; its parent keeps both. */
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 8, &draft), 0);
	pid = fork();
	if (pid == 0) {
		if (shmkv_commit(&draft, 8, SHMKV_COMMIT_PUT, NULL) != -ECHILD ||
		    shmkv_abort(&draft) != -ECHILD)
			_exit(1);
		shmkv_detach(s.kv);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	memset(draft.data, 1, 8);

	/* Detaching gives it back. */
	used = skv_segment_used(s.kv);
	shmkv_detach(s.kv);
	CHECK_EQ(shmkv_commit(&draft, 8, SHMKV_COMMIT_PUT, NULL), -EBADF);
	s.kv = skv_segment_attach(&s, 0);
	CHECK(used > 0);
	CHECK_EQ(skv_segment_used(s.kv), 0);
	skv_segment_end(&s);
}

static void a_full_map_refuses_and_keeps_what_is_open(void)
{
	struct shmkv_draft draft, more;
	uint8_t bytes[1000] = { 0 };
	struct skv_snapshot before;
	struct skv_segment s;
	uint64_t i;
	int r;

	skv_segment_begin(&s, SOME);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("mine"), SHMKV_BIN, 1000, &draft), 0);
	fill_draft(&draft, 1);
	for (i = 0, r = 0; r == 0; i++)
		r = shmkv_put(s.kv, &i, sizeof(i), shmkv_bin(bytes, sizeof(bytes)), NULL);
	CHECK_EQ(r, -ENOSPC);
	before = skv_segment_snapshot(s.kv);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("more"), SHMKV_BIN, 100000, &more), -ENOSPC);
	skv_segment_unchanged(s.kv, &before);
	/* Its memory is there; a place in the index may not be. */
	r = shmkv_commit(&draft, 1000, SHMKV_COMMIT_PUT, NULL);
	if (r == -ENOSPC) {
		skv_segment_unchanged(s.kv, &before);
		CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
		r = shmkv_commit(&draft, 1000, SHMKV_COMMIT_PUT, NULL);
	}
	CHECK_EQ(r, 0);
	skv_fill(bytes, sizeof(bytes), 1);
	check_bin(s.kv, "mine", bytes, sizeof(bytes));
	skv_segment_end(&s);
}

/* ---- threads ------------------------------------------------------------------------ */

struct worker {
	struct shmkv *kv;
	struct shmkv_draft drafts[SHMKV_DRAFTS_MAX];
	struct shmkv_draft *shared;
	int r;
};

static void run_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, fn, arg), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void *reserve_all(void *arg)
{
	struct worker *worker = arg;
	uint32_t i;

	for (i = 0; i < SHMKV_DRAFTS_MAX && worker->r == 0; i++)
		worker->r = shmkv_reserve(worker->kv, &i, sizeof(i), SHMKV_BIN, 100,
					  &worker->drafts[i]);
	return NULL;
}

/* Drafts outlive their thread, take nothing from the next one, and anybody may end them. */
static void drafts_outlive_their_thread(void)
{
	struct worker workers[3];
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct skv_segment s;
	uint32_t i, k;

	skv_segment_begin(&s, SOME);
	for (k = 0; k < 3; k++) {
		memset(&workers[k], 0, sizeof(workers[k]));
		workers[k].kv = s.kv;
		run_thread(reserve_all, &workers[k]);
		CHECK_EQ(workers[k].r, 0);
	}
	skv_segment_check(s.kv);
	CHECK_EQ(shmkv_recover(s.kv, &report), 0);
	CHECK_EQ(report.blocks, 0);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < SHMKV_DRAFTS_MAX; i++) {
			if (k == 1)
				CHECK_EQ(shmkv_abort(&workers[k].drafts[i]), 0);
			else
				CHECK_EQ(shmkv_commit(&workers[k].drafts[i], 100, SHMKV_COMMIT_PUT, NULL),
					 0);
		}
	}
	CHECK_EQ(skv_segment_count(s.kv), SHMKV_DRAFTS_MAX);
	CHECK_EQ(shmkv_clear(s.kv, NULL), 0);
	CHECK_EQ(skv_segment_used(s.kv), 0);
	skv_segment_end(&s);
}

static void *end_shared(void *arg)
{
	struct worker *worker = arg;
	struct shmkv_draft copy = *worker->shared;

	worker->r = shmkv_commit(&copy, copy.len, SHMKV_COMMIT_PUT, NULL);
	return NULL;
}

/* Two who commit the same draft: one of them does. */
static void a_draft_is_committed_once(void)
{
	struct worker workers[2];
	struct shmkv_draft draft;
	struct skv_segment s;
	pthread_t threads[2];
	uint32_t i, k;

	skv_segment_begin(&s, SOME);
	for (k = 0; k < 500; k++) {
		CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 64, &draft), 0);
		for (i = 0; i < 2; i++) {
			workers[i].shared = &draft;
			CHECK_EQ(pthread_create(&threads[i], NULL, end_shared, &workers[i]), 0);
		}
		for (i = 0; i < 2; i++)
			CHECK_EQ(pthread_join(threads[i], NULL), 0);
		CHECK((workers[0].r == 0) != (workers[1].r == 0));
		CHECK_EQ(workers[0].r + workers[1].r, -EBADF);
	}
	skv_segment_end(&s);
}

static struct {
	struct shmkv *kv;
	int n_done;
} storm;

static void *produce(void *arg)
{
	static const size_t lens[] = { 50, 700, 20000, 90000 };
	struct shmkv_draft draft;
	uint32_t i;

	(void)arg;
	for (i = 0; i < 3000; i++) {
		CHECK_EQ(shmkv_reserve(storm.kv, KEY("k"), SHMKV_BIN, lens[i % 4], &draft), 0);
		memset(draft.data, (int)(i & 0xff), draft.len);
		if (i % 5 == 0)
			CHECK_EQ(shmkv_abort(&draft), 0);
		else
			CHECK_EQ(shmkv_commit(&draft, draft.len - i % 9, SHMKV_COMMIT_PUT, NULL), 0);
	}
	return NULL;
}

/* Producers and a reader of one key: every value is whole. */
static void drafts_are_whole_in_a_storm(void)
{
	uint8_t *buf = skv_alloc(90000);
	pthread_t producers[2];
	struct skv_segment s;
	uint32_t i, n;
	size_t len, k;
	int r;

	skv_segment_begin(&s, 8 * MIB);
	storm.kv = s.kv;
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&producers[i], NULL, produce, NULL), 0);
	for (n = 0; n < 2000; n++) {
		r = shmkv_get_bin(s.kv, KEY("k"), buf, 90000, &len);
		CHECK(r == 0 || r == -ENOENT);
		for (k = 1; r == 0 && k < len; k++)
			CHECK(buf[k] == buf[0]);
	}
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(producers[i], NULL), 0);
	free(buf);
	skv_segment_end(&s);
}

/* Keys of its own, none of them stored twice. */
static void *produce_once(void *arg)
{
	static const size_t lens[] = { 50, 700, 20000, 33000 };
	uint64_t *base = arg, key;
	struct shmkv_draft draft;

	for (key = *base; key < *base + 600; key++) {
		CHECK_EQ(shmkv_reserve(storm.kv, &key, sizeof(key), SHMKV_BIN, lens[key % 4], &draft),
			 0);
		memset(draft.data, (int)(key & 0xff), draft.len);
		if (key % 3 == 0)
			CHECK_EQ(shmkv_abort(&draft), 0);
		else
			CHECK_EQ(shmkv_commit(&draft, draft.len, SHMKV_COMMIT_ADD, NULL), 0);
	}
	__atomic_add_fetch(&storm.n_done, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* What is in somebody's hands is nobody's garbage: nothing here ever is. */
static void a_sweeper_leaves_drafts_alone(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	uint64_t base[2] = { 0, 1000 };
	pthread_t producers[2];
	struct skv_segment s;
	uint32_t i;

	skv_segment_begin(&s, 64 * MIB);
	storm.kv = s.kv;
	storm.n_done = 0;
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&producers[i], NULL, produce_once, &base[i]), 0);
	while (__atomic_load_n(&storm.n_done, __ATOMIC_RELAXED) < 2) {
		CHECK_EQ(shmkv_recover(s.kv, &report), 0);
		CHECK_EQ(report.blocks, 0);
	}
	for (i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(producers[i], NULL), 0);
	CHECK_EQ(skv_segment_count(s.kv), 800);
	skv_segment_end(&s);
}

/* ---- large values ------------------------------------------------------------------- */

#define FRAME (10 * MIB)

/* A frame is written once by whoever makes it and read where it lies. */
static void a_frame_is_never_copied(void)
{
	struct shmkv_draft draft;
	struct shmkv_view view, old;
	struct skv_segment s;
	uint8_t *made;
	uint32_t i;

	skv_segment_begin(&s, 64 * MIB);
	for (i = 0; i < 6; i++) {
		CHECK_EQ(shmkv_reserve(s.kv, KEY("frame"), SHMKV_BIN, FRAME, &draft), 0);
		made = draft.data;
		memset(made, (int)i, FRAME);
		if (i > 0)
			CHECK_EQ(shmkv_view_begin(s.kv, KEY("frame"), &old), 0);
		CHECK_EQ(shmkv_commit(&draft, FRAME, SHMKV_COMMIT_PUT, NULL), 0);
		CHECK_EQ(shmkv_view_begin(s.kv, KEY("frame"), &view), 0);
		CHECK(view.value.data == made);
		CHECK_EQ(view.value.len, FRAME);
		if (i > 0) {
			CHECK_EQ(*(const uint8_t *)old.value.data, i - 1);
			CHECK_EQ(((const uint8_t *)old.value.data)[FRAME - 1], i - 1);
			CHECK_EQ(shmkv_view_end(&old), 0);
		}
		CHECK_EQ(made[FRAME - 1], i);
		CHECK_EQ(shmkv_view_end(&view), 0);
	}
	CHECK_EQ(shmkv_del(s.kv, KEY("frame")), 0);
	CHECK_EQ(skv_segment_used(s.kv), 0);
	skv_segment_end(&s);
}

/* ---- owners that stop or die -------------------------------------------------------- */

#define N_OPEN 5u

/* A child with drafts that it is filling, stopped. */
static pid_t hold_drafts(struct skv_segment *s, size_t len)
{
	struct shmkv_draft draft;
	struct shmkv *kv;
	uint32_t i;
	int status;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		if (shmkv_attach(s->name, 0, &kv) < 0)
			_exit(1);
		for (i = 0; i < N_OPEN; i++) {
			if (shmkv_reserve(kv, &i, sizeof(i), SHMKV_BIN, len, &draft) < 0)
				_exit(2);
			memset(draft.data, 0xee, len / 2);
		}
		raise(SIGSTOP);
		_exit(3);
	}
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status));
	return pid;
}

static void owner_costs(size_t len)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct skv_segment s;
	uint64_t each;
	uint32_t i;
	int status;
	pid_t pid;

	skv_segment_begin(&s, 16 * MIB);
	put_by_draft(s.kv, KEY("k"), len, 1);
	each = skv_segment_used(s.kv);
	pid = hold_drafts(&s, len);
	CHECK_EQ(skv_segment_used(s.kv), (N_OPEN + 1) * each);

	/* Stopped: exactly what it reserved, and nobody notices. */
	for (i = 0; i < N_OPEN; i++) {
		CHECK_EQ(shmkv_exists(s.kv, &i, sizeof(i)), -ENOENT);
		put_by_draft(s.kv, &i, sizeof(i), len, i);
		put_by_draft(s.kv, &i, sizeof(i), len, i);
	}
	CHECK_EQ(shmkv_recover(s.kv, &report), 0);
	CHECK_EQ(report.blocks, 0);
	CHECK_EQ(skv_segment_used(s.kv), (2 * N_OPEN + 1) * each);

	/* Dead: all of it comes back. */
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(shmkv_recover(s.kv, &report), 0);
	CHECK_EQ(report.processes, 1);
	CHECK_EQ(report.blocks, N_OPEN);
	CHECK_EQ(report.bytes, N_OPEN * each);
	CHECK_EQ(skv_segment_used(s.kv), (N_OPEN + 1) * each);
	skv_segment_end(&s);
}

static void an_owner_costs_what_it_reserved_to_the_byte(void)
{
	owner_costs(30);
	owner_costs(5000);
	owner_costs(20000);
	owner_costs(400000);
}

/* Every place is taken by the dead, and each of them was filling something. */
static void an_heir_gives_back_what_the_dead_reserved(void)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct skv_segment s;
	int status;
	pid_t pid;
	int i;

	opts.max_processes = 2;
	opts.max_threads = 2;
	skv_segment_begin_with(&s, &opts);
	shmkv_detach(s.kv);
	for (i = 0; i < 2; i++) {
		pid = hold_drafts(&s, 700);
		CHECK_EQ(kill(pid, SIGKILL), 0);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
	}
	s.kv = skv_segment_attach(&s, 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_int(1), NULL), 0);
	CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_recover(s.kv, &report), 0);
	CHECK_EQ(skv_segment_used(s.kv), 0);
	skv_segment_end(&s);
}

static void an_exec_gives_drafts_back(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_draft draft;
	struct skv_segment s;
	struct shmkv *kv;
	uint32_t i;
	int in[2];
	pid_t pid;

	skv_segment_begin(&s, 8 * MIB);
	CHECK_EQ(pipe(in), 0);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(in[0], 0);
		close(in[1]);
		kv = skv_segment_attach(&s, 0);
		for (i = 0; i < 3; i++)
			CHECK_EQ(shmkv_reserve(kv, &i, sizeof(i), SHMKV_BIN, 30 + i * 60000, &draft),
				 0);
		execl("/bin/sh", "sh", "-c", "read line", (char *)NULL);
		_exit(1);
	}
	close(in[0]);
	while (skv_segment_info(s.kv).processes_dead == 0)
		usleep(10000);
	CHECK_EQ(kill(pid, 0), 0);
	CHECK_EQ(shmkv_recover(s.kv, &report), 0);
	CHECK_EQ(report.blocks, 3);
	CHECK_EQ(skv_segment_used(s.kv), 0);
	close(in[1]);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	skv_segment_end(&s);
}

/* ---- entries that somebody has scribbled over ---------------------------------------- */

static struct skv_map *map_of(struct shmkv *kv)
{
	return kv->map;
}

static void a_draft_that_is_not_there_any_more_is_refused(void)
{
	uint64_t *entry, word, stamp, lens;
	struct skv_record *record;
	struct shmkv_draft draft;
	struct skv_segment s;

	skv_segment_begin(&s, SOME);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("k"), SHMKV_BIN, 100, &draft), 0);
	fill_draft(&draft, 1);
	entry = skv_context_at(map_of(s.kv), draft.where[0])->reservations[draft.where[1]];
	word = entry[0];
	stamp = entry[1];
	record = skv_record_at(map_of(s.kv), word);
	lens = record->lens;

	entry[0] = word + 64;
	CHECK_EQ(shmkv_commit(&draft, 100, SHMKV_COMMIT_PUT, NULL), -EBADF);
	CHECK_EQ(shmkv_abort(&draft), -EBADF);
	entry[0] = word;
	entry[1] = stamp + 1;
	CHECK_EQ(shmkv_commit(&draft, 100, SHMKV_COMMIT_PUT, NULL), -EBADF);
	CHECK_EQ(shmkv_abort(&draft), -EBADF);
	entry[1] = stamp;
	record->lens = UINT64_MAX;
	CHECK_EQ(shmkv_commit(&draft, 100, SHMKV_COMMIT_PUT, NULL), -EBADMSG);
	record->lens = 0;
	CHECK_EQ(shmkv_commit(&draft, 100, SHMKV_COMMIT_PUT, NULL), -EBADMSG);
	/* Less than was reserved. */
	record->lens = (lens & SKV_RECORD_KEY_MASK) | (uint64_t)50 << SKV_RECORD_VALUE_SHIFT;
	CHECK_EQ(shmkv_commit(&draft, 100, SHMKV_COMMIT_PUT, NULL), -EBADMSG);
	record->lens = lens;
	CHECK_EQ(skv_segment_count(s.kv), 0);
	CHECK_EQ(shmkv_commit(&draft, 100, SHMKV_COMMIT_PUT, NULL), 0);
	skv_segment_end(&s);
}

/* Whoever recovers reads what a dead process left, whatever it is. */
static void entries_of_garbage_harm_nobody(void)
{
	struct shmkv_memory memory = { .size = sizeof(memory) };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_recovery report;
	uint64_t state = skv_test_seed(), garbage, at, linked, linked_stamp;
	struct skv_snapshot before;
	struct skv_segment s;
	struct skv_context *ctx;
	struct skv_map *map;
	struct shmkv_draft draft;
	uint32_t i, k, n;
	int status;
	pid_t pid;

	skv_segment_begin(&s, 8 * MIB);
	skv_segment_populate(s.kv);
	CHECK_EQ(shmkv_reserve(s.kv, KEY("linked"), SHMKV_BIN, 3000, &draft), 0);
	linked = draft.word[0];
	linked_stamp = draft.word[1];
	CHECK_EQ(shmkv_commit(&draft, 3000, SHMKV_COMMIT_PUT, NULL), 0);
	before = skv_segment_snapshot(s.kv);
	map = map_of(s.kv);
	for (i = 0; i < 40; i++) {
		pid = hold_drafts(&s, 700);
		for (k = 0; k < skv_contexts_ready(map); k++) {
			ctx = skv_context_at(map, k);
			if (skv_owner_process(ctx->owner) < 0 ||
			    skv_owner_process(ctx->owner) == (int32_t)map->peer.idx)
				continue;
			for (n = 0; n < SKV_RESERVATIONS; n++) {
				garbage = skv_random(&state);
				at = map->region.geo.chunk_off + garbage % (4 * SKV_CHUNK_BYTES);
				switch (garbage >> 32 & 7) {
				case 0:
					ctx->reservations[n][0] = garbage;
					break;
				case 1:
					ctx->reservations[n][0] = at;
					break;
				case 2:
					ctx->reservations[n][0] = at & ~(uint64_t)15;
					break;
				case 3:
					/* The right life of what others can read. */
					ctx->reservations[n][0] = linked | (garbage & 1);
					ctx->reservations[n][1] = linked_stamp;
					break;
				case 4:
					ctx->reservations[n][0] = map->region.geo.segment_bytes - 16;
					break;
				case 5:
					ctx->reservations[n][1] = garbage;
					break;
				default:
					break;
				}
			}
		}
		CHECK_EQ(shmkv_memory(s.kv, &memory), 0);
		n = 0;
		CHECK_EQ(shmkv_participants(s.kv, count_reservations, &n), 0);
		shmkv_verify(s.kv, NULL, &audit);
		CHECK_EQ(audit.violations, 0);
		CHECK_EQ(kill(pid, SIGKILL), 0);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		memset(&report, 0, sizeof(report));
		report.size = sizeof(report);
		CHECK_EQ(shmkv_recover(s.kv, &report), 0);
		CHECK_EQ(report.processes, 1);
		CHECK_EQ(report.blocks, N_OPEN);
		skv_segment_unchanged(s.kv, &before);
	}
	skv_segment_end(&s);
}

const struct skv_test skv_tests_reserve[] = {
	{ "reserve", "nobody sees a draft before its commit", nobody_sees_a_draft_before_its_commit,
	  20 },
	{ "reserve", "an aborted draft was never there", an_aborted_draft_was_never_there, 10 },
	{ "reserve", "a refused commit leaves the draft open",
	  a_refused_commit_leaves_the_draft_open, 10 },
	{ "reserve", "a commit may be shorter than reserved",
	  a_commit_may_be_shorter_than_reserved, 20 },
	{ "reserve", "a commit has the default deadline of its moment",
	  a_commit_has_the_default_deadline_of_its_moment, 10 },
	{ "reserve", "a commit has the deadline that it asks for",
	  a_commit_has_the_deadline_that_it_asks_for, 10 },
	{ "reserve", "a commit may ask for one version", a_commit_may_ask_for_one_version, 10 },
	{ "reserve", "a commit is a change, and nothing else is",
	  a_commit_is_a_change_and_nothing_else_is, 30 },
	{ "reserve", "a cache makes room, and keeps drafts", a_cache_makes_room_and_keeps_drafts,
	  30 },
	{ "reserve", "drafts are counted", drafts_are_counted, 10 },
	{ "reserve", "there is a limit and it is told", there_is_a_limit_and_it_is_told, 10 },
	{ "reserve", "what cannot be is refused", what_cannot_be_is_refused, 10 },
	{ "reserve", "a full map refuses and keeps what is open",
	  a_full_map_refuses_and_keeps_what_is_open, 30 },
	{ "reserve", "drafts outlive their thread", drafts_outlive_their_thread, 10 },
	{ "reserve", "a draft is committed once", a_draft_is_committed_once, 30 },
	{ "reserve", "drafts are whole in a storm", drafts_are_whole_in_a_storm, 120 },
	{ "reserve", "a sweeper leaves drafts alone", a_sweeper_leaves_drafts_alone, 60 },
	{ "reserve", "a frame is never copied", a_frame_is_never_copied, 30 },
	{ "reserve", "an owner costs what it reserved, to the byte",
	  an_owner_costs_what_it_reserved_to_the_byte, 30 },
	{ "reserve", "an heir gives back what the dead reserved",
	  an_heir_gives_back_what_the_dead_reserved, 20 },
	{ "reserve", "an exec gives drafts back", an_exec_gives_drafts_back, 30 },
	{ "reserve", "a draft that is not there any more is refused",
	  a_draft_that_is_not_there_any_more_is_refused, 10 },
	{ "reserve", "entries of garbage harm nobody", entries_of_garbage_harm_nobody, 60 },
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "tests/conformance.h"

#include "tests/test.h"

#include <shmkv/batch.h>
#include <shmkv/capability.h>
#include <shmkv/inspect.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * conformance-batch: what batch.h promises, for every engine, with a batch of its own or
 * without. A group inside the library has 32 items: lengths around that and its multiples are
 * where a mistake would be.
 */

#define KEY(text) (text), strlen(text)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct shmkv *begin_named(const struct skv_conformance *engine, uint64_t max_bytes,
				 char name[128])
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	static unsigned int n;
	struct shmkv *kv = NULL;

	if (engine->prepare)
		engine->prepare();
	snprintf(name, 128, "%sbatch-%d-%u", engine->prefix, (int)getpid(), n++);
	opts.max_bytes = max_bytes;
	CHECK_EQ(shmkv_create(name, &opts, &kv), 0);
	return kv;
}

/* A private map has no name to remove. */
static void forget_name(const struct skv_conformance *engine, const char *name)
{
	CHECK_EQ(shmkv_unlink(name), engine->is_private ? -EOPNOTSUPP : 0);
}

static struct shmkv *begin(const struct skv_conformance *engine, uint64_t max_bytes)
{
	char name[128];
	struct shmkv *kv = begin_named(engine, max_bytes, name);

	forget_name(engine, name);
	return kv;
}

static void end(struct shmkv *kv)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };

	CHECK_EQ(shmkv_check(kv, NULL, NULL, &audit), 0);
	CHECK_EQ(audit.violations, 0u);
	CHECK_EQ(audit.leaked_blocks + audit.leaked_leaves + audit.leaked_chunks, 0u);
	CHECK(shmkv_detach(kv) == NULL);
}

static struct shmkv_get_item get_item(const void *key, size_t key_len, void *buf, size_t cap)
{
	struct shmkv_get_item item = { .key = key, .key_len = key_len, .buf = buf, .cap = cap };

	/* What is not answered keeps these. */
	item.result = 99;
	item.value = shmkv_int(-77);
	item.token = 78;
	return item;
}

static struct shmkv_put_item put_item(const void *key, size_t key_len, struct shmkv_value value)
{
	struct shmkv_put_item item = { .key = key, .key_len = key_len, .value = value };

	item.result = 99;
	item.token = 78;
	return item;
}

static void put(struct shmkv *kv, const char *key, struct shmkv_value value)
{
	CHECK_EQ(shmkv_put(kv, KEY(key), value, NULL), 0);
}

void skv_conformance_get_many(const struct skv_conformance *engine)
{
	static const uint8_t array[] = { 0x93, 1, 2, 3 };
	struct shmkv *kv = begin(engine, 0);
	char buf[8][16];
	struct shmkv_get_item items[8];
	uint64_t token;
	size_t n_ok = 99;

	put(kv, "text", shmkv_str("hello"));
	put(kv, "bytes", shmkv_bin("\0\1\2", 3));
	put(kv, "int", shmkv_int(-5));
	put(kv, "bool", shmkv_bool(true));
	put(kv, "array", shmkv_packed(array, sizeof(array)));
	put(kv, "empty", shmkv_bin("", 0));
	items[0] = get_item(KEY("text"), buf[0], 16);
	items[1] = get_item(KEY("bytes"), buf[1], 3);
	items[2] = get_item(KEY("absent"), buf[2], 16);
	items[3] = get_item(KEY("int"), NULL, 0);
	items[4] = get_item(KEY("bool"), buf[4], 16);
	items[5] = get_item(KEY("array"), buf[5], 4);
	items[6] = get_item(KEY("empty"), NULL, 0);
	items[7] = get_item(KEY("text"), buf[7], 4);
	CHECK_EQ(shmkv_get_many(kv, items, 8, &n_ok), 0);

	CHECK_EQ(n_ok, 6u);
	CHECK_EQ(items[0].result, 0);
	CHECK_EQ(items[0].value.type, SHMKV_STR);
	CHECK(items[0].value.data == buf[0]);
	CHECK_MEM(items[0].value.data, items[0].value.len, "hello", 5);
	CHECK_EQ(items[1].value.type, SHMKV_BIN);
	CHECK_MEM(items[1].value.data, items[1].value.len, "\0\1\2", 3);
	CHECK_EQ(items[2].result, -ENOENT);
	CHECK_EQ(items[2].value.i64, -77);
	CHECK_EQ(items[2].token, 78u);
	CHECK_EQ(items[3].value.i64, -5);
	CHECK(items[4].value.type == SHMKV_BOOL && items[4].value.boolean);
	CHECK_EQ(items[5].value.type, SHMKV_PACKED);
	CHECK_MEM(items[5].value.data, items[5].value.len, array, sizeof(array));
	CHECK_EQ(items[6].result, 0);
	CHECK_EQ(items[6].value.len, 0u);
	CHECK_EQ(items[7].result, -ENOBUFS);
	CHECK_EQ(items[7].value.type, SHMKV_STR);
	CHECK_EQ(items[7].value.len, 5u);
	CHECK(items[7].value.data == NULL);
	CHECK_EQ(items[7].token, 78u);

	/* The same tokens as get, and the count is optional. */
	CHECK_EQ(shmkv_get(kv, KEY("int"), NULL, 0, &items[0].value, &token), 0);
	CHECK_EQ(items[3].token, token);
	CHECK_EQ(shmkv_get_many(kv, items, 2, NULL), 0);
	end(kv);
}

void skv_conformance_put_many(const struct skv_conformance *engine)
{
	static const uint8_t map[] = { 0x81, 1, 2 };
	struct shmkv *kv = begin(engine, 0);
	struct shmkv_put_item items[4];
	struct shmkv_value found;
	char buf[16];
	uint64_t token, count;
	size_t n_ok = 99;

	put(kv, "old", shmkv_str("before"));
	items[0] = put_item(KEY("new"), shmkv_str("new text"));
	items[1] = put_item(KEY("old"), shmkv_uint(UINT64_MAX));
	items[2] = put_item(KEY("map"), shmkv_packed(map, sizeof(map)));
	items[3] = put_item(KEY("bytes"), shmkv_bin(NULL, 0));
	CHECK_EQ(shmkv_put_many(kv, items, 4, &n_ok), 0);
	CHECK_EQ(n_ok, 4u);

	CHECK_EQ(shmkv_get(kv, KEY("new"), buf, sizeof(buf), &found, &token), 0);
	CHECK_MEM(found.data, found.len, "new text", 8);
	CHECK_EQ(token, items[0].token);
	CHECK_EQ(shmkv_get(kv, KEY("old"), buf, sizeof(buf), &found, &token), 0);
	CHECK_EQ(found.u64, UINT64_MAX);
	CHECK_EQ(token, items[1].token);
	CHECK_EQ(shmkv_get(kv, KEY("map"), buf, sizeof(buf), &found, &token), 0);
	CHECK_MEM(found.data, found.len, map, sizeof(map));
	CHECK_EQ(token, items[2].token);
	CHECK_EQ(shmkv_get(kv, KEY("bytes"), buf, sizeof(buf), &found, &token), 0);
	CHECK(found.type == SHMKV_BIN && found.len == 0);
	CHECK_EQ(items[3].result, 0);
	CHECK_EQ(shmkv_count(kv, &count), 0);
	CHECK_EQ(count, 4u);
	/* A token of a batch is one like any other. */
	CHECK_EQ(shmkv_cas(kv, KEY("new"), items[0].token, shmkv_int(1), NULL), 0);
	CHECK_EQ(shmkv_cas(kv, KEY("new"), items[0].token, shmkv_int(1), NULL), -ESTALE);
	end(kv);
}

void skv_conformance_batch_order(const struct skv_conformance *engine)
{
	struct shmkv *kv = begin(engine, 0);
	struct shmkv_put_item puts[100];
	struct shmkv_get_item gets[100];
	int64_t number;
	uint64_t count;
	size_t i, n_ok;

	/* Three keys in turn, over four groups; values of several sizes. */
	for (i = 0; i < ARRAY_LEN(puts); i++)
		puts[i] = put_item(&"abc"[i % 3], 1, shmkv_int((int64_t)i));
	CHECK_EQ(shmkv_put_many(kv, puts, ARRAY_LEN(puts), &n_ok), 0);
	CHECK_EQ(n_ok, ARRAY_LEN(puts));
	CHECK_EQ(shmkv_count(kv, &count), 0);
	CHECK_EQ(count, 3u);
	CHECK_EQ(shmkv_get_int(kv, KEY("a"), &number), 0);
	CHECK_EQ(number, 99);
	CHECK_EQ(shmkv_get_int(kv, KEY("b"), &number), 0);
	CHECK_EQ(number, 97);
	CHECK_EQ(shmkv_get_int(kv, KEY("c"), &number), 0);
	CHECK_EQ(number, 98);
	for (i = 3; i < ARRAY_LEN(puts); i++)
		CHECK(puts[i].token != puts[i - 3].token);

	/* A refused one in between changes nothing. */
	puts[0] = put_item("a", 1, shmkv_int(1));
	puts[1] = put_item("a", 1, shmkv_packed("\xc1", 1));
	CHECK_EQ(shmkv_put_many(kv, puts, 2, &n_ok), 0);
	CHECK_EQ(n_ok, 1u);
	CHECK_EQ(shmkv_get_int(kv, KEY("a"), &number), 0);
	CHECK_EQ(number, 1);

	for (i = 0; i < ARRAY_LEN(gets); i++)
		gets[i] = get_item("a", 1, NULL, 0);
	CHECK_EQ(shmkv_get_many(kv, gets, ARRAY_LEN(gets), &n_ok), 0);
	CHECK_EQ(n_ok, ARRAY_LEN(gets));
	for (i = 0; i < ARRAY_LEN(gets); i++)
		CHECK(gets[i].value.i64 == 1 && gets[i].token == gets[0].token);
	end(kv);
}

void skv_conformance_batch_bad(const struct skv_conformance *engine)
{
	static uint8_t long_key[SHMKV_KEY_MAX + 1];
	struct shmkv *kv = begin(engine, 0);
	struct shmkv_put_item puts[9];
	struct shmkv_get_item gets[8];
	uint64_t count, can;
	int64_t number;
	char buf[4];
	size_t i, n_ok;

	puts[0] = put_item("", 0, shmkv_int(0));
	puts[1] = put_item("one", 3, shmkv_int(1));
	puts[2] = put_item(long_key, sizeof(long_key), shmkv_int(2));
	puts[3] = put_item(NULL, 4, shmkv_int(3));
	puts[4] = put_item("four", 4, shmkv_packed("\x92\x01", 2));
	puts[5] = put_item("five", 4, shmkv_bin(NULL, 7));
	puts[6] = put_item("six", 3, shmkv_int(6));
	puts[6].value.type = (enum shmkv_type)77;
	puts[7] = put_item(long_key, sizeof(long_key) - 1, shmkv_int(7));
	puts[8] = put_item("eight", 5, shmkv_int(8));
	puts[8].ttl_ms = SHMKV_TTL_MAX + 1;
	CHECK_EQ(shmkv_put_many(kv, puts, 9, &n_ok), 0);
	CHECK_EQ(n_ok, 2u);
	CHECK_EQ(puts[8].result, -EINVAL);
	CHECK_EQ(puts[0].result, -EMSGSIZE);
	CHECK_EQ(puts[1].result, 0);
	CHECK_EQ(puts[2].result, -EMSGSIZE);
	CHECK_EQ(puts[3].result, -EINVAL);
	CHECK_EQ(puts[4].result, -EILSEQ);
	CHECK_EQ(puts[5].result, -EINVAL);
	CHECK_EQ(puts[6].result, -EINVAL);
	CHECK_EQ(puts[7].result, 0);
	for (i = 2; i < 7; i++)
		CHECK_EQ(puts[i].token, 78u);
	CHECK_EQ(shmkv_count(kv, &count), 0);
	CHECK_EQ(count, 2u);
	CHECK_EQ(shmkv_get_int(kv, KEY("one"), &number), 0);
	CHECK_EQ(number, 1);

	/* Where nothing expires nothing is stored as if it did. */
	CHECK_EQ(shmkv_capabilities(kv, &can), 0);
	puts[0] = put_item("leased", 6, shmkv_int(9));
	puts[0].ttl_ms = 100000;
	CHECK_EQ(shmkv_put_many(kv, puts, 1, &n_ok), 0);
	CHECK_EQ(puts[0].result, can & SHMKV_CAN_EXPIRE ? 0 : -EOPNOTSUPP);
	CHECK_EQ(shmkv_exists(kv, KEY("leased")), can & SHMKV_CAN_EXPIRE ? 0 : -ENOENT);

	gets[0] = get_item(NULL, 3, buf, 4);
	gets[1] = get_item("one", 3, buf, 4);
	gets[2] = get_item("one", 3, NULL, 4);
	gets[3] = get_item("", 0, buf, 4);
	gets[4] = get_item(long_key, sizeof(long_key), buf, 4);
	gets[5] = get_item(long_key, sizeof(long_key) - 1, buf, 4);
	CHECK_EQ(shmkv_get_many(kv, gets, 6, &n_ok), 0);
	CHECK_EQ(n_ok, 2u);
	CHECK_EQ(gets[0].result, -EINVAL);
	CHECK_EQ(gets[1].result, 0);
	CHECK_EQ(gets[1].value.i64, 1);
	CHECK_EQ(gets[2].result, -EINVAL);
	CHECK_EQ(gets[3].result, -EMSGSIZE);
	CHECK_EQ(gets[4].result, -EMSGSIZE);
	CHECK_EQ(gets[5].value.i64, 7);
	for (i = 0; i < 6; i++)
		CHECK(gets[i].result == 0 || (gets[i].token == 78 && gets[i].value.i64 == -77));

	/* Nothing but bad ones, for more than a group. */
	for (i = 0; i < 8; i++)
		puts[i] = put_item("", 0, shmkv_int(0));
	CHECK_EQ(shmkv_put_many(kv, puts, 8, &n_ok), 0);
	CHECK_EQ(n_ok, 0u);
	end(kv);
}

void skv_conformance_batch_calls(const struct skv_conformance *engine)
{
	char name[128];
	struct shmkv *kv = begin_named(engine, 0, name), *reader = NULL;
	struct shmkv_put_item item = put_item("k", 1, shmkv_int(1));
	struct shmkv_get_item got = get_item("k", 1, NULL, 0);
	size_t n_ok = 99;
	pid_t pid;

	/* No items: no work, whatever the pointer. */
	CHECK_EQ(shmkv_put_many(kv, NULL, 0, &n_ok), 0);
	CHECK_EQ(n_ok, 0u);
	n_ok = 99;
	CHECK_EQ(shmkv_get_many(kv, NULL, 0, &n_ok), 0);
	CHECK_EQ(n_ok, 0u);
	n_ok = 99;
	CHECK_EQ(shmkv_put_many(kv, NULL, 1, &n_ok), -EINVAL);
	CHECK_EQ(shmkv_get_many(kv, NULL, 1, &n_ok), -EINVAL);
	CHECK_EQ(shmkv_put_many(NULL, &item, 1, &n_ok), -EBADF);
	CHECK_EQ(shmkv_get_many(NULL, &got, 1, &n_ok), -EBADF);
	CHECK_EQ(item.result, 99);
	CHECK_EQ(got.result, 99);
	CHECK_EQ(n_ok, 99u);

	CHECK_EQ(shmkv_put_many(kv, &item, 1, NULL), 0);
	if (shmkv_attach(name, SHMKV_READ_ONLY, &reader) == 0) {
		item.result = 99;
		CHECK_EQ(shmkv_put_many(reader, &item, 1, &n_ok), -EROFS);
		CHECK_EQ(item.result, 99);
		CHECK_EQ(shmkv_get_many(reader, &got, 1, &n_ok), 0);
		CHECK_EQ(n_ok, 1u);
		CHECK_EQ(got.value.i64, 1);
		shmkv_detach(reader);
		CHECK_EQ(shmkv_get_many(reader, &got, 1, &n_ok), -EBADF);
	}
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(shmkv_get_many(kv, &got, 1, NULL), -ECHILD);
		CHECK_EQ(shmkv_put_many(kv, &item, 1, NULL), -ECHILD);
		_exit(0);
	}
	skv_test_wait_ok(pid);
	forget_name(engine, name);
	end(kv);
}

void skv_conformance_batch_full(const struct skv_conformance *engine)
{
	enum { N = 200, LEN = 20000 };
	struct shmkv *kv;
	struct shmkv_put_item *items;
	struct shmkv_value found;
	uint16_t keys[N];
	uint8_t *value, *buf;
	size_t i, n_ok, n = 0;
	uint64_t count;

	if (!engine->small_bytes)
		skv_test_skip("this engine knows no limit");
	kv = begin(engine, engine->small_bytes);
	items = calloc(N, sizeof(*items));
	value = malloc(LEN);
	buf = malloc(LEN);
	CHECK(items && value && buf);
	memset(value, 7, LEN);
	/* Every fifth one is small and finds room when the large ones do not any more. */
	for (i = 0; i < N; i++) {
		keys[i] = (uint16_t)i;
		items[i] = put_item(&keys[i], sizeof(keys[i]), shmkv_bin(value, i % 5 ? LEN : 8));
	}
	CHECK_EQ(shmkv_put_many(kv, items, N, &n_ok), 0);
	CHECK(n_ok > 40 && n_ok < N);
	for (i = 0; i < N; i++) {
		n += items[i].result == 0;
		CHECK(items[i].result == 0 || (items[i].result == -ENOSPC && i % 5));
		CHECK_EQ(shmkv_get(kv, &keys[i], sizeof(keys[i]), buf, LEN, &found, NULL),
			 items[i].result == 0 ? 0 : -ENOENT);
		if (items[i].result == 0)
			CHECK_MEM(found.data, found.len, value, i % 5 ? LEN : 8);
	}
	CHECK_EQ(n, n_ok);
	CHECK_EQ(shmkv_count(kv, &count), 0);
	CHECK_EQ(count, n);
	free(items);
	free(value);
	free(buf);
	end(kv);
}

/* Batches of all lengths around a group and far above, against the same by single calls. */
void skv_conformance_batch_long(const struct skv_conformance *engine)
{
	static const size_t lens[] = { 1, 2, 31, 32, 33, 63, 64, 65, 500, 20000 };
	enum { N = 20000, CAP = 200 };
	struct shmkv *kv = begin(engine, 0);
	struct shmkv_put_item *puts = calloc(N, sizeof(*puts));
	struct shmkv_get_item *gets = calloc(N, sizeof(*gets));
	uint32_t *keys = calloc(N, sizeof(*keys)), *last = calloc(N, sizeof(*last));
	uint8_t *values = calloc(N, CAP), *bufs = calloc(N, CAP);
	struct shmkv_value found;
	uint64_t x = skv_test_seed(), count, n_keys = 0;
	uint8_t buf[CAP];
	size_t i, k, n_ok, len;

	CHECK(puts && gets && keys && last && values && bufs);
	for (k = 0; k < ARRAY_LEN(lens); k++) {
		for (i = 0; i < lens[k]; i++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			keys[i] = (uint32_t)(x >> 33) % N;
			len = 4 + (x >> 20) % (CAP - 4);
			memset(values + i * CAP, (int)(x >> 50), CAP);
			memcpy(values + i * CAP, &i, 4);
			puts[i] = put_item(&keys[i], sizeof(keys[i]),
					   shmkv_bin(values + i * CAP, len));
			n_keys += last[keys[i]] == 0;
			last[keys[i]] = (uint32_t)i + 1;
		}
		CHECK_EQ(shmkv_put_many(kv, puts, lens[k], &n_ok), 0);
		CHECK_EQ(n_ok, lens[k]);
		CHECK_EQ(shmkv_count(kv, &count), 0);
		CHECK_EQ(count, n_keys);

		for (i = 0; i < lens[k]; i++)
			gets[i] = get_item(&keys[i], sizeof(keys[i]), bufs + i * CAP, CAP);
		CHECK_EQ(shmkv_get_many(kv, gets, lens[k], &n_ok), 0);
		CHECK_EQ(n_ok, lens[k]);
		for (i = 0; i < lens[k]; i++) {
			const struct shmkv_put_item *p = &puts[last[keys[i]] - 1];
			const struct shmkv_value *got = &gets[i].value;

			CHECK_MEM(got->data, got->len, p->value.data, p->value.len);
			CHECK_EQ(gets[i].token, p->token);
			CHECK_EQ(shmkv_get(kv, p->key, p->key_len, buf, CAP, &found, NULL), 0);
			CHECK_MEM(found.data, found.len, p->value.data, p->value.len);
		}
		/* The next round's numbers are those of its own items, and old keys stay. */
		for (i = 0; i < lens[k]; i++)
			last[keys[i]] = UINT32_MAX;
	}
	free(puts);
	free(gets);
	free(keys);
	free(last);
	free(values);
	free(bufs);
	end(kv);
}

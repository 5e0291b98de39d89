/* SPDX-License-Identifier: MIT */
#include "tests/conformance.h"

#include "tests/test.h"

#include <shmkv/capability.h>
#include <shmkv/expiry.h>
#include <shmkv/inspect.h>
#include <shmkv/reserve.h>
#include <shmkv/shmkv.h>
#include <shmkv/view.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KEY(text) (text), strlen(text)

/* ---- fixture --------------------------------------------------------------------- */

struct fixture {
	struct shmkv *kv;
	uint64_t can; /* capability bits */
	char name[SHMKV_NAME_MAX + 32];
};

static void fixture_name(struct fixture *f, const struct skv_conformance *engine)
{
	static unsigned int n;

	snprintf(f->name, sizeof(f->name), "%s%d-%u", engine->prefix, (int)getpid(), n++);
}

/* A map with its name, for tests that attach once more; end it with fixture_free_named. */
static struct fixture fixture_new_named(const struct skv_conformance *engine, uint64_t max_bytes)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	struct fixture f = { .kv = NULL };

	if (engine->prepare)
		engine->prepare();
	fixture_name(&f, engine);
	opts.max_bytes = max_bytes;
	if (engine->adjust)
		engine->adjust(&opts);
	CHECK_EQ(shmkv_create(f.name, &opts, &f.kv), 0);
	CHECK(f.kv != NULL);
	CHECK_EQ(shmkv_capabilities(f.kv, &f.can), 0);
	CHECK_EQ((f.can & SHMKV_CAN_SHARE) != 0, !engine->is_private);
	return f;
}

/* A private map has no name to remove. */
static void fixture_unlink(struct fixture *f)
{
	CHECK_EQ(shmkv_unlink(f->name), f->can & SHMKV_CAN_SHARE ? 0 : -EOPNOTSUPP);
}

/* The name goes at once: nothing stays behind however the test ends. */
static struct fixture fixture_new_sized(const struct skv_conformance *engine, uint64_t max_bytes)
{
	struct fixture f = fixture_new_named(engine, max_bytes);

	fixture_unlink(&f);
	return f;
}

static struct fixture fixture_new(const struct skv_conformance *engine)
{
	return fixture_new_sized(engine, 0);
}

static void fixture_free(struct fixture *f)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	uint64_t count;

	/* Whatever a test did, the map is sound afterwards. */
	CHECK_EQ(shmkv_check(f->kv, NULL, NULL, &audit), 0);
	CHECK_EQ(audit.violations, 0u);
	CHECK_EQ(audit.leaked_blocks, 0u);
	CHECK_EQ(audit.leaked_bytes, 0u);
	CHECK_EQ(audit.leaked_leaves, 0u);
	CHECK_EQ(audit.leaked_chunks, 0u);
	CHECK_EQ(shmkv_count(f->kv, &count), 0);
	CHECK_EQ(audit.keys, count);
	f->kv = shmkv_detach(f->kv);
	CHECK(f->kv == NULL);
}

static void fixture_free_named(struct fixture *f)
{
	fixture_unlink(f);
	fixture_free(f);
}

/* For what only several handles of one map can show. */
static void need_sharing(const struct skv_conformance *engine)
{
	if (engine->is_private)
		skv_test_skip("every map of this engine has one handle");
}

/* ---- helpers --------------------------------------------------------------------- */

/* Bytes that tell which value and which place in it they are from. */
static void fill(uint8_t *buf, size_t len, uint64_t salt)
{
	uint64_t x = salt * 0x9e3779b97f4a7c15 + 1;
	size_t i;

	for (i = 0; i < len; i++) {
		if (i % 8 == 0)
			x = x * 6364136223846793005 + 1442695040888963407;
		buf[i] = (uint8_t)(x >> (8 * (i % 8)));
	}
}

static void *xmalloc(size_t len)
{
	void *p = malloc(len ? len : 1);

	CHECK(p != NULL);
	return p;
}

static void put_text(struct fixture *f, const char *key, const char *text)
{
	CHECK_EQ(shmkv_put(f->kv, KEY(key), shmkv_str(text), NULL), 0);
}

static void check_text(struct fixture *f, const char *key, const char *text)
{
	char buf[256];
	size_t len;

	CHECK_EQ(shmkv_get_str(f->kv, KEY(key), buf, sizeof(buf), &len), 0);
	CHECK_MEM(buf, len, text, strlen(text));
}

static void check_packed(struct fixture *f, const void *key, size_t key_len, const void *bytes,
			 size_t len)
{
	void *buf;
	size_t buf_len;

	CHECK_EQ(shmkv_get_alloc(f->kv, key, key_len, &buf, &buf_len, NULL), 0);
	CHECK_MEM(buf, buf_len, bytes, len);
	free(buf);
}

static void check_absent(struct fixture *f, const char *key)
{
	struct shmkv_value value;

	CHECK_EQ(shmkv_exists(f->kv, KEY(key)), -ENOENT);
	CHECK_EQ(shmkv_get(f->kv, KEY(key), NULL, 0, &value, NULL), -ENOENT);
}

static void check_count(struct fixture *f, uint64_t expected)
{
	uint64_t count = ~expected;

	CHECK_EQ(shmkv_count(f->kv, &count), 0);
	CHECK_EQ(count, expected);
}

static void check_value(const struct shmkv_value *got, const struct shmkv_value *want)
{
	CHECK_EQ(got->type, want->type);
	switch (want->type) {
	case SHMKV_BOOL:
		CHECK_EQ(got->boolean, want->boolean);
		break;
	case SHMKV_INT:
		CHECK_EQ(got->i64, want->i64);
		break;
	case SHMKV_UINT:
		CHECK_EQ(got->u64, want->u64);
		break;
	case SHMKV_FLOAT:
		CHECK_MEM(&got->f64, sizeof(got->f64), &want->f64, sizeof(want->f64));
		break;
	case SHMKV_STR:
	case SHMKV_BIN:
	case SHMKV_PACKED:
		CHECK_MEM(got->data, got->len, want->data, want->len);
		break;
	case SHMKV_NIL:
		break;
	}
}

/* ---- values ---------------------------------------------------------------------- */

void skv_conformance_every_type(const struct skv_conformance *engine)
{
	static const uint8_t array[] = { 0x93, 0x01, 0xa1, 'x', 0xc0 };
	static const uint8_t map[] = { 0x82, 0xa1, 'a', 0x01, 0xa1, 'b', 0x91, 0xc3 };
	static const uint8_t ext[] = { 0xd5, 0x2a, 0x01, 0x02 };
	const struct shmkv_value values[] = {
		shmkv_nil(),
		shmkv_bool(true),
		shmkv_bool(false),
		shmkv_int(0),
		shmkv_int(-1),
		shmkv_int(INT64_MIN),
		shmkv_uint(UINT64_MAX),
		shmkv_float(0.0),
		shmkv_float(-0.0),
		shmkv_float(1.5),
		shmkv_float(DBL_MAX),
		shmkv_float(-INFINITY),
		shmkv_str("text"),
		shmkv_str_n("nul\0inside", 10),
		shmkv_bin("\x00\xff\xc1", 3),
		shmkv_packed(array, sizeof(array)),
		shmkv_packed(map, sizeof(map)),
		shmkv_packed(ext, sizeof(ext)),
	};
	struct fixture f = fixture_new(engine);
	struct shmkv_value got;
	uint8_t buf[64], packed[64];
	uint64_t token, got_token;
	size_t i, len;

	for (i = 0; i < ARRAY_LEN(values); i++) {
		CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), values[i], &token), 0);
		CHECK_EQ(shmkv_get(f.kv, &i, sizeof(i), buf, sizeof(buf), &got, &got_token), 0);
		check_value(&got, &values[i]);
		CHECK_EQ(got_token, token);
	}
	/* Once more when all are there. */
	for (i = 0; i < ARRAY_LEN(values); i++) {
		CHECK_EQ(shmkv_get(f.kv, &i, sizeof(i), buf, sizeof(buf), &got, NULL), 0);
		check_value(&got, &values[i]);
		CHECK_EQ(shmkv_value_encode(values[i], packed, sizeof(packed), &len), 0);
		check_packed(&f, &i, sizeof(i), packed, len);
	}
	fixture_free(&f);
}

void skv_conformance_integers(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct shmkv_value got;
	unsigned int bit;
	int64_t i64;
	uint64_t u64;
	int delta;

	for (bit = 0; bit < 64; bit++) {
		for (delta = -1; delta <= 1; delta++) {
			u64 = ((uint64_t)1 << bit) + (uint64_t)(int64_t)delta;
			CHECK_EQ(shmkv_put(f.kv, KEY("u"), shmkv_uint(u64), NULL), 0);
			CHECK_EQ(shmkv_get(f.kv, KEY("u"), NULL, 0, &got, NULL), 0);
			if (u64 <= INT64_MAX) {
				CHECK_EQ(got.type, SHMKV_INT);
				CHECK_EQ(got.i64, (int64_t)u64);
			} else {
				CHECK_EQ(got.type, SHMKV_UINT);
				CHECK_EQ(got.u64, u64);
			}

			i64 = (int64_t)(0 - u64);
			CHECK_EQ(shmkv_put(f.kv, KEY("i"), shmkv_int(i64), NULL), 0);
			CHECK_EQ(shmkv_get(f.kv, KEY("i"), NULL, 0, &got, NULL), 0);
			CHECK_EQ(got.type, SHMKV_INT);
			CHECK_EQ(got.i64, i64);
		}
	}
	fixture_free(&f);
}

void skv_conformance_packed_forms(const struct skv_conformance *engine)
{
	/* 7 as int 64, "ab" as str 32, 1.5 as float 32: valid, though not shortest. */
	static const uint8_t wide_int[] = { 0xd3, 0, 0, 0, 0, 0, 0, 0, 7 };
	static const uint8_t wide_str[] = { 0xdb, 0, 0, 0, 2, 'a', 'b' };
	static const uint8_t narrow_float[] = { 0xca, 0x3f, 0xc0, 0, 0 };
	struct fixture f = fixture_new(engine);
	struct shmkv_value got;
	uint8_t buf[16];

	CHECK_EQ(shmkv_put(f.kv, KEY("i"), shmkv_packed(wide_int, sizeof(wide_int)), NULL), 0);
	check_packed(&f, KEY("i"), wide_int, sizeof(wide_int));
	CHECK_EQ(shmkv_get(f.kv, KEY("i"), NULL, 0, &got, NULL), 0);
	CHECK_EQ(got.type, SHMKV_INT);
	CHECK_EQ(got.i64, 7);

	CHECK_EQ(shmkv_put(f.kv, KEY("s"), shmkv_packed(wide_str, sizeof(wide_str)), NULL), 0);
	check_packed(&f, KEY("s"), wide_str, sizeof(wide_str));
	CHECK_EQ(shmkv_get(f.kv, KEY("s"), buf, 2, &got, NULL), 0);
	CHECK_EQ(got.type, SHMKV_STR);
	CHECK_MEM(got.data, got.len, "ab", 2);

	CHECK_EQ(shmkv_put(f.kv, KEY("f"), shmkv_packed(narrow_float, sizeof(narrow_float)), NULL),
		 0);
	CHECK_EQ(shmkv_get(f.kv, KEY("f"), NULL, 0, &got, NULL), 0);
	CHECK_EQ(got.type, SHMKV_FLOAT);
	CHECK(got.f64 == 1.5);
	fixture_free(&f);
}

/* ---- storing --------------------------------------------------------------------- */

void skv_conformance_put(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint64_t first, second, third;

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_str("one"), &first), 0);
	check_text(&f, "k", "one");
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_str("two"), &second), 0);
	check_text(&f, "k", "two");
	CHECK(first != second);
	/* The same value again is a write all the same. */
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_str("two"), &third), 0);
	CHECK(third != second);
	check_count(&f, 1);
	fixture_free(&f);
}

void skv_conformance_add(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint64_t token = 0, untouched = 77;

	CHECK_EQ(shmkv_add(f.kv, KEY("k"), shmkv_str("one"), &token), 0);
	CHECK_EQ(shmkv_add(f.kv, KEY("k"), shmkv_str("two"), &untouched), -EEXIST);
	CHECK_EQ(untouched, 77u);
	check_text(&f, "k", "one");
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_str("three"), NULL), 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_add(f.kv, KEY("k"), shmkv_str("four"), NULL), 0);
	check_text(&f, "k", "four");
	fixture_free(&f);
}

void skv_conformance_replace(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint64_t token, untouched = 77;

	CHECK_EQ(shmkv_replace(f.kv, KEY("k"), shmkv_str("one"), &untouched), -ENOENT);
	CHECK_EQ(untouched, 77u);
	check_absent(&f, "k");
	check_count(&f, 0);
	put_text(&f, "k", "two");
	CHECK_EQ(shmkv_replace(f.kv, KEY("k"), shmkv_str("three"), &token), 0);
	check_text(&f, "k", "three");
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_str("four"), NULL), 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_replace(f.kv, KEY("k"), shmkv_str("five"), NULL), -ENOENT);
	fixture_free(&f);
}

void skv_conformance_cas(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct shmkv_value value;
	uint64_t token, next, untouched = 77;

	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), 1, shmkv_int(0), &untouched), -ENOENT);
	check_absent(&f, "k");

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_int(1), &token), 0);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_int(2), &next), 0);
	CHECK(next != token);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_int(3), &untouched), -ESTALE);
	CHECK_EQ(untouched, 77u);
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), NULL, 0, &value, &token), 0);
	CHECK_EQ(value.i64, 2);
	CHECK_EQ(token, next);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_int(4), NULL), 0);

	/* Gone and back with the same value: another version. */
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), NULL, 0, &value, &token), 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_int(5), NULL), -ENOENT);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_int(4), NULL), 0);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_int(5), NULL), -ESTALE);

	/* The token of another key. */
	CHECK_EQ(shmkv_put(f.kv, KEY("other"), shmkv_int(0), &token), 0);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_int(5), NULL), -ESTALE);
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), NULL, 0, &value, NULL), 0);
	CHECK_EQ(value.i64, 4);
	fixture_free(&f);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Every way to write one of a few keys, many times: all tokens differ. */
void skv_conformance_tokens(const struct skv_conformance *engine)
{
	enum { N_ROUNDS = 2000 };
	struct fixture f = fixture_new(engine);
	uint64_t *tokens = xmalloc(N_ROUNDS * 4 * sizeof(*tokens));
	uint64_t token, i, key;
	struct shmkv_value value;
	size_t n = 0;

	for (i = 0; i < N_ROUNDS; i++) {
		key = i % 3;
		CHECK_EQ(shmkv_put(f.kv, &key, sizeof(key), shmkv_int(1), &tokens[n++]), 0);
		CHECK_EQ(shmkv_incr(f.kv, &key, sizeof(key), 1, 0, NULL), 0);
		CHECK_EQ(shmkv_get(f.kv, &key, sizeof(key), NULL, 0, &value, &tokens[n++]), 0);
		token = tokens[n - 1];
		CHECK_EQ(shmkv_cas(f.kv, &key, sizeof(key), token, shmkv_str("x"), &tokens[n++]), 0);
		CHECK_EQ(shmkv_append(f.kv, &key, sizeof(key), shmkv_str("y"), NULL), 0);
		CHECK_EQ(shmkv_get_packed(f.kv, &key, sizeof(key), &token, sizeof(token),
					  &(size_t){ 0 }, &tokens[n++]), 0);
		if (i % 2)
			CHECK_EQ(shmkv_del(f.kv, &key, sizeof(key)), 0);
	}
	qsort(tokens, n, sizeof(*tokens), compare_u64);
	for (i = 1; i < n; i++)
		CHECK(tokens[i - 1] != tokens[i]);
	free(tokens);
	fixture_free(&f);
}

/* ---- removing -------------------------------------------------------------------- */

void skv_conformance_del(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);

	CHECK_EQ(shmkv_del(f.kv, KEY("a")), -ENOENT);
	put_text(&f, "a", "1");
	put_text(&f, "b", "2");
	CHECK_EQ(shmkv_del(f.kv, KEY("a")), 0);
	check_absent(&f, "a");
	check_text(&f, "b", "2");
	CHECK_EQ(shmkv_del(f.kv, KEY("a")), -ENOENT);
	check_count(&f, 1);
	put_text(&f, "a", "3");
	check_text(&f, "a", "3");
	fixture_free(&f);
}

void skv_conformance_take(const struct skv_conformance *engine)
{
	static const uint8_t packed[] = { 0xa3, 'o', 'n', 'e' };
	struct fixture f = fixture_new(engine);
	uint8_t buf[8];
	size_t len = 77;

	CHECK_EQ(shmkv_take(f.kv, KEY("k"), buf, sizeof(buf), &len), -ENOENT);
	CHECK_EQ(len, 77u);
	put_text(&f, "k", "one");

	/* One byte too few, and none: the key stays, the length is told. */
	CHECK_EQ(shmkv_take(f.kv, KEY("k"), buf, sizeof(packed) - 1, &len), -ENOBUFS);
	CHECK_EQ(len, sizeof(packed));
	len = 77;
	CHECK_EQ(shmkv_take(f.kv, KEY("k"), NULL, 0, &len), -ENOBUFS);
	CHECK_EQ(len, sizeof(packed));
	check_text(&f, "k", "one");

	CHECK_EQ(shmkv_take(f.kv, KEY("k"), buf, sizeof(packed), &len), 0);
	CHECK_MEM(buf, len, packed, sizeof(packed));
	check_absent(&f, "k");
	check_count(&f, 0);
	CHECK_EQ(shmkv_take(f.kv, KEY("k"), buf, sizeof(buf), &len), -ENOENT);
	fixture_free(&f);
}

void skv_conformance_exists(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);

	CHECK_EQ(shmkv_exists(f.kv, KEY("k")), -ENOENT);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_exists(f.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_exists(f.kv, KEY("kk")), -ENOENT);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_exists(f.kv, KEY("k")), -ENOENT);
	fixture_free(&f);
}

/* ---- reading --------------------------------------------------------------------- */

void skv_conformance_get_buffers(const struct skv_conformance *engine)
{
	static const size_t lens[] = { 1, 31, 32, 255, 256, 4000, 65535, 65536, 200000 };
	struct fixture f = fixture_new(engine);
	uint8_t *payload = xmalloc(200000), *buf;
	struct shmkv_value value, stored[2];
	uint64_t token;
	size_t i, j, len;

	for (i = 0; i < ARRAY_LEN(lens); i++) {
		len = lens[i];
		fill(payload, len, len);
		stored[0] = shmkv_str_n((const char *)payload, len);
		stored[1] = shmkv_bin(payload, len);
		/* Exactly as long as allowed: a byte beyond it is seen by the sanitizer. */
		buf = xmalloc(len);
		for (j = 0; j < 2; j++) {
			CHECK_EQ(shmkv_put(f.kv, KEY("k"), stored[j], NULL), 0);

			token = 77;
			CHECK_EQ(shmkv_get(f.kv, KEY("k"), buf, len - 1, &value, &token), -ENOBUFS);
			CHECK_EQ(value.type, stored[j].type);
			CHECK_EQ(value.len, len);
			CHECK(value.data == NULL);
			CHECK_EQ(token, 77u);
			CHECK_EQ(shmkv_get(f.kv, KEY("k"), NULL, 0, &value, NULL), -ENOBUFS);
			CHECK_EQ(value.type, stored[j].type);
			CHECK_EQ(value.len, len);

			CHECK_EQ(shmkv_get(f.kv, KEY("k"), buf, len, &value, &token), 0);
			CHECK(value.data == buf);
			check_value(&value, &stored[j]);
		}
		free(buf);
	}

	/* Scalars travel in the value and need no buffer; a given one stays as it is. */
	memset(payload, 0x5a, 16);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_int(INT64_MIN), NULL), 0);
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), payload, 16, &value, NULL), 0);
	CHECK_EQ(value.i64, INT64_MIN);
	CHECK_EQ(value.len, 0u);
	for (i = 0; i < 16; i++)
		CHECK_EQ(payload[i], 0x5a);

	/* A packed object counts with its header. */
	payload[0] = 0x92;
	payload[1] = payload[2] = 0xc0;
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_packed(payload, 3), NULL), 0);
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), payload + 8, 2, &value, NULL), -ENOBUFS);
	CHECK_EQ(value.type, SHMKV_PACKED);
	CHECK_EQ(value.len, 3u);
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), payload + 8, 3, &value, NULL), 0);
	CHECK_MEM(value.data, value.len, payload, 3);

	/* Nothing found: no output is touched. */
	value = shmkv_uint(5);
	token = 77;
	CHECK_EQ(shmkv_get(f.kv, KEY("none"), payload, 16, &value, &token), -ENOENT);
	CHECK_EQ(value.type, SHMKV_UINT);
	CHECK_EQ(value.u64, 5u);
	CHECK_EQ(token, 77u);
	free(payload);
	fixture_free(&f);
}

void skv_conformance_get_packed_buffers(const struct skv_conformance *engine)
{
	static const uint8_t packed[] = { 0xc4, 0x03, 'a', 'b', 'c' };
	struct fixture f = fixture_new(engine);
	uint8_t *buf = xmalloc(sizeof(packed));
	uint64_t token = 77, put_token;
	size_t len = 77;

	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), buf, sizeof(packed), &len, &token), -ENOENT);
	CHECK_EQ(len, 77u);
	CHECK_EQ(token, 77u);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_bin("abc", 3), &put_token), 0);

	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), NULL, 0, &len, &token), -ENOBUFS);
	CHECK_EQ(len, sizeof(packed));
	len = 77;
	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), buf, sizeof(packed) - 1, &len, &token), -ENOBUFS);
	CHECK_EQ(len, sizeof(packed));
	CHECK_EQ(token, 77u);
	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), buf, sizeof(packed), &len, &token), 0);
	CHECK_MEM(buf, len, packed, sizeof(packed));
	CHECK_EQ(token, put_token);
	free(buf);
	fixture_free(&f);
}

void skv_conformance_get_alloc(const struct skv_conformance *engine)
{
	static const size_t lens[] = { 0, 1, 200, 255, 256, 300, 5000, 70000, 1 << 20 };
	struct fixture f = fixture_new(engine);
	uint8_t *payload = xmalloc(1 << 20);
	struct shmkv_value value, stored;
	uint64_t token, put_token;
	void *buf = payload;
	size_t i, len = 77;

	CHECK_EQ(shmkv_get_alloc(f.kv, KEY("k"), &buf, &len, NULL), -ENOENT);
	CHECK(buf == payload);
	CHECK_EQ(len, 77u);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		fill(payload, lens[i], i);
		stored = shmkv_bin(payload, lens[i]);
		CHECK_EQ(shmkv_put(f.kv, KEY("k"), stored, &put_token), 0);
		CHECK_EQ(shmkv_get_alloc(f.kv, KEY("k"), &buf, &len, &token), 0);
		CHECK_EQ(token, put_token);
		CHECK_EQ(shmkv_value_decode(buf, len, &value), 0);
		check_value(&value, &stored);
		free(buf);
	}
	free(payload);
	fixture_free(&f);
}

void skv_conformance_typed_reads(const struct skv_conformance *engine)
{
	/* What each read answers; the numbers themselves are compared below. */
	static const struct {
		const char *key;
		int as_bool, as_int, as_uint, as_float, as_str, as_bin;
	} rows[] = {
		{ "nil", -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE,
		  -EPROTOTYPE },
		{ "true", 0, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE },
		{ "7", -EPROTOTYPE, 0, 0, 0, -EPROTOTYPE, -EPROTOTYPE },
		{ "-7", -EPROTOTYPE, 0, -ERANGE, 0, -EPROTOTYPE, -EPROTOTYPE },
		{ "2^53+1", -EPROTOTYPE, 0, 0, -ERANGE, -EPROTOTYPE, -EPROTOTYPE },
		{ "int_max", -EPROTOTYPE, 0, 0, -ERANGE, -EPROTOTYPE, -EPROTOTYPE },
		{ "int_min", -EPROTOTYPE, 0, -ERANGE, 0, -EPROTOTYPE, -EPROTOTYPE },
		{ "2^63", -EPROTOTYPE, -ERANGE, 0, 0, -EPROTOTYPE, -EPROTOTYPE },
		{ "uint_max", -EPROTOTYPE, -ERANGE, 0, -ERANGE, -EPROTOTYPE, -EPROTOTYPE },
		{ "1.0", -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, 0, -EPROTOTYPE, -EPROTOTYPE },
		{ "str", -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, 0, -EPROTOTYPE },
		{ "bin", -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, 0 },
		{ "array", -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE, -EPROTOTYPE,
		  -EPROTOTYPE },
		{ "absent", -ENOENT, -ENOENT, -ENOENT, -ENOENT, -ENOENT, -ENOENT },
	};
	const struct shmkv_value values[ARRAY_LEN(rows) - 1] = {
		shmkv_nil(),
		shmkv_bool(true),
		shmkv_int(7),
		shmkv_int(-7),
		shmkv_int(((int64_t)1 << 53) + 1),
		shmkv_int(INT64_MAX),
		shmkv_int(INT64_MIN),
		shmkv_uint((uint64_t)1 << 63),
		shmkv_uint(UINT64_MAX),
		shmkv_float(1.0),
		shmkv_str("text"),
		shmkv_bin("bytes", 5),
		shmkv_packed("\x91\x07", 2),
	};
	struct fixture f = fixture_new(engine);
	const char *key;
	char buf[16];
	size_t i, len;
	uint64_t u64;
	int64_t i64;
	double f64;
	bool b;

	for (i = 0; i < ARRAY_LEN(values); i++)
		CHECK_EQ(shmkv_put(f.kv, KEY(rows[i].key), values[i], NULL), 0);

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		key = rows[i].key;
		b = false;
		i64 = 77;
		u64 = 77;
		f64 = 77;
		len = 77;
		CHECK_EQ(shmkv_get_bool(f.kv, KEY(key), &b), rows[i].as_bool);
		CHECK_EQ(b, rows[i].as_bool == 0);
		CHECK_EQ(shmkv_get_int(f.kv, KEY(key), &i64), rows[i].as_int);
		CHECK_EQ(i64, rows[i].as_int == 0 ? values[i].i64 : 77);
		CHECK_EQ(shmkv_get_uint(f.kv, KEY(key), &u64), rows[i].as_uint);
		CHECK_EQ(u64, rows[i].as_uint == 0 ? values[i].u64 : 77);
		CHECK_EQ(shmkv_get_float(f.kv, KEY(key), &f64), rows[i].as_float);
		if (rows[i].as_float < 0)
			CHECK(f64 == 77);
		else if (values[i].type == SHMKV_FLOAT)
			CHECK(f64 == values[i].f64);
		else if (values[i].type == SHMKV_INT)
			CHECK(f64 == (double)values[i].i64);
		else
			CHECK(f64 == (double)values[i].u64);
		CHECK_EQ(shmkv_get_str(f.kv, KEY(key), buf, sizeof(buf), &len), rows[i].as_str);
		if (rows[i].as_str == 0)
			CHECK_MEM(buf, len, "text", 4);
		else
			CHECK_EQ(len, 77u);
		len = 77;
		CHECK_EQ(shmkv_get_bin(f.kv, KEY(key), buf, sizeof(buf), &len), rows[i].as_bin);
		if (rows[i].as_bin == 0)
			CHECK_MEM(buf, len, "bytes", 5);
		else
			CHECK_EQ(len, 77u);
	}
	fixture_free(&f);
}

void skv_conformance_payload_reads(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	char *buf = xmalloc(5);
	size_t len = 0;

	put_text(&f, "s", "hello");
	CHECK_EQ(shmkv_get_str(f.kv, KEY("s"), NULL, 0, &len), -ENOBUFS);
	CHECK_EQ(len, 5u);
	len = 0;
	CHECK_EQ(shmkv_get_str(f.kv, KEY("s"), buf, 4, &len), -ENOBUFS);
	CHECK_EQ(len, 5u);
	CHECK_EQ(shmkv_get_str(f.kv, KEY("s"), buf, 5, &len), 0);
	CHECK_MEM(buf, len, "hello", 5);
	/* The wrong type is told before the small buffer. */
	CHECK_EQ(shmkv_get_bin(f.kv, KEY("s"), buf, 1, &len), -EPROTOTYPE);

	CHECK_EQ(shmkv_put(f.kv, KEY("b"), shmkv_bin("\0\1\2", 3), NULL), 0);
	CHECK_EQ(shmkv_get_bin(f.kv, KEY("b"), buf, 2, &len), -ENOBUFS);
	CHECK_EQ(len, 3u);
	CHECK_EQ(shmkv_get_bin(f.kv, KEY("b"), buf, 3, &len), 0);
	CHECK_MEM(buf, len, "\0\1\2", 3);
	free(buf);
	fixture_free(&f);
}

/* ---- incr, append ---------------------------------------------------------------- */

void skv_conformance_incr(const struct skv_conformance *engine)
{
	static const uint8_t wide[] = { 0xcf, 0, 0, 0, 0, 0, 0, 0, 40 };
	struct fixture f = fixture_new(engine);
	int64_t sum = 77, expected = 0;
	int i;

	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), 5, 100, &sum), 0);
	CHECK_EQ(sum, 105);
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), -200, 100, &sum), 0);
	CHECK_EQ(sum, -95);
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), 0, 100, &sum), 0);
	CHECK_EQ(sum, -95);
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), 95, 0, NULL), 0);
	CHECK_EQ(shmkv_get_int(f.kv, KEY("n"), &sum), 0);
	CHECK_EQ(sum, 0);
	check_packed(&f, KEY("n"), "\0", 1);

	/* Over every length class of the format, up and down. */
	for (i = 0; i < 62; i++) {
		expected += (int64_t)1 << i;
		CHECK_EQ(shmkv_incr(f.kv, KEY("up"), (int64_t)1 << i, 0, &sum), 0);
		CHECK_EQ(sum, expected);
		CHECK_EQ(shmkv_incr(f.kv, KEY("down"), -((int64_t)1 << i), 0, &sum), 0);
		CHECK_EQ(sum, -expected);
	}

	CHECK_EQ(shmkv_put(f.kv, KEY("wide"), shmkv_packed(wide, sizeof(wide)), NULL), 0);
	CHECK_EQ(shmkv_incr(f.kv, KEY("wide"), 2, 0, &sum), 0);
	CHECK_EQ(sum, 42);
	check_packed(&f, KEY("wide"), "\x2a", 1);

	sum = 77;
	put_text(&f, "s", "12");
	CHECK_EQ(shmkv_incr(f.kv, KEY("s"), 1, 0, &sum), -EPROTOTYPE);
	check_text(&f, "s", "12");
	CHECK_EQ(shmkv_put(f.kv, KEY("f"), shmkv_float(1.0), NULL), 0);
	CHECK_EQ(shmkv_incr(f.kv, KEY("f"), 1, 0, &sum), -EPROTOTYPE);
	CHECK_EQ(shmkv_put(f.kv, KEY("nil"), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_incr(f.kv, KEY("nil"), 1, 0, &sum), -EPROTOTYPE);
	CHECK_EQ(shmkv_put(f.kv, KEY("a"), shmkv_packed("\x90", 1), NULL), 0);
	CHECK_EQ(shmkv_incr(f.kv, KEY("a"), 1, 0, &sum), -EPROTOTYPE);
	CHECK_EQ(sum, 77);
	fixture_free(&f);
}

void skv_conformance_incr_limits(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	int64_t sum = 77;

	CHECK_EQ(shmkv_put(f.kv, KEY("n"), shmkv_int(INT64_MAX - 1), NULL), 0);
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), 1, 0, &sum), 0);
	CHECK_EQ(sum, INT64_MAX);
	sum = 77;
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), 1, 0, &sum), -ERANGE);
	CHECK_EQ(sum, 77);
	CHECK_EQ(shmkv_get_int(f.kv, KEY("n"), &sum), 0);
	CHECK_EQ(sum, INT64_MAX);

	CHECK_EQ(shmkv_put(f.kv, KEY("n"), shmkv_int(INT64_MIN + 1), NULL), 0);
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), -1, 0, &sum), 0);
	CHECK_EQ(sum, INT64_MIN);
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), -1, 0, &sum), -ERANGE);
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), INT64_MAX, 0, &sum), 0);
	CHECK_EQ(sum, -1);

	/* The first sum may not leave the range either: the key stays absent. */
	CHECK_EQ(shmkv_incr(f.kv, KEY("new"), 1, INT64_MAX, &sum), -ERANGE);
	check_absent(&f, "new");
	CHECK_EQ(shmkv_incr(f.kv, KEY("new"), INT64_MIN, INT64_MAX, &sum), 0);
	CHECK_EQ(sum, -1);

	CHECK_EQ(shmkv_put(f.kv, KEY("u"), shmkv_uint((uint64_t)INT64_MAX + 1), NULL), 0);
	CHECK_EQ(shmkv_incr(f.kv, KEY("u"), 1, 0, &sum), -ERANGE);
	fixture_free(&f);
}

void skv_conformance_append(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct shmkv_value value;
	uint8_t buf[16];
	size_t len = 77;

	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_str("ab"), &len), 0);
	CHECK_EQ(len, 2u);
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_str("cde"), &len), 0);
	CHECK_EQ(len, 5u);
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_str(""), &len), 0);
	CHECK_EQ(len, 5u);
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_str("f"), NULL), 0);
	check_text(&f, "s", "abcdef");

	CHECK_EQ(shmkv_append(f.kv, KEY("b"), shmkv_bin("\0", 1), &len), 0);
	CHECK_EQ(shmkv_append(f.kv, KEY("b"), shmkv_bin("\xff", 1), &len), 0);
	CHECK_EQ(len, 2u);
	CHECK_EQ(shmkv_get(f.kv, KEY("b"), buf, sizeof(buf), &value, NULL), 0);
	CHECK_EQ(value.type, SHMKV_BIN);
	CHECK_MEM(value.data, value.len, "\0\xff", 2);

	len = 77;
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_bin("x", 1), &len), -EPROTOTYPE);
	CHECK_EQ(shmkv_append(f.kv, KEY("b"), shmkv_str("x"), &len), -EPROTOTYPE);
	CHECK_EQ(shmkv_put(f.kv, KEY("n"), shmkv_int(1), NULL), 0);
	CHECK_EQ(shmkv_append(f.kv, KEY("n"), shmkv_str("x"), &len), -EPROTOTYPE);
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_int(1), &len), -EINVAL);
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_nil(), &len), -EINVAL);
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_packed("\xa1x", 2), &len), -EINVAL);
	CHECK_EQ(shmkv_append(f.kv, KEY("s"), shmkv_str_n(NULL, 1), &len), -EINVAL);
	CHECK_EQ(shmkv_append(f.kv, KEY("new"), shmkv_packed("\xc1", 1), &len), -EINVAL);
	check_absent(&f, "new");
	CHECK_EQ(len, 77u);
	check_text(&f, "s", "abcdef");
	fixture_free(&f);
}

/* Stops just before, at and just after each length where the header changes. */
void skv_conformance_append_classes(const struct skv_conformance *engine)
{
	static const size_t stops[] = { 0,   1,	  30,	 31,	32,    33,    254,    255,
					256, 257, 65534, 65535, 65536, 65537, 100000, 100001 };
	struct fixture f = fixture_new(engine);
	uint8_t *payload = xmalloc(100001), *packed = xmalloc(100016);
	size_t i, j, from, len, packed_len;
	struct shmkv_value whole, piece;

	fill(payload, 100001, 5);
	for (j = 0; j < 2; j++) {
		from = 0;
		for (i = 0; i < ARRAY_LEN(stops); i++) {
			piece = shmkv_bin(payload + from, stops[i] - from);
			whole = shmkv_bin(payload, stops[i]);
			if (j == 0)
				piece.type = whole.type = SHMKV_STR;
			CHECK_EQ(shmkv_append(f.kv, &j, sizeof(j), piece, &len), 0);
			CHECK_EQ(len, stops[i]);
			/* Re-encoded, so again the shortest form. */
			CHECK_EQ(shmkv_value_encode(whole, packed, 100016, &packed_len), 0);
			check_packed(&f, &j, sizeof(j), packed, packed_len);
			from = stops[i];
		}
	}
	free(payload);
	free(packed);
	fixture_free(&f);
}

void skv_conformance_empty_payload(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct shmkv_value value;
	size_t len = 77;

	CHECK_EQ(shmkv_put(f.kv, KEY("s"), shmkv_str(""), NULL), 0);
	CHECK_EQ(shmkv_put(f.kv, KEY("b"), shmkv_bin(NULL, 0), NULL), 0);
	CHECK_EQ(shmkv_get(f.kv, KEY("s"), NULL, 0, &value, NULL), 0);
	CHECK_EQ(value.type, SHMKV_STR);
	CHECK_EQ(value.len, 0u);
	CHECK_EQ(shmkv_get(f.kv, KEY("b"), NULL, 0, &value, NULL), 0);
	CHECK_EQ(value.type, SHMKV_BIN);
	CHECK_EQ(value.len, 0u);
	CHECK_EQ(shmkv_get_str(f.kv, KEY("s"), NULL, 0, &len), 0);
	CHECK_EQ(len, 0u);
	check_packed(&f, KEY("s"), "\xa0", 1);
	check_packed(&f, KEY("b"), "\xc4\0", 2);
	check_count(&f, 2);

	/* What get gave can be put again as it is. */
	CHECK_EQ(shmkv_put(f.kv, KEY("b2"), value, NULL), 0);
	check_packed(&f, KEY("b2"), "\xc4\0", 2);
	fixture_free(&f);
}

/* ---- keys and arguments ---------------------------------------------------------- */

void skv_conformance_keys(const struct skv_conformance *engine)
{
	static const size_t lens[] = { 1,   2,	 7,   8,   9,	15,  16,   17,	 31,	32,   33,
				       63,  64,	 65,  127, 128, 255, 256,  257,	 1000,	4095, 4096,
				       4097, 32768, 65535, 65536 };
	struct fixture f = fixture_new(engine);
	uint8_t *key = xmalloc(SHMKV_KEY_MAX);
	unsigned int byte;
	uint64_t n = 0;
	int64_t i64;
	size_t i;

	/* Every single byte, NUL among them. */
	for (byte = 0; byte < 256; byte++, n++) {
		key[0] = (uint8_t)byte;
		CHECK_EQ(shmkv_add(f.kv, key, 1, shmkv_int((int64_t)byte), NULL), 0);
	}
	/* Only zeros, of many lengths: each is the beginning of the next. */
	memset(key, 0, SHMKV_KEY_MAX);
	for (i = 1; i < ARRAY_LEN(lens); i++, n++)
		CHECK_EQ(shmkv_add(f.kv, key, lens[i], shmkv_int((int64_t)lens[i]), NULL), 0);
	/* The same with another last byte. */
	for (i = 1; i < ARRAY_LEN(lens); i++, n++) {
		key[lens[i] - 1] = 1;
		CHECK_EQ(shmkv_add(f.kv, key, lens[i], shmkv_int(-(int64_t)lens[i]), NULL), 0);
		key[lens[i] - 1] = 0;
	}
	check_count(&f, n);

	for (byte = 0; byte < 256; byte++) {
		key[0] = (uint8_t)byte;
		CHECK_EQ(shmkv_get_int(f.kv, key, 1, &i64), 0);
		CHECK_EQ(i64, (int64_t)byte);
	}
	key[0] = 0;
	for (i = 1; i < ARRAY_LEN(lens); i++) {
		CHECK_EQ(shmkv_get_int(f.kv, key, lens[i], &i64), 0);
		CHECK_EQ(i64, (int64_t)lens[i]);
		key[lens[i] - 1] = 1;
		CHECK_EQ(shmkv_get_int(f.kv, key, lens[i], &i64), 0);
		CHECK_EQ(i64, -(int64_t)lens[i]);
		CHECK_EQ(shmkv_del(f.kv, key, lens[i]), 0);
		key[lens[i] - 1] = 0;
		CHECK_EQ(shmkv_exists(f.kv, key, lens[i]), 0);
	}
	check_count(&f, n - (ARRAY_LEN(lens) - 1));
	/* A length that nobody put. */
	CHECK_EQ(shmkv_exists(f.kv, key, 3), -ENOENT);
	free(key);
	fixture_free(&f);
}

/* Each data call once with a given key; all must answer @expected. */
static void check_all_refuse(struct fixture *f, const void *key, size_t key_len, int expected)
{
	struct shmkv_value value;
	uint8_t buf[8];
	uint64_t u64;
	int64_t i64;
	double f64;
	size_t len;
	void *p;
	bool b;

	CHECK_EQ(shmkv_put(f->kv, key, key_len, shmkv_int(1), NULL), expected);
	CHECK_EQ(shmkv_add(f->kv, key, key_len, shmkv_int(1), NULL), expected);
	CHECK_EQ(shmkv_replace(f->kv, key, key_len, shmkv_int(1), NULL), expected);
	CHECK_EQ(shmkv_cas(f->kv, key, key_len, 1, shmkv_int(1), NULL), expected);
	CHECK_EQ(shmkv_del(f->kv, key, key_len), expected);
	CHECK_EQ(shmkv_take(f->kv, key, key_len, buf, sizeof(buf), &len), expected);
	CHECK_EQ(shmkv_incr(f->kv, key, key_len, 1, 0, NULL), expected);
	CHECK_EQ(shmkv_append(f->kv, key, key_len, shmkv_str("x"), NULL), expected);
	CHECK_EQ(shmkv_get(f->kv, key, key_len, buf, sizeof(buf), &value, NULL), expected);
	CHECK_EQ(shmkv_get_packed(f->kv, key, key_len, buf, sizeof(buf), &len, NULL), expected);
	CHECK_EQ(shmkv_get_alloc(f->kv, key, key_len, &p, &len, NULL), expected);
	CHECK_EQ(shmkv_get_bool(f->kv, key, key_len, &b), expected);
	CHECK_EQ(shmkv_get_int(f->kv, key, key_len, &i64), expected);
	CHECK_EQ(shmkv_get_uint(f->kv, key, key_len, &u64), expected);
	CHECK_EQ(shmkv_get_float(f->kv, key, key_len, &f64), expected);
	CHECK_EQ(shmkv_get_str(f->kv, key, key_len, (char *)buf, sizeof(buf), &len), expected);
	CHECK_EQ(shmkv_get_bin(f->kv, key, key_len, buf, sizeof(buf), &len), expected);
	CHECK_EQ(shmkv_exists(f->kv, key, key_len), expected);
}

void skv_conformance_bad_keys(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint8_t *key = calloc(1, SHMKV_KEY_MAX + 1);

	CHECK(key != NULL);
	check_all_refuse(&f, "", 0, -EMSGSIZE);
	check_all_refuse(&f, NULL, 0, -EMSGSIZE);
	check_all_refuse(&f, key, SHMKV_KEY_MAX + 1, -EMSGSIZE);
	check_all_refuse(&f, key, SIZE_MAX, -EMSGSIZE);
	check_all_refuse(&f, NULL, 1, -EINVAL);
	check_count(&f, 0);
	free(key);
	fixture_free(&f);
}

void skv_conformance_bad_arguments(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct shmkv_scan *scan;
	struct shmkv_value value;
	uint8_t buf[8];
	void *p;
	size_t len;

	put_text(&f, "k", "v");
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), buf, sizeof(buf), NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_get(f.kv, KEY("k"), NULL, 1, &value, NULL), -EINVAL);
	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), buf, sizeof(buf), NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), NULL, 1, &len, NULL), -EINVAL);
	CHECK_EQ(shmkv_get_alloc(f.kv, KEY("k"), NULL, &len, NULL), -EINVAL);
	CHECK_EQ(shmkv_get_alloc(f.kv, KEY("k"), &p, NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_get_bool(f.kv, KEY("k"), NULL), -EINVAL);
	CHECK_EQ(shmkv_get_int(f.kv, KEY("k"), NULL), -EINVAL);
	CHECK_EQ(shmkv_get_uint(f.kv, KEY("k"), NULL), -EINVAL);
	CHECK_EQ(shmkv_get_float(f.kv, KEY("k"), NULL), -EINVAL);
	CHECK_EQ(shmkv_get_str(f.kv, KEY("k"), (char *)buf, sizeof(buf), NULL), -EINVAL);
	CHECK_EQ(shmkv_get_str(f.kv, KEY("k"), NULL, 1, &len), -EINVAL);
	CHECK_EQ(shmkv_get_bin(f.kv, KEY("k"), buf, sizeof(buf), NULL), -EINVAL);
	CHECK_EQ(shmkv_take(f.kv, KEY("k"), buf, sizeof(buf), NULL), -EINVAL);
	CHECK_EQ(shmkv_take(f.kv, KEY("k"), NULL, 1, &len), -EINVAL);
	CHECK_EQ(shmkv_count(f.kv, NULL), -EINVAL);
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, NULL), -EINVAL);
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, NULL), -EINVAL);
	CHECK(shmkv_scan_end(scan) == NULL);
	check_text(&f, "k", "v");
	fixture_free(&f);
}

void skv_conformance_bad_values(const struct skv_conformance *engine)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{ "", 0 },
		{ "\xc1", 1 },                 /* reserved */
		{ "\x01\x02", 2 },             /* two objects */
		{ "\xa2" "a", 2 },             /* cut off */
		{ "\xcd\x01", 2 },
		{ "\x92\x01", 2 },
		{ "\x81\x01", 2 },
		{ "\xdd\x7f\xff\xff\xff", 5 }, /* asks for gigabytes */
		{ "\xdf\xff\xff\xff\xff", 5 },
		{ "\xc6\xff\xff\xff\xff", 5 },
	};
	struct fixture f = fixture_new(engine);
	uint8_t deep[SHMKV_DEPTH_MAX + 1];
	struct shmkv_value value;
	uint64_t token, after;
	size_t i;

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_str("v"), &token), 0);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		value = shmkv_packed(rows[i].bytes, rows[i].len);
		CHECK_EQ(shmkv_put(f.kv, KEY("k"), value, NULL), -EILSEQ);
		CHECK_EQ(shmkv_replace(f.kv, KEY("k"), value, NULL), -EILSEQ);
		CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, value, NULL), -EILSEQ);
		CHECK_EQ(shmkv_add(f.kv, KEY("new"), value, NULL), -EILSEQ);
	}
	check_absent(&f, "new");
	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), deep, sizeof(deep), &i, &after), 0);
	CHECK_EQ(after, token);
	check_text(&f, "k", "v");

	/* As deep as is allowed, and one deeper. */
	memset(deep, 0x91, sizeof(deep));
	deep[SHMKV_DEPTH_MAX - 1] = 0xc0;
	value = shmkv_packed(deep, SHMKV_DEPTH_MAX);
	CHECK_EQ(shmkv_put(f.kv, KEY("deep"), value, NULL), 0);
	check_packed(&f, KEY("deep"), deep, SHMKV_DEPTH_MAX);
	deep[SHMKV_DEPTH_MAX - 1] = 0x91;
	deep[SHMKV_DEPTH_MAX] = 0xc0;
	value = shmkv_packed(deep, SHMKV_DEPTH_MAX + 1);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), value, NULL), -EILSEQ);

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_bin(NULL, 1), NULL), -EINVAL);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_packed(NULL, 1), NULL), -EINVAL);
	value = shmkv_nil();
	value.type = (enum shmkv_type)99;
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), value, NULL), -EINVAL);
	check_text(&f, "k", "v");
	fixture_free(&f);
}

/* ---- many keys, many sizes ------------------------------------------------------- */

void skv_conformance_count_clear(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint64_t i, removed = 77;

	check_count(&f, 0);
	CHECK_EQ(shmkv_clear(f.kv, &removed), 0);
	CHECK_EQ(removed, 0u);
	for (i = 0; i < 3000; i++) {
		CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_uint(i), NULL), 0);
		CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_uint(i + 1), NULL), 0);
		check_count(&f, i + 1);
	}
	for (i = 0; i < 1000; i++)
		CHECK_EQ(shmkv_del(f.kv, &i, sizeof(i)), 0);
	check_count(&f, 2000);
	CHECK_EQ(shmkv_clear(f.kv, &removed), 0);
	CHECK_EQ(removed, 2000u);
	check_count(&f, 0);
	for (i = 0; i < 3000; i++)
		CHECK_EQ(shmkv_exists(f.kv, &i, sizeof(i)), -ENOENT);
	put_text(&f, "k", "after");
	CHECK_EQ(shmkv_clear(f.kv, NULL), 0);
	check_absent(&f, "k");
	fixture_free(&f);
}

/* The largest value of the two tests below; several fit into a map of default size. */
#define LARGE_LEN ((size_t)6 << 20)

static void check_size(struct fixture *f, uint8_t *payload, uint8_t *buf, size_t len)
{
	struct shmkv_value value;

	fill(payload, len, len);
	CHECK_EQ(shmkv_put(f->kv, &len, sizeof(len), shmkv_bin(payload, len), NULL), 0);
	CHECK_EQ(shmkv_get(f->kv, &len, sizeof(len), buf, len, &value, NULL), 0);
	CHECK_MEM(value.data, value.len, payload, len);
}

void skv_conformance_value_sizes(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint8_t *payload = xmalloc(LARGE_LEN), *buf = xmalloc(LARGE_LEN);
	size_t len, step;
	uint64_t removed, n = 0;

	/* Every length while they are short, then around each sixteenth of a doubling. */
	for (len = 1; len < 2048; len += 1, n++)
		check_size(&f, payload, buf, len);
	for (len = 2048; len < 100000; len += step, n++) {
		check_size(&f, payload, buf, len);
		step = len / 16 + (len % 3) - 1;
	}
	for (len = 100000; len <= LARGE_LEN; len = len * 3 / 2 + 1) {
		check_size(&f, payload, buf, len);
		CHECK_EQ(shmkv_del(f.kv, &len, sizeof(len)), 0);
	}
	check_count(&f, n);
	/* None of them disturbed another. */
	for (len = 1; len < 2048; len++) {
		fill(payload, len, len);
		CHECK_EQ(shmkv_get_bin(f.kv, &len, sizeof(len), buf, len, &step), 0);
		CHECK_MEM(buf, step, payload, len);
	}
	CHECK_EQ(shmkv_clear(f.kv, &removed), 0);
	CHECK_EQ(removed, n);
	free(payload);
	free(buf);
	fixture_free(&f);
}

void skv_conformance_overwrite_sizes(const struct skv_conformance *engine)
{
	static const size_t lens[] = { 10,  1000000, 0,	    20000, 100, 100,   5,     4096,
				       3 << 20, 1,   65536, 15,	   16,	8192, 300000, 17 };
	struct fixture f = fixture_new(engine);
	uint8_t *payload = xmalloc(3 << 20), *buf = xmalloc(3 << 20);
	size_t i, len, round;

	put_text(&f, "before", "b");
	put_text(&f, "after", "a");
	for (round = 0; round < 5; round++) {
		for (i = 0; i < ARRAY_LEN(lens); i++) {
			fill(payload, lens[i], i + round);
			CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_bin(payload, lens[i]), NULL), 0);
			CHECK_EQ(shmkv_get_bin(f.kv, KEY("k"), buf, 3 << 20, &len), 0);
			CHECK_MEM(buf, len, payload, lens[i]);
		}
	}
	check_text(&f, "before", "b");
	check_text(&f, "after", "a");
	free(payload);
	free(buf);
	fixture_free(&f);
}

void skv_conformance_huge(const struct skv_conformance *engine)
{
	const size_t len = (size_t)256 << 20;
	struct fixture f;
	uint8_t *payload, *buf;
	size_t got;
	int r;

	if (skv_test_is_slow())
		skv_test_skip("moving gigabytes through a sanitizer tells nothing new");
	f = fixture_new_sized(engine, (uint64_t)1 << 30);
	payload = xmalloc(len);
	buf = xmalloc(len);
	fill(payload, len, 1);
	r = shmkv_put(f.kv, KEY("huge"), shmkv_bin(payload, len), NULL);
	if (r == -ENOSPC)
		skv_test_skip("the file system has no room for 256 MiB");
	CHECK_EQ(r, 0);
	CHECK_EQ(shmkv_get_bin(f.kv, KEY("huge"), buf, len - 1, &got), -ENOBUFS);
	CHECK_EQ(got, len);
	CHECK_EQ(shmkv_get_bin(f.kv, KEY("huge"), buf, len, &got), 0);
	CHECK_EQ(got, len);
	CHECK(memcmp(buf, payload, len) == 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("huge")), 0);
	free(payload);
	free(buf);
	fixture_free(&f);
}

void skv_conformance_too_large(const struct skv_conformance *engine)
{
	struct fixture f;
	uint8_t *payload;
	size_t len = (size_t)engine->small_bytes;
	uint64_t token;

	if (engine->small_bytes == 0)
		skv_test_skip("the engine knows no limit of memory");
	f = fixture_new_sized(engine, engine->small_bytes);
	payload = xmalloc(len);
	memset(payload, 0x77, len);

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_str("v"), &token), 0);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_bin(payload, len), NULL), -EFBIG);
	CHECK_EQ(shmkv_add(f.kv, KEY("new"), shmkv_bin(payload, len), NULL), -EFBIG);
	CHECK_EQ(shmkv_replace(f.kv, KEY("k"), shmkv_bin(payload, len), NULL), -EFBIG);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_bin(payload, len), NULL), -EFBIG);
	CHECK_EQ(shmkv_append(f.kv, KEY("k"), shmkv_str_n((char *)payload, len), NULL), -EFBIG);
	CHECK_EQ(shmkv_append(f.kv, KEY("new"), shmkv_str_n((char *)payload, len), NULL), -EFBIG);
	check_absent(&f, "new");
	check_text(&f, "k", "v");
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_str("w"), NULL), 0);

	/* More than msgpack can say; nothing of it is read. */
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_bin(payload, (size_t)1 << 32), NULL), -EFBIG);
	CHECK_EQ(shmkv_append(f.kv, KEY("k"), shmkv_str_n((char *)payload, UINT32_MAX), NULL),
		 -EFBIG);
	check_text(&f, "k", "w");
	free(payload);
	fixture_free(&f);
}

/* Puts keys from @first on until the map is full; returns the first that did not fit. */
static uint64_t fill_up(struct fixture *f, uint64_t first, const uint8_t *payload, size_t len)
{
	uint64_t i;
	int r;

	for (i = first; i < first + 1000000; i++) {
		r = shmkv_add(f->kv, &i, sizeof(i), shmkv_bin(payload, len), NULL);
		if (r == -ENOSPC)
			return i;
		CHECK_EQ(r, 0);
	}
	skv_test_fail(__FILE__, __LINE__, "a million values fit into a small map");
}

void skv_conformance_full(const struct skv_conformance *engine)
{
	enum { SMALL = 100, LARGE = 1000 };
	struct fixture f;
	uint8_t *payload, buf[LARGE];
	uint64_t i, n, n_large, removed;
	struct shmkv_value value;
	size_t len, huge = (size_t)engine->small_bytes / 4;

	if (engine->small_bytes == 0)
		skv_test_skip("the engine knows no limit of memory");
	f = fixture_new_sized(engine, engine->small_bytes);
	payload = xmalloc(huge);
	fill(payload, huge, 1);

	n = fill_up(&f, 0, payload, SMALL);
	CHECK(n * SMALL > engine->small_bytes / 4);
	check_count(&f, n);

	/* A write that found no room changed nothing. */
	i = 0;
	CHECK_EQ(shmkv_exists(f.kv, &n, sizeof(n)), -ENOENT);
	CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_bin(payload, huge), NULL), -ENOSPC);
	CHECK_EQ(shmkv_append(f.kv, &i, sizeof(i), shmkv_bin(payload, huge), NULL), -ENOSPC);
	for (i = 0; i < n; i++) {
		CHECK_EQ(shmkv_get(f.kv, &i, sizeof(i), buf, SMALL, &value, NULL), 0);
		CHECK_MEM(value.data, value.len, payload, SMALL);
	}

	/* What is freed can be used again at once, any number of times. */
	for (i = 0; i < n; i++) {
		CHECK_EQ(shmkv_del(f.kv, &i, sizeof(i)), 0);
		CHECK_EQ(shmkv_add(f.kv, &i, sizeof(i), shmkv_bin(payload, SMALL), NULL), 0);
	}
	for (i = 0; i < 10000; i++) {
		CHECK_EQ(shmkv_take(f.kv, &(uint64_t){ 0 }, 8, buf, sizeof(buf), &len), 0);
		CHECK_EQ(shmkv_put(f.kv, &(uint64_t){ 0 }, 8, shmkv_bin(payload, SMALL), NULL), 0);
	}
	check_count(&f, n);

	/* Also by values of another size. */
	for (i = 0; i < n; i++)
		CHECK_EQ(shmkv_del(f.kv, &i, sizeof(i)), 0);
	check_count(&f, 0);
	n_large = fill_up(&f, n, payload, LARGE);
	CHECK((n_large - n) * LARGE > n * SMALL / 2);
	for (i = n; i < n_large; i++) {
		CHECK_EQ(shmkv_get(f.kv, &i, sizeof(i), buf, LARGE, &value, NULL), 0);
		CHECK_MEM(value.data, value.len, payload, LARGE);
	}
	CHECK_EQ(shmkv_clear(f.kv, &removed), 0);
	CHECK_EQ(removed, n_large - n);
	CHECK_EQ(shmkv_put(f.kv, KEY("huge"), shmkv_bin(payload, huge), NULL), 0);
	free(payload);
	fixture_free(&f);
}

/* ---- handles --------------------------------------------------------------------- */

void skv_conformance_two_handles(const struct skv_conformance *engine)
{
	struct fixture f, g;
	uint64_t token;

	need_sharing(engine);
	f = fixture_new_named(engine, 0);
	g = f;
	CHECK_EQ(shmkv_attach(f.name, 0, &g.kv), 0);
	CHECK(g.kv != f.kv);
	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_str("one"), &token), 0);
	check_text(&g, "k", "one");
	CHECK_EQ(shmkv_cas(g.kv, KEY("k"), token, shmkv_str("two"), NULL), 0);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_str("three"), NULL), -ESTALE);
	check_text(&f, "k", "two");
	CHECK_EQ(shmkv_del(g.kv, KEY("k")), 0);
	check_absent(&f, "k");
	put_text(&g, "left", "behind");
	CHECK(shmkv_detach(g.kv) == NULL);
	check_text(&f, "left", "behind");
	fixture_free_named(&f);
}

/* Of a private engine: each map is one's own, whatever it is called. */
static void names_are_labels(struct fixture *f)
{
	struct fixture g = *f;
	struct shmkv *none = NULL;

	CHECK_EQ(shmkv_create(f->name, NULL, &g.kv), 0);
	put_text(f, "k", "one");
	check_absent(&g, "k");
	put_text(&g, "k", "two");
	check_text(f, "k", "one");
	CHECK_EQ(shmkv_attach(f->name, 0, &none), -EOPNOTSUPP);
	CHECK_EQ(shmkv_attach(f->name, SHMKV_READ_ONLY, &none), -EOPNOTSUPP);
	CHECK_EQ(shmkv_unlink(f->name), -EOPNOTSUPP);
	CHECK(none == NULL);
	fixture_free(f);
	check_text(&g, "k", "two");
	fixture_free(&g);

	/* Without a label. */
	*strchr(g.name, '/') = '\0';
	CHECK_EQ(shmkv_create(g.name, NULL, &g.kv), 0);
	check_absent(&g, "k");
	fixture_free(&g);
}

void skv_conformance_names(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_named(engine, 0);
	struct fixture g = f;
	struct shmkv *none = NULL;

	if (engine->is_private) {
		names_are_labels(&f);
		return;
	}
	CHECK_EQ(shmkv_create(f.name, NULL, &none), -EEXIST);
	CHECK(none == NULL);
	put_text(&f, "k", "old");

	/* Without its name the map goes on; a new one under that name is another. */
	CHECK_EQ(shmkv_unlink(f.name), 0);
	CHECK_EQ(shmkv_unlink(f.name), -ENOENT);
	CHECK_EQ(shmkv_attach(f.name, 0, &none), -ENOENT);
	CHECK_EQ(shmkv_attach(f.name, SHMKV_READ_ONLY, &none), -ENOENT);
	CHECK(none == NULL);
	check_text(&f, "k", "old");
	CHECK_EQ(shmkv_create(f.name, NULL, &g.kv), 0);
	check_absent(&g, "k");
	put_text(&g, "k", "new");
	check_text(&f, "k", "old");
	check_text(&g, "k", "new");
	fixture_free(&f);

	/* What was left behind is there when somebody attaches again. */
	CHECK(shmkv_detach(g.kv) == NULL);
	CHECK_EQ(shmkv_attach(g.name, 0, &g.kv), 0);
	check_text(&g, "k", "new");
	fixture_free_named(&g);
}

void skv_conformance_read_only(const struct skv_conformance *engine)
{
	struct fixture f, ro;
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv_scan *scan;
	struct shmkv_entry entry;
	uint8_t buf[8];
	size_t len;

	need_sharing(engine);
	f = fixture_new_named(engine, 0);
	ro = f;
	put_text(&f, "k", "v");
	CHECK_EQ(shmkv_attach(f.name, SHMKV_READ_ONLY, &ro.kv), 0);
	check_text(&ro, "k", "v");
	check_count(&ro, 1);
	CHECK_EQ(shmkv_exists(ro.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_scan_begin(ro.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	CHECK_MEM(entry.key, entry.key_len, "k", 1);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
	shmkv_scan_end(scan);
	CHECK_EQ(shmkv_info(ro.kv, &info), 0);
	CHECK_EQ(info.read_only, 1u);

	CHECK_EQ(shmkv_put(ro.kv, KEY("k"), shmkv_nil(), NULL), -EROFS);
	CHECK_EQ(shmkv_add(ro.kv, KEY("n"), shmkv_nil(), NULL), -EROFS);
	CHECK_EQ(shmkv_replace(ro.kv, KEY("k"), shmkv_nil(), NULL), -EROFS);
	CHECK_EQ(shmkv_cas(ro.kv, KEY("k"), 1, shmkv_nil(), NULL), -EROFS);
	CHECK_EQ(shmkv_del(ro.kv, KEY("k")), -EROFS);
	CHECK_EQ(shmkv_del(ro.kv, KEY("absent")), -EROFS);
	CHECK_EQ(shmkv_take(ro.kv, KEY("k"), buf, sizeof(buf), &len), -EROFS);
	CHECK_EQ(shmkv_incr(ro.kv, KEY("i"), 1, 0, NULL), -EROFS);
	CHECK_EQ(shmkv_append(ro.kv, KEY("k"), shmkv_str("w"), NULL), -EROFS);
	CHECK_EQ(shmkv_clear(ro.kv, NULL), -EROFS);
	CHECK_EQ(shmkv_recover(ro.kv, &report), -EROFS);
	check_text(&f, "k", "v");
	check_count(&f, 1);

	/* It sees what others write. */
	put_text(&f, "k", "w");
	check_text(&ro, "k", "w");
	CHECK(shmkv_detach(ro.kv) == NULL);
	fixture_free_named(&f);
}

/* A scan outlives its handle only to be ended. */
void skv_conformance_closed(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_named(engine, 0);
	struct shmkv *closed = f.kv;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t cursor, count;

	put_text(&f, "a", "1");
	put_text(&f, "b", "2");
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	cursor = shmkv_scan_cursor(scan);
	CHECK(shmkv_detach(f.kv) == NULL);

	CHECK_EQ(shmkv_exists(closed, KEY("a")), -EBADF);
	CHECK_EQ(shmkv_put(closed, KEY("a"), shmkv_nil(), NULL), -EBADF);
	CHECK_EQ(shmkv_count(closed, &count), -EBADF);
	CHECK_EQ(shmkv_scan_next(scan, &entry), -EBADF);
	CHECK_EQ(shmkv_scan_cursor(scan), cursor);
	CHECK(shmkv_scan_end(scan) == NULL);
	CHECK(shmkv_detach(closed) == NULL);
	if (engine->is_private)
		return;

	CHECK_EQ(shmkv_attach(f.name, 0, &f.kv), 0);
	check_text(&f, "a", "1");
	fixture_free_named(&f);
}

/*
 * The child is refused, lets go of what it inherited, and the parent notices nothing: not
 * its place among the participants, nor a scan under way.
 */
void skv_conformance_forked(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct shmkv_info before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t count;
	pid_t pid;
	int i;

	put_text(&f, "k", "v");
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_info(f.kv, &before), 0);
	for (i = 0; i < 2; i++) {
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			CHECK_EQ(shmkv_exists(f.kv, KEY("k")), -ECHILD);
			CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_nil(), NULL), -ECHILD);
			CHECK_EQ(shmkv_count(f.kv, &count), -ECHILD);
			CHECK_EQ(shmkv_scan_next(scan, &entry), -ECHILD);
			/* Once in an orderly way, once by just ending. */
			if (i == 0) {
				CHECK(shmkv_scan_end(scan) == NULL);
				CHECK(shmkv_detach(f.kv) == NULL);
				CHECK_EQ(shmkv_exists(f.kv, KEY("k")), -EBADF);
			}
			_exit(0);
		}
		skv_test_wait_ok(pid);
	}
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
	shmkv_scan_end(scan);
	CHECK_EQ(shmkv_info(f.kv, &after), 0);
	CHECK_EQ(after.processes, before.processes);
	CHECK_EQ(after.processes_dead, 0u);
	CHECK_EQ(shmkv_recover(f.kv, &report), 0);
	CHECK_EQ(report.processes, 0u);
	put_text(&f, "k", "w");
	check_text(&f, "k", "w");
	fixture_free(&f);
}

/* ---- scan ------------------------------------------------------------------------ */

void skv_conformance_scan_empty(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct shmkv_entry entry = { .key_len = 77 };
	struct shmkv_scan *scan;

	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
	CHECK_EQ(entry.key_len, 77u);
	CHECK_EQ(shmkv_scan_cursor(scan), UINT64_MAX);
	CHECK(shmkv_scan_end(scan) == NULL);

	/* The end is also a place to begin. */
	put_text(&f, "k", "v");
	CHECK_EQ(shmkv_scan_begin(f.kv, UINT64_MAX, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
	CHECK(shmkv_scan_end(scan) == NULL);
	CHECK(shmkv_scan_end(NULL) == NULL);

	/* Ended in the middle. */
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	CHECK(shmkv_scan_end(scan) == NULL);
	fixture_free(&f);
}

/* Which key of 0..n-1 an entry is. */
static uint64_t entry_number(const struct shmkv_entry *entry, uint64_t n)
{
	uint64_t i;

	CHECK_EQ(entry->key_len, sizeof(i));
	memcpy(&i, entry->key, sizeof(i));
	CHECK(i < n);
	return i;
}

void skv_conformance_scan_once(const struct skv_conformance *engine)
{
	enum { N_KEYS = 20000 };
	struct fixture f = fixture_new(engine);
	uint64_t *tokens = xmalloc(N_KEYS * sizeof(*tokens));
	uint8_t *seen = calloc(N_KEYS, 1), payload[300];
	struct shmkv_value value;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t i, n;
	int r;

	CHECK(seen != NULL);
	for (i = 0; i < N_KEYS; i++) {
		fill(payload, i % 300, i);
		CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_bin(payload, i % 300), &tokens[i]), 0);
	}
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	for (n = 0; (r = shmkv_scan_next(scan, &entry)) == 1; n++) {
		i = entry_number(&entry, N_KEYS);
		CHECK_EQ(seen[i], 0);
		seen[i] = 1;
		CHECK_EQ(entry.token, tokens[i]);
		fill(payload, i % 300, i);
		CHECK_EQ(shmkv_value_decode(entry.value, entry.value_len, &value), 0);
		CHECK_EQ(value.type, SHMKV_BIN);
		CHECK_MEM(value.data, value.len, payload, i % 300);
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(n, (uint64_t)N_KEYS);
	CHECK_EQ(shmkv_scan_cursor(scan), UINT64_MAX);
	shmkv_scan_end(scan);

	/* The token of an entry is good for cas. */
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	CHECK_EQ(shmkv_cas(f.kv, entry.key, entry.key_len, entry.token, shmkv_nil(), NULL), 0);
	shmkv_scan_end(scan);
	free(tokens);
	free(seen);
	fixture_free(&f);
}

/*
 * Keys 0..STAY-1 are there all the time; of the others each is put and deleted once between
 * two entries. Enough of them come to make an index grow several times over while the scan
 * is under way.
 */
void skv_conformance_scan_moving(const struct skv_conformance *engine)
{
	enum { STAY = 3000, PER_STEP = 10, N_KEYS = STAY * (PER_STEP + 1), ABSENT = N_KEYS };
	struct fixture f = fixture_new(engine);
	uint8_t *seen = calloc(N_KEYS + 1, 1);
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t i, j, next = STAY, gone = STAY;
	int r;

	CHECK(seen != NULL);
	for (i = 0; i < STAY; i++)
		CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_uint(i), NULL), 0);
	/* Once there, but not any more. */
	i = ABSENT;
	CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_del(f.kv, &i, sizeof(i)), 0);

	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	while ((r = shmkv_scan_next(scan, &entry)) == 1) {
		i = entry_number(&entry, N_KEYS);
		if (i < STAY) {
			CHECK_EQ(seen[i], 0);
			seen[i] = 1;
			/* A new version of a key that stays is still the same key. */
			CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_uint(i), NULL), 0);
		}
		for (j = 0; j < PER_STEP && next < N_KEYS; j++, next++)
			CHECK_EQ(shmkv_put(f.kv, &next, sizeof(next), shmkv_nil(), NULL), 0);
		/* The second half of the steps also takes away. */
		for (j = 0; next > N_KEYS / 2 && j < PER_STEP && gone < next; j++, gone++)
			CHECK_EQ(shmkv_del(f.kv, &gone, sizeof(gone)), 0);
	}
	CHECK_EQ(r, 0);
	for (i = 0; i < STAY; i++)
		CHECK_EQ(seen[i], 1);
	shmkv_scan_end(scan);
	free(seen);
	fixture_free(&f);
}

/*
 * Scans are broken off after @page entries and taken over by cursor; the map grows meanwhile.
 * Some entries may come again, none may be lost.
 */
static void resume(struct fixture *f, uint64_t n_keys, uint64_t page, uint64_t *next)
{
	uint8_t *seen = calloc(n_keys, 1);
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t cursor = 0, last_cursor, i, n;
	int r = 1;

	CHECK(seen != NULL);
	while (r == 1) {
		CHECK_EQ(shmkv_scan_begin(f->kv, cursor, &scan), 0);
		last_cursor = cursor;
		for (n = 0; n < page || cursor == last_cursor; n++) {
			r = shmkv_scan_next(scan, &entry);
			if (r != 1)
				break;
			memcpy(&i, entry.key, sizeof(i));
			if (i < n_keys)
				seen[i] = 1;
			/* The cursor never goes back. */
			CHECK(shmkv_scan_cursor(scan) >= cursor);
			cursor = shmkv_scan_cursor(scan);
		}
		CHECK(r >= 0);
		shmkv_scan_end(scan);
		for (n = 0; n < 20 && *next < 4 * n_keys; n++, (*next)++)
			CHECK_EQ(shmkv_put(f->kv, next, sizeof(*next), shmkv_nil(), NULL), 0);
	}
	for (i = 0; i < n_keys; i++)
		CHECK_EQ(seen[i], 1);
	free(seen);
}

void skv_conformance_scan_resume(const struct skv_conformance *engine)
{
	enum { N_KEYS = 5000 };
	static const uint64_t pages[] = { 1, 7, 100, 1000, 10000 };
	struct fixture f = fixture_new(engine);
	uint64_t i, next = N_KEYS;

	for (i = 0; i < N_KEYS; i++)
		CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_nil(), NULL), 0);
	for (i = 0; i < ARRAY_LEN(pages); i++)
		resume(&f, N_KEYS, pages[i], &next);
	fixture_free(&f);
}

/* ---- expiry ---------------------------------------------------------------------- */

#define HOUR 3600000u

static uint64_t ttl_of(struct fixture *f, const char *key)
{
	uint64_t ms = 0;

	CHECK_EQ(shmkv_ttl(f->kv, KEY(key), &ms), 0);
	return ms;
}

/* As much as was given, but for what the test has taken since. */
static void check_ttl(struct fixture *f, const char *key, uint64_t given)
{
	uint64_t ms = ttl_of(f, key);

	CHECK(ms <= given);
	CHECK(ms > given - HOUR / 60);
}

/* An engine without expiry says so, and stores nothing. */
static bool cannot_expire(struct fixture *f)
{
	uint64_t ms;

	if (f->can & SHMKV_CAN_EXPIRE)
		return false;
	CHECK_EQ(shmkv_put_ttl(f->kv, KEY("k"), shmkv_int(1), HOUR, NULL), -EOPNOTSUPP);
	check_absent(f, "k");
	CHECK_EQ(shmkv_put_ttl(f->kv, KEY("k"), shmkv_int(1), SHMKV_TTL_NEVER, NULL), 0);
	CHECK_EQ(shmkv_touch(f->kv, KEY("k"), HOUR), -EOPNOTSUPP);
	CHECK_EQ(shmkv_ttl(f->kv, KEY("k"), &ms), -EOPNOTSUPP);
	CHECK_EQ(shmkv_expire(f->kv, 0, NULL), -EOPNOTSUPP);
	return true;
}

void skv_conformance_ttl(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint64_t token, second, ms = 7;
	struct shmkv_scan *scan;
	struct shmkv_entry entry;
	int64_t sum;

	if (cannot_expire(&f)) {
		fixture_free(&f);
		return;
	}
	put_text(&f, "k", "v");
	CHECK_EQ(ttl_of(&f, "k"), SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_put_ttl(f.kv, KEY("k"), shmkv_str("w"), HOUR, &token), 0);
	check_ttl(&f, "k", HOUR);
	CHECK_EQ(shmkv_append(f.kv, KEY("k"), shmkv_str("x"), NULL), 0);
	check_ttl(&f, "k", HOUR);
	check_text(&f, "k", "wx");
	CHECK_EQ(shmkv_add_ttl(f.kv, KEY("k"), shmkv_int(1), HOUR, NULL), -EEXIST);
	CHECK_EQ(shmkv_cas_ttl(f.kv, KEY("k"), token, shmkv_int(1), HOUR, NULL), -ESTALE);
	CHECK_EQ(shmkv_replace_ttl(f.kv, KEY("k"), shmkv_int(1), 2 * HOUR, &token), 0);
	check_ttl(&f, "k", 2 * HOUR);
	CHECK_EQ(shmkv_cas_ttl(f.kv, KEY("k"), token, shmkv_int(2), SHMKV_TTL_KEEP, &second), 0);
	CHECK(second != token);
	check_ttl(&f, "k", 2 * HOUR);
	CHECK_EQ(shmkv_incr(f.kv, KEY("k"), 1, 0, &sum), 0);
	CHECK_EQ(sum, 3);
	check_ttl(&f, "k", 2 * HOUR);
	CHECK_EQ(shmkv_touch(f.kv, KEY("k"), 3 * HOUR), 0);
	check_ttl(&f, "k", 3 * HOUR);
	CHECK_EQ(shmkv_persist(f.kv, KEY("k")), 0);
	CHECK_EQ(ttl_of(&f, "k"), SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_touch(f.kv, KEY("k"), SHMKV_TTL_MAX), 0);
	check_ttl(&f, "k", SHMKV_TTL_MAX);

	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_ttl(scan, &ms), -ENOENT);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	CHECK_EQ(shmkv_scan_ttl(scan, &ms), 0);
	CHECK(ms > SHMKV_TTL_MAX - HOUR && ms <= SHMKV_TTL_MAX);
	shmkv_scan_end(scan);

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_nil(), NULL), 0);
	CHECK_EQ(ttl_of(&f, "k"), SHMKV_TTL_NEVER);
	ms = 7;
	CHECK_EQ(shmkv_ttl(f.kv, KEY("none"), &ms), -ENOENT);
	CHECK_EQ(shmkv_touch(f.kv, KEY("none"), HOUR), -ENOENT);
	CHECK_EQ(shmkv_persist(f.kv, KEY("none")), -ENOENT);
	CHECK_EQ(shmkv_put_ttl(f.kv, KEY("none"), shmkv_int(1), UINT64_MAX, NULL), -EINVAL);
	CHECK_EQ(shmkv_put_ttl(f.kv, KEY("none"), shmkv_int(1), SHMKV_TTL_MAX + 1, NULL), -EINVAL);
	CHECK_EQ(shmkv_touch(f.kv, KEY("k"), SHMKV_TTL_KEEP), -EINVAL);
	CHECK_EQ(ms, 7);
	check_absent(&f, "none");
	fixture_free(&f);
}

/* Stores the key and waits until it has gone by itself. */
static void lapse(struct fixture *f, const char *key, struct shmkv_value value)
{
	CHECK_EQ(shmkv_put_ttl(f->kv, KEY(key), value, 2, NULL), 0);
	while (shmkv_exists(f->kv, KEY(key)) == 0)
		sched_yield();
}

void skv_conformance_expired(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint64_t token, removed, count;
	struct shmkv_scan *scan;
	struct shmkv_entry entry;
	uint8_t buf[16];
	int64_t sum;
	size_t len;

	if (cannot_expire(&f)) {
		fixture_free(&f);
		return;
	}
	CHECK_EQ(shmkv_put_ttl(f.kv, KEY("k"), shmkv_int(1), 2, &token), 0);
	while (shmkv_exists(f.kv, KEY("k")) == 0)
		sched_yield();
	check_absent(&f, "k");
	CHECK_EQ(shmkv_get_packed(f.kv, KEY("k"), buf, sizeof(buf), &len, NULL), -ENOENT);
	CHECK_EQ(shmkv_get_int(f.kv, KEY("k"), &sum), -ENOENT);
	CHECK_EQ(shmkv_replace(f.kv, KEY("k"), shmkv_int(2), NULL), -ENOENT);
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_int(2), NULL), -ENOENT);
	CHECK_EQ(shmkv_touch(f.kv, KEY("k"), HOUR), -ENOENT);
	CHECK_EQ(shmkv_take(f.kv, KEY("k"), buf, sizeof(buf), &len), -ENOENT);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), -ENOENT);
	CHECK_EQ(shmkv_scan_begin(f.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 0);
	shmkv_scan_end(scan);
	CHECK_EQ(shmkv_add(f.kv, KEY("k"), shmkv_int(3), NULL), 0);
	CHECK_EQ(ttl_of(&f, "k"), SHMKV_TTL_NEVER);

	lapse(&f, "n", shmkv_str("not even a number"));
	CHECK_EQ(shmkv_incr(f.kv, KEY("n"), 1, 41, &sum), 0);
	CHECK_EQ(sum, 42);
	lapse(&f, "t", shmkv_str("old"));
	CHECK_EQ(shmkv_append(f.kv, KEY("t"), shmkv_str("new"), &len), 0);
	CHECK_EQ(len, 3);
	check_text(&f, "t", "new");

	lapse(&f, "a", shmkv_int(1));
	lapse(&f, "b", shmkv_int(1));
	CHECK_EQ(shmkv_expire(f.kv, 0, &removed), 0);
	CHECK_EQ(removed, 2);
	CHECK_EQ(shmkv_count(f.kv, &count), 0);
	CHECK_EQ(count, 3);
	fixture_free(&f);
}

/* ---- threads --------------------------------------------------------------------- */

/* A call that lost to the other threads too often says so; the next time it gets through. */
#define AGAIN(r, call)            \
	do {                      \
		(r) = (call);     \
	} while ((r) == -EAGAIN)

struct worker {
	struct fixture *f;
	uint64_t number;
	uint64_t n_rounds;
	pthread_t thread;
};

/* Counts together with the others, keeps keys of its own, and reads what all write. */
static void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct shmkv *kv = w->f->kv;
	struct shmkv_value value;
	uint64_t key[2] = { w->number, 0 }, i;
	int64_t before = 0, now;
	char buf[16];
	int r;

	for (i = 0; i < w->n_rounds; i++) {
		AGAIN(r, shmkv_incr(kv, KEY("sum"), 1, 0, &now));
		CHECK_EQ(r, 0);
		CHECK(now > before);
		before = now;

		key[1] = i % 50;
		AGAIN(r, shmkv_put(kv, key, sizeof(key), shmkv_uint(i), NULL));
		CHECK_EQ(r, 0);
		AGAIN(r, shmkv_get(kv, key, sizeof(key), NULL, 0, &value, NULL));
		CHECK_EQ(r, 0);
		CHECK_EQ(value.u64, i);
		if (i % 3 == 0) {
			AGAIN(r, shmkv_del(kv, key, sizeof(key)));
			CHECK_EQ(r, 0);
		}

		/* One key that all threads write and remove. */
		AGAIN(r, shmkv_put(kv, KEY("shared"), shmkv_str("0123456789"), NULL));
		CHECK_EQ(r, 0);
		AGAIN(r, shmkv_get(kv, KEY("shared"), buf, sizeof(buf), &value, NULL));
		CHECK(r == 0 || r == -ENOENT);
		if (r == 0)
			CHECK_MEM(value.data, value.len, "0123456789", 10);
		AGAIN(r, shmkv_del(kv, KEY("shared")));
		CHECK(r == 0 || r == -ENOENT);
	}
	return NULL;
}

void skv_conformance_threads(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	struct worker workers[4];
	uint64_t n_rounds = skv_test_is_slow() ? 500 : 5000, sum;
	size_t i;

	for (i = 0; i < ARRAY_LEN(workers); i++) {
		workers[i] = (struct worker){ .f = &f, .number = i, .n_rounds = n_rounds };
		CHECK_EQ(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), 0);
	}
	for (i = 0; i < ARRAY_LEN(workers); i++)
		CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
	CHECK_EQ(shmkv_get_uint(f.kv, KEY("sum"), &sum), 0);
	CHECK_EQ(sum, n_rounds * ARRAY_LEN(workers));
	check_absent(&f, "shared");
	fixture_free(&f);
}

/* ---- inspection ------------------------------------------------------------------ */

void skv_conformance_inspect(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_named(engine, 0);
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_recovery report = { .size = sizeof(report) };
	const char *name;
	uint64_t i;

	for (i = 0; i < 1000; i++)
		CHECK_EQ(shmkv_put(f.kv, &i, sizeof(i), shmkv_bin("12345", 5), NULL), 0);
	CHECK_EQ(shmkv_put(f.kv, &(uint64_t){ 0 }, 8, shmkv_bin("54321", 5), NULL), 0);
	CHECK_EQ(shmkv_del(f.kv, &(uint64_t){ 1 }, 8), 0);

	CHECK_EQ(shmkv_info(f.kv, &info), 0);
	CHECK_EQ(info.size, sizeof(info));
	/* "scheme:name", or "heap:engine/label" */
	name = strchr(f.name, engine->is_private ? '/' : ':');
	CHECK_STR(info.name, name + 1);
	CHECK_MEM(info.engine, strlen(info.engine), f.name, (size_t)(name - f.name));
	CHECK_EQ(info.read_only, 0u);
	CHECK_EQ(info.max_bytes, (uint64_t)64 << 20);
	CHECK_EQ(info.count, 999u);
	CHECK_EQ(info.inserts, 1000u);
	CHECK_EQ(info.updates, 1u);
	CHECK_EQ(info.deletes, 1u);

	CHECK_EQ(shmkv_recover(f.kv, &report), 0);
	CHECK_EQ(report.processes, 0u);
	CHECK_EQ(report.count_fix, 0);
	CHECK_EQ(shmkv_maintain(f.kv), 0);
	CHECK_EQ(shmkv_check(f.kv, NULL, NULL, &audit), 0);
	CHECK_EQ(audit.violations, 0u);
	CHECK_EQ(audit.keys, 999u);
	CHECK(audit.record_bytes >= 999u * (8 + 7));
	CHECK(audit.block_bytes >= audit.record_bytes);
	fixture_free_named(&f);
}

/* ---- views ----------------------------------------------------------------------- */

/* A map whose engine has views. */
static struct fixture fixture_new_viewed(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_named(engine, 0);
	struct shmkv_view view;

	if (!(f.can & SHMKV_CAN_VIEW)) {
		CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &view), -EOPNOTSUPP);
		fixture_free_named(&f);
		skv_test_skip("this engine has no views");
	}
	return f;
}

static void check_view(const struct shmkv_view *view, const char *text)
{
	CHECK_EQ(view->value.type, SHMKV_STR);
	CHECK_MEM(view->value.data, view->value.len, text, strlen(text));
}

void skv_conformance_views(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_viewed(engine);
	struct shmkv_view first, second, third;
	uint64_t token;

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_str("one"), &token), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &first), 0);
	CHECK_EQ(first.token, token);
	put_text(&f, "k", "two");
	CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &second), 0);
	CHECK(second.token != first.token);
	/* What is looked at may be changed by the one who looks. */
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), second.token, shmkv_str("three"), NULL), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &third), 0);
	CHECK_EQ(shmkv_append(f.kv, KEY("k"), shmkv_str("s"), NULL), 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	put_text(&f, "k", "four");
	CHECK_EQ(shmkv_clear(f.kv, NULL), 0);
	put_text(&f, "k", "five");
	check_view(&first, "one");
	check_view(&second, "two");
	check_view(&third, "three");
	CHECK_EQ(shmkv_view_end(&second), 0);
	check_view(&first, "one");
	check_view(&third, "three");
	CHECK_EQ(shmkv_view_end(&first), 0);
	CHECK_EQ(shmkv_view_end(&third), 0);
	check_text(&f, "k", "five");
	fixture_free_named(&f);
}

void skv_conformance_view_types(const struct skv_conformance *engine)
{
	static const uint8_t array[] = { 0x93, 1, 2, 3 };
	uint8_t large[70000];
	const struct shmkv_value values[] = {
		shmkv_nil(),
		shmkv_bool(true),
		shmkv_int(-7),
		shmkv_uint(UINT64_MAX),
		shmkv_float(0.5),
		shmkv_str(""),
		shmkv_str("text"),
		shmkv_bin("", 0),
		shmkv_bin(large, 300),
		shmkv_bin(large, sizeof(large)),
		shmkv_packed(array, sizeof(array)),
	};
	struct fixture f = fixture_new_viewed(engine);
	struct shmkv_view view;
	size_t i;

	fill(large, sizeof(large), 1);
	for (i = 0; i < ARRAY_LEN(values); i++) {
		CHECK_EQ(shmkv_put(f.kv, KEY("k"), values[i], NULL), 0);
		CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &view), 0);
		check_value(&view.value, &values[i]);
		CHECK_EQ(shmkv_view_end(&view), 0);
	}
	fixture_free_named(&f);
}

void skv_conformance_view_limits(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_viewed(engine);
	struct shmkv_view views[SHMKV_VIEWS_MAX], more;
	uint32_t i;

	put_text(&f, "k", "v");
	for (i = 0; i < SHMKV_VIEWS_MAX; i++)
		CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &views[i]), 0);
	CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &more), -EMLINK);
	CHECK_EQ(shmkv_view_begin(f.kv, KEY("absent"), &more), -ENOENT);
	check_text(&f, "k", "v");
	CHECK_EQ(shmkv_view_end(&views[7]), 0);
	CHECK_EQ(shmkv_view_end(&views[7]), -EBADF);
	CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &views[7]), 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	for (i = 0; i < SHMKV_VIEWS_MAX; i++) {
		check_view(&views[i], "v");
		CHECK_EQ(shmkv_view_end(&views[i]), 0);
	}

	CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), NULL), -EINVAL);
	CHECK_EQ(shmkv_view_begin(f.kv, "", 0, &more), -EMSGSIZE);
	CHECK_EQ(shmkv_view_end(NULL), -EINVAL);
	fixture_free_named(&f);
}

void skv_conformance_view_handles(const struct skv_conformance *engine)
{
	struct fixture f, ro;
	struct shmkv_view view;

	need_sharing(engine);
	f = fixture_new_viewed(engine);
	ro = f;
	put_text(&f, "k", "v");
	CHECK_EQ(shmkv_attach(f.name, SHMKV_READ_ONLY, &ro.kv), 0);
	CHECK_EQ(shmkv_view_begin(ro.kv, KEY("k"), &view), -EROFS);
	shmkv_detach(ro.kv);
	CHECK_EQ(shmkv_view_begin(ro.kv, KEY("k"), &view), -EBADF);

	/* Detaching lets go. */
	CHECK_EQ(shmkv_view_begin(f.kv, KEY("k"), &view), 0);
	shmkv_detach(f.kv);
	CHECK_EQ(shmkv_view_end(&view), -EBADF);
	CHECK_EQ(shmkv_attach(f.name, 0, &f.kv), 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	fixture_free_named(&f);
}

/* ---- drafts ---------------------------------------------------------------------- */

/* A map whose engine has drafts. */
static struct fixture fixture_new_drafted(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_named(engine, 0);
	struct shmkv_draft draft;

	if (!(f.can & SHMKV_CAN_RESERVE)) {
		CHECK_EQ(shmkv_reserve(f.kv, KEY("k"), SHMKV_BIN, 1, &draft), -EOPNOTSUPP);
		fixture_free_named(&f);
		skv_test_skip("this engine has no drafts");
	}
	return f;
}

static struct shmkv_draft reserve_text(struct fixture *f, const char *key, const char *text)
{
	struct shmkv_draft draft;

	CHECK_EQ(shmkv_reserve(f->kv, KEY(key), SHMKV_STR, strlen(text), &draft), 0);
	CHECK_EQ(draft.len, strlen(text));
	memcpy(draft.data, text, strlen(text));
	return draft;
}

void skv_conformance_drafts(const struct skv_conformance *engine)
{
	static const size_t lens[] = { 0, 1, 31, 32, 255, 256, 65535, 65536, 100000 };
	struct fixture f = fixture_new_drafted(engine);
	uint8_t *buf = xmalloc(100001), *bytes = xmalloc(100000);
	struct shmkv_draft draft, other;
	uint64_t token;
	size_t i, k, len;

	put_text(&f, "k", "old");
	draft = reserve_text(&f, "k", "new");
	other = reserve_text(&f, "k", "newest");
	check_text(&f, "k", "old");
	CHECK_EQ(shmkv_commit(&draft, 3, SHMKV_COMMIT_PUT, &token), 0);
	check_text(&f, "k", "new");
	CHECK_EQ(shmkv_cas(f.kv, KEY("k"), token, shmkv_str("by token"), NULL), 0);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	check_absent(&f, "k");
	CHECK_EQ(shmkv_commit(&other, 6, SHMKV_COMMIT_PUT, NULL), 0);
	check_text(&f, "k", "newest");
	draft = reserve_text(&f, "never", "was");
	CHECK_EQ(shmkv_abort(&draft), 0);
	check_absent(&f, "never");
	check_count(&f, 1);

	/* Every length, and shorter than it was reserved. */
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		for (k = 0; k <= i; k++) {
			fill(bytes, lens[k], i * 10 + k);
			CHECK_EQ(shmkv_reserve(f.kv, KEY("b"), SHMKV_BIN, lens[i], &draft), 0);
			memcpy(draft.data, bytes, lens[k]);
			CHECK_EQ(shmkv_commit(&draft, lens[k], SHMKV_COMMIT_PUT, NULL), 0);
			CHECK_EQ(shmkv_get_bin(f.kv, KEY("b"), buf, 100001, &len), 0);
			CHECK_EQ(len, lens[k]);
			CHECK(memcmp(buf, bytes, len) == 0);
		}
	}
	free(buf);
	free(bytes);
	fixture_free_named(&f);
}

void skv_conformance_draft_refused(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_drafted(engine);
	struct shmkv_draft draft;
	uint64_t token, ms;

	put_text(&f, "k", "old");
	draft = reserve_text(&f, "k", "new");
	CHECK_EQ(shmkv_commit(&draft, 3, SHMKV_COMMIT_ADD, NULL), -EEXIST);
	CHECK_EQ(shmkv_commit(&draft, 4, SHMKV_COMMIT_PUT, NULL), -EINVAL);
	check_text(&f, "k", "old");
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_commit(&draft, 2, SHMKV_COMMIT_REPLACE, NULL), -ENOENT);
	check_count(&f, 0);
	CHECK_EQ(shmkv_commit(&draft, 3, SHMKV_COMMIT_ADD, &token), 0);
	check_text(&f, "k", "new");
	draft = reserve_text(&f, "k", "never");
	CHECK_EQ(shmkv_commit(&draft, 5, SHMKV_COMMIT_CAS, NULL), -EINVAL);
	CHECK_EQ(shmkv_commit_ttl(&draft, 5, SHMKV_COMMIT_CAS, token + 1, SHMKV_TTL_DEFAULT, NULL),
		 -ESTALE);
	CHECK_EQ(shmkv_commit_ttl(&draft, 5, SHMKV_COMMIT_PUT, 0, SHMKV_TTL_MAX + 1, NULL), -EINVAL);
	check_text(&f, "k", "new");
	CHECK_EQ(shmkv_abort(&draft), 0);
	draft = reserve_text(&f, "k", "by version");
	CHECK_EQ(shmkv_commit_ttl(&draft, 10, SHMKV_COMMIT_CAS, token, SHMKV_TTL_DEFAULT, NULL), 0);
	check_text(&f, "k", "by version");
	draft = reserve_text(&f, "l", "w");
	CHECK_EQ(shmkv_commit_ttl(&draft, 1, SHMKV_COMMIT_CAS, token, SHMKV_TTL_DEFAULT, NULL),
		 -ENOENT);
	CHECK_EQ(shmkv_commit_ttl(&draft, 1, SHMKV_COMMIT_PUT, 0, SHMKV_TTL_MAX, NULL), 0);
	CHECK_EQ(shmkv_ttl(f.kv, KEY("l"), &ms), 0);
	CHECK(ms > SHMKV_TTL_MAX - 3600000 && ms <= SHMKV_TTL_MAX);
	CHECK_EQ(shmkv_del(f.kv, KEY("l")), 0);
	draft = reserve_text(&f, "k", "newer");
	CHECK_EQ(shmkv_commit(&draft, 5, SHMKV_COMMIT_ADD, NULL), -EEXIST);
	CHECK_EQ(shmkv_commit(&draft, 5, SHMKV_COMMIT_REPLACE, NULL), 0);
	check_text(&f, "k", "newer");
	fixture_free_named(&f);
}

void skv_conformance_draft_limits(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new_drafted(engine);
	struct shmkv_draft drafts[SHMKV_DRAFTS_MAX], more;
	uint32_t i;

	for (i = 0; i < SHMKV_DRAFTS_MAX; i++)
		drafts[i] = reserve_text(&f, "k", "v");
	CHECK_EQ(shmkv_reserve(f.kv, KEY("k"), SHMKV_STR, 1, &more), -EMLINK);
	CHECK_EQ(shmkv_abort(&drafts[2]), 0);
	CHECK_EQ(shmkv_abort(&drafts[2]), -EBADF);
	CHECK_EQ(shmkv_commit(&drafts[2], 1, SHMKV_COMMIT_PUT, NULL), -EBADF);
	drafts[2] = reserve_text(&f, "l", "v");
	for (i = 0; i < SHMKV_DRAFTS_MAX; i++)
		CHECK_EQ(shmkv_commit(&drafts[i], 1, SHMKV_COMMIT_PUT, NULL), 0);
	check_count(&f, 2);

	CHECK_EQ(shmkv_reserve(f.kv, KEY("k"), SHMKV_NIL, 0, &more), -EINVAL);
	CHECK_EQ(shmkv_reserve(f.kv, KEY("k"), SHMKV_PACKED, 1, &more), -EINVAL);
	CHECK_EQ(shmkv_reserve(f.kv, KEY("k"), SHMKV_BIN, 1, NULL), -EINVAL);
	CHECK_EQ(shmkv_reserve(f.kv, "", 0, SHMKV_BIN, 1, &more), -EMSGSIZE);
	CHECK_EQ(shmkv_reserve(f.kv, KEY("k"), SHMKV_BIN, (size_t)1 << 32, &more), -EFBIG);
	CHECK_EQ(shmkv_commit(NULL, 0, SHMKV_COMMIT_PUT, NULL), -EINVAL);
	CHECK_EQ(shmkv_abort(NULL), -EINVAL);
	fixture_free_named(&f);
}

void skv_conformance_draft_handles(const struct skv_conformance *engine)
{
	struct fixture f, ro;
	struct shmkv_draft draft;

	need_sharing(engine);
	f = fixture_new_drafted(engine);
	ro = f;
	put_text(&f, "k", "v");
	CHECK_EQ(shmkv_attach(f.name, SHMKV_READ_ONLY, &ro.kv), 0);
	CHECK_EQ(shmkv_reserve(ro.kv, KEY("k"), SHMKV_STR, 1, &draft), -EROFS);
	shmkv_detach(ro.kv);
	CHECK_EQ(shmkv_reserve(ro.kv, KEY("k"), SHMKV_STR, 1, &draft), -EBADF);
	draft = reserve_text(&f, "k", "w");
	shmkv_detach(f.kv);
	CHECK_EQ(shmkv_commit(&draft, 1, SHMKV_COMMIT_PUT, NULL), -EBADF);
	CHECK_EQ(shmkv_abort(&draft), -EBADF);
	CHECK_EQ(shmkv_attach(f.name, 0, &f.kv), 0);
	check_text(&f, "k", "v");
	fixture_free_named(&f);
}

/* ---- differential ---------------------------------------------------------------- */

enum {
	N_MODEL_KEYS = 700,
	MODEL_KEY_MAX = 400,
	MODEL_VALUE_MAX = 90000,
};

/* The model: for each key what it holds, as msgpack. */
struct model_entry {
	uint8_t key[MODEL_KEY_MAX];
	size_t key_len;
	bool present;
	uint8_t *value;
	size_t value_len;
	uint64_t token;
};

struct history {
	struct fixture f;
	uint64_t random;
	struct model_entry *entries;
	uint64_t n_present;
	uint8_t *payload, *packed, *buf;
};

static uint64_t draw(struct history *h, uint64_t below)
{
	uint64_t x;

	/* splitmix64 */
	h->random += 0x9e3779b97f4a7c15;
	x = h->random;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return (x ^ (x >> 31)) % below;
}

/* Mostly short, now and then long. */
static size_t draw_len(struct history *h)
{
	switch (draw(h, 64)) {
	case 0:
		return draw(h, 70000);
	case 1:
	case 2:
		return draw(h, 5000);
	default:
		return draw(h, 80);
	}
}

static struct shmkv_value draw_value(struct history *h)
{
	static const uint8_t array[] = { 0x93, 0x01, 0xa1, 'x', 0x92, 0xc0, 0xc3 };
	static const uint8_t map[] = { 0xde, 0, 1, 0xa1, 'k', 0xd2, 0, 0, 0, 1 };
	static const uint8_t ext[] = { 0xc7, 3, 5, 1, 2, 3 };
	static const uint8_t wide_int[] = { 0xd3, 0, 0, 0, 0, 0, 0, 1, 0 };
	static const uint8_t wide_str[] = { 0xda, 0, 3, 'a', 'b', 'c' };
	uint64_t bits = draw(h, UINT64_MAX) >> draw(h, 64);
	size_t len;

	switch (draw(h, 16)) {
	case 0:
		return shmkv_nil();
	case 1:
		return shmkv_bool(bits & 1);
	case 2:
		return shmkv_uint(bits);
	case 3:
		return shmkv_float((double)bits / 3);
	case 4:
		return shmkv_packed(array, sizeof(array));
	case 5:
		return shmkv_packed(map, sizeof(map));
	case 6:
		return shmkv_packed(ext, sizeof(ext));
	case 7:
		return shmkv_packed(wide_int, sizeof(wide_int));
	case 8:
		return shmkv_packed(wide_str, sizeof(wide_str));
	case 9:
	case 10:
	case 11:
		return shmkv_int(bits & 1 ? (int64_t)(bits >> 1) : -(int64_t)(bits >> 1));
	case 12:
	case 13:
		len = draw_len(h);
		fill(h->payload, len, bits);
		return shmkv_str_n((const char *)h->payload, len);
	default:
		len = draw_len(h);
		fill(h->payload, len, bits);
		return shmkv_bin(h->payload, len);
	}
}

static void model_set(struct history *h, struct model_entry *e, const struct shmkv_value *value)
{
	size_t len;

	CHECK_EQ(shmkv_value_encode(*value, h->packed, MODEL_VALUE_MAX + 16, &len), 0);
	free(e->value);
	e->value = xmalloc(len);
	memcpy(e->value, h->packed, len);
	e->value_len = len;
	h->n_present += !e->present;
	e->present = true;
}

static void model_unset(struct history *h, struct model_entry *e)
{
	free(e->value);
	e->value = NULL;
	h->n_present -= e->present;
	e->present = false;
}

static void model_get(const struct model_entry *e, struct shmkv_value *ret_value)
{
	CHECK_EQ(shmkv_value_decode(e->value, e->value_len, ret_value), 0);
}

/* Learn the version that incr and append do not tell, and see that the value is right. */
static void learn(struct history *h, struct model_entry *e)
{
	size_t len;

	CHECK_EQ(shmkv_get_packed(h->f.kv, e->key, e->key_len, h->buf, MODEL_VALUE_MAX, &len,
				  &e->token), 0);
	CHECK_MEM(h->buf, len, e->value, e->value_len);
}

static void step_store(struct history *h, struct model_entry *e)
{
	struct shmkv_value value = draw_value(h);
	uint64_t token = 0, given = e->token;
	int r, expected;

	switch (draw(h, 6)) {
	case 0:
		r = shmkv_add(h->f.kv, e->key, e->key_len, value, &token);
		expected = e->present ? -EEXIST : 0;
		break;
	case 1:
		r = shmkv_replace(h->f.kv, e->key, e->key_len, value, &token);
		expected = e->present ? 0 : -ENOENT;
		break;
	case 2:
		/* The right token, a stale one of this key, or another key's. */
		if (draw(h, 3) == 0)
			given = h->entries[draw(h, N_MODEL_KEYS)].token;
		r = shmkv_cas(h->f.kv, e->key, e->key_len, given, value, &token);
		expected = !e->present ? -ENOENT : given == e->token ? 0 : -ESTALE;
		break;
	default:
		r = shmkv_put(h->f.kv, e->key, e->key_len, value, &token);
		expected = 0;
		break;
	}
	CHECK_EQ(r, expected);
	if (r == 0) {
		CHECK(token != e->token);
		model_set(h, e, &value);
		e->token = token;
	} else {
		CHECK_EQ(token, 0u);
	}
}

static void step_remove(struct history *h, struct model_entry *e)
{
	size_t cap = draw(h, 2) ? MODEL_VALUE_MAX : draw(h, 100), len = 0;
	int r;

	if (draw(h, 3) != 0) {
		CHECK_EQ(shmkv_del(h->f.kv, e->key, e->key_len), e->present ? 0 : -ENOENT);
		model_unset(h, e);
		return;
	}
	r = shmkv_take(h->f.kv, e->key, e->key_len, h->buf, cap, &len);
	if (!e->present) {
		CHECK_EQ(r, -ENOENT);
		return;
	}
	CHECK_EQ(len, e->value_len);
	CHECK_EQ(r, e->value_len <= cap ? 0 : -ENOBUFS);
	if (r == 0) {
		CHECK_MEM(h->buf, len, e->value, e->value_len);
		model_unset(h, e);
	}
}

static void step_get(struct history *h, struct model_entry *e)
{
	size_t cap = draw(h, 2) ? MODEL_VALUE_MAX : draw(h, 100);
	struct shmkv_value got, want;
	uint64_t token = 0;
	int r;

	r = shmkv_get(h->f.kv, e->key, e->key_len, h->buf, cap, &got, &token);
	if (!e->present) {
		CHECK_EQ(r, -ENOENT);
		return;
	}
	model_get(e, &want);
	CHECK_EQ(r, want.len <= cap ? 0 : -ENOBUFS);
	if (r == 0) {
		check_value(&got, &want);
		CHECK_EQ(token, e->token);
	} else {
		CHECK_EQ(got.type, want.type);
		CHECK_EQ(got.len, want.len);
	}
}

static void step_get_packed(struct history *h, struct model_entry *e)
{
	size_t cap = draw(h, 2) ? MODEL_VALUE_MAX : draw(h, 100), len = 0;
	uint64_t token = 0;
	void *fresh;
	int r;

	if (draw(h, 2)) {
		r = shmkv_get_alloc(h->f.kv, e->key, e->key_len, &fresh, &len, &token);
		CHECK_EQ(r, e->present ? 0 : -ENOENT);
		if (r == 0) {
			CHECK_MEM(fresh, len, e->value, e->value_len);
			CHECK_EQ(token, e->token);
			free(fresh);
		}
		return;
	}
	r = shmkv_get_packed(h->f.kv, e->key, e->key_len, h->buf, cap, &len, &token);
	if (!e->present) {
		CHECK_EQ(r, -ENOENT);
		return;
	}
	CHECK_EQ(len, e->value_len);
	CHECK_EQ(r, e->value_len <= cap ? 0 : -ENOBUFS);
	if (r == 0) {
		CHECK_MEM(h->buf, len, e->value, e->value_len);
		CHECK_EQ(token, e->token);
	}
}

static void step_incr(struct history *h, struct model_entry *e)
{
	int64_t by = (int64_t)(draw(h, UINT64_MAX) >> draw(h, 64)), initial = 1000, sum = 0;
	struct shmkv_value value = shmkv_int(initial);
	int r, expected = 0;

	if (draw(h, 2))
		by = by == INT64_MIN ? by : -by;
	if (e->present)
		model_get(e, &value);
	if (value.type == SHMKV_UINT)
		expected = -ERANGE;
	else if (value.type != SHMKV_INT)
		expected = -EPROTOTYPE;
	else if ((by > 0 && value.i64 > INT64_MAX - by) || (by < 0 && value.i64 < INT64_MIN - by))
		expected = -ERANGE;

	r = shmkv_incr(h->f.kv, e->key, e->key_len, by, initial, &sum);
	CHECK_EQ(r, expected);
	if (r == 0) {
		CHECK_EQ(sum, value.i64 + by);
		value = shmkv_int(sum);
		model_set(h, e, &value);
		learn(h, e);
	}
}

static void step_append(struct history *h, struct model_entry *e)
{
	enum shmkv_type type = draw(h, 2) ? SHMKV_STR : SHMKV_BIN;
	struct shmkv_value old = shmkv_nil(), more;
	size_t more_len = draw(h, 400), len = 0;
	int r;

	if (e->present)
		model_get(e, &old);
	if (old.len > MODEL_VALUE_MAX - 1000)
		return;
	/* The whole is laid out in the payload buffer; the tail of it is what is appended. */
	if (old.len > 0)
		memcpy(h->payload, old.data, old.len);
	fill(h->payload + old.len, more_len, draw(h, 1000));
	more = shmkv_bin(h->payload + old.len, more_len);
	more.type = type;

	r = shmkv_append(h->f.kv, e->key, e->key_len, more, &len);
	if (e->present && old.type != type) {
		CHECK_EQ(r, -EPROTOTYPE);
		return;
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(len, old.len + more_len);
	more.data = h->payload;
	more.len = len;
	model_set(h, e, &more);
	learn(h, e);
}

/* Everything at once: count, scan, and invariants. */
static void step_compare(struct history *h)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct model_entry *e;
	bool *seen = calloc(N_MODEL_KEYS, sizeof(*seen));
	uint64_t n = 0;
	size_t i;
	int r;

	CHECK(seen != NULL);
	check_count(&h->f, h->n_present);
	CHECK_EQ(shmkv_scan_begin(h->f.kv, 0, &scan), 0);
	for (; (r = shmkv_scan_next(scan, &entry)) == 1; n++) {
		/* The first two bytes of a key are its number. */
		CHECK(entry.key_len >= 2);
		i = ((const uint8_t *)entry.key)[0] * 256u + ((const uint8_t *)entry.key)[1];
		CHECK(i < N_MODEL_KEYS);
		CHECK(!seen[i]);
		seen[i] = true;
		e = &h->entries[i];
		CHECK(e->present);
		CHECK_MEM(entry.key, entry.key_len, e->key, e->key_len);
		CHECK_MEM(entry.value, entry.value_len, e->value, e->value_len);
		CHECK_EQ(entry.token, e->token);
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(n, h->n_present);
	shmkv_scan_end(scan);
	CHECK_EQ(shmkv_check(h->f.kv, NULL, NULL, &audit), 0);
	CHECK_EQ(audit.keys, h->n_present);
	free(seen);
}

static void step(struct history *h)
{
	struct model_entry *e = &h->entries[draw(h, N_MODEL_KEYS)];
	uint64_t removed;
	size_t i;

	switch (draw(h, 32)) {
	case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8: case 9:
		step_store(h, e);
		break;
	case 10: case 11: case 12: case 13: case 14: case 15:
		step_remove(h, e);
		break;
	case 16: case 17: case 18: case 19: case 20: case 21:
		step_get(h, e);
		break;
	case 22: case 23: case 24:
		step_get_packed(h, e);
		break;
	case 25: case 26: case 27:
		step_incr(h, e);
		break;
	case 28: case 29:
		step_append(h, e);
		break;
	case 30:
		CHECK_EQ(shmkv_exists(h->f.kv, e->key, e->key_len), e->present ? 0 : -ENOENT);
		break;
	default:
		check_count(&h->f, h->n_present);
		if (draw(h, 300) != 0)
			break;
		CHECK_EQ(shmkv_clear(h->f.kv, &removed), 0);
		CHECK_EQ(removed, h->n_present);
		for (i = 0; i < N_MODEL_KEYS; i++)
			model_unset(h, &h->entries[i]);
		break;
	}
}

/* What needs no second participant; test-wait.c has the rest. */
void skv_conformance_wait(const struct skv_conformance *engine)
{
	struct fixture f = fixture_new(engine);
	uint64_t token = 7, now = 7, state = 7, later = 7;

	if (!(f.can & SHMKV_CAN_WAIT)) {
		CHECK_EQ(shmkv_wait(f.kv, KEY("k"), 1, 0, &now), -EOPNOTSUPP);
		CHECK_EQ(shmkv_wait_any(f.kv, 0, 0, &now), -EOPNOTSUPP);
		CHECK_EQ(shmkv_state(f.kv, &now), -EOPNOTSUPP);
		CHECK_EQ(shmkv_wait_cancel(f.kv), -EOPNOTSUPP);
		CHECK_EQ(shmkv_wait_resume(f.kv), -EOPNOTSUPP);
		CHECK_EQ(now, 7);
		fixture_free(&f);
		return;
	}
	CHECK_EQ(shmkv_wait(f.kv, KEY("k"), 0, 0, &now), -ETIMEDOUT);
	CHECK_EQ(now, 7);
	CHECK_EQ(shmkv_wait(f.kv, KEY("k"), 1, SHMKV_NO_DEADLINE, &now), 0);
	CHECK_EQ(now, 0);
	CHECK_EQ(shmkv_state(f.kv, &state), 0);
	CHECK_EQ(shmkv_wait_any(f.kv, state, shmkv_deadline_in(1), NULL), -ETIMEDOUT);

	CHECK_EQ(shmkv_put(f.kv, KEY("k"), shmkv_int(1), &token), 0);
	CHECK_EQ(shmkv_wait(f.kv, KEY("k"), 0, SHMKV_NO_DEADLINE, &now), 0);
	CHECK_EQ(now, token);
	CHECK_EQ(shmkv_wait(f.kv, KEY("k"), token, shmkv_deadline_in(1), NULL), -ETIMEDOUT);
	CHECK_EQ(shmkv_wait_any(f.kv, state, SHMKV_NO_DEADLINE, &later), 0);
	CHECK(later != state);
	CHECK_EQ(shmkv_wait_any(f.kv, later, 0, NULL), -ETIMEDOUT);
	CHECK_EQ(shmkv_del(f.kv, KEY("k")), 0);
	CHECK_EQ(shmkv_wait(f.kv, KEY("k"), token, 0, &now), 0);
	CHECK_EQ(now, 0);

	CHECK_EQ(shmkv_wait_cancel(f.kv), 0);
	CHECK_EQ(shmkv_wait(f.kv, KEY("k"), token, SHMKV_NO_DEADLINE, &now), -ECANCELED);
	CHECK_EQ(shmkv_wait_any(f.kv, 0, SHMKV_NO_DEADLINE, &now), -ECANCELED);
	CHECK_EQ(shmkv_wait_resume(f.kv), 0);
	CHECK_EQ(shmkv_wait_any(f.kv, later, 0, NULL), 0);

	CHECK_EQ(shmkv_wait(f.kv, "k", 0, 0, 0, NULL), -EMSGSIZE);
	CHECK_EQ(shmkv_wait(f.kv, NULL, 1, 0, 0, NULL), -EINVAL);
	CHECK_EQ(shmkv_state(f.kv, NULL), -EINVAL);
	fixture_free(&f);
}

void skv_conformance_differential(const struct skv_conformance *engine)
{
	struct history h = { .f = fixture_new(engine), .random = skv_test_seed() };
	uint64_t n_steps = skv_test_is_slow() ? 100000 : 200000, i;
	struct model_entry *e;

	h.entries = calloc(N_MODEL_KEYS, sizeof(*h.entries));
	CHECK(h.entries != NULL);
	h.payload = xmalloc(MODEL_VALUE_MAX);
	h.packed = xmalloc(MODEL_VALUE_MAX + 16);
	h.buf = xmalloc(MODEL_VALUE_MAX);
	for (i = 0; i < N_MODEL_KEYS; i++) {
		e = &h.entries[i];
		e->key_len = 2 + (i % 5 ? draw(&h, 30) : draw(&h, MODEL_KEY_MAX - 2));
		fill(e->key, e->key_len, i);
		e->key[0] = (uint8_t)(i / 256);
		e->key[1] = (uint8_t)(i % 256);
	}

	for (i = 0; i < n_steps; i++) {
		step(&h);
		if (i % 5000 == 0)
			step_compare(&h);
	}
	step_compare(&h);

	for (i = 0; i < N_MODEL_KEYS; i++)
		free(h.entries[i].value);
	free(h.entries);
	free(h.payload);
	free(h.packed);
	free(h.buf);
	fixture_free(&h.f);
}

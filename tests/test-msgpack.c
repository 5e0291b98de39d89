/* SPDX-License-Identifier: MIT */
/*
 * test-msgpack: the scanner and the head writer against msgpack-c.
 *
 * msgpack-c never sees an array32 or map32 that the scanner refused: it allocates what the
 * header announces.
 */
#include "codec/msgpack.h"
#include "tests/test.h"

#include <shmkv/shmkv.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the oracle ------------------------------------------------------------------ */

/* Is it one whole object to msgpack-c? */
static bool oracle_check(const uint8_t *data, size_t len)
{
	msgpack_unpacked result;
	msgpack_unpack_return r;
	size_t off = 0;

	msgpack_unpacked_init(&result);
	r = msgpack_unpack_next(&result, (const char *)data, len, &off);
	msgpack_unpacked_destroy(&result);
	return r == MSGPACK_UNPACK_SUCCESS && off == len;
}

static void check_like_object(const struct shmkv_value *value, const msgpack_object *object,
			      const uint8_t *data, size_t len)
{
	switch (object->type) {
	case MSGPACK_OBJECT_NIL:
		CHECK_EQ(value->type, SHMKV_NIL);
		break;
	case MSGPACK_OBJECT_BOOLEAN:
		CHECK_EQ(value->type, SHMKV_BOOL);
		CHECK_EQ(value->boolean, object->via.boolean);
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		if (object->via.u64 > INT64_MAX) {
			CHECK_EQ(value->type, SHMKV_UINT);
			CHECK_EQ(value->u64, object->via.u64);
		} else {
			CHECK_EQ(value->type, SHMKV_INT);
			CHECK_EQ(value->i64, (int64_t)object->via.u64);
		}
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		CHECK_EQ(value->type, SHMKV_INT);
		CHECK_EQ(value->i64, object->via.i64);
		break;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		CHECK_EQ(value->type, SHMKV_FLOAT);
		if (isnan(object->via.f64))
			CHECK(isnan(value->f64));
		else
			CHECK_MEM(&value->f64, 8, &object->via.f64, 8);
		break;
	case MSGPACK_OBJECT_STR:
		CHECK_EQ(value->type, SHMKV_STR);
		CHECK_EQ(value->len, object->via.str.size);
		CHECK(value->len == 0 || value->data == object->via.str.ptr);
		break;
	case MSGPACK_OBJECT_BIN:
		CHECK_EQ(value->type, SHMKV_BIN);
		CHECK_EQ(value->len, object->via.bin.size);
		CHECK(value->len == 0 || value->data == object->via.bin.ptr);
		break;
	case MSGPACK_OBJECT_ARRAY:
	case MSGPACK_OBJECT_MAP:
	case MSGPACK_OBJECT_EXT:
		CHECK_EQ(value->type, SHMKV_PACKED);
		CHECK(value->data == data);
		CHECK_EQ(value->len, len);
		break;
	}
}

/* A valid object must decode to what msgpack-c makes of it. */
static void check_decodes_like_oracle(const uint8_t *data, size_t len)
{
	struct shmkv_value value;
	msgpack_unpacked result;
	size_t off = 0;

	CHECK_EQ(shmkv_value_check(data, len), 0);
	CHECK_EQ(shmkv_value_decode(data, len, &value), 0);
	msgpack_unpacked_init(&result);
	CHECK_EQ(msgpack_unpack_next(&result, (const char *)data, len, &off),
		 MSGPACK_UNPACK_SUCCESS);
	CHECK_EQ(off, len);
	check_like_object(&value, &result.data, data, len);
	msgpack_unpacked_destroy(&result);
}

/* ---- bytes to try ---------------------------------------------------------------- */

struct bytes {
	uint8_t *data;
	size_t len, cap;
};

static void bytes_add(struct bytes *b, const void *data, size_t len)
{
	size_t cap = b->cap;

	while (b->len + len > cap)
		cap = cap ? cap * 2 : 64;
	if (cap > b->cap) {
		b->data = realloc(b->data, cap);
		CHECK(b->data != NULL);
		b->cap = cap;
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void bytes_add_byte(struct bytes *b, unsigned int byte)
{
	uint8_t u8 = (uint8_t)byte;

	bytes_add(b, &u8, 1);
}

static void bytes_add_number(struct bytes *b, uint64_t number, unsigned int n)
{
	while (n-- > 0)
		bytes_add_byte(b, (uint8_t)(number >> (8 * n)));
}

static void bytes_add_fill(struct bytes *b, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		bytes_add_byte(b, (unsigned int)(i * 37));
}

static void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){ NULL, 0, 0 };
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t x;

	*state += 0x9e3779b97f4a7c15;
	x = *state;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* The bytes that follow code @code, small lengths; containers get nil as elements. */
static void object_of_code(struct bytes *b, unsigned int code, size_t small)
{
	static const uint8_t number_len[32] = { 0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
						1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4 };
	unsigned int n;
	size_t i;

	bytes_add_byte(b, code);
	if (code <= 0x7f || code >= 0xe0)
		return;
	if (code <= 0x9f) {
		for (i = 0; i < (code <= 0x8f ? 2 : 1) * (code & 15u); i++)
			bytes_add_byte(b, 0xc0);
		return;
	}
	if (code <= 0xbf) {
		bytes_add_fill(b, code & 31u);
		return;
	}
	n = number_len[code - 0xc0];
	if (code >= 0xca && code <= 0xd3) {
		bytes_add_number(b, 0x8182838485868788 >> (8 * small), n);
	} else if (code >= 0xd4 && code <= 0xd8) {
		bytes_add_byte(b, 0x85);
		bytes_add_fill(b, (size_t)1 << (code - 0xd4));
	} else if (code >= 0xdc) {
		bytes_add_number(b, small, n);
		for (i = 0; i < (code >= 0xde ? 2 * small : small); i++)
			bytes_add_byte(b, 0xc0);
	} else if (n > 0) {
		bytes_add_number(b, small, n);
		if (code <= 0xc9 && code >= 0xc7)
			bytes_add_byte(b, 0x05);
		bytes_add_fill(b, small);
	}
}

/* A random valid object, not in its shortest form most of the time. */
static void random_object(struct bytes *b, uint64_t *random, unsigned int depth)
{
	unsigned int code, n, n_len;
	uint64_t r = random_next(random);

	if (depth > 1 && r % 4 == 0) {
		n = (unsigned int)(r >> 8) % 6;
		n_len = (r >> 16) % 3 == 0 ? 0 : (r >> 16) % 3 == 1 ? 2 : 4;
		code = (r >> 24) & 1 ? 0x80 : 0x90;
		if (n_len == 0) {
			bytes_add_byte(b, code | n);
		} else {
			bytes_add_byte(b, (code == 0x80 ? 0xdeu : 0xdcu) + (n_len == 4));
			bytes_add_number(b, n, n_len);
		}
		for (n = code == 0x80 ? 2 * n : n; n > 0; n--)
			random_object(b, random, depth - 1);
		return;
	}
	do {
		code = (unsigned int)(random_next(random) % 256);
	} while (code == 0xc1 || (code >= 0x80 && code <= 0x9f) || (code >= 0xdc && code <= 0xdf));
	object_of_code(b, code, (size_t)(random_next(random) % 8));
}

/* ---- reading --------------------------------------------------------------------- */

static void every_code_reads_like_msgpack_c(void)
{
	struct bytes b = { NULL, 0, 0 };
	unsigned int code;
	size_t small, cut;

	for (code = 0; code < 256; code++) {
		for (small = 0; small < 8; small++) {
			b.len = 0;
			object_of_code(&b, code, small);
			if (code == 0xc1) {
				CHECK_EQ(shmkv_value_check(b.data, b.len), -EILSEQ);
				CHECK(!oracle_check(b.data, b.len));
				continue;
			}
			check_decodes_like_oracle(b.data, b.len);
			for (cut = 0; cut < b.len; cut++)
				CHECK_EQ(shmkv_value_check(b.data, cut), -EILSEQ);
			bytes_add_byte(&b, 0xc0);
			CHECK_EQ(shmkv_value_check(b.data, b.len), -EILSEQ);
		}
	}
	bytes_free(&b);
}

/* Each row: bytes and the number they are, from the format's own description. */
static void numbers_are_what_the_format_says(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		int64_t i64;
	} rows[] = {
		{ "\x00", 1, 0 },
		{ "\x7f", 1, 127 },
		{ "\xff", 1, -1 },
		{ "\xe0", 1, -32 },
		{ "\xcc\xff", 2, 255 },
		{ "\xcd\x01\x02", 3, 258 },
		{ "\xce\xff\xff\xff\xff", 5, UINT32_MAX },
		{ "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX },
		{ "\xd0\x80", 2, -128 },
		{ "\xd0\x05", 2, 5 },
		{ "\xd1\x80\x00", 3, -32768 },
		{ "\xd2\x80\x00\x00\x00", 5, INT32_MIN },
		{ "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, INT64_MIN },
		{ "\xd3\x00\x00\x00\x00\x00\x00\x00\x01", 9, 1 },
	};
	struct shmkv_value value;
	size_t i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_EQ(shmkv_value_decode(rows[i].bytes, rows[i].len, &value), 0);
		CHECK_EQ(value.type, SHMKV_INT);
		CHECK_EQ(value.i64, rows[i].i64);
	}
	CHECK_EQ(shmkv_value_decode("\xcf\x80\0\0\0\0\0\0\0", 9, &value), 0);
	CHECK_EQ(value.type, SHMKV_UINT);
	CHECK_EQ(value.u64, (uint64_t)1 << 63);
	CHECK_EQ(shmkv_value_decode("\xca\xbf\x80\0\0", 5, &value), 0);
	CHECK_EQ(value.type, SHMKV_FLOAT);
	CHECK(value.f64 == -1.0);
	CHECK_EQ(shmkv_value_decode("\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", 9, &value), 0);
	CHECK(value.f64 == 3.141592653589793);
}

static void random_objects_read_like_msgpack_c(void)
{
	uint64_t random = skv_test_seed(), n = skv_test_is_slow() ? 2000 : 20000, i;
	struct bytes b = { NULL, 0, 0 };
	size_t cut;
	uint8_t *copy;

	for (i = 0; i < n; i++) {
		b.len = 0;
		random_object(&b, &random, 1 + (unsigned int)(i % 8));
		check_decodes_like_oracle(b.data, b.len);
		if (b.len > 500)
			continue;
		/* In memory of exactly that length, so that a sanitizer sees a byte too many. */
		for (cut = 0; cut < b.len; cut++) {
			copy = malloc(cut ? cut : 1);
			CHECK(copy != NULL);
			memcpy(copy, b.data, cut);
			CHECK_EQ(shmkv_value_check(copy, cut), -EILSEQ);
			free(copy);
		}
	}
	bytes_free(&b);
}

/* Valid objects with a few bytes changed: valid or not, but the same to both. */
static void damaged_objects_are_judged_like_msgpack_c(void)
{
	uint64_t random = skv_test_seed(), n = skv_test_is_slow() ? 20000 : 300000, i, j;
	uint64_t n_valid = 0, n_refused = 0;
	struct bytes b = { NULL, 0, 0 };

	for (i = 0; i < n; i++) {
		b.len = 0;
		random_object(&b, &random, 1 + (unsigned int)(i % 5));
		if (b.len > 200)
			b.len = 200;
		for (j = random_next(&random) % 4; j > 0; j--)
			b.data[random_next(&random) % b.len] = (uint8_t)random_next(&random);
		if (shmkv_value_check(b.data, b.len) == 0) {
			check_decodes_like_oracle(b.data, b.len);
			n_valid++;
		} else if (!memchr(b.data, 0xdd, b.len) && !memchr(b.data, 0xdf, b.len)) {
			CHECK(!oracle_check(b.data, b.len));
			n_refused++;
		}
	}
	/* Both verdicts were put to the test. */
	CHECK(n_valid > n / 10);
	CHECK(n_refused > n / 10);
	bytes_free(&b);
}

/* ---- limits ---------------------------------------------------------------------- */

/* @depth containers inside one another, the innermost holding @last. */
static void nested(struct bytes *b, unsigned int depth, unsigned int code, unsigned int last)
{
	unsigned int i;

	b->len = 0;
	for (i = 0; i < depth; i++) {
		bytes_add_byte(b, code);
		if (code == 0x81)
			bytes_add_byte(b, 0x01);
		else if (code == 0x92)
			bytes_add_byte(b, 0x90);
	}
	bytes_add_byte(b, last);
}

static void nesting_ends_at_the_limit(void)
{
	/* Arrays of one, maps of one, arrays whose second element nests. */
	static const unsigned int codes[] = { 0x91, 0x81, 0x92 };
	uint8_t branch[SHMKV_DEPTH_MAX - 1];
	struct bytes b = { NULL, 0, 0 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(codes); i++) {
		nested(&b, SHMKV_DEPTH_MAX - 1, codes[i], 0xc0);
		check_decodes_like_oracle(b.data, b.len);
		nested(&b, SHMKV_DEPTH_MAX, codes[i], 0xc0);
		CHECK_EQ(shmkv_value_check(b.data, b.len), -EILSEQ);
		/* An empty container is as deep as a scalar. */
		nested(&b, SHMKV_DEPTH_MAX - 1, codes[i], 0x90);
		check_decodes_like_oracle(b.data, b.len);
		nested(&b, SHMKV_DEPTH_MAX, codes[i], 0x80);
		CHECK_EQ(shmkv_value_check(b.data, b.len), -EILSEQ);
		/* No stack is used however deep it goes. */
		nested(&b, 1000000, codes[i], 0xc0);
		CHECK_EQ(shmkv_value_check(b.data, b.len), -EILSEQ);
	}

	/* Many deep branches beside one another are not deeper than one. */
	b.len = 0;
	bytes_add_byte(&b, 0xdc);
	bytes_add_number(&b, 1000, 2);
	memset(branch, 0x91, sizeof(branch));
	branch[sizeof(branch) - 1] = 0x90;
	for (i = 0; i < 1000; i++)
		bytes_add(&b, branch, sizeof(branch));
	check_decodes_like_oracle(b.data, b.len);
	bytes_free(&b);
}

static void a_few_bytes_cannot_ask_for_gigabytes(void)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bombs[] = {
		{ "\xdd\xff\xff\xff\xff", 5 },		  { "\xdf\xff\xff\xff\xff", 5 },
		{ "\xdd\x01\x00\x00\x00", 5 },		  { "\xdf\x80\x00\x00\x00", 5 },
		{ "\xdc\xff\xff", 3 },			  { "\xde\xff\xff", 3 },
		{ "\xc6\xff\xff\xff\xff", 5 },		  { "\xdb\xff\xff\xff\xff", 5 },
		{ "\xc9\xff\xff\xff\xff\x01", 6 },	  { "\x91\xdd\xff\xff\xff\xff", 6 },
		{ "\x82\x01\xdf\x7f\xff\xff\xff\x01", 8 }, { "\x9f\x01", 2 },
		/* One element too many for the bytes that are left. */
		{ "\xdd\x00\x00\x00\x03\x01\x02", 7 },	  { "\xdf\x00\x00\x00\x01\x01", 6 },
	};
	struct shmkv_value value;
	size_t i;

	for (i = 0; i < ARRAY_LEN(bombs); i++) {
		CHECK_EQ(shmkv_value_check(bombs[i].bytes, bombs[i].len), -EILSEQ);
		CHECK_EQ(shmkv_value_decode(bombs[i].bytes, bombs[i].len, &value), -EILSEQ);
	}
}

static void time_is_linear_in_the_length(void)
{
	struct bytes b = { NULL, 0, 0 };
	size_t i;

	/* A level whose every element is again a container, for a million elements. */
	bytes_add_byte(&b, 0xdd);
	bytes_add_number(&b, 1000000, 4);
	for (i = 0; i < 1000000; i++)
		bytes_add_byte(&b, i % 2 ? 0x90 : 0x80);
	CHECK_EQ(shmkv_value_check(b.data, b.len), 0);
	b.len--;
	CHECK_EQ(shmkv_value_check(b.data, b.len), -EILSEQ);

	/* Payload is stepped over, not read. */
	b.len = 0;
	bytes_add_byte(&b, 0xc6);
	bytes_add_number(&b, 4 << 20, 4);
	bytes_add_fill(&b, 4 << 20);
	for (i = 0; i < 100000; i++)
		CHECK_EQ(shmkv_value_check(b.data, b.len), 0);
	bytes_free(&b);
}

static void arguments_are_checked(void)
{
	struct shmkv_value value = shmkv_int(5);
	uint8_t buf[16];
	size_t len = 77;

	CHECK_EQ(shmkv_value_check(NULL, 0), -EILSEQ);
	CHECK_EQ(shmkv_value_check("", 0), -EILSEQ);
	CHECK_EQ(shmkv_value_check(NULL, 1), -EINVAL);
	CHECK_EQ(shmkv_value_decode(NULL, 1, &value), -EINVAL);
	CHECK_EQ(shmkv_value_decode("\xc0", 1, NULL), -EINVAL);
	CHECK_EQ(shmkv_value_decode("\xc1", 1, &value), -EILSEQ);
	CHECK_EQ(value.type, SHMKV_INT);
	CHECK_EQ(value.i64, 5);

	CHECK_EQ(shmkv_value_encode(value, buf, sizeof(buf), NULL), -EINVAL);
	CHECK_EQ(shmkv_value_encode(value, NULL, 1, &len), -EINVAL);
	CHECK_EQ(shmkv_value_encode(shmkv_bin(NULL, 1), buf, sizeof(buf), &len), -EINVAL);
	CHECK_EQ(shmkv_value_encode(shmkv_packed("\xc1", 1), buf, sizeof(buf), &len), -EILSEQ);
	CHECK_EQ(shmkv_value_encode(shmkv_packed("", 0), buf, sizeof(buf), &len), -EILSEQ);
	CHECK_EQ(shmkv_value_encode(shmkv_bin(buf, (size_t)1 << 32), buf, sizeof(buf), &len),
		 -EFBIG);
	value.type = (enum shmkv_type)8;
	CHECK_EQ(shmkv_value_encode(value, buf, sizeof(buf), &len), -EINVAL);
	CHECK_EQ(len, 77u);
}

/* ---- writing --------------------------------------------------------------------- */

static void pack(msgpack_sbuffer *ret_packed, const struct shmkv_value *value)
{
	msgpack_packer packer;

	msgpack_sbuffer_init(ret_packed);
	msgpack_packer_init(&packer, ret_packed, msgpack_sbuffer_write);
	switch (value->type) {
	case SHMKV_NIL:
		msgpack_pack_nil(&packer);
		break;
	case SHMKV_BOOL:
		if (value->boolean)
			msgpack_pack_true(&packer);
		else
			msgpack_pack_false(&packer);
		break;
	case SHMKV_INT:
		msgpack_pack_int64(&packer, value->i64);
		break;
	case SHMKV_UINT:
		msgpack_pack_uint64(&packer, value->u64);
		break;
	case SHMKV_FLOAT:
		msgpack_pack_double(&packer, value->f64);
		break;
	case SHMKV_STR:
		msgpack_pack_str_with_body(&packer, value->data, value->len);
		break;
	case SHMKV_BIN:
		msgpack_pack_bin_with_body(&packer, value->data, value->len);
		break;
	case SHMKV_PACKED:
		msgpack_sbuffer_write(ret_packed, value->data, value->len);
		break;
	}
}

/* The same bytes as msgpack-c, into exactly enough room, and back to the same value. */
static void check_writes_like_oracle(struct shmkv_value value)
{
	msgpack_sbuffer packed;
	size_t len = 0;
	uint8_t *buf;

	pack(&packed, &value);
	CHECK_EQ(shmkv_value_encode(value, NULL, 0, &len), -ENOBUFS);
	CHECK_EQ(len, packed.size);
	buf = malloc(len);
	CHECK(buf != NULL);
	len = 0;
	CHECK_EQ(shmkv_value_encode(value, buf, packed.size - 1, &len), -ENOBUFS);
	CHECK_EQ(len, packed.size);
	CHECK_EQ(shmkv_value_encode(value, buf, packed.size, &len), 0);
	CHECK_MEM(buf, len, packed.data, packed.size);
	check_decodes_like_oracle(buf, len);
	free(buf);
	msgpack_sbuffer_destroy(&packed);
}

static void every_value_is_written_like_msgpack_c(void)
{
	static const size_t lens[] = { 0,   1,	 15,  16,    31,    32,	   33,	  127,	 128,
				       254, 255, 256, 65534, 65535, 65536, 65537, 100000 };
	static const double floats[] = { 0.0,	   -0.0,    1.0,     -1.5,     DBL_MAX,
					 DBL_MIN,  INFINITY, -INFINITY, 0.1, FLT_MAX };
	struct bytes b = { NULL, 0, 0 };
	unsigned int bit, i;
	uint64_t u64;
	int delta;

	check_writes_like_oracle(shmkv_nil());
	check_writes_like_oracle(shmkv_bool(true));
	check_writes_like_oracle(shmkv_bool(false));
	for (bit = 0; bit < 64; bit++) {
		for (delta = -2; delta <= 2; delta++) {
			u64 = ((uint64_t)1 << bit) + (uint64_t)(int64_t)delta;
			check_writes_like_oracle(shmkv_uint(u64));
			check_writes_like_oracle(shmkv_int((int64_t)u64));
			check_writes_like_oracle(shmkv_int((int64_t)(0 - u64)));
		}
	}
	for (i = 0; i < ARRAY_LEN(floats); i++)
		check_writes_like_oracle(shmkv_float(floats[i]));
	bytes_add_fill(&b, 100000);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		check_writes_like_oracle(shmkv_str_n((const char *)b.data, lens[i]));
		check_writes_like_oracle(shmkv_bin(b.data, lens[i]));
	}
	check_writes_like_oracle(shmkv_packed("\x93\x01\x02\x03", 4));
	bytes_free(&b);
}

static void nan_stays_nan(void)
{
	struct shmkv_value value;
	uint8_t buf[16];
	size_t len;

	CHECK_EQ(shmkv_value_encode(shmkv_float(NAN), buf, sizeof(buf), &len), 0);
	CHECK_EQ(len, 9u);
	CHECK_EQ(shmkv_value_decode(buf, len, &value), 0);
	CHECK_EQ(value.type, SHMKV_FLOAT);
	CHECK(isnan(value.f64));
}

/* ---- heads ----------------------------------------------------------------------- */

static void skip_leaves_the_payload(void)
{
	static const struct {
		const char *head;
		size_t len, skip;
	} rows[] = {
		{ "\xa3" "abc", 4, 1 },
		{ "\xa0", 1, 1 },
		{ "\xd9\x03" "abc", 5, 2 },
		{ "\xda\x01\x00", 3, 3 },
		{ "\xdb\x00\x01\x00\x00", 5, 5 },
		{ "\xc4\x01x", 3, 2 },
		{ "\xc5\x01\x00", 3, 3 },
		{ "\xc6\x00\x01\x00\x00", 5, 5 },
		{ "\x05", 1, 1 },
		{ "\xcb\0\0\0\0\0\0\0\0", 9, 9 },
		{ "\xc0", 1, 1 },
		{ "\x93\x01\x02\x03", 4, 0 },
		{ "\x80", 1, 0 },
		{ "\xdd\x00\x00\x00\x00", 5, 0 },
		{ "\xd4\x01\x02", 3, 0 },
		{ "\xc7\x01\x05\x06", 4, 0 },
		{ "\xc1", 1, 0 },
		{ "\xda\x01", 2, 0 },
		{ "", 0, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_EQ(skv_msgpack_skip((const uint8_t *)rows[i].head, rows[i].len),
			 rows[i].skip);
}

/* Two readers of the same byte: what to skip, and what it means. */
static void skip_agrees_with_the_item(void)
{
	struct skv_msgpack_item item;
	uint8_t head[SKV_MSGPACK_HEAD_MAX];
	unsigned int code;
	size_t len, expected;

	memset(head, 0x5a, sizeof(head));
	for (code = 0; code <= 0xff; code++) {
		for (len = 0; len <= sizeof(head); len++) {
			head[0] = (uint8_t)code;
			expected = 0;
			if (skv_msgpack_item(head, len, &item) == 0 && item.type != SHMKV_PACKED)
				expected = item.head_len;
			CHECK_EQ(skv_msgpack_skip(head, len), expected);
		}
	}
}

static void a_head_tells_what_follows(void)
{
	struct skv_msgpack_item item;

	CHECK_EQ(skv_msgpack_item((const uint8_t *)"\xc9\x00\x01\x00\x02\x07", 6, &item), 0);
	CHECK_EQ(item.type, SHMKV_PACKED);
	CHECK_EQ(item.head_len, 6u);
	CHECK_EQ(item.payload_len, 65538u);
	CHECK_EQ(item.n_items, 0u);
	/* Twice 2^32 - 1 is more than 32 bits hold. */
	CHECK_EQ(skv_msgpack_item((const uint8_t *)"\xdf\xff\xff\xff\xff", 5, &item), 0);
	CHECK_EQ(item.head_len, 5u);
	CHECK_EQ(item.n_items, 2 * (uint64_t)UINT32_MAX);
	CHECK_EQ(skv_msgpack_item((const uint8_t *)"\xdb\xff\xff\xff\xff", 5, &item), 0);
	CHECK_EQ(item.payload_len, (uint64_t)UINT32_MAX);
	CHECK_EQ(skv_msgpack_item((const uint8_t *)"\xdb\xff\xff\xff", 4, &item), -EILSEQ);
	CHECK_EQ(skv_msgpack_item((const uint8_t *)"\xd4", 1, &item), -EILSEQ);
}

const struct skv_test skv_tests_msgpack[] = {
	{ "msgpack", "every code reads like msgpack-c", every_code_reads_like_msgpack_c, 10 },
	{ "msgpack", "numbers are what the format says", numbers_are_what_the_format_says, 10 },
	{ "msgpack", "random objects read like msgpack-c", random_objects_read_like_msgpack_c, 60 },
	/* hazard 27 */
	{ "msgpack", "damaged objects are judged like msgpack-c",
	  damaged_objects_are_judged_like_msgpack_c, 60 },
	{ "msgpack", "nesting ends at the limit", nesting_ends_at_the_limit, 10 },
	{ "msgpack", "a few bytes cannot ask for gigabytes", a_few_bytes_cannot_ask_for_gigabytes,
	  10 },
	{ "msgpack", "time is linear in the length", time_is_linear_in_the_length, 10 },
	{ "msgpack", "arguments are checked", arguments_are_checked, 10 },
	{ "msgpack", "every value is written like msgpack-c",
	  every_value_is_written_like_msgpack_c, 20 },
	{ "msgpack", "not a number stays not a number", nan_stays_nan, 10 },
	{ "msgpack", "skip leaves the payload", skip_leaves_the_payload, 10 },
	{ "msgpack", "skip agrees with the item", skip_agrees_with_the_item, 10 },
	{ "msgpack", "a head tells what follows", a_head_tells_what_follows, 10 },
	{ 0 },
};

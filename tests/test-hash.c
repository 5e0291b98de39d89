/* SPDX-License-Identifier: MIT */

/* Keys land where every other process looks for them: the hash is the same function for all. */

#include "base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

#define LEN_MAX 300u

/* ---- a second SipHash --------------------------------------------------------------- */

/*
 * Straight from the paper's figures, byte by byte and with an array for the state, so that
 * it has nothing in common with base/hash.c but the definition. The round counts are
 * parameters: the published vectors of SipHash-2-4 prove this function, and this function
 * with 1 and 3 then judges ours.
 */
static uint64_t turn(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void reference_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = turn(v[1], 13);
	v[3] = turn(v[3], 16);
	v[1] ^= v[0];
	v[3] ^= v[2];
	v[0] = turn(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = turn(v[1], 17);
	v[3] = turn(v[3], 21);
	v[1] ^= v[2];
	v[3] ^= v[0];
	v[2] = turn(v[2], 32);
}

static uint64_t reference(int c, int d, uint64_t k0, uint64_t k1, const uint8_t *m, size_t len)
{
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
			  k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
	size_t n_words = len / 8 + 1, i, byte;
	uint64_t word;
	int r;

	for (i = 0; i < n_words; i++) {
		word = 0;
		for (byte = 0; byte < 8; byte++) {
			if (8 * i + byte < len)
				word |= (uint64_t)m[8 * i + byte] << (8 * byte);
		}
		if (i == n_words - 1)
			word |= (uint64_t)(len & 0xff) << 56;
		v[3] ^= word;
		for (r = 0; r < c; r++)
			reference_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	for (r = 0; r < d; r++)
		reference_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Key bytes 00..0f and message bytes 00, 01, 02 ... as in the paper's appendix. */
#define PAPER_K0 UINT64_C(0x0706050403020100)
#define PAPER_K1 UINT64_C(0x0f0e0d0c0b0a0908)

static void count_up(uint8_t *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)i;
}

static void reference_is_siphash(void)
{
	uint8_t message[16];

	count_up(message, sizeof(message));
	/* Appendix A of the paper: 15 bytes. */
	CHECK_EQ(reference(2, 4, PAPER_K0, PAPER_K1, message, 15), UINT64_C(0xa129ca6149be45e5));
	/* The first two of the authors' published list of 64: 0 bytes and 1 byte. */
	CHECK_EQ(reference(2, 4, PAPER_K0, PAPER_K1, message, 0), UINT64_C(0x726fdb47dd0e0e31));
	CHECK_EQ(reference(2, 4, PAPER_K0, PAPER_K1, message, 1), UINT64_C(0x74f839c593dc67fd));
}

/* ---- golden values ------------------------------------------------------------------ */

static struct skv_hash_key key_of(uint32_t kind, uint64_t k0, uint64_t k1)
{
	struct skv_hash_key key;

	CHECK_EQ(skv_hash_key_init(&key, kind, k0, k1), 0);
	return key;
}

static void siphash13_agrees_with_the_reference(void)
{
	static const uint64_t keys[][2] = {
		{ 0, 0 },
		{ PAPER_K0, PAPER_K1 },
		{ UINT64_MAX, 1 },
		{ UINT64_C(0x123456789abcdef0), UINT64_C(0xfedcba9876543210) },
	};
	uint8_t message[LEN_MAX];
	struct skv_hash_key key;
	size_t i, len;

	count_up(message, sizeof(message));
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		key = key_of(SKV_HASH_SIPHASH13, keys[i][0], keys[i][1]);
		for (len = 0; len <= LEN_MAX; len++)
			CHECK_EQ(skv_hash(&key, message, len),
				 reference(1, 3, keys[i][0], keys[i][1], message, len));
	}
}

/*
 * The secret of XXH3 is part of the format: SipHash-2-4 of the word numbers 0..23. These
 * values were computed once; segments made by one build must be readable by the next.
 */
static void xxh3_secret_is_siphash24_in_counter_mode(void)
{
	struct skv_hash_key key = key_of(SKV_HASH_XXH3, PAPER_K0, PAPER_K1);
	uint64_t word, i;

	for (i = 0; i < SKV_HASH_SECRET_LEN / 8; i++) {
		memcpy(&word, key.secret + 8 * i, 8);
		CHECK_EQ(word, reference(2, 4, PAPER_K0, PAPER_K1, (const uint8_t *)&i, 8));
	}
}

static void golden_values_never_change(void)
{
	static const struct {
		uint32_t kind;
		size_t len;
		uint64_t hash;
	} golden[] = {
		{ SKV_HASH_SIPHASH13, 0, UINT64_C(0xabac0158050fc4dc) },
		{ SKV_HASH_SIPHASH13, 1, UINT64_C(0xc9f49bf37d57ca93) },
		{ SKV_HASH_SIPHASH13, 3, UINT64_C(0x8bf80ab8e7ddf7fb) },
		{ SKV_HASH_SIPHASH13, 8, UINT64_C(0x369095118d299a8e) },
		{ SKV_HASH_SIPHASH13, 9, UINT64_C(0x25a48eb36c063de4) },
		{ SKV_HASH_SIPHASH13, 16, UINT64_C(0xcc4fdd1a7d908b66) },
		{ SKV_HASH_SIPHASH13, 17, UINT64_C(0x9cf2689063dbd80c) },
		{ SKV_HASH_SIPHASH13, 64, UINT64_C(0xf17997ec4b4a6065) },
		{ SKV_HASH_SIPHASH13, 128, UINT64_C(0xe17a5d57cbfa3a8f) },
		{ SKV_HASH_SIPHASH13, 129, UINT64_C(0x1ca51096227b506e) },
		{ SKV_HASH_SIPHASH13, 200, UINT64_C(0xb73fe861830efaed) },
		{ SKV_HASH_SIPHASH13, 240, UINT64_C(0xb760276a4c242bad) },
		{ SKV_HASH_SIPHASH13, 241, UINT64_C(0x9efa88ddfbd751aa) },
		{ SKV_HASH_SIPHASH13, 300, UINT64_C(0x4016a23bda5a2224) },
		{ SKV_HASH_XXH3, 0, UINT64_C(0x005fd635aee6307f) },
		{ SKV_HASH_XXH3, 1, UINT64_C(0x5d7b66c81c8fc394) },
		{ SKV_HASH_XXH3, 3, UINT64_C(0x02c1d602c67e9c5c) },
		{ SKV_HASH_XXH3, 8, UINT64_C(0xc419dbb90449a174) },
		{ SKV_HASH_XXH3, 9, UINT64_C(0xa44af7a51b4cf55b) },
		{ SKV_HASH_XXH3, 16, UINT64_C(0xe4f5b5c05352f2c0) },
		{ SKV_HASH_XXH3, 17, UINT64_C(0x07ac274bbe5fc5c2) },
		{ SKV_HASH_XXH3, 64, UINT64_C(0xeaef0ac237291fa9) },
		{ SKV_HASH_XXH3, 128, UINT64_C(0xda7146ec4c43cdd3) },
		{ SKV_HASH_XXH3, 129, UINT64_C(0xd2eb5098e237489d) },
		{ SKV_HASH_XXH3, 200, UINT64_C(0x9defcb398a711299) },
		{ SKV_HASH_XXH3, 240, UINT64_C(0x29174e1c48bcc7b8) },
		{ SKV_HASH_XXH3, 241, UINT64_C(0x542f48341ae4eb6f) },
		{ SKV_HASH_XXH3, 300, UINT64_C(0xf5eff37e5c8036c6) },
	};
	uint8_t message[LEN_MAX];
	struct skv_hash_key key;
	size_t i;

	count_up(message, sizeof(message));
	for (i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
		key = key_of(golden[i].kind, PAPER_K0, PAPER_K1);
		CHECK_EQ(skv_hash(&key, message, golden[i].len), golden[i].hash);
	}
}

/* ---- properties --------------------------------------------------------------------- */

static const uint32_t kinds[] = { SKV_HASH_SIPHASH13, SKV_HASH_XXH3 };

static void alignment_and_surroundings_do_not_matter(void)
{
	uint8_t message[LEN_MAX], room[LEN_MAX + 64];
	struct skv_hash_key key;
	size_t k, len, shift;
	uint64_t hash;

	count_up(message, sizeof(message));
	for (k = 0; k < 2; k++) {
		key = key_of(kinds[k], 11, 22);
		for (len = 0; len <= LEN_MAX; len++) {
			hash = skv_hash(&key, message, len);
			for (shift = 0; shift < 17; shift++) {
				/* Other bytes around it each time, so that none is read. */
				memset(room, (int)(0xa5 + shift), sizeof(room));
				memcpy(room + shift, message, len);
				CHECK_EQ(skv_hash(&key, room + shift, len), hash);
			}
		}
		CHECK_EQ(skv_hash(&key, NULL, 0), skv_hash(&key, message, 0));
	}
}

static void every_length_and_every_key_gives_another_hash(void)
{
	static uint64_t seen[2 * 2 * (LEN_MAX + 1)];
	static const uint8_t zeros[LEN_MAX];
	struct skv_hash_key key;
	size_t k, len, n = 0, i;
	uint64_t which;

	/* Zeros only: nothing but the length tells these messages apart. */
	for (k = 0; k < 2; k++) {
		for (which = 0; which < 2; which++) {
			key = key_of(kinds[k], which ? 5 : 6, 7);
			for (len = 0; len <= LEN_MAX; len++)
				seen[n++] = skv_hash(&key, zeros, len);
		}
	}
	for (k = 0; k < n; k++) {
		for (i = 0; i < k; i++)
			CHECK(seen[i] != seen[k]);
	}
}

/*
 * Flip one bit of a message: each bit of the hash turns with probability 1/2. Over 4096
 * trials the count of turns has a standard deviation of 32; 6.5 of them for each of 64
 * bits is never reached by chance (below 1e-8 in all).
 */
static void one_bit_turns_half_of_the_hash(void)
{
	static const size_t lengths[] = { 1, 4, 8, 16, 17, 33, 100, 200, 300 };
	unsigned int turns[64], trial, bit;
	struct skv_hash_key key;
	uint8_t message[LEN_MAX];
	uint64_t diff, random = 88172645463325252u;
	size_t k, i, at;

	for (k = 0; k < 2; k++) {
		key = key_of(kinds[k], PAPER_K1, PAPER_K0);
		for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			memset(turns, 0, sizeof(turns));
			for (trial = 0; trial < 4096; trial++) {
				for (at = 0; at < lengths[i]; at++) {
					random ^= random << 13;
					random ^= random >> 7;
					random ^= random << 17;
					message[at] = (uint8_t)(random >> 24);
				}
				diff = skv_hash(&key, message, lengths[i]);
				at = (random >> 33) % lengths[i];
				message[at] ^= (uint8_t)(1u << (random >> 61));
				diff ^= skv_hash(&key, message, lengths[i]);
				for (bit = 0; bit < 64; bit++)
					turns[bit] += diff >> bit & 1;
			}
			for (bit = 0; bit < 64; bit++)
				CHECK(turns[bit] > 2048 - 208 && turns[bit] < 2048 + 208);
		}
	}
}

static void unknown_kinds_are_refused(void)
{
	struct skv_hash_key key;

	memset(&key, 0x5a, sizeof(key));
	CHECK_EQ(skv_hash_key_init(&key, 0, 1, 2), -EINVAL);
	CHECK_EQ(skv_hash_key_init(&key, 3, 1, 2), -EINVAL);
	CHECK_EQ(skv_hash_key_init(&key, UINT32_MAX, 1, 2), -EINVAL);
	CHECK_EQ(key.kind, 0x5a5a5a5a);
	CHECK_STR(skv_hash_name(SKV_HASH_SIPHASH13), "siphash13");
	CHECK_STR(skv_hash_name(SKV_HASH_XXH3), "xxh3");
	CHECK_STR(skv_hash_name(0), "unknown");
}

static void random_bytes_fill_exactly_the_buffer(void)
{
	uint8_t a[64], b[64];
	size_t i, n_zero = 0;

	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	CHECK_EQ(skv_random_fill(a, 48), 0);
	CHECK_EQ(skv_random_fill(b, 48), 0);
	CHECK(memcmp(a, b, 48) != 0);
	for (i = 0; i < 48; i++)
		n_zero += a[i] == 0;
	CHECK(n_zero < 16);
	for (i = 48; i < 64; i++)
		CHECK_EQ(a[i], 0);
	CHECK_EQ(skv_random_fill(a, 0), 0);
}

const struct skv_test skv_tests_hash[] = {
	{ "hash", "the reference gives the published SipHash-2-4 values",
	  reference_is_siphash, 10 },
	{ "hash", "SipHash-1-3 agrees with the reference for every length",
	  siphash13_agrees_with_the_reference, 10 },
	{ "hash", "the XXH3 secret is SipHash-2-4 in counter mode",
	  xxh3_secret_is_siphash24_in_counter_mode, 10 },
	{ "hash", "golden values never change", golden_values_never_change, 10 },
	{ "hash", "alignment and surroundings do not matter",
	  alignment_and_surroundings_do_not_matter, 30 },
	{ "hash", "every length and every key gives another hash",
	  every_length_and_every_key_gives_another_hash, 30 },
	{ "hash", "one bit turns half of the hash", one_bit_turns_half_of_the_hash, 60 },
	{ "hash", "unknown kinds are refused", unknown_kinds_are_refused, 10 },
	{ "hash", "random bytes fill exactly the buffer",
	  random_bytes_fill_exactly_the_buffer, 10 },
	{ 0 },
};

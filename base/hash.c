/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* The whole library as static functions: nothing to link, and short keys are inlined. */
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "words are loaded in memory order; a big-endian host would place keys elsewhere");
_Static_assert(SKV_HASH_SECRET_LEN >= XXH3_SECRET_SIZE_MIN, "the secret is too short for XXH3");
_Static_assert(SKV_HASH_SECRET_LEN % 8 == 0, "the secret is made of whole words");

/* ---- SipHash ------------------------------------------------------------------------ */

/*
 * After Jean-Philippe Aumasson and Daniel J. Bernstein, "SipHash: a fast short-input PRF",
 * 2012. SipHash-c-d: c rounds per 8-byte word, d rounds at the end. The hash of keys is
 * SipHash-1-3; SipHash-2-4, the authors' first choice, derives the XXH3 secret, which
 * happens once per attach and may be slow.
 */
struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t load_word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static inline uint64_t rotate(uint64_t w, unsigned int bits)
{
	return (w << bits) | (w >> (64 - bits));
}

static inline __attribute__((always_inline)) void sip_rounds(struct sip *s, unsigned int n)
{
	for (; n > 0; n--) {
		s->v0 += s->v1;
		s->v1 = rotate(s->v1, 13) ^ s->v0;
		s->v0 = rotate(s->v0, 32);
		s->v2 += s->v3;
		s->v3 = rotate(s->v3, 16) ^ s->v2;
		s->v0 += s->v3;
		s->v3 = rotate(s->v3, 21) ^ s->v0;
		s->v2 += s->v1;
		s->v1 = rotate(s->v1, 17) ^ s->v2;
		s->v2 = rotate(s->v2, 32);
	}
}

/* The last 0..7 bytes as a word, without reading beyond them. */
static inline uint64_t load_tail(const uint8_t *p, size_t len)
{
	uint32_t low, high;

	if (len >= 4) {
		/* Two loads that overlap: the bytes in common agree. */
		memcpy(&low, p, 4);
		memcpy(&high, p + len - 4, 4);
		return (uint64_t)low | ((uint64_t)high << (8 * (len - 4)));
	}
	if (len == 0)
		return 0;
	return (uint64_t)p[0] | ((uint64_t)p[len / 2] << (8 * (len / 2))) |
	       ((uint64_t)p[len - 1] << (8 * (len - 1)));
}

static inline __attribute__((always_inline)) uint64_t
siphash(uint64_t k0, uint64_t k1, const uint8_t *p, size_t len, unsigned int c, unsigned int d)
{
	const uint8_t *end = p + (len & ~(size_t)7);
	struct sip s = {
		k0 ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d),
		k0 ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573),
	};
	uint64_t w;

	for (; p != end; p += 8) {
		w = load_word(p);
		s.v3 ^= w;
		sip_rounds(&s, c);
		s.v0 ^= w;
	}
	w = load_tail(p, len & 7) | ((uint64_t)len << 56);
	s.v3 ^= w;
	sip_rounds(&s, c);
	s.v0 ^= w;
	s.v2 ^= 0xff;
	sip_rounds(&s, d);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* ---- keys --------------------------------------------------------------------------- */

/*
 * The secret is derived here and not with XXH3_generateSecret: that function is marked
 * experimental and changed its signature between releases, and two processes with
 * different releases of xxhash must agree on the secret of the segment they share.
 */
static void derive_secret(struct skv_hash_key *key)
{
	uint64_t word, i;

	for (i = 0; i < SKV_HASH_SECRET_LEN / 8; i++) {
		word = siphash(key->k0, key->k1, (const uint8_t *)&i, sizeof(i), 2, 4);
		memcpy(key->secret + 8 * i, &word, sizeof(word));
	}
}

int skv_hash_key_init(struct skv_hash_key *key, uint32_t kind, uint64_t k0, uint64_t k1)
{
	if (kind != SKV_HASH_SIPHASH13 && kind != SKV_HASH_XXH3)
		return -EINVAL;

	memset(key, 0, sizeof(*key));
	key->kind = kind;
	key->k0 = k0;
	key->k1 = k1;
	if (kind == SKV_HASH_XXH3)
		derive_secret(key);
	return 0;
}

/* By itself, so that the other kind need not save the registers that this one takes. */
static __attribute__((noinline)) uint64_t siphash13(const struct skv_hash_key *key,
						    const uint8_t *p, size_t len)
{
	return siphash(key->k0, key->k1, p, len, 1, 3);
}

uint64_t skv_hash(const struct skv_hash_key *key, const void *data, size_t len)
{
	static const uint8_t nothing[1];
	const uint8_t *p = data ? data : nothing;

	/*
	 * XXH3 takes the secret and no seed: with a seed, keys of up to 240 bytes would be
	 * mixed with the library's public secret and only 64 bits would be unknown.
	 */
	if (key->kind != SKV_HASH_XXH3)
		return siphash13(key, p, len);
	return XXH3_64bits_withSecret(p, len, key->secret, SKV_HASH_SECRET_LEN);
}

const char *skv_hash_name(uint32_t kind)
{
	switch (kind) {
	case SKV_HASH_SIPHASH13:
		return "siphash13";
	case SKV_HASH_XXH3:
		return "xxh3";
	default:
		return "unknown";
	}
}

/* ---- randomness --------------------------------------------------------------------- */

int skv_random_fill(void *buf, size_t len)
{
	uint8_t *p = buf;
	ssize_t n;

	while (len > 0) {
		n = getrandom(p, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSYS || errno == EPERM ? -EOPNOTSUPP : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_HASH_H
#define SKV_BASE_HASH_H

/*
 * hash: turns key bytes into the 64 bits that place a key in the index.
 *
 * Both kinds are keyed with 128 random bits that each segment draws for itself. SipHash-1-3
 * resists keys chosen by somebody who watches the answers; XXH3 with a secret derived from
 * the same 128 bits takes fewer instructions and is meant for keys from a trusted source.
 *
 * The result is part of the segment format: every process must compute the same number
 * for the same key and kind, whatever its compiler, library version or byte alignment.
 */

#include <stddef.h>
#include <stdint.h>

/* Stored in segments; the numbers are those of enum shmkv_hash. */
enum skv_hash_kind {
	SKV_HASH_SIPHASH13 = 1,
	SKV_HASH_XXH3 = 2,
};

#define SKV_HASH_SECRET_LEN 192u

/* Private memory of a handle; made from what the segment stores (kind, k0, k1). */
struct skv_hash_key {
	uint32_t kind;
	uint32_t pad;
	uint64_t k0, k1;
	uint8_t secret[SKV_HASH_SECRET_LEN]; /* XXH3 only, otherwise zero */
};

/*
 * skv_hash_key_init - prepare a key
 * @kind: enum skv_hash_kind; read from a segment, so anything may come
 *
 * The same three numbers give the same key in every process. Returns 0, or -EINVAL for an
 * unknown kind.
 */
int skv_hash_key_init(struct skv_hash_key *key, uint32_t kind, uint64_t k0, uint64_t k1);

/* skv_hash - the hash of @len bytes at any alignment; @data may be NULL when @len is 0 */
uint64_t skv_hash(const struct skv_hash_key *key, const void *data, size_t len);

/* "siphash13", "xxh3", or "unknown"; static. */
const char *skv_hash_name(uint32_t kind);

/*
 * skv_random_fill - fill memory with random bytes from the kernel
 *
 * Returns 0, -EOPNOTSUPP (the kernel or a filter refuses getrandom), or -EIO. May block
 * only in the first moments after boot, until the kernel has gathered randomness.
 */
int skv_random_fill(void *buf, size_t len);

#endif

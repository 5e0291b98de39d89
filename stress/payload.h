/* SPDX-License-Identifier: MIT */
#ifndef STRESS_PAYLOAD_H
#define STRESS_PAYLOAD_H

/*
 * payload: values that say where they come from and whether they are whole.
 *
 * A value carries its key, who wrote it and with which sequence number, its own length and
 * a checksum over all of it, filler included. A value that is torn, mixed from two, old
 * memory, or somebody else's cannot pass payload_check. Values are stored as bin, as str,
 * or inside a one-element array, so that every way through the codec is used.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shmkv/shmkv.h>

#include "stress/stress-random.h"

#define PAYLOAD_MIN 40u
#define PAYLOAD_MAX (256u << 20)
/* In front of the payload stays room for the array and bin headers. */
#define PAYLOAD_ROOM 8u

/* Who wrote what. */
struct payload {
	uint64_t key_id;      /* class and index, see payload_key_id */
	uint64_t seq;         /* of the key (owned) or of the writer (everything else) */
	uint32_t writer;
	uint32_t incarnation; /* of the writer's process */
};

static inline uint64_t payload_key_id(unsigned int class, uint64_t idx)
{
	return (uint64_t)class << 56 | idx;
}

/* A length between @min and @max, every doubling equally likely. */
size_t payload_draw_len(struct stress_random *random, uint64_t min, uint64_t max);

/*
 * payload_make - a value to store
 * @buf: PAYLOAD_ROOM + @len bytes; the value borrows them
 * @len: at least PAYLOAD_MIN
 */
struct shmkv_value payload_make(void *buf, size_t len, const struct payload *payload);

/* payload_write - the payload alone, in place; @type: SHMKV_BIN or SHMKV_STR, as it is stored */
void payload_write(void *buf, size_t len, const struct payload *payload, enum shmkv_type type);

/*
 * payload_check - take apart what was read
 * @value: as shmkv_get or shmkv_value_decode gave it
 * @why, @why_cap: gets a sentence when the answer is false
 *
 * Returns false unless it is exactly what payload_make made for @key_id.
 */
bool payload_check(const struct shmkv_value *value, uint64_t key_id, struct payload *ret_payload,
		   char *why, size_t why_cap);

#endif

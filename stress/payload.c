/* SPDX-License-Identifier: MIT */
#include "stress/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The first bytes of a payload; the filler follows. */
struct payload_head {
	uint64_t checksum; /* over everything behind it */
	uint64_t key_id;
	uint64_t seq;
	uint32_t writer;
	uint32_t incarnation;
	uint32_t len;  /* of the whole payload */
	uint32_t type; /* how it is stored, enum shmkv_type */
};

_Static_assert(sizeof(struct payload_head) == PAYLOAD_MIN, "a value of the least size is a head");

size_t payload_draw_len(struct stress_random *random, uint64_t min, uint64_t max)
{
	uint64_t low, high;
	unsigned int steps = 0, step;

	while (min << (steps + 1) <= max)
		steps++;
	step = (unsigned int)stress_random_below(random, steps + 1);
	low = min << step;
	high = step == steps ? max : (low << 1) - 1;
	return (size_t)(low + stress_random_below(random, high - low + 1));
}

/* Two lanes, so that a large value costs about what copying it costs. */
static uint64_t checksum(const unsigned char *bytes, size_t len)
{
	uint64_t a = 0x9e3779b97f4a7c15u ^ len, b = 0xc2b2ae3d27d4eb4fu;
	uint64_t word;
	size_t i;

	for (i = 0; i + 16 <= len; i += 16) {
		memcpy(&word, bytes + i, 8);
		a = (a ^ word) * 0xbf58476d1ce4e5b9u;
		a ^= a >> 29;
		memcpy(&word, bytes + i + 8, 8);
		b = (b ^ word) * 0x94d049bb133111ebu;
		b ^= b >> 31;
	}
	for (; i < len; i++)
		a = (a ^ bytes[i]) * 0x100000001b3u;
	return stress_mix(a ^ stress_mix(b));
}

static enum shmkv_type choose_type(const struct payload *payload)
{
	switch (stress_mix(payload->seq ^ payload->key_id << 20) & 7) {
	case 0:
		return SHMKV_STR;
	case 1:
		return SHMKV_PACKED;
	default:
		return SHMKV_BIN;
	}
}

/* [bin of len bytes]: the array header and the bin header, in front of the payload. */
static unsigned char *put_array_header(unsigned char *payload, size_t len)
{
	unsigned char *p = payload;

	*--p = (unsigned char)len;
	if (len > 0xff) {
		*--p = (unsigned char)(len >> 8);
		if (len > 0xffff) {
			*--p = (unsigned char)(len >> 16);
			*--p = (unsigned char)(len >> 24);
		}
	}
	*--p = len > 0xffff ? 0xc6 : len > 0xff ? 0xc5 : 0xc4;
	*--p = 0x91;
	return p;
}

void payload_write(void *buf, size_t len, const struct payload *payload, enum shmkv_type type)
{
	struct stress_random filler = {
		.state = stress_mix(payload->key_id) ^ payload->seq << 1 ^
			 (uint64_t)payload->writer << 40 ^ (uint64_t)payload->incarnation << 52,
	};
	struct payload_head head = {
		.key_id = payload->key_id,
		.seq = payload->seq,
		.writer = payload->writer,
		.incarnation = payload->incarnation,
		.len = (uint32_t)len,
		.type = type,
	};
	unsigned char *bytes = buf;
	uint64_t word;
	size_t i;

	memcpy(bytes, &head, sizeof(head));
	for (i = sizeof(head); i + 8 <= len; i += 8) {
		word = stress_random_next(&filler);
		memcpy(bytes + i, &word, 8);
	}
	for (word = stress_random_next(&filler); i < len; i++, word >>= 8)
		bytes[i] = (unsigned char)word;
	head.checksum = checksum(bytes + 8, len - 8);
	memcpy(bytes, &head.checksum, sizeof(head.checksum));
}

struct shmkv_value payload_make(void *buf, size_t len, const struct payload *payload)
{
	unsigned char *bytes = (unsigned char *)buf + PAYLOAD_ROOM, *start;
	enum shmkv_type type = choose_type(payload);

	payload_write(bytes, len, payload, type);
	switch (type) {
	case SHMKV_STR:
		return shmkv_str_n((const char *)bytes, len);
	case SHMKV_PACKED:
		start = put_array_header(bytes, len);
		return shmkv_packed(start, (size_t)(bytes - start) + len);
	default:
		return shmkv_bin(bytes, len);
	}
}

/* The payload inside [bin], or NULL. */
static const unsigned char *open_array(const struct shmkv_value *value, size_t *ret_len)
{
	const unsigned char *bytes = value->data;
	struct shmkv_value inner;

	if (value->len < 3 || bytes[0] != 0x91)
		return NULL;
	if (shmkv_value_decode(bytes + 1, value->len - 1, &inner) < 0 || inner.type != SHMKV_BIN)
		return NULL;
	*ret_len = inner.len;
	return inner.data;
}

bool payload_check(const struct shmkv_value *value, uint64_t key_id, struct payload *ret_payload,
		   char *why, size_t why_cap)
{
	const unsigned char *bytes = value->data;
	struct payload_head head;
	size_t len = value->len;

	if (value->type == SHMKV_PACKED)
		bytes = open_array(value, &len);
	else if (value->type != SHMKV_STR && value->type != SHMKV_BIN)
		bytes = NULL;
	if (!bytes || len < sizeof(head)) {
		snprintf(why, why_cap, "the value is of type %d and %zu bytes long, nobody wrote that",
			 (int)value->type, value->len);
		return false;
	}
	memcpy(&head, bytes, sizeof(head));
	if (head.len != len) {
		snprintf(why, why_cap, "the value is %zu bytes long but was written with %" PRIu32, len,
			 head.len);
		return false;
	}
	if (head.checksum != checksum(bytes + 8, len - 8)) {
		snprintf(why, why_cap,
			 "the value is torn: checksum wrong over %zu bytes, head says key %" PRIx64
			 " writer %" PRIu32 ".%" PRIu32 " sequence %" PRIu64,
			 len, head.key_id, head.writer, head.incarnation, head.seq);
		return false;
	}
	if (head.key_id != key_id) {
		snprintf(why, why_cap,
			 "the value belongs to key %" PRIx64 " (asked for %" PRIx64 "), writer %" PRIu32
			 ".%" PRIu32 " sequence %" PRIu64,
			 head.key_id, key_id, head.writer, head.incarnation, head.seq);
		return false;
	}
	if (head.type != (uint32_t)value->type) {
		snprintf(why, why_cap, "the value was stored as type %" PRIu32 " and read as type %d",
			 head.type, (int)value->type);
		return false;
	}
	ret_payload->key_id = head.key_id;
	ret_payload->seq = head.seq;
	ret_payload->writer = head.writer;
	ret_payload->incarnation = head.incarnation;
	return true;
}

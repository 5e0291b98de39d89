/* SPDX-License-Identifier: MIT */
#include "pack-walk.h"

#include <errno.h>
#include <string.h>

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

static double float_of(uint64_t bits, size_t n)
{
	uint32_t narrow = (uint32_t)bits;
	float f32;
	double f64;

	if (n == 4) {
		memcpy(&f32, &narrow, sizeof(f32));
		return (double)f32;
	}
	memcpy(&f64, &bits, sizeof(f64));
	return f64;
}

static void set_unsigned(struct pack_item *item, uint64_t v)
{
	item->type = v > INT64_MAX ? PACK_UINT : PACK_INT;
	item->u64 = v;
}

/* What a code says: how many bytes of number or length follow it, and what they mean. */
enum field { FIELD_UNSIGNED, FIELD_SIGNED, FIELD_FLOAT, FIELD_LENGTH, FIELD_COUNT };

struct code {
	uint8_t type;  /* enum pack_type */
	uint8_t field; /* enum field */
	uint8_t size;  /* of the field, bytes; 0 is a reserved code */
};

static const struct code codes[0x20] = {
	[0x04] = { PACK_BIN, FIELD_LENGTH, 1 },   [0x05] = { PACK_BIN, FIELD_LENGTH, 2 },
	[0x06] = { PACK_BIN, FIELD_LENGTH, 4 },   [0x07] = { PACK_EXT, FIELD_LENGTH, 1 },
	[0x08] = { PACK_EXT, FIELD_LENGTH, 2 },   [0x09] = { PACK_EXT, FIELD_LENGTH, 4 },
	[0x0a] = { PACK_FLOAT, FIELD_FLOAT, 4 },  [0x0b] = { PACK_FLOAT, FIELD_FLOAT, 8 },
	[0x0c] = { PACK_UINT, FIELD_UNSIGNED, 1 }, [0x0d] = { PACK_UINT, FIELD_UNSIGNED, 2 },
	[0x0e] = { PACK_UINT, FIELD_UNSIGNED, 4 }, [0x0f] = { PACK_UINT, FIELD_UNSIGNED, 8 },
	[0x10] = { PACK_INT, FIELD_SIGNED, 1 },   [0x11] = { PACK_INT, FIELD_SIGNED, 2 },
	[0x12] = { PACK_INT, FIELD_SIGNED, 4 },   [0x13] = { PACK_INT, FIELD_SIGNED, 8 },
	[0x19] = { PACK_STR, FIELD_LENGTH, 1 },   [0x1a] = { PACK_STR, FIELD_LENGTH, 2 },
	[0x1b] = { PACK_STR, FIELD_LENGTH, 4 },   [0x1c] = { PACK_ARRAY, FIELD_COUNT, 2 },
	[0x1d] = { PACK_ARRAY, FIELD_COUNT, 4 },  [0x1e] = { PACK_MAP, FIELD_COUNT, 2 },
	[0x1f] = { PACK_MAP, FIELD_COUNT, 4 },
};

/* Moves @p over the payload of a str, bin or ext. */
static int take_payload(struct pack_item *item, const uint8_t **p, const uint8_t *end)
{
	if (item->type == PACK_EXT) {
		if (*p == end)
			return -EILSEQ;
		item->ext_type = (int8_t)*(*p)++;
	}
	if ((size_t)(end - *p) < item->len)
		return -EILSEQ;
	item->data = *p;
	*p += item->len;
	return 0;
}

static int read_long(uint8_t c, struct pack_item *item, const uint8_t **p, const uint8_t *end)
{
	const struct code *code = &codes[c & 0x1f];
	uint64_t v;

	if (code->size == 0 || (size_t)(end - *p) < code->size)
		return -EILSEQ;
	v = big_endian(*p, code->size);
	*p += code->size;
	item->type = code->type;

	switch (code->field) {
	case FIELD_UNSIGNED:
		set_unsigned(item, v);
		return 0;
	case FIELD_SIGNED:
		item->i64 = (int64_t)(v << (64 - 8 * code->size)) >> (64 - 8 * code->size);
		return 0;
	case FIELD_FLOAT:
		item->f64 = float_of(v, code->size);
		return 0;
	case FIELD_COUNT:
		item->count = (uint32_t)v;
		return 0;
	default:
		item->len = v;
		return take_payload(item, p, end);
	}
}

int pack_next(struct pack_walk *w, struct pack_item *ret_item)
{
	struct pack_item item = { 0 };
	const uint8_t *p = w->at;
	uint8_t c;
	int r = 0;

	if (p == w->end)
		return -EILSEQ;
	c = *p++;

	if (c <= 0x7f) {
		set_unsigned(&item, c);
	} else if (c <= 0x8f) {
		item.type = PACK_MAP;
		item.count = c & 0x0f;
	} else if (c <= 0x9f) {
		item.type = PACK_ARRAY;
		item.count = c & 0x0f;
	} else if (c <= 0xbf) {
		item.type = PACK_STR;
		item.len = c & 0x1f;
		r = take_payload(&item, &p, w->end);
	} else if (c == 0xc0) {
		item.type = PACK_NIL;
	} else if (c == 0xc2 || c == 0xc3) {
		item.type = PACK_BOOL;
		item.boolean = c == 0xc3;
	} else if (c >= 0xd4 && c <= 0xd8) {
		item.type = PACK_EXT;
		item.len = (size_t)1 << (c - 0xd4);
		r = take_payload(&item, &p, w->end);
	} else if (c >= 0xe0) {
		item.type = PACK_INT;
		item.i64 = (int8_t)c;
	} else {
		r = read_long(c, &item, &p, w->end);
	}
	if (r < 0)
		return r;

	w->at = p;
	*ret_item = item;
	return 0;
}

int pack_skip(struct pack_walk *w)
{
	struct pack_walk walk = *w;
	struct pack_item item;
	uint64_t left = 1; /* objects still to read; each takes a byte, which ends the loop */
	int r;

	while (left > 0) {
		r = pack_next(&walk, &item);
		if (r < 0)
			return r;
		left--;
		if (item.type == PACK_ARRAY)
			left += item.count;
		else if (item.type == PACK_MAP)
			left += 2 * (uint64_t)item.count;
		if (left > (uint64_t)(walk.end - walk.at))
			return -EILSEQ;
	}
	*w = walk;
	return 0;
}

const char *pack_type_name(enum pack_type type)
{
	static const char *const names[] = {
		[PACK_NIL] = "nil",     [PACK_BOOL] = "bool", [PACK_INT] = "int",
		[PACK_UINT] = "uint",   [PACK_FLOAT] = "float", [PACK_STR] = "str",
		[PACK_BIN] = "bin",     [PACK_EXT] = "ext",   [PACK_ARRAY] = "array",
		[PACK_MAP] = "map",
	};

	return names[type];
}

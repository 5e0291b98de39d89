/* SPDX-License-Identifier: MIT */
#include "codec/msgpack.h"

#include <endian.h>
#include <errno.h>

/* ---- heads ----------------------------------------------------------------------- */

enum form_kind {
	FORM_RESERVED,
	FORM_NIL,
	FORM_FALSE,
	FORM_TRUE,
	FORM_UINT,
	FORM_INT,
	FORM_FLOAT32,
	FORM_FLOAT64,
	FORM_STR,
	FORM_BIN,
	FORM_EXT,
	FORM_FIXEXT,
	FORM_ARRAY,
	FORM_MAP,
};

/* The codes that stand for themselves; the others carry their number in the code. */
static const struct form {
	uint8_t kind;
	uint8_t number_len; /* bytes of a length, count or number after the code */
	uint8_t fixed_len;  /* payload of a form that does not tell it */
} forms[32] = {
	[0xc0 - 0xc0] = { FORM_NIL, 0, 0 },
	[0xc1 - 0xc0] = { FORM_RESERVED, 0, 0 },
	[0xc2 - 0xc0] = { FORM_FALSE, 0, 0 },
	[0xc3 - 0xc0] = { FORM_TRUE, 0, 0 },
	[0xc4 - 0xc0] = { FORM_BIN, 1, 0 },
	[0xc5 - 0xc0] = { FORM_BIN, 2, 0 },
	[0xc6 - 0xc0] = { FORM_BIN, 4, 0 },
	[0xc7 - 0xc0] = { FORM_EXT, 1, 0 },
	[0xc8 - 0xc0] = { FORM_EXT, 2, 0 },
	[0xc9 - 0xc0] = { FORM_EXT, 4, 0 },
	[0xca - 0xc0] = { FORM_FLOAT32, 4, 0 },
	[0xcb - 0xc0] = { FORM_FLOAT64, 8, 0 },
	[0xcc - 0xc0] = { FORM_UINT, 1, 0 },
	[0xcd - 0xc0] = { FORM_UINT, 2, 0 },
	[0xce - 0xc0] = { FORM_UINT, 4, 0 },
	[0xcf - 0xc0] = { FORM_UINT, 8, 0 },
	[0xd0 - 0xc0] = { FORM_INT, 1, 0 },
	[0xd1 - 0xc0] = { FORM_INT, 2, 0 },
	[0xd2 - 0xc0] = { FORM_INT, 4, 0 },
	[0xd3 - 0xc0] = { FORM_INT, 8, 0 },
	[0xd4 - 0xc0] = { FORM_FIXEXT, 0, 1 },
	[0xd5 - 0xc0] = { FORM_FIXEXT, 0, 2 },
	[0xd6 - 0xc0] = { FORM_FIXEXT, 0, 4 },
	[0xd7 - 0xc0] = { FORM_FIXEXT, 0, 8 },
	[0xd8 - 0xc0] = { FORM_FIXEXT, 0, 16 },
	[0xd9 - 0xc0] = { FORM_STR, 1, 0 },
	[0xda - 0xc0] = { FORM_STR, 2, 0 },
	[0xdb - 0xc0] = { FORM_STR, 4, 0 },
	[0xdc - 0xc0] = { FORM_ARRAY, 2, 0 },
	[0xdd - 0xc0] = { FORM_ARRAY, 4, 0 },
	[0xde - 0xc0] = { FORM_MAP, 2, 0 },
	[0xdf - 0xc0] = { FORM_MAP, 4, 0 },
};

/* @len: 0, 1, 2, 4 or 8. */
static uint64_t load_big_endian(const uint8_t *data, size_t len)
{
	uint16_t w16;
	uint32_t w32;
	uint64_t w64;

	switch (len) {
	case 0:
		return 0;
	case 1:
		return data[0];
	case 2:
		memcpy(&w16, data, 2);
		return be16toh(w16);
	case 4:
		memcpy(&w32, data, 4);
		return be32toh(w32);
	default:
		memcpy(&w64, data, 8);
		return be64toh(w64);
	}
}

static int64_t sign_extend(uint64_t v, size_t len)
{
	unsigned int shift = 64 - 8 * (unsigned int)len;

	return (int64_t)(v << shift) >> shift;
}

static double double_of_bits_32(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return (double)f;
}

static double double_of_bits_64(uint64_t bits)
{
	double f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static void item_set_uint(struct skv_msgpack_item *item, uint64_t v)
{
	if (v <= INT64_MAX) {
		item->type = SHMKV_INT;
		item->i64 = (int64_t)v;
	} else {
		item->type = SHMKV_UINT;
		item->u64 = v;
	}
}

static void item_set_int(struct skv_msgpack_item *item, int64_t v)
{
	item->type = SHMKV_INT;
	item->i64 = v;
}

/* Codes 0xc0 to 0xdf. */
static int item_read_form(const uint8_t *data, size_t len, struct skv_msgpack_item *item)
{
	const struct form *form = &forms[data[0] - 0xc0];
	uint64_t number;

	item->head_len = 1u + form->number_len;
	if (form->kind == FORM_EXT || form->kind == FORM_FIXEXT)
		item->head_len++; /* the application's type */
	if (form->kind == FORM_RESERVED || item->head_len > len)
		return -EILSEQ;
	number = load_big_endian(data + 1, form->number_len);

	switch (form->kind) {
	case FORM_NIL:
		item->type = SHMKV_NIL;
		break;
	case FORM_FALSE:
	case FORM_TRUE:
		item->type = SHMKV_BOOL;
		item->boolean = form->kind == FORM_TRUE;
		break;
	case FORM_UINT:
		item_set_uint(item, number);
		break;
	case FORM_INT:
		item_set_int(item, sign_extend(number, form->number_len));
		break;
	case FORM_FLOAT32:
		item->type = SHMKV_FLOAT;
		item->f64 = double_of_bits_32((uint32_t)number);
		break;
	case FORM_FLOAT64:
		item->type = SHMKV_FLOAT;
		item->f64 = double_of_bits_64(number);
		break;
	case FORM_STR:
		item->type = SHMKV_STR;
		item->payload_len = number;
		break;
	case FORM_BIN:
		item->type = SHMKV_BIN;
		item->payload_len = number;
		break;
	case FORM_EXT:
		item->type = SHMKV_PACKED;
		item->payload_len = number;
		break;
	case FORM_FIXEXT:
		item->type = SHMKV_PACKED;
		item->payload_len = form->fixed_len;
		break;
	case FORM_ARRAY:
		item->type = SHMKV_PACKED;
		item->n_items = number;
		break;
	case FORM_MAP:
		item->type = SHMKV_PACKED;
		item->n_items = 2 * number;
		break;
	}
	return 0;
}

int skv_msgpack_item(const uint8_t *data, size_t len, struct skv_msgpack_item *ret_item)
{
	struct skv_msgpack_item item = { .head_len = 1 };
	uint8_t code;
	int r;

	if (len == 0)
		return -EILSEQ;
	code = data[0];

	if (code <= 0x7f) {
		item_set_int(&item, code);
	} else if (code <= 0x8f) {
		item.type = SHMKV_PACKED;
		item.n_items = 2 * (code & 0x0fu);
	} else if (code <= 0x9f) {
		item.type = SHMKV_PACKED;
		item.n_items = code & 0x0fu;
	} else if (code <= 0xbf) {
		item.type = SHMKV_STR;
		item.payload_len = code & 0x1fu;
	} else if (code >= 0xe0) {
		item_set_int(&item, sign_extend(code, 1));
	} else {
		r = item_read_form(data, len, &item);
		if (r < 0)
			return r;
	}
	*ret_item = item;
	return 0;
}

/* Apart from skv_msgpack_item, because every read of text and bytes begins with it. */
size_t skv_msgpack_skip(const uint8_t *head, size_t head_len)
{
	const struct form *form;
	size_t n;

	if (head_len == 0)
		return 0;
	if (head[0] < 0xc0 || head[0] >= 0xe0)
		return head[0] >= 0x80 && head[0] <= 0x9f ? 0 : 1; /* maps and arrays: nothing */
	form = &forms[head[0] - 0xc0];
	switch (form->kind) {
	case FORM_RESERVED:
	case FORM_EXT:
	case FORM_FIXEXT:
	case FORM_ARRAY:
	case FORM_MAP:
		return 0;
	default:
		n = 1u + form->number_len;
		return n <= head_len ? n : 0;
	}
}

/* ---- whole objects --------------------------------------------------------------- */

int skv_msgpack_check(const uint8_t *data, size_t len)
{
	uint64_t pending[SHMKV_DEPTH_MAX]; /* objects still to come in each container around */
	struct skv_msgpack_item item;
	unsigned int n_open = 0;
	size_t off = 0;
	int r;

	/* Every turn consumes at least the one byte of a code. */
	do {
		r = skv_msgpack_item(data + off, len - off, &item);
		if (r < 0)
			return r;
		off += item.head_len;
		if (item.payload_len > len - off || item.n_items > len - off)
			return -EILSEQ;
		off += item.payload_len;

		if (item.n_items > 0) {
			/* This one is n_open + 1 deep, and what it holds one more. */
			if (n_open + 2 > SHMKV_DEPTH_MAX)
				return -EILSEQ;
			pending[n_open++] = item.n_items;
			continue;
		}
		/* An object is complete; its container may be too, and so on outwards. */
		while (n_open > 0 && --pending[n_open - 1] == 0)
			n_open--;
	} while (n_open > 0);

	return off == len ? 0 : -EILSEQ;
}

/* ---- writing --------------------------------------------------------------------- */

/* A code and a big-endian number of @n bytes. */
static size_t write_number(uint8_t *head, uint8_t code, uint64_t number, size_t n)
{
	size_t i;

	head[0] = code;
	for (i = 0; i < n; i++)
		head[1 + i] = (uint8_t)(number >> (8 * (n - 1 - i)));
	return 1 + n;
}

static size_t write_uint(uint8_t *head, uint64_t v)
{
	if (v <= 0x7f)
		return write_number(head, (uint8_t)v, 0, 0);
	if (v <= UINT8_MAX)
		return write_number(head, 0xcc, v, 1);
	if (v <= UINT16_MAX)
		return write_number(head, 0xcd, v, 2);
	if (v <= UINT32_MAX)
		return write_number(head, 0xce, v, 4);
	return write_number(head, 0xcf, v, 8);
}

static size_t write_int(uint8_t *head, int64_t v)
{
	if (v >= 0)
		return write_uint(head, (uint64_t)v);
	if (v >= -32)
		return write_number(head, (uint8_t)v, 0, 0);
	if (v >= INT8_MIN)
		return write_number(head, 0xd0, (uint64_t)v, 1);
	if (v >= INT16_MIN)
		return write_number(head, 0xd1, (uint64_t)v, 2);
	if (v >= INT32_MIN)
		return write_number(head, 0xd2, (uint64_t)v, 4);
	return write_number(head, 0xd3, (uint64_t)v, 8);
}

static size_t write_float(uint8_t *head, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return write_number(head, 0xcb, bits, 8);
}

static size_t write_str(uint8_t *head, size_t len)
{
	if (len <= 31)
		return write_number(head, (uint8_t)(0xa0 | len), 0, 0);
	if (len <= UINT8_MAX)
		return write_number(head, 0xd9, len, 1);
	if (len <= UINT16_MAX)
		return write_number(head, 0xda, len, 2);
	return write_number(head, 0xdb, len, 4);
}

static size_t write_bin(uint8_t *head, size_t len)
{
	if (len <= UINT8_MAX)
		return write_number(head, 0xc4, len, 1);
	if (len <= UINT16_MAX)
		return write_number(head, 0xc5, len, 2);
	return write_number(head, 0xc6, len, 4);
}

void skv_msgpack_head_like(enum shmkv_type type, size_t head_len, uint64_t len, uint8_t *head)
{
	static const uint8_t str[] = { [1] = 0xd9, [2] = 0xda, [4] = 0xdb };
	static const uint8_t bin[] = { [1] = 0xc4, [2] = 0xc5, [4] = 0xc6 };
	size_t n = head_len - 1;

	if (n == 0)
		write_number(head, (uint8_t)(0xa0 | len), 0, 0);
	else
		write_number(head, type == SHMKV_STR ? str[n] : bin[n], len, n);
}

int skv_msgpack_head(const struct shmkv_value *value, uint8_t *head, size_t *ret_len)
{
	switch (value->type) {
	case SHMKV_NIL:
		*ret_len = write_number(head, 0xc0, 0, 0);
		return 0;
	case SHMKV_BOOL:
		*ret_len = write_number(head, value->boolean ? 0xc3 : 0xc2, 0, 0);
		return 0;
	case SHMKV_INT:
		*ret_len = write_int(head, value->i64);
		return 0;
	case SHMKV_UINT:
		*ret_len = write_uint(head, value->u64);
		return 0;
	case SHMKV_FLOAT:
		*ret_len = write_float(head, value->f64);
		return 0;
	case SHMKV_STR:
	case SHMKV_BIN:
		if (value->len > UINT32_MAX)
			return -EFBIG;
		*ret_len = value->type == SHMKV_STR ? write_str(head, value->len)
						    : write_bin(head, value->len);
		return 0;
	case SHMKV_PACKED:
		*ret_len = 0;
		return 0;
	}
	return -EINVAL;
}

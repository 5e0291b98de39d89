/* SPDX-License-Identifier: MIT */
#include "base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct out *o, const void *data, size_t len)
{
	const uint8_t *p = data;
	char quad[4];
	uint32_t bits;

	while (len >= 3 && !out_stopped(o)) {
		bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		quad[0] = alphabet[bits >> 18];
		quad[1] = alphabet[bits >> 12 & 63];
		quad[2] = alphabet[bits >> 6 & 63];
		quad[3] = alphabet[bits & 63];
		out_write(o, quad, 4);
		p += 3;
		len -= 3;
	}
	if (len == 1 || len == 2) {
		bits = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);
		quad[0] = alphabet[bits >> 18];
		quad[1] = alphabet[bits >> 12 & 63];
		quad[2] = len == 2 ? alphabet[bits >> 6 & 63] : '=';
		quad[3] = '=';
		out_write(o, quad, 4);
	}
}

static int value_of(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

int base64_decode(const char *text, size_t text_len, void **ret_data, size_t *ret_len)
{
	int8_t table[256];
	size_t pad = 0, n = 0;
	uint8_t *data;

	if (text_len % 4 != 0)
		return -EINVAL;
	if (text_len > 0 && text[text_len - 1] == '=')
		pad = text[text_len - 2] == '=' ? 2 : 1;

	for (int i = 0; i < 256; i++)
		table[i] = (int8_t)value_of((char)i);
	data = malloc(text_len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;

	for (size_t i = 0; i < text_len; i += 4) {
		size_t have = i + 4 == text_len ? 4 - pad : 4;
		uint32_t bits = 0;

		for (size_t j = 0; j < 4; j++) {
			int v = j < have ? table[(uint8_t)text[i + j]] : 0;

			if (v < 0)
				goto fail;
			bits = bits << 6 | (uint32_t)v;
		}
		/* Bits behind the last byte must be zero, so that one text means one content. */
		if ((have == 3 && (bits & 0xff)) || (have == 2 && (bits & 0xffff)))
			goto fail;
		data[n++] = (uint8_t)(bits >> 16);
		if (have > 2)
			data[n++] = (uint8_t)(bits >> 8);
		if (have > 3)
			data[n++] = (uint8_t)bits;
	}
	*ret_data = data;
	*ret_len = n;
	return 0;

fail:
	free(data);
	return -EINVAL;
}

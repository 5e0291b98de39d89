/* SPDX-License-Identifier: MIT */
#include "text-escape.h"

#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

size_t utf8_next(const void *data, size_t len, uint32_t *ret_code)
{
	const uint8_t *p = data;
	uint32_t code, least;
	size_t n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80) {
		*ret_code = p[0];
		return 1;
	}

	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		n = 2;
		code = p[0] & 0x1f;
		least = 0x80;
	} else if ((p[0] & 0xf0) == 0xe0) {
		n = 3;
		code = p[0] & 0x0f;
		least = 0x800;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		n = 4;
		code = p[0] & 0x07;
		least = 0x10000;
	} else {
		return 0;
	}
	if (len < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return n;
}

bool utf8_valid(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t code;
	size_t n;

	for (; len > 0; p += n, len -= n) {
		n = utf8_next(p, len, &code);
		if (n == 0)
			return false;
	}
	return true;
}

bool text_is_unsafe(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f) ||
	       code == 0x061c || code == 0x200e || code == 0x200f || /* direction marks */
	       (code >= 0x2028 && code <= 0x202e) || /* line separators, embeddings */
	       (code >= 0x2066 && code <= 0x2069) || /* isolates */
	       code == 0xfeff;
}

unsigned int text_ascii_needed(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? 0 : TEXT_ASCII;
}

/*
 * One unit of printable text for the character at @p: its bytes in @ret_text and its
 * columns. Returns how many bytes of the input it stands for.
 */
static size_t unit_at(const uint8_t *p, size_t len, unsigned int flags, char ret_text[16],
		      size_t *ret_text_len, size_t *ret_columns)
{
	uint32_t code = 0;
	size_t n = utf8_next(p, len, &code);
	int columns = 1;

	if (n == 0) {
		*ret_text_len = (size_t)snprintf(ret_text, 16, "\\x%02x", p[0]);
		*ret_columns = *ret_text_len;
		return 1;
	}
	if (code >= 0x80 && !(flags & TEXT_ASCII))
		columns = wcwidth((wchar_t)code);

	if ((flags & TEXT_BLOCK) ? code == '\n' || code == '\t' || code == '\\' : false) {
		ret_text[0] = (char)code;
		*ret_text_len = 1;
	} else if (code == '\n') {
		*ret_text_len = (size_t)snprintf(ret_text, 16, "\\n");
		columns = 2;
	} else if (code == '\t') {
		*ret_text_len = (size_t)snprintf(ret_text, 16, "\\t");
		columns = 2;
	} else if (code == '\\') {
		*ret_text_len = (size_t)snprintf(ret_text, 16, "\\\\");
		columns = 2;
	} else if (code < 0x20 || code == 0x7f) {
		*ret_text_len = (size_t)snprintf(ret_text, 16, "\\x%02x", code);
		columns = 4;
	} else if (code >= 0x80 && ((flags & TEXT_ASCII) || text_is_unsafe(code))) {
		*ret_text_len = (size_t)snprintf(ret_text, 16,
						 code > 0xffff ? "\\U%08x" : "\\u%04x", code);
		columns = (int)*ret_text_len;
	} else {
		memcpy(ret_text, p, n);
		*ret_text_len = n;
	}
	/* What the C library cannot place (-1) is printed and counted as one column. */
	*ret_columns = columns < 0 ? 1 : (size_t)columns;
	return n;
}

void text_put(struct out *o, const void *data, size_t len, unsigned int flags)
{
	const uint8_t *p = data;
	size_t n, text_len, columns;
	char text[16];

	for (; len > 0 && !out_stopped(o); p += n, len -= n) {
		n = unit_at(p, len, flags, text, &text_len, &columns);
		out_write(o, text, text_len);
	}
}

size_t text_put_fit(struct out *o, const void *data, size_t len, bool more, size_t width,
		    unsigned int flags)
{
	const char *ellipsis = (flags & TEXT_ASCII) ? "..." : "\xe2\x80\xa6";
	size_t ellipsis_columns = (flags & TEXT_ASCII) ? 3 : 1;
	const uint8_t *p = data;
	size_t n, text_len, columns, used = 0, cut = 0, cut_used = 0;
	char text[16];

	/* First find out whether everything fits, and where to cut if it does not. */
	for (size_t at = 0; at < len; at += n) {
		n = unit_at(p + at, len - at, flags, text, &text_len, &columns);
		if (used + columns > width) {
			more = true;
			break;
		}
		used += columns;
		if (used + ellipsis_columns <= width) {
			cut = at + n;
			cut_used = used;
		}
	}
	if (!more) {
		text_put(o, data, len, flags);
		return used;
	}
	text_put(o, data, cut, flags);
	if (ellipsis_columns > width)
		return cut_used;
	out_text(o, ellipsis);
	return cut_used + ellipsis_columns;
}

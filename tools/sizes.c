/* SPDX-License-Identifier: MIT */
#include "sizes.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char units[] = "KMGT";

bool size_parse(const char *text, uint64_t *ret_bytes)
{
	uint64_t whole, scale = 1;
	double part = 0;
	char *end;
	const char *unit;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	whole = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end == '.') {
		if (!isdigit((unsigned char)end[1]))
			return false;
		part = strtod(end, &end);
	}
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		scale = (uint64_t)1 << (10 * (unit - units + 1));
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'B' || *end == 'b')
		end++;
	if (*end || (part > 0 && scale == 1))
		return false;
	if (whole > UINT64_MAX / scale || (whole == UINT64_MAX / scale && part > 0))
		return false;
	*ret_bytes = whole * scale + (uint64_t)(part * (double)scale);
	return true;
}

/* Base 16 with 0x in front, else 10: a leading zero does not mean octal here. */
static int base_of(const char *digits)
{
	return digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
}

bool int_parse(const char *text, int64_t *ret)
{
	const char *digits = text[0] == '-' || text[0] == '+' ? text + 1 : text;
	char *end;
	int64_t v;

	if (!isdigit((unsigned char)digits[0]))
		return false;
	errno = 0;
	v = strtoll(text, &end, base_of(digits));
	if (*end || errno)
		return false;
	*ret = v;
	return true;
}

bool uint_parse(const char *text, uint64_t *ret)
{
	char *end;
	uint64_t v;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	v = strtoull(text, &end, base_of(text));
	if (*end || errno)
		return false;
	*ret = v;
	return true;
}

bool float_parse(const char *text, double *ret)
{
	char *end;
	double v;

	if (text[0] == 0 || isspace((unsigned char)text[0]))
		return false;
	v = strtod(text, &end);
	if (*end)
		return false;
	/* A number too large for a double comes out as infinity; only "inf" may say that. */
	if (isinf(v) && !strpbrk(text, "iI"))
		return false;
	*ret = v;
	return true;
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void size_text(uint64_t bytes, char ret_text[24])
{
	double v = (double)bytes;
	int unit = -1;

	if (bytes < 1024) {
		snprintf(ret_text, 24, "%u B", (unsigned int)bytes);
		return;
	}
	while (v >= 1024 && unit < 3) {
		v /= 1024;
		unit++;
	}
	snprintf(ret_text, 24, "%.1f %ciB", v, units[unit]);
}

void count_text(uint64_t count, char ret_text[32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, count), n = 0;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			ret_text[n++] = ',';
		ret_text[n++] = digits[i];
	}
	ret_text[n] = 0;
}

/* SPDX-License-Identifier: MIT */
#include "durations.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmkv/expiry.h>

static const struct {
	const char *name;
	uint64_t ms;
} units[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
};

#define N_UNITS (sizeof(units) / sizeof(units[0]))

/* The digits behind the point, of one unit; false if they are not whole milliseconds. */
static bool parse_fraction(const char *digits, size_t n, uint64_t unit_ms, uint64_t *ret_ms)
{
	uint64_t part = 0, scale = 1;

	/* More digits than a day has milliseconds can only be zeros. */
	for (size_t i = 0; i < n; i++) {
		if (i >= 9) {
			if (digits[i] != '0')
				return false;
			continue;
		}
		part = part * 10 + (uint64_t)(digits[i] - '0');
		scale *= 10;
	}
	if (part * unit_ms % scale != 0)
		return false;
	*ret_ms = part * unit_ms / scale;
	return true;
}

bool duration_parse(const char *text, uint64_t *ret_ms)
{
	const char *point = NULL;
	uint64_t whole, part = 0;
	size_t n = 0;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	whole = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end == '.') {
		point = end + 1;
		n = strspn(point, "0123456789");
		if (n == 0)
			return false;
		end = end + 1 + n;
	}
	for (size_t i = 0; i < N_UNITS; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (point && !parse_fraction(point, n, units[i].ms, &part))
			return false;
		return !__builtin_mul_overflow(whole, units[i].ms, &whole) &&
		       !__builtin_add_overflow(whole, part, ret_ms);
	}
	return false;
}

bool ttl_parse(const char *text, uint64_t *ret_ttl_ms)
{
	uint64_t ms;

	if (strcmp(text, "never") == 0)
		*ret_ttl_ms = SHMKV_TTL_NEVER;
	else if (strcmp(text, "keep") == 0)
		*ret_ttl_ms = SHMKV_TTL_KEEP;
	else if (strcmp(text, "default") == 0)
		*ret_ttl_ms = SHMKV_TTL_DEFAULT;
	else if (duration_parse(text, &ms) && ms >= 1 && ms <= SHMKV_TTL_MAX)
		*ret_ttl_ms = ms;
	else
		return false;
	return true;
}

void duration_text(uint64_t ttl_ms, char ret_text[32])
{
	size_t unit = N_UNITS - 1;

	if (ttl_ms >= SHMKV_TTL_NEVER) {
		snprintf(ret_text, 32, "never");
		return;
	}
	while (unit > 0 && ttl_ms < units[unit].ms)
		unit--;
	if (unit == 0)
		snprintf(ret_text, 32, "%" PRIu64 "ms", ttl_ms);
	else
		/* Tenths, rounded down: nothing lives longer than it says. */
		snprintf(ret_text, 32, "%" PRIu64 ".%" PRIu64 "%s", ttl_ms / units[unit].ms,
			 ttl_ms % units[unit].ms * 10 / units[unit].ms, units[unit].name);
}

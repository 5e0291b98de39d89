/* SPDX-License-Identifier: MIT */
#include "stress/stress-keys.h"

#include <stdio.h>
#include <string.h>

#include "stress/stress-random.h"

static const char class_letters[KEY_CLASSES + 1] = "ospiclt";

static uint64_t clamp(uint64_t n, uint64_t max)
{
	return n < 1 ? 1 : n > max ? max : n;
}

static uint64_t others(const struct key_plan *plan)
{
	unsigned int class;
	uint64_t n = 0;

	for (class = KEY_OWNED + 1; class < KEY_CLASSES; class++)
		n += plan->n[class];
	return n;
}

void key_plan_init(struct key_plan *plan, uint64_t keys, unsigned int writers)
{
	memset(plan, 0, sizeof(*plan));
	plan->writers = writers;
	/* Few contended keys: they shall be fought for, and their tallies fit in a cache. */
	plan->n[KEY_SHARED] = clamp(keys / 16, 256);
	plan->n[KEY_PRESENCE] = clamp(keys / 16, 256);
	plan->n[KEY_INCR] = clamp(keys / 16, 64);
	plan->n[KEY_CAS] = clamp(keys / 16, 64);
	plan->n[KEY_LEASE] = clamp(keys / 16, 64);
	plan->n[KEY_TIMED] = clamp(keys / 16, (uint64_t)writers * 4);
	plan->n[KEY_OWNED] = keys - others(plan);
}

uint64_t key_plan_owned(const struct key_plan *plan, uint64_t keys)
{
	return keys > others(plan) ? keys - others(plan) : 1;
}

void stress_key_make(enum key_class class, uint64_t idx, struct stress_key *key)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t draw = stress_mix(idx * KEY_CLASSES + (uint64_t)class + 1);
	size_t pad, i;
	char *p = key->bytes;
	int shift;

	*p++ = class_letters[class];
	for (shift = 28; shift >= 0; shift -= 4)
		*p++ = hex[idx >> shift & 15];
	*p++ = ':';

	pad = draw % 25;
	if (draw >> 8 & 255)
		pad += 0;
	else if (draw >> 16 & 31)
		pad += draw >> 24 & 511; /* one key in 256 is longer than usual */
	else
		pad += 4096; /* and one in 8192 longer than a leaf */
	for (i = 0; i < pad; i++)
		p[i] = (char)('a' + ((draw >> (i & 31)) & 15));
	key->len = (size_t)(p - key->bytes) + pad;
}

bool stress_key_parse(const struct key_plan *plan, const void *bytes, size_t len,
		      enum key_class *ret_class, uint64_t *ret_idx)
{
	const char *text = bytes;
	struct stress_key key;
	const char *letter;
	uint64_t idx = 0;
	unsigned int i;
	int class;

	if (len < 10)
		return false;
	letter = memchr(class_letters, text[0], KEY_CLASSES);
	if (!letter)
		return false;
	class = (int)(letter - class_letters);
	for (i = 1; i < 9; i++) {
		if (text[i] >= '0' && text[i] <= '9')
			idx = idx << 4 | (uint64_t)(text[i] - '0');
		else if (text[i] >= 'a' && text[i] <= 'f')
			idx = idx << 4 | (uint64_t)(text[i] - 'a' + 10);
		else
			return false;
	}
	if (idx >= plan->n[class])
		return false;
	stress_key_make((enum key_class)class, idx, &key);
	if (key.len != len || memcmp(key.bytes, text, len) != 0)
		return false;
	*ret_class = (enum key_class)class;
	*ret_idx = idx;
	return true;
}

const char *key_class_name(enum key_class class)
{
	static const char *const names[KEY_CLASSES] = { "owned", "shared", "presence", "incr",
							"cas",	 "lease", "timed" };

	return (unsigned int)class < KEY_CLASSES ? names[class] : "no";
}

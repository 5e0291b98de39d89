/* SPDX-License-Identifier: MIT */
/* hamt-code-popcnt: the hot paths for x86-64 with POPCNT, BMI1 and BMI2 (2013 and later). */
#include "heap/hamt/hamt-trie.h"

#ifdef __x86_64__

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* From here on, and not for what the headers above define. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("popcnt,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("popcnt,bmi,bmi2")
#endif

#define HAMT_CODE skv_hamt_code_popcnt
#define HAMT_CODE_NAME "popcnt"
#include "heap/hamt/hamt-code.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

const struct skv_hamt_code *skv_hamt_code_best(void)
{
	if (__builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") &&
	    __builtin_cpu_supports("bmi2"))
		return &skv_hamt_code_popcnt;
	return &skv_hamt_code_plain;
}

#else

/* Elsewhere counting bits is part of the baseline. */
const struct skv_hamt_code *skv_hamt_code_best(void)
{
	return &skv_hamt_code_plain;
}

#endif

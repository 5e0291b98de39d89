/* SPDX-License-Identifier: MIT */
#include "tests/criterion-case.h"

#include <criterion/criterion.h>

#include "tests/isolate.h"

/* The table's name comes from the build. */
extern const struct skv_test SKV_TEST_TABLE[];

void skv_criterion_case(unsigned int idx)
{
	const struct skv_test *test = &SKV_TEST_TABLE[idx];
	static char note[SKV_TEST_NOTE_LEN];

	switch (skv_test_isolate(test, false, note)) {
	case SKV_TEST_PASSED:
		break;
	case SKV_TEST_SKIPPED:
		cr_skip_test("%s", note);
		break;
	case SKV_TEST_FAILED:
		cr_assert(false, "%s: %s", test->name, note);
		break;
	}
}

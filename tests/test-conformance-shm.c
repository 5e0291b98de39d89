/* SPDX-License-Identifier: MIT */
/* test-conformance-shm: the list held against the shared-memory engine. */
#include "tests/conformance.h"
#include "tests/test.h"

static const struct skv_conformance shm = {
	.prefix = "shm:conformance-",
#ifndef SKV_TINY
	/* A page per leaf of twelve slots leaves little for records: no ratio holds there. */
	.small_bytes = (uint64_t)2 << 20,
#endif
};

#define ROW_FUNCTION(id, sentence, seconds)     \
	static void run_##id(void)              \
	{                                       \
		skv_conformance_##id(&shm);     \
	}
SKV_CONFORMANCE_LIST(ROW_FUNCTION)

#define ROW(id, sentence, seconds) { "shm", sentence, run_##id, seconds },

const struct skv_test skv_tests_conformance_shm[] = {
	SKV_CONFORMANCE_LIST(ROW)
	{ 0 },
};

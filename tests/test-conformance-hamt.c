/* SPDX-License-Identifier: MIT */
/* test-conformance-hamt: the list held against the persistent trie. */
#include "tests/conformance.h"
#include "tests/test.h"

static const struct skv_conformance hamt = {
	.prefix = "heap:hamt/conformance-",
	.is_private = true,
	.small_bytes = (uint64_t)2 << 20,
};

#define ROW_FUNCTION(id, sentence, seconds)      \
	static void run_##id(void)               \
	{                                        \
		skv_conformance_##id(&hamt);     \
	}
SKV_CONFORMANCE_LIST(ROW_FUNCTION)

#define ROW(id, sentence, seconds) { "hamt", sentence, run_##id, seconds },

const struct skv_test skv_tests_conformance_hamt[] = {
	SKV_CONFORMANCE_LIST(ROW)
	{ 0 },
};

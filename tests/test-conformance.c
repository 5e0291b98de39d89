/* SPDX-License-Identifier: MIT */
/* test-conformance: the list held against the model engine, which holds the list to account. */
#include "tests/conformance.h"
#include "tests/model-engine.h"
#include "tests/test.h"

static const struct skv_conformance model = {
	.prefix = "model:conformance-",
	.prepare = skv_model_install,
	.small_bytes = (uint64_t)1 << 20,
};

#define ROW_FUNCTION(id, sentence, seconds)       \
	static void run_##id(void)                \
	{                                         \
		skv_conformance_##id(&model);     \
	}
SKV_CONFORMANCE_LIST(ROW_FUNCTION)

#define ROW(id, sentence, seconds) { "model", sentence, run_##id, seconds },

const struct skv_test skv_tests_conformance[] = {
	SKV_CONFORMANCE_LIST(ROW)
	{ 0 },
};

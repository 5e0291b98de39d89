/* SPDX-License-Identifier: MIT */
/*
 * test-conformance: the list held against the model engine, which holds the list to account;
 * once with maps that are shared by name, once with private ones, as the heap engines have.
 */
#include "api/engine-table.h"
#include "tests/conformance.h"
#include "tests/model-engine.h"
#include "tests/test.h"

#include <stdio.h>

static const struct skv_conformance model = {
	.prefix = "model:conformance-",
	.prepare = skv_model_install,
	.small_bytes = (uint64_t)1 << 20,
};

/* The label is nobody's: the map under it is made with a name of its own and loses it. */
static int private_create(const char *label, const struct shmkv_options *opts, void **ret_map)
{
	static unsigned int n;
	char name[32];
	int r;

	(void)label;
	snprintf(name, sizeof(name), "private-%u", n++);
	r = skv_engine_model.create(name, opts, ret_map);
	return r < 0 ? r : skv_engine_model.unlink(name);
}

static void private_install(void)
{
	static struct skv_engine engine;
	static const struct skv_engine *const table[] = { &engine, NULL };

	engine = skv_engine_model;
	engine.scheme = "heap:model";
	engine.is_private = true;
	engine.create = private_create;
	engine.attach = NULL;
	engine.unlink = NULL;
	engine.list = NULL;
	skv_engines_override(table);
}

static const struct skv_conformance private_model = {
	.prefix = "heap:model/conformance-",
	.is_private = true,
	.prepare = private_install,
	.small_bytes = (uint64_t)1 << 20,
};

#define ROW_FUNCTION(id, sentence, seconds)                         \
	static void run_##id(void)                                  \
	{                                                           \
		skv_conformance_##id(&model);                       \
	}                                                           \
	static void run_private_##id(void)                          \
	{                                                           \
		skv_conformance_##id(&private_model);               \
	}
SKV_CONFORMANCE_LIST(ROW_FUNCTION)

#define ROW(id, sentence, seconds) { "model", sentence, run_##id, seconds },
#define ROW_PRIVATE(id, sentence, seconds) { "private_model", sentence, run_private_##id, seconds },

const struct skv_test skv_tests_conformance[] = {
	SKV_CONFORMANCE_LIST(ROW)
	SKV_CONFORMANCE_LIST(ROW_PRIVATE)
	{ 0 },
};

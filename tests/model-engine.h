/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_MODEL_ENGINE_H
#define SKV_TESTS_MODEL_ENGINE_H

/*
 * model-engine: a map that is obviously right, for "model:NAME".
 *
 * A sorted array on the heap under one mutex. Differential tests compare other engines with
 * it, and the conformance list is held against it, so that a wrong promise in the list is
 * not blamed on an engine. Maps live in this process only; nothing is recovered because
 * nothing can be lost.
 *
 * max_bytes counts keys, values and MODEL_ENTRY_BYTES for each entry.
 */

#include "api/engine.h"

#define MODEL_ENTRY_BYTES 64u

extern const struct skv_engine skv_engine_model;

/* Make "model:..." (and nothing else) openable. */
void skv_model_install(void);

/*
 * skv_model_corrupt - put bytes under a key that no public call would store
 * @map_name: without the scheme
 *
 * For what a hostile segment may hold. Returns 0 or -ENOENT (no such map).
 */
int skv_model_corrupt(const char *map_name, const void *key, size_t key_len, const void *value,
		      size_t value_len);

#endif

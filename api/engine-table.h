/* SPDX-License-Identifier: MIT */
#ifndef SKV_API_ENGINE_TABLE_H
#define SKV_API_ENGINE_TABLE_H

/*
 * engine-table: which engines there are, and which one a map's name means.
 *
 * A name is "SCHEME:NAME"; a bare NAME means "shm:NAME". A private map, which lives and ends
 * with its handle, needs no name: "heap:ENGINE", or "heap:ENGINE/LABEL" to tell it from others.
 */

#include "api/engine.h"

/* What a bare name means. */
#define SKV_SCHEME_DEFAULT "shm"

/* All engines, ending with NULL. */
const struct skv_engine *const *skv_engines(void);

/*
 * skv_engines_override - put other engines in place of the built-in ones
 * @table: ending with NULL, borrowed until the next override; NULL for the built-in ones
 *
 * For tests; not exported. Threads: none may be inside a lifecycle call.
 */
void skv_engines_override(const struct skv_engine *const *table);

/*
 * skv_engine_of_name - split a map's name
 * @name: as the caller of a public function gave it, or NULL
 * @ret_engine: who keeps maps of that scheme
 * @ret_name: the part behind the scheme, inside @name; "" for a private map without a label
 *
 * Returns 0, -EINVAL (no name, unknown scheme, or a name that breaks the rules in shmkv.h) or
 * -EOPNOTSUPP (a scheme that exists, but not in this build).
 */
int skv_engine_of_name(const char *name, const struct skv_engine **ret_engine,
		       const char **ret_name);

#endif

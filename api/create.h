/* SPDX-License-Identifier: MIT */
#ifndef SKV_API_CREATE_H
#define SKV_API_CREATE_H

/* create: making a map in two steps, for calls that fill it before anybody can see it. */

#include "api/handle.h"

/*
 * skv_options_read - the caller's options as a structure of ours
 *
 * @opts may be NULL, or of another version of the library. Zero still means default.
 * Returns 0 or -EINVAL.
 */
int skv_options_read(const struct shmkv_options *opts, struct shmkv_options *ret_opts);

/*
 * skv_create_unnamed - as shmkv_create, but the map gets its name by skv_publish
 * @opts: a structure of ours
 *
 * Maps of private engines need no second step. Detached without a name, a map is gone.
 */
int skv_create_unnamed(const char *name, const struct shmkv_options *opts, struct shmkv **ret_kv);

/* Returns 0, -EEXIST, -EACCES, -ENOSPC, -EIO, ...; the handle stays open in any case. */
int skv_publish(struct shmkv *kv);

#endif

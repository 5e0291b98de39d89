/* SPDX-License-Identifier: MIT */
/* lifecycle: the public calls that make, open, close, remove and list maps. */
#include "api/create.h"
#include "api/engine-table.h"
#include "api/handle.h"

#include <shmkv/expiry.h>

#include <stdio.h>
#include <string.h>

#define VERSION_TEXT(major, minor, patch) VERSION_TEXT_(major, minor, patch)
#define VERSION_TEXT_(major, minor, patch) #major "." #minor "." #patch

/* No structure of ours will ever be longer: a larger size is a size that was never set. */
#define OPTIONS_SIZE_MAX 4096u

#define DEFAULT_MAX_BYTES ((uint64_t)64 << 20)
#define DEFAULT_MODE 0600u
#define DEFAULT_PROCESSES 128u
#define DEFAULT_THREADS 512u
#define SLOTS_MAX 4095u

const char *shmkv_version(void)
{
	return VERSION_TEXT(SHMKV_VERSION_MAJOR, SHMKV_VERSION_MINOR, SHMKV_VERSION_PATCH);
}

/* ---- options --------------------------------------------------------------------- */

/*
 * The caller's structure may be of another version: a shorter one says nothing about the
 * members it lacks, a longer one asks for nothing unknown as long as its surplus is zero.
 */
int skv_options_read(const struct shmkv_options *opts, struct shmkv_options *ret_opts)
{
	struct shmkv_options ours = SHMKV_OPTIONS_INIT;
	const unsigned char *bytes = (const unsigned char *)opts;
	size_t size, i;

	if (opts) {
		size = opts->size;
		if (size < sizeof(opts->size) || size > OPTIONS_SIZE_MAX)
			return -EINVAL;
		for (i = sizeof(ours); i < size; i++) {
			if (bytes[i] != 0)
				return -EINVAL;
		}
		memcpy(&ours, opts, size < sizeof(ours) ? size : sizeof(ours));
		ours.size = sizeof(ours);
	}
	*ret_opts = ours;
	return 0;
}

/* A thread costs a place of 1 KiB: an eighth of a small map is enough for them. */
static uint32_t threads_for(uint64_t max_bytes)
{
	return max_bytes / 8192 < DEFAULT_THREADS ? (uint32_t)(max_bytes / 8192) : DEFAULT_THREADS;
}

static void options_set_defaults(struct shmkv_options *opts)
{
	if (opts->max_bytes == 0)
		opts->max_bytes = DEFAULT_MAX_BYTES;
	if (opts->mode == 0)
		opts->mode = DEFAULT_MODE;
	if (opts->max_processes == 0)
		opts->max_processes = DEFAULT_PROCESSES;
	if (opts->max_threads == 0)
		opts->max_threads = threads_for(opts->max_bytes);
}

static int options_check(const struct shmkv_options *opts)
{
	if (opts->max_bytes < SHMKV_SIZE_MIN || opts->max_bytes > SHMKV_SIZE_MAX)
		return -EINVAL;
	if (opts->mode & ~0777u)
		return -EINVAL;
	if (opts->hash > SHMKV_HASH_XXH3)
		return -EINVAL;
	if (opts->evict > SHMKV_EVICT_LFU)
		return -EINVAL;
	if (opts->huge_pages > SHMKV_HUGE_EAGER)
		return -EINVAL;
	if (opts->max_processes > SLOTS_MAX || opts->max_threads > SLOTS_MAX)
		return -EINVAL;
	if (opts->default_ttl_ms > SHMKV_TTL_MAX)
		return -EINVAL;
	return 0;
}

/* ---- create, attach, detach ------------------------------------------------------ */

/* One of the two: options to create with, or flags to attach with. */
static int handle_open(const char *name, struct shmkv_options *opts, bool unnamed,
		       unsigned int flags, struct shmkv **ret_kv)
{
	const struct skv_engine *engine;
	const char *engine_name;
	struct shmkv *kv;
	int r;

	r = skv_engine_of_name(name, &engine, &engine_name);
	if (r < 0)
		return r;
	if (opts ? !engine->create || (opts->default_ttl_ms && !engine->touch) : !engine->attach)
		return -EOPNOTSUPP;
	if (opts && opts->adaptive && !engine->takes_adaptive)
		return -EOPNOTSUPP;
	if (opts && opts->hash == SHMKV_HASH_DEFAULT)
		opts->hash = engine->hash_default ? engine->hash_default : SHMKV_HASH_SIPHASH13;

	r = skv_handle_claim(&kv);
	if (r < 0)
		return r;
	/* Before the engine acts: nothing needs undoing when there is no memory for it. */
	r = skv_fork_enter(&kv->fork_serial);
	if (r < 0)
		goto fail_release;

	if (opts)
		r = engine->create(unnamed && engine->publish ? NULL : engine_name, opts, &kv->map);
	else
		r = engine->attach(engine_name, flags, &kv->map);
	if (r < 0)
		goto fail_release;

	kv->engine = engine;
	kv->read_only = (flags & SHMKV_READ_ONLY) != 0;
	snprintf(kv->name, sizeof(kv->name), "%s", engine_name);
	skv_handle_open(kv);
	*ret_kv = kv;
	return 0;

fail_release:
	skv_handle_release(kv);
	return r;
}

static int create(const char *name, const struct shmkv_options *opts, bool unnamed,
		  struct shmkv **ret_kv)
{
	struct shmkv_options ours = *opts;
	int r;

	options_set_defaults(&ours);
	r = options_check(&ours);
	if (r < 0)
		return r;
	return handle_open(name, &ours, unnamed, 0, ret_kv);
}

int shmkv_create(const char *name, const struct shmkv_options *opts, struct shmkv **ret_kv)
{
	struct shmkv_options ours;
	int r;

	if (!ret_kv)
		return -EINVAL;
	r = skv_options_read(opts, &ours);
	if (r < 0)
		return r;
	return create(name, &ours, false, ret_kv);
}

int skv_create_unnamed(const char *name, const struct shmkv_options *opts, struct shmkv **ret_kv)
{
	return create(name, opts, true, ret_kv);
}

int skv_publish(struct shmkv *kv)
{
	return kv->engine->publish ? kv->engine->publish(kv->map, kv->name) : 0;
}

int shmkv_attach(const char *name, unsigned int flags, struct shmkv **ret_kv)
{
	if (!ret_kv || (flags & ~SHMKV_READ_ONLY))
		return -EINVAL;
	return handle_open(name, NULL, false, flags, ret_kv);
}

struct shmkv *shmkv_detach(struct shmkv *kv)
{
	if (!kv || !skv_handle_close(kv))
		return NULL;

	if (skv_fork_is_same(kv->fork_serial))
		kv->engine->detach(kv->map);
	else
		kv->engine->abandon(kv->map);
	kv->map = NULL;
	skv_handle_release(kv);
	return NULL;
}

/* ---- unlink, list ---------------------------------------------------------------- */

int shmkv_unlink(const char *name)
{
	const struct skv_engine *engine;
	const char *engine_name;
	int r;

	r = skv_engine_of_name(name, &engine, &engine_name);
	if (r < 0)
		return r;
	if (!engine->unlink)
		return -EOPNOTSUPP;
	return engine->unlink(engine_name);
}

struct list_call {
	const char *scheme;
	int (*fn)(const char *name, void *arg);
	void *arg;
};

static int list_with_scheme(const char *name, void *arg)
{
	const struct list_call *call = arg;
	char full[sizeof("scheme:") + 16 + SHMKV_NAME_MAX];

	snprintf(full, sizeof(full), "%s:%s", call->scheme, name);
	return call->fn(full, call->arg);
}

/* Names come so that shmkv_attach takes them: bare where that means the same. */
int shmkv_list(int (*fn)(const char *name, void *arg), void *arg)
{
	const struct skv_engine *const *engine;
	struct list_call call = { .fn = fn, .arg = arg };
	int r;

	if (!fn)
		return -EINVAL;
	for (engine = skv_engines(); *engine; engine++) {
		if (!(*engine)->list)
			continue;
		call.scheme = (*engine)->scheme;
		if (strcmp(call.scheme, SKV_SCHEME_DEFAULT) == 0)
			r = (*engine)->list(fn, arg);
		else
			r = (*engine)->list(list_with_scheme, &call);
		if (r != 0)
			return r;
	}
	return 0;
}

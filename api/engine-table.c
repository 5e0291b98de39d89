/* SPDX-License-Identifier: MIT */
#include "api/engine-table.h"

#include <errno.h>
#include <string.h>

static const struct skv_engine *const engines_built_in[] = {
	&skv_engine_shm,
	&skv_engine_hamt,
	&skv_engine_adaptive,
	NULL,
};

/* Schemes that are spoken for, also where the table in use lacks them. */
static const char *const schemes_elsewhere[] = {
	"heap:hamt",
	NULL,
};

static const struct skv_engine *const *engines_used = engines_built_in;

const struct skv_engine *const *skv_engines(void)
{
	return engines_used;
}

void skv_engines_override(const struct skv_engine *const *table)
{
	engines_used = table ? table : engines_built_in;
}

/* Does @name begin with the whole of @scheme, and end there or go on with @next? */
static bool scheme_is(const char *name, const char *scheme, char next)
{
	size_t len = strlen(scheme);

	return strncmp(name, scheme, len) == 0 && (name[len] == next || name[len] == '\0');
}

static const struct skv_engine *engine_of(const char *name)
{
	const struct skv_engine *const *engine;

	for (engine = skv_engines(); *engine; engine++) {
		if (scheme_is(name, (*engine)->scheme, (*engine)->is_private ? '/' : ':'))
			return *engine;
	}
	return NULL;
}

static bool is_elsewhere(const char *name)
{
	const char *const *elsewhere;

	for (elsewhere = schemes_elsewhere; *elsewhere; elsewhere++) {
		if (scheme_is(name, *elsewhere, '/'))
			return true;
	}
	return false;
}

static bool name_is_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";
	size_t len = strnlen(name, SHMKV_NAME_MAX + 1);

	return len >= 1 && len <= SHMKV_NAME_MAX && name[0] != '.' && strspn(name, allowed) == len;
}

int skv_engine_of_name(const char *name, const struct skv_engine **ret_engine,
		       const char **ret_name)
{
	const struct skv_engine *engine;
	size_t scheme_len = 0;

	if (!name)
		return -EINVAL;

	if (strchr(name, ':')) {
		engine = engine_of(name);
		if (!engine)
			return is_elsewhere(name) ? -EOPNOTSUPP : -EINVAL;
		scheme_len = strlen(engine->scheme);
	} else {
		engine = engine_of(SKV_SCHEME_DEFAULT);
		if (!engine)
			return -EINVAL;
	}

	/* Only a private map may go without a name of its own. */
	name += scheme_len;
	if (*name == '\0' && engine->is_private) {
		*ret_engine = engine;
		*ret_name = name;
		return 0;
	}
	if (scheme_len > 0 && *name != '\0')
		name++;
	if (!name_is_valid(name))
		return -EINVAL;

	*ret_engine = engine;
	*ret_name = name;
	return 0;
}

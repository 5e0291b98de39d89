/* SPDX-License-Identifier: MIT */
#include "api/engine-table.h"

#include <errno.h>
#include <string.h>

static const struct skv_engine *const engines_built_in[] = {
	&skv_engine_shm,
	NULL,
};

/* Schemes that are spoken for but not in this build. */
static const char *const schemes_elsewhere[] = {
	"heap",
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

static bool scheme_is(const char *scheme, size_t scheme_len, const char *known)
{
	return strlen(known) == scheme_len && memcmp(scheme, known, scheme_len) == 0;
}

static int engine_of_scheme(const char *scheme, size_t scheme_len,
			    const struct skv_engine **ret_engine)
{
	const struct skv_engine *const *engine;
	const char *const *elsewhere;

	for (engine = skv_engines(); *engine; engine++) {
		if (scheme_is(scheme, scheme_len, (*engine)->scheme)) {
			*ret_engine = *engine;
			return 0;
		}
	}
	for (elsewhere = schemes_elsewhere; *elsewhere; elsewhere++) {
		if (scheme_is(scheme, scheme_len, *elsewhere))
			return -EOPNOTSUPP;
	}
	return -EINVAL;
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
	const char *colon;
	int r;

	if (!name)
		return -EINVAL;

	colon = strchr(name, ':');
	if (colon)
		r = engine_of_scheme(name, (size_t)(colon - name), &engine);
	else
		r = engine_of_scheme(SKV_SCHEME_DEFAULT, strlen(SKV_SCHEME_DEFAULT), &engine);
	if (r < 0)
		return r;

	if (colon)
		name = colon + 1;
	if (!name_is_valid(name))
		return -EINVAL;

	*ret_engine = engine;
	*ret_name = name;
	return 0;
}

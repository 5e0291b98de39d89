/* SPDX-License-Identifier: MIT */
/* snapshot-calls: the public calls for frozen maps. */
#include "api/handle.h"

#include <shmkv/snapshot.h>

#include <string.h>

int shmkv_snapshot(struct shmkv *kv, struct shmkv **ret_snapshot)
{
	struct shmkv *snapshot;
	int r;

	if (!ret_snapshot)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->snapshot)
		return -EOPNOTSUPP;

	r = skv_handle_claim(&snapshot);
	if (r < 0)
		return r;
	r = kv->engine->snapshot(kv->map, &snapshot->engine, &snapshot->map);
	if (r < 0) {
		skv_handle_release(snapshot);
		return r;
	}
	snapshot->fork_serial = kv->fork_serial;
	snapshot->read_only = true;
	memcpy(snapshot->name, kv->name, sizeof(snapshot->name));
	skv_handle_open(snapshot);
	*ret_snapshot = snapshot;
	return 0;
}

int shmkv_diff(struct shmkv *before, struct shmkv *after,
	       int (*fn)(const struct shmkv_difference *difference, void *arg), void *arg)
{
	int r;

	if (!fn)
		return -EINVAL;
	r = skv_handle_check(before);
	if (r == 0)
		r = skv_handle_check(after);
	if (r < 0)
		return r;
	if (!before->engine->diff || !after->engine->diff)
		return -EOPNOTSUPP;
	if (before->engine != after->engine)
		return -EINVAL;
	return before->engine->diff(before->map, after->map, fn, arg);
}

int shmkv_hamt_info(struct shmkv *kv, struct shmkv_hamt_info *info)
{
	struct shmkv_hamt_info ours = { .size = sizeof(ours) };
	size_t size;
	int r;

	if (!info || info->size < sizeof(info->size))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->shape)
		return -EOPNOTSUPP;
	r = kv->engine->shape(kv->map, &ours);
	if (r < 0)
		return r;

	/* The caller's structure may be of another version. */
	size = info->size < sizeof(ours) ? info->size : sizeof(ours);
	memcpy((char *)info + sizeof(size), (const char *)&ours + sizeof(size),
	       size - sizeof(size));
	return 0;
}

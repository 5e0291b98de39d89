/* SPDX-License-Identifier: MIT */
/* heap-calls: the public calls for what only heap engines have. */
#include "api/handle.h"
#include "api/sized.h"

#include <shmkv/heap.h>

int shmkv_adaptive_info(struct shmkv *kv, struct shmkv_adaptive_info *info)
{
	struct shmkv_adaptive_info ours = { .size = sizeof(ours) };
	int r;

	if (!info || info->size < sizeof(info->size))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->health)
		return -EOPNOTSUPP;
	r = kv->engine->health(kv->map, &ours);
	if (r < 0)
		return r;
	skv_copy_sized(info, &ours, sizeof(ours));
	return 0;
}

int shmkv_compact(struct shmkv *kv)
{
	int r = skv_handle_check_write(kv);

	if (r < 0)
		return r;
	return kv->engine->compact ? kv->engine->compact(kv->map) : -EOPNOTSUPP;
}

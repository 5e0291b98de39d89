/* SPDX-License-Identifier: MIT */
/* huge-calls: the public calls about huge pages. */
#include "api/handle.h"

#include <shmkv/huge.h>

#include <string.h>

int shmkv_huge_info(struct shmkv *kv, struct shmkv_huge *info)
{
	struct shmkv_huge ours = { .size = sizeof(ours) };
	size_t size;
	int r;

	if (!info || info->size < sizeof(info->size))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->huge_info)
		return -EOPNOTSUPP;
	r = kv->engine->huge_info(kv->map, &ours);
	if (r < 0)
		return r;
	/* The caller's structure may be older and shorter. */
	size = info->size < sizeof(ours) ? info->size : sizeof(ours);
	ours.size = info->size;
	memcpy(info, &ours, size);
	return 0;
}

int shmkv_huge_collapse(struct shmkv *kv, uint64_t budget_ns, uint64_t *ret_left)
{
	uint64_t left;
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	if (!kv->engine->huge_collapse)
		return -EOPNOTSUPP;
	r = kv->engine->huge_collapse(kv->map, budget_ns, &left);
	if (r == 0 && ret_left)
		*ret_left = left;
	return r;
}

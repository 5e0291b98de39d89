/* SPDX-License-Identifier: MIT */
/* capability-calls: what an engine's table has entries for, as bits. */
#include "api/handle.h"

#include <shmkv/capability.h>

int shmkv_capabilities(struct shmkv *kv, uint64_t *ret_bits)
{
	const struct skv_engine *engine;
	uint64_t bits = 0;
	int r;

	if (!ret_bits)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;

	engine = kv->engine;
	if (!engine->is_private && engine->attach)
		bits |= SHMKV_CAN_SHARE;
	if (engine->check)
		bits |= SHMKV_CAN_CHECK;
	if (engine->layout)
		bits |= SHMKV_CAN_LAYOUT;
	if (engine->snapshot)
		bits |= SHMKV_CAN_SNAPSHOT;
	if (engine->touch)
		bits |= SHMKV_CAN_EXPIRE;
	if (engine->view_begin)
		bits |= SHMKV_CAN_VIEW;
	if (engine->wait)
		bits |= SHMKV_CAN_WAIT;
	if (engine->health && engine->compact)
		bits |= SHMKV_CAN_ADAPT;
	if (engine->reserve)
		bits |= SHMKV_CAN_RESERVE;
	*ret_bits = bits;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * scan-calls: the public calls that walk over a map.
 *
 * A scan remembers the life of its handle. When that has ended, or in a forked child, no
 * entry comes any more, but the cursor can still be read and the scan be freed: both use
 * only memory of the scan itself (see the engines' scan_end).
 */
#include "api/handle.h"
#include "api/packed.h"

#include <stdlib.h>

struct shmkv_scan {
	struct shmkv *kv;
	uint64_t kv_state; /* of the handle's life that began the scan */
	const struct skv_engine *engine;
	void *scan; /* the engine's */
	uint64_t cursor;
};

int shmkv_scan_begin(struct shmkv *kv, uint64_t cursor, struct shmkv_scan **ret_scan)
{
	struct shmkv_scan *scan;
	int r;

	if (!ret_scan)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->scan_begin)
		return -EOPNOTSUPP;

	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return -ENOMEM;
	r = kv->engine->scan_begin(kv->map, cursor, &scan->scan);
	if (r < 0) {
		free(scan);
		return r;
	}
	scan->kv = kv;
	scan->kv_state = skv_handle_state(kv);
	scan->engine = kv->engine;
	scan->cursor = cursor;
	*ret_scan = scan;
	return 0;
}

/* A damaged entry answers -EBADMSG; the next call goes on behind it. */
static int entry_check(const struct shmkv_entry *entry)
{
	if (entry->key_len < 1 || entry->key_len > SHMKV_KEY_MAX)
		return -EBADMSG;
	return skv_msgpack_check(entry->value, entry->value_len) < 0 ? -EBADMSG : 0;
}

int shmkv_scan_next(struct shmkv_scan *scan, struct shmkv_entry *ret_entry)
{
	struct shmkv_entry entry;
	int r, checked;

	if (!ret_entry)
		return -EINVAL;
	if (!scan)
		return -EBADF;
	r = skv_handle_check(scan->kv);
	if (r < 0)
		return r;
	if (skv_handle_state(scan->kv) != scan->kv_state)
		return -EBADF;

	r = scan->engine->scan_next(scan->scan, &entry);
	scan->cursor = scan->engine->scan_cursor(scan->scan);
	if (r <= 0)
		return r;
	checked = entry_check(&entry);
	if (checked < 0)
		return checked;
	*ret_entry = entry;
	return r;
}

int shmkv_scan_ttl(const struct shmkv_scan *scan, uint64_t *ret_ms)
{
	int r;

	if (!ret_ms)
		return -EINVAL;
	if (!scan)
		return -EBADF;
	r = skv_handle_check(scan->kv);
	if (r < 0)
		return r;
	if (skv_handle_state(scan->kv) != scan->kv_state)
		return -EBADF;
	return scan->engine->scan_ttl ? scan->engine->scan_ttl(scan->scan, ret_ms) : -EOPNOTSUPP;
}

uint64_t shmkv_scan_cursor(const struct shmkv_scan *scan)
{
	return scan ? scan->cursor : UINT64_MAX;
}

struct shmkv_scan *shmkv_scan_end(struct shmkv_scan *scan)
{
	if (scan) {
		scan->engine->scan_end(scan->scan);
		free(scan);
	}
	return NULL;
}

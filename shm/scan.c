/* SPDX-License-Identifier: MIT */
#include "shm/scan.h"

#include "shm/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * One stretch is the range of one directory cell. Its keys, and values up to VALUE_INLINE,
 * are copied; each slot's version and at the end the guard are found unchanged, so the
 * stretch is a picture of one moment. Larger values are copied one at a time when their
 * entry is asked for, each true by itself; a key that has gone by then is left out.
 *
 * A stretch that keeps changing under the copy is read key by key after ATTEMPTS, so that
 * writers cannot hold a scan up for ever: the keys of one look at the slots, each value
 * when it is asked for.
 *
 * A key whose deadline has come is left out when its turn comes. It is looked up once more
 * for that: it may have been touched since its stretch was copied.
 *
 * Lock-free; writes nothing; a process that dies leaves nothing.
 */

#define VALUE_INLINE 65536u
#define ATTEMPTS 64u
#define SLOT_ATTEMPTS 1000u

/* A cursor is the prefix to go on with, shifted so that the end does not look like 0. */
#define PREFIX_END (1ull << SKV_PREFIX_BITS)

struct item {
	size_t key_at, key_len; /* in the buffer */
	size_t value_at, value_len;
	uint64_t token;
	uint64_t deadline; /* ms of the boot clock, 0 for none */
	bool has_value;
};

struct skv_scan {
	struct skv_map *map;
	uint64_t prefix;      /* of the stretch that is read next, PREFIX_END at the end */
	uint64_t current;     /* where the stretch in hand began */
	uint32_t n_items, at; /* entries in hand, and how many were given out */
	bool given;           /* any at all */
	uint64_t deadline;    /* of the entry given last */
	struct item items[SKV_LEAF_SLOTS];
	uint8_t *buf;
	size_t len, cap;
	uint8_t *large; /* the value of one entry that was too large for the buffer */
};

int skv_scan_begin(struct skv_map *map, uint64_t cursor, struct skv_scan **ret_scan)
{
	struct skv_scan *scan;

	if (cursor != UINT64_MAX && cursor > PREFIX_END)
		return -EINVAL;
	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return -ENOMEM;
	scan->map = map;
	scan->prefix = cursor == UINT64_MAX ? PREFIX_END : cursor;
	scan->current = scan->prefix;
	*ret_scan = scan;
	return 0;
}

void skv_scan_end(struct skv_scan *scan)
{
	if (!scan)
		return;
	free(scan->large);
	free(scan->buf);
	free(scan);
}

uint64_t skv_scan_cursor(const struct skv_scan *scan)
{
	uint64_t prefix = scan->at < scan->n_items ? scan->current : scan->prefix;

	return prefix >= PREFIX_END ? UINT64_MAX : prefix;
}

static int buf_room(struct skv_scan *scan, size_t len)
{
	size_t cap = scan->cap ? scan->cap : 65536;
	uint8_t *grown;

	if (scan->cap - scan->len >= len)
		return 0;
	while (cap - scan->len < len)
		cap *= 2;
	grown = realloc(scan->buf, cap);
	if (!grown)
		return -ENOMEM;
	scan->buf = grown;
	scan->cap = cap;
	return 0;
}

/* Copies what one slot names: 1 taken, 0 nothing there, or an error. */
static int take_slot(struct skv_scan *scan, struct skv_cell *slot, const struct skv_route *route,
		     bool keys_only)
{
	const struct skv_map *map = scan->map;
	struct item *item = &scan->items[scan->n_items];
	uint64_t key_len, value_len, off;
	const uint8_t *record;
	size_t need, start = scan->len;
	struct skv_cell seen;
	uint32_t i;
	int r;

	for (i = 0; i < SLOT_ATTEMPTS; i++) {
		scan->len = start;
		seen = skv_cell_read(slot);
		if (skv_slot_state(seen.w) != SKV_SLOT_LIVE)
			return 0;
		off = skv_slot_off(seen.w);
		if (!skv_index_record(map, off, &key_len, &value_len)) {
			skv_fence_acquire();
			if (skv_load_relaxed(&slot->v) != seen.v)
				continue;
			return skv_route_holds(route) ? -EBADMSG : -EAGAIN;
		}
		item->has_value = !keys_only && value_len <= VALUE_INLINE;
		need = key_len + (item->has_value ? value_len : 0);
		r = buf_room(scan, need);
		if (r < 0)
			return r;
		record = map->region.base + off;
		item->key_at = scan->len;
		item->key_len = key_len;
		item->value_at = scan->len + key_len;
		item->value_len = value_len;
		item->token = skv_block_load(map, off) >> 2;
		item->deadline = skv_deadline_of(map, seen.w, off);
		skv_copy_from_shared(scan->buf + item->key_at, record + SKV_RECORD_HEADER, key_len);
		if (item->has_value)
			skv_copy_from_shared(scan->buf + item->value_at,
					     record + skv_record_value_off(key_len), value_len);
		skv_fence_acquire();
		if (skv_load_relaxed(&slot->v) == seen.v) {
			scan->len += need;
			return 1;
		}
	}
	scan->len = start;
	return -EAGAIN;
}

/* The stretch at scan->prefix into hand. */
static int load_stretch(struct skv_scan *scan)
{
	const struct skv_map *map = scan->map;
	struct skv_place place = { scan->prefix << 12 };
	struct skv_cell first[SKV_LEAF_SLOTS];
	struct skv_route route;
	struct skv_leaf *leaf;
	uint32_t attempt, i;
	bool same;
	int r = 0;

	for (attempt = 0; attempt < 2 * ATTEMPTS; attempt++) {
		scan->n_items = 0;
		scan->at = 0;
		scan->len = 0;
		r = skv_directory_route(map, place, &route);
		if (r < 0)
			return r;
		leaf = skv_leaf_at(map, route.leaf);
		for (i = 0; i < SKV_LEAF_SLOTS; i++) {
			first[i].v = skv_load_acquire(&leaf->slots[i].v);
			r = take_slot(scan, &leaf->slots[i], &route, attempt >= ATTEMPTS);
			if (r < 0 && r != -EAGAIN)
				return r;
			if (r < 0)
				break;
			scan->n_items += (uint32_t)r;
		}
		if (r < 0)
			continue;
		/* One moment: no slot changed from before the first copy to after the last. */
		skv_fence_acquire();
		same = true;
		for (i = 0; i < SKV_LEAF_SLOTS && same && attempt < ATTEMPTS; i++)
			same = skv_load_relaxed(&leaf->slots[i].v) == first[i].v;
		skv_fence_acquire();
		if (same && skv_route_holds(&route)) {
			scan->current = scan->prefix;
			scan->prefix = ((uint64_t)route.idx + 1) << (SKV_PREFIX_BITS - route.depth);
			return 0;
		}
	}
	return -EAGAIN;
}

/* The value of an entry that was not copied with its stretch: 1, 0 when the key is gone. */
static int load_value(struct skv_scan *scan, const struct item *item, struct shmkv_entry *ret_entry,
		      uint64_t *ret_deadline)
{
	const struct skv_key key = { scan->buf + item->key_at, item->key_len };
	size_t cap = item->value_len ? item->value_len : 1;
	struct skv_sink sink;
	uint8_t *grown;
	int r;

	/* Ends: each turn the value has grown, and it cannot outgrow the segment. */
	for (;;) {
		grown = realloc(scan->large, cap);
		if (!grown)
			return -ENOMEM;
		scan->large = grown;
		memset(&sink, 0, sizeof(sink));
		sink.buf = grown;
		sink.cap = cap;
		r = skv_index_get(scan->map, &key, SKV_PATIENCE, &sink);
		if (r == -ENOENT)
			return 0;
		if (r != -ENOBUFS)
			break;
		cap = sink.value_len;
	}
	if (r < 0)
		return r;
	ret_entry->value = scan->large;
	ret_entry->value_len = sink.value_len;
	ret_entry->token = sink.token;
	*ret_deadline = sink.deadline;
	return 1;
}

/* Expired since it was copied, or before; or touched meanwhile. */
static bool must_look_again(const struct item *item)
{
	return !item->has_value || (item->deadline && skv_clock_boot_ms() >= item->deadline);
}

int skv_scan_ttl(const struct skv_scan *scan, uint64_t *ret_ms)
{
	return scan->given ? skv_expiry_remaining(scan->deadline, ret_ms) : -ENOENT;
}

int skv_scan_next(struct skv_scan *scan, struct shmkv_entry *ret_entry)
{
	const struct item *item;
	uint64_t deadline;
	int r;

	for (;;) {
		while (scan->at < scan->n_items) {
			item = &scan->items[scan->at];
			ret_entry->key = scan->buf + item->key_at;
			ret_entry->key_len = item->key_len;
			ret_entry->value = scan->buf + item->value_at;
			ret_entry->value_len = item->value_len;
			ret_entry->token = item->token;
			deadline = item->deadline;
			r = must_look_again(item) ? load_value(scan, item, ret_entry, &deadline) : 1;
			if (r < 0)
				return r;
			scan->at++;
			if (r == 0)
				continue;
			scan->given = true;
			scan->deadline = deadline;
			return 1;
		}
		if (scan->prefix >= PREFIX_END)
			return 0;
		r = load_stretch(scan);
		if (r < 0) {
			scan->n_items = 0;
			scan->at = 0;
			return r;
		}
	}
}

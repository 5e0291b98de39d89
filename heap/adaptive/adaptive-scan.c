/* SPDX-License-Identifier: MIT */
/*
 * adaptive-scan: walks over an adaptive map in the order of hashes, stretch by stretch.
 *
 * A stretch is a range of hashes that holds some dozens of entries. Its records are gathered
 * in one read section from all tables, first to last, without a lock; both kinds of tables
 * keep their entries in the order of hashes, so a stretch lies together in each. Then keys and
 * values are copied, and the scan holds nothing of the map between two calls.
 *
 * EXACTLY ONCE. A key has one hash, so it belongs to one stretch, whatever table it is in. Within
 * a stretch a key that is there all the time is gathered at least once, because each table
 * finds what is in it during the whole walk and a key on the move is in a later table before it
 * leaves the earlier one. It may be gathered twice, moved or with a new value; the gathered are
 * sorted by hash, and of those with the same key one is kept.
 *
 * The cursor is the lowest hash of the stretch that is being returned. No hash is UINT64_MAX
 * (skv_heap_hash), which is the end.
 */
#include "heap/adaptive/adaptive.h"

#include <errno.h>
#include <stdlib.h>

/* Entries that a stretch is meant to hold. */
#define STRETCH_ENTRIES 64u
/* Bytes after which a stretch is cut, between two hashes. */
#define STRETCH_BYTES ((size_t)1 << 20)

struct scan_entry {
	size_t off; /* in the buffer: key, then value */
	size_t key_len, value_len;
	uint64_t token;
};

struct scan {
	struct skv_adaptive *map;
	uint64_t cursor; /* of the stretch below */
	uint64_t next_cursor;
	struct scan_entry *entries;
	size_t n, cap, at;
	uint8_t *buf;
	size_t buf_cap;
};

void skv_gather_add(struct skv_gather *gather, const struct skv_record *record)
{
	uint64_t hash = skv_record_hash(gather->heap, record);
	struct skv_gathered *grown;
	size_t cap;

	if (hash < gather->lo || hash > gather->hi || gather->failed)
		return;
	if (gather->n == gather->cap) {
		cap = gather->cap ? 2 * gather->cap : 2 * STRETCH_ENTRIES;
		grown = realloc(gather->items, cap * sizeof(*grown));
		if (!grown) {
			gather->failed = true;
			return;
		}
		gather->items = grown;
		gather->cap = cap;
	}
	gather->items[gather->n++] = (struct skv_gathered){ .hash = hash, .record = record };
}

static int compare(const void *a, const void *b)
{
	const struct skv_gathered *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* The upper end of a stretch that begins at @lo. */
static uint64_t stretch_end(const struct skv_adaptive *map, uint64_t lo)
{
	uint64_t count = skv_load_relaxed(&map->heap.count), width;

	if (count <= STRETCH_ENTRIES)
		return UINT64_MAX;
	width = UINT64_MAX / count * STRETCH_ENTRIES;
	return lo > UINT64_MAX - width ? UINT64_MAX : lo + width;
}

static bool is_gathered_before(const struct skv_gather *gather, size_t first, size_t i)
{
	const struct skv_record *record = gather->items[i].record;
	const struct skv_key key = { .data = record->bytes, .len = skv_record_key_len(record) };
	size_t j;

	for (j = first; j < i; j++) {
		if (skv_record_has_key(gather->items[j].record, &key))
			return true;
	}
	return false;
}

/*
 * How many of the gathered go into the stretch, and how many bytes they have. All of one hash
 * go together. What was gathered twice is taken out.
 */
static size_t choose(struct skv_gather *gather, size_t *ret_n, uint64_t *ret_end)
{
	size_t i, same = 0, n = 0, bytes = 0;
	const struct skv_record *record;

	qsort(gather->items, gather->n, sizeof(*gather->items), compare);
	*ret_end = gather->hi;
	for (i = 0; i < gather->n; i++) {
		if (n > 0 && gather->items[i].hash != gather->items[n - 1].hash) {
			if (bytes >= STRETCH_BYTES) {
				*ret_end = gather->items[i].hash - 1;
				break;
			}
			same = n;
		}
		/* Those kept lie at the front; the one in hand goes behind them if it is new. */
		gather->items[n] = gather->items[i];
		if (is_gathered_before(gather, same, n))
			continue;
		record = gather->items[n++].record;
		bytes += skv_record_key_len(record) + record->value_len;
	}
	*ret_n = n;
	return bytes;
}

static int reserve(struct scan *scan, size_t n, size_t bytes)
{
	struct scan_entry *entries;
	uint8_t *buf;

	if (n > scan->cap) {
		entries = realloc(scan->entries, n * sizeof(*entries));
		if (!entries)
			return -ENOMEM;
		scan->entries = entries;
		scan->cap = n;
	}
	/* What was large once is not kept. */
	if (bytes > scan->buf_cap || scan->buf_cap > 4 * STRETCH_BYTES) {
		buf = malloc(bytes > 4096 ? bytes : 4096);
		if (!buf)
			return -ENOMEM;
		free(scan->buf);
		scan->buf = buf;
		scan->buf_cap = bytes > 4096 ? bytes : 4096;
	}
	return 0;
}

static void copy_out(struct scan *scan, const struct skv_gather *gather, size_t n)
{
	const struct skv_record *record;
	size_t i, off = 0;

	for (i = 0; i < n; i++) {
		record = gather->items[i].record;
		scan->entries[i] = (struct scan_entry){
			.off = off,
			.key_len = skv_record_key_len(record),
			.value_len = record->value_len,
			.token = record->token,
		};
		/* Key and value lie one behind the other. */
		memcpy(scan->buf + off, record->bytes,
		       scan->entries[i].key_len + scan->entries[i].value_len);
		off += scan->entries[i].key_len + scan->entries[i].value_len;
	}
}

/* The stretch that begins at @lo. */
static int load_stretch(struct scan *scan, uint64_t lo)
{
	struct skv_gather gather = { .heap = &scan->map->heap, .lo = lo };
	const struct skv_table *table;
	size_t n = 0, bytes;
	uint64_t end = 0;
	bool entered;
	int r;

	gather.hi = stretch_end(scan->map, lo);
	entered = skv_rcu_enter();
	for (table = skv_rcu_load(&scan->map->first); table; table = skv_table_next(table)) {
		if (table->kind == SKV_TABLE_ROBIN)
			skv_robin_gather((const struct skv_robin *)table, &gather);
		else
			skv_chain_gather((const struct skv_chain *)table, &gather);
	}
	r = gather.failed ? -ENOMEM : 0;
	if (r == 0 && gather.n > 0) {
		bytes = choose(&gather, &n, &end);
		r = reserve(scan, n, bytes);
		if (r == 0)
			copy_out(scan, &gather, n);
	} else {
		end = gather.hi;
	}
	skv_rcu_leave(entered);
	free(gather.items);
	if (r < 0)
		return r;

	scan->n = n;
	scan->at = 0;
	scan->cursor = lo;
	scan->next_cursor = end == UINT64_MAX ? UINT64_MAX : end + 1;
	return 0;
}

/* ---- the engine's calls ---------------------------------------------------------- */

int skv_adaptive_scan_begin(void *map, uint64_t cursor, void **ret_scan)
{
	struct scan *scan;

	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return -ENOMEM;
	scan->map = map;
	scan->cursor = cursor;
	scan->next_cursor = cursor;
	*ret_scan = scan;
	return 0;
}

int skv_adaptive_scan_next(void *arg, struct shmkv_entry *ret_entry)
{
	struct scan *scan = arg;
	const struct scan_entry *entry;
	int r;

	while (scan->at == scan->n) {
		if (scan->next_cursor == UINT64_MAX) {
			scan->cursor = UINT64_MAX;
			return 0;
		}
		r = load_stretch(scan, scan->next_cursor);
		if (r < 0)
			return r;
	}
	entry = &scan->entries[scan->at++];
	*ret_entry = (struct shmkv_entry){
		.key = scan->buf + entry->off,
		.key_len = entry->key_len,
		.value = scan->buf + entry->off + entry->key_len,
		.value_len = entry->value_len,
		.token = entry->token,
	};
	/* All of the stretch has been given: whoever takes over begins behind it. */
	if (scan->at == scan->n)
		scan->cursor = scan->next_cursor;
	return 1;
}

uint64_t skv_adaptive_scan_cursor(const void *arg)
{
	const struct scan *scan = arg;

	return scan->cursor;
}

/* Touches only the scan: the map may be gone. */
void skv_adaptive_scan_end(void *arg)
{
	struct scan *scan = arg;

	free(scan->entries);
	free(scan->buf);
	free(scan);
}

/* SPDX-License-Identifier: MIT */
/*
 * maps-ck: Concurrency Kit's hash set, which one thread writes while any number read. It leaves
 * hashing and memory to its user: here XXH3 and malloc, and free at once, since nobody else reads.
 */
#include "bench/maps.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <ck_hs.h>

/* Also, without the bytes, what is looked for. */
struct entry {
	const char *key;
	uint32_t key_len, value_len;
	char bytes[]; /* key, value */
};

static unsigned long hash_of(const void *arg, unsigned long seed)
{
	const struct entry *entry = arg;

	return XXH3_64bits_withSeed(entry->key, entry->key_len, seed);
}

static bool is_same(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->key_len == y->key_len && memcmp(x->key, y->key, x->key_len) == 0;
}

static void *ck_allocate(size_t bytes)
{
	return malloc(bytes);
}

static void ck_release(void *memory, size_t bytes, bool later)
{
	(void)bytes;
	(void)later;
	free(memory);
}

static struct ck_malloc allocator = { .malloc = ck_allocate, .free = ck_release };

static void *make(uint64_t n)
{
	ck_hs_t *map = malloc(sizeof(*map));

	(void)n;
	if (!map || !ck_hs_init(map, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT | CK_HS_MODE_DELETE, hash_of,
				is_same, &allocator, 64, 1))
		abort();
	return map;
}

static void end(void *arg)
{
	ck_hs_iterator_t iterator = CK_HS_ITERATOR_INITIALIZER;
	ck_hs_t *map = arg;
	void *entry;

	while (ck_hs_next(map, &iterator, &entry))
		free(entry);
	ck_hs_destroy(map);
	free(map);
}

static inline bool put_one(ck_hs_t *map, const struct maps_item *item)
{
	struct entry *entry = malloc(sizeof(*entry) + item->key_len + item->value_len);
	void *old;

	if (!entry)
		abort();
	memcpy(entry->bytes, item->key, item->key_len);
	memcpy(entry->bytes + item->key_len, item->value, item->value_len);
	entry->key = entry->bytes;
	entry->key_len = item->key_len;
	entry->value_len = item->value_len;
	if (!ck_hs_set(map, CK_HS_HASH(map, hash_of, entry), entry, &old))
		abort();
	free(old);
	return true;
}

static inline const struct entry *find(ck_hs_t *map, const struct maps_item *item)
{
	const struct entry wanted = { .key = item->key, .key_len = item->key_len };

	return ck_hs_get(map, CK_HS_HASH(map, hash_of, &wanted), &wanted);
}

static inline bool get_one(ck_hs_t *map, const struct maps_item *item, char *copy, size_t *ret_len)
{
	const struct entry *entry = find(map, item);

	if (!entry)
		return false;
	*ret_len = entry->value_len;
	memcpy(copy, entry->bytes + entry->key_len, entry->value_len);
	return true;
}

static inline bool contains_one(ck_hs_t *map, const struct maps_item *item)
{
	return find(map, item) != NULL;
}

static inline bool del_one(ck_hs_t *map, const struct maps_item *item)
{
	const struct entry wanted = { .key = item->key, .key_len = item->key_len };
	void *entry = ck_hs_remove(map, CK_HS_HASH(map, hash_of, &wanted), &wanted);

	free(entry);
	return entry != NULL;
}

#define MAPS_LOOP_MAP ck_hs_t
#include "bench/maps-loop.h"

const struct maps_method maps_ck = { .name = "ck_hs", .make = make, .end = end, MAPS_LOOPS };

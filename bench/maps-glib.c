/* SPDX-License-Identifier: MIT */
/* maps-glib: GHashTable with keys and values of its own, as g_hash_table_new_full is made for. */
#include "bench/maps.h"

#include <glib.h>
#include <string.h>

static void *make(uint64_t n)
{
	(void)n;
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static void end(void *map)
{
	g_hash_table_destroy(map);
}

static char *copy_of(const char *text, size_t len)
{
	char *copy = g_malloc(len + 1);

	memcpy(copy, text, len + 1);
	return copy;
}

static inline bool put_one(GHashTable *map, const struct maps_item *item)
{
	g_hash_table_insert(map, copy_of(item->key, item->key_len),
			    copy_of(item->value, item->value_len));
	return true;
}

static inline bool get_one(GHashTable *map, const struct maps_item *item, char *copy,
			   size_t *ret_len)
{
	const char *value = g_hash_table_lookup(map, item->key);

	if (!value)
		return false;
	*ret_len = strlen(value);
	memcpy(copy, value, *ret_len);
	return true;
}

static inline bool contains_one(GHashTable *map, const struct maps_item *item)
{
	return g_hash_table_contains(map, item->key);
}

static inline bool del_one(GHashTable *map, const struct maps_item *item)
{
	return g_hash_table_remove(map, item->key);
}

#define MAPS_LOOP_MAP GHashTable
#include "bench/maps-loop.h"

const struct maps_method maps_glib = { .name = "glib", .make = make, .end = end, MAPS_LOOPS };

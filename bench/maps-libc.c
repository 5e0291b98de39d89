/* SPDX-License-Identifier: MIT */
/*
 * maps-libc: hsearch(3), which cannot grow and from which nothing can be deleted, and
 * tsearch(3), a tree. Keys and values are copied with malloc.
 */
#include "bench/maps.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct pair {
	char *value;
	size_t value_len;
	char key[];
};

static void no_memory(void)
{
	abort();
}

static char *copy_of(const struct maps_item *item)
{
	char *copy = malloc(item->value_len + 1);

	if (!copy)
		no_memory();
	return memcpy(copy, item->value, item->value_len + 1);
}

static struct pair *pair_new(const struct maps_item *item)
{
	struct pair *pair = malloc(sizeof(*pair) + item->key_len + 1);

	if (!pair)
		no_memory();
	memcpy(pair->key, item->key, item->key_len + 1);
	pair->value = copy_of(item);
	pair->value_len = item->value_len;
	return pair;
}

static void pair_update(struct pair *pair, const struct maps_item *item)
{
	free(pair->value);
	pair->value = copy_of(item);
	pair->value_len = item->value_len;
}

static void pair_read(const struct pair *pair, char *copy, size_t *ret_len)
{
	*ret_len = pair->value_len;
	memcpy(copy, pair->value, pair->value_len);
}

/* ---- hsearch --------------------------------------------------------------------- */

struct hsearch_map {
	struct hsearch_data table;
	struct pair **pairs; /* hdestroy does not free them */
	uint64_t n;
};

static void *hsearch_make(uint64_t n)
{
	struct hsearch_map *map = calloc(1, sizeof(*map));

	/* A quarter more than it will hold, as its manual asks for; twice for mixed work. */
	if (map)
		map->pairs = malloc(2 * n * sizeof(struct pair *));
	if (!map || !map->pairs || !hcreate_r(2 * n + n / 2, &map->table))
		no_memory();
	return map;
}

static void hsearch_end(void *arg)
{
	struct hsearch_map *map = arg;
	uint64_t i;

	for (i = 0; i < map->n; i++) {
		free(map->pairs[i]->value);
		free(map->pairs[i]);
	}
	hdestroy_r(&map->table);
	free(map->pairs);
	free(map);
}

static struct pair *hsearch_find(struct hsearch_map *map, const struct maps_item *item)
{
	/* A key to look for is not written to. */
	ENTRY entry = { .key = (char *)(uintptr_t)item->key }, *found;

	return hsearch_r(entry, FIND, &found, &map->table) ? found->data : NULL;
}

static uint64_t hsearch_insert(void *arg, const struct maps_batch *batch)
{
	struct hsearch_map *map = arg;
	ENTRY entry, *found;
	struct pair *pair;
	uint64_t i;

	for (i = 0; i < batch->n; i++) {
		pair = pair_new(&batch->items[i]);
		entry = (ENTRY){ .key = pair->key, .data = pair };
		if (!hsearch_r(entry, ENTER, &found, &map->table))
			no_memory();
		map->pairs[map->n++] = pair;
	}
	return batch->n;
}

static uint64_t hsearch_update(void *arg, const struct maps_batch *batch)
{
	struct pair *pair;
	uint64_t i, done = 0;

	for (i = 0; i < batch->n; i++) {
		pair = hsearch_find(arg, &batch->items[i]);
		if (pair)
			pair_update(pair, &batch->items[i]);
		done += pair != NULL;
	}
	return done;
}

static uint64_t hsearch_get(void *arg, const struct maps_batch *batch)
{
	char copy[MAPS_VALUE_MAX];
	struct pair *pair;
	uint64_t i, found = 0;
	size_t len;

	for (i = 0; i < batch->n; i++) {
		pair = hsearch_find(arg, &batch->items[i]);
		if (!pair)
			continue;
		pair_read(pair, copy, &len);
		found += maps_is_value(&batch->items[i], copy, len);
	}
	return found;
}

static uint64_t hsearch_contains(void *arg, const struct maps_batch *batch)
{
	uint64_t i, found = 0;

	for (i = 0; i < batch->n; i++)
		found += hsearch_find(arg, &batch->items[i]) != NULL;
	return found;
}

const struct maps_method maps_hsearch = {
	.name = "hsearch", .make = hsearch_make, .end = hsearch_end, .insert = hsearch_insert,
	.update = hsearch_update, .get = hsearch_get, .contains = hsearch_contains,
};

/* ---- tsearch --------------------------------------------------------------------- */

struct tree {
	void *root;
};

/* What is looked for looks like a pair, but for its key: see tree_find. */
struct wanted {
	const char *key;
};

static int compare_pairs(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static int compare_wanted(const void *a, const void *b)
{
	return strcmp(((const struct wanted *)a)->key, ((const struct pair *)b)->key);
}

static void pair_free(void *arg)
{
	struct pair *pair = arg;

	free(pair->value);
	free(pair);
}

static void *tree_make(uint64_t n)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	(void)n;
	if (!tree)
		no_memory();
	return tree;
}

static void tree_end(void *arg)
{
	struct tree *tree = arg;

	tdestroy(tree->root, pair_free);
	free(tree);
}

static inline struct pair *tree_find(struct tree *tree, const struct maps_item *item)
{
	const struct wanted wanted = { item->key };
	struct pair **found = tfind(&wanted, &tree->root, compare_wanted);

	return found ? *found : NULL;
}

static inline bool put_one(struct tree *tree, const struct maps_item *item)
{
	struct pair *pair = pair_new(item), **found;

	found = tsearch(pair, &tree->root, compare_pairs);
	if (!found)
		no_memory();
	if (*found != pair) {
		pair_update(*found, item);
		pair_free(pair);
	}
	return true;
}

static inline bool get_one(struct tree *tree, const struct maps_item *item, char *copy,
			   size_t *ret_len)
{
	struct pair *pair = tree_find(tree, item);

	if (!pair)
		return false;
	pair_read(pair, copy, ret_len);
	return true;
}

static inline bool contains_one(struct tree *tree, const struct maps_item *item)
{
	return tree_find(tree, item) != NULL;
}

static inline bool del_one(struct tree *tree, const struct maps_item *item)
{
	const struct wanted wanted = { item->key };
	struct pair *pair = tree_find(tree, item);

	if (!pair)
		return false;
	tdelete(&wanted, &tree->root, compare_wanted);
	pair_free(pair);
	return true;
}

#define MAPS_LOOP_MAP struct tree
#include "bench/maps-loop.h"

static uint64_t tree_update(void *arg, const struct maps_batch *batch)
{
	struct pair *pair;
	uint64_t i, done = 0;

	for (i = 0; i < batch->n; i++) {
		pair = tree_find(arg, &batch->items[i]);
		if (pair)
			pair_update(pair, &batch->items[i]);
		done += pair != NULL;
	}
	return done;
}

const struct maps_method maps_tsearch = {
	.name = "tsearch", .make = tree_make, .end = tree_end, .insert = put_all,
	.update = tree_update, .get = get_all, .contains = contains_all, .remove = del_all,
	.mixed = mixed_all,
};

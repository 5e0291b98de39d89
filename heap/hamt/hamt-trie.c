/* SPDX-License-Identifier: MIT */
/*
 * hamt-trie: a persistent trie with a mutable head.
 *
 * After Bagwell's hash array mapped trie (2001), with the canonical form of Steindorfer and
 * Vinju's CHAMP (2015) and the birth times of ZFS (2005) instead of reference counts: copying
 * a node touches no child of it, and a snapshot costs nothing until something is changed.
 *
 * Ownership. Everything made carries the stamp of its moment. Freezing the head makes a
 * version with the stamp of that moment; what is stamped above the newest version belongs to
 * the head alone, everything else is shared and never changes again. A change
 *
 *   - makes at most one new node below, and then stores one slot in a node of the head's own,
 *     or rearranges such a node where it is, if no other thread can be reading the head;
 *   - if the node of that slot is shared, copies it, and so on up to the first that is not.
 *
 *   version 7        head                           after put(x), stamp 8
 *       │             │
 *       ▼             ▼
 *      A(3) ◄──── shares all                 head ─► A'(8) ─► B'(8) ─► x(8)
 *      ├── B(5)                                       └─► C(2), shared with version 7
 *      └── C(2)                              dead list of version 7: A(3), B(5)
 *
 * So while no version is alive writes are in place ("transient") but for the one node that has no
 * room for a slot, and the first write to a path after a snapshot pays for copying it.
 *
 * Death. What the head loses was born at b and is needed by the versions from b on. It goes to
 * the dead list of the newest version if that one has it, otherwise nobody needs it. When a
 * version ends, what on its list is stamped above the next older version is freed, the rest
 * moves to that one's list. Each object stands in the head or exactly once on a list, and no
 * version ever walks its tree.
 *
 * Readers of the head take no lock. They load the root and one slot in each node:
 *
 *   pair                           what it carries
 *   [slot.store] -> [slot.load]    a node, bunch or item before the way to it
 *
 * While other threads may read, a published node or bunch changes in single slots only (and in
 * nodemap, which readers do not look at); map never changes. Each store leads from one tree that
 * is right to another, and so
 * does the path of a reader that is overtaken: what it left behind is still the tree of before.
 * Linearization points: a change at its one store, a look-up at the load of the slot where it
 * ended, or, if that slot had been unlinked above it, at the moment of that. What the head lost
 * and no version needs is freed after a grace period (heap/heap.h).
 *
 * Progress: readers wait-free, at most 14 slots. Writers: the owner lets in one at a time.
 * Wrap-around: stamps have 64 bits, one for each change.
 */
#include "heap/hamt/hamt-trie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIST_FIRST 32u

/* Words looked ahead at on a list, so that their cache misses overlap. */
#define LOOK_AHEAD 8u

/* ---- lists ----------------------------------------------------------------------- */

int skv_hamt_list_grow(struct skv_hamt_list *list, const uint64_t *first, size_t n)
{
	size_t cap = list->cap < LIST_FIRST ? LIST_FIRST : list->cap;
	uint64_t *words;

	while (cap - list->n < n) {
		if (cap > SIZE_MAX / (4 * sizeof(*words)))
			return -ENOMEM;
		cap *= 2;
	}
	words = realloc(list->words == first ? NULL : list->words, cap * sizeof(*words));
	if (!words)
		return -ENOMEM;
	if (list->n > 0 && list->words == first)
		memcpy(words, first, list->n * sizeof(*words));
	list->words = words;
	list->cap = cap;
	return 0;
}

/* ---- life ------------------------------------------------------------------------ */

void skv_hamt_init(struct skv_hamt *t, const struct skv_hamt_kind *kind, struct skv_pool *from,
		   struct skv_heap *heap)
{
	memset(t, 0, sizeof(*t));
	skv_hamt_pool_init(&t->pool, from);
	t->kind = kind;
	t->code = skv_hamt_code_best();
	t->heap = heap;
	t->stamp = 1;
}

static void version_free_list(struct skv_hamt_version *version)
{
	if (version->dead.words != version->dead_first)
		free(version->dead.words);
}

void skv_hamt_deinit(struct skv_hamt *t)
{
	struct skv_hamt_version *version;

	for (version = t->newest; version; version = version->older)
		version_free_list(version);
	free(t->whole.words);
	skv_hamt_pool_deinit(&t->pool);
	memset(t, 0, sizeof(*t));
}

void skv_hamt_trim(struct skv_hamt *t)
{
	skv_hamt_pool_trim(&t->pool);
}

void skv_hamt_free_retired(struct skv_hamt *t, void *memory, size_t bytes)
{
	skv_hamt_pool_free(&t->pool, memory, bytes);
}

/* ---- clear ----------------------------------------------------------------------- */

static size_t slots_of(uint64_t slot)
{
	const struct skv_hamt_node *node = skv_hamt_node_of(slot);

	if (skv_hamt_is_item(slot))
		return 0;
	return skv_hamt_kind(slot) == SKV_HAMT_BUNCH ? node->map :
						       (size_t)__builtin_popcount(node->map);
}

/* Neither the head nor a version leads to it any more. */
static void object_retire(struct skv_hamt *t, uint64_t slot)
{
	size_t bytes;

	if (skv_hamt_is_item(slot)) {
		t->n_items--;
		t->kind->retire(t, skv_hamt_item_of(slot));
		return;
	}
	bytes = skv_hamt_node_size(slots_of(slot));
	if (t->heap)
		skv_heap_retire_other(t->heap, skv_hamt_node_of(slot), bytes);
	else
		skv_hamt_pool_free(&t->pool, skv_hamt_node_of(slot), bytes);
}

/* What versions share of a tree. */
static size_t count_shared(const struct skv_hamt *t, uint64_t slot)
{
	size_t i, n = slots_of(slot), shared = 0;

	if (skv_hamt_stamp_of(slot) <= t->limit)
		return 1;
	for (i = 0; i < n; i++)
		shared += count_shared(t, skv_hamt_node_of(slot)->slots[i]);
	return shared;
}

/* Frees what the head alone had of a tree that was its own; the rest goes to the dead. */
static void retire_whole(struct skv_hamt *t, uint64_t slot)
{
	size_t i, n = slots_of(slot);

	if (skv_hamt_stamp_of(slot) <= t->limit) {
		skv_hamt_list_push(&t->newest->dead, slot | SKV_HAMT_WHOLE);
		return;
	}
	for (i = 0; i < n; i++)
		retire_whole(t, skv_hamt_node_of(slot)->slots[i]);
	object_retire(t, slot);
}

int skv_hamt_clear(struct skv_hamt *t)
{
	uint64_t root = t->root;
	int r;

	if (root == 0)
		return 0;
	if (t->newest)
		r = skv_hamt_dead_reserve(t->newest, count_shared(t, root));
	else
		r = skv_hamt_list_reserve(&t->whole, NULL, 1);
	if (r < 0)
		return r;

	/* [slot.store] */
	skv_hamt_slot_store(&t->root, 0);
	__atomic_store_n(&t->count, 0, __ATOMIC_RELAXED);
	if (t->newest)
		retire_whole(t, root);
	else
		skv_hamt_list_push(&t->whole, root);
	return 0;
}

/* ---- versions -------------------------------------------------------------------- */

int skv_hamt_freeze(struct skv_hamt *t, struct skv_hamt_version **ret_version)
{
	struct skv_hamt_version *version;

	version = skv_hamt_pool_alloc(&t->pool, sizeof(*version));
	if (!version)
		return t->pool.from->error;
	version->root = t->root;
	version->count = t->count;
	version->stamp = t->stamp++;
	version->older = t->newest;
	version->newer = NULL;
	version->is_left = false;
	version->dead = (struct skv_hamt_list){ version->dead_first, 0, SKV_HAMT_RETIRED_MAX };
	if (t->newest)
		t->newest->newer = version;
	t->newest = version;
	t->limit = version->stamp;
	*ret_version = version;
	return 0;
}

static void version_end(struct skv_hamt *t, struct skv_hamt_version *version)
{
	if (version->older)
		version->older->newer = version->newer;
	if (version->newer)
		version->newer->older = version->older;
	else
		t->newest = version->older;
	t->limit = t->newest ? t->newest->stamp : 0;
	version_free_list(version);
	skv_hamt_pool_free(&t->pool, version, sizeof(*version));
}

/* The last word of the list of a version that ends; false if there was no memory. */
static bool settle_word(struct skv_hamt *t, struct skv_hamt_version *version)
{
	struct skv_hamt_version *older = version->older;
	struct skv_hamt_list *dead = &version->dead;
	uint64_t word = dead->words[dead->n - 1], slot = word & ~SKV_HAMT_WHOLE;
	const struct skv_hamt_node *node;
	size_t i, n;

	if (older && skv_hamt_stamp_of(slot) <= older->stamp) {
		if (skv_hamt_dead_reserve(older, 1) < 0)
			return false;
		skv_hamt_list_push(&older->dead, word);
		dead->n--;
	} else if (!(word & SKV_HAMT_WHOLE)) {
		object_retire(t, slot);
		dead->n--;
	} else if (!older) {
		/* Nobody needs anything below it. */
		if (skv_hamt_list_reserve(&t->whole, NULL, 1) < 0)
			return false;
		skv_hamt_list_push(&t->whole, slot);
		dead->n--;
	} else {
		/* Each of its children is looked at in its turn. */
		node = skv_hamt_node_of(slot);
		n = slots_of(slot);
		if (skv_hamt_dead_reserve(version, n) < 0)
			return false;
		dead->n--;
		for (i = 0; i < n; i++)
			skv_hamt_list_push(dead, node->slots[i] | SKV_HAMT_WHOLE);
		object_retire(t, slot);
	}
	return true;
}

int skv_hamt_release(struct skv_hamt *t, struct skv_hamt_version *version, size_t budget)
{
	struct skv_hamt_list *dead = &version->dead;

	/* From here on it is only a list. */
	version->root = 0;
	version->count = 0;
	while (dead->n > 0) {
		if (budget-- == 0)
			return 0;
		if (dead->n > LOOK_AHEAD)
			__builtin_prefetch(skv_hamt_node_of(dead->words[dead->n - LOOK_AHEAD - 1]));
		if (!settle_word(t, version)) {
			version->is_left = true;
			return -ENOMEM;
		}
	}
	version_end(t, version);
	return 1;
}

int skv_hamt_release_left(struct skv_hamt *t)
{
	struct skv_hamt_version *version, *older;
	int r;

	for (version = t->newest; version; version = older) {
		older = version->older;
		r = version->is_left ? skv_hamt_release(t, version, SIZE_MAX) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * hamt-check: the invariants of a trie.
 *
 *   node       2 to 32 slots, as many as map has bits; nodemap says which are not items
 *   level      of a node is below that of its parent; all hashes below agree above it and have
 *              the slot's digit at it
 *   item       its slot carries the bits of its hash that make its tag
 *   bunch      at least two items of one hash, keys strictly ascending
 *   stamps     nothing below what a version shares is younger than that version
 *   count      what a tree holds, and what it says it holds
 *   memory     everything that was taken and not given back is in the head or on one list
 */
#include "heap/hamt/hamt-walk.h"

#include <string.h>

struct check {
	const struct skv_hamt *t;
	void (*fn)(const char *violation, void *arg);
	void *arg;
	uint64_t n_violations;
	uint64_t n_items;
	uint64_t n_nodes; /* bunches too; like n_items over all trees */
	uint64_t n_all_items;
};

static void violated(struct check *c, const char *what)
{
	c->n_violations++;
	if (c->fn)
		c->fn(what, c->arg);
}

static uint64_t any_hash(uint64_t slot)
{
	while (!skv_hamt_is_item(slot))
		slot = skv_hamt_node_of(slot)->slots[0];
	return skv_hamt_item_of(slot)->hash;
}

static void check_slot(struct check *c, uint64_t slot, unsigned int up_min, uint64_t youngest);

static void check_bunch(struct check *c, const struct skv_hamt_node *bunch, uint64_t youngest)
{
	const struct skv_hamt_item *item, *last = NULL;
	uint32_t i;

	if (bunch->map < 2)
		violated(c, "a bunch has fewer than two items");
	if (bunch->nodemap != 0)
		violated(c, "a bunch has a node map");
	for (i = 0; i < bunch->map; i++) {
		if (!skv_hamt_is_item(bunch->slots[i])) {
			violated(c, "a bunch holds something that is not an item");
			return;
		}
		item = skv_hamt_item_of(bunch->slots[i]);
		if (last && item->hash != last->hash)
			violated(c, "a bunch holds items of two hashes");
		if (last && c->t->kind->order(last, item) >= 0)
			violated(c, "the keys of a bunch do not ascend");
		last = item;
		check_slot(c, bunch->slots[i], 64, youngest);
	}
}

static void check_node(struct check *c, uint64_t slot, uint64_t youngest)
{
	const struct skv_hamt_node *node = skv_hamt_node_of(slot);
	unsigned int up = skv_hamt_up(slot), digit, i = 0;
	uint64_t first, hash;
	bool is_item;

	if (__builtin_popcount(node->map) < 2) {
		violated(c, "a node has fewer than two slots");
		return;
	}
	if (node->nodemap & ~node->map)
		violated(c, "a node map has bits that its map lacks");
	first = any_hash(node->slots[0]);
	for (digit = 0; digit < SKV_HAMT_WIDTH; digit++) {
		if (!(node->map >> digit & 1))
			continue;
		hash = any_hash(node->slots[i]);
		is_item = skv_hamt_is_item(node->slots[i]);
		if (is_item == (node->nodemap >> digit & 1))
			violated(c, "a node map does not say what a slot holds");
		if (up > 0 && hash >> (64 - up) != first >> (64 - up))
			violated(c, "hashes below a node do not agree above its level");
		if (skv_hamt_digit(hash, up) != digit)
			violated(c, "a hash does not have the digit of its slot");
		check_slot(c, node->slots[i], up + SKV_HAMT_BITS, youngest);
		i++;
	}
}

/* @up_min: the level must not be above; @youngest: nothing may be stamped above. */
static void check_slot(struct check *c, uint64_t slot, unsigned int up_min, uint64_t youngest)
{
	uint64_t stamp = skv_hamt_stamp_of(slot);

	if (stamp > youngest)
		violated(c, "something is younger than what shares it");
	if (stamp <= c->t->limit)
		youngest = c->t->limit;
	c->n_nodes += !skv_hamt_is_item(slot);
	if (skv_hamt_is_item(slot)) {
		c->n_items++;
		if ((slot & SKV_HAMT_TAG_MASK) != skv_hamt_tag(skv_hamt_item_of(slot)->hash))
			violated(c, "a slot does not carry the hash of its item");
	} else if (skv_hamt_kind(slot) == SKV_HAMT_BUNCH) {
		check_bunch(c, skv_hamt_node_of(slot), youngest);
	} else if (skv_hamt_up(slot) < up_min || skv_hamt_up(slot) > 60 ||
		   skv_hamt_up(slot) % SKV_HAMT_BITS != 0) {
		violated(c, "a node stands at a wrong level");
	} else {
		check_node(c, slot, youngest);
	}
}

static void check_tree(struct check *c, uint64_t root, uint64_t count, uint64_t youngest)
{
	c->n_items = 0;
	if (root != 0)
		check_slot(c, root, 0, youngest);
	if (c->n_items != count)
		violated(c, "a count is not the number of items");
}

/* What is no longer in the head: counted, not judged. */
static void count_below(struct check *c, uint64_t slot)
{
	const struct skv_hamt_node *node = skv_hamt_node_of(slot);
	uint32_t i, n;

	if (skv_hamt_is_item(slot)) {
		c->n_all_items++;
		return;
	}
	c->n_nodes++;
	n = skv_hamt_kind(slot) == SKV_HAMT_BUNCH ? node->map :
						    (uint32_t)__builtin_popcount(node->map);
	for (i = 0; i < n; i++)
		count_below(c, node->slots[i]);
}

static void count_dead(struct check *c, const struct skv_hamt_list *list)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < list->n; i++) {
		word = list->words[i];
		if (word & SKV_HAMT_WHOLE)
			count_below(c, word & ~SKV_HAMT_WHOLE);
		else if (skv_hamt_is_item(word))
			c->n_all_items++;
		else
			c->n_nodes++;
	}
}

uint64_t skv_hamt_check(const struct skv_hamt *t, void (*fn)(const char *violation, void *arg),
			void *arg)
{
	struct check c = { .t = t, .fn = fn, .arg = arg };
	const struct skv_hamt_version *version;
	uint64_t n_nodes, n_versions = 0;
	size_t i;

	check_tree(&c, t->root, t->count, t->stamp);
	c.n_all_items = c.n_items;
	if (t->limit != (t->newest ? t->newest->stamp : 0))
		violated(&c, "the limit is not the stamp of the newest version");
	for (version = t->newest; version; version = version->older) {
		if (version->older &&
		    (version->older->stamp >= version->stamp || version->older->newer != version))
			violated(&c, "versions are not in the order of their stamps");
		n_nodes = c.n_nodes;
		check_tree(&c, version->root, version->count, version->stamp);
		c.n_nodes = n_nodes;
		count_dead(&c, &version->dead);
		n_versions++;
	}
	for (i = 0; i < t->whole.n; i++)
		count_below(&c, t->whole.words[i]);
	if (c.n_all_items != t->n_items)
		violated(&c, "items were lost, or stand in two places");
	/* Others wait for readers to leave them. */
	if (c.n_nodes + n_versions > t->pool.n_used ||
	    (!t->heap && c.n_nodes + n_versions != t->pool.n_used))
		violated(&c, "nodes were lost, or stand in two places");
	return c.n_violations;
}

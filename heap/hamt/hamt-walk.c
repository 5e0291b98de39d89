/* SPDX-License-Identifier: MIT */
#include "heap/hamt/hamt-walk.h"

#include <string.h>

static uint32_t slots_of(uint64_t slot)
{
	const struct skv_hamt_node *node = skv_hamt_node_of(slot);

	if (skv_hamt_kind(slot) == SKV_HAMT_BUNCH)
		return node->map;
	return (uint32_t)__builtin_popcount(node->map);
}

static uint64_t any_hash(uint64_t slot)
{
	while (!skv_hamt_is_item(slot))
		slot = skv_hamt_node_of(slot)->slots[0];
	return skv_hamt_item_of(slot)->hash;
}

/* The first @up bits. */
static uint64_t prefix(uint64_t hash, unsigned int up)
{
	return up == 0 ? 0 : hash >> (64 - up);
}

/* ---- iteration ------------------------------------------------------------------- */

static void walk_push(struct skv_hamt_walk *walk, uint64_t slot, uint32_t next)
{
	const struct skv_hamt_node *node = skv_hamt_node_of(slot);
	uint32_t n = slots_of(slot), i;

	/* Items come one by one, but their cache misses need not. */
	for (i = next; i < n && i < next + SKV_HAMT_WIDTH; i++)
		__builtin_prefetch(skv_hamt_node_of(node->slots[i]));
	walk->frames[walk->n_frames].slot = slot;
	walk->frames[walk->n_frames].next = next;
	walk->frames[walk->n_frames].n = n;
	walk->n_frames++;
}

void skv_hamt_walk_begin(struct skv_hamt_walk *walk, uint64_t root, uint64_t from)
{
	const struct skv_hamt_node *node;
	unsigned int up, digit;
	uint64_t slot = root, hash;
	uint32_t idx;

	walk->n_frames = 0;
	walk->lone = 0;
	if (slot == 0)
		return;
	while (skv_hamt_kind(slot) == 0) {
		node = skv_hamt_node_of(slot);
		up = skv_hamt_up(slot);
		hash = any_hash(slot);
		if (prefix(hash, up) != prefix(from, up)) {
			if (prefix(hash, up) > prefix(from, up))
				walk_push(walk, slot, 0);
			return;
		}
		digit = skv_hamt_digit(from, up);
		idx = (uint32_t)__builtin_popcount(node->map & (((uint32_t)1 << digit) - 1));
		if (!(node->map >> digit & 1)) {
			walk_push(walk, slot, idx);
			return;
		}
		walk_push(walk, slot, idx + 1);
		slot = node->slots[idx];
	}
	if (any_hash(slot) < from)
		return;
	if (skv_hamt_is_item(slot))
		walk->lone = slot;
	else
		walk_push(walk, slot, 0);
}

struct skv_hamt_item *skv_hamt_walk_next(struct skv_hamt_walk *walk)
{
	uint64_t slot = walk->lone;
	unsigned int top;

	if (slot != 0) {
		walk->lone = 0;
		return skv_hamt_item_of(slot);
	}
	while (walk->n_frames > 0) {
		top = walk->n_frames - 1;
		if (walk->frames[top].next == walk->frames[top].n) {
			walk->n_frames--;
			continue;
		}
		slot = skv_hamt_node_of(walk->frames[top].slot)->slots[walk->frames[top].next++];
		if (skv_hamt_is_item(slot))
			return skv_hamt_item_of(slot);
		walk_push(walk, slot, 0);
	}
	return NULL;
}

/* ---- comparison ------------------------------------------------------------------ */

struct diff {
	const struct skv_hamt_kind *kind;
	skv_hamt_diff_fn *fn;
	void *arg;
};

/* A whole tree that is on one side only. */
static int diff_whole(const struct diff *diff, uint64_t slot, bool is_after)
{
	struct skv_hamt_walk walk;
	struct skv_hamt_item *item;
	int r;

	skv_hamt_walk_begin(&walk, slot, 0);
	while ((item = skv_hamt_walk_next(&walk))) {
		r = is_after ? diff->fn(diff->arg, NULL, item) : diff->fn(diff->arg, item, NULL);
		if (r != 0)
			return r;
	}
	return 0;
}

static uint64_t leaf_slot(uint64_t slot, uint32_t idx)
{
	return skv_hamt_is_item(slot) ? slot : skv_hamt_node_of(slot)->slots[idx];
}

static uint32_t leaf_len(uint64_t slot)
{
	return skv_hamt_is_item(slot) ? 1 : slots_of(slot);
}

/* Items and bunches of one hash, both in the order of keys. */
static int diff_leaves(const struct diff *diff, uint64_t before, uint64_t after)
{
	uint32_t n_before = leaf_len(before), n_after = leaf_len(after), i = 0, j = 0;
	const struct skv_hamt_item *a, *b;
	int order, r;

	while (i < n_before || j < n_after) {
		a = i < n_before ? skv_hamt_item_of(leaf_slot(before, i)) : NULL;
		b = j < n_after ? skv_hamt_item_of(leaf_slot(after, j)) : NULL;
		order = !a ? 1 : !b ? -1 : a == b ? 0 : diff->kind->order(a, b);
		if (order < 0)
			b = NULL;
		else if (order > 0)
			a = NULL;
		i += a != NULL;
		j += b != NULL;
		r = a == b ? 0 : diff->fn(diff->arg, a, b);
		if (r != 0)
			return r;
	}
	return 0;
}

/* What a tree has at a digit of a level: a tree that begins further down has all of it at one. */
static uint64_t child_at(uint64_t slot, uint64_t hash, unsigned int up, unsigned int digit)
{
	const struct skv_hamt_node *node;

	if (skv_hamt_up(slot) != up)
		return skv_hamt_digit(hash, up) == digit ? slot : 0;
	node = skv_hamt_node_of(slot);
	if (!(node->map >> digit & 1))
		return 0;
	return node->slots[__builtin_popcount(node->map & (((uint32_t)1 << digit) - 1))];
}

static int diff_slots(const struct diff *diff, uint64_t before, uint64_t after)
{
	unsigned int up_before, up_after, up, digit;
	uint64_t hash_before, hash_after;
	int r;

	if (before == after)
		return 0;
	if (before == 0 || after == 0)
		return diff_whole(diff, before ? before : after, before == 0);

	hash_before = any_hash(before);
	hash_after = any_hash(after);
	up_before = skv_hamt_up(before);
	up_after = skv_hamt_up(after);
	up = up_before < up_after ? up_before : up_after;
	if (hash_before != hash_after && skv_hamt_parting(hash_before, hash_after) < up) {
		r = diff_whole(diff, hash_before < hash_after ? before : after,
			       hash_before > hash_after);
		if (r != 0)
			return r;
		return diff_whole(diff, hash_before < hash_after ? after : before,
				  hash_before < hash_after);
	}
	if (up == 64)
		return diff_leaves(diff, before, after);
	/* At most 13 levels deep. */
	for (digit = 0; digit < SKV_HAMT_WIDTH; digit++) {
		r = diff_slots(diff, child_at(before, hash_before, up, digit),
			       child_at(after, hash_after, up, digit));
		if (r != 0)
			return r;
	}
	return 0;
}

int skv_hamt_diff(uint64_t before, uint64_t after, const struct skv_hamt_kind *kind,
		  skv_hamt_diff_fn *fn, void *arg)
{
	const struct diff diff = { kind, fn, arg };

	return diff_slots(&diff, before, after);
}

bool skv_hamt_same_shape(uint64_t a, uint64_t b, const struct skv_hamt_kind *kind)
{
	const struct skv_hamt_node *x, *y;
	uint32_t i, n;

	if (a == 0 || b == 0)
		return a == b;
	/* Kind and tag: the level, or the hash of an item. */
	if ((a & ~SKV_HAMT_ADDRESS_MASK) != (b & ~SKV_HAMT_ADDRESS_MASK))
		return false;
	if (skv_hamt_is_item(a))
		return skv_hamt_item_of(a)->hash == skv_hamt_item_of(b)->hash &&
		       kind->order(skv_hamt_item_of(a), skv_hamt_item_of(b)) == 0;
	x = skv_hamt_node_of(a);
	y = skv_hamt_node_of(b);
	if (x->map != y->map || x->nodemap != y->nodemap)
		return false;
	n = slots_of(a);
	for (i = 0; i < n; i++) {
		if (!skv_hamt_same_shape(x->slots[i], y->slots[i], kind))
			return false;
	}
	return true;
}

/* ---- figures --------------------------------------------------------------------- */

static void measure(struct skv_hamt_figures *f, const struct skv_hamt_kind *kind, uint64_t slot,
		    unsigned int depth, unsigned int next_up)
{
	const struct skv_hamt_node *node;
	uint32_t i, n;

	if (skv_hamt_is_item(slot)) {
		f->items++;
		f->item_bytes += kind->size(skv_hamt_item_of(slot));
		f->depth_sum += depth;
		if (depth > f->depth_max)
			f->depth_max = depth;
		return;
	}
	node = skv_hamt_node_of(slot);
	n = slots_of(slot);
	f->node_bytes += skv_hamt_pool_bytes(skv_hamt_node_size(n));
	if (skv_hamt_kind(slot) == SKV_HAMT_BUNCH) {
		f->bunches++;
		f->bunched += n;
	} else {
		f->nodes++;
		f->slots += n;
		f->skipped += (skv_hamt_up(slot) - next_up) / SKV_HAMT_BITS;
	}
	for (i = 0; i < n; i++)
		measure(f, kind, node->slots[i], depth + 1, skv_hamt_up(slot) + SKV_HAMT_BITS);
}

void skv_hamt_measure(uint64_t root, const struct skv_hamt_kind *kind,
		      struct skv_hamt_figures *ret_figures)
{
	memset(ret_figures, 0, sizeof(*ret_figures));
	if (root != 0)
		measure(ret_figures, kind, root, 0, 0);
}

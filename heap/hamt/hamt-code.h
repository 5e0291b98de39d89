/* SPDX-License-Identifier: MIT */
/*
 * hamt-code: the hot paths of the trie. Included by hamt-code-plain.c and hamt-code-popcnt.c,
 * each of which sets what the compiler may use and names the table: HAMT_CODE.
 *
 * Every step down is one count of bits. With the instruction that is one cycle; without it, it
 * is a function of a dozen instructions and a table, and a look-up among a million keys takes
 * some 15 ns longer. Baseline x86-64 lacks POPCNT, so the choice is made when a trie is made.
 */

static inline unsigned int count_bits(uint32_t map)
{
	return (unsigned int)__builtin_popcount(map);
}

/* Slots before the one of @digit. */
static inline unsigned int slot_index(uint32_t map, unsigned int digit)
{
	return count_bits(map & (((uint32_t)1 << digit) - 1));
}

static inline bool has_digit(uint32_t map, unsigned int digit)
{
	return map >> digit & 1;
}

/* ---- memory ---------------------------------------------------------------------- */

static inline struct skv_hamt_node *node_new(struct skv_hamt *t, unsigned int n_slots)
{
	struct skv_hamt_node *node;

	node = skv_hamt_pool_alloc(&t->pool, skv_hamt_node_size(n_slots));
	if (node)
		node->stamp = t->stamp;
	return node;
}

/* Why node_new gave none: -ENOSPC or -ENOMEM. */
static inline int no_node(const struct skv_hamt *t)
{
	return t->pool.from->error;
}

static inline size_t slots_of(uint64_t slot)
{
	const struct skv_hamt_node *node = skv_hamt_node_of(slot);

	return skv_hamt_kind(slot) == SKV_HAMT_BUNCH ? node->map : count_bits(node->map);
}

/* What no reader has ever seen. */
static inline void node_free(struct skv_hamt *t, uint64_t slot)
{
	skv_hamt_pool_free(&t->pool, skv_hamt_node_of(slot), skv_hamt_node_size(slots_of(slot)));
}

/* What neither the head nor a version leads to; readers of the head may still be in it. */
static inline void object_retire(struct skv_hamt *t, uint64_t slot)
{
	if (skv_hamt_is_item(slot)) {
		t->n_items--;
		t->kind->retire(t, skv_hamt_item_of(slot));
	} else if (!t->heap || skv_rcu_is_alone()) {
		node_free(t, slot);
	} else {
		skv_heap_retire_other(t->heap, skv_hamt_node_of(slot),
				      skv_hamt_node_size(slots_of(slot)));
	}
}

/* May a node be rearranged where it is? Neither a version nor a reader of the head has it. */
static inline bool is_alone_with(const struct skv_hamt *t, const struct skv_hamt_node *node)
{
	return node->stamp > t->limit && (!t->heap || skv_rcu_is_alone());
}

/* Room for whatever one change takes out of the head. */
static inline int reserve_dead(struct skv_hamt *t)
{
	return t->newest ? skv_hamt_dead_reserve(t->newest, SKV_HAMT_RETIRED_MAX) : 0;
}

/* The head does not lead to it any more; does a version? */
static inline void retire(struct skv_hamt *t, uint64_t slot, uint64_t stamp)
{
	if (stamp <= t->limit)
		skv_hamt_list_push(&t->newest->dead, slot);
	else
		object_retire(t, slot);
}

/* ---- look-up --------------------------------------------------------------------- */

/* Place of a key in a bunch: the first item that is not before it. */
static unsigned int bunch_search(const struct skv_hamt_node *bunch,
				 const struct skv_hamt_kind *kind, const void *key,
				 struct skv_hamt_item **ret_found)
{
	unsigned int lo = 0, hi = bunch->map, mid;
	struct skv_hamt_item *item;
	int order;

	*ret_found = NULL;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		item = skv_hamt_item_of(skv_hamt_slot_load(&bunch->slots[mid]));
		order = kind->compare(item, key);
		if (order == 0) {
			*ret_found = item;
			return mid;
		}
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint64_t bunch_hash(const struct skv_hamt_node *bunch)
{
	return skv_hamt_item_of(skv_hamt_slot_load(&bunch->slots[0]))->hash;
}

/*
 * Which slot is known only when the map is; which lines they are in is known now. Also for
 * small nodes, which end before: asking only for what is there took a fifth longer among 100,000
 * and a million keys.
 */
static inline void fetch_slots(const struct skv_hamt_node *node)
{
	__builtin_prefetch((const char *)node + 64);
	__builtin_prefetch((const char *)node + 128);
	__builtin_prefetch((const char *)node + 192);
}

static struct skv_hamt_item *find(uint64_t slot, const struct skv_hamt_kind *kind, uint64_t hash,
				  const void *key)
{
	const struct skv_hamt_node *node;
	struct skv_hamt_item *item;
	unsigned int digit;

	if (slot == 0)
		return NULL;
	/* Ends: levels grow on the way down, and a slot below the last one is no node. */
	while (skv_hamt_kind(slot) == 0) {
		node = skv_hamt_node_of(slot);
		fetch_slots(node);
		digit = skv_hamt_digit(hash, skv_hamt_node_up(slot));
		if (!has_digit(node->map, digit))
			return NULL;
		/* [slot.load] acquire, pairs with [slot.store]. */
		slot = skv_hamt_slot_load(&node->slots[slot_index(node->map, digit)]);
	}
	if (skv_hamt_is_item(slot)) {
		if ((slot & SKV_HAMT_TAG_MASK) != skv_hamt_tag(hash))
			return NULL;
		item = skv_hamt_item_of(slot);
		return item->hash == hash && kind->compare(item, key) == 0 ? item : NULL;
	}
	node = skv_hamt_node_of(slot);
	if (bunch_hash(node) == hash)
		bunch_search(node, kind, key, &item);
	else
		item = NULL;
	return item;
}

/* The hash of any item below; the writer's. */
static uint64_t any_hash(uint64_t slot)
{
	while (!skv_hamt_is_item(slot))
		slot = skv_hamt_node_of(slot)->slots[0];
	return skv_hamt_item_of(slot)->hash;
}

/* The keys below the slot where a search ended have another hash: where does it part? */
static void parts_from(struct skv_hamt_pos *pos, uint64_t other_hash)
{
	pos->end = SKV_HAMT_END_PARTS;
	pos->other_hash = other_hash;
	pos->parting = skv_hamt_parting(pos->hash, other_hash);
	while (pos->depth > 0 && skv_hamt_up(*pos->path[pos->depth - 1]) > pos->parting)
		pos->depth--;
}

static void seek_ends_in_bunch(const struct skv_hamt *t, struct skv_hamt_pos *pos,
			       const struct skv_hamt_node *bunch)
{
	uint64_t hash = bunch_hash(bunch);

	if (hash != pos->hash) {
		parts_from(pos, hash);
		return;
	}
	pos->bunch_idx = bunch_search(bunch, t->kind, pos->key, &pos->found);
	pos->end = pos->found ? SKV_HAMT_END_IN_BUNCH : SKV_HAMT_END_JOIN_BUNCH;
}

/*
 * The tag of an item's slot says where two hashes part without a look at the item, if that is at
 * one of the levels whose digits it holds, and if they are known to agree above @next.
 */
static inline bool parts_by_tag(struct skv_hamt_pos *pos, uint64_t slot, unsigned int next)
{
	uint64_t differs = (slot ^ skv_hamt_tag(pos->hash)) & SKV_HAMT_TAG_MASK;
	unsigned int up;

	if (differs == 0 || next < SKV_HAMT_TAG_FIRST)
		return false;
	/* The digits above next agree. */
	up = SKV_HAMT_TAG_FIRST + (unsigned int)__builtin_clzll(differs) / SKV_HAMT_BITS *
					  SKV_HAMT_BITS;
	if (up < next || up > SKV_HAMT_TAG_FIRST + 2 * SKV_HAMT_BITS)
		return false;
	pos->end = SKV_HAMT_END_PARTS;
	pos->parting = up;
	/* Right at the level where they part, and that is where it is looked at. */
	pos->other_hash = (slot & SKV_HAMT_TAG_MASK) >> SKV_HAMT_TAG_FIRST;
	return true;
}

static void seek_ends_in_item(const struct skv_hamt *t, struct skv_hamt_pos *pos,
			      struct skv_hamt_item *item)
{
	if (item->hash != pos->hash) {
		parts_from(pos, item->hash);
	} else if (t->kind->compare(item, pos->key) == 0) {
		pos->end = SKV_HAMT_END_FOUND;
		pos->found = item;
	} else {
		pos->end = SKV_HAMT_END_PAIR;
	}
}

static void seek(struct skv_hamt *t, uint64_t hash, const void *key, struct skv_hamt_pos *pos)
{
	unsigned int depth = 0, digit, up, next = 0, skipped = 0;
	const struct skv_hamt_node *node;
	uint64_t slot = t->root, other;

	pos->hash = hash;
	pos->key = key;
	pos->found = NULL;
	pos->path[0] = &t->root;
	pos->depth = 0;
	if (slot == 0) {
		pos->end = SKV_HAMT_END_EMPTY;
		return;
	}
	while (skv_hamt_kind(slot) == 0) {
		node = skv_hamt_node_of(slot);
		fetch_slots(node);
		up = skv_hamt_node_up(slot);
		skipped |= up ^ next;
		next = up + SKV_HAMT_BITS;
		digit = skv_hamt_digit(hash, up);
		if (!has_digit(node->map, digit)) {
			pos->depth = depth;
			pos->end = SKV_HAMT_END_NO_DIGIT;
			/* Levels without a node were not compared on the way down. */
			if (skipped) {
				other = any_hash(slot);
				if (skv_hamt_parting(hash, other) < up)
					parts_from(pos, other);
			}
			return;
		}
		pos->path[++depth] =
			(uint64_t *)(uintptr_t)&node->slots[slot_index(node->map, digit)];
		slot = *pos->path[depth];
	}
	pos->depth = depth;
	if (skv_hamt_is_item(slot) && (skipped || !parts_by_tag(pos, slot, next)))
		seek_ends_in_item(t, pos, skv_hamt_item_of(slot));
	else if (!skv_hamt_is_item(slot))
		seek_ends_in_bunch(t, pos, skv_hamt_node_of(slot));
}

/* ---- one slot of the head -------------------------------------------------------- */

/* Keeps nodemap, which only the writer reads, in step with a slot that is about to change. */
static inline void note_kind(struct skv_hamt_node *node, uint64_t parent_slot, uint64_t hash,
			     uint64_t old, uint64_t slot)
{
	if (skv_hamt_kind(parent_slot) != SKV_HAMT_BUNCH &&
	    skv_hamt_is_item(old) != skv_hamt_is_item(slot))
		node->nodemap ^= (uint32_t)1 << skv_hamt_digit(hash, skv_hamt_up(parent_slot));
}

static inline void slot_change(const struct skv_hamt_pos *pos, unsigned int depth, uint64_t slot)
{
	uint64_t parent_slot;

	if (depth > 0) {
		parent_slot = *pos->path[depth - 1];
		note_kind(skv_hamt_node_of(parent_slot), parent_slot, pos->hash, *pos->path[depth],
			  slot);
	}
	/* [slot.store] release, pairs with [slot.load]: what is new before the way to it. */
	skv_hamt_slot_store(pos->path[depth], slot);
}

/* A version shares the node of the slot: copy the way up to the first that it does not. */
static int slot_change_shared(struct skv_hamt *t, const struct skv_hamt_pos *pos,
			      unsigned int depth, unsigned int top, uint64_t slot)
{
	uint64_t olds[SKV_HAMT_PATH_MAX], parent_slot;
	struct skv_hamt_node *old, *copy;
	unsigned int n = 0, n_slots, idx, i;

	for (; depth > top; depth--) {
		parent_slot = *pos->path[depth - 1];
		old = skv_hamt_node_of(parent_slot);
		n_slots = (unsigned int)slots_of(parent_slot);
		copy = node_new(t, n_slots);
		if (!copy)
			goto fail;
		idx = (unsigned int)(pos->path[depth] - old->slots);
		copy->map = old->map;
		copy->nodemap = old->nodemap;
		memcpy(copy->slots, old->slots, n_slots * sizeof(copy->slots[0]));
		note_kind(copy, parent_slot, pos->hash, old->slots[idx], slot);
		copy->slots[idx] = slot;
		slot = (parent_slot & ~SKV_HAMT_ADDRESS_MASK) | (uint64_t)(uintptr_t)copy;
		olds[n++] = parent_slot;
	}
	slot_change(pos, top, slot);
	for (i = 0; i < n; i++)
		retire(t, olds[i], skv_hamt_node_of(olds[i])->stamp);
	return 0;

fail:
	/* The copies made so far, from the uppermost on down. */
	while (n-- > 0) {
		depth++;
		idx = (unsigned int)(pos->path[depth] - skv_hamt_node_of(olds[n])->slots);
		parent_slot = slot;
		slot = skv_hamt_node_of(parent_slot)->slots[idx];
		node_free(t, parent_slot);
	}
	return no_node(t);
}

/* The slot at path[depth] shall hold @slot. */
static inline int slot_set(struct skv_hamt *t, const struct skv_hamt_pos *pos, unsigned int depth,
			   uint64_t slot)
{
	unsigned int top = depth;

	while (top > 0 && skv_hamt_node_of(*pos->path[top - 1])->stamp <= t->limit)
		top--;
	if (__builtin_expect(top != depth, 0))
		return slot_change_shared(t, pos, depth, top, slot);
	slot_change(pos, depth, slot);
	return 0;
}

/* ---- put ------------------------------------------------------------------------- */

static inline void copy_slots(uint64_t *dst, const uint64_t *src, unsigned int n)
{
	memcpy(dst, src, n * sizeof(*dst));
}

/* @node itself if it can take one more where it is. */
static struct skv_hamt_node *node_with(struct skv_hamt *t, struct skv_hamt_node *node,
				       unsigned int digit, uint64_t slot)
{
	unsigned int n = count_bits(node->map), idx = slot_index(node->map, digit);
	struct skv_hamt_node *with;

	if (skv_hamt_room(n) > n && is_alone_with(t, node)) {
		memmove(node->slots + idx + 1, node->slots + idx, (n - idx) * sizeof(slot));
		node->slots[idx] = slot;
		node->map |= (uint32_t)1 << digit;
		return node;
	}
	with = node_new(t, n + 1);
	if (!with)
		return NULL;
	with->map = node->map | (uint32_t)1 << digit;
	with->nodemap = node->nodemap;
	copy_slots(with->slots, node->slots, idx);
	with->slots[idx] = slot;
	copy_slots(with->slots + idx + 1, node->slots + idx, n - idx);
	return with;
}

/* A node of two at the level where they part. */
static struct skv_hamt_node *node_of_two(struct skv_hamt *t, unsigned int up, uint64_t item_slot,
					 uint64_t hash, uint64_t other, uint64_t other_hash)
{
	unsigned int digit = skv_hamt_digit(hash, up), other_digit = skv_hamt_digit(other_hash, up);
	struct skv_hamt_node *node;

	node = node_new(t, 2);
	if (!node)
		return NULL;
	node->map = (uint32_t)1 << digit | (uint32_t)1 << other_digit;
	node->nodemap = skv_hamt_is_item(other) ? 0 : (uint32_t)1 << other_digit;
	node->slots[digit > other_digit] = item_slot;
	node->slots[digit < other_digit] = other;
	return node;
}

static struct skv_hamt_node *bunch_of_two(struct skv_hamt *t, uint64_t item_slot, uint64_t other,
					  const void *key)
{
	struct skv_hamt_node *bunch;
	bool first = t->kind->compare(skv_hamt_item_of(other), key) > 0;

	bunch = node_new(t, 2);
	if (!bunch)
		return NULL;
	bunch->map = 2;
	bunch->nodemap = 0;
	bunch->slots[!first] = item_slot;
	bunch->slots[first] = other;
	return bunch;
}

static struct skv_hamt_node *bunch_with(struct skv_hamt *t, const struct skv_hamt_node *bunch,
					unsigned int idx, uint64_t slot)
{
	struct skv_hamt_node *with;

	with = node_new(t, bunch->map + 1);
	if (!with)
		return NULL;
	with->map = bunch->map + 1;
	with->nodemap = 0;
	copy_slots(with->slots, bunch->slots, idx);
	with->slots[idx] = slot;
	copy_slots(with->slots + idx + 1, bunch->slots + idx, bunch->map - idx);
	return with;
}

/* The item of a bunch is one more slot below the path. */
static int put_in_bunch(struct skv_hamt *t, const struct skv_hamt_pos *pos, uint64_t item_slot)
{
	struct skv_hamt_node *bunch = skv_hamt_node_of(*pos->path[pos->depth]);
	struct skv_hamt_pos below = *pos;

	below.path[pos->depth + 1] = &bunch->slots[pos->bunch_idx];
	return slot_set(t, &below, pos->depth + 1, item_slot);
}

static inline void count_put(struct skv_hamt *t)
{
	__atomic_store_n(&t->count, t->count + 1, __ATOMIC_RELAXED);
	t->n_items++;
}

static int put(struct skv_hamt *t, const struct skv_hamt_pos *pos, struct skv_hamt_item *item)
{
	uint64_t *at = pos->path[pos->depth], old = *at, slot;
	struct skv_hamt_node *node = NULL;
	unsigned int up;
	int r;

	if (reserve_dead(t) < 0)
		return -ENOMEM;
	item->stamp = t->stamp;
	slot = skv_hamt_slot_item(item);
	switch (pos->end) {
	case SKV_HAMT_END_NO_DIGIT:
		up = skv_hamt_node_up(old);
		node = node_with(t, skv_hamt_node_of(old), skv_hamt_digit(pos->hash, up), slot);
		if (node == skv_hamt_node_of(old)) {
			count_put(t);
			return 0;
		}
		slot = skv_hamt_slot_node(node, up);
		break;
	case SKV_HAMT_END_PARTS:
		node = node_of_two(t, pos->parting, slot, pos->hash, old, pos->other_hash);
		slot = skv_hamt_slot_node(node, pos->parting);
		break;
	case SKV_HAMT_END_PAIR:
		node = bunch_of_two(t, slot, old, pos->key);
		slot = skv_hamt_slot_bunch(node);
		break;
	case SKV_HAMT_END_JOIN_BUNCH:
		node = bunch_with(t, skv_hamt_node_of(old), pos->bunch_idx, slot);
		slot = skv_hamt_slot_bunch(node);
		break;
	case SKV_HAMT_END_IN_BUNCH:
		r = put_in_bunch(t, pos, slot);
		if (r < 0)
			return r;
		retire(t, skv_hamt_slot_item(pos->found), pos->found->stamp);
		t->n_items++;
		return 0;
	case SKV_HAMT_END_EMPTY:
	case SKV_HAMT_END_FOUND:
		r = slot_set(t, pos, pos->depth, slot);
		if (r < 0)
			return r;
		if (pos->found)
			retire(t, old, pos->found->stamp);
		else
			__atomic_store_n(&t->count, t->count + 1, __ATOMIC_RELAXED);
		t->n_items++;
		return 0;
	}
	if (!node)
		return no_node(t);
	r = slot_set(t, pos, pos->depth, slot);
	if (r < 0) {
		node_free(t, slot);
		return r;
	}
	if (pos->end == SKV_HAMT_END_NO_DIGIT || pos->end == SKV_HAMT_END_JOIN_BUNCH)
		retire(t, old, skv_hamt_node_of(old)->stamp);
	count_put(t);
	return 0;
}

/* ---- remove ---------------------------------------------------------------------- */

static struct skv_hamt_node *node_without(struct skv_hamt *t, const struct skv_hamt_node *node,
					  unsigned int idx, uint32_t bit)
{
	unsigned int n = count_bits(node->map);
	struct skv_hamt_node *without;

	without = node_new(t, n - 1);
	if (!without)
		return NULL;
	without->map = node->map & ~bit;
	without->nodemap = node->nodemap & ~bit;
	copy_slots(without->slots, node->slots, idx);
	copy_slots(without->slots + idx, node->slots + idx + 1, n - idx - 1);
	return without;
}

static struct skv_hamt_node *bunch_without(struct skv_hamt *t, const struct skv_hamt_node *bunch,
					   unsigned int idx)
{
	struct skv_hamt_node *without;

	without = node_new(t, bunch->map - 1);
	if (!without)
		return NULL;
	without->map = bunch->map - 1;
	without->nodemap = 0;
	copy_slots(without->slots, bunch->slots, idx);
	copy_slots(without->slots + idx, bunch->slots + idx + 1, bunch->map - idx - 1);
	return without;
}

/* What takes the place of the node or bunch at *path[depth] when it loses slot @idx: itself
 * with one slot less, or the other one of two. 0 if there is no memory. */
static uint64_t shrunk(struct skv_hamt *t, const struct skv_hamt_pos *pos, unsigned int depth,
		       unsigned int idx, bool *ret_is_new)
{
	uint64_t old = *pos->path[depth];
	struct skv_hamt_node *node = skv_hamt_node_of(old), *without;
	unsigned int n = (unsigned int)slots_of(old), up;

	*ret_is_new = n > 2;
	if (!*ret_is_new)
		return node->slots[!idx];
	if (skv_hamt_kind(old) == SKV_HAMT_BUNCH) {
		without = bunch_without(t, node, idx);
		return without ? skv_hamt_slot_bunch(without) : 0;
	}
	up = skv_hamt_node_up(old);
	without = node_without(t, node, idx, (uint32_t)1 << skv_hamt_digit(pos->hash, up));
	return without ? skv_hamt_slot_node(without, up) : 0;
}

/* The item's slot out of its node, where the node is. False if a new one has to be made. */
static inline bool shrink_in_place(struct skv_hamt *t, const struct skv_hamt_pos *pos)
{
	uint64_t node_slot = *pos->path[pos->depth - 1];
	struct skv_hamt_node *node = skv_hamt_node_of(node_slot);
	unsigned int n = count_bits(node->map), idx;

	if (n == 2 || skv_hamt_room(n - 1) != skv_hamt_room(n) || !is_alone_with(t, node))
		return false;
	idx = (unsigned int)(pos->path[pos->depth] - node->slots);
	memmove(node->slots + idx, node->slots + idx + 1, (n - idx - 1) * sizeof(node->slots[0]));
	node->map &= ~((uint32_t)1 << skv_hamt_digit(pos->hash, skv_hamt_up(node_slot)));
	return true;
}

static int remove_found(struct skv_hamt *t, const struct skv_hamt_pos *pos)
{
	unsigned int depth = pos->depth, idx;
	uint64_t old = 0, slot = 0;
	bool is_new = false;
	int r;

	if (reserve_dead(t) < 0)
		return -ENOMEM;
	if (pos->end == SKV_HAMT_END_FOUND && depth > 0 && shrink_in_place(t, pos))
		goto done;
	/* The only item of the map is the only one that leaves its slot empty. */
	if (pos->end == SKV_HAMT_END_IN_BUNCH || depth > 0) {
		if (pos->end == SKV_HAMT_END_IN_BUNCH) {
			idx = pos->bunch_idx;
		} else {
			depth--;
			idx = (unsigned int)(pos->path[depth + 1] -
					     skv_hamt_node_of(*pos->path[depth])->slots);
		}
		old = *pos->path[depth];
		slot = shrunk(t, pos, depth, idx, &is_new);
		if (slot == 0)
			return no_node(t);
	}
	r = slot_set(t, pos, depth, slot);
	if (r < 0) {
		if (is_new)
			node_free(t, slot);
		return r;
	}
	if (old)
		retire(t, old, skv_hamt_node_of(old)->stamp);
done:
	retire(t, skv_hamt_slot_item(pos->found), pos->found->stamp);
	__atomic_store_n(&t->count, t->count - 1, __ATOMIC_RELAXED);
	return 0;
}

/* ---- build ----------------------------------------------------------------------- */

/* An item and its hash, so that sorting touches no item. */
struct sortable {
	uint64_t hash;
	struct skv_hamt_item *item;
};

/* So many are sorted by comparison. */
#define FEW 12u

/* From so many on, the first two levels are sorted in one pass. */
#define MANY 2048u
#define N_BUCKETS (SKV_HAMT_WIDTH * SKV_HAMT_WIDTH)

struct building {
	struct skv_hamt *t;
	uint64_t n_kept;
	struct skv_hamt_list doubles; /* earlier items of a key */
};

static uint64_t build_any(struct building *b, struct sortable *from, struct sortable *to, size_t n,
			  unsigned int up);

/* Insertion sort by hash; equal hashes keep their order. */
static void sort_few(struct sortable *s, size_t n)
{
	struct sortable one;
	size_t i, j;

	for (i = 1; i < n; i++) {
		one = s[i];
		for (j = i; j > 0 && s[j - 1].hash > one.hash; j--)
			s[j] = s[j - 1];
		s[j] = one;
	}
}

/* Merge sort by key of items with one hash: stable, and 2^32 keys of one hash are no reason to
 * be slow. @to is room for as many. */
static void sort_keys(const struct skv_hamt_kind *kind, struct sortable *s, struct sortable *to,
		      size_t n)
{
	size_t half = n / 2, i = 0, j = half, k;

	if (n < 2)
		return;
	sort_keys(kind, s, to, half);
	sort_keys(kind, s + half, to + half, n - half);
	for (k = 0; k < n; k++) {
		if (j == n || (i < half && kind->order(s[i].item, s[j].item) <= 0))
			to[k] = s[i++];
		else
			to[k] = s[j++];
	}
	memcpy(s, to, n * sizeof(*s));
}

static uint64_t build_bunch(struct building *b, struct sortable *s, struct sortable *to, size_t n)
{
	const struct skv_hamt_kind *kind = b->t->kind;
	struct skv_hamt_node *bunch;
	size_t i, kept = 0;

	sort_keys(kind, s, to, n);
	if (skv_hamt_list_reserve(&b->doubles, NULL, n) < 0)
		return 0;
	for (i = 0; i < n; i++) {
		if (i + 1 < n && kind->order(s[i].item, s[i + 1].item) == 0)
			skv_hamt_list_push(&b->doubles, skv_hamt_slot_item(s[i].item));
		else
			s[kept++] = s[i];
	}
	b->n_kept += kept;
	if (kept == 1)
		return skv_hamt_slot_item(s[0].item);
	bunch = node_new(b->t, (unsigned int)kept);
	if (!bunch)
		return 0;
	bunch->map = (uint32_t)kept;
	bunch->nodemap = 0;
	for (i = 0; i < kept; i++)
		bunch->slots[i] = skv_hamt_slot_item(s[i].item);
	return skv_hamt_slot_bunch(bunch);
}

/* What was built, but not the items. */
static void nodes_free(struct skv_hamt *t, uint64_t slot)
{
	size_t i, n;

	if (slot == 0 || skv_hamt_is_item(slot))
		return;
	n = slots_of(slot);
	for (i = 0; i < n; i++)
		nodes_free(t, skv_hamt_node_of(slot)->slots[i]);
	node_free(t, slot);
}

static uint64_t build_failed(struct building *b, const uint64_t *slots, unsigned int n)
{
	while (n-- > 0)
		nodes_free(b->t, slots[n]);
	return 0;
}

/* The tree of these slots at a level: a node, unless there is only one. */
static uint64_t build_finish(struct building *b, const uint64_t *slots, unsigned int n,
			     uint32_t map, uint32_t nodemap, unsigned int up)
{
	struct skv_hamt_node *node;

	if (n == 1)
		return slots[0];
	node = node_new(b->t, n);
	if (!node)
		return build_failed(b, slots, n);
	node->map = map;
	node->nodemap = nodemap;
	copy_slots(node->slots, slots, n);
	return skv_hamt_slot_node(node, up);
}

/* What 32 neighbouring buckets hold; @starts has one more. @to has room for the largest. */
static uint64_t build_node(struct building *b, struct sortable *s, struct sortable *to,
			   const size_t *starts, unsigned int up)
{
	uint64_t slots[SKV_HAMT_WIDTH];
	uint32_t map = 0, nodemap = 0;
	unsigned int digit, n = 0;
	size_t first, len;

	for (digit = 0; digit < SKV_HAMT_WIDTH; digit++) {
		first = starts[digit];
		len = starts[digit + 1] - first;
		if (len == 0)
			continue;
		if (len == 1) {
			slots[n] = skv_hamt_slot_item(s[first].item);
			b->n_kept++;
		} else {
			slots[n] = build_any(b, s + first, to, len, up + SKV_HAMT_BITS);
			if (slots[n] == 0)
				return build_failed(b, slots, n);
		}
		map |= (uint32_t)1 << digit;
		if (!skv_hamt_is_item(slots[n]))
			nodemap |= (uint32_t)1 << digit;
		n++;
	}
	return build_finish(b, slots, n, map, nodemap, up);
}

/* A few, in the order of their hashes. */
static uint64_t build_sorted(struct building *b, struct sortable *s, struct sortable *to, size_t n)
{
	uint64_t slots[FEW];
	unsigned int up, digit, n_slots = 0;
	uint32_t map = 0, nodemap = 0, bit;
	size_t i, end;

	if (n == 1) {
		b->n_kept++;
		return skv_hamt_slot_item(s[0].item);
	}
	if (s[0].hash == s[n - 1].hash)
		return build_bunch(b, s, to, n);
	up = skv_hamt_parting(s[0].hash, s[n - 1].hash);
	for (i = 0; i < n; i = end) {
		digit = skv_hamt_digit(s[i].hash, up);
		for (end = i + 1; end < n && skv_hamt_digit(s[end].hash, up) == digit; end++)
			;
		slots[n_slots] = build_sorted(b, s + i, to, end - i);
		if (slots[n_slots] == 0)
			return build_failed(b, slots, n_slots);
		bit = (uint32_t)1 << digit;
		map |= bit;
		nodemap |= skv_hamt_is_item(slots[n_slots]) ? 0 : bit;
		n_slots++;
	}
	return build_finish(b, slots, n_slots, map, nodemap, up);
}

/* Where each bucket begins, from how many it has; and the same once more, to count on. */
static void starts_from_counts(size_t *starts, size_t *next, unsigned int n_buckets)
{
	unsigned int i;
	size_t at = 0;

	for (i = 0; i < n_buckets; i++) {
		starts[i] = at;
		at += next[i];
		next[i] = starts[i];
	}
	starts[n_buckets] = at;
}

/* What two levels of buckets hold. */
static uint64_t build_two_levels(struct building *b, struct sortable *s, struct sortable *to,
				 const size_t *starts, unsigned int up)
{
	uint64_t slots[SKV_HAMT_WIDTH];
	uint32_t map = 0, nodemap = 0;
	unsigned int digit, n = 0;

	for (digit = 0; digit < SKV_HAMT_WIDTH; digit++, starts += SKV_HAMT_WIDTH) {
		if (starts[0] == starts[SKV_HAMT_WIDTH])
			continue;
		slots[n] = build_node(b, s, to, starts, up + SKV_HAMT_BITS);
		if (slots[n] == 0)
			return build_failed(b, slots, n);
		map |= (uint32_t)1 << digit;
		if (!skv_hamt_is_item(slots[n]))
			nodemap |= (uint32_t)1 << digit;
		n++;
	}
	return build_finish(b, slots, n, map, nodemap, up);
}

/*
 * One or more items that agree above @up. They are moved between @from and @to, which has room
 * for as many, from level to level.
 */
static uint64_t build_any(struct building *b, struct sortable *from, struct sortable *to, size_t n,
			  unsigned int up)
{
	size_t starts[SKV_HAMT_WIDTH + 1], next[SKV_HAMT_WIDTH] = { 0 }, i;

	if (n <= FEW) {
		sort_few(from, n);
		return build_sorted(b, from, to, n);
	}
	if (up >= 64)
		return build_bunch(b, from, to, n);

	for (i = 0; i < n; i++)
		next[skv_hamt_digit(from[i].hash, up)]++;
	starts_from_counts(starts, next, SKV_HAMT_WIDTH);
	for (i = 0; i < n; i++)
		to[next[skv_hamt_digit(from[i].hash, up)]++] = from[i];
	return build_node(b, to, from, starts, up);
}

/* Arrays from this size on lie on huge pages, where the system has them. */
#define HUGE_PAGE ((size_t)2 << 20)

static struct sortable *sortables_new(size_t n)
{
	size_t bytes = n * sizeof(struct sortable);
	void *array;

	if (n > SIZE_MAX / 2 / sizeof(struct sortable))
		return NULL;
	if (bytes < HUGE_PAGE)
		return malloc(bytes);
	bytes = (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	array = aligned_alloc(HUGE_PAGE, bytes);
	if (array)
		madvise(array, bytes, MADV_HUGEPAGE);
	return array;
}

/*
 * The first pass goes from the caller's array by ten bits into buckets, which then need only as
 * much room to be sorted in as the largest of them. 0 without memory.
 */
static uint64_t build_items(struct building *b, struct skv_hamt_item **items, size_t n)
{
	size_t starts[N_BUCKETS + 1], next[N_BUCKETS] = { 0 }, largest = 0, i;
	struct sortable *array = sortables_new(n), *room;
	uint64_t slot = 0;

	for (i = 0; i < n; i++)
		next[items[i]->hash >> 54]++;
	for (i = 0; i < N_BUCKETS; i++)
		largest = next[i] > largest ? next[i] : largest;
	room = sortables_new(largest);
	if (!array || !room)
		goto out;
	starts_from_counts(starts, next, N_BUCKETS);
	for (i = 0; i < n; i++)
		array[next[items[i]->hash >> 54]++] = (struct sortable){ items[i]->hash, items[i] };
	slot = build_two_levels(b, array, room, starts, 0);
out:
	free(array);
	free(room);
	return slot;
}

/* The same for few, whom a thousand buckets would cost more than they gain. */
static uint64_t build_few_items(struct building *b, struct skv_hamt_item **items, size_t n)
{
	struct sortable *array = malloc(2 * n * sizeof(*array));
	uint64_t slot;
	size_t i;

	if (!array)
		return 0;
	for (i = 0; i < n; i++)
		array[i] = (struct sortable){ items[i]->hash, items[i] };
	slot = build_any(b, array, array + n, n, 0);
	free(array);
	return slot;
}

static int build(struct skv_hamt *t, struct skv_hamt_item **items, size_t n)
{
	struct building b = { .t = t };
	uint64_t slot;
	size_t i;

	if (n == 0)
		return 0;
	for (i = 0; i < n; i++)
		items[i]->stamp = t->stamp + i;
	slot = n < MANY ? build_few_items(&b, items, n) : build_items(&b, items, n);
	if (slot != 0) {
		t->stamp += n - 1;
		t->n_items += n;
		__atomic_store_n(&t->count, b.n_kept, __ATOMIC_RELAXED);
		/* [slot.store] release, pairs with [slot.load]. */
		skv_hamt_slot_store(&t->root, slot);
		for (i = 0; i < b.doubles.n; i++)
			object_retire(t, b.doubles.words[i]);
	}
	free(b.doubles.words);
	return slot != 0 ? 0 : -ENOMEM;
}

/* ---- dismantle ------------------------------------------------------------------- */

/* A node with what is right below it; nodes below come later. */
static void dismantle_node(struct skv_hamt *t, uint64_t slot)
{
	struct skv_hamt_node *node = skv_hamt_node_of(slot);
	size_t n = slots_of(slot), i;

	for (i = 0; i < n; i++)
		__builtin_prefetch(skv_hamt_node_of(node->slots[i]));
	for (i = 0; i < n; i++) {
		if (skv_hamt_is_item(node->slots[i]))
			object_retire(t, node->slots[i]);
		else
			skv_hamt_list_push(&t->whole, node->slots[i]);
	}
	object_retire(t, slot);
}

static size_t dismantle(struct skv_hamt *t, size_t budget)
{
	uint64_t slot;

	while (t->whole.n > 0 && budget-- > 0) {
		slot = t->whole.words[t->whole.n - 1];
		/* Without memory for the list the tree waits there for a later call. */
		if (skv_hamt_kind(slot) == 0 &&
		    skv_hamt_list_reserve(&t->whole, NULL, SKV_HAMT_WIDTH) < 0)
			break;
		t->whole.n--;
		if (skv_hamt_is_item(slot))
			object_retire(t, slot);
		else
			dismantle_node(t, slot);
	}
	return t->whole.n;
}

const struct skv_hamt_code HAMT_CODE = {
	.name = HAMT_CODE_NAME,
	.find = find,
	.seek = seek,
	.put = put,
	.remove = remove_found,
	.build = build,
	.dismantle = dismantle,
};

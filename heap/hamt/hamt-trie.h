/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_HAMT_TRIE_H
#define SKV_HEAP_HAMT_TRIE_H

/*
 * hamt-trie: a persistent hash array mapped trie of items that begin with their hash.
 *
 * One head that is written, and any number of versions: frozen pictures of the head that share
 * every node with it that has not changed since. Protocol, ownership and what readers may rely
 * on: see hamt-trie.c. The form in memory: hamt-node.h.
 *
 * Threads: one writer at a time, and everything here but skv_hamt_find and skv_hamt_find_in
 * counts as writing. If the trie belongs to a heap map, any number of threads may look keys up
 * in the head meanwhile, inside read sections. A version may be read by any thread until it is
 * released.
 */

#include "heap/hamt/hamt-node.h"
#include "heap/hamt/hamt-pool.h"
#include "heap/heap.h"

struct skv_hamt;

/* What a trie must know of its items. */
struct skv_hamt_kind {
	/* Order of an item and a key whose hashes are equal; 0 for the same key. */
	int (*compare)(const struct skv_hamt_item *item, const void *key);
	/* The same for two items. */
	int (*order)(const struct skv_hamt_item *a, const struct skv_hamt_item *b);
	/* The memory it takes, in bytes. */
	size_t (*size)(const struct skv_hamt_item *item);
	/* Neither the head nor a version leads to it any more; readers of the head may have it. */
	void (*retire)(struct skv_hamt *t, struct skv_hamt_item *item);
};

/* Words of hamt-node.h that wait for something. */
struct skv_hamt_list {
	uint64_t *words;
	size_t n, cap;
};

/* What one change can retire: a node on every level, a bunch and an item. */
#define SKV_HAMT_RETIRED_MAX (SKV_HAMT_LEVELS + 3u)

/* A frozen picture. Readers look at root and count. */
struct skv_hamt_version {
	uint64_t root;
	uint64_t count;
	uint64_t stamp; /* nothing in it is stamped above */
	struct skv_hamt_version *older, *newer;
	bool is_left; /* its release found no memory, and whoever ended it is gone */
	struct skv_hamt_list dead; /* taken from the head while this was the newest version */
	uint64_t dead_first[SKV_HAMT_RETIRED_MAX];
};

struct skv_hamt_code;

struct skv_hamt {
	uint64_t root __attribute__((aligned(64)));
	uint64_t count;
	const struct skv_hamt_kind *kind;
	const struct skv_hamt_code *code;
	/* The writer's; not on the readers' line. */
	uint64_t stamp __attribute__((aligned(64))); /* for what is made next; begins with 1 */
	uint64_t limit; /* stamp of the newest version, 0 if there is none */
	struct skv_hamt_version *newest;
	struct skv_heap *heap; /* NULL: nobody reads while another writes */
	uint64_t n_items;      /* in the head, in versions, on lists */
	struct skv_hamt_pool pool; /* of nodes, bunches and versions */
	struct skv_hamt_list whole; /* trees that nobody needs, to be taken apart */
};

/* How a search ended, and what a change there has to do. */
enum skv_hamt_end {
	SKV_HAMT_END_EMPTY,      /* no key at all */
	SKV_HAMT_END_FOUND,      /* the slot holds the item */
	SKV_HAMT_END_IN_BUNCH,   /* the slot holds a bunch with the item */
	SKV_HAMT_END_NO_DIGIT,   /* the slot holds a node without the digit */
	SKV_HAMT_END_PARTS,      /* what the slot holds has another hash from @parting on */
	SKV_HAMT_END_PAIR,       /* the slot holds an item of the same hash */
	SKV_HAMT_END_JOIN_BUNCH, /* the slot holds a bunch of the same hash without the key */
};

/* A place in the head, valid until the head changes. */
struct skv_hamt_pos {
	uint64_t hash;
	const void *key;
	struct skv_hamt_item *found; /* or NULL */
	enum skv_hamt_end end;
	unsigned int depth;     /* path[depth] is the slot where the search ended */
	unsigned int bunch_idx; /* place of the item in its bunch, or where it would come */
	unsigned int parting;
	uint64_t other_hash; /* of what lies below the slot, when it parts */
	uint64_t *path[SKV_HAMT_PATH_MAX];
};

/* The hot paths, once for any processor and once for those with POPCNT and BMI2. */
struct skv_hamt_code {
	const char *name;
	struct skv_hamt_item *(*find)(uint64_t root, const struct skv_hamt_kind *kind,
				      uint64_t hash, const void *key);
	void (*seek)(struct skv_hamt *t, uint64_t hash, const void *key, struct skv_hamt_pos *pos);
	int (*put)(struct skv_hamt *t, const struct skv_hamt_pos *pos, struct skv_hamt_item *item);
	int (*remove)(struct skv_hamt *t, const struct skv_hamt_pos *pos);
	int (*build)(struct skv_hamt *t, struct skv_hamt_item **items, size_t n);
	size_t (*dismantle)(struct skv_hamt *t, size_t budget);
};

extern const struct skv_hamt_code skv_hamt_code_plain;
extern const struct skv_hamt_code skv_hamt_code_popcnt;

/* What this processor runs best. */
const struct skv_hamt_code *skv_hamt_code_best(void);

/* ---- life ------------------------------------------------------------------------ */

/*
 * skv_hamt_init - an empty trie
 * @from: where the memory comes from
 * @heap: of the map that it belongs to, or NULL if nobody reads while another writes
 */
void skv_hamt_init(struct skv_hamt *t, const struct skv_hamt_kind *kind, struct skv_pool *from,
		   struct skv_heap *heap);

/* Ends it, with its versions. Items are not looked at: their pool is ended next. */
void skv_hamt_deinit(struct skv_hamt *t);

/* ---- look-up --------------------------------------------------------------------- */

/*
 * skv_hamt_find - the item of a key in the head
 *
 * With concurrent writers only inside a read-side section, and the item is valid to its end.
 * Wait-free: at most 14 slots. Returns NULL if the key is absent.
 */
static inline struct skv_hamt_item *skv_hamt_find(const struct skv_hamt *t, uint64_t hash,
						  const void *key)
{
	return t->code->find(skv_hamt_slot_load(&t->root), t->kind, hash, key);
}

/* skv_hamt_find_in - the same in a version, which the caller must not have released */
static inline struct skv_hamt_item *skv_hamt_find_in(const struct skv_hamt *t,
						     const struct skv_hamt_version *version,
						     uint64_t hash, const void *key)
{
	return t->code->find(version->root, t->kind, hash, key);
}

/* ---- changes --------------------------------------------------------------------- */

/* skv_hamt_seek - find the place of a key in the head, present or not */
static inline void skv_hamt_seek(struct skv_hamt *t, uint64_t hash, const void *key,
				 struct skv_hamt_pos *pos)
{
	t->code->seek(t, hash, key, pos);
}

/*
 * skv_hamt_put - put an item where its key was sought
 * @pos: of the item's hash and key; not valid afterwards
 *
 * Gives the item its stamp. An item of the same key is retired. Returns 0, or -ENOSPC or -ENOMEM
 * with nothing changed and @item still the caller's.
 */
static inline int skv_hamt_put(struct skv_hamt *t, const struct skv_hamt_pos *pos,
			       struct skv_hamt_item *item)
{
	return t->code->put(t, pos, item);
}

/* skv_hamt_remove - retire the item that was found; 0, -ENOSPC or -ENOMEM with nothing changed */
static inline int skv_hamt_remove(struct skv_hamt *t, const struct skv_hamt_pos *pos)
{
	return t->code->remove(t, pos);
}

/*
 * skv_hamt_build - fill an empty trie
 * @items: in any order; stamps count up in the order of the array
 *
 * Of items with one key the last is kept, the others are retired. Returns 0, or -ENOMEM with the
 * trie empty and the items still the caller's.
 */
static inline int skv_hamt_build(struct skv_hamt *t, struct skv_hamt_item **items, size_t n)
{
	return t->code->build(t, items, n);
}

/*
 * skv_hamt_clear - remove all items
 *
 * One store if there is no version, otherwise linear in what has changed since the newest. The
 * memory comes back with later calls of skv_hamt_dismantle. Returns 0, or -ENOMEM with nothing
 * changed.
 */
int skv_hamt_clear(struct skv_hamt *t);

/* ---- versions -------------------------------------------------------------------- */

/* skv_hamt_freeze - a picture of the head, in constant time: 0, -ENOSPC or -ENOMEM */
int skv_hamt_freeze(struct skv_hamt *t, struct skv_hamt_version **ret_version);

/*
 * skv_hamt_release - end a version, in steps
 * @budget: objects to look at in this call; SIZE_MAX for all
 *
 * Nobody may read @version any more. Returns 1 when it is gone, 0 when there is more to do, or
 * -ENOMEM: the version is left, and skv_hamt_release_left
 * may have more luck.
 */
int skv_hamt_release(struct skv_hamt *t, struct skv_hamt_version *version, size_t budget);

/* skv_hamt_release_left - finish what found no memory and was left; 0 or -ENOMEM */
int skv_hamt_release_left(struct skv_hamt *t);

/* ---- memory ---------------------------------------------------------------------- */

/*
 * skv_hamt_dismantle - free trees that nobody needs
 * @budget: nodes to take apart in this call; SIZE_MAX for all
 *
 * Returns how many trees are known to be left.
 */
static inline size_t skv_hamt_dismantle(struct skv_hamt *t, size_t budget)
{
	return t->whole.n == 0 ? 0 : t->code->dismantle(t, budget);
}

/* Give memory back if nothing is in use. */
void skv_hamt_trim(struct skv_hamt *t);

/* Free a node or version that a grace period has passed over (skv_heap_retire_other). */
void skv_hamt_free_retired(struct skv_hamt *t, void *memory, size_t bytes);

/* ---- for the modules of the trie only -------------------------------------------- */

/* Room for @n more words; @first: the memory that the list began with, or NULL. */
int skv_hamt_list_grow(struct skv_hamt_list *list, const uint64_t *first, size_t n);

static inline int skv_hamt_list_reserve(struct skv_hamt_list *list, const uint64_t *first, size_t n)
{
	return list->cap - list->n >= n ? 0 : skv_hamt_list_grow(list, first, n);
}

static inline void skv_hamt_list_push(struct skv_hamt_list *list, uint64_t word)
{
	list->words[list->n++] = word;
}

static inline int skv_hamt_dead_reserve(struct skv_hamt_version *version, size_t n)
{
	return skv_hamt_list_reserve(&version->dead, version->dead_first, n);
}

/* The stamp of what a slot points to. */
static inline uint64_t skv_hamt_stamp_of(uint64_t slot)
{
	return skv_hamt_is_item(slot) ? skv_hamt_item_of(slot)->stamp :
					skv_hamt_node_of(slot)->stamp;
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_HAMT_NODE_H
#define SKV_HEAP_HAMT_NODE_H

/*
 * hamt-node: how a trie lies in memory.
 *
 * A slot is one word and says by itself what it points to, so that one store turns an item
 * into a node or a node into an item:
 *
 *     63          48 47                                            3 2      0
 *    ┌──────────────┬───────────────────────────────────────────────┬────────┐
 *    │     tag      │                    address                    │  kind  │
 *    └──────────────┴───────────────────────────────────────────────┴────────┘
 *     item:  16 bits of the hash, those of levels 3 to 5, which are the last ones of maps of ten
 *            thousand to ten million keys: a look-up of an absent key hardly ever touches an item,
 *            and a node that parts two keys is made without a look at the first
 *     node:  bits of the hash above its level: 0, 5, .. 60
 *     bunch: 0
 *
 * The hash is consumed from the top, five bits a level and four at the last, so that a walk
 * in slot order is a walk in the order of hashes. A node has one bit in map for each slot, and
 * slots are as many as bits, 2 to 32, in a block that has room for at most three more. Levels
 * at which all keys below agree have no node (path compression): the tag says at which level a
 * node stands. Items whose hashes are equal in all 64 bits lie in a bunch, in the order of their
 * keys.
 *
 *    root ─► node level 0: map 0100..0010  stamp
 *             ├─ item
 *             └─ node level 3: map ...           (levels 1 and 2 would have had one child)
 *                 ├─ item
 *                 ├─ bunch: n 2, item, item
 *                 └─ item
 *
 * So the shape depends on nothing but the hashes that are in the map: equal maps are equal
 * trees, whatever was put and removed on the way there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKV_HAMT_ITEM ((uint64_t)1)
#define SKV_HAMT_BUNCH ((uint64_t)2)
#define SKV_HAMT_KIND_MASK ((uint64_t)3)
/* Only in lists of what is to be freed: everything below, too. */
#define SKV_HAMT_WHOLE ((uint64_t)4)
#define SKV_HAMT_ADDRESS_MASK ((uint64_t)0x0000fffffffffff8)

/* Of a hash, counted from the top: what an item's tag holds. */
#define SKV_HAMT_TAG_FIRST 15u
#define SKV_HAMT_TAG_MASK ((uint64_t)0xffff << 48)

#define SKV_HAMT_BITS 5u
#define SKV_HAMT_LEVELS 13u
#define SKV_HAMT_WIDTH 32u
/* Slots on the way down: the root, one in each node, one in a bunch. */
#define SKV_HAMT_PATH_MAX (SKV_HAMT_LEVELS + 2)

/* What the owner of the trie stores begins with this. */
struct skv_hamt_item {
	uint64_t hash;
	uint64_t stamp; /* of the trie when the item was put; unique if the owner makes it so */
};

/* A node or a bunch. Readers look at map and slots only. */
struct skv_hamt_node {
	uint32_t map;     /* node: which digits there are; bunch: number of items */
	uint32_t nodemap; /* node: those of them that lead to nodes and bunches; bunch: 0 */
	uint64_t stamp;   /* of the trie when this was made */
	uint64_t slots[];
};

static inline uint64_t skv_hamt_kind(uint64_t slot)
{
	return slot & SKV_HAMT_KIND_MASK;
}

static inline bool skv_hamt_is_item(uint64_t slot)
{
	return slot & SKV_HAMT_ITEM;
}

static inline struct skv_hamt_node *skv_hamt_node_of(uint64_t slot)
{
	return (struct skv_hamt_node *)(uintptr_t)(slot & SKV_HAMT_ADDRESS_MASK);
}

static inline struct skv_hamt_item *skv_hamt_item_of(uint64_t slot)
{
	return (struct skv_hamt_item *)(uintptr_t)(slot & SKV_HAMT_ADDRESS_MASK);
}

/* The tag of an item with this hash, in its place. */
static inline uint64_t skv_hamt_tag(uint64_t hash)
{
	return hash << SKV_HAMT_TAG_FIRST & SKV_HAMT_TAG_MASK;
}

static inline uint64_t skv_hamt_slot_item(const struct skv_hamt_item *item)
{
	return skv_hamt_tag(item->hash) | (uint64_t)(uintptr_t)item | SKV_HAMT_ITEM;
}

/* @up: bits of the hash above the node's level */
static inline uint64_t skv_hamt_slot_node(const struct skv_hamt_node *node, unsigned int up)
{
	return (uint64_t)up << 48 | (uint64_t)(uintptr_t)node;
}

static inline uint64_t skv_hamt_slot_bunch(const struct skv_hamt_node *bunch)
{
	return (uint64_t)(uintptr_t)bunch | SKV_HAMT_BUNCH;
}

/* Of a slot that holds a node. */
static inline unsigned int skv_hamt_node_up(uint64_t slot)
{
	return (unsigned int)(slot >> 48);
}

/* Of any slot; what is no node stands below every level. */
static inline unsigned int skv_hamt_up(uint64_t slot)
{
	return skv_hamt_kind(slot) ? 64u : skv_hamt_node_up(slot);
}

static inline unsigned int skv_hamt_digit(uint64_t hash, unsigned int up)
{
	return (unsigned int)(hash << up >> 59);
}

/* The level, as bits above it, at which two different hashes part. */
static inline unsigned int skv_hamt_parting(uint64_t a, uint64_t b)
{
	return (unsigned int)__builtin_clzll(a ^ b) / SKV_HAMT_BITS * SKV_HAMT_BITS;
}

/*
 * Slots that a node of so many has room for: 2, 6, 10, .., so that it takes half a cache line, a
 * whole one, and so on, and the smaller ones never lie across two. Where nobody else reads, a node
 * gains or loses a slot in place three times of four.
 */
static inline size_t skv_hamt_room(size_t n_slots)
{
	return n_slots <= 2 ? 2 : ((n_slots + 1) & ~(size_t)3) + 2;
}

static inline size_t skv_hamt_node_size(size_t n_slots)
{
	return sizeof(struct skv_hamt_node) + skv_hamt_room(n_slots) * sizeof(uint64_t);
}

/* Slots are the only words that change after publication: [slot.store] -> [slot.load] carries
 * the node or item before the way to it. Compiler atomics: no other process sees them. */
static inline uint64_t skv_hamt_slot_load(const uint64_t *slot)
{
	return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

static inline void skv_hamt_slot_store(uint64_t *slot, uint64_t value)
{
	__atomic_store_n(slot, value, __ATOMIC_RELEASE);
}

#endif

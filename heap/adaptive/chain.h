/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_ADAPTIVE_CHAIN_H
#define SKV_HEAP_ADAPTIVE_CHAIN_H

/*
 * chain: a table of buckets, each of some groups, each of any number of entries. Made for
 * writing: an insert touches one word of the table and never moves another entry. The price
 * is memory. Protocol: see chain.c.
 */

#include "heap/adaptive/table.h"

/* Lengths of groups are counted apart up to this one; longer ones count as this long. */
#define SKV_CHAIN_LEN_MAX 255u

/* Entries of a group that holds, or has held, more than one. */
struct skv_group {
	uint32_t cap, n;
	uint64_t words[]; /* 0: nothing here */
};

struct skv_chain {
	struct skv_table table;
	uint64_t buckets;
	uint32_t groups; /* in a bucket; a power of two */
	uint32_t longest;
	uint64_t group_bytes; /* of all blocks that hold groups */
	uint32_t n_of_len[SKV_CHAIN_LEN_MAX + 1]; /* groups; [0] is not kept */
	uint64_t words[] __attribute__((aligned(64)));
};

struct skv_chain_place {
	uint64_t *head; /* the group's word in the table */
	uint64_t *word; /* the entry's, in the table or in the group's block; NULL if not found */
};

/* 16 bits of hash, 48 bits of address; bit 0 set: the address of a struct skv_group. */
#define SKV_CHAIN_IS_GROUP ((uint64_t)1)

static inline uint64_t skv_chain_tag(uint64_t hash)
{
	return hash >> 1 & 0xffff;
}

static inline uint64_t skv_chain_bucket(const struct skv_chain *chain, uint64_t hash)
{
	__extension__ typedef unsigned __int128 wide;

	/* Buckets are in the order of hashes. */
	return (uint64_t)(((wide)hash * chain->buckets) >> 64);
}

static inline uint64_t skv_chain_index(const struct skv_chain *chain, uint64_t hash)
{
	/* The groups by bits that no bucket number and, but for a few, no tag comes from. */
	return skv_chain_bucket(chain, hash) * chain->groups + (hash >> 13 & (chain->groups - 1));
}

static inline struct skv_group *skv_word_group(uint64_t word)
{
	return (struct skv_group *)(uintptr_t)(word & SKV_WORD_ADDRESS & ~SKV_CHAIN_IS_GROUP);
}

/*
 * skv_chain_new - an empty table
 * @buckets, @groups: powers of two
 * @load_max: entries per bucket with which it wants to be left
 */
struct skv_chain *skv_chain_new(struct skv_heap *heap, uint64_t buckets, uint32_t groups,
				double load_max);

uint64_t skv_chain_bytes(uint64_t buckets, uint32_t groups);

/*
 * skv_chain_find - look a key up; NULL if it is not there
 *
 * In a read section. Wait-free: as many entries as the group has room for.
 */
static inline struct skv_record *skv_chain_find(const struct skv_chain *chain,
						const struct skv_key *key, uint64_t hash)
{
	/* [heap.follow] pairs with [heap.publish]. */
	uint64_t word = __atomic_load_n(&chain->words[skv_chain_index(chain, hash)], __ATOMIC_ACQUIRE);
	const struct skv_group *group;
	struct skv_record *record;
	uint32_t i;

	if (!(word & SKV_CHAIN_IS_GROUP)) {
		record = skv_word_record(word);
		if (record && word >> 48 == skv_chain_tag(hash) && skv_record_has_key(record, key))
			return record;
		return NULL;
	}
	group = skv_word_group(word);
	for (i = 0; i < group->cap; i++) {
		word = __atomic_load_n(&group->words[i], __ATOMIC_ACQUIRE);
		record = skv_word_record(word);
		if (record && word >> 48 == skv_chain_tag(hash) && skv_record_has_key(record, key))
			return record;
	}
	return NULL;
}

/* The rest is for the writer, under the lock; what the calls answer is as in robin.h. */

void skv_chain_search(struct skv_chain *chain, const struct skv_key *key, uint64_t hash,
		      struct skv_chain_place *ret_place);
void skv_chain_search_absent(struct skv_chain *chain, uint64_t hash,
			     struct skv_chain_place *ret_place);
/* 0, -ENOSPC or -ENOMEM; then nothing changed. */
int skv_chain_insert(struct skv_heap *heap, struct skv_chain *chain,
		     const struct skv_chain_place *place, uint64_t hash, struct skv_record *record);
void skv_chain_replace(const struct skv_chain_place *place, struct skv_record *record);
void skv_chain_remove(struct skv_heap *heap, struct skv_chain *chain,
		      const struct skv_chain_place *place);
int skv_chain_move(struct skv_heap *heap, struct skv_chain *chain, uint64_t *pos, uint64_t n_max,
		   skv_move_fn *fn, void *arg);
void skv_chain_gather(const struct skv_chain *chain, struct skv_gather *gather);
void skv_chain_each(struct skv_chain *chain, void (*fn)(void *arg, struct skv_record *record),
		    void *arg);

/* Free the blocks of groups of a table that nobody can reach any more. */
void skv_chain_free_groups(struct skv_heap *heap, struct skv_chain *chain);

uint64_t skv_chain_check(const struct skv_heap *heap, const struct skv_chain *chain,
			 void (*fn)(const char *violation, void *arg), void *arg);

#endif

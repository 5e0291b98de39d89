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

static inline uint64_t skv_chain_word(uint64_t hash, const struct skv_record *record)
{
	return skv_chain_tag(hash) << 48 | (uint64_t)(uintptr_t)record;
}

static inline bool skv_chain_word_has_key(uint64_t word, uint64_t hash, const struct skv_key *key)
{
	return word != 0 && word >> 48 == skv_chain_tag(hash) &&
	       skv_record_has_key(skv_word_record(word), key);
}

void skv_chain_count_long(struct skv_chain *chain, uint32_t from, uint32_t to);

/* A group went from one length to the next: O(1), but for the way down from a long one. */
static inline void skv_chain_count(struct skv_chain *chain, uint32_t from, uint32_t to)
{
	if (from + to > 1) {
		skv_chain_count_long(chain, from, to);
		return;
	}
	chain->n_of_len[1] += to - from;
	if (chain->longest <= 1)
		chain->longest = chain->n_of_len[1] > 0;
}

void skv_chain_search_group(struct skv_group *group, const struct skv_key *key, uint64_t hash,
			    struct skv_chain_place *ret_place);

static inline void skv_chain_search_absent(struct skv_chain *chain, uint64_t hash,
					   struct skv_chain_place *ret_place)
{
	ret_place->head = &chain->words[skv_chain_index(chain, hash)];
	ret_place->word = NULL;
}

static inline void skv_chain_search(struct skv_chain *chain, const struct skv_key *key,
				    uint64_t hash, struct skv_chain_place *ret_place)
{
	uint64_t word;

	skv_chain_search_absent(chain, hash, ret_place);
	word = *ret_place->head;
	if (word & SKV_CHAIN_IS_GROUP)
		skv_chain_search_group(skv_word_group(word), key, hash, ret_place);
	else if (skv_chain_word_has_key(word, hash, key))
		ret_place->word = ret_place->head;
}

int skv_chain_insert_beside(struct skv_heap *heap, struct skv_chain *chain,
			    const struct skv_chain_place *place, uint64_t hash,
			    struct skv_record *record);

/* 0, -ENOSPC or -ENOMEM; then nothing changed. */
static inline int skv_chain_insert(struct skv_heap *heap, struct skv_chain *chain,
				   const struct skv_chain_place *place, uint64_t hash,
				   struct skv_record *record)
{
	if (*place->head != 0)
		return skv_chain_insert_beside(heap, chain, place, hash, record);
	skv_table_store(place->head, skv_chain_word(hash, record));
	skv_chain_count(chain, 0, 1);
	chain->table.live++;
	return 0;
}

static inline void skv_chain_replace(const struct skv_chain_place *place, struct skv_record *record)
{
	skv_table_store(place->word,
			(*place->word & ~SKV_WORD_ADDRESS) | (uint64_t)(uintptr_t)record);
}

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

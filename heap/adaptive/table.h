/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_ADAPTIVE_TABLE_H
#define SKV_HEAP_ADAPTIVE_TABLE_H

/*
 * table: what the two kinds of tables of an adaptive map have in common.
 *
 * A map is a chain of tables, nearly always of one. Entries are inserted into the last only;
 * a migration moves those of the first to the last, some with each write, and drops the first
 * when it is empty. An entry moves by being inserted behind before it is taken out in front,
 * so a reader that looks from the first to the last cannot miss it.
 *
 *     map ──► table ──next──► table ──next──► table
 *             (moving out)                    (inserts)
 *
 * An entry is one word: the address of its record and some bits of its hash, so that almost
 * no record is looked at in vain. Addresses of user space have 47 bits on x86-64 and 48 at
 * most on aarch64.
 */

#include "heap/record.h"

enum skv_table_kind {
	SKV_TABLE_ROBIN = 1,
	SKV_TABLE_CHAIN = 2,
};

struct skv_table {
	void *next; /* struct skv_table: followed by readers */
	uint32_t kind;
	uint16_t why;  /* enum shmkv_adaptive_event_type: what began with this table */
	uint16_t from; /* enum shmkv_backend, of the table before it */
	uint64_t bytes;    /* as it was asked for from the pool */
	uint64_t live;     /* entries; written under the lock */
	uint64_t live_max; /* entries (and tombstones) with which it wants to be left */
};

#define SKV_WORD_ADDRESS (((uint64_t)1 << 48) - 1)

static inline struct skv_record *skv_word_record(uint64_t word)
{
	return (struct skv_record *)(uintptr_t)(word & SKV_WORD_ADDRESS);
}

/* [heap.publish] release, pairs with [heap.follow] in every look-up. */
static inline void skv_table_store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline struct skv_table *skv_table_next(const struct skv_table *table)
{
	return skv_rcu_load(&table->next);
}

/*
 * What a scan gathers: records and their hashes. A record that moves meanwhile may be
 * gathered twice.
 */
struct skv_gather {
	const struct skv_heap *heap;
	uint64_t lo, hi; /* hashes from lo to hi, both included */
	struct skv_gathered {
		uint64_t hash;
		const struct skv_record *record;
	} *items;
	size_t n, cap;
	bool failed; /* no memory */
};

/* Notes a record if its hash is in the range. */
void skv_gather_add(struct skv_gather *gather, const struct skv_record *record);

/* Moves one entry of a table that is being left. 0, or why it has to stay for now. */
typedef int skv_move_fn(void *arg, uint64_t hash, struct skv_record *record);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_ADAPTIVE_ROBIN_H
#define SKV_HEAP_ADAPTIVE_ROBIN_H

/*
 * robin: an open-addressing table in which an entry that is far from home displaces one that
 * is nearer to its own. Made for reading: a look-up touches one line of slots, nearly always,
 * and the record. Protocol: see robin.c.
 */

#include "heap/adaptive/table.h"

/* Slots behind the last home. An entry is at most 254 slots away from home. */
#define SKV_ROBIN_AWAY_MAX 254u

struct skv_robin {
	struct skv_table table;
	uint64_t capacity; /* homes */
	uint64_t n_slots;  /* capacity and the tail, in which the last slot is always empty */
	uint64_t tombstones;
	uint64_t away_sum; /* over live entries: slots between home and place */
	uint64_t slots[] __attribute__((aligned(64)));
};

/* Where a writer found a key, or where it would go. */
struct skv_robin_place {
	uint64_t *slot;
	uint64_t away;
	bool found;
	bool is_free; /* an empty slot or a tombstone that may be used as it is */
};

/* 8 bits of distance + 1, 8 bits of hash, 48 bits of address. */
#define SKV_ROBIN_AWAY_ONE ((uint64_t)1 << 56)

static inline uint64_t skv_robin_home(const struct skv_robin *robin, uint64_t hash)
{
	__extension__ typedef unsigned __int128 wide;

	/* Homes are in the order of hashes, for any capacity. */
	return (uint64_t)(((wide)hash * robin->capacity) >> 64);
}

static inline uint64_t skv_robin_tag(uint64_t hash)
{
	return hash >> 1 & 0xff;
}

/*
 * skv_robin_new - an empty table
 * @capacity: at least 8
 * @load_max: entries and tombstones per home with which it wants to be left
 *
 * NULL as skv_pool_alloc.
 */
struct skv_robin *skv_robin_new(struct skv_heap *heap, uint64_t capacity, double load_max);

/* Of the whole table in memory. */
uint64_t skv_robin_bytes(uint64_t capacity);

/*
 * skv_robin_find - look a key up; NULL if it is not there
 *
 * In a read section. Wait-free: at most 255 slots.
 */
static inline struct skv_record *skv_robin_find(const struct skv_robin *robin,
						const struct skv_key *key, uint64_t hash)
{
	const uint64_t *slot = &robin->slots[skv_robin_home(robin, hash)];
	uint64_t want = (uint64_t)1 << 8 | skv_robin_tag(hash), word;
	struct skv_record *record;

	for (;; slot++, want += (uint64_t)1 << 8) {
		/* [heap.follow] pairs with [heap.publish]. */
		word = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
		if (word >> 48 == want) {
			record = skv_word_record(word);
			if (record && skv_record_has_key(record, key))
				return record;
		} else if (word >> 56 < want >> 8) {
			return NULL;
		}
	}
}

/* The rest is for the writer, under the lock. */

void skv_robin_search(struct skv_robin *robin, const struct skv_key *key, uint64_t hash,
		      struct skv_robin_place *ret_place);

/* Where an entry that is surely absent goes. */
void skv_robin_search_absent(struct skv_robin *robin, uint64_t hash,
			     struct skv_robin_place *ret_place);

/*
 * skv_robin_insert - publish a record at the place where its key was not found
 *
 * Returns 0, or -EXFULL: an entry would get too far away from home. Nothing changed then.
 */
int skv_robin_insert(struct skv_robin *robin, const struct skv_robin_place *place, uint64_t hash,
		     struct skv_record *record);

/* Publish a new record of a key that was found. */
void skv_robin_replace(const struct skv_robin_place *place, struct skv_record *record);

void skv_robin_remove(struct skv_robin *robin, const struct skv_robin_place *place);

/*
 * skv_robin_move - give entries to @fn from slot *@pos on, and take out those it took
 * @n_max: entries, and slots in blocks of that many times eight
 *
 * Returns 0 or what @fn answered; *@pos is where to go on, n_slots at the end.
 */
int skv_robin_move(const struct skv_heap *heap, struct skv_robin *robin, uint64_t *pos,
		   uint64_t n_max, skv_move_fn *fn, void *arg);

/* In a read section. */
void skv_robin_gather(const struct skv_robin *robin, struct skv_gather *gather);

/* Each record that is in the table, for taking all down. */
void skv_robin_each(struct skv_robin *robin, void (*fn)(void *arg, struct skv_record *record),
		    void *arg);

/* How many contradictions there are. */
uint64_t skv_robin_check(const struct skv_heap *heap, const struct skv_robin *robin,
			 void (*fn)(const char *violation, void *arg), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_ADAPTIVE_ROBIN_H
#define SKV_HEAP_ADAPTIVE_ROBIN_H

/*
 * robin: an open-addressing table in which an entry that is far from home displaces one that
 * is nearer to its own. Made for reading: a look-up touches one line of slots, nearly always,
 * and the record. Protocol: see robin.c.
 */

#include "heap/adaptive/table.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

/* Slots that are looked at together: see struct skv_robin_near. */
#define SKV_ROBIN_NEAR 4u

/*
 * The first slots from a home on, and what they say of a key with this home and these hash bits.
 * Nearly every look-up ends in them. How far it goes cannot be predicted, so a loop would cost
 * more in wrong guesses of the processor than it saves in slots.
 */
struct skv_robin_near {
	uint64_t words[SKV_ROBIN_NEAR];
	unsigned int same; /* bit i: slot i has that distance and those bits */
	unsigned int ends; /* bit i: nothing with this home is in slot i or behind it */
};

static inline void skv_robin_look_near(const uint64_t *slot, uint64_t want,
				       struct skv_robin_near *ret_near)
{
	unsigned int i, same = 0, ends = 0;
	uint64_t word;

#pragma GCC unroll 4
	for (i = 0; i < SKV_ROBIN_NEAR; i++) {
		/* [heap.follow] pairs with [heap.publish]: also, each slot is read after the one before. */
		word = __atomic_load_n(slot + i, __ATOMIC_ACQUIRE);
		same |= (unsigned int)(word >> 48 == want + ((uint64_t)i << 8)) << i;
		ends |= (unsigned int)(word >> 56 < i + 1) << i;
		ret_near->words[i] = word;
	}
	ret_near->same = same;
	ret_near->ends = ends;
}

/*
 * skv_robin_find - look a key up; NULL if it is not there
 *
 * In a read section. Wait-free: at most 255 slots, and those near twice.
 */
static inline struct skv_record *skv_robin_find(const struct skv_robin *robin,
						const struct skv_key *key, uint64_t hash)
{
	const uint64_t *slot = &robin->slots[skv_robin_home(robin, hash)];
	uint64_t want = (uint64_t)1 << 8 | skv_robin_tag(hash), word;
	struct skv_robin_near near;
	struct skv_record *record;

	skv_robin_look_near(slot, want, &near);
	if (near.same) {
		record = skv_word_record(near.words[__builtin_ctz(near.same)]);
		if (record && skv_record_has_key(record, key))
			return record;
	} else if (near.ends) {
		return NULL;
	}
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

void skv_robin_search_far(struct skv_robin *robin, const struct skv_key *key, uint64_t hash,
			  struct skv_robin_place *ret_place);

/*
 * The same as skv_robin_look_near, for the writer, whom nobody overtakes: the words may be read
 * in any order, and all at once.
 */
static inline void skv_robin_look_near_locked(const uint64_t *slot, uint64_t want,
					      struct skv_robin_near *ret_near)
{
#ifdef __SSE2__
	const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)slot);
	const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(slot + 2));
	/* The upper half of each word: distance, hash bits, 16 bits of address. */
	const __m128i high = _mm_castps_si128(
		_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0xdd));
	const __m128i wanted = _mm_add_epi32(_mm_set1_epi32((int)want),
					     _mm_setr_epi32(0, 1 << 8, 2 << 8, 3 << 8));
	const __m128i same = _mm_cmpeq_epi32(_mm_srli_epi32(high, 16), wanted);
	const __m128i ends = _mm_cmplt_epi32(_mm_srli_epi32(high, 24), _mm_setr_epi32(1, 2, 3, 4));

	ret_near->same = (unsigned int)_mm_movemask_ps(_mm_castsi128_ps(same));
	ret_near->ends = (unsigned int)_mm_movemask_ps(_mm_castsi128_ps(ends));
#else
	skv_robin_look_near(slot, want, ret_near);
#endif
}

/*
 * What skv_robin_look_near tells, if that is enough: the key was found, or its search ends and
 * met no tombstone, which might be the better place.
 */
static inline bool skv_robin_search_near(struct skv_robin *robin, const struct skv_key *key,
					 uint64_t hash, struct skv_robin_place *ret_place)
{
	uint64_t *slot = &robin->slots[skv_robin_home(robin, hash)];
	struct skv_robin_near near;
	unsigned int i, at;

	skv_robin_look_near_locked(slot, (uint64_t)1 << 8 | skv_robin_tag(hash), &near);
	if (key && near.same) {
		at = (unsigned int)__builtin_ctz(near.same);
		if (!skv_word_record(slot[at]) || !skv_record_has_key(skv_word_record(slot[at]), key))
			return false;
		*ret_place = (struct skv_robin_place){ .slot = slot + at, .away = at, .found = true };
		return true;
	}
	if (!near.ends)
		return false;
	at = (unsigned int)__builtin_ctz(near.ends);
	for (i = 0; i < at; i++) {
		if (!skv_word_record(slot[i]))
			return false;
	}
	*ret_place = (struct skv_robin_place){
		.slot = slot + at,
		.away = at,
		.is_free = !skv_word_record(slot[at]),
	};
	return true;
}

static inline void skv_robin_search(struct skv_robin *robin, const struct skv_key *key,
				    uint64_t hash, struct skv_robin_place *ret_place)
{
	if (!skv_robin_search_near(robin, key, hash, ret_place))
		skv_robin_search_far(robin, key, hash, ret_place);
}

/* Where an entry that is surely absent goes. */
static inline void skv_robin_search_absent(struct skv_robin *robin, uint64_t hash,
					   struct skv_robin_place *ret_place)
{
	skv_robin_search(robin, NULL, hash, ret_place);
}

static inline void skv_robin_fill(struct skv_robin *robin, const struct skv_robin_place *place,
				  uint64_t hash, struct skv_record *record)
{
	skv_table_store(place->slot, (place->away + 1) << 56 | skv_robin_tag(hash) << 48 |
					     (uint64_t)(uintptr_t)record);
	robin->away_sum += place->away;
	robin->table.live++;
}

int skv_robin_insert_between(struct skv_robin *robin, const struct skv_robin_place *place,
			     uint64_t hash, struct skv_record *record);

/*
 * skv_robin_insert - publish a record at the place where its key was not found
 *
 * Returns 0, or -EXFULL: an entry would get too far away from home. Nothing changed then.
 */
static inline int skv_robin_insert(struct skv_robin *robin, const struct skv_robin_place *place,
				   uint64_t hash, struct skv_record *record)
{
	if (!place->is_free || place->away > SKV_ROBIN_AWAY_MAX ||
	    place->slot == &robin->slots[robin->n_slots - 1])
		return skv_robin_insert_between(robin, place, hash, record);
	if (*place->slot != 0)
		robin->tombstones--;
	skv_robin_fill(robin, place, hash, record);
	return 0;
}

/* Publish a new record of a key that was found. */
static inline void skv_robin_replace(const struct skv_robin_place *place, struct skv_record *record)
{
	skv_table_store(place->slot,
			(*place->slot & ~SKV_WORD_ADDRESS) | (uint64_t)(uintptr_t)record);
}

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

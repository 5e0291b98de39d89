/* SPDX-License-Identifier: MIT */
/*
 * robin: Robin Hood hashing (Celis, 1986) with tombstones, read without locks.
 *
 *  home   0   1   2   3   4   5   6   ...      capacity-1   tail
 *       [ a0 | c1 | c1 | †1 | d3 | - | g6 | ...            |  x  |  - ]
 *
 * The digit is an entry's home, † a tombstone, - an empty slot. From one empty slot to the
 * next, homes never go down: an entry that is inserted goes behind the last one with the same
 * home, and what stands there moves on by one. A word tells how far its slot is from home, so
 * that a look-up compares distance and hash bits at once, and ends when it meets an entry that
 * is nearer to its home than the key looked for would be. A tombstone keeps its distance, so
 * it never ends a look-up that it should not end.
 *
 *  states of a slot                                who moves it (always under the lock)
 *  empty ──► entry                                 insert
 *  entry ──► entry of the same key                 replace
 *  entry ──► the entry that stood before it        insert, making room
 *  entry ──► tombstone                             remove, move to another table
 *  tombstone ──► entry                             insert, there or making room
 *  tombstone ──► empty                             remove, where nothing behind it came past it
 *
 * READERS. Every change is one word. To make room, entries are copied from the back: each is
 * in its new slot before it leaves the old one. So an entry only ever moves forward, the way
 * a reader goes, and a reader that has not met it cannot have passed it: it finds what is
 * there during the whole look-up. Each single step keeps the order of homes, so a reader that
 * ends early is right to do so. What is removed and put again meanwhile may be missed: it was
 * absent at a moment of the look-up.
 *
 *  pair                                    what it carries
 *  [heap.publish] -> [heap.follow]         the record before the slot that names it; the copy
 *                                          of an entry before the word that overwrites it
 *
 * Linearization points: insert, replace and remove at the one store that changes the key's
 * slot. A look-up that finds: its load of the slot; one that does not: its first load, or the
 * removal that happened during it.
 *
 * PROGRESS. A look-up reads at most 255 slots: the distance in a word has 8 bits. An insert that
 * would push an entry farther is refused before anything changed, and the map takes a larger
 * table. Tombstones count as used, so there is always an empty slot at the end of a cluster.
 */
#include "heap/adaptive/robin.h"

#include <errno.h>

static uint64_t word_away(uint64_t word)
{
	return (word >> 56) - 1;
}

static bool is_tombstone(uint64_t word)
{
	return word != 0 && (word & SKV_WORD_ADDRESS) == 0;
}

/* ---- life ------------------------------------------------------------------------ */

static uint64_t slots_for(uint64_t capacity)
{
	/* An entry cannot be farther away than there are others. One slot stays empty. */
	return capacity + (capacity < SKV_ROBIN_AWAY_MAX ? capacity : SKV_ROBIN_AWAY_MAX) + 1;
}

uint64_t skv_robin_bytes(uint64_t capacity)
{
	return sizeof(struct skv_robin) + slots_for(capacity) * sizeof(uint64_t);
}

struct skv_robin *skv_robin_new(struct skv_heap *heap, uint64_t capacity, double load_max)
{
	uint64_t bytes = skv_robin_bytes(capacity);
	struct skv_robin *robin;

	robin = skv_pool_zeroed(&heap->pool, bytes);
	if (!robin)
		return NULL;
	robin->table.kind = SKV_TABLE_ROBIN;
	robin->table.bytes = bytes;
	robin->table.live_max = (uint64_t)((double)capacity * load_max);
	robin->capacity = capacity;
	robin->n_slots = slots_for(capacity);
	return robin;
}

/* ---- finding --------------------------------------------------------------------- */

/*
 * With @key NULL nothing is compared. A tombstone on the way may take the new entry, if all
 * that lies between it and the end of the search has the same home: then the order stays.
 */
void skv_robin_search_far(struct skv_robin *robin, const struct skv_key *key, uint64_t hash,
			  struct skv_robin_place *ret_place)
{
	uint64_t *slot = &robin->slots[skv_robin_home(robin, hash)], *tombstone = NULL;
	uint64_t away = 0, tombstone_away = 0, tag = skv_robin_tag(hash), word;
	const struct skv_record *record;

	for (;; slot++, away++) {
		word = *slot;
		if (word >> 56 < away + 1)
			break;
		record = skv_word_record(word);
		if (!record) {
			if (!tombstone) {
				tombstone = slot;
				tombstone_away = away;
			}
		} else if (word_away(word) != away) {
			tombstone = NULL;
		} else if (key && (word >> 48 & 0xff) == tag && skv_record_has_key(record, key)) {
			*ret_place = (struct skv_robin_place){ .slot = slot, .away = away, .found = true };
			return;
		}
	}
	if (tombstone)
		*ret_place = (struct skv_robin_place){
			.slot = tombstone,
			.away = tombstone_away,
			.is_free = true,
		};
	else
		*ret_place = (struct skv_robin_place){
			.slot = slot,
			.away = away,
			.is_free = word == 0 || is_tombstone(word),
		};
}

/* ---- changing -------------------------------------------------------------------- */

/*
 * Move everything from @slot to the next free slot on by one, from the back. The caller's entry
 * then overwrites @slot. Refused before the first store.
 */
static int make_room(struct skv_robin *robin, uint64_t *slot)
{
	const uint64_t *last = &robin->slots[robin->n_slots - 1];
	uint64_t *free, *at;

	for (free = slot; *free != 0 && !is_tombstone(*free); free++) {
		if (*free >> 56 == SKV_ROBIN_AWAY_MAX + 1)
			return -EXFULL;
	}
	if (free == last)
		return -EXFULL;
	if (*free != 0)
		robin->tombstones--;
	for (at = free; at > slot; at--)
		skv_table_store(at, *(at - 1) + SKV_ROBIN_AWAY_ONE);
	robin->away_sum += (uint64_t)(free - slot);
	return 0;
}

int skv_robin_insert_between(struct skv_robin *robin, const struct skv_robin_place *place,
			     uint64_t hash, struct skv_record *record)
{
	int r;

	if (place->away > SKV_ROBIN_AWAY_MAX || place->slot == &robin->slots[robin->n_slots - 1])
		return -EXFULL;
	r = make_room(robin, place->slot);
	if (r < 0)
		return r;
	skv_robin_fill(robin, place, hash, record);
	return 0;
}

void skv_robin_remove(struct skv_robin *robin, const struct skv_robin_place *place)
{
	uint64_t *slot = place->slot;

	robin->away_sum -= word_away(*slot);
	robin->table.live--;
	robin->tombstones++;
	skv_table_store(slot, *slot & (uint64_t)0xff << 56);

	/* Nothing behind came past a slot whose successor is empty or at home: it may be empty. */
	if (*(slot + 1) >> 56 > 1)
		return;
	while (is_tombstone(*slot)) {
		skv_table_store(slot, 0);
		robin->tombstones--;
		if (slot == robin->slots)
			break;
		slot--;
	}
}

int skv_robin_move(const struct skv_heap *heap, struct skv_robin *robin, uint64_t *pos,
		   uint64_t n_max, skv_move_fn *fn, void *arg)
{
	/* Records are far apart in memory: fetch some in advance, they tell their hashes. */
	enum { AHEAD = 12 };
	uint64_t i, n = 0, end = robin->n_slots, word;
	struct skv_record *record;
	int r;

	if (n_max < (end - *pos) / 8)
		end = *pos + n_max * 8;
	for (i = *pos; i < end && n < n_max; i++) {
		if (i + AHEAD < robin->n_slots)
			__builtin_prefetch(skv_word_record(robin->slots[i + AHEAD]));
		word = robin->slots[i];
		record = skv_word_record(word);
		if (!record)
			continue;
		r = fn(arg, skv_record_hash(heap, record), record);
		if (r < 0) {
			*pos = i;
			return r;
		}
		robin->away_sum -= word_away(word);
		robin->table.live--;
		robin->tombstones++;
		skv_table_store(&robin->slots[i], word & (uint64_t)0xff << 56);
		n++;
	}
	*pos = i;
	return 0;
}

/* ---- the whole ------------------------------------------------------------------- */

void skv_robin_gather(const struct skv_robin *robin, struct skv_gather *gather)
{
	uint64_t home_max = skv_robin_home(robin, gather->hi), i, word;
	const struct skv_record *record;

	for (i = skv_robin_home(robin, gather->lo); i < robin->n_slots; i++) {
		word = __atomic_load_n(&robin->slots[i], __ATOMIC_ACQUIRE);
		if (i > home_max && (word == 0 || i - word_away(word) > home_max))
			break;
		record = skv_word_record(word);
		if (record)
			skv_gather_add(gather, record);
	}
}

void skv_robin_each(struct skv_robin *robin, void (*fn)(void *arg, struct skv_record *record),
		    void *arg)
{
	struct skv_record *record;
	uint64_t i;

	for (i = 0; i < robin->n_slots; i++) {
		record = skv_word_record(robin->slots[i]);
		if (record)
			fn(arg, record);
	}
}

uint64_t skv_robin_check(const struct skv_heap *heap, const struct skv_robin *robin,
			 void (*fn)(const char *violation, void *arg), void *arg)
{
	uint64_t i, word, home, before = 0, hash, live = 0, tombstones = 0, away = 0, n = 0;
	const char *wrong = NULL;

	for (i = 0; i < robin->n_slots; i++) {
		word = robin->slots[i];
		if (word == 0) {
			before = i + 1;
			continue;
		}
		/* A tombstone may be farther from home than the order asks: nothing ends at it. */
		home = i - word_away(word);
		if (is_tombstone(word)) {
			tombstones++;
			before = home > before ? home : before;
			continue;
		}
		if (home < before || home > i)
			wrong = "an entry of a Robin Hood table stands out of order";
		before = home;
		hash = skv_record_hash(heap, skv_word_record(word));
		if (skv_robin_home(robin, hash) != home)
			wrong = "an entry of a Robin Hood table is not as far from home as it says";
		if ((word >> 48 & 0xff) != skv_robin_tag(hash))
			wrong = "an entry of a Robin Hood table has the hash bits of another";
		live++;
		away += word_away(word);
	}
	if (robin->slots[robin->n_slots - 1] != 0)
		wrong = "the last slot of a Robin Hood table is in use";
	if (live != robin->table.live || tombstones != robin->tombstones || away != robin->away_sum)
		wrong = "a Robin Hood table counts wrong";
	if (wrong) {
		n++;
		if (fn)
			fn(wrong, arg);
	}
	return n;
}

/* SPDX-License-Identifier: MIT */
/*
 * chain: two levels of chaining, read without locks.
 *
 *  bucket 0                                   bucket 1
 *  [group 0][group 1] ... [group 7]           [group 0][group 1] ...
 *     │         │
 *     0       record                             group of one: its record, right here
 *   nobody                                       more: a block [cap][n][record][0][record]
 *
 * With the usual eight groups to a bucket and less than one entry to a bucket, nearly every
 * group has none or one, and then an entry is one word in the table: nothing else is
 * allocated, nothing is compared but bits of hashes, nothing moves.
 *
 * A bucket is chosen by the upper bits of the hash, so buckets are in the order of hashes and
 * a scan can be resumed in a table of any other size; a group by bits from further down.
 *
 *  states of a word                           who moves it (always under the lock)
 *  nothing ──► record                         insert
 *  record ──► record of the same key          replace
 *  record ──► nothing                         remove, move to another table
 *  record ──► group of it and another         insert, in the table only
 *  group ──► larger group                     insert, when it has no room
 *  group ──► nothing                          remove of its last
 *
 * READERS. Every change is one word, and an entry never changes its place in a group: a hole
 * stays where something was removed, and the next insert fills it. When a group moves to a
 * larger block the old one stays as it is until no reader can have it. (A group in which the
 * last entry is swapped into a hole would hide that entry from a reader that is past the hole.)
 *
 *  pair                                   what it carries
 *  [heap.publish] -> [heap.follow]        the record, or the block with all its words, before
 *                                         the word that names it
 *
 * Linearization points: insert, replace and remove at the one store that changes the key's word.
 * PROGRESS. A look-up reads one group, whose length the map watches.
 */
#include "heap/adaptive/chain.h"

#include <errno.h>

/* A group's first block has room for this many, a later one for twice as many and one more. */
#define GROUP_FIRST 3u

static size_t group_bytes(uint32_t cap)
{
	return sizeof(struct skv_group) + cap * sizeof(uint64_t);
}

/* ---- lengths --------------------------------------------------------------------- */

static uint32_t len_counted(uint32_t len)
{
	return len < SKV_CHAIN_LEN_MAX ? len : SKV_CHAIN_LEN_MAX;
}

void skv_chain_count_long(struct skv_chain *chain, uint32_t from, uint32_t to)
{
	from = len_counted(from);
	to = len_counted(to);
	if (from > 0)
		chain->n_of_len[from]--;
	if (to > 0)
		chain->n_of_len[to]++;
	if (to > chain->longest)
		chain->longest = to;
	while (chain->longest > 0 && chain->n_of_len[chain->longest] == 0)
		chain->longest--;
}

static uint32_t len_of(uint64_t head)
{
	if (head & SKV_CHAIN_IS_GROUP)
		return skv_word_group(head)->n;
	return head != 0;
}

/* ---- life ------------------------------------------------------------------------ */

uint64_t skv_chain_bytes(uint64_t buckets, uint32_t groups)
{
	return sizeof(struct skv_chain) + buckets * groups * sizeof(uint64_t);
}

struct skv_chain *skv_chain_new(struct skv_heap *heap, uint64_t buckets, uint32_t groups,
				double load_max)
{
	uint64_t bytes = skv_chain_bytes(buckets, groups);
	struct skv_chain *chain;

	chain = skv_pool_zeroed(&heap->pool, bytes);
	if (!chain)
		return NULL;
	chain->table.kind = SKV_TABLE_CHAIN;
	chain->table.bytes = bytes;
	chain->table.live_max = (uint64_t)((double)buckets * load_max);
	chain->buckets = buckets;
	chain->groups = groups;
	return chain;
}

static struct skv_group *group_new(struct skv_heap *heap, struct skv_chain *chain, uint32_t cap)
{
	struct skv_group *group;

	group = skv_pool_alloc(&heap->pool, group_bytes(cap));
	if (!group)
		return NULL;
	memset(group, 0, group_bytes(cap));
	group->cap = cap;
	chain->group_bytes += skv_pool_block_bytes(group_bytes(cap));
	return group;
}

static void group_retire(struct skv_heap *heap, struct skv_chain *chain, struct skv_group *group)
{
	chain->group_bytes -= skv_pool_block_bytes(group_bytes(group->cap));
	skv_heap_retire(heap, group, group_bytes(group->cap));
}

/* ---- finding --------------------------------------------------------------------- */

void skv_chain_search_group(struct skv_group *group, const struct skv_key *key, uint64_t hash,
			    struct skv_chain_place *ret_place)
{
	uint32_t i;

	for (i = 0; i < group->cap; i++) {
		if (skv_chain_word_has_key(group->words[i], hash, key)) {
			ret_place->word = &group->words[i];
			return;
		}
	}
}

/* ---- changing -------------------------------------------------------------------- */

/* Make a group of what the head names and one more, and publish it. */
static int insert_into_new_group(struct skv_heap *heap, struct skv_chain *chain, uint64_t *head,
				 uint32_t cap, uint64_t word)
{
	struct skv_group *group, *old;
	uint32_t i;

	group = group_new(heap, chain, cap);
	if (!group)
		return heap->pool.error;
	if (*head & SKV_CHAIN_IS_GROUP) {
		old = skv_word_group(*head);
		for (i = 0; i < old->cap; i++)
			group->words[i] = old->words[i];
		group->n = old->n;
	} else {
		old = NULL;
		group->words[0] = *head;
		group->n = 1;
	}
	group->words[group->n++] = word;
	skv_table_store(head, (uint64_t)(uintptr_t)group | SKV_CHAIN_IS_GROUP);
	if (old)
		group_retire(heap, chain, old);
	return 0;
}

int skv_chain_insert_beside(struct skv_heap *heap, struct skv_chain *chain,
			    const struct skv_chain_place *place, uint64_t hash,
			    struct skv_record *record)
{
	uint64_t *head = place->head, word = skv_chain_word(hash, record);
	uint32_t len = len_of(*head), i;
	struct skv_group *group;
	int r = 0;

	if (!(*head & SKV_CHAIN_IS_GROUP)) {
		r = insert_into_new_group(heap, chain, head, GROUP_FIRST, word);
	} else {
		group = skv_word_group(*head);
		if (group->n == group->cap) {
			r = insert_into_new_group(heap, chain, head, 2 * group->cap + 1, word);
		} else {
			for (i = 0; group->words[i] != 0; i++)
				;
			skv_table_store(&group->words[i], word);
			group->n++;
		}
	}
	if (r < 0)
		return r;
	skv_chain_count(chain, len, len + 1);
	chain->table.live++;
	return 0;
}

void skv_chain_remove(struct skv_heap *heap, struct skv_chain *chain,
		      const struct skv_chain_place *place)
{
	uint64_t *head = place->head;
	uint32_t len = len_of(*head);
	struct skv_group *group;

	if (*head & SKV_CHAIN_IS_GROUP) {
		group = skv_word_group(*head);
		skv_table_store(place->word, 0);
		if (--group->n == 0) {
			skv_table_store(head, 0);
			group_retire(heap, chain, group);
		}
	} else {
		skv_table_store(head, 0);
	}
	skv_chain_count(chain, len, len - 1);
	chain->table.live--;
}

/* ---- moving out ------------------------------------------------------------------ */

/* All entries of one group; stops at the first that has to stay. */
static int move_group(struct skv_heap *heap, struct skv_chain *chain, uint64_t *head,
		      skv_move_fn *fn, void *arg, uint64_t *n)
{
	struct skv_chain_place place = { .head = head };
	struct skv_record *record;
	uint32_t i, cap = 1;
	uint64_t *words = head;
	int r;

	if (*head & SKV_CHAIN_IS_GROUP) {
		words = skv_word_group(*head)->words;
		cap = skv_word_group(*head)->cap;
	}
	for (i = 0; i < cap; i++) {
		record = skv_word_record(words[i]);
		if (!record)
			continue;
		r = fn(arg, skv_record_hash(heap, record), record);
		if (r < 0)
			return r;
		++*n;
		place.word = &words[i];
		/* With the last one the group itself goes, and its words with it. */
		skv_chain_remove(heap, chain, &place);
		if (*head == 0)
			break;
	}
	return 0;
}

/* Records are far apart in memory: fetch those of the next words in advance. */
static uint64_t fetch_ahead(const struct skv_chain *chain, uint64_t from, uint64_t end)
{
	enum { WORDS = 64 };
	uint64_t i, to = end - from < WORDS ? end : from + WORDS;

	for (i = from; i < to; i++) {
		if (chain->words[i] != 0)
			__builtin_prefetch(skv_word_record(chain->words[i]));
	}
	return to;
}

int skv_chain_move(struct skv_heap *heap, struct skv_chain *chain, uint64_t *pos, uint64_t n_max,
		   skv_move_fn *fn, void *arg)
{
	uint64_t i, n = 0, end = chain->buckets * chain->groups, fetched = *pos;
	int r;

	if (n_max < (end - *pos) / 8)
		end = *pos + n_max * 8;
	for (i = *pos; i < end && n < n_max; i++) {
		if (i == fetched)
			fetched = fetch_ahead(chain, i, end);
		if (chain->words[i] == 0)
			continue;
		r = move_group(heap, chain, &chain->words[i], fn, arg, &n);
		if (r < 0) {
			*pos = i;
			return r;
		}
	}
	*pos = i;
	return 0;
}

/* ---- the whole ------------------------------------------------------------------- */

static void gather_word(uint64_t word, struct skv_gather *gather)
{
	const struct skv_record *record = skv_word_record(word);

	if (record)
		skv_gather_add(gather, record);
}

void skv_chain_gather(const struct skv_chain *chain, struct skv_gather *gather)
{
	uint64_t i = skv_chain_bucket(chain, gather->lo) * chain->groups;
	uint64_t end = (skv_chain_bucket(chain, gather->hi) + 1) * chain->groups, word;
	const struct skv_group *group;
	uint32_t j;

	for (; i < end; i++) {
		word = __atomic_load_n(&chain->words[i], __ATOMIC_ACQUIRE);
		if (!(word & SKV_CHAIN_IS_GROUP)) {
			gather_word(word, gather);
			continue;
		}
		group = skv_word_group(word);
		for (j = 0; j < group->cap; j++)
			gather_word(__atomic_load_n(&group->words[j], __ATOMIC_ACQUIRE), gather);
	}
}

void skv_chain_each(struct skv_chain *chain, void (*fn)(void *arg, struct skv_record *record),
		    void *arg)
{
	uint64_t i, n_words = chain->buckets * chain->groups, word;
	struct skv_group *group;
	uint32_t j;

	for (i = 0; i < n_words; i++) {
		word = chain->words[i];
		if (word & SKV_CHAIN_IS_GROUP) {
			group = skv_word_group(word);
			for (j = 0; j < group->cap; j++) {
				if (group->words[j] != 0)
					fn(arg, skv_word_record(group->words[j]));
			}
		} else if (word != 0) {
			fn(arg, skv_word_record(word));
		}
	}
}

void skv_chain_free_groups(struct skv_heap *heap, struct skv_chain *chain)
{
	uint64_t i, n_words = chain->buckets * chain->groups;
	struct skv_group *group;

	for (i = 0; i < n_words && chain->group_bytes > 0; i++) {
		if (!(chain->words[i] & SKV_CHAIN_IS_GROUP))
			continue;
		group = skv_word_group(chain->words[i]);
		chain->group_bytes -= skv_pool_block_bytes(group_bytes(group->cap));
		skv_pool_free(&heap->pool, group, group_bytes(group->cap));
		chain->words[i] = 0;
	}
}

struct check {
	const struct skv_heap *heap;
	const struct skv_chain *chain;
	uint64_t live, bytes;
	uint32_t n_of_len[SKV_CHAIN_LEN_MAX + 1];
	const char *wrong;
};

static void check_word(struct check *check, uint64_t i, uint64_t word)
{
	uint64_t hash;

	if (word == 0)
		return;
	hash = skv_record_hash(check->heap, skv_word_record(word));
	if (skv_chain_index(check->chain, hash) != i)
		check->wrong = "an entry of a chained table is in a group of another";
	if (skv_chain_tag(hash) != word >> 48)
		check->wrong = "an entry of a chained table has the hash bits of another";
	check->live++;
}

static void check_group(struct check *check, uint64_t i)
{
	const struct skv_group *group = skv_word_group(check->chain->words[i]);
	uint64_t before = check->live;
	uint32_t j;

	for (j = 0; j < group->cap; j++)
		check_word(check, i, group->words[j]);
	if (check->live - before != group->n || group->n == 0)
		check->wrong = "a group of a chained table has another length than it says";
	check->bytes += skv_pool_block_bytes(group_bytes(group->cap));
	check->n_of_len[len_counted(group->n)]++;
}

uint64_t skv_chain_check(const struct skv_heap *heap, const struct skv_chain *chain,
			 void (*fn)(const char *violation, void *arg), void *arg)
{
	struct check check = { .heap = heap, .chain = chain };
	uint64_t i, n_words = chain->buckets * chain->groups;
	uint32_t len, longest = 0;

	for (i = 0; i < n_words; i++) {
		if (chain->words[i] & SKV_CHAIN_IS_GROUP) {
			check_group(&check, i);
		} else if (chain->words[i] != 0) {
			check_word(&check, i, chain->words[i]);
			check.n_of_len[1]++;
		}
	}
	for (len = 1; len <= SKV_CHAIN_LEN_MAX; len++) {
		if (check.n_of_len[len] != chain->n_of_len[len])
			check.wrong = "a chained table counts the lengths of its groups wrong";
		if (check.n_of_len[len] > 0)
			longest = len;
	}
	if (longest != chain->longest)
		check.wrong = "a chained table does not know its longest group";
	if (check.live != chain->table.live || check.bytes != chain->group_bytes)
		check.wrong = "a chained table counts wrong";
	if (check.wrong && fn)
		fn(check.wrong, arg);
	return check.wrong != NULL;
}

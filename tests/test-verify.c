/* SPDX-License-Identifier: MIT */
#include "tests/segment-copy.h"

#include "shm/block.h"
#include "shm/chunk.h"
#include "shm/leaf.h"

#include <shmkv/view.h>

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-verify: the check names each invariant that was broken by hand, and none while others
 * write, are stopped and are killed; recovery reports what it did and holds nobody up.
 */

static uint8_t payload[200000];

/* ---- what verify says ------------------------------------------------------------------ */

struct said {
	uint64_t n, violated;
	char first[256];
	uint64_t steps, total;
};

static void hear(const char *text, void *arg)
{
	struct said *said = arg;
	unsigned int number = 0;

	CHECK(sscanf(text, "C%u: ", &number) == 1 && number >= 1 && number <= 13);
	said->violated |= 1ull << number;
	if (said->n++ == 0)
		snprintf(said->first, sizeof(said->first), "%s", text);
}

static void hear_progress(uint64_t done, uint64_t total, void *arg)
{
	struct said *said = arg;

	CHECK(done >= said->steps && done <= total && total > 0);
	said->steps = done;
	said->total = total;
}

static struct shmkv_audit verify(struct shmkv *kv, struct said *said)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_watch watch = { .size = sizeof(watch), .violation = hear,
				     .progress = hear_progress, .arg = said };
	int r;

	memset(said, 0, sizeof(*said));
	r = shmkv_verify(kv, &watch, &audit);
	CHECK_EQ(said->n, audit.violations);
	CHECK_EQ(said->violated, audit.violated);
	CHECK_EQ(said->steps, said->total);
	CHECK_EQ(r, audit.violations || audit.leaked_blocks || audit.leaked_leaves ||
				    audit.leaked_chunks ?
			    -EBADMSG :
			    0);
	return audit;
}

/* ---- a segment to break ----------------------------------------------------------------- */

struct patient {
	struct skv_segment s;
	struct skv_copy copy;
	struct shmkv *kv;   /* the copy, read-only */
	struct skv_map map; /* the copy, to be written over */
	struct {
		uint64_t *at, was;
	} undo[64];
	size_t n_undo;
};

static void patient_begin(struct patient *p)
{
	const struct skv_superblock *h = &p->copy.header;
	struct stat st;
	struct said said;
	uint64_t key;
	size_t len;

	skv_fill(payload, sizeof(payload), 3);
	skv_segment_begin(&p->s, 8 * MIB);
	for (key = 0; key < 1200; key++) {
		len = key % 97 == 0 ? 40000 + key : key % 13 == 0 ? 3000 : key % 60;
		CHECK_EQ(shmkv_put(p->s.kv, &key, 8, shmkv_bin(payload, len), NULL), 0);
	}
	for (key = 0; key < 1200; key += 5)
		CHECK_EQ(shmkv_del(p->s.kv, &key, 8), 0);
	skv_copy_begin(&p->copy, &p->s);
	CHECK_EQ(shmkv_attach(p->copy.name, SHMKV_READ_ONLY, &p->kv), 0);
	CHECK_EQ(verify(p->kv, &said).violations, 0);

	memset(&p->map, 0, sizeof(p->map));
	CHECK_EQ(fstat(p->copy.fd, &st), 0);
	p->map.region.base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
				  p->copy.fd, 0);
	CHECK(p->map.region.base != MAP_FAILED);
	p->map.region.block_secret = h->block_secret;
	p->map.region.geo.n_chunks = h->n_chunks;
	p->map.region.geo.n_contexts = h->n_contexts;
	p->map.region.geo.n_processes = h->n_processes;
	p->map.region.geo.process_off = h->process_off;
	p->map.region.geo.context_off = h->context_off;
	p->map.region.geo.dir_off = h->dir_off;
	p->map.region.geo.cell_off = h->cell_off;
	p->map.region.geo.chunk_off = h->chunk_off;
	p->map.region.geo.level_min = h->level_min;
	p->map.region.geo.level_max = h->level_max;
}

static void patient_end(struct patient *p)
{
	shmkv_detach(p->kv);
	skv_copy_end(&p->copy);
	skv_segment_end(&p->s);
}

static void poke(struct patient *p, uint64_t *at, uint64_t word)
{
	CHECK(p->n_undo < ARRAY_LEN(p->undo));
	p->undo[p->n_undo].at = at;
	p->undo[p->n_undo++].was = *at;
	*at = word;
}

static void heal(struct patient *p)
{
	while (p->n_undo > 0) {
		p->n_undo--;
		*p->undo[p->n_undo].at = p->undo[p->n_undo].was;
	}
}

/* ---- finding one of each ------------------------------------------------------------------ */

static struct skv_leaf *find_leaf(struct patient *p, uint64_t state, uint32_t *ret_number)
{
	struct skv_ready ready = skv_chunks_ready(&p->map);
	uint64_t i, leaf;

	SKV_FOR_EACH_CHUNK (&p->map, ready, i) {
		if (skv_chunk_state(skv_chunk_cell(&p->map, i)->w) != SKV_CHUNK_LEAVES)
			continue;
		for (leaf = i * SKV_LEAVES_PER_CHUNK; leaf < (i + 1) * SKV_LEAVES_PER_CHUNK; leaf++) {
			if (skv_leaf_state(skv_leaf_at(&p->map, leaf)->header.w) == state) {
				*ret_number = (uint32_t)leaf;
				return skv_leaf_at(&p->map, leaf);
			}
		}
	}
	skv_test_fail(__FILE__, __LINE__, "no leaf of state %" PRIu64, state);
}

static struct skv_leaf *live_leaf(struct patient *p)
{
	uint32_t number;

	return find_leaf(p, SKV_LEAF_LIVE, &number);
}

static struct skv_cell *find_slot(struct patient *p, uint64_t state)
{
	struct skv_leaf *leaf = live_leaf(p);
	uint32_t i;

	for (i = 0; i < SKV_LEAF_SLOTS; i++) {
		if (skv_slot_state(leaf->slots[i].w) == state)
			return &leaf->slots[i];
	}
	skv_test_fail(__FILE__, __LINE__, "no slot of state %" PRIu64, state);
}

static struct skv_cell *live_slot(struct patient *p)
{
	return find_slot(p, SKV_SLOT_LIVE);
}

static uint64_t live_block(struct patient *p)
{
	return skv_slot_off(live_slot(p)->w);
}

static uint64_t find_chunk(struct patient *p, uint32_t state)
{
	struct skv_ready ready = skv_chunks_ready(&p->map);
	uint64_t i;

	SKV_FOR_EACH_CHUNK (&p->map, ready, i) {
		if (skv_chunk_state(skv_chunk_cell(&p->map, i)->w) == state)
			return i;
	}
	skv_test_fail(__FILE__, __LINE__, "no chunk of state %u", state);
}

static uint64_t *chunk_word(struct patient *p, uint32_t state)
{
	return &skv_chunk_cell(&p->map, find_chunk(p, state))->w;
}

static uint64_t free_block(struct patient *p)
{
	uint64_t head = find_chunk(p, SKV_CHUNK_SLAB), off = skv_chunk_off(&p->map, head), gen;
	struct skv_cell seen = *skv_chunk_cell(&p->map, head);
	uint32_t i, class = skv_chunk_class(seen.w);

	gen = skv_chunk_generation(head, skv_chunk_arg(seen.w));
	for (i = 0; i < skv_class_blocks(class); i++, off += skv_class_bytes[class]) {
		if (skv_block_load(&p->map, off) == skv_block_free_word(&p->map, off, gen))
			return off;
	}
	skv_test_fail(__FILE__, __LINE__, "no free block in slab %" PRIu64, head);
}

static void poke_block(struct patient *p, uint64_t off, uint64_t word)
{
	poke(p, &skv_record_at(&p->map, off)->hw, word ^ skv_block_mask(&p->map, off));
}

/* A directory cell that says SPLIT. */
static void find_split(struct patient *p, uint32_t *ret_level, uint32_t *ret_idx)
{
	uint32_t level, idx;

	for (level = p->map.region.geo.level_min; level < 12; level++) {
		for (idx = 0; idx < 1u << level; idx++) {
			if (skv_dir_kind(skv_dir_cell(&p->map, level, idx)->w) == SKV_DIR_SPLIT) {
				*ret_level = level;
				*ret_idx = idx;
				return;
			}
		}
	}
	skv_test_fail(__FILE__, __LINE__, "no leaf was split");
}

/* The cell that names the leaf. */
static struct skv_cell *cell_of(struct patient *p, const struct skv_leaf *leaf)
{
	return skv_dir_cell(&p->map, (uint32_t)leaf->depth, (uint32_t)leaf->prefix);
}

/* A record of its own chunks, found by the slot that names it. */
static uint64_t run_of(struct patient *p)
{
	return find_chunk(p, SKV_CHUNK_RUN);
}

/* ---- breaking ------------------------------------------------------------------------------ */

static void child_of_split_is_none(struct patient *p)
{
	uint32_t level, idx;

	find_split(p, &level, &idx);
	poke(p, &skv_dir_cell(&p->map, level + 1, idx * 2)->w, 0);
}

static void first_level_is_none(struct patient *p)
{
	poke(p, &skv_dir_cell(&p->map, p->map.region.geo.level_min, 0)->w, 0);
}

static void leaf_governs_and_is_free(struct patient *p)
{
	poke(p, &live_leaf(p)->header.w, SKV_LEAF_FREE);
}

static void leaf_has_another_prefix(struct patient *p)
{
	struct skv_leaf *leaf = live_leaf(p);

	poke(p, &leaf->prefix, leaf->prefix ^ 1);
}

static void cell_names_a_chunk_of_records(struct patient *p)
{
	poke(p, &cell_of(p, live_leaf(p))->w,
	     skv_dir_word(SKV_DIR_LEAF, find_chunk(p, SKV_CHUNK_SLAB) * SKV_LEAVES_PER_CHUNK));
}

static void slot_has_no_state(struct patient *p)
{
	struct skv_cell *slot = live_slot(p);

	poke(p, &slot->w, slot->w | SKV_SLOT_STATE_MASK);
}

static void slot_is_frozen(struct patient *p)
{
	struct skv_cell *slot = live_slot(p);

	poke(p, &slot->w, slot->w | SKV_SLOT_FROZEN);
}

static void slot_is_of_another_prefix(struct patient *p)
{
	struct skv_cell *slot = live_slot(p);

	/* The highest bits of the place stand in v. */
	poke(p, &slot->v, slot->v ^ 0x8000);
}

static void slot_names_the_middle_of_a_block(struct patient *p)
{
	struct skv_cell *slot = live_slot(p);

	poke(p, &slot->w, slot->w + (1ull << SKV_SLOT_OFF_SHIFT));
}

static void linked_block_is_free(struct patient *p)
{
	struct skv_span span;
	uint64_t off = live_block(p);

	CHECK(skv_block_locate(&p->map, off, &span));
	poke_block(p, off, skv_block_free_word(&p->map, off, span.gen));
}

static void record_is_too_large(struct patient *p)
{
	struct skv_record *record = skv_record_at(&p->map, live_block(p));

	poke(p, &record->lens, record->lens + (100000ull << SKV_RECORD_VALUE_SHIFT));
}

static void key_is_another(struct patient *p)
{
	uint64_t *key = (uint64_t *)(void *)(p->map.region.base + live_block(p) + SKV_RECORD_HEADER);

	poke(p, key, *key + 1000000);
}

static struct skv_cell *slot_of_block(struct patient *p, uint64_t off)
{
	struct skv_ready ready = skv_chunks_ready(&p->map);
	struct skv_leaf *leaf;
	uint64_t i;
	uint32_t j, k;

	SKV_FOR_EACH_CHUNK (&p->map, ready, i) {
		if (skv_chunk_state(skv_chunk_cell(&p->map, i)->w) != SKV_CHUNK_LEAVES)
			continue;
		for (j = 0; j < SKV_LEAVES_PER_CHUNK; j++) {
			leaf = skv_leaf_at(&p->map, i * SKV_LEAVES_PER_CHUNK + j);
			for (k = 0; k < SKV_LEAF_SLOTS; k++) {
				if (skv_leaf_state(leaf->header.w) == SKV_LEAF_LIVE &&
				    skv_slot_state(leaf->slots[k].w) == SKV_SLOT_LIVE &&
				    skv_slot_off(leaf->slots[k].w) == off)
					return &leaf->slots[k];
			}
		}
	}
	skv_test_fail(__FILE__, __LINE__, "block %#" PRIx64 " is not linked", off);
}

static void key_stands_twice(struct patient *p)
{
	struct skv_cell *slot = live_slot(p), *other = find_slot(p, SKV_SLOT_EMPTY);

	poke(p, &other->v, slot->v);
	poke(p, &other->w, slot->w);
}

static void key_is_out_of_reach(struct patient *p)
{
	struct skv_leaf *leaf = live_leaf(p);
	uint32_t i, home;

	/* The second key of a line that is its home: the slot before it becomes empty. */
	for (i = 1; i < SKV_LEAF_SLOTS; i++) {
		home = skv_place_home(skv_slot_place(leaf->slots[i].v, leaf->slots[i].w));
		if (i % SKV_LINE_SLOTS != 0 && skv_slot_state(leaf->slots[i].w) == SKV_SLOT_LIVE &&
		    home == i / SKV_LINE_SLOTS) {
			poke(p, &leaf->slots[i - 1].w, SKV_SLOT_EMPTY);
			return;
		}
	}
	skv_test_fail(__FILE__, __LINE__, "no line with two keys");
}

static void block_is_garbage(struct patient *p)
{
	poke_block(p, free_block(p), 0x123456789abcdef0);
}

static void block_is_busy_in_a_slab(struct patient *p)
{
	poke_block(p, free_block(p), 5 << 2 | SKV_BLOCK_BUSY);
}

static void stamp_was_never_given_out(struct patient *p)
{
	poke_block(p, free_block(p), skv_block_alloc_word(SKV_STAMP_COUNTER_MAX - 7));
}

static void linked_block_is_retired(struct patient *p)
{
	uint64_t off = live_block(p), word = skv_block_load(&p->map, off);

	poke_block(p, off, (word & ~SKV_BLOCK_STATE_MASK) | SKV_BLOCK_RETIRED);
}

static void body_is_free(struct patient *p)
{
	poke(p, &skv_chunk_cell(&p->map, run_of(p) + 1)->w, SKV_CHUNK_FREE);
}

static void body_has_another_head(struct patient *p)
{
	uint64_t body = run_of(p) + 1;

	poke(p, &skv_chunk_cell(&p->map, body)->w,
	     skv_chunk_word(SKV_CHUNK_BODY, 0, 0, find_chunk(p, SKV_CHUNK_LEAVES)));
}

static void run_is_shorter_than_its_bodies(struct patient *p)
{
	uint64_t head = run_of(p);
	struct skv_cell *cell = skv_chunk_cell(&p->map, head);

	CHECK(skv_chunk_arg(cell->w) >= 3);
	poke(p, &cell->w, skv_chunk_word(SKV_CHUNK_RUN, 0, 0, skv_chunk_arg(cell->w) - 1));
}

static void run_reaches_beyond_the_end(struct patient *p)
{
	poke(p, chunk_word(p, SKV_CHUNK_RUN), skv_chunk_word(SKV_CHUNK_RUN, 0, 0, 1 << 20));
}

static void slab_has_no_class(struct patient *p)
{
	uint64_t *word = chunk_word(p, SKV_CHUNK_SLAB);

	poke(p, word, (*word & ~(0xffull << SKV_CHUNK_CLASS_SHIFT)) | 0xeeull << SKV_CHUNK_CLASS_SHIFT);
}

static void leaf_has_no_state(struct patient *p)
{
	uint32_t number;

	poke(p, &find_leaf(p, SKV_LEAF_FREE, &number)->header.w, 7);
}

static void live_leaf_governs_nothing(struct patient *p)
{
	struct skv_leaf *leaf;
	uint32_t number;

	leaf = find_leaf(p, SKV_LEAF_FREE, &number);
	poke(p, &leaf->header.w, SKV_LEAF_LIVE);
	poke(p, &leaf->parent, 0);
}

static void chunk_has_no_state(struct patient *p)
{
	poke(p, chunk_word(p, SKV_CHUNK_FREE), 9);
}

static void process_has_no_state(struct patient *p)
{
	poke(p, &skv_peer_slot(&p->map.region, 3)->state, 77);
}

static void context_has_a_free_process(struct patient *p)
{
	poke(p, &skv_context_at(&p->map, 2)->owner, 1ull << SKV_OWNER_INCARNATION_SHIFT | 100);
}

static void context_has_a_process_beyond_the_table(struct patient *p)
{
	poke(p, &skv_context_at(&p->map, 2)->owner, 1ull << SKV_OWNER_INCARNATION_SHIFT | 0xfff0);
}

static void watermarks_meet_and_pass(struct patient *p)
{
	struct skv_superblock *super = skv_super(&p->map);

	poke(p, &super->chunks_ready, super->chunks_ready + p->map.region.geo.n_chunks);
}

/* More places for threads than there are. */
static void contexts_beyond_the_table(struct patient *p)
{
	poke(p, &skv_super(&p->map)->contexts_ready, p->map.region.geo.n_contexts + 1ull);
}

static void key_expires_never(struct patient *p)
{
	struct skv_cell *slot = live_slot(p);

	CHECK_EQ(skv_record_at(&p->map, skv_slot_off(slot->w))->expiry, 0);
	poke(p, &slot->w, slot->w | SKV_SLOT_EXPIRES);
}

static void key_expires_where_none_does(struct patient *p)
{
	struct skv_cell *slot = live_slot(p);

	poke(p, &skv_record_at(&p->map, skv_slot_off(slot->w))->expiry, 1ull << 40);
	poke(p, &slot->w, slot->w | SKV_SLOT_EXPIRES);
}

static void key_expires_too_late(struct patient *p)
{
	struct skv_cell *slot = live_slot(p);

	poke(p, &skv_super(&p->map)->expires, 1);
	poke(p, &skv_record_at(&p->map, skv_slot_off(slot->w))->expiry, UINT64_MAX / 1000000);
	poke(p, &slot->w, slot->w | SKV_SLOT_EXPIRES);
}

static void each_invariant_is_named_when_it_is_broken(void)
{
	static const struct {
		unsigned int number;
		void (*fn)(struct patient *p);
		const char *what;
	} rows[] = {
#define ROW(number, fn) { number, fn, #fn }
		ROW(1, child_of_split_is_none),
		ROW(1, first_level_is_none),
		ROW(2, leaf_governs_and_is_free),
		ROW(2, leaf_has_another_prefix),
		ROW(2, cell_names_a_chunk_of_records),
		ROW(3, slot_has_no_state),
		ROW(3, slot_is_frozen),
		ROW(3, slot_is_of_another_prefix),
		ROW(4, slot_names_the_middle_of_a_block),
		ROW(4, linked_block_is_free),
		ROW(4, record_is_too_large),
		ROW(5, key_is_another),
		ROW(5, key_stands_twice),
		ROW(5, key_is_out_of_reach),
		ROW(6, block_is_garbage),
		ROW(6, block_is_busy_in_a_slab),
		ROW(6, stamp_was_never_given_out),
		ROW(7, linked_block_is_retired),
		ROW(8, body_is_free),
		ROW(8, body_has_another_head),
		ROW(8, run_is_shorter_than_its_bodies),
		ROW(8, run_reaches_beyond_the_end),
		ROW(8, slab_has_no_class),
		ROW(9, leaf_has_no_state),
		ROW(9, live_leaf_governs_nothing),
		ROW(10, chunk_has_no_state),
		ROW(11, process_has_no_state),
		ROW(11, context_has_a_free_process),
		ROW(11, context_has_a_process_beyond_the_table),
		ROW(12, watermarks_meet_and_pass),
		ROW(12, contexts_beyond_the_table),
		ROW(13, key_expires_never),
		ROW(13, key_expires_where_none_does),
		ROW(13, key_expires_too_late),
#undef ROW
	};
	struct patient p = { .n_undo = 0 };
	struct shmkv_audit audit;
	struct said said;
	uint64_t keys;
	size_t i;

	patient_begin(&p);
	audit = verify(p.kv, &said);
	keys = audit.keys;
	CHECK_EQ(audit.violations + audit.leaked_blocks + audit.leaked_leaves + audit.leaked_chunks, 0);
	CHECK_EQ(audit.undecided, 0);
	CHECK_EQ(keys, 960);
	CHECK_EQ(audit.count, keys);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		rows[i].fn(&p);
		audit = verify(p.kv, &said);
		if (!(audit.violated >> rows[i].number & 1))
			skv_test_fail(__FILE__, __LINE__, "%s: C%u is not named, but %s", rows[i].what,
				      rows[i].number, said.n ? said.first : "nothing");
		/* Nobody writes: everything can be decided. */
		CHECK_EQ(audit.undecided, 0);
		heal(&p);
	}
	audit = verify(p.kv, &said);
	CHECK_EQ(audit.violations, 0);
	CHECK_EQ(audit.keys, keys);
	patient_end(&p);
}

/* ---- leaks --------------------------------------------------------------------------------- */

static void block_is_lost(struct patient *p)
{
	poke_block(p, free_block(p), skv_block_alloc_word(1));
}

static void retired_block_is_lost(struct patient *p)
{
	poke_block(p, free_block(p), 1 << 2 | SKV_BLOCK_RETIRED);
}

static void leaf_is_claimed_by_nobody(struct patient *p)
{
	uint32_t number;

	poke(p, &find_leaf(p, SKV_LEAF_FREE, &number)->header.w,
	     SKV_LEAF_CLAIMED | 0ull << SKV_LEAF_CHILD0_SHIFT);
}

static void leaf_is_replaced_by_nobody(struct patient *p)
{
	uint32_t number;

	/* Its child is free; nothing of that contradicts anything, it was only never finished. */
	find_leaf(p, SKV_LEAF_FREE, &number);
	poke(p, &live_leaf(p)->header.w,
	     SKV_LEAF_FORWARD | (uint64_t)number << SKV_LEAF_CHILD0_SHIFT);
}

static void chunk_is_claimed_by_nobody(struct patient *p)
{
	poke(p, chunk_word(p, SKV_CHUNK_FREE), skv_chunk_word(SKV_CHUNK_CLAIMED, 0, 0, 0));
}

static void slab_is_taken_apart_by_nobody(struct patient *p)
{
	uint64_t *word = chunk_word(p, SKV_CHUNK_SLAB);

	poke(p, word, (*word & ~SKV_CHUNK_STATE_MASK) | SKV_CHUNK_DISMANTLE);
}

static void run_is_free_and_not_returned(struct patient *p)
{
	uint64_t head = run_of(p), off = skv_chunk_off(&p->map, head);
	struct skv_span span;

	CHECK(skv_block_locate(&p->map, off, &span));
	/* Not linked any more: the slot that named it is dead. */
	poke(p, &slot_of_block(p, off)->w, SKV_SLOT_DEAD);
	poke_block(p, off, skv_block_free_word(&p->map, off, span.gen));
}

/* The words of context 0 belong to a process that is not there any more: to the copy, the one
 * that made the original has died. */
static void block_is_of_a_dead_writer(struct patient *p)
{
	uint64_t off = free_block(p);

	poke_block(p, off, skv_block_alloc_word(1));
	poke(p, &skv_context_at(&p->map, 0)->new_off, off | SKV_INTENT_COMPLETE);
}

static void leaf_is_claimed_by_a_dead_writer(struct patient *p)
{
	uint32_t number;

	poke(p, &find_leaf(p, SKV_LEAF_FREE, &number)->header.w,
	     SKV_LEAF_CLAIMED | 0ull << SKV_LEAF_CHILD0_SHIFT);
	poke(p, &skv_context_at(&p->map, 0)->rebuild_child[1], number + 1ull);
}

static void chunk_is_claimed_by_a_dead_writer(struct patient *p)
{
	uint64_t chunk = find_chunk(p, SKV_CHUNK_FREE);

	poke(p, &skv_chunk_cell(&p->map, chunk)->w, skv_chunk_word(SKV_CHUNK_CLAIMED, 0, 0, 0));
	poke(p, &skv_context_at(&p->map, 0)->chunk_first, chunk + 1);
	poke(p, &skv_context_at(&p->map, 0)->chunk_len, 1);
}

static void leaks_are_counted_and_the_estate_of_the_dead_apart(void)
{
	static const struct {
		void (*fn)(struct patient *p);
		const char *what;
		unsigned int blocks, leaves, chunks;
		bool dead;
	} rows[] = {
#define ROW(fn, ...) { fn, #fn, __VA_ARGS__ }
		ROW(block_is_lost, 1, 0, 0, false),
		ROW(retired_block_is_lost, 1, 0, 0, false),
		ROW(leaf_is_claimed_by_nobody, 0, 1, 0, false),
		ROW(leaf_is_replaced_by_nobody, 0, 1, 0, false),
		ROW(chunk_is_claimed_by_nobody, 0, 0, 1, false),
		ROW(slab_is_taken_apart_by_nobody, 0, 0, 1, false),
		ROW(run_is_free_and_not_returned, 0, 0, 3, false),
		ROW(block_is_of_a_dead_writer, 1, 0, 0, true),
		ROW(leaf_is_claimed_by_a_dead_writer, 0, 1, 0, true),
		ROW(chunk_is_claimed_by_a_dead_writer, 0, 0, 1, true),
#undef ROW
	};
	struct patient p = { .n_undo = 0 };
	struct shmkv_audit audit;
	struct said said;
	size_t i;

	patient_begin(&p);
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		rows[i].fn(&p);
		audit = verify(p.kv, &said);
		if (audit.violations != 0 || audit.undecided != 0 ||
		    audit.leaked_blocks != rows[i].blocks || audit.leaked_leaves != rows[i].leaves ||
		    audit.leaked_chunks != rows[i].chunks ||
		    audit.dead_blocks != (rows[i].dead ? rows[i].blocks : 0) ||
		    audit.dead_leaves != (rows[i].dead ? rows[i].leaves : 0) ||
		    audit.dead_chunks != (rows[i].dead ? rows[i].chunks : 0))
			skv_test_fail(__FILE__, __LINE__,
				      "%s: %" PRIu64 " violations (%s), leaked %" PRIu64 " %" PRIu64
				      " %" PRIu64 ", of the dead %" PRIu64 " %" PRIu64 " %" PRIu64,
				      rows[i].what, audit.violations, said.first, audit.leaked_blocks,
				      audit.leaked_leaves, audit.leaked_chunks, audit.dead_blocks,
				      audit.dead_leaves, audit.dead_chunks);
		CHECK((audit.leaked_bytes > 0) == (rows[i].blocks > 0));
		CHECK_EQ(audit.unreturned_chunks,
			 rows[i].fn == run_is_free_and_not_returned ? rows[i].chunks : 0);
		heal(&p);
	}
	CHECK_EQ(verify(p.kv, &said).leaked_blocks, 0);
	patient_end(&p);
}

/* ---- while others write ---------------------------------------------------------------------- */

#define WRITERS 3u
#define KEYS 700u

struct crowd {
	struct skv_segment s;
	uint64_t *calls; /* shared, one per writer */
	uint64_t seed;
	unsigned int place;
	pid_t pid[WRITERS];
	bool stopped[WRITERS];
};

static void allow(int r)
{
	switch (r) {
	case 0:
	case -ENOENT:
	case -EEXIST:
	case -ENOSPC:
	case -EAGAIN:
	case -EXFULL:
	case -EPROTOTYPE:
		return;
	default:
		skv_test_fail(__FILE__, __LINE__, "a writer's call answers %s", shmkv_errname(r));
	}
}

/* Views that a writer holds; some for longer. */
#define VIEWS 5u

static void look_at_one(struct shmkv *kv, uint64_t key, struct shmkv_view *views, uint64_t place)
{
	struct shmkv_view *view = &views[place % VIEWS];
	int r;

	if (view->kv)
		CHECK_EQ(shmkv_view_end(view), 0);
	memset(view, 0, sizeof(*view));
	r = shmkv_view_begin(kv, &key, 8, view);
	if (r != 0)
		memset(view, 0, sizeof(*view));
	allow(r);
}

static void one_call(struct shmkv *kv, uint64_t *state, struct shmkv_view *views)
{
	static const size_t lens[] = { 3, 20, 40, 60, 100, 300, 1000, 3000, 9000, 20000, 40000, 100000 };
	uint64_t r = skv_random(state), key = (r >> 32) % KEYS;
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_value value;
	int64_t n;

	/* Mostly small ones: many of them, on few leaves. */
	value = shmkv_bin(payload, lens[(r >> 8) % (r & 1 ? ARRAY_LEN(lens) : 4)]);
	switch ((r >> 16) % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		allow(shmkv_del(kv, &key, 8));
		break;
	case 4:
		allow(shmkv_incr(kv, &key, 8, 1, 0, &n));
		break;
	case 5:
		allow(shmkv_add(kv, &key, 8, value, NULL));
		break;
	case 6:
		if ((r >> 20) % 200 == 0)
			allow(shmkv_recover(kv, &report));
		break;
	case 8:
		look_at_one(kv, key, views, r >> 24);
		break;
	case 7:
		if ((r >> 20) % 500 == 0)
			allow(shmkv_clear(kv, NULL));
		break;
	default:
		allow(shmkv_put(kv, &key, 8, value, NULL));
		break;
	}
}

static void write_for_ever(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t state = crowd->seed;
	struct shmkv *kv = skv_segment_attach(&crowd->s, 0);
	struct shmkv_view views[VIEWS];

	memset(views, 0, sizeof(views));
	for (;;) {
		one_call(kv, &state, views);
		__atomic_add_fetch(&crowd->calls[crowd->place], 1, __ATOMIC_SEQ_CST);
	}
}

static void crowd_start(struct crowd *crowd, unsigned int place)
{
	crowd->place = place;
	crowd->seed = crowd->seed * 31 + place + 1;
	crowd->stopped[place] = false;
	crowd->pid[place] = skv_fork(write_for_ever, crowd);
}

static void crowd_kill(struct crowd *crowd, unsigned int place)
{
	kill(crowd->pid[place], SIGKILL);
	skv_test_wait_killed(crowd->pid[place], SIGKILL);
}

/* A writer is stopped, goes on, or is killed and replaced. */
static void disturb(struct crowd *crowd, uint64_t *seed)
{
	unsigned int place = (unsigned int)(skv_random(seed) % WRITERS);
	int status;

	switch (skv_random(seed) % 4) {
	case 0:
		crowd_kill(crowd, place);
		crowd_start(crowd, place);
		break;
	case 1:
	case 2:
		if (!crowd->stopped[place]) {
			kill(crowd->pid[place], SIGSTOP);
			CHECK_EQ(waitpid(crowd->pid[place], &status, WUNTRACED), crowd->pid[place]);
			CHECK(WIFSTOPPED(status));
			crowd->stopped[place] = true;
			break;
		}
		kill(crowd->pid[place], SIGCONT);
		crowd->stopped[place] = false;
		break;
	default:
		break;
	}
}

static void no_alarm(struct shmkv *kv, const char *when)
{
	struct shmkv_audit audit;
	struct said said;

	audit = verify(kv, &said);
	if (audit.violations > 0)
		skv_test_fail(__FILE__, __LINE__, "%s: %" PRIu64 " violations, the first: %s", when,
			      audit.violations, said.first);
	if (audit.leaked_blocks != audit.dead_blocks || audit.leaked_bytes != audit.dead_bytes ||
	    audit.leaked_leaves != audit.dead_leaves || audit.leaked_chunks != audit.dead_chunks + audit.unreturned_chunks)
		skv_test_fail(__FILE__, __LINE__,
			      "%s: nobody announces %" PRIu64 " blocks, %" PRIu64 " leaves, %" PRIu64
			      " chunks", when, audit.leaked_blocks - audit.dead_blocks,
			      audit.leaked_leaves - audit.dead_leaves,
			      audit.leaked_chunks - audit.dead_chunks);
}

static void nothing_is_violated_while_others_write_stop_and_die(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct crowd crowd = { .calls = skv_shared(WRITERS * sizeof(uint64_t)) };
	uint64_t seed = skv_test_seed(), end = skv_now_ms() + 6000, n;
	struct shmkv *kv;
	unsigned int i;

	crowd.seed = seed;
	skv_segment_begin(&crowd.s, 4 * MIB);
	kv = skv_segment_attach(&crowd.s, SHMKV_READ_ONLY);
	for (i = 0; i < WRITERS; i++)
		crowd_start(&crowd, i);
	for (n = 0; n < 60 || skv_now_ms() < end; n++) {
		disturb(&crowd, &seed);
		no_alarm(kv, "while others write");
	}
	for (i = 0; i < WRITERS; i++) {
		CHECK(crowd.calls[i] > 0);
		crowd_kill(&crowd, i);
	}
	no_alarm(kv, "when all are dead");
	CHECK_EQ(shmkv_recover(crowd.s.kv, &report), 0);
	CHECK(report.processes <= WRITERS);
	shmkv_detach(kv);
	skv_segment_end(&crowd.s);
}

#define STEPPED_WALKS 40u
#define STEPS_BETWEEN 40u
#define REFUSED 77

static void alarm_is_false(const char *text, void *arg)
{
	(void)arg;
	skv_test_fail(__FILE__, __LINE__, "while large records come and go between any two "
					  "instructions: %s", text);
}

struct stepped {
	struct skv_segment s;
};

/* Stops between the index and the chunks: those are what the steps are about. */
static void stop_at_the_chunks(uint64_t done, uint64_t total, void *arg)
{
	bool *stopped = arg;

	if (done < total / 2 || *stopped)
		return;
	*stopped = true;
	raise(SIGSTOP);
}

static void walk_and_be_traced(void *arg)
{
	struct stepped *stepped = arg;
	bool stopped = false;
	struct shmkv_watch watch = { .size = sizeof(watch), .violation = alarm_is_false,
				     .progress = stop_at_the_chunks, .arg = &stopped };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv *kv = skv_segment_attach(&stepped->s, SHMKV_READ_ONLY);

	/* Emulators and some containers have no tracing. */
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(REFUSED);
	shmkv_verify(kv, &watch, &audit);
	raise(SIGSTOP);
	CHECK(stopped);
	CHECK_EQ(audit.leaked_blocks, 0);
	CHECK_EQ(audit.leaked_chunks, audit.unreturned_chunks);
	shmkv_detach(kv);
}

/* Chunks are heads, bodies and free in turn. */
static void come_or_go(struct shmkv *kv, uint64_t n)
{
	static const size_t lens[] = { 40000, 100000, 20000, 70000 };
	const uint64_t key = 1;

	if (n % 2)
		CHECK_EQ(shmkv_del(kv, &key, 8), 0);
	else
		CHECK_EQ(shmkv_put(kv, &key, 8, shmkv_bin(payload, lens[n / 2 % ARRAY_LEN(lens)]), NULL),
			 0);
}

/* Changes come between two instructions of the walk, wherever those are. */
static void spans_that_come_and_go_raise_no_alarm(void)
{
	struct stepped stepped;
	uint64_t seed = skv_test_seed(), n = 0;
	unsigned int walk;
	int status = 0;
	pid_t pid;

	skv_segment_begin(&stepped.s, MIB);
	for (walk = 0; walk < STEPPED_WALKS; walk++) {
		pid = skv_fork(walk_and_be_traced, &stepped);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED) {
			skv_segment_end(&stepped.s);
			skv_test_skip("processes cannot be traced here");
		}
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
		do {
			if (skv_random(&seed) % STEPS_BETWEEN == 0)
				come_or_go(stepped.s.kv, n++);
			CHECK_EQ(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
			CHECK_EQ(waitpid(pid, &status, 0), pid);
		} while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
		CHECK(WIFSTOPPED(status));
		CHECK_EQ(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
		skv_test_wait_ok(pid);
	}
	CHECK(n > 100);
	skv_segment_end(&stepped.s);
}

/* ---- recovery ---------------------------------------------------------------------------------- */

static void recovery_holds_up_nobody(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct crowd crowd = { .calls = skv_shared(WRITERS * sizeof(uint64_t)) };
	struct shmkv_watch watch = { .size = sizeof(watch), .progress = hear_progress };
	struct said said;
	uint64_t before[WRITERS];
	int status;
	unsigned int i, round;

	crowd.seed = skv_test_seed();
	skv_segment_begin(&crowd.s, 4 * MIB);
	for (i = 0; i < WRITERS; i++)
		crowd_start(&crowd, i);
	for (round = 0; round < 30; round++) {
		/* One is stopped wherever it is, one is killed there, and one goes on writing. */
		while (crowd.calls[0] < (round + 1) * 20 || crowd.calls[1] < (round + 1) * 20)
			sched_yield();
		kill(crowd.pid[0], SIGSTOP);
		CHECK_EQ(waitpid(crowd.pid[0], &status, WUNTRACED), crowd.pid[0]);
		crowd_kill(&crowd, 1);
		memset(&said, 0, sizeof(said));
		watch.arg = &said;
		CHECK_EQ(shmkv_recover_watched(crowd.s.kv, &watch, &report), 0);
		CHECK_EQ(said.steps, said.total);
		/* Whoever is alive goes on while one is stopped and after one was buried. */
		before[2] = crowd.calls[2];
		while (__atomic_load_n(&crowd.calls[2], __ATOMIC_SEQ_CST) < before[2] + 10)
			sched_yield();
		CHECK_EQ(skv_segment_info(crowd.s.kv).processes_dead, 0);
		kill(crowd.pid[0], SIGCONT);
		before[0] = crowd.calls[0];
		while (__atomic_load_n(&crowd.calls[0], __ATOMIC_SEQ_CST) < before[0] + 10)
			sched_yield();
		crowd_start(&crowd, 1);
	}
	for (i = 0; i < WRITERS; i++)
		crowd_kill(&crowd, i);
	CHECK_EQ(shmkv_recover(crowd.s.kv, &report), 0);
	skv_segment_end(&crowd.s);
}

struct mortal {
	struct skv_segment s;
};

static void write_and_die(void *arg)
{
	struct mortal *mortal = arg;
	struct shmkv *kv = skv_segment_attach(&mortal->s, 0);

	CHECK_EQ(shmkv_put(kv, KEY("k"), shmkv_int(1), NULL), 0);
	kill(getpid(), SIGKILL);
}

static void what_attaching_recovers_is_reported_once(void)
{
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct mortal mortal;
	struct shmkv *kv;

	skv_segment_begin(&mortal.s, 4 * MIB);
	skv_test_wait_killed(skv_fork(write_and_die, &mortal), SIGKILL);
	kv = skv_segment_attach(&mortal.s, 0);
	CHECK_EQ(skv_segment_info(kv).processes_dead, 0);
	CHECK_EQ(shmkv_recover(mortal.s.kv, &report), 0);
	CHECK_EQ(report.processes, 0);
	CHECK_EQ(shmkv_recover(kv, &report), 0);
	CHECK_EQ(report.processes, 1);
	CHECK_EQ(report.contexts, 1);
	CHECK_EQ(shmkv_recover(kv, &report), 0);
	CHECK_EQ(report.processes, 0);
	shmkv_detach(kv);
	skv_segment_end(&mortal.s);
}

static void watches_of_other_versions_are_understood(void)
{
	struct {
		struct shmkv_watch watch;
		uint64_t more;
	} newer = { .watch = { .size = sizeof(newer), .violation = hear }, .more = 7 };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_watch watch = { .size = offsetof(struct shmkv_watch, progress) };
	struct skv_segment s;

	skv_segment_begin(&s, 4 * MIB);
	CHECK_EQ(shmkv_verify(s.kv, &newer.watch, &audit), 0);
	CHECK_EQ(shmkv_verify(s.kv, NULL, &audit), 0);
	/* A shorter one has no progress to be called. */
	watch.progress = (void (*)(uint64_t, uint64_t, void *))1;
	CHECK_EQ(shmkv_verify(s.kv, &watch, &audit), 0);
	CHECK_EQ(shmkv_recover_watched(s.kv, &watch, &report), 0);
	watch.size = 3;
	CHECK_EQ(shmkv_verify(s.kv, &watch, &audit), -EINVAL);
	CHECK_EQ(shmkv_recover_watched(s.kv, &watch, &report), -EINVAL);
	CHECK_EQ(shmkv_verify(s.kv, NULL, NULL), -EINVAL);
	skv_segment_end(&s);
}

/* ---- table --------------------------------------------------------------------------------------- */

const struct skv_test skv_tests_verify[] = {
	{ "verify", "each invariant is named when it is broken",
	  each_invariant_is_named_when_it_is_broken, 60 },
	{ "verify", "leaks are counted, and the estate of the dead apart",
	  leaks_are_counted_and_the_estate_of_the_dead_apart, 60 },
	{ "verify", "nothing is violated while others write, stop and die",
	  nothing_is_violated_while_others_write_stop_and_die, 120 },
	{ "verify", "spans that come and go raise no alarm", spans_that_come_and_go_raise_no_alarm,
	  120 },
	{ "verify", "recovery holds up nobody", recovery_holds_up_nobody, 120 },
	{ "verify", "what attaching recovers is reported once",
	  what_attaching_recovers_is_reported_once, 20 },
	{ "verify", "watches of other versions are understood",
	  watches_of_other_versions_are_understood, 20 },
	{ 0 },
};

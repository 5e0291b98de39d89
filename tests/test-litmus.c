/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "base/atomic.h"
#include "shm/cell.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/*
 * test-litmus: the shapes that docs/ordering.md reduces the ordering pairs to, as two threads
 * that run against each other over many words. A forbidden outcome must not be seen; of the one
 * shape that x86-64 reorders without a fence it is told how often that was seen, so that one knows
 * whether the rounds can find anything.
 *
 * On x86-64 this tests the compiler and the full fences. It says more on arm64, and nothing about
 * it under emulation.
 */

#define WORDS 20000u
#define TURNS 6u

/* Each on cache lines of its own. */
struct place {
	struct skv_cell cell;
	uint64_t fill1[6];
	uint64_t x, fill2[7];
	uint64_t y, fill3[7];
	uint64_t saw[2][2], fill4[4];
} __attribute__((aligned(64)));

static struct place places[WORDS];
static uint32_t turn[2];

struct shape {
	void (*side[2])(struct place *place);
	bool (*is_forbidden)(const struct place *place);
};

struct side {
	const struct shape *shape;
	unsigned int me;
};

/* In step, about: each goes on when the other has come as far. */
static void meet(unsigned int me, uint32_t at)
{
	unsigned int spins = 0;

	__atomic_store_n(&turn[me], at, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&turn[1 - me], __ATOMIC_SEQ_CST) < at) {
		if (++spins % 1000 == 0)
			sched_yield();
	}
}

static void *run_side(void *arg)
{
	const struct side *side = arg;
	uint32_t i, at = 0;

	for (i = 0; i < WORDS; i++) {
		if (i % 8 == 0)
			meet(side->me, ++at);
		side->shape->side[side->me](&places[i]);
	}
	return NULL;
}

static unsigned long run_shape(const struct shape *shape)
{
	struct side sides[2] = { { shape, 0 }, { shape, 1 } };
	unsigned long n = 0;
	pthread_t thread;
	uint32_t i, k;

	for (k = 0; k < TURNS; k++) {
		memset(places, 0, sizeof(places));
		turn[0] = turn[1] = 0;
		CHECK_EQ(pthread_create(&thread, NULL, run_side, &sides[1]), 0);
		run_side(&sides[0]);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		for (i = 0; i < WORDS; i++)
			n += shape->is_forbidden(&places[i]);
	}
	return n;
}

static void must_not_be_seen(const struct shape *shape)
{
	CHECK_EQ(run_shape(shape), 0);
}

/* ---- one of two sees the other -------------------------------------------------------- */

static bool neither_saw(const struct place *p)
{
	return p->saw[0][0] == 0 && p->saw[1][0] == 0;
}

static void announce_x(struct place *p)
{
	skv_store_release(&p->x, 1);
	skv_fence_seq();
	p->saw[0][0] = skv_load_acquire(&p->y);
}

static void announce_y(struct place *p)
{
	skv_store_release(&p->y, 1);
	skv_fence_seq();
	p->saw[1][0] = skv_load_acquire(&p->x);
}

static void change_y(struct place *p)
{
	CHECK(skv_cas(&p->y, 0, 1));
	skv_fence_seq_after_cas();
	p->saw[1][0] = skv_load_acquire(&p->x);
}

static void count_y(struct place *p)
{
	skv_add_seq(&p->y, 1);
	p->saw[1][0] = skv_load_acquire(&p->x);
}

static void change_slot(struct place *p)
{
	CHECK(skv_cell_cas(&p->cell, (struct skv_cell){ 0, 0 }, 1, 1));
	skv_fence_seq_after_cas();
	p->saw[1][0] = skv_load_acquire(&p->x);
}

static void announce_and_look_at_slot(struct place *p)
{
	skv_store_release(&p->x, 1);
	skv_fence_seq();
	p->saw[0][0] = skv_load_acquire(&p->cell.v);
}

static void plain_x(struct place *p)
{
	skv_store_relaxed(&p->x, 1);
	p->saw[0][0] = skv_load_relaxed(&p->y);
}

static void plain_y(struct place *p)
{
	skv_store_relaxed(&p->y, 1);
	p->saw[1][0] = skv_load_relaxed(&p->x);
}

static void fences_let_one_of_two_see_the_other(void)
{
	static const struct shape unfenced = { { plain_x, plain_y }, neither_saw };
	static const struct shape shapes[] = {
		{ { announce_x, announce_y }, neither_saw },
		{ { announce_x, change_y }, neither_saw },
		{ { announce_x, count_y }, neither_saw },
		{ { announce_and_look_at_slot, change_slot }, neither_saw },
	};
	unsigned int i;

	/* Not required of any machine, only good to know. */
	fprintf(stderr, "# without fences both missed in %lu of %u\n", run_shape(&unfenced),
		WORDS * TURNS);
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		must_not_be_seen(&shapes[i]);
}

/* ---- what comes before is there -------------------------------------------------------- */

static void write_and_publish(struct place *p)
{
	skv_store_relaxed(&p->x, 1);
	/* As the link of a record, or the switch of a cell. */
	CHECK(skv_cell_cas(&p->cell, (struct skv_cell){ 0, 0 }, 1, 1));
}

static void follow(struct place *p)
{
	p->saw[0][0] = skv_load_acquire(&p->cell.v);
	p->saw[0][1] = skv_load_relaxed(&p->x);
}

static bool name_without_content(const struct place *p)
{
	return p->saw[0][0] == 1 && p->saw[0][1] == 0;
}

static void read_pair(struct place *p)
{
	p->saw[0][0] = skv_load_acquire(&p->cell.v);
	p->saw[0][1] = skv_load_acquire(&p->cell.w);
}

static bool new_version_old_word(const struct place *p)
{
	return p->saw[0][0] == 1 && p->saw[0][1] == 0;
}

/* The slot moves on, and then its old record's memory is used. */
static void unlink_and_reuse(struct place *p)
{
	CHECK(skv_cell_cas(&p->cell, (struct skv_cell){ 0, 0 }, 1, 1));
	CHECK(skv_cas(&p->y, 0, 1));
	skv_fence_release();
	skv_store_relaxed(&p->x, 1);
}

static void copy_and_look_again(struct place *p)
{
	p->saw[0][1] = skv_load_relaxed(&p->x);
	skv_fence_acquire();
	p->saw[0][0] = skv_load_relaxed(&p->cell.v);
}

static bool new_bytes_old_version(const struct place *p)
{
	return p->saw[0][1] == 1 && p->saw[0][0] == 0;
}

/* As a leaf is reset: the version first, then EMPTY. */
static void step_then_empty(struct place *p)
{
	skv_store_relaxed(&p->cell.v, 1);
	skv_store_release(&p->cell.w, 1);
}

static void read_word_then_version(struct place *p)
{
	p->saw[0][1] = skv_load_acquire(&p->cell.w);
	p->saw[0][0] = skv_load_relaxed(&p->cell.v);
}

static bool empty_without_its_version(const struct place *p)
{
	return p->saw[0][1] == 1 && p->saw[0][0] == 0;
}

static void what_comes_before_is_seen_before(void)
{
	static const struct shape shapes[] = {
		{ { follow, write_and_publish }, name_without_content },
		{ { read_pair, write_and_publish }, new_version_old_word },
		{ { copy_and_look_again, unlink_and_reuse }, new_bytes_old_version },
		{ { read_word_then_version, step_then_empty }, empty_without_its_version },
	};
	unsigned int i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		must_not_be_seen(&shapes[i]);
}

/* ---- table --------------------------------------------------------------------------- */

const struct skv_test skv_tests_litmus[] = {
	{ "litmus", "full fences let one of two see the other", fences_let_one_of_two_see_the_other,
	  60 },
	{ "litmus", "what comes before is seen before", what_comes_before_is_seen_before, 60 },
	{ 0 },
};

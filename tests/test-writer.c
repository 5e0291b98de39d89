/* SPDX-License-Identifier: MIT */
/* test-writer: threads and their contexts: taking, giving back, running out. */
#include "shm/region.h"
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <shmkv/inspect.h>
#include <stdio.h>
#include <unistd.h>

struct fixture {
	struct shmkv *kv;
	char name[64];
};

static void fixture_begin(struct fixture *f, uint32_t max_threads)
{
	struct shmkv_options options = SHMKV_OPTIONS_INIT;

	snprintf(f->name, sizeof(f->name), "writer-%ld", (long)getpid());
	options.max_threads = max_threads;
	shmkv_unlink(f->name);
	CHECK_EQ(shmkv_create(f->name, &options, &f->kv), 0);
}

static void fixture_end(struct fixture *f)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };

	CHECK_EQ(shmkv_check(f->kv, NULL, NULL, &audit), 0);
	shmkv_detach(f->kv);
	CHECK_EQ(shmkv_unlink(f->name), 0);
}

static uint32_t threads_in_use(struct fixture *f)
{
	struct shmkv_info info = { .size = sizeof(info) };

	CHECK_EQ(shmkv_info(f->kv, &info), 0);
	return info.threads;
}

struct gate {
	struct fixture *f;
	pthread_barrier_t written, leave;
	int answers[64];
};

struct thread {
	struct gate *gate;
	uint32_t number;
	pthread_t id;
};

static void *write_and_wait(void *arg)
{
	struct thread *thread = arg;

	thread->gate->answers[thread->number] =
		shmkv_put(thread->gate->f->kv, &thread->number, sizeof(thread->number),
			  shmkv_uint(thread->number), NULL);
	pthread_barrier_wait(&thread->gate->written);
	pthread_barrier_wait(&thread->gate->leave);
	return NULL;
}

/* @n threads write at once and stay; then what @look does; then they end. */
static void with_threads(struct fixture *f, uint32_t n, void (*look)(struct fixture *f, struct gate *g))
{
	struct thread threads[64];
	struct gate gate = { .f = f };
	uint32_t i;

	CHECK(n <= 64);
	CHECK_EQ(pthread_barrier_init(&gate.written, NULL, n + 1), 0);
	CHECK_EQ(pthread_barrier_init(&gate.leave, NULL, n + 1), 0);
	for (i = 0; i < n; i++) {
		threads[i] = (struct thread){ .gate = &gate, .number = i };
		CHECK_EQ(pthread_create(&threads[i].id, NULL, write_and_wait, &threads[i]), 0);
	}
	pthread_barrier_wait(&gate.written);
	look(f, &gate);
	pthread_barrier_wait(&gate.leave);
	for (i = 0; i < n; i++)
		CHECK_EQ(pthread_join(threads[i].id, NULL), 0);
	pthread_barrier_destroy(&gate.written);
	pthread_barrier_destroy(&gate.leave);
}

static void attach_again(struct fixture *f, struct gate *gate)
{
	struct shmkv *other;
	uint32_t i;

	for (i = 0; i < 12; i++)
		CHECK_EQ(gate->answers[i], 0);
	CHECK(threads_in_use(f) >= 12);
	CHECK_EQ(shmkv_attach(f->name, 0, &other), 0);
	shmkv_detach(other);
	CHECK_EQ(shmkv_attach(f->name, SHMKV_READ_ONLY, &other), 0);
	shmkv_detach(other);
}

static void any_number_of_contexts_can_be_used_up(void)
{
	struct fixture f;

	/* Pages hold eight contexts: the last page of thirteen is not full. */
	fixture_begin(&f, 13);
	with_threads(&f, 12, attach_again);
	fixture_end(&f);
}

static void count_refusals(struct fixture *f, struct gate *gate)
{
	uint32_t i, refused = 0;

	for (i = 0; i < 20; i++) {
		CHECK(gate->answers[i] == 0 || gate->answers[i] == -EUSERS);
		refused += gate->answers[i] != 0;
	}
	/* This thread has the tenth context since it attached. */
	CHECK_EQ(refused, 20 - 9);
	CHECK_EQ(threads_in_use(f), 10);
}

static void all_served(struct fixture *f, struct gate *gate)
{
	uint32_t i;

	for (i = 0; i < 9; i++)
		CHECK_EQ(gate->answers[i], 0);
	CHECK_EQ(threads_in_use(f), 10);
}

static void too_many_threads_are_told_and_the_next_served(void)
{
	struct fixture f;

	fixture_begin(&f, 10);
	with_threads(&f, 20, count_refusals);
	with_threads(&f, 9, all_served);
	fixture_end(&f);
}

static void one_round(struct fixture *f, struct gate *gate)
{
	(void)gate;
	CHECK(threads_in_use(f) <= 17);
}

static void ended_threads_leave_their_contexts_to_others(void)
{
	struct fixture f;
	uint32_t i;

	fixture_begin(&f, 17);
	for (i = 0; i < 20; i++)
		with_threads(&f, 16, one_round);
	/* The process keeps them for its next threads. */
	CHECK(threads_in_use(&f) <= 17);
	fixture_end(&f);
}

static void a_context_out_of_stamps_is_left_for_another(void)
{
	const uint64_t n = 100, contexts = 4;
	struct skv_context *context;
	struct skv_region region;
	uint64_t i, token, last = 0;
	struct fixture f;

	/* Nobody lives to see it: move the counters of all contexts close to their ends. */
	fixture_begin(&f, contexts);
	CHECK_EQ(skv_region_attach(f.name, false, &region), 0);
	context = (struct skv_context *)(void *)(region.base + region.geo.context_off);
	for (i = 0; i < contexts; i++)
		skv_store_relaxed(&context[i].stamp_next, SKV_STAMP_COUNTER_SPENT - n);

	for (i = 0; i < contexts * n + 1; i++) {
		CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_uint(i), &token), 0);
		CHECK(token != last);
		last = token;
		CHECK_EQ(threads_in_use(&f), 1);
		CHECK_EQ(last >> SKV_STAMP_COUNTER_BITS, i / n < contexts ? i / n : contexts - 1);
	}
	/* No other is left: the last one goes on as long as it has stamps, and not further. */
	skv_store_relaxed(&context[contexts - 1].stamp_next, SKV_STAMP_COUNTER_MAX);
	CHECK_EQ(shmkv_put(f.kv, "k", 1, shmkv_uint(i), NULL), -EUSERS);
	CHECK_EQ(shmkv_exists(f.kv, "k", 1), 0);
	skv_region_detach(&region);
	fixture_end(&f);
}

const struct skv_test skv_tests_writer[] = {
	{ "writer", "any number of contexts can be used up", any_number_of_contexts_can_be_used_up, 20 },
	{ "writer", "too many threads are told, and the next are served",
	  too_many_threads_are_told_and_the_next_served, 20 },
	{ "writer", "ended threads leave their contexts to others",
	  ended_threads_leave_their_contexts_to_others, 30 },
	{ "writer", "a context out of stamps is left for another",
	  a_context_out_of_stamps_is_left_for_another, 60 },
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "shm/tally.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Like writers, readers are never given back to malloc: a thread that ends while its handle
 * is detached looks at one for sure. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct skv_reader *pool;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void pool_lock_take(void)
{
	pthread_mutex_lock(&pool_lock);
}

static void pool_lock_give(void)
{
	pthread_mutex_unlock(&pool_lock);
}

static void watch_forks(void)
{
	/* The pool's lock must be free in a child that attaches for itself. */
	pthread_atfork(pool_lock_take, pool_lock_give, pool_lock_give);
}

static struct skv_reader *pool_get(void)
{
	struct skv_reader *reader;

	pthread_once(&once, watch_forks);
	pool_lock_take();
	reader = pool;
	if (reader)
		pool = reader->next;
	pool_lock_give();
	return reader ? reader : calloc(1, sizeof(*reader));
}

static struct skv_reader *reader_of(struct skv_map *map)
{
	struct skv_reader *reader;
	uint64_t none;

	for (reader = __atomic_load_n(&map->readers, __ATOMIC_ACQUIRE); reader; reader = reader->next) {
		none = 0;
		if (__atomic_load_n(&reader->taken, __ATOMIC_RELAXED) == 0 &&
		    __atomic_compare_exchange_n(&reader->taken, &none, map->serial, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return reader;
	}
	reader = pool_get();
	if (!reader)
		return NULL;
	reader->taken = map->serial;
	reader->next = __atomic_load_n(&map->readers, __ATOMIC_ACQUIRE);
	/* Ends: a turn is lost only to a thread that has pushed its own. */
	while (!__atomic_compare_exchange_n(&map->readers, &reader->next, reader, true,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	return reader;
}

struct skv_tally *skv_tally_find(struct skv_map *map)
{
	struct skv_thread_slot *slot;
	struct skv_reader *reader;

	/* -EBUSY: a signal handler that reads inside a writing call of another handle. */
	if (skv_writer_thread_slot(map, &slot) < 0)
		return NULL;
	reader = reader_of(map);
	if (!reader)
		return NULL;
	slot->reader = reader;
	slot->tally = &reader->tally;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	slot->serial = map->serial;
	return slot->tally;
}

/* ---- buckets ------------------------------------------------------------------------- */

static uint32_t bucket_of(const uint64_t *bounds, uint64_t n)
{
	uint32_t i = 0;

	while (n > bounds[i])
		i++;
	return i;
}

uint32_t skv_tally_lines_far(uint32_t distance)
{
	static const uint64_t bounds[SKV_TALLY_LINES] = SKV_LINES_BOUNDS;

	return bucket_of(bounds, distance + 1ull);
}

void skv_tally_again(struct skv_tally *tally, uint32_t tries)
{
	static const uint64_t bounds[SKV_TALLY_AGAIN] = SKV_AGAIN_BOUNDS;

	skv_tally_bump(&tally->again[bucket_of(bounds, tries)]);
}

void skv_tally_outcome(struct skv_tally *tally, int r)
{
	enum skv_outcome outcome;

	switch (r) {
	case -ENOENT:
	case -EEXIST:
	case -ESTALE:
	case -EPROTOTYPE:
	case -ERANGE:
	case -ENOBUFS:
		outcome = SKV_OUTCOME_UNMET;
		break;
	case -ENOSPC:
	case -EXFULL:
		outcome = SKV_OUTCOME_NO_SPACE;
		break;
	case -EAGAIN:
		outcome = SKV_OUTCOME_LOST;
		break;
	default:
		outcome = SKV_OUTCOME_FAILED;
		break;
	}
	skv_tally_bump(&tally->outcomes[outcome]);
}

/* ---- sums ------------------------------------------------------------------------------ */

#define WORDS (sizeof(struct skv_tally) / sizeof(uint64_t))

void skv_tally_sum(struct skv_tally *sum, const struct skv_tally *tally)
{
	const uint64_t *from = (const uint64_t *)(const void *)tally;
	uint64_t *to = (uint64_t *)(void *)sum;
	size_t i;

	for (i = 0; i < WORDS; i++)
		to[i] += skv_load_relaxed(&from[i]);
}

uint64_t skv_tally_calls(const struct skv_tally *tally)
{
	uint64_t n = 0;
	uint32_t i;

	for (i = 0; i < SKV_TALLY_LINES; i++)
		n += skv_load_relaxed(&tally->hit_lines[i]) + skv_load_relaxed(&tally->miss_lines[i]);
	for (i = 0; i < SKV_CALL_N; i++)
		n += skv_load_relaxed(&tally->calls[i]);
	return n;
}

void skv_tally_publish(struct skv_map *map)
{
	struct skv_reader *reader;
	struct skv_tally sum;
	uint64_t *to;
	size_t i;

	if (!map->writers || !map->readers)
		return;
	memset(&sum, 0, sizeof(sum));
	for (reader = map->readers; reader; reader = reader->next)
		skv_tally_sum(&sum, &reader->tally);
	to = (uint64_t *)(void *)&map->writers->ctx->tally;
	for (i = 0; i < WORDS; i++)
		skv_store_relaxed(&to[i], skv_load_relaxed(&to[i]) + ((uint64_t *)(void *)&sum)[i]);
}

void skv_tally_release_all(struct skv_map *map)
{
	struct skv_reader *reader, *next;

	for (reader = map->readers; reader; reader = next) {
		next = reader->next;
		memset(&reader->tally, 0, sizeof(reader->tally));
		__atomic_store_n(&reader->taken, 0, __ATOMIC_RELEASE);
		pool_lock_take();
		reader->next = pool;
		pool = reader;
		pool_lock_give();
	}
	map->readers = NULL;
}

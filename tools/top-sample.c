/* SPDX-License-Identifier: MIT */
#include "top-sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A long look may take this share of the time. */
#define LOOK_SHARE 0.1

#define RATE(member) { #member, offsetof(struct shmkv_stats, member) }

const struct top_rate top_rates[] = {
	RATE(gets),	RATE(hits),	RATE(misses),	    RATE(puts),	    RATE(adds),
	RATE(replaces), RATE(cases),	RATE(updates_in_place), RATE(dels), RATE(takes),
	RATE(clears),	RATE(inserts),	RATE(updates),	    RATE(deletes),  RATE(evictions),
	RATE(expired),	RATE(unmet),
	RATE(no_space), RATE(lost),	RATE(failed),	    RATE(retries),  RATE(read_retries),
	RATE(splits),	RATE(compactions), RATE(recoveries),
};

const size_t top_n_rates = sizeof(top_rates) / sizeof(top_rates[0]);

double top_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t counter(const struct shmkv_stats *stats, const struct top_rate *rate)
{
	uint64_t n;

	memcpy(&n, (const char *)stats + rate->offset, sizeof(n));
	return n;
}

double top_rate_of(const struct top_sample *sample, const struct top_rate *rate)
{
	uint64_t now = counter(&sample->stats, rate), before = counter(&sample->rates_from, rate);

	return sample->seconds > 0 && now > before ? (double)(now - before) / sample->seconds : 0;
}

/* ---- participants ---------------------------------------------------------------- */

struct people {
	struct top_participant *list;
	size_t n, cap;
};

static int add_participant(const struct shmkv_participant *p, void *arg)
{
	struct people *people = arg;
	struct top_participant *larger;
	size_t cap;

	if (people->n == people->cap) {
		cap = people->cap ? people->cap * 2 : 16;
		larger = realloc(people->list, cap * sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		people->list = larger;
		people->cap = cap;
	}
	people->list[people->n].p = *p;
	people->list[people->n++].calls_per_s = 0;
	return 0;
}

static void set_rate(struct top_participant *now, const struct top_sample *before, double seconds)
{
	const struct top_participant *was;

	for (size_t i = 0; i < before->n_people; i++) {
		was = &before->people[i];
		if (was->p.id == now->p.id && was->p.pid == now->p.pid && seconds > 0 &&
		    now->p.calls > was->p.calls)
			now->calls_per_s = (double)(now->p.calls - was->p.calls) / seconds;
	}
}

static int take_people(struct top_sample *sample, struct shmkv *kv, double seconds)
{
	struct people people = { 0 };
	int r = shmkv_participants(kv, add_participant, &people);

	if (r < 0) {
		free(people.list);
		return r;
	}
	for (size_t i = 0; i < people.n; i++)
		set_rate(&people.list[i], sample, seconds);
	free(sample->people);
	sample->people = people.list;
	sample->n_people = people.n;
	return 0;
}

/* ---- sorting --------------------------------------------------------------------- */

const char *const top_sort_names[TOP_SORT_N] = { "rate", "calls", "pid", "pins", "state" };

static int down(double a, double b)
{
	return (a < b) - (a > b);
}

static int by_pid(const struct top_participant *a, const struct top_participant *b)
{
	return (a->p.pid > b->p.pid) - (a->p.pid < b->p.pid);
}

static int compare(const void *va, const void *vb, void *arg)
{
	const struct top_participant *a = va, *b = vb;
	const enum top_sort *by = arg;
	int c = 0;

	switch (*by) {
	case TOP_SORT_RATE:
		c = down(a->calls_per_s, b->calls_per_s);
		break;
	case TOP_SORT_CALLS:
		c = down((double)a->p.calls, (double)b->p.calls);
		break;
	case TOP_SORT_PINS:
		c = down(a->p.pins + a->p.reservations, b->p.pins + b->p.reservations);
		break;
	case TOP_SORT_STATE:
		c = strcmp(b->p.state, a->p.state); /* stopped, dead and alive: trouble first */
		break;
	default:
		break;
	}
	return c ? c : by_pid(a, b);
}

void top_sort(struct top_sample *sample, enum top_sort by, bool reverse)
{
	struct top_participant swap;

	if (sample->n_people < 2)
		return;
	qsort_r(sample->people, sample->n_people, sizeof(*sample->people), compare, &by);
	for (size_t i = 0, j = sample->n_people - 1; reverse && i < j; i++, j--) {
		swap = sample->people[i];
		sample->people[i] = sample->people[j];
		sample->people[j] = swap;
	}
}

/* ---- the long look --------------------------------------------------------------- */

static bool is_fuller(const struct top_leaf *a, const struct top_leaf *b)
{
	return a->live + a->dead > b->live + b->dead;
}

static int add_leaf(const struct shmkv_layout_item *item, void *arg)
{
	struct top_sample *sample = arg;
	struct top_leaf leaf = { item->id, item->prefix, item->depth, item->live, item->dead,
				 item->empty };
	size_t i;

	if (item->part != SHMKV_PART_LEAF || strcmp(item->state, "live") != 0)
		return 0;
	if (sample->n_leaves < TOP_LEAVES)
		sample->n_leaves++;
	else if (!is_fuller(&leaf, &sample->leaves[TOP_LEAVES - 1]))
		return 0;
	for (i = sample->n_leaves - 1; i > 0 && is_fuller(&leaf, &sample->leaves[i - 1]); i--)
		sample->leaves[i] = sample->leaves[i - 1];
	sample->leaves[i] = leaf;
	return 0;
}

static int look(struct top_sample *sample, struct shmkv *kv)
{
	double begin = top_now();
	int r;

	sample->info.size = sizeof(sample->info);
	sample->memory.size = sizeof(sample->memory);
	sample->n_leaves = 0;
	r = shmkv_info(kv, &sample->info);
	if (r == 0)
		r = shmkv_memory(kv, &sample->memory);
	if (r == 0)
		r = shmkv_layout(kv, add_leaf, sample);
	sample->looked_at = top_now();
	sample->look_took = sample->looked_at - begin;
	return r;
}

/* ---- all of it ------------------------------------------------------------------- */

int top_sample_take(struct top_sample *sample, struct shmkv *kv)
{
	double now = top_now(), seconds = sample->when > 0 ? now - sample->when : 0;
	int r;

	r = shmkv_linked(kv);
	if (r < 0)
		return r;
	sample->name = r == SHMKV_LINKED ? TOP_NAME_SAME :
		       r == SHMKV_UNLINKED ? TOP_NAME_GONE :
					     TOP_NAME_OTHER;
	sample->rates_from = sample->stats;
	sample->stats.size = sizeof(sample->stats);
	r = shmkv_stats(kv, &sample->stats);
	if (r == 0)
		r = shmkv_count(kv, &sample->count);
	if (r == 0)
		r = take_people(sample, kv, seconds);
	if (r < 0)
		return r;
	sample->when = now;
	sample->seconds = seconds;
	if (sample->looked_at == 0 ||
	    now - sample->looked_at >= sample->look_took / LOOK_SHARE)
		r = look(sample, kv);
	return r;
}

void top_sample_free(struct top_sample *sample)
{
	free(sample->people);
	memset(sample, 0, sizeof(*sample));
}

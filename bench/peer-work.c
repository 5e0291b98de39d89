/* SPDX-License-Identifier: MIT */
#include "bench/peer-work.h"

#include <math.h>

static const char *const names[WORKS] = {
	[WORK_LOAD] = "load",
	[WORK_GROW] = "grow",
	[WORK_HIT] = "hit",
	[WORK_MISS] = "miss",
	[WORK_GET_MANY] = "get-32",
	[WORK_READ_95] = "95/5",
	[WORK_MIX_50] = "50/50",
	[WORK_UPDATE] = "update",
	[WORK_PUT_MANY] = "put-32",
	[WORK_HOT_GET] = "hot-get",
	[WORK_HOT_MIX] = "hot-mix",
	[WORK_VIEW] = "view",
	[WORK_INSERT] = "insert",
	[WORK_CHURN] = "churn",
	[WORK_DELETE] = "delete",
};

const char *work_name(enum work work)
{
	return names[work];
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t below(uint64_t *state, uint64_t n)
{
	/* No table has 2^32 entries. */
	return (next_random(state) >> 32) * n >> 32;
}

/* ---- Zipf's law ------------------------------------------------------------------- */

/*
 * Rejection-inversion (Hoermann and Derflinger, 1996): no table, about one draw for each number.
 * The integral of x^-skew, its inverse, and what is drawn between.
 */
struct zipf {
	uint64_t n;
	double skew;
	double low, high, shortcut;
};

static double integral(const struct zipf *z, double x)
{
	return expm1((1 - z->skew) * log(x)) / (1 - z->skew);
}

static double integral_inverse(const struct zipf *z, double y)
{
	return exp(log1p(y * (1 - z->skew)) / (1 - z->skew));
}

static void zipf_init(struct zipf *z, uint64_t n, double skew)
{
	z->n = n;
	z->skew = skew;
	z->low = integral(z, 1.5) - 1;
	z->high = integral(z, (double)n + 0.5);
	z->shortcut = 2 - integral_inverse(z, integral(z, 2.5) - pow(2, -skew));
}

/* A rank below n; the first is the most frequent. */
static uint64_t zipf_next(const struct zipf *z, uint64_t *state)
{
	double u, x, k;

	for (;;) {
		u = z->high + (double)(next_random(state) >> 11) * 0x1p-53 * (z->low - z->high);
		x = integral_inverse(z, u);
		k = floor(x + 0.5);
		if (k < 1)
			k = 1;
		if (k > (double)z->n)
			k = (double)z->n;
		if (k - x <= z->shortcut || u >= integral(z, k + 0.5) - pow(k, -z->skew))
			return (uint64_t)k - 1;
	}
}

/* ---- steps ------------------------------------------------------------------------ */

struct draw {
	const struct job *job;
	struct zipf zipf;
	uint64_t state;
	unsigned int worker;
};

/* Which of the stored entries; frequent ones lie scattered. */
static uint32_t draw_any(struct draw *d)
{
	if (d->job->skew <= 0)
		return (uint32_t)below(&d->state, d->job->entries);
	return (uint32_t)(zipf_next(&d->zipf, &d->state) * 2654435761u % d->job->entries);
}

/* One that no other worker draws, for writes that shall not meet. */
static uint32_t draw_own(struct draw *d)
{
	uint32_t entry = draw_any(d), workers = d->job->workers;

	entry = entry / workers * workers + d->worker;
	return entry < d->job->entries ? entry : d->worker;
}

static void mix(struct draw *d, struct peer_step *steps, uint32_t reads_of_100)
{
	uint64_t i;

	for (i = 0; i < d->job->n; i++) {
		steps[i].kind = below(&d->state, 100) < reads_of_100 ? PEER_GET : PEER_PUT;
		steps[i].entry = draw_any(d);
	}
}

static void all(struct draw *d, struct peer_step *steps, enum peer_kind kind)
{
	uint64_t i;

	for (i = 0; i < d->job->n; i++) {
		steps[i].kind = kind;
		steps[i].entry = kind == PEER_PUT || kind == PEER_PUT_MANY ? draw_own(d) : draw_any(d);
	}
}

static void hot(struct draw *d, struct peer_step *steps, bool reads)
{
	uint64_t i;

	for (i = 0; i < d->job->n; i++) {
		steps[i].kind = reads || below(&d->state, 2) ? PEER_GET : PEER_PUT;
		steps[i].entry = (uint32_t)(d->job->entries / 2);
	}
}

/* The fresh ones of a worker, numbered from 0. */
static struct peer_step fresh_step(const struct draw *d, uint64_t i, enum peer_kind kind)
{
	const struct job *job = d->job;

	return (struct peer_step){ (uint32_t)(job->entries + d->worker + i * job->workers), kind };
}

static void fresh(struct draw *d, struct peer_step *steps)
{
	const uint64_t n = d->job->n;
	uint64_t i;

	for (i = 0; i < n; i++) {
		switch (d->job->work) {
		case WORK_INSERT:
			steps[i] = fresh_step(d, i, PEER_INSERT);
			break;
		case WORK_CHURN:
			steps[i] = i % 2 ? fresh_step(d, n + i / 2, PEER_INSERT) :
					   fresh_step(d, i / 2, PEER_DEL);
			break;
		default:
			/* What churn left: n that are behind the n / 2 that it removed. */
			steps[i] = fresh_step(d, n / 2 + i, PEER_DEL);
			break;
		}
	}
}

void job_steps(const struct job *job, unsigned int worker, struct peer_step *steps)
{
	struct draw d = { .job = job, .worker = worker };
	enum peer_kind kind;
	uint64_t i;

	d.state = job->seed * 0x2545f4914f6cdd1dull + worker;
	if (job->skew > 0)
		zipf_init(&d.zipf, job->entries, job->skew);
	switch (job->work) {
	case WORK_LOAD:
	case WORK_GROW:
		kind = job->work == WORK_LOAD && job->value_len <= PEER_BATCH_VALUE_MAX ? PEER_PUT_MANY :
											   PEER_INSERT;
		for (i = 0; i < job->n; i++)
			steps[i] = (struct peer_step){ (uint32_t)(job->first + i), kind };
		break;
	case WORK_HIT:
		all(&d, steps, PEER_GET);
		break;
	case WORK_VIEW:
		all(&d, steps, PEER_VIEW);
		break;
	case WORK_GET_MANY:
		all(&d, steps, PEER_GET_MANY);
		break;
	case WORK_PUT_MANY:
		all(&d, steps, PEER_PUT_MANY);
		break;
	case WORK_UPDATE:
		all(&d, steps, PEER_PUT);
		break;
	case WORK_MISS:
		for (i = 0; i < job->n; i++)
			steps[i] = (struct peer_step){
				PEER_ABSENT_FROM + (uint32_t)below(&d.state, job->entries), PEER_MISS };
		break;
	case WORK_READ_95:
		mix(&d, steps, 95);
		break;
	case WORK_MIX_50:
		mix(&d, steps, 50);
		break;
	case WORK_HOT_GET:
		hot(&d, steps, true);
		break;
	case WORK_HOT_MIX:
		hot(&d, steps, false);
		break;
	default:
		fresh(&d, steps);
		break;
	}
}

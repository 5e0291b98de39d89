/* SPDX-License-Identifier: MIT */
#include "bench/histogram.h"

#include <math.h>

unsigned int histogram_bucket(uint64_t x)
{
	unsigned int shift, bucket;

	if (x < HISTOGRAM_SUB)
		return (unsigned int)x;
	/* The highest bit and the five below it. */
	shift = 63u - (unsigned int)__builtin_clzll(x) - 5u;
	bucket = (shift + 1) * HISTOGRAM_SUB + (unsigned int)(x >> shift) - HISTOGRAM_SUB;
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_bound(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < HISTOGRAM_SUB)
		return bucket;
	shift = bucket / HISTOGRAM_SUB - 1;
	return (((uint64_t)HISTOGRAM_SUB + bucket % HISTOGRAM_SUB + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t x)
{
	h->counts[histogram_bucket(x)]++;
	h->n++;
	if (x > h->max)
		h->max = x;
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
	unsigned int i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->counts[i] += other->counts[i];
	h->n += other->n;
	if (other->max > h->max)
		h->max = other->max;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
	uint64_t rank = (uint64_t)ceil(share * (double)h->n), sum = 0;
	unsigned int i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
		sum += h->counts[i];
		if (sum >= rank && sum > 0)
			return histogram_bound(i) < h->max ? histogram_bound(i) : h->max;
	}
	return h->max;
}

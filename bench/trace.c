/* SPDX-License-Identifier: MIT */
#include "bench/trace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static uint64_t draw(struct trace *trace)
{
	uint64_t x = trace->state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

int trace_init(struct trace *trace, uint64_t n_keys, double skew, uint64_t seed)
{
	double sum = 0, all = 0;
	uint64_t i;

	*trace = (struct trace){ .n_keys = n_keys };
	trace->upto = malloc(n_keys * sizeof(*trace->upto));
	if (!trace->upto)
		return -ENOMEM;
	for (i = 0; i < n_keys; i++)
		all += pow((double)(i + 1), -skew);
	for (i = 0; i < n_keys; i++) {
		sum += pow((double)(i + 1), -skew);
		trace->upto[i] = sum / all;
	}
	trace_begin(trace, seed, 0, 0);
	return 0;
}

void trace_deinit(struct trace *trace)
{
	free(trace->upto);
	trace->upto = NULL;
}

void trace_begin(struct trace *trace, uint64_t seed, uint64_t scan_every, uint64_t scan_len)
{
	trace->state = seed;
	trace->scan_every = scan_every;
	trace->scan_len = scan_len;
	trace->n_asked = 0;
	trace->n_scanned = 0;
}

uint64_t trace_keys(const struct trace *trace, uint64_t n_requests)
{
	uint64_t n_scans = trace->scan_every ? n_requests / trace->scan_every : 0;

	return trace->n_keys + n_scans * trace->scan_len;
}

uint64_t trace_next(struct trace *trace, bool *ret_scan)
{
	uint64_t low = 0, high = trace->n_keys - 1, middle;
	double x;

	/* So much of the scans is due by now. */
	*ret_scan = trace->scan_every &&
		    trace->n_scanned < trace->n_asked / trace->scan_every * trace->scan_len;
	if (*ret_scan)
		return trace->n_keys + trace->n_scanned++;

	trace->n_asked++;
	x = (double)(draw(trace) >> 11) * 0x1p-53;
	while (low < high) {
		middle = (low + high) / 2;
		if (trace->upto[middle] <= x)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

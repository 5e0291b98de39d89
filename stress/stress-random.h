/* SPDX-License-Identifier: MIT */
#ifndef STRESS_RANDOM_H
#define STRESS_RANDOM_H

/*
 * stress-random: the numbers that choose what happens next.
 *
 * splitmix64: one word of state, any start value is good, and the same seed gives the same
 * choices again.
 */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

struct stress_random {
	uint64_t state;
};

/* A bijection that spreads every input bit over all output bits. */
static inline uint64_t stress_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline uint64_t stress_random_next(struct stress_random *random)
{
	random->state += 0x9e3779b97f4a7c15u;
	return stress_mix(random->state);
}

/* 0 .. n-1; @n is not 0. The bias of the remainder does not matter for a load. */
static inline uint64_t stress_random_below(struct stress_random *random, uint64_t n)
{
	return stress_random_next(random) % n;
}

static inline bool stress_random_one_in(struct stress_random *random, uint64_t n)
{
	return stress_random_below(random, n) == 0;
}

/* Nanoseconds until the next of events that come at random, @rate of them per second. */
static inline uint64_t stress_random_pause_ns(struct stress_random *random, double rate)
{
	double unit = ((double)(stress_random_next(random) >> 11) + 1.0) / 9007199254740993.0;

	return (uint64_t)(-log(unit) / rate * 1e9);
}

#endif

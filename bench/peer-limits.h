/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_LIMITS_H
#define SHMKV_BENCH_PEER_LIMITS_H

/*
 * peer-limits: what the machine allows, measured in the same run: loads that wait for one
 * another, loads that do not, compare-and-swaps, copies, and waking another process.
 */

#include "bench/bench.h"
#include "bench/peer-cells.h"

/* 0, or 1 after it said why on standard error. */
int peer_limits(struct cells *cells, const struct bench_options *options);

#endif

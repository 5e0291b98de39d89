/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_GROWTH_H
#define SHMKV_BENCH_PEER_GROWTH_H

/*
 * peer-growth: how long single insertions take while a map grows from 100,000 entries to ten or a
 * hundred times as many, memory for them included.
 */

#include "bench/bench.h"
#include "bench/peer-cells.h"

/* 0, or 1 after it said why on standard error. */
int peer_growth(struct cells *cells, const struct bench_options *options);

#endif

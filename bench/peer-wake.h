/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_WAKE_H
#define SHMKV_BENCH_PEER_WAKE_H

/*
 * peer-wake: a round trip of two processes that sleep until the other one has changed a key,
 * beside the limit, two processes and a futex.
 */

#include "bench/bench.h"
#include "bench/peer-cells.h"

/* 0, or 1 after it said why on standard error. */
int peer_wake(struct cells *cells, const struct bench_options *options);

#endif

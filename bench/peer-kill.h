/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_KILL_H
#define SHMKV_BENCH_PEER_KILL_H

/*
 * peer-kill: how long the others wait when a process that writes is killed.
 *
 * Two processes read and write the same keys; one of them is killed at a random moment. The figure is
 * the longest call of the other one, from the beginning to long after the kill. One that does
 * not come back within two seconds never does.
 */

#include "bench/bench.h"
#include "bench/peer-cells.h"

/* 0, or 1 after it said why on standard error. */
int peer_kill(struct cells *cells, const struct bench_options *options);

#endif

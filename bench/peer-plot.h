/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_PLOT_H
#define SHMKV_BENCH_PEER_PLOT_H

/*
 * peer-plot: pictures of what bench-peers measured: throughput against entries, length of values
 * and workers, and how many calls took how long. Drawn by gnuplot, if it is there; its input
 * stays beside the pictures.
 */

#include "bench/peer-cells.h"

/* 0, also without gnuplot; 1 after it said why on standard error. */
int peer_plots(const struct cells *cells, const char *folder);

#endif

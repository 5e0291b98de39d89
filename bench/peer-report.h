/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_REPORT_H
#define SHMKV_BENCH_PEER_REPORT_H

/*
 * peer-report: the figures of bench-peers for people, as JSON, and as comma-separated values.
 */

#include "bench/bench.h"
#include "bench/peer-cells.h"

/* On standard output what the options ask for. 0 or 1. */
int peer_report(const struct cells *cells, const struct bench_options *options);

#endif

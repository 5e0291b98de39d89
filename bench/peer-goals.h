/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_GOALS_H
#define SHMKV_BENCH_PEER_GOALS_H

/*
 * peer-goals: what shmkv wants to reach beside others and beside the limits, as ratios within one
 * run, and the cell in which it is farthest from that.
 */

#include "bench/peer-cells.h"

#include <stdio.h>

enum peer_goals_form { PEER_GOALS_TEXT, PEER_GOALS_JSON };

void peer_goals(FILE *f, const struct cells *cells, enum peer_goals_form form);

#endif

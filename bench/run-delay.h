/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_RUN_DELAY_H
#define SHMKV_BENCH_RUN_DELAY_H

/*
 * run-delay: how long a thread was ready to run while another one had its processor.
 *
 * The kernel counts it for each thread. Taken from the time on the clock, what is left is time
 * that the thread worked or slept for a reason of its own, also on a busy machine. Where the
 * kernel does not count, the delay is 0.
 */

#include <stdint.h>

struct run_delay {
	int fd; /* of the thread that opened it */
};

void run_delay_open(struct run_delay *delay);
void run_delay_close(struct run_delay *delay);

/* Nanoseconds since the thread began. Costs a system call, about 2 us. */
uint64_t run_delay_ns(const struct run_delay *delay);

#endif

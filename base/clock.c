/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <sys/stat.h>
#include <time.h>

/* These clocks exist on every kernel we run on: the call cannot fail. */
static uint64_t read_ns(clockid_t clock)
{
	struct timespec ts = { 0, 0 };

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t skv_clock_boot_ns(void)
{
	return read_ns(CLOCK_BOOTTIME);
}

uint64_t skv_clock_boot_ms(void)
{
	return skv_clock_boot_ns() / 1000000u;
}

uint64_t skv_clock_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/time", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

uint64_t skv_clock_coarse_ms(void)
{
	return read_ns(CLOCK_MONOTONIC_COARSE) / 1000000u;
}

uint64_t skv_clock_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

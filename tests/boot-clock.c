/* SPDX-License-Identifier: MIT */
#include "tests/boot-clock.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct times {
	uint64_t boot_ns; /* 0: the kernel's */
	int64_t wall_s;
	uint64_t wall_asked;
} *times;

/* Called by anything, also before main. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	uint64_t ns = times ? __atomic_load_n(&times->boot_ns, __ATOMIC_SEQ_CST) : 0;
	int r = (int)syscall(SYS_clock_gettime, clock, ts);

	if (r < 0 || !times)
		return r;
	if (clock == CLOCK_BOOTTIME && ns) {
		ts->tv_sec = (time_t)(ns / 1000000000u);
		ts->tv_nsec = (long)(ns % 1000000000u);
	}
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
		__atomic_add_fetch(&times->wall_asked, 1, __ATOMIC_RELAXED);
		ts->tv_sec += times->wall_s;
	}
	return 0;
}

void skv_boot_clock_stop(void)
{
	struct timespec ts;

	times = mmap(NULL, sizeof(*times), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (times == MAP_FAILED)
		abort();
	clock_gettime(CLOCK_BOOTTIME, &ts);
	times->boot_ns = ((uint64_t)ts.tv_sec + 1) * 1000000000u;
}

void skv_boot_clock_advance_ns(uint64_t ns)
{
	__atomic_add_fetch(&times->boot_ns, ns, __ATOMIC_SEQ_CST);
}

void skv_boot_clock_advance_ms(uint64_t ms)
{
	skv_boot_clock_advance_ns(ms * 1000000u);
}

uint64_t skv_boot_clock_ns(void)
{
	return __atomic_load_n(&times->boot_ns, __ATOMIC_SEQ_CST);
}

void skv_wall_clock_set(int64_t by_seconds)
{
	times->wall_s += by_seconds;
}

uint64_t skv_wall_clock_asked(void)
{
	return times->wall_asked;
}

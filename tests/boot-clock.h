/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_BOOT_CLOCK_H
#define SKV_TESTS_BOOT_CLOCK_H

/*
 * boot-clock: time that passes when a test says so.
 *
 * In place of libc's clock_gettime for the whole test program. Until it is stopped, time is
 * the kernel's. Then the boot clock stands still, for this process and for children that are
 * forked afterwards, and all of them may move it. The other clocks go on.
 */

#include <stdint.h>

/* From now on the boot clock shows a whole millisecond, the same one to everybody. */
void skv_boot_clock_stop(void);

void skv_boot_clock_advance_ms(uint64_t ms);
void skv_boot_clock_advance_ns(uint64_t ns);
uint64_t skv_boot_clock_ns(void);

/* The wall clock is set, forward or back. */
void skv_wall_clock_set(int64_t by_seconds);

/* How often anybody has asked for a time that can be set. */
uint64_t skv_wall_clock_asked(void);

#endif

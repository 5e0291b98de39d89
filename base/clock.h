/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_CLOCK_H
#define SKV_BASE_CLOCK_H

/*
 * clock: the three clocks of the library. None of them can be set, so a changed wall clock
 * moves nothing. All answers come from the vDSO, without entering the kernel.
 */

#include <stdint.h>

/*
 * skv_clock_boot_ms - milliseconds since the machine booted, time asleep included
 *
 * The same for all processes of one time namespace, so it may be stored in a segment. It
 * starts again with the next boot: a segment also records which boot it belongs to.
 */
uint64_t skv_clock_boot_ms(void);

/* skv_clock_boot_ns - the same in nanoseconds */
uint64_t skv_clock_boot_ns(void);

/*
 * skv_clock_namespace - the time namespace that the boot clock of this process is of
 *
 * Returns a number that two processes share exactly if they share the namespace, or 0 when it
 * is not known: no /proc, or a kernel without time namespaces.
 */
uint64_t skv_clock_namespace(void);

/* skv_clock_coarse_ms - monotonic, up to one scheduler tick (1 to 10 ms) late, cheapest */
uint64_t skv_clock_coarse_ms(void);

/* skv_clock_ns - monotonic nanoseconds, for measuring and for deadlines */
uint64_t skv_clock_ns(void);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_DURATIONS_H
#define TOOLS_DURATIONS_H

/* durations: times to live as people write them on a command line, and as they like to read them. */

#include <stdbool.h>
#include <stdint.h>

/*
 * duration_parse - "500ms", "90s", "1.5h", "7d": milliseconds
 *
 * Units are ms, s, m, h and d; a number alone would leave open which is meant. Fractions of a
 * millisecond are refused, and what does not fit 64 bits.
 */
bool duration_parse(const char *text, uint64_t *ret_ms);

/* ttl_parse - a duration that the library takes, or "never", "keep", "default" */
bool ttl_parse(const char *text, uint64_t *ret_ttl_ms);

/* duration_text - "850ms", "4.2s", "12.5m", "3.0h", "7.1d", or "never"; about */
void duration_text(uint64_t ttl_ms, char ret_text[32]);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_SIZES_H
#define TOOLS_SIZES_H

/* sizes: numbers as people write them on a command line, and bytes as they like to read them. */

#include <stdbool.h>
#include <stdint.h>

/* size_parse - "65536", "64K", "64M", "1.5G", "64MiB": bytes, powers of 1024 */
bool size_parse(const char *text, uint64_t *ret_bytes);

/* The whole text, decimal or 0x; false if it is anything else or does not fit. */
bool int_parse(const char *text, int64_t *ret);
bool uint_parse(const char *text, uint64_t *ret);

/* The whole text as a double; "nan", "inf" and hexadecimal floats too. */
bool float_parse(const char *text, double *ret);

/* hex_digit - 0..15, or -1 */
int hex_digit(char c);

/* size_text - "512 B", "64.0 MiB" */
void size_text(uint64_t bytes, char ret_text[24]);

/* count_text - "1,234,567" */
void count_text(uint64_t count, char ret_text[32]);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_TEXT_ESCAPE_H
#define TOOLS_TEXT_ESCAPE_H

/*
 * text-escape: prints bytes of unknown origin so that they cannot command a terminal.
 *
 * Control bytes, bytes that are not UTF-8, and characters that reorder a line are written
 * as backslash sequences (\n, \x1b, \u202e).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"

enum {
	TEXT_BLOCK = 1, /* line feeds, tabs and backslashes stay as they are */
	TEXT_ASCII = 2, /* escape everything that is not ASCII */
};

/* utf8_next - length of the character at @p and its code point; 0 if it is not one */
size_t utf8_next(const void *p, size_t len, uint32_t *ret_code);

bool utf8_valid(const void *data, size_t len);

/* text_is_unsafe - whether a code point can steer a terminal or reorder a line */
bool text_is_unsafe(uint32_t code);

/* text_ascii_needed - TEXT_ASCII if the locale of this process is not UTF-8, or 0 */
unsigned int text_ascii_needed(void);

void text_put(struct out *o, const void *data, size_t len, unsigned int flags);

/*
 * text_put_fit - as text_put, shortened to @width columns with an ellipsis
 * @more: whether @data is only the beginning of the text
 *
 * Returns the number of columns that were used.
 */
size_t text_put_fit(struct out *o, const void *data, size_t len, bool more, size_t width,
		    unsigned int flags);

#endif

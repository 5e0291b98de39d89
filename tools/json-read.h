/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_JSON_READ_H
#define TOOLS_JSON_READ_H

/*
 * json-read: makes a msgpack object from JSON text, the explicit forms of value-json
 * included.
 *
 * Integers keep all 64 bits, signed or unsigned; what has a point or an exponent becomes a
 * double. Names may not repeat inside an object, since one of the values would be lost.
 */

#include <stddef.h>

#define JSON_PROBLEM_MAX 200

/*
 * json_to_pack - read one JSON document
 * @ret_data: the object; the caller ends it with free()
 * @problem: what is wrong with the text, set when the answer is -EILSEQ
 *
 * Returns 0, -EILSEQ or -ENOMEM.
 */
int json_to_pack(const char *text, size_t text_len, void **ret_data, size_t *ret_len,
		 char problem[JSON_PROBLEM_MAX]);

/* The same for a document whose members may be as deep as values can be. */
int json_around_to_pack(const char *text, size_t text_len, void **ret_data, size_t *ret_len,
			char problem[JSON_PROBLEM_MAX]);

#endif

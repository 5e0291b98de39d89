/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_BASE64_H
#define TOOLS_BASE64_H

/* base64: bytes as text inside JSON, the standard alphabet with padding (RFC 4648). */

#include <stddef.h>

#include "out.h"

void base64_put(struct out *o, const void *data, size_t len);

/*
 * base64_decode - read text back
 * @ret_data: fresh memory, ended with free(); never NULL on success
 *
 * Returns 0, -EINVAL (not canonical base64) or -ENOMEM.
 */
int base64_decode(const char *text, size_t text_len, void **ret_data, size_t *ret_len);

#endif

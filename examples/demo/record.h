/* SPDX-License-Identifier: MIT */
#ifndef DEMO_RECORD_H
#define DEMO_RECORD_H

/*
 * record: a package as a msgpack map, the form in which it is shared.
 *
 * {"revision": N, "Package": "...", "Version": "...", ...}: the fields of the database in
 * their order, and before them a number that the writer raises each time it writes.
 */

#include "demo/dpkg-status.h"

#include <msgpack.h>
#include <stdint.h>

/* Replaces what @out held. 0 or -ENOMEM. */
int record_pack(msgpack_sbuffer *out, const struct package *package, uint64_t revision);

/*
 * Is this map the package, byte for byte, in any revision? Returns 0, or -EBADMSG if one
 * byte differs, is missing or is too many.
 */
int record_verify(const void *data, size_t len, const struct package *package,
		  uint64_t *ret_revision);

#endif

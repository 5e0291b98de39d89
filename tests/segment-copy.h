/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_SEGMENT_COPY_H
#define SKV_TESTS_SEGMENT_COPY_H

/* segment-copy: a second segment with the bytes of a first, to be damaged. */

#include "tests/segment.h"

#include "shm/layout.h"

struct skv_copy {
	char name[64], path[256];
	int fd;
	uint8_t *image; /* as it was before any damage */
	uint64_t *used; /* offsets of pages that hold something */
	size_t n_used;
	struct skv_superblock header;
};

/* The original must be quiet. */
void skv_copy_begin(struct skv_copy *copy, const struct skv_segment *s);
void skv_copy_end(struct skv_copy *copy);

#endif

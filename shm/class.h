/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_CLASS_H
#define SKV_SHM_CLASS_H

/*
 * class: the sizes of blocks.
 *
 * Up to 1088 bytes a slab is one chunk of 16 KiB; above, up to 32 KiB, a span of four. The
 * small sizes step by at most an eighth, with boundaries at 2^k + 64 so that round values
 * with a short key do not fall into the next class; the large ones are the span divided by
 * a whole number, so that no slab has an unused tail. Class 0 stands for leaves.
 */

#include <stdint.h>

#define SKV_CLASS_LEAF 0u
#define SKV_CLASS_SPAN_MAX 4u
#define SKV_CLASS_BYTES_MAX 32768u

extern const uint16_t skv_class_bytes[];
extern const uint32_t skv_n_classes;

/* The class for records of so many bytes, 1..SKV_CLASS_BYTES_MAX. */
uint32_t skv_class_of(uint64_t bytes);

/* Chunks in one slab of the class. */
static inline uint32_t skv_class_span(uint32_t class)
{
	return skv_class_bytes[class] > 1088 ? SKV_CLASS_SPAN_MAX : 1;
}

/* Blocks in one slab of the class. */
uint32_t skv_class_blocks(uint32_t class);

#endif

/* SPDX-License-Identifier: MIT */
#include "shm/class.h"

#include "shm/layout.h"

const uint16_t skv_class_bytes[] = {
	/* class 0: leaves */
	SKV_LEAF_BYTES,
	/* one chunk */
	32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256,
	288, 320, 352, 384, 416, 448, 480, 512,
	576, 640, 704, 768, 832, 896, 960, 1024, 1088,
	/* 65536 / n for n = 56, 52, ... 2, rounded down to 16 */
	1168, 1248, 1360, 1488, 1632, 1808, 1984, 2112, 2336, 2608, 2848, 3120, 3440, 3840,
	4368, 4672, 5040, 5456, 5952, 6544, 7280, 8192, 9360, 10912, 13104, 16384, 21840, 32768,
};

#define N_CLASSES (sizeof(skv_class_bytes) / sizeof(skv_class_bytes[0]))

_Static_assert(N_CLASSES <= SKV_CLASSES_MAX, "one line of hints each");

const uint32_t skv_n_classes = N_CLASSES;

uint32_t skv_class_of(uint64_t bytes)
{
	uint32_t lo = 1, hi = N_CLASSES - 1, mid;

	/* Up to here the classes step by 16. */
	if (bytes <= 256)
		return bytes <= 32 ? 1 : (uint32_t)((bytes + 15) / 16 - 1);
	/* The first class that is large enough; six steps. */
	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (skv_class_bytes[mid] < bytes)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t skv_class_blocks(uint32_t class)
{
	return skv_class_span(class) * SKV_CHUNK_BYTES / skv_class_bytes[class];
}

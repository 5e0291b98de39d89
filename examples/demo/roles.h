/* SPDX-License-Identifier: MIT */
#ifndef DEMO_ROLES_H
#define DEMO_ROLES_H

/*
 * roles: what the processes of the demo do.
 *
 * Writers attach read-write and write their share of the packages again and again, each
 * time with a higher revision. Readers attach read-only and verify everything they read.
 * They talk about the packages only through the map; the stage below carries orders and
 * what they measured, and lies in ordinary shared memory of the demo.
 */

#include "demo/dpkg-status.h"

#include <stdint.h>

enum demo_phase {
	DEMO_CALM = 0,
	DEMO_KILLS = 1,
	DEMO_PHASES,
};

/* Every word is accessed with atomic operations; one writer each. */
struct writer_notes {
	uint64_t inside; /* 1 while the process is in shmkv_put */
	uint64_t package; /* which one it writes */
	uint64_t revision; /* and as which revision */
	uint64_t puts;
	uint64_t started_at; /* package where it went on */
	uint64_t ready;
	int64_t error; /* what made it give up, or 0 */
};

struct reader_notes {
	uint64_t reads;
	uint64_t longest_gap_ns[DEMO_PHASES]; /* between two verified reads */
	uint64_t torn; /* reads that were not byte for byte the package */
	uint64_t lost; /* packages that were missing */
	uint64_t reverted; /* revisions that went back */
	uint64_t again; /* reads that lost too often to writers and were repeated */
	int64_t error;
};

struct stage {
	uint64_t phase;
	uint64_t stop;
	struct writer_notes writers[2];
	struct reader_notes readers[2];
};

struct role {
	const char *map; /* name of the map */
	const struct package_list *list;
	struct stage *stage;
	unsigned int number; /* of the writer or reader: 0 or 1 */
};

/* Writer @number writes the packages whose index is @number modulo 2. */
_Noreturn void role_write(const struct role *role);
_Noreturn void role_read(const struct role *role);

#endif

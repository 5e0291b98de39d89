/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

/*
 * progress: one line on the terminal about a long walk, erased at its end.
 *
 * Silent unless standard error is a terminal and the result goes somewhere else.
 */

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool wanted, shown;
	const char *unit; /* what the steps are, "keys" */
	uint64_t total;   /* expected steps, 0 unknown */
	uint64_t n_steps; /* calls, whatever each was worth */
	uint64_t begin_ns, shown_ns;
};

void progress_begin(struct progress *p, int result_fd, const char *unit, uint64_t total);
void progress_step(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

#endif

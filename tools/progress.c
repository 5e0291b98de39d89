/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "sizes.h"

#define INTERVAL_NS UINT64_C(200000000)
/* Looking at the clock at every step would cost more than the step. */
#define STEPS_PER_LOOK 64

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void progress_begin(struct progress *p, int result_fd, const char *unit, uint64_t total)
{
	*p = (struct progress){ .unit = unit, .total = total };
	p->wanted = isatty(STDERR_FILENO) && !isatty(result_fd);
	if (p->wanted)
		p->begin_ns = p->shown_ns = now_ns();
}

void progress_step(struct progress *p, uint64_t done)
{
	char done_text[32], total_text[32], rate_text[32];
	uint64_t now;

	if (!p->wanted || ++p->n_steps % STEPS_PER_LOOK != 0)
		return;
	now = now_ns();
	if (now - p->shown_ns < INTERVAL_NS)
		return;
	p->shown_ns = now;
	p->shown = true;
	count_text(done, done_text);
	count_text(p->total, total_text);
	count_text((uint64_t)((double)done * 1e9 / (double)(now - p->begin_ns)), rate_text);
	fprintf(stderr, "\r\033[K%s / %s %s, %s/s", done_text, total_text, p->unit, rate_text);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r\033[K");
	p->shown = false;
}

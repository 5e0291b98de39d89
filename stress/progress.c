/* SPDX-License-Identifier: MIT */
#include "stress/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void progress_init(struct progress *progress, uint64_t now_ns)
{
	const char *term = getenv("TERM");

	memset(progress, 0, sizeof(*progress));
	progress->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
	progress->interval_ns = progress->terminal ? 500000000u : 5000000000u;
	progress->next_ns = now_ns + progress->interval_ns;
	progress->last_ns = now_ns;
}

void progress_tick(struct progress *progress, uint64_t now_ns, uint64_t start_ns,
		   const struct ledger *ledger, struct shmkv *kv,
		   const struct driver_figures *figures)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct driver_sums sums;
	char line[256];
	double rate;

	if (now_ns < progress->next_ns)
		return;
	progress->next_ns = now_ns + progress->interval_ns;
	driver_sum(ledger, &sums);
	rate = (double)(sums.ops - progress->last_ops) * 1e9 / (double)(now_ns - progress->last_ns);
	progress->last_ops = sums.ops;
	progress->last_ns = now_ns;
	if (shmkv_info(kv, &info) < 0)
		return; /* the checks will say why */

	snprintf(line, sizeof(line),
		 "%5.1f s  %8.0f op/s  %" PRIu64 " keys  %" PRIu64 " kills  %" PRIu64
		 " stops  %" PRIu64 " recoveries  %" PRIu64 " splits  %" PRIu64 " MiB",
		 (double)(now_ns - start_ns) / 1e9, rate, info.count, figures->kills, figures->stops,
		 info.recoveries, info.splits, info.reserved_bytes >> 20);
	if (progress->terminal) {
		fprintf(stderr, "\r%s\033[K", line);
		fflush(stderr);
		progress->drawn = true;
	} else {
		fprintf(stderr, "%s\n", line);
	}
}

void progress_say(struct progress *progress, const char *text)
{
	if (progress->drawn)
		fputc('\n', stderr);
	progress->drawn = false;
	fprintf(stderr, "%s\n", text);
}

/* SPDX-License-Identifier: MIT */
#include "bench/run-delay.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void run_delay_open(struct run_delay *delay)
{
	delay->fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

void run_delay_close(struct run_delay *delay)
{
	if (delay->fd >= 0)
		close(delay->fd);
	delay->fd = -1;
}

uint64_t run_delay_ns(const struct run_delay *delay)
{
	char text[96], *end;
	ssize_t len;

	/* "time on the processor, time spent waiting for it, slices" */
	len = delay->fd < 0 ? -1 : pread(delay->fd, text, sizeof(text) - 1, 0);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	strtoull(text, &end, 10);
	return strtoull(end, NULL, 10);
}

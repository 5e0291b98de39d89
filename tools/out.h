/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_OUT_H
#define TOOLS_OUT_H

/*
 * out: where a tool's result goes.
 *
 * Either a file descriptor behind a buffer, or a bounded piece of memory that keeps what
 * fits. The first failed write is remembered and everything after it is dropped, so that
 * callers write freely and ask once at the end.
 */

#include <stdbool.h>
#include <stddef.h>

struct out {
	int fd;    /* -1: memory */
	int error; /* errno of the first write that failed, or 0 */
	bool full; /* memory: something did not fit */
	char *buf;
	size_t len, cap;
};

void out_init_file(struct out *o, int fd, char *buf, size_t cap);
void out_init_memory(struct out *o, char *buf, size_t cap);

void out_write(struct out *o, const void *data, size_t len);
void out_text(struct out *o, const char *text);
void out_char(struct out *o, char c);
void out_repeat(struct out *o, char c, size_t n);
void out_hex(struct out *o, const void *data, size_t len);
void out_format(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* out_flush - hand everything to the file; 0 or the negative errno of the first failure */
int out_flush(struct out *o);

/* out_stopped - whether more output would only be dropped: a reason to end a long walk */
static inline bool out_stopped(const struct out *o)
{
	return o->error != 0 || o->full;
}

#endif

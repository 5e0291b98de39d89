/* SPDX-License-Identifier: MIT */
#include "out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void out_init_file(struct out *o, int fd, char *buf, size_t cap)
{
	*o = (struct out){ .fd = fd, .buf = buf, .cap = cap };
}

void out_init_memory(struct out *o, char *buf, size_t cap)
{
	*o = (struct out){ .fd = -1, .buf = buf, .cap = cap };
}

static void write_through(struct out *o, const char *data, size_t len)
{
	while (len > 0 && !o->error) {
		/* One call never takes more than about 2 GiB; pieces keep the count in ssize_t. */
		ssize_t n = write(o->fd, data, len < ((size_t)1 << 30) ? len : (size_t)1 << 30);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			o->error = errno;
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

int out_flush(struct out *o)
{
	if (o->fd >= 0) {
		write_through(o, o->buf, o->len);
		o->len = 0;
	}
	return -o->error;
}

void out_write(struct out *o, const void *data, size_t len)
{
	if (out_stopped(o) || len == 0)
		return;

	if (len > o->cap - o->len) {
		if (o->fd < 0) {
			memcpy(o->buf + o->len, data, o->cap - o->len);
			o->len = o->cap;
			o->full = true;
			return;
		}
		out_flush(o);
		if (len >= o->cap) {
			write_through(o, data, len);
			return;
		}
	}
	memcpy(o->buf + o->len, data, len);
	o->len += len;
}

void out_text(struct out *o, const char *text)
{
	out_write(o, text, strlen(text));
}

void out_char(struct out *o, char c)
{
	out_write(o, &c, 1);
}

void out_repeat(struct out *o, char c, size_t n)
{
	while (n-- > 0)
		out_write(o, &c, 1);
}

void out_hex(struct out *o, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;
	char pair[2];

	for (size_t i = 0; i < len && !out_stopped(o); i++) {
		pair[0] = digits[p[i] >> 4];
		pair[1] = digits[p[i] & 15];
		out_write(o, pair, 2);
	}
}

void out_format(struct out *o, const char *format, ...)
{
	char text[1024]; /* for numbers and names; contents of any length use out_write */
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (n > 0)
		out_write(o, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

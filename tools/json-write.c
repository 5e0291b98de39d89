/* SPDX-License-Identifier: MIT */
#include "json-write.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "text-escape.h"

void emit_init(struct emitter *e, struct out *out, bool ascii)
{
	memset(e, 0, sizeof(*e));
	e->out = out;
	e->ascii = ascii;
}

/* What comes between the previous value and this one. */
static void separate(struct emitter *e)
{
	if (e->after_key)
		e->after_key = false;
	else if (e->filled[e->depth])
		out_char(e->out, ',');
	/* Values at depth 0 are separate documents; whoever writes several ends the lines. */
	if (e->depth > 0)
		e->filled[e->depth] = true;
}

static void begin(struct emitter *e, char c)
{
	separate(e);
	out_char(e->out, c);
	assert(e->depth < EMIT_DEPTH_MAX);
	e->filled[++e->depth] = false;
}

static void end(struct emitter *e, char c)
{
	assert(e->depth > 0);
	e->depth--;
	out_char(e->out, c);
}

void emit_object_begin(struct emitter *e)
{
	begin(e, '{');
}

void emit_object_end(struct emitter *e)
{
	end(e, '}');
}

void emit_array_begin(struct emitter *e)
{
	begin(e, '[');
}

void emit_array_end(struct emitter *e)
{
	end(e, ']');
}

static void put_string(struct emitter *e, const void *text, size_t len)
{
	const uint8_t *p = text, *plain = p;
	const uint8_t *last = p + len;
	uint32_t code = 0;

	out_char(e->out, '"');
	while (p < last && !out_stopped(e->out)) {
		size_t n = utf8_next(p, (size_t)(last - p), &code);

		assert(n > 0); /* callers hold valid UTF-8 only */
		if (code != '"' && code != '\\' && !text_is_unsafe(code) &&
		    !(e->ascii && code >= 0x80)) {
			p += n;
			continue;
		}
		out_write(e->out, plain, (size_t)(p - plain));
		p += n;
		plain = p;
		if (code == '"' || code == '\\')
			out_format(e->out, "\\%c", (char)code);
		else if (code == '\n')
			out_text(e->out, "\\n");
		else if (code == '\t')
			out_text(e->out, "\\t");
		else if (code > 0xffff)
			out_format(e->out, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
				   0xdc00 + ((code - 0x10000) & 0x3ff));
		else
			out_format(e->out, "\\u%04x", code);
	}
	out_write(e->out, plain, (size_t)(p - plain));
	out_char(e->out, '"');
}

void emit_key_n(struct emitter *e, const void *text, size_t len)
{
	separate(e);
	put_string(e, text, len);
	out_char(e->out, ':');
	e->after_key = true;
}

void emit_key(struct emitter *e, const char *text)
{
	emit_key_n(e, text, strlen(text));
}

void emit_null(struct emitter *e)
{
	separate(e);
	out_text(e->out, "null");
}

void emit_bool(struct emitter *e, bool v)
{
	separate(e);
	out_text(e->out, v ? "true" : "false");
}

void emit_int(struct emitter *e, int64_t v)
{
	separate(e);
	out_format(e->out, "%" PRId64, v);
}

void emit_uint(struct emitter *e, uint64_t v)
{
	separate(e);
	out_format(e->out, "%" PRIu64, v);
}

void emit_string_n(struct emitter *e, const void *text, size_t len)
{
	separate(e);
	put_string(e, text, len);
}

void emit_string(struct emitter *e, const char *text)
{
	emit_string_n(e, text, strlen(text));
}

void emit_hex(struct emitter *e, const void *data, size_t len)
{
	separate(e);
	out_char(e->out, '"');
	out_hex(e->out, data, len);
	out_char(e->out, '"');
}

void emit_uint_string(struct emitter *e, uint64_t v)
{
	separate(e);
	out_format(e->out, "\"%" PRIu64 "\"", v);
}

void double_text(double v, char ret_text[40])
{
	int digits;

	if (isnan(v)) {
		strcpy(ret_text, "nan");
		return;
	}
	if (isinf(v)) {
		strcpy(ret_text, v > 0 ? "inf" : "-inf");
		return;
	}

	/*
	 * A decimal of up to 15 digits survives the way through a normal double, so if 15
	 * digits read back as v, "%.15g" has already dropped the ones that are not needed.
	 * Only subnormal numbers can do with fewer.
	 */
	for (digits = fpclassify(v) == FP_SUBNORMAL ? 1 : 15; digits <= 17; digits++) {
		snprintf(ret_text, 40, "%.*g", digits, v);
		if (strtod(ret_text, NULL) == v)
			break;
	}
	if (!strpbrk(ret_text, ".e"))
		strcat(ret_text, ".0"); /* so that it is read back as a double */
}

void emit_double(struct emitter *e, double v)
{
	char text[40];

	double_text(v, text);
	if (isfinite(v)) {
		separate(e);
		out_text(e->out, text);
		return;
	}
	emit_object_begin(e);
	emit_member_string(e, "$float", text);
	emit_object_end(e);
}

void emit_base64(struct emitter *e, const void *data, size_t len)
{
	separate(e);
	out_char(e->out, '"');
	base64_put(e->out, data, len);
	out_char(e->out, '"');
}

void emit_tagged_bytes(struct emitter *e, const char *tag, const void *data, size_t len)
{
	emit_object_begin(e);
	emit_key(e, tag);
	emit_base64(e, data, len);
	emit_object_end(e);
}

void emit_bytes_or_string(struct emitter *e, const void *data, size_t len)
{
	if (utf8_valid(data, len))
		emit_string_n(e, data, len);
	else
		emit_tagged_bytes(e, "$bin", data, len);
}

void emit_member_uint(struct emitter *e, const char *key, uint64_t v)
{
	emit_key(e, key);
	emit_uint(e, v);
}

void emit_member_string(struct emitter *e, const char *key, const char *text)
{
	emit_key(e, key);
	emit_string(e, text);
}

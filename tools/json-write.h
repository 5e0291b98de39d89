/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_JSON_WRITE_H
#define TOOLS_JSON_WRITE_H

/*
 * json-write: a streaming JSON emitter.
 *
 * Integers are written exactly, doubles with the fewest digits that read back as the same
 * double. Strings are UTF-8; what could steer a terminal is written as \u00XX, which means
 * the same to every reader.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"

/* A value of depth 32 whose every map is in the {"$map":[[k,v]]} form needs 97 levels. */
#define EMIT_DEPTH_MAX 128

struct emitter {
	struct out *out;
	bool ascii; /* write only ASCII */
	bool after_key;
	unsigned int depth;
	bool filled[EMIT_DEPTH_MAX + 1]; /* the container at that depth has a member */
};

void emit_init(struct emitter *e, struct out *out, bool ascii);

void emit_object_begin(struct emitter *e);
void emit_object_end(struct emitter *e);
void emit_array_begin(struct emitter *e);
void emit_array_end(struct emitter *e);

/* Inside an object, each value follows its key. @text must be valid UTF-8. */
void emit_key(struct emitter *e, const char *text);
void emit_key_n(struct emitter *e, const void *text, size_t len);

void emit_null(struct emitter *e);
void emit_bool(struct emitter *e, bool v);
void emit_int(struct emitter *e, int64_t v);
void emit_uint(struct emitter *e, uint64_t v);
void emit_string(struct emitter *e, const char *text);
void emit_string_n(struct emitter *e, const void *text, size_t len);
void emit_hex(struct emitter *e, const void *data, size_t len);
/* A number as a string, for readers whose numbers are doubles. */
void emit_uint_string(struct emitter *e, uint64_t v);
/* {"$float":"nan"}, "inf" and "-inf" for what JSON has no number for. */
void emit_double(struct emitter *e, double v);
void emit_base64(struct emitter *e, const void *data, size_t len);
/* {"TAG":"base64"} */
void emit_tagged_bytes(struct emitter *e, const char *tag, const void *data, size_t len);
/* A key: a string, or {"$bin":"base64"} if it is not UTF-8. */
void emit_bytes_or_string(struct emitter *e, const void *data, size_t len);

/* Name and value in one, for the many plain members of reports. */
void emit_member_uint(struct emitter *e, const char *key, uint64_t v);
void emit_member_string(struct emitter *e, const char *key, const char *text);

/* double_text - the fewest digits that read back as @v; "nan", "inf", "-inf" */
void double_text(double v, char ret_text[40]);

#endif

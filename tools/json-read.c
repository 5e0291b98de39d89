/* SPDX-License-Identifier: MIT */
#include "json-read.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <msgpack.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmkv/value.h>

#include "base64.h"

struct reader {
	msgpack_packer pack;
	char *problem;
};

static int refuse(struct reader *r, const char *why)
{
	snprintf(r->problem, JSON_PROBLEM_MAX, "%s", why);
	return -EILSEQ;
}

/* ---- integers above INT64_MAX ---------------------------------------------------- */

/*
 * jansson's integers are signed. A larger one that fits 64 bits is handed to it as
 * {"$uint":"digits"}; everything else in the text stays what it is.
 */
static size_t wide_number_at(const char *p, const char *end)
{
	size_t n = 0;
	char digits[24];

	while (p + n < end && isdigit((unsigned char)p[n]))
		n++;
	if (n < 19 || n > 20 || p[0] == '0')
		return 0;
	if (p + n < end && (p[n] == '.' || p[n] == 'e' || p[n] == 'E'))
		return 0;
	memcpy(digits, p, n);
	digits[n] = 0;
	errno = 0;
	return strtoull(digits, NULL, 10) > INT64_MAX && errno == 0 ? n : 0;
}

/* Copies the text, or only measures the result when @to is NULL. */
static size_t widen(const char *text, size_t len, char *to)
{
	const char *end = text + len;
	bool in_string = false, in_number = false;
	size_t n = 0, wide;

	for (const char *p = text; p < end; p++) {
		if (!in_string && !in_number && isdigit((unsigned char)*p)) {
			wide = wide_number_at(p, end);
			if (wide > 0) {
				if (to)
					n += (size_t)sprintf(to + n, "{\"$uint\":\"%.*s\"}", (int)wide, p);
				else
					n += wide + strlen("{\"$uint\":\"\"}");
				p += wide - 1;
				continue;
			}
		}
		in_number = !in_string && (isalnum((unsigned char)*p) || strchr("+-.", *p));
		if (to)
			to[n] = *p;
		n++;
		if (*p == '"') {
			in_string = !in_string;
		} else if (in_string && *p == '\\' && p + 1 < end) {
			p++;
			if (to)
				to[n] = *p;
			n++;
		}
	}
	return n;
}

/* ---- the explicit forms ---------------------------------------------------------- */

static int pack_json(struct reader *r, json_t *json, unsigned int depth);

static int take_base64(struct reader *r, json_t *json, void **ret_data, size_t *ret_len)
{
	int code;

	if (!json_is_string(json))
		return refuse(r, "an explicit form needs base64 text");
	code = base64_decode(json_string_value(json), json_string_length(json), ret_data, ret_len);
	return code == -EINVAL ? refuse(r, "this is not base64 with padding") : code;
}

static int pack_str(struct reader *r, const void *text, size_t len)
{
	if (len > UINT32_MAX)
		return refuse(r, "a text is longer than 4 GiB");
	if (msgpack_pack_str(&r->pack, len) < 0 || msgpack_pack_str_body(&r->pack, text, len) < 0)
		return -ENOMEM;
	return 0;
}

static int pack_tagged_str(struct reader *r, json_t *json, unsigned int depth)
{
	void *data;
	size_t len;
	int code = take_base64(r, json, &data, &len);

	(void)depth;
	if (code < 0)
		return code;
	code = pack_str(r, data, len);
	free(data);
	return code;
}

static int pack_tagged_bin(struct reader *r, json_t *json, unsigned int depth)
{
	void *data;
	size_t len;
	int code = take_base64(r, json, &data, &len);

	(void)depth;
	if (code < 0)
		return code;
	if (len > UINT32_MAX)
		code = refuse(r, "a $bin is longer than 4 GiB");
	else if (msgpack_pack_bin(&r->pack, len) < 0 ||
		 msgpack_pack_bin_body(&r->pack, data, len) < 0)
		code = -ENOMEM;
	free(data);
	return code;
}

static int pack_tagged_ext(struct reader *r, json_t *json, unsigned int depth)
{
	json_t *type = json_array_get(json, 0);
	void *data;
	size_t len;
	int code;

	(void)depth;
	if (json_array_size(json) != 2 || !json_is_integer(type) ||
	    json_integer_value(type) < INT8_MIN || json_integer_value(type) > INT8_MAX)
		return refuse(r, "$ext needs [type from -128 to 127, \"base64\"]");
	code = take_base64(r, json_array_get(json, 1), &data, &len);
	if (code < 0)
		return code;
	if (len > UINT32_MAX)
		code = refuse(r, "an $ext is longer than 4 GiB");
	else if (msgpack_pack_ext(&r->pack, len, (int8_t)json_integer_value(type)) < 0 ||
		 msgpack_pack_ext_body(&r->pack, data, len) < 0)
		code = -ENOMEM;
	free(data);
	return code;
}

static int pack_tagged_float(struct reader *r, json_t *json, unsigned int depth)
{
	const char *text = json_string_value(json);
	double v;

	(void)depth;
	if (text && strcmp(text, "nan") == 0)
		v = (double)NAN;
	else if (text && strcmp(text, "inf") == 0)
		v = (double)INFINITY;
	else if (text && strcmp(text, "-inf") == 0)
		v = (double)-INFINITY;
	else
		return refuse(r, "$float needs \"nan\", \"inf\" or \"-inf\"");
	return msgpack_pack_double(&r->pack, v) < 0 ? -ENOMEM : 0;
}

static int pack_tagged_uint(struct reader *r, json_t *json, unsigned int depth)
{
	const char *text = json_string_value(json);
	char *end = NULL;
	uint64_t v;

	(void)depth;
	errno = 0;
	if (!text || !isdigit((unsigned char)text[0]))
		return refuse(r, "$uint needs a number as text");
	v = strtoull(text, &end, 10);
	if (*end || errno)
		return refuse(r, "$uint needs a number from 0 to 18446744073709551615");
	return msgpack_pack_uint64(&r->pack, v) < 0 ? -ENOMEM : 0;
}

static int pack_tagged_map(struct reader *r, json_t *json, unsigned int depth)
{
	json_t *pair;
	size_t i;
	int code;

	if (!json_is_array(json))
		return refuse(r, "$map needs [[key,value],...]");
	if (json_array_size(json) > UINT32_MAX)
		return refuse(r, "a $map has more than 4294967295 pairs");
	if (msgpack_pack_map(&r->pack, json_array_size(json)) < 0)
		return -ENOMEM;
	json_array_foreach(json, i, pair) {
		if (json_array_size(pair) != 2)
			return refuse(r, "$map needs [[key,value],...]");
		code = pack_json(r, json_array_get(pair, 0), depth + 1);
		if (code == 0)
			code = pack_json(r, json_array_get(pair, 1), depth + 1);
		if (code < 0)
			return code;
	}
	return 0;
}

static const struct form {
	const char *tag;
	int (*pack)(struct reader *r, json_t *json, unsigned int depth);
} forms[] = {
	{ "$bin", pack_tagged_bin },
	{ "$ext", pack_tagged_ext },
	{ "$float", pack_tagged_float },
	{ "$map", pack_tagged_map },
	{ "$str", pack_tagged_str },
	{ "$uint", pack_tagged_uint },
};

static const struct form *form_of(const char *tag)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (strcmp(forms[i].tag, tag) == 0)
			return &forms[i];
	return NULL;
}

/* ---- the walk -------------------------------------------------------------------- */

static int pack_object(struct reader *r, json_t *json, unsigned int depth)
{
	void *it = json_object_iter(json);
	const struct form *form;
	const char *key;
	int code;

	if (json_object_size(json) == 1 && json_object_iter_key(it)[0] == '$') {
		form = form_of(json_object_iter_key(it));
		if (form)
			return form->pack(r, json_object_iter_value(it), depth);
	}
	if (json_object_size(json) > UINT32_MAX)
		return refuse(r, "an object has more than 4294967295 members");
	if (msgpack_pack_map(&r->pack, json_object_size(json)) < 0)
		return -ENOMEM;
	for (; it; it = json_object_iter_next(json, it)) {
		key = json_object_iter_key(it);
		code = pack_str(r, key, strlen(key));
		if (code == 0)
			code = pack_json(r, json_object_iter_value(it), depth + 1);
		if (code < 0)
			return code;
	}
	return 0;
}

static int pack_array(struct reader *r, json_t *json, unsigned int depth)
{
	json_t *member;
	size_t i;
	int code;

	if (json_array_size(json) > UINT32_MAX)
		return refuse(r, "an array has more than 4294967295 elements");
	if (msgpack_pack_array(&r->pack, json_array_size(json)) < 0)
		return -ENOMEM;
	json_array_foreach(json, i, member) {
		code = pack_json(r, member, depth + 1);
		if (code < 0)
			return code;
	}
	return 0;
}

static int pack_json(struct reader *r, json_t *json, unsigned int depth)
{
	int failed;

	if (depth > SHMKV_DEPTH_MAX)
		return refuse(r, "the value nests deeper than 32 levels");

	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return pack_object(r, json, depth);
	case JSON_ARRAY:
		return pack_array(r, json, depth);
	case JSON_STRING:
		return pack_str(r, json_string_value(json), json_string_length(json));
	case JSON_INTEGER:
		failed = msgpack_pack_int64(&r->pack, json_integer_value(json));
		break;
	case JSON_REAL:
		failed = msgpack_pack_double(&r->pack, json_real_value(json));
		break;
	case JSON_TRUE:
		failed = msgpack_pack_true(&r->pack);
		break;
	case JSON_FALSE:
		failed = msgpack_pack_false(&r->pack);
		break;
	default:
		failed = msgpack_pack_nil(&r->pack);
		break;
	}
	return failed ? -ENOMEM : 0;
}

static int to_pack(const char *text, size_t text_len, unsigned int depth, void **ret_data,
		   size_t *ret_len, char problem[JSON_PROBLEM_MAX])
{
	struct reader reader = { .problem = problem };
	msgpack_sbuffer buffer;
	json_error_t error;
	json_t *json;
	char *wide = NULL;
	size_t wide_len = widen(text, text_len, NULL);
	int r;

	if (wide_len != text_len) {
		wide = malloc(wide_len + 1);
		if (!wide)
			return -ENOMEM;
		widen(text, text_len, wide);
		text = wide;
		text_len = wide_len;
	}
	json = json_loadb(text, text_len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
			  &error);
	free(wide);
	if (!json) {
		if (json_error_code(&error) == json_error_out_of_memory)
			return -ENOMEM;
		snprintf(problem, JSON_PROBLEM_MAX, "line %d, column %d: %s", error.line,
			 error.column, error.text);
		return -EILSEQ;
	}

	msgpack_sbuffer_init(&buffer);
	msgpack_packer_init(&reader.pack, &buffer, msgpack_sbuffer_write);
	r = pack_json(&reader, json, depth);
	json_decref(json);
	if (r < 0) {
		msgpack_sbuffer_destroy(&buffer);
		return r;
	}
	*ret_len = buffer.size;
	*ret_data = msgpack_sbuffer_release(&buffer);
	return 0;
}

int json_to_pack(const char *text, size_t text_len, void **ret_data, size_t *ret_len,
		 char problem[JSON_PROBLEM_MAX])
{
	return to_pack(text, text_len, 1, ret_data, ret_len, problem);
}

int json_around_to_pack(const char *text, size_t text_len, void **ret_data, size_t *ret_len,
			char problem[JSON_PROBLEM_MAX])
{
	return to_pack(text, text_len, 0, ret_data, ret_len, problem);
}

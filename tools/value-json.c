/* SPDX-License-Identifier: MIT */
#include "value-json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shmkv/value.h>

#include "pack-walk.h"
#include "text-escape.h"

struct name {
	const uint8_t *data;
	size_t len;
};

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int r = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return r != 0 ? r : (x->len > y->len) - (x->len < y->len);
}

/*
 * Whether a map of @count pairs at @walk can be a JSON object: keys that are text without
 * a NUL (JSON readers refuse that in names), each only once, and no mistaking for one of
 * our explicit forms. The walk is a copy; a lack of memory counts as no.
 */
static bool fits_object(struct pack_walk walk, uint32_t count)
{
	struct name *names;
	struct pack_item key = { 0 };
	bool fits = false;

	names = calloc(count ? count : 1, sizeof(*names));
	if (!names)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (pack_next(&walk, &key) < 0 || key.type != PACK_STR)
			goto done;
		if (!utf8_valid(key.data, key.len) || memchr(key.data, 0, key.len))
			goto done;
		names[i] = (struct name){ key.data, key.len };
		if (pack_skip(&walk) < 0)
			goto done;
	}
	if (count == 1 && key.len > 0 && key.data[0] == '$')
		goto done;
	qsort(names, count, sizeof(*names), compare_names);
	for (uint32_t i = 1; i < count; i++)
		if (compare_names(&names[i - 1], &names[i]) == 0)
			goto done;
	fits = true;
done:
	free(names);
	return fits;
}

static int emit_object(struct emitter *e, struct pack_walk *walk, unsigned int depth);

static int emit_map(struct emitter *e, struct pack_walk *walk, uint32_t count,
		    unsigned int depth)
{
	bool plain = fits_object(*walk, count);
	struct pack_item key;
	int r = 0;

	emit_object_begin(e);
	if (!plain) {
		emit_key(e, "$map");
		emit_array_begin(e);
	}
	for (uint32_t i = 0; i < count && r == 0 && !out_stopped(e->out); i++) {
		if (plain) {
			r = pack_next(walk, &key);
			if (r == 0)
				emit_key_n(e, key.data, key.len);
		} else {
			emit_array_begin(e);
			r = emit_object(e, walk, depth + 1);
		}
		if (r == 0)
			r = emit_object(e, walk, depth + 1);
		if (!plain)
			emit_array_end(e);
	}
	if (!plain)
		emit_array_end(e);
	emit_object_end(e);
	return r;
}

static int emit_array(struct emitter *e, struct pack_walk *walk, uint32_t count,
		      unsigned int depth)
{
	int r = 0;

	emit_array_begin(e);
	for (uint32_t i = 0; i < count && r == 0 && !out_stopped(e->out); i++)
		r = emit_object(e, walk, depth + 1);
	emit_array_end(e);
	return r;
}

/* The depth was checked before; the bound here keeps the stack safe by itself. */
static int emit_object(struct emitter *e, struct pack_walk *walk, unsigned int depth)
{
	struct pack_item item;
	int r;

	if (depth > SHMKV_DEPTH_MAX)
		return -EILSEQ;
	r = pack_next(walk, &item);
	if (r < 0)
		return r;

	switch (item.type) {
	case PACK_NIL:
		emit_null(e);
		return 0;
	case PACK_BOOL:
		emit_bool(e, item.boolean);
		return 0;
	case PACK_INT:
		emit_int(e, item.i64);
		return 0;
	case PACK_UINT:
		emit_uint(e, item.u64);
		return 0;
	case PACK_FLOAT:
		emit_double(e, item.f64);
		return 0;
	case PACK_STR:
		if (utf8_valid(item.data, item.len))
			emit_string_n(e, item.data, item.len);
		else
			emit_tagged_bytes(e, "$str", item.data, item.len);
		return 0;
	case PACK_BIN:
		emit_tagged_bytes(e, "$bin", item.data, item.len);
		return 0;
	case PACK_EXT:
		emit_object_begin(e);
		emit_key(e, "$ext");
		emit_array_begin(e);
		emit_int(e, item.ext_type);
		emit_base64(e, item.data, item.len);
		emit_array_end(e);
		emit_object_end(e);
		return 0;
	case PACK_ARRAY:
		return emit_array(e, walk, item.count, depth);
	case PACK_MAP:
		return emit_map(e, walk, item.count, depth);
	}
	return -EILSEQ;
}

int value_emit(struct emitter *e, const void *data, size_t len)
{
	struct pack_walk walk = pack_walk_over(data, len);
	int r = emit_object(e, &walk, 1);

	/* When nothing more can be written the walk is left anywhere: no verdict on the data. */
	return out_stopped(e->out) ? 0 : r;
}

/* SPDX-License-Identifier: MIT */
#include "demo/record.h"

#include <errno.h>
#include <shmkv/shmkv.h>
#include <string.h>

#define REVISION "revision"

static int pack_text(msgpack_packer *packer, const char *text, size_t len)
{
	return msgpack_pack_str(packer, len) || msgpack_pack_str_body(packer, text, len);
}

int record_pack(msgpack_sbuffer *out, const struct package *package, uint64_t revision)
{
	const struct package_field *field;
	msgpack_packer packer;
	size_t i;
	int bad;

	msgpack_sbuffer_clear(out);
	msgpack_packer_init(&packer, out, msgpack_sbuffer_write);
	bad = msgpack_pack_map(&packer, package->n_fields + 1);
	bad |= pack_text(&packer, REVISION, strlen(REVISION));
	bad |= msgpack_pack_uint64(&packer, revision);
	for (i = 0; i < package->n_fields; i++) {
		field = &package->fields[i];
		bad |= pack_text(&packer, field->name, field->name_len);
		bad |= pack_text(&packer, field->value, field->value_len);
	}
	return bad ? -ENOMEM : 0;
}

static bool is_text(const msgpack_object *object, const char *text, size_t len)
{
	return object->type == MSGPACK_OBJECT_STR && object->via.str.size == len &&
	       memcmp(object->via.str.ptr, text, len) == 0;
}

static int verify_map(const msgpack_object *object, const struct package *package,
		      uint64_t *ret_revision)
{
	const struct package_field *field;
	const msgpack_object_kv *pair;
	size_t i;

	if (object->type != MSGPACK_OBJECT_MAP || object->via.map.size != package->n_fields + 1)
		return -EBADMSG;
	pair = object->via.map.ptr;
	if (!is_text(&pair->key, REVISION, strlen(REVISION)) ||
	    pair->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return -EBADMSG;
	for (i = 0; i < package->n_fields; i++) {
		field = &package->fields[i];
		if (!is_text(&pair[i + 1].key, field->name, field->name_len) ||
		    !is_text(&pair[i + 1].val, field->value, field->value_len))
			return -EBADMSG;
	}
	*ret_revision = pair->val.via.u64;
	return 0;
}

int record_verify(const void *data, size_t len, const struct package *package,
		  uint64_t *ret_revision)
{
	msgpack_unpacked unpacked;
	int r = -EBADMSG;

	/* Before msgpack-c believes a length and allocates for it. */
	if (shmkv_value_check(data, len) < 0)
		return -EBADMSG;
	msgpack_unpacked_init(&unpacked);
	if (msgpack_unpack_next(&unpacked, data, len, NULL) == MSGPACK_UNPACK_SUCCESS)
		r = verify_map(&unpacked.data, package, ret_revision);
	msgpack_unpacked_destroy(&unpacked);
	return r;
}

/* SPDX-License-Identifier: MIT */

/* typed-values: what can be stored, how it comes back, and what a wrong type answers. */

#include <shmkv/shmkv.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The array [1, "two"] in msgpack; a library such as msgpack-c would write the same. */
static const unsigned char packed[] = { 0x92, 0x01, 0xa3, 't', 'w', 'o' };

static void print(const char *key, const struct shmkv_value *v)
{
	switch (v->type) {
	case SHMKV_NIL:
		printf("%-8s nil\n", key);
		break;
	case SHMKV_BOOL:
		printf("%-8s bool    %s\n", key, v->boolean ? "true" : "false");
		break;
	case SHMKV_INT:
		printf("%-8s int     %" PRId64 "\n", key, v->i64);
		break;
	case SHMKV_UINT:
		printf("%-8s uint    %" PRIu64 "\n", key, v->u64);
		break;
	case SHMKV_FLOAT:
		printf("%-8s float   %g\n", key, v->f64);
		break;
	case SHMKV_STR:
		printf("%-8s str     %.*s\n", key, (int)v->len, (const char *)v->data);
		break;
	case SHMKV_BIN:
		printf("%-8s bin     %zu bytes\n", key, v->len);
		break;
	case SHMKV_PACKED:
		printf("%-8s packed  %zu bytes of msgpack\n", key, v->len);
		break;
	}
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-typed";
	const struct {
		const char *key;
		struct shmkv_value value;
	} rows[] = {
		{ "nothing", shmkv_nil() },
		{ "yes", shmkv_bool(true) },
		{ "int", shmkv_int(-40) },
		{ "big", shmkv_uint(UINT64_MAX) },
		{ "pi", shmkv_float(3.14159) },
		{ "text", shmkv_str("words") },
		{ "bytes", shmkv_bin("\x00\x01\x02", 3) },
		{ "array", shmkv_packed(packed, sizeof(packed)) },
	};
	struct shmkv_value value;
	struct shmkv *kv = NULL;
	char buf[64];
	int64_t n;
	size_t i;
	int r;

	r = shmkv_create(name, NULL, &kv);
	for (i = 0; r == 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
		r = shmkv_put(kv, rows[i].key, strlen(rows[i].key), rows[i].value, NULL);
		if (r == 0)
			r = shmkv_get(kv, rows[i].key, strlen(rows[i].key), buf, sizeof(buf),
				      &value, NULL);
		if (r == 0)
			print(rows[i].key, &value);
	}
	if (r < 0) {
		fprintf(stderr, "typed-values: %s\n", shmkv_strerror(r));
	} else {
		/* A typed get refuses what does not fit instead of converting it quietly. */
		r = shmkv_get_int(kv, "text", 4, &n);
		printf("text as int: %s\n", shmkv_errname(r));
		r = r != -EPROTOTYPE ? -EIO : shmkv_get_int(kv, "big", 3, &n);
		printf("big as int:  %s\n", shmkv_errname(r));
		r = r != -ERANGE ? -EIO : 0;
	}
	if (kv) {
		shmkv_detach(kv);
		shmkv_unlink(name);
	}
	return r < 0;
}

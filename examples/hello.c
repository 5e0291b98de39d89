/* SPDX-License-Identifier: MIT */

/* hello: make a map, store a value, read it back, remove the map. */

#include <shmkv/shmkv.h>

#include <stdio.h>
#include <string.h>

static int fail(const char *what, int r)
{
	fprintf(stderr, "hello: %s: %s\n", what, shmkv_strerror(r));
	return 1;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-hello";
	const char *key = "greeting";
	struct shmkv *kv;
	char text[64];
	size_t len;
	int r, status = 0;

	/* NULL: 64 MiB at most, readable by this user only. */
	r = shmkv_create(name, NULL, &kv);
	if (r < 0)
		return fail(name, r);

	r = shmkv_put(kv, key, strlen(key), shmkv_str("hello, whoever reads this"), NULL);
	if (r < 0)
		status = fail("put", r);

	/* From here on any process of this user could attach by name and get the same. */
	r = shmkv_get_str(kv, key, strlen(key), text, sizeof(text), &len);
	if (r < 0)
		status = fail("get", r);
	else
		printf("%s is \"%.*s\"\n", key, (int)len, text);

	/* The map outlives its processes until somebody removes the name. */
	shmkv_detach(kv);
	r = shmkv_unlink(name);
	if (r < 0)
		status = fail("unlink", r);
	return status;
}

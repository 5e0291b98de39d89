/* SPDX-License-Identifier: MIT */

/* reader: a read-only handle needs only read permission and cannot damage the map, because
 * the memory itself is mapped without write permission. */

#include <shmkv/shmkv.h>

#include <errno.h>
#include <stdio.h>

/* Somebody else's work: a map that everybody may read. */
static int prepare(const char *name)
{
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;
	int r;

	options.max_bytes = 16 << 20;
	options.mode = 0644;
	r = shmkv_create(name, &options, &kv);
	if (r < 0)
		return r;
	r = shmkv_put(kv, "temperature", 11, shmkv_float(21.5), NULL);
	shmkv_detach(kv);
	return r;
}

static int read_only(const char *name)
{
	struct shmkv *kv;
	double celsius;
	int r;

	r = shmkv_attach(name, SHMKV_READ_ONLY, &kv);
	if (r < 0)
		return r;

	r = shmkv_get_float(kv, "temperature", 11, &celsius);
	if (r == 0) {
		printf("temperature: %.1f\n", celsius);
		r = shmkv_put(kv, "temperature", 11, shmkv_float(-300), NULL);
		printf("put: %s\n", shmkv_strerror(r));
		r = r == -EROFS ? 0 : -EIO;
	}
	shmkv_detach(kv);
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-reader";
	int r;

	r = prepare(name);
	if (r < 0) {
		fprintf(stderr, "reader: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}
	r = read_only(name);
	if (r < 0)
		fprintf(stderr, "reader: %s: %s\n", name, shmkv_strerror(r));
	shmkv_unlink(name);
	return r < 0;
}

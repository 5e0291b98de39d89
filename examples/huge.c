/* SPDX-License-Identifier: MIT */

/* huge: ask for huge pages, and see what the system gave. Nothing fails where it gives none. */

#include <shmkv/huge.h>

#include <stdio.h>

static int fill(struct shmkv *kv)
{
	static char value[1000];
	uint32_t i;
	int r = 0;

	for (i = 0; i < 20000 && r == 0; i++)
		r = shmkv_put(kv, &i, sizeof(i), shmkv_bin(value, sizeof(value)), NULL);
	return r;
}

static int run(const char *name, uint32_t when, const char *words)
{
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	struct shmkv_huge huge = { .size = sizeof(huge) };
	struct shmkv *kv;
	uint64_t left;
	int r;

	options.max_bytes = 64 << 20; /* smaller maps have none */
	options.huge_pages = when;
	r = shmkv_create(name, &options, &kv);
	if (r < 0)
		return r;
	r = fill(kv);
	/* LAZY: at a moment that suits us, here for as long as it takes. */
	if (r == 0)
		r = shmkv_huge_collapse(kv, UINT64_MAX, &left);
	if (r == 0)
		r = shmkv_huge_info(kv, &huge);
	if (r == 0)
		printf("%s: %llu MiB of %llu MiB in huge pages\n", words,
		       (unsigned long long)(huge.huge_bytes >> 20),
		       (unsigned long long)(huge.file_bytes >> 20));
	shmkv_detach(kv);
	shmkv_unlink(name);
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-huge";
	int r;

	r = run(name, SHMKV_HUGE_NEVER, "never");
	if (r == 0)
		r = run(name, SHMKV_HUGE_LAZY, "lazy");
	if (r == 0)
		r = run(name, SHMKV_HUGE_EAGER, "eager");
	if (r < 0)
		fprintf(stderr, "huge: %s: %s\n", name, shmkv_strerror(r));
	return r < 0;
}

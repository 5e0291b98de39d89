/* SPDX-License-Identifier: MIT */

/* cache: a look-aside cache that all processes share. Look here first, ask the slow source when
 * it is not there, and leave the answer for the others. The map is never full: what was not used
 * for long makes room. */

#include <shmkv/inspect.h>
#include <shmkv/shmkv.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGES 20000u
#define PAGE_LEN 600u

static unsigned int n_slow;

/* What the cache is for: a database, a template, a file far away. */
static size_t slow_page(unsigned int id, char *page)
{
	n_slow++;
	memset(page, 'a' + (int)(id % 26), PAGE_LEN);
	return PAGE_LEN;
}

static int cached_page(struct shmkv *kv, unsigned int id, char *page, size_t *ret_len)
{
	int r;

	r = shmkv_get_str(kv, &id, sizeof(id), page, PAGE_LEN, ret_len);
	if (r != -ENOENT)
		return r;
	*ret_len = slow_page(id, page);
	r = shmkv_put(kv, &id, sizeof(id), shmkv_str_n(page, *ret_len), NULL);
	/* Too crowded to store it: the page is as good. */
	return r == -ENOSPC || r == -EAGAIN ? 0 : r;
}

static int serve(struct shmkv *kv)
{
	struct shmkv_info info = { .size = sizeof(info) };
	unsigned int i, id, x = 1;
	char page[PAGE_LEN];
	size_t len;
	int r;

	for (i = 0; i < 100000; i++) {
		/* Nine of ten visitors want one of 2000 pages, the others want anything. */
		x = x * 1664525u + 1013904223u;
		id = (x >> 8) % (x >> 28 == 0 || x >> 28 == 1 ? PAGES : 2000u);
		r = cached_page(kv, id, page, &len);
		if (r < 0)
			return r;
		if (len != PAGE_LEN || page[len - 1] != 'a' + (int)(id % 26))
			return -EIO;
	}
	r = shmkv_info(kv, &info);
	if (r < 0)
		return r;
	printf("100000 pages, %u made, %llu in the cache, %llu made room\n", n_slow,
	       (unsigned long long)info.count, (unsigned long long)info.evictions);
	if (n_slow < 20000)
		printf("four of five came from the cache\n");
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-cache";
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;
	int r;

	options.max_bytes = 4 << 20; /* a third of all pages */
	options.evict = SHMKV_EVICT_LRU;
	r = shmkv_create(name, &options, &kv);
	if (r == -EEXIST)
		r = shmkv_attach(name, 0, &kv); /* whoever comes first makes it */
	if (r == 0) {
		r = serve(kv);
		shmkv_detach(kv);
		shmkv_unlink(name);
	}
	if (r < 0)
		fprintf(stderr, "cache: %s: %s\n", name, shmkv_strerror(r));
	return r < 0;
}

/* SPDX-License-Identifier: MIT */

/* batch: many keys in one call. In a large map the waits for memory overlap, so a key of a
 * batch costs a fraction of a call of its own. Each item answers for itself. */

#include <shmkv/batch.h>

#include <errno.h>
#include <stdio.h>

#define N 100000u
#define GROUP 32u

static int fill(struct shmkv *kv)
{
	struct shmkv_put_item items[GROUP] = { 0 };
	uint32_t ids[GROUP], first, i;
	size_t n_ok;
	int r;

	for (first = 0; first < N; first += GROUP) {
		for (i = 0; i < GROUP; i++) {
			ids[i] = first + i;
			items[i].key = &ids[i];
			items[i].key_len = sizeof(ids[i]);
			items[i].value = shmkv_uint((uint64_t)ids[i] * 3);
		}
		r = shmkv_put_many(kv, items, GROUP, &n_ok);
		if (r < 0)
			return r;
		/* Not all: some item says why, for instance that the map is full. */
		for (i = 0; n_ok < GROUP && i < GROUP; i++) {
			if (items[i].result < 0)
				return items[i].result;
		}
	}
	return 0;
}

/* Keys in no order, of which a quarter was never stored. */
static int sum_some(struct shmkv *kv, uint64_t *ret_sum, uint32_t *ret_missing)
{
	struct shmkv_get_item items[GROUP] = { 0 };
	uint32_t ids[GROUP], first, i, x = 1;
	int r;

	for (first = 0; first < N; first += GROUP) {
		for (i = 0; i < GROUP; i++) {
			x = x * 1664525u + 1013904223u;
			ids[i] = i % 4 ? (x >> 8) % N : N + i;
			items[i].key = &ids[i];
			items[i].key_len = sizeof(ids[i]);
			items[i].buf = NULL; /* numbers need none */
			items[i].cap = 0;
		}
		r = shmkv_get_many(kv, items, GROUP, NULL);
		if (r < 0)
			return r;
		for (i = 0; i < GROUP; i++) {
			if (items[i].result == -ENOENT) {
				(*ret_missing)++;
				continue;
			}
			if (items[i].result < 0)
				return items[i].result;
			if (items[i].value.u64 != (uint64_t)ids[i] * 3)
				return -EBADMSG;
			*ret_sum += items[i].value.u64;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-batch";
	struct shmkv *kv;
	uint64_t sum = 0;
	uint32_t missing = 0;
	int r;

	r = shmkv_create(name, NULL, &kv);
	if (r == 0) {
		r = fill(kv);
		if (r == 0)
			r = sum_some(kv, &sum, &missing);
		shmkv_detach(kv);
		shmkv_unlink(name);
	}
	if (r < 0) {
		fprintf(stderr, "batch: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}
	printf("%u keys read in batches of %u, %u of them absent\n", N, GROUP, missing);
	return 0;
}

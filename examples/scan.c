/* SPDX-License-Identifier: MIT */

/* scan: walk over all keys; nobody is blocked, and the map may even be changed on the way. */

#include <shmkv/shmkv.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define N_KEYS 1000

static int fill(struct shmkv *kv)
{
	char key[32];
	int i, r = 0;

	for (i = 0; i < N_KEYS && r == 0; i++) {
		snprintf(key, sizeof(key), "number-%d", i);
		r = shmkv_put(kv, key, strlen(key), shmkv_int(i), NULL);
	}
	return r;
}

/* Sums up what is there and removes the odd numbers. */
static int sift(struct shmkv *kv, uint64_t *n_seen, int64_t *sum)
{
	struct shmkv_entry entry;
	struct shmkv_value value;
	struct shmkv_scan *scan;
	int r;

	r = shmkv_scan_begin(kv, 0, &scan);
	if (r < 0)
		return r;
	while ((r = shmkv_scan_next(scan, &entry)) > 0) {
		/* The entry is the scan's own copy, valid until its next call. */
		r = shmkv_value_decode(entry.value, entry.value_len, &value);
		if (r == 0 && value.i64 % 2)
			r = shmkv_del(kv, entry.key, entry.key_len);
		if (r < 0)
			break;
		*sum += value.i64;
		(*n_seen)++;
	}
	shmkv_scan_end(scan);
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-scan";
	uint64_t n_seen = 0, n_left = 0;
	struct shmkv *kv;
	int64_t sum = 0;
	int r;

	r = shmkv_create(name, NULL, &kv);
	if (r < 0) {
		fprintf(stderr, "scan: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}

	r = fill(kv);
	if (r == 0)
		r = sift(kv, &n_seen, &sum);
	if (r == 0)
		r = shmkv_count(kv, &n_left);
	if (r < 0)
		fprintf(stderr, "scan: %s\n", shmkv_strerror(r));
	else
		printf("%" PRIu64 " keys with the sum %" PRId64 ", %" PRIu64 " left\n", n_seen, sum,
		       n_left);
	shmkv_detach(kv);
	shmkv_unlink(name);
	return r < 0 || n_seen != N_KEYS || n_left != N_KEYS / 2;
}

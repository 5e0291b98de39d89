/* SPDX-License-Identifier: MIT */

/* producer: publishes samples by key, and under "newest" the number of the last one. Start
 * consumer in another shell. */

#include <shmkv/shmkv.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#define N_SAMPLES 1000

static int publish(struct shmkv *kv, int64_t number)
{
	char key[32], text[64];
	int r;

	snprintf(key, sizeof(key), "sample-%d", (int)number);
	snprintf(text, sizeof(text), "the square of %d is %d", (int)number, (int)(number * number));
	r = shmkv_put(kv, key, strlen(key), shmkv_str(text), NULL);
	if (r < 0)
		return r;

	/* The sample first: whoever reads the number finds the sample. */
	return shmkv_put(kv, "newest", 6, shmkv_int(number), NULL);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-feed";
	const struct timespec pause = { .tv_nsec = 1000 * 1000 };
	struct shmkv *kv;
	int64_t i;
	int r, unlinked;

	r = shmkv_create(name, NULL, &kv);
	if (r < 0) {
		fprintf(stderr, "producer: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}

	for (i = 1; i <= N_SAMPLES && r == 0; i++) {
		r = publish(kv, i);
		nanosleep(&pause, NULL);
	}
	if (r < 0)
		fprintf(stderr, "producer: put: %s\n", shmkv_strerror(r));
	else
		printf("published %d samples\n", N_SAMPLES);

	/* Consumers that are attached keep the memory until they detach. */
	shmkv_detach(kv);
	unlinked = shmkv_unlink(name);
	if (unlinked < 0)
		fprintf(stderr, "producer: unlink: %s\n", shmkv_strerror(unlinked));
	return r < 0 || unlinked < 0;
}

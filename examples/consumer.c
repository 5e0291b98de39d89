/* SPDX-License-Identifier: MIT */

/* consumer: attaches read-only to producer's map, sleeps until there is more, checks every sample. */

#include <shmkv/shmkv.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define N_SAMPLES 1000
#define PATIENCE_MS 10000

static void wait_ms(long ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

/* 0 when the sample is there and says what it should. */
static int check(struct shmkv *kv, int64_t number)
{
	char key[32], text[64], expected[64];
	size_t len;
	int r;

	snprintf(key, sizeof(key), "sample-%d", (int)number);
	r = shmkv_get_str(kv, key, strlen(key), text, sizeof(text), &len);
	if (r < 0)
		return r;
	snprintf(expected, sizeof(expected), "the square of %d is %d", (int)number,
		 (int)(number * number));
	return len == strlen(expected) && memcmp(text, expected, len) == 0 ? 0 : -EBADMSG;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-feed";
	int64_t newest = 0, checked = 0;
	uint64_t deadline = shmkv_deadline_in(PATIENCE_MS), token = 0;
	struct shmkv *kv = NULL;
	int r, ms;

	for (ms = 0; ms < PATIENCE_MS; ms += 10) {
		r = shmkv_attach(name, SHMKV_READ_ONLY, &kv);
		if (r != -ENOENT)
			break;
		wait_ms(10);
	}

	while (r == 0 && checked < N_SAMPLES) {
		/* A change since the last look, however long ago that was. */
		r = shmkv_wait(kv, "newest", 6, token, deadline, &token);
		if (r == 0)
			r = shmkv_get_int(kv, "newest", 6, &newest);
		while (r == 0 && checked < newest)
			r = check(kv, ++checked);
		if (r == -EINTR)
			r = 0;
	}
	shmkv_detach(kv);
	if (r == -ETIMEDOUT)
		r = 0;

	if (r < 0)
		fprintf(stderr, "consumer: %s: %s\n", name, shmkv_strerror(r));
	else if (checked < N_SAMPLES)
		fprintf(stderr, "consumer: the producer stopped after %d samples\n", (int)checked);
	else
		printf("checked %d samples\n", N_SAMPLES);
	return r < 0 || checked < N_SAMPLES;
}

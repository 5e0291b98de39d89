/* SPDX-License-Identifier: MIT */

/* counter-cas: several processes change one value with compare-and-swap and lose no change.
 * (For a plain sum shmkv_incr does the same in one call.) */

#include <shmkv/shmkv.h>

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_PROCESSES 4
#define N_ROUNDS 5000

static int add_one(struct shmkv *kv)
{
	struct shmkv_value value;
	uint64_t token;
	int r;

	do {
		r = shmkv_get(kv, "n", 1, NULL, 0, &value, &token);
		if (r < 0)
			return r;
		/* Any computation could stand here; the token notices if n changes meanwhile. */
		r = shmkv_cas(kv, "n", 1, token, shmkv_int(value.i64 + 1), NULL);
	} while (r == -ESTALE || r == -EAGAIN);
	return r;
}

/* A handle does not survive fork: each process attaches for itself. */
static int work(const char *name)
{
	struct shmkv *kv;
	int i, r;

	r = shmkv_attach(name, 0, &kv);
	if (r < 0)
		return r;
	for (i = 0; i < N_ROUNDS && r == 0; i++)
		r = add_one(kv);
	shmkv_detach(kv);
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-counter";
	int i, r, status, failed = 0;
	struct shmkv *kv;
	int64_t n = 0;

	r = shmkv_create(name, NULL, &kv);
	if (r == 0)
		r = shmkv_put(kv, "n", 1, shmkv_int(0), NULL);
	if (r < 0) {
		fprintf(stderr, "counter-cas: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}

	for (i = 0; i < N_PROCESSES; i++) {
		switch (fork()) {
		case -1:
			perror("counter-cas: fork");
			failed = 1;
			break;
		case 0:
			r = work(name);
			if (r < 0)
				fprintf(stderr, "counter-cas: %s\n", shmkv_strerror(r));
			_exit(r < 0);
		}
	}
	while (wait(&status) > 0)
		failed |= status != 0;

	r = shmkv_get_int(kv, "n", 1, &n);
	printf("%d processes added %d each: n is %d\n", N_PROCESSES, N_ROUNDS, (int)n);
	shmkv_detach(kv);
	shmkv_unlink(name);
	return failed || r < 0 || n != (int64_t)N_PROCESSES * N_ROUNDS;
}

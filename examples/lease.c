/* SPDX-License-Identifier: MIT */

/* lease: one of several processes does a job at a time, also when one of them is killed in the
 * middle of it: a lock that ends by itself. Its holder renews it with the token of its last
 * write, so that one which was stopped for too long cannot take it from its successor. */

#include <shmkv/expiry.h>

#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_PROCESSES 4
#define N_STEPS 20
#define LEASE_MS 200

static const struct timespec moment = { 0, 1000000 };

/* Steps of the job until it is done or the lease is lost; the first holder dies at half. */
static int work(struct shmkv *kv, struct shmkv_value me, uint64_t lease)
{
	struct shmkv_value step;
	uint64_t token;
	int r;

	r = shmkv_get(kv, "step", 4, NULL, 0, &step, &token);
	while (r == 0 && step.i64 < N_STEPS) {
		/* -ENOENT, -ESTALE: we have overslept, and perhaps somebody else has it. */
		r = shmkv_cas_ttl(kv, "lease", 5, lease, me, LEASE_MS, &lease);
		/* Here, too, we could fall asleep for too long. What the lease protects must notice
		 * by itself that somebody else was at work: it has a token as well. */
		if (r == 0)
			r = shmkv_cas(kv, "step", 4, token, shmkv_int(++step.i64), &token);
		if (r == 0 && step.i64 == N_STEPS / 2)
			kill(getpid(), SIGKILL);
	}
	/* Given back at once, if it is ours. */
	if (r == 0)
		r = shmkv_cas_ttl(kv, "lease", 5, lease, shmkv_nil(), 1, NULL);
	return r;
}

static int take_part(const char *name, int me)
{
	struct shmkv *kv;
	int64_t step = 0;
	uint64_t token;
	int r;

	r = shmkv_attach(name, 0, &kv);
	if (r < 0)
		return r;
	do {
		r = shmkv_add_ttl(kv, "lease", 5, shmkv_int(me), LEASE_MS, &token);
		if (r == 0)
			r = work(kv, shmkv_int(me), token);
		else if (r == -EEXIST)
			nanosleep(&moment, NULL);
		if (r == 0 || r == -EEXIST || r == -ENOENT || r == -ESTALE || r == -EAGAIN)
			r = shmkv_get_int(kv, "step", 4, &step);
	} while (r == 0 && step < N_STEPS);
	shmkv_detach(kv);
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-lease";
	int i, r, status, killed = 0, failed = 0;
	struct shmkv *kv;
	int64_t step = 0;

	r = shmkv_create(name, NULL, &kv);
	if (r == 0)
		r = shmkv_put(kv, "step", 4, shmkv_int(0), NULL);
	if (r < 0) {
		fprintf(stderr, "lease: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}
	for (i = 0; i < N_PROCESSES; i++) {
		switch (fork()) {
		case -1:
			perror("lease: fork");
			failed = 1;
			break;
		case 0:
			r = take_part(name, i);
			if (r < 0)
				fprintf(stderr, "lease: %s\n", shmkv_strerror(r));
			_exit(r < 0);
		}
	}
	while (wait(&status) > 0) {
		killed += WIFSIGNALED(status);
		failed |= WIFEXITED(status) && WEXITSTATUS(status) != 0;
	}

	r = shmkv_get_int(kv, "step", 4, &step);
	printf("%d of %d killed, %d steps done\n", killed, N_PROCESSES, (int)step);
	shmkv_detach(kv);
	shmkv_unlink(name);
	return failed || r < 0 || killed != 1 || step != N_STEPS;
}

/* SPDX-License-Identifier: MIT */

/* wait: one process hands jobs to another; whoever has nothing to do sleeps. */

#include <shmkv/shmkv.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_JOBS 5

/* Sleeps until the number under the key is at least this. */
static int wait_for(struct shmkv *kv, const char *key, size_t key_len, int64_t number)
{
	uint64_t deadline = shmkv_deadline_in(10000), token = 0;
	int64_t now;
	int r;

	for (;;) {
		/* What was read with the token of this moment cannot change unnoticed: the wait
		 * answers at once if it already has. */
		r = shmkv_wait(kv, key, key_len, token, deadline, &token);
		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		r = shmkv_get_int(kv, key, key_len, &now);
		if (r < 0 || now >= number)
			return r;
	}
}

static int work(const char *name)
{
	struct shmkv *kv;
	int64_t job;
	int r;

	r = shmkv_attach(name, 0, &kv);
	if (r < 0)
		return r;
	for (job = 1; job <= N_JOBS && r == 0; job++) {
		r = wait_for(kv, "job", 3, job);
		if (r == 0)
			r = shmkv_put(kv, "done", 4, shmkv_int(job), NULL);
	}
	shmkv_detach(kv);
	return r;
}

static int hand_out(struct shmkv *kv)
{
	int64_t job;
	int r = 0;

	for (job = 1; job <= N_JOBS && r == 0; job++) {
		r = shmkv_put(kv, "job", 3, shmkv_int(job), NULL);
		if (r == 0)
			r = wait_for(kv, "done", 4, job);
		if (r == 0)
			printf("job %d is done\n", (int)job);
	}
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-wait";
	struct shmkv *kv = NULL;
	int status = 0, r;
	pid_t worker;

	r = shmkv_create(name, NULL, &kv);
	if (r < 0) {
		fprintf(stderr, "wait: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}
	worker = fork();
	if (worker == 0)
		_exit(work(name) < 0);
	r = worker > 0 ? hand_out(kv) : -EIO;
	if (worker > 0)
		waitpid(worker, &status, 0);
	shmkv_detach(kv);
	shmkv_unlink(name);

	if (r < 0)
		fprintf(stderr, "wait: %s\n", shmkv_strerror(r));
	return r < 0 || status != 0;
}

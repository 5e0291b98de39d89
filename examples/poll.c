/* SPDX-License-Identifier: MIT */

/* poll: an event loop that is told of changes in the map and of a timer, by the same call. */

#include <shmkv/shmkv.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_TICKS 3

/* The other process: answers each tick. */
static int answer(const char *name)
{
	uint64_t token = 0;
	struct shmkv *kv;
	int64_t tick = 0;
	int r;

	r = shmkv_attach(name, 0, &kv);
	if (r < 0)
		return r;
	while (tick < N_TICKS && r >= 0) {
		r = shmkv_wait(kv, "tick", 4, token, shmkv_deadline_in(10000), &token);
		if (r == 0)
			r = shmkv_get_int(kv, "tick", 4, &tick);
		if (r == 0)
			r = shmkv_put(kv, "answer", 6, shmkv_int(tick), NULL);
	}
	shmkv_detach(kv);
	return r;
}

/* Everything that has changed since the last time; then the descriptor is quiet until the next. */
static int hear(struct shmkv *kv, int fd, uint64_t *token, int64_t *ret_heard)
{
	int r;

	while ((r = shmkv_poll(kv, fd, "answer", 6, *token, token)) == 0) {
		r = shmkv_get_int(kv, "answer", 6, ret_heard);
		if (r < 0)
			return r;
		printf("heard %d\n", (int)*ret_heard);
	}
	return r == -ETIMEDOUT ? 0 : r;
}

static int run(struct shmkv *kv, struct pollfd *fds)
{
	const struct itimerspec soon = { .it_value = { .tv_nsec = 5000000 } };
	uint64_t token = 0, n;
	int64_t heard = 0;
	int r;

	if (timerfd_settime(fds[1].fd, 0, &soon, NULL) < 0)
		return -EIO;
	while ((r = hear(kv, fds[0].fd, &token, &heard)) == 0 && heard < N_TICKS) {
		r = poll(fds, 2, 10000);
		if (r <= 0)
			return r < 0 && errno != EINTR ? -EIO : -ETIMEDOUT;
		if ((fds[1].revents & POLLIN) && read(fds[1].fd, &n, sizeof(n)) == sizeof(n)) {
			r = shmkv_incr(kv, "tick", 4, 1, 0, NULL);
			if (r == 0 && timerfd_settime(fds[1].fd, 0, &soon, NULL) < 0)
				r = -EIO;
			if (r < 0)
				return r;
		}
	}
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-poll";
	struct pollfd fds[2] = { { .fd = -1, .events = POLLIN }, { .fd = -1, .events = POLLIN } };
	struct shmkv *kv = NULL;
	pid_t other;
	int r;

	r = shmkv_create(name, NULL, &kv);
	if (r < 0) {
		fprintf(stderr, "poll: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}
	other = fork();
	if (other == 0)
		_exit(answer(name) < 0);
	r = shmkv_poll_open(kv, &fds[0].fd);
	if (r == 0) {
		fds[1].fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		r = fds[1].fd < 0 || other < 0 ? -EIO : run(kv, fds);
	}
	close(fds[0].fd);
	close(fds[1].fd);
	if (other > 0)
		waitpid(other, NULL, 0);
	shmkv_detach(kv);
	shmkv_unlink(name);

	if (r < 0)
		fprintf(stderr, "poll: %s\n", shmkv_strerror(r));
	return r < 0;
}

/* SPDX-License-Identifier: MIT */
#include "bench/peer-wake.h"

#include "base/atomic.h"

#include <shmkv/wait.h>

#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 5000u
#define WARM 200u

/* One side of a conversation: says a number, and sleeps until it hears it. */
struct side {
	uint32_t *says, *hears; /* futex */
	int fd;                 /* socket */
	const char *name;       /* of the map */
	struct shmkv *kv;
	const char *key_says, *key_hears;
	uint64_t token;
};

static int futex_say(struct side *side, uint32_t number)
{
	/* Relaxed: the word alone carries everything. */
	skv_store_relaxed_32(side->says, number);
	syscall(SYS_futex, side->says, FUTEX_WAKE, 1, NULL, NULL, 0);
	return 0;
}

static int futex_hear(struct side *side, uint32_t number)
{
	uint32_t seen;

	while ((seen = skv_load_relaxed_32(side->hears)) != number)
		syscall(SYS_futex, side->hears, FUTEX_WAIT, seen, NULL, NULL, 0);
	return 0;
}

static int socket_say(struct side *side, uint32_t number)
{
	return write(side->fd, &number, sizeof(number)) == sizeof(number) ? 0 : -EIO;
}

static int socket_hear(struct side *side, uint32_t number)
{
	uint32_t heard;

	if (read(side->fd, &heard, sizeof(heard)) != sizeof(heard))
		return -EIO;
	return heard == number ? 0 : -EBADMSG;
}

static int shmkv_say(struct side *side, uint32_t number)
{
	return shmkv_put(side->kv, side->key_says, 1, shmkv_uint(number), NULL);
}

static int shmkv_hear(struct side *side, uint32_t number)
{
	uint64_t heard;
	int r;

	do
		r = shmkv_wait(side->kv, side->key_hears, 1, side->token, SHMKV_NO_DEADLINE, &side->token);
	while (r == -EINTR);
	if (r < 0)
		return r;
	r = shmkv_get_uint(side->kv, side->key_hears, 1, &heard);
	return r < 0 ? r : heard == number ? 0 : -EBADMSG;
}

struct way {
	const char *name;
	int (*say)(struct side *side, uint32_t number);
	int (*hear)(struct side *side, uint32_t number);
	bool maps;
};

static const struct way ways[] = {
	{ "shmkv: put, wait, get", shmkv_say, shmkv_hear, true },
	{ "limit: futex", futex_say, futex_hear, false },
	{ "unix socket", socket_say, socket_hear, false },
};

static int answer_all(const struct way *way, struct side *side)
{
	uint32_t i;
	int r = 0;

	for (i = 1; i <= WARM + ROUNDS && r == 0; i++) {
		r = way->hear(side, i);
		if (r == 0)
			r = way->say(side, i);
	}
	return r;
}

static int ask_all(const struct way *way, struct side *side, struct histogram *round)
{
	uint64_t start;
	uint32_t i;
	int r = 0;

	for (i = 1; i <= WARM + ROUNDS && r == 0; i++) {
		start = bench_now_ns();
		r = way->say(side, i);
		if (r == 0)
			r = way->hear(side, i);
		if (i > WARM)
			histogram_add(round, bench_now_ns() - start);
	}
	return r;
}

static int child(const struct way *way, struct side *side, pid_t parent)
{
	int r = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return 1;
	if (way->maps)
		r = shmkv_attach(side->name, 0, &side->kv);
	return r < 0 || answer_all(way, side) < 0;
}

static int converse(const struct way *way, struct side *asks, struct side *answers,
		    struct histogram *round)
{
	const pid_t parent = getpid();
	int status, r;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(child(way, answers, parent));
	if (pid < 0)
		return -EAGAIN;
	r = ask_all(way, asks, round);
	if (r < 0)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return r < 0 ? r : status ? -EIO : 0;
}

static int run_way(struct cells *cells, const struct way *way)
{
	struct cell_wake *found = cells_add_wake(cells, way->name);
	struct side asks = { .key_says = "a", .key_hears = "b" };
	struct side answers = { .key_says = "b", .key_hears = "a" };
	uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fds[2], r = 0;

	if (!found || (void *)words == MAP_FAILED)
		return bench_failed("figures", -ENOMEM);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		munmap(words, 4096);
		return bench_failed("socketpair", -EMFILE);
	}
	answers.name = bench_map_name();
	asks.says = answers.hears = words;
	asks.hears = answers.says = words + 32;
	asks.fd = fds[0];
	answers.fd = fds[1];
	if (way->maps)
		r = shmkv_create(answers.name, NULL, &asks.kv);
	if (r == 0)
		r = converse(way, &asks, &answers, &found->round);
	if (asks.kv) {
		shmkv_detach(asks.kv);
		shmkv_unlink(answers.name);
	}
	close(fds[0]);
	close(fds[1]);
	munmap(words, 4096);
	return r < 0 ? bench_failed(way->name, r) : 0;
}

int peer_wake(struct cells *cells, const struct bench_options *options)
{
	unsigned int i;
	int r = 0;

	if (options->progress)
		fprintf(stderr, "\r\033[Kwaking another process");
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]) && r == 0; i++)
		r = run_way(cells, &ways[i]);
	if (options->progress)
		fprintf(stderr, "\r\033[K");
	return r;
}

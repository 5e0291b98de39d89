/* SPDX-License-Identifier: MIT */

/* camera: frames from one producer to three consumers, copied by nobody, whoever is killed. */

#include <shmkv/inspect.h>
#include <shmkv/reserve.h>
#include <shmkv/shmkv.h>
#include <shmkv/view.h>
#include <shmkv/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIXELS (1920 * 1080)
#define N_FRAMES 60
#define KEY "frame", 5
#define N_CONSUMERS 3

/* In front of the pixels. The payload of a draft or a view has no particular alignment. */
struct header {
	uint64_t number;
};

static uint64_t frame_number(const void *frame)
{
	struct header header;

	memcpy(&header, frame, sizeof(header));
	return header.number;
}

/* The next frame after the one that is there, into memory where everybody will look at it. */
static int shoot(struct shmkv *kv, uint64_t number, bool dies)
{
	struct header header = { number };
	struct shmkv_draft draft;
	uint8_t *pixels;
	int r;

	r = shmkv_reserve(kv, KEY, SHMKV_BIN, sizeof(header) + PIXELS, &draft);
	if (r < 0)
		return r;
	memcpy(draft.data, &header, sizeof(header));
	pixels = (uint8_t *)draft.data + sizeof(header);
	memset(pixels, (int)(number & 0xff), PIXELS / 2);
	/* Half a frame: nobody will see it, and its memory comes back. */
	if (dies)
		raise(SIGKILL);
	memset(pixels + PIXELS / 2, (int)(number & 0xff), PIXELS - PIXELS / 2);
	r = shmkv_commit(&draft, draft.len, SHMKV_COMMIT_PUT, NULL);
	if (r < 0)
		shmkv_abort(&draft);
	return r;
}

static int produce(struct shmkv *kv, bool dies)
{
	struct shmkv_view view;
	uint64_t number = 0;
	int r;

	/* Where the last producer was killed. */
	r = shmkv_view_begin(kv, KEY, &view);
	if (r == 0) {
		number = frame_number(view.value.data);
		r = shmkv_view_end(&view);
	}
	if (r == -ENOENT)
		r = 0;
	while (r == 0 && number < N_FRAMES) {
		number++;
		r = shoot(kv, number, dies && number == N_FRAMES / 2);
	}
	return r;
}

/* A frame that is looked at stays as it is, however many come after it. */
static int look(struct shmkv *kv, bool dies, uint64_t *ret_token, uint64_t *ret_number)
{
	const uint8_t *pixels;
	struct shmkv_view view;
	int r, bad = 0;
	size_t i;

	r = shmkv_view_begin(kv, KEY, &view);
	if (r < 0)
		return r;
	if (dies)
		raise(SIGKILL);
	*ret_token = view.token;
	*ret_number = frame_number(view.value.data);
	pixels = (const uint8_t *)view.value.data + sizeof(struct header);
	for (i = 0; i < PIXELS; i++)
		bad |= pixels[i] != (*ret_number & 0xff);
	r = shmkv_view_end(&view);
	return r < 0 ? r : bad ? -EIO : 0;
}

static int consume(struct shmkv *kv, bool dies)
{
	uint64_t deadline = shmkv_deadline_in(60000), token = 0, number = 0;
	int r;

	while (number < N_FRAMES) {
		/* Sleeps until there is another frame than the one it has seen, or any at all. */
		r = shmkv_wait(kv, KEY, token, deadline, &token);
		if (r == 0)
			r = look(kv, dies, &token, &number);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

/* Role 0 is the producer. The first who plays 0 or 1 is killed in the middle of something. */
static pid_t start(const char *name, int role, bool again)
{
	struct shmkv *kv;
	pid_t pid = fork();
	int r;

	if (pid != 0)
		return pid;
	r = shmkv_attach(name, 0, &kv);
	if (r == 0) {
		r = role == 0 ? produce(kv, !again) : consume(kv, role == 1 && !again);
		shmkv_detach(kv);
	}
	if (r < 0)
		fprintf(stderr, "camera: %s: %s\n", role ? "consumer" : "producer", shmkv_strerror(r));
	_exit(r < 0);
}

/* Whoever is killed is started again. Returns how many were, or -EIO. */
static int supervise(const char *name)
{
	pid_t pids[1 + N_CONSUMERS], pid;
	int role, status, n_killed = 0, n = 1 + N_CONSUMERS, r = 0;

	for (role = 0; role < 1 + N_CONSUMERS; role++)
		pids[role] = start(name, role, false);
	while (n > 0 && (pid = wait(&status)) > 0) {
		for (role = 0; role < N_CONSUMERS && pids[role] != pid; role++)
			;
		if (WIFSIGNALED(status)) {
			n_killed++;
			pids[role] = start(name, role, true);
		} else {
			n--;
			r = status != 0 ? -EIO : r;
		}
	}
	return n > 0 ? -EIO : r < 0 ? r : n_killed;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-camera";
	struct shmkv_memory memory = { .size = sizeof(memory) };
	struct shmkv_recovery recovery = { .size = sizeof(recovery) };
	struct shmkv *kv = NULL;
	int r, n_killed = 0;

	r = shmkv_create(name, NULL, &kv);
	if (r < 0) {
		fprintf(stderr, "camera: %s: %s\n", name, shmkv_strerror(r));
		return 1;
	}
	n_killed = r = supervise(name);
	/* Others have recovered the dead already, unless the last to die was the last at all. */
	if (r >= 0)
		r = shmkv_recover(kv, &recovery);
	if (r == 0)
		r = shmkv_memory(kv, &memory);
	if (r == 0)
		printf("%d frames, %d killed, %llu frame left in memory\n", N_FRAMES, n_killed,
		       (unsigned long long)memory.records);
	shmkv_detach(kv);
	shmkv_unlink(name);

	if (r < 0)
		fprintf(stderr, "camera: %s\n", shmkv_strerror(r));
	return r < 0 || n_killed != 2 || memory.records != 1;
}

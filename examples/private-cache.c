/* SPDX-License-Identifier: MIT */

/* private-cache: a map of one's own that several threads use, and what it does to stay fast. */

#include <shmkv/heap.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { N_THREADS = 4, N_KEYS = 10000 };

static void tell(const struct shmkv_adaptive_event *event, void *arg)
{
	unsigned int *n = arg;

	if (event->finished && event->type == SHMKV_EVENT_MIGRATION)
		printf("migration with %llu entries\n", (unsigned long long)event->entries);
	__atomic_add_fetch(n, event->finished, __ATOMIC_RELAXED);
}

struct job {
	struct shmkv *kv;
	pthread_t thread;
	int r;
};

/* All threads count the same words. Nobody registers a thread or takes a lock. */
static void *count_words(void *arg)
{
	struct job *job = arg;
	char word[16];
	int i;

	for (i = 0; i < N_KEYS && job->r == 0; i++) {
		snprintf(word, sizeof(word), "word %d", i);
		job->r = shmkv_incr(job->kv, word, strlen(word), 1, 0, NULL);
	}
	return NULL;
}

int main(void)
{
	struct shmkv_adaptive_options adaptive = SHMKV_ADAPTIVE_OPTIONS_INIT;
	struct shmkv_adaptive_info info = { .size = sizeof(info) };
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	struct job jobs[N_THREADS];
	unsigned int events = 0;
	struct shmkv *kv;
	int64_t count;
	int i, r;

	adaptive.on_event = tell;
	adaptive.arg = &events;
	options.adaptive = &adaptive;

	/* "heap:" instead of a name: no segment, nothing to unlink. */
	r = shmkv_create("heap:adaptive/words", &options, &kv);
	if (r < 0) {
		fprintf(stderr, "private-cache: %s\n", shmkv_strerror(r));
		return 1;
	}
	for (i = 0; i < N_THREADS; i++) {
		jobs[i] = (struct job){ .kv = kv };
		if (pthread_create(&jobs[i].thread, NULL, count_words, &jobs[i]) != 0) {
			fprintf(stderr, "private-cache: no thread\n");
			return 1;
		}
	}
	for (i = 0; i < N_THREADS; i++) {
		pthread_join(jobs[i].thread, NULL);
		r = jobs[i].r < 0 ? jobs[i].r : r;
	}

	if (r == 0)
		r = shmkv_get_int(kv, "word 77", 7, &count);
	if (r == 0)
		r = shmkv_adaptive_info(kv, &info);
	if (r == 0)
		printf("word 77 was counted %lld times; the map is on %s\n", (long long)count,
		       info.label);
	else
		fprintf(stderr, "private-cache: %s\n", shmkv_strerror(r));
	shmkv_detach(kv);
	return r < 0;
}

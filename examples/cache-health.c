/* SPDX-License-Identifier: MIT */

/* cache-health: a monitor attaches read-only and asks how a shared cache is doing: how often
 * it answers, how well its memory is used, and who is using it. */

#include <shmkv/inspect.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* Somebody else's work: a cache that answers three of four questions. */
static int use_the_cache(const char *name, struct shmkv **ret_kv)
{
	uint64_t key, value;
	int r;

	r = shmkv_create(name, NULL, ret_kv);
	for (key = 0; r == 0 && key < 750; key++)
		r = shmkv_put(*ret_kv, &key, sizeof(key), shmkv_uint(key), NULL);
	for (key = 0; r == 0 && key < 1000; key++) {
		r = shmkv_get_uint(*ret_kv, &key, sizeof(key), &value);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

static int print_participant(const struct shmkv_participant *p, void *arg)
{
	(void)arg;
	printf("process %" PRIu64 " is %s, %" PRIu64 " calls\n", p->pid, p->state, p->calls);
	return 0;
}

static int look(const char *name)
{
	struct shmkv_stats stats = { .size = sizeof(stats) };
	struct shmkv_memory memory = { .size = sizeof(memory) };
	struct shmkv *kv;
	int r;

	r = shmkv_attach(name, SHMKV_READ_ONLY, &kv);
	if (r < 0)
		return r;
	r = shmkv_stats(kv, &stats);
	if (r == 0)
		r = shmkv_memory(kv, &memory);
	if (r == 0) {
		printf("hit rate: %.1f %% of %" PRIu64 " gets\n",
		       stats.gets ? 100.0 * (double)stats.hits / (double)stats.gets : 0.0, stats.gets);
		printf("memory: %" PRIu64 " records, %.0f %% of their blocks filled\n", memory.records,
		       memory.held_bytes ?
			       100.0 * (double)memory.record_bytes / (double)memory.held_bytes :
			       0.0);
		r = shmkv_participants(kv, print_participant, NULL);
	}
	shmkv_detach(kv);
	return r;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "example-cache-health";
	struct shmkv *cache = NULL;
	int r;

	r = use_the_cache(name, &cache);
	if (r == 0)
		r = look(name);
	if (r < 0)
		fprintf(stderr, "cache-health: %s: %s\n", name, shmkv_strerror(r));
	if (cache)
		shmkv_unlink(name);
	shmkv_detach(cache);
	return r < 0;
}

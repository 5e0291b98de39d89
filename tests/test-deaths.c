/* SPDX-License-Identifier: MIT */
/* test-deaths: many deaths cost no more memory than a few. */
#include "tests/test.h"

#include <shmkv/inspect.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS 800u
#define DEATHS 120u
#define FEW 20u

/* Writes until it is killed; tells once that it has begun to churn. */
static void churn(const char *name, uint32_t seed, int begun)
{
	struct shmkv *kv;
	uint32_t i, key, x = seed * 2654435761u + 1;
	char value[200] = "";

	if (shmkv_attach(name, 0, &kv) < 0)
		_exit(1);
	for (i = 0;; i++) {
		x = x * 1664525u + 1013904223u;
		key = (x >> 8) % KEYS;
		if (x >> 31)
			shmkv_put(kv, &key, sizeof(key), shmkv_bin(value, 20 + (x >> 20) % 150), NULL);
		else
			shmkv_del(kv, &key, sizeof(key));
		/* By now leaves were replaced and the caches are full. */
		if (i == 3000 && write(begun, "b", 1) != 1)
			_exit(2);
	}
}

static uint64_t one_death(const char *name, struct shmkv *kv, uint32_t n)
{
	struct shmkv_info info = { .size = sizeof(info) };
	int begun[2];
	pid_t pid;
	char c;

	CHECK_EQ(pipe(begun), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		churn(name, n, begun[1]);
	close(begun[1]);
	CHECK_EQ(read(begun[0], &c, 1), 1);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	skv_test_wait_killed(pid, SIGKILL);
	close(begun[0]);
	CHECK_EQ(shmkv_info(kv, &info), 0);
	return info.leaf_bytes + info.slab_bytes;
}

static void memory_does_not_grow_with_the_dead(void)
{
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	uint64_t after_few = 0, bytes = 0;
	struct shmkv *kv;
	char name[64];
	uint32_t i;

	snprintf(name, sizeof(name), "deaths-%ld", (long)getpid());
	options.max_bytes = 32 << 20;
	shmkv_unlink(name);
	CHECK_EQ(shmkv_create(name, &options, &kv), 0);
	for (i = 0; i < DEATHS; i++) {
		bytes = one_death(name, kv, i);
		if (i == FEW)
			after_few = bytes;
	}
	/* What the dead had in their private caches is found again by those who come after: without
	 * that every death costs some 24 KiB for ever, and this is six times as much. */
	if (bytes > 2 * after_few)
		skv_test_fail(__FILE__, __LINE__, "%llu bytes after %u deaths, %llu after %u",
			      (unsigned long long)bytes, DEATHS, (unsigned long long)after_few, FEW);
	CHECK_EQ(shmkv_recover(kv, &report), 0);
	CHECK_EQ(shmkv_check(kv, NULL, NULL, &audit), 0);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink(name), 0);
}

const struct skv_test skv_tests_deaths[] = {
	/* hazard 32 */
	{ "deaths", "memory does not grow with the dead", memory_does_not_grow_with_the_dead, 120 },
	{ 0 },
};

/* SPDX-License-Identifier: MIT */
#include "tests/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void skv_segment_name(char ret_name[64])
{
	static unsigned int n;

	snprintf(ret_name, 64, "test-%d-%u", (int)getpid(), n++);
	shmkv_unlink(ret_name);
}

void skv_segment_begin_with(struct skv_segment *s, const struct shmkv_options *opts)
{
	skv_segment_name(s->name);
	s->kv = NULL;
	CHECK_EQ(shmkv_create(s->name, opts, &s->kv), 0);
	CHECK(s->kv != NULL);
}

void skv_segment_begin(struct skv_segment *s, uint64_t max_bytes)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;

	opts.max_bytes = max_bytes;
	skv_segment_begin_with(s, &opts);
}

void skv_segment_end(struct skv_segment *s)
{
	CHECK_EQ(shmkv_unlink(s->name), 0);
	skv_segment_check(s->kv);
	CHECK(shmkv_detach(s->kv) == NULL);
	s->kv = NULL;
}

struct shmkv *skv_segment_attach(const struct skv_segment *s, unsigned int flags)
{
	struct shmkv *kv = NULL;

	CHECK_EQ(shmkv_attach(s->name, flags, &kv), 0);
	CHECK(kv != NULL);
	return kv;
}

static void first_violation(const char *violation, void *arg)
{
	char *text = arg;

	if (text[0] == '\0')
		snprintf(text, 256, "%s", violation);
}

struct shmkv_audit skv_segment_check(struct shmkv *kv)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	char text[256] = "";
	int r;

	r = shmkv_check(kv, first_violation, text, &audit);
	if (text[0] != '\0')
		skv_test_fail(__FILE__, __LINE__, "%llu violations, the first: %s",
			      (unsigned long long)audit.violations, text);
	CHECK_EQ(audit.violations, 0);
	CHECK_EQ(audit.leaked_blocks, 0);
	CHECK_EQ(audit.leaked_bytes, 0);
	CHECK_EQ(audit.leaked_leaves, 0);
	CHECK_EQ(audit.leaked_chunks, 0);
	CHECK_EQ(r, 0);
	CHECK_EQ(audit.keys, skv_segment_count(kv));
	return audit;
}

struct shmkv_info skv_segment_info(struct shmkv *kv)
{
	struct shmkv_info info = { .size = sizeof(info) };

	CHECK_EQ(shmkv_info(kv, &info), 0);
	return info;
}

uint64_t skv_segment_count(struct shmkv *kv)
{
	uint64_t count = UINT64_MAX;

	CHECK_EQ(shmkv_count(kv, &count), 0);
	return count;
}

static int add_used(const struct shmkv_layout_item *item, void *arg)
{
	uint64_t *sum = arg;

	if (item->part == SHMKV_PART_CHUNK && strcmp(item->state, "slab") == 0)
		*sum += (uint64_t)item->blocks_used * item->block_bytes;
	if (item->part == SHMKV_PART_CHUNK && strcmp(item->state, "run") == 0)
		*sum += item->bytes;
	return 0;
}

uint64_t skv_segment_used(struct shmkv *kv)
{
	uint64_t sum = 0;

	CHECK_EQ(shmkv_layout(kv, add_used, &sum), 0);
	return sum;
}

/* ---- content ------------------------------------------------------------------------ */

/* FNV-1a with 64 bits, from @hash on. */
static uint64_t hash_more(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3ull;
	return hash;
}

struct skv_snapshot skv_segment_snapshot(struct shmkv *kv)
{
	struct shmkv_info info = skv_segment_info(kv);
	struct skv_snapshot snap = { 0 };
	struct shmkv_scan *scan = NULL;
	struct shmkv_entry entry;
	uint64_t hash;
	int r;

	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	while ((r = shmkv_scan_next(scan, &entry)) == 1) {
		hash = hash_more(0xcbf29ce484222325ull, &entry.key_len, sizeof(entry.key_len));
		hash = hash_more(hash, entry.key, entry.key_len);
		hash = hash_more(hash, entry.value, entry.value_len);
		hash = hash_more(hash, &entry.token, sizeof(entry.token));
		snap.n++;
		snap.sum[0] += hash;
		snap.sum[1] += skv_random(&hash);
	}
	CHECK_EQ(r, 0);
	shmkv_scan_end(scan);
	snap.count = skv_segment_count(kv);
	snap.writes = info.inserts + info.updates + info.deletes;
	return snap;
}

void skv_segment_unchanged(struct shmkv *kv, const struct skv_snapshot *before)
{
	struct skv_snapshot now;

	skv_segment_check(kv);
	now = skv_segment_snapshot(kv);
	CHECK_EQ(now.n, before->n);
	CHECK_EQ(now.sum[0], before->sum[0]);
	CHECK_EQ(now.sum[1], before->sum[1]);
	CHECK_EQ(now.count, before->count);
	CHECK_EQ(now.writes, before->writes);
}

void skv_fill(void *buf, size_t len, uint64_t salt)
{
	uint8_t *p = buf;
	uint64_t x = salt * 0x9e3779b97f4a7c15ull + 1;
	size_t i;

	for (i = 0; i < len; i++) {
		if (i % 8 == 0)
			x = x * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = (uint8_t)(x >> (8 * (i % 8)));
	}
}

void skv_segment_file(const char *name, char ret_path[256])
{
	const char *dir = getenv("SHMKV_DIR");

	snprintf(ret_path, 256, "%s/shmkv.%s", dir ? dir : "/dev/shm", name);
}

uint64_t skv_file_digest(const char *path)
{
	static uint64_t words[1 << 15];
	uint64_t digest = 0;
	ssize_t n, i;
	int fd;

	/* pread, because looking through a mapping would fill the holes. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	CHECK(fd >= 0);
	while ((n = read(fd, words, sizeof(words))) > 0) {
		for (i = 0; i < (n + 7) / 8; i++)
			digest = (digest ^ words[i]) * 0x100000001b3ull + (digest >> 29);
	}
	CHECK_EQ(n, 0);
	close(fd);
	return digest;
}

void skv_segment_populate(struct shmkv *kv)
{
	static const uint8_t array[] = { 0x93, 0x01, 0xa1, 'x', 0xc0 };
	uint8_t *payload = skv_alloc(100000);
	char key[16];
	int i;

	for (i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		CHECK_EQ(shmkv_put(kv, KEY(key), shmkv_bin(payload, (size_t)i * 100), NULL), 0);
	}
	CHECK_EQ(shmkv_put(kv, KEY("int"), shmkv_int(7), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("max"), shmkv_int(INT64_MAX), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("huge"), shmkv_uint(UINT64_MAX), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("neg"), shmkv_int(-7), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("float"), shmkv_float(0.5), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("bool"), shmkv_bool(true), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("nil"), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("str"), shmkv_str("some text"), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("array"), shmkv_packed(array, sizeof(array)), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("run"), shmkv_bin(payload, 100000), NULL), 0);
	free(payload);
}

/* ---- the process -------------------------------------------------------------------- */

void *skv_alloc(size_t len)
{
	void *p = calloc(1, len ? len : 1);

	CHECK(p != NULL);
	return p;
}

pid_t skv_fork(void (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

uint64_t skv_now_ms(void)
{
	struct timespec now;

	CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

unsigned int skv_count_fds(void)
{
	struct dirent *entry;
	unsigned int n = 0;
	DIR *dir = opendir("/proc/self/fd");

	CHECK(dir != NULL);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

unsigned int skv_count_maps(const char *part)
{
	char line[1024];
	unsigned int n = 0;
	FILE *file = fopen("/proc/self/maps", "r");

	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, part) != NULL;
	fclose(file);
	return n;
}

void *skv_shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_SEGMENT_H
#define SKV_TESTS_SEGMENT_H

/*
 * segment: a map on the shared-memory engine for a test, and what tests ask about it.
 *
 * A failed check ends the process at once and leaves the segment, for somebody to look at.
 */

#include "tests/test.h"

#include <shmkv/inspect.h>
#include <shmkv/shmkv.h>

#include <string.h>
#include <sys/types.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KEY(text) (text), strlen(text)

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

struct skv_segment {
	struct shmkv *kv;
	char name[64];
};

/* A name that nobody else uses, and nothing behind it. */
void skv_segment_name(char ret_name[64]);

/* A map with the defaults but for its size; the second form takes all options. */
void skv_segment_begin(struct skv_segment *s, uint64_t max_bytes);
void skv_segment_begin_with(struct skv_segment *s, const struct shmkv_options *opts);

/* Sound, nothing leaked, the count right; then detached and its name removed. */
void skv_segment_end(struct skv_segment *s);

struct shmkv *skv_segment_attach(const struct skv_segment *s, unsigned int flags);

/* Every invariant holds and nothing is leaked; returns the audit. */
struct shmkv_audit skv_segment_check(struct shmkv *kv);

struct shmkv_info skv_segment_info(struct shmkv *kv);
uint64_t skv_segment_count(struct shmkv *kv);
/* Bytes of every block that is not free, by the state words themselves. */
uint64_t skv_segment_used(struct shmkv *kv);

/*
 * All of the content in a few numbers: keys, values and tokens. Two that are equal mean that
 * nothing was changed in between, also nothing that was put back.
 */
struct skv_snapshot {
	uint64_t n;
	uint64_t sum[2]; /* of a hash of each entry, so that the order means nothing */
	uint64_t count;
	uint64_t writes; /* inserts, updates and deletes since creation */
};

struct skv_snapshot skv_segment_snapshot(struct shmkv *kv);
/* Sound, and with the same content. */
void skv_segment_unchanged(struct shmkv *kv, const struct skv_snapshot *before);

/* The segment's file, and a number for what it holds. */
void skv_segment_file(const char *name, char ret_path[256]);
uint64_t skv_file_digest(const char *path);

/* Forty keys with values of every type, small and large. */
void skv_segment_populate(struct shmkv *kv);

/* A pseudo-random sequence; @state is its seed. */
static inline uint64_t skv_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Bytes that tell which value they are from, and at which place. */
void skv_fill(void *buf, size_t len, uint64_t salt);

/* Memory, or the test fails. */
void *skv_alloc(size_t len);

/* A child that runs @fn and exits with 0; the parent continues. */
pid_t skv_fork(void (*fn)(void *arg), void *arg);

/* Milliseconds that only rise. */
uint64_t skv_now_ms(void);

/* Open descriptors of this process, and its mappings of files whose name holds @part. */
unsigned int skv_count_fds(void);
unsigned int skv_count_maps(const char *part);

/* Memory that the test shares with its children, zeroed. */
void *skv_shared(size_t len);

#endif

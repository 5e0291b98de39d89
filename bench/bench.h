/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_BENCH_H
#define SHMKV_BENCH_BENCH_H

/*
 * bench: what the workloads of shmkv-bench share. One workload per file; each prints its
 * own rows and returns 0, or 1 after it said why on standard error.
 */

#include <shmkv/inspect.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bench_options {
	uint64_t entries; /* 0: as the workload likes */
	size_t value_len; /* bytes of payload */
	enum shmkv_hash hash;
	bool mixed; /* values of many sizes */
	bool json;
	bool csv;
	/* maps: methods and data whose names contain this; sizes from first on; NULL, 0: all */
	const char *only, *data;
	uint64_t first;
	unsigned int samples; /* maps: of each method; 0: 5; peers: rounds */
	bool full, quick;     /* peers: all sizes; less of everything that takes long */
	bool is_long;         /* peers: latencies of every call, too */
	const char *out;      /* peers: folder for files and pictures, or NULL */
	bool progress; /* standard error is a terminal */
};

/* Keys are 16 bytes: a mixed and the plain number of the entry. */
#define BENCH_KEY_LEN 16u
void bench_key(uint64_t entry, uint8_t key[BENCH_KEY_LEN]);

/* A number below @n for step @i, visiting every one once when @i runs from 0 to @n - 1. */
uint64_t bench_shuffle(uint64_t i, uint64_t n);

uint64_t bench_now_ns(void);
/* Of the calling thread: does not run while others have its processor. */
uint64_t bench_cpu_ns(void);

/* Says on standard error what failed and returns 1. */
int bench_failed(const char *what, int r);

/* What the figures were made on, as one line of text or of JSON. */
void bench_machine(FILE *f, bool json);

/* Name of a map that this process made and no other uses. */
const char *bench_map_name(void);

int bench_fill(const struct bench_options *options);
int bench_hamt(const struct bench_options *options);
int bench_maps(const struct bench_options *options);
int bench_evict(const struct bench_options *options);
int bench_frames(const struct bench_options *options);
int bench_huge(const struct bench_options *options);
int bench_peers(const struct bench_options *options);
int bench_read(const struct bench_options *options);

#endif

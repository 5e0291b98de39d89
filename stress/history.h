/* SPDX-License-Identifier: MIT */
#ifndef STRESS_HISTORY_H
#define STRESS_HISTORY_H

/*
 * history: every operation with its times, in files that outlive the process.
 *
 * Each process appends to a file of its own through a shared mapping. A record is in the
 * file before its call starts, with the end "never"; the answer and the end are filled in
 * after it. When the process is killed the kernel keeps the page, so the file tells what
 * was under way. Space is reserved when the file is made: no write to it can fail later.
 *
 * The driver cuts a file to what was used once its process is gone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker_start;
struct shmkv;

enum history_op {
	HISTORY_NONE = 0, /* reserved and not used: the driver takes these out */
	HISTORY_GET = 1,
	HISTORY_PUT = 2,
	HISTORY_DEL = 3,
	HISTORY_ADD = 4,
};

#define HISTORY_NEVER UINT64_MAX
#define HISTORY_CLIENTS_MAX 65535u /* client is 16 bits, and names one thread for ever */
#define HISTORY_SUFFIX ".history"

/* Little-endian on disk. */
struct history_record {
	uint64_t start_ns; /* CLOCK_MONOTONIC before the call */
	uint64_t end_ns;   /* and after it, or HISTORY_NEVER */
	uint64_t arg;      /* put, add: the value */
	uint64_t ret;      /* get: the value, 0 absent; del: 1 found; add: 1 added */
	uint32_t key;
	uint16_t op;
	uint16_t client;
};

_Static_assert(sizeof(struct history_record) == 40, "the record of the file format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are stored as they are");

/* Runs the threads of one process. False if one of them recorded a failure. */
bool history_run(const struct worker_start *start, struct shmkv *kv);

/* Reads every key once, as the last client; for the final process. */
bool history_run_final(const struct worker_start *start, struct shmkv *kv);

/*
 * history_trim - cut a file to the records that were used
 *
 * The process that wrote it is gone. Returns 0 or a negative errno.
 */
int history_trim(const char *path);

/*
 * history_prepare - make the directory, or see that it holds no history yet
 *
 * Returns 0, -EEXIST if it holds one, or another negative errno.
 */
int history_prepare(const char *directory);

#endif

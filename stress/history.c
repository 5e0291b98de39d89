/* SPDX-License-Identifier: MIT */
#include "stress/history.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stress/ledger.h"
#include "stress/stress-random.h"
#include "stress/worker.h"

/* 5 MiB a file. A process whose file is full ends, and the driver starts the next one. */
#define RECORDS_MAX 131072u

struct log {
	struct history_record *records;
	_Atomic uint64_t n; /* reserved so far, may run past the end */
	uint64_t cap;
};

struct client {
	const struct worker_start *start;
	struct log *log;
	struct shmkv *kv;
	struct ledger_writer *me;
	struct stress_random random;
	uint64_t n_values;
	uint16_t number;
	bool failed;
};

static int log_open(struct log *log, const char *path, uint64_t cap)
{
	size_t bytes = (size_t)cap * sizeof(*log->records);
	void *map;
	int fd, r;

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = -posix_fallocate(fd, 0, (off_t)bytes);
	if (r == 0) {
		map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		r = map == MAP_FAILED ? -errno : 0;
	}
	close(fd);
	if (r < 0) {
		unlink(path);
		return r;
	}
	log->records = map;
	log->cap = cap;
	atomic_init(&log->n, 0);
	return 0;
}

static void log_close(struct log *log)
{
	munmap(log->records, (size_t)log->cap * sizeof(*log->records));
}

/* NULL when the file is full. The op is stored last: without it the record does not count. */
static struct history_record *log_begin(struct log *log, enum history_op op, uint16_t client,
					uint32_t key, uint64_t arg)
{
	uint64_t at = atomic_fetch_add(&log->n, 1);
	struct history_record *record;

	if (at >= log->cap)
		return NULL;
	record = &log->records[at];
	record->end_ns = HISTORY_NEVER;
	record->arg = arg;
	record->ret = 0;
	record->key = key;
	record->client = client;
	record->start_ns = ledger_now_ns();
	__atomic_store_n(&record->op, (uint16_t)op, __ATOMIC_RELEASE);
	return record;
}

static void log_end(struct history_record *record, uint64_t ret)
{
	uint64_t now = ledger_now_ns();

	record->ret = ret;
	__atomic_store_n(&record->end_ns, now, __ATOMIC_RELEASE);
}

/* The call answered that it changed nothing and knows nothing: as if it had not been made. */
static void log_withdraw(struct history_record *record)
{
	__atomic_store_n(&record->op, HISTORY_NONE, __ATOMIC_RELEASE);
}

/* ---- operations ------------------------------------------------------------------ */

static size_t make_key(uint32_t key, char text[16])
{
	return (size_t)snprintf(text, 16, "h%" PRIu32, key);
}

static bool is_refusal(struct client *client, int r)
{
	if (r == -EAGAIN)
		ledger_bump(&client->me->conflicts);
	else if (r == -ENOSPC && !client->start->opts->sized_here)
		ledger_bump(&client->me->full);
	else
		return false;
	return true;
}

/* False when there is no room for the record, or after a failure was recorded. */
static bool do_op(struct client *client, enum history_op op, uint32_t key, uint64_t arg)
{
	static const enum stress_op ops[] = { STRESS_OP_GET, STRESS_OP_GET, STRESS_OP_PUT,
					      STRESS_OP_DEL, STRESS_OP_ADD };
	struct history_record *record;
	uint64_t ret = 0;
	char text[16];
	size_t len;
	int r, absent = 0;

	len = make_key(key, text);
	record = log_begin(client->log, op, client->number, key, arg);
	if (!record)
		return false;
	ledger_op_begin(client->me, ops[op]);
	switch (op) {
	case HISTORY_GET:
		r = shmkv_get_uint(client->kv, text, len, &ret);
		absent = -ENOENT;
		break;
	case HISTORY_PUT:
		r = shmkv_put(client->kv, text, len, shmkv_uint(arg), NULL);
		break;
	case HISTORY_DEL:
		r = shmkv_del(client->kv, text, len);
		absent = -ENOENT;
		ret = r == 0;
		break;
	default:
		r = shmkv_add(client->kv, text, len, shmkv_uint(arg), NULL);
		absent = -EEXIST;
		ret = r == 0;
		break;
	}
	if (r == 0 || r == absent) {
		log_end(record, r == 0 ? ret : 0);
		ledger_op_end(client->me);
		return true;
	}
	ledger_op_end(client->me);
	log_withdraw(record);
	if (is_refusal(client, r))
		return true;
	client->failed = true;
	ledger_fail(client->start->ledger, client->start->place, "%s of key %s answered %s (%s)",
		    stress_op_name(ops[op]), text, shmkv_errname(r), shmkv_strerror(r));
	return false;
}

static enum history_op draw_op(struct client *client)
{
	static const enum history_op ops[] = { HISTORY_GET, HISTORY_PUT, HISTORY_DEL, HISTORY_ADD };
	const unsigned int *mix = client->start->opts->mix;
	unsigned int draw = (unsigned int)stress_random_below(
		&client->random, mix[STRESS_OP_GET] + mix[STRESS_OP_PUT] + mix[STRESS_OP_DEL] +
					 mix[STRESS_OP_ADD]);
	unsigned int i;

	for (i = 0; i < 3 && draw >= mix[i]; i++)
		draw -= mix[i];
	return ops[i];
}

static void *client_main(void *arg)
{
	struct client *client = arg;
	uint32_t keys = (uint32_t)client->start->opts->keys;
	uint64_t value;

	while (!client->failed && !ledger_stopping(client->start->ledger)) {
		/* Unique and never 0: the client is, and counts its own. */
		value = ((uint64_t)client->number + 1) << 40 | ++client->n_values;
		if (!do_op(client, draw_op(client),
			   (uint32_t)stress_random_below(&client->random, keys), value))
			break;
	}
	return NULL;
}

/* ---- the process ----------------------------------------------------------------- */

bool history_run(const struct worker_start *start, struct shmkv *kv)
{
	struct ledger *ledger = start->ledger;
	unsigned int n, n_started = 0, i;
	struct ledger_writer *writers = ledger_writers_of(ledger, start->place, &n);
	struct client *clients = calloc(n, sizeof(*clients));
	pthread_t *threads = calloc(n, sizeof(*threads));
	bool fine = clients && threads;
	struct log log;
	int r;

	r = fine ? log_open(&log, start->history, RECORDS_MAX) : -ENOMEM;
	if (r < 0) {
		ledger_fail(ledger, start->place, "cannot make the history %s: %s", start->history,
			    strerror(-r));
		free(threads);
		free(clients);
		return false;
	}
	for (i = 0; i < n; i++) {
		clients[i].start = start;
		clients[i].log = &log;
		clients[i].kv = kv;
		clients[i].me = &writers[i];
		clients[i].random.state = stress_mix(start->seed + i);
		clients[i].number = (uint16_t)(start->client + i);
	}
	for (i = 0; fine && i + 1 < n; i++) {
		fine = pthread_create(&threads[i], NULL, client_main, &clients[i]) == 0;
		n_started += fine;
	}
	if (fine)
		client_main(&clients[n - 1]);
	else
		ledger_fail(ledger, start->place, "cannot start a thread");
	for (i = 0; i < n_started; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < n; i++)
		fine = fine && !clients[i].failed;
	log_close(&log);
	free(threads);
	free(clients);
	return fine;
}

bool history_run_final(const struct worker_start *start, struct shmkv *kv)
{
	uint64_t keys = start->opts->keys;
	struct client client = {
		.start = start,
		.kv = kv,
		.number = start->client,
	};
	unsigned int n;
	struct log log;
	uint64_t key;
	int r;

	client.me = ledger_writers_of(start->ledger, start->place, &n);
	r = log_open(&log, start->history, keys);
	if (r < 0) {
		ledger_fail(start->ledger, start->place, "cannot make the history %s: %s",
			    start->history, strerror(-r));
		return false;
	}
	client.log = &log;
	for (key = 0; key < keys && !client.failed; key++)
		do_op(&client, HISTORY_GET, (uint32_t)key, 0);
	log_close(&log);
	return !client.failed;
}

/* ---- files ----------------------------------------------------------------------- */

int history_trim(const char *path)
{
	struct history_record *records;
	size_t n, i, used = 0;
	struct stat st;
	int fd, r = 0;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* killed before it made one */
	if (fstat(fd, &st) < 0) {
		r = -errno;
		goto out;
	}
	n = (size_t)st.st_size / sizeof(*records);
	if (n > 0) {
		records = mmap(NULL, n * sizeof(*records), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (records == MAP_FAILED) {
			r = -errno;
			goto out;
		}
		for (i = 0; i < n; i++)
			if (records[i].op != HISTORY_NONE)
				records[used++] = records[i];
		munmap(records, n * sizeof(*records));
	}
	if (ftruncate(fd, (off_t)(used * sizeof(*records))) < 0)
		r = -errno;
out:
	close(fd);
	return r;
}

int history_prepare(const char *directory)
{
	struct dirent *entry;
	size_t len, suffix = strlen(HISTORY_SUFFIX);
	int r = 0;
	DIR *dir;

	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		return -errno;
	dir = opendir(directory);
	if (!dir)
		return -errno;
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		len = strlen(entry->d_name);
		if (len > suffix && strcmp(entry->d_name + len - suffix, HISTORY_SUFFIX) == 0)
			r = -EEXIST;
	}
	closedir(dir);
	return r;
}

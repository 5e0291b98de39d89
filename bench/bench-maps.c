/* SPDX-License-Identifier: MIT */
/*
 * bench-maps: all maps of shmkv beside those that people otherwise use, on the same keys in the
 * same run.
 *
 * A sample is one map in a process of its own, forked for it: insert all, read all, look for
 * as many that are absent, ask for all whether they are there, give all another value, delete
 * all; then the same map again for mixed work. Small maps are made and measured again and again in
 * one sample, each time with other keys, so that no branch predictor can learn them by heart, and
 * the median counts. Samples of all methods take turns, and of its samples a
 * method is given the fastest: others on the machine only ever make a sample slower.
 *
 * Below 10,000 keys the clock is that of the wall, which costs 30 ns, then that of the
 * thread's processor time. Every answer is checked.
 */
#include "bench/bench.h"
#include "bench/maps.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 5u
#define SIZE_FIRST ((uint64_t)100)
#define METHODS_MAX 16u
/* Operations of one kind in a sample, so that small maps are measured often. */
#define SAMPLE_OPS ((uint64_t)50000)
#define ROUNDS_MAX 500u
/* Of processor time. What takes longer for a sample, as hsearch does for files, is left out. */
#define SAMPLE_SECONDS 20u
/* Items whose bytes stay in the second level of cache. */
#define WARM_MAX ((uint64_t)10000)

enum operation {
	OP_INSERT,
	OP_UPDATE,
	OP_HIT,
	OP_MISS,
	OP_CONTAINS,
	OP_DELETE,
	OP_MIXED,
	N_OPS,
};

static const char *const op_names[N_OPS] = {
	"insert", "update", "hit", "miss", "contains", "delete", "mixed",
};

const struct maps_method *const maps_methods[] = {
	&maps_adaptive,
	&maps_adaptive_threads,
	&maps_fast_insert,
	&maps_fast_lookup,
	&maps_memory_tight,
	&maps_hamt,
	&maps_shm,
#ifdef BENCH_GLIB
	&maps_glib,
#endif
#ifdef BENCH_CXX
	&maps_std,
#endif
	&maps_hsearch,
	&maps_tsearch,
	&maps_lfht,
#ifdef BENCH_CK
	&maps_ck,
#endif
	NULL,
};

/* What a sample found: per operation, in ns; 0 if it was not measured. */
struct sample {
	double ns[N_OPS];
	double bytes; /* per entry */
};

/* ---- one sample, in a process of its own ----------------------------------------- */

static uint64_t clock_ns(uint64_t n)
{
	struct timespec t;

	clock_gettime(n < 10000 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Private memory of this process that is in use. */
static double resident_bytes(void)
{
	unsigned long long size, resident, shared = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%llu %llu %llu", &size, &resident, &shared) != 3)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

struct run {
	const struct maps_method *method;
	const struct maps_data *data; /* of this round */
	double *times[N_OPS];
	unsigned int round;
	struct sample sample;
};

/*
 * Who calls a map with a key has just made or read that key: it is in the cache. As far as the
 * cache goes, so it is here; otherwise small maps would be measured by what the keys cost.
 */
static void warm(const struct run *run, const struct maps_batch *batch)
{
	volatile uint64_t sum = 0;
	uint64_t i;

	if (batch->n > WARM_MAX)
		return;
	for (i = 0; i < batch->n; i++)
		sum += (uint8_t)batch->items[i].key[0] + (uint8_t)batch->items[i].value[0];
	if (batch->prepared)
		sum += run->method->warm(batch->prepared);
}

static void wrong(const struct run *run, enum operation op, uint64_t got)
{
	fprintf(stderr, "shmkv-bench: maps: %s: %s answers for %llu keys of %llu\n", run->method->name,
		op_names[op], (unsigned long long)got, (unsigned long long)run->data->n);
	_exit(1);
}

static void measure(struct run *run, void *map, enum operation op, maps_fn *fn,
		    const struct maps_batch *batch, uint64_t expected)
{
	uint64_t start, found;

	warm(run, batch);
	start = clock_ns(run->data->n);
	found = fn(map, batch);
	run->times[op][run->round] = (double)(clock_ns(run->data->n) - start) / (double)batch->n;
	if (found != expected)
		wrong(run, op, found);
}

static void measure_mixed(struct run *run, void *map)
{
	const struct maps_data *data = run->data;
	uint64_t start, found;

	if (run->method->insert(map, &data->insert) != data->n)
		wrong(run, OP_INSERT, 0);
	warm(run, &data->mixed);
	start = clock_ns(data->n);
	found = run->method->mixed(map, &data->mixed, data->kinds);
	run->times[OP_MIXED][run->round] =
		(double)(clock_ns(data->n) - start) / (double)data->mixed.n;
	if (found == 0)
		wrong(run, OP_MIXED, found);
}

static void one_round(struct run *run)
{
	const struct maps_method *method = run->method;
	const struct maps_data *data = run->data;
	double before = resident_bytes();
	void *map = method->make(data->n);

	measure(run, map, OP_INSERT, method->insert, &data->insert, data->n);
	if (run->round == 0)
		run->sample.bytes = (resident_bytes() - before) / (double)data->n;
	measure(run, map, OP_HIT, method->get, &data->lookup, data->n);
	measure(run, map, OP_MISS, method->get, &data->absent, 0);
	measure(run, map, OP_CONTAINS, method->contains, &data->lookup, data->n);
	measure(run, map, OP_UPDATE, method->update, &data->update, data->n);
	if (method->get(map, &data->update) != data->n)
		wrong(run, OP_HIT, 0);
	if (method->remove)
		measure(run, map, OP_DELETE, method->remove, &data->lookup, data->n);
	if (method->mixed)
		measure_mixed(run, map);
	method->end(map);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void *sleep_on(void *arg)
{
	(void)arg;
	pause();
	return NULL;
}

/* @datas: one for each round */
static void take_sample(const struct maps_method *method, const struct maps_data *datas,
			unsigned int n_rounds, struct sample *ret_sample)
{
	struct run run = { .method = method };
	enum operation op;
	pthread_t thread;

	for (op = 0; op < N_OPS; op++) {
		run.times[op] = calloc(n_rounds, sizeof(double));
		if (!run.times[op])
			_exit(1);
	}
	if (method->threaded && pthread_create(&thread, NULL, sleep_on, NULL) != 0)
		_exit(1);
	/* What the parent freed is not to be had for nothing: like a process that began afresh. */
	malloc_trim(0);
	for (run.round = 0; run.round < n_rounds; run.round++) {
		run.data = &datas[run.round];
		one_round(&run);
	}
	for (op = 0; op < N_OPS; op++) {
		qsort(run.times[op], n_rounds, sizeof(double), ascending);
		run.sample.ns[op] = run.times[op][n_rounds / 2];
	}
	*ret_sample = run.sample;
}

/* Returns 0, or 1 if the sample failed; the process has said why. Or -ETIME. */
static int fork_sample(const struct maps_method *method, const struct maps_data *datas,
		       unsigned int n_rounds, struct sample *ret_sample)
{
	const struct itimerval limit = { .it_value = { .tv_sec = SAMPLE_SECONDS } };
	struct sample sample;
	int pipe_fds[2], status;
	bool complete;
	pid_t pid;

	if (pipe(pipe_fds) < 0)
		return bench_failed("pipe", -errno);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return bench_failed("fork", -errno);
	if (pid == 0) {
		setitimer(ITIMER_PROF, &limit, NULL);
		take_sample(method, datas, n_rounds, &sample);
		_exit(write(pipe_fds[1], &sample, sizeof(sample)) != (ssize_t)sizeof(sample));
	}
	close(pipe_fds[1]);
	complete = read(pipe_fds[0], ret_sample, sizeof(*ret_sample)) == (ssize_t)sizeof(*ret_sample);
	close(pipe_fds[0]);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
		return -ETIME;
	if (complete && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "shmkv-bench: maps: %s failed\n", method->name);
	return 1;
}

/* ---- a table of them ------------------------------------------------------------- */

struct cell {
	struct sample best;
	unsigned int n;
	bool given_up; /* it took too long */
};

static void keep_best(struct cell *cell, const struct sample *sample)
{
	enum operation op;

	for (op = 0; op < N_OPS; op++) {
		if (cell->n == 0 || sample->ns[op] < cell->best.ns[op])
			cell->best.ns[op] = sample->ns[op];
	}
	if (cell->n == 0 || sample->bytes < cell->best.bytes)
		cell->best.bytes = sample->bytes;
	cell->n++;
}

/* Does the name contain one of the texts, which are separated by commas? */
static bool is_chosen(const char *name, const char *only)
{
	size_t len;

	for (; only; only = only[len] ? only + len + 1 : NULL) {
		len = strcspn(only, ",");
		if (memmem(name, strlen(name), only, len))
			return true;
		if (!only[len])
			return false;
	}
	return true;
}

/* Resident memory comes in pages, so below this nobody could tell what an entry takes. */
static bool is_memory_known(uint64_t n)
{
	return n >= 10000;
}

static void print_rows(const struct bench_options *options, const char *dataset, uint64_t n,
		       const struct cell *cells)
{
	const char *format = options->json ?
		"{\"row\":\"time\",\"method\":\"%s\",\"dataset_type\":\"%s\",\"operation\":\"%s\","
		"\"size\":%llu,\"total_time_ns\":%.0f,\"ops_per_sec\":%.0f,\"ns_per_op\":%.2f}\n" :
		"%s,%s,%s,%llu,%.0f,%.0f,%.2f\n";
	double ns;
	enum operation op;
	size_t i;

	for (i = 0; maps_methods[i]; i++) {
		for (op = 0; op < N_OPS && cells[i].n > 0; op++) {
			ns = cells[i].best.ns[op];
			if (ns > 0)
				printf(format, maps_methods[i]->name, dataset, op_names[op],
				       (unsigned long long)n, ns * (double)n, 1e9 / ns, ns);
		}
		if (cells[i].n == 0 || !is_memory_known(n))
			continue;
		if (options->json)
			printf("{\"row\":\"memory\",\"method\":\"%s\",\"dataset_type\":\"%s\","
			       "\"size\":%llu,\"bytes_per_entry\":%.1f}\n",
			       maps_methods[i]->name, dataset, (unsigned long long)n, cells[i].best.bytes);
		else
			printf("%s,%s,bytes_per_entry,%llu,,,%.1f\n", maps_methods[i]->name, dataset,
			       (unsigned long long)n, cells[i].best.bytes);
	}
}

static void print_table(const char *dataset, uint64_t n, const struct cell *cells)
{
	enum operation op;
	size_t i;

	printf("\n%s, %llu keys; ns\n%-24s", dataset, (unsigned long long)n, "");
	for (op = 0; op < N_OPS; op++)
		printf(" %9s", op_names[op]);
	printf(" %9s\n", is_memory_known(n) ? "bytes" : "");
	for (i = 0; maps_methods[i]; i++) {
		if (cells[i].n == 0)
			continue;
		printf("%-24s", maps_methods[i]->name);
		for (op = 0; op < N_OPS; op++) {
			if (cells[i].best.ns[op] > 0)
				printf(" %9.1f", cells[i].best.ns[op]);
			else
				printf(" %9s", "-");
		}
		if (is_memory_known(n))
			printf(" %9.1f", cells[i].best.bytes);
		printf("\n");
	}
}

static void prepare_all(const struct maps_method *method, struct maps_data *datas,
			unsigned int n_rounds, bool begin)
{
	unsigned int round;
	size_t i;

	for (round = 0; round < n_rounds && method->prepare; round++) {
		struct maps_batch *const batches[] = {
			&datas[round].insert, &datas[round].lookup, &datas[round].update,
			&datas[round].absent, &datas[round].mixed,
		};

		for (i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
			if (begin) {
				batches[i]->prepared = method->prepare(batches[i]);
			} else {
				method->unprepare(batches[i]->prepared);
				batches[i]->prepared = NULL;
			}
		}
	}
}

/* All methods in turns, on the same keys. */
static int take_samples(const struct bench_options *options, const struct maps_dataset *dataset,
			struct maps_data *datas, unsigned int n_rounds, struct cell *cells)
{
	unsigned int turn, n_samples = options->samples ? options->samples : SAMPLES;
	struct sample sample;
	size_t i;
	int r;

	for (turn = 0; turn < n_samples; turn++) {
		for (i = 0; maps_methods[i]; i++) {
			if (!is_chosen(maps_methods[i]->name, options->only) || cells[i].given_up)
				continue;
			if (options->progress)
				fprintf(stderr, "\r\033[K%s, %llu keys, %u of %u, %s ", dataset->name,
					(unsigned long long)datas[0].n, turn + 1, n_samples,
					maps_methods[i]->name);
			prepare_all(maps_methods[i], datas, n_rounds, true);
			r = fork_sample(maps_methods[i], datas, n_rounds, &sample);
			prepare_all(maps_methods[i], datas, n_rounds, false);
			if (r == -ETIME) {
				fprintf(stderr, "shmkv-bench: maps: %s took more than %u s for %llu %s\n",
					maps_methods[i]->name, SAMPLE_SECONDS,
					(unsigned long long)datas[0].n, dataset->name);
				cells[i].given_up = true;
			} else if (r != 0) {
				return r;
			} else {
				keep_best(&cells[i], &sample);
			}
		}
	}
	if (options->progress)
		fprintf(stderr, "\r\033[K");
	return 0;
}

/* Small maps in many rounds, as far as there are keys. */
static unsigned int rounds_for(uint64_t n, uint64_t n_keys)
{
	uint64_t rounds = 1 + SAMPLE_OPS / n;

	if (rounds > ROUNDS_MAX)
		rounds = ROUNDS_MAX;
	if (rounds > n_keys / n)
		rounds = n_keys / n;
	return (unsigned int)rounds;
}

static int run_size(const struct bench_options *options, const struct maps_dataset *dataset,
		    uint64_t n, uint64_t n_keys)
{
	unsigned int round, n_made = 0, n_rounds = rounds_for(n, n_keys);
	struct maps_data *datas = calloc(n_rounds, sizeof(*datas));
	struct cell cells[METHODS_MAX] = { 0 };
	int r = 0;

	if (!datas)
		return bench_failed(dataset->name, -ENOMEM);
	for (; n_made < n_rounds && r == 0; n_made += r == 0) {
		if (maps_data_make(&datas[n_made], dataset, (uint64_t)n_made * 2 * n, n) < 0)
			r = bench_failed(dataset->name, -ENOMEM);
	}
	if (r == 0)
		r = take_samples(options, dataset, datas, n_rounds, cells);
	for (round = 0; round < n_made; round++)
		maps_data_free(&datas[round]);
	free(datas);
	if (r == 0 && (options->json || options->csv))
		print_rows(options, dataset->name, n, cells);
	else if (r == 0)
		print_table(dataset->name, n, cells);
	fflush(stdout);
	return r;
}

static int run_dataset(const struct bench_options *options, const struct maps_dataset *dataset)
{
	uint64_t n, n_keys = maps_dataset_size(dataset), last = n_keys;
	int r = 0;

	if (last == 0) {
		fprintf(stderr, "shmkv-bench: maps: there are no %s on this machine\n", dataset->name);
		return 0;
	}
	if (options->entries && options->entries < last)
		last = options->entries;
	for (n = SIZE_FIRST; n < last && r == 0; n *= 10) {
		if (options->first && n < options->first)
			continue;
		r = run_size(options, dataset, n, n_keys);
	}
	return r == 0 ? run_size(options, dataset, last, n_keys) : r;
}

int bench_maps(const struct bench_options *options)
{
	int r = 0;
	size_t i;

	if (options->csv)
		printf("method,dataset_type,operation,size,total_time_ns,ops_per_sec,ns_per_op\n");
	for (i = 0; i < maps_n_datasets && r == 0; i++) {
		if (is_chosen(maps_datasets[i].name, options->data))
			r = run_dataset(options, &maps_datasets[i]);
	}
	return r;
}

/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench-commit.h"

/* bench-main: the command line of shmkv-bench, and what the workloads share. */

static const struct {
	const char *name;
	const char *text;
	int (*run)(const struct bench_options *options);
} workloads[] = {
	{ "fill", "grow a map from nothing, read all back, and say what it costs in memory", bench_fill },
	{ "evict", "how often a cache has what is asked for, beside exact LRU and LFU", bench_evict },
	{ "frames", "large values, written and read with a copy and in place", bench_frames },
	{ "hamt", "the persistent trie by libhamt's protocol, beside GLib", bench_hamt },
	{ "huge", "what making huge pages costs, and whom", bench_huge },
	{ "maps", "all maps beside GLib, std::unordered_map and others, on the same keys", bench_maps },
	{ "peers", "the same work on shmkv and on what people otherwise use, beside the limits", bench_peers },
	{ "read", "random keys of a full map, one by one and in batches", bench_read },
};

#define N_WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void bench_key(uint64_t entry, uint8_t key[BENCH_KEY_LEN])
{
	uint64_t mixed = entry * 0x9e3779b97f4a7c15ull;

	memcpy(key, &mixed, 8);
	memcpy(key + 8, &entry, 8);
}

uint64_t bench_shuffle(uint64_t i, uint64_t n)
{
	uint64_t m = 1, x = i;

	/* A permutation of the next power of two, walked until it falls below n. */
	while (m < n)
		m *= 2;
	do {
		x = (x * 0x5851f42d4c957f2dull + 0x14057b7ef767814full) & (m - 1);
		x ^= x >> 7 & (m - 1);
		x = (x * 0x2545f4914f6cdd1dull) & (m - 1);
	} while (x >= n);
	return x;
}

int bench_failed(const char *what, int r)
{
	fprintf(stderr, "shmkv-bench: %s: %s\n", what, shmkv_strerror(r));
	return 1;
}

const char *bench_map_name(void)
{
	static char name[64];

	snprintf(name, sizeof(name), "bench-%ld", (long)getpid());
	return name;
}

static void processor_name(char *name, size_t size)
{
	char line[256];
	FILE *f;

	snprintf(name, size, "unknown processor");
	f = fopen("/proc/cpuinfo", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(name, size, "%s", strchr(line, ':') + 2);
			break;
		}
	}
	if (f)
		fclose(f);
}

void bench_machine(FILE *f, bool json)
{
	double load[1] = { 0 };
	char processor[128];
	struct utsname un;

	processor_name(processor, sizeof(processor));
	uname(&un);
	if (getloadavg(load, 1) < 1)
		load[0] = 0;
	fprintf(f,
		json ? "{\"row\":\"machine\",\"processor\":\"%s\",\"cores\":%ld,\"kernel\":\"%s\","
		       "\"compiler\":\"%s\",\"flags\":\"%s\",\"version\":\"%s\",\"commit\":\"%s\",\"load\":%.1f}\n" :
		       "%s, %ld cores, Linux %s, compiler %s, %s, shmkv %s (%s), load %.1f\n",
		processor, sysconf(_SC_NPROCESSORS_ONLN), un.release, __VERSION__, BENCH_FLAGS,
		shmkv_version(), BENCH_COMMIT, load[0]);
}

struct arguments {
	struct bench_options options;
	const char *workload;
};

static uint64_t parse_number(struct argp_state *state, const char *text)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end == 'k' || *end == 'K') {
		n *= 1000;
		end++;
	} else if (*end == 'M') {
		n *= 1000000;
		end++;
	}
	if (errno || end == text || *end || n == 0 || n > 1000000000ull)
		argp_error(state, "'%s' is not a number from 1 to 1000M", text);
	return n;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 'n':
		arguments->options.entries = parse_number(state, text);
		return 0;
	case 'v':
		arguments->options.value_len = parse_number(state, text);
		if (arguments->options.value_len < 8)
			argp_error(state, "a value has at least 8 bytes, its own number");
		return 0;
	case 'h':
		if (strcmp(text, "siphash13") == 0)
			arguments->options.hash = SHMKV_HASH_SIPHASH13;
		else if (strcmp(text, "xxh3") == 0)
			arguments->options.hash = SHMKV_HASH_XXH3;
		else
			argp_error(state, "'%s' is neither siphash13 nor xxh3", text);
		return 0;
	case 'm':
		arguments->options.mixed = true;
		return 0;
	case 'j':
		arguments->options.json = true;
		return 0;
	case 'c':
		arguments->options.csv = true;
		return 0;
	case 'o':
		arguments->options.only = text;
		return 0;
	case 'd':
		arguments->options.data = text;
		return 0;
	case 'f':
		arguments->options.first = parse_number(state, text);
		return 0;
	case 's':
		arguments->options.samples = (unsigned int)parse_number(state, text);
		return 0;
	case 'F':
		arguments->options.full = true;
		return 0;
	case 'q':
		arguments->options.quick = true;
		return 0;
	case 'l':
		arguments->options.is_long = true;
		return 0;
	case 'O':
		arguments->options.out = text;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->workload)
			argp_error(state, "one workload at a time");
		arguments->workload = text;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->workload)
			argp_error(state, "which workload? There are: fill, evict, frames, hamt, huge, maps, peers, read");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp_option known[] = {
		{ "entries", 'n', "N", 0, "Keys in the map, 10M by default; in the trace of evict, 300k; in hamt at most, 1M (k and M are understood)", 0 },
		{ "value", 'v', "BYTES", 0, "Payload of a value; 64 by default", 0 },
		{ "mixed", 'm', NULL, 0, "evict: values of 32 bytes to 64 KiB", 0 },
		{ "hash", 'h', "KIND", 0, "siphash13 (default) or xxh3", 0 },
		{ "csv", 'c', NULL, 0, "maps, peers: lines of comma-separated values", 0 },
		{ "only", 'o', "TEXT", 0, "maps: methods, peers: peers whose names contain this", 0 },
		{ "data", 'd', "TEXT", 0, "maps: keys whose names contain this: sequential, random, collisions, words, packages, files", 0 },
		{ "from", 'f', "N", 0, "maps: sizes from this on", 0 },
		{ "samples", 's', "N", 0, "maps: of each method, which is given the fastest, 5 by default; peers: rounds", 0 },
		{ "full", 'F', NULL, 0, "peers: all sizes, up to 10M entries, and more rounds", 0 },
		{ "quick", 'q', NULL, 0, "peers: no large limits, no growth, fewer kills", 0 },
		{ "long", 'l', NULL, 0, "peers: also how long single calls took, for every workload", 0 },
		{ "out", 'O', "FOLDER", 0, "peers: also write peers.json, peers.csv and pictures into this folder", 0 },
		{ "json", 'j', NULL, 0, "One JSON object per row", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = known,
		.parser = parse,
		.args_doc = "WORKLOAD",
		.doc = "Measure shmkv on this machine.\vWorkloads:\n  fill   grow a map from "
		       "nothing, read all back, and say what it costs in memory\n"
		       "  evict  how often a cache has what is asked for, beside exact LRU and LFU\n"
		       "  frames large values, written and read with a copy and in place\n"
		       "  hamt   the persistent trie by libhamt's protocol, from 1k keys on, beside GLib\n"
		       "  maps   all maps beside GLib, std::unordered_map and others, on the same keys\n"
		       "  peers  the same work on shmkv and on what people otherwise use, beside the limits\n"
		       "  read   random keys of a full map, one by one and in batches\n\nExit status: 0 "
		       "measured, 1 something failed, 64 wrong usage.",
	};
	struct arguments arguments = { .options = { .value_len = 64 } };
	size_t i;
	bool csv;

	arguments.options.progress = isatty(STDERR_FILENO);
	argp_parse(&argp, argc, argv, 0, NULL, &arguments);
	for (i = 0; i < N_WORKLOADS; i++) {
		if (strcmp(workloads[i].name, arguments.workload) == 0) {
			/* The lines of values alone, so that they can be loaded. */
			csv = workloads[i].run == bench_peers && arguments.options.csv;
			bench_machine(csv ? stderr : stdout, arguments.options.json);
			return workloads[i].run(&arguments.options);
		}
	}
	fprintf(stderr,
		"shmkv-bench: no workload '%s'; there are: fill, evict, frames, hamt, huge, maps, peers, read\n",
		arguments.workload);
	return 64;
}

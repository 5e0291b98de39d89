/* SPDX-License-Identifier: MIT */

/*
 * shmkv-stress: many processes write one map, are killed and stopped, and nothing is lost.
 *
 * Only public headers are used: this is what any program can do to a segment.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stress/driver.h"
#include "stress/history.h"
#include "stress/verdict.h"

#define SEGMENT_NAME_MAX 64u

/* 77 for what this machine lacks, 2 for what the user asked wrongly, 1 for anything else. */
static int refuse_segment(const char *what, const char *segment, int r)
{
	fprintf(stderr, "shmkv-stress: cannot %s the segment %s: %s (%s)\n", what, segment,
		shmkv_errname(r), shmkv_strerror(r));
	switch (r) {
	case -EOPNOTSUPP:
	case -ENOSPC:
	case -ENOMEM:
	case -EACCES:
		return STRESS_EXIT_SKIP;
	case -EINVAL:
	case -EMEDIUMTYPE:
	case -EPROTONOSUPPORT:
		return STRESS_EXIT_USAGE;
	default:
		return STRESS_EXIT_FAIL;
	}
}

/*
 * Tables just large enough for the workers, the driver and the final check: a dead process
 * has to be recovered before its successor finds room.
 */
static int create(const struct stress_options *opts, const char *segment, struct shmkv **ret_kv)
{
	struct shmkv_options segment_opts = SHMKV_OPTIONS_INIT;

	segment_opts.max_bytes = opts->max_bytes;
	segment_opts.hash = opts->hash;
	segment_opts.evict = opts->evict;
	segment_opts.huge_pages = opts->huge;
	segment_opts.max_processes = opts->procs + 2;
	segment_opts.max_threads = opts->procs * opts->threads + 2;
	if (segment_opts.max_threads > 4095)
		segment_opts.max_threads = 4095;
	return shmkv_create(segment, &segment_opts, ret_kv);
}

/* A segment that was there already is used only if it is empty: it may be somebody's. */
static int open_segment(const struct stress_options *opts, const char *segment,
			struct shmkv **ret_kv)
{
	struct shmkv *kv;
	uint64_t count;
	int r;

	r = create(opts, segment, &kv);
	if (r == -EEXIST && opts->segment) {
		r = shmkv_attach(segment, 0, &kv);
		if (r < 0)
			return refuse_segment("attach to", segment, r);
		r = shmkv_count(kv, &count);
		if (r < 0 || count > 0) {
			shmkv_detach(kv);
			if (r < 0)
				return refuse_segment("use", segment, r);
			fprintf(stderr, "shmkv-stress: the segment %s holds keys: give the name of an "
					"empty one, or of none\n", segment);
			return STRESS_EXIT_USAGE;
		}
	} else if (r < 0) {
		return refuse_segment("create", segment, r);
	}
	*ret_kv = kv;
	return 0;
}

static int run(const struct stress_options *opts, const char *segment, struct shmkv *kv)
{
	struct driver_figures figures;
	struct ledger ledger;
	int status, r;

	r = ledger_init(&ledger, opts);
	if (r < 0) {
		fprintf(stderr, "shmkv-stress: no memory for the ledger of %llu keys\n",
			(unsigned long long)opts->keys);
		return STRESS_EXIT_SKIP;
	}
	driver_run(opts, &ledger, segment, kv, &figures);
	status = verdict_print(opts, &ledger, segment, &figures);
	ledger_deinit(&ledger);
	return status;
}

int main(int argc, char **argv)
{
	char own_name[SEGMENT_NAME_MAX];
	struct stress_options opts;
	const char *segment;
	struct shmkv *kv = NULL;
	int status, r;

	if (!stress_options_parse(&opts, argc, argv, &status))
		return status;
	if (opts.history) {
		r = history_prepare(opts.history);
		if (r < 0) {
			fprintf(stderr, "shmkv-stress: --history %s: %s\n", opts.history,
				r == -EEXIST ? "the directory holds a history already" : strerror(-r));
			return STRESS_EXIT_USAGE;
		}
	}
	snprintf(own_name, sizeof(own_name), "stress-%d", (int)getpid());
	segment = opts.segment ? opts.segment : own_name;
	status = open_segment(&opts, segment, &kv);
	if (status != 0)
		return status;

	status = run(&opts, segment, kv);
	shmkv_detach(kv);
	if (!opts.segment && !opts.keep)
		shmkv_unlink(segment);
	return status;
}

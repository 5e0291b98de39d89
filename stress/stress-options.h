/* SPDX-License-Identifier: MIT */
#ifndef STRESS_OPTIONS_H
#define STRESS_OPTIONS_H

/*
 * stress-options: what the command line asks for, checked and with defaults filled in.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum stress_op {
	STRESS_OP_GET,
	STRESS_OP_PUT,
	STRESS_OP_DEL,
	STRESS_OP_ADD,
	STRESS_OP_CAS,
	STRESS_OP_INCR,
	STRESS_OP_VIEW,
	STRESS_OP_RESERVE,
	STRESS_OP_BATCH,
	STRESS_OP_LEASE,
	STRESS_OP_WAIT,
	STRESS_OPS_MIXED, /* those above can be weighed by --mix */
	STRESS_OP_ATTACH = STRESS_OPS_MIXED,
	STRESS_OP_RECOVER,
	STRESS_OP_SCAN,
	STRESS_OP_VERIFY,
	STRESS_OPS,
};

/* Exit statuses of the program. */
enum {
	STRESS_EXIT_PASS = 0,
	STRESS_EXIT_FAIL = 1,
	STRESS_EXIT_USAGE = 2,
	STRESS_EXIT_SKIP = 77,
};

struct stress_options {
	const char *program; /* as it was called, for the replay line */
	unsigned int procs;
	unsigned int threads; /* in each process */
	double seconds;       /* 0: no bound */
	uint64_t ops;         /* 0: no bound */
	uint64_t seed;
	uint64_t keys;
	uint64_t keys_start; /* keys in play when the run begins; keys when it shall not grow */
	uint64_t value_min, value_max;
	unsigned int mix[STRESS_OPS_MIXED];
	double kill_rate, stop_rate; /* per second */
	bool aim;            /* they happen at fault points */
	unsigned int jitter; /* one of so many passages of a fault point sleeps; 0: none */
	uint64_t max_bytes;
	bool sized_here; /* max_bytes was estimated, so a full segment is a failure */
	unsigned int hash; /* enum shmkv_hash */
	unsigned int evict; /* enum shmkv_evict: any key may go at any time */
	unsigned int huge;  /* enum shmkv_huge_pages */
	unsigned int watchdog_s;
	const char *segment; /* NULL: a name of its own, removed at the end */
	const char *history; /* directory, or NULL */
	bool keep;           /* leave the segment in place, to look into it */
	bool json;
};

/*
 * stress_options_parse - read the command line
 * @ret_exit: the exit status when the answer is false
 *
 * Returns false when the program shall end at once: after --help and --version (status 0)
 * and after a wrong argument (status 2); everything was printed then.
 */
bool stress_options_parse(struct stress_options *opts, int argc, char **argv, int *ret_exit);

/* The command that does the same again, without a newline. */
void stress_options_print(const struct stress_options *opts, FILE *out);

/* "get", "put", ...; static. */
const char *stress_op_name(enum stress_op op);

#endif

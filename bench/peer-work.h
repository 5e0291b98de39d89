/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEER_WORK_H
#define SHMKV_BENCH_PEER_WORK_H

/*
 * peer-work: the workloads, as steps. Every peer gets the same steps for the same job.
 *
 * A round of works leaves the entries as they were: insert adds fresh ones, churn removes half
 * of them and adds as many others, delete removes those.
 */

#include "bench/peers/peer.h"

enum work {
	WORK_LOAD, /* entries from job.first on, in batches if values are small */
	WORK_GROW, /* the same, one by one */
	WORK_HIT,
	WORK_MISS,
	WORK_GET_MANY,
	WORK_READ_95,
	WORK_MIX_50,
	WORK_UPDATE,
	WORK_PUT_MANY,
	WORK_HOT_GET,
	WORK_HOT_MIX,
	WORK_VIEW,
	WORK_INSERT,
	WORK_CHURN,
	WORK_DELETE,
	WORKS
};

struct job {
	enum work work;
	unsigned int workers;
	uint64_t n;       /* steps of each worker; whole batches */
	uint64_t first;   /* LOAD, GROW */
	uint64_t entries; /* stored: 0 to entries - 1 */
	double skew;      /* of Zipf's law; 0: all entries alike */
	uint64_t seed;
	size_t value_len;
	bool timed; /* every step */
};

const char *work_name(enum work work);

void job_steps(const struct job *job, unsigned int worker, struct peer_step *steps);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_CREW_H
#define SHMKV_BENCH_CREW_H

/*
 * crew: a peer with its workers, kept in processes of their own for as long as it is measured.
 *
 * The keeper process makes the peer's world. Its workers are processes forked from it, or its
 * threads where the map lies on the heap. So the memory of one peer is never copied or counted
 * for another one, and everything ends with the program that measures: a process whose parent
 * dies is killed. Jobs are given on a board in memory that all of them share.
 */

#include "bench/histogram.h"
#include "bench/peer-work.h"

#include <semaphore.h>

#define CREW_STEPS_MAX ((uint64_t)1 << 20)

struct crew_result {
	int r; /* 0 or what failed */
	struct peer_step wrong;
	uint64_t wall_ns, delayed_ns, cpu_ns;
	struct histogram latency; /* of timed jobs */
};

struct crew_seat {
	sem_t call, go;
	pid_t pid;
	struct crew_result result;
};

struct crew_board {
	sem_t made, ready, done;
	sem_t order; /* for the keeper: answer memory and dead, or end */
	int r;       /* of making it */
	bool ends;
	uint64_t memory; /* answer to an order */
	unsigned int dead;
	sem_t told;
	struct job job;
	struct crew_seat seats[PEER_WORKERS_MAX];
};

struct crew {
	const struct peer *peer;
	pid_t keeper;
	struct crew_board *board;
	unsigned int n_seats;
	uint64_t memory_empty;
};

/* 0 or a negative errno; end it with crew_end. */
int crew_begin(struct crew *crew, const struct peer *peer, const struct peer_spec *spec,
	       unsigned int n_seats);
void crew_end(struct crew *crew);

/* The workers of the job do it at the same time; results stand on the board. 0, or 1 after it
 * said on standard error what was wrong. */
int crew_do(struct crew *crew, const struct job *job);

/* The workers begin, and whoever calls does not wait for them: each posts board->done. 0 or 1. */
int crew_start(struct crew *crew, const struct job *job);
/* What a worker answered: 0, or 1 after it said on standard error what was wrong. */
int crew_judge(const struct crew *crew, unsigned int worker);

/* How many processes that died the peer has still to clear up behind; 0 if it does not know. */
unsigned int crew_dead(struct crew *crew);

/* Bytes that the peer's world takes more than when it was empty. */
uint64_t crew_memory(struct crew *crew);

#endif

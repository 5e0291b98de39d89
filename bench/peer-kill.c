/* SPDX-License-Identifier: MIT */
#include "bench/peer-kill.h"

#include "bench/crew.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 4096u
#define VALUE_LEN 1024u
#define STEPS 200000u
#define TRIALS_QUICK 2u
#define TRIALS 10u
#define TRIALS_FULL 50u
#define NEVER_SECONDS 2
#define RECOVERED_NS 2000000000u

static void sleep_us(unsigned int us)
{
	struct timespec t = { 0, (long)us * 1000 };

	nanosleep(&t, NULL);
}

/* Until the peer knows of no dead process, as far as it knows of any. */
static uint64_t until_recovered(struct crew *crew, uint64_t since)
{
	uint64_t now;

	if (!crew->peer->dead)
		return 0;
	do {
		sleep_us(200);
		now = bench_now_ns();
	} while (crew_dead(crew) > 0 && now - since < RECOVERED_NS);
	return now - since;
}

/* 1: the other one came back; 0: it never did; -1: something failed. */
static int trial(struct crew *crew, struct cell_kill *kill_cell, uint64_t seed)
{
	struct job job = { .work = WORK_MIX_50, .workers = 2, .n = STEPS, .entries = ENTRIES,
			   .seed = seed, .value_len = VALUE_LEN, .timed = true };
	struct crew_seat *survivor = &crew->board->seats[0], *victim = &crew->board->seats[1];
	uint64_t killed, recovered;
	struct timespec t;

	if (crew_start(crew, &job))
		return -1;
	sleep_us(1000 + (unsigned int)(seed * 7919 % 5000));
	killed = bench_now_ns();
	kill(victim->pid, SIGKILL);
	recovered = until_recovered(crew, killed);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += NEVER_SECONDS;
	if (sem_timedwait(&crew->board->done, &t) < 0)
		return 0;
	if (crew_judge(crew, 0))
		return -1;
	histogram_add(&kill_cell->longest, survivor->result.latency.max);
	if (crew->peer->dead)
		histogram_add(&kill_cell->recovered, recovered);
	return 1;
}

/* The steps of the survivor alone: what its longest call is without any kill. */
static int alone(struct crew *crew, struct cell_kill *kill_cell, uint64_t seed)
{
	struct job job = { .work = WORK_LOAD, .workers = 1, .n = ENTRIES, .entries = ENTRIES,
			   .value_len = VALUE_LEN };
	int r;

	r = crew_do(crew, &job);
	if (r)
		return r;
	job = (struct job){ .work = WORK_MIX_50, .workers = 2, .n = STEPS / 4, .entries = ENTRIES,
			    .seed = seed, .value_len = VALUE_LEN, .timed = true };
	r = crew_do(crew, &job);
	if (r == 0)
		histogram_add(&kill_cell->undisturbed, crew->board->seats[0].result.latency.max);
	return r;
}

static int one_trial(const struct peer *peer, struct cell_kill *kill_cell, uint64_t seed)
{
	struct peer_spec spec = { .entries = 2 * ENTRIES, .stored = ENTRIES, .value_len = VALUE_LEN };
	struct crew crew;
	int r;

	snprintf(spec.name, sizeof(spec.name), "bench-%ld-kill-%llu", (long)getpid(),
		 (unsigned long long)seed);
	r = crew_begin(&crew, peer, &spec, 2);
	if (r < 0)
		return bench_failed(peer->name, r);
	r = alone(&crew, kill_cell, seed);
	if (r == 0) {
		r = trial(&crew, kill_cell, seed);
		kill_cell->trials += r >= 0;
		kill_cell->never += r == 0;
		/* One that hangs ends with its keeper. */
		if (r == 0)
			kill(crew.keeper, SIGKILL);
		r = r < 0;
	}
	crew_end(&crew);
	return r;
}

int peer_kill(struct cells *cells, const struct bench_options *options)
{
	const unsigned int n = options->full ? TRIALS_FULL : options->quick ? TRIALS_QUICK : TRIALS;
	struct cell_kill *found;
	unsigned int i, k;
	int r = 0;

	for (i = 0; peers[i] && r == 0; i++) {
		if (peers[i]->type != PEER_SHARED || !peer_is_wanted(options, peers[i]))
			continue;
		found = cells_add_kill(cells, peers[i]);
		if (!found)
			return bench_failed("figures", -ENOMEM);
		for (k = 0; k < n && r == 0; k++) {
			if (options->progress)
				fprintf(stderr, "\r\033[Kkilling a writer: %s, %u of %u", peers[i]->name, k + 1, n);
			r = one_trial(peers[i], found, k + 1);
		}
	}
	if (options->progress)
		fprintf(stderr, "\r\033[K");
	return r;
}

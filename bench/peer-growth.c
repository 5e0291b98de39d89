/* SPDX-License-Identifier: MIT */
#include "bench/peer-growth.h"

#include "bench/crew.h"

#include <stdio.h>
#include <unistd.h>

#define FROM 100000u
#define TO 1000000u
#define TO_FULL 10000000u
#define VALUE_LEN 64u
/* Whole batches, since the first entries are loaded in such. */
#define STEP ((uint64_t)100000)

static int grow(struct crew *crew, struct cell *cell)
{
	struct job job = { .work = WORK_LOAD, .workers = 1, .value_len = VALUE_LEN,
			   .entries = cell->entries, .n = STEP };
	double ns = 0;
	int r = 0;

	for (; job.first < cell->entries && r == 0; job.first += STEP) {
		if (job.first == FROM) {
			job.work = WORK_GROW;
			job.timed = true;
		}
		r = crew_do(crew, &job);
		if (r == 0 && job.timed) {
			ns += (double)(crew->board->seats[0].result.wall_ns -
				       crew->board->seats[0].result.delayed_ns);
			histogram_merge(&cell->latency, &crew->board->seats[0].result.latency);
		}
	}
	if (r)
		return r;
	cell->n = cell->entries - FROM;
	cell->ns[0] = ns / (double)cell->n;
	cell->cpu_ns[0] = cell->ns[0];
	cell->n_rounds = 1;
	/* Nothing of it may be lost. */
	job = (struct job){ .work = WORK_HIT, .workers = 1, .value_len = VALUE_LEN,
			    .entries = cell->entries, .n = STEP, .seed = 1 };
	return crew_do(crew, &job);
}

static int grow_peer(struct cells *cells, const struct bench_options *options,
		     const struct peer *peer, unsigned int number)
{
	const uint64_t entries = options->full ? TO_FULL : TO;
	struct cell like = { .peer = peer, .work = WORK_GROW, .workers = 1, .entries = entries,
			     .value_len = VALUE_LEN, .lap = PEER_LAP_GROWTH };
	struct peer_spec spec = { .entries = entries, .stored = entries, .value_len = VALUE_LEN };
	struct cell_memory memory = { peer, entries, VALUE_LEN, PEER_LAP_GROWTH, 0 };
	struct cell *cell;
	struct crew crew;
	int r;

	if (options->progress)
		fprintf(stderr, "\r\033[Kgrowth to %llu entries: %s", (unsigned long long)entries, peer->name);
	snprintf(spec.name, sizeof(spec.name), "bench-%ld-growth-%u", (long)getpid(), number);
	r = crew_begin(&crew, peer, &spec, 1);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return bench_failed(peer->name, r);
	cell = cells_add(cells, &like);
	r = cell ? grow(&crew, cell) : bench_failed("figures", -ENOMEM);
	memory.bytes = r == 0 ? crew_memory(&crew) : 0;
	crew_end(&crew);
	if (r == 0 && cells_add_memory(cells, &memory) < 0)
		r = bench_failed("figures", -ENOMEM);
	return r;
}

int peer_growth(struct cells *cells, const struct bench_options *options)
{
	unsigned int i;
	int r = 0;

	for (i = 0; peers[i] && r == 0; i++)
		if (peer_is_wanted(options, peers[i]) && peers[i]->type != PEER_LIMIT)
			r = grow_peer(cells, options, peers[i], i);
	if (options->progress)
		fprintf(stderr, "\r\033[K");
	return r;
}

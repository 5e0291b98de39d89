/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"
#include "bench/crew.h"
#include "bench/peer-cells.h"
#include "bench/peer-growth.h"
#include "bench/peer-kill.h"
#include "bench/peer-limits.h"
#include "bench/peer-report.h"
#include "bench/peer-wake.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * bench-peers: the same workloads on shmkv and on what people otherwise use, beside the limits of
 * the machine.
 *
 * A table of entries and values of one size is filled into every peer, as many at a time as the
 * memory holds: a lap. shmkv and the direct tables are in every lap. Then all peers of the lap
 * take turns, round by round, so that whatever else the machine does falls on all of them. In its
 * turn a peer does all workloads, so that it is measured with caches that are its own. A workload is measured in two passes: the time of all steps together, and
 * then the time of each step, which costs the clock and ends the overlap of steps.
 */

#define SKEW 0.99
#define WARM_STEPS 1024u
#define STEPS_MIN 256u
#define TIMED_STEPS_MAX 16384u
#define CREWS_MAX 32u
/* Fewer steps for larger values: a step copies them. */
#define LARGE_STEPS 64u
#define LOAD_STEPS ((uint64_t)1 << 17)

struct plan {
	enum work work;
	double skew;
	unsigned int workers;
};

/* Insert, churn and delete stay together: see peer-work.h. */
static const struct plan plans[] = {
	{ WORK_HIT, 0, 1 },
	{ WORK_HIT, SKEW, 1 },
	{ WORK_MISS, 0, 1 },
	{ WORK_GET_MANY, 0, 1 },
	{ WORK_READ_95, SKEW, 1 },
	{ WORK_MIX_50, 0, 1 },
	{ WORK_MIX_50, SKEW, 1 },
	{ WORK_UPDATE, 0, 1 },
	{ WORK_PUT_MANY, 0, 1 },
	{ WORK_INSERT, 0, 1 },
	{ WORK_CHURN, 0, 1 },
	{ WORK_DELETE, 0, 1 },
	{ WORK_HOT_GET, 0, 1 },
	{ WORK_HOT_MIX, 0, 1 },
	{ WORK_VIEW, 0, 1 },
	{ WORK_HIT, 0, 2 },
	{ WORK_HIT, SKEW, 2 },
	{ WORK_READ_95, SKEW, 2 },
	{ WORK_MIX_50, 0, 2 },
	{ WORK_MIX_50, SKEW, 2 },
	{ WORK_UPDATE, 0, 2 },
	{ WORK_INSERT, 0, 2 },
	{ WORK_CHURN, 0, 2 },
	{ WORK_DELETE, 0, 2 },
	{ WORK_HOT_GET, 0, 2 },
	{ WORK_HOT_MIX, 0, 2 },
};

#define N_PLANS (sizeof(plans) / sizeof(plans[0]))

struct size {
	uint64_t entries;
	size_t value_len;
};

struct lap {
	struct cells *cells;
	const struct bench_options *options;
	struct size size;
	unsigned int number, rounds;
	double round_ns; /* how long a round of one cell shall take */
	uint64_t fresh;  /* entries that there is room for beside size.entries */
	struct crew crews[CREWS_MAX];
	unsigned int n_crews;
	/* by crew and plan */
	struct cell *cells_of[CREWS_MAX][N_PLANS];
};

static bool is_fresh(enum work work)
{
	return work == WORK_INSERT || work == WORK_CHURN || work == WORK_DELETE;
}

static bool is_large(struct size size)
{
	return size.value_len > PEER_BATCH_VALUE_MAX;
}

/* Views are for large values, which are copied, looked at, and replaced, and nothing else. */
static bool plan_applies(const struct plan *plan, const struct peer *peer, struct size size)
{
	if (plan->work == WORK_VIEW)
		return is_large(size) && peer->can & PEER_CAN_VIEW;
	return !is_large(size) || (plan->skew <= 0 && (plan->work == WORK_HIT || plan->work == WORK_UPDATE));
}

static uint64_t whole_batches(uint64_t n)
{
	n = n / PEER_BATCH * PEER_BATCH;
	return n ? n : PEER_BATCH;
}

/* ---- one cell --------------------------------------------------------------------- */

static struct job job_of(const struct lap *lap, const struct plan *plan, uint64_t n, uint64_t seed)
{
	return (struct job){ .work = plan->work, .workers = plan->workers, .n = n,
			     .entries = lap->size.entries, .skew = plan->skew, .seed = seed,
			     .value_len = lap->size.value_len };
}

/* Nanoseconds for each step, all workers together. Servers need the processor, too, so their
 * clients are not to be blamed less when they had to wait for it. */
static void job_time(const struct crew *crew, const struct job *job, double *ret_ns, double *ret_cpu)
{
	const struct crew_result *result;
	double rate = 0, cpu = 0, ns;
	unsigned int i;

	for (i = 0; i < job->workers; i++) {
		result = &crew->board->seats[i].result;
		ns = (double)result->wall_ns;
		if (crew->peer->type != PEER_SERVER)
			ns -= (double)result->delayed_ns;
		if (ns < (double)result->cpu_ns)
			ns = (double)result->cpu_ns;
		rate += (double)job->n / ns;
		cpu += (double)result->cpu_ns / (double)job->n;
	}
	*ret_ns = 1 / rate;
	*ret_cpu = cpu / job->workers;
}

static int measure(struct crew *crew, const struct job *job, struct cell *cell)
{
	int r = crew_do(crew, job);

	if (r)
		return r;
	job_time(crew, job, &cell->ns[cell->n_rounds], &cell->cpu_ns[cell->n_rounds]);
	cell->n_rounds++;
	return 0;
}

static int measure_timed(struct crew *crew, const struct job *given, struct cell *cell)
{
	struct job job = *given;
	unsigned int i;
	int r;

	job.timed = true;
	r = crew_do(crew, &job);
	for (i = 0; i < job.workers && r == 0; i++)
		histogram_merge(&cell->latency, &crew->board->seats[i].result.latency);
	return r;
}

/* How many steps make a round: from a short one, which also warms up. */
static int calibrate(struct lap *lap, struct crew *crew, const struct plan *plan, struct cell *cell)
{
	uint64_t most = CREW_STEPS_MAX;
	const uint64_t least = is_large(lap->size) ? LARGE_STEPS : STEPS_MIN;
	struct job job = job_of(lap, plan, is_large(lap->size) ? LARGE_STEPS : WARM_STEPS, 1);
	double ns, cpu, n;
	int r;

	r = crew_do(crew, &job);
	if (r)
		return r;
	job_time(crew, &job, &ns, &cpu);
	n = lap->round_ns / (ns * plan->workers);
	if (is_fresh(plan->work))
		most = lap->fresh / 2 / plan->workers;
	cell->n = whole_batches(n < (double)least ? least : n > (double)most ? most : (uint64_t)n);
	return 0;
}

/* The three belong together, and so do their numbers of steps. */
static void agree(struct cell **cells)
{
	size_t i;

	for (i = 0; i + 2 < N_PLANS; i++) {
		if (plans[i].work != WORK_INSERT || !cells[i])
			continue;
		if (cells[i + 1]->n < cells[i]->n)
			cells[i]->n = cells[i + 1]->n;
		if (cells[i + 2]->n < cells[i]->n)
			cells[i]->n = cells[i + 2]->n;
		cells[i + 1]->n = cells[i + 2]->n = cells[i]->n;
	}
}

static uint64_t timed_steps(const struct cell *cell)
{
	return cell->n < TIMED_STEPS_MAX ? cell->n : TIMED_STEPS_MAX;
}

/* Both passes of plan @i, or of the three from it on. */
static int round_of_plan(struct lap *lap, unsigned int c, size_t i, uint64_t seed)
{
	size_t k, n = plans[i].work == WORK_INSERT ? 3 : 1;
	struct crew *crew = &lap->crews[c];
	struct cell **cells = &lap->cells_of[c][i];
	struct job job;
	int r = 0;

	for (k = 0; k < n && r == 0; k++) {
		job = job_of(lap, &plans[i + k], cells[k]->n, seed);
		r = measure(crew, &job, cells[k]);
	}
	for (k = 0; k < n && r == 0; k++) {
		job = job_of(lap, &plans[i + k], timed_steps(cells[k]), seed + 1);
		r = measure_timed(crew, &job, cells[k]);
	}
	return r;
}

/* ---- one lap ---------------------------------------------------------------------- */

static void say(const struct lap *lap, const char *what, const char *whose)
{
	if (lap->options->progress)
		fprintf(stderr, "\r\033[K%llu entries of %zu bytes: %s %s",
			(unsigned long long)lap->size.entries, lap->size.value_len, what, whose);
}

static int load(struct lap *lap, struct crew *crew)
{
	struct job job = { .work = WORK_LOAD, .workers = 1, .entries = lap->size.entries,
			   .value_len = lap->size.value_len };
	uint64_t left;
	int r = 0;

	say(lap, "filling", crew->peer->name);
	for (; job.first < lap->size.entries && r == 0; job.first += job.n) {
		left = lap->size.entries - job.first;
		job.n = left < LOAD_STEPS ? left : LOAD_STEPS;
		r = crew_do(crew, &job);
	}
	return r;
}

static int note_memory(struct lap *lap, struct crew *crew)
{
	struct cell_memory memory = { crew->peer, lap->size.entries, lap->size.value_len, lap->number,
				      crew_memory(crew) };

	return cells_add_memory(lap->cells, &memory) < 0 ? bench_failed("figures", -ENOMEM) : 0;
}

static int crew_prepare(struct lap *lap, unsigned int c)
{
	struct crew *crew = &lap->crews[c];
	struct cell like;
	size_t i;
	int r;

	r = load(lap, crew);
	if (r == 0)
		r = note_memory(lap, crew);
	say(lap, "trying", crew->peer->name);
	for (i = 0; i < N_PLANS && r == 0; i++) {
		if (!plan_applies(&plans[i], crew->peer, lap->size))
			continue;
		like = (struct cell){ .peer = crew->peer, .work = plans[i].work,
				      .skew = plans[i].skew, .workers = plans[i].workers,
				      .entries = lap->size.entries,
				      .value_len = lap->size.value_len, .lap = lap->number };
		lap->cells_of[c][i] = cells_add(lap->cells, &like);
		if (!lap->cells_of[c][i])
			return bench_failed("figures", -ENOMEM);
		r = calibrate(lap, crew, &plans[i], lap->cells_of[c][i]);
	}
	if (r == 0)
		agree(lap->cells_of[c]);
	return r;
}

/* All workloads of one peer, in caches that belong to it by then. */
static int turn(struct lap *lap, unsigned int c, unsigned int round)
{
	const struct plan warm = { WORK_HIT, 0, PEER_WORKERS_MAX };
	struct job job = job_of(lap, &warm, lap->cells_of[c][0]->n, 1);
	size_t i;
	int r;

	r = crew_do(&lap->crews[c], &job);
	for (i = 0; i < N_PLANS && r == 0; i += plans[i].work == WORK_INSERT ? 3 : 1)
		if (lap->cells_of[c][i])
			r = round_of_plan(lap, c, i, 2 + 2 * (round * N_PLANS + i));
	return r;
}

static int lap_rounds(struct lap *lap)
{
	unsigned int round, c, who;
	char what[32];
	int r = 0;

	for (round = 0; round < lap->rounds && r == 0; round++) {
		snprintf(what, sizeof(what), "round %u of %u,", round + 1, lap->rounds);
		/* Another one begins each time. */
		for (c = 0; c < lap->n_crews && r == 0; c++) {
			who = (c + round) % lap->n_crews;
			say(lap, what, lap->crews[who].peer->name);
			r = turn(lap, who, round);
		}
	}
	return r;
}

static int lap_begin(struct lap *lap, const struct peer *const *who)
{
	struct peer_spec spec = { .entries = lap->size.entries + lap->fresh,
				  .stored = lap->size.entries,
				  .value_len = lap->size.value_len };
	int r;

	for (; *who; who++) {
		/* Server processes and files live as long as the crew: their names must differ. */
		snprintf(spec.name, sizeof(spec.name), "bench-%ld-%u-%u", (long)getpid(), lap->number,
			 lap->n_crews);
		say(lap, "starting", (*who)->name);
		r = crew_begin(&lap->crews[lap->n_crews], *who, &spec, PEER_WORKERS_MAX);
		if (r == -ENOENT && (*who)->type == PEER_SERVER) {
			fprintf(stderr, "%sshmkv-bench: %s is not installed, left out\n",
				lap->options->progress ? "\r\033[K" : "", (*who)->name);
			continue;
		}
		if (r < 0) {
			fprintf(stderr, "shmkv-bench: %s: %s\n", (*who)->name, shmkv_strerror(r));
			return 1;
		}
		lap->n_crews++;
	}
	return 0;
}

static int run_lap(struct cells *cells, const struct bench_options *options, struct size size,
		   const struct peer *const *who)
{
	static unsigned int laps;
	struct lap *lap = calloc(1, sizeof(*lap));
	unsigned int c;
	int r;

	if (!lap)
		return bench_failed("lap", -ENOMEM);
	lap->cells = cells;
	lap->options = options;
	lap->size = size;
	lap->number = laps++;
	lap->rounds = options->samples ? options->samples : options->full ? 9 : 5;
	if (lap->rounds > CELL_ROUNDS_MAX)
		lap->rounds = CELL_ROUNDS_MAX;
	lap->round_ns = options->full ? 20e6 : 6e6;
	/* Two workers of WARM_STEPS at least. Large values are not inserted. */
	lap->fresh = is_large(size) ? 0 : size.entries / 2 > 4 * WARM_STEPS ? size.entries / 2 : 4 * WARM_STEPS;
	r = lap_begin(lap, who);
	for (c = 0; c < lap->n_crews && r == 0; c++)
		r = crew_prepare(lap, c);
	if (r == 0)
		r = lap_rounds(lap);
	for (c = 0; c < lap->n_crews; c++)
		crew_end(&lap->crews[c]);
	if (options->progress)
		fprintf(stderr, "\r\033[K");
	free(lap);
	return r;
}

/* ---- which peers fit -------------------------------------------------------------- */

static uint64_t free_memory(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024;
}

static uint64_t need_of(const struct peer *peer, struct size size)
{
	return (size.entries + size.entries / 2) * (PEER_KEY_LEN + size.value_len + peer->overhead) * 5 / 4 +
	       (64u << 20);
}

static int run_size(struct cells *cells, const struct bench_options *options, struct size size)
{
	const struct peer *who[CREWS_MAX + 1];
	bool done[CREWS_MAX] = { false }, some;
	uint64_t room, need;
	unsigned int n, i;
	int r = 0;

	do {
		n = 0;
		some = false;
		room = free_memory() * 3 / 4;
		for (i = 0; peers[i] && i < CREWS_MAX; i++) {
			need = need_of(peers[i], size);
			if (!peer_is_wanted(options, peers[i]) || (done[i] && !peer_is_in_every_lap(peers[i])))
				continue;
			if (need > room)
				continue;
			room -= need;
			some = some || !done[i];
			done[i] = true;
			who[n++] = peers[i];
		}
		who[n] = NULL;
		if (some && who[0] == peers[0])
			r = run_lap(cells, options, size, who);
	} while (r == 0 && some && who[0] == peers[0]);
	for (i = 0; peers[i] && r == 0; i++)
		if (peer_is_wanted(options, peers[i]) && !done[i])
			fprintf(stderr,
				"shmkv-bench: %s with %llu entries of %zu bytes left out: there are not %llu MiB\n",
				peers[i]->name, (unsigned long long)size.entries, size.value_len,
				(unsigned long long)(need_of(peers[i], size) >> 20));
	return r;
}

static const struct size some_sizes[] = {
	{ 100000, 8 }, { 100000, 64 }, { 100000, 1024 }, { 1000000, 64 },
	{ 1024, (size_t)64 << 10 }, { 64, (size_t)1 << 20 }, { 0, 0 },
};

static const struct size all_sizes[] = {
	{ 100000, 8 }, { 100000, 64 }, { 100000, 1024 }, { 1000000, 8 }, { 1000000, 64 },
	{ 1000000, 1024 }, { 10000000, 8 }, { 10000000, 64 }, { 10000000, 1024 },
	{ 1024, (size_t)64 << 10 }, { 64, (size_t)1 << 20 }, { 0, 0 },
};

static int run_all(struct cells *cells, const struct bench_options *options)
{
	const struct size given[] = { { whole_batches(options->entries), options->value_len }, { 0, 0 } };
	const struct size *size = options->entries ? given : options->full ? all_sizes : some_sizes;
	int r;

	r = peer_limits(cells, options);
	for (; size->entries && r == 0; size++)
		r = run_size(cells, options, *size);
	if (r == 0)
		r = peer_wake(cells, options);
	if (r == 0 && !options->quick)
		r = peer_growth(cells, options);
	if (r == 0)
		r = peer_kill(cells, options);
	return r;
}

int bench_peers(const struct bench_options *options)
{
	struct cells cells = { 0 };
	int r;

	r = run_all(&cells, options);
	/* Also what was measured before something failed. */
	cells_settle(&cells);
	if (peer_report(&cells, options))
		r = 1;
	cells_free(&cells);
	return r;
}

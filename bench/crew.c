/* SPDX-License-Identifier: MIT */
#include "bench/crew.h"

#include "bench/bench.h"
#include "bench/run-delay.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* No job takes as long as that: at most a million steps, of some microseconds. */
#define JOB_SECONDS_MAX 300u

/* To free ten million entries takes seconds. */
#define KEEPER_ENDS_NS 60000000000u

uint64_t peer_clock_ns(void)
{
	return bench_now_ns();
}

/* Short ones cannot have been interrupted. */
#define DELAY_LOOK_NS 10000u

void peer_latency(struct peer_run *run, uint64_t start, uint64_t *delayed_ns)
{
	uint64_t now = bench_now_ns(), took, delayed;

	if (start == 0) {
		*delayed_ns = run_delay_ns(run->delay);
		return;
	}
	took = now - start;
	if (took > DELAY_LOOK_NS) {
		delayed = run_delay_ns(run->delay);
		took -= delayed - *delayed_ns < took ? delayed - *delayed_ns : took;
		*delayed_ns = delayed;
	}
	histogram_add(run->latency, took);
}

/* ---- a worker --------------------------------------------------------------------- */

struct worker {
	struct crew_board *board;
	const struct peer *peer;
	void *world;
	const struct peer_spec *spec;
	unsigned int number;
	struct peer_step *steps;
	uint8_t *buffers;
};

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		;
}

static size_t batch_len(const struct peer_spec *spec)
{
	return spec->value_len * (spec->value_len > PEER_BATCH_VALUE_MAX ? 1 : PEER_BATCH);
}

static void do_job(struct worker *w, void *seat, const struct run_delay *delay)
{
	struct crew_seat *here = &w->board->seats[w->number];
	const struct job *job = &w->board->job;
	struct peer_run run = { .steps = w->steps, .n = job->n, .workers = job->workers,
				.value_len = job->value_len, .delay = delay };
	struct crew_result *result = &here->result;
	uint64_t wall, delayed, cpu;

	run.value = w->buffers;
	run.buf = w->buffers + batch_len(w->spec);
	memset(&result->latency, 0, sizeof(result->latency));
	if (job->timed)
		run.latency = &result->latency;
	job_steps(job, w->number, w->steps);
	sem_post(&w->board->ready);
	wait_for(&here->go);
	/* What is taken from the time on the clock is measured within it. */
	wall = bench_now_ns();
	delayed = run_delay_ns(delay);
	cpu = bench_cpu_ns();
	result->r = w->peer->run(seat, &run);
	result->cpu_ns = bench_cpu_ns() - cpu;
	result->delayed_ns = run_delay_ns(delay) - delayed;
	result->wall_ns = bench_now_ns() - wall;
	result->wrong = run.wrong;
	sem_post(&w->board->done);
}

/* Shared, although nobody shares it: so it does not count as memory of a map of the heap. */
static void *scratch(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
			    -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct crew_board *board = w->board;
	struct run_delay delay;
	void *seat = NULL;
	int r;

	w->steps = scratch(CREW_STEPS_MAX * sizeof(*w->steps));
	w->buffers = scratch(2 * batch_len(w->spec));
	r = w->steps && w->buffers ? w->peer->attach(w->world, &seat) : -ENOMEM;
	if (r < 0)
		board->r = r;
	run_delay_open(&delay);
	sem_post(&board->ready);
	while (r == 0) {
		wait_for(&board->seats[w->number].call);
		if (board->ends)
			break;
		do_job(w, seat, &delay);
	}
	if (seat)
		w->peer->detach(seat);
	run_delay_close(&delay);
	return NULL;
}

/* ---- the keeper ------------------------------------------------------------------- */

/* Whoever is forked ends with its parent. */
static void end_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

static uint64_t private_memory(void)
{
	unsigned long resident = 0, shared = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%*s %lu %lu", &resident, &shared) != 2)
		resident = shared;
	fclose(f);
	return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int start_worker(struct worker *w, pthread_t *ret_thread)
{
	pid_t parent = getpid(), pid;

	if (w->peer->type == PEER_LOCAL)
		return -pthread_create(ret_thread, NULL, work, w);
	pid = fork();
	if (pid == 0) {
		end_with(parent);
		work(w);
		_exit(0);
	}
	w->board->seats[w->number].pid = pid;
	return pid < 0 ? -EAGAIN : 0;
}

static void keep(struct crew *crew, const struct peer_spec *spec)
{
	struct worker workers[PEER_WORKERS_MAX];
	struct crew_board *board = crew->board;
	const struct peer *peer = crew->peer;
	pthread_t threads[PEER_WORKERS_MAX];
	unsigned int i, started = 0;
	void *world = NULL;
	int r;

	/* Dead workers vanish, so that they are seen to be gone. */
	signal(SIGCHLD, SIG_IGN);
	r = peer->make(spec, &world);
	for (i = 0; i < crew->n_seats && r == 0; i++) {
		workers[i] = (struct worker){ .board = board, .peer = peer, .world = world,
					      .spec = spec, .number = i };
		r = start_worker(&workers[i], &threads[i]);
		started += r == 0;
	}
	for (i = 0; i < started; i++)
		wait_for(&board->ready);
	if (world && peer->hide)
		peer->hide(world);
	if (r < 0)
		board->r = r;
	sem_post(&board->made);
	for (;;) {
		wait_for(&board->order);
		if (board->ends)
			break;
		board->memory = peer->memory ? peer->memory(world) : private_memory();
		board->dead = peer->dead ? peer->dead(world) : 0;
		sem_post(&board->told);
	}
	for (i = 0; i < started; i++)
		sem_post(&board->seats[i].call);
	for (i = 0; i < started && peer->type == PEER_LOCAL; i++)
		pthread_join(threads[i], NULL);
	if (world)
		peer->end(world);
}

/* ---- who gives the jobs ----------------------------------------------------------- */

static bool is_gone(const struct crew *crew)
{
	unsigned int i;

	if (waitpid(crew->keeper, NULL, WNOHANG) != 0)
		return true;
	for (i = 0; i < crew->n_seats && crew->peer->type != PEER_LOCAL; i++)
		if (kill(crew->board->seats[i].pid, 0) < 0)
			return true;
	return false;
}

/* 0, or 1 when somebody died or nothing happens. */
static int wait_or_miss(struct crew *crew, sem_t *sem)
{
	unsigned int seconds;
	struct timespec t;

	for (seconds = 0; seconds < JOB_SECONDS_MAX; seconds++) {
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_sec++;
		if (sem_timedwait(sem, &t) == 0)
			return 0;
		if (errno == ETIMEDOUT && is_gone(crew)) {
			fprintf(stderr, "shmkv-bench: %s: a process of it died\n", crew->peer->name);
			return 1;
		}
	}
	fprintf(stderr, "shmkv-bench: %s: no answer for %u seconds\n", crew->peer->name, JOB_SECONDS_MAX);
	return 1;
}

static int board_new(struct crew_board **ret)
{
	struct crew_board *board = scratch(sizeof(*board));
	unsigned int i;

	if (!board)
		return -ENOMEM;
	sem_init(&board->made, 1, 0);
	sem_init(&board->ready, 1, 0);
	sem_init(&board->done, 1, 0);
	sem_init(&board->order, 1, 0);
	sem_init(&board->told, 1, 0);
	for (i = 0; i < PEER_WORKERS_MAX; i++) {
		sem_init(&board->seats[i].call, 1, 0);
		sem_init(&board->seats[i].go, 1, 0);
	}
	*ret = board;
	return 0;
}

int crew_begin(struct crew *crew, const struct peer *peer, const struct peer_spec *spec,
	       unsigned int n_seats)
{
	pid_t parent = getpid();
	int r;

	*crew = (struct crew){ .peer = peer, .n_seats = n_seats };
	r = board_new(&crew->board);
	if (r < 0)
		return r;
	fflush(NULL);
	crew->keeper = fork();
	if (crew->keeper == 0) {
		end_with(parent);
		keep(crew, spec);
		_exit(0);
	}
	if (crew->keeper < 0)
		r = -EAGAIN;
	else if (wait_or_miss(crew, &crew->board->made))
		r = -EIO;
	else
		r = crew->board->r;
	if (r < 0)
		crew_end(crew);
	else if (!peer->memory)
		crew->memory_empty = crew_memory(crew);
	return r;
}

/* One that does not end by itself, because a worker of it hangs, is killed; workers end with it. */
static void end_keeper(pid_t keeper)
{
	uint64_t until = bench_now_ns() + KEEPER_ENDS_NS;

	while (waitpid(keeper, NULL, WNOHANG) == 0) {
		if (bench_now_ns() > until)
			kill(keeper, SIGKILL);
		usleep(1000);
	}
}

void crew_end(struct crew *crew)
{
	if (!crew->board)
		return;
	crew->board->ends = true;
	sem_post(&crew->board->order);
	if (crew->keeper > 0)
		end_keeper(crew->keeper);
	munmap(crew->board, sizeof(*crew->board));
	crew->board = NULL;
}

static const char *what_failed(int r)
{
	switch (r) {
	case -EBADMSG:
		return "a wrong value, or one that should not be there";
	case -ENOENT:
		return "a value is lost";
	default:
		return strerror(-r);
	}
}

int crew_start(struct crew *crew, const struct job *job)
{
	struct crew_board *board = crew->board;
	unsigned int i;

	board->job = *job;
	for (i = 0; i < job->workers; i++)
		sem_post(&board->seats[i].call);
	for (i = 0; i < job->workers; i++)
		if (wait_or_miss(crew, &board->ready))
			return 1;
	for (i = 0; i < job->workers; i++)
		sem_post(&board->seats[i].go);
	return 0;
}

int crew_judge(const struct crew *crew, unsigned int worker)
{
	const struct crew_result *result = &crew->board->seats[worker].result;

	if (result->r == 0)
		return 0;
	fprintf(stderr, "shmkv-bench: %s: %s: entry %u: %s\n", crew->peer->name,
		work_name(crew->board->job.work), result->wrong.entry, what_failed(result->r));
	return 1;
}

int crew_do(struct crew *crew, const struct job *job)
{
	unsigned int i;
	int r;

	r = crew_start(crew, job);
	for (i = 0; i < job->workers && r == 0; i++)
		r = wait_or_miss(crew, &crew->board->done);
	for (i = 0; i < job->workers && r == 0; i++)
		r = crew_judge(crew, i);
	return r;
}

uint64_t crew_memory(struct crew *crew)
{
	sem_post(&crew->board->order);
	if (wait_or_miss(crew, &crew->board->told))
		return 0;
	return crew->board->memory > crew->memory_empty ? crew->board->memory - crew->memory_empty : 0;
}

unsigned int crew_dead(struct crew *crew)
{
	sem_post(&crew->board->order);
	wait_for(&crew->board->told);
	return crew->board->dead;
}

/* SPDX-License-Identifier: MIT */
#include "stress/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress/aim.h"
#include "stress/auditor.h"
#include "stress/final-check.h"
#include "stress/history.h"
#include "stress/progress.h"
#include "stress/stress-random.h"

#define MS 1000000u
#define TICK_NS (5 * MS)
/* Operations that each other thread must complete after a kill or stop. */
#define OPS_TO_PASS 64u
#define WATCHES_MAX 64u
#define NO_PLACE UINT32_MAX
/* Growth ends before the run does, so that the full size is exercised too. */
#define GROWTH_SHARE 0.85
#define HISTORY_PATH_MAX 4096u

struct place {
	pid_t pid; /* 0: nobody here */
	bool stop_sent;     /* SIGSTOP was sent; it shows as stopped a little later */
	bool stopped;
	bool killed;        /* by the driver */
	enum aim_action aimed; /* asked to do it by itself, and has not yet */
	uint64_t start_at_ns;  /* when to start the next process, 0: not */
	uint64_t resume_at_ns; /* stopped: not before */
	unsigned int watch;    /* of the stop, or NO_PLACE */
	char *history;
};

/* After a kill or stop: who has still to show that it does not wait. */
struct watch {
	bool used;
	bool of_stop;
	unsigned int victim;
	unsigned int n_missing;
	uint64_t *targets; /* per writer: operations to reach, 0: nothing to show */
};

/* When a writer was last seen to complete something. */
struct pulse {
	uint64_t ops;
	uint64_t since_ns;
};

struct driver {
	const struct stress_options *opts;
	struct ledger *ledger;
	const char *segment;
	struct shmkv *kv;
	struct driver_figures *figures;
	struct progress progress;
	struct stress_random random;
	struct place *places; /* workers, auditor, final */
	unsigned int n_places;
	struct watch watches[WATCHES_MAX];
	struct pulse *pulses;
	struct unsettled *unsettled;
	size_t n_unsettled, unsettled_cap;
	uint64_t start_ns, end_ns, kill_at_ns, stop_at_ns;
	uint32_t clients; /* of the history so far */
	pid_t self;
	sigset_t wait_mask; /* the signal mask while the driver sleeps */
	struct sigaction old_int, old_term, old_chld;
	sigset_t old_mask;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static void on_child(int signal_number)
{
	(void)signal_number; /* only so that the sleep ends */
}

#define FAIL(driver, ...) \
	ledger_fail((driver)->ledger, ledger_driver_place((driver)->ledger), __VA_ARGS__)

static bool has_failed(const struct driver *driver)
{
	return atomic_load(&driver->ledger->head->n_failed) != 0;
}

/* Children run with default handling, so handlers and mask are set around the run only. */
static void signals_take(struct driver *driver)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	sigset_t block;

	interrupted = 0;
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, &driver->old_mask);
	driver->wait_mask = driver->old_mask;
	sigdelset(&driver->wait_mask, SIGINT);
	sigdelset(&driver->wait_mask, SIGTERM);
	sigdelset(&driver->wait_mask, SIGCHLD);
	sigaction(SIGINT, &action, &driver->old_int);
	sigaction(SIGTERM, &action, &driver->old_term);
	action.sa_handler = on_child;
	sigaction(SIGCHLD, &action, &driver->old_chld);
}

static void signals_give_back(struct driver *driver)
{
	sigaction(SIGINT, &driver->old_int, NULL);
	sigaction(SIGTERM, &driver->old_term, NULL);
	sigaction(SIGCHLD, &driver->old_chld, NULL);
	sigprocmask(SIG_SETMASK, &driver->old_mask, NULL);
}

/* ---- children -------------------------------------------------------------------- */

/* In the child: belongs to the driver alone, a terminal's signals are none of its business. */
static void become_child(struct driver *driver)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction standard = { .sa_handler = SIG_DFL };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != driver->self)
		_exit(STRESS_EXIT_FAIL); /* the driver died before the line above */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGTSTP, &ignore, NULL);
	sigaction(SIGCHLD, &standard, NULL);
	sigprocmask(SIG_SETMASK, &driver->old_mask, NULL);
	/* Does not touch the segment: the handle belongs to the parent. */
	driver->kv = shmkv_detach(driver->kv);
}

static int child_main(struct driver *driver, unsigned int at, const struct worker_start *start)
{
	if (at < driver->ledger->procs)
		aim_begin(driver->ledger, driver->opts, at, start->seed);
	if (at == ledger_auditor_place(driver->ledger))
		return auditor_run(start);
	if (at == ledger_final_place(driver->ledger))
		return final_check_run(start, driver->unsettled, driver->n_unsettled);
	return worker_run(start);
}

static char *history_path(const struct driver *driver, unsigned int at, uint32_t incarnation)
{
	char *path = malloc(HISTORY_PATH_MAX);
	int len;

	if (!path)
		return NULL;
	if (at == ledger_final_place(driver->ledger))
		len = snprintf(path, HISTORY_PATH_MAX, "%s/final%s", driver->opts->history,
			       HISTORY_SUFFIX);
	else
		len = snprintf(path, HISTORY_PATH_MAX, "%s/%04u-%06" PRIu32 "%s",
			       driver->opts->history, at, incarnation, HISTORY_SUFFIX);
	if (len < 0 || len >= (int)HISTORY_PATH_MAX) {
		free(path);
		return NULL;
	}
	return path;
}

static void pulses_restart(struct driver *driver, unsigned int at, uint64_t now)
{
	unsigned int n, i;
	struct ledger_writer *writer = ledger_writers_of(driver->ledger, at, &n);
	struct pulse *pulse = driver->pulses + (writer - driver->ledger->writers);

	for (i = 0; i < n; i++) {
		pulse[i].ops = atomic_load(&writer[i].ops);
		pulse[i].since_ns = now;
	}
}

static void start_process(struct driver *driver, unsigned int at)
{
	struct ledger_process *process = &driver->ledger->processes[at];
	struct place *place = &driver->places[at];
	struct worker_start start = {
		.opts = driver->opts,
		.ledger = driver->ledger,
		.segment = driver->segment,
		.place = at,
	};
	unsigned int clients = at < driver->ledger->procs ? driver->ledger->threads : 1;
	uint32_t incarnation = atomic_fetch_add(&process->incarnation, 1) + 1;

	place->start_at_ns = 0;
	start.seed = stress_mix(driver->opts->seed ^ (uint64_t)at << 48 ^ (uint64_t)incarnation << 16);
	if (driver->opts->history) {
		/* One number is kept for the final reads. */
		if (driver->clients + clients + 1 > HISTORY_CLIENTS_MAX &&
		    at != ledger_final_place(driver->ledger)) {
			driver->figures->clients_used_up = true;
			return;
		}
		start.client = (uint16_t)driver->clients;
		driver->clients += clients;
		place->history = history_path(driver, at, incarnation);
		if (!place->history) {
			FAIL(driver, "the path of the history is too long");
			return;
		}
		start.history = place->history;
	}
	atomic_store(&process->state, PROCESS_STARTING);
	aim_withdraw(driver->ledger, at);
	pulses_restart(driver, at, ledger_now_ns());

	fflush(NULL);
	place->pid = fork();
	if (place->pid == 0) {
		become_child(driver);
		exit(child_main(driver, at, &start));
	}
	if (place->pid < 0) {
		place->pid = 0;
		FAIL(driver, "cannot start a process: %s", strerror(errno));
		return;
	}
	place->stop_sent = place->stopped = place->killed = false;
	place->aimed = AIM_NOTHING;
	place->watch = NO_PLACE;
	driver->figures->starts++;
}

/* ---- watches: does anybody wait? ------------------------------------------------- */

/* This process need not show anything any more: it is dead, stopped or done. */
static void watches_excuse(struct driver *driver, unsigned int at)
{
	unsigned int n, i, w;
	struct ledger_writer *writer = ledger_writers_of(driver->ledger, at, &n);
	size_t first = (size_t)(writer - driver->ledger->writers);
	struct watch *watch;

	for (w = 0; w < WATCHES_MAX; w++) {
		watch = &driver->watches[w];
		for (i = 0; watch->used && i < n; i++) {
			if (!watch->targets[first + i])
				continue;
			watch->targets[first + i] = 0;
			watch->n_missing--;
		}
	}
}

/* From now on, each process that can run has to complete operations. */
static unsigned int watch_begin(struct driver *driver, unsigned int victim, bool of_stop)
{
	unsigned int w, at, n, i;
	struct ledger_writer *writer;
	struct watch *watch;
	size_t idx;

	for (w = 0; w < WATCHES_MAX && driver->watches[w].used; w++)
		;
	if (w == WATCHES_MAX)
		return NO_PLACE; /* so many are open that one more tells nothing new */
	watch = &driver->watches[w];
	watch->used = true;
	watch->of_stop = of_stop;
	watch->victim = victim;
	watch->n_missing = 0;
	memset(watch->targets, 0, driver->ledger->n_writers * sizeof(*watch->targets));
	for (at = 0; at <= ledger_auditor_place(driver->ledger); at++) {
		if (at == victim || !driver->places[at].pid || driver->places[at].killed ||
		    driver->places[at].stop_sent ||
		    atomic_load(&driver->ledger->processes[at].state) == PROCESS_FINISHED)
			continue;
		writer = ledger_writers_of(driver->ledger, at, &n);
		for (i = 0; i < n; i++) {
			idx = (size_t)(writer + i - driver->ledger->writers);
			watch->targets[idx] = atomic_load(&writer[i].ops) + OPS_TO_PASS;
			watch->n_missing++;
		}
	}
	return w;
}

static void watches_update(struct driver *driver)
{
	struct watch *watch;
	unsigned int w, i;

	for (w = 0; w < WATCHES_MAX; w++) {
		watch = &driver->watches[w];
		if (!watch->used)
			continue;
		for (i = 0; watch->n_missing && i < driver->ledger->n_writers; i++) {
			if (watch->targets[i] &&
			    atomic_load(&driver->ledger->writers[i].ops) >= watch->targets[i]) {
				watch->targets[i] = 0;
				watch->n_missing--;
			}
		}
		if (watch->n_missing)
			continue;
		watch->used = false;
		if (watch->of_stop) {
			driver->figures->passed_stops++;
			driver->places[watch->victim].watch = NO_PLACE;
		} else {
			driver->figures->passed_kills++;
		}
	}
}

static void describe_troubled(const struct driver *driver, char *text, size_t cap)
{
	size_t len = 0;
	unsigned int at;

	text[0] = '\0';
	for (at = 0; at < driver->ledger->procs && len + 40 < cap; at++) {
		if (driver->places[at].stopped)
			len += (size_t)snprintf(text + len, cap - len, ", process %u is stopped", at);
		else if (!driver->places[at].pid)
			len += (size_t)snprintf(text + len, cap - len, ", process %u is dead", at);
	}
}

/* A thread that can run and completes nothing at all waits for something. */
static void pulses_check(struct driver *driver, uint64_t now, unsigned int patience)
{
	uint64_t limit_ns = (uint64_t)driver->opts->watchdog_s * patience * 1000 * MS;
	struct ledger_writer *writer;
	unsigned int at, n, i;
	struct pulse *pulse;
	uint64_t ops, start;
	char troubled[160];

	for (at = 0; at < driver->n_places; at++) {
		if (!driver->places[at].pid)
			continue;
		if (driver->places[at].stop_sent || driver->places[at].killed) {
			pulses_restart(driver, at, now);
			continue;
		}
		writer = ledger_writers_of(driver->ledger, at, &n);
		pulse = driver->pulses + (writer - driver->ledger->writers);
		for (i = 0; i < n; i++, writer++, pulse++) {
			ops = atomic_load(&writer->ops);
			if (ops != pulse->ops) {
				pulse->ops = ops;
				pulse->since_ns = now;
			}
			/* A process may have been started after the loop looked at the clock. */
			if (now < pulse->since_ns || now - pulse->since_ns < limit_ns)
				continue;
			start = atomic_load(&writer->op_start_ns);
			describe_troubled(driver, troubled, sizeof(troubled));
			FAIL(driver,
			     "somebody waits: process %u (pid %d) thread %u has completed nothing for "
			     "%.0f s; it is in %s since %.1f s%s", at, (int)driver->places[at].pid, i,
			     (double)(now - pulse->since_ns) / 1e9,
			     start ? stress_op_name(atomic_load(&writer->op)) : "no operation",
			     start && start < now ? (double)(now - start) / 1e9 : 0.0, troubled);
			return;
		}
	}
}

/* ---- deaths and stops ------------------------------------------------------------ */

static void collect_unsettled(struct driver *driver, unsigned int at)
{
	size_t need = driver->n_unsettled + driver->ledger->threads;
	struct unsettled *more;

	if (at >= driver->ledger->procs)
		return;
	if (need > driver->unsettled_cap) {
		more = realloc(driver->unsettled, (need + 256) * sizeof(*more));
		if (!more) {
			FAIL(driver, "no memory");
			return;
		}
		driver->unsettled = more;
		driver->unsettled_cap = need + 256;
	}
	driver->n_unsettled += ledger_collect(driver->ledger, at,
					      driver->unsettled + driver->n_unsettled);
}

static void count_kill(struct driver *driver, unsigned int at)
{
	driver->figures->kills++;
	driver->figures->kills_of_stopped += driver->places[at].stopped;
	atomic_fetch_add(&driver->ledger->head->deaths, 1);
}

static void count_stop(struct driver *driver, unsigned int at, uint64_t now)
{
	struct place *place = &driver->places[at];

	place->stop_sent = true;
	place->resume_at_ns = now + stress_random_below(&driver->random, 200) * MS;
	driver->figures->stops++;
}

static void on_exit_of(struct driver *driver, unsigned int at, int status)
{
	struct place *place = &driver->places[at];
	int r;

	if (place->aimed == AIM_KILL && WIFSIGNALED(status) && !place->killed) {
		place->killed = true;
		count_kill(driver, at);
	}
	collect_unsettled(driver, at);
	watches_excuse(driver, at);
	if (place->watch != NO_PLACE)
		driver->watches[place->watch].used = false;
	place->watch = NO_PLACE;
	place->pid = 0;
	place->stop_sent = place->stopped = false;
	atomic_store(&driver->ledger->processes[at].state, PROCESS_NONE);

	if (place->history) {
		r = history_trim(place->history);
		if (r < 0)
			FAIL(driver, "cannot trim %s: %s", place->history, strerror(-r));
		free(place->history);
		place->history = NULL;
	}
	if (WIFSIGNALED(status) && !(place->killed && WTERMSIG(status) == SIGKILL))
		FAIL(driver, "process %u died of signal %d (%s)", at, WTERMSIG(status),
		     strsignal(WTERMSIG(status)));
	else if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && !has_failed(driver))
		FAIL(driver, "process %u ended with status %d", at, WEXITSTATUS(status));
	if (place->killed)
		watch_begin(driver, at, false);
	place->killed = false;
	place->aimed = AIM_NOTHING;
}

/* Whatever the kernel has to tell of the children. */
static void reap(struct driver *driver)
{
	struct place *place;
	unsigned int at;
	int status;

	for (at = 0; at < driver->n_places; at++) {
		place = &driver->places[at];
		if (!place->pid || waitpid(place->pid, &status, WNOHANG | WUNTRACED) <= 0)
			continue;
		if (WIFSTOPPED(status)) {
			/* Too late: everybody shall end now. */
			if (atomic_load(&driver->ledger->head->stop)) {
				kill(place->pid, SIGCONT);
				continue;
			}
			if (!place->stop_sent)
				count_stop(driver, at, ledger_now_ns());
			place->aimed = AIM_NOTHING;
			place->stopped = true;
			watches_excuse(driver, at);
			place->watch = watch_begin(driver, at, true);
			continue;
		}
		on_exit_of(driver, at, status);
		/* The next one comes at once, or a little later, so that others may recover first. */
		place->start_at_ns = ledger_now_ns() + stress_random_below(&driver->random, 50) * MS;
	}
}

/* A worker that runs, or NO_PLACE. */
static unsigned int draw_victim(struct driver *driver)
{
	unsigned int n = driver->ledger->procs, i, at;
	unsigned int first = (unsigned int)stress_random_below(&driver->random, n);

	for (i = 0; i < n; i++) {
		at = (first + i) % n;
		if (driver->places[at].pid && !driver->places[at].killed &&
		    !driver->places[at].stop_sent && !driver->places[at].aimed)
			return at;
	}
	return NO_PLACE;
}

static void kill_place(struct driver *driver, unsigned int at)
{
	struct place *place = &driver->places[at];

	place->killed = true;
	count_kill(driver, at);
	watches_excuse(driver, at);
	kill(place->pid, SIGKILL);
}

static void stop_place(struct driver *driver, unsigned int at, uint64_t now)
{
	struct place *place = &driver->places[at];

	count_stop(driver, at, now);
	watches_excuse(driver, at);
	kill(place->pid, SIGSTOP);
}

/* Not now, but when it comes by a certain place. Until then it is a process like any other. */
static void ask(struct driver *driver, unsigned int at, enum aim_action action)
{
	driver->places[at].aimed = action;
	aim_at(driver->ledger, at, action, &driver->random);
}

/* Enough have shown that they do not need it: it goes on where it was, or never does. */
static void resume_due(struct driver *driver, uint64_t now)
{
	struct place *place;
	unsigned int at;

	for (at = 0; at < driver->ledger->procs; at++) {
		place = &driver->places[at];
		if (!place->stopped || place->killed || place->watch != NO_PLACE ||
		    now < place->resume_at_ns)
			continue;
		if (stress_random_one_in(&driver->random, 3)) {
			kill_place(driver, at);
			continue;
		}
		place->stop_sent = place->stopped = false;
		pulses_restart(driver, at, now);
		kill(place->pid, SIGCONT);
	}
}

static unsigned int count_stopped(const struct driver *driver)
{
	unsigned int n = 0, at;

	for (at = 0; at < driver->ledger->procs; at++)
		n += driver->places[at].stop_sent || driver->places[at].aimed == AIM_STOP;
	return n;
}

static void make_trouble(struct driver *driver, uint64_t now)
{
	const struct stress_options *opts = driver->opts;
	unsigned int victim;

	if (opts->kill_rate > 0 && now >= driver->kill_at_ns) {
		driver->kill_at_ns = now + stress_random_pause_ns(&driver->random, opts->kill_rate);
		victim = draw_victim(driver);
		if (victim != NO_PLACE && opts->aim)
			ask(driver, victim, AIM_KILL);
		else if (victim != NO_PLACE)
			kill_place(driver, victim);
	}
	if (opts->stop_rate > 0 && now >= driver->stop_at_ns) {
		driver->stop_at_ns = now + stress_random_pause_ns(&driver->random, opts->stop_rate);
		/* One worker at least goes on; a lone worker is watched by the auditor. */
		victim = NO_PLACE;
		if (count_stopped(driver) + 1 < driver->ledger->procs || driver->ledger->procs == 1)
			victim = draw_victim(driver);
		if (victim != NO_PLACE && opts->aim)
			ask(driver, victim, AIM_STOP);
		else if (victim != NO_PLACE)
			stop_place(driver, victim, now);
	}
}

/* ---- the run --------------------------------------------------------------------- */

/* By the workers: what the auditor reads comes on top. */
static uint64_t total_ops(const struct ledger *ledger)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < ledger->plan.writers; i++)
		sum += atomic_load_explicit(&ledger->writers[i].ops, memory_order_relaxed);
	return sum;
}

static bool is_over(struct driver *driver, uint64_t now, uint64_t ops)
{
	if (interrupted)
		driver->figures->interrupted = true;
	return interrupted || has_failed(driver) || driver->figures->clients_used_up ||
	       (driver->opts->ops && ops >= driver->opts->ops) ||
	       (driver->end_ns && now >= driver->end_ns);
}

/* Keys in play rise evenly with time or operations, whichever is further. */
static void grow(struct driver *driver, uint64_t now, uint64_t ops)
{
	const struct stress_options *opts = driver->opts;
	const struct key_plan *plan = &driver->ledger->plan;
	uint64_t from = key_plan_owned(plan, opts->keys_start);
	uint64_t to = plan->n[KEY_OWNED];
	double share = 0, by_ops;

	if (opts->history || from >= to)
		return;
	if (driver->end_ns)
		share = (double)(now - driver->start_ns) /
			((double)(driver->end_ns - driver->start_ns) * GROWTH_SHARE);
	if (opts->ops) {
		by_ops = (double)ops / ((double)opts->ops * GROWTH_SHARE);
		share = by_ops > share ? by_ops : share;
	}
	if (share < 1)
		to = from + (uint64_t)((double)(to - from) * share);
	atomic_store(&driver->ledger->head->owned_active, to);
}

static void start_due(struct driver *driver, uint64_t now)
{
	unsigned int at;

	for (at = 0; at < driver->ledger->procs; at++)
		if (!driver->places[at].pid && driver->places[at].start_at_ns &&
		    now >= driver->places[at].start_at_ns)
			start_process(driver, at);
}

static void sleep_until_something(const struct driver *driver)
{
	struct timespec tick = { .tv_nsec = TICK_NS };

	ppoll(NULL, 0, &tick, &driver->wait_mask);
}

static void run_load(struct driver *driver)
{
	const struct stress_options *opts = driver->opts;
	uint64_t now = ledger_now_ns(), ops;
	unsigned int at;

	driver->start_ns = now;
	if (opts->seconds > 0)
		driver->end_ns = now + (uint64_t)(opts->seconds * 1e9);
	if (opts->kill_rate > 0)
		driver->kill_at_ns = now + stress_random_pause_ns(&driver->random, opts->kill_rate);
	if (opts->stop_rate > 0)
		driver->stop_at_ns = now + stress_random_pause_ns(&driver->random, opts->stop_rate);
	progress_init(&driver->progress, now);
	grow(driver, now, 0);
	for (at = 0; at < driver->ledger->procs; at++)
		start_process(driver, at);
	if (!opts->history)
		start_process(driver, ledger_auditor_place(driver->ledger));

	for (;;) {
		reap(driver);
		now = ledger_now_ns();
		ops = total_ops(driver->ledger);
		if (is_over(driver, now, ops))
			break;
		grow(driver, now, ops);
		start_due(driver, now);
		watches_update(driver);
		resume_due(driver, now);
		pulses_check(driver, now, 1);
		make_trouble(driver, now);
		progress_tick(&driver->progress, now, driver->start_ns, driver->ledger, driver->kv,
			      driver->figures);
		sleep_until_something(driver);
	}
	driver->figures->seconds = (double)(ledger_now_ns() - driver->start_ns) / 1e9;
}

static unsigned int count_watches(const struct driver *driver)
{
	unsigned int n = 0, w;

	for (w = 0; w < WATCHES_MAX; w++)
		n += driver->watches[w].used;
	return n;
}

/*
 * Who was stopped last stays stopped until the others have shown that they do not need it:
 * to let it go on at the end of the run would help out a map that waits.
 */
static void run_out(struct driver *driver)
{
	while (!has_failed(driver) && count_watches(driver)) {
		sleep_until_something(driver);
		reap(driver);
		watches_update(driver);
		pulses_check(driver, ledger_now_ns(), 1);
	}
}

static unsigned int count_children(const struct driver *driver)
{
	unsigned int n = 0, at;

	for (at = 0; at < driver->n_places; at++)
		n += driver->places[at].pid != 0;
	return n;
}

static void kill_children(struct driver *driver)
{
	struct place *place;
	unsigned int at;
	int status;

	for (at = 0; at < driver->n_places; at++) {
		place = &driver->places[at];
		if (!place->pid)
			continue;
		kill(place->pid, SIGKILL);
		while (waitpid(place->pid, &status, 0) < 0 && errno == EINTR)
			;
		place->killed = true;
		on_exit_of(driver, at, status);
	}
}

static void resume_all(struct driver *driver)
{
	unsigned int at;

	for (at = 0; at < driver->n_places; at++) {
		aim_withdraw(driver->ledger, at);
		if (!driver->places[at].stop_sent)
			continue;
		driver->places[at].stop_sent = driver->places[at].stopped = false;
		kill(driver->places[at].pid, SIGCONT);
	}
}

/* Everybody ends by himself; who does not, waits for something, and that is a failure. */
static void wait_for_children(struct driver *driver, unsigned int patience)
{
	uint64_t failed_ns = 0, now;
	unsigned int at;

	for (at = 0; at < driver->n_places; at++)
		pulses_restart(driver, at, ledger_now_ns());
	for (;;) {
		reap(driver);
		if (count_children(driver) == 0)
			return;
		now = ledger_now_ns();
		pulses_check(driver, now, patience);
		if (has_failed(driver) && !failed_ns)
			failed_ns = now;
		/* After a failure they get two seconds to tell theirs. */
		if (failed_ns && now - failed_ns > (uint64_t)2000 * MS)
			break;
		sleep_until_something(driver);
	}
	kill_children(driver);
}

static void run_final(struct driver *driver)
{
	driver->progress.drawn = driver->progress.drawn && driver->progress.terminal;
	progress_say(&driver->progress, "all quiet: recovering and checking");
	start_process(driver, ledger_final_place(driver->ledger));
	/* Recovery and check are single calls that walk over the whole segment. */
	wait_for_children(driver, 10);
}

static int driver_init(struct driver *driver)
{
	unsigned int i;

	driver->n_places = driver->ledger->procs + 2;
	driver->places = calloc(driver->n_places, sizeof(*driver->places));
	driver->pulses = calloc(driver->ledger->n_writers, sizeof(*driver->pulses));
	if (!driver->places || !driver->pulses)
		return -ENOMEM;
	for (i = 0; i < driver->n_places; i++)
		driver->places[i].watch = NO_PLACE;
	for (i = 0; i < WATCHES_MAX; i++) {
		driver->watches[i].targets = calloc(driver->ledger->n_writers, sizeof(uint64_t));
		if (!driver->watches[i].targets)
			return -ENOMEM;
	}
	return 0;
}

static void driver_deinit(struct driver *driver)
{
	unsigned int i;

	for (i = 0; i < WATCHES_MAX; i++)
		free(driver->watches[i].targets);
	free(driver->unsettled);
	free(driver->pulses);
	free(driver->places);
}

void driver_run(const struct stress_options *opts, struct ledger *ledger, const char *segment,
		struct shmkv *kv, struct driver_figures *figures)
{
	struct driver driver = {
		.opts = opts,
		.ledger = ledger,
		.segment = segment,
		.kv = kv,
		.figures = figures,
		.random = { .state = stress_mix(opts->seed) },
		.self = getpid(),
	};

	memset(figures, 0, sizeof(*figures));
	if (driver_init(&driver) < 0) {
		FAIL(&driver, "no memory");
		driver_deinit(&driver);
		return;
	}
	atomic_store(&ledger->head->owned_active, key_plan_owned(&ledger->plan, opts->keys_start));
	ledger->head->stats_before.size = sizeof(ledger->head->stats_before);
	if (shmkv_stats(kv, &ledger->head->stats_before) < 0)
		FAIL(&driver, "cannot read the statistics");
	signals_take(&driver);
	run_load(&driver);
	run_out(&driver);
	atomic_store(&ledger->head->stop, 1);
	resume_all(&driver);
	wait_for_children(&driver, 1);
	figures->points_hit = aim_points_hit(ledger);
	if (!has_failed(&driver))
		run_final(&driver);
	signals_give_back(&driver);
	driver_deinit(&driver);
}

void driver_sum(const struct ledger *ledger, struct driver_sums *sums)
{
	const struct ledger_writer *writer;
	uint64_t longest;
	unsigned int i, op, call;

	memset(sums, 0, sizeof(*sums));
	sums->ops = total_ops(ledger);
	for (i = 0; i < ledger->n_writers; i++) {
		writer = &ledger->writers[i];
		sums->conflicts += atomic_load(&writer->conflicts);
		sums->full += atomic_load(&writer->full);
		sums->checked += atomic_load(&writer->checked);
		sums->settled += atomic_load(&writer->settled);
		sums->scans += atomic_load(&writer->scans);
		sums->verified += atomic_load(&writer->verified);
		sums->undecided += atomic_load(&writer->undecided);
		for (call = 0; call < LEDGER_CALLS; call++)
			sums->calls[call] += atomic_load(&writer->calls[call]);
		sums->waits += atomic_load(&writer->waits);
		sums->waits_awake += atomic_load(&writer->waits_awake);
		sums->wait_ns += atomic_load(&writer->wait_ns);
		sums->wait_cpu_ns += atomic_load(&writer->wait_cpu_ns);
		for (op = 0; op < STRESS_OPS; op++) {
			sums->count[op] += atomic_load(&writer->count[op]);
			longest = atomic_load(&writer->longest_ns[op]);
			if (longest > sums->longest_ns[op])
				sums->longest_ns[op] = longest;
		}
	}
}

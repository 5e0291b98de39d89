/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli-info.h"
#include "cli-report.h"
#include "top-screen.h"

/* How many of the fullest leaves a single sample tells. */
#define LEAVES_ONCE 10

/* ---- one sample -------------------------------------------------------------------- */

static void once_text(struct cli_call *call, const struct top_sample *sample)
{
	struct out *out = &call->cli->out;
	const struct top_participant *p;
	const struct top_leaf *leaf;

	out_format(out, "segment %s\n", call->segment);
	out_format(out, "linked %s\n", sample->name == TOP_NAME_SAME ? "yes" : "no");
	out_format(out, "keys %" PRIu64 "\n", sample->count);
	out_format(out, "seconds %.3f\n", sample->seconds);
	for (size_t i = 0; i < top_n_rates; i++)
		out_format(out, "%s/s %.1f\n", top_rates[i].name, top_rate_of(sample, &top_rates[i]));
	out_format(out, "max_bytes %" PRIu64 "\n", sample->info.max_bytes);
	out_format(out, "reserved_bytes %" PRIu64 "\n", sample->info.reserved_bytes);
	out_format(out, "record_bytes %" PRIu64 "\n", sample->memory.record_bytes);
	out_format(out, "held_bytes %" PRIu64 "\n", sample->memory.held_bytes);
	out_format(out, "free_block_bytes %" PRIu64 "\n", sample->memory.free_block_bytes);
	out_format(out, "free_stretch_bytes %" PRIu64 "\n", sample->memory.free_stretch_bytes);
	for (size_t i = 0; i < sample->n_people; i++) {
		p = &sample->people[i];
		out_format(out,
			   "process %" PRIu64 " %s %s threads %" PRIu32 " pins %" PRIu32
			   " reserved %" PRIu32 " calls %" PRIu64 " calls/s %.1f\n",
			   p->p.pid, p->p.state, p->p.doing, p->p.threads, p->p.pins,
			   p->p.reservations, p->p.calls, p->calls_per_s);
	}
	for (size_t i = 0; i < sample->n_leaves && i < LEAVES_ONCE; i++) {
		leaf = &sample->leaves[i];
		out_format(out, "leaf %" PRIu64 " depth %" PRIu32 " live %" PRIu32 " dead %" PRIu32
				" empty %" PRIu32 "\n",
			   leaf->id, leaf->depth, leaf->live, leaf->dead, leaf->empty);
	}
}

static void emit_rate(struct emitter *e, const char *name, double rate)
{
	emit_key(e, name);
	emit_double(e, rate);
}

static void emit_person(struct emitter *e, const struct top_participant *p)
{
	emit_object_begin(e);
	cli_emit_participant(e, &p->p);
	emit_rate(e, "calls_per_s", p->calls_per_s);
	emit_object_end(e);
}

static void emit_leaf(struct emitter *e, const struct top_leaf *leaf)
{
	emit_object_begin(e);
	emit_member_uint(e, "id", leaf->id);
	emit_member_uint(e, "depth", leaf->depth);
	emit_member_uint(e, "prefix", leaf->prefix);
	emit_member_uint(e, "live", leaf->live);
	emit_member_uint(e, "dead", leaf->dead);
	emit_member_uint(e, "empty", leaf->empty);
	emit_object_end(e);
}

static void once_json(struct cli_call *call, const struct top_sample *sample)
{
	struct emitter e;

	cli_emitter(call, &e);
	emit_object_begin(&e);
	emit_member_string(&e, "segment", call->segment);
	emit_key(&e, "linked");
	emit_bool(&e, sample->name == TOP_NAME_SAME);
	emit_member_uint(&e, "count", sample->count);
	emit_rate(&e, "seconds", sample->seconds);
	emit_key(&e, "per_second");
	emit_object_begin(&e);
	for (size_t i = 0; i < top_n_rates; i++)
		emit_rate(&e, top_rates[i].name, top_rate_of(sample, &top_rates[i]));
	emit_object_end(&e);
	emit_member_uint(&e, "max_bytes", sample->info.max_bytes);
	emit_member_uint(&e, "reserved_bytes", sample->info.reserved_bytes);
	cli_show_stats(call, &e, &sample->stats);
	cli_show_memory(call, &e, &sample->memory);
	emit_key(&e, "participants");
	emit_array_begin(&e);
	for (size_t i = 0; i < sample->n_people; i++)
		emit_person(&e, &sample->people[i]);
	emit_array_end(&e);
	emit_key(&e, "leaves");
	emit_array_begin(&e);
	for (size_t i = 0; i < sample->n_leaves && i < LEAVES_ONCE; i++)
		emit_leaf(&e, &sample->leaves[i]);
	emit_array_end(&e);
	emit_object_end(&e);
	cli_end_line(call);
}

/* Rates need two looks; signals end it as they end any program. */
static int top_once(struct cli_call *call, const struct top_settings *settings)
{
	struct top_sample sample = { 0 };
	struct timespec t = { .tv_sec = (time_t)settings->interval_s };
	int r = top_sample_take(&sample, call->kv);

	t.tv_nsec = (long)((settings->interval_s - (double)t.tv_sec) * 1e9);
	while (r == 0 && nanosleep(&t, &t) < 0 && errno == EINTR)
		;
	if (r == 0) {
		/* The long look is made anew, too. */
		sample.looked_at = 0;
		r = top_sample_take(&sample, call->kv);
	}
	if (r == 0) {
		top_sort(&sample, settings->sort, settings->reverse);
		if (call->json)
			once_json(call, &sample);
		else
			once_text(call, &sample);
	}
	top_sample_free(&sample);
	return r < 0 ? cli_fail(call, r) : TOOL_OK;
}

/* ---- watching ---------------------------------------------------------------------- */

struct watch {
	struct cli_call *call;
	struct top_settings settings;
	struct top_sample sample;
	int signals; /* descriptor */
	bool leave;
	int r; /* of the library; ends it */
};

/* Another segment has the name by now. */
static void open_new(struct watch *watch)
{
	struct shmkv *kv;

	if (watch->sample.name != TOP_NAME_OTHER ||
	    shmkv_attach(watch->call->segment, SHMKV_READ_ONLY, &kv) < 0)
		return;
	shmkv_detach(watch->call->kv);
	watch->call->kv = kv;
	top_sample_free(&watch->sample);
	watch->r = top_sample_take(&watch->sample, kv);
}

/* Steps that people find round: 0.1, 0.2, 0.5, 1, 2, 5 ... */
static double next_interval(double interval, bool longer)
{
	static const double steps[] = { 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600 };
	const size_t n = sizeof(steps) / sizeof(steps[0]);

	for (size_t i = 0; i < n; i++) {
		if (longer && steps[i] > interval * 1.001)
			return steps[i];
		if (!longer && steps[n - 1 - i] < interval * 0.999)
			return steps[n - 1 - i];
	}
	return interval;
}

static size_t rows(const struct watch *watch)
{
	size_t n = watch->sample.n_people;

	if (watch->settings.view == TOP_VIEW_LEAVES)
		return watch->sample.n_leaves;
	if (watch->settings.view == TOP_VIEW_CLASSES)
		return watch->sample.memory.n_classes;
	return watch->settings.view == TOP_VIEW_ALL && watch->sample.n_leaves > n ?
		       watch->sample.n_leaves :
		       n;
}

static void on_key(struct watch *watch, int key)
{
	struct top_settings *s = &watch->settings;

	switch (top_screen_command(key)) {
	case TOP_QUIT:
		watch->leave = true;
		break;
	case TOP_PAUSE:
		s->paused = !s->paused;
		break;
	case TOP_VIEW:
		s->view = (s->view + 1) % TOP_VIEW_N;
		s->scroll = 0;
		break;
	case TOP_SORT:
		s->sort = (s->sort + 1) % TOP_SORT_N;
		break;
	case TOP_REVERSE:
		s->reverse = !s->reverse;
		break;
	case TOP_SLOWER:
		s->interval_s = next_interval(s->interval_s, true);
		break;
	case TOP_FASTER:
		s->interval_s = next_interval(s->interval_s, false);
		break;
	case TOP_UP:
		s->scroll -= s->scroll > 0;
		break;
	case TOP_DOWN:
		s->scroll += s->scroll + 1 < rows(watch);
		break;
	case TOP_OPEN:
		open_new(watch);
		break;
	default:
		break;
	}
}

static void on_signal(struct watch *watch)
{
	struct signalfd_siginfo info;

	if (read(watch->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		top_screen_resize();
	else
		watch->leave = true;
}

/* Until it is time for the next sample, or somebody wants something. */
static void wait_for_something(struct watch *watch)
{
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN },
				{ .fd = watch->signals, .events = POLLIN } };
	double left = watch->sample.when + watch->settings.interval_s - top_now();
	int key, n;

	if (watch->settings.paused)
		n = poll(fds, 2, -1);
	else
		n = poll(fds, 2, left > 0 ? (int)(left * 1000) + 1 : 0);
	if (n <= 0)
		return;
	if (fds[1].revents)
		on_signal(watch);
	if (fds[0].revents & POLLIN) {
		while ((key = top_screen_key()) >= 0)
			on_key(watch, key);
	}
	/* The terminal is gone. */
	if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))
		watch->leave = true;
}

static void watch_loop(struct watch *watch)
{
	double now;

	watch->r = top_sample_take(&watch->sample, watch->call->kv);
	while (!watch->leave && watch->r == 0) {
		top_sort(&watch->sample, watch->settings.sort, watch->settings.reverse);
		if (watch->settings.scroll >= rows(watch))
			watch->settings.scroll = 0;
		top_screen_draw(&watch->sample, &watch->settings);
		wait_for_something(watch);
		now = top_now();
		if (!watch->settings.paused && !watch->leave && watch->r == 0 &&
		    now - watch->sample.when >= watch->settings.interval_s)
			watch->r = top_sample_take(&watch->sample, watch->call->kv);
	}
}

static int top_watch(struct cli_call *call, const struct top_settings *settings)
{
	struct watch watch = { .call = call, .settings = *settings };
	sigset_t set, before;

	/* Taken one by one in the loop, so that none meets the screen half drawn. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, &before);
	watch.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (watch.signals < 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		return cli_fail(call, errno == EMFILE || errno == ENFILE ? -EMFILE : -ENOMEM);
	}
	if (!top_screen_begin()) {
		close(watch.signals);
		sigprocmask(SIG_SETMASK, &before, NULL);
		return cli_usage(call, "this terminal (TERM) is unknown; --once needs none");
	}
	watch_loop(&watch);
	top_screen_end();
	top_sample_free(&watch.sample);
	close(watch.signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return watch.r < 0 ? cli_fail(call, watch.r) : TOOL_OK;
}

/* ---- a file that was cut short ----------------------------------------------------- */

static const struct cli_call *looking;

/*
 * The mapping has lost its file. The fault lies in our own reading, never inside the screen's
 * functions, so the terminal can be put in order here; there is nothing to return to.
 */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	const struct reporter rep = { "shmkv", "top", looking->segment, looking->json };

	(void)context;
	if (info->si_code != BUS_ADRERR) {
		/* Not ours: somebody sent it, or the memory is broken. It comes again on return. */
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	top_screen_end();
	_exit(report_problem(&rep, TOOL_DAMAGED, "EBADMSG",
			     "make a new one; its memory is gone for all who use it",
			     "the file of the segment was truncated"));
}

/* ---- the verb ---------------------------------------------------------------------- */

static int top_run(struct cli_call *call, const struct top_settings *settings)
{
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, before;
	int code;

	looking = call;
	sigemptyset(&fault.sa_mask);
	sigaction(SIGBUS, &fault, &before);
	code = call->once ? top_once(call, settings) : top_watch(call, settings);
	sigaction(SIGBUS, &before, NULL);
	return code;
}

int cli_top(struct cli_call *call)
{
	struct top_settings settings = { .segment = call->segment, .interval_s = call->interval_s,
					 .sort = (enum top_sort)call->sort };

	if (settings.interval_s == 0)
		settings.interval_s = 1;
	if (call->json && !call->once)
		return cli_usage(call, "--json needs --once");
	if (!call->once && (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)))
		return cli_usage(call, "top needs a terminal; --once needs none");
	return top_run(call, &settings);
}

/* SPDX-License-Identifier: MIT */
#include "bench/peer-plot.h"

#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define PEERS_MAX 32u

/* What a picture has along its bottom. */
enum axis { BY_ENTRIES, BY_VALUE, BY_WORKERS };

static const char *const axis_names[] = { "entries", "value", "workers" };
static const char *const axis_titles[] = { "entries", "bytes of a value", "workers" };

static double place(const struct cell *cell, enum axis axis)
{
	return axis == BY_ENTRIES ? (double)cell->entries :
	       axis == BY_VALUE ? (double)cell->value_len : cell->workers;
}

static bool is_large(const struct cell *cell)
{
	return cell->value_len > PEER_BATCH_VALUE_MAX;
}

/* All but the axis is that of the base. */
static bool is_on(const struct cell *cell, const struct cell *base, enum axis axis)
{
	return cell->work == base->work && cell->skew == base->skew && !is_large(cell) &&
	       (axis == BY_ENTRIES || cell->entries == base->entries) &&
	       (axis == BY_VALUE || cell->value_len == base->value_len) &&
	       (axis == BY_WORKERS || cell->workers == base->workers);
}

/* "50/50" is no name of a file. */
static const char *file_name(enum work work)
{
	return work == WORK_MIX_50 ? "mix-50" : work_name(work);
}

static FILE *open_data(const char *folder, const char *name)
{
	char path[PATH_SIZE];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	if (!f)
		fprintf(stderr, "shmkv-bench: %s could not be written\n", path);
	return f;
}

/* Which peers have a block of lines in a file, in their order there. */
struct blocks {
	unsigned int peers[PEERS_MAX], n;
};

static void throughput_data(FILE *f, const struct cells *cells, const struct cell *base,
			    enum axis axis, struct blocks *blocks)
{
	const struct cell *cell;
	bool some;
	size_t i, k;

	for (k = 0; peers[k] && k < PEERS_MAX; k++) {
		some = false;
		for (i = 0; i < cells->n; i++) {
			cell = cells->cells[i];
			if (cell->peer != peers[k] || !is_on(cell, base, axis))
				continue;
			some = true;
			fprintf(f, "%g %g\n", place(cell, axis), 1000 / cell->median);
		}
		if (!some)
			continue;
		fprintf(f, "\n\n");
		blocks->peers[blocks->n++] = (unsigned int)k;
	}
}

/* A peer has the same colour in every picture; shmkv is the thick line. */
static void plot(FILE *script, const char *data, const char *style, const struct blocks *blocks)
{
	unsigned int i;

	fprintf(script, "plot");
	for (i = 0; i < blocks->n; i++)
		fprintf(script, "%s '%s' index %u with %s linetype %u linewidth %u title '%s'",
			i ? ", \\\n    " : "", data, i, style, blocks->peers[i] + 1,
			blocks->peers[i] == 0 ? 4 : 2, peers[blocks->peers[i]]->name);
	fprintf(script, "\n");
}

/* One place makes no line. */
static bool is_measured_along(const struct cells *cells, const struct cell *base, enum axis axis)
{
	size_t i;

	for (i = 0; i < cells->n; i++)
		if (is_on(cells->cells[i], base, axis) &&
		    place(cells->cells[i], axis) != place(base, axis))
			return true;
	return false;
}

static int throughput(FILE *script, const struct cells *cells, const char *folder,
		      const struct cell *base, enum axis axis)
{
	char name[64], data[80], label[32], rest[96];
	struct blocks blocks = { .n = 0 };
	FILE *f;

	if (!is_measured_along(cells, base, axis))
		return 0;
	cell_label(base, label, sizeof(label));
	snprintf(name, sizeof(name), "%s-by-%s", file_name(base->work), axis_names[axis]);
	snprintf(data, sizeof(data), "%s.dat", name);
	f = open_data(folder, data);
	if (!f)
		return 1;
	throughput_data(f, cells, base, axis, &blocks);
	if (fclose(f))
		return 1;
	if (axis == BY_ENTRIES)
		snprintf(rest, sizeof(rest), "values of %zu bytes, one worker", base->value_len);
	else if (axis == BY_VALUE)
		snprintf(rest, sizeof(rest), "%llu entries, one worker", (unsigned long long)base->entries);
	else
		snprintf(rest, sizeof(rest), "%llu entries, values of %zu bytes",
			 (unsigned long long)base->entries, base->value_len);
	fprintf(script, "set output '%s.svg'\nset title '%s: %s'\nset xlabel '%s'\n"
			"set ylabel 'million operations per second'\n%s\nset logscale y\n",
		name, label, rest, axis_titles[axis],
		axis == BY_WORKERS ? "unset logscale x\nset xrange [0.8:2.2]\nset xtics 1" :
				     "set logscale x\nset xrange [*:*]\nset xtics auto");
	plot(script, data, "linespoints", &blocks);
	return 0;
}

static unsigned int number_of(const struct peer *peer)
{
	unsigned int i;

	for (i = 0; peers[i] && i < PEERS_MAX - 1; i++)
		if (peers[i] == peer)
			break;
	return i;
}

/* How many of all calls, in percent, took longer than so many nanoseconds. */
static void latency_data(FILE *f, const struct cell *cell)
{
	const struct histogram *h = &cell->latency;
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (h->counts[i] == 0)
			continue;
		sum += h->counts[i];
		if (sum < h->n)
			fprintf(f, "%llu %g\n", (unsigned long long)histogram_bound(i),
				100 * (double)(h->n - sum) / (double)h->n);
	}
	fprintf(f, "\n\n");
}

static int latency(FILE *script, const struct cells *cells, const char *folder, const struct cell *base)
{
	struct blocks blocks = { .n = 0 };
	char data[64], label[32];
	const struct cell *cell;
	FILE *f;
	size_t i;

	cell_label(base, label, sizeof(label));
	snprintf(data, sizeof(data), "%s-latency.dat", file_name(base->work));
	f = open_data(folder, data);
	if (!f)
		return 1;
	for (i = 0; i < cells->n; i++) {
		cell = cells->cells[i];
		if (base->work == WORK_GROW ? cell->work != WORK_GROW :
					      !is_on(cell, base, BY_WORKERS) || cell->workers != 1)
			continue;
		/* In every lap again: the first will do. */
		if (cell->lap != base->lap && peer_is_in_every_lap(cell->peer))
			continue;
		latency_data(f, cell);
		blocks.peers[blocks.n++] = number_of(cell->peer);
	}
	if (fclose(f))
		return 1;
	fprintf(script, "set output '%s-latency.svg'\nset title '%s: how long single calls take'\n"
			"set xlabel 'ns'\nset ylabel 'percent of calls that take longer'\n"
			"set logscale xy\nset xrange [*:*]\nset xtics auto\n",
		file_name(base->work), label);
	plot(script, data, "lines", &blocks);
	return 0;
}

/* The cell of shmkv that the pictures are about, or another one of the same work. */
static const struct cell *base_of(const struct cells *cells, enum work work)
{
	const struct cell *found = NULL, *cell;
	size_t i;

	for (i = 0; i < cells->n; i++) {
		cell = cells->cells[i];
		if (cell->peer != peers[0] || cell->work != work || cell->skew > 0 || cell->workers != 1 ||
		    is_large(cell))
			continue;
		if (!found || (cell->entries == 100000 && cell->value_len == 64))
			found = cell;
	}
	return found;
}

static int script(FILE *f, const struct cells *cells, const char *folder)
{
	static const char *const colours[] = {
		"#d00000", "#000000", "#ff8080", "#909090", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b",
		"#e377c2", "#ff7f0e", "#17becf", "#bcbd22", "#005f73", "#7f4f24", "#6a994e",
	};
	static const enum work works[] = { WORK_HIT, WORK_MISS, WORK_UPDATE, WORK_INSERT, WORK_MIX_50 };
	const struct cell *base;
	enum axis axis;
	size_t i;
	int r = 0;

	fprintf(f, "set terminal svg size 900,600 dynamic noenhanced background 'white'\n"
		   "set key outside right\nset grid\n");
	for (i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		fprintf(f, "set linetype %zu linecolor rgb '%s'\n", i + 1, colours[i]);
	for (i = 0; i < sizeof(works) / sizeof(works[0]) && r == 0; i++) {
		base = base_of(cells, works[i]);
		if (!base)
			continue;
		for (axis = BY_ENTRIES; axis <= BY_WORKERS && r == 0; axis++)
			r = throughput(f, cells, folder, base, axis);
		if (r == 0)
			r = latency(f, cells, folder, base);
	}
	base = base_of(cells, WORK_GROW);
	return r == 0 && base ? latency(f, cells, folder, base) : r;
}

static int draw(const char *folder)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (chdir(folder) == 0)
			execlp("gnuplot", "gnuplot", "plots.gp", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return bench_failed("gnuplot", -EAGAIN);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		fprintf(stderr, "shmkv-bench: no pictures without gnuplot; its input is %s/plots.gp\n", folder);
		return 0;
	}
	return status ? bench_failed("gnuplot", -EIO) : 0;
}

int peer_plots(const struct cells *cells, const char *folder)
{
	FILE *f = open_data(folder, "plots.gp");
	int r;

	if (!f)
		return 1;
	r = script(f, cells, folder);
	if (fclose(f))
		r = 1;
	return r ? r : draw(folder);
}

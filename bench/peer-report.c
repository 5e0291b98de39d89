/* SPDX-License-Identifier: MIT */
#include "bench/peer-report.h"

#include "bench/peer-goals.h"
#include "bench/peer-plot.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

typedef void line_fn(FILE *f, const struct cells *cells, const struct cell *cell);

static const double shares[] = { 0.5, 0.99, 0.999, 0.9999 };

static uint64_t bytes_of(const struct cells *cells, const struct cell *cell)
{
	size_t i;

	for (i = 0; i < cells->n_memory; i++)
		if (cells->memory[i].peer == cell->peer && cells->memory[i].lap == cell->lap)
			return cells->memory[i].bytes;
	return 0;
}

static double times_shmkv(const struct cells *cells, const struct cell *cell)
{
	const struct cell *ours = cells_beside(cells, cell, peers[0]);

	return ours && ours->median > 0 ? cell->median / ours->median : 0;
}

/* ---- for programs ----------------------------------------------------------------- */

static void json_line(FILE *f, const struct cells *cells, const struct cell *cell)
{
	unsigned int i;

	fprintf(f,
		"{\"row\":\"cell\",\"peer\":\"%s\",\"work\":\"%s\",\"keys\":\"%s\",\"workers\":%u,"
		"\"entries\":%llu,\"value\":%zu,\"lap\":%u,\"rounds\":%u,\"steps\":%llu,"
		"\"ns\":%.2f,\"ns_low\":%.2f,\"ns_high\":%.2f,\"cpu_ns\":%.2f,\"mops\":%.4f,"
		"\"x_shmkv\":%.3f,\"latency_samples\":%llu",
		cell->peer->name, work_name(cell->work), cell->skew > 0 ? "zipf" : "uniform",
		cell->workers, (unsigned long long)cell->entries, cell->value_len, cell->lap,
		cell->n_rounds, (unsigned long long)cell->n, cell->median, cell->low, cell->high,
		cell->cpu_median, 1000 / cell->median, times_shmkv(cells, cell),
		(unsigned long long)cell->latency.n);
	for (i = 0; i < 4; i++)
		fprintf(f, ",\"p%g\":%llu", shares[i] * 100,
			(unsigned long long)histogram_quantile(&cell->latency, shares[i]));
	fprintf(f, ",\"max\":%llu,\"bytes_per_entry\":%.1f}\n", (unsigned long long)cell->latency.max,
		(double)bytes_of(cells, cell) / (double)cell->entries);
}

static void csv_line(FILE *f, const struct cells *cells, const struct cell *cell)
{
	unsigned int i;

	fprintf(f, "%s,%s,%s,%u,%llu,%zu,%.2f,%.2f,%.2f,%.2f,%.4f,%.3f", cell->peer->name,
		work_name(cell->work), cell->skew > 0 ? "zipf" : "uniform", cell->workers,
		(unsigned long long)cell->entries, cell->value_len, cell->median, cell->low, cell->high,
		cell->cpu_median, 1000 / cell->median, times_shmkv(cells, cell));
	for (i = 0; i < 4; i++)
		fprintf(f, ",%llu", (unsigned long long)histogram_quantile(&cell->latency, shares[i]));
	fprintf(f, ",%llu,%.1f\n", (unsigned long long)cell->latency.max,
		(double)bytes_of(cells, cell) / (double)cell->entries);
}

static void all_lines(FILE *f, const struct cells *cells, line_fn *line)
{
	size_t i;

	for (i = 0; i < cells->n; i++)
		line(f, cells, cells->cells[i]);
}

static void json_spread(FILE *f, const char *name, const struct histogram *h)
{
	fprintf(f, ",\"%s_p50\":%llu,\"%s_max\":%llu", name,
		(unsigned long long)histogram_quantile(h, 0.5), name, (unsigned long long)h->max);
}

static void json_others(FILE *f, const struct cells *cells)
{
	unsigned int k;
	size_t i;

	for (i = 0; i < cells->n_kills; i++) {
		fprintf(f, "{\"row\":\"kill\",\"peer\":\"%s\",\"trials\":%u,\"never\":%u",
			cells->kills[i]->peer->name, cells->kills[i]->trials, cells->kills[i]->never);
		json_spread(f, "undisturbed_ns", &cells->kills[i]->undisturbed);
		json_spread(f, "longest_ns", &cells->kills[i]->longest);
		json_spread(f, "recovered_ns", &cells->kills[i]->recovered);
		fprintf(f, "}\n");
	}
	for (i = 0; i < cells->n_wakes; i++) {
		fprintf(f, "{\"row\":\"wake\",\"name\":\"%s\"", cells->wakes[i]->name);
		for (k = 0; k < 4; k++)
			fprintf(f, ",\"p%g\":%llu", shares[k] * 100,
				(unsigned long long)histogram_quantile(&cells->wakes[i]->round, shares[k]));
		fprintf(f, ",\"max\":%llu}\n", (unsigned long long)cells->wakes[i]->round.max);
	}
}

static void json(FILE *f, const struct cells *cells)
{
	size_t i;

	for (i = 0; i < cells->n_limits; i++)
		fprintf(f, "{\"row\":\"limit\",\"name\":\"%s\",\"unit\":\"%s\",\"small\":%.2f,\"huge\":%.2f}\n",
			cells->limits[i].name, cells->limits[i].unit, cells->limits[i].small,
			cells->limits[i].huge);
	all_lines(f, cells, json_line);
	json_others(f, cells);
	peer_goals(f, cells, PEER_GOALS_JSON);
}

static void csv(FILE *f, const struct cells *cells)
{
	fprintf(f, "peer,work,keys,workers,entries,value,ns,ns_low,ns_high,cpu_ns,mops,x_shmkv,p50,p99,"
		   "p99.9,p99.99,max,bytes_per_entry\n");
	all_lines(f, cells, csv_line);
}

/* ---- for people ------------------------------------------------------------------- */

static void limits(const struct cells *cells)
{
	size_t i;

	printf("\nlimits of the machine               4 KiB pages   2 MiB pages\n");
	for (i = 0; i < cells->n_limits; i++) {
		printf("  %-34s %8.1f", cells->limits[i].name, cells->limits[i].small);
		if (cells->limits[i].huge > 0)
			printf("      %8.1f", cells->limits[i].huge);
		else
			printf("              ");
		printf("   %s\n", cells->limits[i].unit);
	}
}

/* Growth has tables of its own. */
static bool is_in_table(const struct cell *cell)
{
	return cell->work != WORK_GROW;
}

static bool is_same_table(const struct cell *a, const struct cell *b)
{
	return a->entries == b->entries && a->value_len == b->value_len && a->workers == b->workers &&
	       is_in_table(a) == is_in_table(b);
}

static bool is_same_row(const struct cell *a, const struct cell *b)
{
	return is_same_table(a, b) && a->peer == b->peer && a->lap == b->lap;
}

static bool is_same_column(const struct cell *a, const struct cell *b)
{
	return is_same_table(a, b) && a->work == b->work && a->skew == b->skew;
}

/* One row of a table: all cells of the peer in the lap of @first. */
static void row(const struct cells *cells, const struct cell *first)
{
	const struct cell *cell;
	size_t i;

	printf("%-18s", first->peer->name);
	for (i = 0; i < cells->n; i++) {
		cell = cells->cells[i];
		if (is_same_row(cell, first))
			printf(cell->median < 99.95 ? " %8.1f" : " %8.0f", cell->median);
	}
	printf("\n%-18s", "");
	for (i = 0; i < cells->n; i++) {
		cell = cells->cells[i];
		if (is_same_row(cell, first))
			printf(" %7.2fx", times_shmkv(cells, cell));
	}
	if (first->workers == 1)
		printf("   %.0f B", (double)bytes_of(cells, first) / (double)first->entries);
	printf("\n");
}

static bool is_first_of(const struct cells *cells, size_t at,
			bool (*is_same)(const struct cell *a, const struct cell *b))
{
	size_t i;

	for (i = 0; i < at; i++)
		if (is_same(cells->cells[i], cells->cells[at]))
			return false;
	return true;
}

static void table(const struct cells *cells, const struct cell *first)
{
	const struct cell *cell;
	unsigned int line;
	size_t i;

	printf("\n%llu entries, values of %zu bytes, %s\n", (unsigned long long)first->entries,
	       first->value_len, first->workers == 1 ? "one worker" : "two workers");
	for (line = 0; line < 2; line++) {
		printf("%-18s", line ? "" : "ns per operation");
		for (i = 0; i < cells->n; i++) {
			cell = cells->cells[i];
			if (is_same_table(cell, first) && is_first_of(cells, i, is_same_column))
				printf(" %8s", line == 0 ? work_name(cell->work) :
					       cell->skew > 0 ? "zipf" : "");
		}
		printf("\n");
	}
	for (i = 0; i < cells->n; i++)
		if (is_same_table(cells->cells[i], first) && is_first_of(cells, i, is_same_row))
			row(cells, cells->cells[i]);
}

static void latencies(const struct cells *cells, const struct cell *first)
{
	const struct cell *cell;
	unsigned int k;
	char label[32];
	size_t i;

	cell_label(first, label, sizeof(label));
	printf("\n%s: ns of one call; %llu entries, values of %zu bytes, %s\n", label,
	       (unsigned long long)first->entries, first->value_len,
	       first->workers == 1 ? "one worker" : "two workers");
	printf("%-18s %9s %9s %9s %9s %9s   %s\n", "", "p50", "p99", "p99.9", "p99.99", "max",
	       "ns per operation, half of the rounds");
	for (i = 0; i < cells->n; i++) {
		cell = cells->cells[i];
		if (!is_same_column(cell, first))
			continue;
		printf("%-18s", cell->peer->name);
		for (k = 0; k < 4; k++)
			printf(" %9llu",
			       (unsigned long long)histogram_quantile(&cell->latency, shares[k]));
		printf(" %9llu   %.1f to %.1f\n", (unsigned long long)cell->latency.max, cell->low,
		       cell->high);
	}
}

static void growth(const struct cells *cells)
{
	const struct cell *cell;
	unsigned int k;
	size_t i;

	for (i = 0; i < cells->n; i++) {
		cell = cells->cells[i];
		if (cell->work != WORK_GROW)
			continue;
		if (cell->peer == peers[0])
			printf("\ngrowth from 100000 to %llu entries, values of %zu bytes: ns of one insertion\n"
			       "%-18s %9s %9s %9s %9s %9s %9s\n",
			       (unsigned long long)cell->entries, cell->value_len, "", "mean", "p50",
			       "p99", "p99.9", "p99.99", "max");
		printf("%-18s %9.0f", cell->peer->name, cell->median);
		for (k = 0; k < 4; k++)
			printf(" %9llu",
			       (unsigned long long)histogram_quantile(&cell->latency, shares[k]));
		printf(" %9llu\n", (unsigned long long)cell->latency.max);
	}
}

static void wakes(const struct cells *cells)
{
	unsigned int k;
	size_t i;

	printf("\nwaking another process, and being woken by it: ns of the round trip\n"
	       "%-26s %9s %9s %9s %9s %9s\n", "", "p50", "p99", "p99.9", "p99.99", "max");
	for (i = 0; i < cells->n_wakes; i++) {
		printf("%-26s", cells->wakes[i]->name);
		for (k = 0; k < 4; k++)
			printf(" %9llu", (unsigned long long)histogram_quantile(&cells->wakes[i]->round,
										shares[k]));
		printf(" %9llu\n", (unsigned long long)cells->wakes[i]->round.max);
	}
}

static void kills(const struct cells *cells)
{
	const struct cell_kill *found;
	size_t i;

	printf("\na writer is killed: the longest call of another one, us, median and worst of the trials\n"
	       "%-20s %19s %19s %19s %16s\n", "", "nobody is killed", "killed", "memory is back",
	       "never comes back");
	for (i = 0; i < cells->n_kills; i++) {
		found = cells->kills[i];
		printf("%-20s %9.1f %9.1f", found->peer->name,
		       (double)histogram_quantile(&found->undisturbed, 0.5) / 1000,
		       (double)found->undisturbed.max / 1000);
		if (found->longest.n > 0)
			printf(" %9.1f %9.1f", (double)histogram_quantile(&found->longest, 0.5) / 1000,
			       (double)found->longest.max / 1000);
		else
			printf(" %19s", "-");
		if (found->recovered.n > 0)
			printf(" %9.1f %9.1f", (double)histogram_quantile(&found->recovered, 0.5) / 1000,
			       (double)found->recovered.max / 1000);
		else
			printf(" %19s", "-");
		printf(" %9u of %u\n", found->never, found->trials);
	}
}

static void human(FILE *f, const struct cells *cells, bool is_long)
{
	size_t i;

	limits(cells);
	for (i = 0; i < cells->n; i++)
		if (is_in_table(cells->cells[i]) && is_first_of(cells, i, is_same_table))
			table(cells, cells->cells[i]);
	for (i = 0; i < cells->n && is_long; i++)
		if (is_in_table(cells->cells[i]) && is_first_of(cells, i, is_same_column))
			latencies(cells, cells->cells[i]);
	growth(cells);
	wakes(cells);
	kills(cells);
	peer_goals(f, cells, PEER_GOALS_TEXT);
}

/* ---- files ------------------------------------------------------------------------ */

static int write_file(const struct cells *cells, const char *folder, const char *name,
		      void (*write)(FILE *f, const struct cells *cells))
{
	char path[4096];
	FILE *f;
	int r;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	if (f)
		write(f, cells);
	r = f ? ferror(f) : 1;
	if ((f && fclose(f)) || r) {
		fprintf(stderr, "shmkv-bench: %s could not be written\n", path);
		return 1;
	}
	return 0;
}

static void json_file(FILE *f, const struct cells *cells)
{
	bench_machine(f, true);
	json(f, cells);
}

static int write_files(const struct cells *cells, const char *folder)
{
	int r;

	if (mkdir(folder, 0777) < 0 && errno != EEXIST) {
		fprintf(stderr, "shmkv-bench: %s could not be made\n", folder);
		return 1;
	}
	r = write_file(cells, folder, "peers.json", json_file);
	if (r == 0)
		r = write_file(cells, folder, "peers.csv", csv);
	return r ? r : peer_plots(cells, folder);
}

int peer_report(const struct cells *cells, const struct bench_options *options)
{
	if (options->json)
		json(stdout, cells);
	else if (options->csv)
		csv(stdout, cells);
	else
		human(stdout, cells, options->is_long);
	return options->out ? write_files(cells, options->out) : 0;
}

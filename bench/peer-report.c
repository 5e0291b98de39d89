/* SPDX-License-Identifier: MIT */
#include "bench/peer-report.h"

#include <stdio.h>

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

static void json(FILE *f, const struct cells *cells)
{
	size_t i;

	for (i = 0; i < cells->n_limits; i++)
		fprintf(f, "{\"row\":\"limit\",\"name\":\"%s\",\"unit\":\"%s\",\"small\":%.2f,\"huge\":%.2f}\n",
			cells->limits[i].name, cells->limits[i].unit, cells->limits[i].small,
			cells->limits[i].huge);
	all_lines(f, cells, json_line);
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

static bool is_same_table(const struct cell *a, const struct cell *b)
{
	return a->entries == b->entries && a->value_len == b->value_len && a->workers == b->workers;
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

static void human(const struct cells *cells, bool is_long)
{
	size_t i;

	limits(cells);
	for (i = 0; i < cells->n; i++)
		if (is_first_of(cells, i, is_same_table))
			table(cells, cells->cells[i]);
	for (i = 0; i < cells->n && is_long; i++)
		if (is_first_of(cells, i, is_same_column))
			latencies(cells, cells->cells[i]);
}

int peer_report(const struct cells *cells, const struct bench_options *options)
{
	if (options->json)
		json(stdout, cells);
	else if (options->csv)
		csv(stdout, cells);
	else
		human(cells, options->is_long);
	return 0;
}

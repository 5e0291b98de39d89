/* SPDX-License-Identifier: MIT */
#include "bench/peer-cells.h"

#include <stdio.h>
#include <stdlib.h>

/* Room for one more behind @n; doubles where n is a power of two. */
static void *grown(void *items, size_t n, size_t size)
{
	if (n & (n - 1))
		return items;
	return reallocarray(items, n ? 2 * n : 1, size);
}

struct cell *cells_add(struct cells *cells, const struct cell *like)
{
	struct cell **more = grown(cells->cells, cells->n, sizeof(cells->cells[0]));
	struct cell *cell;

	if (!more)
		return NULL;
	cells->cells = more;
	cell = malloc(sizeof(*cell));
	if (!cell)
		return NULL;
	*cell = *like;
	cells->cells[cells->n++] = cell;
	return cell;
}

int cells_add_memory(struct cells *cells, const struct cell_memory *memory)
{
	struct cell_memory *more = grown(cells->memory, cells->n_memory, sizeof(*memory));

	if (!more)
		return -ENOMEM;
	cells->memory = more;
	cells->memory[cells->n_memory++] = *memory;
	return 0;
}

int cells_add_limit(struct cells *cells, const struct cell_limit *limit)
{
	struct cell_limit *more = grown(cells->limits, cells->n_limits, sizeof(*limit));

	if (!more)
		return -ENOMEM;
	cells->limits = more;
	cells->limits[cells->n_limits++] = *limit;
	return 0;
}

struct cell_kill *cells_add_kill(struct cells *cells, const struct peer *peer)
{
	struct cell_kill **more = grown(cells->kills, cells->n_kills, sizeof(cells->kills[0]));
	struct cell_kill *found;

	if (!more)
		return NULL;
	cells->kills = more;
	found = calloc(1, sizeof(*found));
	if (!found)
		return NULL;
	found->peer = peer;
	cells->kills[cells->n_kills++] = found;
	return found;
}

struct cell_wake *cells_add_wake(struct cells *cells, const char *name)
{
	struct cell_wake **more = grown(cells->wakes, cells->n_wakes, sizeof(cells->wakes[0]));
	struct cell_wake *found;

	if (!more)
		return NULL;
	cells->wakes = more;
	found = calloc(1, sizeof(*found));
	if (!found)
		return NULL;
	found->name = name;
	cells->wakes[cells->n_wakes++] = found;
	return found;
}

void cells_free(struct cells *cells)
{
	size_t i;

	for (i = 0; i < cells->n_kills; i++)
		free(cells->kills[i]);
	for (i = 0; i < cells->n_wakes; i++)
		free(cells->wakes[i]);
	free(cells->kills);
	free(cells->wakes);

	for (i = 0; i < cells->n; i++)
		free(cells->cells[i]);
	free(cells->cells);
	free(cells->memory);
	free(cells->limits);
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double cells_median(double *numbers, unsigned int n)
{
	if (n == 0)
		return 0;
	qsort(numbers, n, sizeof(*numbers), order);
	return n % 2 ? numbers[n / 2] : (numbers[n / 2 - 1] + numbers[n / 2]) / 2;
}

void cells_settle(struct cells *cells)
{
	struct cell *cell;
	size_t i, n = 0;

	for (i = 0; i < cells->n; i++) {
		cell = cells->cells[i];
		if (cell->n_rounds == 0) {
			free(cell);
			continue;
		}
		cells->cells[n++] = cell;
		cell->median = cells_median(cell->ns, cell->n_rounds);
		cell->cpu_median = cells_median(cell->cpu_ns, cell->n_rounds);
		cell->low = cell->ns[cell->n_rounds / 4];
		cell->high = cell->ns[cell->n_rounds - 1 - cell->n_rounds / 4];
	}
	cells->n = n;
}

const struct cell *cells_beside(const struct cells *cells, const struct cell *cell,
				const struct peer *peer)
{
	const struct cell *other;
	size_t i;

	for (i = 0; i < cells->n; i++) {
		other = cells->cells[i];
		if (other->peer == peer && other->lap == cell->lap && other->work == cell->work &&
		    other->skew == cell->skew && other->workers == cell->workers &&
		    other->entries == cell->entries && other->value_len == cell->value_len)
			return other;
	}
	return NULL;
}

void cell_label(const struct cell *cell, char *text, size_t size)
{
	snprintf(text, size, "%s%s", work_name(cell->work), cell->skew > 0 ? " zipf" : "");
}

bool peer_is_in_every_lap(const struct peer *peer)
{
	return peer->type == PEER_LIMIT || peer == peers[0];
}

bool peer_is_wanted(const struct bench_options *options, const struct peer *peer)
{
	return !options->only || peer_is_in_every_lap(peer) || strstr(peer->name, options->only);
}

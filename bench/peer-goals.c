/* SPDX-License-Identifier: MIT */
#include "bench/peer-goals.h"

/*
 * A goal is a ratio that shall be at least, or at most, so much in every cell that it is about. A
 * cell is compared with another one of the same lap.
 */

/* Many cells, and the worst of them. */
struct verdict {
	double worst;
	unsigned int n, met;
	const struct cell *cell;
};

struct goal {
	const char *text;
	double wanted;
	bool at_most;
	/* The ratio of a cell; false if the goal is not about it. */
	bool (*ratio)(const struct cells *cells, const struct cell *cell, double *ret);
};

static bool is_ahead(const struct cells *cells, const struct cell *cell, const struct peer *of,
		     double *ret)
{
	const struct cell *ours = cells_beside(cells, cell, of);

	if (!ours || ours->median <= 0)
		return false;
	*ret = cell->median / ours->median;
	return true;
}

static bool is_plain_size(const struct cell *cell)
{
	return cell->value_len <= PEER_BATCH_VALUE_MAX && cell->work != WORK_GROW;
}

static bool is_shared_peer(const struct peer *peer)
{
	return peer->type == PEER_SHARED && peer != &peer_shmkv && peer != &peer_shmkv_huge;
}

/* By name, so that the list is right in every build. */
static bool is_named(const struct peer *peer, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(peer->name, *names) == 0)
			return true;
	return false;
}

static bool is_concurrent_map(const struct peer *peer)
{
	static const char *const names[] = { "cds_lfht", "ck_hs", "tbb-hash-map", NULL };

	return is_named(peer, names);
}

static bool hit_shared(const struct cells *cells, const struct cell *cell, double *ret)
{
	return is_plain_size(cell) && cell->work == WORK_HIT && cell->workers == 1 &&
	       is_shared_peer(cell->peer) && is_ahead(cells, cell, peers[0], ret);
}

static bool hit_concurrent(const struct cells *cells, const struct cell *cell, double *ret)
{
	return is_plain_size(cell) && cell->work == WORK_HIT && cell->workers == 1 &&
	       is_concurrent_map(cell->peer) && is_ahead(cells, cell, peers[0], ret);
}

static bool miss_concurrent(const struct cells *cells, const struct cell *cell, double *ret)
{
	return cell->work == WORK_MISS && (is_concurrent_map(cell->peer) || is_shared_peer(cell->peer)) &&
	       is_ahead(cells, cell, peers[0], ret);
}

static bool write_shared(const struct cells *cells, const struct cell *cell, double *ret)
{
	return is_plain_size(cell) && is_shared_peer(cell->peer) &&
	       (cell->work == WORK_UPDATE || cell->work == WORK_INSERT || cell->work == WORK_DELETE ||
		cell->work == WORK_MIX_50) &&
	       is_ahead(cells, cell, peers[0], ret);
}

static bool servers(const struct cells *cells, const struct cell *cell, double *ret)
{
	return is_plain_size(cell) && cell->peer->type == PEER_SERVER && cell->workers == 1 &&
	       (cell->work == WORK_HIT || cell->work == WORK_UPDATE) &&
	       is_ahead(cells, cell, peers[0], ret);
}

static bool beside_direct(const struct cells *cells, const struct cell *cell, double *ret)
{
	double ratio;

	if (cell->peer != peers[0] || cell->workers != 1 || !is_plain_size(cell) ||
	    !is_ahead(cells, cell, &peer_direct, &ratio))
		return false;
	*ret = ratio;
	return true;
}

static bool hit_in_cache(const struct cells *cells, const struct cell *cell, double *ret)
{
	return cell->work == WORK_HIT && cell->entries <= 100000 && beside_direct(cells, cell, ret);
}

static bool hit_in_memory(const struct cells *cells, const struct cell *cell, double *ret)
{
	return cell->work == WORK_HIT && cell->entries >= 10000000 && beside_direct(cells, cell, ret);
}

static bool batch(const struct cells *cells, const struct cell *cell, double *ret)
{
	return cell->work == WORK_GET_MANY && beside_direct(cells, cell, ret);
}

/* One worker's time against that of two together. */
static bool scaling(const struct cells *cells, const struct cell *cell, double *ret)
{
	struct cell one = *cell;
	const struct cell *found;

	if (cell->peer != peers[0] || cell->workers != 2 || !is_plain_size(cell))
		return false;
	one.workers = 1;
	found = cells_beside(cells, &one, peers[0]);
	if (!found || cell->median <= 0)
		return false;
	*ret = found->median / cell->median;
	return true;
}

static bool reads_scale(const struct cells *cells, const struct cell *cell, double *ret)
{
	return cell->work == WORK_HIT && scaling(cells, cell, ret);
}

static bool writes_scale(const struct cells *cells, const struct cell *cell, double *ret)
{
	return (cell->work == WORK_UPDATE || cell->work == WORK_INSERT || cell->work == WORK_DELETE) &&
	       scaling(cells, cell, ret);
}

static bool growth(const struct cells *cells, const struct cell *cell, double *ret)
{
	(void)cells;
	*ret = (double)histogram_quantile(&cell->latency, 0.9999) / 1000;
	return cell->work == WORK_GROW && cell->peer == peers[0];
}

static bool adaptive(const struct cells *cells, const struct cell *cell, double *ret)
{
	static const char *const names[] = { "glib", "std::unordered_map", NULL };

	return is_plain_size(cell) && cell->workers == 1 && is_named(cell->peer, names) &&
	       is_ahead(cells, cell, &peer_adaptive, ret);
}

static const struct goal goals[] = {
	{ "hit, one process: others in shared memory, at least", 1, false, hit_shared },
	{ "hit, one worker: concurrent maps of one process, at least", 1, false, hit_concurrent },
	{ "hit in cache: of the direct table's time, at most", 3, true, hit_in_cache },
	{ "hit in 10M entries: of the direct table's time, at most", 2, true, hit_in_memory },
	{ "get-32: of the direct table's time, at most", 1.6, true, batch },
	{ "miss: all concurrent others, at least", 1, false, miss_concurrent },
	{ "update, insert, delete, 50/50: others in shared memory, at least", 1, false, write_shared },
	{ "hit: two processes do of what one does, at least", 1.9, false, reads_scale },
	{ "update, insert, delete: two do of what one does, at least", 1.7, false, writes_scale },
	{ "hit, update: Redis and memcached, at least", 100, false, servers },
	{ "growth: us, 99.99 % of insertions, at most", 50, true, growth },
	{ "heap:adaptive, all work: GLib and std::unordered_map, at least", 1, false, adaptive },
};

static struct verdict judge(const struct cells *cells, const struct goal *goal)
{
	struct verdict verdict = { 0 };
	double ratio;
	size_t i;

	for (i = 0; i < cells->n; i++) {
		if (!goal->ratio(cells, cells->cells[i], &ratio))
			continue;
		if (verdict.n == 0 || (goal->at_most ? ratio > verdict.worst : ratio < verdict.worst)) {
			verdict.worst = ratio;
			verdict.cell = cells->cells[i];
		}
		verdict.n++;
		verdict.met += goal->at_most ? ratio <= goal->wanted : ratio >= goal->wanted;
	}
	return verdict;
}

static void text_line(FILE *f, const struct goal *goal, const struct verdict *verdict)
{
	char label[32];

	fprintf(f, "%-66s %6.4g   ", goal->text, goal->wanted);
	if (verdict->n == 0) {
		fprintf(f, "not measured\n");
		return;
	}
	cell_label(verdict->cell, label, sizeof(label));
	fprintf(f, "%s in %u of %u, worst %.2f: %s, %s, %llu of %zu B, %u\n",
		verdict->met == verdict->n ? "met" : "NOT met", verdict->met, verdict->n, verdict->worst,
		verdict->cell->peer->name, label, (unsigned long long)verdict->cell->entries,
		verdict->cell->value_len, verdict->cell->workers);
}

static void json_line(FILE *f, const struct goal *goal, const struct verdict *verdict)
{
	fprintf(f, "{\"row\":\"goal\",\"goal\":\"%s\",\"wanted\":%g,\"cells\":%u,\"met\":%u", goal->text,
		goal->wanted, verdict->n, verdict->met);
	if (verdict->n > 0)
		fprintf(f, ",\"worst\":%.3f,\"peer\":\"%s\",\"work\":\"%s\",\"keys\":\"%s\",\"entries\":%llu,"
			   "\"value\":%zu,\"workers\":%u",
			verdict->worst, verdict->cell->peer->name, work_name(verdict->cell->work),
			verdict->cell->skew > 0 ? "zipf" : "uniform",
			(unsigned long long)verdict->cell->entries, verdict->cell->value_len,
			verdict->cell->workers);
	fprintf(f, "}\n");
}

void peer_goals(FILE *f, const struct cells *cells, enum peer_goals_form form)
{
	struct verdict verdict;
	size_t i;

	if (form == PEER_GOALS_TEXT)
		fprintf(f, "\ngoals, as ratios within this run\n");
	for (i = 0; i < sizeof(goals) / sizeof(goals[0]); i++) {
		verdict = judge(cells, &goals[i]);
		if (form == PEER_GOALS_TEXT)
			text_line(f, &goals[i], &verdict);
		else
			json_line(f, &goals[i], &verdict);
	}
}

/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include <shmkv/reserve.h>
#include <shmkv/view.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * bench-frames: large values, written and read with a copy and in place.
 *
 * Writing a frame means to fill it, reading it to look at every byte; so the limits in the same
 * run are filling and looking at a private buffer. All ways take turns, round by round; the
 * figure is the median of the rounds, in processor time.
 */

#define ROUNDS 9u
#define BYTES_PER_ROUND (64ull << 20)
#define FRAME_MAX (10ull << 20)
#define KEY "frame", 5

static const size_t sizes[] = { 64u << 10, 1u << 20, FRAME_MAX };

struct world {
	struct shmkv *kv;
	uint8_t *buf;
	size_t len;
	uint8_t colour; /* of the frame that is there */
	uint64_t sum;
};

static void fill(uint8_t *frame, size_t len, uint8_t colour)
{
	memset(frame, colour, len);
}

static uint64_t look(const uint8_t *frame, size_t len)
{
	uint64_t sum = 0, word;
	size_t i;

	for (i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, frame + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static int fill_only(struct world *w)
{
	fill(w->buf, w->len, ++w->colour);
	/* Or the compiler sees that nobody looks. */
	__asm__ volatile("" : : "r"(w->buf) : "memory");
	return 0;
}

static int fill_and_put(struct world *w)
{
	int r;

	fill(w->buf, w->len, ++w->colour);
	r = shmkv_put(w->kv, KEY, shmkv_bin(w->buf, w->len), NULL);
	return r < 0 ? bench_failed("put", r) : 0;
}

static int draft_of(struct world *w, bool filled)
{
	struct shmkv_draft draft;
	int r;

	r = shmkv_reserve(w->kv, KEY, SHMKV_BIN, w->len, &draft);
	if (r < 0)
		return bench_failed("reserve", r);
	if (filled)
		fill(draft.data, w->len, ++w->colour);
	r = shmkv_commit(&draft, w->len, SHMKV_COMMIT_PUT, NULL);
	return r < 0 ? bench_failed("commit", r) : 0;
}

static int empty_draft(struct world *w)
{
	return draft_of(w, false);
}

static int fill_a_draft(struct world *w)
{
	return draft_of(w, true);
}

static int look_only(struct world *w)
{
	w->sum += look(w->buf, w->len);
	return 0;
}

static int get_and_look(struct world *w)
{
	struct shmkv_value value;
	int r;

	r = shmkv_get(w->kv, KEY, w->buf, w->len, &value, NULL);
	if (r < 0)
		return bench_failed("get", r);
	if (value.len != w->len || w->buf[0] != w->colour)
		return bench_failed("get", -74);
	w->sum += look(value.data, value.len);
	return 0;
}

static int look_at_a_view(struct world *w)
{
	struct shmkv_view view;
	const uint8_t *frame;
	int r;

	r = shmkv_view_begin(w->kv, KEY, &view);
	if (r < 0)
		return bench_failed("view", r);
	frame = view.value.data;
	if (view.value.len != w->len || frame[w->len - 1] != w->colour)
		return bench_failed("view", -74);
	w->sum += look(frame, view.value.len);
	r = shmkv_view_end(&view);
	return r < 0 ? bench_failed("view", r) : 0;
}

static struct way {
	const char *name;
	int (*run)(struct world *w);
	size_t limit; /* the way that it is compared with */
	double us[ROUNDS];
} ways[] = {
	{ "fill a private buffer", fill_only, 0, { 0 } },
	{ "fill it, put", fill_and_put, 0, { 0 } },
	{ "reserve, commit", empty_draft, 0, { 0 } },
	{ "reserve, fill, commit", fill_a_draft, 0, { 0 } },
	{ "look at a private buffer", look_only, 4, { 0 } },
	{ "get, look", get_and_look, 4, { 0 } },
	{ "look at a view", look_at_a_view, 4, { 0 } },
};

#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(const struct bench_options *options, size_t len)
{
	const struct way *way;
	double limit;
	size_t i;

	for (i = 0; i < N_WAYS; i++)
		qsort(ways[i].us, ROUNDS, sizeof(ways[i].us[0]), order);
	for (i = 0; i < N_WAYS; i++) {
		way = &ways[i];
		limit = ways[way->limit].us[ROUNDS / 2];
		if (options->json)
			printf("{\"row\":\"frame\",\"bytes\":%zu,\"call\":\"%s\",\"us\":%.2f,"
			       "\"us_min\":%.2f,\"ratio\":%.2f}\n",
			       len, way->name, way->us[ROUNDS / 2], way->us[0],
			       way->us[ROUNDS / 2] / limit);
		else
			printf("%6zu KiB   %-26s %9.2f us   fastest round %9.2f   %5.2f x limit\n",
			       len >> 10, way->name, way->us[ROUNDS / 2], way->us[0],
			       way->us[ROUNDS / 2] / limit);
	}
}

static int measure(struct world *w)
{
	uint64_t start, i, n = BYTES_PER_ROUND / w->len;
	size_t way, round;
	int r;

	/* Round 0 warms up and is not counted. */
	for (round = 0; round <= ROUNDS; round++) {
		for (way = 0; way < N_WAYS; way++) {
			start = bench_cpu_ns();
			for (i = 0; i < n; i++) {
				r = ways[way].run(w);
				if (r)
					return r;
			}
			if (round > 0)
				ways[way].us[round - 1] =
					(double)(bench_cpu_ns() - start) / 1000 / (double)n;
		}
	}
	return 0;
}

int bench_frames(const struct bench_options *options)
{
	struct shmkv_options create = SHMKV_OPTIONS_INIT;
	struct world w = { .kv = NULL };
	size_t i;
	int r;

	w.buf = malloc(FRAME_MAX);
	create.max_bytes = 64ull << 20;
	create.hash = options->hash;
	r = w.buf ? shmkv_create(bench_map_name(), &create, &w.kv) : -12;
	if (r < 0) {
		bench_failed("create", r);
	} else {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && r == 0; i++) {
			w.len = sizes[i];
			r = measure(&w);
			if (r == 0)
				report(options, w.len);
		}
		shmkv_detach(w.kv);
		shmkv_unlink(bench_map_name());
	}
	free(w.buf);
	return r != 0;
}

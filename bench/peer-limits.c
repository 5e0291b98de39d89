/* SPDX-License-Identifier: MIT */
#include "bench/peer-limits.h"

#include "base/atomic.h"
#include "bench/peers/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE_PAGE ((size_t)2 << 20)
#define ROUNDS 5u
#define LOADS 400000u
#define SWAPS 1000000u
#define QUICK_MAX ((size_t)8 << 20)
#define COPY_BYTES ((size_t)64 << 20)

/* Memory on one kind of pages. */
struct arena {
	uint8_t *memory, *start;
	size_t mapped, len;
};

static int arena_new(struct arena *arena, size_t len, bool huge)
{
	arena->len = len;
	arena->mapped = len + HUGE_PAGE;
	arena->memory = mmap(NULL, arena->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	if (arena->memory == MAP_FAILED)
		return bench_failed("memory for the limits", -ENOMEM);
	arena->start = (uint8_t *)(((uintptr_t)arena->memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	madvise(arena->start, len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(arena->start, 1, len);
	if (huge)
		madvise(arena->start, len / HUGE_PAGE * HUGE_PAGE, MADV_COLLAPSE);
	return 0;
}

static void arena_free(struct arena *arena)
{
	munmap(arena->memory, arena->mapped);
}

/* ---- loads ------------------------------------------------------------------------ */

/* A ring through all lines, in an order that nothing can foresee. */
static void make_ring(struct arena *arena)
{
	uint64_t i, n = arena->len / 64, at = 0, next;

	/* Full period: the step is odd and one more than a multiple of four, n a power of two. */
	for (i = 0; i < n; i++) {
		next = (at * 0x5851f42d4c957f2dull + 0x14057b7ef767814full) & (n - 1);
		memcpy(arena->start + bench_shuffle(at, n) * 64, &(uint64_t){ bench_shuffle(next, n) * 64 }, 8);
		at = next;
	}
}

static double chase(const struct arena *arena)
{
	uint64_t i, at = 0, start = bench_cpu_ns();

	for (i = 0; i < LOADS; i++)
		memcpy(&at, arena->start + at, 8);
	__asm__ volatile("" : : "r"(at));
	return (double)(bench_cpu_ns() - start) / LOADS;
}

static double prefetched(const struct arena *arena)
{
	uint64_t places[PEER_BATCH], i, k, x = 1, word, sum = 0, lines = arena->len / 64;
	uint64_t start = bench_cpu_ns();

	for (i = 0; i < LOADS; i += PEER_BATCH) {
		for (k = 0; k < PEER_BATCH; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			places[k] = ((x >> 32) * lines >> 32) * 64;
			__builtin_prefetch(arena->start + places[k]);
		}
		for (k = 0; k < PEER_BATCH; k++) {
			memcpy(&word, arena->start + places[k], 8);
			sum += word;
		}
	}
	__asm__ volatile("" : : "r"(sum));
	return (double)(bench_cpu_ns() - start) / LOADS;
}

/* ---- everything else -------------------------------------------------------------- */

static double cas_one(const struct arena *arena)
{
	uint64_t *word = (uint64_t *)(void *)arena->start, i, start = bench_cpu_ns();

	skv_store_relaxed(word, 0);
	for (i = 0; i < SWAPS; i++)
		skv_cas(word, i, i + 1);
	return (double)(bench_cpu_ns() - start) / SWAPS;
}

static double cas_pair(const struct arena *arena)
{
	struct skv_pair *pair = (struct skv_pair *)(void *)arena->start, is = { 0, 0 }, next;
	uint64_t i, start;

	*pair = is;
	start = bench_cpu_ns();
	for (i = 0; i < SWAPS; i++) {
		next = (struct skv_pair){ is.lo + 1, is.hi + 1 };
		skv_cas_pair(pair, is, next);
		is = next;
	}
	return (double)(bench_cpu_ns() - start) / SWAPS;
}

static double copy(const struct arena *arena, size_t len)
{
	const size_t half = arena->len / 2;
	uint64_t i, n = COPY_BYTES / len, start = bench_cpu_ns();

	for (i = 0; i < n; i++) {
		memcpy(arena->start + half, arena->start, len);
		__asm__ volatile("" : : "r"(arena->start) : "memory");
	}
	return (double)(n * len) / (double)(bench_cpu_ns() - start);
}

static double copy_64k(const struct arena *arena)
{
	return copy(arena, (size_t)64 << 10);
}

static double copy_1m(const struct arena *arena)
{
	return copy(arena, (size_t)1 << 20);
}

static double copy_64m(const struct arena *arena)
{
	return copy(arena, (size_t)64 << 20);
}

static double clock_read(const struct arena *arena)
{
	uint64_t i, start = bench_cpu_ns();

	(void)arena;
	for (i = 0; i < SWAPS; i++)
		bench_now_ns();
	return (double)(bench_cpu_ns() - start) / SWAPS;
}

/* ---- the table -------------------------------------------------------------------- */

static const struct limit {
	const char *name, *unit;
	double (*run)(const struct arena *arena);
	size_t len; /* bytes of the arena, a power of two */
	bool has_pages; /* their size matters */
	bool is_ring;
} limits[] = {
	{ "pointer chase, 256 KiB", "ns", chase, (size_t)256 << 10, true, true },
	{ "pointer chase, 32 MiB", "ns", chase, (size_t)32 << 20, true, true },
	{ "pointer chase, 1 GiB", "ns", chase, (size_t)1 << 30, true, true },
	{ "prefetched random reads, 256 KiB", "ns", prefetched, (size_t)256 << 10, true, false },
	{ "prefetched random reads, 32 MiB", "ns", prefetched, (size_t)32 << 20, true, false },
	{ "prefetched random reads, 1 GiB", "ns", prefetched, (size_t)1 << 30, true, false },
	{ "compare-and-swap, 8 bytes", "ns", cas_one, 4096, false, false },
	{ "compare-and-swap, 16 bytes", "ns", cas_pair, 4096, false, false },
	{ "memcpy of 64 KiB", "GB/s", copy_64k, (size_t)256 << 10, true, false },
	{ "memcpy of 1 MiB", "GB/s", copy_1m, (size_t)4 << 20, true, false },
	{ "memcpy of 64 MiB", "GB/s", copy_64m, (size_t)128 << 20, true, false },
	{ "reading the clock", "ns", clock_read, 4096, false, false },
};

static int run_limit(const struct limit *limit, bool huge, double *ret)
{
	double samples[ROUNDS];
	struct arena arena;
	unsigned int i;
	int r;

	r = arena_new(&arena, limit->len, huge);
	if (r)
		return r;
	if (limit->is_ring)
		make_ring(&arena);
	limit->run(&arena);
	for (i = 0; i < ROUNDS; i++)
		samples[i] = limit->run(&arena);
	*ret = cells_median(samples, ROUNDS);
	arena_free(&arena);
	return 0;
}

int peer_limits(struct cells *cells, const struct bench_options *options)
{
	struct cell_limit found;
	size_t i;
	int r = 0;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]) && r == 0; i++) {
		if (options->quick && limits[i].len > QUICK_MAX)
			continue;
		if (options->progress)
			fprintf(stderr, "\r\033[Klimits: %s", limits[i].name);
		found = (struct cell_limit){ .unit = limits[i].unit };
		snprintf(found.name, sizeof(found.name), "%s", limits[i].name);
		r = run_limit(&limits[i], false, &found.small);
		if (r == 0 && limits[i].has_pages)
			r = run_limit(&limits[i], true, &found.huge);
		if (r == 0 && cells_add_limit(cells, &found) < 0)
			r = bench_failed("figures", -ENOMEM);
	}
	if (options->progress)
		fprintf(stderr, "\r\033[K");
	return r;
}

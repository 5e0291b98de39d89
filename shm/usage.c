/* SPDX-License-Identifier: MIT */
#include "shm/usage.h"

#include "shm/block.h"
#include "shm/chunk.h"
#include "shm/index.h"
#include "shm/reserve.h"

_Static_assert(SHMKV_CLASSES_MAX == SKV_CLASSES_MAX, "classes");

static bool is_used(uint64_t word)
{
	uint64_t state = word & SKV_BLOCK_STATE_MASK;

	return state == SKV_BLOCK_ALLOC || state == SKV_BLOCK_RETIRED;
}

/* What was asked for; of a block that is only just being filled, as much as it says. */
static uint64_t record_bytes(const struct skv_map *map, uint64_t off, uint64_t room)
{
	uint64_t key_len, value_len, bytes = SKV_RECORD_HEADER;

	if (skv_index_record(map, off, &key_len, &value_len))
		bytes += key_len + value_len;
	return bytes < room ? bytes : room;
}

static void add_slab(const struct skv_map *map, uint64_t off, const struct skv_span *span,
		     struct shmkv_memory *memory)
{
	struct shmkv_memory_class *class = &memory->classes[span->class];
	uint32_t i, n = skv_class_blocks(span->class);

	class->slabs++;
	class->blocks += n;
	memory->tail_bytes += (uint64_t)skv_class_span(span->class) * SKV_CHUNK_BYTES -
			      n * span->bytes;
	for (i = 0; i < n; i++, off += span->bytes) {
		if (!is_used(skv_block_load(map, off))) {
			memory->free_block_bytes += span->bytes;
			continue;
		}
		class->used++;
		class->record_bytes += record_bytes(map, off, span->bytes);
	}
}

static void add_run(const struct skv_map *map, uint64_t off, const struct skv_span *span,
		    struct shmkv_memory *memory)
{
	/* Else it is being given back. */
	if (!is_used(skv_block_load(map, off)))
		return;
	memory->large_records++;
	memory->large_held_bytes += span->bytes;
	memory->large_record_bytes += record_bytes(map, off, span->bytes);
}

/* What is being written in place, by the entries of those who do. */
static void add_drafts(const struct skv_map *map, struct shmkv_memory *memory)
{
	uint32_t i, k, n = skv_contexts_ready(map);
	const struct skv_context *ctx;
	uint64_t off, stamp;
	struct skv_span span;

	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		if (skv_owner_process(skv_load_acquire(&ctx->owner)) < 0)
			continue;
		for (k = 0; k < SKV_RESERVATIONS; k++) {
			off = skv_reserve_entry(ctx, k, &stamp);
			if (off == 0 || !skv_block_locate(map, off, &span) ||
			    skv_block_load(map, off) != skv_block_alloc_word(stamp))
				continue;
			memory->drafts++;
			memory->draft_bytes += span.bytes;
		}
	}
}

/* Stretches of chunks that a large record could have. */
struct stretch {
	uint64_t now, best;
};

static void stretch_add(struct stretch *stretch, uint64_t chunks)
{
	stretch->now += chunks;
	if (stretch->now > stretch->best)
		stretch->best = stretch->now;
}

static void add_up(struct shmkv_memory *memory)
{
	struct shmkv_memory_class *class;
	uint32_t i, n = 0;

	memory->records = memory->large_records;
	memory->record_bytes = memory->large_record_bytes;
	memory->held_bytes = memory->large_held_bytes;
	/* Class 0 is that of leaves: the others move up. */
	for (i = 1; i < skv_n_classes; i++) {
		class = &memory->classes[n++];
		*class = memory->classes[i];
		class->block_bytes = skv_class_bytes[i];
		memory->records += class->used;
		memory->record_bytes += class->record_bytes;
		memory->held_bytes += class->used * class->block_bytes;
	}
	memory->classes[n] = (struct shmkv_memory_class){ 0 };
	memory->n_classes = n;
}

int skv_usage(const struct skv_map *map, struct shmkv_memory *memory)
{
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t i, gap = ready.high - ready.low;
	struct stretch stretch = { 0, 0 };
	struct skv_span span;
	uint32_t state;

	SKV_FOR_EACH_CHUNK (map, ready, i) {
		/* No record lies across the two ends. What is still to be had goes to the upper one,
		 * before its first chunk. */
		if (i == ready.high) {
			stretch.now = 0;
			stretch_add(&stretch, gap);
		}
		state = skv_chunk_state(skv_load_acquire(&skv_chunk_cell(map, i)->w));
		if (state == SKV_CHUNK_FREE) {
			memory->free_chunks++;
			stretch_add(&stretch, 1);
			continue;
		}
		stretch.now = 0;
		/* A body is part of the span at its head. */
		if ((state != SKV_CHUNK_SLAB && state != SKV_CHUNK_DISMANTLE &&
		     state != SKV_CHUNK_RUN) ||
		    !skv_block_locate(map, skv_chunk_off(map, i), &span) || span.head != i)
			continue;
		if (span.state == SKV_CHUNK_SLAB || span.state == SKV_CHUNK_DISMANTLE)
			add_slab(map, skv_chunk_off(map, i), &span, memory);
		else if (span.state == SKV_CHUNK_RUN)
			add_run(map, skv_chunk_off(map, i), &span, memory);
	}
	if (stretch.best < gap)
		stretch.best = gap;
	memory->unreserved_bytes = gap * SKV_CHUNK_BYTES;
	memory->free_stretch_bytes = stretch.best * SKV_CHUNK_BYTES;
	add_up(memory);
	add_drafts(map, memory);
	return 0;
}

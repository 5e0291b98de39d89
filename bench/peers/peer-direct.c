/* SPDX-License-Identifier: MIT */
/*
 * peer-direct: the limit. A table whose place for each key is known in advance: one hash, one
 * place, one comparison of keys, one copy. The memory is shared, as that of a segment is.
 */
#include "bench/peers/peer.h"

#include <stdlib.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define HUGE_PAGE ((size_t)2 << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct world {
	uint8_t *memory;
	uint8_t *slots; /* aligned to huge pages */
	size_t bytes, slot_len, value_len;
	uint64_t n, stored;
	uint64_t nothing; /* 0, which the compiler does not know */
};

#define PEER_SEAT struct world
#define PEER_HAS_GET_MANY
#define PEER_HAS_PUT_MANY
#define PEER_HAS_VIEW

static inline void peer_prepare(struct world *world, const struct peer_run *run)
{
	(void)world;
	(void)run;
}

static inline uint8_t *slot_of(const struct world *world, const uint8_t *key)
{
	uint64_t entry = peer_entry_of(key);

	if (entry >= PEER_ABSENT_FROM)
		entry -= PEER_ABSENT_FROM;
	/* The place waits for the hash, as it does in a table that must look for it. */
	entry += XXH3_64bits(key, PEER_KEY_LEN) & world->nothing;
	return world->slots + entry * world->slot_len;
}

static inline int peer_get(struct world *world, const uint8_t *key, uint8_t *buf, size_t len)
{
	const uint8_t *slot = slot_of(world, key);

	if (memcmp(slot, key, PEER_KEY_LEN) != 0)
		return -ENOENT;
	memcpy(buf, slot + PEER_KEY_LEN, len);
	return 0;
}

static inline int peer_put(struct world *world, const uint8_t *key, const uint8_t *value, size_t len)
{
	uint8_t *slot = slot_of(world, key);

	memcpy(slot, key, PEER_KEY_LEN);
	memcpy(slot + PEER_KEY_LEN, value, len);
	return 0;
}

static inline int peer_del(struct world *world, const uint8_t *key)
{
	uint8_t *slot = slot_of(world, key);

	if (memcmp(slot, key, PEER_KEY_LEN) != 0)
		return -ENOENT;
	memset(slot, 0xff, PEER_KEY_LEN);
	return 0;
}

static inline int peer_view(struct world *world, const uint8_t *key, size_t len, uint32_t entry)
{
	const uint8_t *slot = slot_of(world, key);

	if (memcmp(slot, key, PEER_KEY_LEN) != 0)
		return -ENOENT;
	return peer_value_is(slot + PEER_KEY_LEN, len, entry) ? 0 : -EBADMSG;
}

static inline void fetch(const struct world *world, uint8_t (*keys)[PEER_KEY_LEN], int writing)
{
	size_t i, k, len = PEER_KEY_LEN + world->value_len;
	const uint8_t *slot;

	for (i = 0; i < PEER_BATCH; i++) {
		slot = slot_of(world, keys[i]);
		for (k = 0; k < len && k < 256; k += 64) {
			if (writing)
				__builtin_prefetch(slot + k, 1);
			else
				__builtin_prefetch(slot + k, 0);
		}
	}
}

static inline int peer_get_many(struct world *world, uint8_t (*keys)[PEER_KEY_LEN],
				uint8_t *bufs, size_t len)
{
	unsigned int i;
	int r = 0;

	fetch(world, keys, 0);
	for (i = 0; i < PEER_BATCH && r == 0; i++)
		r = peer_get(world, keys[i], bufs + i * len, len);
	return r;
}

static inline int peer_put_many(struct world *world, uint8_t (*keys)[PEER_KEY_LEN],
				const uint8_t *values, size_t len)
{
	unsigned int i;

	fetch(world, keys, 1);
	for (i = 0; i < PEER_BATCH; i++)
		peer_put(world, keys[i], values + i * len, len);
	return 0;
}

#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, int advice, void **ret)
{
	struct world *world = calloc(1, sizeof(*world));
	uintptr_t at;

	if (!world)
		return -ENOMEM;
	world->value_len = spec->value_len;
	world->slot_len = (PEER_KEY_LEN + spec->value_len + 7) / 8 * 8;
	world->n = spec->entries;
	world->stored = spec->stored;
	world->bytes = world->n * world->slot_len + 2 * HUGE_PAGE;
	world->memory = mmap(NULL, world->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
	if (world->memory == MAP_FAILED) {
		free(world);
		return -ENOMEM;
	}
	at = ((uintptr_t)world->memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	world->slots = (uint8_t *)at;
	madvise(world->slots, world->bytes - HUGE_PAGE, advice);
	/* No key is all ones, so everything is absent. */
	memset(world->slots, 0xff, world->n * world->slot_len);
	/* Since Linux 6.1; an older one answers EINVAL. */
	if (advice == MADV_HUGEPAGE)
		madvise(world->slots, world->n * world->slot_len / HUGE_PAGE * HUGE_PAGE, MADV_COLLAPSE);
	*ret = world;
	return 0;
}

static int make_small(const struct peer_spec *spec, void **ret)
{
	return make(spec, MADV_NOHUGEPAGE, ret);
}

static int make_huge(const struct peer_spec *spec, void **ret)
{
	return make(spec, MADV_HUGEPAGE, ret);
}

static int attach(void *world, void **ret)
{
	*ret = world;
	return 0;
}

static void detach(void *seat)
{
	(void)seat;
}

static void end(void *arg)
{
	struct world *world = arg;

	munmap(world->memory, world->bytes);
	free(world);
}

static uint64_t memory(void *arg)
{
	struct world *world = arg;

	return world->stored * world->slot_len;
}

#define CALLS .attach = attach, .run = peer_run_steps, .detach = detach, .end = end, .memory = memory

const struct peer peer_direct = {
	.name = "direct", .text = "limit: a table whose places are known, pages of 4 KiB",
	.type = PEER_LIMIT, .can = PEER_CAN_VIEW | PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY,
	.overhead = 8, .make = make_small, CALLS,
};

const struct peer peer_direct_huge = {
	.name = "direct-huge", .text = "limit: a table whose places are known, pages of 2 MiB",
	.type = PEER_LIMIT, .can = PEER_CAN_VIEW | PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY,
	.overhead = 8, .make = make_huge, CALLS,
};

/* SPDX-License-Identifier: MIT */
/*
 * peer-shmkv: shmkv itself, in shared memory with small and with huge pages, and its maps of the
 * heap: the same calls, so one adapter.
 */
#include "bench/peers/peer.h"

#include <shmkv/batch.h>
#include <shmkv/heap.h>
#include <shmkv/view.h>

#include <stdio.h>
#include <stdlib.h>

#include <shmkv/inspect.h>

struct world {
	struct shmkv *kv; /* of the process that made it */
	const char *engine;
	char name[96];
	bool is_shared;
};

struct seat {
	struct shmkv *kv;
	bool is_own;
};

#define PEER_SEAT struct seat
#define PEER_HAS_GET_MANY
#define PEER_HAS_PUT_MANY
#define PEER_HAS_VIEW

static inline void peer_prepare(struct seat *seat, const struct peer_run *run)
{
	(void)seat;
	(void)run;
}

static inline int peer_get(struct seat *seat, const uint8_t *key, uint8_t *buf, size_t len)
{
	struct shmkv_value value;
	int r = shmkv_get(seat->kv, key, PEER_KEY_LEN, buf, len, &value, NULL);

	return r < 0 ? r : value.len == len ? 0 : -EBADMSG;
}

static inline int peer_put(struct seat *seat, const uint8_t *key, const uint8_t *value, size_t len)
{
	return shmkv_put(seat->kv, key, PEER_KEY_LEN, shmkv_bin(value, len), NULL);
}

static inline int peer_del(struct seat *seat, const uint8_t *key)
{
	return shmkv_del(seat->kv, key, PEER_KEY_LEN);
}

static inline int peer_view(struct seat *seat, const uint8_t *key, size_t len, uint32_t entry)
{
	struct shmkv_view view;
	int r = shmkv_view_begin(seat->kv, key, PEER_KEY_LEN, &view);

	if (r < 0)
		return r;
	if (view.value.len != len || !peer_value_is(view.value.data, len, entry)) {
		shmkv_view_end(&view);
		return -EBADMSG;
	}
	return shmkv_view_end(&view);
}

static inline int peer_get_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN], uint8_t *bufs,
				size_t len)
{
	struct shmkv_get_item items[PEER_BATCH] = { 0 };
	unsigned int i;
	size_t n_ok;
	int r;

	for (i = 0; i < PEER_BATCH; i++) {
		items[i].key = keys[i];
		items[i].key_len = PEER_KEY_LEN;
		items[i].buf = bufs + i * len;
		items[i].cap = len;
	}
	r = shmkv_get_many(seat->kv, items, PEER_BATCH, &n_ok);
	for (i = 0; i < PEER_BATCH && r == 0; i++)
		r = items[i].result < 0 ? items[i].result : items[i].value.len == len ? 0 : -EBADMSG;
	return r;
}

static inline int peer_put_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN],
				const uint8_t *values, size_t len)
{
	struct shmkv_put_item items[PEER_BATCH] = { 0 };
	unsigned int i;
	size_t n_ok;
	int r;

	for (i = 0; i < PEER_BATCH; i++) {
		items[i].key = keys[i];
		items[i].key_len = PEER_KEY_LEN;
		items[i].value = shmkv_bin(values + i * len, len);
	}
	r = shmkv_put_many(seat->kv, items, PEER_BATCH, &n_ok);
	for (i = 0; i < PEER_BATCH && r == 0; i++)
		r = items[i].result;
	return r;
}

#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, const char *engine, uint32_t huge_pages, void **ret)
{
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	struct world *world = calloc(1, sizeof(*world));
	int r;

	if (!world)
		return -ENOMEM;
	world->engine = engine;
	world->is_shared = strcmp(engine, "shm:") == 0;
	snprintf(world->name, sizeof(world->name), "%s%s", engine, world->is_shared ? spec->name : "");
	options.max_bytes = spec->entries * (spec->value_len + spec->value_len / 8 + 256) + (64ull << 20);
	options.huge_pages = huge_pages;
	r = shmkv_create(world->name, &options, &world->kv);
	if (r < 0) {
		free(world);
		return r;
	}
	*ret = world;
	return 0;
}

static int make_shm(const struct peer_spec *spec, void **ret)
{
	return make(spec, "shm:", SHMKV_HUGE_NEVER, ret);
}

static int make_shm_huge(const struct peer_spec *spec, void **ret)
{
	return make(spec, "shm:", SHMKV_HUGE_EAGER, ret);
}

static int make_adaptive(const struct peer_spec *spec, void **ret)
{
	return make(spec, "heap:adaptive", SHMKV_HUGE_NEVER, ret);
}

static int make_hamt(const struct peer_spec *spec, void **ret)
{
	return make(spec, "heap:hamt", SHMKV_HUGE_NEVER, ret);
}

static int attach(void *arg, void **ret)
{
	struct world *world = arg;
	struct seat *seat = calloc(1, sizeof(*seat));
	int r = 0;

	if (!seat)
		return -ENOMEM;
	seat->is_own = world->is_shared;
	seat->kv = world->kv;
	if (seat->is_own)
		r = shmkv_attach(world->name, 0, &seat->kv);
	if (r < 0) {
		free(seat);
		return r;
	}
	*ret = seat;
	return 0;
}

static void hide(void *arg)
{
	struct world *world = arg;

	shmkv_unlink(world->name);
}

static void detach(void *arg)
{
	struct seat *seat = arg;

	if (seat->is_own)
		shmkv_detach(seat->kv);
	free(seat);
}

static void end(void *arg)
{
	struct world *world = arg;

	shmkv_detach(world->kv);
	free(world);
}

static uint64_t memory(void *arg)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct world *world = arg;

	return shmkv_info(world->kv, &info) < 0 ? 0 : info.reserved_bytes;
}

static unsigned int dead(void *arg)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct world *world = arg;

	return shmkv_info(world->kv, &info) < 0 ? 0 : info.processes_dead;
}

#define CALLS \
	.attach = attach, .run = peer_run_steps, .detach = detach, .end = end

const struct peer peer_shmkv = {
	.name = "shmkv", .text = "shared memory, pages of 4 KiB", .type = PEER_SHARED,
	.can = PEER_CAN_VIEW | PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY, .overhead = 80,
	.make = make_shm, .hide = hide, .memory = memory, .dead = dead, CALLS,
};

const struct peer peer_shmkv_huge = {
	.name = "shmkv-huge", .text = "shared memory, pages of 2 MiB", .type = PEER_SHARED,
	.can = PEER_CAN_VIEW | PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY, .overhead = 80,
	.make = make_shm_huge, .hide = hide, .memory = memory, .dead = dead, CALLS,
};

const struct peer peer_adaptive = {
	.name = "heap:adaptive", .text = "shmkv's map of the heap", .type = PEER_LOCAL,
	.can = PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY, .overhead = 80, .make = make_adaptive, CALLS,
};

const struct peer peer_hamt = {
	.name = "heap:hamt", .text = "shmkv's map of the heap with snapshots", .type = PEER_LOCAL,
	.can = PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY, .overhead = 80, .make = make_hamt, CALLS,
};

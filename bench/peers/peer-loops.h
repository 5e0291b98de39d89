/* SPDX-License-Identifier: MIT */
/*
 * peer-loops: the loop over steps, the same for every peer. Included once by each adapter, behind
 * PEER_SEAT, its type of a seat, and
 *
 *     int peer_get(PEER_SEAT *, const uint8_t *key, uint8_t *buf, size_t len)
 *     int peer_put(PEER_SEAT *, const uint8_t *key, const uint8_t *value, size_t len)
 *     int peer_del(PEER_SEAT *, const uint8_t *key)
 *     int peer_get_many(PEER_SEAT *, uint8_t (*keys)[PEER_KEY_LEN], uint8_t *bufs, size_t len)
 *     int peer_put_many(PEER_SEAT *, uint8_t (*keys)[PEER_KEY_LEN], const uint8_t *values,
 *                       size_t len)
 *     int peer_view(PEER_SEAT *, const uint8_t *key, size_t len, uint32_t entry)
 *
 * all static inline. They return 0; -ENOENT for an absent key; -EBADMSG for a wrong
 * value, also one of another length; or what else failed. The last three only where
 * PEER_HAS_GET_MANY, PEER_HAS_PUT_MANY, PEER_HAS_VIEW are defined; otherwise a batch is single calls.
 */
#include "bench/peers/peer.h"

#ifndef PEER_HAS_GET_MANY
static inline int peer_get_many(PEER_SEAT *at, uint8_t (*keys)[PEER_KEY_LEN], uint8_t *bufs,
				size_t len)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < PEER_BATCH && r == 0; i++)
		r = peer_get(at, keys[i], bufs + i * len, len);
	return r;
}
#endif

#ifndef PEER_HAS_PUT_MANY
static inline int peer_put_many(PEER_SEAT *at, uint8_t (*keys)[PEER_KEY_LEN],
				const uint8_t *values, size_t len)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < PEER_BATCH && r == 0; i++)
		r = peer_put(at, keys[i], values + i * len, len);
	return r;
}
#endif

#ifndef PEER_HAS_VIEW
static inline int peer_view(PEER_SEAT *at, const uint8_t *key, size_t len, uint32_t entry)
{
	(void)at;
	(void)key;
	(void)len;
	(void)entry;
	return -EOPNOTSUPP;
}
#endif

static inline int peer_step_many(PEER_SEAT *at, struct peer_run *run, const struct peer_step *steps)
{
	uint8_t keys[PEER_BATCH][PEER_KEY_LEN];
	const size_t len = run->value_len;
	unsigned int i;
	int r;

	for (i = 0; i < PEER_BATCH; i++)
		peer_key(steps[i].entry, keys[i]);
	if (steps[0].kind == PEER_PUT_MANY) {
		for (i = 0; i < PEER_BATCH; i++)
			peer_value_mark(run->value + i * len, len, steps[i].entry);
		return peer_put_many(at, keys, run->value, len);
	}
	r = peer_get_many(at, keys, run->buf, len);
	for (i = 0; i < PEER_BATCH && r == 0; i++)
		r = peer_value_is(run->buf + i * len, len, steps[i].entry) ? 0 : -EBADMSG;
	return r;
}

static inline int peer_step_one(PEER_SEAT *at, struct peer_run *run, const struct peer_step *step)
{
	const size_t len = run->value_len;
	uint8_t key[PEER_KEY_LEN];
	int r;

	peer_key(step->entry, key);
	switch (step->kind) {
	case PEER_GET:
		r = peer_get(at, key, run->buf, len);
		return r == 0 && !peer_value_is(run->buf, len, step->entry) ? -EBADMSG : r;
	case PEER_MISS:
		r = peer_get(at, key, run->buf, len);
		return r == 0 ? -EBADMSG : r == -ENOENT ? 0 : r;
	case PEER_PUT:
	case PEER_INSERT:
		peer_value_mark(run->value, len, step->entry);
		return peer_put(at, key, run->value, len);
	case PEER_DEL:
		return peer_del(at, key);
	default:
		return peer_view(at, key, len, step->entry);
	}
}

static int peer_run_steps(void *arg, struct peer_run *run)
{
	PEER_SEAT *at = (PEER_SEAT *)arg;
	const bool batch = run->n > 0 && run->steps[0].kind >= PEER_GET_MANY;
	uint64_t i, start = 0, delayed = 0;
	int r = 0;

	peer_prepare(at, run);
	if (run->latency)
		peer_latency(run, 0, &delayed);
	for (i = 0; i < run->n; i += batch ? PEER_BATCH : 1) {
		if (run->latency)
			start = peer_clock_ns();
		r = batch ? peer_step_many(at, run, &run->steps[i]) :
			    peer_step_one(at, run, &run->steps[i]);
		if (run->latency)
			peer_latency(run, start, &delayed);
		if (r < 0) {
			run->wrong = run->steps[i];
			break;
		}
	}
	return r;
}

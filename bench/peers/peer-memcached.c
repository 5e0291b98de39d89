/* SPDX-License-Identifier: MIT */
/*
 * peer-memcached: memcached on a unix socket, by its binary protocol, because keys are any bytes. A
 * batch is sent at once: quiet gets or sets, and a no-operation that ends the answers.
 */
#include "bench/peers/peer.h"
#include "bench/peers/server-link.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OP_GET = 0x00, OP_SET = 0x01, OP_DELETE = 0x04, OP_GETQ = 0x09, OP_NOOP = 0x0a, OP_SETQ = 0x11 };
enum { STATUS_OK = 0, STATUS_ABSENT = 1 };

struct head {
	uint8_t magic, op;
	uint16_t key_len; /* numbers are big-endian */
	uint8_t extra_len, type;
	uint16_t status;
	uint32_t body_len;
	uint32_t opaque;
	uint64_t cas;
} __attribute__((packed));

struct seat {
	struct link link;
};

#define PEER_SEAT struct seat
#define PEER_HAS_GET_MANY
#define PEER_HAS_PUT_MANY

static inline void peer_prepare(struct seat *seat, const struct peer_run *run)
{
	(void)seat;
	(void)run;
}

static void ask(struct seat *seat, uint8_t op, uint32_t opaque, const uint8_t *key,
		const uint8_t *value, size_t len)
{
	static const uint8_t extra[8]; /* flags, expiry */
	struct head head = { .magic = 0x80, .op = op, .opaque = opaque };
	size_t key_len = key ? PEER_KEY_LEN : 0;

	head.extra_len = value ? sizeof(extra) : 0;
	head.key_len = htobe16((uint16_t)key_len);
	head.body_len = htobe32((uint32_t)(key_len + head.extra_len + len));
	link_put(&seat->link, &head, sizeof(head));
	link_put(&seat->link, extra, head.extra_len);
	if (key)
		link_put(&seat->link, key, key_len);
	if (value)
		link_put(&seat->link, value, len);
}

static int skip(struct seat *seat, size_t len)
{
	uint8_t bytes[64];
	size_t n;
	int r = 0;

	for (; len > 0 && r == 0; len -= n) {
		n = len < sizeof(bytes) ? len : sizeof(bytes);
		r = link_get(&seat->link, bytes, n);
	}
	return r;
}

/* The value goes to @bufs + opaque * len, if there is one. */
static int answer(struct seat *seat, uint8_t *bufs, size_t len, struct head *ret)
{
	int r = link_get(&seat->link, ret, sizeof(*ret));
	size_t body;

	if (r < 0)
		return r;
	body = be32toh(ret->body_len);
	if (be16toh(ret->status) != STATUS_OK) {
		r = skip(seat, body);
		return r < 0 ? r : be16toh(ret->status) == STATUS_ABSENT ? -ENOENT : -EPROTO;
	}
	if (!bufs || body == 0)
		return skip(seat, body);
	if (body != len + ret->extra_len || ret->opaque >= PEER_BATCH)
		return -EBADMSG;
	r = skip(seat, ret->extra_len);
	return r < 0 ? r : link_get(&seat->link, bufs + ret->opaque * len, len);
}

static inline int ask_one(struct seat *seat, uint8_t op, const uint8_t *key, const uint8_t *value,
			  uint8_t *buf, size_t len)
{
	struct head head;
	int r;

	ask(seat, op, 0, key, value, value ? len : 0);
	r = link_flush(&seat->link);
	return r < 0 ? r : answer(seat, buf, len, &head);
}

static inline int peer_get(struct seat *seat, const uint8_t *key, uint8_t *buf, size_t len)
{
	return ask_one(seat, OP_GET, key, NULL, buf, len);
}

static inline int peer_put(struct seat *seat, const uint8_t *key, const uint8_t *value, size_t len)
{
	return ask_one(seat, OP_SET, key, value, NULL, len);
}

static inline int peer_del(struct seat *seat, const uint8_t *key)
{
	return ask_one(seat, OP_DELETE, key, NULL, NULL, 0);
}

/* All answers up to that of the no-operation; how many brought a value. */
static int answers(struct seat *seat, uint8_t *bufs, size_t len, unsigned int *ret_n)
{
	struct head head;
	int r;

	for (*ret_n = 0;; (*ret_n)++) {
		r = answer(seat, bufs, len, &head);
		if (r < 0 || head.op == OP_NOOP)
			return r;
	}
}

static inline int peer_get_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN], uint8_t *bufs,
				size_t len)
{
	unsigned int i, n = 0;
	int r;

	for (i = 0; i < PEER_BATCH; i++)
		ask(seat, OP_GETQ, i, keys[i], NULL, 0);
	ask(seat, OP_NOOP, 0, NULL, NULL, 0);
	r = link_flush(&seat->link);
	if (r == 0)
		r = answers(seat, bufs, len, &n);
	return r < 0 ? r : n == PEER_BATCH ? 0 : -ENOENT;
}

static inline int peer_put_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN],
				const uint8_t *values, size_t len)
{
	unsigned int i, n = 0;
	int r;

	for (i = 0; i < PEER_BATCH; i++)
		ask(seat, OP_SETQ, i, keys[i], values + i * len, len);
	ask(seat, OP_NOOP, 0, NULL, NULL, 0);
	r = link_flush(&seat->link);
	if (r == 0)
		r = answers(seat, NULL, len, &n);
	return r < 0 ? r : n == 0 ? 0 : -EPROTO;
}

#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, void **ret)
{
	/* Nothing may be evicted: twice what is stored, and an error beyond (-M). */
	size_t mib = (spec->entries * (spec->value_len + 120) * 2 >> 20) + 256;
	struct server *server = calloc(1, sizeof(*server));
	char memory[24];
	const char *argv[] = { "memcached", "-s", "@SOCKET", "-a", "0700", "-M", "-m", memory, "-I", "8m",
			       "-U", "0", geteuid() == 0 ? "-u" : NULL, "root", NULL };
	int r;

	if (!server)
		return -ENOMEM;
	snprintf(memory, sizeof(memory), "%zu", mib);
	r = server_start(server, argv);
	if (r < 0) {
		free(server);
		return r;
	}
	*ret = server;
	return 0;
}

static int attach(void *server, void **ret)
{
	struct seat *seat = calloc(1, sizeof(*seat));
	int r;

	if (!seat)
		return -ENOMEM;
	r = link_open(&seat->link, server);
	if (r < 0) {
		free(seat);
		return r;
	}
	*ret = seat;
	return 0;
}

static void hide(void *server)
{
	server_hide(server);
}

static void detach(void *arg)
{
	struct seat *seat = arg;

	link_close(&seat->link);
	free(seat);
}

static void end(void *server)
{
	server_stop(server);
	free(server);
}

static uint64_t memory(void *server)
{
	return server_memory(server);
}

const struct peer peer_memcached = {
	.name = "memcached", .text = "memcached on a unix socket", .type = PEER_SERVER,
	.can = PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY, .overhead = 120, .make = make,
	.attach = attach, .hide = hide, .run = peer_run_steps, .detach = detach, .end = end,
	.memory = memory,
};

/* SPDX-License-Identifier: MIT */
/*
 * peer-redis: Redis on a unix socket, without persistence. A batch is one MGET or MSET.
 */
#include "bench/peers/peer.h"
#include "bench/peers/server-link.h"

#include <stdio.h>
#include <stdlib.h>

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

/* What cannot be put is noticed at the next flush: the request is not whole then. */
static void begin(struct seat *seat, unsigned int n_args, const char *verb)
{
	char text[48];
	int len = snprintf(text, sizeof(text), "*%u\r\n$%zu\r\n%s\r\n", n_args, strlen(verb), verb);

	link_put(&seat->link, text, (size_t)len);
}

static void add(struct seat *seat, const void *bytes, size_t len)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "$%zu\r\n", len);

	link_put(&seat->link, text, (size_t)n);
	link_put(&seat->link, bytes, len);
	link_put(&seat->link, "\r\n", 2);
}

/* A line of the answer that begins with @type and gives a number. */
static int number(struct seat *seat, char type, long *ret)
{
	char text[128];
	int r = link_line(&seat->link, text, sizeof(text));

	if (r < 0)
		return r;
	if (text[0] != type)
		return -EPROTO;
	*ret = strtol(text + 1, NULL, 10);
	return 0;
}

static int bulk(struct seat *seat, uint8_t *buf, size_t len)
{
	char end[2];
	long found;
	int r = number(seat, '$', &found);

	if (r < 0)
		return r;
	if (found < 0)
		return -ENOENT;
	if ((size_t)found != len)
		return -EBADMSG;
	r = link_get(&seat->link, buf, len);
	return r < 0 ? r : link_get(&seat->link, end, 2);
}

static int simple(struct seat *seat)
{
	char text[128];
	int r = link_line(&seat->link, text, sizeof(text));

	return r < 0 ? r : strcmp(text, "+OK") == 0 ? 0 : -EPROTO;
}

static inline int peer_get(struct seat *seat, const uint8_t *key, uint8_t *buf, size_t len)
{
	int r;

	begin(seat, 2, "GET");
	add(seat, key, PEER_KEY_LEN);
	r = link_flush(&seat->link);
	return r < 0 ? r : bulk(seat, buf, len);
}

static inline int peer_put(struct seat *seat, const uint8_t *key, const uint8_t *value, size_t len)
{
	int r;

	begin(seat, 3, "SET");
	add(seat, key, PEER_KEY_LEN);
	add(seat, value, len);
	r = link_flush(&seat->link);
	return r < 0 ? r : simple(seat);
}

static inline int peer_del(struct seat *seat, const uint8_t *key)
{
	long n = 0;
	int r;

	begin(seat, 2, "DEL");
	add(seat, key, PEER_KEY_LEN);
	r = link_flush(&seat->link);
	if (r == 0)
		r = number(seat, ':', &n);
	return r < 0 ? r : n == 1 ? 0 : -ENOENT;
}

static inline int peer_get_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN], uint8_t *bufs,
				size_t len)
{
	unsigned int i;
	long n = 0;
	int r;

	begin(seat, 1 + PEER_BATCH, "MGET");
	for (i = 0; i < PEER_BATCH; i++)
		add(seat, keys[i], PEER_KEY_LEN);
	r = link_flush(&seat->link);
	if (r == 0)
		r = number(seat, '*', &n);
	for (i = 0; i < PEER_BATCH && r == 0; i++)
		r = bulk(seat, bufs + i * len, len);
	return r;
}

static inline int peer_put_many(struct seat *seat, uint8_t (*keys)[PEER_KEY_LEN],
				const uint8_t *values, size_t len)
{
	unsigned int i;
	int r;

	begin(seat, 1 + 2 * PEER_BATCH, "MSET");
	for (i = 0; i < PEER_BATCH; i++) {
		add(seat, keys[i], PEER_KEY_LEN);
		add(seat, values + i * len, len);
	}
	r = link_flush(&seat->link);
	return r < 0 ? r : simple(seat);
}

#include "bench/peers/peer-loops.h"

static int make(const struct peer_spec *spec, void **ret)
{
	static const char *const argv[] = { "redis-server", "--port", "0", "--unixsocket", "@SOCKET",
					    "--save", "", "--appendonly", "no", "--daemonize", "no",
					    "--dir", "@FOLDER", NULL };
	struct server *server = calloc(1, sizeof(*server));
	int r;

	(void)spec;
	if (!server)
		return -ENOMEM;
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

const struct peer peer_redis = {
	.name = "redis", .text = "Redis on a unix socket", .type = PEER_SERVER,
	.can = PEER_CAN_GET_MANY | PEER_CAN_PUT_MANY, .overhead = 120, .make = make,
	.attach = attach, .hide = hide, .run = peer_run_steps, .detach = detach, .end = end,
	.memory = memory,
};

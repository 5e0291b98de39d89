/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEERS_SERVER_LINK_H
#define SHMKV_BENCH_PEERS_SERVER_LINK_H

/*
 * server-link: a server of somebody else's, started for a measurement on a socket in a folder of its own, and
 * buffered connections to it.
 *
 * The server is killed when the process that started it ends, however that comes about.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct server {
	pid_t pid;
	char folder[64];
	char path[96]; /* of the socket */
};

/*
 * server_start - run a program and wait until it listens
 * @argv: ends with NULL; an argument "@SOCKET" or "@FOLDER" is replaced
 *
 * Returns 0 or a negative errno; -ENOENT when it is not installed or ends at once, -ETIMEDOUT when
 * it does not listen within ten seconds. Children of the caller must not become zombies.
 */
int server_start(struct server *server, const char *const *argv);
void server_stop(struct server *server);
/* Remove the socket and the folder; connections stay. */
void server_hide(const struct server *server);
/* Its resident memory, in bytes. */
uint64_t server_memory(const struct server *server);

struct link {
	int fd;
	uint8_t *out, *in;
	size_t out_len, out_cap, in_begin, in_end;
};

int link_open(struct link *link, const struct server *server);
void link_close(struct link *link);

/* Add to what is sent next. */
int link_put(struct link *link, const void *bytes, size_t len);
int link_flush(struct link *link);
/* Exactly so many bytes of the answer. */
int link_get(struct link *link, void *bytes, size_t len);
/* Up to the end of a line, without it, as text. -EMSGSIZE if it is longer than @cap. */
int link_line(struct link *link, char *text, size_t cap);

#endif

/* SPDX-License-Identifier: MIT */
#include "bench/peers/server-link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 31u
#define TRIES 1000u /* of ten milliseconds */
#define IN_SIZE ((size_t)64 << 10)

/* ---- the server ------------------------------------------------------------------- */

static const char *argument(const struct server *server, const char *text)
{
	if (strcmp(text, "@SOCKET") == 0)
		return server->path;
	if (strcmp(text, "@FOLDER") == 0)
		return server->folder;
	return text;
}

static void run(const struct server *server, const char *const *argv, pid_t parent)
{
	char *args[ARGS_MAX + 1];
	unsigned int i;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_DFL);
	if (getppid() != parent)
		_exit(127);
	fd = open("/dev/null", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
	}
	for (i = 0; argv[i] && i < ARGS_MAX; i++)
		args[i] = strdup(argument(server, argv[i]));
	args[i] = NULL;
	execvp(args[0], args);
	_exit(127);
}

static int connect_to(const struct server *server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, server->path, sizeof(server->path));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int server_start(struct server *server, const char *const *argv)
{
	pid_t parent = getpid();
	unsigned int i;
	int fd, r = -ETIMEDOUT;

	strcpy(server->folder, "/tmp/shmkv-bench-XXXXXX");
	if (!mkdtemp(server->folder))
		return -errno;
	snprintf(server->path, sizeof(server->path), "%s/socket", server->folder);
	server->pid = fork();
	if (server->pid == 0)
		run(server, argv, parent);
	for (i = 0; server->pid > 0 && i < TRIES; i++) {
		fd = connect_to(server);
		if (fd >= 0) {
			close(fd);
			return 0;
		}
		/* Children of a keeper are not waited for: one that ended is gone. */
		if (kill(server->pid, 0) < 0) {
			server->pid = 0;
			r = -ENOENT;
			break;
		}
		usleep(10000);
	}
	r = server->pid < 0 ? -EAGAIN : r;
	server_stop(server);
	return r;
}

void server_hide(const struct server *server)
{
	unlink(server->path);
	rmdir(server->folder);
}

void server_stop(struct server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	server_hide(server);
}

uint64_t server_memory(const struct server *server)
{
	unsigned long pages = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/statm", (long)server->pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%*s %lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- a connection ----------------------------------------------------------------- */

int link_open(struct link *link, const struct server *server)
{
	memset(link, 0, sizeof(*link));
	link->fd = connect_to(server);
	if (link->fd < 0)
		return link->fd;
	link->in = malloc(IN_SIZE);
	return link->in ? 0 : -ENOMEM;
}

void link_close(struct link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	free(link->in);
	free(link->out);
}

int link_put(struct link *link, const void *bytes, size_t len)
{
	uint8_t *more;

	if (link->out_len + len > link->out_cap) {
		more = realloc(link->out, 2 * (link->out_len + len));
		if (!more)
			return -ENOMEM;
		link->out = more;
		link->out_cap = 2 * (link->out_len + len);
	}
	memcpy(link->out + link->out_len, bytes, len);
	link->out_len += len;
	return 0;
}

int link_flush(struct link *link)
{
	size_t done = 0;
	ssize_t n;

	while (done < link->out_len) {
		n = send(link->fd, link->out + done, link->out_len - done, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	link->out_len = 0;
	return 0;
}

static int fill(struct link *link, uint8_t *to, size_t len, size_t *ret)
{
	ssize_t n;

	do
		n = recv(link->fd, to, len, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	*ret = (size_t)n;
	return 0;
}

int link_get(struct link *link, void *bytes, size_t len)
{
	uint8_t *to = bytes;
	size_t n;
	int r;

	while (len > 0) {
		n = link->in_end - link->in_begin;
		if (n == 0 && len >= IN_SIZE) {
			/* Large values go where they belong at once. */
			r = fill(link, to, len, &n);
			if (r < 0)
				return r;
			to += n;
			len -= n;
			continue;
		}
		if (n == 0) {
			link->in_begin = 0;
			r = fill(link, link->in, IN_SIZE, &link->in_end);
			if (r < 0)
				return r;
			continue;
		}
		n = n < len ? n : len;
		memcpy(to, link->in + link->in_begin, n);
		link->in_begin += n;
		to += n;
		len -= n;
	}
	return 0;
}

int link_line(struct link *link, char *text, size_t cap)
{
	size_t len = 0;
	int r;

	for (;;) {
		r = link_get(link, text + len, 1);
		if (r < 0)
			return r;
		if (text[len] == '\n')
			break;
		if (++len == cap)
			return -EMSGSIZE;
	}
	if (len > 0 && text[len - 1] == '\r')
		len--;
	text[len] = '\0';
	return 0;
}

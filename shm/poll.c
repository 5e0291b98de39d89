/* SPDX-License-Identifier: MIT */
#include "shm/poll.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

/*
 * Purpose and ancestry. A pipe or an eventfd would have to be handed from process to process by
 * somebody. What all of them have in common is the file, and inotify tells everybody who
 * watches a file that somebody did something to it, whether or not it still has a name.
 * Who makes a change and sees the flag of a poller rings: asks for memory for a byte of the
 * file that has it already. The kernel puts the event into the queue of each watch before the
 * call returns, and equal events in a row are one.
 *
 * Flags, steps and the order of everything: see wait.c. Whether bell and watch meet, on this
 * kernel and file system, is tried when a descriptor is made.
 */

/* More than one only while others are rung at the same moment; what is left makes poll(2) return
 * without a reason. */
#define READS_MAX 16

/* P1. */
static int drain(int fd)
{
	char events[4096];
	int i, flags = fcntl(fd, F_GETFL);
	ssize_t n;

	/* Ours never block; one that does is not ours. */
	if (flags < 0 || !(flags & O_NONBLOCK))
		return -EINVAL;
	for (i = 0; i < READS_MAX; i++) {
		n = read(fd, events, sizeof(events));
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		return n < 0 && errno == EAGAIN ? 0 : -EINVAL;
	}
	return 0;
}

static int watch(struct skv_map *map, int fd)
{
	int file = skv_region_fd(&map->region);
	char path[64];

	if (file < 0)
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (inotify_add_watch(fd, path, IN_MODIFY | IN_ATTRIB) >= 0)
		return 0;
	return errno == ENOSPC ? -EMFILE : errno == ENOMEM ? -ENOMEM : -EOPNOTSUPP;
}

static bool rings(struct skv_map *map, int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	return skv_region_ring(&map->region) == 0 && poll(&ready, 1, 0) == 1;
}

int skv_poll_open(struct skv_map *map, int *ret_fd)
{
	int fd, r;

	if (map->region.read_only)
		return -EOPNOTSUPP;
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? -EMFILE :
		       errno == ENOMEM			  ? -ENOMEM :
							    -EOPNOTSUPP;
	r = watch(map, fd);
	if (r == 0 && !rings(map, fd))
		r = -EOPNOTSUPP;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int skv_poll(struct skv_map *map, int fd, const struct skv_key *key, uint64_t seen,
	     uint64_t *ret_state)
{
	int r;

	if (map->region.read_only)
		return -EOPNOTSUPP;
	r = drain(fd);
	if (r < 0)
		return r;
	return key ? skv_wait_poll_key(map, key, seen, ret_state) :
		     skv_wait_poll_any(map, seen, ret_state);
}

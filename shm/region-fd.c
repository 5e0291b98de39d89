/* SPDX-License-Identifier: MIT */
#include "shm/region-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Descriptors. The application may close descriptors behind our back (closefrom), and the
 * number may then name anything, even another description of this same file through which
 * another handle of this process holds its lock: asked through that one, a held lock looks
 * free. Therefore a description for asking carries a mark that no other description has:
 * its file position, AUX_MARK. Only a descriptor with the right inode and the mark is used
 * or closed.
 */

/* Any position that nobody else seeks to; small, as file systems limit it. */
#define AUX_MARK ((off_t)0x736b76)

int skv_region_remember_file(struct skv_region *region, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return skv_region_code(errno);
	region->dev = st.st_dev;
	region->ino = st.st_ino;
	return st.st_nlink > 0 ? 1 : 0;
}

static bool fd_is_ours(const struct skv_region *region, int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == region->dev &&
	       st.st_ino == region->ino;
}

static bool aux_is_ours(const struct skv_region *region, int fd)
{
	return fd_is_ours(region, fd) && lseek(fd, 0, SEEK_CUR) == AUX_MARK;
}

/* One more description of our file by @path; -EBADF when that is another file. */
static int open_aux_at(const struct skv_region *region, const char *path, int flags)
{
	int fd;

	fd = open(path, flags | (region->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK |
				O_NOCTTY);
	if (fd < 0)
		return skv_region_code(errno);
	if (!fd_is_ours(region, fd) || lseek(fd, AUX_MARK, SEEK_SET) != AUX_MARK) {
		close(fd);
		return -EBADF;
	}
	return fd;
}

int skv_region_open_aux(const struct skv_region *region, int fd)
{
	char path[PATH_MAX];
	int r;

	if (fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		r = open_aux_at(region, path, 0);
		if (r >= 0 || r == -EMFILE)
			return r;
	}
	if (region->name[0] == '\0')
		return -EBADF;
	/* Only the name of a temporary file begins with a dot, and that one has no prefix. */
	r = skv_region_path(region->name[0] == '.' ? "" : SKV_REGION_PREFIX, region->name, path);
	if (r < 0)
		return -EBADF;
	r = open_aux_at(region, path, O_NOFOLLOW);
	return r >= 0 || r == -EMFILE ? r : -EBADF;
}

int skv_region_mark_aux(struct skv_region *region)
{
	if (lseek(region->map_fd, AUX_MARK, SEEK_SET) != AUX_MARK)
		return -EIO;
	region->aux_fd = region->map_fd;
	region->map_fd = -1;
	return 0;
}

int skv_region_fd(struct skv_region *region)
{
	int fd, fresh;

	/* Relaxed: the number is proved by asking the kernel, nothing else hangs on it. */
	fd = __atomic_load_n(&region->aux_fd, __ATOMIC_RELAXED);
	if (aux_is_ours(region, fd))
		return fd;

	/* What has the number now is the application's: it stays open. */
	fresh = skv_region_open_aux(region, region->map_fd);
	if (fresh < 0)
		return -EBADF;
	if (!__atomic_compare_exchange_n(&region->aux_fd, &fd, fresh, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED)) {
		/* Another thread was here first: its descriptor is as good. */
		close(fresh);
		return aux_is_ours(region, fd) ? fd : -EBADF;
	}
	return fresh;
}

void skv_region_close_fds(struct skv_region *region)
{
	if (aux_is_ours(region, region->aux_fd))
		close(region->aux_fd);
	if (fd_is_ours(region, region->map_fd))
		close(region->map_fd);
	region->aux_fd = -1;
	region->map_fd = -1;
}

int skv_region_ring(struct skv_region *region)
{
	int fd = skv_region_fd(region);

	if (fd < 0)
		return fd;
	/* Memory for a byte that has it: a modification to inotify, and asks for no permission but
	 * that of the descriptor. File systems that cannot do it can set times. */
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)region->geo.wait_off, 1) == 0 ||
	    futimens(fd, NULL) == 0)
		return 0;
	return skv_region_code(errno);
}

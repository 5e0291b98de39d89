/* SPDX-License-Identifier: MIT */
#include "new-file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE 0600

static int folder_of(const char *path, char ret_folder[PATH_MAX])
{
	char copy[PATH_MAX];

	if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
		return -ENAMETOOLONG;
	snprintf(ret_folder, PATH_MAX, "%s", dirname(copy));
	return 0;
}

static int open_temporary(struct new_file *file)
{
	if ((size_t)snprintf(file->temporary, sizeof(file->temporary), "%s.XXXXXX", file->path) >=
	    sizeof(file->temporary))
		return -ENAMETOOLONG;
	file->fd = mkostemp(file->temporary, O_CLOEXEC);
	if (file->fd < 0)
		return -errno;
	file->named = true;
	return 0;
}

int new_file_begin(struct new_file *file, const char *path)
{
	char folder[PATH_MAX];
	struct stat st;
	int r;

	*file = (struct new_file){ .path = path };
	if (strcmp(path, "-") == 0) {
		file->direct = true;
		file->fd = STDOUT_FILENO;
		return 0;
	}
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		if (S_ISDIR(st.st_mode))
			return -EISDIR;
		file->direct = true;
		file->fd = open(path, O_WRONLY | O_CLOEXEC);
		return file->fd < 0 ? -errno : 0;
	}
	r = folder_of(path, folder);
	if (r < 0)
		return r;
	file->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, MODE);
	if (file->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return -errno;
	return open_temporary(file);
}

/* An unnamed file cannot replace another one in one step: it takes a temporary name first. */
static int name_it(struct new_file *file)
{
	char proc[64];
	int tries;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", file->fd);
	for (tries = 0; tries < 100; tries++) {
		if ((size_t)snprintf(file->temporary, sizeof(file->temporary), "%s.%d-%d", file->path,
				     (int)getpid(), tries) >= sizeof(file->temporary))
			return -ENAMETOOLONG;
		if (linkat(AT_FDCWD, proc, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) == 0) {
			file->named = true;
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int sync_folder(const char *path)
{
	char folder[PATH_MAX];
	int fd, r = folder_of(path, folder);

	if (r < 0)
		return r;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
	close(fd);
	return r;
}

int new_file_commit(struct new_file *file)
{
	int r = 0;

	if (file->direct) {
		if (file->fd != STDOUT_FILENO && close(file->fd) < 0)
			r = -errno;
		return r;
	}
	if (fsync(file->fd) < 0)
		r = -errno;
	if (r == 0 && !file->named)
		r = name_it(file);
	if (r == 0 && rename(file->temporary, file->path) < 0)
		r = -errno;
	if (r < 0) {
		new_file_drop(file);
		return r;
	}
	close(file->fd);
	return sync_folder(file->path);
}

void new_file_drop(struct new_file *file)
{
	if (file->fd != STDOUT_FILENO)
		close(file->fd);
	if (file->named)
		unlink(file->temporary);
}

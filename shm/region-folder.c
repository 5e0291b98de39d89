/* SPDX-License-Identifier: MIT */
#include "shm/region-parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shmkv/inspect.h>

/*
 * A segment NAME is the file shmkv.NAME in /dev/shm. SHMKV_DIR, an absolute path in the
 * environment, takes the place of /dev/shm; programs that gained privileges by being
 * executed (setuid, setgid, capabilities) ignore it.
 *
 * The header of a file that is not known to be ours is read with pread, never mapped.
 */

#define FOLDER "/dev/shm"

int skv_region_code(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
	case EROFS:
		return -EACCES;
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case EMFILE:
	case ENFILE:
		return -EMFILE;
	case EOPNOTSUPP:
	case ENOSYS:
		return -EOPNOTSUPP;
	case ENOENT:
	case EEXIST:
	case ENOMEM:
		return -err;
	default:
		return -EIO;
	}
}

/* The same for opening what should be a segment: other kinds of file answer in many ways. */
static int code_of_open(int err)
{
	switch (err) {
	case ELOOP:
	case EISDIR:
	case ENXIO:
	case ENODEV:
		return -EMEDIUMTYPE;
	default:
		return skv_region_code(err);
	}
}

bool skv_region_name_is_valid(const char *name)
{
	size_t len;

	if (!name || name[0] == '\0' || name[0] == '.')
		return false;
	len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
	return name[len] == '\0' && len <= SHMKV_NAME_MAX;
}

const char *skv_region_folder(void)
{
	const char *dir = secure_getenv("SHMKV_DIR");

	return dir && dir[0] == '/' ? dir : FOLDER;
}

int skv_region_path(const char *prefix, const char *name, char ret_path[PATH_MAX])
{
	int len = snprintf(ret_path, PATH_MAX, "%s/%s%s", skv_region_folder(), prefix, name);

	return len < 0 || len >= PATH_MAX ? -EINVAL : 0;
}

int skv_region_open_named(const char *name, int flags)
{
	char path[PATH_MAX];
	int fd, r;

	if (!skv_region_name_is_valid(name))
		return -EINVAL;
	r = skv_region_path(SKV_REGION_PREFIX, name, path);
	if (r < 0)
		return r;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? code_of_open(errno) : fd;
}

int skv_region_read_header(int fd, void *buf, size_t len, uint64_t *ret_file_bytes)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return skv_region_code(errno);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < SKV_PAGE)
		return -EMEDIUMTYPE;
	do {
		n = pread(fd, buf, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return skv_region_code(errno);
	if ((size_t)n < len)
		return -EMEDIUMTYPE;
	*ret_file_bytes = (uint64_t)st.st_size;
	return 0;
}

/* 0 if the file begins like a segment of any version. */
static int probe(const char *name)
{
	uint64_t magic, file_bytes;
	int fd, r;

	fd = skv_region_open_named(name, O_RDONLY);
	if (fd < 0)
		return fd;
	r = skv_region_read_header(fd, &magic, sizeof(magic), &file_bytes);
	if (r == 0 && magic != SKV_MAGIC)
		r = -EMEDIUMTYPE;
	close(fd);
	return r;
}

int skv_region_unlink(const char *name)
{
	char path[PATH_MAX];
	int r;

	/* Two creators may exchange the file between the look and the removal; then this is
	 * like an unlink that came a little later. */
	r = probe(name);
	if (r < 0)
		return r;
	r = skv_region_path(SKV_REGION_PREFIX, name, path);
	if (r < 0)
		return r;
	return unlink(path) < 0 ? skv_region_code(errno) : 0;
}

/* A segment that we may not read still has a name; whether it is one nobody can tell us. */
static bool is_unreadable_file(const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	return skv_region_path(SKV_REGION_PREFIX, name, path) == 0 && lstat(path, &st) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size > SKV_PAGE;
}

int skv_region_list(int (*fn)(const char *name, void *arg), void *arg)
{
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	dir = opendir(skv_region_folder());
	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? -EIO : skv_region_code(errno);

	while (r == 0) {
		const char *name;

		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			if (errno != 0)
				r = skv_region_code(errno);
			break;
		}
		if (strncmp(entry->d_name, SKV_REGION_PREFIX, strlen(SKV_REGION_PREFIX)) != 0)
			continue;
		name = entry->d_name + strlen(SKV_REGION_PREFIX);
		if (!skv_region_name_is_valid(name))
			continue;
		r = probe(name);
		if (r == -EMFILE || r == -ENOMEM)
			break;
		if (r < 0 && !(r == -EACCES && is_unreadable_file(name))) {
			r = 0;
			continue;
		}
		r = fn(name, arg);
	}
	closedir(dir);
	return r;
}

int skv_region_linked(const struct skv_region *region, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	int r = skv_region_path(SKV_REGION_PREFIX, name, path);

	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? SHMKV_UNLINKED : skv_region_code(errno);
	return st.st_dev == region->dev && st.st_ino == region->ino ? SHMKV_LINKED : SHMKV_REPLACED;
}

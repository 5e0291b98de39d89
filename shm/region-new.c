/* SPDX-License-Identifier: MIT */
#include "shm/region-parts.h"

#include "base/boot.h"
#include "base/clock.h"
#include "base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Creation.
 *
 *     open(O_TMPFILE)   ftruncate   mmap, DONTFORK   reserve   superblock   magic   linkat
 *    ───────┬───────────────┬─────────────┬─────────────┬───────────┬─────────┬───────┬────►
 *        OPENED           SIZED         MAPPED       RESERVED     FILLED   MARKED  PUBLISHED
 *    └──────────────────── one process knows the file ──────────────────────────┘
 *
 * Who sees what. Until linkat no other process can reach the file, so all stores before it
 * are plain; linkat is one atomic step of the kernel and orders them before every open by
 * name. It is also the linearisation point of creation: of two creators of one name exactly
 * one succeeds, the other gets EEXIST and its file vanishes.
 *
 * A process dies here:
 *
 *   before the name     the kernel frees the file with its last descriptor and mapping
 *   after the name      a whole, empty segment stands; its creator's process slot is found
 *                       dead by anybody who attaches
 *
 * Without O_TMPFILE, or without a /proc to open the unnamed file a second time, the file is
 * made under a random temporary name and renamed without replacing. Death before the rename
 * then leaves a file ".shmkv-tmp.*" which is never listed nor attached; the next creator
 * that goes the same way removes it. It knows a dead creator's file by a lock byte that the
 * creator holds through the description of its mapping, like the locks of peer.c:
 *
 *   creator   create file, take the byte (or give the name up), see that the name still
 *             counts (link count not 0, or give it up), go on
 *   cleaner   take the byte (or leave the file alone), remove the name, close
 */

#define TEMP_PREFIX ".shmkv-tmp."
#define TEMP_TRIES 16

static int fill_random(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? skv_region_code(errno) : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool take_temporary(int fd)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = SKV_LOCK_BASE - 1,
		.l_len = 1,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Removes what dead creators left. Best effort: another user's files are not ours to open. */
static void remove_stale_temporaries(void)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int fd;

	dir = opendir(skv_region_folder());
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0 ||
		    skv_region_path("", entry->d_name, path) < 0)
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			continue;
		if (take_temporary(fd))
			unlink(path);
		close(fd);
	}
	closedir(dir);
}
/* -EOPNOTSUPP: try a named file instead. */
static int open_unnamed(struct skv_region *region)
{
	int fd, r;

	fd = open(skv_region_folder(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		switch (errno) {
		case EISDIR: /* kernels before 3.11 take it for the folder itself */
		case EINVAL:
		case EOPNOTSUPP:
		case ENOENT:
		case ENOTDIR:
			return -EOPNOTSUPP;
		default:
			return skv_region_code(errno);
		}
	}
	region->map_fd = fd;
	r = skv_region_remember_file(region, fd);
	if (r < 0)
		return r;
	/* A umask may have taken our own permission, which a second opening needs. */
	if (fchmod(fd, 0600) < 0)
		return skv_region_code(errno);
	r = skv_region_open_aux(region, fd);
	if (r < 0) {
		skv_region_close_fds(region);
		return r == -EMFILE ? r : -EOPNOTSUPP;
	}
	region->aux_fd = r;
	return 0;
}

static int open_temporary(struct skv_region *region)
{
	char path[PATH_MAX];
	uint64_t random;
	int r;

	remove_stale_temporaries();
	for (unsigned int i = 0; i < TEMP_TRIES; i++) {
		r = fill_random(&random, sizeof(random));
		if (r < 0)
			return r;
		snprintf(region->name, sizeof(region->name), TEMP_PREFIX "%016llx",
			 (unsigned long long)random);
		r = skv_region_path("", region->name, path);
		if (r < 0)
			return r;
		region->map_fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		if (region->map_fd < 0) {
			region->name[0] = '\0';
			if (errno == EEXIST)
				continue;
			/* No folder, no shared memory. */
			return errno == ENOENT || errno == ENOTDIR ? -EOPNOTSUPP :
								     skv_region_code(errno);
		}
		if (!take_temporary(region->map_fd) ||
		    skv_region_remember_file(region, region->map_fd) != 1) {
			/* A cleaner came first; the name is gone or about to be. */
			unlink(path);
			close(region->map_fd);
			region->map_fd = -1;
			region->name[0] = '\0';
			continue;
		}
		if (fchmod(region->map_fd, 0600) < 0)
			return skv_region_code(errno);
		r = skv_region_open_aux(region, region->map_fd);
		if (r < 0)
			return r == -EMFILE ? r : -EOPNOTSUPP;
		region->aux_fd = r;
		return 0;
	}
	return -EIO;
}

static int set_size(int fd, uint64_t bytes)
{
	struct rlimit limit;

	/* Beyond this limit ftruncate does not only fail, it sends SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    limit.rlim_cur < bytes)
		return -EOPNOTSUPP;
	while (ftruncate(fd, (off_t)bytes) < 0) {
		switch (errno) {
		case EINTR:
			continue;
		case EFBIG:
		case EINVAL:
			return -EOPNOTSUPP;
		default:
			return skv_region_code(errno);
		}
	}
	return 0;
}

/* Plain stores: nobody else can reach the segment yet. Pages are fresh, so the rest is 0. */
static int write_superblock(struct skv_region *region)
{
	struct skv_superblock *sb = skv_region_super(region);
	const struct skv_geometry *geo = &region->geo;
	uint64_t random[3];
	int r;

	r = fill_random(random, sizeof(random));
	if (r < 0)
		return r;
	region->hash_k0 = random[0];
	region->hash_k1 = random[1];
	region->block_secret = random[2];

	sb->format_version = SKV_FORMAT_VERSION;
	sb->geometry_mark = SKV_GEOMETRY_MARK;
	sb->segment_bytes = geo->segment_bytes;
	sb->max_bytes = geo->max_bytes;
	sb->wait_off = geo->wait_off;
	sb->process_off = geo->process_off;
	sb->context_off = geo->context_off;
	sb->class_off = geo->class_off;
	sb->policy_off = geo->policy_off;
	sb->dir_off = geo->dir_off;
	sb->cell_off = geo->cell_off;
	sb->bitmap_off = geo->bitmap_off;
	sb->summary_off = geo->summary_off;
	sb->chunk_off = geo->chunk_off;
	sb->n_processes = geo->n_processes;
	sb->n_contexts = geo->n_contexts;
	sb->n_chunks = geo->n_chunks;
	sb->hash_kind = geo->hash_kind;
	sb->level_min = geo->level_min;
	sb->level_max = geo->level_max;
	sb->evict = geo->evict;
	sb->huge_pages = geo->huge;
	sb->hash_k0 = region->hash_k0;
	sb->hash_k1 = region->hash_k1;
	sb->block_secret = region->block_secret;
	sb->created_ms = skv_clock_boot_ms();
	skv_boot_id(sb->boot_id);
	sb->default_ttl_ms = geo->default_ttl_ms;
	sb->time_ns = skv_clock_namespace();
	sb->contexts_ready =
		geo->n_contexts < SKV_CONTEXTS_PER_PAGE ? geo->n_contexts : SKV_CONTEXTS_PER_PAGE;
	sb->reap_ms = sb->created_ms;
	SKV_FAULT(CREATE_FILLED);

	/* Last, so that a file which lost its creator early is never taken for a segment. */
	skv_store_release(&sb->magic, SKV_MAGIC);
	SKV_FAULT(CREATE_MARKED);
	return 0;
}

int skv_region_new(const struct skv_geometry *geo, uint32_t mode, struct skv_region *ret_region)
{
	struct skv_region region = { .geo = *geo, .map_fd = -1, .aux_fd = -1 };
	int r;

	r = skv_atomic_selftest();
	if (r < 0)
		return r;

	r = open_unnamed(&region);
	if (r == -EOPNOTSUPP)
		r = open_temporary(&region);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_OPENED);

	if (fchmod(region.map_fd, mode & 0777) < 0) {
		r = skv_region_code(errno);
		goto fail;
	}
	r = set_size(region.map_fd, geo->segment_bytes);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_SIZED);

	r = skv_region_map(&region, region.map_fd);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_MAPPED);

	r = skv_region_reserve_tables(&region);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_RESERVED);

	r = write_superblock(&region);
	if (r < 0)
		goto fail;

	*ret_region = region;
	return 0;

fail:
	skv_region_detach(&region);
	return r;
}

/*
 * By the descriptor itself, which needs either a capability or, since Linux 6.10, the same
 * credentials that opened it; otherwise through /proc.
 */
static int link_unnamed(int fd, const char *path)
{
	char proc[64];

	if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno == EEXIST)
		return -EEXIST;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
		return skv_region_code(errno);
	return 0;
}

int skv_region_publish(struct skv_region *region, const char *name)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int fd, r;

	if (!skv_region_name_is_valid(name))
		return -EINVAL;
	r = skv_region_path(SKV_REGION_PREFIX, name, path);
	if (r < 0)
		return r;

	if (region->name[0] == '.') {
		r = skv_region_path("", region->name, temporary);
		if (r < 0)
			return r;
		if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
			r = errno == EINVAL ? -EOPNOTSUPP : skv_region_code(errno);
	} else {
		fd = skv_region_fd(region);
		r = fd < 0 ? -EIO : link_unnamed(fd, path);
	}
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	SKV_FAULT(CREATE_PUBLISHED);

	snprintf(region->name, sizeof(region->name), "%s", name);
	return 0;
}

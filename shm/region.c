/* SPDX-License-Identifier: MIT */
#include "shm/region-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The life of a region in one process: from attach, or from creation (region-new.c), to
 * detach.
 *
 *   region-folder.c   names, the folder, unlink and list
 *   geometry.c        what the header must say
 *   region-fd.c       descriptions of the file and how ours is known
 *   region-memory.c   the mapping, and memory from the system
 *   region-new.c      creation, and why a segment is complete or absent
 *
 * Fork by another thread. Between open and MADV_DONTFORK, and until peer.c closes map_fd, a
 * child forked by another thread inherits the description; if its parent is killed and it
 * neither executes nor ends, the parent counts as alive for as long. This delays recovery
 * and corrupts nothing.
 */

int skv_region_attach(const char *name, bool read_only, struct skv_region *ret_region)
{
	struct skv_region region = { .read_only = read_only, .map_fd = -1, .aux_fd = -1 };
	struct skv_superblock sb;
	uint64_t file_bytes;
	int fd, r;

	r = skv_atomic_selftest();
	if (r < 0)
		return r;
	fd = skv_region_open_named(name, read_only ? O_RDONLY : O_RDWR);
	if (fd < 0)
		return fd;
	region.map_fd = fd;
	r = skv_region_remember_file(&region, fd);
	if (r < 0) {
		close(fd);
		return r;
	}

	r = skv_region_read_header(fd, &sb, sizeof(sb), &file_bytes);
	if (r < 0)
		goto fail;
	r = skv_geometry_check(&sb, file_bytes, &region.geo);
	if (r < 0)
		goto fail;
	region.hash_k0 = sb.hash_k0;
	region.hash_k1 = sb.hash_k1;
	region.block_secret = sb.block_secret;
	snprintf(region.name, sizeof(region.name), "%s", name);

	r = skv_region_map(&region, fd);
	if (r < 0)
		goto fail;

	if (read_only) {
		/* It holds no lock, so it can ask about all of them itself. */
		r = skv_region_mark_aux(&region);
		if (r < 0)
			goto fail;
	} else {
		r = skv_region_open_aux(&region, fd);
		if (r < 0) {
			if (r == -EBADF)
				r = -EIO;
			goto fail;
		}
		region.aux_fd = r;
		/* Present in every sound segment; in another one they might be holes. */
		r = skv_region_reserve_tables(&region);
		if (r < 0) {
			r = r == -ENOSPC ? -EBADMSG : r;
			goto fail;
		}
	}

	*ret_region = region;
	return 0;

fail:
	skv_region_detach(&region);
	return r;
}

void skv_region_detach(struct skv_region *region)
{
	char path[PATH_MAX];

	if (region->name[0] == '.' && skv_region_path("", region->name, path) == 0)
		unlink(path);
	region->name[0] = '\0';
	if (region->base)
		munmap(region->base, region->geo.segment_bytes);
	region->base = NULL;
	skv_region_close_fds(region);
}

void skv_region_abandon(struct skv_region *region)
{
	/* The addresses may hold something else by now, and the lock is the parent's: closing
	 * is all that a child may do. */
	region->name[0] = '\0';
	region->base = NULL;
	skv_region_close_fds(region);
}

/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_REGION_H
#define SKV_SHM_REGION_H

/*
 * region: the segment as a mapped file: made, published, attached, reserved, removed.
 *
 * The only module, with peer, that makes system calls on the segment. It knows the
 * geometry in the superblock and nothing of what the tables hold.
 */

#include "shm/geometry.h"

#include <shmkv/shmkv.h>

#include <stdbool.h>
#include <sys/types.h>

struct skv_region {
	uint8_t *base;
	bool read_only;
	struct skv_geometry geo;
	uint64_t hash_k0, hash_k1, block_secret; /* copies */

	/* The description the mapping was made from; peer.c locks through it and closes it:
	 * the lock then lives exactly as long as the mapping. -1 when closed. */
	int map_fd;
	/* Another description of the same file, for asking about locks. May have been closed or
	 * replaced by the application: used only through skv_region_fd, which knows it by a
	 * mark (region-fd.c). */
	int aux_fd;
	dev_t dev;
	ino_t ino;
	/* Empty before publication; begins with a dot while it is that of a temporary file. */
	char name[SHMKV_NAME_MAX + 1];
};

static inline struct skv_superblock *skv_region_super(const struct skv_region *region)
{
	return (struct skv_superblock *)(void *)region->base;
}

/*
 * skv_region_new - an unnamed, mapped segment with its fixed tables reserved and zeroed
 * @geo: from skv_geometry_plan
 * @mode: permission bits, set exactly
 * @ret_region: filled; superblock written except for what index and arena set up
 *
 * Nothing is visible to anybody until skv_region_publish. If the process dies the kernel
 * frees it. Returns 0, -ENOSPC, -EACCES, -EOPNOTSUPP, -ENOMEM, -EMFILE, -EIO.
 */
int skv_region_new(const struct skv_geometry *geo, uint32_t mode, struct skv_region *ret_region);

/* skv_region_publish - give the segment its name, atomically; -EEXIST if it is taken */
int skv_region_publish(struct skv_region *region, const char *name);

/*
 * skv_region_attach - map an existing segment and check its header
 *
 * Every number is checked against the file's size and against each other before it is
 * used. Returns the lifecycle codes of shmkv_attach.
 */
int skv_region_attach(const char *name, bool read_only, struct skv_region *ret_region);

/* skv_region_detach - unmap and close; accepts a region that is half built */
void skv_region_detach(struct skv_region *region);

/* skv_region_abandon - in a forked child, where the mapping does not exist: close only */
void skv_region_abandon(struct skv_region *region);

/*
 * skv_region_reserve - take memory from the system for a stretch of the file
 * @off, @len: bytes; widened to whole pages
 *
 * Idempotent, may be repeated and raced. Returns 0, -ENOSPC (nothing may be touched), -EIO
 * (also for a stretch that leaves the segment, and on a read-only region).
 * A process that dies half-way leaves pages that a later call finds present.
 */
int skv_region_reserve(struct skv_region *region, uint64_t off, uint64_t len);

/*
 * skv_region_fd - a descriptor of this file for lock queries
 *
 * Validates aux_fd by device and inode, or opens the name again. Returns a descriptor
 * owned by the region, or -EBADF when the file cannot be reached any more.
 */
int skv_region_fd(struct skv_region *region);

/*
 * skv_region_ring - let every inotify watch on the file know
 *
 * By descriptor and without a change of the file; see shm/poll.c. Returns 0, or a negative code
 * when there is no way to the file any more.
 */
int skv_region_ring(struct skv_region *region);

/*
 * skv_region_collapse - one huge page in place of the small ones at @off
 * @off: a multiple of SKV_HUGE_BYTES; all of the stretch is reserved
 *
 * Returns 0, also when it is one already; -EAGAIN: the system has none now; -EOPNOTSUPP: it
 * gives none.
 */
int skv_region_collapse(const struct skv_region *region, uint64_t off);

/* How much of this mapping is reached through huge pages, and whether first use gives them. */
void skv_region_huge_obtained(const struct skv_region *region, uint64_t *ret_bytes,
			      bool *ret_at_once);

/* The size of a huge page or 0, and the words of the system and of the mount, or "". */
#define SKV_HUGE_WORD 24
void skv_region_huge_setting(const struct skv_region *region, uint64_t *ret_page_bytes,
			     char ret_kernel[SKV_HUGE_WORD], char ret_mount[SKV_HUGE_WORD]);

/* Memory that the file takes; 0 when the kernel does not tell. */
uint64_t skv_region_file_bytes(struct skv_region *region);

int skv_region_unlink(const char *name);

/* Does the name lead to this segment? enum shmkv_link, or an error. */
int skv_region_linked(const struct skv_region *region, const char *name);
int skv_region_list(int (*fn)(const char *name, void *arg), void *arg);

#endif

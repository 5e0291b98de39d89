/* SPDX-License-Identifier: MIT */
#include "shm/region-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

/*
 * Memory. Whoever touches a page of a mapping that has no memory behind it on a full file
 * system is killed by SIGBUS. So pages are taken by skv_region_reserve, which fails
 * cleanly, before the first touch. What remains: a process that truncates the file on
 * purpose kills everybody who has it mapped. Only those with write permission can.
 */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int skv_region_map(struct skv_region *region, int fd)
{
	int prot = region->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	uint64_t bytes = region->geo.segment_bytes;
	void *base, *place = NULL;

	/* Only where address and offset agree can a stretch of the file be a huge page. */
	if (region->geo.huge != SHMKV_HUGE_NEVER)
		place = skv_region_huge_place(bytes);
	base = mmap(place, bytes, prot, MAP_SHARED | MAP_NORESERVE | (place ? MAP_FIXED : 0), fd, 0);
	if (base == MAP_FAILED) {
		int err = errno;

		if (place)
			munmap(place, bytes);
		return skv_region_code(err);
	}
	region->base = base;
	skv_region_huge_advise(region);
	/* No child has the mapping, so no child can hold our lock or write as us. */
	if (madvise(base, region->geo.segment_bytes, MADV_DONTFORK) < 0)
		return errno == EINVAL ? -EOPNOTSUPP : skv_region_code(errno);
	return 0;
}

int skv_region_reserve(struct skv_region *region, uint64_t off, uint64_t len)
{
	uint64_t end;
	int fd;

	if (region->read_only || off > region->geo.segment_bytes ||
	    len > region->geo.segment_bytes - off)
		return -EIO;
	/* The segment ends with a chunk, so widening stays inside. */
	end = skv_round_up(off + len, SKV_PAGE);
	off = off / SKV_PAGE * SKV_PAGE;
	if (off == end)
		return 0;
	if (region->geo.huge == SHMKV_HUGE_EAGER)
		skv_region_prepare_huge(region, off, end);

	/* Ends when the kernel stops being interrupted: both codes ask for a repetition. */
	while (madvise(region->base + off, end - off, MADV_POPULATE_WRITE) < 0) {
		switch (errno) {
		case EINTR:
		case EAGAIN:
			continue;
		case ENOMEM:
		case EFAULT:
		case ENOSPC:
			return -ENOSPC;
		case EINVAL:
			goto old_kernel;
		default:
			return -EIO;
		}
	}
	return 0;

old_kernel:
	/* Before Linux 5.14. */
	fd = skv_region_fd(region);
	if (fd < 0)
		return -EIO;
	while (fallocate(fd, 0, (off_t)off, (off_t)(end - off)) < 0) {
		switch (errno) {
		case EINTR:
			continue;
		case ENOSPC:
		case EDQUOT:
		case ENOMEM:
		case EFBIG:
			return -ENOSPC;
		default:
			return -EIO;
		}
	}
	return 0;
}

int skv_region_reserve_tables(struct skv_region *region)
{
	int r;

	r = skv_region_reserve(region, 0, region->geo.context_off + SKV_PAGE);
	if (r < 0)
		return r;
	return skv_region_reserve(region, region->geo.class_off,
				  region->geo.dir_off - region->geo.class_off);
}

/* SPDX-License-Identifier: MIT */
#include "shm/region-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * Huge pages: what the kernel is asked for, and what it says it gave.
 *
 * Three ways lead to a huge page under a file of a tmpfs, and all are best effort:
 *
 *   at the first use   where the mount or the system allows it and the mapping asks for it
 *                      (MADV_HUGEPAGE). Memory then comes 2 MiB at a time.
 *   in the background  by the kernel's own thread, under the same conditions.
 *   on demand          MADV_COLLAPSE, since Linux 6.1, whatever the settings, unless they say
 *                      "deny": pages that are there are moved together, holes filled with zeros.
 *
 * Memory. A stretch that is reserved whole needs no more of the file system's room than it has
 * when it is collapsed. Of a stretch that is not, nothing is collapsed but by the one who
 * reserves it whole at this moment (skv_region_prepare_huge), and that fails like any other
 * reservation when there is no room: the pages are then taken one by one, or -ENOSPC is the
 * answer. So neither the limit of the segment nor the promise that nobody is killed by
 * SIGBUS depends on any of this.
 *
 * What each costs, at once and later: shmkv-bench huge.
 */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define THP_FOLDER "/sys/kernel/mm/transparent_hugepage/"

/* ---- asking ---------------------------------------------------------------------- */

void *skv_region_huge_place(uint64_t bytes)
{
	uint8_t *all, *begin;
	size_t skip;

	/* Room for any alignment, and then what lies before and behind is given back. */
	all = mmap(NULL, bytes + SKV_HUGE_BYTES, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED)
		return NULL;
	skip = (SKV_HUGE_BYTES - (uintptr_t)all % SKV_HUGE_BYTES) % SKV_HUGE_BYTES;
	begin = all + skip;
	if (skip > 0)
		munmap(all, skip);
	munmap(begin + bytes, SKV_HUGE_BYTES - skip);
	return begin;
}

void skv_region_huge_advise(const struct skv_region *region)
{
	int advice = region->geo.huge == SHMKV_HUGE_NEVER ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;

	/* A kernel without huge pages says -EINVAL, and there is nothing to do about it. */
	(void)madvise(region->base, region->geo.segment_bytes, advice);
}

int skv_region_collapse(const struct skv_region *region, uint64_t off)
{
	if (madvise(region->base + off, SKV_HUGE_BYTES, MADV_COLLAPSE) == 0)
		return 0;
	switch (errno) {
	case ENOMEM: /* no huge page to be had, or a limit of the control group */
	case EAGAIN:
	case EBUSY:
	case EINTR:
		return -EAGAIN;
	default:
		return -EOPNOTSUPP;
	}
}

void skv_region_prepare_huge(const struct skv_region *region, uint64_t off, uint64_t end)
{
	uint64_t at;

	for (at = skv_round_up(off, SKV_HUGE_BYTES); at + SKV_HUGE_BYTES <= end;
	     at += SKV_HUGE_BYTES) {
		/* One page, so that there is something to collapse; the rest comes with it. */
		if (madvise(region->base + at, SKV_PAGE, MADV_POPULATE_WRITE) < 0 ||
		    skv_region_collapse(region, at) < 0)
			return;
	}
}

/* ---- looking --------------------------------------------------------------------- */

/* The mapping's lines in smaps. */
void skv_region_huge_obtained(const struct skv_region *region, uint64_t *ret_bytes,
			      bool *ret_at_once)
{
	uint64_t first = (uintptr_t)region->base, end = first + region->geo.segment_bytes;
	uint64_t from, to, kib;
	bool inside = false;
	char line[512];
	FILE *file;

	*ret_bytes = 0;
	*ret_at_once = false;
	file = fopen("/proc/self/smaps", "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		/* A mapping's first line begins with its addresses, the others with a name. */
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
			inside = from >= first && to <= end;
		else if (inside && (sscanf(line, "ShmemPmdMapped: %" SCNu64, &kib) == 1 ||
				    sscanf(line, "FilePmdMapped: %" SCNu64, &kib) == 1))
			*ret_bytes += kib * 1024;
		else if (inside && sscanf(line, "THPeligible: %" SCNu64, &kib) == 1)
			*ret_at_once = *ret_at_once || kib > 0;
	}
	fclose(file);
}

static bool read_line(const char *path, char *ret_line, int cap)
{
	FILE *file = fopen(path, "re");
	bool is_there;

	if (!file)
		return false;
	is_there = fgets(ret_line, cap, file) != NULL;
	fclose(file);
	return is_there;
}

/* Up to the end of the word, as much as fits. */
static void copy_word(char ret[SKV_HUGE_WORD], const char *word)
{
	size_t len = strcspn(word, "], \n");

	snprintf(ret, SKV_HUGE_WORD, "%.*s", (int)len, word);
}

void skv_region_huge_setting(const struct skv_region *region, uint64_t *ret_page_bytes,
			     char ret_kernel[SKV_HUGE_WORD], char ret_mount[SKV_HUGE_WORD])
{
	char line[4096], *word;
	unsigned int major_no, minor_no;
	FILE *file;

	*ret_page_bytes = 0;
	ret_kernel[0] = ret_mount[0] = '\0';
	if (read_line(THP_FOLDER "hpage_pmd_size", line, sizeof(line)))
		*ret_page_bytes = strtoull(line, NULL, 10);
	/* "always within_size advise [never] deny force" */
	if (read_line(THP_FOLDER "shmem_enabled", line, sizeof(line)) &&
	    (word = strchr(line, '[')) != NULL)
		copy_word(ret_kernel, word + 1);

	/* The file's own mount: "36 24 0:31 / /dev/shm rw shared:2 - tmpfs tmpfs rw,huge=advise" */
	file = fopen("/proc/self/mountinfo", "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*u %*u %u:%u ", &major_no, &minor_no) != 2 ||
		    makedev(major_no, minor_no) != region->dev)
			continue;
		word = strstr(line, " - tmpfs ");
		if (!word)
			break;
		word = strstr(word, "huge=");
		copy_word(ret_mount, word ? word + strlen("huge=") : "never");
		break;
	}
	if (file)
		fclose(file);
}

uint64_t skv_region_file_bytes(struct skv_region *region)
{
	int fd = skv_region_fd(region);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

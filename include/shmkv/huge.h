/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_HUGE_H
#define SHMKV_HUGE_H

/*
 * huge: huge pages under a map.
 *
 * In a large map most of the time of a read goes into finding pages: the processor's table of
 * recent pages covers a few MiB with pages of 4 KiB, and gigabytes with pages of 2 MiB. What a
 * map shall have is said at its creation (huge_pages in struct shmkv_options), what it got is
 * said here. Nothing of it is ever an error: where the system gives no huge pages, the map
 * works with small ones.
 *
 * A page is shared by all who are attached: made huge by one process it is huge for everybody.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/* Set .size before the call; members beyond it are not written. */
struct shmkv_huge {
	size_t size;
	uint32_t policy;       /* enum shmkv_huge_pages of the segment, never DEFAULT */
	uint32_t at_once;      /* 1: the system gives huge pages when memory is first used */
	uint64_t page_bytes;   /* of one huge page, 0 if the machine has none */
	uint64_t full_bytes;   /* of the segment: stretches of that size that are in use whole */
	uint64_t huge_bytes;   /* of this mapping: what is reached through huge pages now */
	uint64_t file_bytes;   /* memory that the segment's file takes, huge or not */
	char kernel[24];       /* setting for shared memory, such as "never"; "" if unknown */
	char mount[24];        /* the file system's own setting; "" if unknown */
};

/*
 * shmkv_huge_info - what was asked for, what the system allows, and what was obtained
 *
 * Touches one byte of every stretch that is in use and reads /proc/self/smaps: takes up to some
 * milliseconds. Works read-only. Returns 0, -EINVAL, -EBADF, -ECHILD, -EOPNOTSUPP (an engine
 * without a segment).
 */
int shmkv_huge_info(struct shmkv *kv, struct shmkv_huge *info);

/*
 * shmkv_huge_collapse - make huge pages of what is in use whole
 * @budget_ns: stop after so long; the stretch at hand is finished, which takes a millisecond or
 *             so, more when the system must make room first. 0: only count what is left;
 *             otherwise one is made at least. UINT64_MAX: all of it
 * @ret_left: NULL, or bytes that are still to do
 *
 * Does nothing if the segment's policy is NEVER. Takes no more memory than the segment has
 * already, but for one huge page while it works. Whoever uses a page of the stretch at hand waits
 * in the kernel until it is moved; the kernel finishes or undoes that when its caller is killed
 * or stopped meanwhile. shmkv_attach and shmkv_maintain do some of this by themselves.
 *
 * Returns 0, also where the system gives nothing; -EROFS, -EBADF, -ECHILD, -EOPNOTSUPP.
 */
int shmkv_huge_collapse(struct shmkv *kv, uint64_t budget_ns, uint64_t *ret_left);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

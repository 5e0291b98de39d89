/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_REGION_PARTS_H
#define SKV_SHM_REGION_PARTS_H

/*
 * region-parts: what the files region*.c share with each other and with nobody else.
 */

#include "shm/region.h"

#include <limits.h>
#include <stddef.h>

#define SKV_REGION_PREFIX "shmkv."

/* ---- region-folder.c: names and errors ------------------------------------------- */

/* What a failed system call means in the table of shmkv.h. */
int skv_region_code(int err);

const char *skv_region_folder(void);

bool skv_region_name_is_valid(const char *name);

/* -EINVAL when the folder's own name is too long. */
int skv_region_path(const char *prefix, const char *name, char ret_path[PATH_MAX]);

/* Opens what has the name of a segment without waiting, following or driving anything. */
int skv_region_open_named(const char *name, int flags);

/* Not through a mapping: a hole in a foreign file would take memory, or kill. */
int skv_region_read_header(int fd, void *buf, size_t len, uint64_t *ret_file_bytes);

/* ---- region-fd.c: descriptions of the file --------------------------------------- */

/* Keeps device and inode: 1 if the file has a name, 0 if it has none. */
int skv_region_remember_file(struct skv_region *region, int fd);

/*
 * Another description of our file, with the mark.
 * @fd: a descriptor of the file, or -1 when only its name is left
 */
int skv_region_open_aux(const struct skv_region *region, int fd);

/* Makes the description behind map_fd, which then holds no lock, the one for asking. */
int skv_region_mark_aux(struct skv_region *region);

void skv_region_close_fds(struct skv_region *region);

/* ---- region-huge.c: huge pages --------------------------------------------------- */

/* An address for a mapping of this size, at the beginning of a huge page; or NULL. */
void *skv_region_huge_place(uint64_t bytes);

void skv_region_huge_advise(const struct skv_region *region);

/* Huge pages for the whole stretches in [@off, @end), before the rest is reserved. */
void skv_region_prepare_huge(const struct skv_region *region, uint64_t off, uint64_t end);

/* ---- region-memory.c: the mapping ------------------------------------------------ */

int skv_region_map(struct skv_region *region, int fd);

/* Superblock, processes and the first contexts, then the classes: what everybody touches. */
int skv_region_reserve_tables(struct skv_region *region);

#endif

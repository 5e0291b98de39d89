/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_ENTRIES_H
#define TOOLS_ENTRIES_H

/* entries: a scan that steps over damaged entries, to show what can still be read. */

#include <shmkv/shmkv.h>

/*
 * entries_next - shmkv_scan_next, but damaged entries are counted instead of answered
 *
 * Many of them in a row mean that nothing more will come: then the answer is -EBADMSG.
 */
int entries_next(struct shmkv_scan *scan, struct shmkv_entry *ret_entry, uint64_t *damaged);

#endif

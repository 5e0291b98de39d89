/* SPDX-License-Identifier: MIT */
#include "entries.h"

#include <errno.h>

/* More than a leaf has slots; whatever a scan meets, it gets further within so many calls. */
#define DAMAGED_IN_A_ROW_MAX 1000

int entries_next(struct shmkv_scan *scan, struct shmkv_entry *ret_entry, uint64_t *damaged)
{
	int r = -EBADMSG;

	for (int n = 0; n < DAMAGED_IN_A_ROW_MAX; n++) {
		r = shmkv_scan_next(scan, ret_entry);
		if (r != -EBADMSG)
			break;
		++*damaged;
	}
	return r;
}

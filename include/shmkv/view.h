/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_VIEW_H
#define SHMKV_VIEW_H

/*
 * view: values looked at where they lie, without a copy.
 *
 * A view pins the record of one value. Until it is ended, the bytes stay where they are and as
 * they are, whatever becomes of the key: overwritten, deleted, cleared, its leaf rebuilt, its
 * writer killed. Nobody waits for the holder of a view; a value that was replaced meanwhile is
 * given back when its last view ends. A stopped holder costs exactly the memory of the values
 * it looks at. When the holder dies, the next recovery ends its views.
 *
 * Views are for large values, and for readers that must not be overtaken: a view costs two to
 * four locked instructions more than shmkv_get, which copies. Open views also cost every
 * writer of the map a look at them with each value that it replaces or removes.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Open views of one thread on one handle. */
#define SHMKV_VIEWS_MAX 16u

struct shmkv_view {
	/*
	 * As from shmkv_get: the type; a scalar by itself; for text and bytes data and len of the
	 * payload, for everything else of the whole packed object. data points into the segment,
	 * at any alignment, and may be read until the view ends; NULL when there is nothing to
	 * point to.
	 */
	struct shmkv_value value;
	uint64_t token; /* names this version: see shmkv_cas */
	/* the library's */
	struct shmkv *kv;
	uint64_t life;
	uint64_t word;
	uint32_t where[2];
};

/*
 * shmkv_view_begin - look at the value of a key in place
 * @ret_view: end it with shmkv_view_end, before the handle is detached
 *
 * Returns 0 or -ENOENT, -EMLINK (this thread has SHMKV_VIEWS_MAX views open on this handle: end
 * one), -EROFS (a view is a mark in the segment, which a read-only handle cannot make: use
 * shmkv_get), -EUSERS, -ENOSPC (no memory for the place that a thread needs at its first writing
 * call or view), -EAGAIN, -EBUSY, -EBADMSG, -EOPNOTSUPP.
 *
 * Threads: any; the view may be used and ended by every thread of the process, by one at a
 * time. It counts as the beginning thread's until then, also after that thread has ended; and as
 * that of a later thread which is given its place because no other is free.
 * It is gone in a forked child, which must not touch its data, and when the handle is
 * detached.
 */
int shmkv_view_begin(struct shmkv *kv, const void *key, size_t key_len,
		     struct shmkv_view *ret_view);

/*
 * shmkv_view_end - let the value go
 * @view: as shmkv_view_begin filled it; not a copy of one that was ended
 *
 * Returns 0, or -EBADF when the view was ended before or its handle was detached since, -ECHILD
 * in a forked child, and what else a writing call may answer when this thread has no place in
 * the map yet: the view is open then.
 */
int shmkv_view_end(struct shmkv_view *view);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

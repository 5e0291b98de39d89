/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_RESERVE_H
#define SHMKV_RESERVE_H

/*
 * reserve: values written where they will lie, without a copy.
 *
 * shmkv_reserve takes the memory of a value before the value is there; the caller fills it in
 * place, as slowly as it must, and shmkv_commit makes it the value of its key at one moment.
 * Nobody sees the draft before, and nobody waits for it: the key keeps the value it has, others may
 * write it, and several drafts of one key may be open. A process that is killed while it fills
 * a draft leaks nothing: recovery gives the memory back. A stopped one costs what it reserved.
 * Maps in shared memory only (SHMKV_CAN_RESERVE); elsewhere -EOPNOTSUPP.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Open drafts of one thread on one handle. */
#define SHMKV_DRAFTS_MAX 8u

struct shmkv_draft {
	void *data; /* in the segment, at any alignment; may be written until the draft ends */
	size_t len; /* as reserved */
	/* the library's */
	struct shmkv *kv;
	uint64_t life;
	uint64_t word[2];
	uint32_t where[2];
	uint32_t type;
	uint32_t head_len;
};

/* What a commit does to the key. */
enum shmkv_commit_mode {
	SHMKV_COMMIT_PUT = 0, /* as shmkv_put */
	SHMKV_COMMIT_ADD,     /* as shmkv_add: -EEXIST */
	SHMKV_COMMIT_REPLACE, /* as shmkv_replace: -ENOENT */
	SHMKV_COMMIT_CAS,     /* as shmkv_cas: -ESTALE, -ENOENT; shmkv_commit_ttl only */
};

/*
 * shmkv_reserve - take memory for a value that is still to be written
 * @type: SHMKV_BIN or SHMKV_STR
 * @len: of the payload in bytes, at most 4 GiB - 1; shmkv_commit may shorten it
 * @ret_draft: end it with shmkv_commit or shmkv_abort, before the handle is detached
 *
 * The memory holds what lay there before; only what is written is the caller's.
 *
 * Returns 0, or what shmkv_put may answer (-ENOSPC, -EFBIG, -EROFS, -EUSERS, -EBUSY, ...), or
 * -EMLINK when this thread has SHMKV_DRAFTS_MAX drafts open on this handle.
 *
 * Threads: any; the draft may be filled and ended by every thread of the process, by one at a
 * time. It counts as the reserving thread's until then, also after that thread has ended; and as
 * that of a later thread which is given its place because no other is free.
 * It is gone in a forked child, which must not touch its data, and when the handle is
 * detached. Nothing may be writing to it that outlives the process: no asynchronous input
 * (io_uring, RDMA) whose completion was not waited for.
 */
int shmkv_reserve(struct shmkv *kv, const void *key, size_t key_len, enum shmkv_type type,
		  size_t len, struct shmkv_draft *ret_draft);

/*
 * shmkv_commit - make a draft the value of its key
 * @len: of the payload, at most as reserved; the value keeps the memory of what was reserved
 * @ret_token: NULL, or the version it has now
 *
 * At one moment, as a shmkv_put would: readers have the old value or the whole new one, whoever
 * waits for the key is woken, views of the old value stay.
 *
 * Returns 0; then the draft is over and its data must not be touched any more. Otherwise the
 * draft stays open, to be committed again or aborted: -EEXIST and -ENOENT as @mode says,
 * -ENOSPC (no room in the index), -EAGAIN, -EINVAL (longer than reserved, or no such mode), and
 * what else a writing call may answer. -EBADF: it was ended before, or its handle was detached.
 */
int shmkv_commit(struct shmkv_draft *draft, size_t len, enum shmkv_commit_mode mode,
		 uint64_t *ret_token);

/*
 * shmkv_commit_ttl - the same with a time to live, or for one version of the key only
 * @token: SHMKV_COMMIT_CAS: the version that the key must have; otherwise not looked at
 * @ttl_ms: as in shmkv_put_ttl (expiry.h), counted from the commit; SHMKV_TTL_DEFAULT is what
 *          shmkv_commit gives
 *
 * May return also -ESTALE, and -EINVAL for a @ttl_ms that cannot be.
 */
int shmkv_commit_ttl(struct shmkv_draft *draft, size_t len, enum shmkv_commit_mode mode,
		     uint64_t token, uint64_t ttl_ms, uint64_t *ret_token);

/*
 * shmkv_abort - give the memory of a draft back
 *
 * Returns 0 or -EBADF, -ECHILD, -EUSERS as shmkv_view_end.
 */
int shmkv_abort(struct shmkv_draft *draft);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

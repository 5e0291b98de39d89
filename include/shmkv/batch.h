/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BATCH_H
#define SHMKV_BATCH_H

/*
 * batch: many keys in one call.
 *
 * In a map larger than the processor's caches a read waits for memory two or three times,
 * each time for one address. A batch asks for the addresses of many keys at once, so that the
 * waits overlap: from some eight keys on a key costs a fraction of what a call for it costs.
 * A batch larger than a few dozen gains nothing more.
 *
 * A batch is not a transaction. Each item is as one call of shmkv_get or shmkv_put, one after
 * the other in the order of the array; others may come in between, and if the caller dies
 * half-way each item has happened entirely or not at all.
 */

#include <shmkv/expiry.h>
#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/* One key to read. Begin with zeros; set what is "in". */
struct shmkv_get_item {
	/* in: borrowed for the call */
	const void *key;
	size_t key_len;
	void *buf; /* for what is not a scalar; NULL with cap 0 is allowed */
	size_t cap;
	/* out */
	int result; /* 0 or a code of shmkv_get: -ENOENT, -ENOBUFS, -EMSGSIZE, -EINVAL, ... */
	struct shmkv_value value; /* as shmkv_get gives it: with 0; type and len with -ENOBUFS */
	uint64_t token;           /* with 0 */
};

/*
 * shmkv_get_many - read many keys
 * @items: @n of them, any number; the same key may stand in several
 * @ret_n_ok: NULL, or where to put how many results are 0
 *
 * Returns 0 when every item has its result, whatever that is. An error concerns the whole
 * call, and then no result means anything: -EBADF, -ECHILD, -EINVAL (no items, but @n is not 0),
 * -EOPNOTSUPP. Writes nothing to the segment; allocates nothing. Threads: any.
 */
int shmkv_get_many(struct shmkv *kv, struct shmkv_get_item *items, size_t n, size_t *ret_n_ok);

/* One key to write. Begin with zeros; set what is "in". */
struct shmkv_put_item {
	/* in: borrowed for the call */
	const void *key;
	size_t key_len;
	struct shmkv_value value;
	uint64_t ttl_ms; /* 0 for the map's default, or as shmkv_put_ttl takes it */
	/* out */
	int result;     /* 0 or a code of shmkv_put: -EFBIG, -EILSEQ, -ENOSPC, -EMSGSIZE, ... */
	uint64_t token; /* of the new version, with 0 */
};

/*
 * shmkv_put_many - store many values
 * @items: @n of them, any number; of several with the same key the last one stays
 * @ret_n_ok: NULL, or where to put how many results are 0
 *
 * Returns 0 when every item has its result: one that found the segment full says so and the
 * next one is tried all the same, as it may be smaller or replace something. An error
 * concerns the whole call; then nothing was written and no result means anything: -EBADF,
 * -ECHILD, -EINVAL, -EROFS, -EBUSY, -EUSERS, -ENOSPC (no place for one more thread), -ENOMEM,
 * -EOPNOTSUPP.
 */
int shmkv_put_many(struct shmkv *kv, struct shmkv_put_item *items, size_t n, size_t *ret_n_ok);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

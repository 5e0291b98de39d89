/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_EXPIRY_H
#define SHMKV_EXPIRY_H

/*
 * expiry: keys that live for a limited time.
 *
 * A key with a time to live is absent, for everyone and every call at once, from its
 * deadline on: get and exists answer -ENOENT, add stores, replace and cas answer -ENOENT,
 * incr begins from its initial number, scans pass it by. Nobody has to do anything for
 * that. Its memory is taken back a little later, by writers as they go, by whoever finds no
 * memory, by shmkv_maintain, and by shmkv_expire; until then shmkv_count counts it.
 *
 * WHOSE CLOCK. Deadlines are counted by the clock that runs since the machine was started,
 * time asleep included. Setting the time of day changes nothing. In a time namespace where
 * that clock shows another time shmkv_attach answers -EXDEV.
 *
 * HOW EXACT. A key lives for at least its time to live and less than a millisecond longer.
 * A call that finds a key alive and then changes it looks at the clock twice, the second time
 * right before the change; one that is stopped in between may change it after the
 * deadline, like one that was called in time.
 *
 * WHICH CALL DOES WHAT. put, add, replace and cas without a time to live, and incr and append
 * on an absent key, give the map's default (struct shmkv_options), which is to live for
 * ever unless it was created otherwise. incr and append on a present key keep its deadline.
 *
 * TOKENS. shmkv_touch may change a key's token or not, depending on the size of the value;
 * shmkv_persist does not. So a cas with a token from before a touch may answer -ESTALE.
 *
 * LEASES. shmkv_add_ttl is the lock with a time limit: of several callers one gets 0, the
 * others -EEXIST, until it is removed or expires. Renew it with shmkv_cas_ttl and the token of
 * the holder's last write: a holder that has overslept its deadline gets -ENOENT or -ESTALE
 * then, instead of extending the lease of its successor as shmkv_touch would.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/* Times to live are in milliseconds: 1..SHMKV_TTL_MAX (139 years), or one of these. Anything
 * else is -EINVAL. */
#define SHMKV_TTL_MAX ((uint64_t)1 << 42)
#define SHMKV_TTL_DEFAULT ((uint64_t)0)       /* as the map was created */
#define SHMKV_TTL_NEVER ((uint64_t)1 << 62)   /* does not expire, whatever the default */
#define SHMKV_TTL_KEEP (SHMKV_TTL_NEVER + 1)  /* the deadline the key has; absent: the default */

/*
 * As the calls without _ttl, with the same answers, and the key expires after @ttl_ms.
 *
 * The time counts from the moment of the write. May return also -EINVAL (@ttl_ms).
 */
int shmkv_put_ttl(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		  uint64_t ttl_ms, uint64_t *ret_token);
int shmkv_add_ttl(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		  uint64_t ttl_ms, uint64_t *ret_token);
int shmkv_replace_ttl(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		      uint64_t ttl_ms, uint64_t *ret_token);
int shmkv_cas_ttl(struct shmkv *kv, const void *key, size_t key_len, uint64_t token,
		  struct shmkv_value value, uint64_t ttl_ms, uint64_t *ret_token);

/*
 * shmkv_touch - give a key another time to live, counted from now
 * @ttl_ms: as above; SHMKV_TTL_NEVER as shmkv_persist, not SHMKV_TTL_KEEP
 *
 * The value stays, and a large one is not copied. A small one is if there is memory for it; a
 * full map is touched in place. Returns 0, or -ENOENT when the key is absent or has expired.
 *
 * If the caller dies half-way the key has the old deadline or the new one. While a touch of
 * a value above 1 KiB is under way others may see its deadline already; if it has to begin
 * again because the key changed, the deadline is then given to what the key has become.
 */
int shmkv_touch(struct shmkv *kv, const void *key, size_t key_len, uint64_t ttl_ms);

/*
 * shmkv_persist - take a key's deadline away
 *
 * Returns 0, also when it had none, or -ENOENT. Needs no free memory; the value and the token
 * stay.
 */
int shmkv_persist(struct shmkv *kv, const void *key, size_t key_len);

/*
 * shmkv_ttl - how long a key has still to live
 * @ret_ms: whole milliseconds, rounded down, so 0 in the last one; SHMKV_TTL_NEVER for a key
 *          that does not expire, which is larger than any other answer
 *
 * Returns 0 or -ENOENT. Writes nothing to the segment.
 */
int shmkv_ttl(struct shmkv *kv, const void *key, size_t key_len, uint64_t *ret_ms);

/* shmkv_scan_ttl - the same for the entry that a scan gave last; -ENOENT before the first */
int shmkv_scan_ttl(const struct shmkv_scan *scan, uint64_t *ret_ms);

/*
 * shmkv_expire - take the memory of expired keys back now
 * @max: stop after so many; 0 for no limit
 * @ret_removed: NULL, or how many this call took
 *
 * Walks the whole index, one leaf at a time; others keep working. Without it the memory comes
 * back as others write: each write looks at about one slot of the index.
 */
int shmkv_expire(struct shmkv *kv, uint64_t max, uint64_t *ret_removed);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

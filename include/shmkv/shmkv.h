/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_SHMKV_H
#define SHMKV_SHMKV_H

/*
 * shmkv: a key-value map that processes share.
 *
 * A map is opened by name. "shm:NAME", or a bare NAME, is a lock-free map in a POSIX
 * shared-memory segment; any number of processes may read and write it at once, and any
 * of them may be killed or stopped at any instruction: nobody else waits, nothing
 * committed is lost, and what the dead process held is found again.
 *
 * RETURN VALUES. Every call that returns int answers 0 (or a count where it says so) or
 * one negative errno from the table below, and each code has one meaning throughout. On
 * failure nothing was changed and no output was touched, unless the call says otherwise; in a
 * map that evicts, keys may have been evicted before the answer -ENOSPC.
 *
 * THREADS. A handle may be used by all threads of its process at once; shmkv_detach must
 * be the last call on it. A handle does not survive fork: in the child every call answers
 * -ECHILD, and the child attaches for itself. Calls must not be made from a signal handler
 * that interrupted another call on the same handle (-EBUSY where that would write).
 *
 * DEATH. "If the caller dies half-way" a call has happened entirely or not at all; other
 * processes never see a part of it.
 *
 * PROGRESS. No call waits for another process but those of wait.h. Calls are lock-free; a reader
 * that loses to writers too often gives up with -EAGAIN instead of looping for ever.
 *
 *  code               meaning, and what to do
 *  -EINVAL            an argument is outside its documented range
 *  -EMSGSIZE          the key is not 1..65536 bytes long
 *  -EFBIG             the value can never fit this segment, even when empty
 *  -EILSEQ            the bytes are not one valid msgpack object, or nest too deep
 *  -ENOBUFS           the buffer is too small; the needed length was returned
 *  -ENOENT            no such key (data calls), no such segment (lifecycle calls)
 *  -EEXIST            the key (add) or the segment (create) exists already
 *  -ESTALE            the version token no longer names the current value
 *  -EPROTOTYPE        the stored value has another type than the operation needs
 *  -ERANGE            the number does not fit the result (incr, or a narrower get)
 *  -ENOSPC            the segment, or the file system under it, is full
 *  -EXFULL            too many keys share one hash prefix: a broken or hostile key set
 *  -EAGAIN            too many conflicts with other writers; try again
 *  -ETIMEDOUT         the deadline of a wait is over, nothing has changed
 *  -EINTR             a signal handler ran during a wait; wait again
 *  -ECANCELED         the waits of this handle were cancelled
 *  -EROFS             the handle is read-only
 *  -EACCES            the segment's permissions do not allow this
 *  -EBADF             the handle is closed or was never one
 *  -EXDEV             the segment counts time by the clock of another time namespace
 *  -ECHILD            the handle belongs to the parent of a forked process
 *  -EBUSY             this thread is already inside a writing call on this handle
 *  -EMLINK            this thread has as many views or drafts open as there can be
 *  -EUSERS            every process or thread slot of the segment is taken by the living
 *  -EMEDIUMTYPE       the file is not a shmkv segment, or not a saved map
 *  -EPROTONOSUPPORT   the segment or file was made by another format version or build geometry
 *  -EBADMSG           the segment's or file's content contradicts itself: damaged or hostile
 *  -EOPNOTSUPP        this engine, kernel or file system cannot do that
 *  -ENOMEM            the process has no heap memory or address space left
 *  -EMFILE            the process has no file descriptor left
 *  -EIO               the operating system refused in an unexpected way
 */

#include <shmkv/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

#define SHMKV_VERSION_MAJOR 0
#define SHMKV_VERSION_MINOR 1
#define SHMKV_VERSION_PATCH 0

/* Lengths in bytes. Names consist of A-Z a-z 0-9 . _ - and do not begin with a dot. */
#define SHMKV_NAME_MAX 200u
#define SHMKV_KEY_MAX 65536u
#define SHMKV_SIZE_MIN ((uint64_t)1 << 20)
#define SHMKV_SIZE_MAX ((uint64_t)1 << 40)

struct shmkv;
struct shmkv_scan;
struct shmkv_adaptive_options;

/*
 * shmkv_strerror - what a returned code means and what to do about it
 * @r: 0 or a negative code; any other number gives a generic text
 *
 * Returns static English text. Threads: any. Never fails.
 */
const char *shmkv_strerror(int r);

/*
 * shmkv_errname - the symbolic name of a returned code, such as "ENOSPC"
 * @r: 0 or a negative code
 *
 * Returns static text, "OK" for 0 and "EUNKNOWN" for a code outside the table.
 */
const char *shmkv_errname(int r);

/* "MAJOR.MINOR.PATCH" of the library that is running, static. */
const char *shmkv_version(void);

/* ---- lifecycle ------------------------------------------------------------------- */

/* How keys are hashed; every kind is keyed with 128 random bits drawn per segment. */
enum shmkv_hash {
	SHMKV_HASH_DEFAULT = 0,   /* the engine's choice: shm SIPHASH13, heap engines XXH3 */
	SHMKV_HASH_SIPHASH13 = 1, /* resists keys chosen by an attacker */
	SHMKV_HASH_XXH3 = 2,      /* faster; for keys from a trusted source */
};

/* What happens when there is no memory for a value. */
enum shmkv_evict {
	SHMKV_EVICT_NONE = 0, /* the call answers -ENOSPC, nothing is lost */
	SHMKV_EVICT_LRU = 1,  /* a cache: keys that were not used for long go, about */
	SHMKV_EVICT_LFU = 2,  /* a cache: keys that are used seldom go, about; resists scans */
};

/*
 * Pages of 2 MiB in place of 4 KiB, for maps of 64 MiB or more; smaller ones always have NEVER.
 * Best effort: what was obtained is told by shmkv_huge_info, see <shmkv/huge.h>. Maps of the heap
 * ignore it.
 */
enum shmkv_huge_pages {
	SHMKV_HUGE_DEFAULT = 0, /* the library's choice: LAZY */
	SHMKV_HUGE_NEVER = 1,   /* small pages, also where the system would give huge ones */
	SHMKV_HUGE_LAZY = 2,    /* made of small ones in shmkv_attach and shmkv_maintain: no pauses */
	SHMKV_HUGE_EAGER = 3,   /* from the beginning: puts that take memory take longer */
};

/*
 * What a map shall be when it is created. Set size = sizeof(struct), zero means default
 * everywhere else; the structure only ever grows at its end.
 */
struct shmkv_options {
	size_t size;            /* sizeof(struct shmkv_options) */
	uint64_t max_bytes;     /* all the memory it may ever use, SHMKV_SIZE_MIN..MAX; default
				 * 64 MiB */
	uint64_t capacity;      /* keys to lay the index out for at once; it grows anyway;
				 * default 0 */
	uint32_t mode;          /* permission bits, not reduced by the umask; default 0600 */
	uint32_t hash;          /* enum shmkv_hash */
	uint32_t max_processes; /* 1..4095 that write at once; default 128 */
	uint32_t max_threads;   /* 1..4095 that write at once, over all processes, 1 KiB each;
				 * default 512, below 4 MiB one for every 8 KiB */
	uint64_t default_ttl_ms; /* how long keys live that are stored without a time of their own,
				  * 1..SHMKV_TTL_MAX (expiry.h); default 0: for ever */
	uint32_t evict;         /* enum shmkv_evict */
	const struct shmkv_adaptive_options *adaptive; /* "heap:adaptive" only: see heap.h; or NULL */
	uint32_t huge_pages;    /* enum shmkv_huge_pages */
};

#define SHMKV_OPTIONS_INIT { sizeof(struct shmkv_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Flags of shmkv_attach. */
#define SHMKV_READ_ONLY 1u /* maps without write permission; can only read, damages nothing */

/*
 * shmkv_create - make a new map and attach to it read-write
 * @name: engine and name: "shm:NAME" or "NAME"
 * @opts: NULL for the defaults
 * @ret_kv: the handle; end it with shmkv_detach
 *
 * The segment appears under its name complete or not at all, whatever dies on the way.
 * max_bytes is an upper bound: memory is taken from the system as it is needed.
 *
 * Returns 0, -EEXIST, -EINVAL, -EACCES, -ENOSPC (the file system cannot hold even the
 * tables of an empty map), -EOPNOTSUPP, -ENOMEM, -EMFILE, -EIO.
 */
int shmkv_create(const char *name, const struct shmkv_options *opts, struct shmkv **ret_kv);

/*
 * shmkv_attach - attach to an existing map
 * @name: as for shmkv_create
 * @flags: 0 or SHMKV_READ_ONLY
 * @ret_kv: the handle; end it with shmkv_detach
 *
 * Geometry comes from the segment. Attaching read-write also recovers what dead
 * processes left. A read-only attacher needs only read permission and takes no slot.
 *
 * Returns 0, -ENOENT, -EINVAL, -EACCES, -EUSERS, -EMEDIUMTYPE, -EPROTONOSUPPORT,
 * -EBADMSG, -EXDEV, -EOPNOTSUPP, -ENOMEM, -EMFILE, -EIO.
 */
int shmkv_attach(const char *name, unsigned int flags, struct shmkv **ret_kv);

/*
 * shmkv_detach - end the use of a map
 * @kv: the handle, or NULL
 *
 * Returns NULL. The map itself stays. No other thread may be inside a call on @kv. In a
 * forked child it only frees the child's copy of the handle.
 */
struct shmkv *shmkv_detach(struct shmkv *kv);

/*
 * shmkv_unlink - remove the name of a map
 *
 * Attached processes go on with the memory until they detach; a map created under the
 * same name later is another one. Returns 0, -ENOENT, -EINVAL, -EACCES, -EMEDIUMTYPE
 * (the file is not ours: it is left alone), -EOPNOTSUPP, -EIO.
 */
int shmkv_unlink(const char *name);

/*
 * shmkv_list - name every segment of this machine that the caller can see
 * @fn: called once per name, in directory order; a non-zero answer ends the list
 * @arg: passed through
 *
 * Returns 0, what @fn answered, -EACCES, -EMFILE, -ENOMEM, -EIO.
 */
int shmkv_list(int (*fn)(const char *name, void *arg), void *arg);

/* ---- data ------------------------------------------------------------------------ */

/*
 * For all calls below: @key is 1..65536 arbitrary bytes, borrowed for the call. A token
 * names one version of one key's value: it changes with every write to the key and is
 * never used again. Tokens are only meaningful for the segment they came from.
 *
 * Common errors: -EBADF, -ECHILD, -EINVAL, -EMSGSIZE, -EAGAIN, -EBADMSG; calls that write
 * also -EROFS, -EBUSY, -EUSERS; calls that store also -EFBIG, -EILSEQ, -ENOSPC, -EXFULL.
 */

/*
 * shmkv_put - store a value, whether or not the key exists
 * @ret_token: NULL, or where to put the token of the new version
 */
int shmkv_put(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
	      uint64_t *ret_token);

/* shmkv_add - store a value only if the key is absent; -EEXIST otherwise */
int shmkv_add(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
	      uint64_t *ret_token);

/* shmkv_replace - store a value only if the key is present; -ENOENT otherwise */
int shmkv_replace(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		  uint64_t *ret_token);

/*
 * shmkv_cas - store a value only if the key still has the version of @token
 *
 * Returns also -ENOENT (the key is absent) and -ESTALE (it has another version). It may
 * answer -ESTALE without a write by others if the record was moved in memory.
 */
int shmkv_cas(struct shmkv *kv, const void *key, size_t key_len, uint64_t token,
	      struct shmkv_value value, uint64_t *ret_token);

/* shmkv_del - remove a key; -ENOENT if it was absent. Needs no free memory. */
int shmkv_del(struct shmkv *kv, const void *key, size_t key_len);

/*
 * shmkv_get - copy a value out
 * @buf, @cap: the caller's memory for what is not a scalar; NULL with 0 is allowed
 * @ret_value: the value; data points into @buf for STR, BIN and PACKED
 * @ret_token: NULL, or where to put the version's token
 *
 * STR and BIN give the payload, arrays, maps and ext the packed object. If @cap is too
 * small the answer is -ENOBUFS with ret_value->type and ret_value->len set and data NULL.
 * Changes nothing but counters, and in a map that evicts a note that the key was used; a
 * read-only handle writes nothing at all. Returns also -ENOENT.
 */
int shmkv_get(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
	      struct shmkv_value *ret_value, uint64_t *ret_token);

/*
 * shmkv_get_packed - copy a value out as the msgpack object that is stored
 * @ret_len: its length in bytes, also with -ENOBUFS
 */
int shmkv_get_packed(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
		     size_t *ret_len, uint64_t *ret_token);

/*
 * shmkv_get_alloc - like shmkv_get_packed, into fresh memory
 * @ret_buf: the object; the caller ends it with free()
 */
int shmkv_get_alloc(struct shmkv *kv, const void *key, size_t key_len, void **ret_buf,
		    size_t *ret_len, uint64_t *ret_token);

/*
 * Typed reads: -EPROTOTYPE if the value has another type, -ERANGE if the number does not
 * fit. Any integer can be read as int, uint or float where it fits exactly.
 */
int shmkv_get_bool(struct shmkv *kv, const void *key, size_t key_len, bool *ret);
int shmkv_get_int(struct shmkv *kv, const void *key, size_t key_len, int64_t *ret);
int shmkv_get_uint(struct shmkv *kv, const void *key, size_t key_len, uint64_t *ret);
int shmkv_get_float(struct shmkv *kv, const void *key, size_t key_len, double *ret);
/* Payload only, not terminated; ret_len is set also with -ENOBUFS. */
int shmkv_get_str(struct shmkv *kv, const void *key, size_t key_len, char *buf, size_t cap,
		  size_t *ret_len);
int shmkv_get_bin(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
		  size_t *ret_len);

/*
 * shmkv_take - remove a key and give what it held
 *
 * As shmkv_get_packed, and the key is gone when the answer is 0: of several takers of one
 * version exactly one gets it. With -ENOBUFS the key stays.
 */
int shmkv_take(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
	       size_t *ret_len);

/* shmkv_exists - 0 if the key is present, -ENOENT if not */
int shmkv_exists(struct shmkv *kv, const void *key, size_t key_len);

/*
 * shmkv_incr - add to an integer
 * @by: may be negative
 * @initial: what an absent key counts as: it becomes @initial + @by
 * @ret: NULL, or where to put the new number
 *
 * Returns also -EPROTOTYPE (not an integer) and -ERANGE (the sum leaves int64).
 */
int shmkv_incr(struct shmkv *kv, const void *key, size_t key_len, int64_t by, int64_t initial,
	       int64_t *ret);

/*
 * shmkv_append - lengthen text or bytes
 * @value: STR or BIN; appended to a stored value of the same type, stored if absent
 *
 * Returns also -EPROTOTYPE. @ret_len: NULL, or the new payload length in bytes.
 */
int shmkv_append(struct shmkv *kv, const void *key, size_t key_len, struct shmkv_value value,
		 size_t *ret_len);

/*
 * shmkv_count - how many keys there are
 *
 * Keys that have expired count until their memory was taken back (expiry.h). A sum of
 * per-thread counters: exact while nobody was killed inside a write, otherwise
 * off by at most one for each such death until shmkv_recover counts again. Does not block.
 */
int shmkv_count(struct shmkv *kv, uint64_t *ret_count);

/*
 * shmkv_clear - remove every key
 *
 * Not one atomic step: keys written meanwhile may stay. ret_removed: NULL, or how many
 * keys this call removed; those that had expired are removed too and not counted.
 */
int shmkv_clear(struct shmkv *kv, uint64_t *ret_removed);

/* ---- scan ------------------------------------------------------------------------ */

/* One key with its value. key and value are owned by the scan, until its next call. */
struct shmkv_entry {
	const void *key;
	size_t key_len;
	const void *value; /* one msgpack object */
	size_t value_len;
	uint64_t token;
};

/*
 * shmkv_scan_begin - walk over all keys without blocking anyone
 * @cursor: 0 for the whole map, or what shmkv_scan_cursor gave
 * @ret_scan: end it with shmkv_scan_end, before the handle is detached
 *
 * A key that is present during the whole scan is returned exactly once, a key that is
 * absent during the whole scan never; others may or may not be. Order is the hash's.
 * Nothing is kept in the segment. One thread at a time may use a scan.
 */
int shmkv_scan_begin(struct shmkv *kv, uint64_t cursor, struct shmkv_scan **ret_scan);

/* shmkv_scan_next - the next entry: 1 with *ret_entry set, 0 at the end, or an error */
int shmkv_scan_next(struct shmkv_scan *scan, struct shmkv_entry *ret_entry);

/*
 * shmkv_scan_cursor - where another scan could take over, for instance in another process
 *
 * Entries not yet returned from the current stretch are returned again by the scan that
 * resumes there. UINT64_MAX after the end.
 */
uint64_t shmkv_scan_cursor(const struct shmkv_scan *scan);

/* shmkv_scan_end - free the scan; accepts and returns NULL */
struct shmkv_scan *shmkv_scan_end(struct shmkv_scan *scan);

/* ---- values ---------------------------------------------------------------------- */

/*
 * shmkv_value_check - are these bytes one whole msgpack object?
 *
 * Walks the bytes without allocating or recursing: 0, or -EILSEQ (truncated, trailing
 * bytes, reserved code, nested deeper than SHMKV_DEPTH_MAX, or a container that announces
 * more elements than bytes are left). Time is linear in @len.
 */
int shmkv_value_check(const void *data, size_t len);

/*
 * shmkv_value_decode - read one msgpack object
 * @ret_value: scalars by value; STR, BIN point to the payload inside @data; arrays, maps
 *             and ext are PACKED and point to @data
 *
 * Returns 0 or -EILSEQ.
 */
int shmkv_value_decode(const void *data, size_t len, struct shmkv_value *ret_value);

/*
 * shmkv_value_encode - write a value as msgpack, in its shortest form
 * @ret_len: the length, also with -ENOBUFS
 *
 * Returns 0, -ENOBUFS, -EINVAL (unknown type), -EILSEQ (PACKED that is not one object),
 * -EFBIG (text or bytes of 4 GiB or more).
 */
int shmkv_value_encode(struct shmkv_value value, void *buf, size_t cap, size_t *ret_len);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

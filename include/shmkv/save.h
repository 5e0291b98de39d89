/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_SAVE_H
#define SHMKV_SAVE_H

/*
 * save: the content of a map as a file, and a map from such a file.
 *
 * A file holds every key with its value and the time it has still to live, and what the map
 * was created with. It says nothing about where records lay, so any engine loads what any
 * engine saved. Format and checksums: shmkv-format(5).
 *
 * WHAT IS IN A FILE. Others may write meanwhile. Each key is saved with a value that it had
 * while shmkv_save ran; a key that was there all the time is in the file exactly once. The
 * keys are not of one moment: of two writes, one after the other, the file may show the second
 * and not the first. A map of heap:hamt is saved as of one moment, and so is any map that
 * nobody writes to.
 *
 * TIME. What is kept is the time still to live: a key with 60 s left when it was saved has
 * 60 s left when it is loaded, however long the file lay. Keys that have expired are not saved.
 *
 * DEATH. A saver that dies leaves the map as it was and a file that is cut off, which nobody
 * will load. A loader that dies leaves nothing: the map gets its name in one step at the end.
 */

#include <shmkv/inspect.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/* Begin with zeros and set size; members beyond it count as zero. */
struct shmkv_save_options {
	size_t size;
	uint32_t compression; /* level of zstd, 1..19 (3 is usual); 0: none */
	const struct shmkv_watch *watch; /* NULL, or who hears of progress, in keys */
};

/* Set .size before the call; members beyond it are not written. */
struct shmkv_saved {
	size_t size;
	uint64_t keys;
	uint64_t expiring;   /* of those, with a time to live */
	uint64_t bytes;      /* written */
	uint64_t data_bytes; /* keys and values, before compression */
};

/*
 * shmkv_save - write the content of a map to a file
 * @fd: open for writing; a file, a pipe or a socket. Stays open, and is not synced.
 * @opts: NULL for the defaults
 * @ret_saved: NULL, or what was written
 *
 * Works on a read-only handle, blocks nobody and writes nothing to the segment. Threads: any.
 *
 * Returns 0, -EINVAL, -EBADF (the handle), -ECHILD, -EAGAIN, -EBADMSG (the segment is damaged),
 * -ENOMEM, -EOPNOTSUPP (built without zstd), -ENOSPC and -EFBIG (no room for the file), -EIO (any
 * other failure to write). After a failure the file is not to be used.
 */
int shmkv_save(struct shmkv *kv, int fd, const struct shmkv_save_options *opts,
	       struct shmkv_saved *ret_saved);

/* For an engine where nothing expires: keys with a time to live are stored without one. */
#define SHMKV_LOAD_FOR_EVER 1u

struct shmkv_load_options {
	size_t size;
	/* How to create the map; members that are zero are as in the map that was saved. */
	const struct shmkv_options *map;
	uint32_t flags;
	const struct shmkv_watch *watch; /* NULL, or who hears of progress, in keys */
};

struct shmkv_loaded {
	size_t size;
	/* what the file says of the map that was saved; zero until its header was read */
	uint32_t format_version;
	char engine[16];
	char version[16];   /* of the library that wrote it */
	uint64_t saved_ms;  /* time of day, since 1970 */
	uint64_t max_bytes;
	/* what was read so far */
	uint64_t keys;
	uint64_t expiring;
	uint64_t data_bytes;
	uint64_t position; /* bytes read; with an error, where the trouble begins */
	const char *problem; /* static text, or NULL: what is wrong with the file */
};

/*
 * shmkv_load - make a map from a file
 * @name: as for shmkv_create; NULL to check the file from end to end and create nothing
 * @fd: open for reading, at the beginning of what shmkv_save wrote, which must be all there is
 * @opts: NULL for the defaults
 * @ret_kv: the handle of the new map, as shmkv_create gives it; NULL when @name is
 * @ret_loaded: NULL, or what the file is and how far it was read; written also on failure
 *
 * The map appears under its name with everything in it, or not at all. Nothing in the file is
 * believed before its checksum was, and no more memory is taken than the file has bytes or
 * the map may have.
 *
 * Returns 0, what shmkv_create returns, -EMEDIUMTYPE (not a file of shmkv_save),
 * -EPROTONOSUPPORT (of another version), -EBADMSG (damaged or cut off: see problem and
 * position), -ENOSPC (the map is too small; in a map that evicts keys go instead), -EFBIG,
 * -EOPNOTSUPP (keys with a time to live in an engine without; built without zstd), -EIO.
 */
int shmkv_load(const char *name, int fd, const struct shmkv_load_options *opts,
	       struct shmkv **ret_kv, struct shmkv_loaded *ret_loaded);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

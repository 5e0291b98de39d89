/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_SNAPSHOT_H
#define SHMKV_SNAPSHOT_H

/*
 * snapshot: frozen pictures of a map, and what differs between two of them.
 *
 * "heap:hamt" keeps its keys in a persistent trie: a snapshot takes constant time and no memory
 * to speak of, because it shares all that has not changed since. Writers go on meanwhile; the
 * first change to a part of the map after a snapshot copies that part's path, some hundred
 * bytes. What is replaced or removed stays in memory as long as a snapshot holds it, and counts
 * against the map's limit.
 *
 * Engines that cannot do this answer -EOPNOTSUPP and lack the bit SHMKV_CAN_SNAPSHOT.
 */

#include <shmkv/capability.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/*
 * shmkv_snapshot - freeze a map as it is at one moment during the call
 * @kv: of an engine that can; not itself a snapshot
 * @ret_snapshot: a read-only handle; end it with shmkv_detach
 *
 * Reading, counting, scanning and shmkv_info work on the snapshot as on any map, without locks;
 * a write answers -EROFS. It may be used by all threads, and ended in any order, also after
 * @kv. Ending it takes time for what it alone still held; other writers get their turn in
 * between. If many snapshots live, end the oldest first: ending the newest of N first moves
 * what the others still need N times.
 *
 * Returns 0, -EINVAL, -EBADF, -ECHILD, -EOPNOTSUPP or -ENOMEM. Waits for no more than a writer.
 */
int shmkv_snapshot(struct shmkv *kv, struct shmkv **ret_snapshot);

/* One key that differs. Both sides are valid until the function returns. */
struct shmkv_difference {
	size_t size;
	const struct shmkv_entry *before; /* NULL: the key was added */
	const struct shmkv_entry *after;  /* NULL: the key was removed */
};

/*
 * shmkv_diff - what became of one snapshot of a map in another
 * @before, @after: snapshots of one map, in either order of time
 * @fn: called for each key that is in one of them only or was written between them, in the
 *      scan's order; a non-zero answer ends the walk
 *
 * A key that was written counts as different also if it holds the same bytes again. Takes time
 * for what differs, not for what both share. Returns 0, what @fn answered, -EINVAL (not
 * snapshots of one map), -EBADF, -ECHILD or -EOPNOTSUPP (not a snapshot).
 */
int shmkv_diff(struct shmkv *before, struct shmkv *after,
	       int (*fn)(const struct shmkv_difference *difference, void *arg), void *arg);

/* Set .size before the call. Bytes unless said. */
struct shmkv_hamt_info {
	size_t size;
	uint64_t entries;
	uint64_t nodes;             /* of the trie, collision nodes apart */
	uint64_t collision_nodes;   /* each holds the entries of one hash */
	uint64_t colliding_entries; /* in those */
	uint64_t skipped_levels;    /* without a node, because all keys agree there */
	uint64_t depth_max;         /* nodes above an entry */
	double depth_mean;
	double bitmap_use;          /* of the 32 places of a node, 0..1 */
	double collision_rate;      /* colliding entries of all, 0..1 */
	uint64_t node_bytes;
	uint64_t entry_bytes;       /* records, as allocated */
	double bytes_per_entry;     /* both */
};

/*
 * shmkv_hamt_info - the shape of a persistent trie
 * @kv: a map of "heap:hamt", or a snapshot of one
 *
 * Looks at everything, in a snapshot of its own: others go on meanwhile. Returns 0, -EINVAL,
 * -EBADF, -ECHILD, -ENOMEM, or -EOPNOTSUPP (another engine).
 */
int shmkv_hamt_info(struct shmkv *kv, struct shmkv_hamt_info *info);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

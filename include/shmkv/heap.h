/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_HEAP_H
#define SHMKV_HEAP_H

/*
 * heap: maps of one process, behind the same calls as maps in shared memory.
 *
 * shmkv_create("heap:adaptive", ...) gives a fresh map on the heap of this process; it ends
 * with its handle. "heap:adaptive/LABEL" is the same with a name for shmkv_info. Such a map
 * cannot be attached to, unlinked or listed (-EOPNOTSUPP), and needs no recovery. Any number
 * of threads read it without locks while others write; threads need not be announced. In a
 * forked child it is refused with -ECHILD like every map.
 *
 * The adaptive map keeps its keys in one of two kinds of tables and moves them, some with each
 * write, when the present one has become unhealthy:
 *
 *   chaining    groups of entries: an insert touches one word and moves nothing; needs most memory
 *   Robin Hood  open addressing: a look-up touches one line and the record; needs least memory
 *
 *   chaining ──► Robin Hood     entries per bucket > max_lf_chaining, or a group longer than
 *                               max_group_len
 *   Robin Hood ──► chaining     mean distance from home > max_avg_probe_robinhood
 *   Robin Hood ──► Robin Hood   growth from 0.85 full on; compaction when tombstones per slot
 *                               reach max_tombstone_ratio, on request, or after an interval
 *
 * A key is always in exactly one table; a put or del during a move is never undone by it.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

enum shmkv_adaptive_mode {
	SHMKV_MODE_ADAPTIVE = 0,     /* moves between both, as above */
	SHMKV_MODE_FAST_INSERT = 1,  /* chaining; doubles above 0.80 entries per bucket */
	SHMKV_MODE_FAST_LOOKUP = 2,  /* Robin Hood */
	SHMKV_MODE_MEMORY_TIGHT = 3, /* Robin Hood, fuller, growing by a quarter, records without
				      * hash */
};

enum shmkv_backend {
	SHMKV_BACKEND_NONE = 0,
	SHMKV_BACKEND_CHAINING = 1,
	SHMKV_BACKEND_ROBIN_HOOD = 2,
};

enum shmkv_adaptive_event_type {
	SHMKV_EVENT_MIGRATION = 1,  /* to the other kind of table */
	SHMKV_EVENT_COMPACTION = 2, /* to a fresh table, without the tombstones */
	SHMKV_EVENT_RESIZE = 3,     /* to a larger or smaller table of the same kind */
	SHMKV_EVENT_LARGE = 4,      /* large_map_warn_threshold was reached, once */
};

struct shmkv_adaptive_event {
	size_t size;
	uint32_t type;     /* enum shmkv_adaptive_event_type */
	uint32_t finished; /* 0 when it begins, 1 when the last entry has moved */
	uint32_t from, to; /* enum shmkv_backend */
	uint64_t entries;  /* in the map */
};

/*
 * How an adaptive map behaves: shmkv_options.adaptive. Set size = sizeof(struct); zero means
 * default everywhere else. Outside the given range: -EINVAL.
 */
struct shmkv_adaptive_options {
	size_t size;
	uint32_t mode;                   /* enum shmkv_adaptive_mode */
	uint32_t start_backend;          /* enum shmkv_backend; default chaining; mode adaptive only */
	uint64_t initial_buckets;        /* chaining; a power of two; default 64 */
	uint64_t initial_capacity_rh;    /* Robin Hood slots; a power of two from 8 on; default 64 */
	uint32_t groups_per_bucket;      /* a power of two, 1..4096; default 8 */
	uint32_t incremental_batch;      /* entries that one write moves, >= 1; default 2048 */
	uint32_t max_group_len;          /* 1..254; default 8 */
	uint32_t pad;                    /* 0 */
	double max_lf_chaining;          /* entries per bucket, 0.01..1; default 0.82 */
	double max_avg_probe_robinhood;  /* slots, 0.1..100; default 6.0 */
	double max_tombstone_ratio;      /* per slot, 0..1; default 0.25 */
	uint64_t large_map_warn_threshold; /* keys; default 1,000,000 */
	uint64_t compact_interval_ms;    /* compact so often while there are writes; default never */
	/*
	 * NULL, or called at the beginning and the end of each migration, compaction and resize,
	 * by the thread whose call it was and after that call's work is done. May use the map;
	 * must not detach it.
	 */
	void (*on_event)(const struct shmkv_adaptive_event *event, void *arg);
	void *arg;
};

#define SHMKV_ADAPTIVE_OPTIONS_INIT \
	{ sizeof(struct shmkv_adaptive_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Set .size before the call. All counters since creation. */
struct shmkv_adaptive_info {
	size_t size;
	uint32_t mode;
	uint32_t backend;         /* where inserts go */
	uint32_t migrating;       /* 1 while entries are on their way to it */
	uint32_t from_backend;    /* where they come from; NONE otherwise */
	char label[48];           /* "robin hood", "chaining -> robin hood (migrating)" */
	uint64_t capacity;        /* buckets, or slots */
	uint64_t entries_to_move; /* still in older tables */
	double load_factor;       /* entries per bucket or slot */
	uint64_t max_group_len;   /* the longest now (255: or longer); 0 on Robin Hood */
	double avg_probe;         /* slots from home, mean; 0 on chaining */
	double tombstone_ratio;   /* per slot; 0 on chaining */
	uint64_t migrations, compactions, resizes; /* finished */
	uint64_t moved;           /* entries, by any of them */
	double bytes_per_entry;   /* of all memory that the map holds */
};

/*
 * shmkv_adaptive_info - health of an adaptive map
 *
 * Takes the writers' lock for a moment. Returns 0, -EINVAL, -EBADF, -ECHILD, or -EOPNOTSUPP
 * (another engine).
 */
int shmkv_adaptive_info(struct shmkv *kv, struct shmkv_adaptive_info *info);

/*
 * shmkv_compact - finish what is under way, then free the map of tombstones and spare room
 *
 * Other writers wait, readers do not. On chaining there is nothing to compact: the table is
 * fitted to the number of entries. Returns 0, -EOPNOTSUPP, -ENOSPC, -ENOMEM, or as any
 * writing call.
 */
int shmkv_compact(struct shmkv *kv);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

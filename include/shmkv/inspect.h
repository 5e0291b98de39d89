/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_INSPECT_H
#define SHMKV_INSPECT_H

/*
 * inspect: what operators and tests need to see of a segment.
 *
 * Everything here can be called while others use the segment and blocks nobody; numbers
 * read from a busy segment are each right by themselves but not one moment's picture.
 * Structures begin with their own size and only grow at the end.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/* Set .size before the call; members beyond it are not written. Bytes unless said. */
struct shmkv_info {
	size_t size;
	char name[SHMKV_NAME_MAX + 1];
	char engine[16];         /* "shm" */
	char hash[16];           /* "siphash13", "xxh3" */
	char atomics[16];        /* back end of this process: "ck" or "builtin" */
	uint32_t format_version;
	uint32_t read_only;      /* this handle */
	uint64_t max_bytes;      /* limit given at creation */
	uint64_t reserved_bytes; /* taken from the system so far, tables included */
	uint64_t table_bytes;    /* superblock, process, context, directory and chunk tables, as reserved */
	uint64_t leaf_bytes;     /* chunks that hold leaves */
	uint64_t slab_bytes;     /* chunks that hold records of the size classes */
	uint64_t run_bytes;      /* chunks that hold one large record each */
	uint64_t free_bytes;     /* chunks reserved and unused */
	uint64_t index_bytes;    /* leaves in use plus directory cells in use */
	uint64_t count;          /* keys, as shmkv_count */
	uint64_t leaves;         /* in use */
	uint32_t level;          /* directory level where look-ups begin */
	uint32_t level_min;      /* set by the initial capacity */
	uint32_t level_max;
	uint32_t processes;      /* slots in use */
	uint32_t processes_dead; /* of those, not yet recovered */
	uint32_t processes_max;
	uint32_t threads;        /* contexts in use */
	uint32_t threads_max;
	uint64_t inserts;        /* since creation: keys that appeared */
	uint64_t updates;        /* values replaced */
	uint64_t deletes;        /* keys removed */
	uint64_t retries;        /* operations begun again because of others */
	uint64_t splits;         /* leaves replaced by two */
	uint64_t compactions;    /* leaves replaced by one */
	uint64_t recoveries;     /* dead processes recovered */
};

int shmkv_info(struct shmkv *kv, struct shmkv_info *info);

/*
 * shmkv_recover - find dead processes and give back what they held
 *
 * Runs the reaper, then a sweep over every block for what nobody owns any more. Others
 * keep working. Members of the report are counts of this call.
 */
struct shmkv_recovery {
	size_t size;
	uint64_t processes; /* dead ones recovered */
	uint64_t contexts;  /* of their threads */
	uint64_t blocks;    /* records given back */
	uint64_t bytes;     /* in those */
	uint64_t leaves;    /* given back or finished */
	uint64_t chunks;    /* given back */
	int64_t count_fix;  /* correction applied to shmkv_count */
};

int shmkv_recover(struct shmkv *kv, struct shmkv_recovery *report);

/*
 * shmkv_maintain - a bounded step of housekeeping: reap if somebody died
 *
 * For programs that only read, or want recovery sooner than the next writer does it.
 */
int shmkv_maintain(struct shmkv *kv);

/*
 * shmkv_check - hold every invariant against the segment
 * @fn: NULL, or called with a sentence for each violation
 *
 * Exact only while nobody writes; call shmkv_recover first if somebody was killed. Works
 * read-only. Returns 0 when nothing is violated, -EBADMSG otherwise, or -ENOMEM.
 */
struct shmkv_audit {
	size_t size;
	uint64_t violations;    /* structural contradictions, leaks not counted */
	uint64_t keys;          /* reachable */
	uint64_t leaked_blocks; /* allocated, not reachable, owned by nobody alive */
	uint64_t leaked_bytes;
	uint64_t leaked_leaves;
	uint64_t leaked_chunks;
	uint64_t record_bytes;  /* sum of header, key and value lengths of reachable records */
	uint64_t block_bytes;   /* sum of the blocks that hold them */
	uint64_t probe_lines;   /* sum over keys of slot lines read to find them */
};

int shmkv_check(struct shmkv *kv, void (*fn)(const char *violation, void *arg), void *arg,
		struct shmkv_audit *audit);

/* ---- layout ---------------------------------------------------------------------- */

enum shmkv_part {
	SHMKV_PART_LEAF = 1,
	SHMKV_PART_CHUNK = 2,
	SHMKV_PART_PROCESS = 3,
	SHMKV_PART_THREAD = 4,
};

/* One line of the layout; which members mean something depends on the part. */
struct shmkv_layout_item {
	size_t size;
	enum shmkv_part part;
	uint64_t id;       /* leaf, chunk, process or thread number */
	const char *state; /* static text */
	uint64_t offset;   /* from the segment start, bytes; leaf, chunk */
	/* leaf */
	uint64_t prefix;
	uint32_t depth;
	uint32_t live, dead, empty; /* slots */
	/* chunk: a span of chunks of one use */
	uint64_t bytes;
	uint32_t block_bytes; /* slab: size of its blocks */
	uint32_t blocks, blocks_used;
	/* process, thread */
	uint64_t pid;
	uint32_t alive;   /* 1 alive, 0 dead */
	uint64_t process; /* thread: number of its process */
	uint64_t writes;  /* thread: by this slot since creation */
	const char *doing; /* thread: operation in flight, or "idle" */
};

/*
 * shmkv_layout - enumerate leaves, chunks, processes and threads
 * @fn: called for each; a non-zero answer ends the walk and is returned
 */
int shmkv_layout(struct shmkv *kv, int (*fn)(const struct shmkv_layout_item *item, void *arg),
		 void *arg);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

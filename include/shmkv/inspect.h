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
	uint64_t table_bytes;    /* superblock, process, context, directory and chunk tables, as
				  * reserved */
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
	uint64_t updates;        /* values replaced, times to live changed */
	uint64_t deletes;        /* keys removed */
	uint64_t retries;        /* operations begun again because of others */
	uint64_t splits;         /* leaves replaced by two */
	uint64_t compactions;    /* leaves replaced by one */
	uint64_t recoveries;     /* dead processes recovered */
	uint64_t default_ttl_ms; /* of keys stored without a time to live; 0: for ever */
	uint64_t expired;        /* expired keys whose memory was taken back; part of deletes */
	char evict[8];           /* "none", "lru", "lfu" */
	uint64_t evictions;      /* keys removed to make room; deletes counts them too */
};

int shmkv_info(struct shmkv *kv, struct shmkv_info *info);

/* Who wants to hear from a long walk. Members may be NULL; called in the calling thread. */
struct shmkv_watch {
	size_t size;
	/* A sentence for each violation: "C4: leaf 3 slot 7 ...", see shmkv_verify. */
	void (*violation)(const char *text, void *arg);
	/* Now and then: so many steps of so many are done. */
	void (*progress)(uint64_t done, uint64_t total, void *arg);
	void *arg;
};

/*
 * shmkv_recover - find dead processes and give back what they held
 *
 * Runs the reaper, then a sweep over every block for what nobody owns any more. Others
 * keep working, and nobody waits. Members of the report are counts of this call; the first
 * call on a handle adds what attaching had recovered already. shmkv_recover_watched also
 * tells how far it is.
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
int shmkv_recover_watched(struct shmkv *kv, const struct shmkv_watch *watch,
			  struct shmkv_recovery *report);

/*
 * shmkv_maintain - a bounded step of housekeeping: reap if somebody died, look for expired keys
 * in the next 65,536 places of the index, and make huge pages for some five milliseconds (see
 * <shmkv/huge.h>)
 *
 * For programs that only read, or want recovery sooner than the next writer does it.
 */
int shmkv_maintain(struct shmkv *kv);

/*
 * shmkv_verify - hold every invariant against the segment, live or quiet
 * @watch: NULL, or who hears of violations and of progress
 *
 * Invariants, by the number that begins a violation's text:
 *
 *  C1   every prefix is governed by one leaf
 *  C2   that leaf is live or being replaced, and was built for this prefix
 *  C3   slots have a state, hold keys of the leaf's prefix, and are frozen only while the leaf
 *       is replaced
 *  C4   a slot in use names the start of an allocated block that holds its record
 *  C5   a look-up of each key ends at its slot: no key stands twice or is out of reach
 *  C6   the state word of a block is one that it can have
 *  C7   no retired block is linked
 *  C8   spans of chunks are whole
 *  C9   leaves have a state, and live ones govern
 *  C10  chunks have a state
 *  C11  process slots have a state, and every thread's context has a process
 *  C12  the watermarks of chunks and contexts lie within the geometry
 *  C13  a key that expires has a deadline, and none that nobody can have given to it
 *
 * They hold at every moment, so a violation is a defect or damage also while others write: it
 * is told only after the versions of all words it follows from were found unchanged. What
 * kept changing under the eyes counts as undecided. What is allocated, claimed or
 * unfinished and belongs to nobody living is leaked; the part of it that a dead process
 * announces comes back with the next recovery.
 *
 * Works read-only; writes nothing and blocks nobody. Returns 0 when nothing is violated or leaked,
 * -EBADMSG otherwise, or -ENOMEM.
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
	uint64_t violated;      /* bit n: some C<n> is */
	uint64_t undecided;     /* looks given up because others kept changing what was looked at */
	uint64_t dead_blocks;   /* of the leaked: a dead process announces them */
	uint64_t dead_bytes;
	uint64_t dead_leaves;
	uint64_t dead_chunks;
	uint64_t unreturned_chunks; /* of the leaked: free, and whoever needs memory finds them */
	uint64_t count;         /* shmkv_count afterwards */
};

int shmkv_verify(struct shmkv *kv, const struct shmkv_watch *watch, struct shmkv_audit *audit);

/* shmkv_check - shmkv_verify for callers that want nothing but violations */
int shmkv_check(struct shmkv *kv, void (*fn)(const char *violation, void *arg), void *arg,
		struct shmkv_audit *audit);

/* ---- statistics ------------------------------------------------------------------ */

/*
 * Buckets of the histograms. Lines: 1, 2, 3, 4, up to 6, 8, 16, and more than 16 lines of
 * four slots. Retries: up to 1, 3, 7, 15, 63, and more. Values: up to 8, 16, 32 ... 2 MiB, and
 * larger, packed length.
 */
#define SHMKV_STATS_LINES 8
#define SHMKV_STATS_RETRIES 6
#define SHMKV_STATS_SIZES 20

/*
 * shmkv_stats - what all threads have done since the segment was made
 *
 * Numbers are cumulative and never reset; what the dead have done stays counted. Threads that
 * write count in the segment. Threads of read-write handles that only read are counted there
 * when their handle is detached, and read-only handles, which write nothing, never are: what
 * such threads of this handle have done stands in the members own_*, which no other handle
 * can see. A process killed inside a call takes the counts of that call with it.
 *
 * Works read-only. May not block; reads the tables and no more. Returns 0, -EINVAL,
 * -EBADF, -ECHILD, -EOPNOTSUPP.
 */
struct shmkv_stats {
	size_t size;
	/* calls by kind, however they ended */
	uint64_t gets; /* hits + misses: every call that looks a key up to read it */
	uint64_t hits;
	uint64_t misses;
	uint64_t puts;
	uint64_t adds;
	uint64_t replaces;
	uint64_t cases;
	uint64_t updates_in_place; /* incr, append, touch, persist */
	uint64_t dels;
	uint64_t takes;
	uint64_t clears;
	/* what came of them */
	uint64_t inserts; /* keys that appeared */
	uint64_t updates; /* values replaced, times to live changed */
	uint64_t deletes; /* keys removed */
	uint64_t unmet;    /* present, absent, another version or type: nothing was changed */
	uint64_t no_space; /* -ENOSPC and -EXFULL */
	uint64_t lost;     /* -EAGAIN */
	uint64_t failed;   /* any other error */
	/* what it took */
	uint64_t retries;      /* attempts of writing calls that somebody, or a new leaf, undid */
	uint64_t read_retries; /* reading calls */
	uint64_t splits;       /* leaves replaced by two */
	uint64_t compactions;  /* leaves replaced by one */
	uint64_t recoveries;   /* dead processes recovered */
	/* of this handle's threads that the segment does not know (yet) */
	uint64_t own_hits;
	uint64_t own_misses;
	uint64_t own_read_retries;
	/*
	 * Histograms. write_lines has each call that stored or removed one key, thus a touch that
	 * copies the value (up to 1 KiB, if there is memory for it), which value_bytes has, too.
	 * Neither has other touches and persists, though they are updates, nor what clear, expiry
	 * and eviction remove.
	 */
	uint64_t hit_lines[SHMKV_STATS_LINES];   /* lines read by hits */
	uint64_t miss_lines[SHMKV_STATS_LINES];  /* by misses */
	uint64_t write_lines[SHMKV_STATS_LINES]; /* by stores and removals */
	uint64_t retried[SHMKV_STATS_RETRIES];   /* successful calls, by how often begun again */
	uint64_t value_bytes[SHMKV_STATS_SIZES]; /* values stored */
	/* later additions */
	uint64_t expired; /* expired keys whose memory was taken back; part of deletes */
	uint64_t evictions; /* keys removed to make room; part of deletes */
};

int shmkv_stats(struct shmkv *kv, struct shmkv_stats *stats);

/* Upper bound of a bucket as documented above; UINT64_MAX for the last one and beyond. */
uint64_t shmkv_stats_lines_bound(unsigned int bucket);
uint64_t shmkv_stats_retries_bound(unsigned int bucket);
uint64_t shmkv_stats_size_bound(unsigned int bucket);

/* ---- memory ---------------------------------------------------------------------- */

#define SHMKV_CLASSES_MAX 64

/* One size of blocks. */
struct shmkv_memory_class {
	uint64_t block_bytes;
	uint64_t slabs;
	uint64_t blocks;       /* in those */
	uint64_t used;         /* of those blocks */
	uint64_t record_bytes; /* header, key and value of the records in the used ones */
};

/*
 * shmkv_memory - who has the memory, and how much of it is lost on the way
 *
 * Looks at every block: about a second for ten million keys. Internal fragmentation is what
 * held_bytes has more than record_bytes; external is free_block_bytes, which only records of the
 * same class can use.
 *
 * Works read-only, blocks nobody. Returns 0, -EINVAL, -EBADF, -ECHILD, -EOPNOTSUPP.
 */
struct shmkv_memory {
	size_t size;
	uint64_t records;            /* in blocks of the classes and in chunks of their own */
	uint64_t record_bytes;       /* header, key and value of all records */
	uint64_t held_bytes;         /* of the blocks and chunks that hold them */
	uint64_t free_block_bytes;   /* blocks of slabs that are free */
	uint64_t tail_bytes;         /* ends of slabs too short for a block */
	uint64_t large_records;      /* those in chunks of their own */
	uint64_t large_record_bytes; /* header, key and value */
	uint64_t large_held_bytes;
	uint64_t free_chunks;        /* taken from the system and unused, 16 KiB each */
	uint64_t unreserved_bytes;   /* of the limit, not taken from the system yet */
	uint64_t free_stretch_bytes; /* the largest record that would find room without a slab */
	uint64_t n_classes;
	struct shmkv_memory_class classes[SHMKV_CLASSES_MAX];
	uint64_t drafts;             /* of the records: reserved and not committed */
	uint64_t draft_bytes;        /* that those hold, part of held_bytes */
};

int shmkv_memory(struct shmkv *kv, struct shmkv_memory *memory);

/* ---- participants ---------------------------------------------------------------- */

/*
 * One process that is attached read-write. Texts are static.
 *
 * state: "alive"; "stopped" (by a signal or a debugger); "dead" (not recovered yet); "joining";
 * or "unknown": alive, but whether it runs cannot be seen from here, because it belongs to
 * another pid namespace or /proc hides it.
 */
struct shmkv_participant {
	size_t size;
	uint64_t id;  /* slot of the process */
	uint64_t pid; /* in its own pid namespace */
	const char *state;
	const char *doing;     /* what a thread of it is inside of, or "idle" */
	uint64_t attached_ms;  /* how long ago */
	uint64_t calls;        /* since it took its contexts; none of threads that only read */
	uint32_t threads;      /* with a context */
	uint32_t working;      /* of those, inside a call */
	uint32_t pins;         /* records held by views */
	uint32_t reservations; /* blocks reserved and not committed */
};

/*
 * shmkv_linked - does the name still lead to this map?
 *
 * A map that was unlinked stays for those who are attached. Returns enum shmkv_link or -EBADF,
 * -ECHILD, -EOPNOTSUPP, -EACCES, -EIO.
 */
enum shmkv_link {
	SHMKV_UNLINKED = 0, /* nothing has that name */
	SHMKV_LINKED = 1,
	SHMKV_REPLACED = 2, /* another map, or something else, has it */
};

int shmkv_linked(struct shmkv *kv);

/*
 * shmkv_participants - enumerate them
 * @fn: called for each; a non-zero answer ends the walk and is returned
 *
 * Readers on read-only handles leave no trace and are not among them.
 */
int shmkv_participants(struct shmkv *kv,
		       int (*fn)(const struct shmkv_participant *participant, void *arg), void *arg);

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

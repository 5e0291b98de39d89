/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_LAYOUT_H
#define SKV_SHM_LAYOUT_H

/*
 * layout: every word that crosses a process boundary.
 *
 *   0            superblock      one page: immutable geometry, then the few hot shared words
 *   wait_off     futex words     4 B each: who waits for a change, by hash of the key
 *   process_off  processes       64 B each: who is attached read-write
 *   context_off  contexts        1 KiB each: one per writing thread, its intents and counters
 *   class_off    classes         64 B each: hints of the allocator, one line per size class
 *   policy_off   policy          only with eviction: how lately and how often keys were used
 *   dir_off      directory       16 B cells; level d has 2^d of them and begins at cell 2^d - 1
 *   cell_off     chunk cells     16 B each: what a chunk is used for
 *   bitmap_off   chunk bitmaps   64 B each: one hint bit per block
 *   summary_off  chunk summary   one bit per chunk: its bitmap may not be empty
 *   chunk_off    chunks          16 KiB each: leaves, slabs of small records, large records
 *
 * The file is sparse at its full size and mapped whole by everyone, so nothing ever moves.
 * A page may be touched only after it was reserved: tables up to the watermarks in the
 * superblock, directory pieces by their bit, chunks as chunks_ready says. Reading a hole of a
 * tmpfs file through a mapping allocates memory or, on a full file system, kills.
 *
 * Offsets are bytes from the segment start and 0 is null. All integers are little-endian
 * and aligned to their size. No pointers, no bool, no enum, no size_t in here.
 */

#include "base/atomic.h"

#include <stddef.h>
#include <stdint.h>

#define SKV_MAGIC 0x31764b6d68736b31ull
#define SKV_FORMAT_VERSION 1u

/* ---- geometry that is the same in every segment of one build --------------------- */

#define SKV_PAGE 4096u
#define SKV_CHUNK_BYTES 16384u
#define SKV_LEAF_BYTES 4096u
#define SKV_LEAVES_PER_CHUNK (SKV_CHUNK_BYTES / SKV_LEAF_BYTES)
#define SKV_LINE_SLOTS 4u

#ifdef SKV_TINY
/* Test geometry: a leaf of three lines is rebuilt every few inserts. */
#define SKV_LEAF_LINES 3u
#define SKV_DEPTH_MAX 20u
#else
#define SKV_LEAF_LINES 63u
#define SKV_DEPTH_MAX 24u
#endif
#define SKV_LEAF_SLOTS (SKV_LEAF_LINES * SKV_LINE_SLOTS)

/* Directory pages are reserved in pieces of 128 KiB: about 15 us, the price of two leaves. */
#define SKV_DIR_PIECE_CELLS 8192u
#define SKV_DIR_PIECES_MAX 4096u

#define SKV_CONTEXT_BYTES 1024u
#define SKV_WAIT_WORDS 1024u
#define SKV_PROCESSES_MAX 4095u
#define SKV_CONTEXTS_MAX 4095u
#define SKV_CLASSES_MAX 64u
#define SKV_LEAF_POOL 64u

/* One number that differs whenever two builds would misread each other's segments. */
#define SKV_GEOMETRY_MARK                                                                        \
	((uint32_t)(SKV_LEAF_LINES | (SKV_LINE_SLOTS << 8) | (SKV_DEPTH_MAX << 12) |              \
		    (SKV_CHUNK_BYTES / SKV_PAGE) << 20 | (SKV_CONTEXT_BYTES / 512) << 28))

/* ---- versioned cell --------------------------------------------------------------- */

/*
 * The one primitive: v never repeats at its address for as long as the address is a cell,
 * so a compare-and-swap of the pair that arrives an hour late fails.
 */
struct skv_cell {
	uint64_t v;
	uint64_t w;
} __attribute__((aligned(16)));

/* ---- slot ------------------------------------------------------------------------- */

/*
 *  v: version 48 | hash 35..20 (16)
 *  w: record offset / 16 (40) | hash 19..0 (20) | expires 1 | frozen 1 | state 2
 *
 * "hash" is the 36-bit place of the key: 24 bits of directory prefix, 12 bits that give the
 * home line. See shm/place.h.
 */
#define SKV_SLOT_EMPTY 0u
#define SKV_SLOT_LIVE 1u
#define SKV_SLOT_DEAD 2u
#define SKV_SLOT_STATE_MASK 3ull
#define SKV_SLOT_FROZEN (1ull << 2)
#define SKV_SLOT_EXPIRES (1ull << 3)
#define SKV_SLOT_HASH_SHIFT 4
#define SKV_SLOT_OFF_SHIFT 24
#define SKV_SLOT_VERSION_SHIFT 16
#define SKV_SLOT_VERSION_MAX ((1ull << 48) - 1)
/* A leaf with a slot this close to the end is never used again. */
#define SKV_SLOT_VERSION_SPENT (SKV_SLOT_VERSION_MAX - 0xffff)

/* ---- leaf ------------------------------------------------------------------------- */

#define SKV_LEAF_FREE 0u
#define SKV_LEAF_CLAIMED 1u
#define SKV_LEAF_LIVE 2u
#define SKV_LEAF_FORWARD 3u
#define SKV_LEAF_SPENT 4u

#define SKV_KIND_COMPACT 0u
#define SKV_KIND_SPLIT 1u

/*
 * Header word (w of the header cell; v is the generation, one step per life):
 *   state 3 | kind 1 | child0 28 | child1 28       FORWARD
 *   state 3 | context 12 at bit 4                  CLAIMED
 *   state 3 | reserved-for-compaction at bit 4     FREE
 */
#define SKV_LEAF_STATE_MASK 7ull
#define SKV_LEAF_KIND_SHIFT 3
#define SKV_LEAF_CHILD0_SHIFT 4
#define SKV_LEAF_CHILD1_SHIFT 32
#define SKV_LEAF_NUMBER_MASK 0xfffffffull
#define SKV_LEAF_RESERVED (1ull << 4)

struct skv_leaf {
	struct skv_cell header; /* v: generation, one step per life */
	uint64_t parent;     /* leaf number + 1, 0 for none; written while CLAIMED */
	uint64_t parent_gen; /* the life of the parent that this leaf was made from */
	uint64_t depth;      /* length of the prefix in bits */
	uint64_t prefix;     /* directory index at level depth */
	uint64_t reserved[2];
	struct skv_cell slots[SKV_LEAF_SLOTS];
#ifdef SKV_TINY
	uint8_t unused[SKV_LEAF_BYTES - 64 - 16 * SKV_LEAF_SLOTS];
#endif
};

/* ---- directory -------------------------------------------------------------------- */

/* Cell word: kind 2 | leaf 28 at bit 4. */
#define SKV_DIR_NONE 0u   /* a shorter prefix governs */
#define SKV_DIR_LEAF 1u   /* this prefix has its own leaf */
#define SKV_DIR_UNBORN 2u /* leaf is built; valid once the shorter prefix says SPLIT */
#define SKV_DIR_SPLIT 3u  /* longer prefixes govern */
#define SKV_DIR_KIND_MASK 3ull
#define SKV_DIR_LEAF_SHIFT 4

/* ---- record ----------------------------------------------------------------------- */

#define SKV_BLOCK_FREE 0u
#define SKV_BLOCK_ALLOC 1u
#define SKV_BLOCK_RETIRED 2u /* unlinked, still pinned */
#define SKV_BLOCK_BUSY 3u    /* being taken apart with its slab */
#define SKV_BLOCK_STATE_MASK 3ull

#define SKV_STAMP_COUNTER_BITS 50
#define SKV_STAMP_COUNTER_MAX ((1ull << SKV_STAMP_COUNTER_BITS) - 1)
/* A context that has given out so many is not taken by anybody any more, and whoever has it
 * takes another one as soon as it can: stamps never repeat. */
#define SKV_STAMP_COUNTER_SPENT (SKV_STAMP_COUNTER_MAX - (1ull << 40))

/*
 * hw: (stamp 62 << 2 | state) XOR a keyed mask of the offset, so that payload of a chunk
 * with another use is not mistaken for a state word.
 * (hw, expiry) is changed as one by a touch: see touch.c.
 * lens: key length 20 | value length 40 << 20 | flags 4 << 60
 */
struct skv_record {
	uint64_t hw;
	uint64_t expiry; /* ms of the boot clock; means something while the slot says EXPIRES */
	uint64_t lens;
	/* key, padded to 8 bytes, then the value */
};

#define SKV_RECORD_HEADER 24u
#define SKV_RECORD_KEY_MASK 0xfffffull
#define SKV_RECORD_VALUE_SHIFT 20
#define SKV_RECORD_VALUE_MASK 0xffffffffffull

/* ---- chunk ------------------------------------------------------------------------ */

#define SKV_CHUNK_FREE 0u
#define SKV_CHUNK_CLAIMED 1u   /* context: being made into something */
#define SKV_CHUNK_SLAB 2u      /* class, arg = generation: cell version at birth, 40 bits */
#define SKV_CHUNK_DISMANTLE 3u /* context, class, arg as before: a slab being taken apart */
#define SKV_CHUNK_LEAVES 4u    /* for ever */
#define SKV_CHUNK_RUN 5u       /* arg = chunks; one large record at its start */
#define SKV_CHUNK_BODY 6u      /* arg = chunk number of the head */

/* Cell word: state 4 | class 8 | context 12 | arg 40. */
#define SKV_CHUNK_STATE_MASK 0xfull
#define SKV_CHUNK_CLASS_SHIFT 4
#define SKV_CHUNK_CONTEXT_SHIFT 12
#define SKV_CHUNK_ARG_SHIFT 24

/* One bit per block of at least 32 bytes; hints only. */
struct skv_bitmap {
	uint64_t word[8];
};

/* ---- waiting ---------------------------------------------------------------------- */

/* Futex word: sequence 29 | three flags. See shm/wait.c. */
#define SKV_WAIT_WAITERS 1u /* somebody may sleep on this word */
#define SKV_WAIT_KEYS 2u    /* wait_any only: some word of the table may have waiters */
#define SKV_WAIT_POLLERS 4u /* somebody may poll a descriptor for this word */
#define SKV_WAIT_STEP 8u

/* ---- participants ----------------------------------------------------------------- */

#define SKV_PROCESS_FREE 0u
#define SKV_PROCESS_JOINING 1u
#define SKV_PROCESS_LIVE 2u
#define SKV_PROCESS_STATE_MASK 0xffull
#define SKV_PROCESS_INCARNATION_SHIFT 8

/* Only the kernel-held lock on byte LOCK_BASE + index says whether this process lives; the
 * rest is for people. */
struct skv_process {
	uint64_t state;      /* state 8 | incarnation 56 */
	uint64_t pid;
	uint64_t pid_ns;     /* inode of the pid namespace */
	uint64_t start_time; /* of the process, clock ticks since boot */
	uint64_t joined_ms;  /* boot clock */
	uint64_t reserved[3];
};

#define SKV_LOCK_BASE ((int64_t)1 << 62)

/* Owner word: process number + 1, or 0 for free (16) | incarnation 48. */
#define SKV_OWNER_PROCESS_MASK 0xffffull
#define SKV_OWNER_INCARNATION_SHIFT 16

/* Pin word: offset / 16 (37) | low bits of the owner's incarnation 26 | releasing 1: see pin.c. */
#define SKV_PIN_RELEASING 1ull
#define SKV_PIN_INCARNATION_BITS 26
#define SKV_PIN_OFF_SHIFT (1 + SKV_PIN_INCARNATION_BITS)

/* "new" names a block and whether it may be linked already: offset | phase. */
#define SKV_INTENT_COMPLETE 1ull

/*
 * What a thread counts, cumulative for ever: whoever reads sums over all contexts, those of
 * the dead included, and a context that changes hands goes on from the numbers it has. Written by
 * the one owner with plain stores; protocol and buckets: see shm/tally.h.
 */
enum skv_call {
	SKV_CALL_PUT,
	SKV_CALL_ADD,
	SKV_CALL_REPLACE,
	SKV_CALL_CAS,
	SKV_CALL_UPDATE, /* incr, append, touch */
	SKV_CALL_DEL,
	SKV_CALL_TAKE,
	SKV_CALL_CLEAR,
	SKV_CALL_N,
};

enum skv_outcome {
	SKV_OUTCOME_UNMET,    /* the condition of the call did not hold */
	SKV_OUTCOME_NO_SPACE, /* -ENOSPC, -EXFULL */
	SKV_OUTCOME_LOST,     /* -EAGAIN */
	SKV_OUTCOME_FAILED,   /* anything else */
	SKV_OUTCOME_N,
};

#define SKV_TALLY_LINES 8u
#define SKV_TALLY_SIZES 20u
#define SKV_TALLY_AGAIN 6u

struct skv_tally {
	uint64_t hit_lines[SKV_TALLY_LINES];   /* look-ups that found the key */
	uint64_t miss_lines[SKV_TALLY_LINES];  /* look-ups that did not */
	uint64_t write_lines[SKV_TALLY_LINES]; /* changes of a key */
	uint64_t calls[SKV_CALL_N];            /* writing calls, however they ended */
	uint64_t outcomes[SKV_OUTCOME_N];
	uint64_t read_retries; /* look-ups begun again because of others */
	uint64_t reserved;
	uint64_t again[SKV_TALLY_AGAIN];     /* calls that were begun again, by how often */
	uint64_t value_bytes[SKV_TALLY_SIZES]; /* values stored, by their length */
};

#define SKV_PINS 16u
#define SKV_RESERVATIONS 8u

struct skv_context {
	/* line 0: written by the owner with every operation */
	uint64_t owner;
	uint64_t stamp_next; /* counter part; never reset */
	uint64_t new_off;    /* block being filled or linked | SKV_INTENT_COMPLETE */
	uint64_t new_stamp;
	uint64_t old_off; /* block being unlinked */
	uint64_t old_stamp;
	uint64_t aux_off; /* block that a sweeper or reaper looks at */
	uint64_t doing;   /* operation in flight, for people: enum skv_doing */
	/* line 1: rare work */
	uint64_t rebuild_leaf; /* leaf number + 1 */
	uint64_t rebuild_gen;
	uint64_t rebuild_child[2]; /* leaf number + 1 */
	uint64_t chunk_first;      /* chunk number + 1 */
	uint64_t chunk_len;
	uint64_t waking; /* number of a futex word + 1; SKV_WAIT_WORDS is that for any change */
	uint64_t reserved1;
	/* lines 2 and 3: blocks held by views; lines 4 and 5: for reservations */
	uint64_t pins[SKV_PINS];
	uint64_t reservations[SKV_RESERVATIONS][2];
	/* line 6: statistics, cumulative since creation, written by the owner only */
	uint64_t inserts;
	uint64_t updates;
	uint64_t deletes;
	uint64_t retries;
	uint64_t splits;
	uint64_t compactions;
	uint64_t calls_before; /* calls when the present owner took it */
	uint64_t expired; /* expired keys removed; deletes counts them too */
	/* line 7 */
	uint64_t evictions; /* keys removed to make room; deletes counts them too */
	uint64_t reserved7[7];
	/* lines 8 to 15 */
	struct skv_tally tally;
};

enum skv_doing {
	SKV_DOING_IDLE,
	SKV_DOING_WRITE,
	SKV_DOING_REMOVE,
	SKV_DOING_CLEAR,
	SKV_DOING_RECOVER,
	SKV_DOING_TOUCH,
	SKV_DOING_EXPIRE,
	SKV_DOING_VIEW,
	SKV_DOING_N,
};

/* ---- use of keys ------------------------------------------------------------------ */

/*
 * What eviction chooses by, all of it hints: bytes that are read and written without order. A
 * head, then lines of bytes; see policy.c.
 */
#define SKV_POLICY_LINE 64u
/* One byte of table for so many of the segment's limit: 1.6 %. */
#define SKV_POLICY_SHARE 64u

struct skv_policy {
	/* read with every use, written once per tick */
	uint64_t clock;  /* ticks */
	uint64_t window; /* uses until the ageing hand comes round */
	uint64_t reserved0[6];
	/* written by everybody, now and then */
	uint64_t work; /* bytes inserted since the last tick */
	uint64_t hand; /* lines that the hand has passed, times 2^16 */
	uint64_t reserved1[6];
};

/* ---- superblock ------------------------------------------------------------------- */

struct skv_class_hints {
	uint64_t n_free;    /* hint bits set, about; drift is possible and harmless */
	uint64_t cursor;    /* chunk where the last search ended */
	uint64_t exhausted; /* n_freed when a whole pass found nothing, + 1 */
	uint64_t lost_left; /* chunks to look at for free blocks whose hints died with somebody */
	uint64_t lost_next; /* the chunk to go on with */
	uint64_t reserved[3];
};

struct skv_superblock {
	/* immutable after publication */
	uint64_t magic;
	uint32_t format_version;
	uint32_t geometry_mark;
	uint64_t segment_bytes; /* file size */
	uint64_t max_bytes;     /* as asked for at creation */
	uint64_t process_off;
	uint64_t context_off;
	uint64_t class_off;
	uint64_t dir_off;
	uint64_t cell_off;
	uint64_t bitmap_off;
	uint64_t summary_off;
	uint64_t chunk_off;
	uint32_t n_processes;
	uint32_t n_contexts;
	uint32_t n_chunks;
	uint32_t hash_kind;
	uint32_t level_min;
	uint32_t level_max;
	uint64_t hash_k0;
	uint64_t hash_k1;
	uint64_t block_secret; /* keys the masks and FREE words of blocks */
	uint64_t created_ms;   /* boot clock */
	uint64_t boot_id[2];
	uint64_t default_ttl_ms; /* of keys that are stored without a time of their own; 0: none */
	uint64_t time_ns;        /* inode of the time namespace that deadlines are counted in, or 0 */
	uint64_t policy_off;
	uint32_t evict;      /* enum shmkv_evict */
	uint32_t huge_pages; /* enum shmkv_huge_pages, never DEFAULT */
	uint64_t wait_off;
	uint8_t pad0[512 - 208];

	/* read-mostly: its own line, nobody counts here */
	uint64_t root;       /* where look-ups begin: see shm/directory.c */
	uint64_t low_memory; /* non-zero: freed blocks go to the bitmaps */
	uint64_t expires;    /* non-zero as soon as any key ever had a deadline */
	uint64_t pins_enabled; /* one bit per cell of pins_of: some context there has ever pinned */
	uint64_t reserved1[4];

	/* growth */
	uint64_t chunks_ready;   /* reserved, with their rows: from the bottom 32 | from the top 32 */
	uint64_t contexts_ready; /* contexts below this are reserved */
	uint64_t reserved2[6];

	/* allocation of chunks: hints */
	uint64_t n_chunks_free[2]; /* about how many FREE chunks are reserved, per end */
	uint64_t chunk_cursor;
	uint64_t n_freed;     /* blocks freed while memory was low, counts up */
	uint64_t leaf_target; /* how many leaves the pool should hold */
	uint64_t n_chunks_came; /* how often chunks became free or were grown, counts up */
	uint64_t reserved3[2];

	/* housekeeping */
	uint64_t reap_ms;   /* boot clock of the last look for dead processes */
	int64_t count_base; /* correction of the sum of inserts - deletes */
	uint64_t recoveries;
	uint64_t expiry_cursor; /* where writers look for expired keys next: see expiry.c */
	uint64_t huge_done; /* hint, see huge.c: stretches from the bottom 32 | from the top 32 */
	uint64_t reserved4[3];

	/* waiting: read by every change, written only when somebody waits */
	uint32_t wait_any;    /* futex word for any change, and the way to those for keys */
	uint32_t wait_unused;
	uint64_t wait_credit; /* changes that the dead may have made and not counted */
	uint64_t reserved5[6];

	uint64_t leaf_pool[SKV_LEAF_POOL]; /* hints: leaf number + 1 of leaves kept for COMPACT */
	uint64_t dir_ready[SKV_DIR_PIECES_MAX / 64]; /* one bit per reserved directory piece */
	struct skv_cell pins_of[(SKV_CONTEXTS_MAX + 1) / 64]; /* w: one bit per context that may pin */
	uint8_t pad1[SKV_PAGE - 512 - 5 * 64 - 512 - 512 - 1024];
};

_Static_assert(sizeof(struct skv_cell) == 16, "cell");
_Static_assert(sizeof(struct skv_leaf) == SKV_LEAF_BYTES, "leaf");
_Static_assert(offsetof(struct skv_leaf, slots) == 64, "slots begin on the second line");
_Static_assert(sizeof(struct skv_record) == SKV_RECORD_HEADER, "record");
_Static_assert(sizeof(struct skv_process) == 64, "process");
_Static_assert(sizeof(struct skv_context) == SKV_CONTEXT_BYTES, "context");
_Static_assert(offsetof(struct skv_context, rebuild_leaf) == 64, "rare intents on their line");
_Static_assert(offsetof(struct skv_context, inserts) == 384, "statistics on their line");
_Static_assert(offsetof(struct skv_context, evictions) == 448, "and the next");
_Static_assert(offsetof(struct skv_context, tally) == 512, "the tally on lines of its own");
_Static_assert(SKV_PAGE % sizeof(struct skv_context) == 0, "no context crosses a page");
_Static_assert(sizeof(struct skv_class_hints) == 64, "class hints");
_Static_assert(sizeof(struct skv_policy) == 2 * SKV_POLICY_LINE, "policy head");
_Static_assert(offsetof(struct skv_superblock, root) == 512, "read-mostly line");
_Static_assert(offsetof(struct skv_superblock, chunks_ready) == 576, "growth line");
_Static_assert(offsetof(struct skv_superblock, wait_any) == 768, "waiting on its line");
_Static_assert(sizeof(struct skv_superblock) == SKV_PAGE, "superblock");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");
#if __GCC_ATOMIC_LLONG_LOCK_FREE != 2
#error "64-bit words must be lock-free"
#endif

#endif

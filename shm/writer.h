/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_WRITER_H
#define SKV_SHM_WRITER_H

/*
 * writer: the calling thread's right to change the segment.
 *
 * Each thread that writes owns one context record in the segment, which holds its intents
 * and counters, and this private companion with its caches. A thread gets one at its first
 * write on a handle and gives it back when it ends; the next thread of the process takes it
 * over with its caches, one with open views or drafts last. The memory of a writer is never
 * given back to malloc, only used again, so that a thread that ends while the handle is
 * detached looks at a writer for sure.
 */

#include "shm/class.h"
#include "shm/map.h"

/* Private, most recently freed first; hints like everything that is not a state word. */
#define SKV_CACHE_BLOCKS 96u

struct skv_cache {
	uint32_t n;
	struct {
		uint64_t off;  /* class 0: leaf number */
		uint64_t word; /* the FREE word that the block should hold; class 0: unused */
	} item[SKV_CACHE_BLOCKS];
};

/*
 * What a thread remembers of the handles it uses, direct-mapped by the handle's serial: a
 * thread that uses more handles than this at once gives a context back and takes it again when
 * two collide.
 */
#define SKV_THREAD_SLOTS 8u

struct skv_thread_slot {
	uint64_t serial;
	struct skv_writer *writer; /* NULL until the thread writes */
	struct skv_reader *reader; /* NULL unless it has counted without a context */
	struct skv_tally *tally;   /* where it counts: the context's or the reader's */
};

/* Initial-exec: the read path counts, and must not call anybody to find out where. */
extern _Thread_local struct skv_thread_slot skv_thread_slots[SKV_THREAD_SLOTS]
	__attribute__((tls_model("initial-exec")));

/* At least as many as an operation has attempts to make room (evict.c). */
#define SKV_LOST_MAX 32u

/* What an operation lacks, for whoever makes room: filled by those who answer -ENOSPC. */
struct skv_lack {
	bool hasty;    /* keys can be evicted: search nowhere at length */
	bool leaf;     /* it was a leaf, no block */
	bool leaf_first; /* room was made for a leaf: take that before a block */
	uint64_t bytes; /* of the block; 0 for nothing */
	uint32_t tries; /* of this operation */
	uint32_t pressure; /* how often another class had the worse key */
	uint32_t luck;     /* more chunks to look at for empty slabs */
	uint64_t random;
	/* A search for so many neighbouring chunks failed; n_chunks_came before it. */
	uint64_t stretch, stretch_came;
	/* Spans of this operation's stretches that were not to be had: their first chunks. */
	uint64_t lost[SKV_LOST_MAX];
	uint32_t n_lost;
	uint64_t spent; /* chunks that were emptied in front of them */
};

struct skv_writer {
	struct skv_map *map;
	struct skv_context *ctx;
	uint32_t idx; /* of the context */
	uint64_t owner; /* owner word while it is ours */
	uint64_t taken; /* serial of the map while a thread has it, else 0 */
	int busy;       /* inside a call; only the owning thread and its signal handlers look */
	uint32_t n_calls; /* since the last look for dead processes */
	uint32_t n_expiry; /* since the last look for expired keys */
	struct skv_lack lack;
	uint64_t inserted; /* bytes, not yet credited to the policy's clock */
	int32_t acting_for; /* context of a dead thread whose intents are being settled, or -1 */
	struct skv_writer *next;
	struct skv_cache cache[SKV_CLASSES_MAX];
};

/*
 * skv_writer_enter - begin a writing call
 * @doing: shown to people who look at the segment
 * @ret_writer: end with skv_writer_exit on the same thread
 *
 * Returns 0, -EBUSY (this thread is inside a call already: a signal handler), -EUSERS
 * (every context is taken by the living), -ENOSPC (no memory for one more), -ENOMEM.
 */
int skv_writer_enter(struct skv_map *map, enum skv_doing doing, struct skv_writer **ret_writer);
void skv_writer_exit(struct skv_writer *writer);

/*
 * skv_writer_thread_slot - the calling thread's slot for a handle, emptied of another handle's
 *
 * Once the caller has put something in, it is given back when the thread ends. Returns 0,
 * -EBUSY (a signal handler interrupted a call that uses the slot), -ENOMEM.
 */
int skv_writer_thread_slot(struct skv_map *map, struct skv_thread_slot **ret_slot);

/*
 * skv_writer_adopt - make the context of a dead thread ours, with the intents that stand in it
 * @owner: the owner word while it was dead
 *
 * NULL when somebody else was faster or there is no memory. The caller settles the intents
 * and ends with skv_writer_offer, which clears them and lets threads of this process use it.
 */
struct skv_writer *skv_writer_adopt(struct skv_map *map, uint32_t idx, uint64_t owner);
void skv_writer_offer(struct skv_writer *writer);

/* Give back every context of a handle that is being detached. */
void skv_writer_release_all(struct skv_map *map);

/* In a forked child: free private memory only. */
void skv_writer_abandon_all(struct skv_map *map);

/* A stamp that was never used in this segment; the next one of this context. */
uint64_t skv_writer_stamp(struct skv_writer *writer);

/* Process number of an owner word, or -1 when it is free. */
static inline int32_t skv_owner_process(uint64_t owner)
{
	return (int32_t)(owner & SKV_OWNER_PROCESS_MASK) - 1;
}

static inline uint64_t skv_owner_word(uint64_t previous, int32_t process)
{
	return (((previous >> SKV_OWNER_INCARNATION_SHIFT) + 1) << SKV_OWNER_INCARNATION_SHIFT) |
	       (uint64_t)(process + 1);
}

#endif

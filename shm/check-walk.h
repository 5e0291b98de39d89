/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_CHECK_WALK_H
#define SKV_SHM_CHECK_WALK_H

/*
 * check-walk: what the parts of the check share. The invariants and how they are decided
 * while others write: see check.c.
 */

#include "shm/block.h"
#include "shm/check.h"

/* How often something that keeps changing is looked at before it counts as undecided. */
#define SKV_CHECK_TRIES 16u

struct skv_check_walk {
	struct skv_map *map;
	const struct shmkv_watch *watch;
	struct shmkv_audit *audit;
	struct skv_ready ready;
	uint64_t *linked; /* one bit per possible block of each chunk, as in the hint bitmaps */
	uint64_t done, total;
};

/* Count a violation of invariant @number and say it. */
void skv_check_violated(struct skv_check_walk *walk, unsigned int number, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void skv_check_progress(struct skv_check_walk *walk, uint64_t done);

static inline bool skv_check_is_linked(const struct skv_check_walk *walk, uint64_t head, uint32_t idx)
{
	return walk->linked[head * 8 + idx / 64] >> (idx % 64) & 1;
}

static inline void skv_check_mark_linked(struct skv_check_walk *walk, const struct skv_span *span)
{
	walk->linked[span->head * 8 + span->idx / 64] |= 1ull << (span->idx % 64);
}

/* ---- the parts -------------------------------------------------------------------- */

/* C1 to C5 and C13: the directory, its leaves, their slots and the records that these name. */
void skv_check_index(struct skv_check_walk *walk);

/* C6 to C10: chunks, blocks, and leaves that the directory does not name. */
void skv_check_memory(struct skv_check_walk *walk);

/* C11 and C12: processes, contexts, and the words of the superblock. */
void skv_check_tables(struct skv_check_walk *walk);

/* ---- who works on something -------------------------------------------------------- */

/* Ordered: what somebody living announces is in good hands, whoever else does. */
enum skv_holder {
	SKV_HOLDER_NONE,
	SKV_HOLDER_DEAD, /* not recovered yet */
	SKV_HOLDER_LIVING,
};

/* Whose is the context? */
enum skv_holder skv_check_owner(struct skv_check_walk *walk, uint32_t context);

/* Who announces, pins or has reserved the block? */
enum skv_holder skv_check_block_holder(struct skv_check_walk *walk, uint64_t off);

/* Who announces that leaf @leaf, FORWARD in life @gen, is being replaced? */
enum skv_holder skv_check_rebuild_holder(struct skv_check_walk *walk, uint32_t leaf, uint64_t gen);

/* Does @context announce @leaf as a child, or @chunk as claimed, and whose is it? */
enum skv_holder skv_check_child_holder(struct skv_check_walk *walk, uint32_t context, uint32_t leaf);
enum skv_holder skv_check_claim_holder(struct skv_check_walk *walk, uint32_t context, uint64_t chunk);

/* Is any thread of somebody living inside a call? */
bool skv_check_others_work(struct skv_check_walk *walk);

#endif

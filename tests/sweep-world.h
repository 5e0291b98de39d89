/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_SWEEP_WORLD_H
#define SKV_TESTS_SWEEP_WORLD_H

/*
 * sweep-world: one segment under test, what it must hold, and what survivors do with it.
 *
 * The model says for each key what a read must give. Survivors run a battery of every kind
 * of call and hold each answer against it. Nothing here waits for anybody. A process that
 * finds something wrong says so, with the line that repeats the case, and exits with 1;
 * whoever forked it looks at that.
 */

#include "base/fault.h"

#include <shmkv/inspect.h>
#include <shmkv/wait.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Keys by number. The deep ones share the first bits of their place, more than a directory
 * piece holds levels, so that a few of them make a deep directory. */
#define SWEEP_PLAIN 0u
#define SWEEP_N_PLAIN 640u
#define SWEEP_DEEP 640u
#define SWEEP_N_DEEP 320u
#define SWEEP_EXTRA 960u
#define SWEEP_KEYS 1024u
#define SWEEP_DEEP_BITS 13u

/* What fills a segment: records of the largest class whose slab is one chunk. */
#define SWEEP_FILL_MAX 8192u
#define SWEEP_FILL_BYTES 1000u

/* Payload lengths: a small record; one that shares no class with it; a slab of four chunks; a
 * run of chunks. */
#define SWEEP_SMALL 40u
#define SWEEP_MEDIUM 700u
#define SWEEP_WIDE 12000u
#define SWEEP_RUN 50000u
#define SWEEP_VALUE_MAX 200000u

enum sweep_kind { SWEEP_ABSENT, SWEEP_BIN, SWEEP_INT };

struct sweep_value {
	uint8_t kind;
	uint32_t len, version;   /* BIN: bytes made of key and version */
	uint32_t len2, version2; /* BIN: appended to it */
	bool ends;               /* at the next sweep_lapse */
	int64_t number;          /* INT */
};

enum sweep_op_kind {
	SWEEP_PUT,
	SWEEP_PUT_MANY, /* one key, SWEEP_ITEMS times in one batch */
	SWEEP_ADD,
	SWEEP_REPLACE,
	SWEEP_CAS,
	SWEEP_INCR,
	SWEEP_APPEND,
	SWEEP_DEL,
	SWEEP_TAKE,
	SWEEP_VIEW_REPLACE, /* look at the value in place, replace it meanwhile */
	SWEEP_DRAFT,        /* reserve longer than needed, fill, commit */
	SWEEP_DRAFT_CAS,    /* the same for the version that is there */
	SWEEP_DRAFT_TTL,    /* the same for a millisecond */
	SWEEP_DRAFT_ABORT,  /* reserve, fill, abort */
	SWEEP_DRAFT_REFUSED, /* of a key that nobody else has */
	SWEEP_DRAFT_DETACH,  /* with drafts of every kind of memory open */
	SWEEP_CLEAR,
	SWEEP_GET,
	SWEEP_VIEW,
	SWEEP_SCAN,
	SWEEP_RECOVER,
	SWEEP_MAINTAIN,
	SWEEP_CREATE,
	SWEEP_ATTACH,
	SWEEP_DETACH,
	SWEEP_PUT_TTL, /* for a millisecond */
	SWEEP_TOUCH,   /* for SWEEP_TTL */
	SWEEP_PERSIST,
	SWEEP_EXPIRE,
	SWEEP_WAIT,     /* a moment, for the key to change */
	SWEEP_WAIT_ANY, /* a moment, for any key to change */
	SWEEP_POLL,     /* leaves word that it polls */
};

/* Longer than any case, in milliseconds; and what a key may have had before. */
#define SWEEP_TTL 1000000000u
#define SWEEP_TTL_BEFORE 500000000u

/* Items of a batch; each has a length of its own, so that it is known which one is there. */
#define SWEEP_ITEMS 3u
#define SWEEP_ITEM_STEP 300u

struct sweep_op {
	enum sweep_op_kind kind;
	uint32_t key;
	uint32_t len; /* of the payload */
};

#define SWEEP_CHAIN_MAX 3u
#define SWEEP_MANY_MAX 8u

/* Shared by all processes of one run of the sweep. */
struct sweep_board {
	/* over all cases */
	uint64_t reached[SKV_FAULT_N];
	uint64_t killed[SKV_FAULT_N];
	uint64_t stopped[SKV_FAULT_N];
	uint64_t killed_again[SKV_FAULT_N]; /* a recovering process, after an earlier death */
	/* of this case */
	struct skv_fault_plan plan[1 + SWEEP_CHAIN_MAX]; /* the victim, then the recoverers */
	struct skv_fault_plan haunt; /* whoever dies before the victim acts */
	struct skv_fault_plan many_plan[SWEEP_MANY_MAX];
	int32_t many_done[SWEEP_MANY_MAX], many_r[SWEEP_MANY_MAX];
	int32_t done;
	int32_t r; /* what its operation answered */
	uint64_t removed;
	uint64_t last_item; /* of a batch, how many up to the last one that succeeded */
	uint64_t filled, fill_leaf_chunks; /* what the segment held when it was filled at the end */
	uint32_t said;
	char message[640];
};

struct sweep_world {
	char name[64];
	char replay[160];
	const char *role; /* of this process, for messages */
	struct sweep_board *board;
	struct shmkv *kv; /* of the director */
	struct shmkv_options opts;
	struct sweep_value model[SWEEP_KEYS];
	bool touched[SWEEP_KEYS]; /* written by survivors since the victim was stopped */
	uint32_t n_fill;          /* fillers 0..n_fill-1, but for those that were removed */
	bool filler[SWEEP_FILL_MAX];
	uint32_t version; /* the last one given out */
	uint32_t deaths;  /* each may make the count wrong by one */
	bool timed;       /* the boot clock stands still and is moved by sweep_lapse */
	uint32_t unswept; /* at most so many expired keys are still there */
	uint64_t token;   /* for CAS and WAIT */
	bool was_absent;  /* what a WAIT of the victim has seen */
	struct sweep_op op; /* the victim's */
	struct sweep_value value;
	struct sweep_value haunt_value[4], tenant_value[160];
	bool evicts;     /* it is a cache: any key may be gone, entirely */
	uint64_t n_gone; /* keys that were found gone */
	uint64_t n_tenant; /* keys of the tenant that are in the model */
	struct shmkv *more[16]; /* handles that a scenario keeps open */
	uint32_t n_more;
};

/* ---- saying what is wrong ------------------------------------------------------------ */

_Noreturn void sweep_bail(struct sweep_world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define SWEEP_WANT(w, expr, want) sweep_want((w), #expr, (expr), (want))
void sweep_want(struct sweep_world *w, const char *text, int r, int want);

/* ---- keys and values ----------------------------------------------------------------- */

/* Randomness of this process starts again: the next segment gets the same hash key. */
void sweep_random_reset(uint64_t seed);

/* Makes the keys for segments created after sweep_random_reset(@seed). */
void sweep_keys_init(uint64_t seed);

const char *sweep_key(uint32_t id, size_t *ret_len);

/* From now on no free leaf is kept for compaction: each is used again at once. */
void sweep_keep_no_leaves(struct shmkv *kv);

/* Are both keys in the same leaf now? */
bool sweep_same_leaf(struct shmkv *kv, uint32_t a, uint32_t b);

struct sweep_value sweep_bin(struct sweep_world *w, uint32_t len);
/* What item @i of a batch stores. */
struct sweep_value sweep_item(struct sweep_value value, uint32_t i);
struct sweep_value sweep_int(int64_t number);

bool sweep_matches(struct sweep_world *w, struct shmkv *kv, uint32_t id,
		   const struct sweep_value *value);

/* ---- the segment and the model -------------------------------------------------------- */

void sweep_create(struct sweep_world *w);

/* By a survivor, with the model kept in step. */
void sweep_put(struct sweep_world *w, struct shmkv *kv, uint32_t id, struct sweep_value value);
void sweep_del(struct sweep_world *w, struct shmkv *kv, uint32_t id);

/* Fillers until nothing more fits, or until something was evicted for one; @limit of them at most.
 * Returns how many were added. */
uint32_t sweep_fill(struct sweep_world *w, struct shmkv *kv, uint32_t limit);
void sweep_unfill(struct sweep_world *w, struct shmkv *kv);

/* Keys that were evicted since the segment was made. */
uint64_t sweep_evictions(struct shmkv *kv);

/* One operation as the victim does it; @kv may be opened or closed by it. */
int sweep_run_op(struct sweep_world *w, struct shmkv **kv, const struct sweep_op *op,
		 struct sweep_value value);

/* What the operation must answer in the state of the model, which it changes. */
int sweep_model_op(struct sweep_world *w, const struct sweep_op *op, struct sweep_value value,
		   bool token_is_current);

static inline bool sweep_op_has_key(enum sweep_op_kind kind)
{
	return kind <= SWEEP_DRAFT_ABORT || kind == SWEEP_GET || kind == SWEEP_VIEW ||
	       kind == SWEEP_WAIT ||
	       (kind >= SWEEP_PUT_TTL && kind <= SWEEP_PERSIST);
}

/* The clock moves on: what has a millisecond to live is absent, and still there. */
void sweep_timed(struct sweep_world *w);
void sweep_lapse(struct sweep_world *w);
void sweep_put_ending(struct sweep_world *w, struct shmkv *kv, uint32_t id, uint32_t len);

/*
 * The deadline of a touched key: the one that the touch gave if @done, otherwise that or the one
 * it had before.
 */
void sweep_judge_ttl(struct sweep_world *w, struct shmkv *kv, bool done);

/* ---- what survivors do ---------------------------------------------------------------- */

/* Every key and filler is what the model says, by get and by scan. */
void sweep_verify(struct sweep_world *w, struct shmkv *kv);

/* What is gone after a clear that ran beside survivors: keys and fillers that they wrote
 * meanwhile may be there or not; returns how many of the others are still there. */
uint64_t sweep_after_clear(struct sweep_world *w, struct shmkv *kv);

/* Every kind of call on neighbours and others, on @target too if @touch, then all verified. */
void sweep_battery(struct sweep_world *w, struct shmkv *kv, uint32_t target, bool touch);

/* What happens to the world while a victim is stopped. */
enum sweep_twist {
	SWEEP_TWIST_NONE,
	SWEEP_TWIST_REPLACE,   /* the target has another value */
	SWEEP_TWIST_DELETE,    /* the target is gone */
	SWEEP_TWIST_ABA,       /* the target has another record in the block that it had */
	SWEEP_TWIST_REBUILD,   /* its leaf is replaced many times */
	SWEEP_TWIST_ELSEWHERE, /* its leaf was replaced and serves other keys now */
	SWEEP_TWIST_RECYCLE,   /* its memory was used for many other records */
	SWEEP_TWIST_DISMANTLE, /* slabs and runs become something else */
	SWEEP_TWIST_EXHAUST,   /* the segment is full when it wakes */
	SWEEP_TWIST_TENANT,    /* somebody stands inside a call in what was recovered (engine) */
	SWEEP_TWIST_N,
};
extern const char *const sweep_twist_names[];
/* @salt: varies what is done a little */
void sweep_twist(struct sweep_world *w, struct shmkv *kv, uint32_t target, enum sweep_twist twist,
		 uint32_t salt);

/* shmkv_recover; @quiet: nobody else is inside a call, so the count becomes exact. */
void sweep_recover(struct sweep_world *w, struct shmkv *kv, bool quiet);

/* Nothing is violated and nothing leaked. */
/* While somebody is stopped, or dead and not recovered: nothing contradicts itself, and what is
 * lost is announced by the dead. */
void sweep_check_unrecovered(struct sweep_world *w, struct shmkv *kv);
void sweep_check(struct sweep_world *w, struct shmkv *kv);

/* Empty the map: every chunk that is not for leaves can be filled again. */
void sweep_account(struct sweep_world *w, struct shmkv *kv);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef STRESS_WORK_H
#define STRESS_WORK_H

/*
 * work: the operations of a worker, by class of key.
 *
 * Each writes into the ledger what it is about to do, makes the call, and holds the answer
 * against what the ledger allows. A failure is recorded and sets worker->failed.
 */

#include <shmkv/reserve.h>
#include <shmkv/view.h>

#include "stress/reader.h"
#include "stress/worker.h"

#define WORK_VIEWS 8u
#define WORK_DRAFTS 4u
#define WORK_BATCH 32u
#define WORK_BATCH_VALUE 4096u /* bytes of a value in a batch, at most */
#define WORK_LEASE_MS_MAX 50u
#define WORK_TIMED 4u           /* timed keys of a thread */
#define WORK_TIMED_VALUE 4096u  /* bytes of their values, at most */
#define WORK_LONG_MS 3600000u /* longer than any run */

/* An open view, and what it showed at its beginning. */
struct held_view {
	bool open;
	struct shmkv_view view;
	enum key_class class;
	uint64_t idx, seq;
	uint32_t writer;
};

/* An open draft, filled with its pattern up to some byte. */
struct held_draft {
	bool open;
	struct shmkv_draft draft;
	enum key_class class;
	enum shmkv_type type;
	enum shmkv_commit_mode mode;
	uint64_t idx, seed;
	uint64_t token, token_seq; /* of the version that SHMKV_COMMIT_CAS may replace */
	size_t filled;
};

/* A timed key: there before low, absent from high on; milliseconds of the boot clock. */
struct timed_key {
	uint64_t low, high;
};

/* One thread. */
struct worker {
	const struct worker_start *start;
	struct ledger *ledger;
	struct ledger_writer *me;
	struct shmkv *kv;
	struct reader reader;
	unsigned int writer; /* number among all threads of all workers */
	uint32_t incarnation;
	unsigned char *buf; /* to build values in */
	/* The token of an earlier version of the own key with the number stale_idx. */
	uint64_t stale_token, stale_idx;
	bool stale_valid;
	struct held_view views[WORK_VIEWS];
	struct held_draft drafts[WORK_DRAFTS];
	struct work_batch *batch;
	/* The lease that was granted last, for as long as it may be renewed. */
	uint64_t lease_token, lease_idx;
	bool lease_held;
	struct timed_key timed[WORK_TIMED];
	uint64_t *rows; /* two for each writer: what the ledger said before a call */
	int poll_fd;       /* -1: none (yet) */
	bool poll_refused; /* the system has none to give */
	unsigned int mix_sum;
	uint64_t ops_end; /* operations after which it leaves by itself */
	bool failed;
};

/* ---- for all of them ------------------------------------------------------------- */

void work_fail_answer(struct worker *worker, const char *what, enum key_class class, uint64_t idx,
		      int r, const char *expected);

/*
 * Answers that say "nothing was changed, for want of something". A full segment is no
 * fault when the user gave its size.
 */
bool work_is_refusal(struct worker *worker, int r);

struct shmkv_value work_value(struct worker *worker, enum key_class class, uint64_t idx,
			      uint64_t seq);

uint64_t work_next_seq(struct worker *worker);

/* A value of a key that many write: its sequence number is the writer's. */
struct shmkv_value work_shared_value(struct worker *worker, enum key_class class, uint64_t idx);

/* Remove a key with one of the two calls that do it; what take gave is in the reader's buffer. */
int work_remove(struct worker *worker, const struct stress_key *key, bool take,
		struct shmkv_value *ret_value);

/* ---- owned keys ------------------------------------------------------------------ */

enum owned_call {
	OWNED_PUT,
	OWNED_REPLACE,
	OWNED_ADD,
	OWNED_DEL,
	OWNED_TAKE,
	OWNED_CAS,
	OWNED_CAS_STALE, /* with a token that is known to be old: must not change anything */
};


void work_owned(struct worker *worker, enum owned_call call, uint64_t idx);

/* Own keys not stored yet come first, every other time, so that the map grows in step. */
bool work_owned_fresh(struct worker *worker, enum owned_call call);

/* One of the own keys; false while there are none. */
bool work_draw_own(struct worker *worker, bool churn, uint64_t *ret_idx);

/* After a death: the call that was under way has happened or not, and the map knows. */
bool work_settle_predecessor(struct worker *worker);

/* ---- contended keys -------------------------------------------------------------- */

void work_presence_add(struct worker *worker);
void work_presence_del(struct worker *worker);
void work_incr(struct worker *worker);
void work_counter_cas(struct worker *worker);

/* put, replace, add, cas or delete where all others do the same. */
void work_shared(struct worker *worker, enum stress_op op);

/* ---- more than one key, or more than one moment ----------------------------------- */

/* Begins a view or ends one. */
void work_view(struct worker *worker);
/* All of them, when the worker ends by itself. */
void work_views_end(struct worker *worker);

/* Begins a draft, fills some of it, or ends one. */
void work_reserve(struct worker *worker);
void work_reserve_end(struct worker *worker);

/* Many keys in one call. */
struct work_batch *work_batch_new(void); /* end with free */
void work_batch(struct worker *worker);

/* Keys with a time to live. */
void work_lease(struct worker *worker);
uint64_t work_clock_ns(void);
uint64_t work_clock_ms(void);

/* Keys of which one thread knows when they end. */
void work_timed_begin(struct worker *worker);
void work_timed(struct worker *worker);

/* For a key or for anything, asleep or on a descriptor. */
void work_wait(struct worker *worker);
void work_wait_end(struct worker *worker);

#endif

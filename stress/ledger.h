/* SPDX-License-Identifier: MIT */
#ifndef STRESS_LEDGER_H
#define STRESS_LEDGER_H

/*
 * ledger: what was acknowledged, in memory that outlives every worker.
 *
 * The driver maps it before it forks. A worker writes down what it is about to do, makes
 * the call, and writes down the answer; when it is killed, the ledger still says what must
 * be in the map and which one call per thread may or may not have happened.
 *
 * Owned keys have one word each, written only by the thread that owns the key:
 *
 *     bit 63      in flight: a call that may change the key has begun and not been answered
 *     bit 62      present, as acknowledged
 *     bits 31-61  the highest sequence number that was ever given to a call on this key
 *     bits 0-30   sequence number of the call that made the acknowledged state
 *
 *   idle(seq) ──begin: set in flight──► in flight ──answer──► idle(seq or seq + 1)
 *                                          │ killed
 *                                          └──successor reads the map──► idle(what it found)
 *
 * The begin store is a release before the call, the answer a release after it. A reader
 * that sees the same idle word before and after its own read of the map must have read
 * exactly that state; [owned.answer] -> [owned.before] carries "the call had returned".
 *
 * Keys that many write have no such word. Their ledger is a tally per thread: the sum of
 * what was acknowledged. The intent of a thread holds the tally as it was before the call;
 * if a dead thread's tally still has that value, its call is unsettled: it counts for
 * nothing or for its full amount.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <shmkv/huge.h>
#include <shmkv/inspect.h>

#include "stress/stress-keys.h"
#include "stress/stress-options.h"

#define LEDGER_FAILURE_MAX 720u
#define LEDGER_POINTS 256u

/* What a thread is in the middle of. */
enum intent_kind {
	INTENT_NONE,
	INTENT_OWNED,
	INTENT_PRESENCE_ADD,
	INTENT_PRESENCE_DEL,
	INTENT_INCR,
	INTENT_CAS,
};

enum process_state {
	PROCESS_NONE,     /* no process in this place */
	PROCESS_STARTING, /* forked, not yet attached */
	PROCESS_RUNNING,
	PROCESS_FINISHED, /* about to exit by itself */
};

/* One for each place a process may take: workers, the auditor, the final, the driver. */
struct ledger_process {
	_Alignas(64) _Atomic uint32_t state;
	_Atomic uint32_t incarnation; /* counts the processes that were started in this place */
	_Atomic uint32_t aim, aim_passes; /* what it shall do to itself, see aim.c */
	_Atomic uint32_t failed;      /* 0, 1 while the text is written, 2 when it is there */
	uint32_t failed_nth;          /* 0 for the first failure of the run */
	char failure[LEDGER_FAILURE_MAX];
};

/* Writing calls as the segment's statistics tell them apart. */
enum ledger_call {
	LEDGER_CALL_PUT,
	LEDGER_CALL_ADD,
	LEDGER_CALL_REPLACE,
	LEDGER_CALL_CAS,
	LEDGER_CALL_UPDATE,
	LEDGER_CALL_DEL,
	LEDGER_CALL_TAKE,
	LEDGER_CALLS,
};

/* One for each worker thread, and one for the auditor and the final. Only its thread writes. */
struct ledger_writer {
	_Alignas(64) _Atomic uint64_t ops; /* completed */
	_Atomic uint64_t op_start_ns;      /* of the operation in flight, 0 between */
	_Atomic uint32_t op;               /* enum stress_op */
	_Atomic uint32_t intent;           /* enum intent_kind, stored after the three below */
	_Atomic uint64_t intent_idx;
	_Atomic int64_t intent_amount; /* owned: how many keys, each the owner's next */
	_Atomic int64_t intent_base; /* the tally before the call */
	_Atomic uint64_t issued;     /* sequence numbers given to values of shared keys */
	_Atomic uint64_t fresh;      /* own keys that were stored at least once */

	_Atomic uint64_t count[STRESS_OPS];
	_Atomic uint64_t longest_ns[STRESS_OPS];
	_Atomic uint64_t conflicts; /* -EAGAIN answers */
	_Atomic uint64_t full;      /* -ENOSPC answers */
	_Atomic uint64_t checked;   /* values and absences that were compared with the ledger */
	_Atomic uint64_t settled;   /* calls of dead predecessors looked up and decided */
	_Atomic uint64_t scans;
	_Atomic uint64_t verified; /* walks over all invariants while others worked */
	_Atomic uint64_t undecided; /* looks that those gave up */
	_Atomic uint64_t calls[LEDGER_CALLS]; /* that returned, items of batches one by one */

	/* Waits that lasted until their deadline. */
	_Atomic uint64_t waits;
	_Atomic uint64_t waits_awake; /* of those: never gave the processor away */
	_Atomic uint64_t wait_ns, wait_cpu_ns;
};

/* What the final process found; for the report. */
struct ledger_final {
	struct shmkv_recovery recovery;
	struct shmkv_audit audit; /* before the map is cleared */
	struct shmkv_info info;
	struct shmkv_huge huge;
	struct shmkv_stats stats;
	uint64_t keys;
	uint64_t payload_bytes; /* keys and values as they were stored */
	uint64_t unsettled;     /* calls of dead workers on contended keys */
	bool reached_end;
};

struct ledger_head {
	_Alignas(64) _Atomic uint32_t stop; /* workers end after the operation at hand */
	_Atomic uint32_t n_failed;
	_Atomic uint64_t owned_active; /* owned keys in play */
	_Atomic uint64_t deaths;       /* of processes, as the driver wants them */
	_Atomic uint32_t points_hit[LEDGER_POINTS]; /* deaths and stops, see aim.c */
	struct shmkv_stats stats_before; /* of a segment that was there already */
	struct ledger_final final;
};

/*
 * The lease that a thread was granted last for one key, in milliseconds of the boot clock. It
 * runs at least until low and is over at high; seq names the value. Stored in this order, so
 * that who reads the same seq after a value has bounds that are not too narrow.
 */
struct ledger_lease {
	_Atomic uint64_t low, high, seq;
};

/* Where the parts are; the mapping is at the same address in every process. */
struct ledger {
	struct key_plan plan;
	unsigned int n_processes; /* worker places + auditor + final + driver */
	unsigned int n_writers;   /* worker threads + auditor + final */
	unsigned int procs, threads;
	struct ledger_head *head;
	struct ledger_process *processes;
	struct ledger_writer *writers;
	_Atomic uint64_t *owned;
	/* One row of plan.n[class] words for each worker thread. */
	_Atomic int64_t *incr_sums, *cas_sums, *adds, *dels;
	struct ledger_lease *leases;
	void *map;
	size_t map_bytes;
};

/* Map it. Returns 0 or -ENOMEM. */
int ledger_init(struct ledger *ledger, const struct stress_options *opts);
void ledger_deinit(struct ledger *ledger);

/* The places behind those of the workers. The driver has no operations of its own. */
static inline unsigned int ledger_auditor_place(const struct ledger *ledger)
{
	return ledger->procs;
}

static inline unsigned int ledger_final_place(const struct ledger *ledger)
{
	return ledger->procs + 1;
}

static inline unsigned int ledger_driver_place(const struct ledger *ledger)
{
	return ledger->procs + 2;
}

static inline struct ledger_writer *ledger_writers_of(const struct ledger *ledger,
						      unsigned int place, unsigned int *ret_n)
{
	if (place < ledger->procs) {
		*ret_n = ledger->threads;
		return ledger->writers + (size_t)place * ledger->threads;
	}
	*ret_n = 1;
	return ledger->writers + (size_t)ledger->procs * ledger->threads + (place - ledger->procs);
}

/* Say why the run has failed. The first text of a process stays. Never blocks. */
__attribute__((format(printf, 3, 4))) void ledger_fail(struct ledger *ledger, unsigned int place,
						       const char *format, ...);

static inline bool ledger_stopping(const struct ledger *ledger)
{
	return atomic_load_explicit(&ledger->head->stop, memory_order_relaxed) ||
	       atomic_load_explicit(&ledger->head->n_failed, memory_order_relaxed);
}

/* ---- owned keys ------------------------------------------------------------------ */

#define OWNED_SEQ_MAX 0x7fffffffu

struct owned {
	bool in_flight;
	bool present;
	uint32_t issued;
	uint32_t seq;
};

static inline struct owned owned_unpack(uint64_t word)
{
	return (struct owned){
		.in_flight = word >> 63,
		.present = word >> 62 & 1,
		.issued = (uint32_t)(word >> 31) & OWNED_SEQ_MAX,
		.seq = (uint32_t)word & OWNED_SEQ_MAX,
	};
}

static inline uint64_t owned_pack(struct owned owned)
{
	return (uint64_t)owned.in_flight << 63 | (uint64_t)owned.present << 62 |
	       (uint64_t)owned.issued << 31 | owned.seq;
}

/*
 * A load that must not move in front of the reads that a library call did. ThreadSanitizer
 * does not model the fence, and does not reorder either.
 */
static inline uint64_t ledger_load_after_call(_Atomic uint64_t *word)
{
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_acquire);
#endif
	return atomic_load_explicit(word, memory_order_acquire);
}

/* ---- intents --------------------------------------------------------------------- */

/* Write down what comes next. [intent.kind] is stored last: a kind is never half true. */
static inline void intent_begin(struct ledger_writer *writer, enum intent_kind kind, uint64_t idx,
				int64_t amount, int64_t base)
{
	atomic_store_explicit(&writer->intent_idx, idx, memory_order_relaxed);
	atomic_store_explicit(&writer->intent_amount, amount, memory_order_relaxed);
	atomic_store_explicit(&writer->intent_base, base, memory_order_relaxed);
	atomic_store_explicit(&writer->intent, kind, memory_order_release);
}

static inline void intent_end(struct ledger_writer *writer)
{
	atomic_store_explicit(&writer->intent, INTENT_NONE, memory_order_release);
}

/* A call of a dead worker on a contended key, of which nobody knows whether it happened. */
struct unsettled {
	enum intent_kind kind;
	uint64_t idx;
	int64_t amount;
};

/*
 * ledger_collect - what a dead process left open on contended keys
 * @ret: room for one per thread of the place
 *
 * Intents on owned keys stay for the successor. Returns how many were filled in.
 */
unsigned int ledger_collect(struct ledger *ledger, unsigned int place, struct unsettled *ret);

/* ---- operations ------------------------------------------------------------------ */

static inline uint64_t ledger_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A counter that only its own thread writes and others read. */
static inline void ledger_bump(_Atomic uint64_t *counter)
{
	uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

static inline void ledger_add(_Atomic uint64_t *counter, uint64_t amount)
{
	uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, n + amount, memory_order_relaxed);
}

/* A writing call has returned. One that found no memory may not even have begun to count. */
static inline void ledger_called(struct ledger_writer *writer, enum ledger_call call, int r)
{
	if (r != -ENOSPC)
		ledger_bump(&writer->calls[call]);
}

static inline void ledger_op_begin(struct ledger_writer *writer, enum stress_op op)
{
	atomic_store_explicit(&writer->op, op, memory_order_relaxed);
	atomic_store_explicit(&writer->op_start_ns, ledger_now_ns(), memory_order_relaxed);
}

static inline void ledger_op_end(struct ledger_writer *writer)
{
	enum stress_op op = atomic_load_explicit(&writer->op, memory_order_relaxed);
	uint64_t start = atomic_load_explicit(&writer->op_start_ns, memory_order_relaxed);
	uint64_t took = ledger_now_ns() - start;

	if (took > atomic_load_explicit(&writer->longest_ns[op], memory_order_relaxed))
		atomic_store_explicit(&writer->longest_ns[op], took, memory_order_relaxed);
	atomic_store_explicit(&writer->op_start_ns, 0, memory_order_relaxed);
	ledger_bump(&writer->count[op]);
	ledger_bump(&writer->ops);
}

#endif

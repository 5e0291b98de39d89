/* SPDX-License-Identifier: MIT */
#include "shm/wait.h"

#include "base/clock.h"
#include "base/fault.h"
#include "shm/index.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Purpose and ancestry. A sleeper compares and sleeps, a changer changes and looks for
 * sleepers: an event count (Reed and Kanodia, 1979) on a futex (Drepper, "Futexes are tricky"),
 * with a flag in place of a number of waiters, because a number is wrong after a death.
 *
 * Words. One of 1024 for the keys whose places it stands for, and one for any change. The one
 * for any change is also the gate: it says whether any word of the table was ever waited
 * upon, so that a map on which nobody waits costs a change one load of a line that nobody writes.
 *
 *            waiter: set the flag [CAS]
 *     n ────────────────────────────────► n | WAITERS ◄─┐ more waiters: nothing to do
 *     ▲                                       │  └───────┘
 *     └───────────────────────────────────────┘
 *       changer, reaper, canceller: n + 1 [CAS], then FUTEX_WAKE of all
 *
 *     KEYS, in the gate: set by the first who ever waits for a key, never cleared
 *
 *            poller: a step and the flag [CAS]
 *     n ────────────────────────────────► n + 1 | POLLERS ──► again with each poll: a step
 *     ▲                                       │
 *     └───────────────────────────────────────┘
 *       changer, reaper: rings, then takes away the flag that it rang for [CAS]
 *
 * State. Of a key: its token, or 0 while it is absent. Of the map: the sum of the changes
 * that every context has counted, and of the credits that reapers gave for the dead. Every
 * term only grows, so two equal sums mean that no term has changed between the two looks
 * at it.
 *
 * Waiting                                        changing
 *  W1  look: not the state seen? done             C1  slot compare-and-swap: the change
 *  W2  key: KEYS into the gate                    C2  count it, full fence
 *  W3  WAITERS into the word, full fence          C3  load the gate: no flags? done
 *  W4  look again: not the state seen? done       C4  load the word: no WAITERS? done
 *  W5  cancelled? done                            C5  n + 1 without WAITERS, [CAS]
 *  W6  FUTEX_WAIT for the value of W3             C6  FUTEX_WAKE, everybody
 *      at most a slice; from W1 again
 *
 * Polling, for programs that wait in poll(2), with C5p before C5 in place of C5 and C6
 *  P1  empty the descriptor                       C5p ring: every inotify watch of the file;
 *  P2  look; key: KEYS into the gate                  then POLLERS away, [CAS] against the
 *  P3  a step and POLLERS, full fence                 word as it was before the ring
 *  P4  look again: not the state seen? done
 *      else poll(2): readable since C5p, if there was one since P1
 *
 * No wake-up is lost. If C3 or C4 finds no flag, it comes before W2 or W3 in the order of the
 * full fences, so C1 and C2 come before W4, which sees them. If C4 finds the flag, C5
 * changes the word or finds it changed by somebody who wakes everybody: either W6 finds
 * another value, or it sleeps before C6. So the slice is not needed while nobody dies or
 * stops (docs/models/wait.pml).
 *
 * Pollers have no slice, so nothing may hang on somebody who stopped behind the flag: the ring
 * comes first, and stays in the descriptor. Who rings and stops then leaves the flag, which
 * costs the next change one more ring; who wakes up late to take it away finds the step of a
 * later P3 and leaves that flag alone.
 *
 * No busy loop. Who wakes and has nothing to do has been woken by a change of a key with the same
 * word, once for each time that it has set the flag.
 *
 * What may run at the same time: everything. A wait holds nothing, announces nothing and has no
 * context; who waits may be stopped or killed and leaves at most a flag that costs the next
 * change one system call.
 *
 *  pair                                   what it carries
 *  [wait.flag]    -> [commit.count]       full fences: either the changer sees the flag, or the
 *                                         waiter sees the change
 *  [wait.flag]    -> [cancel.set]         the same for a cancellation
 *  [wake.step]    -> FUTEX_WAIT           the kernel compares and queues in one step
 *
 * Linearization. A wait that answers 0: its last look, for which index.c and the sum vouch. A
 * time-out: any instant of the call, none of whose looks found a change.
 *
 * Progress. Changers: lock-free as before; C5 repeats only when a flag of the gate or another
 * changer came between. Waiters: depend on nobody for longer than a slice.
 *
 * Wrap-around. A sequence of 29 bits comes round while a waiter stands between W3 and W6: it
 * sleeps for a slice, no longer. The same while a changer stands behind its ring, and it hits the very
 * value: a poller is told of the change after the next.
 *
 * Read-only attachers cannot set flags. They look every 1 to 10 ms, and sleep on the word in
 * between, so that they are woken early when somebody else has set the flag.
 *
 * A process dies, or is stopped                       left                   made good by
 *  waiter: KEYS set, no flag (WAIT_GATE)              a load per change      nobody: for ever
 *  waiter: flag set (WAIT_FLAGGED, WAIT_LOOKED)       a stale flag           the next change
 *  poller: flag set (POLL_FLAGGED)                    a stale flag           the next change
 *  changer: before C2 (WRITE_LINKED,                  a change not counted,  reaper: credit,
 *  REMOVE_UNLINKED)                                   waiters not woken      wakes all words
 *  changer: before C5 (WRITE_SETTLED,                 waiters not woken      reaper: the same
 *  REMOVE_SETTLED, WAKE_FLAGGED)
 *  changer: before C6 (WAKE_CLEARED)                  waiters not woken, no  reaper: the context
 *                                                     flag                   names the word
 *  changer: rung, flag stands (WAKE_RUNG)             a stale flag           the next change
 *  canceller, whose waiters die with it               as in the two above    a slice
 *  reaper: credit given (REAP_CREDIT)                 the context is still   next reaper: once
 *                                                     dead                   more
 * Until the reaper comes, and for those whom a stopped one would have woken, the end of the
 * slice, or the next change of a key with the same word, makes it good.
 *
 * Cost. A change nobody waits for: one load of the gate; inserts count with a locked addition,
 * which is their full fence, updates and removals have theirs in freeing the old record. A wait: two looks, one or two compare-and-swaps, one system call per sleep.
 */

/* A bound for lateness after a death; four looks a second cost a sleeper nothing. */
#ifdef SKV_FAULT_POINTS
uint64_t skv_wait_slice_ns = 250000000u;
#else
#define skv_wait_slice_ns ((uint64_t)250000000u)
#endif

/* Read-only: soon after the call something is more likely to happen than later. */
#define POLL_FIRST_NS ((uint64_t)1000000u)
#define POLL_LAST_NS ((uint64_t)10000000u)

/* The futex is part of the segment: without FUTEX_PRIVATE_FLAG. An absolute time of
 * CLOCK_MONOTONIC. 0 when there may be a reason to look again, or -EINTR. */
static int sleep_on(const uint32_t *word, uint32_t value, uint64_t until_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / 1000000000u),
		.tv_nsec = (long)(until_ns % 1000000000u),
	};

	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &until, NULL,
		    FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	switch (errno) {
	case EAGAIN:
	case ETIMEDOUT:
		return 0;
	case EINTR:
		return -EINTR;
	default:
		/* Where a filter forbids futexes: never without sleeping. */
		return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	}
}

static void wake_all(const uint32_t *word)
{
	/* Works for every word of a mapping; how many were woken is nothing to us. */
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- words ------------------------------------------------------------------------- */

static uint32_t *gate_of(const struct skv_map *map)
{
	return &skv_super(map)->wait_any;
}

static uint32_t word_of(struct skv_place place)
{
	/* The low bits are those that are spread evenly. */
	return (uint32_t)(place.bits % SKV_WAIT_WORDS);
}

/* Returns the word with the flag in it. */
static uint32_t flag_set(uint32_t *word, uint32_t flag)
{
	uint32_t seen = skv_load_relaxed_32(word);

	/* Ends: a failure is another waiter's flag or somebody's wake. */
	while (!(seen & flag)) {
		if (skv_cas_32(word, seen, seen | flag))
			return seen | flag;
		seen = skv_load_relaxed_32(word);
	}
	return seen;
}

/* By number, as a context names the one that it wakes. */
static uint32_t *word_at(const struct skv_map *map, uint32_t idx)
{
	return idx < SKV_WAIT_WORDS ? skv_wait_words(map) + idx : gate_of(map);
}

/* C5 to C6: those who sleep. */
static void sleepers_wake(const struct skv_map *map, uint32_t idx)
{
	uint32_t *word = word_at(map, idx), seen;

	do {
		seen = skv_load_relaxed_32(word);
		/* Ends: a failure is another flag, or somebody else who wakes all. */
		if (!(seen & SKV_WAIT_WAITERS))
			return;
		/* [wake.step] */
	} while (!skv_cas_32(word, seen, (seen + SKV_WAIT_STEP) & ~SKV_WAIT_WAITERS));
	SKV_FAULT(WAKE_CLEARED);
	wake_all(word);
}

/* C5p: those who poll. */
static void pollers_ring(struct skv_map *map, uint32_t idx)
{
	uint32_t *word = word_at(map, idx), seen = skv_load_relaxed_32(word);

	if (!(seen & SKV_WAIT_POLLERS) || skv_region_ring(&map->region) < 0)
		return;
	SKV_FAULT(WAKE_RUNG);
	/* [ring.clear] only while it is the flag that we have rung for. When another flag or a step
	 * came between it stays, and the next change rings once more. */
	skv_cas_32(word, seen, seen & ~SKV_WAIT_POLLERS);
}

/* From C4 on. */
static void word_wake(struct skv_map *map, struct skv_context *ctx, uint32_t idx)
{
	if (!(skv_load_relaxed_32(word_at(map, idx)) & (SKV_WAIT_WAITERS | SKV_WAIT_POLLERS)))
		return;
	skv_store_release(&ctx->waking, idx + 1);
	SKV_FAULT(WAKE_FLAGGED);
	pollers_ring(map, idx);
	sleepers_wake(map, idx);
	skv_store_release(&ctx->waking, 0);
}

void skv_wait_wake(struct skv_writer *writer, uint32_t gate, struct skv_place place)
{
	if (gate & SKV_WAIT_KEYS)
		word_wake(writer->map, writer->ctx, word_of(place));
	if (gate & (SKV_WAIT_WAITERS | SKV_WAIT_POLLERS))
		word_wake(writer->map, writer->ctx, SKV_WAIT_WORDS);
}

/* The first word that anybody may wait at. */
static uint32_t first_word(const struct skv_map *map)
{
	return skv_load_relaxed_32(gate_of(map)) & SKV_WAIT_KEYS ? 0 : SKV_WAIT_WORDS;
}

void skv_wait_credit(struct skv_writer *writer, const struct skv_context *dead)
{
	struct skv_map *map = writer->map;
	uint64_t waking = skv_load_acquire(&dead->waking);
	uint32_t i;

	skv_add_seq(&skv_super(map)->wait_credit, 1);
	SKV_FAULT(REAP_CREDIT);
	/* It may have died behind C5: the flag is gone and the sleepers are not. */
	if (waking > 0 && waking <= SKV_WAIT_WORDS + 1)
		wake_all(word_at(map, (uint32_t)waking - 1));
	for (i = first_word(map); i <= SKV_WAIT_WORDS; i++)
		word_wake(map, writer->ctx, i);
}

/* ---- states ------------------------------------------------------------------------ */

uint64_t skv_wait_state(const struct skv_map *map)
{
	uint32_t i, n = skv_contexts_ready(map);
	uint64_t sum = skv_load_acquire(&skv_super(map)->wait_credit);
	const struct skv_context *ctx;

	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		/* Acquire: what a reader does after it has seen a count finds the change. */
		sum += skv_load_acquire(&ctx->inserts) + skv_load_acquire(&ctx->updates) +
		       skv_load_acquire(&ctx->deletes);
	}
	return sum;
}

/* What is waited for. */
struct subject {
	const struct skv_key *key; /* NULL: any change */
	uint32_t *word;
};

/* How it is now. */
struct look {
	uint64_t state;
	uint64_t until_ns; /* when it changes by itself; UINT64_MAX for never */
};

/* A key that expires is a change that nobody makes: nobody will wake us for it. */
static uint64_t expires_at(uint64_t expiry_ms)
{
	uint64_t now_ms = skv_clock_boot_ms(), left_ms = expiry_ms > now_ms ? expiry_ms - now_ms : 1;

	/* More is damage, and would come out as a time that is over. */
	if (left_ms > SHMKV_TTL_MAX)
		left_ms = SHMKV_TTL_MAX;
	return skv_clock_ns() + left_ms * 1000000u;
}

static int look_at(const struct skv_map *map, const struct subject *subject, struct look *ret)
{
	uint64_t expiry_ms;
	int r;

	ret->until_ns = UINT64_MAX;
	if (!subject->key) {
		ret->state = skv_wait_state(map);
		return 0;
	}
	r = skv_index_state(map, subject->key, &ret->state, &expiry_ms);
	if (r == 0 && expiry_ms != 0)
		ret->until_ns = expires_at(expiry_ms);
	return r;
}

/* ---- waiting ----------------------------------------------------------------------- */

static bool is_cancelled(const struct skv_map *map, uint64_t ticket)
{
	uint64_t now = skv_load_relaxed(&map->cancel);

	/* Also one that was taken back while we slept. */
	return (now & 1) || now != ticket;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* W2 and W3; returns what the word holds with the flag. */
static uint32_t announce(struct skv_map *map, const struct subject *subject)
{
	uint32_t value;

	if (subject->key) {
		flag_set(gate_of(map), SKV_WAIT_KEYS);
		SKV_FAULT(WAIT_GATE);
	}
	value = flag_set(subject->word, SKV_WAIT_WAITERS);
	/* [wait.flag] pairs with [commit.count] and [cancel.set]. */
	skv_fence_seq();
	SKV_FAULT(WAIT_FLAGGED);
	return value;
}

/* P2 and P3. */
static void announce_poll(struct skv_map *map, const struct subject *subject)
{
	uint32_t seen;

	if (subject->key)
		flag_set(gate_of(map), SKV_WAIT_KEYS);
	/* Ends: a failure is another flag or somebody's wake. */
	do
		seen = skv_load_relaxed_32(subject->word);
	while (!skv_cas_32(subject->word, seen, (seen + SKV_WAIT_STEP) | SKV_WAIT_POLLERS));
	/* [wait.flag] */
	skv_fence_seq();
	SKV_FAULT(POLL_FLAGGED);
}

static int poll_for(struct skv_map *map, const struct subject *subject, uint64_t seen,
		    uint64_t *ret_state)
{
	struct look look;
	int r;

	r = look_at(map, subject, &look);
	if (r == 0 && look.state == seen) {
		announce_poll(map, subject);
		r = look_at(map, subject, &look);
	}
	if (r < 0)
		return r;
	if (look.state == seen)
		return -ETIMEDOUT;
	*ret_state = look.state;
	return 0;
}

static int wait_for(struct skv_map *map, const struct subject *subject, uint64_t seen,
		    uint64_t deadline_ns, uint64_t *ret_state)
{
	uint64_t ticket = skv_load_relaxed(&map->cancel), poll_ns = POLL_FIRST_NS, now;
	bool interrupted = false;
	struct look look;
	uint32_t value;
	int r;

	for (;;) {
		if (is_cancelled(map, ticket))
			return -ECANCELED;
		r = look_at(map, subject, &look);
		if (r < 0)
			return r;
		if (look.state != seen)
			break;
		if (interrupted)
			return -EINTR;
		now = skv_clock_ns();
		if (now >= deadline_ns)
			return -ETIMEDOUT;

		if (map->region.read_only) {
			value = skv_load_relaxed_32(subject->word);
			skv_fence_acquire();
			now += poll_ns;
			poll_ns = earlier(2 * poll_ns, POLL_LAST_NS);
		} else {
			value = announce(map, subject);
			now += skv_wait_slice_ns;
		}
		r = look_at(map, subject, &look);
		if (r < 0)
			return r;
		if (look.state != seen)
			break;
		if (is_cancelled(map, ticket))
			return -ECANCELED;
		SKV_FAULT(WAIT_LOOKED);
		interrupted = sleep_on(subject->word, value,
				       earlier(earlier(now, deadline_ns), look.until_ns)) < 0;
	}
	*ret_state = look.state;
	return 0;
}

static struct subject subject_of(struct skv_map *map, const struct skv_key *key)
{
	struct subject subject = { key, gate_of(map) };

	if (key)
		subject.word = word_at(map, word_of(skv_place_of_hash(
						    skv_hash(&map->hash, key->data, key->len))));
	return subject;
}

int skv_wait_key(struct skv_map *map, const struct skv_key *key, uint64_t seen,
		 uint64_t deadline_ns, uint64_t *ret_token)
{
	struct subject subject = subject_of(map, key);

	return wait_for(map, &subject, seen, deadline_ns, ret_token);
}

int skv_wait_any(struct skv_map *map, uint64_t seen, uint64_t deadline_ns, uint64_t *ret_state)
{
	struct subject subject = subject_of(map, NULL);

	return wait_for(map, &subject, seen, deadline_ns, ret_state);
}

int skv_wait_poll_key(struct skv_map *map, const struct skv_key *key, uint64_t seen,
		      uint64_t *ret_token)
{
	struct subject subject = subject_of(map, key);

	return poll_for(map, &subject, seen, ret_token);
}

int skv_wait_poll_any(struct skv_map *map, uint64_t seen, uint64_t *ret_state)
{
	struct subject subject = subject_of(map, NULL);

	return poll_for(map, &subject, seen, ret_state);
}

void skv_wait_cancel(struct skv_map *map, bool cancelled)
{
	int saved = errno;
	uint64_t seen;
	uint32_t i;

	/* Each cancellation is a generation of its own. Ends: a failure is another one. */
	do {
		seen = skv_load_relaxed(&map->cancel);
		if ((seen & 1) == cancelled)
			break;
	} while (!skv_cas(&map->cancel, seen, seen + 1));
	if (cancelled) {
		/* [cancel.set] pairs with [wait.flag]. */
		skv_fence_seq();
		for (i = first_word(map); !map->region.read_only && i <= SKV_WAIT_WORDS; i++)
			sleepers_wake(map, i);
	}
	errno = saved;
}

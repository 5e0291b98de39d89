/* SPDX-License-Identifier: MIT */
/*
 * wait: who sleeps until something changes, who changes it, and who dies in between.
 *
 * Covers shm/wait.c, W1 to W6 and C1 to C6, the credit that a reaper gives for the dead, and
 * cancelling. Two keys that share a word, one word for any change, which is also the
 * gate. A futex is what the kernel says it is: comparing and queueing are one step, waking
 * takes everybody off the queue. Nobody wakes by himself: the slice is left out, unless SLICE
 * says otherwise, so that what is shown does not rest on it.
 *
 * Memory. The count of a change is an ordinary store: it waits in a buffer (PEND) until the buffer
 * is drained, which can be at any time and is at every locked instruction and fence: total
 * store order, as on x86-64. All other stores are locked instructions there.
 *
 * T0..T2 are waiters: 1 and 2 wait for that key, 3 for any change, 4 polls for key 1, 5 for any
 * change. Each waits again after each answer. R0 and R1 are the scripts of two changers, a digit for each change of that key.
 * Bit p of DIES says that changer p may die between any two shared accesses; a reaper
 * then does what skv_wait_credit does, and with REAPERS=2 a mortal one comes before it. Bit p
 * of STOPS says that changer p may stop for ever. With CANCEL somebody cancels waiter 0.
 *
 * Rows with pollers say POLLS; without it there are no bells. When everything has come to rest,
 * nobody sleeps who has not seen the last change: of its key, or, of waiters for any, of all
 * that were made; and nobody sleeps who was cancelled. Those who poll have no slice: with STOPS they
 * must have seen what those changers made who were not stopped.
 * Controls, each must fail:
 *   LATE_FLAG    the flag after the second look
 *   NO_LOOK      no second look
 *   LATE_GATE    the gate after the second look
 *   EARLY_WAKE   the look for waiters before the change
 *   NO_FENCE     the look for waiters while the count is still in the buffer
 *   EARLY_COUNT  the count before the change, which would be its fence
 *   NO_STEP      the flag goes, the sequence stays
 *   WAKE_ONE     one waiter is woken for each flag
 *   NO_CREDIT    the reaper counts nothing
 *   NO_ROUSE     the reaper wakes only the word that the dead one names
 *   NO_WAKING    the reaper wakes only words that have a flag
 *   STOPS        without SLICE: somebody stopped behind the flag; here the slice is needed
 *   LATE_CANCEL  the cancellation after the wake
 *   NO_REARM     polling again makes no step
 *   LATE_DRAIN   the descriptor is emptied after the look
 *   CLEAR_FIRST  the flag of those who poll goes before the ring (with STOPS)
 */

#ifndef T0
#define T0 0
#endif
#ifndef T1
#define T1 0
#endif
#ifndef T2
#define T2 0
#endif
#ifndef R0
#define R0 0
#endif
#ifndef R1
#define R1 0
#endif
#ifndef DIES
#define DIES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef REAPERS
#define REAPERS 1
#endif

#define ANY 1 /* the word of this number; that of the keys is 0 */

byte key[2], commits;          /* commits: ghost, changes made */
byte count, pend[2];           /* the sum that waiters see; stores that it lacks */
byte seq[2]; bit flag[2], pflag[2], keys;
bit bell[3];                   /* what is in the descriptor of one who polls */
byte owed, owed_any;           /* ghosts: key 1 and changes of those who were not stopped */
byte asleep[3];                /* word + 1 */
byte waking[3];                /* of the changers, and of the mortal reaper: word + 1 */
bit dead[3], over[2], reaped, cancelled;
byte saw[3], knows[3];         /* ghosts: what a waiter's last answer was, and what it then found */

#define DIE if :: mortal -> goto died :: skip fi; if :: stops -> goto stopped :: skip fi;

inline wake(w)
{
	d_step {
#ifdef WAKE_ONE
		if
		:: asleep[0] == w + 1 -> asleep[0] = 0
		:: else ->
			if
			:: asleep[1] == w + 1 -> asleep[1] = 0
			:: else -> if :: asleep[2] == w + 1 -> asleep[2] = 0 :: else fi
			fi
		fi
#else
		if :: asleep[0] == w + 1 -> asleep[0] = 0 :: else fi;
		if :: asleep[1] == w + 1 -> asleep[1] = 0 :: else fi;
		if :: asleep[2] == w + 1 -> asleep[2] = 0 :: else fi
#endif
	}
}

#define SAME(w) (seq[w] == q && flag[w] == f && pflag[w] == pf && (w != ANY || keys == k))
#define READ(w) q = seq[w]; f = flag[w]; pf = pflag[w]; k = keys

/* pollers_ring: C5p */
inline ring(w)
{
	d_step { READ(w) };
	if
	:: pf ->
#ifdef CLEAR_FIRST
		DIE
		d_step { if :: SAME(w) -> pflag[w] = 0 :: else fi };
#endif
		DIE
		d_step { bell[0] = 1; bell[1] = 1; bell[2] = 1 };
		DIE
#ifndef CLEAR_FIRST
		d_step { if :: SAME(w) -> pflag[w] = 0 :: else fi }
#endif
	:: else
	fi;
	d_step { q = 0; f = 0; pf = 0; k = 0 }
}

/* word_wake: C4 to C6. @me: whose context names the word; 3 for none */
inline word_wake(w, me)
{
	if
	:: me < 3 && (flag[w] || pflag[w]) -> DIE waking[me] = w + 1; DIE
	:: else
	fi;
#ifdef POLLS
	ring(w);
#endif
	d_step { READ(w) };
	if
	:: f ->
		DIE
		done = 0;
		do
		:: done -> break
		:: !done && !f -> break
		:: !done && f ->
			d_step {
				if
				:: SAME(w) ->
#ifndef NO_STEP
					seq[w] = q + 1;
#endif
					flag[w] = 0;
					done = 1
				:: else -> READ(w)
				fi
			}
		od;
		if
		:: done ->
			DIE
			wake(w);
			DIE
			if
			:: me < 3 -> waking[me] = 0
			:: else
			fi
		:: else
		fi
	:: else
	fi;
	d_step { q = 0; f = 0; pf = 0; k = 0; done = 0 }
}

/* skv_wait_committed */
inline look_for_waiters(me)
{
	d_step { gk = keys; gw = flag[ANY] || pflag[ANY] };
	if
	:: gk -> word_wake(0, me)
	:: else
	fi;
	if
	:: gw -> word_wake(ANY, me)
	:: else
	fi;
	d_step { gk = 0; gw = 0 }
}

/* A locked instruction or a fence: the buffer is empty behind it. */
#define DRAINED(p) (pend[p] == 0)

proctype Buffer(byte p)
{
end:
	do
	:: pend[p] > 0 -> d_step { count++; pend[p]-- }
	od
}

proctype Changer(byte me; int script; bit mortal; bit stops)
{
	byte q, k1, kc; bit f, pf, k, done, gk, gw;

	do
	:: script == 0 -> break
	:: script != 0 ->
		DIE
#ifdef EARLY_WAKE
		look_for_waiters(me);
#endif
#ifdef EARLY_COUNT
		pend[me]++;
#endif
		/* C1 */
		atomic { DRAINED(me); key[script % 10 - 1]++; commits++; script = script / 10;
			 k1 = key[0]; kc = commits };
#ifndef EARLY_COUNT
		DIE
		/* C2 */
		pend[me]++;
#ifndef NO_FENCE
		DRAINED(me);
#endif
#endif
		DIE
#ifndef EARLY_WAKE
		look_for_waiters(me);
#endif
		/* What had been made by then, and by one who was not stopped: they must know. */
		d_step {
			if :: k1 > owed -> owed = k1 :: else fi;
			if :: kc > owed_any -> owed_any = kc :: else fi;
			k1 = 0; kc = 0
		}
	od;
	goto done_;
died:
	dead[me] = 1;
	goto done_;
stopped:
	skip;
done_:
	over[me] = 1
}

#define STATE(role) (role == 3 -> count : key[role - 1])

proctype Waiter(byte me; byte role)
{
	byte seen, now, q, w; bit k;

	if
	:: role == 0 || role > 3 -> goto gone
	:: role == 3 -> w = ANY
	:: else
	fi;
	do
	:: true ->
		/* W1 */
		if
		:: cancelled && me == 0 -> goto gone
		:: else
		fi;
		now = STATE(role);
		if
		:: now != seen -> goto changed
		:: else
		fi;
#ifdef NO_LOOK
#define SECOND_LOOK
#else
#define SECOND_LOOK now = STATE(role); if :: now != seen -> goto changed :: else fi;
#endif
#ifdef LATE_FLAG
		SECOND_LOOK
#endif
#ifndef LATE_GATE
		/* W2 */
		if
		:: role != 3 -> keys = 1
		:: else
		fi;
#endif
		/* W3 */
		d_step { flag[w] = 1; q = seq[w]; k = keys };
#ifndef LATE_FLAG
		/* W4 */
		SECOND_LOOK
#endif
#ifdef LATE_GATE
		if
		:: role != 3 -> keys = 1
		:: else
		fi;
#endif
		/* W5 */
		if
		:: cancelled && me == 0 -> goto gone
		:: else
		fi;
		/* W6 */
		d_step {
			if
			:: seq[w] == q && flag[w] && (w != ANY || keys == k) -> asleep[me] = w + 1
			:: else
			fi
		};
		asleep[me] == 0;
		goto again;
changed:
		saw[me] = now;
		seen = now;
		/* The caller looks at what is there now. */
		knows[me] = commits;
again:
		atomic { now = 0; q = 0; k = 0 }
	od;
gone:
	skip
}

#define POLLED(role) (role == 5 -> count : key[0])

proctype Poller(byte me; byte role)
{
	byte seen, now, w;

	if
	:: role < 4 -> goto gone
	:: role == 5 -> w = ANY
	:: else
	fi;
	do
	:: true ->
#ifndef LATE_DRAIN
		/* P1 */
		bell[me] = 0;
#endif
		/* P2 */
		now = POLLED(role);
		if
		:: now != seen -> goto changed
		:: else
		fi;
		if
		:: role == 4 -> keys = 1
		:: else
		fi;
		/* P3 */
#ifdef NO_REARM
		pflag[w] = 1;
#else
		d_step { seq[w]++; pflag[w] = 1 };
#endif
		/* P4 */
		now = POLLED(role);
		if
		:: now != seen -> goto changed
		:: else
		fi;
#ifdef LATE_DRAIN
		bell[me] = 0;
#endif
		/* poll(2) */
		asleep[me] = 3;
		bell[me] -> asleep[me] = 0;
		goto again;
changed:
		saw[me] = now;
		seen = now;
		knows[me] = commits;
again:
		now = 0
	od;
gone:
	skip
}

/* What settle_context does for the waiters of whoever died: a changer, or the reaper before. */
proctype Reaper(byte me; bit mortal)
{
	byte q, p; bit f, pf, k, done, stops;

	over[0] && over[1] && (dead[0] || dead[1]) && (me == 2 || REAPERS == 1 || reaped);
	do
	:: p == 3 -> break
	:: p < 3 && !dead[p] -> p++
	:: p < 3 && dead[p] ->
		DIE
#ifndef NO_CREDIT
		count++;
#endif
		DIE
#ifndef NO_WAKING
		if
		:: waking[p] > 0 -> q = waking[p] - 1; wake(q); q = 0
		:: else
		fi;
		DIE
#endif
#ifndef NO_ROUSE
		if
		:: keys -> word_wake(0, me)
		:: else
		fi;
		word_wake(ANY, me);
#endif
		p++
	od;
	goto gone;
died:
	dead[me] = 1;
stopped:
gone:
	reaped = 1
}

proctype Canceller()
{
	byte q; bit f, pf, k, done, mortal, stops;

#ifndef LATE_CANCEL
	cancelled = 1;
#endif
	if
	:: keys -> word_wake(0, 3)
	:: else
	fi;
	word_wake(ANY, 3);
#ifdef LATE_CANCEL
	cancelled = 1;
#endif
died:
stopped:
	skip
}

#if STOPS > 0
#define RUNG(me, role) (asleep[me] == 0 || (role == 5 -> knows[me] >= owed_any : saw[me] >= owed))
#else
#define RUNG(me, role) (asleep[me] == 0 || (role == 5 -> knows[me] == commits : saw[me] == key[0]))
#endif
#define RESTED(me, role) (role > 3 -> RUNG(me, role) : RESTS(me, role))
#define RESTS(me, role) (asleep[me] == 0 || ((role == 3 -> knows[me] == commits : saw[me] == key[role - 1]) && !(cancelled && me == 0)))

/* Everything has come to rest. */
proctype Check()
{
	timeout;
#ifdef SLICE
	atomic {
		if :: asleep[0] < 3 -> asleep[0] = 0 :: else fi;
		if :: asleep[1] < 3 -> asleep[1] = 0 :: else fi;
		if :: asleep[2] < 3 -> asleep[2] = 0 :: else fi
	};
	timeout;
#endif
	assert(RESTED(0, T0));
	assert(RESTED(1, T1));
	assert(RESTED(2, T2))
}

init {
	atomic {
		run Buffer(0);
		run Buffer(1);
		run Waiter(0, T0);
		run Waiter(1, T1);
		run Waiter(2, T2);
#ifdef POLLS
		run Poller(0, T0);
		run Poller(1, T1);
		run Poller(2, T2);
#endif
		run Changer(0, R0, DIES % 2, STOPS % 2);
		run Changer(1, R1, (DIES / 2) % 2, (STOPS / 2) % 2);
#if DIES > 0
		run Reaper(3, 0);
#if REAPERS > 1
		run Reaper(2, 1);
#endif
#endif
#ifdef CANCEL
		run Canceller();
#endif
		run Check()
	}
}

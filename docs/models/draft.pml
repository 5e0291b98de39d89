/* SPDX-License-Identifier: MIT */
/*
 * draft: records that are reserved, filled, and committed or aborted, by two threads.
 *
 * Covers shm/reserve.c, and what shm/recover.c does with entries: RP2 and the sweeper. One key in
 * one slot, one entry per context. State words, stamps and contexts as in block.pml.
 *
 * A process has two threads. The owner has context 0: it reserves R times, and after each
 * time commits, aborts, or leaves the draft to others. The ender has context 1: E times it commits
 * or aborts what it was told last, which may be over by now, or a later life of the same
 * block. A commit may be refused. In the end the owner aborts what is open and gives both
 * contexts back. W is the script of somebody else in context 2, as in block.pml: 1 set, 3
 * delete. DIES is a bit per thread (owner 1, ender 2): it may die between any two shared
 * accesses; the process is dead when both threads are over and one of them has died.
 *
 * TENANT: the next owner of context 0, who reserves and ends once. REAPERS 1 or 2: the second one
 * may die. SWEEP adds the sweeper.
 *
 * In the end each block is linked and ALLOC, or FREE. Controls, each must fail:
 *   EARLY_CLEAR    "new" is cleared before the entry is written
 *   EARLY_FORGET   the entry is cleared before the link
 *   ENTRIES_FIRST  the sweeper reads the entry before "new"
 *   NO_FLIGHT      the sweeper does not look at entries
 *   NO_REAP        the reaper does not look at entries
 *   NO_LINKED      the reaper settles what an entry names without a look-up
 *   NO_ENDING      who ends a draft looks at the entry and does not swap it
 *   NO_LIFE        who ends a draft does not compare lives
 *   LIFE_BEFORE    it compares them before the swap and not after it
 *   LATE_LIFE      the life is written behind the block
 *   NO_OWNER       the reaper does not look at the owner word again
 */

#ifndef NB
#define NB 2
#endif
#ifndef R
#define R 1
#endif
#ifndef E
#define E 0
#endif
#ifndef W
#define W 0
#endif
#ifndef DIES
#define DIES 0
#endif
#ifndef REAPERS
#define REAPERS 0
#endif

#define FREE 0
#define ALLOC 1
#define NOTHING 255
#define NC 3

byte word[NB], stamp[NB];           /* one state word: FREE or ALLOC(stamp) */
byte slotv, slot = NOTHING;         /* version; the block that is linked */
byte owner[NC], judged[NC];         /* owner word; the last one that is known dead */
byte new_off[NC], new_stamp[NC];    /* offset + 1 */
bit complete[NC];                   /* part of new_off */
byte old_off[NC], old_stamp[NC];
byte ent_off, ent_stamp;            /* of context 0: offset + 1, life */
bit ent_end;                        /* part of ent_off */
byte hold_b = NOTHING, hold_s;      /* private: what the ender is told */
byte next_stamp = 1;
byte maker[32];                     /* context of a stamp; part of the stamp in the code */
byte over_n, died_n;                /* threads of the process */
byte left = 2;                      /* the process and the writer */

/* Ghosts: the life is in the hands of somebody living; it was linked once. */
bit private[NB], linked[32];

#define DIE if :: mortal -> goto died :: skip fi;

inline set_new(c, off, phase)
{
	d_step { new_off[c] = off; complete[c] = phase }
}

/* skv_block_settle; @mine: by who has it in hand */
inline settle(b, s, mine)
{
	x = 0;
	d_step { if :: word[b] == ALLOC && stamp[b] == s -> x = 1 :: else fi };
	if
	:: x == 1 ->
		DIE
		d_step {
			if
			:: word[b] == ALLOC && stamp[b] == s ->
				assert(slot != b);
				assert(!private[b] || mine);
				word[b] = FREE; stamp[b] = 0; private[b] = 0
			:: else
			fi
		}
	:: else
	fi;
	x = 0
}

/* skv_arena_alloc: b and s, or b is NOTHING. */
inline alloc(c)
{
	d_step { s = next_stamp; next_stamp++; maker[s] = c };
	DIE
	new_stamp[c] = s;
	if
	:: b = 0
#if NB > 1
	:: b = 1
#endif
#if NB > 2
	:: b = 2
#endif
	fi;
	if
	:: word[b] != FREE -> b = NOTHING
	:: else ->
		DIE
		set_new(c, b + 1, 0);
		DIE
		d_step {
			if
			:: word[b] == FREE -> word[b] = ALLOC; stamp[b] = s; private[b] = 1
			:: else -> b = NOTHING
			fi
		}
	fi;
	if
	:: b == NOTHING -> set_new(c, 0, 0)
	:: else
	fi
}

/* skv_reserve_take, in context 0 */
inline reserve()
{
	if
	:: ent_off != 0 -> b = NOTHING              /* -EMLINK */
	:: else ->
		alloc(0);
		if
		:: b != NOTHING ->
			DIE
#ifdef EARLY_CLEAR
			set_new(0, 0, 0);
			DIE
#endif
#ifdef LATE_LIFE
			d_step { ent_off = b + 1; ent_end = 0 };
			DIE
			ent_stamp = s;
#else
			ent_stamp = s;
			DIE
			d_step { ent_off = b + 1; ent_end = 0 };
#endif
			DIE
			set_new(0, 0, 0);
			skip
		:: else
		fi
	fi
}

/* entry_end: y is whether it is ours to end. */
inline end(b, s)
{
	y = 1;
#ifndef NO_LIFE
	if
	:: ent_stamp != s -> y = 0
	:: else
	fi;
#endif
	DIE
	d_step {
		if
		:: y == 1 && ent_off == b + 1 && !ent_end ->
#ifndef NO_ENDING
			ent_end = 1
#endif
		:: else -> y = 0
		fi
	};
#ifndef NO_LIFE
#ifndef LIFE_BEFORE
	DIE
	if
	:: y == 1 && ent_stamp != s -> d_step { ent_end = 0; y = 0 }
	:: else
	fi;
#endif
#endif
	DIE
}

/* link_over, link_new, unlink_slot: one try; y is whether it happened. */
inline change(c, b, s)
{
	v = slotv;
	o = slot;
	os = 0;
	y = 1;
	if
	:: o != NOTHING ->
		/* announce_old */
		d_step { if :: word[o] == ALLOC -> os = stamp[o] :: else -> y = 0 fi };
		if
		:: y == 1 ->
			old_stamp[c] = os;
			DIE
			old_off[c] = o + 1
		:: else
		fi
	:: else
	fi;
	DIE
	d_step {
		if
		:: y == 1 && slotv == v ->
			slotv = v + 1;
			slot = b;
			if
			:: b != NOTHING ->
				assert(word[b] == ALLOC && stamp[b] == s && !linked[s]);
				linked[s] = 1;
				private[b] = 0
			:: else
			fi
		:: else -> y = 0
		fi
	};
	if
	:: y == 1 && o != NOTHING -> DIE settle(o, os, false)
	:: else
	fi;
	DIE
	old_off[c] = 0
}

/* skv_reserve_commit and skv_reserve_abort by the thread with context c */
inline commit(c, b, s)
{
	end(b, s);
	if
	:: y == 0 -> skip                           /* -EBADF */
	:: else ->
#ifdef EARLY_FORGET
		d_step { ent_off = 0; ent_end = 0 };
		DIE
#endif
		new_stamp[c] = s;
		DIE
		set_new(c, b + 1, 1);
		do
		:: DIE
			change(c, b, s);
			if
			:: y == 1 -> break
			:: else
			fi
		:: DIE
			y = 0; break                /* refused */
		od;
		DIE
		set_new(c, 0, 0);
		DIE
#ifndef EARLY_FORGET
		if
		:: y == 1 -> d_step { ent_off = 0; ent_end = 0 }
		:: else -> ent_end = 0
		fi
#endif
	fi;
	atomic { v = 0; o = 0; os = 0; y = 0 }
}

inline give_up(c, b, s)
{
	new_stamp[c] = s;
	DIE
	set_new(c, b + 1, 0);
	DIE
	settle(b, s, true);
	DIE
	d_step { ent_off = 0; ent_end = 0 };
	DIE
	set_new(c, 0, 0)
}

inline abort(c, b, s)
{
	end(b, s);
	if
	:: y == 0 -> skip
	:: else -> give_up(c, b, s)
	fi;
	y = 0
}

/* Takes context 0: claim_context. */
inline take(mine)
{
	atomic { owner[0] % 2 == 0 -> owner[0]++; mine = owner[0] };
	DIE
	set_new(0, 0, 0);
	DIE
	old_off[0] = 0;
	DIE
	d_step { ent_off = 0; ent_end = 0 }
}

/* A thread is over; the process is dead with its last one, if any has died. */
inline end_thread(has_died)
{
	atomic {
		over_n++;
		died_n = died_n + has_died;
		if
		:: over_n == 2 && died_n > 0 ->
			judged[0] = owner[0];
			judged[1] = owner[1];
			/* What was in its hands is anybody's to settle. */
			x = 0;
			do
			:: x < NB -> if :: private[x] && maker[stamp[x]] == 0 -> private[x] = 0 :: else fi; x++
			:: else -> break
			od;
			x = 0;
			left--
		:: over_n == 2 && died_n == 0 -> left--
		:: else
		fi
	}
}

proctype Owner(bit mortal)
{
	byte b = NOTHING, s, v, o, os, x, y, n, own;

	take(own);
	do
	:: n == R -> break
	:: else ->
		n++;
		DIE
		reserve();
		if
		:: b == NOTHING -> skip
		:: else ->
			d_step { hold_b = b; hold_s = s };
			if
			:: commit(0, b, s)
			:: abort(0, b, s)
			:: skip
			fi
		fi;
		atomic { b = NOTHING; s = 0 }
	od;
	/* Detaching comes after everything else. */
	over_n == 1;
	if
	:: died_n > 0 -> goto died
	:: else
	fi;
	/* skv_reserve_abort_all: nobody is inside a call, so it is OPEN. */
	if
	:: ent_off != 0 -> b = ent_off - 1; s = ent_stamp; assert(!ent_end); give_up(0, b, s)
	:: else
	fi;
	DIE
	atomic { assert(owner[0] == own); owner[0]++; owner[1]++ };
	end_thread(0);
	goto over;
died:
	end_thread(1);
over:
	skip
}

proctype Ender(bit mortal)
{
	byte b, s, v, o, os, x, y, n;

	do
	:: n == E -> break
	:: else ->
		n++;
		d_step { b = hold_b; s = hold_s };
		if
		:: b == NOTHING -> skip
		:: else ->
			if
			:: commit(1, b, s)
			:: abort(1, b, s)
			fi
		fi;
		atomic { b = 0; s = 0 }
	od;
	end_thread(0);
	goto over;
died:
	end_thread(1);
over:
	skip
}

/* Somebody else writes the key. */
proctype Writer(int script)
{
	byte b = NOTHING, s, v, o, os, x, y, op; bit mortal;

	do
	:: script == 0 -> break
	:: else ->
		op = script % 10; script = script / 10;
		if
		:: op == 1 ->
			alloc(2);
			if
			:: b == NOTHING -> goto next
			:: else -> set_new(2, b + 1, 1)
			fi
		:: else
		fi;
		do
		:: change(2, b, s);
			if
			:: y == 1 -> break
			:: else
			fi
		od;
		set_new(2, 0, 0);
next:
		atomic { b = NOTHING; s = 0; v = 0; o = 0; os = 0; y = 0; op = 0 }
	od;
died:
	left--
}

#ifdef TENANT
/* The next who has context 0. */
proctype Tenant()
{
	byte b = NOTHING, s, v, o, os, x, y, own; bit mortal;

	over_n == 2;
	take(own);
	reserve();
	if
	:: b == NOTHING -> skip
	:: else ->
		if
		:: commit(0, b, s)
		:: abort(0, b, s)
		fi;
		if
		:: ent_off != 0 -> give_up(0, b, s)
		:: else
		fi
	fi;
	atomic { assert(owner[0] == own); owner[0]++ };
died:
	left--
}
#endif

inline settle_named(b, s, maybe_linked)
{
	if
	:: b != 0 ->
		b--;
		d_step { x = 0; if :: word[b] == ALLOC && stamp[b] == s -> x = 1 :: else fi };
		if
		:: x == 1 && !(maybe_linked && slot == b) ->
#ifdef NO_OWNER
			settle(b, s, false)
#else
			if
			:: owner[c] == own -> settle(b, s, false)
			:: else
			fi
#endif
		:: else
		fi
	:: else
	fi;
	x = 0
}

/* RP1, RP2 and RP5 of context c, in steps of a process that may die. */
inline reap()
{
	own = owner[c];
	if
	:: own % 2 == 0 || judged[c] != own -> skip
	:: else ->
		d_step { b = new_off[c]; phase = complete[c] };
		s = new_stamp[c];
		o = old_off[c];
		os = old_stamp[c];
		if
		:: owner[c] != own -> skip
		:: else ->
			settle_named(b, s, phase);
			DIE
			settle_named(o, os, true);
#ifndef NO_REAP
			DIE
			if
			:: c == 0 ->
				b = ent_off;
				s = ent_stamp;
#ifdef NO_LINKED
				settle_named(b, s, false)
#else
				settle_named(b, s, true)
#endif
			:: else
			fi;
#endif
			DIE
			d_step { if :: owner[c] == own -> owner[c] = own + 1 :: else fi }
		fi
	fi;
	atomic { own = 0; b = 0; s = 0; x = 0; o = 0; os = 0; phase = 0 }
}

#if REAPERS > 0
/* Looks at both contexts, in any order. */
proctype Reaper(bit mortal)
{
	byte c, own, b, s, x, o, os, n; bit phase;

	over_n == 2 && died_n > 0;
	if
	:: c = 0
	:: c = 1
	fi;
	do
	:: n == 2 -> break
	:: else -> n++; reap(); c = 1 - c
	od;
died:
	skip
}
#endif

#ifdef SWEEP
proctype Sweeper()
{
	byte b, s, x, c; bit mortal, named;

	do
	:: b == NB -> break
	:: else ->
		d_step { s = 0; if :: word[b] == ALLOC -> s = stamp[b]; c = maker[s] :: else fi };
		if
		:: s != 0 ->
			named = 0;
			if
			:: owner[c] % 2 == 1 || c == 2 ->
#ifdef ENTRIES_FIRST
				if
				:: c == 0 && ent_off == b + 1 -> named = (ent_stamp == s)
				:: else
				fi;
#endif
				if
				:: !named && new_off[c] == b + 1 -> named = (new_stamp[c] == s)
				:: else
				fi;
#ifndef NO_FLIGHT
#ifndef ENTRIES_FIRST
				if
				:: !named && c == 0 && ent_off == b + 1 -> named = (ent_stamp == s)
				:: else
				fi
#endif
#endif
			:: else
			fi;
			if
			:: named || slot == b -> skip
			:: else -> settle(b, s, false)
			fi
		:: else
		fi;
		b++
	od;
died:
	skip
}
#endif

/* The last reaper, for whoever died after the others had looked; then the count. */
proctype Check()
{
	byte c, own, b, s, x, o, os; bit phase, mortal;

	left == 0 && _nr_pr == 2;
	do
	:: c == 2 -> break
	:: else ->
		if
		:: owner[c] % 2 == 1 -> assert(judged[c] == owner[c]); reap()
		:: else
		fi;
		c++
	od;
	b = 0;
	do
	:: b < NB -> assert((word[b] == ALLOC) == (slot == b)); b++
	:: else -> break
	od;
	goto over;
died:
	skip;
over:
	skip
}

init {
	atomic {
		owner[1] = 1;
		run Check();
		run Owner(DIES % 2 == 1);
		run Ender((DIES / 2) % 2 == 1);
		run Writer(W);
#ifdef TENANT
		left++;
		run Tenant();
#endif
#if REAPERS > 0
		run Reaper(false);
#endif
#if REAPERS > 1
		run Reaper(true);
#endif
#ifdef SWEEP
		run Sweeper();
#endif
	}
}

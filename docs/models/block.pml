/* SPDX-License-Identifier: MIT */
/*
 * block: state words of records, intents, reapers, and contexts that are used again.
 *
 * Covers shm/block.c, the intents of shm/index*.c, context ownership in shm/writer.c, and RP1,
 * RP2 and RP5 of shm/recover.c. One key in one slot; leaves, chunks and RULE H are in the other
 * models. A mortal process may die between any two shared accesses; so may a reaper.
 *
 * Contexts. Context 0 is taken by one process after the other: owner[0] steps at every change,
 * odd while somebody has it. Context 1 belongs to the second writer for good. That the
 * owner of an incarnation is dead (judged[c] holds it) stands here for the lock byte and the
 * process slot: see join.pml.
 *
 * Scripts as in leaf.pml, for one key: 1 set, 3 delete, 0 none; A is the first tenant of context
 * 0, B the second, C the third, W has context 1. DIES is a bit per mortal process (A 1, B 2, C 4,
 * W 8). REAPERS 1 or 2: the second one may die. SWEEP adds the sweeper.
 *
 * In the end, each block is linked and ALLOC, or FREE. Controls, each must fail:
 *   CLEARING       the reaper clears the intents, with plain stores
 *   TWO_WORDS      block and phase stand in two words
 *   NO_OWNER       the reaper does not look at the owner word again
 *   NO_LINKED      the reaper settles a complete new block without a look-up
 *   NO_STAMP       settle does not compare stamps
 *   LATE_INTENT    the intent is written after the claim
 *   NO_FLIGHT      the sweeper does not ask whether the block is in flight
 */

#ifndef NB
#define NB 3
#endif
#ifndef A
#define A 0
#endif
#ifndef B
#define B 0
#endif
#ifndef C
#define C 0
#endif
#ifndef W
#define W 0
#endif
#ifndef DIES
#define DIES 0
#endif
#ifndef REAPERS
#define REAPERS 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif

#define FREE 0
#define ALLOC 1
#define NOTHING 255
#define NONE 0
#define NC 2

byte word[NB], stamp[NB];           /* one state word: FREE or ALLOC(stamp) */
byte slotv, slot = NOTHING;         /* version; the block that is linked */
byte owner[NC], judged[NC];         /* owner word; the last one that is known dead */
byte new_off[NC], new_stamp[NC];    /* offset + 1 */
bit complete[NC];                   /* part of new_off, except under TWO_WORDS */
byte old_off[NC], old_stamp[NC];
byte next_stamp = 1;
byte maker[32];                     /* context of a stamp; part of the stamp in the code */
byte left = 4;                      /* writers that are not over */

#define DIE if :: mortal -> goto died :: skip fi;

/* One word in the code: a block and its phase change together. */
inline set_new(c, off, phase)
{
#ifdef TWO_WORDS
	complete[c] = phase;
	DIE
	new_off[c] = off
#else
	d_step { new_off[c] = off; complete[c] = phase }
#endif
}

#ifdef NO_STAMP
#define SAME(b, s) true
#else
#define SAME(b, s) (stamp[b] == (s))
#endif

/* skv_block_settle */
inline settle(b, s)
{
	x = 0;
	d_step {
		if
		:: word[b] == ALLOC && SAME(b, s) -> x = stamp[b]
		:: else
		fi
	};
	if
	:: x != 0 ->
		DIE
		d_step {
			if
			:: word[b] == ALLOC && stamp[b] == x ->
				assert(slot != b);
				/* Nobody but its maker may end a life that is still private. */
				assert(!private[b] || me == owner_of[b]);
				word[b] = FREE; stamp[b] = 0; private[b] = 0
			:: else
			fi
		}
	:: else
	fi;
	x = 0
}

/* Ghosts: a living writer is about to link the block. */
bit private[NB]; byte owner_of[NB];

proctype Writer(byte me; byte c; int script; bit mortal)
{
	byte op, b = NOTHING, s, v, o, os, x, own;

	if
	:: script == 0 -> goto over
	:: else
	fi;
	/* Take the context; the next one waits for it to be free. */
	do
	:: owner[c] % 2 == 0 ->
		atomic {
			if
			:: owner[c] % 2 == 0 -> owner[c]++; own = owner[c]; break
			:: else
			fi
		}
	od;
	DIE
	set_new(c, 0, 0);
	DIE
	old_off[c] = 0;

	do
	:: script == 0 -> break
	:: else ->
		op = script % 10; script = script / 10;
		if
		:: op == 1 ->
			d_step { s = next_stamp; next_stamp++; maker[s] = c };
			DIE
			new_stamp[c] = s;
			/* A cached offset, any that looks free. */
			if
			:: b = 0
			:: b = 1
#if NB > 2
			:: b = 2
#endif
			fi;
			if
			:: word[b] != FREE -> b = NOTHING; goto next
			:: else
			fi;
#ifndef LATE_INTENT
			DIE
			set_new(c, b + 1, 0);
#endif
			DIE
			d_step {
				if
				:: word[b] == FREE ->
					word[b] = ALLOC; stamp[b] = s; private[b] = 1; owner_of[b] = me
				:: else -> b = NOTHING
				fi
			};
			if
			:: b == NOTHING -> set_new(c, 0, 0); goto next
			:: else
			fi;
#ifdef LATE_INTENT
			DIE
			set_new(c, b + 1, 0);
#endif
			DIE
			set_new(c, b + 1, 1)
		:: else
		fi;

again:
		v = slotv;
		o = slot;
		if
		:: o == NOTHING ->
			if
			:: op == 3 ->
				if
				:: slotv != v -> goto again
				:: else -> goto next
				fi
			:: else
			fi
		:: else ->
			/* announce_old */
			d_step { os = stamp[o]; x = word[o] };
			if
			:: x != ALLOC -> x = 0; goto again
			:: else -> x = 0
			fi;
			DIE
			old_off[c] = 0;
			DIE
			old_stamp[c] = os;
			DIE
			old_off[c] = o + 1
		fi;
		DIE
		d_step {
			x = 0;
			if
			:: slotv == v ->
				assert(slot == o);
				slotv = v + 1; x = 1;
				if
				:: op == 3 -> slot = NOTHING
				:: else -> assert(word[b] == ALLOC && stamp[b] == s); slot = b; private[b] = 0
				fi
			:: else
			fi
		};
		if
		:: x == 0 ->
			old_off[c] = 0;
			if
			:: goto again
			:: op == 1 ->
				/* Given up: draft_drop. */
				DIE
				settle(b, s);
				goto next
			fi
		:: else
		fi;
		DIE
		if
		:: o != NOTHING -> settle(o, os)
		:: else
		fi;
next:
		DIE
		old_off[c] = 0;
		DIE
		set_new(c, 0, 0);
		atomic { b = NOTHING; s = 0; v = 0; o = 0; os = 0; x = 0; op = 0 }
	od;

	/* Give back. */
	atomic { assert(owner[c] == own); owner[c]++ };
	goto over;
died:
	atomic {
		judged[c] = own;
		/* The dead one's private blocks are anybody's to settle. */
		x = 0;
		do
		:: x < NB -> if :: private[x] && owner_of[x] == me -> private[x] = 0 :: else fi; x++
		:: else -> break
		od;
		x = 0
	};
over:
	left--
}

/* One block that a dead context names. */
inline settle_named(b, s, maybe_linked)
{
	if
	:: b != 0 ->
		b--;
		d_step { x = 0; if :: word[b] == ALLOC && SAME(b, s) -> x = 1 :: else fi };
		if
		:: x == 1 ->
			if
			:: maybe_linked && slot == b -> skip
			:: else ->
				/* RP1 again: it is still the dead one's intent. */
#ifdef NO_OWNER
				settle(b, s)
#else
				if
				:: owner[c] == own -> settle(b, s)
				:: else
				fi
#endif
			fi
		:: else
		fi
	:: else
	fi;
	x = 0
}

proctype Reaper(byte me; bit mortal)
{
	byte c, own, b, s, x, o, os, round; bit phase;

	do
	:: round == ROUNDS -> break
	:: else ->
		round++;
		/* The second writer's context too, if it can die. */
		if
		:: c = 0
#if DIES >= 8
		:: c = 1
#endif
		fi;
		/* RP1 */
		own = owner[c];
		if
		:: own % 2 == 0 || judged[c] != own -> goto next
		:: else
		fi;
		d_step { b = new_off[c]; phase = complete[c] };
		s = new_stamp[c];
		o = old_off[c];
		os = old_stamp[c];
#ifndef NO_OWNER
		if
		:: owner[c] != own -> goto next
		:: else
		fi;
#endif
#ifdef NO_LINKED
		phase = 0;
#endif
		/* RP2 */
		settle_named(b, s, phase);
		DIE
		settle_named(o, os, true);
		DIE
#ifdef CLEARING
		new_off[c] = 0;
		DIE
		old_off[c] = 0;
		DIE
#endif
		/* RP5 */
		d_step { if :: owner[c] == own -> owner[c] = own + 1 :: else fi };
next:
		atomic { c = 0; own = 0; b = 0; s = 0; x = 0; o = 0; os = 0; phase = 0 }
	od;
died:
	skip
}

#ifdef SWEEP
proctype Sweeper(byte me; bit mortal)
{
	byte b, s, x, c;

	do
	:: b == NB -> break
	:: else ->
		d_step { s = 0; if :: word[b] == ALLOC -> s = stamp[b]; c = maker[s] :: else fi };
		if
		:: s != 0 ->
#ifndef NO_FLIGHT
			/* The owner, then new_off, then new_stamp. */
			if
			:: owner[c] % 2 == 1 ->
				if
				:: new_off[c] == b + 1 ->
					if
					:: new_stamp[c] == s -> goto next
					:: else
					fi
				:: else
				fi
			:: else
			fi;
#endif
			if
			:: slot == b -> skip
			:: else -> settle(b, s)
			fi
		:: else
		fi;
next:
		b++
	od;
died:
	skip
}
#endif

/* The last reaper, for whoever died after the others had looked; then the count. */
proctype Check()
{
	byte me = NOTHING, c, own, b, s, x, o, os; bit phase, mortal;

	left == 0 && _nr_pr == 2;
	do
	:: c == NC -> break
	:: else ->
		own = owner[c];
		if
		:: own % 2 == 1 ->
			assert(judged[c] == own);
			b = new_off[c]; s = new_stamp[c]; phase = complete[c];
			o = old_off[c]; os = old_stamp[c];
			settle_named(b, s, phase);
			settle_named(o, os, true);
			owner[c] = own + 1
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
		run Check();
		run Writer(0, 0, A, DIES % 2 == 1);
		run Writer(1, 0, B, (DIES / 2) % 2 == 1);
		run Writer(2, 0, C, (DIES / 4) % 2 == 1);
		run Writer(3, 1, W, (DIES / 8) % 2 == 1);
		run Reaper(4, false);
#if REAPERS > 1
		run Reaper(5, true);
#endif
#ifdef SWEEP
		run Sweeper(6, false);
#endif
	}
}

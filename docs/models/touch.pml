/* SPDX-License-Identifier: MIT */
/*
 * touch: a deadline changes where it stands, while others replace or remove the record.
 *
 * Covers shm/touch.c, and what expiry adds to shm/index*.c. One key in one slot, which holds a
 * record whose deadline is 1 in the beginning; the clock goes from 0 to 2 at any moments.
 * Leaves, and RULE H, which keeps a block a block while it is announced, are in the other models.
 *
 * Scripts, a digit per operation, the last one first; 0 ends.
 *   T, U   touchers: 2..7 touch to that deadline, 8 persist
 *   A, B   writers: 1 incr, which keeps the deadline of a key that is present and makes a key
 *          without one otherwise; 2 add, with deadline 2; 3 sweep: remove what has expired
 *   R      so many reads
 * NOW_MAX 0 or 1: the clock stops there. DIES is a bit per mortal process (T 1, A 2); with A the reaper runs.
 *
 * Ghosts. G is the value and D the deadline that the key has by the operations that have
 * returned or committed; 9 is for ever. early[p] is the deadline of a touch that has changed a
 * record and has not returned: others may see it. Asserted: an incr adds one to G and carries D
 * on, or an early deadline; whoever takes the key for expired when it commits is right, by
 * D or by an early deadline; reads likewise. A touch that has returned is thus never lost.
 *
 * Controls, each must fail:
 *   NO_STEP     the touch only looks whether the slot has changed
 *   EARLY_STEP  the slot steps first, then the deadline changes
 *   NO_BIT      the slot steps without saying that the key expires
 *   NO_PAIR     the deadline is compared and swapped without the state word
 *   NO_RAW      the reaper's look-up minds the clock
 */

#ifndef T
#define T 0
#endif
#ifndef U
#define U 0
#endif
#ifndef A
#define A 0
#endif
#ifndef B
#define B 0
#endif
#ifndef R
#define R 0
#endif
#ifndef DIES
#define DIES 0
#endif

#if B
#define NB 3
#else
#define NB 2
#endif
#define FREE 0
#define ALLOC 1
#define NOTHING 255
#define NEVER 9
#ifndef NOW_MAX
#define NOW_MAX 2
#endif

byte word[NB], stamp[NB], expiry[NB], value[NB];
byte slotv, slot; bit expires;      /* version; block; the bit */
byte now;
byte next_stamp = 2;
byte G, D = 1;
byte early[2];
byte left = 5;

/* The writer's intents. */
byte new_off[2], new_stamp[2], old_off[2], old_stamp[2]; bit complete[2], dead[2];

#define DIE if :: mortal -> goto died :: skip fi;
#define EARLY_IS(d) (early[0] == (d) || early[1] == (d))
#define EARLY_PAST ((early[0] != 0 && early[0] <= now) || (early[1] != 0 && early[1] <= now))
#define MAY_BE_PAST (D <= now || EARLY_PAST)

proctype Toucher(byte me; int script; bit mortal)
{
	byte d, v, b, s, e, t; bit x, done;

	do
	:: script == 0 -> break
	:: else ->
		d = script % 10; script = script / 10;
again:
		DIE
		v = slotv;
		d_step { b = slot; x = expires };
		if
		:: b == NOTHING ->
			if
			:: slotv != v -> goto again
			:: else -> goto next
			fi
		:: else
		fi;
		t = now;
		e = expiry[b];
		if
		:: slotv != v -> goto again
		:: slotv == v && x && e <= t -> goto next
		:: else
		fi;
		if
		:: d == 8 ->
			if
			:: !x -> goto next
			:: else -> goto step
			fi
		:: else
		fi;

		/* Announced here; then the deadline, the clock, the guard and the state word. */
		d_step { s = 0; if :: word[b] == ALLOC -> s = stamp[b] :: else fi };
		if
		:: s == 0 -> goto again
		:: else
		fi;
#ifdef EARLY_STEP
		DIE
		d_step {
			done = 0;
			if
			:: slotv == v -> v++; slotv = v; expires = 1; x = 1; done = 1
			:: else
			fi
		};
		if
		:: !done -> goto again
		:: else
		fi;
#endif
		e = expiry[b];
		t = now;
		if
		:: x && e <= t -> goto again
		:: else
		fi;
		if
		:: slotv != v || word[b] != ALLOC || stamp[b] != s -> goto again
		:: else
		fi;
		DIE
		d_step {
			done = 0;
			if
#ifdef NO_PAIR
			:: expiry[b] == e ->
#else
			:: expiry[b] == e && word[b] == ALLOC && stamp[b] == s ->
#endif
				expiry[b] = d; early[me] = d; done = 1
			:: else
			fi
		};
		if
		:: !done -> goto again
		:: else
		fi;
step:
		DIE
		d_step {
			done = 0;
			if
			:: slotv == v ->
				assert(slot == b);
				done = 1;
#if !defined(NO_STEP) && !defined(EARLY_STEP)
				slotv = v + 1;
#endif
#ifndef NO_BIT
				expires = (d != 8);
#endif
				D = (d == 8 -> NEVER : d);
				early[me] = 0
			:: else
			fi
		};
		if
		:: !done -> goto again
		:: else
		fi;
next:
		DIE
		atomic { early[me] = 0; v = 0; b = 0; s = 0; e = 0; t = 0; x = 0; done = 0; d = 0 }
	od;
	goto over;
died:
	skip;
over:
	left--
}

/* skv_block_settle */
inline settle(c, s)
{
	d_step {
		if
		:: word[c] == ALLOC && stamp[c] == s ->
			assert(slot != c);
			word[c] = FREE; stamp[c] = 0
		:: else
		fi
	}
}

proctype Writer(byte me; int script; bit mortal)
{
	byte op, n = NOTHING, s, v, b, os, e, t, c, dl; bit x, present, done;

	do
	:: script == 0 -> break
	:: else ->
		op = script % 10; script = script / 10;
again:
		DIE
		v = slotv;
		d_step { b = slot; x = expires };
		present = 0;
		os = 0;
		if
		:: b == NOTHING ->
			if
			:: slotv != v -> goto again
			:: else
			fi
		:: else ->
			t = now;
			e = (x -> expiry[b] : NEVER);
			present = e > t;
			c = value[b]
		fi;
		if
		:: (op == 2 && present) || (op == 3 && (present || b == NOTHING)) ->
			if
			:: slotv != v -> goto again
			:: else -> goto next
			fi
		:: else
		fi;

		if
		:: op != 3 && n == NOTHING ->
			d_step { s = next_stamp; next_stamp++ };
			new_stamp[me] = s;
			/* The lowest that is free: memory is used again at once. */
			atomic {
				n = 0;
				do
				:: word[n] == FREE -> break
				:: else -> n = (n + 1) % NB
				od
			};
			DIE
			d_step { new_off[me] = n + 1; complete[me] = 0 };
			DIE
			d_step {
				done = 0;
				if
				:: word[n] == FREE -> word[n] = ALLOC; stamp[n] = s; done = 1
				:: else
				fi
			};
			if
			:: !done -> n = NOTHING; new_off[me] = 0; goto again
			:: else
			fi
		:: else
		fi;
		if
		:: op != 3 ->
			value[n] = (present -> c + 1 : 0);
			complete[me] = 1
		:: else
		fi;

		/* announce_old */
		if
		:: b != NOTHING ->
			d_step { os = 0; if :: word[b] == ALLOC -> os = stamp[b] :: else fi };
			if
			:: os == 0 -> goto again
			:: else
			fi;
			old_off[me] = 0;
			old_stamp[me] = os;
			old_off[me] = b + 1
		:: else
		fi;

		/* set_deadline */
		if
		:: op == 1 && present ->
			e = (x -> expiry[b] : NEVER);
			t = now;
			if
			:: e <= t -> goto again
			:: else
			fi;
			dl = e
		:: op == 1 && !present -> dl = NEVER
		:: else -> dl = 2
		fi;
		if
		:: op != 3 && dl != NEVER -> expiry[n] = dl
		:: else
		fi;
		DIE
		d_step {
			done = 0;
			if
			:: slotv == v ->
				assert(slot == b);
				done = 1;
				if
				:: present ->
					assert(op == 1);
					assert(value[n] == G + 1);
					assert(dl == D || EARLY_IS(dl))
				:: !present && b != NOTHING -> assert(MAY_BE_PAST)
				:: else
				fi;
				slotv = v + 1;
				if
				:: op == 3 -> slot = NOTHING; expires = 0; D = 0
				:: else ->
					assert(word[n] == ALLOC && stamp[n] == s);
					slot = n; expires = (dl != NEVER);
					G = value[n];
					/* Nobody else may have touched the draft. */
					assert(!expires || expiry[n] == dl);
					D = dl
				fi
			:: else
			fi
		};
		if
		:: !done -> goto again
		:: else
		fi;
		DIE
		if
		:: b != NOTHING -> settle(b, os)
		:: else
		fi;
		DIE
		old_off[me] = 0;
		DIE
		new_off[me] = 0;
		n = NOTHING;
next:
		if
		:: n != NOTHING ->
			DIE
			settle(n, s);
			new_off[me] = 0;
			n = NOTHING
		:: else
		fi;
		atomic {
			op = 0; s = 0; v = 0; b = 0; os = 0; e = 0; t = 0; c = 0; dl = 0;
			x = 0; present = 0; done = 0
		}
	od;
	goto over;
died:
	dead[me] = 1;
over:
	left--
}

proctype Reader(byte n)
{
	byte v, b, e, t, c; bit x, present;

	do
	:: n == 0 -> break
	:: else ->
		v = slotv;
		d_step { b = slot; x = expires };
		if
		:: b != NOTHING ->
			t = now;
			e = (x -> expiry[b] : NEVER);
			present = e > t;
			c = value[b];
			d_step {
				if
				:: slotv == v ->
					if
					:: present -> assert(c == G)
					:: else -> assert(MAY_BE_PAST)
					fi
				:: else
				fi
			}
		:: else
		fi;
		n--;
		atomic { v = 0; b = 0; e = 0; t = 0; c = 0; x = 0; present = 0 }
	od;
	left--
}

proctype Clock()
{
	do
	:: now == NOW_MAX -> break
	:: now < NOW_MAX && left > 0 -> now++
	:: left == 0 -> break
	od
}

#ifdef NO_RAW
#define LINKED(c) (slot == (c) && !(expires && expiry[c] <= now))
#else
#define LINKED(c) (slot == (c))
#endif

/* The reaper, after the dead and while the others go on; then the count. */
proctype Reaper()
{
	byte c, s;

	do
	:: dead[0] && new_off[0] + old_off[0] != 0 ->
		c = new_off[0]; s = new_stamp[0];
		if
		:: c != 0 && !(complete[0] && LINKED(c - 1)) -> settle(c - 1, s)
		:: else
		fi;
		c = old_off[0]; s = old_stamp[0];
		if
		:: c != 0 && !LINKED(c - 1) -> settle(c - 1, s)
		:: else
		fi;
		atomic { new_off[0] = 0; old_off[0] = 0; c = 0; s = 0 }
	:: left == 0 && (!dead[0] || new_off[0] + old_off[0] == 0) -> break
	od;
	c = 0;
	do
	:: c < NB -> assert((word[c] == ALLOC) == (slot == c)); c++
	:: else -> break
	od
}

init {
	atomic {
		slot = 0; expires = 1; word[0] = ALLOC; stamp[0] = 1; expiry[0] = 1; value[0] = 0;
		run Toucher(0, T, DIES % 2 == 1);
		run Toucher(1, U, false);
		run Writer(0, A, (DIES / 2) % 2 == 1);
		run Writer(1, B, false);
		run Reader(R);
		run Clock();
		run Reaper()
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * pin: views hold records, and somebody else wants their memory.
 *
 * Covers shm/pin.c, the state RETIRED in shm/block.c, RULE H for pins, and RP1a of
 * shm/recover.c. One key in one slot. Each block has a chunk of its own: a slab that a
 * collector takes apart, or, with RUNS, a large record whose chunk is given back by whoever
 * frees it. What the chunk is used for after that is payload, and hostile: it may be any
 * word that a late comer still waits for.
 *
 * Context 0 is taken by viewer A, then by viewer B; context 1 by viewer C; each has one pin
 * word and looks at the key as often as its define says. The writer has context 2: script W
 * as in block.pml, 1 set, 3 delete. ENDER: somebody else lets go of what A holds, while A's
 * thread collects. DIES is a bit per mortal process (A 1, B 2, C 4, writer 8). REAPERS 1 or 2:
 * the second one may die. SWEEP adds the sweeper for what is RETIRED.
 *
 * In the end each block is linked and ALLOC, or FREE, and no run is left; no pin word is in use
 * and no bit says that there may be. Controls, each must fail:
 *   ONE_STEP       a pin word is cleared in one step, then the block is settled
 *   NO_FENCE       the slot is looked at again before the pin is visible
 *   NO_RECHECK     the slot is not looked at again
 *   NO_LOOK        who lets go leaves the block to others
 *   RELEASING_HOLDS  who looks for holders counts those that let go
 *   NO_RETIRED     the unlinker looks for pins while the block is ALLOC, and leaves it
 *   NO_PINS_SCAN   the collector does not look at pins
 *   HELD_ONLY      the collector looks only at pins that hold
 *   OWN_SKIPPED    the collector does not look at the pins of its own context
 *   NO_AUX         a reaper relies on the dead one's pin word alone
 *   NO_WITHDRAW    whoever clears a pin word does not look at the run again
 *   PLAIN_BIT      a reaper clears the bit whatever happened to it since
 *   NO_REAP_PINS   the reaper knows nothing of pins
 *   LOST_STOPS     a reaper that another one overtakes leaves the pin word to that one
 *   NOT_RETIRED    the reaper finishes only what is ALLOC (RULE S)
 * Not needed, a second line: KEEP_BIT, a new owner leaves the bit as it finds it.
 */

#ifndef NB
#define NB 2
#endif
#ifndef A
#define A 1
#endif
#ifndef B
#define B 0
#endif
#ifndef C
#define C 0
#endif
#ifndef W
#define W 1
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
#ifndef COLLECTS
#define COLLECTS 1
#endif

/* state words */
#define FREE 0
#define ALLOC 1
#define RETIRED 2
#define BUSY 3
/* chunk cells */
#define OTHER 0
#define SPAN 1
#define DISMANTLE 2
/* phases of a pin word */
#define NONE 0
#define HELD 1
#define RELEASING 2

#define NOTHING 255
#define NC 3
#define NA 4                        /* aux words: two reapers, the sweeper, the last reaper */

byte word[NB], stamp[NB];
byte use[NB] = SPAN, cv[NB];        /* chunk cell: state, version */
byte slotv, slot = NOTHING;
byte owner[NC], judged[NC];
byte pin_off[NC], pin_ph[NC], pin_inc[NC];    /* one word: block + 1, phase, incarnation */
byte old_off[NC], old_stamp[NC];              /* block + 1 */
byte aux[NA];                                 /* block + 1 */
bit bits[NC]; byte bits_v;                    /* one cell of pins_of */
byte next_stamp = 1;
byte left;                                    /* processes that are not over */

/* Ghosts: a viewer has found that it holds; handed to the ender. */
byte holds[NC];
bit handed;

#define DIE if :: mortal -> goto died :: skip fi;

/* Somebody writes payload over a chunk that is no span any more. */
inline hostile(h_b)
{
	if
	:: word[h_b] = RETIRED; stamp[h_b] = 1
	:: word[h_b] = ALLOC; stamp[h_b] = 1
	:: next_stamp > 2 -> word[h_b] = RETIRED; stamp[h_b] = 2
	:: word[h_b] = BUSY; stamp[h_b] = 0
	fi
}

/* skv_block_announced; y: found. @self, @acting: as in the code. Pins are gated by their bit. */
inline announced(a_b, a_self, a_acting, a_self_aux)
{
	y = 0; k = 0;
	do
	:: k == NC -> break
	:: else ->
		if
		:: owner[k] % 2 == 0 -> skip
		:: else ->
#ifndef NO_PINS_SCAN
			if
#ifdef OWN_SKIPPED
			:: k == a_self -> skip
#endif
#ifdef HELD_ONLY
			:: bits[k] && pin_ph[k] == HELD && pin_off[k] == a_b + 1 -> y = 1
#else
			:: bits[k] && pin_ph[k] != NONE && pin_off[k] == a_b + 1 -> y = 1
#endif
			:: else
			fi;
#endif
			if
			:: k != a_self && k != a_acting && old_off[k] == a_b + 1 -> y = 1
			:: else
			fi
		fi;
		k++
	od;
	k = 0;
	do
	:: k == NA -> break
	:: else ->
		if
		:: k != a_self_aux && aux[k] == a_b + 1 -> y = 1
		:: else
		fi;
		k++
	od;
	k = 0
}

#ifdef RUNS
/* skv_chunk_return_run and skv_arena_finish_run: the chunk of a free record. */
inline finish(f_b, f_self, f_acting, f_self_aux)
{
	z = NOTHING;
	d_step { if :: use[f_b] == SPAN && word[f_b] == FREE -> z = cv[f_b] :: else fi };
	if
	:: z != NOTHING ->
		announced(f_b, f_self, f_acting, f_self_aux);
		if
		:: !y ->
			atomic {
				if
				:: cv[f_b] == z && use[f_b] == SPAN -> use[f_b] = OTHER; cv[f_b]++; hostile(f_b)
				:: else
				fi
			}
		:: else
		fi
	:: else
	fi;
	y = 0; z = 0
}
#else
#define finish(b, self, acting, self_aux) skip
#endif

/* The compare-and-swap to FREE, from the state and the life that were read. */
inline set_free(w_b, w_from, w_s)
{
	d_step {
		if
		:: word[w_b] == w_from && stamp[w_b] == w_s ->
			assert(use[w_b] != OTHER);
			assert(slot != w_b);
			assert(holds[0] != w_b + 1 && holds[1] != w_b + 1);
			word[w_b] = FREE; stamp[w_b] = 0; y = 1
		:: else -> y = 0
		fi
	}
}

/* skv_block_reclaim: bits, then pin words one after the other. */
inline reclaim(r_b, r_s, r_self, r_acting, r_self_aux)
{
	d_step { m0 = bits[0]; m1 = bits[1] };
	y = 0;
	if
#ifdef RELEASING_HOLDS
	:: m0 && pin_ph[0] != NONE && pin_off[0] == r_b + 1 -> y = 1
#else
	:: m0 && pin_ph[0] == HELD && pin_off[0] == r_b + 1 -> y = 1
#endif
	:: else
	fi;
	if
#ifdef RELEASING_HOLDS
	:: m1 && pin_ph[1] != NONE && pin_off[1] == r_b + 1 -> y = 1
#else
	:: m1 && pin_ph[1] == HELD && pin_off[1] == r_b + 1 -> y = 1
#endif
	:: else
	fi;
	if
	:: y -> skip
	:: else ->
		DIE
		set_free(r_b, RETIRED, r_s);
		if
		:: y -> DIE finish(r_b, r_self, r_acting, r_self_aux)
		:: else
		fi
	fi;
	y = 0; m0 = 0; m1 = 0
}

/* skv_block_locate, the state word, the cell again, until it stands still: x is the state, BUSY
 * where no block starts; t is the life. */
inline look(l_b)
{
	do
	:: d_step { z = cv[l_b]; if :: use[l_b] == OTHER -> x = BUSY :: else -> x = NOTHING fi };
		if
		:: x == BUSY -> break
		:: else
		fi;
		d_step { x = word[l_b]; t = stamp[l_b] };
		if
		:: cv[l_b] == z -> break
		:: else
		fi
	od;
	z = 0
}

/* skv_block_settle */
inline settle(s_b, s_s, s_self, s_acting, s_self_aux)
{
	look(s_b);
	if
	:: x == ALLOC && t == s_s ->
		if
		:: !bits[0] && !bits[1] ->
			set_free(s_b, ALLOC, s_s);
			if
			:: y -> y = 0; DIE finish(s_b, s_self, s_acting, s_self_aux)
			:: else
			fi
		:: else ->
			DIE
#ifdef NO_RETIRED
			if
			:: pin_ph[0] == HELD && pin_off[0] == s_b + 1 -> skip
			:: pin_ph[1] == HELD && pin_off[1] == s_b + 1 -> skip
			:: else -> set_free(s_b, ALLOC, s_s); y = 0
			fi
#else
			d_step {
				if
				:: word[s_b] == ALLOC && stamp[s_b] == s_s ->
					assert(use[s_b] != OTHER);
					word[s_b] = RETIRED
				:: else -> t = 0
				fi
			};
			if
			:: t != 0 -> DIE reclaim(s_b, s_s, s_self, s_acting, s_self_aux)
			:: else
			fi
#endif
		fi
	:: x == RETIRED && t == s_s -> reclaim(s_b, s_s, s_self, s_acting, s_self_aux)
	:: else
	fi;
	x = 0; t = 0
}

/* skv_pin_release of what context c announced as (b, inc); @phase as it was read. */
inline release(u_c, u_b, u_inc, u_phase, u_self, u_acting, u_self_aux)
{
	y = 1;
	if
	:: u_phase == HELD ->
		d_step {
			if
			:: pin_off[u_c] == u_b + 1 && pin_ph[u_c] == HELD && pin_inc[u_c] == u_inc ->
				holds[u_c] = 0;
#ifdef ONE_STEP
				pin_off[u_c] = 0; pin_ph[u_c] = NONE; pin_inc[u_c] = 0
#else
				pin_ph[u_c] = RELEASING
#endif
			:: else -> y = 0
			fi
		}
	:: else
	fi;
	if
	:: y ->
		DIE
#ifndef NO_LOOK
		look(u_b);
		if
		:: x == RETIRED -> reclaim(u_b, t, u_self, u_acting, u_self_aux)
		:: else
		fi;
		x = 0; t = 0;
#endif
		DIE
		d_step {
			if
			:: pin_off[u_c] == u_b + 1 && pin_ph[u_c] == RELEASING && pin_inc[u_c] == u_inc ->
				pin_off[u_c] = 0; pin_ph[u_c] = NONE; pin_inc[u_c] = 0
			:: else
			fi
		};
#ifndef NO_WITHDRAW
		DIE
		finish(u_b, u_self, u_acting, u_self_aux)
#endif
	:: else
	fi;
	y = 0
}

/* skv_pin_disable by the owner. */
inline disable(d_c)
{
	if
	:: pin_ph[d_c] == NONE -> d_step { if :: bits[d_c] -> bits[d_c] = 0; bits_v++ :: else fi }
	:: else
	fi
}

proctype Viewer(byte me; byte c; byte rounds; bit mortal)
{
	byte own, v, o, x, y, z, k, t; bit m0, m1;

	if
	:: rounds == 0 -> goto over
	:: else
	fi;
	do
	:: atomic { owner[c] % 2 == 0 -> owner[c]++; own = owner[c]; break }
	od;
	DIE
#ifndef KEEP_BIT
	disable(c);
#endif
	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
again:
		v = slotv;
		o = slot;
		if
		:: o == NOTHING || slotv != v -> goto next
		:: else
		fi;
		DIE
		/* enable: nothing if the bit is there, as it is with two looks at once. */
		if
		:: bits[c] -> skip
		:: else -> d_step { bits[c] = 1; bits_v++ }
		fi;
		DIE
#ifdef NO_FENCE
		x = (slotv == v);
		DIE
#endif
		d_step { pin_off[c] = o + 1; pin_ph[c] = HELD; pin_inc[c] = own };
		DIE
#ifdef NO_RECHECK
		x = 1;
#endif
		atomic {
#ifndef NO_FENCE
#ifndef NO_RECHECK
			x = (slotv == v);
#endif
#endif
			if
			:: x -> x = 0; holds[c] = o + 1; assert(word[o] == ALLOC || word[o] == RETIRED)
			:: else
			fi
		};
		if
		:: holds[c] == 0 ->
			release(c, o, own, HELD, c, NOTHING, NOTHING);
			disable(c);
			goto next
		:: else
		fi;
		DIE
#ifdef ENDER
		if
		:: me == 0 -> handed = 1; !handed
		:: else -> release(c, o, own, HELD, c, NOTHING, NOTHING)
		fi;
#else
		release(c, o, own, HELD, c, NOTHING, NOTHING);
#endif
		DIE
		disable(c);
next:
		atomic { v = 0; o = 0; x = 0 }
	od;
	DIE
	atomic { assert(owner[c] == own && pin_ph[c] == NONE && !bits[c]); owner[c]++ };
	goto over;
died:
	atomic { judged[c] = own; holds[c] = 0 };
over:
	left--
}

/* Another thread of A's process lets go of what A holds. */
proctype Ender()
{
	byte o, inc, x, y, z, k, t; bit m0, m1, mortal;

	do
	:: handed ->
		o = pin_off[0]; inc = pin_inc[0];
		if
		:: o != 0 -> o--; release(0, o, inc, HELD, NOTHING, NOTHING, NOTHING)
		:: else
		fi;
		handed = 0
	:: left == 1 -> break
	od;
died:
	left--
}

/* Sets and deletes; the new block is taken in one step, block.pml has the rest of it. */
proctype Writer(byte c; int script; bit mortal)
{
	byte op, b, s, v, o, os, x, y, z, k, t; bit m0, m1;

	owner[c] = 1;
	do
	:: script == 0 -> break
	:: else ->
		op = script % 10; script = script / 10;
		b = NOTHING;
		if
		:: op == 1 ->
			if
			:: b = 0
#if NB > 1
			:: b = 1
#endif
#if NB > 2
			:: b = 2
#endif
			fi;
			atomic {
				if
				/* A chunk that is no span becomes one for this record. */
#ifdef RUNS
				:: use[b] == OTHER ->
					use[b] = SPAN; cv[b]++;
					s = next_stamp; next_stamp++; word[b] = ALLOC; stamp[b] = s
				:: else -> b = NOTHING
#else
				:: use[b] == SPAN && word[b] == FREE ->
					s = next_stamp; next_stamp++; word[b] = ALLOC; stamp[b] = s
				:: else -> b = NOTHING
#endif
				fi
			};
			if
			:: b == NOTHING -> goto next
			:: else
			fi
		:: else
		fi;
		/* The only writer: the slot stands still. */
		v = slotv; o = slot;
		if
		:: o == NOTHING -> if :: op == 3 -> goto next :: else fi
		:: else -> os = stamp[o]; old_stamp[c] = os; old_off[c] = o + 1
		fi;
		/* A death before the link would leave the new block to an intent that is not here. */
		d_step {
			slotv = v + 1;
			if :: op == 3 -> slot = NOTHING :: else -> slot = b fi
		};
		DIE
		if
		:: o != NOTHING ->
			settle(o, os, c, NOTHING, NOTHING);
			DIE
			old_off[c] = 0;
			finish(o, c, NOTHING, NOTHING)
		:: else
		fi;
next:
		atomic { b = 0; s = 0; v = 0; o = 0; os = 0; op = 0 }
	od;
	DIE
	owner[c] = 2;
	goto over;
died:
	judged[c] = owner[c];
over:
	left--
}

#ifndef RUNS
/* Takes slabs apart and makes new ones of their chunks; its thread has A's context. */
proctype Collector()
{
	byte b, y, k, n;

	do
	:: n == COLLECTS -> break
	:: else ->
		n++;
		if
		:: b = 0
#if NB > 1
		:: b = 1
#endif
#if NB > 2
		:: b = 2
#endif
		fi;
		d_step { if :: use[b] == SPAN -> use[b] = DISMANTLE; cv[b]++ :: else -> y = 1 fi };
		if
		:: y -> y = 0; goto next
		:: else
		fi;
		d_step { if :: word[b] == FREE -> word[b] = BUSY :: else -> y = 1 fi };
		if
		:: y == 0 -> announced(b, 0, NOTHING, NOTHING)
		:: else
		fi;
		if
		:: y ->
			d_step { if :: word[b] == BUSY -> word[b] = FREE :: else fi };
			d_step { use[b] = SPAN; cv[b]++ };
			y = 0
		:: else ->
			atomic { use[b] = OTHER; cv[b]++; hostile(b) };
			d_step { word[b] = FREE; stamp[b] = 0; use[b] = SPAN; cv[b]++ }
		fi;
next:
		b = 0
	od;
	left--
}
#endif

/* RP1, RP1a, RP2 for the old block, RP5, of context c; r is the reaper's aux word. */
inline reap(q_c, q_r)
{
	own = owner[q_c];
	if
	:: own % 2 == 0 || judged[q_c] != own -> skip
	:: else ->
		d_step { o = pin_off[q_c]; ph = pin_ph[q_c]; inc = pin_inc[q_c] };
		os = old_stamp[q_c];
		b = old_off[q_c];
		if
		:: owner[q_c] != own -> skip
		:: else ->
#ifndef NO_REAP_PINS
			/* The same word until it is 0: another reaper may have gone one step and died. */
			do
			:: o != 0 ->
#ifndef NO_AUX
				aux[q_r] = o;
				DIE
#endif
				if
				:: owner[q_c] == own -> release(q_c, o - 1, inc, ph, NOTHING, q_c, q_r)
				:: else
				fi;
				DIE
				aux[q_r] = 0;
				finish(o - 1, NOTHING, q_c, q_r);
				if
				:: owner[q_c] == own -> d_step { o = pin_off[q_c]; ph = pin_ph[q_c]; inc = pin_inc[q_c] }
				:: else -> o = 0
				fi;
#ifdef LOST_STOPS
				o = 0
#endif
			:: else -> break
			od;
			DIE
			/* skv_pin_disable, until the cell stands still. */
			do
			:: d_step { v = bits_v; y = bits[q_c] };
				if
				:: y && pin_ph[q_c] == NONE && owner[q_c] == own -> skip
				:: else -> break
				fi;
				DIE
				d_step {
					if
#ifdef PLAIN_BIT
					:: true -> bits[q_c] = 0; bits_v++; v = NOTHING
#else
					:: bits_v == v -> bits[q_c] = 0; bits_v++; v = NOTHING
#endif
					:: else
					fi
				};
				if
				:: v == NOTHING -> break
				:: else
				fi
			od;
			y = 0; v = 0;
			DIE
#endif
			if
			:: b != 0 ->
				b--;
				aux[q_r] = b + 1;
				DIE
				look(b);
				if
#ifdef NOT_RETIRED
				:: x == ALLOC && t == os && slot != b && owner[q_c] == own ->
#else
				:: (x == ALLOC || x == RETIRED) && t == os && slot != b && owner[q_c] == own ->
#endif
					settle(b, os, NOTHING, q_c, q_r)
				:: else -> finish(b, NOTHING, q_c, q_r)
				fi;
				x = 0; t = 0;
				DIE
				aux[q_r] = 0;
				finish(b, NOTHING, q_c, q_r)
			:: else
			fi;
			DIE
			d_step { if :: owner[q_c] == own -> owner[q_c] = own + 1 :: else fi };
			/* finish_named */
			if
			:: old_off[q_c] != 0 -> b = old_off[q_c] - 1; finish(b, NOTHING, NOTHING, q_r)
			:: else
			fi
		fi
	fi;
	atomic { own = 0; b = 0; os = 0; o = 0; ph = 0; inc = 0; x = 0; t = 0 }
}

proctype Reaper(byte r; bit mortal)
{
	byte c, own, b, os, o, ph, inc, v, x, y, z, k, t, round; bit m0, m1;

	do
	:: round == ROUNDS -> break
	:: else ->
		round++;
		if
		:: c = 0
#if C > 0
		:: c = 1
#endif
#if DIES >= 8
		:: c = 2
#endif
		fi;
		reap(c, r);
		c = 0
	od;
	goto over;
died:
	/* Its own announcement is settled by whoever recovers it; it is not needed any more. */
	aux[r] = 0;
over:
	left--
}

#ifdef SWEEP
/* sweep_block for blocks that are RETIRED; what is ALLOC is block.pml's. */
proctype Sweeper()
{
	byte b, x, y, z, k, t; bit m0, m1, mortal;

	do
	:: b == NB -> break
	:: else ->
		aux[2] = b + 1;
		look(b);
		if
		:: x == RETIRED -> settle(b, t, NOTHING, NOTHING, 2)
		:: else -> finish(b, NOTHING, NOTHING, 2)
		fi;
		x = 0; t = 0;
		aux[2] = 0;
		finish(b, NOTHING, NOTHING, 2);
		b++
	od;
died:
	left--
}
#endif

/* The last reaper, for whoever died after the others had looked; then the count. */
proctype Check()
{
	byte c, own, b, os, o, ph, inc, v, x, y, z, k, t; bit m0, m1, mortal;

	left == 0;
	do
	:: c == NC -> break
	:: else -> reap(c, 3); c++
	od;
	b = 0;
	do
	:: b == NB -> break
	:: else ->
		/* A reaper that died may leave a run for the next sweep of the chunks. */
#ifdef RUNS
#if REAPERS > 1
		finish(b, NOTHING, NOTHING, 3);
#endif
#if DIES > 0
		finish(b, NOTHING, NOTHING, 3);
#endif
		assert(use[b] == OTHER || (word[b] == ALLOC && slot == b));
		assert(slot != b || use[b] == SPAN);
#else
		assert(use[b] == SPAN);
		assert((word[b] == ALLOC) == (slot == b));
		assert(word[b] == ALLOC || word[b] == FREE);
#endif
		b++
	od;
	b = 0;
	do
	:: b == NC -> break
	:: else -> assert(pin_ph[b] == NONE && !bits[b] && owner[b] % 2 == 0); b++
	od;
	goto over;
died:
	skip;
over:
	skip
}

init {
	byte b;

	atomic {
		/* The key is there at the beginning. */
		b = 0;
		do
		:: b == NB -> break
		:: else ->
#ifdef RUNS
			use[b] = OTHER;
#endif
			b++
		od;
		word[0] = ALLOC; stamp[0] = next_stamp; next_stamp++; use[0] = SPAN; slot = 0; slotv = 1;
		left = 4;
		run Check();
		run Viewer(0, 0, A, DIES % 2 == 1);
		run Viewer(1, 0, B, (DIES / 2) % 2 == 1);
		run Viewer(2, 1, C, (DIES / 4) % 2 == 1);
		run Writer(2, W, (DIES / 8) % 2 == 1);
#ifdef ENDER
		left++;
		run Ender();
#endif
#ifndef RUNS
		left++;
		run Collector();
#endif
#if DIES > 0
		left++;
		run Reaper(0, false);
#if REAPERS > 1
		left++;
		run Reaper(1, true);
#endif
#endif
#ifdef SWEEP
		left++;
		run Sweeper();
#endif
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * join: process slots, lock bytes, contexts that change hands, and who recovers them.
 *
 * Covers shm/peer.c, context ownership in shm/writer.c, and of shm/recover.c RP1, RP5, RP6,
 * adoption of a context and inheritance of a slot. What a context holds is one thing per
 * operation: intent, thing and stamp stand for a block or a chunk with the word that names
 * it; block.pml and span.pml look at those. The kernel drops the byte of whoever dies in the same
 * step.
 *
 * Processes 0 to 3 want WANT0..WANT3 contexts each (threads), do one operation in each, look
 * for the dead when they like, and leave; bit p of DIES says that process p may die
 * instead, between any two shared accesses. A process begins at any time; with CHAIN number 3
 * begins when 0 is over. With UNDECIDED an heir or adopter may find that it cannot settle a
 * context now.
 *
 * In the end every slot and context is free and nothing is held, once the dead have been reaped.
 * Controls, each must fail:
 *   NO_RP1        a reaper does not look at the slot again after it read the owner word
 *   NO_STILL      a reaper does not look at the owner word again after it read the intent
 *   LATE_LOCK     a newcomer claims the slot first and takes the byte then
 *   EARLY_UNLOCK  who leaves drops the byte before the contexts
 *   OWNER_WORD    an heir tells its own context by the owner word
 *   DEBTOR        who could not settle a context that came to it (UNDECIDED) frees its slot
 * Not needed, and shown to be so: looking at the slot again after the byte (NO_REREAD), because
 * RP1 and the burial look at it anyway.
 */

#ifndef NP
#define NP 2
#endif
#ifndef NC
#define NC 2
#endif
#ifndef WANT0
#define WANT0 0
#endif
#ifndef WANT1
#define WANT1 0
#endif
#ifndef WANT2
#define WANT2 0
#endif
#ifndef WANT3
#define WANT3 0
#endif
#ifndef DIES
#define DIES 0
#endif

#define FREE 0
#define JOINING 1
#define LIVE 2

byte pst[NP], pinc[NP], lock[NP];      /* one state word; lock: process + 1 */
byte oproc[NC], oinc[NC];              /* one owner word: slot + 1, or 0; incarnation */
byte intent[NC], thing[NC];            /* stamps */
byte next = 1, maker[32];
bit dead[4], over[4];

#define DIE if :: mortal -> goto died :: skip fi;
#define SLOT_IS(s, st, inc) (pst[s] == (st) && pinc[s] == (inc))
#define OWNER_IS(c, p, i) (oproc[c] == (p) && oinc[c] == (i))

/* RP2 to RP4 of context c, which had the owner word (op, oi). */
inline settle_context(c, op, oi)
{
	s = intent[c];
	if
#ifdef NO_STILL
	:: s != 0 ->
#else
	:: s != 0 && OWNER_IS(c, op, oi) ->
#endif
		DIE
		d_step {
			if
			:: thing[c] == s ->
				/* By stamp, and it is not that of somebody at work. */
				assert(dead[maker[s]]);
				thing[c] = 0
			:: else
			fi
		}
	:: else
	fi;
	s = 0
}

/* skv_peer_is_dead: judged is set, and the state word in jst, jinc */
inline judge(k)
{
	d_step { jst = pst[k]; jinc = pinc[k]; judged = 0 };
	if
	:: jst != FREE ->
		if
		:: lock[k] == 0 ->
#ifdef NO_REREAD
			judged = 1
#else
			if
			:: SLOT_IS(k, jst, jinc) -> judged = 1
			:: else
			fi
#endif
		:: else
		fi
	:: else
	fi
}

/* RP1 to RP6 of slot k, judged dead in state jst, jinc. */
inline reap(k)
{
	c = 0;
	do
	:: judged && c < NC ->
		d_step { vp = oproc[c]; vi = oinc[c] };
		if
		:: vp == k + 1 ->
			if
#ifdef NO_RP1
			:: true ->
#else
			:: SLOT_IS(k, jst, jinc) ->
#endif
				settle_context(c, vp, vi);
				DIE
				d_step { if :: OWNER_IS(c, vp, vi) -> oproc[c] = 0; oinc[c] = vi + 1 :: else fi };
				DIE
				c++
			:: else -> judged = 0
			fi
		:: else -> c++
		fi
	:: else -> break
	od;
	if
	:: judged ->
		d_step {
			if
			:: SLOT_IS(k, jst, jinc) -> pst[k] = FREE; pinc[k] = jinc + 1
			:: else
			fi
		}
	:: else
	fi;
	atomic { c = 0; vp = 0; vi = 0; jst = 0; jinc = 0; judged = 0 }
}

/* Makes context c with owner word (vp, vi) ours and settles it; got says whether. */
inline adopt(c)
{
	d_step {
		got = 0;
		if
		:: OWNER_IS(c, vp, vi) -> oproc[c] = slot + 1; oinc[c] = vi + 1; got = 1
		:: else
		fi
	};
	if
	:: got ->
		DIE
		settle_context(c, slot + 1, vi + 1);
		if
#ifdef UNDECIDED
		:: got = 0; owes = 1
#endif
		:: DIE
		   intent[c] = 0;
		   mine = mine | (1 << c);
		   if
		   :: c == 0 -> own0 = vi + 1
		   :: else -> own1 = vi + 1
		   fi
		fi
	:: else
	fi
}

proctype Process(byte me; byte want; bit mortal)
{
	byte slot, inc, n, c, s, k, vp, vi, jst, jinc, mine, own0, own1;
	bit got, judged, inherited, owes;

	if
	:: want == 0 -> goto gone
	:: else
	fi;
#ifdef CHAIN
	if
	:: me == 3 -> over[0]
	:: else
	fi;
#endif
	/* skv_peer_join: free slots first, then those of the dead. */
	do
	:: n == 2 * NP -> goto gone /* -EUSERS */
	:: n < 2 * NP ->
		slot = n % NP;
		d_step { jst = pst[slot]; inc = pinc[slot] };
		if
		:: (jst != FREE) != (n >= NP) -> n++
		:: else ->
#ifndef LATE_LOCK
			atomic { got = 0; if :: lock[slot] == 0 -> lock[slot] = me + 1; got = 1 :: else fi };
#else
			got = lock[slot] == 0;
#endif
			if
			:: got ->
				DIE
				d_step {
					got = 0;
					if
					:: SLOT_IS(slot, jst, inc) -> pst[slot] = JOINING; pinc[slot] = inc + 1; got = 1
					:: else
					fi
				};
#ifdef LATE_LOCK
				DIE
				if
				:: got -> atomic { lock[slot] == 0; lock[slot] = me + 1 }; break
				:: else -> n++
				fi
#else
				if
				:: got -> break
				:: else -> lock[slot] = 0; n++
				fi
#endif
			:: else -> n++
			fi
		fi
	od;
	atomic { inc++; inherited = n >= NP; n = 0; jst = 0; got = 0 };
	DIE
	d_step { assert(SLOT_IS(slot, JOINING, inc)); pst[slot] = LIVE };
	DIE

	/* skv_recover_inherited */
	if
	:: inherited ->
		c = 0;
		do
		:: c < NC && mine == 0 ->
			d_step { vp = oproc[c]; vi = oinc[c] };
			if
			:: vp == slot + 1 -> adopt(c)
			:: else
			fi;
			c++
		:: else -> break
		od;
		do
		:: c < NC && mine != 0 ->
			d_step { vp = oproc[c]; vi = oinc[c] };
			if
#ifdef OWNER_WORD
			:: vp == slot + 1 && vi != own0 ->
#else
			:: vp == slot + 1 ->
#endif
				settle_context(c, vp, vi);
				if
#ifdef UNDECIDED
				:: owes = 1; goto leave
#endif
				:: DIE
				   d_step { if :: OWNER_IS(c, vp, vi) -> oproc[c] = 0; oinc[c] = vi + 1 :: else fi };
				   DIE
				   c++
				fi
			:: else -> c++
			fi
		:: else -> break
		od;
		atomic { c = 0; vp = 0; vi = 0; got = 0; inherited = 0 }
	:: else
	fi;

	do
	:: n == want -> break
	:: n < want ->
		/* A look for the dead, now and then. */
		if
		:: skip
		:: k = 0;
		   do
		   :: k < NP ->
			judge(k);
			reap(k);
			k++
		   :: else -> k = 0; break
		   od
		fi;
		/* A context that this process has and no thread uses, else a free one. */
		if
		:: mine >= (1 << (n + 1)) - 1 && n == 0 -> c = (mine & 1 -> 0 : 1)
		:: mine == 3 && n == 1 -> c = 1
		:: else ->
			c = 0;
			do
			:: c < NC ->
				d_step { vp = oproc[c]; vi = oinc[c] };
				if
				:: vp == 0 ->
					DIE
					d_step {
						got = 0;
						if
						:: OWNER_IS(c, vp, vi) ->
							oproc[c] = slot + 1; oinc[c] = vi + 1; got = 1;
							mine = mine | (1 << c);
							if
							:: c == 0 -> own0 = vi + 1
							:: else -> own1 = vi + 1
							fi
						:: else
						fi
					};
					if
					:: got -> DIE intent[c] = 0; break
					:: else -> c++
					fi
				:: else -> c++
				fi
			:: else -> break
			od;
			if
			:: c == NC ->
				/* skv_recover_adopt */
				k = 0; got = 0;
				do
				:: k < NP && !got ->
					judge(k);
					c = 0;
					do
					:: judged && c < NC && !got ->
						d_step { vp = oproc[c]; vi = oinc[c] };
						if
						:: vp == k + 1 && SLOT_IS(k, jst, jinc) -> adopt(c)
						:: else
						fi;
						if
						:: !got -> c++
						:: else
						fi
					:: else -> break
					od;
					k++
				:: else -> break
				od;
				atomic { k = 0; jst = 0; jinc = 0; judged = 0; if :: !got -> c = NC :: else fi }
			:: else
			fi
		fi;
		atomic { vp = 0; vi = 0; got = 0 };
		n++;
		if
		:: c < NC ->
			/* One operation. */
			d_step { s = next; maker[s] = me; next++ };
			DIE
			intent[c] = s;
			DIE
			thing[c] = s;
			DIE
			d_step { assert(thing[c] == s); thing[c] = 0 };
			DIE
			intent[c] = 0;
			s = 0
		:: else
		fi;
		c = 0
	od;

leave:
	/* skv_writer_release_all, skv_peer_leave, and the mapping. Who owes the recovery of a
	 * context leaves its slot as if it had died. */
#ifdef EARLY_UNLOCK
	lock[slot] = 0;
#endif
	if
	:: mine & 1 -> DIE d_step { assert(OWNER_IS(0, slot + 1, own0)); oproc[0] = 0; oinc[0] = own0 + 1 }
	:: else
	fi;
	if
	:: mine & 2 -> DIE d_step { assert(OWNER_IS(1, slot + 1, own1)); oproc[1] = 0; oinc[1] = own1 + 1 }
	:: else
	fi;
	DIE
#ifndef DEBTOR
	if
	:: owes -> goto died
	:: else
	fi;
#endif
	d_step { if :: SLOT_IS(slot, LIVE, inc) -> pst[slot] = FREE; pinc[slot] = inc + 1 :: else fi };
#ifndef EARLY_UNLOCK
	if
	:: lock[slot] == me + 1 -> lock[slot] = 0
	:: else
	fi;
#endif
	goto gone;
died:
	atomic {
		dead[me] = 1;
		if
		:: lock[slot] == me + 1 -> lock[slot] = 0
		:: else
		fi
	};
gone:
	over[me] = 1
}

/* Reaps the last ones; then nothing may be left. */
proctype Check()
{
	byte k, c, s, vp, vi, jst, jinc; bit judged, mortal;

	over[0] && over[1] && over[2] && over[3];
	atomic {
		do
		:: k < NP -> judge(k); reap(k); k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < NP -> assert(pst[k] == FREE && lock[k] == 0); k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < NC -> assert(oproc[k] == 0 && thing[k] == 0); k++
		:: else -> break
		od
	};
died:
	skip
}

init {
	atomic {
		run Process(0, WANT0, DIES % 2 == 1);
		run Process(1, WANT1, (DIES / 2) % 2 == 1);
		run Process(2, WANT2, (DIES / 4) % 2 == 1);
		run Process(3, WANT3, (DIES / 8) % 2 == 1);
		run Check()
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * span: what two chunks are used for, and late comers who mistake it.
 *
 * Covers shm/chunk.c, taking slabs apart and runs in shm/arena.c, RULE H in shm/block.c, the
 * sweeper, and RP2, RP4 and RP5 of shm/recover.c. Two chunks, each with one word where a block
 * may begin. The spans are: a slab of class A over both with one block in each, a slab of
 * class B of one chunk and one block, and a run over both, whose record begins in chunk 0 and
 * whose payload fills chunk 1. Payload may be any word that somebody might still expect:
 * ALLOC with an old stamp, or BUSY.
 *
 * In the beginning there is a slab A. Its second block is linked, with stamp 1.
 *
 *   User (context 0)       unlinks that block and settles it; with CACHED it then claims a block
 *                          by a FREE word that it had known from the beginning
 *   Sweeper (context 1)    sweeps both places, with SWEEP
 *   Collector (context 2)  ROUNDS times: takes an empty slab apart, finishes a run whose record is
 *                          free, makes a slab or a run, and gives the run up again
 *   Reaper (context 3)     recovers context 0 and 2 when their owner is dead; REAPERS 1 or 2
 *   Heir                   with HEIR: adopts context 2 and recovers it, announcing in its aux
 *                          word, while the reaper may still be at it; then makes a claim there
 *
 * DIES is a bit per context that may die between any two shared accesses, 8 for the second
 * reaper. No compare-and-swap on a word may succeed while it is payload (ghost pay). In the end,
 * after one sweep, every chunk is FREE or part of a whole span of free blocks; with STRICT
 * runs are given back without that sweep.
 *
 * Controls, each must fail:
 *   NO_SCAN        nobody looks at the announcements
 *   LATE_ANNOUNCE  the announcement comes after the look at the chunk cell and the word
 *   HEAD_FIRST     a run is given back head first
 *   EARLY_HEAD     a run's head is written before its record's word
 *   NO_STILL       the reaper of a claim does not look at the owner word again (needs HEIR)
 *   CLAIM_FIRST    the chunk intent is written after the claim
 *   PLAIN_CLEAR    announcements are taken back without a look at the run (needs STRICT)
 *   PLAIN_GEN      the FREE word is keyed by the head's version only (needs CACHED)
 * Not needed here, and shown to be so: the last look at the chunk cell in settle (NO_CELL).
 */

#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef DIES
#define DIES 0
#endif
#ifndef REAPERS
#define REAPERS 1
#endif

/* Chunk states. */
#define FREE 0
#define CLAIMED 1
#define SLAB 2
#define DISMANTLE 3
#define RUN 4
#define BODY 5
/* Words. */
#define W_FREE 0
#define W_ALLOC 1
#define W_BUSY 2
#define W_OTHER 3

/* Birth version of the first slab: such that a slab in chunk 1 can have the same. */
#define G0 4

#define A 1
#define B 2
#define NONE 255

#ifdef PLAIN_GEN
#define GEN(head, v) (v)
#else
#define GEN(head, v) ((v) * 2 + (head))
#endif

byte cv[2], cst[2], ccl[2], cctx[2], carg[2]; /* chunk cells; arg: birth version, or head */
byte wt[2], ws[2];                            /* the words, with stamp or generation */
bit pay[2];
bit linked = 1;                               /* the slot names block 1 with stamp 1 */
byte next = 2;

#define N_ANN 6
/* 0 old of context 0, 1 new of 0, 2 aux of 1, 3 new of 2, 4 aux of 3, 5 aux of 2; chunk + 1 */
byte ann[N_ANN];
byte stamp0, stamp2;                          /* new_stamp of contexts 0 and 2 */
byte owner[4];                                /* odd: taken */
byte died_as[4];
byte ifirst[4], ilen[4];                      /* chunk intents */
bit over[6];

#define DIE if :: mortal -> goto died :: skip fi;
#define CTX_OF(i) ((i) < 2 -> 0 : ((i) == 2 -> 1 : ((i) == 4 -> 3 : 2)))

inline change(c, ver, st, cl, ctx, arg)
{
	d_step {
		if
		:: cv[c] == ver ->
			cv[c] = ver + 1; cst[c] = st; ccl[c] = cl; cctx[c] = ctx; carg[c] = arg; ok = 1;
			if
			:: st == FREE -> pay[c] = 0
			:: else
			fi
		:: else -> ok = 0
		fi
	}
}

/* lst: the state of the span whose block begins in chunk p, FREE if none does. */
inline locate(p)
{
	d_step { lh = p; lv = cv[p]; lst = cst[p]; lcl = ccl[p]; larg = carg[p] };
	if
	:: lst == BODY ->
		d_step { lh = larg; lv = cv[lh]; lst = cst[lh]; lcl = ccl[lh]; larg = carg[lh] }
	:: else
	fi;
	d_step {
		lg = (lst == RUN -> GEN(lh, lv) : GEN(lh, larg));
		if
		:: (lst == SLAB || lst == DISMANTLE) && (p == lh || (lcl == A && p == lh + 1)) -> skip
		:: (lst == RUN || lst == CLAIMED) && p == lh -> skip
		:: else -> lst = FREE
		fi
	}
}

/* Does anybody but context `self` and the one acted for announce the first n chunks from h? */
inline announced(h, n)
{
	any = 0;
#ifndef NO_SCAN
	q = 0;
	do
	:: q == N_ANN || any -> break
	:: else ->
		d_step {
			if
			:: CTX_OF(q) != self && CTX_OF(q) != acting && owner[CTX_OF(q)] % 2 == 1 &&
			   ann[q] > h && ann[q] <= h + n ->
				any = 1
			:: else
			fi;
			q++
		}
	od;
	q = 0
#endif
}

/* Chunk 1 of a span with head 0, whose cell has version ver. */
inline return_body(ver)
{
	d_step { bv = cv[1]; bst = cst[1]; if :: carg[1] != 0 -> bst = FREE :: else fi };
	ok = 1;
	if
	:: bst == BODY ->
		if
		:: cv[0] == ver -> DIE change(1, bv, FREE, 0, 0, 0); ok = 1
		:: else -> ok = 0
		fi
	:: else
	fi;
	atomic { bv = 0; bst = 0 }
}

/* skv_chunk_return_run of the run with head 0 and version ver */
inline return_run(ver)
{
#ifdef HEAD_FIRST
	announced(0, 1);
	if
	:: any -> skip
	:: else -> change(0, ver, FREE, 0, 0, 0); DIE return_body(ver + 1)
	fi;
#else
	return_body(ver);
	if
	:: ok ->
		announced(0, 1);
		DIE
		if
		:: any -> skip
		:: else -> change(0, ver, FREE, 0, 0, 0)
		fi
	:: else
	fi;
#endif
	any = 0; ok = 0
}

/* skv_arena_finish_run of head 0 */
inline finish_run()
{
	d_step { lv = cv[0]; lst = cst[0] };
	if
	:: lst == RUN ->
		d_step { any = (wt[0] == W_FREE && ws[0] == GEN(0, lv)) };
		if
		:: any && cv[0] == lv -> return_run(lv)
		:: else
		fi
	:: else
	fi;
	atomic { lv = 0; lst = 0; any = 0 }
}

/* skv_block_settle of the block in chunk p with stamp s */
inline settle(p, s)
{
	hit = 0;
	do
	:: true ->
		locate(p);
		if
		:: lst == FREE || lst == CLAIMED -> break
		:: else
		fi;
		if
		:: !(wt[p] == W_ALLOC && ws[p] == s) -> break
		:: else
		fi;
#ifdef NO_CELL
		hit = 1; break
#else
		if
		:: cv[lh] == lv -> hit = 1; break
		:: else
		fi
#endif
	od;
	DIE
	atomic {
		if
		:: hit && wt[p] == W_ALLOC && ws[p] == s ->
			assert(!pay[p]);
			assert(!(p == 1 && s == 1 && linked));
			wt[p] = W_FREE; ws[p] = lg
		:: else -> hit = 0
		fi
	};
	DIE
	if
	:: hit && lst == RUN -> return_run(lv)
	:: else
	fi;
	atomic { hit = 0; lh = 0; lv = 0; lst = 0; lcl = 0; larg = 0; lg = 0 }
}

/* skv_arena_withdraw of announcement i, which names chunk p */
inline withdraw(i, p)
{
	ann[i] = 0;
#ifndef PLAIN_CLEAR
	/* A death from here on leaves a run to the next sweep. */
	if
	:: p == 0 -> finish_run()
	:: else
	fi
#endif
}

/* skv_arena_undismantle of head h, whose DISMANTLE cell has version ver */
inline undismantle(h, ver)
{
	d_step { j = h; lcl = ccl[h]; lg = GEN(h, carg[h]); u = 0 };
	do
	:: u == 0 && j < h + (lcl == A -> 2 : 1) ->
		d_step { t = wt[j]; s = ws[j] };
		if
		:: t == W_BUSY ->
			if
			:: cv[h] == ver ->
				DIE
				d_step {
					if
					:: wt[j] == W_BUSY && ws[j] == s -> assert(!pay[j]); wt[j] = W_FREE; ws[j] = lg
					:: else
					fi
				};
				j++
			:: else -> u = 1
			fi
		:: else -> j++
		fi
	:: else -> break
	od;
	DIE
	if
	:: u == 0 ->
		d_step {
			if
			:: cv[h] == ver -> cv[h] = ver + 1; cst[h] = SLAB; cctx[h] = 0
			:: else
			fi
		}
	:: else
	fi;
	atomic { j = 0; t = 0; s = 0; u = 0; lcl = 0; lg = 0 }
}

proctype User(bit mortal)
{
	byte self = 0, acting = NONE;
	byte lh, lv, lst, lcl, larg, lg, bv, bst, q, s; bit any, ok, hit;

	/* announce_old, the slot's compare-and-swap, settle, withdraw */
	DIE
#ifndef LATE_ANNOUNCE
	ann[0] = 2;
	DIE
	linked = 0;
	settle(1, 1);
#else
	linked = 0;
	locate(1);
	hit = (wt[1] == W_ALLOC && ws[1] == 1 && cv[lh] == lv);
	ann[0] = 2;
	d_step {
		if
		:: hit && wt[1] == W_ALLOC && ws[1] == 1 -> assert(!pay[1]); wt[1] = W_FREE; ws[1] = lg
		:: else
		fi;
		hit = 0; lh = 0; lv = 0; lst = 0; lcl = 0; larg = 0; lg = 0
	};
#endif
	DIE
	withdraw(0, 1);
#ifdef CACHED
	/* A claim by the word that a block of the first slab has when it is free. */
	s = next; next++;
	DIE
	stamp0 = s;
	if
	:: q = 0
	:: q = 1
	fi;
	hit = (wt[q] == W_FREE && ws[q] == GEN(0, G0));
	if
	:: hit ->
		DIE
		bst = q; q = 0;
		ann[1] = bst + 1;
		DIE
		atomic {
			if
			:: wt[bst] == W_FREE && ws[bst] == GEN(0, G0) ->
				/* Still that slab, so the size is right. */
				assert(cst[0] == SLAB || cst[0] == DISMANTLE);
				assert(ccl[0] == A && carg[0] == G0);
				wt[bst] = W_ALLOC; ws[bst] = s; hit = 1
			:: else -> hit = 0
			fi
		};
		DIE
		q = bst; bst = 0;
		if
		:: hit && q == 0 -> settle(0, s); withdraw(1, 0)
		:: hit && q == 1 -> settle(1, s); withdraw(1, 1)
		:: else
		fi;
		DIE
		ann[1] = 0
	:: else
	fi;
#endif
	owner[0]++;
	goto end;
died:
	died_as[0] = owner[0];
end:
	over[0] = 1
}

#ifdef SWEEP
proctype Sweeper(bit mortal)
{
	byte self = 1, acting = NONE;
	byte lh, lv, lst, lcl, larg, lg, bv, bst, q, p, s; bit any, ok, hit;

	do
	:: p == 2 -> break
	:: else ->
		ann[2] = p + 1;
		locate(p);
		if
		:: lst != FREE && lst != CLAIMED ->
			d_step { s = 0; if :: wt[p] == W_ALLOC -> s = ws[p] :: else fi };
			if
			:: s == 0 && lst == RUN -> finish_run()
			:: s == 0 && lst != RUN -> skip
			:: s != 0 ->
				/* in_flight: any context that still names it with this stamp */
				if
				:: owner[0] % 2 == 1 && ann[1] == p + 1 && stamp0 == s -> skip
				:: owner[2] % 2 == 1 && ann[3] == p + 1 && stamp2 == s -> skip
				:: p == 1 && s == 1 && linked -> skip
				:: else -> settle(p, s)
				fi
			fi
		:: else
		fi;
		if
		:: p == 0 -> withdraw(2, 0)
		:: else -> withdraw(2, 1)
		fi;
		p++; s = 0
	od;
	owner[1]++;
died:
	over[1] = 1
}
#endif

proctype Collector(bit mortal)
{
	byte self = 2, acting = NONE, round;
	byte lh, lv, lst, lcl, larg, lg, bv, bst, q, s, j, t, u, h, v, n, cl; bit any, ok, hit;

	do
	:: round == ROUNDS -> break
	:: else ->
		round++;
		/* skv_arena_collect */
		if
		:: h = 0
		:: h = 1
		fi;
		d_step { v = cv[h]; lst = cst[h]; cl = ccl[h]; larg = carg[h] };
		if
		:: lst == RUN && h == 0 -> finish_run()
		:: lst == SLAB ->
			n = (cl == A -> 2 : 1);
			lg = GEN(h, larg);
			if
			:: !(wt[h] == W_FREE && ws[h] == lg) -> goto make
			:: else
			fi;
			if
			:: n == 2 && !(wt[1] == W_FREE && ws[1] == lg) -> goto make
			:: else
			fi;
			/* dismantle */
			s = next; next++;
			DIE
			ifirst[2] = 0; ilen[2] = n;
			ifirst[2] = h + 1;
			DIE
			change(h, v, DISMANTLE, cl, 2, larg);
			if
			:: !ok -> ifirst[2] = 0; goto make
			:: else
			fi;
			v++;
			DIE
			j = 0;
			do
			:: j < n ->
				d_step {
					if
					:: wt[h + j] == W_FREE && ws[h + j] == lg -> wt[h + j] = W_BUSY; ws[h + j] = s; ok = 1
					:: else -> ok = 0
					fi
				};
				if
				:: ok -> DIE j++
				:: else -> break
				fi
			:: else -> break
			od;
			any = 0;
			if
			:: j == n -> announced(h, n)
			:: else
			fi;
			if
			:: j < n || any -> j = 0; undismantle(h, v)
			:: else ->
				/* skv_chunk_return_slab */
				change(h, v, CLAIMED, 0, 2, 0);
				v++;
				DIE
				if
				:: n == 2 -> return_body(v); DIE
				:: else
				fi;
				change(h, v, FREE, 0, 0, 0)
			fi;
			DIE
			ifirst[2] = 0
		:: else
		fi;

make:
		atomic { v = 0; lst = 0; cl = 0; larg = 0; lg = 0; s = 0; j = 0; n = 0; any = 0; ok = 0; h = 0 };
		/* Class A, a run (class 0), or class B in either chunk. */
		if
		:: cl = A; n = 2
		:: cl = 0; n = 2
		:: cl = B; n = 1
		:: cl = B; n = 1; h = 1
		fi;
		/* Claims ascend; what cannot be had is rolled back. */
#ifndef CLAIM_FIRST
		DIE
		ifirst[2] = 0; ilen[2] = n;
		ifirst[2] = h + 1;
#endif
		do
		:: j < n ->
			d_step { v = cv[h + j]; lst = cst[h + j] };
			if
			:: lst != FREE -> break
			:: else ->
				DIE
				change(h + j, v, CLAIMED, 0, 2, 0);
				if
				:: ok -> j++
				:: else -> break
				fi
			fi
		:: else -> break
		od;
#ifdef CLAIM_FIRST
		DIE
		ifirst[2] = 0; ilen[2] = n;
		ifirst[2] = h + 1;
#endif
		lst = 0;
		if
		:: j < n ->
			do
			:: j > 0 -> j--; DIE change(h + j, cv[h + j], FREE, 0, 0, 0)
			:: else -> break
			od;
			DIE
			ifirst[2] = 0;
			goto again
		:: else -> j = 0
		fi;
		v = cv[h];
		DIE
		if
		:: cl == 0 ->
			s = next; next++;
			stamp2 = s;
			DIE
			ann[3] = 1;
			DIE
#ifndef EARLY_HEAD
			d_step { wt[0] = W_ALLOC; ws[0] = s };
			DIE
#endif
			change(1, cv[1], BODY, 0, 0, 0);
			DIE
			change(0, v, RUN, 0, 0, 2);
			DIE
			ifirst[2] = 0;
#ifdef EARLY_HEAD
			DIE
			d_step { wt[0] = W_ALLOC; ws[0] = s };
#endif
			DIE
			/* Payload: what an unlinker, a sweeper or an undo might be waiting for. */
			if
			:: d_step { pay[1] = 1; wt[1] = W_ALLOC; ws[1] = 1 }
			:: d_step { pay[1] = 1; wt[1] = W_BUSY; ws[1] = 2 }
			:: d_step { pay[1] = 1; wt[1] = W_OTHER; ws[1] = 0 }
			fi;
			DIE
			settle(0, s);
			DIE
			withdraw(3, 0)
		:: else ->
			d_step { wt[h] = W_FREE; ws[h] = GEN(h, v + 1) };
			DIE
			if
			:: cl == A ->
				d_step { wt[1] = W_FREE; ws[1] = GEN(h, v + 1) };
				DIE
				change(1, cv[1], BODY, 0, 0, 0);
				DIE
			:: else
			fi;
			change(h, v, SLAB, cl, 0, v + 1);
			DIE
			ifirst[2] = 0
		fi;
again:
		atomic { v = 0; lst = 0; cl = 0; s = 0; j = 0; n = 0; h = 0; ok = 0; any = 0 }
	od;
	owner[2]++;
	goto end;
died:
	died_as[2] = owner[2];
end:
	over[2] = 1
}

#define STILL (owner[x] == own)

/* One block that a dead context names: RP2. i is our own announcement. */
inline settle_named(i, p, st, maybe_linked)
{
	ann[i] = p + 1;
	locate(p);
	if
	:: lst == FREE || lst == CLAIMED -> skip
	:: else ->
		if
		:: wt[p] == W_ALLOC && ws[p] == st ->
			if
			:: maybe_linked && linked && p == 1 && st == 1 -> skip
			:: else ->
				if
				:: STILL -> settle(p, st)
				:: else
				fi
			fi
		:: else ->
			if
			:: lst == RUN -> finish_run()
			:: else
			fi
		fi
	fi;
	if
	:: p == 0 -> withdraw(i, 0)
	:: else -> withdraw(i, 1)
	fi;
	atomic { lh = 0; lv = 0; lst = 0; lcl = 0; larg = 0; lg = 0 }
}

/* RP2 and RP4 of context x, dead with owner word own. */
inline settle_context(i)
{
	n0 = (x == 0 -> ann[0] : 0);
	n1 = (x == 0 -> ann[1] : ann[3]);
	s1 = (x == 0 -> stamp0 : stamp2);
	if
	:: STILL ->
		acting = (self == x -> NONE : x);
		if
		:: n1 != 0 -> settle_named(i, n1 - 1, s1, false)
		:: else
		fi;
		DIE
		if
		:: n0 != 0 -> settle_named(i, n0 - 1, 1, true)
		:: else
		fi;
		DIE
		/* RP4 */
		h = ifirst[x];
		n = ilen[x];
		if
		:: h == 0 -> skip
		:: else ->
			h--;
			d_step { v = cv[h]; lst = cst[h]; if :: cctx[h] != x -> lst = (lst == DISMANTLE || lst == CLAIMED -> FREE : lst) :: else fi };
			if
			:: lst == DISMANTLE ->
				lst = 0;
				ann[i] = h + 1;
				if
				:: STILL -> undismantle(h, v)
				:: else
				fi;
				ann[i] = 0
			:: else ->
				/* skv_chunk_recover; v and lst are the head */
				if
				:: n == 2 ->
					d_step {
						bv = cv[1];
						hit = cst[1] == CLAIMED && cctx[1] == x;
						any = cst[1] == BODY && carg[1] == h
					};
					if
					:: !hit && any && lst == CLAIMED && cv[h] == v -> hit = 1
					:: else
					fi;
					any = 0;
					if
					:: hit ->
#ifdef NO_STILL
						if :: true ->
#else
						if :: STILL ->
#endif
							DIE
							change(1, bv, FREE, 0, 0, 0)
						:: else
						fi
					:: else
					fi;
					atomic { hit = 0; bv = 0 };
					DIE
				:: else
				fi;
				d_step { v = cv[h]; hit = cst[h] == CLAIMED && cctx[h] == x };
				if
				:: hit ->
#ifdef NO_STILL
					if :: true ->
#else
					if :: STILL ->
#endif
						DIE
						change(h, v, FREE, 0, 0, 0)
					:: else
					fi
				:: else
				fi
			fi
		fi;
		atomic { h = 0; n = 0; v = 0; lst = 0; hit = 0; ok = 0 }
	:: else
	fi
}

proctype Reaper(byte i; byte self; bit heir; bit mortal)
{
	byte acting = NONE, x, own;
	byte lh, lv, lst, lcl, larg, lg, bv, bst, q, s, j, t, u, h, v, n, n0, n1, s1; bit any, ok, hit;

	do
	:: x == 4 -> break
	:: else ->
		/* Before that there is nothing to do. */
		if
		:: x == 0 || x == 2 -> over[x]
		:: else
		fi;
		own = owner[x];
		if
		:: own % 2 == 1 && died_as[x] == own && (x == 0 || x == 2) && (!heir || x == 2) ->
			if
			:: heir ->
				/* skv_writer_adopt */
				d_step { ok = 0; if :: owner[x] == own -> owner[x] = own + 2; ok = 1 :: else fi };
				own = own + 2
			:: else -> ok = 1
			fi;
			if
			:: ok ->
				ok = 0;
				settle_context(i);
				acting = NONE;
				if
				:: heir ->
					/* Its context from here on; it gives it back. */
					if :: n1 != 0 -> withdraw(3, n1 - 1) :: else fi;
					/* It makes a claim of its own there. */
					ifirst[2] = 0; ilen[2] = 1;
					ifirst[2] = 1;
					d_step { v = cv[0]; lst = cst[0] };
					if
					:: lst == FREE -> change(0, v, CLAIMED, 0, 2, 0)
					:: else
					fi;
					if
					:: ok -> change(0, v + 1, FREE, 0, 0, 0); assert(ok)
					:: else
					fi;
					ifirst[2] = 0;
					own = own + 1; owner[2] = own
				:: else ->
					DIE
					d_step { if :: owner[x] == own -> owner[x] = own + 1 :: else fi };
					DIE
					/* finish_named */
					if :: n1 == 1 || n0 == 1 -> finish_run() :: else fi
				fi;
				atomic { n0 = 0; n1 = 0; s1 = 0; v = 0; lst = 0; ok = 0 }
			:: else
			fi
		:: else
		fi;
		x++
	od;
died:
	ann[i] = 0
}

/* The last reaper has been; then one sweep for runs, and the count. */
proctype Check()
{
	byte self = 1, acting = NONE, i = 2, x, own;
	byte lh, lv, lst, lcl, larg, lg, bv, bst, q, s, j, t, u, h, v, n, n0, n1, s1; bit any, ok, hit, mortal;

	over[0] && over[2] && _nr_pr == 2;
	atomic {
		do
		:: x == 4 -> break
		:: else ->
			own = owner[x];
			if
			:: own % 2 == 1 && died_as[x] == own ->
				settle_context(i);
				acting = NONE;
				owner[x] = own + 1;
				if :: n1 == 1 || n0 == 1 -> finish_run() :: else fi
			:: else
			fi;
			x++; n0 = 0; n1 = 0
		od;
#ifndef STRICT
		finish_run();
#endif
		assert(cst[0] == FREE || cst[0] == SLAB);
		assert(cst[1] == FREE || cst[1] == SLAB || (cst[1] == BODY && cst[0] == SLAB && ccl[0] == A));
		assert(!(cst[0] == SLAB && ccl[0] == A) || cst[1] == BODY);
		if
		:: cst[0] == SLAB -> assert(wt[0] == W_FREE && ws[0] == GEN(0, carg[0]))
		:: else
		fi;
		if
		:: cst[0] == SLAB && ccl[0] == A ->
			assert((linked && wt[1] == W_ALLOC && ws[1] == 1) ||
			       (!linked && wt[1] == W_FREE && ws[1] == GEN(0, carg[0])))
		:: cst[1] == SLAB -> assert(wt[1] == W_FREE && ws[1] == GEN(1, carg[1]))
		:: else
		fi
	};
died:
	skip
}

init {
	atomic {
		cv[0] = G0; cst[0] = SLAB; ccl[0] = A; carg[0] = G0;
		cv[1] = 1; cst[1] = BODY;
		wt[0] = W_FREE; ws[0] = GEN(0, G0);
		wt[1] = W_ALLOC; ws[1] = 1;
		owner[0] = 1; owner[1] = 1; owner[2] = 1; owner[3] = 1;
		run Check();
		run User(DIES % 2 == 1);
#ifdef SWEEP
		run Sweeper(false);
#endif
		run Collector((DIES / 4) % 2 == 1);
#if DIES
		run Reaper(4, 3, false, false);
#if REAPERS > 1
		run Reaper(2, 1, false, DIES >= 8);
#endif
#ifdef HEIR
		run Reaper(5, 2, true, false);
#endif
#endif
	}
}

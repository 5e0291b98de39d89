/* SPDX-License-Identifier: MIT */
/*
 * leaf: one directory cell, leaves that are replaced by compaction, slots, records.
 *
 * Covers the writers, readers and helpers of shm/index*.c and shm/leaf.c on one position of
 * the directory, with leaves and records recycled the instant they are free. Every process may
 * stop for ever between any two shared accesses: safety is checked in every prefix. With
 * MORTAL one process may die for good, and RP3 of shm/recover.c acts for it.
 *
 * Shared words. A cell is written by one compare-and-swap of version and word, so it is read
 * in one step where the code uses skv_cell_read, and in two (version, then word) where a
 * probe or a route reads it.
 *
 * Ghosts. G[k] is the value of key k (0: absent), changed at the linearization points. seen[p]
 * collects every value that the key of process p's operation had while it ran; an answer
 * must be in it.
 *
 * W0..W3 are scripts, one decimal digit per operation, the last digit first:
 *   1, 2 set key 1, 2    3, 4 delete    5 replace the leaf    6, 7 get
 *
 * NS slots, NL leaves, NB records. Controls, each must fail:
 *   NO_PARENT     RULE P left out
 *   NO_VALID      R5 without looking at the source again
 *   NO_SWITCH     R7 without looking at the source again
 *   NO_GUARD      a reader does not look at the cell's version again
 *   LATE_PARENT   parent and its life are read after the guard
 *   ONE_RESET     a recycled slot keeps its version
 *   ANY_FORWARD   RP3 leaves a dead claimer's child when its source is FORWARD at all
 */

#ifndef NS
#define NS 1
#endif
#ifndef NL
#define NL 3
#endif
#ifndef NB
#define NB 3
#endif
#ifndef W0
#define W0 0
#endif
#ifndef W1
#define W1 0
#endif
#ifndef W2
#define W2 0
#endif
#ifndef W3
#define W3 0
#endif

#define EMPTY 0
#define LIVE 1
#define DEAD 2

#define FREE 0
#define CLAIMED 1
#define ACTIVE 2 /* the header's LIVE */
#define FORWARD 3

#define NONE 255
#define AT(leaf, i) ((leaf) * NS + (i))
#define IN_LIFE(leaf, gen) (hgen[leaf] == (gen) && hst[leaf] == FORWARD)

byte sver[NL * NS], sst[NL * NS], sblk[NL * NS]; bit sfrozen[NL * NS];
byte hgen[NL], hst[NL], hchild[NL]; /* child of FORWARD, claimer of CLAIMED */
byte parent[NL], pgen[NL];
byte dver, dleaf;
byte bkey[NB], bval[NB]; bit bfree[NB];

byte G[3], nextval = 1, seen[4], skey[4];
bit over[4];

#ifdef MORTAL
#ifndef REAPERS
#define REAPERS 1
#endif
/* The second reaper may die as well. */
#define DIE if :: me == MORTAL || me == 5 -> goto died :: skip fi;
bit dead;
byte reaped, ileaf, igen, ichild; /* the rebuild intent of the mortal one */
#define INTEND(word, val) if :: me == MORTAL -> word = val :: else fi;
#else
#define DIE
#define INTEND(word, val)
#endif

inline ghost(k, nv)
{
	G[k] = nv;
	seen[0] = seen[0] | ((skey[0] == k) -> (1 << nv) : 0);
	seen[1] = seen[1] | ((skey[1] == k) -> (1 << nv) : 0);
	seen[2] = seen[2] | ((skey[2] == k) -> (1 << nv) : 0);
	seen[3] = seen[3] | ((skey[3] == k) -> (1 << nv) : 0);
}

/* R7 and R8. Where the code returns because the life is over, the last step fails here. */
inline finish(L, lg, lc)
{
	d_step { t = dver; u = dleaf };
	if
	:: u == L ->
		if
#ifdef NO_SWITCH
		:: true ->
#else
		:: IN_LIFE(L, lg) ->
#endif
			DIE
			d_step {
				if
				:: dver == t && dleaf == L -> dver++; dleaf = lc
				:: else
				fi
			}
		:: else
		fi
	:: else
	fi;
	DIE
	d_step {
		t = 0; u = 0;
		if
		:: IN_LIFE(L, lg) -> hgen[L] = lg + 1; hst[L] = FREE
		:: else
		fi
	}
}

/* R3 to R8 of leaf L that was seen FORWARD to lc in life lg. */
inline complete(L, lg, lc)
{
	/* R3 */
	d_step { ok = 1; i = 0 };
	do
	:: ok && i < NS ->
		d_step { v = sver[AT(L, i)]; st = sst[AT(L, i)]; b = sblk[AT(L, i)]; fz = sfrozen[AT(L, i)] };
		if
		:: fz -> i++
		:: else ->
			if
			:: IN_LIFE(L, lg) ->
				DIE
				d_step {
					if
					:: sver[AT(L, i)] == v && sst[AT(L, i)] == st &&
					   sblk[AT(L, i)] == b && !sfrozen[AT(L, i)] ->
						sfrozen[AT(L, i)] = 1; i++
					:: else
					fi
				}
			:: else -> ok = 0
			fi
		fi
	:: else -> break
	od;

	/* R4: one step is enough, in its life a leaf with every slot frozen does not change. */
	atomic {
		i = 0;
		do
		:: i < NS -> cst[i] = sst[AT(L, i)]; cblk[i] = sblk[AT(L, i)]; i++
		:: else -> break
		od;
		i = 0; pos = 0; v = 0; st = 0; b = 0; fz = 0
	};
	if
	:: ok && !IN_LIFE(L, lg) -> ok = 0
	:: else
	fi;

	/* R5 */
	do
	:: ok && i < NS ->
		if
		:: cst[i] == LIVE ->
			d_step { v = sver[AT(lc, pos)]; st = sst[AT(lc, pos)]; fz = sfrozen[AT(lc, pos)] };
			if
			:: st == EMPTY ->
				if
#ifdef NO_VALID
				:: true ->
#else
				:: IN_LIFE(L, lg) ->
#endif
					DIE
					d_step {
						if
						:: sver[AT(lc, pos)] == v && sst[AT(lc, pos)] == EMPTY &&
						   sfrozen[AT(lc, pos)] == fz ->
							sver[AT(lc, pos)] = v + 1; sst[AT(lc, pos)] = LIVE;
							sblk[AT(lc, pos)] = cblk[i]; sfrozen[AT(lc, pos)] = 0
						:: else
						fi
					}
				:: else -> ok = 0
				fi
			:: else
			fi;
			pos++
		:: else
		fi;
		i++
	:: else -> break
	od;
	atomic {
		i = 0; pos = 0; v = 0; st = 0; fz = 0;
		do
		:: i < NS -> cst[i] = 0; cblk[i] = 0; i++
		:: else -> break
		od;
		i = 0
	};

	/* R6 */
	if
	:: ok ->
		d_step { v = hgen[lc]; st = hst[lc]; b = hchild[lc] };
		if
		:: st == CLAIMED ->
			if
			:: IN_LIFE(L, lg) ->
				DIE
				d_step {
					if
					:: hgen[lc] == v && hst[lc] == CLAIMED && hchild[lc] == b ->
						hst[lc] = ACTIVE; hchild[lc] = 0
					:: else
					fi
				}
			:: else -> ok = 0
			fi
		:: else
		fi
	:: else
	fi;
	d_step { v = 0; st = 0; b = 0 };

	if
	:: ok -> finish(L, lg, lc)
	:: else
	fi;
	ok = 0
}

proctype Process(byte me; int script)
{
	byte op, k, nb = NONE, val;                /* the operation */
	byte dv, S, i, v, st, b, kk; bit fz;       /* route and probe */
	byte g, hs, c, p, pg, t, u, pos; bit ok;   /* replacement */
	byte cst[NS], cblk[NS];

	do
	:: script == 0 -> break
	:: else ->
		d_step {
			op = script % 10; script = script / 10;
			if
			:: op == 2 || op == 4 || op == 7 -> k = 2; op--
			:: else -> k = 1
			fi
		};
		if
		:: op == 1 ->
			d_step {
				nb = 0;
				do
				:: nb < NB && !bfree[nb] -> nb++
				:: else -> break
				od;
				if
				:: nb == NB -> nb = NONE
				:: else -> bfree[nb] = 0; val = nextval; nextval++
				fi
			};
			if
			:: nb == NONE -> goto done
			:: else
			fi;
			bkey[nb] = k;
			bval[nb] = val
		:: else
		fi;
		d_step { skey[me] = k; seen[me] = 1 << G[k] };

route:
		atomic { S = 0; i = 0; v = 0; st = 0; b = 0; kk = 0; fz = 0; g = 0; hs = 0; c = 0; p = 0; pg = 0; ok = 0 };
		dv = dver;
		S = dleaf;
		if
		:: op == 5 -> goto replace
		:: else
		fi;

probe:
		if
		:: i == NS ->
			if
			:: op == 1 -> goto replace
			:: else -> goto absent
			fi
		:: else
		fi;
		v = sver[AT(S, i)];
		d_step { st = sst[AT(S, i)]; b = sblk[AT(S, i)]; fz = sfrozen[AT(S, i)] };
		if
		:: st == EMPTY -> goto absent
		:: st == DEAD -> i++; goto probe
		:: else
		fi;
		kk = bkey[b];
		if
		:: kk != k ->
			if
			:: sver[AT(S, i)] != v -> goto probe
			:: else -> i++; goto probe
			fi
		:: else
		fi;

		/* FOUND */
		if
		:: op == 6 ->
			kk = bval[b];
			if
			:: sver[AT(S, i)] != v -> goto route
			:: else
			fi;
#ifndef NO_GUARD
			if
			:: dver != dv -> goto route
			:: else
			fi;
#endif
			assert(kk != 0 && (seen[me] & (1 << kk)));
			goto done
		:: else
		fi;
		if
		:: fz -> goto replace
		:: else
		fi;
		if
		:: dver != dv -> goto route
		:: else
		fi;
		d_step {
			ok = 0;
			if
			:: sver[AT(S, i)] == v && sst[AT(S, i)] == LIVE && sblk[AT(S, i)] == b && !sfrozen[AT(S, i)] ->
				assert(G[k] != 0 && G[k] == bval[b]);
				sver[AT(S, i)] = v + 1; ok = 1;
				if
				:: op == 3 -> sst[AT(S, i)] = DEAD; sblk[AT(S, i)] = 0; ghost(k, 0)
				:: else -> sblk[AT(S, i)] = nb; ghost(k, val)
				fi
			:: else
			fi
		};
		if
		:: !ok -> goto route
		:: else
		fi;
		/* settle: recycled at once */
		d_step { bkey[b] = 0; bval[b] = 0; bfree[b] = 1 };
		goto done;

absent:
		if
		:: op == 1 && fz -> goto replace
		:: else
		fi;
#ifdef NO_GUARD
		if
		:: op != 6 && dver != dv -> goto route
		:: else
		fi;
#else
		if
		:: dver != dv -> goto route
		:: else
		fi;
#endif
		if
		:: op != 1 -> assert(seen[me] & 1); goto done
		:: else
		fi;
		d_step {
			ok = 0;
			if
			:: sver[AT(S, i)] == v && sst[AT(S, i)] == EMPTY && !sfrozen[AT(S, i)] ->
				assert(G[k] == 0);
				sver[AT(S, i)] = v + 1; sst[AT(S, i)] = LIVE; sblk[AT(S, i)] = nb; ok = 1;
				ghost(k, val)
			:: else
			fi
		};
		if
		:: !ok -> goto route
		:: else -> goto done
		fi;

replace:
		atomic { v = 0; st = 0; b = 0; kk = 0; fz = 0; i = 0; ok = 0 };
		/* R0 */
		d_step { g = hgen[S]; hs = hst[S]; c = hchild[S] };
#ifndef LATE_PARENT
		p = parent[S];
		pg = pgen[S];
#endif
		if
		:: dver != dv -> goto route
		:: else
		fi;
#ifdef LATE_PARENT
		p = parent[S];
		pg = pgen[S];
#endif
#ifndef NO_PARENT
		if
		:: p != 0 ->
			d_step { p--; st = hst[p]; b = hchild[p]; if :: hgen[p] != pg -> st = FREE :: else fi };
			if
			:: st == FORWARD -> finish(p, pg, b); goto replaced
			:: else
			fi
		:: else
		fi;
#endif
		d_step { p = 0; pg = 0; st = 0; b = 0 };

		if
		:: hs == FORWARD -> complete(S, g, c); goto replaced
		:: hs == FREE || hs == CLAIMED ->
			/* -EBADMSG if the route still holds */
			assert(dver != dv);
			goto route
		:: else
		fi;

		/* R1 */
		INTEND(ichild, 0)
		INTEND(igen, g)
		DIE
		INTEND(ileaf, S + 1)
claim:
		atomic {
			c = 0;
			do
			:: c < NL && hst[c] != FREE -> c++
			:: else -> break
			od;
			if
			:: c < NL -> u = hgen[c]
			:: else -> c = NONE
			fi
		};
		if
		:: c == NONE ->
			/* -ENOSPC */
			INTEND(ileaf, 0)
			if
			:: nb != NONE -> bfree[nb] = 1
			:: else
			fi;
			goto done
		:: else
		fi;
		DIE
		INTEND(ichild, c + 1)
		DIE
		d_step {
			ok = 0;
			if
			:: hst[c] == FREE && hgen[c] == u -> hst[c] = CLAIMED; hchild[c] = me; ok = 1
			:: else
			fi;
			u = 0
		};
		if
		:: !ok -> goto claim
		:: else
		fi;
		do
		:: i < NS ->
			DIE
#ifndef ONE_RESET
			sver[AT(c, i)] = sver[AT(c, i)] + 1;
			DIE
#endif
			d_step { sst[AT(c, i)] = EMPTY; sblk[AT(c, i)] = 0; sfrozen[AT(c, i)] = 0; i++ }
		:: else -> i = 0; break
		od;
		parent[c] = S + 1;
		pgen[c] = g;
		DIE

		/* R2 */
		d_step {
			ok = 0;
			if
			:: hgen[S] == g && hst[S] == ACTIVE -> hst[S] = FORWARD; hchild[S] = c; ok = 1
			:: else
			fi
		};
		DIE
		if
		:: ok -> complete(S, g, c)
		:: else ->
			d_step {
				if
				:: hst[c] == CLAIMED && hchild[c] == me -> hgen[c]++; hst[c] = FREE; hchild[c] = 0
				:: else
				fi
			}
		fi;
		DIE
		INTEND(ileaf, 0)
replaced:
		if
		:: op != 5 -> goto route
		:: else
		fi;
done:
		atomic {
			skey[me] = 0; seen[me] = 0; nb = NONE; op = 0; k = 0; val = 0; dv = 0; S = 0; i = 0;
			v = 0; st = 0; b = 0; kk = 0; fz = 0; g = 0; hs = 0; c = 0; p = 0; pg = 0; ok = 0; t = 0; u = 0
		}
	od;
#ifdef MORTAL
	goto alive;
died:
	atomic { skey[me] = 0; seen[me] = 0; dead = 1 };
	(reaped == REAPERS);
alive:
#endif
	over[me] = 1
}

#ifdef MORTAL
/* RP3 */
proctype Reaper(byte me)
{
	byte S, g, i, v, st, b, c, t, u, pos; bit fz, ok;
	byte cst[NS], cblk[NS];

	dead;
	S = ileaf;
	g = igen;
	if
	:: S == 0 -> goto done
	:: else -> S--
	fi;
	/* skv_leaf_finish_life */
	d_step { st = hst[S]; c = hchild[S]; if :: hgen[S] != g -> st = FREE :: else fi };
	if
	:: st == FORWARD -> st = 0; complete(S, g, c)
	:: else -> st = 0
	fi;
	c = ichild;
	if
	:: c == 0 -> goto done
	:: else -> c--
	fi;
	d_step { v = hgen[c]; st = hst[c]; b = hchild[c] };
	if
	:: st != CLAIMED || b != MORTAL -> goto done
	:: else
	fi;
#ifdef ANY_FORWARD
	if
	:: IN_LIFE(S, g) -> goto done
	:: else
	fi;
#else
	if
	:: IN_LIFE(S, g) && hchild[S] == c -> goto done
	:: else
	fi;
#endif
	DIE
	d_step {
		if
		:: hgen[c] == v && hst[c] == CLAIMED && hchild[c] == MORTAL ->
			hgen[c] = v + 1; hst[c] = FREE; hchild[c] = 0
		:: else
		fi
	};
done:
died:
	reaped++
}
#endif

/* When all is over each leaf is free, or it is the one that governs. */
proctype Check()
{
	byte i;

	over[0] && over[1] && over[2] && over[3];
	do
	:: i < NL -> assert(hst[i] == FREE || (hst[i] == ACTIVE && dleaf == i)); i++
	:: else -> break
	od
}

init {
	atomic {
		byte x = 0;
		do
		:: x < NB -> bfree[x] = 1; x++
		:: else -> break
		od;
		x = 0;
		hst[0] = ACTIVE;
		run Process(0, W0);
		if :: W1 != 0 -> run Process(1, W1) :: else -> over[1] = 1 fi;
		if :: W2 != 0 -> run Process(2, W2) :: else -> over[2] = 1 fi;
		if :: W3 != 0 -> run Process(3, W3) :: else -> over[3] = 1 fi;
#ifdef MORTAL
		run Reaper(4);
#if REAPERS > 1
		run Reaper(5);
#endif
#endif
		run Check()
	}
}

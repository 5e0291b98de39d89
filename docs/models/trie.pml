/* SPDX-License-Identifier: MIT */
/*
 * trie: the directory of shm/directory.c, with leaves that are split and compacted.
 *
 * Levels 0 to LEVELS. Cell number (1 << level) - 1 + index, as in the code. A leaf shorter
 * than LEVELS is split when it is replaced, others are compacted; a leaf at any level can be
 * compacted on demand. Look-ups begin at any level, chosen anew each time: the root word is
 * only a hint, so every value of it is allowed. Slots, records, ghosts and scripts are those of
 * leaf.pml; key 1 and key 2 share a leaf until the split at level LEVELS - 1 parts them.
 *
 * Scripts, the last digit first: 1, 2 set key 1, 2   3, 4 delete   5, 8 replace the leaf of
 * key 1, 2 (split where possible)   6, 7 get   9 compact the leaf of key 1
 *
 * Controls, each must fail:
 *   NO_UNBORN      children's cells are written as LEAF before the switch
 *   UNBORN_RULES   a look-up takes an UNBORN cell for governing
 *   NO_PARENT      RULE P left out
 *   NO_GUARD       a reader does not look at the governing cell's version again
 *   NO_VALID       R5 without looking at the source again
 *   NO_SWITCH      R7 without looking at the source again before the governing cell changes
 *   EARLY_SWITCH   R7 writes the governing cell before the children's
 * Not needed, and shown to be so: looking at the source again before NONE -> UNBORN
 * (NO_NONE_CHECK) and before UNBORN -> LEAF (NO_BORN_CHECK). Both states of a cell come once.
 */

#ifndef LEVELS
#define LEVELS 1
#endif
#ifndef NS
#define NS 1
#endif
#ifndef NL
#define NL 4
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
#define ACTIVE 2
#define FORWARD 3

#define D_NONE 0
#define D_LEAF 1
#define D_UNBORN 2
#define D_SPLIT 3

#define NOTHING 255
#define AT(leaf, i) ((leaf) * NS + (i))
#define IN_LIFE(leaf, gen) (hgen[leaf] == (gen) && hst[leaf] == FORWARD)
#if LEVELS == 1
#define CELLS 3
#else
#define CELLS 7
#endif
/* Keys differ in the last bit of their prefix at level LEVELS. */
#define INDEX(k, level) ((level) == LEVELS -> (k) - 1 : 0)
#define CELL(k, level) ((1 << (level)) - 1 + INDEX(k, level))

byte sver[NL * NS], sst[NL * NS], sblk[NL * NS], skeyed[NL * NS]; bit sfrozen[NL * NS];
byte hgen[NL], hst[NL], child0[NL], child1[NL]; /* child1: NOTHING for a compaction */
byte parent[NL], pgen[NL], depth[NL], prefix[NL];
byte cver[CELLS], ckind[CELLS], cleaf[CELLS];
byte bkey[NB], bval[NB]; bit bfree[NB];

byte G[3], nextval = 1, seen[4], skey[4];
bit over[4];

inline ghost(k, nv)
{
	G[k] = nv;
	seen[0] = seen[0] | ((skey[0] == k) -> (1 << nv) : 0);
	seen[1] = seen[1] | ((skey[1] == k) -> (1 << nv) : 0);
	seen[2] = seen[2] | ((skey[2] == k) -> (1 << nv) : 0);
	seen[3] = seen[3] | ((skey[3] == k) -> (1 << nv) : 0);
}

/* One child's cell: NONE -> UNBORN(child). */
inline unborn(L, lg, cell, lc)
{
	d_step { t = cver[cell]; u = ckind[cell] };
	if
	:: ok && u == D_NONE ->
		if
#ifdef NO_NONE_CHECK
		:: true ->
#else
		:: IN_LIFE(L, lg) ->
#endif
			d_step {
				if
				:: cver[cell] == t ->
					cver[cell] = t + 1; cleaf[cell] = lc;
#ifdef NO_UNBORN
					ckind[cell] = D_LEAF
#else
					ckind[cell] = D_UNBORN
#endif
				:: else
				fi
			}
		:: else -> ok = 0
		fi
	:: else
	fi
}

/* One child's cell: UNBORN -> LEAF. */
inline born(L, lg, cell)
{
	d_step { t = cver[cell]; u = ckind[cell] };
	if
	:: ok && u == D_UNBORN ->
		if
#ifdef NO_BORN_CHECK
		:: true ->
#else
		:: IN_LIFE(L, lg) ->
#endif
			d_step {
				if
				:: cver[cell] == t -> cver[cell] = t + 1; ckind[cell] = D_LEAF
				:: else
				fi
			}
		:: else -> ok = 0
		fi
	:: else
	fi
}

/* The governing cell: LEAF(L) -> SPLIT or LEAF(child). */
inline switch_cell(L, lg, lc0, lc1)
{
	d_step { t = cver[ce]; u = ckind[ce]; if :: cleaf[ce] != L -> u = D_NONE :: else fi };
	if
	:: ok && u == D_LEAF ->
		if
#ifdef NO_SWITCH
		:: true ->
#else
		:: IN_LIFE(L, lg) ->
#endif
			d_step {
				if
				:: cver[ce] == t ->
					cver[ce] = t + 1;
					if
					:: lc1 == NOTHING -> cleaf[ce] = lc0
					:: else -> ckind[ce] = D_SPLIT; cleaf[ce] = 0
					fi
				:: else
				fi
			}
		:: else -> ok = 0
		fi
	:: else
	fi
}

/* R7 and R8. */
inline finish(L, lg, lc0, lc1)
{
	/* Depth and prefix, true if the life is still that one afterwards. */
	d_step { ok = 1; t = depth[L]; u = prefix[L]; ce = (1 << t) - 1 + u; cc = (2 << t) - 1 + 2 * u };
	if
	:: !IN_LIFE(L, lg) -> ok = 0
	:: else
	fi;
	if
	:: ok && lc1 == NOTHING -> switch_cell(L, lg, lc0, lc1)
	:: ok && lc1 != NOTHING ->
#ifdef EARLY_SWITCH
		switch_cell(L, lg, lc0, lc1);
#endif
		unborn(L, lg, cc, lc0);
		unborn(L, lg, cc + 1, lc1);
#ifndef EARLY_SWITCH
		switch_cell(L, lg, lc0, lc1);
#endif
		born(L, lg, cc);
		born(L, lg, cc + 1)
	:: else
	fi;
	d_step {
		t = 0; u = 0; ce = 0; cc = 0;
		if
		:: ok && IN_LIFE(L, lg) -> hgen[L] = lg + 1; hst[L] = FREE
		:: else
		fi;
		ok = 0
	}
}

/* One entry of R5, into the slot that every helper computes. */
inline build(L, lg, lc, pos)
{
	d_step { v = sver[AT(lc, pos)]; st = sst[AT(lc, pos)]; fz = sfrozen[AT(lc, pos)] };
	if
	:: st == EMPTY ->
		if
#ifdef NO_VALID
		:: true ->
#else
		:: IN_LIFE(L, lg) ->
#endif
			d_step {
				if
				:: sver[AT(lc, pos)] == v && sst[AT(lc, pos)] == EMPTY && sfrozen[AT(lc, pos)] == fz ->
					sver[AT(lc, pos)] = v + 1; sst[AT(lc, pos)] = LIVE;
					sblk[AT(lc, pos)] = cblk[i]; skeyed[AT(lc, pos)] = ckey[i];
					sfrozen[AT(lc, pos)] = 0
				:: else
				fi
			}
		:: else -> ok = 0
		fi
	:: else
	fi;
	pos++
}

/* R6 for one child. */
inline child_live(L, lg, lc)
{
	d_step { v = hgen[lc]; st = hst[lc]; b = child0[lc] };
	if
	:: st == CLAIMED ->
		if
		:: IN_LIFE(L, lg) ->
			d_step {
				if
				:: hgen[lc] == v && hst[lc] == CLAIMED && child0[lc] == b -> hst[lc] = ACTIVE; child0[lc] = 0
				:: else
				fi
			}
		:: else -> ok = 0
		fi
	:: else
	fi
}

inline complete(L, lg, lc0, lc1)
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

	/* R4 */
	atomic {
		i = 0;
		do
		:: i < NS -> cst[i] = sst[AT(L, i)]; cblk[i] = sblk[AT(L, i)]; ckey[i] = skeyed[AT(L, i)]; i++
		:: else -> break
		od;
		i = 0; p0 = 0; p1 = 0; v = 0; st = 0; b = 0; fz = 0; t = depth[L]
	};
	if
	:: ok && !IN_LIFE(L, lg) -> ok = 0
	:: else
	fi;

	/* R5 */
	do
	:: ok && i < NS ->
		if
		:: cst[i] == LIVE && lc1 != NOTHING && INDEX(ckey[i], t + 1) == 1 -> build(L, lg, lc1, p1)
		:: cst[i] == LIVE && !(lc1 != NOTHING && INDEX(ckey[i], t + 1) == 1) -> build(L, lg, lc0, p0)
		:: else
		fi;
		i++
	:: else -> break
	od;
	atomic {
		i = 0; p0 = 0; p1 = 0; v = 0; st = 0; fz = 0; t = 0;
		do
		:: i < NS -> cst[i] = 0; cblk[i] = 0; ckey[i] = 0; i++
		:: else -> break
		od;
		i = 0
	};

	/* R6 */
	if
	:: ok -> child_live(L, lg, lc0)
	:: else
	fi;
	if
	:: ok && lc1 != NOTHING -> child_live(L, lg, lc1)
	:: else
	fi;
	atomic { v = 0; st = 0; b = 0 };

	if
	:: ok -> finish(L, lg, lc0, lc1)
	:: else
	fi;
	ok = 0
}

/* A free leaf in x, claimed; NOTHING if there is none. */
inline claim(x)
{
	atomic {
		x = 0;
		do
		:: x < NL && hst[x] != FREE -> x++
		:: else -> break
		od;
		if
		:: x == NL -> x = NOTHING
		:: else -> hst[x] = CLAIMED; child0[x] = me
		fi
	}
}

inline reset(x)
{
	do
	:: i < NS ->
		sver[AT(x, i)] = sver[AT(x, i)] + 1;
		d_step { sst[AT(x, i)] = EMPTY; sblk[AT(x, i)] = 0; skeyed[AT(x, i)] = 0; sfrozen[AT(x, i)] = 0; i++ }
	:: else -> i = 0; break
	od
}

inline give_back(x)
{
	d_step {
		if
		:: x != NOTHING && hst[x] == CLAIMED && child0[x] == me -> hgen[x]++; hst[x] = FREE; child0[x] = 0
		:: else
		fi
	}
}

proctype Process(byte me; int script)
{
	byte op, k, nb = NOTHING, val;
	byte cell, cv, S, level, child;            /* route; child: UNBORN cell + 1 */
	byte chv, chl;
	byte i, v, st, b, kk; bit fz;              /* probe */
	byte g, hs, c, c1, p, pg, q0, q1, t, u, p0, p1, ce, cc; bit ok, whole, down;
	byte cst[NS], cblk[NS], ckey[NS];

	do
	:: script == 0 -> break
	:: else ->
		d_step {
			op = script % 10; script = script / 10; k = 1;
			if
			:: op == 2 || op == 4 || op == 7 -> k = 2; op--
			:: op == 8 -> k = 2; op = 5
			:: op == 9 -> whole = 1; op = 5
			:: else
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
				:: nb == NB -> nb = NOTHING
				:: else -> bfree[nb] = 0; val = nextval; nextval++
				fi
			};
			if
			:: nb == NOTHING -> goto done
			:: else
			fi;
			bkey[nb] = k;
			bval[nb] = val
		:: else
		fi;
		d_step { skey[me] = k; seen[me] = 1 << G[k] };

route:
		atomic {
			cell = 0; cv = 0; S = 0; i = 0; v = 0; st = 0; b = 0; kk = 0; fz = 0; g = 0; hs = 0; c = 0;
			c1 = 0; p = 0; pg = 0; q0 = 0; q1 = 0; ok = 0; down = 0; child = 0; chv = 0; chl = 0
		};
		/* The root word says any level. */
		if
		:: level = 0
		:: level = 1
#if LEVELS > 1
		:: level = 2
#endif
		fi;
walk:
		cell = CELL(k, level);
		cv = cver[cell];
		d_step { st = ckind[cell]; S = cleaf[cell] };
		if
		:: st == D_LEAF -> skip
		:: st == D_SPLIT ->
			if
			:: child != 0 && child - 1 == CELL(k, level + 1) ->
				/* Unborn when it was read, governing since the switch above it. */
				atomic { cell = child - 1; cv = chv; S = chl; level++ }
			:: else ->
				assert(level < LEVELS);
				level++; down = 1; goto walk
			fi
		:: st == D_UNBORN ->
#ifdef UNBORN_RULES
			skip
#else
			atomic { child = cell + 1; chv = cv; chl = S };
			assert(level > 0);
			level--; goto walk
#endif
		:: else ->
			/* Below a SPLIT there is always a leaf: nobody waits for the splitter. */
			assert(level > 0 && !down);
			child = 0; level--; goto walk
		fi;
		atomic { down = 0; st = 0; child = 0; chv = 0; chl = 0 };
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
			:: cver[cell] != cv -> goto route
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
		:: cver[cell] != cv -> goto route
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
		d_step { bkey[b] = 0; bval[b] = 0; bfree[b] = 1 };
		goto done;

absent:
		if
		:: op == 1 && fz -> goto replace
		:: else
		fi;
#ifdef NO_GUARD
		if
		:: op != 6 && cver[cell] != cv -> goto route
		:: else
		fi;
#else
		if
		:: cver[cell] != cv -> goto route
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
				sver[AT(S, i)] = v + 1; sst[AT(S, i)] = LIVE; sblk[AT(S, i)] = nb; skeyed[AT(S, i)] = k;
				ok = 1;
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
		d_step { g = hgen[S]; hs = hst[S]; c = child0[S]; c1 = child1[S] };
		p = parent[S];
		pg = pgen[S];
		if
		:: cver[cell] != cv -> goto route
		:: else
		fi;
#ifndef NO_PARENT
		if
		:: p != 0 ->
			d_step {
				p--; st = hst[p]; q0 = child0[p]; q1 = child1[p];
				if :: hgen[p] != pg -> st = FREE :: else fi
			};
			if
			:: st == FORWARD -> st = 0; finish(p, pg, q0, q1); goto replaced
			:: else
			fi
		:: else
		fi;
#endif
		atomic { p = 0; pg = 0; st = 0; q0 = 0; q1 = 0 };

		if
		:: hs == FORWARD -> complete(S, g, c, c1); goto replaced
		:: hs == FREE || hs == CLAIMED -> assert(cver[cell] != cv); goto route
		:: else
		fi;

		/* R1 */
		claim(c);
		if
		:: c == NOTHING -> goto no_space
		:: else
		fi;
		c1 = NOTHING;
		if
		:: level < LEVELS && !whole ->
			claim(c1);
			if
			:: c1 == NOTHING -> give_back(c); goto no_space
			:: else
			fi;
			reset(c1);
			atomic { parent[c1] = S + 1; pgen[c1] = g; depth[c1] = level + 1; prefix[c1] = 2 * INDEX(k, level) + 1 }
		:: else
		fi;
		reset(c);
		atomic {
			parent[c] = S + 1; pgen[c] = g;
			if
			:: c1 == NOTHING -> depth[c] = level; prefix[c] = INDEX(k, level)
			:: else -> depth[c] = level + 1; prefix[c] = 2 * INDEX(k, level)
			fi
		};

		/* R2 */
		d_step {
			ok = 0;
			if
			:: hgen[S] == g && hst[S] == ACTIVE -> hst[S] = FORWARD; child0[S] = c; child1[S] = c1; ok = 1
			:: else
			fi
		};
		if
		:: ok -> complete(S, g, c, c1)
		:: else -> give_back(c); give_back(c1)
		fi;
replaced:
		if
		:: op != 5 -> goto route
		:: else -> goto done
		fi;
no_space:
		if
		:: nb != NOTHING -> bfree[nb] = 1
		:: else
		fi;
done:
		atomic {
			skey[me] = 0; seen[me] = 0; nb = NOTHING; op = 0; k = 0; val = 0; whole = 0; cell = 0; cv = 0;
			S = 0; i = 0; v = 0; st = 0; b = 0; kk = 0; fz = 0; g = 0; hs = 0; c = 0; c1 = 0; p = 0; pg = 0;
			q0 = 0; q1 = 0; ok = 0; t = 0; u = 0; ce = 0; cc = 0; level = 0; child = 0; chv = 0; chl = 0
		}
	od;
	over[me] = 1
}

/* When all is over: every leaf is free or named by the cell of its prefix, and the cells
 * form a trie. */
proctype Check()
{
	byte i, j;

	over[0] && over[1] && over[2] && over[3];
	d_step {
		do
		:: i < NL ->
			j = (1 << depth[i]) - 1 + prefix[i];
			assert(hst[i] == FREE || (hst[i] == ACTIVE && ckind[j] == D_LEAF && cleaf[j] == i));
			i++
		:: else -> break
		od;
		i = 1;
		do
		:: i < CELLS ->
			assert((ckind[i] == D_NONE) == (ckind[(i - 1) / 2] != D_SPLIT));
			assert(ckind[i] != D_UNBORN);
			i++
		:: else -> break
		od
	}
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
		ckind[0] = D_LEAF;
		cver[0] = 1;
		run Process(0, W0);
		if :: W1 != 0 -> run Process(1, W1) :: else -> over[1] = 1 fi;
		if :: W2 != 0 -> run Process(2, W2) :: else -> over[2] = 1 fi;
		if :: W3 != 0 -> run Process(3, W3) :: else -> over[3] = 1 fi;
		run Check()
	}
}

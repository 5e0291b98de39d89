/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEERS_RCU_GRAVE_H
#define SHMKV_BENCH_PEERS_RCU_GRAVE_H

/*
 * rcu-grave: entries that were taken out of a table while others may still read them. They are
 * freed many at a time, behind one grace period of liburcu.
 */

#include <stdlib.h>

#include <urcu/urcu-memb.h>

#define GRAVE_SIZE 1024u

struct rcu_grave {
	void *dead[GRAVE_SIZE];
	unsigned int n;
};

static inline void rcu_grave_empty(struct rcu_grave *grave)
{
	unsigned int i;

	if (grave->n > 0)
		urcu_memb_synchronize_rcu();
	for (i = 0; i < grave->n; i++)
		free(grave->dead[i]);
	grave->n = 0;
}

/* Not inside a read-side section. */
static inline void rcu_grave_bury(struct rcu_grave *grave, void *entry)
{
	if (!entry)
		return;
	grave->dead[grave->n++] = entry;
	if (grave->n == GRAVE_SIZE)
		rcu_grave_empty(grave);
}

#endif

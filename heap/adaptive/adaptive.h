/* SPDX-License-Identifier: MIT */
#ifndef SKV_HEAP_ADAPTIVE_ADAPTIVE_H
#define SKV_HEAP_ADAPTIVE_ADAPTIVE_H

/*
 * adaptive: the map behind "heap:adaptive": which tables it has, and when entries move from
 * one to another. Protocol: see adaptive.c.
 */

#include "heap/adaptive/chain.h"
#include "heap/adaptive/robin.h"

#include <shmkv/heap.h>

/* What one operation may have to tell the caller's function. One or two are usual. */
#define SKV_ADAPTIVE_EVENTS 32u

struct skv_adaptive_events {
	unsigned int n;
	struct shmkv_adaptive_event items[SKV_ADAPTIVE_EVENTS];
};

struct skv_adaptive {
	struct skv_heap heap;
	/* Readers begin here. Of its own line: written only when a table comes or goes. */
	void *first __attribute__((aligned(64))); /* struct skv_table */
	struct shmkv_adaptive_options opts;       /* complete, fixed */
	/* the writer's */
	struct skv_table *last __attribute__((aligned(64)));
	unsigned int n_tables;
	uint64_t settling;     /* unhealthy writes to go before chaining is left again */
	unsigned int patience; /* writes to go before memory for a table is asked for again */
	uint64_t move_pos;     /* in the first table */
	uint64_t probe_max_16; /* of opts, in sixteenths */
	uint64_t tombstones_max;
	uint64_t compacted_at_ms;
	uint32_t n_writes;
	uint64_t large_from; /* entries with which it is told to be large; once */
	uint64_t migrations, compactions, resizes, moved;
};

/* The scan's part of the engine: adaptive-scan.c. */
int skv_adaptive_scan_begin(void *map, uint64_t cursor, void **ret_scan);
int skv_adaptive_scan_next(void *scan, struct shmkv_entry *ret_entry);
uint64_t skv_adaptive_scan_cursor(const void *scan);
void skv_adaptive_scan_end(void *scan);

/* Options: adaptive-options.c. Returns 0 or -EINVAL. */
int skv_adaptive_options_read(const struct shmkv_adaptive_options *given,
			      struct shmkv_adaptive_options *ret_opts);

/* Numbers and invariants: adaptive-inspect.c. */
int skv_adaptive_info(void *map, struct shmkv_info *info);
int skv_adaptive_health(void *map, struct shmkv_adaptive_info *info);
int skv_adaptive_check(void *map, void (*fn)(const char *violation, void *arg), void *arg,
		       struct shmkv_audit *audit);

/* In a read section, or under the lock. */
static inline struct skv_record *skv_adaptive_find(const struct skv_adaptive *map,
						   const struct skv_key *key, uint64_t hash)
{
	const struct skv_table *table = skv_rcu_load(&map->first);
	struct skv_record *record;

	do {
		if (table->kind == SKV_TABLE_ROBIN)
			record = skv_robin_find((const struct skv_robin *)table, key, hash);
		else
			record = skv_chain_find((const struct skv_chain *)table, key, hash);
		if (record)
			return record;
		/* Loaded after the miss: what left this table went on to the next before. */
		table = skv_table_next(table);
	} while (table);
	return NULL;
}

#endif

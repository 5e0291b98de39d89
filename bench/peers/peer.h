/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_PEERS_PEER_H
#define SHMKV_BENCH_PEERS_PEER_H

/*
 * peer: what a system must offer to be measured beside shmkv, and what it is asked to do.
 *
 * A peer is one adapter file: it makes a world (a segment, a map on the heap, a server), lets
 * workers take a seat at it, and runs steps. Workers at shared-memory systems and servers are
 * processes, those at maps of the heap are threads of one process. The loop over the steps is
 * the same text for all, peer-loops.h, compiled into each adapter so that nothing is called
 * through pointers inside it.
 *
 * A key is 16 bytes, made of the number of its entry. A value begins and ends with that number, and
 * every answer is checked.
 *
 * Also compiled as C++.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct histogram;
struct run_delay;

#define PEER_KEY_LEN 16u
#define PEER_BATCH 32u
#define PEER_WORKERS_MAX 2u
/* Larger ones are not put or read in batches. */
#define PEER_BATCH_VALUE_MAX 4096u
/* Entries from here on are never stored. */
#define PEER_ABSENT_FROM 0x80000000u

/* What a step does; each says what must come of it. */
enum peer_kind {
	PEER_GET,    /* the key is there: copy its value */
	PEER_MISS,   /* the key is not there */
	PEER_PUT,    /* the key is there: replace its value */
	PEER_INSERT, /* the key is not there: store it */
	PEER_DEL,    /* the key is there: remove it */
	PEER_VIEW,   /* the key is there: look at its value in place */
	PEER_GET_MANY, /* this step and the next PEER_BATCH - 1: all are there */
	PEER_PUT_MANY,
};

struct peer_step {
	uint32_t entry;
	uint32_t kind;
};

/* A piece of work for one seat. */
struct peer_run {
	const struct peer_step *steps;
	uint64_t n;
	unsigned int workers; /* how many work at the same time, on disjoint keys if they write */
	size_t value_len;
	uint8_t *value; /* to put; room for a batch of them where there are batches, as at buf */
	uint8_t *buf;
	struct histogram *latency; /* of each step (of a batch: of the whole), or NULL */
	const struct run_delay *delay;
	/* What went wrong when the answer is -EBADMSG. */
	struct peer_step wrong;
};

/* What the world is to be made for. */
struct peer_spec {
	uint64_t entries; /* at once, at most */
	uint64_t stored;  /* of those, when its memory is asked for */
	size_t value_len;
	char name[64];    /* unlike any other's at this time; for names of segments and folders */
};

enum peer_type {
	PEER_LIMIT,  /* not a map: what the memory allows */
	PEER_SHARED, /* shared memory; seats are processes */
	PEER_LOCAL,  /* the heap; seats are threads */
	PEER_SERVER, /* a process behind a socket; seats are processes */
};

/* What a peer can do beside get, put and del. */
#define PEER_CAN_VIEW 1u
#define PEER_CAN_GET_MANY 2u /* by a call of its own */
#define PEER_CAN_PUT_MANY 4u
#define PEER_READS_ALONE 8u  /* takes no lock as long as there is one worker */

struct peer {
	const char *name;
	const char *text;
	enum peer_type type;
	uint32_t can;
	/* Bytes for each entry beside key and value, about; to plan what fits into memory. */
	uint32_t overhead;
	/* All return 0 or a negative errno. @ret_world: for the calls below, in the same process. */
	int (*make)(const struct peer_spec *spec, void **ret_world);
	/* Called by the worker itself. The world may be a copy of what make gave: after a fork. */
	int (*attach)(void *world, void **ret_seat);
	/* When all seats are taken: remove names, so that nothing stays whoever dies. May be NULL. */
	void (*hide)(void *world);
	int (*run)(void *seat, struct peer_run *run);
	void (*detach)(void *seat);
	void (*end)(void *world);
	/* Bytes that it takes now, or 0: then the resident memory of its process is counted. */
	uint64_t (*memory)(void *world);
	/* How many processes have died and left something; NULL: it does not know. */
	unsigned int (*dead)(void *world);
};

/* Those that this build has; ends with NULL. The first is shmkv. */
extern const struct peer *const peers[];

extern const struct peer peer_direct, peer_direct_huge;
extern const struct peer peer_shmkv, peer_shmkv_huge, peer_adaptive, peer_hamt;
extern const struct peer peer_lmdb, peer_boost, peer_memcached, peer_redis;
extern const struct peer peer_lfht, peer_ck_hs, peer_tbb, peer_glib, peer_std;

static inline void peer_key(uint32_t entry, uint8_t key[PEER_KEY_LEN])
{
	uint64_t number = entry, mixed = number * 0x9e3779b97f4a7c15ull;

	memcpy(key, &mixed, 8);
	memcpy(key + 8, &number, 8);
}

static inline uint64_t peer_entry_of(const void *key)
{
	uint64_t number;

	memcpy(&number, (const uint8_t *)key + 8, 8);
	return number;
}

static inline void peer_value_mark(uint8_t *value, size_t len, uint32_t entry)
{
	uint64_t number = entry;

	memcpy(value, &number, 8);
	memcpy(value + len - 8, &number, 8);
}

static inline bool peer_value_is(const void *value, size_t len, uint32_t entry)
{
	const uint8_t *bytes = (const uint8_t *)value;
	uint64_t head, tail;

	memcpy(&head, bytes, 8);
	memcpy(&tail, bytes + len - 8, 8);
	return head == entry && tail == entry;
}

uint64_t peer_clock_ns(void);
/* Into run->latency what began at @start; less what the thread did not have the processor. */
void peer_latency(struct peer_run *run, uint64_t start, uint64_t *delayed_ns);

#ifdef __cplusplus
}
#endif

#endif

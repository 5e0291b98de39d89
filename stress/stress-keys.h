/* SPDX-License-Identifier: MIT */
#ifndef STRESS_KEYS_H
#define STRESS_KEYS_H

/*
 * stress-keys: which keys exist in a run, who may write them, and what they are called.
 *
 * A key belongs to one class, and the class says what can be known about its value:
 *
 *   owned     one writer only, in turn all that live in its place: the ledger knows the value
 *   shared    put, added, swapped and deleted by all: only the value itself can be checked
 *   presence  added and deleted by all: successful adds minus deletes are 0 or 1
 *   incr      counters raised by shmkv_incr: the sum of what was acknowledged
 *   cas       counters raised by get and compare-and-swap: the same
 *   lease     added by all for some milliseconds: nobody gets one that still runs
 *   timed     one writer only, who knows when they expire
 *
 * Of the owned keys one in sixteen is deleted now and then (churn); the others never go
 * away once they are there, so that a reader who misses one has found a fault.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_class {
	KEY_OWNED,
	KEY_SHARED,
	KEY_PRESENCE,
	KEY_INCR,
	KEY_CAS,
	KEY_LEASE,
	KEY_TIMED,
	KEY_CLASSES,
};

#define KEY_COUNT_MIN 16u
#define KEY_BYTES_MAX 4608u
#define KEY_BYTES_MEAN 32u /* measured over many indices, for the estimate of memory */
#define KEY_HOT 8u         /* of each contended class the first few get half of the load */

struct key_plan {
	uint64_t n[KEY_CLASSES];
	unsigned int writers; /* threads over all processes */
};

struct stress_key {
	size_t len;
	char bytes[KEY_BYTES_MAX];
};

/* Divide @keys, at least KEY_COUNT_MIN, among the classes. */
void key_plan_init(struct key_plan *plan, uint64_t keys, unsigned int writers);

/* The owned keys that are in play when @keys of all classes are. */
uint64_t key_plan_owned(const struct key_plan *plan, uint64_t keys);

/* Name of a key: 10 to KEY_BYTES_MAX bytes, most of them short. */
void stress_key_make(enum key_class class, uint64_t idx, struct stress_key *key);

/* The reverse; false if these bytes are not the name of a key of the plan. */
bool stress_key_parse(const struct key_plan *plan, const void *bytes, size_t len,
		      enum key_class *ret_class, uint64_t *ret_idx);

const char *key_class_name(enum key_class class);

/* What an absent counter counts as, and what the counter may be raised by. */
static inline int64_t key_initial(uint64_t idx)
{
	return (int64_t)(idx % 5) * 1000 - 2000;
}

/* Every other incr counter only rises, so that readers can watch it do so. */
static inline bool key_only_rises(uint64_t idx)
{
	return idx % 2 == 0;
}

static inline unsigned int key_owner(const struct key_plan *plan, uint64_t idx)
{
	return (unsigned int)(idx % plan->writers);
}

static inline bool key_is_churn(const struct key_plan *plan, uint64_t idx)
{
	return idx / plan->writers % 16 == 0;
}

#endif

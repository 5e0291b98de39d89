/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_BENCH_MAPS_H
#define SHMKV_BENCH_MAPS_H

/*
 * maps: what bench-maps measures, and on which keys.
 *
 * A method is one kind of map. Its functions take many items at once, so that what is called
 * through a pointer costs the same for all: nothing. All own their keys and values: they copy
 * what they are given, and a get copies the value out. Each function returns for how many items
 * it found what there had to be.
 *
 * Also compiled as C++.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values are no longer than this. */
#define MAPS_VALUE_MAX 512u

struct maps_item {
	const char *key; /* ends with a 0 that key_len does not count; so does the value */
	const char *value;
	uint32_t key_len, value_len;
};

/* Items in the order in which they are used; their bytes lie in memory in the same order. */
struct maps_batch {
	struct maps_item *items;
	uint64_t n;
	char *bytes;
	void *prepared; /* what the method made of them: see prepare */
};

enum maps_kind {
	MAPS_GET,
	MAPS_PUT,
	MAPS_DEL,
};

typedef uint64_t maps_fn(void *map, const struct maps_batch *batch);

struct maps_method {
	const char *name;
	/* NULL, or the items in the form in which this method likes its keys; not measured. */
	void *(*prepare)(const struct maps_batch *batch);
	void (*unprepare)(void *prepared);
	uint64_t (*warm)(const void *prepared); /* reads it all, once */
	/* @n: how many keys there will be, for those that cannot grow */
	void *(*make)(uint64_t n);
	void (*end)(void *map);
	maps_fn *insert, *update, *get, *contains;
	maps_fn *remove; /* NULL: it has none */
	/* 70 % get, 20 % put, 10 % del; NULL: cannot. Returns how many gets found their key. */
	uint64_t (*mixed)(void *map, const struct maps_batch *batch, const uint8_t *kinds);
	bool threaded; /* measured with a second, sleeping thread in the process */
};

/* Those that this build has; ends with NULL. */
extern const struct maps_method *const maps_methods[];

extern const struct maps_method maps_adaptive, maps_adaptive_threads, maps_fast_insert,
	maps_fast_lookup, maps_memory_tight, maps_hamt, maps_shm;
extern const struct maps_method maps_hsearch, maps_tsearch, maps_glib, maps_std, maps_lfht, maps_ck;

/* Is the copy that a get made the value of this item? */
static inline bool maps_is_value(const struct maps_item *item, const char *copy, size_t len)
{
	return len == item->value_len && copy[len - 1] == item->value[len - 1];
}

/* ---- data ------------------------------------------------------------------------ */

struct maps_dataset {
	const char *name;
	const char *text;
	uint64_t n_max;
	/* The key and the value of item @i, as texts that stay; false if there is no such item. */
	bool (*item)(uint64_t i, struct maps_item *ret_item);
	bool is_real; /* has as many keys as there are: the largest size is all of them */
};

extern const struct maps_dataset maps_datasets[];
extern const size_t maps_n_datasets;

/* How many keys a dataset has here, and as many that are absent; 0 if its source is missing. */
uint64_t maps_dataset_size(const struct maps_dataset *dataset);

struct maps_data {
	struct maps_batch insert; /* n items */
	struct maps_batch lookup; /* the same in another order */
	struct maps_batch update; /* in another order, with other values */
	struct maps_batch absent; /* n others */
	struct maps_batch mixed;  /* any of insert and absent, some of them more than once */
	uint8_t *kinds;           /* of mixed: enum maps_kind */
	uint64_t n;
};

/* @n items from @first on, and as many after them. Returns 0, or -1 if there was no memory. */
int maps_data_make(struct maps_data *data, const struct maps_dataset *dataset, uint64_t first,
		   uint64_t n);
void maps_data_free(struct maps_data *data);

#ifdef __cplusplus
}
#endif

#endif

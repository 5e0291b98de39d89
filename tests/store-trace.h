/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_STORE_TRACE_H
#define SKV_TESTS_STORE_TRACE_H

/*
 * store-trace: every store of one thread to a stretch of memory, in order.
 *
 * The stretch is made read-only. A store faults; the handler lifts the protection and sets the
 * processor's trap flag, the store is done once more, and the trap after it notes what has
 * changed and protects the stretch again. So nothing but the instructions that write costs
 * anything, and none of them is missed: what a process killed between any two instructions
 * leaves is the beginning of this list, applied to what was there before.
 *
 * x86-64 only; one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_BYTES_MAX 24u

struct store {
	uint32_t off;
	uint8_t len;
	bool more; /* the same instruction goes on: a string copy, or a wide store */
	uint8_t bytes[STORE_BYTES_MAX];
};

/* In memory that outlives the process which is traced. */
struct store_trace {
	uint64_t n;
	bool overflow;
	uint64_t n_max;
	struct store stores[];
};

/* Zeroed shared memory for @n_max stores, or NULL. */
struct store_trace *store_trace_new(uint64_t n_max);
struct store_trace *store_trace_free(struct store_trace *trace);

/* False where this machine cannot do it. @base begins a page. */
bool store_trace_begin(struct store_trace *trace, void *base, size_t len);
void store_trace_end(void);

/* Can this build do it at all? */
bool store_trace_works(void);

#endif

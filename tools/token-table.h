/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_TOKEN_TABLE_H
#define TOOLS_TOKEN_TABLE_H

/*
 * token-table: which version of which key was seen in the last walk over all keys.
 *
 * A hash table of keys and tokens in private memory. One walk notes every key that it meets;
 * the sweep after it finds those that it has not met and forgets them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token_entry;

/* All zero is an empty table. */
struct token_table {
	struct token_entry **slots;
	size_t n_slots, n_used;
	uint64_t walk; /* number of the walk that is going on */
};

/*
 * token_table_note - this walk has met a key with this version
 * @ret_changed: new, or with another version than before
 *
 * Returns 0 or -ENOMEM.
 */
int token_table_note(struct token_table *table, const void *key, size_t key_len, uint64_t token,
		     bool *ret_changed);

/* token_table_sweep - the walk is over: forget what it has not met; @fn is told of each */
void token_table_sweep(struct token_table *table,
		       void (*fn)(const void *key, size_t key_len, void *arg), void *arg);

void token_table_deinit(struct token_table *table);

#endif

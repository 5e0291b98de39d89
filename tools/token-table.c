/* SPDX-License-Identifier: MIT */
#include "token-table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_FIRST 256u

/* Chained: entries come and go all the time. */
struct token_entry {
	struct token_entry *next;
	uint64_t hash, token, walk;
	size_t key_len;
	unsigned char key[];
};

/* FNV-1a: the keys were placed by a better one already, and nobody waits for this one. */
static uint64_t hash_of(const void *key, size_t key_len)
{
	const unsigned char *p = key;
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < key_len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3ull;
	return hash;
}

static int grow(struct token_table *table)
{
	size_t n = table->n_slots ? table->n_slots * 2 : SLOTS_FIRST;
	struct token_entry **slots = calloc(n, sizeof(struct token_entry *)), *entry, *next;

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < table->n_slots; i++) {
		for (entry = table->slots[i]; entry; entry = next) {
			next = entry->next;
			entry->next = slots[entry->hash & (n - 1)];
			slots[entry->hash & (n - 1)] = entry;
		}
	}
	free(table->slots);
	table->slots = slots;
	table->n_slots = n;
	return 0;
}

static int insert(struct token_table *table, const void *key, size_t key_len, uint64_t hash,
		  uint64_t token)
{
	struct token_entry *entry = malloc(sizeof(*entry) + key_len);

	if (!entry)
		return -ENOMEM;
	memcpy(entry->key, key, key_len);
	entry->key_len = key_len;
	entry->hash = hash;
	entry->token = token;
	entry->walk = table->walk;
	entry->next = table->slots[hash & (table->n_slots - 1)];
	table->slots[hash & (table->n_slots - 1)] = entry;
	table->n_used++;
	return 0;
}

int token_table_note(struct token_table *table, const void *key, size_t key_len, uint64_t token,
		     bool *ret_changed)
{
	uint64_t hash = hash_of(key, key_len);
	struct token_entry *entry;

	if (table->n_used >= table->n_slots && grow(table) < 0)
		return -ENOMEM;
	for (entry = table->slots[hash & (table->n_slots - 1)]; entry; entry = entry->next) {
		if (entry->hash != hash || entry->key_len != key_len ||
		    memcmp(entry->key, key, key_len) != 0)
			continue;
		*ret_changed = entry->token != token;
		entry->token = token;
		entry->walk = table->walk;
		return 0;
	}
	*ret_changed = true;
	return insert(table, key, key_len, hash, token);
}

void token_table_sweep(struct token_table *table,
		       void (*fn)(const void *key, size_t key_len, void *arg), void *arg)
{
	struct token_entry **link, *entry;

	for (size_t i = 0; i < table->n_slots; i++) {
		for (link = &table->slots[i]; (entry = *link);) {
			if (entry->walk == table->walk) {
				link = &entry->next;
				continue;
			}
			fn(entry->key, entry->key_len, arg);
			*link = entry->next;
			free(entry);
			table->n_used--;
		}
	}
	table->walk++;
}

void token_table_deinit(struct token_table *table)
{
	struct token_entry *entry, *next;

	for (size_t i = 0; i < table->n_slots; i++) {
		for (entry = table->slots[i]; entry; entry = next) {
			next = entry->next;
			free(entry);
		}
	}
	free(table->slots);
	memset(table, 0, sizeof(*table));
}

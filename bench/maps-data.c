/* SPDX-License-Identifier: MIT */
/*
 * maps-data: the keys on which bench-maps measures.
 *
 * All are texts. Integers are written in decimal digits. What is looked for in vain are the next
 * integers; or, of a list that is in the map as a whole, the same keys with a "~" behind.
 */
#include "bench/maps.h"

#include "bench/bench.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- integers -------------------------------------------------------------------- */

static char text_key[64], text_value[64];

static void texts(struct maps_item *ret_item, uint64_t i)
{
	/* Twelve digits: about what an identifier or a small record has. */
	ret_item->value_len = (uint32_t)snprintf(text_value, sizeof(text_value), "%012llu",
						 (unsigned long long)(i * 7919 % 1000000000000u));
	ret_item->key = text_key;
	ret_item->value = text_value;
	ret_item->key_len = (uint32_t)strlen(text_key);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static bool sequential(uint64_t i, struct maps_item *ret_item)
{
	snprintf(text_key, sizeof(text_key), "%llu", (unsigned long long)i);
	texts(ret_item, i);
	return true;
}

static bool random_integers(uint64_t i, struct maps_item *ret_item)
{
	snprintf(text_key, sizeof(text_key), "%llu",
		 (unsigned long long)mix((i + 1) * 0x9e3779b97f4a7c15));
	texts(ret_item, i);
	return true;
}

/*
 * The rest of the number is written in pairs of letters, "Ab" or "BA": 33 * 'A' + 'b' is
 * 33 * 'B' + 'A', so hashes that multiply by 33 and add, as GLib's does, have 1000 values only.
 */
static bool collisions(uint64_t i, struct maps_item *ret_item)
{
	uint64_t rest = i / 1000;
	size_t len;
	int bit;

	len = (size_t)snprintf(text_key, sizeof(text_key), "%03llu", (unsigned long long)(i % 1000));
	for (bit = 0; bit < 10; bit++, rest /= 2) {
		text_key[len++] = rest % 2 ? 'B' : 'A';
		text_key[len++] = rest % 2 ? 'A' : 'b';
	}
	text_key[len] = '\0';
	texts(ret_item, i);
	return true;
}

/* ---- real keys ------------------------------------------------------------------- */

/* Longer ones are left out. */
#define KEY_MAX 4096u

struct list {
	char *bytes;
	size_t len, cap;
	struct line {
		size_t key, value; /* offsets in bytes */
		uint32_t key_len, value_len;
	} *lines;
	uint64_t n, n_cap;
	bool loaded, failed;
};

static struct list words, packages, files;

static size_t list_bytes(struct list *list, const char *text, size_t len)
{
	size_t at = list->len, cap = list->cap ? 2 * list->cap : 1 << 20;
	char *grown;

	if (list->len + len + 1 > list->cap) {
		grown = realloc(list->bytes, cap);
		if (!grown) {
			list->failed = true;
			return 0;
		}
		list->bytes = grown;
		list->cap = cap;
	}
	memcpy(list->bytes + at, text, len);
	list->bytes[at + len] = '\0';
	list->len += len + 1;
	return at;
}

static void list_add(struct list *list, const char *key, size_t key_len, const char *value,
		     size_t value_len)
{
	uint64_t cap = list->n_cap ? 2 * list->n_cap : 4096;
	struct line *grown;

	if (list->failed || key_len == 0 || key_len > KEY_MAX || value_len == 0 ||
	    value_len > MAPS_VALUE_MAX)
		return;
	if (list->n == list->n_cap) {
		grown = realloc(list->lines, cap * sizeof(*grown));
		if (!grown) {
			list->failed = true;
			return;
		}
		list->lines = grown;
		list->n_cap = cap;
	}
	list->lines[list->n] = (struct line){
		.key = list_bytes(list, key, key_len),
		.value = list_bytes(list, value, value_len),
		.key_len = (uint32_t)key_len,
		.value_len = (uint32_t)value_len,
	};
	list->n++;
}

static const struct list *sorted;

static int compare_lines(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return strcmp(sorted->bytes + x->key, sorted->bytes + y->key);
}

/* Each key once, in an order that means nothing and is always the same. */
static void list_finish(struct list *list)
{
	uint64_t i, j, n = 0;
	struct line line;

	sorted = list;
	if (list->n > 0)
		qsort(list->lines, list->n, sizeof(*list->lines), compare_lines);
	for (i = 0; i < list->n; i++) {
		if (n == 0 || compare_lines(&list->lines[n - 1], &list->lines[i]) != 0)
			list->lines[n++] = list->lines[i];
	}
	list->n = list->failed ? 0 : n;
	for (i = list->n; i > 1; i--) {
		j = mix(i * 0x9e3779b97f4a7c15) % i;
		line = list->lines[i - 1];
		list->lines[i - 1] = list->lines[j];
		list->lines[j] = line;
	}
	list->loaded = true;
}

/* Those of the list, then as many that are not in it. */
static bool list_item(const struct list *list, uint64_t i, struct maps_item *ret_item)
{
	static char other[KEY_MAX + 2];
	const struct line *line;

	if (i >= 2 * list->n)
		return false;
	line = &list->lines[i % list->n];
	*ret_item = (struct maps_item){
		.key = list->bytes + line->key,
		.value = list->bytes + line->value,
		.key_len = line->key_len,
		.value_len = line->value_len,
	};
	if (i >= list->n) {
		memcpy(other, ret_item->key, line->key_len);
		memcpy(other + line->key_len, "~", 2);
		ret_item->key = other;
		ret_item->key_len++;
	}
	return true;
}

/* A word, and the same backwards. */
static void load_words(struct list *list)
{
	FILE *f = fopen("/usr/share/dict/american-english", "r");
	char line[256], value[256];
	size_t len, i;

	while (f && fgets(line, sizeof(line), f)) {
		len = strcspn(line, "\n");
		for (i = 0; i < len; i++)
			value[i] = line[len - 1 - i];
		list_add(list, line, len, value, len);
	}
	if (f)
		fclose(f);
}

/* A package of the index, and its file in the archive. */
static void load_packages(struct list *list)
{
	FILE *f = popen("apt-cache dumpavail 2>/dev/null", "r");
	char line[4096], name[256] = "";
	size_t len;

	while (f && fgets(line, sizeof(line), f)) {
		len = strcspn(line, "\n");
		line[len] = '\0';
		if (strncmp(line, "Package: ", 9) == 0)
			snprintf(name, sizeof(name), "%.*s", (int)sizeof(name) - 1, line + 9);
		else if (strncmp(line, "Filename: ", 10) == 0)
			list_add(list, name, strlen(name), line + 10, len - 10);
	}
	if (f)
		pclose(f);
}

/* A file of the dpkg database, and the package it is from. */
static void load_files(struct list *list)
{
	static const char folder[] = "/var/lib/dpkg/info";
	char path[512], line[4096];
	struct dirent *entry;
	const char *dot;
	DIR *dir;
	FILE *f;

	dir = opendir(folder);
	while (dir && (entry = readdir(dir))) {
		dot = strrchr(entry->d_name, '.');
		if (!dot || strcmp(dot, ".list") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f))
			list_add(list, line, strcspn(line, "\n"), entry->d_name,
				 (size_t)(dot - entry->d_name));
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
}

static bool from_list(struct list *list, void (*load)(struct list *list), uint64_t i,
		      struct maps_item *ret_item)
{
	if (!list->loaded) {
		load(list);
		list_finish(list);
	}
	return list_item(list, i, ret_item);
}

static bool word(uint64_t i, struct maps_item *ret_item)
{
	return from_list(&words, load_words, i, ret_item);
}

static bool package(uint64_t i, struct maps_item *ret_item)
{
	return from_list(&packages, load_packages, i, ret_item);
}

static bool file(uint64_t i, struct maps_item *ret_item)
{
	return from_list(&files, load_files, i, ret_item);
}

const struct maps_dataset maps_datasets[] = {
	{ "sequential", "integers one after the other", 1000000, sequential, false },
	{ "random", "integers of 64 bits", 1000000, random_integers, false },
	{ "collisions", "texts of which GLib's hash has 1000 values", 100000, collisions, false },
	{ "words", "of the word list of Debian", UINT64_MAX, word, true },
	{ "packages", "of the package index, and where they lie", UINT64_MAX, package, true },
	{ "files", "of the dpkg database, and whose they are", UINT64_MAX, file, true },
};

const size_t maps_n_datasets = sizeof(maps_datasets) / sizeof(maps_datasets[0]);

uint64_t maps_dataset_size(const struct maps_dataset *dataset)
{
	struct maps_item item;
	uint64_t n = 0;

	if (!dataset->is_real)
		return dataset->n_max;
	while (dataset->item(n, &item))
		n++;
	/* The second half is not in the list. */
	return n / 2;
}

/* ---- batches --------------------------------------------------------------------- */

static void batch_free(struct maps_batch *batch)
{
	free(batch->items);
	free(batch->bytes);
}

/* In which order items come. */
enum order { IN_ORDER, SHUFFLED, DRAWN };

/* Which of @n items from @first on is the @i-th; with DRAWN of twice as many. */
static uint64_t pick(enum order order, uint64_t i, uint64_t first, uint64_t n)
{
	switch (order) {
	case SHUFFLED:
		return first + bench_shuffle(i, n);
	case DRAWN:
		return first + (mix((first + i + 1) * 0x9e3779b97f4a7c15) >> 20) % (2 * n);
	default:
		return first + i;
	}
}

/* @n items from @first on; @turned: with other values, as long. */
static int batch_make(struct maps_batch *batch, const struct maps_dataset *dataset, uint64_t first,
		      uint64_t n, enum order order, bool turned)
{
	size_t len = 0, cap = (size_t)n * 64 + 8192, at = 0;
	struct maps_item item;
	char *grown;
	uint64_t i;

	*batch = (struct maps_batch){ .n = n };
	batch->items = malloc(n * sizeof(*batch->items));
	batch->bytes = malloc(cap);
	if (!batch->items || !batch->bytes)
		return -1;
	for (i = 0; i < n; i++) {
		if (!dataset->item(pick(order, i, first, n), &item))
			return -1;
		if (len + item.key_len + item.value_len + 2 > cap) {
			grown = realloc(batch->bytes, 2 * cap);
			if (!grown)
				return -1;
			batch->bytes = grown;
			cap *= 2;
		}
		batch->items[i] = item;
		memcpy(batch->bytes + len, item.key, item.key_len + 1);
		len += item.key_len + 1;
		memcpy(batch->bytes + len, item.value, item.value_len + 1);
		len += item.value_len + 1;
		if (turned)
			batch->bytes[len - 2] ^= 1;
	}
	for (i = 0; i < n; i++) {
		batch->items[i].key = batch->bytes + at;
		at += batch->items[i].key_len + 1;
		batch->items[i].value = batch->bytes + at;
		at += batch->items[i].value_len + 1;
	}
	return 0;
}

static int kinds_make(struct maps_data *data, uint64_t first)
{
	uint64_t i, x;

	data->kinds = malloc(data->n);
	if (!data->kinds)
		return -1;
	for (i = 0; i < data->n; i++) {
		x = mix((first + i + 1) * 0x9e3779b97f4a7c15) % 10;
		data->kinds[i] = x < 7 ? MAPS_GET : x < 9 ? MAPS_PUT : MAPS_DEL;
	}
	return 0;
}

int maps_data_make(struct maps_data *data, const struct maps_dataset *dataset, uint64_t first,
		   uint64_t n)
{
	*data = (struct maps_data){ .n = n };
	if (batch_make(&data->insert, dataset, first, n, IN_ORDER, false) < 0 ||
	    batch_make(&data->lookup, dataset, first, n, SHUFFLED, false) < 0 ||
	    batch_make(&data->update, dataset, first, n, SHUFFLED, true) < 0 ||
	    batch_make(&data->absent, dataset, first + n, n, SHUFFLED, false) < 0 ||
	    batch_make(&data->mixed, dataset, first, n, DRAWN, false) < 0 ||
	    kinds_make(data, first) < 0) {
		maps_data_free(data);
		return -1;
	}
	return 0;
}

void maps_data_free(struct maps_data *data)
{
	batch_free(&data->insert);
	batch_free(&data->lookup);
	batch_free(&data->update);
	batch_free(&data->absent);
	batch_free(&data->mixed);
	free(data->kinds);
}

/* SPDX-License-Identifier: MIT */

/* snapshot: freeze a map, let it change, and list what became of it. */

#include <shmkv/snapshot.h>

#include <stdio.h>
#include <string.h>

static int set(struct shmkv *kv, const char *article, int stock)
{
	return shmkv_put(kv, article, strlen(article), shmkv_int(stock), NULL);
}

static long number_in(const struct shmkv_entry *entry)
{
	struct shmkv_value value;

	return shmkv_value_decode(entry->value, entry->value_len, &value) == 0 ? (long)value.i64 : -1;
}

static int print_difference(const struct shmkv_difference *d, void *arg)
{
	const struct shmkv_entry *either = d->after ? d->after : d->before;

	printf("%.*s: ", (int)either->key_len, (const char *)either->key);
	if (!d->before)
		printf("new, %ld\n", number_in(d->after));
	else if (!d->after)
		printf("gone, was %ld\n", number_in(d->before));
	else
		printf("%ld -> %ld\n", number_in(d->before), number_in(d->after));
	(*(int *)arg)++;
	return 0;
}

/* The day's changes to a stock; the evening's list is made while the next day could go on. */
static int trade(struct shmkv *kv)
{
	struct shmkv *morning, *evening = NULL;
	int64_t apples = 0;
	int r, n = 0;

	r = shmkv_snapshot(kv, &morning);
	if (r < 0)
		return r;
	r = set(kv, "apples", 7);
	if (r == 0)
		r = set(kv, "quinces", 3);
	if (r == 0)
		r = shmkv_del(kv, "plums", 5);
	if (r == 0)
		r = shmkv_snapshot(kv, &evening);
	if (r == 0)
		r = shmkv_diff(morning, evening, print_difference, &n);
	/* A snapshot is read like any map, whatever has happened to the map since. */
	if (r == 0)
		r = shmkv_get_int(morning, "apples", 6, &apples);
	if (r == 0)
		printf("%d of 4 articles differ; in the morning there were %ld apples\n", n,
		       (long)apples);
	shmkv_detach(evening);
	shmkv_detach(morning);
	return r;
}

int main(void)
{
	struct shmkv *kv;
	int r;

	r = shmkv_create("heap:hamt", NULL, &kv);
	if (r < 0) {
		fprintf(stderr, "snapshot: %s\n", shmkv_strerror(r));
		return 1;
	}
	r = set(kv, "apples", 10);
	if (r == 0)
		r = set(kv, "pears", 20);
	if (r == 0)
		r = set(kv, "plums", 30);
	if (r == 0)
		r = trade(kv);
	if (r < 0)
		fprintf(stderr, "snapshot: %s\n", shmkv_strerror(r));
	shmkv_detach(kv); /* the map ends with it */
	return r < 0;
}

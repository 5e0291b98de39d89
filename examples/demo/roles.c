/* SPDX-License-Identifier: MIT */
#include "demo/roles.h"

#include <errno.h>
#include <shmkv/shmkv.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "demo/record.h"

/* Larger than any paragraph of the database; a larger one would be reported as an error. */
#define RECORD_MAX (1 << 20)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void rest_us(long us)
{
	const struct timespec pause = { .tv_nsec = us * 1000 };

	nanosleep(&pause, NULL);
}

static void note(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static int read_package(struct shmkv *kv, const struct package *package, void *buf,
			uint64_t *ret_revision)
{
	size_t len;
	int r;

	r = shmkv_get_packed(kv, package->key, strlen(package->key), buf, RECORD_MAX, &len, NULL);
	if (r < 0)
		return r;
	return record_verify(buf, len, package, ret_revision);
}

/* ---- writer ------------------------------------------------------------------------- */

static int write_package(struct shmkv *kv, const struct role *role, size_t i, uint64_t revision,
			 msgpack_sbuffer *packed)
{
	struct writer_notes *notes = &role->stage->writers[role->number];
	const struct package *package = &role->list->packages[i];
	int r;

	r = record_pack(packed, package, revision);
	if (r < 0)
		return r;
	note(&notes->package, i);
	note(&notes->revision, revision);
	note(&notes->inside, 1);
	r = shmkv_put(kv, package->key, strlen(package->key),
		      shmkv_packed(packed->data, packed->size), NULL);
	note(&notes->inside, 0);
	note(&notes->puts, notes->puts + 1);
	return r;
}

/*
 * Where did the writer before this one stop? It wrote its packages in order, so that the
 * first one with a lower revision than the very first comes next.
 */
static int find_place(struct shmkv *kv, const struct role *role, void *buf, size_t *ret_i,
		      uint64_t *ret_revision)
{
	uint64_t first = 0, revision;
	size_t i;
	int r;

	for (i = role->number; i < role->list->n_packages; i += 2) {
		revision = 0;
		r = read_package(kv, &role->list->packages[i], buf, &revision);
		if (r < 0 && r != -ENOENT)
			return r;
		if (i == role->number)
			first = revision;
		if (revision < first)
			break;
	}
	/* All alike: a new round begins. */
	*ret_revision = i < role->list->n_packages ? first : first + 1;
	*ret_i = i < role->list->n_packages ? i : role->number;
	return 0;
}

static int write_until_stopped(struct shmkv *kv, const struct role *role, void *buf,
			       msgpack_sbuffer *packed)
{
	struct writer_notes *notes = &role->stage->writers[role->number];
	uint64_t revision;
	size_t i;
	int r;

	r = find_place(kv, role, buf, &i, &revision);
	if (r < 0)
		return r;
	note(&notes->started_at, i);
	note(&notes->ready, 1);

	while (!__atomic_load_n(&role->stage->stop, __ATOMIC_RELAXED)) {
		r = write_package(kv, role, i, revision, packed);
		if (r < 0)
			return r;
		i += 2;
		if (i >= role->list->n_packages) {
			i = role->number;
			revision++;
		}
		/* The steady producer leaves the processor to others now and then; the one that
		 * is killed hardly ever leaves shmkv_put. */
		if (role->number == 0 && i % 64 == 0)
			rest_us(200);
	}
	return 0;
}

void role_write(const struct role *role)
{
	struct shmkv *kv = NULL;
	msgpack_sbuffer packed;
	void *buf;
	int r;

	msgpack_sbuffer_init(&packed);
	buf = malloc(RECORD_MAX);
	r = buf ? shmkv_attach(role->map, 0, &kv) : -ENOMEM;
	if (r == 0)
		r = write_until_stopped(kv, role, buf, &packed);
	__atomic_store_n(&role->stage->writers[role->number].error, r, __ATOMIC_SEQ_CST);
	shmkv_detach(kv);
	msgpack_sbuffer_destroy(&packed);
	free(buf);
	_exit(r < 0);
}

/* ---- reader ------------------------------------------------------------------------- */

static void keep_longest(uint64_t *longest, uint64_t ns)
{
	if (ns > *longest)
		note(longest, ns);
}

static int read_until_stopped(struct shmkv *kv, const struct role *role, void *buf,
			      uint64_t *revisions)
{
	struct reader_notes *notes = &role->stage->readers[role->number];
	uint64_t revision, last_ns, ns, phase;
	size_t i = 0, n = 0;
	int r;

	last_ns = now_ns();
	while (!__atomic_load_n(&role->stage->stop, __ATOMIC_RELAXED)) {
		r = read_package(kv, &role->list->packages[i], buf, &revision);
		if (r == -EAGAIN) {
			note(&notes->again, notes->again + 1);
			continue;
		}
		if (r == -EBADMSG)
			note(&notes->torn, notes->torn + 1);
		else if (r == -ENOENT)
			note(&notes->lost, notes->lost + 1);
		else if (r < 0)
			return r;
		else if (revision < revisions[i])
			note(&notes->reverted, notes->reverted + 1);
		else
			revisions[i] = revision;

		ns = now_ns();
		phase = __atomic_load_n(&role->stage->phase, __ATOMIC_SEQ_CST);
		keep_longest(&notes->longest_gap_ns[phase], ns - last_ns);
		last_ns = ns;
		note(&notes->reads, notes->reads + 1);
		i = (i + 1) % role->list->n_packages;
		if (++n % 256 == 0)
			rest_us(200);
	}
	return 0;
}

void role_read(const struct role *role)
{
	struct shmkv *kv = NULL;
	uint64_t *revisions;
	void *buf;
	int r;

	buf = malloc(RECORD_MAX);
	revisions = calloc(role->list->n_packages, sizeof(*revisions));
	r = buf && revisions ? shmkv_attach(role->map, SHMKV_READ_ONLY, &kv) : -ENOMEM;
	if (r == 0)
		r = read_until_stopped(kv, role, buf, revisions);
	__atomic_store_n(&role->stage->readers[role->number].error, r, __ATOMIC_SEQ_CST);
	shmkv_detach(kv);
	free(revisions);
	free(buf);
	_exit(r < 0);
}

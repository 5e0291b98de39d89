/* SPDX-License-Identifier: MIT */
/* images: "killed at any instruction", taken literally. */
#include "tests/store-trace.h"
#include "tests/sweep-engine.h"
#include "tests/sweep-stage.h"
#include "tests/test.h"

#include "api/handle.h"
#include "shm/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A process that is killed leaves what it had stored. So each operation of the sweep runs once
 * with every store to the segment recorded (store-trace.h); then for each store the segment as
 * it was right after it is made as a file, a crash image, in which everybody who was attached
 * is dead. On each image: a read-only attacher finds every key old or new and none in between,
 * and new for ever after once it was new; a newcomer attaches, and every invariant holds
 * without a leak; it recovers, does every kind of call, and the memory is all there.
 *
 * Not among the operations: creation, whose file has no name until its last step.
 *
 * The short form takes a sample of the images of long operations, SHMKV_SWEEP=full all. A
 * message begins with operation:image, and SKV_IMAGE_CASE=operation:image looks at that one.
 */

#define STORES_MAX (1u << 19)
#define IMAGES_SHORT 24u

struct job {
	const struct sweep_scenario *scenario;
	struct store_trace *trace;
	bool full;
	uint64_t only; /* image + 1 to look at alone, or 0 */
	/* out, shared */
	struct tally {
		uint64_t stores, images, looked_at, new_from;
	} *tally;
};

static struct sweep_world world, image_world;

/* ---- the victim ------------------------------------------------------------------------ */

static struct {
	struct sweep_world *w;
	struct store_trace *trace;
} joining;

/* The mapping of the segment, in a process that has no handle on it yet. */
static bool find_mapping(const char *name, uint8_t **ret_base, size_t *ret_len)
{
	unsigned long from, to, first = 0, last = 0;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	if (!maps)
		return false;
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, name) || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		if (!first)
			first = from;
		last = to;
	}
	fclose(maps);
	*ret_base = (uint8_t *)first;
	*ret_len = last - first;
	return first != 0;
}

static void trace_begin(struct sweep_world *w, struct store_trace *trace, void *base, size_t len)
{
	if (!store_trace_begin(trace, base, len))
		sweep_bail(w, "the segment cannot be traced: %s", strerror(errno));
}

/* At the first step of an attachment. */
static void on_join(void *arg)
{
	uint8_t *base;
	size_t len;

	(void)arg;
	if (!find_mapping(joining.w->name, &base, &len))
		sweep_bail(joining.w, "the segment is not mapped");
	trace_begin(joining.w, joining.trace, base, len);
}

static void victim(struct sweep_world *w, const void *arg, uint32_t n, int ready, int go)
{
	const struct job *job = arg;
	bool starts = job->scenario->flags & SWEEP_STARTS;
	struct shmkv *kv = NULL;
	struct skv_map *map;

	(void)n;
	if (!starts) {
		kv = sweep_child_attach(w);
		sweep_read_token(w, kv, &w->op);
	}
	sweep_actor_ready(ready, go);
	if (starts) {
		joining.w = w;
		joining.trace = job->trace;
		skv_fault_arm(&w->board->plan[0], SKV_FAULT_JOIN_LOCKED, 1, SKV_FAULT_CALL, on_join,
			      NULL);
	} else {
		map = kv->map;
		skv_fault_arm(&w->board->plan[0], SKV_FAULT_N, 0, SKV_FAULT_NONE, NULL, NULL);
		trace_begin(w, job->trace, map->region.base, map->region.geo.segment_bytes);
	}
	w->board->r = sweep_run_op(w, &kv, &w->op, w->value);
	w->board->done = 1;
	/* Exits as it is: what a process leaves at its end is another matter. */
}

/* ---- images ---------------------------------------------------------------------------- */

static void image_path(const struct sweep_world *w, char *buf, size_t size)
{
	const char *dir = getenv("SHMKV_DIR");

	snprintf(buf, size, "%s/shmkv.%s", dir && *dir ? dir : "/dev/shm", w->name);
}

static void image_write(struct sweep_world *w, const uint8_t *bytes, size_t len)
{
	char path[512];
	size_t done = 0;
	ssize_t n;
	int fd;

	image_path(w, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		sweep_bail(w, "%s: %s", path, strerror(errno));
	for (; done < len; done += (size_t)n) {
		n = write(fd, bytes + done, len - done);
		if (n <= 0)
			sweep_bail(w, "%s: %s", path, strerror(errno));
	}
	close(fd);
}

static bool same_value(const struct sweep_value *a, const struct sweep_value *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == SWEEP_ABSENT)
		return true;
	if (a->kind == SWEEP_INT)
		return a->number == b->number;
	return a->len == b->len && a->version == b->version && a->len2 == b->len2 &&
	       (a->len2 == 0 || a->version2 == b->version2);
}

/* What @id has after so many commits of the operation: a batch replaces its key repeatedly. */
static struct sweep_value after_commits(const struct sweep_world *w,
					const struct sweep_value *after, uint32_t id, uint32_t n)
{
	return w->op.kind == SWEEP_PUT_MANY ? sweep_item(w->value, n - 1) : after[id];
}

/*
 * Which state of the operation does the image show? Sets the model of @w to it, key by key:
 * old, or as after one of the commits; never as after fewer than an earlier image showed.
 */
static uint64_t settle_model(struct sweep_world *w, const struct sweep_value *before,
			     const struct sweep_value *after, uint32_t *commits)
{
	uint32_t id, n, n_max = w->op.kind == SWEEP_PUT_MANY ? SWEEP_ITEMS : 1;
	struct sweep_value seen;
	uint64_t n_new = 0;

	for (id = 0; id < SWEEP_KEYS; id++) {
		w->model[id] = before[id];
		if (same_value(&before[id], &after[id]))
			continue;
		for (n = n_max; n > 0; n--) {
			seen = after_commits(w, after, id, n);
			if (sweep_matches(w, w->kv, id, &seen))
				break;
		}
		if (n == 0 && !sweep_matches(w, w->kv, id, &before[id]))
			sweep_bail(w, "key %u is neither old nor new", id);
		if (n < commits[id])
			sweep_bail(w, "key %u was newer in an earlier image", id);
		commits[id] = n;
		if (n > 0)
			w->model[id] = seen;
		n_new += n > 0;
	}
	return n_new;
}

static uint64_t image_check(struct sweep_world *w, const struct job *job,
			    const struct sweep_value *before, const struct sweep_value *after,
			    uint32_t *commits, uint64_t nth)
{
	bool crowded = job->scenario->flags & SWEEP_CROWDED;
	uint64_t n_new;

	/* Readers need no recovery. */
	SWEEP_WANT(w, shmkv_attach(w->name, SHMKV_READ_ONLY, &w->kv), 0);
	n_new = settle_model(w, before, after, commits);
	sweep_verify(w, w->kv);
	shmkv_detach(w->kv);

	SWEEP_WANT(w, shmkv_attach(w->name, 0, &w->kv), 0);
	sweep_verify(w, w->kv);
	/* Attaching recovers; where no place was free, the next call does. */
	if (!crowded)
		sweep_check(w, w->kv);
	if (nth % 3 == 1)
		sweep_battery(w, w->kv, w->op.key, nth & 1);
	sweep_recover(w, w->kv, true);
	sweep_verify(w, w->kv);
	sweep_check(w, w->kv);
	if (nth % 5 == 2)
		sweep_account(w, w->kv);
	w->kv = shmkv_detach(w->kv);
	SWEEP_WANT(w, shmkv_unlink(w->name), 0);
	return n_new;
}

/* Everything the victim left, store by store. */
static void look_at_images(struct sweep_world *w, const struct job *job, uint8_t *bytes, size_t len)
{
	static struct sweep_value after[SWEEP_KEYS];
	static uint32_t commits[SWEEP_KEYS];
	struct store_trace *trace = job->trace;
	struct tally *tally = job->tally;
	uint64_t i, n_images = 0, nth = 0, stride;
	const struct store *store;

	image_world = *w;
	if (sweep_op_has_key(w->op.kind) || w->op.kind == SWEEP_CLEAR)
		sweep_model_op(&image_world, &w->op, w->value, true);
	memcpy(after, image_world.model, sizeof(after));
	memset(commits, 0, sizeof(commits));

	for (i = 0; i < trace->n; i++)
		n_images += !trace->stores[i].more;
	tally->stores = trace->n;
	tally->images = n_images;
	stride = job->full || n_images <= IMAGES_SHORT ? 1 : n_images / IMAGES_SHORT;

	for (i = 0; i < trace->n; i++) {
		store = &trace->stores[i];
		if (store->off + store->len > len)
			sweep_bail(w, "a store beyond the segment");
		memcpy(bytes + store->off, store->bytes, store->len);
		if (store->more)
			continue;
		nth++;
		if (job->only ? nth != job->only : nth % stride != 0 && nth != n_images)
			continue;
		image_world = *w;
		image_world.kv = NULL;
		image_world.role = "newcomer";
		snprintf(image_world.name, sizeof(image_world.name), "sweep-%d-image",
			 (int)getpid());
		snprintf(image_world.replay, sizeof(image_world.replay), "%s:%llu",
			 job->scenario->name, (unsigned long long)nth);
		image_write(&image_world, bytes, len);
		if (image_check(&image_world, job, w->model, after, commits, nth) > 0 &&
		    tally->new_from == 0)
			tally->new_from = nth;
		tally->looked_at++;
	}
}

static void direct(const void *arg, struct sweep_board *board, uint64_t seed)
{
	struct sweep_actor haunts[SWEEP_DEATHS_MAX], actor = { 0 };
	const struct job *job = arg;
	const struct sweep_scenario *s = job->scenario;
	struct sweep_world *w = &world;
	struct skv_map *map;
	uint8_t *bytes;
	uint32_t n_haunts;
	size_t len;

	/* The time for one case is not enough for all images of an operation. */
	alarm(job->full ? 1800 : 120);
	sweep_world_begin(w, s, board, seed, s->name);
	sweep_create(w);
	if (s->prepare)
		s->prepare(w);
	w->value = w->op.kind == SWEEP_INCR ? sweep_int(0) : sweep_bin(w, w->op.len);
	n_haunts = sweep_haunts_start(w, s, haunts);
	if (!(s->flags & SWEEP_STARTS)) {
		actor = sweep_actor_start(w, "victim", victim, job, 0);
		sweep_actor_await_ready(w, &actor);
	}
	sweep_haunts_run(w, s, haunts, n_haunts);
	if (!(s->flags & SWEEP_POOLED))
		sweep_keep_no_leaves(w->kv);
	if (s->flags & SWEEP_STARTS) {
		actor = sweep_actor_start(w, "victim", victim, job, 0);
		sweep_actor_await_ready(w, &actor);
	}

	/* What the stores are applied to. */
	map = w->kv->map;
	len = map->region.geo.segment_bytes;
	bytes = malloc(len);
	if (!bytes)
		sweep_bail(w, "no memory");
	memcpy(bytes, map->region.base, len);
	sweep_actor_go(&actor);
	sweep_want_exited(w, sweep_actor_wait(w, &actor), "the victim");
	if (!board->done)
		sweep_bail(w, "the victim ended without an answer");
	if (job->trace->overflow)
		sweep_bail(w, "more than %u stores", STORES_MAX);
	w->deaths++;

	look_at_images(w, job, bytes, len);
	free(bytes);
	while (w->n_more > 0)
		shmkv_detach(w->more[--w->n_more]);
	shmkv_detach(w->kv);
	SWEEP_WANT(w, shmkv_unlink(w->name), 0);
}

/* ---- all operations --------------------------------------------------------------------- */

static void every_image_is_recovered(void)
{
	const char *only = getenv("SKV_IMAGE_CASE"), *nth = only ? strchr(only, ':') : NULL;
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t images = 0, looked_at = 0, operations = 0;
	struct sweep_run run;
	struct job job = { .tally = tally };
	const struct sweep_scenario *s;

	if (!store_trace_works())
		skv_test_skip("stores are traced on x86-64 only, and not under a sanitizer");
	CHECK(tally != MAP_FAILED);
	sweep_run_begin(&run);
	run.variable = "SKV_IMAGE_CASE";
	job.full = run.full;
	job.only = nth ? strtoull(nth + 1, NULL, 10) : 0;
	for (s = sweep_scenarios; s->name; s++) {
		if (s->op.kind == SWEEP_CREATE || s->flags & SWEEP_PASSES_NONE)
			continue;
		if (only && (strncmp(only, s->name, strlen(s->name)) != 0 ||
			     (only[strlen(s->name)] && only[strlen(s->name)] != ':')))
			continue;
		memset(tally, 0, sizeof(*tally));
		job.scenario = s;
		job.trace = store_trace_new(STORES_MAX);
		CHECK(job.trace);
		sweep_run_director(&run, direct, &job, s->name);
		fprintf(stderr, "images: %-22s %6llu stores, %6llu images, %5llu recovered, "
				"new from %llu on\n", s->name,
			(unsigned long long)tally->stores, (unsigned long long)tally->images,
			(unsigned long long)tally->looked_at, (unsigned long long)tally->new_from);
		CHECK(run.n_failed > 0 || tally->looked_at > 0);
		operations++;
		images += tally->images;
		looked_at += tally->looked_at;
		job.trace = store_trace_free(job.trace);
	}
	fprintf(stderr, "images: %llu operations, %llu images, %llu recovered\n",
		(unsigned long long)operations, (unsigned long long)images,
		(unsigned long long)looked_at);
	CHECK(operations > 0);
	sweep_run_end(&run);
}

const struct skv_test skv_tests_images[] = {
	/* hazards 3, 6, 10, 12 */
	{ "images", "what a kill at any store leaves is recovered", every_image_is_recovered, 1800 },
	{ 0 },
};

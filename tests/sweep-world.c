/* SPDX-License-Identifier: MIT */
#include "tests/sweep-world.h"

#include "api/handle.h"
#include "shm/chunk.h"
#include "shm/directory.h"
#include "tests/boot-clock.h"

#include <shmkv/batch.h>
#include <shmkv/expiry.h>
#include <shmkv/reserve.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* Consecutive refusals after which a segment counts as full: some leaves fill up before the
 * memory does, so several keys are tried. */
#define FULL_AFTER 96u

static struct {
	char text[48];
	size_t len;
} keys[SWEEP_KEYS];

static uint64_t random_state;

/* ---- saying what is wrong ------------------------------------------------------------ */

void sweep_bail(struct sweep_world *w, const char *fmt, ...)
{
	char what[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (__atomic_exchange_n(&w->board->said, 1, __ATOMIC_SEQ_CST) == 0)
		snprintf(w->board->message, sizeof(w->board->message), "%s: %s: %s", w->replay,
			 w->role, what);
	/* Not exit: a forked child has its parent's handlers. */
	_exit(1);
}

void sweep_want(struct sweep_world *w, const char *text, int r, int want)
{
	if (r != want)
		sweep_bail(w, "%s is %d (%s), not %d (%s)", text, r, shmkv_errname(r), want,
			   shmkv_errname(want));
}

/* ---- randomness ----------------------------------------------------------------------- */

/*
 * In place of libc's, for the whole test program: hash keys and block secrets are the same
 * in every segment of one seed, so that a case does the same thing each time it is run.
 */
ssize_t getrandom(void *buf, size_t len, unsigned int flags)
{
	uint8_t *p = buf;
	uint64_t x = 0;
	size_t i;

	(void)flags;
	for (i = 0; i < len; i++) {
		if (i % 8 == 0) {
			/* SplitMix64 (Steele, Lea, Flood; public domain by Vigna). */
			x = random_state += 0x9e3779b97f4a7c15ull;
			x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
			x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
			x ^= x >> 31;
		}
		p[i] = (uint8_t)(x >> (i % 8 * 8));
	}
	return (ssize_t)len;
}

void sweep_random_reset(uint64_t seed)
{
	random_state = seed;
}

/* ---- keys and values ------------------------------------------------------------------ */

static struct skv_map *map_of(struct shmkv *kv)
{
	return kv->map;
}

static struct skv_place place_of(struct skv_map *map, const char *text, size_t len)
{
	return skv_place_of_hash(skv_hash(&map->hash, text, len));
}

void sweep_keys_init(uint64_t seed)
{
	struct shmkv_options opts = { .size = sizeof(opts), .max_bytes = (uint64_t)1 << 20 };
	unsigned int n = 0;
	char name[64];
	struct shmkv *kv;
	uint32_t id;

	snprintf(name, sizeof(name), "sweep-keys-%d", (int)getpid());
	sweep_random_reset(seed);
	if (shmkv_create(name, &opts, &kv) < 0)
		abort();
	for (id = 0; id < SWEEP_KEYS; id++) {
		do {
			/* Lengths differ, so that records of one payload lie in several classes. */
			keys[id].len = (size_t)snprintf(keys[id].text, sizeof(keys[id].text),
							"key-%u-%.*s", n, (int)(n % 24),
							"abcdefghijklmnopqrstuvwxyz");
			n++;
		} while (id >= SWEEP_DEEP && id < SWEEP_DEEP + SWEEP_N_DEEP &&
			 skv_place_index(place_of(map_of(kv), keys[id].text, keys[id].len),
					 SWEEP_DEEP_BITS) != 5);
	}
	shmkv_detach(kv);
	shmkv_unlink(name);
}

const char *sweep_key(uint32_t id, size_t *ret_len)
{
	*ret_len = keys[id].len;
	return keys[id].text;
}

void sweep_keep_no_leaves(struct shmkv *kv)
{
	skv_store_relaxed(&skv_super(map_of(kv))->leaf_target, 0);
}

bool sweep_same_leaf(struct shmkv *kv, uint32_t a, uint32_t b)
{
	struct skv_map *map = map_of(kv);
	struct skv_route ra, rb;

	if (skv_directory_route(map, place_of(map, keys[a].text, keys[a].len), &ra) < 0 ||
	    skv_directory_route(map, place_of(map, keys[b].text, keys[b].len), &rb) < 0)
		return false;
	return ra.leaf == rb.leaf;
}

static void make_payload(uint32_t id, uint32_t version, uint8_t *buf, size_t len)
{
	uint64_t x = ((uint64_t)id << 32 | version) * 0x9e3779b97f4a7c15ull + 1;
	size_t i;

	for (i = 0; i < len; i++) {
		if (i % 8 == 0)
			x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ull + i;
		buf[i] = (uint8_t)(x >> (i % 8 * 8));
	}
}

struct sweep_value sweep_bin(struct sweep_world *w, uint32_t len)
{
	struct sweep_value value = { .kind = SWEEP_BIN, .len = len, .version = ++w->version };

	return value;
}

struct sweep_value sweep_int(int64_t number)
{
	struct sweep_value value = { .kind = SWEEP_INT, .number = number };

	return value;
}

/* The second buffer is for what comes back. */
static uint8_t out_buf[SWEEP_VALUE_MAX], in_buf[SWEEP_VALUE_MAX];

static struct shmkv_value pack(uint32_t id, const struct sweep_value *value)
{
	if (value->kind == SWEEP_INT)
		return shmkv_int(value->number);
	make_payload(id, value->version, out_buf, value->len);
	make_payload(id, value->version2, out_buf + value->len, value->len2);
	return shmkv_bin(out_buf, (size_t)value->len + value->len2);
}

static bool equals(uint32_t id, const struct shmkv_value *got, const struct sweep_value *value)
{
	struct shmkv_value want;

	if (value->kind == SWEEP_INT)
		return got->type == SHMKV_INT && got->i64 == value->number;
	want = pack(id, value);
	return got->type == SHMKV_BIN && got->len == want.len &&
	       memcmp(got->data, want.data, want.len) == 0;
}

bool sweep_matches(struct sweep_world *w, struct shmkv *kv, uint32_t id,
		   const struct sweep_value *value)
{
	struct shmkv_value got;
	int r = shmkv_get(kv, keys[id].text, keys[id].len, in_buf, sizeof(in_buf), &got, NULL);

	if (r != 0 && r != -ENOENT)
		sweep_bail(w, "get of key %u answers %d (%s)", id, r, shmkv_errname(r));
	if (value->kind == SWEEP_ABSENT)
		return r == -ENOENT;
	return r == 0 && equals(id, &got, value);
}

/* In a cache: what is absent now has made room for something. */
static void forgive_key(struct sweep_world *w, struct shmkv *kv, uint32_t id)
{
	if (w->evicts && w->model[id].kind != SWEEP_ABSENT &&
	    shmkv_exists(kv, keys[id].text, keys[id].len) == -ENOENT) {
		w->model[id].kind = SWEEP_ABSENT;
		w->n_gone++;
	}
}

static void want_key(struct sweep_world *w, struct shmkv *kv, uint32_t id)
{
	struct sweep_value absent = { .kind = SWEEP_ABSENT };

	forgive_key(w, kv, id);
	if (!sweep_matches(w, kv, id, &w->model[id]))
		sweep_bail(w, "key %u is not what it must be (kind %u, version %u): %s", id,
			   w->model[id].kind, w->model[id].version,
			   sweep_matches(w, kv, id, &absent) ? "it is absent" :
							       "it holds something else");
}

static size_t filler_key(uint32_t i, char buf[32])
{
	return (size_t)snprintf(buf, 32, "filler-%05u", i);
}

static struct shmkv_value filler_value(uint32_t i)
{
	make_payload(SWEEP_KEYS + i, 1, out_buf, SWEEP_FILL_BYTES);
	return shmkv_bin(out_buf, SWEEP_FILL_BYTES);
}

/* ---- the segment and the model -------------------------------------------------------- */

void sweep_create(struct sweep_world *w)
{
	SWEEP_WANT(w, shmkv_create(w->name, &w->opts, &w->kv), 0);
}

void sweep_put(struct sweep_world *w, struct shmkv *kv, uint32_t id, struct sweep_value value)
{
	int r = shmkv_put(kv, keys[id].text, keys[id].len, pack(id, &value), NULL);

	if (r != 0)
		sweep_bail(w, "put of key %u answers %d (%s)", id, r, shmkv_errname(r));
	w->model[id] = value;
	w->touched[id] = true;
}

void sweep_del(struct sweep_world *w, struct shmkv *kv, uint32_t id)
{
	int want;

	forgive_key(w, kv, id);
	want = w->model[id].kind == SWEEP_ABSENT ? -ENOENT : 0;
	SWEEP_WANT(w, shmkv_del(kv, keys[id].text, keys[id].len), want);
	w->model[id].kind = SWEEP_ABSENT;
	w->touched[id] = true;
}

uint64_t sweep_evictions(struct shmkv *kv)
{
	const struct skv_map *map = map_of(kv);
	uint32_t i, n = skv_contexts_ready(map);
	uint64_t sum = 0;

	for (i = 0; i < n; i++)
		sum += skv_load_relaxed(&skv_context_at(map, i)->evictions);
	return sum;
}

/* Each of them was counted, but by those who died right then. */
static void forgive(struct sweep_world *w, struct shmkv *kv)
{
	char key[32];
	uint32_t i;

	if (!w->evicts)
		return;
	for (i = 0; i < SWEEP_KEYS; i++)
		forgive_key(w, kv, i);
	for (i = 0; i < w->n_fill; i++) {
		if (!w->filler[i] || shmkv_exists(kv, key, filler_key(i, key)) != -ENOENT)
			continue;
		w->filler[i] = false;
		w->n_gone++;
	}
	if (w->n_gone > sweep_evictions(kv) + SWEEP_MANY_MAX)
		sweep_bail(w, "%llu keys are gone, %llu were evicted", (unsigned long long)w->n_gone,
			   (unsigned long long)sweep_evictions(kv));
}

uint32_t sweep_fill(struct sweep_world *w, struct shmkv *kv, uint32_t limit)
{
	uint64_t evicted = sweep_evictions(kv);
	uint32_t i, n = 0, failed = 0;
	char key[32];
	int r;

	for (i = 0; i < SWEEP_FILL_MAX && failed < FULL_AFTER && n < limit; i++) {
		if (w->filler[i])
			continue;
		r = shmkv_put(kv, key, filler_key(i, key), filler_value(i), NULL);
		if (r == -ENOSPC) {
			failed++;
			continue;
		}
		if (r != 0)
			sweep_bail(w, "put of filler %u answers %d (%s)", i, r, shmkv_errname(r));
		failed = 0;
		w->filler[i] = true;
		if (w->n_fill <= i)
			w->n_fill = i + 1;
		n++;
		/* A cache is full when something had to go. */
		if (sweep_evictions(kv) != evicted)
			break;
	}
	return n;
}

void sweep_unfill(struct sweep_world *w, struct shmkv *kv)
{
	char key[32];
	uint32_t i;

	forgive(w, kv);
	for (i = 0; i < w->n_fill; i++) {
		if (w->filler[i])
			SWEEP_WANT(w, shmkv_del(kv, key, filler_key(i, key)), 0);
		w->filler[i] = false;
	}
	w->n_fill = 0;
}

/* ---- operations ----------------------------------------------------------------------- */

static int scan_all(struct sweep_world *w, struct shmkv *kv);

/* How many values survivors may have stored that the victim knows nothing of. */
#define VERSIONS_UNKNOWN 5000u

/* Is what a view shows one whole value of its key, whichever? */
static bool is_whole(const struct sweep_world *w, uint32_t id, const struct shmkv_view *view)
{
	uint32_t version;
	uint8_t first[8];

	if (view->value.type != SHMKV_BIN || view->value.len < sizeof(first) ||
	    view->value.len > sizeof(in_buf))
		return false;
	for (version = 1; version <= w->version + VERSIONS_UNKNOWN; version++) {
		make_payload(id, version, first, sizeof(first));
		if (memcmp(first, view->value.data, sizeof(first)) != 0)
			continue;
		make_payload(id, version, in_buf, view->value.len);
		return memcmp(in_buf, view->value.data, view->value.len) == 0;
	}
	return false;
}

/* A view, and the value replaced under it if there is one to replace it: it must not notice. */
static int view_op(struct sweep_world *w, struct shmkv *kv, uint32_t id,
		   const struct sweep_value *replacement)
{
	const uint8_t *data;
	struct shmkv_view view;
	uint64_t token;
	int r = shmkv_view_begin(kv, keys[id].text, keys[id].len, &view);

	if (r < 0)
		return r;
	data = view.value.data;
	token = view.token;
	if (!is_whole(w, id, &view))
		sweep_bail(w, "a view shows what is no value of its key");
	if (replacement) {
		r = shmkv_replace(kv, keys[id].text, keys[id].len, pack(id, replacement), NULL);
		if (view.value.data != data || view.token != token || !is_whole(w, id, &view))
			sweep_bail(w, "a view has changed");
	}
	SWEEP_WANT(w, shmkv_view_end(&view), 0);
	return r;
}

struct sweep_value sweep_item(struct sweep_value value, uint32_t i)
{
	value.len += i * SWEEP_ITEM_STEP;
	return value;
}

static int put_many(struct sweep_world *w, struct shmkv *kv, uint32_t id,
		    const struct sweep_value *value)
{
	static uint8_t bufs[SWEEP_ITEMS][4096];
	struct shmkv_put_item items[SWEEP_ITEMS] = { 0 };
	struct sweep_value each;
	uint32_t i;
	int r;

	for (i = 0; i < SWEEP_ITEMS; i++) {
		each = sweep_item(*value, i);
		make_payload(id, each.version, bufs[i], each.len);
		items[i].key = keys[id].text;
		items[i].key_len = keys[id].len;
		items[i].value = shmkv_bin(bufs[i], each.len);
	}
	w->board->last_item = 0;
	r = shmkv_put_many(kv, items, SWEEP_ITEMS, NULL);
	for (i = 0; r == 0 && i < SWEEP_ITEMS; i++) {
		if (items[i].result == 0)
			w->board->last_item = i + 1;
	}
	for (i = 0; r == 0 && i < SWEEP_ITEMS; i++)
		r = items[i].result;
	return r;
}

/* A write that is filled in place; or nothing at all. */
static int draft_op(struct sweep_world *w, struct shmkv *kv, const struct sweep_op *op,
		    const struct sweep_value *value)
{
	struct shmkv_value put = pack(op->key, value);
	struct shmkv_draft draft;
	int r = shmkv_reserve(kv, keys[op->key].text, keys[op->key].len, SHMKV_BIN, put.len + 3,
			      &draft);

	if (r < 0)
		return r;
	memcpy(draft.data, put.data, put.len);
	if (op->kind == SWEEP_DRAFT_ABORT)
		return shmkv_abort(&draft);
	if (op->kind == SWEEP_DRAFT_CAS)
		r = shmkv_commit_ttl(&draft, put.len, SHMKV_COMMIT_CAS, w->token,
				     SHMKV_TTL_DEFAULT, NULL);
	else if (op->kind == SWEEP_DRAFT_TTL)
		r = shmkv_commit_ttl(&draft, put.len, SHMKV_COMMIT_PUT, 0, 1, NULL);
	else
		r = shmkv_commit(&draft, put.len, SHMKV_COMMIT_PUT, NULL);
	/* Refused: the caller's again. */
	if (r < 0 && shmkv_abort(&draft) < 0)
		return -EIO;
	return r;
}

/* No operation of the sweep has it. */
#define KEY_OF_NOBODY "nobody's"

static int refused_draft_op(struct shmkv *kv)
{
	struct shmkv_draft draft;
	int r = shmkv_reserve(kv, KEY_OF_NOBODY, sizeof(KEY_OF_NOBODY), SHMKV_BIN, SWEEP_SMALL,
			      &draft);

	if (r < 0)
		return r == -ENOSPC ? 0 : r;
	memset(draft.data, 1, draft.len);
	if (shmkv_commit(&draft, draft.len, SHMKV_COMMIT_REPLACE, NULL) != -ENOENT)
		return -EIO;
	return shmkv_abort(&draft);
}

static int detach_with_drafts_op(struct shmkv **kv)
{
	static const size_t lens[] = { SWEEP_SMALL, SWEEP_RUN, SWEEP_WIDE };
	struct shmkv_draft draft;
	size_t i;
	int r = 0;

	for (i = 0; i < sizeof(lens) / sizeof(lens[0]) && r == 0; i++) {
		r = shmkv_reserve(*kv, KEY_OF_NOBODY, sizeof(KEY_OF_NOBODY), SHMKV_BIN, lens[i],
				  &draft);
		if (r == 0)
			memset(draft.data, 1, lens[i]);
	}
	*kv = shmkv_detach(*kv);
	return r == -ENOSPC ? 0 : r;
}

static bool has_flagged;

static void note_flag(enum skv_fault_point point)
{
	if (point == SKV_FAULT_WAIT_FLAGGED)
		has_flagged = true;
}

/* As short as can be, but a wait: on a busy machine its deadline may be over before it begins. */
static int wait_a_moment(struct shmkv *kv, const char *key, size_t len, uint64_t seen)
{
	uint64_t ms;
	int r = -ETIMEDOUT;

	has_flagged = false;
	skv_fault_watch(note_flag);
	for (ms = 1; r == -ETIMEDOUT && !has_flagged && ms < 10000; ms *= 4) {
		if (key)
			r = shmkv_wait(kv, key, len, seen, shmkv_deadline_in(ms), NULL);
		else
			r = shmkv_wait_any(kv, seen, shmkv_deadline_in(ms), NULL);
	}
	skv_fault_watch(NULL);
	return r;
}

int sweep_run_op(struct sweep_world *w, struct shmkv **kv, const struct sweep_op *op,
		 struct sweep_value value)
{
	const char *key = keys[op->key].text;
	size_t len = keys[op->key].len, n;
	struct shmkv_recovery report = { .size = sizeof(report) };
	struct shmkv_value got;
	int r, fd;

	switch (op->kind) {
	case SWEEP_VIEW:
		return view_op(w, *kv, op->key, NULL);
	case SWEEP_VIEW_REPLACE:
		return view_op(w, *kv, op->key, &value);
	case SWEEP_DRAFT:
	case SWEEP_DRAFT_CAS:
	case SWEEP_DRAFT_TTL:
	case SWEEP_DRAFT_ABORT:
		return draft_op(w, *kv, op, &value);
	case SWEEP_DRAFT_REFUSED:
		return refused_draft_op(*kv);
	case SWEEP_DRAFT_DETACH:
		return detach_with_drafts_op(kv);
	case SWEEP_PUT:
		return shmkv_put(*kv, key, len, pack(op->key, &value), NULL);
	case SWEEP_PUT_MANY:
		return put_many(w, *kv, op->key, &value);
	case SWEEP_ADD:
		return shmkv_add(*kv, key, len, pack(op->key, &value), NULL);
	case SWEEP_REPLACE:
		return shmkv_replace(*kv, key, len, pack(op->key, &value), NULL);
	case SWEEP_CAS:
		return shmkv_cas(*kv, key, len, w->token, pack(op->key, &value), NULL);
	case SWEEP_INCR:
		return shmkv_incr(*kv, key, len, 3, 10, NULL);
	case SWEEP_APPEND:
		return shmkv_append(*kv, key, len, pack(op->key, &value), NULL);
	case SWEEP_DEL:
		return shmkv_del(*kv, key, len);
	case SWEEP_TAKE:
		return shmkv_take(*kv, key, len, in_buf, sizeof(in_buf), &n);
	case SWEEP_CLEAR:
		return shmkv_clear(*kv, &w->board->removed);
	case SWEEP_GET:
		return shmkv_get(*kv, key, len, in_buf, sizeof(in_buf), &got, NULL);
	case SWEEP_SCAN:
		return scan_all(w, *kv);
	case SWEEP_RECOVER:
		return shmkv_recover(*kv, &report);
	case SWEEP_MAINTAIN:
		return shmkv_maintain(*kv);
	case SWEEP_CREATE:
		return shmkv_create(w->name, &w->opts, kv);
	case SWEEP_ATTACH:
		return shmkv_attach(w->name, 0, kv);
	case SWEEP_DETACH:
		*kv = shmkv_detach(*kv);
		return 0;
	case SWEEP_PUT_TTL:
		return shmkv_put_ttl(*kv, key, len, pack(op->key, &value), 1, NULL);
	case SWEEP_TOUCH:
		return shmkv_touch(*kv, key, len, SWEEP_TTL);
	case SWEEP_PERSIST:
		return shmkv_persist(*kv, key, len);
	case SWEEP_EXPIRE:
		return shmkv_expire(*kv, 0, NULL);
	case SWEEP_WAIT:
		return wait_a_moment(*kv, key, len, w->token);
	case SWEEP_WAIT_ANY:
		/* Whether something changed meanwhile does not matter: it comes back. */
		r = wait_a_moment(*kv, NULL, 0, w->token);
		return r == -ETIMEDOUT ? 0 : r;
	case SWEEP_POLL:
		r = shmkv_poll_open(*kv, &fd);
		if (r < 0)
			return r;
		r = shmkv_poll(*kv, fd, key, len, w->token, NULL);
		close(fd);
		return r == -ETIMEDOUT ? 0 : r;
	}
	return -EINVAL;
}

int sweep_model_op(struct sweep_world *w, const struct sweep_op *op, struct sweep_value value,
		   bool token_is_current)
{
	struct sweep_value *now = &w->model[op->key];
	bool present = now->kind != SWEEP_ABSENT;
	uint32_t i;

	switch (op->kind) {
	case SWEEP_PUT:
	case SWEEP_DRAFT:
		*now = value;
		return 0;
	case SWEEP_PUT_MANY:
		*now = sweep_item(value, SWEEP_ITEMS - 1);
		return 0;
	case SWEEP_ADD:
		if (present)
			return -EEXIST;
		*now = value;
		return 0;
	case SWEEP_REPLACE:
	case SWEEP_VIEW_REPLACE:
		if (!present)
			return -ENOENT;
		*now = value;
		return 0;
	case SWEEP_CAS:
	case SWEEP_DRAFT_CAS:
		if (!present)
			return -ENOENT;
		if (!token_is_current)
			return -ESTALE;
		*now = value;
		return 0;
	case SWEEP_INCR:
		if (present && now->kind != SWEEP_INT)
			return -EPROTOTYPE;
		*now = sweep_int((present ? now->number : 10) + 3);
		return 0;
	case SWEEP_APPEND:
		if (present && now->kind != SWEEP_BIN)
			return -EPROTOTYPE;
		if (!present) {
			*now = value;
			return 0;
		}
		now->len2 = value.len;
		now->version2 = value.version;
		return 0;
	case SWEEP_DEL:
	case SWEEP_TAKE:
		now->kind = SWEEP_ABSENT;
		return present ? 0 : -ENOENT;
	case SWEEP_GET:
	case SWEEP_TOUCH:
	case SWEEP_PERSIST:
	case SWEEP_VIEW:
		return present ? 0 : -ENOENT;
	case SWEEP_PUT_TTL:
	case SWEEP_DRAFT_TTL:
		*now = value;
		now->ends = true;
		return 0;
	case SWEEP_WAIT:
		/* It waits for the key to change from what it was, or from absence. */
		return (w->was_absent ? !present : present && token_is_current) ? -ETIMEDOUT : 0;
	case SWEEP_DRAFT_ABORT:
		return 0;
	case SWEEP_CLEAR:
		for (i = 0; i < SWEEP_KEYS; i++)
			w->model[i].kind = SWEEP_ABSENT;
		memset(w->filler, 0, sizeof(w->filler));
		w->n_fill = 0;
		return 0;
	default:
		return 0;
	}
}

/* ---- time ----------------------------------------------------------------------------- */

void sweep_timed(struct sweep_world *w)
{
	skv_boot_clock_stop();
	w->timed = true;
}

void sweep_lapse(struct sweep_world *w)
{
	uint32_t i;

	if (!w->timed)
		return;
	skv_boot_clock_advance_ms(1);
	for (i = 0; i < SWEEP_KEYS; i++) {
		if (w->model[i].kind == SWEEP_ABSENT || !w->model[i].ends)
			continue;
		w->model[i].kind = SWEEP_ABSENT;
		w->unswept++;
	}
}

void sweep_put_ending(struct sweep_world *w, struct shmkv *kv, uint32_t id, uint32_t len)
{
	struct sweep_op op = { SWEEP_PUT_TTL, id, len };
	struct sweep_value value = sweep_bin(w, len);

	SWEEP_WANT(w, sweep_run_op(w, &kv, &op, value), 0);
	sweep_model_op(w, &op, value, false);
}

void sweep_judge_ttl(struct sweep_world *w, struct shmkv *kv, bool done)
{
	uint64_t given = w->op.kind == SWEEP_TOUCH ? SWEEP_TTL : SHMKV_TTL_NEVER, ms;
	int r = shmkv_ttl(kv, keys[w->op.key].text, keys[w->op.key].len, &ms);

	if (r < 0)
		sweep_bail(w, "the touched key's remaining time is %d (%s)", r, shmkv_errname(r));
	/* Lapses have taken some of it. */
	if (given != SHMKV_TTL_NEVER && ms <= given && ms + 1000 > given)
		ms = given;
	if (ms == given)
		return;
	if (!done && (ms == SHMKV_TTL_NEVER ||
		      (ms <= SWEEP_TTL_BEFORE && ms + 1000 > SWEEP_TTL_BEFORE)))
		return;
	sweep_bail(w, "the touched key has %llu ms to live", (unsigned long long)ms);
}

/* ---- verifying ------------------------------------------------------------------------ */

static uint64_t n_expected(const struct sweep_world *w)
{
	uint64_t n = 0;
	uint32_t i;

	for (i = 0; i < SWEEP_KEYS; i++)
		n += w->model[i].kind != SWEEP_ABSENT;
	for (i = 0; i < w->n_fill; i++)
		n += w->filler[i];
	return n;
}

static bool entry_is_right(struct sweep_world *w, const struct shmkv_entry *entry, bool *seen)
{
	struct shmkv_value value, want;
	unsigned int id;

	if (shmkv_value_decode(entry->value, entry->value_len, &value) < 0)
		return false;
	if (entry->key_len == 12 && memcmp(entry->key, "filler-", 7) == 0) {
		id = (unsigned int)atoi((const char *)entry->key + 7);
		if (id >= w->n_fill || !w->filler[id] || seen[SWEEP_KEYS + id])
			return false;
		seen[SWEEP_KEYS + id] = true;
		want = filler_value(id);
		return value.type == SHMKV_BIN && value.len == want.len &&
		       memcmp(value.data, want.data, want.len) == 0;
	}
	for (id = 0; id < SWEEP_KEYS; id++) {
		if (entry->key_len == keys[id].len &&
		    memcmp(entry->key, keys[id].text, keys[id].len) == 0)
			break;
	}
	if (id == SWEEP_KEYS || seen[id] || w->model[id].kind == SWEEP_ABSENT)
		return false;
	seen[id] = true;
	return equals(id, &value, &w->model[id]);
}

/* Each key exactly once, with what the model says. */
static int scan_all(struct sweep_world *w, struct shmkv *kv)
{
	static bool seen[SWEEP_KEYS + SWEEP_FILL_MAX];
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t n = 0;
	int r;

	memset(seen, 0, sizeof(seen));
	SWEEP_WANT(w, shmkv_scan_begin(kv, 0, &scan), 0);
	while ((r = shmkv_scan_next(scan, &entry)) == 1) {
		if (!entry_is_right(w, &entry, seen))
			sweep_bail(w, "the scan gives key %.*s: wrong, unknown or repeated",
				   (int)entry.key_len, (const char *)entry.key);
		n++;
	}
	shmkv_scan_end(scan);
	if (r < 0)
		sweep_bail(w, "the scan answers %d (%s)", r, shmkv_errname(r));
	if (n != n_expected(w))
		sweep_bail(w, "the scan gives %llu keys of %llu", (unsigned long long)n,
			   (unsigned long long)n_expected(w));
	return 0;
}

static void want_count(struct sweep_world *w, struct shmkv *kv, uint32_t tolerance)
{
	uint64_t count, want;

	forgive(w, kv);
	want = n_expected(w);

	SWEEP_WANT(w, shmkv_count(kv, &count), 0);
	if (count > want + tolerance + w->unswept || count + tolerance < want)
		sweep_bail(w, "the count is %llu, there are %llu keys",
			   (unsigned long long)count, (unsigned long long)want);
}

void sweep_verify(struct sweep_world *w, struct shmkv *kv)
{
	uint32_t id;

	forgive(w, kv);
	for (id = 0; id < SWEEP_KEYS; id++) {
		/* Absent keys are looked up now and then only: the scan would show them. */
		if (w->model[id].kind != SWEEP_ABSENT || id % 16 == 0)
			want_key(w, kv, id);
	}
	scan_all(w, kv);
	want_count(w, kv, w->deaths);
}

uint64_t sweep_after_clear(struct sweep_world *w, struct shmkv *kv)
{
	struct sweep_value absent = { .kind = SWEEP_ABSENT };
	uint64_t n = 0;
	char key[32];
	uint32_t i;

	for (i = 0; i < SWEEP_KEYS; i++) {
		if (w->model[i].kind == SWEEP_ABSENT)
			continue;
		if (sweep_matches(w, kv, i, &absent))
			w->model[i].kind = SWEEP_ABSENT;
		else
			n += !w->touched[i];
	}
	for (i = 0; i < w->n_fill; i++)
		w->filler[i] = w->filler[i] && shmkv_exists(kv, key, filler_key(i, key)) == 0;
	return n;
}

/* ---- the battery ---------------------------------------------------------------------- */

/* Every kind of call on one key, which is left as it was. */
static void exercise(struct sweep_world *w, struct shmkv *kv, uint32_t id)
{
	struct sweep_value saved, value;
	const char *key = keys[id].text;
	size_t len = keys[id].len, n;
	uint64_t token, second;
	int64_t number;

	want_key(w, kv, id);
	saved = w->model[id];
	SWEEP_WANT(w, shmkv_exists(kv, key, len), saved.kind == SWEEP_ABSENT ? -ENOENT : 0);

	value = sweep_bin(w, SWEEP_SMALL);
	SWEEP_WANT(w, shmkv_put(kv, key, len, pack(id, &value), &token), 0);
	w->model[id] = value;
	w->touched[id] = true;
	want_key(w, kv, id);
	value = sweep_bin(w, SWEEP_SMALL + 20);
	SWEEP_WANT(w, shmkv_cas(kv, key, len, token, pack(id, &value), &second), 0);
	w->model[id] = value;
	want_key(w, kv, id);
	SWEEP_WANT(w, shmkv_cas(kv, key, len, token, shmkv_int(1), NULL), -ESTALE);
	SWEEP_WANT(w, shmkv_add(kv, key, len, shmkv_int(1), NULL), -EEXIST);
	want_key(w, kv, id);
	value = sweep_bin(w, 250);
	SWEEP_WANT(w, shmkv_replace(kv, key, len, pack(id, &value), NULL), 0);
	w->model[id] = value;
	make_payload(id, ++w->version, out_buf, 30);
	SWEEP_WANT(w, shmkv_append(kv, key, len, shmkv_bin(out_buf, 30), &n), 0);
	w->model[id].len2 = 30;
	w->model[id].version2 = w->version;
	want_key(w, kv, id);
	SWEEP_WANT(w, shmkv_incr(kv, key, len, 1, 0, NULL), -EPROTOTYPE);

	sweep_del(w, kv, id);
	want_key(w, kv, id);
	sweep_del(w, kv, id);
	SWEEP_WANT(w, shmkv_replace(kv, key, len, shmkv_int(1), NULL), -ENOENT);
	SWEEP_WANT(w, shmkv_cas(kv, key, len, second, shmkv_int(1), NULL), -ENOENT);
	SWEEP_WANT(w, shmkv_take(kv, key, len, in_buf, sizeof(in_buf), &n), -ENOENT);
	SWEEP_WANT(w, shmkv_incr(kv, key, len, 2, 5, &number), 0);
	SWEEP_WANT(w, shmkv_incr(kv, key, len, 1, 0, &number), 0);
	w->model[id] = sweep_int(8);
	want_key(w, kv, id);
	SWEEP_WANT(w, shmkv_take(kv, key, len, in_buf, sizeof(in_buf), &n), 0);
	w->model[id].kind = SWEEP_ABSENT;
	value = sweep_bin(w, SWEEP_SMALL);
	SWEEP_WANT(w, shmkv_add(kv, key, len, pack(id, &value), NULL), 0);
	w->model[id] = value;
	want_key(w, kv, id);
	SWEEP_WANT(w, shmkv_touch(kv, key, len, SWEEP_TTL), 0);
	want_key(w, kv, id);
	SWEEP_WANT(w, shmkv_persist(kv, key, len), 0);
	SWEEP_WANT(w, shmkv_ttl(kv, key, len, &token), 0);
	if (token != SHMKV_TTL_NEVER)
		sweep_bail(w, "key %u has %llu ms to live and should live for ever", id,
			   (unsigned long long)token);
	want_key(w, kv, id);

	if (saved.kind == SWEEP_ABSENT)
		sweep_del(w, kv, id);
	else
		sweep_put(w, kv, id, saved);
	want_key(w, kv, id);
}

/* One record of each kind of memory comes and goes. */
static void exercise_sizes(struct sweep_world *w, struct shmkv *kv)
{
	static const uint32_t lens[] = { SWEEP_MEDIUM, SWEEP_WIDE, SWEEP_RUN };
	uint32_t i, id = SWEEP_EXTRA + 8;

	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		sweep_put(w, kv, id + i, sweep_bin(w, lens[i]));
		want_key(w, kv, id + i);
		sweep_put(w, kv, id + i, sweep_bin(w, SWEEP_SMALL));
		sweep_del(w, kv, id + i);
	}
}

void sweep_battery(struct sweep_world *w, struct shmkv *kv, uint32_t target, bool touch)
{
	uint32_t id, n_old = 0, n_new = 0, n_far = 0;
	bool near;

	sweep_verify(w, kv);
	/* A full segment first shows that removing needs no memory. */
	sweep_unfill(w, kv);
	for (id = 0; id < SWEEP_DEEP + SWEEP_N_DEEP; id++) {
		if (id == target)
			continue;
		near = sweep_same_leaf(kv, id, target);
		if (near && w->model[id].kind != SWEEP_ABSENT && n_old < 3) {
			n_old++;
			exercise(w, kv, id);
		} else if (near && w->model[id].kind == SWEEP_ABSENT && n_new < 3) {
			n_new++;
			exercise(w, kv, id);
		} else if (!near && n_far < 2) {
			n_far++;
			exercise(w, kv, id);
		}
	}
	exercise_sizes(w, kv);
	if (touch)
		exercise(w, kv, target);
	sweep_verify(w, kv);
}

/* ---- twists --------------------------------------------------------------------------- */

const char *const sweep_twist_names[] = {
	[SWEEP_TWIST_NONE] = "none",
	[SWEEP_TWIST_REPLACE] = "replace",
	[SWEEP_TWIST_DELETE] = "delete",
	[SWEEP_TWIST_ABA] = "aba",
	[SWEEP_TWIST_REBUILD] = "rebuild",
	[SWEEP_TWIST_ELSEWHERE] = "elsewhere",
	[SWEEP_TWIST_RECYCLE] = "recycle",
	[SWEEP_TWIST_DISMANTLE] = "dismantle",
	[SWEEP_TWIST_EXHAUST] = "exhaust",
	[SWEEP_TWIST_TENANT] = "tenant",
	[SWEEP_TWIST_N] = NULL,
};

/* Absent keys of the target's leaf, or of others, come and go until so many were replaced. */
static void rebuild_leaf(struct sweep_world *w, struct shmkv *kv, uint32_t target, bool same,
			 uint32_t times)
{
	struct shmkv_info before = { .size = sizeof(before) }, now = { .size = sizeof(now) };
	uint32_t id, round;

	SWEEP_WANT(w, shmkv_info(kv, &before), 0);
	for (round = 0; round < 12; round++) {
		/* Not the deep ones: so many with one prefix fit no leaf. */
		for (id = 0; id < SWEEP_N_PLAIN; id++) {
			if (w->model[id].kind != SWEEP_ABSENT || id == target ||
			    sweep_same_leaf(kv, id, target) != same)
				continue;
			sweep_put(w, kv, id, sweep_bin(w, SWEEP_SMALL));
			if (id % 8 != 0 || round % 2)
				sweep_del(w, kv, id);
			if (id % 4 != 0)
				continue;
			/* How often decides which leaf is in use in the end, and for what. */
			SWEEP_WANT(w, shmkv_info(kv, &now), 0);
			if (now.splits + now.compactions >=
			    before.splits + before.compactions + times)
				return;
		}
	}
}

/* The same blocks again and again for other records, also for the target's neighbours. */
static void recycle(struct sweep_world *w, struct shmkv *kv, uint32_t target)
{
	static const uint32_t lens[] = { SWEEP_SMALL, SWEEP_MEDIUM, SWEEP_WIDE, SWEEP_RUN };
	uint32_t i, k, id = SWEEP_EXTRA + 16;

	if (w->model[target].kind != SWEEP_ABSENT)
		sweep_put(w, kv, target, w->model[target]);
	for (k = 0; k < 4; k++) {
		for (i = 0; i < 6; i++)
			sweep_put(w, kv, id + i, sweep_bin(w, lens[(i + k) % 4]));
		for (i = 0; i < 6; i++)
			sweep_del(w, kv, id + i);
	}
	/* They stay, in whatever was free first. */
	for (i = 0; i < 6; i++)
		sweep_put(w, kv, id + i, sweep_bin(w, lens[i % 4]));
}

void sweep_twist(struct sweep_world *w, struct shmkv *kv, uint32_t target, enum sweep_twist twist,
		 uint32_t salt)
{
	uint32_t id;

	switch (twist) {
	case SWEEP_TWIST_REPLACE:
		sweep_put(w, kv, target, sweep_bin(w, SWEEP_SMALL + 8));
		break;
	case SWEEP_TWIST_DELETE:
		sweep_del(w, kv, target);
		break;
	case SWEEP_TWIST_ABA:
		/* Freed last is used first: the second one lies where the first one lay. */
		if (w->model[target].kind == SWEEP_BIN) {
			uint32_t len = w->model[target].len + w->model[target].len2;

			sweep_put(w, kv, target, sweep_bin(w, len));
			sweep_put(w, kv, target, sweep_bin(w, len));
		} else {
			sweep_put(w, kv, target, sweep_bin(w, SWEEP_SMALL));
			sweep_del(w, kv, target);
		}
		break;
	case SWEEP_TWIST_REBUILD:
		rebuild_leaf(w, kv, target, true, 3 + salt % 4);
		break;
	case SWEEP_TWIST_ELSEWHERE:
		rebuild_leaf(w, kv, target, true, 1);
		rebuild_leaf(w, kv, target, false, 1 + salt % 2);
		break;
	case SWEEP_TWIST_RECYCLE:
		recycle(w, kv, target);
		break;
	case SWEEP_TWIST_DISMANTLE:
		/* Everything but the target goes, and one class takes all the memory. */
		for (id = 0; id < SWEEP_KEYS; id++) {
			if (id != target && w->model[id].kind != SWEEP_ABSENT)
				sweep_del(w, kv, id);
		}
		sweep_fill(w, kv, SWEEP_FILL_MAX);
		sweep_unfill(w, kv);
		sweep_put(w, kv, SWEEP_EXTRA + 24, sweep_bin(w, SWEEP_WIDE));
		sweep_put(w, kv, SWEEP_EXTRA + 25, sweep_bin(w, SWEEP_RUN));
		sweep_put(w, kv, SWEEP_EXTRA + 26, sweep_bin(w, SWEEP_MEDIUM));
		break;
	case SWEEP_TWIST_EXHAUST:
		sweep_fill(w, kv, SWEEP_FILL_MAX);
		break;
	default:
		break;
	}
	sweep_verify(w, kv);
}

/* ---- after it all --------------------------------------------------------------------- */

void sweep_recover(struct sweep_world *w, struct shmkv *kv, bool quiet)
{
	struct shmkv_recovery report = { .size = sizeof(report) };

	SWEEP_WANT(w, shmkv_recover(kv, &report), 0);
	if (quiet) {
		w->deaths = 0;
		want_count(w, kv, 0);
	}
}

static void on_violation(const char *text, void *arg)
{
	sweep_bail(arg, "check: %s", text);
}

void sweep_check_unrecovered(struct sweep_world *w, struct shmkv *kv)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	int r = shmkv_check(kv, on_violation, w, &audit);

	if (r != 0 && r != -EBADMSG)
		sweep_bail(w, "check answers %d (%s)", r, shmkv_errname(r));
	if (audit.leaked_blocks != audit.dead_blocks || audit.leaked_bytes != audit.dead_bytes ||
	    audit.leaked_leaves != audit.dead_leaves || audit.leaked_chunks != audit.dead_chunks + audit.unreturned_chunks)
		sweep_bail(w, "nobody announces %llu blocks, %llu leaves, %llu chunks",
			   (unsigned long long)(audit.leaked_blocks - audit.dead_blocks),
			   (unsigned long long)(audit.leaked_leaves - audit.dead_leaves),
			   (unsigned long long)(audit.leaked_chunks - audit.dead_chunks));
}

void sweep_check(struct sweep_world *w, struct shmkv *kv)
{
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_info info = { .size = sizeof(info) };
	int r = shmkv_check(kv, on_violation, w, &audit);

	forgive(w, kv);
	if (audit.leaked_blocks || audit.leaked_bytes || audit.leaked_leaves || audit.leaked_chunks)
		sweep_bail(w, "leaked: %llu blocks, %llu bytes, %llu leaves, %llu chunks",
			   (unsigned long long)audit.leaked_blocks,
			   (unsigned long long)audit.leaked_bytes,
			   (unsigned long long)audit.leaked_leaves,
			   (unsigned long long)audit.leaked_chunks);
	if (r != 0)
		sweep_bail(w, "check answers %d (%s)", r, shmkv_errname(r));
	if (audit.keys < n_expected(w) || audit.keys > n_expected(w) + w->unswept)
		sweep_bail(w, "check reaches %llu keys of %llu", (unsigned long long)audit.keys,
			   (unsigned long long)n_expected(w));
	SWEEP_WANT(w, shmkv_info(kv, &info), 0);
	if (info.processes_dead != 0)
		sweep_bail(w, "%u dead processes are left", info.processes_dead);
}

struct account {
	struct sweep_world *w;
	uint64_t chunks, leaf_chunks, live_leaves, blocks_used, blocks_free, free_chunks;
	bool empty; /* nothing may be in use but leaves */
};

static int account_item(const struct shmkv_layout_item *item, void *arg)
{
	struct account *a = arg;

	if (item->part == SHMKV_PART_LEAF) {
		a->live_leaves += strcmp(item->state, "live") == 0;
		if (strcmp(item->state, "live") != 0 && strcmp(item->state, "free") != 0 &&
		    strcmp(item->state, "spent") != 0)
			sweep_bail(a->w, "leaf %llu is %s", (unsigned long long)item->id,
				   item->state);
	}
	if (item->part != SHMKV_PART_CHUNK)
		return 0;
	a->chunks += item->bytes / SKV_CHUNK_BYTES;
	if (strcmp(item->state, "leaves") == 0) {
		a->leaf_chunks++;
	} else if (strcmp(item->state, "free") == 0) {
		a->free_chunks += item->bytes / SKV_CHUNK_BYTES;
	} else if (strcmp(item->state, "slab") != 0) {
		sweep_bail(a->w, "chunk %llu is %s", (unsigned long long)item->id, item->state);
	} else {
		a->blocks_used += item->blocks_used;
		a->blocks_free += item->blocks - item->blocks_used;
		if (a->empty && item->blocks_used > 0)
			sweep_bail(a->w, "chunk %llu holds %u blocks of %u bytes in an empty map",
				   (unsigned long long)item->id, item->blocks_used,
				   item->block_bytes);
		if (!a->empty && item->blocks_used < item->blocks)
			sweep_bail(a->w, "chunk %llu has %u free blocks of %u bytes in a full map",
				   (unsigned long long)item->id, item->blocks - item->blocks_used,
				   item->block_bytes);
	}
	return 0;
}

void sweep_account(struct sweep_world *w, struct shmkv *kv)
{
	struct account empty = { .w = w, .empty = true }, full = { .w = w };
	const struct skv_map *map = map_of(kv);
	struct sweep_op op = { .kind = SWEEP_CLEAR };
	struct sweep_value none = { .kind = SWEEP_ABSENT };
	uint64_t n;

	SWEEP_WANT(w, shmkv_clear(kv, NULL), 0);
	w->unswept = 0;
	sweep_model_op(w, &op, none, false);
	sweep_verify(w, kv);
	sweep_check(w, kv);
	SWEEP_WANT(w, shmkv_layout(kv, account_item, &empty), 0);
	if (w->evicts)
		return; /* never full */

	/* One class takes everything that is not for leaves: to the last block. */
	n = sweep_fill(w, kv, SWEEP_FILL_MAX);
	SWEEP_WANT(w, shmkv_layout(kv, account_item, &full), 0);
	if (full.free_chunks != 0 || full.chunks != map->region.geo.n_chunks)
		sweep_bail(w, "a full map has %llu free chunks, %llu of %u in use",
			   (unsigned long long)full.free_chunks, (unsigned long long)full.chunks,
			   map->region.geo.n_chunks);
	if (full.blocks_used != n)
		sweep_bail(w, "a full map holds %llu records in %llu blocks",
			   (unsigned long long)n, (unsigned long long)full.blocks_used);
	w->board->filled = n;
	w->board->fill_leaf_chunks = full.leaf_chunks;
	sweep_check(w, kv);
}

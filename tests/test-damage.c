/* SPDX-License-Identifier: MIT */
#include "tests/segment-copy.h"

#include <shmkv/batch.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-damage: a reader of a segment whose bytes are wrong, by accident or on purpose. It may
 * be given errors and wrong values; it must not crash, hang, read outside, or answer with a
 * code that its call does not have.
 *
 * Mutations are numbered from a seed. SKV_TEST_SEED repeats all of them; one more variable,
 * SKV_TEST_MUTATION, runs a single one. SKV_TEST_MUTATIONS makes the long form.
 */

#define MUTATIONS 2000u
#define MUTATION_SECONDS 10u
#define N_KEYS 1500u

static uint8_t payload[100000], buf[1 << 17];

/* ---- a segment worth damaging ------------------------------------------------------- */

static size_t len_of(uint64_t key)
{
	return key % 97 == 0 ? 20000 + key * 7 : key % 11 == 0 ? key % 3000 : key % 60;
}

static void stay_behind(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = skv_segment_attach(s, 0);
	uint64_t key;

	for (key = 0; key < 40; key++)
		CHECK_EQ(shmkv_put(kv, &key, 8, shmkv_bin(payload, len_of(key)), NULL), 0);
	kill(getpid(), SIGKILL);
}

static void make_segment(struct skv_segment *s)
{
	static const uint8_t array[] = { 0x93, 0x01, 0x92, 0xa1, 'x', 0x02, 0xc0 };
	uint64_t key;

	skv_fill(payload, sizeof(payload), 5);
	skv_segment_begin(s, 8 * MIB);
	for (key = 0; key < 2 * N_KEYS; key++)
		CHECK_EQ(shmkv_put(s->kv, &key, 8,
				   key % 13 ? shmkv_bin(payload, len_of(key)) :
					      shmkv_packed(array, sizeof(array)),
				   NULL),
			 0);
	/* Dead slots, free blocks and chunks, leaves in their second life. */
	for (key = N_KEYS; key < 2 * N_KEYS; key++)
		CHECK_EQ(shmkv_del(s->kv, &key, 8), 0);
	for (key = 0; key < N_KEYS; key += 3)
		CHECK_EQ(shmkv_put(s->kv, &key, 8, shmkv_bin(payload, len_of(key)), NULL), 0);
	skv_test_wait_killed(skv_fork(stay_behind, s), SIGKILL);
	/* Attached: a living participant is in the tables, too. */
}

/* With what the one who stayed behind had. */
static void end_segment(struct skv_segment *s)
{
	struct shmkv_recovery report = { .size = sizeof(report) };

	CHECK_EQ(shmkv_recover(s->kv, &report), 0);
	skv_segment_end(s);
}

/* ---- what a reader does -------------------------------------------------------------- */

static void expect(const char *call, int r, const int *allowed, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (r == allowed[i])
			return;
	}
	skv_test_fail(__FILE__, __LINE__, "%s answers %s (%d)", call, shmkv_errname(r), r);
}

#define EXPECT(expr, ...)                                                         \
	do {                                                                      \
		const int allowed_[] = { __VA_ARGS__ };                           \
		expect(#expr, (expr), allowed_, ARRAY_LEN(allowed_));             \
	} while (0)

/* Looks at every byte, so that a tool that watches memory sees it. */
static uint64_t touch(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++)
		sum += p[i];
	return sum;
}

static volatile uint64_t sink;

static void read_key(struct shmkv *kv, uint64_t key)
{
	struct shmkv_get_item items[3];
	struct shmkv_value value;
	uint64_t token, keys[ARRAY_LEN(items)];
	void *got = NULL;
	size_t len, i;
	int64_t n;
	int r;

	r = shmkv_get(kv, &key, 8, buf, sizeof(buf), &value, &token);
	EXPECT(r, 0, -ENOENT, -ENOBUFS, -EBADMSG, -EAGAIN);
	if (r == 0 && value.len > 0)
		sink += touch(value.data, value.len);
	for (i = 0; i < ARRAY_LEN(items); i++) {
		keys[i] = key + i;
		items[i] = (struct shmkv_get_item){ .key = &keys[i], .key_len = 8, .buf = buf,
						    .cap = sizeof(buf) };
	}
	CHECK_EQ(shmkv_get_many(kv, items, ARRAY_LEN(items), NULL), 0);
	for (i = 0; i < ARRAY_LEN(items); i++)
		EXPECT(items[i].result, 0, -ENOENT, -ENOBUFS, -EBADMSG, -EAGAIN);
	r = shmkv_get_packed(kv, &key, 8, buf, 100, &len, NULL);
	EXPECT(r, 0, -ENOENT, -ENOBUFS, -EBADMSG, -EAGAIN);
	if (r == 0) {
		CHECK(len <= 100);
		CHECK_EQ(shmkv_value_check(buf, len), 0);
	}
	r = shmkv_get_alloc(kv, &key, 8, &got, &len, NULL);
	EXPECT(r, 0, -ENOENT, -EBADMSG, -EAGAIN, -ENOMEM);
	if (r == 0) {
		CHECK_EQ(shmkv_value_check(got, len), 0);
		sink += touch(got, len);
		free(got);
	}
	EXPECT(shmkv_get_bin(kv, &key, 8, buf, sizeof(buf), &len), 0, -ENOENT, -ENOBUFS, -EBADMSG,
	       -EAGAIN, -EPROTOTYPE);
	EXPECT(shmkv_get_int(kv, &key, 8, &n), 0, -ENOENT, -EBADMSG, -EAGAIN, -EPROTOTYPE, -ERANGE);
	EXPECT(shmkv_exists(kv, &key, 8), 0, -ENOENT, -EBADMSG, -EAGAIN);
}

static int count_item(const struct shmkv_layout_item *item, void *arg)
{
	uint64_t *n = arg;

	CHECK(item->state != NULL && item->part >= SHMKV_PART_LEAF &&
	      item->part <= SHMKV_PART_THREAD);
	sink += strlen(item->state);
	if (item->part == SHMKV_PART_THREAD)
		sink += strlen(item->doing);
	++*n;
	return 0;
}

static void note_violation(const char *violation, void *arg)
{
	sink += strlen(violation);
	++*(uint64_t *)arg;
}

/* As the tools do it: an entry that is damaged is stepped over, up to a point. */
static void scan_all(struct shmkv *kv)
{
	struct shmkv_scan *scan;
	struct shmkv_entry entry;
	uint64_t n = 0, damaged = 0;
	int r;

	EXPECT(shmkv_scan_begin(kv, 0, &scan), 0);
	do {
		r = shmkv_scan_next(scan, &entry);
		EXPECT(r, 1, 0, -EBADMSG, -EAGAIN, -ENOMEM);
		if (r == 1) {
			CHECK(entry.key_len >= 1 && entry.key_len <= SHMKV_KEY_MAX);
			CHECK_EQ(shmkv_value_check(entry.value, entry.value_len), 0);
			sink += touch(entry.key, entry.key_len);
			sink += touch(entry.value, entry.value_len);
		}
		damaged = r == -EBADMSG ? damaged + 1 : 0;
		CHECK(++n < 1000000);
	} while (r == 1 || (r == -EBADMSG && damaged < 1000));
	sink += shmkv_scan_cursor(scan);
	shmkv_scan_end(scan);
}

static void read_everything(struct shmkv *kv, uint64_t first_key, uint64_t step)
{
	struct shmkv_info info = { .size = sizeof(info) };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	uint64_t key, n = 0;

	for (key = first_key; key < N_KEYS + 100; key += step)
		read_key(kv, key);
	scan_all(kv);
	EXPECT(shmkv_info(kv, &info), 0, -EBADMSG);
	EXPECT(shmkv_count(kv, &n), 0);
	n = 0;
	EXPECT(shmkv_layout(kv, count_item, &n), 0, -EBADMSG);
	CHECK(n < 100000);
	n = 0;
	EXPECT(shmkv_check(kv, note_violation, &n, &audit), 0, -EBADMSG, -ENOMEM);
	/* Each violation that is counted was told. */
	CHECK(audit.violations == n);
}

/* ---- mutations ------------------------------------------------------------------------- */

/* One change of some bytes; where, and how many. */
struct change {
	uint64_t off;
	uint8_t bytes[16];
	size_t len;
};

/* An offset within a table, or anywhere that is in use. */
static uint64_t pick_off(const struct skv_copy *copy, uint64_t *state)
{
	const struct skv_superblock *h = &copy->header;
	uint64_t r = skv_random(state), page;

	switch (r % 11) {
	case 10: /* who waits */
		return h->wait_off + (r >> 8) % SKV_PAGE;
	case 0: /* the words that move: root, watermarks, hints, directory bits */
		return 512 + (r >> 8) % (SKV_PAGE - 512);
	case 1:
		return h->dir_off + (r >> 8) % 4096;
	case 2:
	case 3: /* of the chunks at either end */
		page = (r >> 8) % (64 * sizeof(struct skv_cell));
		return r >> 63 ? h->cell_off + page :
				 h->cell_off + h->n_chunks * sizeof(struct skv_cell) - 1 - page;
	case 4:
		return h->process_off + (r >> 8) % 256;
	case 5:
		return h->context_off + (r >> 8) % 2048;
	case 6: /* a leaf's header and first slots */
		return h->chunk_off + (r >> 8) % 64 * SKV_LEAF_BYTES + (r >> 20) % 256;
	default:
		page = copy->used[(r >> 8) % copy->n_used];
		return page + (r >> 40) % SKV_PAGE;
	}
}

static void make_change(const struct skv_copy *copy, uint64_t *state, struct change *ret)
{
	uint64_t r = skv_random(state), word, other;

	ret->off = pick_off(copy, state) & ~7ull;
	ret->len = 8;
	memcpy(&word, copy->image + ret->off, 8);
	switch (r % 8) {
	case 0:
	case 1:
		word ^= 1ull << (r >> 8) % 64;
		break;
	case 2:
		word = skv_random(state);
		break;
	case 3:
		word = r >> 63 ? UINT64_MAX : 0;
		break;
	case 4: /* a little more or less, in one of the fields */
		word += (r >> 63 ? 1ull : -1ull) << (r >> 8) % 48;
		break;
	case 5: /* another word of the same kind, perhaps */
		memcpy(&word, copy->image + (pick_off(copy, state) & ~7ull), 8);
		break;
	case 6: /* a whole cell of somewhere else */
		ret->off &= ~15ull;
		ret->len = 16;
		other = pick_off(copy, state) & ~15ull;
		memcpy(ret->bytes, copy->image + other, 16);
		return;
	default: /* a number that is small, or nearly a bound */
		word = (r >> 8) % 300;
		if (r >> 63)
			word |= skv_random(state) << 24;
		break;
	}
	memcpy(ret->bytes, &word, 8);
}

static void mutate_and_read(const struct skv_copy *copy, uint64_t seed, uint64_t number)
{
	uint64_t state = seed + number * 1000003;
	struct change change[8];
	struct shmkv *kv = NULL;
	size_t i, n = 1 + skv_random(&state) % (number % 4 == 0 ? ARRAY_LEN(change) : 1);
	int r;

	for (i = 0; i < n; i++) {
		make_change(copy, &state, &change[i]);
		CHECK_EQ(pwrite(copy->fd, change[i].bytes, change[i].len, (off_t)change[i].off),
			 change[i].len);
	}
	alarm(MUTATION_SECONDS);
	r = shmkv_attach(copy->name, SHMKV_READ_ONLY, &kv);
	EXPECT(r, 0, -EMEDIUMTYPE, -EPROTONOSUPPORT, -EBADMSG);
	if (r == 0) {
		read_everything(kv, number % 10, 10);
		shmkv_detach(kv);
	}
	alarm(0);
	while (n-- > 0)
		CHECK_EQ(pwrite(copy->fd, copy->image + change[n].off, change[n].len,
				(off_t)change[n].off),
			 change[n].len);
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void damaged_segments_give_errors_or_wrong_values(void)
{
	uint64_t seed = skv_test_seed(), n = number_from("SKV_TEST_MUTATIONS", MUTATIONS);
	uint64_t first = number_from("SKV_TEST_MUTATION", 0);
	uint64_t *at = skv_shared(sizeof(*at));
	struct skv_segment s;
	struct skv_copy copy;
	struct shmkv *kv;
	int status;
	pid_t pid;

	make_segment(&s);
	skv_copy_begin(&copy, &s);
	/* The copy is sound but for the one that stayed behind. */
	CHECK_EQ(shmkv_attach(copy.name, SHMKV_READ_ONLY, &kv), 0);
	CHECK_EQ(skv_segment_count(kv), N_KEYS);
	read_everything(kv, 0, 1);
	shmkv_detach(kv);

	if (getenv("SKV_TEST_MUTATION"))
		n = first + 1;
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		for (*at = first; *at < n; ++*at)
			mutate_and_read(&copy, seed, *at);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (status != 0)
		skv_test_fail(__FILE__, __LINE__,
			      "SKV_TEST_SEED=%" PRIu64 " SKV_TEST_MUTATION=%" PRIu64 ": %s %d",
			      seed, *at, WIFSIGNALED(status) ? "signal" : "exit",
			      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	/* Everything was put back: what was read was the damage. */
	CHECK_EQ(shmkv_attach(copy.name, SHMKV_READ_ONLY, &kv), 0);
	CHECK_EQ(skv_segment_count(kv), N_KEYS);
	shmkv_detach(kv);
	skv_copy_end(&copy);
	end_segment(&s);
}

/* ---- damage under a reader --------------------------------------------------------------- */

struct scribbler {
	struct skv_copy copy;
	uint64_t seed;
};

static void scribble(void *arg)
{
	struct scribbler *scribbler = arg;
	struct skv_copy *copy = &scribbler->copy;
	uint64_t state = scribbler->seed, i;
	struct change change;
	struct stat st;
	uint8_t *base;

	CHECK_EQ(fstat(copy->fd, &st), 0);
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, copy->fd, 0);
	CHECK(base != MAP_FAILED);
	for (;;) {
		/* A good while of damage upon damage, then all is well for a moment. */
		for (i = 0; i < 3000; i++) {
			make_change(copy, &state, &change);
			memcpy(base + change.off, change.bytes, change.len);
		}
		for (i = 0; i < copy->n_used; i++)
			memcpy(base + copy->used[i], copy->image + copy->used[i], SKV_PAGE);
	}
}

static void damage_under_a_reader_gives_errors_or_wrong_values(void)
{
	struct scribbler scribbler = { .seed = skv_test_seed() };
	uint64_t end = skv_now_ms() + number_from("SKV_TEST_MUTATIONS", MUTATIONS), i;
	struct skv_segment s;
	struct shmkv *kv;
	pid_t pid;

	make_segment(&s);
	skv_copy_begin(&scribbler.copy, &s);
	CHECK_EQ(shmkv_attach(scribbler.copy.name, SHMKV_READ_ONLY, &kv), 0);
	pid = skv_fork(scribble, &scribbler);
	for (i = 0; skv_now_ms() < end; i++) {
		alarm(MUTATION_SECONDS);
		read_everything(kv, i % 50, 50);
	}
	alarm(0);
	kill(pid, SIGKILL);
	skv_test_wait_killed(pid, SIGKILL);
	CHECK(i > 3);
	shmkv_detach(kv);
	skv_copy_end(&scribbler.copy);
	end_segment(&s);
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_damage[] = {
	/* hazard 27 */
	{ "damage", "damaged segments give errors or wrong values",
	  damaged_segments_give_errors_or_wrong_values, 120 },
	{ "damage", "damage under a reader gives errors or wrong values",
	  damage_under_a_reader_gives_errors_or_wrong_values, 60 },
	{ 0 },
};

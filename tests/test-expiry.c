/* SPDX-License-Identifier: MIT */
#include "tests/boot-clock.h"
#include "tests/segment.h"

#include "api/handle.h"
#include "base/clock.h"
#include "shm/block.h"
#include "shm/index.h"

#include <shmkv/expiry.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * test-expiry: keys with a time to live. The boot clock stands still and moves when a test
 * says so (boot-clock.h), so that deadlines are met to the nanosecond and nothing waits.
 */

#ifdef SKV_TINY
#define MANY 300u
#else
#define MANY 2000u
#endif

/* Too large to be copied by a touch. */
#define LARGE 3000u

static uint8_t bytes[200000];

static void begin(struct skv_segment *s, uint64_t max_bytes, uint64_t default_ttl_ms)
{
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;

	skv_boot_clock_stop();
	opts.max_bytes = max_bytes;
	opts.default_ttl_ms = default_ttl_ms;
	skv_segment_begin_with(s, &opts);
}

static void put(struct shmkv *kv, const char *key, const char *text, uint64_t ttl_ms)
{
	CHECK_EQ(shmkv_put_ttl(kv, KEY(key), shmkv_str(text), ttl_ms, NULL), 0);
}

static uint64_t ttl_of(struct shmkv *kv, const char *key)
{
	uint64_t ms = 0xbad;

	CHECK_EQ(shmkv_ttl(kv, KEY(key), &ms), 0);
	return ms;
}

static void must_hold(struct shmkv *kv, const char *key, const char *text)
{
	char buf[64];
	size_t len;

	CHECK_EQ(shmkv_get_str(kv, KEY(key), buf, sizeof(buf), &len), 0);
	CHECK_MEM(buf, len, text, strlen(text));
}

static unsigned int count_scanned(struct shmkv *kv)
{
	struct shmkv_scan *scan;
	struct shmkv_entry entry;
	unsigned int n = 0;
	int r;

	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	while ((r = shmkv_scan_next(scan, &entry)) == 1)
		n++;
	CHECK_EQ(r, 0);
	shmkv_scan_end(scan);
	return n;
}

/* ---- absent for every call ------------------------------------------------------------ */

/* A key that is there for another millisecond, and then is not. */
static void lapse(struct shmkv *kv, const char *key, struct shmkv_value value)
{
	CHECK_EQ(shmkv_put_ttl(kv, KEY(key), value, 1, NULL), 0);
	CHECK_EQ(shmkv_exists(kv, KEY(key)), 0);
	skv_boot_clock_advance_ms(1);
}

static void expired_is_absent(void)
{
	struct skv_segment s;
	struct shmkv *ro, *kv;
	struct shmkv_value value;
	uint64_t token, ms = 7;
	uint8_t buf[64];
	int64_t number;
	void *copy = NULL;
	size_t len;

	begin(&s, 4 * MIB, 0);
	kv = s.kv;
	ro = skv_segment_attach(&s, SHMKV_READ_ONLY);

	lapse(kv, "k", shmkv_str("old"));
	for (int i = 0; i < 2; i++) {
		struct shmkv *at = i ? ro : kv;

		CHECK_EQ(shmkv_exists(at, KEY("k")), -ENOENT);
		CHECK_EQ(shmkv_get(at, KEY("k"), buf, sizeof(buf), &value, &token), -ENOENT);
		CHECK_EQ(shmkv_get_packed(at, KEY("k"), buf, sizeof(buf), &len, NULL), -ENOENT);
		CHECK_EQ(shmkv_get_alloc(at, KEY("k"), &copy, &len, NULL), -ENOENT);
		CHECK_EQ(shmkv_get_str(at, KEY("k"), (char *)buf, 0, &len), -ENOENT);
		CHECK_EQ(shmkv_get_int(at, KEY("k"), &number), -ENOENT);
		CHECK_EQ(shmkv_ttl(at, KEY("k"), &ms), -ENOENT);
		CHECK_EQ(count_scanned(at), 0);
	}
	CHECK_EQ(ms, 7);
	CHECK_EQ(shmkv_replace(kv, KEY("k"), shmkv_str("x"), NULL), -ENOENT);
	CHECK_EQ(shmkv_take(kv, KEY("k"), buf, sizeof(buf), &len), -ENOENT);
	CHECK_EQ(shmkv_take(kv, KEY("k"), buf, 0, &len), -ENOENT);
	CHECK_EQ(shmkv_del(kv, KEY("k")), -ENOENT);
	CHECK_EQ(shmkv_touch(kv, KEY("k"), 1000), -ENOENT);
	CHECK_EQ(shmkv_persist(kv, KEY("k")), -ENOENT);
	/* It counts until its memory was taken back. */
	CHECK_EQ(skv_segment_count(kv), 1);

	CHECK_EQ(shmkv_put_ttl(kv, KEY("k"), shmkv_str("v"), 1, &token), 0);
	skv_boot_clock_advance_ms(1);
	CHECK_EQ(shmkv_cas(kv, KEY("k"), token, shmkv_str("x"), NULL), -ENOENT);
	CHECK_EQ(shmkv_add(kv, KEY("k"), shmkv_str("new"), NULL), 0);
	must_hold(ro, "k", "new");
	CHECK_EQ(ttl_of(ro, "k"), SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_add(kv, KEY("k"), shmkv_str("again"), NULL), -EEXIST);

	lapse(kv, "n", shmkv_int(41));
	CHECK_EQ(shmkv_incr(kv, KEY("n"), 1, 100, &number), 0);
	CHECK_EQ(number, 101);
	CHECK_EQ(ttl_of(kv, "n"), SHMKV_TTL_NEVER);
	/* Another type is no obstacle when it has expired. */
	lapse(kv, "n", shmkv_str("text"));
	CHECK_EQ(shmkv_incr(kv, KEY("n"), 1, 5, &number), 0);
	CHECK_EQ(number, 6);

	lapse(kv, "a", shmkv_str("long past "));
	CHECK_EQ(shmkv_append(kv, KEY("a"), shmkv_str("tail"), &len), 0);
	CHECK_EQ(len, 4);
	must_hold(kv, "a", "tail");

	lapse(kv, "p", shmkv_str("old"));
	CHECK_EQ(shmkv_put(kv, KEY("p"), shmkv_str("fresh"), NULL), 0);
	must_hold(kv, "p", "fresh");
	CHECK_EQ(skv_segment_count(kv), 4);

	shmkv_detach(ro);
	skv_segment_end(&s);
}

static void the_deadline_is_exact(void)
{
	struct skv_segment s;

	begin(&s, MIB, 0);
	put(s.kv, "whole", "x", 5);
	skv_boot_clock_advance_ns(300000);
	/* Begun within a millisecond: not a bit too short. */
	put(s.kv, "part", "x", 5);
	CHECK_EQ(ttl_of(s.kv, "whole"), 4);
	CHECK_EQ(ttl_of(s.kv, "part"), 5);

	skv_boot_clock_advance_ns(4699999); /* 4.999999 ms */
	CHECK_EQ(shmkv_exists(s.kv, KEY("whole")), 0);
	CHECK_EQ(ttl_of(s.kv, "whole"), 0);
	skv_boot_clock_advance_ns(1);
	CHECK_EQ(shmkv_exists(s.kv, KEY("whole")), -ENOENT);
	CHECK_EQ(shmkv_exists(s.kv, KEY("part")), 0);
	skv_boot_clock_advance_ns(300000); /* 5.3 ms: five after it began */
	CHECK_EQ(shmkv_exists(s.kv, KEY("part")), 0);
	skv_boot_clock_advance_ns(700000);
	CHECK_EQ(shmkv_exists(s.kv, KEY("part")), -ENOENT);

	/* The largest one, and a clock that has come close to it. */
	put(s.kv, "long", "x", SHMKV_TTL_MAX);
	CHECK_EQ(ttl_of(s.kv, "long"), SHMKV_TTL_MAX);
	skv_boot_clock_advance_ms(SHMKV_TTL_MAX - 1);
	CHECK_EQ(ttl_of(s.kv, "long"), 1);
	skv_boot_clock_advance_ms(1);
	CHECK_EQ(shmkv_exists(s.kv, KEY("long")), -ENOENT);
	skv_segment_end(&s);
}

/* ---- which call does what -------------------------------------------------------------- */

static void calls_keep_or_set_the_deadline(void)
{
	struct skv_segment s;
	struct shmkv_info info;
	uint64_t token;
	int64_t number;

	begin(&s, 4 * MIB, 500);
	info = skv_segment_info(s.kv);
	CHECK_EQ(info.default_ttl_ms, 500);

	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_str("v"), NULL), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 500);
	skv_boot_clock_advance_ms(100);
	CHECK_EQ(ttl_of(s.kv, "k"), 400);
	CHECK_EQ(shmkv_append(s.kv, KEY("k"), shmkv_str("w"), NULL), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 400);
	CHECK_EQ(shmkv_put_ttl(s.kv, KEY("k"), shmkv_str("v"), SHMKV_TTL_KEEP, NULL), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 400);
	CHECK_EQ(shmkv_replace_ttl(s.kv, KEY("k"), shmkv_str("v"), SHMKV_TTL_KEEP, &token), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 400);
	CHECK_EQ(shmkv_cas_ttl(s.kv, KEY("k"), token, shmkv_str("v"), SHMKV_TTL_KEEP, &token), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 400);
	CHECK_EQ(shmkv_cas(s.kv, KEY("k"), token, shmkv_str("v"), &token), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 500);
	CHECK_EQ(shmkv_replace_ttl(s.kv, KEY("k"), shmkv_str("v"), 30, NULL), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 30);
	CHECK_EQ(shmkv_replace(s.kv, KEY("k"), shmkv_str("v"), NULL), 0);
	CHECK_EQ(ttl_of(s.kv, "k"), 500);

	CHECK_EQ(shmkv_incr(s.kv, KEY("n"), 1, 0, &number), 0);
	CHECK_EQ(ttl_of(s.kv, "n"), 500);
	skv_boot_clock_advance_ms(1);
	CHECK_EQ(shmkv_incr(s.kv, KEY("n"), 1, 0, &number), 0);
	CHECK_EQ(number, 2);
	CHECK_EQ(ttl_of(s.kv, "n"), 499);
	CHECK_EQ(shmkv_add_ttl(s.kv, KEY("m"), shmkv_int(1), SHMKV_TTL_KEEP, NULL), 0);
	CHECK_EQ(ttl_of(s.kv, "m"), 500);

	/* For ever, whatever the default; and a key that lives for ever keeps that too. */
	put(s.kv, "e", "v", SHMKV_TTL_NEVER);
	CHECK_EQ(ttl_of(s.kv, "e"), SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_append(s.kv, KEY("e"), shmkv_str("w"), NULL), 0);
	put(s.kv, "e", "v", SHMKV_TTL_KEEP);
	CHECK_EQ(ttl_of(s.kv, "e"), SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_touch(s.kv, KEY("e"), SHMKV_TTL_DEFAULT), 0);
	CHECK_EQ(ttl_of(s.kv, "e"), 500);
	CHECK_EQ(shmkv_touch(s.kv, KEY("e"), SHMKV_TTL_NEVER), 0);
	CHECK_EQ(ttl_of(s.kv, "e"), SHMKV_TTL_NEVER);

	skv_boot_clock_advance_ms(500);
	CHECK_EQ(count_scanned(s.kv), 1);
	must_hold(s.kv, "e", "v");
	skv_segment_end(&s);
}

static void bad_times_are_refused(void)
{
	static const uint64_t bad[] = {
		SHMKV_TTL_MAX + 1, SHMKV_TTL_NEVER - 1, SHMKV_TTL_KEEP + 1, UINT64_MAX, INT64_MAX,
		(uint64_t)INT64_MIN,
	};
	struct skv_segment s;
	struct skv_snapshot before;
	uint64_t token;
	size_t i;

	begin(&s, MIB, 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_str("v"), &token), 0);
	before = skv_segment_snapshot(s.kv);
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_EQ(shmkv_put_ttl(s.kv, KEY("k"), shmkv_int(1), bad[i], NULL), -EINVAL);
		CHECK_EQ(shmkv_add_ttl(s.kv, KEY("new"), shmkv_int(1), bad[i], NULL), -EINVAL);
		CHECK_EQ(shmkv_replace_ttl(s.kv, KEY("k"), shmkv_int(1), bad[i], NULL), -EINVAL);
		CHECK_EQ(shmkv_cas_ttl(s.kv, KEY("k"), token, shmkv_int(1), bad[i], NULL), -EINVAL);
		CHECK_EQ(shmkv_touch(s.kv, KEY("k"), bad[i]), -EINVAL);
	}
	CHECK_EQ(shmkv_touch(s.kv, KEY("k"), SHMKV_TTL_KEEP), -EINVAL);
	CHECK_EQ(shmkv_ttl(s.kv, KEY("k"), NULL), -EINVAL);
	CHECK_EQ(shmkv_scan_ttl(NULL, &token), -EBADF);
	skv_segment_unchanged(s.kv, &before);
	skv_segment_end(&s);
}

/* ---- memory comes back ------------------------------------------------------------------ */

static void put_many(struct shmkv *kv, unsigned int from, unsigned int to, uint64_t ttl_ms)
{
	char key[32];

	for (; from < to; from++) {
		snprintf(key, sizeof(key), "many-%u", from);
		CHECK_EQ(shmkv_put_ttl(kv, KEY(key), shmkv_bin(bytes, 100), ttl_ms, NULL), 0);
	}
}

static void writers_take_it_back(void)
{
	struct skv_segment s;
	uint64_t count, writes = 0;

	begin(&s, 16 * MIB, 0);
	put_many(s.kv, 0, MANY, 10);
	put_many(s.kv, MANY, MANY + 50, SHMKV_TTL_NEVER);
	put_many(s.kv, MANY + 50, MANY + 100, 1000);
	skv_boot_clock_advance_ms(10);
	CHECK_EQ(count_scanned(s.kv), 100);

	/* Writes of one other key: all the slots are passed within a few times their number. */
	do {
		CHECK_EQ(shmkv_put(s.kv, KEY("busy"), shmkv_int(1), NULL), 0);
		count = skv_segment_count(s.kv);
		CHECK(++writes < 20u * MANY);
	} while (count > 101);
	CHECK_EQ(count, 101);
	CHECK_EQ(skv_segment_info(s.kv).expired, MANY);
	CHECK_EQ(count_scanned(s.kv), 101);
	skv_segment_end(&s);
}

static void nobody_looks_where_nothing_expires(void)
{
	struct skv_segment s;
	const struct skv_map *map;

	begin(&s, 16 * MIB, 0);
	map = s.kv->map;
	put_many(s.kv, 0, MANY, SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_maintain(s.kv), 0);
	CHECK_EQ(shmkv_expire(s.kv, 0, NULL), 0);
	CHECK_EQ(skv_super(map)->expires, 0);
	CHECK_EQ(skv_super(map)->expiry_cursor, 0);
	put_many(s.kv, 0, 1, 1000);
	CHECK_EQ(skv_super(map)->expires, 1);
	skv_segment_end(&s);
}

static void a_full_map_takes_it_back(void)
{
	struct shmkv_value value = shmkv_bin(bytes, 1000);
	struct skv_segment s;
	unsigned int n = 0, i;
	char key[32];
	int r;

	begin(&s, 2 * MIB, 0);
	for (;; n++) {
		snprintf(key, sizeof(key), "fill-%u", n);
		r = shmkv_put_ttl(s.kv, KEY(key), value, n < 100 ? 1000 : 10, NULL);
		if (r == -ENOSPC)
			break;
		CHECK_EQ(r, 0);
	}
	CHECK(n > 300);
	CHECK_EQ(shmkv_put(s.kv, KEY("one more"), value, NULL), -ENOSPC);
	skv_boot_clock_advance_ms(10);
	CHECK_EQ(shmkv_put(s.kv, KEY("one more"), value, NULL), 0);
	/* One of another class: whole slabs must become free. */
	CHECK_EQ(shmkv_put(s.kv, KEY("wide"), shmkv_bin(bytes, 6000), NULL), 0);
	CHECK_EQ(count_scanned(s.kv), 102);
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "fill-%u", i);
		CHECK_EQ(shmkv_exists(s.kv, KEY(key)), 0);
	}
	skv_segment_end(&s);
}

static void expire_and_maintain(void)
{
	struct skv_segment s;
	uint64_t removed, other;
	unsigned int rounds;

	begin(&s, 16 * MIB, 0);
	put_many(s.kv, 0, MANY, 10);
	CHECK_EQ(shmkv_expire(s.kv, 0, &removed), 0);
	CHECK_EQ(removed, 0);
	skv_boot_clock_advance_ms(10);
	CHECK_EQ(shmkv_expire(s.kv, 7, &removed), 0);
	CHECK_EQ(removed, 7);
	CHECK_EQ(skv_segment_count(s.kv), MANY - 7);
	CHECK_EQ(shmkv_expire(s.kv, 1, NULL), 0);
	CHECK_EQ(shmkv_expire(s.kv, 0, &removed), 0);
	CHECK_EQ(removed, MANY - 8);
	CHECK_EQ(shmkv_expire(s.kv, 0, &removed), 0);
	CHECK_EQ(removed, 0);
	CHECK_EQ(skv_segment_count(s.kv), 0);
	skv_segment_check(s.kv);

	put_many(s.kv, 0, MANY, 10);
	skv_boot_clock_advance_ms(10);
	for (rounds = 0; skv_segment_count(s.kv) > 0; rounds++) {
		CHECK(rounds < 10);
		CHECK_EQ(shmkv_maintain(s.kv), 0);
	}

	/* Clear removes them, and counts only the others. */
	put_many(s.kv, 0, 20, 10);
	put_many(s.kv, 20, 30, 1000);
	skv_boot_clock_advance_ms(10);
	CHECK_EQ(shmkv_clear(s.kv, &other), 0);
	CHECK_EQ(other, 10);
	CHECK_EQ(skv_segment_count(s.kv), 0);
	CHECK_EQ(skv_segment_info(s.kv).expired, 2 * MANY + 20);
	skv_segment_end(&s);
}

static void leaves_carry_deadlines_along(void)
{
	struct skv_segment s;
	struct shmkv_info before, after;
	char key[32];
	unsigned int i;

	begin(&s, 16 * MIB, 0);
	before = skv_segment_info(s.kv);
	put_many(s.kv, 0, 40, 1000);
	/* Expired ones are carried along as well: helpers' clocks may differ. */
	put_many(s.kv, 40, 80, 1);
	skv_boot_clock_advance_ms(1);
	put_many(s.kv, 100, 100 + MANY, SHMKV_TTL_NEVER);
	after = skv_segment_info(s.kv);
	CHECK(after.splits > before.splits);
	for (i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "many-%u", i);
		CHECK_EQ(ttl_of(s.kv, key), 999);
	}
	skv_boot_clock_advance_ms(999);
	CHECK_EQ(count_scanned(s.kv), MANY);
	CHECK_EQ(shmkv_expire(s.kv, 0, NULL), 0);
	CHECK_EQ(skv_segment_count(s.kv), MANY);
	skv_segment_end(&s);
}

/* ---- scans ------------------------------------------------------------------------------ */

static void scans_leave_out_what_has_expired(void)
{
	struct skv_segment s;
	struct shmkv_scan *scan;
	struct shmkv_entry entry;
	unsigned int n = 0, extended = 0, i;
	uint64_t ms, count;
	char key[32];
	int r;

	/* A dozen keys are in one stretch: all of them are copied with the first. */
	begin(&s, 16 * MIB, 0);
#ifdef SKV_TINY
	count = 4;
#else
	count = 40;
#endif
	put_many(s.kv, 0, (unsigned int)count, 10);
	CHECK_EQ(shmkv_put_ttl(s.kv, KEY("large"), shmkv_bin(bytes, sizeof(bytes)), 10, NULL), 0);
	CHECK_EQ(shmkv_scan_begin(s.kv, 0, &scan), 0);
	CHECK_EQ(shmkv_scan_ttl(scan, &ms), -ENOENT);
	CHECK_EQ(shmkv_scan_next(scan, &entry), 1);
	CHECK_EQ(shmkv_scan_ttl(scan, &ms), 0);
	CHECK_EQ(ms, 10);
	/* Half of what is still to come lives on, the rest does not. */
	for (i = 0; i < count; i += 2) {
		snprintf(key, sizeof(key), "many-%u", i);
		if (strlen(key) == entry.key_len && memcmp(entry.key, key, entry.key_len) == 0)
			continue;
		CHECK_EQ(shmkv_touch(s.kv, KEY(key), 70), 0);
		extended++;
	}
	skv_boot_clock_advance_ms(10);
	CHECK_EQ(shmkv_scan_ttl(scan, &ms), -ENOENT);
	while ((r = shmkv_scan_next(scan, &entry)) == 1) {
		CHECK_EQ(entry.value_len, 102);
		CHECK_EQ(shmkv_scan_ttl(scan, &ms), 0);
		CHECK_EQ(ms, 60);
		n++;
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(n, extended);
	shmkv_scan_end(scan);
	skv_segment_end(&s);
}

/* ---- touch ------------------------------------------------------------------------------ */

/* Where the record of a key lies, and in which life. */
static uint64_t record_of(struct shmkv *kv, const char *key, uint64_t *ret_stamp)
{
	const struct skv_map *map = kv->map;
	const struct skv_key k = { key, strlen(key) };
	struct skv_found found;

	CHECK_EQ(skv_index_find(map, &k, &found), 0);
	CHECK(skv_block_is_alloc(skv_block_load(map, found.off), ret_stamp));
	CHECK_EQ(found.off % 16, 0);
	return found.off;
}

static void a_large_value_is_not_copied(void)
{
	struct skv_segment s;
	struct shmkv_value value;
	uint64_t off, stamp, stamp2, token, token2;
	static uint8_t got[sizeof(bytes)];
	unsigned int i;

	skv_fill(bytes, sizeof(bytes), 5);
	begin(&s, 4 * MIB, 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("big"), shmkv_bin(bytes, sizeof(bytes)), &token), 0);
	off = record_of(s.kv, "big", &stamp);

	for (i = 0; i < 3; i++) {
		CHECK_EQ(shmkv_touch(s.kv, KEY("big"), 1000 + i), 0);
		CHECK_EQ(ttl_of(s.kv, "big"), 1000 + i);
		CHECK_EQ(record_of(s.kv, "big", &stamp2), off);
		CHECK_EQ(stamp2, stamp);
		CHECK_EQ(shmkv_persist(s.kv, KEY("big")), 0);
		CHECK_EQ(ttl_of(s.kv, "big"), SHMKV_TTL_NEVER);
		CHECK_EQ(shmkv_persist(s.kv, KEY("big")), 0);
	}
	CHECK_EQ(shmkv_get(s.kv, KEY("big"), got, sizeof(got), &value, &token2), 0);
	CHECK_MEM(value.data, value.len, bytes, sizeof(bytes));
	CHECK_EQ(token2, token);

	/* The deadline that was taken away means nothing any more. */
	CHECK_EQ(shmkv_touch(s.kv, KEY("big"), 5), 0);
	CHECK_EQ(shmkv_persist(s.kv, KEY("big")), 0);
	skv_boot_clock_advance_ms(5);
	CHECK_EQ(shmkv_exists(s.kv, KEY("big")), 0);
	CHECK_EQ(shmkv_append(s.kv, KEY("big"), shmkv_bin("x", 1), NULL), 0);
	CHECK_EQ(ttl_of(s.kv, "big"), SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_touch(s.kv, KEY("big"), 5), 0);
	skv_boot_clock_advance_ms(5);
	CHECK_EQ(shmkv_touch(s.kv, KEY("big"), 5), -ENOENT);
	CHECK_EQ(shmkv_exists(s.kv, KEY("big")), -ENOENT);
	skv_segment_end(&s);
}

static void a_full_map_can_be_touched(void)
{
	struct skv_segment s;
	unsigned int n, i;
	char key[32];

	begin(&s, MIB, 0);
	for (n = 0;; n++) {
		snprintf(key, sizeof(key), "fill-%u", n);
		if (shmkv_put(s.kv, KEY(key), shmkv_bin(bytes, 900), NULL) != 0)
			break;
	}
	CHECK(n > 100);
	for (i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "fill-%u", i);
		CHECK_EQ(shmkv_touch(s.kv, KEY(key), 100 + i), 0);
	}
	for (i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "fill-%u", i);
		CHECK_EQ(ttl_of(s.kv, key), 100 + i);
		CHECK_EQ(shmkv_persist(s.kv, KEY(key)), 0);
	}
	skv_boot_clock_advance_ms(10000);
	CHECK_EQ(count_scanned(s.kv), n);
	skv_segment_end(&s);
}

/* ---- races ------------------------------------------------------------------------------ */

struct race {
	struct skv_segment s;
	const char *key;
	unsigned int rounds;
	size_t len;   /* of the value */
	uint64_t *go; /* shared: [0] ready, [1] holds good until, [2] over */
};

static void line_up(struct race *race, unsigned int n)
{
	__atomic_add_fetch(&race->go[0], 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&race->go[0], __ATOMIC_SEQ_CST) < n)
		sched_yield();
}

static void append_much(void *arg)
{
	struct race *race = arg;
	struct shmkv *kv = skv_segment_attach(&race->s, 0);
	unsigned int i;

	line_up(race, 2);
	for (i = 0; i < race->rounds; i++)
		CHECK_EQ(shmkv_append(kv, KEY(race->key), shmkv_bin("x", 1), NULL), 0);
	shmkv_detach(kv);
}

static void touch_much(void *arg)
{
	struct race *race = arg;
	struct shmkv *kv = skv_segment_attach(&race->s, 0);
	unsigned int i;

	line_up(race, 2);
	for (i = 1; i <= race->rounds; i++) {
		if (i % 3 == 0) {
			CHECK_EQ(shmkv_persist(kv, KEY(race->key)), 0);
			CHECK_EQ(ttl_of(kv, race->key), SHMKV_TTL_NEVER);
		}
		CHECK_EQ(shmkv_touch(kv, KEY(race->key), i), 0);
		/* Nobody else touches, and who appends keeps the deadline. */
		CHECK_EQ(ttl_of(kv, race->key), i);
	}
	shmkv_detach(kv);
}

/* Neither an append nor a touch that answered 0 is ever lost. */
static void race_touch_with_append(size_t len)
{
	struct race race = { .key = "k", .rounds = skv_test_is_slow() ? 2000 : 20000, .len = len };
	struct shmkv_value value;
	static uint8_t got[100000];
	pid_t pid;

	begin(&race.s, 4 * MIB, 0);
	race.go = skv_shared(4096);
	CHECK_EQ(shmkv_put(race.s.kv, KEY("k"), shmkv_bin(bytes, len), NULL), 0);
	pid = skv_fork(append_much, &race);
	touch_much(&race);
	skv_test_wait_ok(pid);
	CHECK_EQ(shmkv_get(race.s.kv, KEY("k"), got, sizeof(got), &value, NULL), 0);
	CHECK_EQ(value.len, len + race.rounds);
	CHECK_EQ(ttl_of(race.s.kv, "k"), race.rounds);
	skv_segment_end(&race.s);
}

static void touch_and_append_in_place(void)
{
	race_touch_with_append(LARGE);
}

static void touch_and_append_copied(void)
{
	race_touch_with_append(1);
}

/* Takes the lease when it is free, holds it for some renewals, and then lets it run out. */
static void hold_leases(void *arg)
{
	struct race *race = arg;
	struct shmkv *kv = skv_segment_attach(&race->s, 0);
	uint64_t seed = (uint64_t)getpid(), good_until, until, now, renewals, taken = 0;
	int r;

	line_up(race, 2);
	while (taken < race->rounds && !__atomic_load_n(&race->go[2], __ATOMIC_SEQ_CST)) {
		/* Read before the attempt: whoever renewed by then was told that it holds. */
		good_until = __atomic_load_n(&race->go[1], __ATOMIC_SEQ_CST);
		r = shmkv_add_ttl(kv, KEY(race->key), shmkv_bin(bytes, race->len), 2, NULL);
		now = skv_boot_clock_ns();
		if (r == -EEXIST) {
			skv_boot_clock_advance_ns(100000);
			continue;
		}
		CHECK_EQ(r, 0);
		if (now < good_until)
			skv_test_fail(__FILE__, __LINE__, "a lease was given away %llu ns too early",
				      (unsigned long long)(good_until - now));
		taken++;
		for (renewals = skv_random(&seed) % 8; renewals > 0; renewals--) {
			until = skv_boot_clock_ns() + 2000000u;
			r = shmkv_touch(kv, KEY(race->key), 2);
			if (r == -ENOENT)
				break;
			CHECK_EQ(r, 0);
			good_until = __atomic_load_n(&race->go[1], __ATOMIC_SEQ_CST);
			while (good_until < until &&
			       !__atomic_compare_exchange_n(&race->go[1], &good_until, until, false,
							    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
				;
		}
	}
	__atomic_store_n(&race->go[2], 1, __ATOMIC_SEQ_CST);
	shmkv_detach(kv);
}

static void race_for_leases(size_t len)
{
	struct race race = { .key = "lease", .rounds = skv_test_is_slow() ? 500 : 5000, .len = len };
	pid_t pid;

	begin(&race.s, 4 * MIB, 0);
	race.go = skv_shared(4096);
	pid = skv_fork(hold_leases, &race);
	hold_leases(&race);
	skv_test_wait_ok(pid);
	skv_segment_end(&race.s);
}

static void leases_in_place(void)
{
	race_for_leases(LARGE);
}

static void leases_copied(void)
{
	race_for_leases(8);
}

static void sweep_much(void *arg)
{
	struct race *race = arg;
	struct shmkv *kv = skv_segment_attach(&race->s, 0);
	uint64_t removed, n = 0;

	line_up(race, 2);
	while (!__atomic_load_n(&race->go[2], __ATOMIC_SEQ_CST)) {
		CHECK_EQ(shmkv_expire(kv, 0, &removed), 0);
		n += removed;
	}
	CHECK(n > 0);
	shmkv_detach(kv);
}

/* A key that is touched in time is never swept, whatever goes on around it. */
static void sweeps_spare_what_lives(void)
{
	struct race race = { .key = "k", .rounds = skv_test_is_slow() ? 1000 : 10000 };
	unsigned int i;
	char key[32];
	pid_t pid;

	begin(&race.s, 4 * MIB, 0);
	race.go = skv_shared(4096);
	CHECK_EQ(shmkv_put_ttl(race.s.kv, KEY("large"), shmkv_bin(bytes, LARGE), 2, NULL), 0);
	CHECK_EQ(shmkv_put_ttl(race.s.kv, KEY("small"), shmkv_int(1), 2, NULL), 0);
	pid = skv_fork(sweep_much, &race);
	line_up(&race, 2);
	for (i = 0; i < race.rounds; i++) {
		snprintf(key, sizeof(key), "short-%u", i % 50);
		CHECK_EQ(shmkv_put_ttl(race.s.kv, KEY(key), shmkv_int(1), 1, NULL), 0);
		skv_boot_clock_advance_ms(1);
		CHECK_EQ(shmkv_touch(race.s.kv, KEY("large"), 2), 0);
		CHECK_EQ(shmkv_touch(race.s.kv, KEY("small"), 2), 0);
		if (i % 8 == 0)
			CHECK_EQ(shmkv_incr(race.s.kv, KEY("small"), 1, 0, NULL), 0);
		CHECK_EQ(shmkv_exists(race.s.kv, KEY("large")), 0);
		CHECK_EQ(shmkv_exists(race.s.kv, KEY(key)), -ENOENT);
	}
	__atomic_store_n(&race.go[2], 1, __ATOMIC_SEQ_CST);
	skv_test_wait_ok(pid);
	skv_segment_end(&race.s);
}

/* ---- clocks ----------------------------------------------------------------------------- */

static void the_wall_clock_means_nothing(void)
{
	struct skv_segment s;
	uint64_t asked;
	int64_t number;

	begin(&s, 4 * MIB, 100);
	put(s.kv, "k", "v", 10);
	asked = skv_wall_clock_asked();
	skv_wall_clock_set(10LL * 365 * 86400);
	must_hold(s.kv, "k", "v");
	CHECK_EQ(ttl_of(s.kv, "k"), 10);
	skv_wall_clock_set(-20LL * 365 * 86400);
	CHECK_EQ(ttl_of(s.kv, "k"), 10);
	CHECK_EQ(shmkv_touch(s.kv, KEY("k"), 20), 0);
	CHECK_EQ(shmkv_incr(s.kv, KEY("n"), 1, 0, &number), 0);
	CHECK_EQ(count_scanned(s.kv), 2);
	CHECK_EQ(shmkv_expire(s.kv, 0, NULL), 0);
	CHECK_EQ(shmkv_maintain(s.kv), 0);
	skv_boot_clock_advance_ms(20);
	CHECK_EQ(shmkv_exists(s.kv, KEY("k")), -ENOENT);
	CHECK_EQ(skv_wall_clock_asked(), asked);
	skv_segment_end(&s);
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* In its own time namespace, with a boot clock that is a day ahead. */
static void attach_elsewhere(void *arg)
{
	struct skv_segment *s = arg;
	struct shmkv *kv = NULL;

	CHECK_EQ(shmkv_attach(s->name, 0, &kv), -EXDEV);
	CHECK_EQ(shmkv_attach(s->name, SHMKV_READ_ONLY, &kv), -EXDEV);
	CHECK(!kv);
}

static void move_elsewhere(void *arg)
{
	uint64_t here = skv_clock_namespace();
	pid_t pid;

	CHECK(here != 0);
	if (unshare(CLONE_NEWTIME) < 0 || !write_text("/proc/self/timens_offsets", "boottime 86400 0"))
		_exit(77);
	pid = skv_fork(attach_elsewhere, arg);
	skv_test_wait_ok(pid);
}

static void another_time_namespace_is_refused(void)
{
	struct skv_segment s;
	struct shmkv *kv;
	int status;
	pid_t pid;

	skv_segment_begin(&s, MIB);
	put(s.kv, "k", "v", 60000);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		move_elsewhere(&s);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
	must_hold(kv, "k", "v");
	shmkv_detach(kv);
	skv_segment_end(&s);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skv_test_skip("no right to make a time namespace");
	CHECK_EQ(status, 0);
}

static void readers_write_nothing(void)
{
	struct skv_segment s;
	struct shmkv *ro;
	char path[256];
	uint64_t digest, ms;

	begin(&s, 4 * MIB, 0);
	put_many(s.kv, 0, 50, 1);
	put(s.kv, "alive", "v", 100);
	skv_boot_clock_advance_ms(1);
	ro = skv_segment_attach(&s, SHMKV_READ_ONLY);
	skv_segment_file(s.name, path);
	digest = skv_file_digest(path);
	CHECK_EQ(shmkv_exists(ro, KEY("many-3")), -ENOENT);
	CHECK_EQ(shmkv_ttl(ro, KEY("alive"), &ms), 0);
	CHECK_EQ(count_scanned(ro), 1);
	CHECK_EQ(shmkv_touch(ro, KEY("alive"), 5), -EROFS);
	CHECK_EQ(shmkv_persist(ro, KEY("alive")), -EROFS);
	CHECK_EQ(shmkv_expire(ro, 0, NULL), -EROFS);
	CHECK_EQ(skv_file_digest(path), digest);
	shmkv_detach(ro);
	skv_segment_end(&s);
}

const struct skv_test skv_tests_expiry[] = {
	{ "expiry", "an expired key is absent for every call", expired_is_absent, 10 },
	{ "expiry", "a key ends at its deadline, not before and not after", the_deadline_is_exact, 10 },
	{ "expiry", "each call keeps the deadline or sets it", calls_keep_or_set_the_deadline, 10 },
	{ "expiry", "a time out of range is refused", bad_times_are_refused, 10 },
	{ "expiry", "writers take the memory back as they go", writers_take_it_back, 60 },
	{ "expiry", "nobody looks where nothing ever expired", nobody_looks_where_nothing_expires, 30 },
	{ "expiry", "a full map takes back what has expired", a_full_map_takes_it_back, 60 },
	{ "expiry", "expire, maintain and clear take it back", expire_and_maintain, 30 },
	{ "expiry", "leaves that are replaced keep deadlines", leaves_carry_deadlines_along, 30 },
	{ "expiry", "a scan leaves out what expires meanwhile", scans_leave_out_what_has_expired, 10 },
	{ "expiry", "a large value is touched where it is", a_large_value_is_not_copied, 10 },
	{ "expiry", "a full map can be touched", a_full_map_can_be_touched, 30 },
	{ "expiry", "touch and append lose nothing, in place", touch_and_append_in_place, 60 },
	{ "expiry", "touch and append lose nothing, copied", touch_and_append_copied, 60 },
	{ "expiry", "a lease has one holder, in place", leases_in_place, 60 },
	{ "expiry", "a lease has one holder, copied", leases_copied, 60 },
	{ "expiry", "sweeps spare what is touched in time", sweeps_spare_what_lives, 60 },
	/* hazard 30 */
	{ "expiry", "setting the wall clock changes nothing", the_wall_clock_means_nothing, 10 },
	{ "expiry", "another time namespace is refused", another_time_namespace_is_refused, 10 },
	{ "expiry", "readers write nothing", readers_write_nothing, 10 },
	{ 0 },
};

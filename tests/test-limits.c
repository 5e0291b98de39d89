/* SPDX-License-Identifier: MIT */
#include "tests/every-call.h"

#include <shmkv/expiry.h>

#include "shm/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * test-limits: names, files, arguments and handles that are wrong give their documented
 * error and change nothing, on real segments. Content is compared before and after as a whole.
 */

static uint8_t payload[(size_t)1 << 20];

/* ---- names ------------------------------------------------------------------------- */

static void bad_names_are_refused_everywhere(void)
{
	char long_name[SHMKV_NAME_MAX + 2];
	const char *const bad[] = {
		NULL,	     "",     "shm:",	"shm:.x",   ".hidden", "shm:a/b",
		"a/b",	     "/a",   "../a",	"a b",	    "a\n",     "\xc3\xa4",
		"nosuch:a",  "a:b",  ":a",	"SHM:a",    "shm:shm:a", long_name,
	};
	struct shmkv *kv = (struct shmkv *)&kv, *const before = kv;
	char folder[] = "/dev/shm/limits-XXXXXX";
	size_t i;

	/* A folder of our own, which must be empty in the end. */
	CHECK(mkdtemp(folder) != NULL);
	CHECK_EQ(setenv("SHMKV_DIR", folder, 1), 0);
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_EQ(shmkv_create(bad[i], NULL, &kv), -EINVAL);
		CHECK_EQ(shmkv_attach(bad[i], 0, &kv), -EINVAL);
		CHECK_EQ(shmkv_attach(bad[i], SHMKV_READ_ONLY, &kv), -EINVAL);
		CHECK_EQ(shmkv_unlink(bad[i]), -EINVAL);
		CHECK(kv == before);
	}
	CHECK_EQ(rmdir(folder), 0);
}

static void longest_name_works(void)
{
	char name[SHMKV_NAME_MAX + 1];
	struct shmkv *kv;

	snprintf(name, sizeof(name), "limits-%d-", (int)getpid());
	memset(name + strlen(name), 'z', sizeof(name) - 1 - strlen(name));
	name[SHMKV_NAME_MAX] = '\0';
	CHECK_EQ(shmkv_create(name, NULL, &kv), 0);
	CHECK_STR(skv_segment_info(kv).name, name);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_attach(name, SHMKV_READ_ONLY, &kv), 0);
	shmkv_detach(kv);
	CHECK_EQ(shmkv_unlink(name), 0);
}

static void missing_segment_is_not_made(void)
{
	struct shmkv *kv = NULL;
	char name[64], path[256];

	skv_segment_name(name);
	CHECK_EQ(shmkv_attach(name, 0, &kv), -ENOENT);
	CHECK_EQ(shmkv_attach(name, SHMKV_READ_ONLY, &kv), -ENOENT);
	CHECK_EQ(shmkv_unlink(name), -ENOENT);
	skv_segment_file(name, path);
	CHECK(access(path, F_OK) < 0);
}

static void bad_options_are_refused(void)
{
	const struct {
		struct shmkv_options opts;
	} bad[] = {
#define SIZE sizeof(bad[0].opts)
		{ { .size = 0 } },
		{ { .size = 4 } },
		{ { .size = 5000 } },
		{ { .size = SIZE, .max_bytes = SHMKV_SIZE_MIN - 1 } },
		{ { .size = SIZE, .max_bytes = SHMKV_SIZE_MAX + 1 } },
		{ { .size = SIZE, .max_bytes = UINT64_MAX } },
		{ { .size = SIZE, .mode = 01000 } },
		{ { .size = SIZE, .mode = UINT32_MAX } },
		{ { .size = SIZE, .hash = 3 } },
		{ { .size = SIZE, .hash = UINT32_MAX } },
		{ { .size = SIZE, .max_processes = 4096 } },
		{ { .size = SIZE, .max_threads = 4096 } },
		{ { .size = SIZE, .max_processes = UINT32_MAX, .max_threads = UINT32_MAX } },
		/* The tables alone would be larger than the map. */
		{ { .size = SIZE, .max_bytes = SHMKV_SIZE_MIN, .max_threads = 4095 } },
		{ { .size = SIZE, .default_ttl_ms = SHMKV_TTL_MAX + 1 } },
		{ { .size = SIZE, .default_ttl_ms = SHMKV_TTL_NEVER } },
		{ { .size = SIZE, .default_ttl_ms = UINT64_MAX } },
		{ { .size = SIZE, .evict = 3 } },
		{ { .size = SIZE, .evict = UINT32_MAX } },
		{ { .size = SIZE, .huge_pages = 4 } },
		{ { .size = SIZE, .huge_pages = UINT32_MAX } },
#undef SIZE
	};
	struct shmkv *kv = NULL;
	char name[64], path[256];
	size_t i;

	skv_segment_name(name);
	skv_segment_file(name, path);
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_EQ(shmkv_create(name, &bad[i].opts, &kv), -EINVAL);
		CHECK(!kv && access(path, F_OK) < 0);
	}
	CHECK_EQ(shmkv_create(name, NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_attach(name, 0, NULL), -EINVAL);
	CHECK_EQ(shmkv_attach(name, 2, &kv), -EINVAL);
	CHECK_EQ(shmkv_attach(name, UINT32_MAX, &kv), -EINVAL);
	CHECK_EQ(shmkv_list(NULL, NULL), -EINVAL);
	CHECK(access(path, F_OK) < 0);
}

/* ---- files that are no segments ------------------------------------------------------- */

static void attach_must_give(const char *name, int expected)
{
	struct shmkv *kv = NULL;

	CHECK_EQ(shmkv_attach(name, 0, &kv), expected);
	CHECK_EQ(shmkv_attach(name, SHMKV_READ_ONLY, &kv), expected);
	CHECK(kv == NULL);
}

static void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, data, len), len);
	close(fd);
}

static void foreign_files_are_refused_and_left_alone(void)
{
	static const size_t lens[] = { 0, 1, 8, 4095, 4096, 65536 };
	struct skv_segment s;
	char name[64], path[256], real[256];
	struct stat st;
	uint64_t digest;
	size_t i;

	skv_fill(payload, 65536, 1);
	skv_segment_name(name);
	skv_segment_file(name, path);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		write_file(path, payload, lens[i]);
		digest = skv_file_digest(path);
		attach_must_give(name, -EMEDIUMTYPE);
		CHECK_EQ(shmkv_unlink(name), -EMEDIUMTYPE);
		CHECK_EQ(skv_file_digest(path), digest);
		CHECK_EQ(unlink(path), 0);
	}

	CHECK_EQ(mkdir(path, 0700), 0);
	attach_must_give(name, -EMEDIUMTYPE);
	CHECK_EQ(shmkv_unlink(name), -EMEDIUMTYPE);
	CHECK_EQ(rmdir(path), 0);

	/* Nobody writes to it: whoever waited for a writer would wait for ever. */
	CHECK_EQ(mkfifo(path, 0600), 0);
	attach_must_give(name, -EMEDIUMTYPE);
	CHECK_EQ(shmkv_unlink(name), -EMEDIUMTYPE);
	CHECK_EQ(unlink(path), 0);

	/* Also a link to a good segment is not followed, and not removed. */
	skv_segment_begin(&s, MIB);
	skv_segment_file(s.name, real);
	CHECK_EQ(symlink(real, path), 0);
	attach_must_give(name, -EMEDIUMTYPE);
	CHECK_EQ(shmkv_unlink(name), -EMEDIUMTYPE);
	CHECK(lstat(path, &st) == 0 && S_ISLNK(st.st_mode));
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(symlink("/nowhere/at/all", path), 0);
	attach_must_give(name, -EMEDIUMTYPE);
	CHECK_EQ(unlink(path), 0);
	skv_segment_end(&s);
}

static void patch(const char *path, off_t off, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, data, len, off), len);
	close(fd);
}

#define HEADER_FIELD(member) { #member, offsetof(struct skv_superblock, member), \
			       sizeof(((struct skv_superblock *)0)->member) }

/* Fields of which one more is as good as what was there. */
static bool may_be_one_more(off_t off)
{
	/* A watermark may be any number up to its bound, as may the first level; what was asked
	 * for may be a little more than what was used of it; the other hash is another hash, and
	 * then the keys are not found. */
	return off >= (off_t)offsetof(struct skv_superblock, chunks_ready) ||
	       off == (off_t)offsetof(struct skv_superblock, level_min) ||
	       off == (off_t)offsetof(struct skv_superblock, max_bytes) ||
	       off == (off_t)offsetof(struct skv_superblock, hash_kind);
}

static void other_headers_are_refused_and_left_alone(void)
{
	static const struct {
		const char *name;
		off_t off;
		size_t len;
	} fields[] = {
		HEADER_FIELD(magic),	     HEADER_FIELD(format_version),
		HEADER_FIELD(geometry_mark), HEADER_FIELD(segment_bytes),
		HEADER_FIELD(max_bytes),     HEADER_FIELD(wait_off),
		HEADER_FIELD(process_off),
		HEADER_FIELD(context_off),   HEADER_FIELD(class_off),
		HEADER_FIELD(dir_off),	     HEADER_FIELD(cell_off),
		HEADER_FIELD(bitmap_off),    HEADER_FIELD(summary_off),
		HEADER_FIELD(chunk_off),     HEADER_FIELD(n_processes),
		HEADER_FIELD(n_contexts),    HEADER_FIELD(n_chunks),
		HEADER_FIELD(hash_kind),     HEADER_FIELD(level_min),
		HEADER_FIELD(level_max),     HEADER_FIELD(boot_id),
		HEADER_FIELD(policy_off),    HEADER_FIELD(evict),
		HEADER_FIELD(huge_pages),
		HEADER_FIELD(chunks_ready),  HEADER_FIELD(contexts_ready),
	};
	static const uint8_t ones[16] = { 255, 255, 255, 255, 255, 255, 255, 255,
					  255, 255, 255, 255, 255, 255, 255, 255 };
	struct skv_superblock header;
	struct skv_snapshot before;
	struct skv_segment s;
	uint64_t digest, number;
	uint32_t mark;
	struct shmkv *kv;
	char path[256];
	int fd, expected;
	size_t i, k;

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_populate(s.kv);
	before = skv_segment_snapshot(s.kv);
	shmkv_detach(s.kv);
	skv_segment_file(s.name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);

	for (i = 0; i < ARRAY_LEN(fields); i++) {
		expected = i == 0 ? -EMEDIUMTYPE : i < 3 ? -EPROTONOSUPPORT : -EBADMSG;
		/* All bits set, one more, and nearly the sign bit. */
		for (k = 0; k < 3; k++) {
			uint8_t bytes[16] = { 0 };

			number = 0;
			memcpy(bytes, (uint8_t *)&header + fields[i].off, fields[i].len);
			memcpy(&number, bytes, fields[i].len < 8 ? fields[i].len : 8);
			number += k == 1 ? 1 : (uint64_t)1 << (fields[i].len * 4 - 2);
			memcpy(bytes, &number, fields[i].len < 8 ? fields[i].len : 8);
			if (k == 1 && may_be_one_more(fields[i].off))
				continue;
			patch(path, fields[i].off, k == 0 ? ones : bytes, fields[i].len);
			digest = skv_file_digest(path);
			kv = NULL;
			if (shmkv_attach(s.name, SHMKV_READ_ONLY, &kv) != expected ||
			    shmkv_attach(s.name, 0, &kv) != expected)
				skv_test_fail(__FILE__, __LINE__, "%s, change %zu: %s, not %s",
					      fields[i].name, k,
					      shmkv_errname(shmkv_attach(s.name, 0, &kv)),
					      shmkv_errname(expected));
			CHECK_EQ(skv_file_digest(path), digest);
			patch(path, fields[i].off, (uint8_t *)&header + fields[i].off,
			      fields[i].len);
		}
	}

	/* What a build with tiny leaves, or with ordinary ones, would have written. */
#ifdef SKV_TINY
	mark = 63u | SKV_LINE_SLOTS << 8 | 24u << 12 | (SKV_CHUNK_BYTES / SKV_PAGE) << 20;
#else
	mark = 3u | SKV_LINE_SLOTS << 8 | 20u << 12 | (SKV_CHUNK_BYTES / SKV_PAGE) << 20;
#endif
	patch(path, offsetof(struct skv_superblock, geometry_mark), &mark, sizeof(mark));
	attach_must_give(s.name, -EPROTONOSUPPORT);
	patch(path, offsetof(struct skv_superblock, geometry_mark), &header.geometry_mark,
	      sizeof(mark));

	/* All as it was. */
	s.kv = skv_segment_attach(&s, 0);
	skv_segment_unchanged(s.kv, &before);
	skv_segment_end(&s);
}

static void truncated_and_lengthened_files_are_refused(void)
{
	struct skv_segment s;
	struct shmkv *kv;
	char path[256];
	struct stat st;
	off_t len;

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_populate(s.kv);
	shmkv_detach(s.kv);
	skv_segment_file(s.name, path);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(truncate(path, st.st_size + 4096), 0);
	attach_must_give(s.name, -EBADMSG);
	for (len = st.st_size - 1; len >= 4096; len /= 2) {
		CHECK_EQ(truncate(path, len), 0);
		attach_must_give(s.name, -EBADMSG);
	}
	CHECK_EQ(truncate(path, 4095), 0);
	attach_must_give(s.name, -EMEDIUMTYPE);
	CHECK_EQ(shmkv_unlink(s.name), -EMEDIUMTYPE);
	CHECK_EQ(truncate(path, 0), 0);
	attach_must_give(s.name, -EMEDIUMTYPE);
	/* A name that is taken is taken, by whatever. */
	CHECK_EQ(shmkv_create(s.name, NULL, &kv), -EEXIST);
	CHECK_EQ(unlink(path), 0);
}

static void name_that_is_taken_keeps_its_segment(void)
{
	struct skv_snapshot before;
	struct skv_segment s;
	struct shmkv *kv = NULL;

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_populate(s.kv);
	before = skv_segment_snapshot(s.kv);
	CHECK_EQ(shmkv_create(s.name, NULL, &kv), -EEXIST);
	CHECK(kv == NULL);
	skv_segment_unchanged(s.kv, &before);
	skv_segment_end(&s);
}

/* ---- arguments --------------------------------------------------------------------- */

static void keys_of_wrong_length_change_nothing(void)
{
	uint8_t *key = skv_alloc(SHMKV_KEY_MAX + 1);
	struct skv_snapshot before;
	struct skv_segment s;
	size_t i;

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_populate(s.kv);
	before = skv_segment_snapshot(s.kv);
	for (i = 0; i < ARRAY_LEN(calls); i++) {
		call_must_give(&calls[i], s.kv, key, 0, -EMSGSIZE);
		call_must_give(&calls[i], s.kv, NULL, 0, -EMSGSIZE);
		call_must_give(&calls[i], s.kv, key, SHMKV_KEY_MAX + 1, -EMSGSIZE);
		call_must_give(&calls[i], s.kv, key, SIZE_MAX, -EMSGSIZE);
		call_must_give(&calls[i], s.kv, NULL, 1, -EINVAL);
	}
	skv_segment_unchanged(s.kv, &before);

	/* The longest key is a key; so is one byte. */
	CHECK_EQ(shmkv_put(s.kv, key, SHMKV_KEY_MAX, shmkv_int(1), NULL), 0);
	CHECK_EQ(shmkv_put(s.kv, key, SHMKV_KEY_MAX - 1, shmkv_int(2), NULL), 0);
	CHECK_EQ(shmkv_put(s.kv, key, 1, shmkv_int(3), NULL), 0);
	CHECK_EQ(shmkv_get_int(s.kv, key, SHMKV_KEY_MAX, &out_int), 0);
	CHECK_EQ(out_int, 1);
	CHECK_EQ(shmkv_del(s.kv, key, SHMKV_KEY_MAX), 0);
	CHECK_EQ(shmkv_del(s.kv, key, SHMKV_KEY_MAX - 1), 0);
	CHECK_EQ(shmkv_del(s.kv, key, 1), 0);
	free(key);
	skv_segment_end(&s);
}

static void wrong_values_types_and_buffers_change_nothing(void)
{
	static const uint8_t broken[][6] = { "\xc1", "\x01\x02", "\xa2\x61", "\x92\x01",
					     "\xdd\x7f\xff\xff\xff" };
	static const size_t broken_len[] = { 1, 2, 2, 2, 5 };
	struct shmkv_value odd = { .type = (enum shmkv_type)99 };
	struct skv_snapshot before;
	struct skv_segment s;
	struct shmkv *kv;
	uint64_t token;
	uint8_t deep[40];
	size_t i;

	skv_segment_begin(&s, 2 * MIB);
	kv = s.kv;
	skv_segment_populate(kv);
	CHECK_EQ(shmkv_get(kv, KEY("int"), NULL, 0, &out_value, &token), 0);
	before = skv_segment_snapshot(kv);

	for (i = 0; i < ARRAY_LEN(broken); i++) {
		struct shmkv_value v = shmkv_packed(broken[i], broken_len[i]);

		CHECK_EQ(shmkv_put(kv, KEY("int"), v, NULL), -EILSEQ);
		CHECK_EQ(shmkv_add(kv, KEY("new"), v, NULL), -EILSEQ);
		CHECK_EQ(shmkv_replace(kv, KEY("int"), v, NULL), -EILSEQ);
		CHECK_EQ(shmkv_cas(kv, KEY("int"), token, v, NULL), -EILSEQ);
	}
	memset(deep, 0x91, sizeof(deep));
	deep[SHMKV_DEPTH_MAX] = 0x01;
	CHECK_EQ(shmkv_put(kv, KEY("int"), shmkv_packed(deep, SHMKV_DEPTH_MAX + 1), NULL), -EILSEQ);
	CHECK_EQ(shmkv_put(kv, KEY("int"), odd, NULL), -EINVAL);
	CHECK_EQ(shmkv_put(kv, KEY("int"), shmkv_bin(NULL, 1), NULL), -EINVAL);
	CHECK_EQ(shmkv_append(kv, KEY("str"), shmkv_str_n(NULL, 1), NULL), -EINVAL);
	CHECK_EQ(shmkv_append(kv, KEY("str"), shmkv_int(1), NULL), -EINVAL);
	CHECK_EQ(shmkv_append(kv, KEY("str"), shmkv_packed("\x01", 1), NULL), -EINVAL);

	/* Conditions that do not hold. */
	CHECK_EQ(shmkv_add(kv, KEY("int"), shmkv_int(1), NULL), -EEXIST);
	CHECK_EQ(shmkv_replace(kv, KEY("none"), shmkv_int(1), NULL), -ENOENT);
	CHECK_EQ(shmkv_cas(kv, KEY("none"), token, shmkv_int(1), NULL), -ENOENT);
	CHECK_EQ(shmkv_cas(kv, KEY("int"), token + 1, shmkv_int(1), NULL), -ESTALE);
	CHECK_EQ(shmkv_cas(kv, KEY("int"), 0, shmkv_int(1), NULL), -ESTALE);
	CHECK_EQ(shmkv_cas(kv, KEY("max"), token, shmkv_int(1), NULL), -ESTALE);
	CHECK_EQ(shmkv_del(kv, KEY("none")), -ENOENT);
	CHECK_EQ(shmkv_take(kv, KEY("none"), out, sizeof(out), &out_len), -ENOENT);
	for (i = 0; i < ARRAY_LEN(calls); i++) {
		if (!calls[i].writes)
			call_must_give(&calls[i], kv, KEY("none"), -ENOENT);
	}

	/* Types and ranges. */
	CHECK_EQ(shmkv_incr(kv, KEY("str"), 1, 0, NULL), -EPROTOTYPE);
	CHECK_EQ(shmkv_incr(kv, KEY("run"), 1, 0, NULL), -EPROTOTYPE);
	CHECK_EQ(shmkv_incr(kv, KEY("float"), 1, 0, NULL), -EPROTOTYPE);
	CHECK_EQ(shmkv_incr(kv, KEY("max"), 1, 0, NULL), -ERANGE);
	CHECK_EQ(shmkv_incr(kv, KEY("huge"), -1, 0, NULL), -ERANGE);
	CHECK_EQ(shmkv_incr(kv, KEY("neg"), INT64_MIN, 0, NULL), -ERANGE);
	CHECK_EQ(shmkv_incr(kv, KEY("new"), 1, INT64_MAX, NULL), -ERANGE);
	CHECK_EQ(shmkv_append(kv, KEY("str"), shmkv_bin("x", 1), NULL), -EPROTOTYPE);
	CHECK_EQ(shmkv_append(kv, KEY("run"), shmkv_str("x"), NULL), -EPROTOTYPE);
	CHECK_EQ(shmkv_append(kv, KEY("int"), shmkv_str("x"), NULL), -EPROTOTYPE);
	CHECK_EQ(shmkv_get_int(kv, KEY("huge"), &out_int), -ERANGE);
	CHECK_EQ(shmkv_get_uint(kv, KEY("neg"), &out_uint), -ERANGE);
	CHECK_EQ(shmkv_get_float(kv, KEY("max"), &out_float), -ERANGE);
	CHECK_EQ(shmkv_get_bool(kv, KEY("int"), &out_bool), -EPROTOTYPE);

	/* Buffers: the needed length is told, the buffer is not touched. */
	memset(out, 0x55, 100000);
	CHECK_EQ(shmkv_get(kv, KEY("run"), out, 99999, &out_value, NULL), -ENOBUFS);
	CHECK(out_value.type == SHMKV_BIN && out_value.len == 100000 && !out_value.data);
	CHECK_EQ(shmkv_get(kv, KEY("run"), NULL, 0, &out_value, NULL), -ENOBUFS);
	CHECK_EQ(shmkv_get_packed(kv, KEY("run"), out, 100004, &out_len, NULL), -ENOBUFS);
	CHECK_EQ(out_len, 100005);
	CHECK_EQ(shmkv_get_bin(kv, KEY("run"), out, 99999, &out_len), -ENOBUFS);
	CHECK_EQ(out_len, 100000);
	CHECK_EQ(shmkv_get_str(kv, KEY("str"), NULL, 0, &out_len), -ENOBUFS);
	CHECK_EQ(out_len, 9);
	CHECK_EQ(shmkv_take(kv, KEY("run"), out, 100004, &out_len), -ENOBUFS);
	CHECK_EQ(out_len, 100005);
	CHECK_EQ(shmkv_take(kv, KEY("int"), NULL, 0, &out_len), -ENOBUFS);
	for (i = 0; i < 100000; i++)
		CHECK_EQ(out[i], 0x55);
	CHECK_EQ(shmkv_get(kv, KEY("int"), NULL, 1, &out_value, NULL), -EINVAL);
	CHECK_EQ(shmkv_take(kv, KEY("int"), NULL, 1, &out_len), -EINVAL);
	CHECK_EQ(shmkv_get(kv, KEY("int"), NULL, 0, NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_take(kv, KEY("int"), out, 10, NULL), -EINVAL);
	CHECK_EQ(shmkv_scan_begin(kv, 0, NULL), -EINVAL);
	CHECK_EQ(shmkv_count(kv, NULL), -EINVAL);
	CHECK_EQ(shmkv_info(kv, NULL), -EINVAL);
	CHECK_EQ(shmkv_check(kv, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_recover(kv, NULL), -EINVAL);
	CHECK_EQ(shmkv_layout(kv, NULL, NULL), -EINVAL);
	skv_segment_unchanged(kv, &before);
	skv_segment_end(&s);
}

static void value_larger_than_the_segment_changes_nothing(void)
{
	struct skv_snapshot before;
	struct skv_segment s;
	uint64_t token;
	uint8_t *large = skv_alloc(2 * MIB + 1);
	size_t i;
	const size_t lens[] = { 2 * MIB, 2 * MIB + 1, (size_t)1 << 31, UINT32_MAX,
				(size_t)1 << 32, SIZE_MAX / 2, SIZE_MAX };

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_populate(s.kv);
	CHECK_EQ(shmkv_get(s.kv, KEY("int"), NULL, 0, &out_value, &token), 0);
	before = skv_segment_snapshot(s.kv);
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		/* None of the bytes is read: there are not so many. */
		struct shmkv_value v = shmkv_bin(large, lens[i]);

		CHECK_EQ(shmkv_put(s.kv, KEY("int"), v, NULL), -EFBIG);
		CHECK_EQ(shmkv_add(s.kv, KEY("new"), v, NULL), -EFBIG);
		CHECK_EQ(shmkv_replace(s.kv, KEY("int"), v, NULL), -EFBIG);
		CHECK_EQ(shmkv_cas(s.kv, KEY("int"), token, v, NULL), -EFBIG);
		CHECK_EQ(shmkv_append(s.kv, KEY("run"), v, NULL), -EFBIG);
		CHECK_EQ(shmkv_append(s.kv, KEY("new"), v, NULL), -EFBIG);
	}
	skv_segment_unchanged(s.kv, &before);
	free(large);
	skv_segment_end(&s);
}

static void value_that_an_empty_map_cannot_take_is_too_large_and_not_too_much(void)
{
	static const uint64_t sizes[] = { MIB, 2 * MIB, 5 * MIB, 64 * MIB };
	struct shmkv_options opts = SHMKV_OPTIONS_INIT;
	uint8_t *large = skv_alloc(64 * MIB);
	struct skv_segment s;
	size_t i, len;
	int r;

	for (i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
		opts.max_bytes = sizes[i / 2];
		/* With an index laid out for many keys there is less for values. */
		opts.capacity = i % 2 ? opts.max_bytes / 200 : 0;
		skv_segment_begin_with(&s, &opts);
		/* From above: too large for ever, until one fits; the map is empty. */
		for (len = opts.max_bytes, r = -EFBIG; r == -EFBIG && len > 0; len -= 4096)
			r = shmkv_put(s.kv, KEY("k"), shmkv_bin(large, len), NULL);
		CHECK_EQ(r, 0);
		CHECK(i % 2 || len > opts.max_bytes / 2);
		/* Emptied, it takes the same again. */
		len += 4096;
		CHECK_EQ(shmkv_del(s.kv, KEY("k")), 0);
		CHECK_EQ(shmkv_put(s.kv, KEY("l"), shmkv_bin(large, len), NULL), 0);
		CHECK_EQ(shmkv_put(s.kv, KEY("m"), shmkv_bin(large, len), NULL), -ENOSPC);
		skv_segment_end(&s);
	}
	free(large);
}

/* ---- handles ----------------------------------------------------------------------- */

static void closed_handle_is_refused_by_every_call(void)
{
	struct skv_snapshot before;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct skv_segment s;
	struct shmkv *kv;
	size_t i;

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_populate(s.kv);
	before = skv_segment_snapshot(s.kv);
	kv = skv_segment_attach(&s, 0);
	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	CHECK(shmkv_detach(kv) == NULL);
	for (i = 0; i < ARRAY_LEN(calls); i++) {
		call_must_give(&calls[i], kv, KEY("int"), -EBADF);
		call_must_give(&calls[i], NULL, KEY("int"), -EBADF);
	}
	keyless_must_give(kv, -EBADF, -EBADF);
	keyless_must_give(NULL, -EBADF, -EBADF);
	CHECK_EQ(shmkv_scan_next(scan, &entry), -EBADF);
	CHECK_EQ(shmkv_scan_next(NULL, &entry), -EBADF);
	CHECK(shmkv_scan_end(scan) == NULL);
	CHECK(shmkv_detach(kv) == NULL);
	CHECK(shmkv_detach(NULL) == NULL);
	skv_segment_unchanged(s.kv, &before);
	skv_segment_end(&s);
}

/* Permissions of this process's mappings of the file, as "rw" or "r-", one per mapping. */
static unsigned int count_mappings(const char *name, const char *permissions)
{
	char line[1024], path[256];
	unsigned int n = 0;
	FILE *file = fopen("/proc/self/maps", "r");

	CHECK(file != NULL);
	skv_segment_file(name, path);
	while (fgets(line, sizeof(line), file)) {
		const char *blank = strchr(line, ' ');

		if (strstr(line, path) && blank && strncmp(blank + 1, permissions, 2) == 0)
			n++;
	}
	fclose(file);
	return n;
}

static void read_only_handle_reads_all_and_changes_no_byte(void)
{
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct skv_segment s;
	struct shmkv *kv;
	char path[256];
	uint64_t digest;
	size_t i;
	int n = 0, r;

	skv_segment_begin(&s, 2 * MIB);
	skv_segment_populate(s.kv);
	shmkv_detach(s.kv);
	skv_segment_file(s.name, path);
	digest = skv_file_digest(path);

	kv = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(count_mappings(s.name, "r-"), 1);
	CHECK_EQ(count_mappings(s.name, "rw"), 0);
	for (i = 0; i < ARRAY_LEN(calls); i++) {
		if (calls[i].writes) {
			call_must_give(&calls[i], kv, KEY("int"), -EROFS);
			call_must_give(&calls[i], kv, KEY("none"), -EROFS);
		} else {
			call_must_give(&calls[i], kv, KEY("none"), -ENOENT);
		}
	}
	keyless_must_give(kv, 0, -EROFS);
	CHECK_EQ(skv_segment_info(kv).processes, 0);
	CHECK_EQ(skv_segment_info(kv).read_only, 1);
	CHECK_EQ(shmkv_get_int(kv, KEY("int"), &out_int), 0);
	CHECK_EQ(out_int, 7);
	CHECK_EQ(call_get_alloc(kv, KEY("run")), 0);
	CHECK_EQ(shmkv_scan_begin(kv, 0, &scan), 0);
	while ((r = shmkv_scan_next(scan, &entry)) == 1)
		n++;
	CHECK_EQ(r, 0);
	CHECK_EQ(n, 40);
	shmkv_scan_end(scan);
	skv_segment_check(kv);
	CHECK(shmkv_detach(kv) == NULL);

	/* Not one byte of the file has changed. */
	CHECK_EQ(skv_file_digest(path), digest);
	s.kv = skv_segment_attach(&s, 0);
	CHECK_EQ(count_mappings(s.name, "rw"), 1);
	skv_segment_end(&s);
}

static void two_handles_of_one_process_are_two_participants(void)
{
	struct skv_segment s;
	struct shmkv *other, *reader;
	uint64_t token;
	int64_t n;
	int i;

	skv_segment_begin(&s, 2 * MIB);
	other = skv_segment_attach(&s, 0);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	CHECK_EQ(skv_segment_info(reader).processes, 2);
	for (i = 0; i < 2000; i++) {
		CHECK_EQ(shmkv_incr(i & 1 ? s.kv : other, KEY("n"), 1, 0, &n), 0);
		CHECK_EQ(n, i + 1);
		CHECK_EQ(shmkv_get_int(reader, KEY("n"), &n), 0);
		CHECK_EQ(n, i + 1);
	}
	CHECK_EQ(shmkv_put(s.kv, KEY("k"), shmkv_str("one"), &token), 0);
	CHECK_EQ(shmkv_cas(other, KEY("k"), token, shmkv_str("two"), NULL), 0);
	CHECK_EQ(shmkv_cas(s.kv, KEY("k"), token, shmkv_str("three"), NULL), -ESTALE);
	CHECK_EQ(skv_segment_info(reader).threads, 2);
	skv_segment_check(reader);
	/* One goes, the others stay. */
	CHECK(shmkv_detach(s.kv) == NULL);
	CHECK_EQ(skv_segment_info(reader).processes, 1);
	CHECK_EQ(shmkv_put(other, KEY("k"), shmkv_str("four"), NULL), 0);
	CHECK(shmkv_detach(other) == NULL);
	CHECK_EQ(skv_segment_info(reader).processes, 0);
	CHECK_EQ(shmkv_get_str(reader, KEY("k"), (char *)out, sizeof(out), &out_len), 0);
	CHECK_MEM(out, out_len, "four", 4);
	s.kv = skv_segment_attach(&s, 0);
	CHECK(shmkv_detach(reader) == NULL);
	skv_segment_end(&s);
}

/* ---- table ------------------------------------------------------------------------ */

const struct skv_test skv_tests_limits[] = {
	{ "names", "bad names are refused everywhere", bad_names_are_refused_everywhere, 10 },
	{ "names", "the longest name works", longest_name_works, 10 },
	{ "names", "a missing segment is not made", missing_segment_is_not_made, 10 },
	{ "names", "a name that is taken keeps its segment",
	  name_that_is_taken_keeps_its_segment, 10 },
	{ "names", "bad options are refused", bad_options_are_refused, 10 },
	{ "files", "foreign files are refused and left alone",
	  foreign_files_are_refused_and_left_alone, 10 },
	{ "files", "other headers are refused and left alone",
	  other_headers_are_refused_and_left_alone, 20 },
	/* hazard 17 */
	{ "files", "truncated and lengthened files are refused",
	  truncated_and_lengthened_files_are_refused, 10 },
	{ "arguments", "keys of wrong length change nothing",
	  keys_of_wrong_length_change_nothing, 10 },
	{ "arguments", "wrong values, types and buffers change nothing",
	  wrong_values_types_and_buffers_change_nothing, 10 },
	{ "arguments", "a value larger than the segment changes nothing",
	  value_larger_than_the_segment_changes_nothing, 10 },
	{ "arguments", "a value that an empty map cannot take is too large, not too much",
	  value_that_an_empty_map_cannot_take_is_too_large_and_not_too_much, 30 },
	{ "handles", "a closed handle is refused by every call",
	  closed_handle_is_refused_by_every_call, 10 },
	{ "handles", "a read-only handle reads all and changes no byte",
	  read_only_handle_reads_all_and_changes_no_byte, 10 },
	{ "handles", "two handles of one process are two participants",
	  two_handles_of_one_process_are_two_participants, 10 },
	{ 0 },
};

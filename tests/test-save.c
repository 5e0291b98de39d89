/* SPDX-License-Identifier: MIT */
/* save: maps into files and back, and files that are not what they should be. */
#include "tests/boot-clock.h"
#include "tests/segment.h"

#include "save/format.h"

#include <shmkv/capability.h>
#include <shmkv/expiry.h>
#include <shmkv/save.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static uint8_t buf[SHMKV_KEY_MAX];

/* ---- files that have no name ---------------------------------------------------------- */

static int file_new(void)
{
	int fd = memfd_create("save", MFD_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static uint64_t file_bytes(int fd)
{
	off_t len = lseek(fd, 0, SEEK_END);

	CHECK(len >= 0);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	return (uint64_t)len;
}

static uint8_t *file_read(int fd, uint64_t *ret_len)
{
	uint8_t *bytes;

	*ret_len = file_bytes(fd);
	bytes = skv_alloc(*ret_len);
	CHECK_EQ(pread(fd, bytes, *ret_len, 0), (ssize_t)*ret_len);
	return bytes;
}

static int file_of(const uint8_t *bytes, uint64_t len)
{
	int fd = file_new();

	CHECK_EQ(pwrite(fd, bytes, len, 0), (ssize_t)len);
	return fd;
}

static int saved(struct shmkv *kv, uint32_t compression, struct shmkv_saved *ret_saved)
{
	struct shmkv_save_options opts = { .size = sizeof(opts), .compression = compression };
	struct shmkv_saved result = { .size = sizeof(result) };
	int fd = file_new();

	CHECK_EQ(shmkv_save(kv, fd, &opts, &result), 0);
	CHECK_EQ(file_bytes(fd), result.bytes);
	if (ret_saved)
		*ret_saved = result;
	return fd;
}

/* What shmkv_load says of a file that is only looked at. */
static int looked_at(int fd, struct shmkv_loaded *ret_loaded)
{
	memset(ret_loaded, 0, sizeof(*ret_loaded));
	ret_loaded->size = sizeof(*ret_loaded);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	return shmkv_load(NULL, fd, NULL, NULL, ret_loaded);
}

static int loaded(const char *name, int fd, struct shmkv **ret_kv)
{
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	return shmkv_load(name, fd, NULL, ret_kv, NULL);
}

/* ---- content --------------------------------------------------------------------------- */

/* Every key of @a is in @b with the same value, and there are no others. */
static void check_same(struct shmkv *a, struct shmkv *b)
{
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	uint64_t n = 0;
	void *value;
	size_t len;

	CHECK_EQ(shmkv_scan_begin(a, 0, &scan), 0);
	while (shmkv_scan_next(scan, &entry) == 1) {
		CHECK_EQ(shmkv_get_alloc(b, entry.key, entry.key_len, &value, &len, NULL), 0);
		CHECK_MEM(value, len, entry.value, entry.value_len);
		free(value);
		n++;
	}
	shmkv_scan_end(scan);
	CHECK_EQ(skv_segment_count(b), n);
}

static void put_many_kinds(struct shmkv *kv, uint64_t seed)
{
	uint64_t i, len;

	skv_segment_populate(kv);
	for (i = 0; i < 3000; i++) {
		len = skv_random(&seed) % 700;
		skv_fill(buf, len, i);
		CHECK_EQ(shmkv_put(kv, &i, sizeof(i), shmkv_bin(buf, len), NULL), 0);
	}
	/* The longest key, and values longer than a block of the file. */
	skv_fill(buf, SHMKV_KEY_MAX, 7);
	CHECK_EQ(shmkv_put(kv, buf, SHMKV_KEY_MAX, shmkv_nil(), NULL), 0);
	for (i = 0; i < 3; i++) {
		uint8_t *large = skv_alloc(3 * MIB + i);

		skv_fill(large, 3 * MIB + i, i);
		CHECK_EQ(shmkv_put(kv, &i, 4, shmkv_bin(large, 3 * MIB + i), NULL), 0);
		free(large);
	}
}

static void what_was_saved_is_loaded(void)
{
	static const uint32_t levels[] = { 0, 1, 3, 19 };
	struct shmkv_saved first, result;
	struct skv_segment s, copy;
	struct shmkv *heap;
	size_t i;
	int fd;

	skv_segment_begin(&s, 64 * MIB);
	put_many_kinds(s.kv, skv_test_seed());
	for (i = 0; i < (skv_test_is_slow() ? 2 : ARRAY_LEN(levels)); i++) {
		fd = saved(s.kv, levels[i], &result);
		CHECK_EQ(result.keys, skv_segment_count(s.kv));
		CHECK_EQ(result.expiring, 0);
		if (i == 0)
			first = result;
		CHECK_EQ(result.data_bytes, first.data_bytes);
		skv_segment_name(copy.name);
		CHECK_EQ(loaded(copy.name, fd, &copy.kv), 0);
		check_same(s.kv, copy.kv);
		CHECK_EQ(skv_segment_info(copy.kv).max_bytes, 64 * MIB);
		skv_segment_end(&copy);

		/* Into an engine of another kind, and from there. */
		CHECK_EQ(loaded("heap:hamt", fd, &heap), 0);
		check_same(s.kv, heap);
		close(fd);
		fd = saved(heap, levels[i], &result);
		CHECK_EQ(result.data_bytes, first.data_bytes);
		skv_segment_name(copy.name);
		CHECK_EQ(loaded(copy.name, fd, &copy.kv), 0);
		check_same(s.kv, copy.kv);
		skv_segment_end(&copy);
		shmkv_detach(heap);
		close(fd);
	}
	skv_segment_end(&s);
}

static void a_file_without_keys_is_a_file(void)
{
	struct shmkv_loaded about;
	struct shmkv_saved result;
	struct skv_segment s, copy;
	int fd;

	skv_segment_begin(&s, MIB);
	fd = saved(s.kv, 0, &result);
	CHECK_EQ(result.keys, 0);
	CHECK_EQ(looked_at(fd, &about), 0);
	CHECK_EQ(about.keys, 0);
	CHECK_STR(about.engine, "shm");
	CHECK_STR(about.version, shmkv_version());
	CHECK_EQ(about.format_version, SKV_SAVE_VERSION);
	CHECK_EQ(about.max_bytes, MIB);
	CHECK(about.saved_ms > 0);
	CHECK_EQ(about.position, result.bytes);
	skv_segment_name(copy.name);
	CHECK_EQ(loaded(copy.name, fd, &copy.kv), 0);
	CHECK_EQ(skv_segment_count(copy.kv), 0);
	skv_segment_end(&copy);
	skv_segment_end(&s);
	close(fd);
}

static void compression_makes_files_shorter(void)
{
	struct shmkv_saved plain, packed;
	struct skv_segment s;
	uint64_t i;

	skv_segment_begin(&s, 16 * MIB);
	for (i = 0; i < 20000; i++)
		CHECK_EQ(shmkv_put(s.kv, &i, sizeof(i), shmkv_str("the same text again"), NULL), 0);
	close(saved(s.kv, 0, &plain));
	close(saved(s.kv, 3, &packed));
	CHECK(plain.bytes > plain.data_bytes);
	CHECK(packed.bytes < plain.bytes / 3);
	skv_segment_end(&s);
}

static void a_map_is_what_it_was(void)
{
	struct shmkv_options opts = { .size = sizeof(opts), .max_bytes = 8 * MIB,
				      .hash = SHMKV_HASH_XXH3, .evict = SHMKV_EVICT_LFU,
				      .default_ttl_ms = 5000000, .max_processes = 9, .max_threads = 17 };
	struct shmkv_options larger = { .size = sizeof(larger), .max_bytes = 32 * MIB };
	struct shmkv_load_options how = { .size = sizeof(how), .map = &larger };
	struct skv_segment s, copy;
	struct shmkv_info info;
	int fd;

	skv_segment_begin_with(&s, &opts);
	CHECK_EQ(shmkv_put(s.kv, "k", 1, shmkv_nil(), NULL), 0);
	fd = saved(s.kv, 0, NULL);
	skv_segment_name(copy.name);
	CHECK_EQ(shmkv_load(copy.name, fd, &how, &copy.kv, NULL), 0);
	info = skv_segment_info(copy.kv);
	CHECK_EQ(info.max_bytes, 32 * MIB);
	CHECK_STR(info.hash, "xxh3");
	CHECK_STR(info.evict, "lfu");
	CHECK_EQ(info.default_ttl_ms, 5000000);
	CHECK_EQ(info.processes_max, 9);
	CHECK_EQ(info.threads_max, 17);
	skv_segment_end(&copy);
	skv_segment_end(&s);
	close(fd);
}

/* ---- time ------------------------------------------------------------------------------ */

static void what_is_left_to_live_is_kept(void)
{
	struct shmkv_load_options for_ever = { .size = sizeof(for_ever),
					       .flags = SHMKV_LOAD_FOR_EVER };
	struct shmkv_saved result;
	struct skv_segment s, copy;
	struct shmkv *heap;
	uint64_t ms;
	int fd;

	skv_boot_clock_stop();
	skv_segment_begin(&s, MIB);
	CHECK_EQ(shmkv_put_ttl(s.kv, KEY("gone"), shmkv_nil(), 1000, NULL), 0);
	CHECK_EQ(shmkv_put_ttl(s.kv, KEY("soon"), shmkv_nil(), 5000, NULL), 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("never"), shmkv_nil(), NULL), 0);
	skv_boot_clock_advance_ms(2000);
	fd = saved(s.kv, 0, &result);
	CHECK_EQ(result.keys, 2);
	CHECK_EQ(result.expiring, 1);
	/* However long the file lies. */
	skv_boot_clock_advance_ms(1000000);
	skv_segment_name(copy.name);
	CHECK_EQ(loaded(copy.name, fd, &copy.kv), 0);
	CHECK_EQ(shmkv_ttl(copy.kv, KEY("soon"), &ms), 0);
	CHECK_EQ(ms, 3000);
	CHECK_EQ(shmkv_ttl(copy.kv, KEY("never"), &ms), 0);
	CHECK_EQ(ms, SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_exists(copy.kv, KEY("gone")), -ENOENT);
	skv_boot_clock_advance_ms(3000);
	CHECK_EQ(shmkv_exists(copy.kv, KEY("soon")), -ENOENT);
	skv_segment_end(&copy);

	/* Where nothing expires nobody is told that it does. */
	CHECK_EQ(loaded("heap:hamt", fd, &heap), -EOPNOTSUPP);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(shmkv_load("heap:hamt", fd, &for_ever, &heap, NULL), 0);
	CHECK_EQ(shmkv_exists(heap, KEY("soon")), 0);
	shmkv_detach(heap);
	close(fd);
	skv_segment_end(&s);
}

/* A key that was stored to live for ever stays so in a map with a default. */
static void the_default_is_not_given_to_those_who_have_none(void)
{
	struct shmkv_options opts = { .size = sizeof(opts), .max_bytes = MIB, .default_ttl_ms = 9000 };
	struct skv_segment s, copy;
	uint64_t ms;
	int fd;

	skv_boot_clock_stop();
	skv_segment_begin_with(&s, &opts);
	CHECK_EQ(shmkv_put_ttl(s.kv, KEY("never"), shmkv_nil(), SHMKV_TTL_NEVER, NULL), 0);
	CHECK_EQ(shmkv_put(s.kv, KEY("default"), shmkv_nil(), NULL), 0);
	fd = saved(s.kv, 0, NULL);
	skv_segment_name(copy.name);
	CHECK_EQ(loaded(copy.name, fd, &copy.kv), 0);
	CHECK_EQ(shmkv_ttl(copy.kv, KEY("never"), &ms), 0);
	CHECK_EQ(ms, SHMKV_TTL_NEVER);
	CHECK_EQ(shmkv_ttl(copy.kv, KEY("default"), &ms), 0);
	CHECK_EQ(ms, 9000);
	skv_segment_end(&copy);
	skv_segment_end(&s);
	close(fd);
}

/* ---- damage ---------------------------------------------------------------------------- */

/* Small, and with several blocks, one of them for a single long entry. */
static uint8_t *some_file(uint32_t compression, uint64_t *ret_len)
{
	struct skv_segment s;
	uint8_t *bytes, *large = skv_alloc(1100 * KIB);
	uint64_t i;
	int fd;

	skv_segment_begin(&s, 8 * MIB);
	for (i = 0; i < 40; i++)
		CHECK_EQ(shmkv_put_ttl(s.kv, &i, sizeof(i), shmkv_int((int64_t)i * 1000),
				       i % 3 ? SHMKV_TTL_NEVER : 1000000, NULL), 0);
	if (compression)
		CHECK_EQ(shmkv_put(s.kv, KEY("large"), shmkv_bin(large, 1100 * KIB), NULL), 0);
	fd = saved(s.kv, compression, NULL);
	bytes = file_read(fd, ret_len);
	close(fd);
	free(large);
	skv_segment_end(&s);
	return bytes;
}

/* All bytes; under a sanitizer, where each takes long, some. */
#define STEP (skv_test_is_slow() ? 29u : 1u)

/* Refused with what the header says, and no map is there. */
static void check_refused(const uint8_t *bytes, uint64_t len, const char *what, uint64_t at)
{
	struct shmkv_loaded about;
	struct shmkv *kv = NULL;
	char name[64];
	int fd = file_of(bytes, len), r;

	r = looked_at(fd, &about);
	if (r != -EBADMSG && r != -EMEDIUMTYPE && r != -EPROTONOSUPPORT)
		skv_test_fail(__FILE__, __LINE__, "%s at %llu: answer %d", what,
			      (unsigned long long)at, r);
	CHECK(about.problem != NULL);
	CHECK(about.position <= len);
	/* Making a map takes a hundred times as long as looking. */
	if (at % 16 == 0) {
		skv_segment_name(name);
		CHECK_EQ(loaded(name, fd, &kv), r);
		CHECK(kv == NULL);
		CHECK_EQ(shmkv_unlink(name), -ENOENT);
	}
	close(fd);
}

static void check_cut_off(uint32_t compression)
{
	uint64_t len, cut;
	uint8_t *bytes = some_file(compression, &len);
	struct shmkv_loaded about;
	int fd;

	for (cut = 0; cut < len; cut += STEP) {
		check_refused(bytes, cut, "cut off", cut);
		if (cut < 8)
			continue;
		fd = file_of(bytes, cut);
		looked_at(fd, &about);
		if (about.format_version)
			CHECK_EQ(about.position, cut);
		close(fd);
	}
	free(bytes);
}

static void a_file_that_is_cut_off_anywhere_is_refused(void)
{
	check_cut_off(0);
	check_cut_off(3);
}

static void a_file_with_one_wrong_bit_anywhere_is_refused(void)
{
	static const uint32_t levels[] = { 0, 3 };
	uint64_t len, i;
	uint8_t *bytes, bit;
	size_t k;

	for (k = 0; k < ARRAY_LEN(levels); k++) {
		bytes = some_file(levels[k], &len);
		for (i = 0; i < len; i += STEP) {
			bit = (uint8_t)(1u << (i % 8));
			bytes[i] ^= bit;
			check_refused(bytes, len, "one wrong bit", i);
			bytes[i] ^= bit;
		}
		free(bytes);
	}
}

static void what_follows_the_end_is_not_ignored(void)
{
	uint64_t len;
	uint8_t *bytes = some_file(0, &len), *longer = skv_alloc(len + 1);
	struct shmkv_loaded about;
	int fd;

	memcpy(longer, bytes, len);
	check_refused(longer, len + 1, "one byte more", len);
	fd = file_of(longer, len + 1);
	CHECK_EQ(looked_at(fd, &about), -EBADMSG);
	CHECK_EQ(about.position, len);
	close(fd);
	free(longer);
	free(bytes);
}

/* ---- lies under a right checksum --------------------------------------------------------- */

static void seal_block(uint8_t *bytes, const struct skv_save_block *block)
{
	skv_save_block_pack(block, bytes);
}

/* The first block of a file, its header written again by @lie. */
static void check_lie(void (*lie)(struct skv_save_block *block, uint8_t *stored), const char *what)
{
	uint64_t len;
	uint8_t *bytes = some_file(0, &len), *at = bytes + SKV_SAVE_HEADER_BYTES;
	struct skv_save_block block;
	const char *problem;

	CHECK_EQ(skv_save_block_parse(at, &block, &problem), 0);
	lie(&block, at + SKV_SAVE_BLOCK_BYTES);
	if (block.stored_bytes <= len)
		block.checksum = skv_save_checksum(at + SKV_SAVE_BLOCK_BYTES, block.stored_bytes);
	seal_block(at, &block);
	check_refused(bytes, len, what, 0);
	free(bytes);
}

static void too_many_entries(struct skv_save_block *block, uint8_t *stored)
{
	(void)stored;
	block->n_entries++;
}

static void too_few_entries(struct skv_save_block *block, uint8_t *stored)
{
	(void)stored;
	block->n_entries--;
}

static void no_entries(struct skv_save_block *block, uint8_t *stored)
{
	(void)stored;
	block->n_entries = 0;
}

static void entries_without_end(struct skv_save_block *block, uint8_t *stored)
{
	(void)stored;
	block->n_entries = UINT64_MAX;
}

static void not_a_frame(struct skv_save_block *block, uint8_t *stored)
{
	(void)stored;
	block->is_zstd = true;
}

static void another_number(struct skv_save_block *block, uint8_t *stored)
{
	(void)stored;
	block->number = 1;
}

static void the_end_at_the_beginning(struct skv_save_block *block, uint8_t *stored)
{
	(void)stored;
	block->is_end = true;
}

static void a_key_of_no_bytes(struct skv_save_block *block, uint8_t *stored)
{
	(void)block;
	memset(stored, 0, 4);
}

static void a_key_without_end(struct skv_save_block *block, uint8_t *stored)
{
	(void)block;
	memset(stored, 0xff, 4);
}

static void a_value_without_end(struct skv_save_block *block, uint8_t *stored)
{
	(void)block;
	memset(stored + 8, 0xff, 8);
}

static void an_unknown_flag(struct skv_save_block *block, uint8_t *stored)
{
	(void)block;
	stored[5] = 1;
}

/* An array that announces 2^32 elements. */
static void a_value_that_is_a_bomb(struct skv_save_block *block, uint8_t *stored)
{
	uint64_t key_len = stored[0], fixed = SKV_SAVE_ENTRY_BYTES + (stored[4] ? 8 : 0);

	stored[8] = 5;
	memset(stored + fixed + key_len, 0xff, 5);
	stored[fixed + key_len] = 0xdd;
	block->n_entries = 1;
	block->data_bytes = block->stored_bytes = fixed + key_len + 5;
}

static void lies_under_a_right_checksum_are_refused(void)
{
	static const struct {
		void (*lie)(struct skv_save_block *block, uint8_t *stored);
		const char *what;
	} lies[] = {
		{ too_many_entries, "too many entries" },
		{ too_few_entries, "too few entries" },
		{ no_entries, "no entries" },
		{ entries_without_end, "entries without end" },
		{ not_a_frame, "not a frame" },
		{ another_number, "another number" },
		{ the_end_at_the_beginning, "the end at the beginning" },
		{ a_key_of_no_bytes, "a key of no bytes" },
		{ a_key_without_end, "a key without end" },
		{ a_value_without_end, "a value without end" },
		{ an_unknown_flag, "an unknown flag" },
		{ a_value_that_is_a_bomb, "a value that is a bomb" },
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(lies); i++)
		check_lie(lies[i].lie, lies[i].what);
}

/* To look at it, it is damaged; no map could hold it. */
static void check_too_long(const uint8_t *bytes, uint64_t len)
{
	struct shmkv_loaded about;
	struct shmkv *kv = NULL;
	char name[64];
	int fd = file_of(bytes, len);

	CHECK_EQ(looked_at(fd, &about), -EBADMSG);
	CHECK(about.problem != NULL);
	skv_segment_name(name);
	CHECK_EQ(loaded(name, fd, &kv), -EFBIG);
	CHECK(kv == NULL);
	CHECK_EQ(shmkv_unlink(name), -ENOENT);
	close(fd);
}

/* A block that announces petabytes is read as far as there is something to read. */
static void announced_memory_is_not_taken(void)
{
	uint64_t len;
	uint8_t *bytes = some_file(0, &len), *at = bytes + SKV_SAVE_HEADER_BYTES;
	struct skv_save_block block;
	const char *problem;
	struct rusage before, after;

	CHECK_EQ(skv_save_block_parse(at, &block, &problem), 0);
	block.stored_bytes = block.data_bytes = (uint64_t)1 << 50;
	seal_block(at, &block);
	getrusage(RUSAGE_SELF, &before);
	check_too_long(bytes, len);
	getrusage(RUSAGE_SELF, &after);
	CHECK(skv_test_is_slow() || after.ru_maxrss - before.ru_maxrss < 16 * 1024);

	/* Compressed, with less than it says inside. */
	block.is_zstd = true;
	block.stored_bytes = 100;
	block.checksum = skv_save_checksum(at + SKV_SAVE_BLOCK_BYTES, 100);
	seal_block(at, &block);
	check_too_long(bytes, len);
	free(bytes);
}

static void every_error_of_the_header_has_its_code(void)
{
	uint64_t len;
	uint8_t *bytes = some_file(0, &len);
	struct shmkv_loaded about;
	struct skv_save_header header;
	const char *problem;
	int fd;

	CHECK_EQ(skv_save_header_parse(bytes, &header, &problem), 0);
	bytes[8] = 2;
	fd = file_of(bytes, len);
	CHECK_EQ(looked_at(fd, &about), -EPROTONOSUPPORT);
	CHECK_EQ(about.format_version, 2);
	close(fd);

	bytes[8] = 1;
	bytes[0] = 'X';
	fd = file_of(bytes, len);
	CHECK_EQ(looked_at(fd, &about), -EMEDIUMTYPE);
	close(fd);

	/* What no map was created with, well sealed. */
	header.max_bytes = 0;
	skv_save_header_pack(&header, bytes);
	fd = file_of(bytes, len);
	CHECK_EQ(looked_at(fd, &about), -EBADMSG);
	close(fd);
	free(bytes);
}

/* ---- all or nothing ---------------------------------------------------------------------- */

static void what_has_the_name_already_stays(void)
{
	struct skv_snapshot before;
	struct skv_segment s, there;
	struct shmkv *kv = NULL;
	int fd;

	skv_segment_begin(&s, MIB);
	skv_segment_begin(&there, MIB);
	CHECK_EQ(shmkv_put(there.kv, "k", 1, shmkv_int(1), NULL), 0);
	before = skv_segment_snapshot(there.kv);
	CHECK_EQ(shmkv_put(s.kv, "k", 1, shmkv_int(2), NULL), 0);
	fd = saved(s.kv, 0, NULL);
	CHECK_EQ(loaded(there.name, fd, &kv), -EEXIST);
	CHECK(kv == NULL);
	skv_segment_unchanged(there.kv, &before);
	skv_segment_end(&there);
	skv_segment_end(&s);
	close(fd);
}

static void a_map_that_is_too_small_does_not_appear(void)
{
	struct shmkv_options small = { .size = sizeof(small), .max_bytes = MIB };
	struct shmkv_load_options how = { .size = sizeof(how), .map = &small };
	struct shmkv *kv = NULL;
	struct skv_segment s;
	char name[64];
	uint64_t i;
	int fd;

	skv_segment_begin(&s, 8 * MIB);
	for (i = 0; i < 4000; i++)
		CHECK_EQ(shmkv_put(s.kv, &i, sizeof(i), shmkv_bin(buf, 800), NULL), 0);
	fd = saved(s.kv, 0, NULL);
	skv_segment_name(name);
	/* Blocks of the file are longer than the whole map, or its memory ends: either way. */
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(shmkv_load(name, fd, &how, &kv, NULL), -ENOSPC);
	CHECK(kv == NULL);
	CHECK_EQ(shmkv_unlink(name), -ENOENT);
	skv_segment_end(&s);
	close(fd);
}

static struct {
	char name[64];
	int pipe[2];
} loader;

static void load_from_pipe(void *arg)
{
	struct shmkv *kv;

	(void)arg;
	close(loader.pipe[1]);
	if (shmkv_load(loader.name, loader.pipe[0], NULL, &kv, NULL) < 0)
		_exit(2);
	_exit(0);
}

/* The file comes slowly, the loader dies half-way, and nobody ever sees a map. */
static void a_loader_that_is_killed_leaves_nothing(void)
{
	uint64_t len, part;
	uint8_t *bytes = some_file(0, &len);
	struct shmkv *kv;
	int status, unread;
	pid_t pid;

	for (part = 100; part <= len; part += len - 100) {
		skv_segment_name(loader.name);
		CHECK_EQ(pipe(loader.pipe), 0);
		pid = skv_fork(load_from_pipe, NULL);
		close(loader.pipe[0]);
		CHECK_EQ(write(loader.pipe[1], bytes, part), (ssize_t)part);
		if (part < len) {
			/* It has taken all there is and waits for more. */
			do
				CHECK_EQ(ioctl(loader.pipe[1], FIONREAD, &unread), 0);
			while (unread > 0);
			CHECK_EQ(shmkv_attach(loader.name, SHMKV_READ_ONLY, &kv), -ENOENT);
			CHECK_EQ(kill(pid, SIGKILL), 0);
			skv_test_wait_killed(pid, SIGKILL);
			CHECK_EQ(shmkv_attach(loader.name, 0, &kv), -ENOENT);
			close(loader.pipe[1]);
		} else {
			close(loader.pipe[1]);
			CHECK_EQ(waitpid(pid, &status, 0), pid);
			CHECK_EQ(status, 0);
			CHECK_EQ(shmkv_attach(loader.name, 0, &kv), 0);
			CHECK_EQ(skv_segment_count(kv), 40);
			skv_segment_check(kv);
			shmkv_detach(kv);
			CHECK_EQ(shmkv_unlink(loader.name), 0);
		}
	}
	free(bytes);
}

/* ---- others write ------------------------------------------------------------------------ */

static struct {
	struct shmkv *kv;
	int stop;
} writer;

#define STEADY 2000u

/* Keys that come and go, and one that counts, between those that stay. */
static void *write_for_ever(void *arg)
{
	uint64_t i, key;

	(void)arg;
	for (i = 0; !__atomic_load_n(&writer.stop, __ATOMIC_RELAXED); i++) {
		CHECK_EQ(shmkv_incr(writer.kv, KEY("count"), 1, 0, NULL), 0);
		key = (uint64_t)1 << 40 | i % 5000;
		if (i / 5000 % 2)
			CHECK_EQ(shmkv_del(writer.kv, &key, sizeof(key)), 0);
		else
			CHECK_EQ(shmkv_put(writer.kv, &key, sizeof(key), shmkv_uint(i), NULL), 0);
		key = i % STEADY;
		CHECK_EQ(shmkv_put(writer.kv, &key, sizeof(key), shmkv_uint(key + i * STEADY), NULL), 0);
	}
	return NULL;
}

static void save_under_writers(const char *name)
{
	struct shmkv_options opts = { .size = sizeof(opts), .max_bytes = 32 * MIB };
	struct shmkv *kv, *copy;
	int64_t before, after, count;
	uint64_t key, value, round, can;
	pthread_t thread;
	int fd;

	memset(&writer, 0, sizeof(writer));
	CHECK_EQ(shmkv_create(name, &opts, &kv), 0);
	CHECK_EQ(shmkv_capabilities(kv, &can), 0);
	for (key = 0; key < STEADY; key++)
		CHECK_EQ(shmkv_put(kv, &key, sizeof(key), shmkv_uint(key), NULL), 0);
	CHECK_EQ(shmkv_put(kv, KEY("count"), shmkv_int(0), NULL), 0);
	writer.kv = kv;
	CHECK_EQ(pthread_create(&thread, NULL, write_for_ever, NULL), 0);
	for (round = 0; round < 20; round++) {
		CHECK_EQ(shmkv_get_int(kv, KEY("count"), &before), 0);
		fd = saved(kv, round % 2, NULL);
		CHECK_EQ(shmkv_get_int(kv, KEY("count"), &after), 0);
		CHECK_EQ(loaded("heap:hamt", fd, &copy), 0);
		CHECK_EQ(shmkv_get_int(copy, KEY("count"), &count), 0);
		CHECK(before <= count && count <= after);
		/* Those that were there all the time are, each with a value of its own. */
		for (key = 0; key < STEADY; key++) {
			CHECK_EQ(shmkv_get_uint(copy, &key, sizeof(key), &value), 0);
			CHECK_EQ(value % STEADY, key);
			/* The write of a moment ago is not older than the call. */
			CHECK(value / STEADY + STEADY + 2 > (uint64_t)before);
			CHECK(value / STEADY <= (uint64_t)after + 1);
			/* As of one moment: the count goes first in each turn. */
			if (can & SHMKV_CAN_SNAPSHOT)
				CHECK(value == key || value / STEADY < (uint64_t)count);
		}
		shmkv_detach(copy);
		close(fd);
	}
	__atomic_store_n(&writer.stop, 1, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	shmkv_detach(kv);
}

static void each_key_has_a_value_that_it_had_meanwhile(void)
{
	char name[64];

	skv_segment_name(name);
	save_under_writers(name);
	CHECK_EQ(shmkv_unlink(name), 0);
}

static void a_trie_is_saved_as_of_one_moment(void)
{
	save_under_writers("heap:hamt");
}

/* ---- arguments ------------------------------------------------------------------------------ */

static uint64_t last_done, last_total;

static void note_progress(uint64_t done, uint64_t total, void *arg)
{
	CHECK(arg == &last_done);
	CHECK(done > last_done && done <= total);
	last_done = done;
	last_total = total;
}

static void progress_is_told(void)
{
	struct shmkv_watch watch = { .size = sizeof(watch), .progress = note_progress,
				     .arg = &last_done };
	struct shmkv_save_options opts = { .size = sizeof(opts), .watch = &watch };
	struct shmkv_load_options how = { .size = sizeof(how), .watch = &watch };
	struct skv_segment s;
	int fd = file_new();
	uint64_t i;

	skv_segment_begin(&s, MIB);
	for (i = 0; i < 1000; i++)
		CHECK_EQ(shmkv_put(s.kv, &i, sizeof(i), shmkv_nil(), NULL), 0);
	CHECK_EQ(shmkv_save(s.kv, fd, &opts, NULL), 0);
	CHECK_EQ(last_done, 1000);
	CHECK_EQ(last_total, 1000);
	last_done = 0;
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(shmkv_load(NULL, fd, &how, NULL, NULL), 0);
	CHECK_EQ(last_done, 1000);
	close(fd);
	skv_segment_end(&s);
}

static void a_reader_may_save(void)
{
	struct shmkv *reader;
	struct skv_segment s;
	uint64_t digest;
	char path[256];
	int fd = file_new();

	skv_segment_begin(&s, MIB);
	CHECK_EQ(shmkv_put(s.kv, "k", 1, shmkv_int(1), NULL), 0);
	reader = skv_segment_attach(&s, SHMKV_READ_ONLY);
	skv_segment_file(s.name, path);
	digest = skv_file_digest(path);
	CHECK_EQ(shmkv_save(reader, fd, NULL, NULL), 0);
	CHECK_EQ(skv_file_digest(path), digest);
	shmkv_detach(reader);
	skv_segment_end(&s);
	close(fd);
}

static void what_cannot_be_is_refused(void)
{
	struct shmkv_save_options opts = { .size = sizeof(opts) };
	struct shmkv_load_options how = { .size = sizeof(how) };
	struct shmkv_saved result = { .size = 1 };
	struct shmkv *kv = NULL;
	struct skv_segment s;
	int fd, full;

	skv_segment_begin(&s, MIB);
	CHECK_EQ(shmkv_put(s.kv, "k", 1, shmkv_int(1), NULL), 0);
	fd = saved(s.kv, 0, NULL);
	CHECK_EQ(shmkv_save(s.kv, -1, NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_save(NULL, fd, NULL, NULL), -EBADF);
	opts.compression = 20;
	CHECK_EQ(shmkv_save(s.kv, fd, &opts, NULL), -EINVAL);
	opts.compression = 0;
	opts.size = 3;
	CHECK_EQ(shmkv_save(s.kv, fd, &opts, NULL), -EINVAL);
	CHECK_EQ(shmkv_save(s.kv, fd, NULL, &result), -EINVAL);
	CHECK_EQ(shmkv_load("save-none", -1, NULL, &kv, NULL), -EINVAL);
	CHECK_EQ(shmkv_load("save-none", fd, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(shmkv_load(NULL, fd, NULL, &kv, NULL), -EINVAL);
	how.flags = 2;
	CHECK_EQ(shmkv_load("save-none", fd, &how, &kv, NULL), -EINVAL);
	CHECK_EQ(loaded("a/b", fd, &kv), -EINVAL);
	CHECK_EQ(loaded("nosuch:a", fd, &kv), -EINVAL);
	CHECK(kv == NULL);

	/* Descriptors that do not do it. */
	full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	CHECK(full >= 0);
	CHECK_EQ(shmkv_save(s.kv, full, NULL, NULL), -ENOSPC);
	CHECK_EQ(shmkv_load(NULL, full, NULL, NULL, NULL), -EIO);
	close(full);
	CHECK_EQ(shmkv_save(s.kv, full, NULL, NULL), -EIO);
	skv_segment_end(&s);
	close(fd);
}

/* ---- table ------------------------------------------------------------------------------- */

const struct skv_test skv_tests_save[] = {
	{ "save", "what was saved is loaded", what_was_saved_is_loaded, 60 },
	{ "save", "a file without keys is a file", a_file_without_keys_is_a_file, 10 },
	{ "save", "compression makes files shorter", compression_makes_files_shorter, 20 },
	{ "save", "a map is what it was", a_map_is_what_it_was, 10 },
	{ "time", "what is left to live is kept", what_is_left_to_live_is_kept, 10 },
	{ "time", "the default is not given to those who have none",
	  the_default_is_not_given_to_those_who_have_none, 10 },
	{ "damage", "a file that is cut off anywhere is refused",
	  a_file_that_is_cut_off_anywhere_is_refused, 60 },
	{ "damage", "a file with one wrong bit anywhere is refused",
	  a_file_with_one_wrong_bit_anywhere_is_refused, 60 },
	{ "damage", "what follows the end is not ignored", what_follows_the_end_is_not_ignored, 10 },
	{ "damage", "lies under a right checksum are refused",
	  lies_under_a_right_checksum_are_refused, 10 },
	{ "damage", "announced memory is not taken", announced_memory_is_not_taken, 20 },
	{ "damage", "every error of the header has its code", every_error_of_the_header_has_its_code,
	  10 },
	{ "whole", "what has the name already stays", what_has_the_name_already_stays, 10 },
	{ "whole", "a map that is too small does not appear", a_map_that_is_too_small_does_not_appear,
	  10 },
	{ "whole", "a loader that is killed leaves nothing", a_loader_that_is_killed_leaves_nothing,
	  20 },
	{ "moment", "each key has a value that it had meanwhile",
	  each_key_has_a_value_that_it_had_meanwhile, 60 },
	{ "moment", "a trie is saved as of one moment", a_trie_is_saved_as_of_one_moment, 60 },
	{ "call", "progress is told", progress_is_told, 10 },
	{ "call", "a reader may save", a_reader_may_save, 10 },
	{ "call", "what cannot be is refused", what_cannot_be_is_refused, 10 },
	{ 0 },
};
